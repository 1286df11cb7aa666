/* Functions of one operand and their fused derivatives. */
#include "kernels.h"
#include "loop.h"

static const char *const names[ML_UNARY_COUNT] = {
    "neg",      "abs",   "sign",  "square",   "sqrt",      "rsqrt",    "reciprocal", "exp",
    "expm1",    "log",   "log1p", "log2",     "sin",       "cos",      "tan",        "asin",
    "acos",     "atan",  "sinh",  "cosh",     "tanh",      "erf",      "erfc",       "sigmoid",
    "softplus", "relu",  "relu2", "silu",     "gelu_tanh", "gelu_erf", "floor",      "ceil",
    "round",    "isnan", "isinf", "isfinite", "not"};

const char *ml_unary_name(ml_unary_op op) {
  return (unsigned)op < ML_UNARY_COUNT ? names[op] : "?";
}

static bool tests(ml_unary_op op) { return op >= ML_ISNAN; }

/* Tenths of a nanosecond of one element. */
static double cost(ml_unary_op op) {
  switch ((int)op) {
  case ML_TAN:
  case ML_ASIN:
  case ML_ACOS:
  case ML_ATAN:
  case ML_SINH:
  case ML_COSH:
  case ML_ERFC:
    return 100;
  default:
    return op >= ML_EXP && op <= ML_GELU_ERF ? 10 : 4;
  }
}

typedef struct {
  ml_unary_op op;
  ml_dtype dtype;
  const ml_tensor_kernels *kernels;
} unary_job;

static void segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const unary_job *job = ctx;
  if (ml_is_real(job->dtype)) {
    job->kernels->unary(job->op, p[0], p[1], s[1], n);
    return;
  }
  int64_t item = (int64_t)ml_dtype_size(job->dtype);
  for (int64_t i = 0; i < n; i++) {
    const char *x = p[1] + i * s[1] * item;
    p[0][i] = job->op == ML_NOT ? *x == 0 : job->op == ML_ISFINITE;
  }
}

ml_status ml_tensor_unary(ml_tensor *out, ml_unary_op op, const ml_tensor *t, ml_error *err) {
  if ((unsigned)op >= ML_UNARY_COUNT)
    return ml_fail(err, ML_EARG, 0, "unknown operation");
  if (op == ML_NOT ? t->dtype != ML_U8 : !ml_is_real(t->dtype) && !tests(op)) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_EDTYPE, 1, "%s wants %s, got %s", names[op],
                   op == ML_NOT ? "u8" : "f64 or f32", ml_describe(text, t));
  }
  ml_shape shape = ml_shape_of(t);
  ml_tensor result;
  ML_TRY(ml_tensor_init(&result, tests(op) ? ML_U8 : t->dtype, &shape, err));
  unary_job job = {op, t->dtype, ml_kernels(t->dtype)};
  int64_t n = ml_numel(&result);
  ml_status status = ML_OK;
  if (n <= ML_LOOP_CHUNK && ml_is_contiguous(t)) {
    char *p[2] = {ml_data(&result), ml_data(t)};
    segment(&job, p, (const int64_t[]){1, 1}, n);
  } else if (n > 0) {
    ml_loop loop;
    ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){&result, t});
    loop.plain = true;
    status = ml_loop_poll(&loop, cost(op), segment, &job, err);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

static void grad_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const unary_job *job = ctx;
  job->kernels->unary_grad(job->op, p[0], p[1], s[1], p[2], s[2], n);
}

ml_status ml_tensor_unary_grad(ml_tensor *dx, ml_unary_op op, const ml_tensor *x,
                               const ml_tensor *dy, ml_error *err) {
  char tx[ML_DESCRIBE], ty[ML_DESCRIBE];
  if ((unsigned)op > ML_GELU_ERF || op == ML_SIGN)
    return ml_fail(err, ML_EARG, 0, "%s has no derivative rule", ml_unary_name(op));
  if (!ml_is_real(x->dtype) || dy->dtype != x->dtype)
    return ml_fail(err, ML_EDTYPE, 2, "derivative of %s: dtypes disagree: %s and %s", names[op],
                   ml_describe(tx, x), ml_describe(ty, dy));
  ml_shape shape = ml_shape_of(x), from = ml_shape_of(dy);
  if (!ml_shape_equal(&shape, &from))
    return ml_fail(err, ML_ESHAPE, 2, "derivative of %s: shapes disagree: %s and %s", names[op],
                   ml_describe(tx, x), ml_describe(ty, dy));
  ml_tensor result;
  ML_TRY(ml_tensor_init(&result, x->dtype, &shape, err));
  unary_job job = {op, x->dtype, ml_kernels(x->dtype)};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 3, (const ml_tensor *const[]){&result, x, dy});
  loop.plain = true;
  ml_status status = ml_loop_poll(&loop, cost(op), grad_segment, &job, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *dx = result;
  return status;
}
