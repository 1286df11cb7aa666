/* Arithmetic and comparison of two operands, dense, strided or repeated. */
#include "base/simd_math.h"
#include "tensor/kernels.h"

#if ML_REAL_IS_F32
#define LIBM(name) name##f
#else
#define LIBM(name) name
#endif

/* x and y run over the operands; dense and repeated ones get loops that vectorise. */
#define LOOPS(out_type, value)                                                                     \
  do {                                                                                             \
    if (so == 1 && sa == 1 && sb == 1) {                                                           \
      _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                       \
        real x = a[i], y = b[i];                                                                   \
        o[i] = (out_type)(value);                                                                  \
      }                                                                                            \
    } else if (so == 1 && sa == 1 && sb == 0) {                                                    \
      real y = *b;                                                                                 \
      _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                       \
        real x = a[i];                                                                             \
        o[i] = (out_type)(value);                                                                  \
      }                                                                                            \
    } else if (so == 1 && sa == 0 && sb == 1) {                                                    \
      real x = *a;                                                                                 \
      _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                       \
        real y = b[i];                                                                             \
        o[i] = (out_type)(value);                                                                  \
      }                                                                                            \
    } else {                                                                                       \
      for (int64_t i = 0; i < n; i++) {                                                            \
        real x = a[i * sa], y = b[i * sb];                                                         \
        o[i * so] = (out_type)(value);                                                             \
      }                                                                                            \
    }                                                                                              \
  } while (0)

/* Exponents that need no logarithm; false for the others. */
static bool power(real *o, const real *a, real y, int64_t n) {
  if (y == 2) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) o[i] = a[i] * a[i];
  } else if (y == 1) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) o[i] = a[i];
  } else if (y == 3) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) o[i] = a[i] * a[i] * a[i];
  } else if (y == -1) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) o[i] = ML_R(1) / a[i];
  } else if (y == ML_R(0.5)) { /* pow(-0, .5) is 0 and pow(-inf, .5) is inf */
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {
      real x = a[i], r = LIBM(sqrt)(x) + ML_R(0);
      o[i] = x == -ML_INF ? ML_INF : r;
    }
  } else {
    return false;
  }
  return true;
}

void ML_FN(tensor_k_binary)(ml_binary_op op, void *out, int64_t so, const void *va, int64_t sa,
                            const void *vb, int64_t sb, int64_t n) {
  real *o = out;
  const real *a = va, *b = vb;
  switch ((int)op) {
  case ML_ADD:
    LOOPS(real, x + y);
    break;
  case ML_SUB:
    LOOPS(real, x - y);
    break;
  case ML_MUL:
    LOOPS(real, x * y);
    break;
  case ML_DIV:
    LOOPS(real, x / y);
    break;
  case ML_MAXIMUM: /* a NaN on either side wins */
    LOOPS(real, (x > y || x != x) ? x : y);
    break;
  case ML_MINIMUM:
    LOOPS(real, (x < y || x != x) ? x : y);
    break;
  case ML_POW:
    if (so == 1 && sa == 1 && sb == 0 && power(o, a, *b, n))
      break;
    for (int64_t i = 0; i < n; i++)
      o[i * so] = LIBM(pow)(a[i * sa], b[i * sb]);
    break;
  case ML_ATAN2:
    for (int64_t i = 0; i < n; i++)
      o[i * so] = LIBM(atan2)(a[i * sa], b[i * sb]);
    break;
  default:
    break;
  }
}

void ML_FN(tensor_k_compare)(ml_binary_op op, uint8_t *o, const void *va, int64_t sa,
                             const void *vb, int64_t sb, int64_t n) {
  const real *a = va, *b = vb;
  const int64_t so = 1;
  switch ((int)op) {
  case ML_LT:
    LOOPS(uint8_t, x < y);
    break;
  case ML_LE:
    LOOPS(uint8_t, x <= y);
    break;
  case ML_GT:
    LOOPS(uint8_t, x > y);
    break;
  case ML_GE:
    LOOPS(uint8_t, x >= y);
    break;
  case ML_EQ:
    LOOPS(uint8_t, x == y);
    break;
  case ML_NE:
    LOOPS(uint8_t, x != y);
    break;
  default:
    break;
  }
}

void ML_FN(tensor_k_axpy)(void *vy, int64_t sy, double alpha, const void *vx, int64_t sx,
                          int64_t n) {
  real *y = vy;
  const real *x = vx;
  real s = (real)alpha;
  if (sy == 1 && sx == 1) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] += s * x[i];
  } else {
    for (int64_t i = 0; i < n; i++)
      y[i * sy] += s * x[i * sx];
  }
}
