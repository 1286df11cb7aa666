/* Private to the grad room: what a node of the tape is made of. */
#ifndef MOONLAB_GRAD_TAPE_H
#define MOONLAB_GRAD_TAPE_H

#include "grad.h"

/* A gradient on its way to a node, between the vjp that made it and the vjp that uses it. */
typedef struct ml_slot {
  ml_tensor g;
  struct ml_slot *next; /* in the list of spare slots */
} ml_slot;

typedef struct {
  ml_node *node; /* counted; NULL: the input is no part of the tape */
  int output;    /* which output of node */
} ml_edge;

/* One allocation: the header below, then the arrays it points to. Saved tensors are detached, so
 * that nodes own nodes through edges only, and edges lead to older nodes: no cycles. */
struct ml_node {
  const ml_op *op; /* NULL: a leaf, the first member of an ml_leaf */
  int64_t refs;
  uint64_t number; /* of creation; larger than that of every node it depends on */
  ml_node *next;   /* in the list of dying nodes */
  int n_in, n_out, n_saved;
  bool spent; /* a backward passed and freed what was saved */
  ml_edge *edge;
  ml_shape *in_shape;
  ml_dtype *in_dtype;
  ml_tensor *saved;
  uint64_t *version; /* of the saved tensors' storages, at the time of saving */
  ml_slot **slot;    /* [n_out] gradients that arrived, during a backward */
  void *attr;
};

typedef struct {
  ml_node node;
  ml_dtype dtype;
  ml_shape shape;
  ml_tensor grad;  /* empty, or contiguous in a storage of its own */
  ml_tensor *sink; /* where ml_backward_to wants the gradient */
} ml_leaf;

struct ml_save {
  int n;
  ml_tensor tensor[ML_OP_MAX_SAVED];
};

static inline ml_leaf *ml_leaf_of(ml_node *node) { return (ml_leaf *)node; }

void ml_node_retain(ml_node *node);
void ml_node_release(ml_node *node);
void ml_node_drop_saved(ml_node *node);

extern bool ml_grad_on; /* the state of ml_grad_enable */

/* Whether an op of these inputs belongs on the tape. */
static inline bool ml_taped1(const ml_tensor *a) { return a->node && ml_grad_on; }
static inline bool ml_taped2(const ml_tensor *a, const ml_tensor *b) {
  return (a->node || b->node) && ml_grad_on;
}

#endif
