/* The training forward: gradients of the whole loss by central differences, and the meaning of its
 * options. */
#include "random_model.h"

static double value(ml_tensor *t) {
  double v = NAN;
  ml_error err;
  if (!ml_tensor_empty(t))
    CHECK_OK(ml_tensor_item(&v, t, &err), &err);
  ml_tensor_clear(t);
  return v;
}

static double loss_of(ml_transformer *m, const ml_transformer_batch *b) {
  ml_error err;
  ml_tensor loss = {0};
  bool grad = ml_grad_enable(false);
  CHECK_OK(ml_transformer_loss(&loss, m, b, NULL, &err), &err);
  ml_grad_enable(grad);
  return value(&loss);
}

/* Central difference of the loss along x[i], fourth order. */
static double difference(ml_transformer *m, const ml_transformer_batch *b, double *x) {
  const double h = 5e-4, at = *x;
  double f[4];
  const double step[4] = {-2, -1, 1, 2};
  for (int k = 0; k < 4; k++) {
    *x = at + step[k] * h;
    f[k] = loss_of(m, b);
  }
  *x = at;
  return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
}

/* A few entries of every parameter. Differences are wrong across a kink, and poor where a norm
 * divides by next to nothing. */
static void gradients(ml_rng *g, int round) {
  ml_error err;
  ml_transformer_config c = random_config(g, ML_F64);
  if (c.activation == ML_ACT_RELU || c.activation == ML_ACT_RELU2)
    c.activation = ML_ACT_SILU;
  c.init = ML_INIT_PAPER;
  c.norm_eps = 0.05;
  ml_transformer *m = random_model(g, &c);
  int64_t B = draw(g, 1, 3), T = draw(g, 1, c.context < 7 ? c.context : 7);
  ml_tensor tokens = random_tokens(g, B, T + 1, c.vocab), segments = random_tokens(g, B, T, 2);
  ml_tensor mask = {0}, embeddings = {0}, e = {0};
  ml_shape rows = ml_shape_make(2, B, T), states = ml_shape_make(3, B, T, c.width);
  CHECK_OK(ml_tensor_init(&mask, ML_F64, &rows, &err), &err);
  ml_rng_normal_f64(g, ml_data(&mask), B * T, 0.5, 1);
  ML_DATA(double, &mask)[0] = 0;
  CHECK_OK(ml_tensor_init(&e, ML_F64, &states, &err), &err);
  ml_rng_normal_f64(g, ml_data(&e), B * T * c.width, 0, 1);
  CHECK_OK(ml_param(&embeddings, &e, &err), &err);
  ml_transformer_batch b = {.tokens = &tokens, .z_loss = round % 2 ? 0.3 : 0};
  if (round % 3 == 1)
    b.segments = &segments;
  if (round % 4 > 1)
    b.mask = &mask;
  if (round % 5 == 4)
    b.embeddings = &embeddings;
  ml_tensor loss = {0};
  CHECK_OK(ml_transformer_loss(&loss, m, &b, NULL, &err), &err);
  CHECK_OK(ml_backward(&loss, NULL, false, &err), &err);
  ml_tensor_clear(&loss);
  for (int64_t i = 0; i <= ml_transformer_param_count(m); i++) {
    bool last = i == ml_transformer_param_count(m);
    if (last && !b.embeddings)
      break;
    const char *name = last ? "embeddings" : ml_transformer_param_at(m, i)->name;
    const ml_tensor *w = last ? &embeddings : &ml_transformer_param_at(m, i)->tensor;
    ml_tensor grad = {0};
    ml_grad_get(&grad, w);
    if (ml_tensor_empty(&grad)) { /* only the embedding goes unused, when it is given */
      CHECK(b.embeddings && strcmp(name, "tokens") == 0);
      continue;
    }
    double largest = 0;
    for (int64_t k = 0; k < ml_numel(&grad); k++)
      largest = fmax(largest, fabs(ML_DATA(double, &grad)[k]));
    for (int k = 0; k < 4; k++) {
      int64_t at = draw(g, 0, ml_numel(w) - 1);
      double found = ML_DATA(double, &grad)[at],
             wanted = difference(m, &b, ML_DATA(double, w) + at);
      /* the difference itself is good to h^4 of the fifth derivative and 1e-16 / h of the loss */
      bool close = check_is_close(found, wanted, 2e-6, 1e-8 * largest + 2e-10);
      CHECK(close);
      if (!close) {
        char *json = ml_transformer_config_json(&c);
        fprintf(stderr, "  %s[%lld]: %.12g, wanted %.12g; %s\n", name, (long long)at, found, wanted,
                json);
        ml_free(json);
      }
    }
    ml_tensor_clear(&grad);
  }
  ml_tensor_clear(&tokens);
  ml_tensor_clear(&segments);
  ml_tensor_clear(&mask);
  ml_tensor_clear(&embeddings);
  ml_tensor_clear(&e);
  ml_transformer_free(m);
}

