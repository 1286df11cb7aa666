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

#define TILE 32

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

void ML_FN(tensor_k_transpose)(void *dst, int64_t ldd, const void *src, int64_t lds, int64_t rows,
                               int64_t cols) {
  bits *d = dst;
  const bits *s = src;
  for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
    int64_t c1 = c0 + TILE < cols ? c0 + TILE : cols;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
      bits *d0 = d + r * ldd, *d1 = d0 + ldd, *d2 = d1 + ldd, *d3 = d2 + ldd;
      for (int64_t c = c0; c < c1; c++) {
        const bits *from = s + c * lds + r;
        d0[c] = from[0];
        d1[c] = from[1];
        d2[c] = from[2];
        d3[c] = from[3];
      }
    }
    for (; r < rows; r++)
      for (int64_t c = c0; c < c1; c++)
        d[r * ldd + c] = s[c * lds + r];
  }
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
