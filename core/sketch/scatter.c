/* CountSketch and OSNAP: of points, of sparse rows, of windows of images. */
#include "kernels.h"

#include <math.h>
#include <string.h>

static ml_status check_hashes(const ml_tensor *hashes, const ml_tensor *signs, ml_dtype dtype,
                              int64_t d, int64_t m, ml_error *err) {
  char text[ML_DESCRIBE];
  if (hashes->rank != 2 || hashes->size[0] < 1)
    return ml_fail(err, ML_ESHAPE, 0, "hashes are %s, wanted index [k,%lld]",
                   ml_describe(text, hashes), (long long)d);
  if (m < 1)
    return ml_fail(err, ML_EARG, 0, "dim is %lld, wanted >= 1", (long long)m);
  ML_TRY(ml_sketch_check_array(hashes, "hashes", ML_INDEX, hashes->size[0], d, err));
  ML_TRY(ml_sketch_check_array(signs, "signs", dtype, hashes->size[0], d, err));
  return ml_sketch_check_places(hashes, "hashes", m, err);
}

typedef struct {
  ml_sketch_run run;
  const ml_tensor *X, *hashes, *signs;
  ml_tensor *Y;
  int64_t n, d, m, k;
  /* sparse rows */
  const int64_t *offsets, *columns;
  const void *values;
  /* windows */
  const ml_sketch_window *w;
  int64_t H, W, C;
} job;

static int64_t count_of(const job *t, int64_t panel) {
  const int64_t left = t->n - panel * t->run.lanes;
  return left < t->run.lanes ? left : t->run.lanes;
}

static void dense_body(void *ctx, int64_t i, int worker) {
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  char *in = ml_sketch_scratch(r, worker), *out = in + t->d * ML_SKETCH_ROW;
  r->k->load(count_of(t, i), t->d, ml_sketch_at(r, ml_data(t->X), i * r->lanes * t->d), t->d, in);
  memset(out, 0, (size_t)t->m * ML_SKETCH_ROW);
  r->k->scatter(t->d, t->k, t->d, ML_DATA(const int64_t, t->hashes), ml_data(t->signs), in, out);
  r->k->store(count_of(t, i), t->m, 1 / sqrt((double)t->k), out,
              ml_sketch_out(r, ml_data(t->Y), i * r->lanes * t->m), t->m);
}

ml_status ml_sketch_osnap(ml_tensor *Y, const ml_tensor *X, const ml_tensor *hashes,
                          const ml_tensor *signs, int64_t m, ml_error *err) {
  ML_TRY(ml_sketch_check_points(X, 1, err));
  const int64_t n = X->size[0], d = X->size[1];
  ML_TRY(check_hashes(hashes, signs, X->dtype, d, m, err));
  job t = {.X = X,
           .Y = Y,
           .hashes = hashes,
           .signs = signs,
           .n = n,
           .d = d,
           .m = m,
           .k = hashes->size[0]};
  ml_shape shape = ml_shape_make(2, n, m);
  ML_TRY(ml_tensor_init(Y, X->dtype, &shape, err));
  ml_status status = ml_sketch_begin(&t.run, X->dtype, d + m, err);
  if (!status)
    status = ml_parallel_poll((n + t.run.lanes - 1) / t.run.lanes,
                              (double)(t.run.lanes * (m + d * (t.k + 1))), dense_body, &t, err);
  ml_sketch_end(&t.run);
  if (status)
    ml_tensor_clear(Y);
  return status;
}

enum { SPARSE_ROWS = 32 };

