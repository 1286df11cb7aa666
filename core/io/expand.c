/* Compressed bytes in memory: gzip, zlib and xz, told apart by their first bytes. */
#include "source.h"

#include <lzma.h>
#include <zlib.h>

/* Grows *block by half, keeping `used` bytes. */
static ml_status grow(char **block, size_t *capacity, size_t used, const ml_io_source *s,
                      ml_error *err) {
  const size_t want = *capacity + *capacity / 2 + 65536;
  char *larger = ml_io_fits(want) ? ml_block_new(want) : NULL;
  if (!larger)
    return ml_io_no_memory(s, err, want);
  if (used)
    memcpy(larger, *block, used);
  ml_block_free(*block);
  *block = larger;
  *capacity = want;
  return ML_OK;
}

static ml_status undo_xz(char **block, size_t *used, size_t *capacity, const ml_io_source *s,
                         ml_error *err) {
  lzma_stream z = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&z, (uint64_t)256 << 20, 0) != LZMA_OK)
    return ml_io_no_memory(s, err, 1 << 16);
  z.next_in = s->data;
  z.avail_in = s->bytes;
  ml_status status = ML_OK;
  lzma_ret code = LZMA_OK;
  while (code != LZMA_STREAM_END && !status) {
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    else if (*used == *capacity)
      status = grow(block, capacity, *used, s, err);
    if (status)
      break;
    z.next_out = (uint8_t *)*block + *used;
    z.avail_out = *capacity - *used < 1 << 20 ? *capacity - *used : 1 << 20;
    const size_t room = z.avail_out;
    code = lzma_code(&z, LZMA_FINISH);
    *used += room - z.avail_out;
    if (code == LZMA_MEM_ERROR || code == LZMA_MEMLIMIT_ERROR)
      status = ml_io_no_memory(s, err, (uint64_t)256 << 20);
    else if (code == LZMA_BUF_ERROR)
      status = ml_io_malformed(s, err, "xz data ends too early: truncated?");
    else if (code != LZMA_OK && code != LZMA_STREAM_END)
      status = ml_io_malformed(s, err, "bad xz data");
  }
  lzma_end(&z);
  return status;
}

static ml_status undo_zlib(char **block, size_t *used, size_t *capacity, const ml_io_source *s,
                           ml_error *err) {
  z_stream z = {0};
  if (inflateInit2(&z, 32 + MAX_WBITS) != Z_OK) /* zlib or gzip */
    return ml_io_no_memory(s, err, 1 << 16);
  z.next_in = (unsigned char *)(uintptr_t)s->data;
  size_t left = s->bytes;
  ml_status status = ML_OK;
  int code = Z_OK;
  while (code != Z_STREAM_END && !status) {
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    else if (*used == *capacity)
      status = grow(block, capacity, *used, s, err);
    if (status)
      break;
    if (!z.avail_in) {
      z.avail_in = left < 1 << 20 ? (unsigned)left : 1 << 20;
      left -= z.avail_in;
    }
    z.next_out = (unsigned char *)*block + *used;
    z.avail_out = *capacity - *used < 1 << 20 ? (unsigned)(*capacity - *used) : 1 << 20;
    const size_t room = z.avail_out;
    code = inflate(&z, Z_NO_FLUSH);
    *used += room - z.avail_out;
    if (code == Z_MEM_ERROR)
      status = ml_io_no_memory(s, err, 1 << 16);
    else if (code == Z_BUF_ERROR || (code == Z_OK && z.avail_out && !z.avail_in && !left))
      status = ml_io_malformed(s, err, "compressed data ends too early: truncated?");
    else if (code != Z_OK && code != Z_STREAM_END)
      status = ml_io_malformed(s, err, "bad zlib data");
  }
  inflateEnd(&z);
  return status;
}

ml_status ml_bytes_expand(ml_text *out, const void *data, size_t bytes, const char *name,
                          ml_error *err) {
  *out = (ml_text){0};
  const ml_io_source s = {data, bytes, name, NULL, ML_AS_STORED};
  const unsigned char *p = s.data;
  const bool xz = bytes >= 6 && !memcmp(p,
                                        "\xFD"
                                        "7zXZ",
                                        6);
  const bool zlib =
      ml_io_is_gzip(&s) || (bytes >= 2 && (p[0] & 15) == 8 && (p[0] * 256 + p[1]) % 31 == 0);
  char *block = NULL;
  size_t used = 0, capacity = 0;
  ml_status status = ML_OK;
  if (bytes >= 3 && !memcmp(p, "BZh", 3))
    return ml_io_malformed(&s, err, "bzip2 data, wanted gzip, zlib, xz or none");
  if (xz || zlib) {
    status = xz ? undo_xz(&block, &used, &capacity, &s, err)
                : undo_zlib(&block, &used, &capacity, &s, err);
  } else {
    block = ml_block_new(bytes + 1);
    if (!block)
      return ml_io_no_memory(&s, err, bytes);
    memcpy(block, data, bytes);
    used = bytes;
  }
  if (status) {
    ml_block_free(block);
    return status;
  }
  *out = (ml_text){block, used, block};
  return ML_OK;
}
