/* Sorting, topk, gather, scatter, rows by position, joining, parts of matrices: against naive
 * loops. */
#include "tensors.h"

static uint64_t state = 0xa4093822299f31d0u;

/* before(a, b): a comes strictly before b; NaN is the largest. */
static bool before(double a, double b, bool descending) {
  if (isnan(a) || isnan(b))
    return isnan(a) != isnan(b) && isnan(a) == descending;
  return descending ? a > b : a < b;
}

static void check_sorted(const ml_tensor *t, const ml_tensor *values, const ml_tensor *indices,
                         int axis, bool descending, bool whole) {
  ml_shape shape = ml_shape_of(values);
  int64_t n = ml_numel(values);
  for (int64_t i = 0; i < n; i++) {
    int64_t p[ML_MAX_RANK] = {0};
    unravel(p, &shape, i);
    double v = at(values, i);
    int64_t here = p[axis], from = (int64_t)at(indices, i);
    p[axis] = from;
    CHECK_CLOSE(v, ml_tensor_get(t, p), 0);
    /* those before it in the result: smaller, or equal and earlier */
    int64_t rank = 0;
    for (p[axis] = 0; p[axis] < t->size[axis]; p[axis]++) {
      double u = ml_tensor_get(t, p);
      rank += before(u, v, descending) || (!before(v, u, descending) && p[axis] < from);
    }
    CHECK_EQ(rank, here);
  }
  CHECK(!whole || n == ml_numel(t));
}

static void test_sort(void) {
  ml_error err;
  for (int round = 0; round < 400; round++) {
    ml_dtype dtype = (ml_dtype)(round % 4);
    ml_shape shape = random_shape(&state, 3, 1, 8);
    if (shape.rank == 0)
      continue;
    int axis = (int)pick(&state, 0, shape.rank - 1);
    if (round % 13 == 0)
      shape = ml_shape_make(1, pick(&state, 500, 700));
    if (shape.rank == 1)
      axis = 0;
    ml_tensor t = random_view(&state, dtype, &shape), values = {0}, indices = {0};
    if (ml_is_real(dtype) && ml_is_contiguous(&t) && next(&state) % 2) {
      put(&t, pick(&state, 0, ml_numel(&t) - 1), (double)NAN);
      put(&t, pick(&state, 0, ml_numel(&t) - 1), -0.0);
      put(&t, pick(&state, 0, ml_numel(&t) - 1), -(double)INFINITY);
      put(&t, pick(&state, 0, ml_numel(&t) - 1), (double)INFINITY);
    }
    bool descending = next(&state) % 2;
    CHECK_OK(ml_tensor_sort(&values, &indices, &t, axis, descending, &err), &err);
    check_sorted(&t, &values, &indices, axis, descending, true);
    ml_tensor_clear(&values);
    ml_tensor_clear(&indices);
    int64_t k = pick(&state, 0, shape.size[axis]);
    if (next(&state) % 2)
      k = k < 3 ? k : 3;
    CHECK_OK(ml_tensor_topk(&values, &indices, &t, k, axis, &err), &err);
    CHECK_EQ(values.size[axis], k);
    check_sorted(&t, &values, &indices, axis, true, false);
    ml_tensor_clear(&values);
    ml_tensor_clear(&indices);
    ml_tensor_clear(&t);
  }
  ml_tensor t = VECTOR(ML_F64, 3, 1, 2), v = {0}, i = {0};
  CHECK_FAIL(ml_tensor_sort(&v, &i, &t, 1, false, &err), ML_EARG);
  CHECK_FAIL(ml_tensor_topk(&v, &i, &t, 4, 0, &err), ML_EARG);
  CHECK_HAS(err.message, "k is 4, wanted 0 to 3 for f64 [3]");
  CHECK_FAIL(ml_tensor_topk(&v, &i, &t, -1, 0, &err), ML_EARG);
  ml_tensor_clear(&t);
  ml_shape none = ml_shape_make(2, (int64_t)2, (int64_t)0);
  t = random_tensor(&state, ML_F32, &none);
  CHECK_OK(ml_tensor_sort(&v, &i, &t, 1, false, &err), &err);
  ml_tensor_clear(&v);
  ml_tensor_clear(&i);
  ml_tensor_clear(&t);
}

