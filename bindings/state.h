/* What the bindings keep per Lua state, the insides of a tensor handle. Private to bindings/. */
#ifndef MOONLAB_BINDINGS_STATE_H
#define MOONLAB_BINDINGS_STATE_H

#include "mll.h"

/* A tensor as a userdata. `back` points to the pointer that points here (a scope's list), NULL
 * outside scopes. */
typedef struct mll_handle {
  ml_tensor tensor; /* first, so that a tensor's address is its handle's */
  const void *magic;
  struct mll_handle *next, **back;
  const char *released_by; /* a string that lives as long as the state; NULL while alive */
  uint64_t marked;         /* serial of the scope whose results reach this */
} mll_handle;

/* A running ml.scope; lives on the C stack of the call that runs it. */
typedef struct mll_scope {
  mll_handle *first;
  struct mll_scope *outer;
  lua_State *L;     /* the coroutine whose tensors it takes */
  const char *name; /* "scope at file:line"; lives as long as the state */
  uint64_t serial;
  bool detach; /* survivors leave the tape (value_and_grad) */
} mll_scope;

typedef struct {
  uint64_t gc_limit; /* live C bytes that call for a collection */
  mll_scope *scope;  /* innermost of all coroutines: scopes nest, since none is yielded out of */
  lua_State *main;
  uint64_t serial; /* of the latest scope */
  bool rethrown;   /* the kept traceback belongs to the error being raised again */
} mll_state;

/* ---- calls.c --------------------------------------------------------------------------------- */

void mll_open_names(lua_State *L);
/* The name of a function in messages; the first one stays. */
void mll_name_function(lua_State *L, lua_CFunction function, const char *name);
/* Pushes fn as a function that raises on more arguments than the signature in its help has (nil at
 * the end is none), extra ones beside. */
void mll_push_function(lua_State *L, const mll_fn *fn, int extra);

/* Who is to blame for an error in the running C function: the first line of the stack that is not
 * in our Lua modules, and the outermost and innermost of our named Lua functions and modules
 * between that line and the C function, if any. */
typedef struct {
  const char *name; /* of the C function */
  bool method;      /* called with a colon */
  const char *outer, *inner;
  int line; /* 0: unknown */
  char source[LUA_IDSIZE];
} mll_blamed;
void mll_blame(lua_State *L, mll_blamed *b);
/* Raises the message on top with that line in front. */
MLL_RAISES int mll_error_at(lua_State *L, const mll_blamed *b);

mll_state *mll_state_of(lua_State *L);
/* Its address marks handles and keys the tensor metatable in the registry. */
extern const char mll_magic;

static inline void mll_unlink(mll_handle *h) {
  if (!h->back)
    return;
  *h->back = h->next;
  if (h->next)
    h->next->back = h->back;
  h->next = NULL;
  h->back = NULL;
}

static inline void mll_link(mll_handle *h, mll_scope *scope) {
  h->next = scope->first;
  h->back = &scope->first;
  if (h->next)
    h->next->back = &h->next;
  scope->first = h;
}

/* The innermost scope of this coroutine, or NULL. */
static inline mll_scope *mll_scope_of(const mll_state *s, const lua_State *L) {
  mll_scope *scope = s->scope;
  while (scope && scope->L != L)
    scope = scope->outer;
  return scope;
}

/* Why an empty handle is refused, into buf. */
#define MLL_RELEASED_TEXT 200
const char *mll_released_text(const ml_tensor *t, char buf[MLL_RELEASED_TEXT]);

/* Frees the tensor and remembers who did it. Idempotent, raises nothing. */
void mll_release_handle(mll_handle *h, const char *by);

/* lua_pcall in a scope: calls the function below its nargs arguments; all results or the error
 * object stay on the stack. Everything made meanwhile is released, except what the results reach.
 * detach: what survives leaves the tape. */
int mll_scope_pcall(lua_State *L, int nargs, bool detach);

/* ---- tables of the tensor rooms: `_both` are functions of the core table and methods --------- */

void mll_open_rng(lua_State *L);
void mll_open_json(lua_State *L);
extern const mll_fn mll_tensor_create[];
extern const mll_fn mll_tensor_elementwise_both[];
extern const mll_fn mll_tensor_reduce_both[];
extern const mll_fn mll_tensor_shape_both[];
extern const mll_fn mll_tensor_order_both[];
extern const mll_fn mll_tensor_into_methods[];
extern const mll_fn mll_tensor_print_methods[];
extern const mll_fn mll_tensor_print_meta[];
extern const mll_fn mll_grad_methods[];
int mll_tensor_index(lua_State *L);    /* __index; upvalue 1: the method table */
int mll_tensor_newindex(lua_State *L); /* __newindex */
int mll_tensor_len(lua_State *L);      /* __len */
int mll_tensor_add(lua_State *L);
int mll_tensor_sub(lua_State *L);
int mll_tensor_mul(lua_State *L);
int mll_tensor_div(lua_State *L);
int mll_tensor_pow(lua_State *L);
int mll_tensor_neg(lua_State *L);

/* A change in place of the tensor at 1 by values of src (NULL: numbers): raises unless both allow
 * it. */
void mll_check_change(lua_State *L, ml_tensor *t, const ml_tensor *src, int src_arg);

#endif
