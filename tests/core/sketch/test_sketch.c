/* Every sketch against sums written out, at sizes on both sides of panels and of powers of two; the
 * same bytes whatever the neighbours and threads; failures leave nothing behind. */
#include "check.h"

#include "sketch/sketch.h"

static ml_error err;

static ml_tensor real(ml_dtype dtype, int64_t a, int64_t b, uint64_t seed) {
  ml_tensor t = {0};
  ml_shape shape = ml_shape_make(b < 0 ? 1 : 2, a, b);
  CHECK_OK(ml_tensor_init(&t, dtype, &shape, &err), &err);
  ml_rng g = ml_rng_seed(seed);
  if (dtype == ML_F64)
    ml_rng_normal_f64(&g, ml_data(&t), ml_numel(&t), 0, 1);
  else
    ml_rng_normal_f32(&g, ml_data(&t), ml_numel(&t), 0, 1);
  return t;
}

static double at(const ml_tensor *t, int64_t i) {
  return t->dtype == ML_F64 ? ML_DATA(double, t)[i] : (double)ML_DATA(float, t)[i];
}

static void set(ml_tensor *t, int64_t i, double x) {
  if (t->dtype == ML_F64)
    ML_DATA(double, t)[i] = x;
  else
    ML_DATA(float, t)[i] = (float)x;
}

static ml_tensor signs(ml_dtype dtype, int64_t a, int64_t b, uint64_t seed) {
  ml_tensor t = real(dtype, a, b, seed);
  for (int64_t i = 0; i < ml_numel(&t); i++)
    set(&t, i, at(&t, i) < 0 ? -1 : 1);
  return t;
}

static ml_tensor places(int64_t a, int64_t b, int64_t limit, uint64_t seed) {
  ml_tensor t = {0};
  ml_shape shape = ml_shape_make(b < 0 ? 1 : 2, a, b);
  CHECK_OK(ml_tensor_init(&t, ML_INDEX, &shape, &err), &err);
  ml_rng g = ml_rng_seed(seed);
  ml_rng_integers(&g, ml_data(&t), ml_numel(&t), 0, limit - 1);
  return t;
}

/* Entry (i, j) of Sylvester's matrix: -1 to the number of ones that i and j share. */
static double sylvester(int64_t i, int64_t j) {
  return __builtin_popcountll((uint64_t)(i & j)) % 2 ? -1 : 1;
}

/* The kept places of leg (signs + s, rows + r) of x, times scale. */
static void leg_oracle(double *y, const double *x, int64_t d, const ml_tensor *sign, int64_t s,
                       const ml_tensor *rows, int64_t r, int64_t m) {
  for (int64_t i = 0; i < m; i++) {
    y[i] = 0;
    for (int64_t j = 0; j < d; j++)
      y[i] += sylvester(ML_DATA(int64_t, rows)[r + i], j) * at(sign, s + j) * x[j];
  }
}

static double tolerance(ml_dtype dtype) { return dtype == ML_F64 ? 1e-12 : 2e-4; }

static const int64_t sizes[] = {1, 2, 3, 5, 8, 16, 17, 33, 64, 130, 300};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void test_hadamard(void) { /* analytic */
  for (int f = 0; f < 2; f++)
    for (int s = 0; s < SIZES; s++) {
      const int64_t d = sizes[s], side = ml_sketch_side(d), n = 1 + 7 * s;
      const ml_dtype dtype = f ? ML_F32 : ML_F64;
      ml_tensor X = real(dtype, n, d, 1), Y = {0};
      CHECK_OK(ml_sketch_hadamard(&Y, &X, &err), &err);
      CHECK_EQ(Y.size[1], side);
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < side; j++) {
          double sum = 0;
          for (int64_t k = 0; k < d; k++)
            sum += sylvester(j, k) * at(&X, i * d + k);
          CHECK_NEAR(at(&Y, i * side + j), sum, 0, tolerance(dtype) * (double)d);
        }
      ml_tensor_clear(&X), ml_tensor_clear(&Y);
    }
}

