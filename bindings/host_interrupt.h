/* Ctrl-C in the host: a hook that raises in whatever Lua thread runs, coroutines included. */
#ifndef MOONLAB_HOST_INTERRUPT_H
#define MOONLAB_HOST_INTERRUPT_H

#include <stdbool.h>

#include <lua.h>

/* Takes the ladder of presses from the library; false, with a message printed, when it is not
 * there. */
bool host_interrupt_load(void *library);
/* SIGINT raises in L from now on, and in coroutines that it resumes. */
void host_interrupt_install(lua_State *L);
/* Whether a press waits to be taken. */
bool host_interrupt_pending(void);
/* Raises "interrupted" when a press waits to be taken. */
void host_interrupt_check(lua_State *L);
/* Presses of before are forgotten: at the prompt. */
void host_interrupt_reset(lua_State *L);
/* A symbol of the library, copied to function; false, with a message printed, when it has none. */
bool host_symbol(void *library, const char *name, void *function);

#endif
