/* Cross-entropy, given logits or fused with its linear map: closed forms, the two against each
 * other, masks, rows that are not numbers. */
#include "job.h"

/* 3 rows of 5 logits with targets 1, 4, 0 */
static job small_job(const ml_nn_ce_attr *a, const double *mask) {
  ml_rng g = ml_rng_seed(21);
  job j = {.op = &ml_nn_op_cross_entropy, .attr = a, .on = 1};
  j.in[0] = normals(&g, 1, 2, 2, 3, 5);
  j.in[1] = ids_below(&g, 5, 1, 3);
  memcpy(ml_data(&j.in[1]), (int64_t[]){1, 4, 0}, 3 * sizeof(int64_t));
  if (mask) {
    j.in[2] = normals(&g, 0, 1, 1, 3);
    memcpy(ml_data(&j.in[2]), mask, 3 * sizeof *mask);
  }
  return j;
}

/* analytic: loss, info, and the gradient dL/dz_j = w (p_j - [j = t] + 2 c logZ p_j) of Wortsman et
 * al. 2023 */
static void test_closed_form(void) {
  static const double masks[3][3] = {{1, 1, 1}, {-0.5, 0, 2}, {0, 0, 0}};
  for (int variant = 0; variant < 8; variant++) {
    ml_ce_info info;
    ml_nn_ce_attr attr = {.z_loss = variant & 1 ? 0.25 : 0, .multiplier = 1, .info = &info};
    int m = variant / 2 == 3 ? 0 : variant / 2;
    job j = small_job(&attr, variant / 2 == 3 ? NULL : masks[m]);
    answer a;
    CHECK_OK(job_run(&a, &j, ML_F64, true), &err);
    double count = 0, loss = 0, ce = 0, logz = 0, logz2 = 0, mean = 0, want[15] = {0};
    for (int r = 0; r < 3; r++)
      count += masks[m][r] != 0;
    for (int r = 0; r < 3; r++) {
      const double *z = ML_DATA(double, &j.in[0]) + 5 * r;
      int64_t t = ML_DATA(int64_t, &j.in[1])[r];
      double Z = 0, w = masks[m][r] / (count > 0 ? count : 1), lz;
      for (int i = 0; i < 5; i++)
        Z += exp(z[i]);
      lz = log(Z);
      loss += w * (lz - z[t] + attr.z_loss * lz * lz);
      ce += w * (lz - z[t]);
      logz += w * lz;
      logz2 += w * lz * lz;
      double sum = 0;
      for (int i = 0; i < 5; i++) {
        want[5 * r + i] = w * (exp(z[i]) / Z * (1 + 2 * attr.z_loss * lz) - (i == t));
        mean += w != 0 ? z[i] / (5 * count) : 0;
        sum += number(&a.grad[0], 5 * r + i);
      }
      if (!(variant & 1)) /* the sum over the vocabulary is 0 */
        CHECK(fabs(sum) < 1e-15);
    }
    CHECK_NEAR(item(&a.out[0]), loss, 1e-14, 0);
    CHECK_NEAR(info.ce, ce, 1e-14, 0);
    CHECK_NEAR(info.mean_logz, logz, 1e-14, 0);
    CHECK_NEAR(info.mean_logz2, logz2, 1e-14, 0);
    CHECK_NEAR(info.logit_mean, mean, 1e-13, 0);
    CHECK_EQ(info.count, (int64_t)count);
    for (int i = 0; i < 15; i++)
      CHECK_NEAR(number(&a.grad[0], i), want[i], 1e-13, 1e-16);
    answer_clear(&a);
    job_clear(&j);
  }
}

/* analytic: equal logits give log V, however large the logits and the vocabulary */
static void test_equal_logits(void) {
  for (int dtype = 0; dtype < 2; dtype++)
    for (int V = 1; V < 60000; V = V * 3 + 2) {
      ml_shape shape = ml_shape_make(2, (int64_t)2, (int64_t)V),
               rows = ml_shape_make(1, (int64_t)2);
      ml_tensor z = {0}, t = {0}, loss = {0};
      CHECK_OK(ml_tensor_init(&z, dtype ? ML_F32 : ML_F64, &shape, &err), &err);
      CHECK_OK(ml_tensor_fill_into(&z, -1e5, &err), &err);
      CHECK_OK(ml_tensor_init_zeros(&t, ML_INDEX, &rows, &err), &err);
      CHECK_OK(ml_cross_entropy(&loss, &z, &t, NULL, 0, NULL, &err), &err);
      CHECK_NEAR(item(&loss), log(V), dtype ? 1e-6 : 1e-11,
                 0); /* f64: 1e5 + log V has lost 5 digits */
      ml_tensor_clear(&z);
      ml_tensor_clear(&t);
      ml_tensor_clear(&loss);
    }
}

