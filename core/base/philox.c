/* Random streams: the mapping from (key, counter, i) to element i, cut in fixed chunks over the
 * pool. */
#include "random.h"

#include <math.h>
#include <string.h>

/* ---- the generator --------------------------------------------------------------------------- */

void ml_philox(uint32_t out[4], uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  uint32_t a = (uint32_t)counter_low, b = (uint32_t)(counter_low >> 32);
  uint32_t c = (uint32_t)counter_high, d = (uint32_t)(counter_high >> 32);
  for (int r = 0; r < 10; r++) {
    uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
    a = (uint32_t)(q >> 32) ^ b ^ k0;
    c = (uint32_t)(p >> 32) ^ d ^ k1;
    b = (uint32_t)q;
    d = (uint32_t)p;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* 64-bit word i of a draw: two in each block. */
static uint64_t word64(const ml_rng *g, uint64_t i, uint64_t attempt) {
  uint32_t w[4];
  ml_philox(w, g->key, g->counter + i / 2, attempt);
  return i & 1 ? (uint64_t)w[3] << 32 | w[2] : (uint64_t)w[1] << 32 | w[0];
}

ml_rng ml_rng_seed(uint64_t seed) { return (ml_rng){seed, 0}; }

ml_rng ml_rng_fold(const ml_rng *g, const char *name, size_t name_len, int64_t i) {
  uint32_t w[4];
  ml_philox(w, ~g->key, ml_hash64(name, name_len, 0), (uint64_t)i);
  return (ml_rng){(uint64_t)w[1] << 32 | w[0], 0};
}

/* ---- fills ----------------------------------------------------------------------------------- */

enum { CHUNK_BLOCKS = 4096, TRUNCATION = 2 };
typedef enum { UNIFORM, NORMAL, TRUNCATED } fill_kind;

typedef struct {
  void (*uniform_f32)(float *, int64_t, uint64_t, uint64_t, uint64_t, float, float);
  void (*normal_f32)(float *, int64_t, uint64_t, uint64_t, uint64_t, float, float);
  void (*uniform_f64)(double *, int64_t, uint64_t, uint64_t, uint64_t, double, double);
  void (*normal_f64)(double *, int64_t, uint64_t, uint64_t, uint64_t, double, double);
} kernels;

#define KERNELS(isa)                                                                               \
  {                                                                                                \
    ml_random_uniform_f32_##isa, ml_random_normal_f32_##isa, ml_random_uniform_f64_##isa,          \
        ml_random_normal_f64_##isa                                                                 \
  }
static const kernels table[] = {
    KERNELS(portable),
#if defined(__x86_64__)
    KERNELS(avx2),
    KERNELS(avx512),
#endif
};

typedef struct {
  const kernels *k;
  const ml_rng *g;
  void *x;
  int64_t n; /* elements */
  double a, b;
  fill_kind kind;
} fill;

static void fill_chunk_f32(void *ctx, int64_t chunk, int worker) {
  (void)worker;
  const fill *f = ctx;
  int64_t first = chunk * CHUNK_BLOCKS, count = f->n - 4 * first;
  count = count < 4 * CHUNK_BLOCKS ? count : 4 * CHUNK_BLOCKS;
  uint64_t key = f->g->key, counter = f->g->counter + (uint64_t)first;
  float *x = (float *)f->x + 4 * first, a = (float)f->a, b = (float)f->b;
  void (*draw)(float *, int64_t, uint64_t, uint64_t, uint64_t, float, float) =
      f->kind == UNIFORM ? f->k->uniform_f32 : f->k->normal_f32;
  if (f->kind == TRUNCATED)
    b = 1;
  draw(x, count / 4, key, counter, 0, a, b);
  if (count % 4) {
    float last[4];
    draw(last, 1, key, counter + (uint64_t)(count / 4), 0, a, b);
    memcpy(x + count / 4 * 4, last, (size_t)(count % 4) * sizeof *x);
  }
  if (f->kind != TRUNCATED)
    return;
  for (int64_t i = 0; i < count; i++) {
    float again[4];
    for (uint64_t attempt = 1; !(fabsf(x[i]) <= TRUNCATION); attempt++) {
      draw(again, 1, key, counter + (uint64_t)(i / 4), attempt, 0, 1);
      x[i] = again[i % 4];
    }
    x[i] *= (float)f->b;
  }
}

static void fill_chunk_f64(void *ctx, int64_t chunk, int worker) {
  (void)worker;
  const fill *f = ctx;
  int64_t first = chunk * CHUNK_BLOCKS, count = f->n - 2 * first;
  count = count < 2 * CHUNK_BLOCKS ? count : 2 * CHUNK_BLOCKS;
  uint64_t key = f->g->key, counter = f->g->counter + (uint64_t)first;
  double *x = (double *)f->x + 2 * first, a = f->a, b = f->b;
  void (*draw)(double *, int64_t, uint64_t, uint64_t, uint64_t, double, double) =
      f->kind == UNIFORM ? f->k->uniform_f64 : f->k->normal_f64;
  if (f->kind == TRUNCATED)
    b = 1;
  draw(x, count / 2, key, counter, 0, a, b);
  if (count % 2) {
    double last[2];
    draw(last, 1, key, counter + (uint64_t)(count / 2), 0, a, b);
    x[count - 1] = last[0];
  }
  if (f->kind != TRUNCATED)
    return;
  for (int64_t i = 0; i < count; i++) {
    double again[2];
    for (uint64_t attempt = 1; !(fabs(x[i]) <= TRUNCATION); attempt++) {
      draw(again, 1, key, counter + (uint64_t)(i / 2), attempt, 0, 1);
      x[i] = again[i % 2];
    }
    x[i] *= f->b;
  }
}

static void fill_run(ml_rng *g, void *x, int64_t n, int per_block, double a, double b,
                     fill_kind kind) {
  if (n <= 0)
    return;
  fill f = {&table[ml_cpu_isa()], g, x, n, a, b, kind};
  int64_t blocks = (n - 1) / per_block + 1;
  int64_t chunks = (blocks - 1) / CHUNK_BLOCKS + 1;
  ml_parallel_for(chunks, 64.0 * CHUNK_BLOCKS, per_block == 4 ? fill_chunk_f32 : fill_chunk_f64,
                  &f);
  g->counter += (uint64_t)blocks;
}

void ml_rng_uniform_f64(ml_rng *g, double *x, int64_t n, double lo, double hi) {
  fill_run(g, x, n, 2, lo, hi - lo, UNIFORM);
}
void ml_rng_uniform_f32(ml_rng *g, float *x, int64_t n, double lo, double hi) {
  fill_run(g, x, n, 4, lo, hi - lo, UNIFORM);
}
void ml_rng_normal_f64(ml_rng *g, double *x, int64_t n, double mean, double std) {
  fill_run(g, x, n, 2, mean, std, NORMAL);
}
void ml_rng_normal_f32(ml_rng *g, float *x, int64_t n, double mean, double std) {
  fill_run(g, x, n, 4, mean, std, NORMAL);
}

/* The standard deviation of a normal cut at +-2. */
#define TRUNCATED_STD 0.87962566103423978

void ml_rng_truncated_normal_f64(ml_rng *g, double *x, int64_t n, double std) {
  fill_run(g, x, n, 2, 0, std / TRUNCATED_STD, TRUNCATED);
}
void ml_rng_truncated_normal_f32(ml_rng *g, float *x, int64_t n, double std) {
  fill_run(g, x, n, 4, 0, std / TRUNCATED_STD, TRUNCATED);
}

/* ---- integers -------------------------------------------------------------------------------- */

/* A number below range (0: any 64-bit number) from 64-bit word i of the draw: the upper half of
 * word * range, drawn again at the next attempt where that would be uneven (Lemire 2019). */
static uint64_t below(const ml_rng *g, uint64_t word, uint64_t i, uint64_t range) {
  if (!range)
    return word;
  unsigned __int128 product = (unsigned __int128)word * range;
  if ((uint64_t)product < range) {
    uint64_t uneven = -range % range;
    for (uint64_t attempt = 1; (uint64_t)product < uneven; attempt++)
      product = (unsigned __int128)word64(g, i, attempt) * range;
  }
  return (uint64_t)(product >> 64);
}

typedef struct {
  const ml_rng *g;
  int64_t *x;
  int64_t n, lo;
  uint64_t range;
} integers;

static void integers_chunk(void *ctx, int64_t chunk, int worker) {
  (void)worker;
  const integers *f = ctx;
  int64_t first = chunk * 2 * CHUNK_BLOCKS;
  int64_t stop = first + 2 * CHUNK_BLOCKS < f->n ? first + 2 * CHUNK_BLOCKS : f->n;
  for (int64_t i = first; i < stop; i += 2) {
    uint32_t w[4];
    ml_philox(w, f->g->key, f->g->counter + (uint64_t)i / 2, 0);
    uint64_t u = below(f->g, (uint64_t)w[1] << 32 | w[0], (uint64_t)i, f->range);
    f->x[i] = (int64_t)((uint64_t)f->lo + u);
    if (i + 1 < stop) {
      u = below(f->g, (uint64_t)w[3] << 32 | w[2], (uint64_t)i + 1, f->range);
      f->x[i + 1] = (int64_t)((uint64_t)f->lo + u);
    }
  }
}

void ml_rng_integers(ml_rng *g, int64_t *x, int64_t n, int64_t lo, int64_t hi) {
  if (n <= 0)
    return;
  integers f = {g, x, n, lo, (uint64_t)hi - (uint64_t)lo + 1};
  int64_t blocks = (n - 1) / 2 + 1;
  ml_parallel_for((blocks - 1) / CHUNK_BLOCKS + 1, 64.0 * CHUNK_BLOCKS, integers_chunk, &f);
  g->counter += (uint64_t)blocks;
}

ml_status ml_rng_permutation(ml_rng *g, int64_t *x, int64_t n, ml_error *err) {
  enum { POLL_EVERY = 1 << 16 };
  for (int64_t i = 0; i < n; i++) {
    if (i % POLL_EVERY == POLL_EVERY - 1)
      ML_POLL(err);
    x[i] = i;
  }
  uint32_t w[4];
  for (int64_t i = n - 1; i > 0; i--) {
    uint64_t k = (uint64_t)(n - 1 - i);
    if (k % POLL_EVERY == POLL_EVERY - 1)
      ML_POLL(err);
    if (!(k & 1))
      ml_philox(w, g->key, g->counter + k / 2, 0);
    uint64_t word = k & 1 ? (uint64_t)w[3] << 32 | w[2] : (uint64_t)w[1] << 32 | w[0];
    int64_t j = (int64_t)below(g, word, k, (uint64_t)i + 1);
    int64_t swap = x[i];
    x[i] = x[j];
    x[j] = swap;
  }
  if (n > 1)
    g->counter += (uint64_t)((n - 2) / 2 + 1);
  return ML_OK;
}
