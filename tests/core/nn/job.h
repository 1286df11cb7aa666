/* An op with its inputs, run forward and backward in any dtype, for the tests of the nn room:
 * outputs and gradients come back as f64, so that dtypes, thread counts and ways of computing can
 * be compared. */
#ifndef MOONLAB_TESTS_NN_JOB_H
#define MOONLAB_TESTS_NN_JOB_H

#include "check.h"
#include "nn/nn.h"
#include "nn/ops.h"

#include <stdarg.h>

static ml_error err;

#define JOB_MAX 8

typedef struct {
  const ml_op *op;
  const void *attr;
  ml_tensor in[JOB_MAX]; /* f64 and index; empty: absent */
  unsigned on;           /* bit per input that is a parameter */
} job;

typedef struct {
  ml_tensor out[ML_OP_MAX_OUT], grad[JOB_MAX]; /* f64; empty where there is none */
} answer;

/* f64 normal numbers */
static inline ml_tensor normals(ml_rng *g, double mean, double std, int rank, ...) {
  ml_shape shape = {.rank = rank};
  va_list args;
  va_start(args, rank);
  for (int k = 0; k < rank; k++)
    shape.size[k] = va_arg(args, int);
  va_end(args);
  ml_tensor t = {0};
  CHECK_OK(ml_tensor_init(&t, ML_F64, &shape, &err), &err);
  ml_rng_normal_f64(g, ML_DATA(double, &t), ml_numel(&t), mean, std);
  return t;
}

/* ids of 0..n-1 */
static inline ml_tensor ids_below(ml_rng *g, int64_t n, int rank, ...) {
  ml_shape shape = {.rank = rank};
  va_list args;
  va_start(args, rank);
  for (int k = 0; k < rank; k++)
    shape.size[k] = va_arg(args, int);
  va_end(args);
  ml_tensor t = {0};
  CHECK_OK(ml_tensor_init(&t, ML_INDEX, &shape, &err), &err);
  ml_rng_integers(g, ML_DATA(int64_t, &t), ml_numel(&t), 0, n - 1);
  return t;
}

static inline double number(const ml_tensor *t, int64_t i) { return ML_DATA(double, t)[i]; }

static inline double item(const ml_tensor *t) {
  double x = NAN;
  CHECK_OK(ml_tensor_item(&x, t, &err), &err);
  return x;
}

static inline void job_clear(job *j) {
  for (int i = 0; i < JOB_MAX; i++)
    ml_tensor_clear(&j->in[i]);
}

static inline void answer_clear(answer *a) {
  for (int i = 0; i < ML_OP_MAX_OUT; i++)
    ml_tensor_clear(&a->out[i]);
  for (int i = 0; i < JOB_MAX; i++)
    ml_tensor_clear(&a->grad[i]);
}

/* Weights of the outputs in the loss: fixed numbers of both signs. */
static inline ml_status job_seed(ml_tensor *seed, const ml_tensor *out) {
  ml_shape shape = ml_shape_of(out);
  ml_tensor wide = {0};
  ML_TRY(ml_tensor_init(&wide, ML_F64, &shape, &err));
  for (int64_t i = 0; i < ml_numel(&wide); i++)
    ML_DATA(double, &wide)[i] = (double)(i * 7 % 11) / 4 - 1.2;
  ml_status status = ml_tensor_cast(seed, &wide, out->dtype, &err);
  ml_tensor_clear(&wide);
  return status;
}

static inline ml_status job_backward(const job *j, const ml_tensor *out, const ml_tensor *seeds) {
  for (int k = 0; k < j->op->n_out; k++)
    if (ml_on_tape(&out[k]))
      ML_TRY(ml_backward(&out[k], &seeds[k], k + 1 < j->op->n_out, &err));
  return ML_OK;
}

