// SPDX-License-Identifier: Apache-2.0
// What the compiler decides and refuses, on networks small enough to know the answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/compile/program.h"
#include "sim/functional_device.h"
#include "tests/regress/run_case.h"

enum { MAX_WEIGHTS = 1 << 20, MAX_CHANNELS = 2304, MAX_PIXELS = 4096 };

// One layer; weights, mult, bias and shift are the same for all channels.
typedef struct {
  bl_int_tensor tensors[2];
  bl_int_layer layer;
  bl_int_graph graph;
} net;

static int8_t weights[MAX_WEIGHTS];
static int32_t mult[MAX_CHANNELS], input[MAX_PIXELS * 8];
static int64_t bias[MAX_CHANNELS];
static uint8_t shift[MAX_CHANNELS];
static double ones[MAX_CHANNELS];

static void make(net *n, uint32_t size, uint32_t in_c, uint32_t out_c, uint32_t kernel,
                 bl_format in, bl_format w, bl_format out) {
  memset(n, 0, sizeof *n);
  for (uint32_t i = 0; i < MAX_CHANNELS; i++) {
    mult[i] = 1 << 15;
    bias[i] = 1 << 14;
    shift[i] = 15;
  }
  memset(weights, 1, sizeof weights);
  n->tensors[0] = (bl_int_tensor){"in", size, size, in_c, in, 1, 0, 0, 0};
  n->tensors[1] =
      (bl_int_tensor){"out", size - kernel + 1, size - kernel + 1, out_c, out, 1, 0, 0, 0};
  n->layer = (bl_int_layer){.name = "conv",
                            .output = 1,
                            .groups = 1,
                            .kernel_h = kernel,
                            .kernel_w = kernel,
                            .stride_h = 1,
                            .stride_w = 1,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .weight_format = w,
                            .weights = weights,
                            .mult = mult,
                            .bias = bias,
                            .shift = shift,
                            .lo = bl_format_min(out),
                            .hi = bl_format_max(out),
                            .pool_h = 1,
                            .pool_w = 1,
                            .pool_stride_h = 1,
                            .pool_stride_w = 1,
                            .out_scale = ones,
                            .out_bias = ones};
  n->graph = (bl_int_graph){.name = "net",
                            .tensors = n->tensors,
                            .tensor_count = 2,
                            .layers = &n->layer,
                            .layer_count = 1,
                            .output = 1};
}

static const bl_format u8 = {BL_FORMAT_U, 8}, u4 = {BL_FORMAT_U, 4}, s8 = {BL_FORMAT_S, 8},
                       s4 = {BL_FORMAT_S, 4}, acc = {BL_FORMAT_ACC, 32}, b1 = {BL_FORMAT_B, 1};

static bl_program *compile(const net *n, int config, uint32_t batch) {
  bl_error err = {0};
  bl_program *program;
  bl_compile_options options = {&BL_CONFIGS[config], batch};
  if (bl_compile(&n->graph, &options, &program, &err) != BL_OK) fail_msg("%s", err.text);
  return program;
}

static void refused(const net *n, uint32_t batch, const char *says) {
  bl_error err = {0};
  bl_program *program;
  bl_compile_options options = {&BL_CONFIGS[BL_CONFIG_DEFAULT], batch};
  assert_int_not_equal(bl_compile(&n->graph, &options, &program, &err), BL_OK);
  assert_null(program);
  if (strstr(err.text, says) == NULL) fail_msg("'%s' does not say '%s'", err.text, says);
}

static void refusals_name_layer_and_limit(void **state) {
  (void)state;
  net n;
  make(&n, 4, 4160, 8, 1, u8, s4, u8);
  n.layer.pool_h = n.layer.pool_w = 2; // sums cut along the reduction cannot be pooled
  n.tensors[1].h = n.tensors[1].w = 3;
  refused(&n, 1, "layer conv: its window takes 1040 words of a row buffer of 1024");
  make(&n, 64, 1024, 8, 1, u8, s4, u4); // a row of the input alone takes 16,384 words
  refused(&n, 1, "default has 16384, and layer conv does not fit row by row either");
  make(&n, 8, 4, 8, 1, u4, s4, u4);
  refused(&n, 65, "batches of 65");
  n.layer.stride_h = 300;
  n.tensors[0].h = 601;
  n.tensors[1].h = 3;
  refused(&n, 1, "layer conv: stride in y is 300, the device takes 1..255");
  make(&n, 8, 4, 8, 1, u4, s4, (bl_format){BL_FORMAT_S, 8});
  n.tensors[1].zero_point = -32700;
  refused(&n, 1, "upper clamp");
}

