/* Derivatives of elementwise functions in terms of their values, and the gradient of a product. */
#include "base/simd.h"
#include "grad/kernels.h"

#define EACH(expression)                                                                           \
  for (int64_t i = 0; i < n; i++) {                                                                \
    real v = y[i], d = dy[i];                                                                      \
    dx[i] = (expression);                                                                          \
  }                                                                                                \
  break

void ML_FN(grad_k_from_output)(ml_unary_op op, int64_t n, const void *y_, const void *dy_,
                               void *dx_) {
  const real *restrict y = y_, *restrict dy = dy_;
  real *restrict dx = dx_;
  const real one = 1, half = (real)0.5;
  switch ((int)op) {
  case ML_EXP:
    EACH(d * v);
  case ML_EXPM1:
    EACH(d * (v + one));
  case ML_SQRT:
    EACH(half * d / v);
  case ML_RSQRT:
    EACH(-half * d * (v * v * v));
  case ML_RECIPROCAL:
    EACH(-d * (v * v));
  case ML_TAN:
    EACH(d * (one + v * v));
  case ML_TANH:
    EACH(d * (one - v * v));
  case ML_SIGMOID:
    EACH(d * (v * (one - v)));
  case ML_RELU:
    EACH(v <= 0 ? 0 : d); /* a NaN lets the gradient pass */
  }
}

/* dx[i] first holds the product of those before i; no division, so that zeros are right. */
void ML_FN(grad_k_product_row)(int64_t n, const void *x_, const void *dy_, void *dx_) {
  const real *restrict x = x_;
  real *restrict dx = dx_;
  real before = 1, after = *(const real *)dy_;
  for (int64_t i = 0; i < n; i++) {
    dx[i] = before;
    before *= x[i];
  }
  for (int64_t i = n - 1; i >= 0; i--) {
    dx[i] *= after;
    after *= x[i];
  }
}
