// SPDX-License-Identifier: Apache-2.0
// The gather alone: random layers; after every fill each valid row must hold its window, worked out
// byte by byte from the contract, and the activation memory must have been read once for each word
// in the union of a segment's windows, and for the second source. Halves are given back at random.
// VERILATE all: -GACT_DEPTH=4096 -GROW_DEPTH=256
// VERILATE tiny: -GGATHER_WORDS=1 -GROWS=2 -GCOLS=8 -GLANES=16
// VERILATE default: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=8 -GLANES=32
// VERILATE wide: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=16 -GLANES=64
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

enum { BYTES = LANES / 8, SLOTS = LANES / COLS, PACKED = 0, ROTATED = 1, SPREAD = 2 };

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  bl_descriptor layer;
  uint64_t memory[ACT_DEPTH], read_data[GATHER_WORDS];
  uint8_t row[2][ROWS][ROW_DEPTH][BYTES];  // the row buffers as written
  bool written[2][ROWS][ROW_DEPTH][BYTES]; // ... since the half was handed out
  unsigned layers, half, outstanding;      // halves full and not yet given back
  unsigned reads, words, cycles;
  unsigned given, given_cycle[2]; // halves given back in this layer, and when each last was
} test;

static uint64_t lanes_mask(unsigned lanes) {
  return lanes >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << lanes) - 1;
}

// What a row buffer does with a write (its own bench shows that it does).
static void write_row(test *t, unsigned r, unsigned k) {
  dut_ports *p = &t->p;
  const uint8_t *data = (const uint8_t *)p->fill_data_o + k * BYTES;
  uint32_t shifts = 0;
  memcpy(&shifts, p->fill_shift_o, ROWS / 2);
  unsigned half = *p->fill_half_o, shift = shifts >> (r * 4) & 15;
  for (unsigned from = 0; from < BYTES; from++) {
    bool wraps = from + shift >= BYTES;
    if (*p->fill_flush_o ? wraps : (*p->fill_bytes_o >> from & 1) == 0) continue;
    unsigned word = (unsigned)bench_get(wraps ? p->fill_next_o : p->fill_addr_o, r * 16, 16);
    if (*p->fill_rotated_o) word = word * SLOTS + from / (COLS / 8);
    if (*p->fill_rotated_o)
      word += k * SLOTS;
    else
      word += k;
    if (word >= ROW_DEPTH) continue; // a fault follows
    unsigned to = (from + shift) % BYTES;
    t->row[half][r][word][to] = data[from];
    t->written[half][r][word][to] = true;
  }
}

static void take_writes(test *t) {
  dut_ports *p = &t->p;
  for (unsigned i = 0; i < ROWS * GATHER_WORDS; i++)
    if ((*p->fill_we_o >> i) & 1u) {
      unsigned half = *p->fill_half_o, r = i / GATHER_WORDS, k = i % GATHER_WORDS;
      // the second word goes behind the first, which lies at an even address
      if (k > 0) BENCH_EQUAL(&t->b, "pair", t->layers, 1, *p->fill_pair_o);
      if (*p->fill_pair_o)
        BENCH_EQUAL(&t->b, "pair at an even address", t->layers, 0,
                    bench_get(p->fill_addr_o, r * 16, 16) & 1);
      BENCH_EQUAL(&t->b, "half written", t->layers, t->half, half);
      BENCH_EQUAL(&t->b, "write while both halves are full", t->layers, 1, t->outstanding < 2);
      // a row may still read for as many cycles as its number
      BENCH_EQUAL(&t->b, "write after the row's last read", t->layers, 1,
                  t->cycles > t->given_cycle[half] + r);
      write_row(t, r, k);
    }
}

