/* ml.json: exact JSON. Integers stay integers, other numbers are written with 17 digits, keys in
 * sorted order. */
#include "state.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 500
static const char array_key = 0; /* metatable of tables marked as arrays */

/* ---- reading --------------------------------------------------------------------------------- */

static int tree_gc(lua_State *L) {
  json_t **tree = lua_touserdata(L, 1);
  json_decref(*tree);
  *tree = NULL;
  return 0;
}

/* Every so many values a press of Ctrl-C is answered; what was taken is the collector's. */
static void poll(lua_State *L, size_t *count) {
  enum { POLL_EVERY = 1 << 14 };
  if (++*count % POLL_EVERY != 0 || !ml_cancelled())
    return;
  ml_error err;
  ml_error_set(&err, ML_ECANCELLED, 0, "interrupted");
  mll_raise(L, &err);
}

static void push_null(lua_State *L) { lua_pushlightuserdata(L, NULL); }

static void mark_array(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_setmetatable(L, -2);
}

/* How numbers that JSON cannot hold are written. EXACT is STRING with a way back: a text that reads
 * like "nan", "inf" or
 * "-inf" gets an apostrophe in front, one more if it has some, and both are undone when read with
 * EXACT. */
enum { NAN_RAISE, NAN_NULL, NAN_STRING, NAN_EXACT };

/* "nan", "inf", "-inf" with any number of apostrophes before it. */
static bool like_special(const char *s, size_t n) {
  while (n && *s == '\'') {
    s++;
    n--;
  }
  return (n == 3 && (memcmp(s, "nan", 3) == 0 || memcmp(s, "inf", 3) == 0)) ||
         (n == 4 && memcmp(s, "-inf", 4) == 0);
}

static void push_string(lua_State *L, const char *s, size_t n, int nan) {
  if (nan != NAN_EXACT || n < 3 || !like_special(s, n))
    lua_pushlstring(L, s, n);
  else if (*s == '\'')
    lua_pushlstring(L, s + 1, n - 1);
  else
    lua_pushnumber(L, *s == 'n' ? (lua_Number)NAN : (lua_Number)(*s == '-' ? -INFINITY : INFINITY));
}

