/* The tape: nodes and leaves, recording an op, and letting go of a graph without recursion. */
#include "tape.h"

#include <string.h>

bool ml_grad_on = true;
static uint64_t last_number;

/* ---- life of nodes --------------------------------------------------------------------------- */

void ml_node_retain(ml_node *node) { node->refs++; }

void ml_node_drop_saved(ml_node *node) {
  for (int i = 0; i < node->n_saved; i++)
    ml_tensor_clear(&node->saved[i]);
}

/* A node that dies puts the nodes it held on the list, so that a chain of any length takes no
 * stack. */
void ml_node_release(ml_node *node) {
  static ml_node *dying;
  static bool draining;
  if (--node->refs > 0)
    return;
  node->next = dying;
  dying = node;
  if (draining)
    return;
  draining = true;
  while (dying) {
    ml_node *n = dying;
    dying = n->next;
    if (n->op) {
      ml_node_drop_saved(n);
      for (int i = 0; i < n->n_in; i++)
        if (n->edge[i].node)
          ml_node_release(n->edge[i].node);
    } else {
      ml_tensor_clear(&ml_leaf_of(n)->grad);
    }
    ml_free(n);
  }
  draining = false;
}

/* Before the first leaf: without leaves there are no nodes to count. */
static void set_hooks(void) {
  static bool done;
  if (done)
    return;
  static const ml_node_hooks hooks = {ml_node_retain, ml_node_release};
  ml_tensor_set_node_hooks(&hooks);
  done = true;
}

/* ---- leaves ---------------------------------------------------------------------------------- */

ml_status ml_param(ml_tensor *w, const ml_tensor *t, ml_error *err) {
  char text[ML_DESCRIBE];
  if (ml_tensor_empty(t))
    return ml_fail(err, ML_ESTATE, 1, "the tensor is released");
  if (!ml_is_real(t->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "a parameter is f64 or f32, got %s", ml_describe(text, t));
  ml_leaf *leaf = ml_alloc(sizeof *leaf);
  if (!leaf)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory: no room for a parameter's node");
  set_hooks();
  leaf->node.refs = 1;
  leaf->node.number = ++last_number;
  leaf->dtype = t->dtype;
  leaf->shape = ml_shape_of(t);
  ml_tensor_detach(w, t);
  w->node = &leaf->node;
  return ML_OK;
}

bool ml_is_param(const ml_tensor *t) { return t->node && !t->node->op; }

void ml_grad_get(ml_tensor *out, const ml_tensor *w) {
  memset(out, 0, sizeof *out);
  if (ml_is_param(w) && !ml_tensor_empty(&ml_leaf_of(w->node)->grad))
    ml_tensor_detach(out, &ml_leaf_of(w->node)->grad);
}

ml_status ml_grad_set(const ml_tensor *w, const ml_tensor *g, ml_error *err) {
  if (!ml_is_param(w))
    return ml_fail(err, ML_EARG, 1, "only a parameter has a gradient to set");
  ml_leaf *leaf = ml_leaf_of(w->node);
  ml_tensor copy = {0};
  if (g) {
    ml_shape shape = ml_shape_of(g);
    if (g->dtype != leaf->dtype || !ml_shape_equal(&shape, &leaf->shape)) {
      char got[ML_DESCRIBE], want[ML_DESCRIBE];
      return ml_fail(err, g->dtype != leaf->dtype ? ML_EDTYPE : ML_ESHAPE, 2,
                     "the gradient is %s, the parameter %s", ml_describe(got, g),
                     ml_describe(want, w));
    }
    ML_TRY(ml_tensor_clone(&copy, g, err));
  }
  ml_tensor_clear(&leaf->grad);
  leaf->grad = copy;
  return ML_OK;
}

void ml_grad_zero(const ml_tensor *w) {
  if (!ml_is_param(w))
    return;
  ml_tensor *grad = &ml_leaf_of(w->node)->grad;
  if (ml_tensor_empty(grad))
    return;
  memset(ml_data(grad), 0, (size_t)ml_numel(grad) * ml_dtype_size(grad->dtype));
  ml_touch(grad);
}

/* ---- state ----------------------------------------------------------------------------------- */

bool ml_grad_enabled(void) { return ml_grad_on; }

bool ml_grad_enable(bool on) {
  bool before = ml_grad_on;
  ml_grad_on = on;
  return before;
}

ml_status ml_check_in_place(const ml_tensor *t, int arg, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!t->node)
    return ML_OK;
  if (t->node->op)
    return ml_fail(err, ML_ESTATE, arg,
                   "%s is a result of %s on the tape and cannot change in place; detach it or make "
                   "a new tensor",
                   ml_describe(text, t), t->node->op->name);
  if (ml_grad_on)
    return ml_fail(err, ML_ESTATE, arg,
                   "%s is a parameter: it changes in place only inside ml.no_grad",
                   ml_describe(text, t));
  return ML_OK;
}

/* ---- recording ------------------------------------------------------------------------------- */

