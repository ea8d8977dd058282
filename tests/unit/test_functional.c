// SPDX-License-Identifier: Apache-2.0
// The functional device against docs/reference/device.md: random layers in random memories are run
// by the device, on every popcount that this machine has, and by a literal, slow model written here
// from the page; the whole activation memory is compared. Then the packets that must be refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sim/functional_device.h"

static uint64_t seed;

static uint32_t next_random(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

// lo..hi
static uint32_t pick(uint32_t lo, uint32_t hi) {
  return lo + next_random() % (hi - lo + 1);
}

static uint64_t random_word(uint32_t lanes) {
  uint64_t word = (uint64_t)next_random() << 40 ^ (uint64_t)next_random() << 20 ^ next_random();
  return lanes == 64 ? word : word & (((uint64_t)1 << lanes) - 1);
}

enum { TILES = 3, PASSES = 5, ENTRIES = 64, WEIGHTS = 64, MAX_COLS = 16 };

// A layer with its own small memories, at the bottom of the device's.
typedef struct {
  const bl_config *config;
  bl_descriptor layer;
  uint64_t weights[WEIGHTS][MAX_COLS];
  bl_param params[TILES][MAX_COLS];
  bl_k k[ENTRIES];
  bl_pass passes[TILES * PASSES];
  bl_tile tiles[TILES];
  uint64_t *act; // [act_depth]
} scene;

// ---- Random layers

static void random_geometry(bl_descriptor *d, const bl_config *c) {
  d->in_planes = (uint8_t)pick(1, 4);
  d->in_last_lanes = (uint8_t)pick(1, c->lanes);
  d->in_h = (uint16_t)pick(1, 5);
  d->in_w = (uint16_t)pick(1, 5);
  d->in_words = (uint16_t)pick(1, 2);
  d->pad_value = (uint8_t)next_random();
  d->in_pixel_stride = (uint16_t)(d->in_words * d->in_planes + pick(0, 1));
  d->in_row_stride = (uint16_t)(d->in_pixel_stride * d->in_w + pick(0, 2));
  d->in_image_stride = (uint16_t)(d->in_row_stride * d->in_h + pick(0, 2));
  d->images = (uint16_t)pick(1, 2);
  d->in_base = (uint16_t)pick(0, 9);
  d->kernel_h = (uint16_t)pick(1, 3);
  d->kernel_w = (uint16_t)pick(1, 3);
  d->dilation_h = (uint8_t)pick(1, 2);
  d->dilation_w = (uint8_t)pick(1, 2);
  d->stride_h = (uint8_t)pick(1, 2);
  d->stride_w = (uint8_t)pick(1, 2);
  d->pad_top = (uint16_t)pick(0, 2);
  d->pad_left = (uint16_t)pick(0, 2);
  d->pool_h = (uint16_t)pick(1, 2);
  d->pool_w = (uint16_t)pick(1, 3);
  d->step_h = (uint16_t)(d->stride_h * pick(1, 2));
  d->step_w = (uint16_t)(d->stride_w * pick(1, 2));
  d->origin_h = (uint16_t)(d->pad_top + d->stride_h * pick(0, 1));
  d->origin_w = (uint16_t)(d->pad_left + d->stride_w * pick(0, 1));
  d->conv_end_h = (int32_t)(pick(1, 5) * d->stride_h) - d->pad_top;
  d->conv_end_w = (int32_t)(pick(1, 5) * d->stride_w) - d->pad_left;
}

static void random_output(bl_descriptor *d, const bl_config *c) {
  uint32_t slots = c->lanes / c->cols;
  d->out_h = (uint16_t)pick(1, 4);
  d->out_w = (uint16_t)pick(1, 4);
  d->tiles = (uint16_t)pick(1, TILES);
  d->out_planes = (uint8_t)pick(1, 8);
  d->out_slot = (uint8_t)pick(0, slots - 1);
  uint32_t words = ((uint32_t)d->out_slot + d->tiles + slots - 1) / slots;
  d->out_pixel_stride = (uint16_t)(words * d->out_planes + pick(0, 2));
  d->out_base = (uint16_t)(d->in_base + (uint32_t)d->images * d->in_image_stride + pick(0, 3));
  d->out_signed = (uint8_t)pick(0, 1);
  d->out_wrap = next_random() % 4 == 0;
  d->out_last_cols = (uint8_t)pick(1, c->cols);
  d->out_lo = (int16_t)((int32_t)pick(0, 200) - 150);
  d->out_hi = (int16_t)(d->out_lo + (int32_t)pick(0, 250));
  d->out_offset = (int16_t)((int32_t)pick(0, 200) - 100);
}

static void random_lists(scene *s) {
  bl_descriptor *d = &s->layer;
  uint32_t positions = (uint32_t)d->kernel_h * d->kernel_w * d->in_words;
  for (int i = 0; i < ENTRIES; i++)
    s->k[i].address = (uint16_t)(pick(0, positions - 1) * d->in_planes);
  for (int t = 0; t < TILES; t++) {
    s->tiles[t] = (bl_tile){.weight_base = (uint16_t)pick(0, 20),
                            .k_base = (uint16_t)pick(0, 20),
                            .pass_base = (uint16_t)(t * PASSES),
                            .pass_last = (uint16_t)pick(0, PASSES - 1),
                            .post = (uint8_t)pick(0, 2)};
    for (int p = 0; p < PASSES; p++)
      s->passes[t * PASSES + p] = (bl_pass){.weight_offset = (uint16_t)pick(0, 20),
                                            .k_offset = (uint16_t)pick(0, 20),
                                            .count = (uint16_t)pick(0, 20),
                                            .plane = (uint8_t)pick(0, d->in_planes - 1u),
                                            .shift = (uint8_t)pick(0, 1),
                                            .neg = next_random() % 4 == 0,
                                            .sum = (uint8_t)pick(0, 1)};
  }
}

static void random_scene(scene *s, const bl_config *c) {
  s->config = c;
  s->layer = (bl_descriptor){0};
  random_geometry(&s->layer, c);
  random_output(&s->layer, c);
  random_lists(s);
  for (int a = 0; a < WEIGHTS; a++)
    for (uint32_t n = 0; n < c->cols; n++)
      s->weights[a][n] = random_word(c->lanes);
  for (int t = 0; t < TILES; t++)
    for (uint32_t n = 0; n < c->cols; n++) {
      int32_t mult = (int32_t)pick(1 << 15, (1 << 16) - 1);
      uint8_t shift = (uint8_t)(next_random() % 8 == 0 ? pick(1, 47) : pick(14, 22));
      int64_t bias = ((int64_t)next_random() % 200 - 100) * 32768;
      s->params[t][n] = (bl_param){next_random() % 4 == 0 ? -mult : mult, bias, shift};
    }
  for (uint32_t a = 0; a < c->act_depth; a++)
    s->act[a] = random_word(c->lanes);
}

// ---- The model: device.md, "What RUN computes", line by line

static uint64_t window_word(const scene *s, int64_t n, int64_t y, int64_t x, uint32_t cw,
                            uint32_t i) {
  const bl_descriptor *d = &s->layer;
  if (y >= 0 && y < d->in_h && x >= 0 && x < d->in_w)
    return s->act[d->in_base + n * d->in_image_stride + y * d->in_row_stride +
                  x * d->in_pixel_stride + cw * d->in_planes + i];
  if ((d->pad_value >> i & 1) == 0) return 0;
  uint32_t lanes = cw + 1u == d->in_words ? d->in_last_lanes : s->config->lanes;
  return lanes == 64 ? UINT64_MAX : ((uint64_t)1 << lanes) - 1;
}

// The word at a window index, for the window whose corner is (y0, x0).
static uint64_t at_index(const scene *s, int64_t n, int64_t y0, int64_t x0, uint32_t index) {
  const bl_descriptor *d = &s->layer;
  uint32_t i = index % d->in_planes, rest = index / d->in_planes;
  uint32_t cw = rest % d->in_words, tap = rest / d->in_words;
  int64_t ky = tap / d->kernel_w, kx = tap % d->kernel_w;
  return window_word(s, n, y0 + ky * d->dilation_h, x0 + kx * d->dilation_w, cw, i);
}

static int64_t accumulate(const scene *s, int64_t n, int64_t y0, int64_t x0, uint32_t t,
                          uint32_t c) {
  const bl_tile *tile = &s->tiles[t];
  int64_t p = 0, sum = 0;
  for (uint32_t k = 0; k <= tile->pass_last; k++) {
    const bl_pass *pass = &s->passes[tile->pass_base + k];
    if (pass->shift) {
      p *= 2;
      sum *= 2;
    }
    for (uint32_t e = 0; e < pass->count; e++) {
      uint32_t index = s->k[tile->k_base + pass->k_offset + e].address + pass->plane;
      uint64_t a = at_index(s, n, y0, x0, index);
      uint64_t w = s->weights[tile->weight_base + pass->weight_offset + e][c];
      int sign = pass->neg ? -1 : 1;
      p += sign * __builtin_popcountll(a & w);
      if (pass->sum) sum += sign * __builtin_popcountll(a);
    }
  }
  int64_t scale = (int64_t)1 << tile->post, halved = sum * scale;
  halved = (halved - (halved & 1)) / 2; // rounds down
  uint64_t wrapped = (uint64_t)(p * scale - halved) << (64 - s->config->acc_w);
  return (int64_t)wrapped >> (64 - s->config->acc_w);
}

static uint8_t code_of(const scene *s, int64_t acc, uint32_t t, uint32_t c) {
  const bl_descriptor *d = &s->layer;
  const bl_param *param = &s->params[t][c];
  int64_t v = (acc * param->mult + param->bias) >> param->shift;
  if (!d->out_wrap) {
    v = v < d->out_lo ? d->out_lo : v > d->out_hi ? d->out_hi : v;
    v += d->out_offset;
  }
  return (uint8_t)v;
}

static uint8_t pooled(const scene *s, int64_t n, int64_t oy, int64_t ox, uint32_t t, uint32_t c) {
  const bl_descriptor *d = &s->layer;
  if (t + 1u == d->tiles && c >= d->out_last_cols) return 0;
  bool any = false;
  int best = 0;
  for (int64_t py = 0; py < d->pool_h; py++)
    for (int64_t px = 0; px < d->pool_w; px++) {
      int64_t y0 = oy * d->step_h + py * d->stride_h - d->origin_h;
      int64_t x0 = ox * d->step_w + px * d->stride_w - d->origin_w;
      if (y0 < -(int64_t)d->pad_top || y0 >= d->conv_end_h || x0 < -(int64_t)d->pad_left ||
          x0 >= d->conv_end_w)
        continue;
      uint8_t code = code_of(s, accumulate(s, n, y0, x0, t, c), t, c);
      int value = d->out_signed ? (int8_t)code : code;
      best = !any || value > best ? value : best;
      any = true;
    }
  return (uint8_t)best;
}

static void write_pixel(scene *s, uint32_t pixel, uint8_t codes[TILES][MAX_COLS]) {
  const bl_descriptor *d = &s->layer;
  uint32_t cols = s->config->cols, slots = s->config->lanes / cols;
  uint32_t words = ((uint32_t)d->out_slot + d->tiles + slots - 1) / slots;
  for (uint32_t word = 0; word < words; word++)
    for (uint32_t i = 0; i < d->out_planes; i++) {
      uint64_t *to = &s->act[d->out_base + pixel * d->out_pixel_stride + word * d->out_planes + i];
      uint32_t kept = word == 0 ? d->out_slot * cols : 0;
      uint64_t value = *to & (((uint64_t)1 << kept) - 1);
      for (uint32_t t = 0; t < d->tiles; t++)
        for (uint32_t c = 0; c < cols; c++) {
          uint32_t lane = (d->out_slot + t) * cols + c;
          if (lane / s->config->lanes == word)
            value |= (uint64_t)(codes[t][c] >> i & 1) << (lane % s->config->lanes);
        }
      *to = value;
    }
}

static void model_run(scene *s) {
  const bl_descriptor *d = &s->layer;
  uint32_t pixels = (uint32_t)d->images * d->out_h * d->out_w;
  for (uint32_t m = 0; m < pixels; m++) {
    uint8_t codes[TILES][MAX_COLS];
    uint32_t ox = m % d->out_w, oy = m / d->out_w % d->out_h, n = m / d->out_w / d->out_h;
    for (uint32_t t = 0; t < d->tiles; t++)
      for (uint32_t c = 0; c < s->config->cols; c++)
        codes[t][c] = pooled(s, n, oy, ox, t, c);
    write_pixel(s, m, codes);
  }
}

// ---- Through the driver

typedef struct {
  bl_functional *device;
  bl_driver driver;
} setup;

static bool open_device(setup *u, const bl_config *config, bl_popcount popcount) {
  u->device = bl_functional_open(config, popcount);
  if (u->device == NULL) return false;
  assert_int_equal(bl_driver_open(&u->driver, &bl_functional_transport, u->device, 100),
                   BL_DRIVER_OK);
  return true;
}

static void load(setup *u, uint8_t opcode, uint32_t columns, const void *bytes, size_t size) {
  uint32_t *words = calloc(size / 4 + 1, 4);
  assert_non_null(words);
  memcpy(words, bytes, size);
  assert_int_equal(
      bl_driver_request(&u->driver, opcode, 0, columns << 24, words, (uint32_t)size, NULL, 0, NULL),
      BL_DRIVER_OK);
  free(words);
}

static void load_scene(setup *u, const scene *s) {
  const bl_config *c = s->config;
  static uint8_t bytes[1 << 20];
  uint32_t unit = c->lanes / 8, words[4];
  size_t used = 0;
  for (int a = 0; a < WEIGHTS; a++)
    for (uint32_t n = 0; n < c->cols; n++, used += unit)
      memcpy(bytes + used, &s->weights[a][n], unit);
  load(u, BL_OP_LOAD_WEIGHTS, c->cols, bytes, used);
  used = 0;
  for (int t = 0; t < TILES; t++)
    for (uint32_t n = 0; n < c->cols; n++, used += BL_CONTRACT_PARAM_BYTES) {
      assert_true(bl_param_pack(&s->params[t][n], words));
      memcpy(bytes + used, words, BL_CONTRACT_PARAM_BYTES);
    }
  load(u, BL_OP_LOAD_PARAMS, c->cols, bytes, used);
  for (size_t i = 0; i < ENTRIES; i++)
    memcpy(bytes + 2 * i, &s->k[i].address, 2);
  load(u, BL_OP_LOAD_K_LIST, 0, bytes, 2 * ENTRIES);
  for (size_t i = 0; i < TILES * PASSES; i++) {
    assert_true(bl_pass_pack(&s->passes[i], words));
    memcpy(bytes + 8 * i, words, 8);
  }
  load(u, BL_OP_LOAD_PASS_LIST, 0, bytes, sizeof(uint64_t) * TILES * PASSES);
  for (size_t i = 0; i < TILES; i++) {
    assert_true(bl_tile_pack(&s->tiles[i], words));
    memcpy(bytes + 8 * i, words, 8);
  }
  load(u, BL_OP_LOAD_TILE_LIST, 0, bytes, sizeof(uint64_t) * TILES);
  assert_true((size_t)c->act_depth * unit <= sizeof bytes);
  for (uint32_t a = 0; a < c->act_depth; a++)
    memcpy(bytes + (size_t)a * unit, &s->act[a], unit);
  load(u, BL_OP_LOAD_ACTIVATIONS, unit, bytes, (size_t)c->act_depth * unit);
}

static void run_layer(setup *u, const bl_descriptor *layer) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  assert_true(bl_descriptor_pack(layer, words));
  assert_int_equal(
      bl_driver_request(&u->driver, BL_OP_RUN, 0, 0, words, sizeof words, NULL, 0, NULL),
      BL_DRIVER_OK);
  bl_driver_result result = bl_driver_fence(&u->driver);
  if (result != BL_DRIVER_OK)
    fail_msg("%s: %s", bl_driver_result_text(result),
             bl_driver_status_text(u->driver.failure.status));
}

