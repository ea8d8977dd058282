// SPDX-License-Identifier: Apache-2.0
// RUN on the functional device: windows of four pixels at a time through every channel tile.
#include "sim/functional_internal.h"

#include <stdlib.h>
#include <string.h>

enum { FAULT_INPUT = 1, FAULT_OUTPUT = 2, FAULT_TILE = 4, FAULT_PASS = 8, FAULT_K = 16 };
enum { GATHER_PACKED, GATHER_ROTATED, GATHER_SPREAD }; // gather_mode
enum { MAX_PLANES = 8 };
enum { FAULT_WEIGHTS = 32, FAULT_PARAMS = 64, FAULT_WINDOW = 128 };

// The channel tiles of a layer, decoded and checked.
typedef struct {
  bl_kernel_pass *passes; // of all tiles, one after the other
  uint32_t *first;        // [tiles + 1] index of each tile's first pass
  uint8_t *post;          // [tiles]
  uint64_t steps;         // of one pixel tile at one offset
} lists;

typedef struct {
  bl_functional *device;
  const bl_descriptor *layer;
  lists lists;
  uint64_t *windows[MAX_PLANES]; // of BL_KERNEL_PIXELS pixels, or of the planes of one
  uint64_t *padding;             // words of a tap outside the input
  bool whole_words;              // taps start at words
  size_t window_bytes;           // that gather_taps clears
  uint64_t *window;              // being filled
  uint32_t group;                // pixels at once
  uint32_t signature;
  uint8_t *codes; // [BL_KERNEL_PIXELS][tiles * cols]
  bool any[BL_KERNEL_PIXELS];
  uint32_t faults;
} run;

static uint64_t lanes_mask(uint32_t lanes) {
  return lanes >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << lanes) - 1;
}

// ---- Lists
// ---------------------------------------------------------------------------------------

static uint32_t decode_pass(const bl_functional *device, const bl_tile *tile, uint32_t index,
                            uint32_t plane_step, bl_kernel_pass *out) {
  const bl_config *config = &device->config;
  if (index >= config->pass_depth) return FAULT_PASS;
  const bl_pass *pass = &device->passes[index];
  uint32_t k = (uint32_t)tile->k_base + pass->k_offset;
  uint32_t weight = (uint32_t)tile->weight_base + pass->weight_offset;
  *out = (bl_kernel_pass){.count = pass->count,
                          .plane = pass->plane * plane_step,
                          .shift = pass->shift != 0,
                          .neg = pass->neg != 0,
                          .sum = pass->sum != 0};
  if (pass->count == 0) return 0;
  if (k + pass->count > config->k_depth) return FAULT_K;
  if (weight + pass->count > config->weight_depth) return FAULT_WEIGHTS;
  out->k = device->k + k;
  size_t row = (size_t)weight * config->cols;
  out->weights = config->lanes == 64 ? (const void *)(device->weights64 + row)
                                     : (const void *)(device->weights32 + row);
  return 0;
}

static uint32_t count_passes(const bl_functional *device, const bl_descriptor *layer,
                             size_t *count) {
  *count = 0;
  if ((uint32_t)layer->tile_base + layer->tiles > device->config.tile_depth) return FAULT_TILE;
  if ((uint32_t)layer->param_base + layer->tiles > device->config.param_depth) return FAULT_PARAMS;
  for (uint32_t t = 0; t < layer->tiles; t++)
    *count += device->tiles[layer->tile_base + t].pass_last + 1u;
  return 0;
}

static uint32_t decode_tiles(run *r) {
  const bl_config *config = &r->device->config;
  const bool rotated = r->layer->gather_mode == GATHER_ROTATED;
  const uint32_t plane_step = rotated ? config->lanes / config->cols : 1;
  uint32_t at = 0, faults = 0;
  for (uint32_t t = 0; t < r->layer->tiles; t++) {
    const bl_tile *tile = &r->device->tiles[r->layer->tile_base + t];
    r->lists.first[t] = at;
    r->lists.post[t] = tile->post;
    for (uint32_t i = 0; i <= tile->pass_last; i++, at++) {
      bl_kernel_pass *pass = &r->lists.passes[at];
      faults |= decode_pass(r->device, tile, (uint32_t)tile->pass_base + i, plane_step, pass);
      r->lists.steps += pass->count > 0 ? pass->count : 1;
    }
  }
  r->lists.first[r->layer->tiles] = at;
  return faults;
}

