/* ml.plrf's core: spectra, SGD, exact and deterministic curves. lua/moonlab/plrf.lua makes objects
 * of them. */
#include "theory/plrf/plrf.h"
#include "mll.h"

#include <math.h>

/* A contiguous f64 tensor of this rank; size[i] < 0: any. */
static const double *check_array(lua_State *L, int arg, int rank, int64_t rows, int64_t cols,
                                 const ml_tensor **out) {
  const ml_tensor *t = mll_check_tensor(L, arg);
  char text[ML_DESCRIBE];
  if (t->dtype != ML_F64 || t->rank != rank || !ml_is_contiguous(t))
    mll_arg_error(L, arg, "%s, wanted f64 of %d axes, contiguous", ml_describe(text, t), rank);
  if ((rows >= 0 && t->size[0] != rows) || (rank > 1 && cols >= 0 && t->size[1] != cols))
    mll_arg_error(L, arg, "%s, wanted the first size %d", ml_describe(text, t), (int)rows);
  if (out)
    *out = t;
  return ML_DATA(const double, t);
}

/* Pushes the option, which must be there, as a tensor; the same checks. */
static const double *opt_array(lua_State *L, int arg, const char *name, const ml_tensor **out) {
  const ml_tensor *t = mll_opt_tensor(L, arg, name);
  char text[ML_DESCRIBE];
  if (!t)
    mll_opt_error(L, arg, name, "missing");
  if (t->dtype != ML_F64 || t->rank != 1 || !ml_is_contiguous(t))
    mll_opt_error(L, arg, name, "%s, wanted f64 of one axis, contiguous", ml_describe(text, t));
  *out = t;
  return ML_DATA(const double, t);
}

/* The same as whole numbers, ascending, in a buffer on the stack. */
static const int64_t *opt_steps(lua_State *L, int arg, int64_t *n) {
  const ml_tensor *t;
  const double *x = opt_array(L, arg, "steps", &t);
  *n = ml_numel(t);
  if (*n < 1)
    mll_opt_error(L, arg, "steps", "is empty");
  int64_t *steps = lua_newuserdatauv(L, (size_t)*n * sizeof *steps, 0);
  for (int64_t i = 0; i < *n; i++) {
    if (!(x[i] >= 0 && x[i] <= 9e15) || x[i] != floor(x[i]) || (i && x[i] < x[i - 1]))
      mll_opt_error(L, arg, "steps", "value %d is %g, wanted whole numbers in 0..9e15, ascending",
                    (int)i + 1, x[i]);
    steps[i] = (int64_t)x[i];
  }
  return steps;
}

static double opt_batch(lua_State *L, int arg) {
  lua_Integer batch = mll_opt_integer(L, arg, "batch", 1);
  if (batch < 1)
    mll_opt_error(L, arg, "batch", "%d, wanted >= 1", (int)batch);
  return (double)batch;
}

static double opt_rate(lua_State *L, int arg) {
  double gamma = mll_opt_number(L, arg, "gamma", NAN);
  if (!(gamma > 0) || !isfinite(gamma))
    mll_opt_error(L, arg, "gamma", "%g, wanted a number > 0", gamma);
  return gamma;
}

static double opt_momentum(lua_State *L, int arg) {
  double momentum = mll_opt_number(L, arg, "momentum", 0);
  if (!(momentum >= 0 && momentum < 1))
    mll_opt_error(L, arg, "momentum", "%g, wanted 0 <= momentum < 1", momentum);
  return momentum;
}

static int l_spectrum(lua_State *L) {
  lua_settop(L, 2);
  const ml_tensor *A;
  const double *a = check_array(L, 1, 2, -1, -1, &A);
  const double *u = check_array(L, 2, 1, A->size[0], -1, NULL);
  ml_shape shape = ml_shape_make(1, A->size[1]);
  ml_tensor *lambda = mll_push_tensor(L, ML_F64, &shape);
  ml_tensor *t = mll_push_tensor(L, ML_F64, &shape);
  ml_tensor *rho = mll_push_tensor(L, ML_F64, &shape);
  double norm2 = 0, null = 0;
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          ml_plrf_spectrum(ML_DATA(double, lambda), ML_DATA(double, t), ML_DATA(double, rho), &null,
                           &norm2, a, u, A->size[0], A->size[1], &err));
  if (status)
    return mll_raise(L, &err);
  lua_pushnumber(L, null);
  lua_pushnumber(L, norm2);
  return 5;
}