static ml_tensor random_ids(const ml_shape *shape, int64_t n) {
  ml_tensor ids = random_tensor(&state, ML_INDEX, shape);
  for (int64_t i = 0; i < ml_numel(&ids); i++)
    put(&ids, i, (double)pick(&state, 0, n - 1));
  return ids;
}

static void test_gather_and_scatter(void) {
  ml_error err;
  for (int round = 0; round < 500; round++) {
    ml_dtype dtype = (ml_dtype)(round % 4);
    ml_shape shape = random_shape(&state, 3, 1, 6);
    if (shape.rank == 0)
      continue;
    int axis = (int)pick(&state, 0, shape.rank - 1);
    ml_shape by = shape;
    for (int k = 0; k < by.rank; k++)
      by.size[k] = k == axis ? pick(&state, 0, 8) : pick(&state, 1, shape.size[k]);
    ml_tensor t = random_view(&state, dtype, &shape), ids = random_ids(&by, shape.size[axis]),
              src = random_view(&state, dtype, &by), out = {0}, want = {0};
    CHECK_OK(ml_tensor_gather(&out, &t, &ids, axis, &err), &err);
    int64_t n = ml_numel(&ids);
    CHECK_EQ(ml_numel(&out), n);
    for (int64_t i = 0; i < n; i++) {
      int64_t p[ML_MAX_RANK] = {0};
      unravel(p, &by, i);
      p[axis] = (int64_t)at(&ids, i);
      CHECK_CLOSE(at(&out, i), ml_tensor_get(&t, p), 0);
    }
    ml_tensor_clear(&out);
    bool add = ml_is_real(dtype) && next(&state) % 2;
    CHECK_OK(ml_tensor_clone(&want, &t, &err), &err);
    CHECK_OK(ml_tensor_scatter(&out, &t, &ids, &src, axis, add, &err), &err);
    for (int64_t i = 0; i < n; i++) {
      int64_t p[ML_MAX_RANK] = {0}, to = 0;
      unravel(p, &by, i);
      p[axis] = (int64_t)at(&ids, i);
      for (int k = 0; k < shape.rank; k++)
        to = to * shape.size[k] + p[k];
      put(&want, to, add ? at(&want, to) + at(&src, i) : at(&src, i));
    }
    CHECK(ml_tensor_equal(&out, &want));
    ml_tensor_clear(&t);
    ml_tensor_clear(&ids);
    ml_tensor_clear(&src);
    ml_tensor_clear(&out);
    ml_tensor_clear(&want);
  }
}

static void test_rows(void) {
  ml_error err;
  for (int round = 0; round < 400; round++) {
    ml_dtype dtype = (ml_dtype)(round % 4);
    ml_shape shape = random_shape(&state, 3, 1, round % 5 ? 5 : 70),
             by = random_shape(&state, 2, 0, 4);
    if (shape.rank == 0 || ml_shape_numel(&shape) > 5000)
      continue;
    int axis = (int)pick(&state, 0, shape.rank - 1);
    ml_tensor t = random_view(&state, dtype, &shape), ids = random_ids(&by, shape.size[axis]),
              out = {0};
    CHECK_OK(ml_tensor_index_select(&out, &t, &ids, axis, &err), &err);
    CHECK_EQ(out.rank, shape.rank - 1 + by.rank);
    ml_shape got = ml_shape_of(&out);
    int64_t n = ml_numel(&out);
    for (int64_t i = 0; i < n; i++) {
      int64_t p[ML_MAX_RANK] = {0}, q[ML_MAX_RANK] = {0}, id = 0;
      unravel(p, &got, i);
      for (int k = 0; k < by.rank; k++)
        id = id * by.size[k] + p[axis + k];
      for (int k = 0; k < shape.rank; k++)
        q[k] = k < axis ? p[k] : k == axis ? (int64_t)at(&ids, id) : p[k - 1 + by.rank];
      CHECK_CLOSE(at(&out, i), ml_tensor_get(&t, q), 0);
    }
    if (ml_is_real(dtype)) { /* <index_add(0, y), x> = <y, index_select(x)> */
      ml_tensor sum = {0};
      CHECK_OK(ml_tensor_clone(&sum, &t, &err), &err);
      CHECK_OK(ml_tensor_fill_into(&sum, 0, &err), &err);
      ml_tensor y = random_view(&state, dtype, &got);
      CHECK_OK(ml_tensor_index_add_into(&sum, &ids, &y, axis, &err), &err);
      double left = 0, right = 0;
      for (int64_t i = 0; i < ml_numel(&t); i++)
        left += at(&sum, i) * at(&t, i);
      for (int64_t i = 0; i < n; i++)
        right += at(&y, i) * at(&out, i);
      CHECK_NEAR(left, right, 1e-5, dtype == ML_F32 ? 1e-3 : 1e-11);
      /* into a view that is not dense */
      ml_tensor room = {0}, view = {0};
      ml_shape twice = shape;
      twice.size[shape.rank - 1] *= 2;
      ml_slice every[ML_MAX_RANK];
      for (int k = 0; k < shape.rank; k++)
        every[k] = (ml_slice){0, shape.size[k], k == shape.rank - 1 ? 2 : 1, false};
      CHECK_OK(ml_tensor_init_zeros(&room, dtype, &twice, &err), &err);
      CHECK_OK(ml_view_slice(&view, &room, every, shape.rank, &err), &err);
      CHECK_OK(ml_tensor_index_add_into(&view, &ids, &y, axis, &err), &err);
      CHECK(ml_tensor_equal(&view, &sum));
      ml_tensor_clear(&room);
      ml_tensor_clear(&view);
      ml_tensor_clear(&sum);
      ml_tensor_clear(&y);
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&ids);
    ml_tensor_clear(&out);
  }
}

