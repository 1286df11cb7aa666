/* Activations: value and derivative together, so that a pass that needs both computes what they
 * share once. */
#include "base/simd_vector.h"
#include "nn/kernels.h"

#define L ML_LANES

#define INLINE static inline __attribute__((always_inline))

/* Each: *f = act(x), *d = act'(x); the compiler drops the half that a loop does not use. */
INLINE void value_identity(real x, real *f, real *d) {
  *f = x;
  *d = 1;
}

INLINE void value_relu(real x, real *f, real *d) {
  *f = x < 0 ? 0 : x;
  *d = x <= 0 ? ML_R(0) : ML_R(1);
}

INLINE void value_relu2(real x, real *f, real *d) {
  real r = x < 0 ? 0 : x;
  *f = r * r;
  *d = 2 * r;
}

INLINE void value_gelu_erf(real x, real *f, real *d) {
  real low = x < ML_R(-50) ? ML_R(-50) : x;
  real b = low > ML_R(50) ? ML_R(50) : low;
  real cdf = ML_ERFC_HALF(low * ML_R(-0.70710678118654752440));
  *f = low * cdf;
  *d = cdf + b * (ML_R(0.39894228040143267794) * ml_exp(ML_R(-0.5) * b * b));
}

INLINE void value_softplus(real x, real *f, real *d) {
  real e = ml_exp(-ml_abs(x));
  *f = (x < 0 ? 0 : x) + ml_log1p(e);
  *d = (x < 0 ? e : ML_R(1)) / (ML_R(1) + e);
}

INLINE void value_tanh(real x, real *f, real *d) {
  real t = ml_tanh(x), e = ml_exp(ML_R(-2) * ml_abs(x)), u = ML_R(1) + e;
  *f = t;
  *d = ML_R(4) * e / (u * u);
}

INLINE void value_sigmoid(real x, real *f, real *d) {
  real e = ml_exp(-ml_abs(x)), inverse = ML_R(1) / (ML_R(1) + e);
  *f = (x < 0 ? e : ML_R(1)) * inverse;
  *d = e * inverse * inverse;
}

INLINE void value_sin(real x, real *f, real *d) {
  *f = ml_sin(x);
  *d = ml_cos(x);
}

/* Any argument; ml_sin and ml_cos hold up to ML_TRIG_LIMIT. */
INLINE void value_sin_far(real x, real *f, real *d) {
#if ML_REAL_IS_F32
  *f = (real)sin((double)x);
  *d = (real)cos((double)x);
#else
  *f = sin(x);
  *d = cos(x);
#endif
}

INLINE void value_erf(real x, real *f, real *d) {
  *f = ml_erf(x);
  *d = ML_R(1.1283791670955126) * ml_exp(-x * x);
}

INLINE bool all_near(int64_t n, const real *x) {
  int far = 0;
  for (int64_t i = 0; i < n; i++)
    far |= !(ml_abs(x[i]) <= ML_TRIG_LIMIT);
  return !far;
}

/* One set of loops per activation. */
#define LOOPS(name)                                                                                \
  static void forward_##name(int64_t n, const real *x, real *y) {                                  \
    for (int64_t i = 0; i < n; i++) {                                                              \
      real f, d;                                                                                   \
      value_##name(x[i], &f, &d);                                                                  \
      y[i] = f;                                                                                    \
    }                                                                                              \
  }                                                                                                \
  static void grad_##name(int64_t n, const real *x, const real *dy, real *dx) {                    \
    for (int64_t i = 0; i < n; i++) {                                                              \
      real f, d;                                                                                   \
      value_##name(x[i], &f, &d);                                                                  \
      dx[i] = dy[i] * d;                                                                           \
    }                                                                                              \
  }                                                                                                \
  static void grad_add_##name(int64_t n, const real *x, const real *dy, real *dx) {                \
    for (int64_t i = 0; i < n; i++) {                                                              \
      real f, d;                                                                                   \
      value_##name(x[i], &f, &d);                                                                  \
      dx[i] += dy[i] * d;                                                                          \
    }                                                                                              \
  }                                                                                                \
  static void both_##name(int64_t n, const real *restrict x, real *restrict a, real *restrict g) { \
    for (int64_t i = 0; i < n; i++) {                                                              \
      real f, d;                                                                                   \
      value_##name(x[i], &f, &d);                                                                  \
      a[i] = f;                                                                                    \
      g[i] *= d;                                                                                   \
    }                                                                                              \
  }                                                                                                \
  static void biased_##name(int64_t n, real *x, const real *restrict b, real *y) {                 \
    for (int64_t i = 0; i < n; i++) {                                                              \
      real f, d, v = x[i] + b[i];                                                                  \
      value_##name(v, &f, &d);                                                                     \
      x[i] = v;                                                                                    \
      y[i] = f;                                                                                    \
    }                                                                                              \
  }                                                                                                \
  static void biased_over_##name(int64_t n, real *x, const real *restrict b, real *y) {            \
    (void)y;                                                                                       \
    for (int64_t i = 0; i < n; i++) {                                                              \
      real f, d;                                                                                   \
      value_##name(x[i] + b[i], &f, &d);                                                           \
      x[i] = f;                                                                                    \
    }                                                                                              \
  }

