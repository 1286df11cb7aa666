/* Windows sliding over images: geometry, patches out of an image and back, and the frame of the
 * layers that multiply patches by weights. */
#include "window.h"

#include <string.h>

static void axis_of(int64_t *positions, int64_t *pad, int64_t n, int64_t k, int64_t stride,
                    bool same) {
  if (same) {
    *positions = ml_nn_ceil_div(n, stride);
    *pad = ml_nn_max(0, (*positions - 1) * stride + k - n) / 2;
  } else {
    *positions = n < k ? 0 : (n - k) / stride + 1;
    *pad = 0;
  }
}

void ml_nn_window_of(ml_nn_window *w, const ml_shape *x, ml_dtype dtype, int64_t kh, int64_t kw,
                     ml_conv_options options) {
  *w = (ml_nn_window){.N = x->size[0],
                      .H = x->size[1],
                      .W = x->size[2],
                      .C = x->size[3],
                      .kh = kh,
                      .kw = kw,
                      .sh = options.stride[0],
                      .sw = options.stride[1],
                      .patch = kh * kw * x->size[3],
                      .item = ml_dtype_size(dtype)};
  axis_of(&w->oh, &w->top, w->H, kh, w->sh, options.same);
  axis_of(&w->ow, &w->left, w->W, kw, w->sw, options.same);
}

ml_status ml_nn_window_init(ml_nn_window *w, const char *op, const ml_tensor *x, int64_t kh,
                            int64_t kw, ml_conv_options options, ml_error *err) {
  char a[ML_DESCRIBE];
  const int64_t most = (int64_t)1 << 20;
  ML_TRY(ml_nn_check_real(op, "x", x, 4, 1, err));
  if (x->rank != 4 || x->size[1] < 1 || x->size[2] < 1 || x->size[3] < 1)
    return ml_fail(err, ML_ESHAPE, 1, "%s: x is %s, wanted [images, height, width, channels]", op,
                   ml_describe(a, x));
  for (int i = 0; i < 2; i++)
    if (options.stride[i] < 1 || options.stride[i] > most)
      return ml_fail(err, ML_EARG, 0, "%s: stride is %lld, wanted at least 1", op,
                     (long long)options.stride[i]);
  if (kh < 1 || kw < 1 || kh > most || kw > most)
    return ml_fail(err, ML_EARG, 0, "%s: the window is %lldx%lld, wanted at least 1x1", op,
                   (long long)kh, (long long)kw);
  if (!options.same && (x->size[1] < kh || x->size[2] < kw))
    return ml_fail(err, ML_ESHAPE, 1,
                   "%s: the window %lldx%lld does not fit into x %s without padding", op,
                   (long long)kh, (long long)kw, ml_describe(a, x));
  ml_shape shape = ml_shape_of(x);
  ml_nn_window_of(w, &shape, x->dtype, kh, kw, options);
  return ML_OK;
}

void ml_nn_window_gather(const ml_nn_window *w, void *patch, const void *image, int64_t oy,
                         int64_t ox) {
  const int64_t y = oy * w->sh - w->top, x = ox * w->sw - w->left;
  const int64_t x0 = ml_nn_max(0, x), x1 = ml_nn_max(x0, ml_nn_min(w->W, x + w->kw));
  const size_t pixel = (size_t)w->C * w->item, row = (size_t)w->kw * pixel;
  const size_t before = (size_t)(x0 - x) * pixel, inside = (size_t)(x1 - x0) * pixel;
  char *out = patch;
  for (int64_t ky = 0; ky < w->kh; ky++, out += row) {
    if (y + ky < 0 || y + ky >= w->H || before >= row) {
      memset(out, 0, row);
      continue;
    }
    memset(out, 0, before);
    memcpy(out + before, (const char *)image + (size_t)((y + ky) * w->W + x0) * pixel, inside);
    memset(out + before + inside, 0, row - before - inside);
  }
}