// ---- Gather
// --------------------------------------------------------------------------------------

static uint64_t padding_word(const run *r, uint32_t word, uint32_t plane) {
  if (((r->layer->pad_value >> plane) & 1) == 0) return 0;
  bool last = word + 1u == r->layer->in_words;
  return lanes_mask(last ? r->layer->in_last_lanes : r->device->config.lanes);
}

// Coordinates have 18 bits, two's complement; addresses have 20.
static int64_t coordinate(int64_t value) {
  value &= 0x3FFFF;
  return value >= 0x20000 ? value - 0x40000 : value;
}

static uint32_t lane_bytes(const run *r) {
  return r->device->config.lanes / 8;
}

static uint32_t tap_bytes(const run *r) {
  return (r->layer->in_words - 1u) * lane_bytes(r) + r->layer->in_last_bytes;
}

// Short runs mostly: a call of memcpy costs more than the words.
static inline void copy_words(uint64_t *to, const uint64_t *from, size_t count) {
  for (size_t i = 0; i < count; i++)
    to[i] = from[i];
}

// The words of a tap, all channel words and planes; `padding` where the tap lies outside the input.
static const uint64_t *tap_words(run *r, uint32_t n, int64_t y, int64_t x,
                                 const uint64_t *padding) {
  const bl_descriptor *l = r->layer;
  if (y < 0 || y >= l->in_h || x < 0 || x >= l->in_w) return padding;
  uint64_t address = l->in_base + (uint64_t)n * l->in_image_stride +
                     (uint64_t)(y >> l->in_up) * l->in_row_stride +
                     (uint64_t)(x >> l->in_up) * l->in_pixel_stride;
  address &= 0xFFFFF;
  if (address + (uint64_t)l->in_words * l->in_planes <= r->device->config.act_depth)
    return r->device->act + address;
  r->faults |= FAULT_INPUT;
  return padding;
}

static void fill_padding(const run *r, uint64_t *padding) {
  for (uint32_t cw = 0; cw < r->layer->in_words; cw++)
    for (uint32_t i = 0; i < r->layer->in_planes; i++)
      *padding++ = padding_word(r, cw, i);
}

// Whole words only: taps follow each other word by word.
static void gather_words(run *r, uint32_t n, int64_t y0, int64_t x0, uint64_t *window) {
  const bl_descriptor *l = r->layer;
  const size_t words = (size_t)l->in_words * l->in_planes;
  const bool dense = l->dilation_w == 1 && l->in_pixel_stride == words;
  for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
    int64_t y = coordinate(y0 + (int64_t)ky * l->dilation_h);
    // Taps that lie side by side inside the input are copied as one.
    bool whole = dense && y >= 0 && y < l->in_h && x0 >= 0 && x0 + l->kernel_w <= l->in_w;
    uint32_t step = whole ? l->kernel_w : 1;
    for (uint32_t kx = 0; kx < l->kernel_w; kx += step, window += step * words) {
      int64_t x = coordinate(x0 + (int64_t)kx * l->dilation_w);
      const uint64_t *from = tap_words(r, n, y, x, r->padding);
      if (step > 1 && from + step * words > r->device->act + r->device->config.act_depth)
        r->faults |= FAULT_INPUT;
      if (r->faults != 0) return;
      copy_words(window, from, step * words);
    }
  }
}

// A word's low `bytes` bytes to byte `at` of the window of one plane, whose words lie `step` apart.
static void place_bytes(const run *r, uint64_t *window, size_t at, uint32_t step, uint64_t word,
                        uint32_t bytes) {
  const uint32_t all = lane_bytes(r), shift = (uint32_t)(at % all) * 8;
  uint64_t *to = window + at / all * step;
  word &= lanes_mask(bytes * 8);
  to[0] |= (word << shift) & lanes_mask(all * 8);
  if (at % all + bytes > all) to[step] |= word >> (all * 8 - shift);
}

