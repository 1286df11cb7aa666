/* Configuration of the decoder: one table of options, their checks with suggestions, and JSON in
 * and out. */
#include "internal.h"

#include <math.h>
#include <string.h>

typedef enum { FIELD_INT, FIELD_REAL, FIELD_BOOL, FIELD_CHOICE, FIELD_SCALE } field_kind;

typedef struct {
  const char *name;
  field_kind kind;
  size_t offset;
  int64_t lo, hi;             /* of integers */
  const char *const *choices; /* ends with NULL; bools shown as a choice have two */
} field;

static const char *const dtype_choices[] = {"f64", "f32", NULL};
static const char *const norm_choices[] = {"layer", "rms", NULL};
static const char *const position_choices[] = {"rotary", "learned", "none", NULL};
static const char *const scale_choices[] = {"1/sqrt(d_head)", "1/d_head", NULL};
static const char *const init_choices[] = {"paper", "normal", "zeros_out", NULL};
static const char *const rotary_choices[] = {"half", "interleaved", NULL};
static const char *const order_choices[] = {"before_rotary", "after_rotary", NULL};

_Static_assert(ML_F64 == 0 && ML_F32 == 1, "dtype_choices follow ml_dtype");

#define AT(member) offsetof(ml_transformer_config, member)
#define MAX_SIZE ((int64_t)1 << 31)

static const field fields[] = {
    {"vocab", FIELD_INT, AT(vocab), 1, MAX_SIZE, NULL},
    {"context", FIELD_INT, AT(context), 1, MAX_SIZE, NULL},
    {"depth", FIELD_INT, AT(depth), 0, 1 << 16, NULL},
    {"width", FIELD_INT, AT(width), 1, 1 << 20, NULL},
    {"heads", FIELD_INT, AT(heads), 1, 1 << 20, NULL},
    {"mlp_width", FIELD_INT, AT(mlp_width), 0, 1 << 24, NULL},
    {"dtype", FIELD_CHOICE, AT(dtype), 0, 0, dtype_choices},
    {"seed", FIELD_INT, AT(seed), INT64_MIN, INT64_MAX, NULL},
    {"norm", FIELD_CHOICE, AT(norm), 0, 0, norm_choices},
    {"norm_eps", FIELD_REAL, AT(norm_eps), 0, 0, NULL},
    {"bias", FIELD_BOOL, AT(bias), 0, 0, NULL},
    {"activation", FIELD_CHOICE, AT(activation), 0, 0, NULL},
    {"positions", FIELD_CHOICE, AT(positions), 0, 0, position_choices},
    {"rotary", FIELD_BOOL, AT(rotary_interleaved), 0, 0, rotary_choices},
    {"rotary_base", FIELD_REAL, AT(rotary_base), 0, 0, NULL},
    {"qk_norm", FIELD_BOOL, AT(qk_norm), 0, 0, NULL},
    {"qk_norm_order", FIELD_BOOL, AT(qk_norm_after_rotary), 0, 0, order_choices},
    {"attention_scale", FIELD_SCALE, AT(scale_kind), 0, 0, scale_choices},
    {"tied", FIELD_BOOL, AT(tied), 0, 0, NULL},
    {"init", FIELD_CHOICE, AT(init), 0, 0, init_choices},
};
#define N_FIELDS ((int)(sizeof fields / sizeof fields[0]))

#define INT_OF(config, f) (*(int64_t *)((char *)(config) + (f)->offset))
#define REAL_OF(config, f) (*(double *)((char *)(config) + (f)->offset))
#define BOOL_OF(config, f) (*(bool *)((char *)(config) + (f)->offset))
#define CHOICE_OF(config, f) (*(int *)((char *)(config) + (f)->offset))

const char *ml_transformer_option(int i) { return i >= 0 && i < N_FIELDS ? fields[i].name : NULL; }

void ml_transformer_config_default(ml_transformer_config *config) {
  memset(config, 0, sizeof *config);
  config->vocab = 256;
  config->context = 256;
  config->depth = 4;
  config->width = 128;
  config->heads = 4;
  config->dtype = ML_F32;
  config->seed = 1;
  config->norm = ML_NORM_LAYER;
  config->norm_eps = 1e-6;
  config->activation = ML_ACT_GELU_TANH;
  config->positions = ML_POSITIONS_ROTARY;
  config->rotary_base = 1e4;
  config->scale_kind = ML_SCALE_INV_SQRT;
  config->init = ML_INIT_PAPER;
}

/* ---- suggestions ----------------------------------------------------------------------------- */

static const char *choice_at(const field *f, int i) {
  if (f->choices)
    return f->choices[i];
  return i < ML_ACT_COUNT ? ml_act_name((ml_act)i) : NULL; /* activation */
}

