/* Points that a network has met by themselves, and the rows of kernels between them. */
#include "net.h"

#include <math.h>
#include <string.h>

enum { TILE = ML_KERNEL_ROWS };

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

void ml_kernel_points_free(ml_kernel_points *p) {
  if (!p)
    return;
  ml_kernel_plan_clear(&p->plan);
  ml_tensor_clear(&p->X);
  ml_block_free(p->lanes);
  ml_block_free(p->pixel_variances);
  ml_block_free(p->flat_variances);
  ml_block_free(p->K);
  ml_block_free(p->T);
  ml_free(p);
}

static double number(ml_dtype dtype, const void *x, int64_t i) {
  return dtype == ML_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static void set(ml_dtype dtype, void *x, int64_t i, double value) {
  if (dtype == ML_F32)
    ((float *)x)[i] = (float)value;
  else
    ((double *)x)[i] = value;
}

/* ---- each point with itself ------------------------------------------------------------------ */

typedef struct {
  ml_kernel_points *p;
  char *scratch;
  size_t each;  /* bytes of one thread's scratch */
  double *flat; /* [slot][padded] f64 variances of the flat part */
} self_job;

static void self_rows(ml_kernel_points *p, double *flat, int64_t first, int64_t n, char *scratch) {
  ml_kernel_sides sides = {.right = (char *)(flat + first), .right_step = p->padded};
  char *k = (char *)(p->K + first);
  const char *made =
      ml_kernel_flat(&p->plan, ML_F64, n, k, (char *)(p->T + first), &sides, scratch);
  if (made != k)
    memcpy(k, made, (size_t)n * sizeof(double));
}

/* in four sums, so that the processor need not wait for each */
static double square_sum(ml_dtype dtype, const void *x, int64_t first, int64_t n) {
  double sum[4] = {0};
  for (int64_t c = 0; c < n; c++) {
    const double v = number(dtype, x, first + c);
    sum[c % 4] += v * v;
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void self_vectors(void *ctx, int64_t i, int worker) {
  const self_job *j = ctx;
  ml_kernel_points *p = j->p;
  const int64_t first = i * TILE, n = p->n - first < TILE ? p->n - first : TILE, d = p->plan.C;
  for (int64_t r = first; r < first + n; r++) {
    p->K[r] = square_sum(p->dtype, ml_data(&p->X), r * d, d) / (double)d;
    p->T[r] = 0;
  }
  self_rows(p, j->flat, first, n, j->scratch + (size_t)worker * j->each);
}

static void self_images(void *ctx, int64_t block, int worker) {
  const self_job *j = ctx;
  ml_kernel_points *p = j->p;
  char *scratch = j->scratch + (size_t)worker * j->each;
  double k[ML_LANE], t[ML_LANE]; /* of either dtype */
  ml_kernel_images(NULL, p, block, (char *)k, (char *)t, scratch);
  for (int64_t l = 0; l < ML_LANE; l++) {
    p->K[block * ML_LANE + l] = number(p->dtype, k, l);
    p->T[block * ML_LANE + l] = number(p->dtype, t, l);
  }
  self_rows(p, j->flat, block * ML_LANE, ML_LANE, scratch);
}

/* [block][pixel * channel][lane]; what is beyond the last image repeats it */
static void fill_lanes(ml_kernel_points *p) {
  const int64_t each = ml_numel(&p->X) / p->n;
  const size_t size = ml_dtype_size(p->dtype);
  const char *X = ml_data(&p->X);
  for (int64_t i = 0; i < p->padded; i++) {
    const int64_t from = i < p->n ? i : p->n - 1;
    char *to = p->lanes + (size_t)((i / ML_LANE) * each * ML_LANE + i % ML_LANE) * size;
    for (int64_t k = 0; k < each; k++)
      memcpy(to + (size_t)(k * ML_LANE) * size, X + (size_t)(from * each + k) * size, size);
  }
}

static ml_status run_self(ml_kernel_points *p, ml_error *err) {
  const bool images = p->plan.stages > 0;
  const size_t size = ml_dtype_size(p->dtype);
  self_job j = {.p = p,
                .each = rounded(images ? ml_kernel_image_bytes(&p->plan, size) : 0) +
                        rounded(ml_kernel_flat_bytes(&p->plan, sizeof(double)))};
  const size_t flat = (size_t)(p->plan.flat_slots * p->padded);
  j.scratch = ml_block_new((size_t)ml_threads() * j.each);
  j.flat = ml_block_new((flat + 1) * sizeof(double));
  ml_status status = ML_OK;
  if (!j.scratch || !j.flat)
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory");
  if (!status && flat)
    memset(j.flat, 0, flat * sizeof(double));
  if (!status && images)
    status = ml_parallel_poll(p->padded / ML_LANE, p->plan.flops * ML_LANE, self_images, &j, err);
  else if (!status)
    status =
        ml_parallel_poll((p->n + TILE - 1) / TILE, p->plan.flops * TILE, self_vectors, &j, err);
  for (size_t i = 0; !status && i < flat; i++)
    set(p->dtype, p->flat_variances, (int64_t)i, j.flat[i]);
  ml_block_free(j.scratch);
  ml_block_free(j.flat);
  return status;
}

static ml_status check_finite(const ml_kernel_points *p, ml_error *err) {
  for (int64_t i = 0; i < p->n; i++)
    if (!isfinite(p->K[i]) || !isfinite(p->T[i]))
      return ml_fail(err, ML_ENUMERIC, 0,
                     "the kernel of point %lld with itself is %g (tangent kernel %g): its "
                     "variances grow beyond what numbers hold",
                     (long long)i + 1, p->K[i], p->T[i]);
  return ML_OK;
}

static ml_status check_entries(const ml_tensor *X, ml_error *err) {
  const int64_t n = ml_numel(X);
  for (int64_t i = 0; i < n; i++) {
    const double x = number(X->dtype, ml_data(X), i);
    if (!isfinite(x))
      return ml_fail(err, ML_ENUMERIC, 0, "point %lld holds %g",
                     (long long)(i / (n / X->size[0])) + 1, x);
  }
  return ML_OK;
}

ml_status ml_kernel_points_new(ml_kernel_points **out, const ml_kernel_op *ops, int count,
                               const ml_tensor *X, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(X->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "%s, wanted f64 or f32", ml_describe(text, X));
  if (X->rank < 1 || X->size[0] < 1)
    return ml_fail(err, ML_ESHAPE, 1, "%s, wanted points [n,d] or images [n,H,W,C]",
                   ml_describe(text, X));
  ml_kernel_points *p = ml_alloc(sizeof *p);
  if (!p)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  p->dtype = X->dtype;
  p->n = X->size[0];
  p->padded = (p->n + ML_LANE - 1) / ML_LANE * ML_LANE;
  const size_t size = ml_dtype_size(X->dtype), padded = (size_t)p->padded;
  ml_status status = ml_kernel_plan_new(&p->plan, ops, count, X, err);
  if (!status)
    status = ml_tensor_contiguous(&p->X, X, err);
  if (!status)
    status = check_entries(&p->X, err);
  if (!status) {
    const bool images = p->plan.stages > 0;
    p->K = ml_block_new(padded * sizeof(double));
    p->T = ml_block_new(padded * sizeof(double));
    p->flat_variances = ml_block_new((size_t)(p->plan.flat_slots + 1) * padded * size);
    p->pixel_variances = ml_block_new((size_t)(p->plan.pixel_slots + 1) * padded * size);
    if (images)
      p->lanes = ml_block_new((size_t)(ml_numel(X) / p->n) * padded * size);
    if (!p->K || !p->T || !p->flat_variances || !p->pixel_variances || (images && !p->lanes))
      status = ml_fail(err, ML_ENOMEM, 0, "out of memory");
    if (!status && images)
      fill_lanes(p);
  }
  if (!status)
    status = run_self(p, err);
  if (!status)
    status = check_finite(p, err);
  if (status) {
    ml_kernel_points_free(p);
    return status;
  }
  *out = p;
  return ML_OK;
}

ml_status ml_kernel_diagonal(ml_tensor *K, ml_tensor *T, const ml_kernel_points *points,
                             ml_error *err) {
  const ml_shape shape = ml_shape_make(1, points->n);
  ml_tensor k = {0}, t = {0};
  ml_status status = ml_tensor_init(&k, points->dtype, &shape, err);
  if (!status)
    status = ml_tensor_init(&t, points->dtype, &shape, err);
  if (status) {
    ml_tensor_clear(&k);
    return status;
  }
  for (int64_t i = 0; i < points->n; i++) {
    set(points->dtype, ml_data(&k), i, points->K[i]);
    set(points->dtype, ml_data(&t), i, points->T[i]);
  }
  ml_tensor_move(K, &k);
  ml_tensor_move(T, &t);
  return ML_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

typedef struct {
  const ml_kernel_points *x, *y;
  const ml_kernel_table *table;
  char *out[2]; /* K and T, or NULL */
  char *scratch;
  size_t each, size;
  int64_t first, count, blocks; /* blocks of y */
  bool symmetric;
} rows_job;

static void copy_out(const rows_job *j, int which, int64_t i, int64_t at, int64_t n,
                     const char *from) {
  if (j->out[which])
    memcpy(j->out[which] + (size_t)(i * j->y->n + at) * j->size, from, (size_t)n * j->size);
}

/* The entries [i0..i1) x [j0..j1), those with j <= i of a symmetric case, to their mirror places.
 */
static void reflect(const rows_job *j, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  const int64_t n = j->y->n;
  for (int which = 0; which < 2; which++) {
    char *out = j->out[which];
    if (!out)
      continue;
    for (int64_t i = i0; i < i1; i++)
      if (i >= j0 && i < j1)
        set(j->x->dtype, out, i * n + i, which ? j->x->T[i] : j->x->K[i]);
    if (j1 <= i0) {
      j->table->mirror(i1 - i0, j1 - j0, out + (size_t)(i0 * n + j0) * j->size, n,
                       out + (size_t)(j0 * n + i0) * j->size, n);
    } else {
      for (int64_t i = i0; i < i1; i++)
        for (int64_t k = j0; k < i && k < j1; k++)
          memcpy(out + (size_t)(k * n + i) * j->size, out + (size_t)(i * n + k) * j->size, j->size);
    }
  }
}

static void vector_tile(void *ctx, int64_t task, int worker) {
  const rows_job *j = ctx;
  const ml_kernel_points *x = j->x, *y = j->y;
  const int64_t i0 = j->first + task / j->blocks * TILE, j0 = task % j->blocks * TILE;
  const int64_t end = j->first + j->count;
  const int64_t i1 = end - i0 < TILE ? end : i0 + TILE, j1 = y->n - j0 < TILE ? y->n : j0 + TILE;
  if (j->symmetric && j0 >= i1)
    return;
  const int64_t d = x->plan.C;
  char *tile = j->scratch + (size_t)worker * j->each, *t = tile + (size_t)(TILE * TILE) * j->size,
       *rest = t + TILE * j->size;
  ml_gemm_serial(x->dtype, false, true, i1 - i0, j1 - j0, d, 1 / (double)d,
                 (const char *)ml_data(&x->X) + (size_t)(i0 * d) * j->size, d,
                 (const char *)ml_data(&y->X) + (size_t)(j0 * d) * j->size, d, 0, tile, TILE);
  for (int64_t i = i0; i < i1; i++) {
    int64_t n = j1 - j0;
    if (j->symmetric && i - j0 + 1 < n)
      n = i - j0 + 1;
    if (n <= 0)
      continue;
    char *k = tile + (size_t)((i - i0) * TILE) * j->size;
    j->table->fill(n, 0, t);
    ml_kernel_sides sides = {.left = x->flat_variances + (size_t)i * j->size,
                             .left_step = x->padded,
                             .right = y->flat_variances + (size_t)j0 * j->size,
                             .right_step = y->padded};
    copy_out(j, 0, i, j0, n, ml_kernel_flat(&x->plan, x->dtype, n, k, t, &sides, rest));
    copy_out(j, 1, i, j0, n, t);
  }
  if (j->symmetric)
    reflect(j, i0, i1, j0, j1);
}

static void image_row(void *ctx, int64_t task, int worker) {
  const rows_job *j = ctx;
  const ml_kernel_points *x = j->x, *y = j->y;
  char *scratch = j->scratch + (size_t)worker * j->each;
  /* one task: one image of x with up to 16 blocks of y */
  enum { GROUP = 16 };
  const int64_t groups = (j->blocks + GROUP - 1) / GROUP, i = j->first + task / groups;
  const int64_t b0 = task % groups * GROUP, b1 = b0 + GROUP < j->blocks ? b0 + GROUP : j->blocks;
  if (j->symmetric && b0 * ML_LANE > i)
    return;
  ml_kernel_images_left(x, i, scratch);
  for (int64_t b = b0; b < b1; b++) {
    const int64_t j0 = b * ML_LANE;
    if ((j->symmetric && j0 > i) || ml_cancelled())
      return;
    double k[ML_LANE], t[ML_LANE];
    ml_kernel_images(x, y, b, (char *)k, (char *)t, scratch);
    ml_kernel_sides sides = {.left = x->flat_variances + (size_t)i * j->size,
                             .left_step = x->padded,
                             .right = y->flat_variances + (size_t)j0 * j->size,
                             .right_step = y->padded};
    const char *made = ml_kernel_flat(&x->plan, x->dtype, ML_LANE, (char *)k, (char *)t, &sides,
                                      scratch + ml_kernel_image_bytes(&x->plan, j->size));
    int64_t n = y->n - j0 < ML_LANE ? y->n - j0 : ML_LANE;
    if (j->symmetric && i - j0 + 1 < n)
      n = i - j0 + 1;
    copy_out(j, 0, i, j0, n, made);
    copy_out(j, 1, i, j0, n, (char *)t);
    if (j->symmetric)
      reflect(j, i, i + 1, j0, j0 + n);
  }
}

static ml_status check_rows(const ml_tensor *out, const ml_kernel_points *x,
                            const ml_kernel_points *y, ml_error *err) {
  char text[ML_DESCRIBE];
  if (out && (out->dtype != x->dtype || out->rank != 2 || out->size[0] != x->n ||
              out->size[1] != y->n || !ml_is_contiguous(out)))
    return ml_fail(err, ML_ESHAPE, 0, "the result is %s, wanted %s [%lldx%lld], contiguous",
                   ml_describe(text, out), ml_dtype_name(x->dtype), (long long)x->n,
                   (long long)y->n);
  return ML_OK;
}

ml_status ml_kernel_rows(ml_tensor *K, ml_tensor *T, const ml_kernel_points *x,
                         const ml_kernel_points *y, int64_t first, int64_t count, ml_error *err) {
  ML_TRY(check_rows(K, x, y, err));
  ML_TRY(check_rows(T, x, y, err));
  char one[ML_DESCRIBE], two[ML_DESCRIBE];
  bool alike = x->dtype == y->dtype && x->X.rank == y->X.rank && x->plan.count == y->plan.count;
  for (int a = 1; alike && a < x->X.rank; a++)
    alike = x->X.size[a] == y->X.size[a];
  if (!alike)
    return ml_fail(err, ML_ESHAPE, 0, "points %s and %s do not go together",
                   ml_describe(one, &x->X), ml_describe(two, &y->X));
  const bool images = x->plan.stages > 0;
  const bool whole = images || (first % ML_KERNEL_ROWS == 0 &&
                                (count % ML_KERNEL_ROWS == 0 || first + count == x->n));
  if (first < 0 || count < 0 || first + count > x->n || !whole)
    return ml_fail(err, ML_EARG, 0, "rows %lld..%lld of %lld, wanted whole blocks of %d",
                   (long long)first + 1, (long long)(first + count), (long long)x->n,
                   ML_KERNEL_ROWS);
  rows_job j = {.x = x,
                .y = y,
                .table = ml_kernel_table_of(x->dtype),
                .out = {K ? ml_data(K) : NULL, T ? ml_data(T) : NULL},
                .size = ml_dtype_size(x->dtype),
                .first = first,
                .count = count,
                .symmetric = x == y};
  j.each = images ? rounded(ml_kernel_image_bytes(&x->plan, j.size)) +
                        rounded(ml_kernel_flat_bytes(&x->plan, j.size))
                  : rounded((size_t)(TILE * TILE + TILE) * j.size) +
                        rounded(ml_kernel_flat_bytes(&x->plan, j.size));
  j.scratch = ml_block_new((size_t)ml_threads() * j.each);
  if (!j.scratch)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  ml_status status;
  if (images) {
    j.blocks = y->padded / ML_LANE;
    const int64_t groups = (j.blocks + 15) / 16;
    status = ml_parallel_poll(count * groups, x->plan.flops * 256, image_row, &j, err);
  } else {
    j.blocks = (y->n + TILE - 1) / TILE;
    const int64_t tiles = (count + TILE - 1) / TILE * j.blocks;
    status = ml_parallel_poll(tiles, x->plan.flops * TILE * TILE, vector_tile, &j, err);
  }
  ml_block_free(j.scratch);
  if (!status && K)
    ml_touch(K);
  if (!status && T)
    ml_touch(T);
  return status;
}
