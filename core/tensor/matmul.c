/* NumPy's matmul over tensors: vectors, matrices, batches with broadcasting. */
#include "gemm.h"

/* The last two axes of an operand as the product takes them. */
typedef struct {
  ml_tensor t; /* the input's view, or a contiguous copy */
  int64_t rows, columns, ld;
  bool transposed;
} matrix;

/* Strides of the last two axes, a vector being a row (left) or a column. */
static bool fits(matrix *m, bool left) {
  const ml_tensor *t = &m->t;
  int64_t down, across;
  if (t->rank == 1) {
    m->rows = left ? 1 : t->size[0];
    m->columns = left ? t->size[0] : 1;
    down = across = t->stride[0];
  } else {
    m->rows = t->size[t->rank - 2];
    m->columns = t->size[t->rank - 1];
    down = t->stride[t->rank - 2];
    across = t->stride[t->rank - 1];
  }
  if (across == 1 || m->columns <= 1) {
    m->transposed = false;
    m->ld = down;
    return true;
  }
  m->transposed = true;
  m->ld = across;
  return down == 1 || m->rows <= 1;
}

static ml_status prepare(matrix *m, const ml_tensor *t, bool left, ml_error *err) {
  ml_tensor_detach(&m->t, t);
  if (fits(m, left))
    return ML_OK;
  ml_tensor copy;
  ml_status status = ml_tensor_contiguous(&copy, t, err);
  ml_tensor_clear(&m->t);
  if (status)
    return status;
  m->t = copy;
  (void)fits(m, left);
  return ML_OK;
}

typedef struct {
  matrix a, b;
  ml_tensor y;
  ml_shape batch;
  int64_t M, N, K, count, group;
} product;

/* The first element of batch i; a missing axis or one of size 1 stays where it is. */
static const void *batch_of(const matrix *m, const ml_shape *batch, int64_t i) {
  int64_t at = 0;
  for (int k = batch->rank - 1, own = m->t.rank - 3; k >= 0 && own >= 0; k--, own--) {
    if (m->t.size[own] != 1)
      at += i % batch->size[k] * m->t.stride[own];
    i /= batch->size[k];
  }
  return ML_DATA(const char, &m->t) + at * (int64_t)ml_dtype_size(m->t.dtype);
}

static void one(const product *p, int64_t i, bool pool) {
  char *y = ML_DATA(char, &p->y) + i * p->M * p->N * (int64_t)ml_dtype_size(p->y.dtype);
  (pool ? ml_gemm : ml_gemm_serial)(p->y.dtype, p->a.transposed, p->b.transposed, p->M, p->N, p->K,
                                    1, batch_of(&p->a, &p->batch, i), p->a.ld,
                                    batch_of(&p->b, &p->batch, i), p->b.ld, 0, y, p->N);
}

static void run_group(void *ctx, int64_t g, int worker) {
  (void)worker;
  const product *p = ctx;
  for (int64_t i = g * p->group; i < (g + 1) * p->group && i < p->count; i++)
    one(p, i, false);
}

/* All batches of a as the rows of one matrix, when b has none and a's rows run on from batch to
 * batch. */
static void merge(product *p) {
  const ml_tensor *a = &p->a.t;
  if (p->count < 2 || p->b.t.rank > 2 || (p->a.transposed && p->M > 1))
    return;
  int64_t step = p->M > 1 ? p->a.ld * p->M : a->stride[a->rank - 3];
  const int64_t down = p->M > 1 ? p->a.ld : step;
  for (int k = a->rank - 3; k >= 0; k--) {
    if (a->size[k] != 1 && a->stride[k] != step)
      return;
    step *= a->size[k];
  }
  if (p->a.transposed && p->K > 1 && a->stride[a->rank - 1] != 1)
    return;
  p->a.transposed = false;
  p->a.ld = down;
  p->M *= p->count;
  p->count = 1;
  p->batch.rank = 0;
}

