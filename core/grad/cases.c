/* Inputs for gradient-check cases. */
#include "ops.h"

static ml_status real_input(ml_check_case *c, int i, const ml_shape *shape, ml_error *err) {
  ML_TRY(ml_tensor_init(&c->in[i], ML_F64, shape, err));
  c->differentiable |= 1u << i;
  if (c->n_in < i + 1)
    c->n_in = i + 1;
  return ML_OK;
}

ml_status ml_case_uniform(ml_check_case *c, int i, const ml_shape *shape, double lo, double hi,
                          ml_rng *g, ml_error *err) {
  ML_TRY(real_input(c, i, shape, err));
  ml_rng_uniform_f64(g, ML_DATA(double, &c->in[i]), ml_numel(&c->in[i]), lo, hi);
  return ML_OK;
}

ml_status ml_case_spread(ml_check_case *c, int i, const ml_shape *shape, ml_rng *g, ml_error *err) {
  enum { MOST = 1024 };
  int64_t order[MOST];
  double jitter[MOST];
  ML_TRY(real_input(c, i, shape, err));
  int64_t n = ml_numel(&c->in[i]);
  if (n > MOST)
    return ml_fail(err, ML_EARG, 0, "a check case of more than %d elements", MOST);
  ML_TRY(ml_rng_permutation(g, order, n, err));
  ml_rng_uniform_f64(g, jitter, n, 0.04, 0.08);
  for (int64_t k = 0; k < n; k++) /* steps of 0.15, zero at least 0.035 away */
    ML_DATA(double, &c->in[i])[k] = 0.15 * (double)(order[k] - n / 2) + jitter[k];
  return ML_OK;
}

ml_status ml_case_ids(ml_check_case *c, int i, const ml_shape *shape, int64_t n, ml_rng *g,
                      ml_error *err) {
  ML_TRY(ml_tensor_init(&c->in[i], ML_INDEX, shape, err));
  ml_rng_integers(g, ML_DATA(int64_t, &c->in[i]), ml_numel(&c->in[i]), 0, n - 1);
  if (c->n_in < i + 1)
    c->n_in = i + 1;
  return ML_OK;
}

static ml_status reverse_axes(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  int axes[ML_MAX_RANK];
  for (int k = 0; k < t->rank; k++)
    axes[k] = t->rank - 1 - k;
  return ml_view_permute(out, t, axes, err);
}

ml_status ml_case_reverse_layout(ml_check_case *c, int i, ml_error *err) {
  ml_tensor reversed = {0}, copy = {0}, back = {0};
  ml_status status = reverse_axes(&reversed, &c->in[i], err);
  if (!status)
    status = ml_tensor_clone(&copy, &reversed, err);
  if (!status)
    status = reverse_axes(&back, &copy, err);
  ml_tensor_clear(&reversed);
  ml_tensor_clear(&copy);
  ML_TRY(status);
  ml_tensor_clear(&c->in[i]);
  c->in[i] = back;
  return ML_OK;
}
