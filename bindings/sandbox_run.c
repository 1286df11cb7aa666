/* One generated program: a Lua state of its own with little in it, counted memory and counted
 * instructions. What goes beyond a limit leaves by a jump, past every pcall of the program; the
 * state is then dropped, block by block, and never run again. */
#include "sandbox.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <lua.h>

#include <lauxlib.h>
#include <lualib.h>

enum {
  HOOK_EVERY = 100,   /* instructions */
  REFUSALS_MOST = 64, /* of memory: each costs a whole collection */
  DEPTH_MOST = 16,    /* of tables in values */
  MESSAGE_MOST = 300
};

typedef struct block {
  struct block *before, *after;
} block;

/* The job in hand: one at a time, one thread. */
static struct {
  jmp_buf out;
  int verdict;  /* why it jumped */
  block blocks; /* ring of what the state holds */
  uint64_t memory, used, peak;
  int refusals;
  uint64_t instructions, left; /* of a call */
  uint64_t spent;              /* by the calls before */
  sandbox_buffer output, results;
  sandbox_reader *calls;
  const char *source;
  size_t source_bytes;
  uint32_t done; /* calls */
  int status;    /* the first verdict that is not ok */
  char message[MESSAGE_MOST];
  size_t message_bytes;
} job;

static void leave(int verdict) {
  job.verdict = verdict;
  longjmp(job.out, 1);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void unlink_block(block *b) {
  b->before->after = b->after;
  b->after->before = b->before;
}

static void link_block(block *b) {
  b->after = job.blocks.after;
  b->before = &job.blocks;
  b->after->before = b;
  job.blocks.after = b;
}

static void *allocate(void *nothing, void *old, size_t old_bytes, size_t bytes) {
  (void)nothing;
  block *b = old ? (block *)old - 1 : NULL;
  if (!old)
    old_bytes = 0; /* Lua says there what kind of object it is */
  if (bytes == 0) {
    if (b) {
      unlink_block(b);
      free(b);
      job.used -= old_bytes;
    }
    return NULL;
  }
  if (bytes > old_bytes && (bytes > job.memory || job.used - old_bytes > job.memory - bytes)) {
    if (++job.refusals > REFUSALS_MOST)
      leave(SANDBOX_MEMORY);
    return NULL;
  }
  if (b)
    unlink_block(b);
  block *moved = realloc(b, sizeof(block) + bytes);
  if (!moved) {
    if (b)
      link_block(b);
    return bytes <= old_bytes ? old : NULL;
  }
  link_block(moved);
  job.used = job.used - old_bytes + bytes;
  if (job.used > job.peak)
    job.peak = job.used;
  return moved + 1;
}

static void drop_state(void) {
  while (job.blocks.after != &job.blocks) {
    block *b = job.blocks.after;
    unlink_block(b);
    free(b);
  }
  job.used = 0;
}

/* ---- instructions ---------------------------------------------------------------------------- */

static void count(lua_State *L, lua_Debug *where) {
  (void)L;
  (void)where;
  if (job.left <= HOOK_EVERY)
    leave(SANDBOX_INSTRUCTIONS);
  job.left -= HOOK_EVERY;
}

/* ---- what a program finds -------------------------------------------------------------------- */

/* tostring without addresses, which differ from run to run. */
static int l_tostring(lua_State *L) {
  luaL_checkany(L, 1);
  switch (lua_type(L, 1)) {
  case LUA_TNIL:
  case LUA_TBOOLEAN:
  case LUA_TNUMBER:
  case LUA_TSTRING:
    (void)luaL_tolstring(L, 1, NULL);
    break;
  default:
    lua_pushstring(L, luaL_typename(L, 1));
  }
  return 1;
}

static int l_print(lua_State *L) {
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    lua_pushcfunction(L, l_tostring);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    size_t bytes;
    const char *text = lua_tolstring(L, -1, &bytes);
    if (i > 1)
      sandbox_put(&job.output, "\t", 1);
    sandbox_put(&job.output, text, bytes);
    lua_pop(L, 1);
  }
  sandbox_put(&job.output, "\n", 1);
  if (job.output.over)
    leave(SANDBOX_OUTPUT);
  return 0;
}

static const char *const globals[] = {"assert", "error",    "ipairs", "next",     "pairs",
                                      "pcall",  "rawequal", "rawget", "rawlen",   "rawset",
                                      "select", "tonumber", "type",   "_VERSION", NULL};

static void remove_field(lua_State *L, const char *name) {
  lua_pushnil(L);
  lua_setfield(L, -2, name);
}

