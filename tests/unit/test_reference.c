// SPDX-License-Identifier: Apache-2.0
// The reference kernels against values worked out by hand, and the checks of the integer graph.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/graph/int_graph.h"
#include "host/ref/reference.h"

// A one-layer network over 3 x 3 x 1 pixels, kernel 2 x 2, one output channel.
typedef struct {
  bl_int_tensor tensors[2];
  bl_int_layer layer;
  bl_int_graph graph;
  int8_t weights[16];
  int32_t mult[2];
  int64_t bias[2];
  uint8_t shift[2];
  double out_scale[2], out_bias[2];
} tiny_net;

static void make_net(tiny_net *net) {
  memset(net, 0, sizeof *net);
  net->tensors[0] = (bl_int_tensor){"in", 3, 3, 1, {BL_FORMAT_U, 4}, 1.0, 0, 0, 0};
  net->tensors[1] = (bl_int_tensor){"out", 2, 2, 1, {BL_FORMAT_S, 8}, 1.0, 0, 0, 0};
  const int8_t weights[4] = {1, -2, 3, 4};
  memcpy(net->weights, weights, sizeof weights);
  for (int n = 0; n < 2; n++) {
    net->mult[n] = 1 << 15;
    net->bias[n] = 1 << 14; // half, so that acc >> 0 comes back
    net->shift[n] = 15;
  }
  net->layer = (bl_int_layer){.name = "conv",
                              .input = 0,
                              .output = 1,
                              .groups = 1,
                              .kernel_h = 2,
                              .kernel_w = 2,
                              .stride_h = 1,
                              .stride_w = 1,
                              .dilation_h = 1,
                              .dilation_w = 1,
                              .weight_format = {BL_FORMAT_S, 4},
                              .weights = net->weights,
                              .mult = net->mult,
                              .bias = net->bias,
                              .shift = net->shift,
                              .lo = -128,
                              .hi = 127,
                              .pool_h = 1,
                              .pool_w = 1,
                              .pool_stride_h = 1,
                              .pool_stride_w = 1,
                              .out_scale = net->out_scale,
                              .out_bias = net->out_bias};
  net->graph = (bl_int_graph){.name = "net",
                              .tensors = net->tensors,
                              .tensor_count = 2,
                              .layers = &net->layer,
                              .layer_count = 1,
                              .output = 1};
}

