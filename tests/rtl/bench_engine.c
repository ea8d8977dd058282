// SPDX-License-Identifier: Apache-2.0
// The engine: random small layers from random descriptors, lists, weights and activations against a
// model written from docs/reference/device.md, word for word; and their cycles, by reason, against
// the cycle model (host/cost), which sees descriptors here that no compiler makes.
// LINK host/cost/cost_run.o host/cost/cost_gather.o host/base/error.o
// VERILATE all: -GWEIGHT_DEPTH=512 -GPARAM_DEPTH=16 -GK_DEPTH=256 -GPASS_DEPTH=64
// VERILATE all: -GTILE_DEPTH=32 -GACT_DEPTH=4096 -GROW_DEPTH=256
// VERILATE tiny: -GGATHER_WORDS=1 -GROWS=2 -GCOLS=8 -GLANES=16 -GACC_W=20
// VERILATE default: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=8 -GLANES=32 -GACC_W=26
// VERILATE wide: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=16 -GLANES=64 -GACC_W=26
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"
#include "host/cost/cost.h"

enum { BYTES = LANES / 8, GROUP = COLS / 8, PACKED = 0, ROTATED = 1, SPREAD = 2, TABLES = 8 };
#define SLOTS ((unsigned)(LANES / COLS))

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  uint64_t weights[COLS][WEIGHT_DEPTH];
  bl_param params[COLS][PARAM_DEPTH];
  uint16_t k[K_DEPTH];
  bl_pass passes[PASS_DEPTH];
  bl_tile tiles[TILE_DEPTH];
  uint64_t memory[ACT_DEPTH], expected[ACT_DEPTH];
  // the memories' output registers
  uint64_t weight_out[COLS], act_out[GATHER_WORDS];
  uint8_t tables[TABLES * 256], table_out[COLS];
  uint32_t signature; // of the words that the layer writes
  bl_param param_out[COLS];
  uint64_t k_out, pass_out, tile_out;
  bl_descriptor layer;
  unsigned layers;
  uint64_t counters[BL_COUNTER_COUNT]; // of the layer that runs
  uint64_t issued, cycles;             // of all
} test;

static uint64_t lanes_mask(unsigned lanes) {
  return lanes >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << lanes) - 1;
}

static uint64_t random_word(bench *b) {
  return ((uint64_t)bench_random(b) << 32 | bench_random(b)) & lanes_mask(LANES);
}

// ---- The memories
// --------------------------------------------------------------------------------

static void drive_outputs(test *t) {
  dut_ports *p = &t->p;
  for (unsigned c = 0; c < COLS; c++) {
    uint32_t words[BL_PARAM_WORDS];
    (void)bl_param_pack(&t->param_out[c], words);
    bench_put(p->param_data_i, c * 72, 32, words[0]);
    bench_put(p->param_data_i, c * 72 + 32, 32, words[1]);
    bench_put(p->param_data_i, c * 72 + 64, 8, words[2]);
    bench_put(p->weight_data_i, c * LANES, LANES, t->weight_out[c]);
    ((uint8_t *)p->table_data_i)[c] = t->table_out[c];
  }
  for (unsigned k = 0; k < GATHER_WORDS; k++)
    memcpy((uint8_t *)p->act_rdata_i + k * BYTES, &t->act_out[k], BYTES);
  *p->k_data_i = (uint16_t)t->k_out;
  *p->pass_data_i = t->pass_out;
  *p->tile_data_i = t->tile_out;
}

static uint64_t packed64(const uint32_t words[2]) {
  return words[0] | (uint64_t)words[1] << 32;
}