static const char *const sgd_names[] = {"gamma",    "batch",     "steps", "runs", "rng",
                                        "momentum", "dtype",     "null",  "x",    "W",
                                        "b",        "diverging", NULL};

/* The options at 3; rates are a tensor of one or as many values as steps. */
static void read_sgd(lua_State *L, ml_plrf_sgd_options *o) {
  mll_check_opts(L, 3, sgd_names);
  o->dtype = mll_opt_dtype(L, 3, ML_F64);
  if (!ml_is_real(o->dtype))
    mll_opt_error(L, 3, "dtype", "%s, wanted f32 or f64", ml_dtype_name(o->dtype));
  o->batch = (int64_t)opt_batch(L, 3);
  o->runs = mll_opt_integer(L, 3, "runs", 1);
  if (o->runs < 1)
    mll_opt_error(L, 3, "runs", "%d, wanted >= 1", (int)o->runs);
  o->momentum = opt_momentum(L, 3);
  o->diverging = mll_opt_boolean(L, 3, "diverging", false);
  o->steps = opt_steps(L, 3, &o->records);
  const ml_tensor *gamma;
  o->gamma = opt_array(L, 3, "gamma", &gamma);
  o->gammas = ml_numel(gamma);
  if (o->gammas != 1 && o->gammas < o->steps[o->records - 1])
    mll_opt_error(L, 3, "gamma", "has %d rates for %d steps", (int)o->gammas,
                  (int)o->steps[o->records - 1]);
  if (o->gammas > 1 && o->steps[o->records - 1] < 2)
    o->gammas = 1;
  ml_rng *rng = mll_opt_rng(L, 3, "rng");
  o->key = rng ? rng->key : 0;
}

static int l_sgd(lua_State *L) {
  lua_settop(L, 3);
  const ml_tensor *A, *x = NULL, *W = NULL, *b = NULL;
  const double *a = check_array(L, 1, 2, -1, -1, &A);
  const int64_t v = A->size[0], d = A->size[1];
  const double *u = check_array(L, 2, 1, v, -1, NULL);
  ml_plrf_sgd_options o;
  read_sgd(L, &o);
  x = mll_opt_tensor(L, 3, "x");
  if (x) {
    W = mll_opt_tensor(L, 3, "W");
    b = mll_opt_tensor(L, 3, "b");
    char text[ML_DESCRIBE];
    if (x->dtype != ML_F64 || x->rank != 3 || !ml_is_contiguous(x) || x->size[1] != o.batch ||
        x->size[2] != v || x->size[0] < o.steps[o.records - 1])
      return mll_opt_error(L, 3, "x", "%s, wanted f64 [%d,%d,%d], contiguous", ml_describe(text, x),
                           (int)o.steps[o.records - 1], (int)o.batch, (int)v);
    if (!W || W->dtype != ML_F64 || W->rank != 2 || W->size[0] != v || W->size[1] != d ||
        !ml_is_contiguous(W) || !b || b->dtype != ML_F64 || b->rank != 1 || b->size[0] != v ||
        !ml_is_contiguous(b))
      return mll_opt_error(L, 3, "W", "and b do not fit A, or are not contiguous f64");
    o.runs = 1;
    o.dtype = ML_F64;
  }
  ml_shape risks = ml_shape_make(2, o.runs, o.records), thetas = ml_shape_make(2, o.runs, d);
  ml_tensor *risk = mll_push_tensor(L, ML_F64, &risks);
  ml_tensor *theta = mll_push_tensor(L, ML_F64, &thetas);
  ml_error err;
  ml_status status;
  if (x)
    MLL_RUN(L, status,
            ml_plrf_sgd_data(ML_DATA(double, risk), ML_DATA(double, theta), ML_DATA(double, x),
                             ML_DATA(double, W), ML_DATA(double, b), a, u, v, d, &o, &err));
  else
    MLL_RUN(
        L, status,
        ml_plrf_sgd_direct(ML_DATA(double, risk), ML_DATA(double, theta), a, u, v, d, &o, &err));
  return status ? mll_raise(L, &err) : 2;
}

