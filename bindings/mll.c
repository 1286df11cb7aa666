/* The helpers of the bindings: the state, registration, errors, handles. */
#include "interrupt.h"
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GC_FLOOR (256u << 20)

const char mll_magic = 0;
static const char state_key = 0, help_key = 0, trace_key = 0;
static mll_state *cached_state; /* of cached_main, so that the common case costs one comparison */
static lua_State *cached_main;

/* ---- state ----------------------------------------------------------------------------------- */

static int state_gc(lua_State *L) {
  mll_state *s = lua_touserdata(L, 1);
  if (cached_state == s) {
    cached_state = NULL;
    cached_main = NULL;
  }
  return 0;
}

static void new_weak_keyed(lua_State *L, const void *key) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

static mll_state *state_new(lua_State *L) {
  mll_state *s = lua_newuserdatauv(L, sizeof *s, 0);
  memset(s, 0, sizeof *s);
  s->gc_limit = GC_FLOOR;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, state_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  s->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  mll_open_names(L);
  new_weak_keyed(L, &help_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  return s;
}

mll_state *mll_state_of(lua_State *L) {
  if (L == cached_main)
    return cached_state;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  mll_state *s = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (!s)
    s = state_new(L);
  if (L == s->main) {
    cached_main = L;
    cached_state = s;
  }
  return s;
}

/* ---- registration ---------------------------------------------------------------------------- */

void mll_push_help(lua_State *L) {
  mll_state_of(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &help_key);
}

/* Stores fn under `key` in the table on top; extra arguments are not in its signature. */
static void register_one(lua_State *L, const mll_fn *fn, const char *key, int extra) {
  luaL_checkstack(L, 6, NULL);
  mll_push_help(L);
  mll_push_function(L, fn, extra);
  if (fn->help) {
    lua_pushvalue(L, -1);
    lua_pushfstring(L, strstr(fn->help, "@source") ? "%s" : "%s\n@source -", fn->help);
    lua_rawset(L, -4);
  }
  mll_name_function(L, fn->function, fn->name);
  lua_setfield(L, -3, key);
  lua_pop(L, 1);
}

void mll_register(lua_State *L, const mll_fn *fns) {
  for (; fns->name; fns++)
    register_one(L, fns, fns->name, 0);
}

void mll_register_call(lua_State *L, const mll_fn *fn) { register_one(L, fn, "__call", 1); }

void mll_class(lua_State *L, const char *name, const mll_fn *methods, const mll_fn *meta) {
  mll_state_of(L);
  luaL_checkstack(L, 6, NULL);
  luaL_newmetatable(L, name);
  lua_newtable(L); /* methods */
  if (methods)
    mll_register(L, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  mll_push_sorted_keys(L, -1);
  lua_setfield(L, -3, "__dir");
  lua_insert(L, -2);
  if (meta) {
    for (; meta->name; meta++) {
      lua_pushvalue(L, -2);
      lua_pushcclosure(L, meta->function, 0);
      lua_remove(L, -2);
      lua_setfield(L, -2, meta->name);
    }
  }
  lua_pop(L, 1);
}

void mll_add_methods(lua_State *L, const char *name, const mll_fn *methods) {
  mll_register(L, methods);
  luaL_getmetatable(L, name);
  mll_push_sorted_keys(L, -2);
  lua_setfield(L, -2, "__dir");
  lua_pop(L, 1);
}

static int compare_strings(lua_State *L, int a, int b) {
  size_t na, nb;
  const char *sa = lua_tolstring(L, a, &na), *sb = lua_tolstring(L, b, &nb);
  int order = memcmp(sa, sb, na < nb ? na : nb);
  return order ? order : (na > nb) - (na < nb);
}

/* Heap sort of the strings list[1..n] at absolute index `list`: no recursion, no surprise on sorted
 * input. */
static void sift_down(lua_State *L, int list, lua_Integer root, lua_Integer n) {
  for (lua_Integer child = 2 * root; child <= n; root = child, child = 2 * root) {
    lua_rawgeti(L, list, child);
    if (child < n) {
      lua_rawgeti(L, list, child + 1);
      if (compare_strings(L, -2, -1) < 0) {
        lua_remove(L, -2);
        child++;
      } else {
        lua_pop(L, 1);
      }
    }
    lua_rawgeti(L, list, root);
    if (compare_strings(L, -1, -2) >= 0) {
      lua_pop(L, 2);
      return;
    }
    lua_rawseti(L, list, child);
    lua_rawseti(L, list, root);
  }
}

void mll_push_sorted_keys(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 6, NULL);
  lua_newtable(L);
  int list = lua_gettop(L);
  lua_Integer n = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) {
      lua_pushvalue(L, -1);
      lua_rawseti(L, list, ++n);
    }
  }
  for (lua_Integer root = n / 2; root >= 1; root--)
    sift_down(L, list, root, n);
  for (lua_Integer last = n; last > 1; last--) {
    lua_rawgeti(L, list, 1);
    lua_rawgeti(L, list, last);
    lua_rawseti(L, list, 1);
    lua_rawseti(L, list, last);
    sift_down(L, list, 1, last - 1);
  }
}