static void take_reads(test *t) {
  dut_ports *p = &t->p;
  uint32_t words[2];
  for (unsigned c = 0; c < COLS; c++) {
    if ((*p->weight_re_o >> c) & 1u)
      t->weight_out[c] = t->weights[c][bench_get(p->weight_addr_o, c * 16, 16) % WEIGHT_DEPTH];
    if ((*p->param_re_o >> c) & 1u)
      t->param_out[c] = t->params[c][bench_get(p->param_addr_o, c * 16, 16) % PARAM_DEPTH];
    if ((*p->table_re_o >> c) & 1u)
      t->table_out[c] = t->tables[bench_get(p->table_addr_o, c * 16, 16) % sizeof t->tables];
  }
  for (unsigned k = 0; k < GATHER_WORDS; k++)
    if ((*p->act_re_o >> k) & 1u) t->act_out[k] = t->memory[(*p->act_raddr_o + k) % ACT_DEPTH];
  if (*p->act_re_o == 1) t->act_out[GATHER_WORDS - 1] = t->act_out[0];
  if (*p->k_re_o) t->k_out = t->k[*p->k_addr_o % K_DEPTH];
  if (*p->pass_re_o) {
    (void)bl_pass_pack(&t->passes[*p->pass_addr_o % PASS_DEPTH], words);
    t->pass_out = packed64(words);
  }
  if (*p->tile_re_o) {
    (void)bl_tile_pack(&t->tiles[*p->tile_addr_o % TILE_DEPTH], words);
    t->tile_out = packed64(words);
  }
  for (unsigned i = 0; i < LANES / 8; i++)
    if ((*p->act_we_o >> i) & 1u) {
      uint64_t byte = (uint64_t)255 << (8 * i), data = 0;
      memcpy(&data, p->act_wdata_o, LANES / 8);
      uint64_t *word = &t->memory[*p->act_waddr_o % ACT_DEPTH];
      *word = (*word & ~byte) | (data & byte);
    }
}

// As bitloom_counters does.
static void count_cycle(test *t) {
  if (!*t->p.active_o) return;
  t->counters[BL_COUNTER_CYCLES]++;
  if (*t->p.issue_o)
    t->counters[BL_COUNTER_ISSUE]++;
  else if (*t->p.stall_requant_o)
    t->counters[BL_COUNTER_REQUANT]++;
  else if (*t->p.stall_gather_o)
    t->counters[BL_COUNTER_GATHER]++;
  else
    t->counters[BL_COUNTER_DRAIN]++;
}

static void tick(test *t) {
  *t->p.clk_i = 0;
  drive_outputs(t);
  dut_eval(t->d);
  count_cycle(t);
  take_reads(t);
  *t->p.clk_i = 1;
  dut_eval(t->d);
}

// ---- The model
// -----------------------------------------------------------------------------------

static uint64_t input_word(const test *t, unsigned n, int y, int x, unsigned cw, unsigned i) {
  const bl_descriptor *l = &t->layer;
  if (y < 0 || y >= l->in_h || x < 0 || x >= l->in_w) {
    if (((l->pad_value >> i) & 1) == 0) return 0;
    return lanes_mask(cw + 1u == l->in_words ? l->in_last_lanes : LANES);
  }
  return t
      ->memory[l->in_base + n * l->in_image_stride + (unsigned)(y >> l->in_up) * l->in_row_stride +
               (unsigned)(x >> l->in_up) * l->in_pixel_stride + cw * l->in_planes + i];
}

static unsigned tap_bytes(const bl_descriptor *l) {
  return (l->in_words - 1u) * BYTES + l->in_last_bytes;
}

// Windows of a pixel, one for each plane with planes on rows, else only window 0.
typedef uint8_t windows[8][ROW_DEPTH][BYTES];

