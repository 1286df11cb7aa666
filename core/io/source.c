/* Element types on file and their way into tensors; messages about malformed files. */
#include "source.h"

#include <stdarg.h>

enum { PATH_SHOWN = 90, MEMBER_SHOWN = 40, PIECE = 1024, POLL_BYTES = 16 << 20 };

/* ---- messages -------------------------------------------------------------------------------- */

static const char *tail(const char *text, size_t most) {
  size_t n = strlen(text);
  return n > most ? text + n - most : text;
}

void ml_io_say_malformed(const ml_io_source *s, ml_error *err, const char *fmt, ...) {
  char text[200];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (s->member)
    ml_error_set(err, ML_EFORMAT, 1, "'%s', '%.*s': %s", tail(s->path, PATH_SHOWN), MEMBER_SHOWN,
                 s->member, text);
  else
    ml_error_set(err, ML_EFORMAT, 1, "'%s': %s", tail(s->path, PATH_SHOWN), text);
}

void ml_io_say_no_memory(const ml_io_source *s, ml_error *err, uint64_t bytes) {
  ml_error_set(err, ML_ENOMEM, 0, "out of memory: no room for %.1f MiB of '%s'",
               (double)bytes / 1048576.0, tail(s->path, PATH_SHOWN));
}

bool ml_io_fits(uint64_t bytes) {
  ml_memory_info info;
  ml_memory(&info);
  return bytes <= info.limit && info.live <= info.limit - bytes;
}

/* ---- element types --------------------------------------------------------------------------- */

size_t ml_io_type_size(ml_io_type type) {
  static const unsigned char size[ML_IO_TYPE_COUNT] = {8, 4, 2, 2, 1, 2, 4, 8, 1, 2, 4, 8, 1};
  return size[type];
}

bool ml_io_array_bytes(uint64_t *bytes, ml_io_type type, const ml_shape *shape) {
  uint64_t most = UINT64_C(1) << 62, n = ml_io_type_size(type);
  for (int k = 0; k < shape->rank; k++)
    if (shape->size[k] == 0) {
      *bytes = 0;
      return true;
    }
  for (int k = 0; k < shape->rank; k++) {
    if ((uint64_t)shape->size[k] > most / n)
      return false;
    n *= (uint64_t)shape->size[k];
  }
  *bytes = n;
  return true;
}

static float bits_float(uint32_t b) {
  float x;
  memcpy(&x, &b, sizeof x);
  return x;
}

static float from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
  if (e == 31)
    return bits_float(sign | 0x7f800000u | m << 13);
  if (e)
    return bits_float(sign | (e + 112) << 23 | m << 13);
  float x = (float)m * 0x1p-24f; /* zero and subnormals */
  return sign ? -x : x;
}

static float from_bf16(uint16_t h) { return bits_float((uint32_t)h << 16); }

static double bits_double(uint64_t b) {
  double x;
  memcpy(&x, &b, sizeof x);
  return x;
}

static inline uint8_t swap8(uint8_t x) { return x; }
static inline uint16_t swap16(uint16_t x) { return __builtin_bswap16(x); }
static inline uint32_t swap32(uint32_t x) { return __builtin_bswap32(x); }
static inline uint64_t swap64(uint64_t x) { return __builtin_bswap64(x); }

/* n elements, each read as unsigned bits of its width, put in order and converted. */
#define EACH(bits, order, value)                                                                   \
  for (size_t i = 0; i < n; i++) {                                                                 \
    bits b;                                                                                        \
    memcpy(&b, p + i * sizeof b, sizeof b);                                                        \
    b = order(b);                                                                                  \
    x[i] = value;                                                                                  \
  }
