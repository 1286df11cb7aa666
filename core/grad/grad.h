/* Grad room: the tape, backward, the descriptor of a differentiable op, and the differentiable form
 * of every tensor op.
 *
 * There is no global tape. A tensor that depends on a parameter holds a counted reference to its
 * node; nodes hold their inputs' nodes and what they saved; dropping the loss drops the graph
 * (iteratively, never by recursion). First order only. The entry points (ml_binary and so on) fall
 * straight through to the tensor room when no input is on a tape. */
#ifndef MOONLAB_GRAD_H
#define MOONLAB_GRAD_H

#include "tensor/tensor.h"

#define ML_OP_MAX_IN 16 /* concat and stack of more tensors nest */
#define ML_OP_MAX_OUT 4
#define ML_OP_MAX_SAVED 16

typedef struct ml_node ml_node;
typedef struct ml_op ml_op;
typedef struct ml_save ml_save;

/* ---- the descriptor -------------------------------------------------------------------------- */

/* What a vjp sees. */
typedef struct ml_vjp {
  const ml_op *op;
  const void *attr; /* the attributes of the call */
  int n_in, n_out, n_saved;
  const ml_shape *in_shape; /* [n_in] */
  const ml_dtype *in_dtype; /* [n_in] */
  const ml_tensor *saved;   /* [n_saved], in the order of ml_save_tensor */
  const ml_tensor *gout;    /* [n_out] gradients of the outputs; empty where none arrived */
  const bool *wanted; /* [n_in] whether a gradient of input i is needed; false for absent inputs */
  void *engine;       /* private */
} ml_vjp;

/* Where the gradient of input i goes: *dst is contiguous with the input's shape and dtype.
 * *accumulate tells to add to it (it holds earlier contributions) instead of overwriting it. At
 * most once per input. */
ML_API ml_status ml_vjp_target(ml_vjp *c, int i, ml_tensor **dst, bool *accumulate,
                               ml_error *err) ML_MUST_CHECK;
/* Or hand over a finished tensor of the input's shape (any view, shared storage allowed; g becomes
 * empty, also on failure). */
ML_API ml_status ml_vjp_give(ml_vjp *c, int i, ml_tensor *g, ml_error *err) ML_MUST_CHECK;

/* A gradient-check case: inputs and attributes that forward accepts. Absent optional inputs stay
 * empty. */
typedef struct {
  int n_in;
  ml_tensor in[ML_OP_MAX_IN]; /* f64 (real inputs) or index / u8 */
  unsigned differentiable;    /* bit mask of inputs to check; others are constants */
  _Alignas(16) unsigned char attr[256];
  int n_out;
} ml_check_case;

struct ml_op {
  const char *name;
  int arity;        /* inputs, absent ones included; -1: any number */
  int n_out;        /* outputs; those that are not real get no gradient */
  size_t attr_size; /* attributes are plain data, copied into the node; 0 none */
  /* out[n_out] empty tensors; in[i] NULL when absent. save is NULL when nothing is recorded: do not
   * compute what only vjp needs. */
  ml_status (*forward)(ml_tensor *out, const ml_tensor *const *in, int n_in, const void *attr,
                       ml_save *save, ml_error *err);
  ml_status (*vjp)(ml_vjp *c, ml_error *err);
  /* Fills case number `variant` (from 0) with numbers from g; *n_variants is how many there are (>=
   * 1). */
  ml_status (*check)(ml_check_case *c, int variant, int *n_variants, ml_rng *g, ml_error *err);
};

/* Saves a tensor for vjp: detached alias with a snapshot of its version (checked at backward). save
 * NULL: does nothing. */
