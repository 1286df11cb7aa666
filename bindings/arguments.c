/* Reading arguments: numbers, axes, shapes, values of tensors, and options with the nearest name
 * when one is unknown. */
#include "state.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- plain arguments ------------------------------------------------------------------------- */

lua_Integer mll_check_integer(lua_State *L, int arg) {
  int ok;
  lua_Integer value = lua_tointegerx(L, arg, &ok);
  if (!ok || lua_type(L, arg) != LUA_TNUMBER)
    mll_type_error(L, arg, "integer");
  return value;
}

double mll_check_number(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TNUMBER)
    mll_type_error(L, arg, "number");
  return lua_tonumber(L, arg);
}

const char *mll_check_string(lua_State *L, int arg, size_t *n) {
  if (lua_type(L, arg) != LUA_TSTRING)
    mll_type_error(L, arg, "string");
  return lua_tolstring(L, arg, n);
}

const char *mll_check_path(lua_State *L, int arg) {
  size_t n;
  if (lua_type(L, arg) != LUA_TSTRING)
    mll_type_error(L, arg, "path");
  const char *path = lua_tolstring(L, arg, &n);
  if (n == 0)
    mll_arg_error(L, arg, "the path is empty");
  if (strlen(path) != n)
    mll_arg_error(L, arg, "the path \"%.200s\" holds a zero byte", path);
  return path;
}

bool mll_no_file(lua_State *L, const char *path) {
  if (access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
    return false;
  lua_pushnil(L);
  lua_pushfstring(L, "%s: no such file", path);
  return true;
}

void mll_check_table(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TTABLE)
    mll_type_error(L, arg, "table");
}

void mll_check_callable(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TFUNCTION)
    return;
  if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL)
    mll_type_error(L, arg, "function");
  lua_pop(L, 1);
}

void *mll_check_object(lua_State *L, int arg, const char *name) {
  void *object = luaL_testudata(L, arg, name);
  if (!object)
    mll_type_error(L, arg, name);
  return object;
}

ml_dtype mll_check_dtype(lua_State *L, int arg) {
  ml_dtype dtype = ML_F64;
  if (lua_type(L, arg) != LUA_TSTRING)
    mll_type_error(L, arg, "dtype (\"f64\", \"f32\", \"index\" or \"u8\")");
  if (!ml_dtype_parse(&dtype, lua_tostring(L, arg))) {
    mll_arg_error(L, arg, "dtype is \"%.60s\", wanted \"f64\", \"f32\", \"index\" or \"u8\"",
                  lua_tostring(L, arg));
  }
  return dtype;
}

int mll_axis(lua_State *L, int arg, lua_Integer axis, int rank) {
  lua_Integer k = axis < 0 ? axis + rank : axis - 1;
  if (axis == 0 || k < 0 || k >= rank) {
    if (rank == 0)
      mll_arg_error(L, arg, "axis is %lld, but a 0-d tensor has none", (long long)axis);
    mll_arg_error(L, arg, "axis is %lld, wanted 1..%d or -%d..-1", (long long)axis, rank, rank);
  }
  return (int)k;
}

int mll_check_axis(lua_State *L, int arg, int rank) {
  if (lua_type(L, arg) != LUA_TNUMBER)
    mll_type_error(L, arg, "axis");
  return mll_axis(L, arg, mll_check_integer(L, arg), rank);
}

/* Entry i of the table at arg as an integer. */
static lua_Integer table_integer(lua_State *L, int arg, lua_Integer i, const char *what) {
  int ok;
  lua_geti(L, arg, i);
  lua_Integer value = lua_tointegerx(L, -1, &ok);
  if (!ok || lua_type(L, -1) != LUA_TNUMBER) {
    char got[ML_DESCRIBE];
    mll_arg_error(L, arg, "%s %lld is %s, wanted an integer", what, (long long)i,
                  mll_describe(L, -1, got));
  }
  lua_pop(L, 1);
  return value;
}

