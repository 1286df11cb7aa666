/* Base room: status and error, memory, the thread pool, cancel flag, CPU features, Philox, files.
 *
 * Nothing here knows tensors or Lua. All calls are made from one thread (the interpreter's), except
 * those marked [any thread]: bodies of ml_parallel_for run on the pool and neither allocate nor
 * report errors. */
#ifndef MOONLAB_BASE_H
#define MOONLAB_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ML_API __attribute__((visibility("default")))
#define ML_MUST_CHECK __attribute__((warn_unused_result))
#define ML_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- status and error ------------------------------------------------------------------------ */

typedef enum {
  ML_OK = 0,
  ML_EARG,      /* a value out of its range */
  ML_ESHAPE,    /* shapes disagree */
  ML_EDTYPE,    /* wrong or mixed dtype */
  ML_ENOMEM,    /* allocation refused; the caller may free something and try again */
  ML_EIO,       /* the system refused a file operation */
  ML_EFORMAT,   /* a file's content is not what its format allows */
  ML_ENUMERIC,  /* not positive definite, no convergence, ... */
  ML_ESTATE,    /* released tensor, second backward, in-place change of a saved tensor, ... */
  ML_ECANCELLED /* Ctrl-C */
} ml_status;

/* Lives on the caller's stack, so that reporting never allocates. */
typedef struct {
  ml_status status;
  int arg; /* position of the offending input in the Lua call, from 1; 0 when there is none */
  char message[240];
} ml_error;

ML_API void ml_error_set(ml_error *err, ml_status status, int arg, const char *fmt, ...)
    ML_PRINTF(4, 5);
ML_API const char *ml_status_name(ml_status status);

/* A macro that yields the constant status, so that analysers see the failing path. */
#define ml_fail(err, status, arg, ...) (ml_error_set((err), (status), (arg), __VA_ARGS__), (status))
#define ML_TRY(call)                                                                               \
  do {                                                                                             \
    ml_status try_status_ = (call);                                                                \
    if (try_status_)                                                                               \
      return try_status_;                                                                          \
  } while (0)
/* For a call whose argument positions are not ours: clears err->arg on failure. */
#define ML_TRY_INNER(call, err)                                                                    \
  do {                                                                                             \
    ml_status try_status_ = (call);                                                                \
    if (try_status_) {                                                                             \
      (err)->arg = 0;                                                                              \
      return try_status_;                                                                          \
    }                                                                                              \
  } while (0)

/* ---- memory ---------------------------------------------------------------------------------- */

/* Small metadata. Counted for leak tests, failed in turn by the injector. NULL when refused. */
ML_API void *ml_alloc(size_t bytes);            /* zeroed */
ML_API void *ml_realloc(void *p, size_t bytes); /* keeps p on failure */
ML_API void ml_free(void *p);
ML_API int64_t ml_alloc_count(void); /* live ml_alloc objects */

/* Blocks: storage of tensors, 64-byte aligned, served from a cache by size class (at most 1/8
 * wasted). The content is not initialised. NULL when the system or the limit refuses (the cache is
 * emptied first). */
ML_API void *ml_block_new(size_t bytes);
ML_API void ml_block_free(void *block);
ML_API size_t ml_block_capacity(const void *block);

typedef struct {
  uint64_t live;               /* bytes in blocks owned by callers */
  uint64_t cached;             /* bytes in blocks waiting for reuse */
  uint64_t peak;               /* largest live since the start */
  uint64_t limit;              /* live + cached never exceed this */
  uint64_t system_allocations; /* times the system was asked for a block */
} ml_memory_info;
ML_API uint64_t ml_live_bytes(void);
ML_API void ml_memory(ml_memory_info *info);
/* 0: back to the default, 90 % of what is available (cgroup included) */
ML_API void ml_memory_set_limit(uint64_t bytes);
ML_API void ml_memory_reset_peak(void);
ML_API void ml_cache_trim(void); /* gives cached blocks back to the system */

/* Failure injection, for tests. The n-th allocation from now on fails (n counts from 1; ml_alloc,
 * ml_realloc and ml_block_new count alike); persistent: and all after it. n = 0 switches it off. */
ML_API void ml_inject_alloc_failure(int64_t n, bool persistent);
ML_API int64_t ml_inject_count(void); /* allocations seen since the last ml_inject_alloc_failure */

