/* The tensor class: its metatable, and what a handle tells about itself. */
#include "state.h"

#include <string.h>

static int l_shape(lua_State *L) {
  const ml_tensor *t = mll_check_tensor(L, 1);
  lua_createtable(L, t->rank, 0);
  for (int k = 0; k < t->rank; k++) {
    lua_pushinteger(L, t->size[k]);
    lua_rawseti(L, -2, k + 1);
  }
  return 1;
}

static int l_size(lua_State *L) {
  const ml_tensor *t = mll_check_tensor(L, 1);
  lua_pushinteger(L, t->size[mll_check_axis(L, 2, t->rank)]);
  return 1;
}

static int l_rank(lua_State *L) {
  lua_pushinteger(L, mll_check_tensor(L, 1)->rank);
  return 1;
}

static int l_numel(lua_State *L) {
  lua_pushinteger(L, ml_numel(mll_check_tensor(L, 1)));
  return 1;
}

static int l_dtype(lua_State *L) {
  lua_pushstring(L, ml_dtype_name(mll_check_tensor(L, 1)->dtype));
  return 1;
}

static int l_is_contiguous(lua_State *L) {
  lua_pushboolean(L, ml_is_contiguous(mll_check_tensor(L, 1)));
  return 1;
}

int mll_tensor_len(lua_State *L) {
  const ml_tensor *t = mll_check_tensor(L, 1);
  if (t->rank == 0)
    return mll_arg_error(L, 1, "a 0-d tensor has no length");
  lua_pushinteger(L, t->size[0]);
  return 1;
}

static int l_item(lua_State *L) {
  const ml_tensor *t = mll_check_tensor(L, 1);
  if (ml_numel(t) != 1) {
    char got[ML_DESCRIBE];
    return mll_arg_error(L, 1, "wanted a tensor of one element, got %s", ml_describe(got, t));
  }
  mll_push_element(L, t, 0);
  return 1;
}

/* Pushes the elements under axis `depth`; *at runs over a contiguous tensor. */
static void push_nested(lua_State *L, const ml_tensor *t, int depth, int64_t *at) {
  if (depth == t->rank) {
    mll_push_element(L, t, (*at)++);
    return;
  }
  int64_t n = t->size[depth];
  lua_createtable(L, n < 1 << 26 ? (int)n : 0, 0);
  for (int64_t i = 1; i <= n; i++) {
    push_nested(L, t, depth + 1, at);
    lua_rawseti(L, -2, i);
  }
}

static int l_totable(lua_State *L) {
  ml_tensor *flat = mll_push_result(L, 1);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  int64_t at = 0;
  MLL_RUN(L, status, ml_tensor_contiguous(flat, t, &err));
  if (status)
    return mll_raise(L, &err);
  luaL_checkstack(L, ML_MAX_RANK + 4, NULL);
  push_nested(L, flat, 0, &at);
  mll_release_handle((mll_handle *)flat, "");
  return 1;
}

static int l_equal(lua_State *L) {
  const ml_tensor *a = mll_check_tensor(L, 1), *b = mll_check_tensor(L, 2);
  lua_pushboolean(L, ml_tensor_equal(a, b));
  return 1;
}

