/* ml.system.spawn: child processes. */
#include "system.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CHILD "ml.system.child"

static ml_child *check_child(lua_State *L, int arg) {
  ml_child **box = mll_check_object(L, arg, CHILD);
  if (!*box)
    mll_arg_error(L, arg, "the child was closed");
  return *box;
}

static int child_close(lua_State *L) {
  ml_child **box = mll_check_object(L, 1, CHILD);
  ml_child *child = *box;
  *box = NULL;
  ml_child_free(child);
  return 0;
}

/* A pointer array of n entries and the NULL after them, the collector's; pushes it. */
static const char **push_pointers(lua_State *L, size_t n) {
  const char **p = lua_newuserdatauv(L, (n + 1) * sizeof *p, 0);
  memset(p, 0, (n + 1) * sizeof *p);
  return p;
}

/* argv from the array part of the table at 1. Pushes two values: the second is argv, the first
 * keeps its strings. */
static const char **push_argv(lua_State *L) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  if (n < 1)
    mll_arg_error(L, 1, "the list is empty, wanted a program and its arguments");
  lua_newtable(L);
  const char **argv = push_pointers(L, (size_t)n);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 1, i) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER) {
      char got[ML_DESCRIBE];
      mll_arg_error(L, 1, "word %d is %s, wanted a string", (int)i, mll_describe(L, -1, got));
    }
    argv[i - 1] = lua_tostring(L, -1);
    if (strlen(argv[i - 1]) != lua_rawlen(L, -1))
      mll_arg_error(L, 1, "word %d holds a zero byte", (int)i);
    lua_rawseti(L, -3, i);
  }
  return argv;
}

/* "NAME=value" and "NAME" from the option env; a table below the array keeps the strings. Pushes
 * two values. */
static const char **push_env(lua_State *L) {
  lua_newtable(L);
  int keep = lua_gettop(L);
  lua_Integer n = 0;
  if (mll_has_opt(L, 1, "env")) {
    lua_getfield(L, 1, "env");
    if (lua_type(L, -1) != LUA_TTABLE)
      mll_opt_error(L, 1, "env", "is a %s, wanted a table of names and values",
                    luaL_typename(L, -1));
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
      if (!*name || strchr(name, '=') || strlen(name) != lua_rawlen(L, -2))
        mll_opt_error(L, 1, "env", "has a key that is no name");
      if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER) {
        lua_pushvalue(L, -1);
        if (strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
          mll_opt_error(L, 1, "env", "has a value with a zero byte for %s", name);
        lua_pushfstring(L, "%s=%s", name, lua_tostring(L, -1));
        lua_remove(L, -2);
      } else if (lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1)) {
        lua_pushstring(L, name);
      } else {
        mll_opt_error(L, 1, "env", "has a %s for %s, wanted a string, or false to remove it",
                      luaL_typename(L, -1), name);
      }
      lua_rawseti(L, keep, ++n);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  const char **env = push_pointers(L, (size_t)n);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, keep, i);
    env[i - 1] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return env;
}

static ml_stream read_stream(lua_State *L, const char *name, const char *otherwise, int position) {
  const char *word = mll_opt_string(L, 1, name, otherwise);
  if (strcmp(word, "inherit") == 0)
    return (ml_stream){ML_STREAM_INHERIT, NULL};
  if (strcmp(word, "null") == 0)
    return (ml_stream){ML_STREAM_NULL, NULL};
  if (strcmp(word, "pipe") == 0)
    return (ml_stream){ML_STREAM_PIPE, NULL};
  if (position == 2 && strcmp(word, "stdout") == 0)
    return (ml_stream){ML_STREAM_OUTPUT, NULL};
  if (position > 0 && strncmp(word, ">>", 2) == 0)
    return (ml_stream){ML_STREAM_APPEND, word + 2};
  if (position > 0 && word[0] == '>')
    return (ml_stream){ML_STREAM_FILE, word + 1};
  if (position == 0 && word[0] == '<')
    return (ml_stream){ML_STREAM_FILE, word + 1};
  mll_opt_error(L, 1, name, "is \"%.60s\", wanted \"inherit\", \"null\", \"pipe\"%s", word,
                position == 0   ? " or \"<path\""
                : position == 1 ? ", \">path\" or \">>path\""
                                : ", \"stdout\", \">path\" or \">>path\"");
}

