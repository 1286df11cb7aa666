/* Probes of the residual stream: numbers read on the way, which never change a result. */
#include "internal.h"

#include <math.h>

ml_status ml_probe_rms(double *rms, const ml_tensor *x, ml_error *err) {
  ml_tensor plain = {0}, sum = {0};
  ml_tensor_detach(&plain, x);
  ml_status status = ml_tensor_reduce(&sum, ML_SUMSQ, &plain, 0, false, err);
  double total = 0;
  if (!status)
    status = ml_tensor_item(&total, &sum, err);
  *rms = sqrt(total / (double)ml_numel(x));
  ml_tensor_clear(&plain);
  ml_tensor_clear(&sum);
  return status;
}

static double number(const ml_tensor *t, int64_t i) {
  return t->dtype == ML_F32 ? (double)ML_DATA(const float, t)[i] : ML_DATA(const double, t)[i];
}

/* x [D] of row (b, t, h), over its norm; 0 stays 0. */
static void direction(double *x, const ml_tensor *t, int64_t row, int64_t D) {
  double square = 0;
  for (int64_t i = 0; i < D; i++) {
    x[i] = number(t, row * D + i);
    square += x[i] * x[i];
  }
  const double inverse = square > 0 ? 1 / sqrt(square) : 0;
  for (int64_t i = 0; i < D; i++)
    x[i] *= inverse;
}

static double inner(const double *a, const double *b, int64_t D) {
  double sum = 0;
  for (int64_t i = 0; i < D; i++)
    sum += a[i] * b[i];
  return sum;
}

/* The sum of the cosines of one head of one row, and how many pairs. Without segments a running sum
 * of the keys' directions serves all queries. */
static double head_cosines(const ml_tensor *q, const ml_tensor *k, const int64_t *segment,
                           int64_t first, double *room, int64_t *pairs) {
  const int64_t T = q->size[1], H = q->size[2], D = q->size[3];
  double *a = room, *b = a + D, *keys = b + D, sum = 0;
  for (int64_t i = 0; i < D; i++)
    keys[i] = 0;
  for (int64_t i = 0; i < T; i++) {
    direction(a, q, first + i * H, D);
    if (!segment) {
      direction(b, k, first + i * H, D);
      for (int64_t c = 0; c < D; c++)
        keys[c] += b[c];
      sum += inner(a, keys, D);
      *pairs += i + 1;
      continue;
    }
    for (int64_t j = 0; j <= i; j++) {
      if (segment[j] != segment[i])
        continue;
      direction(b, k, first + j * H, D);
      sum += inner(a, b, D);
      ++*pairs;
    }
  }
  return sum;
}

ml_status ml_probe_cosine(double *cosine, const ml_tensor *q, const ml_tensor *k,
                          const ml_tensor *segments, ml_error *err) {
  const int64_t B = q->size[0], T = q->size[1], H = q->size[2], D = q->size[3];
  ml_tensor cq = {0}, ck = {0}, cs = {0};
  ml_status status = ml_tensor_contiguous(&cq, q, err);
  if (!status)
    status = ml_tensor_contiguous(&ck, k, err);
  if (!status && segments)
    status = ml_tensor_contiguous(&cs, segments, err);
  double *room = status ? NULL : ml_alloc((size_t)(3 * D) * sizeof *room);
  if (!status && !room)
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory");
  double sum = 0;
  int64_t pairs = 0;
  for (int64_t row = 0; !status && row < B; row++)
    for (int64_t h = 0; h < H; h++)
      sum += head_cosines(&cq, &ck, segments ? ML_DATA(const int64_t, &cs) + row * T : NULL,
                          row * T * H + h, room, &pairs);
  *cosine = pairs ? sum / (double)pairs : 0;
  ml_free(room);
  ml_tensor_clear(&cq);
  ml_tensor_clear(&ck);
  ml_tensor_clear(&cs);
  return status;
}
