/* The part of a network that has pixels: offset planes through the stages, ML_LANE images at once.
 */
#include "net.h"

#include <string.h>

/* A plane: the pairs (p, p + d) of pixels that both exist, h x w of them from (y0, x0) on; with
 * wrap p + d is taken modulo the sides and all pixels are there. */
typedef struct {
  int64_t side[2], d[2], from[2], n[2];
  bool wrap;
} plane;

typedef struct {
  const ml_kernel_plan *plan;
  const ml_kernel_table *table;
  size_t size, place; /* bytes of a number, of ML_LANE of them */
  char *left, *right; /* channels of the two sides: [pixel][channel][lane] */
  char *a, *b;        /* variances of the two sides: [slot][lane] */
  bool self;          /* writes b */
  char *k, *t, *spare, *dot;
  char *stack; /* [depth][2][plane] */
  plane saved[16];
  char *store[2]; /* [2][places]: both kernels between stages, in turn */
  int64_t *to;    /* places that a row goes to */
  char *sum;      /* [2][lane] */
} work;

static plane plane_of(const int64_t side[2], const int64_t d[2], bool wrap) {
  plane p = {.wrap = wrap};
  for (int a = 0; a < 2; a++) {
    p.side[a] = side[a];
    p.d[a] = d[a];
    p.from[a] = wrap || d[a] >= 0 ? 0 : -d[a];
    p.n[a] = wrap ? side[a] : side[a] - (d[a] < 0 ? -d[a] : d[a]);
  }
  return p;
}

/* A row in at most two runs whose partners are contiguous: run 0 or 1 of row y is `count` places
 * from place `at` of the row, whose partners begin at pixel `partner`. */
typedef struct {
  int64_t at, count, pixel, partner;
} run;

static int runs_of(const plane *p, int64_t y, run out[2]) {
  const int64_t row = p->from[0] + y;
  const int64_t other = p->wrap ? (row + p->d[0]) % p->side[0] : row + p->d[0];
  if (!p->wrap) {
    out[0] =
        (run){0, p->n[1], row * p->side[1] + p->from[1], other * p->side[1] + p->from[1] + p->d[1]};
    return 1;
  }
  const int64_t turn = p->side[1] - p->d[1]; /* d in 0..side-1 */
  out[0] = (run){0, turn, row * p->side[1], other * p->side[1] + p->d[1]};
  out[1] = (run){turn, p->d[1], row * p->side[1] + turn, other * p->side[1]};
  return p->d[1] ? 2 : 1;
}

static void load(work *w, int stage, const plane *p) {
  const int64_t C = w->plan->C, pixels = p->side[0] * p->side[1];
  const size_t bytes = (size_t)(p->n[0] * p->n[1]) * w->place;
  const char *K = NULL, *T = NULL;
  if (stage > 0) {
    K = w->store[(stage - 1) % 2];
    T = K + (size_t)w->plan->store[(stage - 1) % 2] * w->place;
  } else {
    memset(w->t, 0, bytes);
  }
  for (int64_t y = 0; y < p->n[0]; y++) {
    run r[2];
    const int count = runs_of(p, y, r);
    for (int i = 0; i < count; i++) {
      const size_t at = (size_t)(y * p->n[1] + r[i].at) * w->place;
      if (stage == 0) {
        w->table->dot(r[i].count, C, w->left + (size_t)(r[i].pixel * C) * w->place,
                      w->right + (size_t)(r[i].partner * C) * w->place, w->k + at);
      } else {
        const size_t from = (size_t)(r[i].pixel * pixels + r[i].partner) * w->place;
        w->table->gather(r[i].count, pixels + 1, K + from, w->k + at);
        w->table->gather(r[i].count, pixels + 1, T + from, w->t + at);
      }
    }
  }
}

static void convolve(work *w, const ml_kernel_step *s, plane *p) {
  const int64_t d[2] = {p->d[0] / s->op.stride[0], p->d[1] / s->op.stride[1]};
  const plane q = plane_of(s->out, d, p->wrap);
  int64_t base[2];
  for (int a = 0; a < 2; a++)
    base[a] = q.from[a] * s->op.stride[a] - s->lead[a] - p->from[a];
  char *both[2] = {w->k, w->t};
  for (int i = 0; i < 2; i++) {
    char *x = both[i];
    for (int64_t y = 0; y < p->n[0]; y++)
      w->table->window(q.n[1], p->n[1], s->op.window[1], s->op.stride[1], base[1], p->wrap, ML_LANE,
                       x + (size_t)(y * p->n[1]) * w->place, ML_LANE,
                       w->spare + (size_t)(y * q.n[1]) * w->place, ML_LANE);
    w->table->window(q.n[0], p->n[0], s->op.window[0], s->op.stride[0], base[0], p->wrap,
                     q.n[1] * ML_LANE, w->spare, q.n[1] * ML_LANE, x, q.n[1] * ML_LANE);
  }
  w->table->dense(q.n[0] * q.n[1] * ML_LANE, s->op.w2 / (double)(s->op.window[0] * s->op.window[1]),
                  s->op.b2, w->k, w->t);
  *p = q;
}

