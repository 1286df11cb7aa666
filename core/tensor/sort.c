/* Stable sorting and the largest k along an axis, by keys that order as unsigned integers. */
#include "layout.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
  uint64_t key;
  int64_t at;
} entry;

/* Below this, merging beats counting digits. */
#define SMALL 512
#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)

/* Entries between two polls for cancel. What is cut short holds no order, and positions that may be
 * anything: nobody reads them, as the flag stays up. */
#define POLL_EVERY (1 << 16)

static bool cut(int64_t i) { return i % POLL_EVERY == 0 && ml_cancelled(); }

/* ---- keys ------------------------------------------------------------------------------------ */

/* NaN counts as the largest; zeros of both signs are equal. */
static uint64_t real_key(double v, bool descending) {
  if (v != v)
    return descending ? 0 : UINT64_MAX;
  uint64_t u;
  v += 0.0;
  memcpy(&u, &v, sizeof u);
  u = u >> 63 ? ~u : u | UINT64_C(1) << 63;
  return descending ? ~u : u;
}

static uint64_t f32_key(float v, bool descending) {
  if (v != v)
    return descending ? 0 : UINT32_MAX;
  uint32_t u;
  v += 0.0f;
  memcpy(&u, &v, sizeof u);
  u = u >> 31 ? ~u : u | UINT32_C(1) << 31;
  return descending ? (uint32_t)~u : u;
}

static void read_keys(entry *e, ml_dtype dtype, const void *x, int64_t stride, int64_t n,
                      bool descending) {
  for (int64_t i = 0; i < n; i++) {
    if (cut(i))
      return;
    e[i].at = i;
    switch (dtype) {
    case ML_F64:
      e[i].key = real_key(((const double *)x)[i * stride], descending);
      break;
    case ML_F32:
      e[i].key = f32_key(((const float *)x)[i * stride], descending);
      break;
    case ML_INDEX: {
      uint64_t u = (uint64_t)((const int64_t *)x)[i * stride] ^ UINT64_C(1) << 63;
      e[i].key = descending ? ~u : u;
      break;
    }
    default: {
      uint8_t u = ((const uint8_t *)x)[i * stride];
      e[i].key = descending ? (uint8_t)~u : u;
    }
    }
  }
}

/* ---- sorting --------------------------------------------------------------------------------- */

static bool before(const entry *a, const entry *b) {
  return a->key < b->key || (a->key == b->key && a->at < b->at);
}

/* Both return the array, e or spare, that holds the result. */
static entry *merge_sort(entry *e, entry *spare, int64_t n) {
  const int64_t run = 16;
  for (int64_t start = 0; start < n; start += run) {
    if (cut(start))
      return e;
    int64_t end = start + run < n ? start + run : n;
    for (int64_t i = start + 1; i < end; i++) {
      entry v = e[i];
      int64_t j = i;
      for (; j > start && before(&v, &e[j - 1]); j--)
        e[j] = e[j - 1];
      e[j] = v;
    }
  }
  for (int64_t width = run; width < n; width *= 2) {
    for (int64_t start = 0; start < n; start += 2 * width) {
      int64_t mid = start + width < n ? start + width : n;
      int64_t end = start + 2 * width < n ? start + 2 * width : n, a = start, b = mid;
      if (ml_cancelled())
        return e;
      for (int64_t i = start; i < end; i++)
        spare[i] = a < mid && (b >= end || !before(&e[b], &e[a])) ? e[a++] : e[b++];
    }
    entry *t = e;
    e = spare;
    spare = t;
  }
  return e;
}

static entry *radix_sort(entry *e, entry *spare, int64_t n, int key_bits) {
  for (int shift = 0; shift < key_bits; shift += DIGIT_BITS) {
    int64_t count[DIGITS] = {0}, total = 0;
    for (int64_t i = 0; i < n; i++)
      count[e[i].key >> shift & (DIGITS - 1)]++;
    if (count[e[0].key >> shift & (DIGITS - 1)] == n)
      continue; /* all alike */
    for (int d = 0; d < DIGITS; d++) {
      int64_t c = count[d];
      count[d] = total;
      total += c;
    }
    for (int64_t i = 0; i < n; i++) {
      if (cut(i))
        return e;
      spare[count[e[i].key >> shift & (DIGITS - 1)]++] = e[i];
    }
    entry *t = e;
    e = spare;
    spare = t;
  }
  return e;
}

static const int key_bits[ML_DTYPE_COUNT] = {64, 32, 64, 8};

static entry *sort_entries(entry *e, entry *spare, int64_t n, ml_dtype dtype) {
  return n < SMALL ? merge_sort(e, spare, n) : radix_sort(e, spare, n, key_bits[dtype]);
}

