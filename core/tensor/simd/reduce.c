/* Reductions over rows and down columns, in fixed lanes: every variant adds in the same order. */
#include "base/simd_math.h"
#include "tensor/kernels.h"

#define LANES 64
/* f32 lanes add this many numbers before they go to f64 */
#define RUN 16

/* ---- rows ------------------------------------------------------------------------------------ */

static double sum_row(const real *x, int64_t n) {
  double total = 0;
  int64_t i = 0;
  while (i + LANES <= n) {
    real lane[LANES] = {0};
    int64_t end = i + LANES * RUN <= n ? i + LANES * RUN : n - (n - i) % LANES;
    for (; i < end; i += LANES)
      for (int l = 0; l < LANES; l++)
        lane[l] += x[i + l];
    for (int half = LANES / 2; half >= 8; half /= 2)
      for (int l = 0; l < half; l++)
        lane[l] += lane[l + half];
    double part = 0;
    for (int l = 0; l < 8; l++)
      part += (double)lane[l];
    total += part;
  }
  double rest = 0;
  for (; i < n; i++)
    rest += (double)x[i];
  return total + rest;
}

#define WIDE_LANES 32
static double sumsq_row(const real *x, int64_t n, double center) {
  double lane[WIDE_LANES] = {0}, total = 0;
  int64_t i = 0;
  for (; i + WIDE_LANES <= n; i += WIDE_LANES) {
    for (int l = 0; l < WIDE_LANES; l++) {
      double d = (double)x[i + l] - center;
      lane[l] += d * d;
    }
  }
  for (int half = WIDE_LANES / 2; half >= 1; half /= 2)
    for (int l = 0; l < half; l++)
      lane[l] += lane[l + half];
  for (; i < n; i++) {
    double d = (double)x[i] - center;
    total += d * d;
  }
  return lane[0] + total;
}

static double prod_row(const real *x, int64_t n) {
  double lane[WIDE_LANES], total = 1;
  for (int l = 0; l < WIDE_LANES; l++)
    lane[l] = 1;
  int64_t i = 0;
  for (; i + WIDE_LANES <= n; i += WIDE_LANES)
    for (int l = 0; l < WIDE_LANES; l++)
      lane[l] *= (double)x[i + l];
  for (int l = 0; l < WIDE_LANES; l++)
    total *= lane[l];
  for (; i < n; i++)
    total *= (double)x[i];
  return total;
}

#define LINE ((int64_t)(64 / sizeof(real)))

static inline void fetch(const real *x) {
  for (int64_t i = 0; i < LANES; i += LINE)
    __builtin_prefetch(x + i);
}

/* A NaN, once in a lane, stays: x > NaN is false. */
#define LARGER(x, m) (((x) > (m)) | ((x) != (x)) ? (x) : (m))
#define SMALLER(x, m) (((x) < (m)) | ((x) != (x)) ? (x) : (m))

#define EXTREME_ROW(name, PICK)                                                                    \
  static real name(const real *x, int64_t n) {                                                     \
    real best = x[0];                                                                              \
    int64_t i = 0;                                                                                 \
    if (n >= LANES) {                                                                              \
      real lane[LANES];                                                                            \
      for (int l = 0; l < LANES; l++)                                                              \
        lane[l] = x[l];                                                                            \
      for (i = LANES; i + LANES <= n; i += LANES)                                                  \
        for (int l = 0; l < LANES; l++)                                                            \
          lane[l] = PICK(x[i + l], lane[l]);                                                       \
      for (int half = LANES / 2; half >= 1; half /= 2)                                             \
        for (int l = 0; l < half; l++)                                                             \
          lane[l] = PICK(lane[l + half], lane[l]);                                                 \
      best = lane[0];                                                                              \
    }                                                                                              \
    for (; i < n; i++)                                                                             \
      best = PICK(x[i], best);                                                                     \
    return best;                                                                                   \
  }
/* Without care for NaN in the middle: where the sum of exponentials tells. */
#define PLAINLY_LARGER(x, m) ((x) > (m) ? (x) : (m))
EXTREME_ROW(max_row, LARGER)
EXTREME_ROW(plain_max_row, PLAINLY_LARGER)
EXTREME_ROW(min_row, SMALLER)

/* Sum of exp(x - m), and into y when it is given. far: the row after this one comes from memory,
 * and there is time to ask for it now. */