static void test_srht_and_its_product(void) { /* analytic */
  for (int f = 0; f < 2; f++)
    for (int s = 0; s < SIZES; s++) {
      const int64_t d = sizes[s], e = sizes[SIZES - 1 - s], n = 3 + 9 * s, m = 1 + 5 * s;
      const ml_dtype dtype = f ? ML_F32 : ML_F64;
      ml_tensor X = real(dtype, n, d, 1), Z = real(dtype, n, e, 2), Y = {0}, T = {0};
      ml_tensor sx = signs(dtype, d, -1, 3), sz = signs(dtype, e, -1, 4);
      ml_tensor rx = places(m, -1, ml_sketch_side(d), 5), rz = places(m, -1, ml_sketch_side(e), 6);
      const ml_sketch_leg legs[2] = {{&sx, &rx}, {&sz, &rz}};
      CHECK_OK(ml_sketch_srht(&Y, &X, &legs[0], &err), &err);
      CHECK_OK(ml_sketch_tensor_srht(&T, &X, &Z, legs, &err), &err);
      double x[512], z[512], a[512], b[512];
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < d; j++)
          x[j] = at(&X, i * d + j);
        for (int64_t j = 0; j < e; j++)
          z[j] = at(&Z, i * e + j);
        leg_oracle(a, x, d, &sx, 0, &rx, 0, m);
        leg_oracle(b, z, e, &sz, 0, &rz, 0, m);
        for (int64_t j = 0; j < m; j++) {
          CHECK_NEAR(at(&Y, i * m + j), a[j] / sqrt((double)m), 1e-6, tolerance(dtype) * (double)d);
          CHECK_NEAR(at(&T, i * m + j), a[j] * b[j] / sqrt((double)m), 1e-5,
                     tolerance(dtype) * (double)(d + e));
        }
      }
      ml_tensor *all[] = {&X, &Z, &Y, &T, &sx, &sz, &rx, &rz};
      for (int i = 0; i < 8; i++)
        ml_tensor_clear(all[i]);
    }
}

static void test_osnap_dense_and_sparse(void) { /* analytic */
  for (int f = 0; f < 2; f++)
    for (int s = 0; s < SIZES; s++)
      for (int64_t k = 1; k < 5; k += 3) {
        const int64_t d = sizes[s], n = 2 + 13 * s, m = 3 + 4 * s;
        const ml_dtype dtype = f ? ML_F32 : ML_F64;
        ml_tensor X = real(dtype, n, d, 1), Y = {0}, Z = {0};
        ml_tensor hashes = places(k, d, m, 2), sign = signs(dtype, k, d, 3);
        ml_tensor offsets = places(n + 1, -1, 1, 4), columns = places(n * d, -1, 1, 4),
                  values = real(dtype, n * d, -1, 5);
        int64_t count = 0; /* a third of the entries are zero and left out */
        for (int64_t i = 0; i < n; i++) {
          ML_DATA(int64_t, &offsets)[i] = count;
          for (int64_t j = 0; j < d; j++) {
            if ((i + j) % 3 == 0)
              set(&X, i * d + j, 0);
            if (at(&X, i * d + j) == 0)
              continue;
            ML_DATA(int64_t, &columns)[count] = j;
            set(&values, count++, at(&X, i * d + j));
          }
        }
        ML_DATA(int64_t, &offsets)[n] = count;
        columns.size[0] = values.size[0] = count;
        CHECK_OK(ml_sketch_osnap(&Y, &X, &hashes, &sign, m, &err), &err);
        CHECK_OK(ml_sketch_osnap_sparse(&Z, &offsets, &columns, &values, &hashes, &sign, m, &err),
                 &err);
        for (int64_t i = 0; i < n; i++)
          for (int64_t p = 0; p < m; p++) {
            double sum = 0;
            for (int64_t j = 0; j < k; j++)
              for (int64_t c = 0; c < d; c++)
                if (ML_DATA(int64_t, &hashes)[j * d + c] == p)
                  sum += at(&sign, j * d + c) * at(&X, i * d + c);
            CHECK_NEAR(at(&Y, i * m + p), sum / sqrt((double)k), 1e-6, tolerance(dtype));
            CHECK_NEAR(at(&Z, i * m + p), sum / sqrt((double)k), 1e-6, tolerance(dtype));
          }
        ml_tensor *all[] = {&X, &Y, &Z, &hashes, &sign, &offsets, &columns, &values};
        for (int i = 0; i < 8; i++)
          ml_tensor_clear(all[i]);
      }
}

