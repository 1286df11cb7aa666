/* The HTTP server: what it answers, what it refuses by itself, and what it bounds. Client and
 * server share this thread; the sockets' buffers hold what is under way. */
#include "check.h"

#include "system/system.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static ml_http *server;

static int dial(const char *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)ml_http_port(server))};
  CHECK_EQ(inet_pton(AF_INET, address, &to.sin_addr), 1);
  if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
    close(fd);
    return -1;
  }
  return fd;
}

static void say(int fd, const char *text) {
  size_t n = strlen(text);
  CHECK_EQ(send(fd, text, n, MSG_NOSIGNAL), (long long)n);
}

/* Turns the server until the client has heard something or `turns` have passed; answers what is
 * asked with its own target. Returns how many requests came through. */
static int serve(int fd, int turns) {
  static const char *const headers[] = {"X-Test", "yes", NULL};
  int came = 0;
  struct pollfd heard = {.fd = fd, .events = POLLIN};
  for (int i = 0; i < turns; i++) {
    ml_error err;
    const char *target;
    CHECK_OK(ml_http_next(server, 0.01, &target, &err), &err);
    if (target) {
      char body[5000];
      (void)snprintf(body, sizeof body, "asked %s", target);
      CHECK_OK(ml_http_answer(server, 200, body, strlen(body), headers, &err), &err);
      came++;
    }
    if (fd >= 0 && poll(&heard, 1, 0) > 0)
      break;
  }
  return came;
}

static void hear(int fd, char *text, size_t size) {
  struct pollfd heard = {.fd = fd, .events = POLLIN};
  size_t n = 0;
  while (n + 1 < size && poll(&heard, 1, 20) > 0) {
    ssize_t got = recv(fd, text + n, size - 1 - n, 0);
    if (got <= 0)
      break;
    n += (size_t)got;
  }
  text[n] = 0;
}

/* One request on a connection of its own; %d in the text is the port. Whether it came through. */
static int ask(const char *format, char *answer, size_t size) {
  char text[8192];
  int port = ml_http_port(server);
  (void)snprintf(text, sizeof text, format, port);
  int fd = dial("127.0.0.1");
  say(fd, text);
  int came = serve(fd, 50);
  hear(fd, answer, size);
  close(fd);
  return came;
}

static bool start(void) {
  ml_error err;
  ml_status status = ml_http_open(&server, 0, 0, &err);
  if (status == ML_ESTATE) { /* built without it: it says what to install */
    CHECK_HAS(err.message, "libmicrohttpd-dev");
    return false;
  }
  CHECK(status == ML_OK);
  return status == ML_OK;
}

static void stop(void) {
  ml_http_close(server);
  server = NULL;
}

static void test_a_request_is_handed_out_and_answered(void) { /* property */
  char answer[8192];
  if (!start())
    return;
  CHECK(ml_http_port(server) > 0);
  CHECK_EQ(ask("GET /a?b=%%00c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", answer, sizeof answer), 1);
  CHECK_HAS(answer, "HTTP/1.1 200");
  CHECK_HAS(answer, "X-Test: yes");
  CHECK_HAS(answer, "asked /a?b=%00c"); /* as it was sent */
  CHECK_EQ(ask("GET / HTTP/1.1\r\nHost: LOCALHOST:%d\r\n\r\n", answer, sizeof answer), 1);
  stop();
}

static void test_strangers_are_refused(void) { /* property */
  char answer[8192];
  if (!start())
    return;
  CHECK_EQ(ask("GET / HTTP/1.1\r\nHost: evil.example:%d\r\n\r\n", answer, sizeof answer), 0);
  CHECK_HAS(answer, "403");
  CHECK_EQ(ask("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: %d\r\n\r\n", answer, sizeof answer), 0);
  CHECK_HAS(answer, "403");
  CHECK_EQ(ask("GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nHost: evil\r\n\r\n", answer, sizeof answer),
           0);
  CHECK(strstr(answer, " 200 ") == NULL);
  CHECK_EQ(ask("GET / HTTP/1.0\r\nX: %d\r\n\r\n", answer, sizeof answer), 0);
  CHECK_HAS(answer, "403");
  stop();
}

