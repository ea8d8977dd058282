// SPDX-License-Identifier: Apache-2.0
// The command processor alone: what it answers and hands on, in which order, and what it writes,
// for random packets of every kind, with each of its partners taking its time.
// clang-format off
// VERILATE tiny: -GCOLS=8 -GLANES=16 -GWEIGHT_DEPTH=4096 -GPARAM_DEPTH=64 -GK_DEPTH=2048 -GTILE_DEPTH=128 -GTABLE_DEPTH=512 -GROWS=2
// VERILATE default: -GCOLS=8 -GLANES=32 -GWEIGHT_DEPTH=6144 -GPARAM_DEPTH=256
// clang-format on
#include "bench.h"
#include "dut.h"
#include "packet_model.h"

enum { PACKETS = 1500, PATIENCE = 5000, UNIT_BYTES = 9 };

typedef struct {
  bench *b;
  dut *d;
  dut_ports *p;
  unsigned stall;   // percent
  uint32_t next;    // the answer that the model expects next
  uint32_t busy;    // cycles until what was handed on is over
  uint64_t written; // as the model's load_sum
  uint32_t settled; // snapshots of the counters
} command;

static pm model;

static void edge(command *t) {
  *t->p->clk_i = 1;
  dut_eval(t->d);
  *t->p->clk_i = 0;
}

// The next event must be of this kind; NULL when nothing is due.
static const pm_answer *due(command *t, pm_kind kind, const char *what) {
  bool is_due = t->next < model.answer_count && model.answers[t->next].kind == kind;
  BENCH_EQUAL(t->b, what, t->next, true, is_due);
  return is_due ? &model.answers[t->next++] : NULL;
}

static void check_answer(command *t) {
  const dut_ports *p = t->p;
  const pm_answer *a = due(t, PM_OTHER, "answer is due");
  if (a == NULL) return;
  uint32_t first = 0xB8000000u | (uint32_t)*p->answer_opcode_o << 16 | *p->answer_tag_o;
  BENCH_EQUAL(t->b, "opcode and tag", t->next, a->words[0], first);
  BENCH_EQUAL(t->b, "length", t->next, a->words[1], *p->answer_length_o);
  BENCH_EQUAL(t->b, "status", t->next, a->words[2], *p->answer_status_o);
  BENCH_EQUAL(t->b, "info", t->next, a->words[3], *p->answer_info_o);
}

static void check_handed_on(command *t, pm_kind kind) {
  const pm_answer *a = due(t, kind, kind == PM_RUN ? "run is due" : "send is due");
  if (a == NULL) return;
  BENCH_EQUAL(t->b, "tag", t->next, a->words[0] & 0xFFFF, *t->p->tag_o);
  if (kind == PM_SEND) {
    uint32_t bytes = (*t->p->argument_o >> 24) * (*t->p->argument_o & 0xFFFFFF);
    BENCH_EQUAL(t->b, "bytes to send", t->next, a->words[1], bytes);
  } else {
    bl_descriptor layer;
    bl_descriptor_unpack(t->p->desc_o, &layer);
    BENCH_EQUAL(t->b, "descriptor", t->next, 1, layer.tiles);
    BENCH_EQUAL(t->b, "output", t->next, layer.in_base, layer.out_base);
  }
  t->busy = bench_random(t->b) % 60;
}

static void note_unit(command *t) {
  const dut_ports *p = t->p;
  uint8_t bytes[16];
  uint32_t memory = 0, enables = *p->unit_bytes_o, b = 0;
  while (memory < PM_MEMORIES && *p->unit_memory_o != 1u << memory)
    memory++;
  BENCH_EQUAL(t->b, "one memory", *p->unit_memory_o, true, memory < PM_MEMORIES);
  memcpy(bytes, p->unit_data_o, UNIT_BYTES);
  while (b < LANES / 8 && enables != 1u << b)
    b++;
  if (b < LANES / 8)
    t->written += pm_unit_hash(16 + b, *p->unit_address_o, *p->unit_column_o, bytes + b, 1);
  else
    t->written += pm_unit_hash(memory, *p->unit_address_o, *p->unit_column_o, bytes, UNIT_BYTES);
  BENCH_EQUAL(t->b, "bytes", memory, true, enables == (1u << (LANES / 8)) - 1 || memory == 0);
}

