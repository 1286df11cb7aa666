/* Linear, three linears, mlp: against plain sums, against each other, and what must not change. */
#include "job.h"

/* rows 300 and 600 columns cross the tiles of 128 rows, 512 columns and 256 hidden units */
enum { R = 300, K = 37, N = 600, M = 290 };

static job linear_job(const ml_nn_linear_attr *a, bool bias, int rows, int inner, int columns) {
  ml_rng g = ml_rng_seed(5);
  job j = {.op = &ml_nn_op_linear, .attr = a, .on = bias ? 7 : 3};
  j.in[0] = normals(&g, 0, 1, 2, rows, inner);
  j.in[1] = a->transposed ? normals(&g, 0, 0.2, 2, columns, inner)
                          : normals(&g, 0, 0.2, 2, inner, columns);
  if (bias)
    j.in[2] = normals(&g, 0, 1, 1, columns);
  return j;
}

/* c[rows,columns] = op(a) op(b), plainly */
static double *product(const double *a, bool ta, const double *b, bool tb, int rows, int columns,
                       int inner) {
  double *c = calloc((size_t)(rows * columns), sizeof *c);
  for (int i = 0; i < rows; i++)
    for (int k = 0; k < inner; k++)
      for (int j = 0; j < columns; j++)
        c[i * columns + j] += (ta ? a[k * rows + i] : a[i * inner + k]) *
                              (tb ? b[j * inner + k] : b[k * columns + j]);
  return c;
}

static void check_array(const ml_tensor *got, const double *want, double tol) {
  double most = 0, off = 0;
  for (int64_t i = 0; i < ml_numel(got); i++) {
    most = fmax(most, fabs(want[i]));
    off = fmax(off, fabs(number(got, i) - want[i]));
  }
  CHECK(off <= tol * most);
}

/* analytic */
static void test_linear_is_the_plain_sum(void) {
  for (int variant = 0; variant < 4; variant++) {
    ml_nn_linear_attr attr = {ML_ACT_IDENTITY, variant & 1};
    bool bias = variant & 2;
    job j = linear_job(&attr, bias, R, K, N);
    answer a;
    CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
    const double *x = ML_DATA(double, &j.in[0]), *W = ML_DATA(double, &j.in[1]);
    ml_tensor seed = {0};
    CHECK_OK(job_seed(&seed, &a.out[0]), &err);
    const double *dy = ML_DATA(double, &seed);
    double *y = product(x, false, W, attr.transposed, R, N, K);
    double *dx = product(dy, false, W, !attr.transposed, R, K, N);
    double *dW = attr.transposed ? product(dy, true, x, false, N, K, R)
                                 : product(x, true, dy, false, K, N, R);
    double *db = calloc(N, sizeof *db);
    for (int i = 0; i < R; i++)
      for (int c = 0; c < N; c++) {
        y[i * N + c] += bias ? number(&j.in[2], c) : 0;
        db[c] += dy[i * N + c];
      }
    check_array(&a.out[0], y, 1e-13);
    check_array(&a.grad[0], dx, 1e-13);
    check_array(&a.grad[1], dW, 1e-13);
    if (bias)
      check_array(&a.grad[2], db, 1e-13);
    free(y);
    free(dx);
    free(dW);
    free(db);
    ml_tensor_clear(&seed);
    answer_clear(&a);
    job_clear(&j);
  }
}

/* property: the activation inside equals the activation after */
static void test_activation_inside_and_after(void) {
  for (int act = 0; act < ML_ACT_COUNT; act++) {
    ml_nn_linear_attr fused = {(ml_act)act, false}, plain = {ML_ACT_IDENTITY, false};
    job j = linear_job(&fused, true, 140, 9, 20), p = linear_job(&plain, true, 140, 9, 20);
    answer a, b;
    CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
    CHECK_OK(job_run(&b, &p, ML_F64, false), &err);
    ml_tensor y = {0};
    CHECK_OK(ml_activation(&y, &b.out[0], (ml_act)act, &err), &err);
    CHECK(distance(&a.out[0], &y) <= 1e-14);
    ml_tensor_clear(&y);
    answer_clear(&a);
    answer_clear(&b);
    job_clear(&j);
    job_clear(&p);
  }
}