static void place_tap(run *r, uint32_t tap, const uint64_t *words) {
  const bl_descriptor *l = r->layer;
  const bool spread = l->gather_mode == GATHER_SPREAD;
  for (uint32_t cw = 0; cw < l->in_words; cw++) {
    uint32_t bytes = cw + 1u == l->in_words ? l->in_last_bytes : lane_bytes(r);
    size_t at = (size_t)tap * tap_bytes(r) + (size_t)cw * lane_bytes(r);
    for (uint32_t i = 0; i < l->in_planes; i++)
      place_bytes(r, spread ? r->windows[i] : r->window + i, at, spread ? 1 : l->in_planes,
                  words[cw * l->in_planes + i], bytes);
  }
}

static void rotate_tap(run *r, uint32_t tap, const uint64_t *words) {
  const bl_descriptor *l = r->layer;
  const uint32_t cols = r->device->config.cols, slots = r->device->config.lanes / cols;
  for (uint32_t cw = 0; cw < l->in_words; cw++)
    for (uint32_t i = 0; i < l->in_planes; i++)
      for (uint32_t g = 0; g < slots; g++) {
        uint64_t lanes = words[cw * l->in_planes + i] >> (g * cols) & lanes_mask(cols);
        uint32_t slot = tap + g;
        uint64_t word =
            ((uint64_t)(slot / slots) * l->in_planes + (uint64_t)cw * l->group_stride + i) * slots +
            g;
        if (word >= r->device->config.row_depth)
          r->faults |= FAULT_WINDOW;
        else
          r->window[word] |= lanes << (slot % slots * cols);
      }
}

static void gather_taps(run *r, uint32_t n, int64_t y0, int64_t x0) {
  const bl_descriptor *l = r->layer;
  const bool spread = l->gather_mode == GATHER_SPREAD;
  for (uint32_t i = 0; i < (spread ? l->in_planes : 1u); i++)
    memset(spread ? r->windows[i] : r->window, 0, r->window_bytes);
  for (uint32_t tap = 0; tap < (uint32_t)l->kernel_h * l->kernel_w && r->faults == 0; tap++) {
    int64_t y = coordinate(y0 + (int64_t)(tap / l->kernel_w) * l->dilation_h);
    int64_t x = coordinate(x0 + (int64_t)(tap % l->kernel_w) * l->dilation_w);
    const uint64_t *words = tap_words(r, n, y, x, r->padding);
    if (l->gather_mode == GATHER_ROTATED)
      rotate_tap(r, tap, words);
    else
      place_tap(r, tap, words);
  }
}

// Where the second source's words of output pixel m begin.
static uint64_t second_address(const bl_descriptor *l, uint64_t m) {
  uint64_t row = m / l->out_w;
  return l->res_base + (m - row) * l->res_pixel_stride + row * l->res_row_step;
}

static void gather_second(run *r, uint64_t m) {
  const bl_descriptor *l = r->layer;
  const uint32_t words = (uint32_t)l->res_words * l->res_planes;
  uint64_t address = second_address(l, m) & 0xFFFFF;
  if (words == 0) return;
  if (address + words > r->device->config.act_depth)
    r->faults |= FAULT_INPUT;
  else
    copy_words(r->window + l->res_offset, r->device->act + address, words);
}

// The window of output pixel m, whose corner lies at (y0, x0) of image n.
static void gather(run *r, uint32_t n, uint64_t m, int64_t y0, int64_t x0, uint64_t *window) {
  r->window = window;
  if (r->whole_words)
    gather_words(r, n, y0, x0, window);
  else
    gather_taps(r, n, y0, x0);
  if (r->faults == 0) gather_second(r, m);
}

// ---- Requantise
// ----------------------------------------------------------------------------------

