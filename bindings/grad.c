/* Gradients: parameters, backward, no_grad, value_and_grad. */
#include "state.h"

#include <string.h>

static int l_param(lua_State *L) {
  lua_settop(L, 1);
  ml_tensor *out = mll_push_empty_kept(L);
  const ml_tensor *t = mll_check_real(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_param(out, t, &err));
  return status ? mll_raise(L, &err) : 1;
}

static const ml_tensor *check_param(lua_State *L) {
  const ml_tensor *w = mll_check_tensor(L, 1);
  if (!ml_is_param(w)) {
    char got[ML_DESCRIBE];
    mll_arg_error(L, 1, "wanted a parameter (ml.param), got a plain %s", ml_describe(got, w));
  }
  return w;
}

static int l_grad(lua_State *L) {
  lua_settop(L, 1);
  ml_tensor *out = mll_push_empty_kept(L);
  ml_grad_get(out, check_param(L));
  if (ml_tensor_empty(out))
    lua_pushnil(L);
  return 1;
}

static int l_set_grad(lua_State *L) {
  lua_settop(L, 2);
  const ml_tensor *w = check_param(L), *g = mll_arg_tensor(L, 2);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_grad_set(w, g, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 1);
  return 1;
}

static int l_zero_grad(lua_State *L) {
  ml_grad_zero(check_param(L));
  lua_settop(L, 1);
  return 1;
}

static int l_is_param(lua_State *L) {
  lua_pushboolean(L, ml_is_param(mll_check_tensor(L, 1)));
  return 1;
}

static int l_on_tape(lua_State *L) {
  lua_pushboolean(L, ml_on_tape(mll_check_tensor(L, 1)));
  return 1;
}

static int l_backward(lua_State *L) {
  static const char *const names[] = {"retain", NULL};
  int opts = lua_type(L, 2) == LUA_TTABLE && lua_isnoneornil(L, 3) ? 2 : 3;
  mll_check_opts(L, opts, names);
  bool retain = mll_opt_boolean(L, opts, "retain", false);
  const ml_tensor *seed = opts == 2 ? NULL : mll_arg_tensor(L, 2), *y = mll_check_real(L, 1);
  ml_error err;
  if (ml_backward(y, seed, retain, &err))
    return mll_raise(L, &err);
  return 0;
}

static int l_detach(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 1);
  ml_tensor_detach(out, mll_check_tensor(L, 1));
  return 1;
}

static int l_no_grad(lua_State *L) {
  mll_check_callable(L, 1);
  bool before = ml_grad_enable(false);
  int status = mll_pcall(L, lua_gettop(L) - 1, LUA_MULTRET);
  ml_grad_enable(before);
  return status ? mll_rethrow(L) : lua_gettop(L);
}

static int l_grad_enabled(lua_State *L) {
  lua_pushboolean(L, ml_grad_enabled());
  return 1;
}

/* ---- value_and_grad -------------------------------------------------------------------------- */

#define PARAMS_DEPTH 32

/* Stack positions of two arrays that belong together: the leaves, and the handles that will hold
 * their gradients. */
typedef struct {
  int leaves, grads;
  lua_Integer n;
} harvest;

/* The tensor on top becomes a leaf (itself when it is one) and below it comes the empty handle of
 * its gradient: [t] -> [gradient, leaf]. */
static void plant(lua_State *L, harvest *h) {
  int at = lua_gettop(L);
  mll_push_empty(L);
  if (ml_is_param(mll_check_tensor(L, at))) {
    lua_pushvalue(L, at);
  } else {
    ml_tensor *leaf = mll_push_empty(L);
    ml_error err;
    if (ml_param(leaf, mll_check_tensor(L, at), &err))
      mll_raise(L, &err);
  }
  h->n++;
  lua_pushvalue(L, -1);
  lua_rawseti(L, h->leaves, h->n);
  lua_pushvalue(L, -2);
  lua_rawseti(L, h->grads, h->n);
  lua_remove(L, at);
}

