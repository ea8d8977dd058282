// SPDX-License-Identifier: Apache-2.0
// Every cycle has exactly one reason, by the contract's priority, and the reasons add up.
// VERILATE plain: -O3
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

static int reason(const bool in[7]) {
  bool run = in[0], issue = in[1], requant = in[2], gather = in[3];
  if (run)
    return issue     ? BL_COUNTER_ISSUE
           : requant ? BL_COUNTER_REQUANT
           : gather  ? BL_COUNTER_GATHER
                     : BL_COUNTER_DRAIN;
  if (in[4]) return BL_COUNTER_WEIGHTS;
  if (in[5]) return BL_COUNTER_STREAM_IN;
  return in[6] ? BL_COUNTER_STREAM_OUT : BL_COUNTER_IDLE;
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_counters");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  uint64_t expected[BL_COUNTER_COUNT] = {0};
  uint8_t *const pins[7] = {p.run_i,       p.issue_i,  p.requant_i, p.gather_i,
                            p.list_load_i, p.packet_i, p.send_i};
  *p.rst_i = 1;
  *p.clear_i = 0;
  tick(d, &p);
  *p.rst_i = 0;
  for (int i = 0; i < 20000; i++) {
    bool in[7], clear = bench_random(&b) % 500 == 0;
    for (int k = 0; k < 7; k++)
      *pins[k] = in[k] = bench_chance(&b, 40);
    *p.clear_i = clear;
    tick(d, &p);
    expected[BL_COUNTER_CYCLES]++;
    expected[reason(in)]++;
    if (clear) memset(expected, 0, sizeof expected);
    uint64_t sum = 0;
    for (unsigned k = 0; k < BL_COUNTER_COUNT; k++) {
      uint64_t value = bench_get(p.counters_o, k * 64, 64);
      BENCH_EQUAL(&b, "counter", k, expected[k], value);
      sum += k == BL_COUNTER_CYCLES ? 0 : value;
    }
    BENCH_EQUAL(&b, "sum", i, expected[BL_COUNTER_CYCLES], sum);
  }
  dut_close(d);
  return bench_end(&b, "bench_counters");
}
