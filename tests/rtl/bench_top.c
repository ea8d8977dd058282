// SPDX-License-Identifier: Apache-2.0
// The whole accelerator: random streams of sound, refused, cut-short and damaged packets with
// stalls on both streams against the packet rules of device.md, answer by answer; TLAST on the last
// word of each answer and nowhere else; identity and poison through the registers.
// clang-format off
// VERILATE tiny: -GGATHER_WORDS=1 -GROWS=2 -GCOLS=8 -GLANES=16 -GWEIGHT_DEPTH=4096 -GPARAM_DEPTH=64 -GK_DEPTH=2048 -GTILE_DEPTH=128 -GTABLE_DEPTH=512
// VERILATE wide: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=16 -GLANES=64 -GWEIGHT_DEPTH=2048 -GPARAM_DEPTH=128 -GTILE_DEPTH=256 -GTABLE_DEPTH=2048 -GACT_DEPTH=17408
// clang-format on
#include "bench.h"
#include "dut.h"
#include "packet_model.h"

enum { PACKETS = 700, PATIENCE = 200000 };

typedef struct {
  bench *b;
  dut *d;
  dut_ports *p;
  unsigned stall; // percent
  bool offered;
} top;

static pm model;

static void edge(top *t) {
  *t->p->clk_i = 1;
  dut_eval(t->d);
  *t->p->clk_i = 0;
}

// One clock with a word on offer or none; true when it was taken.
static bool clock_word(top *t, const uint32_t *word) {
  dut_ports *p = t->p;
  if (word == NULL) t->offered = false;
  if (word != NULL && !t->offered) t->offered = !bench_chance(t->b, t->stall);
  *p->s_axis_tvalid = t->offered;
  *p->s_axis_tdata = t->offered ? *word : bench_random(t->b);
  *p->s_axis_tlast = (uint8_t)(bench_random(t->b) & 1);
  *p->m_axis_tready = !bench_chance(t->b, t->stall);
  *p->clk_i = 0;
  dut_eval(t->d);
  bool taken = t->offered && *p->s_axis_tready;
  if (*p->m_axis_tvalid && *p->m_axis_tready) {
    bool last = pm_receive(&model, *p->m_axis_tdata);
    BENCH_EQUAL(t->b, "TLAST", 0, last, *p->m_axis_tlast);
  }
  edge(t);
  if (taken) t->offered = false;
  return taken;
}

static void push(top *t) {
  uint32_t waited = 0;
  for (uint32_t i = 0; i < model.out_have && waited < PATIENCE; waited++)
    if (clock_word(t, &model.out[i])) {
      i++;
      waited = 0;
    }
  BENCH_EQUAL(t->b, "input taken", 0, true, waited < PATIENCE);
}

static void settle(top *t) {
  uint32_t waited = 0;
  for (; waited < PATIENCE && !pm_all_answered(&model); waited++)
    (void)clock_word(t, NULL);
  BENCH_EQUAL(t->b, "all answered", 0, true, waited < PATIENCE);
  pm_settle(&model);
}

static uint32_t read_register(top *t, uint8_t address) {
  dut_ports *p = t->p;
  *p->s_axil_araddr = address;
  *p->s_axil_arvalid = 1;
  *p->s_axil_rready = 0;
  uint32_t waited = 0;
  do {
    *p->clk_i = 0;
    dut_eval(t->d);
    (void)clock_word(t, NULL);
    *p->s_axil_arvalid = 0;
    dut_eval(t->d);
  } while (!*p->s_axil_rvalid && ++waited < 100);
  uint32_t value = *p->s_axil_rdata;
  *p->s_axil_rready = 1;
  (void)clock_word(t, NULL);
  *p->s_axil_rready = 0;
  return value;
}

static void reset(top *t) {
  dut_ports *p = t->p;
  *p->rst_i = 1;
  *p->s_axis_tvalid = *p->m_axis_tready = 0;
  *p->s_axil_awvalid = *p->s_axil_wvalid = *p->s_axil_bready = 0;
  *p->s_axil_arvalid = *p->s_axil_rready = 0;
  t->offered = false;
  for (int i = 0; i < 8; i++) {
    *p->clk_i = 0;
    dut_eval(t->d);
    edge(t);
  }
  *p->rst_i = 0;
}

static void run_stream(top *t, const bl_config *config, uint64_t seed) {
  pm_begin(&model, config, seed);
  push(t);
  for (int i = 0; i < PACKETS && model.failure[0] == 0 && t->b->failures == 0; i++) {
    pm_something(&model);
    push(t);
    if (model.answer_count < PM_ANSWERS / 2 && bench_chance(t->b, 70)) continue;
    settle(t);
    for (int wait = 0; wait < 100; wait++) // a sound load's last units, which nobody answers
      (void)clock_word(t, NULL);
    uint32_t status = read_register(t, BL_REG_STATUS);
    BENCH_EQUAL(t->b, "poison mask", i, pm_poison(&model), (status >> 8) & 127);
  }
  settle(t);
  t->b->checks += model.checks;
  if (model.failure[0] != 0) {
    t->b->failures++;
    (void)printf("FAILED %s, stalls %u %%: %s\n", config->name, t->stall, model.failure);
  }
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_top");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  const bl_config *config = &BL_CONFIGS[LANES == 16 ? BL_CONFIG_TINY : BL_CONFIG_WIDE];
  static const unsigned stalls[] = {0, 30, 80};
  for (int i = 0; i < 3 && b.failures == 0; i++) {
    top t = {&b, d, &p, stalls[i], false};
    reset(&t);
    uint32_t identity = read_register(&t, BL_REG_ID), lanes = read_register(&t, BL_REG_LANES);
    BENCH_EQUAL(&b, "identity register", 0, BL_CONTRACT_IDENTITY, identity);
    BENCH_EQUAL(&b, "lanes register", 0, LANES, lanes);
    run_stream(&t, config, bench_random(&b));
  }
  dut_close(d);
  return bench_end(&b, "bench_top");
}
