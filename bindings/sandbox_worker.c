/* The worker's loop: frames on the standard streams. */
#include "sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

extern char **environ;

enum { FRAME_MOST = 32 << 20, ANSWER_MOST = 64 << 20 };

/* ---- bytes ----------------------------------------------------------------------------------- */

void sandbox_put(sandbox_buffer *b, const void *data, size_t n) {
  if (b->over || n > b->limit - b->n) {
    b->over = true;
    return;
  }
  if (n > b->room - b->n) {
    size_t room = 2 * b->room > b->n + n ? 2 * b->room : b->n + n + 256;
    unsigned char *bigger = realloc(b->data, room);
    if (!bigger) {
      b->over = true;
      return;
    }
    b->data = bigger;
    b->room = room;
  }
  if (n)
    memcpy(b->data + b->n, data, n);
  b->n += n;
}

void sandbox_put_byte(sandbox_buffer *b, int byte) {
  unsigned char one = (unsigned char)byte;
  sandbox_put(b, &one, 1);
}

static void put_number(sandbox_buffer *b, uint64_t value, int bytes) {
  unsigned char out[8];
  for (int i = 0; i < bytes; i++)
    out[i] = (unsigned char)(value >> (8 * i));
  sandbox_put(b, out, (size_t)bytes);
}

void sandbox_put_u32(sandbox_buffer *b, uint32_t value) { put_number(b, value, 4); }
void sandbox_put_u64(sandbox_buffer *b, uint64_t value) { put_number(b, value, 8); }

void sandbox_put_text(sandbox_buffer *b, const char *text, size_t n) {
  if (n > UINT32_MAX) {
    b->over = true;
    return;
  }
  sandbox_put_u32(b, (uint32_t)n);
  sandbox_put(b, text, n);
}

static uint64_t get_number(sandbox_reader *r, int bytes) {
  uint64_t value = 0;
  if (r->bad || r->end - r->at < bytes) {
    r->bad = true;
    return 0;
  }
  for (int i = 0; i < bytes; i++)
    value |= (uint64_t)r->at[i] << (8 * i);
  r->at += bytes;
  return value;
}

uint8_t sandbox_u8(sandbox_reader *r) { return (uint8_t)get_number(r, 1); }
uint32_t sandbox_u32(sandbox_reader *r) { return (uint32_t)get_number(r, 4); }
uint64_t sandbox_u64(sandbox_reader *r) { return get_number(r, 8); }

const char *sandbox_text(sandbox_reader *r, size_t *n) {
  *n = sandbox_u32(r);
  if (r->bad || (size_t)(r->end - r->at) < *n) {
    r->bad = true;
    *n = 0;
    return "";
  }
  const char *text = (const char *)r->at;
  r->at += *n;
  return text;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* All n bytes, or the end of this process: who asked has gone. */
static void read_all(unsigned char *data, size_t n) {
  while (n) {
    ssize_t got = read(0, data, n);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      _exit(0);
    data += got;
    n -= (size_t)got;
  }
}

static void write_all(const unsigned char *data, size_t n) {
  while (n) {
    ssize_t done = write(1, data, n);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      _exit(0);
    data += done;
    n -= (size_t)done;
  }
}

/* The frame's length stands in its first four bytes, which were left free. */
static void send_frame(sandbox_buffer *b) {
  if (b->over)
    _exit(3);
  uint32_t n = (uint32_t)(b->n - 4);
  for (int i = 0; i < 4; i++)
    b->data[i] = (unsigned char)(n >> (8 * i));
  write_all(b->data, b->n);
}

static void begin_frame(sandbox_buffer *b) {
  b->n = 0;
  b->over = false;
  sandbox_put_u32(b, 0);
}

/* A last resort for when nobody is there any more who would end this process. */
static void alarm_after(uint32_t milliseconds) {
  struct itimerval timer = {{0, 0}, {milliseconds / 1000, 1000 * (milliseconds % 1000)}};
  (void)setitimer(ITIMER_REAL, &timer, NULL);
}

void sandbox_worker(int argc, char **argv) {
  uint64_t memory = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
  bool seccomp = argc > 3 && strcmp(argv[3], "1") == 0;
  for (char **entry = environ; entry && *entry; entry++) /* nothing of it is left to be read */
    memset(*entry, 0, strlen(*entry));
  environ = NULL;

  sandbox_buffer answer = {.limit = ANSWER_MOST}, words = {.limit = 4096};
  sandbox_confine(memory, seccomp, &words);
  begin_frame(&answer);
  sandbox_put_text(&answer, (const char *)words.data, words.n);
  send_frame(&answer);

  unsigned char *frame = NULL;
  size_t room = 0;
  for (;;) {
    unsigned char head[4];
    read_all(head, sizeof head);
    sandbox_reader r = {head, head + 4, false};
    size_t n = sandbox_u32(&r);
    if (n > FRAME_MOST)
      _exit(4);
    if (n > room) {
      free(frame);
      frame = malloc(n);
      if (!frame)
        _exit(5);
      room = n;
    }
    read_all(frame, n);
    r = (sandbox_reader){frame, frame + n, false};
    begin_frame(&answer);
    switch (sandbox_u8(&r)) {
    case 'J': {
      uint32_t milliseconds = sandbox_u32(&r);
      alarm_after(milliseconds < UINT32_MAX / 2 ? milliseconds + 2000 : UINT32_MAX / 2);
      sandbox_job(&r, &answer);
      alarm_after(0);
      break;
    }
    case 'P':
      words.n = 0;
      sandbox_probe(&words);
      sandbox_put_text(&answer, (const char *)words.data, words.n);
      break;
    default:
      _exit(6);
    }
    send_frame(&answer);
  }
}
