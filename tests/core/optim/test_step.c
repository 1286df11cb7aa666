/* A step is whole or nothing, and options that a rule has no use for are refused. */
#include "check.h"

#include "optim/optim.h"

static ml_tensor filled(ml_dtype dtype, int64_t rows, int64_t cols, double value) {
  ml_error err;
  ml_shape shape = ml_shape_make(2, rows, cols);
  ml_tensor t = {0};
  CHECK_OK(ml_tensor_init(&t, dtype, &shape, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&t, value, &err), &err);
  return t;
}

/* Each allocation of a step of `rule` over three tensors fails in turn. */
static void whole_or_nothing(ml_rule rule) {
  ml_error err;
  ml_optim_options options;
  ml_optim *optim = NULL;
  ml_optim_defaults(&options, rule);
  CHECK_OK(ml_optim_new(&optim, &options, &err), &err);
  ml_tensor w[] = {filled(ML_F32, 3, 5, 1), filled(ML_F32, 130, 700, 1),
                   filled(ML_F64, 2, 40000, 1)};
  ml_tensor g[] = {filled(ML_F32, 3, 5, 1), filled(ML_F32, 130, 700, 1),
                   filled(ML_F64, 2, 40000, 1)};
  const ml_tensor *grads[] = {&g[0], &g[1], &g[2]};
  for (int i = 0; i < 3; i++)
    CHECK_OK(ml_optim_add(optim, &w[i], 1, 1, 1, &err), &err);
  int64_t failures = 0;
  for (int64_t n = 1; n < 1000; n++) {
    uint64_t live = ml_live_bytes();
    ml_inject_alloc_failure(n, false);
    ml_status status = ml_optim_step(optim, 1, grads, &err);
    ml_inject_alloc_failure(0, false);
    CHECK_EQ(ml_live_bytes(), live);
    for (int i = 0; i < 3; i++) {
      const int64_t first[] = {0, 0};
      CHECK((ml_tensor_get(&w[i], first) == 1) == (status != ML_OK));
      CHECK_EQ(ml_optim_steps(optim, i), status ? 0 : 1);
      CHECK_EQ(w[i].storage->version, g[i].storage->version + (status ? 0 : 1));
    }
    if (!status)
      break;
    CHECK_EQ(status, ML_ENOMEM);
    failures++;
  }
  CHECK(failures > 0);
  ml_optim_free(optim);
  for (int i = 0; i < 3; i++) {
    ml_tensor_clear(&w[i]);
    ml_tensor_clear(&g[i]);
  }
}

static void test_a_step_that_fails_for_memory_changes_nothing(void) {
  whole_or_nothing(ML_ADAFACTOR);
  whole_or_nothing(ML_ADAMW);
}

/* adam_ps with update_clip would apply moments that nobody updated. */
static void test_update_clip_is_refused_where_no_rule_has_it(void) {
  ml_error err;
  for (int rule = 0; rule < ML_RULE_COUNT; rule++) {
    ml_optim_options options;
    ml_optim_defaults(&options, (ml_rule)rule);
    CHECK_OK(ml_optim_check(&options, &err), &err);
    options.update_clip = true;
    if (rule == ML_ADAM || rule == ML_ADAMW) {
      CHECK_OK(ml_optim_check(&options, &err), &err);
    } else {
      CHECK_FAIL(ml_optim_check(&options, &err), ML_EARG);
      CHECK_HAS(err.message, ml_rule_name((ml_rule)rule));
    }
  }
}

CHECK_MAIN(test_a_step_that_fails_for_memory_changes_nothing,
           test_update_clip_is_refused_where_no_rule_has_it)
