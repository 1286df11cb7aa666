/* Many HTTP requests at once over libcurl's multi interface. */
#include "private.h"

#ifdef ML_HAVE_CURL

#include <curl/curl.h>
#include <strings.h>

enum { SLICE_MS = 100 };

typedef struct transfer transfer;
struct transfer {
  transfer *next;
  CURL *easy;
  struct curl_slist *headers;
  int64_t id;
  char *sent, *body;
  size_t bytes, room, most;
  double start;
  bool too_long, no_memory;
  char retry_after[64], error[CURL_ERROR_SIZE];
};

struct ml_fetch {
  CURLM *multi;
  transfer *list, *done; /* done: whose answer was handed out last */
  int64_t last_id;
  int pending;
};

static size_t on_data(char *data, size_t size, size_t n, void *ctx) {
  transfer *t = ctx;
  const size_t bytes = size * n;
  if (bytes > t->most - t->bytes) {
    t->too_long = true;
    return 0;
  }
  if (t->bytes + bytes + 1 > t->room) {
    const size_t room = 2 * (t->bytes + bytes) + 4096;
    char *body = ml_alloc(room);
    if (!body) {
      t->no_memory = true;
      return 0;
    }
    if (t->bytes)
      memcpy(body, t->body, t->bytes);
    ml_free(t->body);
    t->body = body;
    t->room = room;
  }
  memcpy(t->body + t->bytes, data, bytes);
  t->bytes += bytes;
  t->body[t->bytes] = 0;
  return bytes;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx) {
  transfer *t = ctx;
  static const char name[] = "retry-after:";
  const size_t bytes = size * n, skip = sizeof name - 1;
  if (bytes > skip && !strncasecmp(data, name, skip)) {
    size_t from = skip, to = bytes;
    while (from < to && (data[from] == ' ' || data[from] == '\t'))
      from++;
    while (to > from && (unsigned char)data[to - 1] <= ' ')
      to--;
    if (to - from < sizeof t->retry_after) {
      memcpy(t->retry_after, data + from, to - from);
      t->retry_after[to - from] = 0;
    }
  }
  return bytes;
}

static void forget(ml_fetch *f, transfer *t) {
  if (!t)
    return;
  for (transfer **at = &f->list; *at; at = &(*at)->next)
    if (*at == t) {
      *at = t->next;
      break;
    }
  if (t->easy) {
    (void)curl_multi_remove_handle(f->multi, t->easy);
    curl_easy_cleanup(t->easy);
  }
  curl_slist_free_all(t->headers);
  ml_free(t->sent);
  ml_free(t->body);
  ml_free(t);
}

ml_status ml_fetch_open(ml_fetch **out, ml_error *err) {
  static bool ready;
  *out = NULL;
  if (!ready && curl_global_init(CURL_GLOBAL_DEFAULT))
    return ml_fail(err, ML_EIO, 0, "libcurl cannot start");
  ready = true;
  ml_fetch *f = ml_alloc(sizeof *f);
  if (!f)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  f->multi = curl_multi_init();
  if (!f->multi) {
    ml_free(f);
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  }
  *out = f;
  return ML_OK;
}

static ml_status set_up(transfer *t, const ml_fetch_request *r, ml_error *err) {
  for (int i = 0; r->headers && r->headers[i]; i++) {
    for (const char *p = r->headers[i]; *p; p++)
      if ((unsigned char)*p < ' ' || *p == 127)
        return ml_fail(err, ML_EARG, 0, "a header holds a control character");
    struct curl_slist *more = curl_slist_append(t->headers, r->headers[i]);
    if (!more)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory");
    t->headers = more;
  }
  CURL *e = t->easy;
  bool bad = false;
#define SET(option, value) bad = curl_easy_setopt(e, option, value) != CURLE_OK || bad
  SET(CURLOPT_URL, r->url);
  SET(CURLOPT_PROTOCOLS_STR, "http,https");
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_PRIVATE, t);
  SET(CURLOPT_ERRORBUFFER, t->error);
  SET(CURLOPT_WRITEFUNCTION, on_data);
  SET(CURLOPT_WRITEDATA, t);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_HEADERDATA, t);
  SET(CURLOPT_HTTPHEADER, t->headers);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(1000 * r->connect_seconds));
  SET(CURLOPT_TIMEOUT_MS, (long)(1000 * r->total_seconds));
  SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
  SET(CURLOPT_LOW_SPEED_TIME, (long)(r->idle_seconds + 0.5));
  if (!r->get) {
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDS, t->sent);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->bytes);
  }
  return bad ? ml_fail(err, ML_EARG, 0, "libcurl refuses the request to %.200s", r->url) : ML_OK;
}

