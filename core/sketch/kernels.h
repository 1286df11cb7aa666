/* Private to the sketch room: the hot loops of simd/ on panels, a table for each dtype and
 * instruction set.
 *
 * A panel holds ML_SKETCH_LANES points coordinate by coordinate, 64 bytes each, aligned. All are
 * [any thread]. */
#ifndef MOONLAB_SKETCH_KERNELS_H
#define MOONLAB_SKETCH_KERNELS_H

#include "sketch.h"

#define ML_SKETCH_ROW 64 /* bytes of one coordinate */
static inline int64_t ml_sketch_lanes(ml_dtype dtype) { return dtype == ML_F32 ? 16 : 8; }

typedef struct {
  /* panel <- count rows of x, ldx apart (0: the same for all); lanes without a row are zero */
  void (*load)(int64_t count, int64_t d, const void *x, int64_t ldx, void *panel);
  void (*store)(int64_t count, int64_t d, double scale, const void *panel, void *y, int64_t ldy);
  /* y [2^p] = H (signs * x [d], padded); signs NULL: all 1. y is not x. */
  void (*hadamard)(int p, int64_t d, const void *x, const void *signs, void *y);
  /* y[i] = scale x[rows[i]] (* z[i] where z is not NULL) */
  void (*pick)(int64_t m, const int64_t *rows, double scale, const void *x, const void *z, void *y);
  /* y[hashes[j ld + i]] += signs[j ld + i] x[i] for i < d, j < k */
  void (*scatter)(int64_t d, int64_t k, int64_t ld, const int64_t *hashes, const void *signs,
                  const void *x, void *y);
  /* the same for one row, not a panel: y[hashes[j ld + columns[i]]] += ... values[i] */
  void (*scatter_row)(int64_t n, int64_t k, int64_t ld, const int64_t *hashes, const void *signs,
                      const int64_t *columns, const void *values, void *y);
  void (*norm)(int64_t d, const void *x, void *norm, void *inverse);     /* each lane's; 1/0 is 0 */
  void (*multiply)(int64_t d, const void *lane, const void *x, void *y); /* y = lane x */
  void (*scale_row)(int64_t n, double scale, void *y);                   /* not a panel */
} ml_sketch_table;

#if defined(__x86_64__)
extern const ml_sketch_table ml_sketch_table_f32_portable, ml_sketch_table_f64_portable,
    ml_sketch_table_f32_avx2, ml_sketch_table_f64_avx2, ml_sketch_table_f32_avx512,
    ml_sketch_table_f64_avx512;
#else
extern const ml_sketch_table ml_sketch_table_f32_portable, ml_sketch_table_f64_portable;
#endif
const ml_sketch_table *ml_sketch_table_of(ml_dtype dtype); /* of this machine. [any thread] */

/* ---- shared by the files of the room --------------------------------------------------------- */

/* Rows of a matrix cut into panels, each done by one thread. */
typedef struct {
  ml_dtype dtype;
  const ml_sketch_table *k;
  int64_t lanes;
  char *scratch; /* of all workers */
  size_t bytes;  /* of one */
} ml_sketch_run;
/* Scratch of so many coordinates for each worker. */
ml_status ml_sketch_begin(ml_sketch_run *run, ml_dtype dtype, int64_t coordinates,
                          ml_error *err) ML_MUST_CHECK;
void ml_sketch_end(ml_sketch_run *run);
static inline char *ml_sketch_scratch(const ml_sketch_run *run, int worker) {
  return run->scratch + (size_t)worker * run->bytes;
}
static inline const char *ml_sketch_at(const ml_sketch_run *run, const void *x, int64_t i) {
  return (const char *)x + (size_t)i * (run->dtype == ML_F32 ? 4 : 8);
}
static inline char *ml_sketch_out(const ml_sketch_run *run, void *x, int64_t i) {
  return (char *)x + (size_t)i * (run->dtype == ML_F32 ? 4 : 8);
}

/* X is f32 or f64 of two axes, and contiguous. */
ml_status ml_sketch_check_points(const ml_tensor *X, int arg, ml_error *err) ML_MUST_CHECK;
/* `what` of the dtype is contiguous, [a,b] (b < 0: [a]). */
ml_status ml_sketch_check_array(const ml_tensor *t, const char *what, ml_dtype dtype, int64_t a,
                                int64_t b, ml_error *err) ML_MUST_CHECK;
/* The leg fits to d coordinates and its places lie below 2^p. */
ml_status ml_sketch_check_leg(const ml_sketch_leg *leg, ml_dtype dtype, int64_t d,
                              ml_error *err) ML_MUST_CHECK;
/* index values are below limit */
ml_status ml_sketch_check_places(const ml_tensor *t, const char *what, int64_t limit,
                                 ml_error *err) ML_MUST_CHECK;

/* The tree over one panel. */
typedef struct {
  const ml_sketch_table *k;
  int64_t leaves, d, m, first; /* first: leaves before it are constant */
  int p, pm;                   /* log2 of the sides of d and m */
  const char *low_signs, *signs;
  const int64_t *low_rows, *rows;
  size_t item;
} ml_sketch_tree_plan;
ml_status ml_sketch_tree_check(ml_sketch_tree_plan *plan, const ml_sketch_tree *tree,
                               ml_dtype dtype, int64_t d, int64_t least,
                               ml_error *err) ML_MUST_CHECK;
int64_t ml_sketch_tree_coordinates(const ml_sketch_tree_plan *plan); /* of scratch */
/* power[k] (k = 1..leaves - first) is set to the panel of the sketch of the power k, in scratch;
 * only where want[k]. x: the panel of each leaf from `first` on, or one for all when `single`. */
void ml_sketch_tree_run(const ml_sketch_tree_plan *plan, const char *const *x, bool single,
                        const bool *want, const char **power, char *scratch);

#endif