static void point_wise(work *w, const ml_kernel_step *s, const plane *p) {
  const ml_kernel_table *table = w->table;
  char *const a = w->a + (size_t)s->slot * w->place, *const b = w->b + (size_t)s->slot * w->place;
  const int64_t places = p->n[0] * p->n[1];
  if (w->self && p->d[0] == 0 && p->d[1] == 0)
    memcpy(b, w->k, (size_t)places * w->place);
  const bool norm = s->op.kind == ML_KERNEL_NORM;
  for (int64_t y = 0; y < p->n[0]; y++) {
    run r[2];
    const int count = runs_of(p, y, r);
    for (int i = 0; i < count; i++) {
      const size_t at = (size_t)(y * p->n[1] + r[i].at) * w->place;
      const char *va = a + (size_t)r[i].pixel * w->place, *vb = b + (size_t)r[i].partner * w->place;
      const int64_t n = r[i].count * ML_LANE;
      if (norm)
        table->normalize(n, va, vb, w->k + at, w->t + at);
      else
        table->dual[s->op.dual.kind](&s->op.dual, n, w->k + at, va, vb, w->spare + at, w->dot + at);
    }
  }
  if (norm)
    return;
  table->multiply(places * ML_LANE, w->dot, w->t);
  char *old = w->k;
  w->k = w->spare;
  w->spare = old;
}

static void residual(work *w, ml_kernel_kind kind, int *depth, plane *p) {
  const size_t whole = (size_t)w->plan->plane * w->place;
  if (kind == ML_KERNEL_PUSH) {
    const size_t bytes = (size_t)(p->n[0] * p->n[1]) * w->place;
    memcpy(w->stack + (size_t)(2 * *depth) * whole, w->k, bytes);
    memcpy(w->stack + (size_t)(2 * *depth + 1) * whole, w->t, bytes);
    w->saved[(*depth)++] = *p;
    return;
  }
  char *K = w->stack + (size_t)(2 * *depth - 2) * whole, *T = K + whole;
  plane *other = &w->saved[*depth - 1];
  if (kind == ML_KERNEL_ADD) {
    w->table->add(p->n[0] * p->n[1] * ML_LANE, K, w->k);
    w->table->add(p->n[0] * p->n[1] * ML_LANE, T, w->t);
    --*depth;
    return;
  }
  char *mine[2] = {w->k, w->t}, *saved[2] = {K, T};
  const size_t here = (size_t)(p->n[0] * p->n[1]) * w->place,
               there = (size_t)(other->n[0] * other->n[1]) * w->place;
  for (int i = 0; i < 2; i++) {
    memcpy(w->spare, mine[i], here);
    memcpy(mine[i], saved[i], there);
    memcpy(saved[i], w->spare, here);
  }
  plane old = *p;
  *p = *other;
  *other = old;
}

/* Windows that position x of one axis is part of: first..last-1. */
static void windows_at(const ml_kernel_step *s, int a, int64_t x, int64_t *first, int64_t *last) {
  const int64_t at = x + s->lead[a], f = s->op.window[a], stride = s->op.stride[a];
  *first = at < f ? 0 : (at - f) / stride + 1;
  *last = at / stride + 1 < s->out[a] ? at / stride + 1 : s->out[a];
}

static void pool_row(work *w, const ml_kernel_step *s, const plane *p, int64_t y, char *K,
                     char *T) {
  const int64_t side = s->out[1], pixels = s->out[0] * s->out[1];
  const int64_t row = p->from[0] + y, other = (row + p->d[0]) % p->side[0];
  int64_t y0, y1, z0, z1;
  windows_at(s, 0, row, &y0, &y1);
  windows_at(s, 0, other, &z0, &z1);
  for (int64_t Y = y0; Y < y1; Y++)
    for (int64_t Z = z0; Z < z1; Z++)
      for (int64_t x = 0; x < p->n[1]; x++) {
        int64_t x0, x1, u0, u1;
        windows_at(s, 1, p->from[1] + x, &x0, &x1);
        windows_at(s, 1, (p->from[1] + x + p->d[1]) % p->side[1], &u0, &u1);
        const size_t at = (size_t)(y * p->n[1] + x) * w->place;
        for (int64_t X = x0; X < x1; X++)
          for (int64_t U = u0; U < u1; U++) {
            const int64_t to = (Y * side + X) * pixels + Z * side + U;
            w->table->scatter(1, &to, w->k + at, K);
            w->table->scatter(1, &to, w->t + at, T);
          }
      }
}

