/* t[k] and t[{ ... }]: selection and assignment, and the operations in place. */
#include "state.h"

#include <math.h>
#include <string.h>

/* ---- reading a selection --------------------------------------------------------------------- */

/* Position k (from 1, negative from the end) on an axis of n entries -> from 0. */
static int64_t position(lua_State *L, lua_Integer k, int64_t n, int axis) {
  int64_t at = k < 0 ? k + n : k - 1;
  if (k == 0 || at < 0 || at >= n) {
    if (n == 0)
      mll_arg_error(L, 2, "position is %lld on axis %d, which is empty", (long long)k, axis + 1);
    mll_arg_error(L, 2, "position is %lld on axis %d, wanted 1..%lld or -%lld..-1", (long long)k,
                  axis + 1, (long long)n, (long long)n);
  }
  return at;
}

static lua_Integer range_number(lua_State *L, int axis, int i) {
  int ok;
  lua_rawgeti(L, -1, i);
  lua_Integer value = lua_tointegerx(L, -1, &ok);
  if (!ok || lua_type(L, -1) != LUA_TNUMBER) {
    char got[ML_DESCRIBE];
    mll_arg_error(L, 2, "the range of axis %d holds %s, wanted integers", axis + 1,
                  mll_describe(L, -1, got));
  }
  lua_pop(L, 1);
  return value;
}

/* The entry of axis `axis` is on top. */
static ml_slice read_entry(lua_State *L, int axis, int64_t n) {
  ml_slice s = {0, n, 1, false};
  if (lua_type(L, -1) == LUA_TNUMBER) {
    int ok;
    lua_Integer k = lua_tointegerx(L, -1, &ok);
    if (!ok)
      mll_arg_error(L, 2, "position is %.17g on axis %d, wanted an integer", lua_tonumber(L, -1),
                    axis + 1);
    s = (ml_slice){position(L, k, n, axis), 1, 1, true};
  } else if (lua_type(L, -1) == LUA_TTABLE) {
    size_t m = lua_rawlen(L, -1);
    if (m == 0)
      return s;
    if (m == 1 || m > 3)
      mll_arg_error(
          L, 2, "the range of axis %d has %d entries, wanted {first, last} or {first, last, step}",
          axis + 1, (int)m);
    s.step = m == 3 ? range_number(L, axis, 3) : 1;
    if (s.step == 0)
      mll_arg_error(L, 2, "the range of axis %d has step 0", axis + 1);
    s.start = position(L, range_number(L, axis, 1), n, axis);
    int64_t last = position(L, range_number(L, axis, 2), n, axis);
    int64_t span = s.step > 0 ? last - s.start : s.start - last;
    uint64_t stride = s.step > 0 ? (uint64_t)s.step : (uint64_t)0 - (uint64_t)s.step;
    s.count = span < 0 ? 0 : (int64_t)((uint64_t)span / stride) + 1;
  } else {
    char got[ML_DESCRIBE];
    mll_arg_error(
        L, 2,
        "the entry of axis %d is %s, wanted a number, {first, last}, {first, last, step} or {}",
        axis + 1, mll_describe(L, -1, got));
  }
  return s;
}

/* Argument 2 selects of t: fills slices, returns how many. -1: the number one past the end. */
static int read_selection(lua_State *L, const ml_tensor *t, ml_slice *slices) {
  if (lua_type(L, 2) == LUA_TNUMBER) {
    int ok;
    lua_Integer k = lua_tointegerx(L, 2, &ok);
    if (t->rank == 0)
      mll_arg_error(L, 2, "a 0-d tensor has no axis to select on; t:item() is its number");
    if (!ok)
      mll_arg_error(L, 2, "position is %.17g, wanted an integer", lua_tonumber(L, 2));
    if (k == t->size[0] + 1)
      return -1;
    slices[0] = (ml_slice){position(L, k, t->size[0], 0), 1, 1, true};
    return 1;
  }
  if (lua_type(L, 2) != LUA_TTABLE) {
    if (mll_test_tensor(L, 2))
      mll_arg_error(L, 2, "a tensor selects by t:index_select(ids, axis), t:gather or ml.where");
    mll_type_error(L, 2, "position, or table with one entry per leading axis");
  }
  int64_t n = (int64_t)lua_rawlen(L, 2);
  if (n > t->rank) {
    char got[ML_DESCRIBE];
    mll_arg_error(L, 2, "the selection has %lld entries, the tensor %s has %d axes", (long long)n,
                  ml_describe(got, t), t->rank);
  }
  for (int axis = 0; axis < (int)n; axis++) {
    lua_rawgeti(L, 2, axis + 1);
    slices[axis] = read_entry(L, axis, t->size[axis]);
    lua_pop(L, 1);
  }
  return (int)n;
}

