// SPDX-License-Identifier: Apache-2.0
// What is zero takes no time and no bytes: blocks of a layer's weights (one window word by one
// channel tile), bit-planes, and planes of single tiles are taken away, and the cycles that the RTL
// answers and the weight bytes fall by exactly what they would have taken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/compile/program.h"
#include "host/run/program_session.h"

// 64 to 64 channels, 3 x 3, 4 by 4 bits, on 16 x 16 pixels of the default design: 18 window words
// (9 taps of two words), 8 channel tiles, 32 tiles of 8 pixels.
enum { SIDE = 16, CHANNELS = 64, TAPS = 9, FAN = TAPS * CHANNELS, PLANES = 4 };
enum { WORDS = 18, TILES = 8, COLS = 8, LANES = 32, PIXEL_TILES = SIDE * SIDE / 8 };

typedef struct {
  uint64_t cycles, bytes;
  uint32_t runs; // of the layer: its input may come in pieces
} cost;

typedef struct {
  int8_t weights[CHANNELS * FAN];
  int32_t mult[CHANNELS];
  int64_t bias[CHANNELS];
  uint8_t shift[CHANNELS];
  bl_int_tensor tensors[2];
  bl_int_layer layer;
  bl_int_graph graph;
} net;

// Every weight is -7..7 and none is 0; each tile has all four planes.
static void make(net *n) {
  static char in[] = "in", out[] = "out", conv[] = "conv";
  memset(n, 0, sizeof *n);
  for (int i = 0; i < CHANNELS * FAN; i++) {
    int w = i * 7 % 15 - 7;
    n->weights[i] = (int8_t)(w == 0 ? 5 : w);
  }
  for (int c = 0; c < CHANNELS; c++) {
    n->mult[c] = 1 << 15;
    n->bias[c] = 1 << 19;
    n->shift[c] = 20;
  }
  for (int t = 0; t < 2; t++)
    n->tensors[t] = (bl_int_tensor){.name = t == 0 ? in : out,
                                    .h = SIDE,
                                    .w = SIDE,
                                    .c = CHANNELS,
                                    .format = {BL_FORMAT_U, PLANES},
                                    .scale = 1};
  n->layer = (bl_int_layer){.name = conv,
                            .output = 1,
                            .groups = 1,
                            .kernel_h = 3,
                            .kernel_w = 3,
                            .stride_h = 1,
                            .stride_w = 1,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .pad_top = 1,
                            .pad_left = 1,
                            .pad_bottom = 1,
                            .pad_right = 1,
                            .weight_format = {BL_FORMAT_S, 4},
                            .weights = n->weights,
                            .mult = n->mult,
                            .bias = n->bias,
                            .shift = n->shift,
                            .hi = 15,
                            .pool_h = 1,
                            .pool_w = 1,
                            .pool_stride_h = 1,
                            .pool_stride_w = 1};
  n->graph = (bl_int_graph){.name = in,
                            .tensors = n->tensors,
                            .tensor_count = 2,
                            .layers = &n->layer,
                            .layer_count = 1,
                            .output = 1};
}

static cost measure(const net *n) {
  static int32_t in[SIDE * SIDE * CHANNELS], out[SIDE * SIDE * CHANNELS];
  bl_error err = {0};
  bl_program *program;
  bl_session *session;
  bl_compile_options options = {&BL_CONFIGS[BL_CONFIG_DEFAULT], 1};
  bl_device_spec spec = {.kind = BL_DEVICE_RTL, .config = options.config};
  if (bl_compile(&n->graph, &options, &program, &err) != BL_OK) fail_msg("%s", err.text);
  if (bl_session_open(&spec, &n->graph, program, UINT32_MAX, &session, &err) != BL_OK ||
      bl_session_run(session, in, 1, out, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  cost c = {bl_session_layer_cycles(session)[0], program->figures.weight_bytes,
            program->layer_parts[0]};
  bl_session_close(session);
  bl_program_free(program);
  return c;
}

// The 32 channels of word `word` of the window, of the channels of tile `tile`.
static void prune_block(net *n, int tile, int word) {
  for (int c = tile * COLS; c < (tile + 1) * COLS; c++)
    memset(n->weights + c * FAN + word * LANES, 0, LANES);
}

static void expect(const net *n, cost dense, uint64_t steps, uint64_t words) {
  cost c = measure(n);
  assert_int_equal(dense.runs, c.runs);
  assert_int_equal(dense.cycles - c.cycles, steps * PIXEL_TILES);
  assert_int_equal(dense.bytes - c.bytes, words * COLS * LANES / 8);
}

static void blocks(void **state) {
  (void)state;
  static net n;
  make(&n);
  cost dense = measure(&n);
  assert_int_equal(dense.bytes, TILES * WORDS * PLANES * COLS * LANES / 8);
  uint64_t pruned = 0;
  for (int tile = 0; tile < TILES; tile++)
    for (int word = tile % 3; word < WORDS; word += 2 + tile % 2, pruned++)
      prune_block(&n, tile, word);
  assert_true(pruned > TILES * WORDS / 3);
  // each block is a step for each of the 4 x 4 pairs of planes, and a word for each weight plane
  expect(&n, dense, pruned * PLANES * PLANES, pruned * PLANES);
}

static void a_whole_tile(void **state) {
  (void)state;
  static net n;
  make(&n);
  cost dense = measure(&n);
  for (int word = 0; word < WORDS; word++)
    prune_block(&n, 5, word);
  // what is left of it is one step, but its eight results take eight cycles to leave the array
  cost c = measure(&n);
  assert_int_equal(dense.bytes - c.bytes, WORDS * PLANES * COLS * LANES / 8);
  assert_true(dense.cycles - c.cycles >= (WORDS * PLANES * PLANES - 8) * PIXEL_TILES);
}

static void planes_of_a_tile(void **state) {
  (void)state;
  static net n;
  make(&n);
  cost dense = measure(&n);
  for (int c = 2 * COLS; c < 3 * COLS; c++) // -1 and 1: two planes, one of them the sign
    for (int k = 0; k < FAN; k++)
      n.weights[c * FAN + k] = n.weights[c * FAN + k] < 0 ? -1 : 1;
  expect(&n, dense, 2 * WORDS * PLANES, 2 * WORDS);
}

static void a_plane_of_all(void **state) {
  (void)state;
  static net n;
  make(&n);
  cost dense = measure(&n);
  for (int k = 0; k < CHANNELS * FAN; k++) // even, so plane 0 is empty
    n.weights[k] = (int8_t)(n.weights[k] / 2 * 2 == 0 ? 2 : n.weights[k] / 2 * 2);
  n.weights[0] = -6;
  cost c = measure(&n);
  // plane 0 goes; the shift to its place stays, in `post` where it is the last
  assert_int_equal(dense.bytes - c.bytes, TILES * WORDS * COLS * LANES / 8);
  assert_int_equal(dense.cycles - c.cycles, (uint64_t)TILES * WORDS * PLANES * PIXEL_TILES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks),
      cmocka_unit_test(a_whole_tile),
      cmocka_unit_test(planes_of_a_tile),
      cmocka_unit_test(a_plane_of_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