static void push_value(lua_State *L, json_t *v, int nan, size_t *count) {
  poll(L, count);
  luaL_checkstack(L, 6, "JSON nests too deeply");
  switch (json_typeof(v)) {
  case JSON_OBJECT: {
    const char *key;
    json_t *item;
    lua_createtable(L, 0, (int)json_object_size(v));
    json_object_foreach(v, key, item) {
      if (json_is_null(item))
        continue;
      push_value(L, item, nan, count);
      lua_setfield(L, -2, key);
    }
    break;
  }
  case JSON_ARRAY: {
    size_t n = json_array_size(v);
    lua_createtable(L, n < 1u << 26 ? (int)n : 0, 0);
    if (n == 0)
      mark_array(L); /* so that it is written as [] again */
    for (size_t i = 0; i < n; i++) {
      json_t *item = json_array_get(v, i);
      if (json_is_null(item))
        push_null(L);
      else
        push_value(L, item, nan, count);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    break;
  }
  case JSON_STRING:
    push_string(L, json_string_value(v), json_string_length(v), nan);
    break;
  case JSON_INTEGER:
    lua_pushinteger(L, json_integer_value(v));
    break;
  case JSON_REAL:
    lua_pushnumber(L, json_real_value(v));
    break;
  case JSON_TRUE:
    lua_pushboolean(L, 1);
    break;
  case JSON_FALSE:
    lua_pushboolean(L, 0);
    break;
  default:
    lua_pushnil(L);
  }
}

static json_t **push_tree(lua_State *L) {
  json_t **tree = lua_newuserdatauv(L, sizeof(json_t *), 0);
  *tree = NULL;
  if (luaL_newmetatable(L, "ml.json.tree")) {
    lua_pushcfunction(L, tree_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return tree;
}

/* The tree stands on top: gives it back as soon as its values are Lua's. */
static int give_tree(lua_State *L, json_t **tree, int nan) {
  size_t count = 0;
  push_value(L, *tree, nan, &count);
  json_decref(*tree);
  *tree = NULL;
  return 1;
}

static json_t *parse(const char *text, size_t bytes, json_error_t *why) {
  return json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, why);
}

static int check_read_opts(lua_State *L) {
  static const char *const names[] = {"nan", NULL};
  static const char *const nans[] = {"keep", "exact", NULL};
  mll_check_opts(L, 2, names);
  return mll_opt_choice(L, 2, "nan", nans, 0) ? NAN_EXACT : NAN_RAISE;
}

static int l_decode(lua_State *L) {
  size_t n;
  json_error_t why;
  if (lua_type(L, 1) != LUA_TSTRING)
    return mll_type_error(L, 1, "string");
  int nan = check_read_opts(L);
  lua_settop(L, 1);
  json_t **tree = push_tree(L);
  const char *text = lua_tolstring(L, 1, &n);
  *tree = parse(text, n, &why);
  if (!*tree)
    return mll_arg_error(L, 1, "line %d, column %d: %s", why.line, why.column, why.text);
  return give_tree(L, tree, nan);
}

static int l_read(lua_State *L) {
  json_error_t why;
  ml_error err;
  ml_in_file file;
  const char *path = mll_check_path(L, 1);
  int nan = check_read_opts(L);
  lua_settop(L, 1);
  json_t **tree = push_tree(L);
  if (mll_no_file(L, path))
    return 2;
  if (ml_in_open(&file, path, &err))
    return mll_raise(L, &err);
  *tree = parse(file.bytes ? (const char *)file.data : "", file.bytes, &why);
  ml_in_close(&file);
  if (!*tree)
    return mll_arg_error(L, 1, "%.200s: line %d, column %d: %s", path, why.line, why.column,
                         why.text);
  return give_tree(L, tree, nan);
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
  char *p;
  size_t n, size;
  int indent; /* spaces per level, 0: one line */
  int nan;
  bool replace; /* invalid UTF-8 by U+FFFD */
  int arg;      /* position of the value, for messages */
  size_t count; /* values written */
} writer;

/* Where we are, from the inside out. */
typedef struct place {
  const struct place *outer;
  const char *key; /* or NULL: */
  lua_Integer i;
} place;

static int writer_gc(lua_State *L) {
  writer *w = lua_touserdata(L, 1);
  ml_free(w->p);
  w->p = NULL;
  return 0;
}

static void put(lua_State *L, writer *w, const char *s, size_t n) {
  if (n == 0)
    return;
  if (!w->p || n > w->size - w->n) {
    size_t size = w->size ? w->size : 256;
    while (size - w->n < n)
      size *= 2;
    char *p = ml_realloc(w->p, size);
    if (!p)
      luaL_error(L, "out of memory: JSON text of %d MB", (int)(size >> 20));
    w->p = p;
    w->size = size;
  }
  memcpy(w->p + w->n, s, n);
  w->n += n;
}

static void puts_(lua_State *L, writer *w, const char *s) { put(L, w, s, strlen(s)); }

static size_t place_text(char *buf, size_t size, const place *at) {
  if (!at)
    return (size_t)snprintf(buf, size, "value");
  size_t used = place_text(buf, size, at->outer);
  if (used >= size - 1)
    return used;
  int n = at->key ? snprintf(buf + used, size - used, ".%.40s", at->key)
                  : snprintf(buf + used, size - used, "[%lld]", (long long)at->i);
  return n > 0 ? used + (size_t)n : used;
}

MLL_RAISES static int refuse(lua_State *L, const writer *w, const place *at, const char *why) {
  char where[160];
  place_text(where, sizeof where, at);
  mll_arg_error(L, w->arg, "%s %s", where, why);
}

/* Bytes of the valid UTF-8 sequence at s, 0 when there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t left) {
  if (s[0] < 0x80)
    return 1;
  size_t n = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
  if (s[0] < 0xC2 || s[0] > 0xF4 || n > left)
    return 0;
  for (size_t i = 1; i < n; i++) {
    if ((s[i] & 0xC0) != 0x80)
      return 0;
  }
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
      (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) {
    return 0;
  }
  return n;
}

static void write_string(lua_State *L, writer *w, const place *at, const char *text, size_t n,
                         bool key) {
  const unsigned char *s = (const unsigned char *)text;
  put(L, w, "\"", 1);
  if (w->nan == NAN_EXACT && !key && n >= 3 && like_special(text, n))
    put(L, w, "'", 1);
  for (size_t i = 0; i < n;) {
    size_t run = i;
    while (run < n && s[run] >= 0x20 && s[run] < 0x80 && s[run] != '"' && s[run] != '\\')
      run++;
    put(L, w, text + i, run - i);
    if ((i = run) == n)
      break;
    static const char plain[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    const char *found = s[i] ? strchr(plain, s[i]) : NULL;
    if (found) {
      char two[2] = {'\\', letters[found - plain]};
      put(L, w, two, 2);
      i++;
    } else if (s[i] < 0x20) {
      char code[8];
      put(L, w, code, (size_t)snprintf(code, sizeof code, "\\u%04x", s[i]));
      i++;
    } else {
      size_t length = utf8_sequence(s + i, n - i);
      if (!length && !w->replace)
        refuse(L, w, at, "is no valid UTF-8; pass { invalid = \"replace\" }");
      put(L, w, length ? text + i : "\xEF\xBF\xBD", length ? length : 3);
      i += length ? length : 1;
    }
  }
  put(L, w, "\"", 1);
}

static void write_number(lua_State *L, writer *w, const place *at) {
  char text[48];
  if (lua_isinteger(L, -1)) {
    (void)snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(L, -1));
    puts_(L, w, text);
    return;
  }
  double v = lua_tonumber(L, -1);
  if (!isfinite(v)) {
    const char *name = isnan(v) ? "nan" : v > 0 ? "inf" : "-inf";
    (void)snprintf(text, sizeof text, "\"%s\"", name);
    if (w->nan == NAN_RAISE) {
      char why[120];
      (void)snprintf(why, sizeof why,
                     "is %s, which JSON cannot hold; pass { nan = \"null\" }, { nan = \"string\" } "
                     "or { nan = \"exact\" }",
                     name);
      refuse(L, w, at, why);
    }
    puts_(L, w, w->nan == NAN_NULL ? "null" : text);
    return;
  }
  (void)snprintf(text, sizeof text - 3, "%.17g", v);
  char *comma = strchr(text, ',');
  if (comma)
    *comma = '.'; /* a locale's decimal sign */
  if (!strpbrk(text, ".eE"))
    memcpy(text + strlen(text), ".0", 3); /* a float stays one when read back */
  puts_(L, w, text);
}

static void break_line(lua_State *L, writer *w, int depth) {
  if (!w->indent)
    return;
  put(L, w, "\n", 1);
  for (int i = 0; i < depth * w->indent; i++)
    put(L, w, " ", 1);
}

static void write_value(lua_State *L, writer *w, const place *at, int depth);

/* Whether the table on top is written as an array; raises when it is neither array nor object. */
static bool is_array(lua_State *L, const writer *w, const place *at) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1), integers = 0, strings = 0;
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) {
      strings++;
    } else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= n) {
      integers++;
    } else {
      char got[ML_DESCRIBE], why[160];
      (void)snprintf(why, sizeof why, "has the key %s, wanted strings, or 1..n without holes",
                     mll_describe(L, -1, got));
      refuse(L, w, at, why);
    }
  }
  if (integers && strings)
    refuse(L, w, at, "mixes positions and names");
  if (integers != n)
    refuse(L, w, at, "is an array with holes; ml.json.null fills them");
  if (n > 0)
    return true;
  if (strings || !lua_getmetatable(L, -1))
    return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  bool marked = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return marked;
}

