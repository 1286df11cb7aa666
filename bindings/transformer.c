/* ml.transformer: the decoder and its methods. */
#include "mll.h"

#include <math.h>
#include <string.h>

#include "../core/transformer/transformer.h"

#define MLL_TRANSFORMER "ml.transformer"
#define MLL_SAMPLES "ml.samples"

/* User value 1: name -> handle of each parameter, so that they keep their identity. */
typedef struct {
  ml_transformer *model;
  ml_rng rng; /* of generate calls that bring none */
} decoder;

static ml_transformer *check_model(lua_State *L) {
  decoder *d = mll_check_object(L, 1, MLL_TRANSFORMER);
  if (!d->model)
    mll_arg_error(L, 1, "this decoder was never finished");
  return d->model;
}

static int decoder_gc(lua_State *L) {
  decoder *d = mll_check_object(L, 1, MLL_TRANSFORMER);
  ml_transformer_free(d->model);
  d->model = NULL;
  return 0;
}

/* ---- making one ------------------------------------------------------------------------------ */

static decoder *push_decoder(lua_State *L) {
  decoder *d = lua_newuserdatauv(L, sizeof *d, 1);
  memset(d, 0, sizeof *d);
  luaL_setmetatable(L, MLL_TRANSFORMER);
  return d;
}

static void finish_decoder(decoder *d) {
  ml_rng seed = ml_rng_seed((uint64_t)ml_transformer_get_config(d->model)->seed);
  d->rng = ml_rng_fold(&seed, "generate", 8, 0);
}

static void set_option(lua_State *L, ml_transformer_config *c, const char *key) {
  ml_error err;
  ml_status status = ML_OK;
  switch (lua_type(L, -1)) {
  case LUA_TNUMBER:
    if (lua_isinteger(L, -1) && strcmp(key, "seed") == 0)
      c->seed = lua_tointeger(L, -1);
    else
      status = ml_transformer_config_set_number(c, key, lua_tonumber(L, -1), &err);
    break;
  case LUA_TBOOLEAN:
    status = ml_transformer_config_set_bool(c, key, lua_toboolean(L, -1), &err);
    break;
  case LUA_TSTRING:
    status = ml_transformer_config_set_text(c, key, lua_tostring(L, -1), &err);
    break;
  default: /* is the name known, at least? */
    status = ml_transformer_config_get(&(ml_option_value){0}, c, key, &err);
    if (!status)
      mll_opt_error(L, 1, key, "is a %s, wanted a number, text or a boolean", luaL_typename(L, -1));
  }
  if (status)
    mll_raise(L, &err);
}

/* 1: the module table, 2: options */
static int l_transformer(lua_State *L) {
  lua_remove(L, 1);
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  mll_check_table(L, 1);
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  mll_push_sorted_keys(L, 1);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2), all = 0;
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
    all++;
  if (all != n)
    return mll_arg_error(L, 1, "options have names: ml.transformer{ width = 128 }");
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    const char *key = lua_tostring(L, -1);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    if (strcmp(key, "parameterization") == 0) {
      if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "standard") != 0)
        return mll_opt_error(L, 1, key,
                             "wanted nil or \"standard\"; others are set by "
                             "ml.parameterization(lm, { name = ... }) before training");
    } else {
      set_option(L, &c, key);
    }
    lua_pop(L, 2);
  }
  decoder *d = push_decoder(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_new(&d->model, &c, &err));
  if (status)
    return mll_raise(L, &err);
  finish_decoder(d);
  return 1;
}

static int l_load(lua_State *L) {
  const char *path = mll_check_path(L, 1);
  if (mll_no_file(L, path))
    return 2;
  decoder *d = push_decoder(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_load(&d->model, path, &err));
  if (status)
    return mll_raise(L, &err);
  finish_decoder(d);
  return 1;
}

static int l_save(lua_State *L) {
  const ml_transformer *m = check_model(L);
  const char *path = mll_check_path(L, 2);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_save(m, path, &err));
  return status ? mll_raise(L, &err) : 0;
}

/* ---- looking at one -------------------------------------------------------------------------- */

/* Pushes the table of parameter handles. */
static void push_handles(lua_State *L, ml_transformer *m) {
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE)
    return;
  lua_pop(L, 1);
  lua_newtable(L);
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++) {
    const ml_transformer_param *p = ml_transformer_param_at(m, i);
    ml_tensor *handle = mll_push_empty_kept(L);
    ml_tensor_alias(handle, &p->tensor);
    lua_setfield(L, -2, p->name);
  }
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, 1);
}

