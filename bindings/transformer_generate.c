/* Methods of ml.transformer over lists of sequences: generate, logprob. */
#include "transformer.h"

#include <string.h>

#define MLL_SAMPLES "ml.samples"

/* ---- lists of sequences ---------------------------------------------------------------------- */

/* Ids from 0 of n sequences; lives in a userdata on the stack, so that raising frees it. */
typedef struct {
  int64_t n;
  const int64_t **ids;
  int64_t *length;
} sequences;

/* Length of sequence i (from 1) of the list at arg; leaves it on the stack. */
static int64_t push_sequence(lua_State *L, int arg, lua_Integer i, const char *what) {
  char text[ML_DESCRIBE];
  lua_rawgeti(L, arg, i);
  const ml_tensor *t = mll_test_tensor(L, -1);
  if (t && !ml_tensor_empty(t) && t->dtype == ML_INDEX && t->rank == 1)
    return t->size[0];
  if (!lua_istable(L, -1))
    mll_arg_error(L, arg, "%s %d is %s, wanted a list of ids or an index tensor [T]", what, (int)i,
                  mll_describe(L, -1, text));
  return (int64_t)lua_rawlen(L, -1);
}

static void copy_sequence(lua_State *L, int arg, lua_Integer i, const char *what, int64_t *to,
                          int64_t length) {
  const ml_tensor *t = mll_test_tensor(L, -1);
  for (int64_t k = 0; k < length; k++) {
    if (t) {
      to[k] = ML_DATA(const int64_t, t)[k * t->stride[0]];
      continue;
    }
    int ok;
    lua_rawgeti(L, -1, (lua_Integer)k + 1);
    lua_Integer id = lua_tointegerx(L, -1, &ok);
    char text[ML_DESCRIBE];
    if (!ok || id < 1)
      mll_arg_error(L, arg, "%s %d has %s at %d, wanted an id from 1", what, (int)i,
                    mll_describe(L, -1, text), (int)k + 1);
    to[k] = (int64_t)id - 1;
    lua_pop(L, 1);
  }
}

static sequences *push_sequences(lua_State *L, int arg, const char *what) {
  const ml_tensor *matrix = mll_test_tensor(L, arg); /* index [B,T]: its rows */
  if (matrix && (ml_tensor_empty(matrix) || matrix->dtype != ML_INDEX || matrix->rank != 2))
    matrix = NULL;
  if (!matrix && !lua_istable(L, arg))
    mll_type_error(L, arg, "list of id lists, or index tensor [B,T],");
  int64_t n = matrix ? matrix->size[0] : (int64_t)lua_rawlen(L, arg), total = 0;
  for (int64_t i = 0; i < n; i++) {
    total += matrix ? matrix->size[1] : push_sequence(L, arg, (lua_Integer)i + 1, what);
    if (!matrix)
      lua_pop(L, 1);
  }
  size_t head = sizeof(sequences) + (size_t)n * (sizeof(int64_t *) + sizeof(int64_t));
  sequences *s = lua_newuserdatauv(L, head + (size_t)total * sizeof(int64_t), 0);
  s->n = n;
  s->ids = (const int64_t **)(s + 1);
  s->length = (int64_t *)(void *)(s->ids + n);
  int64_t *to = s->length + n;
  for (int64_t i = 0; i < n; i++) {
    s->ids[i] = to;
    if (matrix) {
      s->length[i] = matrix->size[1];
      for (int64_t k = 0; k < matrix->size[1]; k++)
        to[k] = ML_DATA(const int64_t, matrix)[i * matrix->stride[0] + k * matrix->stride[1]];
    } else {
      s->length[i] = push_sequence(L, arg, (lua_Integer)i + 1, what);
      copy_sequence(L, arg, (lua_Integer)i + 1, what, to, s->length[i]);
      lua_pop(L, 1);
    }
    to += s->length[i];
  }
  return s;
}

