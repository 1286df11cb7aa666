/* Scratch with marks: chunks are blocks from the cache, stacked; a release gives whole chunks back.
 */
#include "private.h"

enum { CHUNK_HEAD = 64, FIRST_CHUNK = 64 * 1024 };
#define LARGEST_GROWTH ((size_t)8 << 20)

typedef struct chunk {
  struct chunk *below;
  size_t base; /* position of its first byte: what the chunks below could hold */
  size_t used, size;
} chunk;
_Static_assert(sizeof(chunk) <= CHUNK_HEAD, "the head fits before the first byte");

struct ml_arena {
  chunk *top;
};

ml_arena *ml_arena_new(void) { return ml_alloc(sizeof(ml_arena)); }

void ml_arena_free(ml_arena *arena) {
  if (!arena)
    return;
  ml_arena_release(arena, 0);
  ml_free(arena);
}

void *ml_arena_take(ml_arena *arena, size_t bytes) {
  if (bytes > (size_t)1 << 46)
    return NULL;
  bytes = bytes ? (bytes + 63) & ~(size_t)63 : 64;
  chunk *top = arena->top;
  if (!top || top->size - top->used < bytes) {
    size_t size = top ? 2 * top->size : FIRST_CHUNK - CHUNK_HEAD;
    if (size > LARGEST_GROWTH)
      size = LARGEST_GROWTH;
    if (size < bytes)
      size = bytes;
    chunk *c = ml_block_new(CHUNK_HEAD + size);
    if (!c)
      return NULL;
    *c = (chunk){top, top ? top->base + top->size : 0, 0, size};
    ML_POISON((char *)c + CHUNK_HEAD, size);
    arena->top = top = c;
  }
  char *p = (char *)top + CHUNK_HEAD + top->used;
  top->used += bytes;
  ML_UNPOISON(p, bytes);
  return p;
}

size_t ml_arena_mark(const ml_arena *arena) {
  return arena->top ? arena->top->base + arena->top->used : 0;
}

void ml_arena_release(ml_arena *arena, size_t mark) {
  chunk *top = arena->top;
  while (top && top->base >= mark) {
    chunk *below = top->below;
    ML_UNPOISON((char *)top + CHUNK_HEAD, top->size);
    ml_block_free(top);
    top = below;
  }
  arena->top = top;
  if (top && mark - top->base < top->used) {
    top->used = mark - top->base;
    ML_POISON((char *)top + CHUNK_HEAD + top->used, top->size - top->used);
  }
}

ml_arena *ml_scratch(void) {
  static ml_arena scratch;
  return &scratch;
}
