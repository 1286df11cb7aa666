/* Every operation on large tensors: the same bytes with 1, 2, 3 and 8 threads, and with each
 * allocation failing in turn. */
#include "tensors.h"

typedef struct {
  ml_tensor x, y, row, column, ids, rows, flags, turned, strided, cube;
} inputs;

static void make_inputs(inputs *in, ml_dtype dtype, int64_t rows, int64_t columns) {
  ml_error err;
  uint64_t state = 0x452821e638d01377u;
  ml_shape shape = ml_shape_make(2, rows, columns), one = ml_shape_make(1, columns),
           tall = ml_shape_make(2, rows, (int64_t)1), ids = ml_shape_make(1, rows),
           cube = ml_shape_make(3, rows / 8, (int64_t)8, columns);
  memset(in, 0, sizeof *in);
  in->x = random_tensor(&state, dtype, &shape);
  in->y = random_tensor(&state, dtype, &shape);
  in->row = random_tensor(&state, dtype, &one);
  in->column = random_tensor(&state, dtype, &tall);
  in->flags = random_tensor(&state, ML_U8, &shape);
  in->ids = random_tensor(&state, ML_INDEX, &shape);
  in->rows = random_tensor(&state, ML_INDEX, &ids);
  for (int64_t i = 0; i < ml_numel(&in->ids); i++)
    put(&in->ids, i, (double)pick(&state, 0, columns - 1));
  for (int64_t i = 0; i < rows; i++)
    put(&in->rows, i, (double)pick(&state, 0, rows - 1));
  CHECK_OK(ml_view_transpose(&in->turned, &in->x, 0, 1, &err), &err);
  ml_slice every[] = {{0, rows / 2, 2, false}, {columns - 1, columns, -1, false}};
  CHECK_OK(ml_view_slice(&in->strided, &in->x, every, 2, &err), &err);
  CHECK_OK(ml_view_reshape(&in->cube, &in->x, &cube, &err), &err);
}

static void clear_inputs(inputs *in) {
  ml_tensor *all = (ml_tensor *)in;
  for (size_t i = 0; i < sizeof *in / sizeof *all; i++)
    ml_tensor_clear(&all[i]);
}

static ml_status added_rows(ml_tensor *out, const inputs *in, ml_error *err) {
  ml_tensor t = {0};
  ML_TRY(ml_tensor_clone(&t, &in->x, err));
  ml_status status = ml_tensor_index_add_into(&t, &in->rows, &in->y, 0, err);
  if (!status)
    status = ml_tensor_axpy_into(&t, 0.25, &in->y, err);
  if (!status)
    status = ml_tensor_binary_into(&t, ML_MUL, &in->row, err);
  if (!status)
    status = ml_tensor_binary_number_into(&t, ML_SUB, 0.5, err);
  if (!status)
    status = ml_tensor_binary_into(&t, ML_ADD, &t, err);
  if (status)
    ml_tensor_clear(&t);
  else
    *out = t;
  return status;
}

static ml_status strided_add(ml_tensor *out, const inputs *in, ml_error *err) {
  ml_tensor t = {0}, view = {0}, sub = {0}, ids = {0};
  ML_TRY(ml_tensor_clone(&t, &in->x, err));
  ml_slice every[] = {{0, t.size[0] / 2, 2, false}};
  ml_status status = ml_view_slice(&view, &t, every, 1, err);
  if (!status)
    status = ml_view_slice(&sub, &in->y, every, 1, err);
  if (!status)
    status = ml_view_narrow(&ids, &in->rows, 0, 0, 0, err);
  ml_tensor_clear(&ids);
  if (!status)
    status = ml_tensor_arange(&ids, ML_INDEX, 0, 1, t.size[0] / 2, err);
  if (!status)
    status = ml_tensor_index_add_into(&view, &ids, &sub, 0, err);
  ml_tensor_clear(&view);
  ml_tensor_clear(&sub);
  ml_tensor_clear(&ids);
  if (status)
    ml_tensor_clear(&t);
  else
    *out = t;
  return status;
}