static int l_named_parameters(lua_State *L) {
  ml_transformer *m = check_model(L);
  push_handles(L, m);
  lua_createtable(L, 0, (int)ml_transformer_param_count(m));
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++) {
    lua_getfield(L, -2, ml_transformer_param_at(m, i)->name);
    lua_setfield(L, -2, ml_transformer_param_at(m, i)->name);
  }
  return 1;
}

static int l_parameters(lua_State *L) {
  ml_transformer *m = check_model(L);
  push_handles(L, m);
  lua_createtable(L, (int)ml_transformer_param_count(m), 0);
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++) {
    lua_getfield(L, -2, ml_transformer_param_at(m, i)->name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_zero_grad(lua_State *L) {
  ml_transformer *m = check_model(L);
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++)
    ml_grad_zero(&ml_transformer_param_at(m, i)->tensor);
  return 0;
}

static int l_training(lua_State *L) {
  ml_transformer *m = check_model(L);
  if (lua_isnoneornil(L, 2)) {
    bool on = ml_transformer_training(m, true);
    ml_transformer_training(m, on);
    lua_pushboolean(L, on);
    return 1;
  }
  if (lua_type(L, 2) != LUA_TBOOLEAN)
    return mll_type_error(L, 2, "boolean");
  ml_transformer_training(m, lua_toboolean(L, 2));
  lua_pushboolean(L, lua_toboolean(L, 2));
  return 1;
}

static void push_option(lua_State *L, const ml_option_value *v) {
  switch (v->type) {
  case ML_OPTION_INTEGER:
    lua_pushinteger(L, v->integer);
    break;
  case ML_OPTION_NUMBER:
    lua_pushnumber(L, v->number);
    break;
  case ML_OPTION_BOOL:
    lua_pushboolean(L, v->boolean);
    break;
  case ML_OPTION_TEXT:
    lua_pushstring(L, v->text);
    break;
  }
}

static int l_config(lua_State *L) {
  ml_transformer *m = check_model(L);
  lua_newtable(L);
  for (int i = 0; ml_transformer_option(i); i++) {
    ml_option_value v;
    ml_error err;
    if (ml_transformer_config_get(&v, ml_transformer_get_config(m), ml_transformer_option(i), &err))
      return mll_raise(L, &err);
    push_option(L, &v);
    lua_setfield(L, -2, ml_transformer_option(i));
  }
  return 1;
}

static int l_multiplier(lua_State *L) {
  ml_transformer *m = check_model(L);
  const char *name = mll_check_string(L, 2, NULL);
  double *slot = ml_transformer_multiplier(m, name);
  if (!slot)
    return mll_arg_error(L, 2, "no parameter \"%.60s\"", name);
  if (!lua_isnoneornil(L, 3)) {
    double value = mll_check_number(L, 3);
    if (!isfinite(value))
      return mll_arg_error(L, 3, "multiplier is %g, wanted a finite number", value);
    *slot = value;
  }
  lua_pushnumber(L, *slot);
  return 1;
}

static int l_tostring(lua_State *L) {
  decoder *d = mll_check_object(L, 1, MLL_TRANSFORMER);
  if (!d->model) {
    lua_pushliteral(L, MLL_TRANSFORMER " (unfinished)");
    return 1;
  }
  const ml_transformer_config *c = ml_transformer_get_config(d->model);
  double count = 0;
  for (int64_t i = 0; i < ml_transformer_param_count(d->model); i++)
    count += (double)ml_numel(&ml_transformer_param_at(d->model, i)->tensor);
  char text[200];
  (void)snprintf(
      text, sizeof text,
      "ml.transformer %s, vocab %lld, context %lld, depth %lld, width %lld, heads %lld, %.0f "
      "parameters",
      ml_dtype_name((ml_dtype)c->dtype), (long long)c->vocab, (long long)c->context,
      (long long)c->depth, (long long)c->width, (long long)c->heads, count);
  lua_pushstring(L, text);
  return 1;
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Field `name` of the table at arg as a tensor: a table of numbers becomes one of dtype. What it
 * points to stays on the stack. NULL when absent. */
static const ml_tensor *field(lua_State *L, int arg, const char *name, ml_dtype dtype) {
  if (!lua_istable(L, arg))
    return NULL;
  luaL_checkstack(L, 4, NULL);
  lua_getfield(L, arg, name);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return NULL;
  }
  if (lua_istable(L, -1)) {
    mll_push_from_lua(L, -1, arg, dtype);
    lua_remove(L, -2);
  }
  const ml_tensor *t = mll_test_tensor(L, -1);
  char text[ML_DESCRIBE];
  if (!t || ml_tensor_empty(t))
    mll_opt_error(L, arg, name, "is %s, wanted a tensor or a table", mll_describe(L, -1, text));
  return t;
}

/* Ids at argument 2: tokens, or { inputs =, targets = }; or nothing when there are embeddings. */
static void read_ids(lua_State *L, ml_transformer_batch *b, bool loss, bool optional) {
  static const char *const names[] = {"inputs", "targets", NULL};
  if (lua_isnoneornil(L, 2) && optional)
    return;
  bool parts = false;
  if (lua_istable(L, 2)) {
    lua_pushnil(L);
    if (lua_next(L, 2)) {
      parts = lua_type(L, -2) == LUA_TSTRING;
      lua_pop(L, 2);
    }
  }
  if (parts) {
    mll_check_opts(L, 2, names);
    b->inputs = field(L, 2, "inputs", ML_INDEX);
    b->targets = field(L, 2, "targets", ML_INDEX);
  } else if (loss) {
    b->tokens = mll_check_ids(L, 2);
  } else {
    b->inputs = mll_check_ids(L, 2);
  }
}

static ml_dtype dtype_of(const ml_transformer *m) {
  return (ml_dtype)ml_transformer_get_config(m)->dtype;
}

/* Depth probes in one userdata on the stack. */
static ml_transformer_probe push_probe(lua_State *L, const ml_transformer *m) {
  size_t depth = (size_t)ml_transformer_get_config(m)->depth;
  ml_transformer_probe p;
  char *room = lua_newuserdatauv(L, (depth + 1) * (sizeof *p.attention + sizeof *p.block_rms), 0);
  memset(room, 0, (depth + 1) * (sizeof *p.attention + sizeof *p.block_rms));
  p.attention = (ml_attention_probe *)(void *)room;
  p.block_rms = (double *)(void *)(room + (depth + 1) * sizeof *p.attention);
  return p;
}

static void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

static void set_layers(lua_State *L, const char *name, const double *first, size_t stride,
                       int64_t depth) {
  lua_createtable(L, (int)depth, 0);
  for (int64_t l = 0; l < depth; l++) {
    lua_pushnumber(L, *(const double *)(const void *)((const char *)first + (size_t)l * stride));
    lua_rawseti(L, -2, (lua_Integer)l + 1);
  }
  lua_setfield(L, -2, name);
}

static int l_loss(lua_State *L) {
  static const char *const names[] = {"z_loss", "mask", "segments", "embeddings", "probes", NULL};
  ml_transformer *m = check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  ml_transformer_batch b = {.z_loss = mll_opt_number(L, 3, "z_loss", 0)};
  bool probes = mll_opt_boolean(L, 3, "probes", false);
  read_ids(L, &b, true, false);
  b.mask = field(L, 3, "mask", dtype_of(m));
  b.segments = field(L, 3, "segments", ML_INDEX);
  b.embeddings = field(L, 3, "embeddings", dtype_of(m));
  ml_transformer_probe probe = {0};
  if (probes) {
    probe = push_probe(L, m);
    b.probe = &probe;
  }
  ml_tensor *loss = mll_push_empty(L);
  ml_ce_info info;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_loss(loss, m, &b, &info, &err));
  if (status)
    return mll_raise(L, &err);
  lua_createtable(L, 0, 8);
  set_number(L, "ce", info.ce);
  set_number(L, "mean_logz", info.mean_logz);
  set_number(L, "mean_logz2", info.mean_logz2);
  set_number(L, "logit_mean", info.logit_mean);
  lua_pushinteger(L, (lua_Integer)info.count);
  lua_setfield(L, -2, "count");
  if (probes) {
    int64_t depth = ml_transformer_get_config(m)->depth;
    size_t each = sizeof *probe.attention;
    set_layers(L, "max_logit", &probe.attention->max_logit, each, depth);
    set_layers(L, "max_abs_logit", &probe.attention->max_abs_logit, each, depth);
    set_layers(L, "attn_entropy", &probe.attention->entropy, each, depth);
    set_layers(L, "block_rms", probe.block_rms, sizeof(double), depth);
  }
  return 2;
}

