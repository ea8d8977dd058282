// SPDX-License-Identifier: Apache-2.0
// Sends: random regions and byte counts, a busy memory port, a stalling reader; the answer's words
// against the memory's bytes, and no answer before the runs accepted earlier have ended.
//
// VERILATE tiny: -GLANES=16
// VERILATE default: -GLANES=32
// VERILATE wide: -GLANES=64
#include "bench.h"
#include "dut.h"

enum { DEPTH = 256, BYTES = LANES / 8, MAX_SENDS = 4096 };

typedef struct {
  unsigned tag, address, count, bytes, runs;
} region;

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  uint8_t memory[DEPTH][BYTES];
  uint64_t read_data;
  region sends[MAX_SENDS];
  unsigned queued, asked, ended; // regions queued, answers whose header or last word was taken
  unsigned words;                // of the answer under way
  unsigned runs_queued, runs_done;
} test;

static unsigned answer_words(const region *r) {
  return (r->count * r->bytes + 3) / 4;
}

static uint32_t expected_word(const test *t, const region *r, unsigned index) {
  uint32_t word = 0;
  for (unsigned i = 0; i < 4; i++) {
    unsigned at = index * 4 + i;
    if (at < r->count * r->bytes)
      word |= (uint32_t)t->memory[r->address + at / r->bytes][at % r->bytes] << (8 * i);
  }
  return word;
}

static void check_answer(test *t) {
  dut_ports *p = &t->p;
  if (*p->answer_o) {
    const region *r = &t->sends[t->asked];
    BENCH_EQUAL(&t->b, "asked for", t->asked, 1, t->asked < t->queued);
    BENCH_EQUAL(&t->b, "waits for its runs", t->asked, 1, t->runs_done >= r->runs);
    BENCH_EQUAL(&t->b, "tag", t->asked, r->tag, *p->tag_o);
    BENCH_EQUAL(&t->b, "length", t->asked, r->count * r->bytes, *p->length_o);
    t->asked += *p->answer_take_i;
    t->words = 0;
  }
  if (*p->word_valid_o && *p->word_ready_i) {
    const region *r = &t->sends[t->ended];
    BENCH_EQUAL(&t->b, "word", t->words, expected_word(t, r, t->words), *p->word_o);
    if (++t->words == answer_words(r)) t->ended++;
  }
}

static void tick(test *t, bool queue, unsigned percent) {
  dut_ports *p = &t->p;
  *p->clk_i = 0;
  *p->act_busy_i = bench_chance(&t->b, 30);
  *p->word_ready_i = bench_chance(&t->b, percent);
  memcpy(p->act_rdata_i, &t->read_data, BYTES);
  *p->runs_queued_i = (uint8_t)t->runs_queued;
  *p->runs_done_i = (uint8_t)t->runs_done;
  *p->answer_take_i = 0;
  *p->queue_i = 0;
  dut_eval(t->d);
  *p->answer_take_i = *p->answer_o && bench_chance(&t->b, 50);
  if (queue && *p->queue_ready_o && t->queued < MAX_SENDS) {
    region r = {bench_random(&t->b) & 0xFFFF, bench_random(&t->b) % (DEPTH / 2),
                (unsigned)bench_range(&t->b, 1, bench_chance(&t->b, 50) ? 4 : 100),
                (unsigned)bench_range(&t->b, 1, BYTES), t->runs_queued};
    *p->queue_i = 1;
    *p->tag_i = (uint16_t)r.tag;
    *p->address_i = (uint16_t)r.address;
    *p->count_i = (uint16_t)r.count;
    *p->bytes_i = (uint8_t)r.bytes;
    t->sends[t->queued++] = r;
  }
  dut_eval(t->d);
  check_answer(t);
  if (*p->act_re_o) {
    BENCH_EQUAL(&t->b, "reads in a free cycle", t->ended, 0, *p->act_busy_i);
    memcpy(&t->read_data, t->memory[*p->act_raddr_o % DEPTH], BYTES);
  }
  *p->clk_i = 1;
  dut_eval(t->d);
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_send");
  t.d = dut_open(argc, argv, &t.p);
  for (unsigned i = 0; i < DEPTH; i++)
    for (unsigned j = 0; j < BYTES; j++)
      t.memory[i][j] = (uint8_t)bench_random(&t.b);
  *t.p.queue_i = *t.p.answer_take_i = *t.p.word_ready_i = 0;
  *t.p.rst_i = 1;
  for (unsigned i = 0; i < 2; i++) {
    *t.p.clk_i = 0;
    dut_eval(t.d);
    *t.p.clk_i = 1;
    dut_eval(t.d);
  }
  *t.p.rst_i = 0;
  for (unsigned i = 0; i < 60000; i++) {
    if (bench_chance(&t.b, 3) && t.runs_queued - t.runs_done < 2) t.runs_queued++;
    if (bench_chance(&t.b, 2) && t.runs_done < t.runs_queued) t.runs_done++;
    tick(&t, bench_chance(&t.b, 20), i / 1000 % 2 ? 100 : 30);
  }
  t.runs_done = t.runs_queued;
  for (unsigned i = 0; i < 3000; i++)
    tick(&t, false, 100);
  BENCH_EQUAL(&t.b, "all answered", 0, t.queued, t.ended);
  BENCH_EQUAL(&t.b, "idle", 0, 1, *t.p.idle_o);
  dut_close(t.d);
  return bench_end(&t.b, "bench_send");
}