/* Operation i of the list; false when there is none. */
static bool operation(int i, ml_status *status, ml_tensor *out, const inputs *in, ml_error *err) {
  const ml_tensor *x = &in->x, *y = &in->y;
  ml_tensor second = {0};
  if (i < ML_UNARY_COUNT) {
    *status = ml_tensor_unary(out, (ml_unary_op)i, i == ML_NOT ? &in->flags : x, err);
    return true;
  }
  i -= ML_UNARY_COUNT;
  if (i <= ML_GELU_ERF) {
    *status = i == ML_SIGN ? ml_tensor_clone(out, x, err)
                           : ml_tensor_unary_grad(out, (ml_unary_op)i, x, y, err);
    return true;
  }
  i -= ML_GELU_ERF + 1;
  if (i < ML_AND) {
    *status = ml_tensor_binary(out, (ml_binary_op)i, x,
                               i % 3 == 0   ? y
                               : i % 3 == 1 ? &in->row
                                            : &in->column,
                               err);
    return true;
  }
  i -= ML_AND;
  if (i < 5 * ML_REDUCE_COUNT) {
    ml_reduce_op op = (ml_reduce_op)(i % ML_REDUCE_COUNT);
    int kind = i / ML_REDUCE_COUNT;
    *status = kind == 4   ? ml_tensor_reduce(out, op, &in->cube, 5, false, err)
              : kind == 3 ? ml_tensor_reduce(out, op, &in->strided, 2, true, err)
                          : ml_tensor_reduce(out, op, x, (unsigned)kind, false, err);
    return true;
  }
  i -= 5 * ML_REDUCE_COUNT;
  const ml_tensor *list[] = {x, &in->turned, y};
  switch (i) {
  case 0:
    *status = ml_tensor_clone(out, &in->turned, err);
    return true;
  case 1:
    *status = ml_tensor_clone(out, &in->strided, err);
    return true;
  case 2:
    *status = ml_tensor_cast(out, x, x->dtype == ML_F32 ? ML_F64 : ML_F32, err);
    return true;
  case 3:
    *status = ml_tensor_cast(out, &in->flags, ML_INDEX, err);
    return true;
  case 4:
    *status = ml_tensor_binary_number(out, ML_MUL, &in->strided, 3, false, err);
    return true;
  case 5:
    *status = ml_tensor_where(out, &in->flags, x, &in->row, err);
    return true;
  case 6:
    *status = ml_tensor_clamp(out, &in->turned, -1, 1, err);
    return true;
  case 7:
    *status = ml_tensor_var(out, x, 1, false, 1, err);
    return true;
  case 8:
    *status = ml_tensor_var(out, &in->turned, 1, false, 1, err);
    return true;
  case 9:
    *status = ml_tensor_arg(out, true, x, 1, false, err);
    return true;
  case 10:
    *status = ml_tensor_arg(out, false, &in->cube, 1, false, err);
    return true;
  case 11:
    *status = ml_tensor_cumsum(out, &in->cube, 1, err);
    return true;
  case 12:
    *status = ml_tensor_cumsum(out, &in->turned, 1, err);
    return true;
  case 13:
    *status = ml_tensor_softmax(out, x, 1, false, err);
    return true;
  case 14:
    *status = ml_tensor_softmax(out, &in->turned, 0, true, err);
    return true;
  case 15:
    *status = ml_tensor_softmax_grad(out, x, y, 1, true, err);
    return true;
  case 16:
    *status = ml_tensor_softmax_grad(out, &in->cube, &in->cube, 1, false, err);
    return true;
  case 17:
    *status = ml_tensor_sort(out, &second, x, 1, false, err);
    ml_tensor_clear(&second);
    return true;
  case 18:
    *status = ml_tensor_topk(&second, out, &in->turned, 3, 0, err);
    ml_tensor_clear(&second);
    return true;
  case 19:
    *status = ml_tensor_gather(out, x, &in->ids, 1, err);
    return true;
  case 20:
    *status = ml_tensor_scatter(out, x, &in->ids, y, 1, true, err);
    return true;
  case 21:
    *status = ml_tensor_index_select(out, &in->strided, &in->rows, 1, err);
    return true;
  case 22:
    *status = ml_tensor_index_select(out, x, &in->rows, 0, err);
    return true;
  case 23:
    *status = added_rows(out, in, err);
    return true;
  case 24:
    *status = strided_add(out, in, err);
    return true;
  case 25:
    *status = ml_tensor_one_hot(out, &in->rows, x->size[0], ML_F32, err);
    return true;
  case 26:
    *status = ml_tensor_concat(out, (const ml_tensor *const[]){x, &in->strided}, 2, 0, err);
    return true;
  case 27:
    *status = ml_tensor_stack(out, (const ml_tensor *const[]){x, list[2]}, 2, 1, err);
    return true;
  case 28:
    *status = ml_tensor_tri(out, x, 0, true, err);
    return true;
  case 29:
    *status = ml_tensor_diagonal(out, &in->turned, err);
    return true;
  case 30:
    *status = ml_tensor_sum_to(out, x, &(ml_shape){1, {x->size[1]}}, err);
    return true;
  case 31:
    *status = ml_view_reshape(out, &in->turned, &(ml_shape){1, {-1}}, err);
    return true;
  case 32:
    *status = ml_tensor_linspace(out, ML_F64, 0, 1, 100, err);
    return true;
  case 33:
    *status = ml_tensor_eye(out, ML_F32, 5, 5, err);
    return true;
  case 34:
    *status = ml_tensor_binary_number(out, ML_LT, &in->flags, 0.5, false, err);
    return true;
  default:
    return false;
  }
}

