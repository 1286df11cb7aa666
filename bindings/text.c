/* Text to ids and back, and windows of a long id sequence: what tokenizers and text batches need in
 * C. */
#include "mll.h"

#include "io/io.h"

#include <string.h>

/* ml.text.bytes(s): every byte an id. */
static int l_bytes(lua_State *L) {
  size_t n;
  const char *s = mll_check_string(L, 1, &n);
  lua_settop(L, 1);
  ml_shape shape = ml_shape_make(1, (int64_t)n);
  int64_t *ids = ML_DATA(int64_t, mll_push_tensor(L, ML_INDEX, &shape));
  for (size_t i = 0; i < n; i++)
    ids[i] = (unsigned char)s[i];
  return 1;
}

/* Ids of a table or an index tensor, contiguous. */
static const ml_tensor *check_contiguous_ids(lua_State *L, int arg) {
  mll_check_ids(L, arg);
  ml_tensor *t = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_contiguous(t, mll_check_tensor(L, arg), &err));
  if (status)
    mll_raise(L, &err);
  return t;
}

static int l_from_bytes(lua_State *L) {
  lua_settop(L, 1);
  const ml_tensor *t = check_contiguous_ids(L, 1);
  int64_t n = ml_numel(t);
  const int64_t *ids = ML_DATA(int64_t, t);
  luaL_Buffer b;
  char *s = luaL_buffinitsize(L, &b, (size_t)n);
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] < 0 || ids[i] > 255)
      return mll_arg_error(L, 1, "id %lld is outside 1..256", (long long)ids[i] + 1);
    s[i] = (char)ids[i];
  }
  luaL_pushresultsize(&b, (size_t)n);
  return 1;
}

/* Bytes of the UTF-8 sequence at s (1 for a stray byte: overlong forms, surrogates and what lies
 * beyond U+10FFFF are no characters). */
static size_t sequence(const unsigned char *s, size_t left) {
  size_t n = s[0] < 0xC2 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 1;
  if (n > left)
    return 1;
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
      (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
    return 1;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xC0) != 0x80)
      return 1;
  return n;
}

/* ml.text.characters(s): the distinct characters, sorted bytewise. */
static int l_characters(lua_State *L) {
  size_t n;
  const unsigned char *s = (const unsigned char *)mll_check_string(L, 1, &n);
  lua_settop(L, 1);
  lua_newtable(L);
  bool seen[256] = {false};
  for (size_t i = 0, k; i < n; i += k) {
    k = sequence(s + i, n - i);
    if (k == 1 && seen[s[i]])
      continue;
    if (k == 1)
      seen[s[i]] = true;
    lua_pushlstring(L, (const char *)s + i, k);
    lua_pushboolean(L, 1);
    lua_rawset(L, 2);
  }
  mll_push_sorted_keys(L, 2);
  return 1;
}

/* ml.text.lookup(s, ids): every character by the table character -> id; an unknown one raises, or
 * takes ids[""]. */
static int l_lookup(lua_State *L) {
  size_t n;
  const unsigned char *s = (const unsigned char *)mll_check_string(L, 1, &n);
  mll_check_table(L, 2);
  lua_settop(L, 2);
  int64_t count = 0;
  for (size_t i = 0; i < n; i += sequence(s + i, n - i))
    count++;
  ml_shape shape = ml_shape_make(1, count);
  int64_t *out = ML_DATA(int64_t, mll_push_tensor(L, ML_INDEX, &shape));
  lua_pushliteral(L, "");
  lua_rawget(L, 2);
  int64_t unknown = lua_isinteger(L, -1) ? lua_tointeger(L, -1) - 1 : -1;
  lua_pop(L, 1);
  int64_t byte_ids[256];
  for (int b = 0; b < 256; b++) {
    char c = (char)b;
    lua_pushlstring(L, &c, 1);
    lua_rawget(L, 2);
    byte_ids[b] = lua_isinteger(L, -1) ? lua_tointeger(L, -1) - 1 : unknown;
    lua_pop(L, 1);
  }
  int64_t at = 0;
  for (size_t i = 0, k; i < n; i += k, at++) {
    k = sequence(s + i, n - i);
    int64_t id = unknown;
    if (k == 1)
      id = byte_ids[s[i]];
    else {
      lua_pushlstring(L, (const char *)s + i, k);
      lua_rawget(L, 2);
      if (lua_isinteger(L, -1))
        id = lua_tointeger(L, -1) - 1;
      lua_pop(L, 1);
    }
    if (id < 0) {
      char shown[8] = {0};
      memcpy(shown, s + i, k);
      return mll_arg_error(L, 1, "character '%s' at byte %lld is not in the vocabulary", shown,
                           (long long)i + 1);
    }
    out[at] = id;
  }
  return 1;
}

