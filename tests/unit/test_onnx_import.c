// SPDX-License-Identifier: Apache-2.0
// Import and execution on models written here byte by byte: the forms that operators take in
// different opsets, constant folding, batches, QONNX. Expected values are worked out by hand.
#include "host/float/session.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_writer.h"

typedef struct {
  bl_float_graph *graph;
  bl_float_session *session;
  const bl_value *output;
} running;

// Imports `graph` (emptied) and runs it on `input`.
static running run_graph(message *graph, int64_t opset, const bl_onnx_options *options,
                         const float *input) {
  running r = {0};
  bl_error err = {0};
  message model = new_model(graph, opset);
  bl_status status = bl_onnx_import_bytes("test", model.bytes, model.size, options, &r.graph, &err);
  free(model.bytes);
  if (status == BL_OK) status = bl_float_session_open(r.graph, &r.session, &err);
  if (status != BL_OK) fail_msg("%s", err.text);
  bl_value *in = bl_float_session_input(r.session, 0);
  memcpy(in->f, input, in->count * sizeof *input);
  if (bl_float_session_run(r.session, &err) != BL_OK) fail_msg("%s", err.text);
  r.output = bl_float_session_value(r.session, r.graph->outputs[0]);
  return r;
}

static void finish(running *r) {
  bl_float_session_close(r->session);
  bl_float_graph_free(r->graph);
}

static void expect(running *r, uint32_t rank, const int64_t *dims, const float *values) {
  assert_int_equal(r->output->rank, rank);
  for (uint32_t k = 0; k < rank; k++)
    assert_int_equal(r->output->dims[k], dims[k]);
  for (size_t k = 0; k < r->output->count; k++)
    if (fabsf(r->output->f[k] - values[k]) > 1e-6F)
      fail_msg("element %zu is %.9g, expected %.9g", k, (double)r->output->f[k], (double)values[k]);
  finish(r);
}

// A graph x[1,4] -> node -> y.
static message around(message *node) {
  message graph = {0};
  put_message(&graph, 1, node);
  put_value(&graph, 11, "x", 1, (const int64_t[]){-2, 4}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){-2, 4}, 2);
  return graph;
}

static const float four[] = {-1, 2, 7, 0.5F};

static void attribute_forms(void **state) {
  (void)state;
  message node = new_node("Clip", "n", "x", "y"), graph;
  put_real(&node, "min", 0);
  put_real(&node, "max", 6);
  graph = around(&node);
  running r = run_graph(&graph, 7, NULL, four);
  expect(&r, 2, (const int64_t[]){1, 4}, (const float[]){0, 2, 6, 0.5F});

  node = new_node("Unsqueeze", "n", "x", "y");
  put_ints(&node, "axes", (const int64_t[]){0, 3}, 2);
  graph = around(&node);
  r = run_graph(&graph, 11, NULL, four);
  expect(&r, 4, (const int64_t[]){1, 1, 4, 1}, four);

  node = new_node("Pad", "n", "x", "y");
  put_ints(&node, "pads", (const int64_t[]){0, 1, 0, 2}, 4);
  put_real(&node, "value", 9);
  graph = around(&node);
  r = run_graph(&graph, 7, NULL, four);
  expect(&r, 2, (const int64_t[]){1, 7}, (const float[]){9, -1, 2, 7, 0.5F, 9, 9});

  node = new_node("Slice", "n", "x", "y");
  put_ints(&node, "axes", (const int64_t[]){1}, 1);
  put_ints(&node, "starts", (const int64_t[]){-3}, 1);
  put_ints(&node, "ends", (const int64_t[]){INT64_MAX}, 1);
  graph = around(&node);
  r = run_graph(&graph, 9, NULL, four);
  expect(&r, 2, (const int64_t[]){1, 3}, four + 1);
}

