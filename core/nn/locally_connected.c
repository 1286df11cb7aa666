/* Locally connected 2d layer: a convolution whose weights differ from position to position; one
 * product per position. */
#include "window.h"

#include <string.h>

#define IMAGES 64 /* images of one product */

typedef struct {
  ml_nn_patches p; /* scratch: patches [IMAGES, patch] */
  int64_t positions;
} local;

/* The patches at position p of images [n0, n0 + count). */
static void gather(const local *t, void *patches, int64_t p, int64_t n0, int64_t count) {
  const ml_nn_window *w = &t->p.w;
  for (int64_t i = 0; i < count; i++)
    ml_nn_window_gather(w, ml_nn_at(patches, t->p.dtype, i * w->patch),
                        ml_nn_at_const(t->p.x, t->p.dtype, (n0 + i) * w->H * w->W * w->C),
                        p / w->ow, p % w->ow);
}

static void forward_body(void *ctx, int64_t p, int worker) {
  const local *t = ctx;
  if (ml_cancelled())
    return;
  const int64_t O = t->p.O, line = t->positions * O, patch = t->p.w.patch;
  void *patches = ml_nn_patches_scratch(&t->p, worker);
  for (int64_t n0 = 0; n0 < t->p.w.N; n0 += IMAGES) {
    int64_t count = ml_nn_min(IMAGES, t->p.w.N - n0);
    gather(t, patches, p, n0, count);
    void *y = ml_nn_at(t->p.y, t->p.dtype, n0 * line + p * O);
    for (int64_t i = 0; t->p.b && i < count; i++)
      memcpy(ml_nn_at(y, t->p.dtype, i * line), ml_nn_at_const(t->p.b, t->p.dtype, p * O),
             (size_t)O * t->p.w.item);
    ml_gemm(t->p.dtype, false, false, count, O, patch, 1, patches, patch,
            ml_nn_at_const(t->p.W, t->p.dtype, p * patch * O), O, t->p.b ? 1 : 0, y, line);
  }
}

static void dW_body(void *ctx, int64_t p, int worker) {
  const local *t = ctx;
  if (ml_cancelled())
    return;
  const int64_t O = t->p.O, line = t->positions * O, patch = t->p.w.patch;
  void *patches = ml_nn_patches_scratch(&t->p, worker);
  for (int64_t n0 = 0; n0 < t->p.w.N; n0 += IMAGES) {
    int64_t count = ml_nn_min(IMAGES, t->p.w.N - n0);
    gather(t, patches, p, n0, count);
    ml_gemm(t->p.dtype, true, false, patch, O, count, 1, patches, patch,
            ml_nn_at_const(t->p.dy, t->p.dtype, n0 * line + p * O), line,
            t->p.add || n0 > 0 ? 1 : 0, ml_nn_at(t->p.dW, t->p.dtype, p * patch * O), O);
  }
}

/* A task owns the gradients of a block of images. */
static void dx_body(void *ctx, int64_t i, int worker) {
  const local *t = ctx;
  const ml_nn_window *w = &t->p.w;
  const int64_t O = t->p.O, line = t->positions * O, patch = w->patch, size = w->H * w->W * w->C;
  const int64_t n0 = i * IMAGES, count = ml_nn_min(IMAGES, w->N - n0);
  void *patches = ml_nn_patches_scratch(&t->p, worker);
  if (!t->p.add)
    memset(ml_nn_at(t->p.dx, t->p.dtype, n0 * size), 0, (size_t)(count * size) * w->item);
  for (int64_t p = 0; p < t->positions && !ml_cancelled(); p++) {
    ml_gemm(t->p.dtype, false, true, count, patch, O, 1,
            ml_nn_at_const(t->p.dy, t->p.dtype, n0 * line + p * O), line,
            ml_nn_at_const(t->p.W, t->p.dtype, p * patch * O), O, 0, patches, patch);
    for (int64_t r = 0; r < count; r++)
      ml_nn_window_scatter(w, t->p.dtype, ml_nn_at(t->p.dx, t->p.dtype, (n0 + r) * size),
                           ml_nn_at_const(patches, t->p.dtype, r * patch), p / w->ow, p % w->ow, 0,
                           w->H);
  }
}

/* ---- the op ---------------------------------------------------------------------------------- */

static void describe(local *t, const ml_shape *x, const ml_shape *W, ml_dtype dtype,
                     const ml_nn_window_attr *attr) {
  memset(t, 0, sizeof *t);
  t->p.dtype = dtype;
  ml_nn_window_of(&t->p.w, x, dtype, attr->kh, attr->kw, attr->options);
  t->p.O = W->size[3];
  t->positions = t->p.w.oh * t->p.w.ow;
}

static double cost_of(const local *t, int64_t images) {
  return 2 * (double)(images * t->p.w.patch) * (double)t->p.O;
}

