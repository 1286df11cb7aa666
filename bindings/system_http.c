/* ml.system.http: the server behind `moonlab serve`; ml.system.fetch: asking other machines; and
 * the chart library that is built in. */
#include "system.h"

#define HTTP "ml.system.http"
#define FETCH "ml.system.fetch"

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
  static const char *const names[] = {"port", "most_body", NULL};
  mll_check_opts(L, 1, names);
  lua_Integer port = mll_opt_integer(L, 1, "port", 0);
  if (port < 0 || port > 65535)
    return mll_opt_error(L, 1, "port", "is %lld, wanted 0..65535", (long long)port);
  lua_Integer most = mll_opt_integer(L, 1, "most_body", 0);
  if (most < 0 || most > 1 << 30)
    return mll_opt_error(L, 1, "most_body", "is %lld, wanted 0..2^30", (long long)most);
  ml_http **box = lua_newuserdatauv(L, sizeof(ml_http *), 0);
  *box = NULL;
  luaL_setmetatable(L, HTTP);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_http_open(box, (int)port, (size_t)most, &err));
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
  size_t bytes;
  const char *body = ml_http_body(server, &bytes);
  if (!body)
    return 1;
  lua_pushlstring(L, body, bytes);
  return 2;
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

/* ---- asking other machines ------------------------------------------------------------------- */

static ml_fetch *check_fetch(lua_State *L) {
  ml_fetch **box = mll_check_object(L, 1, FETCH);
  if (!*box)
    mll_arg_error(L, 1, "it was closed");
  return *box;
}

static int fetch_close(lua_State *L) {
  ml_fetch **box = mll_check_object(L, 1, FETCH);
  ml_fetch *fetch = *box;
  *box = NULL;
  ml_fetch_close(fetch);
  return 0;
}

static int l_fetch(lua_State *L) {
  ml_fetch **box = lua_newuserdatauv(L, sizeof(ml_fetch *), 0);
  *box = NULL;
  luaL_setmetatable(L, FETCH);
  ml_error err;
  ml_status status = ml_fetch_open(box, &err);
  if (status == ML_ESTATE) {
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    return 2;
  }
  return status ? mll_raise(L, &err) : 1;
}

static double seconds(lua_State *L, const char *name, double otherwise) {
  double x = mll_opt_number(L, 2, name, otherwise);
  if (!(x > 0 && x <= 1e5))
    mll_opt_error(L, 2, name, "is %g, wanted a number of seconds in (0, 1e5]", x);
  return x;
}

static int fetch_start(lua_State *L) {
  static const char *const names[] = {
      "url",        "body", "headers", "connect_seconds", "total_seconds", "idle_seconds",
      "most_bytes", "get",  NULL};
  ml_fetch *fetch = check_fetch(L);
  lua_settop(L, 2);
  mll_check_opts(L, 2, names);
  ml_fetch_request r = {.connect_seconds = seconds(L, "connect_seconds", 10),
                        .total_seconds = seconds(L, "total_seconds", 120),
                        .idle_seconds = seconds(L, "idle_seconds", 60),
                        .get = mll_opt_boolean(L, 2, "get", false)};
  lua_Integer most = mll_opt_integer(L, 2, "most_bytes", 1 << 24);
  if (most < 1 || most > 1 << 30)
    return mll_opt_error(L, 2, "most_bytes", "is %lld, wanted 1..2^30", (long long)most);
  r.most_bytes = (size_t)most;
  r.url = mll_opt_string(L, 2, "url", NULL);
  if (!r.url)
    return mll_opt_error(L, 2, "url", "is missing");
  lua_getfield(L, 2, "body");
  r.body = lua_tolstring(L, -1, &r.bytes);
  lua_getfield(L, 2, "headers");
  const char **headers = NULL;
  if (lua_istable(L, -1)) {
    const int at = lua_gettop(L);
    const lua_Unsigned n = lua_rawlen(L, at);
    headers = lua_newuserdatauv(L, (n + 1) * sizeof *headers, 0);
    luaL_checkstack(L, 8, NULL);
    for (lua_Unsigned i = 0; i < n; i++) {
      lua_rawgeti(L, at, (lua_Integer)i + 1);
      if (lua_type(L, -1) != LUA_TSTRING)
        return mll_opt_error(L, 2, "headers", "entry %d is no string", (int)i + 1);
      headers[i] = lua_tostring(L, -1); /* the table keeps it */
      lua_pop(L, 1);
    }
    headers[n] = NULL;
  }
  r.headers = headers;
  int64_t id;
  ml_error err;
  if (ml_fetch_start(fetch, &r, &id, &err))
    return mll_raise(L, &err);
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

static int fetch_next(lua_State *L) {
  ml_fetch *fetch = check_fetch(L);
  double timeout = mll_check_number(L, 2);
  if (!(timeout >= 0))
    return mll_arg_error(L, 2, "timeout is %g, wanted >= 0", timeout);
  ml_fetch_answer a;
  ml_error err;
  if (ml_fetch_next(fetch, timeout, &a, &err))
    return mll_raise(L, &err);
  if (a.id == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, (lua_Integer)a.id);
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, a.status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, a.body, a.bytes);
  lua_setfield(L, -2, "body");
  if (a.retry_after[0]) {
    lua_pushstring(L, a.retry_after);
    lua_setfield(L, -2, "retry_after");
  }
  if (a.error[0]) {
    lua_pushstring(L, a.error);
    lua_setfield(L, -2, "error");
  }
  lua_pushnumber(L, a.seconds);
  lua_setfield(L, -2, "seconds");
  return 2;
}

