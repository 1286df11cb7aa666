/* SIGINT sets a hook on the Lua thread that runs; once or sticky is the library's decision. */
#include "host_interrupt.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

static lua_State *volatile running; /* the thread that executes now */
static void (*press)(void);
static bool (*pending)(void);
static void (*taken)(void);
static void (*reset)(void);

bool host_symbol(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  if (!symbol) {
    fprintf(stderr, "moonlab: libmoonlab.so has no %s: another version?\n", name);
    return false;
  }
  memcpy(function, &symbol, sizeof symbol);
  return true;
}

bool host_interrupt_load(void *library) {
  return host_symbol(library, "mll_interrupt_press", &press) &&
         host_symbol(library, "mll_interrupt_pending", &pending) &&
         host_symbol(library, "mll_interrupt_taken", &taken) &&
         host_symbol(library, "mll_interrupt_reset", &reset);
}

static void hook(lua_State *L, lua_Debug *ar);

static void set_hook(lua_State *L) {
  lua_sethook(L, hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  host_interrupt_check(L);
}

bool host_interrupt_pending(void) { return pending(); }

void host_interrupt_check(lua_State *L) {
  if (!pending())
    return; /* a kernel has raised it already */
  taken();
  if (pending())
    set_hook(L);
  luaL_error(L, "interrupted");
}

static void on_sigint(int signal_number) {
  (void)signal_number;
  press();
  set_hook(running);
}

/* Stands before coroutine.resume, and before every function that coroutine.wrap makes: a hook
 * belongs to one thread, so the handler must know which one runs. Upvalues: the function it stands
 * before; the thread that this resumes, or nil where that is its first argument. */
static int resume(lua_State *L) {
  lua_State *before = running;
  lua_State *thread = lua_tothread(L, lua_upvalueindex(2));
  if (!thread)
    thread = lua_tothread(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (thread) {
    running = thread;
    if (pending())
      set_hook(thread);
  }
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  running = before;
  if (pending())
    set_hook(L);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* coroutine.wrap: the function that the original makes keeps its thread as its first upvalue. */
static int wrap(lua_State *L) {
  int arguments = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, arguments, 1);
  lua_getupvalue(L, -1, 1);
  lua_pushcclosure(L, resume, 2);
  return 1;
}

void host_interrupt_install(lua_State *L) {
  running = L;
  lua_getglobal(L, "coroutine");
  lua_getfield(L, -1, "resume");
  lua_pushnil(L);
  lua_pushcclosure(L, resume, 2);
  lua_setfield(L, -2, "resume");
  lua_getfield(L, -1, "wrap");
  lua_pushcclosure(L, wrap, 1);
  lua_setfield(L, -2, "wrap");
  lua_pop(L, 1);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_sigint;
  sigaction(SIGINT, &action, NULL);
}

void host_interrupt_reset(lua_State *L) {
  reset();
  lua_sethook(L, NULL, 0, 0);
}
