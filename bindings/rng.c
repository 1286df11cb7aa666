/* Random streams: ml.rng and its draws. */
#include "state.h"

#include <math.h>
#include <string.h>

static ml_rng *push_rng(lua_State *L, ml_rng g) {
  ml_rng *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = g;
  luaL_setmetatable(L, MLL_RNG);
  return box;
}

static int l_rng(lua_State *L) {
  push_rng(L, ml_rng_seed((uint64_t)mll_check_integer(L, 1)));
  return 1;
}

/* The output of a draw: the shape stands at arg (nil: one number), options in it or after it.
 * Pushes the tensor. */
static ml_tensor *push_output(lua_State *L, int arg, const char *const *names, ml_dtype dtype) {
  ml_shape shape = {0};
  lua_settop(L, arg + 1);
  if (lua_type(L, arg) == LUA_TTABLE) {
    mll_check_opts_array(L, arg, names);
    dtype = mll_opt_dtype(L, arg, dtype);
  }
  if (!lua_isnil(L, arg))
    mll_check_shape(L, arg, &shape, false);
  mll_check_opts(L, arg + 1, names);
  dtype = mll_opt_dtype(L, arg + 1, dtype);
  return mll_push_tensor(L, dtype, &shape);
}

/* Option from the table after the shape, or from the shape's own table. */
static double draw_option(lua_State *L, int arg, const char *name, double otherwise) {
  return mll_opt_number(L, arg + 1, name, mll_opt_number(L, arg, name, otherwise));
}

static ml_tensor *push_real_output(lua_State *L, const char *const *names) {
  ml_tensor *out = push_output(L, 2, names, ML_F64);
  if (!ml_is_real(out->dtype))
    mll_arg_error(L, 3, "dtype is %s, wanted f64 or f32", ml_dtype_name(out->dtype));
  return out;
}

/* The tensor on top, or its number when no shape was asked for. */
static int give(lua_State *L, int arg) {
  if (lua_isnil(L, arg))
    mll_push_element(L, mll_check_tensor(L, -1), 0);
  return 1;
}

typedef enum { UNIFORM, NORMAL, TRUNCATED, INTEGERS } draw_kind;

/* Fills out piece by piece, in whole blocks, so that the numbers are those of one draw; a press of
 * Ctrl-C between pieces raises and leaves the generator as it was. lo and hi: of INTEGERS. */
static void draw(lua_State *L, const ml_tensor *out, draw_kind kind, double a, double b, int64_t lo,
                 int64_t hi) {
  enum { PIECE = 1 << 20 };
  ml_rng *g = mll_check_rng(L, 1), at = *g;
  for (int64_t first = 0, all = ml_numel(out); first < all; first += PIECE) {
    int64_t n = all - first < PIECE ? all - first : PIECE;
    bool wide = out->dtype == ML_F64;
    double *x = wide ? ML_DATA(double, out) + first : NULL;
    float *y = wide ? NULL : ML_DATA(float, out) + first;
    ml_error err;
    if (first > 0 && ml_cancelled()) {
      ml_error_set(&err, ML_ECANCELLED, 0, "interrupted");
      mll_raise(L, &err);
    }
    switch (kind) {
    case UNIFORM:
      wide ? ml_rng_uniform_f64(&at, x, n, a, b) : ml_rng_uniform_f32(&at, y, n, a, b);
      break;
    case NORMAL:
      wide ? ml_rng_normal_f64(&at, x, n, a, b) : ml_rng_normal_f32(&at, y, n, a, b);
      break;
    case TRUNCATED:
      wide ? ml_rng_truncated_normal_f64(&at, x, n, b) : ml_rng_truncated_normal_f32(&at, y, n, b);
      break;
    default:
      ml_rng_integers(&at, ML_DATA(int64_t, out) + first, n, lo, hi);
    }
  }
  *g = at;
}

static int l_normal(lua_State *L) {
  static const char *const names[] = {"mean", "std", "dtype", NULL};
  mll_check_rng(L, 1);
  ml_tensor *out = push_real_output(L, names);
  double mean = draw_option(L, 2, "mean", 0), std = draw_option(L, 2, "std", 1);
  if (!(std >= 0 && isfinite(std)))
    return mll_arg_error(L, 3, "std is %g, wanted >= 0", std);
  draw(L, out, NORMAL, mean, std, 0, 0);
  return give(L, 2);
}

