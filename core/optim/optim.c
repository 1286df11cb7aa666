/* Optimizers: their life, the numbers of a step, and the elementwise rules over the chunks of all
 * tensors. */
#include "state.h"

#include <math.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

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
    for (int s = 0; s < ML_OPTIM_SLOTS; s++)
      ml_tensor_clear(&o->entries[i].state[s]);
  }
  ml_free(o->entries);
  ml_free(o->chunks);
  ml_free(o->sums);
  ml_free(o);
}

int ml_optim_count(const ml_optim *o) { return o->count; }
const ml_tensor *ml_optim_tensor(const ml_optim *o, int i) { return &o->entries[i].w; }
const ml_optim_options *ml_optim_options_of(const ml_optim *o) { return &o->options; }
int64_t ml_optim_steps(const ml_optim *o, int i) { return o->entries[i].t; }
void ml_optim_set_steps(ml_optim *o, int i, int64_t t) { o->entries[i].t = t; }

static ml_status grow(ml_optim *o, int64_t chunks, ml_error *err) {
  if (o->count == o->capacity) {
    int capacity = o->capacity ? 2 * o->capacity : 16;
    ml_optim_entry *entries = ml_realloc(o->entries, (size_t)capacity * sizeof *entries);
    if (!entries)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory for the state of an optimizer");
    o->entries = entries;
    o->capacity = capacity;
  }
  if (o->n_chunks + chunks > o->chunk_capacity) {
    int64_t capacity = 2 * (o->n_chunks + chunks);
    ml_optim_chunk *list = ml_realloc(o->chunks, (size_t)capacity * sizeof *list);
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

static ml_status make_state(const ml_optim_options *o, ml_optim_entry *e, ml_error *err) {
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
  ML_TRY(ml_optim_nonnegative(lr_scale, "lr_scale", err));
  ML_TRY(ml_optim_nonnegative(eps_scale, "eps_scale", err));
  ML_TRY(ml_optim_nonnegative(decay_scale, "decay_scale", err));
  int64_t n = ml_numel(w), chunks = (n + ML_OPTIM_CHUNK - 1) / ML_OPTIM_CHUNK;
  ML_TRY(grow(o, chunks, err));
  ml_optim_entry *e = &o->entries[o->count];
  memset(e, 0, sizeof *e);
  ml_tensor_alias(&e->w, w);
  e->n = n;
  e->lr_scale = lr_scale;
  e->eps_scale = eps_scale;
  e->decay_scale = decay_scale;
  ml_status status = make_state(&o->options, e, err);
  if (status) {
    ml_tensor_clear(&e->w);
    for (int s = 0; s < ML_OPTIM_SLOTS; s++)
      ml_tensor_clear(&e->state[s]);
    return status;
  }
  for (int64_t start = 0; start < n; start += ML_OPTIM_CHUNK)
    o->chunks[o->n_chunks++] =
        (ml_optim_chunk){o->count, start, n - start < ML_OPTIM_CHUNK ? n - start : ML_OPTIM_CHUNK};
  o->count++;
  return ML_OK;
}

const char *ml_optim_slot(const ml_optim *o, int i, int slot, ml_tensor *state) {
  static const char *const adam[] = {"m", "v"}, *const factored[] = {"row", "column"};
  const ml_optim_entry *e = &o->entries[i];
  if (slot >= ML_OPTIM_SLOTS || ml_tensor_empty(&e->state[slot]))
    return NULL;
  ml_tensor_alias(state, &e->state[slot]);
  if (o->options.rule == ML_SGD)
    return "momentum";
  if (o->options.rule == ML_ADAFACTOR)
    return e->rows ? factored[slot] : "v";
  return adam[slot];
}

/* ---- the elementwise rules ------------------------------------------------------------------- */

typedef struct {
  ml_optim *o;
  const ml_tensor *const *grads;
  bool clips; /* Adam in two passes: moments with the sum behind the clip, then the update */
  int pass;   /* 0: sums of the whole tensor, for adam_ps and clips; 1: the update */
} step_call;

static void step_body(void *context, int64_t at, int worker) {
  (void)worker;
  step_call *c = context;
  ml_optim_chunk k = c->o->chunks[at];
  ml_optim_entry *e = &c->o->entries[k.tensor];
  if (!c->grads[k.tensor])
    return;
  const ml_optim_kernels *K = ml_optim_rules(e->w.dtype);
  const ml_optim_numbers *numbers = &e->numbers;
  ml_rule rule = c->o->options.rule;
  const void *g = ml_optim_at(c->grads[k.tensor], k.start);
  void *w = ml_optim_at(&e->w, k.start), *s0 = ml_optim_at(&e->state[0], k.start),
       *s1 = ml_optim_at(&e->state[1], k.start);
  if (c->pass == 0 && rule == ML_ADAM_PS) {
    c->o->sums[at] = K->sumsq(w, k.n);
  } else if (c->pass == 0) {
    K->moments(w, g, s0, s1, k.n, numbers);
    c->o->sums[at] = K->clip_sumsq(w, g, s1, k.n, numbers);
  } else if (rule == ML_SGD) {
    K->sgd(w, g, s0, k.n, numbers);
  } else if (rule == ML_LION) {
    K->lion(w, g, s0, k.n, numbers);
  } else if (rule == ML_ADAM_ATAN2) {
    K->atan2(w, g, s0, s1, k.n, numbers);
  } else if (c->clips) {
    K->adam_apply(w, s0, s1, k.n, numbers);
  } else {
    K->adam(w, g, s0, s1, k.n, numbers);
  }
}

static void run_pass(step_call *c, int pass) {
  c->pass = pass;
  ml_parallel_for(c->o->n_chunks, 8.0 * ML_OPTIM_CHUNK, step_body, c);
}

/* The sum over a tensor's chunks, in index order. */
static double chunk_sum(const ml_optim *o, int tensor) {
  double sum = 0;
  for (int64_t k = 0; k < o->n_chunks; k++)
    if (o->chunks[k].tensor == tensor)
      sum += o->sums[k];
  return sum;
}

static void elementwise(ml_optim *o, double s, const ml_tensor *const *grads) {
  const ml_optim_options *options = &o->options;
  for (int i = 0; i < o->count; i++)
    if (grads[i])
      ml_optim_begin(options, &o->entries[i], s);
  step_call c = {o, grads, options->update_clip, 0};
  if (options->rule == ML_ADAM_PS || c.clips) {
    run_pass(&c, 0);
    for (int i = 0; i < o->count; i++) {
      ml_optim_entry *e = &o->entries[i];
      if (!grads[i] || e->n == 0)
        continue;
      double rms = sqrt(chunk_sum(o, i) / (double)e->n);
      if (c.clips)
        e->numbers.lr /= rms > 1 || rms != rms ? rms : 1;
      else
        e->numbers.lr *= rms > options->floor ? rms : options->floor;
    }
  }
  run_pass(&c, 1);
}

/* ---- a step ---------------------------------------------------------------------------------- */

void ml_optim_begin(const ml_optim_options *o, ml_optim_entry *e, double s) {
  ml_touch(&e->w);
  e->t++;
  double lambda = o->weight_decay * e->decay_scale, lr = s * o->lr * e->lr_scale, t = (double)e->t;
  e->numbers = (ml_optim_numbers){.lr = lr,
                                  .beta1 = o->betas[0],
                                  .beta2 = o->betas[1],
                                  .eps = o->eps * e->eps_scale,
                                  .a = o->a,
                                  .b = o->b,
                                  .c1 = 1 / (1 - pow(o->betas[0], t)),
                                  .c2 = 1 / (1 - pow(o->betas[1], t)),
                                  .momentum = o->momentum,
                                  .nesterov = o->nesterov,
                                  .first = e->t == 1,
                                  .coupled = o->decay == ML_DECAY_COUPLED ? lambda : 0,
                                  .shrink = o->decay == ML_DECAY_INDEPENDENT ? s * lambda
                                            : o->decay == ML_DECAY_DECOUPLED ? lr * lambda
                                                                             : 0};
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

/* A step is never cut in the middle: an interrupt is honoured before it or after it, and all memory
 * is taken before the first update. Gradients are read contiguous (their own tensors, nearly
 * always). */
ml_status ml_optim_step(ml_optim *o, double s, const ml_tensor *const *grads, ml_error *err) {
  if (!isfinite(s))
    return ml_fail(err, ML_EARG, 1, "the multiplier is %g, wanted a finite number",
                   isnan(s) ? (double)NAN : s);
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
  if (!status && o->options.rule == ML_ADAFACTOR)
    status = ml_optim_adafactor(o, s, list, arena, err);
  else if (!status)
    elementwise(o, s, list);
  for (int i = 0; i < made; i++)
    ml_tensor_clear(&held[i]);
  ml_arena_release(arena, mark);
  return status;
}