static int l_allclose(lua_State *L) {
  static const char *const names[] = {"rtol", "atol", "equal_nan", NULL};
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  double rtol = mll_opt_number(L, 3, "rtol", 1e-5), atol = mll_opt_number(L, 3, "atol", 1e-8);
  bool equal_nan = mll_opt_boolean(L, 3, "equal_nan", false), close;
  const ml_tensor *a = mll_check_tensor(L, 1), *b = mll_check_tensor(L, 2);
  if (!(rtol >= 0))
    return mll_opt_error(L, 3, "rtol", "is %g, wanted >= 0", rtol);
  if (!(atol >= 0))
    return mll_opt_error(L, 3, "atol", "is %g, wanted >= 0", atol);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_allclose(&close, a, b, rtol, atol, equal_nan, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushboolean(L, close);
  return 1;
}

/* t:release(), __gc and __close */
static int l_release(lua_State *L) {
  ml_tensor *t = mll_test_tensor(L, 1);
  if (t)
    mll_release_handle((mll_handle *)t, "");
  return 0;
}

static int l_is_tensor(lua_State *L) {
  lua_pushboolean(L, mll_test_tensor(L, 1) != NULL);
  return 1;
}

static int l_is_released(lua_State *L) {
  const ml_tensor *t = mll_test_tensor(L, 1);
  if (!t)
    return mll_type_error(L, 1, "tensor");
  lua_pushboolean(L, ml_tensor_empty(t));
  return 1;
}

static const mll_fn methods[] = {
    {"shape", l_shape,
     "t:shape()\nThe sizes of t, a fresh table; empty for a 0-d tensor.\n@return table of "
     "integers"},
    {"size", l_size,
     "t:size(axis)\nOne size of t.\n@param axis integer from 1, negative from the end\n@return "
     "integer"},
    {"rank", l_rank, "t:rank()\nThe number of axes.\n@return integer"},
    {"numel", l_numel, "t:numel()\nThe number of elements.\n@return integer"},
    {"dtype", l_dtype,
     "t:dtype()\nThe element type: \"f64\", \"f32\", \"index\" (positions, from 1) or "
     "\"u8\".\n@return string"},
    {"is_contiguous", l_is_contiguous,
     "t:is_contiguous()\nWhether the elements lie in memory in row-major order without "
     "gaps.\n@return boolean"},
    {"item", l_item,
     "t:item()\nThe value of a tensor of one element as a Lua number (an integer for index and "
     "u8).\n@return number\n"
     "Raises when t has more or fewer elements."},
    {"totable", l_totable,
     "t:totable()\nThe values as nested tables of numbers; of a 0-d tensor its number.\n@return "
     "table or number"},
    {"equal", l_equal,
     "t:equal(u)\nWhether t and u have the same dtype, shape and values; NaN equals NaN.\n@param u "
     "tensor of any shape\n@return boolean"},
    {"allclose", l_allclose,
     "t:allclose(u, opts)\nWhether |t - u| <= atol + rtol |u| everywhere, with "
     "broadcasting.\n@param u tensor of t's dtype, any shape\n"
     "@param opts.rtol number =1e-5 relative tolerance\n@param opts.atol number =1e-8 absolute "
     "tolerance\n"
     "@param opts.equal_nan boolean =false NaN is close to NaN\n@return boolean"},
    {"release", l_release,
     "t:release()\nGives the memory back now, when no other tensor shares it. Any later use of t "
     "raises. May be called twice."},
    {"is_released", l_is_released,
     "t:is_released()\nWhether t was released, by t:release() or by its scope.\n@return boolean"},
    {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"is_tensor", l_is_tensor,
     "is_tensor(x)\nWhether x is a tensor, released ones included.\n@param x any\n@return boolean"},
    {NULL, NULL, NULL}};

static const mll_fn meta[] = {{"__gc", l_release, NULL},
                              {"__close", l_release, NULL},
                              {"__newindex", mll_tensor_newindex, NULL},
                              {"__len", mll_tensor_len, NULL},
                              {"__add", mll_tensor_add, NULL},
                              {"__sub", mll_tensor_sub, NULL},
                              {"__mul", mll_tensor_mul, NULL},
                              {"__div", mll_tensor_div, NULL},
                              {"__pow", mll_tensor_pow, NULL},
                              {"__unm", mll_tensor_neg, NULL},
                              {NULL, NULL, NULL}};

void mll_open_tensor(lua_State *L) {
  static const mll_fn *const both[] = {mll_tensor_elementwise_both, mll_tensor_reduce_both,
                                       mll_tensor_shape_both, mll_tensor_order_both, NULL};
  luaL_checkstack(L, 8, NULL);
  mll_register(L, mll_tensor_create);
  mll_register(L, functions);
  for (int i = 0; both[i]; i++)
    mll_register(L, both[i]);
  lua_newtable(L); /* methods */
  for (int i = 0; both[i]; i++)
    mll_register(L, both[i]);
  mll_register(L, methods);
  mll_register(L, mll_tensor_into_methods);
  mll_register(L, mll_tensor_print_methods);
  mll_register(L, mll_grad_methods);
  mll_name_function(L, mll_tensor_index, "index");
  mll_name_function(L, mll_tensor_newindex, "newindex");
  mll_name_function(L, mll_tensor_len, "len");
  mll_class(L, MLL_TENSOR, NULL, meta); /* leaves an empty method table, ours takes its place */
  lua_pop(L, 1);
  luaL_getmetatable(L, MLL_TENSOR);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &mll_magic);
  for (const mll_fn *f = mll_tensor_print_meta; f->name; f++) {
    lua_pushcfunction(L, f->function);
    lua_setfield(L, -2, f->name);
  }
  mll_push_sorted_keys(L, -2);
  lua_setfield(L, -2, "__dir");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, mll_tensor_index, 1);
  lua_setfield(L, -2, "__index");
  lua_insert(L, -2);
  lua_setfield(L, -2, "__methods");
  lua_pop(L, 1);
}
