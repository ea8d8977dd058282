// SPDX-License-Identifier: Apache-2.0
// Rewrites on import: parallel branches become one convolution that computes the same, shuffles of
// channels become a choice of channels that the device makes without changing a bit.
#include "host/compile/program.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "host/graph/rewrite.h"
#include "host/quant/quantise.h"
#include "host/run/compare.h"
#include "host/run/program_session.h"
#include "tests/unit/train_support.h"

enum { ROOM = 4096, IMAGES = 4 };

static uint64_t seed;

static bl_float_graph *imported(const text_net *net, bool merge) {
  message model = text_model(net, seed);
  bl_float_graph *graph = NULL;
  bl_error err = {0};
  const bl_onnx_options options = {.batch = 1, .merge = merge};
  if (bl_onnx_import_bytes(net->name, model.bytes, model.size, &options, &graph, &err) != BL_OK)
    fail_msg("%s", err.text);
  free(model.bytes);
  return graph;
}

static void run_graph(const bl_float_graph *graph, const float *x, float *y) {
  bl_float_session *session;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  bl_value *in = bl_float_session_input(session, 0);
  memcpy(in->f, x, in->count * sizeof *x);
  assert_int_equal(bl_float_session_run(session, &err), BL_OK);
  const bl_value *out = bl_float_session_value(session, graph->outputs[0]);
  assert_true(out->count <= ROOM);
  memcpy(y, out->f, out->count * sizeof *y);
  bl_float_session_close(session);
}

static void draw(float *x, size_t count) {
  for (size_t k = 0; k < count; k++)
    x[k] = (float)(2 * bl_random_unit(bl_random_key(seed + 5, k)) - 1);
}

static uint32_t count_op(const bl_float_graph *g, bl_float_op op) {
  uint32_t count = 0;
  for (uint32_t n = 0; n < g->node_count; n++)
    count += g->nodes[n].op == op;
  return count;
}

// The largest difference between the network as it is and merged, in parts of the largest output.
static double merged_difference(const text_net *net, uint32_t convolutions, uint32_t nodes) {
  static float x[ROOM], y[ROOM], z[ROOM];
  bl_float_graph *plain = imported(net, false), *merged = imported(net, true);
  double worst = 0, most = 0;
  draw(x, ROOM);
  run_graph(plain, x, y);
  run_graph(merged, x, z);
  for (size_t k = 0; k < plain->values[plain->outputs[0]].count; k++) {
    worst = fmax(worst, fabs((double)(y[k] - z[k])));
    most = fmax(most, fabs((double)y[k]));
  }
  if (count_op(merged, BL_FLOAT_CONV) != convolutions || merged->node_count != nodes)
    fail_msg("%s: %u convolutions, %u nodes", net->name, count_op(merged, BL_FLOAT_CONV),
             merged->node_count);
  bl_float_graph_free(plain);
  bl_float_graph_free(merged);
  return worst / most;
}

// ---- Branches

#define NORMS                                                                                      \
  "g 8;h 8;m 8;v 8 =1,2,3,1,2,3,1,2;g2 8;h2 8;m2 8;v2 8 =2,1,1,3,1,1,2,1;g3 8;h3 8;m3 8;v3 8 "     \
  "=1,1,2,1,3,1,1,1;"

// A block of RepVGG: 3 x 3, 1 x 1 and the tensor itself, each with its batch norm.
static const text_net BLOCK = {
    "block",
    "x 1 8 7 9",
    NORMS "w 8 8 3 3;u 8 8 1 1",
    NULL,
    "Conv x w > a | pads=i1,1,1,1;BatchNormalization a g h m v > an;Conv x u > b;"
    "BatchNormalization b g2 h2 m2 v2 > bn;BatchNormalization x g3 h3 m3 v3 > cn;"
    "Add an bn > s;Add s cn > t;Relu t > y",
    13};
// The same in groups, with biases, the additions the other way round.
static const text_net GROUPS = {
    "groups",
    "x 1 8 7 9",
    NORMS "w 8 2 3 3;u 8 2 1 1;wb 8;ub 8",
    NULL,
    "Conv x w wb > a | pads=i1,1,1,1 group=i4;BatchNormalization a g h m v > an;"
    "Conv x u ub > b | group=i4;BatchNormalization x g3 h3 m3 v3 > cn;"
    "Add b cn > s;Add an s > t;Relu t > y",
    13};
