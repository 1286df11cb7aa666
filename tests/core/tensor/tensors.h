/* Support of the tensor tests: random tensors and views, elements by linear position, a small
 * generator. */
#ifndef MOONLAB_TESTS_TENSORS_H
#define MOONLAB_TESTS_TENSORS_H

#include "check.h"
#include "tensor/tensor.h"

static inline uint64_t next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}
static inline int64_t pick(uint64_t *state, int64_t lo, int64_t hi) {
  return lo + (int64_t)(next(state) % (uint64_t)(hi - lo + 1));
}
static inline double number(uint64_t *state) {
  return (double)(next(state) >> 11) / 9007199254740992.0 * 4 - 2;
}

/* The position of element i in row-major order. */
static inline void unravel(int64_t *position, const ml_shape *shape, int64_t i) {
  for (int k = shape->rank - 1; k >= 0; k--) {
    position[k] = i % shape->size[k];
    i /= shape->size[k];
  }
}
static inline double at(const ml_tensor *t, int64_t i) {
  int64_t position[ML_MAX_RANK] = {0};
  ml_shape shape = ml_shape_of(t);
  unravel(position, &shape, i);
  return ml_tensor_get(t, position);
}
/* t read at a position of a shape it broadcasts to. */
static inline double broadcast_at(const ml_tensor *t, const ml_shape *shape, int64_t i) {
  int64_t position[ML_MAX_RANK] = {0}, own[ML_MAX_RANK] = {0};
  unravel(position, shape, i);
  for (int k = 0; k < t->rank; k++)
    own[k] = t->size[k] == 1 ? 0 : position[k + shape->rank - t->rank];
  return ml_tensor_get(t, own);
}

static inline void put(ml_tensor *t, int64_t i, double v) { /* t dense */
  switch (t->dtype) {
  case ML_F64:
    ML_DATA(double, t)[i] = v;
    break;
  case ML_F32:
    ML_DATA(float, t)[i] = (float)v;
    break;
  case ML_INDEX:
    ML_DATA(int64_t, t)[i] = (int64_t)v;
    break;
  default:
    ML_DATA(uint8_t, t)[i] = (uint8_t)v;
  }
}

/* Real values within 2 of 0, some equal; index and u8 small and not negative. */
static inline ml_tensor random_tensor(uint64_t *state, ml_dtype dtype, const ml_shape *shape) {
  ml_tensor t = {0};
  ml_error err;
  CHECK_OK(ml_tensor_init(&t, dtype, shape, &err), &err);
  int64_t n = ml_numel(&t);
  for (int64_t i = 0; i < n; i++) {
    double v = number(state);
    if (!ml_is_real(dtype))
      v = (double)pick(state, 0, 3);
    else if (next(state) % 8 == 0)
      v = (double)pick(state, -1, 1);
    put(&t, i, v);
  }
  return t;
}

static inline ml_shape random_shape(uint64_t *state, int max_rank, int64_t lo, int64_t hi) {
  ml_shape shape = {.rank = (int)pick(state, 0, max_rank)};
  for (int k = 0; k < shape.rank; k++)
    shape.size[k] = pick(state, lo, hi);
  return shape;
}

/* A tensor of this shape that is a permuted, sliced, reversed or stretched view, or dense. */
static inline ml_tensor random_view(uint64_t *state, ml_dtype dtype, const ml_shape *shape) {
  ml_error err;
  int rank = shape->rank, axes[ML_MAX_RANK], back[ML_MAX_RANK];
  for (int k = 0; k < rank; k++)
    axes[k] = k;
  for (int k = rank - 1; k > 0; k--) {
    int j = next(state) % 2 ? (int)pick(state, 0, k) : k, a = axes[k];
    axes[k] = axes[j];
    axes[j] = a;
  }
  /* base: permuted sizes, some longer, some 1 */
  ml_shape base = {.rank = rank};
  ml_slice slices[ML_MAX_RANK];
  bool stretched = false;
  for (int k = 0; k < rank; k++) {
    int64_t n = shape->size[axes[k]];
    back[axes[k]] = k;
    int64_t step = pick(state, 1, 2), lead = pick(state, 0, 1);
    if (next(state) % 2) {
      step = 1;
      lead = 0;
    }
    base.size[k] = n > 0 ? lead + (n - 1) * step + 1 : 0;
    slices[k] = (ml_slice){lead, n, step, false};
    if (n > 0 && next(state) % 4 == 0)
      slices[k] = (ml_slice){lead + (n - 1) * step, n, -step, false};
    if (next(state) % 8 == 0) {
      base.size[k] = 1;
      slices[k] = (ml_slice){0, n > 0, 1, false};
      stretched = true;
    }
  }
  ml_tensor t = random_tensor(state, dtype, &base), sliced = {0}, view = {0}, wide = {0};
  CHECK_OK(ml_view_slice(&sliced, &t, slices, rank, &err), &err);
  CHECK_OK(ml_view_permute(&view, &sliced, back, &err), &err);
  ml_tensor_clear(&t);
  ml_tensor_clear(&sliced);
  if (!stretched)
    return view;
  ml_shape got = ml_shape_of(&view);
  bool can = true;
  for (int k = 0; k < rank; k++)
    can = can && (got.size[k] == shape->size[k] || got.size[k] == 1);
  if (!can) { /* an axis of size 0 cannot come from 1 */
    ml_tensor_clear(&view);
    return random_tensor(state, dtype, shape);
  }
  CHECK_OK(ml_view_broadcast(&wide, &view, shape, &err), &err);
  ml_tensor_clear(&view);
  return wide;
}

static inline ml_tensor tensor_of(ml_dtype dtype, const ml_shape *shape, const double *values) {
  ml_tensor t = {0};
  ml_error err;
  CHECK_OK(ml_tensor_init(&t, dtype, shape, &err), &err);
  for (int64_t i = 0; i < ml_numel(&t); i++)
    put(&t, i, values[i]);
  return t;
}
#define VECTOR(dtype, ...)                                                                         \
  tensor_of(dtype, &(ml_shape){1, {(int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double))}},  \
            (double[]){__VA_ARGS__})

static inline double eps_of(ml_dtype dtype) { return dtype == ML_F32 ? 1.2e-7 : 2.3e-16; }

#endif
