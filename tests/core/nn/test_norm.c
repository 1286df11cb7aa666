/* Layer norm and RMS norm: closed forms, invariances, and what must not change. */
#include "job.h"

static job norm_job(bool layer, const ml_nn_norm_attr *a, bool gain, bool shift, int rows, int n) {
  ml_rng g = ml_rng_seed(11);
  job j = {.op = layer ? &ml_nn_op_layer_norm : &ml_nn_op_rms_norm, .attr = a, .on = 1};
  j.in[0] = normals(&g, 0.4, 2, 2, rows, n);
  if (gain) {
    j.in[1] = normals(&g, 1, 0.3, 1, n);
    j.on |= 2;
  }
  if (shift) {
    j.in[2] = normals(&g, 0, 1, 1, n);
    j.on |= 4;
  }
  return j;
}

/* analytic: each row against its mean and variance taken in long double */
static void test_rows(void) {
  for (int variant = 0; variant < 8; variant++) {
    bool layer = variant & 1;
    int n = variant & 4 ? 1027 : 5, rows = 7;
    ml_nn_norm_attr attr = {1e-3};
    job j = norm_job(layer, &attr, variant & 2, layer && (variant & 2), rows, n);
    answer a;
    CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
    for (int r = 0; r < rows; r++) {
      long double mean = 0, moment = 0;
      for (int i = 0; i < n && layer; i++)
        mean += number(&j.in[0], r * n + i) / (long double)n;
      for (int i = 0; i < n; i++) {
        long double d = number(&j.in[0], r * n + i) - mean;
        moment += d * d / (long double)n;
      }
      for (int i = 0; i < n; i++) {
        double want = (double)((number(&j.in[0], r * n + i) - mean) / sqrtl(moment + 1e-3L));
        if (variant & 2)
          want = want * number(&j.in[1], i) + (layer ? number(&j.in[2], i) : 0);
        CHECK_NEAR(number(&a.out[0], r * n + i), want, 1e-13, 1e-14);
      }
    }
    answer_clear(&a);
    job_clear(&j);
  }
}

/* property: without eps, x -> s x + t changes nothing (layer), x -> s x nothing (rms); and so the
 * gradient of x is orthogonal to the row (both) and to ones (layer) */
static void test_invariances(void) {
  for (int layer = 0; layer < 2; layer++) {
    enum { ROWS = 6, N = 70 };
    ml_nn_norm_attr attr = {0};
    job j = norm_job(layer, &attr, true, layer, ROWS, N);
    answer a, b;
    CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
    for (int r = 0; r < ROWS; r++) {
      double dot = 0, sum = 0, size = 0;
      for (int i = 0; i < N; i++) {
        double g = number(&a.grad[0], r * N + i);
        dot += g * number(&j.in[0], r * N + i);
        sum += g;
        size += fabs(g);
      }
      CHECK(size > 0.1 && fabs(dot) < 1e-13 * size);
      if (layer)
        CHECK(fabs(sum) < 1e-14 * size);
    }
    for (int64_t i = 0; i < ROWS * N; i++)
      ML_DATA(double, &j.in[0])[i] = 3.5 * number(&j.in[0], i) + (layer ? 40 : 0);
    CHECK_OK(job_run(&b, &j, ML_F64, false), &err);
    CHECK(distance(&b.out[0], &a.out[0]) < 1e-14);
    for (int64_t i = 0; i < ROWS * N; i++)
      ML_DATA(double, &b.grad[0])[i] *= 3.5;
    CHECK(distance(&b.grad[0], &a.grad[0]) < 1e-12);
    answer_clear(&a);
    answer_clear(&b);
    job_clear(&j);
  }
}

/* analytic: a mean far above the spread costs no more than the rounding of x itself */
static void test_large_mean_in_f32(void) {
  ml_nn_norm_attr attr = {0};
  job j = norm_job(true, &attr, false, false, 3, 1024);
  for (int64_t i = 0; i < ml_numel(&j.in[0]); i++)
    ML_DATA(double, &j.in[0])[i] = (double)(float)(4096 + number(&j.in[0], i));
  answer a, b;
  CHECK_OK(job_run(&a, &j, ML_F32, false), &err);
  CHECK_OK(job_run(&b, &j, ML_F64, false), &err);
  CHECK(distance(&a.out[0], &b.out[0]) <
        5e-4); /* the f32 mean is off by 4096 * 2^-24 at most, over a spread of 2 */
  answer_clear(&a);
  answer_clear(&b);
  job_clear(&j);
}

