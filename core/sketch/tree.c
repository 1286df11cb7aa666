/* The tree of TensorSRHT nodes that sketches all powers of a point. */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { MAX_LEVELS = 10, MAX_LEAVES = 1 << MAX_LEVELS };

/* Legs below level l (>= 1), among those above the lowest level. */
static int64_t legs_before(const ml_sketch_tree_plan *p, int level) {
  int64_t sum = 0;
  for (int l = 1; l < level; l++)
    sum += p->leaves >> l;
  return sum;
}

ml_status ml_sketch_tree_check(ml_sketch_tree_plan *p, const ml_sketch_tree *tree, ml_dtype dtype,
                               int64_t d, int64_t least, ml_error *err) {
  const int64_t leaves = tree->leaves;
  if (leaves < 2 || leaves > MAX_LEAVES || leaves & (leaves - 1) || least > leaves || least < 1)
    return ml_fail(err, ML_EARG, 0,
                   "a tree of %lld leaves for the power %lld, wanted 2, 4, 8 .. %d",
                   (long long)leaves, (long long)least, MAX_LEAVES);
  const int64_t m = tree->low_rows->rank == 2 ? tree->low_rows->size[1] : 0;
  if (m < 1)
    return ml_fail(err, ML_ESHAPE, 0, "indices of the leaves, wanted [leaves,m]");
  ML_TRY(ml_sketch_check_array(tree->low_signs, "signs of the leaves", dtype, leaves, d, err));
  ML_TRY(ml_sketch_check_array(tree->low_rows, "indices of the leaves", ML_INDEX, leaves, m, err));
  ML_TRY(ml_sketch_check_array(tree->signs, "signs of the nodes", dtype, leaves - 2, m, err));
  ML_TRY(ml_sketch_check_array(tree->rows, "indices of the nodes", ML_INDEX, leaves - 2, m, err));
  ML_TRY(ml_sketch_check_places(tree->low_rows, "indices of the leaves", ml_sketch_side(d), err));
  ML_TRY(ml_sketch_check_places(tree->rows, "indices of the nodes", ml_sketch_side(m), err));
  *p = (ml_sketch_tree_plan){.k = ml_sketch_table_of(dtype),
                             .leaves = leaves,
                             .d = d,
                             .m = m,
                             .first = leaves - least,
                             .p = ml_sketch_log2(d),
                             .pm = ml_sketch_log2(m),
                             .low_signs = ml_data(tree->low_signs),
                             .signs = leaves > 2 ? ml_data(tree->signs) : NULL,
                             .low_rows = ML_DATA(const int64_t, tree->low_rows),
                             .rows = leaves > 2 ? ML_DATA(const int64_t, tree->rows) : NULL,
                             .item = ml_dtype_size(dtype)};
  return ML_OK;
}

/* One transform; each node whole (leaves - 1) and its right leg (leaves - 1); partial nodes, two
 * for each power in turn and one that stays. */
int64_t ml_sketch_tree_coordinates(const ml_sketch_tree_plan *p) {
  const int64_t side = (int64_t)1 << (p->p > p->pm ? p->p : p->pm);
  return side + p->m * (2 * (p->leaves - 1) + 2 * p->leaves);
}

typedef struct {
  const ml_sketch_tree_plan *p;
  char *transform;            /* of one leg */
  char *whole, *right, *part; /* nodes of all levels from below */
} state;

static char *node_of(const state *s, char *base, int level, int64_t i) {
  int64_t before = 0;
  for (int l = 0; l < level; l++)
    before += s->p->leaves >> (l + 1);
  return base + (before + i) * s->p->m * ML_SKETCH_ROW;
}

