/* Attention against plain f64 sums, closed forms, and what must not change. */
#include "check.h"
#include "nn/nn.h"

static ml_error err;

/* ---- inputs and the reference ---------------------------------------------------------------- */

typedef struct {
  int64_t B, T, H, D;
  bool causal;
  int segments; /* 0 none, 1 sorted, 2 in any order */
} problem;

/* q, k, v as views of one [B,T,3,H,D] tensor, as a fused product leaves them; dy contiguous. */
typedef struct {
  problem p;
  double scale;
  ml_tensor all, q, k, v, dy, segments;
} inputs;

static void pick(ml_tensor *out, const ml_tensor *all, int i) {
  ml_slice s[] = {{0, all->size[0], 1, false}, {0, all->size[1], 1, false}, {i, 1, 1, true}};
  CHECK_OK(ml_view_slice(out, all, s, 3, &err), &err);
}

static void open_inputs(inputs *x, problem p, ml_dtype dtype, double std, uint64_t seed) {
  memset(x, 0, sizeof *x);
  x->p = p;
  x->scale = 1 / sqrt((double)p.D);
  ml_rng g = ml_rng_seed(seed);
  ml_tensor wide = {0};
  ml_shape shape = ml_shape_make(5, p.B, p.T, (int64_t)3, p.H, p.D);
  CHECK_OK(ml_tensor_init(&wide, ML_F64, &shape, &err), &err);
  ml_rng_normal_f64(&g, ML_DATA(double, &wide), ml_numel(&wide), 0, std);
  CHECK_OK(ml_tensor_cast(&x->all, &wide, dtype, &err), &err);
  ml_tensor_clear(&wide);
  pick(&x->q, &x->all, 0);
  pick(&x->k, &x->all, 1);
  pick(&x->v, &x->all, 2);
  shape = ml_shape_make(4, p.B, p.T, p.H, p.D);
  CHECK_OK(ml_tensor_init(&wide, ML_F64, &shape, &err), &err);
  ml_rng_normal_f64(&g, ML_DATA(double, &wide), ml_numel(&wide), 0, 1);
  CHECK_OK(ml_tensor_cast(&x->dy, &wide, dtype, &err), &err);
  ml_tensor_clear(&wide);
  if (!p.segments)
    return;
  shape = ml_shape_make(2, p.B, p.T);
  CHECK_OK(ml_tensor_init(&x->segments, ML_INDEX, &shape, &err), &err);
  int64_t *s = ML_DATA(int64_t, &x->segments), step;
  for (int64_t i = 0; i < p.B * p.T; i++) {
    ml_rng_integers(&g, &step, 1, 0, 9);
    s[i] = p.segments == 2 ? step % 3 : i % p.T == 0 ? 5 : s[i - 1] + (step == 0);
  }
}

static void close_inputs(inputs *x) {
  ml_tensor *t[] = {&x->all, &x->q, &x->k, &x->v, &x->dy, &x->segments};
  for (size_t i = 0; i < sizeof t / sizeof *t; i++)
    ml_tensor_clear(t[i]);
}

static double at(const ml_tensor *t, int64_t b, int64_t i, int64_t h, int64_t d) {
  return ml_tensor_get(t, (int64_t[]){b, i, h, d});
}

typedef struct {
  double *y, *dq, *dk, *dv; /* [B,T,H,D] */
  ml_attention_probe probe;
} reference;

