/* Child processes by posix_spawn: never fork, since a pool of threads exists. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct ml_child {
  ml_child *next; /* among those that nobody waits for */
  pid_t pid;
  int pidfd;    /* readable once it has ended; -1: the system has none */
  int pipes[3]; /* our ends; -1 */
  bool group;
  ml_child_state state;
  int code;
};

static ml_child *orphans;

enum { SLICE_MS = 100 }; /* a Ctrl-C that came just before a wait is seen after this long */

/* ---- ending ---------------------------------------------------------------------------------- */

/* Takes notice of its end without waiting. */
static void look(ml_child *child) {
  int status;
  if (child->state != ML_RUNNING)
    return;
  pid_t got;
  do
    got = waitpid(child->pid, &status, WNOHANG);
  while (got < 0 && errno == EINTR);
  if (got == 0)
    return;
  if (got < 0) { /* somebody else has reaped it */
    child->state = ML_EXITED;
    child->code = 255;
  } else if (WIFSIGNALED(status)) {
    child->state = ML_SIGNALLED;
    child->code = WTERMSIG(status);
  } else {
    child->state = ML_EXITED;
    child->code = WEXITSTATUS(status);
  }
  if (child->pidfd >= 0)
    close(child->pidfd);
  child->pidfd = -1;
}

static void reap_orphans(void) {
  for (ml_child **at = &orphans; *at;) {
    ml_child *child = *at;
    look(child);
    if (child->state == ML_RUNNING) {
      at = &child->next;
    } else {
      *at = child->next;
      ml_free(child);
    }
  }
}

void ml_child_free(ml_child *child) {
  if (!child)
    return;
  for (int i = 0; i < 3; i++) {
    if (child->pipes[i] >= 0)
      close(child->pipes[i]);
    child->pipes[i] = -1;
  }
  look(child);
  if (child->state == ML_RUNNING) {
    child->next = orphans;
    orphans = child;
  } else {
    ml_free(child);
  }
}

static double deadline_of(double timeout) { return timeout < 0 ? HUGE_VAL : ml_now() + timeout; }

/* Milliseconds until the deadline, at most a slice. */
static int slice(double deadline) {
  double left = 1000 * (deadline - ml_now());
  return !(left > 0) ? 0 : left < SLICE_MS ? (int)left + 1 : SLICE_MS;
}

/* Sleeps until a child may have ended or a slice is over. */
static void doze(ml_child *const *children, int n, int ms) {
  enum { MOST = 256 };
  struct pollfd fds[MOST];
  nfds_t count = 0;
  for (int i = 0; i < n && count < MOST; i++) {
    if (children[i]->pidfd >= 0)
      fds[count++] = (struct pollfd){.fd = children[i]->pidfd, .events = POLLIN};
    else
      ms = ms < 5 ? ms : 5;
  }
  (void)poll(fds, count, ms); /* interrupted or not: the caller looks again */
}

ml_status ml_child_wait_any(ml_child *const *children, int n, double timeout, int *which,
                            ml_error *err) {
  double deadline = deadline_of(timeout);
  *which = -1;
  for (;;) {
    int running = 0;
    for (int i = 0; i < n; i++) {
      look(children[i]);
      if (children[i]->state != ML_RUNNING) {
        *which = i;
        return ML_OK;
      }
      running++;
    }
    ML_POLL(err);
    int ms = slice(deadline);
    if (ms == 0 || (!running && timeout < 0)) /* none at all: a sleep */
      return ML_OK;
    doze(children, n, ms);
  }
}

ml_status ml_child_wait(ml_child *child, double timeout, ml_child_state *state, int *code,
                        ml_error *err) {
  int which;
  ml_status status = ml_child_wait_any(&child, 1, timeout, &which, err);
  *state = child->state;
  *code = child->code;
  return status;
}

ml_status ml_child_kill(ml_child *child, int signal_number, ml_error *err) {
  if (!child->group)
    look(child);
  /* a group is asked before its leader is reaped: until then its number cannot become another's */
  if (child->state != ML_RUNNING)
    return ML_OK;
  if (kill(child->group ? -child->pid : child->pid, signal_number) && errno != ESRCH)
    return ml_fail(err, ML_EIO, 0, "cannot signal pid %ld: %s", (long)child->pid, strerror(errno));
  return ML_OK;
}

int64_t ml_child_pid(const ml_child *child) { return child->pid; }

