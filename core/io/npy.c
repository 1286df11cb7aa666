/* npy: a magic, a header that is a Python dictionary, the array. */
#include "source.h"

#include <ctype.h>

/* ---- the header, as far as numpy writes it --------------------------------------------------- */

typedef struct {
  const char *at, *end;
} cursor;

static void skip(cursor *c) {
  while (c->at < c->end && isspace((unsigned char)*c->at))
    c->at++;
}

static bool take(cursor *c, char wanted) {
  skip(c);
  if (c->at == c->end || *c->at != wanted)
    return false;
  c->at++;
  return true;
}

static bool take_word(cursor *c, const char *word) {
  skip(c);
  size_t n = strlen(word);
  if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n))
    return false;
  c->at += n;
  return true;
}

/* A quoted string without escapes. */
static bool take_string(cursor *c, char text[32]) {
  skip(c);
  if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
    return false;
  char quote = *c->at++;
  size_t n = 0;
  while (c->at < c->end && *c->at != quote && *c->at != '\\' && n < 31)
    text[n++] = *c->at++;
  text[n] = 0;
  return take(c, quote);
}

static bool take_shape(cursor *c, ml_shape *shape) {
  if (!take(c, '('))
    return false;
  shape->rank = 0;
  while (!take(c, ')')) {
    skip(c);
    int64_t n = 0;
    int digits = 0;
    for (; c->at < c->end && isdigit((unsigned char)*c->at); digits++) {
      int digit = *c->at++ - '0';
      if (n > (INT64_MAX - digit) / 10)
        return false;
      n = 10 * n + digit;
    }
    take(c, 'L'); /* Python 2 */
    if (!digits || shape->rank == ML_MAX_RANK)
      return false;
    shape->size[shape->rank++] = n;
    if (!take(c, ',')) {
      skip(c);
      if (c->at == c->end || *c->at != ')')
        return false;
    }
  }
  return true;
}

typedef struct {
  char descr[32];
  bool fortran;
  ml_shape shape;
} description;

static bool take_description(cursor *c, description *d) {
  unsigned seen = 0;
  if (!take(c, '{'))
    return false;
  while (!take(c, '}')) {
    char key[32];
    unsigned bit = 0;
    if (!take_string(c, key) || !take(c, ':'))
      return false;
    if (!strcmp(key, "descr")) {
      bit = 1;
      if (!take_string(c, d->descr))
        return false;
    } else if (!strcmp(key, "fortran_order")) {
      bit = 2;
      d->fortran = take_word(c, "True");
      if (!d->fortran && !take_word(c, "False"))
        return false;
    } else if (!strcmp(key, "shape")) {
      bit = 4;
      if (!take_shape(c, &d->shape))
        return false;
    }
    if (!bit || seen & bit)
      return false;
    seen |= bit;
    if (!take(c, ',')) {
      skip(c);
      if (c->at == c->end || *c->at != '}')
        return false;
    }
  }
  skip(c);
  return seen == 7 && c->at == c->end;
}

static bool type_of(ml_io_type *type, bool *swapped, const char *descr) {
  static const struct {
    const char *name;
    ml_io_type type;
  } known[] = {{"f8", ML_IO_F64}, {"f4", ML_IO_F32}, {"f2", ML_IO_F16}, {"i1", ML_IO_I8},
               {"i2", ML_IO_I16}, {"i4", ML_IO_I32}, {"i8", ML_IO_I64}, {"u1", ML_IO_U8},
               {"u2", ML_IO_U16}, {"u4", ML_IO_U32}, {"u8", ML_IO_U64}, {"b1", ML_IO_BOOL}};
  char order = *descr;
  if (!order || !strchr("<>=|", order))
    return false;
  const uint16_t one = 1;
  bool little = *(const unsigned char *)&one == 1;
  for (size_t k = 0; k < sizeof known / sizeof *known; k++)
    if (!strcmp(descr + 1, known[k].name)) {
      *type = known[k].type;
      *swapped = ml_io_type_size(*type) > 1 && order != '=' && (order == '<') != little;
      return ml_io_type_size(*type) == 1 || order != '|';
    }
  return false;
}

/* Fortran order is the transpose of an array in C order. */
static ml_status untranspose(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  int axes[ML_MAX_RANK];
  for (int k = 0; k < t->rank; k++)
    axes[k] = t->rank - 1 - k;
  ml_tensor view = {0};
  ML_TRY_INNER(ml_view_permute(&view, t, axes, err), err);
  ml_status status = ml_tensor_contiguous(out, &view, err);
  ml_tensor_clear(&view);
  return status;
}

