/* Order, gathering and scattering, matrix products. */
#include "state.h"

#include <string.h>

static int l_matmul(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *a = mll_check_tensor(L, 1), *b = mll_check_tensor(L, 2);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_matmul(out, a, b, &err));
  return status ? mll_raise(L, &err) : 1;
}

/* axis at `arg` (nil: the last), options after it */
static int axis_or_last(lua_State *L, int arg, int rank) {
  return lua_isnil(L, arg) ? mll_axis(L, 1, -1, rank) : mll_check_axis(L, arg, rank);
}

static int sort(lua_State *L, bool positions_only) {
  static const char *const names[] = {"descending", "axis", NULL};
  lua_settop(L, 3);
  int opts = 3;
  if (lua_type(L, 2) == LUA_TTABLE) {
    opts = 2;
  }
  mll_check_opts(L, opts, names);
  bool descending = mll_opt_boolean(L, opts, "descending", false);
  lua_Integer number = mll_opt_integer(L, opts, "axis", -1);
  ml_tensor *values = mll_push_result(L, 3), *indices = mll_push_empty(L);
  const ml_tensor *t = mll_check_tensor(L, 1);
  int axis = opts == 3 && !lua_isnil(L, 2) ? mll_check_axis(L, 2, t->rank)
                                           : mll_axis(L, opts, number, t->rank);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sort(values, indices, t, axis, descending, &err));
  return status ? mll_raise(L, &err) : positions_only ? 1 : 2;
}
static int l_sort(lua_State *L) { return sort(L, false); }
static int l_argsort(lua_State *L) { return sort(L, true); }

static int l_topk(lua_State *L) {
  lua_settop(L, 3);
  ml_tensor *values = mll_push_result(L, 3), *indices = mll_push_empty(L);
  lua_Integer k = mll_check_integer(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  int axis = axis_or_last(L, 3, t->rank);
  if (k < 1 || k > t->size[axis]) {
    return mll_arg_error(L, 2, "k is %lld, wanted 1..%lld", (long long)k, (long long)t->size[axis]);
  }
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_topk(values, indices, t, k, axis, &err));
  return status ? mll_raise(L, &err) : 2;
}

/* Positions out of range are reported as Lua counts them. */
static void check_positions(lua_State *L, int arg, const ml_tensor *ids, int64_t n) {
  if (ids->storage == NULL || ml_numel(ids) == 0)
    return;
  int64_t at[ML_MAX_RANK] = {0};
  for (;;) {
    int64_t offset = ids->offset;
    for (int k = 0; k < ids->rank - 1; k++)
      offset += at[k] * ids->stride[k];
    int64_t inner = ids->rank ? ids->size[ids->rank - 1] : 1,
            step = ids->rank ? ids->stride[ids->rank - 1] : 0;
    const int64_t *p = (const int64_t *)ids->storage->data + offset;
    for (int64_t i = 0; i < inner; i++) {
      if (p[i * step] < 0 || p[i * step] >= n) {
        mll_arg_error(L, arg, "position is %lld, wanted 1..%lld", (long long)p[i * step] + 1,
                      (long long)n);
      }
    }
    int k = ids->rank - 2;
    while (k >= 0 && ++at[k] == ids->size[k])
      at[k--] = 0;
    if (k < 0)
      return;
  }
}

