/* Elementary functions against libm, in every variant this machine can run: random bits, edges,
 * NaN, denormals. */
#include "tensor/kernels.h"
#include "tensors.h"

#include <float.h>

enum { N = 1024 };

typedef void (*unary_kernel)(ml_unary_op op, void *out, const void *x, int64_t sx, int64_t n);

static long double sigmoid_ref(long double x) {
  return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}
static long double reference(ml_unary_op op, long double x) {
  const long double c = 0.797884560802865355879892119868763737L; /* sqrt(2/pi) */
  switch ((int)op) {
  case ML_NEG:
    return -x;
  case ML_ABS:
    return fabsl(x);
  case ML_SIGN:
    return x > 0 ? 1 : x < 0 ? -1 : x;
  case ML_SQUARE:
    return x * x;
  case ML_SQRT:
    return sqrtl(x);
  case ML_RSQRT:
    return 1 / sqrtl(x);
  case ML_RECIPROCAL:
    return 1 / x;
  case ML_EXP:
    return expl(x);
  case ML_EXPM1:
    return expm1l(x);
  case ML_LOG:
    return logl(x);
  case ML_LOG1P:
    return log1pl(x);
  case ML_LOG2:
    return log2l(x);
  case ML_SIN:
    return sinl(x);
  case ML_COS:
    return cosl(x);
  case ML_TAN:
    return tanl(x);
  case ML_ASIN:
    return asinl(x);
  case ML_ACOS:
    return acosl(x);
  case ML_ATAN:
    return atanl(x);
  case ML_SINH:
    return sinhl(x);
  case ML_COSH:
    return coshl(x);
  case ML_TANH:
    return tanhl(x);
  case ML_ERF:
    return erfl(x);
  case ML_ERFC:
    return erfcl(x);
  case ML_SIGMOID:
    return sigmoid_ref(x);
  case ML_SOFTPLUS:
    return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x)));
  case ML_RELU:
    return x < 0 ? 0 : x;
  case ML_RELU2:
    return x < 0 ? 0 : x * x;
  case ML_SILU:
    return x == -HUGE_VALL ? 0 : x * sigmoid_ref(x);
  case ML_GELU_TANH:
    return x == -HUGE_VALL ? 0 : x * sigmoid_ref(2 * c * (x + 0.044715L * x * x * x));
  case ML_GELU_ERF:
    return x == -HUGE_VALL ? 0 : x / 2 * erfcl(-x / sqrtl(2.0L));
  case ML_FLOOR:
    return floorl(x);
  case ML_CEIL:
    return ceill(x);
  default:
    return rintl(x);
  }
}

/* Last places that the result is off; below the normal range, in units of the least denormal. */
static double off_by(double got, long double want, int digits, int least) {
  if (isnan(want) || isnan(got))
    return isnan(want) && isnan(got) ? 0 : HUGE_VAL;
  double rounded = digits == 24 ? (double)(float)want : (double)want;
  if (got == rounded)
    return 0;
  if (isinf(got) || isinf(rounded)) {
    double largest = digits == 24 ? (double)FLT_MAX : DBL_MAX;
    return fabs(isinf(got) ? rounded : got) >= largest * 0.999999 ? 1 : HUGE_VAL;
  }
  int e;
  frexpl(want, &e);
  e = want == 0 || e - 1 < least ? least : e - 1;
  return (double)(fabsl((long double)got - want) / ldexpl(1, e - digits + 1));
}

static uint64_t state = 88172645463325252u;

static double draw(ml_dtype dtype, int kind) {
  if (kind < 3)
    return number(&state) * (kind == 0 ? 0.5 : kind == 1 ? 5 : 60);
  if (dtype == ML_F32) {
    uint32_t u = (uint32_t)next(&state);
    float v;
    memcpy(&v, &u, sizeof v);
    return (double)v;
  }
  uint64_t u = next(&state);
  double v;
  memcpy(&v, &u, sizeof v);
  return v;
}

/* Within `places`; where the function comes out of a product with a tiny tail, within `absolute`.
 */
