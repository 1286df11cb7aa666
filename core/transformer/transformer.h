/* Transformer room: the decoder. Configuration, parameter table, training forward, decoding with a
 * KV cache, samplers, probes.
 *
 * The training forward is made of the operations of nn and records a tape; decoding runs on kernels
 * of its own whose rows are independent of each other bit for bit, so that neither batch size nor
 * threads change a sample. Token ids, segments and targets count from 0 here; the bindings
 * translate. */
#ifndef MOONLAB_TRANSFORMER_H
#define MOONLAB_TRANSFORMER_H

#include "nn/nn.h"

/* ---- configuration --------------------------------------------------------------------------- */

typedef enum { ML_NORM_LAYER = 0, ML_NORM_RMS } ml_norm_kind;
typedef enum { ML_POSITIONS_ROTARY = 0, ML_POSITIONS_LEARNED, ML_POSITIONS_NONE } ml_positions_kind;
typedef enum { ML_SCALE_INV_SQRT = 0, ML_SCALE_INV, ML_SCALE_NUMBER } ml_scale_kind;
/* paper: embeddings Normal(0, 1/d), other matrices truncated normal of variance 1/fan_in (Wortsman
 * et al. 2023); normal: every matrix Normal(0, 0.02^2), wo and w2 divided by sqrt(2 depth) (GPT-2);
 * zeros_out: paper, with wo and w2 zero, so that every block starts as the identity. Gains are 1,
 * biases and shifts 0. */
typedef enum { ML_INIT_PAPER = 0, ML_INIT_NORMAL, ML_INIT_ZEROS_OUT } ml_init_kind;

/* Plain data; ml_transformer_config_default first, so that fields added later have their defaults.
 */
typedef struct {
  int64_t vocab, context, depth, width, heads;
  int64_t mlp_width; /* 0: 4 width */
  int64_t seed;
  double norm_eps, rotary_base;
  double attention_scale; /* read when scale_kind is ML_SCALE_NUMBER */
  int dtype;              /* ml_dtype: ML_F32 or ML_F64 */
  int norm;               /* ml_norm_kind */
  int activation;         /* ml_act */
  int positions;          /* ml_positions_kind */
  int scale_kind;         /* ml_scale_kind: 1/sqrt(d_head), 1/d_head, a number */
  int init;               /* ml_init_kind */
  bool bias, qk_norm, tied;
  bool rotary_interleaved; /* pairs (2i, 2i+1) instead of (i, i + d_head/2) */
  bool qk_norm_after_rotary;
} ml_transformer_config;