static void compare_memory(setup *u, const scene *s, const char *popcount) {
  uint32_t unit = s->config->lanes / 8, depth = s->config->act_depth;
  uint32_t *words = calloc((size_t)depth * unit / 4 + 1, 4);
  assert_non_null(words);
  assert_int_equal(bl_driver_request(&u->driver, BL_OP_SEND, 0, unit << 24 | depth, NULL, 0, words,
                                     depth * unit / 4, NULL),
                   BL_DRIVER_OK);
  assert_int_equal(bl_driver_fence(&u->driver), BL_DRIVER_OK);
  for (uint32_t a = 0; a < depth; a++)
    if (memcmp((uint8_t *)words + (size_t)a * unit, &s->act[a], unit) != 0)
      fail_msg("%s, %s: activation word %u differs", s->config->name, popcount, a);
  free(words);
}

static const bl_popcount popcounts[] = {BL_POPCOUNT_BEST, BL_POPCOUNT_PLAIN, BL_POPCOUNT_AVX2,
                                        BL_POPCOUNT_AVX512};

static void random_layers(void **state) {
  (void)state;
  for (int kind = 0; kind < BL_CONFIG_COUNT; kind++) {
    const bl_config *c = &BL_CONFIGS[kind];
    scene s;
    setup u;
    s.act = calloc(c->act_depth, sizeof *s.act);
    assert_non_null(s.act);
    for (int p = 0; p < 4; p++) {
      if (!open_device(&u, c, popcounts[p])) {
        printf("%s: this machine lacks popcount %d\n", c->name, p);
        continue;
      }
      const char *name = bl_functional_popcount(u.device);
      for (int round = 0; round < 60; round++) {
        random_scene(&s, c);
        load_scene(&u, &s);
        run_layer(&u, &s.layer);
        model_run(&s);
        compare_memory(&u, &s, name);
      }
      printf("%s: 60 layers with %s\n", c->name, name);
      bl_functional_close(u.device);
    }
    free(s.act);
  }
}

