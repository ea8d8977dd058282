// SPDX-License-Identifier: Apache-2.0
// RUN on the functional device: windows of four pixels at a time through every channel tile.
#include "sim/functional_internal.h"

#include <stdlib.h>
#include <string.h>

enum { FAULT_INPUT = 1, FAULT_OUTPUT = 2, FAULT_TILE = 4, FAULT_PASS = 8, FAULT_K = 16 };
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
  uint64_t *windows[BL_KERNEL_PIXELS];
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
                            bl_kernel_pass *out) {
  const bl_config *config = &device->config;
  if (index >= config->pass_depth) return FAULT_PASS;
  const bl_pass *pass = &device->passes[index];
  uint32_t k = (uint32_t)tile->k_base + pass->k_offset;
  uint32_t weight = (uint32_t)tile->weight_base + pass->weight_offset;
  *out = (bl_kernel_pass){.count = pass->count,
                          .plane = pass->plane,
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
  uint32_t at = 0, faults = 0;
  for (uint32_t t = 0; t < r->layer->tiles; t++) {
    const bl_tile *tile = &r->device->tiles[r->layer->tile_base + t];
    r->lists.first[t] = at;
    r->lists.post[t] = tile->post;
    for (uint32_t i = 0; i <= tile->pass_last; i++, at++) {
      bl_kernel_pass *pass = &r->lists.passes[at];
      faults |= decode_pass(r->device, tile, (uint32_t)tile->pass_base + i, pass);
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

static void append_padding(const run *r, uint64_t *window, size_t *at) {
  for (uint32_t cw = 0; cw < r->layer->in_words; cw++)
    for (uint32_t i = 0; i < r->layer->in_planes; i++)
      window[(*at)++] = padding_word(r, cw, i);
}

// Short runs mostly: a call of memcpy costs more than the words.
static inline void copy_words(uint64_t *to, const uint64_t *from, size_t count) {
  for (size_t i = 0; i < count; i++)
    to[i] = from[i];
}

// The window of the pixel at (y0, x0) of image n, appended tap by tap.
static void gather(run *r, uint32_t n, int64_t y0, int64_t x0, uint64_t *window) {
  const bl_descriptor *l = r->layer;
  size_t at = 0, words = (size_t)l->in_words * l->in_planes;
  bool dense = l->dilation_w == 1 && l->in_pixel_stride == words;
  for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
    int64_t y = y0 + (int64_t)ky * l->dilation_h;
    // Taps that lie side by side inside the input are copied as one.
    bool whole = dense && y >= 0 && y < l->in_h && x0 >= 0 && x0 + l->kernel_w <= l->in_w;
    uint32_t step = whole ? l->kernel_w : 1;
    for (uint32_t kx = 0; kx < l->kernel_w; kx += step) {
      int64_t x = x0 + (int64_t)kx * l->dilation_w;
      if (y < 0 || y >= l->in_h || x < 0 || x >= l->in_w) {
        append_padding(r, window, &at);
        continue;
      }
      uint64_t address = l->in_base + (uint64_t)n * l->in_image_stride +
                         (uint64_t)y * l->in_row_stride + (uint64_t)x * l->in_pixel_stride;
      if (address + step * words > r->device->config.act_depth) {
        r->faults |= FAULT_INPUT;
        return;
      }
      copy_words(window + at, r->device->act + address, step * words);
      at += step * words;
    }
  }
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

// Words of one pixel: planes[] collects a channel word, `from` is the first lane that is written.
static void write_word(run *r, uint64_t address, const uint64_t planes[8], uint32_t from) {
  uint64_t keep = lanes_mask(from);
  for (uint32_t i = 0; i < r->layer->out_planes; i++) {
    if (address + i >= r->device->config.act_depth) {
      r->faults |= FAULT_OUTPUT;
      return;
    }
    uint64_t *word = &r->device->act[address + i];
    *word = (*word & keep) | planes[i];
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
    write_word(r, address, planes, from);
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
  *y0 = oy * l->step_h + (int64_t)py * l->stride_h - l->origin_h;
  *x0 = ox * l->step_w + (int64_t)px * l->stride_w - l->origin_w;
  return *y0 >= -(int64_t)l->pad_top && *y0 < l->conv_end_h && *x0 >= -(int64_t)l->pad_left &&
         *x0 < l->conv_end_w;
}

static void merge(run *r, const bool inside[BL_KERNEL_PIXELS], uint32_t tile,
                  uint32_t p[BL_KERNEL_PIXELS][BL_KERNEL_MAX_COLS], const uint32_t *s) {
  uint32_t cols = r->device->config.cols;
  bl_kernel_output output = output_of(r, tile);
  for (int i = 0; i < BL_KERNEL_PIXELS; i++) {
    if (!inside[i]) continue;
    uint8_t fresh[BL_KERNEL_MAX_COLS];
    uint8_t *codes = r->codes + ((size_t)i * r->layer->tiles + tile) * cols;
    r->device->kernels.requantise(&output, p[i], s[i], fresh);
    if (r->any[i]) {
      bool as_signed = r->layer->out_signed != 0;
      for (uint32_t c = 0; c < cols; c++)
        codes[c] = larger(fresh[c], codes[c], as_signed);
    } else {
      memcpy(codes, fresh, cols);
    }
  }
}

static void run_offset(run *r, uint64_t m, uint64_t count, uint32_t py, uint32_t px) {
  bool inside[BL_KERNEL_PIXELS] = {false}, some = false;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t n;
    int64_t y0, x0;
    inside[i] = locate(r->layer, m + i, py, px, &n, &y0, &x0);
    if (inside[i]) gather(r, n, y0, x0, r->windows[i]);
    some = some || inside[i];
  }
  if (!some || r->faults != 0) return;
  uint32_t p[BL_KERNEL_PIXELS][BL_KERNEL_MAX_COLS], s[BL_KERNEL_PIXELS];
  for (uint32_t t = 0; t < r->layer->tiles; t++) {
    uint32_t first = r->lists.first[t];
    r->device->kernels.sums(r->lists.passes + first, r->lists.first[t + 1] - first,
                            (const uint64_t *const *)r->windows, r->device->config.row_depth - 1, p,
                            s);
    merge(r, inside, t, p, s);
  }
  for (uint64_t i = 0; i < count; i++)
    r->any[i] = r->any[i] || inside[i];
}

static void run_pixels(run *r) {
  const bl_descriptor *l = r->layer;
  uint64_t total = (uint64_t)l->images * l->out_h * l->out_w;
  size_t channels = (size_t)l->tiles * r->device->config.cols;
  for (uint64_t m = 0; m < total && r->faults == 0; m += BL_KERNEL_PIXELS) {
    uint64_t count = total - m < BL_KERNEL_PIXELS ? total - m : BL_KERNEL_PIXELS;
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
  for (int i = 0; i < BL_KERNEL_PIXELS; i++)
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
  for (int i = 0; i < BL_KERNEL_PIXELS; i++) {
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

uint32_t bl_functional_run(bl_functional *device, const bl_descriptor *layer, uint64_t *steps) {
  run r = {.device = device, .layer = layer};
  size_t passes;
  uint64_t window =
      (uint64_t)layer->kernel_h * layer->kernel_w * layer->in_words * layer->in_planes;
  r.faults = count_passes(device, layer, &passes);
  if (window > device->config.row_depth) r.faults |= FAULT_WINDOW;
  if (r.faults == 0 && !allocate_run(&r, passes)) r.faults = BL_RUN_NO_MEMORY;
  if (r.faults == 0) r.faults = decode_tiles(&r);
  if (r.faults == 0) run_pixels(&r);
  uint64_t pixels = (uint64_t)layer->images * layer->out_h * layer->out_w;
  uint64_t tiles = (pixels + device->config.rows - 1) / device->config.rows;
  *steps = tiles * layer->pool_h * layer->pool_w * r.lists.steps;
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
                    (uint64_t)(layer->in_h - 1) * layer->in_row_stride +
                    (uint64_t)(layer->in_w - 1) * layer->in_pixel_stride +
                    (uint64_t)layer->in_words * layer->in_planes;
  uint64_t pixels = (uint64_t)layer->images * layer->out_h * layer->out_w;
  uint32_t lanes = (layer->out_slot + (uint32_t)layer->tiles) * device->config.cols;
  uint64_t words = (lanes + device->config.lanes - 1) / device->config.lanes;
  uint64_t out_end =
      layer->out_base + (pixels - 1) * layer->out_pixel_stride + words * layer->out_planes;
  widen(&use.written, layer->out_base, out_end);
  widen(&use.used[MEM_ACT], layer->in_base, in_end);
  return use;
}