static void test_gradients(void) { /* gradient */
  ml_rng g = ml_rng_seed(21);
  for (int i = 0; i < 60; i++)
    gradients(&g, i);
}

/* ---- meaning --------------------------------------------------------------------------------- */

static ml_transformer *small(ml_rng *g, int positions) {
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.dtype = ML_F64, c.depth = 2, c.width = 24, c.heads = 2, c.vocab = 11, c.context = 16;
  c.positions = positions;
  c.bias = true;
  return random_model(g, &c);
}

/* Property: a row of two segments computes what two rows compute. */
static void test_segments_restart(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(22);
  for (int positions = 0; positions < 3; positions++) {
    ml_transformer *m = small(&g, positions);
    ml_tensor ids = random_tokens(&g, 1, 12, 11), segments = random_tokens(&g, 1, 12, 1),
              whole = {0};
    /* segments 0 0 0 0 0 1 1 1 1 0 0 1: the last three continue their own */
    const int64_t segment[12] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1};
    memcpy(ml_data(&segments), segment, sizeof segment);
    bool grad = ml_grad_enable(false);
    ml_transformer_batch b = {.inputs = &ids, .segments = &segments};
    CHECK_OK(ml_transformer_logits(&whole, m, &b, &err), &err);
    for (int64_t s = 0; s < 2; s++) {
      ml_tensor part = {0}, logits = {0};
      int64_t own[12], n = 0;
      for (int64_t t = 0; t < 12; t++)
        if (segment[t] == s)
          own[n++] = t;
      ml_shape shape = ml_shape_make(2, (int64_t)1, n);
      CHECK_OK(ml_tensor_init(&part, ML_INDEX, &shape, &err), &err);
      for (int64_t k = 0; k < n; k++)
        ML_DATA(int64_t, &part)[k] = ML_DATA(int64_t, &ids)[own[k]];
      ml_transformer_batch alone = {.inputs = &part};
      CHECK_OK(ml_transformer_logits(&logits, m, &alone, &err), &err);
      for (int64_t k = 0; k < n; k++)
        for (int64_t v = 0; v < 11; v++)
          CHECK_NEAR(element(&logits, k * 11 + v), element(&whole, own[k] * 11 + v), 1e-11, 1e-12);
      ml_tensor_clear(&part);
      ml_tensor_clear(&logits);
    }
    ml_grad_enable(grad);
    ml_tensor_clear(&ids);
    ml_tensor_clear(&segments);
    ml_tensor_clear(&whole);
    ml_transformer_free(m);
  }
}

/* Analytic: the loss from the logits by its formula; info; tokens against inputs and targets; rank
 * 1; embeddings. */
