/* Elementary functions over `real` without branches, so that loops over them vectorise: for files
 * in simd/ folders.
 *
 * Errors stay within about 2 ulp, over the whole range, denormals included; NaN gives NaN,
 * infinities their limits, and odd functions keep the sign of zero. Polynomials are minimax fits of
 * our own (Remez). f64 ml_erf calls libm. */
#ifndef MOONLAB_SIMD_MATH_H
#define MOONLAB_SIMD_MATH_H

#include "simd.h"

#include <math.h>
#include <string.h>

#define ML_R(x) ((real)(x))

#if ML_REAL_IS_F32
typedef uint32_t ml_bits;
typedef int32_t ml_sbits;
#define ML_MANTISSA 23
#define ML_BIAS 127
#define ML_ROUNDER ML_R(0x1.8p23)   /* adding and subtracting it rounds to an integer */
#define ML_LN2_HI ML_R(0x1.62e4p-1) /* few bits: an exponent times it is exact */
#define ML_LN2_LO ML_R(1.42860682030942e-6)
#define ML_EXP_MAX ML_R(89) /* e^x is infinite, and k at most MAX_EXP */
#define ML_EXP_MIN ML_R(-105)
#define ML_TINY ML_R(0x1p-126)
#else
typedef uint64_t ml_bits;
typedef int64_t ml_sbits;
#define ML_MANTISSA 52
#define ML_BIAS 1023
#define ML_ROUNDER ML_R(0x1.8p52)
#define ML_LN2_HI ML_R(0x1.62e42fefa4p-1)
#define ML_LN2_LO ML_R(-0x1.8432a1b0e2634p-43)
#define ML_EXP_MAX ML_R(710)
#define ML_EXP_MIN ML_R(-746)
#define ML_TINY ML_R(0x1p-1022)
#endif
#define ML_LOG2E ML_R(1.44269504088896340736)
#define ML_INF ML_R(__builtin_inf())
#define ML_NAN ML_R(__builtin_nan(""))
#define ML_SIGN_BIT ((ml_bits)1 << (8 * sizeof(real) - 1))