static int l_logprob(lua_State *L) {
  static const char *const names[] = {"from", NULL};
  ml_transformer *m = mll_check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  sequences *s = push_sequences(L, 2, "sequence");
  int64_t *from = lua_newuserdatauv(L, ((size_t)s->n + 1) * sizeof *from, 0);
  bool given = mll_has_opt(L, 3, "from"), list = false;
  if (given) {
    lua_getfield(L, 3, "from");
    list = lua_istable(L, -1);
    if (list && (int64_t)lua_rawlen(L, -1) != s->n)
      return mll_opt_error(L, 3, "from", "holds %d numbers for %d sequences",
                           (int)lua_rawlen(L, -1), (int)s->n);
  }
  for (int64_t i = 0; i < s->n; i++) {
    from[i] = 1;
    if (list) {
      int ok;
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      from[i] = (int64_t)lua_tointegerx(L, -1, &ok) - 1;
      if (!ok)
        return mll_opt_error(L, 3, "from", "entry %d is a %s, wanted an integer", (int)i + 1,
                             luaL_typename(L, -1));
      lua_pop(L, 1);
    } else if (given) {
      from[i] = (int64_t)mll_opt_integer(L, 3, "from", 2) - 1;
    }
  }
  mll_list *out = mll_push_list(L, s->n);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_logprob(out->t, m, s->ids, s->length, from, s->n, &err));
  if (status)
    return mll_raise(L, &err);
  lua_createtable(L, (int)s->n, 0);
  for (int64_t i = 0; i < s->n; i++) {
    mll_push_alias(L, &out->t[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  mll_list_clear(out);
  return 1;
}

/* ---- generate -------------------------------------------------------------------------------- */

static int samples_gc(lua_State *L) {
  ml_samples_clear(luaL_checkudata(L, 1, MLL_SAMPLES));
  return 0;
}

static ml_samples *push_samples(lua_State *L) {
  ml_samples *s = lua_newuserdatauv(L, sizeof *s, 0);
  memset(s, 0, sizeof *s);
  luaL_setmetatable(L, MLL_SAMPLES);
  return s;
}

/* { [11] = true }: a set of ids on top becomes the list of its keys. */
static void list_of_set(lua_State *L) {
  if (!lua_istable(L, -1))
    return;
  const bool list = lua_rawgeti(L, -1, 1) != LUA_TNIL && !lua_isboolean(L, -1);
  lua_pop(L, 1);
  if (list)
    return;
  lua_newtable(L);
  lua_Integer n = 0;
  lua_pushnil(L);
  while (lua_next(L, -3)) {
    if (lua_type(L, -1) != LUA_TBOOLEAN || !lua_isinteger(L, -2))
      mll_opt_error(L, 3, "stop",
                    "wanted a set { [id] = true }, a list of ids or an index tensor [n]");
    bool in = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (in) {
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, ++n);
    }
  }
  lua_remove(L, -2);
}

/* The option stop: an id, a list or set of ids, or an index tensor. */
static void read_stop(lua_State *L, ml_generate_options *o) {
  if (!mll_has_opt(L, 3, "stop"))
    return;
  lua_getfield(L, 3, "stop");
  if (!mll_test_tensor(L, -1)) {
    list_of_set(L);
    mll_push_from_lua(L, -1, 3, ML_INDEX);
    lua_remove(L, -2);
  }
  const ml_tensor *t = mll_test_tensor(L, -1);
  if (ml_tensor_empty(t) || t->dtype != ML_INDEX || t->rank > 1)
    mll_opt_error(L, 3, "stop", "wanted an id, a list of ids or an index tensor [n]");
  o->n_stop = ml_numel(t);
  int64_t *ids = lua_newuserdatauv(L, ((size_t)o->n_stop + 1) * sizeof *ids, 0);
  for (int64_t i = 0; i < o->n_stop; i++)
    ids[i] = ML_DATA(const int64_t, t)[t->rank ? i * t->stride[0] : 0];
  o->stop = ids;
}

/* One key per prompt: the option keys (generators or seeds), or one draw from rng folded with the
 * number of the prompt. The generator moves only now that every argument is read. */
static void read_keys(lua_State *L, ml_generate_options *o, int64_t n) {
  mll_model *self = lua_touserdata(L, 1);
  ml_rng *keys = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *keys, 0);
  o->keys = keys;
  if (mll_has_opt(L, 3, "keys")) {
    lua_getfield(L, 3, "keys");
    if (!lua_istable(L, -1) || (int64_t)lua_rawlen(L, -1) != n)
      mll_opt_error(L, 3, "keys", "wanted a list of %d generators or integers", (int)n);
    for (int64_t i = 0; i < n; i++) {
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      const ml_rng *g = luaL_testudata(L, -1, MLL_RNG);
      int ok = 1;
      keys[i] = g ? *g : ml_rng_seed((uint64_t)lua_tointegerx(L, -1, &ok));
      if (!ok)
        mll_opt_error(L, 3, "keys", "entry %d is a %s, wanted a generator or an integer",
                      (int)i + 1, luaL_typename(L, -1));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return;
  }
  ml_rng *g = mll_opt_rng(L, 3, "rng");
  if (o->greedy)
    return;
  if (!g)
    g = &self->rng;
  uint32_t w[4];
  ml_philox(w, g->key, g->counter++, 0);
  ml_rng key = ml_rng_seed((uint64_t)w[1] << 32 | w[0]);
  for (int64_t i = 0; i < n; i++)
    keys[i] = ml_rng_fold(&key, "prompt", 6, i + 1);
}

typedef enum { TOKENS, LOGPROBS, FINISHED } sampled;

/* Row r's new tokens or log probabilities. */
static void push_row(lua_State *L, const ml_samples *s, int64_t r, bool tokens, ml_dtype dtype) {
  ml_shape shape = ml_shape_make(1, s->length[r]);
  ml_tensor *t = mll_push_tensor(L, tokens ? ML_INDEX : dtype, &shape);
  for (int64_t k = 0; k < s->length[r]; k++) {
    if (tokens)
      ML_DATA(int64_t, t)[k] = s->tokens[r * s->room + k];
    else if (dtype == ML_F32)
      ML_DATA(float, t)[k] = (float)s->logprobs[r * s->room + k];
    else
      ML_DATA(double, t)[k] = s->logprobs[r * s->room + k];
  }
}

/* A list over prompts of lists over samples of what was sampled. */
static void push_rows(lua_State *L, const ml_samples *s, int64_t n, sampled what, ml_dtype dtype) {
  lua_createtable(L, (int)(s->rows / n), 0);
  for (int64_t r = 0; r < s->rows; r++) {
    if (r % n == 0)
      lua_createtable(L, (int)n, 0);
    if (what == FINISHED)
      lua_pushboolean(L, s->finished[r]);
    else
      push_row(L, s, r, what == TOKENS, dtype);
    lua_rawseti(L, -2, (lua_Integer)(r % n) + 1);
    if (r % n == n - 1)
      lua_rawseti(L, -2, (lua_Integer)(r / n) + 1);
  }
}

static int l_generate(lua_State *L) {
  static const char *const names[] = {"n",    "max_new", "temperature", "top_k", "top_p", "greedy",
                                      "stop", "rng",     "keys",        "cache", NULL};
  static const char *const caches[] = {"model", "bf16", NULL};
  ml_transformer *m = mll_check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  ml_generate_options o;
  ml_generate_options_default(&o);
  o.n = mll_opt_integer(L, 3, "n", o.n);
  o.max_new = mll_opt_integer(L, 3, "max_new", o.max_new);
  o.temperature = mll_opt_number(L, 3, "temperature", o.temperature);
  o.top_p = mll_opt_number(L, 3, "top_p", o.top_p);
  o.greedy = mll_opt_boolean(L, 3, "greedy", o.greedy);
  o.cache_bf16 = mll_opt_choice(L, 3, "cache", caches, 0) == 1;
  if (mll_has_opt(L, 3, "top_k")) {
    o.top_k = mll_opt_integer(L, 3, "top_k", 0);
    if (o.top_k < 1)
      return mll_opt_error(L, 3, "top_k", "is %lld, wanted >= 1", (long long)o.top_k);
  }
  sequences *prompts = push_sequences(L, 2, "prompt");
  read_stop(L, &o);
  ml_samples *s = push_samples(L);
  read_keys(L, &o, prompts->n);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          ml_transformer_generate(s, m, prompts->ids, prompts->length, prompts->n, &o, &err));
  if (status)
    return mll_raise(L, &err);
  double seconds = s->prefill_seconds + s->decode_seconds;
  push_rows(L, s, o.n, TOKENS, mll_model_dtype(m));
  lua_createtable(L, 0, 8);
  push_rows(L, s, o.n, LOGPROBS, mll_model_dtype(m));
  lua_setfield(L, -2, "logprobs");
  push_rows(L, s, o.n, FINISHED, mll_model_dtype(m));
  lua_setfield(L, -2, "finished");
  lua_pushinteger(L, (lua_Integer)s->new_tokens);
  lua_setfield(L, -2, "new_tokens");
  lua_pushinteger(L, (lua_Integer)s->prompt_tokens);
  lua_setfield(L, -2, "prompt_tokens");
  lua_pushinteger(L, (lua_Integer)s->cache_bytes);
  lua_setfield(L, -2, "cache_bytes");
  mll_set_number(L, "prefill_seconds", s->prefill_seconds);
  mll_set_number(L, "seconds", seconds);
  mll_set_number(L, "tokens_per_second", seconds > 0 ? (double)s->new_tokens / seconds : 0);
  ml_samples_clear(s);
  return 2;
}