// Functions of one number, worked out by hand: at -1, 2, 7 and 0.5.
static void activations(void **state) {
  (void)state;
  static const struct {
    const char *op, *approximate;
    float alpha; // 0: the default
    float y[4];
  } cases[] = {
      {"Erf", NULL, 0, {-0.842700793F, 0.995322265F, 1, 0.520499878F}},
      {"Elu", NULL, 0, {-0.632120559F, 2, 7, 0.5F}},
      {"Elu", NULL, 2, {-1.264241118F, 2, 7, 0.5F}},
      {"Gelu", NULL, 0, {-0.158655254F, 1.954499736F, 7, 0.345731230F}},
      {"Gelu", "tanh", 0, {-0.158808009F, 1.954597694F, 7, 0.345714011F}},
      {"HardSigmoid", NULL, 0, {0.3F, 0.9F, 1, 0.6F}},
      {"HardSigmoid", NULL, 0.25F, {0.25F, 1, 1, 0.625F}},
      {"HardSwish", NULL, 0, {-1 / 3.0F, 5 / 3.0F, 7, 0.2916666667F}},
      {"LeakyRelu", NULL, 0, {-0.01F, 2, 7, 0.5F}},
      {"LeakyRelu", NULL, 0.5F, {-0.5F, 2, 7, 0.5F}},
      {"Softplus", NULL, 0, {0.313261688F, 2.126928011F, 7.000911466F, 0.974076984F}},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    message node = new_node(cases[k].op, "n", "x", "y");
    if (cases[k].approximate != NULL) put_string(&node, "approximate", cases[k].approximate);
    if (cases[k].alpha > 0) put_real(&node, "alpha", cases[k].alpha);
    message graph = around(&node);
    running r = run_graph(&graph, 20, NULL, four);
    expect(&r, 2, (const int64_t[]){1, 4}, cases[k].y);
  }
}

// A row to twice and to one and a half times its width, in the forms of opsets 7, 9, 10 and 13.
static void resized(void **state) {
  (void)state;
  static const float by_two[] = {-1, -1, 2, 2, 7, 7, 0.5F, 0.5F};
  static const float scales[2] = {1, 2};
  const int64_t sizes[2] = {1, 6};
  for (int64_t opset = 7; opset <= 10; opset += opset == 7 ? 2 : 1) {
    message node =
        new_node(opset == 10 ? "Resize" : "Upsample", "n", opset == 7 ? "x" : "x s", "y");
    message a = {0};
    put_text(&a, 1, "scales");
    for (int k = 0; k < 2; k++)
      put_float(&a, 7, scales[k]);
    put_number(&a, 20, 6);
    if (opset == 7)
      put_message(&node, 5, &a);
    else
      free(a.bytes);
    message graph = around(&node);
    put_tensor(&graph, 5, "s", 1, (const int64_t[]){2}, 1, scales, sizeof scales);
    running r = run_graph(&graph, opset, NULL, four);
    expect(&r, 2, (const int64_t[]){1, 8}, by_two);
  }
  static const char *const hows[] = {"asymmetric", "half_pixel", "align_corners"};
  static const float want[3][6] = {// positions 0 .67 1.33 2 2.67 3.33; -.17 .5 1.17 1.83 2.5 3.17;
                                   // 0 .6 1.2 1.8 2.4 3, halves down
                                   {-1, 2, 2, 7, 0.5F, 0.5F},
                                   {-1, -1, 2, 7, 7, 0.5F},
                                   {-1, 2, 2, 7, 7, 0.5F}};
  for (int k = 0; k < 3; k++) {
    message node = new_node("Resize", "n", "x - - s", "y");
    put_string(&node, "coordinate_transformation_mode", hows[k]);
    message graph = around(&node);
    put_tensor(&graph, 5, "s", 7, (const int64_t[]){2}, 1, sizes, sizeof sizes);
    running r = run_graph(&graph, 13, NULL, four);
    expect(&r, 2, (const int64_t[]){1, 6}, want[k]);
  }
}

// Before opset 13 softmax normalises over every axis from `axis` on.
static void softmax_forms(void **state) {
  (void)state;
  const float zeros[4] = {0};
  for (int64_t opset = 11; opset <= 13; opset += 2) {
    message lift = new_node("Reshape", "lift", "x shape", "z"), graph = {0};
    message node = new_node("Softmax", "n", "z", "y");
    put_int(&node, "axis", 1);
    put_message(&graph, 1, &lift);
    put_message(&graph, 1, &node);
    put_tensor(&graph, 5, "shape", 7, (const int64_t[]){3}, 1, (const int64_t[]){0, 2, -1}, 24);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 2, 2}, 3);
    float each = opset == 11 ? 0.25F : 0.5F;
    running r = run_graph(&graph, opset, NULL, zeros);
    expect(&r, 3, (const int64_t[]){1, 2, 2}, (const float[]){each, each, each, each});
  }
}

