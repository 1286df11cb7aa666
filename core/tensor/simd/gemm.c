/* The matrix product's tile loops and register blocks, for one dtype and instruction set.
 *
 *   tile                rows x columns of C, one task
 *     tile_direct       A as it lies, or
 *     tile_copied       A copied by blocks of KC steps, ROWS rows at a time
 *       tile_blocks     a block of KC steps: NR columns of B after the other, copied unless that
 *                       would not pay
 *         panel_rows    MR rows after the other
 *           multiply    MR x NR of C in registers: per step, MR numbers of A times NR of B
 *
 * panels does the same for B copied once, dots the products with a vector along its rows. */
#include "tensor/gemm.h"
#include "gemm_pack.h"

/* ---- register block -------------------------------------------------------------------------- */

/* Row i, step k of A is a[i * ra + k * ka]; columns v*L.. of step k of B are b[(v / 2) * panel + (v
 * % 2) * L + k * ldb]. C[mr, nv*L] (+)= alpha A B; n < nv*L columns are read and written. */
typedef struct {
  const real *a, *b, *bias; /* bias: of these columns, or NULL */
  real *c;
  int64_t kc, lda, ldb, panel, ldc;
  int n;
  real alpha;
  bool add;
} block;

/* Holds a product at its rounded value: whether it would be contracted with a sum that follows
 * depends on the code around it, and bytes may not. */
#if defined(__x86_64__)
#define ROUNDED(x) __asm__("" : "+v"(x))
#else
#define ROUNDED(x) __asm__("" : "+m"(x))
#endif

/* Writes the first n of width columns. */
static void __attribute__((noinline)) edge(const block *t, const real *rows, int mr, int width) {
  for (int i = 0; i < mr; i++) {
    real *c = t->c + i * t->ldc;
    const real *r = rows + i * width;
    for (int j = 0; j < t->n; j++) {
      real x = t->add ? c[j] + r[j] : r[j];
      c[j] = t->bias ? x + t->bias[j] : x;
    }
  }
}

INLINE void multiply(const block *t, const int mr, const int nv, const bool packed) {
  ml_vec acc[MR][8] = {0};
  const real *restrict a = t->a, *restrict b = t->b;
  const int64_t lda = t->lda, ldb = t->ldb, panel = t->panel, kc = t->kc;
#pragma GCC unroll 12
  for (int i = 0; i < mr; i++) /* C comes while the sums run */
    __builtin_prefetch(t->c + i * t->ldc, 1);
#pragma GCC unroll 4
  for (int64_t k = 0; k < kc; k++) {
    ml_vec bv[8];
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++)
      bv[v] = load(b + (v / 2) * panel + (v % 2) * L);
#pragma GCC unroll 14
    for (int i = 0; i < mr; i++) {
      ml_vec av = splat(packed ? a[i] : a[i * lda]);
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        acc[i][v] += av * bv[v];
    }
    a += packed ? lda : 1;
    b += ldb;
  }
  const ml_vec alpha = splat(t->alpha);
  real *c = t->c;
  if (t->n != nv * L) {
    real rows[MR * 8 * L];
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        store(rows + (i * nv + v) * L, alpha * acc[i][v]);
    edge(t, rows, mr, nv * L);
    return;
  }
#pragma GCC unroll 12
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++) {
      acc[i][v] *= alpha;
      ROUNDED(acc[i][v]);
    }
  const int64_t ldc = t->ldc;
  if (t->add) {
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        acc[i][v] += load(c + i * ldc + v * L);
  }
  if (t->bias) {
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        acc[i][v] += load(t->bias + v * L);
  }
#pragma GCC unroll 12
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++)
      store(c + i * ldc + v * L, acc[i][v]);
}

#define BLOCK(mr, nv)                                                                              \
  static void direct_##mr##_##nv(const block *t) { multiply(t, mr, nv, false); }                   \
  static void packed_##mr##_##nv(const block *t) { multiply(t, mr, nv, true); }