/* y = the kept places of leg number `leg` of the level applied to x (times z). */
static void leg_run(const state *s, int level, int64_t leg, const char *x, double scale,
                    const char *z, char *y) {
  const ml_sketch_tree_plan *p = s->p;
  const int64_t *rows;
  if (level == 0) {
    p->k->hadamard(p->p, p->d, x, p->low_signs + (size_t)(leg * p->d) * p->item, s->transform);
    rows = p->low_rows + leg * p->m;
  } else {
    const int64_t at = (legs_before(p, level) + leg) * p->m;
    p->k->hadamard(p->pm, p->m, x, p->signs + (size_t)at * p->item, s->transform);
    rows = p->rows + at;
  }
  p->k->pick(p->m, rows, scale, s->transform, z, y);
}

/* Every node all of whose leaves are there, and the right legs of those whose right half is. */
static void run_whole(const state *s, const char *const *x, bool single) {
  const ml_sketch_tree_plan *p = s->p;
  const double scale = 1 / sqrt((double)p->m);
  for (int level = 0; ((int64_t)1 << level) < p->leaves; level++)
    for (int64_t i = 0; i < p->leaves >> (level + 1); i++) {
      const int64_t left = i << (level + 1), right = (2 * i + 1) << level;
      char *kept = node_of(s, s->right, level, i);
      if (right < p->first)
        continue;
      const char *b =
          level ? node_of(s, s->whole, level - 1, 2 * i + 1) : x[single ? 0 : right - p->first];
      leg_run(s, level, 2 * i + 1, b, scale, NULL, kept);
      if (left < p->first)
        continue;
      const char *a =
          level ? node_of(s, s->whole, level - 1, 2 * i) : x[single ? 0 : left - p->first];
      leg_run(s, level, 2 * i, a, 1, kept, node_of(s, s->whole, level, i));
    }
}

/* The root where the first j leaves are constant. A node whose left half is constant is its right
 * one: to sketch a constant would only add variance. */
static const char *run_from(const state *s, int64_t j) {
  const ml_sketch_tree_plan *p = s->p;
  const char *at = NULL;
  char *next = s->part + 2 * j * p->m * ML_SKETCH_ROW;
  int turn = 0;
  for (int level = 0; ((int64_t)1 << level) < p->leaves; level++) {
    const int64_t i = j >> (level + 1), r = j & (((int64_t)2 << level) - 1);
    if (r == 0) {
      at = node_of(s, s->whole, level, i);
    } else if (level == 0) {
      at = node_of(s, s->right, 0, i);
    } else if (r < (int64_t)1 << level) {
      char *out = next + turn * p->m * ML_SKETCH_ROW;
      leg_run(s, level, 2 * i, at, 1, node_of(s, s->right, level, i), out);
      at = out;
      turn = !turn;
    }
  }
  return at;
}

void ml_sketch_tree_run(const ml_sketch_tree_plan *p, const char *const *x, bool single,
                        const bool *want, const char **power, char *scratch) {
  const int64_t side = (int64_t)1 << (p->p > p->pm ? p->p : p->pm), row = ML_SKETCH_ROW;
  state s = {.p = p, .transform = scratch};
  s.whole = scratch + side * row;
  s.right = s.whole + (p->leaves - 1) * p->m * row;
  s.part = s.right + (p->leaves - 1) * p->m * row;
  run_whole(&s, x, single);
  for (int64_t k = 1; k <= p->leaves - p->first; k++)
    if (want[k])
      power[k] = run_from(&s, p->leaves - k);
}

/* ---- over all points ------------------------------------------------------------------------- */

typedef struct {
  ml_sketch_run run;
  ml_sketch_tree_plan plan;
  const ml_tensor *const *X;
  ml_tensor *Y;
  const int64_t *degrees;
  int inputs, outputs;
  int64_t n;
  bool want[MAX_LEAVES + 1];
} job;

