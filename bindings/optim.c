/* ml.optim: optimizers over lists, named tables or groups of parameters, and gradient clipping. */
#include "mll.h"

#include <math.h>
#include <string.h>

#include "optim/optim.h"

#define MLL_OPTIM "ml.optimizer"

typedef struct {
  ml_optim *optim;
  ml_tensor *held;        /* [count] gradients of one step */
  const ml_tensor **list; /* [count] */
  int count;
} optimizer;

static optimizer *check_optimizer(lua_State *L) {
  optimizer *o = mll_check_object(L, 1, MLL_OPTIM);
  if (!o->optim)
    mll_arg_error(L, 1, "this optimizer was never finished");
  return o;
}

static int optimizer_gc(lua_State *L) {
  optimizer *o = mll_check_object(L, 1, MLL_OPTIM);
  ml_optim_free(o->optim);
  ml_free(o->held);
  ml_free(o->list);
  memset(o, 0, sizeof *o);
  return 0;
}

/* ---- options --------------------------------------------------------------------------------- */

static const char *const decays[] = {"independent", "decoupled", "coupled", NULL};

static void read_betas(lua_State *L, int arg, double betas[2]) {
  if (!mll_has_opt(L, arg, "betas"))
    return;
  lua_getfield(L, arg, "betas");
  if (!lua_istable(L, -1) || lua_rawlen(L, -1) != 2)
    mll_opt_error(L, arg, "betas", "wanted a table of two numbers");
  for (int i = 0; i < 2; i++) {
    lua_rawgeti(L, -1, i + 1);
    if (lua_type(L, -1) != LUA_TNUMBER)
      mll_opt_error(L, arg, "betas", "wanted a table of two numbers");
    betas[i] = lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

#define FIELD(type) ((type *)(void *)((char *)o + option->offset))

static void read_options(lua_State *L, int arg, ml_optim_options *o) {
  const char *names[16] = {NULL};
  const ml_optim_option *option = ml_rule_options(o->rule);
  for (int i = 0; option[i].name; i++)
    names[i] = option[i].name;
  mll_check_opts(L, arg, names);
  for (; option->name; option++)
    switch (option->kind) {
    case ML_OPTIM_NUMBER:
      *FIELD(double) = mll_opt_number(L, arg, option->name, *FIELD(double));
      break;
    case ML_OPTIM_BETAS:
      read_betas(L, arg, FIELD(double));
      break;
    case ML_OPTIM_INTEGER:
      *FIELD(int64_t) = mll_opt_integer(L, arg, option->name, *FIELD(int64_t));
      break;
    case ML_OPTIM_BOOLEAN:
      *FIELD(bool) = mll_opt_boolean(L, arg, option->name, *FIELD(bool));
      break;
    case ML_OPTIM_DECAY:
      o->decay = (ml_decay)mll_opt_choice(L, arg, option->name, decays, (int)o->decay);
      break;
    }
}

static void push_option(lua_State *L, const ml_optim_options *o, const ml_optim_option *option) {
  switch (option->kind) {
  case ML_OPTIM_NUMBER:
    lua_pushnumber(L, *FIELD(const double));
    break;
  case ML_OPTIM_BETAS:
    lua_createtable(L, 2, 0);
    for (int i = 0; i < 2; i++) {
      lua_pushnumber(L, o->betas[i]);
      lua_rawseti(L, -2, i + 1);
    }
    break;
  case ML_OPTIM_INTEGER:
    lua_pushinteger(L, *FIELD(const int64_t));
    break;
  case ML_OPTIM_BOOLEAN:
    lua_pushboolean(L, *FIELD(const bool));
    break;
  case ML_OPTIM_DECAY:
    lua_pushstring(L, decays[o->decay]);
    break;
  }
}

/* ---- parameters ------------------------------------------------------------------------------ */

static void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

/* Adds the tensor on top under `key` (prefixed by `prefix` when not ""); keys is the stack index of
 * the key array. */
static void add_parameter(lua_State *L, optimizer *o, int keys, const char *prefix, const char *key,
                          const double scale[3]) {
  const ml_tensor *w = mll_test_tensor(L, -1);
  if (!w || ml_tensor_empty(w)) {
    char text[ML_DESCRIBE];
    mll_arg_error(L, 1, "parameter %s%s is %s, wanted a parameter", prefix, key,
                  mll_describe(L, -1, text));
  }
  if (!ml_is_param(w))
    mll_arg_error(L, 1, "%s%s is not a parameter: make it one with ml.param(t)", prefix, key);
  for (int i = 0; i < ml_optim_count(o->optim); i++)
    if (ml_optim_tensor(o->optim, i)->node == w->node)
      mll_arg_error(L, 1, "parameter %s%s is given twice", prefix, key);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_optim_add(o->optim, w, scale[0], scale[1], scale[2], &err));
  if (status)
    mll_raise(L, &err);
  lua_pushfstring(L, "%s%s", prefix, key);
  static const char *const names[] = {"lr_scale", "eps_scale", "decay_scale"};
  lua_createtable(L, 0, 3); /* name -> scales, beside place -> name */
  for (int i = 0; i < 3; i++)
    set_number(L, names[i], scale[i]);
  lua_pushvalue(L, -2);
  lua_insert(L, -2);
  lua_rawset(L, keys);
  lua_rawseti(L, keys, ml_optim_count(o->optim));
}

/* The parameters of the table at idx: an array, or names to tensors (in the order of the names). */
static void add_parameters(lua_State *L, optimizer *o, int idx, int keys, const char *prefix,
                           const double scale[3]) {
  idx = lua_absindex(L, idx);
  lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
  for (lua_Integer i = 1; i <= n; i++) {
    char key[32];
    snprintf(key, sizeof key, "%d", ml_optim_count(o->optim) + 1);
    lua_rawgeti(L, idx, i);
    add_parameter(L, o, keys, prefix, key, scale);
    lua_pop(L, 1);
  }
  mll_push_sorted_keys(L, idx);
  lua_Integer names = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= names; i++) {
    lua_rawgeti(L, -1, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, idx);
    add_parameter(L, o, keys, prefix, lua_tostring(L, -2), scale);
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

static void add_group(lua_State *L, optimizer *o, int group, int keys, lua_Integer number) {
  static const char *const names[] = {"params",    "name",        "lr_scale",
                                      "eps_scale", "decay_scale", NULL};
  lua_pushnil(L);
  while (lua_next(L, group)) {
    lua_pop(L, 1);
    const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(not a name)";
    bool known = false;
    for (int i = 0; names[i]; i++)
      known = known || strcmp(key, names[i]) == 0;
    const char *near = known ? NULL : ml_nearest(key, names);
    if (!known)
      mll_arg_error(L, 1, "group %d has an unknown option '%s'%s%s%s", (int)number, key,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  }
  double scale[3] = {mll_opt_number(L, group, "lr_scale", 1),
                     mll_opt_number(L, group, "eps_scale", 1),
                     mll_opt_number(L, group, "decay_scale", 1)};
  const char *name = mll_opt_string(L, group, "name", NULL);
  lua_getfield(L, group, "params");
  if (mll_test_tensor(L, -1)) { /* one tensor alone */
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  }
  if (!lua_istable(L, -1))
    mll_arg_error(L, 1, "group %d has no params", (int)number);
  if (name)
    lua_pushfstring(L, "%s.", name);
  else
    lua_pushliteral(L, "");
  add_parameters(L, o, -2, keys, lua_tostring(L, -1), scale);
  lua_pop(L, 2);
}

static int new_optimizer(lua_State *L, ml_rule rule) {
  mll_check_table(L, 1);
  lua_settop(L, 2);
  ml_optim_options options;
  ml_optim_defaults(&options, rule);
  read_options(L, 2, &options);
  optimizer *o = lua_newuserdatauv(L, sizeof *o, 1);
  memset(o, 0, sizeof *o);
  luaL_setmetatable(L, MLL_OPTIM);
  int self = lua_gettop(L);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, self, 1);
  int keys = lua_gettop(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_optim_new(&o->optim, &options, &err));
  if (status)
    return mll_raise(L, &err);
  lua_rawgeti(L, 1, 1);
  bool groups = lua_istable(L, -1);
  lua_pop(L, 1);
  if (groups) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, 1, i);
      if (!lua_istable(L, -1))
        return mll_arg_error(L, 1, "group %d is a %s, wanted a table", (int)i,
                             luaL_typename(L, -1));
      add_group(L, o, lua_gettop(L), keys, i);
      lua_pop(L, 1);
    }
  } else {
    const double scale[3] = {1, 1, 1};
    add_parameters(L, o, 1, keys, "", scale);
  }
  int count = ml_optim_count(o->optim);
  if (count == 0)
    return mll_arg_error(L, 1, "no parameters");
  o->held = ml_alloc((size_t)count * sizeof *o->held);
  o->list = ml_alloc((size_t)count * sizeof *o->list);
  o->count = count;
  if (!o->held || !o->list)
    return luaL_error(L, "out of memory for an optimizer");
  lua_settop(L, self);
  return 1;
}

