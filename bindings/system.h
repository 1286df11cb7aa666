/* What the bindings of core/system share. */
#ifndef MOONLAB_BINDINGS_SYSTEM_H
#define MOONLAB_BINDINGS_SYSTEM_H

#include "mll.h"

#include "system/system.h"

/* Each adds to the table on top. */
void mll_open_child(lua_State *L);
void mll_open_sqlite(lua_State *L);
void mll_open_http(lua_State *L);

#endif
