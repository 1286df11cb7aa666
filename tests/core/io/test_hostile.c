/* Malformed files: an error that says what is wrong, never a crash, a leak or a large allocation.
 */
#include "golden.h"

#include <zlib.h>

static const char *const files[] = {
    "all.safetensors", "stored.npz",         "deflated.npz", "f8.npy",        "f8_fortran.npy",
    "f4.npy",          "f4_big_fortran.npy", "i8.npy",       "u1.npy",        "v2.npy",
    "v3.npy",          "empty.npy",          "labels.idx",   "images.idx.gz", "reals.idx"};
enum { FILES = sizeof files / sizeof *files };

/* Parses, and reads every element of what comes out. */
static ml_status parse(const unsigned char *data, size_t bytes, ml_error *err) {
  ml_tensor_file f;
  ml_status status = ml_tensor_file_parse(&f, data, bytes, "file", ML_AS_STORED, err);
  if (status) {
    CHECK(f.n == 0 && f.items == NULL && f.n_meta == 0 && strlen(err->message) > 0);
    return status;
  }
  for (int i = 0; i < f.n; i++) {
    double sum = 0;
    const ml_tensor *t = &f.items[i].tensor;
    const unsigned char *p = ml_data(t);
    for (size_t k = 0; k < (size_t)ml_numel(t) * ml_dtype_size(t->dtype); k++)
      sum += p[k];
    CHECK(sum >= 0);
  }
  ml_tensor_file_clear(&f);
  return ML_OK;
}

/* A copy of exactly so many bytes, so that ASan sees the first byte beyond. */
static unsigned char *copy_of(const unsigned char *data, size_t bytes) {
  unsigned char *copy = malloc(bytes + !bytes);
  memcpy(copy, data, bytes);
  return copy;
}

static void test_truncated_anywhere(void) {
  ml_error err;
  for (int k = 0; k < FILES; k++) {
    ml_in_file file;
    CHECK_OK(ml_in_open(&file, golden(files[k]), &err), &err);
    CHECK_OK(parse(file.data, file.bytes, &err), &err);
    for (size_t n = 0; n < file.bytes; n++) {
      unsigned char *copy = copy_of(file.data, n);
      if (!check_note(parse(copy, n, &err) == ML_EFORMAT, __FILE__, __LINE__, files[k]))
        CHECK_SAY(": taken when cut to %zu bytes\n", n);
      free(copy);
    }
    ml_in_close(&file);
  }
}

static void test_changed_anywhere(void) {
  ml_error err;
  ml_memory_set_limit((uint64_t)1 << 30);
  static const unsigned char masks[] = {0x01, 0x80, 0xff, 0x10, 0x02};
  for (int k = 0; k < FILES; k++) {
    ml_in_file file;
    CHECK_OK(ml_in_open(&file, golden(files[k]), &err), &err);
    unsigned char *copy = copy_of(file.data, file.bytes);
    uint32_t state = 1;
    for (size_t i = 0; i < file.bytes; i++) {
      for (size_t m = 0; m < sizeof masks; m++) {
        copy[i] ^= masks[m];
        (void)!parse(copy, file.bytes, &err);
        copy[i] = file.data[i];
      }
      copy[i] = '9'; /* in headers: other sizes */
      (void)!parse(copy, file.bytes, &err);
      copy[i] = file.data[i];
      size_t places[4]; /* four random bytes at once */
      for (int j = 0; j < 4; j++) {
        state = state * 1664525 + 1013904223;
        places[j] = (state >> 8) % file.bytes;
        copy[places[j]] = (unsigned char)(state >> 24);
      }
      (void)!parse(copy, file.bytes, &err);
      for (int j = 0; j < 4; j++)
        copy[places[j]] = file.data[places[j]];
    }
    CHECK_OK(parse(copy, file.bytes, &err), &err);
    free(copy);
    ml_in_close(&file);
  }
  ml_memory_set_limit(0);
}

