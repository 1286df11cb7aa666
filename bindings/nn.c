/* core.nn: the operations that networks are made of. */
#include "state.h"

#include "nn/nn.h"

#include <math.h>
#include <string.h>

static int finish(lua_State *L, ml_status status, const ml_error *err) {
  return status ? mll_raise(L, err) : 1;
}

static const char *const act_names[] = {"identity", "gelu_tanh", "gelu_erf", "relu",
                                        "relu2",    "silu",      "softplus", "tanh",
                                        "sigmoid",  "sin",       "erf",      NULL};

/* The option "activation"; names stand in the order of ml_act. */
static ml_act opt_act(lua_State *L, int arg) {
  return (ml_act)mll_opt_choice(L, arg, "activation", act_names, ML_ACT_IDENTITY);
}

static int l_activation(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  if (lua_type(L, 2) != LUA_TSTRING)
    return mll_type_error(L, 2, "name of an activation");
  ml_act act = ML_ACT_IDENTITY;
  const char *name = lua_tostring(L, 2);
  if (!ml_act_parse(&act, name)) {
    const char *near = ml_nearest(name, act_names);
    return mll_arg_error(L, 2, "unknown activation \"%.60s\"%s%s%s", name,
                         near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
  }
  const ml_tensor *x = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_activation(out, x, act, &err));
  return finish(L, status, &err);
}

static int l_linear(lua_State *L) {
  static const char *const names[] = {"bias", "activation", "transposed", NULL};
  ml_tensor *y = mll_push_result(L, 3), *pre = NULL;
  mll_check_opts(L, 3, names);
  ml_act act = opt_act(L, 3);
  bool transposed = mll_opt_boolean(L, 3, "transposed", false);
  if (transposed && act != ML_ACT_IDENTITY)
    pre = mll_push_empty(L);
  const ml_tensor *x = mll_check_tensor(L, 1), *W = mll_check_tensor(L, 2),
                  *b = mll_opt_tensor(L, 3, "bias");
  ml_error err;
  ml_status status;
  if (!transposed) {
    MLL_RUN(L, status, ml_linear(y, x, W, b, act, &err));
  } else {
    MLL_RUN(L, status, ml_linear_t(pre ? pre : y, x, W, b, &err));
    if (!status && pre)
      MLL_RUN(L, status, ml_activation(y, pre, act, &err));
  }
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  return 1;
}

static const ml_tensor *need_tensor(lua_State *L, int arg, const char *name) {
  const ml_tensor *t = mll_opt_tensor(L, arg, name);
  if (!t)
    mll_opt_error(L, arg, name, "is missing, wanted a tensor");
  return t;
}

static int l_mlp(lua_State *L) {
  static const char *const names[] = {"w1", "b1", "w2", "b2", "activation", NULL};
  ml_tensor *y = mll_push_result(L, 2);
  mll_check_opts(L, 2, names);
  ml_act act = opt_act(L, 2);
  const ml_tensor *x = mll_check_tensor(L, 1), *w1 = need_tensor(L, 2, "w1"),
                  *b1 = mll_opt_tensor(L, 2, "b1"), *w2 = need_tensor(L, 2, "w2"),
                  *b2 = mll_opt_tensor(L, 2, "b2");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_mlp(y, x, w1, b1, w2, b2, act, &err));
  if (status && err.arg > 2)
    err.arg = 2;
  return finish(L, status, &err);
}

static double opt_eps(lua_State *L, int arg) {
  double eps = mll_opt_number(L, arg, "eps", 1e-6);
  if (!(eps >= 0 && isfinite(eps)))
    mll_opt_error(L, arg, "eps", "is %g, wanted >= 0", eps);
  return eps;
}

static int l_layer_norm(lua_State *L) {
  static const char *const names[] = {"gain", "shift", "eps", NULL};
  ml_tensor *y = mll_push_result(L, 2);
  mll_check_opts(L, 2, names);
  double eps = opt_eps(L, 2);
  const ml_tensor *x = mll_check_tensor(L, 1), *gain = mll_opt_tensor(L, 2, "gain"),
                  *shift = mll_opt_tensor(L, 2, "shift");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_layer_norm(y, x, gain, shift, eps, &err));
  if (status && err.arg > 2)
    err.arg = 2;
  return finish(L, status, &err);
}

static int l_rms_norm(lua_State *L) {
  static const char *const names[] = {"gain", "eps", NULL};
  ml_tensor *y = mll_push_result(L, 2);
  mll_check_opts(L, 2, names);
  double eps = opt_eps(L, 2);
  const ml_tensor *x = mll_check_tensor(L, 1), *gain = mll_opt_tensor(L, 2, "gain");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_rms_norm(y, x, gain, eps, &err));
  if (status && err.arg > 2)
    err.arg = 2;
  return finish(L, status, &err);
}

