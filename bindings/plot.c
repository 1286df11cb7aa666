/* What moonlab.plot needs in C: thinning of long series, counts of bins. */
#include "mll.h"

/* f64, off the tape; pushes it */
static const ml_tensor *push_doubles(lua_State *L, int arg) {
  ml_tensor *t = mll_push_empty(L);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_tensor_cast_one_based(t, mll_check_tensor(L, arg), ML_F64, &err));
  if (status)
    mll_raise(L, &err);
  return t;
}

/* plot.thin(x, y, { columns, rows, log_x, log_y }) */
static int l_thin(lua_State *L) {
  static const char *const names[] = {"columns", "rows", "log_x", "log_y", NULL};
  ml_tensor *out = mll_push_result(L, 3);
  mll_check_opts(L, 3, names);
  ml_thin_options o = {.columns = mll_opt_integer(L, 3, "columns", 2000),
                       .rows = mll_opt_integer(L, 3, "rows", 0),
                       .log_x = mll_opt_boolean(L, 3, "log_x", false),
                       .log_y = mll_opt_boolean(L, 3, "log_y", false)};
  const ml_tensor *x = push_doubles(L, 1), *y = push_doubles(L, 2);
  ml_thin_counts counts = {0};
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_thin(out, &counts, x, y, &o, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 4);
  lua_pushinteger(L, counts.not_finite);
  lua_pushinteger(L, counts.not_positive);
  return 3;
}

/* plot.bin_counts(x, edges) */
static int l_bin_counts(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 2);
  const ml_tensor *x = push_doubles(L, 1), *edges = push_doubles(L, 2);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_bin_counts(out, x, edges, &err));
  if (status)
    return mll_raise(L, &err);
  lua_settop(L, 3);
  return 1;
}

static const mll_fn functions[] = {
    {"thin", l_thin,
     "plot.thin(x, y, { columns, rows, log_x, log_y })\nThe points of a long series that a picture "
     "needs: of every stretch of neighbours in one column the first, least, greatest and last (a "
     "stretch that cannot be shown leaves its first, so that the gap stays), or with rows the "
     "first "
     "point of every cell.\n"
     "@param x tensor [n]\n@param y tensor [n]\n@param opts.columns integer =2000 over the range "
     "of "
     "x\n@param opts.rows integer =0 over the range of y; 0: columns only\n"
     "@param opts.log_x boolean =false columns of equal ratios\n@param opts.log_y boolean =false "
     "rows of equal ratios\n"
     "@return tensor index [kept], ascending positions\n@return integer points that are not "
     "finite\n@return integer points that a logarithmic axis cannot show\n@source -"},
    {"bin_counts", l_bin_counts,
     "plot.bin_counts(x, edges)\nHow many entries lie in each interval; the last one includes its "
     "end.\n@param x tensor [n]\n@param edges tensor [bins+1], ascending\n@return tensor f64 "
     "[bins]\n@source -"},
    {NULL, NULL, NULL}};

void mll_open_plot(lua_State *L) {
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "plot");
}
