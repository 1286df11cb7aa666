/* Power-law random features: the expected loss against the matrix of second moments, SGD against
 * its updates and its mean, the deterministic equivalent against its own equations; threads, memory
 * that runs out, and interrupts. */
#include "check.h"

#include "theory/plrf/plrf.h"

enum { V = 24, D = 9, MANY = 1 << 20, RUNS_OF_DIVERGENCE = 3 };

static ml_error err;

/* One problem of V x D: everything a test needs. */
static struct {
  double W[V * D], b[V], A[V * D], u[V];
  double lambda[D], t[D], rho[D], loss0, null;
} p;

static void open_problem(double alpha, double beta) {
  ml_rng g = ml_rng_seed(7);
  ml_rng_normal_f64(&g, p.W, V * D, 0, 1 / sqrt(D));
  for (int j = 0; j < V; j++) {
    const double sigma = pow(j + 1, -alpha);
    p.b[j] = pow(j + 1, -beta);
    p.u[j] = sigma * p.b[j];
    for (int k = 0; k < D; k++)
      p.A[j * D + k] = sigma * p.W[j * D + k];
  }
  CHECK_OK(ml_plrf_spectrum(p.lambda, p.t, p.rho, &p.null, &p.loss0, p.A, p.u, V, D, &err), &err);
}

static double *zeros(int64_t n) {
  double *x = ml_alloc((size_t)n * sizeof *x);
  memset(x, 0, (size_t)n * sizeof *x);
  return x;
}

static void multiply(double *C, const double *A, const double *B, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int k = 0; k < n; k++)
        sum += A[i * n + k] * B[k * n + j];
      C[i * n + j] = sum;
    }
}

/* M = E r r^T of the residual r = A theta - u, without eigenvectors: with K = A A^T and Gaussian
 * fourth moments M <- M - gB (K M + M K) + g^2 K (B (2M + tr(M) I) + B (B-1) M) K. P = tr M. */
static void moments(double *P, int steps, const double *gamma, bool constant, double B) {
  double *K = zeros(V * V), *M = zeros(V * V), *KM = zeros(V * V), *S = zeros(V * V),
         *KS = zeros(V * V), *KSK = zeros(V * V);
  for (int i = 0; i < V; i++)
    for (int j = 0; j < V; j++) {
      for (int k = 0; k < D; k++)
        K[i * V + j] += p.A[i * D + k] * p.A[j * D + k];
      M[i * V + j] = p.u[i] * p.u[j];
    }
  for (int r = 0; r <= steps; r++) {
    double trace = 0;
    for (int i = 0; i < V; i++)
      trace += M[i * V + i];
    P[r] = trace;
    const double g = constant ? gamma[0] : r < steps ? gamma[r] : 0;
    multiply(KM, K, M, V);
    for (int i = 0; i < V; i++)
      for (int j = 0; j < V; j++)
        S[i * V + j] = B * (B + 1) * M[i * V + j] + (i == j ? B * trace : 0);
    multiply(KS, K, S, V);
    multiply(KSK, KS, K, V);
    for (int i = 0; i < V; i++)
      for (int j = 0; j < V; j++)
        S[i * V + j] =
            M[i * V + j] - g * B * (KM[i * V + j] + KM[j * V + i]) + g * g * KSK[i * V + j];
    memcpy(M, S, V * V * sizeof *M);
  }
  ml_free(K), ml_free(M), ml_free(KM), ml_free(S), ml_free(KS), ml_free(KSK);
}

static void test_spectrum(void) { /* property */
  open_problem(0.7, 0.6);
  double trace = 0, squares = 0, sum = 0, sum2 = 0, y2 = 0, t2 = 0;
  for (int i = 0; i < D; i++) {
    double y = 0;
    for (int j = 0; j < V; j++)
      y += p.A[j * D + i] * p.u[j];
    y2 += y * y;
    t2 += p.t[i] * p.t[i];
    for (int k = 0; k < D; k++) {
      double h = 0;
      for (int j = 0; j < V; j++)
        h += p.A[j * D + i] * p.A[j * D + k];
      trace += i == k ? h : 0;
      squares += h * h;
    }
    sum += p.lambda[i];
    sum2 += p.lambda[i] * p.lambda[i];
  }
  CHECK_CLOSE(sum, trace, 1e-14);
  CHECK_CLOSE(sum2, squares, 1e-14);
  CHECK_CLOSE(t2, y2, 1e-14);
  CHECK(p.null > 0 && p.null < p.loss0);
}