ML_API ml_status ml_save_tensor(ml_save *save, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;

/* Runs op: forward, and a node when gradients are enabled and some input is on a tape.
 * out[op->n_out] are empty tensors. */
ML_API ml_status ml_apply(ml_tensor *out, const ml_op *op, const ml_tensor *const *in, int n_in,
                          const void *attr, ml_error *err) ML_MUST_CHECK;

/* Every room with an ops.def registers its descriptors; the gradient test walks them all. */
ML_API void ml_register_ops(const ml_op *const *ops, int n);
ML_API int ml_op_count(void);
ML_API const ml_op *ml_op_at(int i);

/* ---- tape ------------------------------------------------------------------------------------ */

/* w shares t's storage and is a leaf: it collects a gradient. t is real. */
ML_API ml_status ml_param(ml_tensor *w, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;
ML_API bool ml_is_param(const ml_tensor *t); /* a leaf */
static inline bool ml_on_tape(const ml_tensor *t) { return t->node != NULL; }
/* The gradient of a leaf (an alias of it: in-place changes are seen), empty before the first
 * backward. */
ML_API void ml_grad_get(ml_tensor *out, const ml_tensor *w);
/* g NULL: drops it; else stored as own copy */
ML_API ml_status ml_grad_set(const ml_tensor *w, const ml_tensor *g, ml_error *err) ML_MUST_CHECK;
ML_API void ml_grad_zero(const ml_tensor *w); /* fills with zeros; nothing when there is none */

/* Gradients of y (seed NULL: y has one element and the seed is 1) accumulate into the leaves. Frees
 * saved storage as it passes unless retain; a second call then is ML_ESTATE. Polls for cancel
 * between nodes. A failure on the way leaves leaves with what had been added so far, and without
 * retain the graph counts as used. */
ML_API ml_status ml_backward(const ml_tensor *y, const ml_tensor *seed, bool retain,
                             ml_error *err) ML_MUST_CHECK;
/* The same, but only the n given leaves get a gradient, returned in grads (empty tensors; filled
 * with zeros when y does not depend on the leaf); nothing accumulates anywhere. */
ML_API ml_status ml_backward_to(ml_tensor *grads, const ml_tensor *y, const ml_tensor *seed,
                                const ml_tensor *const *leaves, int n, bool retain,
                                ml_error *err) ML_MUST_CHECK;

ML_API bool ml_grad_enabled(void);
ML_API bool ml_grad_enable(bool on); /* returns the previous state */
/* Changing t in place is refused (ML_ESTATE) when it is on a tape and not a leaf, or a leaf while
 * gradients are enabled. */
ML_API ml_status ml_check_in_place(const ml_tensor *t, int arg, ml_error *err) ML_MUST_CHECK;

/* ---- differentiable tensor ops --------------------------------------------------------------- */

ML_API ml_status ml_binary(ml_tensor *out, ml_binary_op op, const ml_tensor *a, const ml_tensor *b,
                           ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_binary_number(ml_tensor *out, ml_binary_op op, const ml_tensor *t,
                                  double number, bool reverse, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_unary(ml_tensor *out, ml_unary_op op, const ml_tensor *t,
                          ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_where(ml_tensor *out, const ml_tensor *cond, const ml_tensor *a,
                          const ml_tensor *b, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_clamp(ml_tensor *out, const ml_tensor *t, double lo, double hi,
                          ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_reduce(ml_tensor *out, ml_reduce_op op, const ml_tensor *t, unsigned axes,
                           bool keepdims, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_var(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims, int ddof,
                        ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_std(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims, int ddof,
                        ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_cumsum(ml_tensor *out, const ml_tensor *t, int axis,
                           ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_softmax(ml_tensor *out, const ml_tensor *t, int axis, bool log,
                            ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_sort(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int axis,
                         bool descending, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_topk(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int64_t k,
                         int axis, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_gather(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, int axis,
                           ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_scatter(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids,
                            const ml_tensor *src, int axis, bool add, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_index_select(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, int axis,
                                 ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_concat(ml_tensor *out, const ml_tensor *const *t, int n, int axis,
                           ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_stack(ml_tensor *out, const ml_tensor *const *t, int n, int axis,
                          ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_matmul(ml_tensor *out, const ml_tensor *a, const ml_tensor *b,
                           ml_error *err) ML_MUST_CHECK;
/* between f64 and f32 differentiable */
ML_API ml_status ml_cast(ml_tensor *out, const ml_tensor *t, ml_dtype dtype,
                         ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_clone(ml_tensor *out, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_contiguous(ml_tensor *out, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tri(ml_tensor *out, const ml_tensor *t, int64_t diagonal, bool upper,
                        ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_diagonal(ml_tensor *out, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_reshape(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                            ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_permute(ml_tensor *out, const ml_tensor *t, const int *axes,
                            ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_transpose(ml_tensor *out, const ml_tensor *t, int a, int b,
                              ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_broadcast(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                              ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_slice_view(ml_tensor *out, const ml_tensor *t, const ml_slice *slices, int n,
                               ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_narrow(ml_tensor *out, const ml_tensor *t, int axis, int64_t start,
                           int64_t count, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_squeeze(ml_tensor *out, const ml_tensor *t, int axis,
                            ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_unsqueeze(ml_tensor *out, const ml_tensor *t, int axis,
                              ml_error *err) ML_MUST_CHECK;

#endif
