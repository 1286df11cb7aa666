/* What the files of ml.transformer share. Private to bindings/. */
#ifndef MOONLAB_BINDINGS_TRANSFORMER_H
#define MOONLAB_BINDINGS_TRANSFORMER_H

#include "mll.h"

#include "transformer/transformer.h"

#define MLL_TRANSFORMER "ml.transformer"

typedef struct {
  ml_transformer *transformer;
  ml_rng rng; /* of generate calls that bring none */
} mll_model;

/* The model at argument 1. */
ml_transformer *mll_check_model(lua_State *L);

static inline ml_dtype mll_model_dtype(const ml_transformer *m) {
  return (ml_dtype)ml_transformer_get_config(m)->dtype;
}

/* Field `name` of the table on top. */
static inline void mll_set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

extern const mll_fn mll_transformer_batch_methods[];
extern const mll_fn mll_transformer_generate_methods[];
void mll_open_samples(lua_State *L); /* the class that holds what generate makes */

#endif
