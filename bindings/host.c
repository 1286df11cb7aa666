/* The host: Lua 5.4 with moonlab inside. Scripts, -e -i -l, standard input, the prompt, and
 * moonlab's commands. */
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lua.h>

#include <lauxlib.h>
#include <lualib.h>

#include "host_interrupt.h"
#include "line_editor.h"
#include "loader.h"
#include "sandbox.h"

/* Message handler: the error as text, with a traceback; objects with __tostring speak for
 * themselves. */
static int traceback(lua_State *L) {
  const char *text = lua_tostring(L, 1);
  if (!text) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
      return 1;
    text = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  if (strstr(text, "stack traceback:")) /* rethrown: it says already where it arose */
    return 1;
  /* scopes and the like rethrow; the traceback of where the error arose is kept */
  if (lua_getfield(L, LUA_REGISTRYINDEX, "ml.traceback") == LUA_TFUNCTION) {
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING)
      return 1;
  }
  lua_pop(L, 1);
  luaL_traceback(L, L, text, 1);
  return 1;
}

static int call(lua_State *L, int arguments, int results) {
  int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, arguments, results, base);
  lua_remove(L, base);
  return status;
}

static int report(lua_State *L, int status) {
  if (status == LUA_OK)
    return LUA_OK;
  const char *text = lua_tostring(L, -1);
  fprintf(stderr, "moonlab: %s\n", text ? text : "(error without a message)");
  lua_pop(L, 1);
  return status;
}

static int usage(void) {
  fputs("usage: moonlab [options] [script [args]]\n"
        "  -e stat   execute string 'stat'      -l mod    require library 'mod' into a global\n"
        "  -i        enter the prompt after     -v        show version and machine\n"
        "  -         execute standard input     --        stop handling options\n"
        "or a command: run NAME | recipes | bench | test | docs | help NAME (moonlab help lists "
        "them)\n",
        stderr);
  return 1;
}

/* Sets arg like stock lua: script at 0, its arguments from 1, what stands before it below 0. */
static void set_arg(lua_State *L, char **argv, int argc, int script) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

static int push_arguments(lua_State *L) {
  lua_getglobal(L, "arg");
  int n = lua_istable(L, -1) ? (int)lua_rawlen(L, -1) : 0;
  luaL_checkstack(L, n + 3, "too many arguments to the script");
  int table = lua_gettop(L);
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, table, i);
  lua_remove(L, table);
  return n;
}

static int run_script(lua_State *L, const char *file) {
  int status = luaL_loadfile(L, file);
  if (status == LUA_OK) {
    int n = push_arguments(L);
    status = call(L, n, 0);
  }
  return report(L, status);
}

static int run_string(lua_State *L, const char *code, const char *name) {
  int status = luaL_loadbuffer(L, code, strlen(code), name);
  if (status == LUA_OK)
    status = call(L, 0, 0);
  return report(L, status);
}

/* -l name or -l global=name */
static int require_library(lua_State *L, const char *spec) {
  char global[256];
  const char *equals = strchr(spec, '=');
  const char *module = equals ? equals + 1 : spec;
  size_t n = equals ? (size_t)(equals - spec) : strcspn(spec, "-");
  if (n == 0 || n >= sizeof global) {
    fprintf(stderr, "moonlab: cannot use '%s' with -l\n", spec);
    return LUA_ERRRUN;
  }
  memcpy(global, spec, n);
  global[n] = '\0';
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = call(L, 1, 1);
  if (status == LUA_OK)
    lua_setglobal(L, global);
  return report(L, status);
}

/* Calls function `name` of a moonlab module; a returned integer is the exit status. */
static int call_module(lua_State *L, const char *module, const char *name, int *exit_status) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = call(L, 1, 1);
  if (status != LUA_OK)
    return report(L, status);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
  int n = push_arguments(L);
  status = call(L, n, 1);
  if (status != LUA_OK)
    return report(L, status);
  if (lua_isinteger(L, -1))
    *exit_status = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return LUA_OK;
}

static int l_reset(lua_State *L) {
  host_interrupt_reset(L);
  return 0;
}

/* guard(f, ...): as pcall, and presses of Ctrl-C are forgotten before it returns, so that one that
 * sticks ends here. */
static int l_guard(lua_State *L) {
  luaL_checkany(L, 1);
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  host_interrupt_reset(L);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 1);
  return lua_gettop(L);
}

static int l_isatty(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  lua_pushboolean(L, isatty((int)fd));
  return 1;
}

/* The folders where Lua files and recipes are: the source tree when it is there, else the installed
 * ones. */
static void set_paths(lua_State *L) {
  char lua_dir[4200] = MOONLAB_SOURCE_DIR "/lua", recipes[4200] = MOONLAB_SOURCE_DIR "/recipes";
  char exe[4096];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (n > 0) {
    exe[n] = '\0';
    for (int up = 0; up < 2; up++) {
      char *slash = strrchr(exe, '/');
      if (slash)
        *slash = '\0';
    }
    char probe[4200];
    snprintf(probe, sizeof probe, "%s/share/lua/5.4/moonlab/init.lua", exe);
    if (access(probe, R_OK) == 0) {
      snprintf(lua_dir, sizeof lua_dir, "%s/share/lua/5.4", exe);
      snprintf(recipes, sizeof recipes, "%s/share/moonlab/recipes", exe);
    }
  }
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", lua_dir, lua_dir, lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_pop(L, 2);
  lua_newtable(L);
  lua_pushstring(L, lua_dir);
  lua_setfield(L, -2, "lua_dir");
  lua_pushstring(L, recipes);
  lua_setfield(L, -2, "recipes");
  lua_pushcfunction(L, l_reset);
  lua_setfield(L, -2, "reset_interrupt");
  lua_pushcfunction(L, l_guard);
  lua_setfield(L, -2, "guard");
  lua_pushcfunction(L, l_isatty);
  lua_setfield(L, -2, "isatty");
  line_editor_open(L);
  lua_setfield(L, LUA_REGISTRYINDEX, "moonlab.host");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_getfield(L, LUA_REGISTRYINDEX, "moonlab.host");
  lua_setfield(L, -2, "moonlab.host");
  lua_pop(L, 2);
}

