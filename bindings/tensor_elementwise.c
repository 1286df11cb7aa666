/* Elementwise operations, where and clamp, as functions and methods. */
#include "state.h"

#include <math.h>

/* ---- two operands ---------------------------------------------------------------------------- */

/* The number at idx as a tensor of t's dtype stores it. */
static double number_beside(lua_State *L, const ml_tensor *t, int idx) {
  if (lua_type(L, idx) == LUA_TBOOLEAN && t->dtype == ML_U8)
    return lua_toboolean(L, idx);
  if (lua_type(L, idx) != LUA_TNUMBER)
    mll_type_error(L, idx, "tensor or number");
  double value = lua_tonumber(L, idx);
  return t->dtype == ML_INDEX ? value - 1 : value;
}

static int binary(lua_State *L, ml_binary_op op) {
  ml_tensor *out = mll_push_result(L, 2);
  ml_tensor *a = mll_test_tensor(L, 1), *b = mll_test_tensor(L, 2);
  ml_error err;
  ml_status status;
  if (a && b) {
    if (ml_tensor_empty(a) || ml_tensor_empty(b))
      mll_check_tensor(L, ml_tensor_empty(a) ? 1 : 2);
    MLL_RUN(L, status, ml_binary(out, op, a, b, &err));
  } else if (a || b) {
    const ml_tensor *t = mll_check_tensor(L, a ? 1 : 2);
    double number = number_beside(L, t, a ? 2 : 1);
    MLL_RUN(L, status, ml_binary_number(out, op, t, number, b != NULL, &err));
    if (status)
      err.arg = err.arg ? (a ? 1 : 2) : 0;
  } else {
    return mll_type_error(L, 1, "tensor");
  }
  return status ? mll_raise(L, &err) : 1;
}

int mll_tensor_add(lua_State *L) { return binary(L, ML_ADD); }
int mll_tensor_sub(lua_State *L) { return binary(L, ML_SUB); }
int mll_tensor_mul(lua_State *L) { return binary(L, ML_MUL); }
int mll_tensor_div(lua_State *L) { return binary(L, ML_DIV); }
int mll_tensor_pow(lua_State *L) { return binary(L, ML_POW); }
static int l_maximum(lua_State *L) { return binary(L, ML_MAXIMUM); }
static int l_minimum(lua_State *L) { return binary(L, ML_MINIMUM); }
static int l_atan2(lua_State *L) { return binary(L, ML_ATAN2); }
static int l_lt(lua_State *L) { return binary(L, ML_LT); }
static int l_le(lua_State *L) { return binary(L, ML_LE); }
static int l_gt(lua_State *L) { return binary(L, ML_GT); }
static int l_ge(lua_State *L) { return binary(L, ML_GE); }
static int l_eq(lua_State *L) { return binary(L, ML_EQ); }
static int l_ne(lua_State *L) { return binary(L, ML_NE); }
static int l_and(lua_State *L) { return binary(L, ML_AND); }
static int l_or(lua_State *L) { return binary(L, ML_OR); }
static int l_xor(lua_State *L) { return binary(L, ML_XOR); }

/* ---- one operand ----------------------------------------------------------------------------- */

static int unary(lua_State *L, ml_unary_op op) {
  ml_tensor *out = mll_push_result(L, 1);
  const ml_tensor *t = mll_check_tensor(L, 1);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_unary(out, op, t, &err));
  return status ? mll_raise(L, &err) : 1;
}

/* Lua hands a metamethod of unary minus its operand twice; mll_push_result drops the second. */
int mll_tensor_neg(lua_State *L) { return unary(L, ML_NEG); }

