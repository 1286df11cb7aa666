/* ml.transformer: making a model, its parameters and configuration, its class. */
#include "transformer.h"

#include <math.h>
#include <string.h>

ml_transformer *mll_check_model(lua_State *L) {
  mll_model *self = mll_check_object(L, 1, MLL_TRANSFORMER);
  if (!self->transformer)
    mll_arg_error(L, 1, "this decoder was never finished");
  return self->transformer;
}

static int model_gc(lua_State *L) {
  mll_model *self = mll_check_object(L, 1, MLL_TRANSFORMER);
  ml_transformer_free(self->transformer);
  self->transformer = NULL;
  return 0;
}

/* ---- making one ------------------------------------------------------------------------------ */

static mll_model *push_model(lua_State *L) {
  mll_model *self = lua_newuserdatauv(L, sizeof *self, 1);
  memset(self, 0, sizeof *self);
  luaL_setmetatable(L, MLL_TRANSFORMER);
  return self;
}

static void finish_model(mll_model *self) {
  ml_rng seed = ml_rng_seed((uint64_t)ml_transformer_get_config(self->transformer)->seed);
  self->rng = ml_rng_fold(&seed, "generate", 8, 0);
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
  mll_model *self = push_model(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_new(&self->transformer, &c, &err));
  if (status)
    return mll_raise(L, &err);
  finish_model(self);
  return 1;
}

static int l_load(lua_State *L) {
  const char *path = mll_check_path(L, 1);
  if (mll_no_file(L, path))
    return 2;
  mll_model *self = push_model(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_load(&self->transformer, path, &err));
  if (status)
    return mll_raise(L, &err);
  finish_model(self);
  return 1;
}

static int l_save(lua_State *L) {
  const ml_transformer *m = mll_check_model(L);
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
  ml_transformer *m = mll_check_model(L);
  push_handles(L, m);
  lua_createtable(L, 0, (int)ml_transformer_param_count(m));
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++) {
    lua_getfield(L, -2, ml_transformer_param_at(m, i)->name);
    lua_setfield(L, -2, ml_transformer_param_at(m, i)->name);
  }
  return 1;
}

static int l_parameters(lua_State *L) {
  ml_transformer *m = mll_check_model(L);
  push_handles(L, m);
  lua_createtable(L, (int)ml_transformer_param_count(m), 0);
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++) {
    lua_getfield(L, -2, ml_transformer_param_at(m, i)->name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_zero_grad(lua_State *L) {
  ml_transformer *m = mll_check_model(L);
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++)
    ml_grad_zero(&ml_transformer_param_at(m, i)->tensor);
  return 0;
}

static int l_training(lua_State *L) {
  ml_transformer *m = mll_check_model(L);
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
  ml_transformer *m = mll_check_model(L);
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
  ml_transformer *m = mll_check_model(L);
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
  mll_model *self = mll_check_object(L, 1, MLL_TRANSFORMER);
  if (!self->transformer) {
    lua_pushliteral(L, MLL_TRANSFORMER " (unfinished)");
    return 1;
  }
  const ml_transformer_config *c = ml_transformer_get_config(self->transformer);
  double count = 0;
  for (int64_t i = 0; i < ml_transformer_param_count(self->transformer); i++)
    count += (double)ml_numel(&ml_transformer_param_at(self->transformer, i)->tensor);
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

/* ---- registration ---------------------------------------------------------------------------- */

static const mll_fn methods[] = {
    {"named_parameters", l_named_parameters,
     "lm:named_parameters()\nThe parameters under their names; a tied head is the token embedding "
     "and has none.\n"
     "@return table name -> parameter: tokens, positions, blocks.1.attn.wq, ..., norm.gain, head"},
    {"parameters", l_parameters,
     "lm:parameters()\nThe parameters, as optimizers take them.\n@return list of the parameters, "
     "in the order of the model"},
    {"zero_grad", l_zero_grad, "lm:zero_grad()\nFills the gradients that exist with zeros."},
    {"training", l_training,
     "lm:training(on)\nSets whether the model is in training; the decoder has no dropout, so "
     "nothing depends on it.\n"
     "@param on boolean absent: only asks\n@return boolean whether it is in training"},
    {"config", l_config,
     "lm:config()\nWhat the model is made of.\n@return table every option of ml.transformer with "
     "its value"},
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
    {"__gc", model_gc, NULL}, {"__tostring", l_tostring, NULL}, {NULL, NULL, NULL}};

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
     "@param opts.mlp_width integer =4*width hidden units\n"
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
     "@param opts.rotary_base number =1e4 of the geometric series of wavelengths, > 0\n"
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
  mll_class(L, MLL_TRANSFORMER, methods, meta);
  mll_add_methods(L, MLL_TRANSFORMER, mll_transformer_batch_methods);
  mll_add_methods(L, MLL_TRANSFORMER, mll_transformer_generate_methods);
  lua_pop(L, 1);
  mll_open_samples(L);
  lua_newtable(L);
  mll_register(L, module_functions);
  lua_newtable(L); /* its metatable: calling it makes a decoder */
  mll_register_call(L, constructor);
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "transformer");
}