static int l_sgd(lua_State *L) { return new_optimizer(L, ML_SGD); }
static int l_adam(lua_State *L) { return new_optimizer(L, ML_ADAM); }
static int l_adamw(lua_State *L) { return new_optimizer(L, ML_ADAMW); }
static int l_adam_atan2(lua_State *L) { return new_optimizer(L, ML_ADAM_ATAN2); }
static int l_adafactor(lua_State *L) { return new_optimizer(L, ML_ADAFACTOR); }
static int l_adam_ps(lua_State *L) { return new_optimizer(L, ML_ADAM_PS); }
static int l_lion(lua_State *L) { return new_optimizer(L, ML_LION); }

/* ---- methods --------------------------------------------------------------------------------- */

static void drop_held(optimizer *o) {
  for (int i = 0; i < o->count; i++)
    ml_tensor_clear(&o->held[i]);
}

/* Every key of the gradients at 3 is that of a parameter: its position or its name in the array
 * at 4. A gradient under another key would train nothing, silently. */
static void check_gradient_keys(lua_State *L, const optimizer *o) {
  lua_pushnil(L);
  while (lua_next(L, 3)) {
    lua_pop(L, 1);
    bool known =
        lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= o->count;
    for (int i = 1; i <= o->count && !known; i++) {
      lua_rawgeti(L, 4, i);
      known = lua_rawequal(L, -1, -2);
      lua_pop(L, 1);
    }
    if (known)
      continue;
    char text[ML_DESCRIBE];
    const char *key =
        lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : mll_describe(L, -1, text);
    mll_arg_error(L, 3, "gradient '%s' belongs to none of the %d parameters", key, o->count);
  }
}