static void place_word(const test *t, unsigned tap, unsigned cw, unsigned i, uint64_t word,
                       windows window) {
  const bl_descriptor *l = &t->layer;
  unsigned bytes = cw + 1u == l->in_words ? l->in_last_bytes : BYTES;
  for (unsigned b = 0; b < BYTES; b++) {
    uint8_t byte = (uint8_t)(word >> (8 * b));
    unsigned group = b / GROUP, slot = tap + group, at = tap * tap_bytes(l) + cw * BYTES + b;
    if (l->gather_mode == ROTATED)
      window[0][(slot / SLOTS * l->in_planes + cw * l->group_stride + i) * SLOTS + group]
            [slot % SLOTS * GROUP + b % GROUP] = byte;
    else if (b < bytes && l->gather_mode == SPREAD)
      window[i][at / BYTES][at % BYTES] = byte;
    else if (b < bytes)
      window[0][at / BYTES * l->in_planes + i][at % BYTES] = byte;
  }
}

static unsigned second_address(const bl_descriptor *l, unsigned m) {
  unsigned row = m / l->out_w;
  return l->res_base + (m - row) * l->res_pixel_stride + row * l->res_row_step;
}

static void fill_windows(const test *t, unsigned n, unsigned m, int y0, int x0, windows window) {
  const bl_descriptor *l = &t->layer;
  memset(window, 0, sizeof(windows));
  for (unsigned tap = 0; tap < (unsigned)l->kernel_h * l->kernel_w; tap++)
    for (unsigned cw = 0; cw < l->in_words; cw++)
      for (unsigned i = 0; i < l->in_planes; i++) {
        int y = y0 + (int)(tap / l->kernel_w) * l->dilation_h;
        int x = x0 + (int)(tap % l->kernel_w) * l->dilation_w;
        place_word(t, tap, cw, i, input_word(t, n, y, x, cw, i), window);
      }
  for (unsigned k = 0; k < (unsigned)l->res_words * l->res_planes; k++)
    memcpy(window[0][l->res_offset + k], &t->memory[second_address(l, m) + k], BYTES);
}

static int64_t sum_of(const test *t, const bl_tile *entry, unsigned c,
                      uint8_t window[ROW_DEPTH][BYTES]) {
  int64_t p = 0, s = 0;
  for (unsigned i = 0; i <= entry->pass_last; i++) {
    const bl_pass *pass = &t->passes[entry->pass_base + i];
    int sign = pass->neg ? -1 : 1;
    if (pass->shift) p *= 2, s *= 2;
    for (unsigned e = 0; e < pass->count; e++) {
      uint64_t a = 0, w = t->weights[c][entry->weight_base + pass->weight_offset + e];
      unsigned step = t->layer.gather_mode == ROTATED ? SLOTS : 1;
      memcpy(&a, window[t->k[entry->k_base + pass->k_offset + e] + pass->plane * step], BYTES);
      p += sign * __builtin_popcountll(a & w);
      if (pass->sum) s += sign * __builtin_popcountll(a);
    }
  }
  return p * (1 << entry->post) - ((bench_wrap(s, ACC_W) * (1 << entry->post)) >> 1);
}

static int code_of(const test *t, unsigned tile, unsigned c, windows window) {
  const bl_descriptor *l = &t->layer;
  const bl_tile *entry = &t->tiles[l->tile_base + tile];
  int64_t acc = sum_of(t, entry, c, window[0]);
  for (unsigned i = 1; i < l->in_planes && l->gather_mode == SPREAD; i++) {
    bool negative = l->in_signed && i + 1u == l->in_planes;
    acc += sum_of(t, entry, c, window[i]) * (negative ? -(1 << i) : 1 << i);
  }
  if (l->gather_mode == SPREAD && l->in_planes == 1 && l->in_signed) acc = -acc;
  const bl_param *q = &t->params[c][l->param_base + tile];
  int64_t v = (bench_wrap(acc, ACC_W) * q->mult + q->bias) >> q->shift;
  if (!l->out_wrap) v = (v < l->out_lo ? l->out_lo : v > l->out_hi ? l->out_hi : v) + l->out_offset;
  unsigned code = (unsigned)(v & 255);
  return l->out_table > 0 ? t->tables[(l->out_table - 1u) * 256 + code] : (int)code;
}