/* ---- registration ---------------------------------------------------------------------------- */

const mll_fn mll_transformer_generate_methods[] = {
    {"generate", l_generate,
     "lm:generate(prompts, opts)\n"
     "Samples continuations; neither the batch nor the number of threads changes a sample.\n"
     "@param prompts list of id lists or index tensors, of 1..context ids each\n"
     "@param opts.n integer =1 samples per prompt; they share the prompt's cache\n"
     "@param opts.max_new integer =64 new tokens at most; a row holds context + 1 tokens at most "
     "and then ends unfinished\n"
     "@param opts.temperature number =1 > 0\n"
     "@param opts.top_k integer only the k most likely tokens\n"
     "@param opts.top_p number in (0, 1]: the fewest most likely tokens (of the k) that hold this "
     "share\n"
     "@param opts.greedy boolean =false the most likely token; nothing is drawn\n"
     "@param opts.cache string =\"model\" keys and values in the model's dtype, or \"bf16\": half "
     "the "
     "memory, relative error 2^-8; of models in f32\n"
     "@param opts.stop ids that end a row, a list or a set { [id] = true }; the stop id is "
     "returned last\n"
     "@param opts.rng ml.rng one key is drawn from it and folded with (\"prompt\", i); without it "
     "from a stream of the model's seed\n"
     "@param opts.keys list of generators or integers, one per prompt; row (i, j) draws from "
     "keys[i] folded with (\"row\", j)\n"
     "@return list over prompts of lists over samples of index tensors [n], n <= max_new: the new "
     "tokens\n"
     "@return table info: logprobs (of the sampled tokens under the model's own distribution, "
     "temperature 1, nothing cut off), "
     "finished, new_tokens, prompt_tokens, seconds, prefill_seconds, tokens_per_second, "
     "cache_bytes"},
    {"logprob", l_logprob,
     "lm:logprob(sequences, { from = k })\n"
     "Log probability of each token given those before it, without gradients.\n"
     "@param sequences list of id lists or index tensors, of at most context + 1 ids each\n"
     "@param opts.from integer or list =2 first position scored; prompt length + 1 scores the "
     "answer\n"
     "@return list of tensors [n], one entry per scored position, in nats"},
    {NULL, NULL, NULL}};

void mll_open_samples(lua_State *L) {
  static const mll_fn meta[] = {{"__gc", samples_gc, NULL}, {NULL, NULL, NULL}};
  mll_class(L, MLL_SAMPLES, NULL, meta);
  lua_pop(L, 1);
}