static bl_kernel_output output_of(const run *r, uint32_t tile) {
  const bl_config *config = &r->device->config;
  size_t row = (size_t)r->layer->param_base + tile;
  return (bl_kernel_output){.params = r->device->params + row * 3 * config->cols,
                            .lo = r->layer->out_lo,
                            .hi = r->layer->out_hi,
                            .offset = r->layer->out_offset,
                            .wrap = r->layer->out_wrap != 0,
                            .post = r->lists.post[tile],
                            .cut = (uint8_t)(32 - config->acc_w)};
}

static uint8_t larger(uint8_t a, uint8_t b, bool as_signed) {
  uint8_t sign = as_signed ? 128 : 0;
  return (a ^ sign) > (b ^ sign) ? a : b;
}

// ---- Pack
// ----------------------------------------------------------------------------------------

// Bits of eight codes to eight plane bytes: bit c of byte i is bit i of code c
// (Hacker's Delight, 7-3).
static uint64_t transpose8(uint64_t x) {
  uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAu;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCu;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0u;
  return x ^ t ^ (t << 28);
}

// CRC-32 of the address and the word, as bytes low first, continued by the device's tables.
static uint32_t word_crc(const run *r, uint32_t address, uint64_t word) {
  return bl_functional_word_crc(r->device, address, word);
}

// Words of one pixel: planes[] collects a channel word, lanes from .. end-1 are written.
static void write_word(run *r, uint64_t address, const uint64_t planes[8], uint32_t from,
                       uint32_t end) {
  const uint64_t keep = lanes_mask(from) | ~lanes_mask(end);
  const uint64_t all = lanes_mask(r->device->config.lanes);
  for (uint32_t i = 0; i < r->layer->out_planes; i++) {
    uint64_t at = (address + i) & 0xFFFFF;
    if (at >= r->device->config.act_depth) {
      r->faults |= FAULT_OUTPUT;
      return;
    }
    uint64_t *word = &r->device->act[at];
    *word = ((*word & keep) | planes[i]) & all;
    r->signature += word_crc(r, (uint32_t)at, planes[i]);
  }
}

static void pack_pixel(run *r, uint64_t m, const uint8_t *codes) {
  const bl_descriptor *l = r->layer;
  uint32_t lanes = r->device->config.lanes, cols = r->device->config.cols;
  uint32_t channels = (l->tiles - 1u) * cols + l->out_last_cols;
  uint64_t address = l->out_base + m * l->out_pixel_stride;
  uint32_t from = l->out_slot * cols, lane = from;
  uint64_t planes[8] = {0};
  for (uint32_t c = 0; c < l->tiles * cols; c += 8) {
    uint64_t eight = 0;
    for (uint32_t i = 0; i < 8 && c + i < channels; i++)
      eight |= (uint64_t)codes[c + i] << (8 * i);
    eight = transpose8(eight);
    for (uint32_t i = 0; i < 8; i++)
      planes[i] |= ((eight >> (8 * i)) & 255u) << lane;
    lane += 8;
    if (lane < lanes && c + 8 < l->tiles * cols) continue;
    write_word(r, address, planes, from, l->out_keep != 0 ? lane : lanes);
    memset(planes, 0, sizeof planes);
    address += l->out_planes;
    from = lane = 0;
  }
}

// ---- Pixels
// --------------------------------------------------------------------------------------

// Where output pixel m lies at pooling offset (py, px); false outside the convolution's output.
static bool locate(const bl_descriptor *l, uint64_t m, uint32_t py, uint32_t px, uint32_t *n,
                   int64_t *y0, int64_t *x0) {
  uint64_t area = (uint64_t)l->out_h * l->out_w;
  int64_t oy = (int64_t)(m % area / l->out_w), ox = (int64_t)(m % l->out_w);
  *n = (uint32_t)(m / area);
  *y0 = coordinate(oy * l->step_h + (int64_t)py * l->stride_h - l->origin_h);
  *x0 = coordinate(ox * l->step_w + (int64_t)px * l->stride_w - l->origin_w);
  return *y0 >= -(int64_t)l->pad_top && *y0 < l->conv_end_h && *x0 >= -(int64_t)l->pad_left &&
         *x0 < l->conv_end_w;
}

