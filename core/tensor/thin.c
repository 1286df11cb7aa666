/* Points of long series that a picture needs: the extremes of every column of pixels, or one point
 * of every cell. */
#include "tensor.h"

#include <math.h>
#include <string.h>

enum { POLL_EVERY = 1 << 16 };

typedef struct {
  const double *x, *y;
  int64_t n;
  const ml_thin_options *o;
  double x_low, x_scale, y_low, y_scale; /* of the transformed values */
} series;

static double transform(double v, bool logarithmic) { return logarithmic ? log(v) : v / 2; }

static bool shown(double v, bool logarithmic) { return isfinite(v) && (!logarithmic || v > 0); }

static bool point_shown(const series *s, int64_t i) {
  return shown(s->x[i], s->o->log_x) && shown(s->y[i], s->o->log_y);
}

static int64_t bin(double v, double low, double scale, int64_t count) {
  double k = (v - low) * scale;
  return k < 0 ? 0 : k >= (double)count ? count - 1 : (int64_t)k;
}

static int64_t column_of(const series *s, int64_t i) {
  return bin(transform(s->x[i], s->o->log_x), s->x_low, s->x_scale, s->o->columns);
}

/* The ranges, and how many points can be shown. */
static ml_status survey(series *s, ml_thin_counts *c, ml_error *err) {
  double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
  *c = (ml_thin_counts){0};
  for (int64_t i = 0; i < s->n; i++) {
    if (i % POLL_EVERY == 0)
      ML_POLL(err);
    double x = s->x[i], y = s->y[i];
    if (!isfinite(x) || !isfinite(y)) {
      c->not_finite++;
    } else if (!point_shown(s, i)) {
      c->not_positive++;
    } else {
      c->used++;
      x0 = x < x0 ? x : x0, x1 = x > x1 ? x : x1;
      y0 = y < y0 ? y : y0, y1 = y > y1 ? y : y1;
    }
  }
  if (c->used == 0)
    return ML_OK;
  s->x_low = transform(x0, s->o->log_x), s->y_low = transform(y0, s->o->log_y);
  double width = transform(x1, s->o->log_x) - s->x_low;
  double height = transform(y1, s->o->log_y) - s->y_low;
  s->x_scale = width > 0 ? (double)s->o->columns / width : 0;
  s->y_scale = height > 0 ? (double)s->o->rows / height : 0;
  return ML_OK;
}

/* Appends the distinct positions of a stretch, ascending; out may be NULL. */
static int64_t keep(int64_t *out, int64_t count, int64_t first, int64_t least, int64_t greatest,
                    int64_t last) {
  int64_t at[4] = {first, least < greatest ? least : greatest, least < greatest ? greatest : least,
                   last};
  for (int k = 0; k < 4; k++) {
    if (k > 0 && at[k] == at[k - 1])
      continue;
    if (out)
      out[count] = at[k];
    count++;
  }
  return count;
}

/* First, least, greatest and last of every stretch of points in one column; of a stretch that
 * cannot be shown its first, so that the gap stays. Returns the number kept; out NULL: counts. */
static ml_status columns(int64_t *out, int64_t *count, const series *s, ml_error *err) {
  int64_t kept = 0, column = -2, first = 0, least = 0, greatest = 0, last = 0;
  for (int64_t i = 0; i < s->n; i++) {
    if (i % POLL_EVERY == 0)
      ML_POLL(err);
    int64_t k = point_shown(s, i) ? column_of(s, i) : -1;
    if (k != column) {
      if (column != -2)
        kept = column == -1 ? keep(out, kept, first, first, first, first)
                            : keep(out, kept, first, least, greatest, last);
      column = k;
      first = least = greatest = i;
    } else if (k >= 0) {
      least = s->y[i] < s->y[least] ? i : least;
      greatest = s->y[i] > s->y[greatest] ? i : greatest;
    }
    last = i;
  }
  if (column != -2)
    kept = column == -1 ? keep(out, kept, first, first, first, first)
                        : keep(out, kept, first, least, greatest, last);
  *count = kept;
  return ML_OK;
}

