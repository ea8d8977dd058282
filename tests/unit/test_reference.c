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
  net->tensors[0] = (bl_int_tensor){"in", 3, 3, 1, {BL_FORMAT_U, 4}, 1.0, 0};
  net->tensors[1] = (bl_int_tensor){"out", 2, 2, 1, {BL_FORMAT_S, 8}, 1.0, 0};
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
  net.tensors[1].format = (bl_format){BL_FORMAT_B1, 1};
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
      cmocka_unit_test(unsound_graphs_are_refused),
      cmocka_unit_test(input_outside_its_format),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
