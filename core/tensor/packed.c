/* Weights packed once for products whose rows do not depend on each other: decoding with a cache.
 */
#include "gemm.h"

struct ml_packed {
  ml_gemm_kernels kernels; /* those of the precision when it was packed */
  ml_dtype dtype;
  int64_t K, N;
  void *panels;
};

ml_status ml_packed_new(ml_packed **packed, ml_dtype dtype, bool transposed, int64_t K, int64_t N,
                        const void *W, int64_t ldw, ml_error *err) {
  *packed = NULL;
  if (!ml_is_real(dtype))
    return ml_fail(err, ML_EDTYPE, 0, "packed weights are %s, wanted f64 or f32",
                   ml_dtype_name(dtype));
  if (K < 0 || N < 0)
    return ml_fail(err, ML_ESHAPE, 0, "packed weights of negative size");
  const ml_gemm_kernels *kernels = ml_gemm_kernels_of(dtype);
  const int64_t columns = kernels->columns, panels = N / columns + (N % columns != 0);
  int64_t size, bytes;
  if (__builtin_mul_overflow(panels * columns, K, &size) ||
      __builtin_mul_overflow(size, (int64_t)ml_dtype_size(dtype), &bytes))
    return ml_fail(err, ML_ENOMEM, 0, "packed weights are too large");
  ml_packed *p = ml_alloc(sizeof *p);
  if (!p)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  *p = (ml_packed){.kernels = *kernels, .dtype = dtype, .K = K, .N = N};
  p->panels = ml_block_new((size_t)bytes);
  if (!p->panels) {
    ml_free(p);
    return ml_fail(err, ML_ENOMEM, 0, "out of memory: %lld bytes of packed weights",
                   (long long)bytes);
  }
  if (K > 0)
    kernels->pack(p->panels, W, ldw, transposed, K, N);
  *packed = p;
  return ML_OK;
}

void ml_packed_free(ml_packed *packed) {
  if (!packed)
    return;
  ml_block_free(packed->panels);
  ml_free(packed);
}

typedef struct {
  const ml_gemm_kernels *kernels;
  ml_gemm_panels whole;
  int64_t rows, panels; /* of a task */
  int64_t across;
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t blocks(int64_t n, int64_t size) { return n / size + (n % size != 0); }

static void run(void *ctx, int64_t i, int worker) {
  (void)worker;
  const job *j = ctx;
  ml_gemm_panels t = j->whole;
  t.m0 = i / j->across * j->rows;
  t.m1 = least(t.m0 + j->rows, j->whole.m1);
  t.p0 = i % j->across * j->panels;
  t.p1 = least(t.p0 + j->panels, j->whole.p1);
  j->kernels->panels(&t);
}

void ml_packed_matmul(const ml_packed *W, int64_t M, const void *x, int64_t ldx, const void *bias,
                      void *y, int64_t ldy, bool accumulate) {
  if (M <= 0 || W->N <= 0)
    return;
  const ml_gemm_kernels *kernels = &W->kernels;
  const int64_t panels = blocks(W->N, kernels->columns);
  job j = {.kernels = kernels,
           .whole = {.K = W->K,
                     .N = W->N,
                     .m1 = M,
                     .p1 = panels,
                     .x = x,
                     .panels = W->panels,
                     .bias = bias,
                     .y = y,
                     .ldx = ldx,
                     .ldy = ldy,
                     .add = accumulate},
           .rows = 32 * kernels->rows};
  /* A few rows cost what reading W costs, about 16 bytes in the time of 32 flops. Below the cost of
   * some 50 microseconds waking a sleeping pool takes longer than it saves. */
  const double bytes = (double)W->K * (double)W->N * (double)ml_dtype_size(W->dtype);
  const double flops = 2 * (double)M * (double)W->K * (double)W->N;
  const double cost = bytes > flops / 4 ? bytes : flops / 4;
  const int64_t down = blocks(M, j.rows),
                most = cost < 1.5e6 ? 1 : (int64_t)(cost / (double)down / 1e5);
  j.panels = blocks(panels, least(most < 1 ? 1 : most, 8));
  j.panels = M == 1 ? blocks(j.panels, 4) * 4 : M == 2 ? blocks(j.panels, 2) * 2 : j.panels;
  j.across = blocks(panels, j.panels);
  const int64_t n = down * j.across;
  ml_parallel_for(n, cost / (double)n, run, &j);
}
