/* Reductions over random axes of random views, against long double sums; NaN, infinities, empty
 * tensors. */
#include "tensors.h"

static uint64_t state = 0x13198a2e03707344u;

/* Linear positions of the elements that fold into result element j; returns their number. */
static int64_t fibre(int64_t *out, const ml_shape *shape, unsigned axes, int64_t j) {
  int64_t n = ml_shape_numel(shape), count = 0, p[ML_MAX_RANK];
  for (int64_t i = 0; i < n; i++) {
    unravel(p, shape, i);
    int64_t kept = 0;
    for (int k = 0; k < shape->rank; k++)
      if (!(axes >> k & 1u))
        kept = kept * shape->size[k] + p[k];
    if (kept == j)
      out[count++] = i;
  }
  return count;
}

static double fold(ml_reduce_op op, const ml_tensor *t, const int64_t *which, int64_t n) {
  long double sum = 0, product = 1, squares = 0, any = 0, all = 1, exps = 0;
  double max = -(double)INFINITY, min = (double)INFINITY;
  for (int64_t i = 0; i < n; i++) {
    double v = at(t, which[i]);
    sum += v;
    product *= v;
    squares += (long double)v * v;
    if (v != 0)
      any = 1;
    else
      all = 0;
    max = v > max || isnan(v) ? v : max;
    min = v < min || isnan(v) ? v : min;
  }
  for (int64_t i = 0; i < n; i++)
    exps += expl(at(t, which[i]) - max);
  switch ((int)op) {
  case ML_SUM:
    return (double)sum;
  case ML_MEAN:
    return (double)(sum / (long double)n);
  case ML_PROD:
    return (double)product;
  case ML_MAX:
    return max;
  case ML_MIN:
    return min;
  case ML_LOGSUMEXP:
    return (double)(max + logl(exps));
  case ML_NORM:
    return (double)sqrtl(squares);
  case ML_SUMSQ:
    return (double)squares;
  case ML_ANY:
    return (double)any;
  default:
    return (double)all;
  }
}

static bool takes(ml_reduce_op op, ml_dtype dtype) {
  return dtype != ML_INDEX || op == ML_MAX || op == ML_MIN;
}

static void test_reduce(void) {
  ml_error err;
  static int64_t which[20000];
  for (int round = 0; round < 3000; round++) {
    ml_reduce_op op = (ml_reduce_op)(round % ML_REDUCE_COUNT);
    ml_dtype dtype = (ml_dtype)(round / ML_REDUCE_COUNT % 4);
    ml_shape shape = random_shape(&state, 4, 1, round % 11 ? 4 : 10);
    ml_tensor t = random_view(&state, dtype, &shape), out = {0};
    unsigned axes = (unsigned)next(&state) & ((1u << shape.rank) - 1u);
    bool keep = next(&state) % 2;
    if (!takes(op, dtype)) {
      CHECK_FAIL(ml_tensor_reduce(&out, op, &t, axes, keep, &err), ML_EDTYPE);
      ml_tensor_clear(&t);
      continue;
    }
    CHECK_OK(ml_tensor_reduce(&out, op, &t, axes, keep, &err), &err);
    if (axes == 0)
      axes = (1u << shape.rank) - 1u;
    CHECK_EQ(out.rank, keep ? shape.rank : shape.rank - __builtin_popcount(axes));
    bool counts = dtype == ML_U8 && op != ML_MAX && op != ML_MIN && op < ML_ANY;
    CHECK_EQ(out.dtype, op >= ML_ANY ? ML_U8 : counts ? ML_F64 : dtype);
    int64_t step = 1 + ml_numel(&out) * ml_numel(&t) / 20000;
    for (int64_t j = 0; j < ml_numel(&out); j += step) {
      int64_t n = fibre(which, &shape, axes, j);
      double absolute = op == ML_PROD ? 0 : eps_of(dtype) * (double)(n + 2);
      CHECK_NEAR(at(&out, j), fold(op, &t, which, n), 20 * eps_of(dtype), absolute);
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&out);
  }
}

