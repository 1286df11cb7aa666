/* matmul of tensors: NumPy's shapes, views, errors. */
#include "check.h"
#include "tensor/tensor.h"

static ml_tensor normal(ml_dtype d, ml_shape shape, ml_rng *g) {
  ml_tensor t = {0};
  ml_error err;
  CHECK_OK(ml_tensor_init(&t, d, &shape, &err), &err);
  if (d == ML_F32)
    ml_rng_normal_f32(g, ML_DATA(float, &t), ml_numel(&t), 0, 1);
  else
    ml_rng_normal_f64(g, ML_DATA(double, &t), ml_numel(&t), 0, 1);
  return t;
}

/* Element of a batched product by the definition, read through the strides. */
static double element(const ml_tensor *a, const ml_tensor *b, const ml_tensor *y,
                      const int64_t *at) {
  const bool row = a->rank == 1, column = b->rank == 1;
  const int batch = y->rank - !row - !column;
  int64_t pa[ML_MAX_RANK] = {0}, pb[ML_MAX_RANK] = {0};
  for (int k = 0; k < a->rank - 2; k++)
    pa[k] = a->size[k] == 1 ? 0 : at[batch - (a->rank - 2) + k];
  for (int k = 0; k < b->rank - 2; k++)
    pb[k] = b->size[k] == 1 ? 0 : at[batch - (b->rank - 2) + k];
  if (!row)
    pa[a->rank - 2] = at[batch];
  if (!column)
    pb[b->rank - 1] = at[y->rank - 1];
  double sum = 0;
  for (int64_t k = 0; k < a->size[a->rank - 1]; k++) {
    pa[a->rank - 1] = k;
    pb[column ? 0 : b->rank - 2] = k;
    sum += ml_tensor_get(a, pa) * ml_tensor_get(b, pb);
  }
  return sum;
}

static void check_product(const ml_tensor *a, const ml_tensor *b, ml_shape want) {
  ml_error err;
  ml_tensor y = {0};
  CHECK_OK(ml_tensor_matmul(&y, a, b, &err), &err);
  ml_shape shape = ml_shape_of(&y);
  CHECK(ml_shape_equal(&shape, &want));
  bool ok = true;
  int64_t at[ML_MAX_RANK] = {0};
  for (int64_t i = 0; i < ml_numel(&y); i++) {
    /* f32 sums of up to 300 normal products */
    ok = ok && check_is_close(ml_tensor_get(&y, at), element(a, b, &y, at), 1e-6,
                              y.dtype == ML_F32 ? 1e-4 : 1e-12);
    for (int k = y.rank - 1; k >= 0 && ++at[k] == y.size[k]; k--)
      at[k] = 0;
  }
  CHECK(ok);
  if (!ok) {
    char p[ML_DESCRIBE], q[ML_DESCRIBE];
    fprintf(stderr, "  %s by %s\n", ml_describe(p, a), ml_describe(q, b));
  }
  ml_tensor_clear(&y);
}

