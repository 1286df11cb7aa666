/* Checks of inputs, with messages that name operation and input. */
#include "common.h"

ml_status ml_nn_check_real(const char *op, const char *name, const ml_tensor *x, int min_rank,
                           int arg, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!x || ml_tensor_empty(x))
    return ml_fail(err, ML_ESTATE, arg, "%s: %s is a released tensor", op, name);
  if (!ml_is_real(x->dtype))
    return ml_fail(err, ML_EDTYPE, arg, "%s: %s is %s, wanted f32 or f64", op, name,
                   ml_describe(text, x));
  if (x->rank < min_rank)
    return ml_fail(err, ML_ESHAPE, arg, "%s: %s is %s, wanted at least %d axes", op, name,
                   ml_describe(text, x), min_rank);
  return ML_OK;
}

ml_status ml_nn_check_like(const char *op, const char *name, const ml_tensor *w, const char *x_name,
                           const ml_tensor *x, const ml_shape *want, int arg, ml_error *err) {
  if (!w)
    return ML_OK;
  char a[ML_DESCRIBE], b[ML_DESCRIBE], s[ML_DESCRIBE];
  if (ml_tensor_empty(w))
    return ml_fail(err, ML_ESTATE, arg, "%s: %s is a released tensor", op, name);
  if (w->dtype != x->dtype)
    return ml_fail(err, ML_EDTYPE, arg, "%s: dtypes of %s and %s disagree: %s and %s", op, x_name,
                   name, ml_describe(a, x), ml_describe(b, w));
  ml_shape shape = ml_shape_of(w);
  if (want && !ml_shape_equal(&shape, want))
    return ml_fail(err, ML_ESHAPE, arg, "%s: %s and %s disagree: %s and %s, wanted %s %s", op,
                   x_name, name, ml_describe(a, x), ml_describe(b, w), name,
                   ml_describe_shape(s, want));
  return ML_OK;
}

ml_status ml_nn_check_ids(const char *op, const char *name, const int64_t *ids, int64_t count,
                          int64_t n, int arg, ml_error *err) {
  for (int64_t i = 0; i < count; i++)
    if (ids[i] < 0 || ids[i] >= n)
      return ml_fail(err, ML_EARG, arg, "%s: %s %lld is outside 1..%lld", op, name,
                     (long long)ids[i] + 1, (long long)n);
  return ML_OK;
}
