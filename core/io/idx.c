/* IDX, the format of MNIST: two zeros, a type, a rank, big-endian sizes, the array; often under
 * gzip. */
#include "source.h"

static bool type_of(ml_io_type *type, int code) {
  switch (code) {
  case 0x08:
    *type = ML_IO_U8;
    return true;
  case 0x09:
    *type = ML_IO_I8;
    return true;
  case 0x0b:
    *type = ML_IO_I16;
    return true;
  case 0x0c:
    *type = ML_IO_I32;
    return true;
  case 0x0d:
    *type = ML_IO_F32;
    return true;
  case 0x0e:
    *type = ML_IO_F64;
    return true;
  default:
    return false;
  }
}

typedef struct {
  ml_io_type type;
  ml_shape shape;
  uint64_t bytes;
} header;

/* The first four bytes. */
static ml_status check_magic(header *h, const unsigned char *p, const ml_io_source *s,
                             ml_error *err) {
  if (p[0] || p[1] || !type_of(&h->type, p[2]))
    return ml_io_malformed(s, err, "not an IDX file: magic %02x%02x%02x%02x", p[0], p[1], p[2],
                           p[3]);
  if (p[3] > ML_MAX_RANK)
    return ml_io_malformed(s, err, "rank %d, at most %d", p[3], ML_MAX_RANK);
  h->shape.rank = p[3];
  return ML_OK;
}

static ml_status check_sizes(header *h, const unsigned char *p, const ml_io_source *s,
                             ml_error *err) {
  for (int k = 0; k < h->shape.rank; k++)
    h->shape.size[k] = ml_io_be32(p + 4 * k);
  if (!ml_io_array_bytes(&h->bytes, h->type, &h->shape))
    return ml_io_malformed(s, err, "has more elements than memory can hold");
  return ML_OK;
}

static ml_status finish(ml_tensor *out, const header *h, const unsigned char *data,
                        const ml_io_source *s, ml_error *err) {
  bool labels = h->shape.rank == 1 && h->type != ML_IO_F32 && h->type != ML_IO_F64;
  const uint16_t one = 1;
  bool little = *(const unsigned char *)&one == 1;
  return ml_io_tensor(out, h->type, little, labels, &h->shape, data, s, err);
}

static ml_status parse_plain(ml_tensor *out, const ml_io_source *s, ml_error *err) {
  header h;
  if (s->bytes < 4)
    return ml_io_malformed(s, err, "not an IDX file: %zu bytes", s->bytes);
  ML_TRY(check_magic(&h, s->data, s, err));
  size_t start = 4 + 4 * (size_t)h.shape.rank;
  if (s->bytes < start)
    return ml_io_malformed(s, err, "truncated in the header");
  ML_TRY(check_sizes(&h, s->data + 4, s, err));
  if (h.bytes != s->bytes - start)
    return ml_io_malformed(s, err, "%llu bytes of data wanted, the file has %zu",
                           (unsigned long long)h.bytes, s->bytes - start);
  return finish(out, &h, s->data + start, s, err);
}

static ml_status read_exactly(ml_io_gzip *gz, void *data, size_t n, const ml_io_source *s,
                              ml_error *err) {
  size_t got;
  ML_TRY(ml_io_gzip_read(gz, data, n, &got, err));
  return got == n ? ML_OK : ml_io_malformed(s, err, "fewer bytes of data than its sizes want");
}

static ml_status parse_packed(ml_tensor *out, ml_io_gzip *gz, const ml_io_source *s,
                              ml_error *err) {
  header h;
  unsigned char start[4 + 4 * ML_MAX_RANK], over;
  ML_TRY(read_exactly(gz, start, 4, s, err));
  ML_TRY(check_magic(&h, start, s, err));
  ML_TRY(read_exactly(gz, start + 4, 4 * (size_t)h.shape.rank, s, err));
  ML_TRY(check_sizes(&h, start + 4, s, err));
  if (h.bytes / 1032 > s->bytes)
    return ml_io_malformed(s, err, "%llu bytes of data cannot come from %zu of gzip",
                           (unsigned long long)h.bytes, s->bytes);
  unsigned char *data = ml_io_fits(h.bytes) ? ml_block_new((size_t)h.bytes) : NULL;
  if (!data)
    return ml_io_no_memory(s, err, h.bytes);
  ml_status status = read_exactly(gz, data, (size_t)h.bytes, s, err);
  size_t got = 0;
  if (!status)
    status = ml_io_gzip_read(gz, &over, 1, &got, err); /* to the end, where the checksum is */
  if (!status && got)
    status = ml_io_malformed(s, err, "more bytes of data than its sizes want");
  if (!status)
    status = finish(out, &h, data, s, err);
  ml_block_free(data);
  return status;
}

ml_status ml_io_parse_idx(ml_tensor *out, const ml_io_source *s, ml_error *err) {
  if (!ml_io_is_gzip(s))
    return parse_plain(out, s, err);
  ml_io_gzip *gz;
  ML_TRY(ml_io_gzip_open(&gz, s, err));
  ml_status status = parse_packed(out, gz, s, err);
  ml_io_gzip_close(gz);
  return status;
}
