/* Leases: exclusive creation of numbered files, a heartbeat thread that touches them. See system.h
 * for the rules. */
#include "private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAME_MAX_ = 32, CONTENT = 640 };
#define PREFIX "lease."
#define TEMP_PREFIX "lease.new-"

struct ml_lease {
  ml_lease *next;
  int dir; /* the folder stays open, so that nobody is misled when it is renamed */
  int64_t generation;
  ino_t inode;
  double timeout, interval;
  double beat; /* clock_now() of the last heartbeat that found it ours */
  double due;  /* of the next one */
  bool lost;
};

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_t thread;
  bool running;
  ml_lease *first;
} heart = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* Seconds, going on while the machine sleeps. */
static double clock_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(struct timespec t) { return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }

static void name_of(char name[NAME_MAX_], int64_t generation) {
  (void)snprintf(name, NAME_MAX_, PREFIX "%" PRId64, generation);
}

/* N of "lease.N", 0 for other names. */
static int64_t generation_of(const char *name) {
  if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
    return 0;
  name += strlen(PREFIX);
  size_t digits = strspn(name, "0123456789");
  if (!digits || digits > 15 || name[digits] || name[0] == '0')
    return 0;
  return strtoll(name, NULL, 10);
}

/* The largest N in the folder, 0 when there is none; with `below` all smaller ones are removed, and
 * what claims that were killed have left. -1 with errno when the folder cannot be read. */
static int64_t walk(int dir, int64_t below, double now, double timeout) {
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = fd < 0 ? NULL : fdopendir(fd);
  if (!list) {
    int code = errno;
    if (fd >= 0)
      close(fd);
    errno = code;
    return -1;
  }
  int64_t largest = 0;
  const struct dirent *entry;
  while ((entry = readdir(list))) {
    int64_t n = generation_of(entry->d_name);
    if (n > largest)
      largest = n;
    struct stat old;
    bool leftover = n ? n < below
                      : below && strncmp(entry->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0 &&
                            fstatat(dir, entry->d_name, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
                            now - seconds(old.st_mtim) > timeout;
    if (leftover)
      (void)unlinkat(dir, entry->d_name, 0);
  }
  closedir(list);
  return largest;
}

/* ---- content --------------------------------------------------------------------------------- */

static size_t write_content(char text[CONTENT], const ml_process_id *id) {
  int n =
      snprintf(text, CONTENT,
               "moonlab lease\nhost %s\npid %" PRId64 "\nstart %" PRId64 "\nboot %s\nspace %s\n",
               id->host, id->pid, id->start, id->boot, id->space);
  return n > 0 && n < CONTENT ? (size_t)n : 0;
}

static void copy_word(char *to, size_t size, const char *from) {
  size_t n = strcspn(from, "\n");
  if (n >= size)
    n = size - 1;
  memcpy(to, from, n);
  to[n] = 0;
  for (char *p = to; *p; p++) {
    if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
      *p = '?';
  }
}

/* Whatever the file holds; what it does not say stays empty, and is then judged by its age. */
static void read_content(ml_lease_info *info, const char *text) {
  for (const char *line = text; *line;) {
    if (strncmp(line, "host ", 5) == 0)
      copy_word(info->owner.host, sizeof info->owner.host, line + 5);
    else if (strncmp(line, "pid ", 4) == 0)
      info->owner.pid = strtoll(line + 4, NULL, 10);
    else if (strncmp(line, "start ", 6) == 0)
      info->owner.start = strtoll(line + 6, NULL, 10);
    else if (strncmp(line, "boot ", 5) == 0)
      copy_word(info->owner.boot, sizeof info->owner.boot, line + 5);
    else if (strncmp(line, "space ", 6) == 0)
      copy_word(info->owner.space, sizeof info->owner.space, line + 6);
    else if (strncmp(line, "released\n", 9) == 0)
      info->released = true;
    line += strcspn(line, "\n");
    line += *line == '\n';
  }
}

/* Fills info for lease.N; false with errno when it cannot be read. */
static bool read_lease(ml_lease_info *info, int dir, int64_t generation, double now,
                       double timeout) {
  char name[NAME_MAX_], text[CONTENT + 1];
  memset(info, 0, sizeof *info);
  name_of(name, generation);
  int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0)
    return false;
  struct stat st;
  ssize_t n = fstat(fd, &st) ? -1 : read(fd, text, CONTENT);
  int code = errno;
  close(fd);
  if (n < 0) {
    errno = code;
    return false;
  }
  text[n] = 0;
  if ((size_t)n != strlen(text))
    text[0] = 0; /* not ours */
  read_content(info, text);
  info->generation = generation;
  info->age = now - seconds(st.st_mtim);
  int alive = info->owner.pid > 0 ? ml_process_alive(&info->owner) : -1;
  info->live = !info->released && (alive > 0 || (alive < 0 && !(info->age > timeout)));
  return true;
}

static double wall_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return seconds(t);
}

