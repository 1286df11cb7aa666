/* Property: decoding through the cache computes the training forward's logits, for every option, in
 * both dtypes; and a row's bytes depend on nothing but the row. */
#include "random_model.h"
#include "transformer/kernels.h"

/* Largest difference over the largest logit, prompts of every split between prefill and single
 * steps. */
static bool compare(ml_rng *g, ml_dtype dtype, bool half, double bound) {
  ml_error err;
  ml_transformer_config c = random_config(g, dtype);
  ml_transformer *m = random_model(g, &c);
  int64_t T = draw(g, 1, c.context);
  ml_tensor tokens = random_tokens(g, 1, T, c.vocab), forward = {0}, decoded = {0};
  ml_transformer_batch batch = {.inputs = &tokens};
  bool grad = ml_grad_enable(false);
  CHECK_OK(ml_transformer_logits(&forward, m, &batch, &err), &err);
  CHECK_OK(
      ml_transformer_decode_logits(&decoded, m, ml_data(&tokens), T, draw(g, 0, T), half, &err),
      &err);
  double worst = 0, largest = 0;
  for (int64_t i = 0; i < T * c.vocab && !ml_tensor_empty(&forward) && !ml_tensor_empty(&decoded);
       i++) {
    double a = element(&forward, i), b = element(&decoded, i), off = fabs(a - b);
    worst = off > worst || isnan(off) ? off : worst;
    largest = fabs(a) > largest ? fabs(a) : largest;
  }
  CHECK(largest > 0);
  const bool near = worst <= bound * largest;
  CHECK(near || half);
  if (!near && !half) {
    char *json = ml_transformer_config_json(ml_transformer_get_config(m));
    fprintf(stderr, "  %s: T=%lld off by %g of %g\n", json ? json : "", (long long)T, worst,
            largest);
    ml_free(json);
  }
  ml_grad_enable(grad);
  ml_tensor_clear(&tokens);
  ml_tensor_clear(&forward);
  ml_tensor_clear(&decoded);
  ml_transformer_free(m);
  return near;
}

static void test_decode_f32(void) {
  ml_rng g = ml_rng_seed(11);
  for (int i = 0; i < 150; i++)
    compare(&g, ML_F32, false, 1e-5);
}

static void test_decode_f64(void) {
  ml_rng g = ml_rng_seed(12);
  for (int i = 0; i < 150; i++)
    compare(&g, ML_F64, false, 1e-12);
}

/* ---- a cache in bf16 ------------------------------------------------------------------------- */

static void test_decode_with_half_a_cache(void) {
  ml_rng g = ml_rng_seed(13);
  int near = 0;
  for (int i = 0; i < 60; i++) /* norms of narrow models can blow a small error up */
    near += compare(&g, ML_F32, true, 0.05);
  CHECK(near >= 54);
}

