// SPDX-License-Identifier: Apache-2.0
// One processing element: random steps, bubbles and drains against the two rules of its header.
// VERILATE lanes16: -GLANES=16 -GACC_W=20
// VERILATE lanes32: -GLANES=32 -GACC_W=26
// VERILATE lanes64: -GLANES=64 -GACC_W=32
#include "bench.h"
#include "dut.h"

typedef struct {
  bool valid, first, shift, live, neg, last;
  uint64_t a, w;
} step;

typedef struct {
  uint32_t acc, shadow;
  bool acc_known, shadow_known, draining;
} state;

static step random_step(bench *b) {
  unsigned bits = bench_random(b);
  step s = {.valid = bench_chance(b, 80)};
  s.a = ((uint64_t)bench_random(b) << 32 | bench_random(b)) >> (64 - LANES);
  s.w = ((uint64_t)bench_random(b) << 32 | bench_random(b)) >> (64 - LANES);
  if (!s.valid) return s;
  s.first = bits % 8 == 0;
  s.shift = (bits >> 3) & 1;
  s.live = (bits >> 4) % 4 != 0;
  s.neg = (bits >> 6) & 1;
  s.last = (bits >> 7) % 8 == 0;
  return s;
}

static void follow(state *e, const step *s, bool drain, uint32_t above) {
  uint32_t count = s->live ? (uint32_t)__builtin_popcountll(s->a & s->w) : 0;
  if (s->valid) {
    uint32_t base = s->first ? 0 : e->acc << s->shift;
    e->acc = s->neg ? base - count : base + count;
    e->acc_known |= s->first;
  }
  if (s->last) {
    e->shadow = e->acc;
    e->shadow_known = e->acc_known;
  } else if (e->draining) {
    e->shadow = above;
    e->shadow_known = true;
  }
  if (drain)
    e->draining = true;
  else if (s->last)
    e->draining = false;
}

static void clock_step(dut *d, dut_ports *p, const step *s, bool drain, uint32_t above) {
  *p->clk_i = 0;
  memcpy(p->a_i, &s->a, LANES / 8);
  memcpy(p->w_i, &s->w, LANES / 8);
  *p->live_i = s->live;
  *p->ctrl_i = (uint8_t)(s->valid << 4 | s->first << 3 | s->shift << 2 | s->neg << 1 | s->last);
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
  clock_step(d, &p, &s, false, 0);
  *p.clk_i = 1;
  dut_eval(d);
  *p.rst_i = 0;
  for (unsigned i = 0; i < 50000; i++) {
    s = random_step(&b);
    bool drain = bench_chance(&b, 10);
    uint32_t above = bench_random(&b) >> (32 - ACC_W);
    clock_step(d, &p, &s, drain, above);
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
