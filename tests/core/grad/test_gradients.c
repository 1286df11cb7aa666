/* gradient: the vjp of every registered op, of all rooms, against central differences in f64; and
 * that it says the same however it is reached: twice, alone, onto existing gradients, from strided
 * gradients, in f32, out of memory. */
#include "check.h"
#include "grad/grad.h"

/* Five-point stencil; an entry is right when one of the steps confirms it: near a bend a short one,
 * elsewhere the long one, which rounds less. */
static const double steps[] = {1e-3, 1e-4};
enum { STEPS = 2, SEEDS = 3 };
static const double RTOL = 1e-7, ATOL_OF_LARGEST = 1e-9;

static ml_error err;
static const char *where_op; /* of the case under way, for messages */
static int where_variant, where_seed;

static void say(const char *what) {
  CHECK_SAY("  in %s of op %s, variant %d, seed %d\n", what, where_op, where_variant, where_seed);
}

/* ---- a case and its runs --------------------------------------------------------------------- */

typedef struct {
  const ml_op *op;
  ml_check_case c;
  int n_real;                   /* outputs with a gradient */
  ml_tensor w[ML_OP_MAX_OUT];   /* the loss is sum w out over the real outputs */
  ml_tensor want[ML_OP_MAX_IN]; /* the gradients of a plain run */
} problem;

static void clear_all(ml_tensor *t, int n) {
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&t[i]);
}

static ml_status run_forward(ml_tensor *out, const problem *p, const ml_tensor *in) {
  const ml_tensor *pointers[ML_OP_MAX_IN];
  for (int i = 0; i < p->c.n_in; i++)
    pointers[i] = ml_tensor_empty(&in[i]) ? NULL : &in[i];
  memset(out, 0, ML_OP_MAX_OUT * sizeof *out);
  return ml_apply(out, p->op, pointers, p->c.n_in, p->c.attr, &err);
}

static void close_problem(problem *p) {
  clear_all(p->c.in, ML_OP_MAX_IN);
  clear_all(p->w, ML_OP_MAX_OUT);
  clear_all(p->want, ML_OP_MAX_IN);
}

/* Builds the case and random weights for its outputs. */
static bool open_problem(problem *p, const ml_op *op, int variant, int *n_variants, int seed) {
  memset(p, 0, sizeof *p);
  p->op = op;
  ml_rng g = ml_rng_seed((uint64_t)(1000 * seed + variant));
  ml_status status = op->check(&p->c, variant, n_variants, &g, &err);
  CHECK_OK(status, &err);
  if (!status && op->arity >= 0)
    CHECK_EQ(p->c.n_in > op->arity, false);
  if (op->arity >= 0)
    p->c.n_in = op->arity;
  if (!status) {
    ml_tensor out[ML_OP_MAX_OUT];
    status = run_forward(out, p, p->c.in);
    CHECK_OK(status, &err);
    for (int k = 0; !status && k < op->n_out; k++) {
      if (!ml_is_real(out[k].dtype))
        continue;
      ml_shape shape = ml_shape_of(&out[k]);
      ml_tensor w = {0};
      status = ml_tensor_init(&w, ML_F64, &shape, &err);
      if (status)
        break;
      ml_rng_normal_f64(&g, ML_DATA(double, &w), ml_numel(&w), 0, 1);
      status = ml_tensor_cast(&p->w[k], &w, out[k].dtype, &err);
      ml_tensor_clear(&w);
      p->n_real++;
    }
    CHECK_OK(status, &err);
    clear_all(out, ML_OP_MAX_OUT);
  }
  if (!status)
    return true;
  say("the case");
  close_problem(p);
  return false;
}

typedef struct {
  ml_tensor leaf[ML_OP_MAX_IN];
  ml_tensor in[ML_OP_MAX_IN]; /* leaves, copies of leaves, or constants */
  ml_tensor out[ML_OP_MAX_OUT];
  ml_tensor y; /* what backward starts from */
  const ml_tensor *seed;
} graph;