#define UNARIES(X)                                                                                 \
  X(abs, ML_ABS, "The absolute value")                                                             \
  X(sign, ML_SIGN, "The sign: -1, 0 or 1")                                                         \
  X(square, ML_SQUARE, "x^2")                                                                      \
  X(sqrt, ML_SQRT, "The square root; NaN below 0")                                                 \
  X(rsqrt, ML_RSQRT, "1 / sqrt(x)")                                                                \
  X(reciprocal, ML_RECIPROCAL, "1 / x")                                                            \
  X(exp, ML_EXP, "e^x")                                                                            \
  X(expm1, ML_EXPM1, "e^x - 1, exact near 0")                                                      \
  X(log, ML_LOG, "The natural logarithm")                                                          \
  X(log1p, ML_LOG1P, "log(1 + x), exact near 0")                                                   \
  X(log2, ML_LOG2, "The logarithm to base 2")                                                      \
  X(sin, ML_SIN, "The sine, x in radians")                                                         \
  X(cos, ML_COS, "The cosine, x in radians")                                                       \
  X(tan, ML_TAN, "The tangent, x in radians")                                                      \
  X(asin, ML_ASIN, "The arc sine, in radians")                                                     \
  X(acos, ML_ACOS, "The arc cosine, in radians")                                                   \
  X(atan, ML_ATAN, "The arc tangent, in radians")                                                  \
  X(sinh, ML_SINH, "The hyperbolic sine")                                                          \
  X(cosh, ML_COSH, "The hyperbolic cosine")                                                        \
  X(tanh, ML_TANH, "The hyperbolic tangent")                                                       \
  X(erf, ML_ERF, "The error function 2/sqrt(pi) int_0^x exp(-t^2) dt")                             \
  X(erfc, ML_ERFC, "1 - erf(x), exact for large x")                                                \
  X(sigmoid, ML_SIGMOID, "1 / (1 + e^-x)")                                                         \
  X(softplus, ML_SOFTPLUS, "log(1 + e^x)")                                                         \
  X(relu, ML_RELU, "max(x, 0)")                                                                    \
  X(relu2, ML_RELU2, "max(x, 0)^2")                                                                \
  X(silu, ML_SILU, "x sigmoid(x)")                                                                 \
  X(gelu_tanh, ML_GELU_TANH,                                                                       \
    "GELU in its tanh form, x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))")                        \
  X(gelu_erf, ML_GELU_ERF, "GELU, x/2 (1 + erf(x/sqrt(2)))")                                       \
  X(floor, ML_FLOOR, "The largest whole number not above x")                                       \
  X(ceil, ML_CEIL, "The least whole number not below x")                                           \
  X(round, ML_ROUND, "The nearest whole number, ties to even")
#define TESTS(X)                                                                                   \
  X(isnan, ML_ISNAN, "1 where x is NaN, else 0")                                                   \
  X(isinf, ML_ISINF, "1 where x is infinite, else 0")                                              \
  X(isfinite, ML_ISFINITE, "1 where x is neither infinite nor NaN, else 0")                        \
  X(logical_not, ML_NOT, "1 where x (u8) is 0, else 0")

#define DEFINE(name, op, text)                                                                     \
  static int unary_##name(lua_State *L) { return unary(L, op); }
UNARIES(DEFINE)
TESTS(DEFINE)

/* ---- where, clamp ---------------------------------------------------------------------------- */

/* A number at idx becomes a 0-d tensor of this dtype. */
static void number_to_tensor(lua_State *L, int idx, ml_dtype dtype) {
  if (mll_test_tensor(L, idx))
    return;
  if (lua_type(L, idx) != LUA_TNUMBER)
    mll_type_error(L, idx, "tensor or number");
  mll_push_from_lua(L, idx, idx, dtype);
  lua_replace(L, idx);
}

static int l_where(lua_State *L) {
  ml_tensor *out = mll_push_result(L, 3);
  mll_check_tensor(L, 1);
  const ml_tensor *a = mll_test_tensor(L, 2), *b = mll_test_tensor(L, 3);
  ml_dtype dtype = a ? a->dtype : b ? b->dtype : ML_F64;
  number_to_tensor(L, 2, dtype);
  number_to_tensor(L, 3, dtype);
  const ml_tensor *c = mll_check_tensor(L, 1);
  a = mll_check_tensor(L, 2);
  b = mll_check_tensor(L, 3);
  if (c->dtype != ML_U8)
    return mll_type_error(L, 1, "u8 tensor (a comparison)");
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_where(out, c, a, b, &err));
  return status ? mll_raise(L, &err) : 1;
}

static int l_clamp(lua_State *L) {
  static const char *const names[] = {"min", "max", NULL};
  ml_tensor *out = mll_push_result(L, 3);
  double bound[2] = {-INFINITY, INFINITY};
  if (lua_type(L, 2) == LUA_TTABLE) {
    mll_check_opts(L, 2, names);
    for (int i = 0; i < 2; i++)
      bound[i] = mll_opt_number(L, 2, names[i], bound[i]);
  } else {
    for (int i = 0; i < 2; i++) {
      if (!lua_isnil(L, i + 2))
        bound[i] = mll_check_number(L, i + 2);
    }
  }
  if (!(bound[0] <= bound[1]))
    return mll_arg_error(L, 2, "bounds are %g and %g, wanted min <= max", bound[0], bound[1]);
  const ml_tensor *t = mll_check_tensor(L, 1);
  if (t->dtype == ML_INDEX) {
    bound[0] -= 1;
    bound[1] -= 1;
  }
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_clamp(out, t, bound[0], bound[1], &err));
  return status ? mll_raise(L, &err) : 1;
}