/* Outputs and gradients of sum(seed out); with plain_seed the seed of a one-element output is 1. */
static inline ml_status job_run(answer *a, const job *j, ml_dtype dtype, bool plain_seed) {
  memset(a, 0, sizeof *a);
  ml_tensor in[JOB_MAX] = {{0}}, leaf[JOB_MAX] = {{0}}, out[ML_OP_MAX_OUT] = {{0}},
            seed[ML_OP_MAX_OUT] = {{0}};
  const ml_tensor *pointers[JOB_MAX] = {NULL};
  ml_status status = ML_OK;
  for (int i = 0; i < j->op->arity && !status; i++) {
    if (ml_tensor_empty(&j->in[i]))
      continue;
    if (ml_is_real(j->in[i].dtype))
      status = ml_tensor_cast(&in[i], &j->in[i], dtype, &err);
    else
      ml_tensor_detach(&in[i], &j->in[i]);
    pointers[i] = &in[i];
    if (!status && (j->on >> i & 1u)) {
      status = ml_param(&leaf[i], &in[i], &err);
      pointers[i] = &leaf[i];
    }
  }
  if (!status)
    status = ml_apply(out, j->op, pointers, j->op->arity, j->attr, &err);
  for (int k = 0; k < j->op->n_out && !status; k++) {
    status = ml_tensor_cast(&a->out[k], &out[k], ML_F64, &err);
    if (!status && plain_seed && ml_numel(&out[k]) == 1) {
      status = ml_tensor_clone(&seed[k], &out[k], &err);
      if (!status)
        status = ml_tensor_fill_into(&seed[k], 1, &err);
    } else if (!status)
      status = job_seed(&seed[k], &out[k]);
  }
  if (!status && j->on)
    status = job_backward(j, out, seed);
  for (int i = 0; i < j->op->arity && !status; i++)
    if (leaf[i].node) {
      ml_tensor g;
      ml_grad_get(&g, &leaf[i]);
      if (!ml_tensor_empty(&g))
        status = ml_tensor_cast(&a->grad[i], &g, ML_F64, &err);
      ml_tensor_clear(&g);
    }
  for (int i = 0; i < JOB_MAX; i++) {
    ml_tensor_clear(&in[i]);
    ml_tensor_clear(&leaf[i]);
  }
  for (int k = 0; k < ML_OP_MAX_OUT; k++) {
    ml_tensor_clear(&out[k]);
    ml_tensor_clear(&seed[k]);
  }
  if (status)
    answer_clear(a);
  return status;
}

/* Largest difference over the largest entry of want; NaN stays NaN, wrong shapes are infinitely
 * far. */
static inline double distance(const ml_tensor *got, const ml_tensor *want) {
  if (ml_tensor_empty(got) != ml_tensor_empty(want) ||
      (!ml_tensor_empty(got) && ml_numel(got) != ml_numel(want)))
    return INFINITY;
  if (ml_tensor_empty(got))
    return 0;
  double most = 0, off = 0;
  for (int64_t i = 0; i < ml_numel(want); i++) {
    double d = fabs(number(got, i) - number(want, i));
    most = fmax(most, fabs(number(want, i)));
    off = d <= off ? off : d;
  }
  return most > 0 ? off / most : off;
}

static inline double answer_distance(const answer *a, const answer *b) {
  double worst = 0;
  for (int k = 0; k < ML_OP_MAX_OUT; k++)
    worst = fmax(worst, distance(&a->out[k], &b->out[k]));
  for (int i = 0; i < JOB_MAX; i++)
    worst = fmax(worst, distance(&a->grad[i], &b->grad[i]));
  return worst;
}

static inline bool answer_same(const answer *a, const answer *b) {
  bool same = true;
  for (int k = 0; k < ML_OP_MAX_OUT; k++)
    same = same && (ml_tensor_empty(&a->out[k]) || ml_tensor_equal(&a->out[k], &b->out[k]));
  for (int i = 0; i < JOB_MAX; i++)
    same = same && (ml_tensor_empty(&a->grad[i]) || ml_tensor_equal(&a->grad[i], &b->grad[i]));
  return same;
}

/* f32 against f64 within tol of the largest entry; the same bytes with 1, 2 and 3 threads; nothing
 * lost when memory runs out. */
static inline void job_properties(const job *j, double tol) {
  answer wide, one, more;
  ml_status status = job_run(&wide, j, ML_F64, false);
  CHECK_OK(status, &err);
  CHECK_OK(job_run(&one, j, ML_F32, false), &err);
  double off = answer_distance(&one, &wide);
  CHECK(off <= tol);
  if (!(off <= tol))
    CHECK_SAY("  %s: f32 is off by %.3g of the largest entry, allowed %.3g\n", j->op->name, off,
              tol);
  for (int dtype = 0; dtype < 2; dtype++) {
    int before = ml_threads();
    CHECK_OK(ml_set_threads(1, &err), &err);
    answer_clear(&one);
    CHECK_OK(job_run(&one, j, dtype ? ML_F32 : ML_F64, false), &err);
    for (int threads = 2; threads <= 3; threads++) {
      CHECK_OK(ml_set_threads(threads, &err), &err);
      CHECK_OK(job_run(&more, j, dtype ? ML_F32 : ML_F64, false), &err);
      CHECK(answer_same(&more, &one));
      answer_clear(&more);
    }
    CHECK_OK(ml_set_threads(before, &err), &err);
  }
  answer_clear(&one);
  answer_clear(&wide);
  CHECK_ALLOC_SWEEP(job_run(&one, j, ML_F32, false), answer_clear(&one));
}

#endif