/* The first k of n in order, found through a heap whose root is the last of those kept. */
static entry *select_first(entry *e, entry *spare, int64_t n, int64_t k) {
  for (int64_t i = k / 2 - 1; i >= 0; i--) {
    if (cut(i))
      return e;
    for (int64_t at = i;;) {
      int64_t child = 2 * at + 1;
      if (child >= k)
        break;
      if (child + 1 < k && before(&e[child], &e[child + 1]))
        child++;
      if (!before(&e[at], &e[child]))
        break;
      entry t = e[at];
      e[at] = e[child];
      e[child] = t;
      at = child;
    }
  }
  for (int64_t i = k; i < n; i++) {
    if (cut(i))
      return e;
    if (!before(&e[i], &e[0]))
      continue;
    entry v = e[i];
    int64_t at = 0;
    for (;;) {
      int64_t child = 2 * at + 1;
      if (child >= k)
        break;
      if (child + 1 < k && before(&e[child], &e[child + 1]))
        child++;
      if (!before(&v, &e[child]))
        break;
      e[at] = e[child];
      at = child;
    }
    e[at] = v;
  }
  return merge_sort(e, spare, k);
}

/* ---- along an axis --------------------------------------------------------------------------- */

typedef struct {
  const ml_tensor *t;
  char *values;
  int64_t *indices;
  int64_t n, keep, inner; /* inner: elements of one step along the axis of the result */
  int axis;
  bool descending;
  entry *scratch; /* 2 n for each worker */
} sort_job;

static void lane(void *ctx, int64_t i, int worker) {
  const sort_job *job = ctx;
  const ml_tensor *t = job->t;
  int64_t at = 0, rest = i, item = (int64_t)ml_dtype_size(t->dtype);
  for (int k = t->rank - 1; k >= 0; k--) {
    if (k == job->axis)
      continue;
    at += rest % t->size[k] * t->stride[k];
    rest /= t->size[k];
  }
  const char *x = (const char *)ml_data(t) + at * item;
  int64_t stride = t->stride[job->axis];
  entry *e = job->scratch + (int64_t)worker * 2 * job->n, *spare = e + job->n;
  read_keys(e, t->dtype, x, stride, job->n, job->descending);
  e = job->keep < job->n / 8 ? select_first(e, spare, job->n, job->keep)
                             : sort_entries(e, spare, job->n, t->dtype);
  int64_t to = i / job->inner * job->keep * job->inner + i % job->inner;
  for (int64_t j = 0; j < job->keep; j++, to += job->inner) {
    if (cut(j))
      return;
    if (job->indices)
      job->indices[to] = e[j].at;
    if (job->values)
      memcpy(job->values + to * item, x + e[j].at * stride * item, (size_t)item);
  }
}

static ml_status order(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int axis,
                       int64_t keep, bool descending, ml_error *err) {
  ml_shape shape = ml_shape_of(t);
  sort_job job = {
      .t = t, .n = t->size[axis], .keep = keep, .inner = 1, .axis = axis, .descending = descending};
  shape.size[axis] = keep;
  for (int k = axis + 1; k < t->rank; k++)
    job.inner *= t->size[k];
  ml_tensor v = {0}, at = {0};
  if (values)
    ML_TRY(ml_tensor_init(&v, t->dtype, &shape, err));
  ml_status status = indices ? ml_tensor_init(&at, ML_INDEX, &shape, err) : ML_OK;
  int64_t lanes = keep > 0 ? ml_shape_numel(&shape) / keep : 0;
  if (!status && lanes > 0) {
    ml_arena *arena = ml_scratch();
    size_t mark = arena ? ml_arena_mark(arena) : 0;
    size_t workers = lanes == 1 ? 1 : (size_t)ml_threads();
    if (arena && (uint64_t)job.n < SIZE_MAX / (2 * sizeof(entry)) / workers)
      job.scratch = ml_arena_take(arena, workers * (size_t)job.n * 2 * sizeof(entry));
    if (job.scratch) {
      if (values)
        job.values = ml_data(&v);
      if (indices)
        job.indices = ml_data(&at);
      if (lanes == 1)
        lane(&job, 0, 0);
      else
        ml_parallel_for(lanes, 100.0 * (double)job.n, lane, &job);
      if (ml_cancelled())
        status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
      ml_arena_release(arena, mark);
    } else {
      status =
          ml_fail(err, ML_ENOMEM, 0, "out of memory: no scratch to sort %" PRId64 " values", job.n);
    }
  }
  if (status) {
    ml_tensor_clear(&v);
    ml_tensor_clear(&at);
    return status;
  }
  if (values)
    *values = v;
  if (indices)
    *indices = at;
  return ML_OK;
}

ml_status ml_tensor_sort(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int axis,
                         bool descending, ml_error *err) {
  ML_TRY(ml_check_axis(t, axis, "sort", 2, err));
  return order(values, indices, t, axis, t->size[axis], descending, err);
}

ml_status ml_tensor_topk(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int64_t k,
                         int axis, ml_error *err) {
  ML_TRY(ml_check_axis(t, axis, "topk", 3, err));
  if (k < 0 || k > t->size[axis]) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_EARG, 2, "topk: k is %" PRId64 ", wanted 0 to %" PRId64 " for %s", k,
                   t->size[axis], ml_describe(text, t));
  }
  return order(values, indices, t, axis, k, true, err);
}
