/* What the sketches share: scratch of the workers, checks of the randomness. */
#include "kernels.h"

#include <math.h>

int ml_sketch_log2(int64_t d) {
  int p = 0;
  while (p < 62 && ((int64_t)1 << p) < d)
    p++;
  return p;
}

ml_status ml_sketch_begin(ml_sketch_run *run, ml_dtype dtype, int64_t coordinates, ml_error *err) {
  run->dtype = dtype;
  run->k = ml_sketch_table_of(dtype);
  run->lanes = ml_sketch_lanes(dtype);
  run->scratch = NULL;
  run->bytes = (size_t)coordinates * ML_SKETCH_ROW;
  const size_t all = run->bytes * (size_t)ml_threads();
  if (coordinates > 0 && !(run->scratch = ml_block_new(all)))
    return ml_fail(err, ML_ENOMEM, 0, "out of memory: %zu bytes of scratch", all);
  return ML_OK;
}

void ml_sketch_end(ml_sketch_run *run) {
  if (run->scratch)
    ml_block_free(run->scratch);
  run->scratch = NULL;
}

ml_status ml_sketch_check_points(const ml_tensor *X, int arg, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(X->dtype) || X->rank != 2 || !ml_is_contiguous(X))
    return ml_fail(err, ML_ESHAPE, arg, "%s, wanted points [n,d] of f32 or f64",
                   ml_describe(text, X));
  if (X->size[1] < 1)
    return ml_fail(err, ML_ESHAPE, arg, "%s, wanted at least one coordinate", ml_describe(text, X));
  return ML_OK;
}

ml_status ml_sketch_check_array(const ml_tensor *t, const char *what, ml_dtype dtype, int64_t a,
                                int64_t b, ml_error *err) {
  char text[ML_DESCRIBE];
  const int rank = b < 0 ? 1 : 2;
  const bool fits = t->rank == rank && t->size[0] == a && (rank == 1 || t->size[1] == b);
  if (t->dtype == dtype && fits && ml_is_contiguous(t))
    return ML_OK;
  ml_shape want = ml_shape_make(rank, a, b);
  char shape[ML_DESCRIBE];
  return ml_fail(err, ML_ESHAPE, 0, "%s are %s, wanted %s %s", what, ml_describe(text, t),
                 ml_dtype_name(dtype), ml_describe_shape(shape, &want));
}

ml_status ml_sketch_check_places(const ml_tensor *t, const char *what, int64_t limit,
                                 ml_error *err) {
  const int64_t n = ml_numel(t), *at = ML_DATA(const int64_t, t);
  for (int64_t i = 0; i < n; i++)
    if (at[i] < 0 || at[i] >= limit)
      return ml_fail(err, ML_EARG, 0, "%s: place %lld is %lld, wanted 1 to %lld", what,
                     (long long)i + 1, (long long)at[i] + 1, (long long)limit);
  return ML_OK;
}

ml_status ml_sketch_check_leg(const ml_sketch_leg *leg, ml_dtype dtype, int64_t d, ml_error *err) {
  ML_TRY(ml_sketch_check_array(leg->signs, "signs", dtype, d, -1, err));
  char text[ML_DESCRIBE];
  if (leg->rows->dtype != ML_INDEX || leg->rows->rank != 1 || !ml_is_contiguous(leg->rows) ||
      leg->rows->size[0] < 1)
    return ml_fail(err, ML_ESHAPE, 0, "indices are %s, wanted index [m], m >= 1",
                   ml_describe(text, leg->rows));
  return ml_sketch_check_places(leg->rows, "indices", ml_sketch_side(d), err);
}
