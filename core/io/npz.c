/* npz: a zip archive whose members are npy files.
 * Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 (records), 4.5.3 (zip64). */
#include "source.h"

#include <stdlib.h>
#include <zlib.h>

enum {
  LOCAL = 0x04034b50,
  CENTRAL = 0x02014b50,
  END = 0x06054b50,
  END64 = 0x06064b50,
  LOCATOR64 = 0x07064b50,
  LOCAL_BYTES = 30,
  CENTRAL_BYTES = 46,
  END_BYTES = 22,
  END64_BYTES = 56,
  LOCATOR64_BYTES = 20,
  COMMENT_MAX = 65535,
  NAME_MAX_BYTES = 60000
};
#define FULL32 UINT64_C(0xffffffff)
#define PIECE ((size_t)1 << 24)

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
  uint64_t at, bytes, members; /* of the central directory */
} directory;

typedef struct {
  const char *name;
  size_t name_bytes; /* without ".npy" */
  int method;
  uint32_t crc;
  uint64_t packed, bytes, local;
  const unsigned char *data;
} member;

static ml_status find_directory(directory *d, const ml_io_source *s, ml_error *err) {
  if (s->bytes < END_BYTES)
    return ml_io_malformed(s, err, "not a zip archive: %zu bytes", s->bytes);
  size_t at = s->bytes - END_BYTES, least = at > COMMENT_MAX ? at - COMMENT_MAX : 0;
  while (ml_io_le(s->data + at, 4) != END ||
         ml_io_le(s->data + at + 20, 2) != s->bytes - at - END_BYTES)
    if (at-- == least)
      return ml_io_malformed(s, err, "no end of a zip archive: truncated?");
  const unsigned char *end = s->data + at;
  *d = (directory){ml_io_le(end + 16, 4), ml_io_le(end + 12, 4), ml_io_le(end + 10, 2)};
  uint64_t stop = at;
  if (at >= LOCATOR64_BYTES && ml_io_le(end - LOCATOR64_BYTES, 4) == LOCATOR64) {
    uint64_t at64 = ml_io_le(end - LOCATOR64_BYTES + 8, 8);
    if (at < LOCATOR64_BYTES + END64_BYTES || at64 > at - LOCATOR64_BYTES - END64_BYTES ||
        ml_io_le(s->data + at64, 4) != END64)
      return ml_io_malformed(s, err, "bad zip64 end record");
    const unsigned char *end64 = s->data + at64;
    *d = (directory){ml_io_le(end64 + 48, 8), ml_io_le(end64 + 40, 8), ml_io_le(end64 + 32, 8)};
    stop = at64;
  }
  if (d->at > stop || d->bytes > stop - d->at || d->members > d->bytes / CENTRAL_BYTES)
    return ml_io_malformed(s, err, "the zip directory does not fit the file");
  return ML_OK;
}

/* The 64-bit values of the zip64 extra field stand for those that are all ones, in this order. */
static bool widen(uint64_t *value, const unsigned char **extra, size_t *left) {
  if (*value != FULL32)
    return true;
  if (*left < 8)
    return false;
  *value = ml_io_le(*extra, 8);
  *extra += 8;
  *left -= 8;
  return true;
}

static void find_extra(const unsigned char **extra, size_t *bytes) {
  const unsigned char *p = *extra;
  size_t left = *bytes;
  while (left >= 4) {
    size_t n = ml_io_le(p + 2, 2);
    if (n > left - 4)
      break;
    if (ml_io_le(p, 2) == 1) {
      *extra = p + 4;
      *bytes = n;
      return;
    }
    p += 4 + n;
    left -= 4 + n;
  }
  *bytes = 0;
}

