// SPDX-License-Identifier: Apache-2.0
// Editing of float graphs: unique names, nodes put in and taken out, attributes, copies with
// another batch.
#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "tests/unit/small_net.h"

enum { CHANNELS = 3, SIDE = 4, CLASSES = 5, PIXELS = 2 * SIDE * SIDE };

// image [1][2][4][4] -> conv (3x3, 3 channels) -> relu -> reshape [1][-1] -> gemm -> scores [1][5]
static bl_float_graph *network(void) {
  const int64_t image[] = {1, 2, SIDE, SIDE}, scores[] = {1, CLASSES}, pads[] = {1, 1, 1, 1};
  const int64_t conv_w[] = {CHANNELS, 2, 3, 3}, gemm_w[] = {CLASSES, CHANNELS * SIDE * SIDE};
  const int64_t shape[] = {1, -1}, two[] = {2};
  message graph = {0};
  message conv = new_node("Conv", "conv", "image conv_w", "mapped");
  put_ints(&conv, "pads", pads, 4);
  put_message(&graph, 1, &conv);
  message relu = new_node("Relu", "relu", "mapped", "positive");
  put_message(&graph, 1, &relu);
  message flat = new_node("Reshape", "flat", "positive shape", "features");
  put_message(&graph, 1, &flat);
  message gemm = new_node("Gemm", "gemm", "features gemm_w", "scores");
  put_int(&gemm, "transB", 1);
  put_message(&graph, 1, &gemm);
  put_random(&graph, "conv_w", conv_w, 4, -1, 1);
  put_random(&graph, "gemm_w", gemm_w, 2, -1, 1);
  put_tensor(&graph, 5, "shape", 7, two, 1, shape, sizeof shape);
  put_value(&graph, 11, "image", 1, image, 4);
  put_value(&graph, 12, "scores", 1, scores, 2);
  return import(&graph, 13);
}

// Runs `count` images and gives the first output's values.
static void run_graph(const bl_float_graph *graph, const float *x, float *y) {
  bl_float_session *session;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  bl_value *in = bl_float_session_input(session, 0);
  memcpy(in->f, x, in->count * sizeof *x);
  assert_int_equal(bl_float_session_run(session, &err), BL_OK);
  const bl_value *out = bl_float_session_value(session, graph->outputs[0]);
  memcpy(y, out->f, out->count * sizeof *y);
  bl_float_session_close(session);
}

static void random_images(float *x, size_t count) {
  for (size_t k = 0; k < count; k++)
    x[k] = (float)uniform(-1, 1);
}

static void names_are_unique(void **state) {
  (void)state;
  bl_float_graph *g = network();
  bl_error err = {0};
  int32_t a, b, c;
  bl_node node;
  assert_int_equal(bl_float_add_value(g, "conv", "_w", &a, &err), BL_OK);
  assert_string_equal(g->values[a].name, "conv_w_2");
  assert_int_equal(bl_float_add_constant(g, "conv_w", "", 0, NULL, NULL, &b, &err), BL_OK);
  assert_string_equal(g->values[b].name, "conv_w_3");
  assert_int_equal(g->values[b].count, 1);
  assert_true(g->values[b].f[0] == 0);
  assert_int_equal(bl_float_add_value(g, "new", "", &c, &err), BL_OK);
  assert_string_equal(g->values[c].name, "new");
  assert_int_equal(bl_float_make_node(g, BL_FLOAT_RELU, "re", "lu", &a, 1, -1, &node, &err), BL_OK);
  assert_string_equal(node.name, "relu_2");
  assert_string_equal(g->values[node.outputs[0]].name, "relu_2");
  assert_int_equal(bl_float_find_node(g, "gemm"), 3);
  assert_int_equal(bl_float_find_node(g, "none"), -1);
  assert_int_equal(bl_float_find_value(g, NULL), -1);
  bl_float_graph_free(g);
}

static void attributes_are_a_nodes_own(void **state) {
  (void)state;
  bl_float_graph *g = network();
  bl_error err = {0};
  const int64_t strides[] = {2, 2};
  bl_node copy = g->nodes[0];
  assert_int_equal(bl_float_set_ints(g, &copy, "strides", strides, 2, &err), BL_OK);
  assert_int_equal(bl_float_set_ints(g, &copy, "pads", strides, 1, &err), BL_OK);
  assert_int_equal(bl_float_set_int(g, &copy, "group", 7, &err), BL_OK);
  assert_int_equal(bl_float_set_float(g, &copy, "alpha", 0.5F, &err), BL_OK);
  assert_int_equal(bl_float_set_string(g, &copy, "auto_pad", "VALID", &err), BL_OK);
  assert_int_equal(bl_node_attribute(&copy, "strides")->ints[1], 2);
  assert_int_equal(bl_node_attribute(&copy, "pads")->int_count, 1);
  assert_int_equal(bl_node_int(&copy, "group", 1), 7);
  assert_true(bl_node_float(&copy, "alpha", 0) == 0.5F);
  assert_string_equal(bl_node_string(&copy, "auto_pad", ""), "VALID");
  assert_int_equal(copy.attribute_count, 5);
  assert_int_equal(g->nodes[0].attribute_count, 1);
  assert_int_equal(bl_node_attribute(&g->nodes[0], "pads")->int_count, 4);
  bl_float_graph_free(g);
}

