/* Convolution, locally connected layer and pooling against plain f64 loops, and what must not
 * change. */
#include "check.h"
#include "nn/nn.h"

static ml_error err;

typedef enum { CONV, LOCAL, POOL } layer;

typedef struct {
  int64_t N, H, W, C, kh, kw, O, sh, sw;
  bool same, bias;
} problem;

typedef struct {
  layer kind;
  problem p;
  int64_t oh, ow, top, left;
  ml_tensor x, W, b, dy;
} inputs;

static void open_normal(ml_tensor *t, ml_dtype dtype, ml_rng *g, ml_shape shape) {
  ml_tensor wide = {0};
  CHECK_OK(ml_tensor_init(&wide, ML_F64, &shape, &err), &err);
  ml_rng_normal_f64(g, ML_DATA(double, &wide), ml_numel(&wide), 0, 1);
  CHECK_OK(ml_tensor_cast(t, &wide, dtype, &err), &err);
  ml_tensor_clear(&wide);
}

static void axis_of(int64_t *out, int64_t *pad, int64_t n, int64_t k, int64_t s, bool same) {
  *out = same ? (n + s - 1) / s : (n - k) / s + 1;
  int64_t total = (*out - 1) * s + k - n;
  *pad = same && total > 0 ? total / 2 : 0; /* the odd one at the end */
}

static void open_inputs(inputs *x, layer kind, problem p, ml_dtype dtype, uint64_t seed) {
  memset(x, 0, sizeof *x);
  x->kind = kind;
  x->p = p;
  axis_of(&x->oh, &x->top, p.H, p.kh, p.sh, p.same);
  axis_of(&x->ow, &x->left, p.W, p.kw, p.sw, p.same);
  ml_rng g = ml_rng_seed(seed);
  open_normal(&x->x, dtype, &g, ml_shape_make(4, p.N, p.H, p.W, p.C));
  if (kind == CONV)
    open_normal(&x->W, dtype, &g, ml_shape_make(4, p.kh, p.kw, p.C, p.O));
  if (kind == LOCAL)
    open_normal(&x->W, dtype, &g, ml_shape_make(4, x->oh, x->ow, p.kh * p.kw * p.C, p.O));
  if (kind == CONV && p.bias)
    open_normal(&x->b, dtype, &g, ml_shape_make(1, p.O));
  if (kind == LOCAL && p.bias)
    open_normal(&x->b, dtype, &g, ml_shape_make(3, x->oh, x->ow, p.O));
  open_normal(&x->dy, dtype, &g, ml_shape_make(4, p.N, x->oh, x->ow, kind == POOL ? p.C : p.O));
}

static void close_inputs(inputs *x) {
  ml_tensor *t[] = {&x->x, &x->W, &x->b, &x->dy};
  for (int i = 0; i < 4; i++)
    ml_tensor_clear(t[i]);
}

static double get(const ml_tensor *t, int64_t i) {
  return t->dtype == ML_F32 ? (double)ML_DATA(float, t)[i] : ML_DATA(double, t)[i];
}

/* y, dx, dW, db by the definition. */
typedef struct {
  double *v[4];
} reference;

