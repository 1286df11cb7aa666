/* Status and error: the message is written into the caller's struct, so reporting never allocates.
 */
#include "base.h"

#include <stdarg.h>

void ml_error_set(ml_error *err, ml_status status, int arg, const char *fmt, ...) {
  if (!err)
    return;
  err->status = status;
  err->arg = arg;
  va_list args;
  va_start(args, fmt);
  vsnprintf(err->message, sizeof err->message, fmt, args);
  va_end(args);
}

const char *ml_status_name(ml_status status) {
  switch (status) {
  case ML_OK:
    return "ok";
  case ML_EARG:
    return "bad argument";
  case ML_ESHAPE:
    return "shape mismatch";
  case ML_EDTYPE:
    return "dtype mismatch";
  case ML_ENOMEM:
    return "out of memory";
  case ML_EIO:
    return "input/output error";
  case ML_EFORMAT:
    return "malformed file";
  case ML_ENUMERIC:
    return "numerical failure";
  case ML_ESTATE:
    return "wrong state";
  case ML_ECANCELLED:
    return "interrupted";
  }
  return "unknown status";
}
