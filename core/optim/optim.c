/* Optimizers: state, the numbers of a step, and the rules run over all tensors by chunks. */
#include "optim.h"

#include <math.h>
#include <string.h>

#include "kernels.h"

#define CHUNK 32768 /* elements; fixed, so that sums do not depend on the number of threads */
#define SLOTS 2

typedef struct {
  ml_tensor w;
  ml_tensor state[SLOTS];
  double lr_scale, eps_scale, decay_scale;
  int64_t n, t;
  int64_t rows, cols; /* of a factored matrix; rows 0: not factored */
  ml_optim_numbers numbers;
} entry;

typedef struct {
  int tensor;
  int64_t start, n;
} chunk;

struct ml_optim {
  ml_optim_options options;
  entry *entries;
  int count, capacity;
  chunk *chunks;
  double *sums; /* one per chunk */
  int64_t n_chunks, chunk_capacity;
};

/* ---- dispatch ---- */

typedef struct {
#define POINTERS(real, T)                                                                          \
  void (*sgd_##T)(real *, const real *, real *, int64_t, const ml_optim_numbers *);                \
  void (*moments_##T)(const real *, const real *, real *, real *, int64_t,                         \
                      const ml_optim_numbers *);                                                   \
  void (*adam_##T)(real *, const real *, real *, real *, int64_t, const ml_optim_numbers *);       \
  void (*adam_apply_##T)(real *, const real *, const real *, int64_t, const ml_optim_numbers *);   \
  void (*atan2_##T)(real *, const real *, real *, real *, int64_t, const ml_optim_numbers *);      \
  void (*lion_##T)(real *, const real *, real *, int64_t, const ml_optim_numbers *);               \
  double (*sumsq_##T)(const real *, int64_t);                                                      \
  double (*clip_sumsq_##T)(const real *, const real *, const real *, int64_t,                      \
                           const ml_optim_numbers *);                                              \
  void (*factor_sums_##T)(const real *, const real *, int64_t, int64_t, double, double, double *,  \
                          double *);                                                               \
  double (*factored_u_##T)(const real *, const real *, real *, const double *, const double *,     \
                           int64_t, int64_t, double);                                              \
  double (*unfactored_u_##T)(const real *, const real *, real *, real *, int64_t, double, double,  \
                             double);                                                              \
  void (*apply_##T)(real *, const real *, int64_t, double, double);                                \
  void (*scale_##T)(real *, int64_t, double);
  POINTERS(float, f32)
  POINTERS(double, f64)
} kernels;

#define SET(T, S)                                                                                  \
  .sgd_##T = ml_optim_sgd_##S, .moments_##T = ml_optim_moments_##S, .adam_##T = ml_optim_adam_##S, \
  .adam_apply_##T = ml_optim_adam_apply_##S, .atan2_##T = ml_optim_atan2_##S,                      \
  .lion_##T = ml_optim_lion_##S, .sumsq_##T = ml_optim_sumsq_##S,                                  \
  .clip_sumsq_##T = ml_optim_clip_sumsq_##S, .factor_sums_##T = ml_optim_factor_sums_##S,          \
  .factored_u_##T = ml_optim_factored_u_##S, .unfactored_u_##T = ml_optim_unfactored_u_##S,        \
  .apply_##T = ml_optim_apply_##S, .scale_##T = ml_optim_scale_##S

static const kernels table[] = {
    [ML_ISA_PORTABLE] = {SET(f32, f32_portable), SET(f64, f64_portable)},
#if defined(__x86_64__)
    [ML_ISA_AVX2] = {SET(f32, f32_avx2), SET(f64, f64_avx2)},
    [ML_ISA_AVX512] = {SET(f32, f32_avx512), SET(f64, f64_avx512)},
#endif
};

/* ---- options ---- */

const char *ml_rule_name(ml_rule rule) {
  static const char *const names[] = {"sgd",       "adam",    "adamw", "adam_atan2",
                                      "adafactor", "adam_ps", "lion"};
  return names[rule];
}

void ml_optim_defaults(ml_optim_options *o, ml_rule rule) {
  *o = (ml_optim_options){.rule = rule,
                          .decay = ML_DECAY_INDEPENDENT,
                          .lr = 1e-3,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .eps = 1e-8,
                          .a = 1.27,
                          .b = 1,
                          .floor = 1e-3,
                          .factored = true,
                          .min_dim = 128,
                          .clip = 1,
                          .decay_exponent = 0.8,
                          .eps1 = 1e-30,
                          .eps2 = 1e-3,
                          .scale_parameter = true};
  if (rule == ML_ADAM)
    o->beta2 = 0.999;
  if (rule == ML_ADAM || rule == ML_SGD)
    o->decay = ML_DECAY_COUPLED;
  if (rule == ML_ADAMW)
    o->weight_decay = 1e-4;
  if (rule == ML_LION)
    o->decay = ML_DECAY_DECOUPLED, o->beta2 = 0.99, o->lr = 1e-4;
  if (rule == ML_ADAFACTOR)
    o->lr = 1e-2;
}

static ml_status nonnegative(double x, const char *name, ml_error *err) {
  if (!(x >= 0) || isinf(x))
    return ml_fail(err, ML_EARG, 2, "%s is %g, wanted a number >= 0", name,
                   isnan(x) ? (double)NAN : x);
  return ML_OK;
}

static ml_status fraction(double x, const char *name, ml_error *err) {
  if (!(x >= 0 && x < 1))
    return ml_fail(err, ML_EARG, 2, "%s is %g, wanted 0 <= %s < 1", name, x, name);
  return ML_OK;
}

ml_status ml_optim_check(const ml_optim_options *o, ml_error *err) {
  ML_TRY(nonnegative(o->lr, "lr", err));
  ML_TRY(fraction(o->beta1, "betas[1]", err));
  ML_TRY(fraction(o->beta2, "betas[2]", err));
  ML_TRY(nonnegative(o->eps, "eps", err));
  ML_TRY(nonnegative(o->weight_decay, "weight_decay", err));
  ML_TRY(fraction(o->momentum, "momentum", err));
  ML_TRY(nonnegative(o->a, "a", err));
  ML_TRY(nonnegative(o->b, "b", err));
  ML_TRY(nonnegative(o->floor, "floor", err));
  ML_TRY(nonnegative(o->decay_exponent, "decay_exponent", err));
  ML_TRY(nonnegative(o->eps1, "eps1", err));
  ML_TRY(nonnegative(o->eps2, "eps2", err));
  if (!(o->clip > 0))
    return ml_fail(err, ML_EARG, 2, "clip is %g, wanted > 0", o->clip);
  if (o->min_dim < 1)
    return ml_fail(err, ML_EARG, 2, "min_dim is %lld, wanted >= 1", (long long)o->min_dim);
  if (o->nesterov && o->momentum == 0)
    return ml_fail(err, ML_EARG, 2, "nesterov needs momentum > 0");
  if (o->rule == ML_LION && o->decay != ML_DECAY_DECOUPLED)
    return ml_fail(err, ML_EARG, 2, "lion's decay is decoupled");
  return ML_OK;
}

/* ---- life ---- */

ml_status ml_optim_new(ml_optim **optim, const ml_optim_options *options, ml_error *err) {
  ML_TRY(ml_optim_check(options, err));
  ml_optim *o = ml_alloc(sizeof *o);
  if (!o)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for an optimizer");
  o->options = *options;
  *optim = o;
  return ML_OK;
}

void ml_optim_free(ml_optim *o) {
  if (!o)
    return;
  for (int i = 0; i < o->count; i++) {
    ml_tensor_clear(&o->entries[i].w);
    for (int s = 0; s < SLOTS; s++)
      ml_tensor_clear(&o->entries[i].state[s]);
  }
  ml_free(o->entries);
  ml_free(o->chunks);
  ml_free(o->sums);
  ml_free(o);
}

int ml_optim_count(const ml_optim *o) { return o->count; }
const ml_tensor *ml_optim_tensor(const ml_optim *o, int i) { return &o->entries[i].w; }
ml_optim_options *ml_optim_options_of(ml_optim *o) { return &o->options; }
int64_t ml_optim_steps(const ml_optim *o, int i) { return o->entries[i].t; }
void ml_optim_set_steps(ml_optim *o, int i, int64_t t) { o->entries[i].t = t; }

static ml_status grow(ml_optim *o, int64_t chunks, ml_error *err) {
  if (o->count == o->capacity) {
    int capacity = o->capacity ? 2 * o->capacity : 16;
    entry *entries = ml_realloc(o->entries, (size_t)capacity * sizeof *entries);
    if (!entries)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory for the state of an optimizer");
    o->entries = entries;
    o->capacity = capacity;
  }
  if (o->n_chunks + chunks > o->chunk_capacity) {
    int64_t capacity = 2 * (o->n_chunks + chunks);
    chunk *list = ml_realloc(o->chunks, (size_t)capacity * sizeof *list);
    if (!list)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory for the state of an optimizer");
    o->chunks = list;
    double *sums = ml_realloc(o->sums, (size_t)capacity * sizeof *sums);
    if (!sums)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory for the state of an optimizer");
    o->sums = sums;
    o->chunk_capacity = capacity;
  }
  return ML_OK;
}

static int slots(const ml_optim_options *o) {
  switch (o->rule) {
  case ML_SGD:
    return o->momentum > 0 ? 1 : 0;
  case ML_LION:
    return 1;
  default:
    return 2;
  }
}

static ml_status make_state(const ml_optim_options *o, entry *e, ml_error *err) {
  ml_shape shape = ml_shape_of(&e->w);
  if (o->rule != ML_ADAFACTOR) {
    for (int s = 0; s < slots(o); s++)
      ML_TRY_INNER(ml_tensor_init_zeros(&e->state[s], e->w.dtype, &shape, err), err);
    return ML_OK;
  }
  int64_t cols = e->w.rank >= 2 ? e->w.size[e->w.rank - 1] : 0, rows = cols ? e->n / cols : 0;
  if (!o->factored || rows < o->min_dim || cols < o->min_dim)
    return ml_tensor_init_zeros(&e->state[0], e->w.dtype, &shape, err);
  e->rows = rows;
  e->cols = cols;
  ml_shape r = ml_shape_make(1, rows), c = ml_shape_make(1, cols);
  ML_TRY_INNER(ml_tensor_init_zeros(&e->state[0], ML_F64, &r, err), err);
  ML_TRY_INNER(ml_tensor_init_zeros(&e->state[1], ML_F64, &c, err), err);
  return ML_OK;
}

ml_status ml_optim_add(ml_optim *o, const ml_tensor *w, double lr_scale, double eps_scale,
                       double decay_scale, ml_error *err) {
  char text[ML_DESCRIBE];
  if (ml_tensor_empty(w) || !ml_is_real(w->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "a parameter is %s, wanted f32 or f64", ml_describe(text, w));
  if (!ml_is_contiguous(w))
    return ml_fail(err, ML_EARG, 1,
                   "a parameter of shape %s is a strided view, wanted a tensor of its own",
                   ml_describe(text, w));
  ML_TRY(nonnegative(lr_scale, "lr_scale", err));
  ML_TRY(nonnegative(eps_scale, "eps_scale", err));
  ML_TRY(nonnegative(decay_scale, "decay_scale", err));
  int64_t n = ml_numel(w), chunks = (n + CHUNK - 1) / CHUNK;
  ML_TRY(grow(o, chunks, err));
  entry *e = &o->entries[o->count];
  memset(e, 0, sizeof *e);
  ml_tensor_alias(&e->w, w);
  e->n = n;
  e->lr_scale = lr_scale;
  e->eps_scale = eps_scale;
  e->decay_scale = decay_scale;
  ml_status status = make_state(&o->options, e, err);
  if (status) {
    ml_tensor_clear(&e->w);
    for (int s = 0; s < SLOTS; s++)
      ml_tensor_clear(&e->state[s]);
    return status;
  }
  for (int64_t start = 0; start < n; start += CHUNK)
    o->chunks[o->n_chunks++] = (chunk){o->count, start, n - start < CHUNK ? n - start : CHUNK};
  o->count++;
  return ML_OK;
}

const char *ml_optim_slot(const ml_optim *o, int i, int slot, ml_tensor *state) {
  static const char *const adam[] = {"m", "v"}, *const factored[] = {"row", "column"};
  const entry *e = &o->entries[i];
  if (slot >= SLOTS || ml_tensor_empty(&e->state[slot]))
    return NULL;
  ml_tensor_alias(state, &e->state[slot]);
  if (o->options.rule == ML_SGD)
    return "momentum";
  if (o->options.rule == ML_ADAFACTOR)
    return e->rows ? factored[slot] : "v";
  return adam[slot];
}

/* ---- a step ---- */

typedef struct {
  ml_optim *o;
  const kernels *K;
  const ml_tensor *const *grads;
  int pass;
} step_call;

#define AT(real, t, start) (ML_DATA(real, t) + (start))

static void step_body(void *context, int64_t at, int worker) {
  (void)worker;
  step_call *c = context;
  const kernels *K = c->K;
  chunk k = c->o->chunks[at];
  entry *e = &c->o->entries[k.tensor];
  const ml_tensor *g = c->grads[k.tensor];
  if (!g)
    return;
  const ml_optim_numbers *numbers = &e->numbers;
  ml_rule rule = c->o->options.rule;
#define RUN(real, T)                                                                               \
  do {                                                                                             \
    real *w = AT(real, &e->w, k.start);                                                            \
    const real *gp = AT(real, g, k.start);                                                         \
    real *s0 = ml_tensor_empty(&e->state[0]) ? NULL : AT(real, &e->state[0], k.start);             \
    real *s1 = ml_tensor_empty(&e->state[1]) ? NULL : AT(real, &e->state[1], k.start);             \
    if (c->pass == 0 && rule == ML_ADAM_PS) {                                                      \
      c->o->sums[at] = K->sumsq_##T(w, k.n);                                                       \
    } else if (c->pass == 0) {                                                                     \
      K->moments_##T(w, gp, s0, s1, k.n, numbers);                                                 \
      c->o->sums[at] = K->clip_sumsq_##T(w, gp, s1, k.n, numbers);                                 \
    } else if (rule == ML_SGD) {                                                                   \
      K->sgd_##T(w, gp, s0, k.n, numbers);                                                         \
    } else if (rule == ML_LION) {                                                                  \
      K->lion_##T(w, gp, s0, k.n, numbers);                                                        \
    } else if (rule == ML_ADAM_ATAN2) {                                                            \
      K->atan2_##T(w, gp, s0, s1, k.n, numbers);                                                   \
    } else if (c->o->options.update_clip) {                                                        \
      K->adam_apply_##T(w, s0, s1, k.n, numbers);                                                  \
    } else {                                                                                       \
      K->adam_##T(w, gp, s0, s1, k.n, numbers);                                                    \
    }                                                                                              \
  } while (0)
  if (e->w.dtype == ML_F32)
    RUN(float, f32);
  else
    RUN(double, f64);
#undef RUN
}

static void run_pass(step_call *c, int pass) {
  c->pass = pass;
  ml_parallel_for(c->o->n_chunks, 8.0 * CHUNK, step_body, c);
}

/* The sum over a tensor's chunks, in index order. */
static double chunk_sum(const ml_optim *o, int tensor) {
  double sum = 0;
  for (int64_t k = 0; k < o->n_chunks; k++)
    if (o->chunks[k].tensor == tensor)
      sum += o->sums[k];
  return sum;
}

/* Adafactor, one tensor at a time by blocks of rows (of one row of CHUNK elements when not
 * factored). */
typedef struct {
  const kernels *K;
  entry *e;
  const ml_tensor *g;
  void *u;
  double *row, *partial_col, *r, *c, *sums;
  double eps1, coupled, beta2, lr, shrink;
  int64_t rows, cols, block;
  int pass;
} factor_call;

static void factor_body(void *context, int64_t at, int worker) {
  (void)worker;
  factor_call *f = context;
  const kernels *K = f->K;
  int64_t first = at * f->block, rows = f->rows - first < f->block ? f->rows - first : f->block,
          start = first * f->cols;
  int64_t n = rows * f->cols;
#define RUN(real, T)                                                                               \
  do {                                                                                             \
    real *w = AT(real, &f->e->w, start);                                                           \
    const real *g = AT(real, f->g, start);                                                         \
    real *u = (real *)f->u + start;                                                                \
    if (f->pass == 0) {                                                                            \
      f->sums[at] = K->sumsq_##T(w, n);                                                            \
      if (f->e->rows) {                                                                            \
        double *col = f->partial_col + at * f->cols;                                               \
        memset(col, 0, (size_t)f->cols * sizeof *col);                                             \
        K->factor_sums_##T(w, g, rows, f->cols, f->eps1, f->coupled, f->row + first, col);         \
      }                                                                                            \
    } else if (f->pass == 1) {                                                                     \
      f->sums[at] =                                                                                \
          f->e->rows ? K->factored_u_##T(w, g, u, f->r + first, f->c, rows, f->cols, f->coupled)   \
                     : K->unfactored_u_##T(w, g, u, AT(real, &f->e->state[0], start), n, f->beta2, \
                                           f->eps1, f->coupled);                                   \
    } else {                                                                                       \
      K->apply_##T(w, u, n, f->lr, f->shrink);                                                     \
    }                                                                                              \
  } while (0)
  if (f->e->w.dtype == ML_F32)
    RUN(float, f32);
  else
    RUN(double, f64);
#undef RUN
}

static double factor_pass(factor_call *f, int pass) {
  int64_t blocks = (f->rows + f->block - 1) / f->block;
  f->pass = pass;
  ml_parallel_for(blocks, 16.0 * (double)(f->block * f->cols), factor_body, f);
  double sum = 0;
  if (pass < 2)
    for (int64_t k = 0; k < blocks; k++)
      sum += f->sums[k];
  return sum;
}

static ml_status adafactor(const ml_optim_options *o, const kernels *K, entry *e,
                           const ml_tensor *g, double s, ml_arena *arena, ml_error *err) {
  factor_call f = {.K = K, .e = e, .g = g, .eps1 = o->eps1};
  f.rows = e->rows ? e->rows : (e->n + CHUNK - 1) / CHUNK;
  f.cols = e->rows ? e->cols : CHUNK;
  f.block = e->rows ? (CHUNK + f.cols - 1) / f.cols : 1;
  int64_t blocks = (f.rows + f.block - 1) / f.block, total = e->n;
  size_t element = ml_dtype_size(e->w.dtype);
  f.u = ml_arena_take(arena, (size_t)total * element);
  f.sums = ml_arena_take(arena, (size_t)blocks * sizeof(double));
  f.row = ml_arena_take(arena, (size_t)f.rows * sizeof(double));
  f.r = ml_arena_take(arena, (size_t)f.rows * sizeof(double));
  f.partial_col =
      e->rows ? ml_arena_take(arena, (size_t)(blocks * f.cols) * sizeof(double)) : f.sums;
  if (!f.u || !f.sums || !f.row || !f.r || !f.partial_col)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for an adafactor step");
  double lambda = o->weight_decay * e->decay_scale, lr = s * o->lr * e->lr_scale;
  double t = (double)(e->t + 1);
  f.beta2 = 1 - pow(t, -o->decay_exponent);
  f.coupled = o->decay == ML_DECAY_COUPLED ? lambda : 0;
  f.shrink = o->decay == ML_DECAY_INDEPENDENT ? s * lambda
             : o->decay == ML_DECAY_DECOUPLED ? lr * lambda
                                              : 0;

  /* a last block of CHUNK elements may be short when not factored: run it by its true length */
  double w_sumsq = 0, u_sumsq = 0;
  if (e->rows) {
    w_sumsq = factor_pass(&f, 0);
    double *R = ML_DATA(double, &e->state[0]), *C = ML_DATA(double, &e->state[1]), mean = 0;
    for (int64_t i = 0; i < f.rows; i++) {
      R[i] = f.beta2 * R[i] + (1 - f.beta2) * f.row[i];
      mean += R[i];
    }
    mean /= (double)f.rows;
    for (int64_t j = 0; j < f.cols; j++) {
      double sum = 0;
      for (int64_t b = 0; b < blocks; b++)
        sum += f.partial_col[b * f.cols + j];
      C[j] = f.beta2 * C[j] + (1 - f.beta2) * sum / (double)f.rows;
    }
    for (int64_t i = 0; i < f.rows; i++)
      f.r[i] = R[i] / mean;
    f.c = C;
    u_sumsq = factor_pass(&f, 1);
  } else {
    int64_t whole = e->n / CHUNK, rest = e->n % CHUNK;
    f.rows = whole;
    w_sumsq = factor_pass(&f, 0);
    u_sumsq = factor_pass(&f, 1);
    if (rest) {
      if (e->w.dtype == ML_F32) {
        const float *w = AT(float, &e->w, whole *CHUNK);
        w_sumsq += K->sumsq_f32(w, rest);
        u_sumsq += K->unfactored_u_f32(w, AT(float, g, whole *CHUNK), (float *)f.u + whole * CHUNK,
                                       AT(float, &e->state[0], whole *CHUNK), rest, f.beta2, f.eps1,
                                       f.coupled);
      } else {
        const double *w = AT(double, &e->w, whole *CHUNK);
        w_sumsq += K->sumsq_f64(w, rest);
        u_sumsq += K->unfactored_u_f64(
            w, AT(double, g, whole *CHUNK), (double *)f.u + whole * CHUNK,
            AT(double, &e->state[0], whole *CHUNK), rest, f.beta2, f.eps1, f.coupled);
      }
    }
  }
  double rms_u = sqrt(u_sumsq / (double)total), rms_w = sqrt(w_sumsq / (double)total);
  f.lr = lr / fmax(1, rms_u / o->clip);
  if (rms_u != rms_u)
    f.lr = rms_u; /* fmax would hide a NaN */
  if (o->scale_parameter)
    f.lr *= rms_w > o->eps2 ? rms_w : o->eps2;
  if (e->rows) {
    factor_pass(&f, 2);
  } else {
    int64_t whole = e->n / CHUNK, rest = e->n % CHUNK;
    factor_pass(&f, 2);
    if (rest && e->w.dtype == ML_F32)
      K->apply_f32(AT(float, &e->w, whole *CHUNK), (float *)f.u + whole * CHUNK, rest, f.lr,
                   f.shrink);
    else if (rest)
      K->apply_f64(AT(double, &e->w, whole *CHUNK), (double *)f.u + whole * CHUNK, rest, f.lr,
                   f.shrink);
  }
  return ML_OK;
}

static ml_status check_grads(const ml_optim *o, const ml_tensor *const *grads, ml_error *err) {
  for (int i = 0; i < o->count; i++) {
    const ml_tensor *g = grads[i], *w = &o->entries[i].w;
    if (!g)
      continue;
    char a[ML_DESCRIBE], b[ML_DESCRIBE];
    ml_shape gs = ml_shape_of(g), ws = ml_shape_of(w);
    if (ml_tensor_empty(w))
      return ml_fail(err, ML_ESTATE, 0, "parameter %d was released", i + 1);
    if (g->dtype != w->dtype || !ml_shape_equal(&gs, &ws))
      return ml_fail(err, ML_ESHAPE, 2, "gradient %d is %s, wanted its parameter's %s", i + 1,
                     ml_describe(a, g), ml_describe(b, w));
  }
  return ML_OK;
}

static void set_numbers(const ml_optim_options *o, entry *e, double s) {
  double lambda = o->weight_decay * e->decay_scale, lr = s * o->lr * e->lr_scale, t = (double)e->t;
  e->numbers = (ml_optim_numbers){.lr = lr,
                                  .beta1 = o->beta1,
                                  .beta2 = o->beta2,
                                  .eps = o->eps * e->eps_scale,
                                  .a = o->a,
                                  .b = o->b,
                                  .c1 = 1 / (1 - pow(o->beta1, t)),
                                  .c2 = 1 / (1 - pow(o->beta2, t)),
                                  .momentum = o->momentum,
                                  .nesterov = o->nesterov,
                                  .first = e->t == 1,
                                  .coupled = o->decay == ML_DECAY_COUPLED ? lambda : 0,
                                  .shrink = o->decay == ML_DECAY_INDEPENDENT ? s * lambda
                                            : o->decay == ML_DECAY_DECOUPLED ? lr * lambda
                                                                             : 0};
}

/* Contiguous gradients (their own, nearly always) in `held`, then the rule. */
static ml_status step_with(ml_optim *o, double s, const ml_tensor *const *grads, ml_arena *arena,
                           ml_error *err) {
  const kernels *K = &table[ml_cpu_isa()];
  const ml_optim_options *options = &o->options;
  for (int i = 0; i < o->count; i++)
    if (grads[i])
      ml_touch(&o->entries[i].w);
  if (options->rule == ML_ADAFACTOR) {
    for (int i = 0; i < o->count; i++) {
      if (!grads[i] || o->entries[i].n == 0)
        continue;
      size_t mark = ml_arena_mark(arena);
      ml_status status = adafactor(options, K, &o->entries[i], grads[i], s, arena, err);
      ml_arena_release(arena, mark);
      ML_TRY(status);
      o->entries[i].t++;
    }
    return ML_OK;
  }
  for (int i = 0; i < o->count; i++) {
    if (!grads[i])
      continue;
    o->entries[i].t++;
    set_numbers(options, &o->entries[i], s);
  }
  step_call c = {o, K, grads, 0};
  bool clips = options->update_clip && (options->rule == ML_ADAM || options->rule == ML_ADAMW);
  if (options->rule == ML_ADAM_PS || clips) {
    run_pass(&c, 0);
    for (int i = 0; i < o->count; i++) {
      entry *e = &o->entries[i];
      if (!grads[i] || e->n == 0)
        continue;
      double rms = sqrt(chunk_sum(o, i) / (double)e->n);
      if (clips)
        e->numbers.lr /= rms > 1 || rms != rms ? rms : 1;
      else
        e->numbers.lr *= rms > options->floor ? rms : options->floor;
    }
  }
  run_pass(&c, 1);
  return ML_OK;
}

/* A step is never cut in the middle: an interrupt is honoured before it or after it. */
ml_status ml_optim_step(ml_optim *o, double s, const ml_tensor *const *grads, ml_error *err) {
  if (!isfinite(s))
    return ml_fail(err, ML_EARG, 1, "the multiplier is %g, wanted a finite number",
                   isnan(s) ? (double)NAN : s);
  ML_TRY(ml_optim_check(&o->options, err));
  ML_TRY(check_grads(o, grads, err));
  ML_POLL(err);
  ml_arena *arena = ml_scratch();
  if (!arena)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for an optimizer step");
  size_t mark = ml_arena_mark(arena);
  const ml_tensor **list = ml_arena_take(arena, (size_t)(o->count + 1) * sizeof *list);
  ml_tensor *held = ml_arena_take(arena, (size_t)(o->count + 1) * sizeof *held);
  ml_status status = ML_OK;
  int made = 0;
  if (!list || !held)
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory for an optimizer step");
  for (; !status && made < o->count; made++) {
    memset(&held[made], 0, sizeof *held);
    list[made] = grads[made] ? &held[made] : NULL;
    if (grads[made])
      status = ml_tensor_contiguous(&held[made], grads[made], err);
  }
  if (!status)
    status = step_with(o, s, list, arena, err);
  for (int i = 0; i < made; i++)
    ml_tensor_clear(&held[i]);
  ml_arena_release(arena, mark);
  return status;
}

/* ---- clipping ---- */

typedef struct {
  const kernels *K;
  ml_tensor *const *grads;
  const chunk *chunks;
  double *sums;
  double factor;
} clip_call;

static double gradient_at(const ml_tensor *g, int64_t i) {
  return g->dtype == ML_F32 ? (double)*AT(float, g, i) : *AT(double, g, i);
}

/* The largest magnitude in a chunk; NaN counts for nothing, the sum of squares has told of it. */
static void clip_largest(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  chunk k = c->chunks[at];
  double largest = 0;
  for (int64_t i = k.start; i < k.start + k.n; i++)
    largest = fmax(largest, fabs(gradient_at(c->grads[k.tensor], i)));
  c->sums[at] = largest;
}

static void clip_scaled_sum(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  chunk k = c->chunks[at];
  double sum = 0;
  for (int64_t i = k.start; i < k.start + k.n; i++) {
    double g = gradient_at(c->grads[k.tensor], i) * c->factor;
    sum += g * g;
  }
  c->sums[at] = sum;
}

static void clip_sum(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  chunk k = c->chunks[at];
  const ml_tensor *g = c->grads[k.tensor];
  c->sums[at] = g->dtype == ML_F32 ? c->K->sumsq_f32(AT(float, g, k.start), k.n)
                                   : c->K->sumsq_f64(AT(double, g, k.start), k.n);
}

static void clip_scale(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  chunk k = c->chunks[at];
  const ml_tensor *g = c->grads[k.tensor];
  if (g->dtype == ML_F32)
    c->K->scale_f32(AT(float, g, k.start), k.n, c->factor);
  else
    c->K->scale_f64(AT(double, g, k.start), k.n, c->factor);
}

ml_status ml_clip_grad_norm(double *norm, ml_tensor *const *grads, int n, double max_norm,
                            ml_error *err) {
  if (!(max_norm > 0))
    return ml_fail(err, ML_EARG, 2, "the largest norm is %g, wanted > 0", max_norm);
  int64_t total = 0;
  for (int i = 0; i < n; i++) {
    if (!grads[i] || ml_tensor_empty(grads[i]))
      continue;
    char text[ML_DESCRIBE];
    if (!ml_is_real(grads[i]->dtype) || !ml_is_contiguous(grads[i]))
      return ml_fail(err, ML_EARG, 1, "gradient %d is %s, wanted a contiguous f32 or f64 tensor",
                     i + 1, ml_describe(text, grads[i]));
    total += (ml_numel(grads[i]) + CHUNK - 1) / CHUNK;
  }
  ml_arena *arena = ml_scratch();
  if (!arena)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for clipping");
  size_t mark = ml_arena_mark(arena);
  chunk *chunks = ml_arena_take(arena, (size_t)(total + 1) * sizeof *chunks);
  double *sums = ml_arena_take(arena, (size_t)(total + 1) * sizeof *sums);
  if (!chunks || !sums) {
    ml_arena_release(arena, mark);
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for clipping");
  }
  int64_t count = 0;
  for (int i = 0; i < n; i++) {
    if (!grads[i] || ml_tensor_empty(grads[i]))
      continue;
    int64_t size = ml_numel(grads[i]);
    for (int64_t start = 0; start < size; start += CHUNK)
      chunks[count++] = (chunk){i, start, size - start < CHUNK ? size - start : CHUNK};
  }
  clip_call c = {&table[ml_cpu_isa()], grads, chunks, sums, 1};
  ml_parallel_for(count, 2.0 * CHUNK, clip_sum, &c);
  double sum = 0;
  for (int64_t k = 0; k < count; k++)
    sum += sums[k];
  int exponent = 0;                   /* sum is that of the squares of g 2^-exponent */
  if (isinf(sum) || sum < 0x1p-960) { /* squares may have left the range of double */
    ml_parallel_for(count, 2.0 * CHUNK, clip_largest, &c);
    double largest = 0;
    for (int64_t k = 0; k < count; k++)
      largest = fmax(largest, sums[k]);
    if (largest > 0 && isfinite(largest)) {
      (void)frexp(largest, &exponent);
      exponent = exponent < -1000 ? -1000 : exponent; /* so that 2^-exponent is a double */
      c.factor = ldexp(1, -exponent);
      ml_parallel_for(count, 2.0 * CHUNK, clip_scaled_sum, &c);
      sum = 0;
      for (int64_t k = 0; k < count; k++)
        sum += sums[k];
    }
  }
  double root = sqrt(sum);
  *norm = ldexp(root, exponent);
  if (isfinite(sum) && *norm > max_norm) {
    if (exponent) { /* in two steps, as their product may be no double */
      c.factor = ldexp(1, -exponent);
      ml_parallel_for(count, 2.0 * CHUNK, clip_scale, &c);
    }
    c.factor = max_norm / root;
    ml_parallel_for(count, 2.0 * CHUNK, clip_scale, &c);
    for (int i = 0; i < n; i++)
      if (grads[i] && !ml_tensor_empty(grads[i]))
        ml_touch(grads[i]);
  }
  ml_arena_release(arena, mark);
  return ML_OK;
}