static int l_gather(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  mll_check_ids(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1), *ids = mll_check_ids(L, 2);
  int axis = mll_check_axis(L, 3, t->rank);
  check_positions(L, 2, ids, t->size[axis]);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_gather(out, t, ids, axis, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int l_index_select(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  mll_check_ids(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1), *ids = mll_check_ids(L, 2);
  int axis = lua_isnil(L, 3) ? mll_axis(L, 1, 1, t->rank) : mll_check_axis(L, 3, t->rank);
  check_positions(L, 2, ids, t->size[axis]);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_index_select(out, t, ids, axis, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int scatter(lua_State *L, bool add) {
  static const char *const names[] = {"axis", NULL};
  ml_tensor *out = mll_push_result(L, 4);
  mll_check_ids(L, 2);
  lua_Integer number = 1;
  if (lua_type(L, 4) == LUA_TTABLE) {
    mll_check_opts(L, 4, names);
    number = mll_opt_integer(L, 4, "axis", 1);
  } else if (!lua_isnil(L, 4)) {
    number = mll_check_integer(L, 4);
  }
  if (lua_type(L, 3) == LUA_TNUMBER) { /* a number fills every place */
    mll_push_from_lua(L, 3, 3, mll_check_tensor(L, 1)->dtype);
    lua_replace(L, 3);
  }
  const ml_tensor *t = mll_check_tensor(L, 1), *ids = mll_check_ids(L, 2),
                  *src = mll_check_tensor(L, 3);
  int axis = mll_axis(L, 4, number, t->rank);
  check_positions(L, 2, ids, t->size[axis]);
  ml_error err;
  ml_status status;
  if (src->rank == 0 && ids->rank > 0) {
    ml_tensor *wide = mll_push_empty(L);
    ml_shape shape = ml_shape_of(ids);
    src = mll_check_tensor(L, 3);
    MLL_RUN(L, status, ml_broadcast(wide, src, &shape, &err));
    if (status)
      return mll_raise(L, &err);
    src = wide;
  }
  MLL_RUN(L, status, ml_scatter(out, t, ids, src, axis, add, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 5);
  return 1;
}
static int l_scatter(lua_State *L) { return scatter(L, false); }
static int l_scatter_add(lua_State *L) { return scatter(L, true); }

static int l_one_hot(lua_State *L) {
  static const char *const names[] = {"dtype", NULL};
  ml_tensor *out = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  ml_dtype dtype = mll_opt_dtype(L, 3, ML_F64);
  lua_Integer classes = mll_check_integer(L, 2);
  const ml_tensor *ids = mll_check_ids(L, 1);
  if (classes < 1)
    return mll_arg_error(L, 2, "classes is %lld, wanted >= 1", (long long)classes);
  check_positions(L, 1, ids, classes);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_one_hot(out, ids, classes, dtype, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  return 1;
}

const mll_fn mll_tensor_order_both[] = {
    {"matmul", l_matmul,
     "matmul(a, b)\nThe matrix product of the last two axes; leading axes broadcast, vectors are "
     "rows on the left and columns on "
     "the right.\n@param a tensor [...,m,k] or [k], f32 or f64\n@param b tensor [...,k,n] or [k], "
     "the same dtype\n"
     "@return tensor [...,m,n], differentiable"},
    {"sort", l_sort,
     "sort(x, axis, opts)\nSorts along an axis; equal values keep their order, NaN counts as the "
     "largest (so descending has it first).\n@param x tensor of any shape\n"
     "@param axis integer =-1 from 1, negative from the end\n@param opts.descending boolean "
     "=false\n@return tensor like x, "
     "sorted, differentiable\n"
     "@return tensor index of x's shape: where each came from"},
    {"argsort", l_argsort,
     "argsort(x, axis, opts)\nThe positions that sort x along an axis; equal values keep their "
     "order, NaN counts as the largest.\n@param x tensor of any shape\n"
     "@param axis integer =-1 from 1, negative from the end\n@param opts.descending boolean "
     "=false\n@return tensor index of x's "
     "shape"},
    {"topk", l_topk,
     "topk(x, k, axis)\nThe k largest values along an axis, largest first; of equals the first; "
     "NaN counts as the largest.\n@param x tensor of any shape\n"
     "@param k integer 1..size\n@param axis integer =-1 from 1, negative from the end\n@return "
     "tensor of x's shape with k "
     "entries along axis, differentiable\n@return tensor index of the same shape: where each "
     "stands"},
    {"gather", l_gather,
     "gather(x, ids, axis)\nout[i][j] = x[ids[i][j]][j] for axis 1, and so on: ids takes x's place "
     "along axis.\n@param x tensor of any shape\n"
     "@param ids tensor index of x's rank, its shape apart from axis (or nested table of "
     "positions)\n@param axis integer from 1, negative from the end\n"
     "@return tensor of the shape of ids, differentiable\n@source PyTorch's gather"},
    {"index_select", l_index_select,
     "index_select(x, ids, axis)\nThe entries ids of an axis; the axis is replaced by the axes of "
     "ids.\n@param x tensor of any shape\n"
     "@param ids tensor index of any shape, or table of positions\n@param axis integer =1 from 1, "
     "negative from the end\n@return "
     "tensor of x's shape with the axes of ids in place of axis, differentiable\n"
     "@source NumPy's take"},
    {"scatter", l_scatter,
     "scatter(x, ids, values, axis)\nA copy of x with values written at ids along axis; later "
     "writes win.\n@param x tensor of any shape\n"
     "@param ids tensor index of x's rank, its shape apart from axis, or nested table\n@param "
     "values tensor like ids, or "
     "number\n@param axis integer =1 from 1, negative from the end\n"
     "@return tensor like x, differentiable\n@source PyTorch's scatter"},
    {"scatter_add", l_scatter_add,
     "scatter_add(x, ids, values, axis)\nA copy of x with values added at ids along axis, in index "
     "order.\n@param x tensor of any shape\n"
     "@param ids tensor index of x's rank, its shape apart from axis, or nested table\n@param "
     "values tensor like ids, or "
     "number\n@param axis integer =1 from 1, negative from the end\n"
     "@return tensor like x, differentiable\n@source PyTorch's scatter_add"},
    {"one_hot", l_one_hot,
     "one_hot(ids, classes, opts)\n1 at position ids of a new last axis, else 0.\n@param ids "
     "tensor index of any shape, or table of positions\n"
     "@param classes integer size of the new axis, >= 1\n@param opts.dtype string =\"f64\" f64, "
     "f32 or u8\n@return tensor "
     "[...,classes]"},
    {NULL, NULL, NULL}};
