/* Joining tensors, and the parts of matrices. */
#include "layout.h"

#include <string.h>

ml_status ml_tensor_concat(ml_tensor *out, const ml_tensor *const *t, int n, int axis,
                           ml_error *err) {
  char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
  if (n < 1)
    return ml_fail(err, ML_EARG, 1, "concat of no tensors");
  const ml_tensor *first = t[0];
  ML_TRY(ml_check_axis(first, axis, "concat", 2, err));
  ml_shape shape = ml_shape_of(first);
  for (int i = 1; i < n; i++) {
    if (t[i]->dtype != first->dtype)
      return ml_fail(err, ML_EDTYPE, 1, "concat: dtypes disagree: %s and, at %d, %s",
                     ml_describe(ta, first), i + 1, ml_describe(tb, t[i]));
    bool good = t[i]->rank == first->rank;
    for (int k = 0; good && k < first->rank; k++)
      good = k == axis || t[i]->size[k] == first->size[k];
    if (!good || __builtin_add_overflow(shape.size[axis], t[i]->size[axis], &shape.size[axis]))
      return ml_fail(err, ML_ESHAPE, 1, "concat on axis %d: shapes disagree: %s and, at %d, %s",
                     axis + 1, ml_describe(ta, first), i + 1, ml_describe(tb, t[i]));
  }
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init(&result, first->dtype, &shape, err));
  int64_t at = 0;
  ml_status status = ML_OK;
  for (int i = 0; !status && i < n; i++) {
    ml_tensor part = {0};
    status = ml_view_narrow(&part, &result, axis, at, t[i]->size[axis], err);
    if (!status)
      status = ml_tensor_copy_into(&part, t[i], err);
    at += t[i]->size[axis];
    ml_tensor_clear(&part);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

ml_status ml_tensor_stack(ml_tensor *out, const ml_tensor *const *t, int n, int axis,
                          ml_error *err) {
  char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
  if (n < 1)
    return ml_fail(err, ML_EARG, 1, "stack of no tensors");
  const ml_tensor *first = t[0];
  if (axis < 0 || axis > first->rank)
    return ml_fail(err, ML_EARG, 2, "stack: axis %d out of range for %s", axis + 1,
                   ml_describe(ta, first));
  if (first->rank == ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 1, "stack: rank %d, wanted at most %d", first->rank + 1,
                   ML_MAX_RANK);
  ml_shape one = ml_shape_of(first), shape = {.rank = first->rank + 1};
  for (int i = 1; i < n; i++) {
    ml_shape other = ml_shape_of(t[i]);
    if (t[i]->dtype != first->dtype)
      return ml_fail(err, ML_EDTYPE, 1, "stack: dtypes disagree: %s and, at %d, %s",
                     ml_describe(ta, first), i + 1, ml_describe(tb, t[i]));
    if (!ml_shape_equal(&one, &other))
      return ml_fail(err, ML_ESHAPE, 1, "stack: shapes disagree: %s and, at %d, %s",
                     ml_describe(ta, first), i + 1, ml_describe(tb, t[i]));
  }
  for (int k = 0; k < shape.rank; k++)
    shape.size[k] = k == axis ? n : one.size[k < axis ? k : k - 1];
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init(&result, first->dtype, &shape, err));
  ml_status status = ML_OK;
  for (int i = 0; !status && i < n; i++) {
    ml_tensor part = {0}, flat = {0};
    status = ml_view_narrow(&part, &result, axis, i, 1, err);
    if (!status)
      status = ml_view_squeeze(&flat, &part, axis, err);
    if (!status)
      status = ml_tensor_copy_into(&flat, t[i], err);
    ml_tensor_clear(&part);
    ml_tensor_clear(&flat);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

ml_status ml_tensor_tri(ml_tensor *out, const ml_tensor *t, int64_t diagonal, bool upper,
                        ml_error *err) {
  if (t->rank < 2) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_ESHAPE, 1, "%s wants a matrix, got %s", upper ? "triu" : "tril",
                   ml_describe(text, t));
  }
  ml_tensor result = {0};
  ML_TRY(ml_tensor_clone(&result, t, err));
  int64_t rows = t->size[t->rank - 2], columns = t->size[t->rank - 1], n = ml_numel(t);
  size_t item = ml_dtype_size(t->dtype);
  char *x = ml_data(&result);
  if (diagonal > columns)
    diagonal = columns;
  if (diagonal < -rows)
    diagonal = -rows;
  for (int64_t start = 0; start < n; start += columns) {
    /* row i keeps columns from (upper) or up to and with i + diagonal */
    int64_t edge = start / columns % rows + diagonal + (upper ? 0 : 1);
    edge = edge < 0 ? 0 : edge > columns ? columns : edge;
    char *row = x + start * (int64_t)item;
    if (upper)
      memset(row, 0, (size_t)edge * item);
    else
      memset(row + edge * (int64_t)item, 0, (size_t)(columns - edge) * item);
  }
  *out = result;
  return ML_OK;
}

ml_status ml_tensor_diagonal(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (t->rank != 2) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_ESHAPE, 1, "diagonal wants a matrix, got %s", ml_describe(text, t));
  }
  ml_tensor view = *t;
  view.rank = 1;
  view.size[0] = t->size[0] < t->size[1] ? t->size[0] : t->size[1];
  view.stride[0] = t->stride[0] + t->stride[1];
  return ml_tensor_clone(out, &view, err);
}