static void close_graph(graph *r) {
  clear_all(r->leaf, ML_OP_MAX_IN);
  clear_all(r->in, ML_OP_MAX_IN);
  clear_all(r->out, ML_OP_MAX_OUT);
  ml_tensor_clear(&r->y);
}

static ml_status add_term(ml_tensor *total, const ml_tensor *t, const ml_tensor *w) {
  ml_tensor product = {0}, sum = {0}, more = {0};
  ml_status status = ml_binary(&product, ML_MUL, t, w, &err);
  if (!status)
    status = ml_reduce(&sum, ML_SUM, &product, 0, false, &err);
  ml_tensor_clear(&product);
  if (status)
    return status;
  if (ml_tensor_empty(total)) {
    *total = sum;
    return ML_OK;
  }
  status = ml_binary(&more, ML_ADD, total, &sum, &err);
  ml_tensor_clear(&sum);
  ml_tensor_clear(total);
  *total = more;
  return status;
}

static ml_status sum_of_outputs(ml_tensor *y, graph *r, const problem *p, unsigned outputs) {
  ml_status status = ML_OK;
  for (int k = 0; !status && k < p->op->n_out; k++)
    if (r->out[k].node && (outputs >> k & 1u))
      status = add_term(y, &r->out[k], &p->w[k]);
  return status;
}

/* Leaves for the inputs in `on` (through: a copy between leaf and op), the op, and the loss or the
 * output. */
static ml_status open_graph(graph *r, const problem *p, unsigned on, bool through,
                            const ml_tensor *seed) {
  memset(r, 0, sizeof *r);
  ml_status status = ML_OK;
  for (int i = 0; i < p->c.n_in && !status; i++) {
    if (!(on >> i & 1u)) {
      ml_tensor_detach(&r->in[i], &p->c.in[i]);
      continue;
    }
    status = ml_param(&r->leaf[i], &p->c.in[i], &err);
    if (!status && through)
      status = ml_clone(&r->in[i], &r->leaf[i], &err);
    else if (!status)
      ml_tensor_alias(&r->in[i], &r->leaf[i]);
  }
  if (!status)
    status = run_forward(r->out, p, r->in);
  if (status)
    return status;
  if (p->n_real == 1 && !through) {
    for (int k = 0; k < p->op->n_out; k++)
      if (r->out[k].node) {
        ml_tensor_alias(&r->y, &r->out[k]);
        r->seed = seed ? seed : &p->w[k];
      }
    return ML_OK;
  }
  return sum_of_outputs(&r->y, r, p, ~0u);
}

static double entry(const ml_tensor *t, int64_t i) {
  int64_t position[ML_MAX_RANK];
  for (int k = t->rank - 1; k >= 0; k--) {
    position[k] = i % t->size[k];
    i /= t->size[k];
  }
  return ml_tensor_get(t, position);
}

static double largest_of(const ml_tensor *t) {
  double largest = 0;
  for (int64_t i = 0; i < ml_numel(t); i++)
    largest = fmax(largest, fabs(entry(t, i)));
  return largest;
}

/* got ~ scale want + plus, within tol of the largest entry */
static void compare(const char *what, const ml_tensor *got, double scale, const ml_tensor *want,
                    const ml_tensor *plus, double tol) {
  if (ml_tensor_empty(want))
    return;
  bool same = !ml_tensor_empty(got) && got->rank == want->rank;
  for (int k = 0; same && k < got->rank; k++)
    same = got->size[k] == want->size[k];
  CHECK(same);
  double most = largest_of(want) * fabs(scale) + (plus ? largest_of(plus) : 0), worst = 0;
  for (int64_t i = 0; same && i < ml_numel(want); i++) {
    double wanted = scale * entry(want, i) + (plus ? entry(plus, i) : 0);
    double off = fabs(entry(got, i) - wanted);
    worst = off <= worst ? worst : off; /* a NaN is kept */
  }
  bool close = same && worst <= tol * most;
  CHECK(close);
  if (!close) {
    say(what);
    CHECK_SAY("  off by %.3g, largest %.3g\n", worst, most);
  }
}

