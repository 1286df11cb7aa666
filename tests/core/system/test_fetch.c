/* Asking other machines: a server that cuts, trickles, never ends, or says too much. */
#include "check.h"
#include "system/system.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(int fd, const char *text) {
  if (write(fd, text, strlen(text)) < 0)
    _exit(1);
}

/* What the child answers: by the path of the request. */
static void answer(int fd) {
  char text[2048];
  const ssize_t n = read(fd, text, sizeof text - 1);
  text[n > 0 ? n : 0] = 0;
  if (strstr(text, "/good "))
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
  else if (strstr(text, "/later "))
    say(fd,
        "HTTP/1.1 429 No\r\nRetry-After:  7 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  else if (strstr(text, "/cut "))
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel");
  else if (strstr(text, "/nothing "))
    ;
  else if (strstr(text, "/noise "))
    say(fd, "\001\002\003 what is HTTP\r\n\r\n");
  else if (strstr(text, "/moved "))
    say(fd, "HTTP/1.1 301 Gone\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
  else /* a stream without end */
    for (;;) {
      static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
      static bool first = true;
      if (first)
        say(fd, head);
      first = false;
      say(fd, "data: more\n");
      usleep(2000);
    }
  close(fd);
}

static pid_t server;
static int port;

static void start(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 16) ||
      getsockname(fd, (struct sockaddr *)&a, &n))
    abort();
  port = ntohs(a.sin_port);
  server = fork();
  if (server == 0) {
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
      int one = accept(fd, NULL, NULL);
      if (one >= 0 && fork() == 0) {
        answer(one);
        _exit(0);
      }
      close(one);
    }
  }
  close(fd);
}

static void stop(void) {
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
}

static bool ask(const char *path, double total, size_t most, ml_fetch_answer *a, char *body) {
  ml_fetch *f;
  ml_error err;
  if (ml_fetch_open(&f, &err) == ML_ESTATE) { /* built without it: it says what to install */
    CHECK_HAS(err.message, "libcurl4-openssl-dev");
    return false;
  }
  char url[64];
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", port, path);
  const char *const headers[] = {"Content-Type: application/json", NULL};
  const ml_fetch_request r = {.url = url,
                              .body = "{}",
                              .bytes = 2,
                              .headers = headers,
                              .connect_seconds = 5,
                              .total_seconds = total,
                              .idle_seconds = 5,
                              .most_bytes = most};
  int64_t id;
  CHECK_OK(ml_fetch_start(f, &r, &id, &err), &err);
  CHECK(ml_fetch_pending(f) == 1);
  CHECK_OK(ml_fetch_next(f, 20, a, &err), &err);
  CHECK(a->id == id && ml_fetch_pending(f) == 0);
  (void)snprintf(body, 64, "%.60s", a->body ? a->body : "");
  ml_fetch_close(f);
  return true;
}

static void test_answers_and_what_goes_wrong(void) { /* property */
  ml_fetch_answer a;
  char body[64];
  start();
  if (ask("good", 10, 1000, &a, body)) {
    CHECK(a.status == 200 && !a.error[0] && !strcmp(body, "hello"));
    ask("later", 10, 1000, &a, body);
    CHECK(a.status == 429 && !strcmp(a.retry_after, "7"));
    ask("cut", 10, 1000, &a, body);
    CHECK(a.error[0] != 0);
    ask("nothing", 10, 1000, &a, body);
    CHECK(a.status == 0 && a.error[0] != 0);
    ask("noise", 10, 1000, &a, body);
    CHECK(a.error[0] != 0);
    ask("moved", 10, 1000, &a, body);
    CHECK(a.status == 301 && !a.error[0] && !body[0]);
    ask("stream", 0.3, 1 << 20, &a, body); /* ends by the clock */
    CHECK(a.error[0] != 0);
    ask("stream", 10, 200, &a, body); /* or by its size */
    CHECK_HAS(a.error, "more than 200 bytes");
  }
  stop();
}

static void test_many_at_once_and_closing_early(void) { /* property */
  ml_fetch *f;
  ml_error err;
  start();
  if (ml_fetch_open(&f, &err) == ML_OK) {
    char url[64];
    int64_t id;
    ml_fetch_request r = {.url = url,
                          .get = true,
                          .connect_seconds = 5,
                          .total_seconds = 10,
                          .idle_seconds = 5,
                          .most_bytes = 1000};
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/good", port);
    for (int i = 0; i < 20; i++)
      CHECK_OK(ml_fetch_start(f, &r, &id, &err), &err);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/stream", port); /* urls are copied */
    int came = 0;
    ml_fetch_answer a;
    while (ml_fetch_pending(f) > 0 && came < 100) {
      CHECK_OK(ml_fetch_next(f, 20, &a, &err), &err);
      came += a.status == 200 && a.bytes == 5;
    }
    CHECK(came == 20);
    CHECK_OK(ml_fetch_next(f, 0, &a, &err), &err);
    CHECK(a.id == 0);
    CHECK_OK(ml_fetch_start(f, &r, &id, &err), &err);
    CHECK_OK(ml_fetch_next(f, 0.05, &a, &err), &err);
    r.url = "ftp://127.0.0.1/";
    CHECK_OK(ml_fetch_start(f, &r, &id, &err), &err);
    CHECK_OK(ml_fetch_next(f, 5, &a, &err), &err);
    CHECK(a.error[0] != 0 && a.status == 0);
    const char *const headers[] = {"X: a\r\nY: b", NULL};
    r.headers = headers;
    CHECK_FAIL(ml_fetch_start(f, &r, &id, &err), ML_EARG);
    ml_fetch_close(f); /* with one on its way */
  }
  stop();
}

CHECK_MAIN(test_answers_and_what_goes_wrong, test_many_at_once_and_closing_early)