/* ml.text.windows(ids, starts, n): row b is ids[starts[b] .. starts[b] + n - 1]. */
static int l_windows(lua_State *L) {
  lua_settop(L, 3);
  lua_Integer n = mll_check_integer(L, 3);
  if (n < 1)
    return mll_arg_error(L, 3, "%lld, wanted a length >= 1", (long long)n);
  const ml_tensor *ids = check_contiguous_ids(L, 1);
  const ml_tensor *starts = check_contiguous_ids(L, 2);
  char a[ML_DESCRIBE];
  if (ids->rank != 1)
    return mll_arg_error(L, 1, "%s, wanted index [n]", ml_describe(a, ids));
  if (starts->rank != 1)
    return mll_arg_error(L, 2, "%s, wanted index [rows]", ml_describe(a, starts));
  int64_t rows = ml_numel(starts), total = ml_numel(ids);
  ml_shape shape = ml_shape_make(2, rows, (int64_t)n);
  int64_t *out = ML_DATA(int64_t, mll_push_tensor(L, ML_INDEX, &shape));
  const int64_t *from = ML_DATA(int64_t, ids), *at = ML_DATA(int64_t, starts);
  for (int64_t b = 0; b < rows; b++) {
    if (at[b] < 0 || at[b] > total - n)
      return mll_arg_error(
          L, 2, "row %lld starts at %lld: %lld ids from there exceed the %lld that there are",
          (long long)b + 1, (long long)at[b] + 1, (long long)n, (long long)total);
    memcpy(out + b * n, from + at[b], (size_t)n * sizeof *out);
  }
  return 1;
}

/* ml.text.nearest(word, names) */
static int l_nearest(lua_State *L) {
  const char *word = mll_check_string(L, 1, NULL);
  if (!lua_istable(L, 2))
    return mll_type_error(L, 2, "table of names");
  lua_settop(L, 2);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  const char **names = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *names, 0);
  for (lua_Integer i = 1; i <= n; i++) { /* the table keeps the strings */
    if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
      return mll_arg_error(L, 2, "name %d is a %s, wanted a string", (int)i, luaL_typename(L, -1));
    names[i - 1] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  names[n] = NULL;
  lua_pushstring(L, ml_nearest(word, names)); /* nil for NULL */
  return 1;
}

static int expanded_gc(lua_State *L) {
  ml_text_clear(lua_touserdata(L, 1));
  return 0;
}

/* ml.text.expand(s, name) */
static int l_expand(lua_State *L) {
  size_t n;
  const char *s = mll_check_string(L, 1, &n);
  lua_settop(L, 2);
  const char *name = lua_isnil(L, 2) ? "the data" : mll_check_string(L, 2, NULL);
  ml_text *out = lua_newuserdatauv(L, sizeof *out, 0);
  *out = (ml_text){0};
  if (luaL_newmetatable(L, "ml.expanded")) {
    lua_pushcfunction(L, expanded_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_bytes_expand(out, s, n, name, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushlstring(L, out->text ? out->text : "", out->bytes);
  ml_text_clear(out);
  return 1;
}

static const mll_fn functions[] = {
    {"expand", l_expand,
     "ml.text.expand(s, name)\nBytes without their compression: gzip, zlib and xz are told by "
     "their "
     "first bytes, others come as they are.\n@param s string\n@param name string =the data what "
     "errors call it\n@return string; raises on damaged data\n@source zlib; liblzma"},
    {"bytes", l_bytes,
     "ml.text.bytes(s)\nEvery byte of a string as an id, 1 to 256.\n@param s string\n@return "
     "tensor index [#s]\n@source -"},
    {"from_bytes", l_from_bytes,
     "ml.text.from_bytes(ids)\nThe string of those bytes.\n@param ids tensor index [n], 1 to 256, "
     "or a table\n@return string\n@source -"},
    {"characters", l_characters,
     "ml.text.characters(s)\nThe distinct UTF-8 characters of a string (a stray byte is a "
     "character), sorted bytewise.\n@param s string\n"
     "@return table list of strings\n@source -"},
    {"lookup", l_lookup,
     "ml.text.lookup(s, ids)\nThe id of every UTF-8 character.\n@param s string\n"
     "@param ids table character -> id from 1; ids[\"\"] is the id of unknown characters, which "
     "raise without it\n"
     "@return tensor index [characters]\n@source -"},
    {"windows", l_windows,
     "ml.text.windows(ids, starts, n)\nPieces of a long sequence as rows.\n@param ids tensor index "
     "[N]\n"
     "@param starts tensor index [rows], positions from 1\n@param n integer length of a "
     "row\n@return tensor index [rows, n]\n@source -"},
    {"nearest", l_nearest,
     "ml.text.nearest(word, names)\nThe name that a word was probably meant to be: nearest by "
     "changes, insertions, "
     "deletions and swaps of neighbours, whatever the case.\n@param word string\n@param names "
     "table list of strings\n"
     "@return string or nil when nothing is near\n@source Damerau 1964"},
    {NULL, NULL, NULL}};

void mll_open_text(lua_State *L) {
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "text");
}