static void write_channel(test *t, unsigned m, unsigned tile, unsigned c, int code) {
  const bl_descriptor *l = &t->layer;
  unsigned lane = (l->out_slot + tile) * COLS + c;
  for (unsigned i = 0; i < l->out_planes; i++) {
    uint64_t *word =
        &t->expected[l->out_base + m * l->out_pixel_stride + lane / LANES * l->out_planes + i];
    uint64_t bit = (uint64_t)1 << (lane % LANES);
    *word = (code >> i) & 1 ? *word | bit : *word & ~bit;
  }
}

static uint32_t crc_of(const uint8_t *bytes, unsigned count) {
  uint32_t crc = 0xFFFFFFFF;
  for (unsigned i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc & 1 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
  }
  return ~crc;
}

// The words of a pixel, with zeros for what the layer leaves alone.
static void sign_pixel(test *t, unsigned m) {
  const bl_descriptor *l = &t->layer;
  unsigned words = (l->out_slot + l->tiles + SLOTS - 1) / SLOTS, last = l->out_slot + l->tiles;
  for (unsigned k = 0; k < words * l->out_planes; k++) {
    unsigned word = k / l->out_planes, address = l->out_base + m * l->out_pixel_stride + k;
    uint8_t message[4 + BYTES] = {(uint8_t)address, (uint8_t)(address >> 8)};
    for (unsigned b = 0; b < BYTES; b++) {
      unsigned slot = word * SLOTS + b / GROUP;
      if (slot >= l->out_slot && slot < last)
        message[4 + b] = (uint8_t)(t->expected[address] >> (8 * b));
    }
    t->signature += crc_of(message, sizeof message);
  }
}

static void expect_pixel(test *t, unsigned n, unsigned oy, unsigned ox) {
  const bl_descriptor *l = &t->layer;
  static int best[PARAM_DEPTH][COLS];
  bool any = false;
  int sign = l->out_signed ? 128 : 0;
  memset(best, 0, sizeof best);
  for (unsigned o = 0; o < (unsigned)l->pool_h * l->pool_w; o++) {
    int y0 = (int)(oy * l->step_h + o / l->pool_w * l->stride_h) - l->origin_h;
    int x0 = (int)(ox * l->step_w + o % l->pool_w * l->stride_w) - l->origin_w;
    if (y0 < -l->pad_top || y0 >= l->conv_end_h || x0 < -l->pad_left || x0 >= l->conv_end_w)
      continue;
    static windows window;
    fill_windows(t, n, (n * l->out_h + oy) * l->out_w + ox, y0, x0, window);
    for (unsigned tile = 0; tile < l->tiles; tile++)
      for (unsigned c = 0; c < COLS; c++) {
        int code = code_of(t, tile, c, window);
        if (!any || (code ^ sign) > (best[tile][c] ^ sign)) best[tile][c] = code;
      }
    any = true;
  }
  unsigned m = (n * l->out_h + oy) * l->out_w + ox;
  unsigned slots = (l->out_slot + l->tiles + SLOTS - 1) / SLOTS * SLOTS - l->out_slot;
  if (l->out_keep) slots = l->tiles;
  for (unsigned tile = 0; tile < slots; tile++)
    for (unsigned c = 0; c < COLS; c++) {
      bool real = tile + 1u < l->tiles || (tile + 1u == l->tiles && c < l->out_last_cols);
      write_channel(t, m, tile, c, real && any ? best[tile][c] : 0);
    }
  sign_pixel(t, m);
}

// ---- Random layers
// -------------------------------------------------------------------------------

static unsigned conv_size(unsigned in, unsigned pad, unsigned kernel, unsigned dilation,
                          unsigned stride) {
  unsigned span = (kernel - 1) * dilation + 1;
  return in + 2 * pad < span ? 0 : (in + 2 * pad - span) / stride + 1;
}