static void write_table(lua_State *L, writer *w, const place *at, int depth) {
  int table = lua_gettop(L);
  if (depth == MAX_DEPTH)
    refuse(L, w, NULL, "nests too deeply; it may hold itself");
  if (is_array(L, w, at)) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, table);
    put(L, w, "[", 1);
    for (lua_Integer i = 1; i <= n; i++) {
      place here = {at, NULL, i};
      if (i > 1)
        put(L, w, ",", 1);
      break_line(L, w, depth + 1);
      lua_rawgeti(L, table, i);
      write_value(L, w, &here, depth + 1);
      lua_pop(L, 1);
    }
    if (n)
      break_line(L, w, depth);
    put(L, w, "]", 1);
    return;
  }
  mll_push_sorted_keys(L, table);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  put(L, w, "{", 1);
  for (lua_Integer i = 1; i <= n; i++) {
    size_t length;
    if (i > 1)
      put(L, w, ",", 1);
    break_line(L, w, depth + 1);
    lua_rawgeti(L, table + 1, i);
    const char *key = lua_tolstring(L, -1, &length);
    place here = {at, key, 0};
    write_string(L, w, &here, key, length, true);
    puts_(L, w, w->indent ? ": " : ":");
    lua_pushvalue(L, -1);
    lua_rawget(L, table);
    write_value(L, w, &here, depth + 1);
    lua_pop(L, 2);
  }
  if (n)
    break_line(L, w, depth);
  put(L, w, "}", 1);
  lua_settop(L, table);
}