static void test_only_get_without_a_body(void) { /* property */
  static const char *const methods[] = {"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"};
  char answer[8192], text[256];
  if (!start())
    return;
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    (void)snprintf(text, sizeof text,
                   "%s / HTTP/1.1\r\nHost: 127.0.0.1:%%d\r\nContent-Length: 0\r\n\r\n", methods[i]);
    CHECK_EQ(ask(text, answer, sizeof answer), 0);
    CHECK_HAS(answer, "405");
    CHECK_HAS(answer, "Allow: GET");
  }
  CHECK_EQ(ask("GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 5\r\n\r\nhello", answer,
               sizeof answer),
           0);
  CHECK_HAS(answer, "400");
  stop();
}

static void test_sizes_are_bounded(void) { /* property */
  static char text[64 * 1024];
  char answer[8192];
  if (!start())
    return;
  int fd = dial("127.0.0.1"); /* a header larger than what a connection gets */
  (void)snprintf(text, sizeof text,
                 "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX: ", ml_http_port(server));
  size_t n = strlen(text);
  memset(text + n, 'x', 40000);
  text[n + 40000] = 0;
  say(fd, text);
  CHECK_EQ(serve(fd, 50), 0);
  hear(fd, answer, sizeof answer);
  CHECK(strstr(answer, " 200 ") == NULL);
  close(fd);
  fd = dial("127.0.0.1"); /* a target longer than what is allowed */
  memcpy(text, "GET /", 5);
  memset(text + 5, 'a', 5000);
  (void)snprintf(text + 5005, 200, " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", ml_http_port(server));
  say(fd, text);
  CHECK_EQ(serve(fd, 50), 0);
  hear(fd, answer, sizeof answer);
  CHECK_HAS(answer, "400");
  close(fd);
  CHECK_EQ(ask("\x01\x02 nonsense %d\r\n\r\n", answer, sizeof answer), 0);
  stop();
}

static int open_files(void) {
  int n = 0;
  DIR *dir = opendir("/proc/self/fd");
  CHECK(dir != NULL);
  while (dir && readdir(dir))
    n++;
  if (dir)
    closedir(dir);
  return n;
}

static void test_many_connections(void) { /* property */
  enum { MANY = 120, ALLOWED = 64 };
  int fds[MANY];
  char answer[8192];
  if (!start())
    return;
  int before = open_files();
  for (int i = 0; i < MANY; i++) {
    fds[i] = dial("127.0.0.1");
    CHECK(fds[i] >= 0);
    serve(-1, 1);
  }
  int taken = open_files() - before - MANY; /* the rest waits in the queue of the system */
  CHECK(taken >= ALLOWED / 2);
  CHECK(taken <= ALLOWED);
  for (int i = 0; i < MANY; i++)
    close(fds[i]);
  serve(-1, 5);
  CHECK_EQ(ask("GET /after HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", answer, sizeof answer), 1);
  CHECK_HAS(answer, "asked /after");
  stop();
}

static void test_who_asked_may_go(void) { /* property */
  ml_error err;
  const char *target;
  char text[128];
  if (!start())
    return;
  (void)snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                 ml_http_port(server));
  int fd = dial("127.0.0.1");
  say(fd, text);
  CHECK_OK(ml_http_next(server, 1, &target, &err), &err);
  CHECK_STRING(target, "/x");
  close(fd);
  static char large[1 << 20];
  CHECK_OK(ml_http_answer(server, 200, large, sizeof large, NULL, &err), &err);
  CHECK_OK(ml_http_answer(server, 200, "", 0, NULL, &err), &err); /* nobody waits */
  fd = dial("127.0.0.1"); /* closing with a request in hand and one that waits */
  say(fd, text);
  int second = dial("127.0.0.1");
  say(second, text);
  CHECK_OK(ml_http_next(server, 1, &target, &err), &err);
  stop();
  close(fd);
  close(second);
}

