/* ml.save and ml.load: tensors in safetensors, npy, npz and IDX files; opens ml.json beside them.
 */
#include "state.h"

#include "io/io.h"

#include <string.h>

/* ---- load ------------------------------------------------------------------------------------ */

static int file_gc(lua_State *L) {
  ml_tensor_file_clear(lua_touserdata(L, 1));
  return 0;
}

static ml_tensor_file *push_file(lua_State *L) {
  ml_tensor_file *file = lua_newuserdatauv(L, sizeof *file, 0);
  memset(file, 0, sizeof *file);
  if (luaL_newmetatable(L, "ml.tensor_file")) {
    lua_pushcfunction(L, file_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return file;
}

static int l_load(lua_State *L) {
  static const char *const names[] = {"as", NULL};
  static const char *const kinds[] = {"stored", "f64", "f32", NULL};
  const char *path = mll_check_path(L, 1);
  lua_settop(L, 2);
  mll_check_opts(L, 2, names);
  ml_load_as as = (ml_load_as)mll_opt_choice(L, 2, "as", kinds, ML_AS_STORED);
  if (mll_no_file(L, path))
    return 2;
  ml_tensor_file *file = push_file(L); /* 3 */
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_file_load(file, path, as, &err));
  if (status)
    return mll_raise(L, &err);
  if (file->single) {
    ml_tensor_move(mll_push_empty(L), &file->items[0].tensor);
    ml_tensor_file_clear(file);
    return 1;
  }
  lua_createtable(L, 0, file->n);
  for (int i = 0; i < file->n; i++) {
    ml_tensor_move(mll_push_empty(L), &file->items[i].tensor);
    lua_setfield(L, -2, file->items[i].name);
  }
  lua_createtable(L, 0, file->n_meta);
  for (int i = 0; i < file->n_meta; i++) {
    lua_pushstring(L, file->meta[2 * (size_t)i + 1]);
    lua_setfield(L, -2, file->meta[2 * (size_t)i]);
  }
  ml_tensor_file_clear(file);
  return 2;
}

/* ---- save ------------------------------------------------------------------------------------ */

/* What core's savers read; the names belong to Lua strings that stand on the stack. */
typedef struct {
  int n;
  ml_named_tensor items[];
} outgoing;

static int outgoing_gc(lua_State *L) {
  outgoing *o = lua_touserdata(L, 1);
  for (int i = 0; i < o->n; i++)
    ml_tensor_clear(&o->items[i].tensor);
  return 0;
}

/* Pushes the sorted names and then the tensors of the table at arg. */
static outgoing *push_outgoing(lua_State *L, int arg) {
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) {
      char got[ML_DESCRIBE];
      mll_arg_error(L, arg, "the table holds the key %s, wanted names", mll_describe(L, -1, got));
    }
  }
  mll_push_sorted_keys(L, arg);
  int keys = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, keys);
  if (n > 1 << 24)
    mll_arg_error(L, arg, "%lld tensors are too many for one file", (long long)n);
  size_t bytes = sizeof(outgoing) + (size_t)n * sizeof(ml_named_tensor);
  outgoing *o = lua_newuserdatauv(L, bytes, 0);
  memset(o, 0, bytes);
  if (luaL_newmetatable(L, "ml.outgoing")) {
    lua_pushcfunction(L, outgoing_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  o->n = (int)n;
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(L, keys, i + 1);
    const char *name = lua_tostring(L, -1);
    if (strlen(name) != lua_rawlen(L, -1))
      mll_arg_error(L, arg, "the name '%s' holds a zero byte", name);
    o->items[i].name = (char *)name;
    lua_rawget(L, arg);
    const ml_tensor *t = mll_test_tensor(L, -1);
    if (!t || ml_tensor_empty(t)) {
      char got[ML_DESCRIBE];
      mll_arg_error(L, arg, "entry '%.60s' is %s, wanted a tensor", name, mll_describe(L, -1, got));
    }
    ml_tensor_detach(&o->items[i].tensor, t);
    lua_pop(L, 1);
  }
  return o;
}

/* Pushes key, value, key, value ... of the metadata at idx as an array of C strings; *pairs tells
 * how many. */