static void powers_body(void *ctx, int64_t i, int worker) {
  const job *t = ctx;
  const ml_sketch_run *r = &t->run;
  const int64_t d = t->plan.d, m = t->plan.m, left = t->n - i * r->lanes;
  const int64_t count = left < r->lanes ? left : r->lanes;
  const char *x[MAX_LEAVES];
  const char *power[MAX_LEAVES + 1];
  char *at = ml_sketch_scratch(r, worker);
  for (int a = 0; a < t->inputs; a++, at += d * ML_SKETCH_ROW) {
    x[a] = at;
    r->k->load(count, d, ml_sketch_at(r, ml_data(t->X[a]), i * r->lanes * d), d, at);
  }
  ml_sketch_tree_run(&t->plan, x, t->inputs == 1, t->want, power, at);
  for (int o = 0; o < t->outputs; o++)
    r->k->store(count, m, 1, power[t->degrees[o]],
                ml_sketch_out(r, ml_data(t->Y), (i * r->lanes * t->outputs + o) * m),
                t->outputs * m);
}

static ml_status run_job(job *t, ml_error *err) {
  const ml_dtype dtype = t->X[0]->dtype;
  ml_shape shape = ml_shape_make(2, t->n, t->outputs * t->plan.m);
  ML_TRY(ml_tensor_init(t->Y, dtype, &shape, err));
  ml_status status = ml_sketch_begin(
      &t->run, dtype, t->inputs * t->plan.d + ml_sketch_tree_coordinates(&t->plan), err);
  const double cost = (double)t->plan.leaves * (double)t->run.lanes / 8 *
                      ((double)(t->plan.p + 2) * (double)((int64_t)1 << t->plan.p) +
                       2 * (double)t->plan.pm * (double)((int64_t)1 << t->plan.pm));
  if (!status)
    status = ml_parallel_poll((t->n + t->run.lanes - 1) / t->run.lanes, cost, powers_body, t, err);
  ml_sketch_end(&t->run);
  if (status)
    ml_tensor_clear(t->Y);
  return status;
}

ml_status ml_sketch_powers(ml_tensor *Y, const ml_tensor *X, const ml_sketch_tree *tree,
                           const int64_t *degrees, int count, ml_error *err) {
  ML_TRY(ml_sketch_check_points(X, 1, err));
  job t = {.X = &X, .Y = Y, .degrees = degrees, .inputs = 1, .outputs = count, .n = X->size[0]};
  int64_t most = 1;
  for (int i = 0; i < count; i++) {
    if (degrees[i] < 1 || degrees[i] > tree->leaves || degrees[i] > MAX_LEAVES)
      return ml_fail(err, ML_EARG, 0, "degree %lld, wanted 1 to %lld", (long long)degrees[i],
                     (long long)tree->leaves);
    t.want[degrees[i]] = true;
    most = degrees[i] > most ? degrees[i] : most;
  }
  ML_TRY(ml_sketch_tree_check(&t.plan, tree, X->dtype, X->size[1], most, err));
  return run_job(&t, err);
}

ml_status ml_sketch_product(ml_tensor *Y, const ml_tensor *const *X, int count,
                            const ml_sketch_tree *tree, ml_error *err) {
  if (count < 2 || count > tree->leaves || count > MAX_LEAVES)
    return ml_fail(err, ML_EARG, 1, "%d factors, wanted 2 to %lld", count, (long long)tree->leaves);
  const int64_t degree = count;
  job t = {.X = X, .Y = Y, .degrees = &degree, .inputs = count, .outputs = 1, .n = X[0]->size[0]};
  char text[2][ML_DESCRIBE];
  for (int i = 0; i < count; i++) {
    ML_TRY(ml_sketch_check_points(X[i], 1, err));
    if (X[i]->dtype != X[0]->dtype || X[i]->size[0] != X[0]->size[0] ||
        X[i]->size[1] != X[0]->size[1])
      return ml_fail(err, ML_ESHAPE, 1, "factors %s and %s, wanted one dtype and shape",
                     ml_describe(text[0], X[0]), ml_describe(text[1], X[i]));
  }
  t.want[count] = true;
  ML_TRY(ml_sketch_tree_check(&t.plan, tree, X[0]->dtype, X[0]->size[1], count, err));
  return run_job(&t, err);
}
