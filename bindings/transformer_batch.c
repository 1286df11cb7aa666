/* Methods of ml.transformer over batches: loss, logits, hidden. */
#include "transformer.h"

#include <string.h>

/* Field `name` of the table at arg as a tensor: a table of numbers becomes one of dtype. What it
 * points to stays on the stack. NULL when absent. */
static const ml_tensor *field(lua_State *L, int arg, const char *name, ml_dtype dtype) {
  if (!lua_istable(L, arg))
    return NULL;
  luaL_checkstack(L, 4, NULL);
  lua_getfield(L, arg, name);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return NULL;
  }
  if (lua_istable(L, -1)) {
    mll_push_from_lua(L, -1, arg, dtype);
    lua_remove(L, -2);
  }
  const ml_tensor *t = mll_test_tensor(L, -1);
  char text[ML_DESCRIBE];
  if (!t || ml_tensor_empty(t))
    mll_opt_error(L, arg, name, "is %s, wanted a tensor or a table", mll_describe(L, -1, text));
  return t;
}

/* Ids at argument 2: tokens, or { inputs =, targets = }; or nothing when there are embeddings. */
static void read_ids(lua_State *L, ml_transformer_batch *b, bool loss, bool optional) {
  static const char *const names[] = {"inputs", "targets", NULL};
  if (lua_isnoneornil(L, 2) && optional)
    return;
  bool parts = false;
  if (lua_istable(L, 2)) {
    lua_pushnil(L);
    if (lua_next(L, 2)) {
      parts = lua_type(L, -2) == LUA_TSTRING;
      lua_pop(L, 2);
    }
  }
  if (parts) {
    mll_check_opts(L, 2, names);
    b->inputs = field(L, 2, "inputs", ML_INDEX);
    b->targets = field(L, 2, "targets", ML_INDEX);
  } else if (loss) {
    b->tokens = mll_check_ids(L, 2);
  } else {
    b->inputs = mll_check_ids(L, 2);
  }
}

/* Depth probes in one userdata on the stack. */
static ml_transformer_probe push_probe(lua_State *L, const ml_transformer *m) {
  size_t depth = (size_t)ml_transformer_get_config(m)->depth;
  ml_transformer_probe p;
  size_t size = (depth + 1) * (sizeof *p.attention + 4 * sizeof(double));
  char *room = lua_newuserdatauv(L, size, 0);
  memset(room, 0, size);
  p.attention = (ml_attention_probe *)(void *)room;
  p.block_rms = (double *)(void *)(room + (depth + 1) * sizeof *p.attention);
  p.q_rms = p.block_rms + depth + 1;
  p.k_rms = p.q_rms + depth + 1;
  p.qk_cosine = p.k_rms + depth + 1;
  return p;
}

static void set_layers(lua_State *L, const char *name, const double *first, size_t stride,
                       int64_t depth) {
  lua_createtable(L, (int)depth, 0);
  for (int64_t l = 0; l < depth; l++) {
    lua_pushnumber(L, *(const double *)(const void *)((const char *)first + (size_t)l * stride));
    lua_rawseti(L, -2, (lua_Integer)l + 1);
  }
  lua_setfield(L, -2, name);
}

static int l_loss(lua_State *L) {
  static const char *const names[] = {"z_loss", "mask", "segments", "embeddings", "probes", NULL};
  ml_transformer *m = mll_check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  ml_transformer_batch b = {.z_loss = mll_opt_number(L, 3, "z_loss", 0)};
  bool probes = mll_opt_boolean(L, 3, "probes", false);
  read_ids(L, &b, true, false);
  b.mask = field(L, 3, "mask", mll_model_dtype(m));
  b.segments = field(L, 3, "segments", ML_INDEX);
  b.embeddings = field(L, 3, "embeddings", mll_model_dtype(m));
  ml_transformer_probe probe = {0};
  if (probes) {
    probe = push_probe(L, m);
    b.probe = &probe;
  }
  ml_tensor *loss = mll_push_empty(L);
  ml_ce_info info;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_loss(loss, m, &b, &info, &err));
  if (status)
    return mll_raise(L, &err);
  lua_createtable(L, 0, 12);
  mll_set_number(L, "ce", info.ce);
  mll_set_number(L, "mean_logz", info.mean_logz);
  mll_set_number(L, "mean_logz2", info.mean_logz2);
  mll_set_number(L, "logit_mean", info.logit_mean);
  lua_pushinteger(L, (lua_Integer)info.count);
  lua_setfield(L, -2, "count");
  if (probes) {
    int64_t depth = ml_transformer_get_config(m)->depth;
    size_t each = sizeof *probe.attention;
    set_layers(L, "max_logit", &probe.attention->max_logit, each, depth);
    set_layers(L, "max_abs_logit", &probe.attention->max_abs_logit, each, depth);
    set_layers(L, "attn_entropy", &probe.attention->entropy, each, depth);
    set_layers(L, "block_rms", probe.block_rms, sizeof(double), depth);
    set_layers(L, "q_rms", probe.q_rms, sizeof(double), depth);
    set_layers(L, "k_rms", probe.k_rms, sizeof(double), depth);
    set_layers(L, "qk_cosine", probe.qk_cosine, sizeof(double), depth);
  }
  return 2;
}

