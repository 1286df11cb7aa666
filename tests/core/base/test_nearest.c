/* The nearest name to a word. */
#include "check.h"

static const char *const names[] = {"weight_decay", "betas", "eps", "lr", "layer", NULL};

static void test_a_slip_finds_its_name(void) {
  CHECK_STRING(ml_nearest("weigth_decay", names), "weight_decay"); /* a swap */
  CHECK_STRING(ml_nearest("beta", names), "betas");                /* one too few */
  CHECK_STRING(ml_nearest("lyer", names), "layer");
  CHECK_STRING(ml_nearest("LR", names), "lr");
  CHECK_STRING(ml_nearest("epss", names), "eps");
  /* a swap counts once: two changes would be as far as "lr" */
  static const char *const pair[] = {"bb", "ba", NULL};
  CHECK_STRING(ml_nearest("ab", pair), "bb"); /* of equals the first */
  static const char *const swap[] = {"abxx", "badc", NULL};
  CHECK_STRING(ml_nearest("abcd", swap), "abxx");
}

static void test_nothing_near(void) {
  static const char *const none[] = {NULL};
  CHECK(ml_nearest("momentum", names) == NULL);
  CHECK(ml_nearest("x", none) == NULL);
  char longer[1000]; /* only its beginning is looked at */
  memset(longer, 'q', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  CHECK(ml_nearest(longer, names) == NULL);
}

CHECK_MAIN(test_a_slip_finds_its_name, test_nothing_near)