static ml_status run_forward(void *ctx, ml_arena *arena, ml_error *err) {
  local *t = ctx;
  ML_TRY(ml_nn_patches_take(&t->p, IMAGES * t->p.w.patch, arena, err));
  ml_parallel_for(t->positions, cost_of(t, t->p.w.N), forward_body, t);
  return ML_OK;
}

static ml_status run_dx(void *ctx, ml_arena *arena, ml_error *err) {
  local *t = ctx;
  ML_TRY(ml_nn_patches_take(&t->p, IMAGES * t->p.w.patch, arena, err));
  ml_parallel_for(ml_nn_ceil_div(t->p.w.N, IMAGES), (double)t->positions * cost_of(t, IMAGES),
                  dx_body, t);
  return ML_OK;
}

static ml_status run_dW(void *ctx, ml_arena *arena, ml_error *err) {
  local *t = ctx;
  ML_TRY(ml_nn_patches_take(&t->p, IMAGES * t->p.w.patch, arena, err));
  ml_parallel_for(t->positions, cost_of(t, t->p.w.N), dW_body, t);
  return ML_OK;
}

ml_status ml_nn_locally_connected2d_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                            const void *attr_, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_window_attr *attr = attr_;
  const ml_tensor *x = in[0], *W = in[1], *b = in[2];
  char d[ML_DESCRIBE], e[ML_DESCRIBE], s[ML_DESCRIBE];
  ml_nn_window w;
  ML_TRY(ml_nn_window_init(&w, "locally_connected2d", x, attr->kh, attr->kw, attr->options, err));
  ML_TRY(ml_nn_check_like("locally_connected2d", "W", W, "x", x, NULL, 2, err));
  int64_t O = W->rank == 4 ? W->size[3] : 1;
  ml_shape want = ml_shape_make(4, w.oh, w.ow, w.patch, O), got = ml_shape_of(W);
  if (!ml_shape_equal(&want, &got) || O < 1)
    return ml_fail(err, ML_ESHAPE, 2,
                   "locally_connected2d: x and W disagree: %s and %s, wanted W %s",
                   ml_describe(d, x), ml_describe(e, W), ml_describe_shape(s, &want));
  ml_shape bias = ml_shape_make(3, w.oh, w.ow, O), shape = ml_shape_make(4, w.N, w.oh, w.ow, O);
  ML_TRY(ml_nn_check_like("locally_connected2d", "b", b, "W", W, &bias, 3, err));
  local t;
  ml_shape xs = ml_shape_of(x);
  describe(&t, &xs, &want, x->dtype, attr);
  return ml_nn_patches_forward(out, in, &shape, &t, run_forward, save, err);
}

ml_status ml_nn_locally_connected2d_vjp(ml_vjp *c, ml_error *err) {
  local t;
  describe(&t, &c->in_shape[0], &c->in_shape[1], c->in_dtype[0], c->attr);
  return ml_nn_patches_vjp(c, &t, run_dx, run_dW, t.p.w.N, t.positions * t.p.O, err);
}

ml_status ml_nn_locally_connected2d_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                          ml_error *err) {
  static const struct {
    int N, H, W, C, kh, kw, O, sh, sw;
    bool same, bias;
  } cases[] = {
      {2, 4, 3, 2, 3, 3, 2, 1, 1, true, true},
      {3, 5, 4, 1, 2, 3, 2, 2, 1, false, true},
      {1, 3, 5, 2, 3, 2, 1, 2, 2, true, false},
  };
  *n_variants = (int)(sizeof cases / sizeof cases[0]);
  ml_nn_window_attr attr = {
      .kh = cases[variant].kh,
      .kw = cases[variant].kw,
      .options = {{cases[variant].sh, cases[variant].sw}, cases[variant].same}};
  ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 4, cases[variant].N, cases[variant].H,
                           cases[variant].W, cases[variant].C));
  ml_nn_window w;
  ML_TRY(
      ml_nn_window_init(&w, "locally_connected2d", &c->in[0], attr.kh, attr.kw, attr.options, err));
  ML_TRY(ml_nn_case_normal(c, 1, g, 0, 1, err, 4, (int)w.oh, (int)w.ow, (int)w.patch,
                           cases[variant].O));
  if (cases[variant].bias)
    ML_TRY(ml_nn_case_normal(c, 2, g, 0, 1, err, 3, (int)w.oh, (int)w.ow, cases[variant].O));
  c->n_in = 3;
  c->n_out = 1;
  memcpy(c->attr, &attr, sizeof attr);
  return ML_OK;
}

ml_status ml_locally_connected2d(ml_tensor *y, const ml_tensor *x, const ml_tensor *W,
                                 const ml_tensor *b, int64_t kh, int64_t kw,
                                 ml_conv_options options, ml_error *err) {
  ml_nn_window_attr attr = {.kh = kh, .kw = kw, .options = options};
  const ml_tensor *in[] = {x, W, b};
  return ml_apply(y, &ml_nn_op_locally_connected2d, in, 3, &attr, err);
}