// One cycle; the fill_* outputs stay readable when it reports a finished fill.
static bool tick(test *t) {
  dut_ports *p = &t->p;
  *p->clk_i = 0;
  for (unsigned k = 0; k < GATHER_WORDS; k++)
    memcpy((uint8_t *)p->act_rdata_i + k * BYTES, &t->read_data[k], BYTES);
  dut_eval(t->d);
  bool done = *p->fill_done_o;
  take_writes(t);
  for (unsigned k = 0; k < GATHER_WORDS; k++) {
    unsigned address = (*p->act_raddr_o + k) & 0xFFFF;
    if (((*p->act_re_o >> k) & 1u) == 0) continue;
    BENCH_EQUAL(&t->b, "read inside the memory", t->layers, 1, address < ACT_DEPTH);
    t->read_data[k] = t->memory[address % ACT_DEPTH];
    t->reads++;
  }
  if (*p->act_re_o == 1) t->read_data[GATHER_WORDS - 1] = t->read_data[0];
  t->cycles++;
  if (done) return true; // the caller looks at the outputs, then clocks
  *p->clk_i = 1;
  dut_eval(t->d);
  return false;
}

static void clock_edge(test *t) {
  *t->p.clk_i = 1;
  dut_eval(t->d);
}

// A cycle whose outputs nobody looks at: under reset.
static void idle_cycle(test *t) {
  *t->p.clk_i = 0;
  dut_eval(t->d);
  clock_edge(t);
}

// ---- What a fill must be -----------------------------------------------------------------------

typedef struct {
  bool live, valid;
  unsigned n;
  int y0, x0;
} pixel;

static pixel pixel_at(const test *t, unsigned m, unsigned py, unsigned px) {
  const bl_descriptor *l = &t->layer;
  pixel q = {.live = m < (unsigned)l->images * l->out_h * l->out_w};
  if (!q.live) return q;
  q.n = m / l->out_w / l->out_h;
  q.y0 = (int)(m / l->out_w % l->out_h * l->step_h + py * l->stride_h) - l->origin_h;
  q.x0 = (int)(m % l->out_w * l->step_w + px * l->stride_w) - l->origin_w;
  q.valid =
      q.y0 >= -l->pad_top && q.y0 < l->conv_end_h && q.x0 >= -l->pad_left && q.x0 < l->conv_end_w;
  return q;
}

static bool in_map(const bl_descriptor *l, int y, int x) {
  return y >= 0 && y < l->in_h && x >= 0 && x < l->in_w;
}

static uint64_t input_word(const test *t, const pixel *q, unsigned tap, unsigned cw, unsigned i) {
  const bl_descriptor *l = &t->layer;
  int y = q->y0 + (int)(tap / l->kernel_w) * l->dilation_h;
  int x = q->x0 + (int)(tap % l->kernel_w) * l->dilation_w;
  unsigned lanes = cw + 1u == l->in_words ? l->in_last_lanes : LANES;
  if (!in_map(l, y, x)) return (l->pad_value >> i) & 1 ? lanes_mask(lanes) : 0;
  return t->memory[l->in_base + q->n * l->in_image_stride +
                   (unsigned)(y >> l->in_up) * l->in_row_stride +
                   (unsigned)(x >> l->in_up) * l->in_pixel_stride + cw * l->in_planes + i];
}

static void expect_byte(test *t, unsigned r, unsigned word, unsigned place, uint8_t value) {
  bench_check(&t->b, t->written[t->half][r][word][place], "byte written", word, 1, 0);
  BENCH_EQUAL(&t->b, "byte", word * BYTES + place, value, t->row[t->half][r][word][place]);
}

static unsigned tap_bytes(const bl_descriptor *l) {
  return (l->in_words - 1u) * BYTES + l->in_last_bytes;
}

static void check_packed(test *t, unsigned r, const pixel *q, unsigned tap, unsigned i) {
  const bl_descriptor *l = &t->layer;
  for (unsigned b = 0; b < tap_bytes(l); b++) {
    unsigned at = tap * tap_bytes(l) + b;
    uint64_t word = input_word(t, q, tap, b / BYTES, i);
    uint8_t byte = (uint8_t)(word >> (b % BYTES * 8));
    if (l->gather_mode == SPREAD)
      expect_byte(t, i, at / BYTES, at % BYTES, byte);
    else
      expect_byte(t, r, at / BYTES * l->in_planes + i, at % BYTES, byte);
  }
}

