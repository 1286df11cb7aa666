/* clang-format off */
/* Optim room: update rules and gradient clipping.
 *
 * Every tensor of an optimizer has its own step count t, from 1; a tensor without a gradient is
 * skipped and does not count. In the formulas, elementwise unless said:
 *
 *   w, g          parameter and gradient
 *   s             the multiplier given to the step (a schedule's)
 *   lr            s * options.lr * lr_scale
 *   lambda        weight_decay * decay_scale
 *   eps           options.eps * eps_scale
 *   m, v          m = b1 m + (1 - b1) g       v = b2 v + (1 - b2) g^2       from 0
 *   mh, vh        mh = m / (1 - b1^t)         vh = v / (1 - b2^t)
 *   RMS(x)        sqrt(mean(x^2)), one number per tensor
 *
 *   sgd           u = momentum u + g, at the first step u = g
 *                 w -= lr u;  nesterov: w -= lr (g + momentum u)       Sutskever et al. 2013
 *   adam, adamw   w -= lr mh / (sqrt(vh) + eps)                        Kingma & Ba 2015
 *   adam_atan2    w -= lr a atan2(mh, b sqrt(vh))                      Everett et al. 2024
 *   adam_ps       w -= lr max(RMS(w), floor) mh / (sqrt(vh) + eps)     Everett et al. 2024
 *   lion          w -= lr sign(b1 m + (1 - b1) g)
 *                 m  = b2 m + (1 - b2) g                               Chen et al. 2023
 *   adafactor     u  = g / sqrt(V)
 *                 w -= lr max(RMS(w), eps2) u / max(1, RMS(u) / clip)  Shazeer & Stern 2018
 *                 where max(RMS(w), eps2), taken before the step, is 1 without scale_parameter
 *     V           V = c V + (1 - c) (g^2 + eps1),  c = 1 - t^-decay_exponent
 *     factored    R = c R + (1 - c) mean over each row    of (g^2 + eps1)
 *                 C = c C + (1 - c) mean over each column of (g^2 + eps1)
 *                 V[i,j] = R[i] C[j] / mean(R)
 *                 A tensor of more axes is the matrix [product of the leading axes, last axis];
 *                 it is factored when both sides are at least min_dim, if options.factored.
 *
 *   update_clip   adam, adamw: the update (not the decay) is divided by
 *                 max(1, RMS(g / sqrt(max(vh, eps^2))))                Wortsman et al. 2023
 *
 * Weight decay, on every tensor of a group; lion has the decoupled one only:
 *   independent   w -= s lambda w     beside the update, without lr    Wortsman et al. 2023
 *   decoupled     w -= lr lambda w    beside the update                Loshchilov & Hutter 2019
 *   coupled       g += lambda w       before everything else
 *
 * The chunks of all tensors are one parallel region, or two where a number of the whole tensor
 * (RMS) comes first; adafactor goes tensor by tensor. Sums run over fixed chunks and combine in
 * index order, so the bytes do not depend on the number of threads. */
/* clang-format on */
#ifndef MOONLAB_OPTIM_H
#define MOONLAB_OPTIM_H

#include "tensor/tensor.h"

typedef enum {
  ML_SGD,
  ML_ADAM,
  ML_ADAMW,
  ML_ADAM_ATAN2,
  ML_ADAFACTOR,
  ML_ADAM_PS,
  ML_LION,
  ML_RULE_COUNT
} ml_rule;
typedef enum { ML_DECAY_INDEPENDENT, ML_DECAY_DECOUPLED, ML_DECAY_COUPLED } ml_decay;

typedef struct {
  ml_rule rule;
  ml_decay decay;
  double lr, betas[2], eps, weight_decay;
  double momentum;
  bool nesterov;
  double a, b;      /* adam_atan2 */
  bool update_clip; /* adam, adamw */
  double floor;     /* adam_ps: least parameter RMS */
  bool factored;    /* adafactor, and what follows */
  int64_t min_dim;  /* both sides of a factored matrix are at least this */
  double clip, decay_exponent, eps1, eps2;
  bool scale_parameter;
} ml_optim_options;

ML_API const char *ml_rule_name(ml_rule rule);
ML_API void ml_optim_defaults(ml_optim_options *options, ml_rule rule);
ML_API ml_status ml_optim_check(const ml_optim_options *options,
                                ml_error *err) ML_MUST_CHECK; /* finite, in range */

/* The options that a rule has, by name; the last entry's name is NULL. */
typedef enum {
  ML_OPTIM_NUMBER,  /* double */
  ML_OPTIM_BETAS,   /* double[2] */
  ML_OPTIM_INTEGER, /* int64_t */
  ML_OPTIM_BOOLEAN, /* bool */
  ML_OPTIM_DECAY    /* ml_decay */
} ml_option_kind;
typedef struct {
  const char *name;
  ml_option_kind kind;
  size_t offset; /* of its field in ml_optim_options */
} ml_optim_option;
ML_API const ml_optim_option *ml_rule_options(ml_rule rule);

typedef struct ml_optim ml_optim;
ML_API ml_status ml_optim_new(ml_optim **optim, const ml_optim_options *options,
                              ml_error *err) ML_MUST_CHECK;
ML_API void ml_optim_free(ml_optim *optim);
/* w: real, contiguous; its storage is changed by steps. State is allocated here; a step takes
 * scratch only, and all of it before it changes anything. */
ML_API ml_status ml_optim_add(ml_optim *optim, const ml_tensor *w, double lr_scale,
                              double eps_scale, double decay_scale, ml_error *err) ML_MUST_CHECK;
ML_API int ml_optim_count(const ml_optim *optim);
ML_API const ml_tensor *ml_optim_tensor(const ml_optim *optim, int i);
ML_API const ml_optim_options *ml_optim_options_of(const ml_optim *optim);

/* One step with multiplier s; grads[i] like tensor i, NULL entries are skipped. ML_EARG: s not
 * finite; ML_ESHAPE: a gradient unlike its parameter; ML_ESTATE: a parameter was released;
 * ML_ENOMEM; ML_ECANCELLED before anything changed. */
ML_API ml_status ml_optim_step(ml_optim *optim, double s, const ml_tensor *const *grads,
                               ml_error *err) ML_MUST_CHECK;

/* State slots of tensor i, by number from 0 until NULL: aliases of the optimizer's own tensors. */
ML_API const char *ml_optim_slot(const ml_optim *optim, int i, int slot, ml_tensor *state);
ML_API int64_t ml_optim_steps(const ml_optim *optim, int i);
ML_API void ml_optim_set_steps(ml_optim *optim, int i, int64_t t);

/* Euclidean norm over all (NULL and empty entries skipped); when it exceeds max_norm every one is
 * multiplied by max_norm / norm, unless one is not finite. Right also where squares overflow.
 * ML_EARG: max_norm not > 0, a gradient not real or not contiguous; ML_ENOMEM. */
ML_API ml_status ml_clip_grad_norm(double *norm, ml_tensor *const *grads, int n, double max_norm,
                                   ml_error *err) ML_MUST_CHECK;

#endif