static inline __attribute__((always_inline)) double
exp_row_as(real *y, const real *x, real m, int64_t n, const bool store, const bool far) {
  double total = 0;
  int64_t i = 0;
  while (i + LANES <= n) {
    real lane[LANES] = {0};
    int64_t end = i + LANES * RUN <= n ? i + LANES * RUN : n - (n - i) % LANES;
    for (; i < end; i += LANES) {
      if (far)
        fetch(x + n + i);
      _Pragma("GCC ivdep") for (int l = 0; l < LANES; l++) {
        real e = ml_exp_nonpositive(x[i + l] - m);
        if (store)
          y[i + l] = e;
        lane[l] += e;
      }
    }
    for (int half = LANES / 2; half >= 8; half /= 2)
      for (int l = 0; l < half; l++)
        lane[l] += lane[l + half];
    double part = 0;
    for (int l = 0; l < 8; l++)
      part += (double)lane[l];
    total += part;
  }
  real rest[LANES];
  int64_t left = n - i;
  for (int64_t l = 0; l < left; l++)
    rest[l] = ml_exp_nonpositive(x[i + l] - m);
  double part = 0;
  for (int64_t l = 0; l < left; l++) {
    if (store)
      y[i + l] = rest[l];
    part += (double)rest[l];
  }
  return total + part;
}
static double exp_row(real *y, const real *x, real m, int64_t n) {
  return exp_row_as(y, x, m, n, true, false);
}
static double exp_row_far(real *y, const real *x, real m, int64_t n) {
  return exp_row_as(y, x, m, n, true, true);
}
static double exp_sum_row(const real *x, real m, int64_t n) {
  return exp_row_as(NULL, x, m, n, false, false);
}

void ML_FN(tensor_k_reduce_rows)(ml_reduce_op op, double *state, const void *vx, int64_t row_stride,
                                 int64_t rows, int64_t n, const double *center) {
  const real *x = vx;
  for (int64_t r = 0; r < rows; r++, x += row_stride, state += 2) {
    switch ((int)op) {
    case ML_SUM:
      state[0] = sum_row(x, n);
      break;
    case ML_SUMSQ:
      state[0] = sumsq_row(x, n, center ? center[r] : 0);
      break;
    case ML_PROD:
      state[0] = prod_row(x, n);
      break;
    case ML_MAX:
      state[0] = (double)max_row(x, n);
      break;
    case ML_MIN:
      state[0] = (double)min_row(x, n);
      break;
    default: { /* ML_LOGSUMEXP; with an infinite maximum the sum says nothing and is 1 */
      real m = max_row(x, n);
      state[0] = (double)m;
      state[1] = ml_abs(m) < ML_INF ? exp_sum_row(x, m, n) : 1;
    }
    }
  }
}

/* ---- columns --------------------------------------------------------------------------------- */

static void sum_columns(double *total, const real *x, int64_t stride, int64_t rows, int64_t n) {
  real lane[ML_COLUMN_TILE];
  for (int64_t c = 0; c < n; c++)
    total[c] = 0;
  for (int64_t r = 0; r < rows;) {
    int64_t end = r + 4 * RUN < rows ? r + 4 * RUN : rows;
    for (int64_t c = 0; c < n; c++)
      lane[c] = 0;
    for (; r + 4 <= end; r += 4) {
      const real *a = x + r * stride, *b = a + stride, *d = b + stride, *e = d + stride;
      for (int64_t c = 0; c < n; c++)
        lane[c] += (a[c] + b[c]) + (d[c] + e[c]);
    }
    for (; r < end; r++) {
      const real *a = x + r * stride;
      for (int64_t c = 0; c < n; c++)
        lane[c] += a[c];
    }
    for (int64_t c = 0; c < n; c++)
      total[c] += (double)lane[c];
  }
}

void ML_FN(tensor_k_reduce_columns)(ml_reduce_op op, double *state, const void *vx, int64_t stride,
                                    int64_t rows, int64_t n, const double *center) {
  const real *x = vx;
  double total[ML_COLUMN_TILE];
  real best[ML_COLUMN_TILE];
  switch ((int)op) {
  case ML_SUM:
    sum_columns(total, x, stride, rows, n);
    break;
  case ML_SUMSQ:
    for (int64_t c = 0; c < n; c++)
      total[c] = 0;
    for (int64_t r = 0; r < rows; r++, x += stride) {
      for (int64_t c = 0; c < n; c++) {
        double d = (double)x[c] - (center ? center[c] : 0);
        total[c] += d * d;
      }
    }
    break;
  case ML_PROD:
    for (int64_t c = 0; c < n; c++)
      total[c] = 1;
    for (int64_t r = 0; r < rows; r++, x += stride)
      for (int64_t c = 0; c < n; c++)
        total[c] *= (double)x[c];
    break;
  case ML_MIN:
    for (int64_t c = 0; c < n; c++)
      best[c] = x[c];
    for (int64_t r = 1; r < rows; r++)
      for (int64_t c = 0; c < n; c++)
        best[c] = SMALLER(x[r * stride + c], best[c]);
    break;
  default: /* ML_MAX, ML_LOGSUMEXP */
    for (int64_t c = 0; c < n; c++)
      best[c] = x[c];
    for (int64_t r = 1; r < rows; r++)
      for (int64_t c = 0; c < n; c++)
        best[c] = LARGER(x[r * stride + c], best[c]);
  }
  if (op == ML_LOGSUMEXP) {
    for (int64_t c = 0; c < n; c++)
      total[c] = 0;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < n; c++)
        total[c] += (double)ml_exp_nonpositive(x[r * stride + c] - best[c]);
    for (int64_t c = 0; c < n; c++)
      state[2 * c + 1] = ml_abs(best[c]) < ML_INF ? total[c] : 1;
  }
  bool extreme = op == ML_MAX || op == ML_MIN || op == ML_LOGSUMEXP;
  for (int64_t c = 0; c < n; c++)
    state[2 * c] = extreme ? (double)best[c] : total[c];
}