/* ---- errors ---------------------------------------------------------------------------------- */

MLL_RAISES static int raise_argument(lua_State *L, int arg, const char *message) {
  mll_blamed b;
  mll_blame(L, &b);
  if (b.outer && strcmp(b.outer, b.inner) != 0)
    lua_pushfstring(L, "bad argument to '%s' (%s: %s)", b.outer, b.inner, message);
  else if (b.outer)
    lua_pushfstring(L, "bad argument to '%s' (%s)", b.outer, message);
  else if (b.method && arg == 1)
    lua_pushfstring(L, "calling '%s' on a bad self (%s)", b.name, message);
  else
    lua_pushfstring(L, "bad argument #%d to '%s' (%s)", arg - b.method, b.name, message);
  mll_error_at(L, &b);
}

int mll_arg_error(lua_State *L, int arg, const char *fmt, ...) {
  char message[512];
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  raise_argument(L, arg, message);
}

int mll_raise(lua_State *L, const ml_error *err) {
  if (err->status == ML_ECANCELLED)
    mll_interrupt_taken();
  if (err->arg > 0 && err->status != ML_ECANCELLED) /* which is no argument's fault */
    raise_argument(L, err->arg, err->message);
  mll_blamed b;
  mll_blame(L, &b);
  if (b.outer && strcmp(b.outer, b.inner) != 0)
    lua_pushfstring(L, "%s: %s: %s", b.outer, b.inner, err->message);
  else
    lua_pushfstring(L, "%s: %s", b.outer ? b.outer : b.name, err->message);
  mll_error_at(L, &b);
}

const char *mll_describe(lua_State *L, int idx, char buf[ML_DESCRIBE]) {
  const ml_tensor *t = mll_test_tensor(L, idx);
  if (t && ml_tensor_empty(t))
    return "ml.tensor (released)";
  if (t)
    return ml_describe(buf, t);
  switch (lua_type(L, idx)) {
  case LUA_TNONE:
    return "no value";
  case LUA_TNUMBER:
    if (lua_isinteger(L, idx))
      (void)snprintf(buf, ML_DESCRIBE, "number %lld", (long long)lua_tointeger(L, idx));
    else
      (void)snprintf(buf, ML_DESCRIBE, "number %.10g", lua_tonumber(L, idx));
    return buf;
  case LUA_TSTRING:
    (void)snprintf(buf, ML_DESCRIBE, "string \"%.60s\"", lua_tostring(L, idx));
    return buf;
  case LUA_TUSERDATA:
  case LUA_TTABLE:
    if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING) {
      (void)snprintf(buf, ML_DESCRIBE, "%.90s", lua_tostring(L, -1));
      lua_pop(L, 1);
      return buf;
    }
    return luaL_typename(L, idx);
  default:
    return luaL_typename(L, idx);
  }
}

int mll_type_error(lua_State *L, int arg, const char *wanted) {
  char got[ML_DESCRIBE];
  mll_arg_error(L, arg, "%s expected, got %s", wanted, mll_describe(L, arg, got));
}

