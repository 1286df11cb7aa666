/* Views and copies of the same values: reshape, permute, narrow, conversion of dtype, joining and
 * splitting. */
#include "state.h"

#include <string.h>

static int finish(lua_State *L, ml_status status, const ml_error *err) {
  return status ? mll_raise(L, err) : 1;
}

/* Nothing but nil follows the table at `first`. */
static void only_one(lua_State *L, int first, int last) {
  for (int i = first + 1; i <= last; i++)
    if (!lua_isnil(L, i))
      mll_arg_error(L, i, "nothing may follow the table");
}

/* Sizes from argument `first` on: one table, or numbers up to the end. */
static void read_sizes(lua_State *L, int first, int last, ml_shape *shape, bool infer) {
  if (last <= first || lua_type(L, first) == LUA_TTABLE) {
    only_one(L, first, last);
    mll_check_shape(L, first, shape, infer);
    return;
  }
  lua_createtable(L, last - first + 1, 0);
  for (int i = first; i <= last; i++) {
    lua_pushinteger(L, mll_check_integer(L, i));
    lua_rawseti(L, -2, i - first + 1);
  }
  lua_replace(L, first);
  mll_check_shape(L, first, shape, infer);
}

static int l_reshape(lua_State *L) {
  ml_shape shape;
  int last = lua_gettop(L);
  mll_check_tensor(L, 1);
  read_sizes(L, 2, last, &shape, true);
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_reshape(out, t, &shape, &err));
  return finish(L, status, &err);
}

static int l_flatten(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  ml_shape shape = {0};
  int from = t->rank && !lua_isnil(L, 2) ? mll_check_axis(L, 2, t->rank) : 0;
  int to = t->rank && !lua_isnil(L, 3) ? mll_check_axis(L, 3, t->rank) : t->rank - 1;
  if (t->rank && to < from)
    return mll_arg_error(L, 3, "the last axis %d stands before the first, %d", to + 1, from + 1);
  for (int k = 0; k < from; k++)
    shape.size[shape.rank++] = t->size[k];
  int64_t n = 1;
  for (int k = from; k <= to; k++)
    n *= t->size[k];
  shape.size[shape.rank++] = n;
  for (int k = to + 1; k < t->rank; k++)
    shape.size[shape.rank++] = t->size[k];
  MLL_RUN(L, status, ml_reshape(out, t, &shape, &err));
  return finish(L, status, &err);
}

static int l_permute(lua_State *L) {
  int axes[ML_MAX_RANK], last = lua_gettop(L);
  int rank = mll_check_tensor(L, 1)->rank;
  unsigned seen = 0;
  if (lua_type(L, 2) != LUA_TTABLE && last > 2) {
    lua_createtable(L, last - 1, 0);
    for (int i = 2; i <= last; i++) {
      lua_pushvalue(L, i);
      lua_rawseti(L, -2, i - 1);
    }
    lua_replace(L, 2);
  } else {
    only_one(L, 2, last);
  }
  lua_settop(L, 2);
  if (lua_type(L, 2) != LUA_TTABLE)
    return mll_type_error(L, 2, "table of axes");
  if ((int)lua_rawlen(L, 2) != rank) {
    return mll_arg_error(L, 2, "%d axes are named, the tensor has %d", (int)lua_rawlen(L, 2), rank);
  }
  for (int i = 0; i < rank; i++) {
    lua_rawgeti(L, 2, i + 1);
    lua_insert(L, 2); /* read as an argument, so that a wrong type is described */
    axes[i] = mll_check_axis(L, 2, rank);
    lua_remove(L, 2);
    if (seen & 1u << axes[i])
      return mll_arg_error(L, 2, "axis %d is named twice", axes[i] + 1);
    seen |= 1u << axes[i];
  }
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_permute(out, t, axes, &err));
  return finish(L, status, &err);
}

static int l_transpose(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  if (t->rank < 2 && lua_isnil(L, 2)) {
    char got[ML_DESCRIBE];
    return mll_arg_error(L, 1, "wanted at least two axes, got %s", ml_describe(got, t));
  }
  int a = lua_isnil(L, 2) ? t->rank - 2 : mll_check_axis(L, 2, t->rank);
  int b = lua_isnil(L, 2) ? t->rank - 1 : mll_check_axis(L, 3, t->rank);
  MLL_RUN(L, status, ml_transpose(out, t, a, b, &err));
  return finish(L, status, &err);
}

