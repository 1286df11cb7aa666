/* Optim room: update rules, gradient clipping, schedules. A step runs over all tensors of an
 * optimizer in one parallel region.
 *
 * Notation: g gradient, w parameter, t the tensor's own step count from 1, s the schedule's
 * multiplier, m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, mh = m / (1 - b1^t), vh = v / (1 - b2^t),
 * lr = s * options.lr * lr_scale, lambda = weight_decay * decay_scale.
 *
 *   sgd         u = momentum u + g (u = g at the first step);  w -= lr u;  nesterov: w -= lr (g +
 * momentum u) adam, adamw w -= lr mh / (sqrt(vh) + eps)                              Kingma & Ba
 * 2015 adam_atan2  w -= lr a atan2(mh, b sqrt(vh))                            Everett et al. 2024
 *   adam_ps     w -= lr max(RMS(w), floor) mh / (sqrt(vh) + eps)           parameter scaling, RMS
 * before the step adafactor   b2_t = 1 - t^-decay_exponent; V the average of g^2 + eps1, for
 * matrices R C^T / mean(R); u = g / sqrt(V);  u /= max(1, RMS(u) / clip);  w -= lr max(RMS(w),
 * eps2) u     Shazeer & Stern 2018 lion        w -= lr (sign(b1 m + (1-b1) g) + lambda w);  m = b2
 * m + (1-b2) g               Chen et al. 2023
 *
 * Weight decay, on every tensor of a group:
 *   independent w -= s lambda w    (beside the update, without lr)        Wortsman et al. 2023
 *   decoupled   w -= lr lambda w   (beside the update)                    Loshchilov & Hutter 2019
 *   coupled     g += lambda w      (before the moments)
 * update_clip: the step is divided by max(1, RMS(g / sqrt(max(vh, eps^2)))), per tensor    Wortsman
 * et al. 2023 (StableAdamW) */
#ifndef MOONLAB_OPTIM_H
#define MOONLAB_OPTIM_H

#include "../tensor/tensor.h"

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
  double lr, beta1, beta2, eps, weight_decay;
  double momentum;
  bool nesterov;
  double a, b;      /* adam_atan2 */
  bool update_clip; /* the Adam family */
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

typedef struct ml_optim ml_optim;
ML_API ml_status ml_optim_new(ml_optim **optim, const ml_optim_options *options,
                              ml_error *err) ML_MUST_CHECK;
ML_API void ml_optim_free(ml_optim *optim);
/* w: real, contiguous; its storage is changed by steps. State is allocated here, so that a step
 * allocates nothing. */
ML_API ml_status ml_optim_add(ml_optim *optim, const ml_tensor *w, double lr_scale,
                              double eps_scale, double decay_scale, ml_error *err) ML_MUST_CHECK;
ML_API int ml_optim_count(const ml_optim *optim);
ML_API const ml_tensor *ml_optim_tensor(const ml_optim *optim, int i);
ML_API ml_optim_options *
ml_optim_options_of(ml_optim *optim); /* may be changed between steps, then checked */

/* One step with multiplier s; grads[i] like tensor i, NULL entries are skipped. */
ML_API ml_status ml_optim_step(ml_optim *optim, double s, const ml_tensor *const *grads,
                               ml_error *err) ML_MUST_CHECK;

/* State slots of tensor i, by number from 0 until NULL: aliases of the optimizer's own tensors. */
ML_API const char *ml_optim_slot(const ml_optim *optim, int i, int slot, ml_tensor *state);
ML_API int64_t ml_optim_steps(const ml_optim *optim, int i);
ML_API void ml_optim_set_steps(ml_optim *optim, int i, int64_t t);

/* Euclidean norm over all (NULL and empty entries skipped); when it exceeds max_norm every one is
 * multiplied by max_norm / norm, unless one is not finite. Squares may leave the range of double. */
ML_API ml_status ml_clip_grad_norm(double *norm, ml_tensor *const *grads, int n, double max_norm,
                                   ml_error *err) ML_MUST_CHECK;

#endif