static int l_spawn(lua_State *L) {
  static const char *const names[] = {"env", "dir", "stdin", "stdout", "stderr", "group", NULL};
  if (lua_type(L, 1) != LUA_TTABLE)
    return mll_type_error(L, 1, "table");
  lua_settop(L, 1);
  mll_check_opts_array(L, 1, names);
  ml_spawn_options o = {.dir = mll_opt_string(L, 1, "dir", NULL),
                        .streams = {read_stream(L, "stdin", "null", 0),
                                    read_stream(L, "stdout", "inherit", 1),
                                    read_stream(L, "stderr", "inherit", 2)},
                        .group = mll_opt_boolean(L, 1, "group", false)};
  o.argv = push_argv(L);
  o.env = push_env(L);
  ml_child **box = lua_newuserdatauv(L, sizeof(ml_child *), 0);
  *box = NULL;
  luaL_setmetatable(L, CHILD);
  ml_error err;
  bool found = true;
  ml_status status;
  (void)fflush(NULL); /* what we wrote comes before what the child writes */
  MLL_RUN(L, status, ml_child_spawn(box, &o, &found, &err));
  if (status && !found) {
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    return 2;
  }
  return status ? mll_raise(L, &err) : 1;
}

static int child_pid(lua_State *L) {
  lua_pushinteger(L, ml_child_pid(check_child(L, 1)));
  return 1;
}

static int push_end(lua_State *L, ml_child_state state, int code) {
  if (state == ML_RUNNING)
    return 0;
  lua_pushstring(L, state == ML_EXITED ? "exit" : "signal");
  lua_pushinteger(L, code);
  return 2;
}

static int child_wait(lua_State *L) {
  ml_child *child = check_child(L, 1);
  double timeout = lua_isnoneornil(L, 2) ? -1 : mll_check_number(L, 2);
  if (!lua_isnoneornil(L, 2) && !(timeout >= 0))
    return mll_arg_error(L, 2, "timeout is %g, wanted >= 0", timeout);
  ml_child_state state;
  int code;
  ml_error err;
  if (ml_child_wait(child, timeout, &state, &code, &err))
    return mll_raise(L, &err);
  return push_end(L, state, code);
}

static int l_wait_any(lua_State *L) {
  if (lua_type(L, 1) != LUA_TTABLE)
    return mll_type_error(L, 1, "table");
  double timeout = lua_isnoneornil(L, 2) ? -1 : mll_check_number(L, 2);
  if (!lua_isnoneornil(L, 2) && !(timeout >= 0))
    return mll_arg_error(L, 2, "timeout is %g, wanted >= 0", timeout);
  lua_settop(L, 1);
  int n = (int)lua_rawlen(L, 1);
  ml_child **children = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof(ml_child *), 0);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 1, i + 1);
    ml_child **box = luaL_testudata(L, -1, CHILD);
    if (!box || !*box)
      return mll_arg_error(L, 1, "entry %d is no child of system.spawn, or closed", i + 1);
    children[i] = *box;
    lua_pop(L, 1); /* the table keeps it */
  }
  int which;
  ml_error err;
  if (ml_child_wait_any(children, n, timeout, &which, &err))
    return mll_raise(L, &err);
  if (which < 0)
    return 0;
  lua_pushinteger(L, which + 1);
  return 1;
}

static int child_kill(lua_State *L) {
  static const struct {
    const char *name;
    int number;
  } signals[] = {{"term", SIGTERM}, {"kill", SIGKILL}, {"int", SIGINT},  {"hup", SIGHUP},
                 {"stop", SIGSTOP}, {"cont", SIGCONT}, {"usr1", SIGUSR1}};
  ml_child *child = check_child(L, 1);
  const char *word = "term";
  if (!lua_isnoneornil(L, 2)) {
    if (lua_type(L, 2) != LUA_TSTRING)
      return mll_type_error(L, 2, "string");
    word = lua_tostring(L, 2);
  }
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    if (strcmp(word, signals[i].name) != 0)
      continue;
    ml_error err;
    return ml_child_kill(child, signals[i].number, &err) ? mll_raise(L, &err) : 0;
  }
  return mll_arg_error(L, 2,
                       "signal is \"%.30s\", wanted \"term\", \"kill\", \"int\", \"hup\", "
                       "\"stop\", \"cont\", \"usr1\"",
                       word);
}