// Shape, Gather, Unsqueeze, Concat, Reshape: how exporters flatten. All but the Reshape fold.
static void folded_shape(void **state) {
  (void)state;
  message graph = {0};
  message nodes[] = {new_node("Shape", "", "x", "a"), new_node("Gather", "", "a zero", "b"),
                     new_node("Unsqueeze", "", "b", "c"), new_node("Concat", "", "c rest", "d"),
                     new_node("Reshape", "", "x d", "y")};
  put_int(&nodes[1], "axis", 0);
  put_ints(&nodes[2], "axes", (const int64_t[]){0}, 1);
  put_int(&nodes[3], "axis", 0);
  for (size_t k = 0; k < 5; k++)
    put_message(&graph, 1, &nodes[k]);
  put_tensor(&graph, 5, "zero", 7, NULL, 0, (const int64_t[]){0}, 8);
  put_tensor(&graph, 5, "rest", 7, (const int64_t[]){1}, 1, (const int64_t[]){-1}, 8);
  put_value(&graph, 11, "x", 1, (const int64_t[]){-2, 2, 2}, 3);
  put_value(&graph, 12, "y", 1, (const int64_t[]){-2, 4}, 2);
  const bl_onnx_options options = {.batch = 2};
  const float input[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  running r = run_graph(&graph, 11, &options, input);
  assert_int_equal(r.graph->node_count, 1);
  expect(&r, 2, (const int64_t[]){2, 4}, input);
}

// A file with a fixed batch, and a Reshape target that repeats it, made for another batch.
static void rebatched(void **state) {
  (void)state;
  message graph = {0}, node = new_node("Reshape", "n", "x shape", "y");
  put_message(&graph, 1, &node);
  put_tensor(&graph, 5, "shape", 7, (const int64_t[]){2}, 1, (const int64_t[]){3, 2}, 16);
  put_value(&graph, 11, "x", 1, (const int64_t[]){3, 1, 2}, 3);
  put_value(&graph, 12, "y", 1, (const int64_t[]){3, 2}, 2);
  const bl_onnx_options options = {.batch = 2, .rebatch = true};
  running r = run_graph(&graph, 13, &options, four);
  expect(&r, 2, (const int64_t[]){2, 2}, four);
}

// An NHWC export: Transpose, a 1x1 convolution, Transpose back.
static void channels_last(void **state) {
  (void)state;
  message graph = {0}, in = new_node("Transpose", "in", "x", "a");
  message conv = new_node("Conv", "conv", "a w", "b"), out = new_node("Transpose", "out", "b", "y");
  put_ints(&in, "perm", (const int64_t[]){0, 3, 1, 2}, 4);
  put_ints(&out, "perm", (const int64_t[]){0, 2, 3, 1}, 4);
  put_message(&graph, 1, &in);
  put_message(&graph, 1, &conv);
  put_message(&graph, 1, &out);
  put_tensor(&graph, 5, "w", 1, (const int64_t[]){1, 2, 1, 1}, 4, (const float[]){1, 10}, 8);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 1, 2, 2}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1, 2, 1}, 4);
  running r = run_graph(&graph, 13, NULL, four);
  expect(&r, 4, (const int64_t[]){1, 1, 2, 1}, (const float[]){19, 12});
}

// Even kernel: SAME_UPPER puts the odd padding at the end, SAME_LOWER at the beginning.
static void same_padding(void **state) {
  (void)state;
  for (int lower = 0; lower < 2; lower++) {
    message graph = {0}, conv = new_node("Conv", "conv", "x w", "y");
    put_string(&conv, "auto_pad", lower ? "SAME_LOWER" : "SAME_UPPER");
    put_message(&graph, 1, &conv);
    put_tensor(&graph, 5, "w", 1, (const int64_t[]){1, 1, 2}, 3, (const float[]){1, 10}, 8);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 1, 4}, 3);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1, 4}, 3);
    running r = run_graph(&graph, 11, NULL, (const float[]){1, 2, 3, 4});
    const float upper_want[] = {21, 32, 43, 4}, lower_want[] = {10, 21, 32, 43};
    expect(&r, 3, (const int64_t[]){1, 1, 4}, lower ? lower_want : upper_want);
  }
}

// The shortcut of option A (ResNet on CIFAR): every second pixel, then zero channels around.
static void option_a(void **state) {
  (void)state;
  message graph = {0}, slice = new_node("Slice", "s", "x starts ends axes steps", "a");
  message pad = new_node("Pad", "p", "a pads", "y");
  put_message(&graph, 1, &slice);
  put_message(&graph, 1, &pad);
  const int64_t big = INT64_MAX;
  put_tensor(&graph, 5, "starts", 7, (const int64_t[]){2}, 1, (const int64_t[]){0, 0}, 16);
  put_tensor(&graph, 5, "ends", 7, (const int64_t[]){2}, 1, (const int64_t[]){big, big}, 16);
  put_tensor(&graph, 5, "axes", 7, (const int64_t[]){2}, 1, (const int64_t[]){2, 3}, 16);
  put_tensor(&graph, 5, "steps", 7, (const int64_t[]){2}, 1, (const int64_t[]){2, 2}, 16);
  put_tensor(&graph, 5, "pads", 7, (const int64_t[]){8}, 1,
             (const int64_t[]){0, 1, 0, 0, 0, 1, 0, 0}, 64);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 1, 3, 3}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 3, 2, 2}, 4);
  running r = run_graph(&graph, 13, NULL, (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9});
  expect(&r, 4, (const int64_t[]){1, 3, 2, 2}, (const float[]){0, 0, 0, 0, 1, 3, 7, 9, 0, 0, 0, 0});
}

