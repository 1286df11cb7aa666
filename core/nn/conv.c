/* 2d convolution over N, H, W, C images: patches of a block of positions in scratch, products by
 * ml_gemm. */
#include "window.h"

#include <string.h>

/* patches of one task, in the worker's scratch; of one block of the weight gradient, shared */
#define TASK_ELEMENTS ((int64_t)1 << 17)
#define BLOCK_ELEMENTS ((int64_t)1 << 20)

typedef struct {
  ml_nn_patches p;
  int64_t rows, chunk;               /* positions of all images; of one task */
  bool direct;                       /* a patch is a pixel, and x itself the matrix of patches */
  int64_t band, bands, band_outputs; /* input rows of a task of dx; tasks per image; output rows
                                        that touch one */
  void *patches;                     /* weight gradient: the block being gathered */
  int64_t first_row, row_count;
} conv;

static int64_t chunk_of(int64_t patch) {
  return 8 * ml_nn_min(128, ml_nn_max(2, TASK_ELEMENTS / 8 / patch));
}

/* patches of positions [r0, r0 + count) */
static void gather(const conv *t, void *patches, int64_t r0, int64_t count) {
  const ml_nn_window *w = &t->p.w;
  for (int64_t i = 0; i < count; i++) {
    int64_t r = r0 + i, image = r / (w->oh * w->ow), at = r % (w->oh * w->ow);
    ml_nn_window_gather(w, ml_nn_at(patches, t->p.dtype, i * w->patch),
                        ml_nn_at_const(t->p.x, t->p.dtype, image * w->H * w->W * w->C), at / w->ow,
                        at % w->ow);
  }
}

/* ---- forward --------------------------------------------------------------------------------- */

static void forward_body(void *ctx, int64_t i, int worker) {
  const conv *t = ctx;
  if (ml_cancelled())
    return;
  int64_t r0 = i * t->chunk, rows = ml_nn_min(t->chunk, t->rows - r0), patch = t->p.w.patch;
  const void *A = ml_nn_at_const(t->p.x, t->p.dtype, r0 * patch);
  if (!t->direct) {
    void *patches = ml_nn_patches_scratch(&t->p, worker);
    gather(t, patches, r0, rows);
    A = patches;
  }
  void *y = ml_nn_at(t->p.y, t->p.dtype, r0 * t->p.O);
  if (t->p.b)
    ml_nn_row(t->p.dtype)->fill(rows, t->p.O, 1, t->p.b, y);
  ml_gemm(t->p.dtype, false, false, rows, t->p.O, patch, 1, A, patch, t->p.W, t->p.O,
          t->p.b ? 1 : 0, y, t->p.O);
}

/* ---- gradient of x --------------------------------------------------------------------------- */

/* A band of input rows of one image gathers from all positions that touch it, so that bands are
 * independent. */
static void dx_body(void *ctx, int64_t i, int worker) {
  const conv *t = ctx;
  const ml_nn_window *w = &t->p.w;
  if (ml_cancelled())
    return;
  int64_t n = i / t->bands, y0 = i % t->bands * t->band, y1 = ml_nn_min(w->H, y0 + t->band);
  void *image = ml_nn_at(t->p.dx, t->p.dtype, n * w->H * w->W * w->C),
       *patches = ml_nn_patches_scratch(&t->p, worker);
  if (!t->p.add)
    memset(ml_nn_at(image, t->p.dtype, y0 * w->W * w->C), 0,
           (size_t)((y1 - y0) * w->W * w->C) * w->item);
  int64_t o0 = ml_nn_window_first(y0, w->sh, w->top, w->kh),
          o1 = ml_nn_window_end(y1 - 1, w->sh, w->top, w->oh);
  if (o1 <= o0)
    return;
  ml_gemm(t->p.dtype, false, true, (o1 - o0) * w->ow, w->patch, t->p.O, 1,
          ml_nn_at_const(t->p.dy, t->p.dtype, (n * w->oh + o0) * w->ow * t->p.O), t->p.O, t->p.W,
          t->p.O, 0, patches, w->patch);
  for (int64_t r = 0; r < (o1 - o0) * w->ow; r++)
    ml_nn_window_scatter(w, t->p.dtype, image, ml_nn_at_const(patches, t->p.dtype, r * w->patch),
                         o0 + r / w->ow, r % w->ow, y0, y1);
}