/* Checksums: a changed byte of an array in an archive is always seen. */
static void test_archives_notice_changed_data(void) {
  ml_error err;
  ml_in_file file;
  CHECK_OK(ml_in_open(&file, golden("stored.npz"), &err), &err);
  unsigned char *copy = copy_of(file.data, file.bytes);
  copy[130 + 40] ^= 1; /* in the data of the first member */
  CHECK_FAIL(parse(copy, file.bytes, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "checksum");
  CHECK_HAS(err.message, "'file', 'w'");
  free(copy);
  ml_in_close(&file);
}

static ml_status parse_safetensors(const char *header, size_t data, ml_error *err) {
  size_t n = strlen(header);
  unsigned char *file = calloc(1, 8 + n + data);
  for (int i = 0; i < 8; i++)
    file[i] = (unsigned char)((uint64_t)n >> 8 * i);
  memcpy(file + 8, header, n);
  ml_status status = parse(file, 8 + n + data, err);
  free(file);
  return status;
}

static void test_safetensors_headers(void) {
  ml_error err;
  CHECK_OK(parse_safetensors("{}", 0, &err), &err);
  CHECK_OK(parse_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}  ", 3,
                             &err),
           &err);
  static const struct {
    const char *header;
    size_t data;
    const char *says;
  } bad[] = {
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 2, "truncated"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 4,
       "1 bytes after the last tensor"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]}}", 4, "after a hole"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
       "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
       4, "inside another tensor's"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
       "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
       3, "inside another tensor's"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
       "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,6]}}",
       6, "duplicate"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3,
       "[3] does not take the 3 bytes"},
      {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, "dtype F8_E4M3"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,3]}}", 3, "natural number"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3.0],\"data_offsets\":[0,3]}}", 3, "natural number"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,0]}}", 3, "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0]}}", 3, "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3],\"more\":1}}", 3,
       "data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
       "does not take"},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,16]}}", 16,
       "does not take"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
       "rank 9, at most 8"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,3]}}", 3,
       "bad header"},
      {"{\"a\":[]}", 0, "data_offsets"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "object of strings"},
      {"{\"__metadata__\":[]}", 0, "object of strings"},
      {"{\"a\"}", 0, "bad header"},
      {"{\"a\xff\":1}", 0, "bad header"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    CHECK_FAIL(parse_safetensors(bad[k].header, bad[k].data, &err), ML_EFORMAT);
    CHECK_HAS(err.message, bad[k].says);
  }
  CHECK_OK(
      parse_safetensors(
          "{\"a\":{\"dtype\":\"F64\",\"shape\":[0,4294967296],\"data_offsets\":[0,0]}}", 0, &err),
      &err);
  size_t deep = 200000; /* nesting does not reach the stack */
  char *text = malloc(deep + 1);
  memset(text, '[', deep);
  memcpy(text, "{\"a\":", 5);
  text[deep] = 0;
  CHECK_FAIL(parse_safetensors(text, 0, &err), ML_EFORMAT);
  free(text);
}