static ml_status read_member(member *m, const directory *d, const unsigned char *p, size_t left,
                             size_t *taken, const ml_io_source *s, ml_error *err) {
  if (left < CENTRAL_BYTES || ml_io_le(p, 4) != CENTRAL)
    return ml_io_malformed(s, err, "bad entry in the zip directory");
  size_t name = ml_io_le(p + 28, 2), extra = ml_io_le(p + 30, 2), comment = ml_io_le(p + 32, 2);
  if (name + extra + comment > left - CENTRAL_BYTES)
    return ml_io_malformed(s, err, "bad entry in the zip directory");
  *taken = CENTRAL_BYTES + name + extra + comment;
  unsigned flags = (unsigned)ml_io_le(p + 8, 2);
  m->method = (int)ml_io_le(p + 10, 2);
  m->crc = (uint32_t)ml_io_le(p + 16, 4);
  m->packed = ml_io_le(p + 20, 4);
  m->bytes = ml_io_le(p + 24, 4);
  m->local = ml_io_le(p + 42, 4);
  m->name = (const char *)p + CENTRAL_BYTES;
  m->name_bytes = name;
  const unsigned char *wide = p + CENTRAL_BYTES + name;
  find_extra(&wide, &extra);
  if (!widen(&m->bytes, &wide, &extra) || !widen(&m->packed, &wide, &extra) ||
      !widen(&m->local, &wide, &extra))
    return ml_io_malformed(s, err, "bad zip64 sizes in the zip directory");
  if (name < 4 || memcmp(m->name + name - 4, ".npy", 4) || memchr(m->name, 0, name))
    return ml_io_malformed(s, err, "the member '%.*s' is not an .npy file",
                           (int)(name < 60 ? name : 60), m->name);
  m->name_bytes -= 4;
  if (flags & 1)
    return ml_io_malformed(s, err, "the archive is encrypted");
  if (m->method != 0 && m->method != 8)
    return ml_io_malformed(s, err, "zip method %d; known are stored (0) and deflated (8)",
                           m->method);
  if (m->method == 0 ? m->bytes != m->packed : m->bytes / 1032 > m->packed)
    return ml_io_malformed(s, err, "a member of %llu bytes cannot come from %llu in the archive",
                           (unsigned long long)m->bytes, (unsigned long long)m->packed);
  if (m->local > d->at || d->at - m->local < LOCAL_BYTES ||
      ml_io_le(s->data + m->local, 4) != LOCAL)
    return ml_io_malformed(s, err, "a member does not start where the zip directory says");
  const unsigned char *head = s->data + m->local;
  uint64_t skip = LOCAL_BYTES + ml_io_le(head + 26, 2) + ml_io_le(head + 28, 2);
  if (skip > d->at - m->local || m->packed > d->at - m->local - skip)
    return ml_io_malformed(s, err, "a member reaches over the zip directory");
  if (ml_io_le(head + 26, 2) != name || memcmp(head + LOCAL_BYTES, m->name, name))
    return ml_io_malformed(s, err, "a member has two different names");
  m->data = head + skip;
  return ML_OK;
}

static ml_status check_crc(const unsigned char *data, size_t bytes, uint32_t want,
                           const ml_io_source *s, ml_error *err) {
  uint32_t crc = 0;
  for (size_t at = 0; at < bytes; at += PIECE) {
    ML_POLL(err);
    crc = ml_crc32(crc, data + at, bytes - at < PIECE ? bytes - at : PIECE);
  }
  return crc == want
             ? ML_OK
             : ml_io_malformed(s, err, "checksum is %08x, the archive says %08x", crc, want);
}

static ml_status inflate_member(unsigned char *out, const member *m, const ml_io_source *s,
                                ml_error *err) {
  z_stream z = {0};
  if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
    return ml_io_no_memory(s, err, 1 << 16);
  uint64_t read = 0, written = 0;
  int code = Z_OK;
  ml_status status = ML_OK;
  unsigned char over; /* one byte beyond, so that a longer stream is seen */
  while (code == Z_OK && !status) {
    size_t in = m->packed - read < PIECE ? (size_t)(m->packed - read) : PIECE;
    size_t room = m->bytes - written < PIECE ? (size_t)(m->bytes - written) : PIECE;
    z.next_in = (unsigned char *)(uintptr_t)m->data + read;
    z.avail_in = (unsigned)in;
    z.next_out = room ? out + written : &over;
    z.avail_out = room ? (unsigned)room : 1;
    code = inflate(&z, Z_NO_FLUSH);
    read += in - z.avail_in;
    if (!room && z.avail_out == 0)
      code = Z_DATA_ERROR;
    written += room ? room - z.avail_out : 0;
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  }
  inflateEnd(&z);
  if (!status && code == Z_MEM_ERROR)
    status = ml_io_no_memory(s, err, 1 << 16);
  if (!status && (code != Z_STREAM_END || written != m->bytes || read != m->packed))
    status = ml_io_malformed(s, err, "bad deflate data");
  return status;
}

