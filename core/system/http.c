/* An HTTP server for this machine's own programs, over libmicrohttpd: loopback, GET, and POST of
 * JSON where it was asked for.
 *
 * It has no thread: ml_http_next turns the loop of connections. A request that passes the checks
 * is suspended and queued, handed out, and goes on when it is answered. */
#include "private.h"

#ifdef ML_HAVE_MICROHTTPD

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  CONNECTIONS = 64,
  HEADER_BYTES = 16 * 1024, /* of a request, all of it */
  TARGET_BYTES = 4096,      /* of its path and query */
  IDLE_SECONDS = 10,
  SLICE_MS = 100 /* a Ctrl-C that came just before a wait is seen after this long */
};
#define REQUEST_SECONDS 30.0 /* from one answered request to the next, however it trickles */

typedef struct waiting waiting;
struct waiting { /* a request, from its first line to the end of its answer */
  waiting *next;
  struct MHD_Connection *connection;
  char *target;
  struct MHD_Response *answer;
  unsigned status;
  char *body; /* of a POST, a zero after it */
  size_t bytes, room;
  bool post, too_long;
  bool plain; /* the target is such as we answer to */
  bool checked;
};

typedef struct peer peer;
struct peer { /* a connection */
  peer *next;
  int fd;
  double since;
};

struct ml_http {
  struct MHD_Daemon *daemon;
  int port;
  size_t most_body;       /* 0: GET only */
  waiting *first, **last; /* handed out next */
  waiting *current;       /* handed out, not answered */
  peer *peers;
};

/* ---- checks
 * ------------------------------------------------------------------------------------------- */

typedef struct {
  const char *host;
  int hosts;
  bool body, json;
} header_facts;

static enum MHD_Result look_at_header(void *ctx, enum MHD_ValueKind kind, const char *key,
                                      const char *value) {
  header_facts *facts = ctx;
  (void)kind;
  if (!strcasecmp(key, "host")) {
    facts->host = value;
    facts->hosts++;
  }
  /* a page of another site cannot send this type without asking first, which is refused */
  if (!strcasecmp(key, "content-type") && value && !strncasecmp(value, "application/json", 16))
    facts->json = true;
  if (!strcasecmp(key, "transfer-encoding") ||
      (!strcasecmp(key, "content-length") && value && strcmp(value, "0") != 0))
    facts->body = true;
  return MHD_YES;
}

/* A page of another name that resolves to this machine is a stranger (DNS rebinding). */
static bool is_own_host(const ml_http *server, const char *host) {
  char own[2][32];
  (void)snprintf(own[0], sizeof own[0], "127.0.0.1:%d", server->port);
  (void)snprintf(own[1], sizeof own[1], "localhost:%d", server->port);
  return host && (!strcmp(host, own[0]) || !strcasecmp(host, own[1]));
}

static bool is_plain_target(const char *target) {
  size_t n = target ? strlen(target) : 0;
  if (n == 0 || n > TARGET_BYTES || target[0] != '/')
    return false;
  for (size_t i = 0; i < n; i++) {
    if (target[i] <= ' ' || target[i] > '~')
      return false;
  }
  return true;
}

