// SPDX-License-Identifier: Apache-2.0
// The range check of descriptors: each field at its limits and one beyond, everything else sound.
// VERILATE tiny: -GROWS=2 -GCOLS=8 -GLANES=16 -GTABLE_DEPTH=512
// VERILATE default: -GROWS=8 -GCOLS=8 -GLANES=32 -GTABLE_DEPTH=2048
// VERILATE wide: -GROWS=8 -GCOLS=16 -GLANES=64 -GTABLE_DEPTH=8192
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

enum { TABLES = TABLE_DEPTH / 256 };

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
} test;

static bl_descriptor sound(test *t) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bl_descriptor l;
  for (unsigned i = 0; i < BL_DESCRIPTOR_WORDS; i++)
    words[i] = bench_random(&t->b) | 0x01010101;
  bl_descriptor_unpack(words, &l); // whatever is not checked is random
  l.gather_mode = (uint8_t)bench_range(&t->b, 0, 2);
  l.in_planes = (uint8_t)bench_range(&t->b, 1, l.gather_mode == 2 && ROWS < 8 ? ROWS : 8);
  l.in_last_bytes = (uint8_t)bench_range(&t->b, 1, LANES / 8);
  l.res_planes = (uint8_t)bench_range(&t->b, 0, l.gather_mode > 0 ? 0 : 8);
  l.res_words = (uint16_t)bench_range(&t->b, l.res_planes > 0, 4095);
  l.out_table = (uint8_t)bench_range(&t->b, 0, TABLES < 15 ? TABLES : 15);
  l.out_planes = (uint8_t)bench_range(&t->b, 1, 8);
  l.in_last_lanes = (uint8_t)bench_range(&t->b, 1, LANES);
  l.out_last_cols = (uint8_t)bench_range(&t->b, 1, COLS);
  l.out_slot = (uint8_t)bench_range(&t->b, 0, LANES / COLS - 1);
  l.in_h = l.in_w = l.images = l.step_h = l.step_w = l.out_h = l.out_w = 3;
  l.in_words = l.kernel_h = l.kernel_w = l.pool_h = l.pool_w = l.tiles = 2;
  l.dilation_h = l.dilation_w = l.stride_h = l.stride_w = 1;
  l.out_pixel_stride = 1;
  return l;
}

static void check(test *t, const bl_descriptor *l, bool ok, int what) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  (void)bl_descriptor_pack(l, words);
  memcpy(t->p.desc_i, words, sizeof words);
  dut_eval(t->d);
  BENCH_EQUAL(&t->b, "ok", what, ok, *t->p.ok_o);
}

// Field `what` out of its range; false when there is no such field.
static bool spoil(bl_descriptor *l, int what) {
  uint16_t *const words[] = {
      &l->in_h,     &l->in_w,   &l->in_words, &l->images,          &l->kernel_h,
      &l->kernel_w, &l->step_h, &l->step_w,   &l->pool_h,          &l->pool_w,
      &l->out_h,    &l->out_w,  &l->tiles,    &l->out_pixel_stride};
  uint8_t *const bytes[] = {&l->dilation_h, &l->dilation_w,    &l->stride_h,   &l->stride_w,
                            &l->in_planes,  &l->in_last_lanes, &l->out_planes, &l->out_last_cols};
  if (what < 14) *words[what] = 0;
  if (what >= 14 && what < 22) *bytes[what - 14] = 0;
  if (what == 22) l->in_planes = 9;
  if (what == 23) l->out_planes = 9;
  if (what == 24) l->in_last_lanes = LANES + 1;
  if (what == 25) l->out_last_cols = COLS + 1;
  if (what == 26) l->out_slot = LANES / COLS;
  if (what == 27) l->in_last_bytes = 0;
  if (what == 28) l->in_last_bytes = LANES / 8 + 1;
  if (what == 29) l->gather_mode = 3;
  if (what == 30) l->gather_mode = 2, l->res_planes = 0, l->in_planes = ROWS + 1;
  if (what == 31) l->gather_mode = 2, l->in_planes = 1, l->res_planes = 1, l->res_words = 1;
  if (what == 32) l->gather_mode = 0, l->res_planes = 1, l->res_words = 0;
  if (what == 33) l->gather_mode = 1, l->res_planes = 1, l->res_words = 1;
  if (what == 34 && TABLES < 15) l->out_table = TABLES + 1;
  if (what == 34 && TABLES >= 15) l->in_h = 0; // every value is a table
  return what <= 34;
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_descriptor");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.check_i = 1;
  for (int i = 0; i < 500; i++) {
    bl_descriptor l = sound(&t);
    check(&t, &l, true, -1);
    for (int what = 0;; what++) {
      bl_descriptor bad = l;
      if (!spoil(&bad, what)) break;
      check(&t, &bad, false, what);
    }
  }
  dut_close(t.d);
  return bench_end(&t.b, "bench_descriptor");
}
