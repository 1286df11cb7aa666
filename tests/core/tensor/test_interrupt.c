/* property: every long operation answers Ctrl-C. Each polls often enough, and cut short at its
 * first poll, its last or in between it gives ML_ECANCELLED, no result, and its memory back. */
#include "check.h"
#include "tensor/tensor.h"

enum { N = 1 << 21, ROWS = 1 << 10, COLUMNS = N / ROWS };

static ml_error err;

static struct {
  ml_tensor line, wide, square, ids, row_ids, bytes; /* [N] f32, f64; [ROWS,COLUMNS]; positions */
  ml_tensor other, scalar, few;
} in;

static ml_tensor random_tensor(ml_dtype dtype, const ml_shape *shape, uint64_t seed) {
  ml_tensor t = {0};
  CHECK_OK(ml_tensor_init(&t, dtype, shape, &err), &err);
  ml_rng g = ml_rng_seed(seed);
  int64_t n = ml_numel(&t);
  if (dtype == ML_F64)
    ml_rng_normal_f64(&g, ML_DATA(double, &t), n, 0, 1);
  else if (dtype == ML_F32)
    ml_rng_normal_f32(&g, ML_DATA(float, &t), n, 0, 1);
  else if (dtype == ML_INDEX)
    ml_rng_integers(&g, ML_DATA(int64_t, &t), n, 0, n - 1);
  else
    memset(ml_data(&t), 1, (size_t)n);
  return t;
}

static void open_inputs(void) {
  ml_shape line = ml_shape_make(1, (int64_t)N), none = ml_shape_make(0),
           square = ml_shape_make(2, (int64_t)ROWS, (int64_t)COLUMNS);
  in.line = random_tensor(ML_F32, &line, 1);
  in.wide = random_tensor(ML_F64, &line, 2);
  in.square = random_tensor(ML_F32, &square, 3);
  in.other = random_tensor(ML_F32, &square, 4);
  in.ids = random_tensor(ML_INDEX, &line, 5);
  in.bytes = random_tensor(ML_U8, &square, 6);
  in.scalar = random_tensor(ML_F32, &none, 7);
  CHECK_OK(ml_tensor_init(&in.row_ids, ML_INDEX, &square, &err), &err);
  CHECK_OK(ml_tensor_init(&in.few, ML_INDEX, &line, &err), &err);
  for (int64_t i = 0; i < N; i++) {
    ML_DATA(int64_t, &in.row_ids)[i] = i * 7 % ROWS;
    ML_DATA(int64_t, &in.few)[i] = i % 3;
  }
}

static void close_inputs(void) {
  ml_tensor *all[] = {&in.line,  &in.wide,   &in.square,  &in.other, &in.ids,
                      &in.bytes, &in.scalar, &in.row_ids, &in.few};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    ml_tensor_clear(all[i]);
}

/* ---- the operations -------------------------------------------------------------------------- */

#define OP(name, call)                                                                             \
  static ml_status name(ml_tensor *out, ml_tensor *more) {                                         \
    (void)more;                                                                                    \
    return call;                                                                                   \
  }