static int l_squeeze(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  int axis = lua_isnil(L, 2) ? -1 : mll_check_axis(L, 2, t->rank);
  if (axis >= 0 && t->size[axis] != 1) {
    return mll_arg_error(L, 2, "axis %d has size %lld, wanted 1", axis + 1,
                         (long long)t->size[axis]);
  }
  MLL_RUN(L, status, ml_squeeze(out, t, axis, &err));
  return finish(L, status, &err);
}

static int l_unsqueeze(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  int axis = mll_check_axis(L, 2, t->rank + 1);
  MLL_RUN(L, status, ml_unsqueeze(out, t, axis, &err));
  return finish(L, status, &err);
}

static int l_broadcast_to(lua_State *L) {
  ml_shape shape;
  int last = lua_gettop(L);
  mll_check_tensor(L, 1);
  read_sizes(L, 2, last, &shape, false);
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_broadcast(out, t, &shape, &err));
  return finish(L, status, &err);
}

static int l_narrow(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  const ml_tensor *t = mll_check_tensor(L, 1);
  int axis = mll_check_axis(L, 2, t->rank);
  int64_t n = t->size[axis];
  lua_Integer bound[2];
  if (lua_type(L, 3) != LUA_TTABLE || lua_rawlen(L, 3) != 2)
    return mll_type_error(L, 3, "range {first, last}");
  for (int i = 0; i < 2; i++) {
    int ok;
    lua_rawgeti(L, 3, i + 1);
    bound[i] = lua_tointegerx(L, -1, &ok);
    if (!ok)
      return mll_arg_error(L, 3, "the range holds no integers");
    lua_pop(L, 1);
    int64_t k = bound[i] < 0 ? bound[i] + n : bound[i] - 1;
    if (bound[i] == 0 || k < 0 || k >= n) {
      return mll_arg_error(L, 3, "position is %lld, wanted 1..%lld or -%lld..-1",
                           (long long)bound[i], (long long)n, (long long)n);
    }
    bound[i] = k;
  }
  int64_t count = bound[1] < bound[0] ? 0 : bound[1] - bound[0] + 1;
  t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_narrow(out, t, axis, bound[0], count, &err));
  return finish(L, status, &err);
}

static int triangle(lua_State *L, bool upper) {
  static const char *const names[] = {"diagonal", NULL};
  ml_tensor *out = mll_push_result(L, 2);
  lua_Integer diagonal = 0;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    diagonal = mll_check_integer(L, 2);
  } else {
    mll_check_opts(L, 2, names);
    diagonal = mll_opt_integer(L, 2, "diagonal", 0);
  }
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tri(out, t, diagonal, upper, &err));
  return finish(L, status, &err);
}
static int l_tril(lua_State *L) { return triangle(L, false); }
static int l_triu(lua_State *L) { return triangle(L, true); }

#define SIMPLE(name, call)                                                                         \
  static int name(lua_State *L) {                                                                  \
    ml_tensor *out = mll_push_result(L, 1);                                                        \
    const ml_tensor *t = mll_check_tensor(L, 1);                                                   \
    ml_error err;                                                                                  \
    ml_status status;                                                                              \
    MLL_RUN(L, status, call(out, t, &err));                                                        \
    return finish(L, status, &err);                                                                \
  }
SIMPLE(l_diagonal, ml_diagonal)
SIMPLE(l_contiguous, ml_contiguous)
SIMPLE(l_clone, ml_clone)