static void open_reference(reference *r, const inputs *x) {
  const problem p = x->p;
  int64_t n = p.B * p.T * p.H * p.D;
  double **out[] = {&r->y, &r->dq, &r->dk, &r->dv};
  for (int i = 0; i < 4; i++)
    *out[i] = calloc((size_t)n, sizeof(double));
  double *P = calloc((size_t)p.T, sizeof(double)), *dP = calloc((size_t)p.T, sizeof(double));
  r->probe = (ml_attention_probe){-INFINITY, 0, 0};
  for (int64_t b = 0; b < p.B; b++)
    for (int64_t h = 0; h < p.H; h++)
      for (int64_t i = 0; i < p.T; i++) {
#define AT(t, d) (((b * p.T + (t)) * p.H + h) * p.D + (d))
        const int64_t *s = p.segments ? ML_DATA(int64_t, &x->segments) + b * p.T : NULL;
        double top = -INFINITY, sum = 0, delta = 0, entropy = 0;
        for (int64_t j = 0; j < p.T; j++) {
          P[j] = 0;
          for (int64_t d = 0; d < p.D; d++)
            P[j] += at(&x->q, b, i, h, d) * at(&x->k, b, j, h, d);
          P[j] *= x->scale;
          if ((p.causal && j > i) || (s && s[i] != s[j])) {
            P[j] = -INFINITY;
            continue;
          }
          top = fmax(top, P[j]);
          r->probe.max_logit = fmax(r->probe.max_logit, P[j]);
          r->probe.max_abs_logit = fmax(r->probe.max_abs_logit, fabs(P[j]));
        }
        for (int64_t j = 0; j < p.T; j++)
          sum += P[j] = exp(P[j] - top);
        for (int64_t j = 0; j < p.T; j++) {
          P[j] /= sum;
          entropy -= P[j] > 0 ? P[j] * log(P[j]) : 0;
          dP[j] = 0;
          for (int64_t d = 0; d < p.D; d++) {
            double vj = at(&x->v, b, j, h, d), g = at(&x->dy, b, i, h, d);
            r->y[AT(i, d)] += P[j] * vj;
            r->dv[AT(j, d)] += P[j] * g;
            dP[j] += vj * g;
          }
          delta += P[j] * dP[j];
        }
        r->probe.entropy += entropy / (double)(p.B * p.H * p.T);
        for (int64_t j = 0; j < p.T; j++)
          for (int64_t d = 0; d < p.D; d++) {
            double dS = x->scale * P[j] * (dP[j] - delta);
            r->dq[AT(i, d)] += dS * at(&x->k, b, j, h, d);
            r->dk[AT(j, d)] += dS * at(&x->q, b, i, h, d);
          }
#undef AT
      }
  free(P);
  free(dP);
}

static void close_reference(reference *r) {
  free(r->y);
  free(r->dq);
  free(r->dk);
  free(r->dv);
}

/* y and the gradients of sum(y dy); outputs are empty on failure. */
typedef struct {
  ml_tensor y, d[3];
  ml_attention_probe probe;
} result;

static void clear_result(result *r) {
  ml_tensor_clear(&r->y);
  for (int i = 0; i < 3; i++)
    ml_tensor_clear(&r->d[i]);
}

static ml_status run(result *r, const inputs *x, bool probe) {
  memset(r, 0, sizeof *r);
  ml_tensor w[3] = {{0}};
  const ml_tensor *in[] = {&x->q, &x->k, &x->v}, *leaves[] = {&w[0], &w[1], &w[2]};
  ml_status status = ML_OK;
  for (int i = 0; i < 3 && !status; i++)
    status = ml_param(&w[i], in[i], &err);
  if (!status)
    status = ml_attention(&r->y, &w[0], &w[1], &w[2], x->p.segments ? &x->segments : NULL, x->scale,
                          x->p.causal, probe ? &r->probe : NULL, &err);
  if (!status)
    status = ml_backward_to(r->d, &r->y, &x->dy, leaves, 3, false, &err);
  if (!status) {
    ml_tensor y = {0};
    ml_tensor_detach(&y, &r->y);
    ml_tensor_clear(&r->y);
    ml_tensor_move(&r->y, &y);
  }
  for (int i = 0; i < 3; i++)
    ml_tensor_clear(&w[i]);
  if (status)
    clear_result(r);
  return status;
}

/* Every entry within tol of the largest; gradients that cancel to nothing (T = 1) were sums of
 * terms near 1. */