static void compare_leaf(const char *what, const ml_tensor *leaf, double scale,
                         const ml_tensor *want, const ml_tensor *plus, double tol) {
  ml_tensor g;
  ml_grad_get(&g, leaf);
  compare(what, &g, scale, want, plus, tol);
  if (!ml_tensor_empty(&g))
    CHECK(ml_is_contiguous(&g));
  ml_tensor_clear(&g);
}

/* ---- differences ----------------------------------------------------------------------------- */

/* Forward, with copies of the outputs: views would change with x. */
static void outputs_at(ml_tensor *out, const problem *p, ml_tensor *in) {
  CHECK_OK(run_forward(out, p, in), &err);
  for (int o = 0; o < p->op->n_out; o++) {
    ml_tensor copy = {0};
    if (!ml_tensor_empty(&out[o]))
      CHECK_OK(ml_tensor_clone(&copy, &out[o], &err), &err);
    ml_tensor_clear(&out[o]);
    out[o] = copy;
  }
}

/* sum w (out(x + a) - out(x - a)) with x the k-th entry of input i */
static double difference(const problem *p, ml_tensor *in, int i, int64_t k, double a) {
  ml_tensor out[2][ML_OP_MAX_OUT];
  double *x = ML_DATA(double, &in[i]) + k, before = *x, sum = 0;
  *x = before + a;
  outputs_at(out[0], p, in);
  *x = before - a;
  outputs_at(out[1], p, in);
  *x = before;
  for (int o = 0; o < p->op->n_out; o++)
    if (!ml_tensor_empty(&p->w[o])) {
      const double *w = ML_DATA(double, &p->w[o]);
      const double *high = ML_DATA(double, &out[0][o]), *low = ML_DATA(double, &out[1][o]);
      for (int64_t j = 0; j < ml_numel(&p->w[o]); j++)
        sum += w[j] * (high[j] - low[j]);
    }
  clear_all(out[0], ML_OP_MAX_OUT);
  clear_all(out[1], ML_OP_MAX_OUT);
  return sum;
}

static void check_differences(problem *p) {
  ml_tensor in[ML_OP_MAX_IN];
  memset(in, 0, sizeof in);
  for (int i = 0; i < p->c.n_in; i++)
    if (!ml_tensor_empty(&p->c.in[i]))
      CHECK_OK(ml_tensor_clone(&in[i], &p->c.in[i], &err), &err);
  for (int i = 0; i < p->c.n_in; i++) {
    if (!(p->c.differentiable >> i & 1u))
      continue;
    int64_t n = ml_numel(&in[i]);
    double *slope = malloc((size_t)(n + 1) * STEPS * sizeof *slope), largest = 0;
    for (int64_t k = 0; k < n; k++)
      for (int s = 0; s < STEPS; s++) {
        double h = steps[s];
        double d = 8 * difference(p, in, i, k, h) - difference(p, in, i, k, 2 * h);
        slope[STEPS * k + s] = d / (12 * h);
        if (s == 0)
          largest = fmax(largest, fabs(d / (12 * h)));
      }
    for (int64_t k = 0; k < n; k++) {
      double got = entry(&p->want[i], k);
      bool close = false;
      for (int s = 0; s < STEPS; s++) {
        double wanted = slope[STEPS * k + s];
        close = close || fabs(got - wanted) <= RTOL * fabs(wanted) + ATOL_OF_LARGEST * largest;
      }
      CHECK(close);
      if (!close) {
        say("differences");
        CHECK_SAY("  input %d, entry %lld: gradient %.12g, differences %.12g, %.12g\n", i + 1,
                  (long long)k + 1, got, slope[STEPS * k], slope[STEPS * k + 1]);
        break; /* one entry tells enough */
      }
    }
    free(slope);
  }
  clear_all(in, ML_OP_MAX_IN);
}