int mll_tensor_index(lua_State *L) {
  int type = lua_type(L, 2);
  if (type == LUA_TSTRING) {
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
  }
  ml_slice slices[ML_MAX_RANK];
  const ml_tensor *t = mll_check_tensor(L, 1);
  int n = read_selection(L, t, slices);
  if (n < 0) {
    lua_pushnil(L);
    return 1;
  }
  if (type == LUA_TNUMBER && t->rank == 1) {
    if (ml_on_tape(t)) {
      return mll_arg_error(L, 2,
                           "t[k] of a tensor on the tape would lose its gradient; t[{k}] is a 0-d "
                           "tensor, t:detach()[k] a number");
    }
    mll_push_element(L, t, slices[0].start * t->stride[0]);
    return 1;
  }
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  t = mll_check_tensor(L, 1);
  MLL_RUN(L, status, ml_slice_view(out, t, slices, n, &err));
  if (status) {
    err.arg = 0;
    return mll_raise(L, &err);
  }
  return 1;
}

/* ---- change in place ------------------------------------------------------------------------- */

void mll_check_change(lua_State *L, ml_tensor *t, const ml_tensor *src, int src_arg) {
  ml_error err;
  if (ml_check_in_place(t, 1, &err))
    mll_raise(L, &err);
  for (int k = 0; k < t->rank; k++) {
    char got[ML_DESCRIBE];
    if (t->stride[k] == 0 && t->size[k] > 1)
      mll_arg_error(L, 1, "%s is a broadcast view, whose elements share memory; clone it first",
                    ml_describe(got, t));
  }
  if (src && ml_on_tape(src) && ml_grad_enabled()) {
    mll_arg_error(
        L, src_arg,
        "values on the tape cannot be written in place: their gradient would be lost; use "
        "ml.where, ml.concat or t:scatter, or detach them");
  }
}

static double stored_number(lua_State *L, const ml_tensor *t, int arg) {
  if (lua_type(L, arg) == LUA_TBOOLEAN && t->dtype == ML_U8)
    return lua_toboolean(L, arg);
  double value = mll_check_number(L, arg);
  if (t->dtype != ML_INDEX)
    return value;
  if (!(value >= 1 && value == floor(value))) {
    mll_arg_error(L, arg, "value is %.17g, wanted a whole number >= 1 (dtype index counts from 1)",
                  value);
  }
  return value - 1;
}

/* Writes argument `arg` (a number, tensor or nested table) to the part of t at 1 given by slices
 * (all of it when n < 0). */
static void write_values(lua_State *L, const ml_slice *slices, int n, int arg) {
  if (lua_type(L, arg) == LUA_TTABLE) {
    mll_push_from_lua(L, arg, arg, mll_check_tensor(L, 1)->dtype);
    lua_replace(L, arg);
  }
  ml_tensor *t = mll_check_tensor(L, 1), *src = mll_test_tensor(L, arg);
  ml_tensor part = {0};
  ml_error err;
  ml_status status = ML_OK;
  double value = 0;
  if (src)
    mll_check_tensor(L, arg);
  else
    value = stored_number(L, t, arg);
  mll_check_change(L, t, src, arg);
  if (n < 0)
    ml_tensor_detach(&part, t);
  else
    status = ml_view_slice(&part, t, slices, n, &err);
  if (!status)
    status = src ? ml_tensor_copy_into(&part, src, &err) : ml_tensor_fill_into(&part, value, &err);
  ml_tensor_clear(&part);
  if (status) {
    err.arg = err.arg ? arg : 0;
    mll_raise(L, &err);
  }
}