/* Long rows and columns: pieces, tiles and lanes, whose sums are known. */
static void test_long(void) {
  ml_error err;
  const int64_t sizes[][2] = {{3, 200003}, {200003, 3}, {1, 65537}, {1500, 700}, {700, 513}};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    for (int dtype = ML_F64; dtype <= ML_F32; dtype++) {
      ml_shape shape = ml_shape_make(2, sizes[s][0], sizes[s][1]);
      ml_tensor t = {0}, out = {0};
      CHECK_OK(ml_tensor_init(&t, (ml_dtype)dtype, &shape, &err), &err);
      int64_t rows = shape.size[0], columns = shape.size[1];
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
          put(&t, i * columns + j, 0.1 + (double)((i * 7 + j * 3) % 5) * 0.01);
      for (int axis = 0; axis < 2; axis++) {
        for (int op = 0; op < ML_ANY; op++) {
          if (op == ML_PROD)
            continue;
          CHECK_OK(ml_tensor_reduce(&out, (ml_reduce_op)op, &t, 1u << axis, false, &err), &err);
          int64_t kept = axis ? rows : columns, n = axis ? columns : rows;
          for (int64_t k = 0; k < kept; k += 1 + kept / 2) {
            long double sum = 0, squares = 0, exps = 0, max = 0, min = 1;
            for (int64_t i = 0; i < n; i++) {
              long double v = at(&t, axis ? k * columns + i : i * columns + k);
              sum += v;
              squares += v * v;
              exps += expl(v);
              max = v > max ? v : max;
              min = v < min ? v : min;
            }
            const long double want[] = {sum,        sum / (long double)n, 0,      max, min,
                                        logl(exps), sqrtl(squares),       squares};
            /* f32 stays within a few ulp however long the sum; f64 adds pieces one after another */
            CHECK_CLOSE(at(&out, k), (double)want[op],
                        dtype == ML_F32 ? 4 * eps_of(ML_F32) : 3e-14);
          }
          ml_tensor_clear(&out);
        }
      }
      ml_tensor_clear(&t);
    }
  }
}

static void test_nan_and_infinities(void) {
  ml_error err;
  const double nan = (double)NAN, inf = (double)INFINITY;
  for (int dtype = ML_F64; dtype <= ML_F32; dtype++) {
    for (int64_t n = 1; n < 200; n += 33) {
      for (int axis = 0; axis < 2; axis++) {
        /* n rows of 3, or 3 rows of n: one lane with a NaN, one with inf, one of -inf */
        ml_shape shape = axis ? ml_shape_make(2, (int64_t)3, n) : ml_shape_make(2, n, (int64_t)3);
        ml_tensor t = random_tensor(&state, (ml_dtype)dtype, &shape), out = {0}, arg = {0};
        int64_t bad = pick(&state, 0, n - 1);
        for (int64_t i = 0; i < n; i++)
          put(&t, axis ? 2 * n + i : i * 3 + 2, -inf);
        put(&t, axis ? bad : bad * 3, nan);
        put(&t, axis ? n + bad : bad * 3 + 1, inf);
        CHECK_OK(ml_tensor_reduce(&out, ML_MAX, &t, 1u << axis, false, &err), &err);
        CHECK(isnan(at(&out, 0)) && at(&out, 1) == inf && at(&out, 2) == -inf);
        ml_tensor_clear(&out);
        CHECK_OK(ml_tensor_reduce(&out, ML_MIN, &t, 1u << axis, false, &err), &err);
        CHECK(isnan(at(&out, 0)) && at(&out, 2) == -inf);
        ml_tensor_clear(&out);
        CHECK_OK(ml_tensor_reduce(&out, ML_LOGSUMEXP, &t, 1u << axis, false, &err), &err);
        CHECK(isnan(at(&out, 0)) && at(&out, 1) == inf && at(&out, 2) == -inf);
        ml_tensor_clear(&out);
        CHECK_OK(ml_tensor_arg(&arg, true, &t, axis, false, &err), &err);
        CHECK(at(&arg, 0) == (double)bad && at(&arg, 1) == (double)bad && at(&arg, 2) == 0);
        ml_tensor_clear(&arg);
        CHECK_OK(ml_tensor_arg(&arg, false, &t, axis, false, &err), &err);
        CHECK(at(&arg, 0) == (double)bad && at(&arg, 2) == 0);
        ml_tensor_clear(&arg);
        ml_tensor_clear(&t);
      }
    }
    ml_tensor t = VECTOR((ml_dtype)dtype, 80, 80.5), big = VECTOR((ml_dtype)dtype, 1e30, 1e30),
              out = {0};
    CHECK_OK(ml_tensor_binary_number_into(&t, ML_MUL, 10, &err), &err);
    CHECK_OK(ml_tensor_reduce(&out, ML_LOGSUMEXP, &t, 0, false, &err), &err);
    CHECK_CLOSE(at(&out, 0), 805 + log1p(exp(-5)), 2 * eps_of((ml_dtype)dtype));
    ml_tensor_clear(&out);
    CHECK_OK(ml_tensor_reduce(&out, ML_NORM, &big, 0, false, &err),
             &err); /* squares overflow f32 */
    CHECK_CLOSE(at(&out, 0), sqrt(2) * 1e30, 2 * eps_of((ml_dtype)dtype));
    ml_tensor_clear(&out);
    ml_tensor_clear(&t);
    ml_tensor_clear(&big);
  }
}