unsigned mll_check_axes(lua_State *L, int arg, int rank) {
  if (lua_isnoneornil(L, arg))
    return 0;
  if (lua_type(L, arg) == LUA_TNUMBER)
    return 1u << mll_check_axis(L, arg, rank);
  if (lua_type(L, arg) != LUA_TTABLE)
    mll_type_error(L, arg, "axis or table of axes");
  unsigned axes = 0;
  lua_Integer n = (lua_Integer)lua_rawlen(L, arg);
  for (lua_Integer i = 1; i <= n; i++) {
    unsigned bit = 1u << mll_axis(L, arg, table_integer(L, arg, i, "axis number"), rank);
    if (axes & bit)
      mll_arg_error(L, arg, "an axis is named twice");
    axes |= bit;
  }
  return axes;
}

static void push_size(lua_State *L, int arg, ml_shape *shape, lua_Integer size, bool infer) {
  if (shape->rank == ML_MAX_RANK)
    mll_arg_error(L, arg, "a tensor has at most %d axes", ML_MAX_RANK);
  if (size < (infer ? -1 : 0)) {
    mll_arg_error(L, arg, "size %d is %lld, wanted >= 0", shape->rank + 1, (long long)size);
  }
  shape->size[shape->rank++] = size;
}

void mll_check_shape(lua_State *L, int arg, ml_shape *shape, bool infer) {
  memset(shape, 0, sizeof *shape);
  if (lua_type(L, arg) == LUA_TNUMBER) {
    push_size(L, arg, shape, mll_check_integer(L, arg), infer);
  } else if (lua_type(L, arg) == LUA_TTABLE) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, arg);
    for (lua_Integer i = 1; i <= n; i++)
      push_size(L, arg, shape, table_integer(L, arg, i, "size"), infer);
  } else {
    mll_type_error(L, arg, "shape (a number or a table of sizes)");
  }
  int open = 0;
  for (int k = 0; k < shape->rank; k++)
    open += shape->size[k] < 0;
  if (open > 1)
    mll_arg_error(L, arg, "only one size may be -1");
  if (!open && ml_shape_numel(shape) < 0) {
    char text[ML_DESCRIBE];
    mll_arg_error(L, arg, "shape %s has too many elements", ml_describe_shape(text, shape));
  }
}

ml_rng *mll_check_rng(lua_State *L, int arg) {
  ml_rng *g = luaL_testudata(L, arg, MLL_RNG);
  if (!g)
    mll_type_error(L, arg, MLL_RNG);
  return g;
}

/* ---- tensors from numbers and nested tables -------------------------------------------------- */

typedef struct {
  ml_tensor *t;
  int arg;
  int64_t at;                        /* next element */
  lua_Integer path[ML_MAX_RANK + 1]; /* where we are, for messages */
} filler;

static void path_text(char *buf, size_t size, const filler *f, int depth) {
  size_t used = 0;
  buf[0] = 0;
  for (int k = 0; k < depth && used < size; k++) {
    int n = snprintf(buf + used, size - used, "[%lld]", (long long)f->path[k]);
    if (n > 0)
      used += (size_t)n;
  }
}

MLL_RAISES static int bad_entry(lua_State *L, const filler *f, int depth, const char *wanted) {
  char path[160], got[ML_DESCRIBE];
  path_text(path, sizeof path, f, depth);
  mll_arg_error(L, f->arg, "%s%s is %s, wanted %s", depth ? "entry " : "value", path,
                mll_describe(L, -1, got), wanted);
}

