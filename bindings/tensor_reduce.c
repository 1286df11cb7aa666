/* Reductions, cumulative sums, softmax. */
#include "state.h"

#include <string.h>

static const char *const keepdims_names[] = {"keepdims", NULL};

typedef struct {
  unsigned axes;
  bool keepdims;
} reduction;

/* Arguments 2 and 3: axes (a number, or a table whose string keys are options), then options. */
static reduction read_reduction(lua_State *L, int rank, const char *const *names) {
  reduction r = {0, false};
  if (lua_type(L, 2) == LUA_TTABLE) {
    mll_check_opts_array(L, 2, names);
    r.keepdims = mll_opt_boolean(L, 2, "keepdims", false);
  }
  r.axes = mll_check_axes(L, 2, rank);
  mll_check_opts(L, 3, names);
  r.keepdims = mll_opt_boolean(L, 3, "keepdims", r.keepdims);
  return r;
}

static int reduce(lua_State *L, ml_reduce_op op) {
  ml_tensor *out = mll_push_result(L, 3);
  const ml_tensor *t = mll_check_tensor(L, 1);
  reduction r = read_reduction(L, t->rank, keepdims_names);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_reduce(out, op, t, r.axes, r.keepdims, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  return 1;
}
static int l_sum(lua_State *L) { return reduce(L, ML_SUM); }
static int l_mean(lua_State *L) { return reduce(L, ML_MEAN); }
static int l_prod(lua_State *L) { return reduce(L, ML_PROD); }
static int l_max(lua_State *L) { return reduce(L, ML_MAX); }
static int l_min(lua_State *L) { return reduce(L, ML_MIN); }
static int l_logsumexp(lua_State *L) { return reduce(L, ML_LOGSUMEXP); }
static int l_norm(lua_State *L) { return reduce(L, ML_NORM); }
static int l_any(lua_State *L) { return reduce(L, ML_ANY); }
static int l_all(lua_State *L) { return reduce(L, ML_ALL); }

static int variance(lua_State *L, bool root) {
  static const char *const names[] = {"keepdims", "ddof", NULL};
  ml_tensor *out = mll_push_result(L, 3);
  reduction r = read_reduction(L, mll_check_tensor(L, 1)->rank, names);
  lua_Integer ddof = mll_opt_integer(L, 3, "ddof", mll_opt_integer(L, 2, "ddof", 0));
  if (ddof < 0 || ddof > 1 << 20)
    return mll_arg_error(L, 3, "option 'ddof': is %lld, wanted >= 0", (long long)ddof);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, (root ? ml_std : ml_var)(out, t, r.axes, r.keepdims, (int)ddof, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  return 1;
}
static int l_var(lua_State *L) { return variance(L, false); }
static int l_std(lua_State *L) { return variance(L, true); }

/* The position of the largest or least entry; over all elements in row-major order when no axis is
 * given. */
static int arg(lua_State *L, bool max) {
  ml_tensor *out = mll_push_result(L, 3);
  ml_tensor *flat = mll_push_empty(L);
  bool keepdims = false;
  int axis = -1;
  const ml_tensor *t = mll_check_tensor(L, 1);
  if (lua_type(L, 2) == LUA_TTABLE) {
    mll_check_opts_array(L, 2, keepdims_names);
    keepdims = mll_opt_boolean(L, 2, "keepdims", false);
    if (lua_rawlen(L, 2) > 1)
      return mll_arg_error(L, 2, "wanted one axis, got %d", (int)lua_rawlen(L, 2));
    if (lua_rawlen(L, 2) == 1) {
      lua_rawgeti(L, 2, 1);
      lua_replace(L, 2);
      axis = mll_check_axis(L, 2, t->rank);
    }
  } else if (!lua_isnil(L, 2)) {
    axis = mll_check_axis(L, 2, t->rank);
  }
  mll_check_opts(L, 3, keepdims_names);
  keepdims = mll_opt_boolean(L, 3, "keepdims", keepdims);
  t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status = ML_OK;
  int rank = t->rank;
  if (axis < 0) {
    ml_shape line = ml_shape_make(1, ml_numel(t));
    MLL_RUN(L, status, ml_view_reshape(flat, t, &line, &err));
    t = flat;
  }
  if (!status)
    MLL_RUN(L, status,
            ml_tensor_arg(out, max, t, axis < 0 ? 0 : axis, axis >= 0 && keepdims, &err));
  if (!status && axis < 0 && keepdims) {
    ml_tensor one = {0};
    ml_shape ones = {.rank = rank};
    for (int k = 0; k < rank; k++)
      ones.size[k] = 1;
    status = ml_view_reshape(&one, out, &ones, &err);
    ml_tensor_clear(out);
    ml_tensor_move(out, &one);
  }
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  return 1;
}
static int l_argmax(lua_State *L) { return arg(L, true); }
static int l_argmin(lua_State *L) { return arg(L, false); }

static int l_cumsum(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  if (lua_isnil(L, 2) && t->rank != 1)
    return mll_type_error(L, 2, "axis");
  int axis = lua_isnil(L, 2) ? 0 : mll_check_axis(L, 2, t->rank);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_cumsum(out, t, axis, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int softmax(lua_State *L, bool log) {
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *t = mll_check_tensor(L, 1);
  int axis = lua_isnil(L, 2) ? mll_axis(L, 1, -1, t->rank) : mll_check_axis(L, 2, t->rank);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_softmax(out, t, axis, log, &err));
  return status ? mll_raise(L, &err) : 1;
}
static int l_softmax(lua_State *L) { return softmax(L, false); }
static int l_log_softmax(lua_State *L) { return softmax(L, true); }

#define REDUCE(name, text, result)                                                                 \
  name "(x, axes, opts)\n" text " over the given axes, or over all elements.\n@param x "           \
       "tensor of any shape\n@param axes integer or table of axes =nil "                           \
       "from 1, negative from the end; options may stand in the table\n@param opts.keepdims "      \
       "boolean =false keep "                                                                      \
       "reduced axes with size 1\n" result
#define REDUCED " of x's shape without the reduced axes, 0-d over all"
#define REDUCED_REAL "@return tensor" REDUCED ", differentiable"
#define REDUCED_U8 "@return tensor u8" REDUCED

const mll_fn mll_tensor_reduce_both[] = {
    {"sum", l_sum, REDUCE("sum", "The sum (of u8: a count, in f64)", REDUCED_REAL)},
    {"mean", l_mean, REDUCE("mean", "The mean (of u8: a share, in f64)", REDUCED_REAL)},
    {"prod", l_prod, REDUCE("prod", "The product", REDUCED_REAL)},
    {"max", l_max,
     REDUCE("max", "The largest value, NaN when there is one; equals share the gradient;",
            REDUCED_REAL)},
    {"min", l_min,
     REDUCE("min", "The least value, NaN when there is one; equals share the gradient;",
            REDUCED_REAL)},
    {"logsumexp", l_logsumexp,
     REDUCE("logsumexp", "log(sum(exp(x))), without overflow", REDUCED_REAL)},
    {"norm", l_norm,
     REDUCE("norm", "The Euclidean norm sqrt(sum(x^2)), of gradient 0 where it is 0,",
            REDUCED_REAL)},
    {"any", l_any, REDUCE("any", "1 when some value is not 0, else 0", REDUCED_U8)},
    {"all", l_all, REDUCE("all", "1 when every value is not 0, else 0", REDUCED_U8)},
    {"var", l_var,
     REDUCE("var", "The variance, sum((x - mean)^2) / (n - ddof)",
            "@param opts.ddof integer =0 1 gives the unbiased estimate\n" REDUCED_REAL)},
    {"std", l_std,
     REDUCE("std", "The standard deviation, sqrt(var), of gradient 0 where it is 0,",
            "@param opts.ddof integer =0 1 divides by n - 1\n" REDUCED_REAL)},
    {"argmax", l_argmax,
     "argmax(x, axis, opts)\nThe position of the largest value along axis, or in row-major order "
     "over all; the first of equals, NaN counts as largest.\n@param x tensor of any shape\n@param "
     "axis integer =nil from 1\n@param opts.keepdims boolean =false\n"
     "@return tensor index of x's shape without axis; 0-d over all"},
    {"argmin", l_argmin,
     "argmin(x, axis, opts)\nThe position of the least value along axis, or in row-major order "
     "over all; the first of equals, NaN counts as least.\n@param x tensor of any shape\n@param "
     "axis integer =nil from 1\n@param opts.keepdims boolean =false\n"
     "@return tensor index of x's shape without axis; 0-d over all"},
    {"cumsum", l_cumsum,
     "cumsum(x, axis)\nRunning sums along axis.\n@param x tensor of any shape\n@param axis integer "
     "(=1 at rank "
     "1)\n"
     "@return tensor like x, differentiable"},
    {"softmax", l_softmax,
     "softmax(x, axis)\nexp(x) / sum(exp(x)) along axis, without overflow.\n@param x tensor f32 or "
     "f64 of any shape\n"
     "@param axis integer =-1 from 1, negative from the end\n@return tensor like x, "
     "differentiable"},
    {"log_softmax", l_log_softmax,
     "log_softmax(x, axis)\nx - logsumexp(x) along axis.\n@param x tensor f32 or f64, any "
     "shape\n@param axis "
     "integer =-1 from 1, negative from the end\n"
     "@return tensor like x, differentiable"},
    {NULL, NULL, NULL}};