static void open_reference(reference *r, const inputs *x) {
  const problem p = x->p;
  bool pool = x->kind == POOL;
  int64_t O = pool ? p.C : p.O, patch = p.kh * p.kw * p.C;
  int64_t size[] = {ml_numel(&x->dy), ml_numel(&x->x), pool ? 1 : ml_numel(&x->W),
                    x->oh * x->ow * O};
  for (int i = 0; i < 4; i++)
    r->v[i] = calloc((size_t)size[i], sizeof(double));
  for (int64_t n = 0; n < p.N; n++)
    for (int64_t oy = 0; oy < x->oh; oy++)
      for (int64_t ox = 0; ox < x->ow; ox++) {
        int64_t at = oy * x->ow + ox, out = (n * x->oh * x->ow + at) * O, count = 0;
        for (int pass = 0; pass < 2; pass++) /* first counts the pixels of the window */
          for (int64_t ky = 0; ky < p.kh; ky++)
            for (int64_t kx = 0; kx < p.kw; kx++) {
              int64_t iy = oy * p.sh - x->top + ky, ix = ox * p.sw - x->left + kx;
              if (iy < 0 || iy >= p.H || ix < 0 || ix >= p.W)
                continue;
              count += pass == 0;
              for (int64_t c = 0; pass == 1 && c < p.C; c++) {
                int64_t in = ((n * p.H + iy) * p.W + ix) * p.C + c,
                        row = (ky * p.kw + kx) * p.C + c;
                if (pool) {
                  r->v[0][out + c] += get(&x->x, in) / (double)count;
                  r->v[1][in] += get(&x->dy, out + c) / (double)count;
                  continue;
                }
                for (int64_t o = 0; o < O; o++) {
                  int64_t w = (x->kind == LOCAL ? at * patch + row : row) * O + o;
                  r->v[0][out + o] += get(&x->x, in) * get(&x->W, w);
                  r->v[1][in] += get(&x->dy, out + o) * get(&x->W, w);
                  r->v[2][w] += get(&x->dy, out + o) * get(&x->x, in);
                }
              }
            }
        for (int64_t o = 0; !ml_tensor_empty(&x->b) && o < O; o++) {
          int64_t i = x->kind == LOCAL ? at * O + o : o;
          r->v[0][out + o] += get(&x->b, i);
          r->v[3][i] += get(&x->dy, out + o);
        }
      }
}

static void close_reference(reference *r) {
  for (int i = 0; i < 4; i++)
    free(r->v[i]);
}

typedef struct {
  ml_tensor t[4]; /* y, dx, dW, db */
} result;

static void clear_result(result *r) {
  for (int i = 0; i < 4; i++)
    ml_tensor_clear(&r->t[i]);
}

static ml_status apply(ml_tensor *y, const inputs *x, const ml_tensor *w) {
  const problem *p = &x->p;
  ml_conv_options options = {{p->sh, p->sw}, p->same};
  const ml_tensor *b = ml_tensor_empty(&x->b) ? NULL : &w[2];
  if (x->kind == CONV)
    return ml_conv2d(y, &w[0], &w[1], b, options, &err);
  if (x->kind == LOCAL)
    return ml_locally_connected2d(y, &w[0], &w[1], b, p->kh, p->kw, options, &err);
  return ml_avg_pool2d(y, &w[0], p->kh, p->kw, options, &err);
}

static ml_status run(result *r, const inputs *x) {
  memset(r, 0, sizeof *r);
  ml_tensor w[3] = {{0}}, y = {0};
  const ml_tensor *in[] = {&x->x, &x->W, &x->b}, *leaves[] = {&w[0], &w[1], &w[2]};
  int n = 0;
  ml_status status = ML_OK;
  while (n < 3 && !ml_tensor_empty(in[n]) && !status) {
    status = ml_param(&w[n], in[n], &err);
    n++;
  }
  if (!status)
    status = apply(&y, x, w);
  if (!status)
    status = ml_backward_to(&r->t[1], &y, &x->dy, leaves, n, false, &err);
  if (!status)
    ml_tensor_detach(&r->t[0], &y);
  ml_tensor_clear(&y);
  for (int i = 0; i < 3; i++)
    ml_tensor_clear(&w[i]);
  return status;
}

static const char *const what[] = {"y", "dx", "dW", "db"};

static void check_problem(layer kind, problem p, uint64_t seed) {
  for (ml_dtype dtype = ML_F64; dtype <= ML_F32; dtype++) {
    inputs x;
    result got;
    reference want;
    open_inputs(&x, kind, p, dtype, seed);
    open_reference(&want, &x);
    CHECK_OK(run(&got, &x), &err);
    for (int i = 0; i < 4; i++) {
      if (ml_tensor_empty(&got.t[i]))
        continue;
      double largest = 0, worst = 0;
      for (int64_t k = 0; k < ml_numel(&got.t[i]); k++) {
        double off = fabs(get(&got.t[i], k) - want.v[i][k]);
        largest = fmax(largest, fabs(want.v[i][k]));
        if (!(off <= worst))
          worst = off;
      }
      bool ok =
          worst <= (dtype == ML_F32 ? 3e-6 : 1e-14) * largest; /* sums of some hundred terms */
      CHECK(ok);
      if (!ok)
        CHECK_SAY("  %s off by %.3g of %.3g, seed %d, dtype %s\n", what[i], worst, largest,
                  (int)seed, ml_dtype_name(dtype));
    }
    clear_result(&got);
    close_reference(&want);
    close_inputs(&x);
  }
}

