/* Copies: contiguous, clone, cast, fill, single elements. */
#include "kernels.h"
#include "loop.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- same dtype ------------------------------------------------------------------------------ */

static void copy1(void *ctx, char *const *p, const int64_t *stride, int64_t n) {
  (void)ctx;
  if (stride[0] == 1 && stride[1] == 1) {
    memcpy(p[0], p[1], (size_t)n);
  } else if (stride[0] == 1 && stride[1] == 0) {
    memset(p[0], *p[1], (size_t)n);
  } else {
    for (int64_t i = 0; i < n; i++)
      p[0][i * stride[0]] = p[1][i * stride[1]];
  }
}

static void copy_wide(void *ctx, char *const *p, const int64_t *stride, int64_t n) {
  ((const ml_tensor_kernels *)ctx)->copy(p[0], stride[0], p[1], stride[1], n);
}

/* A copy whose source runs along another axis than its destination: planes of the two axes, in
 * bands of rows. */
typedef struct {
  const ml_loop *loop;
  const ml_tensor_kernels *kernels;
  int row; /* the axis along which the source runs */
  int64_t bands;
} planes;

#define BAND 64

static void copy_band(void *ctx, int64_t i, int worker) {
  const planes *job = ctx;
  const ml_loop *loop = job->loop;
  (void)worker;
  int inner = loop->rank - 1, row = job->row;
  int64_t begin = i % job->bands * BAND, rest = i / job->bands;
  int64_t rows = loop->size[row] - begin < BAND ? loop->size[row] - begin : BAND;
  int64_t to = begin * loop->stride[0][row], from = begin * loop->stride[1][row];
  for (int k = inner - 1; k >= 0; k--) {
    if (k == row)
      continue;
    int64_t at = rest % loop->size[k];
    rest /= loop->size[k];
    to += at * loop->stride[0][k];
    from += at * loop->stride[1][k];
  }
  int64_t item = (int64_t)loop->item[0];
  job->kernels->transpose(loop->base[0] + to * item, loop->stride[0][row],
                          loop->base[1] + from * item, loop->stride[1][inner], rows,
                          loop->size[inner]);
}

static ml_status copy_loop(const ml_loop *loop, ml_error *err) {
  size_t item = loop->item[0];
  if (item == 1) {
    return ml_loop_poll(loop, 2, copy1, NULL, err);
  }
  const ml_tensor_kernels *kernels = ml_kernels(item == 4 ? ML_F32 : ML_F64);
  int inner = loop->rank - 1;
  if (loop->numel > 256 && loop->stride[0][inner] == 1 && loop->stride[1][inner] > 1) {
    for (int k = inner - 1; k >= 0; k--) {
      if (loop->stride[1][k] != 1 || loop->size[k] < 4)
        continue;
      planes job = {loop, kernels, k, (loop->size[k] + BAND - 1) / BAND};
      int64_t n = loop->numel / loop->size[k] / loop->size[inner] * job.bands;
      return ml_parallel_poll(n, 10.0 * (double)(loop->size[inner] * BAND), copy_band, &job, err);
    }
  }
  return ml_loop_poll(loop, loop->stride[1][inner] == 1 ? 3 : 10, copy_wide,
                      (void *)(uintptr_t)kernels, err);
}

static ml_status copy_values(const ml_tensor *dst, const ml_tensor *src, ml_error *err) {
  ml_shape shape = ml_shape_of(dst);
  ml_loop loop;
  ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){dst, src});
  return copy_loop(&loop, err);
}

ml_status ml_tensor_clone(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  ml_shape shape = ml_shape_of(t);
  ml_tensor copy = {0};
  ML_TRY(ml_tensor_init(&copy, t->dtype, &shape, err));
  ml_status status = copy_values(&copy, t, err);
  if (status)
    ml_tensor_clear(&copy);
  else
    *out = copy;
  return status;
}

ml_status ml_tensor_contiguous(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (!ml_is_contiguous(t))
    return ml_tensor_clone(out, t, err);
  ml_tensor view = *t; /* canonical strides, whatever those of axes of size 1 were */
  int64_t step = 1;
  for (int k = t->rank - 1; k >= 0; k--) {
    view.stride[k] = step;
    if (t->size[k] > 1)
      step *= t->size[k];
  }
  ml_tensor_detach(out, &view);
  return ML_OK;
}

/* Lowest and one past the highest element of a view. */
static void extent(const ml_tensor *t, int64_t *lo, int64_t *hi) {
  *lo = *hi = t->offset;
  for (int k = 0; k < t->rank; k++) {
    int64_t reach = (t->size[k] - 1) * t->stride[k];
    if (reach > 0)
      *hi += reach;
    else
      *lo += reach;
  }
  (*hi)++;
}

static bool same_elements(const ml_tensor *a, const ml_tensor *b) {
  if (a->offset != b->offset || a->rank != b->rank)
    return false;
  for (int k = 0; k < a->rank; k++)
    if (a->size[k] != b->size[k] || (a->size[k] > 1 && a->stride[k] != b->stride[k]))
      return false;
  return true;
}