#define BINARY(name, text)                                                                         \
  name "(x, y)\n" text                                                                             \
       ", element by element, with broadcasting (trailing axes align; each equal or 1).\n"         \
       "@param x tensor of any shape, or number\n@param y tensor of the same dtype, its shape "    \
       "broadcast, or number\n@return tensor of the broadcast shape, differentiable"
#define COMPARE(name, text)                                                                        \
  name "(x, y)\nWhere x " text " y: 1, else 0; with broadcasting. NaN compares as in C.\n"         \
       "@param x tensor of any shape, or number\n@param y tensor of the same dtype, its shape "    \
       "broadcast, or number (from 1 beside "                                                      \
       "an index tensor)\n"                                                                        \
       "@return tensor u8 of the broadcast shape"
#define LOGICAL(name, text)                                                                        \
  name "(x, y)\nWhere " text ": 1, else 0; with broadcasting.\n@param x tensor u8 of any "         \
       "shape\n@param y tensor u8 of any shape\n@return tensor u8 of the broadcast shape"
#define UNARY_ENTRY(name, op, text)                                                                \
  {#name, unary_##name,                                                                            \
   #name "(x)\n" text ", element by element.\n@param x tensor f32 or f64, any shape\n@return "     \
         "tensor like x, differentiable"},
#define TEST_ENTRY(name, op, text)                                                                 \
  {#name, unary_##name,                                                                            \
   #name "(x)\n" text ".\n@param x tensor, any shape\n@return tensor u8 of x's shape"},

const mll_fn mll_tensor_elementwise_both[] = {
    {"add", mll_tensor_add, BINARY("add", "x + y")},
    {"sub", mll_tensor_sub, BINARY("sub", "x - y")},
    {"mul", mll_tensor_mul, BINARY("mul", "x * y")},
    {"div", mll_tensor_div, BINARY("div", "x / y")},
    {"pow", mll_tensor_pow, BINARY("pow", "x to the power y")},
    {"neg", mll_tensor_neg,
     "neg(x)\n-x.\n@param x tensor f32 or f64, any shape\n@return tensor like x, differentiable"},
    {"maximum", l_maximum, BINARY("maximum", "The larger of x and y, NaN when either is")},
    {"minimum", l_minimum, BINARY("minimum", "The smaller of x and y, NaN when either is")},
    {"atan2", l_atan2,
     BINARY("atan2", "The angle of the point (y, x) in radians, x first as in C")},
    {"lt", l_lt, COMPARE("lt", "<")},
    {"le", l_le, COMPARE("le", "<=")},
    {"gt", l_gt, COMPARE("gt", ">")},
    {"ge", l_ge, COMPARE("ge", ">=")},
    {"eq", l_eq, COMPARE("eq", "equals")},
    {"ne", l_ne, COMPARE("ne", "differs from")},
    {"logical_and", l_and, LOGICAL("logical_and", "both are not 0")},
    {"logical_or", l_or, LOGICAL("logical_or", "either is not 0")},
    {"logical_xor", l_xor, LOGICAL("logical_xor", "one of both is not 0")},
    UNARIES(UNARY_ENTRY) TESTS(TEST_ENTRY){
        "where", l_where,
        "where(condition, a, b)\na where condition is not 0, else b; all three broadcast.\n@param "
        "condition tensor u8 of any shape\n"
        "@param a tensor of any shape, or number\n@param b tensor of a's dtype and any shape, or "
        "number\n@return tensor of the broadcast shape, differentiable in a and b"},
    {"clamp", l_clamp,
     "clamp(x, min, max) clamp(x, opts)\nx with values below min raised and above max lowered to "
     "it; NaN stays.\n@param x tensor of any shape\n"
     "@param min number =nil least value that stays\n@param max number =nil largest value that "
     "stays\n@return tensor like x, differentiable"},
    {NULL, NULL, NULL}};