static void check_rotated(test *t, unsigned r, const pixel *q, unsigned tap, unsigned i) {
  const bl_descriptor *l = &t->layer;
  for (unsigned cw = 0; cw < l->in_words; cw++)
    for (unsigned b = 0; b < BYTES; b++) {
      unsigned group = b / (COLS / 8), slot = tap + group;
      unsigned word = (slot / SLOTS * l->in_planes + cw * l->group_stride + i) * SLOTS + group;
      unsigned place = slot % SLOTS * (COLS / 8) + b % (COLS / 8);
      expect_byte(t, r, word, place, (uint8_t)(input_word(t, q, tap, cw, i) >> (8 * b)));
    }
}

static unsigned second_address(const bl_descriptor *l, unsigned m) {
  unsigned row = m / l->out_w;
  return l->res_base + (m - row) * l->res_pixel_stride + row * l->res_row_step;
}

static void check_rest(test *t, unsigned r, unsigned m) {
  const bl_descriptor *l = &t->layer;
  unsigned bytes = (unsigned)l->kernel_h * l->kernel_w * tap_bytes(l);
  for (unsigned i = 0; i < l->in_planes && l->gather_mode != ROTATED; i++)
    for (unsigned at = bytes; at % BYTES != 0; at++) {
      bool spread = l->gather_mode == SPREAD;
      expect_byte(t, spread ? i : r, spread ? at / BYTES : at / BYTES * l->in_planes + i,
                  at % BYTES, 0);
    }
  for (unsigned k = 0; k < (unsigned)l->res_words * l->res_planes; k++)
    for (unsigned b = 0; b < BYTES; b++)
      expect_byte(t, r, l->res_offset + k, b,
                  (uint8_t)(t->memory[second_address(l, m) + k] >> (8 * b)));
}

// The row's window as the contract has it.
static void check_row(test *t, unsigned r, unsigned m, const pixel *q) {
  const bl_descriptor *l = &t->layer;
  for (unsigned tap = 0; tap < (unsigned)l->kernel_h * l->kernel_w; tap++)
    for (unsigned i = 0; i < l->in_planes; i++)
      if (l->gather_mode == ROTATED)
        check_rotated(t, r, q, tap, i);
      else
        check_packed(t, r, q, tap, i);
  check_rest(t, r, m);
}

static bool in_window(const bl_descriptor *l, const pixel *q, int x) {
  int reach = (l->kernel_w - 1) * l->dilation_w;
  return x >= q->x0 && x - q->x0 <= reach && (x - q->x0) % l->dilation_w == 0;
}

// Words in the union of the windows of rows that share an image row; `valid`: of valid rows only.
static unsigned union_words(const test *t, const pixel *pixels, bool valid) {
  const bl_descriptor *l = &t->layer;
  unsigned positions = 0, rows = 0;
  for (unsigned r = 0; r < ROWS; r++)
    rows += pixels[r].live;
  for (unsigned first = 0, end; first < ROWS; first = end) {
    for (end = first + 1; end < ROWS; end++)
      if (pixels[end].n != pixels[first].n || pixels[end].y0 != pixels[first].y0) break;
    for (int ky = 0; ky < l->kernel_h; ky++)
      for (int x = 0; x < l->in_w; x++) {
        bool wanted = false;
        for (unsigned r = first; r < end; r++)
          wanted |= pixels[r].live && (pixels[r].valid || !valid) && in_window(l, &pixels[r], x);
        positions += wanted && in_map(l, pixels[first].y0 + ky * l->dilation_h, x);
      }
  }
  return positions * l->in_words * l->in_planes + rows * l->res_words * l->res_planes;
}