/* [value] -> [gradients, values to differentiate]: tensors as plant makes them, tables entry by
 * entry; the rest stays, and has no gradient. */
static void plant_all(lua_State *L, harvest *h, int depth) {
  const ml_tensor *t = mll_test_tensor(L, -1);
  luaL_checkstack(L, 10, NULL);
  if (t && ml_is_real(t->dtype) && !ml_tensor_empty(t)) {
    plant(L, h);
  } else if (!t && lua_type(L, -1) == LUA_TTABLE) {
    if (depth == PARAMS_DEPTH)
      luaL_error(L, "value_and_grad: parameters nest deeper than %d tables", PARAMS_DEPTH);
    int from = lua_gettop(L);
    lua_newtable(L); /* gradients */
    lua_newtable(L); /* values */
    lua_pushnil(L);
    while (lua_next(L, from)) {
      plant_all(L, h, depth + 1); /* key, gradient, value */
      lua_pushvalue(L, -3);
      lua_insert(L, -2);
      lua_rawset(L, from + 2);
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, from + 1);
    }
    lua_remove(L, from);
  } else {
    lua_pushnil(L);
    lua_insert(L, -2);
  }
}

/* 1: f, 2: params, 3..: further arguments; runs in a scope. */
static int differentiate(lua_State *L) {
  int top = lua_gettop(L);
  luaL_checkstack(L, top + 16, NULL);
  harvest h = {0};
  lua_newtable(L);
  h.leaves = top + 1;
  lua_newtable(L);
  h.grads = top + 2;
  lua_pushvalue(L, 2);
  plant_all(L, &h, 0); /* top + 3: gradients, top + 4: values */
  if (h.n == 0)
    luaL_error(L, "value_and_grad: the parameters hold no f32 or f64 tensor");
  lua_pushvalue(L, 1);
  lua_insert(L, top + 4); /* gradients, f, values */
  for (int i = 3; i <= top; i++)
    lua_pushvalue(L, i);
  lua_call(L, top - 1, LUA_MULTRET);
  int first = top + 4, last = lua_gettop(L);
  const ml_tensor *y = last < first ? NULL : mll_test_tensor(L, first);
  if (!y || ml_tensor_empty(y) || !ml_is_real(y->dtype) || ml_numel(y) != 1) {
    char got[ML_DESCRIBE];
    if (last < first)
      lua_pushnil(L);
    return luaL_error(
        L, "value_and_grad: the function returned %s, wanted a tensor of one element first",
        mll_describe(L, first, got));
  }
  ml_tensor *value = mll_push_empty(L);
  mll_list *leaves = mll_push_list(L, h.n), *grads = mll_push_list(L, h.n);
  for (lua_Integer i = 0; i < h.n; i++) {
    lua_rawgeti(L, h.leaves, i + 1);
    ml_tensor_alias(&leaves->t[i], mll_check_tensor(L, -1));
    lua_pop(L, 1);
  }
  ml_error err;
  ml_status status = ML_OK;
  if (ml_on_tape(y)) {
    status = ml_backward_to(grads->t, y, NULL, leaves->p, (int)h.n, false, &err);
  } else { /* the value depends on no parameter */
    for (lua_Integer i = 0; i < h.n && !status; i++) {
      ml_shape shape = ml_shape_of(&leaves->t[i]);
      status = ml_tensor_init_zeros(&grads->t[i], leaves->t[i].dtype, &shape, &err);
    }
  }
  ml_tensor_detach(value, y);
  mll_list_clear(leaves);
  if (status) {
    err.arg = 0;
    return mll_raise(L, &err);
  }
  for (lua_Integer i = 0; i < h.n; i++) {
    lua_rawgeti(L, h.grads, i + 1);
    ml_tensor_move(mll_test_tensor(L, -1), &grads->t[i]);
    lua_pop(L, 1);
  }
  lua_pushvalue(L, last + 1); /* value, gradients, f's further results */
  lua_replace(L, first);
  lua_pushvalue(L, top + 3);
  lua_insert(L, first + 1);
  lua_settop(L, last + 1);
  return last - first + 2;
}

