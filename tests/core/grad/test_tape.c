/* analytic, property: the tape's promises: versions, second backward, deep graphs, accumulation,
 * scopes of no_grad, and the conventions where a derivative does not exist. */
#include "check.h"
#include "grad/grad.h"

static ml_error err;

/* ---- small helpers --------------------------------------------------------------------------- */

static ml_tensor values(const ml_shape shape, const double *x) {
  ml_tensor t = {0};
  CHECK_OK(ml_tensor_init(&t, ML_F64, &shape, &err), &err);
  memcpy(ml_data(&t), x, (size_t)ml_numel(&t) * sizeof *x);
  return t;
}

#define VECTOR(...)                                                                                \
  values(ml_shape_make(1, (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double))),            \
         (double[]){__VA_ARGS__})

static ml_tensor param_of(ml_tensor t) {
  ml_tensor w = {0};
  CHECK_OK(ml_param(&w, &t, &err), &err);
  ml_tensor_clear(&t);
  return w;
}

static ml_tensor scalar_param(double x) { return param_of(values(ml_shape_make(0), &x)); }

static double grad_at(const ml_tensor *w, int64_t i) {
  ml_tensor g;
  ml_grad_get(&g, w);
  if (ml_tensor_empty(&g)) {
    CHECK(!"there is a gradient");
    return NAN;
  }
  double value = ML_DATA(double, &g)[i];
  ml_tensor_clear(&g);
  return value;
}

static void clear_all(ml_tensor *t, int n) {
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&t[i]);
}

/* ---- accumulation ---------------------------------------------------------------------------- */

static void test_a_diamond_adds_its_sides(void) {
  ml_tensor x = scalar_param(0.7), t[5] = {0};
  CHECK_OK(ml_unary(&t[0], ML_SIN, &x, &err), &err);            /* s */
  CHECK_OK(ml_binary(&t[1], ML_MUL, &t[0], &t[0], &err), &err); /* s s */
  CHECK_OK(ml_binary(&t[2], ML_MUL, &t[0], &x, &err), &err);    /* s x */
  CHECK_OK(ml_binary(&t[3], ML_ADD, &t[1], &t[2], &err), &err);
  CHECK_OK(ml_binary(&t[4], ML_ADD, &t[3], &t[0], &err), &err); /* s s + s x + s */
  CHECK_OK(ml_backward(&t[4], NULL, false, &err), &err);
  double s = sin(0.7), c = cos(0.7);
  CHECK_CLOSE(grad_at(&x, 0), 2 * s * c + c * 0.7 + s + c, 1e-14);
  clear_all(t, 5);
  ml_tensor_clear(&x);
}

static void test_gradients_accumulate_over_backwards(void) {
  ml_tensor x = VECTOR(1, 2, 3), y[2] = {0}, before, g;
  x = param_of(x);
  for (int i = 0; i < 2; i++) {
    ml_tensor square = {0};
    CHECK_OK(ml_unary(&square, ML_SQUARE, &x, &err), &err);
    CHECK_OK(ml_reduce(&y[i], ML_SUM, &square, 0, false, &err), &err);
    ml_tensor_clear(&square);
  }
  ml_grad_get(&before, &x);
  CHECK(ml_tensor_empty(&before));
  CHECK_OK(ml_backward(&y[0], NULL, false, &err), &err);
  ml_grad_get(&before, &x);
  CHECK_OK(ml_backward(&y[1], NULL, false, &err), &err);
  for (int i = 0; i < 3; i++) {
    CHECK_CLOSE(grad_at(&x, i), 4.0 * (i + 1), 0);
    CHECK_CLOSE(ML_DATA(double, &before)[i], 4.0 * (i + 1), 0); /* the same storage */
  }
  ml_grad_zero(&x);
  CHECK_CLOSE(grad_at(&x, 2), 0, 0);
  CHECK_OK(ml_grad_set(&x, &x, &err), &err);
  CHECK_CLOSE(grad_at(&x, 2), 3, 0);
  ml_grad_get(&g, &x);
  CHECK(g.storage != x.storage);
  ml_tensor_clear(&g);
  CHECK_OK(ml_grad_set(&x, NULL, &err), &err);
  ml_grad_get(&g, &x);
  CHECK(ml_tensor_empty(&g));
  ml_tensor_clear(&before);
  clear_all(y, 2);
  ml_tensor_clear(&x);
}

