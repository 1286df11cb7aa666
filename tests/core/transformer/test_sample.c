/* The samplers against the distributions they stand for, by chi-square with fixed seeds. */
#include "random_model.h"
#include "transformer/decoding.h"

enum { V = 40, DRAWS = 20000 };

typedef struct {
  ml_transformer *model;
  ml_decoding decoding;
  ml_decode_scratch scratch;
  char *memory;
} bench;

static bench open_bench(ml_dtype dtype) {
  ml_error err;
  bench b = {0};
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.dtype = (int)dtype;
  c.depth = 0, c.width = 8, c.heads = 1, c.vocab = V;
  CHECK_OK(ml_transformer_new(&b.model, &c, &err), &err);
  CHECK_OK(ml_decoding_open(&b.decoding, b.model, false, &err), &err);
  b.memory = ml_block_new(ml_decode_scratch_bytes(&b.decoding, 1, 1));
  ml_decode_scratch_init(&b.scratch, &b.decoding, 1, 1, b.memory);
  return b;
}

static void close_bench(bench *b) {
  ml_block_free(b->memory);
  ml_decoding_close(&b->decoding);
  ml_transformer_free(b->model);
}

/* Logits into the scratch in the bench's dtype. */
static const void *put(bench *b, const double *x) {
  for (int i = 0; i < V; i++)
    if (b->decoding.dtype == ML_F32)
      ((float *)(void *)b->scratch.logits)[i] = (float)x[i];
    else
      ((double *)(void *)b->scratch.logits)[i] = x[i];
  return b->scratch.logits;
}

static int by_logit(const void *a, const void *b) {
  const double *x = *(const double *const *)a, *y = *(const double *const *)b;
  return *x != *y ? (*x < *y) - (*x > *y) : (x > y) - (x < y);
}

/* The distribution that temperature, top-k and top-p leave, straight from their definitions. */
static void distribution(double *p, const double *x, const ml_generate_options *o) {
  const double *order[V];
  double max = -INFINITY, sum = 0;
  for (int i = 0; i < V; i++) {
    order[i] = &x[i];
    max = fmax(max, x[i]);
  }
  qsort(order, V, sizeof *order, by_logit);
  int64_t k = o->top_k > 0 && o->top_k < V ? o->top_k : V;
  for (int i = 0; i < V; i++) {
    int64_t at = order[i] - x;
    p[at] = i < k ? exp((x[at] - max) / o->temperature) : 0;
    sum += p[at];
  }
  double held = 0, kept = 0;
  for (int i = 0; i < V; i++) {
    int64_t at = order[i] - x;
    if (i > 0 && held >= o->top_p * sum)
      p[at] = 0;
    held += p[at];
    kept += p[at];
  }
  for (int i = 0; i < V; i++)
    p[i] /= kept;
}

static void chi_square(bench *b, const double *x, const ml_generate_options *o, uint64_t key) {
  double p[V];
  int64_t count[V] = {0};
  distribution(p, x, o);
  const void *logits = put(b, x);
  double max = -INFINITY, sum = 0;
  for (int i = 0; i < V; i++)
    max = fmax(max, x[i]);
  for (int i = 0; i < V; i++)
    sum += exp(x[i] - max);
  double tolerance = b->decoding.dtype == ML_F32 ? 2e-6 : 1e-13;
  for (int n = 0; n < DRAWS; n++) {
    int64_t id = -1;
    double logprob;
    CHECK(ml_draw(&b->decoding, o, logits, key, (uint64_t)n, &b->scratch, &id, &logprob));
    CHECK(id >= 0 && id < V);
    if (id < 0 || id >= V)
      return;
    if (n % 97 == 0)
      CHECK_NEAR(logprob, x[id] - max - log(sum), tolerance, tolerance);
    count[id]++;
  }
  /* ids with few expected draws are pooled; the statistic stays below mean + 5 standard deviations
   */
  double chi = 0, few = 0, few_count = 0;
  int cells = 0;
  for (int i = 0; i < V; i++) {
    double expected = p[i] * DRAWS;
    if (p[i] == 0) {
      CHECK_EQ(count[i], 0);
    } else if (expected < 8) {
      few += expected;
      few_count += (double)count[i];
    } else {
      chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
      cells++;
    }
  }
  if (few > 0) {
    chi += (few_count - few) * (few_count - few) / (few < 1 ? 1 : few);
    cells++;
  }
  double freedom = cells > 1 ? cells - 1 : 1;
  CHECK(chi < freedom + 5 * sqrt(2 * freedom));
}