static void test_thread_count_changes_no_byte(void) {
  ml_error err;
  int threads = ml_threads();
  for (int dtype = ML_F64; dtype <= ML_F32; dtype++) {
    inputs in;
    /* index_select by rows on axis 1 needs as many columns */
    make_inputs(&in, (ml_dtype)dtype, 520, 530);
    ml_status status;
    for (int i = 0;; i++) {
      ml_tensor one = {0}, other = {0};
      CHECK_OK(ml_set_threads(1, &err), &err);
      if (!operation(i, &status, &one, &in, &err))
        break;
      CHECK_OK(status, &err);
      const int counts[] = {2, 3, 8};
      for (int k = 0; k < 3; k++) {
        CHECK_OK(ml_set_threads(counts[k], &err), &err);
        operation(i, &status, &other, &in, &err);
        CHECK_OK(status, &err);
        if (!ml_tensor_equal(&one, &other))
          fprintf(stderr, "operation %d with %d threads\n", i, counts[k]);
        CHECK(ml_tensor_equal(&one, &other));
        ml_tensor_clear(&other);
      }
      ml_tensor_clear(&one);
    }
    clear_inputs(&in);
  }
  CHECK_OK(ml_set_threads(threads, &err), &err);
}

static ml_status run(int i, ml_tensor *out, const inputs *in, ml_error *err) {
  ml_status status = ML_OK;
  operation(i, &status, out, in, err);
  return status;
}

static void test_failing_allocations(void) {
  ml_error err;
  for (int dtype = ML_F64; dtype <= ML_F32; dtype++) {
    inputs in;
    make_inputs(&in, (ml_dtype)dtype, 72, 80);
    ml_status status;
    for (int i = 0;; i++) {
      ml_tensor out = {0};
      if (!operation(i, &status, &out, &in,
                     &err)) /* once before, so that scratch memory is there */
        break;
      ml_tensor_clear(&out);
      CHECK_ALLOC_SWEEP(run(i, &out, &in, &err), ml_tensor_clear(&out));
      CHECK(ml_tensor_empty(&out));
    }
    clear_inputs(&in);
  }
}

/* Long rows take scratch: its failure is an error too. */
static void test_failing_scratch(void) {
  ml_error err;
  uint64_t state = 0xbe5466cf34e90c6cu;
  ml_shape shape = ml_shape_make(1, (int64_t)200000);
  ml_tensor t = random_tensor(&state, ML_F32, &shape), out = {0};
  CHECK_ALLOC_SWEEP(ml_tensor_reduce(&out, ML_SUM, &t, 0, false, &err), ml_tensor_clear(&out));
  CHECK_ALLOC_SWEEP(ml_tensor_sort(&out, NULL, &t, 0, false, &err), ml_tensor_clear(&out));
  ml_tensor_clear(&t);
}

CHECK_MAIN(test_thread_count_changes_no_byte, test_failing_allocations, test_failing_scratch)