static void test_shapes(void) { /* analytic */
  ml_rng g = ml_rng_seed(1);
  const struct {
    ml_shape a, b, y;
  } cases[] = {
      {ml_shape_make(1, INT64_C(5)), ml_shape_make(1, INT64_C(5)), ml_shape_make(0)},
      {ml_shape_make(1, INT64_C(5)), ml_shape_make(2, INT64_C(5), INT64_C(7)),
       ml_shape_make(1, INT64_C(7))},
      {ml_shape_make(2, INT64_C(3), INT64_C(5)), ml_shape_make(1, INT64_C(5)),
       ml_shape_make(1, INT64_C(3))},
      {ml_shape_make(2, INT64_C(3), INT64_C(5)), ml_shape_make(2, INT64_C(5), INT64_C(4)),
       ml_shape_make(2, INT64_C(3), INT64_C(4))},
      {ml_shape_make(3, INT64_C(2), INT64_C(3), INT64_C(5)),
       ml_shape_make(2, INT64_C(5), INT64_C(4)),
       ml_shape_make(3, INT64_C(2), INT64_C(3), INT64_C(4))},
      {ml_shape_make(2, INT64_C(3), INT64_C(5)),
       ml_shape_make(3, INT64_C(6), INT64_C(5), INT64_C(4)),
       ml_shape_make(3, INT64_C(6), INT64_C(3), INT64_C(4))},
      {ml_shape_make(4, INT64_C(2), INT64_C(1), INT64_C(3), INT64_C(5)),
       ml_shape_make(3, INT64_C(6), INT64_C(5), INT64_C(4)),
       ml_shape_make(4, INT64_C(2), INT64_C(6), INT64_C(3), INT64_C(4))},
      {ml_shape_make(3, INT64_C(2), INT64_C(3), INT64_C(5)), ml_shape_make(1, INT64_C(5)),
       ml_shape_make(2, INT64_C(2), INT64_C(3))},
      {ml_shape_make(1, INT64_C(5)), ml_shape_make(3, INT64_C(2), INT64_C(5), INT64_C(4)),
       ml_shape_make(2, INT64_C(2), INT64_C(4))},
      {ml_shape_make(3, INT64_C(40), INT64_C(1), INT64_C(300)),
       ml_shape_make(2, INT64_C(300), INT64_C(20)),
       ml_shape_make(3, INT64_C(40), INT64_C(1), INT64_C(20))},
      {ml_shape_make(2, INT64_C(3), INT64_C(0)), ml_shape_make(2, INT64_C(0), INT64_C(4)),
       ml_shape_make(2, INT64_C(3), INT64_C(4))},
      {ml_shape_make(2, INT64_C(0), INT64_C(3)), ml_shape_make(2, INT64_C(3), INT64_C(4)),
       ml_shape_make(2, INT64_C(0), INT64_C(4))},
      {ml_shape_make(3, INT64_C(0), INT64_C(2), INT64_C(3)),
       ml_shape_make(3, INT64_C(1), INT64_C(3), INT64_C(4)),
       ml_shape_make(3, INT64_C(0), INT64_C(2), INT64_C(4))},
      {ml_shape_make(3, INT64_C(30), INT64_C(70), INT64_C(40)),
       ml_shape_make(3, INT64_C(30), INT64_C(40), INT64_C(50)),
       ml_shape_make(3, INT64_C(30), INT64_C(70), INT64_C(50))},
  };
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      ml_tensor a = normal(d, cases[i].a, &g), b = normal(d, cases[i].b, &g);
      check_product(&a, &b, cases[i].y);
      ml_tensor_clear(&a);
      ml_tensor_clear(&b);
    }
}

/* Views of a 4-d tensor in every order of axes, sliced backwards and broadcast, on both sides. */
static void test_views(void) { /* property */
  ml_rng g = ml_rng_seed(2);
  ml_error err;
  ml_tensor base =
      normal(ML_F64, ml_shape_make(4, INT64_C(6), INT64_C(6), INT64_C(6), INT64_C(6)), &g);
  for (int order = 0; order < 24; order++) {
    int axes[4], left[4] = {0, 1, 2, 3}, rest = order;
    for (int k = 0; k < 4; k++) {
      int pick = rest % (4 - k);
      rest /= 4 - k;
      axes[k] = left[pick];
      for (int q = pick; q < 3 - k; q++)
        left[q] = left[q + 1];
    }
    for (int kind = 0; kind < 3; kind++) {
      ml_tensor v = {0}, p = {0};
      ml_slice s[4] = {{0, 3, 2, false}, {5, 6, -1, false}, {1, 5, 1, false}, {5, 3, -2, false}};
      if (kind)
        CHECK_OK(ml_view_slice(&v, &base, s, kind == 1 ? 2 : 4, &err), &err);
      else
        ml_tensor_alias(&v, &base);
      CHECK_OK(ml_view_permute(&p, &v, axes, &err), &err);
      ml_tensor other = normal(ML_F64, ml_shape_make(2, p.size[3], INT64_C(4)), &g), turned = {0};
      check_product(&p, &other, ml_shape_make(4, p.size[0], p.size[1], p.size[2], INT64_C(4)));
      ml_tensor before = normal(ML_F64, ml_shape_make(2, INT64_C(4), p.size[2]), &g);
      check_product(&before, &p, ml_shape_make(4, p.size[0], p.size[1], INT64_C(4), p.size[3]));
      CHECK_OK(ml_view_transpose(&turned, &p, 2, 3, &err), &err);
      check_product(&p, &turned, ml_shape_make(4, p.size[0], p.size[1], p.size[2], p.size[2]));
      ml_tensor_clear(&v), ml_tensor_clear(&p), ml_tensor_clear(&other), ml_tensor_clear(&before);
      ml_tensor_clear(&turned);
    }
  }
  ml_tensor row = normal(ML_F64, ml_shape_make(2, INT64_C(1), INT64_C(6)), &g), wide = {0};
  const ml_shape to = ml_shape_make(3, INT64_C(4), INT64_C(5), INT64_C(6));
  CHECK_OK(ml_view_broadcast(&wide, &row, &to, &err), &err);
  ml_tensor b = normal(ML_F64, ml_shape_make(2, INT64_C(6), INT64_C(3)), &g);
  check_product(&wide, &b, ml_shape_make(3, INT64_C(4), INT64_C(5), INT64_C(3)));
  ml_tensor_clear(&row), ml_tensor_clear(&wide), ml_tensor_clear(&b), ml_tensor_clear(&base);
}