static void test_windows(void) { /* analytic */
  const int64_t N = 19, H = 5, W = 4, C = 3, m = 11, k = 2;
  for (int circular = 0; circular < 2; circular++) {
    const ml_sketch_window w = {{3, 2}, {2, 1}, {1, 0}, {3, 4}, circular == 1, 0.5};
    const int64_t d = 3 * 2 * C;
    ml_tensor X = {0}, Y = {0}, hashes = places(k, d, m, 2), sign = signs(ML_F64, k, d, 3);
    ml_tensor flat = real(ML_F64, N, H * W * C, 1);
    ml_shape shape = ml_shape_make(4, N, H, W, C);
    CHECK_OK(ml_view_reshape(&X, &flat, &shape, &err), &err);
    CHECK_OK(ml_sketch_windows(&Y, &X, &w, &hashes, &sign, m, &err), &err);
    for (int64_t n = 0; n < N; n++)
      for (int64_t p = 0; p < 12; p++) {
        double want[11] = {0};
        for (int64_t i = 0; i < d; i++) {
          int64_t y = p / 4 * 2 - 1 + i / (2 * C), x = p % 4 + i / C % 2;
          if (circular)
            y = (y + H) % H, x = (x + W) % W;
          if (y < 0 || y >= H || x < 0 || x >= W)
            continue;
          for (int64_t j = 0; j < k; j++)
            want[ML_DATA(int64_t, &hashes)[j * d + i]] +=
                at(&sign, j * d + i) * at(&X, ((n * H + y) * W + x) * C + i % C);
        }
        for (int64_t j = 0; j < m; j++)
          CHECK_NEAR(at(&Y, (n * 12 + p) * m + j), 0.5 * want[j] / sqrt(2.0), 1e-13, 1e-13);
      }
    ml_tensor *all[] = {&X, &Y, &hashes, &sign, &flat};
    for (int i = 0; i < 5; i++)
      ml_tensor_clear(all[i]);
  }
}

/* ---- trees ----------------------------------------------------------------------------------- */

typedef struct {
  ml_sketch_tree tree;
  ml_tensor t[4];
  int64_t d, m;
} forest;

static void forest_init(forest *f, ml_dtype dtype, int64_t leaves, int64_t d, int64_t m) {
  f->t[0] = signs(dtype, leaves, d, 11);
  f->t[1] = places(leaves, m, ml_sketch_side(d), 12);
  f->t[2] = signs(dtype, leaves - 2, m, 13);
  f->t[3] = places(leaves - 2, m, ml_sketch_side(m), 14);
  f->tree = (ml_sketch_tree){leaves, &f->t[0], &f->t[1], &f->t[2], &f->t[3]};
  f->d = d, f->m = m;
}

static void forest_clear(forest *f) {
  for (int i = 0; i < 4; i++)
    ml_tensor_clear(&f->t[i]);
}

/* The node over leaves [from, from + width) where those before `first` are constant, by recursion;
 * x[i] belongs to leaf i. Whether it is constant. */
