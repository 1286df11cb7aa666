/* Elementwise operations on random views, broadcast, against one number at a time. */
#include "tensors.h"

static uint64_t state = 0x243f6a8885a308d3u;

static double apply(ml_binary_op op, double x, double y) {
  switch ((int)op) {
  case ML_ADD:
    return x + y;
  case ML_SUB:
    return x - y;
  case ML_MUL:
    return x * y;
  case ML_DIV:
    return x / y;
  case ML_POW:
    return pow(x, y);
  case ML_MAXIMUM:
    return isnan(x) ? x : isnan(y) ? y : x > y ? x : y;
  case ML_MINIMUM:
    return isnan(x) ? x : isnan(y) ? y : x < y ? x : y;
  case ML_ATAN2:
    return atan2(x, y);
  case ML_LT:
    return x < y;
  case ML_LE:
    return x <= y;
  case ML_GT:
    return x > y;
  case ML_GE:
    return x >= y;
  case ML_EQ:
    return x == y;
  case ML_NE:
    return x != y;
  case ML_AND:
    return x != 0 && y != 0;
  case ML_OR:
    return x != 0 || y != 0;
  default:
    return (x != 0) != (y != 0);
  }
}

static bool takes(ml_binary_op op, ml_dtype dtype) {
  if (op >= ML_AND)
    return dtype == ML_U8;
  return op >= ML_LT || ml_is_real(dtype);
}

/* Two shapes that broadcast, and their common one. */
static void broadcasting_shapes(ml_shape *a, ml_shape *b, ml_shape *both) {
  *both = random_shape(&state, 4, next(&state) % 9 ? 1 : 0, next(&state) % 5 ? 4 : 30);
  *a = *b = *both;
  for (int side = 0; side < 2; side++) {
    ml_shape *s = side ? a : b;
    int drop = next(&state) % 2 ? 0 : (int)pick(&state, 0, s->rank);
    s->rank -= drop;
    for (int k = 0; k < s->rank; k++) {
      s->size[k] = both->size[k + drop];
      if (next(&state) % 4 == 0)
        s->size[k] = 1;
    }
  }
  ml_error err;
  CHECK_OK(ml_broadcast_shape(both, a, b, &err), &err);
}

static void test_binary(void) {
  ml_error err;
  for (int round = 0; round < 3000; round++) {
    ml_binary_op op = (ml_binary_op)pick(&state, 0, ML_BINARY_COUNT - 1);
    ml_dtype dtype = (ml_dtype)pick(&state, 0, 3);
    ml_shape sa, sb, shape;
    broadcasting_shapes(&sa, &sb, &shape);
    ml_tensor a = random_view(&state, dtype, &sa), b = random_view(&state, dtype, &sb), c = {0};
    if (!takes(op, dtype)) {
      CHECK_FAIL(ml_tensor_binary(&c, op, &a, &b, &err), ML_EDTYPE);
    } else {
      CHECK_OK(ml_tensor_binary(&c, op, &a, &b, &err), &err);
      ml_shape got = ml_shape_of(&c);
      CHECK(ml_shape_equal(&got, &shape));
      CHECK_EQ(c.dtype, op >= ML_LT ? ML_U8 : dtype);
      int64_t n = ml_numel(&c);
      double tolerance = op >= ML_LT                      ? 0
                         : op == ML_POW || op == ML_ATAN2 ? 4 * eps_of(dtype)
                                                          : eps_of(dtype);
      for (int64_t i = 0; i < n && i < 500; i++) {
        double want = apply(op, broadcast_at(&a, &shape, i), broadcast_at(&b, &shape, i));
        CHECK_CLOSE(at(&c, i), want, tolerance);
      }
    }
    ml_tensor_clear(&a);
    ml_tensor_clear(&b);
    ml_tensor_clear(&c);
  }
}

