// SPDX-License-Identifier: Apache-2.0
// Training's forward against the float executor, and its gradients of every operator against
// central finite differences: (L(x+h) - L(x-h)) / 2h of L = sum of r*y with random r, summed in
// double. Inputs keep away from the kinks of piecewise functions by more than h.
#include "tests/unit/train_support.h"

#include "host/float/session.h"
#include "host/train/train_net.h"

static uint64_t seed = 1;
static const double STEP = 0.005;

// x: 0.05 beside multiples of 0.1, where kinks are, and all different; z: 1 to 2.
static void fill_inputs(const bl_float_graph *g, bl_train_net *net) {
  for (uint32_t k = 0; k < g->input_count; k++) {
    size_t count = g->values[g->inputs[k]].count;
    uint32_t order[4096];
    assert_true(count <= 4096);
    bl_random_permutation(bl_random_key(seed, k), order, count);
    for (size_t i = 0; i < count; i++)
      bl_train_input(net, k)[i] = k == 0 ? 0.1F * ((float)(order[i] % 61) - 30) + 0.05F
                                         : 1 + (float)order[i] / (float)count;
  }
}

static double loss(const bl_train_net *net) {
  double sum = 0;
  const float *y = bl_train_output(net, 0);
  for (size_t k = 0; k < bl_train_output_count(net, 0); k++)
    sum += (bl_random_unit(bl_random_key(seed + 5, k)) - 0.5) * (double)y[k];
  return sum;
}

static double loss_after(bl_train_net *net) {
  bl_error err = {0};
  if (bl_train_forward(net, true, 3, &err) != BL_OK) fail_msg("%s", err.text);
  return loss(net);
}

static void check_array(bl_train_net *net, const char *what, const char *name, float *data,
                        const float *gradient, size_t count) {
  float *kept = malloc((count + 1) * sizeof *kept);
  assert_non_null(kept);
  memcpy(kept, gradient, count * sizeof *kept);
  size_t stride = count > 150 ? count / 150 : 1;
  for (size_t k = 0; k < count; k += stride) {
    float was = data[k], up = was + (float)STEP, down = was - (float)STEP;
    data[k] = up;
    double high = loss_after(net);
    data[k] = down;
    double low = loss_after(net), expected = (high - low) / ((double)up - (double)down);
    data[k] = was;
    if (!(fabs(expected - (double)kept[k]) <= 4e-3 * (1 + fabs(expected))))
      fail_msg("seed %llu, %s: gradient of %s[%zu] is %g, finite differences say %g",
               (unsigned long long)seed, what, name, k, (double)kept[k], expected);
  }
  free(kept);
}

// The executor knows only fixed statistics, so evaluation is compared.
static void check_forward(const bl_float_graph *g, bl_train_net *net, const char *what) {
  bl_float_session *session;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(g, &session, &err), BL_OK);
  for (uint32_t k = 0; k < g->input_count; k++)
    memcpy(bl_float_session_input(session, k)->f, bl_train_input(net, k),
           g->values[g->inputs[k]].count * sizeof(float));
  assert_int_equal(bl_float_session_run(session, &err), BL_OK);
  if (bl_train_forward(net, false, 0, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_value *y = bl_float_session_value(session, bl_train_logits(g));
  assert_true(y->count == bl_train_output_count(net, 0));
  for (size_t k = 0; k < y->count; k++)
    if (!(fabs((double)y->f[k] - (double)bl_train_output(net, 0)[k]) <=
          2e-5 * (1 + fabs((double)y->f[k]))))
      fail_msg("%s: y[%zu] is %g, the executor says %g", what, k,
               (double)bl_train_output(net, 0)[k], (double)y->f[k]);
  bl_float_session_close(session);
}

static void check_gradients(const bl_float_graph *g, bl_train_net *net, const char *what) {
  bl_error err = {0};
  uint32_t count;
  (void)loss_after(net);
  for (size_t k = 0; k < bl_train_output_count(net, 0); k++)
    bl_train_output_gradient(net, 0)[k] = (float)(bl_random_unit(bl_random_key(seed + 5, k)) - 0.5);
  if (bl_train_backward(net, &err) != BL_OK) fail_msg("%s: %s", what, err.text);
  float *kept[4] = {NULL};
  for (uint32_t k = 0; k < g->input_count; k++) {
    size_t size = g->values[g->inputs[k]].count * sizeof(float);
    kept[k] = malloc(size);
    assert_non_null(kept[k]);
    memcpy(kept[k], bl_train_input_gradient(net, k), size);
  }
  const bl_train_parameter *p = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < count; k++)
    if (p[k].gradient != NULL)
      check_array(net, what, p[k].name, p[k].data, p[k].gradient, p[k].count);
  for (uint32_t k = 0; k < g->input_count; k++) {
    const bl_value *v = &g->values[g->inputs[k]];
    check_array(net, what, v->name, bl_train_input(net, k), kept[k], v->count);
    free(kept[k]);
  }
}

