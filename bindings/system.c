/* ml.system: leases, append-only logs, who this process is. Child processes are in system_child.c,
 * SQLite in system_sqlite.c. */
#include "system.h"

#include <stdio.h>
#include <string.h>

#define LEASE "ml.system.lease"
#define LOG "ml.system.log"

/* ---- leases ---------------------------------------------------------------------------------- */

static ml_lease **check_lease(lua_State *L) {
  ml_lease **box = mll_check_object(L, 1, LEASE);
  if (!*box)
    mll_arg_error(L, 1, "the lease was released");
  return box;
}

static int lease_release(lua_State *L) {
  ml_lease **box = mll_check_object(L, 1, LEASE);
  ml_lease *lease = *box;
  *box = NULL;
  ml_lease_release(lease);
  return 0;
}

static int lease_held(lua_State *L) {
  lua_pushboolean(L, ml_lease_held(*check_lease(L)));
  return 1;
}

static void push_holder(lua_State *L, const ml_lease_info *info) {
  lua_createtable(L, 0, 6);
  lua_pushstring(L, info->owner.host);
  lua_setfield(L, -2, "host");
  lua_pushinteger(L, info->owner.pid);
  lua_setfield(L, -2, "pid");
  lua_pushnumber(L, info->age);
  lua_setfield(L, -2, "age");
  lua_pushboolean(L, info->released);
  lua_setfield(L, -2, "released");
  lua_pushboolean(L, info->live);
  lua_setfield(L, -2, "live");
  lua_pushinteger(L, info->generation);
  lua_setfield(L, -2, "generation");
}

static const char *const lease_opts[] = {"timeout", "interval", NULL};

static int l_lease(lua_State *L) {
  const char *dir = mll_check_path(L, 1);
  mll_check_opts(L, 2, lease_opts);
  double timeout = mll_opt_number(L, 2, "timeout", ML_LEASE_TIMEOUT);
  double interval = mll_opt_number(
      L, 2, "interval", timeout / 4 < ML_LEASE_INTERVAL ? timeout / 4 : ML_LEASE_INTERVAL);
  ml_lease **box = lua_newuserdatauv(L, sizeof(ml_lease *), 0);
  *box = NULL;
  luaL_setmetatable(L, LEASE);
  ml_lease_info holder;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_lease_claim(box, dir, timeout, interval, &holder, &err));
  if (status == ML_ESTATE) { /* expected: somebody else works there */
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    push_holder(L, &holder);
    return 3;
  }
  return status ? mll_raise(L, &err) : 1;
}

static int l_lease_holder(lua_State *L) {
  const char *dir = mll_check_path(L, 1);
  mll_check_opts(L, 2, lease_opts);
  double timeout = mll_opt_number(L, 2, "timeout", ML_LEASE_TIMEOUT);
  ml_lease_info info;
  ml_error err;
  if (ml_lease_look(&info, dir, timeout, &err))
    return mll_raise(L, &err);
  if (!info.generation)
    return 0;
  push_holder(L, &info);
  return 1;
}

/* ---- logs ------------------------------------------------------------------------------------ */

static ml_log *check_log(lua_State *L) {
  ml_log **box = mll_check_object(L, 1, LOG);
  if (!*box)
    mll_arg_error(L, 1, "the log was closed");
  return *box;
}

static int log_close(lua_State *L) {
  ml_log **box = mll_check_object(L, 1, LOG);
  ml_log *log = *box;
  *box = NULL;
  ml_log_close(log);
  return 0;
}

static int log_write(lua_State *L) {
  ml_log *log = check_log(L);
  size_t n;
  if (lua_type(L, 2) != LUA_TSTRING)
    return mll_type_error(L, 2, "string");
  const char *text = lua_tolstring(L, 2, &n);
  ml_error err;
  if (ml_log_write(log, text, n, &err)) {
    err.arg = 0;
    return mll_raise(L, &err);
  }
  lua_settop(L, 1);
  return 1;
}

static int log_sync(lua_State *L) {
  ml_error err;
  if (ml_log_sync(check_log(L), &err)) {
    err.arg = 0;
    return mll_raise(L, &err);
  }
  return 0;
}

static int l_log(lua_State *L) {
  static const char *const names[] = {"lines", NULL};
  const char *path = mll_check_path(L, 1);
  mll_check_opts(L, 2, names);
  bool lines = mll_opt_boolean(L, 2, "lines", false);
  ml_log **box = lua_newuserdatauv(L, sizeof(ml_log *), 0);
  *box = NULL;
  luaL_setmetatable(L, LOG);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_log_open(box, path, lines, &err));
  return status ? mll_raise(L, &err) : 1;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int l_stamp(lua_State *L) {
  char stamp[ML_STAMP_MAX];
  if (!ml_file_stamp(mll_check_path(L, 1), stamp))
    return 0;
  lua_pushstring(L, stamp);
  return 1;
}

