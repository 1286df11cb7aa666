/* Matrix kernels of one dtype and instruction set, and the serial products other rooms may call
 * from workers.
 *
 * One invariant holds everywhere: an element of C is the sum over blocks of ML_GEMM_KC consecutive
 * k, each block one chain of multiply-adds from zero in the order of k, the blocks added in order.
 * So neither M, N, the position of an element, packing, tiling, nor the split of K over tasks
 * changes a bit. The exception is a matrix times a vector that runs along its rows (N = 1 with A as
 * it lies, M = 1 with B transposed): dot products over fixed lanes, chosen by shape. ml_packed has
 * no exception. */
#ifndef MOONLAB_GEMM_H
#define MOONLAB_GEMM_H

#include "tensor.h"

#define ML_GEMM_KC 256 /* k per block */

/* C[m0:m1, n0:n1] = alpha op(A) op(B) + beta C over k0:k1. */
typedef struct {
  bool ta, tb;
  int64_t m0, m1, n0, n1, k0, k1; /* n0 a multiple of the columns of a panel */
  double alpha, beta;
  const void *A, *B;
  const void *panels; /* op(B) as [panel][ldb][columns] instead of B, or NULL */
  void *C;
  int64_t lda, ldb, ldc;
} ml_gemm_tile;

/* y[m0:m1, panels p0:p1] (+)= x W (+ bias), W packed as [panel][K][columns], zero beyond N. */
typedef struct {
  int64_t K, N, m0, m1, p0, p1;
  const void *x, *panels, *bias; /* bias may be NULL */
  void *y;
  int64_t ldx, ldy;
  bool add;
} ml_gemm_panels;

typedef struct {
  ml_dtype dtype;
  int rows, columns;                   /* of the register block; columns is the width of a panel */
  int64_t tile_rows;                   /* rows of A that a tile packs at once, a multiple of rows */
  void (*tile)(const ml_gemm_tile *t); /* polls for cancel per block of k */
  void (*panels)(const ml_gemm_panels *t);
  void (*pack)(void *panels, const void *W, int64_t ldw, bool transposed, int64_t K, int64_t N);
  /* y[i * incy] = alpha dot(A[i,:], x) + beta y[i * incy] for m rows of A */
  void (*dots)(void *y, int64_t incy, const void *A, int64_t lda, const void *x, int64_t incx,
               int64_t m, int64_t k, double alpha, double beta);
  void (*scale)(void *C, int64_t ldc, int64_t m, int64_t n, double beta); /* beta 0 never reads C */
  /* C = (C +) the count parts [m,n], each `part` elements after the last, added in order */
  void (*combine)(void *C, int64_t ldc, const void *parts, int64_t part, int64_t count, int64_t m,
                  int64_t n, bool add);
} ml_gemm_kernels;

const ml_gemm_kernels *
ml_gemm_kernels_of(ml_dtype dtype); /* of this machine's instruction set. [any thread] */

/* op(B) [K,N] copied once for several products: ml_gemm_panel_size elements at panels, as
 * [panel][K][columns], zero beyond N; columns divides 64, so that the panels of columns c.. begin
 * at element c * K for every c that 64 divides. Over the pool. */
ML_API int64_t ml_gemm_panel_size(ml_dtype dtype, int64_t K, int64_t N);
ML_API void ml_gemm_pack(ml_dtype dtype, void *panels, bool transposed, int64_t K, int64_t N,
                         const void *B, int64_t ldb);
/* C = alpha op(A) B + beta C with B as panels, the bytes of ml_gemm (but for its dot products). */
ML_API void ml_gemm_by_panels(ml_dtype dtype, bool ta, int64_t M, int64_t N, int64_t K,
                              double alpha, const void *A, int64_t lda, const void *panels,
                              double beta, void *C, int64_t ldc);
/* The same on the calling thread. [any thread] */
ML_API void ml_gemm_by_panels_serial(ml_dtype dtype, bool ta, int64_t M, int64_t N, int64_t K,
                                     double alpha, const void *A, int64_t lda, const void *panels,
                                     double beta, void *C, int64_t ldc);

/* ml_gemm on the calling thread, with the same bytes. [any thread] */
ML_API void ml_gemm_serial(ml_dtype dtype, bool ta, bool tb, int64_t M, int64_t N, int64_t K,
                           double alpha, const void *A, int64_t lda, const void *B, int64_t ldb,
                           double beta, void *C, int64_t ldc);

#define ML_GEMM_DECLARE(v) extern const ml_gemm_kernels ml_gemm_kernels_##v;
ML_GEMM_DECLARE(f32_portable)
ML_GEMM_DECLARE(f64_portable)
#if defined(__x86_64__)
ML_GEMM_DECLARE(f32_avx2)
ML_GEMM_DECLARE(f64_avx2)
ML_GEMM_DECLARE(f32_avx512)
ML_GEMM_DECLARE(f64_avx512)
#endif

#endif