#define BLOCKS(mr) BLOCK(mr, 1) BLOCK(mr, 2)
/* clang-format off */
BLOCKS(1) BLOCKS(2) BLOCKS(3) BLOCKS(4)
#if MR > 4
BLOCKS(5) BLOCKS(6)
#endif
#if MR > 6
BLOCKS(7) BLOCKS(8) BLOCKS(9) BLOCKS(10) BLOCKS(11) BLOCKS(12)
#endif
    /* clang-format on */
    static void direct_1_8(const block *t) {
  multiply(t, 1, 8, false);
}
static void direct_2_4(const block *t) { multiply(t, 2, 4, false); }

typedef void (*block_fn)(const block *t);

/* By rows and vectors; all rows up to MR exist, so that the last rows of a tile cost one call. */
#define PAIR(kind, mr)                                                                             \
  { kind##_##mr##_1, kind##_##mr##_2 }
#define FIRST4(kind) PAIR(kind, 1), PAIR(kind, 2), PAIR(kind, 3), PAIR(kind, 4)
#if MR == 4
#define TABLE(kind)                                                                                \
  { FIRST4(kind) }
#elif MR == 6
#define TABLE(kind)                                                                                \
  { FIRST4(kind), PAIR(kind, 5), PAIR(kind, 6) }
#else
#define TABLE(kind)                                                                                \
  {                                                                                                \
    FIRST4(kind), PAIR(kind, 5), PAIR(kind, 6), PAIR(kind, 7), PAIR(kind, 8), PAIR(kind, 9),       \
        PAIR(kind, 10), PAIR(kind, 11), PAIR(kind, 12)                                             \
  }
#endif
static const block_fn blocks[2][MR][2] = {TABLE(direct), TABLE(packed)};

/* ---- tiles ----------------------------------------------------------------------------------- */

static void scale(void *C_, int64_t ldc, int64_t m, int64_t n, double beta) {
  real *C = C_;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++)
      C[i * ldc + j] = beta == 0 ? 0 : (real)beta * C[i * ldc + j];
}

/* A block of rows of op(A): MR of them begin every `step` elements. */
typedef struct {
  const real *a;
  int64_t ld, step;
  bool across; /* rows side by side, k every ld elements; else k side by side, rows every ld
                  elements */
} rows;

#define LINE (64 / (int64_t)sizeof(real))

/* The next panel of B, fetched line by line while this one is in use: `wide` lines every ld
 * elements, then the lines beside them. */
typedef struct {
  const real *b;
  int64_t ld, wide, lines, each; /* each: lines per register block */
} next_panel;

/* m rows of C from the panel of r. */
INLINE void panel_rows(block *r, const rows *A, real *C, int64_t m, const next_panel *next) {
  const int width = r->n > L;
  int64_t line = 0;
  r->lda = A->ld;
  r->a = A->a;
  r->c = C;
  for (int64_t i = 0; i < m; i += MR) {
    for (const int64_t end = least(next->lines, line + next->each); line < end; line++)
      __builtin_prefetch(next->b + line % next->wide * next->ld + line / next->wide * LINE);
    blocks[A->across][least(MR, m - i) - 1][width](r);
    r->a += A->step;
    r->c += MR * r->ldc;
  }
}

/* A few rows of A where they lie take more columns at once, since they have few accumulators.
 * Returns the column after the last. */
INLINE int64_t few_rows(const ml_gemm_tile *t, block r, const rows *A, real *C, int64_t m,
                        const real *B) {
  int64_t j = t->n0;
  r.a = A->a;
  r.lda = A->ld;
  r.ldb = t->ldb;
  for (const int wide = m == 1 ? 8 : 4; j + wide * L <= t->n1; j += wide * L) {
    r.b = B + j;
    r.c = C + j;
    r.n = wide * L;
    if (m == 1)
      direct_1_8(&r);
    else
      direct_2_4(&r);
  }
  return j;
}

/* Blocks of k whose sums go to the same columns of C before the next columns are begun, so that
 * these stay in L2; at AVX-512 the copies of A leave room for two there. */
#define GROUP (ML_ISA_LEVEL == 2 ? 2 : 1)

/* Where op(B) lies: its element (k, j), j the first column of a panel, is at[j * down + k * step].
 */
