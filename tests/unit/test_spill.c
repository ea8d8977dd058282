// SPDX-License-Identifier: Apache-2.0
// A residual network and one with a level below and a concatenation above it, whose activations are
// larger than any configuration's memory, whole and one image at a time: every layer's output bits
// on both devices, with stalls on the RTL, and the bytes that travel. The expected values come from
// the reference kernels.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/compile/program.h"
#include "sim/functional_device.h"
#include "sim/rtl_device.h"
#include "tests/regress/run_case.h"

enum { SIDE = 56, CHANNELS = 32, LAYERS = 4, LEVEL_LAYERS = 5, IMAGES = 2, PATIENCE = 100000 };

typedef struct {
  bl_int_tensor tensors[LEVEL_LAYERS + 2];
  bl_int_layer layers[LEVEL_LAYERS];
  bl_int_graph graph;
  int8_t weights[LEVEL_LAYERS][2 * CHANNELS * CHANNELS * 9];
  int32_t mult[CHANNELS], addend_weight[CHANNELS];
  int64_t bias[CHANNELS];
  uint8_t shift[CHANNELS];
  int32_t input[IMAGES * SIDE * SIDE * CHANNELS];
} net;

static uint32_t draw(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33);
}

static void make_layer(net *n, uint32_t l, uint32_t kernel, uint64_t *state) {
  static char names[LEVEL_LAYERS][8] = {"first", "second", "third", "fourth", "fifth"};
  n->layers[l] = (bl_int_layer){.name = names[l],
                                .input = l,
                                .output = l + 1,
                                .groups = 1,
                                .kernel_h = kernel,
                                .kernel_w = kernel,
                                .stride_h = 1,
                                .stride_w = 1,
                                .dilation_h = 1,
                                .dilation_w = 1,
                                .pad_top = kernel / 2,
                                .pad_left = kernel / 2,
                                .pad_bottom = kernel / 2,
                                .pad_right = kernel / 2,
                                .weight_format = {BL_FORMAT_S, 2},
                                .weights = n->weights[l],
                                .mult = n->mult,
                                .bias = n->bias,
                                .shift = n->shift,
                                .hi = 255,
                                .pool_h = 1,
                                .pool_w = 1,
                                .pool_stride_h = 1,
                                .pool_stride_w = 1};
  for (uint32_t i = 0; i < sizeof n->weights[l]; i++)
    n->weights[l][i] = (int8_t)(draw(state) & 1);
}

static net *allocate(uint64_t *state) {
  net *n = calloc(1, sizeof *n);
  assert_non_null(n);
  for (uint32_t c = 0; c < CHANNELS; c++) {
    n->mult[c] = 1 << 15;
    n->bias[c] = -((int64_t)draw(state) % 1024 << 15);
    n->shift[c] = 22;
    n->addend_weight[c] = 16 + (int32_t)(draw(state) % 16);
  }
  for (size_t i = 0; i < sizeof n->input / sizeof n->input[0]; i++)
    n->input[i] = (int32_t)(draw(state) & 255);
  static char name[] = "t";
  for (uint32_t t = 0; t < LEVEL_LAYERS + 2; t++)
    n->tensors[t] = (bl_int_tensor){name, SIDE, SIDE, CHANNELS, {BL_FORMAT_U, 8}, 1.0, 0, 0, 0};
  return n;
}

// t1 = conv3x3(in), t2 = conv3x3(t1), t3 = conv1x1(t2) + t1, t4 = conv3x3(t3).
static net *residual(uint64_t seed) {
  net *n = allocate(&seed);
  for (uint32_t l = 0; l < LAYERS; l++)
    make_layer(n, l, l == 2 ? 1 : 3, &seed);
  n->layers[2].addend = 1;
  n->layers[2].addend_weight = n->addend_weight;
  n->graph = (bl_int_graph){.name = "residual",
                            .tensors = n->tensors,
                            .tensor_count = LAYERS + 1,
                            .layers = n->layers,
                            .layer_count = LAYERS,
                            .output = LAYERS};
  return n;
}

