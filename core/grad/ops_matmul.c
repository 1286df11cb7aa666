/* The differentiable matrix product: y = a b, da = dy b^T, db = a^T dy.
 *
 * Vectors count as one row or one column. Where b is a matrix, all rows of a make one product;
 * where a and b are batches of the same shape, there is one for each; both write or add straight to
 * the gradient. What is left (batches that broadcast) goes through the tensor room's product and a
 * sum. */
#include "ops.h"

ml_status ml_matmul(ml_tensor *out, const ml_tensor *a, const ml_tensor *b, ml_error *err) {
  if (!ml_taped2(a, b))
    return ml_tensor_matmul(out, a, b, err);
  const ml_tensor *in[2] = {a, b};
  return ml_apply(out, &ml_grad_op_matmul, in, 2, NULL, err);
}

ml_status ml_grad_matmul_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr, ml_save *save, ml_error *err) {
  static const ml_tensor nothing;
  (void)n_in;
  (void)attr;
  ML_TRY(ml_tensor_matmul(out, in[0], in[1], err));
  ML_TRY(ml_save_tensor(save, in[1]->node ? in[0] : &nothing, err));
  return ml_save_tensor(save, in[0]->node ? in[1] : &nothing, err);
}

/* ---- batches of matrices in memory ----------------------------------------------------------- */

/* n matrices, step apart; element (i, j) of op(M) lies at i*ld + j; at j*ld + i when transposed. */
typedef struct {
  ml_tensor held; /* keeps the memory */
  const char *data;
  int64_t ld, step;
  bool transposed;
} matrices;

/* Reads the two last axes of t as matrices: as they lie, transposed, or from a copy. Batch axes
 * must run on with one step. */
static bool as_they_lie(matrices *m, const ml_tensor *t) {
  int64_t rows = t->size[t->rank - 2], cols = t->size[t->rank - 1];
  int64_t sr = t->stride[t->rank - 2], sc = t->stride[t->rank - 1];
  if ((sc == 1 || cols == 1) && (sr >= cols || rows == 1)) {
    m->transposed = false;
    m->ld = rows == 1 || sr < cols ? cols : sr;
  } else if ((sr == 1 || rows == 1) && (sc >= rows || cols == 1)) {
    m->transposed = true;
    m->ld = cols == 1 || sc < rows ? rows : sc;
  } else {
    return false;
  }
  m->step = 0;
  int64_t run = 0;
  for (int k = t->rank - 3; k >= 0; k--) {
    if (t->size[k] == 1)
      continue;
    if (run == 0)
      m->step = t->stride[k];
    else if (t->stride[k] != run)
      return false;
    run = t->stride[k] * t->size[k];
    if (t->stride[k] <= 0)
      return false;
  }
  return true;
}

static ml_status read_matrices(matrices *m, const ml_tensor *t, ml_error *err) {
  if (as_they_lie(m, t)) {
    ml_tensor_detach(&m->held, t);
  } else {
    ML_TRY(ml_tensor_clone(&m->held, t, err));
    if (!as_they_lie(m, &m->held)) /* empty, or one of a kind: nothing is read */
      m->ld = t->size[t->rank - 1];
  }
  m->data = ml_data(&m->held);
  return ML_OK;
}

/* ---- products into a gradient ---------------------------------------------------------------- */

typedef struct {
  ml_dtype dtype;
  bool ta, tb;
  int64_t M, N, K, lda, ldb;
  size_t step_a, step_b, step_c; /* bytes */
  double beta;
  const char *A, *B;
  char *C;
} batch;

static void batch_body(void *ctx, int64_t i, int worker) {
  const batch *p = ctx;
  (void)worker;
  size_t k = (size_t)i;
  ml_gemm(p->dtype, p->ta, p->tb, p->M, p->N, p->K, 1, p->A + k * p->step_a, p->lda,
          p->B + k * p->step_b, p->ldb, p->beta, p->C + k * p->step_c, p->N);
}

/* dst (+)= op(a) op(b) for n matrices each; dst is contiguous. ta, tb: of the matrices as a and b
 * name them. */
