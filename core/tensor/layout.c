/* Sorting and merging axes, so that every reduction becomes [outer, n, inner]. */
#include "layout.h"

#include <string.h>

ml_status ml_check_axis(const ml_tensor *t, int axis, const char *what, int arg, ml_error *err) {
  if (axis >= 0 && axis < t->rank)
    return ML_OK;
  char text[ML_DESCRIBE];
  return ml_fail(err, ML_EARG, arg, "%s: axis %d out of range for %s", what, axis + 1,
                 ml_describe(text, t));
}

typedef struct {
  int64_t size, stride;
  bool reduced;
  int axis;
} group;

/* The axes in order of memory, merged; false when that order does not keep that of the kept axes.
 */
static bool sort_groups(group *g, int *count, const ml_tensor *t, unsigned axes) {
  int n = 0, last = -1;
  group all[ML_MAX_RANK];
  for (int k = 0; k < t->rank; k++) {
    if (t->size[k] == 1)
      continue;
    if (t->stride[k] <= 0)
      return false;
    group one = {t->size[k], t->stride[k], axes >> k & 1u, k};
    int at = n++;
    for (; at > 0 && all[at - 1].stride < one.stride; at--)
      all[at] = all[at - 1];
    all[at] = one;
  }
  *count = 0;
  for (int i = 0; i < n; i++) {
    if (!all[i].reduced) {
      if (all[i].axis < last)
        return false;
      last = all[i].axis;
    }
    group *before = *count ? &g[*count - 1] : NULL;
    if (before && before->reduced == all[i].reduced &&
        before->stride == all[i].stride * all[i].size) {
      before->size *= all[i].size;
      before->stride = all[i].stride;
    } else {
      g[(*count)++] = all[i];
    }
  }
  return true;
}

static bool lay_out(ml_layout *p, const ml_tensor *t, unsigned axes) {
  group g[ML_MAX_RANK];
  int count;
  if (!sort_groups(g, &count, t, axes))
    return false;
  if (count > 0 && g[count - 1].stride != 1)
    return false;
  p->outer = p->n = p->inner = 1;
  p->outer_stride = p->stride = 1;
  int i = 0;
  if (i < count && !g[i].reduced && count > 1) {
    p->outer = g[i].size;
    p->outer_stride = g[i++].stride;
  }
  if (i < count && g[i].reduced) {
    p->n = g[i].size;
    p->stride = g[i++].stride;
  }
  if (i < count && !g[i].reduced)
    p->inner = g[i++].size;
  return i == count;
}

ml_status ml_layout_init(ml_layout *p, const ml_tensor *t, unsigned axes, ml_error *err) {
  memset(p, 0, sizeof *p);
  if (lay_out(p, t, axes)) {
    ml_tensor_detach(&p->t, t);
    return ML_OK;
  }
  /* kept axes first, then the reduced ones, copied */
  int order[ML_MAX_RANK], n = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < t->rank; k++)
      if ((int)(axes >> k & 1u) == pass)
        order[n++] = k;
  ml_tensor view = {0};
  ML_TRY_INNER(ml_view_permute(&view, t, order, err), err);
  ml_status status = ml_tensor_clone(&p->t, &view, err);
  ml_tensor_clear(&view);
  if (status)
    return status;
  p->outer = p->n = p->inner = 1;
  for (int k = 0; k < t->rank; k++) {
    if (axes >> k & 1u)
      p->n *= t->size[k];
    else
      p->outer *= t->size[k];
  }
  p->outer_stride = p->n;
  p->stride = 1;
  return ML_OK;
}

ml_shape ml_reduced_shape(const ml_tensor *t, unsigned axes, bool keepdims) {
  ml_shape shape = {0};
  for (int k = 0; k < t->rank; k++) {
    bool reduced = axes >> k & 1u;
    if (reduced && !keepdims)
      continue;
    shape.size[shape.rank++] = reduced ? 1 : t->size[k];
  }
  return shape;
}