// y = scale * (clip(round half to even(x/scale + zero)) - zero), 3 bits, in every domain in use.
static void qonnx(void **state) {
  (void)state;
  static const char *const domains[] = {"", "qonnx.custom_op.general", "onnx.brevitas",
                                        "finn.custom_op.general"};
  for (size_t k = 0; k < 4; k++) {
    message graph = {0}, node = new_node("Quant", "q", "x s z b", "y");
    put_int(&node, "signed", 1);
    put_int(&node, "narrow", 1);
    put_string(&node, "rounding_mode", "ROUND");
    put_text(&node, 7, domains[k]);
    put_message(&graph, 1, &node);
    put_tensor(&graph, 5, "s", 1, NULL, 0, (const float[]){0.5F}, 4);
    put_tensor(&graph, 5, "z", 1, NULL, 0, (const float[]){0}, 4);
    put_tensor(&graph, 5, "b", 1, NULL, 0, (const float[]){3}, 4);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 6}, 2);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 6}, 2);
    running r = run_graph(&graph, 11, NULL, (const float[]){0.25F, 0.75F, -0.25F, -9, 9, 0.3F});
    expect(&r, 2, (const int64_t[]){1, 6}, (const float[]){0, 1, 0, -1.5F, 1.5F, 0.5F});

    node = new_node("BipolarQuant", "q", "x s", "y");
    put_text(&node, 7, domains[k]);
    put_message(&graph, 1, &node);
    put_tensor(&graph, 5, "s", 1, NULL, 0, (const float[]){2}, 4);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 4}, 2);
    r = run_graph(&graph, 11, NULL, (const float[]){0, -1e-30F, 3, -7});
    expect(&r, 2, (const int64_t[]){1, 4}, (const float[]){2, -2, 2, -2});
  }
}

// QuantizeLinear rounds half to even, adds the zero point, saturates; DequantizeLinear goes back.
static void linear(void **state) {
  (void)state;
  message graph = {0}, q = new_node("QuantizeLinear", "q", "x s z", "a");
  message d = new_node("DequantizeLinear", "d", "a s z", "y");
  put_message(&graph, 1, &q);
  put_message(&graph, 1, &d);
  put_tensor(&graph, 5, "s", 1, NULL, 0, (const float[]){2}, 4);
  put_tensor(&graph, 5, "z", 3, NULL, 0, (const int8_t[]){100}, 1);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 5}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 5}, 2);
  running r = run_graph(&graph, 13, NULL, (const float[]){1, 3, -5, 1000, -1000});
  expect(&r, 2, (const int64_t[]){1, 5}, (const float[]){0, 4, -4, 54, -456});
}

// An average over a padded window with and without the padding in the divisor, with ceil_mode.
static void averages(void **state) {
  (void)state;
  for (int include = 0; include < 2; include++) {
    message graph = {0}, pool = new_node("AveragePool", "p", "x", "y");
    put_ints(&pool, "kernel_shape", (const int64_t[]){3}, 1);
    put_ints(&pool, "strides", (const int64_t[]){2}, 1);
    put_ints(&pool, "pads", (const int64_t[]){1, 0}, 2);
    put_int(&pool, "ceil_mode", 1);
    put_int(&pool, "count_include_pad", include);
    put_message(&graph, 1, &pool);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 1, 4}, 3);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1, 2}, 3);
    running r = run_graph(&graph, 11, NULL, (const float[]){3, 6, 9, 12});
    const float with[] = {3, 9}, without[] = {4.5F, 9};
    expect(&r, 3, (const int64_t[]){1, 1, 2}, include ? with : without);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(attribute_forms), cmocka_unit_test(softmax_forms),
      cmocka_unit_test(activations),     cmocka_unit_test(resized),
      cmocka_unit_test(folded_shape),    cmocka_unit_test(rebatched),
      cmocka_unit_test(channels_last),   cmocka_unit_test(same_padding),
      cmocka_unit_test(option_a),        cmocka_unit_test(qonnx),
      cmocka_unit_test(linear),          cmocka_unit_test(averages)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
