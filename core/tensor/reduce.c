/* Reductions over any axes: every case becomes [outer, reduced, inner], cut into fixed pieces. */
#include "kernels.h"
#include "layout.h"
#include "loop.h"

#include <math.h>
#include <string.h>

static const char *const names[ML_REDUCE_COUNT] = {"sum",       "mean", "prod",  "max", "min",
                                                   "logsumexp", "norm", "sumsq", "any", "all"};

/* Elements of a piece: longer rows are cut, and their parts combined in order. */
#define PIECE 65536

/* ---- real dtypes ----------------------------------------------------------------------------- */

static void combine(ml_reduce_op op, double *a, const double *b) {
  double m;
  switch ((int)op) {
  case ML_SUM:
  case ML_SUMSQ:
    a[0] += b[0];
    break;
  case ML_PROD:
    a[0] *= b[0];
    break;
  case ML_MAX:
    a[0] = b[0] > a[0] || b[0] != b[0] ? b[0] : a[0];
    break;
  case ML_MIN:
    a[0] = b[0] < a[0] || b[0] != b[0] ? b[0] : a[0];
    break;
  default: /* ML_LOGSUMEXP */
    m = b[0] > a[0] || b[0] != b[0] ? b[0] : a[0];
    if (isfinite(m)) {
      /* a part whose maximum is -inf adds nothing, whatever its sum says */
      a[1] = a[1] * exp(a[0] - m) + b[1] * exp(b[0] - m);
    } else {
      a[1] = 1;
    }
    a[0] = m;
  }
}

/* The result of `repeats` copies of what was reduced; a mean is divided by count. */
static double finish(ml_reduce_op op, const double *s, double count, double repeats) {
  switch ((int)op) {
  case ML_MEAN:
    return s[0] * repeats / count;
  case ML_SUM:
  case ML_SUMSQ:
    return s[0] * repeats;
  case ML_PROD:
    return repeats == 1 ? s[0] : pow(s[0], repeats);
  case ML_NORM:
    return sqrt(s[0] * repeats);
  case ML_LOGSUMEXP:
    return s[0] + log(s[1] * repeats);
  default: /* ML_MAX, ML_MIN */
    return s[0];
  }
}

typedef struct {
  const ml_layout *p;
  const ml_tensor_kernels *kernels;
  const char *x;
  void *out;
  ml_dtype dtype;
  ml_reduce_op op, kernel_op;
  const double *center;  /* [outer, inner] or NULL */
  double count, repeats; /* elements of a result, copies of each element */
  double *state;         /* [outer, pieces, inner, 2] when pieces > 1 */
  int64_t piece, pieces, tiles, group;
} reduce_job;

static void store(const reduce_job *job, int64_t at, const double *state) {
  double v = finish(job->op, state, job->count, job->repeats);
  if (job->dtype == ML_F32)
    ((float *)job->out)[at] = (float)v;
  else
    ((double *)job->out)[at] = v;
}

/* Rows: `group` of them, or one piece of one. */
static void rows_body(void *ctx, int64_t i, int worker) {
  const reduce_job *job = ctx;
  const ml_layout *p = job->p;
  (void)worker;
  int64_t item = job->dtype == ML_F32 ? 4 : 8;
  if (job->pieces > 1) {
    int64_t row = i / job->pieces, begin = i % job->pieces * job->piece;
    int64_t n = p->n - begin < job->piece ? p->n - begin : job->piece;
    job->kernels->reduce_rows(job->kernel_op, job->state + 2 * i,
                              job->x + (row * p->outer_stride + begin) * item, 0, 1, n,
                              job->center ? job->center + row : NULL);
    return;
  }
  double state[2 * 64];
  int64_t row = i * job->group, end = row + job->group < p->outer ? row + job->group : p->outer;
  while (row < end) {
    int64_t m = end - row < 64 ? end - row : 64;
    job->kernels->reduce_rows(job->kernel_op, state, job->x + row * p->outer_stride * item,
                              p->outer_stride, m, p->n, job->center ? job->center + row : NULL);
    for (int64_t r = 0; r < m; r++)
      store(job, row + r, state + 2 * r);
    row += m;
  }
}

static void columns_body(void *ctx, int64_t i, int worker) {
  const reduce_job *job = ctx;
  const ml_layout *p = job->p;
  (void)worker;
  int64_t item = job->dtype == ML_F32 ? 4 : 8;
  int64_t tile = i % job->tiles, piece = i / job->tiles % job->pieces,
          outer = i / job->tiles / job->pieces;
  int64_t c0 = tile * ML_COLUMN_TILE, r0 = piece * job->piece;
  int64_t columns = p->inner - c0 < ML_COLUMN_TILE ? p->inner - c0 : ML_COLUMN_TILE;
  int64_t rows = p->n - r0 < job->piece ? p->n - r0 : job->piece;
  double local[2 * ML_COLUMN_TILE];
  double *state =
      job->pieces > 1 ? job->state + 2 * ((outer * job->pieces + piece) * p->inner + c0) : local;
  job->kernels->reduce_columns(
      job->kernel_op, state, job->x + (outer * p->outer_stride + r0 * p->stride + c0) * item,
      p->stride, rows, columns, job->center ? job->center + outer * p->inner + c0 : NULL);
  if (job->pieces == 1)
    for (int64_t c = 0; c < columns; c++)
      store(job, outer * p->inner + c0 + c, state + 2 * c);
}