/* The option as an index tensor; a nested table of positions is converted and pushed. */
static const ml_tensor *opt_ids(lua_State *L, int arg, const char *name) {
  if (lua_type(L, arg) != LUA_TTABLE || lua_getfield(L, arg, name) == LUA_TNIL)
    return NULL;
  if (lua_type(L, -1) == LUA_TTABLE)
    return mll_push_from_lua(L, -1, arg, ML_INDEX);
  const ml_tensor *t = mll_opt_tensor(L, arg, name);
  if (t && t->dtype != ML_INDEX) {
    mll_opt_error(L, arg, name, "index tensor expected, got %s", ml_dtype_name(t->dtype));
  }
  return t;
}

static int l_rotary(lua_State *L) {
  static const char *const names[] = {"positions", "base", "pairing", NULL};
  static const char *const pairings[] = {"half", "interleaved", NULL};
  ml_tensor *y = mll_push_result(L, 2);
  mll_check_opts(L, 2, names);
  double base = mll_opt_number(L, 2, "base", 1e4);
  int interleaved = mll_opt_choice(L, 2, "pairing", pairings, 0);
  if (!(base > 0 && isfinite(base)))
    return mll_opt_error(L, 2, "base", "is %g, wanted > 0", base);
  const ml_tensor *positions = opt_ids(L, 2, "positions"), *x = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_rotary(y, x, positions, base, interleaved == 1, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 3);
  return 1;
}

static int l_attention(lua_State *L) {
  static const char *const names[] = {"causal", "segments", "scale", "probe", NULL};
  ml_tensor *y = mll_push_result(L, 4);
  mll_check_opts(L, 4, names);
  bool causal = mll_opt_boolean(L, 4, "causal", true),
       probe = mll_opt_boolean(L, 4, "probe", false);
  double scale = mll_opt_number(L, 4, "scale", NAN);
  bool given = mll_has_opt(L, 4, "scale");
  if (given && !isfinite(scale))
    return mll_opt_error(L, 4, "scale", "is %g, wanted a finite number", scale);
  const ml_tensor *segments = opt_ids(L, 4, "segments");
  const ml_tensor *q = mll_check_tensor(L, 1), *k = mll_check_tensor(L, 2),
                  *v = mll_check_tensor(L, 3);
  if (!given)
    scale = q->rank && q->size[q->rank - 1] ? 1 / sqrt((double)q->size[q->rank - 1]) : 1;
  ml_attention_probe seen;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_attention(y, q, k, v, segments, scale, causal, probe ? &seen : NULL, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 5);
  if (!probe)
    return 1;
  lua_createtable(L, 0, 3);
  lua_pushnumber(L, seen.max_logit);
  lua_setfield(L, -2, "max_logit");
  lua_pushnumber(L, seen.max_abs_logit);
  lua_setfield(L, -2, "max_abs_logit");
  lua_pushnumber(L, seen.entropy);
  lua_setfield(L, -2, "entropy");
  return 2;
}

static int push_ce_info(lua_State *L, const ml_ce_info *info) {
  lua_createtable(L, 0, 5);
  lua_pushnumber(L, info->ce);
  lua_setfield(L, -2, "ce");
  lua_pushnumber(L, info->mean_logz);
  lua_setfield(L, -2, "mean_logz");
  lua_pushnumber(L, info->mean_logz2);
  lua_setfield(L, -2, "mean_logz2");
  lua_pushnumber(L, info->logit_mean);
  lua_setfield(L, -2, "logit_mean");
  lua_pushinteger(L, info->count);
  lua_setfield(L, -2, "count");
  return 2;
}

static double opt_z_loss(lua_State *L, int arg) {
  double z = mll_opt_number(L, arg, "z_loss", 0);
  if (!isfinite(z))
    mll_opt_error(L, arg, "z_loss", "is %g, wanted a finite number", z);
  return z;
}