static ml_status products(ml_tensor *dst, bool accumulate, const ml_tensor *a, bool ta,
                          const ml_tensor *b, bool tb, int64_t n, int64_t M, int64_t N, int64_t K,
                          ml_error *err) {
  matrices A = {0}, B = {0};
  ml_status status = read_matrices(&A, a, err);
  if (!status)
    status = read_matrices(&B, b, err);
  if (!status) {
    size_t item = ml_dtype_size(dst->dtype);
    batch p = {dst->dtype,
               ta != A.transposed,
               tb != B.transposed,
               M,
               N,
               K,
               A.ld,
               B.ld,
               (size_t)A.step * item,
               (size_t)B.step * item,
               (size_t)(M * N) * item,
               accumulate ? 1.0 : 0.0,
               A.data,
               B.data,
               ml_data(dst)};
    if (n < ml_threads()) /* each over the pool; the bytes are the same both ways */
      for (int64_t i = 0; i < n; i++)
        batch_body(&p, i, 0);
    else
      ml_parallel_for(n, 2 * (double)M * (double)N * (double)K, batch_body, &p);
  }
  ml_tensor_clear(&A.held);
  ml_tensor_clear(&B.held);
  return status;
}

/* t with its leading axes run together: [R, last]. */
static ml_status as_rows(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  int64_t last = t->size[t->rank - 1], rows = 1;
  for (int k = 0; k < t->rank - 1; k++)
    rows *= t->size[k];
  ml_shape shape = {2, {rows, last}};
  return ml_view_reshape(out, t, &shape, err);
}

/* b is one matrix [K,N]; a and dy are rows. */
static ml_status rows_vjp(ml_vjp *c, const ml_tensor *a, const ml_tensor *b, const ml_tensor *dy,
                          ml_error *err) {
  ml_tensor *dst, d = {0}, x = {0};
  bool accumulate;
  ml_status status = as_rows(&d, dy, err);
  int64_t R = ml_tensor_empty(&d) ? 0 : d.size[0], N = c->in_shape[1].size[1],
          K = c->in_shape[1].size[0];
  if (!status && c->wanted[0])
    status = ml_vjp_target(c, 0, &dst, &accumulate, err);
  if (!status && c->wanted[0])
    status = products(dst, accumulate, &d, false, b, true, 1, R, K, N, err);
  if (!status && c->wanted[1])
    status = as_rows(&x, a, err);
  if (!status && c->wanted[1])
    status = ml_vjp_target(c, 1, &dst, &accumulate, err);
  if (!status && c->wanted[1])
    status = products(dst, accumulate, &x, true, &d, false, 1, K, N, R, err);
  ml_tensor_clear(&d);
  ml_tensor_clear(&x);
  return status;
}

/* Batches of one shape. */
static ml_status batch_vjp(ml_vjp *c, const ml_tensor *a, const ml_tensor *b, const ml_tensor *dy,
                           ml_error *err) {
  const ml_shape *sa = &c->in_shape[0], *sb = &c->in_shape[1];
  int64_t M = sa->size[sa->rank - 2], K = sa->size[sa->rank - 1], N = sb->size[sb->rank - 1], n = 1;
  for (int k = 0; k < sa->rank - 2; k++)
    n *= sa->size[k];
  ml_tensor *dst;
  bool accumulate;
  if (c->wanted[0]) {
    ML_TRY(ml_vjp_target(c, 0, &dst, &accumulate, err));
    ML_TRY(products(dst, accumulate, dy, false, b, true, n, M, K, N, err));
  }
  if (c->wanted[1]) {
    ML_TRY(ml_vjp_target(c, 1, &dst, &accumulate, err));
    ML_TRY(products(dst, accumulate, a, true, dy, false, n, K, N, M, err));
  }
  return ML_OK;
}

/* ---- whatever is left ------------------------------------------------------------------------ */

/* g = x y with the last axes of one of them exchanged, summed to the shape of input i (vectors as
 * matrices). */
static ml_status general_side(ml_vjp *c, int i, const ml_tensor *x, bool tx, const ml_tensor *y,
                              bool ty, const ml_shape *shape, ml_error *err) {
  ml_tensor xt = {0}, yt = {0}, product = {0}, sum = {0}, g = {0};
  ml_status status = ML_OK;
  if (tx)
    status = ml_view_transpose(&xt, x, x->rank - 2, x->rank - 1, err);
  else
    ml_tensor_detach(&xt, x);
  if (!status && ty)
    status = ml_view_transpose(&yt, y, y->rank - 2, y->rank - 1, err);
  else if (!status)
    ml_tensor_detach(&yt, y);
  if (!status)
    status = ml_tensor_matmul(&product, &xt, &yt, err);
  if (!status)
    status = ml_tensor_sum_to(&sum, &product, shape, err);
  if (!status)
    status = ml_view_reshape(&g, &sum, &c->in_shape[i], err);
  ml_tensor_clear(&xt);
  ml_tensor_clear(&yt);
  ml_tensor_clear(&product);
  ml_tensor_clear(&sum);
  ML_TRY(status);
  return ml_vjp_give(c, i, &g, err);
}