static void test_ids_out_of_range(void) {
  ml_error err;
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)2);
  ml_tensor t = random_tensor(&state, ML_F32, &shape), out = {0};
  for (int k = 0; k < 2; k++) {
    ml_tensor ids = VECTOR(ML_INDEX, 0, 2, k ? 3 : -1), real = VECTOR(ML_F32, 0);
    CHECK_FAIL(ml_tensor_index_select(&out, &t, &ids, 0, &err), ML_EARG);
    CHECK_HAS(err.message, k ? "id 4 out of range, wanted 1 to 3" : "id 0 out of range");
    CHECK_FAIL(ml_tensor_one_hot(&out, &ids, 3, ML_F64, &err), ML_EARG);
    CHECK_FAIL(ml_tensor_index_select(&out, &t, &real, 0, &err), ML_EDTYPE);
    CHECK_FAIL(ml_tensor_index_select(&out, &t, &ids, 2, &err), ML_EARG);
    CHECK_FAIL(ml_tensor_gather(&out, &t, &ids, 0, &err), ML_ESHAPE);
    CHECK_FAIL(ml_tensor_index_add_into(&t, &ids, &t, 0, &err), ML_EARG);
    CHECK(ml_tensor_empty(&out));
    ml_tensor_clear(&ids);
    ml_tensor_clear(&real);
  }
  ml_tensor ids = VECTOR(ML_INDEX, 0, 2);
  CHECK_FAIL(ml_tensor_index_add_into(&t, &ids, &t, 0, &err), ML_ESHAPE);
  CHECK_FAIL(ml_tensor_scatter(&out, &t, &ids, &t, 0, false, &err), ML_ESHAPE);
  CHECK_OK(ml_tensor_one_hot(&out, &ids, 3, ML_U8, &err), &err);
  for (int i = 0; i < 6; i++)
    CHECK_CLOSE(at(&out, i), i == 0 || i == 5, 0);
  ml_tensor_clear(&out);
  CHECK_FAIL(ml_tensor_one_hot(&out, &ids, 3, ML_INDEX, &err), ML_EDTYPE);
  ml_tensor_clear(&ids);
  ml_tensor_clear(&t);
}