// Where the block halves the map there is no third branch. Kernels of 5 x 3 and 3 x 1, dilated.
static const text_net STRIDED = {"strided",
                                 "x 1 8 11 9",
                                 NORMS "w 6 8 5 3;u 6 8 3 1;t 6 8 1 1",
                                 NULL,
                                 "Conv x w > a | pads=i4,1,4,1 strides=i2,1 dilations=i2,1;"
                                 "Conv x u > b | pads=i2,0,2,0 strides=i2,1 dilations=i2,1;"
                                 "Conv x t > c | strides=i2,1;Add a b > s;Add s c > y",
                                 13};
// Only the two inner operands have the same source.
static const text_net PARTLY = {
    "partly",
    "x 1 8 7 9",
    "w 8 8 3 3;u 8 8 1 1;d 8 8 3 3",
    NULL,
    "Conv x w > a | pads=i1,1,1,1;Conv x u > b;Relu x > r;Conv r d > c | pads=i1,1,1,1;"
    "Add a b > s;Add s c > y",
    13};
// A corner and the middle of the larger kernel.
static const text_net ASIDE = {"aside",
                               "x 1 8 7 9",
                               "w 8 8 1 1;u 8 8 3 3;v 8 8 1 1",
                               NULL,
                               "Conv x w > a | pads=i1,1,1,1;Conv x u > b | pads=i2,2,2,2;"
                               "Conv x v > c | pads=i2,2,0,0;Add a b > s;Add s c > y",
                               13};
// Not to be merged: a branch that is read twice; a sum of the tensor with itself; a broadcast
// operand.
static const text_net TWICE = {"twice",
                               "x 1 8 7 9",
                               "w 8 8 3 3;u 8 8 1 1",
                               NULL,
                               "Conv x w > a | pads=i1,1,1,1;Conv x u > b;Add a b > s;"
                               "Relu b > r;Add s r > y",
                               13};
static const text_net SELF = {"self", "x 1 8 7 9", "w 8 8 1 1", NULL, "Add x x > s;Conv s w > y",
                              13};
static const text_net BROADCAST = {
    "broadcast", "x 1 8 7 9", "w 8 8 7 9;u 8 8 1 1", NULL, "Conv x w > a;Conv x u > b;Add a b > y",
    13};

static void branches_merge(void **state) {
  (void)state;
  assert_true(merged_difference(&BLOCK, 1, 2) < 1e-5);
  assert_true(merged_difference(&GROUPS, 1, 2) < 1e-5);
  assert_true(merged_difference(&STRIDED, 1, 1) < 1e-5);
  assert_true(merged_difference(&PARTLY, 2, 4) < 1e-5);
  assert_true(merged_difference(&ASIDE, 1, 1) < 1e-5);
}

static void branches_that_stay(void **state) {
  (void)state;
  assert_true(merged_difference(&TWICE, 2, 5) == 0);
  assert_true(merged_difference(&SELF, 1, 2) == 0);
  assert_true(merged_difference(&BROADCAST, 2, 3) == 0);
}

// A chain of thousands of additions is neither deep nor slow to look through.
static void long_chains(void **state) {
  (void)state;
  enum { LONG = 4000 };
  static const int64_t dims[4] = {1, 1, 2, 2};
  message graph = {0};
  for (int k = 0; k < LONG; k++) {
    char inputs[32], output[16];
    (void)snprintf(inputs, sizeof inputs, k == 0 ? "x x" : "v%d x", k - 1);
    (void)snprintf(output, sizeof output, k == LONG - 1 ? "y" : "v%d", k);
    message node = new_node("Add", output, inputs, output);
    put_message(&graph, 1, &node);
  }
  put_value(&graph, 11, "x", 1, dims, 4);
  put_value(&graph, 12, "y", 1, dims, 4);
  message model = new_model(&graph, 13);
  const bl_onnx_options options = {.merge = true};
  bl_float_graph *g;
  bl_error err = {0};
  assert_int_equal(bl_onnx_import_bytes("chain", model.bytes, model.size, &options, &g, &err),
                   BL_OK);
  assert_int_equal(g->node_count, LONG);
  bl_float_graph_free(g);
  free(model.bytes);
}

