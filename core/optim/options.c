/* The options of the update rules: defaults, names and the check. */
#include "state.h"

#include <math.h>

const char *ml_rule_name(ml_rule rule) {
  static const char *const names[] = {"sgd",       "adam",    "adamw", "adam_atan2",
                                      "adafactor", "adam_ps", "lion"};
  return names[rule];
}

void ml_optim_defaults(ml_optim_options *o, ml_rule rule) {
  *o = (ml_optim_options){.rule = rule,
                          .decay = ML_DECAY_INDEPENDENT,
                          .lr = 1e-3,
                          .betas = {0.9, 0.95},
                          .eps = 1e-8,
                          .a = 1.27,
                          .b = 1,
                          .floor = 1e-3,
                          .factored = true,
                          .min_dim = 128,
                          .clip = 1,
                          .decay_exponent = 0.8,
                          .eps1 = 1e-30,
                          .eps2 = 1e-3,
                          .scale_parameter = true};
  if (rule == ML_ADAM)
    o->betas[1] = 0.999;
  if (rule == ML_ADAM || rule == ML_SGD)
    o->decay = ML_DECAY_COUPLED;
  if (rule == ML_ADAMW)
    o->weight_decay = 1e-4;
  if (rule == ML_LION)
    o->decay = ML_DECAY_DECOUPLED, o->betas[1] = 0.99, o->lr = 1e-4;
  if (rule == ML_ADAFACTOR)
    o->lr = 1e-2;
}

ml_status ml_optim_nonnegative(double x, const char *name, ml_error *err) {
  if (!(x >= 0) || isinf(x))
    return ml_fail(err, ML_EARG, 2, "%s is %g, wanted a number >= 0", name,
                   isnan(x) ? (double)NAN : x);
  return ML_OK;
}

static ml_status fraction(double x, const char *name, ml_error *err) {
  if (!(x >= 0 && x < 1))
    return ml_fail(err, ML_EARG, 2, "%s is %g, wanted 0 <= %s < 1", name, x, name);
  return ML_OK;
}

ml_status ml_optim_check(const ml_optim_options *o, ml_error *err) {
  ML_TRY(ml_optim_nonnegative(o->lr, "lr", err));
  ML_TRY(fraction(o->betas[0], "betas[1]", err));
  ML_TRY(fraction(o->betas[1], "betas[2]", err));
  ML_TRY(ml_optim_nonnegative(o->eps, "eps", err));
  ML_TRY(ml_optim_nonnegative(o->weight_decay, "weight_decay", err));
  ML_TRY(fraction(o->momentum, "momentum", err));
  ML_TRY(ml_optim_nonnegative(o->a, "a", err));
  ML_TRY(ml_optim_nonnegative(o->b, "b", err));
  ML_TRY(ml_optim_nonnegative(o->floor, "floor", err));
  ML_TRY(ml_optim_nonnegative(o->decay_exponent, "decay_exponent", err));
  ML_TRY(ml_optim_nonnegative(o->eps1, "eps1", err));
  ML_TRY(ml_optim_nonnegative(o->eps2, "eps2", err));
  if (!(o->clip > 0))
    return ml_fail(err, ML_EARG, 2, "clip is %g, wanted > 0", o->clip);
  if (o->min_dim < 1)
    return ml_fail(err, ML_EARG, 2, "min_dim is %lld, wanted >= 1", (long long)o->min_dim);
  if (o->nesterov && o->momentum == 0)
    return ml_fail(err, ML_EARG, 2, "nesterov needs momentum > 0");
  if (o->update_clip && o->rule != ML_ADAM && o->rule != ML_ADAMW)
    return ml_fail(err, ML_EARG, 2, "update_clip belongs to adam and adamw, not to %s",
                   ml_rule_name(o->rule));
  if (o->rule == ML_LION && o->decay != ML_DECAY_DECOUPLED)
    return ml_fail(err, ML_EARG, 2, "lion's decay is decoupled");
  return ML_OK;
}

/* ---- the options by name --------------------------------------------------------------------- */

#define NUMBER(field)                                                                              \
  { #field, ML_OPTIM_NUMBER, offsetof(ml_optim_options, field) }
#define BOOLEAN(field)                                                                             \
  { #field, ML_OPTIM_BOOLEAN, offsetof(ml_optim_options, field) }
#define INTEGER(field)                                                                             \
  { #field, ML_OPTIM_INTEGER, offsetof(ml_optim_options, field) }
#define BETAS                                                                                      \
  { "betas", ML_OPTIM_BETAS, offsetof(ml_optim_options, betas) }
#define COMMON                                                                                     \
  NUMBER(lr), NUMBER(weight_decay), { "decay", ML_OPTIM_DECAY, offsetof(ml_optim_options, decay) }
#define END                                                                                        \
  { NULL, ML_OPTIM_NUMBER, 0 }

const ml_optim_option *ml_rule_options(ml_rule rule) {
  static const ml_optim_option sgd[] = {COMMON, NUMBER(momentum), BOOLEAN(nesterov), END},
                               adam[] = {COMMON, BETAS, NUMBER(eps), BOOLEAN(update_clip), END},
                               adam_atan2[] = {COMMON, BETAS, NUMBER(a), NUMBER(b), END},
                               adam_ps[] = {COMMON, BETAS, NUMBER(eps), NUMBER(floor), END},
                               lion[] = {COMMON, BETAS, END},
                               adafactor[] = {
                                   COMMON,       BOOLEAN(factored),        INTEGER(min_dim),
                                   NUMBER(clip), NUMBER(decay_exponent),   NUMBER(eps1),
                                   NUMBER(eps2), BOOLEAN(scale_parameter), END};
  static const ml_optim_option *const options[] = {[ML_SGD] = sgd,
                                                   [ML_ADAM] = adam,
                                                   [ML_ADAMW] = adam,
                                                   [ML_ADAM_ATAN2] = adam_atan2,
                                                   [ML_ADAFACTOR] = adafactor,
                                                   [ML_ADAM_PS] = adam_ps,
                                                   [ML_LION] = lion};
  return options[rule];
}