OP(sort, ml_tensor_sort(out, more, &in.line, 0, false, &err))
OP(sort_rows, ml_tensor_sort(out, more, &in.square, 1, true, &err))
OP(argsort, ml_tensor_sort(NULL, out, &in.wide, 0, false, &err))
OP(topk_few, ml_tensor_topk(out, more, &in.line, 1000, 0, &err))
OP(topk_many, ml_tensor_topk(out, more, &in.line, N / 10, 0, &err))
OP(gather, ml_tensor_gather(out, &in.line, &in.ids, 0, &err))
OP(gather_rows, ml_tensor_gather(out, &in.square, &in.row_ids, 0, &err))
OP(scatter, ml_tensor_scatter(out, &in.line, &in.ids, &in.line, 0, false, &err))
OP(scatter_add, ml_tensor_scatter(out, &in.square, &in.row_ids, &in.square, 0, true, &err))
OP(index_select, ml_tensor_index_select(out, &in.line, &in.ids, 0, &err))
OP(one_hot, ml_tensor_one_hot(out, &in.few, 3, ML_U8, &err))
OP(clone, ml_tensor_clone(out, &in.square, &err))
OP(cast, ml_tensor_cast(out, &in.line, ML_F64, &err))
OP(unary, ml_tensor_unary(out, ML_TAN, &in.square, &err))
OP(unary_grad, ml_tensor_unary_grad(out, ML_TAN, &in.square, &in.other, &err))
OP(binary, ml_tensor_binary(out, ML_POW, &in.square, &in.other, &err))
OP(times_two, ml_tensor_binary_number(out, ML_MUL, &in.square, 2, false, &err))
OP(where, ml_tensor_where(out, &in.bytes, &in.square, &in.other, &err))
OP(clamp, ml_tensor_clamp(out, &in.square, -1, 1, &err))
OP(sum, ml_tensor_reduce(out, ML_SUM, &in.square, 0, false, &err))
OP(sum_rows, ml_tensor_reduce(out, ML_SUM, &in.square, 1, false, &err))
OP(logsumexp, ml_tensor_reduce(out, ML_LOGSUMEXP, &in.square, 2, false, &err))
OP(var, ml_tensor_var(out, &in.square, 2, false, 0, &err))
OP(argmax, ml_tensor_arg(out, true, &in.square, 1, false, &err))
OP(cumsum, ml_tensor_cumsum(out, &in.square, 1, &err))
OP(cumsum_line, ml_tensor_cumsum(out, &in.line, 0, &err))
OP(cumsum_columns, ml_tensor_cumsum(out, &in.square, 0, &err))
OP(softmax, ml_tensor_softmax(out, &in.square, 1, false, &err))
OP(softmax_columns, ml_tensor_softmax(out, &in.square, 0, true, &err))
OP(softmax_grad, ml_tensor_softmax_grad(out, &in.square, &in.other, 1, false, &err))
OP(arange, ml_tensor_arange(out, ML_F64, 0, 1, N, &err))
OP(linspace, ml_tensor_linspace(out, ML_F64, 0, 1, N, &err))
OP(concat, ml_tensor_concat(out, (const ml_tensor *const[]){&in.square, &in.other}, 2, 0, &err))
OP(stack, ml_tensor_stack(out, (const ml_tensor *const[]){&in.square, &in.other}, 2, 1, &err))
OP(tril, ml_tensor_tri(out, &in.square, 0, false, &err))

static ml_status transposed(ml_tensor *out, ml_tensor *more) {
  CHECK_OK(ml_view_transpose(more, &in.square, 0, 1, &err), &err);
  ml_status status = ml_tensor_clone(out, more, &err);
  ml_tensor_clear(more);
  return status;
}

static ml_status zeros(ml_tensor *out, ml_tensor *more) {
  ml_shape shape = ml_shape_make(1, (int64_t)16 * N);
  (void)more;
  return ml_tensor_init_zeros(out, ML_F64, &shape, &err);
}

static ml_status allclose(ml_tensor *out, ml_tensor *more) {
  bool same;
  (void)out;
  (void)more;
  return ml_tensor_allclose(&same, &in.wide, &in.wide, 0, 0, false, &err);
}

static ml_status permutation(ml_tensor *out, ml_tensor *more) {
  ml_rng g = ml_rng_seed(1);
  ml_shape shape = ml_shape_make(1, (int64_t)N);
  ML_TRY(ml_tensor_init(more, ML_INDEX, &shape, &err));
  ml_status status = ml_rng_permutation(&g, ML_DATA(int64_t, more), N, &err);
  CHECK_EQ(g.counter == 0, status == ML_ECANCELLED);
  if (status)
    ml_tensor_clear(more);
  else
    ml_tensor_move(out, more);
  return status;
}

/* In place: what is cut short says so, however much it has done. */
#define IN_PLACE(name, call)                                                                       \
  static ml_status name(ml_tensor *out, ml_tensor *more) {                                         \
    (void)out;                                                                                     \
    (void)more;                                                                                    \
    return call;                                                                                   \
  }