typedef struct {
  const real *at;
  int64_t down, step;
} source;

INLINE source source_of(const ml_gemm_tile *t) {
  if (t->panels)
    return (source){t->panels, t->ldb, NR};
  return t->tb ? (source){t->B, t->ldb, 1} : (source){t->B, 1, t->ldb};
}

/* What to fetch while columns j of block k are in use: the same columns of the next block of the
 * group k0:k1, or else the next columns of its first one; nothing where less than a panel is left.
 */
INLINE next_panel next_of(const ml_gemm_tile *t, const source *B, int64_t j, int64_t k, int64_t k0,
                          int64_t k1, int64_t m) {
  const bool more = k + KC < k1;
  const int64_t kc = more ? least(KC, k1 - k - KC) : least(KC, k1 - k0), lines = NR * kc / LINE;
  const int64_t nj = more ? j : j + NR, nk = more ? k + KC : k0;
  next_panel next = {.b = B->at + nj * B->down + nk * B->step};
  if (t->panels)
    next.wide = next.lines = lines, next.ld = LINE;
  else if (t->tb)
    next.wide = NR, next.lines = lines, next.ld = t->ldb;
  else /* a line of each k: its neighbour comes with it */
    next.wide = next.lines = kc, next.ld = t->ldb;
  if (nj + (t->panels ? 1 : NR) > t->n1)
    next.lines = 0;
  next.each = next.lines * MR / m + 1;
  return next;
}

/* A group of blocks of k from k0 on for m rows: A[g] holds them for block g. */
static void tile_blocks(const ml_gemm_tile *t, const rows *A, int64_t m0, int64_t m, int64_t k0,
                        bool add) {
  _Alignas(64) real panel[NR * KC];
  const source B = source_of(t);
  real *C = (real *)t->C + m0 * t->ldc;
  const bool direct = !t->tb && !t->panels && m <= 2 * MR; /* a copy would not pay */
  const int64_t k1 = least(t->k1, k0 + GROUP * KC);
  block r = {.panel = NR, .ldc = t->ldc, .alpha = (real)t->alpha};
  int64_t first = t->n0;
  if (direct && !A->across && m <= 2)
    for (int64_t k = k0; k < k1; k += KC) {
      r.kc = least(KC, k1 - k);
      r.add = add || k > k0;
      first = few_rows(t, r, A + (k - k0) / KC, C, m, B.at + k * B.step);
    }
  for (int64_t j = first; j < t->n1; j += NR) {
    r.n = (int)least(NR, t->n1 - j);
    for (int64_t k = k0; k < k1; k += KC) {
      r.kc = least(KC, k1 - k);
      r.add = add || k > k0;
      r.b = B.at + j * B.down + k * B.step;
      r.ldb = B.step;
      if (!t->panels && !(direct && (r.n == NR || r.n == L))) {
        pack_panel(panel, r.b, t->ldb, t->tb, r.kc, r.n);
        r.b = panel;
        r.ldb = NR;
      }
      const next_panel next = next_of(t, &B, j, k, k0, k1, m);
      panel_rows(&r, A + (k - k0) / KC, C + j, m, &next);
    }
  }
}

/* A where it lies. */
static void tile_direct(const ml_gemm_tile *t, bool add) {
  for (int64_t k = t->k0; k < t->k1 && !ml_cancelled(); k += GROUP * KC, add = true) {
    rows A[GROUP];
    for (int64_t g = 0; g < GROUP; g++) {
      const int64_t at = k + g * KC;
      A[g] = (rows){.a = (const real *)t->A + (t->ta ? t->m0 + at * t->lda : t->m0 * t->lda + at),
                    .ld = t->lda,
                    .step = t->ta ? MR : MR * t->lda,
                    .across = t->ta};
    }
    tile_blocks(t, A, t->m0, t->m1 - t->m0, k, add);
  }
}

/* Rows of A copied at once, on the stack and in L2: 768 KiB at AVX-512, whose processors have an
 * L2 of 1 MiB or more, else 192 (f32) and 320 KiB. */