static void look_up(const run *r, uint8_t *codes) {
  if (r->layer->out_table == 0) return;
  const uint8_t *table = r->device->tables + (r->layer->out_table - 1u) * BL_CONTRACT_TABLE_ENTRIES;
  for (uint32_t c = 0; c < r->device->config.cols; c++)
    codes[c] = table[codes[c]];
}

// One pixel's sums of one tile to codes, into the pooling maximum.
static void merge(run *r, uint32_t pixel, uint32_t tile, const bl_kernel_output *output,
                  const uint32_t p[BL_KERNEL_MAX_COLS], uint32_t s) {
  const uint32_t cols = r->device->config.cols;
  uint8_t fresh[BL_KERNEL_MAX_COLS];
  uint8_t *codes = r->codes + ((size_t)pixel * r->layer->tiles + tile) * cols;
  r->device->kernels.requantise(output, p, s, fresh);
  look_up(r, fresh);
  if (!r->any[pixel]) {
    memcpy(codes, fresh, cols);
    return;
  }
  for (uint32_t c = 0; c < cols; c++)
    codes[c] = larger(fresh[c], codes[c], r->layer->out_signed != 0);
}

static void sums_of(const run *r, uint32_t tile, uint64_t *const *windows,
                    uint32_t p[BL_KERNEL_PIXELS][BL_KERNEL_MAX_COLS],
                    uint32_t s[BL_KERNEL_PIXELS]) {
  uint32_t first = r->lists.first[tile];
  r->device->kernels.sums(r->lists.passes + first, r->lists.first[tile + 1] - first,
                          (const uint64_t *const *)windows, r->device->config.row_depth - 1, p, s);
}

// Planes on rows: every plane's sums, added with the planes' weights.
static void merge_planes(run *r, uint32_t tile) {
  const uint32_t cols = r->device->config.cols, planes = r->layer->in_planes;
  bl_kernel_output output = output_of(r, tile);
  uint32_t acc[BL_KERNEL_MAX_COLS] = {0};
  uint32_t p[BL_KERNEL_PIXELS][BL_KERNEL_MAX_COLS], s[BL_KERNEL_PIXELS];
  for (uint32_t i = 0; i < planes; i++) {
    if (i % BL_KERNEL_PIXELS == 0) sums_of(r, tile, r->windows + i, p, s);
    uint32_t k = i % BL_KERNEL_PIXELS;
    uint32_t halved = (uint32_t)(((int64_t)(int32_t)s[k] * (1 << output.post)) >> 1);
    for (uint32_t c = 0; c < cols; c++) {
      uint32_t term = ((p[k][c] << output.post) - halved) << i;
      acc[c] += r->layer->in_signed != 0 && i + 1 == planes ? 0u - term : term;
    }
  }
  output.post = 0;
  merge(r, 0, tile, &output, acc, 0);
}

static void merge_pixels(run *r, const bool inside[BL_KERNEL_PIXELS], uint32_t tile) {
  uint32_t p[BL_KERNEL_PIXELS][BL_KERNEL_MAX_COLS], s[BL_KERNEL_PIXELS];
  bl_kernel_output output = output_of(r, tile);
  sums_of(r, tile, r->windows, p, s);
  for (uint32_t i = 0; i < BL_KERNEL_PIXELS; i++)
    if (inside[i]) merge(r, i, tile, &output, p[i], s[i]);
}

static void run_offset(run *r, uint64_t m, uint64_t count, uint32_t py, uint32_t px) {
  bool inside[BL_KERNEL_PIXELS] = {false}, some = false;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t n;
    int64_t y0, x0;
    inside[i] = locate(r->layer, m + i, py, px, &n, &y0, &x0);
    if (inside[i]) gather(r, n, m + i, y0, x0, r->windows[i]);
    some = some || inside[i];
  }
  if (!some || r->faults != 0) return;
  for (uint32_t t = 0; t < r->layer->tiles; t++)
    if (r->layer->gather_mode == GATHER_SPREAD)
      merge_planes(r, t);
    else
      merge_pixels(r, inside, t);
  for (uint64_t i = 0; i < count; i++)
    r->any[i] = r->any[i] || inside[i];
}

