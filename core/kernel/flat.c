/* The flat part of a network: pairs of points, two numbers each, a row of them at a time. */
#include "net.h"

#include <string.h>

enum { ROW = ML_KERNEL_ROWS };

size_t ml_kernel_flat_bytes(const ml_kernel_plan *plan, size_t size) {
  return (size_t)(3 + 2 * plan->depth) * ROW * size + 64;
}

char *ml_kernel_flat(const ml_kernel_plan *plan, ml_dtype dtype, int64_t n, char *k, char *t,
                     const ml_kernel_sides *sides, char *scratch) {
  const ml_kernel_table *table = ml_kernel_table_of(dtype);
  const size_t size = ml_dtype_size(dtype), bytes = (size_t)n * size, row = ROW * size;
  char *K = k, *const T = t, *spare = scratch, *dot = spare + row, *left = dot + row,
       *stack = left + row;
  int depth = 0;
  for (int i = plan->first_flat; i < plan->count; i++) {
    const ml_kernel_step *s = &plan->step[i];
    const char *a = left, *b = NULL;
    if (s->slot >= 0) {
      b = sides->right + (size_t)(s->slot * sides->right_step) * size;
      if (!sides->left) {
        memcpy(sides->right + (size_t)(s->slot * sides->right_step) * size, K, bytes);
        a = b;
      } else {
        const char *at = sides->left + (size_t)(s->slot * sides->left_step) * size;
        double v = 0;
        if (dtype == ML_F32) {
          float f;
          memcpy(&f, at, sizeof f);
          v = (double)f;
        } else {
          memcpy(&v, at, sizeof v);
        }
        table->fill(n, v, left);
      }
    }
    switch (s->op.kind) {
    case ML_KERNEL_DENSE:
      table->dense(n, s->op.w2, s->op.b2, K, T);
      break;
    case ML_KERNEL_ACT:
      if (s->op.dual.kind == ML_DUAL_IDENTITY)
        break;
      table->dual[s->op.dual.kind](&s->op.dual, n, K, a, b, spare, dot);
      table->multiply(n, dot, T);
      char *old = K;
      K = spare;
      spare = old;
      break;
    case ML_KERNEL_NORM:
      table->normalize(n, a, b, K, T);
      break;
    case ML_KERNEL_PUSH:
      memcpy(stack + (size_t)(2 * depth) * row, K, bytes);
      memcpy(stack + (size_t)(2 * depth + 1) * row, T, bytes);
      depth++;
      break;
    case ML_KERNEL_SWAP: {
      char *other = stack + (size_t)(2 * depth - 2) * row;
      memcpy(spare, K, bytes);
      memcpy(K, other, bytes);
      memcpy(other, spare, bytes);
      memcpy(spare, T, bytes);
      memcpy(T, other + row, bytes);
      memcpy(other + row, spare, bytes);
      break;
    }
    case ML_KERNEL_ADD:
      depth--;
      table->add(n, stack + (size_t)(2 * depth) * row, K);
      table->add(n, stack + (size_t)(2 * depth + 1) * row, T);
      break;
    default:
      break;
    }
  }
  return K;
}
