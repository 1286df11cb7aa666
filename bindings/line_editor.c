/* GNU readline's callback interface, which libedit has too: a press of Ctrl-C is seen between two
 * keys, and completion is a Lua function. */
#include "line_editor.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "host_interrupt.h"

typedef void line_handler(char *line);
typedef char **completion(const char *text, int start, int end);

static struct {
  void *library;
  const char *name;
  void (*install)(const char *prompt, line_handler *handler);
  void (*remove)(void);
  void (*read_char)(void);
  void (*add_history)(const char *line);
  void (*cleanup)(void); /* these may be missing */
  void (*free_line_state)(void);
  char **line, **word_break;
  int *point, *catch_signals, *append, *attempted_over, *suppress_quote;
  completion **attempted;
} editor;

static lua_State *state; /* whose function completes; the completer is in the registry */
static const char completer_key = 0;
static char *got;
static bool done;

/* What ends a word: '.' and ':' do not, nor '/', which is in the names of files. */
static const char breaks[] = " \t\n\"'`@$><=;|&{(,+*%^#~[])}";

static void *symbol(const char *name) { return dlsym(editor.library, name); }

#define TAKE(field, name)                                                                          \
  do {                                                                                             \
    void *taken = symbol(name);                                                                    \
    memcpy(&editor.field, &taken, sizeof taken);                                                   \
  } while (0)

static bool take_symbols(void) {
  TAKE(install, "rl_callback_handler_install");
  TAKE(remove, "rl_callback_handler_remove");
  TAKE(read_char, "rl_callback_read_char");
  TAKE(add_history, "add_history");
  TAKE(cleanup, "rl_callback_sigcleanup");
  TAKE(free_line_state, "rl_free_line_state");
  TAKE(line, "rl_line_buffer");
  TAKE(word_break, "rl_completer_word_break_characters");
  TAKE(point, "rl_point");
  TAKE(catch_signals, "rl_catch_signals");
  TAKE(append, "rl_completion_append_character");
  TAKE(attempted_over, "rl_attempted_completion_over");
  TAKE(suppress_quote, "rl_completion_suppress_quote");
  TAKE(attempted, "rl_attempted_completion_function");
  return editor.install && editor.remove && editor.read_char && editor.add_history && editor.line &&
         editor.point;
}

static bool take(const char *file, const char *name) {
  editor.library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!editor.library)
    return false;
  if (take_symbols()) {
    editor.name = name;
    return true;
  }
  dlclose(editor.library);
  memset(&editor, 0, sizeof editor);
  return false;
}

/* ---- completion -------------------------------------------------------------------------------
 */

static char *copy_of(const char *text, size_t n) {
  char *copy = malloc(n + 1);
  if (copy) {
    memcpy(copy, text, n);
    copy[n] = '\0';
  }
  return copy;
}

/* Calls the completer with the line up to the cursor; its list of words is on top of the stack, and
 * *start the byte where they begin. */
static bool ask(const char *line, int end, int *start) {
  if (lua_rawgetp(state, LUA_REGISTRYINDEX, &completer_key) != LUA_TFUNCTION)
    return false;
  lua_pushlstring(state, line, (size_t)end);
  if (lua_pcall(state, 1, 2, 0) != LUA_OK || !lua_istable(state, -2) || !lua_isinteger(state, -1))
    return false;
  *start = (int)lua_tointeger(state, -1) - 1;
  lua_pop(state, 1);
  return *start >= 0 && *start <= end;
}

/* A word as readline wants it: it replaces the line from `from`, the word stands at `start`. */
static char *word_from(const char *line, int from, int start, const char *word, size_t n) {
  if (start < from) {
    size_t skip = (size_t)(from - start);
    return skip <= n ? copy_of(word + skip, n - skip) : NULL;
  }
  size_t before = (size_t)(start - from);
  char *copy = malloc(before + n + 1);
  if (copy) {
    memcpy(copy, line + from, before);
    memcpy(copy + before, word, n);
    copy[before + n] = '\0';
  }
  return copy;
}

static char *common_prefix(char **words) {
  size_t n = strlen(words[0]);
  for (char **word = words + 1; *word; word++) {
    size_t k = 0;
    while (k < n && (*word)[k] == words[0][k])
      k++;
    n = k;
  }
  while (n > 0 && ((unsigned char)words[0][n] & 0xC0) == 0x80) /* no half characters */
    n--;
  return copy_of(words[0], n);
}

