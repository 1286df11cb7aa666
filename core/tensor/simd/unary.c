/* Functions of one operand and their derivatives. */
#include "base/simd_math.h"
#include "tensor/kernels.h"

#if ML_REAL_IS_F32
#define LIBM(name) name##f
#else
#define LIBM(name) name
#endif

#define EACH(T, value)                                                                             \
  do {                                                                                             \
    T *to = out;                                                                                   \
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                         \
      real x = in[i];                                                                              \
      to[i] = (T)(value);                                                                          \
    }                                                                                              \
  } while (0)

/* Arguments beyond the reach of the fast reduction, one by one. */
static void far_trig(real *out, const real *in, int64_t n, bool cosine) {
  bool far = false;
  for (int64_t i = 0; i < n; i++)
    far |= ml_abs(in[i]) > ML_TRIG_LIMIT;
  if (!far)
    return;
  for (int64_t i = 0; i < n; i++)
    if (ml_abs(in[i]) > ML_TRIG_LIMIT)
      out[i] = cosine ? LIBM(cos)(in[i]) : LIBM(sin)(in[i]);
}

static inline real ml_log2(real x) {
  real lift = x < ML_TINY ? ML_R(0x1p54) : ML_R(1), k;
  real m = ml_split(x * lift, &k);
  k = x < ML_TINY ? k - ML_R(54) : k;
  real y = k + ml_log_core(m - ML_R(1), 0) * ML_LOG2E;
  return x > 0 ? (x < ML_INF ? y : x) : (x == 0 ? -ML_INF : ML_NAN);
}

/* Dense input. The second half of the list is apart, or the compiler would see one very long
 * function. */
static bool arithmetic(ml_unary_op op, void *out, const real *in, int64_t n) {
  switch ((int)op) {
  case ML_NEG:
    EACH(real, -x);
    return true;
  case ML_ABS:
    EACH(real, ml_abs(x));
    return true;
  case ML_SIGN:
    EACH(real, x > 0 ? ML_R(1) : x < 0 ? ML_R(-1) : x);
    return true;
  case ML_SQUARE:
    EACH(real, x * x);
    return true;
  case ML_SQRT:
    EACH(real, LIBM(sqrt)(x));
    return true;
  case ML_RSQRT:
    EACH(real, ML_R(1) / LIBM(sqrt)(x));
    return true;
  case ML_RECIPROCAL:
    EACH(real, ML_R(1) / x);
    return true;
  case ML_RELU: /* NaN stays */
    EACH(real, x < 0 ? ML_R(0) : x);
    return true;
  case ML_RELU2:
    EACH(real, x < 0 ? ML_R(0) : x * x);
    return true;
  case ML_FLOOR:
    EACH(real, LIBM(floor)(x));
    return true;
  case ML_CEIL:
    EACH(real, LIBM(ceil)(x));
    return true;
  case ML_ROUND: /* halves to even */
    EACH(real, LIBM(rint)(x));
    return true;
  case ML_ISNAN:
    EACH(uint8_t, x != x);
    return true;
  case ML_ISINF:
    EACH(uint8_t, ml_abs(x) == ML_INF);
    return true;
  case ML_ISFINITE:
    EACH(uint8_t, ml_abs(x) < ML_INF);
    return true;
  default:
    return false;
  }
}