// t1 = conv3x3(in), t2 = conv3x3(t1) of stride 2, t3 = conv3x3(t2), t4 = conv3x3(t3 up-sampled),
// t5 = t4 and t1 side by side, in this order, t6 = conv3x3(t5).
static net *levels(uint64_t seed) {
  enum { WHOLE = LEVEL_LAYERS };
  net *n = allocate(&seed);
  for (uint32_t l = 0; l < LEVEL_LAYERS; l++)
    make_layer(n, l, 3, &seed);
  for (uint32_t t = 2; t < 4; t++)
    n->tensors[t].h = n->tensors[t].w = SIDE / 2;
  n->layers[1].stride_h = n->layers[1].stride_w = 2;
  n->layers[3].upsample = true;
  n->tensors[4].parent = n->tensors[1].parent = WHOLE;
  n->tensors[1].parent_channel = CHANNELS;
  n->tensors[WHOLE].c = 2 * CHANNELS;
  n->layers[4].input = WHOLE;
  n->layers[4].output = WHOLE + 1;
  n->graph = (bl_int_graph){.name = "levels",
                            .tensors = n->tensors,
                            .tensor_count = WHOLE + 2,
                            .layers = n->layers,
                            .layer_count = LEVEL_LAYERS,
                            .output = WHOLE + 1};
  return n;
}

static void check(const net *n, const bl_program *p, bl_driver *driver, const char *device,
                  uint32_t rounds, uint64_t seed) {
  bl_case_result result;
  char text[BL_CASE_TEXT];
  if (!bl_run_case(driver, &n->graph, p, n->input, p->images, rounds, &result, text))
    fail_msg("seed %llu, %s: %s", (unsigned long long)seed, device, text);
  if (result.differing > 0)
    fail_msg("seed %llu, %s: %llu differ, first in layer %u: expected %d, got %d",
             (unsigned long long)seed, device, (unsigned long long)result.differing, result.layer,
             result.expected, result.got);
}

// Bytes of activations that the steps of a batch load and send.
static uint64_t travelling(const bl_program *p) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < p->batch_count; i++) {
    const bl_step *s = &p->batch[i];
    if (s->opcode == BL_OP_LOAD_ACTIVATIONS) bytes += s->bytes;
    if (s->opcode == BL_OP_SEND) bytes += (s->argument & 0xFFFFFF) * (s->argument >> 24);
  }
  return bytes;
}

static void run_everywhere(net *n, uint64_t seed) {
  uint64_t spilled = 0;
  for (int config = 0; config < BL_CONFIG_COUNT; config++) {
    const bl_config *c = &BL_CONFIGS[config];
    bl_error err = {0};
    bl_program *p;
    bl_driver driver;
    bl_compile_options options = {c, config == BL_CONFIG_DEFAULT ? IMAGES : 1};
    if (bl_compile(&n->graph, &options, &p, &err) != BL_OK) fail_msg("%s", err.text);
    assert_true(p->stage_count > 0);
    spilled += p->figures.spilled_bytes;
    assert_true(p->figures.used[BL_MEMORY_ACTIVATIONS] <= c->act_depth);
    // input and output travel once (rows that windows share more often), the rest is spilled
    const uint64_t ends = 2 * bl_program_input_bytes(p); // the output has the input's shape
    assert_true(travelling(p) >= p->figures.spilled_bytes + ends);
    bl_functional *functional = bl_functional_open(c, BL_POPCOUNT_BEST);
    assert_non_null(functional);
    bl_driver_open(&driver, &bl_functional_transport, functional, PATIENCE);
    check(n, p, &driver, "functional", 4, seed);
    bl_functional_close(functional);
    bl_rtl *rtl = bl_rtl_open(c, 0.1, seed);
    assert_non_null(rtl);
    bl_driver_open(&driver, &bl_rtl_transport, rtl, PATIENCE);
    check(n, p, &driver, "rtl", c == &BL_CONFIGS[BL_CONFIG_WIDE] ? 3 : 1, seed);
    printf("%s, %s: %u stages, the first in %u pieces, %llu bytes of activations travel, %llu "
           "cycles\n",
           n->graph.name, c->name, p->stage_count, p->stages[0].pieces,
           (unsigned long long)travelling(p), (unsigned long long)bl_rtl_cycles(rtl));
    bl_rtl_close(rtl);
    bl_program_free(p);
  }
  assert_true(spilled > 0); // somewhere between two stages
  free(n);
}

static uint64_t seed_of(void) {
  const char *text = getenv("BITLOOM_SEED");
  const uint64_t seed = text == NULL ? 1 : strtoull(text, NULL, 0);
  printf("seed %llu\n", (unsigned long long)seed);
  return seed;
}

static void activations_larger_than_memory(void **state) {
  (void)state;
  const uint64_t seed = seed_of();
  run_everywhere(residual(seed), seed);
}

static void concatenations_larger_than_memory(void **state) {
  (void)state;
  const uint64_t seed = seed_of();
  run_everywhere(levels(seed), seed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(activations_larger_than_memory),
      cmocka_unit_test(concatenations_larger_than_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