/* ---- other ways to the same gradient --------------------------------------------------------- */

static bool opened(graph *r, const problem *p, unsigned on, bool through, const ml_tensor *seed) {
  ml_status status = open_graph(r, p, on, through, seed);
  CHECK_OK(status, &err);
  CHECK(status || r->y.node);
  if (!status && r->y.node)
    return true;
  say("forward");
  close_graph(r);
  return false;
}

static void check_plain(problem *p) {
  graph r;
  unsigned all = p->c.differentiable;
  if (!opened(&r, p, all, false, NULL))
    return;
  CHECK_OK(ml_backward(&r.y, r.seed, false, &err), &err);
  for (int i = 0; i < p->c.n_in; i++)
    if (all >> i & 1u) {
      ml_grad_get(&p->want[i], &r.leaf[i]);
      CHECK(!ml_tensor_empty(&p->want[i]));
      if (ml_tensor_empty(&p->want[i]))
        say("backward: no gradient");
    }
  CHECK_FAIL(ml_backward(&r.y, r.seed, false, &err), ML_ESTATE);
  close_graph(&r);
}

static void check_retain(const problem *p) {
  graph r;
  if (!opened(&r, p, p->c.differentiable, false, NULL))
    return;
  CHECK_OK(ml_backward(&r.y, r.seed, true, &err), &err);
  for (int i = 0; i < p->c.n_in; i++)
    compare_leaf("the first of two backwards", &r.leaf[i], 1, &p->want[i], NULL, 0);
  CHECK_OK(ml_backward(&r.y, r.seed, false, &err), &err);
  for (int i = 0; i < p->c.n_in; i++)
    compare_leaf("the second of two backwards", &r.leaf[i], 2, &p->want[i], NULL, 1e-12);
  close_graph(&r);
}

/* Onto gradients that are there, each leaf alone, and by ml_backward_to. */
static void check_accumulation(const problem *p) {
  graph r;
  ml_tensor there[ML_OP_MAX_IN];
  memset(there, 0, sizeof there);
  if (!opened(&r, p, p->c.differentiable, false, NULL))
    return;
  ml_rng g = ml_rng_seed(77);
  for (int i = 0; i < p->c.n_in; i++)
    if (r.leaf[i].node) {
      ml_shape shape = ml_shape_of(&r.leaf[i]);
      CHECK_OK(ml_tensor_init(&there[i], ML_F64, &shape, &err), &err);
      ml_rng_normal_f64(&g, ML_DATA(double, &there[i]), ml_numel(&there[i]), 0, 1);
      CHECK_OK(ml_grad_set(&r.leaf[i], &there[i], &err), &err);
    }
  CHECK_OK(ml_backward(&r.y, r.seed, false, &err), &err);
  for (int i = 0; i < p->c.n_in; i++)
    compare_leaf("backward onto a gradient", &r.leaf[i], 1, &p->want[i], &there[i], 1e-12);
  clear_all(there, ML_OP_MAX_IN);
  close_graph(&r);
}

static void check_alone(const problem *p) {
  graph r;
  for (int i = 0; i < p->c.n_in; i++) {
    if (!(p->c.differentiable >> i & 1u) || !opened(&r, p, 1u << i, false, NULL))
      continue;
    CHECK_OK(ml_backward(&r.y, r.seed, false, &err), &err);
    compare_leaf("backward to one input alone", &r.leaf[i], 1, &p->want[i], NULL, 1e-12);
    close_graph(&r);
  }
}