// The Relu becomes two nodes: a doubling and a LeakyRelu; a node nobody reads goes away again.
static void nodes_are_replaced(void **state) {
  (void)state;
  bl_float_graph *g = network(), *before;
  bl_error err = {0};
  float x[PIXELS], y[CHANNELS * SIDE * SIDE], was[CHANNELS * SIDE * SIDE];
  const float two = 2;
  int32_t factor;
  bl_node nodes[3];
  take_seed();
  random_images(x, PIXELS);
  assert_int_equal(bl_float_copy(g, 0, &before, &err), BL_OK);
  before->outputs[0] = before->nodes[0].outputs[0];
  run_graph(before, x, was);

  const int32_t mapped = g->nodes[0].outputs[0], positive = g->nodes[1].outputs[0];
  assert_int_equal(bl_float_readers(g, mapped), 1);
  assert_int_equal(bl_float_add_constant(g, "two", "", 0, NULL, &two, &factor, &err), BL_OK);
  const int32_t inputs[2] = {mapped, factor};
  assert_int_equal(
      bl_float_make_node(g, BL_FLOAT_MUL, "relu", "/mul", inputs, 2, -1, &nodes[0], &err), BL_OK);
  assert_int_equal(bl_float_make_node(g, BL_FLOAT_LEAKY_RELU, "relu", "/leaky", nodes[0].outputs, 1,
                                      positive, &nodes[1], &err),
                   BL_OK);
  assert_int_equal(bl_float_set_float(g, &nodes[1], "alpha", 0.25F, &err), BL_OK);
  assert_int_equal(
      bl_float_make_node(g, BL_FLOAT_TANH, "relu", "/unread", &mapped, 1, -1, &nodes[2], &err),
      BL_OK);
  assert_int_equal(bl_float_splice(g, 1, 1, nodes, 3, &err), BL_OK);
  assert_int_equal(g->node_count, 6);
  assert_int_equal(bl_float_producer(g, positive), 2);
  assert_int_equal(bl_float_producer(g, factor), -1);
  assert_int_equal(bl_float_sweep(g, &err), BL_OK);
  assert_int_equal(g->node_count, 5);
  assert_int_equal(bl_float_find_node(g, "relu/unread"), -1);
  g->outputs[0] = positive;
  run_graph(g, x, y);
  for (size_t k = 0; k < sizeof y / sizeof *y; k++) {
    const float twice = 2 * was[k];
    assert_float_equal(y[k], twice < 0 ? 0.25F * twice : twice, 1e-6F);
  }
  assert_int_equal(bl_float_splice(g, 4, 2, nodes, 0, &err), BL_ERR_USAGE);
  bl_float_graph_free(before);
  bl_float_graph_free(g);
}

static void readers_are_redirected(void **state) {
  (void)state;
  bl_float_graph *g = network();
  bl_error err = {0};
  const int32_t mapped = g->nodes[0].outputs[0], positive = g->nodes[1].outputs[0];
  bl_float_redirect(g, positive, mapped);
  assert_int_equal(bl_float_readers(g, positive), 0);
  assert_int_equal(bl_float_readers(g, mapped), 2);
  assert_int_equal(bl_float_sweep(g, &err), BL_OK);
  assert_int_equal(g->node_count, 3);
  assert_int_equal(bl_float_find_node(g, "relu"), -1);
  bl_float_graph_free(g);
}

// Three images at once give what one at a time gives; the copy shares nothing with the original.
static void copies_take_another_batch(void **state) {
  (void)state;
  bl_float_graph *g = network(), *three, *one;
  bl_error err = {0};
  float x[3 * PIXELS], y[3 * CLASSES], single[CLASSES];
  take_seed();
  random_images(x, 3 * PIXELS);
  assert_int_equal(bl_float_copy(g, 3, &three, &err), BL_OK);
  assert_int_equal(three->values[three->outputs[0]].dims[0], 3);
  assert_int_equal(three->values[three->outputs[0]].dims[1], CLASSES);
  run_graph(three, x, y);
  for (size_t k = 0; k < 3; k++) {
    run_graph(g, x + k * PIXELS, single);
    for (size_t j = 0; j < CLASSES; j++)
      assert_float_equal(y[k * CLASSES + j], single[j], 1e-4F);
  }
  // back to one image, then the original is freed
  assert_int_equal(bl_float_copy(three, 1, &one, &err), BL_OK);
  bl_float_graph_free(three);
  bl_float_graph_free(g);
  run_graph(one, x + 2 * PIXELS, y);
  for (size_t j = 0; j < CLASSES; j++)
    assert_float_equal(y[j], single[j], 1e-6F);
  bl_float_graph_free(one);
}

static void copies_are_independent(void **state) {
  (void)state;
  bl_float_graph *g = network(), *copy;
  bl_error err = {0};
  const int32_t w = bl_float_find_value(g, "conv_w");
  const float was = g->values[w].f[0];
  assert_int_equal(bl_float_copy(g, 0, &copy, &err), BL_OK);
  assert_int_equal(bl_float_find_value(copy, "conv_w"), w);
  copy->values[w].f[0] = was + 1;
  copy->nodes[0].attributes[0].ints[0] = 0;
  assert_true(g->values[w].f[0] == was);
  assert_int_equal(g->nodes[0].attributes[0].ints[0], 1);
  bl_float_graph_free(copy);
  bl_float_graph_free(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_unique),          cmocka_unit_test(attributes_are_a_nodes_own),
      cmocka_unit_test(nodes_are_replaced),        cmocka_unit_test(readers_are_redirected),
      cmocka_unit_test(copies_take_another_batch), cmocka_unit_test(copies_are_independent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