static struct MHD_Response *new_response(const void *data, size_t bytes) {
  union {
    const void *in;
    void *out;
  } body = {.in = bytes ? data : ""};
  return MHD_create_response_from_buffer(bytes, body.out, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status,
                              const char *text) {
  struct MHD_Response *response = new_response(text, strlen(text));
  if (!response)
    return MHD_NO;
  enum MHD_Result ok = MHD_YES;
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    ok = MHD_add_response_header(response, "Allow", "GET");
  if (ok == MHD_YES)
    ok = MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
  if (ok == MHD_YES)
    ok = MHD_add_response_header(response, "Connection", "close");
  if (ok == MHD_YES)
    ok = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return ok;
}

/* ---- what libmicrohttpd calls
 * ------------------------------------------------------------------------- */

/* The target as it was sent: libmicrohttpd's own would be decoded, with zero bytes in it. */
static void *on_target(void *ctx, const char *target, struct MHD_Connection *connection) {
  (void)ctx;
  waiting *request = ml_alloc(sizeof *request);
  if (!request)
    return NULL;
  request->connection = connection;
  request->plain = is_plain_target(target);
  if (request->plain) {
    size_t n = strlen(target) + 1;
    request->target = ml_alloc(n);
    if (request->target)
      memcpy(request->target, target, n);
  }
  return request;
}

static bool take_body(const ml_http *server, waiting *request, const char *data, size_t bytes) {
  if (bytes > server->most_body - request->bytes)
    return false;
  if (request->bytes + bytes + 1 > request->room) {
    size_t room = 2 * (request->bytes + bytes) + 4096;
    char *body = ml_alloc(room);
    if (!body)
      return false;
    if (request->bytes)
      memcpy(body, request->body, request->bytes);
    ml_free(request->body);
    request->body = body;
    request->room = room;
  }
  memcpy(request->body + request->bytes, data, bytes);
  request->bytes += bytes;
  request->body[request->bytes] = 0;
  return true;
}

static enum MHD_Result hand_over(ml_http *server, waiting *request) {
  MHD_suspend_connection(request->connection);
  request->next = NULL;
  *server->last = request;
  server->last = &request->next;
  return MHD_YES;
}

/* The rest of a POST: its body in pieces, then once without one. */
static enum MHD_Result on_body(ml_http *server, waiting *request, const char *upload,
                               size_t *upload_size) {
  if (*upload_size > 0) {
    request->too_long = request->too_long || !take_body(server, request, upload, *upload_size);
    *upload_size = 0;
    return MHD_YES;
  }
  request->post = false;
  if (request->too_long)
    return refuse(request->connection, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too long\n");
  if (!request->body && !take_body(server, request, "", 0))
    return refuse(request->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory; try again\n");
  return hand_over(server, request);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **mine) {
  ml_http *server = ctx;
  waiting *request = *mine;
  (void)url, (void)version;
  if (!request)
    return MHD_NO;
  if (request->answer) { /* it goes on */
    enum MHD_Result ok = MHD_queue_response(connection, request->status, request->answer);
    MHD_destroy_response(request->answer);
    request->answer = NULL;
    return ok;
  }
  if (request->post)
    return on_body(server, request, upload, upload_size);
  if (request->checked) /* resumed without an answer: the server closes */
    return MHD_NO;
  request->checked = true;
  header_facts facts = {.body = *upload_size > 0};
  (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at_header, &facts);
  if (facts.hosts != 1 || !is_own_host(server, facts.host))
    return refuse(connection, MHD_HTTP_FORBIDDEN, "this server answers to its own name only\n");
  const bool post = server->most_body > 0 && !strcmp(method, "POST");
  if (post && !facts.json)
    return refuse(connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "application/json only\n");
  if (strcmp(method, "GET") != 0 && !post)
    return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
  if (facts.body && !post)
    return refuse(connection, MHD_HTTP_BAD_REQUEST, "a request without a body, please\n");
  if (!request->plain)
    return refuse(connection, MHD_HTTP_BAD_REQUEST, "no such address\n");
  if (!request->target)
    return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory; try again\n");
  request->post = post;
  return post ? MHD_YES : hand_over(server, request);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **mine,
                         enum MHD_RequestTerminationCode code) {
  ml_http *server = ctx;
  waiting *request = *mine;
  (void)code;
  *mine = NULL;
  if (!request)
    return;
  for (waiting **at = &server->first; *at; at = &(*at)->next) {
    if (*at == request) {
      *at = request->next;
      if (server->last == &request->next)
        server->last = at;
      break;
    }
  }
  if (server->current == request)
    server->current = NULL;
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  if (info && info->socket_context)
    ((peer *)info->socket_context)->since = ml_now();
  if (request->answer)
    MHD_destroy_response(request->answer);
  ml_free(request->body);
  ml_free(request->target);
  ml_free(request);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **mine,
                          enum MHD_ConnectionNotificationCode code) {
  ml_http *server = ctx;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    peer *p = info ? ml_alloc(sizeof *p) : NULL;
    *mine = p;
    if (!p) { /* what we cannot follow we cannot end in time */
      if (info)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
      return;
    }
    p->fd = info->connect_fd;
    p->since = ml_now();
    p->next = server->peers;
    server->peers = p;
    return;
  }
  for (peer **at = &server->peers; *at; at = &(*at)->next) {
    if (*at == *mine) {
      peer *p = *at;
      *at = p->next;
      ml_free(p);
      break;
    }
  }
  *mine = NULL;
}

/* ---- the server
 * --------------------------------------------------------------------------------------- */

static int listen_on(int port, int *bound, ml_error *err) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    ml_error_set(err, ML_EIO, 0, "cannot make a socket: %s", strerror(errno));
    return -1;
  }
  int on = 1;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = sizeof address;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, CONNECTIONS) ||
      getsockname(fd, (struct sockaddr *)&address, &n)) {
    ml_error_set(err, ML_EIO, 1, "cannot listen on 127.0.0.1:%d: %s", port, strerror(errno));
    close(fd);
    return -1;
  }
  *bound = ntohs(address.sin_port);
  return fd;
}

ml_status ml_http_open(ml_http **out, int port, size_t most_body, ml_error *err) {
  *out = NULL;
  if (port < 0 || port > 65535)
    return ml_fail(err, ML_EARG, 1, "port is %d, wanted 0..65535", port);
  ml_http *server = ml_alloc(sizeof *server);
  if (!server)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  server->last = &server->first;
  server->most_body = most_body;
  int fd = listen_on(port, &server->port, err);
  if (fd < 0) {
    ml_free(server);
    return err->status;
  }
  server->daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, server,
      MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)IDLE_SECONDS, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
      MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
      on_connection, server, MHD_OPTION_END);
  if (!server->daemon) {
    close(fd);
    ml_free(server);
    return ml_fail(err, ML_EIO, 0, "libmicrohttpd cannot start a server");
  }
  *out = server;
  return ML_OK;
}

int ml_http_port(const ml_http *server) { return server->port; }

