/* Hadamard transforms of points: whole, subsampled, and of tensor products. */
#include "kernels.h"

#include <math.h>

typedef struct {
  ml_sketch_run run;
  const ml_tensor *X, *Z; /* Z: the second factor, or NULL */
  ml_tensor *Y;
  ml_sketch_leg leg[2];
  int64_t n, d[2], m; /* m: columns of Y */
} job;

static int64_t count_of(const job *t, int64_t panel) {
  const int64_t left = t->n - panel * t->run.lanes;
  return left < t->run.lanes ? left : t->run.lanes;
}

static double cost_of(const job *t) {
  double cost = 0;
  for (int i = 0; i < (t->Z ? 2 : 1); i++)
    cost += (double)(ml_sketch_log2(t->d[i]) + 2) * (double)ml_sketch_side(t->d[i]);
  return cost * (double)t->run.lanes / 8;
}

/* The panel's transform of factor i, in scratch after `in`. */
static void transform(const job *t, int i, int64_t panel, char *in, char *out) {
  const ml_sketch_run *r = &t->run;
  const ml_tensor *X = i ? t->Z : t->X;
  r->k->load(count_of(t, panel), t->d[i], ml_sketch_at(r, ml_data(X), panel * r->lanes * t->d[i]),
             t->d[i], in);
  const void *signs = t->leg[i].signs ? ml_data(t->leg[i].signs) : NULL;
  r->k->hadamard(ml_sketch_log2(t->d[i]), t->d[i], in, signs, out);
}

static void hadamard_body(void *ctx, int64_t i, int worker) {
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  char *in = ml_sketch_scratch(r, worker), *out = in + t->m * ML_SKETCH_ROW;
  transform(t, 0, i, in, out);
  r->k->store(count_of(t, i), t->m, 1, out, ml_sketch_out(r, ml_data(t->Y), i * r->lanes * t->m),
              t->m);
}

static void leg_body(void *ctx, int64_t i, int worker) {
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  int64_t side = ml_sketch_side(t->d[0]);
  if (t->Z && ml_sketch_side(t->d[1]) > side)
    side = ml_sketch_side(t->d[1]);
  char *in = ml_sketch_scratch(r, worker), *out = in + side * ML_SKETCH_ROW,
       *picked = out + side * ML_SKETCH_ROW, *product = picked + t->m * ML_SKETCH_ROW;
  const double scale = 1 / sqrt((double)t->m);
  transform(t, 0, i, in, out);
  r->k->pick(t->m, ML_DATA(const int64_t, t->leg[0].rows), scale, out, NULL, picked);
  if (t->Z) {
    transform(t, 1, i, in, out);
    r->k->pick(t->m, ML_DATA(const int64_t, t->leg[1].rows), 1, out, picked, product);
    picked = product;
  }
  r->k->store(count_of(t, i), t->m, 1, picked, ml_sketch_out(r, ml_data(t->Y), i * r->lanes * t->m),
              t->m);
}

static ml_status run_job(job *t, int64_t coordinates, ml_body body, ml_error *err) {
  ml_shape shape = ml_shape_make(2, t->n, t->m);
  ML_TRY(ml_tensor_init(t->Y, t->X->dtype, &shape, err));
  ml_status status = ml_sketch_begin(&t->run, t->X->dtype, coordinates, err);
  if (!status)
    status = ml_parallel_poll((t->n + t->run.lanes - 1) / t->run.lanes, cost_of(t), body, t, err);
  ml_sketch_end(&t->run);
  if (status)
    ml_tensor_clear(t->Y);
  return status;
}

ml_status ml_sketch_hadamard(ml_tensor *Y, const ml_tensor *X, ml_error *err) {
  ML_TRY(ml_sketch_check_points(X, 1, err));
  const int64_t d = X->size[1], side = ml_sketch_side(d);
  job t = {.X = X, .Y = Y, .n = X->size[0], .d = {d}, .m = side};
  return run_job(&t, 2 * side, hadamard_body, err);
}

ml_status ml_sketch_srht(ml_tensor *Y, const ml_tensor *X, const ml_sketch_leg *leg,
                         ml_error *err) {
  ML_TRY(ml_sketch_check_points(X, 1, err));
  const int64_t d = X->size[1], side = ml_sketch_side(d);
  ML_TRY(ml_sketch_check_leg(leg, X->dtype, d, err));
  job t = {.X = X, .Y = Y, .leg = {*leg}, .n = X->size[0], .d = {d}, .m = leg->rows->size[0]};
  return run_job(&t, 2 * side + t.m, leg_body, err);
}

ml_status ml_sketch_tensor_srht(ml_tensor *Y, const ml_tensor *X, const ml_tensor *Z,
                                const ml_sketch_leg legs[2], ml_error *err) {
  ML_TRY(ml_sketch_check_points(X, 1, err));
  ML_TRY(ml_sketch_check_points(Z, 2, err));
  char text[2][ML_DESCRIBE];
  if (X->dtype != Z->dtype || X->size[0] != Z->size[0])
    return ml_fail(err, ML_ESHAPE, 2, "%s and %s, wanted one dtype and as many points",
                   ml_describe(text[0], X), ml_describe(text[1], Z));
  ML_TRY(ml_sketch_check_leg(&legs[0], X->dtype, X->size[1], err));
  ML_TRY(ml_sketch_check_leg(&legs[1], X->dtype, Z->size[1], err));
  if (legs[0].rows->size[0] != legs[1].rows->size[0])
    return ml_fail(err, ML_ESHAPE, 0, "%lld and %lld indices, wanted as many",
                   (long long)legs[0].rows->size[0], (long long)legs[1].rows->size[0]);
  job t = {.X = X,
           .Z = Z,
           .Y = Y,
           .leg = {legs[0], legs[1]},
           .n = X->size[0],
           .d = {X->size[1], Z->size[1]},
           .m = legs[0].rows->size[0]};
  const int64_t side = ml_sketch_side(t.d[0] > t.d[1] ? t.d[0] : t.d[1]);
  return run_job(&t, 2 * side + 2 * t.m, leg_body, err);
}
