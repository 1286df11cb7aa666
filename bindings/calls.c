/* Calls as their user sees them: functions that count their arguments, and errors that name what
 * the user called and the line where, also when a Lua module of ours stands in between. */
#include "state.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char names_key = 0;

/* ---- names ----------------------------------------------------------------------------------- */

/* registry["moonlab.names"], for lua/moonlab/options.lua as well: function -> name, weak in its
 * keys. C functions stand under their pointer, counted or not. */
void mll_open_names(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "moonlab.names");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
}

void mll_name_function(lua_State *L, lua_CFunction function, const char *name) {
  mll_state_of(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
  lua_pushcfunction(L, function);
  if (lua_rawget(L, -2) == LUA_TNIL) { /* the first name a function gets stays */
    lua_pushcfunction(L, function);
    lua_pushstring(L, name);
    lua_rawset(L, -4);
  }
  lua_pop(L, 2);
}

static int counted(lua_State *L);

/* The name of the function on top, which is popped, or NULL. The table keeps the string. */
static const char *name_of(lua_State *L) {
  lua_CFunction function = lua_tocfunction(L, -1);
  if (function == counted) {
    lua_getupvalue(L, -1, 1);
    function = ((const mll_fn *)lua_touserdata(L, -1))->function;
    lua_pop(L, 1);
  }
  if (function) { /* closures go by their function */
    lua_pop(L, 1);
    lua_pushcfunction(L, function);
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
  lua_insert(L, -2);
  lua_rawget(L, -2);
  const char *name = lua_tostring(L, -1);
  lua_pop(L, 2);
  return name;
}

/* ---- who called ------------------------------------------------------------------------------ */

/* The kind of module that is the first local of the function at ar ("ml.nn.Linear"), or NULL. */
static const char *module_kind(lua_State *L, const lua_Debug *ar) {
  const char *kind = NULL;
  if (!lua_getlocal(L, ar, 1))
    return NULL;
  if (lua_type(L, -1) == LUA_TTABLE && luaL_getmetafield(L, -1, "is_module") != LUA_TNIL) {
    lua_pop(L, 1);
    if (luaL_getmetafield(L, -1, "__name") == LUA_TSTRING) {
      kind = lua_tostring(L, -1); /* its metatable keeps it */
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return kind;
}

void mll_blame(lua_State *L, mll_blamed *b) {
  memset(b, 0, sizeof *b);
  luaL_checkstack(L, 8, NULL);
  mll_state_of(L);
  b->name = "?";
  lua_Debug ar;
  if (!lua_getstack(L, 0, &ar))
    return;
  lua_getinfo(L, "nf", &ar);
  b->name = name_of(L);
  if (!b->name)
    b->name = ar.name ? ar.name : "?";
  b->method = ar.namewhat && strcmp(ar.namewhat, "method") == 0;
  lua_getfield(L, LUA_REGISTRYINDEX, "moonlab.library");
  const char *library = lua_tostring(L, -1); /* the registry keeps it */
  lua_pop(L, 1);
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (strcmp(ar.what, "C") == 0)
      continue;
    if (!library || strncmp(ar.source, library, strlen(library)) != 0) {
      b->line = ar.currentline;
      memcpy(b->source, ar.short_src, sizeof b->source);
      return;
    }
    lua_getinfo(L, "f", &ar);
    const char *name = name_of(L);
    if (!name)
      name = module_kind(L, &ar);
    if (!name)
      continue;
    b->outer = name;
    if (!b->inner)
      b->inner = name;
  }
}

int mll_error_at(lua_State *L, const mll_blamed *b) {
  luaL_checkstack(L, 4, NULL);
  if (b->line > 0)
    lua_pushfstring(L, "%s:%d: ", b->source, b->line);
  else
    luaL_where(L, 1);
  lua_insert(L, -2);
  lua_concat(L, 2);
  lua_error(L);
  abort(); /* lua_error does not return, which its header does not tell */
}

/* ---- counting -------------------------------------------------------------------------------- */

/* The arguments between the bracket at p and its partner; *end becomes what follows. -1: any
 * number. Inner brackets belong to one argument. */
static int count_group(const char *p, const char **end) {
  bool round = *p == '(', some = false, any = false;
  int depth = 0, commas = 0;
  for (; *p; p++) {
    if (strchr("({[", *p))
      depth++;
    else if (strchr(")}]", *p) && --depth == 0)
      break;
    else if (depth == 1 && !isspace((unsigned char)*p)) {
      some = true;
      commas += *p == ',';
      any = any || strncmp(p, "...", 3) == 0;
    }
    if (depth == 2) /* an argument that is a table */
      some = true;
  }
  *end = p;
  if (!round)
    return 1; /* f{...} */
  return any ? -1 : some ? commas + 1 : 0;
}

/* The largest number of arguments, self included, of the calls in the signature that a help text
 * starts with, "t:clamp(x, min, max) t:clamp(x, opts)"; -1 when there may be any. */
static int count_arguments(const char *help) {
  int most = -1;
  const char *self = NULL;
  for (const char *p = help; *p && *p != '\n'; p++) {
    if (*p == ':')
      self = p;
    bool called = p > help && (isalnum((unsigned char)p[-1]) || p[-1] == '_');
    if (!called || (*p != '(' && *p != '{'))
      continue;
    int n = count_group(p, &p);
    if (n < 0)
      return -1;
    n += self != NULL;
    self = NULL;
    most = n > most ? n : most;
    if (!*p)
      break;
  }
  return most;
}

static int too_many(lua_State *L, int most) {
  int n = lua_gettop(L);
  while (n > most && lua_isnil(L, n))
    n--;
  lua_settop(L, n);
  if (n == most)
    return 0; /* nil is as good as nothing */
  mll_blamed b;
  mll_blame(L, &b);
  const mll_fn *fn = lua_touserdata(L, lua_upvalueindex(1));
  size_t word = strcspn(fn->help, ":({\n");
  int self = b.method || fn->help[word] == ':' || most > count_arguments(fn->help);
  lua_pushfstring(L, "too many arguments to '%s' (%d, wanted at most %d)", b.name, n - self,
                  most - self);
  return mll_error_at(L, &b);
}

/* Upvalues: the mll_fn and the largest number of arguments. */
static int counted(lua_State *L) {
  int most = (int)lua_tointeger(L, lua_upvalueindex(2));
  if (lua_gettop(L) > most)
    too_many(L, most);
  return ((const mll_fn *)lua_touserdata(L, lua_upvalueindex(1)))->function(L);
}

void mll_push_function(lua_State *L, const mll_fn *fn, int extra) {
  int most = fn->help ? count_arguments(fn->help) : -1;
  if (most < 0) {
    lua_pushcfunction(L, fn->function);
    return;
  }
  lua_pushlightuserdata(L, (void *)fn);
  lua_pushinteger(L, most + extra);
  lua_pushcclosure(L, counted, 2);
}
