// SPDX-License-Identifier: Apache-2.0
// One processing element: random steps, bubbles and drains against the two rules of its header.
// VERILATE lanes16: -GLANES=16 -GACC_W=20 -GDRAINS=0
// VERILATE lanes32: -GLANES=32 -GACC_W=26 -GDRAINS=0
// VERILATE lanes64: -GLANES=64 -GACC_W=32 -GDRAINS=0
// VERILATE drains16: -GLANES=16 -GACC_W=20 -GDRAINS=1
// VERILATE drains32: -GLANES=32 -GACC_W=26 -GDRAINS=1
// VERILATE drains64: -GLANES=64 -GACC_W=32 -GDRAINS=1
#include "bench.h"
#include "dut.h"

typedef struct {
  bool valid, shift, neg, last;
  uint64_t a, w;
} step;

typedef struct {
  uint32_t acc, shadow;
  bool held;  // the step before, of the same tile, subtracted
  bool minus; // the last tile's last step did
  bool shadow_known, draining;
} state;

static step random_step(bench *b) {
  unsigned bits = bench_random(b);
  step s = {.valid = bench_chance(b, 80)};
  s.a = ((uint64_t)bench_random(b) << 32 | bench_random(b)) >> (64 - LANES);
  s.w = ((uint64_t)bench_random(b) << 32 | bench_random(b)) >> (64 - LANES);
  if (!s.valid) return s;
  s.shift = (bits >> 3) & 1;
  if ((bits >> 4) % 4 == 0) s.a = 0;
  s.neg = (bits >> 6) & 1;
  s.last = (bits >> 7) % 8 == 0;
  return s;
}

// What the shadow register shows of a sum: the drains row's the sum, the others' as it stands.
static uint32_t shown(uint32_t sum, bool minus) {
  return DRAINS || !minus ? sum : ~sum;
}

static void follow(state *e, const step *s, bool drain, uint32_t above) {
  uint32_t count = (uint32_t)__builtin_popcountll(s->a & s->w);
  if (s->valid) {
    uint32_t base = e->acc << s->shift;
    e->acc = s->neg ? base - count : base + count;
    e->held = s->neg && !s->last;
  }
  if (s->last) {
    e->shadow = shown(e->acc, s->neg);
    e->minus = s->neg;
    e->shadow_known = true;
    e->acc = 0;
  } else if (DRAINS && e->draining) {
    e->shadow = shown(above, false) ^ (e->minus ? UINT32_MAX : 0);
  }
  if (drain)
    e->draining = true;
  else if (s->last)
    e->draining = false;
}

static void clock_step(dut *d, dut_ports *p, const step *s, bool held, bool drain, uint32_t above) {
  *p->clk_i = 0;
  memcpy(p->a_i, &s->a, LANES / 8);
  memcpy(p->w_i, &s->w, LANES / 8);
  bool turn = s->valid && s->neg != held;
  *p->ctrl_i =
      (uint8_t)(s->valid << 4 | s->shift << 3 | turn << 2 | (s->valid && held) << 1 | s->last);
  *p->drain_i = drain;
  *p->shadow_i = above;
  dut_eval(d);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_pe");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  state e = {0};
  step s = {0};
  *p.rst_i = 1;
  clock_step(d, &p, &s, false, false, 0);
  *p.clk_i = 1;
  dut_eval(d);
  *p.rst_i = 0;
  s.last = true; // as the neighbour's reset says
  clock_step(d, &p, &s, false, false, 0);
  *p.clk_i = 1;
  dut_eval(d);
  for (unsigned i = 0; i < 50000; i++) {
    s = random_step(&b);
    bool drain = bench_chance(&b, 10);
    uint32_t above = bench_random(&b) >> (32 - ACC_W);
    clock_step(d, &p, &s, e.held, drain, above);
    BENCH_EQUAL(&b, "capture", i, s.last, *p.capture_o);
    *p.clk_i = 1;
    dut_eval(d);
    follow(&e, &s, drain, above);
    if (e.shadow_known)
      BENCH_EQUAL(&b, "shadow", i, e.shadow << (32 - ACC_W) >> (32 - ACC_W), *p.shadow_o);
    if (!s.valid) continue;
    BENCH_EQUAL(&b, "a moves east", i, 0, memcmp(p.a_o, &s.a, LANES / 8));
    BENCH_EQUAL(&b, "w moves south", i, 0, memcmp(p.w_o, &s.w, LANES / 8));
  }
  dut_close(d);
  return bench_end(&b, "bench_pe");
}
