/* ml.sketch's core: sketches with their randomness as arguments. lua/moonlab/sketch makes objects
 * of them. */
#include "sketch/sketch.h"
#include "mll.h"

static int l_hadamard(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 1);
  const ml_tensor *X = mll_check_real(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_hadamard(out, X, &err));
  return status ? mll_raise(L, &err) : 1;
}

/* The list of exactly n tensors at arg. */
static mll_list *check_tensors(lua_State *L, int arg, int64_t n) {
  mll_list *list = mll_check_list(L, arg);
  if (list->n != n)
    mll_arg_error(L, arg, "%d tensors, wanted %d", (int)list->n, (int)n);
  return list;
}

static int l_srht(lua_State *L) {
  lua_settop(L, 2);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *leg = check_tensors(L, 2, 2);
  const ml_tensor *X = mll_check_real(L, 1);
  const ml_sketch_leg l = {leg->p[0], leg->p[1]};
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_srht(out, X, &l, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 3);
  return 1;
}

static int l_tensor_srht(lua_State *L) {
  lua_settop(L, 3);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *legs = check_tensors(L, 3, 4);
  const ml_tensor *X = mll_check_real(L, 1), *Z = mll_check_real(L, 2);
  const ml_sketch_leg l[2] = {{legs->p[0], legs->p[1]}, {legs->p[2], legs->p[3]}};
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_tensor_srht(out, X, Z, l, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 4);
  return 1;
}

static int l_osnap(lua_State *L) {
  lua_settop(L, 3);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *random = check_tensors(L, 2, 2);
  const ml_tensor *X = mll_check_real(L, 1);
  const int64_t m = mll_check_integer(L, 3);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_osnap(out, X, random->p[0], random->p[1], m, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 4);
  return 1;
}

static int l_osnap_sparse(lua_State *L) {
  lua_settop(L, 3);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *rows = check_tensors(L, 1, 3), *random = check_tensors(L, 2, 2);
  const int64_t m = mll_check_integer(L, 3);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          ml_sketch_osnap_sparse(out, rows->p[0], rows->p[1], rows->p[2], random->p[0],
                                 random->p[1], m, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 4);
  return 1;
}

static int l_windows(lua_State *L) {
  static const char *const names[] = {"dim", "window",   "stride", "top", "left",
                                      "out", "circular", "scale",  NULL};
  lua_settop(L, 3);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *random = check_tensors(L, 2, 2);
  const ml_tensor *X = mll_check_real(L, 1);
  ml_sketch_window w;
  mll_check_opts(L, 3, names);
  mll_opt_pair(L, 3, "window", w.window, 1);
  mll_opt_pair(L, 3, "stride", w.stride, 1);
  w.before[0] = mll_opt_integer(L, 3, "top", 0);
  w.before[1] = mll_opt_integer(L, 3, "left", 0);
  mll_opt_pair(L, 3, "out", w.out, 1);
  w.circular = mll_opt_boolean(L, 3, "circular", false);
  w.scale = mll_opt_number(L, 3, "scale", 1);
  const int64_t m = mll_opt_integer(L, 3, "dim", 0);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_windows(out, X, &w, random->p[0], random->p[1], m, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 4);
  return 1;
}

/* The first four of a list: a tree. */
static ml_sketch_tree tree_of(const mll_list *list) {
  const int64_t leaves = list->p[0]->rank == 2 ? list->p[0]->size[0] : 0;
  return (ml_sketch_tree){leaves, list->p[0], list->p[1], list->p[2], list->p[3]};
}

static int l_powers(lua_State *L) {
  lua_settop(L, 3);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *list = check_tensors(L, 2, 4);
  mll_check_table(L, 3);
  const int count = (int)lua_rawlen(L, 3);
  int64_t *degrees = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *degrees, 0);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, 3, i + 1);
    degrees[i] = (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  const ml_tensor *X = mll_check_real(L, 1);
  const ml_sketch_tree tree = tree_of(list);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_powers(out, X, &tree, degrees, count, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 4);
  return 1;
}

static int l_product(lua_State *L) {
  lua_settop(L, 2);
  ml_tensor *out = mll_push_empty(L);
  const mll_list *list = check_tensors(L, 2, 4), *X = mll_check_list(L, 1);
  const ml_sketch_tree tree = tree_of(list);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_product(out, X->p, (int)X->n, &tree, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 3);
  return 1;
}