ml_status ml_lease_look(ml_lease_info *info, const char *dir, double timeout, ml_error *err) {
  memset(info, 0, sizeof *info);
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return ML_FAIL_ERRNO(err, "read", dir, errno);
  ml_status status = ML_OK;
  for (int attempt = 0; attempt < 8; attempt++) {
    int64_t n = walk(fd, 0, 0, 0);
    if (n < 0)
      status = ML_FAIL_ERRNO(err, "read", dir, errno);
    if (n <= 0 || read_lease(info, fd, n, wall_now(), timeout))
      break;
    memset(info, 0, sizeof *info);
    if (errno != ENOENT) { /* it is there, but says nothing to us */
      info->generation = n;
      info->live = true;
      break;
    }
  }
  close(fd);
  return status;
}

/* ---- the heartbeat --------------------------------------------------------------------------- */

/* Renews the file's time and sees whether it is still ours: who takes over creates lease.N+1, and
 * only then removes lease.N. Called with the mutex held. */
static void beat(ml_lease *lease) {
  char own[NAME_MAX_], above[NAME_MAX_];
  struct stat st;
  name_of(own, lease->generation);
  name_of(above, lease->generation + 1);
  if (fstatat(lease->dir, own, &st, AT_SYMLINK_NOFOLLOW)) {
    if (errno == ENOENT)
      lease->lost = true;
    return; /* a server that does not answer: later */
  }
  if (st.st_ino != lease->inode || fstatat(lease->dir, above, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    lease->lost = true;
    return;
  }
  if (utimensat(lease->dir, own, NULL, AT_SYMLINK_NOFOLLOW) == 0)
    lease->beat = clock_now();
}

static void *heartbeat(void *unused) {
  (void)unused;
  pthread_mutex_lock(&heart.mutex);
  while (heart.first) {
    double now = clock_now(), wait = 3600;
    for (ml_lease *lease = heart.first; lease; lease = lease->next) {
      if (lease->lost)
        continue;
      if (now >= lease->due) {
        beat(lease);
        lease->due = now + lease->interval;
      }
      if (lease->due - now < wait)
        wait = lease->due - now;
    }
    if (wait < 0.05)
      wait = 0.05;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)wait;
    until.tv_nsec += (long)(1e9 * (wait - (double)(time_t)wait));
    if (until.tv_nsec >= 1000000000L) {
      until.tv_nsec -= 1000000000L;
      until.tv_sec++;
    }
    pthread_cond_timedwait(&heart.wake, &heart.mutex, &until);
  }
  pthread_mutex_unlock(&heart.mutex);
  return NULL;
}

/* Adds the lease and starts the thread with the first one; 0 or an errno. All signals stay with the
 * main thread. */
static int heart_add(ml_lease *lease) {
  int code = 0;
  pthread_mutex_lock(&heart.mutex);
  lease->next = heart.first;
  heart.first = lease;
  if (!heart.running) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    code = pthread_create(&heart.thread, NULL, heartbeat, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    heart.running = code == 0;
    if (code)
      heart.first = lease->next;
  } else {
    pthread_cond_signal(&heart.wake);
  }
  pthread_mutex_unlock(&heart.mutex);
  return code;
}

static void heart_remove(ml_lease *lease) {
  pthread_mutex_lock(&heart.mutex);
  ml_lease **at = &heart.first;
  while (*at && *at != lease)
    at = &(*at)->next;
  if (*at)
    *at = lease->next;
  bool last = heart.running && !heart.first;
  if (last)
    heart.running = false;
  pthread_cond_signal(&heart.wake);
  pthread_t thread = heart.thread;
  pthread_mutex_unlock(&heart.mutex);
  if (last)
    pthread_join(thread, NULL);
}

/* ---- claiming -------------------------------------------------------------------------------- */

/* A file of our own in the folder with our content, whose time is the file system's now; 0 or an
 * errno. */
static int make_temp(int dir, char name[2 * NAME_MAX_ + ML_HOST_MAX], double *now) {
  static unsigned serial;
  ml_process_id self;
  char text[CONTENT];
  ml_process_self(&self);
  size_t n = write_content(text, &self);
  (void)snprintf(name, 2 * NAME_MAX_ + ML_HOST_MAX, TEMP_PREFIX "%s-%" PRId64 "-%u", self.host,
                 self.pid, serial++);
  for (char *p = name; *p; p++) {
    if (*p == '/')
      *p = '-';
  }
  (void)unlinkat(dir, name, 0); /* of an earlier process with our pid */
  int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return errno;
  struct stat st;
  int code = ml_write_all(fd, text, n);
  if (!code && fstat(fd, &st))
    code = errno;
  if (!code)
    *now = seconds(st.st_mtim);
  if (close(fd) && !code)
    code = errno; /* NFS tells a full disk here */
  if (code)
    (void)unlinkat(dir, name, 0);
  return code;
}

