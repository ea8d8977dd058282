// SPDX-License-Identifier: Apache-2.0
// One row buffer: one half is filled while the other is read, at random; the word of the last read
// stands until the next, and the request goes to the row below a cycle later.
// VERILATE small: -GLANES=16 -GROW_DEPTH=16
// VERILATE wide: -GLANES=64 -GROW_DEPTH=64
#include "bench.h"
#include "dut.h"

typedef struct {
  bool valid;
  unsigned half, addr;
} request;

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_row_buffer");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  uint64_t mirror[2][ROW_DEPTH] = {0}, data = 0, got, out = 0;
  bool known[2][ROW_DEPTH] = {0}, out_known = false;
  *p.fill_we_i = *p.read_i = 0;
  *p.rst_i = 1;
  tick(d, &p);
  *p.rst_i = 0;
  for (unsigned i = 0; i < 20000; i++) {
    request r = {bench_chance(&b, 70), bench_random(&b) & 1, bench_random(&b) & 0xFFFF};
    bool fill = bench_chance(&b, 70);
    unsigned at = bench_random(&b) % ROW_DEPTH, kept = r.addr % ROW_DEPTH;
    data = ((uint64_t)bench_random(&b) << 32 | bench_random(&b)) >> (64 - LANES);
    *p.read_i = r.valid;
    *p.read_half_i = (uint8_t)r.half;
    *p.read_addr_i = (uint16_t)r.addr;
    *p.fill_we_i = fill;
    *p.fill_half_i = !r.half;
    *p.fill_addr_i = (uint16_t)at;
    memcpy(p.fill_data_i, &data, LANES / 8);
    tick(d, &p);
    if (r.valid) out = mirror[r.half][kept], out_known = known[r.half][kept];
    if (fill) mirror[!r.half][at] = data, known[!r.half][at] = true;
    got = 0;
    memcpy(&got, p.read_data_o, LANES / 8);
    if (out_known) BENCH_EQUAL(&b, "word", i, out, got);
    BENCH_EQUAL(&b, "request passed on", i, r.valid, *p.read_o);
    if (!r.valid) continue;
    BENCH_EQUAL(&b, "half passed on", i, r.half, *p.read_half_o);
    BENCH_EQUAL(&b, "address passed on", i, r.addr, *p.read_addr_o);
  }
  dut_close(d);
  return bench_end(&b, "bench_row_buffer");
}
