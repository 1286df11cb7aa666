/* safetensors: a length, a JSON header, the arrays one after the other. */
#include "source.h"

#include <jansson.h>
#include <stdlib.h>

#define HEADER_MAX ((uint64_t)100 * 1000 * 1000)
/* Memory that the parsed form of one header byte may take, at worst: "[0,0," is 2 bytes for an
 * integer object. */
enum { PARSED_FACTOR = 32 };

static const struct {
  const char *name;
  ml_io_type type;
} types[] = {{"F64", ML_IO_F64},  {"F32", ML_IO_F32}, {"F16", ML_IO_F16}, {"BF16", ML_IO_BF16},
             {"I8", ML_IO_I8},    {"I16", ML_IO_I16}, {"I32", ML_IO_I32}, {"I64", ML_IO_I64},
             {"U8", ML_IO_U8},    {"U16", ML_IO_U16}, {"U32", ML_IO_U32}, {"U64", ML_IO_U64},
             {"BOOL", ML_IO_BOOL}};
#define METADATA "__metadata__"

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  ml_io_type type;
  ml_shape shape;
  uint64_t begin, end;
} entry;

static int by_place(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  if (x->end != y->end)
    return x->end < y->end ? -1 : 1;
  return strcmp(x->name, y->name);
}

static bool natural(uint64_t *n, const json_t *value) {
  if (!json_is_integer(value) || json_integer_value(value) < 0)
    return false;
  *n = (uint64_t)json_integer_value(value);
  return true;
}

