/* Configuration by name and as JSON, the parameter table, initial values, files. */
#include "random_model.h"

static void test_options_by_name(void) {
  ml_error err;
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  CHECK_OK(ml_transformer_config_set_number(&c, "width", 48, &err), &err);
  CHECK_OK(ml_transformer_config_set_text(&c, "rotary", "interleaved", &err), &err);
  CHECK_OK(ml_transformer_config_set_text(&c, "attention_scale", "1/d_head", &err), &err);
  CHECK_OK(ml_transformer_config_set_bool(&c, "tied", true, &err), &err);
  CHECK_EQ(c.width, 48);
  CHECK(c.rotary_interleaved && c.tied && c.scale_kind == ML_SCALE_INV);
  CHECK_OK(ml_transformer_config_set_number(&c, "attention_scale", 0.25, &err), &err);
  CHECK(c.scale_kind == ML_SCALE_NUMBER && c.attention_scale == 0.25);
  CHECK_OK(ml_transformer_config_check(&c, &err), &err);
  CHECK_EQ(c.mlp_width, 4 * 48);

  CHECK_FAIL(ml_transformer_config_set_number(&c, "widht", 3, &err), ML_EARG);
  CHECK_HAS(err.message, "unknown option 'widht'; did you mean 'width'?");
  CHECK_FAIL(ml_transformer_config_set_text(&c, "activation", "gelu_tahn", &err), ML_EARG);
  CHECK_HAS(err.message, "did you mean \"gelu_tanh\"?");
  CHECK_FAIL(ml_transformer_config_set_text(&c, "norm", "batch", &err), ML_EARG);
  CHECK_HAS(err.message, "wanted layer|rms");
  CHECK_FAIL(ml_transformer_config_set_number(&c, "depth", 2.5, &err), ML_EARG);
  CHECK_FAIL(ml_transformer_config_set_number(&c, "depth", NAN, &err), ML_EARG);
  CHECK_FAIL(ml_transformer_config_set_number(&c, "depth", -1, &err), ML_EARG);
  CHECK_FAIL(ml_transformer_config_set_text(&c, "width", "wide", &err), ML_EARG);
  CHECK_FAIL(ml_transformer_config_set_bool(&c, "norm", true, &err), ML_EARG);
  CHECK_FAIL(ml_transformer_config_set_number(&c, "bias", 1, &err), ML_EARG);
  c.heads = 5;
  CHECK_FAIL(ml_transformer_config_check(&c, &err), ML_EARG);
  CHECK_HAS(err.message, "width is 48 and heads is 5");
  c.heads = 16;
  CHECK_FAIL(ml_transformer_config_check(&c, &err), ML_EARG);
  CHECK_HAS(err.message, "even");
  c.heads = 4;
  c.norm_eps = NAN;
  CHECK_FAIL(ml_transformer_config_check(&c, &err), ML_EARG);
}

static void test_json_keeps_everything(void) { /* property */
  ml_error err;
  ml_rng g = ml_rng_seed(41);
  for (int i = 0; i < 100; i++) {
    ml_transformer_config c = random_config(&g, i % 2 ? ML_F32 : ML_F64), back;
    c.attention_scale = c.scale_kind == ML_SCALE_NUMBER ? 1.0 / 3 : 0;
    CHECK_OK(ml_transformer_config_check(&c, &err), &err);
    char *text = ml_transformer_config_json(&c);
    CHECK_OK(ml_transformer_config_parse(&back, text, strlen(text), &err), &err);
    char *again = ml_transformer_config_json(&back);
    CHECK_STRING(text, again);
    CHECK(back.attention_scale == c.attention_scale && back.seed == c.seed &&
          back.rotary_base == c.rotary_base);
    ml_free(text);
    ml_free(again);
  }
  ml_transformer_config c;
  CHECK_FAIL(ml_transformer_config_parse(&c, "[1]", 3, &err), ML_EFORMAT);
  CHECK_FAIL(ml_transformer_config_parse(&c, "{", 1, &err), ML_EFORMAT);
  CHECK_FAIL(ml_transformer_config_parse(&c, "{\"width\":[]}", 12, &err), ML_EARG);
}

static void want(ml_transformer *m, const char *name, const char *shape) {
  char text[ML_DESCRIBE];
  ml_transformer_param *p = ml_transformer_param_find(m, name);
  CHECK(p != NULL);
  if (!p)
    return;
  CHECK_STRING(ml_describe(text, &p->tensor), shape);
  CHECK(ml_is_param(&p->tensor));
}