ml_status ml_fetch_start(ml_fetch *f, const ml_fetch_request *r, int64_t *id, ml_error *err) {
  *id = 0;
  transfer *t = ml_alloc(sizeof *t);
  if (!t)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  t->next = f->list;
  f->list = t;
  t->most = r->most_bytes;
  t->start = ml_now();
  t->easy = curl_easy_init();
  t->sent = ml_alloc(r->bytes + 1);
  ml_status status = ML_OK;
  if (!t->easy || !t->sent)
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory");
  if (!status && r->bytes)
    memcpy(t->sent, r->body, r->bytes);
  if (!status)
    status = set_up(t, r, err);
  if (!status && curl_multi_add_handle(f->multi, t->easy))
    status = ml_fail(err, ML_EIO, 0, "libcurl cannot take the request");
  if (status) {
    forget(f, t);
    return status;
  }
  *id = t->id = ++f->last_id;
  f->pending++;
  return ML_OK;
}

static void describe(const transfer *t, CURLcode code, ml_fetch_answer *a) {
  long status = 0;
  (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
  a->id = t->id;
  a->status = (int)status;
  a->body = t->body ? t->body : "";
  a->bytes = t->bytes;
  a->seconds = ml_now() - t->start;
  memcpy(a->retry_after, t->retry_after, sizeof a->retry_after);
  if (t->too_long)
    (void)snprintf(a->error, sizeof a->error, "the answer has more than %zu bytes", t->most);
  else if (t->no_memory)
    (void)snprintf(a->error, sizeof a->error, "out of memory for the answer");
  else if (code)
    (void)snprintf(a->error, sizeof a->error, "%.250s",
                   t->error[0] ? t->error : curl_easy_strerror(code));
}

ml_status ml_fetch_next(ml_fetch *f, double timeout, ml_fetch_answer *a, ml_error *err) {
  *a = (ml_fetch_answer){0};
  forget(f, f->done);
  f->done = NULL;
  const double until = ml_now() + timeout;
  for (;;) {
    ML_POLL(err);
    int running, left;
    if (curl_multi_perform(f->multi, &running))
      return ml_fail(err, ML_EIO, 0, "libcurl cannot go on");
    for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &left));) {
      if (m->msg != CURLMSG_DONE)
        continue;
      char *mine = NULL;
      (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &mine);
      f->done = (transfer *)(void *)mine;
      describe(f->done, m->data.result, a);
      f->pending--;
      return ML_OK;
    }
    const double rest = until - ml_now();
    if (!(rest > 0) || f->pending == 0)
      return ML_OK;
    const int ms = rest * 1000 < SLICE_MS ? (int)(rest * 1000) + 1 : SLICE_MS;
    if (curl_multi_poll(f->multi, NULL, 0, ms, NULL))
      return ml_fail(err, ML_EIO, 0, "libcurl cannot wait");
  }
}

int ml_fetch_pending(const ml_fetch *f) { return f->pending; }

void ml_fetch_close(ml_fetch *f) {
  if (!f)
    return;
  while (f->list)
    forget(f, f->list);
  (void)curl_multi_cleanup(f->multi);
  ml_free(f);
}

#else

ml_status ml_fetch_open(ml_fetch **out, ml_error *err) {
  *out = NULL;
  return ml_fail(err, ML_ESTATE, 0,
                 "this build cannot ask other machines: install libcurl4-openssl-dev (apt-get "
                 "install libcurl4-openssl-dev) and build again");
}

ml_status ml_fetch_start(ml_fetch *f, const ml_fetch_request *r, int64_t *id, ml_error *err) {
  (void)f, (void)r, (void)id;
  return ml_fail(err, ML_ESTATE, 0, "this build has no libcurl");
}

ml_status ml_fetch_next(ml_fetch *f, double timeout, ml_fetch_answer *a, ml_error *err) {
  (void)f, (void)timeout, (void)a;
  return ml_fail(err, ML_ESTATE, 0, "this build has no libcurl");
}

int ml_fetch_pending(const ml_fetch *f) {
  (void)f;
  return 0;
}

void ml_fetch_close(ml_fetch *f) { (void)f; }

#endif