static int l_cross_entropy(lua_State *L) {
  static const char *const names[] = {"mask", "z_loss", NULL};
  ml_tensor *loss = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  double z_loss = opt_z_loss(L, 3);
  mll_check_ids(L, 2);
  const ml_tensor *logits = mll_check_tensor(L, 1), *targets = mll_check_ids(L, 2),
                  *mask = mll_opt_tensor(L, 3, "mask");
  ml_ce_info info;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_cross_entropy(loss, logits, targets, mask, z_loss, &info, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  return push_ce_info(L, &info);
}

static int l_linear_cross_entropy(lua_State *L) {
  static const char *const names[] = {"bias", "transposed", "multiplier", "mask", "z_loss", NULL};
  ml_tensor *loss = mll_push_result(L, 4);
  mll_check_opts(L, 4, names);
  double z_loss = opt_z_loss(L, 4), multiplier = mll_opt_number(L, 4, "multiplier", 1);
  bool transposed = mll_opt_boolean(L, 4, "transposed", false);
  if (!isfinite(multiplier))
    return mll_opt_error(L, 4, "multiplier", "is %g, wanted a finite number", multiplier);
  mll_check_ids(L, 3);
  const ml_tensor *x = mll_check_tensor(L, 1), *W = mll_check_tensor(L, 2),
                  *targets = mll_check_ids(L, 3), *b = mll_opt_tensor(L, 4, "bias"),
                  *mask = mll_opt_tensor(L, 4, "mask");
  ml_ce_info info;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          ml_linear_cross_entropy(loss, x, W, b, transposed, multiplier, targets, mask, z_loss,
                                  &info, &err));
  if (status) {
    if (err.arg > 2)
      err.arg = 0; /* core counts the bias before the targets; its message tells which it is */
    return mll_raise(L, &err);
  }
  lua_settop(L, 5);
  return push_ce_info(L, &info);
}

static int l_embedding(lua_State *L) {
  static const char *const names[] = {"positions_table", "positions", NULL};
  ml_tensor *y = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  mll_check_ids(L, 2);
  const ml_tensor *positions = opt_ids(L, 3, "positions");
  const ml_tensor *table = mll_check_tensor(L, 1), *ids = mll_check_ids(L, 2),
                  *more = mll_opt_tensor(L, 3, "positions_table");
  if ((more == NULL) != (positions == NULL)) {
    return mll_arg_error(L, 3, "options positions_table and positions come together");
  }
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_embedding(y, table, ids, more, positions, &err));
  if (status) {
    if (err.arg > 3)
      err.arg = 3;
    return mll_raise(L, &err);
  }
  lua_settop(L, 4);
  return 1;
}

static int l_dropout(lua_State *L) {
  static const char *const names[] = {"rng", NULL};
  ml_tensor *y = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  double p = mll_check_number(L, 2);
  if (!(p >= 0 && p < 1))
    return mll_arg_error(L, 2, "p is %g, wanted 0 <= p < 1", p);
  ml_rng *g = mll_opt_rng(L, 3, "rng");
  if (!g)
    return mll_opt_error(L, 3, "rng", "is missing, wanted ml.rng");
  const ml_tensor *x = mll_check_tensor(L, 1);
  ml_rng before = *g;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, (*g = before, ml_dropout(y, x, p, g, &err)));
  if (status)
    *g = before;
  return finish(L, status, &err);
}

static ml_conv_options opt_conv(lua_State *L, int arg, const int64_t stride_otherwise[2]) {
  static const char *const paddings[] = {"valid", "same", NULL};
  ml_conv_options o;
  mll_opt_pair(L, arg, "stride", o.stride, 1);
  if (stride_otherwise && !mll_has_opt(L, arg, "stride"))
    memcpy(o.stride, stride_otherwise, sizeof o.stride);
  o.same = mll_opt_choice(L, arg, "padding", paddings, 0) == 1;
  return o;
}

static void need_kernel(lua_State *L, int arg, int64_t kernel[2]) {
  if (!mll_has_opt(L, arg, "kernel"))
    mll_opt_error(L, arg, "kernel", "is missing, wanted an integer or a pair");
  mll_opt_pair(L, arg, "kernel", kernel, 1);
}

static int l_conv2d(lua_State *L) {
  static const char *const names[] = {"bias", "stride", "padding", NULL};
  ml_tensor *y = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  ml_conv_options o = opt_conv(L, 3, NULL);
  const ml_tensor *x = mll_check_tensor(L, 1), *W = mll_check_tensor(L, 2),
                  *b = mll_opt_tensor(L, 3, "bias");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_conv2d(y, x, W, b, o, &err));
  return finish(L, status, &err);
}

static int l_locally_connected2d(lua_State *L) {
  static const char *const names[] = {"kernel", "bias", "stride", "padding", NULL};
  int64_t kernel[2];
  ml_tensor *y = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  need_kernel(L, 3, kernel);
  ml_conv_options o = opt_conv(L, 3, NULL);
  const ml_tensor *x = mll_check_tensor(L, 1), *W = mll_check_tensor(L, 2),
                  *b = mll_opt_tensor(L, 3, "bias");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_locally_connected2d(y, x, W, b, kernel[0], kernel[1], o, &err));
  return finish(L, status, &err);
}