/* The first point of every cell. */
static ml_status cells(int64_t *out, int64_t *count, const series *s, unsigned char *taken,
                       ml_error *err) {
  int64_t kept = 0;
  memset(taken, 0, (size_t)(s->o->columns * s->o->rows));
  for (int64_t i = 0; i < s->n; i++) {
    if (i % POLL_EVERY == 0)
      ML_POLL(err);
    if (!point_shown(s, i))
      continue;
    int64_t row = bin(transform(s->y[i], s->o->log_y), s->y_low, s->y_scale, s->o->rows);
    int64_t cell = row * s->o->columns + column_of(s, i);
    if (taken[cell])
      continue;
    taken[cell] = 1;
    if (out)
      out[kept] = i;
    kept++;
  }
  *count = kept;
  return ML_OK;
}

static ml_status select_points(int64_t *out, int64_t *count, const series *s, unsigned char *taken,
                               ml_error *err) {
  return s->o->rows > 0 ? cells(out, count, s, taken, err) : columns(out, count, s, err);
}

ml_status ml_thin(ml_tensor *out, ml_thin_counts *counts, const ml_tensor *x, const ml_tensor *y,
                  const ml_thin_options *o, ml_error *err) {
  if (x->dtype != ML_F64 || y->dtype != ML_F64 || x->rank != 1 || y->rank != 1 ||
      x->size[0] != y->size[0])
    return ml_fail(err, ML_ESHAPE, 1, "x and y are not two f64 vectors of one length");
  if (o->columns < 1 || o->rows < 0 || o->columns > 65536 || o->rows > 65536)
    return ml_fail(err, ML_EARG, 3, "columns and rows are %lld and %lld, wanted 1..65536",
                   (long long)o->columns, (long long)o->rows);
  ml_tensor cx = {0}, cy = {0};
  unsigned char *taken = NULL;
  int64_t count = 0;
  ml_status status = ml_tensor_contiguous(&cx, x, err);
  if (!status)
    status = ml_tensor_contiguous(&cy, y, err);
  if (!status && o->rows > 0 && !(taken = ml_alloc((size_t)(o->columns * o->rows))))
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory for a grid of %lld x %lld cells",
                     (long long)o->columns, (long long)o->rows);
  if (!status) {
    series s = {
        .x = ML_DATA(const double, &cx), .y = ML_DATA(const double, &cy), .n = cx.size[0], .o = o};
    status = survey(&s, counts, err);
    if (!status)
      status = select_points(NULL, &count, &s, taken, err);
    ml_shape shape = ml_shape_make(1, count);
    if (!status)
      status = ml_tensor_init(out, ML_INDEX, &shape, err);
    if (!status && (status = select_points(ML_DATA(int64_t, out), &count, &s, taken, err)))
      ml_tensor_clear(out);
  }
  ml_free(taken);
  ml_tensor_clear(&cx);
  ml_tensor_clear(&cy);
  return status;
}

/* ---- counts
 * -------------------------------------------------------------------------------------- */

static ml_status count(double *counts, const double *x, int64_t n, const double *edges,
                       int64_t bins, ml_error *err) {
  memset(counts, 0, (size_t)bins * sizeof *counts);
  for (int64_t i = 0; i < n; i++) {
    if (i % POLL_EVERY == 0)
      ML_POLL(err);
    if (!(x[i] >= edges[0] && x[i] <= edges[bins]))
      continue;
    int64_t low = 0, high = bins; /* edges[low] <= x < edges[high], but for the last edge */
    while (high - low > 1) {
      int64_t middle = low + (high - low) / 2;
      if (x[i] >= edges[middle])
        low = middle;
      else
        high = middle;
    }
    counts[low]++;
  }
  return ML_OK;
}

ml_status ml_bin_counts(ml_tensor *out, const ml_tensor *x, const ml_tensor *edges, ml_error *err) {
  if (x->dtype != ML_F64 || edges->dtype != ML_F64 || x->rank != 1 || edges->rank != 1 ||
      edges->size[0] < 2)
    return ml_fail(err, ML_ESHAPE, 1, "x and edges are not f64 vectors, edges of two or more");
  ml_tensor cx = {0}, ce = {0};
  ml_shape shape = ml_shape_make(1, edges->size[0] - 1);
  ml_status status = ml_tensor_contiguous(&cx, x, err);
  if (!status)
    status = ml_tensor_contiguous(&ce, edges, err);
  if (!status)
    status = ml_tensor_init(out, ML_F64, &shape, err);
  if (!status && (status = count(ML_DATA(double, out), ML_DATA(const double, &cx), cx.size[0],
                                 ML_DATA(const double, &ce), shape.size[0], err)))
    ml_tensor_clear(out);
  ml_tensor_clear(&cx);
  ml_tensor_clear(&ce);
  return status;
}
