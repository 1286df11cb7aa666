/* Features of a dual activation: weighted powers of the normed point, brought down again. */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { MAX_DEGREE = 1024 };

typedef struct {
  ml_sketch_run run;
  ml_sketch_tree_plan plan;
  const ml_sketch_layer *layer;
  const ml_tensor *X, *P;
  ml_tensor *Y, *Psi;
  int64_t n, degree, d, dp, my, mpsi;
  int64_t value_columns, slope_columns, blocks, side; /* blocks, side: the larger of both */
  bool want[MAX_DEGREE + 1];
} job;

static int64_t block_of(int64_t k, int64_t d, int64_t m, int64_t my) {
  return k == 0 ? 1 : k == 1 && d <= my ? d : m;
}

int64_t ml_sketch_columns(const bool *use, int64_t degree, int64_t d, int64_t m, int64_t my) {
  int64_t columns = 0;
  for (int64_t k = 0; k <= degree; k++)
    columns += use[k] ? block_of(k, d, m, my) : 0;
  return columns;
}

/* The panels of a worker, one after the other in its scratch. */
typedef struct {
  char *x, *weights, *norm, *inverse, *blocks, *wide, *picked, *tree;
} panels;

static panels panels_of(const job *t, int worker) {
  const int64_t row = ML_SKETCH_ROW, most = t->my > t->mpsi ? t->my : t->mpsi;
  panels s = {.x = ml_sketch_scratch(&t->run, worker)};
  s.weights = s.x + (t->d > t->dp ? t->d : t->dp) * row;
  s.norm = s.weights + (t->degree + 1) * row;
  s.inverse = s.norm + row;
  s.blocks = s.inverse + row;
  s.wide = s.blocks + t->blocks * row;
  s.picked = s.wide + t->side * row;
  s.tree = s.picked + 2 * most * row;
  return s;
}

static int64_t coordinates(const job *t) {
  const int64_t most = t->my > t->mpsi ? t->my : t->mpsi;
  return (t->d > t->dp ? t->d : t->dp) + t->degree + 3 + t->blocks + t->side + 2 * most +
         ml_sketch_tree_coordinates(&t->plan);
}

/* weights [degree+1] of this panel; then blocks[] = weight of each lane times its power */
static void weigh(const job *t, const panels *s, const ml_tensor *weights, const bool *use,
                  const char **power, int64_t panel, int64_t count) {
  const ml_sketch_run *r = &t->run;
  const int64_t q = t->degree + 1, row = ML_SKETCH_ROW;
  const bool shared = weights->size[0] == 1;
  r->k->load(count, q, ml_sketch_at(r, ml_data(weights), shared ? 0 : panel * r->lanes * q),
             shared ? 0 : q, s->weights);
  char *at = s->blocks;
  for (int64_t k = 0; k < q; k++) {
    if (!use[k])
      continue;
    const char *w = s->weights + k * row;
    const int64_t length = block_of(k, t->d, t->plan.m, t->my);
    if (k == 0)
      memcpy(at, w, (size_t)row);
    else
      r->k->multiply(length, w, k == 1 && t->d <= t->my ? s->x : power[k], at);
    at += length * row;
  }
}

static void activation_body(void *ctx, int64_t i, int worker) {
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  const ml_sketch_layer *l = t->layer;
  const int64_t left = t->n - i * r->lanes, count = left < r->lanes ? left : r->lanes;
  const panels s = panels_of(t, worker);
  r->k->load(count, t->d, ml_sketch_at(r, ml_data(t->X), i * r->lanes * t->d), t->d, s.x);
  r->k->norm(t->d, s.x, s.norm, s.inverse);
  r->k->multiply(t->d, s.inverse, s.x, s.x);
  const char *power[MAX_DEGREE + 1], *x = s.x;
  ml_sketch_tree_run(&t->plan, &x, true, t->want, power, s.tree);

  weigh(t, &s, l->value, l->use_value, power, i, count);
  r->k->hadamard(ml_sketch_log2(t->value_columns), t->value_columns, s.blocks,
                 ml_data(l->down.signs), s.wide);
  r->k->pick(t->my, ML_DATA(const int64_t, l->down.rows), 1 / sqrt((double)t->my), s.wide, NULL,
             s.picked);
  if (l->homogeneous)
    r->k->multiply(t->my, s.norm, s.picked, s.picked);
  r->k->store(count, t->my, 1, s.picked, ml_sketch_out(r, ml_data(t->Y), i * r->lanes * t->my),
              t->my);
  if (!t->Psi)
    return;

  weigh(t, &s, l->slope, l->use_slope, power, i, count);
  r->k->hadamard(ml_sketch_log2(t->slope_columns), t->slope_columns, s.blocks,
                 ml_data(l->pair[1].signs), s.wide);
  char *product = s.picked + t->mpsi * ML_SKETCH_ROW;
  r->k->pick(t->mpsi, ML_DATA(const int64_t, l->pair[1].rows), 1 / sqrt((double)t->mpsi), s.wide,
             NULL, s.picked);
  r->k->load(count, t->dp, ml_sketch_at(r, ml_data(t->P), i * r->lanes * t->dp), t->dp, s.x);
  r->k->hadamard(ml_sketch_log2(t->dp), t->dp, s.x, ml_data(l->pair[0].signs), s.wide);
  r->k->pick(t->mpsi, ML_DATA(const int64_t, l->pair[0].rows), 1, s.wide, s.picked, product);
  r->k->store(count, t->mpsi, 1, product, ml_sketch_out(r, ml_data(t->Psi), i * r->lanes * t->mpsi),
              t->mpsi);
}

