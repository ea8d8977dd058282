// SPDX-License-Identifier: Apache-2.0
// The functional device against docs/reference/device.md, "What RUN computes": random layers in
// random memories are run by the device, on every popcount that this machine has, and by a literal,
// slow model written here from the page; the whole activation memory and the signature are
// compared.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>
#include <zlib.h>

#include "tests/unit/functional_support.h"

static uint64_t seed;

static uint32_t next_random(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

// lo..hi
static uint32_t pick(uint32_t lo, uint32_t hi) {
  return lo + next_random() % (hi - lo + 1);
}

static bool chance(uint32_t one_in) {
  return next_random() % one_in == 0;
}

static uint64_t ones(uint32_t lanes) {
  return lanes == 64 ? UINT64_MAX : ((uint64_t)1 << lanes) - 1;
}

static uint64_t random_word(uint32_t lanes) {
  uint64_t word = (uint64_t)next_random() << 40 ^ (uint64_t)next_random() << 20 ^ next_random();
  return word & ones(lanes);
}

enum {
  PACKED,
  ROTATED,
  ON_ROWS,
  TILES = 3,
  PASSES = 5,
  COUNT = 12, // entries of a pass
  ENTRIES = TILES * PASSES * COUNT,
  WEIGHTS = 64,
  MAX_COLS = 16,
  TABLES = 2,
  WINDOW = 512, // words; every random window is shorter
  ROUNDS = 200
};

// A layer with its own small memories, at the bottom of the device's.
typedef struct {
  const bl_config *config;
  bl_descriptor layer;
  uint64_t weights[WEIGHTS][MAX_COLS];
  bl_param params[TILES][MAX_COLS];
  bl_k k[ENTRIES];
  bl_pass passes[TILES * PASSES];
  bl_tile tiles[TILES];
  uint8_t tables[TABLES * BL_CONTRACT_TABLE_ENTRIES];
  uint8_t codes_planes; // 0: no weights were loaded as codes
  uint8_t codebook[BL_CONTRACT_CODEBOOK_BYTES], codes[4 * 64 / 2 * MAX_COLS];
  uint32_t code_words, code_stride, code_address;
  uint64_t *act; // [act_depth]
  uint32_t signature;
} scene;

// ---- The window: which lanes of which words are filled, and with what

typedef struct {
  uint64_t word[8][WINDOW]; // [plane's window; one unless planes lie on rows]
  uint64_t filled[WINDOW];
} window;

typedef struct {
  const scene *s;
  int64_t n, y0, x0;
  uint32_t m;
} place;

// A word of the input as the layer sees it, padding included.
static uint64_t input_word(const place *p, int64_t y, int64_t x, uint32_t cw, uint32_t i) {
  const bl_descriptor *d = &p->s->layer;
  if (y >= 0 && y < d->in_h && x >= 0 && x < d->in_w)
    return p->s->act[d->in_base + p->n * d->in_image_stride + (y >> d->in_up) * d->in_row_stride +
                     (x >> d->in_up) * d->in_pixel_stride + cw * d->in_planes + i];
  if ((d->pad_value >> i & 1) == 0) return 0;
  return ones(cw + 1u == d->in_words ? d->in_last_lanes : p->s->config->lanes);
}

static void put(window *w, uint32_t plane, uint32_t index, uint32_t lane, uint64_t bits,
                uint32_t width) {
  assert_true(index < WINDOW);
  w->word[plane][index] |= (bits & ones(width)) << lane;
  w->filled[index] |= ones(width) << lane;
}

// Packed, also with planes on rows. Everything in the words that the taps reach is filled.
static void pack_word(const place *p, uint32_t t, uint32_t cw, uint32_t i, uint64_t word,
                      window *w) {
  const bl_descriptor *d = &p->s->layer;
  const uint32_t word_bytes = p->s->config->lanes / 8;
  const uint32_t bytes = (d->in_words - 1u) * word_bytes + d->in_last_bytes;
  const uint32_t here = cw + 1u == d->in_words ? d->in_last_bytes : word_bytes;
  for (uint32_t b = 0; b < here; b++) {
    uint32_t at = t * bytes + cw * word_bytes + b, index = at / word_bytes;
    if (d->gather_mode == PACKED) index = index * d->in_planes + i;
    put(w, d->gather_mode == PACKED ? 0 : i, index, at % word_bytes * 8, word >> (8 * b), 8);
    w->filled[index] = ones(p->s->config->lanes);
  }
}

static void rotate_word(const place *p, uint32_t t, uint32_t cw, uint32_t i, uint64_t word,
                        window *w) {
  const bl_descriptor *d = &p->s->layer;
  const uint32_t cols = p->s->config->cols, slots = p->s->config->lanes / cols;
  for (uint32_t g = 0; g < slots; g++) {
    uint32_t u = t + g;
    uint32_t index = (u / slots * d->in_planes + cw * d->group_stride + i) * slots + g;
    put(w, 0, index, u % slots * cols, word >> (g * cols), cols);
  }
}

static uint32_t second_address(const bl_descriptor *d, uint32_t m) {
  uint32_t row = m / d->out_w;
  return d->res_base + (m - row) * d->res_pixel_stride + row * d->res_row_step;
}

static void fill_window(const place *p, window *w) {
  const bl_descriptor *d = &p->s->layer;
  memset(w, 0, sizeof *w);
  for (uint32_t ky = 0; ky < d->kernel_h; ky++)
    for (uint32_t kx = 0; kx < d->kernel_w; kx++)
      for (uint32_t cw = 0; cw < d->in_words; cw++)
        for (uint32_t i = 0; i < d->in_planes; i++) {
          uint64_t word =
              input_word(p, p->y0 + ky * d->dilation_h, p->x0 + kx * d->dilation_w, cw, i);
          if (d->gather_mode == ROTATED)
            rotate_word(p, ky * d->kernel_w + kx, cw, i, word, w);
          else
            pack_word(p, ky * d->kernel_w + kx, cw, i, word, w);
        }
  for (uint32_t cw = 0; d->res_planes > 0 && cw < d->res_words; cw++)
    for (uint32_t i = 0; i < d->res_planes; i++) {
      uint32_t k = cw * d->res_planes + i;
      put(w, 0, d->res_offset + k, 0, p->s->act[second_address(d, p->m) + k], p->s->config->lanes);
    }
}

// ---- Random layers

static void random_gather(bl_descriptor *d, const bl_config *c) {
  d->gather_mode = (uint8_t)pick(PACKED, ON_ROWS);
  d->in_planes = (uint8_t)pick(1, d->gather_mode == ON_ROWS && c->rows < 4 ? c->rows : 4);
  d->in_last_lanes = (uint8_t)pick(1, c->lanes);
  d->in_last_bytes = (uint8_t)pick(1, c->lanes / 8);
  d->in_up = chance(3);
  d->in_signed = chance(2);
  d->in_h = (uint16_t)(pick(1, 5) << d->in_up);
  d->in_w = (uint16_t)(pick(1, 5) << d->in_up);
  d->in_words = (uint16_t)pick(1, 2);
  d->pad_value = (uint8_t)next_random();
  d->in_pixel_stride = (uint16_t)(d->in_words * d->in_planes + pick(0, 1));
  d->in_row_stride = (uint16_t)(d->in_pixel_stride * ((uint32_t)d->in_w >> d->in_up) + pick(0, 2));
  d->in_image_stride = (uint16_t)(d->in_row_stride * ((uint32_t)d->in_h >> d->in_up) + pick(0, 2));
  d->images = (uint16_t)pick(1, 2);
  d->in_base = (uint16_t)pick(0, 9);
  d->kernel_h = (uint16_t)pick(1, 3);
  d->kernel_w = (uint16_t)pick(1, 3);
  uint32_t slots = c->lanes / c->cols, taps = (uint32_t)d->kernel_h * d->kernel_w;
  uint32_t words = (taps + slots - 1 + slots - 1) / slots;
  d->group_stride = (uint16_t)(words * d->in_planes + pick(0, 3));
}

static void random_geometry(bl_descriptor *d) {
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

// Input, second source and output lie one behind the other.
static void random_output(bl_descriptor *d, const bl_config *c) {
  uint32_t slots = c->lanes / c->cols;
  d->out_h = (uint16_t)pick(1, 4);
  d->out_w = (uint16_t)pick(1, 4);
  d->tiles = (uint16_t)pick(1, TILES);
  d->out_planes = (uint8_t)pick(1, 8);
  d->out_slot = (uint8_t)pick(0, slots - 1);
  uint32_t words = ((uint32_t)d->out_slot + d->tiles + slots - 1) / slots, pixels = 2 * 4 * 4;
  d->out_pixel_stride = (uint16_t)(words * d->out_planes + pick(0, 2));
  d->res_base = (uint16_t)(d->in_base + (uint32_t)d->images * d->in_image_stride + pick(0, 3));
  d->res_pixel_stride = (uint16_t)pick(0, 8);
  d->res_row_step = (uint16_t)pick(0, 12);
  if (d->gather_mode == 0 && !chance(3)) {
    d->res_planes = (uint8_t)pick(1, 4);
    d->res_words = (uint16_t)pick(1, 2);
  }
  d->out_base = (uint16_t)(d->res_base + pixels * 12 + 8 + pick(0, 3));
  d->out_signed = (uint8_t)pick(0, 1);
  d->out_keep = (uint8_t)pick(0, 1);
  d->out_wrap = chance(4);
  d->out_table = (uint8_t)(chance(3) ? pick(1, TABLES) : 0);
  d->out_last_cols = (uint8_t)pick(1, c->cols);
  d->out_lo = (int16_t)((int32_t)pick(0, 200) - 150);
  d->out_hi = (int16_t)(d->out_lo + (int32_t)pick(0, 250));
  d->out_offset = (int16_t)((int32_t)pick(0, 200) - 100);
}

// An index whose word, `reach` further, is filled; and what of that word is.
static uint32_t random_index(const window *w, uint32_t used, uint32_t reach, uint64_t *filled) {
  for (;;) {
    uint32_t index = pick(reach, used > reach ? used - 1 : reach);
    *filled = w->filled[index];
    if (*filled != 0) return index - reach;
    if (reach >= used) return 0;
  }
}

// Entries of a pass; its weights are zero in lanes that the words do not fill, and sums are only
// taken where they fill everything.
static void random_entries(scene *s, const window *w, uint32_t used, bl_pass *pass, uint32_t base) {
  const uint32_t slots = s->config->lanes / s->config->cols;
  const uint32_t reach = pass->plane * (s->layer.gather_mode == ROTATED ? slots : 1);
  if (reach >= used) pass->count = 0;
  for (uint32_t e = 0; e < pass->count; e++) {
    uint64_t filled;
    s->k[pass->k_offset + e].address = (uint16_t)random_index(w, used, reach, &filled);
    if (filled != ones(s->config->lanes)) pass->sum = 0;
    for (uint32_t c = 0; c < s->config->cols; c++)
      s->weights[base + pass->weight_offset + e][c] &= filled;
  }
}

static void random_lists(scene *s) {
  bl_descriptor *d = &s->layer;
  window w;
  uint32_t used = WINDOW;
  d->res_offset = 0;
  const uint8_t second = d->res_planes;
  const place corner = {.s = s};
  d->res_planes = 0;
  fill_window(&corner, &w);
  while (w.filled[used - 1] == 0)
    used--;
  d->res_planes = second;
  d->res_offset = (uint16_t)(used + pick(0, 3));
  fill_window(&corner, &w);
  if (second > 0) used = d->res_offset + (uint32_t)d->res_words * second;
  for (uint32_t t = 0; t < TILES; t++) {
    s->tiles[t] = (bl_tile){.weight_base = (uint16_t)pick(0, 20),
                            .k_base = 0,
                            .pass_base = (uint16_t)(t * PASSES),
                            .pass_last = (uint16_t)pick(0, PASSES - 1),
                            .post = (uint8_t)pick(0, 2)};
    for (uint32_t p = 0; p < PASSES; p++) {
      bl_pass *pass = &s->passes[t * PASSES + p];
      *pass = (bl_pass){.weight_offset = (uint16_t)pick(0, 20),
                        .k_offset = (uint16_t)((t * PASSES + p) * COUNT),
                        .count = (uint16_t)pick(0, COUNT),
                        .plane = (uint8_t)pick(0, d->in_planes - 1u),
                        .shift = (uint8_t)pick(0, 1),
                        .neg = chance(4),
                        .sum = (uint8_t)pick(0, 1)};
      random_entries(s, &w, used, pass, s->tiles[t].weight_base);
    }
  }
}

// Some weight words, in all columns, come as codes into a codebook.
static void random_codes(scene *s) {
  const bl_config *c = s->config;
  s->codes_planes = chance(2) ? (uint8_t)pick(1, 255) : 0;
  if (s->codes_planes == 0) return;
  uint32_t planes = (uint32_t)__builtin_popcount(s->codes_planes);
  s->code_words = pick(1, 4);
  s->code_stride = pick(s->code_words, 6);
  s->code_address = pick(0, 10);
  for (uint32_t i = 0; i < BL_CONTRACT_CODEBOOK_BYTES; i++)
    s->codebook[i] = (uint8_t)next_random();
  assert_true(s->code_address + (planes - 1) * s->code_stride + s->code_words <= WEIGHTS);
  for (uint32_t k = 0; k < s->code_words * c->cols; k++)
    for (uint32_t lane = 0, rank = 0; lane < c->lanes; lane++, rank = 0) {
      uint32_t code = pick(0, 15);
      s->codes[(k * c->lanes + lane) / 2] &= (uint8_t)(lane % 2 == 0 ? 0 : 15);
      s->codes[(k * c->lanes + lane) / 2] |= (uint8_t)(code << (lane % 2 * 4));
      for (uint32_t bit = 0; bit < 8; bit++) {
        if ((s->codes_planes >> bit & 1) == 0) continue;
        uint64_t *word =
            &s->weights[s->code_address + rank++ * s->code_stride + k / c->cols][k % c->cols];
        *word &= ~((uint64_t)1 << lane);
        *word |= (uint64_t)(s->codebook[code] >> bit & 1) << lane;
      }
    }
}

static void random_scene(scene *s, const bl_config *c) {
  s->config = c;
  s->layer = (bl_descriptor){0};
  random_gather(&s->layer, c);
  random_geometry(&s->layer);
  random_output(&s->layer, c);
  for (uint32_t a = 0; a < c->act_depth; a++)
    s->act[a] = random_word(c->lanes);
  for (int a = 0; a < WEIGHTS; a++)
    for (uint32_t n = 0; n < c->cols; n++)
      s->weights[a][n] = random_word(c->lanes);
  for (int t = 0; t < TILES; t++)
    for (uint32_t n = 0; n < c->cols; n++) {
      int32_t mult = (int32_t)pick(1 << 15, (1 << 16) - 1);
      uint8_t shift = (uint8_t)(chance(8) ? pick(1, 47) : pick(14, 22));
      int64_t bias = ((int64_t)next_random() % 200 - 100) * 32768;
      s->params[t][n] = (bl_param){chance(4) ? -mult : mult, bias, shift};
    }
  for (size_t i = 0; i < sizeof s->tables; i++)
    s->tables[i] = (uint8_t)next_random();
  s->codes_planes = 0;
  if (s->layer.gather_mode != ROTATED) random_codes(s); // whose weights must keep their zeros
  random_lists(s);
}

// ---- The model

static int64_t wrap(const scene *s, int64_t value) {
  return (int64_t)((uint64_t)value << (64 - s->config->acc_w)) >> (64 - s->config->acc_w);
}

// From the window of one plane, or from the one window.
static int64_t accumulate(const scene *s, const uint64_t *words, uint32_t t, uint32_t c) {
  const bl_tile *tile = &s->tiles[t];
  const uint32_t slots = s->config->lanes / s->config->cols;
  const uint32_t f = s->layer.gather_mode == ROTATED ? slots : 1;
  int64_t p = 0, sum = 0;
  for (uint32_t k = 0; k <= tile->pass_last; k++) {
    const bl_pass *pass = &s->passes[tile->pass_base + k];
    if (pass->shift) {
      p *= 2;
      sum *= 2;
    }
    for (uint32_t e = 0; e < pass->count; e++) {
      uint64_t a = words[s->k[tile->k_base + pass->k_offset + e].address + pass->plane * f];
      uint64_t w = s->weights[tile->weight_base + pass->weight_offset + e][c];
      int sign = pass->neg ? -1 : 1;
      p += sign * __builtin_popcountll(a & w);
      if (pass->sum) sum += sign * __builtin_popcountll(a);
    }
  }
  int64_t scale = (int64_t)1 << tile->post, halved = wrap(s, sum) * scale;
  halved = (halved - (halved & 1)) / 2; // rounds down
  return wrap(s, p * scale - halved);
}

static int64_t accumulate_all(const scene *s, const window *w, uint32_t t, uint32_t c) {
  const bl_descriptor *d = &s->layer;
  if (d->gather_mode != ON_ROWS) return accumulate(s, w->word[0], t, c);
  int64_t acc = 0;
  for (uint32_t i = 0; i < d->in_planes; i++) {
    int64_t plane = accumulate(s, w->word[i], t, c) * ((int64_t)1 << i);
    acc += d->in_signed && i + 1u == d->in_planes ? -plane : plane;
  }
  return wrap(s, acc);
}

static uint8_t code_of(const scene *s, int64_t acc, uint32_t t, uint32_t c) {
  const bl_descriptor *d = &s->layer;
  const bl_param *param = &s->params[t][c];
  int64_t v = (acc * param->mult + param->bias) >> param->shift;
  if (!d->out_wrap) {
    v = v < d->out_lo ? d->out_lo : v > d->out_hi ? d->out_hi : v;
    v += d->out_offset;
  }
  uint8_t y = (uint8_t)v;
  return d->out_table > 0 ? s->tables[(d->out_table - 1) * BL_CONTRACT_TABLE_ENTRIES + y] : y;
}

// The codes of one pixel under one pooling offset join the largest so far.
static void pool_in(const scene *s, const window *w, bool first, int best[TILES][MAX_COLS]) {
  const bl_descriptor *d = &s->layer;
  for (uint32_t t = 0; t < d->tiles; t++)
    for (uint32_t c = 0; c < s->config->cols; c++) {
      uint8_t code = code_of(s, accumulate_all(s, w, t, c), t, c);
      int value = d->out_signed ? (int8_t)code : code;
      if (first || value > best[t][c]) best[t][c] = value;
    }
}

static void pooled(const scene *s, uint32_t m, uint8_t codes[TILES][MAX_COLS]) {
  const bl_descriptor *d = &s->layer;
  int64_t ox = m % d->out_w, oy = m / d->out_w % d->out_h, n = m / d->out_w / d->out_h;
  int best[TILES][MAX_COLS] = {{0}};
  bool first = true;
  for (int64_t py = 0; py < d->pool_h; py++)
    for (int64_t px = 0; px < d->pool_w; px++) {
      window w;
      int64_t y0 = oy * d->step_h + py * d->stride_h - d->origin_h;
      int64_t x0 = ox * d->step_w + px * d->stride_w - d->origin_w;
      if (y0 < -(int64_t)d->pad_top || y0 >= d->conv_end_h || x0 < -(int64_t)d->pad_left ||
          x0 >= d->conv_end_w)
        continue;
      const place at = {s, n, y0, x0, m};
      fill_window(&at, &w);
      pool_in(s, &w, first, best);
      first = false;
    }
  for (uint32_t t = 0; t < d->tiles; t++)
    for (uint32_t c = 0; c < s->config->cols; c++)
      codes[t][c] = (uint8_t)(t + 1u == d->tiles && c >= d->out_last_cols ? 0 : best[t][c]);
}

static void write_word(scene *s, uint32_t address, uint64_t written, uint64_t kept) {
  uint8_t text[12] = {(uint8_t)address, (uint8_t)(address >> 8), (uint8_t)(address >> 16),
                      (uint8_t)(address >> 24)};
  for (uint32_t b = 0; b < s->config->lanes / 8; b++)
    text[4 + b] = (uint8_t)(written >> (8 * b));
  s->act[address] = (s->act[address] & kept) | written;
  s->signature += (uint32_t)crc32_z(0, text, 4 + s->config->lanes / 8);
}

static void write_pixel(scene *s, uint32_t m, uint8_t codes[TILES][MAX_COLS]) {
  const bl_descriptor *d = &s->layer;
  uint32_t cols = s->config->cols, slots = s->config->lanes / cols;
  uint32_t last = d->out_slot + d->tiles - 1u;
  for (uint32_t word = 0; word <= last / slots; word++)
    for (uint32_t i = 0; i < d->out_planes; i++) {
      uint64_t value = 0, kept = word == 0 ? ones(d->out_slot * cols) : 0;
      if (d->out_keep && word == last / slots)
        kept |= ones(s->config->lanes) & ~ones((last % slots + 1) * cols);
      for (uint32_t t = 0; t < d->tiles; t++)
        for (uint32_t c = 0; c < cols; c++)
          if ((d->out_slot + t) / slots == word)
            value |= (uint64_t)(codes[t][c] >> i & 1) << ((d->out_slot + t) % slots * cols + c);
      write_word(s, d->out_base + m * d->out_pixel_stride + word * d->out_planes + i, value, kept);
    }
}

static void model_run(scene *s) {
  const bl_descriptor *d = &s->layer;
  s->signature = 0;
  for (uint32_t m = 0; m < (uint32_t)d->images * d->out_h * d->out_w; m++) {
    uint8_t codes[TILES][MAX_COLS];
    pooled(s, m, codes);
    write_pixel(s, m, codes);
  }
}

// ---- Through the driver

static uint8_t bytes[1 << 20];

static void load_weights(setup *u, const scene *s) {
  const bl_config *c = s->config;
  uint32_t unit = c->lanes / 8;
  size_t used = 0;
  uint64_t spoilt = s->codes_planes != 0 ? UINT64_MAX : 0; // what the codes put right
  for (uint32_t a = 0; a < WEIGHTS; a++)
    for (uint32_t n = 0; n < c->cols; n++, used += unit) {
      bool coded = false;
      for (uint32_t r = 0; r < (uint32_t)__builtin_popcount(s->codes_planes); r++)
        coded = coded || (a >= s->code_address + r * s->code_stride &&
                          a < s->code_address + r * s->code_stride + s->code_words);
      uint64_t word = s->weights[a][n] ^ (coded ? spoilt : 0);
      memcpy(bytes + used, &word, unit);
    }
  load(u, BL_OP_LOAD_WEIGHTS, c->cols, bytes, used);
  if (s->codes_planes == 0) return;
  memcpy(bytes, s->codebook, sizeof s->codebook);
  used = (size_t)s->code_words * c->cols * c->lanes / 2;
  memcpy(bytes + sizeof s->codebook, s->codes, used);
  load_at(u, BL_OP_LOAD_CODES, s->code_address,
          c->cols << 24 | (uint32_t)s->codes_planes << 16 | s->code_stride, bytes,
          sizeof s->codebook + used);
}

static void load_lists(setup *u, const scene *s) {
  const bl_config *c = s->config;
  uint32_t words[4];
  size_t used = 0;
  for (int t = 0; t < TILES; t++)
    for (uint32_t n = 0; n < c->cols; n++, used += BL_CONTRACT_PARAM_BYTES) {
      assert_true(bl_param_pack(&s->params[t][n], words));
      memcpy(bytes + used, words, BL_CONTRACT_PARAM_BYTES);
    }
  load(u, BL_OP_LOAD_PARAMS, c->cols, bytes, used);
  for (size_t i = 0; i < ENTRIES; i++)
    memcpy(bytes + 2 * i, &s->k[i].address, 2);
  load(u, BL_OP_LOAD_K_LIST, 0, bytes, sizeof(uint16_t) * ENTRIES);
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
  load(u, BL_OP_LOAD_TABLES, 0, s->tables, sizeof s->tables);
}

static void load_scene(setup *u, const scene *s) {
  const bl_config *c = s->config;
  uint32_t unit = c->lanes / 8;
  load_weights(u, s);
  load_lists(u, s);
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
    fail_msg("%s: %s, info %x", bl_driver_result_text(result),
             bl_driver_status_text(u->driver.failure.status), u->driver.failure.info);
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
      fail_msg("%s, %s, gather mode %u: activation word %u differs", s->config->name, popcount,
               s->layer.gather_mode, a);
  assert_int_equal(u->last.signature, s->signature);
  free(words);
}

static const bl_popcount popcounts[] = {BL_POPCOUNT_BEST, BL_POPCOUNT_PLAIN, BL_POPCOUNT_AVX2,
                                        BL_POPCOUNT_AVX512};

static void random_layers(void **state) {
  (void)state;
  static scene s;
  for (int kind = 0; kind < BL_CONFIG_COUNT; kind++) {
    const bl_config *c = &BL_CONFIGS[kind];
    setup u;
    s.act = calloc(c->act_depth, sizeof *s.act);
    assert_non_null(s.act);
    for (int p = 0; p < 4; p++) {
      if (!open_device(&u, c, popcounts[p])) {
        printf("%s: this machine lacks popcount %d\n", c->name, p);
        continue;
      }
      const char *name = bl_functional_popcount(u.device);
      uint32_t modes[3] = {0}, seconds = 0, coded = 0;
      for (int round = 0; round < ROUNDS; round++) {
        random_scene(&s, c);
        load_scene(&u, &s);
        run_layer(&u, &s.layer);
        model_run(&s);
        compare_memory(&u, &s, name);
        modes[s.layer.gather_mode]++;
        seconds += s.layer.res_planes > 0;
        coded += s.codes_planes > 0;
      }
      printf("%s, %s: %u packed, %u rotated, %u with planes on rows; %u with a second source, %u "
             "with codes\n",
             c->name, name, modes[0], modes[1], modes[2], seconds, coded);
      bl_functional_close(u.device);
    }
    free(s.act);
  }
}

int main(void) {
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu (repeat with BITLOOM_SEED)\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_layers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
