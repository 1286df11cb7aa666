/* ml.kernel's core: dual activations and rows of kernels. lua/moonlab/kernel makes objects of them.
 *
 * A layer arrives as a table of numbers and words: { kind, layer, w2, b2, window, stride, padding,
 * dual = { kind, p, degree, coefficients } }. */
#include "kernel/kernel.h"
#include "mll.h"

#include <string.h>

#define POINTS "ml.kernel_points"

static const char *const kinds[] = {"dense",      "conv", "act",  "avg_pool", "gap", "flatten",
                                    "layer_norm", "push", "swap", "add",      NULL};
static const char *const duals[] = {"identity", "abrelu",     "step",       "sign", "rectified",
                                    "erf",      "gelu",       "sin",        "exp",  "gaussian",
                                    "gabor",    "normalized", "polynomial", NULL};
static const char *const paddings[] = {"same", "valid", "circular", NULL};

/* count numbers of the list in field `name` of the table at idx; absent: zeros */
static void read_numbers(lua_State *L, int idx, const char *name, double *out, int count) {
  lua_getfield(L, idx, name);
  for (int i = 0; i < count; i++) {
    out[i] = 0;
    if (lua_istable(L, -1)) {
      lua_rawgeti(L, -1, i + 1);
      out[i] = lua_tonumber(L, -1);
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

/* The dual in the table on top of the stack. */
static void read_dual(lua_State *L, ml_dual *dual) {
  const int t = lua_gettop(L);
  double p[4], coefficients[ML_DUAL_DEGREE + 1];
  const int kind = mll_opt_choice(L, t, "kind", duals, 0);
  const int degree = (int)mll_opt_integer(L, t, "degree", 0);
  read_numbers(L, t, "p", p, 4);
  read_numbers(L, t, "coefficients", coefficients,
               degree >= 0 && degree <= ML_DUAL_DEGREE ? degree + 1 : 0);
  ml_error err;
  if (ml_dual_init(dual, (ml_dual_kind)kind, p, degree, coefficients, &err))
    mll_raise(L, &err);
}

/* The list of layers at arg, in a buffer pushed on the stack. */
static ml_kernel_op *push_ops(lua_State *L, int arg, int *count) {
  mll_check_table(L, arg);
  *count = (int)lua_rawlen(L, arg);
  ml_kernel_op *ops = lua_newuserdatauv(L, (size_t)(*count + 1) * sizeof *ops, 0);
  memset(ops, 0, (size_t)(*count + 1) * sizeof *ops);
  for (int i = 0; i < *count; i++) {
    ml_kernel_op *op = &ops[i];
    lua_rawgeti(L, arg, i + 1);
    const int t = lua_gettop(L);
    mll_check_table(L, t);
    op->kind = (ml_kernel_kind)mll_opt_choice(L, t, "kind", kinds, 0);
    op->layer = (int)mll_opt_integer(L, t, "layer", i + 1);
    op->w2 = mll_opt_number(L, t, "w2", 1);
    op->b2 = mll_opt_number(L, t, "b2", 0);
    op->padding = (ml_kernel_padding)mll_opt_choice(L, t, "padding", paddings, 0);
    mll_opt_pair(L, t, "window", op->window, 1);
    mll_opt_pair(L, t, "stride", op->stride, 1);
    if (op->kind == ML_KERNEL_ACT) {
      lua_getfield(L, t, "dual");
      mll_check_table(L, -1);
      read_dual(L, &op->dual);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  return ops;
}

/* kernel.dual(dual, c, a, b) -> kappa, kappa_dot */
static int l_dual(lua_State *L) {
  lua_settop(L, 4);
  ml_tensor *kappa = mll_push_empty(L), *dot = mll_push_empty(L);
  mll_check_table(L, 1);
  ml_dual dual;
  lua_pushvalue(L, 1);
  read_dual(L, &dual);
  lua_pop(L, 1);
  const ml_tensor *c = mll_check_real(L, 2), *a = mll_check_real(L, 3), *b = mll_check_real(L, 4);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_dual_eval(kappa, dot, &dual, c, a, b, &err));
  return status ? mll_raise(L, &err) : 2;
}

/* kernel.series(rho, x, y) -> kappa */
static int l_series(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  const ml_tensor *rho = mll_check_real(L, 1), *x = mll_check_real(L, 2), *y = mll_check_real(L, 3);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_dual_series(out, rho, x, y, &err));
  return status ? mll_raise(L, &err) : 1;
}

/* kernel.estimate(X, ops) -> bytes of the points' tables, bytes of a thread's scratch, flops */
static int l_estimate(lua_State *L) {
  lua_settop(L, 2);
  const ml_tensor *X = mll_check_tensor(L, 1);
  int count;
  const ml_kernel_op *ops = push_ops(L, 2, &count);
  double points, thread, flops;
  ml_error err;
  if (ml_kernel_estimate(&points, &thread, &flops, ops, count, X, &err))
    return mll_raise(L, &err);
  lua_pushnumber(L, points);
  lua_pushnumber(L, thread);
  lua_pushnumber(L, flops);
  return 3;
}

/* kernel.points(X, ops): what rows and diagonal want; close it */
static int l_points(lua_State *L) {
  lua_settop(L, 2);
  const ml_tensor *X = mll_check_tensor(L, 1);
  int count;
  const ml_kernel_op *ops = push_ops(L, 2, &count);
  ml_kernel_points **p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = NULL;
  luaL_setmetatable(L, POINTS);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_kernel_points_new(p, ops, count, X, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int points_close(lua_State *L) {
  ml_kernel_points **p = luaL_checkudata(L, 1, POINTS);
  ml_kernel_points_free(*p);
  *p = NULL;
  return 0;
}

static ml_kernel_points *check_points(lua_State *L, int arg) {
  ml_kernel_points **p = mll_check_object(L, arg, POINTS);
  if (!*p)
    mll_arg_error(L, arg, "the points are closed");
  return *p;
}

/* kernel.diagonal(points) -> K, T */
static int l_diagonal(lua_State *L) {
  lua_settop(L, 1);
  ml_tensor *K = mll_push_empty(L), *T = mll_push_empty(L);
  const ml_kernel_points *p = check_points(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_kernel_diagonal(K, T, p, &err));
  return status ? mll_raise(L, &err) : 2;
}

/* kernel.matrix(n, m, dtype): not filled, for rows */
static int l_matrix(lua_State *L) {
  lua_settop(L, 3);
  const ml_shape shape =
      ml_shape_make(2, (int64_t)mll_check_integer(L, 1), (int64_t)mll_check_integer(L, 2));
  mll_push_tensor(L, mll_check_dtype(L, 3), &shape);
  return 1;
}

/* kernel.rows(x, y, { K, T, first, count }): first from 1 */
static int l_rows(lua_State *L) {
  static const char *const names[] = {"K", "T", "first", "count", NULL};
  lua_settop(L, 3);
  const ml_kernel_points *x = check_points(L, 1), *y = check_points(L, 2);
  mll_check_opts(L, 3, names);
  const lua_Integer first = mll_opt_integer(L, 3, "first", 1),
                    count = mll_opt_integer(L, 3, "count", 0);
  ml_tensor *K = mll_opt_tensor(L, 3, "K"), *T = mll_opt_tensor(L, 3, "T");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_kernel_rows(K, T, x, y, first - 1, count, &err));
  return status ? mll_raise(L, &err) : 0;
}

static const mll_fn points_methods[] = {{NULL, NULL, NULL}};
static const mll_fn points_meta[] = {
    {"__gc", points_close, NULL}, {"__close", points_close, NULL}, {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"dual", l_dual,
     "kernel.dual(dual, c, a, b)\nkappa and kappa_dot entry by entry.\n@param dual table kind, p, "
     "degree, coefficients\n@param c tensor [...] covariances\n@param a tensor [...] like c, "
     "variances\n@param b tensor [...] like c, variances\n@return tensor kappa [...]\n@return "
     "tensor kappa_dot [...]"},
    {"series", l_series,
     "kernel.series(rho, x, y)\nThe sums over k of x[i,k] y[j,k] rho[i,j]^(k-1).\n@param rho "
     "tensor [n,m]\n@param x tensor [n,q]\n@param y tensor [m,q]\n@return tensor [n,m]"},
    {"estimate", l_estimate,
     "kernel.estimate(X, ops)\nWhat a network costs on inputs like X.\n@param X tensor [n,...]\n"
     "@param ops table\n@return number bytes of the points' tables\n@return number bytes of a "
     "thread's scratch\n@return number flops of a pair, roughly"},
    {"points", l_points,
     "kernel.points(X, ops)\nPoints that a network has met by themselves; close it.\n@param X "
     "tensor [n,d] or [n,H,W,C]\n@param ops table\n@return ml.kernel_points"},
    {"diagonal", l_diagonal,
     "kernel.diagonal(points)\nEach point with itself.\n@param points ml.kernel_points\n@return "
     "tensor K [n]\n@return tensor T [n]"},
    {"matrix", l_matrix,
     "kernel.matrix(n, m, dtype)\nA matrix that is not filled, for rows.\n@param n integer how "
     "many, >= 0\n@param "
     "m integer\n@param dtype string\n@return tensor [n,m]"},
    {"rows", l_rows,
     "kernel.rows(x, y, opts)\nFills rows of the kernels between x and y.\n@param x "
     "ml.kernel_points\n@param y ml.kernel_points; the same object: symmetric, whole after the "
     "last rows\n@param opts.K tensor [n,m]\n@param opts.T tensor [n,m]\n@param opts.first "
     "integer =1 one more than a multiple of 256\n@param opts.count integer =0 a multiple of 256 "
     "or up to the last row"},
    {NULL, NULL, NULL}};

void mll_open_kernel(lua_State *L) {
  mll_class(L, POINTS, points_methods, points_meta);
  lua_pop(L, 1);
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "kernel");
}
