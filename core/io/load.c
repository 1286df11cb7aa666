/* Opening a file and handing its bytes to the reader of its format. */
#include "source.h"

static ml_status one(ml_tensor_file *out, const ml_io_source *s,
                     ml_status (*parse)(ml_tensor *, const ml_io_source *, ml_error *),
                     ml_error *err) {
  ML_TRY(ml_io_reserve(out, 1, s, err));
  out->n = 1;
  out->single = true;
  if (!(out->items[0].name = ml_io_copy_text("", 0)))
    return ml_io_no_memory(s, err, 1);
  return parse(&out->items[0].tensor, s, err);
}

static ml_status any(ml_tensor_file *out, const ml_io_source *s, ml_error *err) {
  const unsigned char *p = s->data;
  if (s->bytes >= 6 && !memcmp(p, "\x93NUMPY", 6))
    return one(out, s, ml_io_parse_npy, err);
  if (s->bytes >= 4 && (!memcmp(p, "PK\3\4", 4) || !memcmp(p, "PK\5\6", 4)))
    return ml_io_parse_npz(out, s, err);
  if (ml_io_is_gzip(s) || (s->bytes >= 4 && !p[0] && !p[1] && p[2] >= 8 && p[2] <= 14))
    return one(out, s, ml_io_parse_idx, err);
  if (s->bytes >= 9 && p[8] == '{')
    return ml_io_parse_safetensors(out, s, err);
  return ml_io_malformed(s, err, "neither safetensors nor npy, npz or IDX");
}

typedef ml_status (*parse_file)(ml_tensor_file *, const ml_io_source *, ml_error *);

static ml_status parse(ml_tensor_file *out, const ml_io_source *s, parse_file format,
                       ml_error *err) {
  *out = (ml_tensor_file){0};
  ml_status status = format(out, s, err);
  if (status)
    ml_tensor_file_clear(out);
  return status;
}

static ml_status load(ml_tensor_file *out, const char *path, ml_load_as as, parse_file format,
                      ml_error *err) {
  *out = (ml_tensor_file){0};
  ml_in_file file;
  ML_TRY(ml_in_open(&file, path, err));
  ml_io_source s = {file.data, file.bytes, path, NULL, as};
  ml_status status = parse(out, &s, format, err);
  ml_in_close(&file);
  return status;
}

static ml_status load_one(ml_tensor *out, const char *path, ml_load_as as,
                          ml_status (*format)(ml_tensor *, const ml_io_source *, ml_error *),
                          ml_error *err) {
  ml_in_file file;
  ML_TRY(ml_in_open(&file, path, err));
  ml_io_source s = {file.data, file.bytes, path, NULL, as};
  ml_status status = format(out, &s, err);
  ml_in_close(&file);
  return status;
}

ml_status ml_tensor_file_parse(ml_tensor_file *out, const void *data, size_t bytes,
                               const char *name, ml_load_as as, ml_error *err) {
  ml_io_source s = {data, bytes, name, NULL, as};
  return parse(out, &s, any, err);
}

ml_status ml_tensor_file_load(ml_tensor_file *out, const char *path, ml_load_as as, ml_error *err) {
  return load(out, path, as, any, err);
}

ml_status ml_safetensors_load(ml_tensor_file *out, const char *path, ml_load_as as, ml_error *err) {
  return load(out, path, as, ml_io_parse_safetensors, err);
}

ml_status ml_npz_load(ml_tensor_file *out, const char *path, ml_load_as as, ml_error *err) {
  return load(out, path, as, ml_io_parse_npz, err);
}

ml_status ml_npy_load(ml_tensor *out, const char *path, ml_load_as as, ml_error *err) {
  return load_one(out, path, as, ml_io_parse_npy, err);
}

ml_status ml_idx_load(ml_tensor *out, const char *path, ml_load_as as, ml_error *err) {
  return load_one(out, path, as, ml_io_parse_idx, err);
}