/* property: each output is what linear gives, to the bit */
static void test_three_linears(void) {
  ml_rng g = ml_rng_seed(6);
  ml_tensor x = normals(&g, 0, 1, 3, 2, 75, K), W[3], b1 = normals(&g, 0, 1, 1, 70), y[3] = {{0}},
            one = {0};
  for (int p = 0; p < 3; p++)
    W[p] = normals(&g, 0, 1, 2, K, 70);
  const ml_tensor *w[3] = {&W[0], &W[1], &W[2]}, *b[3] = {NULL, &b1, NULL};
  CHECK_OK(ml_linear3(y, &x, w, b, &err), &err);
  for (int p = 0; p < 3; p++) {
    CHECK_OK(ml_linear(&one, &x, w[p], b[p], ML_ACT_IDENTITY, &err), &err);
    CHECK(ml_tensor_equal(&one, &y[p]));
    CHECK_EQ(y[p].rank, 3);
    ml_tensor_clear(&one);
    ml_tensor_clear(&y[p]);
    ml_tensor_clear(&W[p]);
  }
  ml_tensor_clear(&x);
  ml_tensor_clear(&b1);
}

static job mlp_job(const ml_nn_activation_attr *a, bool bias, int rows, int in, int hidden,
                   int out) {
  ml_rng g = ml_rng_seed(7);
  job j = {.op = &ml_nn_op_mlp, .attr = a, .on = bias ? 31 : 11};
  j.in[0] = normals(&g, 0, 1, 2, rows, in);
  j.in[1] = normals(&g, 0, 0.3, 2, in, hidden);
  j.in[3] = normals(&g, 0, 0.1, 2, hidden, out);
  if (bias) {
    j.in[2] = normals(&g, 0, 0.3, 1, hidden);
    j.in[4] = normals(&g, 0, 0.3, 1, out);
  }
  return j;
}

/* property: mlp equals two linears, forward and backward; rows cross the backward's block too */
static void test_mlp_is_two_linears(void) {
  for (int variant = 0; variant < 4; variant++) {
    ml_nn_activation_attr attr = {variant & 1 ? ML_ACT_GELU_TANH : ML_ACT_SILU};
    bool bias = variant & 2;
    int rows = variant == 0 ? 2300 : R;
    job j = mlp_job(&attr, bias, rows, 17, M, 19);
    answer a;
    CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
    ml_tensor leaf[5] = {{0}}, h = {0}, y = {0}, seed = {0};
    for (int i = 0; i < 5; i++)
      if (!ml_tensor_empty(&j.in[i]))
        CHECK_OK(ml_param(&leaf[i], &j.in[i], &err), &err);
    CHECK_OK(ml_linear(&h, &leaf[0], &leaf[1], bias ? &leaf[2] : NULL, attr.act, &err), &err);
    CHECK_OK(ml_linear(&y, &h, &leaf[3], bias ? &leaf[4] : NULL, ML_ACT_IDENTITY, &err), &err);
    CHECK_OK(job_seed(&seed, &y), &err);
    CHECK_OK(ml_backward(&y, &seed, false, &err), &err);
    CHECK(distance(&a.out[0], &y) <= 1e-13);
    for (int i = 0; i < 5; i++) {
      ml_tensor g = {0};
      if (leaf[i].node) {
        ml_grad_get(&g, &leaf[i]);
        CHECK(distance(&a.grad[i], &g) <= 1e-13);
      }
      ml_tensor_clear(&g);
      ml_tensor_clear(&leaf[i]);
    }
    ml_tensor_clear(&h);
    ml_tensor_clear(&y);
    ml_tensor_clear(&seed);
    answer_clear(&a);
    job_clear(&j);
  }
}

/* property: f32, threads, memory. The tolerance is for sums of 600 products of f32. */
static void test_properties(void) {
  ml_nn_linear_attr gelu = {ML_ACT_GELU_TANH, false}, tied = {ML_ACT_IDENTITY, true};
  ml_nn_activation_attr act = {ML_ACT_GELU_TANH};
  job j = linear_job(&gelu, true, R, K, N);
  job_properties(&j, 3e-6);
  job_clear(&j);
  j = linear_job(&tied, true, R, K, N);
  job_properties(&j, 3e-6);
  job_clear(&j);
  j = mlp_job(&act, true, R, 17, M, 19);
  job_properties(&j, 3e-6);
  job_clear(&j);
  ml_rng g = ml_rng_seed(8);
  job t = {.op = &ml_nn_op_linear3, .on = 127};
  t.in[0] = normals(&g, 0, 1, 2, R, K);
  for (int p = 0; p < 3; p++) {
    t.in[1 + p] = normals(&g, 0, 1, 2, K, 40);
    t.in[4 + p] = normals(&g, 0, 1, 1, 40);
  }
  job_properties(&t, 3e-6);
  job_clear(&t);
}

