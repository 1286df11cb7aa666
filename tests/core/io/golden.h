/* Golden files of the io tests and the values that tests/golden/io/make.py put into them. */
#ifndef MOONLAB_TESTS_IO_GOLDEN_H
#define MOONLAB_TESTS_IO_GOLDEN_H

#include "check.h"
#include "io/io.h"

#include <unistd.h>

static inline const char *golden(const char *name) {
  static char path[1024];
  snprintf(path, sizeof path, "%s/golden/io/%s", ML_TESTS, name);
  return path;
}

typedef enum { REALS, SIGNED, UNSIGNED, BOOLS } values;

static inline void check_values(const ml_tensor *t, values kind) {
  int64_t position[ML_MAX_RANK] = {0};
  for (int64_t i = 0; i < ml_numel(t); i++) {
    double v = (double)(7 * i % 23 - 5);
    double want = kind == REALS      ? v / 4
                  : kind == SIGNED   ? v
                  : kind == UNSIGNED ? v + 5
                                     : (double)(v > 5);
    CHECK_CLOSE(ml_tensor_get(t, position), want, 0);
    for (int k = t->rank - 1; k >= 0 && ++position[k] == t->size[k]; k--)
      position[k] = 0;
  }
}

#define CHECK_DESCRIBED(t, text)                                                                   \
  do {                                                                                             \
    char check_buf_[ML_DESCRIBE];                                                                  \
    CHECK_STRING(ml_describe(check_buf_, (t)), (text));                                            \
  } while (0)

/* A file of this process that no other test uses. */
static inline const char *scratch_file(const char *name) {
  static char path[2][256];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "/tmp/moonlab-io-%ld-%s", (long)getpid(), name);
  return path[turn];
}

#endif