IN_PLACE(copy_into, ml_tensor_copy_into(&in.other, &in.square, &err))
IN_PLACE(broadcast_into, ml_tensor_copy_into(&in.other, &in.scalar, &err))
IN_PLACE(fill_into, ml_tensor_fill_into(&in.other, 3, &err))
IN_PLACE(index_add_into, ml_tensor_index_add_into(&in.line, &in.ids, &in.line, 0, &err))

/* ---- cutting them short ---------------------------------------------------------------------- */

static const struct {
  const char *name;
  ml_status (*run)(ml_tensor *out, ml_tensor *more);
} table[] = {
#define ENTRY(name)                                                                                \
  { #name, name }
    ENTRY(sort),
    ENTRY(sort_rows),
    ENTRY(argsort),
    ENTRY(topk_few),
    ENTRY(topk_many),
    ENTRY(gather),
    ENTRY(gather_rows),
    ENTRY(scatter),
    ENTRY(scatter_add),
    ENTRY(index_select),
    ENTRY(one_hot),
    ENTRY(clone),
    ENTRY(cast),
    ENTRY(unary),
    ENTRY(unary_grad),
    ENTRY(binary),
    ENTRY(times_two),
    ENTRY(where),
    ENTRY(clamp),
    ENTRY(sum),
    ENTRY(sum_rows),
    ENTRY(logsumexp),
    ENTRY(var),
    ENTRY(argmax),
    ENTRY(cumsum),
    ENTRY(cumsum_line),
    ENTRY(cumsum_columns),
    ENTRY(softmax),
    ENTRY(softmax_columns),
    ENTRY(softmax_grad),
    ENTRY(arange),
    ENTRY(linspace),
    ENTRY(concat),
    ENTRY(stack),
    ENTRY(tril),
    ENTRY(transposed),
    ENTRY(zeros),
    ENTRY(allclose),
    ENTRY(permutation),
    ENTRY(copy_into),
    ENTRY(broadcast_into),
    ENTRY(fill_into),
    ENTRY(index_add_into),
};

static void cut(size_t at, int polls) {
  ml_tensor out = {0}, more = {0};
  uint64_t live = ml_live_bytes();
  ml_cancel_after(polls);
  ml_status status = table[at].run(&out, &more);
  ml_cancel_clear();
  CHECK_EQ(status, ML_ECANCELLED);
  if (status != ML_ECANCELLED)
    CHECK_SAY("  %s, cut short at poll %d\n", table[at].name, polls);
  else
    CHECK_STRING(err.message, "interrupted");
  CHECK(ml_tensor_empty(&out) && ml_tensor_empty(&more));
  ml_tensor_clear(&out);
  ml_tensor_clear(&more);
  CHECK_EQ(ml_live_bytes(), live);
}

static void check_with(int threads) {
  enum { FEW = 5, MANY = 1 << 30 };
  int before = ml_threads();
  CHECK_OK(ml_set_threads(threads, &err), &err);
  open_inputs();
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    ml_tensor out = {0}, more = {0};
    ml_cancel_after(MANY);
    CHECK_OK(table[i].run(&out, &more), &err);
    int polls = MANY - ml_cancel_after(0);
    ml_tensor_clear(&out);
    ml_tensor_clear(&more);
    CHECK(polls >= FEW);
    if (polls < FEW)
      CHECK_SAY("  %s polls %d times\n", table[i].name, polls);
    const int at[] = {1, 2, polls / 2, polls - 1, polls};
    for (size_t k = 0; polls >= FEW && k < sizeof at / sizeof *at; k++)
      cut(i, at[k]);
  }
  close_inputs();
  CHECK_OK(ml_set_threads(before, &err), &err);
}

static void test_cut_short_on_one_thread(void) { check_with(1); }
static void test_cut_short_on_three_threads(void) { check_with(3); }

CHECK_MAIN(test_cut_short_on_one_thread, test_cut_short_on_three_threads)
