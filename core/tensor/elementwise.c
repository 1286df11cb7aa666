/* Functions of two operands: broadcasting, numbers, in place, where. */
#include "kernels.h"
#include "loop.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const names[ML_BINARY_COUNT] = {
    "add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "lt",
    "le",  "gt",  "ge",  "eq",  "ne",  "and",     "or",      "xor"};

const char *ml_binary_name(ml_binary_op op) {
  return (unsigned)op < ML_BINARY_COUNT ? names[op] : "?";
}

static bool compares(ml_binary_op op) { return op >= ML_LT && op <= ML_NE; }
static bool logical(ml_binary_op op) { return op >= ML_AND; }

/* ---- index and u8 ---------------------------------------------------------------------------- */

#define INTEGER_LOOP(T, value)                                                                     \
  do {                                                                                             \
    const T *a = va, *b = vb;                                                                      \
    for (int64_t i = 0; i < n; i++) {                                                              \
      T x = a[i * sa], y = b[i * sb];                                                              \
      out[i] = (uint8_t)(value);                                                                   \
    }                                                                                              \
  } while (0)
#define INTEGER_COMPARE(T)                                                                         \
  do {                                                                                             \
    switch ((int)op) {                                                                             \
    case ML_LT:                                                                                    \
      INTEGER_LOOP(T, x < y);                                                                      \
      break;                                                                                       \
    case ML_LE:                                                                                    \
      INTEGER_LOOP(T, x <= y);                                                                     \
      break;                                                                                       \
    case ML_GT:                                                                                    \
      INTEGER_LOOP(T, x > y);                                                                      \
      break;                                                                                       \
    case ML_GE:                                                                                    \
      INTEGER_LOOP(T, x >= y);                                                                     \
      break;                                                                                       \
    case ML_EQ:                                                                                    \
      INTEGER_LOOP(T, x == y);                                                                     \
      break;                                                                                       \
    case ML_NE:                                                                                    \
      INTEGER_LOOP(T, x != y);                                                                     \
      break;                                                                                       \
    case ML_AND:                                                                                   \
      INTEGER_LOOP(T, x &&y);                                                                      \
      break;                                                                                       \
    case ML_OR:                                                                                    \
      INTEGER_LOOP(T, x || y);                                                                     \
      break;                                                                                       \
    default:                                                                                       \
      INTEGER_LOOP(T, !x != !y);                                                                   \
      break;                                                                                       \
    }                                                                                              \
  } while (0)

static void index_binary(ml_binary_op op, uint8_t *out, const void *va, int64_t sa, const void *vb,
                         int64_t sb, int64_t n) {
  INTEGER_COMPARE(int64_t);
}

static void u8_binary(ml_binary_op op, uint8_t *out, const void *va, int64_t sa, const void *vb,
                      int64_t sb, int64_t n) {
  INTEGER_COMPARE(uint8_t);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

typedef struct {
  ml_binary_op op;
  ml_dtype dtype;
  const ml_tensor_kernels *kernels;
} binary_job;

static void segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const binary_job *job = ctx;
  if (!ml_is_real(job->dtype)) {
    (job->dtype == ML_U8 ? u8_binary : index_binary)(job->op, (uint8_t *)p[0], p[1], s[1], p[2],
                                                     s[2], n);
  } else if (compares(job->op)) {
    job->kernels->compare(job->op, (uint8_t *)p[0], p[1], s[1], p[2], s[2], n);
  } else {
    job->kernels->binary(job->op, p[0], s[0], p[1], s[1], p[2], s[2], n);
  }
}

static double cost(ml_binary_op op) { return op == ML_POW || op == ML_ATAN2 ? 100 : 5; }

static ml_status check_op(ml_binary_op op, const ml_tensor *a, ml_error *err) {
  char text[ML_DESCRIBE];
  if ((unsigned)op >= ML_BINARY_COUNT)
    return ml_fail(err, ML_EARG, 0, "unknown operation");
  if (compares(op) || (logical(op) ? a->dtype == ML_U8 : ml_is_real(a->dtype)))
    return ML_OK;
  return ml_fail(err, ML_EDTYPE, 1, "%s wants %s, got %s", names[op],
                 logical(op) ? "u8" : "f64 or f32", ml_describe(text, a));
}

/* Same shape, and both run through memory alike. */
static bool dense_alike(const ml_tensor *a, const ml_tensor *b) {
  if (a->rank != b->rank)
    return false;
  for (int k = 0; k < a->rank; k++)
    if (a->size[k] != b->size[k])
      return false;
  return ml_is_contiguous(a) && ml_is_contiguous(b);
}

/* a and b of one dtype that broadcast to shape; dense: their steps and the result's, when all run
 * through memory alike, which small ones do without a loop. */