static void random_axis(bench *b, unsigned in, uint16_t *kernel, uint8_t *dilation, uint8_t *stride,
                        uint16_t *pad, uint16_t *pool, uint16_t *step, uint16_t *origin,
                        int32_t *end, uint16_t *out) {
  for (;;) {
    *kernel = (uint16_t)bench_range(b, 1, bench_chance(b, 15) ? in : 3);
    *dilation = (uint8_t)(bench_chance(b, 70) ? 1 : bench_range(b, 2, 3));
    *stride = (uint8_t)(bench_chance(b, 60) ? 1 : bench_range(b, 2, 3));
    *pad = (uint16_t)bench_range(b, 0, *kernel - 1);
    *pool = (uint16_t)(bench_chance(b, 60) ? 1 : bench_range(b, 2, 3));
    unsigned pool_stride = *pool == 1 ? 1 : (unsigned)bench_range(b, 1, 3);
    unsigned pool_pad = *pool == 1 ? 0 : (unsigned)bench_range(b, 0, *pool - 1);
    unsigned conv = conv_size(in, *pad, *kernel, *dilation, *stride);
    if (conv == 0 || conv_size(conv, pool_pad, *pool, 1, pool_stride) == 0) continue;
    *out = (uint16_t)conv_size(conv, pool_pad, *pool, 1, pool_stride);
    *step = (uint16_t)(*stride * pool_stride);
    *origin = (uint16_t)(*pad + *stride * pool_pad);
    *end = (int32_t)(conv * *stride) - *pad;
    return;
  }
}

// Words of a window without its second source.
static unsigned window_words(const bl_descriptor *l) {
  unsigned taps = (unsigned)l->kernel_h * l->kernel_w;
  unsigned words = (taps * tap_bytes(l) + BYTES - 1) / BYTES;
  if (l->gather_mode == ROTATED) return l->in_words * (unsigned)l->group_stride * SLOTS;
  return l->gather_mode == SPREAD ? words : words * l->in_planes;
}

static void random_mode(test *t) {
  bench *b = &t->b;
  bl_descriptor *l = &t->layer;
  unsigned taps = (unsigned)l->kernel_h * l->kernel_w;
  l->gather_mode = (uint8_t)bench_range(b, PACKED, SPREAD);
  if (l->gather_mode == SPREAD && l->in_planes > ROWS) l->gather_mode = PACKED;
  l->in_signed = bench_chance(b, 50);
  bool whole = l->in_planes == 1 && bench_chance(b, 80);
  l->in_last_bytes = (uint8_t)(whole ? BYTES : bench_range(b, 1, BYTES));
  l->in_up = bench_chance(b, 20);
  l->group_stride = (uint16_t)((taps + SLOTS - 1 + SLOTS - 1) / SLOTS * l->in_planes);
  if (l->gather_mode != PACKED || bench_chance(b, 40)) return;
  l->res_planes = (uint8_t)bench_range(b, 1, 8);
  l->res_words = (uint16_t)bench_range(b, 1, 2);
  l->res_offset = (uint16_t)window_words(l);
  l->res_pixel_stride = (uint16_t)(l->res_words * l->res_planes);
  l->res_row_step = (uint16_t)(l->res_pixel_stride * bench_range(b, 1, 3));
}

// Whether the gather reads two pixels at once, given one word of one plane.
static bool pairs_of_pixels(const bl_descriptor *l) {
  return l->gather_mode == PACKED && l->in_last_bytes == BYTES && l->dilation_w == 1 && !l->in_up &&
         l->step_w % 2 == 0 && l->kernel_h > 1;
}

