// SPDX-License-Identifier: Apache-2.0
// The integer graph's helpers and what its check refuses: each refusal starts from a sound network
// and breaks one rule of host/graph/int_graph.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/feature_net.h"

static void sound(const feature_net *net) {
  bl_error err = {0};
  if (bl_int_check(&net->graph, &err) != BL_OK) fail_msg("%s", err.text);
}

// Refused with this word in the message; the network is made anew.
static void refused(feature_net *net, const char *word) {
  bl_error err = {0};
  assert_int_not_equal(bl_int_check(&net->graph, &err), BL_OK);
  if (strstr(err.text, word) == NULL) fail_msg("expected \"%s\" in: %s", word, err.text);
  feature_net_make(net);
}

static void helpers(void **state) {
  (void)state;
  feature_net net;
  uint32_t h, w;
  feature_net_make(&net);
  sound(&net);
  assert_int_equal(bl_int_concatenations(&net.graph), 1);
  assert_true(bl_int_is_concatenation(&net.graph, 3));
  assert_false(bl_int_is_concatenation(&net.graph, 0));
  assert_false(bl_int_is_concatenation(&net.graph, 1));
  assert_int_equal(bl_int_producer(&net.graph, 5), 3);
  assert_int_equal(bl_int_producer(&net.graph, 3), BL_INT_NO_LAYER);
  assert_int_equal(bl_int_producer(&net.graph, 0), BL_INT_NO_LAYER);
  assert_int_equal(bl_int_completer(&net.graph, 1), 0);
  assert_int_equal(bl_int_completer(&net.graph, 3), 1);
  assert_int_equal(bl_int_completer(&net.graph, 0), BL_INT_NO_LAYER);
  bl_int_conv_size(&net.graph, &net.layers[2], &h, &w);
  assert_true(h == 4 && w == 4);
  assert_int_equal(bl_int_windows(5, 0, 3, 2, 1), 1);
  assert_int_equal(bl_int_windows(5, 0, 4, 2, 1), 0);
  assert_int_equal(bl_int_windows(6, 1, 3, 1, 2), 3);
}

static void concatenations(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  net.tensors[2].parent_channel = 2, refused(&net, "overlap");
  net.tensors[2].parent_channel = 4, refused(&net, "outside");
  net.tensors[2].parent_channel = UINT32_MAX, refused(&net, "outside");
  net.tensors[3].c = 9, refused(&net, "leave channels out");
  net.tensors[1].parent_channel = 1, refused(&net, "overlap");
  net.tensors[1].parent = 0, refused(&net, "overlap");
  net.tensors[1].parent = 6, refused(&net, "part");
  net.tensors[1].parent = 1, refused(&net, "differs");
  net.tensors[0].parent = 3, refused(&net, "part");
  net.tensors[4].parent_channel = 1, refused(&net, "no other tensor");
  net.tensors[1].h = 3, refused(&net, "differs");
  net.tensors[1].format.bits = 5, refused(&net, "differs");
  net.tensors[1].format.kind = BL_FORMAT_U, refused(&net, "differs");
  net.tensors[1].scale = 0.25, refused(&net, "differs");
  net.tensors[1].zero_point = 1, refused(&net, "differs");
  net.tensors[3].parent = 4, refused(&net, "differs");
  net.graph.layer_count = 5, refused(&net, "layers");
  net.graph.layer_count = 3, refused(&net, "layers");
  net.graph.layer_count = UINT32_MAX, refused(&net, "layers");
  net.layers[0].output = 3, refused(&net, "");
  net.layers[1].output = 1, net.layers[1].mult = net.mult, refused(&net, "twice");
}

// The up-sampling layer before the second part is made.
static void concatenation_order(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  bl_int_layer right = net.layers[1];
  net.layers[1] = net.layers[2];
  net.layers[2] = right;
  refused(&net, "before it is made");
  net.graph.output = 3;
  sound(&net);
}

static void additions(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  bl_int_layer *sum = &net.layers[3];
  sum->addend = 6, refused(&net, "no such addend");
  sum->addend = 3, refused(&net, "addend");
  sum->addend = 5, refused(&net, "before it is made");
  sum->raise = 25, refused(&net, "raise");
  sum->addend_weight = NULL, refused(&net, "raise");
  net.addend_weight[3] = 1 << 24, refused(&net, "channel 3");
  net.addend_weight[0] = -(1 << 24), refused(&net, "channel 0");
  net.addend_weight[0] = (1 << 24) - 1, sound(&net);
  sum->addend_weight = NULL, sum->raise = 0, sum->addend = 99, sound(&net);
}

