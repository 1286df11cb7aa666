/* Life, description, views and copies: random views against positions computed one by one. */
#include "tensors.h"

static uint64_t state = 0x9e3779b97f4a7c15u;

static void test_life(void) {
  ml_error err;
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)4);
  ml_tensor a = {0}, b = {0}, c = {0};
  uint64_t live = ml_live_bytes();
  CHECK_OK(ml_tensor_init_zeros(&a, ML_F32, &shape, &err), &err);
  CHECK(ml_live_bytes() > live);
  CHECK_EQ(ml_numel(&a), 12);
  CHECK_EQ((uintptr_t)ml_data(&a) % 64, 0);
  CHECK_CLOSE(at(&a, 11), 0, 0);
  ml_tensor_alias(&b, &a);
  CHECK_EQ(a.storage->refs, 2);
  ml_tensor_clear(&a);
  ml_tensor_clear(&a); /* idempotent */
  CHECK(ml_tensor_empty(&a));
  ml_tensor_move(&c, &b);
  CHECK(ml_tensor_empty(&b));
  CHECK_EQ(c.storage->refs, 1);
  CHECK_OK(ml_tensor_fill_into(&c, 2.5, &err), &err);
  CHECK_EQ(c.storage->version, 1);
  CHECK_CLOSE(at(&c, 7), 2.5, 0);
  ml_tensor_clear(&c);
  CHECK_EQ(ml_live_bytes(), live);
}

static void test_description(void) {
  char text[ML_DESCRIBE];
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)4), scalar = {0};
  ml_tensor t = random_tensor(&state, ML_F64, &shape), s = random_tensor(&state, ML_INDEX, &scalar);
  CHECK_STRING(ml_describe(text, &t), "f64 [3x4]");
  CHECK_STRING(ml_describe(text, &s), "index []");
  ml_tensor_clear(&t);
  ml_tensor_clear(&s);
  CHECK_STRING(ml_describe(text, &t), "a released tensor");
  ml_shape huge = {.rank = 8};
  for (int k = 0; k < 8; k++)
    huge.size[k] = INT64_MAX;
  CHECK(strlen(ml_describe_shape(text, &huge)) < ML_DESCRIBE);
  ml_dtype dtype;
  CHECK(ml_dtype_parse(&dtype, "u8") && dtype == ML_U8);
  CHECK(!ml_dtype_parse(&dtype, "f16"));
}

static void test_sizes_that_cannot_be(void) {
  ml_error err;
  ml_tensor t = {0};
  ml_shape huge = ml_shape_make(3, (int64_t)1 << 31, (int64_t)1 << 31, (int64_t)4),
           negative = ml_shape_make(1, (int64_t)-1),
           hidden = ml_shape_make(4, (int64_t)0, (int64_t)1 << 31, (int64_t)1 << 31, (int64_t)4),
           wide = ml_shape_make(1, (int64_t)1 << 60), deep = {.rank = 9};
  CHECK_EQ(ml_shape_numel(&huge), -1);
  CHECK_EQ(ml_shape_numel(&negative), -1);
  CHECK_EQ(ml_shape_numel(&hidden), -1);
  CHECK_FAIL(ml_tensor_init(&t, ML_U8, &huge, &err), ML_EARG);
  CHECK_HAS(err.message, "more elements");
  CHECK_FAIL(ml_tensor_init(&t, ML_U8, &negative, &err), ML_EARG);
  CHECK_HAS(err.message, "negative");
  CHECK_FAIL(ml_tensor_init(&t, ML_F64, &wide, &err), ML_EARG); /* the bytes overflow */
  CHECK_FAIL(ml_tensor_init(&t, ML_U8, &deep, &err), ML_ESHAPE);
  ml_shape large = ml_shape_make(1, (int64_t)1 << 50);
  CHECK_FAIL(ml_tensor_init(&t, ML_U8, &large, &err), ML_ENOMEM);
  CHECK_HAS(err.message, "u8 [1125899906842624]");
  CHECK(ml_tensor_empty(&t));
}

