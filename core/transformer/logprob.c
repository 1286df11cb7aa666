/* Log probabilities of given tokens through the training forward, sequences of similar length
 * together. */
#include "internal.h"

#include <string.h>

/* Positions of one forward pass: what a batch of a training step has, so that memory stays small.
 */
enum { BATCH_POSITIONS = 8192 };

typedef struct {
  const int64_t *const *sequence;
  const int64_t *length, *from;
  int64_t *order; /* sequences by falling length */
  ml_tensor *out;
} job;

/* One batch: the sequences order[first .. first+B), padded to T positions. The rows that are scored
 * go to the head. */
static ml_status score(const job *j, ml_transformer *m, int64_t first, int64_t B, int64_t T,
                       ml_error *err) {
  ml_tensor ids = {0}, rows = {0}, targets = {0}, x = {0}, flat = {0}, picked = {0}, nll = {0};
  ml_batch_view v = {0};
  ml_status status = ML_OK;
  int64_t scored = 0, k = 0;
  for (int64_t b = 0; b < B; b++)
    scored += j->length[j->order[first + b]] - j->from[j->order[first + b]];
  for (int64_t b = 0; scored == 0 && b < B; b++) {
    ml_shape none = ml_shape_make(1, (int64_t)0);
    ML_TRY(
        ml_tensor_init_zeros(&j->out[j->order[first + b]], (ml_dtype)m->config.dtype, &none, err));
  }
  if (scored == 0)
    return ML_OK;
  ml_shape ids_shape = ml_shape_make(2, B, T), list = ml_shape_make(1, scored);
  status = ml_tensor_init_zeros(&ids, ML_INDEX, &ids_shape, err);
  if (!status)
    status = ml_tensor_init(&rows, ML_INDEX, &list, err);
  if (!status)
    status = ml_tensor_init(&targets, ML_INDEX, &list, err);
  if (status)
    goto done;
  for (int64_t b = 0; b < B; b++) {
    int64_t s = j->order[first + b], n = j->length[s];
    memcpy(ML_DATA(int64_t, &ids) + b * T, j->sequence[s], (size_t)(n - 1) * sizeof(int64_t));
    for (int64_t t = j->from[s]; t < n; t++, k++) {
      ML_DATA(int64_t, &rows)[k] = b * T + t - 1;
      ML_DATA(int64_t, &targets)[k] = j->sequence[s][t];
    }
  }
  ml_transformer_batch batch = {.inputs = &ids};
  ml_shape flat_shape = ml_shape_make(2, B * T, m->config.width);
  status = ml_batch_open(&v, m, &batch, false, err);
  if (!status)
    status = ml_transformer_trunk(&x, m, &v, NULL, NULL, err);
  if (!status)
    status = ml_view_reshape(&flat, &x, &flat_shape, err);
  if (!status)
    status = ml_tensor_index_select(&picked, &flat, &rows, 0, err);
  if (!status)
    status = ml_linear_nll(&nll, &picked, ml_transformer_head_weight(m), NULL, m->config.tied,
                           ml_transformer_logit_multiplier(m), &targets, err);
  for (int64_t b = 0, at = 0; b < B && !status; b++) {
    int64_t s = j->order[first + b], n = j->length[s] - j->from[s];
    ml_tensor part = {0};
    status = ml_view_narrow(&part, &nll, 0, at, n, err);
    if (!status)
      status = ml_tensor_unary(&j->out[s], ML_NEG, &part, err);
    ml_tensor_clear(&part);
    at += n;
  }
done:
  ml_batch_close(&v);
  ml_tensor_clear(&ids);
  ml_tensor_clear(&rows);
  ml_tensor_clear(&targets);
  ml_tensor_clear(&x);
  ml_tensor_clear(&flat);
  ml_tensor_clear(&picked);
  ml_tensor_clear(&nll);
  return status;
}

static ml_status check(const job *j, const ml_transformer *m, int64_t n, ml_error *err) {
  const ml_transformer_config *c = &m->config;
  for (int64_t s = 0; s < n; s++) {
    if (j->length[s] < 1 || j->length[s] > c->context + 1)
      return ml_fail(err, ML_EARG, 2, "sequence %lld has %lld ids, wanted 1..%lld (context + 1)",
                     (long long)(s + 1), (long long)j->length[s], (long long)(c->context + 1));
    if (j->from[s] < 1)
      return ml_fail(err, ML_EARG, 3,
                     "from is %lld, wanted >= 2: the first position has no context",
                     (long long)(j->from[s] + 1));
    if (j->from[s] > j->length[s])
      return ml_fail(err, ML_EARG, 3, "from is %lld, sequence %lld has %lld ids",
                     (long long)(j->from[s] + 1), (long long)(s + 1), (long long)j->length[s]);
    for (int64_t t = 0; t < j->length[s]; t++)
      if (j->sequence[s][t] < 0 || j->sequence[s][t] >= c->vocab)
        return ml_fail(err, ML_EARG, 2, "sequence %lld has id %lld at %lld, wanted 1..%lld",
                       (long long)(s + 1), (long long)(j->sequence[s][t] + 1), (long long)(t + 1),
                       (long long)c->vocab);
  }
  return ML_OK;
}

/* Merge sort by falling length, ties by position. */
static void sort(int64_t *order, int64_t *spare, int64_t n, const int64_t *length) {
  if (n < 2)
    return;
  int64_t half = n / 2, a = 0, b = half;
  sort(order, spare, half, length);
  sort(order + half, spare, n - half, length);
  for (int64_t i = 0; i < n; i++)
    spare[i] =
        b >= n || (a < half && length[order[a]] >= length[order[b]]) ? order[a++] : order[b++];
  memcpy(order, spare, (size_t)n * sizeof *order);
}

ml_status ml_transformer_logprob(ml_tensor *out, ml_transformer *m, const int64_t *const *sequence,
                                 const int64_t *length, const int64_t *from, int64_t n,
                                 ml_error *err) {
  job j = {sequence, length, from, NULL, out};
  ML_TRY(check(&j, m, n, err));
  if (n < 1)
    return ML_OK;
  j.order = ml_alloc(2 * (size_t)n * sizeof *j.order);
  if (!j.order)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to order %lld sequences", (long long)n);
  for (int64_t s = 0; s < n; s++)
    j.order[s] = s;
  sort(j.order, j.order + n, n, length);
  bool before = ml_grad_enable(false);
  ml_status status = ML_OK;
  for (int64_t i = 0; i < n && !status;) {
    int64_t T = length[j.order[i]] - 1, B = 1;
    while (i + B < n && (B + 1) * T <= BATCH_POSITIONS && 4 * (length[j.order[i + B]] - 1) >= 3 * T)
      B++;
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    else
      status = score(&j, m, i, B, T, err);
    i += B;
  }
  ml_grad_enable(before);
  ml_free(j.order);
  if (status) {
    err->arg = 0;
    for (int64_t s = 0; s < n; s++)
      ml_tensor_clear(&out[s]);
  }
  return status;
}