// A projected addend is `project` times as high and wide as the convolution, of any channels.
static void projections(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  bl_int_layer *right = &net.layers[1];
  right->project_h = 0, refused(&net, "strides 0 and 1");
  right->project_w = 0, refused(&net, "strides 1 and 0");
  right->project_h = 256, refused(&net, "strides 256");
  right->project_h = 2, refused(&net, "its addend");
  right->project_w = 2, refused(&net, "its addend");
  right->project_h = right->project_w = 0, refused(&net, "its addend");
  net.projection[9] = 1 << 24, refused(&net, "channel 4");
  net.projection[0] = -(1 << 24), refused(&net, "channel 0");
  net.layers[1].addend = 5, refused(&net, "its addend");
  net.tensors[0].h = net.tensors[0].w = 4;
  for (int l = 0; l < 2; l++)
    net.layers[l].stride_h = net.layers[l].stride_w = 2;
  refused(&net, "its addend");
  net.tensors[0].h = net.tensors[0].w = 4;
  for (int l = 0; l < 2; l++)
    net.layers[l].stride_h = net.layers[l].stride_w = 2;
  net.layers[1].project_h = net.layers[1].project_w = 2;
  sound(&net);
}

// An addend has the size before pooling.
static void addition_before_pooling(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  bl_int_layer *sum = &net.layers[3];
  sum->pool_h = sum->pool_w = sum->pool_stride_h = sum->pool_stride_w = 2;
  net.tensors[5].h = net.tensors[5].w = 2;
  sound(&net);
}

static void tables(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  bl_int_layer *up = &net.layers[2];
  up->lo = -128, up->hi = 127, sound(&net);
  up->lo = 0, up->hi = 255, sound(&net);
  up->lo = -1, up->hi = 128, refused(&net, "neither");
  up = &net.layers[2];
  up->lo = -129, refused(&net, "neither");
  up->lo = 0, up->hi = 256, refused(&net, "neither");
  up->lo = 32, refused(&net, "neither");
  net.table[255] = 256, refused(&net, "entry 255");
  net.table[0] = -1, refused(&net, "entry 0");
  net.tensors[5].format = (bl_format){BL_FORMAT_B, 1};
  net.layers[3].table = net.table, refused(&net, "table");
  net.tensors[5].format = (bl_format){BL_FORMAT_ACC, 32};
  net.layers[3].table = net.table, refused(&net, "table");
}

static void codebooks(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  net.codebook[15] = 8, refused(&net, "code 15");
  net.codebook[15] = -9, refused(&net, "code 15");
  net.weights[2] = 7, refused(&net, "codebook");
  net.layers[3].weight_format = (bl_format){BL_FORMAT_B, 1};
  for (int i = 0; i < 40; i++)
    net.weights[i] = 1;
  refused(&net, "codebook");
}

static void bipolar_net(feature_net *net) {
  feature_net_make(net);
  net->layers[3].codebook = NULL;
  net->layers[3].weight_format = (bl_format){BL_FORMAT_B, 2};
  for (int i = 0; i < 40; i++)
    net->weights[i] = (int8_t)(2 * (i % 4) - 3);
}

// Odd numbers; tensors have one bit of them.
static void bipolar(void **state) {
  (void)state;
  static const struct {
    uint8_t bits;
    int32_t most;
    const char *name;
  } formats[] = {{1, 1, "b1"}, {2, 3, "b2"}, {4, 15, "b4"}, {7, 127, "b7"}};
  feature_net net;
  for (size_t k = 0; k < sizeof formats / sizeof formats[0]; k++) {
    const bl_format format = {BL_FORMAT_B, formats[k].bits};
    assert_int_equal(bl_format_min(format), -formats[k].most);
    assert_int_equal(bl_format_max(format), formats[k].most);
    assert_string_equal(bl_format_name(format), formats[k].name);
  }
  bipolar_net(&net);
  sound(&net);
  net.weights[7] = 2, refused(&net, "weight 7 is 2, not in b2");
  bipolar_net(&net);
  net.weights[7] = 5, refused(&net, "weight 7 is 5, not in b2");
  bipolar_net(&net);
  net.layers[3].weight_format.bits = 8, refused(&net, "b1..b7");
  net.tensors[5].format = (bl_format){BL_FORMAT_B, 2}, refused(&net, "no such format");
}

static void up_sampling(void **state) {
  (void)state;
  feature_net net;
  feature_net_make(&net);
  net.layers[2].upsample = false, refused(&net, "windows");
  net.tensors[0].h = net.tensors[1].h = net.tensors[2].h = net.tensors[3].h = 32768;
  refused(&net, "too large to be up-sampled");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(helpers),
      cmocka_unit_test(concatenations),
      cmocka_unit_test(concatenation_order),
      cmocka_unit_test(additions),
      cmocka_unit_test(projections),
      cmocka_unit_test(addition_before_pooling),
      cmocka_unit_test(tables),
      cmocka_unit_test(codebooks),
      cmocka_unit_test(bipolar),
      cmocka_unit_test(up_sampling),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
