/* Differentiable functions of one tensor, element by element.
 *
 * Conventions: abs has derivative 0 at 0; relu and relu2 at 0 too; sign, floor, ceil and round have
 * derivative 0 everywhere; sqrt has derivative inf at 0, and 0 times it is NaN. isnan and the like,
 * and logical not, give u8 and leave the tape. */
#include "kernels.h"
#include "ops.h"

/* What the derivative is made of. */
typedef enum { SAVE_NOTHING, SAVE_INPUT, SAVE_OUTPUT, SAVE_ZERO } saved_kind;

static const struct {
  const ml_op *op;
  saved_kind saved;
} functions[ML_UNARY_COUNT] = {
#define ML_GRAD_UNARY(name, op, saved, lo, hi) [op] = {&ml_grad_op_##name, saved},
#include "ops.def"
};

/* Elements of one chunk: the unit of parallel work, whatever the number of threads. */
#define CHUNK 16384

ml_status ml_unary(ml_tensor *out, ml_unary_op op, const ml_tensor *t, ml_error *err) {
  if (!ml_taped1(t) || !functions[op].op)
    return ml_tensor_unary(out, op, t, err);
  ml_grad_unary_attr attr = {op};
  return ml_apply(out, functions[op].op, &t, 1, &attr, err);
}

ml_status ml_grad_unary_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_unary_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_unary(out, attr->op, in[0], err));
  saved_kind saved = functions[attr->op].saved;
  if (saved == SAVE_NOTHING || saved == SAVE_ZERO)
    return ML_OK;
  return ml_save_tensor(save, saved == SAVE_INPUT ? in[0] : out, err);
}

typedef struct {
  ml_unary_op op;
  const ml_grad_kernels *kernels;
  size_t item;
  int64_t n;
  const char *y, *dy;
  char *dx;
} from_output;

static void from_output_chunk(void *ctx, int64_t i, int worker) {
  const from_output *p = ctx;
  (void)worker;
  int64_t first = i * CHUNK, n = p->n - first < CHUNK ? p->n - first : CHUNK;
  size_t at = (size_t)first * p->item;
  p->kernels->from_output(p->op, n, p->y + at, p->dy + at, p->dx + at);
}

static ml_status output_grad(ml_tensor *dx, ml_unary_op op, const ml_tensor *y, const ml_tensor *dy,
                             ml_error *err) {
  ml_tensor v = {0}, d = {0};
  ml_shape shape = ml_shape_of(y);
  ml_status status = ml_tensor_contiguous(&v, y, err);
  if (!status)
    status = ml_tensor_contiguous(&d, dy, err);
  if (!status)
    status = ml_tensor_init(dx, y->dtype, &shape, err);
  if (!status) {
    from_output p = {op,
                     ml_grad_kernels_of(y->dtype),
                     ml_dtype_size(y->dtype),
                     ml_numel(y),
                     ml_data(&v),
                     ml_data(&d),
                     ml_data(dx)};
    ml_parallel_for((p.n + CHUNK - 1) / CHUNK, CHUNK, from_output_chunk, &p);
  }
  ml_tensor_clear(&v);
  ml_tensor_clear(&d);
  return status;
}

ml_status ml_grad_unary_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_unary_attr *attr = c->attr;
  const ml_tensor *dy = &c->gout[0];
  ml_tensor dx = {0};
  switch (functions[attr->op].saved) {
  case SAVE_NOTHING: /* neg */
    ML_TRY(ml_tensor_unary(&dx, ML_NEG, dy, err));
    break;
  case SAVE_INPUT:
    ML_TRY(ml_tensor_unary_grad(&dx, attr->op, &c->saved[0], dy, err));
    break;
  case SAVE_OUTPUT:
    ML_TRY(output_grad(&dx, attr->op, &c->saved[0], dy, err));
    break;
  case SAVE_ZERO:
    ML_TRY(ml_grad_zeros(&dx, dy->dtype, &c->in_shape[0], err));
    break;
  }
  return ml_vjp_give(c, 0, &dx, err);
}

/* Contiguous, another layout in memory, a scalar. */
static ml_status check(ml_check_case *c, int variant, int *n_variants, ml_unary_op op, double lo,
                       double hi, ml_rng *g, ml_error *err) {
  *n_variants = 3;
  ml_shape shape = variant == 2 ? ml_shape_make(0) : ml_shape_make(2, (int64_t)3, (int64_t)7);
  ML_TRY(ml_case_uniform(c, 0, &shape, lo, hi, g, err));
  /* those that bend at 0, checked on both of its sides */
  bool bends = op == ML_ABS || op == ML_SIGN || op == ML_RELU || op == ML_RELU2;
  if (bends)
    for (int64_t i = 0; i < ml_numel(&c->in[0]); i += 2)
      ML_DATA(double, &c->in[0])[i] *= -1;
  c->n_out = 1;
  ((ml_grad_unary_attr *)(void *)c->attr)->op = op;
  return variant == 1 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

#define ML_GRAD_UNARY(name, op, saved, lo, hi)                                                     \
  ml_status ml_grad_##name##_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,      \
                                   ml_error *err) {                                                \
    return check(c, variant, n_variants, op, lo, hi, g, err);                                      \
  }
#include "ops.def"
