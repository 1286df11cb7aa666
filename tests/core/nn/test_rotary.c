/* The rotary embedding: its definition, angles, inverse, strides, positions and bad input. */
#include "check.h"
#include "nn/nn.h"

static ml_error err;

static void open_normal(ml_tensor *t, ml_dtype dtype, uint64_t seed, int64_t B, int64_t T,
                        int64_t H, int64_t D) {
  ml_rng g = ml_rng_seed(seed);
  ml_tensor wide = {0};
  ml_shape shape = ml_shape_make(4, B, T, H, D);
  CHECK_OK(ml_tensor_init(&wide, ML_F64, &shape, &err), &err);
  ml_rng_normal_f64(&g, ML_DATA(double, &wide), ml_numel(&wide), 0, 1);
  CHECK_OK(ml_tensor_cast(t, &wide, dtype, &err), &err);
  ml_tensor_clear(&wide);
}

static double at(const ml_tensor *t, int64_t b, int64_t i, int64_t h, int64_t d) {
  return ml_tensor_get(t, (int64_t[]){b, i, h, d});
}

static void check_turned(const ml_tensor *y, const ml_tensor *x, const int64_t *positions,
                         double base, bool interleaved, double tol) {
  int64_t T = x->size[1], D = x->size[3];
  for (int64_t b = 0; b < x->size[0]; b++)
    for (int64_t t = 0; t < T; t++)
      for (int64_t h = 0; h < x->size[2]; h++)
        for (int64_t i = 0; i < D / 2; i++) {
          int64_t p = positions ? positions[b * T + t] : t;
          int64_t m = interleaved ? 2 * i : i, n = interleaved ? 2 * i + 1 : i + D / 2;
          double angle = (double)p * pow(base, -2.0 * (double)i / (double)D);
          double u = at(x, b, t, h, m), v = at(x, b, t, h, n);
          CHECK_NEAR(at(y, b, t, h, m), u * cos(angle) - v * sin(angle), tol, tol);
          CHECK_NEAR(at(y, b, t, h, n), v * cos(angle) + u * sin(angle), tol, tol);
        }
}

static void test_turns_pairs_by_their_angles(void) { /* analytic */
  static const int64_t D[] = {2, 6, 16, 34, 64};
  for (ml_dtype dtype = ML_F64; dtype <= ML_F32; dtype++)
    for (int k = 0; k < 10; k++) {
      ml_tensor x = {0}, y = {0};
      open_normal(&x, dtype, (uint64_t)k, 2, 9 + 40 * (k % 3), 3, D[k % 5]);
      CHECK_OK(ml_rotary(&y, &x, NULL, 1e4, k >= 5, &err), &err);
      check_turned(&y, &x, NULL, 1e4, k >= 5, dtype == ML_F32 ? 3e-7 : 1e-14);
      ml_tensor_clear(&x);
      ml_tensor_clear(&y);
    }
}

static void test_positions_near_and_far(void) { /* analytic; the far ones do not fit the table */
  static const int64_t most[] = {20, 5000, (int64_t)1 << 33};
  for (int k = 0; k < 6; k++) {
    ml_tensor x = {0}, y = {0}, p = {0};
    open_normal(&x, ML_F64, 40, 3, 7, 2, 8);
    ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)7);
    ml_rng g = ml_rng_seed(41);
    CHECK_OK(ml_tensor_init(&p, ML_INDEX, &shape, &err), &err);
    ml_rng_integers(&g, ML_DATA(int64_t, &p), 21, 0, most[k % 3]);
    CHECK_OK(ml_rotary(&y, &x, &p, 500, k >= 3, &err), &err);
    check_turned(&y, &x, ML_DATA(int64_t, &p), 500, k >= 3, 1e-14);
    ml_tensor_clear(&x);
    ml_tensor_clear(&y);
    ml_tensor_clear(&p);
  }
}

static void
test_many_tables_do_not_mix(void) { /* property: more bases, widths and dtypes than are cached */
  for (int round = 0; round < 2; round++)
    for (int k = 0; k < 9; k++) {
      ml_dtype dtype = k % 2 ? ML_F32 : ML_F64;
      ml_tensor x = {0}, y = {0};
      open_normal(&x, dtype, 5, 1, 300 * (1 + round), 1, 4 + 2 * (k % 3));
      CHECK_OK(ml_rotary(&y, &x, NULL, 100 + k, false, &err), &err);
      check_turned(&y, &x, NULL, 100 + k, false, dtype == ML_F32 ? 3e-7 : 1e-14);
      ml_tensor_clear(&x);
      ml_tensor_clear(&y);
    }
}

static void test_scores_depend_on_distance_only(void) { /* property */
  ml_tensor x = {0}, same = {0}, y = {0};
  open_normal(&x, ML_F64, 6, 1, 1, 1, 16);
  ml_shape shape = ml_shape_make(4, (int64_t)1, (int64_t)60, (int64_t)1, (int64_t)16);
  CHECK_OK(ml_view_broadcast(&same, &x, &shape, &err), &err);
  CHECK_OK(ml_rotary(&y, &same, NULL, 1e4, false, &err), &err);
  double first = 0;
  for (int64_t t = 0; t + 7 < 60; t++) {
    double s = 0;
    for (int64_t d = 0; d < 16; d++)
      s += at(&y, 0, t, 0, d) * at(&y, 0, t + 7, 0, d);
    if (t == 0)
      first = s;
    CHECK_NEAR(s, first, 1e-13, 1e-13);
  }
  ml_tensor_clear(&x);
  ml_tensor_clear(&same);
  ml_tensor_clear(&y);
}