static const problem shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, false, true},  {2, 7, 6, 3, 3, 3, 5, 1, 1, true, true},
    {2, 7, 6, 3, 3, 3, 5, 1, 1, false, false}, {3, 9, 8, 2, 5, 2, 4, 2, 3, true, true},
    {1, 8, 9, 4, 2, 4, 3, 3, 2, false, true},  {2, 6, 5, 3, 1, 1, 4, 1, 1, true, true},
    {1, 5, 5, 2, 1, 1, 3, 2, 2, true, false},  {1, 3, 4, 2, 6, 7, 2, 1, 1, true, true},
    {2, 5, 4, 1, 2, 2, 1, 4, 3, true, true},   {70, 4, 3, 2, 3, 2, 3, 1, 1, true, true},
};

static void test_convolution_agrees_with_plain_loops(void) { /* golden: the loops above */
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    check_problem(CONV, shapes[i], i);
  check_problem(CONV, (problem){1, 40, 40, 16, 5, 5, 3, 1, 1, true, true}, 20); /* bands of rows */
  check_problem(CONV, (problem){2, 33, 41, 12, 5, 3, 2, 2, 1, false, true}, 21);
  check_problem(CONV, (problem){5, 20, 20, 32, 3, 3, 8, 1, 1, true, true},
                22); /* several blocks of dW */
}

static void test_locally_connected_agrees_with_plain_loops(void) { /* golden: the loops above */
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    check_problem(LOCAL, shapes[i], i);
}

static void test_pooling_agrees_with_plain_loops(void) { /* golden: the loops above */
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    check_problem(POOL, shapes[i], i);
}

static void test_global_pool_is_the_mean(void) { /* analytic */
  ml_tensor x = {0}, y = {0};
  ml_rng g = ml_rng_seed(5);
  open_normal(&x, ML_F64, &g, ml_shape_make(4, (int64_t)2, (int64_t)9, (int64_t)11, (int64_t)3));
  CHECK_OK(ml_global_avg_pool(&y, &x, &err), &err);
  for (int64_t n = 0; n < 2; n++)
    for (int64_t c = 0; c < 3; c++) {
      double sum = 0;
      for (int64_t i = 0; i < 99; i++)
        sum += get(&x, (n * 99 + i) * 3 + c);
      CHECK_NEAR(get(&y, n * 3 + c), sum / 99, 1e-14, 1e-15);
    }
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
}

static void test_constant_images_pool_to_themselves(
    void) { /* analytic: the border divides by pixels that exist */
  ml_tensor x = {0}, y = {0};
  ml_shape shape = ml_shape_make(4, (int64_t)1, (int64_t)5, (int64_t)4, (int64_t)2);
  CHECK_OK(ml_tensor_init(&x, ML_F32, &shape, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&x, 3, &err), &err);
  CHECK_OK(ml_avg_pool2d(&y, &x, 3, 3, (ml_conv_options){{2, 2}, true}, &err), &err);
  CHECK_EQ(ml_numel(&y), 3 * 2 * 2);
  for (int64_t i = 0; i < 12; i++)
    CHECK_CLOSE(get(&y, i), 3, 1e-6);
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
}