static void check_net(const text_net *t, bool fixed) {
  bl_float_graph *g = text_graph(t, seed);
  bl_train_net *net;
  bl_error err = {0};
  bl_train_options options = {.input_gradients = true, .fixed_statistics = fixed, .seed = seed};
  if (bl_train_open(g, &options, &net, &err) != BL_OK) fail_msg("%s: %s", t->name, err.text);
  fill_inputs(g, net);
  check_forward(g, net, t->name);
  check_gradients(g, net, t->name);
  bl_train_close(net);
  bl_float_graph_free(g);
}

static void check_all(const text_net *nets, size_t count) {
  for (size_t k = 0; k < count; k++)
    check_net(&nets[k], false);
}

static void convolutions(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"pads and strides", "x 2 3 6 5", "w 4 3 3 2;b 4", NULL,
       "Conv x w b > y | pads=i1,0,2,1 strides=i2,1", 0},
      {"no bias", "x 2 2 4 4", "w 3 2 1 1", NULL, "Conv x w > y", 0},
      {"groups", "x 1 4 5 5", "w 6 2 3 3;b 6", NULL, "Conv x w b > y | group=i2", 0},
      {"depthwise", "x 2 5 4 4", "w 5 1 3 3;b 5", NULL, "Conv x w b > y | group=i5 pads=i1,1,1,1",
       0},
      {"dilation", "x 1 2 7 7", "w 3 2 2 3;b 3", NULL, "Conv x w b > y | dilations=i2,2", 0},
      {"one axis", "x 2 3 9", "w 4 3 3;b 4", NULL, "Conv x w b > y | strides=i2,", 0},
      {"three axes", "x 1 2 3 4 3", "w 2 2 2 2 2;b 2", NULL, "Conv x w b > y", 0},
      {"blocks of channels", "x 1 16 3 3", "w 16 16 3 3;b 16;v 10 16 1 1;c 10", NULL,
       "Conv x w b > h | pads=i1,1,1,1;Tanh h > t;Conv t v c > y", 0},
      {"uneven channels", "x 1 3 4 4", "w 20 3 3 3;b 20;v 5 20 2 2;c 5", NULL,
       "Conv x w b > h | pads=i1,1,1,1;Gelu h > t;Conv t v c > y", 20},
      {"uneven channels, normalised", "x 2 3 3 3",
       "w 20 3 1 1;v 20 20 1 1;g 20;b 20;m 20;n 20 =1,2,1,2,1,2,1,2,1,2,1,2,1,2,1,2,1,2,1,2", NULL,
       "Conv x w > h;BatchNormalization h g b m n > k;Sigmoid k > s;Conv s v > t;Add t h > y", 0},
      {"residual", "x 2 4 4 4", "w 4 4 3 3;b 4", NULL,
       "Conv x w b > h | pads=i1,1,1,1;Add x h > s;Conv s w b > k | pads=i1,1,1,1;Add s k > y", 0},
  };
  check_all(nets, sizeof nets / sizeof nets[0]);
}

