/* ml.solve: factorizations of dense f64 matrices. */
#include "solve/solve.h"
#include "mll.h"

#include <float.h>

/* The matrix at arg, f64 [m,n]. */
static const ml_tensor *check_matrix(lua_State *L, int arg, bool square) {
  const ml_tensor *A = mll_check_tensor(L, arg);
  char text[ML_DESCRIBE];
  if (A->dtype != ML_F64 || A->rank != 2 || (square && A->size[0] != A->size[1]))
    mll_arg_error(L, arg, "%s, wanted a %smatrix of f64", ml_describe(text, A),
                  square ? "square " : "");
  return A;
}

/* Pushes a contiguous copy of the tensor at arg. */
static ml_tensor *push_copy(lua_State *L, int arg) {
  ml_tensor *out = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_clone(out, mll_check_tensor(L, arg), &err));
  if (status)
    mll_raise(L, &err);
  return out;
}

/* A single call of LAPACK cannot be interrupted: one that takes longer than a few seconds says so
 * before. */
static void announce(const char *what, double flops) {
  const double seconds = flops / 4e9;
  if (seconds > 5)
    fprintf(stderr, "moonlab: %s takes about %.0f s and cannot be interrupted\n", what, seconds);
}

static int l_eigh(lua_State *L) {
  lua_settop(L, 1);
  const ml_tensor *A = check_matrix(L, 1, true);
  const int64_t n = A->size[0];
  ml_shape shape = ml_shape_make(1, n);
  ml_tensor *lambda = mll_push_tensor(L, ML_F64, &shape);
  ml_tensor *V = push_copy(L, 1);
  ml_error err;
  /* of 9 n^3 flops most run at the speed of matrix products */
  announce("eigh", 2.0 * (double)n * (double)n * (double)n);
  ml_status status;
  MLL_RUN(L, status, ml_solve_eigh(ML_DATA(double, lambda), ML_DATA(double, V), n, &err));
  return status ? mll_raise(L, &err) : 2;
}

static int l_cholesky(lua_State *L) {
  static const char *const names[] = {"ridge", NULL};
  lua_settop(L, 2);
  const ml_tensor *A = check_matrix(L, 1, true);
  mll_check_opts(L, 2, names);
  const double ridge = mll_opt_number(L, 2, "ridge", 0);
  if (!(ridge >= 0) || ridge > DBL_MAX)
    return mll_opt_error(L, 2, "ridge", "%g, wanted a finite number >= 0", ridge);
  ml_tensor *out = push_copy(L, 1);
  ml_error err;
  for (int64_t i = 0; i < A->size[0]; i++)
    ML_DATA(double, out)[i * A->size[0] + i] += ridge;
  ml_status status = ml_solve_cholesky(ML_DATA(double, out), A->size[0], &err);
  return status ? mll_raise(L, &err) : 1;
}

static int l_qr(lua_State *L) {
  lua_settop(L, 1);
  const ml_tensor *A = check_matrix(L, 1, false);
  const int64_t m = A->size[0], n = A->size[1];
  ml_tensor *Q = push_copy(L, 1);
  ml_shape shape = ml_shape_make(2, n, n);
  ml_tensor *R = mll_push_tensor(L, ML_F64, &shape);
  ml_error err;
  announce("qr", 4.0 * (double)m * (double)n * (double)n);
  ml_status status;
  MLL_RUN(L, status, ml_solve_qr(ML_DATA(double, Q), ML_DATA(double, R), m, n, &err));
  return status ? mll_raise(L, &err) : 2;
}