static void read_inputs(lua_State *L, const ml_transformer *m, ml_transformer_batch *b) {
  read_ids(L, b, false, mll_has_opt(L, 3, "embeddings"));
  b->segments = field(L, 3, "segments", ML_INDEX);
  b->embeddings = field(L, 3, "embeddings", dtype_of(m));
}

static int l_logits(lua_State *L) {
  static const char *const names[] = {"segments", "embeddings", NULL};
  ml_transformer *m = check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  ml_transformer_batch b = {0};
  read_inputs(L, m, &b);
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_logits(out, m, &b, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int l_hidden(lua_State *L) {
  static const char *const names[] = {"layers", "segments", "embeddings", NULL};
  ml_transformer *m = check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  int64_t depth = ml_transformer_get_config(m)->depth;
  if (!mll_has_opt(L, 3, "layers")) { /* all of them */
    lua_newtable(L);
    for (int64_t l = 0; l <= depth; l++) {
      lua_pushinteger(L, (lua_Integer)l);
      lua_rawseti(L, -2, (lua_Integer)l + 1);
    }
    lua_pushliteral(L, "final");
    lua_rawseti(L, -2, (lua_Integer)depth + 2);
  } else {
    lua_getfield(L, 3, "layers");
  }
  if (!lua_istable(L, -1))
    return mll_opt_error(L, 3, "layers", "is a %s, wanted a list of layers", luaL_typename(L, -1));
  int list = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  if (n > 1 << 20)
    return mll_opt_error(L, 3, "layers", "holds too many layers");
  int64_t *layers = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *layers, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "final") == 0)
      layers[i - 1] = ML_LAYER_FINAL;
    else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0)
      layers[i - 1] = lua_tointeger(L, -1);
    else
      return mll_opt_error(L, 3, "layers", "entry %d is not 0..%d or \"final\"", (int)i,
                           (int)depth);
    lua_pop(L, 1);
  }
  ml_transformer_batch b = {0};
  mll_list *out = mll_push_list(L, n);
  read_inputs(L, m, &b);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_hidden(out->t, m, &b, layers, (int)n, &err));
  if (status)
    return mll_raise(L, &err);
  lua_createtable(L, 0, (int)n);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    mll_push_alias(L, &out->t[i - 1]);
    lua_rawset(L, -3);
  }
  mll_list_clear(out);
  return 1;
}

