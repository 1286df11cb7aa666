/* Dual activations entry by entry, and the other loops of the kernel recursions.
 *
 * D2 = ab - c^2 decides everything near coincident inputs: it is snapped to 0 within rounding, so
 * that two equal points give exactly rho = 1. Differences of nearly equal exponentials go through
 * expm1. Sources: Cho & Saul 2009 (rectified powers); Williams 1997 (erf); Han et al. 2022,
 * Table 1. */
#include "base/simd_math.h"
#include "kernel/kernels.h"

#define ML_PI ML_R(3.14159265358979323846)
#define ML_SNAP ML_R(ML_REAL_IS_F32 ? 4e-7 : 1e-14)

static inline real ml_max(real x, real y) { return x > y ? x : y; }

static inline real ml_gap(real c, real a, real b) { /* ab - c^2 */
  real ab = a * b, gap = ab - c * c;
  return gap > ML_SNAP * ab ? gap : ML_R(0);
}

static void identity(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                     void *kappa, void *kappa_dot) {
  (void)dual, (void)a, (void)b;
  const real *restrict C = c;
  real *restrict K = kappa, *restrict D = kappa_dot;
  for (int64_t i = 0; i < n; i++) {
    K[i] = C[i];
    D[i] = ML_R(1);
  }
}

static void abrelu(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                   void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const double p = dual->p[0], q = dual->p[1];
  const real g = (real)((p - q) * (p - q) / (2 * 3.14159265358979323846)),
             half = (real)((p * p + q * q) / 2);
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], root = ml_sqrt(ml_gap(x, A[i], B[i]));
    real dot = half - g * ml_angle(root, x);
    K[i] = g * root + dot * x;
    D[i] = dot;
  }
}

static void step(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                 void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const bool sign = dual->kind == ML_DUAL_SIGN;
  const real top = sign ? ML_R(1) : ML_R(0.5), slope = (sign ? ML_R(2) : ML_R(0.5)) / ML_PI;
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], root = ml_sqrt(ml_gap(x, A[i], B[i]));
    K[i] = top - slope * ml_angle(root, x);
    D[i] = ML_R(0);
  }
}

/* (P(cos) (pi - angle) + Q(cos) sin) for P, Q of one degree; see ml_dual_init */
static inline real ml_cho_saul(const real *p, const real *q, int degree, real x, real y, real phi) {
  real P = p[degree], Q = q[degree];
  for (int k = degree - 1; k >= 0; k--) {
    P = P * x + p[k];
    Q = Q * x + q[k];
  }
  return P * phi + Q * y;
}

static void rectified(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                      void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const int m = dual->degree, side = ML_DUAL_DEGREE + 1;
  real p[ML_DUAL_DEGREE + 1], q[ML_DUAL_DEGREE + 1], p1[ML_DUAL_DEGREE + 1], q1[ML_DUAL_DEGREE + 1];
  for (int k = 0; k <= m; k++) {
    p[k] = (real)dual->table[k];
    q[k] = (real)dual->table[side + k];
    p1[k] = (real)dual->table[2 * side + k];
    q1[k] = (real)dual->table[3 * side + k];
  }
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], ab = A[i] * B[i], root = ml_sqrt(ml_gap(x, A[i], B[i]));
    real norm = ml_sqrt(ab), inverse = norm > 0 ? ML_R(1) / norm : ML_R(0);
    real phi = ML_PI - ml_angle(root, x), sine = root * inverse;
    real cosine = x * inverse;
    cosine = cosine > ML_R(1) ? ML_R(1) : cosine;
    cosine = cosine < ML_R(-1) ? ML_R(-1) : cosine;
    real lower = ML_R(1); /* norm^(m-1) */
    for (int k = 1; k < m; k++)
      lower *= norm;
    real power = m == 0 ? ML_R(1) : lower * norm;
    K[i] = power * ml_cho_saul(p, q, m, cosine, sine, phi);
    D[i] = m == 0 ? ML_R(0) : lower * ml_cho_saul(p1, q1, m - 1, cosine, sine, phi);
  }
}

static void error_function(const ml_dual *dual, int64_t n, const void *c, const void *a,
                           const void *b, void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const double s = dual->p[0], w = dual->p[1], offset = dual->p[2];
  const real two = (real)(2 * w * w), front = (real)(2 * s * s / 3.14159265358979323846),
             slope = (real)(4 * s * s * w * w / 3.14159265358979323846),
             square = (real)(offset * offset);
  for (int64_t i = 0; i < n; i++) {
    real x = two * C[i], v = two * A[i], u = two * B[i];
    real R = ml_sqrt(ML_R(1) + v + u + ml_gap(x, v, u));
    K[i] = front * ml_arctan2(x, R) + square;
    D[i] = slope / R;
  }
}