static int child_read(lua_State *L) {
  char data[4096];
  ml_child *child = check_child(L, 1);
  double timeout = lua_isnoneornil(L, 2) ? -1 : mll_check_number(L, 2);
  if (!lua_isnoneornil(L, 2) && !(timeout >= 0))
    return mll_arg_error(L, 2, "timeout is %g, wanted >= 0", timeout);
  int stream;
  size_t n;
  ml_error err;
  if (ml_child_read(child, data, sizeof data, timeout, &stream, &n, &err))
    return mll_raise(L, &err);
  if (stream == 0)
    return 0;
  if (stream < 0)
    lua_pushboolean(L, 0);
  else
    lua_pushlstring(L, data, n);
  lua_pushstring(L, stream == 1 ? "stdout" : stream == 2 ? "stderr" : "timeout");
  return 2;
}

static int child_write(lua_State *L) {
  ml_child *child = check_child(L, 1);
  size_t n;
  if (lua_type(L, 2) != LUA_TSTRING)
    return mll_type_error(L, 2, "string");
  const char *text = lua_tolstring(L, 2, &n);
  double timeout = lua_isnoneornil(L, 3) ? -1 : mll_check_number(L, 3);
  if (!lua_isnoneornil(L, 3) && !(timeout >= 0))
    return mll_arg_error(L, 3, "timeout is %g, wanted >= 0", timeout);
  ml_error err;
  size_t left;
  if (ml_child_write(child, text, n, timeout, &left, &err))
    return mll_raise(L, &err);
  lua_pushboolean(L, left == 0);
  return 1;
}

static int child_close_stdin(lua_State *L) {
  ml_child_close_stdin(check_child(L, 1));
  return 0;
}

static const mll_fn methods[] = {
    {"pid", child_pid, "child:pid()\nIts process id.\n@return integer"},
    {"wait", child_wait,
     "child:wait(timeout)\nWaits for its end; 0 only looks.\n@param timeout number =nil seconds; "
     "absent: for ever\n@return string, integer \"exit\" and its status, or \"signal\" and the "
     "signal; nothing after the timeout"},
    {"kill", child_kill,
     "child:kill(signal)\nSends it a signal, or its whole group when it leads one.\n@param signal "
     "string =\"term\" or \"kill\", \"int\", \"hup\", \"stop\", \"cont\", \"usr1\""},
    {"read", child_read,
     "child:read(timeout)\nWhat comes next through its pipes.\n@param timeout number =nil seconds; "
     "absent: for ever\n@return string, string some bytes and \"stdout\" or \"stderr\"; false and "
     "\"timeout\"; nothing when both have ended"},
    {"write", child_write,
     "child:write(text, timeout)\nWrites to its stdin, a pipe.\n@param text string\n@param timeout "
     "number =nil seconds; absent: for ever\n@return boolean whether all of it was written in "
     "time"},
    {"close_stdin", child_close_stdin, "child:close_stdin()\nEnds its stdin, a pipe."},
    {"close", child_close,
     "child:close()\nCloses the pipes and forgets the child, which goes on if it still runs."},
    {NULL, NULL, NULL}};
static const mll_fn meta[] = {
    {"__gc", child_close, NULL}, {"__close", child_close, NULL}, {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"spawn", l_spawn,
     "system.spawn{ program, arguments..., options }\nStarts a child process. It gets the standard "
     "streams and nothing else that is open here.\n"
     "@param words strings the program, looked for in PATH unless its name has a slash, and its "
     "arguments\n"
     "@param opts.env table name -> value; false removes the name\n"
     "@param opts.dir string =here where it starts\n"
     "@param opts.stdin string =\"null\" or \"inherit\", \"pipe\", \"<path\"\n"
     "@param opts.stdout string =\"inherit\" or \"null\", \"pipe\", \">path\", \">>path\" to "
     "append\n"
     "@param opts.stderr string =\"inherit\" or as stdout, or \"stdout\": where stdout goes\n"
     "@param opts.group boolean =false it leads a process group of its own, which the terminal's "
     "Ctrl-C does not reach\n"
     "@return child with the methods pid, wait, kill, read, write, close_stdin, close; or nil and "
     "a message when there is no such program"},
    {"wait_any", l_wait_any,
     "system.wait_any(children, timeout)\nWaits until one of them has ended; with an empty list it "
     "sleeps.\n@param children "
     "table list\n@param timeout number =nil seconds; absent: for ever\n@return integer position "
     "of one that has ended, or nil"},
    {NULL, NULL, NULL}};

void mll_open_child(lua_State *L) {
  mll_class(L, CHILD, methods, meta);
  lua_pop(L, 1);
  mll_register(L, functions);
}