static ml_status unknown_choice(const field *f, const char *value, ml_error *err) {
  char list[160] = "";
  size_t used = 0;
  const char *names[ML_ACT_COUNT + 1] = {NULL};
  for (int i = 0; choice_at(f, i); i++) {
    const char *name = names[i] = choice_at(f, i);
    if (used + strlen(name) + 2 < sizeof list)
      used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? "|" : "", name);
  }
  const char *near = ml_nearest(value, names);
  return ml_fail(err, ML_EARG, 1, "%s is \"%.40s\", wanted %s%s%s%s%s", f->name, value, list,
                 f->kind == FIELD_SCALE ? "|number" : "", near ? "; did you mean \"" : "",
                 near ? near : "", near ? "\"?" : "");
}

static ml_status find_field(const field **f, const char *option, ml_error *err) {
  const char *names[N_FIELDS + 1] = {NULL};
  for (int i = 0; i < N_FIELDS; i++) {
    names[i] = fields[i].name;
    if (strcmp(option, names[i]) == 0) {
      *f = &fields[i];
      return ML_OK;
    }
  }
  const char *near = ml_nearest(option, names);
  return ml_fail(err, ML_EARG, 1, "unknown option '%.40s'%s%s%s", option,
                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static const char *wanted(const field *f) {
  switch (f->kind) {
  case FIELD_INT:
    return "an integer";
  case FIELD_REAL:
    return "a number";
  case FIELD_BOOL:
    return f->choices ? "text" : "true or false";
  case FIELD_SCALE:
    return "text or a number";
  default:
    return "text";
  }
}

/* ---- by name --------------------------------------------------------------------------------- */

static ml_status set_integer(ml_transformer_config *config, const field *f, int64_t value,
                             ml_error *err) {
  if (value < f->lo || value > f->hi)
    return ml_fail(err, ML_EARG, 1, "%s is %lld, wanted %lld..%lld", f->name, (long long)value,
                   (long long)f->lo, (long long)f->hi);
  INT_OF(config, f) = value;
  return ML_OK;
}

ml_status ml_transformer_config_set_number(ml_transformer_config *config, const char *option,
                                           double value, ml_error *err) {
  const field *f = NULL;
  ML_TRY(find_field(&f, option, err));
  switch (f->kind) {
  case FIELD_INT:
    if (!(value == floor(value) && fabs(value) <= 9007199254740992.0))
      return ml_fail(err, ML_EARG, 1, "%s is %g, wanted an integer", f->name, value);
    return set_integer(config, f, (int64_t)value, err);
  case FIELD_REAL:
    REAL_OF(config, f) = value;
    return ML_OK;
  case FIELD_SCALE:
    config->scale_kind = ML_SCALE_NUMBER;
    config->attention_scale = value;
    return ML_OK;
  default:
    return ml_fail(err, ML_EARG, 1, "%s is a number (%g), wanted %s", f->name, value, wanted(f));
  }
}

ml_status ml_transformer_config_set_text(ml_transformer_config *config, const char *option,
                                         const char *value, ml_error *err) {
  const field *f = NULL;
  ML_TRY(find_field(&f, option, err));
  if (f->kind == FIELD_INT || f->kind == FIELD_REAL || (f->kind == FIELD_BOOL && !f->choices))
    return ml_fail(err, ML_EARG, 1, "%s is \"%.40s\", wanted %s", f->name, value, wanted(f));
  for (int i = 0; choice_at(f, i); i++) {
    if (strcmp(value, choice_at(f, i)) != 0)
      continue;
    if (f->kind == FIELD_BOOL)
      BOOL_OF(config, f) = i == 1;
    else
      CHOICE_OF(config, f) = i;
    return ML_OK;
  }
  return unknown_choice(f, value, err);
}

ml_status ml_transformer_config_set_bool(ml_transformer_config *config, const char *option,
                                         bool value, ml_error *err) {
  const field *f = NULL;
  ML_TRY(find_field(&f, option, err));
  if (f->kind != FIELD_BOOL || f->choices)
    return ml_fail(err, ML_EARG, 1, "%s is %s, wanted %s", f->name, value ? "true" : "false",
                   wanted(f));
  BOOL_OF(config, f) = value;
  return ML_OK;
}

static void get_field(ml_option_value *value, const ml_transformer_config *config, const field *f) {
  memset(value, 0, sizeof *value);
  switch (f->kind) {
  case FIELD_INT:
    value->type = ML_OPTION_INTEGER;
    value->integer = *(const int64_t *)((const char *)config + f->offset);
    return;
  case FIELD_REAL:
    value->type = ML_OPTION_NUMBER;
    value->number = *(const double *)((const char *)config + f->offset);
    return;
  case FIELD_BOOL: {
    bool on = *(const bool *)((const char *)config + f->offset);
    value->type = f->choices ? ML_OPTION_TEXT : ML_OPTION_BOOL;
    value->boolean = on;
    if (f->choices)
      value->text = f->choices[on];
    return;
  }
  case FIELD_SCALE:
    if (config->scale_kind == ML_SCALE_NUMBER) {
      value->type = ML_OPTION_NUMBER;
      value->number = config->attention_scale;
      return;
    } /* fall through: the names */
    __attribute__((fallthrough));
  default:
    value->type = ML_OPTION_TEXT;
    value->text = choice_at(f, *(const int *)((const char *)config + f->offset));
  }
}

ml_status ml_transformer_config_get(ml_option_value *value, const ml_transformer_config *config,
                                    const char *option, ml_error *err) {
  const field *f = NULL;
  ML_TRY(find_field(&f, option, err));
  get_field(value, config, f);
  return ML_OK;
}

/* ---- checks ---------------------------------------------------------------------------------- */

ml_status ml_transformer_config_check(ml_transformer_config *c, ml_error *err) {
  if (c->mlp_width == 0)
    c->mlp_width = 4 * c->width;
  for (int i = 0; i < N_FIELDS; i++) {
    const field *f = &fields[i];
    if (f->kind == FIELD_INT)
      ML_TRY(set_integer(c, f, INT_OF(c, f), err));
    if (f->kind != FIELD_CHOICE)
      continue;
    int n = 0;
    while (choice_at(f, n))
      n++;
    if (CHOICE_OF(c, f) < 0 || CHOICE_OF(c, f) >= n)
      return ml_fail(err, ML_EARG, 1, "%s is choice number %d, wanted 0..%d", f->name,
                     CHOICE_OF(c, f), n - 1);
  }
  if (c->width % c->heads != 0)
    return ml_fail(err, ML_EARG, 1,
                   "width is %lld and heads is %lld, wanted a width divisible by heads",
                   (long long)c->width, (long long)c->heads);
  int64_t d_head = c->width / c->heads;
  if (c->positions == ML_POSITIONS_ROTARY && d_head % 2 != 0)
    return ml_fail(err, ML_EARG, 1, "width / heads is %lld, rotary positions want an even number",
                   (long long)d_head);
  if (!(c->norm_eps >= 0 && c->norm_eps <= 1))
    return ml_fail(err, ML_EARG, 1, "norm_eps is %g, wanted 0..1", c->norm_eps);
  if (!(c->rotary_base > 0 && c->rotary_base <= 1e300))
    return ml_fail(err, ML_EARG, 1, "rotary_base is %g, wanted > 0 and finite", c->rotary_base);
  if (c->scale_kind < 0 || c->scale_kind > ML_SCALE_NUMBER)
    return ml_fail(err, ML_EARG, 1, "attention_scale is choice number %d, wanted 0..2",
                   c->scale_kind);
  if (c->scale_kind == ML_SCALE_NUMBER && !isfinite(c->attention_scale))
    return ml_fail(err, ML_EARG, 1, "attention_scale is %g, wanted a finite number",
                   c->attention_scale);
  return ML_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

char *ml_transformer_json_text(json_t *object) {
  if (!object)
    return NULL;
  size_t flags = JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17);
  size_t bytes = json_dumpb(object, NULL, 0, flags);
  char *text = bytes ? ml_alloc(bytes + 1) : NULL;
  if (text && json_dumpb(object, text, bytes, flags) != bytes) {
    ml_free(text);
    text = NULL;
  }
  json_decref(object);
  return text;
}

char *ml_transformer_config_json(const ml_transformer_config *config) {
  json_t *object = json_object();
  for (int i = 0; object && i < N_FIELDS; i++) {
    ml_option_value v;
    get_field(&v, config, &fields[i]);
    json_t *value = v.type == ML_OPTION_INTEGER  ? json_integer(v.integer)
                    : v.type == ML_OPTION_NUMBER ? json_real(v.number)
                    : v.type == ML_OPTION_BOOL   ? json_boolean(v.boolean)
                                                 : json_string(v.text);
    if (!value || json_object_set_new(object, fields[i].name, value) != 0) {
      json_decref(object);
      object = NULL;
    }
  }
  return ml_transformer_json_text(object);
}

static ml_status parse_field(ml_transformer_config *config, const char *key, const json_t *value,
                             ml_error *err) {
  const field *f = NULL;
  ML_TRY(find_field(&f, key, err));
  if (json_is_integer(value) && f->kind == FIELD_INT)
    return set_integer(config, f, json_integer_value(value), err);
  if (json_is_number(value))
    return ml_transformer_config_set_number(config, key, json_number_value(value), err);
  if (json_is_boolean(value))
    return ml_transformer_config_set_bool(config, key, json_is_true(value), err);
  if (json_is_string(value))
    return ml_transformer_config_set_text(config, key, json_string_value(value), err);
  return ml_fail(err, ML_EARG, 1, "%s is neither number, text nor boolean, wanted %s", f->name,
                 wanted(f));
}

ml_status ml_transformer_config_parse(ml_transformer_config *config, const char *json, size_t bytes,
                                      ml_error *err) {
  ml_transformer_config_default(config);
  json_error_t where;
  json_t *object = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &where);
  if (!json_is_object(object)) {
    json_decref(object);
    return ml_fail(err, ML_EFORMAT, 1, "the configuration is not a JSON object: %.100s",
                   object ? "another type" : where.text);
  }
  ml_status status = ML_OK;
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value) {
    status = parse_field(config, key, value, err);
    if (status)
      break;
  }
  json_decref(object);
  return status ? status : ml_transformer_config_check(config, err);
}
