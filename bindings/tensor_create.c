/* Making tensors: from numbers and tables, and filled by rule. */
#include "state.h"

#include <math.h>
#include <string.h>

static const char *const dtype_names[] = {"dtype", NULL};

/* ---- from Lua values ------------------------------------------------------------------------- */

/* Whether the first number inside nested tables is a boolean. */
static bool holds_booleans(lua_State *L, int idx) {
  luaL_checkstack(L, 4, NULL);
  lua_pushvalue(L, idx);
  for (int depth = 0; depth <= ML_MAX_RANK && lua_type(L, -1) == LUA_TTABLE; depth++) {
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
  }
  bool found = lua_type(L, -1) == LUA_TBOOLEAN;
  lua_pop(L, 1);
  return found;
}

static int from_value(lua_State *L, int arg, ml_dtype dtype) {
  if (!mll_test_tensor(L, arg)) {
    int type = lua_type(L, arg);
    if (type != LUA_TTABLE && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
      return mll_type_error(L, arg, "number, nested table of numbers, or tensor");
    }
    mll_push_from_lua(L, arg, arg, dtype);
    return 1;
  }
  ml_tensor *out = mll_push_empty(L), *t = mll_check_tensor(L, arg);
  ml_error err;
  ml_status status;
  if (t->dtype == dtype) {
    MLL_RUN(L, status, ml_tensor_clone(out, t, &err));
  } else {
    MLL_RUN(L, status, ml_tensor_cast_one_based(out, t, dtype, &err));
  }
  return status ? mll_raise(L, &err) : 1;
}

/* { 1, 2, dtype = "f32" }: the option in the table of values is read, and a copy of the array part
 * takes the table's place. */
static void split_options(lua_State *L, ml_dtype *dtype) {
  if (lua_type(L, 1) != LUA_TTABLE)
    return;
  lua_getfield(L, 1, "dtype");
  bool given = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (!given)
    return;
  mll_check_opts_array(L, 1, dtype_names);
  *dtype = mll_opt_dtype(L, 1, *dtype);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  lua_createtable(L, n < INT32_MAX ? (int)n : 0, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    lua_rawseti(L, -2, i);
  }
  lua_replace(L, 1);
}

static int l_tensor(lua_State *L) {
  lua_settop(L, 2);
  mll_check_opts(L, 2, dtype_names);
  const ml_tensor *t = mll_test_tensor(L, 1);
  ml_dtype natural = t ? t->dtype : holds_booleans(L, 1) ? ML_U8 : ML_F64;
  split_options(L, &natural);
  return from_value(L, 1, mll_opt_dtype(L, 2, natural));
}

static int of_dtype(lua_State *L, ml_dtype dtype) {
  lua_settop(L, 1);
  return from_value(L, 1, dtype);
}
static int l_f64(lua_State *L) { return of_dtype(L, ML_F64); }
static int l_f32(lua_State *L) { return of_dtype(L, ML_F32); }
static int l_index(lua_State *L) { return of_dtype(L, ML_INDEX); }
static int l_u8(lua_State *L) { return of_dtype(L, ML_U8); }

/* ---- filled ---------------------------------------------------------------------------------- */

/* The shape at argument 1 (a table, or one or two sizes) and the options, which stand in that table
 * or after it. Returns the position of the argument after the shape. */
static int read_shape(lua_State *L, ml_shape *shape, ml_dtype *dtype, const char *const *names,
                      bool two_sizes) {
  int next = 2;
  if (lua_type(L, 1) == LUA_TTABLE)
    mll_check_opts_array(L, 1, names);
  mll_check_shape(L, 1, shape, false);
  if (two_sizes && lua_type(L, 1) == LUA_TNUMBER && lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer n = mll_check_integer(L, 2);
    if (n < 0)
      mll_arg_error(L, 2, "size 2 is %lld, wanted >= 0", (long long)n);
    shape->size[shape->rank++] = n;
    next = 3;
    if (lua_type(L, 3) == LUA_TNUMBER)
      mll_arg_error(L, 3, "three or more sizes go in a table: { 2, 3, 4 }");
  }
  *dtype = mll_opt_dtype(L, 1, *dtype);
  return next;
}

static void read_options(lua_State *L, int arg, ml_dtype *dtype, const char *const *names) {
  mll_check_opts(L, arg, names);
  *dtype = mll_opt_dtype(L, arg, *dtype);
}

/* Fills with the number at idx (1-based for index). */
static int fill_from(lua_State *L, ml_tensor *t, int idx) {
  if (lua_type(L, idx) == LUA_TBOOLEAN && t->dtype == ML_U8) {
    lua_pushinteger(L, lua_toboolean(L, idx));
    lua_replace(L, idx);
  }
  double value = mll_check_number(L, idx);
  ml_error err;
  if (t->dtype == ML_INDEX && !(value >= 1 && value == floor(value))) {
    return mll_arg_error(
        L, idx, "value is %.17g, wanted a whole number >= 1 (dtype index counts from 1)", value);
  }
  ml_status status = ml_tensor_fill_into(t, t->dtype == ML_INDEX ? value - 1 : value, &err);
  if (status) {
    err.arg = idx;
    return mll_raise(L, &err);
  }
  return 1;
}