/* Windows that touch nothing but themselves: one place for each, a row at once. */
static void pool_row_apart(work *w, const ml_kernel_step *s, const plane *p, int64_t y, char *K,
                           char *T) {
  const int64_t side = s->out[1], pixels = s->out[0] * s->out[1], f = s->op.window[1];
  const int64_t row = p->from[0] + y, other = (row + p->d[0]) % p->side[0];
  const int64_t Y = row / s->op.window[0], Z = other / s->op.window[0];
  if (Y >= s->out[0] || Z >= s->out[0])
    return;
  int64_t count = 0;
  for (; count < p->n[1]; count++) {
    const int64_t X = (p->from[1] + count) / f;
    const int64_t U = ((p->from[1] + count + p->d[1]) % p->side[1]) / f;
    if (X >= side || U >= side)
      break;
    w->to[count] = (Y * side + X) * pixels + Z * side + U;
  }
  const size_t at = (size_t)(y * p->n[1]) * w->place;
  if (count == p->n[1]) {
    w->table->scatter(count, w->to, w->k + at, K);
    w->table->scatter(count, w->to, w->t + at, T);
  } else {
    pool_row(w, s, p, y, K, T);
  }
}

static void put(work *w, int stage, const plane *p) {
  const ml_kernel_stage *g = &w->plan->stage[stage];
  const ml_kernel_step *s = &w->plan->step[g->end];
  if (g->mixes && s->op.kind != ML_KERNEL_POOL) {
    w->table->lane_sum(p->n[0] * p->n[1], w->k, w->sum);
    w->table->lane_sum(p->n[0] * p->n[1], w->t, w->sum + w->place);
    return;
  }
  char *K = w->store[stage % 2], *T = K + (size_t)w->plan->store[stage % 2] * w->place;
  const int64_t pixels = p->side[0] * p->side[1];
  const bool apart = g->mixes && s->op.padding == ML_KERNEL_VALID &&
                     s->op.window[0] == s->op.stride[0] && s->op.window[1] == s->op.stride[1];
  for (int64_t y = 0; y < p->n[0]; y++) {
    if (apart) {
      pool_row_apart(w, s, p, y, K, T);
    } else if (g->mixes) {
      pool_row(w, s, p, y, K, T);
    } else {
      run r[2];
      const int count = runs_of(p, y, r);
      for (int i = 0; i < count; i++) {
        for (int64_t x = 0; x < r[i].count; x++)
          w->to[x] = (r[i].pixel + x) * pixels + r[i].partner + x;
        const size_t at = (size_t)(y * p->n[1] + r[i].at) * w->place;
        w->table->scatter(r[i].count, w->to, w->k + at, K);
        w->table->scatter(r[i].count, w->to, w->t + at, T);
      }
    }
  }
}

static void run_plane(work *w, int stage, const int64_t offset[2]) {
  const ml_kernel_stage *g = &w->plan->stage[stage];
  const int64_t d[2] = {offset[0] * g->stride[0], offset[1] * g->stride[1]};
  plane p = plane_of(g->in, d, g->circular);
  int depth = 0;
  load(w, stage, &p);
  for (int i = g->first; i < g->end; i++) {
    const ml_kernel_step *s = &w->plan->step[i];
    if (s->op.kind == ML_KERNEL_CONV)
      convolve(w, s, &p);
    else if (s->slot >= 0)
      point_wise(w, s, &p);
    else if (s->op.kind == ML_KERNEL_PUSH || s->op.kind == ML_KERNEL_SWAP ||
             s->op.kind == ML_KERNEL_ADD)
      residual(w, s->op.kind, &depth, &p);
  }
  put(w, stage, &p);
}