static void products(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"gemm", "x 3 4", "w 4 5;b 5", NULL, "Gemm x w b > y", 0},
      {"gemm transposed", "x 4 3", "w 5 4;b 3 1", NULL,
       "Gemm x w b > y | transA=i1 transB=i1 alpha=f0.5 beta=f2", 0},
      {"gemm a transposed", "x 4 3", "w 4 5;b 1", NULL, "Gemm x w b > y | transA=i1", 0},
      {"gemm b transposed", "x 3 4", "w 5 4", NULL, "Gemm x w > y | transB=i1 alpha=f-1.5", 0},
      {"gemm of data", "x 3 4;z 4 2", "b 3 2", NULL, "Gemm x z b > y", 0},
      {"matmul", "x 3 4", "w 4 5;b 5", NULL, "MatMul x w > h;Add h b > y", 0},
      {"matmul stack", "x 2 3 3 4", "w 4 2", NULL, "MatMul x w > y", 0},
      {"matmul broadcast", "x 2 1 3 4;z 3 4 2", NULL, NULL, "MatMul x z > y", 0},
  };
  check_all(nets, sizeof nets / sizeof nets[0]);
}

static void normalisations(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"batch norm", "x 3 4 3 3", "g 4;b 4;m 4;v 4 =0.5,1,2,1.5", NULL,
       "BatchNormalization x g b m v > y | epsilon=f0.01", 0},
      {"batch norm of blocks", "x 2 3 4 4",
       "w 16 3 3 3;g 16;b 16;m 16;v 16 "
       "=1,2,1,2,1,2,1,2,1,2,1,2,1,2,1,2",
       NULL, "Conv x w > h;BatchNormalization h g b m v > y", 0},
      {"batch norm of vectors", "x 5 3", "g 3;b 3;m 3;v 3 =1,2,1.5", NULL,
       "BatchNormalization x g b m v > y", 0},
  };
  for (size_t k = 0; k < sizeof nets / sizeof nets[0]; k++) {
    check_net(&nets[k], false);
    check_net(&nets[k], true);
  }
}

static void functions(void **state) {
  (void)state;
  static const char *const nodes[] = {"Relu x > y",
                                      "LeakyRelu x > y | alpha=f0.3",
                                      "Sigmoid x > h;Identity h > y",
                                      "Tanh x > y",
                                      "HardSigmoid x > y",
                                      "HardSigmoid x > y | alpha=f0.25 beta=f0.25",
                                      "HardSwish x > y",
                                      "Elu x > y | alpha=f0.7",
                                      "Gelu x > y",
                                      "Gelu x > y | approximate=stanh",
                                      "Softplus x > y",
                                      "Erf x > y"};
  for (size_t k = 0; k < sizeof nodes / sizeof nodes[0]; k++)
    check_net(&(text_net){nodes[k], "x 2 3 2 5", NULL, NULL, nodes[k], 20}, false);
  check_net(
      &(text_net){"clip by inputs", "x 2 30", "lo =-0.5;hi =1.5", NULL, "Clip x lo hi > y", 0},
      false);
  check_net(
      &(text_net){"clip by attributes", "x 2 30", NULL, NULL, "Clip x > y | min=f0 max=f6", 7},
      false);
}

static void arithmetic(void **state) {
  (void)state;
  static const char *const ops[] = {"Add", "Sub", "Mul", "Div"};
  for (size_t k = 0; k < 4; k++) {
    char node[64], behind[96];
    (void)snprintf(node, sizeof node, "%s x z > y", ops[k]);
    (void)snprintf(behind, sizeof behind, "Gemm x w > h;%s h b > y", ops[k]);
    check_net(&(text_net){ops[k], "x 2 3 4;z 2 3 4", NULL, NULL, node, 0}, false);
    check_net(&(text_net){ops[k], "x 2 3 1 4;z 3 2 1", NULL, NULL, node, 0}, false);
    check_net(&(text_net){ops[k], "x 1 4;z 2 3 4", NULL, NULL, node, 0}, false);
    check_net(&(text_net){ops[k], "x 3 4", "w 4 2;b 2 =1.5,2", NULL, behind, 0}, false);
  }
  static const text_net nets[] = {
      {"power", "x 2 3;z 2 3", NULL, NULL, "Pow z x > y", 0},
      {"power of a number", "x 2 3;z 1", "e =3", NULL, "Pow x e > h;Mul h z > y", 0},
      {"square", "x 2 3", NULL, NULL, "Mul x x > h;Add h h > y", 0},
      {"blocks and scale", "x 1 3 4 4", "w 16 3 1 1;s 16 1 1", NULL, "Conv x w > h;Mul h s > y", 0},
  };
  check_all(nets, sizeof nets / sizeof nets[0]);
}

