/* Metadata, blocks and their cache, limits, failure injection, arenas. */
#include "check.h"

static void test_metadata_is_zeroed_and_counted(void) {
  int64_t before = ml_alloc_count();
  unsigned char *p = ml_alloc(100);
  for (int i = 0; i < 100; i++)
    CHECK_EQ(p[i], 0);
  CHECK_EQ(ml_alloc_count(), before + 1);
  p = ml_realloc(p, 1000);
  CHECK_EQ(ml_alloc_count(), before + 1);
  void *q = ml_realloc(NULL, 10);
  CHECK_EQ(ml_alloc_count(), before + 2);
  ml_free(p);
  ml_free(q);
  ml_free(NULL);
  void *empty = ml_alloc(0);
  CHECK(empty != NULL);
  ml_free(empty);
  CHECK_EQ(ml_alloc_count(), before);
}

static void test_blocks_are_aligned_and_waste_little(void) { /* property */
  for (size_t bytes = 1; bytes < (size_t)40 << 20; bytes += bytes < 9000 ? 1 : bytes / 37) {
    unsigned char *p = ml_block_new(bytes);
    CHECK(p && (uintptr_t)p % 64 == 0);
    size_t capacity = ml_block_capacity(p);
    CHECK(capacity >= bytes);
    if (bytes > 512)
      CHECK(capacity - bytes <= bytes / 8);
    else
      CHECK(capacity < bytes + 64);
    p[0] = p[bytes - 1] = 1;
    ml_block_free(p);
  }
  void *empty = ml_block_new(0);
  CHECK(empty != NULL);
  ml_block_free(empty);
  ml_block_free(NULL);
}

static void test_steady_steps_ask_the_system_for_nothing(void) {
  static const size_t sizes[] = {8,    32,   64,     65,      1000,    4096,
                                 4097, 5000, 100000, 1 << 20, 5 << 20, 17 << 20};
  enum { N = sizeof sizes / sizeof *sizes };
  ml_memory_info before, after;
  void *p[N];
  for (int step = 0; step < 3; step++) {
    ml_memory(&before);
    for (int i = 0; i < N; i++) {
      p[i] = ml_block_new(sizes[i]);
      memset(p[i], step, sizes[i]);
    }
    for (int i = 0; i < N; i++)
      ml_block_free(p[i]);
    ml_memory(&after);
    if (step)
      CHECK_EQ(after.system_allocations, before.system_allocations);
    CHECK_EQ(after.live, before.live);
  }
}

static void
test_blocks_keep_their_bytes(void) { /* property: a thousand live blocks do not overlap */
  enum { N = 1000 };
  static unsigned char *p[N];
  static size_t size[N];
  uint32_t state = 1;
  for (int i = 0; i < N; i++)
    p[i] = NULL;
  for (int round = 0; round < 5000; round++) {
    state = state * 1664525 + 1013904223;
    int i = (int)(state >> 8) % N;
    if (p[i]) {
      for (size_t k = 0; k < size[i]; k += 1 + size[i] / 7)
        CHECK_EQ(p[i][k], (unsigned char)i);
      CHECK_EQ(p[i][size[i] - 1], (unsigned char)i);
    }
    ml_block_free(p[i]);
    size[i] = 1 + (state >> 20) * (i % 7 == 0 ? 97 : 1);
    p[i] = ml_block_new(size[i]);
    memset(p[i], i, size[i]);
    if (round % 1000 == 999)
      ml_cache_trim();
  }
  for (int i = 0; i < N; i++)
    ml_block_free(p[i]);
}

static void test_accounts(void) {
  ml_cache_trim();
  ml_memory_reset_peak();
  ml_memory_info a, b, c;
  ml_memory(&a);
  void *p = ml_block_new(1 << 20), *q = ml_block_new(3 << 20);
  ml_memory(&b);
  CHECK_EQ(b.live - a.live, ml_block_capacity(p) + ml_block_capacity(q));
  CHECK_EQ(b.peak, b.live);
  CHECK_EQ(b.system_allocations - a.system_allocations, 2);
  ml_block_free(p);
  ml_block_free(q);
  ml_memory(&c);
  CHECK_EQ(c.live, a.live);
  CHECK_EQ(c.cached - a.cached, b.live - a.live);
  CHECK_EQ(c.peak, b.peak);
  ml_cache_trim();
  ml_memory(&c);
  CHECK_EQ(c.cached, 0);
  CHECK(c.limit > (uint64_t)64 << 20);
}