static int l_sgd_fast(lua_State *L) {
  lua_settop(L, 3);
  const ml_tensor *lambda;
  const double *l = check_array(L, 1, 1, -1, -1, &lambda);
  const int64_t d = lambda->size[0];
  const double *t = check_array(L, 2, 1, d, -1, NULL);
  ml_plrf_sgd_options o;
  read_sgd(L, &o);
  double null = mll_opt_number(L, 3, "null", 0);
  ml_shape risks = ml_shape_make(2, o.runs, o.records);
  ml_tensor *risk = mll_push_tensor(L, ML_F64, &risks);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status, ml_plrf_sgd_fast(ML_DATA(double, risk), l, t, null, d, &o, &err));
  return status ? mll_raise(L, &err) : 1;
}

static const char *const curve_names[] = {"gamma",     "batch", "steps",  "counts",
                                          "null",      "rates", "method", "momentum",
                                          "diverging", "h",     NULL};

static int l_expected(lua_State *L) {
  static const char *const methods[] = {"secular", "recursion", "volterra", "ode", NULL};
  lua_settop(L, 3);
  const ml_tensor *lambda, *counts, *steps, *rates = NULL;
  const double *l = check_array(L, 1, 1, -1, -1, &lambda);
  const int64_t d = lambda->size[0];
  const double *rho = check_array(L, 2, 1, d, -1, NULL);
  mll_check_opts(L, 3, curve_names);
  const int method = mll_opt_choice(L, 3, "method", methods, 0);
  const double batch = opt_batch(L, 3), null = mll_opt_number(L, 3, "null", 0),
               momentum = opt_momentum(L, 3);
  const bool diverging = mll_opt_boolean(L, 3, "diverging", false);
  if ((momentum != 0 || diverging) && method != 1)
    return mll_opt_error(L, 3, momentum != 0 ? "momentum" : "diverging",
                         "needs method = \"recursion\"");
  double gamma = 0;
  if (mll_has_opt(L, 3, "rates"))
    opt_array(L, 3, "rates", &rates);
  else
    gamma = opt_rate(L, 3);
  const double *counted = NULL;
  if (mll_has_opt(L, 3, "counts")) {
    counted = opt_array(L, 3, "counts", &counts);
    if (ml_numel(counts) != d)
      return mll_opt_error(L, 3, "counts", "has %d values for %d modes", (int)ml_numel(counts),
                           (int)d);
  }
  ml_error err;
  ml_status status = ML_OK;
  if (method == 3) { /* the rates and lengths of its own steps */
    const ml_tensor *lengths;
    const double *h = opt_array(L, 3, "h", &lengths);
    const int64_t n = ml_numel(lengths);
    if (!rates || ml_numel(rates) != n)
      return mll_opt_error(L, 3, "rates", "wanted %d, one for each of h", (int)n);
    ml_shape every = ml_shape_make(1, n);
    ml_tensor *P = mll_push_tensor(L, ML_F64, &every);
    MLL_RUN(L, status,
            ml_plrf_in_time(ML_DATA(double, P), l, rho, counted, null, d, batch,
                            ML_DATA(const double, rates), h, n, &err));
    return status ? mll_raise(L, &err) : 1;
  }
  int64_t records;
  const int64_t *whole = opt_steps(L, 3, &records);
  const int64_t last = whole[records - 1];
  const double *s = opt_array(L, 3, "steps", &steps);
  if (rates && (method != 1 || ml_numel(rates) < last))
    return mll_opt_error(L, 3, "rates", "%d rates for %d steps; they need the recursion",
                         (int)ml_numel(rates), (int)last);
  if (method == 2 && last > 200000)
    return mll_opt_error(L, 3, "steps", "up to %g by the Volterra equation, wanted at most 200000",
                         (double)last);
  if (!rates && !diverging) {
    status = ml_plrf_stable(l, counted, d, gamma, batch, momentum, &err);
    if (status)
      return mll_raise(L, &err);
  }
  ml_shape shape = ml_shape_make(1, method == 2 ? last + 1 : records);
  ml_tensor *P = mll_push_tensor(L, ML_F64, &shape);
  double *p = ML_DATA(double, P);
  if (method == 0) {
    MLL_RUN(L, status,
            ml_plrf_secular(p, l, rho, counted, null, d, batch, gamma, s, records, &err));
    return status ? mll_raise(L, &err) : 1;
  }
  if (method == 1) {
    MLL_RUN(L, status,
            ml_plrf_recursion(p, l, rho, counted, null, d, batch,
                              rates ? ML_DATA(double, rates) : &gamma, rates ? ml_numel(rates) : 1,
                              momentum, whole, records, &err));
    double start = null;
    for (int64_t k = 0; k < d; k++)
      start += rho[k];
    for (int64_t i = 0; !status && rates && !diverging && i < records; i++)
      if (!isfinite(p[i]) || (i == records - 1 && p[i] > 1e3 * start))
        status = ml_fail(&err, ML_ENUMERIC, 0,
                         "SGD diverges: the expected loss is %g after %lld steps (%g at the start)",
                         p[i], (long long)whole[i], start);
    return status ? mll_raise(L, &err) : 1;
  }
  ml_tensor *F = mll_push_tensor(L, ML_F64, &shape), *K = mll_push_tensor(L, ML_F64, &shape);
  MLL_RUN(L, status,
          ml_plrf_volterra(p, ML_DATA(double, F), ML_DATA(double, K), l, rho, counted, null, d,
                           batch, gamma, last + 1, &err));
  return status ? mll_raise(L, &err) : 3;
}

