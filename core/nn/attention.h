/* Private to the nn room: what attention.c hands to the hot loops of simd/attention.c.
 *
 * Strides count elements; the innermost axis D has stride 1. Scores live in units of log 2: they
 * carry the factor scale * log2(e), so that probabilities are powers of two. */
#ifndef MOONLAB_NN_ATTENTION_H
#define MOONLAB_NN_ATTENTION_H

#include "nn.h"

typedef struct {
  const void *data;
  int64_t b, t, h; /* strides */
} ml_attention_view;

typedef struct {
  int64_t B, T, H, D;
  double scale;
  bool causal;
  const int64_t *segments; /* [B,T] or NULL */
  ml_attention_view q, k, v;
  void *y;   /* [B,T,H,D] */
  void *lse; /* [B,H,T], log2 of the sum of 2^score; NULL: not wanted */
  /* backward only */
  ml_attention_view dy;
  void *dq, *dk, *dv; /* [B,T,H,D]; NULL: not wanted */
  bool add_q, add_k, add_v;
  int64_t groups; /* key blocks of a head are dealt to this many tasks */
  void *parts;    /* groups > 1: [B,H,groups,T,D] partial sums of dq */
} ml_attention_args;

/* Probe of one task: over its queries. */
typedef struct {
  double max_logit, max_abs_logit, entropy_sum;
} ml_attention_part;

typedef struct {
  size_t (*forward_bytes)(int64_t rows, int64_t D, bool probe); /* scratch of one worker */
  size_t (*backward_bytes)(int64_t T, int64_t D);
  /* Queries [q0, q1) of head h of sequence b. part NULL: no probe. */
  void (*forward)(const ml_attention_args *a, int64_t b, int64_t h, int64_t q0, int64_t q1,
                  void *scratch, ml_attention_part *part);
  /* Key blocks group, group + groups, ... of a head: dk and dv of their keys, and dq (whole, or its
   * part of this group). */
  void (*backward)(const ml_attention_args *a, int64_t b, int64_t h, int64_t group, void *scratch);
  int64_t (*backward_blocks)(int64_t T, int64_t D); /* how many key blocks there are */
  /* dq (+)= scale * the sum of the parts, in order, for one head */
  void (*combine)(const ml_attention_args *a, int64_t b, int64_t h);
} ml_nn_attention_kernels;

#endif