static int filled(lua_State *L, double value) {
  ml_shape shape;
  ml_dtype dtype = ML_F64;
  int next = read_shape(L, &shape, &dtype, dtype_names, true);
  read_options(L, next, &dtype, dtype_names);
  ml_tensor *t = mll_push_tensor(L, dtype, &shape);
  if (dtype == ML_INDEX && value < 1)
    return mll_arg_error(L, 1,
                         "dtype index counts from 1 and holds no 0; ml.ones makes its least value");
  lua_pushnumber(L, value);
  fill_from(L, t, lua_gettop(L));
  lua_pop(L, 1);
  return 1;
}
static int l_zeros(lua_State *L) { return filled(L, 0); }
static int l_ones(lua_State *L) { return filled(L, 1); }

static int l_full(lua_State *L) {
  static const char *const names[] = {"dtype", "value", NULL};
  ml_shape shape;
  ml_dtype dtype = ML_F64;
  if (mll_has_opt(L, 1, "value")) {
    lua_settop(L, 2);
    lua_getfield(L, 1, "value");
    lua_insert(L, 2);
  }
  lua_settop(L, 3);
  read_shape(L, &shape, &dtype, names, false);
  read_options(L, 3, &dtype, dtype_names);
  mll_push_tensor(L, dtype, &shape);
  fill_from(L, mll_check_tensor(L, 4), 2);
  return 1;
}

static int like(lua_State *L, int value_arg, double value) {
  int opts = value_arg ? 3 : 2;
  lua_settop(L, opts);
  ml_dtype dtype = mll_check_tensor(L, 1)->dtype;
  read_options(L, opts, &dtype, dtype_names);
  ml_shape shape = ml_shape_of(mll_check_tensor(L, 1));
  ml_tensor *t = mll_push_tensor(L, dtype, &shape);
  if (!value_arg) {
    if (dtype == ML_INDEX && value < 1)
      return mll_arg_error(
          L, 1, "dtype index counts from 1 and holds no 0; ml.ones makes its least value");
    lua_pushnumber(L, value);
    fill_from(L, t, lua_gettop(L));
    lua_pop(L, 1);
  } else {
    fill_from(L, t, value_arg);
  }
  return 1;
}
static int l_zeros_like(lua_State *L) { return like(L, 0, 0); }
static int l_ones_like(lua_State *L) { return like(L, 0, 1); }
static int l_full_like(lua_State *L) { return like(L, 2, 0); }

static int l_eye(lua_State *L) {
  ml_shape shape;
  ml_dtype dtype = ML_F64;
  int next = read_shape(L, &shape, &dtype, dtype_names, true);
  read_options(L, next, &dtype, dtype_names);
  if (shape.rank < 1 || shape.rank > 2)
    return mll_arg_error(L, 1, "wanted one or two sizes, got %d", shape.rank);
  if (!ml_is_real(dtype) && dtype != ML_U8)
    return mll_arg_error(L, 1, "dtype is %s, wanted f64, f32 or u8", ml_dtype_name(dtype));
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_eye(out, dtype, shape.size[0], shape.size[shape.rank - 1], &err));
  return status ? mll_raise(L, &err) : 1;
}