static ml_status general_vjp(ml_vjp *c, const ml_tensor *a, const ml_tensor *b, const ml_tensor *dy,
                             const ml_shape *sa, const ml_shape *sb, ml_error *err) {
  if (c->wanted[0])
    ML_TRY(general_side(c, 0, dy, false, b, true, sa, err));
  if (c->wanted[1])
    ML_TRY(general_side(c, 1, a, true, dy, false, sb, err));
  return ML_OK;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

/* The saved tensor in the given shape; nothing when it was not saved. */
static ml_status shaped(ml_tensor *out, const ml_tensor *t, const ml_shape *shape, ml_error *err) {
  return ml_tensor_empty(t) ? ML_OK : ml_view_reshape(out, t, shape, err);
}

ml_status ml_grad_matmul_vjp(ml_vjp *c, ml_error *err) {
  /* shapes with vectors written as matrices: a [..,M,K], b [..,K,N], dy [..,M,N] */
  ml_shape sa = c->in_shape[0], sb = c->in_shape[1], sy = ml_shape_of(&c->gout[0]);
  bool row = sa.rank == 1, column = sb.rank == 1;
  if (row)
    sa = ml_shape_make(2, (int64_t)1, sa.size[0]);
  if (column)
    sb = ml_shape_make(2, sb.size[0], (int64_t)1);
  if (row) { /* dy has no axis M: it goes before N, or to the end when there is no N either */
    int at = column ? sy.rank : sy.rank - 1;
    for (int k = sy.rank; k > at; k--)
      sy.size[k] = sy.size[k - 1];
    sy.size[at] = 1;
    sy.rank++;
  }
  if (column)
    sy.size[sy.rank++] = 1;
  ml_tensor a = {0}, b = {0}, dy = {0};
  ml_status status = shaped(&a, &c->saved[0], &sa, err);
  if (!status)
    status = shaped(&b, &c->saved[1], &sb, err);
  if (!status)
    status = shaped(&dy, &c->gout[0], &sy, err);
  if (!status) {
    bool same = sa.rank == sb.rank;
    for (int k = 0; same && k < sa.rank - 2; k++)
      same = sa.size[k] == sb.size[k];
    bool direct = !row && !column; /* targets have the shapes of the matrices */
    if (direct && sb.rank == 2)
      status = rows_vjp(c, &a, &b, &dy, err);
    else if (direct && same)
      status = batch_vjp(c, &a, &b, &dy, err);
    else
      status = general_vjp(c, &a, &b, &dy, &sa, &sb, err);
  }
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  ml_tensor_clear(&dy);
  return status;
}

ml_status ml_grad_matmul_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                               ml_error *err) {
  const ml_shape shapes[][2] = {
      {{2, {3, 4}}, {2, {4, 2}}},
      {{1, {4}}, {2, {4, 3}}},
      {{2, {3, 4}}, {1, {4}}},
      {{1, {5}}, {1, {5}}},
      {{3, {2, 3, 4}}, {2, {4, 2}}},
      {{3, {2, 3, 4}}, {3, {2, 4, 2}}},
      {{4, {2, 1, 3, 4}}, {3, {3, 4, 2}}},
      {{2, {3, 4}}, {3, {2, 4, 3}}},
      {{1, {4}}, {3, {2, 4, 3}}},
      {{3, {2, 3, 4}}, {1, {4}}},
      {{3, {2, 3, 1}}, {3, {2, 1, 2}}},
      {{4, {2, 2, 1, 3}}, {4, {2, 2, 3, 2}}},
      {{2, {3, 4}}, {2, {4, 2}}},
      {{3, {3, 2, 2}}, {3, {3, 2, 4}}},
      {{2, {0, 3}}, {2, {3, 2}}},
      {{3, {2, 3, 4}}, {2, {4, 2}}},
  };
  *n_variants = 16;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shapes[variant][0], -1, 1, g, err));
  ML_TRY(ml_case_uniform(c, 1, &shapes[variant][1], -1, 1, g, err));
  if (variant == 12 || variant == 13 || variant == 15) {
    ML_TRY(ml_case_reverse_layout(c, 0, err));
    ML_TRY(ml_case_reverse_layout(c, 1, err));
  }
  return ML_OK;
}
