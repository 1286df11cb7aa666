/* Activations: values against libm, limits, names, f32 over a grid. */
#include "job.h"

static double value(ml_act act, double x) {
  switch (act) {
  case ML_ACT_GELU_TANH:
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
  case ML_ACT_GELU_ERF:
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
  case ML_ACT_RELU:
    return x > 0 ? x : 0;
  case ML_ACT_RELU2:
    return x > 0 ? x * x : 0;
  case ML_ACT_SILU:
    return x / (1 + exp(-x));
  case ML_ACT_SOFTPLUS:
    return fmax(x, 0) + log1p(exp(-fabs(x)));
  case ML_ACT_TANH:
    return tanh(x);
  case ML_ACT_SIGMOID:
    return 1 / (1 + exp(-x));
  case ML_ACT_SIN:
    return sin(x);
  case ML_ACT_ERF:
    return erf(x);
  default:
    return x;
  }
}

static ml_tensor apply(ml_act act, const ml_tensor *x, ml_dtype dtype) {
  ml_tensor narrow = {0}, y = {0}, wide = {0};
  CHECK_OK(ml_tensor_cast(&narrow, x, dtype, &err), &err);
  CHECK_OK(ml_activation(&y, &narrow, act, &err), &err);
  CHECK_OK(ml_tensor_cast(&wide, &y, ML_F64, &err), &err);
  ml_tensor_clear(&narrow);
  ml_tensor_clear(&y);
  return wide;
}

/* analytic: within a few rounding errors of the value, or of 1 where the formula above cancels
 * (tanh form near -5) */
static void test_values(void) {
  ml_rng g = ml_rng_seed(3);
  ml_tensor x = normals(&g, 0, 4, 1, 20011);
  for (int64_t i = 0; i < ml_numel(&x);
       i++) /* what f32 can hold, so that both see the same argument */
    ML_DATA(double, &x)[i] = (double)(float)number(&x, i);
  for (int act = 0; act < ML_ACT_COUNT; act++)
    for (int dtype = 0; dtype < 2; dtype++) {
      ml_tensor y = apply((ml_act)act, &x, dtype ? ML_F32 : ML_F64);
      double eps = dtype ? 6e-8 : 1.2e-16, worst = 0;
      for (int64_t i = 0; i < ml_numel(&x); i++) {
        double want = value((ml_act)act, number(&x, i));
        worst = fmax(worst, fabs(number(&y, i) - want) /
                                (fabs(want) + 0.1 * fmax(1, fabs(number(&x, i)))));
      }
      CHECK(worst < 8 * eps);
      if (!(worst < 8 * eps))
        CHECK_SAY("  %s %s: off by %.3g\n", ml_act_name((ml_act)act), dtype ? "f32" : "f64", worst);
      ml_tensor_clear(&y);
    }
  ml_tensor_clear(&x);
}

/* property: a value does not depend on where in the vector it stands */
static void test_place_does_not_matter(void) {
  ml_rng g = ml_rng_seed(4);
  ml_tensor x = normals(&g, 0, 2, 1, 37), part = {0}, head = {0};
  for (int act = 0; act < ML_ACT_COUNT; act++)
    for (int dtype = 0; dtype < 2; dtype++) {
      ml_tensor all = apply((ml_act)act, &x, dtype ? ML_F32 : ML_F64);
      for (int start = 0; start < 5; start++) {
        CHECK_OK(ml_view_narrow(&part, &x, 0, start, 37 - 2 * start, &err), &err);
        head = apply((ml_act)act, &part, dtype ? ML_F32 : ML_F64);
        for (int64_t i = 0; i < ml_numel(&head); i++)
          CHECK(number(&head, i) == number(&all, i + start));
        ml_tensor_clear(&part);
        ml_tensor_clear(&head);
      }
      ml_tensor_clear(&all);
    }
  ml_tensor_clear(&x);
}

/* analytic: NaN stays, infinities go to their limits, huge numbers do not make NaN, in value and
 * derivative */