static void check_all(const ml_tensor *t, const double *want, double tol, const char *what,
                      const problem *p) {
  int64_t n = ml_numel(t);
  double largest = 0, worst = 0;
  for (int64_t i = 0; i < n; i++) {
    double x = t->dtype == ML_F32 ? (double)ML_DATA(float, t)[i] : ML_DATA(double, t)[i];
    double off = fabs(x - want[i]);
    largest = fmax(largest, fabs(want[i]));
    if (!(off <= worst))
      worst = off;
  }
  CHECK(worst <= tol * (largest + 0.1));
  if (!(worst <= tol * (largest + 0.1)))
    CHECK_SAY("  %s off by %.3g of %.3g: %s B=%d T=%d H=%d D=%d causal=%d segments=%d\n", what,
              worst, largest, ml_dtype_name(t->dtype), (int)p->B, (int)p->T, (int)p->H, (int)p->D,
              p->causal, p->segments);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* f64: sums of up to a few hundred terms; f32: its epsilon 6e-8 times the logits' size and the
 * sums. */
static const double TOL_F64 = 1e-13, TOL_F32 = 3e-6;

static void check_problem(problem p, uint64_t seed) {
  for (ml_dtype dtype = ML_F64; dtype <= ML_F32; dtype++) {
    inputs x;
    reference want;
    result got;
    open_inputs(&x, p, dtype, 1, seed);
    open_reference(&want, &x);
    CHECK_OK(run(&got, &x, true), &err);
    double tol = dtype == ML_F32 ? TOL_F32 : TOL_F64;
    check_all(&got.y, want.y, tol, "y", &p);
    check_all(&got.d[0], want.dq, tol, "dq", &p);
    check_all(&got.d[1], want.dk, tol, "dk", &p);
    check_all(&got.d[2], want.dv, tol, "dv", &p);
    CHECK_NEAR(got.probe.max_logit, want.probe.max_logit, tol, tol);
    CHECK_NEAR(got.probe.max_abs_logit, want.probe.max_abs_logit, tol, tol);
    CHECK_NEAR(got.probe.entropy, want.probe.entropy, tol, tol);
    clear_result(&got);
    close_reference(&want);
    close_inputs(&x);
  }
}

static void test_agrees_with_plain_sums(void) { /* golden: the loops above */
  static const problem shapes[] = {
      {1, 1, 1, 1, true, 0},     {2, 1, 3, 5, false, 0},    {2, 7, 2, 3, true, 0},
      {1, 33, 2, 16, true, 0},   {1, 64, 1, 8, true, 0},    {1, 65, 1, 8, true, 1},
      {2, 129, 1, 4, false, 0},  {1, 131, 2, 21, true, 2},  {3, 50, 4, 16, true, 1},
      {1, 200, 1, 64, true, 0},  {1, 97, 1, 100, false, 2}, {1, 300, 1, 7, true, 0},
      {1, 140, 1, 130, true, 0}, {9, 20, 1, 2, false, 1},   {1, 270, 9, 1, true, 1},
      {1, 40, 1, 300, true, 2},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    check_problem(shapes[i], 100 + i);
}

static void test_random_shapes_agree(void) { /* golden: the loops above */
  ml_rng g = ml_rng_seed(7);
  for (int i = 0; i < 30; i++) {
    int64_t r[6];
    for (int k = 0; k < 6; k++)
      ml_rng_integers(&g, &r[k], 1, 0, 1 << 20);
    problem p = {1 + r[0] % 3,  1 + r[1] % 150, 1 + r[2] % 4,
                 1 + r[3] % 40, r[4] % 2,       (int)(r[5] % 3)};
    check_problem(p, 500 + (uint64_t)i);
  }
}

static void test_equal_keys_give_the_mean_of_the_past(void) { /* analytic */
  enum { T = 150, D = 5 };
  inputs x;
  open_inputs(&x, (problem){1, T, 1, D, true, 0}, ML_F64, 1, 3);
  ml_tensor y = {0}, k = {0};
  ml_attention_probe probe;
  CHECK_OK(ml_tensor_clone(&k, &x.k, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&k, 0.5, &err), &err);
  CHECK_OK(ml_attention(&y, &x.q, &k, &x.v, NULL, 1, true, &probe, &err), &err);
  double sum[D] = {0}, entropy = 0;
  for (int64_t t = 0; t < T; t++) {
    entropy += log((double)(t + 1)) / T;
    for (int64_t d = 0; d < D; d++) {
      sum[d] += at(&x.v, 0, t, 0, d);
      CHECK_NEAR(at(&y, 0, t, 0, d), sum[d] / (double)(t + 1), 1e-13, 1e-14);
    }
  }
  CHECK_CLOSE(probe.entropy, entropy, 1e-13);
  ml_tensor_clear(&k);
  ml_tensor_clear(&y);
  close_inputs(&x);
}

static void
test_huge_logits_pick_one_value(void) { /* analytic: softmax at 1e5 and beyond is one-hot */
  for (ml_dtype dtype = ML_F64; dtype <= ML_F32; dtype++) {
    inputs x;
    open_inputs(&x, (problem){1, 100, 1, 4, true, 0}, dtype, 1, 4);
    x.scale = 1e5;
    result r;
    CHECK_OK(run(&r, &x, true), &err);
    CHECK(r.probe.max_abs_logit > 1e5 && isfinite(r.probe.max_abs_logit));
    CHECK_NEAR(r.probe.entropy, 0, 0, 0.05);
    for (int64_t i = 0; i < 100; i++) {
      double best = -INFINITY, second = -INFINITY;
      int64_t where = 0;
      for (int64_t j = 0; j <= i; j++) {
        double s = 0;
        for (int64_t d = 0; d < 4; d++)
          s += x.scale * at(&x.q, 0, i, 0, d) * at(&x.k, 0, j, 0, d);
        if (s > best) {
          second = best;
          best = s, where = j;
        } else if (s > second) {
          second = s;
        }
      }
      for (int64_t d = 0; d < 4; d++) {
        if (best - second > 100)
          CHECK_CLOSE(at(&r.y, 0, i, 0, d), at(&x.v, 0, where, 0, d), 1e-6);
        for (int k = 0; k < 3; k++)
          CHECK(isfinite(at(&r.d[k], 0, i, 0, d)));
      }
    }
    clear_result(&r);
    close_inputs(&x);
  }
}

/* ---- what must not change -------------------------------------------------------------------- */

static bool same_bytes(const ml_tensor *a, const ml_tensor *b) {
  return !memcmp(ml_data(a), ml_data(b), (size_t)ml_numel(a) * ml_dtype_size(a->dtype));
}

static void test_threads_do_not_change_a_byte(void) { /* property */
  static const problem shapes[] = {
      {1, 300, 1, 16, true, 0}, {2, 190, 5, 24, true, 1}, {1, 150, 2, 9, false, 2}};
  static const int threads[] = {2, 3, 8};
  int before = ml_threads();
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (ml_dtype dtype = ML_F64; dtype <= ML_F32; dtype++) {
      inputs x;
      result one, many;
      open_inputs(&x, shapes[i], dtype, 1, 60 + i);
      CHECK_OK(ml_set_threads(1, &err), &err);
      CHECK_OK(run(&one, &x, true), &err);
      for (int k = 0; k < 3; k++) {
        CHECK_OK(ml_set_threads(threads[k], &err), &err);
        CHECK_OK(run(&many, &x, k > 0), &err); /* without a probe, too */
        CHECK(same_bytes(&one.y, &many.y));
        for (int d = 0; d < 3; d++)
          CHECK(same_bytes(&one.d[d], &many.d[d]));
        if (k > 0)
          CHECK(!memcmp(&one.probe, &many.probe, sizeof one.probe));
        clear_result(&many);
      }
      clear_result(&one);
      close_inputs(&x);
    }
  CHECK_OK(ml_set_threads(before, &err), &err);
}

static void test_the_future_does_not_reach_the_past(void) { /* property: causal */
  enum { T = 140 };
  inputs x;
  open_inputs(&x, (problem){1, T, 2, 16, true, 0}, ML_F32, 1, 8);
  ml_tensor a = {0}, b = {0}, k = {0}, v = {0};
  CHECK_OK(ml_tensor_clone(&k, &x.k, &err), &err);
  CHECK_OK(ml_tensor_clone(&v, &x.v, &err), &err);
  CHECK_OK(ml_attention(&a, &x.q, &k, &v, NULL, 0.3, true, NULL, &err), &err);
  for (int64_t i = 100 * 32; i < T * 32; i++) {
    ML_DATA(float, &k)[i] = 17;
    ML_DATA(float, &v)[i] = -3;
  }
  CHECK_OK(ml_attention(&b, &x.q, &k, &v, NULL, 0.3, true, NULL, &err), &err);
  CHECK(!memcmp(ml_data(&a), ml_data(&b), 100 * 32 * sizeof(float)));
  CHECK(memcmp(ML_DATA(float, &a) + 3200, ML_DATA(float, &b) + 3200, 40 * 32 * sizeof(float)));
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  ml_tensor_clear(&k);
  ml_tensor_clear(&v);
  close_inputs(&x);
}

static void test_segments_are_attended_alone(void) { /* property */
  enum { T = 160, CUT = 61 };
  inputs x;
  open_inputs(&x, (problem){1, T, 1, 8, true, 2}, ML_F64, 1, 9);
  for (int64_t i = 0; i < T; i++)
    ML_DATA(int64_t, &x.segments)[i] = i < CUT ? 4 : 1;
  ml_tensor whole = {0}, part = {0};
  CHECK_OK(ml_attention(&whole, &x.q, &x.k, &x.v, &x.segments, 1, true, NULL, &err), &err);
  for (int side = 0; side < 2; side++) {
    int64_t from = side ? CUT : 0, count = side ? T - CUT : CUT;
    ml_tensor q = {0}, k = {0}, v = {0};
    CHECK_OK(ml_view_narrow(&q, &x.q, 1, from, count, &err), &err);
    CHECK_OK(ml_view_narrow(&k, &x.k, 1, from, count, &err), &err);
    CHECK_OK(ml_view_narrow(&v, &x.v, 1, from, count, &err), &err);
    CHECK_OK(ml_attention(&part, &q, &k, &v, NULL, 1, true, NULL, &err), &err);
    for (int64_t i = 0; i < count * 8; i++)
      CHECK_NEAR(ML_DATA(double, &part)[i], ML_DATA(double, &whole)[from * 8 + i], 1e-13, 1e-14);
    ml_tensor_clear(&part);
    ml_tensor_clear(&q);
    ml_tensor_clear(&k);
    ml_tensor_clear(&v);
  }
  ml_tensor_clear(&whole);
  close_inputs(&x);
}

/* A row of q, k, v or dy that is not finite reaches what sees it, and no byte of anything else. */
static void check_poisoned(problem p, ml_dtype dtype, int which, int64_t t, double poison) {
  inputs x;
  result want, got;
  open_inputs(&x, p, dtype, 1, 16);
  CHECK_OK(run(&want, &x, false), &err);
  const ml_tensor *in[] = {&x.q, &x.k, &x.v, &x.dy};
  ml_tensor row = {0};
  CHECK_OK(ml_view_narrow(&row, in[which], 1, t, 1, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&row, poison, &err), &err);
  ml_tensor_clear(&row);
  CHECK_OK(run(&got, &x, false), &err);
  const int64_t *s = p.segments ? ML_DATA(int64_t, &x.segments) : NULL;
#define SEES(i, j) ((!p.causal || (j) <= (i)) && (!s || s[i] == s[j]))
  int64_t leaks = 0;
  for (int64_t j = 0; j < p.T; j++) {
    bool by_key = which == 1 || which == 2;
    bool query = by_key ? SEES(j, t) : j == t; /* what j asks for is touched */
    bool key = by_key && j == t;
    for (int64_t i = 0; i < p.T; i++)
      key = key || ((by_key ? SEES(i, t) : i == t) && SEES(i, j));
    for (int64_t d = 0; d < p.D; d++) {
      leaks += !query && at(&got.y, 0, j, 0, d) != at(&want.y, 0, j, 0, d);
      leaks += !query && at(&got.d[0], 0, j, 0, d) != at(&want.d[0], 0, j, 0, d);
      leaks += !key && at(&got.d[1], 0, j, 0, d) != at(&want.d[1], 0, j, 0, d);
      leaks += !key && at(&got.d[2], 0, j, 0, d) != at(&want.d[2], 0, j, 0, d);
    }
  }
#undef SEES
  CHECK_EQ(leaks, 0);
  if (leaks)
    CHECK_SAY("  %s %g in row %d of input %d, causal %d, segments %d\n", ml_dtype_name(dtype),
              poison, (int)t, which, p.causal, p.segments);
  clear_result(&want);
  clear_result(&got);
  close_inputs(&x);
}

static void test_masked_pairs_give_each_other_nothing(void) { /* property */
  static const struct {
    bool causal;
    int segments;
  } masks[] = {{true, 0}, {true, 1}, {true, 2}, {false, 1}, {false, 2}};
  static const int64_t rows[] = {0, 1, 45, 97, 149};
  for (int m = 0; m < 5; m++)
    for (int r = 0; r < 5; r++)
      for (int which = 0; which < 4; which++) {
        problem p = {1, 150, 1, 5, masks[m].causal, masks[m].segments};
        check_poisoned(p, ML_F32, which, rows[r], (double)NAN);
        check_poisoned(p, ML_F32, which, rows[r], -(double)INFINITY);
        check_poisoned(p, ML_F64, which, rows[r], (double)INFINITY);
        p.D = 40;
        check_poisoned(p, ML_F32, which, rows[r], (double)INFINITY);
      }
}

static void test_any_strides_are_read(void) { /* property: [B,H,T,D] in memory, and D not dense */
  inputs x;
  open_inputs(&x, (problem){2, 30, 3, 6, true, 0}, ML_F64, 1, 10);
  ml_tensor want = {0}, got = {0}, moved = {0}, dense = {0}, view = {0};
  CHECK_OK(ml_attention(&want, &x.q, &x.k, &x.v, NULL, 1, true, NULL, &err), &err);
  static const int axes[2][4] = {{0, 2, 1, 3}, {3, 1, 2, 0}};
  for (int i = 0; i < 2; i++) {
    CHECK_OK(ml_view_permute(&moved, &x.q, axes[i], &err), &err);
    CHECK_OK(ml_tensor_contiguous(&dense, &moved, &err), &err);
    CHECK_OK(ml_view_permute(&view, &dense, axes[i], &err), &err);
    CHECK_OK(ml_attention(&got, &view, &x.k, &x.v, NULL, 1, true, NULL, &err), &err);
    CHECK(same_bytes(&want, &got));
    ml_tensor_clear(&moved);
    ml_tensor_clear(&dense);
    ml_tensor_clear(&view);
    ml_tensor_clear(&got);
  }
  ml_tensor_clear(&want);
  close_inputs(&x);
}

/* ---- bad input, memory ----------------------------------------------------------------------- */

static void test_nan_comes_out_as_nan(void) {
  for (ml_dtype dtype = ML_F64; dtype <= ML_F32; dtype++) {
    inputs x;
    result r;
    open_inputs(&x, (problem){1, 80, 1, 4, true, 0}, dtype, 1, 11);
    int64_t i = 70 * 12; /* q of query 70 */
    if (dtype == ML_F32)
      ML_DATA(float, &x.all)[i] = NAN;
    else
      ML_DATA(double, &x.all)[i] = NAN;
    CHECK_OK(run(&r, &x, true), &err);
    for (int64_t t = 0; t < 80; t++)
      CHECK_EQ(isnan(at(&r.y, 0, t, 0, 1)), t == 70);
    CHECK(isnan(r.probe.max_logit) && isnan(r.probe.max_abs_logit) && isnan(r.probe.entropy));
    CHECK(isnan(at(&r.d[0], 0, 70, 0, 0)) && isnan(at(&r.d[1], 0, 3, 0, 0)));
    clear_result(&r);
    close_inputs(&x);
  }
}

static void test_long_sequences_take_linear_memory(void) { /* property */
  enum { T = 4096, D = 64 };
  int before = ml_threads();
  CHECK_OK(ml_set_threads(2, &err), &err);
  inputs x;
  result r;
  open_inputs(&x, (problem){1, T, 1, D, true, 0}, ML_F32, 1, 12);
  uint64_t base = ml_live_bytes();
  ml_memory_info info;
  ml_memory_reset_peak();
  CHECK_OK(run(&r, &x, false), &err);
  ml_memory(&info);
  CHECK(info.peak - base < (uint64_t)T * T * sizeof(float) / 4); /* one head's scores are 64 MiB */
  if (info.peak - base >= (uint64_t)T * T)
    CHECK_SAY("  peak is %.1f MB above the inputs\n", (double)(info.peak - base) * 1e-6);
  clear_result(&r);
  close_inputs(&x);
  CHECK_OK(ml_set_threads(before, &err), &err);
}

static void test_allocations_may_fail(void) {
  inputs x;
  result r;
  open_inputs(&x, (problem){1, 70, 2, 5, true, 1}, ML_F32, 1, 13);
  CHECK_ALLOC_SWEEP(run(&r, &x, true), clear_result(&r));
  close_inputs(&x);
}

static void test_errors_say_what_came(void) {
  inputs x;
  open_inputs(&x, (problem){2, 6, 2, 4, true, 1}, ML_F32, 1, 14);
  ml_tensor y = {0}, t = {0}, s = {0};
  CHECK_OK(ml_view_narrow(&t, &x.k, 1, 0, 5, &err), &err);
  CHECK_FAIL(ml_attention(&y, &x.q, &t, &x.v, NULL, 1, true, NULL, &err), ML_ESHAPE);
  CHECK_STRING(err.message, "attention: q and k disagree: f32 [2x6x2x4] and f32 [2x5x2x4]");
  CHECK_EQ(err.arg, 2);
  ml_tensor_clear(&t);
  CHECK_OK(ml_tensor_cast(&t, &x.v, ML_F64, &err), &err);
  CHECK_FAIL(ml_attention(&y, &x.q, &x.k, &t, NULL, 1, true, NULL, &err), ML_EDTYPE);
  CHECK_EQ(err.arg, 3);
  CHECK_FAIL(ml_attention(&y, &x.segments, &x.k, &x.v, NULL, 1, true, NULL, &err), ML_EDTYPE);
  CHECK_FAIL(ml_attention(&y, &x.all, &x.k, &x.v, NULL, 1, true, NULL, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "wanted [batch, time, heads, features]");
  CHECK_FAIL(ml_attention(&y, &x.q, &x.k, &x.v, &x.q, 1, true, NULL, &err), ML_EDTYPE);
  CHECK_OK(ml_view_narrow(&s, &x.segments, 1, 0, 3, &err), &err);
  CHECK_FAIL(ml_attention(&y, &x.q, &x.k, &x.v, &s, 1, true, NULL, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "wanted segments [2x6]");
  CHECK_FAIL(ml_attention(&y, &x.q, &x.k, &x.v, NULL, NAN, true, NULL, &err), ML_EARG);
  CHECK(ml_tensor_empty(&y));
  ml_tensor_clear(&t);
  ml_tensor_clear(&s);
  close_inputs(&x);
}

static void test_interruption_leaves_nothing(void) {
  inputs x;
  ml_tensor y = {0};
  open_inputs(&x, (problem){1, 64, 2, 8, true, 0}, ML_F32, 1, 15);
  ml_cancel();
  CHECK_FAIL(ml_attention(&y, &x.q, &x.k, &x.v, NULL, 1, true, NULL, &err), ML_ECANCELLED);
  ml_cancel_clear();
  CHECK(ml_tensor_empty(&y));
  close_inputs(&x);
}

static void test_empty_batches_pass(void) {
  ml_tensor q = {0}, y = {0};
  ml_shape shape = ml_shape_make(4, (int64_t)0, (int64_t)5, (int64_t)2, (int64_t)4);
  CHECK_OK(ml_tensor_init(&q, ML_F64, &shape, &err), &err);
  CHECK_OK(ml_attention(&y, &q, &q, &q, NULL, 1, true, NULL, &err), &err);
  CHECK_EQ(ml_numel(&y), 0);
  ml_tensor_clear(&q);
  ml_tensor_clear(&y);
}

CHECK_MAIN(test_agrees_with_plain_sums, test_random_shapes_agree,
           test_equal_keys_give_the_mean_of_the_past, test_huge_logits_pick_one_value,
           test_threads_do_not_change_a_byte, test_the_future_does_not_reach_the_past,
           test_segments_are_attended_alone, test_masked_pairs_give_each_other_nothing,
           test_any_strides_are_read, test_nan_comes_out_as_nan,
           test_long_sequences_take_linear_memory, test_allocations_may_fail,
           test_errors_say_what_came, test_interruption_leaves_nothing, test_empty_batches_pass)
