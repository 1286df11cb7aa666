/* gzip as a stream, and text files read through it. */
#include "source.h"

#include <zlib.h>

struct ml_io_gzip {
  z_stream z;
  const ml_io_source *s;
  size_t left; /* bytes of the source that zlib has not been given */
  bool ended;
};

/* No deflate stream grows by more: a declared size beyond it is a lie. */
#define DEFLATE_GROWTH 1032

bool ml_io_is_gzip(const ml_io_source *s) {
  return s->bytes >= 2 && s->data[0] == 0x1f && s->data[1] == 0x8b;
}

ml_status ml_io_gzip_open(ml_io_gzip **gz, const ml_io_source *s, ml_error *err) {
  *gz = NULL;
  ml_io_gzip *g = ml_alloc(sizeof *g);
  if (!g)
    return ml_io_no_memory(s, err, sizeof *g);
  g->s = s;
  g->left = s->bytes;
  g->z.next_in = (unsigned char *)(uintptr_t)s->data;
  if (inflateInit2(&g->z, 16 + MAX_WBITS) != Z_OK) {
    ml_free(g);
    return ml_io_no_memory(s, err, 1 << 16);
  }
  *gz = g;
  return ML_OK;
}

void ml_io_gzip_close(ml_io_gzip *gz) {
  if (!gz)
    return;
  inflateEnd(&gz->z);
  ml_free(gz);
}

ml_status ml_io_gzip_read(ml_io_gzip *gz, void *data, size_t n, size_t *got, ml_error *err) {
  z_stream *z = &gz->z;
  size_t done = 0;
  *got = 0;
  while (done < n && !gz->ended) {
    ML_POLL(err);
    if (!z->avail_in) {
      z->avail_in = gz->left < 1 << 20 ? (unsigned)gz->left : 1 << 20;
      gz->left -= z->avail_in;
    }
    unsigned want = n - done < 1 << 24 ? (unsigned)(n - done) : 1 << 24;
    z->next_out = (unsigned char *)data + done;
    z->avail_out = want;
    int code = inflate(z, Z_NO_FLUSH);
    done += want - z->avail_out;
    if (code == Z_STREAM_END) {
      if (!z->avail_in && !gz->left)
        gz->ended = true;
      else if (inflateReset(z) != Z_OK) /* another member follows */
        return ml_io_malformed(gz->s, err, "bad gzip data");
    } else if (code == Z_MEM_ERROR) {
      return ml_io_no_memory(gz->s, err, 1 << 16);
    } else if (code == Z_BUF_ERROR || (code == Z_OK && z->avail_out && !z->avail_in && !gz->left)) {
      return ml_io_malformed(gz->s, err, "gzip data ends too early: truncated?");
    } else if (code != Z_OK) {
      return ml_io_malformed(gz->s, err, "bad gzip data: %.80s",
                             z->msg ? z->msg : "not a gzip stream");
    }
  }
  *got = done;
  return ML_OK;
}

/* ---- text ------------------------------------------------------------------------------------ */

static ml_status unpack(ml_text *out, const ml_io_source *s, ml_error *err) {
  ml_io_gzip *gz;
  ML_TRY(ml_io_gzip_open(&gz, s, err));
  uint64_t capacity = 4 * (uint64_t)s->bytes + 4096, used = 0,
           most = DEFLATE_GROWTH * (uint64_t)s->bytes + 4096;
  char *block = NULL;
  ml_status status = ML_OK;
  for (bool more = true; more && !status;) {
    char *larger = ml_io_fits(capacity) ? ml_block_new((size_t)capacity) : NULL;
    if (larger && used)
      memcpy(larger, block, (size_t)used);
    ml_block_free(block);
    block = larger;
    if (!block) {
      status = ml_io_no_memory(s, err, capacity);
      break;
    }
    size_t room = (size_t)(capacity - used - 1), got;
    status = ml_io_gzip_read(gz, block + used, room, &got, err);
    used += got;
    more = got == room;
    capacity = 2 * capacity < most || capacity >= most ? 2 * capacity : most;
  }
  ml_io_gzip_close(gz);
  if (status) {
    ml_block_free(block);
    return status;
  }
  block[used] = 0;
  *out = (ml_text){block, (size_t)used, block};
  return ML_OK;
}

static ml_status copy(ml_text *out, const ml_io_source *s, ml_error *err) {
  char *block = ml_block_new(s->bytes + 1);
  if (!block)
    return ml_io_no_memory(s, err, s->bytes + 1);
  memcpy(block, s->data, s->bytes);
  block[s->bytes] = 0;
  *out = (ml_text){block, s->bytes, block};
  return ML_OK;
}

ml_status ml_text_load(ml_text *out, const char *path, ml_error *err) {
  *out = (ml_text){0};
  ml_in_file file;
  ML_TRY(ml_in_open(&file, path, err));
  ml_io_source s = {file.data, file.bytes, path, NULL, ML_AS_STORED};
  ml_status status = ml_io_is_gzip(&s) ? unpack(out, &s, err) : copy(out, &s, err);
  ml_in_close(&file);
  if (!status && out->bytes >= 3 && !memcmp(out->text, "\xef\xbb\xbf", 3)) {
    out->text += 3;
    out->bytes -= 3;
  }
  return status;
}

void ml_text_clear(ml_text *text) {
  ml_block_free(text->block);
  *text = (ml_text){0};
}
