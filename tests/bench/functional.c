// SPDX-License-Identifier: Apache-2.0
// How fast the functional device's kernels are: one 3x3 layer of 64 by 64 channels at 4 by 4 bits
// on 16x16 pixels, over and over, for each instruction set that this machine has. A word is one
// AND with its population count, LANES wide.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/functional_device.h"

enum { SIDE = 16, TAPS = 9, PLANES = 4, ROUNDS = 40 };

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bl_descriptor layer_of(const bl_config *c) {
  uint32_t words = 64 / c->lanes, pixel = words * PLANES;
  return (bl_descriptor){.in_planes = PLANES,
                         .in_last_lanes = (uint8_t)c->lanes,
                         .in_last_bytes = (uint8_t)(c->lanes / 8),
                         .in_h = SIDE,
                         .in_w = SIDE,
                         .in_words = (uint16_t)words,
                         .in_pixel_stride = (uint16_t)pixel,
                         .in_row_stride = (uint16_t)(pixel * SIDE),
                         .images = 1,
                         .kernel_h = 3,
                         .kernel_w = 3,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .stride_h = 1,
                         .stride_w = 1,
                         .step_h = 1,
                         .step_w = 1,
                         .origin_h = 1,
                         .origin_w = 1,
                         .pad_top = 1,
                         .pad_left = 1,
                         .pool_h = 1,
                         .pool_w = 1,
                         .conv_end_h = SIDE - 1,
                         .conv_end_w = SIDE - 1,
                         .out_h = SIDE,
                         .out_w = SIDE,
                         .out_base = (uint16_t)(pixel * SIDE * SIDE),
                         .out_pixel_stride = (uint16_t)pixel,
                         .out_planes = PLANES,
                         .out_last_cols = (uint8_t)c->cols,
                         .out_hi = 15,
                         .tiles = (uint16_t)(64 / c->cols)};
}

static bl_driver_result load(bl_driver *driver, uint8_t opcode, const void *words, size_t bytes) {
  return bl_driver_request(driver, opcode, 0, 0, words, (uint32_t)bytes, NULL, 0, NULL);
}

// Every tile with the same lists: all pairs of planes, every word of the window.
static bl_driver_result load_lists(bl_driver *driver, const bl_config *c) {
  uint32_t reduction = TAPS * 64 / c->lanes, words[2 * PLANES * PLANES], k_words[TAPS * 4] = {0};
  for (uint32_t i = 0; i < reduction; i++)
    k_words[i / 2] |= i * PLANES << (16 * (i % 2));
  for (uint32_t i = 0; i < PLANES * PLANES; i++) {
    bl_pass pass = {.count = (uint16_t)reduction,
                    .plane = (uint8_t)(i % PLANES),
                    .weight_offset = (uint16_t)(i / PLANES * reduction)};
    (void)bl_pass_pack(&pass, words + 2 * (size_t)i);
  }
  bl_driver_result result = load(driver, BL_OP_LOAD_K_LIST, k_words, reduction * 2);
  if (result == BL_DRIVER_OK) result = load(driver, BL_OP_LOAD_PASS_LIST, words, sizeof words);
  bl_tile tile = {.pass_last = PLANES * PLANES - 1};
  for (uint32_t i = 0; i < 64 / c->cols; i++)
    (void)bl_tile_pack(&tile, words + 2 * (size_t)i);
  return result == BL_DRIVER_OK ? load(driver, BL_OP_LOAD_TILE_LIST, words, 64 / c->cols * 8)
                                : result;
}

static bl_driver_result run_rounds(bl_driver *driver, const bl_config *c, uint64_t *steps) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  uint64_t counters[BL_COUNTER_COUNT];
  bl_descriptor layer = layer_of(c);
  (void)bl_descriptor_pack(&layer, words);
  bl_driver_result result = BL_DRIVER_OK;
  for (int i = 0; i < ROUNDS && result == BL_DRIVER_OK; i++)
    result = load(driver, BL_OP_RUN, words, sizeof words);
  if (result == BL_DRIVER_OK) result = bl_driver_counters(driver, counters, false);
  *steps = result == BL_DRIVER_OK ? counters[BL_COUNTER_ISSUE] : 0;
  return result;
}

static int measure(const bl_config *c, bl_popcount popcount) {
  static bl_driver driver;
  bl_functional *device = bl_functional_open(c, popcount);
  if (device == NULL) return 0; // not on this machine
  uint64_t steps = 0;
  bl_driver_result result = bl_driver_open(&driver, &bl_functional_transport, device, 100);
  if (result == BL_DRIVER_OK) result = load_lists(&driver, c);
  double start = now();
  if (result == BL_DRIVER_OK) result = run_rounds(&driver, c, &steps);
  double words = (double)steps * c->rows * c->cols, seconds = now() - start;
  if (result == BL_DRIVER_OK)
    printf("%-8s %-8s %8.0f million words/s %8.1f billion bits/s\n", c->name,
           bl_functional_popcount(device), words / seconds * 1e-6,
           words * c->lanes / seconds * 1e-9);
  else
    (void)fprintf(stderr, "%s: %s\n", c->name, bl_driver_result_text(result));
  bl_functional_close(device);
  return result == BL_DRIVER_OK ? 0 : 1;
}

int main(void) {
  int failed = 0;
  for (int config = 0; config < BL_CONFIG_COUNT; config++)
    for (int popcount = BL_POPCOUNT_PLAIN; popcount <= BL_POPCOUNT_AVX512; popcount++)
      failed |= measure(&BL_CONFIGS[config], (bl_popcount)popcount);
  return failed;
}
