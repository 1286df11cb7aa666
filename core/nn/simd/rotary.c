/* Hot loops of the rotary position embedding. */
#include "base/simd.h"
#include "nn/kernels.h"

#define INLINE static inline __attribute__((always_inline))

INLINE void turn_head(int64_t half, const real *restrict x, const real *restrict cos,
                      const real *restrict sin, real sign, real *restrict y, const bool interleaved,
                      const bool add) {
  const int64_t step = interleaved ? 2 : 1, other = interleaved ? 1 : half;
  for (int64_t i = 0; i < half; i++) {
    real c = cos[i], s = sign * sin[i], a = x[i * step], b = x[i * step + other];
    real u = a * c - b * s, v = b * c + a * s;
    y[i * step] = add ? y[i * step] + u : u;
    y[i * step + other] = add ? y[i * step + other] + v : v;
  }
}

static void turn(int64_t H, int64_t D, const void *x_, int64_t x_stride, const void *cos,
                 const void *sin, bool inverse, bool interleaved, void *y_, bool add) {
  const real *x = x_;
  real *y = y_, sign = inverse ? (real)-1 : (real)1;
  for (int64_t h = 0; h < H; h++, x += x_stride, y += D) {
    if (interleaved && add)
      turn_head(D / 2, x, cos, sin, sign, y, true, true);
    else if (interleaved)
      turn_head(D / 2, x, cos, sin, sign, y, true, false);
    else if (add)
      turn_head(D / 2, x, cos, sin, sign, y, false, true);
    else
      turn_head(D / 2, x, cos, sin, sign, y, false, false);
  }
}

const ml_nn_rotary_kernels ML_FN(nn_rotary) = {turn};
