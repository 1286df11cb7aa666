/* ml.system.http: the server behind `moonlab serve`; and the chart library that is built in. */
#include "system.h"

#define HTTP "ml.system.http"

static ml_http *check_http(lua_State *L) {
  ml_http **box = mll_check_object(L, 1, HTTP);
  if (!*box)
    mll_arg_error(L, 1, "the server was closed");
  return *box;
}

static int http_close(lua_State *L) {
  ml_http **box = mll_check_object(L, 1, HTTP);
  ml_http *server = *box;
  *box = NULL;
  ml_http_close(server);
  return 0;
}

static int l_http(lua_State *L) {
  static const char *const names[] = {"port", NULL};
  mll_check_opts(L, 1, names);
  lua_Integer port = mll_opt_integer(L, 1, "port", 0);
  if (port < 0 || port > 65535)
    return mll_opt_error(L, 1, "port", "is %lld, wanted 0..65535", (long long)port);
  ml_http **box = lua_newuserdatauv(L, sizeof(ml_http *), 0);
  *box = NULL;
  luaL_setmetatable(L, HTTP);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_http_open(box, (int)port, &err));
  if (status == ML_EIO || status == ML_ESTATE) { /* a port that is taken is an outcome */
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    return 2;
  }
  return status ? mll_raise(L, &err) : 1;
}

static int http_port(lua_State *L) {
  lua_pushinteger(L, ml_http_port(check_http(L)));
  return 1;
}

static int http_next(lua_State *L) {
  ml_http *server = check_http(L);
  double timeout = mll_check_number(L, 2);
  if (!(timeout >= 0))
    return mll_arg_error(L, 2, "timeout is %g, wanted >= 0", timeout);
  const char *target;
  ml_error err;
  if (ml_http_next(server, timeout, &target, &err))
    return mll_raise(L, &err);
  lua_pushstring(L, target); /* nil for NULL */
  return 1;
}

/* Name, value, ..., NULL of the table at arg. Pushes two values: the first keeps the strings. */
static const char *const *push_headers(lua_State *L, int arg) {
  size_t n = 0;
  lua_newtable(L);
  int keep = lua_gettop(L);
  if (!lua_isnoneornil(L, arg)) {
    mll_check_table(L, arg);
    lua_pushnil(L);
    while (lua_next(L, arg)) {
      if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        mll_arg_error(L, arg, "wanted names with strings");
      lua_pushvalue(L, -2);
      lua_rawseti(L, keep, (lua_Integer)++n);
      lua_rawseti(L, keep, (lua_Integer)++n);
    }
  }
  const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, keep, (lua_Integer)i + 1);
    list[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

static int http_answer(lua_State *L) {
  ml_http *server = check_http(L);
  lua_Integer code = mll_check_integer(L, 2);
  if (code < 200 || code > 599)
    return mll_arg_error(L, 2, "status is %lld, wanted 200..599", (long long)code);
  size_t bytes;
  const char *body = mll_check_string(L, 3, &bytes);
  lua_settop(L, 4);
  const char *const *headers = push_headers(L, 4);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_http_answer(server, (int)code, body, bytes, headers, &err));
  return status ? mll_raise(L, &err) : 0;
}

static int l_chart_library(lua_State *L) {
  size_t bytes;
  const char *text = ml_chart_library(&bytes);
  if (!text) {
    lua_pushnil(L);
    lua_pushliteral(L, "this build has no chart library: install libjs-dygraphs (apt-get install "
                       "libjs-dygraphs) and build again");
    return 2;
  }
  lua_pushlstring(L, text, bytes);
  return 1;
}

static const mll_fn http_methods[] = {
    {"port", http_port, "http:port()\nThe port it listens on.\n@return integer"},
    {"next", http_next,
     "http:next(timeout)\nThe next request's path and query as they were sent; it is to be "
     "answered before the next.\n@param timeout number seconds\n@return string, or nil when none "
     "came"},
    {"answer", http_answer,
     "http:answer(status, body, headers)\nAnswers the request in hand.\n@param status integer "
     "200..599\n@param body string\n@param headers table =nil name -> string"},
    {"close", http_close, "http:close()\nCloses the server; again does nothing."},
    {NULL, NULL, NULL}};
static const mll_fn http_meta[] = {
    {"__gc", http_close, NULL}, {"__close", http_close, NULL}, {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"http", l_http,
     "system.http(opts)\nAn HTTP server for the browser of this machine: listens on 127.0.0.1, "
     "answers GET with its own\nname in the Host header, refuses all else by itself.\n@param "
     "opts.port integer =0 0: any that is free\n@return http with the methods port, next, answer, "
     "close; or nil and a message when the port is taken or libmicrohttpd is missing"},
    {"chart_library", l_chart_library,
     "system.chart_library()\nThe JavaScript that draws curves in reports and the live page "
     "(dygraphs), built in.\n@return string, or nil and a message when the build found none"},
    {NULL, NULL, NULL}};

void mll_open_http(lua_State *L) {
  mll_class(L, HTTP, http_methods, http_meta);
  lua_pop(L, 1);
  mll_register(L, functions);
}
