/* Copies: strided, transposed, and between f32 and f64. */
#include "base/simd.h"
#include "tensor/kernels.h"

#include <string.h>

#if ML_REAL_IS_F32
typedef uint32_t bits __attribute__((may_alias));
typedef double other;
#else
typedef uint64_t bits __attribute__((may_alias));
typedef float other;
#endif

void ML_FN(tensor_k_copy)(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n) {
  bits *d = dst;
  const bits *s = src;
  if (ds == 1 && ss == 1) {
    memcpy(d, s, (size_t)n * sizeof *d);
  } else if (ds == 1 && ss == 0) {
    bits value = *s;
    for (int64_t i = 0; i < n; i++)
      d[i] = value;
  } else {
    for (int64_t i = 0; i < n; i++)
      d[i * ds] = s[i * ss];
  }
}

/* Square blocks of L x L in registers, at most 32 bytes wide. */
#if ML_REAL_IS_F32 && ML_ISA_LEVEL > 0
#define L 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif ML_REAL_IS_F32 || ML_ISA_LEVEL > 0
#define L 4
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define L 2
#define LOW 0, 2
#define HIGH 1, 3
#endif
#if ML_REAL_IS_F32
typedef uint32_t lanes __attribute__((vector_size(L * sizeof(uint32_t))));
#else
typedef uint64_t lanes __attribute__((vector_size(L * sizeof(uint64_t))));
#endif

/* Log2(L) rounds that interleave row i with row i + L/2. */
static inline void square(bits *d, int64_t ldd, const bits *s, int64_t lds) {
  const lanes low = {LOW}, high = {HIGH};
  lanes v[L], w[L];
  for (int i = 0; i < L; i++)
    memcpy(&v[i], s + i * lds, sizeof v[i]);
  for (int round = 1; round < L; round *= 2) {
    for (int i = 0; i < L / 2; i++) {
      w[2 * i] = __builtin_shuffle(v[i], v[i + L / 2], low);
      w[2 * i + 1] = __builtin_shuffle(v[i], v[i + L / 2], high);
    }
    for (int i = 0; i < L; i++)
      v[i] = w[i];
  }
  for (int i = 0; i < L; i++)
    memcpy(d + i * ldd, &v[i], sizeof v[i]);
}

void ML_FN(tensor_k_transpose)(void *dst, int64_t ldd, const void *src, int64_t lds, int64_t rows,
                               int64_t cols) {
  bits *d = dst;
  const bits *s = src;
  const int64_t wide = 64 / (int64_t)sizeof(bits); /* whole lines of dst */
  int64_t whole = rows - rows % L, c = 0;
  for (; c + wide <= cols; c += wide)
    for (int64_t r = 0; r < whole; r += L)
      for (int64_t k = 0; k < wide; k += L)
        square(d + r * ldd + c + k, ldd, s + (c + k) * lds + r, lds);
  for (; c + L <= cols; c += L)
    for (int64_t r = 0; r < whole; r += L)
      square(d + r * ldd + c, ldd, s + c * lds + r, lds);
  for (int64_t r = 0; r < whole; r++)
    for (int64_t k = c; k < cols; k++)
      d[r * ldd + k] = s[k * lds + r];
  for (int64_t r = whole; r < rows; r++)
    for (int64_t k = 0; k < cols; k++)
      d[r * ldd + k] = s[k * lds + r];
}

void ML_FN(tensor_k_convert)(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n) {
  real *d = dst;
  const other *s = src;
  if (ds == 1 && ss == 1) {
    for (int64_t i = 0; i < n; i++)
      d[i] = (real)s[i];
  } else {
    for (int64_t i = 0; i < n; i++)
      d[i * ds] = (real)s[i * ss];
  }
}

void ML_FN(tensor_k_select)(void *out, const uint8_t *cond, int64_t sc, const void *a, int64_t sa,
                            const void *b, int64_t sb, int64_t n) {
  bits *o = out;
  const bits *p = a, *q = b;
  if (sc == 1 && sa == 1 && sb == 1) {
    for (int64_t i = 0; i < n; i++) {
      bits x = p[i], y = q[i]; /* read both: no branch */
      o[i] = cond[i] ? x : y;
    }
  } else {
    for (int64_t i = 0; i < n; i++) {
      bits x = p[i * sa], y = q[i * sb];
      o[i] = cond[i * sc] ? x : y;
    }
  }
}