/* ---- positions of extremes, running sums ----------------------------------------------------- */

void ML_FN(tensor_k_arg_rows)(bool max, int64_t *out, const void *vx, int64_t row_stride,
                              int64_t rows, int64_t n) {
  const real *x = vx;
  for (int64_t r = 0; r < rows; r++, x += row_stride) {
    real best = max ? max_row(x, n) : min_row(x, n);
    int64_t at = 0;
    if (best != best)
      while (x[at] == x[at])
        at++;
    else
      while (x[at] != best)
        at++;
    out[r] = at;
  }
}

void ML_FN(tensor_k_arg_columns)(bool max, int64_t *out, const void *vx, int64_t stride,
                                 int64_t rows, int64_t n) {
  const real *x = vx;
  real best[ML_COLUMN_TILE];
  for (int64_t c = 0; c < n; c++) {
    best[c] = x[c];
    out[c] = 0;
  }
  for (int64_t r = 1; r < rows; r++) {
    const real *row = x + r * stride;
    for (int64_t c = 0; c < n; c++) {
      real v = row[c], b = best[c];
      bool better = (max ? v > b : v < b) || (v != v && b == b);
      best[c] = better ? v : b;
      out[c] = better ? r : out[c];
    }
  }
}

/* Leaves off when cancelled: an axis may be long. */
void ML_FN(tensor_k_cumsum)(void *vout, const void *vx, int64_t rows, int64_t n, int64_t columns) {
  enum { STRETCH = 1 << 16 }; /* elements between two polls */
  real *out = vout;
  const real *x = vx;
  if (columns == 1) {
    for (int64_t r = 0; r < rows; r++, x += n, out += n) {
      double total = 0;
      for (int64_t i = 0, end; i < n; i = end) {
        if (i > 0 && ml_cancelled())
          return;
        end = n - i < STRETCH ? n : i + STRETCH;
        for (int64_t k = i; k < end; k++)
          out[k] = (real)(total += (double)x[k]);
      }
    }
    return;
  }
  for (int64_t r = 0; r < rows; r++, x += n * columns, out += n * columns) {
    for (int64_t c0 = 0; c0 < columns; c0 += ML_COLUMN_TILE) {
      double total[ML_COLUMN_TILE] = {0};
      int64_t m = columns - c0 < ML_COLUMN_TILE ? columns - c0 : ML_COLUMN_TILE;
      for (int64_t i = 0; i < n; i++) {
        if (i % (STRETCH / ML_COLUMN_TILE) == STRETCH / ML_COLUMN_TILE - 1 && ml_cancelled())
          return;
        for (int64_t c = 0; c < m; c++)
          out[i * columns + c0 + c] = (real)(total[c] += (double)x[i * columns + c0 + c]);
      }
    }
  }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* A row that is to be written past the caches is made here first. */
#define STREAM_ROW ((int64_t)(32768 / sizeof(real)))

static bool streams(const real *y, int64_t n, bool stream) {
  return stream && n <= STREAM_ROW && n % ML_LANES == 0 && (uintptr_t)y % ML_VECTOR_BYTES == 0;
}

static inline __attribute__((always_inline)) void put_row(real *y, const real *e, real factor,
                                                          int64_t n, const bool stream) {
  if (stream)
    for (int64_t i = 0; i < n; i += ML_LANES)
      ml_vstream(y + i, *(const ml_vecu *)(e + i) * factor);
  else
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = e[i] * factor;
}

void ML_FN(tensor_k_softmax_rows)(void *vy, const void *vx, int64_t rows, int64_t n, bool log,
                                  bool stream) {
  _Alignas(64) real scratch[STREAM_ROW + 4096 / sizeof(real)];
  real *y = vy;
  const real *x = vx;
  /* half a page away from x in the low bits: loads wait for stores at the same place of a page */
  real *row = scratch + (((uintptr_t)x + 2048 - (uintptr_t)scratch) & 4032) / sizeof(real);
  stream = streams(y, n, stream);
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    real m = plain_max_row(x, n);
    if (log) {
      real total = ml_log((real)exp_sum_row(x, m, n));
      if (stream) {
        for (int64_t i = 0; i < n; i += ML_LANES)
          ml_vstream(y + i, (*(const ml_vecu *)(x + i) - m) - total);
      } else {
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) - total;
      }
    } else {
      real *e = stream ? row : y,
           inverse = (real)(1 / (stream ? exp_row_far : exp_row)(e, x, m, n));
      put_row(y, e, inverse, n, stream);
    }
  }
  if (stream)
    ml_vstream_end();
}