/* The two activations that networks spend their time in, a vector at a time. */

/* x sigmoid(v) from b, which is x within +-limit, and e = exp(-v); low is x from -limit up. */
INLINE void gated(ml_vec low, ml_vec e, ml_vec dv, ml_vec *f, ml_vec *d) {
  ml_vec s = ML_R(1) / (ML_R(1) + e);
  *f = low * s;
  *d = s + dv * (e * s) * s; /* 1 - s = e s */
}

/* v = 2 c (x + 0.044715 x^3), c = sqrt(2/pi). Beyond the limit exp(v) would leave the normal range,
 * and the value is 0 or x, the derivative 0 or 1, to 1e-36 (f32). */
INLINE void vector_gelu_tanh(ml_vec x, ml_vec *f, ml_vec *d) {
  const real limit = ML_REAL_IS_F32 ? ML_R(10) : ML_R(21);
  ml_vec low = ml_vmax(x, -limit), b = ml_vmin(low, limit), z = b * b;
  ml_vec v = b * (ML_GELU_2C + ML_GELU_2C * ML_R(0.044715) * z);
  ml_vec dv = b * (ML_GELU_2C + ML_GELU_2C * ML_R(3 * 0.044715) * z);
  gated(low, ml_vexp(-v), dv, f, d);
}

INLINE void vector_silu(ml_vec x, ml_vec *f, ml_vec *d) {
  const real limit = ML_REAL_IS_F32 ? ML_R(87) : ML_R(700);
  ml_vec low = ml_vmax(x, -limit), b = ml_vmin(low, limit);
  gated(low, ml_vexp(-b), b, f, d);
}

/* Whole vectors, then the rest through a buffer, so that a value does not depend on its place. */
#define VECTOR_LOOP(STEP, name)                                                                    \
  int64_t i = 0;                                                                                   \
  for (; i + L <= n; i += L)                                                                       \
    STEP(name, L);                                                                                 \
  if (i < n)                                                                                       \
  STEP(name, n - i)

#define STEP_FORWARD(name, m)                                                                      \
  do {                                                                                             \
    ml_vec f, d;                                                                                   \
    vector_##name(ml_vload(x + i, m), &f, &d);                                                     \
    ml_vstore(y + i, f, m);                                                                        \
  } while (0)
#define STEP_GRAD(name, m)                                                                         \
  do {                                                                                             \
    ml_vec f, d;                                                                                   \
    vector_##name(ml_vload(x + i, m), &f, &d);                                                     \
    ml_vstore(dx + i, ml_vload(dy + i, m) * d, m);                                                 \
  } while (0)
#define STEP_GRAD_ADD(name, m)                                                                     \
  do {                                                                                             \
    ml_vec f, d;                                                                                   \
    vector_##name(ml_vload(x + i, m), &f, &d);                                                     \
    ml_vstore(dx + i, ml_vload(dx + i, m) + ml_vload(dy + i, m) * d, m);                           \
  } while (0)
#define STEP_BOTH(name, m)                                                                         \
  do {                                                                                             \
    ml_vec f, d;                                                                                   \
    vector_##name(ml_vload(x + i, m), &f, &d);                                                     \
    ml_vstore(a + i, f, m);                                                                        \
    ml_vstore(g + i, ml_vload(g + i, m) * d, m);                                                   \
  } while (0)
#define STEP_BIASED(name, m)                                                                       \
  do {                                                                                             \
    ml_vec f, d, v = ml_vload(x + i, m) + ml_vload(b + i, m);                                      \
    vector_##name(v, &f, &d);                                                                      \
    ml_vstore(x + i, v, m);                                                                        \
    ml_vstore(y + i, f, m);                                                                        \
  } while (0)
#define STEP_BIASED_OVER(name, m)                                                                  \
  do {                                                                                             \
    ml_vec f, d;                                                                                   \
    vector_##name(ml_vload(x + i, m) + ml_vload(b + i, m), &f, &d);                                \
    ml_vstore(x + i, f, m);                                                                        \
  } while (0)