static void test_numbers(void) {
  ml_error err;
  const double numbers[] = {2, 0.5, -1, 3, 1, 0, -2.5};
  for (int round = 0; round < 1000; round++) {
    ml_binary_op op = (ml_binary_op)pick(&state, 0, ML_NE);
    ml_dtype dtype = (ml_dtype)pick(&state, 0, 3);
    if (!takes(op, dtype))
      continue;
    bool reverse = next(&state) % 2;
    double x = numbers[pick(&state, 0, 6)];
    ml_shape shape = random_shape(&state, 3, 1, 9);
    ml_tensor t = random_view(&state, dtype, &shape), c = {0};
    CHECK_OK(ml_tensor_binary_number(&c, op, &t, x, reverse, &err), &err);
    for (int64_t i = 0; i < ml_numel(&t); i++) {
      double v = at(&t, i);
      CHECK_CLOSE(at(&c, i), reverse ? apply(op, x, v) : apply(op, v, x),
                  op >= ML_LT ? 0 : 4 * eps_of(dtype));
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&c);
  }
  /* roots of the edges, as pow has them */
  ml_tensor t = VECTOR(ML_F64, -0.0, -(double)INFINITY, -1, 4, (double)NAN), c = {0};
  CHECK_OK(ml_tensor_binary_number(&c, ML_POW, &t, 0.5, false, &err), &err);
  for (int i = 0; i < 5; i++)
    CHECK_CLOSE(at(&c, i), pow(at(&t, i), 0.5), 0);
  CHECK(!signbit(at(&c, 0)));
  ml_tensor_clear(&c);
  CHECK_OK(ml_tensor_binary_number(&c, ML_POW, &t, 0, false, &err), &err);
  for (int i = 0; i < 5; i++)
    CHECK_CLOSE(at(&c, i), 1, 0);
  ml_tensor_clear(&c);
  ml_tensor_clear(&t);
}

static void test_nan_wins(void) {
  ml_error err;
  const double nan = (double)NAN;
  for (int dtype = ML_F64; dtype <= ML_F32; dtype++) {
    ml_tensor a = VECTOR((ml_dtype)dtype, nan, 1, nan, 2, 2),
              b = VECTOR((ml_dtype)dtype, 1, nan, nan, 1, 3), c = {0};
    CHECK_OK(ml_tensor_binary(&c, ML_MAXIMUM, &a, &b, &err), &err);
    for (int i = 0; i < 5; i++)
      CHECK(i < 3 ? isnan(at(&c, i)) : at(&c, i) == i - 1);
    ml_tensor_clear(&c);
    CHECK_OK(ml_tensor_binary(&c, ML_MINIMUM, &a, &b, &err), &err);
    for (int i = 0; i < 5; i++)
      CHECK(i < 3 ? isnan(at(&c, i)) : at(&c, i) == i - 2);
    ml_tensor_clear(&c);
    CHECK_OK(ml_tensor_clamp(&c, &a, -1, 1.5, &err), &err);
    CHECK(isnan(at(&c, 0)) && at(&c, 3) == 1.5 && at(&c, 1) == 1);
    ml_tensor_clear(&c);
    CHECK_FAIL(ml_tensor_clamp(&c, &a, 1, nan, &err), ML_EARG);
    ml_tensor_clear(&a);
    ml_tensor_clear(&b);
  }
}

static void test_unary_on_views(void) {
  ml_error err;
  for (int round = 0; round < 600; round++) {
    ml_unary_op op = (ml_unary_op)pick(&state, 0, ML_ISFINITE);
    ml_dtype dtype = round % 2 ? ML_F32 : ML_F64;
    ml_shape shape = random_shape(&state, 3, 0, round % 20 ? 6 : 60);
    ml_tensor t = random_view(&state, dtype, &shape), g = random_view(&state, dtype, &shape),
              dense = {0}, dense_g = {0}, a = {0}, b = {0};
    CHECK_OK(ml_tensor_clone(&dense, &t, &err), &err);
    CHECK_OK(ml_tensor_clone(&dense_g, &g, &err), &err);
    CHECK_OK(ml_tensor_unary(&a, op, &t, &err), &err);
    CHECK_OK(ml_tensor_unary(&b, op, &dense, &err), &err);
    CHECK(ml_tensor_equal(&a, &b)); /* the same bytes, whatever the strides */
    if (op <= ML_GELU_ERF && op != ML_SIGN) {
      ml_tensor_clear(&a);
      ml_tensor_clear(&b);
      CHECK_OK(ml_tensor_unary_grad(&a, op, &t, &g, &err), &err);
      CHECK_OK(ml_tensor_unary_grad(&b, op, &dense, &dense_g, &err), &err);
      CHECK(ml_tensor_equal(&a, &b));
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&g);
    ml_tensor_clear(&dense);
    ml_tensor_clear(&dense_g);
    ml_tensor_clear(&a);
    ml_tensor_clear(&b);
  }
  ml_tensor u = VECTOR(ML_U8, 0, 1, 7), i = VECTOR(ML_INDEX, 0, 1), c = {0};
  CHECK_OK(ml_tensor_unary(&c, ML_NOT, &u, &err), &err);
  CHECK(at(&c, 0) == 1 && at(&c, 1) == 0 && at(&c, 2) == 0);
  ml_tensor_clear(&c);
  CHECK_OK(ml_tensor_unary(&c, ML_ISFINITE, &i, &err), &err);
  CHECK(at(&c, 0) == 1);
  ml_tensor_clear(&c);
  CHECK_FAIL(ml_tensor_unary(&c, ML_NEG, &i, &err), ML_EDTYPE);
  CHECK_HAS(err.message, "neg wants f64 or f32, got index [2]");
  CHECK_FAIL(ml_tensor_unary(&c, ML_NOT, &i, &err), ML_EDTYPE);
  ml_tensor_clear(&u);
  ml_tensor_clear(&i);
}