static ml_status multiply(product *p, const ml_tensor *a, const ml_tensor *b, ml_error *err) {
  char ours[ML_DESCRIBE], theirs[ML_DESCRIBE];
  const int64_t rows = b->rank == 1 ? b->size[0] : b->size[b->rank - 2];
  p->K = a->size[a->rank - 1];
  p->M = a->rank == 1 ? 1 : a->size[a->rank - 2];
  p->N = b->rank == 1 ? 1 : b->size[b->rank - 1];
  if (p->K != rows)
    return ml_fail(err, ML_ESHAPE, 2,
                   "matmul of %s and %s: %lld columns and %lld rows, wanted as many",
                   ml_describe(ours, a), ml_describe(theirs, b), (long long)p->K, (long long)rows);
  ml_shape left = ml_shape_of(a), right = ml_shape_of(b);
  left.rank = left.rank > 2 ? left.rank - 2 : 0;
  right.rank = right.rank > 2 ? right.rank - 2 : 0;
  if (ml_broadcast_shape(&p->batch, &left, &right, err))
    return ml_fail(err, ML_ESHAPE, 2, "matmul of %s and %s: their batches do not broadcast",
                   ml_describe(ours, a), ml_describe(theirs, b));
  ml_shape shape = p->batch;
  if (shape.rank + (a->rank > 1) + (b->rank > 1) > ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 2, "matmul of %s and %s has more than %d axes",
                   ml_describe(ours, a), ml_describe(theirs, b), ML_MAX_RANK);
  if (a->rank > 1)
    shape.size[shape.rank++] = p->M;
  if (b->rank > 1)
    shape.size[shape.rank++] = p->N;
  p->count = ml_shape_numel(&p->batch);
  ML_TRY(ml_tensor_init(&p->y, a->dtype, &shape, err));
  ML_TRY(prepare(&p->a, a, true, err));
  ML_TRY(prepare(&p->b, b, false, err));
  if (ml_numel(&p->y) == 0)
    return ML_OK;
  merge(p);
  const double flops = 2.0 * (double)p->M * (double)p->N * (double)(p->K + 1);
  if (p->count > 1 && flops < 4e6) {
    p->group = 1 + (int64_t)(1e5 / flops);
    ml_parallel_for((p->count + p->group - 1) / p->group, flops * (double)p->group, run_group, p);
  } else {
    for (int64_t i = 0; i < p->count && !ml_cancelled(); i++)
      one(p, i, true);
  }
  ML_POLL(err);
  return ML_OK;
}

ml_status ml_tensor_matmul(ml_tensor *out, const ml_tensor *a, const ml_tensor *b, ml_error *err) {
  char ours[ML_DESCRIBE], theirs[ML_DESCRIBE];
  const ml_tensor *const inputs[] = {a, b};
  for (int k = 0; k < 2; k++) {
    if (ml_tensor_empty(inputs[k]))
      return ml_fail(err, ML_ESTATE, k + 1, "matmul of a released tensor");
    if (!ml_is_real(inputs[k]->dtype))
      return ml_fail(err, ML_EDTYPE, k + 1, "matmul of %s, wanted f64 or f32",
                     ml_describe(ours, inputs[k]));
    if (inputs[k]->rank < 1)
      return ml_fail(err, ML_ESHAPE, k + 1, "matmul of %s, wanted at least one axis",
                     ml_describe(ours, inputs[k]));
  }
  if (a->dtype != b->dtype)
    return ml_fail(err, ML_EDTYPE, 2, "matmul of %s and %s, wanted one dtype", ml_describe(ours, a),
                   ml_describe(theirs, b));
  product p = {0};
  ml_status status = multiply(&p, a, b, err);
  ml_tensor_clear(&p.a.t);
  ml_tensor_clear(&p.b.t);
  if (status) {
    ml_tensor_clear(&p.y);
    return status;
  }
  *out = p.y;
  return ML_OK;
}