/* analytic: one logit far above or below the others, at any place, in rows longer and shorter than
 * a block of sums */
static void test_spread_logits(void) {
  static const int sizes[] = {2, 5, 31, 64, 700, 5000};
  for (int dtype = 0; dtype < 2; dtype++)
    for (int s = 0; s < 6; s++)
      for (int place = 0; place < 4; place++) {
        int V = sizes[s], at = place * (V - 1) / 3;
        for (int sign = -1; sign <= 1; sign += 2) {
          ml_nn_ce_attr attr = {.multiplier = 1};
          job j = {.op = &ml_nn_op_cross_entropy, .attr = &attr, .on = 1};
          ml_rng g = ml_rng_seed(1);
          j.in[0] = normals(&g, 0, 1, 2, 1, V);
          CHECK_OK(ml_tensor_fill_into(&j.in[0], 3, &err), &err);
          ML_DATA(double, &j.in[0])[at] = sign * 1e4;
          j.in[1] = ids_below(&g, V, 1, 1);
          *ML_DATA(int64_t, &j.in[1]) = at;
          answer a;
          CHECK_OK(job_run(&a, &j, dtype ? ML_F32 : ML_F64, true), &err);
          CHECK_NEAR(item(&a.out[0]), sign > 0 ? 0 : 10003 + log(V - 1), 1e-6, 0);
          CHECK_NEAR(number(&a.grad[0], at), sign > 0 ? 0 : -1, 1e-6, 0);
          CHECK_NEAR(number(&a.grad[0], at ? 0 : V - 1), sign > 0 ? 0 : 1.0 / (V - 1), 1e-3, 0);
          answer_clear(&a);
          job_clear(&j);
        }
      }
}

enum { X, W, B, T, MASK };

/* rows: 520 cross the block of 256 where V = 4096, as in variant 3 */
static job fused_job(const ml_nn_ce_attr *a, int rows, int K, int V, bool bias, int mask) {
  ml_rng g = ml_rng_seed(22);
  job j = {.op = &ml_nn_op_linear_cross_entropy, .attr = a, .on = bias ? 7 : 3};
  j.in[X] = normals(&g, 0, 1, 2, rows, K);
  j.in[W] = a->transposed ? normals(&g, 0, 0.5, 2, V, K) : normals(&g, 0, 0.5, 2, K, V);
  if (bias)
    j.in[B] = normals(&g, 0, 0.5, 1, V);
  j.in[T] = ids_below(&g, V, 1, rows);
  if (mask) {
    j.in[MASK] = normals(&g, 0.2, 1, 1, rows);
    for (int r = 0; mask == 2 && r < rows; r += 3)
      ML_DATA(double, &j.in[MASK])[r] = 0;
    if (mask == 1)
      j.on |= 1u << MASK;
  }
  return j;
}

/* the same by linear, times the multiplier, and cross_entropy */
static void by_parts(answer *a, ml_ce_info *info, const job *j, double seed) {
  const ml_nn_ce_attr *attr = j->attr;
  memset(a, 0, sizeof *a);
  ml_tensor leaf[5] = {{0}}, z = {0}, scaled = {0}, loss = {0}, s = {0};
  for (int i = 0; i < 5; i++) {
    if (j->on >> i & 1u)
      CHECK_OK(ml_param(&leaf[i], &j->in[i], &err), &err);
    else
      ml_tensor_alias(&leaf[i], &j->in[i]);
  }
  const ml_tensor *b = ml_tensor_empty(&leaf[B]) ? NULL : &leaf[B];
  if (attr->transposed)
    CHECK_OK(ml_linear_t(&z, &leaf[X], &leaf[W], b, &err), &err);
  else
    CHECK_OK(ml_linear(&z, &leaf[X], &leaf[W], b, ML_ACT_IDENTITY, &err), &err);
  CHECK_OK(ml_binary_number(&scaled, ML_MUL, &z, attr->multiplier, false, &err), &err);
  const ml_tensor *mask = ml_tensor_empty(&leaf[MASK]) ? NULL : &leaf[MASK];
  CHECK_OK(ml_cross_entropy(&loss, &scaled, &leaf[T], mask, attr->z_loss, info, &err), &err);
  CHECK_OK(ml_tensor_clone(&s, &loss, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&s, seed, &err), &err);
  CHECK_OK(ml_backward(&loss, &s, false, &err), &err);
  ml_tensor_detach(&a->out[0], &loss);
  for (int i = 0; i < 5; i++) {
    if (j->on >> i & 1u)
      ml_grad_get(&a->grad[i], &leaf[i]);
    ml_tensor_clear(&leaf[i]);
  }
  ml_tensor_clear(&z);
  ml_tensor_clear(&scaled);
  ml_tensor_clear(&loss);
  ml_tensor_clear(&s);
}

