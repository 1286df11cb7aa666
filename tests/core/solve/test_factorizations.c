/* Factors multiply back to what was factored; failures for memory, Ctrl-C and bad input leave
 * nothing behind. */
#include "check.h"

#include "solve/solve.h"

static ml_error err;

static double *numbers(int64_t n, uint64_t seed) {
  double *x = ml_alloc((size_t)(n ? n : 1) * sizeof *x);
  ml_rng g = ml_rng_seed(seed);
  ml_rng_normal_f64(&g, x, n, 0, 1);
  return x;
}

static double *copy(const double *x, int64_t n) {
  double *y = ml_alloc((size_t)n * sizeof *y);
  memcpy(y, x, (size_t)n * sizeof *y);
  return y;
}

/* The largest |C - op(A) op(B)| with sums written out. */
static double product_error(const double *C, const double *A, bool ta, const double *B, bool tb,
                            int64_t m, int64_t n, int64_t k) {
  double worst = 0;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++)
        sum += (ta ? A[p * m + i] : A[i * k + p]) * (tb ? B[j * k + p] : B[p * n + j]);
      worst = fmax(worst, fabs(sum - (C ? C[i * n + j] : i == j)));
    }
  return worst;
}

/* G G^T + shift I */
static double *symmetric(int64_t n, double shift, uint64_t seed) {
  double *G = numbers(n * n, seed), *S = ml_alloc((size_t)(n * n) * sizeof *S);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = i == j ? shift : 0;
      for (int64_t p = 0; p < n; p++)
        sum += G[i * n + p] * G[j * n + p];
      S[i * n + j] = sum;
    }
  ml_free(G);
  return S;
}

/* Sizes on both sides of a block of 64; rounding grows with n and the largest entry, about 4 n. */
static const int64_t sizes[] = {1, 2, 7, 63, 64, 65, 130};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void test_eigenvectors(void) { /* property */
  for (int s = 0; s < SIZES; s++) {
    const int64_t n = sizes[s];
    double *S = symmetric(n, -3, 10 + (uint64_t)n), *V = copy(S, n * n), *scaled = copy(S, n * n),
           *lambda = numbers(n, 1);
    for (int64_t i = 0; i < n; i++) /* only the lower triangle counts */
      for (int64_t j = i + 1; j < n; j++)
        V[i * n + j] = 1e3;
    CHECK_OK(ml_solve_eigh(lambda, V, n, &err), &err);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++)
        scaled[i * n + j] = V[i * n + j] * lambda[j];
    CHECK(product_error(S, scaled, false, V, true, n, n, n) < 1e-14 * (double)(4 * n * n));
    CHECK(product_error(NULL, V, true, V, false, n, n, n) < 1e-14 * (double)n);
    for (int64_t i = 1; i < n; i++)
      CHECK(lambda[i - 1] <= lambda[i]);
    ml_free(S), ml_free(V), ml_free(scaled), ml_free(lambda);
  }
}

/* The projection without eigenvectors is the one with them, up to the sign of each. */
static void test_projection(void) { /* property */
  for (int s = 0; s < SIZES; s++) {
    const int64_t n = sizes[s];
    double *S = symmetric(n, 0.5, 20 + (uint64_t)n), *V = copy(S, n * n), *y = numbers(n, 2),
           *z = copy(y, n), *lambda = numbers(n, 1), *mu = numbers(n, 1);
    CHECK_OK(ml_solve_eigh(lambda, V, n, &err), &err);
    CHECK_OK(ml_solve_eigh_project(mu, z, S, n, &err), &err);
    for (int64_t k = 0; k < n; k++) {
      double sum = 0;
      for (int64_t i = 0; i < n; i++)
        sum += V[i * n + k] * y[i];
      CHECK_NEAR(lambda[k], mu[k], 1e-14, 1e-14 * lambda[n - 1]);
      CHECK_NEAR(fabs(sum), fabs(z[k]), 0, 1e-10); /* gaps of 1e-3 take digits of a vector */
    }
    ml_free(S), ml_free(V), ml_free(y), ml_free(z), ml_free(lambda), ml_free(mu);
  }
}

/* diag(3, 1, 2) and a repeated value: no rotation is needed, all the same the order is ascending */
static void test_projection_on_a_diagonal(void) { /* analytic */
  double H[16] = {3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2}, y[] = {30, 10, 20, 21}, l[4];
  CHECK_OK(ml_solve_eigh_project(l, y, H, 4, &err), &err);
  const double want[] = {1, 2, 2, 3};
  for (int i = 0; i < 4; i++)
    CHECK_CLOSE(l[i], want[i], 1e-15);
  CHECK_CLOSE(fabs(y[0]), 10, 1e-14);
  CHECK_CLOSE(hypot(y[1], y[2]), 29, 1e-14);
  CHECK_CLOSE(fabs(y[3]), 30, 1e-14);
}