static void read_inputs(lua_State *L, const ml_transformer *m, ml_transformer_batch *b) {
  read_ids(L, b, false, mll_has_opt(L, 3, "embeddings"));
  b->segments = field(L, 3, "segments", ML_INDEX);
  b->embeddings = field(L, 3, "embeddings", mll_model_dtype(m));
}

static int l_logits(lua_State *L) {
  static const char *const names[] = {"segments", "embeddings", NULL};
  ml_transformer *m = mll_check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  ml_transformer_batch b = {0};
  read_inputs(L, m, &b);
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_logits(out, m, &b, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int l_hidden(lua_State *L) {
  static const char *const names[] = {"layers", "segments", "embeddings", NULL};
  ml_transformer *m = mll_check_model(L);
  lua_settop(L, 3);
  mll_check_opts(L, 3, names);
  int64_t depth = ml_transformer_get_config(m)->depth;
  if (!mll_has_opt(L, 3, "layers")) { /* all of them */
    lua_newtable(L);
    for (int64_t l = 0; l <= depth; l++) {
      lua_pushinteger(L, (lua_Integer)l);
      lua_rawseti(L, -2, (lua_Integer)l + 1);
    }
    lua_pushliteral(L, "final");
    lua_rawseti(L, -2, (lua_Integer)depth + 2);
  } else {
    lua_getfield(L, 3, "layers");
  }
  if (!lua_istable(L, -1))
    return mll_opt_error(L, 3, "layers", "is a %s, wanted a list of layers", luaL_typename(L, -1));
  int list = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  if (n > 1 << 20)
    return mll_opt_error(L, 3, "layers", "holds too many layers");
  int64_t *layers = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *layers, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "final") == 0)
      layers[i - 1] = ML_LAYER_FINAL;
    else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0)
      layers[i - 1] = lua_tointeger(L, -1);
    else
      return mll_opt_error(L, 3, "layers", "entry %d is not 0..%d or \"final\"", (int)i,
                           (int)depth);
    lua_pop(L, 1);
  }
  ml_transformer_batch b = {0};
  mll_list *out = mll_push_list(L, n);
  read_inputs(L, m, &b);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_transformer_hidden(out->t, m, &b, layers, (int)n, &err));
  if (status)
    return mll_raise(L, &err);
  lua_createtable(L, 0, (int)n);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    mll_push_alias(L, &out->t[i - 1]);
    lua_rawset(L, -3);
  }
  mll_list_clear(out);
  return 1;
}

const mll_fn mll_transformer_batch_methods[] = {
    {"loss", l_loss,
     "lm:loss(tokens, opts)\n"
     "Mean next-token cross-entropy of a batch, differentiable.\n"
     "@param tokens tensor index [B,T+1] (or [T+1], or a table of ids), shifted inside; or { "
     "inputs = [B,T], targets = [B,T] }\n"
     "@param opts.z_loss number =0 weight of (log Z)^2, >= 0\n"
     "@param opts.mask tensor [B,T] of the model's dtype: weights of any sign, aligned with the "
     "targets; the loss is "
     "sum(mask (ce + z_loss logZ^2)) / count(mask ~= 0)\n"
     "@param opts.segments tensor index [B,T] on the inputs: attention and positions restart with "
     "each segment; tokens of a row with the same id are one segment, even where another stands "
     "between\n"
     "@param opts.embeddings tensor [B,T,width]: differentiable input in place of the embedding of "
     "ids\n"
     "@param opts.probes boolean =false adds the per-layer numbers to info\n"
     "@return tensor loss, 0-d\n"
     "@return table info: ce, mean_logz, mean_logz2, logit_mean, count; with probes lists over "
     "layers: max_logit, the largest attention logit z_ij = scale <q_i, k_j>, with its sign, and "
     "max_abs_logit, the largest |z_ij|, both over batch, heads and unmasked pairs (j <= i, same "
     "segment), with the scale, before softmax; q_rms and k_rms, root mean squares of queries and "
     "keys as they meet in z (after qk_norm and rotation, without the scale), so that a query's "
     "norm is about sqrt(d_head) q_rms; qk_cosine, the mean cosine of the same pairs; attn_entropy "
     "(nats), mean over batch, heads and queries; "
     "block_rms, of the output of each block\n"
     "@source Wortsman et al. 2023, sections 2 and 3"},
    {"logits", l_logits,
     "lm:logits(tokens, opts)\n"
     "Logits of every position, differentiable.\n"
     "@param tokens tensor index [B,T] or [T], or a table of ids\n"
     "@param opts.segments tensor index [B,T]: attention and positions restart\n"
     "@param opts.embeddings tensor [B,T,width] in place of tokens\n"
     "@return tensor [B,T,V] or [T,V]"},
    {"hidden", l_hidden,
     "lm:hidden(tokens, { layers = { 0, 2, \"final\" } })\n"
     "Hidden states, differentiable: layer l is the output of block l, 0 the embedding, \"final\" "
     "after the last norm.\n"
     "@param tokens tensor index [B,T] or [T], or a table of ids\n"
     "@param opts.layers list of 0..depth and \"final\" =all\n"
     "@param opts.segments tensor index [B,T]: attention and positions restart\n"
     "@param opts.embeddings tensor [B,T,width] in place of tokens\n"
     "@return table layer -> tensor [B,T,width], keyed as asked"},
    {NULL, NULL, NULL}};
