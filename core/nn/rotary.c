/* Rotary position embedding: the cached table of angles, the op and its inverse rotation. */
#include "common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- table of angles ------------------------------------------------------------------------- */

/* Rows of cos [D/2] then sin [D/2], one per position 0..count-1. The cache is the process's own,
 * bounded, and outside the counted memory, as code would be: it is filled once and read by every
 * later step. */
typedef struct {
  ml_dtype dtype;
  int64_t D, count;
  double base;
  void *rows;
  uint64_t used;
} angle_table;

#define TABLES 4
#define TABLE_MOST ((int64_t)1 << 20) /* elements */

static angle_table tables[TABLES];
static uint64_t clock_of_tables;

static void fill_row(ml_dtype dtype, void *rows, int64_t row, int64_t D, const double *frequency,
                     int64_t position) {
  for (int64_t i = 0; i < D / 2; i++) {
    double angle = (double)position * frequency[i], c = cos(angle), s = sin(angle);
    if (dtype == ML_F32) {
      ((float *)rows)[row * D + i] = (float)c;
      ((float *)rows)[row * D + D / 2 + i] = (float)s;
    } else {
      ((double *)rows)[row * D + i] = c;
      ((double *)rows)[row * D + D / 2 + i] = s;
    }
  }
}

static void fill_frequencies(double *frequency, int64_t D, double base) {
  for (int64_t i = 0; i < D / 2; i++)
    frequency[i] = pow(base, -2.0 * (double)i / (double)D);
}

/* NULL when it does not fit the cache or memory is short. */
static const void *cached_table(ml_dtype dtype, int64_t D, double base, int64_t count,
                                const double *frequency) {
  angle_table *t = &tables[0];
  for (int i = 0; i < TABLES; i++) {
    if (tables[i].rows && tables[i].dtype == dtype && tables[i].D == D && tables[i].base == base) {
      t = &tables[i];
      break;
    }
    if (tables[i].used < t->used)
      t = &tables[i];
  }
  bool same = t->rows && t->dtype == dtype && t->D == D && t->base == base;
  if (!same || t->count < count) {
    int64_t room = 256;
    while (room < count)
      room *= 2;
    if (room * D > TABLE_MOST)
      return NULL;
    void *rows = malloc((size_t)(room * D) * ml_dtype_size(dtype));
    if (!rows)
      return NULL;
    for (int64_t p = 0; p < room; p++)
      fill_row(dtype, rows, p, D, frequency, p);
    free(t->rows);
    *t = (angle_table){dtype, D, room, base, rows, 0};
  }
  t->used = ++clock_of_tables;
  return t->rows;
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct {
  ml_dtype dtype;
  int64_t T, H, D, rows, chunk, x_stride[3];
  bool inverse, interleaved, add;
  const void *x, *angles;
  const int64_t *positions; /* row of angles for each (b, t); NULL: its t */
  int64_t angle_rows;       /* positions NULL: angles of row r stand in row r % angle_rows */
  void *y;
} turn_task;

static void turn_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const turn_task *t = ctx;
  const ml_nn_rotary_kernels *kernels = ml_nn_rotary(t->dtype);
  for (int64_t r = i * t->chunk, end = ml_nn_min(r + t->chunk, t->rows); r < end; r++) {
    int64_t p = t->positions ? t->positions[r] : r % t->angle_rows;
    const void *cosines = ml_nn_at_const(t->angles, t->dtype, p * t->D);
    kernels->turn(
        t->H, t->D,
        ml_nn_at_const(t->x, t->dtype, r / t->T * t->x_stride[0] + r % t->T * t->x_stride[1]),
        t->x_stride[2], cosines, ml_nn_at_const(cosines, t->dtype, t->D / 2), t->inverse,
        t->interleaved, ml_nn_at(t->y, t->dtype, r * t->H * t->D), t->add);
  }
}

/* Turns x (dense in D) into the contiguous y, with angles from the cache or from scratch. */
static ml_status run_turn(void *y, const ml_tensor *x, const ml_tensor *positions,
                          const ml_nn_rotary_attr *attr, bool inverse, bool add, ml_error *err) {
  int64_t B = x->size[0], T = x->size[1], H = x->size[2], D = x->size[3], rows = B * T;
  if (rows * H * D == 0)
    return ML_OK;
  turn_task t = {.dtype = x->dtype,
                 .T = T,
                 .H = H,
                 .D = D,
                 .rows = rows,
                 .chunk = ml_nn_max(1, 16384 / (H * D)),
                 .x_stride = {x->stride[0], x->stride[1], x->stride[2]},
                 .inverse = inverse,
                 .interleaved = attr->interleaved,
                 .add = add,
                 .x = ml_data(x),
                 .positions = positions ? ML_DATA(const int64_t, positions) : NULL,
                 .angle_rows = T,
                 .y = y};
  int64_t count = T;
  for (int64_t r = 0; positions && r < rows; r++)
    count = ml_nn_max(count, t.positions[r] + 1);
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  void *frequency, *angles;
  ml_status status = ml_nn_take(&frequency, arena, D, sizeof(double), err);
  if (!status) {
    fill_frequencies(frequency, D, attr->base);
    t.angles =
        count <= TABLE_MOST / D ? cached_table(t.dtype, D, attr->base, count, frequency) : NULL;
    if (!t.angles) {
      t.angle_rows = positions ? rows : T;
      status = ml_nn_take(&angles, arena, t.angle_rows * D, ml_dtype_size(t.dtype), err);
      for (int64_t r = 0; !status && r < t.angle_rows; r++)
        fill_row(t.dtype, angles, r, D, frequency, positions ? t.positions[r] : r);
      t.angles = angles;
      t.positions = NULL;
    }
  }
  if (!status)
    ml_parallel_for(ml_nn_ceil_div(rows, t.chunk), (double)(t.chunk * H * D), turn_body, &t);
  ml_arena_release(arena, mark);
  return status;
}