/* out [outer, inner] of the dtype of p->t, whose elements count `repeats` times each. */
static ml_status reduce_real(void *out, ml_reduce_op op, const ml_layout *p, double count,
                             double repeats, const double *center, ml_error *err) {
  ml_reduce_op kernel_op = op == ML_MEAN ? ML_SUM : op == ML_NORM ? ML_SUMSQ : op;
  reduce_job job = {.p = p,
                    .kernels = ml_kernels(p->t.dtype),
                    .x = ml_data(&p->t),
                    .out = out,
                    .dtype = p->t.dtype,
                    .op = op,
                    .kernel_op = kernel_op,
                    .center = center,
                    .count = count,
                    .repeats = repeats};
  bool rows = p->inner == 1;
  double weight = op == ML_LOGSUMEXP ? 10 : 4;
  if (rows) {
    job.piece = PIECE;
    job.pieces = (p->n + PIECE - 1) / PIECE;
    job.group = p->n < ML_LOOP_CHUNK ? ML_LOOP_CHUNK / p->n : 1;
  } else {
    job.tiles = (p->inner + ML_COLUMN_TILE - 1) / ML_COLUMN_TILE;
    int64_t width = p->inner < ML_COLUMN_TILE ? p->inner : ML_COLUMN_TILE;
    job.piece = PIECE / width;
    job.pieces = (p->n + job.piece - 1) / job.piece;
  }
  ml_arena *arena = NULL;
  size_t mark = 0;
  if (job.pieces > 1) {
    arena = ml_scratch();
    if (arena)
      mark = ml_arena_mark(arena);
    job.state =
        arena
            ? ml_arena_take(arena, (size_t)(p->outer * job.pieces * p->inner) * 2 * sizeof(double))
            : NULL;
    if (!job.state)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory: no scratch for %s", names[op]);
  }
  ml_status status;
  if (rows) {
    int64_t n = job.pieces > 1 ? p->outer * job.pieces : (p->outer + job.group - 1) / job.group;
    int64_t each = job.pieces > 1 ? PIECE : job.group * p->n;
    status = ml_parallel_poll(n, weight * (double)each, rows_body, &job, err);
  } else {
    status = ml_parallel_poll(p->outer * job.pieces * job.tiles, weight * PIECE, columns_body, &job,
                              err);
  }
  if (job.pieces > 1) {
    for (int64_t o = 0; !status && o < p->outer; o++) {
      double *first = job.state + 2 * o * job.pieces * p->inner;
      for (int64_t k = 1; k < job.pieces; k++)
        for (int64_t c = 0; c < p->inner; c++)
          combine(kernel_op, first + 2 * c, first + 2 * (k * p->inner + c));
      for (int64_t c = 0; c < p->inner; c++)
        store(&job, o * p->inner + c, first + 2 * c);
    }
    ml_arena_release(arena, mark);
  }
  return status;
}

/* ---- index and u8 ---------------------------------------------------------------------------- */

#define INTEGER_REDUCE(T, W, A, start, step)                                                       \
  do {                                                                                             \
    const T *x = ml_data(&p->t);                                                                   \
    A *o = out;                                                                                    \
    for (int64_t i = 0; i < p->outer; i++, o += p->inner) {                                        \
      const T *row = x + i * p->outer_stride;                                                      \
      for (int64_t c = 0; c < p->inner; c++) {                                                     \
        W a = (start);                                                                             \
        for (int64_t r = 0; r < p->n; r++) {                                                       \
          T v = row[r * p->stride + c];                                                            \
          step;                                                                                    \
        }                                                                                          \
        o[c] = (A)a;                                                                               \
      }                                                                                            \
    }                                                                                              \
  } while (0)

