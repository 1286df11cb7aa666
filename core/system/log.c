/* Append-only logs: a line that was written is in the system's hands, a write that fails is taken
 * back. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct ml_log {
  int fd;
  off_t size;
  char path[PATH_MAX];
};

int ml_write_all(int fd, const char *data, size_t bytes) {
  while (bytes) {
    ssize_t n = write(fd, data, bytes);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n ? errno : ENOSPC;
    data += n;
    bytes -= (size_t)n;
  }
  return 0;
}

/* Where the last whole line ends, or -1 with errno. */
static off_t whole_lines(int fd, off_t size) {
  char block[4096];
  while (size > 0) {
    size_t want = size < (off_t)sizeof block ? (size_t)size : sizeof block;
    ssize_t n = pread(fd, block, want, size - (off_t)want);
    if (n < 0 && errno == EINTR)
      continue;
    if (n != (ssize_t)want) {
      errno = n < 0 ? errno : EIO;
      return -1;
    }
    for (ssize_t i = n; i > 0; i--) {
      if (block[i - 1] == '\n')
        return size - n + i;
    }
    size -= n;
  }
  return 0;
}

ml_status ml_log_open(ml_log **out, const char *path, bool lines, ml_error *err) {
  *out = NULL;
  if (!*path || strlen(path) >= PATH_MAX)
    return ML_FAIL_ERRNO(err, "write", path, *path ? ENAMETOOLONG : ENOENT);
  ml_log *log = ml_alloc(sizeof *log);
  if (!log)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to write '%s'", ml_shown(path));
  memcpy(log->path, path, strlen(path) + 1);
  log->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
  struct stat now = {0};
  int code = 0;
  if (log->fd < 0 || fstat(log->fd, &now))
    code = errno;
  else if (!S_ISREG(now.st_mode))
    code = S_ISDIR(now.st_mode) ? EISDIR : EINVAL;
  if (!code) {
    log->size = now.st_size;
    off_t whole = lines ? whole_lines(log->fd, now.st_size) : now.st_size;
    if (whole < 0 || (whole < now.st_size && ftruncate(log->fd, whole)))
      code = errno;
    else
      log->size = whole;
  }
  if (code) {
    ml_log_close(log);
    return ML_FAIL_ERRNO(err, "write", path, code);
  }
  *out = log;
  return ML_OK;
}

ml_status ml_log_write(ml_log *log, const void *data, size_t bytes, ml_error *err) {
  int code = ml_write_all(log->fd, data, bytes);
  if (code) {
    (void)!ftruncate(log->fd, log->size); /* what failed leaves no half line */
    return ML_FAIL_ERRNO(err, "write", log->path, code);
  }
  log->size += (off_t)bytes;
  return ML_OK;
}

ml_status ml_log_sync(ml_log *log, ml_error *err) {
  return fdatasync(log->fd) ? ML_FAIL_ERRNO(err, "write", log->path, errno) : ML_OK;
}

void ml_log_close(ml_log *log) {
  if (!log)
    return;
  if (log->fd >= 0)
    close(log->fd);
  ml_free(log);
}