static void test_a_header_larger_than_allowed(void) {
  size_t n = (size_t)100 * 1000 * 1000 + 1, bytes = n + 8;
  unsigned char *file = calloc(1, bytes);
  for (int i = 0; i < 8; i++)
    file[i] = (unsigned char)((uint64_t)n >> 8 * i);
  file[8] = '{';
  ml_error err;
  CHECK_FAIL(parse(file, bytes, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "at most 100 MB");
  free(file);
}

static ml_status parse_npy(const char *header, size_t data, ml_error *err) {
  size_t n = strlen(header);
  unsigned char *file = calloc(1, 10 + n + data);
  memcpy(file, "\x93NUMPY\1\0", 8);
  file[8] = (unsigned char)n;
  file[9] = (unsigned char)(n >> 8);
  memcpy(file + 10, header, n);
  ml_status status = parse(file, 10 + n + data, err);
  free(file);
  return status;
}

static void test_npy_headers(void) {
  ml_error err;
  CHECK_OK(parse_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n", 16, &err),
           &err);
  CHECK_OK(parse_npy("{\"shape\":(2L,),\"descr\":\"=f8\",\"fortran_order\":True}", 16, &err), &err);
  CHECK_OK(
      parse_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999), }", 0, &err),
      &err);
  static const struct {
    const char *header;
    size_t data;
    const char *says;
  } bad[] = {
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", 15, "wants more bytes"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", 17, "wants fewer bytes"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0,
       "wants more bytes"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", 0,
       "npy header"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", 8, "npy header"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 8,
       "at most 8 sizes"},
      {"{'descr': '<f8', 'fortran_order': False, }", 8, "npy header"},
      {"{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", 8,
       "npy header"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}", 8, "npy header"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} x", 8, "npy header"},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, "npy dtype '|O'"},
      {"{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }", 16, "npy dtype '<c16'"},
      {"{'descr': '|f8', 'fortran_order': False, 'shape': (1,), }", 8, "npy dtype"},
      {"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", 8, "one type"},
      {"", 0, "npy header"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    CHECK_FAIL(parse_npy(bad[k].header, bad[k].data, &err), ML_EFORMAT);
    CHECK_HAS(err.message, bad[k].says);
  }
  CHECK_FAIL(parse((const unsigned char *)"\x93NUMPY\4\0\0\0", 10, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "version 4");
  CHECK_FAIL(parse((const unsigned char *)"what is this?", 13, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "neither safetensors nor npy, npz or IDX");
  CHECK_FAIL(parse((const unsigned char *)"", 0, &err), ML_EFORMAT);
}

/* A small archive that claims a large array, truly deflated: refused by the limit, not by the
 * system. */
static void test_zip_bomb(void) {
  enum { SIZE = 64 << 20 };
  unsigned char *zeros = calloc(1, SIZE);
  char *header = (char *)zeros;
  int n = snprintf(header + 10, 200, "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }",
                   SIZE - 128);
  memset(header + 10 + n, ' ', (size_t)(128 - 10 - n));
  memcpy(header, "\x93NUMPY\1\0\x76\0", 10);
  uLong bound = compressBound(SIZE);
  unsigned char *file = calloc(1, bound + 1000), *p = file + 35;
  z_stream z = {0};
  CHECK_EQ(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = zeros;
  z.avail_in = SIZE;
  z.next_out = p;
  z.avail_out = (unsigned)bound;
  CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  uint32_t packed = (uint32_t)z.total_out, crc = ml_crc32(0, zeros, SIZE);
  deflateEnd(&z);
  memcpy(file, "PK\3\4\x14\0\0\0\x08\0", 10);
  uint32_t sizes[] = {crc, packed, SIZE};
  memcpy(file + 14, sizes, 12);
  file[26] = 5;
  memcpy(file + 30, "x.npy", 5);
  p += packed;
  size_t start = (size_t)(p - file);
  memcpy(p, "PK\1\2\x14\0\x14\0\0\0\x08\0", 12);
  memcpy(p + 16, sizes, 12);
  p[28] = 5;
  memcpy(p + 46, "x.npy", 5);
  p += 51;
  memcpy(p, "PK\5\6\0\0\0\0\1\0\1\0\x33", 13);
  uint32_t at = (uint32_t)start;
  memcpy(p + 16, &at, 4);
  p += 22;
  size_t bytes = (size_t)(p - file);
  ml_error err;
  CHECK_OK(parse(file, bytes, &err), &err);
  ml_cache_trim();
  ml_memory_info info;
  ml_memory(&info);
  ml_memory_set_limit(info.live + (32 << 20));
  ml_memory_reset_peak();
  CHECK_FAIL(parse(file, bytes, &err), ML_ENOMEM);
  CHECK_HAS(err.message, "64.0 MiB");
  uint64_t live = info.live;
  ml_memory(&info);
  CHECK(info.peak < live + (1 << 20));
  ml_memory_set_limit(0);
  uint32_t lie = 0x7fffffff; /* larger than deflate can grow */
  memcpy(file + start + 24, &lie, 4);
  CHECK_FAIL(parse(file, bytes, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "cannot come from");
  lie = SIZE - 1; /* shorter than what comes out */
  memcpy(file + start + 24, &lie, 4);
  CHECK_FAIL(parse(file, bytes, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "bad deflate data");
  free(file);
  free(zeros);
}

static void test_interrupted(void) {
  ml_error err;
  ml_tensor t = {0};
  ml_cancel();
  CHECK_FAIL(ml_idx_load(&t, golden("images.idx.gz"), ML_AS_STORED, &err), ML_ECANCELLED);
  ml_tensor_file f;
  CHECK_FAIL(ml_npz_load(&f, golden("deflated.npz"), ML_AS_STORED, &err), ML_ECANCELLED);
  CHECK(ml_tensor_empty(&t));
  ml_cancel_clear();
}

CHECK_MAIN(test_truncated_anywhere, test_changed_anywhere, test_archives_notice_changed_data,
           test_safetensors_headers, test_a_header_larger_than_allowed, test_npy_headers,
           test_zip_bomb, test_interrupted)