static void pools(void **state) {
  (void)state;
  static const char *const nodes[] = {
      "MaxPool x > y | kernel_shape=i2,2 strides=i2,2",
      "MaxPool x > y | kernel_shape=i3,2 pads=i1,0,1,1 strides=i2,1",
      "MaxPool x > y | kernel_shape=i2,2 dilations=i2,2",
      "MaxPool x > y | kernel_shape=i2,2 strides=i2,2 ceil_mode=i1",
      "AveragePool x > y | kernel_shape=i3,3 pads=i1,1,1,1",
      "AveragePool x > y | kernel_shape=i3,3 pads=i1,1,1,1 count_include_pad=i1",
      "AveragePool x > y | kernel_shape=i2,2 strides=i2,2 ceil_mode=i1",
      "GlobalAveragePool x > y",
      "GlobalMaxPool x > y",
  };
  for (size_t k = 0; k < sizeof nodes / sizeof nodes[0]; k++)
    check_net(&(text_net){nodes[k], "x 1 2 5 6", NULL, NULL, nodes[k], 0}, false);
  check_net(&(text_net){"pool of blocks", "x 1 16 2 2", "w 16 16 1 1", NULL,
                        "Conv x w > h;AveragePool h > y | kernel_shape=i2,2", 0},
            false);
}

static void moves(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"concat", "x 2 3 2;z 2 1 2", NULL, NULL, "Concat x z x > y | axis=i1", 0},
      {"reshape", "x 2 3 4", "w 4 6", "s 2 =6,4;t 2 =2,12",
       "Reshape x s > h;Gemm h w > k;Flatten k > f | axis=i0;Identity f > y", 0},
      {"squeeze", "x 2 1 4", NULL, "a 1 =1;b 1 =0", "Squeeze x a > h;Unsqueeze h b > y", 0},
      {"transpose", "x 2 3 4", NULL, NULL, "Transpose x > y | perm=i2,0,1", 0},
      {"pad", "x 2 3", "c =7", "p 4 =1,0,0,2", "Pad x p c > y", 0},
      {"pad reflect", "x 2 3", NULL, "p 4 =0,2,0,1", "Pad x p > y | mode=sreflect", 0},
      {"pad edge", "x 2 3", NULL, "p 4 =1,2,0,1", "Pad x p > y | mode=sedge", 0},
      {"slice", "x 4 5", NULL, "s 2 =3,0;e 2 =-9,5;a 2 =0,1;t 2 =-2,2", "Slice x s e a t > y", 0},
      {"resize", "x 1 2 2 3", "r 4 =1,1,2,2", NULL, "Resize x - r > y | mode=snearest", 0},
      {"gather", "x 3 4", NULL, "i 3 =2,0,2", "Gather x i > y | axis=i0", 0},
      {"softmax", "x 2 3 4", NULL, NULL, "Softmax x > h | axis=i1;Identity h > y", 0},
      {"softmax of all", "x 2 3 4", NULL, NULL, "Softmax x > h | axis=i1;Identity h > y", 11},
      {"dropout", "x 4 15", NULL, NULL, "Dropout x > y | ratio=f0.4", 11},
  };
  check_all(nets, sizeof nets / sizeof nets[0]);
}

// ---- Transforms: y = s * x * x, with a learned s, behind a weight and behind data

static bl_status square(void *user, const bl_train_transform_data *d, bl_error *err) {
  (void)user;
  (void)err;
  for (size_t k = 0; k < d->count; k++)
    d->y[k] = d->parameters[0] * d->x[k] * d->x[k];
  return BL_OK;
}

static bl_status square_back(void *user, const bl_train_transform_data *d, bl_error *err) {
  (void)err;
  ++*(int *)user;
  double sum = 0;
  for (size_t k = 0; k < d->count; k++) {
    sum += (double)d->dy[k] * (double)(d->x[k] * d->x[k]);
    if (d->dx != NULL) d->dx[k] = d->dy[k] * 2 * d->parameters[0] * d->x[k];
  }
  d->gradients[0] = (float)sum;
  return BL_OK;
}