static bool node_oracle(const forest *f, double *y, double (*x)[64], int64_t from, int64_t width,
                        int64_t first) {
  if (from + width <= first)
    return true;
  if (width == 1) {
    memcpy(y, x[from], sizeof *x);
    return false;
  }
  double a[64], b[64], u[64], v[64];
  const bool left = node_oracle(f, a, x, from, width / 2, first);
  node_oracle(f, b, x, from + width / 2, width / 2, first);
  if (left && width > 2) {
    memcpy(y, b, sizeof b);
    return false;
  }
  int64_t leg = from / width * 2, d = f->d;
  const ml_tensor *sign = &f->t[0], *rows = &f->t[1];
  if (width > 2) {
    sign = &f->t[2], rows = &f->t[3], d = f->m;
    for (int64_t w = 4; w < width; w *= 2)
      leg += f->tree.leaves / w * 2;
  }
  if (!left)
    leg_oracle(u, a, d, sign, leg * d, rows, leg * f->m, f->m);
  leg_oracle(v, b, d, sign, (leg + 1) * d, rows, (leg + 1) * f->m, f->m);
  for (int64_t i = 0; i < f->m; i++)
    y[i] = (left ? 1 : u[i]) * v[i] / sqrt((double)f->m);
  return false;
}

static void test_tree(void) { /* analytic */
  for (int64_t leaves = 2; leaves <= 16; leaves *= 2)
    for (int f32 = 0; f32 < 2; f32++) {
      const ml_dtype dtype = f32 ? ML_F32 : ML_F64;
      const int64_t n = 18, d = 9, m = 21;
      forest f;
      forest_init(&f, dtype, leaves, d, m);
      ml_tensor X[16], Y = {0}, Z = {0};
      const ml_tensor *factors[16];
      int64_t degrees[16];
      for (int64_t i = 0; i < leaves; i++) {
        X[i] = real(dtype, n, d, 20 + (uint64_t)i);
        for (int64_t j = 0; j < n * d; j++)
          set(&X[i], j, at(&X[i], j) / 3);
        factors[i] = &X[i];
        degrees[i] = leaves - i; /* any order */
      }
      CHECK_OK(ml_sketch_powers(&Y, &X[0], &f.tree, degrees, (int)leaves, &err), &err);
      const int64_t count =
          leaves - 1 > 2 ? leaves - 1 : 2; /* one leaf of a larger tree constant */
      CHECK_OK(ml_sketch_product(&Z, factors, (int)count, &f.tree, &err), &err);
      for (int64_t i = 0; i < n; i++) {
        double x[16][64] = {{0}}, y[64];
        for (int64_t l = 0; l < leaves; l++)
          for (int64_t j = 0; j < d; j++)
            x[l][j] = at(&X[0], i * d + j);
        for (int64_t k = 0; k < leaves; k++) {
          node_oracle(&f, y, x, 0, leaves, leaves - degrees[k]);
          for (int64_t j = 0; j < m; j++)
            CHECK_NEAR(at(&Y, (i * leaves + k) * m + j), y[j], f32 ? 1e-4 : 1e-11,
                       f32 ? 1e-4 : 1e-12);
        }
        for (int64_t l = leaves - count; l < leaves; l++)
          for (int64_t j = 0; j < d; j++)
            x[l][j] = at(&X[l - leaves + count], i * d + j);
        node_oracle(&f, y, x, 0, leaves, leaves - count);
        for (int64_t j = 0; j < m; j++)
          CHECK_NEAR(at(&Z, i * m + j), y[j], f32 ? 1e-4 : 1e-11, f32 ? 1e-4 : 1e-12);
      }
      for (int64_t i = 0; i < leaves; i++)
        ml_tensor_clear(&X[i]);
      ml_tensor_clear(&Y), ml_tensor_clear(&Z);
      forest_clear(&f);
    }
}

/* ---- an activation --------------------------------------------------------------------------- */

