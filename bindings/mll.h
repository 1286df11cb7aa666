/* The one helper header of the bindings: handles, checks, options, errors, scopes, registration.
 *
 * A binding reads its arguments (Lua may raise, nothing is held), runs core (no lua_* call), and
 * returns. Results are born first: `ml_tensor *out = mll_push_result(L, n)` cuts the stack to the n
 * arguments and pushes the empty result, so that no Lua allocation stands between reading the
 * arguments and running:
 *
 *   static int l_matmul(lua_State *L) {
 *     ml_tensor *out = mll_push_result(L, 2);
 *     const ml_tensor *a = mll_check_tensor(L, 1), *b = mll_check_tensor(L, 2);
 *     ml_error err;
 *     ml_status status;
 *     MLL_RUN(L, status, ml_matmul(out, a, b, &err));
 *     return status ? mll_raise(L, &err) : 1;
 *   }
 *
 * state.h holds the insides of a tensor handle, the scopes, and the tables of functions that the
 * tensor_*.c files contribute; transformer.h what the files of ml.transformer share.
 *
 * Lua values that an object keeps sit in its user values:
 *   ml.optimizer     1: array of the parameters' keys, which name the state
 *   ml.transformer   1: name -> handle of each parameter, so that they stay the same;
 *                    nil until asked for
 * All other classes have none. */
#ifndef MOONLAB_MLL_H
#define MOONLAB_MLL_H

#include <lauxlib.h>
#include <lua.h>

#include "grad/grad.h"

#define MLL_TENSOR "ml.tensor"
#define MLL_RNG "ml.rng"
#define MLL_LIST "ml.list"

/* ---- registration ---------------------------------------------------------------------------- */

/* help: LuaLS tags (first line the signature, then one sentence, @param, @return, @source); NULL
 * only for metamethods. Without a @source line of its own a text gets "@source -". */
typedef struct {
  const char *name;
  lua_CFunction function;
  const char *help;
} mll_fn;

/* Stores the functions (up to {NULL}) in the table on top, their help in core.help[f] and their
 * names for errors. A call with more arguments than the signature in the help has raises. */
void mll_register(lua_State *L, const mll_fn *fns);
/* Stores fn as "__call" in the metatable on top, under its own help: what is called comes before
 * its arguments. */
void mll_register_call(lua_State *L, const mll_fn *fn);
/* Makes the class `name`: pushes its method table (`__index` unless meta sets one), leaves it on
 * top; the metatable is in the registry, holds meta, `__name` and `__dir` (the list of method
 * names). */
void mll_class(lua_State *L, const char *name, const mll_fn *methods, const mll_fn *meta);
/* More methods for the class `name`, whose method table is on top. */
void mll_add_methods(lua_State *L, const char *name, const mll_fn *methods);
/* Pushes core.help: function -> text. */
void mll_push_help(lua_State *L);

void mll_open_base(lua_State *L);
void mll_open_tensor(lua_State *L);
void mll_open_grad(lua_State *L);
void mll_open_scope(lua_State *L);
void mll_open_io(lua_State *L);
void mll_open_nn(lua_State *L);
void mll_open_transformer(lua_State *L);
void mll_open_optim(lua_State *L);
void mll_open_text(lua_State *L);
void mll_open_plot(lua_State *L);
void mll_open_system(lua_State *L);
void mll_open_solve(lua_State *L);
void mll_open_sketch(lua_State *L);
void mll_open_plrf(lua_State *L);
void mll_open_kernel(lua_State *L);

/* A function that never returns, whose int only serves `return raise(...)`. */
#define MLL_RAISES __attribute__((noreturn))

/* ---- errors ---------------------------------------------------------------------------------- */

/* Raises err as "bad argument #2 to 'krr' (message)", or "krr: message" when no argument is to
 * blame. Never returns; the int is for `return mll_raise(L, &err);`. */
MLL_RAISES int mll_raise(lua_State *L, const ml_error *err);
/* The same with a message of its own. */
MLL_RAISES int mll_arg_error(lua_State *L, int arg, const char *fmt, ...) ML_PRINTF(3, 4);
/* "number expected, got table" */
MLL_RAISES int mll_type_error(lua_State *L, int arg, const char *wanted);
/* "f64 [3x4]", "table", "number 3" ...: what stands at idx, into buf; returns buf. */
const char *mll_describe(lua_State *L, int idx, char buf[ML_DESCRIBE]);

/* status = call; when out of memory collects once and calls again. `call` must be repeatable: its
 * outputs are empty after a failure. Raises when a finalizer released an argument meanwhile. */
#define MLL_RUN(L, status, call)                                                                   \
  do {                                                                                             \
    (status) = (call);                                                                             \
    if ((status) == ML_ENOMEM) {                                                                   \
      mll_collect_for_retry(L);                                                                    \
      (status) = (call);                                                                           \
    }                                                                                              \
  } while (0)
void mll_collect_for_retry(lua_State *L);

/* lua_pcall that keeps the traceback of where the error arose for mll_push_traceback; mll_rethrow
 * raises the object on top. */
int mll_pcall(lua_State *L, int nargs, int nresults);
MLL_RAISES int mll_rethrow(lua_State *L);
/* Pushes the traceback kept for the error object at idx (rethrown by a scope or no_grad) or nil. */
void mll_push_traceback(lua_State *L, int idx);

/* ---- tensors --------------------------------------------------------------------------------- */

/* The only doors for tensor handles. All pace the collector by live C bytes and link the handle
 * into the innermost scope of its coroutine. The handle is empty until core fills it. */
/* Cuts the stack to the nargs arguments (missing ones become nil), then pushes an empty tensor: the
 * first line of most bindings, since it moves what stands above the arguments. */