static void fill_number(lua_State *L, filler *f, int depth) {
  void *data = ml_data(f->t);
  int type = lua_type(L, -1), ok = type == LUA_TNUMBER;
  switch (f->t->dtype) {
  case ML_F64:
    if (!ok)
      bad_entry(L, f, depth, "a number");
    ((double *)data)[f->at] = lua_tonumber(L, -1);
    break;
  case ML_F32:
    if (!ok)
      bad_entry(L, f, depth, "a number");
    ((float *)data)[f->at] = (float)lua_tonumber(L, -1);
    break;
  case ML_INDEX: {
    lua_Integer v = ok ? lua_tointegerx(L, -1, &ok) : 0;
    if (!ok || v < 1)
      bad_entry(L, f, depth, "an integer >= 1 (dtype index counts from 1)");
    ((int64_t *)data)[f->at] = v - 1;
    break;
  }
  default: {
    lua_Integer v = type == LUA_TBOOLEAN ? lua_toboolean(L, -1)
                    : ok                 ? lua_tointegerx(L, -1, &ok)
                                         : 0;
    if (!(ok || type == LUA_TBOOLEAN) || v < 0 || v > 255)
      bad_entry(L, f, depth, "an integer in 0..255 or a boolean");
    ((unsigned char *)data)[f->at] = (unsigned char)v;
  }
  }
  f->at++;
}

/* The value on top fills the elements under depth; it is popped by the caller. */
static void fill(lua_State *L, filler *f, int depth) {
  if (depth == f->t->rank) {
    fill_number(L, f, depth);
    return;
  }
  if (lua_type(L, -1) != LUA_TTABLE)
    bad_entry(L, f, depth, "a table, as its neighbours are");
  int64_t n = (int64_t)lua_rawlen(L, -1), want = f->t->size[depth];
  if (n != want) {
    char path[160];
    path_text(path, sizeof path, f, depth);
    mll_arg_error(L, f->arg, "row %s has %lld entries, its neighbours have %lld", path,
                  (long long)n, (long long)want);
  }
  for (int64_t i = 1; i <= n; i++) {
    f->path[depth] = i;
    lua_rawgeti(L, -1, i);
    fill(L, f, depth + 1);
    lua_pop(L, 1);
  }
}

/* A table of values has nothing beside its array part: a string key is an option in the wrong
 * place. Looking starts behind the last array entry. */
static void check_keys(lua_State *L, int idx, int arg) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
  if (n)
    lua_pushinteger(L, n);
  else
    lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= n)
      continue;
    if (lua_type(L, -1) == LUA_TSTRING)
      mll_arg_error(L, arg, "key '%s' in a table of values, wanted numbers in its array part",
                    lua_tostring(L, -1));
    mll_arg_error(L, arg, "a table of values has a key outside 1..%lld", (long long)n);
  }
}

ml_tensor *mll_push_from_lua(lua_State *L, int idx, int arg, ml_dtype dtype) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 2 * ML_MAX_RANK + 8, NULL);
  if (lua_istable(L, idx))
    check_keys(L, idx, arg);
  ml_shape shape = {0};
  lua_pushvalue(L, idx);
  while (lua_type(L, -1) == LUA_TTABLE) {
    int64_t n = (int64_t)lua_rawlen(L, -1);
    if (shape.rank == ML_MAX_RANK)
      mll_arg_error(L, arg, "tables nest deeper than %d", ML_MAX_RANK);
    shape.size[shape.rank++] = n;
    if (n == 0)
      break;
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
  }
  if (mll_test_tensor(L, -1)) {
    mll_arg_error(L, arg, "%s; ml.stack joins a list of tensors",
                  shape.rank ? "the table holds tensors, wanted numbers"
                             : "got a tensor, wanted numbers");
  }
  lua_pop(L, 1);
  filler f = {.arg = arg};
  f.t = mll_push_tensor(L, dtype, &shape);
  lua_pushvalue(L, idx);
  fill(L, &f, 0);
  lua_pop(L, 1);
  return f.t;
}

