/* One-pass SGD: many samples are drawn and turned into features by one matrix product, which is
 * exact because the data do not depend on the parameters; then the updates one after the other.
 * Each run has its own random stream. */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { DIRECT, FAST, DATA };

typedef struct {
  int mode;
  const ml_plrf_sgd_options *o;
  int64_t v, d, samples; /* samples of a block: a multiple of batch */
  double *risk, *theta;
  const double *A, *u, *x; /* risk of direct runs; x the given samples */
  const void *panels;      /* [A | u] (direct) or [W | b] (data) in dtype, packed */
  const double *lambda, *start;
  double null;
  size_t bytes; /* of one worker's scratch */
  char *scratch;
} job;

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static double risk_of(const job *j, const void *x, const ml_plrf_kernels *k, double *residual) {
  if (j->mode == FAST)
    return j->null + k->sumsq(x, j->d);
  const double *theta = x;
  if (j->mode == DIRECT && j->o->dtype == ML_F32) {
    double *wide = residual + j->v;
    for (int64_t i = 0; i < j->d; i++)
      wide[i] = (double)((const float *)x)[i];
    theta = wide;
  }
  memcpy(residual, j->u, (size_t)j->v * sizeof *residual);
  ml_gemm(ML_F64, false, false, j->v, 1, j->d, 1, j->A, j->d, theta, 1, -1, residual, 1);
  return ml_plrf_kernels_of(ML_F64)->sumsq(residual, j->v);
}

static void one_run(void *ctx, int64_t run, int worker) {
  const job *j = ctx;
  const ml_plrf_sgd_options *o = j->o;
  const ml_dtype dtype = j->mode == DIRECT ? o->dtype : ML_F64;
  const ml_plrf_kernels *k = ml_plrf_kernels_of(dtype);
  const size_t size = ml_dtype_size(dtype);
  const int64_t ld = j->d + 1;
  char *at = j->scratch + (size_t)worker * j->bytes;
  void *x = at, *velocity = at + rounded((size_t)j->d * size);
  void *g = (char *)velocity + rounded((size_t)j->d * size);
  void *F = (char *)g + rounded((size_t)j->d * size);
  void *z = (char *)F + rounded((size_t)(j->samples * ld) * size);
  double *residual =
      (double *)((char *)z + (j->mode == DIRECT ? rounded((size_t)(j->samples * j->v) * size) : 0));
  double *rates = residual + (j->mode == FAST ? 0 : rounded((size_t)(j->v + j->d) * 8) / 8);
  memset(x, 0, (size_t)j->d * size);
  memset(velocity, 0, (size_t)j->d * size);
  if (j->mode == FAST)
    memcpy(x, j->start, (size_t)j->d * size);
  const ml_rng root = {o->key, 0};
  ml_rng rng = ml_rng_fold(&root, "run", 3, run);
  const double target = sqrt(j->null > 0 ? j->null : 0);
  double *risk = j->risk + run * o->records;
  int64_t step = 0;
  for (int64_t r = 0; r < o->records; r++) {
    while (step < o->steps[r]) {
      if (ml_cancelled())
        return;
      /* Blocks begin at fixed steps, so that where the loss is recorded does not change the draws:
       * a block holds the samples of steps [begin, begin + span). */
      const int64_t span = j->samples / o->batch, begin = step / span * span;
      const int64_t rows = span * o->batch;
      if (step == begin) {
        if (j->mode == FAST) {
          ml_rng_normal_f64(&rng, F, rows * ld, 0, 1);
          for (int64_t s = 0; s < rows; s++)
            ((double *)F)[s * ld + j->d] *= target;
        } else if (j->mode == DIRECT) {
          if (dtype == ML_F32)
            ml_rng_normal_f32(&rng, z, rows * j->v, 0, 1);
          else
            ml_rng_normal_f64(&rng, z, rows * j->v, 0, 1);
          ml_gemm_by_panels(dtype, false, rows, ld, j->v, 1, z, j->v, j->panels, 0, F, ld);
        } else {
          const int64_t left = (o->steps[o->records - 1] - begin) * o->batch;
          ml_gemm_by_panels(dtype, false, rows < left ? rows : left, ld, j->v, 1,
                            j->x + begin * o->batch * j->v, j->v, j->panels, 0, F, ld);
        }
      }
      int64_t n = begin + span - step;
      if (n > o->steps[r] - step)
        n = o->steps[r] - step;
      const double *gamma = o->gamma + step;
      if (o->gammas == 1) {
        for (int64_t i = 0; i < n; i++)
          rates[i] = o->gamma[0];
        gamma = rates;
      }
      k->sgd(x, velocity, g, (char *)F + (size_t)((step - begin) * o->batch * ld) * size, ld, n,
             o->batch, j->d, gamma, o->momentum, j->mode == FAST ? j->lambda : NULL);
      step += n;
    }
    risk[r] = risk_of(j, x, k, residual);
  }
  if (j->theta && j->mode != FAST)
    for (int64_t i = 0; i < j->d; i++)
      j->theta[run * j->d + i] =
          dtype == ML_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static ml_status check_losses(const job *j, int64_t runs, ml_error *err) {
  const ml_plrf_sgd_options *o = j->o;
  double start = j->null;
  if (j->mode == FAST)
    start += ml_plrf_kernels_of(ML_F64)->sumsq(j->start, j->d);
  else
    start = ml_plrf_kernels_of(ML_F64)->sumsq(j->u, j->v);
  for (int64_t run = 0; run < runs; run++)
    for (int64_t r = 0; r < o->records; r++) {
      const double loss = j->risk[run * o->records + r];
      if (!isfinite(loss) || (r == o->records - 1 && loss > 1e6 * start))
        return ml_fail(
            err, ML_ENUMERIC, 0,
            "SGD diverges: the loss of run %lld is %g after %lld steps (%g at the start)",
            (long long)run + 1, loss, (long long)o->steps[r], start);
    }
  return ML_OK;
}

static ml_status run_all(job *j, ml_error *err) {
  const ml_plrf_sgd_options *o = j->o;
  const int64_t runs = j->mode == DATA ? 1 : o->runs;
  const size_t size = j->mode == DIRECT ? ml_dtype_size(o->dtype) : 8;
  const int64_t ld = j->d + 1, block = j->mode == FAST ? 64 : 256;
  j->samples = (block + o->batch - 1) / o->batch * o->batch;
  j->bytes = 3 * rounded((size_t)j->d * size) + rounded((size_t)(j->samples * ld) * size) +
             (j->mode == DIRECT ? rounded((size_t)(j->samples * j->v) * size) : 0) +
             rounded((size_t)(j->v + j->d) * 8) + rounded((size_t)(j->samples / o->batch) * 8);
  const int workers = runs > 1 ? ml_threads() : 1;
  j->scratch = ml_block_new((size_t)workers * j->bytes);
  if (!j->scratch)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %zu bytes of samples",
                   (size_t)workers * j->bytes);
  ml_status status = ML_OK;
  if (runs == 1)
    one_run(j, 0, 0);
  else
    status = ml_parallel_poll(runs, 1e9, one_run, j, err);
  ml_block_free(j->scratch);
  if (!status && ml_cancelled())
    status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  if (!status && !o->diverging)
    status = check_losses(j, runs, err);
  return status;
}