// ---- Packets that must be refused

static setup fresh(void) {
  setup u;
  assert_true(open_device(&u, &BL_CONFIGS[BL_CONFIG_TINY], BL_POPCOUNT_PLAIN));
  return u;
}

// Sends a request and a fence; returns the status of the first error, 0 where there is none.
static uint8_t status_of(setup *u, uint8_t opcode, uint32_t address, uint32_t argument,
                         const uint32_t *payload, uint32_t bytes) {
  static uint32_t answer[1 << 16];
  bl_driver_result result = bl_driver_request(&u->driver, opcode, address, argument, payload, bytes,
                                              answer, 1 << 16, NULL);
  if (result == BL_DRIVER_OK) result = bl_driver_fence(&u->driver);
  uint8_t status = result == BL_DRIVER_OK ? BL_STATUS_OK : u->driver.failure.status;
  if (result != BL_DRIVER_OK) assert_int_equal(result, BL_DRIVER_DEVICE);
  return status;
}

static void refused(void **state) {
  (void)state;
  static const uint32_t zeros[64];
  const bl_config *c = &BL_CONFIGS[BL_CONFIG_TINY];
  const struct {
    uint8_t opcode;
    uint32_t address, argument, bytes;
    uint8_t status;
  } cases[] = {
      {0x30, 0, 0, 0, BL_STATUS_OPCODE},
      {0x30, 0, 0, 16, BL_STATUS_OPCODE},
      {BL_OP_FENCE, 0, 0, 4, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, 0, 16, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, (c->cols + 1) << 24, 18, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, 3u << 24, 4, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, 1u << 24, 0, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, c->weight_depth, 1u << 24, 2, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_WEIGHTS, UINT32_MAX, 1u << 24, 2, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_K_LIST, c->k_depth - 1, 0, 4, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_K_LIST, 0, 0, 3, BL_STATUS_LENGTH},
      {BL_OP_LOAD_ACTIVATIONS, 0, 0, 2, BL_STATUS_LENGTH},
      {BL_OP_LOAD_ACTIVATIONS, 0, 3u << 24, 3, BL_STATUS_LENGTH},
      {BL_OP_LOAD_ACTIVATIONS, c->act_depth, 2u << 24, 2, BL_STATUS_ADDRESS},
      {BL_OP_RUN, 0, 0, 4, BL_STATUS_LENGTH},
      {BL_OP_RUN, 0, 0, BL_DESCRIPTOR_WORDS * 4, BL_STATUS_DESCRIPTOR},
      {BL_OP_SEND, 0, 2u << 24, 0, BL_STATUS_LENGTH},
      {BL_OP_SEND, 0, 1, 0, BL_STATUS_LENGTH},
      {BL_OP_SEND, c->act_depth - 1, 2u << 24 | 2, 0, BL_STATUS_ADDRESS},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    setup u = fresh();
    uint8_t status =
        status_of(&u, cases[k].opcode, cases[k].address, cases[k].argument, zeros, cases[k].bytes);
    if (status != cases[k].status)
      fail_msg("case %zu: status %u, expected %u", k, status, cases[k].status);
    assert_int_equal(bl_driver_reset(&u.driver), BL_DRIVER_OK);
    bl_config found;
    assert_int_equal(bl_driver_identify(&u.driver, c, &found), BL_DRIVER_OK);
    bl_functional_close(u.device);
  }
}

