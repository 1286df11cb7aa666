/* Duals and kernels on both dtypes and every instruction set that runs: closed forms written out in
 * plain C, convolutions against sums over pixels; failures leave nothing behind. */
#include "check.h"

#include "kernel/kernel.h"

static ml_error err;
static const double pi = 3.14159265358979323846;

static void fill(ml_tensor *t, ml_dtype dtype, const ml_shape *shape, uint64_t seed) {
  CHECK_OK(ml_tensor_init(t, dtype, shape, &err), &err);
  ml_rng g = ml_rng_seed(seed);
  if (dtype == ML_F64)
    ml_rng_normal_f64(&g, ML_DATA(double, t), ml_numel(t), 0, 1);
  else
    ml_rng_normal_f32(&g, ML_DATA(float, t), ml_numel(t), 0, 1);
}

static double at(const ml_tensor *t, int64_t i) {
  return t->dtype == ML_F64 ? ML_DATA(double, t)[i] : (double)ML_DATA(float, t)[i];
}

/* kappa of relu: (sin + (pi - angle) cos) sqrt(ab) / (2 pi), rounding of its few operations */
static void test_relu(void) {
  for (int d = 0; d < 2; d++) {
    const ml_dtype dtype = d ? ML_F32 : ML_F64;
    const int64_t n = 1037; /* no multiple of a vector */
    const ml_shape shape = ml_shape_make(1, n);
    ml_tensor c = {0}, a = {0}, b = {0}, kappa = {0}, dot = {0};
    fill(&c, dtype, &shape, 1);
    fill(&a, dtype, &shape, 2);
    fill(&b, dtype, &shape, 3);
    for (int64_t i = 0; i < n; i++) {
      const double u = fabs(at(&a, i)) + 0.1, v = fabs(at(&b, i)) + 0.1,
                   r = tanh(at(&c, i)) * sqrt(u * v);
      if (dtype == ML_F64) {
        ML_DATA(double, &a)[i] = u, ML_DATA(double, &b)[i] = v, ML_DATA(double, &c)[i] = r;
      } else {
        ML_DATA(float, &a)[i] = (float)u, ML_DATA(float, &b)[i] = (float)v;
        ML_DATA(float, &c)[i] = (float)r;
      }
    }
    ml_dual relu;
    const double p[4] = {0, 1};
    CHECK_OK(ml_dual_init(&relu, ML_DUAL_ABRELU, p, 0, NULL, &err), &err);
    CHECK_OK(ml_dual_eval(&kappa, &dot, &relu, &c, &a, &b, &err), &err);
    const double tolerance = dtype == ML_F64 ? 1e-14 : 2e-6;
    for (int64_t i = 0; i < n; i++) {
      const double root = sqrt(fmax(at(&a, i) * at(&b, i) - at(&c, i) * at(&c, i), 0));
      const double angle = atan2(root, at(&c, i));
      CHECK_NEAR(at(&kappa, i), (root + (pi - angle) * at(&c, i)) / (2 * pi), tolerance, tolerance);
      CHECK_NEAR(at(&dot, i), (pi - angle) / (2 * pi), tolerance, tolerance);
    }
    ml_tensor *all[] = {&c, &a, &b, &kappa, &dot};
    for (int i = 0; i < 5; i++)
      ml_tensor_clear(all[i]);
  }
}