static int l_avg_pool2d(lua_State *L) {
  static const char *const names[] = {"kernel", "stride", "padding", NULL};
  int64_t kernel[2];
  ml_tensor *y = mll_push_result(L, 2);
  mll_check_opts(L, 2, names);
  need_kernel(L, 2, kernel);
  ml_conv_options o = opt_conv(L, 2, kernel);
  const ml_tensor *x = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_avg_pool2d(y, x, kernel[0], kernel[1], o, &err));
  if (status && err.arg > 2)
    err.arg = 2;
  return finish(L, status, &err);
}

static int l_global_avg_pool(lua_State *L) {
  ml_tensor *y = mll_push_result(L, 1);
  const ml_tensor *x = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_global_avg_pool(y, x, &err));
  return finish(L, status, &err);
}

#define ACT "identity, gelu_tanh, gelu_erf, relu, relu2, silu, softplus, tanh, sigmoid, sin or erf"
#define CONV                                                                                       \
  "@param opts.stride integer =1 or {height, width}\n@param opts.padding string =\"valid\" or "    \
  "\"same\" (size / stride rounded "                                                               \
  "up; the odd pixel of padding at the end)\n"
#define CE                                                                                         \
  "@param opts.mask tensor like targets, real weights w of any sign; absent: 1\n@param "           \
  "opts.z_loss number =0 weight of (log Z)^2, >= 0\n"                                              \
  "@return tensor 0-d, sum(w (ce + z_loss logZ^2)) / count(w ~= 0), nats; 0 when nothing counts; " \
  "differentiable\n"                                                                               \
  "@return table { ce, mean_logz, mean_logz2, logit_mean, count }"