static ml_status load_member(ml_tensor *out, const member *m, const ml_io_source *s,
                             ml_error *err) {
  ml_io_source inner = *s;
  inner.data = m->data;
  inner.bytes = (size_t)m->bytes;
  if (m->method == 0) {
    ML_TRY(check_crc(m->data, (size_t)m->bytes, m->crc, s, err));
    return ml_io_parse_npy(out, &inner, err);
  }
  unsigned char *data = ml_io_fits(m->bytes) ? ml_block_new((size_t)m->bytes) : NULL;
  if (!data)
    return ml_io_no_memory(s, err, m->bytes);
  inner.data = data;
  ml_status status = inflate_member(data, m, s, err);
  if (!status)
    status = check_crc(data, (size_t)m->bytes, m->crc, s, err);
  if (!status)
    status = ml_io_parse_npy(out, &inner, err);
  ml_block_free(data);
  return status;
}

static int by_name(const void *a, const void *b) {
  const member *x = *(member *const *)a, *y = *(member *const *)b;
  size_t n = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
  int order = memcmp(x->name, y->name, n);
  return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static int by_place(const void *a, const void *b) {
  const member *x = *(member *const *)a, *y = *(member *const *)b;
  return (x->local > y->local) - (x->local < y->local);
}

/* Two names alike, or two members in the same bytes (as in a bomb that counts one stream many
 * times). */
static ml_status check_distinct(member **order, const member *members, int n, const ml_io_source *s,
                                ml_error *err) {
  for (int i = 0; i < n; i++)
    order[i] = (member *)(uintptr_t)&members[i];
  qsort(order, (size_t)n, sizeof *order, by_name);
  for (int i = 1; i < n; i++)
    if (!by_name(&order[i - 1], &order[i]))
      return ml_io_malformed(s, err, "two members are named '%.*s'",
                             (int)(order[i]->name_bytes < 60 ? order[i]->name_bytes : 60),
                             order[i]->name);
  qsort(order, (size_t)n, sizeof *order, by_place);
  for (int i = 1; i < n; i++)
    if (order[i - 1]->data + order[i - 1]->packed > s->data + order[i]->local)
      return ml_io_malformed(s, err, "two members overlap");
  return ML_OK;
}

static ml_status read_all(ml_tensor_file *out, member *members, member **order, const directory *d,
                          const ml_io_source *s, ml_error *err) {
  int n = (int)d->members;
  uint64_t at = 0;
  for (int i = 0; i < n; i++) {
    size_t taken;
    ML_TRY(
        read_member(&members[i], d, s->data + d->at + at, (size_t)(d->bytes - at), &taken, s, err));
    at += taken;
  }
  if (at != d->bytes)
    return ml_io_malformed(s, err, "the zip directory has another length than it says");
  ML_TRY(check_distinct(order, members, n, s, err));
  ML_TRY(ml_io_reserve(out, n, s, err));
  for (int i = 0; i < n; i++) {
    const member *m = &members[i];
    out->n = i + 1;
    if (!(out->items[i].name = ml_io_copy_text(m->name, m->name_bytes)))
      return ml_io_no_memory(s, err, m->name_bytes);
    ml_io_source inner = *s;
    inner.member = out->items[i].name;
    ML_TRY(load_member(&out->items[i].tensor, m, &inner, err));
  }
  return ML_OK;
}

ml_status ml_io_parse_npz(ml_tensor_file *out, const ml_io_source *s, ml_error *err) {
  directory d;
  ML_TRY(find_directory(&d, s, err));
  if (d.members > 1 << 24)
    return ml_io_malformed(s, err, "%llu members", (unsigned long long)d.members);
  size_t n = (size_t)d.members;
  if (!ml_io_fits(n * (sizeof(member) + sizeof(member *))))
    return ml_io_no_memory(s, err, n * sizeof(member));
  member *members = ml_alloc(n * sizeof *members), **order = ml_alloc(n * sizeof *order);
  ml_status status;
  if (members && order)
    status = read_all(out, members, order, &d, s, err);
  else
    status = ml_io_no_memory(s, err, n * sizeof(member));
  ml_free(members);
  ml_free(order);
  return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
  uint64_t at, bytes;
  uint32_t crc;
} place;

static void put_le(unsigned char **p, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++)
    *(*p)++ = (unsigned char)(value >> 8 * i);
}