/* property: fused equals the parts, whatever the options; the seed 1 takes the stored gradients,
 * another scales them */
static void test_fused_is_its_parts(void) {
  for (int variant = 0; variant < 16; variant++) {
    ml_ce_info info, want_info;
    ml_nn_ce_attr attr = {
        .z_loss = variant & 1 ? 0.1 : 0, .multiplier = variant & 1 ? 0.6 : 1, .info = &info};
    attr.transposed = variant & 2;
    int mask = variant / 4 % 3, V = variant == 3 ? 4096 : 29;
    job j = fused_job(&attr, 520, 11, V, variant & 1, mask);
    answer got, want;
    for (int plain = 0; plain < 2; plain++) {
      CHECK_OK(job_run(&got, &j, ML_F64, plain), &err);
      by_parts(&want, &want_info, &j, plain ? 1 : -1.2); /* -1.2: job_seed's first number */
      CHECK(answer_distance(&got, &want) < 1e-12);
      CHECK_NEAR(info.ce, want_info.ce, 1e-12, 0);
      CHECK_NEAR(info.mean_logz, want_info.mean_logz, 1e-12, 0);
      CHECK_NEAR(info.mean_logz2, want_info.mean_logz2, 1e-12, 0);
      CHECK_NEAR(info.logit_mean, want_info.logit_mean, 1e-10, 1e-14);
      CHECK_EQ(info.count, want_info.count);
      answer_clear(&got);
      answer_clear(&want);
    }
    job_clear(&j);
  }
}

/* property: rows of weight 0 change nothing, be they NaN and their targets out of range */
static void test_masked_rows_do_not_exist(void) {
  ml_nn_ce_attr attr = {.z_loss = 0.1, .multiplier = 1};
  job j = fused_job(&attr, 90, 7, 13, true, 2);
  answer clean, dirty;
  CHECK_OK(job_run(&clean, &j, ML_F32, true), &err);
  for (int r = 0; r < 90; r += 3) {
    ML_DATA(double, &j.in[X])[r * 7 + 2] = r & 1 ? NAN : INFINITY;
    ML_DATA(int64_t, &j.in[T])[r] = r & 1 ? -1 : 13;
  }
  CHECK_OK(job_run(&dirty, &j, ML_F32, true), &err);
  CHECK(answer_same(&dirty, &clean));
  for (int r = 0; r < 90; r += 3)
    for (int k = 0; k < 7; k++)
      CHECK(number(&dirty.grad[X], r * 7 + k) == 0);
  answer_clear(&clean);
  answer_clear(&dirty);
  job_clear(&j);
  /* the same of given logits */
  ml_nn_ce_attr plain = {.multiplier = 1};
  job s = small_job(&plain, (double[]){1, 0, -1});
  CHECK_OK(job_run(&clean, &s, ML_F64, true), &err);
  ML_DATA(double, &s.in[0])[7] = NAN;
  ML_DATA(int64_t, &s.in[1])[1] = 77;
  CHECK_OK(job_run(&dirty, &s, ML_F64, true), &err);
  CHECK(answer_same(&dirty, &clean));
  /* a NaN that counts is a result */
  ML_DATA(double, &s.in[0])[0] = NAN;
  answer_clear(&dirty);
  CHECK_OK(job_run(&dirty, &s, ML_F64, true), &err);
  CHECK(isnan(item(&dirty.out[0])));
  answer_clear(&clean);
  answer_clear(&dirty);
  job_clear(&s);
}

/* property: the per-row values average to the loss */
static void test_nll(void) {
  for (int tied = 0; tied < 2; tied++) {
    ml_nn_ce_attr attr = {.multiplier = 0.7, .transposed = tied};
    job j = fused_job(&attr, 300, 9, 4096, true, 0);
    ml_tensor nll = {0}, loss = {0};
    CHECK_OK(ml_linear_nll(&nll, &j.in[X], &j.in[W], &j.in[B], tied, 0.7, &j.in[T], &err), &err);
    CHECK_OK(ml_linear_cross_entropy(&loss, &j.in[X], &j.in[W], &j.in[B], tied, 0.7, &j.in[T], NULL,
                                     0, NULL, &err),
             &err);
    CHECK_EQ(nll.rank, 1);
    double sum = 0;
    for (int r = 0; r < 300; r++)
      sum += number(&nll, r) / 300;
    CHECK_CLOSE(sum, item(&loss), 1e-13);
    ml_tensor_clear(&nll);
    ml_tensor_clear(&loss);
    job_clear(&j);
  }
}