static void check_backward_to(const problem *p) {
  graph r;
  ml_tensor grads[ML_OP_MAX_IN];
  const ml_tensor *leaves[ML_OP_MAX_IN];
  int inputs[ML_OP_MAX_IN], n = 0;
  if (!opened(&r, p, p->c.differentiable, false, NULL))
    return;
  for (int i = 0; i < p->c.n_in; i++)
    if (r.leaf[i].node) {
      inputs[n] = i;
      leaves[n++] = &r.leaf[i];
    }
  CHECK_OK(ml_backward_to(grads, &r.y, r.seed, leaves, n, false, &err), &err);
  for (int i = 0; i < n; i++) {
    ml_tensor g;
    compare("ml_backward_to", &grads[i], 1, &p->want[inputs[i]], NULL, 0);
    ml_grad_get(&g, leaves[i]);
    CHECK(ml_tensor_empty(&g));
    ml_tensor_clear(&g);
  }
  clear_all(grads, n);
  close_graph(&r);
}

/* Through copies that have a second use: the gradient of the op is added to one that waits there.
 */
static void check_second_use(const problem *p) {
  graph r;
  ml_tensor other[ML_OP_MAX_IN];
  memset(other, 0, sizeof other);
  if (!opened(&r, p, p->c.differentiable, true, NULL))
    return;
  ml_rng g = ml_rng_seed(78);
  for (int i = 0; i < p->c.n_in; i++)
    if (r.in[i].node) {
      ml_shape shape = ml_shape_of(&r.in[i]);
      CHECK_OK(ml_tensor_init(&other[i], ML_F64, &shape, &err), &err);
      ml_rng_normal_f64(&g, ML_DATA(double, &other[i]), ml_numel(&other[i]), 0, 1);
      CHECK_OK(add_term(&r.y, &r.in[i], &other[i]), &err);
    }
  CHECK_OK(ml_backward(&r.y, NULL, false, &err), &err);
  for (int i = 0; i < p->c.n_in; i++)
    compare_leaf("backward with a second use", &r.leaf[i], 1, &p->want[i], &other[i], 1e-12);
  clear_all(other, ML_OP_MAX_IN);
  close_graph(&r);
}

/* The gradient of one number for every element, as it comes from a sum: stride 0. */
static void check_constant_gradient(const problem *p, const ml_tensor *w) {
  graph a, b;
  ml_tensor seed = {0}, sum = {0};
  ml_shape shape = ml_shape_of(w);
  CHECK_OK(ml_tensor_init(&seed, w->dtype, &shape, &err), &err);
  CHECK_OK(ml_tensor_fill_into(&seed, 1, &err), &err);
  if (opened(&a, p, p->c.differentiable, false, &seed)) {
    CHECK_OK(ml_backward(&a.y, a.seed, false, &err), &err);
    if (opened(&b, p, p->c.differentiable, false, NULL)) {
      CHECK_OK(ml_reduce(&sum, ML_SUM, &b.y, 0, false, &err), &err);
      CHECK_OK(ml_backward(&sum, NULL, false, &err), &err);
      for (int i = 0; i < p->c.n_in; i++) {
        ml_tensor g;
        ml_grad_get(&g, &a.leaf[i]);
        compare_leaf("backward from a sum", &b.leaf[i], 1, &g, NULL, 1e-12);
        ml_tensor_clear(&g);
      }
      ml_tensor_clear(&sum);
      close_graph(&b);
    }
    close_graph(&a);
  }
  ml_tensor_clear(&seed);
}

/* Gradients as they come from a stack (strided) and from a transpose (axes in another order in
 * memory). */
static void check_strided_gradient(const problem *p, const ml_tensor *w, bool transposed) {
  graph r;
  ml_tensor after = {0}, seed = {0}, view = {0};
  if (w->rank < 1 || w->rank == ML_MAX_RANK || !opened(&r, p, p->c.differentiable, false, NULL))
    return;
  if (transposed) {
    CHECK_OK(ml_transpose(&after, &r.y, 0, w->rank - 1, &err), &err);
    CHECK_OK(ml_view_transpose(&view, w, 0, w->rank - 1, &err), &err);
    CHECK_OK(ml_tensor_clone(&seed, &view, &err), &err);
  } else {
    const ml_tensor *both[2] = {&r.y, w};
    CHECK_OK(ml_stack(&after, both, 2, w->rank, &err), &err);
    both[0] = w;
    CHECK_OK(ml_stack(&seed, both, 2, w->rank, &err), &err);
  }
  CHECK_OK(ml_backward(&after, &seed, false, &err), &err);
  for (int i = 0; i < p->c.n_in; i++)
    compare_leaf(transposed ? "backward from a transpose" : "backward from a stack", &r.leaf[i], 1,
                 &p->want[i], NULL, 1e-12);
  ml_tensor_clear(&after);
  ml_tensor_clear(&seed);
  ml_tensor_clear(&view);
  close_graph(&r);
}