int mll_tensor_newindex(lua_State *L) {
  ml_slice slices[ML_MAX_RANK];
  lua_settop(L, 3);
  const ml_tensor *t = mll_check_tensor(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING)
    return mll_arg_error(L, 2, "a tensor has no field '%.60s'", lua_tostring(L, 2));
  int n = read_selection(L, t, slices);
  if (n < 0) {
    return mll_arg_error(L, 2, "position is %lld, but the first axis has %lld entries",
                         (long long)t->size[0] + 1, (long long)t->size[0]);
  }
  write_values(L, slices, n, 3);
  return 0;
}

static int l_copy(lua_State *L) {
  lua_settop(L, 2);
  write_values(L, NULL, -1, 2);
  lua_settop(L, 1);
  return 1;
}

static int l_fill(lua_State *L) {
  lua_settop(L, 2);
  mll_check_tensor(L, 1);
  if (lua_type(L, 2) != LUA_TNUMBER && lua_type(L, 2) != LUA_TBOOLEAN)
    mll_type_error(L, 2, "number");
  write_values(L, NULL, -1, 2);
  lua_settop(L, 1);
  return 1;
}

static int l_zero(lua_State *L) {
  lua_settop(L, 1);
  ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  mll_check_change(L, t, NULL, 0);
  return ml_tensor_fill_into(t, 0, &err) ? mll_raise(L, &err) : 1;
}

static int update(lua_State *L, ml_binary_op op) {
  static const char *const names[] = {"alpha", NULL};
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  bool scaled = mll_has_opt(L, 3, "alpha");
  double alpha = mll_opt_number(L, 3, "alpha", 1);
  if (scaled && op != ML_ADD && op != ML_SUB)
    return mll_opt_error(L, 3, "alpha", "only add_ and sub_ take it");
  ml_tensor *t = mll_check_tensor(L, 1), *src = mll_test_tensor(L, 2);
  if (src)
    mll_check_tensor(L, 2);
  double value = src ? 0 : mll_check_number(L, 2);
  mll_check_change(L, t, src, 2);
  if (!ml_is_real(t->dtype))
    return mll_type_error(L, 1, "f32 or f64 tensor");
  ml_error err;
  ml_status status;
  if (!src) {
    status = ml_tensor_binary_number_into(t, op, scaled ? alpha * value : value, &err);
  } else if (scaled) {
    ml_tensor wide = {0};
    ml_shape shape = ml_shape_of(t);
    status = ml_view_broadcast(&wide, src, &shape, &err);
    if (!status)
      status = ml_tensor_axpy_into(t, op == ML_SUB ? -alpha : alpha, &wide, &err);
    ml_tensor_clear(&wide);
  } else {
    status = ml_tensor_binary_into(t, op, src, &err);
  }
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 1);
  return 1;
}
static int l_add_into(lua_State *L) { return update(L, ML_ADD); }
static int l_sub_into(lua_State *L) { return update(L, ML_SUB); }
static int l_mul_into(lua_State *L) { return update(L, ML_MUL); }
static int l_div_into(lua_State *L) { return update(L, ML_DIV); }

#define INTO(name, what, more)                                                                     \
  "t:" name "(u, opts)\n" what                                                                     \
  " in place. Parameters change only inside ml.no_grad, results on the tape never.\n"              \
  "@param u tensor of t's dtype, its shape broadcast to t's, or number\n" more "@return t"
#define ALPHA "@param opts.alpha number =1 multiplies u\n"

const mll_fn mll_tensor_into_methods[] = {
    {"copy_", l_copy,
     "t:copy_(values)\nSets the values of t, which keeps its storage. Parameters change only "
     "inside ml.no_grad.\n"
     "@param values tensor of t's dtype, its shape broadcast to t's; nested table; or "
     "number\n@return t"},
    {"fill_", l_fill,
     "t:fill_(value)\nSets every element.\n@param value number (from 1 for dtype index)\n@return "
     "t"},
    {"zero_", l_zero,
     "t:zero_()\nSets every element to 0 (position 1 for dtype index).\n@return t"},
    {"add_", l_add_into, INTO("add_", "Adds u", ALPHA)},
    {"sub_", l_sub_into, INTO("sub_", "Subtracts u", ALPHA)},
    {"mul_", l_mul_into, INTO("mul_", "Multiplies by u", "")},
    {"div_", l_div_into, INTO("div_", "Divides by u", "")},
    {NULL, NULL, NULL}};