static void transcendental(ml_unary_op op, void *out, const real *in, int64_t n) {
  switch ((int)op) {
  case ML_EXP:
    EACH(real, ml_exp(x));
    break;
  case ML_EXPM1:
    EACH(real, ml_expm1(x));
    break;
  case ML_LOG:
    EACH(real, ml_log(x));
    break;
  case ML_LOG1P:
    EACH(real, ml_log1p(x));
    break;
  case ML_LOG2:
    EACH(real, ml_log2(x));
    break;
  case ML_SIN:
    EACH(real, ml_sin(x));
    far_trig(out, in, n, false);
    break;
  case ML_COS:
    EACH(real, ml_cos(x));
    far_trig(out, in, n, true);
    break;
  case ML_TAN:
    EACH(real, LIBM(tan)(x));
    break;
  case ML_ASIN:
    EACH(real, LIBM(asin)(x));
    break;
  case ML_ACOS:
    EACH(real, LIBM(acos)(x));
    break;
  case ML_ATAN:
    EACH(real, LIBM(atan)(x));
    break;
  case ML_SINH:
    EACH(real, LIBM(sinh)(x));
    break;
  case ML_COSH:
    EACH(real, LIBM(cosh)(x));
    break;
  case ML_TANH:
    EACH(real, ml_tanh(x));
    break;
  case ML_ERF:
    EACH(real, ml_erf(x));
    break;
  case ML_ERFC:
    EACH(real, LIBM(erfc)(x));
    break;
  case ML_SIGMOID:
    EACH(real, ml_sigmoid(x));
    break;
  case ML_SOFTPLUS:
    EACH(real, ml_softplus(x));
    break;
  case ML_SILU:
    EACH(real, ml_silu(x));
    break;
  case ML_GELU_TANH:
    EACH(real, ml_gelu_tanh(x));
    break;
  case ML_GELU_ERF:
    EACH(real, ml_gelu_erf(x));
    break;
  default:
    break;
  }
}

/* Dense elements of x from `at` on, copied to the block when x is strided. */
static inline const real *dense(real *block, const real *x, int64_t stride, int64_t at, int64_t n) {
  if (stride == 1)
    return x + at;
  for (int64_t i = 0; i < n; i++)
    block[i] = x[(at + i) * stride];
  return block;
}

void ML_FN(tensor_k_unary)(ml_unary_op op, void *out, const void *x, int64_t sx, int64_t n) {
  size_t item = op >= ML_ISNAN ? 1 : sizeof(real);
  real block[ML_KERNEL_BLOCK];
  int64_t step = sx == 1 ? n : ML_KERNEL_BLOCK;
  if ((op == ML_SIN || op == ML_COS) && step > ML_KERNEL_BLOCK)
    step = ML_KERNEL_BLOCK;
  for (int64_t at = 0; at < n; at += step) {
    int64_t m = n - at < step ? n - at : step;
    const real *in = dense(block, x, sx, at, m);
    void *to = (char *)out + at * (int64_t)item;
    if (!arithmetic(op, to, in, m))
      transcendental(op, to, in, m);
  }
}

/* ---- derivatives ----------------------------------------------------------------------------- */

#define GRAD(value)                                                                                \
  do {                                                                                             \
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                         \
      real x = in[i], g = dy[i];                                                                   \
      dx[i] = (value);                                                                             \
    }                                                                                              \
  } while (0)

/* e / (1 + e)^2 with e = exp(-|x|): the derivative of the sigmoid without cancellation */
static inline real sigmoid_grad(real x) {
  real e = ml_exp(-ml_abs(x)), d = ML_R(1) + e;
  return e / (d * d);
}

static void grad_arithmetic(ml_unary_op op, real *dx, const real *in, const real *dy, int64_t n) {
  switch ((int)op) {
  case ML_NEG:
    for (int64_t i = 0; i < n; i++)
      dx[i] = -dy[i];
    break;
  case ML_ABS:
    GRAD(g * (x > 0 ? ML_R(1) : x < 0 ? ML_R(-1) : x));
    break;
  case ML_SQUARE:
    GRAD(g * (ML_R(2) * x));
    break;
  case ML_SQRT:
    GRAD(g * (ML_R(0.5) / LIBM(sqrt)(x)));
    break;
  case ML_RSQRT:
    GRAD(g * (ML_R(-0.5) / (x * LIBM(sqrt)(x))));
    break;
  case ML_RECIPROCAL:
    GRAD(-g / (x * x));
    break;
  case ML_LOG:
    GRAD(g / x);
    break;
  case ML_LOG1P:
    GRAD(g / (ML_R(1) + x));
    break;
  case ML_LOG2:
    GRAD(g * ML_LOG2E / x);
    break;
  case ML_ASIN:
    GRAD(g / LIBM(sqrt)((ML_R(1) - x) * (ML_R(1) + x)));
    break;
  case ML_ACOS:
    GRAD(-g / LIBM(sqrt)((ML_R(1) - x) * (ML_R(1) + x)));
    break;
  case ML_ATAN:
    GRAD(g / (ML_R(1) + x * x));
    break;
  case ML_RELU:
    GRAD(x > 0 ? g : ML_R(0));
    break;
  case ML_RELU2:
    GRAD(x > 0 ? g * (ML_R(2) * x) : ML_R(0));
    break;
  default:
    break;
  }
}