static void gelu(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                 void *kappa, void *kappa_dot) {
  (void)dual;
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const real turn = ML_R(0.5) / ML_PI;
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], ab = A[i] * B[i], one = ML_R(1) + A[i] + B[i];
    real P = one + ab, S = one + ml_gap(x, A[i], B[i]), root = ml_sqrt(S);
    real angle = ml_arctan2(x, root), r = x / root;
    K[i] = ML_R(0.25) * x + turn * (x * angle + (x * x + ab * S) / (P * root));
    D[i] = ML_R(0.25) + turn * (angle + r * (ML_R(1) / S + (ML_R(1) - ab) / P + ML_R(1)));
  }
}

/* amplitude^2/2, B^2, cos 2C, 1 - cos 2C in p */
static void sine(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                 void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const real half = (real)dual->p[0], w2 = (real)dual->p[1], turn = (real)dual->p[2],
             rest = (real)dual->p[3];
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], far = ml_max(A[i] + B[i] - ML_R(2) * ml_abs(x), ML_R(0));
    real big = half * ml_exp_nonpositive(ML_R(-0.5) * w2 * far);
    real drop = ml_expm1(ML_R(-2) * w2 * ml_abs(x)); /* the smaller exponential is big (1 + drop) */
    K[i] = big * (rest + (x < 0 ? drop : -drop * turn));
    D[i] = big * w2 * (x < 0 ? ML_R(1) + drop + turn : ML_R(1) + (ML_R(1) + drop) * turn);
  }
}

static void exponential(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                        void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const real s = (real)dual->p[0], w2 = (real)(dual->p[1] * dual->p[1]), offset = (real)dual->p[2];
  for (int64_t i = 0; i < n; i++) {
    real e = s * s * ml_exp(ML_R(0.5) * w2 * (A[i] + B[i] + ML_R(2) * C[i]));
    real mean = s * (ml_exp(ML_R(0.5) * w2 * A[i]) + ml_exp(ML_R(0.5) * w2 * B[i]));
    K[i] = e + (offset != 0 ? offset * mean + offset * offset : ML_R(0));
    D[i] = w2 * e;
  }
}

static void gaussian(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                     void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const real s = (real)dual->p[0], two = (real)(2 * dual->p[1]), offset = (real)dual->p[2];
  for (int64_t i = 0; i < n; i++) {
    real x = two * C[i], v = two * A[i], u = two * B[i];
    real S = ML_R(1) + v + u + ml_gap(x, v, u), root = ml_sqrt(S);
    real mean = s / ml_sqrt(ML_R(1) + v) + s / ml_sqrt(ML_R(1) + u);
    real e = s * s / root;
    K[i] = e + offset * (mean + offset);
    D[i] = two * x * e / S;
  }
}

static void gabor(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                  void *kappa, void *kappa_dot) {
  (void)dual;
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], sum = A[i] + B[i], G = ML_R(4) * ml_gap(x, A[i], B[i]);
    real S = ML_R(1) + ML_R(2) * sum + G, root = ml_sqrt(S),
         far = ml_max(sum + G - ML_R(2) * ml_abs(x), ML_R(0));
    real big = ml_exp_nonpositive(ML_R(-0.5) * far / S);
    real drop = ml_expm1(ML_R(-2) * ml_abs(x) / S), small = big * (ML_R(1) + drop);
    real H = ML_R(1) + ML_R(2) * sum + ML_R(4) * (A[i] * B[i] + x * x);
    real Q = ML_R(4) * x * (G + ML_R(3) * sum + ML_R(2));
    real minus = x < 0 ? small : big, plus = x < 0 ? big : small;
    K[i] = ml_copysign(ML_R(-0.5) * big * drop / root, x);
    D[i] = (minus * (H + Q) + plus * (H - Q)) / (ML_R(2) * S * S * root);
  }
}

static void normalized(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                       void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  const real gamma = (real)dual->p[0];
  for (int64_t i = 0; i < n; i++) {
    real x = C[i], ab = A[i] * B[i], norm = ml_sqrt(ab);
    /* 1 - |rho| = D2 / (ab + |c| norm): no cancellation near coincident inputs */
    real bottom = ab + ml_abs(x) * norm;
    real rest = ml_gap(x, A[i], B[i]) / (bottom > 0 ? bottom : ML_R(1));
    rest = bottom > 0 ? rest : ML_R(1);
    real e = ml_exp(-gamma * (x < 0 ? ML_R(2) - rest : rest));
    K[i] = norm * e;
    D[i] = gamma * e;
  }
}