static void test_in_place(void) {
  ml_error err;
  for (int round = 0; round < 500; round++) {
    ml_binary_op op = (ml_binary_op)pick(&state, ML_ADD, ML_DIV);
    ml_dtype dtype = round % 2 ? ML_F32 : ML_F64;
    ml_shape shape = random_shape(&state, 3, 1, 8), from = shape;
    for (int k = 0; k < from.rank; k++)
      if (next(&state) % 4 == 0)
        from.size[k] = 1;
    ml_tensor t = random_tensor(&state, dtype, &shape), before = {0}, view = {0};
    ml_tensor src = random_view(&state, dtype, &from);
    int axes[3] = {2, 0, 1};
    ml_shape turned = shape;
    if (shape.rank == 3 && next(&state) % 2) {
      CHECK_OK(ml_view_permute(&view, &t, axes, &err), &err);
      turned = ml_shape_of(&view);
      from = turned;
      ml_tensor_clear(&src);
      src = random_view(&state, dtype, &from);
    } else {
      ml_tensor_detach(&view, &t);
    }
    CHECK_OK(ml_tensor_clone(&before, &view, &err), &err);
    uint64_t version = t.storage->version;
    CHECK_OK(ml_tensor_binary_into(&view, op, &src, &err), &err);
    CHECK(t.storage->version > version);
    for (int64_t i = 0; i < ml_numel(&view); i++)
      CHECK_CLOSE(at(&view, i), apply(op, at(&before, i), broadcast_at(&src, &turned, i)),
                  eps_of(dtype));
    CHECK_OK(ml_tensor_copy_into(&view, &before, &err), &err);
    CHECK_OK(ml_tensor_binary_number_into(&view, op, 0.75, &err), &err);
    for (int64_t i = 0; i < ml_numel(&view); i++)
      CHECK_CLOSE(at(&view, i), apply(op, at(&before, i), 0.75), eps_of(dtype));
    ml_tensor whole = random_view(&state, dtype, &turned);
    CHECK_OK(ml_tensor_copy_into(&view, &before, &err), &err);
    CHECK_OK(ml_tensor_axpy_into(&view, -0.5, &whole, &err), &err);
    for (int64_t i = 0; i < ml_numel(&view); i++)
      CHECK_NEAR(at(&view, i), at(&before, i) - 0.5 * at(&whole, i), 2 * eps_of(dtype),
                 4 * eps_of(dtype));
    ml_tensor_clear(&whole);
    ml_tensor_clear(&t);
    ml_tensor_clear(&view);
    ml_tensor_clear(&before);
    ml_tensor_clear(&src);
  }
  /* src overlaps dst */
  ml_tensor t = VECTOR(ML_F64, 1, 2, 3, 4), a = {0}, b = {0};
  CHECK_OK(ml_view_narrow(&a, &t, 0, 1, 3, &err), &err);
  CHECK_OK(ml_view_narrow(&b, &t, 0, 0, 3, &err), &err);
  CHECK_OK(ml_tensor_binary_into(&a, ML_ADD, &b, &err), &err);
  const double want[] = {1, 3, 5, 7};
  for (int i = 0; i < 4; i++)
    CHECK_CLOSE(at(&t, i), want[i], 0);
  CHECK_OK(ml_tensor_binary_into(&t, ML_MUL, &t, &err), &err);
  CHECK_CLOSE(at(&t, 3), 49, 0);
  CHECK_FAIL(ml_tensor_binary_into(&a, ML_POW, &b, &err), ML_EARG);
  ml_tensor i = VECTOR(ML_INDEX, 1, 2, 3, 4);
  CHECK_FAIL(ml_tensor_binary_into(&i, ML_ADD, &i, &err), ML_EDTYPE);
  CHECK_FAIL(ml_tensor_binary_into(&t, ML_ADD, &i, &err), ML_EDTYPE);
  CHECK_FAIL(ml_tensor_binary_into(&a, ML_ADD, &t, &err), ML_ESHAPE);
  CHECK_FAIL(ml_tensor_axpy_into(&a, 1, &t, &err), ML_ESHAPE);
  ml_tensor_clear(&i);
  ml_tensor_clear(&t);
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
}

