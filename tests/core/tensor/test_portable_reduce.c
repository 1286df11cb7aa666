/* The tests of reductions once more on the portable hot loops. */
#include <stdlib.h>

__attribute__((constructor)) static void choose_portable(void) {
  setenv("MOONLAB_SIMD", "portable", 1);
}

#include "test_reduce.c"