static void random_geometry(test *t) {
  bench *b = &t->b;
  bl_descriptor *l = &t->layer;
  bool pixels = LANES >= 64 && bench_chance(b, 15); // too rare otherwise
  do {
    *l = (bl_descriptor){0};
    l->in_h = (uint16_t)bench_range(b, 1, 7);
    l->in_w = (uint16_t)bench_range(b, 1, 9);
    l->in_planes = (uint8_t)bench_range(b, 1, 8);
    if (bench_chance(b, 30)) l->in_planes = 1; // words in pairs, without planes
    l->in_words = (uint16_t)(bench_chance(b, 70) ? 1 : bench_range(b, 2, 3));
    if (pixels) l->in_planes = 1, l->in_words = 1;
    l->images = (uint16_t)(bench_chance(b, 50) ? 1 : bench_range(b, 2, 4));
    random_axis(b, l->in_h, &l->kernel_h, &l->dilation_h, &l->stride_h, &l->pad_top, &l->pool_h,
                &l->step_h, &l->origin_h, &l->conv_end_h, &l->out_h);
    random_axis(b, l->in_w, &l->kernel_w, &l->dilation_w, &l->stride_w, &l->pad_left, &l->pool_w,
                &l->step_w, &l->origin_w, &l->conv_end_w, &l->out_w);
    random_mode(t);
  } while (window_words(l) + l->res_words * l->res_planes > ROW_DEPTH ||
           (pixels && !pairs_of_pixels(l)));
  l->in_last_lanes = (uint8_t)bench_range(b, 1, LANES);
  l->pad_value = (uint8_t)bench_random(b);
  unsigned apart = l->in_planes == 1 ? 0 : bench_random(b) % 2;
  l->in_pixel_stride = (uint16_t)(l->in_words * l->in_planes + apart);
  l->in_row_stride = (uint16_t)(l->in_pixel_stride * l->in_w);
  l->in_image_stride = (uint16_t)(l->in_row_stride * l->in_h);
}

static void random_output(test *t) {
  bench *b = &t->b;
  bl_descriptor *l = &t->layer;
  l->out_planes = (uint8_t)bench_range(b, 1, 8);
  l->out_slot = (uint8_t)(bench_chance(b, 60) ? 0 : bench_random(b) % SLOTS);
  l->tiles = (uint16_t)bench_range(b, 1, 6);
  l->out_last_cols = (uint8_t)bench_range(b, 1, COLS);
  l->out_signed = bench_chance(b, 50);
  l->out_wrap = bench_chance(b, 15);
  l->out_keep = bench_chance(b, 30);
  l->out_table = (uint8_t)(bench_chance(b, 60) ? 0 : bench_range(b, 1, TABLES));
  l->out_lo = (int16_t)bench_range(b, -200, 50);
  l->out_hi = (int16_t)bench_range(b, l->out_lo, 255);
  l->out_offset = (int16_t)bench_range(b, -50, 100);
  unsigned words = ((unsigned)l->out_slot + l->tiles + SLOTS - 1) / SLOTS;
  l->out_pixel_stride = (uint16_t)(words * l->out_planes);
  l->param_base = (uint16_t)bench_range(b, 0, PARAM_DEPTH - l->tiles);
  l->tile_base = (uint16_t)bench_range(b, 0, TILE_DEPTH - l->tiles);
}

// False when the layer's tensors do not fit the bench's memory. Input and second source may be
// written over nowhere, so the output is first or last.
static bool place(test *t) {
  bl_descriptor *l = &t->layer;
  unsigned pixels = (unsigned)l->images * l->out_h * l->out_w;
  unsigned in = l->images * (unsigned)l->in_image_stride, res = 0;
  unsigned out = pixels * l->out_pixel_stride;
  l->res_base = 0;
  if (l->res_planes > 0) res = second_address(l, pixels - 1) + l->res_pixel_stride;
  if (in + res + out > ACT_DEPTH) return false;
  bool first = bench_chance(&t->b, 50);
  l->in_base = (uint16_t)(first ? 0 : out + res);
  l->res_base = (uint16_t)(first ? in : out);
  l->out_base = (uint16_t)(first ? ACT_DEPTH - out : 0);
  return true;
}

