/* The ladder of Ctrl-C presses: one place decides whether an interrupt is raised once or stays. */
#ifndef MOONLAB_INTERRUPT_H
#define MOONLAB_INTERRUPT_H

#include <stdbool.h>

/* First press: one catchable error. Second: every poll raises until the prompt takes over. Fourth:
 * exit status 130. */
__attribute__((visibility("default"))) void mll_interrupt_press(void); /* async-signal-safe */
__attribute__((visibility("default"))) bool mll_interrupt_pending(void);
/* Called by whoever is about to raise the error; ends a first press, leaves a sticky one. */
__attribute__((visibility("default"))) void mll_interrupt_taken(void);
__attribute__((visibility("default"))) void mll_interrupt_reset(void); /* at the prompt */

#endif