#define ROWS                                                                                       \
  ((int64_t)((ML_ISA_LEVEL == 2 ? (ML_REAL_IS_F32 ? 384 : 192)                                     \
              : ML_REAL_IS_F32  ? 192                                                              \
                                : 160) /                                                            \
             MR * MR))

/* A copied block by block, MR rows side by side. */
static void tile_copied(const ml_gemm_tile *t, bool add) {
  _Alignas(64) real copy[GROUP * ROWS * KC + L];
  const real *A = t->A;
  for (int64_t m0 = t->m0; m0 < t->m1; m0 += ROWS) {
    const int64_t m = least(ROWS, t->m1 - m0);
    bool more = add;
    for (int64_t k = t->k0; k < t->k1 && !ml_cancelled(); k += GROUP * KC, more = true) {
      rows copied[GROUP] = {{0}};
      for (int64_t g = 0; g < GROUP && k + g * KC < t->k1; g++) {
        const int64_t at = k + g * KC, kc = least(KC, t->k1 - at);
        real *to = copy + g * ROWS * KC;
        if (t->ta)
          pack_rows(to, A + at * t->lda + m0, t->lda, kc, m);
        else
          pack_lines(to, A + m0 * t->lda + at, t->lda, kc, m);
        copied[g] = (rows){.a = to, .ld = MR, .step = MR * kc, .across = true};
      }
      tile_blocks(t, copied, m0, m, k, more);
    }
  }
}

/* Whether a copy of A pays: for enough columns, or where the lines of a block of A would not stay
 * in L1. */
static bool copies(const ml_gemm_tile *t) {
  const int64_t m = t->m1 - t->m0, n = t->n1 - t->n0;
  return t->ta ? n > 256 || t->lda * (int64_t)sizeof(real) > 1024
               : m > 2 * MR && n >= (ML_ISA_LEVEL == 2 ? 1024 : 192);
}

static void tile(const ml_gemm_tile *t) {
  if (t->beta != 0 && t->beta != 1)
    scale((real *)t->C + t->m0 * t->ldc + t->n0, t->ldc, t->m1 - t->m0, t->n1 - t->n0, t->beta);
  (copies(t) ? tile_copied : tile_direct)(t, t->beta != 0);
}

static void combine(void *C_, int64_t ldc, const void *parts, int64_t part, int64_t count,
                    int64_t m, int64_t n, bool add) {
  real *C = C_;
  for (int64_t i = 0; i < m; i++) {
    real *restrict c = C + i * ldc;
    const real *restrict p = (const real *)parts + i * n;
    if (!add)
      memcpy(c, p, (size_t)n * sizeof(real));
    for (int64_t s = !add; s < count; s++)
      for (int64_t j = 0; j < n; j++)
        c[j] += p[s * part + j];
  }
}

/* ---- panels packed once ---------------------------------------------------------------------- */

static void pack(void *panels, const void *W_, int64_t ldw, bool transposed, int64_t K, int64_t N) {
  const real *W = W_;
  for (int64_t j = 0; j < N; j += NR)
    pack_panel((real *)panels + j * K, transposed ? W + j * ldw : W + j, ldw, transposed, K,
               (int)least(NR, N - j));
}

/* A block of k of columns j0:j1 for m rows. */
static void panel_block(block *r, const rows *x, const real *W, const real *bias, real *y,
                        int64_t K, int64_t m, int64_t j0, int64_t j1) {
  const int wide = m == 1   ? 8
                   : m == 2 ? 4
                            : 2; /* vectors at once: a few rows have few accumulators */
  for (int64_t j = j0; j < j1;) {
    const int64_t left = j1 - j;
    r->b = W + j * K;
    r->bias = bias ? bias + j : NULL;
    if (wide > 2 && left > NR * (wide / 2 - 1)) {
      r->a = x->a;
      r->lda = x->ld;
      r->c = y + j;
      r->n = (int)least(wide * L, left);
      if (m == 1)
        direct_1_8(r);
      else
        direct_2_4(r);
      j += wide * L;
    } else {
      r->n = (int)least(NR, left);
      panel_rows(r, x, y + j, m, &(next_panel){.wide = 1});
      j += NR;
    }
  }
}

