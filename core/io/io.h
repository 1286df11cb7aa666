/* Io room: tensors from and to files: safetensors, npy, npz, IDX; text.
 *
 * A loader takes its file as hostile: every size is checked against the file before memory is asked
 * for, and the message of ML_EFORMAT names the file and what is wrong with it. On failure `out` is
 * empty. A saver makes the file appear whole or not at all. Position 1 of an error is the path, 2
 * the tensors.
 *
 * From file to dtype: F64 -> f64; F32 F16 BF16 -> f32; int64 -> index (its stored value is the
 * 0-based one; a negative one is refused); other integers -> f64; uint8 and bool -> u8. ML_AS_F64
 * and ML_AS_F32 take all of these as reals. */
#ifndef MOONLAB_IO_H
#define MOONLAB_IO_H

#include "tensor/tensor.h"

typedef enum { ML_AS_STORED = 0, ML_AS_F64, ML_AS_F32 } ml_load_as;

typedef struct {
  char *name; /* ml_alloc'd in files that were loaded; only read by savers */
  ml_tensor tensor;
} ml_named_tensor;

/* What a file holds, in the order of the file. {0} is the empty one. */
typedef struct {
  ml_named_tensor *items;
  int n;
  char **meta; /* the __metadata__ of safetensors: key, value, key, value, ... */
  int n_meta;  /* pairs */
  bool single; /* npy and IDX: one tensor, which has no name */
} ml_tensor_file;

ML_API void ml_tensor_file_clear(ml_tensor_file *file); /* idempotent */
/* NULL when absent */
ML_API ml_tensor *ml_tensor_file_find(const ml_tensor_file *file, const char *name);
/* NULL when absent */
ML_API const char *ml_tensor_file_meta(const ml_tensor_file *file, const char *key);

/* Any of the four formats, told apart by their first bytes; an npy or IDX file gives one tensor
 * named "". */
ML_API ml_status ml_tensor_file_load(ml_tensor_file *out, const char *path, ml_load_as as,
                                     ml_error *err) ML_MUST_CHECK;
/* The same from memory; name stands for the path in messages. */
ML_API ml_status ml_tensor_file_parse(ml_tensor_file *out, const void *data, size_t bytes,
                                      const char *name, ml_load_as as, ml_error *err) ML_MUST_CHECK;

/* Source: huggingface/safetensors, "Format". Headers up to 100 MB. */
ML_API ml_status ml_safetensors_load(ml_tensor_file *out, const char *path, ml_load_as as,
                                     ml_error *err) ML_MUST_CHECK;
/* Names are distinct and UTF-8; meta holds n_meta pairs of UTF-8 strings, or is NULL. Wide dtypes
 * come first in the file, so that every tensor is aligned. */
ML_API ml_status ml_safetensors_save(const char *path, const ml_named_tensor *items, int n,
                                     const char *const *meta, int n_meta,
                                     ml_error *err) ML_MUST_CHECK;

/* Source: numpy.lib.format, versions 1 to 3; C and Fortran order, either byte order. */
ML_API ml_status ml_npy_load(ml_tensor *out, const char *path, ml_load_as as,
                             ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_npy_save(const char *path, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;

/* Zip archive of npy files, stored or deflated, zip64 included; checksums are verified. Written
 * stored. */
ML_API ml_status ml_npz_load(ml_tensor_file *out, const char *path, ml_load_as as,
                             ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_npz_save(const char *path, const ml_named_tensor *items, int n,
                             ml_error *err) ML_MUST_CHECK;

/* Source: LeCun, Cortes & Burges, "The MNIST database", FILE FORMATS. Plain or gzip. Integers of
 * rank 1 are labels: index. */
ML_API ml_status ml_idx_load(ml_tensor *out, const char *path, ml_load_as as,
                             ml_error *err) ML_MUST_CHECK;

/* A text file whole, gzip undone, a UTF-8 byte order mark skipped. bytes do not include the 0 that
 * follows them. */
typedef struct {
  const char *text;
  size_t bytes;
  void *block; /* private */
} ml_text;
ML_API ml_status ml_text_load(ml_text *out, const char *path, ml_error *err) ML_MUST_CHECK;
ML_API void ml_text_clear(ml_text *text); /* idempotent */
/* Bytes without their compression (gzip, zlib or xz; others come as they are); name stands in messages. No 0 follows. */
ML_API ml_status ml_bytes_expand(ml_text *out, const void *data, size_t bytes, const char *name,
                                 ml_error *err) ML_MUST_CHECK;

#endif
