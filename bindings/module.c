/* Opens moonlab.core: one table with what every room offers to Lua. */
#include "mll.h"

ML_API int mll_open_core(lua_State *L);

/* Each opener finds the core table on top of the stack and leaves it there. */
int mll_open_core(lua_State *L) {
  static void (*const rooms[])(lua_State *) = {
      mll_open_base,   mll_open_tensor,      mll_open_grad,  mll_open_scope,  mll_open_io,
      mll_open_nn,     mll_open_transformer, mll_open_optim, mll_open_text,   mll_open_plot,
      mll_open_system, mll_open_solve,       mll_open_plrf,  mll_open_kernel, mll_open_sketch};
  luaL_checkversion(L);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
    rooms[i](L);
  return 1;
}
