/* What the files of the io room share: where bytes come from, element types on file, gzip. Private.
 */
#ifndef MOONLAB_IO_SOURCE_H
#define MOONLAB_IO_SOURCE_H

#include "io.h"

#include <string.h>

/* Bytes of a file or of a member of an archive, and the names that messages give it. */
typedef struct {
  const unsigned char *data;
  size_t bytes;
  const char *path;
  const char *member; /* of an archive; NULL in a plain file */
  ml_load_as as;
} ml_io_source;

/* ML_EFORMAT with the source's name before the message, and ML_ENOMEM for so many bytes. As
 * ml_fail, macros that yield the constant. */
void ml_io_say_malformed(const ml_io_source *s, ml_error *err, const char *fmt, ...)
    ML_PRINTF(3, 4);
void ml_io_say_no_memory(const ml_io_source *s, ml_error *err, uint64_t bytes);
#define ml_io_malformed(s, err, ...) (ml_io_say_malformed((s), (err), __VA_ARGS__), ML_EFORMAT)
#define ml_io_no_memory(s, err, bytes) (ml_io_say_no_memory((s), (err), (bytes)), ML_ENOMEM)
/* False when so many bytes more would pass the memory limit. */
bool ml_io_fits(uint64_t bytes);

typedef enum {
  ML_IO_F64,
  ML_IO_F32,
  ML_IO_F16,
  ML_IO_BF16,
  ML_IO_I8,
  ML_IO_I16,
  ML_IO_I32,
  ML_IO_I64,
  ML_IO_U8,
  ML_IO_U16,
  ML_IO_U32,
  ML_IO_U64,
  ML_IO_BOOL,
  ML_IO_TYPE_COUNT
} ml_io_type;
size_t ml_io_type_size(ml_io_type type);

/* Bytes of an array, or false when they exceed 2^62. */
bool ml_io_array_bytes(uint64_t *bytes, ml_io_type type, const ml_shape *shape);
/* The array that starts at data (its bytes are there) as a tensor. labels: integers become index.
 */
ml_status ml_io_tensor(ml_tensor *out, ml_io_type type, bool swapped, bool labels,
                       const ml_shape *shape, const unsigned char *data, const ml_io_source *s,
                       ml_error *err);

/* One format each: the whole source as tensors. */
ml_status ml_io_parse_safetensors(ml_tensor_file *out, const ml_io_source *s, ml_error *err);
ml_status ml_io_parse_npy(ml_tensor *out, const ml_io_source *s, ml_error *err);
ml_status ml_io_parse_npz(ml_tensor_file *out, const ml_io_source *s, ml_error *err);
ml_status ml_io_parse_idx(ml_tensor *out, const ml_io_source *s, ml_error *err);

/* The npy header of a tensor, at most ML_IO_NPY_HEADER bytes; returns its length. */
enum { ML_IO_NPY_HEADER = 512 };
size_t ml_io_npy_header(char *text, const ml_tensor *t);

/* Room for n items; NULL-safe to clear at any time. */
ml_status ml_io_reserve(ml_tensor_file *file, int n, const ml_io_source *s, ml_error *err);
char *ml_io_copy_text(const char *text, size_t n);

/* gzip members one after the other, as a stream. */
typedef struct ml_io_gzip ml_io_gzip;
bool ml_io_is_gzip(const ml_io_source *s);
ml_status ml_io_gzip_open(ml_io_gzip **gz, const ml_io_source *s, ml_error *err);
/* Up to n bytes; fewer only at the end, where lengths and checksums have been verified. */
ml_status ml_io_gzip_read(ml_io_gzip *gz, void *data, size_t n, size_t *got, ml_error *err);
void ml_io_gzip_close(ml_io_gzip *gz);

static inline uint64_t ml_io_le(const unsigned char *p, int bytes) {
  uint64_t x = 0;
  for (int i = bytes - 1; i >= 0; i--)
    x = x << 8 | p[i];
  return x;
}
static inline uint32_t ml_io_be32(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
