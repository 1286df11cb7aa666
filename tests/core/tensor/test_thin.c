/* Thinning keeps what a picture shows; counts of bins agree with a naive loop. */
#include "tensors.h"

static uint64_t state = 0x13198a2e03707344u;

static void vector(ml_tensor *t, int64_t n) {
  ml_error err;
  ml_shape shape = ml_shape_make(1, n);
  CHECK_OK(ml_tensor_init(t, ML_F64, &shape, &err), &err);
}

static bool shown(double x, double y, const ml_thin_options *o) {
  return isfinite(x) && isfinite(y) && (!o->log_x || x > 0) && (!o->log_y || y > 0);
}

/* property: ascending positions; each column's least and greatest are kept; gaps stay gaps */
static void check_curve(const ml_tensor *out, const ml_thin_counts *c, const ml_tensor *tx,
                        const ml_tensor *ty, const ml_thin_options *o) {
  const double *x = ML_DATA(const double, tx), *y = ML_DATA(const double, ty);
  const int64_t *kept = ML_DATA(const int64_t, out);
  int64_t n = tx->size[0], m = out->size[0], used = 0;
  double least = INFINITY, greatest = -INFINITY, least_kept = INFINITY, greatest_kept = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    if (!shown(x[i], y[i], o))
      continue;
    used++;
    least = fmin(least, y[i]), greatest = fmax(greatest, y[i]);
  }
  CHECK_EQ(c->used, used);
  CHECK_EQ(c->used + c->not_finite + c->not_positive, n);
  for (int64_t k = 0; k < m; k++) {
    CHECK(kept[k] >= 0 && kept[k] < n && (k == 0 || kept[k] > kept[k - 1]));
    if (!shown(x[kept[k]], y[kept[k]], o))
      continue;
    least_kept = fmin(least_kept, y[kept[k]]), greatest_kept = fmax(greatest_kept, y[kept[k]]);
  }
  if (used > 0)
    CHECK(least == least_kept && greatest == greatest_kept);
  /* between two kept points that are shown and follow each other nothing hidden lies */
  for (int64_t k = 1; k < m; k++) {
    if (!shown(x[kept[k]], y[kept[k]], o) || !shown(x[kept[k - 1]], y[kept[k - 1]], o))
      continue;
    for (int64_t i = kept[k - 1]; i < kept[k]; i++)
      CHECK(shown(x[i], y[i], o));
  }
}

static void test_curves(void) {
  ml_error err;
  for (int round = 0; round < 200; round++) {
    int64_t n = pick(&state, 0, 600);
    ml_tensor x = {0}, y = {0}, out = {0};
    vector(&x, n);
    vector(&y, n);
    for (int64_t i = 0; i < n; i++) {
      ML_DATA(double, &x)[i] = round % 3 == 0 ? number(&state) : (double)(i + 1);
      double v = number(&state);
      ML_DATA(double, &y)
      [i] = pick(&state, 0, 20) == 0   ? (double)NAN
            : pick(&state, 0, 20) == 0 ? (double)INFINITY
                                       : v;
    }
    ml_thin_options o = {
        .columns = pick(&state, 1, 40), .log_x = round % 2, .log_y = round % 5 == 0};
    ml_thin_counts c;
    CHECK_OK(ml_thin(&out, &c, &x, &y, &o, &err), &err);
    check_curve(&out, &c, &x, &y, &o);
    if (round % 3 != 0) /* ascending x: four points a column, and one for each gap and after it */
      CHECK(out.size[0] <= 4 * (o.columns + c.not_finite + c.not_positive));
    ml_tensor_clear(&x);
    ml_tensor_clear(&y);
    ml_tensor_clear(&out);
  }
}

static void test_clouds(void) { /* property: a cell with points keeps exactly one */
  ml_error err;
  ml_tensor x = {0}, y = {0}, out = {0};
  enum { N = 5000, COLUMNS = 13, ROWS = 7 };
  vector(&x, N);
  vector(&y, N);
  bool taken[COLUMNS][ROWS] = {{false}};
  double x0 = 0, x1 = 1, y0 = 0, y1 = 1;
  for (int64_t i = 0; i < N; i++) {
    ML_DATA(double, &x)[i] = i == 0 ? x0 : i == 1 ? x1 : (number(&state) + 2) / 4.0001;
    ML_DATA(double, &y)[i] = i == 0 ? y0 : i == 1 ? y1 : (number(&state) + 2) / 4.0001;
  }
  ml_thin_options o = {.columns = COLUMNS, .rows = ROWS};
  ml_thin_counts c;
  CHECK_OK(ml_thin(&out, &c, &x, &y, &o, &err), &err);
  CHECK_EQ(out.size[0], COLUMNS * ROWS); /* 5000 points leave no cell of 91 empty */
  for (int64_t k = 0; k < out.size[0]; k++) {
    int64_t i = ML_DATA(int64_t, &out)[k];
    int a = (int)fmin(COLUMNS - 1, floor(ML_DATA(double, &x)[i] * COLUMNS));
    int b = (int)fmin(ROWS - 1, floor(ML_DATA(double, &y)[i] * ROWS));
    CHECK(!taken[a][b]);
    taken[a][b] = true;
  }
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
  ml_tensor_clear(&out);
}

static void test_bins(void) {
  ml_error err;
  ml_tensor x = {0}, edges = {0}, out = {0};
  vector(&x, 1000);
  vector(&edges, 8);
  for (int64_t i = 0; i < 1000; i++)
    ML_DATA(double, &x)[i] = i % 50 == 0 ? (double)NAN : floor(4 * number(&state)) / 4;
  for (int64_t k = 0; k < 8; k++)
    ML_DATA(double, &edges)[k] = -1 + 0.25 * (double)k;
  CHECK_OK(ml_bin_counts(&out, &x, &edges, &err), &err);
  for (int64_t k = 0; k < 7; k++) {
    int64_t want = 0;
    for (int64_t i = 0; i < 1000; i++) {
      double v = ML_DATA(double, &x)[i], a = ML_DATA(double, &edges)[k],
             b = ML_DATA(double, &edges)[k + 1];
      want += v >= a && (v < b || (k == 6 && v == b));
    }
    CHECK_CLOSE(ML_DATA(double, &out)[k], (double)want, 0);
  }
  ml_tensor_clear(&x);
  ml_tensor_clear(&edges);
  ml_tensor_clear(&out);
}

static void test_errors(void) {
  ml_error err;
  ml_tensor x = {0}, y = {0}, out = {0};
  ml_thin_counts c;
  ml_thin_options o = {.columns = 10}, none = {.columns = 0};
  vector(&x, 3);
  vector(&y, 4);
  CHECK_FAIL(ml_thin(&out, &c, &x, &y, &o, &err), ML_ESHAPE);
  CHECK_FAIL(ml_thin(&out, &c, &x, &x, &none, &err), ML_EARG);
  CHECK(ml_tensor_empty(&out));
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
}

CHECK_MAIN(test_curves, test_clouds, test_bins, test_errors)