/* The fields that local and central headers share, from "version needed" on; 26 bytes. */
static void put_common(unsigned char **p, const place *m, bool wide, size_t name, size_t extra) {
  put_le(p, wide ? 45 : 20, 2);
  put_le(p, 1 << 11, 2); /* names are UTF-8 */
  put_le(p, 0, 2);       /* stored */
  put_le(p, 0, 2);       /* 1980-01-01 00:00: the same tensors give the same bytes */
  put_le(p, 0x21, 2);
  put_le(p, m->crc, 4);
  put_le(p, wide ? FULL32 : m->bytes, 4);
  put_le(p, wide ? FULL32 : m->bytes, 4);
  put_le(p, name, 2);
  put_le(p, extra, 2);
}

static ml_status write_member(ml_out_file *f, place *m, uint64_t *at, const ml_named_tensor *item,
                              ml_error *err) {
  size_t name = strlen(item->name);
  if (name > NAME_MAX_BYTES)
    return ml_fail(err, ML_EARG, 2, "the name '%.60s...' has %zu bytes, at most %d", item->name,
                   name, NAME_MAX_BYTES);
  ml_tensor flat = {0};
  ML_TRY_INNER(ml_tensor_contiguous(&flat, &item->tensor, err), err);
  char npy[ML_IO_NPY_HEADER];
  size_t npy_bytes = ml_io_npy_header(npy, &flat),
         data_bytes = (size_t)ml_numel(&flat) * ml_dtype_size(flat.dtype);
  m->at = *at;
  m->bytes = npy_bytes + data_bytes;
  m->crc = ml_crc32(0, npy, npy_bytes);
  for (size_t done = 0, n; done < data_bytes; done += n) {
    n = data_bytes - done < PIECE ? data_bytes - done : PIECE;
    m->crc = ml_crc32(m->crc, (const char *)ml_data(&flat) + done, n);
    if (done > 0 && ml_cancelled()) {
      ml_tensor_clear(&flat);
      return ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    }
  }
  bool wide = m->bytes >= FULL32;
  unsigned char head[LOCAL_BYTES + 20], *p = head;
  put_le(&p, LOCAL, 4);
  put_common(&p, m, wide, name + 4, wide ? 20 : 0);
  unsigned char extra[20], *q = extra;
  put_le(&q, 1, 2);
  put_le(&q, 16, 2);
  put_le(&q, m->bytes, 8);
  put_le(&q, m->bytes, 8);
  ml_status status = ml_out_write(f, head, (size_t)(p - head), err);
  if (!status)
    status = ml_out_write(f, item->name, name, err);
  if (!status)
    status = ml_out_write(f, ".npy", 4, err);
  if (!status && wide)
    status = ml_out_write(f, extra, sizeof extra, err);
  if (!status)
    status = ml_out_write(f, npy, npy_bytes, err);
  if (!status)
    status = ml_out_write(f, ml_data(&flat), data_bytes, err);
  ml_tensor_clear(&flat);
  *at += LOCAL_BYTES + name + 4 + (wide ? 20 : 0) + m->bytes;
  return status;
}