/* The list of degrees in field `name` of the table at 4, as flags pushed on the stack. */
static bool *push_use(lua_State *L, const char *name, int64_t degree) {
  lua_getfield(L, 4, name);
  const int list = lua_gettop(L);
  bool *use = lua_newuserdatauv(L, (size_t)(degree + 2) * sizeof *use, 0);
  for (int64_t k = 0; k <= degree; k++)
    use[k] = false;
  const lua_Integer count = lua_istable(L, list) ? (lua_Integer)lua_rawlen(L, list) : 0;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, list, i);
    const lua_Integer k = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (k < 0 || k > degree)
      mll_opt_error(L, 4, name, "degree %d, wanted 0 to %d", (int)k, (int)degree);
    use[k] = true;
  }
  return use;
}

static int l_activation(lua_State *L) {
  static const char *const names[] = {"value", "slope", "homogeneous", NULL};
  lua_settop(L, 4);
  ml_tensor *Y = mll_push_empty(L), *Psi = mll_push_empty(L);
  const ml_tensor *P = mll_arg_tensor(L, 2);
  const mll_list *t = check_tensors(L, 3, P ? 12 : 7);
  mll_check_opts(L, 4, names);
  ml_sketch_layer layer = {.tree = tree_of(t),
                           .value = t->p[4],
                           .down = {t->p[5], t->p[6]},
                           .homogeneous = mll_opt_boolean(L, 4, "homogeneous", false)};
  const int64_t degree = layer.value->rank == 2 ? layer.value->size[1] - 1 : 0;
  layer.use_value = push_use(L, "value", degree);
  layer.use_slope = push_use(L, "slope", degree);
  if (P) {
    layer.slope = t->p[7];
    layer.pair[0] = (ml_sketch_leg){t->p[8], t->p[9]};
    layer.pair[1] = (ml_sketch_leg){t->p[10], t->p[11]};
  }
  const ml_tensor *X = mll_check_real(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_sketch_activation(Y, P ? Psi : NULL, X, P, &layer, &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushvalue(L, 5);
  lua_pushvalue(L, 6);
  return P ? 2 : (lua_pop(L, 1), 1);
}

static const mll_fn functions[] = {
    {"hadamard", l_hadamard,
     "sketch.hadamard(X)\nX H, padded to the next power of two.\n@param X tensor [n,d]\n@return "
     "tensor [n,2^p]"},
    {"srht", l_srht,
     "sketch.srht(X, leg)\nThe subsampled Hadamard transform.\n@param X tensor [n,d]\n@param leg "
     "table signs [d], indices [m]\n@return tensor [n,m]"},
    {"tensor_srht", l_tensor_srht,
     "sketch.tensor_srht(X, Z, legs)\nThe sketch of tensor products of rows.\n@param X tensor "
     "[n,d]\n@param Z tensor [n,e]\n@param legs table signs, indices of X, signs, indices of Z\n"
     "@return tensor [n,m]"},
    {"osnap", l_osnap,
     "sketch.osnap(X, random, dim)\nCoordinates scattered to places.\n@param X tensor [n,d]\n"
     "@param random table hashes [k,d], signs [k,d]\n@param dim integer\n@return tensor [n,dim]"},
    {"osnap_sparse", l_osnap_sparse,
     "sketch.osnap_sparse(rows, random, dim)\nThe same of sparse rows.\n@param rows table offsets "
     "[n+1], columns [nnz], values [nnz]\n@param random table hashes [k,d], signs [k,d]\n@param "
     "dim "
     "integer\n@return tensor [n,dim]"},
    {"windows", l_windows,
     "sketch.windows(X, random, opts)\nEvery window of images scattered to places.\n@param X "
     "tensor "
     "[N,H,W,C]\n@param random table hashes [k,window C], signs [k,window C]\n@param opts table "
     "dim, window, stride, top, left, out, circular, scale\n@return tensor [N,out,out,dim]"},
    {"powers", l_powers,
     "sketch.powers(X, tree, degrees)\nSketches of tensor powers, side by side.\n@param X tensor "
     "[n,d]\n@param tree table signs [leaves,d], indices [leaves,m] of the leaves, signs "
     "[leaves-2,m], indices [leaves-2,m] of the nodes\n@param degrees table integers\n@return "
     "tensor [n,#degrees m]"},
    {"product", l_product,
     "sketch.product(factors, tree)\nThe sketch of a tensor product.\n@param factors table of "
     "tensors [n,d]\n@param tree table as of powers\n@return tensor [n,m]"},
    {"activation", l_activation,
     "sketch.activation(X, P, random, opts)\nFeatures of a dual activation and its derivative.\n"
     "@param X tensor [n,d]\n@param P tensor [n,e], or nil\n@param random table the tree's four; "
     "weights [n or 1,q+1], signs, indices; with P weights, signs, indices, signs, indices\n"
     "@param opts table value, slope: degrees in use; homogeneous\n@return tensor Y [n,m]\n@return "
     "tensor Psi [n,m]"},
    {NULL, NULL, NULL}};

void mll_open_sketch(lua_State *L) {
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "sketch");
}