static void test_empty(void) {
  ml_error err;
  ml_shape shape = ml_shape_make(2, (int64_t)3, (int64_t)0);
  ml_tensor t = random_tensor(&state, ML_F64, &shape), out = {0};
  const double want[ML_REDUCE_COUNT] = {0, (double)NAN, 1, 0, 0, -(double)INFINITY, 0, 0, 0, 1};
  for (int op = 0; op < ML_REDUCE_COUNT; op++) {
    /* along the full axis nothing comes out; along the empty one the identity, or an error */
    CHECK_OK(ml_tensor_reduce(&out, (ml_reduce_op)op, &t, 1, false, &err), &err);
    CHECK_EQ(ml_numel(&out), 0);
    ml_tensor_clear(&out);
    if (op == ML_MAX || op == ML_MIN) {
      CHECK_FAIL(ml_tensor_reduce(&out, (ml_reduce_op)op, &t, 2, false, &err), ML_EARG);
      CHECK_HAS(err.message, "of no elements: f64 [3x0]");
      continue;
    }
    CHECK_OK(ml_tensor_reduce(&out, (ml_reduce_op)op, &t, 2, false, &err), &err);
    CHECK_EQ(ml_numel(&out), 3);
    CHECK_CLOSE(at(&out, 2), want[op], 0);
    ml_tensor_clear(&out);
  }
  CHECK_FAIL(ml_tensor_arg(&out, true, &t, 1, false, &err), ML_EARG);
  CHECK_OK(ml_tensor_arg(&out, true, &t, 0, true, &err), &err);
  ml_tensor_clear(&out);
  CHECK_OK(ml_tensor_var(&out, &t, 2, false, 1, &err), &err);
  CHECK(isnan(at(&out, 0)));
  ml_tensor_clear(&out);
  CHECK_OK(ml_tensor_softmax(&out, &t, 1, false, &err), &err);
  ml_tensor_clear(&out);
  CHECK_OK(ml_tensor_cumsum(&out, &t, 1, &err), &err);
  ml_tensor_clear(&out);
  CHECK_FAIL(ml_tensor_reduce(&out, ML_SUM, &t, 4, false, &err), ML_EARG);
  ml_tensor_clear(&t);
}

static void test_var(void) {
  ml_error err;
  static int64_t which[20000];
  for (int round = 0; round < 300; round++) {
    ml_dtype dtype = round % 2 ? ML_F32 : ML_F64;
    ml_shape shape = random_shape(&state, 3, 2, 8);
    ml_tensor t = random_view(&state, dtype, &shape), out = {0};
    unsigned axes = (unsigned)next(&state) & ((1u << shape.rank) - 1u);
    int ddof = (int)(next(&state) % 2);
    CHECK_OK(ml_tensor_var(&out, &t, axes, false, ddof, &err), &err);
    if (axes == 0)
      axes = (1u << shape.rank) - 1u;
    for (int64_t j = 0; j < ml_numel(&out); j++) {
      int64_t n = fibre(which, &shape, axes, j);
      double mean = fold(ML_MEAN, &t, which, n);
      long double squares = 0;
      for (int64_t i = 0; i < n; i++)
        squares += (long double)(at(&t, which[i]) - mean) * (at(&t, which[i]) - mean);
      if (n > ddof)
        CHECK_NEAR(at(&out, j), (double)(squares / (long double)(n - ddof)), 8 * eps_of(dtype),
                   eps_of(dtype));
      else
        CHECK(isnan(at(&out, j)));
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&out);
  }
  /* a large mean does not drown the variance */
  ml_tensor t = VECTOR(ML_F64, 1e9 + 1, 1e9 + 2, 1e9 + 3), out = {0};
  CHECK_OK(ml_tensor_var(&out, &t, 0, false, 1, &err), &err);
  CHECK_CLOSE(at(&out, 0), 1, 1e-15);
  ml_tensor_clear(&out);
  ml_tensor_clear(&t);
}

