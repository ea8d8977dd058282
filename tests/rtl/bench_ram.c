// SPDX-License-Identifier: Apache-2.0
// The memory: random reads and byte writes against an array; the word being written is not read.
// VERILATE whole: -GWIDTH=64 -GDEPTH=32
// VERILATE bytes: -GWIDTH=64 -GDEPTH=32 -GBYTE=8
// VERILATE parts: -GWIDTH=64 -GDEPTH=24 -GBYTE=8
// VERILATE uneven: -GWIDTH=64 -GDEPTH=19
#include "bench.h"
#include "dut.h"

#ifndef BYTE
#define BYTE WIDTH
#endif
enum { ENABLES = WIDTH / BYTE };

static uint64_t enabled_bits(unsigned enables) {
  uint64_t bits = 0;
  for (unsigned i = 0; i < WIDTH; i++)
    if ((enables >> (i / BYTE)) & 1u) bits |= (uint64_t)1 << i;
  return bits;
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_ram");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  uint64_t mirror[DEPTH] = {0}, known[DEPTH] = {0}, out = 0, out_known = 0;
  for (unsigned i = 0; i < 20000; i++) {
    unsigned enables = bench_chance(&b, 60) ? bench_random(&b) & ((1u << ENABLES) - 1) : 0;
    unsigned waddr = bench_random(&b) % DEPTH, raddr = bench_random(&b) % DEPTH;
    uint64_t data = (uint64_t)bench_random(&b) << 32 | bench_random(&b);
    bool read = bench_chance(&b, 60) && !(enables && raddr == waddr);
    *p.clk_i = 0;
    *p.we_i = (uint8_t)enables;
    *p.waddr_i = (uint8_t)waddr;
    *p.wdata_i = data;
    *p.re_i = read;
    *p.raddr_i = (uint8_t)raddr;
    dut_eval(d);
    *p.clk_i = 1;
    dut_eval(d);
    if (read) out = mirror[raddr], out_known = known[raddr];
    uint64_t bits = enabled_bits(enables);
    mirror[waddr] = (mirror[waddr] & ~bits) | (data & bits);
    known[waddr] |= bits;
    BENCH_EQUAL(&b, "word", i, out & out_known, *p.rdata_o & out_known);
  }
  dut_close(d);
  return bench_end(&b, "bench_ram");
}