static void run_pixels(run *r) {
  const bl_descriptor *l = r->layer;
  uint64_t total = (uint64_t)l->images * l->out_h * l->out_w;
  size_t channels = (size_t)l->tiles * r->device->config.cols;
  for (uint64_t m = 0; m < total && r->faults == 0; m += r->group) {
    uint64_t count = total - m < r->group ? total - m : r->group;
    memset(r->any, 0, sizeof r->any);
    for (uint32_t py = 0; py < l->pool_h && r->faults == 0; py++)
      for (uint32_t px = 0; px < l->pool_w && r->faults == 0; px++)
        run_offset(r, m, count, py, px);
    for (uint64_t i = 0; i < count && r->faults == 0; i++) {
      if (!r->any[i]) memset(r->codes + i * channels, 0, channels);
      pack_pixel(r, m + i, r->codes + i * channels);
    }
  }
}

// ---- The run
// -------------------------------------------------------------------------------------

static void free_run(run *r) {
  free(r->lists.passes);
  free(r->lists.first);
  free(r->lists.post);
  free(r->codes);
  free(r->padding);
  for (int i = 0; i < MAX_PLANES; i++)
    free(r->windows[i]);
}

static bool allocate_run(run *r, size_t passes) {
  size_t tiles = r->layer->tiles;
  r->lists.passes = calloc(passes + 1, sizeof *r->lists.passes);
  r->lists.first = calloc(tiles + 1, sizeof *r->lists.first);
  r->lists.post = calloc(tiles, sizeof *r->lists.post);
  r->codes = calloc(BL_KERNEL_PIXELS * tiles, r->device->config.cols);
  bool ok = r->lists.passes != NULL && r->lists.first != NULL && r->lists.post != NULL &&
            r->codes != NULL;
  r->padding = calloc((size_t)r->layer->in_words * r->layer->in_planes, sizeof *r->padding);
  ok = ok && r->padding != NULL;
  for (int i = 0; i < MAX_PLANES; i++) {
    r->windows[i] = calloc(r->device->config.row_depth, sizeof **r->windows);
    ok = ok && r->windows[i] != NULL;
  }
  return ok;
}

static void plant(run *r) {
  if (r->device->run_count++ == r->device->planted_run && r->faults == 0)
    r->device->act[r->layer->out_base] ^= (uint64_t)1
                                          << (r->layer->out_slot * r->device->config.cols);
}

// Words of a window, the second source included.
static uint64_t window_words(const run *r) {
  const bl_descriptor *l = r->layer;
  uint64_t bytes = (uint64_t)l->kernel_h * l->kernel_w * tap_bytes(r);
  uint64_t words = (bytes + lane_bytes(r) - 1) / lane_bytes(r);
  if (l->gather_mode == GATHER_ROTATED) words = 0; // checked word by word
  if (l->gather_mode == GATHER_PACKED) words *= l->in_planes;
  if (l->res_planes == 0) return words;
  uint64_t second = (uint64_t)l->res_offset + (uint64_t)l->res_words * l->res_planes;
  return second > words ? second : words;
}