static void reduce_integer(void *out, ml_reduce_op op, const ml_layout *p) {
  if (p->t.dtype == ML_INDEX) {
    if (op == ML_MAX)
      INTEGER_REDUCE(int64_t, int64_t, int64_t, row[c], a = v > a ? v : a);
    else
      INTEGER_REDUCE(int64_t, int64_t, int64_t, row[c], a = v < a ? v : a);
  } else if (op == ML_MAX) {
    INTEGER_REDUCE(uint8_t, uint8_t, uint8_t, row[c], a = v > a ? v : a);
  } else if (op == ML_MIN) {
    INTEGER_REDUCE(uint8_t, uint8_t, uint8_t, row[c], a = v < a ? v : a);
  } else if (op == ML_ANY) {
    INTEGER_REDUCE(uint8_t, uint8_t, uint8_t, 0, a |= v != 0);
  } else if (op == ML_ALL) {
    INTEGER_REDUCE(uint8_t, uint8_t, uint8_t, 1, a &= v != 0);
  } else { /* ML_SUM, ML_MEAN: exact */
    INTEGER_REDUCE(uint8_t, int64_t, double, 0, a += v);
  }
}

/* ---- front ----------------------------------------------------------------------------------- */

static ml_status check_axes(unsigned *axes, const ml_tensor *t, ml_error *err) {
  unsigned all = (1u << t->rank) - 1;
  if (*axes & ~all) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_EARG, 2, "an axis is out of range for %s", ml_describe(text, t));
  }
  if (*axes == 0)
    *axes = all;
  return ML_OK;
}

static double identity(ml_reduce_op op) {
  switch ((int)op) {
  case ML_PROD:
  case ML_ALL:
    return 1;
  case ML_MEAN:
    return (double)NAN;
  case ML_LOGSUMEXP:
    return -(double)INFINITY;
  default:
    return 0;
  }
}

static int64_t reduced_count(const ml_tensor *t, unsigned axes) {
  int64_t n = 1;
  for (int k = 0; k < t->rank; k++)
    if (axes >> k & 1u)
      n *= t->size[k];
  return n;
}

/* t as a view without the copies that a broadcast made along reduced axes, and how many of each
 * there were. The view has no reference of its own. */
static ml_tensor without_copies(const ml_tensor *t, unsigned axes, double *repeats) {
  ml_tensor view = *t;
  *repeats = 1;
  for (int k = 0; k < t->rank; k++) {
    if ((axes >> k & 1u) && t->stride[k] == 0 && t->size[k] > 1) {
      *repeats *= (double)t->size[k];
      view.size[k] = 1;
    }
  }
  return view;
}

/* Norms whose squares left the range of double, above or below: found again with their elements
 * divided by the largest of them. */
static ml_status rescue_norms(ml_tensor *out, const ml_tensor *t, unsigned axes, double repeats,
                              ml_error *err) {
  const double tiny = 1e-140; /* squares below 1e-280 lose digits */
  double *norm = ml_data(out);
  int64_t n = ml_numel(out);
  bool needed = false;
  for (int64_t i = 0; i < n; i++)
    needed = needed || norm[i] == (double)INFINITY || norm[i] < tiny;
  if (!needed)
    return ML_OK;
  ml_tensor size = {0}, top = {0}, scaled = {0}, again = {0};
  ml_status status = ml_tensor_unary(&size, ML_ABS, t, err);
  if (!status)
    status = ml_tensor_reduce(&top, ML_MAX, &size, axes, true, err);
  for (int64_t i = 0; !status && i < n; i++) {
    double *m = ML_DATA(double, &top) + i;
    if (!(isfinite(*m) && *m > 0))
      *m = 1;
  }
  if (!status)
    status = ml_tensor_binary(&scaled, ML_DIV, &size, &top, err);
  if (!status)
    status = ml_tensor_reduce(&again, ML_SUMSQ, &scaled, axes, true, err);
  for (int64_t i = 0; !status && i < n; i++)
    if (norm[i] == (double)INFINITY || norm[i] < tiny)
      norm[i] = ML_DATA(double, &top)[i] * sqrt(ML_DATA(double, &again)[i] * repeats);
  ml_tensor_clear(&size);
  ml_tensor_clear(&top);
  ml_tensor_clear(&scaled);
  ml_tensor_clear(&again);
  return status;
}

