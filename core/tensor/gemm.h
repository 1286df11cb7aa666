/* Private to the tensor room: the matrix kernels of one dtype and instruction set. What they
 * promise about the order of sums stands in tensor.h. */
#ifndef MOONLAB_GEMM_H
#define MOONLAB_GEMM_H

#include "tensor.h"

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

/* Of this machine's instruction set, at the precision that is set; exact: of that set in the dtype
 * itself. [any thread] */
const ml_gemm_kernels *ml_gemm_kernels_of(ml_dtype dtype);
const ml_gemm_kernels *ml_gemm_kernels_exact(ml_dtype dtype);

#define ML_GEMM_DECLARE(v) extern const ml_gemm_kernels ml_gemm_kernels_##v;
ML_GEMM_DECLARE(f32_portable)
ML_GEMM_DECLARE(f64_portable)
#if defined(__x86_64__)
ML_GEMM_DECLARE(f32_avx2)
ML_GEMM_DECLARE(f64_avx2)
ML_GEMM_DECLARE(f32_avx512)
ML_GEMM_DECLARE(f64_avx512)
/* tile, panels and pack only */
ML_GEMM_DECLARE(bf16)
ML_GEMM_DECLARE(amx_medium)
ML_GEMM_DECLARE(amx_high)
#endif

/* Takes rows, columns, tile_rows, tile, panels and pack of f32 products from there; NULL: from none.
 * [caller] */
void ml_gemm_use(const ml_gemm_kernels *kernels, const char *factors);

#endif