static void check_strided_gradients(const problem *p) {
  if (p->n_real != 1)
    return;
  for (int k = 0; k < p->op->n_out; k++) {
    if (ml_tensor_empty(&p->w[k]))
      continue;
    check_constant_gradient(p, &p->w[k]);
    check_strided_gradient(p, &p->w[k], false);
    check_strided_gradient(p, &p->w[k], true);
  }
}

/* Of several outputs, only one used. */
static void check_single_outputs(const problem *p) {
  if (p->n_real < 2)
    return;
  ml_tensor sum[ML_OP_MAX_IN];
  memset(sum, 0, sizeof sum);
  for (int k = 0; k < p->op->n_out; k++) {
    graph r;
    ml_tensor y = {0};
    if (ml_tensor_empty(&p->w[k]) || !opened(&r, p, p->c.differentiable, false, NULL))
      continue;
    CHECK_OK(sum_of_outputs(&y, &r, p, 1u << k), &err);
    CHECK_OK(ml_backward(&y, NULL, false, &err), &err);
    for (int i = 0; i < p->c.n_in; i++) {
      ml_tensor g;
      ml_grad_get(&g, &r.leaf[i]);
      if (ml_tensor_empty(&g))
        continue;
      if (ml_tensor_empty(&sum[i]))
        CHECK_OK(ml_tensor_clone(&sum[i], &g, &err), &err);
      else
        CHECK_OK(ml_tensor_binary_into(&sum[i], ML_ADD, &g, &err), &err);
      ml_tensor_clear(&g);
    }
    ml_tensor_clear(&y);
    close_graph(&r);
  }
  for (int i = 0; i < p->c.n_in; i++)
    compare("backward from single outputs", &sum[i], 1, &p->want[i], NULL, 1e-12);
  clear_all(sum, ML_OP_MAX_IN);
}

static void check_f32(const problem *p) {
  problem q = *p;
  graph r;
  memset(q.want, 0, sizeof q.want);
  memset(q.w, 0, sizeof q.w);
  bool good = true;
  for (int i = 0; i < p->c.n_in; i++) {
    memset(&q.c.in[i], 0, sizeof q.c.in[i]);
    if (ml_tensor_empty(&p->c.in[i]))
      continue;
    ml_dtype dtype = p->c.in[i].dtype == ML_F64 ? ML_F32 : p->c.in[i].dtype;
    CHECK_OK(ml_tensor_cast(&q.c.in[i], &p->c.in[i], dtype, &err), &err);
  }
  ml_tensor out[ML_OP_MAX_OUT];
  good = run_forward(out, &q, q.c.in) == ML_OK;
  CHECK(good);
  for (int k = 0; k < p->op->n_out; k++)
    if (good && !ml_tensor_empty(&p->w[k]))
      CHECK_OK(ml_tensor_cast(&q.w[k], &p->w[k], out[k].dtype, &err), &err);
  clear_all(out, ML_OP_MAX_OUT);
  if (good && opened(&r, &q, q.c.differentiable, false, NULL)) {
    CHECK_OK(ml_backward(&r.y, r.seed, false, &err), &err);
    for (int i = 0; i < p->c.n_in; i++)
      compare_leaf("backward in f32", &r.leaf[i], 1, &p->want[i], NULL, 1e-3);
    close_graph(&r);
  } else if (!good) {
    say("f32");
  }
  for (int i = p->c.n_in; i < ML_OP_MAX_IN; i++)
    memset(&q.c.in[i], 0, sizeof q.c.in[i]);
  close_problem(&q);
}