bool ml_overlaps(const ml_tensor *dst, const ml_tensor *src) {
  if (dst->storage != src->storage || same_elements(dst, src))
    return false;
  int64_t a0, a1, b0, b1;
  extent(dst, &a0, &a1);
  extent(src, &b0, &b1);
  return a0 < b1 && b0 < a1;
}

ml_status ml_check_into(const ml_tensor *dst, const ml_tensor *src, ml_error *err) {
  char want[ML_DESCRIBE], got[ML_DESCRIBE];
  if (dst->dtype != src->dtype)
    return ml_fail(err, ML_EDTYPE, 2, "dtypes disagree: %s takes no values of %s",
                   ml_describe(want, dst), ml_describe(got, src));
  bool good = src->rank <= dst->rank;
  for (int k = 0; good && k < src->rank; k++) {
    int64_t n = src->size[k];
    good = n == 1 || n == dst->size[k + dst->rank - src->rank];
  }
  if (!good)
    return ml_fail(err, ML_ESHAPE, 2, "shapes disagree: %s cannot take %s", ml_describe(want, dst),
                   ml_describe(got, src));
  for (int k = 0; k < dst->rank; k++)
    if (dst->stride[k] == 0 && dst->size[k] > 1)
      return ml_fail(err, ML_EARG, 1, "%s is a broadcast view: its elements share memory",
                     ml_describe(want, dst));
  return ML_OK;
}

ml_status ml_tensor_copy_into(ml_tensor *dst, const ml_tensor *src, ml_error *err) {
  ML_TRY(ml_check_into(dst, src, err));
  if (ml_numel(dst) == 0)
    return ML_OK;
  if (dst->storage == src->storage && same_elements(dst, src))
    return ML_OK;
  ml_status status;
  if (ml_overlaps(dst, src)) {
    ml_tensor copy = {0};
    ML_TRY(ml_tensor_clone(&copy, src, err));
    status = copy_values(dst, &copy, err);
    ml_tensor_clear(&copy);
  } else {
    status = copy_values(dst, src, err);
  }
  ml_touch(dst);
  return status;
}

/* ---- between dtypes -------------------------------------------------------------------------- */

typedef struct {
  ml_dtype from, to;
  int64_t base;         /* what position 0 reads as outside */
  atomic_int bad_found; /* some value does not fit */
} casting;

static double read_any(ml_dtype dtype, const void *p) {
  switch (dtype) {
  case ML_F64:
    return *(const double *)p;
  case ML_F32:
    return (double)*(const float *)p;
  case ML_INDEX:
    return (double)*(const int64_t *)p;
  default:
    return *(const uint8_t *)p;
  }
}

static bool fits(double v, ml_dtype to, int64_t base) {
  if (to == ML_U8)
    return v > -1 && v < 256;
  if (to != ML_INDEX)
    return true;
  v -= (double)base;
  return v >= 0 && v < 9007199254740993.0 && v == floor(v);
}

#define CAST_LOOP(T, F, value)                                                                     \
  do {                                                                                             \
    T *d = (T *)(void *)p[0];                                                                      \
    const F *s = (const F *)(const void *)p[1];                                                    \
    for (int64_t i = 0; i < n; i++) {                                                              \
      F v = s[i * stride[1]];                                                                      \
      d[i * stride[0]] = (T)(value);                                                               \
    }                                                                                              \
  } while (0)
#define CAST_CHECKED(T, F)                                                                         \
  do {                                                                                             \
    T *d = (T *)(void *)p[0];                                                                      \
    const F *s = (const F *)(const void *)p[1];                                                    \
    bool bad = false;                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
      double v = (double)s[i * stride[1]];                                                         \
      bool good = fits(v, c->to, c->base);                                                         \
      bad = bad || !good;                                                                          \
      d[i * stride[0]] = good ? (T)(c->to == ML_INDEX ? v - (double)c->base : v) : (T)0;           \
    }                                                                                              \
    if (bad)                                                                                       \
      atomic_store(&c->bad_found, 1);                                                              \
  } while (0)

static void cast_segment(void *ctx, char *const *p, const int64_t *stride, int64_t n) {
  casting *c = ctx;
  switch (c->to) {
  case ML_F64:
    if (c->from == ML_F32)
      ml_kernels(ML_F64)->convert(p[0], stride[0], p[1], stride[1], n);
    else if (c->from == ML_INDEX)
      CAST_LOOP(double, int64_t, v + c->base);
    else
      CAST_LOOP(double, uint8_t, v);
    break;
  case ML_F32:
    if (c->from == ML_F64)
      ml_kernels(ML_F32)->convert(p[0], stride[0], p[1], stride[1], n);
    else if (c->from == ML_INDEX)
      CAST_LOOP(float, int64_t, v + c->base);
    else
      CAST_LOOP(float, uint8_t, v);
    break;
  case ML_INDEX:
    if (c->from == ML_F64)
      CAST_CHECKED(int64_t, double);
    else if (c->from == ML_F32)
      CAST_CHECKED(int64_t, float);
    else
      CAST_CHECKED(int64_t, uint8_t);
    break;
  default:
    if (c->from == ML_F64)
      CAST_CHECKED(uint8_t, double);
    else if (c->from == ML_F32)
      CAST_CHECKED(uint8_t, float);
    else {
      uint8_t *d = (uint8_t *)p[0];
      const int64_t *s = (const int64_t *)(const void *)p[1];
      for (int64_t i = 0; i < n; i++) {
        int64_t v = s[i * stride[1]] + c->base;
        if (v < 0 || v > 255)
          atomic_store(&c->bad_found, 1);
        d[i * stride[0]] = (uint8_t)v;
      }
    }
  }
}

