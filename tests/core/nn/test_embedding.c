/* Embedding and dropout: rows and sums of rows, the mask of the stream, and what must not change.
 */
#include "job.h"

/* analytic */
static void test_rows_of_the_table(void) {
  ml_rng g = ml_rng_seed(31);
  ml_tensor table = normals(&g, 0, 1, 2, 6, 5), pt = normals(&g, 0, 1, 2, 9, 5),
            ids = ids_below(&g, 6, 2, 3, 4), y = {0};
  ml_tensor positions = ids_below(&g, 9, 2, 3, 4);
  for (int variant = 0; variant < 3; variant++) {
    CHECK_OK(ml_embedding(&y, &table, &ids, variant ? &pt : NULL, variant == 2 ? &positions : NULL,
                          &err),
             &err);
    CHECK_EQ(y.rank, 3);
    for (int r = 0; r < 12; r++) {
      int64_t p = variant == 2 ? ML_DATA(int64_t, &positions)[r] : r % 4;
      for (int k = 0; k < 5; k++)
        CHECK(number(&y, r * 5 + k) == number(&table, ML_DATA(int64_t, &ids)[r] * 5 + k) +
                                           (variant ? number(&pt, p * 5 + k) : 0));
    }
    ml_tensor_clear(&y);
  }
  ml_tensor *all[] = {&table, &pt, &ids, &positions};
  for (int i = 0; i < 4; i++)
    ml_tensor_clear(all[i]);
}

/* analytic: the gradient of a row is the sum over its uses */
static void test_gradient_counts_uses(void) {
  ml_rng g = ml_rng_seed(32);
  job j = {.op = &ml_nn_op_embedding, .on = 5};
  j.in[0] = normals(&g, 0, 1, 2, 20, 3);
  j.in[1] = ids_below(&g, 20, 2, 40, 25);
  j.in[2] = normals(&g, 0, 1, 2, 25, 3);
  answer a;
  CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
  ml_tensor seed = {0};
  CHECK_OK(job_seed(&seed, &a.out[0]), &err);
  double want[60] = {0}, want_positions[75] = {0};
  for (int r = 0; r < 1000; r++)
    for (int k = 0; k < 3; k++) {
      want[ML_DATA(int64_t, &j.in[1])[r] * 3 + k] += number(&seed, r * 3 + k);
      want_positions[r % 25 * 3 + k] += number(&seed, r * 3 + k);
    }
  for (int i = 0; i < 60; i++)
    CHECK_NEAR(number(&a.grad[0], i), want[i], 1e-13, 1e-13);
  for (int i = 0; i < 75; i++)
    CHECK_NEAR(number(&a.grad[2], i), want_positions[i], 1e-13, 1e-13);
  ml_tensor_clear(&seed);
  answer_clear(&a);
  job_properties(&j, 5e-6);
  job_clear(&j);
}

static void test_embedding_errors(void) {
  ml_rng g = ml_rng_seed(33);
  ml_tensor table = normals(&g, 0, 1, 2, 6, 5), pt = normals(&g, 0, 1, 2, 3, 5),
            other = normals(&g, 0, 1, 2, 3, 4), y = {0};
  ml_tensor ids = ids_below(&g, 6, 2, 3, 4), few = ids_below(&g, 3, 1, 4);
  CHECK_FAIL(ml_embedding(&y, &table, &ids, &pt, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "position 4 is outside 1..3");
  CHECK_FAIL(ml_embedding(&y, &table, &ids, &pt, &few, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "index [3x4] and index [4]");
  CHECK_FAIL(ml_embedding(&y, &table, &ids, &other, NULL, &err), ML_ESHAPE);
  CHECK_FAIL(ml_embedding(&y, &table, &ids, NULL, &ids, &err), ML_EARG);
  CHECK_FAIL(ml_embedding(&y, &table, &table, NULL, NULL, &err), ML_EDTYPE);
  CHECK_FAIL(ml_embedding(&y, &ids, &ids, NULL, NULL, &err), ML_EDTYPE);
  ML_DATA(int64_t, &ids)[7] = 299;
  CHECK_FAIL(ml_embedding(&y, &table, &ids, NULL, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "id 300 is outside 1..6");
  CHECK_EQ(err.arg, 2);
  ML_DATA(int64_t, &ids)[7] = -1;
  CHECK_FAIL(ml_embedding(&y, &table, &ids, NULL, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "id 0 is outside 1..6");
  CHECK(ml_tensor_empty(&y));
  ml_tensor *all[] = {&table, &pt, &other, &ids, &few};
  for (int i = 0; i < 5; i++)
    ml_tensor_clear(all[i]);
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* analytic: element i follows word i % 4 of block counter + i / 4 of the stream */
static void test_mask_of_the_stream(void) {
  enum { N = 40003 };
  ml_rng g = ml_rng_seed(34), h = ml_rng_seed(34);
  ml_tensor x = normals(&g, 5, 1, 1, N), y = {0};
  h.counter = g.counter = 0xfffffffeu; /* across the carry */
  CHECK_OK(ml_dropout(&y, &x, 0.3, &g, &err), &err);
  CHECK_EQ(g.counter, h.counter + (N + 3) / 4);
  int kept = 0;
  for (int i = 0; i < N; i++) {
    uint32_t word[4];
    ml_philox(word, h.key, h.counter + (uint64_t)(i / 4), 0);
    bool keep = (double)word[i % 4] >= 0.3 * 0x1p32;
    kept += keep;
    CHECK_NEAR(number(&y, i), keep ? number(&x, i) / 0.7 : 0, 1e-15, 0);
  }
  CHECK(fabs(kept - 0.7 * N) < 5 * sqrt(0.21 * N)); /* five standard deviations */
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
}

/* property: backward has forward's mask; f32 has f64's; p = 0 and p = 1 are exact */
static void test_same_mask_everywhere(void) {
  ml_rng g = ml_rng_seed(35);
  for (int k = 0; k < 3; k++) {
    ml_nn_dropout_attr attr = {k == 0 ? 0.4 : k - 1, {77, 5}};
    job j = {.op = &ml_nn_op_dropout, .attr = &attr, .on = 1};
    j.in[0] = normals(&g, 3, 1, 2, 173, 97);
    answer a;
    CHECK_OK(job_run(&a, &j, ML_F64, false), &err);
    ml_tensor seed = {0};
    CHECK_OK(job_seed(&seed, &a.out[0]), &err);
    for (int64_t i = 0; i < ml_numel(&seed); i++) {
      double ratio = number(&a.out[0], i) / number(&j.in[0], i);
      CHECK_NEAR(number(&a.grad[0], i), ratio * number(&seed, i), 1e-14, 0);
      if (k)
        CHECK(ratio == (k == 1));
    }
    ml_tensor_clear(&seed);
    answer_clear(&a);
    job_properties(&j, 2e-7);
    job_clear(&j);
  }
}

static void test_dropout_errors(void) {
  ml_rng g = ml_rng_seed(36), before;
  ml_tensor x = normals(&g, 0, 1, 1, 4), y = {0};
  before = g;
  CHECK_FAIL(ml_dropout(&y, &x, 1.5, &g, &err), ML_EARG);
  CHECK_HAS(err.message, "p is 1.5, wanted 0 <= p <= 1");
  CHECK_FAIL(ml_dropout(&y, &x, NAN, &g, &err), ML_EARG);
  CHECK(g.counter == before.counter);
  ml_tensor_clear(&x);
}

CHECK_MAIN(test_rows_of_the_table, test_gradient_counts_uses, test_embedding_errors,
           test_mask_of_the_stream, test_same_mask_everywhere, test_dropout_errors)