// Output pixels of a tile.
static unsigned tile_pixels(const bl_descriptor *l) {
  return l->gather_mode == SPREAD ? 1 : ROWS;
}

static void check_fill(test *t, unsigned m, unsigned offset) {
  const bl_descriptor *l = &t->layer;
  dut_ports *p = &t->p;
  unsigned offsets = (unsigned)l->pool_h * l->pool_w;
  unsigned pixels_out = (unsigned)l->images * l->out_h * l->out_w;
  pixel pixels[ROWS];
  for (unsigned r = 0; r < ROWS; r++) {
    pixels[r] = pixel_at(t, m + r, offset / l->pool_w, offset % l->pool_w);
    if (r >= tile_pixels(l)) pixels[r].live = false;
    BENCH_EQUAL(&t->b, "live", m + r, pixels[r].live, (*p->fill_live_o >> r) & 1);
    if (!pixels[r].live) continue;
    BENCH_EQUAL(&t->b, "valid", m + r, pixels[r].valid, (*p->fill_valid_o >> r) & 1);
    if (pixels[r].valid) check_row(t, r, m + r, &pixels[r]);
  }
  bool final = offset + 1 == offsets;
  BENCH_EQUAL(&t->b, "first offset", m, offset == 0, *p->fill_first_o);
  BENCH_EQUAL(&t->b, "final offset", m, final, *p->fill_final_o);
  BENCH_EQUAL(&t->b, "last fill", m, final && m + tile_pixels(l) >= pixels_out, *p->last_fill_o);
  unsigned most = union_words(t, pixels, false);
  bench_check(&t->b, t->reads <= most && t->reads >= union_words(t, pixels, true), "reads", m, most,
              t->reads);
  t->words += most;
}

// ---- Random layers -----------------------------------------------------------------------------

static void random_axis(bench *b, unsigned in, uint16_t *kernel, uint8_t *dilation, uint8_t *stride,
                        uint16_t *pad, uint16_t *pool, uint16_t *step, uint16_t *origin,
                        int32_t *end, uint16_t *out) {
  int conv, pooled, pool_stride, pool_pad;
  do {
    *kernel = (uint16_t)bench_range(b, 1, bench_chance(b, 10) ? 11 : 4);
    *dilation = (uint8_t)(bench_chance(b, 60) ? 1 : bench_range(b, 2, 5));
    *stride = (uint8_t)bench_range(b, 1, bench_chance(b, 50) ? 1 : 4);
    *pad = (uint16_t)bench_range(b, 0, *kernel);
    *pool = (uint16_t)bench_range(b, 1, bench_chance(b, 60) ? 1 : 3);
    pool_stride = (int)bench_range(b, 1, 3);
    pool_pad = (int)bench_range(b, 0, *pool - 1);
    conv = ((int)in + 2 * *pad - (*kernel - 1) * *dilation - 1) / *stride + 1;
    pooled = (conv + 2 * pool_pad - *pool) / pool_stride + 1;
  } while ((int)in + 2 * *pad < (*kernel - 1) * *dilation + 1 || conv + 2 * pool_pad < *pool);
  *out = (uint16_t)pooled;
  *step = (uint16_t)(*stride * pool_stride);
  *origin = (uint16_t)(*pad + *stride * pool_pad);
  *end = conv * *stride - *pad;
}

// Words that a window takes, the second source included; 0 where that is more than fits.
static unsigned window_words(const bl_descriptor *l) {
  unsigned taps = (unsigned)l->kernel_h * l->kernel_w;
  unsigned words = (taps * tap_bytes(l) + BYTES - 1) / BYTES * l->in_planes;
  if (l->gather_mode == SPREAD) words /= l->in_planes;
  if (l->gather_mode == ROTATED) words = l->in_words * (unsigned)l->group_stride * SLOTS;
  return words;
}