static void sparse_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  const int64_t end = (i + 1) * SPARSE_ROWS < t->n ? (i + 1) * SPARSE_ROWS : t->n;
  for (int64_t row = i * SPARSE_ROWS; row < end; row++) {
    const int64_t from = t->offsets[row];
    char *y = ml_sketch_out(r, ml_data(t->Y), row * t->m);
    memset(y, 0, (size_t)t->m * ml_dtype_size(r->dtype));
    r->k->scatter_row(t->offsets[row + 1] - from, t->k, t->d, ML_DATA(const int64_t, t->hashes),
                      ml_data(t->signs), t->columns + from, ml_sketch_at(r, t->values, from), y);
    if (t->k > 1)
      r->k->scale_row(t->m, 1 / sqrt((double)t->k), y);
  }
}

ml_status ml_sketch_osnap_sparse(ml_tensor *Y, const ml_tensor *offsets, const ml_tensor *columns,
                                 const ml_tensor *values, const ml_tensor *hashes,
                                 const ml_tensor *signs, int64_t m, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(values->dtype) || values->rank != 1 || !ml_is_contiguous(values))
    return ml_fail(err, ML_ESHAPE, 0, "values are %s, wanted f32 or f64 of one axis",
                   ml_describe(text, values));
  const int64_t nnz = values->size[0], d = hashes->rank == 2 ? hashes->size[1] : 0;
  ML_TRY(check_hashes(hashes, signs, values->dtype, d, m, err));
  ML_TRY(ml_sketch_check_array(columns, "columns", ML_INDEX, nnz, -1, err));
  ML_TRY(ml_sketch_check_places(columns, "columns", d, err));
  if (offsets->dtype != ML_INDEX || offsets->rank != 1 || offsets->size[0] < 1 ||
      !ml_is_contiguous(offsets))
    return ml_fail(err, ML_ESHAPE, 0, "offsets are %s, wanted index [n+1]",
                   ml_describe(text, offsets));
  const int64_t n = offsets->size[0] - 1, *at = ML_DATA(const int64_t, offsets);
  for (int64_t i = 0; i <= n; i++)
    if (at[i] < (i ? at[i - 1] : 0) || (i == 0 && at[0] != 0) || (i == n && at[n] != nnz))
      return ml_fail(err, ML_EARG, 0, "offset %lld is %lld, wanted an ascent from 1 to %lld",
                     (long long)i + 1, (long long)at[i] + 1, (long long)nnz + 1);
  job t = {.Y = Y,
           .hashes = hashes,
           .signs = signs,
           .n = n,
           .d = d,
           .m = m,
           .k = hashes->size[0],
           .offsets = at,
           .columns = ML_DATA(const int64_t, columns),
           .values = ml_data(values)};
  ml_shape shape = ml_shape_make(2, n, m);
  ML_TRY(ml_tensor_init(Y, values->dtype, &shape, err));
  ml_status status = ml_sketch_begin(&t.run, values->dtype, 0, err);
  const double each = n ? (double)nnz / (double)n : 0;
  if (!status)
    status = ml_parallel_poll((n + SPARSE_ROWS - 1) / SPARSE_ROWS,
                              SPARSE_ROWS * ((double)m + each * (double)t.k), sparse_body, &t, err);
  if (status)
    ml_tensor_clear(Y);
  return status;
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Row y of a panel of images (from the first row of a window on, so it may lie outside) as panels
 * of channels; NULL where there is none. As many rows as a window has are kept; `tags` tells which.
 */
static const char *pixels_of(const job *t, const char *x, int64_t count, int64_t y, int64_t *tags,
                             char *rows) {
  const ml_sketch_run *r = &t->run;
  const int64_t kept = t->w->window[0], slot = ((y % kept) + kept) % kept;
  if (t->w->circular)
    y = ((y % t->H) + t->H) % t->H;
  else if (y < 0 || y >= t->H)
    return NULL;
  char *row = rows + slot * t->W * t->C * ML_SKETCH_ROW;
  if (tags[slot] != y)
    for (int64_t p = 0; p < t->W; p++)
      r->k->load(count, t->C, ml_sketch_at(r, x, (y * t->W + p) * t->C), t->H * t->W * t->C,
                 row + p * t->C * ML_SKETCH_ROW);
  tags[slot] = y;
  return row;
}