static void test_errors(void) { /* error */
  ml_rng g = ml_rng_seed(3);
  ml_error err;
  ml_tensor a = normal(ML_F64, ml_shape_make(2, INT64_C(3), INT64_C(4)), &g);
  ml_tensor b = normal(ML_F64, ml_shape_make(2, INT64_C(5), INT64_C(6)), &g);
  ml_tensor f = normal(ML_F32, ml_shape_make(2, INT64_C(4), INT64_C(6)), &g);
  ml_tensor scalar = normal(ML_F64, ml_shape_make(0), &g), ids = {0}, y = {0};
  ml_tensor batch = normal(ML_F64, ml_shape_make(3, INT64_C(2), INT64_C(3), INT64_C(4)), &g);
  ml_tensor other = normal(ML_F64, ml_shape_make(3, INT64_C(3), INT64_C(4), INT64_C(4)), &g);
  const ml_shape square = ml_shape_make(2, INT64_C(4), INT64_C(4));
  CHECK_OK(ml_tensor_init_zeros(&ids, ML_INDEX, &square, &err), &err);
  CHECK_FAIL(ml_tensor_matmul(&y, &a, &b, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [3x4] and f64 [5x6]");
  CHECK_FAIL(ml_tensor_matmul(&y, &batch, &other, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "[2x3x4]");
  CHECK_FAIL(ml_tensor_matmul(&y, &a, &f, &err), ML_EDTYPE);
  CHECK_HAS(err.message, "f64 [3x4] and f32 [4x6]");
  CHECK_FAIL(ml_tensor_matmul(&y, &a, &ids, &err), ML_EDTYPE);
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_tensor_matmul(&y, &scalar, &a, &err), ML_ESHAPE);
  CHECK_EQ(err.arg, 1);
  CHECK_FAIL(ml_tensor_matmul(&y, &y, &a, &err), ML_ESTATE);
  CHECK(ml_tensor_empty(&y));
  ml_cancel();
  CHECK_FAIL(ml_tensor_matmul(&y, &batch, &ids, &err), ML_EDTYPE);
  ml_tensor square_b = normal(ML_F64, square, &g);
  CHECK_FAIL(ml_tensor_matmul(&y, &batch, &square_b, &err), ML_ECANCELLED);
  ml_cancel_clear();
  CHECK(ml_tensor_empty(&y));
  CHECK_ALLOC_SWEEP(ml_tensor_matmul(&y, &batch, &square_b, &err), ml_tensor_clear(&y));
  ml_tensor apart = {0};
  ml_slice s[3] = {{0, 2, 1, false}, {0, 2, 2, false}, {0, 2, 2, false}};
  CHECK_OK(ml_view_slice(&apart, &other, s, 3, &err), &err);
  CHECK_ALLOC_SWEEP(ml_tensor_matmul(&y, &apart, &apart, &err), ml_tensor_clear(&y));
  ml_tensor_clear(&a), ml_tensor_clear(&b), ml_tensor_clear(&f), ml_tensor_clear(&scalar),
      ml_tensor_clear(&ids);
  ml_tensor_clear(&batch), ml_tensor_clear(&other), ml_tensor_clear(&square_b),
      ml_tensor_clear(&apart);
}

CHECK_MAIN(test_shapes, test_views, test_errors)
