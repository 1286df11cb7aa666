/* NN room: the differentiable operations that networks are made of, each forward and backward in
 * few passes.
 *
 * Every entry point records a node when an input is on a tape (grad.h) and fills empty outputs.
 * Weights are [in, out], y = x W; images are N, H, W, C; leading axes of x ([..., K]) are free.
 * Real inputs share one dtype, f32 or f64. NULL: absent.
 *
 * Statuses, of all alike: ML_ESHAPE for shapes that do not go together, ML_EDTYPE for what is not
 * real, mixed, or not index where ids are wanted, ML_EARG for a number or an id out of its range,
 * ML_ESTATE for a released tensor, ML_ENOMEM, ML_ECANCELLED; outputs then stay empty. */
#ifndef MOONLAB_NN_H
#define MOONLAB_NN_H

#include "grad/grad.h"

/* clang-format off */
typedef enum {
  ML_ACT_IDENTITY = 0, ML_ACT_GELU_TANH, ML_ACT_GELU_ERF, ML_ACT_RELU, ML_ACT_RELU2, ML_ACT_SILU,
  ML_ACT_SOFTPLUS, ML_ACT_TANH, ML_ACT_SIGMOID, ML_ACT_SIN, ML_ACT_ERF, ML_ACT_COUNT
} ml_act;
/* clang-format on */
ML_API bool ml_act_parse(ml_act *act, const char *name); /* "gelu_tanh" ... */
ML_API const char *ml_act_name(ml_act act);
ML_API ml_status ml_activation(ml_tensor *out, const ml_tensor *x, ml_act act,
                               ml_error *err) ML_MUST_CHECK;

/* y = act(x W + b). x [...,K], W [K,N], b [N] or NULL. Saves x and, for a nonlinear act, the
 * pre-activation. */
ML_API ml_status ml_linear(ml_tensor *y, const ml_tensor *x, const ml_tensor *W, const ml_tensor *b,
                           ml_act act, ml_error *err) ML_MUST_CHECK;
/* y = x W^T + b with W [N,K]: tied heads. */
ML_API ml_status ml_linear_t(ml_tensor *y, const ml_tensor *x, const ml_tensor *W,
                             const ml_tensor *b, ml_error *err) ML_MUST_CHECK;
/* q, k, v = x wq (+ bq), x wk (+ bk), x wv (+ bv) in one node; outputs [...,N]. */
ML_API ml_status ml_linear3(ml_tensor qkv[3], const ml_tensor *x, const ml_tensor *const W[3],
                            const ml_tensor *const b[3], ml_error *err) ML_MUST_CHECK;
/* y = act(x W1 + b1) W2 + b2, by row blocks; saves x and the pre-activation only. */
ML_API ml_status ml_mlp(ml_tensor *y, const ml_tensor *x, const ml_tensor *W1, const ml_tensor *b1,
                        const ml_tensor *W2, const ml_tensor *b2, ml_act act,
                        ml_error *err) ML_MUST_CHECK;