/* The value on top; it stays there. */
static void write_value(lua_State *L, writer *w, const place *at, int depth) {
  size_t n;
  const char *s;
  poll(L, &w->count);
  luaL_checkstack(L, 10, "JSON nests too deeply");
  switch (lua_type(L, -1)) {
  case LUA_TNIL:
    puts_(L, w, "null");
    break;
  case LUA_TBOOLEAN:
    puts_(L, w, lua_toboolean(L, -1) ? "true" : "false");
    break;
  case LUA_TNUMBER:
    write_number(L, w, at);
    break;
  case LUA_TSTRING:
    s = lua_tolstring(L, -1, &n);
    write_string(L, w, at, s, n, false);
    break;
  case LUA_TTABLE:
    write_table(L, w, at, depth);
    break;
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, -1)) {
      puts_(L, w, "null");
      break;
    } /* fall through */
  default: {
    char got[ML_DESCRIBE], why[160];
    (void)snprintf(why, sizeof why, "is %s%s", mll_describe(L, -1, got),
                   mll_test_tensor(L, -1) ? "; write its t:totable() or t:item()"
                                          : ", which JSON cannot hold");
    refuse(L, w, at, why);
  }
  }
}

/* Pushes a writer that holds the text of the value at arg. */
static writer *push_written(lua_State *L, int arg, int opts, int indent) {
  static const char *const names[] = {"indent", "nan", "invalid", NULL};
  static const char *const nans[] = {"raise", "null", "string", "exact", NULL};
  static const char *const invalids[] = {"raise", "replace", NULL};
  mll_check_opts(L, opts, names);
  lua_Integer spaces = mll_opt_integer(L, opts, "indent", indent);
  if (spaces < 0 || spaces > 16)
    mll_opt_error(L, opts, "indent", "is %lld, wanted 0..16", (long long)spaces);
  int nan = mll_opt_choice(L, opts, "nan", nans, NAN_RAISE);
  bool replace = mll_opt_choice(L, opts, "invalid", invalids, 0) == 1;
  writer *w = lua_newuserdatauv(L, sizeof *w, 0);
  memset(w, 0, sizeof *w);
  if (luaL_newmetatable(L, "ml.json.writer")) {
    lua_pushcfunction(L, writer_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  w->indent = (int)spaces;
  w->nan = nan;
  w->replace = replace;
  w->arg = arg;
  lua_pushvalue(L, arg);
  write_value(L, w, NULL, 0);
  lua_pop(L, 1);
  return w;
}

static int l_encode(lua_State *L) {
  if (lua_isnone(L, 1))
    return mll_type_error(L, 1, "value");
  lua_settop(L, 2);
  writer *w = push_written(L, 1, 2, 0);
  lua_pushlstring(L, w->p, w->n);
  ml_free(w->p);
  w->p = NULL;
  return 1;
}

static int l_write(lua_State *L) {
  const char *path = mll_check_path(L, 1);
  if (lua_isnone(L, 2))
    return mll_type_error(L, 2, "value");
  lua_settop(L, 3);
  writer *w = push_written(L, 2, 3, 2);
  put(L, w, "\n", 1);
  ml_error err;
  ml_status status = ml_write_file(path, w->p, w->n, &err);
  ml_free(w->p);
  w->p = NULL;
  return status ? mll_raise(L, &err) : 0;
}

static int l_array(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  if (lua_type(L, 1) != LUA_TTABLE)
    return mll_type_error(L, 1, "table");
  lua_settop(L, 1);
  mark_array(L);
  return 1;
}

#define WRITE_OPTS                                                                                 \
  "@param opts.nan string =\"raise\" what a NaN or infinite number becomes: \"null\", \"string\" " \
  "(\"nan\" \"inf\" \"-inf\"), \"exact\" (the same, and reading with { nan = \"exact\" } gives "   \
  "back every value: texts that look like these numbers get an apostrophe)\n"                      \
  "@param opts.invalid string =\"raise\" what bytes that are no UTF-8 become: \"replace\" "        \
  "(U+FFFD)\n"                                                                                     \
  "@param opts.indent integer spaces a level, 0 for one line; =0 for encode, =2 for write\n"

#define READ_OPTS                                                                                  \
  "@param opts.nan string =\"keep\" \"exact\": undoes what { nan = \"exact\" } did when writing\n"

static const mll_fn functions[] = {
    {"read", l_read,
     "json.read(path, opts)\nThe value in a JSON file. Numbers without fraction or exponent are "
     "integers; null is absent in objects and\n"
     "ml.json.null in arrays.\n@param path string\n" READ_OPTS
     "@return any, or nil and a message when there is "
     "no such file\n"
     "Raises naming line and column when the file is no JSON."},
    {"write", l_write,
     "json.write(path, value, opts)\nWrites a JSON file, whole or not at all. Keys are sorted, "
     "integers exact, other numbers have 17\n"
     "digits. A table is an array when it holds 1..n, else an object; an empty one is an object "
     "unless ml.json.array marked it.\n"
     "@param path string\n@param value table, string, number, boolean, or "
     "ml.json.null\n" WRITE_OPTS},
    {"decode", l_decode,
     "json.decode(text, opts)\nThe value of a JSON text, as json.read gives it.\n@param text "
     "string\n" READ_OPTS "@return any"},
    {"encode", l_encode,
     "json.encode(value, opts)\nThe JSON text of a value, as json.write writes it.\n@param value "
     "any\n" WRITE_OPTS "@return string"},
    {"array", l_array,
     "json.array(t)\nMarks a table as an array, so that an empty one is written as [].\n@param t "
     "table =new\n@return table t"},
    {NULL, NULL, NULL}};

void mll_open_json(lua_State *L) {
  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "ml.json.array");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_newtable(L);
  mll_register(L, functions);
  push_null(L);
  lua_setfield(L, -2, "null");
  lua_setfield(L, -2, "json");
}