static ml_status run_binary(ml_tensor *out, ml_binary_op op, const ml_tensor *a, const ml_tensor *b,
                            const ml_shape *shape, const int64_t *dense, ml_error *err) {
  ml_tensor result;
  ML_TRY(ml_tensor_init(&result, op >= ML_LT ? ML_U8 : a->dtype, shape, err));
  binary_job job = {op, a->dtype, ml_kernels(a->dtype)};
  int64_t n = ml_numel(&result);
  ml_status status = ML_OK;
  if (dense && n <= ML_LOOP_CHUNK) {
    char *p[3] = {ml_data(&result), ml_data(a), ml_data(b)};
    segment(&job, p, dense, n);
  } else if (n > 0) {
    ml_loop loop;
    ml_loop_init(&loop, shape, 3, (const ml_tensor *const[]){&result, a, b});
    loop.plain = true;
    status = ml_loop_poll(&loop, cost(op), segment, &job, err);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

ml_status ml_tensor_binary(ml_tensor *out, ml_binary_op op, const ml_tensor *a, const ml_tensor *b,
                           ml_error *err) {
  if (a->dtype != b->dtype) {
    char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
    return ml_fail(err, ML_EDTYPE, 2, "%s: dtypes disagree: %s and %s", ml_binary_name(op),
                   ml_describe(ta, a), ml_describe(tb, b));
  }
  ML_TRY(check_op(op, a, err));
  ml_shape shape = ml_shape_of(a);
  bool dense = dense_alike(a, b);
  if (!dense) {
    ml_shape other = ml_shape_of(b);
    if (ml_broadcast_shape(&shape, &shape, &other, err)) {
      char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
      return ml_fail(err, ML_ESHAPE, 2, "%s: shapes disagree: %s and %s", names[op],
                     ml_describe(ta, a), ml_describe(tb, b));
    }
  }
  return run_binary(out, op, a, b, &shape, dense ? (const int64_t[]){1, 1, 1} : NULL, err);
}

/* The number as an element of dtype; false when it has none. */
typedef union {
  double f64;
  float f32;
  int64_t index;
  uint8_t u8;
} element;

static bool element_of(element *e, ml_dtype dtype, double number) {
  switch (dtype) {
  case ML_F64:
    e->f64 = number;
    return true;
  case ML_F32:
    e->f32 = (float)number;
    return true;
  case ML_INDEX:
    if (!(number >= -9007199254740992.0 && number <= 9007199254740992.0 && number == floor(number)))
      return false;
    e->index = (int64_t)number;
    return true;
  default:
    if (!(number >= 0 && number <= 255 && number == floor(number)))
      return false;
    e->u8 = (uint8_t)number;
    return true;
  }
}

/* A 0-d tensor on the caller's stack. */
static ml_tensor scalar_of(ml_storage *here, element *e, ml_dtype dtype) {
  *here = (ml_storage){.refs = 1, .data = e};
  return (ml_tensor){.storage = here, .dtype = dtype};
}

ml_status ml_tensor_binary_number(ml_tensor *out, ml_binary_op op, const ml_tensor *t,
                                  double number, bool reverse, ml_error *err) {
  ML_TRY(check_op(op, t, err));
  element e;
  ml_storage here;
  if (!element_of(&e, t->dtype, number)) {
    /* no element equals it: compare as f64 */
    if (logical(op))
      return ml_fail(err, ML_EARG, 2, "%s: %g is no u8", names[op], number);
    ml_tensor wide = {0};
    ML_TRY(ml_tensor_cast(&wide, t, ML_F64, err));
    ml_status status = ml_tensor_binary_number(out, op, &wide, number, reverse, err);
    ml_tensor_clear(&wide);
    return status;
  }
  ml_tensor one = scalar_of(&here, &e, t->dtype);
  const ml_tensor *a = reverse ? &one : t, *b = reverse ? t : &one;
  ml_shape shape = ml_shape_of(t);
  const int64_t strides[] = {1, !reverse, reverse};
  return run_binary(out, op, a, b, &shape, ml_is_contiguous(t) ? strides : NULL, err);
}

/* ---- in place -------------------------------------------------------------------------------- */

static ml_status check_into_op(ml_binary_op op, const ml_tensor *dst, ml_error *err) {
  char text[ML_DESCRIBE];
  if ((unsigned)op > ML_DIV)
    return ml_fail(err, ML_EARG, 0, "%s has no form in place", ml_binary_name(op));
  if (!ml_is_real(dst->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "%s in place wants f64 or f32, got %s", names[op],
                   ml_describe(text, dst));
  return ML_OK;
}

static void run_into(ml_tensor *dst, ml_binary_op op, const ml_tensor *src) {
  ml_shape shape = ml_shape_of(dst);
  binary_job job = {op, dst->dtype, ml_kernels(dst->dtype)};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 3, (const ml_tensor *const[]){dst, dst, src});
  loop.plain = true;
  ml_loop_run(&loop, cost(op), segment, &job);
  ml_touch(dst);
}

ml_status ml_tensor_binary_into(ml_tensor *dst, ml_binary_op op, const ml_tensor *src,
                                ml_error *err) {
  ML_TRY(ml_check_into(dst, src, err));
  ML_TRY(check_into_op(op, dst, err));
  if (ml_numel(dst) == 0)
    return ML_OK;
  if (ml_overlaps(dst, src)) {
    ml_tensor copy = {0};
    ML_TRY(ml_tensor_clone(&copy, src, err));
    run_into(dst, op, &copy);
    ml_tensor_clear(&copy);
  } else {
    run_into(dst, op, src);
  }
  return ML_OK;
}

ml_status ml_tensor_binary_number_into(ml_tensor *dst, ml_binary_op op, double number,
                                       ml_error *err) {
  ML_TRY(check_into_op(op, dst, err));
  element e;
  ml_storage here;
  (void)element_of(&e, dst->dtype, number);
  ml_tensor one = scalar_of(&here, &e, dst->dtype);
  ML_TRY(ml_check_into(dst, &one, err));
  if (ml_numel(dst) > 0)
    run_into(dst, op, &one);
  return ML_OK;
}

typedef struct {
  const ml_tensor_kernels *kernels;
  double a, b;
} number_job;

static void axpy_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const number_job *job = ctx;
  job->kernels->axpy(p[0], s[0], job->a, p[1], s[1], n);
}

ml_status ml_tensor_axpy_into(ml_tensor *dst, double alpha, const ml_tensor *src, ml_error *err) {
  ML_TRY(ml_check_into(dst, src, err));
  ML_TRY(check_into_op(ML_ADD, dst, err));
  ml_shape shape = ml_shape_of(dst), from = ml_shape_of(src);
  if (!ml_shape_equal(&shape, &from)) {
    char want[ML_DESCRIBE], got[ML_DESCRIBE];
    return ml_fail(err, ML_ESHAPE, 2, "shapes disagree: %s and %s", ml_describe(want, dst),
                   ml_describe(got, src));
  }
  if (ml_numel(dst) == 0)
    return ML_OK;
  ml_tensor copy = {0};
  if (ml_overlaps(dst, src)) {
    ML_TRY(ml_tensor_clone(&copy, src, err));
    src = &copy;
  }
  number_job job = {ml_kernels(dst->dtype), alpha, 0};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){dst, src});
  loop.plain = true;
  ml_loop_run(&loop, 5, axpy_segment, &job);
  ml_touch(dst);
  ml_tensor_clear(&copy);
  return ML_OK;
}