static void bias_beyond_48_bits(void **state) {
  (void)state;
  net n;
  make(&n, 1, 64, 8, 1, b1, s8, u4);
  for (int i = 0; i < 8; i++)
    bias[i] = -((int64_t)1 << 47) + 5;
  refused(&n, 1, "layer conv channel 0: its bias");
}

// 40 channels of 4-bit weights of 1 (one plane) on 4-bit inputs: 5 tiles of 9 * 1 words * 4 passes,
// and 36 pixels are 5 tiles of 8 rows.
static void issue_steps_of_a_dense_layer(void **state) {
  (void)state;
  net n;
  make(&n, 8, 32, 40, 3, u4, s4, u4);
  bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->figures.issue_steps, 5 * 5 * 9 * 4);
  assert_int_equal(p->figures.weight_bytes, 5 * 9 * 8 * 4);
  assert_int_equal(p->figures.streamed_bytes, 0);
  assert_true(p->figures.resident[BL_MEMORY_WEIGHTS]);
  assert_int_equal(p->figures.used[BL_MEMORY_K], 9);
  assert_int_equal(p->figures.used[BL_MEMORY_PASSES], 4);
  bl_program_free(p);
  weights[0] = -8; // the first tile now needs planes 0 and 3
  p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->figures.issue_steps, 5 * (4 + 2) * 9 * 4);
  bl_program_free(p);
}

// One channel and a 3x3 window: the host packs 9 lanes, one word instead of nine.
static void few_channels_are_packed(void **state) {
  (void)state;
  net n;
  make(&n, 8, 1, 8, 3, u8, s4, u4);
  bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->input.window_h, 3);
  assert_int_equal(p->input.h, 6);
  assert_int_equal(p->input.c, 9);
  assert_int_equal(p->regions[0].load_bytes, 2);
  assert_int_equal(bl_program_input_bytes(p), 36 * 8 * 2);
  bl_program_free(p);
}

// A single-pixel layer uses a row an image: the compiler takes as many images as it may.
static void single_pixels_are_batched(void **state) {
  (void)state;
  net n;
  make(&n, 1, 64, 32, 1, u4, s4, acc);
  bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 0);
  assert_int_equal(p->images, BL_PROGRAM_AUTO_BATCH);
  bl_program_free(p);
}

// 64 channels of u4 and weights of 1: at most 960, two bytes; 4 channels: 60, one.
static void int32_takes_the_bytes_it_needs(void **state) {
  (void)state;
  net n;
  make(&n, 1, 64, 10, 1, u4, s4, acc);
  bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->regions[1].acc_bytes, 2);
  bl_program_free(p);
  make(&n, 1, 4, 10, 1, u4, s4, acc);
  p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->regions[1].acc_bytes, 1);
  bl_program_free(p);
}

// The device's own check: a fault planted in its first run must show.
static void runs_and_planted_faults(void **state) {
  (void)state;
  for (int config = 0; config < BL_CONFIG_COUNT; config++)
    for (int fault = 0; fault < 2; fault++) {
      net n;
      make(&n, 5, 3, 2100, 3, u8, s8, u8);
      for (int i = 0; i < 2100 * 27; i++)
        weights[i] = (int8_t)(i * 37 % 251 - 125);
      for (int i = 0; i < 108 * 2; i++)
        input[i] = i * 101 % 256;
      bl_program *p = compile(&n, config, 1);
      assert_true(p->layer_parts[0] > 1); // 2,100 channels are more than any parameter memory holds
      bl_driver driver;
      bl_case_result result;
      char text[BL_CASE_TEXT];
      bl_functional *device = bl_functional_open(&BL_CONFIGS[config], BL_POPCOUNT_BEST);
      assert_non_null(device);
      bl_driver_open(&driver, &bl_functional_transport, device, 1000);
      if (fault == 1) bl_functional_plant_fault(device, 0);
      if (!bl_run_case(&driver, &n.graph, p, input, 1, 2, &result, text)) fail_msg("%s", text);
      assert_int_equal(result.differing > 0, fault == 1);
      bl_functional_close(device);
      bl_program_free(p);
    }
}

// 64x64 pixels of 64 channels at 8 bits take 65,536 words: loaded and sent in stripes of whole
// rows.
static void large_activations_travel(void **state) {
  (void)state;
  net n;
  make(&n, 64, 64, 64, 1, u8, s4, u8);
  bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->stage_count, 1);
  assert_true(p->stages[0].pieces >= 8);
  assert_int_equal(p->store_bytes, 2 * 65536 * 4);
  assert_int_equal(p->output_offset, 65536 * 4);
  uint32_t loaded = 0, sent = 0;
  for (uint32_t i = 0; i < p->batch_count; i++) {
    if (p->batch[i].opcode == BL_OP_LOAD_ACTIVATIONS) loaded += p->batch[i].bytes;
    if (p->batch[i].opcode == BL_OP_SEND) sent += 4 * bl_program_answer_words(&p->batch[i]);
  }
  assert_int_equal(loaded, 65536 * 4); // each row once: the kernel is 1x1
  assert_int_equal(sent, 65536 * 4);
  assert_int_equal(p->figures.spilled_bytes, 0); // nothing between layers
  bl_program_free(p);
}

