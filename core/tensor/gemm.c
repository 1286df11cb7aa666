/* The matrix product over the pool: choice of the kernel and of the tiles, from shape and dtype. */
#include "gemm.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static const ml_gemm_kernels *const table[][2] = {
    {&ml_gemm_kernels_f64_portable, &ml_gemm_kernels_f32_portable},
#if defined(__x86_64__)
    {&ml_gemm_kernels_f64_avx2, &ml_gemm_kernels_f32_avx2},
    {&ml_gemm_kernels_f64_avx512, &ml_gemm_kernels_f32_avx512},
#endif
};

static ml_precision precision;
static ml_gemm_kernels rounded; /* those of f32 with factors in bf16 */
static const char *factors = "f32";

const ml_gemm_kernels *ml_gemm_kernels_exact(ml_dtype dtype) {
  return table[ml_cpu_isa()][dtype == ML_F32];
}

const ml_gemm_kernels *ml_gemm_kernels_of(ml_dtype dtype) {
  return dtype == ML_F32 && rounded.tile ? &rounded : ml_gemm_kernels_exact(dtype);
}

void ml_gemm_use(const ml_gemm_kernels *kernels, const char *of) {
  rounded.tile = NULL;
  factors = "f32";
  if (!kernels)
    return;
  rounded = *ml_gemm_kernels_exact(ML_F32);
  rounded.rows = kernels->rows;
  rounded.columns = kernels->columns;
  rounded.tile_rows = kernels->tile_rows;
  rounded.panels = kernels->panels;
  rounded.pack = kernels->pack;
  rounded.tile = kernels->tile;
  factors = of;
}

#if defined(__x86_64__)
/* Whether the kernels that are in use multiply: small integers are exact in bf16. */
static bool multiplies(void) {
  enum { M = 35, N = 41, K = 75 };
  float A[M * K], B[K * N], C[M * N];
  for (int i = 0; i < M * K; i++)
    A[i] = (float)(i % 13 - 6);
  for (int i = 0; i < K * N; i++)
    B[i] = (float)(i % 11 - 5);
  ml_gemm_serial(ML_F32, false, false, M, N, K, 1, A, K, B, N, 0, C, N);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float sum = 0;
      for (int k = 0; k < K; k++)
        sum += A[i * K + k] * B[k * N + j];
      if (C[i * N + j] != sum)
        return false;
    }
  return true;
}
#endif

void ml_set_matmul_precision(ml_precision p) {
  precision = p;
  ml_gemm_use(NULL, NULL);
#if defined(__x86_64__)
  if (p == ML_PRECISION_HIGHEST)
    return;
  if (ml_cpu_matrix_units()) {
    const bool high = p == ML_PRECISION_HIGH;
    ml_gemm_use(high ? &ml_gemm_kernels_amx_high : &ml_gemm_kernels_amx_medium,
                high ? "bf16x2" : "bf16");
    if (multiplies())
      return;
    ml_gemm_use(NULL, NULL);
  }
  if (p == ML_PRECISION_MEDIUM && ml_cpu_fast_bf16())
    ml_gemm_use(&ml_gemm_kernels_bf16, "bf16");
#endif
}

ml_precision ml_matmul_precision(void) { return precision; }
const char *ml_matmul_factors(void) { return factors; }
bool ml_matmul_rounds(void) { return rounded.tile != NULL; }

#define FLOPS 8 /* of a product, in the time of one unit of ml_parallel_for's cost */