/* kappa = sum over l of c^l R_l(a) R_l(b); table holds the coefficients of R_0, R_1, ..., each in
 * powers of the variance */
static void polynomial(const ml_dual *dual, int64_t n, const void *c, const void *a, const void *b,
                       void *kappa, void *kappa_dot) {
  const real *restrict C = c, *restrict A = a, *restrict B = b;
  real *restrict K = kappa, *restrict D = kappa_dot;
  enum { BLOCK = 64 };
  for (int64_t at = 0; at < n; at += BLOCK) {
    const int64_t m = n - at < BLOCK ? n - at : BLOCK;
    real x[BLOCK], value[BLOCK] = {0}, dot[BLOCK] = {0}; /* by Horner's rule, from the highest l */
    for (int64_t i = 0; i < m; i++)
      x[i] = C[at + i];
    const double *end = dual->table + (dual->degree + 2) * (dual->degree + 2) / 4;
    for (int l = dual->degree; l >= 0; l--) {
      const int terms = (dual->degree - l) / 2 + 1;
      end -= terms;
      for (int64_t i = 0; i < m; i++) {
        real ra = (real)end[terms - 1], rb = ra;
        for (int k = terms - 2; k >= 0; k--) {
          ra = ra * A[at + i] + (real)end[k];
          rb = rb * B[at + i] + (real)end[k];
        }
        dot[i] = dot[i] * x[i] + value[i]; /* the derivative of Horner's rule */
        value[i] = value[i] * x[i] + ra * rb;
      }
    }
    for (int64_t i = 0; i < m; i++) {
      K[at + i] = value[i];
      D[at + i] = dot[i];
    }
  }
}

/* ---- the other loops ------------------------------------------------------------------------- */

static void series(int64_t n, int64_t q, const void *x, const void *coefficients, int64_t stride,
                   const void *rho, void *y) {
  const real *X = x, *W = coefficients, *R = rho;
  real *Y = y;
  enum { BLOCK = 64 };
  for (int64_t at = 0; at < n; at += BLOCK) {
    const int64_t m = n - at < BLOCK ? n - at : BLOCK;
    real sum[BLOCK] = {0};
    for (int64_t k = q - 1; k >= 0; k--) {
      const real xk = X[k], *w = W + k * stride + at, *r = R + at;
      for (int64_t i = 0; i < m; i++)
        sum[i] = sum[i] * r[i] + xk * w[i];
    }
    for (int64_t i = 0; i < m; i++)
      Y[at + i] = sum[i];
  }
}

static void dense(int64_t n, double w2, double b2, void *K, void *T) {
  real *k = K, *t = T;
  const real w = (real)w2, b = (real)b2;
  for (int64_t i = 0; i < n; i++) {
    real x = w * k[i] + b;
    k[i] = x;
    t[i] = w * t[i] + x;
  }
}

static void normalize(int64_t n, const void *a, const void *b, void *K, void *T) {
  const real *A = a, *B = b;
  real *k = K, *t = T;
  for (int64_t i = 0; i < n; i++) {
    real ab = A[i] * B[i], s = ab > 0 ? ML_R(1) / ml_sqrt(ab) : ML_R(0);
    k[i] *= s;
    t[i] *= s;
  }
}

static void multiply(int64_t n, const void *x, void *y) {
  const real *X = x;
  real *Y = y;
  for (int64_t i = 0; i < n; i++)
    Y[i] *= X[i];
}

static void add(int64_t n, const void *x, void *y) {
  const real *X = x;
  real *Y = y;
  for (int64_t i = 0; i < n; i++)
    Y[i] += X[i];
}

static void scale(int64_t n, double alpha, void *x) {
  real *X = x;
  const real s = (real)alpha;
  for (int64_t i = 0; i < n; i++)
    X[i] *= s;
}

static void fill(int64_t n, double value, void *x) {
  real *X = x;
  const real v = (real)value;
  for (int64_t i = 0; i < n; i++)
    X[i] = v;
}

static void spread(int64_t places, const void *x, int64_t skip, void *y) {
  const real *X = x;
  real *Y = y;
  for (int64_t p = 0; p < places; p++)
    for (int64_t l = 0; l < ML_LANE; l++)
      Y[p * ML_LANE + l] = X[p * skip];
}

