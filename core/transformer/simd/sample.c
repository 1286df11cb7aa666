/* The last step of decoding: the largest logit, sums of exponentials, and the draw of an id. */
#include "base/simd.h"
#include "base/simd_math.h"
#include "transformer/kernels.h"

#define CHUNK 64
#define INLINE static inline __attribute__((always_inline))

double ML_FN(decode_max)(int64_t n, const void *logits, int64_t *at) {
  const real *x = logits;
  real m[16];
  for (int j = 0; j < 16; j++)
    m[j] = -ML_INF;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; j++)
      m[j] = x[i + j] > m[j] ? x[i + j] : m[j];
  for (; i < n; i++)
    m[0] = x[i] > m[0] ? x[i] : m[0];
  for (int j = 1; j < 16; j++)
    m[0] = m[j] > m[0] ? m[j] : m[0];
  if (at) {
    *at = -1;
    for (i = 0; i < n; i++)
      if (x[i] == m[0]) {
        *at = i;
        break;
      }
  }
  return (double)m[0];
}

/* Exponentials of up to 64 logits and their sum in 16 lanes. */
INLINE double chunk_sum(int64_t n, const real *restrict x, real max, real scale, real *restrict e) {
  for (int64_t i = 0; i < n; i++)
    e[i] = ml_exp_nonpositive((x[i] - max) * scale);
  double lane[16] = {0};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; j++)
      lane[j] += (double)e[i + j];
  for (; i < n; i++)
    lane[0] += (double)e[i];
  for (int w = 8; w > 0; w /= 2)
    for (int j = 0; j < w; j++)
      lane[j] += lane[j + w];
  return lane[0];
}

double ML_FN(decode_exponentials)(int64_t n, const void *logits, double max, double scale, void *e,
                                  double *sums) {
  const real *x = logits;
  real here[CHUNK];
  double whole = 0;
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t m = n - i < CHUNK ? n - i : CHUNK;
    double s = chunk_sum(m, x + i, (real)max, (real)scale, e ? (real *)e + i : here);
    if (sums)
      sums[i / CHUNK] = s;
    whole += s;
  }
  return whole;
}

int64_t ML_FN(decode_pick)(int64_t n, const void *weights, const double *sums, double total,
                           double u) {
  const real *e = weights;
  double left = u * total;
  int64_t i = 0, last = 0;
  while (i + CHUNK < n && left >= sums[i / CHUNK]) {
    left -= sums[i / CHUNK];
    i += CHUNK;
  }
  int64_t end = i + CHUNK < n ? i + CHUNK : n;
  for (; i < end; i++) {
    if (!(e[i] > 0))
      continue;
    if (left < (double)e[i])
      return i;
    left -= (double)e[i];
    last = i;
  }
  if (e[last] > 0)
    return last; /* rounding left a crumb beyond the last weight */
  for (i = n - 1; i > 0 && !(e[i] > 0);)
    i--;
  return i;
}

/* ---- top-k and top-p ------------------------------------------------------------------------- */

/* a before b: larger logit, then smaller id */
INLINE bool before(const real *x, int64_t a, int64_t b) {
  return x[a] > x[b] || (x[a] == x[b] && a < b);
}

static void sift(const real *x, int64_t *heap, int64_t n, int64_t i) {
  int64_t id = heap[i];
  for (;;) {
    int64_t child = 2 * i + 1;
    if (child >= n)
      break;
    if (child + 1 < n && before(x, heap[child + 1], heap[child]))
      child++;
    if (!before(x, heap[child], id))
      break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = id;
}

int64_t ML_FN(decode_pick_top)(int64_t n, const void *logits, double max, double scale, int64_t k,
                               double top_p, double u, int64_t *heap, double *weight) {
  const real *x = logits;
  for (int64_t i = 0; i < n; i++)
    heap[i] = i;
  for (int64_t i = n / 2 - 1; i >= 0; i--)
    sift(x, heap, n, i);
  if (k <= 0 || k > n)
    k = n;
  /* the whole weight that top_p is a share of: of the k, or of all */
  double whole = 0;
  if (k == n && top_p < 1)
    for (int64_t i = 0; i < n; i++)
      whole += (double)ml_exp_nonpositive((x[i] - (real)max) * (real)scale);
  /* popped ids collect at the end of the heap: the most likely last */
  int64_t left = n, taken = 0;
  double sum = 0;
  while (taken < k && !(k == n && top_p < 1 && taken > 0 && sum >= top_p * whole)) {
    int64_t id = heap[0];
    heap[0] = heap[--left];
    sift(x, heap, left, 0);
    heap[left] = id;
    weight[taken] = (double)ml_exp_nonpositive((x[id] - (real)max) * (real)scale);
    sum += weight[taken++];
  }
  if (k < n && top_p < 1) {
    double want = top_p * sum, held = 0;
    int64_t keep = 0;
    while (keep < taken && !(keep > 0 && held >= want))
      held += weight[keep++];
    taken = keep;
    sum = held;
  }
  double mark = u * sum;
  for (int64_t i = 0; i < taken; i++) {
    if (mark < weight[i])
      return heap[n - 1 - i];
    mark -= weight[i];
  }
  int64_t i = taken - 1;
  while (i > 0 && !(weight[i] > 0))
    i--;
  return heap[n - 1 - i];
}
