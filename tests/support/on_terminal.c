/* Runs a program on a pseudo-terminal and types for it: on_terminal PROGRAM [ARGUMENTS] < script
 *   send TEXT   types it; \r is Enter, \t Tab, \e Escape, \xHH a byte (\x03 is Ctrl-C, \x04 Ctrl-D)
 *   wait TEXT   until TEXT has been printed after what the last wait saw; at most a minute
 * Prints all that the terminal showed. The exit status is the program's, 99 when a wait failed. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *seen;
static size_t used, room, matched;
static int master;

static void fail(const char *what) {
  perror(what);
  exit(98);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Drops carriage returns and what moves the cursor from the bytes that came last; colours stay. */
static void clean(size_t from) {
  static size_t sequence; /* where one that is not complete begins, plus one */
  size_t to = sequence ? sequence - 1 : from;
  for (size_t i = to; i < used;) {
    size_t end = i + 2;
    if (seen[i] == '\r' || seen[i] == '\a') {
      i++;
      continue;
    }
    if (seen[i] != 27 || (i + 1 < used && seen[i + 1] != '[')) {
      seen[to++] = seen[i++];
      continue;
    }
    while (end < used && (seen[end] < '@' || seen[end] > '~'))
      end++;
    if (end >= used) { /* the rest is to come */
      memmove(seen + to, seen + i, used - i);
      sequence = to + 1;
      used = to + used - i;
      return;
    }
    for (; seen[end] == 'm' && i <= end; i++)
      seen[to++] = seen[i];
    i = end + 1;
  }
  sequence = 0;
  used = to;
}

/* Takes what the program prints within so many milliseconds; false when it has ended. */
static bool take(int milliseconds) {
  struct pollfd input = {master, POLLIN, 0};
  if (poll(&input, 1, milliseconds) <= 0)
    return true;
  if (room - used < 4096) {
    room = room ? 2 * room : 65536;
    seen = realloc(seen, room);
    if (!seen)
      fail("realloc");
  }
  ssize_t n = read(master, seen + used, room - used - 1);
  if (n <= 0)
    return false;
  size_t before = used;
  used += (size_t)n;
  clean(before);
  return true;
}

static bool wait_for(const char *text) {
  double end = now() + 60;
  bool alive = true;
  for (;;) {
    char *found = used ? memmem(seen + matched, used - matched, text, strlen(text)) : NULL;
    if (found) {
      matched = (size_t)(found - seen) + strlen(text);
      return true;
    }
    if (!alive || now() > end)
      return false;
    alive = take(100);
  }
}

/* Replaces escapes in place; the result is the length. */
static size_t unescape(char *text) {
  char *to = text;
  for (char *from = text; *from; from++) {
    if (*from != '\\') {
      *to++ = *from;
      continue;
    }
    from++;
    if (*from == 'x') {
      *to++ = (char)strtol((char[]){from[1], from[2], 0}, NULL, 16);
      from += 2;
    } else {
      *to++ = *from == 'r'   ? '\r'
              : *from == 'n' ? '\n'
              : *from == 't' ? '\t'
              : *from == 'e' ? 27
                             : *from;
    }
  }
  *to = '\0';
  return (size_t)(to - text);
}

static pid_t start(char **words) {
  master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
    fail("pseudo-terminal");
  const char *name = ptsname(master);
  pid_t pid = fork();
  if (pid < 0)
    fail("fork");
  if (pid > 0)
    return pid;
  setsid();
  int slave = open(name, O_RDWR);
  struct winsize size = {24, 80, 0, 0};
  if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) != 0)
    fail("terminal");
  ioctl(slave, TIOCSWINSZ, &size);
  for (int fd = 0; fd < 3; fd++)
    dup2(slave, fd);
  close(master);
  if (slave > 2)
    close(slave);
  execv(words[0], words);
  fail(words[0]);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 98;
  pid_t pid = start(argv + 1);
  char line[8192];
  int status = 0;
  bool failed = false;
  while (!failed && fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "send ", 5) == 0) {
      size_t n = unescape(line + 5);
      if (write(master, line + 5, n) != (ssize_t)n)
        fail("write");
    } else if (strncmp(line, "wait ", 5) == 0) {
      unescape(line + 5);
      failed = !wait_for(line + 5);
    }
  }
  double end = now() + 60;
  pid_t ended = 0;
  while (!failed && (ended = waitpid(pid, &status, WNOHANG)) == 0 && now() < end)
    take(50);
  while (!failed && take(0) && poll(&(struct pollfd){master, POLLIN, 0}, 1, 0) > 0)
    ;
  fwrite(seen ? seen : "", 1, used, stdout);
  if (failed)
    printf("\n(never printed: %s)\n", line + 5);
  if (ended != pid) {
    if (!failed)
      printf("\n(did not end)\n");
    kill(pid, SIGKILL);
    return 99;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