static float widened(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* property: what is kept is the number rounded, and reading it is reading the rounded number, bit
 * for bit */
static void test_half_a_cache_is_the_rounded_cache(void) {
  enum { HEADS = 3, T = 75, BLOCKS = (T + 15) / 16, MOST = 80 };
  const ml_decode_kernels *kernels = ml_decode_kernels_of(ML_F32);
  ml_rng g = ml_rng_seed(14);
  for (int64_t D = 2; D <= MOST; D += D < 8 ? 2 : 18) {
    const int64_t Dp = (D + 15) / 16 * 16, size = BLOCKS * HEADS * ml_block_part(D, Dp);
    const int64_t stride = HEADS * ml_block_part(D, Dp);
    float *whole = calloc((size_t)size, sizeof *whole), *wide = calloc((size_t)size, sizeof *wide);
    uint16_t *half = calloc((size_t)size, sizeof *half);
    float row[3 * HEADS * MOST], same[3 * HEADS * MOST], scratch[2][T + 32], y[2][MOST];
    if (!whole || !wide || !half)
      abort();
    const ml_head_plan plan = {.heads = HEADS, .D = D, .Dp = Dp, .scale = 1};
    for (int64_t t = 0; t < T; t++) {
      ml_rng_normal_f32(&g, row, 3 * HEADS * D, 0, 2);
      memcpy(same, row, sizeof row);
      kernels->shape[0](&plan, row, whole, t);
      kernels->shape[1](&plan, same, half, t);
      CHECK(!memcmp(same, row, sizeof(float) * (size_t)(HEADS * D)));
    }
    for (int64_t i = 0; i < size; i++) {
      wide[i] = widened(half[i]);
      CHECK(fabsf(wide[i] - whole[i]) <= 0x1p-8f * fabsf(wide[i]));
    }
    for (int64_t n = 1; n <= T; n += n < 40 ? 1 : 5)
      for (int64_t h = 0; h < HEADS; h++) {
        const int64_t at = h * ml_block_part(D, Dp), n0 = n > 32 ? 32 : n, n1 = n - n0;
        const int64_t next = at + 2 * stride;
        kernels->attend[0](D, Dp, stride, row + h * D, wide + at, n0, n1 ? wide + next : NULL, n1,
                           scratch[0], y[0]);
        kernels->attend[1](D, Dp, stride, row + h * D, half + at, n0, n1 ? half + next : NULL, n1,
                           scratch[1], y[1]);
        CHECK(!memcmp(y[0], y[1], sizeof(float) * (size_t)D));
      }
    free(whole), free(wide), free(half);
  }
}

/* ---- rows ------------------------------------------------------------------------------------ */

enum { PROMPTS = 9, SAMPLES = 3 };

typedef struct {
  int64_t ids[PROMPTS][64];
  int64_t length[PROMPTS];
  const int64_t *prompt[PROMPTS];
  ml_rng keys[PROMPTS];
} batch;

static batch random_batch(ml_rng *g, const ml_transformer_config *c) {
  batch b = {0};
  for (int i = 0; i < PROMPTS; i++) {
    b.length[i] = draw(g, 1, c->context < 40 ? c->context : 40);
    random_ids(g, b.ids[i], b.length[i], c->vocab);
    b.keys[i] = ml_rng_seed((uint64_t)draw(g, 0, 1000000));
  }
  return b;
}

static void point(batch *b) {
  for (int i = 0; i < PROMPTS; i++)
    b->prompt[i] = b->ids[i];
}

static bool same_row(const ml_samples *a, int64_t i, const ml_samples *b, int64_t k) {
  if (a->length[i] != b->length[k] || a->finished[i] != b->finished[k])
    return false;
  size_t n = (size_t)a->length[i];
  return memcmp(a->tokens + i * a->room, b->tokens + k * b->room, n * sizeof(int64_t)) == 0 &&
         memcmp(a->logprobs + i * a->room, b->logprobs + k * b->room, n * sizeof(double)) == 0;
}

/* All prompts at once against each alone, and one sample against several. */
static void independent(ml_rng *g, ml_dtype dtype, int round) {
  ml_error err;
  ml_transformer_config c = random_config(g, dtype);
  c.context = 64;
  ml_transformer *m = random_model(g, &c);
  batch b = random_batch(g, &c);
  point(&b);
  int64_t stop[2] = {0, c.vocab - 1};
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.n = SAMPLES;
  o.max_new = 40;
  o.stop = stop;
  o.n_stop = round % 3 == 0 ? 2 : 0;
  o.temperature = 0.8;
  o.top_k = round % 2 ? 5 : 0;
  o.top_p = round % 4 < 2 ? 1 : 0.9;
  o.greedy = round % 7 == 6;
  o.keys = b.keys;
  ml_samples all = {0}, one = {0}, again = {0};
  CHECK_OK(ml_transformer_generate(&all, m, b.prompt, b.length, PROMPTS, &o, &err), &err);
  int threads = ml_threads();
  CHECK_OK(ml_set_threads(threads == 1 ? 2 : 1, &err), &err);
  CHECK_OK(ml_transformer_generate(&again, m, b.prompt, b.length, PROMPTS, &o, &err), &err);
  CHECK_OK(ml_set_threads(threads, &err), &err);
  for (int64_t i = 0; i < PROMPTS * SAMPLES; i++)
    CHECK(same_row(&all, i, &again, i));
  ml_samples_clear(&again);
  for (int64_t i = 0; i < PROMPTS; i++) {
    o.n = 1;
    o.keys = &b.keys[i];
    CHECK_OK(ml_transformer_generate(&one, m, &b.prompt[i], &b.length[i], 1, &o, &err), &err);
    CHECK(same_row(&all, i * SAMPLES, &one, 0));
    ml_samples_clear(&one);
  }
  ml_samples_clear(&all);
  ml_transformer_free(m);
}

static void test_rows_are_independent(void) {
  ml_rng g = ml_rng_seed(13);
  for (int i = 0; i < 16; i++)
    independent(&g, i % 2 ? ML_F32 : ML_F64, i);
}

/* The cache's bound makes rows wait; that changes nothing. */
static void test_waiting_rows(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(14);
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.depth = 2, c.width = 32, c.heads = 2, c.vocab = 20, c.context = 64;
  ml_transformer *m = random_model(&g, &c);
  batch b = random_batch(&g, &c);
  point(&b);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.n = SAMPLES;
  o.max_new = 30;
  o.keys = b.keys;
  ml_samples free_rows = {0}, bound = {0};
  CHECK_OK(ml_transformer_generate(&free_rows, m, b.prompt, b.length, PROMPTS, &o, &err), &err);
  ml_cache_trim();
  ml_memory_info info;
  ml_memory(&info);
  ml_memory_set_limit(info.live + 900000);
  CHECK_OK(ml_transformer_generate(&bound, m, b.prompt, b.length, PROMPTS, &o, &err), &err);
  ml_memory_set_limit(0);
  CHECK(bound.cache_bytes < free_rows.cache_bytes);
  for (int64_t i = 0; bound.length && i < PROMPTS * SAMPLES; i++)
    CHECK(same_row(&free_rows, i, &bound, i));
  ml_samples_clear(&free_rows);
  ml_samples_clear(&bound);
  ml_transformer_free(m);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_ends(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(15);
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.depth = 1, c.width = 16, c.heads = 2, c.vocab = 8, c.context = 20;
  ml_transformer *m = random_model(&g, &c);
  int64_t ids[21] = {1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5}, length = 20;
  const int64_t *prompt = ids;
  ml_rng key = ml_rng_seed(3);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.keys = &key;
  ml_samples s;
  /* a full prompt has room for one token, which context + 1 tokens can score */
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), &err);
  CHECK_EQ(s.length[0], 1);
  CHECK(!s.finished[0]);
  ml_samples_clear(&s);
  length = 21;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_EARG);
  CHECK_HAS(err.message, "more than the context of 20");
  CHECK_EQ(err.arg, 2);
  length = 15;
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), &err);
  CHECK_EQ(s.length[0], 6);
  CHECK_EQ(s.new_tokens, 6);
  ml_samples_clear(&s);
  o.max_new = 0;
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), &err);
  CHECK_EQ(s.length[0], 0);
  ml_samples_clear(&s);
  /* every id stops: one token, returned, finished */
  int64_t all[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  o.max_new = 5;
  o.stop = all;
  o.n_stop = 8;
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), &err);
  CHECK_EQ(s.length[0], 1);
  CHECK(s.finished[0]);
  ml_samples_clear(&s);
  all[3] = 8;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_EARG);
  CHECK_HAS(err.message, "stop id 9, wanted 1..8");
  o.n_stop = 0;
  o.temperature = NAN;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_EARG);
  CHECK_HAS(err.message, "temperature is");
  o.temperature = 1;
  o.top_p = 0;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_EARG);
  o.top_p = 1;
  length = 0;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_EARG);
  CHECK_HAS(err.message, "prompt 1 is empty");
  length = 2;
  ids[1] = 8;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_EARG);
  CHECK_HAS(err.message, "id 9 at 2, wanted 1..8");
  ml_transformer_free(m);
}