typedef struct {
  const casting *c;
  bool found;
  double value;
} misfit;

/* The first value that does not fit, for the message. */
static void find_bad(void *ctx, char *const *p, const int64_t *stride, int64_t n) {
  misfit *f = ctx;
  for (int64_t i = 0; i < n && !f->found; i++) {
    double v = read_any(f->c->from, p[0] + i * stride[0] * (int64_t)ml_dtype_size(f->c->from));
    if (f->c->from == ML_INDEX)
      v += (double)f->c->base;
    if (fits(v, f->c->to, f->c->base))
      continue;
    f->found = true;
    f->value = v;
  }
}

static ml_status cast(ml_tensor *out, const ml_tensor *t, ml_dtype dtype, int64_t base,
                      ml_error *err) {
  if ((unsigned)dtype >= ML_DTYPE_COUNT)
    return ml_fail(err, ML_EDTYPE, 2, "unknown dtype");
  if (dtype == t->dtype) {
    ml_tensor_detach(out, t);
    return ML_OK;
  }
  ml_shape shape = ml_shape_of(t);
  ml_tensor copy = {0};
  ML_TRY(ml_tensor_init(&copy, dtype, &shape, err));
  casting c = {.from = t->dtype, .to = dtype, .base = base};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 2, (const ml_tensor *const[]){&copy, t});
  ml_status status = ml_loop_poll(&loop, 5, cast_segment, &c, err);
  if (status) {
    ml_tensor_clear(&copy);
    return status;
  }
  if (atomic_load(&c.bad_found)) {
    ml_tensor_clear(&copy);
    misfit f = {&c, false, 0};
    ml_loop_init(&loop, &shape, 1, (const ml_tensor *const[]){t});
    ml_loop_run_serial(&loop, find_bad, &f);
    if (dtype == ML_U8)
      return ml_fail(err, ML_EARG, 1, "%.17g is no u8, wanted 0 to 255", f.value);
    return ml_fail(err, ML_EARG, 1, "%.17g is no index, wanted whole numbers from %" PRId64,
                   f.value, base);
  }
  *out = copy;
  return ML_OK;
}

ml_status ml_tensor_cast(ml_tensor *out, const ml_tensor *t, ml_dtype dtype, ml_error *err) {
  return cast(out, t, dtype, 0, err);
}

ml_status ml_tensor_cast_one_based(ml_tensor *out, const ml_tensor *t, ml_dtype dtype,
                                   ml_error *err) {
  return cast(out, t, dtype, 1, err);
}

/* ---- fill and single elements ---------------------------------------------------------------- */

ml_status ml_tensor_fill_into(ml_tensor *dst, double value, ml_error *err) {
  union {
    double f64;
    float f32;
    int64_t index;
    uint8_t u8;
  } v;
  switch (dst->dtype) {
  case ML_F64:
    v.f64 = value;
    break;
  case ML_F32:
    v.f32 = (float)value;
    break;
  case ML_INDEX:
    if (!fits(value, ML_INDEX, 0))
      return ml_fail(err, ML_EARG, 2, "%.17g is no position for an index tensor", value);
    v.index = (int64_t)value;
    break;
  default:
    if (!fits(value, ML_U8, 0))
      return ml_fail(err, ML_EARG, 2, "%.17g is no u8, wanted 0 to 255", value);
    v.u8 = (uint8_t)value;
  }
  ml_storage here = {.data = &v};
  ml_tensor one = {.storage = &here, .dtype = dst->dtype};
  ml_status status = ml_numel(dst) > 0 ? copy_values(dst, &one, err) : ML_OK;
  ml_touch(dst);
  return status;
}

double ml_tensor_get(const ml_tensor *t, const int64_t *position) {
  int64_t at = t->offset;
  for (int k = 0; k < t->rank; k++)
    at += position[k] * t->stride[k];
  return read_any(t->dtype, (const char *)t->storage->data + at * (int64_t)ml_dtype_size(t->dtype));
}

ml_status ml_tensor_item(double *value, const ml_tensor *t, ml_error *err) {
  if (ml_numel(t) != 1) {
    char text[ML_DESCRIBE];
    return ml_fail(err, ML_ESHAPE, 1, "item wants one element, got %s", ml_describe(text, t));
  }
  *value = read_any(t->dtype, ml_data(t));
  return ML_OK;
}