/* [M | w] in dtype as panels. */
static ml_status pack(void **panels, ml_dtype dtype, const double *M, const double *w, int64_t v,
                      int64_t d, ml_error *err) {
  const int64_t ld = d + 1;
  const size_t size = ml_dtype_size(dtype);
  void *joined = ml_block_new((size_t)(v * ld) * size);
  *panels = joined ? ml_block_new((size_t)ml_gemm_panel_size(dtype, v, ld) * size) : NULL;
  if (!*panels) {
    if (joined)
      ml_block_free(joined);
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for a matrix [%lldx%lld]", (long long)v,
                   (long long)ld);
  }
  for (int64_t j = 0; j < v; j++)
    for (int64_t i = 0; i < ld; i++) {
      const double value = i < d ? M[j * d + i] : w[j];
      if (dtype == ML_F32)
        ((float *)joined)[j * ld + i] = (float)value;
      else
        ((double *)joined)[j * ld + i] = value;
    }
  ml_gemm_pack(dtype, *panels, false, v, ld, joined, ld);
  ml_block_free(joined);
  return ML_OK;
}

ml_status ml_plrf_sgd_direct(double *risk, double *theta, const double *A, const double *u,
                             int64_t v, int64_t d, const ml_plrf_sgd_options *o, ml_error *err) {
  void *panels;
  ML_TRY(pack(&panels, o->dtype, A, u, v, d, err));
  job j = {.mode = DIRECT,
           .o = o,
           .v = v,
           .d = d,
           .risk = risk,
           .theta = theta,
           .A = A,
           .u = u,
           .panels = panels};
  ml_status status = run_all(&j, err);
  ml_block_free(panels);
  return status;
}

ml_status ml_plrf_sgd_data(double *risk, double *theta, const double *x, const double *W,
                           const double *b, const double *A, const double *u, int64_t v, int64_t d,
                           const ml_plrf_sgd_options *o, ml_error *err) {
  void *panels;
  ML_TRY(pack(&panels, ML_F64, W, b, v, d, err));
  job j = {.mode = DATA,
           .o = o,
           .v = v,
           .d = d,
           .risk = risk,
           .theta = theta,
           .A = A,
           .u = u,
           .x = x,
           .panels = panels};
  ml_status status = run_all(&j, err);
  ml_block_free(panels);
  return status;
}

/* In the eigenbasis the features are sqrt(lambda_k) g_k, and the part of the target that they
 * cannot express is an independent N(0, null). x_k = sqrt(lambda_k) (V^T (theta - theta*))_k, so
 * that e = g.x - sqrt(null) g_0, x_k -= gamma lambda_k e g_k and P = null + x.x. */
ml_status ml_plrf_sgd_fast(double *risk, const double *lambda, const double *t, double null,
                           int64_t d, const ml_plrf_sgd_options *o, ml_error *err) {
  double *start = ml_block_new((size_t)d * sizeof *start);
  if (!start)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld doubles", (long long)d);
  for (int64_t k = 0; k < d; k++)
    start[k] = lambda[k] > 0 ? -t[k] / sqrt(lambda[k]) : 0;
  job j = {
      .mode = FAST, .o = o, .d = d, .risk = risk, .lambda = lambda, .start = start, .null = null};
  ml_status status = run_all(&j, err);
  ml_block_free(start);
  return status;
}