/* ---- lists of sequences ---------------------------------------------------------------------- */

/* Ids from 0 of n sequences; lives in a userdata on the stack, so that raising frees it. */
typedef struct {
  int64_t n;
  const int64_t **ids;
  int64_t *length;
} sequences;

/* Length of sequence i (from 1) of the list at arg; leaves it on the stack. */
static int64_t push_sequence(lua_State *L, int arg, lua_Integer i, const char *what) {
  char text[ML_DESCRIBE];
  lua_rawgeti(L, arg, i);
  const ml_tensor *t = mll_test_tensor(L, -1);
  if (t && !ml_tensor_empty(t) && t->dtype == ML_INDEX && t->rank == 1)
    return t->size[0];
  if (!lua_istable(L, -1))
    mll_arg_error(L, arg, "%s %d is %s, wanted a list of ids or an index tensor [T]", what, (int)i,
                  mll_describe(L, -1, text));
  return (int64_t)lua_rawlen(L, -1);
}

static void copy_sequence(lua_State *L, int arg, lua_Integer i, const char *what, int64_t *to,
                          int64_t length) {
  const ml_tensor *t = mll_test_tensor(L, -1);
  for (int64_t k = 0; k < length; k++) {
    if (t) {
      to[k] = ML_DATA(const int64_t, t)[k * t->stride[0]];
      continue;
    }
    int ok;
    lua_rawgeti(L, -1, (lua_Integer)k + 1);
    lua_Integer id = lua_tointegerx(L, -1, &ok);
    char text[ML_DESCRIBE];
    if (!ok || id < 1)
      mll_arg_error(L, arg, "%s %d has %s at %d, wanted an id from 1", what, (int)i,
                    mll_describe(L, -1, text), (int)k + 1);
    to[k] = (int64_t)id - 1;
    lua_pop(L, 1);
  }
}

static sequences *push_sequences(lua_State *L, int arg, const char *what) {
  const ml_tensor *matrix = mll_test_tensor(L, arg); /* index [B,T]: its rows */
  if (matrix && (ml_tensor_empty(matrix) || matrix->dtype != ML_INDEX || matrix->rank != 2))
    matrix = NULL;
  if (!matrix && !lua_istable(L, arg))
    mll_type_error(L, arg, "list of id lists, or index tensor [B,T],");
  int64_t n = matrix ? matrix->size[0] : (int64_t)lua_rawlen(L, arg), total = 0;
  for (int64_t i = 0; i < n; i++) {
    total += matrix ? matrix->size[1] : push_sequence(L, arg, (lua_Integer)i + 1, what);
    if (!matrix)
      lua_pop(L, 1);
  }
  size_t head = sizeof(sequences) + (size_t)n * (sizeof(int64_t *) + sizeof(int64_t));
  sequences *s = lua_newuserdatauv(L, head + (size_t)total * sizeof(int64_t), 0);
  s->n = n;
  s->ids = (const int64_t **)(s + 1);
  s->length = (int64_t *)(void *)(s->ids + n);
  int64_t *to = s->length + n;
  for (int64_t i = 0; i < n; i++) {
    s->ids[i] = to;
    if (matrix) {
      s->length[i] = matrix->size[1];
      for (int64_t k = 0; k < matrix->size[1]; k++)
        to[k] = ML_DATA(const int64_t, matrix)[i * matrix->stride[0] + k * matrix->stride[1]];
    } else {
      s->length[i] = push_sequence(L, arg, (lua_Integer)i + 1, what);
      copy_sequence(L, arg, (lua_Integer)i + 1, what, to, s->length[i]);
      lua_pop(L, 1);
    }
    to += s->length[i];
  }
  return s;
}

