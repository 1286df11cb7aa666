/* Average pooling: over windows, and over whole images. */
#include "window.h"

#include <string.h>

typedef struct {
  ml_dtype dtype;
  ml_nn_window w;
  const void *x; /* or dy */
  void *y;       /* or dx */
  bool add;
} pool;

static double weight_of(const ml_nn_window *w, int64_t oy, int64_t ox) {
  int64_t rows =
      ml_nn_window_to(oy, w->sh, w->top, w->kh, w->H) - ml_nn_window_from(oy, w->sh, w->top);
  int64_t columns =
      ml_nn_window_to(ox, w->sw, w->left, w->kw, w->W) - ml_nn_window_from(ox, w->sw, w->left);
  return 1 / (double)(rows * columns);
}

/* One row of positions of one image. */
static void forward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const pool *t = ctx;
  const ml_nn_window *w = &t->w;
  const ml_nn_row_kernels *rows = ml_nn_row(t->dtype);
  int64_t n = i / w->oh, oy = i % w->oh;
  int64_t y0 = ml_nn_window_from(oy, w->sh, w->top),
          y1 = ml_nn_window_to(oy, w->sh, w->top, w->kh, w->H);
  for (int64_t ox = 0; ox < w->ow; ox++) {
    int64_t x0 = ml_nn_window_from(ox, w->sw, w->left),
            x1 = ml_nn_window_to(ox, w->sw, w->left, w->kw, w->W);
    void *out = ml_nn_at(t->y, t->dtype, (i * w->ow + ox) * w->C);
    double weight = weight_of(w, oy, ox);
    for (int64_t y = y0; y < y1; y++)
      for (int64_t x = x0; x < x1; x++)
        rows->scale(w->C, weight,
                    ml_nn_at_const(t->x, t->dtype, ((n * w->H + y) * w->W + x) * w->C), out,
                    y > y0 || x > x0);
  }
}

/* One row of pixels of one image, each from the windows that hold it. */
static void backward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const pool *t = ctx;
  const ml_nn_window *w = &t->w;
  const ml_nn_row_kernels *rows = ml_nn_row(t->dtype);
  int64_t n = i / w->H, y = i % w->H;
  int64_t oy0 = ml_nn_window_first(y, w->sh, w->top, w->kh),
          oy1 = ml_nn_window_end(y, w->sh, w->top, w->oh);
  for (int64_t x = 0; x < w->W; x++) {
    int64_t ox0 = ml_nn_window_first(x, w->sw, w->left, w->kw),
            ox1 = ml_nn_window_end(x, w->sw, w->left, w->ow);
    void *out = ml_nn_at(t->y, t->dtype, (i * w->W + x) * w->C);
    bool add = t->add;
    for (int64_t oy = oy0; oy < oy1; oy++)
      for (int64_t ox = ox0; ox < ox1; ox++, add = true)
        rows->scale(w->C, weight_of(w, oy, ox),
                    ml_nn_at_const(t->x, t->dtype, ((n * w->oh + oy) * w->ow + ox) * w->C), out,
                    add);
    if (!add) /* a stride longer than the window leaves pixels out */
      memset(out, 0, (size_t)w->C * w->item);
  }
}

ml_status ml_nn_avg_pool2d_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                   const void *attr_, ml_save *save, ml_error *err) {
  (void)n;
  (void)save; /* the shape is enough */
  const ml_nn_window_attr *attr = attr_;
  pool t = {0};
  ML_TRY(ml_nn_window_init(&t.w, "avg_pool2d", in[0], attr->kh, attr->kw, attr->options, err));
  ml_shape shape = ml_shape_make(4, t.w.N, t.w.oh, t.w.ow, t.w.C);
  ml_tensor x = {0};
  ML_TRY(ml_tensor_contiguous(&x, in[0], err));
  ml_status status = ml_tensor_init(out, x.dtype, &shape, err);
  if (!status) {
    t.dtype = x.dtype, t.x = ml_data(&x), t.y = ml_data(out);
    ml_parallel_for(t.w.N * t.w.oh, (double)(t.w.ow * t.w.patch), forward_body, &t);
  }
  ml_tensor_clear(&x);
  return status;
}

ml_status ml_nn_avg_pool2d_vjp(ml_vjp *c, ml_error *err) {
  if (!c->wanted[0])
    return ML_OK;
  const ml_nn_window_attr *attr = c->attr;
  pool t = {.dtype = c->in_dtype[0]};
  ml_nn_window_of(&t.w, &c->in_shape[0], t.dtype, attr->kh, attr->kw, attr->options);
  ml_tensor *dx, dy = {0};
  ML_TRY(ml_vjp_target(c, 0, &dx, &t.add, err));
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  t.x = ml_data(&dy), t.y = ml_data(dx);
  ml_parallel_for(t.w.N * t.w.H, (double)(t.w.ow * t.w.patch), backward_body, &t);
  ml_tensor_clear(&dy);
  return ML_OK;
}