static void random_mode(test *t) {
  bench *b = &t->b;
  bl_descriptor *l = &t->layer;
  unsigned taps = (unsigned)l->kernel_h * l->kernel_w;
  l->gather_mode = (uint8_t)bench_range(b, 0, 2);
  if (l->gather_mode == SPREAD && l->in_planes > ROWS) l->gather_mode = PACKED;
  l->in_last_bytes = (uint8_t)(l->in_planes == 1 ? BYTES : bench_range(b, 1, BYTES));
  l->group_stride = (uint16_t)((taps + SLOTS - 1 + SLOTS - 1) / SLOTS * l->in_planes);
  if (l->gather_mode != PACKED || bench_chance(b, 40)) return;
  l->res_planes = (uint8_t)bench_range(b, 1, 8);
  l->res_words = (uint16_t)bench_range(b, 1, 3);
  l->res_offset = (uint16_t)window_words(l);
  l->res_pixel_stride = (uint16_t)(l->res_words * l->res_planes + bench_range(b, 0, 3));
  l->res_row_step = (uint16_t)(bench_chance(b, 40) ? l->res_pixel_stride : bench_range(b, 0, 99));
}

// Words from the second source's first to its last, of every pixel.
static unsigned second_words(const bl_descriptor *l) {
  unsigned pixels = (unsigned)l->images * l->out_h * l->out_w;
  if (l->res_planes == 0) return 0;
  return second_address(l, pixels - 1) - l->res_base + l->res_words * l->res_planes;
}

static bool fits(const bl_descriptor *l) {
  return window_words(l) + l->res_words * l->res_planes <= ROW_DEPTH &&
         (unsigned)l->images * l->in_image_stride <= ACT_DEPTH && second_words(l) <= ACT_DEPTH;
}

static void random_layer(test *t) {
  bench *b = &t->b;
  bl_descriptor *l = &t->layer;
  do {
    *l = (bl_descriptor){.out_planes = 1, .out_last_cols = 1, .tiles = 1, .out_pixel_stride = 1};
    l->in_h = (uint16_t)bench_range(b, 1, 9);
    l->in_w = (uint16_t)bench_range(b, 1, 20);
    l->in_up = bench_chance(b, 25);
    l->in_planes = (uint8_t)bench_range(b, 1, 8);
    l->in_words = (uint16_t)bench_range(b, 1, 3);
    l->images = (uint16_t)bench_range(b, 1, bench_chance(b, 50) ? 1 : 9);
    bool narrow = bench_chance(b, 30); // words in pairs, without planes
    if (narrow) l->in_planes = 1;
    l->in_pixel_stride =
        (uint16_t)(l->in_words * l->in_planes + (narrow ? 0 : bench_range(b, 0, 2)));
    l->in_row_stride = (uint16_t)(l->in_pixel_stride * l->in_w + bench_range(b, 0, 2));
    l->in_image_stride = (uint16_t)(l->in_row_stride * l->in_h + bench_range(b, 0, 2));
    random_axis(b, l->in_h, &l->kernel_h, &l->dilation_h, &l->stride_h, &l->pad_top, &l->pool_h,
                &l->step_h, &l->origin_h, &l->conv_end_h, &l->out_h);
    random_axis(b, l->in_w, &l->kernel_w, &l->dilation_w, &l->stride_w, &l->pad_left, &l->pool_w,
                &l->step_w, &l->origin_w, &l->conv_end_w, &l->out_w);
    random_mode(t);
  } while (!fits(l));
  l->in_base = (uint16_t)bench_range(b, 0, ACT_DEPTH - l->images * l->in_image_stride);
  l->res_base = (uint16_t)bench_range(b, 0, ACT_DEPTH - second_words(l));
  l->in_last_lanes = (uint8_t)bench_range(b, 1, LANES);
  l->pad_value = (uint8_t)bench_random(b);
}