/* property: any strides, no rows, one row without leading axes */
static void test_views_and_edges(void) {
  ml_rng g = ml_rng_seed(9);
  ml_tensor wide = normals(&g, 0, 1, 2, K, 50), W = normals(&g, 0, 1, 2, K, 30), x = {0},
            flat = {0}, y = {0}, z = {0};
  CHECK_OK(ml_view_transpose(&x, &wide, 0, 1, &err), &err);
  CHECK_OK(ml_tensor_clone(&flat, &x, &err), &err);
  CHECK_OK(ml_linear(&y, &x, &W, NULL, ML_ACT_TANH, &err), &err);
  CHECK_OK(ml_linear(&z, &flat, &W, NULL, ML_ACT_TANH, &err), &err);
  CHECK(ml_tensor_equal(&y, &z));
  ml_tensor_clear(&y);
  ml_tensor_clear(&z);
  ml_tensor none = {0}, w = {0}, db = {0};
  CHECK_OK(ml_view_narrow(&none, &flat, 0, 0, 0, &err), &err);
  CHECK_OK(ml_param(&w, &W, &err), &err);
  CHECK_OK(ml_linear(&y, &none, &w, NULL, ML_ACT_IDENTITY, &err), &err);
  CHECK_EQ(y.size[0], 0);
  CHECK_EQ(y.size[1], 30);
  CHECK_OK(ml_backward(&y, &y, false, &err), &err);
  ml_grad_get(&db, &w);
  CHECK(!ml_tensor_empty(&db) && number(&db, 3) == 0);
  ml_tensor *all[] = {&wide, &W, &x, &flat, &y, &none, &w, &db};
  for (int i = 0; i < 8; i++)
    ml_tensor_clear(all[i]);
}

static void test_errors(void) {
  ml_rng g = ml_rng_seed(1);
  ml_tensor x = normals(&g, 0, 1, 2, 4, 3), W = normals(&g, 0, 1, 2, 3, 5),
            b = normals(&g, 0, 1, 1, 4), bad = {0}, y[3] = {{0}}, scalar = normals(&g, 0, 1, 0),
            ids = ids_below(&g, 3, 2, 4, 3);
  CHECK_FAIL(ml_linear(y, &x, &x, NULL, ML_ACT_IDENTITY, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [4x3] and f64 [4x3]");
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_linear_t(y, &x, &W, NULL, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [4x3] and f64 [3x5]");
  CHECK_FAIL(ml_linear(y, &x, &W, &b, ML_ACT_IDENTITY, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [4], wanted b [5]");
  CHECK_EQ(err.arg, 3);
  CHECK_FAIL(ml_linear(y, &scalar, &W, NULL, ML_ACT_IDENTITY, &err), ML_ESHAPE);
  CHECK_FAIL(ml_linear(y, &ids, &W, NULL, ML_ACT_IDENTITY, &err), ML_EDTYPE);
  CHECK_FAIL(ml_linear(y, &x, &W, NULL, ML_ACT_COUNT, &err), ML_EARG);
  CHECK_FAIL(ml_linear(y, &x, &bad, NULL, ML_ACT_IDENTITY, &err), ML_ESTATE);
  CHECK_OK(ml_tensor_cast(&bad, &W, ML_F32, &err), &err);
  CHECK_FAIL(ml_linear(y, &x, &bad, NULL, ML_ACT_IDENTITY, &err), ML_EDTYPE);
  CHECK_HAS(err.message, "f64 [4x3] and f32 [3x5]");
  const ml_tensor *w[3] = {&W, &W, &x}, *none[3] = {NULL, NULL, NULL};
  CHECK_FAIL(ml_linear3(y, &x, w, none, &err), ML_ESHAPE);
  CHECK_FAIL(ml_mlp(y, &x, &W, NULL, &x, NULL, ML_ACT_RELU, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [3x5] and f64 [4x3]");
  CHECK_FAIL(ml_mlp(y, &x, &W, &b, &x, NULL, ML_ACT_RELU, &err), ML_ESHAPE);
  CHECK(ml_tensor_empty(y));
  ml_tensor *all[] = {&x, &W, &b, &bad, &scalar, &ids};
  for (int i = 0; i < 6; i++)
    ml_tensor_clear(all[i]);
}

CHECK_MAIN(test_linear_is_the_plain_sum, test_activation_inside_and_after, test_three_linears,
           test_mlp_is_two_linears, test_properties, test_views_and_edges, test_errors)