static int l_step(lua_State *L) {
  optimizer *o = check_optimizer(L);
  double s = lua_isnoneornil(L, 2) ? 1 : mll_check_number(L, 2);
  bool given = !lua_isnoneornil(L, 3);
  if (given) {
    mll_check_table(L, 3);
    lua_settop(L, 3);
    lua_getiuservalue(L, 1, 1);
    check_gradient_keys(L, o);
    /* pointers into handles that the table at 3 keeps alive */
    for (int i = 0; i < o->count; i++) {
      lua_rawgeti(L, 3, i + 1);
      if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_rawgeti(L, 4, i + 1);
        lua_rawget(L, 3);
      }
      const ml_tensor *g = lua_isnil(L, -1) ? NULL : mll_test_tensor(L, -1);
      if (!lua_isnil(L, -1) && (!g || ml_tensor_empty(g))) {
        char text[ML_DESCRIBE];
        return mll_arg_error(L, 3, "gradient %d is %s, wanted a tensor", i + 1,
                             mll_describe(L, -1, text));
      }
      o->list[i] = g;
      lua_pop(L, 1);
    }
  } else {
    for (int i = 0; i < o->count; i++) {
      ml_grad_get(&o->held[i], ml_optim_tensor(o->optim, i));
      o->list[i] = ml_tensor_empty(&o->held[i]) ? NULL : &o->held[i];
    }
  }
  ml_error err;
  ml_status status = ml_optim_step(o->optim, s, o->list, &err);
  drop_held(o);
  if (status == ML_EARG && err.arg == 1)
    err.arg = 2; /* s stands behind the optimizer */
  else if (status == ML_ESHAPE && err.arg == 2)
    err.arg = given ? 3 : 0;
  return status ? mll_raise(L, &err) : 0;
}

