/* Shapes: sizes, equality, contiguity, description, broadcasting. */
#include "tensor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

int64_t ml_numel(const ml_tensor *t) {
  int64_t n = 1;
  for (int k = 0; k < t->rank; k++)
    n *= t->size[k];
  return n;
}

ml_shape ml_shape_of(const ml_tensor *t) {
  ml_shape shape = {.rank = t->rank};
  for (int k = 0; k < t->rank; k++)
    shape.size[k] = t->size[k];
  return shape;
}

int64_t ml_shape_numel(const ml_shape *shape) {
  int64_t n = 1; /* of the sizes that are not 0: strides must not overflow either */
  bool zero = false;
  for (int k = 0; k < shape->rank; k++) {
    if (shape->size[k] < 0)
      return -1;
    if (shape->size[k] == 0)
      zero = true;
    else if (__builtin_mul_overflow(n, shape->size[k], &n))
      return -1;
  }
  return zero ? 0 : n;
}

bool ml_shape_equal(const ml_shape *a, const ml_shape *b) {
  if (a->rank != b->rank)
    return false;
  for (int k = 0; k < a->rank; k++)
    if (a->size[k] != b->size[k])
      return false;
  return true;
}

ml_shape ml_shape_make(int rank, ...) {
  ml_shape shape = {.rank = rank};
  va_list args;
  va_start(args, rank);
  for (int k = 0; k < rank && k < ML_MAX_RANK; k++)
    shape.size[k] = va_arg(args, int64_t);
  va_end(args);
  return shape;
}

bool ml_is_contiguous(const ml_tensor *t) {
  int64_t step = 1;
  for (int k = t->rank - 1; k >= 0; k--) {
    if (t->size[k] == 0)
      return true;
    if (t->size[k] == 1)
      continue;
    if (t->stride[k] != step) {
      for (; k >= 0; k--)
        if (t->size[k] == 0)
          return true;
      return false;
    }
    step *= t->size[k];
  }
  return true;
}

void *ml_data(const ml_tensor *t) {
  return (char *)t->storage->data + t->offset * (int64_t)ml_dtype_size(t->dtype);
}

static int put_sizes(char *buf, int room, int rank, const int64_t *size) {
  int n = snprintf(buf, (size_t)room, "[");
  for (int k = 0; k < rank && n < room; k++)
    n += snprintf(buf + n, (size_t)(room - n), "%s%" PRId64, k ? "x" : "", size[k]);
  if (n < room)
    n += snprintf(buf + n, (size_t)(room - n), "]");
  return n;
}

const char *ml_describe(char buf[ML_DESCRIBE], const ml_tensor *t) {
  if (ml_tensor_empty(t)) {
    snprintf(buf, ML_DESCRIBE, "a released tensor");
    return buf;
  }
  int n = snprintf(buf, ML_DESCRIBE, "%s ", ml_dtype_name(t->dtype));
  put_sizes(buf + n, ML_DESCRIBE - n, t->rank, t->size);
  return buf;
}

const char *ml_describe_shape(char buf[ML_DESCRIBE], const ml_shape *shape) {
  put_sizes(buf, ML_DESCRIBE, shape->rank, shape->size);
  return buf;
}

ml_status ml_broadcast_shape(ml_shape *out, const ml_shape *a, const ml_shape *b, ml_error *err) {
  int rank = a->rank > b->rank ? a->rank : b->rank;
  ml_shape shape = {.rank = rank};
  for (int k = 0; k < rank; k++) {
    int ka = k - (rank - a->rank), kb = k - (rank - b->rank);
    int64_t na = ka < 0 ? 1 : a->size[ka], nb = kb < 0 ? 1 : b->size[kb];
    if (na != nb && na != 1 && nb != 1) {
      char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
      return ml_fail(err, ML_ESHAPE, 2, "shapes %s and %s do not broadcast",
                     ml_describe_shape(ta, a), ml_describe_shape(tb, b));
    }
    shape.size[k] = na == 1 ? nb : na;
  }
  *out = shape;
  return ML_OK;
}