static ml_status read_entry(entry *e, const char *name, const json_t *value, uint64_t data_bytes,
                            const ml_io_source *file, ml_error *err) {
  ml_io_source s = *file;
  s.member = name;
  e->name = name;
  if (!json_is_object(value) || json_object_size(value) != 3)
    return ml_io_malformed(&s, err, "its entry is not an object of dtype, shape and data_offsets");
  const char *dtype = json_string_value(json_object_get(value, "dtype"));
  const json_t *shape = json_object_get(value, "shape"),
               *offsets = json_object_get(value, "data_offsets");
  if (!dtype || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
    return ml_io_malformed(&s, err, "its entry is not an object of dtype, shape and data_offsets");
  size_t k = 0, n_types = sizeof types / sizeof *types;
  while (k < n_types && strcmp(types[k].name, dtype))
    k++;
  if (k == n_types)
    return ml_io_malformed(
        &s, err, "dtype %.20s; known are F64 F32 F16 BF16, I and U of 8 to 64, BOOL", dtype);
  e->type = types[k].type;
  if (json_array_size(shape) > ML_MAX_RANK)
    return ml_io_malformed(&s, err, "rank %zu, at most %d", json_array_size(shape), ML_MAX_RANK);
  e->shape.rank = (int)json_array_size(shape);
  for (int d = 0; d < e->shape.rank; d++) {
    uint64_t size;
    if (!natural(&size, json_array_get(shape, (size_t)d)))
      return ml_io_malformed(&s, err, "a size in its shape is not a natural number");
    e->shape.size[d] = (int64_t)size;
  }
  if (!natural(&e->begin, json_array_get(offsets, 0)) ||
      !natural(&e->end, json_array_get(offsets, 1)) || e->begin > e->end)
    return ml_io_malformed(&s, err, "data_offsets are not two growing natural numbers");
  if (e->end > data_bytes)
    return ml_io_malformed(&s, err, "data ends at byte %llu of %llu: truncated?",
                           (unsigned long long)e->end, (unsigned long long)data_bytes);
  uint64_t bytes;
  if (!ml_io_array_bytes(&bytes, e->type, &e->shape) || bytes != e->end - e->begin) {
    char text[ML_DESCRIBE];
    return ml_io_malformed(&s, err, "%s %s does not take the %llu bytes of its data_offsets", dtype,
                           ml_describe_shape(text, &e->shape),
                           (unsigned long long)(e->end - e->begin));
  }
  return ML_OK;
}

static ml_status read_metadata(ml_tensor_file *out, const json_t *meta, const ml_io_source *s,
                               ml_error *err) {
  if (!json_is_object(meta))
    return ml_io_malformed(s, err, METADATA " is not an object of strings");
  size_t pairs = json_object_size(meta);
  out->meta = ml_alloc(2 * pairs * sizeof *out->meta);
  if (!out->meta)
    return ml_io_no_memory(s, err, pairs);
  for (void *it = json_object_iter((json_t *)(uintptr_t)meta); it;
       it = json_object_iter_next((json_t *)(uintptr_t)meta, it)) {
    const json_t *value = json_object_iter_value(it);
    if (!json_is_string(value))
      return ml_io_malformed(s, err, METADATA " is not an object of strings");
    const char *key = json_object_iter_key(it);
    int i = out->n_meta++;
    out->meta[2 * i] = ml_io_copy_text(key, strlen(key));
    out->meta[2 * i + 1] = ml_io_copy_text(json_string_value(value), json_string_length(value));
    if (!out->meta[2 * i] || !out->meta[2 * i + 1])
      return ml_io_no_memory(s, err, strlen(key) + json_string_length(value));
  }
  return ML_OK;
}

static ml_status read_all(ml_tensor_file *out, entry *entries, json_t *header,
                          const unsigned char *data, uint64_t data_bytes, const ml_io_source *s,
                          ml_error *err) {
  int n = 0;
  for (void *it = json_object_iter(header); it; it = json_object_iter_next(header, it)) {
    const char *name = json_object_iter_key(it);
    if (!strcmp(name, METADATA))
      ML_TRY(read_metadata(out, json_object_iter_value(it), s, err));
    else
      ML_TRY(read_entry(&entries[n++], name, json_object_iter_value(it), data_bytes, s, err));
  }
  qsort(entries, (size_t)n, sizeof *entries, by_place);
  uint64_t at = 0;
  for (int i = 0; i < n; i++) {
    ml_io_source t = *s;
    t.member = entries[i].name;
    if (entries[i].begin != at)
      return ml_io_malformed(&t, err, "data starts at byte %llu, %s",
                             (unsigned long long)entries[i].begin,
                             entries[i].begin < at ? "inside another tensor's" : "after a hole");
    at = entries[i].end;
  }
  if (at != data_bytes)
    return ml_io_malformed(s, err, "%llu bytes after the last tensor",
                           (unsigned long long)(data_bytes - at));
  ML_TRY(ml_io_reserve(out, n, s, err));
  for (int i = 0; i < n; i++) {
    ml_io_source t = *s;
    t.member = entries[i].name;
    out->n = i + 1;
    out->items[i].name = ml_io_copy_text(entries[i].name, strlen(entries[i].name));
    if (!out->items[i].name)
      return ml_io_no_memory(s, err, strlen(entries[i].name));
    ML_TRY(ml_io_tensor(&out->items[i].tensor, entries[i].type, false, false, &entries[i].shape,
                        data + entries[i].begin, &t, err));
  }
  return ML_OK;
}

ml_status ml_io_parse_safetensors(ml_tensor_file *out, const ml_io_source *s, ml_error *err) {
  if (s->bytes < 8)
    return ml_io_malformed(s, err, "not a safetensors file: %zu bytes", s->bytes);
  uint64_t length = ml_io_le(s->data, 8);
  if (length > s->bytes - 8)
    return ml_io_malformed(
        s, err, "not a safetensors file, or truncated: header of %llu bytes in a file of %zu",
        (unsigned long long)length, s->bytes);
  if (length > HEADER_MAX)
    return ml_io_malformed(s, err, "header of %llu bytes, at most 100 MB",
                           (unsigned long long)length);
  if (!ml_io_fits(length * PARSED_FACTOR))
    return ml_io_no_memory(s, err, length * PARSED_FACTOR);
  if (!length || s->data[8] != '{')
    return ml_io_malformed(s, err,
                           "not a safetensors file: no JSON object after the header length");
  json_error_t why;
  json_t *header =
      json_loadb((const char *)s->data + 8, (size_t)length, JSON_REJECT_DUPLICATES, &why);
  if (!header)
    return json_error_code(&why) == json_error_out_of_memory
               ? ml_io_no_memory(s, err, length * PARSED_FACTOR)
               : ml_io_malformed(s, err, "bad header, byte %d: %.100s", why.position, why.text);
  size_t most = json_object_size(header);
  entry *entries = ml_alloc(most * sizeof *entries);
  ml_status status;
  if (!json_is_object(header) || !entries)
    status = entries ? ml_io_malformed(s, err, "the header is not a JSON object")
                     : ml_io_no_memory(s, err, most * sizeof *entries);
  else
    status = read_all(out, entries, header, s->data + 8 + length, s->bytes - 8 - length, s, err);
  ml_free(entries);
  json_decref(header);
  return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *type_name(ml_dtype dtype) {
  static const char *const names[ML_DTYPE_COUNT] = {"F64", "F32", "I64", "U8"};
  return names[dtype];
}

/* Sets key to value (taken over); false when there is no memory or key is not UTF-8. */
static bool put(json_t *object, const char *key, json_t *value) {
  return value && json_object_set_new(object, key, value) == 0;
}

static json_t *entry_of(const ml_tensor *t, uint64_t begin, uint64_t end) {
  json_t *object = json_object(), *shape = json_array();
  bool ok = object && shape;
  for (int d = 0; ok && d < t->rank; d++)
    ok = json_array_append_new(shape, json_integer(t->size[d])) == 0;
  if (!ok)
    json_decref(shape);
  ok = ok && put(object, "shape", shape) &&
       put(object, "dtype", json_string(type_name(t->dtype))) &&
       put(object, "data_offsets", json_pack("[I,I]", (json_int_t)begin, (json_int_t)end));
  if (ok)
    return object;
  json_decref(object);
  return NULL;
}

static ml_status header_of(json_t *header, const ml_named_tensor *items, const int *order, int n,
                           const char *const *meta, int n_meta, ml_error *err) {
  if (n_meta) {
    json_t *map = json_object();
    if (!put(header, METADATA, map))
      return ml_fail(err, ML_ENOMEM, 0, "out of memory");
    for (int i = 0; i < n_meta; i++) {
      json_t *value = json_string(meta[2 * i + 1]);
      if (!value || !put(map, meta[2 * i], value))
        return ml_fail(err, ML_EARG, 2, "metadata '%.60s' is not UTF-8", meta[2 * i]);
    }
  }
  uint64_t at = 0;
  for (int i = 0; i < n; i++) {
    const ml_named_tensor *item = &items[order[i]];
    uint64_t end = at + (uint64_t)ml_numel(&item->tensor) * ml_dtype_size(item->tensor.dtype);
    if (!strcmp(item->name, METADATA) || json_object_get(header, item->name))
      return ml_fail(err, ML_EARG, 2, "the name '%.60s' is %s", item->name,
                     strcmp(item->name, METADATA) ? "given twice" : "reserved");
    json_t *e = entry_of(&item->tensor, at, end);
    if (!e)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory");
    if (!put(header, item->name, e))
      return ml_fail(err, ML_EARG, 2, "the name '%.60s' is not UTF-8", item->name);
    at = end;
  }
  return ML_OK;
}

static ml_status write_file(ml_out_file *f, const char *text, const ml_named_tensor *items,
                            const int *order, int n, ml_error *err) {
  size_t length = strlen(text), padded = (length + 7) & ~(size_t)7;
  if (padded > HEADER_MAX)
    return ml_fail(err, ML_EARG, 2, "names and metadata take %zu bytes, at most 100 MB", padded);
  unsigned char size[8];
  for (int i = 0; i < 8; i++)
    size[i] = (unsigned char)((uint64_t)padded >> 8 * i);
  ML_TRY(ml_out_write(f, size, 8, err));
  ML_TRY(ml_out_write(f, text, length, err));
  ML_TRY(ml_out_write(f, "       ", padded - length, err));
  for (int i = 0; i < n; i++) {
    ml_tensor flat = {0};
    ML_TRY_INNER(ml_tensor_contiguous(&flat, &items[order[i]].tensor, err), err);
    ml_status status =
        ml_out_write(f, ml_data(&flat), (size_t)ml_numel(&flat) * ml_dtype_size(flat.dtype), err);
    ml_tensor_clear(&flat);
    ML_TRY(status);
  }
  return ML_OK;
}

static ml_status save(const char *path, const char *text, const ml_named_tensor *items,
                      const int *order, int n, ml_error *err) {
  ml_out_file *f;
  ML_TRY(ml_out_open(&f, path, err));
  ml_status status = write_file(f, text, items, order, n, err);
  if (status) {
    ml_out_discard(f);
    return status;
  }
  return ml_out_commit(f, err);
}

ml_status ml_safetensors_save(const char *path, const ml_named_tensor *items, int n,
                              const char *const *meta, int n_meta, ml_error *err) {
  for (int i = 0; i < n; i++)
    if (ml_tensor_empty(&items[i].tensor))
      return ml_fail(err, ML_ESTATE, 2, "the tensor '%.60s' is released", items[i].name);
  int *order = ml_alloc((size_t)n * sizeof *order), k = 0;
  json_t *header = json_object();
  char *text = NULL;
  ml_status status = ML_OK;
  if (!order || !header) {
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory");
  } else {
    for (size_t size = 8; size; size /= 2)
      for (int i = 0; i < n; i++)
        if (ml_dtype_size(items[i].tensor.dtype) == size)
          order[k++] = i;
    status = header_of(header, items, order, n, meta, n_meta, err);
  }
  if (!status && !(text = json_dumps(header, JSON_COMPACT)))
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory");
  if (!status)
    status = save(path, text, items, order, n, err);
  free(text);
  json_decref(header);
  ml_free(order);
  return status;
}