/* ---- the op ---------------------------------------------------------------------------------- */

static ml_status check_inputs(const ml_tensor *const *in, const ml_nn_rotary_attr *attr,
                              ml_error *err) {
  const ml_tensor *x = in[0], *p = in[1];
  char a[ML_DESCRIBE], b[ML_DESCRIBE];
  ML_TRY(ml_nn_check_real("rotary", "x", x, 4, 1, err));
  if (x->rank != 4 || x->size[3] < 2 || x->size[3] % 2)
    return ml_fail(
        err, ML_ESHAPE, 1,
        "rotary: x is %s, wanted [batch, time, heads, features] with an even number of features",
        ml_describe(a, x));
  if (p) {
    if (ml_tensor_empty(p))
      return ml_fail(err, ML_ESTATE, 2, "rotary: positions is a released tensor");
    if (p->dtype != ML_INDEX)
      return ml_fail(err, ML_EDTYPE, 2, "rotary: positions is %s, wanted dtype index",
                     ml_describe(a, p));
    if (p->rank != 2 || p->size[0] != x->size[0] || p->size[1] != x->size[1])
      return ml_fail(err, ML_ESHAPE, 2,
                     "rotary: x and positions disagree: %s and %s, wanted positions [%lldx%lld]",
                     ml_describe(a, x), ml_describe(b, p), (long long)x->size[0],
                     (long long)x->size[1]);
  }
  if (!(attr->base > 0) || !isfinite(attr->base))
    return ml_fail(err, ML_EARG, 0, "rotary: base is %g, wanted a finite number > 0", attr->base);
  return ML_OK;
}

static ml_status dense_rows(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (t->stride[3] == 1) {
    ml_tensor_detach(out, t);
    return ML_OK;
  }
  return ml_tensor_clone(out, t, err);
}

ml_status ml_nn_rotary_forward(ml_tensor *out, const ml_tensor *const *in, int n, const void *attr,
                               ml_save *save, ml_error *err) {
  (void)n;
  ML_TRY(check_inputs(in, attr, err));
  ml_tensor x = {0}, positions = {0}, y = {0};
  ml_shape shape = ml_shape_of(in[0]);
  ml_status status = dense_rows(&x, in[0], err);
  if (!status && in[1])
    status = ml_tensor_contiguous(&positions, in[1], err);
  if (!status && in[1]) /* the bound only keeps angles meaningful in double */
    status = ml_nn_check_ids("rotary", "position", ML_DATA(const int64_t, &positions),
                             ml_numel(&positions), (int64_t)1 << 48, 2, err);
  if (!status)
    status = ml_tensor_init(&y, x.dtype, &shape, err);
  if (!status)
    status = run_turn(ml_data(&y), &x, in[1] ? &positions : NULL, attr, false, false, err);
  if (!status && in[1])
    status = ml_save_tensor(save, &positions, err);
  if (!status)
    ml_tensor_move(out, &y);
  ml_tensor_clear(&x);
  ml_tensor_clear(&positions);
  ml_tensor_clear(&y);
  return status;
}

/* A rotation's transpose is its inverse. */
ml_status ml_nn_rotary_vjp(ml_vjp *c, ml_error *err) {
  if (!c->wanted[0])
    return ML_OK;
  ml_tensor *dx, dy = {0};
  bool add;
  ML_TRY(ml_vjp_target(c, 0, &dx, &add, err));
  ML_TRY(dense_rows(&dy, &c->gout[0], err));
  ml_status status =
      run_turn(ml_data(dx), &dy, c->n_saved > 0 ? &c->saved[0] : NULL, c->attr, true, add, err);
  ml_tensor_clear(&dy);
  return status;
}

ml_status ml_nn_rotary_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  *n_variants = 4; /* half, interleaved; with and without positions */
  ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 4, 2, 3, 2, 6));
  if (variant >= 2)
    ML_TRY(ml_nn_case_ids(c, 1, g, 9, err, 2, 2, 3));
  c->n_in = 2;
  c->n_out = 1;
  ml_nn_rotary_attr attr = {.base = 100, .interleaved = variant % 2 == 1};
  memcpy(c->attr, &attr, sizeof attr);
  return ML_OK;
}

ml_status ml_rotary(ml_tensor *y, const ml_tensor *x, const ml_tensor *positions, double base,
                    bool interleaved, ml_error *err) {
  ml_nn_rotary_attr attr = {.base = base, .interleaved = interleaved};
  const ml_tensor *in[] = {x, positions};
  return ml_apply(y, &ml_nn_op_rotary, in, 2, &attr, err);
}