static void test_activation(void) { /* analytic: from powers, a transform and a product */
  for (int shared = 0; shared < 2; shared++)
    for (int64_t d = 9; d < 40; d += 15) { /* u itself where d <= my, and not */
      const int64_t n = 21, m = 21, my = 17, mp = 13, e = 30, q = 4;
      const bool use_value[] = {true, true, false, true, true};
      const bool use_slope[] = {false, true, true, true, false};
      forest f;
      forest_init(&f, ML_F64, 4, d, m);
      const int64_t first = d <= my ? d : m, cv = 1 + first + 2 * m, cs = first + 2 * m;
      CHECK_EQ(ml_sketch_columns(use_value, q, d, m, my), cv);
      CHECK_EQ(ml_sketch_columns(use_slope, q, d, m, my), cs);
      ml_tensor X = real(ML_F64, n, d, 1), P = real(ML_F64, n, e, 2);
      ml_tensor value = real(ML_F64, shared ? 1 : n, q + 1, 3),
                slope = real(ML_F64, shared ? 1 : n, q + 1, 4);
      ml_tensor s1 = signs(ML_F64, cv, -1, 5), r1 = places(my, -1, ml_sketch_side(cv), 6),
                s2 = signs(ML_F64, e, -1, 7), r2 = places(mp, -1, ml_sketch_side(e), 8),
                s3 = signs(ML_F64, cs, -1, 9), r3 = places(mp, -1, ml_sketch_side(cs), 10);
      for (int64_t j = 0; j < d; j++)
        set(&X, 2 * d + j, 0); /* a point that is zero */
      ml_sketch_layer layer = {.tree = f.tree,
                               .value = &value,
                               .slope = &slope,
                               .use_value = use_value,
                               .use_slope = use_slope,
                               .homogeneous = shared == 1,
                               .down = {&s1, &r1},
                               .pair = {{&s2, &r2}, {&s3, &r3}}};
      ml_tensor Y = {0}, Psi = {0}, alone = {0}, U = {0}, unit = {0};
      CHECK_OK(ml_sketch_activation(&Y, &Psi, &X, &P, &layer, &err), &err);
      CHECK_OK(ml_sketch_activation(&alone, NULL, &X, NULL, &layer, &err), &err);
      CHECK(ml_tensor_equal(&Y, &alone));
      CHECK_OK(ml_tensor_clone(&unit, &X, &err), &err);
      double norm[21];
      for (int64_t i = 0; i < n; i++) {
        norm[i] = 0;
        for (int64_t j = 0; j < d; j++)
          norm[i] += at(&X, i * d + j) * at(&X, i * d + j);
        norm[i] = sqrt(norm[i]);
        for (int64_t j = 0; j < d; j++)
          set(&unit, i * d + j, norm[i] > 0 ? at(&X, i * d + j) / norm[i] : 0);
      }
      const int64_t degrees[] = {1, 2, 3, 4};
      CHECK_OK(ml_sketch_powers(&U, &unit, &f.tree, degrees, 4, &err), &err);
      for (int64_t i = 0; i < n; i++) {
        double blocks[2][128], y[64], a[64], b[64], p[64];
        for (int which = 0; which < 2; which++) {
          const bool *use = which ? use_slope : use_value;
          const ml_tensor *w = which ? &slope : &value;
          int64_t c = 0;
          for (int64_t k = 0; k <= q; k++) {
            const double weight = at(w, (shared ? 0 : i) * (q + 1) + k);
            const int64_t length = k == 0 ? 1 : k == 1 ? first : m;
            for (int64_t j = 0; use[k] && j < length; j++)
              blocks[which][c++] = weight * (k == 0              ? 1
                                             : k == 1 && d <= my ? at(&unit, i * d + j)
                                                                 : at(&U, (i * 4 + k - 1) * m + j));
          }
          CHECK_EQ(c, which ? cs : cv);
        }
        leg_oracle(y, blocks[0], cv, &s1, 0, &r1, 0, my);
        for (int64_t j = 0; j < my; j++)
          CHECK_NEAR(at(&Y, i * my + j), y[j] / sqrt((double)my) * (shared ? norm[i] : 1), 1e-11,
                     1e-11);
        for (int64_t j = 0; j < e; j++)
          p[j] = at(&P, i * e + j);
        leg_oracle(a, p, e, &s2, 0, &r2, 0, mp);
        leg_oracle(b, blocks[1], cs, &s3, 0, &r3, 0, mp);
        for (int64_t j = 0; j < mp; j++)
          CHECK_NEAR(at(&Psi, i * mp + j), a[j] * b[j] / sqrt((double)mp), 1e-11, 1e-11);
      }
      ml_tensor *all[] = {&X,  &P,  &value, &slope, &s1,    &r1, &s2,  &r2,
                          &s3, &r3, &Y,     &Psi,   &alone, &U,  &unit};
      for (int i = 0; i < 15; i++)
        ml_tensor_clear(all[i]);
      forest_clear(&f);
    }
}

