/* Decoding's row kernels: one table per dtype and instruction set. Private to the transformer
 * room.
 *
 * Every kernel computes one row from that row's own data in an order fixed by its sizes, so that a
 * row's bits depend neither on its neighbours nor on the thread. Pointers are to elements of the
 * variant's dtype. */
#ifndef MOONLAB_TRANSFORMER_KERNELS_H
#define MOONLAB_TRANSFORMER_KERNELS_H

#include "tensor/tensor.h"

/* Positions that stand together in the cache, the unit over which scores are vectors. */
#define ML_CACHE_BLOCK 16

/* Keys and values of some consecutive positions, for all layers. A layer is cap / 16 blocks; a
 * block holds for each head K as [D][16], so that a score of 16 positions is D multiply-adds of
 * vectors, then V as [16][Dp]. What one query of one layer reads is contiguous but for the unused
 * end. */
typedef struct {
  char *data;
  int64_t cap; /* positions, a multiple of ML_CACHE_BLOCK */
} ml_span;

/* Elements of one head's part of a block, and of a block. */
static inline int64_t ml_block_part(int64_t D, int64_t Dp) { return (D + Dp) * ML_CACHE_BLOCK; }

/* What the head kernels need to know of the model. */
typedef struct {
  int64_t heads, D;
  int64_t Dp; /* D rounded up to 64 bytes: the row length of V */
  double scale, eps;
  bool rms, norm, norm_last, interleaved;
  const void *q_gain, *k_gain; /* of this layer; read when norm */
  const void *cosine, *sine;   /* [D/2] of this row's position; NULL: no rotation */
} ml_head_plan;

typedef struct {
  /* y = norm(x) * gain (+ shift); shift NULL: none */
  void (*norm)(int64_t rows, int64_t n, const void *x, int64_t ldx, const void *gain,
               const void *shift, double eps, bool rms, void *y, int64_t ldy);
  void (*activate)(int64_t n, void *x, int act); /* in place; act is an ml_act */
  /* x = m table_row (+ mp place_row) */
  void (*embed)(int64_t n, const void *table_row, double m, const void *place_row, double mp,
                void *x);
  /* One row [q | k | v] of a layer: q normed, rotated and scaled in place; k and v shaped and
   * stored at position t of the layer's part of a span. This and the next two twice: of a cache of
   * the variant's dtype, and of one of bf16 (f32 only). */
  void (*shape[2])(const ml_head_plan *plan, void *qkv, void *layer, int64_t t);
  /* y[D] = softmax(q . K) V over n0 positions at c0 (a multiple of 16 when n1 > 0) and n1 at c1:
   * the head's part of the first block of a layer, the next block `stride` elements on. s: scratch
   * of n0 + n1 rounded up to 16. */
  void (*attend[2])(int64_t D, int64_t Dp, int64_t stride, const void *q, const void *c0,
                    int64_t n0, const void *c1, int64_t n1, void *s, void *y);
  /* Brings what attend will read of n positions towards the core. */
  void (*fetch[2])(int64_t D, int64_t Dp, int64_t stride, const void *c, int64_t n);
  /* The largest of n logits, NaN skipped; its first position in *at (-1: no number among them). */
  double (*max)(int64_t n, const void *logits, int64_t *at);
  /* e[i] = exp((logits[i] - max) scale) and the sum of each 64 of them; returns the whole sum (NaN
   * when some logit is). e and sums may be NULL together. */
  double (*exponentials)(int64_t n, const void *logits, double max, double scale, void *e,
                         double *sums);
  /* The position where the running sum of e passes u * total; sums as exponentials made them. */
  int64_t (*pick)(int64_t n, const void *e, const double *sums, double total, double u);
  /* The k most likely ids in order (ties by id) with the least count whose probability reaches
   * top_p, at this scale; draws by u. heap: scratch of n ids, weight: scratch of n doubles. */
  int64_t (*pick_top)(int64_t n, const void *logits, double max, double scale, int64_t k,
                      double top_p, double u, int64_t *heap, double *weight);
  double (*at)(const void *x, int64_t i);
  void (*scale)(int64_t n, const void *x, double m, void *y); /* y = m x */
} ml_decode_kernels;

const ml_decode_kernels *
ml_decode_kernels_of(ml_dtype dtype); /* of this machine's instruction set */

#define ML_DECODE_DECLARE(v)                                                                       \
  void ml_decode_norm_##v(int64_t rows, int64_t n, const void *x, int64_t ldx, const void *gain,   \
                          const void *shift, double eps, bool rms, void *y, int64_t ldy);          \
  void ml_decode_activate_##v(int64_t n, void *x, int act);                                        \
  void ml_decode_embed_##v(int64_t n, const void *table_row, double m, const void *place_row,      \
                           double mp, void *x);                                                    \
  void ml_decode_shape_##v(const ml_head_plan *plan, void *qkv, void *layer, int64_t t);           \
  void ml_decode_attend_##v(int64_t D, int64_t Dp, int64_t stride, const void *q, const void *c0,  \
                            int64_t n0, const void *c1, int64_t n1, void *s, void *y);             \
  void ml_decode_fetch_##v(int64_t D, int64_t Dp, int64_t stride, const void *c, int64_t n);       \
  void ml_decode_shape_half_##v(const ml_head_plan *plan, void *qkv, void *layer, int64_t t);      \
  void ml_decode_attend_half_##v(int64_t D, int64_t Dp, int64_t stride, const void *q,             \
                                 const void *c0, int64_t n0, const void *c1, int64_t n1, void *s,  \
                                 void *y);                                                         \
  void ml_decode_fetch_half_##v(int64_t D, int64_t Dp, int64_t stride, const void *c, int64_t n);  \
  double ml_decode_max_##v(int64_t n, const void *logits, int64_t *at);                            \
  double ml_decode_exponentials_##v(int64_t n, const void *logits, double max, double scale,       \
                                    void *e, double *sums);                                        \
  int64_t ml_decode_pick_##v(int64_t n, const void *e, const double *sums, double total,           \
                             double u);                                                            \
  int64_t ml_decode_pick_top_##v(int64_t n, const void *logits, double max, double scale,          \
                                 int64_t k, double top_p, double u, int64_t *heap,                 \
                                 double *weight);                                                  \
  double ml_decode_at_##v(const void *x, int64_t i);                                               \
  void ml_decode_scale_##v(int64_t n, const void *x, double m, void *y);
ML_DECODE_DECLARE(f32_portable)
ML_DECODE_DECLARE(f64_portable)
#if defined(__x86_64__)
ML_DECODE_DECLARE(f32_avx2)
ML_DECODE_DECLARE(f64_avx2)
ML_DECODE_DECLARE(f32_avx512)
ML_DECODE_DECLARE(f64_avx512)
#endif

#endif