static ml_status write_entry(ml_out_file *f, const place *m, uint64_t *at, const char *name,
                             ml_error *err) {
  bool wide = m->bytes >= FULL32 || m->at >= FULL32;
  size_t name_bytes = strlen(name), extra = wide ? 28 : 0;
  unsigned char head[CENTRAL_BYTES], *p = head, wider[28], *q = wider;
  put_le(&p, CENTRAL, 4);
  put_le(&p, 45, 2); /* made by: zip 4.5, no particular system */
  put_common(&p, m, wide, name_bytes + 4, extra);
  put_le(&p, 0, 8); /* comment, disk, attributes: 2 + 2 + 2 + 4 bytes */
  put_le(&p, 0, 2);
  put_le(&p, wide ? FULL32 : m->at, 4);
  put_le(&q, 1, 2);
  put_le(&q, 24, 2);
  put_le(&q, m->bytes, 8);
  put_le(&q, m->bytes, 8);
  put_le(&q, m->at, 8);
  ML_TRY(ml_out_write(f, head, sizeof head, err));
  ML_TRY(ml_out_write(f, name, name_bytes, err));
  ML_TRY(ml_out_write(f, ".npy", 4, err));
  ML_TRY(ml_out_write(f, wider, extra, err));
  *at += CENTRAL_BYTES + name_bytes + 4 + extra;
  return ML_OK;
}

static ml_status write_end(ml_out_file *f, uint64_t members, uint64_t start, uint64_t stop,
                           ml_error *err) {
  unsigned char end[END64_BYTES + LOCATOR64_BYTES + END_BYTES], *p = end;
  if (members >= 0xffff || stop >= FULL32) {
    put_le(&p, END64, 4);
    put_le(&p, END64_BYTES - 12, 8);
    put_le(&p, 45, 2);
    put_le(&p, 45, 2);
    put_le(&p, 0, 8); /* disks */
    put_le(&p, members, 8);
    put_le(&p, members, 8);
    put_le(&p, stop - start, 8);
    put_le(&p, start, 8);
    put_le(&p, LOCATOR64, 4);
    put_le(&p, 0, 4);
    put_le(&p, stop, 8);
    put_le(&p, 1, 4);
  }
  put_le(&p, END, 4);
  put_le(&p, 0, 4); /* disks */
  put_le(&p, members < 0xffff ? members : 0xffff, 2);
  put_le(&p, members < 0xffff ? members : 0xffff, 2);
  put_le(&p, stop - start < FULL32 ? stop - start : FULL32, 4);
  put_le(&p, start < FULL32 ? start : FULL32, 4);
  put_le(&p, 0, 2);
  return ml_out_write(f, end, (size_t)(p - end), err);
}

static ml_status write_all(ml_out_file *f, place *places, const ml_named_tensor *items, int n,
                           ml_error *err) {
  uint64_t at = 0;
  for (int i = 0; i < n; i++)
    ML_TRY(write_member(f, &places[i], &at, &items[i], err));
  uint64_t start = at;
  for (int i = 0; i < n; i++)
    ML_TRY(write_entry(f, &places[i], &at, items[i].name, err));
  return write_end(f, (uint64_t)n, start, at, err);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static ml_status check_names(const ml_named_tensor *items, int n, ml_error *err) {
  const char **names = ml_alloc((size_t)n * sizeof *names);
  if (!names)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  for (int i = 0; i < n; i++)
    names[i] = items[i].name;
  qsort(names, (size_t)n, sizeof *names, by_text);
  ml_status status = ML_OK;
  for (int i = 1; i < n && !status; i++)
    if (!strcmp(names[i - 1], names[i]))
      status = ml_fail(err, ML_EARG, 2, "the name '%.60s' is given twice", names[i]);
  for (int i = 0; i < n && !status; i++)
    if (ml_tensor_empty(&items[i].tensor))
      status = ml_fail(err, ML_ESTATE, 2, "the tensor '%.60s' is released", items[i].name);
  ml_free(names);
  return status;
}

ml_status ml_npz_save(const char *path, const ml_named_tensor *items, int n, ml_error *err) {
  ML_TRY(check_names(items, n, err));
  place *places = ml_alloc((size_t)n * sizeof *places);
  if (!places)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  ml_out_file *f;
  ml_status status = ml_out_open(&f, path, err);
  if (!status) {
    status = write_all(f, places, items, n, err);
    if (status)
      ml_out_discard(f);
    else
      status = ml_out_commit(f, err);
  }
  ml_free(places);
  return status;
}