ml_status ml_nn_avg_pool2d_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                 ml_error *err) {
  static const struct {
    int N, H, W, C, kh, kw, sh, sw;
    bool same;
  } cases[] = {{2, 4, 4, 3, 2, 2, 2, 2, false},
               {1, 5, 7, 2, 3, 3, 2, 1, true},
               {1, 7, 5, 2, 2, 1, 3, 2, false}};
  *n_variants = (int)(sizeof cases / sizeof cases[0]);
  ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 4, cases[variant].N, cases[variant].H,
                           cases[variant].W, cases[variant].C));
  c->n_in = c->n_out = 1;
  ml_nn_window_attr attr = {
      .kh = cases[variant].kh,
      .kw = cases[variant].kw,
      .options = {{cases[variant].sh, cases[variant].sw}, cases[variant].same}};
  memcpy(c->attr, &attr, sizeof attr);
  return ML_OK;
}

ml_status ml_avg_pool2d(ml_tensor *y, const ml_tensor *x, int64_t kh, int64_t kw,
                        ml_conv_options options, ml_error *err) {
  ml_nn_window_attr attr = {.kh = kh, .kw = kw, .options = options};
  return ml_apply(y, &ml_nn_op_avg_pool2d, &x, 1, &attr, err);
}

/* ---- over whole images ----------------------------------------------------------------------- */

static void global_body(void *ctx, int64_t n, int worker) {
  (void)worker;
  const pool *t = ctx;
  int64_t pixels = t->w.H * t->w.W, C = t->w.C;
  void *y = ml_nn_at(t->y, t->dtype, n * C);
  ml_nn_row(t->dtype)->column_sums(pixels, C, ml_nn_at_const(t->x, t->dtype, n * pixels * C), y,
                                   false);
  ml_nn_row(t->dtype)->scale(C, 1 / (double)pixels, y, y, false);
}

static void global_backward_body(void *ctx, int64_t n, int worker) {
  (void)worker;
  const pool *t = ctx;
  int64_t pixels = t->w.H * t->w.W, C = t->w.C;
  const void *dy = ml_nn_at_const(t->x, t->dtype, n * C);
  void *dx = ml_nn_at(t->y, t->dtype, n * pixels * C);
  if (!t->add) {
    ml_nn_row(t->dtype)->fill(pixels, C, 1 / (double)pixels, dy, dx);
    return;
  }
  for (int64_t p = 0; p < pixels; p++)
    ml_nn_row(t->dtype)->scale(C, 1 / (double)pixels, dy, ml_nn_at(dx, t->dtype, p * C), true);
}

static const ml_conv_options whole = {{1, 1}, false};

ml_status ml_nn_global_avg_pool_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                        const void *attr, ml_save *save, ml_error *err) {
  (void)n;
  (void)attr;
  (void)save;
  pool t = {0};
  ML_TRY(ml_nn_window_init(&t.w, "global_avg_pool", in[0], 1, 1, whole, err));
  ml_shape shape = ml_shape_make(2, t.w.N, t.w.C);
  ml_tensor x = {0};
  ML_TRY(ml_tensor_contiguous(&x, in[0], err));
  ml_status status = ml_tensor_init(out, x.dtype, &shape, err);
  if (!status) {
    t.dtype = x.dtype, t.x = ml_data(&x), t.y = ml_data(out);
    ml_parallel_for(t.w.N, (double)(t.w.H * t.w.W * t.w.C), global_body, &t);
  }
  ml_tensor_clear(&x);
  return status;
}

ml_status ml_nn_global_avg_pool_vjp(ml_vjp *c, ml_error *err) {
  if (!c->wanted[0])
    return ML_OK;
  pool t = {.dtype = c->in_dtype[0]};
  ml_nn_window_of(&t.w, &c->in_shape[0], t.dtype, 1, 1, whole);
  ml_tensor *dx, dy = {0};
  ML_TRY(ml_vjp_target(c, 0, &dx, &t.add, err));
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  t.x = ml_data(&dy), t.y = ml_data(dx);
  ml_parallel_for(t.w.N, (double)(t.w.H * t.w.W * t.w.C), global_backward_body, &t);
  ml_tensor_clear(&dy);
  return ML_OK;
}

ml_status ml_nn_global_avg_pool_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                      ml_error *err) {
  (void)variant;
  *n_variants = 1;
  ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 4, 2, 3, 5, 3));
  c->n_in = c->n_out = 1;
  return ML_OK;
}

ml_status ml_global_avg_pool(ml_tensor *y, const ml_tensor *x, ml_error *err) {
  return ml_apply(y, &ml_nn_op_global_avg_pool, &x, 1, NULL, err);
}
