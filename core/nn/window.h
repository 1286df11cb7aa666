/* Private to the nn room: windows sliding over images N, H, W, C, and what the two layers
 * that multiply their patches by weights share. */
#ifndef MOONLAB_NN_WINDOW_H
#define MOONLAB_NN_WINDOW_H

#include "common.h"

typedef struct {
  int64_t N, H, W, C, kh, kw, sh, sw;
  int64_t oh, ow;    /* positions of the window */
  int64_t top, left; /* rows and columns of padding before the image */
  int64_t patch;     /* kh * kw * C */
  size_t item;       /* bytes of an element */
} ml_nn_window;

/* Checks x [N,H,W,C], the window and the strides. */
ml_status ml_nn_window_init(ml_nn_window *w, const char *op, const ml_tensor *x, int64_t kh,
                            int64_t kw, ml_conv_options options, ml_error *err) ML_MUST_CHECK;
/* The same for a shape that was checked before. */
void ml_nn_window_of(ml_nn_window *w, const ml_shape *x, ml_dtype dtype, int64_t kh, int64_t kw,
                     ml_conv_options options);

/* First and last + 1 row (column) of the window at position p that lie in an image of size n. */
static inline int64_t ml_nn_window_from(int64_t p, int64_t stride, int64_t pad) {
  return ml_nn_max(0, p * stride - pad);
}
static inline int64_t ml_nn_window_to(int64_t p, int64_t stride, int64_t pad, int64_t k,
                                      int64_t n) {
  return ml_nn_min(n, p * stride - pad + k);
}
/* Positions whose windows hold row (column) y are [first, end). */
static inline int64_t ml_nn_window_first(int64_t y, int64_t stride, int64_t pad, int64_t k) {
  int64_t t = y + pad - k + 1;
  return t > 0 ? ml_nn_ceil_div(t, stride) : 0;
}
static inline int64_t ml_nn_window_end(int64_t y, int64_t stride, int64_t pad, int64_t positions) {
  return ml_nn_min(positions, (y + pad) / stride + 1);
}

/* patch [kh*kw*C] = the window at (oy, ox) of one image, zeros outside it. [any thread] */
void ml_nn_window_gather(const ml_nn_window *w, void *patch, const void *image, int64_t oy,
                         int64_t ox);
/* Rows [y0, y1) of image += the window's patch. [any thread] */
void ml_nn_window_scatter(const ml_nn_window *w, ml_dtype dtype, void *image, const void *patch,
                          int64_t oy, int64_t ox, int64_t y0, int64_t y1);

/* ---- layers y = patches W + b ---------------------------------------------------------------- */

typedef struct {
  ml_dtype dtype;
  ml_nn_window w;
  int64_t O; /* outputs of a position */
  const void *x, *W, *b, *dy;
  void *y, *dx, *dW;
  bool add;      /* to what dx or dW holds */
  char *scratch; /* workers * bytes */
  size_t bytes;
} ml_nn_patches;

static inline void *ml_nn_patches_scratch(const ml_nn_patches *t, int worker) {
  return t->scratch + (size_t)worker * t->bytes;
}
/* Scratch of so many elements for each worker. */
ml_status ml_nn_patches_take(ml_nn_patches *t, int64_t elements, ml_arena *arena,
                             ml_error *err) ML_MUST_CHECK;

/* One part of a layer's work; t is the layer's own struct, which starts with an ml_nn_patches. The
 * arena is released behind it. */
typedef ml_status (*ml_nn_patches_part)(void *t, ml_arena *arena, ml_error *err);

/* *out = the result of run, of this shape, for inputs x, W and b (or NULL) that are checked; saves
 * x and W. */
ml_status ml_nn_patches_forward(ml_tensor *out, const ml_tensor *const in[3], const ml_shape *shape,
                                void *t, ml_nn_patches_part run, ml_save *save,
                                ml_error *err) ML_MUST_CHECK;
/* The wanted gradients: dx and dW by their parts (dW is 0 already when there are no images), that
 * of b as sums over rows of dy [rows,columns]. */
ml_status ml_nn_patches_vjp(ml_vjp *c, void *t, ml_nn_patches_part run_dx,
                            ml_nn_patches_part run_dW, int64_t rows, int64_t columns,
                            ml_error *err) ML_MUST_CHECK;

#endif
