/* The ladder of Ctrl-C presses, shared by the host's hook and the kernels' polls. */
#include "interrupt.h"

#include <signal.h>
#include <unistd.h>

#include "base/base.h"

static volatile sig_atomic_t presses;

void mll_interrupt_press(void) {
  presses = presses + 1;
  if (presses >= 4)
    _exit(130);
  ml_cancel();
}

bool mll_interrupt_pending(void) { return ml_cancelled(); }

void mll_interrupt_taken(void) {
  if (presses < 2)
    ml_cancel_clear();
}

void mll_interrupt_reset(void) {
  presses = 0;
  ml_cancel_clear();
}
