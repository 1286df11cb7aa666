/* Adafactor, one tensor at a time: a factored matrix by blocks of rows of about a chunk, any other
 * tensor by chunks. */
#include "state.h"

#include <math.h>
#include <string.h>

typedef struct {
  ml_optim_entry *e;
  const ml_tensor *g;
  double eps1, beta2, lr;
  int64_t rows, cols;    /* a chunk is a row where not factored */
  int64_t block, blocks; /* rows of a block, number of blocks */
  enum { SQUARES, UPDATE, APPLY } pass;
  /* scratch */
  char *u;               /* [n] the update, in w's dtype */
  double *row, *columns; /* of g^2 + eps1: [rows] means, [blocks,cols] sums */
  double *r;             /* [rows] R / mean(R) */
  double *sums;          /* [blocks] */
} factor_call;

static void cut(factor_call *f) {
  const ml_optim_entry *e = f->e;
  f->rows = e->rows ? e->rows : (e->n + ML_OPTIM_CHUNK - 1) / ML_OPTIM_CHUNK;
  f->cols = e->rows ? e->cols : ML_OPTIM_CHUNK;
  f->block = e->rows ? (ML_OPTIM_CHUNK + f->cols - 1) / f->cols : 1;
  f->blocks = (f->rows + f->block - 1) / f->block;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Scratch for every tensor that has a gradient, in turn: each array as long as the longest. Taken
 * whole before the first update, so that a step which fails for memory has changed nothing. */
static ml_status take_scratch(factor_call *f, const ml_optim *o, const ml_tensor *const *grads,
                              ml_arena *arena, ml_error *err) {
  int64_t u = 0, rows = 0, columns = 0, blocks = 0;
  for (int i = 0; i < o->count; i++) {
    if (!grads[i])
      continue;
    factor_call one = {.e = &o->entries[i]};
    cut(&one);
    u = larger(u, one.e->n * (int64_t)ml_dtype_size(one.e->w.dtype));
    blocks = larger(blocks, one.blocks);
    rows = larger(rows, one.e->rows);
    columns = larger(columns, one.e->rows ? one.blocks * one.cols : 0);
  }
  f->u = ml_arena_take(arena, (size_t)u);
  f->sums = ml_arena_take(arena, (size_t)blocks * sizeof(double));
  f->row = ml_arena_take(arena, (size_t)rows * sizeof(double));
  f->r = ml_arena_take(arena, (size_t)rows * sizeof(double));
  f->columns = ml_arena_take(arena, (size_t)columns * sizeof(double));
  if (!f->u || !f->sums || !f->row || !f->r || !f->columns)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for an adafactor step");
  return ML_OK;
}

static void body(void *context, int64_t at, int worker) {
  (void)worker;
  factor_call *f = context;
  ml_optim_entry *e = f->e;
  const ml_optim_kernels *K = ml_optim_rules(e->w.dtype);
  int64_t first = at * f->block, start = first * f->cols,
          rows = f->rows - first < f->block ? f->rows - first : f->block;
  int64_t n = rows * f->cols < e->n - start ? rows * f->cols : e->n - start;
  void *w = ml_optim_at(&e->w, start), *u = f->u + (size_t)start * ml_dtype_size(e->w.dtype);
  const void *g = ml_optim_at(f->g, start);
  double coupled = e->numbers.coupled;
  if (f->pass == SQUARES) {
    f->sums[at] = K->sumsq(w, n);
    if (e->rows) {
      double *columns = f->columns + at * f->cols;
      memset(columns, 0, (size_t)f->cols * sizeof *columns);
      K->factor_sums(w, g, rows, f->cols, f->eps1, coupled, f->row + first, columns);
    }
  } else if (f->pass == UPDATE && e->rows) {
    const double *C = ML_DATA(double, &e->state[1]);
    f->sums[at] = K->factored_u(w, g, u, f->r + first, C, rows, f->cols, coupled);
  } else if (f->pass == UPDATE) {
    f->sums[at] =
        K->unfactored_u(w, g, u, ml_optim_at(&e->state[0], start), n, f->beta2, f->eps1, coupled);
  } else {
    K->apply(w, u, n, f->lr, e->numbers.shrink);
  }
}

static void run(factor_call *f, int pass) {
  f->pass = pass;
  ml_parallel_for(f->blocks, 16.0 * (double)(f->block * f->cols), body, f);
}

/* Root of the mean over the tensor of what the last pass summed by blocks. */
static double root_mean(const factor_call *f) {
  double sum = 0;
  for (int64_t k = 0; k < f->blocks; k++)
    sum += f->sums[k];
  return sqrt(sum / (double)f->e->n);
}

/* R and C from the means over rows and columns; r = R / mean(R). */
static void update_factors(factor_call *f) {
  double *R = ML_DATA(double, &f->e->state[0]), *C = ML_DATA(double, &f->e->state[1]), mean = 0;
  for (int64_t i = 0; i < f->rows; i++) {
    R[i] = f->beta2 * R[i] + (1 - f->beta2) * f->row[i];
    mean += R[i];
  }
  mean /= (double)f->rows;
  for (int64_t j = 0; j < f->cols; j++) {
    double sum = 0;
    for (int64_t b = 0; b < f->blocks; b++)
      sum += f->columns[b * f->cols + j];
    C[j] = f->beta2 * C[j] + (1 - f->beta2) * sum / (double)f->rows;
  }
  for (int64_t i = 0; i < f->rows; i++)
    f->r[i] = R[i] / mean;
}

static void step_one(factor_call *f, const ml_optim_options *o) {
  cut(f);
  f->eps1 = o->eps1;
  f->beta2 = 1 - pow((double)f->e->t, -o->decay_exponent);
  run(f, SQUARES);
  double rms_w = root_mean(f);
  if (f->e->rows)
    update_factors(f);
  run(f, UPDATE);
  double rms_u = root_mean(f);
  f->lr = f->e->numbers.lr / fmax(1, rms_u / o->clip);
  if (rms_u != rms_u)
    f->lr = rms_u; /* fmax would hide a NaN */
  if (o->scale_parameter)
    f->lr *= rms_w > o->eps2 ? rms_w : o->eps2;
  run(f, APPLY);
}

ml_status ml_optim_adafactor(ml_optim *o, double s, const ml_tensor *const *grads, ml_arena *arena,
                             ml_error *err) {
  factor_call f = {0};
  ML_TRY(take_scratch(&f, o, grads, arena, err));
  for (int i = 0; i < o->count; i++) {
    if (!grads[i] || o->entries[i].n == 0)
      continue;
    f.e = &o->entries[i];
    f.g = grads[i];
    ml_optim_begin(&o->options, f.e, s);
    step_one(&f, &o->options);
  }
  return ML_OK;
}