/* ---- neighbours, threads, failures ----------------------------------------------------------- */

static void test_a_point_does_not_see_its_neighbours(void) { /* property */
  for (int f32 = 0; f32 < 2; f32++) {
    const ml_dtype dtype = f32 ? ML_F32 : ML_F64;
    const int64_t n = 70, d = 50;
    forest f;
    forest_init(&f, dtype, 8, d, 40);
    ml_tensor X = real(dtype, n, d, 1), all = {0}, again = {0}, one = {0}, view = {0};
    const int64_t degrees[] = {7, 3};
    CHECK_OK(ml_set_threads(1, &err), &err);
    CHECK_OK(ml_sketch_powers(&all, &X, &f.tree, degrees, 2, &err), &err);
    CHECK_OK(ml_set_threads(2, &err), &err);
    CHECK_OK(ml_sketch_powers(&again, &X, &f.tree, degrees, 2, &err), &err);
    CHECK(ml_tensor_equal(&all, &again));
    for (int64_t i = 0; i < n; i += 23) {
      CHECK_OK(ml_view_narrow(&view, &X, 0, i, 1, &err), &err);
      CHECK_OK(ml_sketch_powers(&one, &view, &f.tree, degrees, 2, &err), &err);
      CHECK(!memcmp(ml_data(&one), (char *)ml_data(&all) + (size_t)(i * 80) * ml_dtype_size(dtype),
                    80 * ml_dtype_size(dtype)));
      ml_tensor_clear(&one), ml_tensor_clear(&view);
    }
    ml_tensor_clear(&X), ml_tensor_clear(&all), ml_tensor_clear(&again);
    forest_clear(&f);
  }
}

static void test_bad_input_is_refused(void) { /* error */
  ml_tensor X = real(ML_F64, 20, 6, 1), s = signs(ML_F64, 6, -1, 2), r = places(4, -1, 8, 3),
            Y = {0}, single = signs(ML_F32, 6, -1, 2);
  ml_sketch_leg leg = {&s, &r};
  ML_DATA(int64_t, &r)[2] = 8;
  CHECK_FAIL(ml_sketch_srht(&Y, &X, &leg, &err), ML_EARG);
  CHECK_HAS(err.message, "place 3 is 9, wanted 1 to 8");
  ML_DATA(int64_t, &r)[2] = 0;
  leg.signs = &single;
  CHECK_FAIL(ml_sketch_srht(&Y, &X, &leg, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "signs are f32 [6], wanted f64 [6]");
  leg.signs = &s;
  ml_cancel();
  CHECK_FAIL(ml_sketch_srht(&Y, &X, &leg, &err), ML_ECANCELLED);
  ml_cancel_clear();
  CHECK(ml_tensor_empty(&Y));
  CHECK_ALLOC_SWEEP(ml_sketch_srht(&Y, &X, &leg, &err), ml_tensor_clear(&Y));
  forest f;
  forest_init(&f, ML_F64, 4, 6, 5);
  const int64_t degrees[] = {5};
  CHECK_FAIL(ml_sketch_powers(&Y, &X, &f.tree, degrees, 1, &err), ML_EARG);
  const int64_t fine[] = {4};
  CHECK_ALLOC_SWEEP(ml_sketch_powers(&Y, &X, &f.tree, fine, 1, &err), ml_tensor_clear(&Y));
  forest_clear(&f);
  ml_tensor_clear(&X), ml_tensor_clear(&s), ml_tensor_clear(&r), ml_tensor_clear(&single);
}

CHECK_MAIN(test_hadamard, test_srht_and_its_product, test_osnap_dense_and_sparse, test_windows,
           test_tree, test_activation, test_a_point_does_not_see_its_neighbours,
           test_bad_input_is_refused)