static int l_svd(lua_State *L) {
  lua_settop(L, 1);
  const ml_tensor *A = check_matrix(L, 1, false);
  const int64_t m = A->size[0], n = A->size[1], k = m < n ? m : n;
  ml_shape left = ml_shape_make(2, m, k), middle = ml_shape_make(1, k),
           right = ml_shape_make(2, k, n);
  ml_tensor *work = push_copy(L, 1);
  ml_tensor *U = mll_push_tensor(L, ML_F64, &left);
  ml_tensor *s = mll_push_tensor(L, ML_F64, &middle);
  ml_tensor *Vt = mll_push_tensor(L, ML_F64, &right);
  ml_error err;
  announce("svd", 10.0 * (double)m * (double)n * (double)k);
  ml_status status;
  MLL_RUN(L, status,
          ml_solve_svd(ML_DATA(double, U), ML_DATA(double, s), ML_DATA(double, Vt),
                       ML_DATA(double, work), m, n, &err));
  return status ? mll_raise(L, &err) : 3;
}

static int l_triangular(lua_State *L) {
  static const char *const names[] = {"transposed", NULL};
  lua_settop(L, 3);
  const ml_tensor *A = check_matrix(L, 1, true);
  const ml_tensor *b = mll_check_tensor(L, 2);
  mll_check_opts(L, 3, names);
  bool transposed = mll_opt_boolean(L, 3, "transposed", false);
  char text[2][ML_DESCRIBE];
  if (b->dtype != ML_F64 || b->rank < 1 || b->rank > 2 || b->size[0] != A->size[0])
    return mll_arg_error(L, 2, "L is %s and b %s, wanted f64 with as many rows",
                         ml_describe(text[0], A), ml_describe(text[1], b));
  const int64_t n = A->size[0], c = b->rank == 2 ? b->size[1] : 1;
  const ml_tensor *lower = ml_is_contiguous(A) ? A : push_copy(L, 1);
  ml_tensor *out = push_copy(L, 2);
  ml_error err;
  ml_status status =
      ml_solve_triangular(ML_DATA(double, out), ML_DATA(double, lower), transposed, n, c, &err);
  return status ? mll_raise(L, &err) : 1;
}

static const mll_fn functions[] = {
    {"eigh", l_eigh,
     "ml.solve.eigh(A)\nEigenvalues and eigenvectors of a symmetric matrix, by LAPACK's dsyevd on "
     "one thread; a long call prints its estimate first.\n"
     "@param A tensor [n,n] f64, symmetric; the lower triangle is read\n"
     "@return tensor lambda [n], ascending\n@return tensor V [n,n], eigenvectors in its columns: A "
     "= "
     "V diag(lambda) V^T; raises when A is not finite\n@source LAPACK, dsyevd"},
    {"cholesky", l_cholesky,
     "ml.solve.cholesky(A, { ridge })\nThe lower L with A + ridge I = L L^T.\n"
     "@param A tensor [n,n] f64, symmetric positive definite; the lower triangle is read\n"
     "@param opts.ridge number =0 added to the diagonal, >= 0\n"
     "@return tensor L [n,n]; raises with the leading minor that is not positive\n@source Golub & "
     "Van Loan 2013, 4.2"},
    {"qr", l_qr,
     "ml.solve.qr(A)\nA = Q R with orthonormal columns of Q and upper triangular R, by LAPACK on "
     "one "
     "thread.\n@param A tensor [m,n] f64, m >= n\n@return tensor Q [m,n]\n@return tensor R "
     "[n,n]\n@source LAPACK, dgeqrf"},
    {"svd", l_svd,
     "ml.solve.svd(A)\nA = U diag(s) Vt with k = min(m, n) singular values, by LAPACK on one "
     "thread.\n@param A tensor [m,n] f64\n@return tensor U [m,k]\n@return tensor s [k], "
     "descending\n@return tensor Vt [k,n]\n@source LAPACK, dgesdd"},
    {"triangular", l_triangular,
     "ml.solve.triangular(L, b, { transposed })\nSolves L x = b, or L^T x = b.\n"
     "@param L tensor [n,n] f64, lower triangular\n@param b tensor [n] or [n,c] f64\n"
     "@param opts.transposed boolean =false\n@return tensor like b\n@source Golub & Van Loan 2013, "
     "3.1"},
    {NULL, NULL, NULL}};

void mll_open_solve(lua_State *L) {
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "solve");
}