#define VECTOR_LOOPS(name)                                                                         \
  static void forward_##name(int64_t n, const real *x, real *y) {                                  \
    VECTOR_LOOP(STEP_FORWARD, name);                                                               \
  }                                                                                                \
  static void grad_##name(int64_t n, const real *x, const real *dy, real *dx) {                    \
    VECTOR_LOOP(STEP_GRAD, name);                                                                  \
  }                                                                                                \
  static void grad_add_##name(int64_t n, const real *x, const real *dy, real *dx) {                \
    VECTOR_LOOP(STEP_GRAD_ADD, name);                                                              \
  }                                                                                                \
  static void both_##name(int64_t n, const real *x, real *a, real *g) {                            \
    VECTOR_LOOP(STEP_BOTH, name);                                                                  \
  }                                                                                                \
  static void biased_##name(int64_t n, real *x, const real *b, real *y) {                          \
    VECTOR_LOOP(STEP_BIASED, name);                                                                \
  }                                                                                                \
  static void biased_over_##name(int64_t n, real *x, const real *b, real *y) {                     \
    (void)y;                                                                                       \
    VECTOR_LOOP(STEP_BIASED_OVER, name);                                                           \
  }

VECTOR_LOOPS(gelu_tanh)
VECTOR_LOOPS(silu)

LOOPS(identity)
LOOPS(gelu_erf)
LOOPS(relu)
LOOPS(relu2)
LOOPS(softplus)
LOOPS(tanh)
LOOPS(sigmoid)
LOOPS(sin)
LOOPS(sin_far)
LOOPS(erf)

typedef struct {
  void (*forward)(int64_t n, const real *x, real *y);
  void (*grad)(int64_t n, const real *x, const real *dy, real *dx);
  void (*grad_add)(int64_t n, const real *x, const real *dy, real *dx);
  void (*both)(int64_t n, const real *x, real *a, real *g);
  void (*biased)(int64_t n, real *x, const real *b, real *y);
  void (*biased_over)(int64_t n, real *x, const real *b, real *y);
} loops;

#define ROW(name)                                                                                  \
  { forward_##name, grad_##name, grad_add_##name, both_##name, biased_##name, biased_over_##name }
static const loops table[ML_ACT_COUNT] = {
    [ML_ACT_IDENTITY] = ROW(identity), [ML_ACT_GELU_TANH] = ROW(gelu_tanh),
    [ML_ACT_GELU_ERF] = ROW(gelu_erf), [ML_ACT_RELU] = ROW(relu),
    [ML_ACT_RELU2] = ROW(relu2),       [ML_ACT_SILU] = ROW(silu),
    [ML_ACT_SOFTPLUS] = ROW(softplus), [ML_ACT_TANH] = ROW(tanh),
    [ML_ACT_SIGMOID] = ROW(sigmoid),   [ML_ACT_SIN] = ROW(sin),
    [ML_ACT_ERF] = ROW(erf),
};
static const loops far_sin = ROW(sin_far);

static const loops *loops_for(ml_act act, int64_t n, const real *x) {
  if (act == ML_ACT_SIN && !all_near(n, x))
    return &far_sin;
  return &table[act];
}

static void forward(ml_act act, int64_t n, const void *x, void *y) {
  loops_for(act, n, x)->forward(n, x, y);
}

static void grad(ml_act act, int64_t n, const void *x, const void *dy, void *dx, bool add) {
  const loops *l = loops_for(act, n, x);
  (add ? l->grad_add : l->grad)(n, x, dy, dx);
}

static void both(ml_act act, int64_t rows, int64_t n, const void *x_, int64_t ldx, void *a_,
                 int64_t lda, void *d_, int64_t ldd) {
  const real *x = x_;
  real *a = a_, *d = d_;
  if (ldx == n && lda == n && ldd == n) {
    n *= rows;
    rows = 1;
  }
  for (int64_t i = 0; i < rows; i++)
    loops_for(act, n, x + i * ldx)->both(n, x + i * ldx, a + i * lda, d + i * ldd);
}

static void bias_forward(ml_act act, int64_t rows, int64_t n, void *x_, int64_t ldx, const void *b,
                         void *y_, int64_t ldy) {
  real *x = x_, *y = y_;
  if (!b && ldx == n && ldy == n) {
    n *= rows;
    rows = 1;
  }
  for (int64_t i = 0; i < rows; i++, x += ldx, y += ldy) {
    if (!b) {
      loops_for(act, n, x)->forward(n, x, y);
      continue;
    }
    if (act == ML_ACT_SIN) { /* which loop depends on the biased values */
      table[ML_ACT_IDENTITY].biased_over(n, x, b, x);
      loops_for(act, n, x)->forward(n, x, y);
    } else if (x == y)
      table[act].biased_over(n, x, b, x);
    else
      table[act].biased(n, x, b, y);
  }
}

const ml_nn_act_kernels ML_FN(nn_act) = {forward, grad, both, bias_forward};