/* Sums, reshapes and sums of leaves hand on views and shared storage; leaves must not end up
 * sharing. */
static void test_leaves_own_their_gradients(void) {
  ml_tensor a = param_of(VECTOR(1, 2, 3, 4)), b = param_of(VECTOR(5, 6, 7, 8));
  ml_tensor seed = VECTOR(1, 2, 3, 4), y = {0}, ga, gb, sum = {0};
  CHECK_OK(ml_binary(&y, ML_ADD, &a, &b, &err), &err);
  CHECK_OK(ml_backward(&y, &seed, false, &err), &err);
  ml_grad_get(&ga, &a);
  ml_grad_get(&gb, &b);
  CHECK(ga.storage != gb.storage && ga.storage != seed.storage && gb.storage != seed.storage);
  ml_tensor_clear(&ga);
  ml_tensor_clear(&gb);
  CHECK_OK(ml_reduce(&sum, ML_SUM, &a, 0, false, &err), &err);
  CHECK_OK(ml_backward(&sum, NULL, false, &err), &err);
  for (int i = 0; i < 4; i++) {
    CHECK_CLOSE(grad_at(&a, i), i + 2.0, 0);
    CHECK_CLOSE(grad_at(&b, i), i + 1.0, 0);
    CHECK_CLOSE(ML_DATA(double, &seed)[i], i + 1.0, 0);
  }
  ml_tensor c = param_of(VECTOR(1, 2)), total = {0};
  CHECK_OK(ml_reduce(&total, ML_MEAN, &c, 0, false, &err), &err); /* first gradient: a broadcast */
  CHECK_OK(ml_backward(&total, NULL, false, &err), &err);
  ml_tensor gc;
  ml_grad_get(&gc, &c);
  CHECK(ml_is_contiguous(&gc) && gc.storage->bytes >= 2 * sizeof(double));
  CHECK_CLOSE(grad_at(&c, 1), 0.5, 0);
  ml_tensor_clear(&gc);
  ml_tensor drop[] = {a, b, seed, y, sum, c, total};
  clear_all(drop, 7);
}

static void test_a_leaf_is_its_own_result(void) {
  ml_tensor x = scalar_param(2);
  CHECK_OK(ml_backward(&x, NULL, false, &err), &err);
  CHECK_OK(ml_backward(&x, NULL, false, &err), &err);
  CHECK_CLOSE(grad_at(&x, 0), 2, 0);
  CHECK(ml_is_param(&x));
  ml_tensor_clear(&x);
}

/* A seed may be a gradient that changes on the way. */
static void test_the_seed_may_be_a_gradient(void) {
  ml_tensor a = param_of(VECTOR(1, 2)), b = param_of(VECTOR(3, 4)), y = {0}, seed;
  ml_tensor first = VECTOR(5, 7);
  CHECK_OK(ml_grad_set(&a, &first, &err), &err);
  ml_grad_get(&seed, &a);
  CHECK_OK(ml_binary(&y, ML_MUL, &a, &b, &err), &err);
  CHECK_OK(ml_backward(&y, &seed, false, &err), &err);
  CHECK_CLOSE(grad_at(&a, 0), 5 + 5 * 3.0, 0);
  CHECK_CLOSE(grad_at(&b, 1), 7 * 2.0, 0);
  ml_tensor drop[] = {a, b, y, seed, first};
  clear_all(drop, 5);
}

/* y = x[0] c, with a vjp that writes before it has read all of c. */
static ml_status scale_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                               const void *attr, ml_save *save, ml_error *e) {
  (void)n_in;
  (void)attr;
  ML_TRY(ml_tensor_binary_number(out, ML_MUL, in[1], *ML_DATA(double, in[0]), false, e));
  return ml_save_tensor(save, in[1], e);
}

static ml_status scale_vjp(ml_vjp *c, ml_error *e) {
  ml_tensor *dst;
  bool accumulate;
  ML_TRY(ml_vjp_target(c, 0, &dst, &accumulate, e));
  double *dx = ML_DATA(double, dst), *factor = ML_DATA(double, &c->saved[0]);
  for (int64_t i = 0; !accumulate && i < ml_numel(dst); i++)
    dx[i] = 0;
  for (int64_t i = ml_numel(&c->saved[0]) - 1; i >= 0; i--)
    dx[0] += ML_DATA(double, &c->gout[0])[i] * factor[i];
  return ML_OK;
}

/* A parameter's own gradient as a constant: it is read while the parameter's new gradient is made.
 */