/* ---- gradient of W --------------------------------------------------------------------------- */

static void gather_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const conv *t = ctx;
  int64_t r0 = i * t->chunk, rows = ml_nn_min(t->chunk, t->row_count - r0);
  gather(t, ml_nn_at(t->patches, t->p.dtype, r0 * t->p.w.patch), t->first_row + r0, rows);
}

/* dW (+)= patches^T dy, block after block of positions */
static ml_status run_dW(void *ctx, ml_arena *arena, ml_error *err) {
  conv *t = ctx;
  int64_t patch = t->p.w.patch,
          block =
              t->direct ? t->rows : t->chunk * ml_nn_max(1, BLOCK_ELEMENTS / (t->chunk * patch));
  block = ml_nn_min(block, t->rows);
  if (!t->direct)
    ML_TRY(ml_nn_take(&t->patches, arena, block * patch, t->p.w.item, err));
  for (int64_t r0 = 0; r0 < t->rows && !ml_cancelled(); r0 += block) {
    t->first_row = r0;
    t->row_count = ml_nn_min(block, t->rows - r0);
    const void *A = ml_nn_at_const(t->p.x, t->p.dtype, r0 * patch);
    if (!t->direct) {
      ml_parallel_for(ml_nn_ceil_div(t->row_count, t->chunk), (double)(t->chunk * patch),
                      gather_body, t);
      A = t->patches;
    }
    ml_gemm(t->p.dtype, true, false, patch, t->p.O, t->row_count, 1, A, patch,
            ml_nn_at_const(t->p.dy, t->p.dtype, r0 * t->p.O), t->p.O, t->p.add || r0 > 0 ? 1 : 0,
            t->p.dW, t->p.O);
  }
  return ML_OK;
}

/* ---- the op ---------------------------------------------------------------------------------- */

static void describe(conv *t, const ml_shape *x, const ml_shape *W, ml_dtype dtype,
                     ml_conv_options options) {
  memset(t, 0, sizeof *t);
  t->p.dtype = dtype;
  ml_nn_window_of(&t->p.w, x, dtype, W->size[0], W->size[1], options);
  t->p.O = W->size[3];
  t->rows = t->p.w.N * t->p.w.oh * t->p.w.ow;
  t->chunk = chunk_of(t->p.w.patch);
  t->direct = t->p.w.kh == 1 && t->p.w.kw == 1 && t->p.w.sh == 1 && t->p.w.sw == 1;
}

static ml_status run_forward(void *ctx, ml_arena *arena, ml_error *err) {
  conv *t = ctx;
  if (!t->direct)
    ML_TRY(ml_nn_patches_take(&t->p, t->chunk * t->p.w.patch, arena, err));
  ml_parallel_for(ml_nn_ceil_div(t->rows, t->chunk),
                  2 * (double)(t->chunk * t->p.w.patch) * (double)t->p.O, forward_body, t);
  return ML_OK;
}

static ml_status run_dx(void *ctx, ml_arena *arena, ml_error *err) {
  conv *t = ctx;
  const ml_nn_window *w = &t->p.w;
  int64_t outputs = ml_nn_max(1, TASK_ELEMENTS / (w->ow * w->patch));
  t->band = outputs >= w->oh ? w->H : ml_nn_max(w->sh, outputs * w->sh - w->kh + 1);
  t->bands = ml_nn_ceil_div(w->H, t->band);
  t->band_outputs = ml_nn_min(w->oh, (t->band + w->kh - 2) / w->sh + 1);
  ML_TRY(ml_nn_patches_take(&t->p, t->band_outputs * w->ow * w->patch, arena, err));
  ml_parallel_for(w->N * t->bands,
                  2 * (double)(t->band_outputs * w->ow * w->patch) * (double)t->p.O, dx_body, t);
  return ML_OK;
}