static void windows_body(void *ctx, int64_t i, int worker) {
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  const ml_sketch_window *w = t->w;
  const int64_t size = ML_SKETCH_ROW, count = count_of(t, i), places = w->out[0] * w->out[1];
  int64_t *tags = (int64_t *)(void *)ml_sketch_scratch(r, worker);
  char *out = (char *)tags + w->window[0] * size, *rows = out + t->m * size;
  const char *x = ml_sketch_at(r, ml_data(t->X), i * r->lanes * t->H * t->W * t->C);
  const int64_t *hashes = ML_DATA(const int64_t, t->hashes);
  const void *signs = ml_data(t->signs);
  for (int64_t k = 0; k < w->window[0]; k++)
    tags[k] = -1;
  for (int64_t place = 0; place < places; place++) {
    const int64_t top = place / w->out[1] * w->stride[0] - w->before[0],
                  left = place % w->out[1] * w->stride[1] - w->before[1];
    memset(out, 0, (size_t)(t->m * size));
    for (int64_t ky = 0; ky < w->window[0]; ky++) {
      const char *row = pixels_of(t, x, count, top + ky, tags, rows);
      for (int64_t kx = 0; row && kx < w->window[1]; kx++) {
        int64_t z = left + kx;
        if (w->circular)
          z = ((z % t->W) + t->W) % t->W;
        else if (z < 0 || z >= t->W)
          continue;
        const int64_t tap = (ky * w->window[1] + kx) * t->C;
        r->k->scatter(t->C, t->k, t->d, hashes + tap, ml_sketch_at(r, signs, tap),
                      row + z * t->C * size, out);
      }
    }
    r->k->store(count, t->m, w->scale / sqrt((double)t->k), out,
                ml_sketch_out(r, ml_data(t->Y), (i * r->lanes * places + place) * t->m),
                places * t->m);
  }
}

ml_status ml_sketch_windows(ml_tensor *Y, const ml_tensor *X, const ml_sketch_window *w,
                            const ml_tensor *hashes, const ml_tensor *signs, int64_t m,
                            ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(X->dtype) || X->rank != 4 || !ml_is_contiguous(X) || X->size[1] < 1 ||
      X->size[2] < 1 || X->size[3] < 1)
    return ml_fail(err, ML_ESHAPE, 1, "%s, wanted images [N,H,W,C] of f32 or f64",
                   ml_describe(text, X));
  for (int a = 0; a < 2; a++)
    if (w->window[a] < 1 || w->stride[a] < 1 || w->out[a] < 1 || w->before[a] < 0)
      return ml_fail(err, ML_EARG, 0, "the window does not fit to %s", ml_describe(text, X));
  job t = {.X = X,
           .Y = Y,
           .hashes = hashes,
           .signs = signs,
           .n = X->size[0],
           .m = m,
           .w = w,
           .H = X->size[1],
           .W = X->size[2],
           .C = X->size[3]};
  t.d = w->window[0] * w->window[1] * t.C;
  ML_TRY(check_hashes(hashes, signs, X->dtype, t.d, m, err));
  t.k = hashes->size[0];
  ml_shape shape = ml_shape_make(4, t.n, w->out[0], w->out[1], m);
  ML_TRY(ml_tensor_init(Y, X->dtype, &shape, err));
  ml_status status = ml_sketch_begin(&t.run, X->dtype, w->window[0] * (t.W * t.C + 1) + m, err);
  const double cost = (double)(w->out[0] * w->out[1]) * (double)(m + t.d * (t.k + 1));
  if (!status)
    status = ml_parallel_poll((t.n + t.run.lanes - 1) / t.run.lanes, cost * (double)t.run.lanes,
                              windows_body, &t, err);
  ml_sketch_end(&t.run);
  if (status)
    ml_tensor_clear(Y);
  return status;
}