static void test_nan_weights_raise(void) {
  ml_error err;
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.depth = 1, c.width = 16, c.heads = 2, c.vocab = 8, c.context = 20;
  ml_transformer *m = NULL;
  CHECK_OK(ml_transformer_new(&m, &c, &err), &err);
  ML_DATA(float, &ml_transformer_param_find(m, "blocks.1.mlp.w2")->tensor)[5] = NAN;
  int64_t ids[2] = {1, 2}, length = 2;
  const int64_t *prompt = ids;
  ml_rng key = ml_rng_seed(3);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.keys = &key;
  ml_samples s;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "prompt 1");
  o.greedy = true;
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_ENUMERIC);
  ml_transformer_free(m);
}

static void test_cancel(void) {
  ml_error err;
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.depth = 1, c.width = 16, c.heads = 2, c.vocab = 8;
  ml_transformer *m = NULL;
  CHECK_OK(ml_transformer_new(&m, &c, &err), &err);
  int64_t ids[2] = {1, 2}, length = 2;
  const int64_t *prompt = ids;
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.greedy = true;
  ml_samples s;
  ml_cancel();
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_ECANCELLED);
  ml_cancel_clear();
  ml_transformer_free(m);
}

/* Every allocation fails in turn. */
static void test_out_of_memory(void) {
  ml_error err;
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.depth = 1, c.width = 16, c.heads = 2, c.vocab = 8;
  ml_transformer *m = NULL;
  CHECK_ALLOC_SWEEP(ml_transformer_new(&m, &c, &err), ml_transformer_free(m));
  CHECK_OK(ml_transformer_new(&m, &c, &err), &err);
  int64_t ids[2] = {1, 2}, length = 2;
  const int64_t *prompt = ids;
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.greedy =
      true; /* a single row: where there are others, one that finds no memory waits for them */
  ml_samples s;
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err),
           &err); /* makes the rotary table */
  ml_samples_clear(&s);
  CHECK_ALLOC_SWEEP(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err),
                    ml_samples_clear(&s));
  ml_transformer_free(m);
}