static void start(test *t) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bench_check(&t->b, bl_descriptor_pack(&t->layer, words), "descriptor", t->layers, 1, 0);
  memcpy(t->p.desc_i, words, sizeof words);
  *t->p.half_release_i = 0;
  *t->p.layer_start_i = 1;
  (void)tick(t);
  *t->p.layer_start_i = 0;
  t->half = t->outstanding = t->reads = t->given = 0;
  t->given_cycle[0] = t->given_cycle[1] = t->cycles;
  memset(t->written, 0, sizeof t->written);
}

// Gives a half back in some cycles when there is one to give.
static void maybe_release(test *t, unsigned percent) {
  bool give = t->outstanding > 0 && bench_chance(&t->b, percent);
  *t->p.half_release_i = give;
  if (!give) return;
  t->outstanding--;
  t->given_cycle[t->given++ & 1] = t->cycles;
}

static void next_half(test *t) {
  clock_edge(t);
  t->half ^= 1;
  t->outstanding++;
  t->reads = 0;
  memset(t->written[t->half], 0, sizeof t->written[0]);
}

static void run_layer(test *t) {
  const bl_descriptor *l = &t->layer;
  unsigned pixels = (unsigned)l->images * l->out_h * l->out_w;
  unsigned offsets = (unsigned)l->pool_h * l->pool_w;
  unsigned percent = bench_chance(&t->b, 50) ? 100 : 3;
  start(t);
  for (unsigned m = 0; m < pixels; m += tile_pixels(l))
    for (unsigned offset = 0; offset < offsets; offset++) {
      bool done = false;
      for (unsigned wait = 0; !done && wait < 20000; wait++) {
        maybe_release(t, percent);
        done = tick(t);
      }
      BENCH_EQUAL(&t->b, "a fill ends", m, 1, done);
      if (!done) return;
      check_fill(t, m, offset);
      next_half(t);
    }
  *t->p.half_release_i = 0;
  for (unsigned i = 0; i < 50; i++)
    BENCH_EQUAL(&t->b, "quiet after the last fill", t->layers, 0, tick(t) || *t->p.act_re_o);
  BENCH_EQUAL(&t->b, "faults", t->layers, 0, *t->p.faults_o);
}

// One fault: an input beyond the memory, or a window longer than a half. Nothing is read beyond.
static void run_faulty(test *t) {
  bl_descriptor *l = &t->layer;
  bool window = bench_chance(&t->b, 50);
  if (window) {
    l->gather_mode = PACKED;
    l->in_words = (uint16_t)(ROW_DEPTH / (l->in_planes * l->kernel_h * l->kernel_w) + 2);
    l->in_pixel_stride = l->in_row_stride = l->in_image_stride = l->in_base = 0;
  } else {
    l->in_base = ACT_DEPTH;
    l->origin_h = l->origin_w = 0; // so that the first window reads the input
  }
  start(t);
  unsigned faults = 0;
  for (unsigned i = 0; i < 30000 && faults == 0; i++) {
    maybe_release(t, 100);
    if (tick(t)) next_half(t);
    faults = *t->p.faults_o;
  }
  BENCH_EQUAL(&t->b, "fault", window, window ? 2 : 1, faults);
  *t->p.rst_i = 1;
  idle_cycle(t);
  *t->p.rst_i = 0;
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_gather");
  t.d = dut_open(argc, argv, &t.p);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    t.memory[i] = ((uint64_t)bench_random(&t.b) << 32 | bench_random(&t.b)) & lanes_mask(LANES);
  *t.p.layer_start_i = *t.p.half_release_i = 0;
  *t.p.rst_i = 1;
  for (int i = 0; i < 3; i++)
    idle_cycle(&t);
  *t.p.rst_i = 0;
  for (t.layers = 0; t.layers < 300 && t.b.failures < 20; t.layers++) {
    random_layer(&t);
    run_layer(&t);
    if (t.layers % 10 == 9) run_faulty(&t);
  }
  (void)printf("%u layers, %u words in %u cycles\n", t.layers, t.words, t.cycles);
  dut_close(t.d);
  return bench_end(&t.b, "bench_gather");
}