/* A = D^1/2 [Q; 0] with Q orthogonal, where everything is known however small: lambda = j^-2alpha,
 * rho = u_j^2 and null = the rest of u^2; `deaf` features of Q are 0, and their energy is lost. */
static void known_spectrum(double alpha, int deaf, double rtol) {
  double A[V * D] = {0}, u[V], null = 0, got = 0, norm2, Q[D], l[D], t[D], rho[D], length = 0;
  for (int k = 0; k < D; k++)
    Q[k] = sin(k + 1.0), length += Q[k] * Q[k];
  for (int j = 0; j < V; j++) { /* I - 2 q q^T / q^2, or I where features are missing */
    u[j] = pow(j + 1, -alpha - 0.5);
    for (int k = 0; k < D && j < D; k++)
      A[j * D + k] = pow(j + 1, -alpha) *
                     (deaf ? (k == j && k < D - deaf) : (k == j) - 2 * Q[j] * Q[k] / length);
    if (j >= D - deaf)
      null += u[j] * u[j];
  }
  CHECK_OK(ml_plrf_spectrum(l, t, rho, &got, &norm2, A, u, V, D, &err), &err);
  CHECK_CLOSE(got, null, rtol);
  for (int j = 0; j < D; j++) {
    const int k = D - 1 - j;
    const bool there = j < D - deaf;
    CHECK_CLOSE(l[k], there ? pow(j + 1, -2 * alpha) : 0, rtol);
    CHECK_CLOSE(rho[k], there ? u[j] * u[j] : 0, rtol);
    CHECK_CLOSE(fabs(t[k]), there ? pow(j + 1, -alpha) * u[j] : 0, rtol);
  }
}

/* analytic; by way of H the last ones would have no digit at alpha = 9, and NaN where deaf. A's
 * small singular values have 1e-16 of the largest. */
static void test_small_eigenvalues(void) {
  known_spectrum(1, 0, 1e-12);
  known_spectrum(6, 0, 1e-9);
  known_spectrum(9, 0, 1e-6);
  known_spectrum(1, 3, 1e-12);
  known_spectrum(1, D, 1e-12);
}

/* analytic: the second moments, advanced without eigenvectors; rounding of a few hundred steps */
static void test_expected_loss(void) {
  enum { STEPS = 60 };
  open_problem(0.7, 0.6);
  double want[STEPS + 1], P[STEPS + 1], F[STEPS + 1], K[STEPS + 1], rate[STEPS];
  double at[STEPS + 1];
  int64_t steps[STEPS + 1];
  for (int r = 0; r <= STEPS; r++)
    steps[r] = r, at[r] = r;
  for (int r = 0; r < STEPS; r++)
    rate[r] = 0.2 / (1 + 0.1 * r);
  for (int batch = 1; batch <= 3; batch++) {
    const double gamma = 0.3 / (batch + 1);
    moments(want, STEPS, &gamma, true, batch);
    CHECK_OK(ml_plrf_recursion(P, p.lambda, p.rho, NULL, p.null, D, batch, &gamma, 1, 0, steps,
                               STEPS + 1, &err),
             &err);
    for (int r = 0; r <= STEPS; r++)
      CHECK_CLOSE(P[r], want[r], 1e-12);
    CHECK_OK(
        ml_plrf_secular(P, p.lambda, p.rho, NULL, p.null, D, batch, gamma, at, STEPS + 1, &err),
        &err);
    for (int r = 0; r <= STEPS; r++)
      CHECK_CLOSE(P[r], want[r], 1e-12);
    CHECK_OK(
        ml_plrf_volterra(P, F, K, p.lambda, p.rho, NULL, p.null, D, batch, gamma, STEPS + 1, &err),
        &err);
    for (int r = 0; r <= STEPS; r++)
      CHECK_CLOSE(P[r], want[r], 1e-12);
    moments(want, STEPS, rate, false, batch);
    CHECK_OK(ml_plrf_recursion(P, p.lambda, p.rho, NULL, p.null, D, batch, rate, STEPS, 0, steps,
                               STEPS + 1, &err),
             &err);
    for (int r = 0; r <= STEPS; r++)
      CHECK_CLOSE(P[r], want[r], 1e-12);
  }
}