// A merged weight by hand: 3 x 3 of a constant 2 with a norm of factor 3, 1 x 1 of 5, the tensor.
static void merged_numbers(void **state) {
  (void)state;
  static const text_net net = {
      "known",
      "x 1 1 4 4",
      "w 1 1 3 3 =2,2,2,2,2,2,2,2,2;u 1 1 1 1 =5;wb 1 =1;g 1 =6;h 1 =0.5;m 1 =2;v 1 =4",
      NULL,
      "Conv x w wb > a | pads=i1,1,1,1;BatchNormalization a g h m v > n | epsilon=f0;"
      "Conv x u > b;Add n b > s;Add s x > y",
      13};
  bl_float_graph *g = imported(&net, true);
  assert_int_equal(g->node_count, 1);
  assert_string_equal(g->nodes[0].name, "a");
  const bl_value *w = bl_node_input(g, &g->nodes[0], 1), *b = bl_node_input(g, &g->nodes[0], 2);
  for (size_t k = 0; k < 9; k++)
    assert_true(w->f[k] == (k == 4 ? 6 + 5 + 1 : 6));
  assert_true(b->f[0] == 3 * (1 - 2) + 0.5F);
  bl_float_graph_free(g);
}

// ---- Shuffles

// Grouped convolutions with a shuffle between, as ShuffleNet has them.
static const text_net SHUFFLE = {
    "shuffle",
    "x 1 12 5 6",
    "w 12 4 1 1;d 12 1 3 3;u 8 6 1 1;e 4 240",
    "split 5 =1,3,4,5,6;join 4 =1,12,5,6",
    "Conv x w > a | group=i3;Relu a > r;Reshape r split > p;Transpose p > q | perm=i0,2,1,3,4;"
    "Reshape q join > s;Conv s d > t | pads=i1,1,1,1 group=i12;Relu t > z;"
    "Conv z u > o | group=i2;Flatten o > f;Gemm f e > y | transB=i1",
    13};
static const text_net UNGROUPED = {
    "ungrouped",
    "x 1 12 5 6",
    "w 12 4 3 3;u 8 12 3 3",
    "split 4 =1,4,3,30;join 4 =1,12,5,6",
    "Conv x w > a | group=i3 pads=i1,1,1,1;Reshape a split > p;Transpose p > q | perm=i0,2,1,3;"
    "Reshape q join > s;Conv s u > y",
    13};

static void shuffles_become_gathers(void **state) {
  (void)state;
  bl_float_graph *g = imported(&SHUFFLE, false);
  assert_int_equal(g->node_count, 8);
  const int32_t at = bl_float_find_node(g, "q");
  assert_int_equal(at, 2);
  assert_int_equal(g->nodes[at].op, BL_FLOAT_GATHER);
  // groups of 4: channel 0 of each group first
  static const int64_t order[12] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11};
  const bl_value *given = bl_node_input(g, &g->nodes[at], 1);
  for (size_t k = 0; k < 12; k++)
    assert_int_equal(given->i[k], order[k]);
  bl_float_graph_free(g);
  assert_true(merged_difference(&UNGROUPED, 2, 2) < 1e-6);
}

// What the shuffle does, worked out here: channel 4 i + j comes to 3 j + i.
static void shuffles_move_channels(void **state) {
  (void)state;
  static const text_net net = {"moves",
                               "x 1 12 5 6",
                               NULL,
                               "split 5 =1,3,4,5,6;join 4 =1,12,5,6",
                               "Reshape x split > p;Transpose p > q | perm=i0,2,1,3,4;"
                               "Reshape q join > s;Relu s > y",
                               13};
  static float x[360], y[ROOM];
  bl_float_graph *g = imported(&net, false);
  assert_int_equal(g->node_count, 2);
  draw(x, 360);
  run_graph(g, x, y);
  for (size_t i = 0; i < 3; i++)
    for (size_t j = 0; j < 4; j++)
      for (size_t p = 0; p < 30; p++) {
        const float from = x[(4 * i + j) * 30 + p];
        assert_true(y[(3 * j + i) * 30 + p] == (from > 0 ? from : 0));
      }
  bl_float_graph_free(g);
}

