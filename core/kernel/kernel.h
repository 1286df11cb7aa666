/* Kernel room: dual activations, and the kernels of infinitely wide networks built from them.
 *
 * Notation: sigma an activation; (u, v) Gaussian with variances a, b and covariance c;
 *   kappa(c; a, b) = E sigma(u) sigma(v),   kappa_dot(c; a, b) = E sigma'(u) sigma'(v);
 * K the covariance of a network's pre- or post-activations (NNGP), T its tangent kernel (NTK), in
 * the parameterisation z = w_std / sqrt(fan_in) W x + b_std b with standard normal W and b.
 * Sources: Cho & Saul 2009; Daniely, Frostig & Singer 2016; Lee et al. 2018; Jacot et al. 2018;
 * Arora et al. 2019; Han et al. 2022 (arXiv 2209.04121). */
#ifndef MOONLAB_KERNEL_H
#define MOONLAB_KERNEL_H

#include "tensor/tensor.h"

/* ---- dual activations ------------------------------------------------------------------------ */

/* clang-format off */
typedef enum {
  ML_DUAL_IDENTITY,
  ML_DUAL_ABRELU,      /* A min(x,0) + B max(x,0): parameters A, B */
  ML_DUAL_STEP,        /* 1 for x > 0, else 0; kappa_dot is 0 by convention, as for sign */
  ML_DUAL_SIGN,
  ML_DUAL_RECTIFIED,   /* max(x,0)^degree, degree 0..ML_DUAL_DEGREE */
  ML_DUAL_ERF,         /* A erf(B x) + C */
  ML_DUAL_GELU,        /* x Phi(x) */
  ML_DUAL_SIN,         /* A sin(B x + C) */
  ML_DUAL_EXP,         /* A exp(B x) + C */
  ML_DUAL_GAUSSIAN,    /* A exp(-B x^2) + C, B >= 0 */
  ML_DUAL_GABOR,       /* exp(-x^2) sin x */
  ML_DUAL_NORMALIZED,  /* sqrt(ab) exp(A (c / sqrt(ab) - 1)): a kernel without an activation */
  ML_DUAL_POLYNOMIAL,  /* sum of coefficients c_j x^j, degree 0..ML_DUAL_DEGREE */
  ML_DUAL_COUNT
} ml_dual_kind;
/* clang-format on */

#define ML_DUAL_DEGREE 20
typedef struct {
  ml_dual_kind kind;
  int degree;
  double p[4];
  /* what the loops need of a rectified power or a polynomial; ml_dual_init fills it */
  double table[(ML_DUAL_DEGREE + 1) * (ML_DUAL_DEGREE + 2) / 2];
} ml_dual;

/* parameters as the list says; degree and coefficients [degree + 1] for the kinds that have them.
 * ML_EARG. */
ML_API ml_status ml_dual_init(ml_dual *dual, ml_dual_kind kind, const double *parameters,
                              int degree, const double *coefficients, ml_error *err) ML_MUST_CHECK;
/* kappa and kappa_dot of every entry of c, a, b (same dtype f64 or f32, same shape). */
ML_API ml_status ml_dual_eval(ml_tensor *kappa, ml_tensor *kappa_dot, const ml_dual *dual,
                              const ml_tensor *c, const ml_tensor *a, const ml_tensor *b,
                              ml_error *err) ML_MUST_CHECK;
/* kappa[i,j] = sum over k of x[i,k] y[j,k] rho[i,j]^k: rho [n,m]; x [n,q]; y [m,q]; real dtypes,
 * all alike. (q-1) multiply-adds an entry. */
ML_API ml_status ml_dual_series(ml_tensor *kappa, const ml_tensor *rho, const ml_tensor *x,
                                const ml_tensor *y, ml_error *err) ML_MUST_CHECK;

/* ---- networks -------------------------------------------------------------------------------- */

typedef enum {
  ML_KERNEL_DENSE,
  ML_KERNEL_CONV,
  ML_KERNEL_ACT,
  ML_KERNEL_POOL,    /* mean over windows */
  ML_KERNEL_GAP,     /* mean over all pixels */
  ML_KERNEL_FLATTEN, /* pixels become features */
  ML_KERNEL_NORM,    /* layer norm over channels */
  /* residual sums: PUSH saves a copy, SWAP exchanges it with what is being computed, ADD takes it
   * from the stack and adds it */
  ML_KERNEL_PUSH,
  ML_KERNEL_SWAP,
  ML_KERNEL_ADD,
  ML_KERNEL_OP_COUNT
} ml_kernel_kind;

typedef enum { ML_KERNEL_SAME, ML_KERNEL_VALID, ML_KERNEL_CIRCULAR } ml_kernel_padding;

typedef struct {
  ml_kernel_kind kind;
  double w2, b2;                /* dense, conv: variances */
  int64_t window[2], stride[2]; /* conv, pool; rows then columns */
  ml_kernel_padding padding;
  ml_dual dual; /* act */
  int layer;    /* position in the user's description, for messages */
} ml_kernel_op;

/* What a network makes of a set of points by themselves: their variances where it needs them, and
 * both kernels of each point with itself. X [n,d], or images [n,H,W,C]; f64 or f32; kept, not
 * copied, when contiguous. ML_ESHAPE when the network does not fit (names the layer), ML_ENUMERIC
 * for NaN or infinite entries and variances. */
typedef struct ml_kernel_points ml_kernel_points;
ML_API ml_status ml_kernel_points_new(ml_kernel_points **out, const ml_kernel_op *ops, int count,
                                      const ml_tensor *X, ml_error *err) ML_MUST_CHECK;
ML_API void ml_kernel_points_free(ml_kernel_points *points); /* NULL allowed */
/* K and T [n] of each point with itself. */
ML_API ml_status ml_kernel_diagonal(ml_tensor *K, ml_tensor *T, const ml_kernel_points *points,
                                    ml_error *err) ML_MUST_CHECK;
/* Rows first..first+count-1 of the n x m kernels between x and y, which are of one network; K and T
 * [n,m] contiguous, of the points' dtype, either may be NULL. For vectors first and count are
 * multiples of ML_KERNEL_ROWS but for the last rows. y the same object as x: the entries j <= i are
 * computed and copied to [j,i], so that the whole is there after the last row. */
#define ML_KERNEL_ROWS 256
ML_API ml_status ml_kernel_rows(ml_tensor *K, ml_tensor *T, const ml_kernel_points *x,
                                const ml_kernel_points *y, int64_t first, int64_t count,
                                ml_error *err) ML_MUST_CHECK;
/* Bytes of the points' tables and of one thread's scratch, and rough flops of a pair, for a network
 * on inputs like X (only its shape and dtype are looked at). */
ML_API ml_status ml_kernel_estimate(double *point_bytes, double *thread_bytes, double *flops,
                                    const ml_kernel_op *ops, int count, const ml_tensor *X,
                                    ml_error *err) ML_MUST_CHECK;

#endif
