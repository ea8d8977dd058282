// SPDX-License-Identifier: Apache-2.0
// The divider against C's / and %, corner values first; WIDTH cycles, half for a small dividend.
// VERILATE w24: -GWIDTH=24 -GDIVISOR_WIDTH=12
// VERILATE w8: -GWIDTH=8 -GDIVISOR_WIDTH=5
#include "bench.h"
#include "dut.h"

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

static void divide(bench *b, dut *d, dut_ports *p, uint32_t dividend, uint32_t divisor) {
  memcpy(p->dividend_i, &dividend, sizeof *p->dividend_i);
  memcpy(p->divisor_i, &divisor, sizeof *p->divisor_i);
  *p->start_i = 1;
  tick(d, p);
  *p->start_i = 0;
  int cycles = 0;
  for (; !*p->done_o && cycles < 100; cycles++)
    tick(d, p);
  BENCH_EQUAL(b, "cycles", dividend, dividend >> WIDTH / 2 == 0 ? WIDTH / 2 : WIDTH, cycles);
  BENCH_EQUAL(b, "quotient", dividend, dividend / divisor, *p->quotient_o);
  BENCH_EQUAL(b, "remainder", dividend, dividend % divisor, *p->remainder_o);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_divide");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  *p.rst_i = 1;
  tick(d, &p);
  *p.rst_i = 0;
  const uint32_t top = (1u << WIDTH) - 1, most = (1u << DIVISOR_WIDTH) - 1;
  const uint32_t corners[] = {0, 1, 2, most - 1, most, most + 1, top - 1, top};
  for (int i = 0; i < 8; i++)
    for (int k = 1; k < 5; k++)
      divide(&b, d, &p, corners[i] & top, corners[k]);
  for (int i = 0; i < 20000; i++)
    divide(&b, d, &p, bench_random(&b) & (i % 2 == 0 ? top : top >> WIDTH / 2),
           (uint32_t)bench_range(&b, 1, most));
  dut_close(d);
  return bench_end(&b, "bench_divide");
}