/* property: a mode of multiplicity 2 is two modes, and modes that do not move keep their energy */
static void test_multiplicities(void) {
  const double lambda[] = {0.1, 0.4, 0.4, 0.9, 0}, rho[] = {0.5, 0.2, 0.3, 1, 0.25};
  const double merged[] = {0.1, 0.4, 0.9}, energy[] = {0.5, 0.5, 1}, counts[] = {1, 2, 1};
  const double at[] = {0, 1, 7, 500, 1e6, 1e15};
  double P[6], Q[6], R[4];
  CHECK_OK(ml_plrf_secular(P, lambda, rho, NULL, 0.01, 5, 2, 0.3, at, 6, &err), &err);
  CHECK_OK(ml_plrf_secular(Q, merged, energy, counts, 0.26, 3, 2, 0.3, at, 6, &err), &err);
  const int64_t steps[] = {0, 1, 7, 500};
  const double gamma = 0.3;
  CHECK_OK(ml_plrf_recursion(R, lambda, rho, NULL, 0.01, 5, 2, &gamma, 1, 0, steps, 4, &err), &err);
  for (int i = 0; i < 6; i++)
    CHECK_CLOSE(P[i], Q[i], 1e-13);
  for (int i = 0; i < 4; i++)
    CHECK_CLOSE(P[i], R[i], 1e-12);
  CHECK_CLOSE(P[5], 0.26 / (1 - ml_plrf_kernel_norm(merged, counts, 3, 0.3, 2, 0)), 1e-13);
}

/* property: single updates are the recursion's; steps of many come near it in proportion to their
 * length, and reach its limit in one */
static void test_steps_in_time(void) {
  enum { STEPS = 4000, SINGLE = 400, N = SINGLE + 256 };
  open_problem(0.7, 0.6);
  double rate[STEPS], h[N] = {0}, gamma[N], P[N], want[2], last = INFINITY;
  const int64_t steps[] = {SINGLE, STEPS};
  for (int s = 0; s < STEPS; s++)
    rate[s] = 0.2 / sqrt(1 + s / 200.0);
  CHECK_OK(
      ml_plrf_recursion(want, p.lambda, p.rho, NULL, p.null, D, 2, rate, STEPS, 0, steps, 2, &err),
      &err);
  memcpy(gamma, rate, SINGLE * sizeof *rate);
  for (int n = 32; n <= 256; n *= 2) {
    double now = SINGLE;
    for (int i = 0; i < n; i++) {
      const double next = SINGLE * pow((double)STEPS / SINGLE, (i + 1.0) / n);
      h[SINGLE + i] = next - now;
      gamma[SINGLE + i] = 0.2 / sqrt(1 + (0.5 * (now + next) - 1) / 200);
      now = next;
    }
    CHECK_OK(ml_plrf_in_time(P, p.lambda, p.rho, NULL, p.null, D, 2, gamma, h, SINGLE + n, &err),
             &err);
    CHECK_CLOSE(P[SINGLE - 1], want[0], 1e-13);
    const double off = fabs(P[SINGLE + n - 1] / want[1] - 1);
    CHECK(off < 0.6 * last);
    last = off;
  }
  CHECK(last > 1e-9 && last < 1e-3);
  const double far_away = 1e18, one = 0.15, sum = ml_plrf_kernel_norm(p.lambda, NULL, D, one, 2, 0);
  CHECK_OK(ml_plrf_in_time(P, p.lambda, p.rho, NULL, p.null, D, 2, &one, &far_away, 1, &err), &err);
  CHECK_CLOSE(P[0], p.null / (1 - sum), 1e-10);
  double twice[2][D], two[D];
  for (int k = 0; k < D; k++) /* counts */
    two[k] = 2, twice[0][k] = p.lambda[k], twice[1][k] = 2 * p.rho[k];
  double l[2 * D], r[2 * D], once;
  for (int k = 0; k < 2 * D; k++)
    l[k] = p.lambda[k / 2], r[k] = p.rho[k / 2];
  const double long_step = 300, slow = 0.05;
  CHECK_OK(ml_plrf_in_time(P, twice[0], twice[1], two, p.null, D, 1, &slow, &long_step, 1, &err),
           &err);
  CHECK_OK(ml_plrf_in_time(&once, l, r, NULL, p.null, 2 * D, 1, &slow, &long_step, 1, &err), &err);
  CHECK_CLOSE(P[0], once, 1e-13);
  const double top = p.lambda[D - 1], wild[] = {1.5 / top, 2.2 / top};
  for (int i = 0; i < 2; i++) { /* kernel norm above 1; a mode that grows */
    CHECK_FAIL(
        ml_plrf_in_time(P, p.lambda, p.rho, NULL, p.null, D, 1, &wild[i], &far_away, 1, &err),
        ML_ENUMERIC);
    CHECK_HAS(err.message, "diverges");
  }
}