typedef struct {
  const ml_gemm_kernels *kernels;
  size_t width; /* bytes of an element */
  ml_gemm_tile whole;
  int64_t rows, columns; /* of a tile */
  int64_t across;        /* tiles beside each other */
  char *parts;           /* of a product split over k */
  int64_t first, count;
  bool dot_rows; /* dot products: a row of A by B's column, else a row of B by A's row */
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t blocks(int64_t n, int64_t size) { return n / size + (n % size != 0); }
static char *at(const job *j, const void *base, int64_t i) {
  return (char *)base + i * (int64_t)j->width;
}

/* Subnormal numbers of f32 (below 1.2e-38) count as zero while a tile is computed: each operation
 * with one takes over a hundred cycles, and saturated activations are full of them. */
static void run_kernel(const job *j, const ml_gemm_tile *t) {
#if defined(__x86_64__)
  if (j->kernels->dtype == ML_F32) {
    const unsigned control = _mm_getcsr();
    _mm_setcsr(control | 0x8040u); /* results flushed to zero, operands taken as zero */
    j->kernels->tile(t);
    _mm_setcsr(control);
    return;
  }
#endif
  j->kernels->tile(t);
}

static void run_tile(void *ctx, int64_t i, int worker) {
  (void)worker;
  const job *j = ctx;
  if (ml_cancelled())
    return;
  ml_gemm_tile t = j->whole;
  t.m0 = i / j->across * j->rows;
  t.n0 = i % j->across * j->columns;
  t.m1 = least(t.m0 + j->rows, j->whole.m1);
  t.n1 = least(t.n0 + j->columns, j->whole.n1);
  run_kernel(j, &t);
}

/* Cuts C into tiles: at most what the caches want, and small enough to occupy a pool. */
static int64_t cut(job *j, bool pool) {
  const int64_t M = j->whole.m1, N = j->whole.n1, K = j->whole.k1;
  const int64_t rows = j->kernels->rows, columns = j->kernels->columns;
  /* where several blocks of rows use B as it lies, a tile's share of it should stay near */
  int64_t down = blocks(M, j->kernels->tile_rows),
          across = j->whole.panels || down == 1 ? 1 : blocks(N, 1024);
  double flops = 2.0 * (double)M * (double)N * (double)K;
  if (pool)
    while (down * across < 8 && flops > 1e6 * (double)(down * across)) {
      if (M / down >= N / across && M / down > rows)
        down *= 2;
      else if (N / across > columns)
        across *= 2;
      else
        break;
    }
  if (pool && down > 1) /* an even number of equal tiles */
    down += down % 2;
  j->rows = blocks(blocks(M, down), rows) * rows;
  j->columns = blocks(blocks(N, across), columns) * columns;
  j->across = blocks(N, j->columns);
  return blocks(M, j->rows) * j->across;
}

/* ---- a small C over a long K: blocks of k in parallel, added in order ------------------------ */

static void run_part(void *ctx, int64_t i, int worker) {
  (void)worker;
  const job *j = ctx;
  ml_gemm_tile t = j->whole;
  t.k0 = (j->first + i) * ML_GEMM_KC;
  t.k1 = least(t.k0 + ML_GEMM_KC, j->whole.k1);
  t.C = at(j, j->parts, i * t.m1 * t.n1);
  t.ldc = t.n1;
  t.beta = 0;
  run_kernel(j, &t);
}

static void combine(void *ctx, int64_t i, int worker) {
  (void)worker;
  const job *j = ctx;
  const ml_gemm_tile *t = &j->whole;
  const int64_t m0 = i * j->rows, m = least(j->rows, t->m1 - m0);
  j->kernels->combine(at(j, t->C, m0 * t->ldc), t->ldc, at(j, j->parts, m0 * t->n1), t->m1 * t->n1,
                      j->count, m, t->n1, j->first > 0 || t->beta != 0);
}

static bool split(job *j) {
  const ml_gemm_tile *t = &j->whole;
  const int64_t size = t->m1 * t->n1, all = blocks(t->k1, ML_GEMM_KC), most = least(all, 32);
  ml_arena *scratch = ml_scratch();
  if (!scratch)
    return false;
  const size_t mark = ml_arena_mark(scratch);
  j->parts = ml_arena_take(scratch, (size_t)(most * size) * j->width);
  if (!j->parts)
    return false;
  if (t->beta != 0 && t->beta != 1)
    j->kernels->scale(t->C, t->ldc, t->m1, t->n1, t->beta);
  j->rows = blocks(t->m1, 4);
  for (j->first = 0; j->first < all && !ml_cancelled(); j->first += most) {
    j->count = least(most, all - j->first);
    ml_parallel_for(j->count, 2.0 * (double)size * ML_GEMM_KC / FLOPS, run_part, j);
    ml_parallel_for(blocks(t->m1, j->rows), (double)(j->rows * t->n1 * j->count), combine, j);
  }
  ml_arena_release(scratch, mark);
  return true;
}

/* ---- matrix times vector --------------------------------------------------------------------- */

static void run_dots(void *ctx, int64_t i, int worker) {
  (void)worker;
  const job *j = ctx;
  const ml_gemm_tile *t = &j->whole;
  const int64_t n = j->dot_rows ? t->m1 : t->n1, i0 = i * j->rows, i1 = least(i0 + j->rows, n);
  if (ml_cancelled())
    return;
  if (j->dot_rows)
    j->kernels->dots(at(j, t->C, i0 * t->ldc), t->ldc, at(j, t->A, i0 * t->lda), t->lda, t->B,
                     t->tb ? 1 : t->ldb, i1 - i0, t->k1, t->alpha, t->beta);
  else
    j->kernels->dots(at(j, t->C, i0), 1, at(j, t->B, i0 * t->ldb), t->ldb, t->A, t->ta ? t->lda : 1,
                     i1 - i0, t->k1, t->alpha, t->beta);
}

/* ---- panels ---------------------------------------------------------------------------------- */

int64_t ml_gemm_panel_size(ml_dtype dtype, int64_t K, int64_t N) {
  const int64_t columns = ml_gemm_kernels_of(dtype)->columns;
  return blocks(N, columns) * columns * K;
}

typedef struct {
  const ml_gemm_kernels *kernels;
  size_t width;
  char *panels;
  const char *B;
  bool transposed;
  int64_t K, N, ldb;
} pack_job;

static void run_pack(void *ctx, int64_t i, int worker) {
  (void)worker;
  const pack_job *j = ctx;
  const int64_t n0 = i * j->kernels->columns;
  if (ml_cancelled())
    return;
  j->kernels->pack(j->panels + n0 * j->K * (int64_t)j->width,
                   j->B + (j->transposed ? n0 * j->ldb : n0) * (int64_t)j->width, j->ldb,
                   j->transposed, j->K, least(j->kernels->columns, j->N - n0));
}

void ml_gemm_pack(ml_dtype dtype, void *panels, bool transposed, int64_t K, int64_t N,
                  const void *B, int64_t ldb) {
  pack_job j = {ml_gemm_kernels_of(dtype), ml_dtype_size(dtype), panels, B, transposed, K, N, ldb};
  if (K > 0)
    ml_parallel_for(blocks(N, j.kernels->columns), 2.0 * (double)(K * j.kernels->columns), run_pack,
                    &j);
}

/* Copies op(B) once instead of once for every block of rows. */
static void share_panels(job *j) {
  ml_gemm_tile *t = &j->whole;
  ml_arena *scratch = ml_scratch();
  const int64_t size = ml_gemm_panel_size(j->kernels->dtype, t->k1, t->n1);
  void *panels = scratch ? ml_arena_take(scratch, (size_t)size * j->width) : NULL;
  if (!panels)
    return;
  ml_gemm_pack(j->kernels->dtype, panels, t->tb, t->k1, t->n1, t->B, t->ldb);
  t->panels = panels;
  t->tb = false;
  t->ldb = t->k1;
}

/* shared: the call may use the pool and the process's scratch. */
static void gemm(bool shared, ml_dtype dtype, ml_gemm_tile t) {
  job j = {.kernels = ml_gemm_kernels_of(dtype), .width = ml_dtype_size(dtype)};
  if (t.m1 <= 0 || t.n1 <= 0)
    return;
  if (t.k1 <= 0 || t.alpha == 0) {
    j.kernels->scale(t.C, t.ldc, t.m1, t.n1, t.beta);
    return;
  }
  if (!t.panels && t.n1 == 1 && t.ta && t.ldc == 1 && (t.tb || t.ldb == 1)) {
    /* y = A^T x as the row x^T A, which runs along the rows of A */
    ml_gemm_tile row = t;
    row.m1 = 1, row.n1 = t.m1;
    row.A = t.B, row.lda = t.k1, row.ta = false;
    row.B = t.A, row.ldb = t.lda, row.tb = false;
    row.ldc = t.m1;
    t = row;
  }
  j.whole = t;
  /* Cutting for one thread would only cost: the bytes are the same. */
  const bool pool = shared && ml_threads() > 1 && !ml_in_parallel();
  const double flops = 2.0 * (double)t.m1 * (double)t.n1 * (double)t.k1;
  int64_t n;
  ml_body body = run_tile;
  const bool dots = !t.panels && ((t.n1 == 1 && !t.ta) || (t.m1 == 1 && t.tb));
  /* Another thread's scratch is out of reach, and two blocks of rows gain little. */
  const bool share = shared && !dots && !t.panels && t.m1 > 2 * j.kernels->tile_rows &&
                     t.n1 >= 64 && !ml_in_parallel();
  ml_arena *scratch = share ? ml_scratch() : NULL;
  const size_t mark = scratch ? ml_arena_mark(scratch) : 0;
  if (dots) {
    j.dot_rows = t.n1 == 1 && !t.ta;
    const int64_t rows = j.dot_rows ? t.m1 : t.n1;
    j.rows = least(rows, 1 + 65536 / t.k1);
    j.rows += j.rows % 2;
    n = blocks(rows, j.rows);
    body = run_dots;
  } else {
    if (pool && t.m1 * t.n1 <= 16384 && t.k1 >= 4 * ML_GEMM_KC && flops > 1e6 && split(&j))
      return;
    if (scratch)
      share_panels(&j);
    n = cut(&j, pool);
  }
  if (pool)
    ml_parallel_for(n, flops / FLOPS / (double)n, body, &j);
  else
    for (int64_t i = 0; i < n; i++)
      body(&j, i, 0);
  if (scratch)
    ml_arena_release(scratch, mark);
}

#define WHOLE                                                                                      \
  ((ml_gemm_tile){.ta = ta,                                                                        \
                  .tb = tb,                                                                        \
                  .m1 = M,                                                                         \
                  .n1 = N,                                                                         \
                  .k1 = K,                                                                         \
                  .alpha = alpha,                                                                  \
                  .beta = beta,                                                                    \
                  .A = A,                                                                          \
                  .B = B,                                                                          \
                  .C = C,                                                                          \
                  .lda = lda,                                                                      \
                  .ldb = ldb,                                                                      \
                  .ldc = ldc})

void ml_gemm(ml_dtype dtype, bool ta, bool tb, int64_t M, int64_t N, int64_t K, double alpha,
             const void *A, int64_t lda, const void *B, int64_t ldb, double beta, void *C,
             int64_t ldc) {
  gemm(true, dtype, WHOLE);
}

void ml_gemm_serial(ml_dtype dtype, bool ta, bool tb, int64_t M, int64_t N, int64_t K, double alpha,
                    const void *A, int64_t lda, const void *B, int64_t ldb, double beta, void *C,
                    int64_t ldc) {
  gemm(false, dtype, WHOLE);
}

#define BY_PANELS                                                                                  \
  ((ml_gemm_tile){.ta = ta,                                                                        \
                  .m1 = M,                                                                         \
                  .n1 = N,                                                                         \
                  .k1 = K,                                                                         \
                  .alpha = alpha,                                                                  \
                  .beta = beta,                                                                    \
                  .A = A,                                                                          \
                  .panels = panels,                                                                \
                  .C = C,                                                                          \
                  .lda = lda,                                                                      \
                  .ldb = K,                                                                        \
                  .ldc = ldc})

void ml_gemm_by_panels(ml_dtype dtype, bool ta, int64_t M, int64_t N, int64_t K, double alpha,
                       const void *A, int64_t lda, const void *panels, double beta, void *C,
                       int64_t ldc) {
  gemm(true, dtype, BY_PANELS);
}

void ml_gemm_by_panels_serial(ml_dtype dtype, bool ta, int64_t M, int64_t N, int64_t K,
                              double alpha, const void *A, int64_t lda, const void *panels,
                              double beta, void *C, int64_t ldc) {
  gemm(false, dtype, BY_PANELS);
}
