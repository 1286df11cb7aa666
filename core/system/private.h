/* What the files of the system room share and nobody else sees. */
#ifndef MOONLAB_SYSTEM_PRIVATE_H
#define MOONLAB_SYSTEM_PRIVATE_H

#include "system.h"

#include <limits.h>
#include <string.h>

enum { ML_PATH_SHOWN = 130 };

/* The end of a long path: the message has room for the reason too. */
static inline const char *ml_shown(const char *path) {
  size_t n = strlen(path);
  return n > ML_PATH_SHOWN ? path + n - ML_PATH_SHOWN : path;
}

#define ML_FAIL_ERRNO(err, verb, path, code)                                                       \
  ml_fail((err), ML_EIO, 1, "cannot %s '%s': %s", (verb), ml_shown(path), strerror(code))

/* Writes all of it; 0 or an errno. */
int ml_write_all(int fd, const char *data, size_t bytes);

#endif