static void run_stage(work *w, int stage) {
  const ml_kernel_stage *g = &w->plan->stage[stage];
  const ml_kernel_step *s = &w->plan->step[g->end];
  const bool flatten = g->mixes && s->op.kind == ML_KERNEL_FLATTEN;
  const bool stores = !g->mixes || s->op.kind == ML_KERNEL_POOL;
  const size_t bytes = 2 * (size_t)w->plan->store[stage % 2] * w->place;
  if (stores)
    memset(w->store[stage % 2], 0, bytes);
  const int64_t none[2] = {0, 0};
  run_plane(w, stage, none); /* first: a self pass takes its variances here */
  const int64_t low[2] = {g->circular ? 0 : 1 - g->out[0], g->circular ? 0 : 1 - g->out[1]};
  for (int64_t y = low[0]; y < g->out[0] && !flatten; y++)
    for (int64_t x = low[1]; x < g->out[1]; x++) {
      const int64_t offset[2] = {y, x};
      if (y || x)
        run_plane(w, stage, offset);
    }
  if (stores && g->mixes) {
    const double inverse = 1 / (double)(s->op.window[0] * s->op.window[1]);
    w->table->scale(2 * w->plan->store[stage % 2] * ML_LANE, inverse * inverse,
                    w->store[stage % 2]);
  }
  const double pixels = (double)(g->out[0] * g->out[1]);
  if (!stores)
    w->table->scale(2 * ML_LANE, 1 / (flatten ? pixels : pixels * pixels), w->sum);
}

/* ---- scratch --------------------------------------------------------------------------------- */

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static int64_t pixels_of(const ml_kernel_plan *plan) {
  return plan->stage[0].in[0] * plan->stage[0].in[1];
}

/* Lays out the parts; returns the bytes. base NULL only measures. */
static size_t lay_out(work *w, const ml_kernel_plan *plan, size_t size, char *base) {
  const size_t place = ML_LANE * size, whole = (size_t)plan->plane * place;
  size_t at = 0;
  char **part[] = {&w->left, &w->a,     &w->k,        &w->t,        &w->spare,
                   &w->dot,  &w->stack, &w->store[0], &w->store[1], &w->sum};
  const size_t bytes[] = {(size_t)(pixels_of(plan) * plan->C) * place,
                          (size_t)plan->pixel_slots * place,
                          whole,
                          whole,
                          whole,
                          whole,
                          2 * (size_t)plan->depth * whole,
                          2 * (size_t)plan->store[0] * place,
                          2 * (size_t)plan->store[1] * place,
                          2 * place};
  for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
    *part[i] = base ? base + at : NULL;
    at += rounded(bytes[i]);
  }
  w->to = base ? (int64_t *)(void *)(base + at) : NULL;
  return at + rounded((size_t)plan->plane * sizeof(int64_t));
}

size_t ml_kernel_image_bytes(const ml_kernel_plan *plan, size_t size) {
  work w;
  return lay_out(&w, plan, size, NULL) + rounded(ml_kernel_flat_bytes(plan, size));
}

void ml_kernel_images_left(const ml_kernel_points *x, int64_t i, char *scratch) {
  work w;
  const ml_kernel_plan *plan = &x->plan;
  const size_t size = ml_dtype_size(x->dtype);
  lay_out(&w, plan, size, scratch);
  const ml_kernel_table *table = ml_kernel_table_of(x->dtype);
  const int64_t channels = pixels_of(plan) * plan->C, block = i / ML_LANE, lane = i % ML_LANE;
  table->spread(channels, x->lanes + (size_t)(block * channels * ML_LANE + lane) * size, ML_LANE,
                w.left);
  table->spread(plan->pixel_slots,
                x->pixel_variances + (size_t)(block * plan->pixel_slots * ML_LANE + lane) * size,
                ML_LANE, w.a);
}

void ml_kernel_images(const ml_kernel_points *x, const ml_kernel_points *y, int64_t block, char *k,
                      char *t, char *scratch) {
  work w = {.plan = &y->plan, .table = ml_kernel_table_of(y->dtype), .self = x == NULL};
  const ml_kernel_plan *plan = w.plan;
  w.size = ml_dtype_size(y->dtype);
  w.place = ML_LANE * w.size;
  lay_out(&w, plan, w.size, scratch);
  w.right = y->lanes + (size_t)(block * pixels_of(plan) * plan->C) * w.place;
  w.b = y->pixel_variances + (size_t)(block * plan->pixel_slots) * w.place;
  if (w.self) {
    w.left = w.right;
    w.a = w.b;
  }
  memset(w.sum, 0, 2 * w.place);
  for (int s = 0; s < plan->stages; s++)
    run_stage(&w, s);
  memcpy(k, w.sum, w.place);
  memcpy(t, w.sum + w.place, w.place);
}