static int32_t value_named(const bl_float_graph *g, const char *name) {
  for (uint32_t v = 0; v < g->value_count; v++)
    if (strcmp(g->values[v].name, name) == 0) return (int32_t)v;
  return -1;
}

static void transforms(void **state) {
  (void)state;
  text_net t = {"transforms",
                "x 1 4 3 3",
                "w 16 4 1 1;v 4 16 1 1",
                NULL,
                "Conv x w > h;Conv h v > k;Conv h v > l;Mul k l > y",
                0};
  static const float first = 0.7F;
  int calls[3] = {0};
  bl_float_graph *g = text_graph(&t, seed);
  bl_train_transform list[3] = {
      {"of w", value_named(g, "w"), -1, true, &calls[0], square, square_back, 1, &first},
      {"of h", value_named(g, "h"), -1, true, &calls[1], square, square_back, 1, &first},
      {"of h in k", value_named(g, "h"), 1, false, &calls[2], square, square_back, 1, &first}};
  bl_train_options options = {
      .transforms = list, .transform_count = 3, .input_gradients = true, .seed = seed};
  bl_train_net *net;
  bl_error err = {0};
  if (bl_train_open(g, &options, &net, &err) != BL_OK) fail_msg("%s", err.text);
  fill_inputs(g, net);
  check_gradients(g, net, "transforms");
  for (int k = 0; k < 3; k++)
    assert_int_equal(calls[k], 1); // one step for all consumers
  bl_train_close(net);
  list[0].value = value_named(g, "y"); // nobody reads it
  assert_int_equal(bl_train_open(g, &options, &net, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "transform of w"));
  bl_float_graph_free(g);
}

static void refusals(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"sign", "x 2 3", NULL, NULL, "Sign x > y", 0},
      {"quant", "x 2 3", "s =1;z =0;b =4", NULL, "Quant x s z b > y", 0},
  };
  for (size_t k = 0; k < 2; k++) {
    bl_float_graph *g = text_graph(&nets[k], seed);
    bl_train_net *net;
    bl_error err = {0};
    assert_int_equal(bl_train_open(g, NULL, &net, &err), BL_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "node y"));
    assert_null(net);
    bl_float_graph_free(g);
  }
}

// Running statistics by hand: one channel, batch of 1, 2, 3, 6: mean 3, variance 3.5.
static void running_statistics(void **state) {
  (void)state;
  text_net t = {"running",
                "x 4 1",
                "g 1 =1;b 1 =0;m 1 =1;v 1 =2",
                NULL,
                "BatchNormalization x g b m v > y | momentum=f0.75",
                0};
  bl_float_graph *g = text_graph(&t, seed);
  bl_train_net *net;
  bl_error err = {0};
  uint32_t count;
  assert_int_equal(bl_train_open(g, NULL, &net, &err), BL_OK);
  memcpy(bl_train_input(net, 0), (float[]){1, 2, 3, 6}, 4 * sizeof(float));
  assert_int_equal(bl_train_forward(net, true, 0, &err), BL_OK);
  assert_int_equal(bl_train_forward(net, false, 0, &err), BL_OK);
  const bl_train_parameter *p = bl_train_parameters(net, &count);
  assert_int_equal(count, 4);
  assert_true(p[2].kind == BL_TRAIN_MEAN && p[3].kind == BL_TRAIN_VARIANCE);
  assert_true(fabs((double)p[2].data[0] - 1.5) < 1e-6);
  assert_true(fabs((double)p[3].data[0] - 2.375) < 1e-6);
  assert_int_equal(bl_train_store(net, g, &err), BL_OK);
  assert_true(g->values[p[2].value].f[0] == p[2].data[0]);
  bl_train_close(net);
  bl_float_graph_free(g);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1); // small networks: waiting for each other would take longer
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolutions),   cmocka_unit_test(products),
      cmocka_unit_test(normalisations), cmocka_unit_test(functions),
      cmocka_unit_test(arithmetic),     cmocka_unit_test(pools),
      cmocka_unit_test(moves),          cmocka_unit_test(transforms),
      cmocka_unit_test(refusals),       cmocka_unit_test(running_statistics),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