static double dot_row(const real *a, const real *b, int64_t n, bool far) {
  real lane[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    if (far) {
      fetch(a + i + 1024 / sizeof(real));
      fetch(b + i + 1024 / sizeof(real));
    }
    for (int l = 0; l < LANES; l++)
      lane[l] += a[i + l] * b[i + l];
  }
  for (int half = LANES / 2; half >= 8; half /= 2)
    for (int l = 0; l < half; l++)
      lane[l] += lane[l + half];
  double total = 0;
  for (int l = 0; l < 8; l++)
    total += (double)lane[l];
  for (; i < n; i++)
    total += (double)a[i] * (double)b[i];
  return total;
}

/* dx = y (dy - s) */
static inline __attribute__((always_inline)) void grad_row(real *dx, const real *y, const real *dy,
                                                           real s, int64_t n, const bool stream) {
  if (stream)
    for (int64_t i = 0; i < n; i += ML_LANES)
      ml_vstream(dx + i, *(const ml_vecu *)(y + i) * (*(const ml_vecu *)(dy + i) - s));
  else
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] = y[i] * (dy[i] - s);
}

void ML_FN(tensor_k_softmax_grad_rows)(void *vdx, const void *vy, const void *vdy, int64_t rows,
                                       int64_t n, bool log, bool stream) {
  real *dx = vdx;
  const real *y = vy, *dy = vdy;
  stream = !log && streams(dx, n, stream);
  for (int64_t r = 0; r < rows; r++, dx += n, y += n, dy += n) {
    real s = (real)(log ? sum_row(dy, n) : dot_row(y, dy, n, stream));
    if (log) {
      _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] = dy[i] - ml_exp(y[i]) * s;
    } else {
      grad_row(dx, y, dy, s, n, stream);
    }
  }
  if (stream)
    ml_vstream_end();
}

void ML_FN(tensor_k_softmax_columns)(void *vy, const void *vx, int64_t stride, int64_t n,
                                     int64_t columns, bool log) {
  real *y = vy;
  const real *x = vx;
  real m[ML_COLUMN_TILE], s[ML_COLUMN_TILE];
  for (int64_t c = 0; c < columns; c++) {
    m[c] = x[c];
    s[c] = 0;
  }
  for (int64_t i = 1; i < n; i++)
    for (int64_t c = 0; c < columns; c++)
      m[c] = LARGER(x[i * stride + c], m[c]);
  for (int64_t i = 0; i < n; i++) {
    const real *from = x + i * stride;
    real *to = y + i * stride;
    _Pragma("GCC ivdep") for (int64_t c = 0; c < columns; c++) {
      real d = from[c] - m[c], e = ml_exp_nonpositive(d);
      to[c] = log ? d : e;
      s[c] += e;
    }
  }
  _Pragma("GCC ivdep") for (int64_t c = 0; c < columns; c++) {
    real l = ml_log(s[c]), inverse = ML_R(1) / s[c];
    s[c] = log ? l : inverse;
  }
  for (int64_t i = 0; i < n; i++) {
    real *to = y + i * stride;
    _Pragma("GCC ivdep") for (int64_t c = 0; c < columns; c++) to[c] =
        log ? to[c] - s[c] : to[c] * s[c];
  }
}

void ML_FN(tensor_k_softmax_grad_columns)(void *vdx, const void *vy, const void *vdy,
                                          int64_t stride, int64_t n, int64_t columns, bool log) {
  real *dx = vdx;
  const real *y = vy, *dy = vdy;
  real s[ML_COLUMN_TILE] = {0};
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < columns; c++)
      s[c] += log ? dy[i * stride + c] : dy[i * stride + c] * y[i * stride + c];
  for (int64_t i = 0; i < n; i++) {
    const real *p = y + i * stride, *g = dy + i * stride;
    real *to = dx + i * stride;
    if (log) {
      _Pragma("GCC ivdep") for (int64_t c = 0; c < columns; c++) to[c] = g[c] - ml_exp(p[c]) * s[c];
    } else {
      _Pragma("GCC ivdep") for (int64_t c = 0; c < columns; c++) to[c] = p[c] * (g[c] - s[c]);
    }
  }
}
