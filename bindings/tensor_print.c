/* Tensors as text: tostring (short), t:format and t:show (long). */
#include "state.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHORT_TEXT 2000
#define CELL 40

/* Text that never grows past its buffer; what does not fit ends in an ellipsis. */
typedef struct {
  char *buf;
  size_t size, used;
  luaL_Buffer *sink; /* when set, full buffers go there and nothing is cut */
} text;

static void put(text *t, const char *fmt, ...) ML_PRINTF(2, 3);
static void put(text *t, const char *fmt, ...) {
  char piece[256];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(piece, sizeof piece, fmt, args);
  va_end(args);
  if (n <= 0)
    return;
  size_t length = (size_t)n < sizeof piece ? (size_t)n : sizeof piece - 1;
  if (t->sink) {
    luaL_addlstring(t->sink, piece, length);
    return;
  }
  if (length > t->size - 1 - t->used)
    length = t->size - 1 - t->used;
  memcpy(t->buf + t->used, piece, length);
  t->used += length;
  t->buf[t->used] = 0;
}

typedef struct {
  const ml_tensor *t;
  int digits;
  int64_t edge;  /* entries shown at either end of an axis */
  int64_t outer; /* matrices shown at either end of a leading axis */
  bool whole;    /* every shown value is a whole number below 1e6 */
  int width;
} layout;

static void cell_text(const layout *l, char cell[CELL], const int64_t *position) {
  double v = ml_tensor_get(l->t, position);
  if (l->t->dtype == ML_INDEX)
    (void)snprintf(cell, CELL, "%.0f", v + 1);
  else if (isnan(v))
    (void)snprintf(cell, CELL, "nan");
  else if (isinf(v))
    (void)snprintf(cell, CELL, v > 0 ? "inf" : "-inf");
  else if (l->whole)
    (void)snprintf(cell, CELL, "%.0f", v == 0 ? 0.0 : v);
  else
    (void)snprintf(cell, CELL, "%.*g", l->digits, v);
}

/* Runs over the shown positions: fn for each. */
typedef void (*cell_fn)(layout *l, const int64_t *position);

static void each_shown(layout *l, int axis, int64_t *position, cell_fn fn) {
  if (axis == l->t->rank) {
    fn(l, position);
    return;
  }
  int64_t n = l->t->size[axis], edge = axis < l->t->rank - 2 ? l->outer : l->edge;
  for (int64_t i = 0; i < n; i++) {
    if (n > 2 * edge && i == edge)
      i = n - edge;
    position[axis] = i;
    each_shown(l, axis + 1, position, fn);
  }
}

static void see_whole(layout *l, const int64_t *position) {
  double v = ml_tensor_get(l->t, position);
  if (isfinite(v) && (v != floor(v) || fabs(v) >= 1e6))
    l->whole = false;
}

static void see_width(layout *l, const int64_t *position) {
  char cell[CELL];
  cell_text(l, cell, position);
  int n = (int)strlen(cell);
  if (n > l->width)
    l->width = n;
}

static void put_row(text *out, layout *l, int64_t *position, int axis) {
  int64_t n = axis < l->t->rank ? l->t->size[axis] : 1;
  for (int64_t i = 0; i < n; i++) {
    char cell[CELL];
    if (n > 2 * l->edge && i == l->edge) {
      put(out, "  ...");
      i = n - l->edge;
    }
    if (axis < l->t->rank)
      position[axis] = i;
    cell_text(l, cell, position);
    put(out, "  %*s", l->width, cell);
  }
  put(out, "\n");
}

static void put_axis(text *out, layout *l, int64_t *position, int axis) {
  int rank = l->t->rank;
  if (axis >= rank - 1) {
    put_row(out, l, position, axis);
    return;
  }
  int64_t n = l->t->size[axis], edge = axis < rank - 2 ? l->outer : l->edge;
  for (int64_t i = 0; i < n; i++) {
    if (n > 2 * edge && i == edge) {
      put(out, "  ...\n");
      i = n - edge;
    }
    position[axis] = i;
    if (axis == rank - 3) {
      put(out, "[");
      for (int k = 0; k <= axis; k++)
        put(out, "%lld,", (long long)position[k] + 1);
      put(out, " :, :]\n");
    }
    put_axis(out, l, position, axis + 1);
  }
}

static void put_tensor(text *out, const ml_tensor *t, int digits, int64_t edge, int64_t outer) {
  char head[ML_DESCRIBE];
  int64_t position[ML_MAX_RANK] = {0};
  layout l = {.t = t, .digits = digits, .edge = edge, .outer = outer, .whole = true};
  put(out, "%s%s\n", ml_describe(head, t),
      !ml_on_tape(t)   ? ""
      : ml_is_param(t) ? " parameter"
                       : " on the tape");
  if (ml_numel(t) == 0)
    return;
  each_shown(&l, 0, position, see_whole);
  each_shown(&l, 0, position, see_width);
  put_axis(out, &l, position, 0);
}

static int tensor_tostring(lua_State *L) {
  char buf[SHORT_TEXT];
  text out = {buf, sizeof buf, 0, NULL};
  const ml_tensor *t = mll_test_tensor(L, 1);
  buf[0] = 0;
  if (!t || ml_tensor_empty(t)) {
    lua_pushliteral(L, "ml.tensor (released)");
    return 1;
  }
  put_tensor(&out, t, 4, 3, 1);
  if (out.used == out.size - 1)
    memcpy(buf + out.size - 5, "...\n", 5);
  while (out.used > 0 && buf[out.used - 1] == '\n')
    out.used--;
  lua_pushlstring(L, buf, out.used);
  return 1;
}

static int format(lua_State *L) {
  static const char *const names[] = {"digits", "edge", NULL};
  lua_settop(L, 2);
  mll_check_opts(L, 2, names);
  lua_Integer digits = mll_opt_integer(L, 2, "digits", 6), edge = mll_opt_integer(L, 2, "edge", 16);
  if (digits < 1 || digits > 17)
    return mll_opt_error(L, 2, "digits", "is %lld, wanted 1..17", (long long)digits);
  if (edge < 1)
    return mll_opt_error(L, 2, "edge", "is %lld, wanted >= 1", (long long)edge);
  if (edge > INT64_MAX / 4)
    edge = INT64_MAX / 4;
  ml_tensor *t = mll_push_alias(
      L, mll_check_tensor(L, 1)); /* ours, whatever finalizers do while the text grows */
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  text out = {NULL, 0, 0, &b};
  put_tensor(&out, t, (int)digits, edge, edge);
  luaL_pushresult(&b);
  return 1;
}

static int l_show(lua_State *L) {
  size_t n;
  format(L);
  const char *s = lua_tolstring(L, -1, &n);
  (void)fwrite(s, 1, n, stdout);
  (void)fflush(stdout);
  return 0;
}

#define FORMAT_OPTS                                                                                \
  "@param opts.digits integer =6 significant digits, 1..17\n"                                      \
  "@param opts.edge integer =16 entries shown at either end of an axis\n"

const mll_fn mll_tensor_print_methods[] = {
    {"format", format,
     "t:format(opts)\nThe long form of tostring(t).\n" FORMAT_OPTS "@return string"},
    {"show", l_show, "t:show(opts)\nPrints t in the long form.\n" FORMAT_OPTS},
    {NULL, NULL, NULL}};

const mll_fn mll_tensor_print_meta[] = {{"__tostring", tensor_tostring, NULL}, {NULL, NULL, NULL}};