static const char **push_metadata(lua_State *L, int idx, int *pairs) {
  *pairs = 0;
  if (lua_type(L, idx) != LUA_TTABLE) {
    if (!lua_isnil(L, idx))
      mll_opt_error(L, 3, "metadata", "table of strings expected, got %s", luaL_typename(L, idx));
    return NULL;
  }
  mll_push_sorted_keys(L, idx);
  int keys = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, keys);
  const char **meta = lua_newuserdatauv(L, ((size_t)n * 2 + 1) * sizeof *meta, 0);
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(L, keys, i + 1);
    meta[2 * i] = lua_tostring(L, -1);
    lua_rawget(L, idx);
    if (lua_type(L, -1) != LUA_TSTRING) {
      mll_opt_error(L, 3, "metadata", "'%.60s' is a %s, wanted a string", meta[2 * i],
                    luaL_typename(L, -1));
    }
    meta[2 * i + 1] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  *pairs = (int)n;
  return meta;
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n >= m && strcmp(s + n - m, end) == 0;
}

static int l_save(lua_State *L) {
  static const char *const names[] = {"metadata", NULL};
  const char *path = mll_check_path(L, 1);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  bool npy = ends_with(path, ".npy"), npz = ends_with(path, ".npz");
  ml_error err;
  ml_status status;
  if (!npy && !npz && !ends_with(path, ".safetensors")) {
    return mll_arg_error(
        L, 1, "path is \"%.200s\", wanted a name that ends in .safetensors, .npz or .npy", path);
  }
  if (npy) {
    const ml_tensor *t = mll_check_tensor(L, 2);
    if (mll_has_opt(L, 3, "metadata"))
      return mll_opt_error(L, 3, "metadata", "only safetensors files hold it");
    MLL_RUN(L, status, ml_npy_save(path, t, &err));
    return status ? mll_raise(L, &err) : 0;
  }
  if (lua_type(L, 2) != LUA_TTABLE)
    return mll_type_error(L, 2, "table of names and tensors");
  if (lua_type(L, 3) == LUA_TTABLE)
    lua_getfield(L, 3, "metadata");
  else
    lua_pushnil(L);
  if (npz && !lua_isnil(L, 4))
    return mll_opt_error(L, 3, "metadata", "only safetensors files hold it");
  int pairs;
  const char **meta = push_metadata(L, 4, &pairs);
  outgoing *o = push_outgoing(L, 2);
  MLL_RUN(L, status,
          npz ? ml_npz_save(path, o->items, o->n, &err)
              : ml_safetensors_save(path, o->items, o->n, meta, pairs, &err));
  for (int i = 0; i < o->n; i++)
    ml_tensor_clear(&o->items[i].tensor);
  return status ? mll_raise(L, &err) : 0;
}

static const mll_fn functions[] = {
    {"save", l_save,
     "save(path, tensors, opts)\nWrites tensors to a file that appears whole or not at all; the "
     "ending of path chooses the format.\n"
     "Index tensors are stored 0-based, as int64.\n@param path string ending in .safetensors, .npz "
     "or .npy\n"
     "@param tensors table name -> tensor, any shapes; for .npy one tensor\n"
     "@param opts.metadata table string -> string, safetensors only\n"
     "Raises when the folder cannot be written or the disk is full.\n"
     "@source huggingface/safetensors, Format; numpy.lib.format"},
    {"load", l_load,
     "load(path, opts)\nReads a safetensors, npy, npz or IDX file; the content tells the format.\n"
     "float64 gives f64; float32, float16 and bfloat16 give f32; int64 gives index (stored value + "
     "1; negatives raise), other\n"
     "integers f64, uint8 and bool u8.\n@param path string\n"
     "@param opts.as string =\"stored\" \"f64\" or \"f32\": every tensor as reals\n"
     "@return table name -> tensor of its shape in the file; from npy and IDX the tensor; nil and "
     "a message when there is no such file\n"
     "@return table metadata, string -> string\nRaises when the file is not what its format "
     "allows.\n"
     "@source huggingface/safetensors, Format; numpy.lib.format; LeCun, Cortes & Burges, The MNIST "
     "database"},
    {NULL, NULL, NULL}};

void mll_open_io(lua_State *L) {
  mll_register(L, functions);
  mll_open_json(L);
}