/* ---- where, clamp ---------------------------------------------------------------------------- */

static void select_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const ml_tensor_kernels *kernels = ctx;
  const uint8_t *cond = (const uint8_t *)p[1];
  if (kernels) {
    kernels->select(p[0], cond, s[1], p[2], s[2], p[3], s[3], n);
  } else {
    for (int64_t i = 0; i < n; i++)
      p[0][i] = cond[i * s[1]] ? p[2][i * s[2]] : p[3][i * s[3]];
  }
}

ml_status ml_tensor_where(ml_tensor *out, const ml_tensor *cond, const ml_tensor *a,
                          const ml_tensor *b, ml_error *err) {
  char ta[ML_DESCRIBE], tb[ML_DESCRIBE], tc[ML_DESCRIBE];
  if (cond->dtype != ML_U8)
    return ml_fail(err, ML_EDTYPE, 1, "where wants a u8 condition, got %s", ml_describe(tc, cond));
  if (a->dtype != b->dtype)
    return ml_fail(err, ML_EDTYPE, 3, "where: dtypes disagree: %s and %s", ml_describe(ta, a),
                   ml_describe(tb, b));
  ml_shape shape, sc = ml_shape_of(cond), sa = ml_shape_of(a), sb = ml_shape_of(b);
  if (ml_broadcast_shape(&shape, &sa, &sb, err) || ml_broadcast_shape(&shape, &shape, &sc, err))
    return ml_fail(err, ML_ESHAPE, 0, "where: shapes disagree: %s, %s and %s",
                   ml_describe_shape(tc, &sc), ml_describe_shape(ta, &sa),
                   ml_describe_shape(tb, &sb));
  ml_tensor result;
  ML_TRY(ml_tensor_init(&result, a->dtype, &shape, err));
  size_t item = ml_dtype_size(a->dtype);
  const ml_tensor_kernels *kernels = item == 1 ? NULL : ml_kernels(item == 4 ? ML_F32 : ML_F64);
  ml_loop loop;
  ml_loop_init(&loop, &shape, 4, (const ml_tensor *const[]){&result, cond, a, b});
  loop.plain = true;
  ml_status status = ml_loop_poll(&loop, 7, select_segment, (void *)(uintptr_t)kernels, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

static void clamp_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const number_job *job = ctx;
  job->kernels->clamp(p[0], p[1], s[1], job->a, job->b, n);
}

ml_status ml_tensor_clamp(ml_tensor *out, const ml_tensor *t, double lo, double hi, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(t->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "clamp wants f64 or f32, got %s", ml_describe(text, t));
  if (!(lo <= hi))
    return ml_fail(err, ML_EARG, 2, "clamp from %g to %g: wanted low <= high", lo, hi);
  ml_shape shape = ml_shape_of(t);
  ml_tensor result;
  ML_TRY(ml_tensor_init(&result, t->dtype, &shape, err));
  number_job job = {ml_kernels(t->dtype), lo, hi};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){&result, t});
  loop.plain = true;
  ml_status status = ml_loop_poll(&loop, 4, clamp_segment, &job, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}