static int l_to(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  ml_dtype dtype = mll_check_dtype(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status = ML_OK;
  if (t->dtype == dtype) {
    ml_tensor_alias(out, t);
  } else if (ml_is_real(t->dtype) && ml_is_real(dtype)) {
    MLL_RUN(L, status, ml_cast(out, t, dtype, &err));
  } else {
    MLL_RUN(L, status, ml_tensor_cast_one_based(out, t, dtype, &err));
  }
  return finish(L, status, &err);
}

/* ---- joining and splitting ------------------------------------------------------------------- */

static int join(lua_State *L, bool stack) {
  static const char *const names[] = {"axis", NULL};
  ml_tensor *out = mll_push_result(L, 2);
  mll_list *list = mll_check_list(L, 1);
  lua_Integer number = 1;
  if (lua_type(L, 2) == LUA_TTABLE) {
    mll_check_opts(L, 2, names);
    number = mll_opt_integer(L, 2, "axis", 1);
  } else if (!lua_isnil(L, 2)) {
    number = mll_check_integer(L, 2);
  }
  int axis = mll_axis(L, 2, number, list->t[0].rank + stack);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          stack ? ml_stack(out, list->p, (int)list->n, axis, &err)
                : ml_concat(out, list->p, (int)list->n, axis, &err));
  mll_list_clear(list);
  if (status) {
    if (err.arg)
      err.arg = 1;
    return mll_raise(L, &err);
  }
  lua_settop(L, 3);
  return 1;
}
static int l_concat(lua_State *L) { return join(L, false); }
static int l_stack(lua_State *L) { return join(L, true); }

static int l_split(lua_State *L) {
  static const char *const names[] = {"axis", NULL};
  lua_settop(L, 3);
  const ml_tensor *t = mll_check_tensor(L, 1);
  int rank = t->rank, axis;
  if (lua_type(L, 3) == LUA_TTABLE) {
    mll_check_opts(L, 3, names);
    axis = mll_axis(L, 3, mll_opt_integer(L, 3, "axis", 1), rank);
  } else {
    axis = lua_isnil(L, 3) ? mll_axis(L, 1, 1, rank) : mll_check_axis(L, 3, rank);
  }
  int64_t size = t->size[axis], start = 0;
  lua_Integer parts = 0;
  bool equal = lua_type(L, 2) == LUA_TNUMBER;
  if (equal) {
    parts = mll_check_integer(L, 2);
    if (parts < 1 || size % parts || (size == 0 && parts > 1 << 16)) {
      return mll_arg_error(L, 2, "%lld equal parts of axis %d, which has size %lld",
                           (long long)parts, axis + 1, (long long)size);
    }
  } else if (lua_type(L, 2) == LUA_TTABLE) {
    parts = (lua_Integer)lua_rawlen(L, 2);
  } else {
    return mll_type_error(L, 2, "number of equal parts, or table of sizes");
  }
  lua_createtable(L, parts < 1 << 20 ? (int)parts : 0, 0);
  for (lua_Integer i = 1; i <= parts; i++) {
    int64_t count = equal ? size / parts : 0;
    if (!equal) {
      lua_rawgeti(L, 2, i);
      int ok;
      count = lua_tointegerx(L, -1, &ok);
      if (!ok || count < 0)
        return mll_arg_error(L, 2, "size %lld is no whole number >= 0", (long long)i);
      lua_pop(L, 1);
      if (count > size - start) {
        return mll_arg_error(L, 2, "the sizes sum to more than %lld, the size of axis %d",
                             (long long)size, axis + 1);
      }
    }
    ml_tensor *out = mll_push_empty(L);
    t = mll_check_tensor(L, 1);
    ml_error err;
    ml_status status;
    MLL_RUN(L, status, ml_narrow(out, t, axis, start, count, &err));
    if (status)
      return mll_raise(L, &err);
    lua_rawseti(L, 4, i);
    start += count;
  }
  if (start != size) {
    return mll_arg_error(L, 2, "the sizes sum to %lld, axis %d has size %lld", (long long)start,
                         axis + 1, (long long)size);
  }
  return 1;
}