static int l_logprob(lua_State *L) {
  static const char *const names[] = {"from", NULL};
  ml_transformer *m = check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  sequences *s = push_sequences(L, 2, "sequence");
  int64_t *from = lua_newuserdatauv(L, ((size_t)s->n + 1) * sizeof *from, 0);
  bool given = mll_has_opt(L, 3, "from"), list = false;
  if (given) {
    lua_getfield(L, 3, "from");
    list = lua_istable(L, -1);
    if (list && (int64_t)lua_rawlen(L, -1) != s->n)
      return mll_opt_error(L, 3, "from", "holds %d numbers for %d sequences",
                           (int)lua_rawlen(L, -1), (int)s->n);
  }
  for (int64_t i = 0; i < s->n; i++) {
    from[i] = 1;
    if (list) {
      int ok;
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      from[i] = (int64_t)lua_tointegerx(L, -1, &ok) - 1;
      if (!ok)
        return mll_opt_error(L, 3, "from", "entry %d is a %s, wanted an integer", (int)i + 1,
                             luaL_typename(L, -1));
      lua_pop(L, 1);
    } else if (given) {
      from[i] = (int64_t)mll_opt_integer(L, 3, "from", 2) - 1;
    }
  }
  mll_list *out = mll_push_list(L, s->n);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_logprob(out->t, m, s->ids, s->length, from, s->n, &err));
  if (status)
    return mll_raise(L, &err);
  lua_createtable(L, (int)s->n, 0);
  for (int64_t i = 0; i < s->n; i++) {
    mll_push_alias(L, &out->t[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  mll_list_clear(out);
  return 1;
}

/* ---- generate -------------------------------------------------------------------------------- */

static int samples_gc(lua_State *L) {
  ml_samples_clear(luaL_checkudata(L, 1, MLL_SAMPLES));
  return 0;
}

static ml_samples *push_samples(lua_State *L) {
  ml_samples *s = lua_newuserdatauv(L, sizeof *s, 0);
  memset(s, 0, sizeof *s);
  luaL_setmetatable(L, MLL_SAMPLES);
  return s;
}

/* { [11] = true }: a set of ids on top becomes the list of its keys. */
static void list_of_set(lua_State *L) {
  if (!lua_istable(L, -1))
    return;
  const bool list = lua_rawgeti(L, -1, 1) != LUA_TNIL && !lua_isboolean(L, -1);
  lua_pop(L, 1);
  if (list)
    return;
  lua_newtable(L);
  lua_Integer n = 0;
  lua_pushnil(L);
  while (lua_next(L, -3)) {
    if (lua_type(L, -1) != LUA_TBOOLEAN || !lua_isinteger(L, -2))
      mll_opt_error(L, 3, "stop",
                    "wanted a set { [id] = true }, a list of ids or an index tensor [n]");
    bool in = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (in) {
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, ++n);
    }
  }
  lua_remove(L, -2);
}

/* The option stop: an id, a list or set of ids, or an index tensor. */
static void read_stop(lua_State *L, ml_generate_options *o) {
  if (!mll_has_opt(L, 3, "stop"))
    return;
  lua_getfield(L, 3, "stop");
  if (!mll_test_tensor(L, -1)) {
    list_of_set(L);
    mll_push_from_lua(L, -1, 3, ML_INDEX);
    lua_remove(L, -2);
  }
  const ml_tensor *t = mll_test_tensor(L, -1);
  if (ml_tensor_empty(t) || t->dtype != ML_INDEX || t->rank > 1)
    mll_opt_error(L, 3, "stop", "wanted an id, a list of ids or an index tensor [n]");
  o->n_stop = ml_numel(t);
  int64_t *ids = lua_newuserdatauv(L, ((size_t)o->n_stop + 1) * sizeof *ids, 0);
  for (int64_t i = 0; i < o->n_stop; i++)
    ids[i] = ML_DATA(const int64_t, t)[t->rank ? i * t->stride[0] : 0];
  o->stop = ids;
}

/* One key per prompt: the option keys (generators or seeds), or one draw from rng folded with the
 * number of the prompt. The generator moves only now that every argument is read. */
static void read_keys(lua_State *L, ml_generate_options *o, int64_t n) {
  decoder *d = lua_touserdata(L, 1);
  ml_rng *keys = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *keys, 0);
  o->keys = keys;
  if (mll_has_opt(L, 3, "keys")) {
    lua_getfield(L, 3, "keys");
    if (!lua_istable(L, -1) || (int64_t)lua_rawlen(L, -1) != n)
      mll_opt_error(L, 3, "keys", "wanted a list of %d generators or integers", (int)n);
    for (int64_t i = 0; i < n; i++) {
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      const ml_rng *g = luaL_testudata(L, -1, MLL_RNG);
      int ok = 1;
      keys[i] = g ? *g : ml_rng_seed((uint64_t)lua_tointegerx(L, -1, &ok));
      if (!ok)
        mll_opt_error(L, 3, "keys", "entry %d is a %s, wanted a generator or an integer",
                      (int)i + 1, luaL_typename(L, -1));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return;
  }
  ml_rng *g = mll_opt_rng(L, 3, "rng");
  if (o->greedy)
    return;
  if (!g)
    g = &d->rng;
  uint32_t w[4];
  ml_philox(w, g->key, g->counter++, 0);
  ml_rng key = ml_rng_seed((uint64_t)w[1] << 32 | w[0]);
  for (int64_t i = 0; i < n; i++)
    keys[i] = ml_rng_fold(&key, "prompt", 6, i + 1);
}

/* Row r's new tokens or log probabilities. */
static void push_row(lua_State *L, const ml_samples *s, int64_t r, bool tokens, ml_dtype dtype) {
  ml_shape shape = ml_shape_make(1, s->length[r]);
  ml_tensor *t = mll_push_tensor(L, tokens ? ML_INDEX : dtype, &shape);
  for (int64_t k = 0; k < s->length[r]; k++) {
    if (tokens)
      ML_DATA(int64_t, t)[k] = s->tokens[r * s->room + k];
    else if (dtype == ML_F32)
      ML_DATA(float, t)[k] = (float)s->logprobs[r * s->room + k];
    else
      ML_DATA(double, t)[k] = s->logprobs[r * s->room + k];
  }
}

/* A list over prompts of lists over samples: 0 tokens, 1 log probabilities, 2 whether finished. */
static void push_rows(lua_State *L, const ml_samples *s, int64_t n, int what, ml_dtype dtype) {
  lua_createtable(L, (int)(s->rows / n), 0);
  for (int64_t r = 0; r < s->rows; r++) {
    if (r % n == 0)
      lua_createtable(L, (int)n, 0);
    if (what == 2)
      lua_pushboolean(L, s->finished[r]);
    else
      push_row(L, s, r, what == 0, dtype);
    lua_rawseti(L, -2, (lua_Integer)(r % n) + 1);
    if (r % n == n - 1)
      lua_rawseti(L, -2, (lua_Integer)(r / n) + 1);
  }
}

static int l_generate(lua_State *L) {
  static const char *const names[] = {"n",      "max_new", "temperature", "top_k", "top_p",
                                      "greedy", "stop",    "rng",         "keys",  NULL};
  ml_transformer *m = check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.n = mll_opt_integer(L, 3, "n", o.n);
  o.max_new = mll_opt_integer(L, 3, "max_new", o.max_new);
  o.temperature = mll_opt_number(L, 3, "temperature", o.temperature);
  o.top_p = mll_opt_number(L, 3, "top_p", o.top_p);
  o.greedy = mll_opt_boolean(L, 3, "greedy", o.greedy);
  if (mll_has_opt(L, 3, "top_k")) {
    o.top_k = mll_opt_integer(L, 3, "top_k", 0);
    if (o.top_k < 1)
      return mll_opt_error(L, 3, "top_k", "is %lld, wanted >= 1", (long long)o.top_k);
  }
  sequences *prompts = push_sequences(L, 2, "prompt");
  read_stop(L, &o);
  ml_samples *s = push_samples(L);
  read_keys(L, &o, prompts->n);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          ml_transformer_generate(s, m, prompts->ids, prompts->length, prompts->n, &o, &err));
  if (status)
    return mll_raise(L, &err);
  double seconds = s->prefill_seconds + s->decode_seconds;
  push_rows(L, s, o.n, 0, dtype_of(m));
  lua_createtable(L, 0, 8);
  push_rows(L, s, o.n, 1, dtype_of(m));
  lua_setfield(L, -2, "logprobs");
  push_rows(L, s, o.n, 2, dtype_of(m));
  lua_setfield(L, -2, "finished");
  lua_pushinteger(L, (lua_Integer)s->new_tokens);
  lua_setfield(L, -2, "new_tokens");
  lua_pushinteger(L, (lua_Integer)s->prompt_tokens);
  lua_setfield(L, -2, "prompt_tokens");
  lua_pushinteger(L, (lua_Integer)s->cache_bytes);
  lua_setfield(L, -2, "cache_bytes");
  set_number(L, "prefill_seconds", s->prefill_seconds);
  set_number(L, "seconds", seconds);
  set_number(L, "tokens_per_second", seconds > 0 ? (double)s->new_tokens / seconds : 0);
  ml_samples_clear(s);
  return 2;
}