static void test_cache_is_capped(void) {
  ml_cache_trim();
  enum { N = 20 };
  void *p[N];
  ml_memory_info info;
  for (int i = 0; i < N; i++)
    p[i] = ml_block_new((size_t)32 << 20); /* not touched: costs address space only */
  for (int i = 0; i < N; i++) {
    CHECK(p[i] != NULL);
    ml_block_free(p[i]);
    ml_memory(&info);
    uint64_t floor = (uint64_t)256 << 20;
    CHECK(info.cached <= info.peak + floor);
  }
  CHECK(info.cached >= (uint64_t)224 << 20);
  /* once so much is no longer needed, the next block given back takes the rest along */
  ml_memory_reset_peak();
  void *q = ml_block_new((size_t)1 << 20);
  CHECK(q != NULL);
  ml_block_free(q);
  ml_memory(&info);
  CHECK(info.cached <= info.peak + ((uint64_t)256 << 20));
  CHECK(info.cached >= (uint64_t)224 << 20);
  ml_cache_trim();
}

static void test_limit(void) {
  ml_cache_trim();
  ml_memory_info info;
  ml_memory(&info);
  ml_memory_set_limit(info.live + info.cached + ((uint64_t)64 << 20));
  void *big = ml_block_new((size_t)40 << 20);
  CHECK(big != NULL);
  CHECK(ml_block_new((size_t)40 << 20) == NULL);
  ml_block_free(big); /* now cached: it has to leave before another size fits */
  big = ml_block_new((size_t)50 << 20);
  CHECK(big != NULL);
  ml_memory(&info);
  CHECK(info.live + info.cached <= info.limit);
  ml_block_free(big);
  CHECK(ml_block_new(SIZE_MAX) == NULL);
  CHECK(ml_block_new(SIZE_MAX / 2) == NULL);
  ml_memory_set_limit(1);
  CHECK(ml_block_new(8) == NULL);
  ml_memory_set_limit(0);
  void *p = ml_block_new(8);
  CHECK(p != NULL);
  ml_block_free(p);
}

static void test_injection(void) {
  ml_inject_alloc_failure(2, false);
  void *a = ml_alloc(1), *b = ml_block_new(1), *c = ml_alloc(1);
  CHECK(a && !b && c);
  CHECK_EQ(ml_inject_count(), 3);
  ml_inject_alloc_failure(1, true);
  CHECK(!ml_alloc(1) && !ml_block_new(1) && !ml_realloc(a, 100));
  ml_inject_alloc_failure(0, false);
  ml_free(a);
  ml_free(c);
}

static void test_arena(void) {
  ml_arena *arena = ml_arena_new();
  size_t start = ml_arena_mark(arena);
  uint64_t live = ml_live_bytes();
  char *a = ml_arena_take(arena, 10);
  memset(a, 'a', 10);
  size_t mark = ml_arena_mark(arena);
  char *kept[200];
  for (int i = 0; i < 200; i++) {
    kept[i] = ml_arena_take(arena, (size_t)i * 1000);
    CHECK((uintptr_t)kept[i] % 64 == 0);
    memset(kept[i], i, (size_t)i * 1000);
  }
  for (int i = 1; i < 200; i++)
    CHECK_EQ((unsigned char)kept[i][i * 1000 - 1], i);
  ml_arena_release(arena, mark);
  CHECK_EQ(a[9], 'a');
  CHECK_EQ(ml_arena_mark(arena), mark);
  CHECK(ml_arena_take(arena, 0) == kept[0]);
  ml_arena_release(arena, start);
  CHECK_EQ(ml_live_bytes(), live);
  CHECK(ml_arena_take(arena, SIZE_MAX) == NULL);
  ml_inject_alloc_failure(1, true);
  CHECK(ml_arena_take(arena, 1) == NULL);
  CHECK(ml_arena_new() == NULL);
  ml_inject_alloc_failure(0, false);
  CHECK(ml_arena_take(arena, 1) != NULL);
  ml_arena_free(arena);
  CHECK_EQ(ml_live_bytes(), live);
  CHECK(ml_scratch() == ml_scratch());
}

CHECK_MAIN(test_metadata_is_zeroed_and_counted, test_blocks_are_aligned_and_waste_little,
           test_steady_steps_ask_the_system_for_nothing, test_blocks_keep_their_bytes,
           test_accounts, test_cache_is_capped, test_limit, test_injection, test_arena)
