/* Storage of tensors: 64-byte aligned blocks in size classes, kept warm in a cache when they are
 * given back.
 *
 * Every block is preceded by a 64-byte head. Classes are multiples of 64 bytes up to 1 KiB, then
 * eight per doubling, so that a block is at most 1/8 larger than asked. Blocks up to 4 KiB are
 * carved from slabs, those of 4 MiB and more are mapped on their own with huge pages, the others
 * come from the C heap. */
#include "private.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { GRAIN = 64, CLASSES = 336, SLAB_BYTES = 64 * 1024, SMALL_CLASSES = 32 };
#define SMALL_MAX ((size_t)4096)
#define HUGE_MIN ((size_t)4 << 20)
#define HUGE_PAGE ((size_t)2 << 20)
#define CACHE_FLOOR ((uint64_t)256 << 20)

typedef struct slab {
  struct slab *next;
  size_t bytes;
  int carved, seen; /* blocks cut so far; free ones counted during a trim */
} slab;

typedef struct head {
  struct head *next; /* in the free list */
  slab *slab;        /* small blocks */
  void *map;         /* start of the mapping of a huge block */
  size_t map_bytes;
  size_t capacity;
  int class_;
  uint32_t state;
} head;
_Static_assert(sizeof(head) <= GRAIN, "the head fits before the first byte");

enum { LIVE = 0x6c697665, CACHED = 0x63616368 };

static head *free_list[CLASSES];
static struct {
  slab *all;
  char *next[CLASSES]; /* where the open slab of a class continues */
  char *end[CLASSES];
  slab *open[CLASSES];
} slabs;
static ml_memory_info memory;
static uint64_t held; /* bytes taken from the system; live + cached <= held */
static uint64_t limit = UINT64_MAX;
static bool limit_known;

static inline int class_of(size_t bytes, size_t *capacity) {
  size_t m = bytes ? (bytes - 1) / GRAIN : 0;
  if (m < 16) {
    *capacity = (m + 1) * GRAIN;
    return (int)m;
  }
  int shift = 60 - __builtin_clzll(m); /* keeps four leading bits */
  size_t q = m >> shift;
  *capacity = ((q + 1) << shift) * GRAIN;
  return 8 * shift + (int)q;
}

static inline head *head_of(const void *block) { return (head *)((uintptr_t)block - GRAIN); }
static inline char *data_of(head *h) { return (char *)h + GRAIN; }

/* All but the link, which the leak checker follows to the cached blocks. */
static inline void poison_cached(head *h) {
  ML_POISON(&h->slab, GRAIN - sizeof h->next + h->capacity);
}

static void learn_limit(void) {
  limit_known = true;
  limit = (uint64_t)(0.9 * (double)ml_available_memory()) + held;
}

/* ---- the system's side ----------------------------------------------------------------------- */

static bool may_hold(size_t bytes) {
  if (!limit_known)
    learn_limit();
  if (bytes <= limit && held <= limit - bytes)
    return true;
  ml_cache_trim();
  return bytes <= limit && held <= limit - bytes;
}