ml_status ml_save_tensor(ml_save *save, const ml_tensor *t, ml_error *err) {
  if (!save)
    return ML_OK;
  if (save->n == ML_OP_MAX_SAVED)
    return ml_fail(err, ML_EARG, 0, "an op saves more than %d tensors", ML_OP_MAX_SAVED);
  ml_tensor_detach(&save->tensor[save->n++], t);
  return ML_OK;
}

static size_t up16(size_t bytes) { return (bytes + 15) & ~(size_t)15; }

/* Takes over what save holds. */
static ml_node *node_new(const ml_op *op, const ml_tensor *const *in, int n_in, const void *attr,
                         const ml_save *save) {
  size_t n = (size_t)n_in, saved = (size_t)save->n, n_out = (size_t)op->n_out;
  size_t at_saved = up16(sizeof(ml_node));
  size_t at_shape = at_saved + saved * sizeof(ml_tensor);
  size_t at_edge = at_shape + n * sizeof(ml_shape);
  size_t at_version = at_edge + n * sizeof(ml_edge);
  size_t at_slot = at_version + saved * sizeof(uint64_t);
  size_t at_dtype = at_slot + n_out * sizeof(ml_slot *);
  size_t at_attr = up16(at_dtype + n * sizeof(ml_dtype));
  char *block = ml_alloc(at_attr + op->attr_size);
  if (!block)
    return NULL;
  ml_node *node = (ml_node *)(void *)block;
  node->op = op;
  node->number = ++last_number;
  node->n_in = n_in;
  node->n_out = op->n_out;
  node->n_saved = save->n;
  node->saved = (ml_tensor *)(void *)(block + at_saved);
  node->in_shape = (ml_shape *)(void *)(block + at_shape);
  node->edge = (ml_edge *)(void *)(block + at_edge);
  node->version = (uint64_t *)(void *)(block + at_version);
  node->slot = (ml_slot **)(void *)(block + at_slot);
  node->in_dtype = (ml_dtype *)(void *)(block + at_dtype);
  node->attr = block + at_attr;
  if (op->attr_size)
    memcpy(node->attr, attr, op->attr_size);
  for (int i = 0; i < n_in; i++) {
    if (!in[i])
      continue;
    node->in_dtype[i] = in[i]->dtype;
    node->in_shape[i].rank = in[i]->rank;
    for (int k = 0; k < in[i]->rank; k++)
      node->in_shape[i].size[k] = in[i]->size[k];
    if (in[i]->node) {
      node->edge[i] = (ml_edge){in[i]->node, in[i]->node_output};
      ml_node_retain(in[i]->node);
    }
  }
  for (int i = 0; i < save->n; i++) {
    node->saved[i] = save->tensor[i];
    if (!ml_tensor_empty(&save->tensor[i]))
      node->version[i] = save->tensor[i].storage->version;
  }
  return node;
}

static void clear_all(ml_tensor *t, int n) {
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&t[i]);
}

ml_status ml_apply(ml_tensor *out, const ml_op *op, const ml_tensor *const *in, int n_in,
                   const void *attr, ml_error *err) {
  if (n_in > ML_OP_MAX_IN || (op->arity >= 0 && n_in != op->arity))
    return ml_fail(err, ML_EARG, 0, "%s takes %d inputs, got %d", op->name,
                   op->arity >= 0 ? op->arity : ML_OP_MAX_IN, n_in);
  bool taped = false;
  if (ml_grad_on)
    for (int i = 0; i < n_in; i++)
      taped = taped || (in[i] && in[i]->node);
  ml_save save;
  save.n = 0;
  ml_status status = op->forward(out, in, n_in, attr, taped ? &save : NULL, err);
  if (!status && ml_cancelled()) /* a product that was cut short leaves its result unfinished */
    status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  if (!status && taped) {
    ml_node *node = node_new(op, in, n_in, attr, &save);
    if (node) {
      for (int i = 0; i < op->n_out; i++) {
        if (!ml_is_real(out[i].dtype) || ml_tensor_empty(&out[i]))
          continue;
        out[i].node = node;
        out[i].node_output = i;
        node->refs++;
      }
      return ML_OK;
    }
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory: no room for a node of %s", op->name);
  }
  if (status) {
    clear_all(save.tensor, save.n);
    clear_all(out, op->n_out);
  }
  return status;
}

/* ---- the list of ops ------------------------------------------------------------------------- */

#define MAX_TABLES 32

static struct {
  const ml_op *const *ops;
  int n;
} tables[MAX_TABLES];
static int n_tables;

void ml_register_ops(const ml_op *const *ops, int n) {
  for (int i = 0; i < n_tables; i++)
    if (tables[i].ops == ops)
      return;
  if (n_tables == MAX_TABLES) { /* a room more than we have: a mistake that must show */
    fprintf(stderr, "moonlab: more than %d tables of ops\n", MAX_TABLES);
    return;
  }
  tables[n_tables].ops = ops;
  tables[n_tables++].n = n;
}

int ml_op_count(void) {
  int n = 0;
  for (int i = 0; i < n_tables; i++)
    n += tables[i].n;
  return n;
}

const ml_op *ml_op_at(int i) {
  for (int k = 0; k < n_tables; k++) {
    if (i < tables[k].n)
      return i < 0 ? NULL : tables[k].ops[i];
    i -= tables[k].n;
  }
  return NULL;
}