ML_API void ml_transformer_config_default(ml_transformer_config *config);
/* Sets one option by the name it has in Lua. ML_EARG names the nearest option or choice. */
ML_API ml_status ml_transformer_config_set_number(ml_transformer_config *config, const char *option,
                                                  double value, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_transformer_config_set_text(ml_transformer_config *config, const char *option,
                                                const char *value, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_transformer_config_set_bool(ml_transformer_config *config, const char *option,
                                                bool value, ml_error *err) ML_MUST_CHECK;
/* Reading back by name, for printing and saving: the options in order; NULL past the last. */
typedef enum { ML_OPTION_INTEGER, ML_OPTION_NUMBER, ML_OPTION_BOOL, ML_OPTION_TEXT } ml_option_type;
typedef struct {
  ml_option_type type;
  int64_t integer;
  double number;
  bool boolean;
  const char *text; /* static */
} ml_option_value;
ML_API const char *ml_transformer_option(int i);
ML_API ml_status ml_transformer_config_get(ml_option_value *value,
                                           const ml_transformer_config *config, const char *option,
                                           ml_error *err) ML_MUST_CHECK;
/* Checks every option and that they agree; fills mlp_width. ML_EARG. */
ML_API ml_status ml_transformer_config_check(ml_transformer_config *config,
                                             ml_error *err) ML_MUST_CHECK;
/* JSON object with every option, sorted keys; ml_free it. NULL: out of memory. */
ML_API char *ml_transformer_config_json(const ml_transformer_config *config);
/* Options absent keep their defaults; unknown ones are ML_EARG. Not a JSON object: ML_EFORMAT. */
ML_API ml_status ml_transformer_config_parse(ml_transformer_config *config, const char *json,
                                             size_t bytes, ml_error *err) ML_MUST_CHECK;

/* ---- model ----------------------------------------------------------------------------------- */

typedef struct ml_transformer ml_transformer;

/* What a parameter is, for initialisation and for parameterizations. */
typedef enum {
  ML_PARAM_EMBEDDING,
  ML_PARAM_HIDDEN,
  ML_PARAM_READOUT,
  ML_PARAM_GAIN,
  ML_PARAM_BIAS
} ml_param_role;
typedef struct {
  char name[48];     /* "blocks.1.attn.wq" */
  ml_tensor tensor;  /* a leaf */
  double multiplier; /* the forward pass uses multiplier * tensor; default 1, kept by save */
  ml_param_role role;
  int64_t fan_in; /* of matrices; width for embeddings; 0 for vectors */
  bool residual;  /* wo and w2: their output is added to the residual stream */
} ml_transformer_param;

ML_API ml_status ml_transformer_new(ml_transformer **model, const ml_transformer_config *config,
                                    ml_error *err) ML_MUST_CHECK;
ML_API void ml_transformer_free(ml_transformer *model); /* NULL allowed */
ML_API const ml_transformer_config *ml_transformer_get_config(const ml_transformer *model);
ML_API int64_t ml_transformer_param_count(const ml_transformer *model);
ML_API ml_transformer_param *
ml_transformer_param_at(ml_transformer *model,
                        int64_t i); /* fixed order: as in the design's table */
ML_API ml_transformer_param *ml_transformer_param_find(ml_transformer *model,
                                                       const char *name); /* NULL: no such name */
/* The multiplier slot of a parameter, or of "head" also when the head is tied (then it acts on the
 * logits only). NULL: none. */
ML_API double *ml_transformer_multiplier(ml_transformer *model, const char *name);
/* Draws one parameter again from the model's seed and its own name, as init says, times scale. */
ML_API ml_status ml_transformer_redraw(ml_transformer *model, ml_transformer_param *param,
                                       double scale, ml_error *err) ML_MUST_CHECK;
ML_API bool
ml_transformer_training(ml_transformer *model,
                        bool on); /* returns the previous state; the decoder has no dropout */

/* Weights, multipliers and configuration in one safetensors file. */
ML_API ml_status ml_transformer_save(const ml_transformer *model, const char *path,
                                     ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_transformer_load(ml_transformer **model, const char *path,
                                     ml_error *err) ML_MUST_CHECK;

/* ---- training forward ------------------------------------------------------------------------ */

typedef struct {
  ml_attention_probe *attention; /* [depth], the caller's */
  double *block_rms;             /* [depth] root mean square of the output of each block */
  double *q_rms, *k_rms; /* [depth] of queries and keys as they meet: normed, rotated, not scaled */
  double *qk_cosine;     /* [depth] mean over pairs that attend */
} ml_transformer_probe;

typedef struct {
  const ml_tensor *tokens;  /* index [B,T+1] or [T+1], shifted inside; or NULL and */
  const ml_tensor *inputs;  /* index [B,T] or [T]; absent when embeddings are given */
  const ml_tensor *targets; /* index like inputs */
  const ml_tensor *mask;    /* real [B,T] weights of any sign aligned with targets, or NULL */
  const ml_tensor
      *segments; /* index [B,T] on the inputs, or NULL: attention and positions restart */
  const ml_tensor
      *embeddings; /* real [B,T,d] instead of the embedding of ids, or NULL; differentiable */
  double z_loss;
  ml_transformer_probe *probe; /* NULL: none */
} ml_transformer_batch;

/* loss 0-d = sum(mask (ce + z_loss logZ^2)) / count(mask != 0); info may be NULL. ML_ESHAPE,
 * ML_EDTYPE; ML_EARG for ids outside the vocabulary and for more positions than the context. A NaN
 * or infinite loss is a result. */
ML_API ml_status ml_transformer_loss(ml_tensor *loss, ml_transformer *model,
                                     const ml_transformer_batch *batch, ml_ce_info *info,
                                     ml_error *err) ML_MUST_CHECK;
/* inputs, segments, embeddings and probe of batch are read. logits [B,T,V], or [T,V] for inputs of
 * rank 1. */
ML_API ml_status ml_transformer_logits(ml_tensor *logits, ml_transformer *model,
                                       const ml_transformer_batch *batch,
                                       ml_error *err) ML_MUST_CHECK;
/* out[n] empty tensors: layer 0 the embedding, l the output of block l, ML_LAYER_FINAL after the
 * last norm; each [B,T,d]. */
#define ML_LAYER_FINAL (-1)
ML_API ml_status ml_transformer_hidden(ml_tensor *out, ml_transformer *model,
                                       const ml_transformer_batch *batch, const int64_t *layers,
                                       int n, ml_error *err) ML_MUST_CHECK;

/* Per-token log probabilities, without a tape. Sequence s holds length[s] ids (at most context +
 * 1); from[s] >= 1 is the first position (from 0) scored. out[s] becomes real [length[s] -
 * from[s]]. */
ML_API ml_status ml_transformer_logprob(ml_tensor *out, ml_transformer *model,
                                        const int64_t *const *sequence, const int64_t *length,
                                        const int64_t *from, int64_t n,
                                        ml_error *err) ML_MUST_CHECK;

/* ---- decoding -------------------------------------------------------------------------------- */

typedef struct {
  int64_t n;          /* samples per prompt, >= 1 */
  int64_t max_new;    /* >= 0 */
  double temperature; /* > 0 */
  int64_t top_k;      /* 0: all */
  double top_p; /* in (0, 1]; 1: all. After top_k, the fewest most likely tokens that hold top_p of
                   the probability */
  bool cache_bf16;     /* keys and values rounded to bf16, for f32 models: half the memory */
  bool greedy;         /* the largest logit, the first of equals; nothing is drawn */
  const int64_t *stop; /* ids; the one that ends a row is its last token */
  int64_t n_stop;
  const ml_rng *keys; /* [n_prompts]; row (i, j), j from 1, draws from keys[i] folded with ("row",
                         j): one block per token */
} ml_generate_options;
ML_API void ml_generate_options_default(ml_generate_options *options);

/* Row i * n + j is sample j of prompt i. tokens and logprobs have room for max_new entries a row.
 */
typedef struct {
  int64_t rows, room;
  int64_t *tokens;  /* [rows, room] */
  double *logprobs; /* [rows, room] of the sampled tokens under the model's own distribution
                       (temperature 1, nothing cut) */
  int64_t *length;  /* [rows] new tokens */
  bool *finished;   /* [rows] ended by a stop id */
  int64_t new_tokens, prompt_tokens;
  double prefill_seconds, decode_seconds;
  uint64_t cache_bytes; /* largest size of the KV cache */
} ml_samples;
ML_API void ml_samples_clear(ml_samples *samples);

/* A prompt has 1..context ids. Together with it a row holds at most context + 1 tokens; one that
 * gets there ends unfinished. The cache is bounded: rows beyond the bound wait for others to end,
 * which changes no result. ML_EARG; ML_ENOMEM, before anything is done when one row at a time and
 * the results exceed the memory that is free; ML_ENUMERIC when logits are NaN; ML_ECANCELLED. */
ML_API ml_status ml_transformer_generate(ml_samples *samples, ml_transformer *model,
                                         const int64_t *const *prompt, const int64_t *length,
                                         int64_t n_prompts, const ml_generate_options *options,
                                         ml_error *err) ML_MUST_CHECK;
/* Logits as decoding computes them: the first `prefill` ids in one pass, the rest one at a time
 * through the cache. logits real [length, V]. For checks against ml_transformer_logits. */
ML_API ml_status ml_transformer_decode_logits(ml_tensor *logits, ml_transformer *model,
                                              const int64_t *ids, int64_t length, int64_t prefill,
                                              bool cache_bf16, ml_error *err) ML_MUST_CHECK;

#endif