ml_status ml_io_parse_npy(ml_tensor *out, const ml_io_source *s, ml_error *err) {
  if (s->bytes < 10 || memcmp(s->data, "\x93NUMPY", 6))
    return ml_io_malformed(s, err, "not an npy file");
  int version = s->data[6];
  if (version < 1 || version > 3)
    return ml_io_malformed(s, err, "npy version %d; known are 1 to 3", version);
  size_t start = version == 1 ? 10 : 12;
  if (s->bytes < start)
    return ml_io_malformed(s, err, "truncated in the npy header");
  uint64_t length = ml_io_le(s->data + 8, version == 1 ? 2 : 4);
  if (length > s->bytes - start)
    return ml_io_malformed(s, err, "truncated: npy header of %llu bytes in a file of %zu",
                           (unsigned long long)length, s->bytes);
  description d;
  cursor c = {(const char *)s->data + start, (const char *)s->data + start + length};
  if (!take_description(&c, &d))
    return ml_io_malformed(
        s, err,
        "npy header is not { 'descr': one type, 'fortran_order': bool, 'shape': at most %d sizes }",
        ML_MAX_RANK);
  ml_io_type type;
  bool swapped;
  if (!type_of(&type, &swapped, d.descr))
    return ml_io_malformed(
        s, err, "npy dtype '%s'; known are f2 f4 f8, i and u of 1 to 8 bytes, b1", d.descr);
  uint64_t bytes = UINT64_MAX /* too many to count */, rest = s->bytes - start - length;
  char text[ML_DESCRIBE];
  if (!ml_io_array_bytes(&bytes, type, &d.shape) || bytes != rest)
    return ml_io_malformed(s, err, "%s %s wants %s bytes of data, the file has %llu", d.descr,
                           ml_describe_shape(text, &d.shape), bytes < rest ? "fewer" : "more",
                           (unsigned long long)rest);
  const unsigned char *data = s->data + start + length;
  if (!d.fortran || d.shape.rank < 2)
    return ml_io_tensor(out, type, swapped, false, &d.shape, data, s, err);
  ml_shape reversed = {.rank = d.shape.rank};
  for (int k = 0; k < d.shape.rank; k++)
    reversed.size[k] = d.shape.size[d.shape.rank - 1 - k];
  ml_tensor t = {0};
  ML_TRY(ml_io_tensor(&t, type, swapped, false, &reversed, data, s, err));
  ml_status status = untranspose(out, &t, err);
  ml_tensor_clear(&t);
  if (status)
    err->arg = 0;
  return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t ml_io_npy_header(char *text, const ml_tensor *t) {
  static const char *const descr[ML_DTYPE_COUNT] = {"<f8", "<f4", "<i8", "|u1"};
  memcpy(text, "\x93NUMPY\1", 8); /* version 1.0 */
  int n = 10;
  n += snprintf(text + n, (size_t)(ML_IO_NPY_HEADER - n),
                "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[t->dtype]);
  for (int k = 0; k < t->rank; k++)
    n += snprintf(text + n, (size_t)(ML_IO_NPY_HEADER - n), "%s%lld%s", k ? " " : "",
                  (long long)t->size[k], t->rank == 1 || k < t->rank - 1 ? "," : "");
  n += snprintf(text + n, (size_t)(ML_IO_NPY_HEADER - n), "), }");
  int padded = (n + 1 + 63) / 64 * 64;
  memset(text + n, ' ', (size_t)(padded - n - 1));
  text[padded - 1] = '\n';
  text[8] = (char)((padded - 10) & 255);
  text[9] = (char)((padded - 10) >> 8);
  return (size_t)padded;
}

static ml_status write_npy(ml_out_file *f, const ml_tensor *t, ml_error *err) {
  char header[ML_IO_NPY_HEADER];
  size_t n = ml_io_npy_header(header, t);
  ML_TRY(ml_out_write(f, header, n, err));
  ml_tensor flat = {0};
  ML_TRY_INNER(ml_tensor_contiguous(&flat, t, err), err);
  ml_status status =
      ml_out_write(f, ml_data(&flat), (size_t)ml_numel(&flat) * ml_dtype_size(flat.dtype), err);
  ml_tensor_clear(&flat);
  return status;
}

ml_status ml_npy_save(const char *path, const ml_tensor *t, ml_error *err) {
  if (ml_tensor_empty(t))
    return ml_fail(err, ML_ESTATE, 2, "the tensor is released");
  ml_out_file *f;
  ML_TRY(ml_out_open(&f, path, err));
  ml_status status = write_npy(f, t, err);
  if (status) {
    ml_out_discard(f);
    return status;
  }
  return ml_out_commit(f, err);
}