/* The number of what is wanted comes before anything is taken. */
static void test_what_cannot_fit_is_refused_early(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(12);
  ml_transformer_config c = random_config(&g, ML_F32);
  c.context = 40;
  ml_transformer *m = random_model(&g, &c);
  int64_t id = 1, length = 1;
  const int64_t *prompt = &id;
  ml_rng key = ml_rng_seed(1);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.keys = &key;
  o.max_new = 32;
  o.n = 1 << 16; /* results of 32 MiB, and 64 MiB of what holds them in a caller */
  ml_samples s;
  ml_cache_trim();
  ml_memory_set_limit(ml_live_bytes() + (8 << 20));
  ml_inject_alloc_failure(0, false);
  ml_cancel(); /* what is not refused ends here */
  CHECK_FAIL(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), ML_ENOMEM);
  ml_cancel_clear();
  CHECK_EQ(ml_inject_count(), 0); /* nothing was taken */
  CHECK_HAS(err.message, "65536 rows of up to 32 new tokens need 96.");
  o.n = 2;
  CHECK_OK(ml_transformer_generate(&s, m, &prompt, &length, 1, &o, &err), &err);
  ml_samples_clear(&s);
  ml_memory_set_limit(0);
  ml_transformer_free(m);
}

CHECK_MAIN(test_decode_f32, test_decode_f64, test_decode_with_half_a_cache,
           test_half_a_cache_is_the_rounded_cache, test_rows_are_independent, test_waiting_rows,
           test_ends, test_nan_weights_raise, test_cancel, test_out_of_memory,
           test_what_cannot_fit_is_refused_early)
