// SPDX-License-Identifier: Apache-2.0
// Registers: reads and writes at once, address and data of a write in either order, late responses,
// interrupts that come at any time, counters that are taken now and then, against a model of the
// register map.
// clang-format off
// VERILATE distinct: -GROWS=3 -GCOLS=24 -GLANES=48 -GACC_W=20 -GROW_DEPTH=600 -GGATHER_WORDS=2
// VERILATE distinct: -GWEIGHT_DEPTH=512 -GPARAM_DEPTH=77 -GK_DEPTH=1234
// VERILATE distinct: -GPASS_DEPTH=99 -GTILE_DEPTH=55 -GACT_DEPTH=4321 -GTABLE_DEPTH=789
// clang-format on
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

enum { CYCLES = 100000, IDENTITY_WORDS = 15, COUNTER_WORDS = 2 * BL_COUNTER_COUNT };

typedef struct {
  bool aw, w, aw_done, w_done; // offered; accepted and not yet answered
  uint32_t address, data, strobe;
  bool ar, reading; // offered; accepted and not yet answered
  uint32_t read_address;
  bool taken;       // a counter was asked for; counter_i is its word in the next cycle
  uint32_t word;    // which
  int age;          // cycles since the read was accepted
  uint32_t history; // what is read, as it was in the cycle before the answer
} host;

typedef struct {
  uint32_t control, irq;
} model;

static uint32_t identity(uint32_t index) {
  static const uint32_t shape[] = {ROWS,        COLS,        LANES,       ACC_W,      WEIGHT_DEPTH,
                                   PARAM_DEPTH, K_DEPTH,     PASS_DEPTH,  TILE_DEPTH, ACT_DEPTH,
                                   ROW_DEPTH,   TABLE_DEPTH, GATHER_WORDS};
  if (index >= IDENTITY_WORDS) return 0;
  return index == 0 ? 0x424C4F4Du : index == 1 ? BL_CONTRACT_VERSION : shape[index - 2];
}

static uint32_t counter_word(uint32_t word) {
  return word * 0x9E3779B1u + 77;
}

static uint32_t read_model(const dut_ports *p, const model *m, uint32_t address) {
  if (address <= BL_REG_GATHER_WORDS) return identity(address / 4);
  if (address >= BL_REG_COUNTER_BASE) {
    uint32_t word = (address - BL_REG_COUNTER_BASE) / 4;
    return word < COUNTER_WORDS ? counter_word(word) : 0;
  }
  if (address == BL_REG_CONTROL) return m->control;
  if (address == BL_REG_STATUS) return *p->status_i;
  return address == BL_REG_IRQ ? m->irq : 0;
}

static uint32_t random_address(bench *b) {
  static const uint32_t often[] = {BL_REG_CONTROL, BL_REG_STATUS, BL_REG_IRQ};
  return bench_chance(b, 50) ? often[bench_range(b, 0, 2)] : (uint32_t)bench_range(b, 0, 63) * 4;
}

static void drive(bench *b, const dut_ports *p, host *h, unsigned busy) {
  if (!h->aw && !h->aw_done && !h->w && !h->w_done && bench_chance(b, 40)) {
    h->address = random_address(b); // both halves belong to one write, each comes when it likes
    h->data = bench_random(b) & 3u;
    h->strobe = bench_chance(b, 80) ? 0xFu : bench_random(b) & 0xFu;
    h->aw = h->w = true;
  }
  if (!h->ar && !h->reading && bench_chance(b, 40)) {
    h->read_address = random_address(b);
    h->ar = true;
  }
  *p->s_axil_awvalid = *p->s_axil_awvalid || (h->aw && bench_chance(b, busy));
  *p->s_axil_wvalid = *p->s_axil_wvalid || (h->w && bench_chance(b, busy));
  *p->s_axil_arvalid = h->ar;
  *p->s_axil_awaddr = (uint8_t)h->address;
  *p->s_axil_wdata = h->data;
  *p->s_axil_wstrb = (uint8_t)h->strobe;
  *p->s_axil_araddr = (uint8_t)h->read_address;
  *p->s_axil_bready = bench_chance(b, busy);
  *p->s_axil_rready = bench_chance(b, busy);
  *p->status_i = bench_random(b);
  *p->irq_set_i = (uint8_t)(bench_chance(b, 10) ? bench_random(b) & 3u : 0);
  *p->counter_i = h->taken ? counter_word(h->word) : bench_random(b);
  *p->counter_take_i = bench_chance(b, 20);
  *p->identity_index_i = (uint8_t)bench_range(b, 0, 15);
}