// A window word that the gather fills, and a plane of it.
static uint16_t random_k(test *t, uint8_t *planes) {
  const bl_descriptor *l = &t->layer;
  unsigned taps = (unsigned)l->kernel_h * l->kernel_w;
  *planes = l->in_planes;
  if (l->res_planes > 0 && bench_chance(&t->b, 20)) {
    *planes = l->res_planes;
    return (uint16_t)(l->res_offset + bench_random(&t->b) % l->res_words * l->res_planes);
  }
  if (l->gather_mode == ROTATED) { // only words that are filled whole
    unsigned group = bench_random(&t->b) % SLOTS, cw = bench_random(&t->b) % l->in_words;
    unsigned first = group == 0 ? 0 : 1, last = (taps + group) / SLOTS; // of whole words
    if (last <= first) return 0xFFFF;
    unsigned v = first + bench_random(&t->b) % (last - first);
    return (uint16_t)((v * l->in_planes + cw * l->group_stride) * SLOTS + group);
  }
  unsigned words = window_words(l) / (l->gather_mode == SPREAD ? 1 : l->in_planes);
  return (uint16_t)(bench_random(&t->b) % words * (l->gather_mode == SPREAD ? 1u : l->in_planes));
}

static void random_lists(test *t) {
  bench *b = &t->b;
  const bl_descriptor *l = &t->layer;
  uint8_t planes, least = 8;
  bool none = false;
  for (unsigned i = 0; i < K_DEPTH; i++) {
    t->k[i] = random_k(t, &planes);
    if (planes < least) least = planes;
    none = none || t->k[i] == 0xFFFF;
  }
  if (l->gather_mode == SPREAD) least = 1;
  for (unsigned i = 0; i < PASS_DEPTH; i++)
    t->passes[i] = (bl_pass){.weight_offset = (uint16_t)(bench_random(b) % 100),
                             .k_offset = (uint16_t)(bench_random(b) % 50),
                             .count = (uint16_t)(none                  ? 0
                                                 : bench_chance(b, 50) ? bench_range(b, 0, 2)
                                                                       : bench_range(b, 0, 20)),
                             .plane = (uint8_t)(bench_random(b) % least),
                             .shift = bench_chance(b, 40),
                             .neg = bench_chance(b, 30),
                             .sum = bench_chance(b, 30)};
  for (unsigned i = 0; i < l->tiles; i++)
    t->tiles[l->tile_base + i] = (bl_tile){.weight_base = (uint16_t)(bench_random(b) % 300),
                                           .k_base = (uint16_t)(bench_random(b) % 100),
                                           .pass_base = (uint16_t)(bench_random(b) % 50),
                                           .pass_last = (uint16_t)(bench_random(b) % 10),
                                           .post = (uint8_t)(bench_random(b) % 3)};
  for (unsigned c = 0; c < COLS; c++) {
    for (unsigned i = 0; i < WEIGHT_DEPTH; i++)
      t->weights[c][i] = random_word(b);
    for (unsigned i = 0; i < PARAM_DEPTH; i++) {
      t->params[c][i].mult = (int32_t)bench_range(b, 1 << 15, 65535) * (i % 3 == 0 ? -1 : 1);
      t->params[c][i].shift = (uint8_t)bench_range(b, 14, 24);
      t->params[c][i].bias = bench_range(b, -(1 << 24), 1 << 24);
    }
  }
}

static unsigned run(test *t) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bench_check(&t->b, bl_descriptor_pack(&t->layer, words), "descriptor", t->layers, 1, 0);
  memcpy(t->p.desc_i, words, sizeof words);
  BENCH_EQUAL(&t->b, "ready", t->layers, 1, *t->p.ready_o);
  memset(t->counters, 0, sizeof t->counters);
  *t->p.start_i = 1;
  tick(t);
  *t->p.start_i = 0;
  for (unsigned i = 0; i < 4000000; i++) {
    *t->p.clk_i = 0;
    drive_outputs(t);
    dut_eval(t->d);
    bool done = *t->p.done_o;
    unsigned faults = *t->p.faults_o;
    tick(t);
    if (done) return faults;
  }
  BENCH_EQUAL(&t->b, "layer never ends", t->layers, 0, 1);
  return 0;
}

