/* ml.system.sqlite: a database, prepared statements, rows as tables. */
#include "system.h"

#include <stdio.h>
#include <string.h>

#define DB "ml.system.db"
#define STMT "ml.system.stmt"

static ml_db *check_db(lua_State *L) {
  ml_db **box = mll_check_object(L, 1, DB);
  if (!*box)
    mll_arg_error(L, 1, "the database was closed");
  return *box;
}

static ml_stmt *check_stmt(lua_State *L) {
  ml_stmt **box = mll_check_object(L, 1, STMT);
  if (!*box)
    mll_arg_error(L, 1, "the statement was closed");
  return *box;
}

static int db_close(lua_State *L) {
  ml_db **box = mll_check_object(L, 1, DB);
  ml_db *db = *box;
  *box = NULL;
  ml_db_close(db);
  return 0;
}

static int stmt_close(lua_State *L) {
  ml_stmt **box = mll_check_object(L, 1, STMT);
  ml_stmt *stmt = *box;
  *box = NULL;
  ml_stmt_free(stmt);
  return 0;
}

static int l_sqlite(lua_State *L) {
  static const char *const names[] = {"read_only", "wait", NULL};
  const char *path = mll_check_path(L, 1);
  mll_check_opts(L, 2, names);
  bool read_only = mll_opt_boolean(L, 2, "read_only", false);
  double wait = mll_opt_number(L, 2, "wait", 30);
  ml_db **box = lua_newuserdatauv(L, sizeof(ml_db *), 0);
  *box = NULL;
  luaL_setmetatable(L, DB);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_db_open(box, path, read_only, wait, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int db_exec(lua_State *L) {
  ml_db *db = check_db(L);
  const char *sql = mll_check_path(L, 2);
  ml_error err;
  if (ml_db_exec(db, sql, &err))
    return mll_raise(L, &err);
  lua_settop(L, 1);
  return 1;
}

static int db_prepare(lua_State *L) {
  check_db(L);
  const char *sql = mll_check_path(L, 2);
  ml_stmt **box = lua_newuserdatauv(L, sizeof(ml_stmt *), 1);
  *box = NULL;
  luaL_setmetatable(L, STMT);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1); /* the database lives as long as its statements */
  ml_error err;
  ml_status status;
  ml_db *db = check_db(L);
  MLL_RUN(L, status, ml_stmt_prepare(box, db, sql, &err));
  return status ? mll_raise(L, &err) : 1;
}

/* Binds the arguments from 2 on. */
static void bind_arguments(lua_State *L, ml_stmt *stmt) {
  int n = lua_gettop(L) - 1, wanted = ml_stmt_parameters(stmt);
  if (n > wanted)
    mll_arg_error(L, wanted + 2, "%d values for the %d parameters of the statement", n, wanted);
  ml_stmt_reset(stmt);
  for (int i = 1; i <= n; i++) {
    ml_value value = {.type = ML_NULL};
    switch (lua_type(L, i + 1)) {
    case LUA_TNIL:
      break;
    case LUA_TBOOLEAN:
      value.type = ML_INTEGER;
      value.integer = lua_toboolean(L, i + 1);
      break;
    case LUA_TNUMBER:
      if (lua_isinteger(L, i + 1)) {
        value.type = ML_INTEGER;
        value.integer = lua_tointeger(L, i + 1);
      } else {
        value.type = ML_REAL;
        value.real = lua_tonumber(L, i + 1);
      }
      break;
    case LUA_TSTRING:
      value.type = ML_TEXT;
      value.text = lua_tolstring(L, i + 1, &value.bytes);
      break;
    default:
      mll_type_error(L, i + 1, "number, string, boolean or nil");
    }
    ml_error err;
    if (ml_stmt_bind(stmt, i, &value, &err))
      mll_raise(L, &err);
  }
}

static int stmt_run(lua_State *L) {
  ml_stmt *stmt = check_stmt(L);
  bind_arguments(L, stmt);
  ml_error err;
  bool row = true;
  ml_status status = ML_OK;
  while (row && !status)
    status = ml_stmt_step(stmt, &row, &err);
  int64_t changes = ml_stmt_changes(stmt);
  ml_stmt_reset(stmt);
  if (status)
    return mll_raise(L, &err);
  lua_pushinteger(L, changes);
  return 1;
}

/* The rows as a list, so that no statement is left half-way by a loop that ends early. Pushes it.
 * Raises. */
static int collect_rows(lua_State *L) {
  ml_stmt *stmt = check_stmt(L);
  bind_arguments(L, stmt);
  lua_newtable(L);
  int list = lua_gettop(L), columns = ml_stmt_columns(stmt);
  for (lua_Integer n = 1;; n++) {
    bool row;
    ml_error err;
    if (ml_stmt_step(stmt, &row, &err))
      return mll_raise(L, &err);
    if (!row)
      return 1;
    lua_createtable(L, 0, columns);
    for (int i = 0; i < columns; i++) {
      ml_value value;
      ml_stmt_column(stmt, i, &value);
      switch (value.type) {
      case ML_NULL:
        continue;
      case ML_INTEGER:
        lua_pushinteger(L, value.integer);
        break;
      case ML_REAL:
        lua_pushnumber(L, value.real);
        break;
      case ML_TEXT:
        lua_pushlstring(L, value.text, value.bytes);
        break;
      }
      lua_setfield(L, -2, ml_stmt_column_name(stmt, i));
    }
    lua_rawseti(L, list, n);
  }
}

static int stmt_rows(lua_State *L) {
  check_stmt(L);
  int n = lua_gettop(L);
  lua_pushcfunction(L, collect_rows);
  lua_insert(L, 1);
  lua_pushvalue(L, 2); /* the statement stays while its rows are collected */
  lua_insert(L, 1);
  int status = lua_pcall(L, n, 1, 0);
  ml_stmt **box = lua_touserdata(L, 1);
  if (*box)
    ml_stmt_reset(*box); /* whatever happened, its transaction ends */
  if (status != LUA_OK)
    return lua_error(L);
  return 1;
}

static const mll_fn db_methods[] = {
    {"exec", db_exec,
     "db:exec(sql)\nRuns any number of statements without parameters.\n@param sql string\n@return "
     "db"},
    {"prepare", db_prepare,
     "db:prepare(sql)\nOne statement with ? where values go.\n@param sql string\n@return statement "
     "with the methods run, rows, close"},
    {"close", db_close, "db:close()\nCloses the database; again does nothing."},
    {NULL, NULL, NULL}};
static const mll_fn db_meta[] = {
    {"__gc", db_close, NULL}, {"__close", db_close, NULL}, {NULL, NULL, NULL}};
static const mll_fn stmt_methods[] = {
    {"run", stmt_run,
     "statement:run(...)\nRuns it with these values.\n@param ... any numbers (NaN and infinity "
     "too), strings, booleans (1 and 0), nil\n@return integer rows changed"},
    {"rows", stmt_rows,
     "statement:rows(...)\nRuns it with these values.\n@param ... any\n@return table list of rows, "
     "each column name -> value; NULL is absent"},
    {"close", stmt_close, "statement:close()\nFrees the statement; again does nothing."},
    {NULL, NULL, NULL}};
static const mll_fn stmt_meta[] = {
    {"__gc", stmt_close, NULL}, {"__close", stmt_close, NULL}, {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"sqlite", l_sqlite,
     "system.sqlite(path, opts)\nOpens or makes an SQLite database.\n@param path string\n@param "
     "opts.read_only boolean =false\n@param opts.wait number =30 seconds to wait for a lock of "
     "another process\n@return db with the methods exec, prepare, close\nRaises when the file is "
     "damaged (\"the database is damaged\") or stays locked (\"locked\").\n@source "
     "SQLite 3"},
    {NULL, NULL, NULL}};

void mll_open_sqlite(lua_State *L) {
  mll_class(L, DB, db_methods, db_meta);
  lua_pop(L, 1);
  mll_class(L, STMT, stmt_methods, stmt_meta);
  lua_pop(L, 1);
  mll_register(L, functions);
}