void mll_push_element(lua_State *L, const ml_tensor *t, int64_t i) {
  const void *data = ml_data(t);
  switch (t->dtype) {
  case ML_F64:
    lua_pushnumber(L, ((const double *)data)[i]);
    break;
  case ML_F32:
    lua_pushnumber(L, (double)((const float *)data)[i]);
    break;
  case ML_INDEX:
    lua_pushinteger(L, ((const int64_t *)data)[i] + 1);
    break;
  default:
    lua_pushinteger(L, ((const unsigned char *)data)[i]);
  }
}

ml_tensor *mll_check_ids(lua_State *L, int arg) {
  int type = lua_type(L, arg);
  if (type == LUA_TTABLE || type == LUA_TNUMBER) {
    ml_tensor *t = mll_push_from_lua(L, arg, arg, ML_INDEX);
    lua_replace(L, arg);
    return t;
  }
  ml_tensor *t = mll_check_tensor(L, arg);
  if (t->dtype != ML_INDEX)
    mll_type_error(L, arg, "index tensor or table of positions");
  return t;
}

/* ---- options --------------------------------------------------------------------------------- */

/* "a, b, c" into buf */
static const char *join(char *buf, size_t size, const char *const *names) {
  size_t used = 0;
  buf[0] = 0;
  for (int i = 0; names[i] && used < size; i++) {
    int n = snprintf(buf + used, size - used, "%s%s", i ? ", " : "", names[i]);
    if (n > 0)
      used += (size_t)n;
  }
  return buf;
}

static void check_opts(lua_State *L, int arg, const char *const *names, bool array) {
  if (lua_isnoneornil(L, arg))
    return;
  if (lua_type(L, arg) != LUA_TTABLE)
    mll_type_error(L, arg, "table of options");
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) {
      const char *key = lua_tostring(L, -1);
      int i = 0;
      while (names[i] && strcmp(names[i], key) != 0)
        i++;
      if (names[i])
        continue;
      const char *near = ml_nearest(key, names);
      char all[256];
      if (near)
        mll_arg_error(L, arg, "unknown option '%.60s'; did you mean '%s'?", key, near);
      if (!names[0])
        mll_arg_error(L, arg, "unknown option '%.60s'; there are none", key);
      mll_arg_error(L, arg, "unknown option '%.60s'; options are %s", key,
                    join(all, sizeof all, names));
    } else if (!(array && lua_isinteger(L, -1))) {
      char got[ML_DESCRIBE];
      mll_arg_error(L, arg, "options are name = value, got the key %s", mll_describe(L, -1, got));
    }
  }
}

void mll_check_opts(lua_State *L, int arg, const char *const *names) {
  check_opts(L, arg, names, false);
}
void mll_check_opts_array(lua_State *L, int arg, const char *const *names) {
  check_opts(L, arg, names, true);
}

/* Pushes the option, or pushes nothing and returns false when it is absent. */
static bool push_opt(lua_State *L, int arg, const char *name) {
  if (lua_type(L, arg) != LUA_TTABLE)
    return false;
  if (lua_getfield(L, arg, name) != LUA_TNIL)
    return true;
  lua_pop(L, 1);
  return false;
}

int mll_opt_error(lua_State *L, int arg, const char *name, const char *fmt, ...) {
  char message[400];
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  mll_arg_error(L, arg, "option '%s': %s", name, message);
}

/* The value on top is of the wrong kind. */
MLL_RAISES static int bad_opt(lua_State *L, int arg, const char *name, const char *wanted) {
  char got[ML_DESCRIBE];
  mll_opt_error(L, arg, name, "%s expected, got %s", wanted, mll_describe(L, -1, got));
}

bool mll_has_opt(lua_State *L, int arg, const char *name) {
  if (!push_opt(L, arg, name))
    return false;
  lua_pop(L, 1);
  return true;
}

double mll_opt_number(lua_State *L, int arg, const char *name, double otherwise) {
  if (!push_opt(L, arg, name))
    return otherwise;
  if (lua_type(L, -1) != LUA_TNUMBER)
    bad_opt(L, arg, name, "number");
  double value = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return value;
}