static void panels(const ml_gemm_panels *t) {
  const real *x = t->x, *W = t->panels, *bias = t->bias;
  const int64_t n1 = least(t->N, t->p1 * NR);
  /* For a few rows a group of columns over all of K, so that y stays in L1; for many, whose x is
   * the larger, a block of k over all columns. */
  const int64_t span = t->m1 - t->m0 <= 16 ? NR * 4 : n1;
  rows A = {.ld = t->ldx, .step = MR * t->ldx};
  block r = {.ldb = NR, .panel = NR * t->K, .ldc = t->ldy, .alpha = 1};
  for (int64_t j0 = t->p0 * NR; j0 < n1; j0 += span)
    for (int64_t m0 = t->m0; m0 < t->m1; m0 += 32 * MR) {
      int64_t k = 0;
      do {
        r.kc = least(KC, t->K - k);
        r.add = t->add || k > 0;
        A.a = x + m0 * t->ldx + k;
        panel_block(&r, &A, W + k * NR, k + r.kc == t->K ? bias : NULL, (real *)t->y + m0 * t->ldy,
                    t->K, least(32 * MR, t->m1 - m0), j0, least(j0 + span, n1));
        k += KC;
      } while (k < t->K);
    }
}

/* ---- dot products ---------------------------------------------------------------------------- */

#define DOT 4096 /* k per sum; then the sums add up in order */

/* y[i * incy] += alpha dot(A[i,:], x) for one or two rows */
INLINE void dot_rows(real *y, int64_t incy, const real *A, int64_t lda, const real *x, int64_t k,
                     real alpha, const int n) {
  ml_vec acc[2][4] = {0};
  int64_t p = 0;
  for (; p + 4 * L <= k; p += 4 * L)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
      ml_vec xv = load(x + p + v * L);
#pragma GCC unroll 2
      for (int i = 0; i < n; i++)
        acc[i][v] += load(A + i * lda + p + v * L) * xv;
    }
  for (; p < k; p += L) {
    const size_t rest = (size_t)least(L, k - p) * sizeof(real);
    ml_vec xv = {0};
    memcpy(&xv, x + p, rest);
    for (int i = 0; i < n; i++) {
      ml_vec av = {0};
      memcpy(&av, A + i * lda + p, rest);
      acc[i][0] += av * xv;
    }
  }
  for (int i = 0; i < n; i++) {
    ml_vec sum = (acc[i][0] + acc[i][1]) + (acc[i][2] + acc[i][3]);
    real s = 0;
    for (int l = 0; l < L; l++)
      s += sum[l];
    s *= alpha;
    ROUNDED(s);
    y[i * incy] += s;
  }
}

static void dots(void *y_, int64_t incy, const void *A_, int64_t lda, const void *x_, int64_t incx,
                 int64_t m, int64_t k, double alpha, double beta) {
  real *y = y_, copy[DOT];
  const real *A = A_, *x = x_, a = (real)alpha;
  if (beta != 1)
    scale(y, incy, m, 1, beta);
  for (int64_t k0 = 0; k0 < k && !ml_cancelled(); k0 += DOT) {
    const int64_t kc = least(DOT, k - k0);
    const real *from = x + k0 * incx;
    if (incx != 1) {
      for (int64_t p = 0; p < kc; p++)
        copy[p] = from[p * incx];
      from = copy;
    }
    int64_t i = 0;
    for (; i + 2 <= m; i += 2)
      dot_rows(y + i * incy, incy, A + i * lda + k0, lda, from, kc, a, 2);
    if (i < m)
      dot_rows(y + i * incy, incy, A + i * lda + k0, lda, from, kc, a, 1);
  }
}

extern const ml_gemm_kernels ML_FN(gemm_kernels);
const ml_gemm_kernels ML_FN(gemm_kernels) = {.dtype = ML_REAL_IS_F32 ? ML_F32 : ML_F64,
                                             .rows = MR,
                                             .columns = NR,
                                             .tile_rows = ROWS,
                                             .tile = tile,
                                             .panels = panels,
                                             .pack = pack,
                                             .dots = dots,
                                             .scale = scale,
                                             .combine = combine};