static inline ml_bits ml_to_bits(real x) {
  ml_bits u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static inline real ml_from_bits(ml_bits u) {
  real x;
  memcpy(&x, &u, sizeof x);
  return x;
}

static inline real ml_abs(real x) { return ml_from_bits(ml_to_bits(x) & ~ML_SIGN_BIT); }
static inline real ml_copysign(real x, real sign) {
  return ml_from_bits((ml_to_bits(x) & ~ML_SIGN_BIT) | (ml_to_bits(sign) & ML_SIGN_BIT));
}

/* ---- exponentials ---------------------------------------------------------------------------- */

/* p = (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2; both real, or both ml_vec */
#if ML_REAL_IS_F32
#define ML_EXP_TAIL(p, r)                                                                          \
  (p = (r)*ML_R(0.00139478125857) + ML_R(0.00836656355166), p = p * (r) + ML_R(0.0416662695551),   \
   p = p * (r) + ML_R(0.166665438548), p = p * (r) + ML_R(0.500000006237))
#else
#define ML_EXP_TAIL(p, r)                                                                          \
  (p = (r)*ML_R(2.5117064257328552766e-8) + ML_R(2.7625987340108422248e-7),                        \
   p = p * (r) + ML_R(2.7557221340922676443e-6), p = p * (r) + ML_R(0.000024801505645645796183),   \
   p = p * (r) + ML_R(0.00019841269908617205973), p = p * (r) + ML_R(0.0013888888930974498604),    \
   p = p * (r) + ML_R(0.0083333333333128763048), p = p * (r) + ML_R(0.041666666666579870728),      \
   p = p * (r) + ML_R(0.16666666666666687295), p = p * (r) + ML_R(0.50000000000000047245))
#endif
static inline real ml_exp_tail(real r) {
  real p;
  ML_EXP_TAIL(p, r);
  return p;
}
static inline real ml_expm1_core(real r) { return r + r * r * ml_exp_tail(r); }
static inline real ml_exp_core(real r) { return (ml_exp_tail(r) * r + ML_R(1)) * r + ML_R(1); }

/* Adding ML_ROUND_TO(b) rounds to an integer k and leaves k + b in the low bits, where a shift by
 * ML_MANTISSA makes 2^(k + b - BIAS) of it: the rounder's own bits leave through the top. */
#define ML_ROUND_TO(b) (ML_ROUNDER + ML_R(b))

static inline real ml_exp(real x) {
  x = x > ML_EXP_MAX ? ML_EXP_MAX : x;
  x = x < ML_EXP_MIN ? ML_EXP_MIN : x;
  real t = x * ML_LOG2E + ML_ROUND_TO(2 * ML_BIAS);
  real k = t - ML_ROUND_TO(2 * ML_BIAS);
  real p = ml_exp_core((x - k * ML_LN2_HI) - k * ML_LN2_LO);
  /* two factors, so that results below the normal range round once and large ones reach infinity */
  ml_bits n = ml_to_bits(t), half = n >> 1;
  return p * ml_from_bits(half << ML_MANTISSA) * ml_from_bits((n - half) << ML_MANTISSA);
}

/* e^x for x <= 0, as softmax and attention need it: 0 below the normal range. */
static inline real ml_exp_nonpositive(real x) {
  const real least =
      ML_R(-ML_BIAS - 0.25) * ML_R(0.6931471805599453); /* k = -BIAS: the factor is 0 */
  x = x < least ? least : x;
  real t = x * ML_LOG2E + ML_ROUND_TO(ML_BIAS);
  real k = t - ML_ROUND_TO(ML_BIAS);
  real p = ml_exp_core((x - k * ML_LN2_HI) - k * ML_LN2_LO);
  return p * ml_from_bits(ml_to_bits(t) << ML_MANTISSA);
}

static inline real ml_expm1(real x) {
  real y = x > ML_EXP_MAX ? ML_EXP_MAX : x;
  y = y < ML_R(-50) ? ML_R(-50) : y; /* -1 in every dtype */
  real t = y * ML_LOG2E + ML_ROUND_TO(ML_BIAS - 1);
  real k = t - ML_ROUND_TO(ML_BIAS - 1);
  real p = ml_expm1_core((y - k * ML_LN2_HI) - k * ML_LN2_LO);
  real half = ml_from_bits(ml_to_bits(t) << ML_MANTISSA); /* 2^(k-1): 2^k may overflow */
  real e = ML_R(2) * (half * p + (half - ML_R(0.5)));
  return x == 0 ? x : e;
}

static inline real ml_tanh(real x) {
  real y = ML_R(2) * ml_abs(x);
  y = y > ML_R(44) ? ML_R(44) : y;
  real t = y * ML_LOG2E + ML_ROUND_TO(ML_BIAS);
  real k = t - ML_ROUND_TO(ML_BIAS);
  real p = ml_expm1_core((y - k * ML_LN2_HI) - k * ML_LN2_LO);
  real scale = ml_from_bits(ml_to_bits(t) << ML_MANTISSA);
  real e = scale * p + (scale - ML_R(1));
  return ml_copysign(e / (e + ML_R(2)), x);
}

static inline real ml_sigmoid(real x) {
  real e = ml_exp(-ml_abs(x));
  return (x < 0 ? e : ML_R(1)) / (ML_R(1) + e);
}

/* ---- logarithms ------------------------------------------------------------------------------ */

/* log of 2^k (1 + f), 1 + f between sqrt(1/2) and sqrt(2) */
static inline real ml_log_core(real f, real k) {
#if ML_REAL_IS_F32
  real p = ML_R(-0.078710055037);
  p = p * f + ML_R(0.12876693216);
  p = p * f + ML_R(-0.131219389646);
  p = p * f + ML_R(0.141816680054);
  p = p * f + ML_R(-0.166253741944);
  p = p * f + ML_R(0.200022770377);
  p = p * f + ML_R(-0.250007831309);
  p = p * f + ML_R(0.333333168841);
  real z = f * f;
  real y = (z * f) * p + k * ML_LN2_LO;
  return (f + (y - ML_R(0.5) * z)) + k * ML_LN2_HI;
#else
  real s = f / (ML_R(2) + f), z = s * s, h = ML_R(0.5) * f * f;
  real p = ML_R(0.14758036214983412471);
  p = p * z + ML_R(0.15318090596760737147);
  p = p * z + ML_R(0.18183394427662965843);
  p = p * z + ML_R(0.22222202133899007315);
  p = p * z + ML_R(0.28571428703927500555);
  p = p * z + ML_R(0.39999999999611571294);
  p = p * z + ML_R(0.6666666666666698988);
  return k * ML_LN2_HI - ((h - (s * (h + z * p) + k * ML_LN2_LO)) - f);
#endif
}

/* log(1 + e) for 0 <= e <= 1 */
static inline real ml_log1p_unit(real e) {
  const real root = ML_R(0.41421356237309504880);
  real f = e > root ? ML_R(0.5) * (e - ML_R(1)) : e; /* exact */
  return ml_log_core(f, e > root ? ML_R(1) : ML_R(0));
}

/* x = 2^k m, m between sqrt(1/2) and sqrt(2); x normal and positive. */
static inline real ml_split(real x, real *k) {
  const ml_bits root = (ml_bits)(ML_REAL_IS_F32 ? 0x3f3504f3u : 0x3fe6a09e667f3bcdu);
  ml_bits u = ml_to_bits(x) - root;
  ml_bits e =
      (u + ((ml_bits)ML_BIAS << ML_MANTISSA)) >> ML_MANTISSA; /* exponent + bias, not negative */
#if ML_REAL_IS_F32
  *k = (real)((ml_sbits)e - ML_BIAS);
#else
  *k = ml_from_bits(ml_to_bits(ML_ROUNDER) + e) - (ML_ROUNDER + ML_R(ML_BIAS));
#endif
  return ml_from_bits(ml_to_bits(x) - ((e - ML_BIAS) << ML_MANTISSA));
}

static inline real ml_log(real x) {
  real lift = x < ML_TINY ? ML_R(0x1p54) : ML_R(1), k;
  real m = ml_split(x * lift, &k);
  k = x < ML_TINY ? k - ML_R(54) : k;
  real y = ml_log_core(m - ML_R(1), k);
  return x > 0 ? (x < ML_INF ? y : x) : (x == 0 ? -ML_INF : ML_NAN);
}

static inline real ml_log1p(real x) {
  real u = ML_R(1) + x, k;
  real lost = x > ML_R(1) ? ML_R(1) - (u - x) : x - (u - ML_R(1));
  real m = ml_split(u, &k);
  /* 2^-k by its bits; for large u, where it does not exist, nothing is lost */
  ml_bits scale = ml_to_bits(ML_R(1)) - (ml_to_bits(u) - ml_to_bits(m));
  lost = u < ML_R(0x1p60) ? lost * ml_from_bits(scale) : ML_R(0);
  real y = ml_log_core((m - ML_R(1)) + lost, k);
  y = u > 0 ? (u < ML_INF ? y : u) : (u == 0 ? -ML_INF : ML_NAN);
  return x == 0 ? x : y;
}

/* ---- sine and cosine ------------------------------------------------------------------------- */

/* Beyond this argument ml_sin and ml_cos lose accuracy: callers that can meet such numbers go to
 * libm there. */
#define ML_TRIG_LIMIT ML_R(1e6)

/* quarter 0: sine, 1: cosine */
static inline real ml_trig(real x, unsigned quarter) {
  const double rounder = 0x1.8p52, part1 = 0x1.921fb544p+0, part2 = 0x1.0b4611a6p-34;
  double t = (double)x * 0x1.45f306dc9c883p-1 + rounder, k = t - rounder;
  uint64_t n;
  memcpy(&n, &t, sizeof n);
  ml_bits q = (ml_bits)n + quarter;
  double w = (double)x - k * part1; /* exact */
#if ML_REAL_IS_F32
  real r = (real)(w - k * (part2 + 0x1.3198a2e037073p-69)), z = r * r;
  real s = ML_R(-0.000195195947541);
  s = s * z + ML_R(0.00833220064655);
  s = s * z + ML_R(-0.166666554549);
  s = r + r * z * s;
  real c = ML_R(2.44602294882e-5);
  c = c * z + ML_R(-0.00138875870204);
  c = c * z + ML_R(0.041666652211);
  c = ML_R(1) + z * (z * c - ML_R(0.5));
#else
  /* r + low: the argument less k pi/2 in four parts, each product exact but the last */
  real t2 = k * part2, t3 = k * 0x1.3198a2ep-69;
  real r1 = w - t2, d1 = r1 - w, low = (w - (r1 - d1)) - (t2 + d1);
  real r = r1 - t3, d2 = r - r1;
  low += (r1 - (r - d2)) - (t3 + d2);
  low -= k * 0x1.b839a252049c1p-104;
  real z = r * r;
  real s = ML_R(1.5898435362715505116e-10);
  s = s * z + ML_R(-2.5050790313703748824e-8);
  s = s * z + ML_R(2.7557313930439324484e-6);
  s = s * z + ML_R(-0.00019841269830627222951);
  s = s * z + ML_R(0.0083333333333236861401);
  s = s * z + ML_R(-0.16666666666666638875);
  s = r + (r * z * s + low * (ML_R(1) - ML_R(0.5) * z));
  real c = ML_R(-1.1368631397410970945e-11);
  c = c * z + ML_R(2.0875907109683018135e-9);
  c = c * z + ML_R(-2.755731579191469903e-7);
  c = c * z + ML_R(0.000024801587294813465344);
  c = c * z + ML_R(-0.0013888888888883304811);
  c = c * z + ML_R(0.041666666666666656719);
  real h = ML_R(0.5) * z, one = ML_R(1) - h;
  c = one + (((ML_R(1) - one) - h) + (z * z * c - r * low));
#endif
  real y = (q & 1u) ? c : s;
  return ml_from_bits(ml_to_bits(y) ^ (((q >> 1) & 1u) << (8 * sizeof(real) - 1)));
}

static inline real ml_sin(real x) { return x == 0 ? x : ml_trig(x, 0); }
static inline real ml_cos(real x) { return ml_trig(x, 1); }

/* ---- roots and angles ------------------------------------------------------------------------ */

#if ML_REAL_IS_F32
static inline real ml_sqrt(real x) { return __builtin_sqrtf(x); }
#else
static inline real ml_sqrt(real x) { return __builtin_sqrt(x); }
#endif

/* The angle in [0, pi] of the point (x, y), y >= 0; pi/2 at the origin. Small angles keep their
 * relative accuracy. */
static inline real ml_angle(real y, real x) {
  const real tan_eighth = ML_R(0.41421356237309504880), quarter = ML_R(0.78539816339744830962);
  real a = ml_abs(x), small = y < a ? y : a, large = y < a ? a : y;
  int fold = small > tan_eighth * large; /* to within pi/8 of 0 or of pi/4 */
  real top = fold ? small - large : small, bottom = fold ? small + large : large;
  real t = top / (bottom > 0 ? bottom : ML_R(1)), z = t * t;
#if ML_REAL_IS_F32
  real p = ML_R(0.080537224884);
  p = p * z + ML_R(-0.138776786553);
  p = p * z + ML_R(0.199777100157);
  p = p * z + ML_R(-0.333329491382);
#else
  real p = ML_R(0.021259853488825251083);
  p = p * z + ML_R(-0.043590961438941266817);
  p = p * z + ML_R(0.056925393533416621336);
  p = p * z + ML_R(-0.066411212709381891031);
  p = p * z + ML_R(0.076900683107401433916);
  p = p * z + ML_R(-0.090907824132517212446);
  p = p * z + ML_R(0.11111106653623427528);
  p = p * z + ML_R(-0.1428571419526225661);
  p = p * z + ML_R(0.19999999999088968047);
  p = p * z + ML_R(-0.33333333333330150812);
#endif
  real w = (fold ? quarter : ML_R(0)) + (t + t * z * p);
  w = y < a ? w : ML_R(2) * quarter - w;
  w = large > 0 ? w : ML_R(2) * quarter;
  return x < 0 ? ML_R(4) * quarter - w : w;
}

/* The same for x >= 0 and any y: in [-pi/2, pi/2], odd in y; 0 at the origin. */
static inline real ml_arctan2(real y, real x) {
  real w = ml_copysign(ml_angle(ml_abs(y), x), y);
  return y == 0 ? y : w;
}

/* ---- error function -------------------------------------------------------------------------- */

static inline real ml_erf(real x) {
#if ML_REAL_IS_F32
  real a = ml_abs(x), z = x * x;
  real s = ML_R(7.92615768909e-5);
  s = s * z + ML_R(-0.000803423475188);
  s = s * z + ML_R(0.00519135971095);
  s = s * z + ML_R(-0.0268556098984);
  s = s * z + ML_R(0.112836351897);
  s = s * z + ML_R(-0.376126313662);
  s = s * z + ML_R(0.1283791670955126);
  s = x + x * s;
  real b = a > ML_R(4) ? ML_R(4) : a; /* 1 from there on */
  real q = ML_R(-1.57350223599e-5);   /* log of erfc */
  q = q * b + ML_R(0.000358438131036);
  q = q * b + ML_R(-0.0037228920512);
  q = q * b + ML_R(0.0236974223859);
  q = q * b + ML_R(-0.105659535666);
  q = q * b + ML_R(-0.636150689222);
  q = q * b + ML_R(-1.12790200363);
  q = q * b + ML_R(-0.000210500372342);
  real big = ml_copysign(ML_R(1) - ml_exp_nonpositive(q), x);
  return a > ML_R(1) ? big : s;
#else
  return erf(x);
#endif
}

/* ---- activations and their derivatives ------------------------------------------------------- */

static inline real ml_softplus(real x) {
  return (x > 0 ? x : ML_R(0)) + ml_log1p_unit(ml_exp(-ml_abs(x)));
}

static inline real ml_silu(real x) {
  real y = x * ml_sigmoid(x);
  return x == -ML_INF ? ML_R(-0.0) : y;
}
static inline real ml_silu_grad(real x) {
  real e = ml_exp_nonpositive(-ml_abs(x)), inverse = ML_R(1) / (ML_R(1) + e);
  real s = (x < 0 ? e : ML_R(1)) * inverse;
  real g = s + x * (e * inverse * inverse); /* s (1 - s) = e / (1 + e)^2 */
  return ml_abs(x) == ML_INF ? s : g;
}

/* 0.5 x (1 + tanh(c (x + 0.044715 x^3))) = x sigmoid(2 c (x + 0.044715 x^3)) */
#define ML_GELU_2C ML_R(1.5957691216057307) /* 2 sqrt(2/pi) */
static inline real ml_gelu_tanh(real x) {
  real u = x * (ML_GELU_2C + ML_GELU_2C * ML_R(0.044715) * x * x);
  real e = ml_exp_nonpositive(-ml_abs(u));
  real y = (x < 0 ? x * e : x) / (ML_R(1) + e);
  return x == -ML_INF ? ML_R(-0.0) : y;
}
static inline real ml_gelu_tanh_grad(real x) {
  /* beyond 30 the derivative is 0 or 1 to the last bit, and its factors must not overflow */
  x = x > ML_R(30) ? ML_R(30) : x;
  x = x < ML_R(-30) ? ML_R(-30) : x;
  real z = x * x;
  real u = x * (ML_GELU_2C + ML_GELU_2C * ML_R(0.044715) * z);
  real du = x * (ML_GELU_2C + ML_GELU_2C * ML_R(3 * 0.044715) * z);
  real e = ml_exp_nonpositive(-ml_abs(u)), inverse = ML_R(1) / (ML_R(1) + e);
  real s = (x < 0 ? e : ML_R(1)) * inverse;
  return s + du * (e * inverse * inverse); /* s (1 - s) = e / (1 + e)^2 */
}

#if ML_REAL_IS_F32
#define ML_ERFC_HALF(x) (ML_R(0.5) - ML_R(0.5) * ml_erf(x))
#else
#define ML_ERFC_HALF(x) (ML_R(0.5) * erfc(x))
#endif
static inline real ml_gelu_erf(real x) {
  real y = x * ML_ERFC_HALF(x * ML_R(-0.70710678118654752440));
  return x == -ML_INF ? ML_R(-0.0) : y;
}
static inline real ml_gelu_erf_grad(real x) {
  real y = x > ML_R(50) ? ML_R(50) : x;
  y = y < ML_R(-50) ? ML_R(-50) : y;
  real density = ML_R(0.39894228040143267794) * ml_exp(ML_R(-0.5) * y * y);
  return ML_ERFC_HALF(x * ML_R(-0.70710678118654752440)) + y * density;
}

#endif