// Not shuffles: another permutation, another shape behind.
static void others_stay(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"rows", "x 1 12 5 6", NULL, "split 5 =1,3,4,5,6;join 4 =1,12,5,6",
       "Reshape x split > p;Transpose p > q | perm=i0,2,1,4,3;Reshape q join > y", 13},
      {"shape", "x 1 12 5 6", NULL, "split 5 =1,3,4,5,6;join 4 =1,12,6,5",
       "Reshape x split > p;Transpose p > q | perm=i0,2,1,3,4;Reshape q join > y", 13}};
  for (size_t k = 0; k < 2; k++) {
    bl_float_graph *g = imported(&nets[k], true);
    assert_int_equal(g->node_count, 3);
    bl_float_graph_free(g);
  }
}

// ---- Skip connections

// Sums that take a value as it is, and one that takes every second row and column with more
// channels, as residual networks of option A do; the last convolution's result is read by no
// product.
static const text_net RESIDUAL = {
    "residual",
    "x 1 8 8 8",
    "w 8 8 1 1;u 8 8 3 3;d 16 8 3 3;e 16 16 3 3",
    "from 2 =0,0;to 2 =8,8;axes 2 =2,3;by 2 =2,2;more 8 =0,4,0,0,0,4,0,0",
    "Conv x w > a;Relu a > r;Conv r u > b | pads=i1,1,1,1;Add b r > s;Relu s > t;"
    "Conv t d > c | pads=i1,1,1,1 strides=i2,2;Relu c > p;Conv p e > q | pads=i1,1,1,1;"
    "Slice t from to axes by > l;Pad l more > m;Add q m > o;Relu o > y",
    13};

// The nodes that read a value.
static void read_by(const bl_float_graph *g, const char *value, const char *wanted) {
  char names[100] = "";
  const int32_t index = bl_float_find_value(g, value);
  assert_true(index >= 0);
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      if (g->nodes[n].inputs[k] == index) {
        strcat(names, g->nodes[n].name);
        strcat(names, " ");
      }
  assert_string_equal(names, wanted);
}

static void skips_get_copies(void **state) {
  (void)state;
  static float x[ROOM], y[ROOM], z[ROOM];
  bl_float_graph *plain = imported(&RESIDUAL, false), *copied = imported(&RESIDUAL, false);
  bl_error err = {0};
  uint32_t count;
  assert_int_equal(bl_rewrite_skips(copied, &count, &err), BL_OK);
  assert_int_equal(count, 2);
  assert_int_equal(copied->node_count, plain->node_count + 2);
  read_by(copied, "r", "r_copy s ");
  read_by(copied, "r_copy", "b ");
  read_by(copied, "t", "t_copy l ");
  read_by(copied, "t_copy", "c ");
  read_by(copied, "p", "q ");
  draw(x, ROOM);
  run_graph(plain, x, y);
  run_graph(copied, x, z);
  assert_memory_equal(y, z, plain->values[plain->outputs[0]].count * sizeof *y);
  assert_int_equal(bl_rewrite_skips(copied, &count, &err), BL_OK);
  assert_int_equal(count, 0);
  bl_float_graph_free(plain);
  bl_float_graph_free(copied);
}

// Nothing to copy: sums of what no product reads, of the input, of constants.
static void no_skips(void **state) {
  (void)state;
  const text_net nets[] = {SELF,
                           BROADCAST,
                           {"bias", "x 1 8 7 9", "w 8 8 1 1;u 8 8 1 1;b 8 1 1", NULL,
                            "Conv x w > a;Add a b > s;Conv s u > y", 13}};
  for (size_t k = 0; k < 3; k++) {
    bl_float_graph *g = imported(&nets[k], false);
    bl_error err = {0};
    uint32_t count;
    assert_int_equal(bl_rewrite_skips(g, &count, &err), BL_OK);
    assert_int_equal(count, 0);
    bl_float_graph_free(g);
  }
}

// ---- On the device

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  for (size_t k = 0; k < *(const size_t *)context; k++)
    out[k] = (float)(2 * bl_random_unit(bl_random_key(seed + 7 + index, k)) - 1);
  return BL_OK;
}

