/* Layer norm and RMS norm of rows, and their gradients in one visit of a row while it is in L1. */
#include "base/simd_vector.h"
#include "nn/kernels.h"

#define L ML_LANES
#define INLINE static inline __attribute__((always_inline))

INLINE ml_vec load(const real *p) { return *(const ml_vecu *)p; }
INLINE void store(real *p, ml_vec v) { *(ml_vecu *)p = v; }

INLINE real root(real x) {
#if ML_REAL_IS_F32
  return __builtin_sqrtf(x);
#else
  return __builtin_sqrt(x);
#endif
}

#define LINE (64 / (int)sizeof(real)) /* elements of a cache line */
#define SUMS 8                        /* accumulators: enough to hide the latency of an addition */

/* The lanes of all accumulators, added pairwise. */
INLINE real total(const ml_vec a[SUMS]) {
  ml_vec s = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
  real lane[L];
  store(lane, s);
  for (int w = L / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++)
      lane[i] += lane[i + w];
  return lane[0];
}

INLINE real row_mean(const real *x, int64_t n) {
  ml_vec acc[SUMS] = {{0}};
  int64_t j = 0;
  for (; j + SUMS * L <= n; j += SUMS * L)
#pragma GCC unroll 8
    for (int v = 0; v < SUMS; v++)
      acc[v] += load(x + j + v * L);
  for (; j + L <= n; j += L)
    acc[0] += load(x + j);
  real s = total(acc);
  for (; j < n; j++)
    s += x[j];
  return s / (real)n;
}

/* Mean of (x - mean)^2. Meanwhile the next row of x and of y is on its way: a row often starts a
 * page, where the machine's own prefetching starts anew. Past the end a prefetch does nothing. */
INLINE real row_moment(const real *x, const real *y, int64_t n, real mean, ml_nn_write how) {
  ml_vec acc[SUMS] = {{0}};
  int64_t j = 0;
  for (; j + SUMS * L <= n; j += SUMS * L) {
#pragma GCC unroll 8
    for (int v = 0; v < SUMS; v++) {
      if (v * ML_VECTOR_BYTES % 64 == 0) {
        __builtin_prefetch(x + n + j + v * L, 0);
        if (how != ML_NN_STREAM)
          __builtin_prefetch(y + n + j + v * L, 1);
      }
      ml_vec d = load(x + j + v * L) - mean;
      acc[v] += d * d;
    }
  }
  for (; j + L <= n; j += L) {
    ml_vec d = load(x + j) - mean;
    acc[0] += d * d;
  }
  real s = total(acc);
  for (; j < n; j++)
    s += (x[j] - mean) * (x[j] - mean);
  return s / (real)n;
}

/* Whether rows of n at p can be streamed past the caches, as asked. */
INLINE ml_nn_write writable(ml_nn_write how, const void *p, int64_t n) {
  bool aligned = (uintptr_t)p % ML_VECTOR_BYTES == 0 && n % L == 0;
  return how == ML_NN_STREAM && !aligned ? ML_NN_STORE : how;
}

INLINE void put(real *p, ml_vec v, ml_nn_write how) {
  if (how == ML_NN_STREAM)
    ml_vstream(p, v);
  else
    store(p, how == ML_NN_ADD ? load(p) + v : v);
}

INLINE void normalise(int64_t n, const real *x, real mean, real rstd, const real *gain,
                      const real *shift, real *y, ml_nn_write how) {
  int64_t j = 0;
  for (; j + L <= n; j += L) {
    ml_vec h = (load(x + j) - mean) * rstd;
    h = gain ? h * load(gain + j) : h;
    put(y + j, shift ? h + load(shift + j) : h, how);
  }
  for (; j < n; j++) {
    real h = (x[j] - mean) * rstd;
    h = gain ? h * gain[j] : h;
    y[j] = shift ? h + shift[j] : h;
  }
}

static void layer(int64_t rows, int64_t n, const void *x_, const void *gain, const void *shift,
                  double eps, void *y_, void *mean_, void *rstd_, ml_nn_write how) {
  const real *x = x_;
  real *y = y_, *means = mean_, *rstds = rstd_;
  how = writable(how, y, n);
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    real mean = row_mean(x, n);
    real rstd = 1 / root(row_moment(x, y, n, mean, how) + (real)eps);
    normalise(n, x, mean, rstd, gain, shift, y, how);
    if (means)
      means[i] = mean;
    if (rstds)
      rstds[i] = rstd;
  }
  if (how == ML_NN_STREAM)
    ml_vstream_end();
}

static void rms(int64_t rows, int64_t n, const void *x_, const void *gain, double eps, void *y_,
                void *rstd_, ml_nn_write how) {
  const real *x = x_;
  real *y = y_, *rstds = rstd_;
  how = writable(how, y, n);
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    real rstd = 1 / root(row_moment(x, y, n, 0, how) + (real)eps);
    normalise(n, x, 0, rstd, gain, NULL, y, how);
    if (rstds)
      rstds[i] = rstd;
  }
  if (how == ML_NN_STREAM)
    ml_vstream_end();
}

