/* Life of tensors: counted storage whose header and data share one block. */
#include "tensor.h"

#include <string.h>

/* Bytes before the data of a block; keeps the data on a cache line. */
#define HEADER 64
/* Bytes set to zero between two polls. */
#define PIECE ((size_t)16 << 20)

static const size_t dtype_size[ML_DTYPE_COUNT] = {8, 4, 8, 1};
static const char *const dtype_name[ML_DTYPE_COUNT] = {"f64", "f32", "index", "u8"};
static ml_node_hooks hooks;

size_t ml_dtype_size(ml_dtype dtype) { return dtype_size[dtype]; }

const char *ml_dtype_name(ml_dtype dtype) {
  return (unsigned)dtype < ML_DTYPE_COUNT ? dtype_name[dtype] : "?";
}

bool ml_dtype_parse(ml_dtype *dtype, const char *name) {
  for (int i = 0; i < ML_DTYPE_COUNT; i++) {
    if (strcmp(name, dtype_name[i]) == 0) {
      *dtype = (ml_dtype)i;
      return true;
    }
  }
  return false;
}

void ml_tensor_set_node_hooks(const ml_node_hooks *given) { hooks = *given; }

static ml_status init(ml_tensor *out, ml_dtype dtype, const ml_shape *shape, ml_error *err) {
  if (shape->rank < 0 || shape->rank > ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 0, "rank %d, wanted at most %d", shape->rank, ML_MAX_RANK);
  int64_t numel = ml_shape_numel(shape);
  size_t item = dtype_size[dtype];
  if (numel < 0 || (uint64_t)numel > ((uint64_t)INT64_MAX - HEADER) / item) {
    char text[ML_DESCRIBE];
    bool negative = false;
    for (int k = 0; k < shape->rank; k++)
      negative = negative || shape->size[k] < 0;
    return ml_fail(err, ML_EARG, 0, "shape %s %s", ml_describe_shape(text, shape),
                   negative ? "has a negative size" : "has more elements than memory can hold");
  }
  size_t bytes = (size_t)numel * item;
  ml_storage *storage = ml_block_new(HEADER + bytes);
  if (!storage) {
    char text[ML_DESCRIBE];
    const double mib = 1024.0 * 1024.0;
    ml_memory_info memory;
    ml_memory(&memory);
    return ml_fail(err, ML_ENOMEM, 0,
                   "out of memory: no room for %s %s (%.1f MiB) beside %.1f MiB in use; "
                   "the limit, ml.memory{ limit = bytes }, is %.1f MiB",
                   ml_dtype_name(dtype), ml_describe_shape(text, shape), (double)bytes / mib,
                   (double)memory.live / mib, (double)memory.limit / mib);
  }
  storage->refs = 1;
  storage->version = 0;
  storage->data = (char *)storage + HEADER;
  storage->bytes = bytes;
  out->storage = storage;
  out->node = NULL;
  out->node_output = 0;
  out->dtype = dtype;
  out->rank = shape->rank;
  out->offset = 0;
  int64_t step = 1;
  for (int k = shape->rank - 1; k >= 0; k--) {
    out->size[k] = shape->size[k];
    out->stride[k] = step;
    if (shape->size[k] > 1)
      step *= shape->size[k];
  }
  return ML_OK;
}

ml_status ml_tensor_init(ml_tensor *out, ml_dtype dtype, const ml_shape *shape, ml_error *err) {
  return init(out, dtype, shape, err);
}

ml_status ml_tensor_init_zeros(ml_tensor *out, ml_dtype dtype, const ml_shape *shape,
                               ml_error *err) {
  ML_TRY(init(out, dtype, shape, err));
  char *data = out->storage->data;
  for (size_t done = 0, n; done < out->storage->bytes; done += n) {
    if (done > 0 && ml_cancelled()) {
      ml_tensor_clear(out);
      return ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    }
    n = out->storage->bytes - done < PIECE ? out->storage->bytes - done : PIECE;
    memset(data + done, 0, n);
  }
  return ML_OK;
}

void ml_tensor_clear(ml_tensor *t) {
  ml_storage *storage = t->storage;
  struct ml_node *node = t->node;
  t->storage = NULL;
  t->node = NULL;
  t->rank = 0;
  if (storage && --storage->refs == 0)
    ml_block_free(storage);
  if (node && hooks.release)
    hooks.release(node);
}

void ml_tensor_detach(ml_tensor *out, const ml_tensor *t) {
  *out = *t;
  out->node = NULL;
  out->node_output = 0;
  if (out->storage)
    out->storage->refs++;
}

void ml_tensor_alias(ml_tensor *out, const ml_tensor *t) {
  *out = *t;
  if (out->storage)
    out->storage->refs++;
  if (out->node && hooks.retain)
    hooks.retain(out->node);
}

void ml_tensor_move(ml_tensor *out, ml_tensor *t) {
  *out = *t;
  t->storage = NULL;
  t->node = NULL;
  t->rank = 0;
}
