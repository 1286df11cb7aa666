/* Probes of the residual stream: numbers read on the way, which never change a result. */
#include "internal.h"

#include <math.h>

ml_status ml_probe_rms(double *rms, const ml_tensor *x, ml_error *err) {
  ml_tensor plain = {0}, sum = {0};
  ml_tensor_detach(&plain, x);
  ml_status status = ml_tensor_reduce(&sum, ML_SUMSQ, &plain, 0, false, err);
  double total = 0;
  if (!status)
    status = ml_tensor_item(&total, &sum, err);
  *rms = sqrt(total / (double)ml_numel(x));
  ml_tensor_clear(&plain);
  ml_tensor_clear(&sum);
  return status;
}