// t1 = conv(in), t2 = conv(t1), t3 = conv(t2) + t1: nothing reads t1 later, so t3 takes its place
// if it has the same bits.
static void a_sum_takes_the_place_of_its_addend(void **state) {
  (void)state;
  static int32_t one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  for (int other_bits = 0; other_bits < 2; other_bits++) {
    net n;
    make(&n, 8, 16, 16, 1, u8, s4, u8);
    bl_int_tensor tensors[4] = {n.tensors[0], n.tensors[1], n.tensors[1], n.tensors[1]};
    bl_int_layer layers[3] = {n.layer, n.layer, n.layer};
    for (uint32_t l = 0; l < 3; l++) {
      layers[l].input = l;
      layers[l].output = l + 1;
    }
    layers[2].addend = 1;
    layers[2].addend_weight = one;
    if (other_bits == 1) {
      tensors[3].format = u4;
      layers[2].hi = 15;
    }
    n.graph.tensors = tensors;
    n.graph.tensor_count = 4;
    n.graph.layers = layers;
    n.graph.layer_count = 3;
    n.graph.output = 3;
    bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 1);
    assert_int_equal(p->regions[3].address == p->regions[1].address, other_bits == 0);
    // t1, t2 and the input, which keeps its place to be loaded ahead: 64 pixels of 8 planes each
    const uint32_t words = 3 * 64 * 8 + (other_bits == 0 ? 0 : 64 * 4);
    assert_int_equal(p->figures.used[BL_MEMORY_ACTIVATIONS], words);
    bl_program_free(p);
  }
}

// 32 channels, all weights 1, and an addend times 1: expanded, each tile has one plane and a word
// for the addend; as codes a codebook, a word of codes, which are four bits wide, and that word.
static void codes_beside_an_addend(void **state) {
  (void)state;
  static int8_t codebook[BL_INT_CODES] = {-128, 0,   1,   127, 127, 127, 127, 127,
                                          127,  127, 127, 127, 127, 127, 127, 127};
  net n;
  make(&n, 8, 32, 32, 1, u4, s8, u8);
  static int32_t all[32];
  for (int k = 0; k < 32; k++)
    all[k] = 1;
  n.layer.addend_weight = all;
  bl_program *p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->figures.weight_bytes, 4 * 2 * 8 * 4);
  bl_program_free(p);
  n.layer.codebook = codebook;
  p = compile(&n, BL_CONFIG_DEFAULT, 1);
  assert_int_equal(p->figures.weight_bytes, 4 * (16 + 8 * 16 + 8 * 4));
  bl_program_free(p);
}

static void pack_input_checks_values(void **state) {
  (void)state;
  net n;
  bl_error err = {0};
  uint32_t payload[64];
  make(&n, 1, 4, 8, 1, u4, s4, u4);
  bl_program *p = compile(&n, BL_CONFIG_TINY, 1);
  int32_t values[4] = {0, 15, 16, 3};
  assert_int_equal(bl_program_pack_input(p, &n.graph, values, 1, payload, &err), BL_ERR_RANGE);
  values[2] = 9;
  assert_int_equal(bl_program_pack_input(p, &n.graph, values, 2, payload, &err), BL_ERR_RANGE);
  assert_int_equal(bl_program_pack_input(p, &n.graph, values, 1, payload, &err), BL_OK);
  // Planes of one byte each: bit i of channels 0..3. 0, 15, 9, 3.
  const uint8_t planes[4] = {0x0E, 0x0A, 0x02, 0x06};
  assert_memory_equal(payload, planes, 4);
  bl_program_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refusals_name_layer_and_limit),
      cmocka_unit_test(bias_beyond_48_bits),
      cmocka_unit_test(issue_steps_of_a_dense_layer),
      cmocka_unit_test(few_channels_are_packed),
      cmocka_unit_test(single_pixels_are_batched),
      cmocka_unit_test(int32_takes_the_bytes_it_needs),
      cmocka_unit_test(runs_and_planted_faults),
      cmocka_unit_test(large_activations_travel),
      cmocka_unit_test(a_sum_takes_the_place_of_its_addend),
      cmocka_unit_test(codes_beside_an_addend),
      cmocka_unit_test(pack_input_checks_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