static void check_function(unary_kernel f, ml_dtype dtype, ml_unary_op op, double places,
                           double absolute) {
  static double x64[N], y64[N];
  static float x32[N], y32[N];
  double worst = 0, worst_x = 0;
  for (int round = 0; round < 40; round++) {
    for (int i = 0; i < N; i++) {
      double x = draw(dtype, round % 4);
      x64[i] = x;
      x32[i] = (float)x;
    }
    /* odd lengths, so that the last elements run outside vectors */
    int n = N - round % 7;
    if (dtype == ML_F32)
      f(op, y32, x32, 1, n);
    else
      f(op, y64, x64, 1, n);
    for (int i = 0; i < n; i++) {
      double x = dtype == ML_F32 ? (double)x32[i] : x64[i],
             y = dtype == ML_F32 ? (double)y32[i] : y64[i];
      long double want = reference(op, x);
      double off = off_by(y, want, dtype == ML_F32 ? 24 : 53, dtype == ML_F32 ? -126 : -1022);
      if (off > places && fabsl((long double)y - want) <= absolute)
        off = 0;
      if (off > worst) {
        worst = off;
        worst_x = x;
      }
    }
  }
  if (!(worst <= places))
    fprintf(stderr, "%s %s: off by %g last places at %.17g\n", ml_unary_name(op),
            ml_dtype_name(dtype), worst, worst_x);
  CHECK(worst <= places);
}

static void each_variant(void (*run)(unary_kernel f, ml_dtype dtype)) {
  run(ml_kernels(ML_F32)->unary, ML_F32);
  run(ml_kernels(ML_F64)->unary, ML_F64);
  run(ml_tensor_k_unary_f32_portable, ML_F32);
  run(ml_tensor_k_unary_f64_portable, ML_F64);
}

static void accuracy(unary_kernel f, ml_dtype dtype) {
  double tail = dtype == ML_F32 ? 1.2e-38 : 2.3e-308;
  for (int op = 0; op <= ML_ROUND; op++) {
    double places = 2.5, absolute = 0;
    if (op == ML_RSQRT)
      places = 1.5;
    if (op == ML_SILU || op == ML_GELU_TANH || op == ML_GELU_ERF) {
      /* x times a rounded sigmoid; denormal tails may be flushed */
      places = 6;
      absolute = tail * 200;
    }
    if (op ==
        ML_GELU_TANH) /* the argument of the exponential is rounded: relative error grows with it */
      places = dtype == ML_F32 ? 250 : 2500;
    if (op ==
        ML_GELU_ERF) { /* f32: 1 + erf, good to an ulp of 1; f64: erfc of a rounded argument */
      places = dtype == ML_F32 ? 6 : 2000;
      absolute = dtype == ML_F32 ? 5e-7 : absolute;
    }
    check_function(f, dtype, (ml_unary_op)op, places, absolute);
  }
}
static void test_accuracy(void) { each_variant(accuracy); }

