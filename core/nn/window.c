/* Windows sliding over images: geometry, patches out of an image and back. */
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