static ml_status check_weights(const ml_tensor *w, const char *what, ml_dtype dtype, int64_t n,
                               int64_t columns, ml_error *err) {
  const int64_t rows = w->rank == 2 && w->size[0] == 1 ? 1 : n;
  return ml_sketch_check_array(w, what, dtype, rows, columns, err);
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

ml_status ml_sketch_activation(ml_tensor *Y, ml_tensor *Psi, const ml_tensor *X, const ml_tensor *P,
                               const ml_sketch_layer *layer, ml_error *err) {
  ML_TRY(ml_sketch_check_points(X, 1, err));
  const ml_dtype dtype = X->dtype;
  job t = {.layer = layer,
           .X = X,
           .P = P,
           .Y = Y,
           .Psi = Psi,
           .n = X->size[0],
           .d = X->size[1],
           .degree = (layer->value->rank == 2 ? layer->value->size[1] : 0) - 1};
  if (t.degree < 1 || t.degree > MAX_DEGREE)
    return ml_fail(err, ML_EARG, 0, "degree %lld, wanted 1 to %d", (long long)t.degree, MAX_DEGREE);
  ML_TRY(check_weights(layer->value, "weights", dtype, t.n, t.degree + 1, err));
  t.my = layer->down.rows->rank == 1 ? layer->down.rows->size[0] : 0;
  int64_t most = 1;
  for (int64_t k = 1; k <= t.degree; k++) {
    t.want[k] = layer->use_value[k] || (Psi && layer->use_slope[k]);
    most = t.want[k] ? k : most;
  }
  ML_TRY(ml_sketch_tree_check(&t.plan, &layer->tree, dtype, t.d, most, err));
  t.value_columns = ml_sketch_columns(layer->use_value, t.degree, t.d, t.plan.m, t.my);
  if (t.value_columns < 1)
    return ml_fail(err, ML_EARG, 0, "no weights are used");
  ML_TRY(ml_sketch_check_leg(&layer->down, dtype, t.value_columns, err));
  t.side = ml_sketch_side(t.value_columns);
  t.blocks = t.value_columns;
  if (Psi) {
    ML_TRY(ml_sketch_check_points(P, 2, err));
    char text[2][ML_DESCRIBE];
    if (P->dtype != dtype || P->size[0] != t.n)
      return ml_fail(err, ML_ESHAPE, 2, "%s and %s, wanted one dtype and as many points",
                     ml_describe(text[0], X), ml_describe(text[1], P));
    t.dp = P->size[1];
    ML_TRY(check_weights(layer->slope, "weights of the slope", dtype, t.n, t.degree + 1, err));
    t.slope_columns = ml_sketch_columns(layer->use_slope, t.degree, t.d, t.plan.m, t.my);
    if (t.slope_columns < 1)
      return ml_fail(err, ML_EARG, 0, "no weights of the slope are used");
    ML_TRY(ml_sketch_check_leg(&layer->pair[0], dtype, t.dp, err));
    ML_TRY(ml_sketch_check_leg(&layer->pair[1], dtype, t.slope_columns, err));
    t.mpsi = layer->pair[0].rows->size[0];
    if (layer->pair[1].rows->size[0] != t.mpsi)
      return ml_fail(err, ML_ESHAPE, 0, "indices of a pair disagree");
    t.side = larger(t.side, larger(ml_sketch_side(t.slope_columns), ml_sketch_side(t.dp)));
    t.blocks = larger(t.blocks, t.slope_columns);
  }
  ml_shape shape = ml_shape_make(2, t.n, t.my), second = ml_shape_make(2, t.n, t.mpsi);
  ML_TRY(ml_tensor_init(Y, dtype, &shape, err));
  ml_status status = Psi ? ml_tensor_init(Psi, dtype, &second, err) : ML_OK;
  t.run.scratch = NULL;
  if (!status)
    status = ml_sketch_begin(&t.run, dtype, coordinates(&t), err);
  const double cost =
      (double)t.plan.leaves * 2 * (double)(t.plan.p + 4) * (double)((int64_t)1 << t.plan.p) +
      20 * (double)t.side;
  if (!status)
    status =
        ml_parallel_poll((t.n + t.run.lanes - 1) / t.run.lanes, cost, activation_body, &t, err);
  ml_sketch_end(&t.run);
  if (status) {
    ml_tensor_clear(Y);
    if (Psi)
      ml_tensor_clear(Psi);
  }
  return status;
}