static void dot(int64_t places, int64_t C, const void *x, const void *z, void *y) {
  const real *X = x, *Z = z;
  real *Y = y;
  const real mean = ML_R(1) / (real)C;
  for (int64_t p = 0; p < places; p++)
    for (int64_t l = 0; l < ML_LANE; l += ML_LANES) {
      ml_vec sum = ml_vsplat(0);
      for (int64_t k = 0; k < C; k++)
        sum += ml_vget(X + (p * C + k) * ML_LANE + l) * ml_vget(Z + (p * C + k) * ML_LANE + l);
      ml_vput(Y + p * ML_LANE + l, sum * mean);
    }
}

static void window(int64_t rows_out, int64_t rows_in, int64_t size, int64_t stride, int64_t base,
                   bool wrap, int64_t width, const void *x, int64_t ldx, void *y, int64_t ldy) {
  const real *X = x;
  real *Y = y;
  for (int64_t t = 0; t < rows_out; t++) {
    const int64_t at = base + t * stride;
    int64_t first = at < 0 ? -at : 0, last = rows_in - at < size ? rows_in - at : size;
    if (wrap)
      first = 0, last = size;
    for (int64_t i = 0; i < width; i += ML_LANES) {
      ml_vec sum = ml_vsplat(0);
      for (int64_t k = first; k < last; k++) {
        int64_t row = at + k;
        if (wrap)
          row = ((row % rows_in) + rows_in) % rows_in;
        sum += ml_vget(X + row * ldx + i);
      }
      ml_vput(Y + t * ldy + i, sum);
    }
  }
}

/* y[to[i]] += x[i], places of lanes */
static void scatter(int64_t n, const int64_t *to, const void *x, void *y) {
  const real *X = x;
  real *Y = y;
  for (int64_t i = 0; i < n; i++)
    for (int64_t l = 0; l < ML_LANE; l += ML_LANES) {
      real *at = Y + to[i] * ML_LANE + l;
      ml_vput(at, ml_vget(at) + ml_vget(X + i * ML_LANE + l));
    }
}

static void gather(int64_t n, int64_t skip, const void *x, void *y) {
  const real *X = x;
  real *Y = y;
  for (int64_t i = 0; i < n; i++)
    for (int64_t l = 0; l < ML_LANE; l += ML_LANES)
      ml_vput(Y + i * ML_LANE + l, ml_vget(X + i * skip * ML_LANE + l));
}

static void lane_sum(int64_t places, const void *x, void *y) {
  const real *X = x;
  real *Y = y;
  for (int64_t l = 0; l < ML_LANE; l += ML_LANES) {
    ml_vec sum = ml_vget(Y + l);
    for (int64_t p = 0; p < places; p++)
      sum += ml_vget(X + p * ML_LANE + l);
    ml_vput(Y + l, sum);
  }
}

static void mirror(int64_t rows, int64_t columns, const void *x, int64_t ldx, void *y,
                   int64_t ldy) {
  enum { SIDE = 64 };
  const real *X = x;
  real *Y = y;
  for (int64_t i = 0; i < rows; i += SIDE)
    for (int64_t j = 0; j < columns; j++) {
      const int64_t end = i + SIDE < rows ? i + SIDE : rows;
      for (int64_t k = i; k < end; k++)
        Y[j * ldy + k] = X[k * ldx + j];
    }
}

extern const ml_kernel_table ML_FN(kernel_table);
const ml_kernel_table ML_FN(kernel_table) = {
    .dual = {[ML_DUAL_IDENTITY] = identity,
             [ML_DUAL_ABRELU] = abrelu,
             [ML_DUAL_STEP] = step,
             [ML_DUAL_SIGN] = step,
             [ML_DUAL_RECTIFIED] = rectified,
             [ML_DUAL_ERF] = error_function,
             [ML_DUAL_GELU] = gelu,
             [ML_DUAL_SIN] = sine,
             [ML_DUAL_EXP] = exponential,
             [ML_DUAL_GAUSSIAN] = gaussian,
             [ML_DUAL_GABOR] = gabor,
             [ML_DUAL_NORMALIZED] = normalized,
             [ML_DUAL_POLYNOMIAL] = polynomial},
    .series = series,
    .dense = dense,
    .normalize = normalize,
    .multiply = multiply,
    .add = add,
    .scale = scale,
    .fill = fill,
    .spread = spread,
    .dot = dot,
    .window = window,
    .scatter = scatter,
    .gather = gather,
    .lane_sum = lane_sum,
    .mirror = mirror,
};