/* ---- registration ---------------------------------------------------------------------------- */

static const mll_fn methods[] = {
    {"loss", l_loss,
     "lm:loss(tokens, opts)\n"
     "Mean next-token cross-entropy of a batch, differentiable.\n"
     "@param tokens tensor index [B,T+1] (or [T+1], or a table of ids), shifted inside; or { "
     "inputs = [B,T], targets = [B,T] }\n"
     "@param opts.z_loss number =0 weight of (log Z)^2, >= 0\n"
     "@param opts.mask tensor [B,T] of the model's dtype: weights of any sign, aligned with the "
     "targets; the loss is "
     "sum(mask (ce + z_loss logZ^2)) / count(mask ~= 0)\n"
     "@param opts.segments tensor index [B,T] on the inputs: attention and positions restart with "
     "each segment; tokens of a row with the same id are one segment, even where another stands "
     "between\n"
     "@param opts.embeddings tensor [B,T,width]: differentiable input in place of the embedding of "
     "ids\n"
     "@param opts.probes boolean =false adds the per-layer numbers to info\n"
     "@return tensor loss, 0-d\n"
     "@return table info: ce, mean_logz, mean_logz2, logit_mean, count; with probes lists over "
     "layers max_logit, "
     "max_abs_logit (unmasked pairs, after scaling), attn_entropy (nats), block_rms (output of "
     "each block)\n"
     "@source Wortsman et al. 2023, sections 2 and 3"},
    {"logits", l_logits,
     "lm:logits(tokens, opts)\n"
     "Logits of every position, differentiable.\n"
     "@param tokens tensor index [B,T] or [T], or a table of ids\n"
     "@param opts.segments tensor index [B,T]: attention and positions restart\n"
     "@param opts.embeddings tensor [B,T,width] in place of tokens\n"
     "@return tensor [B,T,V] or [T,V]"},
    {"hidden", l_hidden,
     "lm:hidden(tokens, { layers = { 0, 2, \"final\" } })\n"
     "Hidden states, differentiable: layer l is the output of block l, 0 the embedding, \"final\" "
     "after the last norm.\n"
     "@param tokens tensor index [B,T] or [T], or a table of ids\n"
     "@param opts.layers list of 0..depth and \"final\" =all\n"
     "@param opts.segments tensor index [B,T]: attention and positions restart\n"
     "@param opts.embeddings tensor [B,T,width] in place of tokens\n"
     "@return table layer -> tensor [B,T,width], keyed as asked"},
    {"generate", l_generate,
     "lm:generate(prompts, opts)\n"
     "Samples continuations; neither the batch nor the number of threads changes a sample.\n"
     "@param prompts list of id lists or index tensors, of 1..context ids each\n"
     "@param opts.n integer =1 samples per prompt; they share the prompt's cache\n"
     "@param opts.max_new integer =64 new tokens at most; a row holds context + 1 tokens at most "
     "and then ends unfinished\n"
     "@param opts.temperature number =1 > 0\n"
     "@param opts.top_k integer only the k most likely tokens\n"
     "@param opts.top_p number in (0, 1]: the fewest most likely tokens (of the k) that hold this "
     "share\n"
     "@param opts.greedy boolean =false the most likely token; nothing is drawn\n"
     "@param opts.stop ids that end a row, a list or a set { [id] = true }; the stop id is "
     "returned last\n"
     "@param opts.rng ml.rng one key is drawn from it and folded with (\"prompt\", i); without it "
     "from a stream of the model's seed\n"
     "@param opts.keys list of generators or integers, one per prompt; row (i, j) draws from "
     "keys[i] folded with (\"row\", j)\n"
     "@return list over prompts of lists over samples of index tensors: the new tokens\n"
     "@return table info: logprobs (of the sampled tokens under the model's own distribution, "
     "temperature 1, nothing cut off), "
     "finished, new_tokens, prompt_tokens, seconds, prefill_seconds, tokens_per_second, "
     "cache_bytes"},
    {"logprob", l_logprob,
     "lm:logprob(sequences, { from = k })\n"
     "Log probability of each token given those before it, without gradients.\n"
     "@param sequences list of id lists or index tensors, of at most context + 1 ids each\n"
     "@param opts.from integer or list =2 first position scored; prompt length + 1 scores the "
     "answer\n"
     "@return list of tensors, one entry per scored position, in nats"},
    {"named_parameters", l_named_parameters,
     "lm:named_parameters()\n"
     "@return table name -> parameter: tokens, positions, blocks.1.attn.wq, ..., norm.gain, head"},
    {"parameters", l_parameters,
     "lm:parameters()\n@return list of the parameters, in the order of the model"},
    {"zero_grad", l_zero_grad, "lm:zero_grad()\nFills the gradients that exist with zeros."},
    {"training", l_training,
     "lm:training(on)\nSets whether the model is in training; the decoder has no dropout, so "
     "nothing depends on it.\n"
     "@param on boolean absent: only asks\n@return boolean whether it is in training"},
    {"config", l_config,
     "lm:config()\n@return table every option of ml.transformer with its value"},
    {"multiplier", l_multiplier,
     "lm:multiplier(name, value)\n"
     "The constant by which the forward pass multiplies a parameter; kept by save.\n"
     "@param name string a parameter's name, or \"head\" also when it is tied (then it acts on the "
     "logits only)\n"
     "@param value number absent: only asks\n@return number"},
    {"save", l_save,
     "lm:save(path)\nWrites weights, multipliers and configuration to one safetensors file, whole "
     "or not at all.\n"
     "@param path string"},
    {NULL, NULL, NULL}};