ml_status ml_sleep(double seconds, ml_error *err) {
  double deadline = deadline_of(seconds > 0 ? seconds : 0);
  for (int ms = slice(deadline); ms > 0; ms = slice(deadline)) {
    ML_POLL(err);
    (void)poll(NULL, 0, ms);
  }
  ML_POLL(err);
  return ML_OK;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* The same file above the standard streams, so that no dup2 of the child overwrites it. */
static int lift(int fd) {
  if (fd < 0 || fd > 2)
    return fd;
  int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  int code = errno;
  close(fd);
  errno = code;
  return high;
}

/* What the child gets as stream i: an open file in *theirs, and our end in *ours for a pipe. */
static ml_status open_stream(const ml_stream *stream, int i, int *theirs, int *ours,
                             ml_error *err) {
  *theirs = *ours = -1;
  const char *path = stream->path;
  int flags = i == 0 ? O_RDONLY : O_WRONLY | O_CREAT;
  switch (stream->kind) {
  case ML_STREAM_INHERIT:
  case ML_STREAM_OUTPUT:
    return ML_OK;
  case ML_STREAM_PIPE: {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
      return ml_fail(err, ML_EIO, 0, "cannot make a pipe: %s", strerror(errno));
    *theirs = lift(ends[i == 0 ? 0 : 1]);
    *ours = lift(ends[i == 0 ? 1 : 0]);
    if (*theirs < 0 || *ours < 0)
      return ml_fail(err, ML_EIO, 0, "cannot make a pipe: %s", strerror(errno));
    return ML_OK;
  }
  case ML_STREAM_NULL:
    path = "/dev/null";
    flags = i == 0 ? O_RDONLY : O_WRONLY;
    break;
  case ML_STREAM_FILE:
    flags |= i == 0 ? 0 : O_TRUNC;
    break;
  case ML_STREAM_APPEND:
    flags |= i == 0 ? 0 : O_APPEND;
    break;
  }
  *theirs = lift(open(path, flags | O_CLOEXEC, 0666));
  if (*theirs < 0)
    return ML_FAIL_ERRNO(err, i == 0 ? "read" : "write", path, errno);
  return ML_OK;
}

static bool same_name(const char *entry, const char *name) {
  size_t n = strcspn(name, "=");
  return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

/* posix_spawn takes strings that it could change, and does not. */
static char *unconst(const char *text) {
  char *same;
  memcpy(&same, &text, sizeof same);
  return same;
}

/* Our environment with the changes; NULL when out of memory. The strings are not copied. */
static char **make_environment(const char *const *changes) {
  size_t n = 0, m = 0, used = 0;
  while (environ && environ[n])
    n++;
  while (changes && changes[m])
    m++;
  char **env = ml_alloc((n + m + 1) * sizeof *env);
  if (!env)
    return NULL;
  for (size_t i = 0; i < n; i++) {
    bool changed = false;
    for (size_t j = 0; j < m && !changed; j++)
      changed = same_name(environ[i], changes[j]);
    if (!changed)
      env[used++] = environ[i];
  }
  for (size_t j = 0; j < m; j++) {
    bool last = strchr(changes[j], '=') != NULL; /* of several for one name the last holds */
    for (size_t k = j + 1; k < m && last; k++)
      last = strcspn(changes[j], "=") != strcspn(changes[k], "=") ||
             strncmp(changes[j], changes[k], strcspn(changes[j], "=")) != 0;
    if (last)
      env[used++] = unconst(changes[j]);
  }
  env[used] = NULL;
  return env;
}

/* posix_spawn with the streams as opened; 0 or an errno. */
static int start(ml_child *child, const ml_spawn_options *o, char **env, const int theirs[3],
                 int dir) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int code = posix_spawn_file_actions_init(&actions);
  if (code)
    return code;
  if ((code = posix_spawnattr_init(&attributes))) {
    posix_spawn_file_actions_destroy(&actions);
    return code;
  }
  char *const *argv;
  memcpy(&argv, &o->argv, sizeof argv);
  sigset_t all, none;
  sigfillset(&all);
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  sigemptyset(&none);
  short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
  if (o->group)
    flags |= POSIX_SPAWN_SETPGROUP;
  code = posix_spawnattr_setflags(&attributes, flags);
  if (!code)
    code = posix_spawnattr_setsigdefault(&attributes, &all);
  if (!code)
    code = posix_spawnattr_setsigmask(&attributes, &none);
  if (!code && o->group)
    code = posix_spawnattr_setpgroup(&attributes, 0);
  for (int i = 0; i < 3 && !code; i++) {
    if (theirs[i] >= 0)
      code = posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
  }
  if (!code && o->streams[2].kind == ML_STREAM_OUTPUT)
    code = posix_spawn_file_actions_adddup2(&actions, 1, 2);
  if (!code && dir >= 0)
    code = posix_spawn_file_actions_addfchdir_np(&actions, dir);
  if (!code)
    code = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  if (!code)
    code = posix_spawnp(&child->pid, o->argv[0], &actions, &attributes, argv, env);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

ml_status ml_child_spawn(ml_child **out, const ml_spawn_options *o, bool *found, ml_error *err) {
  int theirs[3] = {-1, -1, -1}, dir = -1;
  *out = NULL;
  if (found)
    *found = true;
  reap_orphans();
  if (!o->argv || !o->argv[0] || !o->argv[0][0])
    return ml_fail(err, ML_EARG, 1, "the program's name is empty");
  ml_child *child = ml_alloc(sizeof *child);
  if (!child)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for a child process");
  child->pidfd = child->pipes[0] = child->pipes[1] = child->pipes[2] = -1;
  child->group = o->group;
  child->state = ML_EXITED; /* until it is born */
  ml_status status = ML_OK;
  char **env = make_environment(o->env);
  if (!env)
    status = ml_fail(err, ML_ENOMEM, 0, "no memory for an environment");
  if (!status && o->dir && (dir = lift(open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC))) < 0)
    status = ML_FAIL_ERRNO(err, "enter", o->dir, errno);
  for (int i = 0; i < 3 && !status; i++)
    status = open_stream(&o->streams[i], i, &theirs[i], &child->pipes[i], err);
  if (!status) {
    int code = start(child, o, env, theirs, dir);
    if (code) {
      if (found)
        *found = !(code == ENOENT || code == EACCES || code == ENOEXEC || code == ENOTDIR);
      status = code == ENOMEM
                   ? ml_fail(err, ML_ENOMEM, 0, "no memory to run '%s'", ml_shown(o->argv[0]))
                   : ML_FAIL_ERRNO(err, "run", o->argv[0], code);
    } else {
      child->state = ML_RUNNING;
      child->pidfd = pidfd_open(child->pid, 0);
      for (int i = 0; i < 3; i++) { /* waits are ours, so that Ctrl-C ends them */
        if (child->pipes[i] >= 0)
          (void)fcntl(child->pipes[i], F_SETFL, O_NONBLOCK);
      }
    }
  }
  for (int i = 0; i < 3; i++) {
    if (theirs[i] >= 0)
      close(theirs[i]);
  }
  if (dir >= 0)
    close(dir);
  ml_free(env);
  if (status) {
    ml_child_free(child);
    return status;
  }
  *out = child;
  return ML_OK;
}

/* ---- pipes ----------------------------------------------------------------------------------- */

ml_status ml_child_read(ml_child *child, char *data, size_t size, double timeout, int *stream,
                        size_t *n, ml_error *err) {
  double deadline = deadline_of(timeout);
  *stream = 0;
  *n = 0;
  for (;;) {
    struct pollfd fds[2];
    nfds_t count = 0;
    for (int i = 1; i < 3; i++) {
      if (child->pipes[i] >= 0)
        fds[count++] = (struct pollfd){.fd = child->pipes[i], .events = POLLIN};
    }
    if (!count)
      return ML_OK;
    ML_POLL(err);
    int ms = slice(deadline);
    int ready = poll(fds, count, ms);
    if (ready < 0 && errno != EINTR)
      return ml_fail(err, ML_EIO, 0, "cannot read from pid %ld: %s", (long)child->pid,
                     strerror(errno));
    for (nfds_t k = 0; k < count && ready > 0; k++) {
      if (!fds[k].revents)
        continue;
      int i = fds[k].fd == child->pipes[1] ? 1 : 2;
      ssize_t got = read(fds[k].fd, data, size);
      if (got > 0) {
        *stream = i;
        *n = (size_t)got;
        return ML_OK;
      }
      if (got < 0 && (errno == EAGAIN || errno == EINTR))
        continue;
      close(child->pipes[i]); /* its end */
      child->pipes[i] = -1;
    }
    if (ready <= 0 && ms == 0) {
      *stream = -1;
      return ML_OK;
    }
  }
}

/* write without SIGPIPE, which would end us when the child no longer reads. */
static ssize_t write_quietly(int fd, const char *data, size_t n) {
  sigset_t pipe_only, old, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  bool was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
  ssize_t done = write(fd, data, n);
  int code = errno;
  if (done < 0 && code == EPIPE && !was_pending) {
    struct timespec now = {0, 0};
    while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = code;
  return done;
}

ml_status ml_child_write(ml_child *child, const char *data, size_t n, double timeout, size_t *left,
                         ml_error *err) {
  double deadline = deadline_of(timeout);
  *left = n;
  if (child->pipes[0] < 0)
    return ml_fail(err, ML_ESTATE, 0, "the child's stdin is no open pipe");
  while (n) {
    ML_POLL(err);
    ssize_t done = write_quietly(child->pipes[0], data, n);
    if (done >= 0) {
      data += done;
      n -= (size_t)done;
      *left = n;
      continue;
    }
    if (errno == EINTR)
      continue;
    if (errno != EAGAIN)
      return ml_fail(err, ML_EIO, 0, "cannot write to pid %ld: %s", (long)child->pid,
                     strerror(errno));
    struct pollfd fd = {.fd = child->pipes[0], .events = POLLOUT};
    int ms = slice(deadline);
    if (poll(&fd, 1, ms) == 0 && ms == 0)
      return ML_OK;
  }
  return ML_OK;
}

void ml_child_close_stdin(ml_child *child) {
  if (child->pipes[0] >= 0)
    close(child->pipes[0]);
  child->pipes[0] = -1;
}