/* Arena: scratch with marks. Blocks never move; release gives everything after the mark back. */
typedef struct ml_arena ml_arena;
ML_API ml_arena *ml_arena_new(void);
ML_API void ml_arena_free(ml_arena *arena);
/* 64-byte aligned, not initialised; NULL when refused */
ML_API void *ml_arena_take(ml_arena *arena, size_t bytes);
ML_API size_t ml_arena_mark(const ml_arena *arena);
ML_API void ml_arena_release(ml_arena *arena, size_t mark);
/* the process's own arena for core; NULL only when out of memory */
ML_API ml_arena *ml_scratch(void);

/* ---- threads and cancel ---------------------------------------------------------------------- */

ML_API int ml_threads(void);
ML_API ml_status ml_set_threads(int n, ml_error *err); /* 1..256 */

/* Calls body(ctx, i, worker) once for each i in [0, n), on the pool. Which worker runs which i is
 * not fixed, so the work of an i must not depend on it: cut work by shape and dtype only. worker <
 * ml_threads() picks per-worker scratch. cost: rough flops or bytes of one i; a region cheaper than
 * a few microseconds runs on the calling thread. Nested calls run serially. [any thread] */
typedef void (*ml_body)(void *ctx, int64_t i, int worker);
ML_API void ml_parallel_for(int64_t n, double cost, ml_body body, void *ctx);
ML_API bool ml_in_parallel(void);
/* The same for work that may be cut short: bodies are skipped once cancelled, and ML_ECANCELLED
 * tells that what they were to write is unfinished. A single body always runs. */
ML_API ml_status ml_parallel_poll(int64_t n, double cost, ml_body body, void *ctx,
                                  ml_error *err) ML_MUST_CHECK;

/* Set by the host's SIGINT handler (async-signal-safe) or a test; long loops poll it per block.
 * [any thread] */
ML_API void ml_cancel(void);
ML_API bool ml_cancelled(void);
ML_API void ml_cancel_clear(void);
/* For tests: the n-th poll from now on finds the flag set. Returns how many polls the call before
 * had left; 0 ends it. */
ML_API int ml_cancel_after(int n);
#define ML_POLL(err)                                                                               \
  do {                                                                                             \
    if (ml_cancelled())                                                                            \
      return ml_fail((err), ML_ECANCELLED, 0, "interrupted");                                      \
  } while (0)

/* ---- machine --------------------------------------------------------------------------------- */

typedef enum { ML_ISA_PORTABLE = 0, ML_ISA_AVX2 = 1, ML_ISA_AVX512 = 2 } ml_isa;
/* Best level of this CPU, or a lower one asked for by MOONLAB_SIMD=portable|avx2|avx512. Fixed at
 * the first call. */
ML_API ml_isa ml_cpu_isa(void);
ML_API const char *ml_isa_name(ml_isa isa);
ML_API const char *ml_cpu_name(void); /* brand string */
/* "avx2 fma avx512f avx512bw avx512_bf16 amx_bf16 ...", those present */
ML_API const char *ml_cpu_features(void);
/* The pair products of AVX512-BF16 run at the rate of f32 ones: AMD's processors; Intel's take two
 * cycles for what f32 does in one. */
ML_API bool ml_cpu_fast_bf16(void);
/* Whether there are matrix units for bf16 that the system lets this process use; asks it at the
 * first call. [caller] */
ML_API bool ml_cpu_matrix_units(void);
ML_API double ml_now(void);        /* seconds, monotonic */
ML_API double ml_cpu_now(void);    /* seconds of CPU time of the process */
ML_API uint64_t ml_peak_rss(void); /* bytes, since the start */

/* ---- random numbers: Philox4x32-10 (Salmon et al. 2011) -------------------------------------- */

