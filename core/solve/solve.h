/* Solve room: factorizations of dense f64 matrices, all row-major and contiguous.
 *
 * LAPACK runs on one thread, since its results must not depend on the number of threads; the
 * Cholesky factorization and the triangular solves are our own blocked code over the pool and poll
 * for cancel per block. LAPACK's integers have 32 bits and count entries and workspaces: sides go
 * up to ML_SOLVE_MAX, those of eigh and the smaller one of svd less far. ML_ENOMEM, ML_ECANCELLED,
 * ML_EARG for sizes, ML_ENUMERIC for entries that are not finite, and what is said. */
#ifndef MOONLAB_SOLVE_H
#define MOONLAB_SOLVE_H

#include "tensor/tensor.h"

#define ML_SOLVE_MAX 46340
#define ML_EIGH_MAX 32766 /* dsyevd wants 1 + 6 n + 2 n^2 doubles */
#define ML_SVD_MAX 23168  /* dgesdd wants 4 k^2 + 7 k */

/* Eigenvalues of the symmetric H [n,n], ascending, without eigenvectors; and y <- V^T y for the
 * matrix V of eigenvectors, which is never formed: y goes through the reflections and rotations. H
 * is destroyed, its lower triangle read. (4/3) n^3 flops. ML_ENUMERIC when the QL iteration does
 * not converge (NaN in H). */
ML_API ml_status ml_solve_eigh_project(double *lambda, double *y, double *H, int64_t n,
                                       ml_error *err) ML_MUST_CHECK;
/* H = V diag(lambda) V^T, lambda ascending; V overwrites H, eigenvectors in its columns. About 9
 * n^3 flops. */
ML_API ml_status ml_solve_eigh(double *lambda, double *H, int64_t n, ml_error *err) ML_MUST_CHECK;
/* A [m,n], m >= n, becomes Q with orthonormal columns; R [n,n] upper. 4 m n^2 flops. */
ML_API ml_status ml_solve_qr(double *A, double *R, int64_t m, int64_t n,
                             ml_error *err) ML_MUST_CHECK;
/* A [m,n] = U diag(s) Vt with k = min(m,n) values, descending; U [m,k], Vt [k,n]. A is destroyed.
 */
ML_API ml_status ml_solve_svd(double *U, double *s, double *Vt, double *A, int64_t m, int64_t n,
                              ml_error *err) ML_MUST_CHECK;
/* A [n,n] = L L^T; L overwrites the lower triangle, the upper one becomes 0. n^3/3 flops over the
 * pool. ML_ENUMERIC names the leading minor that is not positive. */
ML_API ml_status ml_solve_cholesky(double *A, int64_t n, ml_error *err) ML_MUST_CHECK;
/* B [n,c] <- L^-1 B, or L^-T B when transposed. */
ML_API ml_status ml_solve_triangular(double *B, const double *L, bool transposed, int64_t n,
                                     int64_t c, ml_error *err) ML_MUST_CHECK;

#endif