static int l_kernel_norm(lua_State *L) {
  static const char *const names[] = {"gamma", "batch", "momentum", NULL};
  lua_settop(L, 2);
  const ml_tensor *lambda;
  const double *l = check_array(L, 1, 1, -1, -1, &lambda);
  mll_check_opts(L, 2, names);
  const double gamma = opt_rate(L, 2), batch = opt_batch(L, 2), momentum = opt_momentum(L, 2);
  double top = 0;
  for (int64_t k = 0; k < lambda->size[0]; k++)
    top = fmax(top, l[k]);
  lua_pushnumber(L, ml_plrf_kernel_norm(l, NULL, lambda->size[0], gamma, batch, momentum));
  lua_pushnumber(L, ml_plrf_modes(top, gamma, batch, momentum));
  return 2;
}

/* ---- deterministic equivalent ---- */

static void read_population(lua_State *L, ml_plrf_population *p) {
  const ml_tensor *t;
  const double *x = check_array(L, 1, 2, 4, -1, &t);
  p->n = t->size[1];
  p->a = x;
  p->na = x + p->n;
  p->e = x + 2 * p->n;
  p->count = x + 3 * p->n;
  p->d = mll_check_number(L, 2);
  p->modes = 0;
  for (int64_t i = 0; i < p->n; i++)
    p->modes += p->count[i];
  if (!(p->d >= 1))
    mll_arg_error(L, 2, "%g, wanted >= 1", p->d);
}

static int l_m(lua_State *L) {
  static const char *const names[] = {"re", "im", NULL};
  lua_settop(L, 3);
  ml_plrf_population p;
  read_population(L, &p);
  mll_check_opts(L, 3, names);
  double m[2];
  ml_error err;
  if (ml_plrf_m(m, &p, mll_opt_number(L, 3, "re", 0), mll_opt_number(L, 3, "im", 0), &err))
    return mll_raise(L, &err);
  lua_pushnumber(L, m[0]);
  lua_pushnumber(L, m[1]);
  return 2;
}