/* With h = (x - mean) rstd and g = dy gain: dx = rstd (g - mean(g) - h mean(g h)); rms norm lacks
 * the middle term. */
INLINE void norm_grad(int64_t rows, int64_t n, const real *x, const real *dy, const real *gain,
                      const real *means, const real *rstds, real *dx, ml_nn_write how, real *dgain,
                      real *dshift, const bool centred, const bool has_gain, const bool want_gain,
                      const bool want_shift) {
  how = writable(how, dx, n);
  if (want_gain)
    for (int64_t j = 0; j < n; j++)
      dgain[j] = 0;
  if (want_shift)
    for (int64_t j = 0; j < n; j++)
      dshift[j] = 0;
  for (int64_t i = 0; i < rows; i++, x += n, dy += n) {
    const real mean = centred ? means[i] : 0, rstd = rstds[i];
    ml_vec sum[SUMS] = {{0}}, dot[SUMS] = {{0}};
    int64_t j = 0;
#define STEP(v, at)                                                                                \
  do {                                                                                             \
    ml_vec d_ = load(dy + (at)), h_ = (load(x + (at)) - mean) * rstd;                              \
    ml_vec g_ = has_gain ? d_ * load(gain + (at)) : d_;                                            \
    if (centred)                                                                                   \
      sum[v] += g_;                                                                                \
    dot[v] += g_ * h_;                                                                             \
    if (want_gain)                                                                                 \
      store(dgain + (at), load(dgain + (at)) + d_ * h_);                                           \
    if (want_shift)                                                                                \
      store(dshift + (at), load(dshift + (at)) + d_);                                              \
  } while (0)
    for (; j + 4 * L <= n; j += 4 * L) {
      STEP(0, j);
      STEP(1, j + L);
      STEP(2, j + 2 * L);
      STEP(3, j + 3 * L);
    }
    for (; j + L <= n; j += L)
      STEP(0, j);
#undef STEP
    real s = total(sum), t = total(dot);
    for (; j < n; j++) {
      real d = dy[j], h = (x[j] - mean) * rstd, g = has_gain ? d * gain[j] : d;
      s += g;
      t += g * h;
      if (want_gain)
        dgain[j] += d * h;
      if (want_shift)
        dshift[j] += d;
    }
    if (!dx)
      continue;
    s = centred ? s / (real)n : 0;
#define STEP_DX(at)                                                                                \
  do {                                                                                             \
    ml_vec d_ = load(dy + (at)), h_ = (load(x + (at)) - mean) * rstd;                              \
    ml_vec r_ = rstd * ((has_gain ? d_ * load(gain + (at)) : d_) - s - h_ * t);                    \
    put(dx + (at), r_, how);                                                                       \
  } while (0)
    t /= (real)n;
    for (j = 0; j + LINE <= n; j += LINE) {
      __builtin_prefetch(x + n + j, 0);
      __builtin_prefetch(dy + n + j, 0);
      if (how != ML_NN_STREAM)
        __builtin_prefetch(dx + n + j, 1);
#pragma GCC unroll 4
      for (int v = 0; v < LINE / L; v++)
        STEP_DX(j + v * L);
    }
    for (; j + L <= n; j += L)
      STEP_DX(j);
#undef STEP_DX
    for (; j < n; j++) {
      real h = (x[j] - mean) * rstd, g = has_gain ? dy[j] * gain[j] : dy[j];
      real r = rstd * (g - s - h * t);
      dx[j] = how == ML_NN_ADD ? dx[j] + r : r;
    }
    dx += n;
  }
  if (how == ML_NN_STREAM)
    ml_vstream_end();
}

#define VARIANT(centred, has_gain, want_gain, want_shift)                                          \
  norm_grad(rows, n, x, dy, gain, mean, rstd, dx, how, dgain, dshift, centred, has_gain,           \
            want_gain, want_shift)

static void layer_grad(int64_t rows, int64_t n, const void *x, const void *dy, const void *gain,
                       const void *mean, const void *rstd, void *dx, ml_nn_write how, void *dgain,
                       void *dshift) {
  if (gain && dgain && dshift)
    VARIANT(true, true, true, true);
  else if (gain && dgain)
    VARIANT(true, true, true, false);
  else if (gain && !dgain && !dshift)
    VARIANT(true, true, false, false);
  else
    VARIANT(true, gain != NULL, dgain != NULL, dshift != NULL);
}

static void rms_grad(int64_t rows, int64_t n, const void *x, const void *dy, const void *gain,
                     const void *rstd, void *dx, ml_nn_write how, void *dgain) {
  const void *mean = NULL;
  void *dshift = NULL;
  if (gain && dgain)
    VARIANT(false, true, true, false);
  else
    VARIANT(false, gain != NULL, dgain != NULL, false);
}

const ml_nn_norm_kernels ML_FN(nn_norm) = {layer, layer_grad, rms, rms_grad};