static void test_names_and_shapes(void) {
  ml_error err;
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.vocab = 50, c.context = 30, c.depth = 2, c.width = 24, c.heads = 3, c.mlp_width = 40;
  ml_transformer *m = NULL;
  CHECK_OK(ml_transformer_new(&m, &c, &err), &err);
  CHECK_EQ(ml_transformer_param_count(m), 1 + 2 * 8 + 1 + 1);
  want(m, "tokens", "f32 [50x24]");
  want(m, "blocks.1.norm1.gain", "f32 [24]");
  want(m, "blocks.2.attn.wq", "f32 [24x24]");
  want(m, "blocks.2.attn.wo", "f32 [24x24]");
  want(m, "blocks.1.mlp.w1", "f32 [24x40]");
  want(m, "blocks.1.mlp.w2", "f32 [40x24]");
  want(m, "norm.gain", "f32 [24]");
  want(m, "head", "f32 [24x50]");
  CHECK(!ml_transformer_param_find(m, "positions"));
  CHECK(!ml_transformer_param_find(m, "blocks.3.attn.wq"));
  ml_transformer_free(m);
  c.bias = c.qk_norm = c.tied = true;
  c.positions = ML_POSITIONS_LEARNED;
  c.dtype = ML_F64;
  CHECK_OK(ml_transformer_new(&m, &c, &err), &err);
  CHECK_EQ(ml_transformer_param_count(m), 2 + 2 * (8 + 2 + 6 + 2) + 2);
  want(m, "positions", "f64 [30x24]");
  want(m, "blocks.1.attn.q_norm.gain", "f64 [8]");
  want(m, "blocks.2.attn.bo", "f64 [24]");
  want(m, "blocks.2.mlp.b1", "f64 [40]");
  want(m, "blocks.2.norm2.shift", "f64 [24]");
  want(m, "norm.shift", "f64 [24]");
  CHECK(!ml_transformer_param_find(m, "head"));
  CHECK(ml_transformer_multiplier(m, "head") != NULL);
  CHECK(ml_transformer_multiplier(m, "blocks.1.attn.wq") != NULL);
  CHECK(ml_transformer_multiplier(m, "heda") == NULL);
  ml_transformer_free(m);
}

static double deviation(const ml_tensor *t) {
  double sum = 0;
  for (int64_t i = 0; i < ml_numel(t); i++)
    sum += element(t, i) * element(t, i);
  return sqrt(sum / (double)ml_numel(t));
}

/* Standard deviations of the initial values, and one stream per tensor: options change no other
 * tensor. */
static void test_initial_values(void) {
  ml_error err;
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.vocab = 500, c.width = 128, c.heads = 4, c.depth = 2, c.mlp_width = 700;
  ml_transformer *plain = NULL, *rich = NULL;
  CHECK_OK(ml_transformer_new(&plain, &c, &err), &err);
  const double tolerance = 0.02; /* 4 standard errors of 16384 numbers */
  CHECK_CLOSE(deviation(&ml_transformer_param_find(plain, "tokens")->tensor), 1 / sqrt(128),
              tolerance);
  CHECK_CLOSE(deviation(&ml_transformer_param_find(plain, "blocks.1.attn.wq")->tensor),
              1 / sqrt(128), 0.025);
  CHECK_CLOSE(deviation(&ml_transformer_param_find(plain, "blocks.2.mlp.w2")->tensor),
              1 / sqrt(700), tolerance);
  CHECK_CLOSE(deviation(&ml_transformer_param_find(plain, "head")->tensor), 1 / sqrt(128),
              tolerance);
  CHECK(element(&ml_transformer_param_find(plain, "norm.gain")->tensor, 5) == 1);
  double largest = 0;
  const ml_tensor *w2 = &ml_transformer_param_find(plain, "blocks.2.mlp.w2")->tensor;
  for (int64_t i = 0; i < ml_numel(w2); i++)
    largest = fmax(largest, fabs(element(w2, i)));
  CHECK(largest <=
        2.0 / 0.87962566103423978 / sqrt(700) * (1 + 1e-6)); /* cut at two, before rescaling */
  c.bias = c.qk_norm = true;
  c.positions = ML_POSITIONS_LEARNED;
  c.depth = 3;
  CHECK_OK(ml_transformer_new(&rich, &c, &err), &err);
  for (int64_t i = 0; i < ml_transformer_param_count(plain); i++) {
    ml_transformer_param *a = ml_transformer_param_at(plain, i),
                         *b = ml_transformer_param_find(rich, a->name);
    CHECK(b && ml_tensor_equal(&a->tensor, &b->tensor));
  }
  CHECK_CLOSE(deviation(&ml_transformer_param_find(rich, "positions")->tensor), 1 / sqrt(128),
              tolerance);
  CHECK(deviation(&ml_transformer_param_find(rich, "blocks.1.attn.bq")->tensor) == 0);
  ml_transformer_free(rich);
  c.seed = 2;
  c.init = ML_INIT_NORMAL;
  CHECK_OK(ml_transformer_new(&rich, &c, &err), &err);
  CHECK_CLOSE(deviation(&ml_transformer_param_find(rich, "blocks.1.mlp.w1")->tensor), 0.02,
              tolerance);
  CHECK_CLOSE(deviation(&ml_transformer_param_find(rich, "blocks.1.mlp.w2")->tensor),
              0.02 / sqrt(6), tolerance);
  CHECK_CLOSE(deviation(&ml_transformer_param_find(rich, "tokens")->tensor), 0.02, tolerance);
  ml_transformer_free(rich);
  c.init = ML_INIT_ZEROS_OUT;
  CHECK_OK(ml_transformer_new(&rich, &c, &err), &err);
  CHECK(deviation(&ml_transformer_param_find(rich, "blocks.1.attn.wo")->tensor) == 0);
  CHECK(deviation(&ml_transformer_param_find(rich, "blocks.1.attn.wq")->tensor) > 0);
  ml_transformer_free(rich);
  /* a redraw gives the same numbers again, times the scale */
  ml_transformer_param *p = ml_transformer_param_find(plain, "blocks.1.attn.wk");
  double before = element(&p->tensor, 77);
  CHECK_OK(ml_transformer_redraw(plain, p, 0.5, &err), &err);
  CHECK_CLOSE(element(&p->tensor, 77), 0.5 * before, 1e-6);
  ml_transformer_free(plain);
}

