/* Hot loops on panels of points: transposition, Hadamard transform, picking, scattering. */
#include "base/simd_math.h"
#include "sketch/kernels.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define P ((int)(ML_SKETCH_ROW / sizeof(real))) /* points of a panel */
#define VECTORS (P / ML_LANES)                  /* registers of a coordinate */

INLINE ml_vec get(const real *p) { return *(const ml_vec *)p; } /* aligned */
INLINE void put(real *p, ml_vec v) { *(ml_vec *)p = v; }

/* ---- rows to panels and back ----------------------------------------------------------------- */

/* Squares of SIDE x SIDE in registers. AVX2 takes those of SSE: it has no shuffle of two registers
 * across its halves, and was measured four times slower with its own. */
#if ML_ISA_LEVEL == 2
#define SQUARE_BYTES 32
#else
#define SQUARE_BYTES 16
#endif
#define SIDE ((int)(SQUARE_BYTES / sizeof(real)))
#if ML_REAL_IS_F32 && ML_ISA_LEVEL == 2
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif ML_REAL_IS_F32 || ML_ISA_LEVEL == 2
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define LOW 0, 2
#define HIGH 1, 3
#endif
#if ML_REAL_IS_F32
typedef int32_t mask __attribute__((vector_size(SQUARE_BYTES)));
#else
typedef int64_t mask __attribute__((vector_size(SQUARE_BYTES)));
#endif
typedef real lanes __attribute__((vector_size(SQUARE_BYTES)));

/* d[c ldd + r] = s[r lds + c]: log2(SIDE) rounds that interleave row i with row i + SIDE/2 */
INLINE void square(real *d, int64_t ldd, const real *s, int64_t lds) {
  const mask low = {LOW}, high = {HIGH};
  lanes v[SIDE], w[SIDE];
  for (int i = 0; i < SIDE; i++)
    memcpy(&v[i], s + i * lds, sizeof v[i]);
  for (int round = 1; round < SIDE; round *= 2) {
    for (int i = 0; i < SIDE / 2; i++) {
      w[2 * i] = __builtin_shuffle(v[i], v[i + SIDE / 2], low);
      w[2 * i + 1] = __builtin_shuffle(v[i], v[i + SIDE / 2], high);
    }
    memcpy(v, w, sizeof v);
  }
  for (int i = 0; i < SIDE; i++)
    memcpy(d + i * ldd, &v[i], sizeof v[i]);
}

/* Whole cache lines of a row at a time: rows a power of two apart share few places of the cache. */
static void load(int64_t count, int64_t d, const void *x, int64_t ldx, void *panel) {
  const real *s = x;
  real *out = panel;
  int64_t i = 0;
  if (count == P)
    for (; i + P <= d; i += P)
      for (int r = 0; r < P; r += SIDE)
        for (int c = 0; c < P; c += SIDE)
          square(out + (i + c) * P + r, P, s + r * ldx + i + c, ldx);
  else
    memset(out, 0, (size_t)d * ML_SKETCH_ROW);
  for (; i < d; i++)
    for (int64_t r = 0; r < count; r++)
      out[i * P + r] = s[r * ldx + i];
}

static void store(int64_t count, int64_t d, double scale, const void *panel, void *y, int64_t ldy) {
  const real *in = panel;
  const real a = (real)scale;
  real *out = y;
  int64_t i = 0;
  if (count == P)
    for (; i + P <= d; i += P) {
      real block[P * P] __attribute__((aligned(64)));
      for (int c = 0; c < P * P; c++)
        block[c] = a * in[i * P + c];
      for (int r = 0; r < P; r += SIDE)
        for (int c = 0; c < P; c += SIDE)
          square(out + r * ldy + i + c, ldy, block + c * P + r, P);
    }
  for (; i < d; i++)
    for (int64_t r = 0; r < count; r++)
      out[r * ldy + i] = a * in[i * P + r];
}

/* ---- Hadamard transform ---------------------------------------------------------------------- */

/* Instrumented code is compiled without the optimizations that unrolling wants. */
#if defined(__SANITIZE_ADDRESS__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* A pass of three rounds stores each coordinate once, and an AMD EPYC with AVX-512 stores 64 bytes
 * in 0.55 ns: no less than 0.18 ns for an addition of 64 bytes. Measured: 0.34 at 2^6 coordinates,
 * where all is in L1, 0.43 to 0.7 from 2^7 to 2^12. */

/* Butterflies of 2^r coordinates in registers, r <= 3. */
/* clang-format off */
INLINE void butterfly(ml_vec *v, int r) {
  UNROLL
  for (int h = 1; h < 1 << r; h *= 2)
    UNROLL
    for (int i = 0; i < 1 << r; i++)
      if (!(i & h)) {
        const ml_vec a = v[i], b = v[i + h];
        v[i] = a + b;
        v[i + h] = a - b;
      }
}
/* clang-format on */

/* r of the p rounds, in place: coordinates `step` apart. */
INLINE void rounds(real *x, int64_t step, int r) {
  for (int64_t i = 0; i < step; i++)
    for (int w = 0; w < VECTORS; w++) {
      real *at = x + i * P + w * ML_LANES;
      ml_vec v[8];
      UNROLL
      for (int k = 0; k < 1 << r; k++)
        v[k] = get(at + k * step * P);
      butterfly(v, r);
      UNROLL
      for (int k = 0; k < 1 << r; k++)
        put(at + k * step * P, v[k]);
    }
}

