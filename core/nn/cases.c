/* Inputs of gradient-check cases. */
#include "common.h"

#include <stdarg.h>

static ml_shape shape_of_args(int rank, va_list args) {
  ml_shape shape = {.rank = rank};
  for (int k = 0; k < rank; k++)
    shape.size[k] = va_arg(args, int);
  return shape;
}

ml_status ml_nn_case_normal(ml_check_case *c, int i, ml_rng *g, double mean, double std,
                            ml_error *err, int rank, ...) {
  va_list args;
  va_start(args, rank);
  ml_shape shape = shape_of_args(rank, args);
  va_end(args);
  ML_TRY(ml_tensor_init(&c->in[i], ML_F64, &shape, err));
  if (std > 0)
    ml_rng_normal_f64(g, ML_DATA(double, &c->in[i]), ml_numel(&c->in[i]), mean, std);
  c->differentiable |= 1u << i;
  if (c->n_in <= i)
    c->n_in = i + 1;
  return ML_OK;
}

ml_status ml_nn_case_ids(ml_check_case *c, int i, ml_rng *g, int64_t n, ml_error *err, int rank,
                         ...) {
  va_list args;
  va_start(args, rank);
  ml_shape shape = shape_of_args(rank, args);
  va_end(args);
  ML_TRY(ml_tensor_init(&c->in[i], ML_INDEX, &shape, err));
  ml_rng_integers(g, ML_DATA(int64_t, &c->in[i]), ml_numel(&c->in[i]), 0, n - 1);
  if (c->n_in <= i)
    c->n_in = i + 1;
  return ML_OK;
}
