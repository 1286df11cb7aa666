/* Views: new shapes and strides on the same storage. */
#include "tensor.h"

#include <inttypes.h>

/* Strides of `shape` over t's elements in order, without copying; false when they do not exist. */
static bool restride(ml_tensor *view, const ml_tensor *t, const ml_shape *shape) {
  /* t's axes that matter, merged where they run on */
  int64_t size[ML_MAX_RANK], stride[ML_MAX_RANK];
  int rank = 0;
  for (int k = 0; k < t->rank; k++) {
    if (t->size[k] == 1)
      continue;
    if (rank > 0 && stride[rank - 1] == t->stride[k] * t->size[k]) {
      size[rank - 1] *= t->size[k];
      stride[rank - 1] = t->stride[k];
    } else {
      size[rank] = t->size[k];
      stride[rank++] = t->stride[k];
    }
  }
  int64_t left = rank > 0 ? size[rank - 1] : 1, step = rank > 0 ? stride[rank - 1] : 1;
  int at = rank - 1;
  for (int k = shape->rank - 1; k >= 0; k--) {
    if (shape->size[k] == 1) {
      view->stride[k] = step;
      continue;
    }
    if (left == 1 && at > 0) {
      left = size[--at];
      step = stride[at];
    }
    if (left % shape->size[k])
      return false;
    view->stride[k] = step;
    step *= shape->size[k];
    left /= shape->size[k];
  }
  return true;
}

ml_status ml_view_reshape(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                          ml_error *err) {
  char from[ML_DESCRIBE], to[ML_DESCRIBE];
  ml_shape want = *shape;
  if (want.rank < 0 || want.rank > ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 2, "rank %d, wanted at most %d", want.rank, ML_MAX_RANK);
  int64_t numel = ml_numel(t);
  int free_axis = -1;
  for (int k = 0; k < want.rank; k++) {
    if (want.size[k] >= 0)
      continue;
    if (want.size[k] != -1 || free_axis >= 0)
      return ml_fail(err, ML_ESHAPE, 2, "reshape to %s: at most one size may be left open (-1)",
                     ml_describe_shape(to, shape));
    free_axis = k;
    want.size[k] = 1;
  }
  int64_t known = ml_shape_numel(&want);
  if (free_axis >= 0 && known > 0)
    want.size[free_axis] = numel / known;
  if (known < 0 || (free_axis >= 0 && known == 0) || ml_shape_numel(&want) != numel)
    return ml_fail(err, ML_ESHAPE, 2, "cannot reshape %s (%" PRId64 " elements) to %s",
                   ml_describe(from, t), numel, ml_describe_shape(to, shape));
  ml_tensor view = *t;
  view.node = NULL;
  view.node_output = 0;
  view.rank = want.rank;
  for (int k = 0; k < want.rank; k++)
    view.size[k] = want.size[k];
  if (numel == 0) {
    int64_t step = 1;
    for (int k = want.rank - 1; k >= 0; k--) {
      view.stride[k] = step;
      if (want.size[k] > 1)
        step *= want.size[k];
    }
  } else if (!restride(&view, t, &want)) {
    ml_tensor copy = {0};
    ML_TRY(ml_tensor_clone(&copy, t, err));
    ml_status status = ml_view_reshape(out, &copy, &want, err);
    ml_tensor_clear(&copy);
    return status;
  }
  ml_tensor_detach(out, &view);
  return ML_OK;
}

ml_status ml_view_permute(ml_tensor *out, const ml_tensor *t, const int *axes, ml_error *err) {
  unsigned seen = 0;
  ml_tensor view = *t;
  for (int k = 0; k < t->rank; k++) {
    int a = axes[k];
    if (a < 0 || a >= t->rank || (seen >> a & 1u)) {
      char text[ML_DESCRIBE];
      return ml_fail(err, ML_EARG, 2, "the axes are not a permutation of the %d axes of %s",
                     t->rank, ml_describe(text, t));
    }
    seen |= 1u << a;
    view.size[k] = t->size[a];
    view.stride[k] = t->stride[a];
  }
  ml_tensor_detach(out, &view);
  return ML_OK;
}

static ml_status check_axis(const ml_tensor *t, int axis, int limit, int arg, ml_error *err) {
  if (axis >= 0 && axis < limit)
    return ML_OK;
  char text[ML_DESCRIBE];
  return ml_fail(err, ML_EARG, arg, "axis %d out of range for %s", axis + 1, ml_describe(text, t));
}

ml_status ml_view_transpose(ml_tensor *out, const ml_tensor *t, int a, int b, ml_error *err) {
  ML_TRY(check_axis(t, a, t->rank, 2, err));
  ML_TRY(check_axis(t, b, t->rank, 3, err));
  ml_tensor view = *t;
  view.size[a] = t->size[b];
  view.stride[a] = t->stride[b];
  view.size[b] = t->size[a];
  view.stride[b] = t->stride[a];
  ml_tensor_detach(out, &view);
  return ML_OK;
}