uint32_t bl_functional_run(bl_functional *device, const bl_descriptor *layer, uint64_t *steps,
                           uint32_t *signature) {
  const bool spread = layer->gather_mode == GATHER_SPREAD;
  run r = {.device = device, .layer = layer, .group = spread ? 1 : BL_KERNEL_PIXELS};
  size_t passes;
  r.whole_words = layer->gather_mode == GATHER_PACKED && layer->in_up == 0 &&
                  layer->in_last_bytes == device->config.lanes / 8;
  r.faults = count_passes(device, layer, &passes);
  uint64_t words = window_words(&r);
  if (words > device->config.row_depth) r.faults |= FAULT_WINDOW;
  if (layer->gather_mode == GATHER_ROTATED) words = device->config.row_depth;
  r.window_bytes = (size_t)words * sizeof *r.window;
  if (r.faults == 0 && !allocate_run(&r, passes)) r.faults = BL_RUN_NO_MEMORY;
  if (r.faults == 0) r.faults = decode_tiles(&r);
  if (r.faults == 0) {
    fill_padding(&r, r.padding);
    run_pixels(&r);
  }
  uint64_t pixels = (uint64_t)layer->images * layer->out_h * layer->out_w;
  uint64_t rows = spread ? 1 : device->config.rows, tiles = (pixels + rows - 1) / rows;
  *steps = tiles * layer->pool_h * layer->pool_w * r.lists.steps;
  *signature = r.signature;
  plant(&r);
  free_run(&r);
  return r.faults;
}

static void widen(bl_span *span, uint64_t lo, uint64_t hi) {
  if (lo >= hi) return;
  if (hi > UINT32_MAX) hi = UINT32_MAX;
  if (lo < span->lo || span->lo >= span->hi) {
    if (span->lo >= span->hi) span->hi = (uint32_t)hi;
    span->lo = (uint32_t)lo;
  }
  if (hi > span->hi) span->hi = (uint32_t)hi;
}

static void use_lists(const bl_functional *device, const bl_descriptor *layer, bl_use *use) {
  for (uint32_t t = 0; t < layer->tiles; t++) {
    uint32_t index = (uint32_t)layer->tile_base + t;
    if (index >= device->config.tile_depth) return;
    const bl_tile *tile = &device->tiles[index];
    widen(&use->used[MEM_PASS], tile->pass_base, (uint64_t)tile->pass_base + tile->pass_last + 1);
    for (uint32_t i = 0; i <= tile->pass_last; i++) {
      if (tile->pass_base + i >= device->config.pass_depth) return;
      const bl_pass *pass = &device->passes[tile->pass_base + i];
      uint64_t k = (uint64_t)tile->k_base + pass->k_offset;
      uint64_t weight = (uint64_t)tile->weight_base + pass->weight_offset;
      widen(&use->used[MEM_K], k, k + pass->count);
      widen(&use->used[MEM_WEIGHTS], weight, weight + pass->count);
    }
  }
}

bl_use bl_functional_use(const bl_functional *device, const bl_descriptor *layer) {
  bl_use use = {.written = {0, 0}};
  widen(&use.used[MEM_TILE], layer->tile_base, (uint64_t)layer->tile_base + layer->tiles);
  widen(&use.used[MEM_PARAMS], layer->param_base, (uint64_t)layer->param_base + layer->tiles);
  use_lists(device, layer, &use);
  uint64_t in_end = layer->in_base + (uint64_t)(layer->images - 1) * layer->in_image_stride +
                    (uint64_t)((layer->in_h - 1) >> layer->in_up) * layer->in_row_stride +
                    (uint64_t)((layer->in_w - 1) >> layer->in_up) * layer->in_pixel_stride +
                    (uint64_t)layer->in_words * layer->in_planes;
  uint64_t pixels = (uint64_t)layer->images * layer->out_h * layer->out_w;
  uint32_t lanes = (layer->out_slot + (uint32_t)layer->tiles) * device->config.cols;
  uint64_t words = (lanes + device->config.lanes - 1) / device->config.lanes;
  uint64_t out_end =
      layer->out_base + (pixels - 1) * layer->out_pixel_stride + words * layer->out_planes;
  widen(&use.written, layer->out_base, out_end);
  widen(&use.used[MEM_ACT], layer->in_base, in_end);
  uint64_t second = (uint64_t)layer->res_words * layer->res_planes;
  if (second > 0) widen(&use.second, layer->res_base, second_address(layer, pixels - 1) + second);
  if (layer->out_table > 0)
    widen(&use.used[MEM_TABLES], (layer->out_table - 1u) * BL_CONTRACT_TABLE_ENTRIES,
          (uint64_t)layer->out_table * BL_CONTRACT_TABLE_ENTRIES);
  return use;
}
