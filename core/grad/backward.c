/* Backward: nodes in descending order of creation, each once, gradients waiting in slots in
 * between.
 *
 * What a vjp makes is collected first and handed on when it is done and its own gradients and saved
 * tensors are gone, so that storage passed through (the gradient of a sum, of a reshape) is owned
 * alone by then and becomes the next gradient without a copy. */
#include "tape.h"

#include <string.h>

typedef struct {
  ml_node **heap; /* nodes with a gradient waiting, the youngest first */
  int64_t count, capacity;
  ml_slot *spare;
  bool to_sinks; /* only leaves with a sink get a gradient, and there */
} engine;

/* The vjp under way. */
typedef struct {
  engine *e;
  ml_node *node;
  unsigned fresh; /* inputs whose gradient is in made[] */
  ml_tensor made[ML_OP_MAX_IN];
} frame;

static ml_tensor *sink_of(const engine *e, ml_node *leaf) {
  return e->to_sinks ? ml_leaf_of(leaf)->sink : &ml_leaf_of(leaf)->grad;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static ml_status push(engine *e, ml_node *node, ml_error *err) {
  if (e->count == e->capacity) {
    int64_t capacity = e->capacity ? 2 * e->capacity : 64;
    ml_node **heap = ml_realloc(e->heap, (size_t)capacity * sizeof *heap);
    if (!heap)
      return ml_fail(err, ML_ENOMEM, 0, "out of memory: no room for backward's queue");
    e->heap = heap;
    e->capacity = capacity;
  }
  int64_t i = e->count++;
  while (i > 0 && e->heap[(i - 1) / 2]->number < node->number) {
    e->heap[i] = e->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  e->heap[i] = node;
  return ML_OK;
}

static ml_node *pop(engine *e) {
  ml_node *top = e->heap[0], *last = e->heap[--e->count];
  int64_t i = 0;
  for (;;) {
    int64_t child = 2 * i + 1;
    if (child >= e->count)
      break;
    if (child + 1 < e->count && e->heap[child + 1]->number > e->heap[child]->number)
      child++;
    if (e->heap[child]->number < last->number)
      break;
    e->heap[i] = e->heap[child];
    i = child;
  }
  e->heap[i] = last;
  return top;
}

/* ---- accumulation ---------------------------------------------------------------------------- */

/* May be changed in place: nobody else sees the storage. */
static bool owned(const ml_tensor *g) { return g->storage->refs == 1 && ml_is_contiguous(g); }

/* *sum += g, where sum's storage may be shared; g becomes empty. */
static ml_status add_to(ml_tensor *sum, ml_tensor *g, bool in_place, ml_error *err) {
  ml_status status;
  if (in_place || owned(sum)) {
    status = ml_tensor_binary_into(sum, ML_ADD, g, err);
  } else if (owned(g)) {
    status = ml_tensor_binary_into(g, ML_ADD, sum, err);
    if (!status) {
      ml_tensor_clear(sum);
      ml_tensor_move(sum, g);
    }
  } else {
    ml_tensor fresh = {0};
    status = ml_tensor_binary(&fresh, ML_ADD, sum, g, err);
    if (!status) {
      ml_tensor_clear(sum);
      *sum = fresh;
    }
  }
  ml_tensor_clear(g);
  return status;
}

/* A leaf's gradient is contiguous in a storage of its own: users hold it and optimizers write to
 * it. */
static ml_status add_to_leaf(ml_tensor *grad, ml_tensor *g, ml_error *err) {
  if (!ml_tensor_empty(grad))
    return add_to(grad, g, true, err);
  if (owned(g) && g->storage->bytes == (size_t)ml_numel(g) * ml_dtype_size(g->dtype)) {
    ml_tensor_move(grad, g);
    return ML_OK;
  }
  ml_status status = ml_tensor_clone(grad, g, err);
  ml_tensor_clear(g);
  return status;
}

/* A slot for output `output` of node, which is queued with its first. */
static ml_status open_slot(engine *e, ml_node *node, int output, ml_error *err) {
  ml_slot *slot = e->spare;
  if (slot)
    e->spare = slot->next;
  else if (!(slot = ml_alloc(sizeof *slot)))
    return ml_fail(err, ML_ENOMEM, 0, "out of memory: no room for a gradient");
  bool queued = false;
  for (int k = 0; k < node->n_out; k++)
    queued = queued || node->slot[k];
  ml_status status = queued ? ML_OK : push(e, node, err);
  if (status) {
    slot->next = e->spare;
    e->spare = slot;
    return status;
  }
  node->slot[output] = slot;
  return ML_OK;
}

/* Hands g on to where an edge leads; g becomes empty. */
static ml_status hand_on(engine *e, const ml_edge *edge, ml_tensor *g, ml_error *err) {
  ml_node *node = edge->node;
  if (!node->op)
    return add_to_leaf(sink_of(e, node), g, err);
  if (node->slot[edge->output])
    return add_to(&node->slot[edge->output]->g, g, false, err);
  ml_status status = open_slot(e, node, edge->output, err);
  if (status)
    ml_tensor_clear(g);
  else
    ml_tensor_move(&node->slot[edge->output]->g, g);
  return status;
}

/* ---- the vjp's side -------------------------------------------------------------------------- */

static bool edge_wanted(const engine *e, const ml_edge *edge) {
  return edge->node && (edge->node->op || sink_of(e, edge->node));
}

static ml_status check_input(const ml_vjp *c, int i, ml_error *err) {
  const frame *f = c->engine;
  if (i < 0 || i >= c->n_in || !c->wanted[i] || (f->fresh >> i & 1u))
    return ml_fail(err, ML_ESTATE, 0,
                   "vjp of %s: the gradient of input %d was made twice or not wanted", c->op->name,
                   i + 1);
  return ML_OK;
}

ml_status ml_vjp_target(ml_vjp *c, int i, ml_tensor **dst, bool *accumulate, ml_error *err) {
  frame *f = c->engine;
  ML_TRY(check_input(c, i, err));
  const ml_edge *edge = &f->node->edge[i];
  ml_tensor *sum = NULL;
  if (!edge->node->op) {
    sum = sink_of(f->e, edge->node);
    if (ml_tensor_empty(sum))
      sum = NULL;
  } else if (edge->node->slot[edge->output]) {
    sum = &edge->node->slot[edge->output]->g;
    if (!owned(sum)) {
      ml_tensor copy = {0};
      ML_TRY(ml_tensor_clone(&copy, sum, err));
      ml_tensor_clear(sum);
      *sum = copy;
    }
  }
  /* a gradient that was used as a constant is still to be read */
  for (int k = 0; sum && k < c->n_saved; k++)
    if (c->saved[k].storage == sum->storage)
      sum = NULL;
  if (sum) {
    ml_touch(sum);
    *dst = sum;
    *accumulate = true;
    return ML_OK;
  }
  memset(&f->made[i], 0, sizeof f->made[i]);
  ML_TRY(ml_tensor_init(&f->made[i], c->in_dtype[i], &c->in_shape[i], err));
  f->fresh |= 1u << i;
  *dst = &f->made[i];
  *accumulate = false;
  return ML_OK;
}

ml_status ml_vjp_give(ml_vjp *c, int i, ml_tensor *g, ml_error *err) {
  frame *f = c->engine;
  ml_status status = check_input(c, i, err);
  ml_shape shape = ml_shape_of(g);
  if (!status && (g->dtype != c->in_dtype[i] || !ml_shape_equal(&shape, &c->in_shape[i]))) {
    char got[ML_DESCRIBE], want[ML_DESCRIBE];
    status = ml_fail(err, ML_ESHAPE, 0, "vjp of %s: the gradient of input %d is %s, wanted %s %s",
                     c->op->name, i + 1, ml_describe(got, g), ml_dtype_name(c->in_dtype[i]),
                     ml_describe_shape(want, &c->in_shape[i]));
  }
  if (status) {
    ml_tensor_clear(g);
    return status;
  }
  ml_tensor_move(&f->made[i], g);
  f->fresh |= 1u << i;
  return ML_OK;
}

/* ---- the run --------------------------------------------------------------------------------- */

static ml_status check_saved(const ml_node *node, ml_error *err) {
  char text[ML_DESCRIBE];
  if (node->spent)
    return ml_fail(err, ML_ESTATE, 0,
                   "a second backward through %s: the first freed what it had saved; pass retain = "
                   "true to the first",
                   node->op->name);
  for (int i = 0; i < node->n_saved; i++) {
    const ml_tensor *t = &node->saved[i];
    if (!ml_tensor_empty(t) && t->storage->version != node->version[i])
      return ml_fail(err, ML_ESTATE, 0,
                     "backward of %s: %s, saved in the forward pass, was changed in place since",
                     node->op->name, ml_describe(text, t));
  }
  return ML_OK;
}

/* The vjp of one node, gout its gradients, cleared in any case. */
static ml_status run_node(engine *e, ml_node *node, ml_tensor *gout, bool retain, ml_error *err) {
  bool wanted[ML_OP_MAX_IN];
  frame f;
  f.e = e;
  f.node = node;
  f.fresh = 0;
  bool any = false; /* a node above leaves that nobody asked for has nothing to do */
  for (int i = 0; i < node->n_in; i++) {
    wanted[i] = edge_wanted(e, &node->edge[i]);
    any = any || wanted[i];
  }
  ml_vjp c = {.op = node->op,
              .attr = node->attr,
              .n_in = node->n_in,
              .n_out = node->n_out,
              .n_saved = node->n_saved,
              .in_shape = node->in_shape,
              .in_dtype = node->in_dtype,
              .saved = node->saved,
              .gout = gout,
              .wanted = wanted,
              .engine = &f};
  ml_status status = check_saved(node, err);
  if (!status) {
    node->spent = !retain;
    if (any)
      status = node->op->vjp(&c, err);
    if (!status && ml_cancelled()) /* what a product cut short wrote must not be handed on */
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    if (!retain)
      ml_node_drop_saved(node);
  }
  for (int k = 0; k < node->n_out; k++)
    ml_tensor_clear(&gout[k]);
  for (int i = 0; i < node->n_in; i++) {
    if (!(f.fresh >> i & 1u))
      continue;
    if (status)
      ml_tensor_clear(&f.made[i]);
    else
      status = hand_on(e, &node->edge[i], &f.made[i], err);
  }
  return status;
}

/* Takes the gradients of node out of their slots. */
static void take_slots(engine *e, ml_node *node, ml_tensor *gout) {
  for (int k = 0; k < node->n_out; k++) {
    ml_slot *slot = node->slot[k];
    memset(&gout[k], 0, sizeof gout[k]);
    if (!slot)
      continue;
    node->slot[k] = NULL;
    ml_tensor_move(&gout[k], &slot->g);
    slot->next = e->spare;
    e->spare = slot;
  }
}

static ml_status run(engine *e, const ml_tensor *y, const ml_tensor *seed, bool retain,
                     ml_error *err) {
  ml_tensor gout[ML_OP_MAX_OUT];
  ml_tensor g = {0};
  if (seed && seed->storage->refs == 1) { /* nobody else holds it, so it is no leaf's gradient */
    ml_tensor_detach(&g, seed);           /* a second reference: nothing is added into it */
  } else if (seed) {                      /* a copy: it may be a gradient that changes on the way */
    ML_TRY_INNER(ml_tensor_clone(&g, seed, err), err);
  } else {
    ml_shape shape = ml_shape_of(y);
    ML_TRY_INNER(ml_tensor_init(&g, y->dtype, &shape, err), err);
    if (y->dtype == ML_F64)
      *ML_DATA(double, &g) = 1.0;
    else
      *ML_DATA(float, &g) = 1.0F;
  }
  ml_edge root = {y->node, y->node_output};
  if (!edge_wanted(e, &root)) { /* a leaf that nobody asked for */
    ml_tensor_clear(&g);
    return ML_OK;
  }
  ml_status status = hand_on(e, &root, &g, err);
  while (!status && e->count) {
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    if (status)
      break;
    ml_node *node = pop(e);
    take_slots(e, node, gout);
    status = run_node(e, node, gout, retain, err);
  }
  while (e->count) { /* after a failure: what still waits is dropped */
    ml_node *node = pop(e);
    take_slots(e, node, gout);
    for (int k = 0; k < node->n_out; k++)
      ml_tensor_clear(&gout[k]);
  }
  while (e->spare) {
    ml_slot *slot = e->spare;
    e->spare = slot->next;
    ml_free(slot);
  }
  ml_free(e->heap);
  return status;
}

static ml_status check_root(const ml_tensor *y, const ml_tensor *seed, ml_error *err) {
  char got[ML_DESCRIBE], want[ML_DESCRIBE];
  if (!y->node)
    return ml_fail(err, ML_ESTATE, 1,
                   "%s depends on no parameter (or was made under no_grad): there is nothing to go "
                   "back through",
                   ml_describe(got, y));
  if (!seed) {
    if (ml_numel(y) != 1)
      return ml_fail(err, ML_ESHAPE, 1, "without a seed y has one element, got %s",
                     ml_describe(got, y));
    return ML_OK;
  }
  ml_shape a = ml_shape_of(y), b = ml_shape_of(seed);
  if (seed->dtype != y->dtype)
    return ml_fail(err, ML_EDTYPE, 2, "the seed is %s, y %s", ml_describe(got, seed),
                   ml_describe(want, y));
  if (!ml_shape_equal(&a, &b))
    return ml_fail(err, ML_ESHAPE, 2, "the seed is %s, y %s", ml_describe(got, seed),
                   ml_describe(want, y));
  return ML_OK;
}

ml_status ml_backward(const ml_tensor *y, const ml_tensor *seed, bool retain, ml_error *err) {
  engine e = {0};
  ML_TRY(check_root(y, seed, err));
  return run(&e, y, seed, retain, err);
}

ml_status ml_backward_to(ml_tensor *grads, const ml_tensor *y, const ml_tensor *seed,
                         const ml_tensor *const *leaves, int n, bool retain, ml_error *err) {
  engine e = {.to_sinks = true};
  ML_TRY(check_root(y, seed, err));
  for (int i = 0; i < n; i++)
    if (!ml_is_param(leaves[i]))
      return ml_fail(err, ML_EARG, 0, "gradients are taken of parameters; number %d is none",
                     i + 1);
  for (int i = 0; i < n; i++) {
    memset(&grads[i], 0, sizeof grads[i]);
    ml_leaf *leaf = ml_leaf_of(leaves[i]->node);
    if (!leaf->sink)
      leaf->sink = &grads[i];
  }
  ml_status status = run(&e, y, seed, retain, err);
  for (int i = 0; i < n && !status; i++) {
    ml_leaf *leaf = ml_leaf_of(leaves[i]->node);
    if (!ml_tensor_empty(&grads[i]))
      continue;
    if (leaf->sink != &grads[i]) /* the same leaf stands in the list before; its sink is filled */
      status = ml_tensor_clone(&grads[i], leaf->sink, err);
    else
      status = ml_tensor_init_zeros(&grads[i], leaf->dtype, &leaf->shape, err);
  }
  for (int i = 0; i < n; i++) {
    ml_leaf_of(leaves[i]->node)->sink = NULL;
    if (status)
      ml_tensor_clear(&grads[i]);
  }
  return status;
}