static int l_capacity(lua_State *L) {
  ml_plrf_population p;
  read_population(L, &p);
  double kappa, F0;
  ml_plrf_floor(&kappa, &F0, &p);
  lua_pushnumber(L, kappa);
  lua_pushnumber(L, F0);
  return 2;
}

static int l_norm(lua_State *L) {
  static const char *const names[] = {"gamma", "batch", NULL};
  lua_settop(L, 3);
  ml_plrf_population p;
  read_population(L, &p);
  mll_check_opts(L, 3, names);
  double norm;
  ml_error err;
  if (ml_plrf_deterministic_norm(&norm, &p, opt_rate(L, 3), opt_batch(L, 3), &err))
    return mll_raise(L, &err);
  lua_pushnumber(L, norm);
  return 1;
}

static int l_curve(lua_State *L) {
  static const char *const names[] = {"gamma", "batch", "steps", "nodes", NULL};
  lua_settop(L, 3);
  ml_plrf_population p;
  read_population(L, &p);
  mll_check_opts(L, 3, names);
  const double gamma = opt_rate(L, 3), batch = opt_batch(L, 3);
  const lua_Integer nodes = mll_opt_integer(L, 3, "nodes", 24);
  if (nodes < 8 || nodes > 40 || nodes % 2)
    return mll_opt_error(L, 3, "nodes", "%d, wanted an even number in 8..40", (int)nodes);
  const ml_tensor *steps;
  const double *s = opt_array(L, 3, "steps", &steps);
  const int64_t records = ml_numel(steps);
  for (int64_t i = 0; i < records; i++)
    if (!(s[i] >= 0 && s[i] <= 1e15) || (s[i] < 12 && s[i] != floor(s[i])))
      return mll_opt_error(
          L, 3, "steps",
          "value %d is %g, wanted whole numbers, or fractions from 12 on, up to 1e15", (int)i + 1,
          s[i]);
  ml_shape shape = ml_shape_make(1, records);
  ml_tensor *out[3];
  for (int i = 0; i < 3; i++)
    out[i] = mll_push_tensor(L, ML_F64, &shape);
  ml_error err;
  ml_status status;
  MLL_RUN(L, status,
          ml_plrf_deterministic(ML_DATA(double, out[0]), ML_DATA(double, out[1]),
                                ML_DATA(double, out[2]), &p, gamma, batch, s, records, (int)nodes,
                                &err));
  return status ? mll_raise(L, &err) : 3;
}

static int l_mass(lua_State *L) {
  static const char *const names[] = {"x", "top", NULL};
  lua_settop(L, 3);
  ml_plrf_population p;
  read_population(L, &p);
  mll_check_opts(L, 3, names);
  const double top = mll_opt_number(L, 3, "top", 8);
  const ml_tensor *at;
  const double *x = opt_array(L, 3, "x", &at);
  for (int64_t i = 0; i < ml_numel(at); i++)
    if (!(x[i] > 0 && x[i] < top))
      return mll_opt_error(L, 3, "x", "value %d is %g, wanted above 0 and below %g", (int)i + 1,
                           x[i], top);
  ml_shape shape = ml_shape_of(at);
  ml_tensor *mass = mll_push_tensor(L, ML_F64, &shape);
  ml_tensor *count = mll_push_tensor(L, ML_F64, &shape);
  ml_error err;
  ml_status status;
  MLL_RUN(
      L, status,
      ml_plrf_mass(ML_DATA(double, mass), ML_DATA(double, count), &p, x, ml_numel(at), top, &err));
  return status ? mll_raise(L, &err) : 2;
}

#define SOURCE "@source Paquette et al. 2024"
#define POPULATION                                                                                 \
  "@param population tensor [4,n] f64: eigenvalue, multiplicity times eigenvalue, energy, "        \
  "multiplicity\n@param d number of features\n"