static const mll_fn functions[] = {
    {"linear", l_linear,
     "nn.linear(x, W, opts)\nact(x W + b) over the last axis.\n@param x tensor [...,K] f32 or "
     "f64\n@param W tensor [K,N]; [N,K] when "
     "transposed\n@param opts.bias tensor [N]\n@param opts.activation string =\"identity\" " ACT
     "\n@param opts.transposed boolean =false y = x W^T\n@return tensor [...,N], differentiable"},
    {"mlp", l_mlp,
     "nn.mlp(x, opts)\nact(x w1 + b1) w2 + b2 by blocks of rows; only x and x w1 + b1 are kept for "
     "the gradient.\n"
     "@param x tensor [...,K]\n@param opts.w1 tensor [K,M]\n@param opts.b1 tensor [M]\n@param "
     "opts.w2 tensor [M,N]\n"
     "@param opts.b2 tensor [N]\n@param opts.activation string =\"identity\" " ACT
     "\n@return tensor [...,N], differentiable"},
    {"activation", l_activation,
     "nn.activation(x, name)\nAn activation by name, element by element.\n@param x tensor f32 or "
     "f64 of any shape\n@param name string " ACT
     "\n@return tensor like x, differentiable\n@source Hendrycks & "
     "Gimpel 2016 (GELU), So et al. 2021 (relu2)"},
    {"layer_norm", l_layer_norm,
     "nn.layer_norm(x, opts)\n(x - mean) / sqrt(var + eps) * gain + shift over the last axis, "
     "population variance.\n"
     "@param x tensor [...,D]\n@param opts.gain tensor [D]\n@param opts.shift tensor [D]\n@param "
     "opts.eps number =1e-6 added to the variance inside the root, >= 0\n"
     "@return tensor like x, differentiable\n@source Ba, Kiros & Hinton 2016"},
    {"rms_norm", l_rms_norm,
     "nn.rms_norm(x, opts)\nx / sqrt(mean(x^2) + eps) * gain over the last axis.\n@param x tensor "
     "[...,D]\n"
     "@param opts.gain tensor [D]\n@param opts.eps number =1e-6 added to the variance inside the "
     "root, >= 0\n@return tensor like x, "
     "differentiable\n@source Zhang & Sennrich 2019"},
    {"rotary", l_rotary,
     "nn.rotary(x, opts)\nRotates pairs of channels by position * base^(-2i/D).\n@param x tensor "
     "[B,T,H,D], D even\n"
     "@param opts.positions tensor index [B,T] =1..T\n@param opts.base number =1e4 of the "
     "geometric series of wavelengths, > 0\n"
     "@param opts.pairing string =\"half\" (i, i + D/2) or \"interleaved\" (2i - 1, 2i)\n@return "
     "tensor like x, differentiable\n"
     "@source Su et al. 2021"},
    {"attention", l_attention,
     "nn.attention(q, k, v, opts)\nsoftmax(scale q k^T) v in each head, by blocks: the scores of "
     "all heads never exist at once.\n"
     "@param q tensor [B,T,H,D]\n@param k tensor [B,T,H,D]\n@param v tensor [B,T,H,D]\n"
     "@param opts.causal boolean =true a query sees itself and earlier keys\n"
     "@param opts.segments tensor index [B,T] pairs of unequal segments do not see each other; "
     "what is masked gives nothing, NaN neither\n"
     "@param opts.scale number =1/sqrt(D) factor of the logits\n@param opts.probe boolean "
     "=false\n@return tensor "
     "[B,T,H,D], differentiable\n"
     "@return table with probe: { max_logit, max_abs_logit, entropy (nats, mean over queries) }\n"
     "@source Vaswani et al. 2017; Dao et al. 2022"},
    {"cross_entropy", l_cross_entropy,
     "nn.cross_entropy(logits, targets, opts)\nCross-entropy with a term in log Z = "
     "logsumexp(logits) and weights.\n"
     "@param logits tensor [...,V]\n@param targets tensor index [...], or nested table of "
     "positions\n" CE "\n@source Chowdhery et al. 2022 (z term)"},
    {"linear_cross_entropy", l_linear_cross_entropy,
     "nn.linear_cross_entropy(x, W, targets, opts)\nCross-entropy of logits multiplier (x W + b), "
     "by blocks of rows: the logits are "
     "never stored whole.\n@param x tensor [...,K]\n@param W tensor [K,V]; [V,K] when transposed\n"
     "@param targets tensor index [...], or nested table of positions\n@param opts.bias tensor "
     "[V]\n"
     "@param opts.transposed boolean =false\n@param opts.multiplier number =1 of the logits\n" CE
     "\n@source Chowdhery et al. 2022 (z term)"},
    {"embedding", l_embedding,
     "nn.embedding(table, ids, opts)\nRows of a table by id, plus rows of a second table by "
     "position.\n@param table tensor [V,d]\n"
     "@param ids tensor index [...], or nested table of ids from 1\n@param opts.positions_table "
     "tensor [P,d]\n"
     "@param opts.positions tensor index like ids\n@return tensor [...,d], differentiable"},
    {"dropout", l_dropout,
     "nn.dropout(x, p, opts)\nEach element becomes 0 with probability p, else x / (1 - p); "
     "advances the generator.\n"
     "@param x tensor f32 or f64, any shape\n@param p number 0 <= p < 1\n@param opts.rng "
     "rng\n@return tensor "
     "like x, differentiable\n"
     "@source Srivastava et al. 2014"},
    {"conv2d", l_conv2d,
     "nn.conv2d(x, W, opts)\nConvolution (cross-correlation) of images.\n@param x tensor "
     "[N,H,W,C]\n@param W tensor [kh,kw,C,O]\n"
     "@param opts.bias tensor [O]\n" CONV
     "@return tensor [N,H',W',O], differentiable\n@source LeCun et al. 1989"},
    {"locally_connected2d", l_locally_connected2d,
     "nn.locally_connected2d(x, W, opts)\nA convolution whose weights are not shared between "
     "positions.\n@param x tensor [N,H,W,C]\n"
     "@param W tensor [H',W',kh*kw*C,O], rows in the order kh, kw, C\n@param opts.kernel integer "
     "or {kh, kw}\n"
     "@param opts.bias tensor [H',W',O]\n" CONV
     "@return tensor [N,H',W',O], differentiable\n@source LeCun 1989"},
    {"avg_pool2d", l_avg_pool2d,
     "nn.avg_pool2d(x, opts)\nMeans over windows; at a padded edge over the pixels that "
     "exist.\n@param x tensor [N,H,W,C]\n"
     "@param opts.kernel integer or {kh, kw}\n@param opts.stride integer or pair =kernel\n"
     "@param opts.padding string =\"valid\" or \"same\"\n@return tensor [N,H',W',C], "
     "differentiable\n@source LeCun et al. 1989"},
    {"global_avg_pool", l_global_avg_pool,
     "nn.global_avg_pool(x)\nMeans over all positions.\n@param x tensor [N,H,W,C]\n@return tensor "
     "[N,C], differentiable\n"
     "@source Lin, Chen & Yan 2013"},
    {NULL, NULL, NULL}};

void mll_open_nn(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "nn");
}