void ml_nn_window_scatter(const ml_nn_window *w, ml_dtype dtype, void *image, const void *patch,
                          int64_t oy, int64_t ox, int64_t y0, int64_t y1) {
  const int64_t y = oy * w->sh - w->top, x = ox * w->sw - w->left;
  const int64_t x0 = ml_nn_max(0, x), x1 = ml_nn_min(w->W, x + w->kw);
  const ml_nn_row_kernels *rows = ml_nn_row(dtype);
  if (x1 <= x0)
    return;
  for (int64_t ky = ml_nn_max(0, y0 - y); ky < ml_nn_min(w->kh, y1 - y); ky++)
    rows->add((x1 - x0) * w->C, ml_nn_at_const(patch, dtype, (ky * w->kw + x0 - x) * w->C),
              ml_nn_at(image, dtype, ((y + ky) * w->W + x0) * w->C));
}

/* ---- layers y = patches W + b ---------------------------------------------------------------- */

ml_status ml_nn_patches_take(ml_nn_patches *t, int64_t elements, ml_arena *arena, ml_error *err) {
  void *scratch;
  t->bytes = ((size_t)elements * t->w.item + 63) / 64 * 64;
  ML_TRY(ml_nn_take(&scratch, arena, ml_threads(), t->bytes, err));
  t->scratch = scratch;
  return ML_OK;
}

/* The part, with an arena; interrupted parts fail. */
static ml_status run_part(void *t, ml_nn_patches_part part, ml_error *err) {
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_status status = part(t, arena, err);
  ml_arena_release(arena, mark);
  if (!status && ml_cancelled())
    status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  return status;
}

ml_status ml_nn_patches_forward(ml_tensor *out, const ml_tensor *const in[3], const ml_shape *shape,
                                void *layer, ml_nn_patches_part run, ml_save *save, ml_error *err) {
  ml_nn_patches *t = layer;
  ml_tensor dense[3] = {{0}}, y = {0};
  ml_status status = ML_OK;
  for (int i = 0; i < 3 && !status; i++)
    if (in[i])
      status = ml_tensor_contiguous(&dense[i], in[i], err);
  if (!status)
    status = ml_tensor_init(&y, t->dtype, shape, err);
  if (!status) {
    t->x = ml_data(&dense[0]), t->W = ml_data(&dense[1]);
    t->b = in[2] ? ml_data(&dense[2]) : NULL;
    t->y = ml_data(&y);
    if (ml_numel(&y) > 0)
      status = run_part(t, run, err);
  }
  for (int i = 0; i < 2 && !status; i++)
    status = ml_save_tensor(save, &dense[i], err);
  if (!status)
    ml_tensor_move(out, &y);
  for (int i = 0; i < 3; i++)
    ml_tensor_clear(&dense[i]);
  ml_tensor_clear(&y);
  return status;
}

ml_status ml_nn_patches_vjp(ml_vjp *c, void *layer, ml_nn_patches_part run_dx,
                            ml_nn_patches_part run_dW, int64_t rows, int64_t columns,
                            ml_error *err) {
  ml_nn_patches *t = layer;
  ml_tensor *dst[3] = {NULL, NULL, NULL}, dy = {0};
  bool add[3] = {false, false, false};
  for (int i = 0; i < 3; i++)
    if (c->wanted[i])
      ML_TRY(ml_vjp_target(c, i, &dst[i], &add[i], err));
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  t->x = ml_data(&c->saved[0]), t->W = ml_data(&c->saved[1]), t->dy = ml_data(&dy);
  ml_status status = ML_OK;
  if (dst[0]) {
    t->dx = ml_data(dst[0]);
    t->add = add[0];
    status = run_part(t, run_dx, err);
  }
  if (dst[1] && !status) {
    t->dW = ml_data(dst[1]);
    t->add = add[1];
    if (rows == 0 && !add[1])
      memset(t->dW, 0, (size_t)ml_numel(dst[1]) * t->w.item);
    status = run_part(t, run_dW, err);
  }
  if (dst[2] && !status) {
    ml_arena *arena;
    size_t mark;
    status = ml_nn_scratch(&arena, &mark, err);
    if (!status) {
      status =
          ml_nn_column_sums(t->dtype, rows, columns, t->dy, ml_data(dst[2]), add[2], arena, err);
      ml_arena_release(arena, mark);
    }
  }
  if (!status && ml_cancelled())
    status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  ml_tensor_clear(&dy);
  return status;
}
