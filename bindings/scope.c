/* ml.scope and ml.keep: the temporaries of a step go back to the block cache when the step ends. */
#include "state.h"

#include <string.h>

static const char scope_names_key = 0;

/* ---- walking results ------------------------------------------------------------------------- */

typedef void (*visitor)(mll_handle *h, uint64_t ctx);

typedef struct {
  visitor visit;
  uint64_t ctx;
  int seen; /* stack position of the set of tables met, 0 before the first; the list of those to do
               follows it */
  lua_Integer n; /* tables to do */
} walk;

static void meet(lua_State *L, walk *w, int idx) {
  ml_tensor *t = mll_test_tensor(L, idx);
  if (t) {
    w->visit((mll_handle *)t, w->ctx);
    return;
  }
  if (lua_type(L, idx) != LUA_TTABLE)
    return;
  lua_pushvalue(L, idx);
  if (lua_rawget(L, w->seen) == LUA_TNIL) {
    lua_pushvalue(L, idx < 0 ? idx - 1 : idx);
    lua_pushboolean(L, 1);
    lua_rawset(L, w->seen);
    lua_pushvalue(L, idx < 0 ? idx - 1 : idx);
    lua_rawseti(L, w->seen + 1, ++w->n);
  }
  lua_pop(L, 1);
}

/* Visits the tensors at first..last and those reachable from there through tables, each table once,
 * without recursion. */
static void visit_tensors(lua_State *L, int first, int last, visitor visit, uint64_t ctx) {
  walk w = {visit, ctx, 0, 0};
  luaL_checkstack(L, 12, NULL);
  for (int i = first; i <= last; i++) {
    if (!w.seen && lua_type(L, i) == LUA_TTABLE) {
      lua_newtable(L);
      w.seen = lua_gettop(L);
      lua_newtable(L);
    }
    meet(L, &w, i);
  }
  while (w.n > 0) {
    lua_rawgeti(L, w.seen + 1, w.n);
    lua_pushnil(L);
    lua_rawseti(L, w.seen + 1, w.n--);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      meet(L, &w, -1);
      lua_pop(L, 1);
      meet(L, &w, -1);
    }
    lua_pop(L, 1);
  }
  if (w.seen)
    lua_settop(L, w.seen - 1);
}

static void mark(mll_handle *h, uint64_t serial) { h->marked = serial; }

static void unlink_one(mll_handle *h, uint64_t unused) {
  (void)unused;
  mll_unlink(h);
}

/* ---- scopes ---------------------------------------------------------------------------------- */

/* The name of a scope by its function, anchored in the registry so that released handles can point
 * to it. Leaves three values on the stack; the caller cuts them off. */
static const char *scope_name(lua_State *L, int function) {
  lua_Debug ar;
  lua_pushvalue(L, function);
  lua_getinfo(L, ">S", &ar);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scope_names_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scope_names_key);
  }
  if (ar.linedefined > 0)
    lua_pushfstring(L, "scope at %s:%d", ar.short_src, ar.linedefined);
  else
    lua_pushfstring(L, "scope of %s", ar.short_src);
  const char *name = lua_tostring(L, -1);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawset(L, -3); /* names[name] = name */
  } else {
    name = lua_tostring(L, -1);
  }
  return name;
}

/* 1: the scope, 2: the function, 3..: its arguments. */
static int scope_body(lua_State *L) {
  mll_scope *scope = lua_touserdata(L, 1);
  int top = lua_gettop(L);
  luaL_checkstack(L, 8, NULL);
  scope->name = scope_name(L, 2);
  lua_settop(L, top);
  lua_call(L, top - 2, LUA_MULTRET);
  int last = lua_gettop(L);
  visit_tensors(L, 2, last, mark, scope->serial);
  return last - 1;
}

static void leave_tape(ml_tensor *t) {
  ml_tensor plain = {0};
  ml_tensor_detach(&plain, t);
  ml_tensor_clear(t);
  ml_tensor_move(t, &plain);
}

static void close_scope(mll_scope *scope, mll_scope *outer, bool failed) {
  mll_handle *h;
  while ((h = scope->first)) {
    if (failed || h->marked != scope->serial) {
      mll_release_handle(h, scope->name ? scope->name : "scope");
      continue;
    }
    mll_unlink(h);
    if (outer)
      mll_link(h, outer);
    if (scope->detach && h->tensor.node && !ml_is_param(&h->tensor))
      leave_tape(&h->tensor);
  }
}

int mll_scope_pcall(lua_State *L, int nargs, bool detach) {
  mll_state *s = mll_state_of(L);
  mll_scope scope = {.outer = s->scope, .L = L, .serial = ++s->serial, .detach = detach};
  int base = lua_gettop(L) - nargs;
  luaL_checkstack(L, 4, NULL);
  lua_pushcfunction(L, scope_body);
  lua_insert(L, base);
  lua_pushlightuserdata(L, &scope);
  lua_insert(L, base + 1);
  s->scope = &scope;
  int status = mll_pcall(L, nargs + 2, LUA_MULTRET);
  s->scope = scope.outer;
  close_scope(&scope, mll_scope_of(s, L), status != LUA_OK);
  return status;
}

static int l_scope(lua_State *L) {
  mll_check_callable(L, 1);
  int status = mll_scope_pcall(L, lua_gettop(L) - 1, false);
  return status ? mll_rethrow(L) : lua_gettop(L);
}

static int l_keep(lua_State *L) {
  int top = lua_gettop(L);
  for (int i = 1; i <= top; i++) {
    if (!mll_test_tensor(L, i) && lua_type(L, i) != LUA_TTABLE)
      mll_type_error(L, i, "tensor or table of tensors");
  }
  visit_tensors(L, 1, top, unlink_one, 0);
  return top;
}

static const mll_fn functions[] = {
    {"scope", l_scope,
     "scope(f, ...)\n"
     "Calls f(...) and returns its results; every tensor made meanwhile is released at once, so "
     "that its memory serves the\n"
     "next step while it is still warm. What the results reach through tables survives and passes "
     "to the outer scope, so do\n"
     "tensors given to ml.keep, parameters and gradients. An error releases everything and goes "
     "on; yielding out raises.\n"
     "@param f function\n"
     "@param ... any arguments of f\n"
     "@return ... any the results of f"},
    {"keep", l_keep,
     "keep(t, ...)\n"
     "Takes tensors out of their scope: only the collector or t:release() frees them afterwards.\n"
     "@param t tensor of any shape, or table of tensors, at any depth\n"
     "@return ... any its arguments"},
    {NULL, NULL, NULL}};

void mll_open_scope(lua_State *L) { mll_register(L, functions); }