/* arange(stop) arange(start, stop, opts): both ends included. */
static int l_arange(lua_State *L) {
  static const char *const names[] = {"step", "dtype", NULL};
  int opts = lua_type(L, 2) == LUA_TNUMBER ? 3 : 2;
  double start = opts == 3 ? mll_check_number(L, 1) : 1, stop = mll_check_number(L, opts - 1),
         step = 1;
  if (lua_type(L, opts) == LUA_TNUMBER) {
    step = mll_check_number(L, opts++);
  }
  mll_check_opts(L, opts, names);
  step = mll_opt_number(L, opts, "step", step);
  ml_dtype dtype = mll_opt_dtype(L, opts, ML_F64);
  if (!isfinite(start) || !isfinite(stop))
    return mll_arg_error(L, opts - 1, "the range %g..%g is not finite", start, stop);
  if (!(isfinite(step) && step != 0))
    return mll_arg_error(L, opts, "step is %g, wanted a finite number other than 0", step);
  double count = floor((stop - start) / step * (1 + 4e-16) + 1e-9) + 1;
  if (!(count < 9e15))
    return mll_arg_error(L, opts - 1, "the range has %g elements", count);
  int64_t n = count > 0 ? (int64_t)count : 0;
  if (dtype == ML_INDEX) {
    double last = start + step * (double)(n - 1);
    if (start != floor(start) || step != floor(step) || (n > 0 && (start < 1 || last < 1))) {
      return mll_arg_error(L, 1, "an index range holds whole numbers >= 1, got %g..%g by %g", start,
                           stop, step);
    }
    start -= 1;
  }
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_arange(out, dtype, start, step, n, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int l_linspace(lua_State *L) {
  static const char *const names[] = {"n", "dtype", NULL};
  double start = mll_check_number(L, 1), stop = mll_check_number(L, 2);
  int opts = lua_type(L, 3) == LUA_TNUMBER ? 4 : 3;
  lua_Integer n = opts == 4 ? mll_check_integer(L, 3) : 50;
  mll_check_opts(L, opts, names);
  n = mll_opt_integer(L, opts, "n", n);
  ml_dtype dtype = mll_opt_dtype(L, opts, ML_F64);
  if (n < 0)
    return mll_arg_error(L, 3, "n is %lld, wanted >= 0", (long long)n);
  if (!ml_is_real(dtype))
    return mll_arg_error(L, opts, "dtype is %s, wanted f64 or f32", ml_dtype_name(dtype));
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_linspace(out, dtype, start, stop, n, &err));
  return status ? mll_raise(L, &err) : 1;
}

#define FROM_VALUE(name, what)                                                                     \
#name "(values)\nA tensor of dtype " #name ": " what                                             \
        ".\n@param values number, nested table of numbers, or tensor (converted, always a copy)\n" \
        "@return tensor of the shape of the values"
#define FILLED(name, what)                                                                         \
#name                                                                                            \
      "(shape, opts) " #name "(rows, columns, opts)\nA tensor filled with " what                   \
      ".\n@param shape integer or table of sizes, or two integers; "                               \
      "options may stand in the table\n@param opts.dtype string =\"f64\" f64, f32, index or u8\n"  \
      "@return tensor of that shape"

const mll_fn mll_tensor_create[] = {
    {"tensor", l_tensor,
     "tensor(values, opts)\nA tensor of the numbers in nested tables; a number gives a 0-d tensor, "
     "booleans give u8.\n"
     "@param values number, nested table (rows of equal length), or tensor (copied, off the tape)\n"
     "@param opts.dtype string =\"f64\" f64, f32, index or u8\n@return tensor of the shape of the "
     "values\n"
     "Raises naming the entry that is no number, does not fit the dtype, or breaks the shape."},
    {"f64", l_f64, FROM_VALUE(f64, "double precision")},
    {"f32", l_f32, FROM_VALUE(f32, "single precision")},
    {"index", l_index, FROM_VALUE(index, "positions, whole numbers from 1")},
    {"u8", l_u8, FROM_VALUE(u8, "whole numbers 0..255 or booleans")},
    {"zeros", l_zeros, FILLED(zeros, "0 (position 1 for dtype index)")},
    {"ones", l_ones, FILLED(ones, "1")},
    {"full", l_full,
     "full(shape, value, opts)\nA tensor filled with value.\n@param shape integer or table of "
     "sizes; options, value among them, may stand in the table\n@param value number of every "
     "entry\n@param "
     "opts.dtype string =\"f64\"\n@return tensor of that shape"},
    {"zeros_like", l_zeros_like,
     "zeros_like(t, opts)\nZeros of t's shape and dtype.\n@param t tensor of any shape\n@param "
     "opts.dtype string =t's\n@return tensor of t's shape"},
    {"ones_like", l_ones_like,
     "ones_like(t, opts)\nOnes of t's shape and dtype.\n@param t tensor of any shape\n@param "
     "opts.dtype string =t's\n@return tensor of t's shape"},
    {"full_like", l_full_like,
     "full_like(t, value, opts)\nA tensor of t's shape and dtype filled with value.\n@param t "
     "tensor of any shape\n@param value number of every entry\n"
     "@param opts.dtype string =t's\n@return tensor of t's shape"},
    {"eye", l_eye,
     "eye(n, opts) eye(rows, columns, opts)\nOnes on the diagonal, zeros elsewhere.\n@param n "
     "integer rows, >= 0\n"
     "@param opts.dtype string =\"f64\" f64, f32 or u8\n@return tensor [rows,columns]"},
    {"arange", l_arange,
     "arange(stop, opts) arange(start, stop, opts)\nstart, start + step, ... up to stop, both ends "
     "included: arange(3) is 1 2 3.\n"
     "@param start number =1 first value\n@param stop number last value\n@param opts.step number "
     "=1 not 0\n"
     "@param opts.dtype string =\"f64\"\n@return tensor [n]; empty when stop lies before start"},
    {"linspace", l_linspace,
     "linspace(start, stop, opts)\nn equally spaced numbers, both ends included.\n@param start "
     "number first value\n@param stop number last value\n"
     "@param opts.n integer =50 (or the third argument)\n@param opts.dtype string =\"f64\" f64 or "
     "f32\n@return tensor [n]"},
    {NULL, NULL, NULL}};