static void test_limits(void) {
  ml_shape shape = ml_shape_make(1, 7);
  ml_tensor x = {0};
  CHECK_OK(ml_tensor_init(&x, ML_F64, &shape, &err), &err);
  double *p = ML_DATA(double, &x);
  p[0] = NAN, p[1] = 1e30, p[2] = -1e30, p[3] = INFINITY, p[4] = -INFINITY, p[5] = 200, p[6] = -200;
  for (int act = 0; act < ML_ACT_COUNT; act++)
    for (int dtype = 0; dtype < 2; dtype++) {
      job j = {.op = &ml_nn_op_activation, .attr = &(ml_nn_activation_attr){(ml_act)act}, .on = 1};
      ml_tensor_alias(&j.in[0], &x);
      answer a;
      CHECK_OK(job_run(&a, &j, dtype ? ML_F32 : ML_F64, false), &err);
      const double *y = ML_DATA(double, &a.out[0]);
      CHECK(isnan(y[0]));
      bool grows = act == ML_ACT_IDENTITY || act == ML_ACT_GELU_TANH || act == ML_ACT_GELU_ERF ||
                   act == ML_ACT_RELU || act == ML_ACT_SILU || act == ML_ACT_SOFTPLUS;
      if (grows) {
        CHECK_CLOSE(y[1], 1e30, 1e-6);
        CHECK(isinf(y[3]));
        CHECK_CLOSE(y[5], 200, 1e-6);
      }
      if (grows && act != ML_ACT_IDENTITY)
        CHECK(fabs(y[2]) < 1e-30 && fabs(y[4]) < 1e-30 && fabs(y[6]) < 1e-30);
      if (act == ML_ACT_TANH || act == ML_ACT_ERF)
        CHECK(y[1] == 1 && y[2] == -1 && y[3] == 1 && y[4] == -1);
      if (act == ML_ACT_SIGMOID)
        CHECK(y[1] == 1 && y[2] == 0 && y[3] == 1 && y[4] == 0);
      if (act == ML_ACT_SIN)
        CHECK(fabs(y[1]) <= 1 && fabs(y[5] - sin(200)) < 1e-6 && isnan(y[3]));
      for (int i = 1; i < 7; i++)
        if (act != ML_ACT_SIN && act != ML_ACT_RELU2 && (i == 1 || i == 2 || i > 4))
          CHECK(isfinite(number(&a.grad[0], i)));
      answer_clear(&a);
      job_clear(&j);
    }
  ml_tensor_clear(&x);
}

static void test_names(void) {
  for (int i = 0; i < ML_ACT_COUNT; i++) {
    ml_act act = ML_ACT_COUNT;
    CHECK(ml_act_parse(&act, ml_act_name((ml_act)i)));
    CHECK_EQ(act, i);
  }
  ml_act act = ML_ACT_COUNT;
  CHECK(!ml_act_parse(&act, "gelu"));
  CHECK_EQ(act, ML_ACT_COUNT);
}

static void test_properties(void) {
  ml_rng g = ml_rng_seed(2);
  for (int act = 0; act < ML_ACT_COUNT; act++) {
    job j = {.op = &ml_nn_op_activation, .attr = &(ml_nn_activation_attr){(ml_act)act}, .on = 1};
    j.in[0] = normals(&g, 0, 1.5, 2, 170, 211);
    job_properties(&j, 2e-6);
    job_clear(&j);
  }
}

static void test_errors(void) {
  ml_rng g = ml_rng_seed(2);
  ml_tensor ids = ids_below(&g, 3, 1, 4), y = {0};
  CHECK_FAIL(ml_activation(&y, &ids, ML_ACT_RELU, &err), ML_EDTYPE);
  CHECK_HAS(err.message, "index [4]");
  CHECK_FAIL(ml_activation(&y, &y, ML_ACT_RELU, &err), ML_ESTATE);
  ml_tensor_clear(&ids);
}

CHECK_MAIN(test_values, test_place_does_not_matter, test_limits, test_names, test_properties,
           test_errors)