static void grad_transcendental(ml_unary_op op, real *dx, const real *in, const real *dy,
                                int64_t n) {
  real f[ML_KERNEL_BLOCK]; /* n is at most a block where this is used */
  switch ((int)op) {
  case ML_EXP:
  case ML_EXPM1:
    GRAD(g * ml_exp(x));
    break;
  case ML_SIN:
  case ML_COS:
    for (int64_t i = 0; i < n; i++)
      f[i] = op == ML_SIN ? ml_cos(in[i]) : -ml_sin(in[i]);
    far_trig(f, in, n, op == ML_SIN);
    for (int64_t i = 0; i < n; i++) {
      real far = ml_abs(in[i]) > ML_TRIG_LIMIT && op == ML_COS ? ML_R(-1) : ML_R(1);
      dx[i] = dy[i] * (far * f[i]);
    }
    break;
  case ML_TAN:
    for (int64_t i = 0; i < n; i++)
      f[i] = LIBM(tan)(in[i]);
    for (int64_t i = 0; i < n; i++)
      dx[i] = dy[i] * (ML_R(1) + f[i] * f[i]);
    break;
  case ML_SINH:
    for (int64_t i = 0; i < n; i++)
      f[i] = LIBM(cosh)(in[i]);
    for (int64_t i = 0; i < n; i++)
      dx[i] = dy[i] * f[i];
    break;
  case ML_COSH:
    for (int64_t i = 0; i < n; i++)
      f[i] = LIBM(sinh)(in[i]);
    for (int64_t i = 0; i < n; i++)
      dx[i] = dy[i] * f[i];
    break;
  case ML_TANH: /* 1 - tanh^2 = 4 e / (1 + e)^2 with e = exp(-2|x|) */
    GRAD(g * (ML_R(4) * sigmoid_grad(ML_R(2) * x)));
    break;
  case ML_ERF:
    GRAD(g * (ML_R(1.12837916709551257390) * ml_exp(-x * x)));
    break;
  case ML_ERFC:
    GRAD(g * (ML_R(-1.12837916709551257390) * ml_exp(-x * x)));
    break;
  case ML_SIGMOID:
    GRAD(g * sigmoid_grad(x));
    break;
  case ML_SOFTPLUS:
    GRAD(g * ml_sigmoid(x));
    break;
  case ML_SILU:
    GRAD(g * ml_silu_grad(x));
    break;
  case ML_GELU_TANH:
    GRAD(g * ml_gelu_tanh_grad(x));
    break;
  case ML_GELU_ERF:
    GRAD(g * ml_gelu_erf_grad(x));
    break;
  default:
    grad_arithmetic(op, dx, in, dy, n);
    break;
  }
}

void ML_FN(tensor_k_unary_grad)(ml_unary_op op, void *dx, const void *x, int64_t sx, const void *dy,
                                int64_t sy, int64_t n) {
  real x_block[ML_KERNEL_BLOCK], dy_block[ML_KERNEL_BLOCK];
  for (int64_t at = 0; at < n; at += ML_KERNEL_BLOCK) {
    int64_t m = n - at < ML_KERNEL_BLOCK ? n - at : ML_KERNEL_BLOCK;
    grad_transcendental(op, (real *)dx + at, dense(x_block, x, sx, at, m),
                        dense(dy_block, dy, sy, at, m), m);
  }
}

void ML_FN(tensor_k_clamp)(void *out, const void *x, int64_t sx, double lo, double hi, int64_t n) {
  real block[ML_KERNEL_BLOCK], low = (real)lo, high = (real)hi;
  int64_t step = sx == 1 ? n : ML_KERNEL_BLOCK;
  for (int64_t at = 0; at < n; at += step) {
    int64_t m = n - at < step ? n - at : step;
    const real *in = dense(block, x, sx, at, m);
    real *to = (real *)out + at;
    _Pragma("GCC ivdep") for (int64_t i = 0; i < m; i++) {
      real v = in[i];
      v = v < low ? low : v; /* NaN stays */
      to[i] = v > high ? high : v;
    }
  }
}