static void test_divergence_is_said(void) {
  open_problem(0.7, 0.6);
  double P;
  const double at = 10, top = p.lambda[D - 1];
  CHECK_FAIL(ml_plrf_stable(p.lambda, NULL, D, 1.0001 / top, 1, 0, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "diverges: gamma (B+1) lambda_max");
  double low = 0, high = 1 / top; /* kernel norm 1 */
  for (int n = 0; n < 100; n++) {
    const double mid = 0.5 * (low + high);
    *(ml_plrf_kernel_norm(p.lambda, NULL, D, mid, 1, 0) < 1 ? &low : &high) = mid;
  }
  CHECK_OK(ml_plrf_stable(p.lambda, NULL, D, 0.999 * low, 1, 0, &err), &err);
  CHECK_FAIL(ml_plrf_stable(p.lambda, NULL, D, 1.001 * low, 1, 0, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "diverges: the kernel norm");
  CHECK_FAIL(ml_plrf_secular(&P, p.lambda, p.rho, NULL, p.null, D, 1, 1.001 * low, &at, 1, &err),
             ML_ENUMERIC);
  CHECK_FAIL(ml_plrf_stable(p.lambda, NULL, D, NAN, 1, 0, &err), ML_ENUMERIC);
}

/* analytic: the late loss is null/(1 - kernel norm); where a condition is missed by 2 % it grows */
static void test_momentum_of_the_expected_loss(void) {
  open_problem(0.7, 0.6);
  const int64_t far[] = {0, 1000000};
  for (int batch = 1; batch <= 4; batch += 3) {
    double low = 0, high = 10, P[2];
    for (int n = 0; n < 100; n++) {
      const double mid = 0.5 * (low + high);
      *(ml_plrf_kernel_norm(p.lambda, NULL, D, mid, batch, 0.9) < 1 ? &low : &high) = mid;
    }
    double gamma = 0.9 * low;
    const double norm = ml_plrf_kernel_norm(p.lambda, NULL, D, gamma, batch, 0.9);
    CHECK(norm > 0.5 && norm < 1);
    CHECK_OK(
        ml_plrf_recursion(P, p.lambda, p.rho, NULL, p.null, D, batch, &gamma, 1, 0.9, far, 2, &err),
        &err);
    CHECK_CLOSE(P[0], p.loss0, 1e-13);
    CHECK_CLOSE(P[1], p.null / (1 - norm), 1e-9);
    gamma = 1.02 * low;
    CHECK_FAIL(ml_plrf_stable(p.lambda, NULL, D, gamma, batch, 0.9, &err), ML_ENUMERIC);
    CHECK_HAS(err.message, "momentum 0.9");
    CHECK_OK(
        ml_plrf_recursion(P, p.lambda, p.rho, NULL, p.null, D, batch, &gamma, 1, 0.9, far, 2, &err),
        &err);
    CHECK(!(P[1] < 1e6 * P[0]));
    /* one mode that hears no noise of the loss: only its own condition counts */
    const double lambda = 1, rho = 1, none = 0;
    for (int side = -1; side <= 1; side += 2) {
      gamma = (2 + 0.04 * side) * (1 - 0.81) / (batch + 1 + 0.9 * (1 - batch));
      CHECK_CLOSE(ml_plrf_modes(1, gamma, batch, 0.9), 2 + 0.04 * side, 1e-14);
      CHECK_OK(
          ml_plrf_recursion(P, &lambda, &rho, &none, 0, 1, batch, &gamma, 1, 0.9, far, 2, &err),
          &err);
      CHECK(side < 0 ? P[1] < 1e-9 : !(P[1] < 1e6));
    }
  }
}

static void test_runs_that_diverge(void) {
  open_problem(0.7, 0.6);
  double risk[RUNS_OF_DIVERGENCE * 2], theta[RUNS_OF_DIVERGENCE * D];
  const int64_t steps[] = {1, 2000};
  const double fast = 3;
  for (int what = 0; what < 4; what++) {
    ml_plrf_sgd_options o = {.dtype = what == 1 ? ML_F32 : ML_F64,
                             .batch = 1,
                             .runs = RUNS_OF_DIVERGENCE,
                             .steps = steps,
                             .records = 2,
                             .gamma = &fast,
                             .gammas = 1,
                             .key = 1};
    o.momentum = what == 3 ? 0.5 : 0;
    for (int allowed = 0; allowed < 2; allowed++) {
      o.diverging = allowed;
      const ml_status status = what < 2
                                   ? ml_plrf_sgd_direct(risk, theta, p.A, p.u, V, D, &o, &err)
                                   : ml_plrf_sgd_fast(risk, p.lambda, p.t, p.null, D, &o, &err);
      CHECK_EQ(status, allowed ? ML_OK : ML_ENUMERIC);
      if (!allowed)
        CHECK_HAS(err.message, "diverges: the loss of run 1 is");
      CHECK(!(risk[1] < 1e6));
    }
  }
}

/* ---- SGD ------------------------------------------------------------------------------------ */

enum { RECORDS = 5, RUNS = 7 };
static const int64_t record_steps[RECORDS] = {0, 3, 64, 300, 513};
static const double one_rate = 0.1;

static ml_plrf_sgd_options options(ml_dtype dtype, int64_t batch, int64_t runs) {
  return (ml_plrf_sgd_options){.dtype = dtype,
                               .batch = batch,
                               .runs = runs,
                               .steps = record_steps,
                               .records = RECORDS,
                               .gamma = &one_rate,
                               .gammas = 1,
                               .key = 99};
}

enum { DIRECT64, DIRECT32, FAST, MODES };
static ml_status simulate(int mode, double *risk, double *theta, ml_plrf_sgd_options *o) {
  o->dtype = mode == DIRECT32 ? ML_F32 : ML_F64;
  return mode == FAST ? ml_plrf_sgd_fast(risk, p.lambda, p.t, p.null, D, o, &err)
                      : ml_plrf_sgd_direct(risk, theta, p.A, p.u, V, D, o, &err);
}

static void test_runs_are_deterministic(void) { /* property */
  open_problem(0.7, 0.6);
  const int before = ml_threads();
  for (int mode = 0; mode < MODES; mode++)
    for (int batch = 1; batch <= 3; batch += 2) {
      double risk[2][RUNS * RECORDS] = {{0}}, theta[2][RUNS * D] = {{0}}, last[RUNS];
      ml_plrf_sgd_options o = options(ML_F64, batch, RUNS);
      o.momentum = batch == 3 ? 0.5 : 0;
      for (int t = 0; t < 2; t++) {
        CHECK_OK(ml_set_threads(t ? 3 : 1, &err), &err);
        CHECK_OK(simulate(mode, risk[t], theta[t], &o), &err);
      }
      CHECK(!memcmp(risk[0], risk[1], sizeof risk[0]));
      CHECK(!memcmp(theta[0], theta[1], sizeof theta[0]));
      for (int r = 0; r < RUNS; r++) {
        CHECK_CLOSE(risk[0][r * RECORDS], p.loss0, 1e-6);
        CHECK(r == 0 || risk[0][r * RECORDS + 2] != risk[0][(r - 1) * RECORDS + 2]);
      }
      o.steps = record_steps + RECORDS - 1; /* where it is recorded changes nothing */
      o.records = 1;
      CHECK_OK(simulate(mode, last, theta[0], &o), &err);
      for (int r = 0; r < RUNS; r++)
        CHECK(last[r] == risk[0][r * RECORDS + RECORDS - 1]);
      o.runs = 1; /* nor how many runs there are */
      CHECK_OK(simulate(mode, last, theta[0], &o), &err);
      CHECK(last[0] == risk[0][RECORDS - 1]);
      o.key = 100;
      CHECK_OK(simulate(mode, last, theta[0], &o), &err);
      CHECK(last[0] != risk[0][RECORDS - 1]);
    }
  CHECK_OK(ml_set_threads(before, &err), &err);
}

/* property: the mean over runs, in standard errors (the seed is fixed: 4.5 is no chance) */
static void test_means(void) {
  enum { MANY_RUNS = 600 };
  open_problem(0.7, 0.6);
  double *risk = zeros(MANY_RUNS * RECORDS), *theta = zeros(MANY_RUNS * D), want[RECORDS];
  for (int mode = 0; mode < MODES; mode++)
    for (int batch = 1; batch <= 3; batch += 2) {
      ml_plrf_sgd_options o = options(ML_F64, batch, MANY_RUNS);
      o.momentum = batch == 3 ? 0.4 : 0;
      CHECK_OK(ml_plrf_recursion(want, p.lambda, p.rho, NULL, p.null, D, batch, &one_rate, 1,
                                 o.momentum, record_steps, RECORDS, &err),
               &err);
      CHECK_OK(simulate(mode, risk, theta, &o), &err);
      for (int i = 1; i < RECORDS; i++) {
        double mean = 0, var = 0;
        for (int r = 0; r < MANY_RUNS; r++)
          mean += risk[r * RECORDS + i] / MANY_RUNS;
        for (int r = 0; r < MANY_RUNS; r++)
          var += pow(risk[r * RECORDS + i] - mean, 2) / (MANY_RUNS - 1);
        CHECK(fabs(mean - want[i]) < 4.5 * sqrt(var / MANY_RUNS));
      }
    }
  ml_free(risk), ml_free(theta);
}

/* analytic: given samples, the updates written out, with momentum and a rate that changes */
static void test_given_samples(void) {
  enum { STEPS = 300, B = 2 };
  open_problem(0.7, 0.6);
  double *x = zeros(STEPS * B * V), rate[STEPS], theta[D] = {0}, u[D] = {0}, got[D], risk[2];
  ml_rng g = ml_rng_seed(5);
  ml_rng_normal_f64(&g, x, STEPS * B * V, 0, 1);
  for (int64_t i = 0; i < STEPS * B * V; i++)
    x[i] *= pow((double)(i % V) + 1, -0.7);
  for (int s = 0; s < STEPS; s++)
    rate[s] = 0.1 / (1 + 0.05 * s);
  const int64_t steps[] = {100, STEPS};
  ml_plrf_sgd_options o = options(ML_F64, B, 1);
  o.steps = steps, o.records = 2, o.gamma = rate, o.gammas = STEPS, o.momentum = 0.6;
  CHECK_OK(ml_plrf_sgd_data(risk, got, x, p.W, p.b, p.A, p.u, V, D, &o, &err), &err);
  for (int s = 0; s < STEPS; s++) {
    double grad[D] = {0};
    for (int i = 0; i < B; i++) {
      const double *sample = x + (s * B + i) * V;
      double f[D] = {0}, e = 0;
      for (int j = 0; j < V; j++) {
        e -= sample[j] * p.b[j];
        for (int k = 0; k < D; k++)
          f[k] += sample[j] * p.W[j * D + k];
      }
      for (int k = 0; k < D; k++)
        e += f[k] * theta[k];
      for (int k = 0; k < D; k++)
        grad[k] += e * f[k];
    }
    for (int k = 0; k < D; k++) {
      u[k] = 0.6 * u[k] + grad[k];
      theta[k] -= rate[s] * u[k];
    }
    for (int record = 0; record < 2; record++)
      if (s + 1 == steps[record]) {
        double loss = 0;
        for (int j = 0; j < V; j++) {
          double e = -p.u[j];
          for (int k = 0; k < D; k++)
            e += p.A[j * D + k] * theta[k];
          loss += e * e;
        }
        CHECK_CLOSE(risk[record], loss, 1e-11);
      }
  }
  for (int k = 0; k < D; k++)
    CHECK_NEAR(got[k], theta[k], 1e-11, 1e-12);
  ml_free(x);
}

/* ---- deterministic equivalent --------------------------------------------------------------- */

enum { MODES_V = 80 };
static struct {
  double a[MODES_V], na[MODES_V], e[MODES_V], count[MODES_V];
  ml_plrf_population p;
} q;

static void open_population(double alpha, double beta, double d) {
  for (int j = 0; j < MODES_V; j++) {
    q.a[j] = q.na[j] = pow(j + 1, -2 * alpha);
    q.e[j] = pow(j + 1, -2 * alpha - 2 * beta);
    q.count[j] = 1;
  }
  q.p = (ml_plrf_population){q.a, q.na, q.e, q.count, MODES_V, d, MODES_V};
}

static void test_fixed_point(void) { /* property: put back into its equation */
  open_population(0.7, 0.6, 20);
  const double z[][2] = {{-1, 0},    {-1e-6, 0}, {1e-5, 0},    {3, 0},     {50, 0},
                         {0.1, 0.3}, {0.5, -1},  {1e-4, 1e-4}, {0.2, 1e-3}};
  for (size_t i = 0; i < sizeof z / sizeof *z; i++) {
    double m[2], sr = 0, si = 0;
    CHECK_OK(ml_plrf_m(m, &q.p, z[i][0], z[i][1], &err), &err);
    for (int j = 0; j < MODES_V; j++) {
      const double x = q.a[j] * m[0] - z[i][0], y = q.a[j] * m[1] - z[i][1];
      sr += q.na[j] * x / (x * x + y * y) / 20;
      si -= q.na[j] * y / (x * x + y * y) / 20;
    }
    /* m (1 + s) = 1; the sum cancels by 1/|m| */
    const double tolerance = 1e-13 * (1 + fabs(sr) + fabs(si));
    CHECK_NEAR(m[0] * (1 + sr) - m[1] * si, 1, 0, tolerance);
    CHECK_NEAR(m[0] * si + m[1] * (1 + sr), 0, 0, tolerance);
    CHECK(z[i][1] == 0 ? fabs(m[1]) < 1e-9 : m[1] * z[i][1] < 0);
  }
  double m[2], kappa, F0, sum = 0;
  CHECK_FAIL(ml_plrf_m(m, &q.p, 0.5, 0, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "spectrum");
  CHECK_FAIL(ml_plrf_m(m, &q.p, 0, 0, &err), ML_ENUMERIC);
  ml_plrf_floor(&kappa, &F0, &q.p);
  for (int j = 0; j < MODES_V; j++)
    sum += q.a[j] / (q.a[j] + kappa);
  CHECK_CLOSE(sum, 20, 1e-13);
  open_population(0.7, 0.6, MODES_V); /* as many parameters as modes: nothing is out of reach */
  double inverse = 0;                 /* near 0 z = -w^2/d sum of 1/a, m = z/w */
  for (int j = 0; j < MODES_V; j++)
    inverse += 1 / q.a[j] / MODES_V;
  for (double x = 1e-10; x > 1e-30; x /= 100) {
    CHECK_OK(ml_plrf_m(m, &q.p, -x, 0, &err), &err);
    CHECK_CLOSE(m[0], sqrt(x * inverse), 2e-2 * sqrt(x / 1e-10) + 1e-12);
  }
  ml_plrf_floor(&kappa, &F0, &q.p);
  CHECK(kappa == 0 && F0 == 0);
}

/* property: P = F + K * P step by step, P(0), and sum of K; both quadratures meet at r = 12 */
static void test_curves(void) {
  enum { STEPS = 60 };
  open_population(0.7, 0.6, 20);
  double at[STEPS], P[STEPS], F[STEPS], K[STEPS], total = 0, norm;
  for (int r = 0; r < STEPS; r++)
    at[r] = r;
  for (int batch = 1; batch <= 2; batch++) {
    CHECK_OK(ml_plrf_deterministic(P, F, K, &q.p, 0.15, batch, at, STEPS, 24, &err), &err);
    for (int r = 0; r < STEPS; r++) {
      double sum = F[r];
      for (int s = 0; s < r; s++)
        sum += K[r - 1 - s] * P[s];
      CHECK_CLOSE(P[r], sum, 3e-9); /* 24 nodes give 1e-10 of the largest of the three */
    }
  }
  for (int j = 0; j < MODES_V; j++)
    total += q.e[j];
  CHECK_CLOSE(P[0], total, 1e-12);
  /* the limit, and F's is the floor */
  const double late[] = {1e8, 1e12, 1e15};
  double kappa, F0;
  ml_plrf_floor(&kappa, &F0, &q.p);
  CHECK_OK(ml_plrf_deterministic(P, F, K, &q.p, 0.15, 1, late, 3, 24, &err), &err);
  CHECK_OK(ml_plrf_deterministic_norm(&norm, &q.p, 0.15, 1, &err), &err);
  for (int i = 0; i < 3; i++) {
    CHECK_CLOSE(F[i], F0, 1e-8);
    CHECK_CLOSE(P[i], F0 / (1 - norm), 1e-8);
  }
  CHECK_FAIL(ml_plrf_deterministic(P, F, K, &q.p, 0.8, 1, late, 3, 24, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "diverges");
  CHECK_FAIL(ml_plrf_deterministic(P, F, K, &q.p, 100, 1, late, 3, 24, &err), ML_ENUMERIC);
  CHECK_HAS(err.message, "diverges");
}

static void test_masses(void) { /* property: sum rules; both fall in x */
  open_population(0.7, 0.6, 20);
  double kappa, F0, total = 0, mass[6], count[6];
  ml_plrf_floor(&kappa, &F0, &q.p);
  for (int j = 0; j < MODES_V; j++)
    total += q.e[j];
  const double x[] = {kappa / 1000, 0.02, 0.05, 0.2, 0.6, 5};
  CHECK_OK(ml_plrf_mass(mass, count, &q.p, x, 6, 8, &err), &err);
  CHECK_CLOSE(mass[0], total - F0, 1e-10);
  CHECK_CLOSE(count[0], 20, 1e-10);
  for (int i = 1; i < 6; i++)
    CHECK(mass[i] <= mass[i - 1] && count[i] <= count[i - 1]);
  CHECK_NEAR(mass[5], 0, 0, 1e-10);
}

/* ---- threads, memory, interrupts --------------------------------------------------------------
 */

enum { CALLS = 13, OUT = 400 };
static double out[OUT], spare[2][OUT], *samples, graded[V * D];
static double spare_rates[130], spare_steps[130];
static const double late[] = {0, 5, 100, 1e4, 1e8};
static const int64_t far[] = {2000};

static ml_status call(int i) {
  ml_plrf_sgd_options o = options(ML_F64, 1, i == 7 ? 1 : RUNS);
  double norm2;
  switch (i) {
  case 0:
    return ml_plrf_spectrum(out, out + D, out + 2 * D, out + 3 * D, &norm2, p.A, p.u, V, D, &err);
  case 12:
    return ml_plrf_in_time(out, p.lambda, p.rho, NULL, p.null, D, 1, spare_rates, spare_steps, 130,
                           &err);
  case 11:
    return ml_plrf_spectrum(out, out + D, out + 2 * D, out + 3 * D, &norm2, graded, p.u, V, D,
                            &err);
  case 1:
    return ml_plrf_recursion(out, p.lambda, p.rho, NULL, p.null, D, 1, &one_rate, 1, 0, far, 1,
                             &err);
  case 2:
    return ml_plrf_volterra(out, spare[0], spare[1], p.lambda, p.rho, NULL, p.null, D, 1, one_rate,
                            50, &err);
  case 3:
    return ml_plrf_secular(out, p.lambda, p.rho, NULL, p.null, D, 1, one_rate, late, 5, &err);
  case 4:
    return simulate(DIRECT64, out, out + RUNS * RECORDS, &o);
  case 5:
    return simulate(DIRECT32, out, out + RUNS * RECORDS, &o);
  case 6:
    return simulate(FAST, out, NULL, &o);
  case 7:
    return ml_plrf_sgd_data(out, out + RECORDS, samples, p.W, p.b, p.A, p.u, V, D, &o, &err);
  case 8:
    return ml_plrf_deterministic(out, spare[0], spare[1], &q.p, one_rate, 1, late, 5, 24, &err);
  case 10:
    return ml_plrf_recursion(out, p.lambda, p.rho, NULL, p.null, D, 1, &one_rate, 1, 0.3, far, 1,
                             &err);
  default:
    return ml_plrf_mass(out, spare[0], &q.p, late + 1, 1, 8, &err);
  }
}

static void open_calls(void) {
  open_problem(0.7, 0.6);
  open_population(0.7, 0.6, 20);
  samples = zeros(513 * V);
  for (int i = 0; i < 130; i++)
    spare_rates[i] = one_rate / (1 + i), spare_steps[i] = i < 30 ? 0 : i;
  for (int j = 0; j < V; j++) /* its spectrum wants factors */
    for (int k = 0; k < D; k++)
      graded[j * D + k] = p.W[j * D + k] * pow(j + 1, -8);
  ml_rng g = ml_rng_seed(6);
  ml_rng_normal_f64(&g, samples, 513 * V, 0, 0.3);
}

static void test_threads_change_no_bit(void) { /* property */
  open_calls();
  const int before = ml_threads();
  for (int i = 0; i < CALLS; i++) {
    double first[OUT];
    for (int t = 0; t < 2; t++) {
      memset(out, 0, sizeof out);
      CHECK_OK(ml_set_threads(t ? 3 : 1, &err), &err);
      CHECK_OK(call(i), &err);
      if (t == 0)
        memcpy(first, out, sizeof out);
    }
    CHECK(!memcmp(first, out, sizeof out));
  }
  CHECK_OK(ml_set_threads(before, &err), &err);
  ml_free(samples);
}

static void test_memory_that_runs_out(void) {
  open_calls();
  for (int i = 0; i < CALLS; i++)
    CHECK_ALLOC_SWEEP(call(i), (void)0);
  ml_free(samples);
}

/* Cut short at its first poll, in the middle and at its last. */
static void test_interrupts(void) {
  open_calls();
  for (int i = 0; i < CALLS; i++) {
    ml_cancel_after(MANY);
    CHECK_OK(call(i), &err);
    const int polls = MANY - ml_cancel_after(0);
    if (i == 9) /* one place is one body */
      continue;
    CHECK(polls > 0);
    const int at[] = {1, (polls + 1) / 2, polls};
    for (int n = 0; n < 3; n++) {
      ml_cancel_after(at[n]);
      const ml_status status = call(i);
      ml_cancel_after(0);
      ml_cancel_clear();
      CHECK_EQ(status, ML_ECANCELLED);
      if (status != ML_ECANCELLED)
        CHECK_SAY("call %d, poll %d of %d\n", i, at[n], polls);
    }
  }
  ml_free(samples);
}

CHECK_MAIN(test_spectrum, test_small_eigenvalues, test_expected_loss, test_multiplicities,
           test_steps_in_time, test_divergence_is_said, test_momentum_of_the_expected_loss,
           test_runs_that_diverge, test_runs_are_deterministic, test_means, test_given_samples,
           test_fixed_point, test_curves, test_masses, test_threads_change_no_bit,
           test_memory_that_runs_out, test_interrupts)
