/* The vector fills behind philox.c, one set per dtype and instruction set. Private to the base
 * room. */
#ifndef MOONLAB_BASE_RANDOM_H
#define MOONLAB_BASE_RANDOM_H

#include "base.h"

/* Whole blocks from the given counters: 2 doubles or 4 floats each. */
#define ML_RANDOM_DECLARE(real, suffix)                                                            \
  void ml_random_uniform_##suffix(real *x, int64_t blocks, uint64_t key, uint64_t counter,         \
                                  uint64_t counter_high, real lo, real width);                     \
  void ml_random_normal_##suffix(real *x, int64_t blocks, uint64_t key, uint64_t counter,          \
                                 uint64_t counter_high, real mean, real std);
ML_RANDOM_DECLARE(float, f32_portable)
ML_RANDOM_DECLARE(double, f64_portable)
#if defined(__x86_64__)
ML_RANDOM_DECLARE(float, f32_avx2)
ML_RANDOM_DECLARE(double, f64_avx2)
ML_RANDOM_DECLARE(float, f32_avx512)
ML_RANDOM_DECLARE(double, f64_avx512)
#endif

#endif