static void test_qr(void) { /* property */
  for (int s = 0; s < SIZES; s++)
    for (int64_t extra = 0; extra < 40; extra += 13) {
      const int64_t n = sizes[s], m = n + extra;
      double *A = numbers(m * n, 30 + (uint64_t)m), *Q = copy(A, m * n), *R = numbers(n * n, 3);
      CHECK_OK(ml_solve_qr(Q, R, m, n, &err), &err);
      CHECK(product_error(A, Q, false, R, false, m, n, n) < 1e-15 * (double)(20 + 4 * n));
      CHECK(product_error(NULL, Q, true, Q, false, n, n, m) < 1e-15 * (double)(20 + n));
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
          CHECK(R[i * n + j] == 0);
      ml_free(A), ml_free(Q), ml_free(R);
    }
}

static void test_svd(void) { /* property */
  const int64_t shapes[][2] = {{1, 1}, {1, 5}, {5, 1}, {40, 17}, {17, 40}, {70, 70}, {200, 3}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const int64_t m = shapes[i][0], n = shapes[i][1], k = m < n ? m : n;
    double *A = numbers(m * n, 40 + (uint64_t)i), *spoilt = copy(A, m * n), *U = numbers(m * k, 1),
           *s = numbers(k, 1), *Vt = numbers(k * n, 1);
    CHECK_OK(ml_solve_svd(U, s, Vt, spoilt, m, n, &err), &err);
    CHECK(product_error(NULL, U, true, U, false, k, k, m) < 1e-14 * (double)(4 + k));
    CHECK(product_error(NULL, Vt, false, Vt, true, k, k, n) < 1e-14 * (double)(4 + k));
    for (int64_t j = 0; j < k; j++)
      CHECK(s[j] >= 0 && (j == 0 || s[j] <= s[j - 1]));
    for (int64_t row = 0; row < m; row++)
      for (int64_t j = 0; j < k; j++)
        U[row * k + j] *= s[j];
    CHECK(product_error(A, U, false, Vt, false, m, n, k) < 1e-14 * (double)(4 + k));
    ml_free(A), ml_free(spoilt), ml_free(U), ml_free(s), ml_free(Vt);
  }
}

static void test_cholesky_and_triangular_solves(void) { /* property */
  for (int s = 0; s < SIZES; s++) {
    const int64_t n = sizes[s], c = 3;
    double *S = symmetric(n, 1, 50 + (uint64_t)n), *L = copy(S, n * n), *B = numbers(n * c, 4),
           *X = copy(B, n * c);
    CHECK_OK(ml_solve_cholesky(L, n, &err), &err);
    CHECK(product_error(S, L, false, L, true, n, n, n) < 1e-14 * (double)(4 * n));
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = i + 1; j < n; j++)
        CHECK(L[i * n + j] == 0);
    CHECK_OK(ml_solve_triangular(X, L, false, n, c, &err), &err);
    CHECK(product_error(B, L, false, X, false, n, c, n) < 1e-14 * (double)(4 * n));
    memcpy(X, B, (size_t)(n * c) * sizeof *X);
    CHECK_OK(ml_solve_triangular(X, L, true, n, c, &err), &err);
    CHECK(product_error(B, L, true, X, false, n, c, n) < 1e-14 * (double)(4 * n));
    ml_free(S), ml_free(L), ml_free(B), ml_free(X);
  }
}

static void test_threads_change_no_bit(void) { /* property */
  const int64_t n = 600, c = 9;
  double *S = ml_alloc((size_t)(n * n) * sizeof *S), *L[2], *X[2];
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      S[i * n + j] = exp(-0.01 * (double)((i - j) * (i - j))) + (i == j);
  double *B = numbers(n * c, 5);
  const int before = ml_threads();
  for (int t = 0; t < 2; t++) {
    CHECK_OK(ml_set_threads(t + 1, &err), &err);
    L[t] = copy(S, n * n);
    X[t] = copy(B, n * c);
    CHECK_OK(ml_solve_cholesky(L[t], n, &err), &err);
    CHECK_OK(ml_solve_triangular(X[t], L[t], false, n, c, &err), &err);
    CHECK_OK(ml_solve_triangular(X[t], L[t], true, n, c, &err), &err);
  }
  CHECK_OK(ml_set_threads(before, &err), &err);
  CHECK(!memcmp(L[0], L[1], (size_t)(n * n) * sizeof *S));
  CHECK(!memcmp(X[0], X[1], (size_t)(n * c) * sizeof *S));
  ml_free(S), ml_free(B);
  for (int t = 0; t < 2; t++)
    ml_free(L[t]), ml_free(X[t]);
}