/* Gives the temporary file the name lease.N unless that is taken: 0, EEXIST or another errno. */
static int take_name(int dir, const char *temp, int64_t generation, ino_t *inode) {
  char name[NAME_MAX_];
  struct stat st;
  name_of(name, generation);
  int code = linkat(dir, temp, dir, name, 0) ? errno : 0;
  if (fstatat(dir, temp, &st, AT_SYMLINK_NOFOLLOW))
    return code ? code : errno;
  if (code == EEXIST && st.st_nlink == 2)
    code = 0; /* done, though the server's answer was lost and the call repeated */
  if (code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EMLINK) { /* no links here */
    ml_process_id self;
    char text[CONTENT];
    ml_process_self(&self);
    size_t n = write_content(text, &self);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
      return errno;
    code = ml_write_all(fd, text, n);
    if (!code && fstat(fd, &st))
      code = errno;
    close(fd);
  }
  if (!code)
    *inode = st.st_ino;
  return code;
}

static ml_status held_by(ml_error *err, const char *dir, const ml_lease_info *info) {
  if (!info->owner.pid)
    return ml_fail(err, ML_ESTATE, 0, "'%s' is being written by another process", ml_shown(dir));
  return ml_fail(err, ML_ESTATE, 0, "'%s' is being written by pid %" PRId64 " on %.60s",
                 ml_shown(dir), info->owner.pid, info->owner.host);
}

static ml_status claim(ml_lease *lease, const char *dir, ml_lease_info *holder, ml_error *err) {
  char temp[2 * NAME_MAX_ + ML_HOST_MAX];
  double now = 0;
  int code = make_temp(lease->dir, temp, &now);
  if (code)
    return ML_FAIL_ERRNO(err, "write a lease in", dir, code);
  ml_status status = ML_OK;
  for (int attempt = 0;; attempt++) {
    int64_t n = walk(lease->dir, 0, 0, 0);
    if (n < 0) {
      status = ML_FAIL_ERRNO(err, "read", dir, errno);
      break;
    }
    if (n > 0 && !read_lease(holder, lease->dir, n, now, lease->timeout)) {
      if (errno == ENOENT && attempt < 100)
        continue; /* taken over meanwhile */
      status = ML_FAIL_ERRNO(err, "read the lease in", dir, errno);
      break;
    }
    if (n > 0 && holder->live) {
      status = held_by(err, dir, holder);
      break;
    }
    code = take_name(lease->dir, temp, n + 1, &lease->inode);
    if (code == EEXIST && attempt < 100)
      continue; /* somebody was faster */
    if (code) {
      status = ML_FAIL_ERRNO(err, "write a lease in", dir, code);
      break;
    }
    lease->generation = n + 1;
    int64_t largest = walk(lease->dir, n + 1, now, lease->timeout);
    if (largest == n + 1)
      break; /* ours */
    /* What we saw was old: others have gone on. */
    char name[NAME_MAX_];
    name_of(name, n + 1);
    (void)unlinkat(lease->dir, name, 0);
    if (attempt >= 100) {
      status = ml_fail(err, ML_ESTATE, 0, "'%s' is being claimed by many at once", ml_shown(dir));
      break;
    }
  }
  (void)unlinkat(lease->dir, temp, 0);
  return status;
}

ml_status ml_lease_claim(ml_lease **out, const char *dir, double timeout, double interval,
                         ml_lease_info *holder, ml_error *err) {
  ml_lease_info unused;
  *out = NULL;
  if (!holder)
    holder = &unused;
  memset(holder, 0, sizeof *holder);
  if (!(timeout > 0))
    return ml_fail(err, ML_EARG, 2, "timeout is %g, wanted > 0", timeout);
  if (!(interval > 0 && interval < timeout))
    return ml_fail(err, ML_EARG, 2, "interval is %g, wanted > 0 and below the timeout of %g",
                   interval, timeout);
  ml_lease *lease = ml_alloc(sizeof *lease);
  if (!lease)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for a lease");
  lease->timeout = timeout;
  lease->interval = interval;
  lease->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ml_status status;
  if (lease->dir < 0) {
    status = ML_FAIL_ERRNO(err, "write a lease in", dir, errno);
  } else {
    status = claim(lease, dir, holder, err);
    lease->beat = clock_now();
    lease->due = lease->beat + interval;
    if (!status) {
      int code = heart_add(lease);
      if (!code) {
        *out = lease;
        return ML_OK;
      }
      ml_lease_release(lease);
      return ML_FAIL_ERRNO(err, "keep a lease in", dir, code);
    }
    close(lease->dir);
  }
  ml_free(lease);
  return status;
}

bool ml_lease_held(ml_lease *lease) {
  pthread_mutex_lock(&heart.mutex);
  if (!lease->lost && clock_now() - lease->beat > lease->timeout / 2)
    beat(lease); /* stopped for long: has somebody thought us dead? */
  bool held = !lease->lost;
  pthread_mutex_unlock(&heart.mutex);
  return held;
}

void ml_lease_release(ml_lease *lease) {
  if (!lease)
    return;
  heart_remove(lease);
  if (!lease->lost) {
    char name[NAME_MAX_];
    name_of(name, lease->generation);
    int fd = openat(lease->dir, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
      struct stat st;
      if (fstat(fd, &st) == 0 && st.st_ino == lease->inode)
        (void)ml_write_all(fd, "released\n", 9);
      close(fd);
    }
  }
  close(lease->dir);
  ml_free(lease);
}