/* One turn of the loop, without SIGPIPE, which would end us when a browser goes away. */
static void turn(ml_http *server) {
  sigset_t pipe_only, old, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  bool was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
  (void)MHD_run(server->daemon);
  struct timespec now = {0, 0};
  if (!was_pending)
    while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR) {
    }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  double limit = ml_now() - REQUEST_SECONDS;
  for (peer *p = server->peers; p; p = p->next) {
    if (p->since < limit)
      (void)shutdown(p->fd, SHUT_RDWR);
  }
}

/* Milliseconds until libmicrohttpd wants its turn, at most `most`. */
static int wait_of(ml_http *server, int most) {
  MHD_UNSIGNED_LONG_LONG own;
  if (MHD_get_timeout(server->daemon, &own) == MHD_YES && own < (MHD_UNSIGNED_LONG_LONG)most)
    return (int)own;
  return most;
}

ml_status ml_http_next(ml_http *server, double timeout, const char **target, ml_error *err) {
  *target = NULL;
  if (server->current)
    ML_TRY(ml_http_answer(server, 500, NULL, 0, NULL, err));
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  if (!info)
    return ml_fail(err, ML_EIO, 0, "libmicrohttpd has no epoll here");
  struct pollfd wanted = {.fd = info->epoll_fd, .events = POLLIN};
  double until = ml_now() + timeout;
  for (;;) {
    ML_POLL(err);
    turn(server);
    if (server->first) {
      waiting *request = server->first;
      server->first = request->next;
      if (!server->first)
        server->last = &server->first;
      request->next = NULL;
      server->current = request;
      *target = request->target;
      return ML_OK;
    }
    double left = until - ml_now();
    if (!(left > 0))
      return ML_OK;
    int ms = left * 1000 < SLICE_MS ? (int)(left * 1000) + 1 : SLICE_MS;
    if (poll(&wanted, 1, wait_of(server, ms)) < 0 && errno != EINTR)
      return ml_fail(err, ML_EIO, 0, "cannot wait for a request: %s", strerror(errno));
  }
}

const char *ml_http_body(const ml_http *server, size_t *bytes) {
  *bytes = server->current ? server->current->bytes : 0;
  return server->current ? server->current->body : NULL;
}

static bool is_header_text(const char *text) {
  for (; *text; text++) {
    if ((unsigned char)*text < ' ' || *text == 127)
      return false;
  }
  return true;
}

ml_status ml_http_answer(ml_http *server, int status, const void *body, size_t bytes,
                         const char *const *headers, ml_error *err) {
  waiting *request = server->current;
  if (status < 200 || status > 599)
    return ml_fail(err, ML_EARG, 2, "status is %d, wanted 200..599", status);
  for (int i = 0; headers && headers[i]; i++) {
    if (!is_header_text(headers[i]))
      return ml_fail(err, ML_EARG, 4, "a header holds a control character");
  }
  if (!request) /* the browser has gone meanwhile */
    return ML_OK;
  struct MHD_Response *response = new_response(body, bytes);
  if (!response)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for an answer of %zu bytes", bytes);
  for (int i = 0; headers && headers[i] && headers[i + 1]; i += 2) {
    if (MHD_add_response_header(response, headers[i], headers[i + 1]) != MHD_YES) {
      MHD_destroy_response(response);
      return ml_fail(err, ML_EARG, 4, "'%.80s' is no header", headers[i]);
    }
  }
  request->answer = response;
  request->status = (unsigned)status;
  server->current = NULL;
  MHD_resume_connection(request->connection);
  turn(server);
  return ML_OK;
}

void ml_http_close(ml_http *server) {
  if (!server)
    return;
  if (server->current)
    MHD_resume_connection(server->current->connection);
  for (waiting *request = server->first; request; request = request->next)
    MHD_resume_connection(request->connection);
  server->current = NULL;
  server->first = NULL;
  server->last = &server->first;
  turn(server);
  MHD_stop_daemon(server->daemon); /* closes the socket as well */
  ml_free(server);
}

#else

ml_status ml_http_open(ml_http **out, int port, size_t most_body, ml_error *err) {
  (void)port, (void)most_body;
  *out = NULL;
  return ml_fail(err, ML_ESTATE, 0,
                 "this build has no HTTP server: install libmicrohttpd-dev (apt-get install "
                 "libmicrohttpd-dev) and build again");
}

int ml_http_port(const ml_http *server) {
  (void)server;
  return 0;
}

ml_status ml_http_next(ml_http *server, double timeout, const char **target, ml_error *err) {
  (void)server, (void)timeout;
  *target = NULL;
  return ml_fail(err, ML_ESTATE, 0, "this build has no HTTP server");
}

ml_status ml_http_answer(ml_http *server, int status, const void *body, size_t bytes,
                         const char *const *headers, ml_error *err) {
  (void)server, (void)status, (void)body, (void)bytes, (void)headers;
  return ml_fail(err, ML_ESTATE, 0, "this build has no HTTP server");
}

const char *ml_http_body(const ml_http *server, size_t *bytes) {
  (void)server;
  *bytes = 0;
  return NULL;
}

void ml_http_close(ml_http *server) { (void)server; }

#endif