/* Leaves the environment of programs on the stack, which is also where lua_load takes _ENV. */
static void open_environment(lua_State *L) {
  lua_pushcfunction(L, luaopen_base);
  lua_call(L, 0, 1); /* the globals */
  lua_newtable(L);
  for (int i = 0; globals[i]; i++) {
    lua_getfield(L, -2, globals[i]);
    lua_setfield(L, -2, globals[i]);
  }
  lua_remove(L, -2);
  lua_pushcfunction(L, l_tostring);
  lua_setfield(L, -2, "tostring");
  lua_pushcfunction(L, l_print);
  lua_setfield(L, -2, "print");
  lua_pushcfunction(L, luaopen_string);
  lua_call(L, 0, 1);
  remove_field(L, "dump");
  lua_setfield(L, -2, "string");
  lua_pushcfunction(L, luaopen_table);
  lua_call(L, 0, 1);
  lua_setfield(L, -2, "table");
  lua_pushcfunction(L, luaopen_math);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "randomseed"); /* the same numbers in every run */
  lua_pushinteger(L, 1);
  lua_call(L, 1, 0);
  remove_field(L, "randomseed");
  lua_setfield(L, -2, "math");
  lua_pushcfunction(L, luaopen_utf8);
  lua_call(L, 0, 1);
  lua_setfield(L, -2, "utf8");
  lua_pushvalue(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void push_value(lua_State *L, sandbox_reader *r, int depth) {
  size_t n;
  luaL_checkstack(L, 4, "values");
  switch (sandbox_u8(r)) {
  case 't':
    lua_pushboolean(L, 1);
    return;
  case 'f':
    lua_pushboolean(L, 0);
    return;
  case 'i':
    lua_pushinteger(L, (lua_Integer)sandbox_u64(r));
    return;
  case 'd': {
    uint64_t bits = sandbox_u64(r);
    double number;
    memcpy(&number, &bits, sizeof number);
    lua_pushnumber(L, number);
    return;
  }
  case 's': {
    const char *text = sandbox_text(r, &n);
    lua_pushlstring(L, text, n);
    return;
  }
  case 'T':
    n = sandbox_u32(r);
    lua_newtable(L);
    for (size_t i = 0; i < n && !r->bad && depth < DEPTH_MOST; i++) {
      push_value(L, r, depth + 1);
      push_value(L, r, depth + 1);
      lua_rawset(L, -3);
    }
    return;
  default:
    lua_pushnil(L);
  }
}

/* No metamethod is asked: a value travels as it is. */
static void put_value(lua_State *L, int i, sandbox_buffer *b, int depth) {
  int type = lua_type(L, i);
  if (b->over)
    return;
  if (type == LUA_TNIL) {
    sandbox_put_byte(b, 'n');
  } else if (type == LUA_TBOOLEAN) {
    sandbox_put_byte(b, lua_toboolean(L, i) ? 't' : 'f');
  } else if (type == LUA_TNUMBER && lua_isinteger(L, i)) {
    sandbox_put_byte(b, 'i');
    sandbox_put_u64(b, (uint64_t)lua_tointeger(L, i));
  } else if (type == LUA_TNUMBER) {
    double number = lua_tonumber(L, i);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    sandbox_put_byte(b, 'd');
    sandbox_put_u64(b, bits);
  } else if (type == LUA_TSTRING) {
    size_t n;
    const char *text = lua_tolstring(L, i, &n);
    sandbox_put_byte(b, 's');
    sandbox_put_text(b, text, n);
  } else if (type == LUA_TTABLE && depth < DEPTH_MOST) {
    uint32_t pairs = 0;
    sandbox_put_byte(b, 'T');
    size_t at = b->n;
    sandbox_put_u32(b, 0);
    if (b->over)
      return;
    luaL_checkstack(L, 4, "values");
    lua_pushnil(L);
    while (lua_next(L, i)) {
      int top = lua_gettop(L);
      put_value(L, top - 1, b, depth + 1);
      put_value(L, top, b, depth + 1);
      lua_pop(L, 1);
      pairs++;
      if (b->over) {
        lua_pop(L, 1);
        return;
      }
    }
    for (int k = 0; k < 4; k++)
      b->data[at + (size_t)k] = (unsigned char)(pairs >> (8 * k));
  } else {
    const char *name = type == LUA_TTABLE ? "deep table" : lua_typename(L, type);
    sandbox_put_byte(b, 'o');
    sandbox_put_text(b, name, strlen(name));
  }
}

/* ---- the job --------------------------------------------------------------------------------- */

/* The error object on top, without asking it anything. */
static const char *error_text(lua_State *L, size_t *n, char *room, size_t bytes) {
  const char *text;
  if (lua_type(L, -1) == LUA_TSTRING) {
    text = lua_tolstring(L, -1, n);
  } else if (lua_isinteger(L, -1)) {
    *n = (size_t)lua_integer2str(room, bytes, lua_tointeger(L, -1));
    text = room;
  } else {
    const char *name = luaL_typename(L, -1);
    *n = strlen(name);
    text = name;
  }
  if (*n > MESSAGE_MOST)
    *n = MESSAGE_MOST;
  return text;
}

static void blame(int verdict, const char *text, size_t n) {
  if (job.status != SANDBOX_OK)
    return;
  job.status = verdict;
  job.message_bytes = n < MESSAGE_MOST ? n : MESSAGE_MOST;
  memcpy(job.message, text, job.message_bytes);
}

/* Everything that may raise. */
static int protected_job(lua_State *L) {
  char room[64];
  size_t n;
  open_environment(L);
  int status = luaL_loadbufferx(L, job.source, job.source_bytes, "=program", "t");
  if (status == LUA_ERRMEM)
    return lua_error(L);
  if (status) {
    const char *text = error_text(L, &n, room, sizeof room);
    blame(SANDBOX_SYNTAX, text, n);
    return 0;
  }
  lua_sethook(L, count, LUA_MASKCOUNT, HOOK_EVERY);
  int program = lua_gettop(L);
  uint32_t calls = sandbox_u32(job.calls);
  for (uint32_t k = 0; k < calls && !job.calls->bad; k++) {
    job.left = job.instructions;
    lua_pushvalue(L, program);
    uint32_t arguments = sandbox_u32(job.calls);
    for (uint32_t i = 0; i < arguments && !job.calls->bad; i++)
      push_value(L, job.calls, 0);
    status = lua_pcall(L, lua_gettop(L) - program - 1, LUA_MULTRET, 0);
    job.spent += job.instructions - job.left;
    job.left = job.instructions; /* counted once */
    if (status == LUA_OK) {
      int last = lua_gettop(L);
      sandbox_put_byte(&job.results, SANDBOX_OK);
      sandbox_put_u32(&job.results, (uint32_t)(last - program));
      for (int i = program + 1; i <= last; i++)
        put_value(L, i, &job.results, 0);
      if (job.results.over)
        leave(SANDBOX_RESULT);
    } else {
      const char *text = error_text(L, &n, room, sizeof room);
      int verdict = status == LUA_ERRMEM ? SANDBOX_MEMORY : SANDBOX_ERROR;
      blame(verdict, text, n);
      sandbox_put_byte(&job.results, verdict);
      sandbox_put_text(&job.results, text, n);
      if (job.results.over)
        leave(SANDBOX_RESULT);
    }
    job.done++;
    lua_settop(L, program);
  }
  return 0;
}

static void run(void) {
  lua_State *L = lua_newstate(allocate, NULL);
  if (!L)
    leave(SANDBOX_MEMORY);
  lua_pushcfunction(L, protected_job);
  int status = lua_pcall(L, 0, 0, 0);
  if (status == LUA_ERRMEM)
    leave(SANDBOX_MEMORY);
  if (status) {
    char room[64];
    size_t n;
    const char *text = error_text(L, &n, room, sizeof room);
    blame(SANDBOX_ERROR, text, n);
  }
}

static const char *reason(int verdict) {
  switch (verdict) {
  case SANDBOX_INSTRUCTIONS:
    return "it ran beyond its instructions";
  case SANDBOX_MEMORY:
    return "it asked for more memory than it may have";
  case SANDBOX_OUTPUT:
    return "it printed more than it may";
  default:
    return "its result is larger than it may be";
  }
}

void sandbox_job(sandbox_reader *r, sandbox_buffer *answer) {
  unsigned char *output = job.output.data, *results = job.results.data;
  size_t output_room = job.output.room, results_room = job.results.room;
  memset(&job, 0, sizeof job);
  job.output = (sandbox_buffer){.data = output, .room = output_room};
  job.results = (sandbox_buffer){.data = results, .room = results_room};
  job.blocks.before = job.blocks.after = &job.blocks;
  job.status = SANDBOX_OK;
  job.memory = sandbox_u64(r);
  job.instructions = job.left = sandbox_u64(r);
  job.output.limit = sandbox_u32(r);
  job.results.limit = sandbox_u32(r);
  job.source = sandbox_text(r, &job.source_bytes);
  job.calls = r;

  if (setjmp(job.out) == 0) {
    run();
  } else {
    uint64_t spent = job.instructions - job.left;
    job.spent += spent;
    job.status = SANDBOX_OK; /* this is what ended it */
    if (job.results.over)    /* its calls are not whole */
      job.done = 0, job.results.n = 0;
    const char *text = reason(job.verdict);
    blame(job.verdict, text, strlen(text));
  }
  uint64_t peak = job.peak;
  drop_state();

  sandbox_put_byte(answer, job.status);
  sandbox_put_u64(answer, job.spent);
  sandbox_put_u64(answer, peak);
  sandbox_put_text(answer, job.message, job.message_bytes);
  sandbox_put_text(answer, (const char *)job.output.data, job.output.n);
  sandbox_put_u32(answer, job.done);
  sandbox_put(answer, job.results.data, job.results.n);
}