static int l_truncated_normal(lua_State *L) {
  static const char *const names[] = {"std", "dtype", NULL};
  mll_check_rng(L, 1);
  ml_tensor *out = push_real_output(L, names);
  double std = draw_option(L, 2, "std", 1);
  if (!(std >= 0 && isfinite(std)))
    return mll_arg_error(L, 3, "std is %g, wanted >= 0", std);
  draw(L, out, TRUNCATED, 0, std, 0, 0);
  return give(L, 2);
}

static int l_uniform(lua_State *L) {
  static const char *const names[] = {"lo", "hi", "dtype", NULL};
  mll_check_rng(L, 1);
  ml_tensor *out = push_real_output(L, names);
  double lo = draw_option(L, 2, "lo", 0), hi = draw_option(L, 2, "hi", 1);
  if (!(lo <= hi && isfinite(hi - lo)))
    return mll_arg_error(L, 3, "the bounds are %g and %g, wanted lo <= hi", lo, hi);
  draw(L, out, UNIFORM, lo, hi, 0, 0);
  return give(L, 2);
}

static int l_integers(lua_State *L) {
  static const char *const names[] = {"dtype", NULL};
  mll_check_rng(L, 1);
  lua_Integer lo = mll_check_integer(L, 2), hi = mll_check_integer(L, 3);
  if (lo > hi)
    return mll_arg_error(L, 3, "the range is %lld..%lld, wanted lo <= hi", (long long)lo,
                         (long long)hi);
  ml_tensor *out = push_output(L, 4, names, lo >= 1 ? ML_INDEX : ML_F64);
  ml_dtype dtype = out->dtype;
  if (dtype == ML_INDEX && lo < 1) {
    return mll_arg_error(
        L, 2, "lo is %lld, but dtype index counts from 1; pass { dtype = \"f64\" }", (long long)lo);
  }
  if (dtype == ML_U8 && (lo < 0 || hi > 255)) {
    return mll_arg_error(L, 2, "the range %lld..%lld does not fit u8, 0..255", (long long)lo,
                         (long long)hi);
  }
  if (lua_isnil(L, 4)) { /* one number */
    int64_t value;
    ml_rng_integers(mll_check_rng(L, 1), &value, 1, lo, hi);
    lua_pushinteger(L, value);
    return 1;
  }
  if (dtype == ML_INDEX) {
    draw(L, out, INTEGERS, 0, 0, lo - 1, hi - 1);
    return 1;
  }
  ml_shape shape = ml_shape_of(out);
  ml_tensor *whole = mll_push_tensor(L, ML_INDEX, &shape), *given = mll_push_empty(L);
  draw(L, whole, INTEGERS, 0, 0, lo, hi);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_cast(given, whole, dtype, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int l_permutation(lua_State *L) {
  mll_check_rng(L, 1);
  lua_Integer n = mll_check_integer(L, 2);
  if (n < 0)
    return mll_arg_error(L, 2, "n is %lld, wanted >= 0", (long long)n);
  lua_settop(L, 2);
  ml_shape shape = ml_shape_make(1, (int64_t)n);
  ml_tensor *out = mll_push_tensor(L, ML_INDEX, &shape);
  ml_error err;
  ml_status status = ml_rng_permutation(mll_check_rng(L, 1), ML_DATA(int64_t, out), n, &err);
  return status ? mll_raise(L, &err) : 1;
}

static int l_state(lua_State *L) {
  ml_rng g = *mll_check_rng(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, (lua_Integer)g.key);
  lua_setfield(L, -2, "key");
  lua_pushinteger(L, (lua_Integer)g.counter);
  lua_setfield(L, -2, "counter");
  return 1;
}

static int l_load_state(lua_State *L) {
  static const char *const names[] = {"key", "counter", NULL};
  ml_rng *g = mll_check_rng(L, 1);
  if (lua_type(L, 2) != LUA_TTABLE)
    return mll_type_error(L, 2, "table { key =, counter = }");
  mll_check_opts(L, 2, names);
  if (!mll_has_opt(L, 2, "key") || !mll_has_opt(L, 2, "counter")) {
    return mll_arg_error(L, 2, "the state lacks key or counter");
  }
  ml_rng loaded = {.key = (uint64_t)mll_opt_integer(L, 2, "key", 0),
                   .counter = (uint64_t)mll_opt_integer(L, 2, "counter", 0)};
  *g = loaded;
  lua_settop(L, 1);
  return 1;
}

static int l_fold(lua_State *L) {
  const ml_rng *g = mll_check_rng(L, 1);
  size_t length = 0;
  const char *name = "";
  int number = 2;
  if (lua_type(L, 2) == LUA_TSTRING) {
    name = lua_tolstring(L, 2, &length);
    number = 3;
  }
  lua_Integer i = number == 3 && lua_isnoneornil(L, 3) ? 0 : mll_check_integer(L, number);
  push_rng(L, ml_rng_fold(g, name, length, i));
  return 1;
}

static int l_clone(lua_State *L) {
  push_rng(L, *mll_check_rng(L, 1));
  return 1;
}

static int rng_tostring(lua_State *L) {
  const ml_rng *g = mll_check_rng(L, 1);
  lua_pushfstring(L, "ml.rng (key %I, counter %I)", (lua_Integer)g->key, (lua_Integer)g->counter);
  return 1;
}

#define SHAPE                                                                                      \
  "@param shape integer or table of sizes; options may stand in the table; absent: one Lua "       \
  "number\n"

static const mll_fn methods[] = {
    {"normal", l_normal,
     "g:normal(shape, opts)\nDraws from the normal distribution and advances g.\n" SHAPE
     "@param opts.mean number =0 of the distribution\n"
     "@param opts.std number =1 standard deviation, >= 0\n@param opts.dtype string =\"f64\" f64 or "
     "f32\n@return tensor of "
     "that shape\n"
     "@source Box & Muller 1958 on Philox4x32-10 (Salmon et al. 2011)"},
    {"truncated_normal", l_truncated_normal,
     "g:truncated_normal(shape, opts)\nDraws from the normal distribution cut at two standard "
     "deviations, scaled so that the result has the standard deviation asked for; advances "
     "g.\n" SHAPE
     "@param opts.std number =1 standard deviation, >= 0\n@param opts.dtype string =\"f64\" f64 or "
     "f32\n@return tensor of that shape\n"
     "@source Philox4x32-10 (Salmon et al. 2011)"},
    {"uniform", l_uniform,
     "g:uniform(shape, opts)\nDraws uniformly from [lo, hi) and advances g.\n" SHAPE
     "@param opts.lo number =0 lower end\n@param opts.hi number =1 upper end, itself left "
     "out\n@param opts.dtype string =\"f64\" f64 "
     "(53 bits) or f32 (24 bits)\n"
     "@return tensor of that shape\n@source Philox4x32-10 (Salmon et al. 2011)"},
    {"integers", l_integers,
     "g:integers(lo, hi, shape, opts)\nDraws whole numbers lo..hi, both ends included, without "
     "bias; advances g.\n"
     "@param lo integer least, itself included\n@param hi integer largest, itself included\n" SHAPE
     "@param opts.dtype string =\"index\" when lo >= 1, else \"f64\"; also f32, u8\n@return tensor "
     "of that shape\n"
     "@source Philox4x32-10 (Salmon et al. 2011)"},
    {"permutation", l_permutation,
     "g:permutation(n)\nA random order of 1..n; advances g.\n@param n integer how many, >= "
     "0\n@return tensor "
     "index [n]\n"
     "@source Fisher & Yates 1938"},
    {"state", l_state,
     "g:state()\nWhere the stream stands, for load_state; survives JSON.\n@return table { key = "
     "integer, counter = integer }"},
    {"load_state", l_load_state,
     "g:load_state(state)\nPuts the stream where state() found it.\n@param state table { key =, "
     "counter = }\n@return rng g"},
    {"fold", l_fold,
     "g:fold(name, i)\nAn independent stream that depends on g's seed, the name and i, never on "
     "what was drawn.\n"
     "@param name string =\"\"\n@param i integer =0 number of the stream under that name\n@return "
     "rng"},
    {"clone", l_clone, "g:clone()\nA copy that draws the same numbers from here on.\n@return rng"},
    {NULL, NULL, NULL}};

static const mll_fn meta[] = {{"__tostring", rng_tostring, NULL}, {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"rng", l_rng,
     "rng(seed)\nA stream of random numbers: the same seed gives the same numbers on every machine "
     "and any number of threads.\n"
     "@param seed integer of 64 bits\n@return rng with the methods normal, uniform, integers, "
     "permutation, "
     "truncated_normal, state,\n"
     "load_state, fold, clone\n@source Philox4x32-10, Salmon et al. 2011; in NumPy: "
     "tests/golden/philox.py"},
    {NULL, NULL, NULL}};

void mll_open_rng(lua_State *L) {
  mll_class(L, MLL_RNG, methods, meta);
  lua_pop(L, 1);
  mll_register(L, functions);
}