/* Forward and backward with every allocation failing in turn. */
static ml_status whole_run(const problem *p) {
  graph r;
  ml_status status = open_graph(&r, p, p->c.differentiable, false, NULL);
  if (!status)
    status = ml_backward(&r.y, r.seed, false, &err);
  close_graph(&r);
  return status;
}

static void check_allocations(const problem *p) {
  CHECK_OK(whole_run(p), &err); /* scratch is taken once */
  int before = check_failures;
  CHECK_ALLOC_SWEEP(whole_run(p), (void)0);
  if (check_failures != before)
    say("the allocation sweep");
}

/* ---- the walk -------------------------------------------------------------------------------- */

static const char *only;

static void test_every_op_against_differences(void) {
  CHECK(ml_op_count() > 0);
  for (int i = 0; i < ml_op_count(); i++) {
    const ml_op *op = ml_op_at(i);
    if (only && strcmp(only, op->name))
      continue;
    where_op = op->name;
    CHECK(op->forward && op->vjp && op->check);
    if (!op->check) {
      CHECK_SAY("  op %s has no gradient-check case\n", op->name);
      continue;
    }
    for (int seed = 1; seed <= SEEDS; seed++) {
      int n_variants = 1;
      for (int variant = 0; variant < n_variants; variant++) {
        problem p;
        where_variant = variant;
        where_seed = seed;
        if (!open_problem(&p, op, variant, &n_variants, seed))
          continue;
        CHECK(n_variants >= 1);
        CHECK(p.c.differentiable != 0);
        check_plain(&p);
        check_differences(&p);
        if (seed == 1) {
          check_retain(&p);
          check_accumulation(&p);
          check_alone(&p);
          check_backward_to(&p);
          check_second_use(&p);
          check_strided_gradients(&p);
          check_single_outputs(&p);
          check_f32(&p);
          check_allocations(&p);
        }
        close_problem(&p);
      }
    }
  }
}

static bool registered(const char *name) {
  for (int i = 0; i < ml_op_count(); i++)
    if (!strcmp(ml_op_at(i)->name, name))
      return true;
  return false;
}

/* Each room is linked whole: one op of each stands for all in its table. */
static void test_all_rooms_are_registered(void) {
  CHECK(registered("matmul")); /* grad */
  CHECK(registered("linear")); /* nn */
  for (int i = 0; i < ml_op_count(); i++)
    for (int k = 0; k < i; k++)
      CHECK(strcmp(ml_op_at(i)->name, ml_op_at(k)->name) != 0);
}

/* property: the comparison above can fail */
static void test_a_wrong_gradient_is_noticed(void) {
  const ml_op *op = NULL;
  for (int i = 0; i < ml_op_count(); i++)
    if (!strcmp(ml_op_at(i)->name, "mul"))
      op = ml_op_at(i);
  CHECK(op != NULL);
  problem p;
  int n_variants;
  where_op = "mul, made wrong on purpose";
  if (!op || !open_problem(&p, op, 0, &n_variants, 1))
    return;
  check_plain(&p);
  ML_DATA(double, &p.want[0])[3] *= 1 + 1e-6;
  int failures = check_failures;
  check_failures = 1000; /* silent */
  check_differences(&p);
  bool noticed = check_failures == 1001;
  check_failures = failures;
  CHECK(noticed);
  close_problem(&p);
}

/* A word that is the name of an op checks that op only. */
int main(int argc, char **argv) {
  void (*const tests[])(void) = {test_all_rooms_are_registered, test_a_wrong_gradient_is_noticed,
                                 test_every_op_against_differences};
  if (argc > 1 && registered(argv[1])) {
    only = argv[1];
    argc = 1;
  }
  return check_run("test_all_rooms_are_registered, test_a_wrong_gradient_is_noticed, "
                   "test_every_op_against_differences",
                   tests, 3, argc > 1 ? argv[1] : NULL);
}