/* ---- calls back into Lua --------------------------------------------------------------------- */

static int keep_traceback(lua_State *L) {
  mll_state *s = mll_state_of(L);
  luaL_checkstack(L, 6, NULL);
  if (s->rethrown && lua_rawgetp(L, LUA_REGISTRYINDEX, &trace_key) == LUA_TTABLE) {
    lua_rawgeti(L, -1, 1);
    if (lua_rawequal(L, -1, 1)) {
      lua_settop(L, 1);
      return 1;
    }
  }
  s->rethrown = false;
  lua_settop(L, 1);
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  lua_rawseti(L, 2, 2);
  lua_settop(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &trace_key);
  return 1;
}

int mll_pcall(lua_State *L, int nargs, int nresults) {
  int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, nargs, nresults, base);
  lua_remove(L, base);
  return status;
}

int mll_rethrow(lua_State *L) {
  mll_state_of(L)->rethrown = true;
  lua_error(L);
  abort();
}

void mll_push_traceback(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (mll_state_of(L)->rethrown && lua_rawgetp(L, LUA_REGISTRYINDEX, &trace_key) == LUA_TTABLE) {
    lua_rawgeti(L, -1, 1);
    if (lua_rawequal(L, -1, idx)) {
      lua_pop(L, 1);
      lua_rawgeti(L, -1, 2);
      lua_remove(L, -2);
      return;
    }
    lua_pop(L, 2);
  }
  lua_pushnil(L);
}

/* ---- handles --------------------------------------------------------------------------------- */

static void pace(lua_State *L, mll_state *s) {
  lua_gc(L, LUA_GCCOLLECT);
  uint64_t live = ml_live_bytes();
  s->gc_limit = 2 * live > GC_FLOOR ? 2 * live : GC_FLOOR;
}

static mll_handle *push_handle(lua_State *L, bool scoped, uint64_t bytes) {
  mll_state *s = mll_state_of(L);
#ifdef MOONLAB_STRESS
  lua_gc(L, LUA_GCCOLLECT);
#endif
  if (ml_live_bytes() + bytes > s->gc_limit)
    pace(L, s);
  mll_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  memset(h, 0, sizeof *h);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &mll_magic);
  lua_setmetatable(L, -2);
  h->magic = &mll_magic;
  mll_scope *scope = s->scope;
  if (scope && scoped) {
    scope = mll_scope_of(s, L);
    if (scope)
      mll_link(h, scope);
  }
  return h;
}

ml_tensor *mll_push_result(lua_State *L, int nargs) {
  lua_settop(L, nargs);
  return &push_handle(L, true, 0)->tensor;
}

ml_tensor *mll_push_empty(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  return &push_handle(L, true, 0)->tensor;
}

ml_tensor *mll_push_empty_kept(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  return &push_handle(L, false, 0)->tensor;
}

ml_tensor *mll_push_tensor(lua_State *L, ml_dtype dtype, const ml_shape *shape) {
  luaL_checkstack(L, 4, NULL);
  int64_t n = ml_shape_numel(shape);
  uint64_t bytes = n > 0 ? (uint64_t)n * ml_dtype_size(dtype) : 0;
  ml_tensor *t = &push_handle(L, true, bytes)->tensor;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_init(t, dtype, shape, &err));
  if (status) {
    err.arg = 0;
    mll_raise(L, &err);
  }
  return t;
}

ml_tensor *mll_push_alias(lua_State *L, const ml_tensor *t) {
  ml_tensor *out = mll_push_empty(L);
  ml_tensor_alias(out, t);
  return out;
}

void mll_collect_for_retry(lua_State *L) {
  pace(L, mll_state_of(L));
  for (int i = lua_gettop(L); i > 0; i--) {
    mll_handle *h = (mll_handle *)mll_test_tensor(L, i);
    if (h && h->released_by)
      mll_arg_error(L, i, "a finalizer released this tensor");
  }
}