static void check_outputs(bench *b, const dut_ports *p, const host *h, const model *m, long cycle) {
  BENCH_EQUAL(b, "control", cycle, m->control, *p->control_o);
  BENCH_EQUAL(b, "interrupt", cycle, (m->control & 2u) && m->irq, *p->irq_o);
  BENCH_EQUAL(b, "identity", cycle, identity(*p->identity_index_i), *p->identity_o);
  BENCH_EQUAL(b, "responses", cycle, 0, *p->s_axil_bresp | *p->s_axil_rresp);
  BENCH_EQUAL(b, "no read's answer unasked", cycle, true, h->reading || !*p->s_axil_rvalid);
  BENCH_EQUAL(b, "a read's answer comes", cycle, true, h->age < 200);
  if (*p->s_axil_rvalid) BENCH_EQUAL(b, "read", h->read_address, h->history, *p->s_axil_rdata);
  if (*p->s_axil_bvalid)
    BENCH_EQUAL(b, "no answer before address and data", cycle, true, h->aw_done && h->w_done);
}

// What the coming clock edge does to host and model.
static void follow(const dut_ports *p, host *h, model *m) {
  if (*p->s_axil_awvalid && *p->s_axil_awready) h->aw_done = true, h->aw = false;
  if (*p->s_axil_wvalid && *p->s_axil_wready) h->w_done = true, h->w = false;
  if (*p->s_axil_bvalid && *p->s_axil_bready) h->aw_done = h->w_done = false;
  h->taken = *p->counter_take_i;
  h->word = *p->counter_o;
  h->age = h->reading && !*p->s_axil_rvalid ? h->age + 1 : 0;
  if (!*p->s_axil_rvalid) h->history = read_model(p, m, h->read_address);
  if (*p->s_axil_rvalid && *p->s_axil_rready) h->reading = false;
  if (*p->s_axil_arvalid && *p->s_axil_arready) {
    h->reading = true;
    h->ar = false;
  }
}

static void write_model(model *m, const host *h) {
  if (!(h->strobe & 1u)) return;
  if (h->address == BL_REG_CONTROL) m->control = h->data;
  if (h->address == BL_REG_IRQ) m->irq &= ~h->data;
}

static void run(bench *b, dut *d, const dut_ports *p, unsigned busy) {
  host h = {0};
  model m = {0};
  uint64_t writes = 0;
  *p->s_axil_awvalid = *p->s_axil_wvalid = 0;
  for (long cycle = 0; cycle < CYCLES; cycle++) {
    *p->clk_i = 0;
    *p->rst_i = cycle < 2;
    if (cycle >= 2) drive(b, p, &h, busy);
    dut_eval(d);
    bool answered = *p->s_axil_bvalid;
    if (cycle >= 2) {
      check_outputs(b, p, &h, &m, cycle);
      follow(p, &h, &m);
    }
    uint32_t set = cycle >= 2 ? *p->irq_set_i : 0;
    *p->clk_i = 1;
    dut_eval(d);
    if (cycle < 2) continue;
    if (!answered && *p->s_axil_bvalid) {
      write_model(&m, &h);
      writes++;
    }
    m.irq |= set;
    *p->s_axil_awvalid = *p->s_axil_awvalid && h.aw;
    *p->s_axil_wvalid = *p->s_axil_wvalid && h.w;
  }
  BENCH_EQUAL(b, "writes flow", busy, true, writes > CYCLES / 50);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_axil");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  run(&b, d, &p, 100);
  run(&b, d, &p, 50);
  run(&b, d, &p, 20);
  dut_close(d);
  return bench_end(&b, "bench_axil");
}
