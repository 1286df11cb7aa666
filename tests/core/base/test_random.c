/* Philox and the draws built on it. */
#include "check.h"

static void test_known_answers(void) { /* golden: Random123's kat_vectors, philox4x32 10 */
  static const struct {
    uint64_t key, low, high;
    uint32_t want[4];
  } kat[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {UINT64_C(0x299f31d0a4093822),
       UINT64_C(0x85a308d3243f6a88),
       UINT64_C(0x0370734413198a2e),
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t k = 0; k < sizeof kat / sizeof *kat; k++) {
    uint32_t out[4];
    ml_philox(out, kat[k].key, kat[k].low, kat[k].high);
    for (int i = 0; i < 4; i++)
      CHECK_EQ(out[i], kat[k].want[i]);
  }
}

CHECK_MAIN(test_known_answers)
