// SPDX-License-Identifier: Apache-2.0
// Answers: three sources at random, an output that stalls, sends whose words come late; every
// answer whole, in the order of its taking, runs before sends before commands.
// VERILATE plain:
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

enum { CYCLES = 120000, LONGEST = 5 + 40 + 1, PENDING = 8 };
enum { RUN, SEND, COMMAND, SOURCES };

typedef struct {
  bool asking, delivering, offering;
  uint32_t opcode, tag, status, info, length;
  uint32_t delivered; // payload words
} source;

// Words that must come out, oldest first; bit 32 is TLAST.
typedef struct {
  uint64_t words[PENDING * LONGEST];
  uint32_t first, count;
} queue;

// The IEEE checksum, most significant bit first: reflected in and out by hand.
static uint32_t crc_of(const uint32_t *words, uint32_t count) {
  uint32_t crc = 0xFFFFFFFFu, reflected = 0;
  for (uint32_t i = 0; i < count * 32; i++) {
    uint32_t bit = (words[i / 32] >> (i % 32)) & 1u;
    crc = (crc << 1) ^ ((crc >> 31) != bit ? 0x04C11DB7u : 0);
  }
  for (uint32_t i = 0; i < 32; i++)
    reflected |= ((crc >> i) & 1u) << (31 - i);
  return ~reflected;
}

static uint32_t payload_word(const source *s, uint32_t index) {
  return (s->tag * 0x9E3779B1u) ^ (index * 0x85EBCA77u);
}

static void new_answer(bench *b, source *s, int from) {
  *s = (source){.asking = true, .tag = bench_random(b) & 0xFFFFu};
  s->opcode = from == RUN ? BL_OP_RUN : from == SEND ? BL_OP_SEND : bench_random(b) & 0xFFu;
  s->status = from == SEND ? BL_STATUS_OK : bench_random(b) & 0xFFu;
  s->info = from == SEND ? 0 : bench_random(b);
  if (from == RUN && bench_chance(b, 70)) s->length = 4;
  if (from == SEND || (from == COMMAND && bench_chance(b, 50)))
    s->length = (uint32_t)bench_range(b, from == SEND ? 1 : 0, 160);
}

static void push(queue *q, uint32_t word, bool last) {
  q->words[(q->first + q->count++) % (PENDING * LONGEST)] = word | (uint64_t)last << 32;
}

static void expect_answer(queue *q, const source *s) {
  uint32_t header[4] = {(uint32_t)BL_CONTRACT_ANSWER_MAGIC << 24 | s->opcode << 16 | s->tag,
                        s->length, s->status, s->info};
  uint32_t payload[LONGEST], words = (s->length + 3) / 4;
  for (uint32_t i = 0; i < 4; i++)
    push(q, header[i], false);
  push(q, crc_of(header, 4), words == 0);
  for (uint32_t i = 0; i < words; i++) {
    payload[i] = payload_word(s, i);
    push(q, payload[i], false);
  }
  if (words > 0) push(q, crc_of(payload, words), true);
}

static void drive(bench *b, const dut_ports *p, source s[SOURCES], unsigned gaps) {
  for (int i = 0; i < SOURCES; i++)
    if (!s[i].asking && !s[i].delivering && bench_chance(b, 5)) new_answer(b, &s[i], i);
  *p->run_i = s[RUN].asking;
  *p->run_tag_i = (uint16_t)s[RUN].tag;
  *p->run_status_i = (uint8_t)s[RUN].status;
  *p->run_info_i = s[RUN].info;
  *p->run_signed_i = s[RUN].asking ? s[RUN].length > 0 : bench_chance(b, 50);
  *p->run_signature_i = s[RUN].asking ? payload_word(&s[RUN], 0) : bench_random(b);
  *p->send_i = s[SEND].asking;
  *p->send_tag_i = (uint16_t)s[SEND].tag;
  *p->send_length_i = s[SEND].length;
  s[SEND].offering |= s[SEND].delivering && !bench_chance(b, gaps); // and stays until taken
  *p->send_word_valid_i = s[SEND].offering;
  *p->send_word_i = *p->send_word_valid_i ? payload_word(&s[SEND], s[SEND].delivered) : 0xDEADu;
  *p->command_i = s[COMMAND].asking;
  *p->command_opcode_i = (uint8_t)s[COMMAND].opcode;
  *p->command_tag_i = (uint16_t)s[COMMAND].tag;
  *p->command_status_i = (uint8_t)s[COMMAND].status;
  *p->command_info_i = s[COMMAND].info;
  *p->command_length_i = (uint8_t)s[COMMAND].length;
  *p->command_word_i = payload_word(&s[COMMAND], s[COMMAND].delivered);
}

