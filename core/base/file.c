/* Files: those we write appear whole or not at all, those we read are taken whole. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_TMPFILE */
#endif
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_BUFFER = 64 * 1024, PATH_SHOWN = 130 };
#define MAP_MIN ((size_t)64 << 20)
#define WRITE_PIECE ((size_t)16 << 20)

/* The end of a long path: the message has room for the reason too. */
static const char *shown(const char *path) {
  size_t n = strlen(path);
  return n > PATH_SHOWN ? path + n - PATH_SHOWN : path;
}

#define FAIL_ERRNO(err, verb, path, code)                                                          \
  ml_fail((err), ML_EIO, 1, "cannot %s '%s': %s", (verb), shown(path), strerror(code))

/* ---- writing --------------------------------------------------------------------------------- */

struct ml_out_file {
  int fd;
  bool direct; /* a device or pipe: written as it comes, no renaming */
  bool linked; /* temp names a file */
  size_t used;
  char target[PATH_MAX]; /* after symbolic links */
  char temp[PATH_MAX];
  char buffer[OUT_BUFFER];
};

static void folder_of(char folder[PATH_MAX], const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    snprintf(folder, PATH_MAX, ".");
  else if (slash == path)
    snprintf(folder, PATH_MAX, "/");
  else
    snprintf(folder, PATH_MAX, "%.*s", (int)(slash - path), path);
}

/* A name beside the target that nobody uses. */
static bool temp_name(ml_out_file *f) {
  static unsigned serial;
  char folder[PATH_MAX];
  folder_of(folder, f->target);
  int n =
      snprintf(f->temp, sizeof f->temp, "%s/.moonlab-%ld-%u.tmp", folder, (long)getpid(), serial++);
  return n > 0 && (size_t)n < sizeof f->temp;
}