static bl_descriptor simple_layer(void) {
  return (bl_descriptor){.in_planes = 1,
                         .in_last_lanes = 1,
                         .in_h = 1,
                         .in_w = 1,
                         .in_words = 1,
                         .in_pixel_stride = 1,
                         .in_row_stride = 1,
                         .in_image_stride = 1,
                         .images = 1,
                         .kernel_h = 1,
                         .kernel_w = 1,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .stride_h = 1,
                         .stride_w = 1,
                         .step_h = 1,
                         .step_w = 1,
                         .pool_h = 1,
                         .pool_w = 1,
                         .conv_end_h = 1,
                         .conv_end_w = 1,
                         .out_h = 1,
                         .out_w = 1,
                         .out_base = 8,
                         .out_pixel_stride = 1,
                         .out_planes = 1,
                         .out_last_cols = 1,
                         .tiles = 1};
}

static uint8_t run_status(setup *u, const bl_descriptor *layer) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  assert_true(bl_descriptor_pack(layer, words));
  return status_of(u, BL_OP_RUN, 0, 0, words, sizeof words);
}

// A layer that leaves a memory raises the fault of that memory; the device stays usable.
static void faults(void **state) {
  (void)state;
  const bl_config *c = &BL_CONFIGS[BL_CONFIG_TINY];
  for (int kind = 0; kind < 8; kind++) {
    setup u = fresh();
    bl_descriptor d = simple_layer();
    bl_tile tile = {0};
    bl_pass pass = {.count = 1};
    uint32_t words[2];
    if (kind == 0) d.in_base = (uint16_t)c->act_depth;
    if (kind == 1) d.out_base = (uint16_t)c->act_depth;
    if (kind == 2) d.tile_base = (uint16_t)c->tile_depth;
    if (kind == 3) tile.pass_base = (uint16_t)c->pass_depth;
    if (kind == 4) pass.k_offset = (uint16_t)c->k_depth;
    if (kind == 5) pass.weight_offset = (uint16_t)c->weight_depth;
    if (kind == 6) d.param_base = (uint16_t)c->param_depth;
    if (kind == 7) d.kernel_w = (uint16_t)(c->row_depth + 1);
    assert_true(bl_tile_pack(&tile, words));
    load(&u, BL_OP_LOAD_TILE_LIST, 0, words, 8);
    assert_true(bl_pass_pack(&pass, words));
    load(&u, BL_OP_LOAD_PASS_LIST, 0, words, 8);
    assert_int_equal(run_status(&u, &d), BL_STATUS_FAULT);
    assert_true((u.driver.failure.info >> kind & 1) != 0);
    assert_int_equal(bl_driver_reset(&u.driver), BL_DRIVER_OK);
    d = simple_layer();
    tile = (bl_tile){0};
    pass = (bl_pass){.count = 1};
    assert_true(bl_tile_pack(&tile, words));
    load(&u, BL_OP_LOAD_TILE_LIST, 0, words, 8);
    assert_true(bl_pass_pack(&pass, words));
    load(&u, BL_OP_LOAD_PASS_LIST, 0, words, 8);
    assert_int_equal(run_status(&u, &d), BL_STATUS_OK);
    bl_functional_close(u.device);
  }
}