/* The rounds of a pass over p that are left: three at a time, the last ones evened out. */
INLINE int pass_of(int p) { return p > 4 || p == 3 ? 3 : p == 4 ? 2 : p; }

/* Depth first, so that what fits into a cache is finished there. */
static void transform(real *x, int p) {
  if (p <= 0)
    return;
  const int r = pass_of(p);
  const int64_t step = (int64_t)1 << (p - r);
  if (r == 3)
    rounds(x, step, 3);
  else if (r == 2)
    rounds(x, step, 2);
  else
    rounds(x, step, 1);
  if (p > r)
    for (int k = 0; k < 1 << r; k++)
      transform(x + k * step * P, p - r);
}

/* The first pass, which reads signs and pads. */
INLINE void first_pass(int64_t d, const real *x, const real *signs, real *y, int64_t step, int r,
                       bool flip) {
  for (int64_t i = 0; i < step; i++)
    for (int w = 0; w < VECTORS; w++) {
      ml_vec v[8];
      UNROLL
      for (int k = 0; k < 1 << r; k++) {
        const int64_t j = i + k * step;
        v[k] = j >= d ? (ml_vec){0} : get(x + j * P + w * ML_LANES);
        if (flip)
          v[k] *= ml_vsplat(j >= d ? 0 : signs[j]);
      }
      butterfly(v, r);
      UNROLL
      for (int k = 0; k < 1 << r; k++)
        put(y + (i + k * step) * P + w * ML_LANES, v[k]);
    }
}

static void hadamard(int p, int64_t d, const void *x, const void *signs, void *y) {
  const int r = pass_of(p);
  const int64_t step = (int64_t)1 << (p - r);
  if (r == 3 && signs)
    first_pass(d, x, signs, y, step, 3, true);
  else if (r == 3)
    first_pass(d, x, NULL, y, step, 3, false);
  else if (r == 2)
    first_pass(d, x, signs, y, step, 2, signs != NULL);
  else if (r == 1)
    first_pass(d, x, signs, y, step, 1, signs != NULL);
  else
    first_pass(d, x, signs, y, step, 0, signs != NULL);
  if (p > r)
    for (int k = 0; k < 1 << r; k++)
      transform((real *)y + k * step * P, p - r);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void pick(int64_t m, const int64_t *rows, double scale, const void *x, const void *z,
                 void *y) {
  const real *X = x, *Z = z;
  real *Y = y;
  const ml_vec a = ml_vsplat((real)scale);
  for (int64_t i = 0; i < m; i++)
    for (int w = 0; w < VECTORS; w++) {
      ml_vec v = get(X + rows[i] * P + w * ML_LANES) * a;
      if (Z)
        v *= get(Z + i * P + w * ML_LANES);
      put(Y + i * P + w * ML_LANES, v);
    }
}

static void scatter(int64_t d, int64_t k, int64_t ld, const int64_t *hashes, const void *signs,
                    const void *x, void *y) {
  const real *X = x, *S = signs;
  real *Y = y;
  for (int64_t i = 0; i < d; i++) {
    ml_vec v[VECTORS];
    for (int w = 0; w < VECTORS; w++)
      v[w] = get(X + i * P + w * ML_LANES);
    for (int64_t j = 0; j < k; j++) {
      real *at = Y + hashes[j * ld + i] * P;
      const ml_vec s = ml_vsplat(S[j * ld + i]);
      for (int w = 0; w < VECTORS; w++)
        put(at + w * ML_LANES, get(at + w * ML_LANES) + s * v[w]);
    }
  }
}

static void scatter_row(int64_t n, int64_t k, int64_t ld, const int64_t *hashes, const void *signs,
                        const int64_t *columns, const void *values, void *y) {
  const real *V = values, *S = signs;
  real *Y = y;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < k; j++) {
      const int64_t at = j * ld + columns[i];
      Y[hashes[at]] += S[at] * V[i];
    }
}

static void norm(int64_t d, const void *x, void *out, void *inverse) {
  const real *X = x;
  real *N = out, *I = inverse;
  double sum[P];
  for (int l = 0; l < P; l++)
    sum[l] = 0;
  for (int64_t i = 0; i < d; i++)
    for (int l = 0; l < P; l++)
      sum[l] += (double)X[i * P + l] * (double)X[i * P + l];
  for (int l = 0; l < P; l++) {
    const double root = sqrt(sum[l]);
    N[l] = (real)root;
    I[l] = root > 0 ? (real)(1 / root) : 0;
  }
}

static void multiply(int64_t d, const void *lane, const void *x, void *y) {
  const real *A = lane, *X = x;
  real *Y = y;
  for (int w = 0; w < VECTORS; w++) {
    const ml_vec a = get(A + w * ML_LANES);
    for (int64_t i = 0; i < d; i++)
      put(Y + i * P + w * ML_LANES, a * get(X + i * P + w * ML_LANES));
  }
}

static void scale_row(int64_t n, double scale, void *y) {
  real *Y = y;
  const real a = (real)scale;
  for (int64_t i = 0; i < n; i++)
    Y[i] *= a;
}

extern const ml_sketch_table ML_FN(sketch_table);
const ml_sketch_table ML_FN(sketch_table) = {.load = load,
                                             .store = store,
                                             .hadamard = hadamard,
                                             .pick = pick,
                                             .scatter = scatter,
                                             .scatter_row = scatter_row,
                                             .norm = norm,
                                             .multiply = multiply,
                                             .scale_row = scale_row};