/* The list that readline frees: what all share, then each when there are several. */
static char **matches_of(const char *line, int from, int start) {
  size_t n = lua_rawlen(state, -1), used = 1;
  char **matches = n > 0 ? calloc(n + 2, sizeof *matches) : NULL;
  if (!matches)
    return NULL;
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(state, -1, (lua_Integer)i);
    size_t bytes;
    const char *word = lua_type(state, -1) == LUA_TSTRING ? lua_tolstring(state, -1, &bytes) : NULL;
    char *copy = word ? word_from(line, from, start, word, bytes) : NULL;
    if (copy)
      matches[used++] = copy;
    lua_pop(state, 1);
  }
  char *prefix = used > 1 ? common_prefix(matches + 1) : NULL;
  if (!prefix) {
    for (size_t i = 1; i < used; i++)
      free(matches[i]);
    free(matches);
    return NULL;
  }
  matches[0] = prefix;
  if (used == 2) {
    free(matches[1]);
    matches[1] = NULL;
  }
  return matches;
}

static char **complete(const char *text, int from, int end) {
  (void)text;
  int start, top = lua_gettop(state);
  char **matches = NULL;
  if (editor.attempted_over)
    *editor.attempted_over = 1; /* no names of files where ours finds nothing */
  if (editor.append)
    *editor.append = '\0';
  if (editor.suppress_quote)
    *editor.suppress_quote = 1;
  if (lua_checkstack(state, 8) && ask(*editor.line, end, &start))
    matches = matches_of(*editor.line, from, start);
  lua_settop(state, top);
  return matches;
}

/* ---- the functions ----------------------------------------------------------------------------
 */

static bool load_editor(void) {
  static bool tried;
  if (tried)
    return editor.library != NULL;
  tried = true;
  const char *wanted = getenv("MOONLAB_EDITOR");
  bool any = !wanted || !*wanted;
  if ((any || strcmp(wanted, "readline") == 0) &&
      (take("libreadline.so.8", "GNU readline") || take("libreadline.so.7", "GNU readline")))
    return true;
  return (any || strcmp(wanted, "libedit") == 0) &&
         (take("libedit.so.2", "libedit") || take("libedit.so.0", "libedit"));
}

/* editor(complete): the name of the library that edits lines, nil where none is there.
 * complete(line) returns a list of words and the byte of the line where they begin. */
static int l_editor(lua_State *L) {
  if (!load_editor())
    return 0;
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &completer_key);
  if (editor.attempted)
    *editor.attempted = complete;
  if (editor.word_break)
    memcpy(editor.word_break, &(const char *){breaks}, sizeof(char *));
  if (editor.catch_signals)
    *editor.catch_signals = 0;
  lua_pushstring(L, editor.name);
  return 1;
}

static void on_line(char *line) {
  got = line;
  done = true;
  editor.remove();
}

/* Waits for a key with SIGINT let through, and only then; false when one came. */
static bool wait_for_key(const sigset_t *outside) {
  struct pollfd input = {STDIN_FILENO, POLLIN, 0};
  return ppoll(&input, 1, NULL, outside) >= 0 || errno != EINTR;
}

static void leave_line(void) {
  if (editor.free_line_state)
    editor.free_line_state();
  if (editor.cleanup)
    editor.cleanup();
  editor.remove();
}

/* edit(prompt): a line without its end, or nil at the end of input. Ctrl-C raises "interrupted". */
static int l_edit(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  if (!editor.library)
    return luaL_error(L, "no library to edit lines with");
  sigset_t block, outside;
  sigemptyset(&block);
  sigaddset(&block, SIGINT);
  sigprocmask(SIG_BLOCK, &block, &outside);
  state = L;
  got = NULL;
  done = false;
  editor.install(prompt, on_line);
  while (!done) {
    if (wait_for_key(&outside)) {
      editor.read_char();
    } else if (host_interrupt_pending()) {
      leave_line();
      break;
    }
  }
  sigprocmask(SIG_SETMASK, &outside, NULL);
  host_interrupt_check(L);
  if (!got)
    return 0;
  lua_pushstring(L, got);
  free(got);
  return 1;
}

/* remember(line): what the arrow keys bring back. */
static int l_remember(lua_State *L) {
  const char *line = luaL_checkstring(L, 1);
  if (editor.add_history)
    editor.add_history(line);
  return 0;
}

void line_editor_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"editor", l_editor}, {"edit", l_edit}, {"remember", l_remember}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
