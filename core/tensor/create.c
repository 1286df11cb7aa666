/* Tensors from rules: ranges and the identity. */
#include "tensor.h"

#include <inttypes.h>
#include <math.h>

enum { POLL_EVERY = 1 << 16 };

ml_status ml_tensor_arange(ml_tensor *out, ml_dtype dtype, double start, double step, int64_t n,
                           ml_error *err) {
  if (n < 0)
    return ml_fail(err, ML_EARG, 0, "arange of %" PRId64 " elements", n);
  if (!isfinite(start) || !isfinite(step))
    return ml_fail(err, ML_EARG, 1, "arange from %g by %g: wanted finite numbers", start, step);
  double last = start + step * (double)(n > 0 ? n - 1 : 0);
  if (!ml_is_real(dtype)) {
    double most = dtype == ML_U8 ? 255 : 9007199254740992.0;
    if (start != floor(start) || step != floor(step) || start < 0 || start > most || last < 0 ||
        last > most)
      return ml_fail(err, ML_EARG, 1,
                     "arange from %g by %g to %g: %s wants whole numbers from 0 to %.0f", start,
                     step, last, ml_dtype_name(dtype), most);
  }
  ml_shape shape = ml_shape_make(1, n);
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init(&result, dtype, &shape, err));
  void *x = ml_data(&result);
  for (int64_t i = 0; i < n; i++) {
    if (i % POLL_EVERY == POLL_EVERY - 1 && ml_cancelled()) {
      ml_tensor_clear(&result);
      return ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    }
    double v = start + step * (double)i;
    switch (dtype) {
    case ML_F64:
      ((double *)x)[i] = v;
      break;
    case ML_F32:
      ((float *)x)[i] = (float)v;
      break;
    case ML_INDEX:
      ((int64_t *)x)[i] = (int64_t)v;
      break;
    default:
      ((uint8_t *)x)[i] = (uint8_t)v;
    }
  }
  *out = result;
  return ML_OK;
}

ml_status ml_tensor_linspace(ml_tensor *out, ml_dtype dtype, double start, double stop, int64_t n,
                             ml_error *err) {
  if (n < 0)
    return ml_fail(err, ML_EARG, 3, "linspace of %" PRId64 " elements", n);
  if (!ml_is_real(dtype))
    return ml_fail(err, ML_EDTYPE, 0, "linspace has no dtype %s, wanted f64 or f32",
                   ml_dtype_name(dtype));
  ml_shape shape = ml_shape_make(1, n);
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init(&result, dtype, &shape, err));
  void *x = ml_data(&result);
  double step = n > 1 ? (stop - start) / (double)(n - 1) : 0;
  for (int64_t i = 0; i < n; i++) {
    if (i % POLL_EVERY == POLL_EVERY - 1 && ml_cancelled()) {
      ml_tensor_clear(&result);
      return ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    }
    double v = i == n - 1 && n > 1 ? stop : start + step * (double)i;
    if (dtype == ML_F64)
      ((double *)x)[i] = v;
    else
      ((float *)x)[i] = (float)v;
  }
  *out = result;
  return ML_OK;
}

ml_status ml_tensor_eye(ml_tensor *out, ml_dtype dtype, int64_t rows, int64_t cols, ml_error *err) {
  if (rows < 0 || cols < 0)
    return ml_fail(err, ML_EARG, 1, "eye of %" PRId64 "x%" PRId64, rows, cols);
  if (dtype == ML_INDEX)
    return ml_fail(err, ML_EDTYPE, 0, "eye has no dtype index, wanted f64, f32 or u8");
  ml_shape shape = ml_shape_make(2, rows, cols);
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init_zeros(&result, dtype, &shape, err));
  int64_t n = rows < cols ? rows : cols;
  if (n > 0) {
    ml_tensor view = result;
    view.rank = 1;
    view.size[0] = n;
    view.stride[0] = cols + 1;
    ml_status status = ml_tensor_fill_into(&view, 1, err);
    if (status) {
      ml_tensor_clear(&result);
      return status;
    }
  }
  *out = result;
  return ML_OK;
}