// One clock with a word on offer or none; true when it was taken.
static bool clock_word(command *t, const uint32_t *word) {
  dut_ports *p = t->p;
  *p->s_valid_i = word != NULL && !bench_chance(t->b, t->stall);
  *p->s_data_i = word != NULL ? *word : bench_random(t->b);
  *p->unit_ready_i = !bench_chance(t->b, t->stall);
  *p->all_idle_i = t->busy == 0;
  *p->run_take_i = *p->send_take_i = *p->answer_take_i = *p->snapshot_done_i = 0;
  *p->clk_i = 0;
  dut_eval(t->d);
  *p->run_take_i = *p->run_o && !bench_chance(t->b, t->stall);
  *p->send_take_i = *p->send_o && !bench_chance(t->b, t->stall);
  *p->answer_take_i = *p->answer_o && !bench_chance(t->b, t->stall);
  *p->snapshot_done_i = *p->snapshot_o && bench_chance(t->b, 5);
  dut_eval(t->d);
  bool taken = *p->s_valid_i && *p->s_ready_o;
  if (*p->snapshot_o) BENCH_EQUAL(t->b, "settles when idle", t->next, 0, t->busy);
  if (*p->snapshot_done_i)
    BENCH_EQUAL(t->b, "clears", t->next, model.answers[t->next].clears, *p->snapshot_clear_o);
  t->settled += *p->snapshot_done_i;
  if (t->busy > 0) t->busy--;
  if (*p->unit_memory_o != 0 && *p->unit_ready_i) note_unit(t);
  if (*p->answer_take_i) check_answer(t);
  if (*p->run_take_i) check_handed_on(t, PM_RUN);
  if (*p->send_take_i) check_handed_on(t, PM_SEND);
  edge(t);
  return taken;
}

static void push(command *t) {
  uint32_t waited = 0;
  for (uint32_t i = 0; i < model.out_have && waited < PATIENCE; waited++)
    if (clock_word(t, &model.out[i])) {
      i++;
      waited = 0;
    }
  BENCH_EQUAL(t->b, "input taken", 0, true, waited < PATIENCE);
}

static void settle(command *t, int packet) {
  uint32_t barriers = 0;
  for (int i = 0; i < 400 || t->busy > 0; i++)
    (void)clock_word(t, NULL);
  for (uint32_t i = 0; i < model.answer_count; i++)
    barriers += model.answers[i].barrier && (model.answers[i].words[0] >> 16 & 255) != BL_OP_FENCE;
  BENCH_EQUAL(t->b, "everything answered", packet, model.answer_count, t->next);
  BENCH_EQUAL(t->b, "snapshots", packet, barriers, t->settled);
  BENCH_EQUAL(t->b, "poison", packet, pm_poison(&model), *t->p->poison_o);
  // A load that was cut short is still being written.
  if (model.left == 0) BENCH_EQUAL(t->b, "units written", packet, model.load_sum, t->written);
  t->next = t->settled = 0;
  pm_settle(&model);
}

static void reset(command *t) {
  *t->p->rst_i = 1;
  *t->p->s_valid_i = 0;
  for (int i = 0; i < 4; i++) {
    *t->p->clk_i = 0;
    dut_eval(t->d);
    edge(t);
  }
  *t->p->rst_i = 0;
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_command");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  static const unsigned stalls[] = {0, 40, 80};
  for (int i = 0; i < 3 && b.failures == 0; i++) {
    command t = {.b = &b, .d = d, .p = &p, .stall = stalls[i]};
    reset(&t);
    pm_begin(&model, &BL_CONFIGS[LANES == 16 ? BL_CONFIG_TINY : BL_CONFIG_DEFAULT],
             bench_random(&b));
    push(&t);
    for (int k = 0; k < PACKETS && b.failures == 0; k++) {
      pm_something(&model);
      push(&t);
      if (model.answer_count > PM_ANSWERS / 2 || bench_chance(&b, 30)) settle(&t, k);
    }
    settle(&t, PACKETS);
  }
  dut_close(d);
  return bench_end(&b, "bench_command");
}
