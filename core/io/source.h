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
} io_source;

/* ML_EFORMAT with the source's name before the message, and ML_ENOMEM for so many bytes. As
 * ml_fail, macros that yield the constant. */
void io_say_malformed(const io_source *s, ml_error *err, const char *fmt, ...) ML_PRINTF(3, 4);
void io_say_no_memory(const io_source *s, ml_error *err, uint64_t bytes);
#define io_malformed(s, err, ...) (io_say_malformed((s), (err), __VA_ARGS__), ML_EFORMAT)
#define io_no_memory(s, err, bytes) (io_say_no_memory((s), (err), (bytes)), ML_ENOMEM)
/* False when so many bytes more would pass the memory limit. */
bool io_fits(uint64_t bytes);

typedef enum {
  IO_F64,
  IO_F32,
  IO_F16,
  IO_BF16,
  IO_I8,
  IO_I16,
  IO_I32,
  IO_I64,
  IO_U8,
  IO_U16,
  IO_U32,
  IO_U64,
  IO_BOOL,
  IO_TYPE_COUNT
} io_type;
size_t io_type_size(io_type type);

/* Bytes of an array, or false when they exceed 2^62. */
bool io_array_bytes(uint64_t *bytes, io_type type, const ml_shape *shape);
/* The array that starts at data (its bytes are there) as a tensor. labels: integers become index.
 */
ml_status io_tensor(ml_tensor *out, io_type type, bool swapped, bool labels, const ml_shape *shape,
                    const unsigned char *data, const io_source *s, ml_error *err);

/* One format each: the whole source as tensors. */
ml_status io_parse_safetensors(ml_tensor_file *out, const io_source *s, ml_error *err);
ml_status io_parse_npy(ml_tensor *out, const io_source *s, ml_error *err);
ml_status io_parse_npz(ml_tensor_file *out, const io_source *s, ml_error *err);
ml_status io_parse_idx(ml_tensor *out, const io_source *s, ml_error *err);

/* The npy header of a tensor, at most IO_NPY_HEADER bytes; returns its length. */
enum { IO_NPY_HEADER = 512 };
size_t io_npy_header(char *text, const ml_tensor *t);

/* Room for n items; NULL-safe to clear at any time. */
ml_status io_reserve(ml_tensor_file *file, int n, const io_source *s, ml_error *err);
char *io_copy_text(const char *text, size_t n);

/* gzip members one after the other, as a stream. */
typedef struct io_gzip io_gzip;
bool io_is_gzip(const io_source *s);
ml_status io_gzip_open(io_gzip **gz, const io_source *s, ml_error *err);
/* Up to n bytes; fewer only at the end, where lengths and checksums have been verified. */
ml_status io_gzip_read(io_gzip *gz, void *data, size_t n, size_t *got, ml_error *err);
void io_gzip_close(io_gzip *gz);

static inline uint64_t io_le(const unsigned char *p, int bytes) {
  uint64_t x = 0;
  for (int i = bytes - 1; i >= 0; i--)
    x = x << 8 | p[i];
  return x;
}
static inline uint32_t io_be32(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