static void test_a_gradient_may_be_a_factor(void) {
  const ml_op scale = {"scale", 2, 1, 0, scale_forward, scale_vjp, NULL};
  ml_tensor a = param_of(VECTOR(2, 0)), first = VECTOR(5, 7), seed = VECTOR(1, 1), y = {0}, g;
  CHECK_OK(ml_grad_set(&a, &first, &err), &err);
  ml_grad_get(&g, &a);
  const ml_tensor *in[2] = {&a, &g};
  CHECK_OK(ml_apply(&y, &scale, in, 2, NULL, &err), &err);
  CHECK_OK(ml_backward(&y, &seed, false, &err), &err);
  CHECK_CLOSE(grad_at(&a, 0), 5 + 5 + 7, 0);
  CHECK_CLOSE(grad_at(&a, 1), 7, 0);
  ml_tensor drop[] = {a, y, g, seed, first};
  clear_all(drop, 5);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void test_a_million_nodes_take_no_stack(void) {
  enum { N = 1000000 };
  ml_tensor x = scalar_param(1), y = {0};
  ml_tensor_alias(&y, &x);
  for (int i = 0; i < N; i++) {
    ml_tensor next = {0};
    if (i % 2)
      CHECK_OK(ml_binary_number(&next, ML_MUL, &y, 1, false, &err), &err);
    else
      CHECK_OK(ml_unary(&next, ML_NEG, &y, &err), &err);
    ml_tensor_clear(&y);
    y = next;
  }
  CHECK_OK(ml_backward(&y, NULL, false, &err), &err);
  CHECK_CLOSE(grad_at(&x, 0), 1, 0);
  ml_tensor_clear(&y);
  CHECK_EQ(ml_alloc_count() >= N, false);
  ml_tensor_clear(&x);
}

static void test_a_second_backward_is_refused(void) {
  ml_tensor x = scalar_param(0.3), t = {0}, y = {0};
  CHECK_OK(ml_unary(&t, ML_EXP, &x, &err), &err);
  CHECK_OK(ml_unary(&y, ML_SIN, &t, &err), &err);
  CHECK_OK(ml_backward(&y, NULL, true, &err), &err);
  CHECK_OK(ml_backward(&y, NULL, false, &err), &err);
  CHECK_CLOSE(grad_at(&x, 0), 2 * exp(0.3) * cos(exp(0.3)), 1e-14);
  double before = grad_at(&x, 0);
  CHECK_FAIL(ml_backward(&y, NULL, false, &err), ML_ESTATE);
  CHECK_HAS(err.message, "retain = true");
  CHECK_HAS(err.message, "sin");
  CHECK_EQ(err.arg, 0);
  /* a part shared with the first backward counts as well */
  ml_tensor z = {0};
  CHECK_OK(ml_unary(&z, ML_COS, &t, &err), &err);
  CHECK_FAIL(ml_backward(&z, NULL, false, &err), ML_ESTATE);
  CHECK_HAS(err.message, "exp");
  CHECK_CLOSE(grad_at(&x, 0), before, 0);
  ml_tensor_clear(&x);
  ml_tensor_clear(&t);
  ml_tensor_clear(&y);
  ml_tensor_clear(&z);
}

static void test_backward_frees_what_was_saved(void) {
  ml_shape shape = ml_shape_make(1, (int64_t)10000);
  ml_tensor x = {0}, t = {0}, y = {0};
  CHECK_OK(ml_tensor_init_zeros(&x, ML_F64, &shape, &err), &err);
  x = param_of(x);
  CHECK_OK(ml_unary(&t, ML_EXP, &x, &err), &err);
  CHECK_OK(ml_reduce(&y, ML_SUM, &t, 0, false, &err), &err);
  ml_tensor_clear(&t); /* the node of exp keeps it */
  uint64_t live = ml_live_bytes();
  CHECK_OK(ml_backward(&y, NULL, false, &err), &err);
  CHECK(ml_live_bytes() <= live + 1024); /* a gradient came, the saved result went */
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
}

static void test_a_changed_saved_tensor_is_refused(void) {
  ml_tensor a = param_of(VECTOR(1, 2)), b = VECTOR(3, 4), y = {0}, g;
  CHECK_OK(ml_binary(&y, ML_MUL, &a, &b, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&b, 9, &err), &err);
  ml_tensor seed = VECTOR(1, 1);
  CHECK_FAIL(ml_backward(&y, &seed, false, &err), ML_ESTATE);
  CHECK_HAS(err.message, "mul");
  CHECK_HAS(err.message, "in place");
  ml_grad_get(&g, &a);
  CHECK(ml_tensor_empty(&g));
  /* what is not saved may change: a sum needs nothing */
  ml_tensor z = {0};
  CHECK_OK(ml_binary(&z, ML_ADD, &a, &b, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&b, 1, &err), &err);
  CHECK_OK(ml_backward(&z, &seed, false, &err), &err);
  /* and a product by a constant keeps the constant only */
  ml_tensor_clear(&z);
  CHECK_OK(ml_binary(&z, ML_MUL, &a, &b, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&a, 5, &err), &err);
  CHECK_OK(ml_backward(&z, &seed, false, &err), &err);
  ml_tensor drop[] = {a, b, y, z, seed};
  clear_all(drop, 5);
}

/* ---- ml_backward_to -------------------------------------------------------------------------- */

static void test_backward_to_leaves_no_trace(void) {
  ml_tensor a = scalar_param(2), b = scalar_param(3), c = scalar_param(4), y = {0}, grads[4], g;
  const ml_tensor *leaves[4] = {&b, &c, &b, &a};
  CHECK_OK(ml_binary(&y, ML_MUL, &a, &b, &err), &err);
  CHECK_OK(ml_backward_to(grads, &y, NULL, leaves, 3, true, &err), &err);
  CHECK_CLOSE(*ML_DATA(double, &grads[0]), 2, 0);
  CHECK_CLOSE(*ML_DATA(double, &grads[1]), 0, 0); /* y does not depend on it */
  CHECK_CLOSE(*ML_DATA(double, &grads[2]), 2, 0); /* the same leaf again */
  CHECK(grads[0].storage != grads[2].storage);
  clear_all(grads, 3);
  ml_grad_get(&g, &a);
  CHECK(ml_tensor_empty(&g));
  ml_grad_get(&g, &b);
  CHECK(ml_tensor_empty(&g));
  leaves[1] = &y;
  CHECK_FAIL(ml_backward_to(grads, &y, NULL, leaves, 4, false, &err), ML_EARG);
  leaves[1] = &c;
  CHECK_OK(ml_backward_to(grads, &y, NULL, leaves + 3, 1, false, &err), &err);
  CHECK_CLOSE(*ML_DATA(double, &grads[0]), 3, 0);
  clear_all(grads, 1);
  CHECK_FAIL(ml_backward_to(grads, &y, NULL, leaves, 4, false, &err), ML_ESTATE);
  for (int i = 0; i < 4; i++)
    CHECK(ml_tensor_empty(&grads[i]));
  CHECK_OK(ml_backward_to(grads, &c, NULL, leaves, 1, false, &err),
           &err); /* a leaf not asked for */
  CHECK_CLOSE(*ML_DATA(double, &grads[0]), 0, 0);
  clear_all(grads, 1);
  ml_tensor drop[] = {a, b, c, y};
  clear_all(drop, 4);
}

/* ---- state ----------------------------------------------------------------------------------- */

static void test_no_grad_keeps_results_off_the_tape(void) {
  ml_tensor a = param_of(VECTOR(1, 2)), y = {0}, view = {0};
  ml_shape shape = ml_shape_make(2, (int64_t)2, (int64_t)1);
  CHECK(ml_grad_enabled());
  CHECK_FAIL(ml_check_in_place(&a, 2, &err), ML_ESTATE);
  CHECK_EQ(err.arg, 2);
  CHECK_HAS(err.message, "no_grad");
  CHECK(ml_grad_enable(false));
  CHECK(!ml_grad_enabled());
  CHECK_OK(ml_check_in_place(&a, 1, &err), &err);
  CHECK_OK(ml_unary(&y, ML_EXP, &a, &err), &err);
  CHECK_OK(ml_reshape(&view, &a, &shape, &err), &err);
  CHECK(!ml_on_tape(&y) && !ml_on_tape(&view));
  CHECK(view.storage == a.storage);
  CHECK(!ml_grad_enable(true));
  ml_tensor_clear(&y);
  CHECK_OK(ml_unary(&y, ML_EXP, &a, &err), &err);
  CHECK(ml_on_tape(&y));
  CHECK_FAIL(ml_check_in_place(&y, 1, &err), ML_ESTATE);
  CHECK_HAS(err.message, "exp");
  ml_grad_enable(false);
  CHECK_FAIL(ml_check_in_place(&y, 1, &err), ML_ESTATE);
  ml_grad_enable(true);
  CHECK_OK(ml_check_in_place(&view, 1, &err), &err);
  ml_tensor drop[] = {a, y, view};
  clear_all(drop, 3);
}

static void test_bad_calls_are_refused(void) {
  ml_tensor a = param_of(VECTOR(1, 2)), c = VECTOR(1, 2), y = {0}, w = {0}, ids = {0}, s32 = {0};
  ml_tensor three = VECTOR(1, 2, 3);
  CHECK_OK(ml_tensor_arange(&ids, ML_INDEX, 0, 1, 3, &err), &err);
  CHECK_FAIL(ml_param(&w, &ids, &err), ML_EDTYPE);
  CHECK(ml_tensor_empty(&w));
  CHECK_FAIL(ml_backward(&c, NULL, false, &err), ML_ESTATE);
  CHECK_OK(ml_unary(&y, ML_EXP, &a, &err), &err);
  CHECK_FAIL(ml_backward(&y, NULL, false, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [2]");
  CHECK_FAIL(ml_backward(&y, &three, false, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [3]");
  CHECK_EQ(err.arg, 2);
  CHECK_OK(ml_tensor_cast(&s32, &c, ML_F32, &err), &err);
  CHECK_FAIL(ml_backward(&y, &s32, false, &err), ML_EDTYPE);
  CHECK_FAIL(ml_grad_set(&a, &three, &err), ML_ESHAPE);
  CHECK_FAIL(ml_grad_set(&a, &s32, &err), ML_EDTYPE);
  CHECK_FAIL(ml_grad_set(&c, &c, &err), ML_EARG);
  CHECK_FAIL(ml_binary(&w, ML_ADD, &a, &three, &err), ML_ESHAPE);
  CHECK(ml_tensor_empty(&w));
  CHECK_OK(ml_backward(&y, &c, false, &err), &err); /* none of the refusals spent it */
  ml_tensor drop[] = {a, c, y, ids, s32, three};
  clear_all(drop, 6);
}

static void test_cancel_stops_backward(void) {
  ml_tensor a = scalar_param(1), y = {0}, g;
  CHECK_OK(ml_unary(&y, ML_EXP, &a, &err), &err);
  ml_cancel();
  CHECK_FAIL(ml_backward(&y, NULL, false, &err), ML_ECANCELLED);
  ml_cancel_clear();
  ml_grad_get(&g, &a);
  CHECK(ml_tensor_empty(&g));
  CHECK_OK(ml_backward(&y, NULL, false, &err),
           &err); /* stopped before its first step: nothing was spent */
  ml_tensor_clear(&a);
  ml_tensor_clear(&y);
}

/* ---- results off the tape -------------------------------------------------------------------- */

static void test_tests_and_ids_leave_the_tape(void) {
  ml_tensor a = param_of(VECTOR(3, 1, 2)), t = {0}, sorted = {0}, order = {0};
  CHECK_OK(ml_binary_number(&t, ML_LT, &a, 2, false, &err), &err);
  CHECK(!ml_on_tape(&t) && t.dtype == ML_U8);
  ml_tensor_clear(&t);
  CHECK_OK(ml_unary(&t, ML_ISNAN, &a, &err), &err);
  CHECK(!ml_on_tape(&t));
  ml_tensor_clear(&t);
  CHECK_OK(ml_cast(&t, &a, ML_INDEX, &err), &err);
  CHECK(!ml_on_tape(&t));
  ml_tensor_clear(&t);
  CHECK_OK(ml_sort(&sorted, &order, &a, 0, false, &err), &err);
  CHECK(ml_on_tape(&sorted) && !ml_on_tape(&order));
  CHECK_OK(ml_unary(&t, ML_FLOOR, &a, &err), &err);
  CHECK(ml_on_tape(&t)); /* with derivative 0 */
  ml_tensor drop[] = {a, t, sorted, order};
  clear_all(drop, 4);
}

static void test_casts_pass_gradients_between_precisions(void) {
  ml_tensor a = param_of(VECTOR(0.5, 0.25)), low = {0}, y = {0}, sum = {0};
  CHECK_OK(ml_cast(&low, &a, ML_F32, &err), &err);
  CHECK_OK(ml_unary(&y, ML_SQUARE, &low, &err), &err);
  CHECK_OK(ml_reduce(&sum, ML_SUM, &y, 0, false, &err), &err);
  CHECK_EQ(sum.dtype, ML_F32);
  CHECK_OK(ml_backward(&sum, NULL, false, &err), &err);
  CHECK_CLOSE(grad_at(&a, 0), 1, 0);
  CHECK_CLOSE(grad_at(&a, 1), 0.5, 0);
  ml_tensor drop[] = {a, low, y, sum};
  clear_all(drop, 4);
}

/* 40 tensors: three nodes and one that joins them. */
static void test_many_tensors_join_in_groups(void) {
  enum { N = 40 };
  ml_tensor w[N], y = {0}, z = {0}, seed = {0}, joined = {0};
  const ml_tensor *list[N];
  ml_tensor plain[N];
  const ml_tensor *plain_list[N];
  for (int i = 0; i < N; i++) {
    plain[i] = VECTOR(i, -i);
    w[i] = (ml_tensor){0};
    CHECK_OK(ml_param(&w[i], &plain[i], &err), &err);
    list[i] = &w[i];
    plain_list[i] = &plain[i];
  }
  CHECK_OK(ml_concat(&y, list, N, 0, &err), &err);
  CHECK_OK(ml_stack(&z, list, N, 1, &err), &err);
  CHECK_OK(ml_tensor_concat(&joined, plain_list, N, 0, &err), &err);
  CHECK(ml_tensor_equal(&y, &joined));
  ml_tensor_clear(&joined);
  CHECK_OK(ml_tensor_stack(&joined, plain_list, N, 1, &err), &err);
  CHECK(ml_tensor_equal(&z, &joined));
  CHECK_OK(ml_tensor_arange(&seed, ML_F64, 0, 1, 2 * N, &err), &err);
  CHECK_OK(ml_backward(&y, &seed, false, &err), &err);
  for (int i = 0; i < N; i++)
    CHECK_CLOSE(grad_at(&w[i], 1), 2 * i + 1, 0);
  ml_shape shape = ml_shape_make(2, (int64_t)2, (int64_t)N);
  ml_tensor grid = {0};
  CHECK_OK(ml_view_reshape(&grid, &seed, &shape, &err), &err);
  CHECK_OK(ml_backward(&z, &grid, false, &err), &err);
  for (int i = 0; i < N; i++)
    CHECK_CLOSE(grad_at(&w[i], 1), 2 * i + 1 + N + i, 0);
  clear_all(w, N);
  clear_all(plain, N);
  ml_tensor drop[] = {y, z, seed, joined, grid};
  clear_all(drop, 5);
}

/* ---- conventions ----------------------------------------------------------------------------- */

/* The gradient of sum(f) at x[i], with f a result on the tape that is cleared. */
static void check_gradient(ml_tensor *f, ml_tensor *x, const double *want) {
  ml_tensor sum = {0};
  CHECK_OK(ml_reduce(&sum, ML_SUM, f, 0, false, &err), &err);
  CHECK_OK(ml_backward(&sum, NULL, false, &err), &err);
  for (int64_t i = 0; i < ml_numel(x); i++)
    CHECK_CLOSE(grad_at(x, i), want[i], 1e-15);
  ml_tensor_clear(&sum);
  ml_tensor_clear(f);
  ml_tensor_clear(x);
}
#define WANT(...) ((double[]){__VA_ARGS__})

static void test_conventions_of_functions(void) {
  ml_tensor x = param_of(VECTOR(-2, 0, 3)), f = {0};
  CHECK_OK(ml_unary(&f, ML_ABS, &x, &err), &err);
  check_gradient(&f, &x, WANT(-1, 0, 1));
  x = param_of(VECTOR(-2, 0, 3));
  CHECK_OK(ml_unary(&f, ML_RELU, &x, &err), &err);
  check_gradient(&f, &x, WANT(0, 0, 1));
  x = param_of(VECTOR(-2, 0, 3));
  CHECK_OK(ml_unary(&f, ML_SIGN, &x, &err), &err);
  check_gradient(&f, &x, WANT(0, 0, 0));
  x = param_of(VECTOR(-2, -1, 0, 3, 4));
  CHECK_OK(ml_clamp(&f, &x, -1, 3, &err), &err);
  check_gradient(&f, &x, WANT(0, 1, 1, 1, 0));
}

static void test_conventions_of_pairs(void) {
  ml_tensor x = param_of(VECTOR(1, 2, 3)), y = VECTOR(2, 2, 2), f = {0};
  CHECK_OK(ml_binary(&f, ML_MAXIMUM, &x, &y, &err), &err);
  check_gradient(&f, &x, WANT(0, 0.5, 1));
  x = param_of(VECTOR(1, 2, 3));
  CHECK_OK(ml_binary_number(&f, ML_MINIMUM, &x, 2, true, &err), &err);
  check_gradient(&f, &x, WANT(1, 0.5, 0));
  ml_tensor_clear(&y);
  /* 0^0, 0^2, 0^1, 3^0: no NaN */
  x = param_of(VECTOR(0, 0, 0, 3));
  y = VECTOR(0, 2, 1, 0);
  CHECK_OK(ml_binary(&f, ML_POW, &x, &y, &err), &err);
  check_gradient(&f, &x, WANT(0, 0, 1, 0));
  ml_tensor_clear(&y);
  x = VECTOR(0, 0, 2);
  y = param_of(VECTOR(0, 2, 0));
  CHECK_OK(ml_binary(&f, ML_POW, &x, &y, &err), &err);
  check_gradient(&f, &y, WANT(0, 0, log(2)));
  ml_tensor_clear(&x);
  x = param_of(VECTOR(0, 5));
  CHECK_OK(ml_binary_number(&f, ML_POW, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 0));
  x = param_of(VECTOR(0, 5));
  CHECK_OK(ml_binary_number(&f, ML_POW, &x, 0, true, &err), &err);
  check_gradient(&f, &x, WANT(0, 0));
  x = param_of(VECTOR(0));
  y = VECTOR(0);
  CHECK_OK(ml_binary(&f, ML_ATAN2, &x, &y, &err), &err);
  check_gradient(&f, &x, WANT(0));
  ml_tensor_clear(&y);
}

static void test_conventions_of_reductions(void) {
  ml_tensor x = param_of(VECTOR(1, 3, 3, 2)), f = {0};
  CHECK_OK(ml_reduce(&f, ML_MAX, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 0.5, 0.5, 0));
  x = param_of(VECTOR(0, 0));
  CHECK_OK(ml_reduce(&f, ML_NORM, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 0));
  x = param_of(VECTOR(3, 4));
  CHECK_OK(ml_reduce(&f, ML_NORM, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0.6, 0.8));
  x = param_of(VECTOR(2, 0, 5));
  CHECK_OK(ml_reduce(&f, ML_PROD, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 10, 0));
  x = param_of(VECTOR(0, 0, 5));
  CHECK_OK(ml_reduce(&f, ML_PROD, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 0, 0));
  x = param_of(VECTOR(-HUGE_VAL, -HUGE_VAL));
  CHECK_OK(ml_reduce(&f, ML_LOGSUMEXP, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 0));
  x = param_of(VECTOR(-HUGE_VAL, 1));
  CHECK_OK(ml_reduce(&f, ML_LOGSUMEXP, &x, 0, false, &err), &err);
  check_gradient(&f, &x, WANT(0, 1));
}

/* Longer than one chunk of work, on one thread and on three: the same bytes. */
static void test_long_tensors_are_cut_right(void) {
  enum { N = 40001 };
  const ml_shape shape = ml_shape_make(2, (int64_t)N, (int64_t)2);
  int before = ml_threads();
  ml_tensor grads[2][2] = {{{0}}};
  for (int run = 0; run < 2; run++) {
    CHECK_OK(ml_set_threads(run ? 3 : 1, &err), &err);
    ml_tensor x = {0}, f[4] = {0};
    ml_rng g = ml_rng_seed(5);
    CHECK_OK(ml_tensor_init(&x, ML_F64, &shape, &err), &err);
    ml_rng_normal_f64(&g, ML_DATA(double, &x), 2 * N, 0, 1);
    x = param_of(x);
    const ml_tensor *leaves[1] = {&x};
    CHECK_OK(ml_unary(&f[0], ML_TANH, &x, &err), &err);
    CHECK_OK(ml_reduce(&f[1], ML_SUM, &f[0], 0, false, &err), &err);
    CHECK_OK(ml_backward_to(&grads[run][0], &f[1], NULL, leaves, 1, false, &err), &err);
    CHECK_OK(ml_reduce(&f[2], ML_PROD, &x, 2, false, &err), &err); /* of the two columns */
    CHECK_OK(ml_reduce(&f[3], ML_SUM, &f[2], 0, false, &err), &err);
    CHECK_OK(ml_backward_to(&grads[run][1], &f[3], NULL, leaves, 1, false, &err), &err);
    bool close = true;
    const double *v = ML_DATA(double, &x);
    for (int64_t i = 0; i < 2 * N; i++) {
      double c = cosh(v[i]);
      close =
          close && check_is_close(ML_DATA(double, &grads[run][0])[i], 1 / (c * c), 1e-12, 1e-15);
      close = close && ML_DATA(double, &grads[run][1])[i] == v[i ^ 1];
    }
    CHECK(close);
    clear_all(f, 4);
    ml_tensor_clear(&x);
  }
  for (int k = 0; k < 2; k++)
    CHECK(!memcmp(ml_data(&grads[0][k]), ml_data(&grads[1][k]), 2 * N * sizeof(double)));
  clear_all(grads[0], 2);
  clear_all(grads[1], 2);
  CHECK_OK(ml_set_threads(before, &err), &err);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A graph with shared parts, views and several kinds of node. */
static ml_status build_and_go_back(bool to) {
  ml_tensor t[12] = {0}, grads[2] = {0};
  ml_shape shape = ml_shape_make(2, (int64_t)2, (int64_t)3), back = ml_shape_make(1, (int64_t)6);
  ml_status status = ml_tensor_init_zeros(&t[0], ML_F64, &shape, &err);
  if (!status)
    status = ml_param(&t[1], &t[0], &err);
  if (!status)
    status = ml_param(&t[2], &t[0], &err);
  if (!status)
    status = ml_binary(&t[3], ML_ADD, &t[1], &t[2], &err);
  if (!status)
    status = ml_unary(&t[4], ML_EXP, &t[3], &err);
  if (!status)
    status = ml_transpose(&t[5], &t[4], 0, 1, &err);
  if (!status)
    status = ml_matmul(&t[6], &t[4], &t[5], &err);
  if (!status)
    status = ml_reduce(&t[7], ML_LOGSUMEXP, &t[6], 0, false, &err);
  if (!status)
    status = ml_reshape(&t[8], &t[3], &back, &err);
  if (!status)
    status = ml_reduce(&t[9], ML_MAX, &t[8], 0, false, &err);
  if (!status)
    status = ml_binary(&t[10], ML_MUL, &t[7], &t[9], &err);
  if (!status && to)
    status = ml_backward_to(grads, &t[10], NULL, (const ml_tensor *const[]){&t[1], &t[2]}, 2, false,
                            &err);
  else if (!status)
    status = ml_backward(&t[10], NULL, false, &err);
  clear_all(t, 12);
  clear_all(grads, 2);
  return status;
}

static void test_running_out_of_memory_leaks_nothing(void) {
  CHECK_OK(build_and_go_back(false), &err);
  CHECK_ALLOC_SWEEP(build_and_go_back(false), (void)0);
  CHECK_ALLOC_SWEEP(build_and_go_back(true), (void)0);
}

/* A step like the one before takes nothing from the system. */
static void test_a_steady_step_allocates_nothing(void) {
  ml_memory_info before, after;
  for (int i = 0; i < 2; i++)
    CHECK_OK(build_and_go_back(false), &err);
  ml_memory(&before);
  for (int i = 0; i < 10; i++)
    CHECK_OK(build_and_go_back(false), &err);
  ml_memory(&after);
  CHECK_EQ(after.system_allocations, before.system_allocations);
}

CHECK_MAIN(test_a_diamond_adds_its_sides, test_gradients_accumulate_over_backwards,
           test_leaves_own_their_gradients, test_a_leaf_is_its_own_result,
           test_the_seed_may_be_a_gradient, test_a_gradient_may_be_a_factor,
           test_a_million_nodes_take_no_stack, test_a_second_backward_is_refused,
           test_backward_frees_what_was_saved, test_a_changed_saved_tensor_is_refused,
           test_backward_to_leaves_no_trace, test_no_grad_keeps_results_off_the_tape,
           test_bad_calls_are_refused, test_cancel_stops_backward,
           test_tests_and_ids_leave_the_tape, test_casts_pass_gradients_between_precisions,
           test_many_tensors_join_in_groups, test_conventions_of_functions,
           test_conventions_of_pairs, test_conventions_of_reductions,
           test_long_tensors_are_cut_right, test_running_out_of_memory_leaks_nothing,
           test_a_steady_step_allocates_nothing)