static void test_loss_is_its_formula(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(23);
  ml_transformer *m = small(&g, ML_POSITIONS_LEARNED);
  enum { B = 3, T = 7, V = 11 };
  ml_tensor tokens = random_tokens(&g, B, T + 1, V), inputs = random_tokens(&g, B, T, V),
            targets = random_tokens(&g, B, T, V);
  ml_tensor mask = {0}, logits = {0}, loss = {0};
  ml_shape rows = ml_shape_make(2, (int64_t)B, (int64_t)T);
  CHECK_OK(ml_tensor_init(&mask, ML_F64, &rows, &err), &err);
  for (int i = 0; i < B * T; i++) {
    ML_DATA(int64_t, &inputs)[i] = ML_DATA(int64_t, &tokens)[i / T * (T + 1) + i % T];
    ML_DATA(int64_t, &targets)[i] = ML_DATA(int64_t, &tokens)[i / T * (T + 1) + i % T + 1];
    ML_DATA(double, &mask)[i] = i % 4 == 0 ? 0 : i % 3 - 0.5;
  }
  bool grad = ml_grad_enable(false);
  ml_transformer_batch b = {.inputs = &inputs, .targets = &targets, .mask = &mask, .z_loss = 0.2};
  CHECK_OK(ml_transformer_logits(&logits, m, &b, &err), &err);
  double wanted = 0, ce = 0, logz = 0, logz2 = 0, mean = 0, count = 0;
  for (int i = 0; i < B * T; i++) {
    double sum = 0, w = ML_DATA(double, &mask)[i], all = 0;
    if (w == 0)
      continue;
    for (int v = 0; v < V; v++) {
      sum += exp(element(&logits, i * V + v));
      all += element(&logits, i * V + v);
    }
    double z = log(sum), nll = z - element(&logits, i * V + ML_DATA(int64_t, &targets)[i]);
    wanted += w * (nll + 0.2 * z * z);
    ce += w * nll, logz += w * z, logz2 += w * z * z;
    mean += all / V;
    count++;
  }
  ml_ce_info info;
  CHECK_OK(ml_transformer_loss(&loss, m, &b, &info, &err), &err);
  CHECK_CLOSE(value(&loss), wanted / count, 1e-12);
  CHECK_CLOSE(info.ce, ce / count, 1e-12);
  CHECK_CLOSE(info.mean_logz, logz / count, 1e-12);
  CHECK_CLOSE(info.mean_logz2, logz2 / count, 1e-12);
  CHECK_CLOSE(info.logit_mean, mean / count, 1e-11);
  CHECK_EQ(info.count, count);
  ml_transformer_batch shifted = {.tokens = &tokens, .mask = &mask, .z_loss = 0.2};
  CHECK_CLOSE(loss_of(m, &shifted), wanted / count, 1e-12);
  /* the embeddings that the ids have give the same loss */
  ml_tensor e = {0};
  ml_transformer_param *table = ml_transformer_param_find(m, "tokens");
  CHECK_OK(ml_tensor_index_select(&e, &table->tensor, &inputs, 0, &err), &err);
  CHECK_OK(ml_tensor_binary_number_into(&e, ML_MUL, table->multiplier, &err), &err);
  ml_transformer_batch given = {
      .embeddings = &e, .targets = &targets, .mask = &mask, .z_loss = 0.2};
  CHECK_CLOSE(loss_of(m, &given), wanted / count, 1e-12);
  ml_grad_enable(grad);
  ml_tensor_clear(&e);
  ml_tensor_clear(&tokens);
  ml_tensor_clear(&inputs);
  ml_tensor_clear(&targets);
  ml_tensor_clear(&mask);
  ml_tensor_clear(&logits);
  ml_transformer_free(m);
}

/* Hidden states: the last one through the head gives the logits; block_rms is theirs; probes change
 * nothing. */