ml_tensor *mll_push_result(lua_State *L, int nargs);
/* Pushes an empty tensor on top of what is there. */
ml_tensor *mll_push_empty(lua_State *L);
/* Pushes an empty tensor that no scope releases (parameters, gradients, state). */
ml_tensor *mll_push_empty_kept(lua_State *L);
/* Pushes a tensor of this dtype and shape, not filled. Collects and retries when out of memory,
 * then raises. */
ml_tensor *mll_push_tensor(lua_State *L, ml_dtype dtype, const ml_shape *shape);
/* Pushes a handle on t's storage and node. */
ml_tensor *mll_push_alias(lua_State *L, const ml_tensor *t);
/* Raise unless a tensor that is not released stands at arg. */
ml_tensor *mll_check_tensor(lua_State *L, int arg);
ml_tensor *mll_check_real(lua_State *L, int arg); /* f32 or f64 */
/* NULL for nil or none. */
ml_tensor *mll_arg_tensor(lua_State *L, int arg);
/* NULL when it is not a tensor; may be empty (released). */
ml_tensor *mll_test_tensor(lua_State *L, int idx);
/* An index tensor; a table of positions (nested, from 1) is converted in place on the stack. */
ml_tensor *mll_check_ids(lua_State *L, int arg);
/* Pushes a tensor made of the number or nested table at idx. */
ml_tensor *mll_push_from_lua(lua_State *L, int idx, int arg, ml_dtype dtype);
/* Pushes element number i (linear, of a contiguous tensor) as a Lua number; index + 1. */
void mll_push_element(lua_State *L, const ml_tensor *t, int64_t i);

/* A counted list of tensors, owned by a userdata on the stack: what must outlive lua_* calls. */
typedef struct {
  int64_t n;
  ml_tensor *t;        /* [n] aliases or results, empty at first */
  const ml_tensor **p; /* [n] pointers to them, for core calls */
} mll_list;
mll_list *mll_push_list(lua_State *L, int64_t n);
void mll_list_clear(mll_list *list); /* idempotent; the collector does it as well */
/* Pushes a list of aliases of the tensors in the array table at arg (at least one). */
mll_list *mll_check_list(lua_State *L, int arg);
/* Pushes an array of the string keys of the table at idx, sorted bytewise. */
void mll_push_sorted_keys(lua_State *L, int idx);

/* ---- plain arguments ------------------------------------------------------------------------- */

lua_Integer mll_check_integer(lua_State *L, int arg); /* 2.0 passes, 2.5 raises */
double mll_check_number(lua_State *L, int arg);
const char *mll_check_string(lua_State *L, int arg, size_t *n); /* no numbers; n may be NULL */
const char *mll_check_path(lua_State *L, int arg);              /* not empty, no zero byte */
/* Whether there is no such file; then nil and a message are pushed, to be returned: a missing file
 * is an outcome. */
bool mll_no_file(lua_State *L, const char *path);
void mll_check_table(lua_State *L, int arg);
void mll_check_callable(lua_State *L, int arg); /* a function, or an object with __call */
void *mll_check_object(lua_State *L, int arg, const char *name); /* a userdata of this class */
ml_dtype mll_check_dtype(lua_State *L, int arg);
/* Axis at arg, from 1, negative from the end -> from 0. rank + extra axes exist (unsqueeze, stack:
 * extra 1). */
int mll_check_axis(lua_State *L, int arg, int rank);
/* the same for a number already read */
int mll_axis(lua_State *L, int arg, lua_Integer axis, int rank);
/* A number, or the array part of a table; absent: 0 (all axes). */
unsigned mll_check_axes(lua_State *L, int arg, int rank);
/* A number, or the array part of a table; sizes >= 0. one size may be -1 when infer. */
void mll_check_shape(lua_State *L, int arg, ml_shape *shape, bool infer);
ml_rng *mll_check_rng(lua_State *L, int arg);

/* ---- options --------------------------------------------------------------------------------- */

/* The options table at arg (nil or none allowed): an unknown name raises with the nearest of names
 * (NULL-terminated), an array part raises unless array. */
void mll_check_opts(lua_State *L, int arg, const char *const *names);
void mll_check_opts_array(lua_State *L, int arg, const char *const *names);
/* Fields of the table at arg; the default when the table or the field is absent. Errors name the
 * option. */
bool mll_has_opt(lua_State *L, int arg, const char *name);
double mll_opt_number(lua_State *L, int arg, const char *name, double otherwise);
lua_Integer mll_opt_integer(lua_State *L, int arg, const char *name, lua_Integer otherwise);
bool mll_opt_boolean(lua_State *L, int arg, const char *name, bool otherwise);
/* The string stays valid while the table holds it. */
const char *mll_opt_string(lua_State *L, int arg, const char *name, const char *otherwise);
/* Position in choices (NULL-terminated); an unknown word raises with the nearest. */
int mll_opt_choice(lua_State *L, int arg, const char *name, const char *const *choices,
                   int otherwise);
ml_dtype mll_opt_dtype(lua_State *L, int arg, ml_dtype otherwise); /* the option "dtype" */
/* NULL when absent. The table keeps it alive: read it last, just before running. */
ml_tensor *mll_opt_tensor(lua_State *L, int arg, const char *name);
ml_rng *mll_opt_rng(lua_State *L, int arg, const char *name);
/* A number (both) or a table of two: kernel, stride. */
void mll_opt_pair(lua_State *L, int arg, const char *name, int64_t pair[2], int64_t otherwise);
/* Raises "option 'name': ...". */
MLL_RAISES int mll_opt_error(lua_State *L, int arg, const char *name, const char *fmt, ...)
    ML_PRINTF(4, 5);

#endif
