/* Checks for the C tests: a failed check prints file, line and values, counts, and the test goes
 * on.
 *
 *   static void test_sum(void) { ml_error err; CHECK_OK(f(&x, &err), &err); CHECK_CLOSE(x, 2,
 * 1e-14); } CHECK_MAIN(test_sum, test_product)
 *
 * CHECK_MAIN runs the functions in order; a word on the command line runs only those whose name
 * holds it. After each function the live bytes and metadata objects of core must be where they were
 * before it. */
#ifndef MOONLAB_TESTS_CHECK_H
#define MOONLAB_TESTS_CHECK_H

#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures, check_count;

/* Prints the first failures of a test only: a wrong loop should not bury the log. */
static inline bool check_note(bool ok, const char *file, int line, const char *what) {
  check_count++;
  if (ok)
    return true;
  if (++check_failures <= 20)
    fprintf(stderr, "%s:%d: %s", file, line, what);
  return false;
}
#define CHECK_SAY(...) (check_failures <= 20 ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)

#define CHECK(cond)                                                                                \
  do {                                                                                             \
    if (!check_note((cond), __FILE__, __LINE__, "CHECK(" #cond ") failed\n"))                      \
      (void)0;                                                                                     \
  } while (0)

/* Integers, with both values. */
#define CHECK_EQ(a, b)                                                                             \
  do {                                                                                             \
    long long check_a_ = (long long)(a), check_b_ = (long long)(b);                                \
    if (!check_note(check_a_ == check_b_, __FILE__, __LINE__, #a " == " #b))                       \
      CHECK_SAY(": got %lld and %lld\n", check_a_, check_b_);                                      \
  } while (0)

/* |a - b| <= rtol * max(|a|, |b|); equal infinities and two NaN are close. */
static inline bool check_is_close(double a, double b, double rtol, double atol) {
  if (isnan(a) || isnan(b))
    return isnan(a) && isnan(b);
  if (a == b)
    return true;
  double scale = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
  return fabs(a - b) <= rtol * scale + atol;
}
#define CHECK_CLOSE(a, b, rtol) CHECK_NEAR(a, b, rtol, 0.0)
#define CHECK_NEAR(a, b, rtol, atol)                                                               \
  do {                                                                                             \
    double check_a_ = (double)(a), check_b_ = (double)(b);                                         \
    if (!check_note(check_is_close(check_a_, check_b_, (rtol), (atol)), __FILE__, __LINE__,        \
                    #a " ~ " #b))                                                                  \
      CHECK_SAY(": got %.17g, wanted %.17g, off by %.3g\n", check_a_, check_b_,                    \
                check_a_ - check_b_);                                                              \
  } while (0)

#define CHECK_STRING(a, b)                                                                         \
  do {                                                                                             \
    const char *check_a_ = (a), *check_b_ = (b);                                                   \
    if (!check_note(!strcmp(check_a_, check_b_), __FILE__, __LINE__, #a " == " #b))                \
      CHECK_SAY(": got \"%s\", wanted \"%s\"\n", check_a_, check_b_);                              \
  } while (0)

/* text holds part */
#define CHECK_HAS(text, part)                                                                      \
  do {                                                                                             \
    const char *check_a_ = (text), *check_b_ = (part);                                             \
    if (!check_note(strstr(check_a_, check_b_) != NULL, __FILE__, __LINE__, #text " has " #part))  \
      CHECK_SAY(": got \"%s\", wanted \"%s\" in it\n", check_a_, check_b_);                        \
  } while (0)

#define CHECK_OK(call, err)                                                                        \
  do {                                                                                             \
    ml_status check_s_ = (call);                                                                   \
    if (!check_note(check_s_ == ML_OK, __FILE__, __LINE__, #call))                                 \
      CHECK_SAY(": %s: %s\n", ml_status_name(check_s_), (err)->message);                           \
  } while (0)

#define CHECK_FAIL(call, expected)                                                                 \
  do {                                                                                             \
    ml_status check_s_ = (call);                                                                   \
    if (!check_note(check_s_ == (expected), __FILE__, __LINE__, #call))                            \
      CHECK_SAY(": %s, wanted %s\n", ml_status_name(check_s_), ml_status_name(expected));          \
  } while (0)

/* Fails each allocation of `call` (an expression of type ml_status) in turn until it succeeds:
 * every failure must be ML_ENOMEM and leave live bytes and objects as they were. `undo` clears what
 * a success made. */
#define CHECK_ALLOC_SWEEP(call, undo)                                                              \
  do {                                                                                             \
    uint64_t check_live_ = ml_live_bytes();                                                        \
    int64_t check_objects_ = ml_alloc_count();                                                     \
    for (int64_t check_n_ = 1;; check_n_++) {                                                      \
      ml_inject_alloc_failure(check_n_, false);                                                    \
      ml_status check_r_ = (call);                                                                 \
      int64_t check_seen_ = ml_inject_count();                                                     \
      ml_inject_alloc_failure(0, false);                                                           \
      if (check_r_ == ML_OK) {                                                                     \
        undo;                                                                                      \
        CHECK(check_seen_ < check_n_); /* a failed allocation must not pass unseen */              \
      } else {                                                                                     \
        CHECK_EQ(check_r_, ML_ENOMEM);                                                             \
      }                                                                                            \
      CHECK_EQ(ml_live_bytes(), check_live_);                                                      \
      CHECK_EQ(ml_alloc_count(), check_objects_);                                                  \
      if (check_r_ == ML_OK || check_n_ > 100000)                                                  \
        break;                                                                                     \
    }                                                                                              \
  } while (0)

typedef struct {
  const char *name;
  void (*run)(void);
} check_test;

static inline int check_run(const char *names, void (*const *tests)(void), int n,
                            const char *only) {
  int failed_tests = 0;
  for (int i = 0; i < n; i++) {
    char name[128];
    names += strspn(names, " ,");
    size_t length = strcspn(names, " ,");
    snprintf(name, sizeof name, "%.*s", (int)length, names);
    names += length;
    if (only && !strstr(name, only))
      continue;
    check_failures = 0;
    uint64_t live = ml_live_bytes();
    int64_t objects = ml_alloc_count();
    tests[i]();
    if (ml_live_bytes() != live || ml_alloc_count() != objects) {
      check_failures++;
      fprintf(stderr, "%s: leaves %lld bytes of blocks and %lld objects\n", name,
              (long long)(ml_live_bytes() - live), (long long)(ml_alloc_count() - objects));
    }
    if (check_failures) {
      failed_tests++;
      fprintf(stderr, "FAILED %s: %d of %d checks so far\n", name, check_failures, check_count);
    }
  }
  printf("%d checks, %d tests failed\n", check_count, failed_tests);
  return failed_tests ? 1 : 0;
}

#define CHECK_MAIN(...)                                                                            \
  int main(int argc, char **argv) {                                                                \
    void (*const tests[])(void) = {__VA_ARGS__};                                                   \
    return check_run(#__VA_ARGS__, tests, (int)(sizeof tests / sizeof *tests),                     \
                     argc > 1 ? argv[1] : NULL);                                                   \
  }

#endif