static void test_where(void) {
  ml_error err;
  for (int round = 0; round < 400; round++) {
    ml_dtype dtype = (ml_dtype)(round % 4);
    ml_shape sa, sb, sc, both, shape;
    broadcasting_shapes(&sa, &sb, &both);
    sc = both;
    for (int k = 0; k < sc.rank; k++)
      if (next(&state) % 3 == 0)
        sc.size[k] = 1;
    CHECK_OK(ml_broadcast_shape(&shape, &both, &sc, &err), &err);
    ml_tensor a = random_view(&state, dtype, &sa), b = random_view(&state, dtype, &sb),
              c = random_view(&state, ML_U8, &sc), out = {0};
    CHECK_OK(ml_tensor_where(&out, &c, &a, &b, &err), &err);
    int64_t n = ml_numel(&out);
    CHECK_EQ(n, ml_shape_numel(&shape));
    for (int64_t i = 0; i < n && i < 500; i++)
      CHECK_CLOSE(at(&out, i),
                  broadcast_at(&c, &shape, i) != 0 ? broadcast_at(&a, &shape, i)
                                                   : broadcast_at(&b, &shape, i),
                  0);
    ml_tensor_clear(&a);
    ml_tensor_clear(&b);
    ml_tensor_clear(&c);
    ml_tensor_clear(&out);
  }
}

static void test_errors(void) {
  ml_error err;
  ml_shape s23 = ml_shape_make(2, (int64_t)2, (int64_t)3), s2 = ml_shape_make(1, (int64_t)2);
  ml_tensor a = random_tensor(&state, ML_F64, &s23), b = random_tensor(&state, ML_F64, &s2),
            f = random_tensor(&state, ML_F32, &s23), out = {0};
  CHECK_FAIL(ml_tensor_binary(&out, ML_ADD, &a, &b, &err), ML_ESHAPE);
  CHECK_STRING(err.message, "add: shapes disagree: f64 [2x3] and f64 [2]");
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_tensor_binary(&out, ML_MUL, &a, &f, &err), ML_EDTYPE);
  CHECK_STRING(err.message, "mul: dtypes disagree: f64 [2x3] and f32 [2x3]");
  CHECK_FAIL(ml_tensor_where(&out, &a, &a, &a, &err), ML_EDTYPE);
  CHECK(ml_tensor_empty(&out));
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  ml_tensor_clear(&f);
}

static void test_equal_and_close(void) {
  ml_error err;
  const double nan = (double)NAN, inf = (double)INFINITY;
  ml_tensor a = VECTOR(ML_F64, 1, nan, inf), b = VECTOR(ML_F64, 1 + 1e-9, nan, inf),
            c = VECTOR(ML_F64, 1, nan, -inf), f = VECTOR(ML_F32, 1, nan, inf),
            one = VECTOR(ML_F64, 1);
  bool close;
  CHECK(ml_tensor_equal(&a, &a));
  CHECK(!ml_tensor_equal(&a, &b) && !ml_tensor_equal(&a, &f) && !ml_tensor_equal(&a, &one));
  CHECK_OK(ml_tensor_allclose(&close, &a, &b, 1e-8, 0, true, &err), &err);
  CHECK(close);
  CHECK_OK(ml_tensor_allclose(&close, &a, &b, 1e-10, 0, true, &err), &err);
  CHECK(!close);
  CHECK_OK(ml_tensor_allclose(&close, &a, &b, 1e-8, 0, false, &err), &err);
  CHECK(!close);
  CHECK_OK(ml_tensor_allclose(&close, &a, &c, 1, 1, true, &err), &err);
  CHECK(!close);
  CHECK_FAIL(ml_tensor_allclose(&close, &a, &b, nan, 0, false, &err), ML_EARG);
  CHECK_FAIL(ml_tensor_allclose(&close, &a, &f, 1, 0, false, &err), ML_EDTYPE);
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  ml_tensor_clear(&c);
  ml_tensor_clear(&f);
  ml_tensor_clear(&one);
}

CHECK_MAIN(test_binary, test_numbers, test_nan_wins, test_unary_on_views, test_in_place, test_where,
           test_errors, test_equal_and_close)
