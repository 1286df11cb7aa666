/* Sampling many prompts: admits rows as the cache has room, prefills, steps all rows at once, lets
 * finished rows leave. */
#include "decoding.h"

#include <string.h>

enum {
  MOST_ROWS = 1024,  /* stepping at once; more would not be faster */
  PREFILL_ROWS = 64, /* positions of prompts in one pass */
  STEPS = 16,        /* that a group takes before rows are gathered anew */
  NAME_LENGTH = 3    /* of the name "row" that streams are folded with */
};
/* Bytes that a row takes besides its tokens and their log probabilities: two tensors of a caller,
 * as Lua holds them. Counted so that a row count that cannot end well is refused at the start. */
#define ROW_HANDLES 1024
#define MOST_CACHE ((uint64_t)1 << 30) /* bytes of cache, unless a single row wants more */

typedef struct {
  ml_span span;
  char *logits; /* of its last position */
  int64_t rows; /* not yet ended */
} prompt_state;

typedef struct {
  int64_t index, prompt;
  ml_span *tail; /* what follows the prompt's full blocks */
  uint64_t key;
  bool done, failed;
} live_row;

typedef struct {
  ml_decoding decoding;
  const ml_generate_options *options;
  const int64_t *const *prompt;
  const int64_t *length;
  int64_t n_prompts, rows;
  ml_samples *out;
  bool *stop; /* [V] */
  prompt_state *prompts;
  live_row *live;     /* [most] */
  ml_decode_row *row; /* [most], beside live */
  int64_t *fresh;     /* [most] prompts to prefill */
  char *pool;         /* one block: its pages are large ones */
  ml_span *slot;      /* [most] parts of the pool */
  ml_span **vacant;   /* [n_vacant] */
  int64_t n_vacant;
  int64_t most, n_live, n_fresh, next;
  int64_t first_new; /* live rows from here on have no token yet */
  uint64_t cache, budget;
  ml_decode_scratch *scratch; /* [threads] */
  int threads;
  char *memory;
  int64_t group;
  int64_t *bound; /* prefill groups: fresh prompts bound[g] .. bound[g+1]-1 */
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void ml_generate_options_default(ml_generate_options *o) {
  *o = (ml_generate_options){.n = 1, .max_new = 64, .temperature = 1, .top_p = 1};
}

void ml_samples_clear(ml_samples *s) {
  ml_free(s->tokens);
  ml_free(s->logprobs);
  ml_free(s->length);
  ml_free(s->finished);
  memset(s, 0, sizeof *s);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* New tokens a prompt of this length has room for. */
static int64_t room_after(const ml_transformer_config *c, const ml_generate_options *o,
                          int64_t length) {
  return least(o->max_new, c->context + 1 - length);
}
static int64_t full_blocks(int64_t length) { return length / ML_CACHE_BLOCK * ML_CACHE_BLOCK; }
/* Positions of a row's own: the rest of the prompt and all new tokens but the last, which is never
 * read. */
static int64_t tail_positions(const ml_transformer_config *c, const ml_generate_options *o,
                              int64_t length) {
  return length - full_blocks(length) + room_after(c, o, length) - 1;
}

/* Rows that scratch is for: groups are halves at most. */
static int64_t scratch_rows(int64_t rows) {
  int64_t half = (rows + 1) / 2, most = half < ML_DECODE_GROUP ? half : ML_DECODE_GROUP;
  return most > PREFILL_ROWS ? most : PREFILL_ROWS;
}

static uint64_t budget(void) {
  ml_memory_info info;
  ml_memory(&info);
  uint64_t half = info.limit > info.live ? (info.limit - info.live) / 2 : 0;
  return half < MOST_CACHE ? half : MOST_CACHE;
}

/* How the cache is cut: rows at once, positions of a row's own, bytes of the largest prompt. */
typedef struct {
  int64_t rows, tail;
  uint64_t tail_bytes, prompt_bytes;
} cache_plan;

static cache_plan plan_cache(const ml_decoding *d, const int64_t *length, int64_t n_prompts,
                             const ml_generate_options *o, uint64_t most) {
  cache_plan p = {0};
  int64_t rows = 0;
  for (int64_t i = 0; i < n_prompts; i++) {
    if (room_after(&d->model->config, o, length[i]) < 1)
      continue;
    int64_t tail = tail_positions(&d->model->config, o, length[i]);
    uint64_t prompt = (uint64_t)(ml_span_bytes(d, length[i]) + d->V * d->esize);
    p.tail = tail > p.tail ? tail : p.tail;
    p.prompt_bytes = prompt > p.prompt_bytes ? prompt : p.prompt_bytes;
    rows = least(rows + least(o->n, MOST_ROWS), MOST_ROWS);
  }
  p.tail_bytes = (uint64_t)ml_span_bytes(d, p.tail) + 64;
  uint64_t each = p.tail_bytes + p.prompt_bytes / (uint64_t)o->n + 1;
  p.rows = most / each < (uint64_t)rows ? (int64_t)(most / each) : rows;
  if (p.rows < 1)
    p.rows = 1;
  return p;
}

/* ML_ENOMEM when not even one row at a time fits: the results, the packed weights, the cache of a
 * row and its prompt, and scratch. */
static ml_status fits(const ml_transformer *m, const ml_samples *out, const int64_t *length,
                      int64_t n_prompts, const ml_generate_options *o, ml_error *err) {
  ml_decoding d;
  ml_decoding_sizes(&d, m, o->cache_bf16);
  int64_t weights = m->config.tied ? d.V * d.d : 0;
  for (int64_t i = 0; i < m->n_params; i++)
    if (i != m->tokens && i != m->positions)
      weights += ml_numel(&m->params[i].tensor);
  cache_plan p = plan_cache(&d, length, n_prompts, o, 0);
  const int64_t some = scratch_rows(out->rows);
  double results =
      (double)out->rows * ((double)out->room * (sizeof *out->tokens + sizeof *out->logprobs) +
                           sizeof *out->length + sizeof *out->finished + ROW_HANDLES);
  double rest = (double)(weights * d.esize) + (double)p.tail_bytes + (double)p.prompt_bytes +
                (double)((size_t)ml_threads() * ml_decode_scratch_bytes(&d, some, some));
  ml_memory_info info;
  ml_memory(&info);
  double vacant = info.limit > info.live ? (double)(info.limit - info.live) : 0;
  const double MiB = 1 << 20;
  if (results + rest > vacant)
    return ml_fail(err, ML_ENOMEM, 0,
                   "%lld rows of up to %lld new tokens need %.1f MiB, and %.1f MiB to decode one "
                   "row at a time: more "
                   "than the %.1f MiB that are free",
                   (long long)out->rows, (long long)out->room, results / MiB, rest / MiB,
                   vacant / MiB);
  return ML_OK;
}

/* ---- a row's life ---------------------------------------------------------------------------- */

/* Points the row at its cache: the tail and the prompt's span are where they are now. */
static void aim(job *j, int64_t k) {
  const live_row *r = &j->live[k];
  ml_decode_row *row = &j->row[k];
  int64_t P = j->length[r->prompt], full = full_blocks(P),
          own = P - full + j->out->length[r->index];
  row->span[0] = full ? &j->prompts[r->prompt].span : r->tail;
  row->seen[0] = full ? full : own;
  row->span[1] = full ? r->tail : NULL;
  row->seen[1] = full ? own : 0;
}

/* Draws the next token from logits and readies the row for the step after. [any thread] */
static void advance(job *j, int64_t k, const void *logits, ml_decode_scratch *s) {
  const ml_generate_options *o = j->options;
  live_row *r = &j->live[k];
  ml_samples *out = j->out;
  int64_t *length = &out->length[r->index], at = r->index * out->room + *length, id = 0;
  if (!ml_draw(&j->decoding, o, logits, r->key, (uint64_t)*length, s, &id, &out->logprobs[at])) {
    r->failed = r->done = true;
    return;
  }
  out->tokens[at] = id;
  ++*length;
  int64_t P = j->length[r->prompt];
  out->finished[r->index] = j->stop[id];
  r->done = j->stop[id] || *length >= room_after(&j->decoding.model->config, o, P);
  j->row[k].token = id;
  j->row[k].position = P + *length - 1;
  if (!r->done)
    aim(j, k);
}

/* Takes rows that ended out of the batch; the others keep their order. */
static ml_status compact(job *j, ml_error *err) {
  int64_t kept = 0;
  ml_status status = ML_OK;
  for (int64_t k = 0; k < j->n_live; k++) {
    live_row *r = &j->live[k];
    if (!r->done) {
      if (kept != k) {
        j->live[kept] = *r;
        j->row[kept] = j->row[k];
      }
      kept++;
      continue;
    }
    if (r->failed && !status)
      status = ml_fail(err, ML_ENUMERIC, 0,
                       "the logits after %lld new tokens of prompt %lld are NaN or infinite",
                       (long long)j->out->length[r->index], (long long)(r->prompt + 1));
    prompt_state *p = &j->prompts[r->prompt];
    j->vacant[j->n_vacant++] = r->tail;
    if (--p->rows == 0) {
      j->cache -=
          (uint64_t)(ml_span_bytes(&j->decoding, p->span.cap) + j->decoding.V * j->decoding.esize);
      ml_span_close(&p->span);
      ml_block_free(p->logits);
      p->logits = NULL;
    }
  }
  j->n_live = kept;
  for (int64_t k = 0; k < kept; k++)
    aim(j, k);
  return status;
}

/* ---- admission ------------------------------------------------------------------------------- */

/* Takes the next row with its cache, and its prompt when it is the first of it; all or nothing. */
static ml_status admit_one(job *j, ml_error *err) {
  const ml_decoding *d = &j->decoding;
  const ml_generate_options *o = j->options;
  int64_t i = j->next / o->n, P = j->length[i];
  prompt_state *p = &j->prompts[i];
  if (!p->logits) {
    ml_span span = {0};
    ML_TRY(ml_span_open(&span, d, P, err));
    char *logits = ml_block_new((size_t)(d->V * d->esize));
    if (!logits) {
      ml_span_close(&span);
      return ml_fail(err, ML_ENOMEM, 0, "no memory for the logits of a prompt");
    }
    *p = (prompt_state){.span = span, .logits = logits, .rows = o->n};
    j->cache += (uint64_t)(ml_span_bytes(d, P) + d->V * d->esize);
    j->fresh[j->n_fresh++] = i;
  }
  live_row row = {.index = j->next, .prompt = i, .tail = j->vacant[--j->n_vacant]};
  if (!o->greedy)
    row.key = ml_rng_fold(&o->keys[i], "row", NAME_LENGTH, j->next % o->n + 1).key;
  j->live[j->n_live] = row;
  j->row[j->n_live++] = (ml_decode_row){.wanted = true};
  j->next++;
  return ML_OK;
}

static ml_status admit(job *j, ml_error *err) {
  j->n_fresh = 0;
  j->first_new = j->n_live;
  if (j->n_live > j->most * 3 / 4)
    return ML_OK;
  while (j->next < j->rows && j->n_live < j->most) {
    int64_t i = j->next / j->options->n, P = j->length[i];
    if (room_after(&j->decoding.model->config, j->options, P) < 1) { /* max_new is 0 */
      j->next++;
      continue;
    }
    int64_t more = 0;
    if (!j->prompts[i].logits)
      more = ml_span_bytes(&j->decoding, P) + j->decoding.V * j->decoding.esize;
    if (j->n_live > 0 && j->cache + (uint64_t)more > j->budget)
      break;
    ml_status status = admit_one(j, err);
    if (status == ML_ENOMEM && j->n_live > 0)
      break; /* as many as there is room for */
    ML_TRY(status);
  }
  if (j->cache > j->out->cache_bytes)
    j->out->cache_bytes = j->cache;
  return ML_OK;
}

/* ---- prefill --------------------------------------------------------------------------------- */

static void flush(job *j, const ml_decode_row *rows, int64_t n, int64_t *owner,
                  ml_decode_scratch *s) {
  const int64_t bytes = j->decoding.V * j->decoding.esize;
  ml_decode_rows(&j->decoding, rows, n, s);
  for (int64_t i = 0, w = 0; i < n; i++)
    if (rows[i].wanted)
      memcpy(j->prompts[owner[i]].logits, s->logits + w++ * bytes, (size_t)bytes);
}

/* The positions of a group's prompts, PREFILL_ROWS at a time. */
static void prefill_group(void *ctx, int64_t g, int worker) {
  job *j = ctx;
  ml_decode_row rows[PREFILL_ROWS];
  int64_t owner[PREFILL_ROWS], n = 0;
  for (int64_t f = j->bound[g]; f < j->bound[g + 1]; f++) {
    int64_t i = j->fresh[f], P = j->length[i];
    for (int64_t t = 0; t < P; t++) {
      rows[n] = (ml_decode_row){.token = j->prompt[i][t],
                                .position = t,
                                .span = {&j->prompts[i].span},
                                .seen = {t + 1},
                                .wanted = t + 1 == P};
      owner[n++] = i;
      if (n == PREFILL_ROWS) {
        if (ml_cancelled())
          return;
        flush(j, rows, n, owner, &j->scratch[worker]);
        n = 0;
      }
    }
  }
  if (n && !ml_cancelled())
    flush(j, rows, n, owner, &j->scratch[worker]);
}

static double row_cost(const ml_decoding *d) {
  return 2.0 * (double)d->depth * (double)d->d * (double)(4 * d->d + 2 * d->m) +
         2.0 * (double)d->d * (double)d->V;
}

/* One group alone runs outside of a region, so that its products may use the pool. */
static void run_groups(job *j, int64_t n, double cost, ml_body body) {
  if (n == 1)
    body(j, 0, 0);
  else
    ml_parallel_for(n, cost, body, j);
}

static void prefill(job *j) {
  int64_t groups = 0, positions = 0, all = 0;
  j->bound[0] = 0;
  for (int64_t f = 0; f < j->n_fresh; f++) {
    positions += j->length[j->fresh[f]];
    all += j->length[j->fresh[f]];
    if (positions >= PREFILL_ROWS / 2 || f + 1 == j->n_fresh) {
      j->bound[++groups] = f + 1;
      positions = 0;
    }
  }
  j->out->prompt_tokens += all;
  if (groups)
    run_groups(j, groups, row_cost(&j->decoding) * (double)all / (double)groups, prefill_group);
}

/* The rest of the prompt goes to the row's own cache, and its first token comes from the prompt's
 * logits. */
static void start_row(void *ctx, int64_t i, int worker) {
  job *j = ctx;
  int64_t k = j->first_new + i;
  live_row *r = &j->live[k];
  int64_t P = j->length[r->prompt], full = full_blocks(P);
  if (P > full && r->tail->cap > 0)
    ml_span_copy(r->tail, &j->prompts[r->prompt].span, full, &j->decoding);
  advance(j, k, j->prompts[r->prompt].logits, &j->scratch[worker]);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Moves the rows that ended behind the others of k0 .. k0 + n; returns how many go on. */
static int64_t partition(job *j, int64_t k0, int64_t n) {
  int64_t kept = 0;
  for (int64_t k = 0; k < n; k++) {
    if (j->live[k0 + k].done)
      continue;
    if (kept != k) {
      live_row live = j->live[k0 + kept];
      ml_decode_row row = j->row[k0 + kept];
      j->live[k0 + kept] = j->live[k0 + k];
      j->row[k0 + kept] = j->row[k0 + k];
      j->live[k0 + k] = live;
      j->row[k0 + k] = row;
    }
    kept++;
  }
  return kept;
}

/* A group takes several steps on its own, while its cache is near; then rows are gathered anew. */
static void step_group(void *ctx, int64_t g, int worker) {
  job *j = ctx;
  ml_decode_scratch *s = &j->scratch[worker];
  int64_t first = g * j->group, all = least(j->group, j->n_live - first), n = all;
  for (int step = 0; step < STEPS && n > 0 && 4 * n >= 3 * all && !ml_cancelled(); step++) {
    ml_decode_rows(&j->decoding, j->row + first, n, s);
    for (int64_t k = 0; k < n; k++)
      advance(j, first + k, s->logits + k * j->decoding.V * j->decoding.esize, s);
    n = partition(j, first, n);
  }
}

static ml_status run(job *j, ml_error *err) {
  const double cost = row_cost(&j->decoding);
  while (j->next < j->rows || j->n_live > 0) {
    ML_POLL(err);
    double start = ml_now();
    ML_TRY(admit(j, err));
    if (j->n_live > j->first_new) {
      prefill(j);
      ML_POLL(err);
      ml_parallel_for(j->n_live - j->first_new, 40.0 * (double)j->decoding.V, start_row, j);
      ML_TRY(compact(j, err));
      j->out->prefill_seconds += ml_now() - start;
      start = ml_now();
    }
    if (j->n_live > 0) {
      j->group = ml_decode_group(j->n_live, j->threads);
      run_groups(j, (j->n_live + j->group - 1) / j->group, cost * (double)(j->group * STEPS),
                 step_group);
      ML_TRY(compact(j, err));
    }
    j->out->decode_seconds += ml_now() - start;
  }
  return ML_OK;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static ml_status check(const ml_transformer *m, const int64_t *const *prompt, const int64_t *length,
                       int64_t n_prompts, const ml_generate_options *o, ml_error *err) {
  const ml_transformer_config *c = &m->config;
  if (o->n < 1)
    return ml_fail(err, ML_EARG, 3, "n is %lld samples, wanted >= 1", (long long)o->n);
  if (o->max_new < 0)
    return ml_fail(err, ML_EARG, 3, "max_new is %lld, wanted >= 0", (long long)o->max_new);
  if (!o->greedy && !(o->temperature > 0 && o->temperature <= 1e30))
    return ml_fail(err, ML_EARG, 3,
                   "temperature is %g, wanted > 0 and finite (greedy = true takes the largest)",
                   o->temperature);
  if (o->top_k < 0)
    return ml_fail(err, ML_EARG, 3, "top_k is %lld, wanted >= 1", (long long)o->top_k);
  if (!(o->top_p > 0 && o->top_p <= 1))
    return ml_fail(err, ML_EARG, 3, "top_p is %g, wanted in (0, 1]", o->top_p);
  for (int64_t i = 0; i < o->n_stop; i++)
    if (o->stop[i] < 0 || o->stop[i] >= c->vocab)
      return ml_fail(err, ML_EARG, 3, "stop id %lld, wanted 1..%lld", (long long)(o->stop[i] + 1),
                     (long long)c->vocab);
  if (!o->greedy && !o->keys && n_prompts > 0)
    return ml_fail(err, ML_EARG, 3, "sampling wants a key for each of %lld prompts",
                   (long long)n_prompts);
  for (int64_t i = 0; i < n_prompts; i++) {
    if (length[i] < 1)
      return ml_fail(err, ML_EARG, 2, "prompt %lld is empty, wanted at least one id",
                     (long long)(i + 1));
    if (length[i] > c->context)
      return ml_fail(err, ML_EARG, 2, "prompt %lld has %lld ids, more than the context of %lld",
                     (long long)(i + 1), (long long)length[i], (long long)c->context);
    for (int64_t t = 0; t < length[i]; t++)
      if (prompt[i][t] < 0 || prompt[i][t] >= c->vocab)
        return ml_fail(err, ML_EARG, 2, "prompt %lld has id %lld at %lld, wanted 1..%lld",
                       (long long)(i + 1), (long long)(prompt[i][t] + 1), (long long)(t + 1),
                       (long long)c->vocab);
  }
  return ML_OK;
}

static ml_status open_samples(ml_samples *out, const ml_transformer *m, const int64_t *length,
                              int64_t n_prompts, const ml_generate_options *o, ml_error *err) {
  memset(out, 0, sizeof *out);
  for (int64_t i = 0; i < n_prompts; i++) {
    int64_t room = room_after(&m->config, o, length[i]);
    out->room = room > out->room ? room : out->room;
  }
  int64_t cells = 0;
  if (__builtin_mul_overflow(n_prompts, o->n, &out->rows) || out->rows > INT64_MAX / 64 ||
      __builtin_mul_overflow(out->rows, out->room > 0 ? out->room : 1, &cells) ||
      cells > INT64_MAX / 64)
    return ml_fail(err, ML_EARG, 3, "%lld prompts of %lld samples are too many",
                   (long long)n_prompts, (long long)o->n);
  if (out->rows > 0 && out->room > 0)
    ML_TRY(fits(m, out, length, n_prompts, o, err));
  size_t rows = out->rows > 0 ? (size_t)out->rows : 1;
  out->tokens = ml_alloc((cells > 0 ? (size_t)cells : 1) * sizeof *out->tokens);
  out->logprobs = ml_alloc((cells > 0 ? (size_t)cells : 1) * sizeof *out->logprobs);
  out->length = ml_alloc(rows * sizeof *out->length);
  out->finished = ml_alloc(rows * sizeof *out->finished);
  if (!out->tokens || !out->logprobs || !out->length || !out->finished)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for %lld rows of %lld tokens",
                   (long long)out->rows, (long long)out->room);
  return ML_OK;
}

/* One block for what rows own, halved while there is no memory for it. */
static ml_status open_pool(job *j, ml_error *err) {
  const ml_decoding *d = &j->decoding;
  j->budget = budget();
  cache_plan p = plan_cache(d, j->length, j->n_prompts, j->options, j->budget);
  for (j->most = p.rows; !j->pool; j->most = (j->most + 1) / 2) {
    j->pool = ml_block_new((size_t)j->most * p.tail_bytes);
    if (j->pool || j->most == 1)
      break;
  }
  size_t most = (size_t)j->most;
  j->slot = ml_alloc(most * sizeof *j->slot);
  j->vacant = ml_alloc(most * sizeof(void *));
  j->live = ml_alloc(most * sizeof *j->live);
  j->row = ml_alloc(most * sizeof *j->row);
  j->fresh = ml_alloc(most * sizeof *j->fresh);
  j->bound = ml_alloc((most + 1) * sizeof *j->bound);
  if (!j->pool || !j->slot || !j->vacant || !j->live || !j->row || !j->fresh || !j->bound)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for a cache of %lld positions (%llu bytes)",
                   (long long)p.tail, (unsigned long long)p.tail_bytes);
  j->cache = (uint64_t)j->most * p.tail_bytes;
  for (int64_t k = j->most - 1; k >= 0; k--) {
    j->slot[k].data = j->pool + (uint64_t)k * p.tail_bytes;
    j->slot[k].cap = (p.tail + ML_CACHE_BLOCK - 1) / ML_CACHE_BLOCK * ML_CACHE_BLOCK;
    j->vacant[j->n_vacant++] = &j->slot[k];
  }
  return ML_OK;
}

static ml_status open_job(job *j, ml_transformer *m, ml_error *err) {
  ML_TRY(ml_decoding_open(&j->decoding, m, j->options->cache_bf16, err));
  j->threads = ml_threads();
  j->stop = ml_alloc((size_t)j->decoding.V);
  j->prompts = ml_alloc((size_t)j->n_prompts * sizeof *j->prompts);
  j->scratch = ml_alloc((size_t)j->threads * sizeof *j->scratch);
  const int64_t some = scratch_rows(j->rows);
  size_t bytes = ml_decode_scratch_bytes(&j->decoding, some, some);
  j->memory = ml_block_new(bytes * (size_t)j->threads);
  if (!j->stop || !j->prompts || !j->scratch || !j->memory)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to decode %lld rows", (long long)j->rows);
  for (int w = 0; w < j->threads; w++)
    ml_decode_scratch_init(&j->scratch[w], &j->decoding, some, some, j->memory + (size_t)w * bytes);
  for (int64_t i = 0; i < j->options->n_stop; i++)
    j->stop[j->options->stop[i]] = true;
  return open_pool(j, err);
}

static void close_job(job *j) {
  for (int64_t i = 0; j->prompts && i < j->n_prompts; i++) {
    ml_span_close(&j->prompts[i].span);
    ml_block_free(j->prompts[i].logits);
  }
  ml_block_free(j->pool);
  ml_free(j->slot);
  ml_free(j->vacant);
  ml_free(j->stop);
  ml_free(j->prompts);
  ml_free(j->live);
  ml_free(j->row);
  ml_free(j->fresh);
  ml_free(j->bound);
  ml_free(j->scratch);
  ml_block_free(j->memory);
  ml_decoding_close(&j->decoding);
}

ml_status ml_transformer_generate(ml_samples *samples, ml_transformer *m,
                                  const int64_t *const *prompt, const int64_t *length,
                                  int64_t n_prompts, const ml_generate_options *options,
                                  ml_error *err) {
  memset(samples, 0, sizeof *samples);
  ML_TRY(check(m, prompt, length, n_prompts, options, err));
  ml_status status = open_samples(samples, m, length, n_prompts, options, err);
  job j = {.options = options,
           .prompt = prompt,
           .length = length,
           .n_prompts = n_prompts,
           .out = samples};
  if (!status && samples->rows > 0 && samples->room > 0) {
    j.rows = samples->rows;
    status = open_job(&j, m, err);
    if (!status)
      status = run(&j, err);
    close_job(&j);
  }
  if (status) {
    ml_samples_clear(samples);
    return status;
  }
  for (int64_t i = 0; i < samples->rows; i++)
    samples->new_tokens += samples->length[i];
  return ML_OK;
}
