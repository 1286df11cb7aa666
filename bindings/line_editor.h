/* Editing a line at the terminal: GNU readline, else libedit, loaded when the prompt first needs
 * it. */
#ifndef MOONLAB_LINE_EDITOR_H
#define MOONLAB_LINE_EDITOR_H

#include <lua.h>

/* Adds to the table on top of the stack: editor, edit, remember. */
void line_editor_open(lua_State *L);

#endif