static int differentiated(lua_State *L) {
  int nargs = lua_gettop(L);
  if (!mll_test_tensor(L, 1) && lua_type(L, 1) != LUA_TTABLE)
    mll_type_error(L, 1, "tensor or table of tensors");
  luaL_checkstack(L, 4, NULL);
  lua_pushcfunction(L, differentiate);
  lua_insert(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 2);
  bool before = ml_grad_enable(true);
  int status = mll_scope_pcall(L, nargs + 1, true);
  ml_grad_enable(before);
  return status ? mll_rethrow(L) : lua_gettop(L);
}

static int l_value_and_grad(lua_State *L) {
  mll_check_callable(L, 1);
  lua_settop(L, 1);
  lua_pushcclosure(L, differentiated, 1);
  return 1;
}

static const mll_fn functions[] = {
    {"param", l_param,
     "param(t)\n"
     "A parameter: it shares t's storage and collects a gradient. No scope releases it.\n"
     "@param t tensor f32 or f64 of any shape; what it depends on is left behind\n"
     "@return tensor like t: the parameter"},
    {"no_grad", l_no_grad,
     "no_grad(f, ...)\n"
     "Runs f(...) at once with recording switched off, and returns its results. Inside, parameters "
     "may be changed in place.\n"
     "@param f function\n"
     "@return ... any the results of f"},
    {"grad_enabled", l_grad_enabled,
     "grad_enabled()\n"
     "Whether operations on parameters are recorded.\n"
     "@return boolean"},
    {"value_and_grad", l_value_and_grad,
     "value_and_grad(f)\n"
     "A function (params, ...) that runs f(params, ...) in a scope and returns its value, the "
     "gradients of the value with respect\n"
     "to params, and f's further results (off the tape). Nothing accumulates in parameters.\n"
     "@param f function (params, ...) -> tensor of one element, ...\n"
     "@return function (params, ...) -> value 0-d, gradients with the keys of params, ...; params "
     "is a tensor or a table of\n"
     "tensors (nested tables too), parameters or plain; entries that are no real tensors pass "
     "unchanged and have no gradient"},
    {NULL, NULL, NULL}};

const mll_fn mll_grad_methods[] = {
    {"grad", l_grad,
     "w:grad()\n"
     "The gradient collected by a parameter, or nil before the first backward. It shares storage "
     "with the parameter's own.\n"
     "@return tensor like w, or nil"},
    {"set_grad", l_set_grad,
     "w:set_grad(g)\n"
     "Stores a copy of g as the gradient of a parameter; nil drops it.\n"
     "@param g tensor like w, or nil\n"
     "@return w"},
    {"zero_grad", l_zero_grad,
     "w:zero_grad()\n"
     "Fills the gradient of a parameter with zeros; does nothing where there is none.\n"
     "@return w"},
    {"is_param", l_is_param,
     "t:is_param()\n"
     "Whether t is a parameter (made by ml.param).\n"
     "@return boolean"},
    {"on_tape", l_on_tape,
     "t:on_tape()\n"
     "Whether t is a parameter or depends on one by recorded operations.\n"
     "@return boolean"},
    {"backward", l_backward,
     "y:backward(seed, opts)\n"
     "Adds the gradients of sum(seed * y) to the parameters that y depends on. Frees what the tape "
     "saved as it passes, so that a\n"
     "second call raises unless the first retained. A saved tensor that was changed in place since "
     "raises. Answers Ctrl-C.\n"
     "@param seed tensor =nil like y; absent: y has one element and the seed is 1\n"
     "@param opts.retain boolean =false keep what is saved for another backward"},
    {"detach", l_detach,
     "t:detach()\n"
     "t without its tape: the same storage, a constant for gradients.\n"
     "@return tensor like t"},
    {NULL, NULL, NULL}};

void mll_open_grad(lua_State *L) {
  mll_register(L, functions);
  mll_name_function(L, differentiate, "value_and_grad");
  mll_name_function(L, differentiated, "value_and_grad");
}