static void edges(unary_kernel f, ml_dtype dtype) {
  const double inf = (double)INFINITY, nan = (double)NAN;
  const struct {
    ml_unary_op op;
    double x, y;
  } cases[] = {
      {ML_EXP, inf, inf},
      {ML_EXP, -inf, 0},
      {ML_EXP, 0, 1},
      {ML_EXP, 1e30, inf},
      {ML_EXP, -1e30, 0},
      {ML_EXPM1, -inf, -1},
      {ML_EXPM1, inf, inf},
      {ML_EXPM1, 1e30, inf},
      {ML_LOG, 0, -inf},
      {ML_LOG, -0.0, -inf},
      {ML_LOG, -1, nan},
      {ML_LOG, inf, inf},
      {ML_LOG, 1, 0},
      {ML_LOG1P, -1, -inf},
      {ML_LOG1P, -2, nan},
      {ML_LOG1P, inf, inf},
      {ML_LOG2, 8, 3},
      {ML_LOG2, 0.0009765625, -10},
      {ML_TANH, inf, 1},
      {ML_TANH, -inf, -1},
      {ML_TANH, 1e30, 1},
      {ML_SIGMOID, inf, 1},
      {ML_SIGMOID, -inf, 0},
      {ML_SIGMOID, 0, 0.5},
      {ML_SOFTPLUS, inf, inf},
      {ML_SOFTPLUS, -inf, 0},
      {ML_SOFTPLUS, 1e30, 1e30},
      {ML_SIN, inf, nan},
      {ML_COS, -inf, nan},
      {ML_COS, 0, 1},
      {ML_ERF, inf, 1},
      {ML_ERF, -inf, -1},
      {ML_SILU, -inf, 0},
      {ML_SILU, inf, inf},
      {ML_GELU_TANH, -inf, 0},
      {ML_GELU_TANH, inf, inf},
      {ML_GELU_ERF, -inf, 0},
      {ML_GELU_ERF, inf, inf},
      {ML_RELU, -inf, 0},
      {ML_ROUND, 0.5, 0},
      {ML_ROUND, 1.5, 2},
      {ML_ROUND, 2.5, 2},
      {ML_SIGN, -3, -1},
      {ML_GELU_TANH, 1e18, 1e18},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double got;
    float x32 = (float)cases[i].x, y32;
    if (dtype == ML_F32) {
      f(cases[i].op, &y32, &x32, 1, 1);
      got = (double)y32;
      CHECK_CLOSE(got, (double)(float)cases[i].y, 0);
    } else {
      f(cases[i].op, &got, &cases[i].x, 1, 1);
      CHECK_CLOSE(got, cases[i].y, 0);
    }
  }
  /* NaN of any payload stays NaN, in every function and place */
  uint32_t p32[3] = {0x7fc00000u, 0xffc12345u, 0x7f800001u};
  uint64_t p64[3] = {0x7ff8000000000000u, 0xfff8000012345678u, 0x7ff0000000000001u};
  for (int op = 0; op <= ML_ROUND; op++) {
    for (int payload = 0; payload < 3; payload++) {
      float x32[11] = {0}, y32[11];
      double x64[11] = {0}, y64[11];
      for (int i = 0; i < 11; i++) {
        x32[i] = 0.5f;
        x64[i] = 0.5;
      }
      memcpy(&x32[payload * 4], &p32[payload], 4);
      memcpy(&x64[payload * 4], &p64[payload], 8);
      if (dtype == ML_F32)
        f((ml_unary_op)op, y32, x32, 1, 11);
      else
        f((ml_unary_op)op, y64, x64, 1, 11);
      for (int i = 0; i < 11; i++) {
        bool is = dtype == ML_F32 ? isnan(y32[i]) : isnan(y64[i]);
        if (is != (i == payload * 4))
          fprintf(stderr, "%s: element %d\n", ml_unary_name((ml_unary_op)op), i);
        CHECK(is == (i == payload * 4));
      }
    }
  }
  /* odd functions keep the sign of zero */
  const ml_unary_op odd[] = {ML_EXPM1, ML_LOG1P, ML_TANH, ML_SIN, ML_ERF, ML_SQRT};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    float x32 = -0.0f, y32 = 1;
    double x64 = -0.0, y64 = 1;
    if (dtype == ML_F32)
      f(odd[i], &y32, &x32, 1, 1);
    else
      f(odd[i], &y64, &x64, 1, 1);
    CHECK(dtype == ML_F32 ? y32 == 0 && signbit(y32) : y64 == 0 && signbit(y64));
  }
}
static void test_edges(void) { each_variant(edges); }

static void flags(unary_kernel f, ml_dtype dtype) {
  float x32[6] = {NAN, INFINITY, -INFINITY, 0, FLT_MAX, -FLT_MIN / 4};
  double x64[6];
  for (int i = 0; i < 6; i++)
    x64[i] = (double)x32[i];
  uint8_t y[6];
  const struct {
    ml_unary_op op;
    uint8_t y[6];
  } want[] = {{ML_ISNAN, {1, 0, 0, 0, 0, 0}},
              {ML_ISINF, {0, 1, 1, 0, 0, 0}},
              {ML_ISFINITE, {0, 0, 0, 1, 1, 1}}};
  for (int k = 0; k < 3; k++) {
    f(want[k].op, y, dtype == ML_F32 ? (void *)x32 : (void *)x64, 1, 6);
    CHECK(memcmp(y, want[k].y, 6) == 0);
  }
}
static void test_flags(void) { each_variant(flags); }