// What the cycle did: words out, answers begun, payload words fetched.
static void follow(bench *b, const dut_ports *p, source s[SOURCES], queue *q, long cycle) {
  const bool takes[SOURCES] = {*p->run_take_o, *p->send_take_o, *p->command_take_o};
  if (*p->m_valid_o && *p->m_ready_i) {
    BENCH_EQUAL(b, "a word is due", cycle, true, q->count > 0);
    uint64_t due = q->words[q->first];
    BENCH_EQUAL(b, "word and TLAST", cycle, due, *p->m_data_o | (uint64_t)*p->m_last_o << 32);
    q->first = (q->first + 1) % (PENDING * LONGEST);
    q->count -= q->count > 0;
  }
  const bool fetched[SOURCES] = {false, *p->send_word_valid_i && *p->send_word_ready_o,
                                 *p->command_word_take_o};
  for (int i = 0; i < SOURCES; i++) {
    if (fetched[i]) {
      BENCH_EQUAL(b, "only the answering source's words are taken", cycle, true, s[i].delivering);
      s[i].delivering = ++s[i].delivered < (s[i].length + 3) / 4;
      s[i].offering = false;
    }
    if (!takes[i]) continue;
    BENCH_EQUAL(b, "the source asks", cycle, true, s[i].asking);
    for (int before = 0; before < i; before++)
      BENCH_EQUAL(b, "nobody with priority asks", cycle, false, s[before].asking);
    BENCH_EQUAL(b, "the last answer has left", cycle, 0, q->count);
    expect_answer(q, &s[i]);
    s[i].asking = false;
    s[i].delivering = i != RUN && s[i].length > 0;
  }
}

static void run(bench *b, dut *d, const dut_ports *p, unsigned gaps, unsigned stalls) {
  static queue q;
  source s[SOURCES] = {{0}};
  bool waiting = false;
  uint64_t held = 0, answers = 0;
  q = (queue){0};
  for (long cycle = 0; cycle < CYCLES; cycle++) {
    *p->clk_i = 0;
    *p->rst_i = cycle < 2;
    drive(b, p, s, gaps);
    *p->m_ready_i = !bench_chance(b, stalls);
    dut_eval(d);
    if (cycle >= 2) {
      uint64_t now = *p->m_data_o | (uint64_t)*p->m_last_o << 32;
      if (waiting)
        BENCH_EQUAL(b, "a word not taken stays", cycle, held, *p->m_valid_o ? now : ~now);
      waiting = *p->m_valid_o && !*p->m_ready_i;
      held = now;
      answers += *p->m_valid_o && *p->m_ready_i && *p->m_last_o;
      follow(b, p, s, &q, cycle);
    }
    *p->clk_i = 1;
    dut_eval(d);
  }
  BENCH_EQUAL(b, "answers flow", gaps, true, answers > CYCLES / 300);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_answer");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  run(&b, d, &p, 0, 0);
  run(&b, d, &p, 40, 60);
  run(&b, d, &p, 80, 20);
  dut_close(d);
  return bench_end(&b, "bench_answer");
}