static void raw_write(bl_functional *device, const uint32_t *words, uint32_t count) {
  while (count > 0) {
    int32_t sent = bl_functional_transport.write(device, words, count);
    assert_true(sent > 0);
    words += sent;
    count -= (uint32_t)sent;
  }
}

// A flipped bit: in a header it is answered once and hunted over; in a payload it poisons the
// memory, runs are then refused with the mask, and a sound load heals it.
static void damage(void **state) {
  (void)state;
  setup u = fresh();
  const uint32_t noise[7] = {1, 2, 3, 4, 5, 6, 7};
  raw_write(u.device, noise, 7);
  assert_int_equal(bl_driver_fence(&u.driver), BL_DRIVER_DEVICE);
  assert_int_equal(u.driver.failure.status, BL_STATUS_HEADER);
  assert_int_equal(u.driver.failure.info, 1);
  assert_int_equal(bl_driver_reset(&u.driver), BL_DRIVER_OK);

  uint32_t packet[7] = {(uint32_t)BL_CONTRACT_REQUEST_MAGIC << 24 | BL_OP_LOAD_K_LIST << 16 | 9,
                        4,
                        0,
                        0,
                        0,
                        0x00010002};
  packet[4] = bl_driver_crc32(&u.driver, 0, packet, 4);
  packet[6] = bl_driver_crc32(&u.driver, 0, packet + 5, 1) ^ 16;
  raw_write(u.device, packet, 7);
  assert_int_equal(bl_driver_fence(&u.driver), BL_DRIVER_DEVICE);
  assert_int_equal(u.driver.failure.status, BL_STATUS_PAYLOAD);
  u.driver.failed = false;
  bl_descriptor d = simple_layer();
  assert_int_equal(run_status(&u, &d), BL_STATUS_POISONED);
  assert_int_equal(u.driver.failure.info, 1 << 2);
  u.driver.failed = false;
  const uint32_t entries[1] = {0};
  load(&u, BL_OP_LOAD_K_LIST, 0, entries, 4);
  assert_int_equal(run_status(&u, &d), BL_STATUS_OK);
  bl_functional_close(u.device);
}