/* conv 3x3 same, gap, dense of a linear network, by sums over pixels written out */
static void test_linear_convolution(void) {
  enum { H = 4, W = 3, C = 2, N = 19 };
  const ml_kernel_op ops[] = {
      {.kind = ML_KERNEL_CONV, .w2 = 1.5, .b2 = 0.25, .window = {3, 3}, .stride = {1, 1}},
      {.kind = ML_KERNEL_GAP},
      {.kind = ML_KERNEL_DENSE, .w2 = 2, .b2 = 0.5}};
  for (int d = 0; d < 2; d++) {
    const ml_dtype dtype = d ? ML_F32 : ML_F64;
    const ml_shape shape = ml_shape_make(4, (int64_t)N, (int64_t)H, (int64_t)W, (int64_t)C),
                   square = ml_shape_make(2, (int64_t)N, (int64_t)N);
    ml_tensor X = {0}, K = {0}, T = {0};
    fill(&X, dtype, &shape, 4);
    CHECK_OK(ml_tensor_init(&K, dtype, &square, &err), &err);
    CHECK_OK(ml_tensor_init(&T, dtype, &square, &err), &err);
    ml_kernel_points *points = NULL;
    CHECK_OK(ml_kernel_points_new(&points, ops, 3, &X, &err), &err);
    CHECK_OK(ml_kernel_rows(&K, &T, points, points, 0, N, &err), &err);
    for (int i = 0; i < N; i += 5)
      for (int j = 0; j < N; j += 3) {
        double sum = 0;
        for (int p = 0; p < H * W; p++)
          for (int q = 0; q < H * W; q++) {
            double box = 0;
            for (int y = -1; y <= 1; y++)
              for (int x = -1; x <= 1; x++) {
                const int py = p / W + y, px = p % W + x, qy = q / W + y, qx = q % W + x;
                if (py < 0 || py >= H || px < 0 || px >= W || qy < 0 || qy >= H || qx < 0 ||
                    qx >= W)
                  continue;
                for (int c = 0; c < C; c++)
                  box += at(&X, ((i * H + py) * W + px) * C + c) *
                         at(&X, ((j * H + qy) * W + qx) * C + c) / C;
              }
            sum += 1.5 * box / 9 + 0.25;
          }
        const double inner = sum / (H * W * H * W), tolerance = d ? 3e-6 : 1e-14;
        CHECK_NEAR(at(&K, i * N + j), 2 * inner + 0.5, tolerance, tolerance);
        CHECK_NEAR(at(&T, i * N + j), 2 * inner + 2 * inner + 0.5, tolerance, 2 * tolerance);
      }
    ml_kernel_points_free(points);
    ml_tensor_clear(&X);
    ml_tensor_clear(&K);
    ml_tensor_clear(&T);
  }
}

/* every allocation fails in turn; Ctrl-C is told; NaN names its point */
static void test_failures(void) {
  ml_kernel_op ops[3] = {{.kind = ML_KERNEL_DENSE, .w2 = 1},
                         {.kind = ML_KERNEL_ACT},
                         {.kind = ML_KERNEL_DENSE, .w2 = 1}};
  CHECK_OK(ml_dual_init(&ops[1].dual, ML_DUAL_GELU, NULL, 0, NULL, &err), &err);
  const ml_shape shape = ml_shape_make(2, (int64_t)600, (int64_t)5),
                 square = ml_shape_make(2, (int64_t)600, (int64_t)600);
  ml_tensor X = {0}, K = {0};
  fill(&X, ML_F64, &shape, 5);
  CHECK_OK(ml_tensor_init(&K, ML_F64, &square, &err), &err);
  ml_status status = ML_ENOMEM;
  int64_t failing = 0;
  while (status == ML_ENOMEM && failing < 100) {
    ml_inject_alloc_failure(++failing, true);
    ml_kernel_points *points = NULL;
    status = ml_kernel_points_new(&points, ops, 3, &X, &err);
    if (!status)
      status = ml_kernel_rows(&K, NULL, points, points, 0, 600, &err);
    ml_inject_alloc_failure(0, false);
    ml_kernel_points_free(points);
  }
  CHECK_EQ(status, ML_OK);
  CHECK(failing > 5);
  ml_kernel_points *points = NULL;
  CHECK_OK(ml_kernel_points_new(&points, ops, 3, &X, &err), &err);
  CHECK_EQ(ml_kernel_rows(&K, NULL, points, points, 100, 500, &err), ML_EARG);
  CHECK_EQ(ml_kernel_rows(&X, NULL, points, points, 0, 600, &err), ML_ESHAPE);
  ml_cancel();
  CHECK_EQ(ml_kernel_rows(&K, NULL, points, points, 0, 600, &err), ML_ECANCELLED);
  ml_cancel_clear();
  ml_kernel_points_free(points);
  ML_DATA(double, &X)[7] = NAN;
  CHECK_EQ(ml_kernel_points_new(&points, ops, 3, &X, &err), ML_ENUMERIC);
  CHECK(strstr(err.message, "point 2 holds nan") != NULL);
  ops[0].kind = ML_KERNEL_CONV;
  CHECK_EQ(ml_kernel_points_new(&points, ops, 3, &X, &err), ML_ESHAPE);
  ml_tensor_clear(&X);
  ml_tensor_clear(&K);
}

CHECK_MAIN(test_relu, test_linear_convolution, test_failures)