static void test_properties(void) {
  ml_nn_ce_attr attr = {.z_loss = 1e-2, .multiplier = 1},
                tied = {.z_loss = 1e-2, .multiplier = 0.7, .transposed = true};
  job j = fused_job(&attr, 520, 19, 4096, true, 2);
  job_properties(&j, 5e-6);
  job_clear(&j);
  j = fused_job(&tied, 1100, 19, 70, false, 1);
  job_properties(&j, 5e-6);
  job_clear(&j);
  ml_rng g = ml_rng_seed(23);
  job c = {.op = &ml_nn_op_cross_entropy, .attr = &attr, .on = 5};
  c.in[0] = normals(&g, 0, 3, 3, 2, 60, 700);
  c.in[1] = ids_below(&g, 700, 2, 2, 60);
  c.in[2] = normals(&g, 0, 1, 2, 2, 60);
  job_properties(&c, 5e-6);
  job_clear(&c);
}

static void test_errors(void) {
  ml_nn_ce_attr attr = {.multiplier = 1};
  job j = small_job(&attr, NULL);
  ml_tensor loss = {0}, few = {0}, t = {0};
  CHECK_OK(ml_view_narrow(&few, &j.in[1], 0, 0, 2, &err), &err);
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &few, NULL, 0, NULL, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [3x5] and index [2], wanted targets index [3]");
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &j.in[0], NULL, 0, NULL, &err), ML_EDTYPE);
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &j.in[1], &j.in[0], 0, NULL, &err), ML_ESHAPE);
  CHECK_EQ(err.arg, 3);
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &j.in[1], &j.in[1], 0, NULL, &err), ML_EDTYPE);
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &j.in[1], NULL, NAN, NULL, &err), ML_EARG);
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &j.in[1], NULL, -1, NULL, &err), ML_EARG);
  CHECK_OK(ml_tensor_clone(&t, &j.in[1], &err), &err);
  ML_DATA(int64_t, &t)[2] = 5;
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &t, NULL, 0, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "target 6 is outside 1..5");
  ML_DATA(int64_t, &t)[2] = -1;
  CHECK_FAIL(ml_cross_entropy(&loss, &j.in[0], &t, NULL, 0, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "target 0 is outside 1..5");
  ml_rng g = ml_rng_seed(1);
  ml_tensor w = normals(&g, 0, 1, 2, 4, 6), b = normals(&g, 0, 1, 1, 5),
            fit = normals(&g, 0, 1, 2, 5, 6);
  CHECK_FAIL(
      ml_linear_cross_entropy(&loss, &j.in[0], &w, NULL, false, 1, &j.in[1], NULL, 0, NULL, &err),
      ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [3x5] and f64 [4x6], wanted W [K,V]");
  CHECK_FAIL(
      ml_linear_cross_entropy(&loss, &j.in[0], &fit, NULL, true, 1, &j.in[1], NULL, 0, NULL, &err),
      ML_ESHAPE);
  CHECK_FAIL(
      ml_linear_cross_entropy(&loss, &j.in[0], &fit, &b, false, 1, &j.in[1], NULL, 0, NULL, &err),
      ML_ESHAPE);
  CHECK_FAIL(ml_linear_cross_entropy(&loss, &j.in[0], &fit, NULL, false, NAN, &j.in[1], NULL, 0,
                                     NULL, &err),
             ML_EARG);
  CHECK_FAIL(ml_linear_nll(&loss, &j.in[0], &fit, NULL, false, 1, &few, &err), ML_ESHAPE);
  ML_DATA(int64_t, &t)[2] = 299;
  CHECK_FAIL(ml_linear_nll(&loss, &j.in[0], &fit, NULL, false, 1, &t, &err), ML_EARG);
  CHECK_HAS(err.message, "target 300 is outside 1..6");
  CHECK(ml_tensor_empty(&loss));
  ml_tensor *all[] = {&few, &t, &w, &b, &fit};
  for (int i = 0; i < 5; i++)
    ml_tensor_clear(all[i]);
  job_clear(&j);
}

CHECK_MAIN(test_closed_form, test_equal_logits, test_spread_logits, test_fused_is_its_parts,
           test_masked_rows_do_not_exist, test_nll, test_properties, test_errors)