static void test_arg_and_cumsum(void) {
  ml_error err;
  for (int round = 0; round < 800; round++) {
    ml_dtype dtype = (ml_dtype)(round % 4);
    ml_shape shape = random_shape(&state, 4, 1, 6);
    if (shape.rank == 0)
      continue;
    ml_tensor t = random_view(&state, dtype, &shape), arg = {0}, sums = {0};
    int axis = (int)pick(&state, 0, shape.rank - 1);
    bool max = next(&state) % 2;
    CHECK_OK(ml_tensor_arg(&arg, max, &t, axis, true, &err), &err);
    if (ml_is_real(dtype))
      CHECK_OK(ml_tensor_cumsum(&sums, &t, axis, &err), &err);
    int64_t n = ml_numel(&t);
    for (int64_t i = 0; i < n; i++) {
      int64_t p[ML_MAX_RANK] = {0};
      unravel(p, &shape, i);
      int64_t here = p[axis];
      p[axis] = 0;
      int64_t best = (int64_t)ml_tensor_get(&arg, p);
      double sum = 0, value = at(&t, i);
      p[axis] = best;
      double winner = ml_tensor_get(&t, p);
      CHECK(max ? value <= winner : value >= winner);
      CHECK(value != winner || here >= best); /* the first of equals */
      for (p[axis] = 0; p[axis] <= here; p[axis]++)
        sum += ml_tensor_get(&t, p);
      if (ml_is_real(dtype))
        CHECK_NEAR(at(&sums, i), sum, 2 * eps_of(dtype), 10 * eps_of(ML_F64));
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&arg);
    ml_tensor_clear(&sums);
  }
}

static void test_sum_to(void) {
  ml_error err;
  static int64_t which[20000];
  for (int round = 0; round < 300; round++) {
    ml_shape shape = random_shape(&state, 4, 1, 5), to = shape;
    int drop = (int)pick(&state, 0, shape.rank);
    unsigned axes = (1u << drop) - 1u;
    to.rank -= drop;
    for (int k = 0; k < to.rank; k++) {
      to.size[k] = shape.size[k + drop];
      if (next(&state) % 3 == 0) {
        to.size[k] = 1;
        axes |= 1u << (k + drop);
      }
    }
    ml_tensor t = random_view(&state, ML_F64, &shape), out = {0};
    CHECK_OK(ml_tensor_sum_to(&out, &t, &to, &err), &err);
    ml_shape got = ml_shape_of(&out);
    CHECK(ml_shape_equal(&got, &to));
    for (int64_t j = 0; j < ml_numel(&out); j++) {
      int64_t n = fibre(which, &shape, axes, j);
      CHECK_NEAR(at(&out, j), fold(ML_SUM, &t, which, n), 1e-15, 1e-13);
    }
    ml_tensor_clear(&t);
    ml_tensor_clear(&out);
  }
  ml_shape shape = ml_shape_make(2, (int64_t)2, (int64_t)3), bad = ml_shape_make(1, (int64_t)2);
  ml_tensor t = random_tensor(&state, ML_F64, &shape), out = {0};
  CHECK_FAIL(ml_tensor_sum_to(&out, &t, &bad, &err), ML_ESHAPE);
  ml_tensor_clear(&t);
}