ml_status ml_nn_conv2d_forward(ml_tensor *out, const ml_tensor *const *in, int n, const void *attr_,
                               ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_window_attr *attr = attr_;
  const ml_tensor *x = in[0], *W = in[1], *b = in[2];
  char d[ML_DESCRIBE], e[ML_DESCRIBE];
  ML_TRY(ml_nn_check_real("conv2d", "x", x, 4, 1, err));
  ML_TRY(ml_nn_check_like("conv2d", "W", W, "x", x, NULL, 2, err));
  if (x->rank != 4 || W->rank != 4 || W->size[2] != x->size[3] || W->size[3] < 1)
    return ml_fail(err, ML_ESHAPE, 2,
                   "conv2d: x and W disagree: %s and %s, wanted x [N,H,W,C] and W [kh,kw,C,O]",
                   ml_describe(d, x), ml_describe(e, W));
  ml_nn_window w;
  ML_TRY(ml_nn_window_init(&w, "conv2d", x, W->size[0], W->size[1], attr->options, err));
  ml_shape bias = ml_shape_make(1, W->size[3]),
           shape = ml_shape_make(4, w.N, w.oh, w.ow, W->size[3]);
  ML_TRY(ml_nn_check_like("conv2d", "b", b, "W", W, &bias, 3, err));
  conv t;
  ml_shape xs = ml_shape_of(x), ws = ml_shape_of(W);
  describe(&t, &xs, &ws, x->dtype, attr->options);
  return ml_nn_patches_forward(out, in, &shape, &t, run_forward, save, err);
}

ml_status ml_nn_conv2d_vjp(ml_vjp *c, ml_error *err) {
  const ml_nn_window_attr *attr = c->attr;
  conv t;
  describe(&t, &c->in_shape[0], &c->in_shape[1], c->in_dtype[0], attr->options);
  return ml_nn_patches_vjp(c, &t, run_dx, run_dW, t.rows, t.p.O, err);
}

ml_status ml_nn_conv2d_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  static const struct {
    int N, H, W, C, kh, kw, O, sh, sw;
    bool same, bias;
  } cases[] = {
      {2, 5, 4, 2, 3, 3, 3, 1, 1, true, true},   {1, 6, 7, 2, 3, 2, 2, 2, 1, true, false},
      {2, 5, 6, 1, 3, 4, 2, 1, 2, false, true},  {1, 4, 4, 3, 1, 1, 2, 1, 1, false, true},
      {1, 5, 5, 2, 1, 1, 2, 3, 2, true, false},  {1, 2, 3, 1, 5, 4, 2, 1, 1, true, true},
      {1, 7, 5, 1, 2, 2, 1, 3, 3, false, false},
  };
  *n_variants = (int)(sizeof cases / sizeof cases[0]);
  ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 4, cases[variant].N, cases[variant].H,
                           cases[variant].W, cases[variant].C));
  ML_TRY(ml_nn_case_normal(c, 1, g, 0, 1, err, 4, cases[variant].kh, cases[variant].kw,
                           cases[variant].C, cases[variant].O));
  if (cases[variant].bias)
    ML_TRY(ml_nn_case_normal(c, 2, g, 0, 1, err, 1, cases[variant].O));
  c->n_in = 3;
  c->n_out = 1;
  ml_nn_window_attr attr = {
      .options = {{cases[variant].sh, cases[variant].sw}, cases[variant].same}};
  memcpy(c->attr, &attr, sizeof attr);
  return ML_OK;
}

ml_status ml_conv2d(ml_tensor *y, const ml_tensor *x, const ml_tensor *W, const ml_tensor *b,
                    ml_conv_options options, ml_error *err) {
  ml_nn_window_attr attr = {.options = options};
  const ml_tensor *in[] = {x, W, b};
  return ml_apply(y, &ml_nn_op_conv2d, in, 3, &attr, err);
}