static const mll_fn meta[] = {
    {"__gc", decoder_gc, NULL}, {"__tostring", l_tostring, NULL}, {NULL, NULL, NULL}};

static const mll_fn module_functions[] = {
    {"load", l_load,
     "ml.transformer.load(path)\nA decoder from a file that lm:save wrote.\n@param path "
     "string\n@return ml.transformer, or nil and a message when there is no such file"},
    {NULL, NULL, NULL}};

static const mll_fn constructor[] = {
    {"transformer", l_transformer,
     "ml.transformer{ vocab = 256, context = 256, depth = 4, width = 128, heads = 4, ... }\n"
     "A decoder-only transformer: pre-normalised blocks h += attention(norm(h)); h += "
     "mlp(norm(h)), a last norm and the head.\n"
     "@param opts.vocab integer =256 number of ids\n"
     "@param opts.context integer =256 longest input\n"
     "@param opts.depth integer =4 blocks\n"
     "@param opts.width integer =128 of the residual stream\n"
     "@param opts.heads integer =4 divides width\n"
     "@param opts.mlp_width integer =4*width\n"
     "@param opts.dtype string =\"f32\" f32|f64\n"
     "@param opts.seed integer =1 initial values: one stream per parameter, named after it\n"
     "@param opts.norm string =\"layer\" layer|rms\n"
     "@param opts.norm_eps number =1e-6 inside the root\n"
     "@param opts.bias boolean =false biases of the linear maps, shifts of the layer norms\n"
     "@param opts.activation string =\"gelu_tanh\" "
     "gelu_tanh|gelu_erf|relu|relu2|silu|softplus|tanh|sigmoid|sin|erf|identity\n"
     "@param opts.positions string =\"rotary\" rotary|learned|none\n"
     "@param opts.rotary string =\"half\" half: pairs (i, i + d_head/2)|interleaved: pairs (2i, "
     "2i+1)\n"
     "@param opts.rotary_base number =1e4\n"
     "@param opts.qk_norm boolean =false norm of each head's q and k, one gain each per layer\n"
     "@param opts.qk_norm_order string =\"before_rotary\" before_rotary|after_rotary\n"
     "@param opts.attention_scale string|number =\"1/sqrt(d_head)\" 1/sqrt(d_head)|1/d_head|a "
     "number\n"
     "@param opts.tied boolean =false the head is the transposed token embedding\n"
     "@param opts.init string =\"paper\" paper: embeddings normal of std 1/sqrt(width), matrices "
     "truncated normal of std "
     "1/sqrt(fan_in)|normal: std 0.02, wo and w2 over sqrt(2 depth)|zeros_out: paper with wo and "
     "w2 zero\n"
     "@param opts.parameterization nil set by ml.parameterization\n"
     "@return ml.transformer\n"
     "@source Vaswani et al. 2017; Wortsman et al. 2023, section 2"},
    {NULL, NULL, NULL}};

void mll_open_transformer(lua_State *L) {
  static const mll_fn samples_meta[] = {{"__gc", samples_gc, NULL}, {NULL, NULL, NULL}};
  mll_class(L, MLL_TRANSFORMER, methods, meta);
  lua_pop(L, 1);
  mll_class(L, MLL_SAMPLES, NULL, samples_meta);
  lua_pop(L, 1);
  lua_newtable(L);
  mll_register(L, module_functions);
  lua_newtable(L); /* its metatable: calling it makes a decoder */
  mll_register_call(L, constructor);
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "transformer");
}