static void check_cycles(test *t) {
  static const bl_config config = {.rows = ROWS,
                                   .cols = COLS,
                                   .lanes = LANES,
                                   .pass_depth = PASS_DEPTH,
                                   .tile_depth = TILE_DEPTH,
                                   .gather_words = GATHER_WORDS};
  bl_cost cost;
  bl_error err = {0};
  bench_check(&t->b, bl_cost_run(&config, &t->layer, t->tiles, t->passes, &cost, &err) == BL_OK,
              "cycle model", t->layers, 1, 0);
  for (unsigned k = 0; k < BL_COUNTER_COUNT; k++)
    BENCH_EQUAL(&t->b, "counter", t->layers * 100 + k, cost.counters[k], t->counters[k]);
  t->issued += t->counters[BL_COUNTER_ISSUE];
  t->cycles += t->counters[BL_COUNTER_CYCLES];
}

static void run_sound_layer(test *t) {
  do {
    random_geometry(t);
    random_output(t);
  } while (!place(t));
  random_lists(t);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    t->memory[i] = random_word(&t->b);
  memcpy(t->expected, t->memory, sizeof t->expected);
  for (unsigned i = 0; i < sizeof t->tables; i++)
    t->tables[i] = (uint8_t)bench_random(&t->b);
  t->signature = 0;
  const bl_descriptor *l = &t->layer;
  for (unsigned n = 0; n < l->images; n++)
    for (unsigned oy = 0; oy < l->out_h; oy++)
      for (unsigned ox = 0; ox < l->out_w; ox++)
        expect_pixel(t, n, oy, ox);
  BENCH_EQUAL(&t->b, "faults", t->layers, 0, run(t));
  check_cycles(t);
  BENCH_EQUAL(&t->b, "signature", t->layers, t->signature, *t->p.signature_o);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    BENCH_EQUAL(&t->b, "word", t->layers * 10000 + i, t->expected[i], t->memory[i]);
}

// The same layer with one thing out of its memory: the fault is named, the next layer is sound.
static void run_faulty_layer(test *t) {
  const bl_descriptor sound = t->layer;
  bl_descriptor *l = &t->layer;
  unsigned bit = 0;
  switch (bench_random(&t->b) % 5) {
  case 0:
    l->in_base = ACT_DEPTH;
    l->pad_top = l->pad_left = l->origin_h = l->origin_w = 0;
    break;
  case 1:
    l->out_base = ACT_DEPTH;
    bit = 1;
    break;
  case 2:
    l->tile_base = TILE_DEPTH;
    bit = 2;
    break;
  case 3:
    l->param_base = PARAM_DEPTH;
    bit = 6;
    break;
  default:
    l->gather_mode = PACKED;
    l->in_last_bytes = BYTES;
    l->kernel_w = 2000;
    l->in_w = 3000;
    bit = 7;
    l->in_row_stride = l->in_pixel_stride = l->in_image_stride = 0;
  }
  if (l->pool_h * l->pool_w == 1) {
    unsigned faults = run(t);
    BENCH_EQUAL(&t->b, "fault bit", bit, 1, (faults >> bit) & 1);
  }
  *l = sound;
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_engine");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.rst_i = 1;
  *t.p.start_i = 0;
  for (int i = 0; i < 4; i++)
    tick(&t);
  *t.p.rst_i = 0;
  for (t.layers = 0; t.layers < 150 && t.b.failures < 20; t.layers++) {
    run_sound_layer(&t);
    if (t.layers % 5 == 4) run_faulty_layer(&t);
  }
  (void)printf("%u layers, %" PRIu64 " steps in %" PRIu64 " cycles\n", t.layers, t.issued,
               t.cycles);
  dut_close(t.d);
  return bench_end(&t.b, "bench_engine");
}