/* dx = dy f'(x) against central differences of the long double reference. */
static void test_derivatives(void) {
  ml_error err;
  for (int op = 0; op <= ML_GELU_ERF; op++) {
    if (op == ML_SIGN)
      continue;
    for (int dtype = ML_F64; dtype <= ML_F32; dtype++) {
      double bound = dtype == ML_F32 ? 3e-6 : 1e-13;
      enum { M = 400 };
      ml_shape shape = {1, {M}};
      ml_tensor x = {0}, dy = {0}, dx = {0};
      CHECK_OK(ml_tensor_init(&x, (ml_dtype)dtype, &shape, &err), &err);
      CHECK_OK(ml_tensor_init(&dy, (ml_dtype)dtype, &shape, &err), &err);
      for (int i = 0; i < M; i++) {
        double v = number(&state) * 0.49; /* within asin's range */
        if (op == ML_SQRT || op == ML_RSQRT || op == ML_LOG || op == ML_LOG2)
          v = fabs(v) + 0.01;
        if (op == ML_EXP || op >= ML_TANH)
          v *= 6;
        if (fabs(v) < 1e-3)
          v = 0.1; /* away from the kinks of abs, relu, 1/x */
        put(&x, i, v);
        put(&dy, i, number(&state));
      }
      CHECK_OK(ml_tensor_unary_grad(&dx, (ml_unary_op)op, &x, &dy, &err), &err);
      for (int i = 0; i < M; i++) {
        long double v = at(&x, i), h = 1e-5L * (fabsl(v) < 1 ? fabsl(v) : 1);
        /* fourth order */
        long double slope =
            (8 * (reference((ml_unary_op)op, v + h) - reference((ml_unary_op)op, v - h)) -
             (reference((ml_unary_op)op, v + 2 * h) - reference((ml_unary_op)op, v - 2 * h))) /
            (12 * h);
        CHECK_NEAR(at(&dx, i), (double)(slope * at(&dy, i)), bound + 2e-12, bound + 2e-12);
      }
      ml_tensor_clear(&x);
      ml_tensor_clear(&dy);
      ml_tensor_clear(&dx);
    }
  }
  /* far out the derivatives are their limits, not NaN */
  const ml_unary_op tame[] = {ML_TANH,      ML_SIGMOID,  ML_SOFTPLUS, ML_SILU,
                              ML_GELU_TANH, ML_GELU_ERF, ML_ERF};
  const double limit[] = {0, 0, 1, 1, 1, 1, 0};
  for (size_t k = 0; k < sizeof tame / sizeof *tame; k++) {
    ml_tensor x = VECTOR(ML_F32, 200, 1e30, (double)INFINITY, -200, -1e30, -(double)INFINITY),
              dy = VECTOR(ML_F32, 1, 1, 1, 1, 1, 1), dx = {0};
    CHECK_OK(ml_tensor_unary_grad(&dx, tame[k], &x, &dy, &err), &err);
    for (int i = 0; i < 6; i++)
      CHECK_CLOSE(at(&dx, i), i < 3 ? limit[k] : 0, 0);
    ml_tensor_clear(&x);
    ml_tensor_clear(&dy);
    ml_tensor_clear(&dx);
  }
  ml_tensor x = VECTOR(ML_F64, 1), dx = {0};
  CHECK_FAIL(ml_tensor_unary_grad(&dx, ML_FLOOR, &x, &x, &err), ML_EARG);
  CHECK_HAS(err.message, "floor has no derivative");
  ml_tensor_clear(&x);
}

CHECK_MAIN(test_accuracy, test_edges, test_flags, test_derivatives)
