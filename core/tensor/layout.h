/* Axes: checks, and a reduction of any axes as one over the middle axis of three. */
#ifndef MOONLAB_TENSOR_LAYOUT_H
#define MOONLAB_TENSOR_LAYOUT_H

#include "tensor.h"

/* axis is one of t's; `what` names the operation, arg the position of the axis in its call. */
ml_status ml_check_axis(const ml_tensor *t, int axis, const char *what, int arg,
                        ml_error *err) ML_MUST_CHECK;

/* t as [outer, n, inner]: n reduced; inner 1 or dense, rows dense when inner is 1. */
typedef struct {
  int64_t outer, n, inner;
  int64_t outer_stride, stride; /* of outer and n, in elements */
  ml_tensor t;                  /* holds the storage: t or a copy */
} ml_layout;

/* axes: bit mask of those reduced. Copies t when its strides demand it; p->t is the caller's to
 * clear. */
ml_status ml_layout_init(ml_layout *p, const ml_tensor *t, unsigned axes,
                         ml_error *err) ML_MUST_CHECK;
ml_shape ml_reduced_shape(const ml_tensor *t, unsigned axes, bool keepdims);

#endif