static const int32_t image[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void expect(const tiny_net *net, const int32_t *in, const int32_t *expected, size_t count) {
  bl_error err = {0};
  int32_t out[64] = {0};
  assert_int_equal(bl_int_check(&net->graph, &err), BL_OK);
  assert_int_equal(bl_reference_run(&net->graph, in, out, NULL, NULL, &err), BL_OK);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(out[i], expected[i]);
}

// 1*1 - 2*2 + 3*4 + 4*5 = 29, each step to the right adds 6, each step down 18.
static void plain_convolution(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  expect(&net, image, (const int32_t[]){29, 35, 47, 53}, 4);
}

// Padding 1 all round with value 10, stride 2: the corner windows see three tens each.
static void padding_has_its_value(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.layer.pad_top = net.layer.pad_left = net.layer.pad_bottom = net.layer.pad_right = 1;
  net.layer.pad_value = 10;
  net.layer.stride_h = net.layer.stride_w = 2;
  // (10 - 20 + 30 + 4*1), (10 - 20 + 3*2 + 4*3), (10 - 2*4 + 30 + 4*7), (5 - 12 + 24 + 36)
  expect(&net, image, (const int32_t[]){24, 8, 60, 53}, 4);
}

static void dilation_skips(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.layer.dilation_h = net.layer.dilation_w = 2;
  net.tensors[1].h = net.tensors[1].w = 1;
  expect(&net, image, (const int32_t[]){1 - 6 + 21 + 36}, 1);
}

// The shift rounds towards minus infinity and the added half makes ties go up: 29/2 and -29/2.
static void requantisation_rounds_half_up(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.shift[0] = 16;
  net.bias[0] = 1 << 15;
  expect(&net, image, (const int32_t[]){15, 18, 24, 27}, 4);
  net.mult[0] = -(1 << 15);
  expect(&net, image, (const int32_t[]){-14, -17, -23, -26}, 4);
  net.tensors[1].zero_point = 5;
  net.layer.lo = -20;
  expect(&net, image, (const int32_t[]){-9, -12, -18, -20}, 4);
}

// A sign output: +1 from zero on. With bias -35 * 2^15 the four sums 29, 35, 47, 53 split there.
static void sign_output(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.tensors[1].format = (bl_format){BL_FORMAT_B, 1};
  net.bias[0] = -35LL * (1 << 15);
  expect(&net, image, (const int32_t[]){-1, 1, 1, 1}, 4);
}

static void maximum_pooling(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.layer.pool_h = net.layer.pool_w = 2;
  net.layer.pool_stride_h = net.layer.pool_stride_w = 2;
  net.layer.pool_pad_top = net.layer.pool_pad_left = 1;
  net.layer.pool_pad_bottom = net.layer.pool_pad_right = 1;
  net.mult[0] = -(1 << 15); // all values negative: padding must not win with a 0
  expect(&net, image, (const int32_t[]){-29, -35, -47, -53}, 4);
}

// Two groups over two channels, accumulators out.
static void groups_and_accumulators(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.tensors[0].c = net.tensors[1].c = 2;
  net.tensors[0].w = net.tensors[0].h = 1;
  net.tensors[1].w = net.tensors[1].h = 1;
  net.tensors[1].format = (bl_format){BL_FORMAT_ACC, 32};
  net.layer.kernel_h = net.layer.kernel_w = 1;
  net.layer.groups = 2;
  expect(&net, (const int32_t[]){3, 5}, (const int32_t[]){3, -10}, 2);
}

// Each pixel of 1 2 / 3 4 becomes two by two; under the kernel's four taps.
static void up_sampled_input(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.layer.upsample = true;
  net.tensors[0].h = net.tensors[0].w = 2;
  net.tensors[1].h = net.tensors[1].w = 3;
  expect(&net, image, (const int32_t[]){6, 8, 12, 20, 22, 26, 18, 20, 24}, 9);
  net.layer.pad_bottom = net.layer.pad_right = 1; // below and beside the picture as it is seen
  net.layer.pad_value = 10;
  net.layer.stride_h = net.layer.stride_w = 4;
  net.layer.pad_top = net.layer.pad_left = 1;
  net.tensors[1].h = net.tensors[1].w = 2;
  // (10-20+30+4*1), (10-20+3*2+40), (10-2*3+30+40), (4-20+30+40)
  expect(&net, image, (const int32_t[]){24, 36, 74, 54}, 4);
}

// Sums 29, 35, 47, 53 and their negatives, which the low eight bits turn into 227, 221, 209, 203.
static void table_behind_the_clamp(void **state) {
  (void)state;
  tiny_net net;
  int32_t table[BL_INT_TABLE];
  make_net(&net);
  for (int i = 0; i < BL_INT_TABLE; i++)
    table[i] = i / 2 - 100;
  net.layer.table = table;
  expect(&net, image, (const int32_t[]){-86, -83, -77, -74}, 4);
  net.mult[0] = -(1 << 15);
  expect(&net, image, (const int32_t[]){13, 10, 4, 1}, 4);
  net.layer.lo = -40; // index 216
  expect(&net, image, (const int32_t[]){13, 10, 8, 8}, 4);
}

// 3x over a map, raised by two places, and -5 times the same map: 7x. Pooled, 7 times the largest.
static void addition(void **state) {
  (void)state;
  tiny_net net;
  int32_t weight[2] = {-5, 0};
  make_net(&net);
  net.weights[0] = 3;
  net.layer.kernel_h = net.layer.kernel_w = 1;
  net.tensors[1].h = net.tensors[1].w = 3;
  net.layer.raise = 2;
  net.layer.addend = 0;
  net.layer.addend_weight = weight;
  expect(&net, image, (const int32_t[]){7, 14, 21, 28, 35, 42, 49, 56, 63}, 9);
  net.layer.pool_h = net.layer.pool_w = net.layer.pool_stride_h = net.layer.pool_stride_w = 3;
  net.tensors[1].h = net.tensors[1].w = 1;
  expect(&net, image, (const int32_t[]){63}, 1);
}

// Of 2 x 4 pixels of two channels, (1, 10) .. (8, 80), a stride of 2 takes (1, 10) and (3, 30):
// three and two times those, and twice the layer's own sums, -1 and -3.
static void projection(void **state) {
  (void)state;
  tiny_net net;
  const int32_t in[16] = {1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60, 7, 70, 8, 80};
  int32_t weight[2] = {3, 2};
  int8_t own[2] = {-1, 0};
  make_net(&net);
  net.tensors[0] = (bl_int_tensor){"in", 2, 4, 2, {BL_FORMAT_S, 8}, 1.0, 0, 0, 0};
  net.tensors[1].h = 1, net.tensors[1].w = 2;
  net.layer.kernel_h = net.layer.kernel_w = 1;
  net.layer.stride_h = net.layer.stride_w = 2;
  net.layer.weights = own;
  net.layer.raise = 1;
  net.layer.addend = 0;
  net.layer.addend_weight = weight;
  net.layer.project_h = net.layer.project_w = 2;
  expect(&net, in, (const int32_t[]){3 + 20 - 2, 9 + 60 - 6}, 2);
}

static bl_int_layer point_layer(const tiny_net *net, uint32_t input, uint32_t output,
                                int8_t *weights) {
  bl_int_layer layer = net->layer;
  layer.input = input;
  layer.output = output;
  layer.kernel_h = layer.kernel_w = 1;
  layer.weights = weights;
  return layer;
}

// From 3: "one" gives 6, "two" -3 and 12; beside each other, two first, -3 12 6. The last layer
// sums 1, 10 and 100 times those, 717, raises by 3 and takes 1024 times "one" away.
static void concatenation_and_accumulators(void **state) {
  (void)state;
  tiny_net net;
  bl_error err = {0};
  int8_t one[] = {2}, two[] = {-1, 4}, last[] = {1, 10, 100};
  int32_t weight[] = {-1024}, in = 3, out[3];
  make_net(&net);
  const bl_format s8 = {BL_FORMAT_S, 8};
  bl_int_tensor tensors[5] = {{"in", 1, 1, 1, s8, 1.0, 0, 0, 0},
                              {"one", 1, 1, 1, s8, 1.0, 0, 3, 2},
                              {"two", 1, 1, 2, s8, 1.0, 0, 3, 0},
                              {"both", 1, 1, 3, s8, 1.0, 0, 0, 0},
                              {"out", 1, 1, 1, {BL_FORMAT_ACC, 32}, 1.0, 0, 0, 0}};
  bl_int_layer layers[3] = {point_layer(&net, 0, 1, one), point_layer(&net, 0, 2, two),
                            point_layer(&net, 3, 4, last)};
  layers[2].weight_format = s8;
  layers[2].addend = 1;
  layers[2].addend_weight = weight;
  layers[2].raise = 3;
  bl_int_graph graph = {.name = "net",
                        .tensors = tensors,
                        .tensor_count = 5,
                        .layers = layers,
                        .layer_count = 3,
                        .output = 4};
  if (bl_int_check(&graph, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(bl_reference_run(&graph, &in, out, NULL, NULL, &err), BL_OK);
  assert_int_equal(out[0], 717 * 8 - 6 * 1024);
  graph.output = 3;
  assert_int_equal(bl_reference_run(&graph, &in, out, NULL, NULL, &err), BL_OK);
  assert_true(out[0] == -3 && out[1] == 12 && out[2] == 6);
}

static void refused(tiny_net *net) {
  bl_error err = {0};
  assert_int_not_equal(bl_int_check(&net->graph, &err), BL_OK);
  assert_true(strlen(err.text) > 0);
  make_net(net);
}

static void unsound_graphs_are_refused(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  net.layer.input = 2, refused(&net);
  net.layer.output = 0, refused(&net);
  net.layer.groups = 3, refused(&net);
  net.layer.stride_h = 0, refused(&net);
  net.layer.kernel_h = 4, refused(&net);
  net.layer.pool_pad_top = 1, refused(&net);
  net.layer.lo = -129, refused(&net);
  net.layer.pad_value = 16, refused(&net);
  net.mult[0] = 1 << 16, refused(&net);
  net.shift[0] = 48, refused(&net);
  net.bias[0] = INT64_C(1) << 47, refused(&net);
  net.weights[3] = 8, refused(&net);
  net.tensors[0].h = 0, refused(&net);
  net.tensors[0].format.bits = 9, refused(&net);
  net.tensors[1].h = 3, refused(&net);
  net.graph.output = 2, refused(&net);
  net.graph.layer_count = 0, refused(&net);
}

static void input_outside_its_format(void **state) {
  (void)state;
  tiny_net net;
  make_net(&net);
  int32_t in[9] = {0}, out[4];
  in[8] = 16;
  bl_error err = {0};
  assert_int_equal(bl_reference_run(&net.graph, in, out, NULL, NULL, &err), BL_ERR_RANGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_convolution),
      cmocka_unit_test(padding_has_its_value),
      cmocka_unit_test(dilation_skips),
      cmocka_unit_test(requantisation_rounds_half_up),
      cmocka_unit_test(sign_output),
      cmocka_unit_test(maximum_pooling),
      cmocka_unit_test(groups_and_accumulators),
      cmocka_unit_test(up_sampled_input),
      cmocka_unit_test(table_behind_the_clamp),
      cmocka_unit_test(addition),
      cmocka_unit_test(projection),
      cmocka_unit_test(concatenation_and_accumulators),
      cmocka_unit_test(unsound_graphs_are_refused),
      cmocka_unit_test(input_outside_its_format),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