/* ---- files ----------------------------------------------------------------------------------- */

#define PATH "test_transformer_config.safetensors"

static void test_save_and_load(void) {
  ml_error err;
  ml_rng g = ml_rng_seed(43);
  for (int i = 0; i < 20; i++) {
    ml_transformer_config c = random_config(&g, i % 2 ? ML_F32 : ML_F64);
    ml_transformer *m = random_model(&g, &c), *back = NULL;
    CHECK_OK(ml_transformer_save(m, PATH, &err), &err);
    CHECK_OK(ml_transformer_load(&back, PATH, &err), &err);
    if (back) {
      char *a = ml_transformer_config_json(ml_transformer_get_config(m));
      char *b = ml_transformer_config_json(ml_transformer_get_config(back));
      CHECK_STRING(a, b);
      ml_free(a);
      ml_free(b);
      for (int64_t k = 0; k < ml_transformer_param_count(m); k++) {
        ml_transformer_param *p = ml_transformer_param_at(m, k),
                             *q = ml_transformer_param_at(back, k);
        CHECK_STRING(p->name, q->name);
        CHECK(ml_tensor_equal(&p->tensor, &q->tensor));
        CHECK(p->multiplier == q->multiplier);
        CHECK(ml_is_param(&q->tensor));
      }
      CHECK(*ml_transformer_multiplier(m, "head") == *ml_transformer_multiplier(back, "head"));
    }
    ml_transformer_free(m);
    ml_transformer_free(back);
  }
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.depth = 1, c.width = 8, c.heads = 2, c.vocab = 5;
  ml_transformer *m = random_model(&g, &c), *back = NULL;
  CHECK_ALLOC_SWEEP(ml_transformer_save(m, PATH, &err), (void)0);
  CHECK_ALLOC_SWEEP(ml_transformer_load(&back, PATH, &err), ml_transformer_free(back));
  CHECK_FAIL(ml_transformer_save(m, "/no/such/folder/x.safetensors", &err), ML_EIO);
  CHECK_EQ(err.arg, 2);
  CHECK_FAIL(ml_transformer_load(&back, "/no/such/file", &err), ML_EIO);
  CHECK(back == NULL);
  ml_transformer_free(m);
  /* a file cut short, a file of something else */
  ml_in_file file;
  CHECK_OK(ml_in_open(&file, PATH, &err), &err);
  CHECK_OK(ml_write_file(PATH ".cut", file.data, file.bytes / 2, &err), &err);
  ml_in_close(&file);
  CHECK_FAIL(ml_transformer_load(&back, PATH ".cut", &err), ML_EFORMAT);
  static const char other[] = "\x02\0\0\0\0\0\0\0{}";
  CHECK_OK(ml_write_file(PATH ".cut", other, sizeof other - 1, &err), &err);
  CHECK_FAIL(ml_transformer_load(&back, PATH ".cut", &err), ML_EFORMAT);
  CHECK_HAS(err.message, "not a decoder");
  remove(PATH);
  remove(PATH ".cut");
}

CHECK_MAIN(test_options_by_name, test_json_keeps_everything, test_names_and_shapes,
           test_initial_values, test_save_and_load)