static void test_softmax(void) {
  ml_error err;
  for (int round = 0; round < 400; round++) {
    ml_dtype dtype = round % 2 ? ML_F32 : ML_F64;
    ml_shape shape = random_shape(&state, 3, 1, round % 9 ? 7 : 150);
    if (shape.rank == 0 || ml_shape_numel(&shape) > 30000)
      continue;
    int axis = (int)pick(&state, 0, shape.rank - 1);
    ml_tensor x = random_view(&state, dtype, &shape), dy = random_view(&state, dtype, &shape);
    for (int log = 0; log < 2; log++) {
      ml_tensor y = {0}, dx = {0};
      CHECK_OK(ml_tensor_softmax(&y, &x, axis, log, &err), &err);
      CHECK_OK(ml_tensor_softmax_grad(&dx, &y, &dy, axis, log, &err), &err);
      int64_t n = ml_numel(&x);
      for (int64_t i = 0; i < n; i += 1 + n / 100) {
        int64_t p[ML_MAX_RANK] = {0};
        unravel(p, &shape, i);
        double total = 0, own = at(&x, i), dot = 0, sum = 0;
        for (p[axis] = 0; p[axis] < shape.size[axis]; p[axis]++)
          total += exp(ml_tensor_get(&x, p));
        double probability = exp(own) / total;
        for (p[axis] = 0; p[axis] < shape.size[axis]; p[axis]++) {
          double g = ml_tensor_get(&dy, p);
          dot += g * exp(ml_tensor_get(&x, p)) / total;
          sum += g;
        }
        double e = 12 * eps_of(dtype);
        CHECK_NEAR(at(&y, i), log ? own - log1p(total - 1) : probability, e, log ? 2 * e : 0);
        double g = at(&dy, i);
        CHECK_NEAR(at(&dx, i), log ? g - probability * sum : probability * (g - dot), 4 * e, 4 * e);
      }
      ml_tensor_clear(&y);
      ml_tensor_clear(&dx);
    }
    ml_tensor_clear(&x);
    ml_tensor_clear(&dy);
  }
  /* large numbers, -inf as a mask, NaN */
  const double nan = (double)NAN, inf = (double)INFINITY;
  ml_tensor x = VECTOR(ML_F32, 1000, 1000, -inf, -inf), bad = VECTOR(ML_F32, 0, nan, 1), y = {0};
  CHECK_OK(ml_tensor_softmax(&y, &x, 0, false, &err), &err);
  CHECK(at(&y, 0) == 0.5 && at(&y, 3) == 0);
  ml_tensor_clear(&y);
  CHECK_OK(ml_tensor_softmax(&y, &x, 0, true, &err), &err);
  CHECK(at(&y, 3) == -inf);
  CHECK_CLOSE(at(&y, 0), -log(2), 1e-6);
  ml_tensor_clear(&y);
  CHECK_OK(ml_tensor_softmax(&y, &bad, 0, false, &err), &err);
  CHECK(isnan(at(&y, 0)) && isnan(at(&y, 2)));
  ml_tensor_clear(&y);
  CHECK_FAIL(ml_tensor_softmax(&y, &x, 1, false, &err), ML_EARG);
  ml_tensor_clear(&x);
  ml_tensor_clear(&bad);
}

/* property: a row's bytes are the same in a result that is written past the caches */
static void test_softmax_of_large_tensors(void) {
  ml_rng g = ml_rng_seed(5);
  ml_error err;
  const int64_t widths[] = {1024, 1000, 1021, 9000};
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (int w = 0; w < 4; w++) {
      const int64_t n = widths[w], rows = 4400000 / (n * (int64_t)ml_dtype_size(d)) + 2;
      ml_shape shape = ml_shape_make(2, rows, n);
      ml_tensor x = {0}, dy = {0}, y = {0}, dx = {0};
      CHECK_OK(ml_tensor_init(&x, d, &shape, &err), &err);
      CHECK_OK(ml_tensor_init(&dy, d, &shape, &err), &err);
      for (int k = 0; k < 2; k++)
        if (d == ML_F64)
          ml_rng_normal_f64(&g, ML_DATA(double, k ? &x : &dy), rows * n, 0, 3);
        else
          ml_rng_normal_f32(&g, ML_DATA(float, k ? &x : &dy), rows * n, 0, 3);
      for (int log = 0; log < 2; log++) {
        CHECK_OK(ml_tensor_softmax(&y, &x, 1, log, &err), &err);
        CHECK_OK(ml_tensor_softmax_grad(&dx, &y, &dy, 1, log, &err), &err);
        for (int64_t r = 0; r < rows; r += rows / 3) {
          ml_tensor xr = {0}, gr = {0}, yr = {0}, dr = {0}, part = {0};
          CHECK_OK(ml_view_narrow(&xr, &x, 0, r, 1, &err), &err);
          CHECK_OK(ml_view_narrow(&gr, &dy, 0, r, 1, &err), &err);
          CHECK_OK(ml_tensor_softmax(&yr, &xr, 1, log, &err), &err);
          CHECK_OK(ml_tensor_softmax_grad(&dr, &yr, &gr, 1, log, &err), &err);
          CHECK_OK(ml_view_narrow(&part, &y, 0, r, 1, &err), &err);
          CHECK(ml_tensor_equal(&part, &yr));
          ml_tensor_clear(&part);
          CHECK_OK(ml_view_narrow(&part, &dx, 0, r, 1, &err), &err);
          CHECK(ml_tensor_equal(&part, &dr));
          ml_tensor *all[] = {&xr, &gr, &yr, &dr, &part};
          for (int k = 0; k < 5; k++)
            ml_tensor_clear(all[k]);
        }
        ml_tensor_clear(&y);
        ml_tensor_clear(&dx);
      }
      ml_tensor_clear(&x);
      ml_tensor_clear(&dy);
    }
}

CHECK_MAIN(test_reduce, test_long, test_nan_and_infinities, test_empty, test_var,
           test_arg_and_cumsum, test_sum_to, test_softmax, test_softmax_of_large_tensors)