ml_status ml_out_open(ml_out_file **file, const char *path, ml_error *err) {
  *file = NULL;
  if (!*path)
    return ml_fail(err, ML_EARG, 1, "the file name is empty");
  if (strlen(path) >= PATH_MAX - 64)
    return FAIL_ERRNO(err, "write", path, ENAMETOOLONG);
  ml_out_file *f = ml_alloc(sizeof *f);
  if (!f)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to write '%s'", shown(path));
  if (!realpath(path, f->target) || strlen(f->target) >= PATH_MAX - 64)
    snprintf(f->target, sizeof f->target, "%s", path);

  struct stat now;
  int code = 0;
  bool exists = stat(f->target, &now) == 0;
  if (exists && S_ISDIR(now.st_mode)) {
    f->fd = -1;
    code = EISDIR;
  } else if (exists && !S_ISREG(now.st_mode)) {
    f->direct = true;
    /* a pipe that nobody reads is refused (ENXIO); what follows may wait for its reader */
    f->fd = open(f->target, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    code = errno;
    if (f->fd >= 0)
      (void)!fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_NONBLOCK);
  } else {
    mode_t mode = exists ? now.st_mode & 0777 : 0666;
    char folder[PATH_MAX];
    folder_of(folder, f->target);
    /* a file without a name vanishes with the process, even when it is killed; it is named through
     * /proc */
    f->fd = -1;
    if (access("/proc/self/fd", X_OK) == 0)
      f->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
    code = errno;
    for (int attempt = 0; f->fd < 0 && attempt < 100; attempt++) {
      if (!temp_name(f)) {
        code = ENAMETOOLONG;
        break;
      }
      f->fd = open(f->temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
      code = errno;
      f->linked = f->fd >= 0;
      if (code != EEXIST)
        break;
    }
  }
  if (f->fd >= 0 && exists && !f->direct)
    (void)!fchmod(f->fd, now.st_mode & 0777);
  if (f->fd < 0) {
    ml_free(f);
    return FAIL_ERRNO(err, "write", path, code);
  }
  *file = f;
  return ML_OK;
}

/* Cancelled between pieces; a small write is finished. */
static ml_status write_all(ml_out_file *f, const char *data, size_t bytes, ml_error *err) {
  while (bytes) {
    ssize_t n = write(f->fd, data, bytes < WRITE_PIECE ? bytes : WRITE_PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return FAIL_ERRNO(err, "write", f->target, n ? errno : ENOSPC);
    data += n;
    bytes -= (size_t)n;
    if (bytes)
      ML_POLL(err);
  }
  return ML_OK;
}

ml_status ml_out_write(ml_out_file *file, const void *data, size_t bytes, ml_error *err) {
  if (!bytes)
    return ML_OK;
  if (bytes > sizeof file->buffer - file->used) {
    ML_TRY(write_all(file, file->buffer, file->used, err));
    file->used = 0;
    if (bytes >= sizeof file->buffer)
      return write_all(file, data, bytes, err);
  }
  memcpy(file->buffer + file->used, data, bytes);
  file->used += bytes;
  return ML_OK;
}

/* Gives the nameless file its temporary name. */
static int link_temp(ml_out_file *f) {
  char self[64];
  snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
  for (int attempt = 0; attempt < 100; attempt++) {
    if (!temp_name(f))
      return ENAMETOOLONG;
    if (linkat(AT_FDCWD, self, AT_FDCWD, f->temp, AT_SYMLINK_FOLLOW) == 0) {
      f->linked = true;
      return 0;
    }
    if (errno != EEXIST)
      return errno;
  }
  return EEXIST;
}

static ml_status commit(ml_out_file *f, ml_error *err) {
  ML_TRY(write_all(f, f->buffer, f->used, err));
  f->used = 0;
  if (f->direct)
    return ML_OK;
  if (fsync(f->fd))
    return FAIL_ERRNO(err, "write", f->target, errno);
  int code = f->linked ? 0 : link_temp(f);
  if (code)
    return FAIL_ERRNO(err, "write", f->target, code);
  if (rename(f->temp, f->target))
    return FAIL_ERRNO(err, "write", f->target, errno);
  f->linked = false;
  /* the file is whole and named; a folder that cannot be synced costs durability only */
  char folder[PATH_MAX];
  folder_of(folder, f->target);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    (void)!fsync(fd);
    close(fd);
  }
  return ML_OK;
}

ml_status ml_out_commit(ml_out_file *file, ml_error *err) {
  ml_status status = commit(file, err);
  ml_out_discard(file);
  return status;
}

void ml_out_discard(ml_out_file *file) {
  if (!file)
    return;
  close(file->fd);
  if (file->linked)
    unlink(file->temp);
  ml_free(file);
}

ml_status ml_write_file(const char *path, const void *data, size_t bytes, ml_error *err) {
  ml_out_file *f;
  ML_TRY(ml_out_open(&f, path, err));
  ml_status status = ml_out_write(f, data, bytes, err);
  if (status) {
    ml_out_discard(f);
    return status;
  }
  return ml_out_commit(f, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Into a block that grows as the file turns out longer: pipes and /proc have no size beforehand. */
static ml_status read_all(ml_in_file *file, int fd, size_t expected, const char *path,
                          ml_error *err) {
  size_t capacity = expected + 1, used = 0; /* one more, so that the end is seen without growing */
  char *data = ml_block_new(capacity);
  for (;;) {
    if (!data)
      return ml_fail(err, ML_ENOMEM, 0, "no memory to read '%s': %zu bytes", shown(path), capacity);
    ssize_t n = read(fd, data + used, capacity - used);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      int code = errno;
      ml_block_free(data);
      return FAIL_ERRNO(err, "read", path, code);
    }
    if (n == 0)
      break;
    used += (size_t)n;
    if (used == capacity) {
      capacity = capacity < 32768 ? 65536 : 2 * capacity;
      char *more = ml_block_new(capacity);
      if (more)
        memcpy(more, data, used);
      ml_block_free(data);
      data = more;
    }
  }
  *file = (ml_in_file){(unsigned char *)data, used, NULL};
  return ML_OK;
}

ml_status ml_in_open(ml_in_file *file, const char *path, ml_error *err) {
  *file = (ml_in_file){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe nobody writes to would block */
  if (fd < 0)
    return FAIL_ERRNO(err, "read", path, errno);
  struct stat now;
  ml_status status = ML_OK;
  if (fstat(fd, &now)) {
    status = FAIL_ERRNO(err, "read", path, errno);
  } else if (S_ISDIR(now.st_mode)) {
    status = FAIL_ERRNO(err, "read", path, EISDIR);
  } else if (!S_ISREG(now.st_mode)) { /* a device or a pipe may never end */
    status = ml_fail(err, ML_EIO, 1, "cannot read %.180s (not a regular file)", path);
  } else if (S_ISREG(now.st_mode) && now.st_size >= (off_t)MAP_MIN) {
    size_t bytes = (size_t)now.st_size;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
      status = FAIL_ERRNO(err, "read", path, errno);
    else
      *file = (ml_in_file){map, bytes, map};
  } else {
    status = read_all(file, fd, S_ISREG(now.st_mode) ? (size_t)now.st_size : 0, path, err);
  }
  close(fd);
  return status;
}

void ml_in_close(ml_in_file *file) {
  if (file->map)
    munmap(file->map, file->bytes);
  else
    ml_block_free((void *)(uintptr_t)file->data);
  *file = (ml_in_file){0};
}

ml_status ml_make_dirs(const char *path, ml_error *err) {
  char text[PATH_MAX];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof text)
    return FAIL_ERRNO(err, "make folder", path, n ? ENAMETOOLONG : ENOENT);
  memcpy(text, path, n + 1);
  for (char *p = text + 1;; p++) {
    if (*p && *p != '/')
      continue;
    char end = *p;
    *p = 0;
    struct stat now;
    if (mkdir(text, 0777) && errno != EEXIST && !(stat(text, &now) == 0 && S_ISDIR(now.st_mode)))
      return FAIL_ERRNO(err, "make folder", text, errno);
    if (!end) {
      if (stat(text, &now) || !S_ISDIR(now.st_mode))
        return FAIL_ERRNO(err, "make folder", text, ENOTDIR);
      return ML_OK;
    }
    *p = end;
  }
}