static void test_hidden_and_probes(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(24);
  ml_transformer *m = small(&g, ML_POSITIONS_ROTARY);
  ml_tensor ids = random_tokens(&g, 2, 9, 11), hidden[4] = {{0}}, logits = {0}, again = {0};
  ml_attention_probe attention[2];
  double rms[2], q_rms[2], k_rms[2], cosine[2];
  ml_transformer_probe probe = {attention, rms, q_rms, k_rms, cosine};
  ml_transformer_batch b = {.inputs = &ids}, probed = {.inputs = &ids, .probe = &probe};
  const int64_t layers[4] = {ML_LAYER_FINAL, 0, 2, 1};
  bool grad = ml_grad_enable(false);
  CHECK_OK(ml_transformer_hidden(hidden, m, &b, layers, 4, &err), &err);
  CHECK_OK(ml_transformer_logits(&logits, m, &b, &err), &err);
  ml_tensor product = {0};
  ml_transformer_param *head = ml_transformer_param_find(m, "head");
  CHECK_OK(ml_tensor_matmul(&product, &hidden[0], &head->tensor, &err), &err);
  for (int64_t i = 0; i < 2 * 9 * 11; i++)
    CHECK_NEAR(head->multiplier * element(&product, i), element(&logits, i), 1e-12, 1e-13);
  CHECK_OK(ml_transformer_logits(&again, m, &probed, &err), &err);
  CHECK(ml_tensor_equal(&again, &logits));
  for (int l = 0; l < 2; l++) {
    const ml_tensor *h = &hidden[l == 0 ? 3 : 2];
    double sum = 0;
    for (int64_t i = 0; i < ml_numel(h); i++)
      sum += element(h, i) * element(h, i);
    CHECK_CLOSE(rms[l], sqrt(sum / (double)ml_numel(h)), 1e-12);
    CHECK(attention[l].max_abs_logit >= fabs(attention[l].max_logit));
    CHECK(attention[l].entropy >= 0 && attention[l].entropy <= log(9));
    CHECK(q_rms[l] > 0 && k_rms[l] > 0 && fabs(cosine[l]) < 1);
  }
  ml_grad_enable(grad);
  CHECK_FAIL(ml_transformer_hidden(hidden + 1, m, &b, (const int64_t[]){3}, 1, &err), ML_EARG);
  CHECK_HAS(err.message, "layer 3, wanted 0..2");
  for (int i = 0; i < 4; i++)
    ml_tensor_clear(&hidden[i]);
  ml_tensor_clear(&ids);
  ml_tensor_clear(&logits);
  ml_tensor_clear(&again);
  ml_tensor_clear(&product);
  ml_transformer_free(m);
}

/* Per-token log probabilities against the logits; lengths up to context + 1; order and company do
 * not matter. */
static void test_logprob(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(25);
  ml_transformer *m = small(&g, ML_POSITIONS_LEARNED);
  enum { N = 7, V = 11 };
  const int64_t length[N] = {17, 3, 1, 9, 16, 2, 9}, from[N] = {1, 2, 1, 4, 15, 2, 1};
  int64_t ids[N][17];
  const int64_t *sequence[N];
  for (int s = 0; s < N; s++) {
    random_ids(&g, ids[s], 17, V);
    sequence[s] = ids[s];
  }
  ml_tensor out[N] = {{0}};
  CHECK_OK(ml_transformer_logprob(out, m, sequence, length, from, N, &err), &err);
  bool grad = ml_grad_enable(false);
  for (int s = 0; s < N; s++) {
    CHECK_EQ(out[s].rank, 1);
    CHECK_EQ(ml_numel(&out[s]), length[s] - from[s]);
    if (length[s] < 2)
      continue;
    ml_tensor input = {0}, logits = {0};
    ml_shape shape = ml_shape_make(1, length[s] - 1);
    CHECK_OK(ml_tensor_init(&input, ML_INDEX, &shape, &err), &err);
    memcpy(ml_data(&input), ids[s], (size_t)(length[s] - 1) * sizeof(int64_t));
    ml_transformer_batch b = {.inputs = &input};
    CHECK_OK(ml_transformer_logits(&logits, m, &b, &err), &err);
    for (int64_t t = from[s]; t < length[s]; t++) {
      double sum = 0;
      for (int v = 0; v < V; v++)
        sum += exp(element(&logits, (t - 1) * V + v));
      CHECK_NEAR(element(&out[s], t - from[s]),
                 element(&logits, (t - 1) * V + ids[s][t]) - log(sum), 1e-11, 1e-12);
    }
    ml_tensor_clear(&input);
    ml_tensor_clear(&logits);
  }
  ml_grad_enable(grad);
  for (int s = 0; s < N; s++)
    ml_tensor_clear(&out[s]);
  int64_t bad = 18;
  CHECK_FAIL(ml_transformer_logprob(out, m, sequence, &bad, from, 1, &err), ML_EARG);
  CHECK_HAS(err.message, "18 ids, wanted 1..17");
  bad = 0;
  CHECK_FAIL(ml_transformer_logprob(out, m, sequence, length, &bad, 1, &err), ML_EARG);
  CHECK_HAS(err.message, "from is 1, wanted >= 2");
  CHECK_ALLOC_SWEEP(ml_transformer_logprob(out, m, sequence, length, from, 3, &err),
                    for (int s = 0; s < 3; s++) ml_tensor_clear(&out[s]));
  ml_transformer_free(m);
}