// Quantised, compiled and run: the device's layers have the bits of the reference kernels.
static bl_quantised on_device(const bl_float_graph *g, const bl_quantise_options *options) {
  static int32_t in[IMAGES * ROOM];
  size_t elements = g->values[g->inputs[0]].count;
  const bl_calibration calibration = {read_sample, &elements, 16};
  bl_compile_options compile = {&BL_CONFIGS[BL_CONFIG_DEFAULT], IMAGES};
  bl_quantised q;
  bl_program *program;
  bl_executor both[2];
  bl_comparison comparison = {0};
  bl_error err = {0};
  if (bl_quantise(g, options, &calibration, &q, &err) != BL_OK) fail_msg("%s", err.text);
  if (bl_compile(q.graph, &compile, &program, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_device_spec spec = {.kind = BL_DEVICE_FUNCTIONAL, .config = compile.config};
  assert_int_equal(bl_executor_reference(q.graph, BL_STEP_NO_LAYER, &both[0], &err), BL_OK);
  assert_int_equal(bl_executor_device(&spec, q.graph, program, BL_STEP_NO_LAYER, &both[1], &err),
                   BL_OK);
  for (size_t k = 0; k < IMAGES * elements; k++)
    in[k] = (int32_t)(bl_random_key(seed, k) % 256) + bl_format_min(q.graph->tensors[0].format);
  if (bl_compare(q.graph, both, 2, in, IMAGES, &comparison, &err) != BL_OK)
    fail_msg("%s", err.text);
  assert_true(comparison.compared > 0 && comparison.differing == 0);
  bl_executor_close(&both[0]);
  bl_executor_close(&both[1]);
  bl_program_free(program);
  return q;
}

// A choice of channels is one of integers. Without a chooser the network is a single layer.
static void check_device(const text_net *net, const char *chooser, const uint32_t *from) {
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_float_graph *g = imported(net, true);
  bl_quantised q = on_device(g, &options);
  uint32_t found = 0;
  for (uint32_t l = 0; l < q.graph->layer_count; l++) {
    const bl_int_layer *layer = &q.graph->layers[l];
    if (chooser == NULL || strcmp(layer->name, chooser) != 0) continue;
    const bl_int_tensor *a = &q.graph->tensors[layer->input], *b = &q.graph->tensors[layer->output];
    found++;
    // all channels: the same integers; some of them may have a finer scale
    if (a->c == b->c) assert_true(a->scale == b->scale && a->zero_point == b->zero_point);
    for (uint32_t n = 0; n < b->c; n++)
      for (uint32_t c = 0; c < a->c; c++)
        assert_int_equal(layer->weights[n * a->c + c] != 0, c == from[n]);
  }
  if (chooser == NULL)
    assert_int_equal(q.graph->layer_count, 1);
  else
    assert_int_equal(found, 1);
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(g);
}

static unsigned bits_behind(const bl_quantised *q, const char *layer) {
  for (uint32_t l = 0; l < q->graph->layer_count; l++)
    if (strcmp(q->graph->layers[l].name, layer) == 0)
      return q->graph->tensors[q->graph->layers[l].output].format.bits;
  fail_msg("no layer %s", layer);
  return 0;
}

// What is multiplied has two bits, what sums read as many as were asked for: r and t behind the
// first two convolutions, q and not the output, which nothing reads.
static void device_carries_skips(void **state) {
  (void)state;
  for (unsigned bits = 3; bits <= 8; bits += 5) {
    bl_float_graph *g = imported(&RESIDUAL, false);
    const bl_quantise_options options = {
        .weight_bits = 2, .activation_bits = 2, .output_bits = 2, .skip_bits = bits};
    bl_error err = {0};
    uint32_t count;
    assert_int_equal(bl_rewrite_skips(g, &count, &err), BL_OK);
    bl_quantised q = on_device(g, &options);
    assert_int_equal(bits_behind(&q, "a"), bits);
    assert_int_equal(bits_behind(&q, "r_copy"), 2);
    assert_int_equal(bits_behind(&q, "b"), bits);
    assert_int_equal(bits_behind(&q, "t_copy"), 2);
    assert_int_equal(bits_behind(&q, "c"), 2);
    assert_int_equal(bits_behind(&q, "q"), bits);
    bl_arena_free(q.graph->arena);
    bl_float_graph_free(g);
  }
  // without copies products read what sums read, and that keeps its two bits
  bl_float_graph *g = imported(&RESIDUAL, false);
  const bl_quantise_options options = {.weight_bits = 2, .activation_bits = 2, .skip_bits = 8};
  bl_quantised q = on_device(g, &options);
  assert_int_equal(bits_behind(&q, "a"), 2);
  assert_int_equal(bits_behind(&q, "b"), 2);
  assert_int_equal(bits_behind(&q, "q"), 8);
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(g);
}

// A plan's bits for products go to copies, and leave alone what only sums read.
static void plans_spare_skips(void **state) {
  (void)state;
  const bl_layer_plan plan[] = {{.layer = "a", .product_bits = 3},
                                {.layer = "b", .product_bits = 4},
                                {.layer = "c", .product_bits = 5}};
  static const unsigned wanted[2][6] = {{3, 2, 4, 2, 5, 2}, {8, 3, 8, 4, 5, 8}};
  static const char *const behind[] = {"a", "r_copy", "b", "t_copy", "c", "q"};
  for (unsigned skips = 0; skips < 2; skips++) {
    bl_float_graph *g = imported(&RESIDUAL, false);
    const bl_quantise_options options = {.weight_bits = 2,
                                         .activation_bits = 2,
                                         .output_bits = 2,
                                         .skip_bits = 8 * skips,
                                         .plan = plan,
                                         .plan_count = 3};
    bl_error err = {0};
    uint32_t count;
    assert_int_equal(bl_rewrite_skips(g, &count, &err), BL_OK);
    bl_quantised q = on_device(g, &options);
    for (size_t k = 0; k < 6; k++)
      assert_int_equal(bits_behind(&q, behind[k]), wanted[skips][k]);
    bl_arena_free(q.graph->arena);
    bl_float_graph_free(g);
  }
}

static void device_runs_merged_branches(void **state) {
  (void)state;
  static const text_net pointwise = {
      "plain",
      "x 1 8 7 9",
      NORMS "w 8 8 3 3;u 8 8 1 1",
      NULL,
      "Conv x w > a | pads=i1,1,1,1;BatchNormalization a g h m v > an;Conv x u > b;"
      "BatchNormalization b g2 h2 m2 v2 > bn;BatchNormalization x g3 h3 m3 v3 > cn;"
      "Add an bn > s;Add s cn > y",
      13};
  check_device(&pointwise, NULL, NULL);
}

static void device_chooses_channels(void **state) {
  (void)state;
  static const uint32_t shuffled[12] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11};
  static const uint32_t sliced[6] = {3, 4, 5, 6, 7, 8}, back[4] = {11, 8, 5, 2};
  static const text_net slice = {"slice",
                                 "x 1 12 5 6",
                                 "w 12 12 1 1;u 4 6 3 3",
                                 "from 1 =3;to 1 =9;axis 1 =1",
                                 "Conv x w > a;Relu a > r;Slice r from to axis > s;"
                                 "Relu s > t;Conv t u > y",
                                 13};
  static const text_net backwards = {"back",
                                     "x 1 12 5 6",
                                     "w 12 12 1 1;u 4 1 3 3",
                                     "from 1 =-1;to 1 =-100;axis 1 =-3;step 1 =-3",
                                     "Conv x w > a;Relu a > r;Slice r from to axis step > s;"
                                     "Conv s u > y | group=i4",
                                     13};
  check_device(&SHUFFLE, "q", shuffled);
  check_device(&slice, "s", sliced);
  check_device(&backwards, "s", back);
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(branches_merge),
      cmocka_unit_test(branches_that_stay),
      cmocka_unit_test(long_chains),
      cmocka_unit_test(merged_numbers),
      cmocka_unit_test(shuffles_become_gathers),
      cmocka_unit_test(shuffles_move_channels),
      cmocka_unit_test(others_stay),
      cmocka_unit_test(skips_get_copies),
      cmocka_unit_test(no_skips),
      cmocka_unit_test(device_chooses_channels),
      cmocka_unit_test(device_runs_merged_branches),
      cmocka_unit_test(device_carries_skips),
      cmocka_unit_test(plans_spare_skips),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