static void test_threads_do_not_change_a_byte(void) { /* property */
  static const problem p = {3, 26, 25, 12, 3, 3, 7, 1, 1, true, true};
  static const int threads[] = {2, 3, 8};
  int before = ml_threads();
  for (int k = CONV; k <= POOL; k++) {
    inputs x;
    result one, many;
    open_inputs(&x, (layer)k, p, ML_F32, 30);
    CHECK_OK(ml_set_threads(1, &err), &err);
    CHECK_OK(run(&one, &x), &err);
    for (int i = 0; i < 3; i++) {
      CHECK_OK(ml_set_threads(threads[i], &err), &err);
      CHECK_OK(run(&many, &x), &err);
      for (int t = 0; t < 4; t++)
        if (!ml_tensor_empty(&one.t[t]))
          CHECK(!memcmp(ml_data(&one.t[t]), ml_data(&many.t[t]),
                        (size_t)ml_numel(&one.t[t]) * sizeof(float)));
      clear_result(&many);
    }
    clear_result(&one);
    close_inputs(&x);
  }
  CHECK_OK(ml_set_threads(before, &err), &err);
}

static void test_allocations_may_fail(void) {
  for (int k = CONV; k <= POOL; k++) {
    inputs x;
    result r;
    open_inputs(&x, (layer)k, (problem){2, 6, 5, 2, 3, 2, 3, 1, 1, true, true}, ML_F64, 31);
    CHECK_ALLOC_SWEEP(run(&r, &x), clear_result(&r));
    close_inputs(&x);
  }
}

static void test_errors_say_what_came(void) {
  inputs x;
  ml_tensor y = {0}, t = {0};
  open_inputs(&x, CONV, (problem){2, 4, 4, 3, 3, 3, 5, 1, 1, true, true}, ML_F64, 32);
  ml_conv_options same = {{1, 1}, true}, none = {{0, 1}, true};
  CHECK_FAIL(ml_conv2d(&y, &x.x, &x.x, NULL, same, &err), ML_ESHAPE);
  CHECK_STRING(err.message, "conv2d: x and W disagree: f64 [2x4x4x3] and f64 [2x4x4x3], wanted x "
                            "[N,H,W,C] and W [kh,kw,C,O]");
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_conv2d(&y, &x.x, &x.W, NULL, none, &err), ML_EARG);
  CHECK_STRING(err.message, "conv2d: stride is 0, wanted at least 1");
  CHECK_FAIL(ml_conv2d(&y, &x.x, &x.W, &x.x, same, &err), ML_ESHAPE);
  CHECK_EQ(err.arg, 3);
  CHECK_OK(ml_tensor_cast(&t, &x.W, ML_F32, &err), &err);
  CHECK_FAIL(ml_conv2d(&y, &x.x, &t, NULL, same, &err), ML_EDTYPE);
  CHECK_FAIL(ml_avg_pool2d(&y, &x.x, 5, 1, (ml_conv_options){{1, 1}, false}, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "does not fit into x f64 [2x4x4x3] without padding");
  CHECK_FAIL(ml_avg_pool2d(&y, &x.x, 0, 1, same, &err), ML_EARG);
  CHECK_FAIL(ml_global_avg_pool(&y, &x.b, &err), ML_ESHAPE);
  CHECK_FAIL(ml_locally_connected2d(&y, &x.x, &x.W, NULL, 3, 3, same, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "wanted W [4x4x27x5]");
  CHECK(ml_tensor_empty(&y));
  ml_tensor_clear(&t);
  close_inputs(&x);
}

static void test_empty_batches_pass(void) {
  for (int k = CONV; k <= POOL; k++) {
    inputs x;
    result r;
    open_inputs(&x, (layer)k, (problem){0, 6, 5, 2, 3, 2, 3, 1, 1, true, true}, ML_F64, 33);
    CHECK_OK(run(&r, &x), &err);
    CHECK_EQ(ml_numel(&r.t[0]), 0);
    for (int64_t i = 0; k != POOL && i < ml_numel(&r.t[2]); i++)
      CHECK(get(&r.t[2], i) == 0);
    for (int64_t i = 0; k != POOL && i < ml_numel(&r.t[3]); i++)
      CHECK(get(&r.t[3], i) == 0);
    clear_result(&r);
    close_inputs(&x);
  }
}

CHECK_MAIN(test_convolution_agrees_with_plain_loops, test_locally_connected_agrees_with_plain_loops,
           test_pooling_agrees_with_plain_loops, test_global_pool_is_the_mean,
           test_constant_images_pool_to_themselves, test_threads_do_not_change_a_byte,
           test_allocations_may_fail, test_errors_say_what_came, test_empty_batches_pass)