static const mll_fn functions[] = {
    {"spectrum", l_spectrum,
     "core.plrf.spectrum(A, u)\nEigenvalues of A^T A and the projections of A^T u.\n"
     "@param A tensor [v,d] f64\n@param u tensor [v] f64\n@return tensor lambda [d], ascending\n"
     "@return tensor t [d]\n@return tensor rho [d]\n@return number null\n@return number "
     "u.u\n" SOURCE},
    {"sgd", l_sgd,
     "core.plrf.sgd(A, u, opts)\nOne-pass SGD by drawing samples, or from samples x.\n"
     "@param A tensor [v,d] f64\n@param u tensor [v] f64\n@param opts.gamma tensor [1] or [steps]\n"
     "@param opts.steps tensor [records] f64, ascending\n@param opts.batch integer =1 samples an "
     "update, >= 1\n"
     "@param opts.runs integer =1\n@param opts.rng rng\n@param opts.momentum number =0 share of "
     "the last step that is kept, in [0, 1)\n"
     "@param opts.dtype string =f64\n@return tensor risk [runs, records]\n@return tensor theta "
     "[runs, d], the last parameters\n" SOURCE},
    {"sgd_fast", l_sgd_fast,
     "core.plrf.sgd_fast(lambda, t, opts)\nThe same law in the eigenbasis, O(d) a sample.\n"
     "@param lambda tensor [d] f64\n@param t tensor [d] f64\n@param opts.null number least loss\n"
     "@return tensor risk [runs, records]\n" SOURCE},
    {"expected", l_expected,
     "core.plrf.expected(lambda, rho, opts)\nExact expected loss.\n@param lambda tensor [d] f64\n"
     "@param rho tensor [d] f64 energies\n@param opts.method string =secular, recursion, volterra, "
     "or ode\n"
     "@param opts.gamma number > 0\n@param opts.rates tensor one rate a step, for the recursion "
     "and "
     "ode\n@param opts.h tensor of ode: the updates that each of its steps takes at once, 0 for "
     "one "
     "by the recursion\n"
     "@param opts.batch integer =1 samples an update, >= 1\n@param opts.steps tensor f64\n@param "
     "opts.counts tensor "
     "multiplicities\n@param opts.null number =0\n"
     "@return tensor P [records]; by volterra P, F, K at 0..last step; by ode P after "
     "each of its steps\n" SOURCE},
    {"kernel_norm", l_kernel_norm,
     "core.plrf.kernel_norm(lambda, opts)\n@param lambda tensor [d] f64\n@param opts.gamma number "
     "> "
     "0\n@param opts.batch integer =1 samples an update, >= 1\n@return number sum of gamma "
     "lambda/(2 - gamma (B+1) "
     "lambda)\n@return number gamma (B+1) lambda_max\n" SOURCE},
    {"m", l_m,
     "core.plrf.m(population, d, opts)\nThe fixed point m(z).\n" POPULATION
     "@param opts.re number =0\n@param opts.im number =0\n@return number real part\n@return number "
     "imaginary part\n" SOURCE},
    {"floor", l_capacity,
     "core.plrf.floor(population, d)\n" POPULATION
     "@return number kappa\n@return number F_0\n" SOURCE},
    {"norm", l_norm,
     "core.plrf.norm(population, d, opts)\nKernel norm of the deterministic "
     "equivalent.\n" POPULATION "@param opts.gamma number > 0\n@param opts.batch integer =1 "
     "samples an update, >= 1\n@return number\n" SOURCE},
    {"curve", l_curve,
     "core.plrf.curve(population, d, opts)\nDeterministic P, F and K at any steps up to "
     "1e15.\n" POPULATION "@param opts.gamma number > 0\n@param opts.batch integer =1 samples an "
     "update, >= 1\n@param opts.steps tensor "
     "[records] f64\n@param opts.nodes integer =24\n@return tensor P\n@return tensor F\n@return "
     "tensor K\n" SOURCE},
    {"mass", l_mass,
     "core.plrf.mass(population, d, opts)\nEnergy and number of eigenvalues above x.\n" POPULATION
     "@param opts.x tensor f64\n@param opts.top number =8 above the spectrum\n@return tensor "
     "mass\n@return tensor count\n" SOURCE},
    {NULL, NULL, NULL}};

void mll_open_plrf(lua_State *L) {
  lua_newtable(L);
  mll_register(L, functions);
  lua_setfield(L, -2, "plrf");
}