ml_status ml_tensor_reduce(ml_tensor *out, ml_reduce_op op, const ml_tensor *t, unsigned axes,
                           bool keepdims, ml_error *err) {
  char text[ML_DESCRIBE];
  if ((unsigned)op >= ML_REDUCE_COUNT)
    return ml_fail(err, ML_EARG, 0, "unknown reduction");
  ML_TRY(check_axes(&axes, t, err));
  bool logical = op == ML_ANY || op == ML_ALL, extreme = op == ML_MAX || op == ML_MIN;
  if (t->dtype == ML_INDEX && !extreme)
    return ml_fail(err, ML_EDTYPE, 1, "%s wants f64, f32 or u8, got %s", names[op],
                   ml_describe(text, t));
  /* what has no loop of its own goes by way of another dtype */
  if ((logical && t->dtype != ML_U8) ||
      (t->dtype == ML_U8 && !logical && !extreme && op != ML_SUM && op != ML_MEAN)) {
    ml_tensor other = {0};
    ML_TRY(logical ? ml_tensor_binary_number(&other, ML_NE, t, 0, false, err)
                   : ml_tensor_cast(&other, t, ML_F64, err));
    ml_status status = ml_tensor_reduce(out, op, &other, axes, keepdims, err);
    ml_tensor_clear(&other);
    return status;
  }
  ml_shape shape = ml_reduced_shape(t, axes, keepdims);
  int64_t n = reduced_count(t, axes);
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init(&result,
                        t->dtype == ML_U8 && (op == ML_SUM || op == ML_MEAN) ? ML_F64 : t->dtype,
                        &shape, err));
  int64_t kept = ml_numel(&result);
  ml_status status = ML_OK;
  if (kept > 0 && n == 0) {
    if (extreme)
      status = ml_fail(err, ML_EARG, 1, "%s of no elements: %s", names[op], ml_describe(text, t));
    else
      status = ml_tensor_fill_into(&result, identity(op), err);
  } else if (kept > 0) {
    ml_layout p;
    double repeats;
    ml_tensor once = without_copies(t, axes, &repeats);
    status = ml_layout_init(&p, &once, axes, err);
    if (!status) {
      if (ml_is_real(t->dtype))
        status = reduce_real(ml_data(&result), op, &p, (double)n, repeats, NULL, err);
      else
        reduce_integer(ml_data(&result), op, &p);
      ml_tensor_clear(&p.t);
    }
    if (!status && t->dtype == ML_U8 && (op == ML_SUM || op == ML_MEAN))
      for (int64_t i = 0; i < kept; i++)
        ML_DATA(double, &result)[i] = finish(op, ML_DATA(double, &result) + i, (double)n, repeats);
    if (!status && op == ML_NORM && t->dtype == ML_F64)
      status = rescue_norms(&result, &once, axes, repeats, err);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

ml_status ml_tensor_var(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims, int ddof,
                        ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(t->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "var wants f64 or f32, got %s", ml_describe(text, t));
  ML_TRY(check_axes(&axes, t, err));
  ml_shape shape = ml_reduced_shape(t, axes, keepdims);
  int64_t n = reduced_count(t, axes);
  ml_tensor result = {0}, mean = {0};
  ML_TRY(ml_tensor_init(&result, t->dtype, &shape, err));
  int64_t kept = ml_numel(&result);
  ml_status status = ML_OK;
  if (kept > 0 && n == 0) {
    status = ml_tensor_fill_into(&result, (double)NAN, err);
  } else if (kept > 0) {
    ml_layout p = {0};
    status = ml_tensor_init(&mean, ML_F64, &shape, err);
    double repeats;
    ml_tensor once = without_copies(t, axes, &repeats);
    if (!status)
      status = ml_layout_init(&p, &once, axes, err);
    if (!status)
      status = reduce_real(ml_data(&result), ML_MEAN, &p, (double)n, repeats, NULL, err);
    if (!status) {
      /* the centre may be rounded to dtype: the error of the variance is its square */
      double *center = ml_data(&mean);
      for (int64_t i = 0; i < kept; i++)
        center[i] =
            t->dtype == ML_F32 ? (double)ML_DATA(float, &result)[i] : ML_DATA(double, &result)[i];
      status = reduce_real(ml_data(&result), ML_SUMSQ, &p, 1, repeats, center, err);
    }
    ml_tensor_clear(&p.t);
    ml_tensor_clear(&mean);
    /* n - ddof <= 0: NaN, or inf as NumPy has it */
    double divisor = n > ddof ? (double)(n - ddof) : 0;
    if (!status)
      status = ml_tensor_binary_number_into(&result, ML_DIV, divisor, err);
    if (!status)
      result.storage->version = 0;
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

/* ---- undoing a broadcast --------------------------------------------------------------------- */

ml_status ml_tensor_sum_to(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                           ml_error *err) {
  int extra = t->rank - shape->rank;
  unsigned axes = 0;
  bool good = extra >= 0;
  for (int k = 0; good && k < t->rank; k++) {
    int64_t to = k < extra ? 1 : shape->size[k - extra];
    good = to == t->size[k] || to == 1;
    if (k < extra || to != t->size[k])
      axes |= 1u << k;
  }
  if (!good) {
    char from[ML_DESCRIBE], to[ML_DESCRIBE];
    return ml_fail(err, ML_ESHAPE, 2, "cannot sum %s to %s", ml_describe(from, t),
                   ml_describe_shape(to, shape));
  }
  if (axes == 0) {
    ml_tensor_detach(out, t);
    return ML_OK;
  }
  ml_tensor sum = {0};
  ML_TRY(ml_tensor_reduce(&sum, ML_SUM, t, axes, true, err));
  ml_status status = ml_view_reshape(out, &sum, shape, err);
  ml_tensor_clear(&sum);
  return status;
}