ml_status ml_view_broadcast(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                            ml_error *err) {
  char from[ML_DESCRIBE], to[ML_DESCRIBE];
  bool good = shape->rank >= t->rank && shape->rank <= ML_MAX_RANK && ml_shape_numel(shape) >= 0;
  ml_tensor view = *t;
  for (int k = 0; good && k < shape->rank; k++) {
    int from_axis = k - (shape->rank - t->rank);
    int64_t size = from_axis < 0 ? 1 : t->size[from_axis];
    good = size == shape->size[k] || size == 1;
    view.size[k] = shape->size[k];
    view.stride[k] = size == 1 && shape->size[k] != 1 ? 0
                     : from_axis < 0                  ? 0
                                                      : t->stride[from_axis];
  }
  if (!good)
    return ml_fail(err, ML_ESHAPE, 2, "cannot broadcast %s to %s", ml_describe(from, t),
                   ml_describe_shape(to, shape));
  view.rank = shape->rank;
  ml_tensor_detach(out, &view);
  return ML_OK;
}

ml_status ml_view_slice(ml_tensor *out, const ml_tensor *t, const ml_slice *slices, int n,
                        ml_error *err) {
  char text[ML_DESCRIBE];
  if (n < 0 || n > t->rank)
    return ml_fail(err, ML_EARG, 2, "%d selections for the %d axes of %s", n, t->rank,
                   ml_describe(text, t));
  ml_tensor view = *t;
  view.rank = 0;
  for (int k = 0; k < t->rank; k++) {
    ml_slice s = {0, t->size[k], 1, false};
    if (k < n)
      s = slices[k];
    int64_t size = t->size[k], last;
    bool good = s.count >= 0 && (!s.drop || s.count == 1);
    if (good && s.count > 0) {
      good = s.start >= 0 && s.start < size &&
             !__builtin_mul_overflow(s.count - 1, s.step, &last) &&
             !__builtin_add_overflow(last, s.start, &last) && last >= 0 && last < size;
    }
    if (!good) {
      if (s.count == 1)
        return ml_fail(err, ML_EARG, 2, "position %" PRId64 " out of range on axis %d of %s",
                       s.start + 1, k + 1, ml_describe(text, t));
      return ml_fail(err, ML_EARG, 2,
                     "range of %" PRId64 " from position %" PRId64 " by %" PRId64
                     " leaves axis %d of %s",
                     s.count, s.start + 1, s.step, k + 1, ml_describe(text, t));
    }
    if (s.count > 0)
      view.offset += s.start * t->stride[k];
    if (s.drop)
      continue;
    view.size[view.rank] = s.count;
    view.stride[view.rank] = s.count > 1 ? t->stride[k] * s.step : t->stride[k];
    view.rank++;
  }
  ml_tensor_detach(out, &view);
  return ML_OK;
}

ml_status ml_view_narrow(ml_tensor *out, const ml_tensor *t, int axis, int64_t start, int64_t count,
                         ml_error *err) {
  ML_TRY(check_axis(t, axis, t->rank, 2, err));
  if (start < 0 || count < 0 || start > t->size[axis] || count > t->size[axis] - start) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_EARG, 3, "%" PRId64 " positions from %" PRId64 " leave axis %d of %s",
                   count, start + 1, axis + 1, ml_describe(text, t));
  }
  ml_tensor view = *t;
  if (count > 0)
    view.offset += start * t->stride[axis];
  view.size[axis] = count;
  ml_tensor_detach(out, &view);
  return ML_OK;
}

ml_status ml_view_squeeze(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  if (axis != -1) {
    ML_TRY(check_axis(t, axis, t->rank, 2, err));
    if (t->size[axis] != 1) {
      char text[ML_DESCRIBE];
      return ml_fail(err, ML_ESHAPE, 2, "axis %d of %s has not size 1", axis + 1,
                     ml_describe(text, t));
    }
  }
  ml_tensor view = *t;
  view.rank = 0;
  for (int k = 0; k < t->rank; k++) {
    if (t->size[k] == 1 && (axis == -1 || axis == k))
      continue;
    view.size[view.rank] = t->size[k];
    view.stride[view.rank++] = t->stride[k];
  }
  ml_tensor_detach(out, &view);
  return ML_OK;
}

ml_status ml_view_unsqueeze(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  ML_TRY(check_axis(t, axis, t->rank + 1, 2, err));
  if (t->rank == ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 1, "rank %d, wanted at most %d", t->rank + 1, ML_MAX_RANK);
  ml_tensor view = *t;
  view.rank = t->rank + 1;
  for (int k = t->rank; k > axis; k--) {
    view.size[k] = t->size[k - 1];
    view.stride[k] = t->stride[k - 1];
  }
  view.size[axis] = 1;
  view.stride[axis] = axis < t->rank ? t->size[axis] * t->stride[axis] : 1;
  ml_tensor_detach(out, &view);
  return ML_OK;
}