// A load into what a run may still read, without a fence between, is reported.
static void races(void **state) {
  (void)state;
  setup u = fresh();
  uint32_t words[BL_DESCRIPTOR_WORDS], one[1] = {0};
  bl_descriptor d = simple_layer();
  assert_true(bl_descriptor_pack(&d, words));
  assert_int_equal(
      bl_driver_request(&u.driver, BL_OP_RUN, 0, 0, words, sizeof words, NULL, 0, NULL),
      BL_DRIVER_OK);
  assert_int_equal(status_of(&u, BL_OP_LOAD_ACTIVATIONS, 0, 2u << 24, one, 2), BL_FUNCTIONAL_RACE);
  bl_functional_close(u.device);
}

// The planted fault changes exactly the lowest bit of the first pixel of that run.
static void planted(void **state) {
  (void)state;
  uint32_t got[2];
  for (int plant = 0; plant < 2; plant++) {
    setup u = fresh();
    bl_descriptor d = simple_layer();
    if (plant) bl_functional_plant_fault(u.device, 0);
    assert_int_equal(run_status(&u, &d), BL_STATUS_OK);
    assert_int_equal(
        bl_driver_request(&u.driver, BL_OP_SEND, 8, 2u << 24 | 1, NULL, 0, &got[plant], 1, NULL),
        BL_DRIVER_OK);
    assert_int_equal(bl_driver_fence(&u.driver), BL_DRIVER_OK);
    bl_functional_close(u.device);
  }
  assert_int_equal(got[0] ^ got[1], 1);
}

int main(void) {
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu (repeat with BITLOOM_SEED)\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_layers), cmocka_unit_test(refused),
                                     cmocka_unit_test(faults),        cmocka_unit_test(damage),
                                     cmocka_unit_test(races),         cmocka_unit_test(planted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