static int l_make_dirs(lua_State *L) {
  ml_error err;
  return ml_make_dirs(mll_check_path(L, 1), &err) ? mll_raise(L, &err) : 0;
}

static int l_sleep(lua_State *L) {
  double seconds = mll_check_number(L, 1);
  if (!(seconds >= 0))
    return mll_arg_error(L, 1, "seconds is %g, wanted >= 0", seconds);
  ml_error err;
  return ml_sleep(seconds, &err) ? mll_raise(L, &err) : 0;
}

static int l_process(lua_State *L) {
  ml_process_id id;
  ml_process_self(&id);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, id.host);
  lua_setfield(L, -2, "host");
  lua_pushinteger(L, id.pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, id.start);
  lua_setfield(L, -2, "start");
  return 1;
}

static int l_hash(lua_State *L) {
  size_t n;
  if (lua_type(L, 1) != LUA_TSTRING)
    return mll_type_error(L, 1, "string");
  const char *text = lua_tolstring(L, 1, &n);
  char hex[33];
  (void)snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)ml_hash64(text, n, 0),
                 (unsigned long long)ml_hash64(text, n, 0x9e3779b97f4a7c15u));
  lua_pushstring(L, hex);
  return 1;
}

static const mll_fn lease_methods[] = {
    {"held", lease_held,
     "lease:held()\nWhether the lease is still ours; false after another machine thought this "
     "process dead and took it.\n@return boolean"},
    {"release", lease_release,
     "lease:release()\nGives the lease back; again does nothing. The collector does it as well."},
    {NULL, NULL, NULL}};
static const mll_fn lease_meta[] = {
    {"__gc", lease_release, NULL}, {"__close", lease_release, NULL}, {NULL, NULL, NULL}};

static const mll_fn log_methods[] = {
    {"write", log_write,
     "log:write(text)\nAppends text; it has reached the system on return. A write that fails "
     "leaves nothing behind.\n@param text string\n@return log"},
    {"sync", log_sync, "log:sync()\nWaits until all that was written is on the disk."},
    {"close", log_close, "log:close()\nCloses the file; again does nothing."},
    {NULL, NULL, NULL}};
static const mll_fn log_meta[] = {
    {"__gc", log_close, NULL}, {"__close", log_close, NULL}, {NULL, NULL, NULL}};

#define TIMEOUT                                                                                    \
  "@param opts.timeout number =60 seconds without a heartbeat after which an owner on another "    \
  "machine counts as dead\n"

static const mll_fn functions[] = {
    {"lease", l_lease,
     "system.lease(dir, opts)\nMakes this process the one writer of a folder, by exclusive "
     "creation of a lease file, kept alive by a\nheartbeat. Takes over a lease that was given "
     "back or whose owner has died, which of several takers only one can.\n"
     "@param dir string\n" TIMEOUT "@param opts.interval number =5 seconds between heartbeats\n"
     "@return lease, or nil, a message and a table { host, pid, age, released, live, generation } "
     "when another one holds it"},
    {"lease_holder", l_lease_holder,
     "system.lease_holder(dir, opts)\nWho holds or last held the lease of a folder.\n@param dir "
     "string\n" TIMEOUT "@return table { host, pid, age, released, live, generation }, or nil"},
    {"log", l_log,
     "system.log(path, opts)\nOpens a file for appending; each write goes to the system at "
     "once.\n@param path string\n@param opts.lines boolean =false cut off a last line that lacks "
     "its end\n@return log with the methods write, sync, close"},
    {"stamp", l_stamp,
     "system.stamp(path)\nA word that changes when the file does: inode, size and time in "
     "nanoseconds.\n@param path string\n@return string, or nil when there is no such file"},
    {"make_dirs", l_make_dirs,
     "system.make_dirs(path)\nMakes a folder and those above it; one that is there is "
     "fine.\n@param path string"},
    {"sleep", l_sleep, "system.sleep(seconds)\nWaits; Ctrl-C ends it.\n@param seconds number >= 0"},
    {"process", l_process,
     "system.process()\nThis process.\n@return table { host, pid, start: clock ticks after boot }"},
    {"hash", l_hash,
     "system.hash(text)\nA hash of 128 bits, the same on every machine; no secret.\n@param text "
     "string\n@return string 32 hexadecimal digits"},
    {NULL, NULL, NULL}};

void mll_open_system(lua_State *L) {
  luaL_checkstack(L, 6, NULL);
  mll_class(L, LEASE, lease_methods, lease_meta);
  lua_pop(L, 1);
  mll_class(L, LOG, log_methods, log_meta);
  lua_pop(L, 1);
  lua_newtable(L);
  mll_register(L, functions);
  mll_open_child(L);
  mll_open_sqlite(L);
  mll_open_http(L);
  lua_setfield(L, -2, "system");
}