lua_Integer mll_opt_integer(lua_State *L, int arg, const char *name, lua_Integer otherwise) {
  if (!push_opt(L, arg, name))
    return otherwise;
  int ok;
  lua_Integer value = lua_tointegerx(L, -1, &ok);
  if (!ok || lua_type(L, -1) != LUA_TNUMBER)
    bad_opt(L, arg, name, "integer");
  lua_pop(L, 1);
  return value;
}

bool mll_opt_boolean(lua_State *L, int arg, const char *name, bool otherwise) {
  if (!push_opt(L, arg, name))
    return otherwise;
  if (lua_type(L, -1) != LUA_TBOOLEAN)
    bad_opt(L, arg, name, "boolean");
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

const char *mll_opt_string(lua_State *L, int arg, const char *name, const char *otherwise) {
  if (!push_opt(L, arg, name))
    return otherwise;
  if (lua_type(L, -1) != LUA_TSTRING)
    bad_opt(L, arg, name, "string");
  const char *value = lua_tostring(L, -1);
  lua_pop(L, 1);
  return value;
}

int mll_opt_choice(lua_State *L, int arg, const char *name, const char *const *choices,
                   int otherwise) {
  const char *word = mll_opt_string(L, arg, name, NULL);
  if (!word)
    return otherwise;
  for (int i = 0; choices[i]; i++) {
    if (strcmp(choices[i], word) == 0)
      return i;
  }
  const char *near = ml_nearest(word, choices);
  if (near)
    return mll_opt_error(L, arg, name, "unknown choice \"%.60s\"; did you mean \"%s\"?", word,
                         near);
  char all[256];
  return mll_opt_error(L, arg, name, "unknown choice \"%.60s\"; choices are %s", word,
                       join(all, sizeof all, choices));
}

ml_dtype mll_opt_dtype(lua_State *L, int arg, ml_dtype otherwise) {
  static const char *const names[] = {"f64", "f32", "index", "u8", NULL};
  return (ml_dtype)mll_opt_choice(L, arg, "dtype", names, (int)otherwise);
}

ml_tensor *mll_opt_tensor(lua_State *L, int arg, const char *name) {
  if (!push_opt(L, arg, name))
    return NULL;
  ml_tensor *t = mll_test_tensor(L, -1);
  char text[MLL_RELEASED_TEXT];
  if (!t)
    bad_opt(L, arg, name, "tensor");
  if (ml_tensor_empty(t))
    mll_opt_error(L, arg, name, "%s", mll_released_text(t, text));
  lua_pop(L, 1);
  return t;
}

ml_rng *mll_opt_rng(lua_State *L, int arg, const char *name) {
  if (!push_opt(L, arg, name))
    return NULL;
  ml_rng *g = luaL_testudata(L, -1, MLL_RNG);
  if (!g)
    bad_opt(L, arg, name, MLL_RNG);
  lua_pop(L, 1);
  return g;
}

void mll_opt_pair(lua_State *L, int arg, const char *name, int64_t pair[2], int64_t otherwise) {
  pair[0] = pair[1] = otherwise;
  if (!push_opt(L, arg, name))
    return;
  int ok = lua_isinteger(L, -1);
  if (ok) {
    pair[0] = pair[1] = lua_tointeger(L, -1);
  } else if (lua_type(L, -1) == LUA_TTABLE && lua_rawlen(L, -1) == 2) {
    ok = 1;
    for (int i = 0; i < 2 && ok; i++) {
      lua_rawgeti(L, -1, i + 1);
      pair[i] = lua_tointegerx(L, -1, &ok);
      lua_pop(L, 1);
    }
  }
  if (!ok)
    bad_opt(L, arg, name, "integer or table of two integers");
  if (pair[0] < 1 || pair[1] < 1)
    mll_opt_error(L, arg, name, "is %lld, wanted >= 1",
                  (long long)(pair[0] < 1 ? pair[0] : pair[1]));
  lua_pop(L, 1);
}