/* clang-format off */
/* key: the stream. counter: the next 128-bit block, low word first; a draw always starts at a block
 * and takes whole blocks, so that element i of a draw depends on key, counter and i only.
 *
 * From words to numbers. Block c is philox(key, counter c, high half 0) with words w0..w3; its
 * 64-bit words are w0 + 2^32 w1 and w2 + 2^32 w3. A draw of n elements takes from its first
 * block on:
 *   uniform f64  2 a block: u = (64-bit word >> 11) 2^-53; x = lo + (hi - lo) u, rounded at each
 *                step
 *   uniform f32  4 a block: u = (word >> 8) 2^-24; the same in f32, hi - lo rounded to f32
 *   normal       uniforms u, v of a pair of elements: r = sqrt(-2 log(1-u)),
 *                x = mean + std r cos(2 pi v), then mean + std r sin(2 pi v)
 *   truncated    normal(0, 1); an element beyond +-2 is taken again from the same block with high
 *                half 1, 2, ...
 *   integers     2 a block: m = 64-bit word * (hi - lo + 1); x = lo + (m >> 64); where m mod 2^64
 *                is below 2^64 mod (hi - lo + 1), again from the same block with high half 1, 2,
 *                ...
 *   permutation  x = 0..n-1; for i = n-1 down to 1: swap x[i] with x[j], j the integer in 0..i from
 *                64-bit word n-1-i
 *   fold         the new key is w0 + 2^32 w1 of philox(~key, ml_hash64(name, 0), high half i);
 *                counter 0
 * Everything but log, cos and sin is exact or one rounding, and these three are built from single
 * roundings too: the bytes are the same on every machine. tests/golden/philox.py is all this in
 * NumPy. */
/* clang-format on */
typedef struct {
  uint64_t key;
  uint64_t counter; /* the high 64 bits of the Philox counter are 0 */
} ml_rng;

ML_API void ml_philox(uint32_t out[4], uint64_t key, uint64_t counter_low, uint64_t counter_high);
ML_API ml_rng ml_rng_seed(uint64_t seed);
/* Independent stream: hashes key, name and i, never the counter. */
ML_API ml_rng ml_rng_fold(const ml_rng *g, const char *name, size_t name_len, int64_t i);
/* Fills; each advances g by the blocks used. f64 uniforms take 53 bits of two words, f32 24 bits of
 * one; normals by Box-Muller on pairs of uniforms. Parallel over fixed chunks. */
ML_API void ml_rng_uniform_f64(ml_rng *g, double *x, int64_t n, double lo, double hi);
ML_API void ml_rng_uniform_f32(ml_rng *g, float *x, int64_t n, double lo, double hi);
ML_API void ml_rng_normal_f64(ml_rng *g, double *x, int64_t n, double mean, double std);
ML_API void ml_rng_normal_f32(ml_rng *g, float *x, int64_t n, double mean, double std);
/* normal truncated at +-2 sigma before scaling, rescaled so that the final std is std (divide by
 * 0.87962566103423978) */
ML_API void ml_rng_truncated_normal_f64(ml_rng *g, double *x, int64_t n, double std);
ML_API void ml_rng_truncated_normal_f32(ml_rng *g, float *x, int64_t n, double std);
/* both ends included, unbiased */
ML_API void ml_rng_integers(ml_rng *g, int64_t *x, int64_t n, int64_t lo, int64_t hi);
/* Of 0..n-1. ML_ECANCELLED leaves g as it was. */
ML_API ml_status ml_rng_permutation(ml_rng *g, int64_t *x, int64_t n, ml_error *err) ML_MUST_CHECK;

/* ---- files ----------------------------------------------------------------------------------- */

/* A file that appears whole or not at all: written beside its name, fsynced, renamed. */
typedef struct ml_out_file ml_out_file;
ML_API ml_status ml_out_open(ml_out_file **file, const char *path, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_out_write(ml_out_file *file, const void *data, size_t bytes,
                              ml_error *err) ML_MUST_CHECK;
/* frees file, also on failure */
ML_API ml_status ml_out_commit(ml_out_file *file, ml_error *err) ML_MUST_CHECK;
ML_API void ml_out_discard(ml_out_file *file); /* frees file; NULL allowed */
ML_API ml_status ml_write_file(const char *path, const void *data, size_t bytes,
                               ml_error *err) ML_MUST_CHECK;

/* A file mapped, or read whole where it cannot be mapped. */
typedef struct {
  const unsigned char *data;
  size_t bytes;
  void *map; /* private */
} ml_in_file;
ML_API ml_status ml_in_open(ml_in_file *file, const char *path, ml_error *err) ML_MUST_CHECK;
ML_API void ml_in_close(ml_in_file *file);

ML_API ml_status ml_make_dirs(const char *path, ml_error *err) ML_MUST_CHECK;

/* The nearest of names (ends with NULL) to a word by changes, insertions, deletions and swaps,
 * whatever the case; of equals the first. NULL when nothing is near. */
ML_API const char *ml_nearest(const char *word, const char *const *names);
/* stable across machines */
ML_API uint64_t ml_hash64(const void *data, size_t bytes, uint64_t seed);
ML_API uint32_t ml_crc32(uint32_t crc, const void *data, size_t bytes); /* zlib's */

#endif