/* Over the last axis: population variance, eps inside the root. gain, shift [D] or NULL. */
ML_API ml_status ml_layer_norm(ml_tensor *y, const ml_tensor *x, const ml_tensor *gain,
                               const ml_tensor *shift, double eps, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_rms_norm(ml_tensor *y, const ml_tensor *x, const ml_tensor *gain, double eps,
                             ml_error *err) ML_MUST_CHECK;

/* Rotary position embedding (Su et al. 2021) on x [B,T,H,D], D even; frequencies base^(-2i/D).
 * half: pairs (i, i + D/2); interleaved: pairs (2i, 2i+1), from 0. positions index [B,T] or NULL
 * (0..T-1). */
ML_API ml_status ml_rotary(ml_tensor *y, const ml_tensor *x, const ml_tensor *positions,
                           double base, bool interleaved, ml_error *err) ML_MUST_CHECK;

/* Filled when asked for; over unmasked pairs, after scaling; probes never change results. */
typedef struct {
  double max_logit, max_abs_logit; /* over batch, heads, pairs */
  double entropy;                  /* mean over batch, heads, queries, nats */
} ml_attention_probe;
/* Softmax attention. q, k, v [B,T,H,D] (any strides with unit stride in D; usually views of
 * [B,T,H*D]) -> y [B,T,H,D] contiguous. causal: key j <= query i. segments index [B,T] or NULL:
 * only pairs of equal segment. Masked pairs give each other nothing, forward and backward, whatever
 * they hold (NaN, infinities). Blocked: the scores of all heads never exist at once; saves
 * log-sum-exp per row and recomputes in backward. Entropy collapse and logits of 1e5 are legal
 * input. */
ML_API ml_status ml_attention(ml_tensor *y, const ml_tensor *q, const ml_tensor *k,
                              const ml_tensor *v, const ml_tensor *segments, double scale,
                              bool causal, ml_attention_probe *probe, ml_error *err) ML_MUST_CHECK;

/* Cross-entropy with z term (log Z)^2 and real weights of any sign:
 * loss = sum_r w_r (ce_r + z_loss logZ_r^2) / count(w_r != 0). Means in info use the same weights
 * and count. */
typedef struct {
  double ce, mean_logz, mean_logz2;
  double logit_mean; /* plain mean over counted rows and vocabulary */
  int64_t count;
} ml_ce_info;
/* logits [...,V], targets index [...] , mask real [...] or NULL (all one) -> loss 0-d. No row
 * counted: loss 0. info may be NULL. */
ML_API ml_status ml_cross_entropy(ml_tensor *loss, const ml_tensor *logits,
                                  const ml_tensor *targets, const ml_tensor *mask, double z_loss,
                                  ml_ce_info *info, ml_error *err) ML_MUST_CHECK;
/* The same of logits = multiplier * (x W + b), by row blocks: logits are never stored whole; the
 * gradients of x and W are made in the forward pass when on a tape and scaled in backward. W [K,V],
 * or [V,K] when transposed (tied). */
ML_API ml_status ml_linear_cross_entropy(ml_tensor *loss, const ml_tensor *x, const ml_tensor *W,
                                         const ml_tensor *b, bool transposed, double multiplier,
                                         const ml_tensor *targets, const ml_tensor *mask,
                                         double z_loss, ml_ce_info *info,
                                         ml_error *err) ML_MUST_CHECK;
/* Per-row values without a tape: ce [R] of the same rows, the negative log probabilities. */
ML_API ml_status ml_linear_nll(ml_tensor *nll, const ml_tensor *x, const ml_tensor *W,
                               const ml_tensor *b, bool transposed, double multiplier,
                               const ml_tensor *targets, ml_error *err) ML_MUST_CHECK;

/* y = table[ids]: table [V,d], ids index [...] -> [...,d]; optional positions table [P,d] added: y
 * += positions_table[positions] (positions index like ids; NULL: counted from 0 along the last axis
 * of ids). */
ML_API ml_status ml_embedding(ml_tensor *y, const ml_tensor *table, const ml_tensor *ids,
                              const ml_tensor *positions_table, const ml_tensor *positions,
                              ml_error *err) ML_MUST_CHECK;

/* Each element zero with probability p, else x / (1-p). Draws from g and advances it. */
ML_API ml_status ml_dropout(ml_tensor *y, const ml_tensor *x, double p, ml_rng *g,
                            ml_error *err) ML_MUST_CHECK;

/* x [N,H,W,C], W [kh,kw,C,O], b [O] or NULL -> [N,H',W',O]. same: zero padding, H' =
 * ceil(H/stride), the odd pixel at the end (as TensorFlow). */
typedef struct {
  int64_t stride[2];
  bool same; /* else valid */
} ml_conv_options;
ML_API ml_status ml_conv2d(ml_tensor *y, const ml_tensor *x, const ml_tensor *W, const ml_tensor *b,
                           ml_conv_options options, ml_error *err) ML_MUST_CHECK;
/* Weights not shared over positions: W [H',W',kh*kw*C,O] (rows in kh, kw, C order), b [H',W',O] or
 * NULL. */
ML_API ml_status ml_locally_connected2d(ml_tensor *y, const ml_tensor *x, const ml_tensor *W,
                                        const ml_tensor *b, int64_t kh, int64_t kw,
                                        ml_conv_options options, ml_error *err) ML_MUST_CHECK;
/* Mean over windows; same: over the pixels that exist. */
ML_API ml_status ml_avg_pool2d(ml_tensor *y, const ml_tensor *x, int64_t kh, int64_t kw,
                               ml_conv_options options, ml_error *err) ML_MUST_CHECK;
/* [N,H,W,C] -> [N,C] */
ML_API ml_status ml_global_avg_pool(ml_tensor *y, const ml_tensor *x, ml_error *err) ML_MUST_CHECK;

#endif