typedef struct {
  int argc;
  char **argv;
  lua_CFunction open_core;
  int exit_status;
} host_call;

static bool has_value(const char *option) { return option[1] == 'e' || option[1] == 'l'; }

/* Everything happens inside one protected call, so that even running out of memory ends with a
 * message. */
static int protected_main(lua_State *L) {
  host_call *host = lua_touserdata(L, 1);
  int argc = host->argc;
  char **argv = host->argv;
  bool interactive = false, version = false, did = false;
  int script = 1;
  host->exit_status = EXIT_FAILURE;
  for (; script < argc && argv[script][0] == '-' && argv[script][1]; script++) {
    const char *option = argv[script];
    if (strcmp(option, "--") == 0) {
      script++;
      break;
    }
    if (strcmp(option, "-i") == 0)
      interactive = true;
    else if (strcmp(option, "-v") == 0 || strcmp(option, "--version") == 0)
      version = true;
    else if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0) {
      host->exit_status = usage() - 1;
      return 0;
    } else if (option[1] != '-' && has_value(option)) {
      if (!option[2] && ++script >= argc) {
        fprintf(stderr, "moonlab: '%s' needs a value\n", option);
        usage();
        return 0;
      }
    } else {
      fprintf(stderr, "moonlab: unrecognized option '%s'\n", option);
      usage();
      return 0;
    }
  }
  setlocale(LC_CTYPE, ""); /* what a character is; numbers stay as in C */
  luaL_openlibs(L);
  luaL_requiref(L, "moonlab.core", host->open_core, 0);
  lua_pop(L, 1);
  set_paths(L);
  set_arg(L, argv, argc, script < argc ? script : 0);
  lua_gc(L, LUA_GCINC, 120, 0, 0); /* collects early: handles stay warm in the cache */

  host_interrupt_install(L);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write, not the end */

  if (version) {
    int status = 0;
    if (call_module(L, "moonlab.cli", "version", &status) != LUA_OK)
      return 0;
    did = true;
  }
  for (int i = 1; i < script && i < argc; i++) {
    const char *option = argv[i];
    if (option[0] != '-' || option[1] == '-' || !has_value(option))
      continue;
    const char *value = option[2] ? option + 2 : argv[++i];
    int status =
        option[1] == 'e' ? run_string(L, value, "=(command line)") : require_library(L, value);
    if (status != LUA_OK)
      return 0;
    did = true;
  }
  host->exit_status = EXIT_SUCCESS;
  if (script < argc) {
    did = true;
    bool is_command = false;
    if (strcmp(argv[script], "-") != 0) {
      lua_getglobal(L, "require");
      lua_pushliteral(L, "moonlab.cli");
      if (report(L, call(L, 1, 1)) != LUA_OK) {
        host->exit_status = EXIT_FAILURE;
        return 0;
      }
      lua_getfield(L, -1, "commands");
      lua_getfield(L, -1, argv[script]);
      is_command = !lua_isnil(L, -1);
      lua_pop(L, 3);
      /* neither a command nor a file: the command line says what is near */
      if (!is_command && access(argv[script], F_OK) != 0 && !strchr(argv[script], '.') &&
          !strchr(argv[script], '/'))
        is_command = true;
    }
    if (is_command) {
      int status = 0;
      set_arg(L, argv, argc, script - 1);
      host->exit_status =
          call_module(L, "moonlab.cli", "main", &status) == LUA_OK ? status : EXIT_FAILURE;
    } else if (run_script(L, strcmp(argv[script], "-") == 0 ? NULL : argv[script]) != LUA_OK) {
      host->exit_status = EXIT_FAILURE;
    }
  }
  if (interactive || (!did && isatty(STDIN_FILENO))) {
    int status = 0;
    set_arg(L, argv, 1, 0);
    if (call_module(L, "moonlab.repl", "run", &status) != LUA_OK)
      host->exit_status = EXIT_FAILURE;
  } else if (!did) {
    host->exit_status = run_script(L, NULL) == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--sandbox") == 0) /* before anything else is loaded */
    sandbox_worker(argc, argv);
  const char *why = NULL;
  void *library = moonlab_load(&why);
  host_call host = {argc, argv, NULL, EXIT_FAILURE};
  if (!library) {
    fprintf(stderr, "moonlab: %s\n", why);
    return EXIT_FAILURE;
  }
  if (!host_symbol(library, "mll_open_core", &host.open_core) || !host_interrupt_load(library))
    return EXIT_FAILURE;
  lua_State *L = luaL_newstate();
  if (!L) {
    fputs("moonlab: out of memory\n", stderr);
    return EXIT_FAILURE;
  }
  lua_pushcfunction(L, protected_main);
  lua_pushlightuserdata(L, &host);
  report(L, lua_pcall(L, 1, 0, 0));
  signal(SIGINT, SIG_DFL);
  lua_close(L);
  return host.exit_status;
}
