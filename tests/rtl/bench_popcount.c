// SPDX-License-Identifier: Apache-2.0
// The population count: every word of one or two bits, their complements, and random words.
// VERILATE lanes16: -GLANES=16
// VERILATE lanes32: -GLANES=32
// VERILATE lanes64: -GLANES=64
#include "bench.h"
#include "dut.h"

static void check(bench *b, dut *d, dut_ports *p, uint64_t word) {
  unsigned expected = 0;
  for (unsigned i = 0; i < LANES; i++)
    expected += (unsigned)((word >> i) & 1);
  memcpy(p->data_i, &word, LANES / 8);
  dut_eval(d);
  BENCH_EQUAL(b, "count", word, expected, *p->count_o);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_popcount");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  for (unsigned i = 0; i < LANES; i++)
    for (unsigned j = 0; j < LANES; j++) {
      uint64_t word = (uint64_t)1 << i | (uint64_t)1 << j;
      check(&b, d, &p, word);
      check(&b, d, &p, ~word);
    }
  for (unsigned i = 0; i < 20000; i++) {
    uint64_t word = (uint64_t)bench_random(&b) << 32 | bench_random(&b);
    check(&b, d, &p, word);
  }
  dut_close(d);
  return bench_end(&b, "bench_popcount");
}