static int l_zero_grad(lua_State *L) {
  optimizer *o = check_optimizer(L);
  for (int i = 0; i < o->count; i++)
    ml_grad_zero(ml_optim_tensor(o->optim, i));
  return 0;
}

static int l_state(lua_State *L) {
  optimizer *o = check_optimizer(L);
  lua_settop(L, 1);
  lua_newtable(L);
  lua_getiuservalue(L, 1, 1);
  ml_shape scalar = ml_shape_make(0);
  for (int i = 0; i < o->count; i++) {
    lua_rawgeti(L, 3, i + 1);
    const char *key = lua_tostring(L, -1);
    for (int slot = 0;; slot++) {
      ml_tensor *state = mll_push_empty_kept(L);
      const char *name = ml_optim_slot(o->optim, i, slot, state);
      if (!name) {
        lua_pop(L, 1);
        break;
      }
      lua_pushfstring(L, "%s.%s", key, name);
      lua_insert(L, -2);
      lua_rawset(L, 2);
    }
    lua_pushfstring(L, "%s.step", key);
    ml_tensor *step = mll_push_tensor(L, ML_F64, &scalar);
    *ML_DATA(double, step) = (double)ml_optim_steps(o->optim, i);
    lua_rawset(L, 2);
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  return 1;
}

/* Fetches state `key.name` of the table at 2 as a tensor of this dtype and shape, or raises. */
static const ml_tensor *fetch_state(lua_State *L, const char *key, const char *name, ml_dtype dtype,
                                    const ml_shape *shape) {
  char a[ML_DESCRIBE], b[ML_DESCRIBE];
  lua_pushfstring(L, "%s.%s", key, name);
  lua_rawget(L, 2);
  const ml_tensor *t = mll_test_tensor(L, -1);
  if (!t || ml_tensor_empty(t))
    mll_arg_error(L, 2, "state %s.%s is missing", key, name);
  ml_shape found = ml_shape_of(t);
  if (t->dtype != dtype || !ml_shape_equal(&found, shape))
    mll_arg_error(L, 2, "state %s.%s is %s, wanted %s %s", key, name, ml_describe(a, t),
                  ml_dtype_name(dtype), ml_describe_shape(b, shape));
  lua_pop(L, 1); /* the table keeps it */
  return t;
}

static int l_load_state(lua_State *L) {
  optimizer *o = check_optimizer(L);
  mll_check_table(L, 2);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  ml_shape scalar = ml_shape_make(0);
  ml_error err;
  for (int pass = 0; pass < 2; pass++) /* all is checked before anything changes */
    for (int i = 0; i < o->count; i++) {
      lua_rawgeti(L, 3, i + 1);
      const char *key = lua_tostring(L, -1);
      for (int slot = 0;; slot++) {
        ml_tensor *state = mll_push_empty(L);
        const char *name = ml_optim_slot(o->optim, i, slot, state);
        if (!name) {
          lua_pop(L, 1);
          break;
        }
        ml_shape shape = ml_shape_of(state);
        const ml_tensor *t = fetch_state(L, key, name, state->dtype, &shape);
        if (pass == 1 && ml_tensor_copy_into(state, t, &err))
          return mll_raise(L, &err);
        lua_pop(L, 1);
      }
      const ml_tensor *step = fetch_state(L, key, "step", ML_F64, &scalar);
      const double count = *ML_DATA(double, step);
      if (!(count >= 0 && count <= 0x1p53 && count == floor(count)))
        return mll_arg_error(L, 2, "state %s.step is %f, wanted a whole number >= 0", key, count);
      if (pass == 1)
        ml_optim_set_steps(o->optim, i, (int64_t)count);
      lua_pop(L, 1);
    }
  return 0;
}

static int l_options(lua_State *L) {
  optimizer *o = check_optimizer(L);
  const ml_optim_options *p = ml_optim_options_of(o->optim);
  lua_newtable(L);
  lua_pushstring(L, ml_rule_name(p->rule));
  lua_setfield(L, -2, "rule");
  for (const ml_optim_option *option = ml_rule_options(p->rule); option->name; option++) {
    push_option(L, p, option);
    lua_setfield(L, -2, option->name);
  }
  lua_getiuservalue(L, 1, 1);
  lua_createtable(L, 0, o->count);
  for (int i = 1; i <= o->count; i++) {
    lua_rawgeti(L, -2, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, -4);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -3, "parameters");
  lua_pop(L, 1);
  return 1;
}

static int l_tostring(lua_State *L) {
  optimizer *o = mll_check_object(L, 1, MLL_OPTIM);
  if (!o->optim)
    lua_pushliteral(L, "ml.optimizer (unfinished)");
  else {
    const ml_optim_options *p = ml_optim_options_of(o->optim);
    lua_pushfstring(L, "%s of %d tensors, lr %f", ml_rule_name(p->rule), o->count, p->lr);
  }
  return 1;
}

static int l_clip_grad_norm(lua_State *L) {
  mll_check_table(L, 1);
  double max_norm = mll_check_number(L, 2);
  lua_settop(L, 2);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  mll_push_sorted_keys(L, 1);
  lua_Integer named = (lua_Integer)lua_rawlen(L, 3);
  mll_list *grads = mll_push_list(L, n + named);
  for (lua_Integer i = 1; i <= n + named; i++) {
    if (i <= n)
      lua_rawgeti(L, 1, i);
    else {
      lua_rawgeti(L, 3, i - n);
      lua_rawget(L, 1);
    }
    const ml_tensor *w = mll_test_tensor(L, -1);
    char text[ML_DESCRIBE];
    if (!w || ml_tensor_empty(w))
      return mll_arg_error(L, 1, "entry %d is %s, wanted a parameter", (int)i,
                           mll_describe(L, -1, text));
    ml_grad_get(&grads->t[i - 1], w);
    lua_pop(L, 1);
  }
  ml_tensor **list = lua_newuserdatauv(L, (size_t)(n + named + 1) * sizeof *list, 0);
  for (lua_Integer i = 0; i < n + named; i++)
    list[i] = &grads->t[i];
  double norm = 0;
  ml_error err;
  ml_status status = ml_clip_grad_norm(&norm, list, (int)(n + named), max_norm, &err);
  mll_list_clear(grads);
  if (status)
    return mll_raise(L, &err);
  lua_pushnumber(L, norm);
  return 1;
}

#define PARAMS_HELP                                                                                \
  "@param params table array of parameters, name -> parameter, or groups { { params =, name =, "   \
  "lr_scale =, eps_scale =, "                                                                      \
  "decay_scale = }, ... }\n"
#define DECAY_HELP                                                                                 \
  "@param opts.weight_decay number lambda >= 0, on every tensor of a group\n"                      \
  "@param opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | "       \
  "coupled: g += lambda w\n"
#define SQUARES_HELP                                                                               \
  "In f32 the squares of gradients lose digits below 1e-19 and are 0 below 1e-22; scale the loss " \
  "or keep parameters that far from 1 in f64.\n"
#define RETURN_HELP "@return optimizer with step, zero_grad, state, load_state, options\n"

static const mll_fn functions[] = {
    {"sgd", l_sgd,
     "ml.optim.sgd(params, { lr, momentum, nesterov, weight_decay, decay })\n"
     "Stochastic gradient descent: u = momentum u + g, w -= lr u.\n" PARAMS_HELP
     "@param opts.lr number =1e-3 learning rate, >= 0\n"
     "@param opts.momentum number =0 share of the last step that is kept, in [0, 1)\n@param "
     "opts.nesterov boolean =false w -= lr (g + momentum "
     "u)\n" DECAY_HELP RETURN_HELP "@source Sutskever et al. 2013"},
    {"adam", l_adam,
     "ml.optim.adam(params, { lr, betas, eps, weight_decay, decay, update_clip })\n"
     "Adam: w -= lr m_hat / (sqrt(v_hat) + eps); its decay is coupled unless said.\n" SQUARES_HELP
         PARAMS_HELP "@param opts.lr number =1e-3 learning rate, >= 0\n@param opts.betas table "
     "={0.9, 0.999}\n@param opts.eps number "
     "=1e-8 added to the root of the second moment, in the unit of a gradient, >= 0\n"
     "@param opts.update_clip boolean =false divide the step by max(1, RMS(g / sqrt(max(v_hat, "
     "eps^2)))), per tensor\n" DECAY_HELP RETURN_HELP "@source Kingma & Ba 2015"},
    {"adamw", l_adamw,
     "ml.optim.adamw(params, { lr, betas, eps, weight_decay, decay, update_clip })\n"
     "Adam with weight decay beside the update; independent of the learning rate unless "
     "said.\n" SQUARES_HELP PARAMS_HELP
     "@param opts.lr number =1e-3 learning rate, >= 0\n@param opts.betas table ={0.9, "
     "0.95}\n@param opts.eps number =1e-8 added to the root of the second moment, in the unit of a "
     "gradient, >= 0\n"
     "@param opts.update_clip boolean =false divide the step by max(1, RMS(g / sqrt(max(v_hat, "
     "eps^2)))), per tensor\n" DECAY_HELP RETURN_HELP
     "@source Loshchilov & Hutter 2019; Wortsman et al. 2023"},
    {"adam_atan2", l_adam_atan2,
     "ml.optim.adam_atan2(params, { lr, betas, a, b, weight_decay, decay })\n"
     "Adam without epsilon: w -= lr a atan2(m_hat, b sqrt(v_hat)).\n" SQUARES_HELP PARAMS_HELP
     "@param opts.lr number =1e-3 learning rate, >= 0\n@param opts.betas table ={0.9, "
     "0.95}\n@param opts.a number "
     "=1.27 factor before atan2\n@param opts.b number =1 factor of the root inside "
     "atan2\n" DECAY_HELP RETURN_HELP "@source Everett et al. 2024"},
    {"adafactor", l_adafactor,
     "ml.optim.adafactor(params, { lr, factored, min_dim, clip, decay_exponent, eps1, eps2, "
     "scale_parameter, weight_decay, decay })\n"
     "Adafactor without momentum; matrices whose sides are both >= min_dim keep factored second "
     "moments; a tensor of more axes is the matrix [product of its leading axes, last "
     "axis].\n" PARAMS_HELP "@param opts.lr number =1e-2, times max(RMS(w), eps2) when "
     "scale_parameter\n@param opts.factored boolean =true\n"
     "@param opts.min_dim integer =128 least size of both axes that is factored\n@param opts.clip "
     "number =1 largest RMS of the update\n"
     "@param opts.decay_exponent number =0.8 b2_t = 1 - t^-0.8\n@param opts.eps1 number "
     "=1e-30 added to squared gradients\n@param opts.eps2 number =1e-3 least RMS of a parameter "
     "that scales the step\n"
     "@param opts.scale_parameter boolean =true\n" DECAY_HELP RETURN_HELP
     "@source Shazeer & Stern 2018"},
    {"adam_ps", l_adam_ps,
     "ml.optim.adam_ps(params, { lr, betas, eps, floor, weight_decay, decay })\n"
     "Adam with parameter scaling: the step is multiplied by max(RMS(w), floor), per "
     "tensor.\n" SQUARES_HELP PARAMS_HELP "@param opts.lr number =1e-3 learning rate, >= 0\n@param "
     "opts.betas table ={0.9, 0.95}\n@param opts.eps number "
     "=1e-8 added to the root of the second moment, in the unit of a gradient, >= 0\n@param "
     "opts.floor number =1e-3 least RMS of a parameter that scales the "
     "step\n" DECAY_HELP RETURN_HELP "@source Everett et al. 2024"},
    {"lion", l_lion,
     "ml.optim.lion(params, { lr, betas, weight_decay })\n"
     "Lion: w -= lr (sign(b1 m + (1 - b1) g) + lambda w), m = b2 m + (1 - b2) g.\n" PARAMS_HELP
     "@param opts.lr number =1e-4 learning rate, >= 0\n@param opts.betas table ={0.9, "
     "0.99}\n@param opts.weight_decay "
     "number =0 decoupled\n" RETURN_HELP "@source Chen et al. 2023"},
    {"clip_grad_norm", l_clip_grad_norm,
     "ml.optim.clip_grad_norm(params, max_norm)\n"
     "When the Euclidean norm of all gradients exceeds max_norm, multiplies them by max_norm / "
     "norm.\n"
     "@param params table array or name -> parameter; those without a gradient are skipped\n@param "
     "max_norm number > 0\n"
     "@return number the norm before; nothing is multiplied when a gradient is not "
     "finite\n@source Pascanu et al. 2013"},
    {NULL, NULL, NULL}};

static const mll_fn methods[] = {
    {"step", l_step,
     "opt:step(s, grads)\nOne update of every parameter that has a gradient.\n"
     "@param s number =1 schedule multiplier of every group's lr and of independent decay\n"
     "@param grads table gradients shaped like params, by position or name; default the "
     "parameters' own\n@source the rule's"},
    {"zero_grad", l_zero_grad,
     "opt:zero_grad()\nFills the gradients of all parameters with zeros.\n@source PyTorch's name"},
    {"state", l_state,
     "opt:state()\nEverything that a step reads besides parameters and gradients.\n"
     "@return table name -> tensor: <parameter>.m, .v, .momentum like the parameter, of a factored "
     "one .row [rows] and .column [columns], leading axes as one (live, not copies); and "
     "<parameter>.step, 0-d; fit for ml.save\n"
     "@source -"},
    {"load_state", l_load_state,
     "opt:load_state(t, metadata)\nTakes over a state; all of it is checked before anything "
     "changes.\n@param t table as opt:state() or ml.load returns it\n"
     "@param metadata any not read: what ml.load returns second\n"
     "@source -"},
    {"options", l_options,
     "opt:options()\nWhat the rule works with.\n@return table rule, lr, and the other options in "
     "force; parameters: name -> { lr_scale, eps_scale, decay_scale }\n@source -"},
    {NULL, NULL, NULL}};

static const mll_fn meta[] = {
    {"__gc", optimizer_gc, NULL}, {"__tostring", l_tostring, NULL}, {NULL, NULL, NULL}};

void mll_open_optim(lua_State *L) {
  mll_class(L, MLL_OPTIM, methods, meta);
  lua_pop(L, 1);
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "optim");
}