static int fetch_pending(lua_State *L) {
  lua_pushinteger(L, ml_fetch_pending(check_fetch(L)));
  return 1;
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
     "came\n@return string the body of a POST, nil of a GET"},
    {"answer", http_answer,
     "http:answer(status, body, headers)\nAnswers the request in hand.\n@param status integer "
     "200..599\n@param body string\n@param headers table =nil name -> string"},
    {"close", http_close, "http:close()\nCloses the server; again does nothing."},
    {NULL, NULL, NULL}};
static const mll_fn http_meta[] = {
    {"__gc", http_close, NULL}, {"__close", http_close, NULL}, {NULL, NULL, NULL}};

static const mll_fn fetch_methods[] = {
    {"start", fetch_start,
     "fetch:start(request)\nSends a request.\n@param request table as system.fetch says\n@return "
     "integer its id"},
    {"next", fetch_next,
     "fetch:next(timeout)\nWaits for an answer.\n@param timeout number seconds\n@return integer "
     "id, "
     "or nil when none came\n@return table { status (0: none), body, error (or nil), retry_after "
     "(or "
     "nil), seconds }"},
    {"pending", fetch_pending,
     "fetch:pending()\nHow many requests are on their way.\n@return integer"},
    {"close", fetch_close, "fetch:close()\nEnds all; again does nothing."},
    {NULL, NULL, NULL}};
static const mll_fn fetch_meta[] = {
    {"__gc", fetch_close, NULL}, {"__close", fetch_close, NULL}, {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"http", l_http,
     "system.http(opts)\nAn HTTP server for the browser of this machine: listens on 127.0.0.1, "
     "answers GET with its own\nname in the Host header, and POST of JSON where a size is given; "
     "refuses all else by itself.\n@param "
     "opts.port integer =0 0: any that is free\n@param opts.most_body integer =0 bytes of a POST; "
     "0: GET only\n@return http with the methods port, next, answer, "
     "close; or nil and a message when the port is taken or libmicrohttpd is missing"},
    {"fetch", l_fetch,
     "system.fetch()\nMany HTTP requests at once, over libcurl: certificates are checked, "
     "redirects "
     "are not followed.\n@return fetch with the methods start { url, body, headers (list of "
     "lines), "
     "connect_seconds, total_seconds, idle_seconds, most_bytes, get } -> id; next(timeout) -> id, "
     "{ "
     "status, body, error, retry_after, seconds }; pending; close; or nil and a message when "
     "libcurl "
     "is missing"},
    {"chart_library", l_chart_library,
     "system.chart_library()\nThe JavaScript that draws curves in reports and the live page "
     "(dygraphs), built in.\n@return string, or nil and a message when the build found none"},
    {NULL, NULL, NULL}};

void mll_open_http(lua_State *L) {
  mll_class(L, HTTP, http_methods, http_meta);
  lua_pop(L, 1);
  mll_class(L, FETCH, fetch_methods, fetch_meta);
  lua_pop(L, 1);
  mll_register(L, functions);
}