const mll_fn mll_tensor_shape_both[] = {
    {"reshape", l_reshape,
     "reshape(x, sizes) reshape(x, size, ...)\nThe same values in row-major order under other "
     "sizes; shares storage when the layout allows it.\n"
     "@param x tensor of any shape\n@param sizes table of integers, or integers; one may be "
     "-1\n@return tensor of the shape asked for, differentiable"},
    {"flatten", l_flatten,
     "flatten(x, first, last)\nJoins the axes first..last into one.\n@param x tensor of any "
     "shape\n@param first integer =1 axis, from 1\n"
     "@param last integer =-1 axis, negative from the end\n@return tensor of x's shape with those "
     "axes as one, differentiable"},
    {"permute", l_permute,
     "permute(x, axes) permute(x, axis, ...)\nReorders the axes: axis k of the result is axis "
     "axes[k] of x. Shares storage.\n@param x tensor of any shape\n"
     "@param axes table of integers, each axis once\n@return tensor of x's shape in the new order, "
     "differentiable"},
    {"transpose", l_transpose,
     "transpose(x, a, b)\nExchanges two axes, the last two by default. Shares storage.\n@param x "
     "tensor of any shape\n@param a integer =-2 axis, from 1, negative from the end\n"
     "@param b integer =-1 the axis it changes places with\n@return tensor of x's shape with both "
     "sizes exchanged, differentiable"},
    {"squeeze", l_squeeze,
     "squeeze(x, axis)\nDrops an axis of size 1, or all of them. Shares storage.\n@param x tensor "
     "of any shape\n@param axis integer =nil from 1, negative from the end; absent: every one of "
     "size 1\n"
     "@return tensor of x's shape without what was dropped, differentiable"},
    {"unsqueeze", l_unsqueeze,
     "unsqueeze(x, axis)\nInserts an axis of size 1 that then has this number. Shares "
     "storage.\n@param x tensor of any shape\n"
     "@param axis integer 1..rank+1, negative from the end\n@return tensor of x's shape with the "
     "new axis, differentiable"},
    {"broadcast_to", l_broadcast_to,
     "broadcast_to(x, sizes) broadcast_to(x, size, ...)\nRepeats axes of size 1, and leading axes, "
     "without copying.\n@param x tensor of any shape\n"
     "@param sizes table of integers\n@return tensor of the shape asked for, differentiable; it "
     "cannot be changed in place"},
    {"narrow", l_narrow,
     "narrow(x, axis, range)\nPositions first..last of one axis. Shares storage.\n@param x tensor "
     "of any shape\n@param axis integer from 1, negative from the end\n"
     "@param range table {first, last}, both included\n@return tensor of x's shape with last - "
     "first + 1 entries along axis, differentiable"},
    {"tril", l_tril,
     "tril(x, opts)\nThe lower triangle of the last two axes, zeros above.\n@param x tensor [..., "
     "rows, columns]\n"
     "@param opts.diagonal integer =0 the last diagonal kept, 1 above the main one\n@return tensor "
     "like x, differentiable"},
    {"triu", l_triu,
     "triu(x, opts)\nThe upper triangle of the last two axes, zeros below.\n@param x tensor [..., "
     "rows, columns]\n"
     "@param opts.diagonal integer =0 the first diagonal kept, 1 above the main one\n@return "
     "tensor like x, differentiable"},
    {"diagonal", l_diagonal,
     "diagonal(x)\nThe main diagonal.\n@param x tensor [n,n]\n@return tensor [n], differentiable"},
    {"contiguous", l_contiguous,
     "contiguous(x)\nx when its elements lie in row-major order without gaps, else a copy that "
     "does.\n@param x tensor of any shape\n"
     "@return tensor like x, differentiable"},
    {"clone", l_clone,
     "clone(x)\nA copy with storage of its own.\n@param x tensor of any shape\n@return tensor like "
     "x, differentiable"},
    {"to", l_to,
     "to(x, dtype)\nx in another dtype; x itself, sharing storage, when it has it already.\n@param "
     "x tensor of any shape\n"
     "@param dtype string \"f64\", \"f32\", \"index\" (whole numbers >= 1) or \"u8\" (0..255, "
     "fractions cut)\n"
     "@return tensor of x's shape, differentiable between f64 and f32\nRaises on values that do "
     "not fit."},
    {"concat", l_concat,
     "concat(list, axis)\nJoins tensors along an axis; the other sizes agree.\n@param list table "
     "of tensors of one dtype\n"
     "@param axis integer =1 from 1, negative from the end\n@return tensor of their shape, the "
     "sizes along axis added up, "
     "differentiable"},
    {"stack", l_stack,
     "stack(list, axis)\nJoins tensors of one shape along a new axis.\n@param list table of "
     "tensors of one dtype and shape\n"
     "@param axis integer =1 number of the new axis\n@return tensor of their shape with the new "
     "axis, differentiable"},
    {"split", l_split,
     "split(x, parts, axis)\nCuts an axis into parts, which share storage.\n@param x tensor of any "
     "shape\n"
     "@param parts integer (that many equal parts; must divide the size) or table of sizes\n@param "
     "axis integer =1 from 1, negative from the end\n"
     "@return table of tensors of x's shape apart from axis, differentiable"},
    {NULL, NULL, NULL}};