static void test_bad_answers_and_ports(void) { /* property */
  static const char *const split[] = {"X", "a\r\nSet-Cookie: b", NULL};
  ml_error err;
  ml_http *other;
  if (!start())
    return;
  CHECK_FAIL(ml_http_answer(server, 99, "", 0, NULL, &err), ML_EARG);
  CHECK_FAIL(ml_http_answer(server, 200, "", 0, split, &err), ML_EARG);
  CHECK_FAIL(ml_http_open(&other, 70000, 0, &err), ML_EARG);
  CHECK_FAIL(ml_http_open(&other, ml_http_port(server), 0, &err), ML_EIO);
  CHECK_HAS(err.message, "in use");
  ml_cancel();
  const char *target;
  CHECK_FAIL(ml_http_next(server, 5, &target, &err), ML_ECANCELLED);
  ml_cancel_clear();
  stop();
}

/* Each of our allocations fails in turn: the request is refused or its connection ends, the server
 * goes on, and nothing is left over. */
static void test_allocation_failures(void) { /* property */
  char answer[8192];
  ml_error err;
  int64_t base = ml_alloc_count();
  int refused = 0, ended = 0, answered = 0;
  for (int64_t k = 1;; k++) {
    if (!start())
      return;
    ml_inject_alloc_failure(k, false);
    int came = ask("GET /a HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", answer, sizeof answer);
    int64_t seen = ml_inject_count();
    ml_inject_alloc_failure(0, false);
    if (came)
      answered++;
    else if (strstr(answer, " 503 "))
      refused++;
    else {
      CHECK_STRING(answer, "");
      ended++;
    }
    CHECK_EQ(ask("GET /b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", answer, sizeof answer), 1);
    CHECK_HAS(answer, "asked /b");
    stop();
    if (seen < k)
      break;
  }
  CHECK_EQ(answered, 1); /* the last round, in which nothing failed */
  CHECK_EQ(refused, 1);
  CHECK(ended >= 2);
  ml_inject_alloc_failure(1, false);
  CHECK_FAIL(ml_http_open(&server, 0, 0, &err), ML_ENOMEM);
  ml_inject_alloc_failure(0, false);
  CHECK(server == NULL);
  CHECK_EQ(ml_alloc_count(), base);
}

static void test_the_chart_library_is_whole(void) { /* property */
  size_t bytes = 0;
  const char *text = ml_chart_library(&bytes);
  CHECK(text == NULL || bytes > 50000);
  CHECK(text != NULL || bytes == 0);
}

static void test_posts_of_json_where_a_size_is_given(void) { /* property */
  char answer[8192];
  ml_error err;
  if (ml_http_open(&server, 0, 16, &err) != ML_OK)
    return;
#define HEAD "POST /p HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
  CHECK_EQ(ask(HEAD "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", answer,
               sizeof answer),
           1);
  CHECK_HAS(answer, "HTTP/1.1 200");
  CHECK_EQ(
      ask(HEAD "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", answer, sizeof answer),
      0);
  CHECK_HAS(answer, "415");
  CHECK_EQ(ask(HEAD "Content-Type: application/json\r\nContent-Length: 17\r\n\r\n12345678901234567",
               answer, sizeof answer),
           0);
  CHECK_HAS(answer, "413");
  CHECK_EQ(ask("POST /p HTTP/1.1\r\nHost: evil:%d\r\nContent-Type: application/json\r\n"
               "Content-Length: 2\r\n\r\n{}",
               answer, sizeof answer),
           0);
  CHECK_HAS(answer, "403");
  CHECK_EQ(ask("OPTIONS /p HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", answer, sizeof answer), 0);
  CHECK_HAS(answer, "405");
  stop();
}

CHECK_MAIN(test_posts_of_json_where_a_size_is_given, test_a_request_is_handed_out_and_answered,
           test_strangers_are_refused, test_only_get_without_a_body, test_sizes_are_bounded,
           test_many_connections, test_who_asked_may_go, test_bad_answers_and_ports,
           test_allocation_failures, test_the_chart_library_is_whole)