static ml_status forward_and_back(ml_tensor *y, ml_tensor *dx, const ml_tensor *x) {
  ml_tensor w = {0}, seed = {0};
  const ml_tensor *leaf = &w;
  ml_status status = ml_param(&w, x, &err);
  if (!status)
    status = ml_rotary(y, &w, NULL, 1e4, true, &err);
  ml_tensor_detach(&seed, y);
  if (!status)
    status = ml_backward_to(dx, y, &seed, &leaf, 1, false, &err);
  ml_tensor_clear(&seed);
  ml_tensor_clear(y);
  ml_tensor_clear(&w);
  return status;
}

static void test_backward_turns_back(void) { /* property: the gradient of |y|^2 / 2 is x */
  ml_tensor x = {0}, y = {0}, dx = {0};
  open_normal(&x, ML_F64, 7, 2, 50, 3, 10);
  CHECK_OK(forward_and_back(&y, &dx, &x), &err);
  for (int64_t i = 0; i < ml_numel(&x); i++)
    CHECK_NEAR(ML_DATA(double, &dx)[i], ML_DATA(double, &x)[i], 1e-14, 1e-15);
  ml_tensor_clear(&dx);
  CHECK_ALLOC_SWEEP(forward_and_back(&y, &dx, &x), ml_tensor_clear(&dx));
  ml_tensor_clear(&x);
}

static void test_views_and_threads_do_not_matter(void) { /* property */
  int before = ml_threads();
  ml_tensor x = {0}, want = {0}, y = {0}, moved = {0}, dense = {0}, view = {0};
  open_normal(&x, ML_F32, 8, 2, 200, 3, 12);
  CHECK_OK(ml_set_threads(1, &err), &err);
  CHECK_OK(ml_rotary(&want, &x, NULL, 1e4, false, &err), &err);
  for (int threads = 2; threads <= 8; threads += 3) {
    static const int axes[] = {3, 2, 1, 0};
    CHECK_OK(ml_set_threads(threads, &err), &err);
    CHECK_OK(ml_view_permute(&moved, &x, axes, &err), &err);
    CHECK_OK(ml_tensor_contiguous(&dense, &moved, &err), &err);
    CHECK_OK(ml_view_permute(&view, &dense, axes, &err), &err);
    CHECK_OK(ml_rotary(&y, &view, NULL, 1e4, false, &err), &err);
    CHECK(!memcmp(ml_data(&y), ml_data(&want), (size_t)ml_numel(&y) * sizeof(float)));
    ml_tensor_clear(&moved);
    ml_tensor_clear(&dense);
    ml_tensor_clear(&view);
    ml_tensor_clear(&y);
  }
  CHECK_OK(ml_set_threads(before, &err), &err);
  ml_tensor_clear(&x);
  ml_tensor_clear(&want);
}

static void test_errors_say_what_came(void) {
  ml_tensor x = {0}, y = {0}, odd = {0}, p = {0};
  open_normal(&x, ML_F64, 9, 2, 3, 1, 4);
  open_normal(&odd, ML_F64, 9, 2, 3, 1, 5);
  CHECK_FAIL(ml_rotary(&y, &odd, NULL, 1e4, false, &err), ML_ESHAPE);
  CHECK_HAS(err.message,
            "rotary: x is f64 [2x3x1x5], wanted [batch, time, heads, features] with an even");
  CHECK_FAIL(ml_rotary(&y, &x, NULL, 0, false, &err), ML_EARG);
  CHECK_FAIL(ml_rotary(&y, &x, NULL, NAN, false, &err), ML_EARG);
  CHECK_FAIL(ml_rotary(&y, &x, &x, 1e4, false, &err), ML_EDTYPE);
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)2);
  CHECK_OK(ml_tensor_init_zeros(&p, ML_INDEX, &shape, &err), &err);
  CHECK_FAIL(ml_rotary(&y, &x, &p, 1e4, false, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "wanted positions [2x3]");
  ml_tensor_clear(&p);
  shape = ml_shape_make(2, (int64_t)2, (int64_t)3);
  CHECK_OK(ml_tensor_init_zeros(&p, ML_INDEX, &shape, &err), &err);
  ML_DATA(int64_t, &p)[4] = -1;
  CHECK_FAIL(ml_rotary(&y, &x, &p, 1e4, false, &err), ML_EARG);
  CHECK_EQ(err.arg, 2);
  CHECK(ml_tensor_empty(&y));
  ml_tensor_clear(&x);
  ml_tensor_clear(&odd);
  ml_tensor_clear(&p);
}

CHECK_MAIN(test_turns_pairs_by_their_angles, test_positions_near_and_far,
           test_many_tables_do_not_mix, test_scores_depend_on_distance_only,
           test_backward_turns_back, test_views_and_threads_do_not_matter,
           test_errors_say_what_came)