static head *map_huge(size_t capacity) {
  size_t want = capacity + GRAIN + HUGE_PAGE;
  char *map =
      mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED)
    return NULL;
  /* data on a huge page boundary, its head in the small page before; the rest of the map goes back
   */
  char *data = (char *)(((uintptr_t)map + 4096 + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
  char *start = data - 4096, *stop = data + ((capacity + 4095) & ~(size_t)4095);
  char *end = map + ((want + 4095) & ~(size_t)4095);
  if (start > map)
    munmap(map, (size_t)(start - map));
  if (end > stop)
    munmap(stop, (size_t)(end - stop));
  madvise(data, capacity, MADV_HUGEPAGE); /* advice: a kernel without it still works */
  head *h = (head *)(data - GRAIN);
  h->map = start;
  h->map_bytes = (size_t)(stop - start);
  return h;
}

static head *carve(int class_, size_t capacity) {
  size_t stride = capacity + GRAIN;
  if (!slabs.next[class_] || (size_t)(slabs.end[class_] - slabs.next[class_]) < stride) {
    if (!may_hold(SLAB_BYTES))
      return NULL;
    void *p;
    if (posix_memalign(&p, GRAIN, SLAB_BYTES)) {
      ml_cache_trim();
      if (posix_memalign(&p, GRAIN, SLAB_BYTES))
        return NULL;
    }
    held += SLAB_BYTES;
    memory.system_allocations++;
    slab *s = p;
    *s = (slab){slabs.all, SLAB_BYTES, 0, 0};
    slabs.all = s;
    slabs.open[class_] = s;
    slabs.next[class_] = (char *)p + GRAIN;
    slabs.end[class_] = (char *)p + SLAB_BYTES;
  }
  head *h = (head *)slabs.next[class_];
  slabs.next[class_] += stride;
  h->slab = slabs.open[class_];
  h->slab->carved++;
  h->map = NULL;
  return h;
}

static head *from_system(int class_, size_t capacity) {
  head *h;
  if (capacity <= SMALL_MAX) {
    h = carve(class_, capacity);
  } else {
    size_t bytes = capacity + GRAIN;
    if (!may_hold(bytes))
      return NULL;
    for (int attempt = 0;; attempt++) {
      void *p = NULL;
      if (capacity >= HUGE_MIN)
        h = map_huge(capacity);
      else if (posix_memalign(&p, GRAIN, bytes))
        h = NULL;
      else
        h = p, h->map = NULL;
      if (h || attempt)
        break;
      ml_cache_trim();
    }
    if (h) {
      h->slab = NULL;
      held += bytes;
      memory.system_allocations++;
    }
  }
  if (!h)
    return NULL;
  h->capacity = capacity;
  h->class_ = class_;
  return h;
}

static void to_system(head *h) {
  held -= h->capacity + GRAIN;
  if (h->map)
    munmap(h->map, h->map_bytes);
  else
    free(h);
}

/* Small blocks go back only with their whole slab. */
static void trim_slabs(void) {
  for (slab *s = slabs.all; s; s = s->next)
    s->seen = 0;
  for (int c = 0; c < SMALL_CLASSES; c++)
    for (head *h = free_list[c]; h;) {
      ML_UNPOISON(h, GRAIN);
      h->slab->seen++;
      h = h->next;
    }
  for (int c = 0; c < SMALL_CLASSES; c++) {
    head **at = &free_list[c];
    while (*at) {
      head *h = *at;
      if (h->slab->seen == h->slab->carved) {
        *at = h->next;
        memory.cached -= h->capacity;
      } else {
        at = &h->next;
      }
    }
    for (head *h = free_list[c]; h; h = h->next)
      poison_cached(h);
    if (slabs.open[c] && slabs.open[c]->seen == slabs.open[c]->carved) {
      slabs.open[c] = NULL;
      slabs.next[c] = slabs.end[c] = NULL;
    }
  }
  for (slab **at = &slabs.all; *at;) {
    slab *s = *at;
    if (s->seen == s->carved) {
      *at = s->next;
      held -= s->bytes;
      ML_UNPOISON(s, s->bytes);
      free(s);
    } else {
      at = &s->next;
    }
  }
}

/* Gives one cached block of a class above the slabs back. */
static void drop_one(int class_) {
  head *h = free_list[class_];
  ML_UNPOISON(h, GRAIN);
  free_list[class_] = h->next;
  memory.cached -= h->capacity;
  ML_UNPOISON(data_of(h), h->capacity);
  to_system(h);
}

/* Down to the peak of live + 256 MiB, the largest blocks first: a step whose temporaries outweigh
 * what stays finds its warm blocks again, whatever earlier work left beside them. Slabs are
 * searched only after 32 MiB more, since those of a slab in use cannot leave. */
static void shrink_cache(void) {
  static uint64_t searched_at;
  uint64_t cap = memory.peak + CACHE_FLOOR;
  for (int c = CLASSES - 1; c >= SMALL_CLASSES; c--)
    while (free_list[c] && memory.cached > cap)
      drop_one(c);
  if (memory.cached <= cap) {
    searched_at = 0;
  } else if (memory.cached >= searched_at + CACHE_FLOOR / 8) {
    trim_slabs();
    searched_at = memory.cached;
  }
}

/* ---- callers' side --------------------------------------------------------------------------- */

void *ml_block_new(size_t bytes) {
  if (ml_inject_fails() || bytes > (size_t)1 << 46)
    return NULL;
  size_t capacity;
  int class_ = class_of(bytes, &capacity);
  if (memory.live + capacity > limit)
    return NULL;
  head *h = free_list[class_];
  if (h) {
    ML_UNPOISON(h, GRAIN);
    free_list[class_] = h->next;
    memory.cached -= capacity;
  } else {
    h = from_system(class_, capacity);
    if (!h)
      return NULL;
  }
  h->state = LIVE;
  memory.live += capacity;
  if (memory.live > memory.peak)
    memory.peak = memory.live;
  char *data = data_of(h);
  ML_POISON(h, GRAIN);
  ML_UNPOISON(data, bytes);
  ML_POISON(data + bytes, capacity - bytes);
  return data;
}

void ml_block_free(void *block) {
  if (!block)
    return;
  head *h = head_of(block);
  ML_UNPOISON(h, GRAIN);
  assert(h->state == LIVE && "a block is given back once");
  size_t capacity = h->capacity;
  memory.live -= capacity;
  h->state = CACHED;
  h->next = free_list[h->class_];
  free_list[h->class_] = h;
  memory.cached += capacity;
  poison_cached(h);
  if (memory.cached > memory.peak + CACHE_FLOOR)
    shrink_cache();
}

size_t ml_block_capacity(const void *block) {
  head *h = head_of(block);
  ML_UNPOISON(h, GRAIN);
  size_t capacity = h->capacity;
  ML_POISON(h, GRAIN);
  return capacity;
}

void ml_cache_trim(void) {
  trim_slabs();
  for (int c = SMALL_CLASSES; c < CLASSES; c++)
    while (free_list[c])
      drop_one(c);
}

/* ---- accounts -------------------------------------------------------------------------------- */

uint64_t ml_live_bytes(void) { return memory.live; }

void ml_memory(ml_memory_info *info) {
  if (!limit_known)
    learn_limit();
  *info = memory;
  info->limit = limit;
}

void ml_memory_set_limit(uint64_t bytes) {
  if (bytes) {
    limit = bytes;
    limit_known = true;
    if (held > limit)
      ml_cache_trim();
  } else {
    learn_limit();
  }
}

void ml_memory_reset_peak(void) { memory.peak = memory.live; }