#define READ(width, value)                                                                         \
  do {                                                                                             \
    if (swapped)                                                                                   \
      EACH(uint##width##_t, swap##width, value)                                                    \
    else                                                                                           \
      EACH(uint##width##_t, , value)                                                               \
  } while (0)

static void read_reals(double *restrict x, const unsigned char *restrict p, size_t n,
                       ml_io_type type, bool swapped) {
  if (type == ML_IO_F64)
    READ(64, bits_double(b));
  else if (type == ML_IO_F32)
    READ(32, (double)bits_float(b));
  else if (type == ML_IO_F16)
    READ(16, (double)from_f16(b));
  else
    READ(16, (double)from_bf16(b));
}

/* U64 keeps its bits. */
static void read_integers(int64_t *restrict x, const unsigned char *restrict p, size_t n,
                          ml_io_type type, bool swapped) {
  switch (type) {
  case ML_IO_I8:
    READ(8, (int8_t)b);
    break;
  case ML_IO_U8:
    READ(8, b);
    break;
  case ML_IO_BOOL:
    READ(8, b != 0);
    break;
  case ML_IO_I16:
    READ(16, (int16_t)b);
    break;
  case ML_IO_U16:
    READ(16, b);
    break;
  case ML_IO_I32:
    READ(32, (int32_t)b);
    break;
  case ML_IO_U32:
    READ(32, b);
    break;
  default:
    READ(64, (int64_t)b);
    break;
  }
}

static bool is_real(ml_io_type type) { return type <= ML_IO_BF16; }

static ml_dtype target_of(ml_io_type type, bool labels, ml_load_as as) {
  if (as != ML_AS_STORED)
    return as == ML_AS_F64 ? ML_F64 : ML_F32;
  if (is_real(type))
    return type == ML_IO_F64 ? ML_F64 : ML_F32;
  if (labels || type == ML_IO_I64)
    return ML_INDEX;
  return type == ML_IO_U8 || type == ML_IO_BOOL ? ML_U8 : ML_F64;
}

/* Up to PIECE elements from p into elements `at`... of the target. */
static void put_reals(void *data, ml_dtype dtype, size_t at, const double *x, size_t n) {
  if (dtype == ML_F64) {
    memcpy((double *)data + at, x, n * sizeof *x);
  } else {
    float *to = (float *)data + at;
    for (size_t i = 0; i < n; i++)
      to[i] = (float)x[i];
  }
}

static void put_integers(void *data, ml_dtype dtype, size_t at, const int64_t *x, size_t n,
                         bool large) {
  if (dtype == ML_F64) {
    double *to = (double *)data + at;
    for (size_t i = 0; i < n; i++)
      to[i] = large ? (double)(uint64_t)x[i] : (double)x[i];
  } else if (dtype == ML_F32) {
    float *to = (float *)data + at;
    for (size_t i = 0; i < n; i++)
      to[i] = large ? (float)(uint64_t)x[i] : (float)x[i];
  } else if (dtype == ML_INDEX) {
    memcpy((int64_t *)data + at, x, n * sizeof *x);
  } else {
    uint8_t *to = (uint8_t *)data + at;
    for (size_t i = 0; i < n; i++)
      to[i] = (uint8_t)x[i];
  }
}

static ml_status check_positions(const int64_t *x, size_t n, bool large, const ml_io_source *s,
                                 ml_error *err) {
  for (size_t i = 0; i < n; i++)
    if (x[i] < 0 || x[i] == INT64_MAX) /* position x + 1 must exist */
      return large || x[i] == INT64_MAX
                 ? ml_io_malformed(s, err, "%llu is no position; load it with { as = \"f64\" }",
                                   (unsigned long long)x[i])
                 : ml_io_malformed(
                       s, err,
                       "holds %lld, and positions are not negative; load it with { as = \"f64\" }",
                       (long long)x[i]);
  return ML_OK;
}

static ml_status fill(ml_tensor *t, ml_io_type type, bool swapped, size_t n,
                      const unsigned char *data, const ml_io_source *s, ml_error *err) {
  size_t size = ml_io_type_size(type);
  void *to = ml_data(t);
  bool same =
      !swapped &&
      ((type == ML_IO_F64 && t->dtype == ML_F64) || (type == ML_IO_F32 && t->dtype == ML_F32) ||
       (type == ML_IO_I64 && t->dtype == ML_INDEX) || (type == ML_IO_U8 && t->dtype == ML_U8));
  size_t piece = same ? POLL_BYTES / size : PIECE, poll = 0;
  for (size_t at = 0; at < n; at += piece) {
    size_t count = n - at < piece ? n - at : piece;
    const unsigned char *from = data + at * size;
    poll += count * size;
    if (poll >= POLL_BYTES) {
      poll = 0;
      ML_POLL(err);
    }
    if (same) {
      memcpy((char *)to + at * size, from, count * size);
      if (type == ML_IO_I64)
        ML_TRY(check_positions((int64_t *)to + at, count, false, s, err));
    } else if (is_real(type)) {
      double x[PIECE];
      read_reals(x, from, count, type, swapped);
      put_reals(to, t->dtype, at, x, count);
    } else {
      int64_t x[PIECE];
      read_integers(x, from, count, type, swapped);
      if (t->dtype == ML_INDEX)
        ML_TRY(check_positions(x, count, type == ML_IO_U64, s, err));
      put_integers(to, t->dtype, at, x, count, type == ML_IO_U64);
    }
  }
  return ML_OK;
}

ml_status ml_io_tensor(ml_tensor *out, ml_io_type type, bool swapped, bool labels,
                       const ml_shape *shape, const unsigned char *data, const ml_io_source *s,
                       ml_error *err) {
  ml_tensor t = {0};
  ML_TRY_INNER(ml_tensor_init(&t, target_of(type, labels, s->as), shape, err), err);
  ml_status status = fill(&t, type, swapped, (size_t)ml_numel(&t), data, s, err);
  if (status) {
    ml_tensor_clear(&t);
    return status;
  }
  ml_tensor_move(out, &t);
  return ML_OK;
}

/* ---- lists of tensors ------------------------------------------------------------------------ */

ml_status ml_io_reserve(ml_tensor_file *file, int n, const ml_io_source *s, ml_error *err) {
  size_t bytes = (size_t)n * sizeof *file->items;
  if (!ml_io_fits(bytes) || !(file->items = ml_alloc(bytes)))
    return ml_io_no_memory(s, err, bytes);
  return ML_OK;
}

char *ml_io_copy_text(const char *text, size_t n) {
  char *copy = ml_alloc(n + 1);
  if (copy)
    memcpy(copy, text, n);
  return copy;
}

void ml_tensor_file_clear(ml_tensor_file *file) {
  for (int i = 0; i < file->n; i++) {
    ml_free(file->items[i].name);
    ml_tensor_clear(&file->items[i].tensor);
  }
  for (int i = 0; i < 2 * file->n_meta; i++)
    ml_free(file->meta[i]);
  ml_free(file->items);
  ml_free(file->meta);
  *file = (ml_tensor_file){0};
}

ml_tensor *ml_tensor_file_find(const ml_tensor_file *file, const char *name) {
  for (int i = 0; i < file->n; i++)
    if (!strcmp(file->items[i].name, name))
      return &file->items[i].tensor;
  return NULL;
}

const char *ml_tensor_file_meta(const ml_tensor_file *file, const char *key) {
  for (int i = 0; i < file->n_meta; i++)
    if (!strcmp(file->meta[2 * i], key))
      return file->meta[2 * i + 1];
  return NULL;
}