/* Random slices, checked element by element. */
static void test_slices(void) {
  ml_error err;
  for (int round = 0; round < 300; round++) {
    ml_shape shape = random_shape(&state, 4, 1, 5);
    ml_tensor t = random_tensor(&state, ML_F64, &shape), v = {0};
    ml_slice s[ML_MAX_RANK];
    int n = (int)pick(&state, 0, shape.rank);
    for (int k = 0; k < n; k++) {
      int64_t start = pick(&state, 0, shape.size[k] - 1), step = pick(&state, 1, 2),
              count = pick(&state, 0, (shape.size[k] - 1 - start) / step + 1);
      s[k] = (ml_slice){start, count, step, count == 1 && next(&state) % 2};
      if (next(&state) % 3 == 0)
        s[k] = (ml_slice){start, start / step + 1, -step, false};
    }
    CHECK_OK(ml_view_slice(&v, &t, s, n, &err), &err);
    int64_t count = ml_numel(&v);
    ml_shape got = ml_shape_of(&v);
    for (int64_t i = 0; i < count; i++) {
      int64_t p[ML_MAX_RANK], q[ML_MAX_RANK];
      unravel(p, &got, i);
      int from = 0;
      for (int k = 0; k < shape.rank; k++) {
        int64_t j = k < n && s[k].drop ? 0 : p[from++];
        q[k] = k < n ? s[k].start + j * s[k].step : j;
      }
      CHECK_CLOSE(at(&v, i), ml_tensor_get(&t, q), 0);
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&v);
  }
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)4);
  ml_tensor t = random_tensor(&state, ML_F64, &shape), v = {0};
  const ml_slice bad[] = {{3, 1, 1, true},          {0, 4, 1, false},  {2, 3, -2, false},
                          {0, 2, INT64_MAX, false}, {-1, 1, 1, false}, {0, 2, 1, true}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK_FAIL(ml_view_slice(&v, &t, &bad[i], 1, &err), ML_EARG);
  CHECK_FAIL(ml_view_slice(&v, &t, bad, 3, &err), ML_EARG);
  CHECK_HAS(err.message, "f64 [3x4]");
  ml_tensor_clear(&t);
}

/* Reshaping any view gives the same elements in row-major order; a view only when strides allow it.
 */