static void test_errors(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(26);
  ml_transformer *m = small(&g, ML_POSITIONS_ROTARY);
  ml_tensor ids = random_tokens(&g, 2, 9, 11), longer = random_tokens(&g, 1, 18, 11), loss = {0},
            mask = {0}, e = {0};
  ml_shape shape = ml_shape_make(2, (int64_t)2, (int64_t)9);
  CHECK_OK(ml_tensor_init_zeros(&mask, ML_F64, &shape, &err), &err);
  CHECK_OK(ml_tensor_init_zeros(&e, ML_F32, &shape, &err), &err);
  ml_transformer_batch b = {.tokens = &ids, .mask = &mask};
  CHECK_FAIL(ml_transformer_loss(&loss, m, &b, NULL, &err), ML_ESHAPE);
  CHECK_HAS(err.message, "mask is f64 [2x9], wanted [2x8]");
  CHECK_EQ(err.arg, 3);
  b = (ml_transformer_batch){.tokens = &longer};
  CHECK_FAIL(ml_transformer_loss(&loss, m, &b, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "17 positions, more than the context of 16");
  b = (ml_transformer_batch){.tokens = &ids, .z_loss = NAN};
  CHECK_FAIL(ml_transformer_loss(&loss, m, &b, NULL, &err), ML_EARG);
  b = (ml_transformer_batch){.tokens = &mask};
  CHECK_FAIL(ml_transformer_loss(&loss, m, &b, NULL, &err), ML_EDTYPE);
  b = (ml_transformer_batch){.inputs = &ids};
  CHECK_FAIL(ml_transformer_loss(&loss, m, &b, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "targets are missing");
  b = (ml_transformer_batch){.inputs = &ids, .embeddings = &e};
  CHECK_FAIL(ml_transformer_logits(&loss, m, &b, &err), ML_EDTYPE);
  CHECK_HAS(err.message, "embeddings is f32 [2x9], wanted f64 [2x9x24]");
  ML_DATA(int64_t, &ids)[10] = 11;
  b = (ml_transformer_batch){.tokens = &ids};
  CHECK_FAIL(ml_transformer_loss(&loss, m, &b, NULL, &err), ML_EARG);
  CHECK_HAS(err.message, "tokens [2,2] is id 12, wanted 1..11");
  ML_DATA(int64_t, &ids)[10] = 0;
  CHECK_ALLOC_SWEEP(ml_transformer_loss(&loss, m, &b, NULL, &err), ml_tensor_clear(&loss));
  ml_tensor_clear(&ids);
  ml_tensor_clear(&longer);
  ml_tensor_clear(&mask);
  ml_tensor_clear(&e);
  ml_transformer_free(m);
}

CHECK_MAIN(test_gradients, test_segments_restart, test_loss_is_its_formula, test_hidden_and_probes,
           test_logprob, test_errors)
