/* Comparing whole tensors. */
#include "loop.h"

#include <math.h>
#include <string.h>

typedef struct {
  ml_dtype dtype;
  double rtol, atol;
  bool equal_nan, good;
} comparison;

static void equal_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  comparison *c = ctx;
  int64_t item = (int64_t)ml_dtype_size(c->dtype);
  if (!c->good)
    return;
  if (s[0] == 1 && s[1] == 1 && memcmp(p[0], p[1], (size_t)(n * item)) == 0)
    return;
  for (int64_t i = 0; i < n && c->good; i++) {
    const void *a = p[0] + i * s[0] * item, *b = p[1] + i * s[1] * item;
    if (memcmp(a, b, (size_t)item) == 0)
      continue;
    c->good = (c->dtype == ML_F64 && isnan(*(const double *)a) && isnan(*(const double *)b)) ||
              (c->dtype == ML_F32 && isnan(*(const float *)a) && isnan(*(const float *)b));
  }
}

bool ml_tensor_equal(const ml_tensor *a, const ml_tensor *b) {
  ml_shape shape = ml_shape_of(a), other = ml_shape_of(b);
  if (a->dtype != b->dtype || !ml_shape_equal(&shape, &other))
    return false;
  comparison c = {.dtype = a->dtype, .good = true};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){a, b});
  ml_loop_run_serial(&loop, equal_segment, &c);
  return c.good;
}

static double read(ml_dtype dtype, const char *p) {
  switch (dtype) {
  case ML_F64:
    return *(const double *)(const void *)p;
  case ML_F32:
    return (double)*(const float *)(const void *)p;
  case ML_INDEX:
    return (double)*(const int64_t *)(const void *)p;
  default:
    return *(const uint8_t *)p;
  }
}

static void close_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  comparison *c = ctx;
  int64_t item = (int64_t)ml_dtype_size(c->dtype);
  for (int64_t i = 0; i < n && c->good; i++) {
    double a = read(c->dtype, p[0] + i * s[0] * item), b = read(c->dtype, p[1] + i * s[1] * item);
    if (a == b || (c->equal_nan && isnan(a) && isnan(b)))
      continue;
    c->good = isfinite(a) && isfinite(b) && fabs(a - b) <= c->atol + c->rtol * fabs(b);
  }
}

ml_status ml_tensor_allclose(bool *close, const ml_tensor *a, const ml_tensor *b, double rtol,
                             double atol, bool equal_nan, ml_error *err) {
  char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
  if (a->dtype != b->dtype)
    return ml_fail(err, ML_EDTYPE, 2, "allclose: dtypes disagree: %s and %s", ml_describe(ta, a),
                   ml_describe(tb, b));
  if (!(rtol >= 0) || !(atol >= 0))
    return ml_fail(err, ML_EARG, 3, "allclose: rtol %g and atol %g, wanted >= 0", rtol, atol);
  ml_shape shape, sa = ml_shape_of(a), sb = ml_shape_of(b);
  if (ml_broadcast_shape(&shape, &sa, &sb, err))
    return ml_fail(err, ML_ESHAPE, 2, "allclose: shapes disagree: %s and %s", ml_describe(ta, a),
                   ml_describe(tb, b));
  comparison c = {a->dtype, rtol, atol, equal_nan, true};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){a, b});
  ML_TRY(ml_loop_poll_serial(&loop, close_segment, &c, err));
  *close = c.good;
  return ML_OK;
}