/* analytic: one element per row normalises to 0 (layer) or its sign (rms); NaN stays in its row */
static void test_edges(void) {
  ml_nn_norm_attr attr = {1e-6};
  job j = norm_job(true, &attr, false, false, 4, 1);
  answer a;
  CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
  for (int r = 0; r < 4; r++)
    CHECK(number(&a.out[0], r) == 0 && number(&a.grad[0], r) == 0);
  answer_clear(&a);
  job_clear(&j);
  j = norm_job(true, &attr, true, true, 4, 40);
  ML_DATA(double, &j.in[0])[45] = NAN;
  CHECK_OK(job_run(&a, &j, ML_F32, false), &err);
  for (int i = 0; i < 160; i++)
    CHECK(isnan(number(&a.out[0], i)) == (i / 40 == 1));
  answer_clear(&a);
  job_clear(&j);
}

/* property: results too large for the caches are written another way, with the same bytes */
static void test_large_results(void) {
  ml_nn_norm_attr attr = {1e-5};
  for (int layer = 0; layer < 2; layer++)
    for (int n = 1020; n <= 1024; n += 4) {
      job all = norm_job(layer, &attr, true, layer, 1100, n),
          few = norm_job(layer, &attr, true, layer, 1, n);
      CHECK((double)ml_numel(&all.in[0]) * 4 > 4e6);
      job_clear(&few);
      for (int i = 1; i < 3; i++) /* the same gain and shift */
        ml_tensor_alias(&few.in[i], &all.in[i]);
      CHECK_OK(ml_view_narrow(&few.in[0], &all.in[0], 0, 0, 132, &err), &err);
      answer a, b;
      CHECK_OK(job_run(&a, &all, ML_F32, false), &err);
      CHECK_OK(job_run(&b, &few, ML_F32, false), &err);
      CHECK(!memcmp(ml_data(&a.out[0]), ml_data(&b.out[0]), (size_t)(132 * n) * sizeof(double)));
      CHECK(!memcmp(ml_data(&a.grad[0]), ml_data(&b.grad[0]), (size_t)(132 * n) * sizeof(double)));
      answer_clear(&a);
      answer_clear(&b);
      job_clear(&all);
      job_clear(&few);
    }
}

static void test_properties(void) {
  ml_nn_norm_attr attr = {1e-5};
  for (int layer = 0; layer < 2; layer++)
    for (int gain = 0; gain < 2; gain++) {
      job j = norm_job(layer, &attr, gain, layer && gain, 700, 67);
      job_properties(&j, 3e-6);
      job_clear(&j);
    }
}

static void test_errors(void) {
  ml_rng g = ml_rng_seed(1);
  ml_tensor x = normals(&g, 0, 1, 2, 4, 3), gain = normals(&g, 0, 1, 1, 4), y = {0},
            scalar = normals(&g, 0, 1, 0);
  CHECK_FAIL(ml_layer_norm(&y, &x, &gain, NULL, 1e-5, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [4x3] and f64 [4], wanted gain [3]");
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_layer_norm(&y, &x, NULL, &gain, 1e-5, &err), ML_ESHAPE);
  CHECK_EQ(err.arg, 3);
  CHECK_FAIL(ml_layer_norm(&y, &x, NULL, NULL, NAN, &err), ML_EARG);
  CHECK_HAS(err.message, "eps is nan, wanted >= 0");
  CHECK_FAIL(ml_rms_norm(&y, &x, NULL, -1, &err), ML_EARG);
  CHECK_FAIL(ml_rms_norm(&y, &scalar, NULL, 1, &err), ML_ESHAPE);
  CHECK_FAIL(ml_rms_norm(&y, &x, &gain, 1, &err), ML_ESHAPE);
  ml_tensor_clear(&x);
  ml_tensor_clear(&gain);
  ml_tensor_clear(&scalar);
}

CHECK_MAIN(test_rows, test_invariances, test_large_mean_in_f32, test_edges, test_large_results,
           test_properties, test_errors)