static void test_reshape(void) {
  ml_error err;
  for (int round = 0; round < 500; round++) {
    ml_shape shape = random_shape(&state, 4, 1, 4);
    ml_tensor t = random_view(&state, ML_F32, &shape), v = {0};
    int64_t n = ml_numel(&t), left = n;
    ml_shape to = {0};
    while (left > 1 || to.rank == 0) {
      int64_t d = 1;
      for (int64_t f = pick(&state, 1, left); f > 1; f--)
        if (left % f == 0) {
          d = f;
          break;
        }
      if (to.rank == 6)
        d = left;
      to.size[to.rank++] = d;
      left /= d;
    }
    ml_shape open = to;
    if (next(&state) % 2)
      open.size[pick(&state, 0, to.rank - 1)] = -1;
    CHECK_OK(ml_view_reshape(&v, &t, &open, &err), &err);
    ml_shape got = ml_shape_of(&v);
    CHECK(ml_shape_equal(&got, &to));
    for (int64_t i = 0; i < n; i++)
      CHECK_CLOSE(at(&v, i), at(&t, i), 0);
    if (ml_is_contiguous(&t))
      CHECK(v.storage == t.storage);
    ml_tensor_clear(&t);
    ml_tensor_clear(&v);
  }
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)4), bad = ml_shape_make(1, (int64_t)5),
           open = ml_shape_make(2, (int64_t)-1, (int64_t)-1),
           none = ml_shape_make(2, (int64_t)0, (int64_t)-1),
           empty = ml_shape_make(2, (int64_t)0, (int64_t)3),
           flat = ml_shape_make(2, (int64_t)5, (int64_t)-1);
  ml_tensor t = random_tensor(&state, ML_F64, &shape), v = {0},
            e = random_tensor(&state, ML_F64, &empty);
  CHECK_FAIL(ml_view_reshape(&v, &t, &bad, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [3x4]");
  CHECK_FAIL(ml_view_reshape(&v, &t, &open, &err), ML_ESHAPE);
  CHECK_FAIL(ml_view_reshape(&v, &t, &none, &err), ML_ESHAPE);
  CHECK_FAIL(ml_view_reshape(&v, &e, &none, &err), ML_ESHAPE);
  CHECK_OK(ml_view_reshape(&v, &e, &flat, &err), &err);
  CHECK_EQ(v.size[1], 0);
  ml_tensor_clear(&v);
  ml_tensor_clear(&e);
  ml_tensor_clear(&t);
}

static void test_axes(void) {
  ml_error err;
  ml_shape shape = ml_shape_make(3, (int64_t)2, (int64_t)1, (int64_t)3);
  ml_tensor t = random_tensor(&state, ML_F64, &shape), v = {0}, w = {0};
  CHECK_OK(ml_view_transpose(&v, &t, 0, 2, &err), &err);
  CHECK_EQ(v.size[0], 3);
  CHECK_CLOSE(ml_tensor_get(&v, (int64_t[]){2, 0, 1}), ml_tensor_get(&t, (int64_t[]){1, 0, 2}), 0);
  CHECK_FAIL(ml_view_transpose(&w, &t, 0, 3, &err), ML_EARG);
  CHECK_FAIL(ml_view_permute(&w, &t, (int[]){0, 0, 1}, &err), ML_EARG);
  ml_tensor_clear(&v);
  CHECK_OK(ml_view_squeeze(&v, &t, -1, &err), &err);
  CHECK_EQ(v.rank, 2);
  ml_tensor_clear(&v);
  CHECK_FAIL(ml_view_squeeze(&v, &t, 0, &err), ML_ESHAPE);
  CHECK_OK(ml_view_unsqueeze(&v, &t, 3, &err), &err);
  CHECK_EQ(v.size[3], 1);
  CHECK(ml_is_contiguous(&v));
  ml_tensor_clear(&v);
  ml_shape wide = ml_shape_make(4, (int64_t)5, (int64_t)2, (int64_t)4, (int64_t)3),
           wrong = ml_shape_make(3, (int64_t)2, (int64_t)4, (int64_t)2);
  CHECK_OK(ml_view_broadcast(&v, &t, &wide, &err), &err);
  CHECK_CLOSE(ml_tensor_get(&v, (int64_t[]){4, 1, 3, 2}), ml_tensor_get(&t, (int64_t[]){1, 0, 2}),
              0);
  CHECK_FAIL(ml_tensor_copy_into(&v, &t, &err), ML_EARG); /* elements that share memory */
  ml_tensor_clear(&v);
  CHECK_FAIL(ml_view_broadcast(&v, &t, &wrong, &err), ML_ESHAPE);
  ml_tensor_clear(&t);
}

static void test_copies(void) {
  ml_error err;
  const ml_dtype dtypes[] = {ML_F64, ML_F32, ML_INDEX, ML_U8};
  for (int round = 0; round < 400; round++) {
    ml_dtype dtype = dtypes[round % 4];
    ml_shape shape = random_shape(&state, 4, round % 10 ? 1 : 0, round % 7 ? 5 : 40);
    ml_tensor t = random_view(&state, dtype, &shape), c = {0}, d = {0};
    CHECK_OK(ml_tensor_contiguous(&c, &t, &err), &err);
    CHECK_OK(ml_tensor_clone(&d, &t, &err), &err);
    CHECK(ml_is_contiguous(&c) && ml_is_contiguous(&d) && d.storage != t.storage);
    CHECK(ml_tensor_equal(&t, &c) && ml_tensor_equal(&t, &d));
    int64_t n = ml_numel(&t);
    for (int64_t i = 0; i < n && i < 200; i++)
      CHECK_CLOSE(at(&d, i), at(&t, i), 0);
    ml_dtype to = dtypes[pick(&state, 0, 3)];
    ml_tensor pos = {0}, cast = {0};
    if (ml_is_real(dtype) && !ml_is_real(to))
      CHECK_OK(ml_tensor_binary_number(&pos, ML_MUL, &t, 0, false, &err), &err);
    CHECK_OK(ml_tensor_cast(&cast, ml_tensor_empty(&pos) ? &t : &pos, to, &err), &err);
    for (int64_t i = 0; i < n && i < 200; i++)
      CHECK_CLOSE(at(&cast, i),
                  to == ML_F32                           ? (double)(float)at(&t, i)
                  : !ml_is_real(to) && ml_is_real(dtype) ? 0
                                                         : at(&t, i),
                  0);
    ml_tensor_clear(&cast);
    ml_tensor_clear(&pos);
    ml_tensor_clear(&t);
    ml_tensor_clear(&c);
    ml_tensor_clear(&d);
  }
}

/* copy_into a random view of a larger tensor; what lies outside stays. */
static void test_copy_into(void) {
  ml_error err;
  for (int round = 0; round < 200; round++) {
    ml_shape shape = random_shape(&state, 3, 1, 5), room = shape;
    ml_slice s[ML_MAX_RANK];
    for (int k = 0; k < shape.rank; k++) {
      room.size[k] = shape.size[k] * 2;
      s[k] = (ml_slice){next(&state) % 2, shape.size[k], 2, false};
    }
    ml_tensor big = random_tensor(&state, ML_F32, &room), view = {0}, before = {0};
    ml_tensor src = random_view(&state, ML_F32, &shape);
    CHECK_OK(ml_tensor_clone(&before, &big, &err), &err);
    CHECK_OK(ml_view_slice(&view, &big, s, shape.rank, &err), &err);
    CHECK_OK(ml_tensor_copy_into(&view, &src, &err), &err);
    CHECK(ml_tensor_equal(&view, &src));
    int64_t differ = 0;
    for (int64_t i = 0; i < ml_numel(&big); i++)
      differ += at(&big, i) != at(&before, i);
    CHECK(differ <= ml_numel(&view));
    CHECK(big.storage->version > 0);
    ml_tensor_clear(&big);
    ml_tensor_clear(&view);
    ml_tensor_clear(&before);
    ml_tensor_clear(&src);
  }
  /* overlap: shifted by one within one storage */
  ml_tensor t = VECTOR(ML_F64, 1, 2, 3, 4, 5), a = {0}, b = {0};
  CHECK_OK(ml_view_narrow(&a, &t, 0, 1, 4, &err), &err);
  CHECK_OK(ml_view_narrow(&b, &t, 0, 0, 4, &err), &err);
  CHECK_OK(ml_tensor_copy_into(&a, &b, &err), &err);
  for (int i = 0; i < 5; i++)
    CHECK_CLOSE(at(&t, i), i == 0 ? 1 : i, 0);
  ml_tensor f = VECTOR(ML_F32, 1), two = VECTOR(ML_F64, 1, 2);
  CHECK_FAIL(ml_tensor_copy_into(&t, &f, &err), ML_EDTYPE);
  CHECK_FAIL(ml_tensor_copy_into(&t, &two, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [5] cannot take f64 [2]");
  ml_tensor_clear(&t);
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  ml_tensor_clear(&f);
  ml_tensor_clear(&two);
}

static void test_cast_refuses(void) {
  ml_error err;
  ml_tensor out = {0};
  const double bad[] = {0.5, -1, (double)NAN, (double)INFINITY, 1e17};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ml_tensor t = VECTOR(ML_F64, 1, bad[i]);
    CHECK_FAIL(ml_tensor_cast(&out, &t, ML_INDEX, &err), ML_EARG);
    CHECK(ml_tensor_empty(&out));
    ml_tensor_clear(&t);
  }
  ml_tensor t = VECTOR(ML_F64, 1, 3, 256), u = VECTOR(ML_F32, 0, 255, 7.9),
            one = VECTOR(ML_F64, 1, 7);
  CHECK_FAIL(ml_tensor_cast(&out, &t, ML_U8, &err), ML_EARG);
  CHECK_HAS(err.message, "256");
  CHECK_OK(ml_tensor_cast(&out, &u, ML_U8, &err), &err);
  CHECK_CLOSE(at(&out, 2), 7, 0);
  ml_tensor_clear(&out);
  /* positions as Lua reads them */
  CHECK_OK(ml_tensor_cast_one_based(&out, &one, ML_INDEX, &err), &err);
  CHECK_CLOSE(at(&out, 1), 6, 0);
  ml_tensor back = {0};
  CHECK_OK(ml_tensor_cast_one_based(&back, &out, ML_F64, &err), &err);
  CHECK(ml_tensor_equal(&back, &one));
  ml_tensor_clear(&out);
  CHECK_FAIL(ml_tensor_cast_one_based(&out, &u, ML_INDEX, &err), ML_EARG);
  CHECK_HAS(err.message, "from 1");
  ml_tensor_clear(&back);
  ml_tensor_clear(&t);
  ml_tensor_clear(&u);
  ml_tensor_clear(&one);
}

static void test_creation(void) {
  ml_error err;
  ml_tensor t = {0};
  CHECK_OK(ml_tensor_arange(&t, ML_F32, 1, 0.5, 4, &err), &err);
  CHECK_CLOSE(at(&t, 3), 2.5, 0);
  ml_tensor_clear(&t);
  CHECK_OK(ml_tensor_arange(&t, ML_INDEX, 5, -1, 6, &err), &err);
  CHECK_CLOSE(at(&t, 5), 0, 0);
  ml_tensor_clear(&t);
  CHECK_FAIL(ml_tensor_arange(&t, ML_INDEX, 5, -1, 7, &err), ML_EARG);
  CHECK_FAIL(ml_tensor_arange(&t, ML_F64, (double)NAN, 1, 3, &err), ML_EARG);
  CHECK_FAIL(ml_tensor_arange(&t, ML_F64, 0, 1, -1, &err), ML_EARG);
  CHECK_OK(ml_tensor_linspace(&t, ML_F64, -1, 0.3, 14, &err), &err);
  CHECK_CLOSE(at(&t, 13), 0.3, 0);
  CHECK_CLOSE(at(&t, 1), -0.9, 1e-15);
  ml_tensor_clear(&t);
  CHECK_OK(ml_tensor_linspace(&t, ML_F64, 7, 9, 1, &err), &err);
  CHECK_CLOSE(at(&t, 0), 7, 0);
  ml_tensor_clear(&t);
  CHECK_OK(ml_tensor_eye(&t, ML_F32, 3, 2, &err), &err);
  for (int i = 0; i < 6; i++)
    CHECK_CLOSE(at(&t, i), i == 0 || i == 3, 0);
  ml_tensor_clear(&t);
  CHECK_OK(ml_tensor_eye(&t, ML_F32, 0, 2, &err), &err);
  ml_tensor_clear(&t);
}

CHECK_MAIN(test_life, test_description, test_sizes_that_cannot_be, test_slices, test_reshape,
           test_axes, test_copies, test_copy_into, test_cast_refuses, test_creation)