static void test_bad_input(void) {
  double *S = symmetric(70, 1, 6), *R = numbers(70 * 70, 7), x[70] = {0}, y[70] = {0}, one[2] = {0};
  S[69 * 70 + 69] = -1;
  CHECK_FAIL(ml_solve_cholesky(S, 70, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "minor of order 70");
  S[0] = NAN;
  CHECK_FAIL(ml_solve_cholesky(S, 70, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "minor of order 1 ");
  S[0] = INFINITY;
  CHECK_FAIL(ml_solve_eigh(x, S, 70, &err), ML_ENUMERIC);
  CHECK_FAIL(ml_solve_eigh_project(x, y, S, 70, &err), ML_ENUMERIC);
  CHECK_FAIL(ml_solve_svd(R, x, R, S, 70, 70, &err), ML_ENUMERIC);
  CHECK_FAIL(ml_solve_qr(S, R, 70, 70, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "not finite");
  CHECK_FAIL(ml_solve_qr(S, R, 7, 10, &err), ML_EARG);
  CHECK_HAS(err.message, "[7x10]");
  /* sizes whose workspaces LAPACK's 32-bit integers cannot count: refused before a look at them */
  CHECK_FAIL(ml_solve_eigh(one, one, 32767, &err), ML_EARG);
  CHECK_FAIL(ml_solve_svd(one, one, one, one, 23169, 23169, &err), ML_EARG);
  CHECK_FAIL(ml_solve_eigh_project(one, one, one, ML_SOLVE_MAX + 1, &err), ML_EARG);
  CHECK_FAIL(ml_solve_qr(one, one, ML_SOLVE_MAX + 1, 1, &err), ML_EARG);
  /* nothing to do */
  CHECK_OK(ml_solve_cholesky(one, 0, &err), &err);
  CHECK_OK(ml_solve_triangular(one, one, true, 0, 3, &err), &err);
  CHECK_OK(ml_solve_eigh(one, one, 0, &err), &err);
  CHECK_OK(ml_solve_eigh_project(one, one, one, 0, &err), &err);
  CHECK_OK(ml_solve_qr(one, one, 4, 0, &err), &err);
  CHECK_OK(ml_solve_svd(one, one, one, one, 0, 4, &err), &err);
  ml_free(S), ml_free(R);
}

static void test_memory_that_runs_out(void) {
  enum { N = 40 };
  double *S = symmetric(N, 1, 8), *W = copy(S, N * N), *U = numbers(N * N, 1),
         *Vt = numbers(N * N, 1), x[N], y[N] = {1};
#define AGAIN(call) (memcpy(W, S, N * N * sizeof *S), call)
  CHECK_ALLOC_SWEEP(AGAIN(ml_solve_eigh(x, W, N, &err)), (void)0);
  CHECK_ALLOC_SWEEP(AGAIN(ml_solve_eigh_project(x, y, W, N, &err)), (void)0);
  CHECK_ALLOC_SWEEP(AGAIN(ml_solve_qr(W, U, N, N, &err)), (void)0);
  CHECK_ALLOC_SWEEP(AGAIN(ml_solve_svd(U, x, Vt, W, N, N, &err)), (void)0);
  CHECK_ALLOC_SWEEP(AGAIN(ml_solve_cholesky(W, N, &err)), (void)0);
  ml_free(S), ml_free(W), ml_free(U), ml_free(Vt);
}

/* Cut short at each of its polls; after the last one the result stands. */
static void test_interrupts(void) {
  enum { N = 200, C = 5, MANY = 1 << 20 };
  double *S = symmetric(N, 1, 9), *L = copy(S, N * N), *B = numbers(N * C, 1);
  for (int what = 0; what < 3; what++) {
    int polls = MANY;
    for (int n = MANY; n > 0; n = n == MANY ? polls : n - 1) {
      if (what == 0)
        memcpy(L, S, N * N * sizeof *S);
      ml_cancel_after(n);
      ml_status status = what == 0 ? ml_solve_cholesky(L, N, &err)
                                   : ml_solve_triangular(B, L, what == 2, N, C, &err);
      if (n == MANY) {
        CHECK_EQ(status, ML_OK);
        polls = MANY - ml_cancel_after(0);
        CHECK(polls >= N / 64);
      } else {
        ml_cancel_after(0);
        ml_cancel_clear();
        CHECK_EQ(status, ML_ECANCELLED);
      }
    }
    memcpy(L, S, N * N * sizeof *S);
    CHECK_OK(ml_solve_cholesky(L, N, &err), &err);
  }
  ml_free(S), ml_free(L), ml_free(B);
}

CHECK_MAIN(test_eigenvectors, test_projection, test_projection_on_a_diagonal, test_qr, test_svd,
           test_cholesky_and_triangular_solves, test_threads_change_no_bit, test_bad_input,
           test_memory_that_runs_out, test_interrupts)