ml_tensor *mll_test_tensor(lua_State *L, int idx) {
  mll_handle *h = lua_touserdata(L, idx);
  if (!h)
    return NULL;
  if (lua_rawlen(L, idx) == sizeof *h && h->magic == &mll_magic)
    return &h->tensor;
  return NULL;
}

const char *mll_released_text(const ml_tensor *t, char buf[MLL_RELEASED_TEXT]) {
  const char *by = ((const mll_handle *)t)->released_by;
  if (by && *by)
    (void)snprintf(buf, MLL_RELEASED_TEXT,
                   "this tensor was released when its %s ended; return it or ml.keep it", by);
  else
    (void)snprintf(buf, MLL_RELEASED_TEXT, "this tensor was released");
  return buf;
}

MLL_RAISES static int bad_tensor(lua_State *L, int arg, const ml_tensor *t) {
  char text[MLL_RELEASED_TEXT];
  if (!t)
    mll_type_error(L, arg, "tensor");
  mll_arg_error(L, arg, "%s", mll_released_text(t, text));
}

ml_tensor *mll_check_tensor(lua_State *L, int arg) {
  ml_tensor *t = mll_test_tensor(L, arg);
  if (!t || ml_tensor_empty(t))
    bad_tensor(L, arg, t);
  return t;
}

ml_tensor *mll_check_real(lua_State *L, int arg) {
  ml_tensor *t = mll_check_tensor(L, arg);
  if (!ml_is_real(t->dtype))
    mll_type_error(L, arg, "f32 or f64 tensor");
  return t;
}

ml_tensor *mll_arg_tensor(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) ? NULL : mll_check_tensor(L, arg);
}

void mll_release_handle(mll_handle *h, const char *by) {
  mll_unlink(h);
  ml_tensor_clear(&h->tensor);
  if (!h->released_by)
    h->released_by = by;
}

/* ---- lists ----------------------------------------------------------------------------------- */

void mll_list_clear(mll_list *list) {
  for (int64_t i = 0; i < list->n; i++)
    ml_tensor_clear(&list->t[i]);
}

static int list_gc(lua_State *L) {
  mll_list *list = lua_touserdata(L, 1);
  if (list && list->t)
    mll_list_clear(list);
  return 0;
}

mll_list *mll_push_list(lua_State *L, int64_t n) {
  luaL_checkstack(L, 4, NULL);
  size_t each = sizeof(ml_tensor) + sizeof(ml_tensor *);
  if (n < 0 || (uint64_t)n > (SIZE_MAX / 2 - sizeof(mll_list)) / each)
    luaL_error(L, "a list of too many tensors");
  size_t bytes = sizeof(mll_list) + (size_t)n * each;
  mll_list *list = lua_newuserdatauv(L, bytes, 0);
  memset(list, 0, bytes);
  list->n = n;
  list->t = (ml_tensor *)(list + 1);
  list->p = (const ml_tensor **)(list->t + n);
  for (int64_t i = 0; i < n; i++)
    list->p[i] = &list->t[i];
  if (luaL_newmetatable(L, MLL_LIST)) {
    lua_pushcfunction(L, list_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return list;
}

mll_list *mll_check_list(lua_State *L, int arg) {
  arg = lua_absindex(L, arg);
  if (lua_type(L, arg) != LUA_TTABLE)
    mll_type_error(L, arg, "list of tensors");
  lua_Integer n = luaL_len(L, arg);
  if (n < 1)
    mll_arg_error(L, arg, "list of tensors is empty");
  mll_list *list = mll_push_list(L, n);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, arg, i);
    ml_tensor *t = mll_test_tensor(L, -1);
    if (t && ml_tensor_empty(t)) {
      char text[MLL_RELEASED_TEXT];
      mll_arg_error(L, arg, "entry %lld: %s", (long long)i, mll_released_text(t, text));
    }
    if (!t) {
      char got[ML_DESCRIBE];
      mll_arg_error(L, arg, "entry %lld is %s, wanted a tensor", (long long)i,
                    mll_describe(L, -1, got));
    }
    ml_tensor_alias(&list->t[i - 1], t);
    lua_pop(L, 1);
  }
  return list;
}