static void test_distributions(void) {
  for (int f64 = 0; f64 < 2; f64++) {
    bench b = open_bench(f64 ? ML_F64 : ML_F32);
    ml_rng g = ml_rng_seed(31);
    const struct {
      double temperature, top_p;
      int64_t top_k;
    } cases[] = {{1, 1, 0},      {0.5, 1, 0}, {2, 1, 0},    {1, 1, 5},  {1, 0.8, 0},
                 {0.7, 0.9, 12}, {1, 1, 1},   {1, 1e-9, 0}, {1, 1, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      double x[V];
      ml_rng_normal_f64(&g, x, V, 0, 1.5);
      for (int k = 0; k < V; k++)
        x[k] = (double)(float)x[k]; /* the same numbers in both dtypes */
      x[7] = x[8];                  /* a tie */
      ml_generate_options o;
      ml_generate_options_default(&o);
      o.temperature = cases[i].temperature;
      o.top_p = cases[i].top_p;
      o.top_k = cases[i].top_k;
      chi_square(&b, x, &o, 1000 + i);
    }
    close_bench(&b);
  }
}

/* Logits of 1e5 are legal; equal ones are uniform; -inf is never drawn; NaN and all -inf are
 * refused. */
static void test_extremes(void) {
  for (int f64 = 0; f64 < 2; f64++) {
    bench b = open_bench(f64 ? ML_F64 : ML_F32);
    ml_generate_options o;
    ml_generate_options_default(&o);
    double x[V], logprob = 0;
    int64_t id = -1;
    for (int i = 0; i < V; i++)
      x[i] = i == 17 ? 1e5 : i == 3 ? -1e5 : 0;
    for (int mode = 0; mode < 4; mode++) {
      ml_generate_options_default(&o);
      o.greedy = mode == 1;
      o.top_k = mode == 2 ? 3 : 0;
      o.temperature = mode == 3 ? 1e-300 : 1;
      CHECK(ml_draw(&b.decoding, &o, put(&b, x), 5, 1, &b.scratch, &id, &logprob));
      CHECK_EQ(id, 17);
      CHECK_NEAR(logprob, 0, 0, 1e-12);
    }
    ml_generate_options_default(&o);
    for (int i = 0; i < V; i++)
      x[i] = i % 2 ? 99999 : -INFINITY;
    chi_square(&b, x, &o, 77);
    o.greedy = true;
    CHECK(ml_draw(&b.decoding, &o, put(&b, x), 5, 1, &b.scratch, &id, &logprob));
    CHECK_EQ(id, 1); /* the first of equals */
    o.greedy = false;
    x[20] = NAN;
    CHECK(!ml_draw(&b.decoding, &o, put(&b, x), 5, 1, &b.scratch, &id, &logprob));
    for (int i = 0; i < V; i++)
      x[i] = -INFINITY;
    CHECK(!ml_draw(&b.decoding, &o, put(&b, x), 5, 1, &b.scratch, &id, &logprob));
    x[4] = INFINITY;
    CHECK(!ml_draw(&b.decoding, &o, put(&b, x), 5, 1, &b.scratch, &id, &logprob));
    close_bench(&b);
  }
}

/* The logprobs generate reports are those logprob computes. */
static void test_generate_agrees_with_logprob(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(33);
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.dtype = ML_F64, c.depth = 2, c.width = 16, c.heads = 2, c.vocab = 30, c.context = 24;
  ml_transformer *m = random_model(&g, &c);
  int64_t ids[64] = {3, 1, 4}, length = 3;
  const int64_t *prompt = ids;
  ml_rng key = ml_rng_seed(8);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.keys = &key;
  o.temperature = 1.7;
  o.top_p = 0.95;
  ml_samples s;
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), &err);
  CHECK_EQ(s.length[0], 22);
  memcpy(ids + 3, s.tokens, (size_t)s.length[0] * sizeof *ids);
  int64_t whole = 3 + s.length[0];
  ml_tensor scores = {0};
  CHECK_OK(ml_transformer_logprob(&scores, m, &prompt, &whole, &length, 1, &err), &err);
  for (int64_t i = 0; i < s.length[0]; i++)
    CHECK_NEAR(element(&scores, i), s.logprobs[i], 1e-11, 1e-12);
  ml_tensor_clear(&scores);
  ml_samples_clear(&s);
  ml_transformer_free(m);
}

CHECK_MAIN(test_distributions, test_extremes, test_generate_agrees_with_logprob)
