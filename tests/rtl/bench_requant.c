// SPDX-License-Identifier: Apache-2.0
// One requantise lane against the formula in 128-bit integers, random and corner values, back to
// back and with gaps.
// VERILATE w20: -GACC_W=20
// VERILATE w26: -GACC_W=26
// VERILATE w32: -GACC_W=32
#include "bench.h"
#include "dut.h"

typedef struct {
  int32_t p, s;
  unsigned post, shift;
  int32_t mult;
  int64_t bias;
  bool valid, combine, minus;
  uint32_t acc;
} job;

typedef struct {
  int lo, hi, offset;
  bool wrap;
} mode;

// The accumulator of a row, after that of the row before it.
static uint32_t expected_acc(const job *j, uint32_t before) {
  // S << post keeps its bits before it is halved; the rest is modulo 2^ACC_W
  int64_t halved = (int64_t)((uint64_t)(int64_t)j->s << j->post) >> 1;
  uint32_t row = ((uint32_t)j->p << j->post) - (uint32_t)halved;
  return row + (j->combine ? 2 * (j->minus ? 0 - before : before) : 0);
}

static int expected_code(const job *j, const mode *m) {
  int64_t acc = bench_wrap(j->acc, ACC_W);
  __extension__ __int128 v = acc;
  v = v * j->mult + j->bias;
  v >>= j->shift;
  if (m->wrap) return (int)(v & 255);
  if (v < m->lo) v = m->lo;
  if (v > m->hi) v = m->hi;
  return (int)((v + m->offset) & 255);
}

static job random_job(bench *b) {
  enum { CUT = 32 - ACC_W };
  static const int32_t corners[] = {
      0, 1, -1, INT32_MAX >> CUT, INT32_MIN >> CUT, 1 << (30 - CUT), -(1 << (30 - CUT))};
  job j = {.valid = bench_chance(b, 85)};
  j.p = bench_chance(b, 10) ? corners[bench_random(b) % 7]
                            : (int32_t)bench_random(b) >> (bench_random(b) % 32);
  j.s = bench_chance(b, 50) ? 0 : (int32_t)bench_random(b) >> (4 + bench_random(b) % 28);
  j.p = (int32_t)bench_wrap(j.p, ACC_W);
  j.s = (int32_t)bench_wrap(j.s, ACC_W);
  j.post = bench_random(b) % 4;
  j.combine = bench_chance(b, 40);
  j.minus = j.combine && bench_chance(b, 30);
  j.mult = (int32_t)bench_range(b, 1 << 15, (1 << 16) - 1) * (bench_chance(b, 30) ? -1 : 1);
  j.shift = (unsigned)bench_range(b, 1, 47);
  j.bias = bench_range(b, -((int64_t)1 << 47), ((int64_t)1 << 47) - 1) >> (bench_random(b) % 47);
  return j;
}

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

static void run_mode(bench *b, dut *d, dut_ports *p, const mode *m) {
  job jobs[64] = {0};
  uint32_t acc = 0; // of the last valid row
  bool first = true;
  *p->lo_i = (uint16_t)m->lo;
  *p->hi_i = (uint16_t)m->hi;
  *p->offset_i = (uint8_t)m->offset;
  *p->wrap_i = m->wrap;
  for (int t = 0; t < 64 + 3; t++) {
    job now = t < 60 ? random_job(b) : (job){0};
    if (first) now.combine = now.minus = false; // nothing of this mode lies before it
    if (now.valid) now.acc = acc = expected_acc(&now, acc), first = false;
    if (t < 64) jobs[t] = now;
    *p->combine_i = now.combine;
    *p->minus_i = now.minus;
    *p->valid_i = now.valid;
    *p->p_i = (uint32_t)now.p & (UINT32_MAX >> (32 - ACC_W));
    *p->s_i = (uint32_t)now.s & (UINT32_MAX >> (32 - ACC_W));
    *p->post_i = (uint8_t)now.post;
    if (t >= 1 && t <= 64) { // the parameters come one cycle later
      const job *before = &jobs[t - 1];
      *p->mult_i = (uint32_t)before->mult & 0x1FFFF;
      *p->bias_i = (uint64_t)before->bias & 0xFFFFFFFFFFFF;
      *p->shift_i = (uint8_t)before->shift;
    }
    *p->clk_i = 0;
    dut_eval(d);
    if (t >= 3 && jobs[t - 3].valid)
      BENCH_EQUAL(b, "code", t - 3, expected_code(&jobs[t - 3], m), *p->code_o);
    tick(d, p);
  }
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_requant");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  for (int i = 0; i < 4000; i++) {
    mode m = {.wrap = bench_chance(&b, 25)};
    m.lo = (int)bench_range(&b, -32768, 32767) >> (bench_random(&b) % 16);
    m.hi = (int)bench_range(&b, m.lo, 32767);
    m.offset = (int)bench_range(&b, -128, 255);
    run_mode(&b, d, &p, &m);
  }
  dut_close(d);
  return bench_end(&b, "bench_requant");
}