static void test_joining(void) {
  ml_error err;
  for (int round = 0; round < 300; round++) {
    ml_dtype dtype = (ml_dtype)(round % 4);
    ml_shape shape = random_shape(&state, 3, 1, 4);
    int n = (int)pick(&state, 1, 4), axis = shape.rank ? (int)pick(&state, 0, shape.rank - 1) : 0;
    ml_tensor parts[4], out = {0};
    const ml_tensor *list[4];
    for (int i = 0; i < n; i++) {
      ml_shape s = shape;
      if (s.rank)
        s.size[axis] = pick(&state, 0, 3);
      parts[i] = random_view(&state, dtype, &s);
      list[i] = &parts[i];
    }
    if (shape.rank == 0) {
      CHECK_FAIL(ml_tensor_concat(&out, list, n, 0, &err), ML_EARG);
    } else {
      CHECK_OK(ml_tensor_concat(&out, list, n, axis, &err), &err);
      int64_t from = 0;
      for (int i = 0; i < n; i++) {
        ml_tensor view = {0};
        CHECK_OK(ml_view_narrow(&view, &out, axis, from, parts[i].size[axis], &err), &err);
        CHECK(ml_tensor_equal(&view, &parts[i]));
        from += parts[i].size[axis];
        ml_tensor_clear(&view);
      }
      CHECK_EQ(from, out.size[axis]);
    }
    ml_tensor_clear(&out);
    for (int i = 0; i < n; i++) {
      ml_tensor_clear(&parts[i]);
      parts[i] = random_view(&state, dtype, &shape);
    }
    int where = (int)pick(&state, 0, shape.rank);
    CHECK_OK(ml_tensor_stack(&out, list, n, where, &err), &err);
    for (int i = 0; i < n; i++) {
      ml_tensor view = {0}, flat = {0};
      CHECK_OK(ml_view_narrow(&view, &out, where, i, 1, &err), &err);
      CHECK_OK(ml_view_squeeze(&flat, &view, where, &err), &err);
      CHECK(ml_tensor_equal(&flat, &parts[i]));
      ml_tensor_clear(&view);
      ml_tensor_clear(&flat);
      ml_tensor_clear(&parts[i]);
    }
    ml_tensor_clear(&out);
  }
  ml_tensor a = VECTOR(ML_F64, 1, 2), b = VECTOR(ML_F32, 1, 2), c = VECTOR(ML_F64, 1), out = {0};
  CHECK_FAIL(ml_tensor_concat(&out, (const ml_tensor *const[]){&a, &b}, 2, 0, &err), ML_EDTYPE);
  CHECK_FAIL(ml_tensor_stack(&out, (const ml_tensor *const[]){&a, &c}, 2, 0, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "f64 [2] and, at 2, f64 [1]");
  CHECK_FAIL(ml_tensor_concat(&out, NULL, 0, 0, &err), ML_EARG);
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  ml_tensor_clear(&c);
}

static void test_matrix_parts(void) {
  ml_error err;
  for (int round = 0; round < 200; round++) {
    ml_shape shape = ml_shape_make(3, pick(&state, 1, 2), pick(&state, 1, 5), pick(&state, 1, 5));
    ml_tensor t = random_view(&state, ML_F32, &shape), out = {0};
    int64_t diagonal = pick(&state, -7, 7);
    bool upper = next(&state) % 2;
    CHECK_OK(ml_tensor_tri(&out, &t, diagonal, upper, &err), &err);
    for (int64_t i = 0; i < ml_numel(&t); i++) {
      int64_t p[ML_MAX_RANK] = {0};
      unravel(p, &shape, i);
      bool keep = upper ? p[2] - p[1] >= diagonal : p[2] - p[1] <= diagonal;
      CHECK_CLOSE(at(&out, i), keep ? at(&t, i) : 0, 0);
    }
    ml_tensor_clear(&out);
    ml_tensor matrix = {0};
    CHECK_OK(ml_view_slice(&matrix, &t, (ml_slice[]){{0, 1, 1, true}}, 1, &err), &err);
    CHECK_OK(ml_tensor_diagonal(&out, &matrix, &err), &err);
    for (int64_t i = 0; i < out.size[0]; i++)
      CHECK_CLOSE(at(&out, i), ml_tensor_get(&matrix, (int64_t[]){i, i}), 0);
    ml_tensor_clear(&out);
    CHECK_FAIL(ml_tensor_diagonal(&out, &t, &err), ML_ESHAPE);
    ml_tensor_clear(&t);
    ml_tensor_clear(&matrix);
  }
}

CHECK_MAIN(test_sort, test_gather_and_scatter, test_rows, test_ids_out_of_range, test_joining,
           test_matrix_parts)
