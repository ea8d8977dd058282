// SPDX-License-Identifier: Apache-2.0
// Framing: streams of sound packets, damaged headers, noise and bad payloads, with gaps in the
// stream and late takes, against the rules of device.md applied word by word.
// VERILATE plain:
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

enum { WORDS = 120000, EVENTS = WORDS + 16, LIMIT = 12 * WORDS };

typedef enum { BAD = 1, HEAD, PAYLOAD, END } kind;

// What the block reports, in order: damage (first word held), a header, a payload word, an end.
typedef struct {
  kind what;
  uint32_t value; // BAD: word, PAYLOAD: word, END: sound
  uint32_t fields[4];
} event;

static uint32_t stream[WORDS];
static event expected[EVENTS];
static uint32_t events;

// The IEEE checksum, bit by bit, most significant first: reflected in and out by hand.
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

// A packet, often sound; damage goes to any word of header or payload.
static uint32_t put_packet(bench *b, uint32_t *w) {
  uint32_t length = bench_chance(b, 20) ? 0 : (uint32_t)bench_range(b, 1, 60);
  uint32_t words = (length + 3) / 4, n = 5;
  w[0] = (uint32_t)BL_CONTRACT_REQUEST_MAGIC << 24 | (bench_random(b) >> 8);
  w[1] = length | (bench_chance(b, 10) ? bench_random(b) & 0xFF000000u : 0);
  w[2] = bench_random(b);
  w[3] = bench_random(b);
  if (bench_chance(b, 5)) w[0] ^= 1u << bench_range(b, 24, 31); // the checksum holds, the magic not
  w[4] = crc_of(w, 4);
  if (words > 0) {
    for (uint32_t i = 0; i < words; i++)
      w[n++] = bench_random(b);
    if (words == 4) w[5] &= 0x7FFFFFFFu; // or it could pass for a header, with any length
    w[n] = crc_of(w + 5, words);
    n++;
  }
  if (bench_chance(b, 25)) w[bench_range(b, 0, n - 1)] ^= 1u << bench_range(b, 0, 31);
  return n;
}

static void make_stream(bench *b) {
  uint32_t n = 0;
  while (n + 32 < WORDS) {
    if (bench_chance(b, 10))
      stream[n++] = bench_random(b) | (bench_chance(b, 50) ? 0xB7000000u : 0);
    else
      n += put_packet(b, stream + n);
  }
  while (n < WORDS)
    stream[n++] = 0;
}

static void expect(kind what, uint32_t value, const uint32_t *fields) {
  event e = {.what = what, .value = value};
  if (fields != NULL) memcpy(e.fields, fields, sizeof e.fields);
  expected[events++] = e;
}

// The rules: five words that are no sound header are reported once and then slid along.
static void apply_rules(void) {
  bool hunting = false;
  uint32_t at = 0;
  events = 0;
  while (at + 5 <= WORDS) {
    const uint32_t *w = stream + at;
    if (w[0] >> 24 != BL_CONTRACT_REQUEST_MAGIC || w[4] != crc_of(w, 4)) {
      if (!hunting) expect(BAD, w[0], NULL);
      hunting = true;
      at++;
      continue;
    }
    hunting = false;
    expect(HEAD, 0, w);
    uint32_t words = ((w[1] & 0xFFFFFFu) + 3) / 4;
    at += 5;
    if (words == 0) continue;
    if (at + words + 1 > WORDS) return;
    for (uint32_t i = 0; i < words; i++)
      expect(PAYLOAD, stream[at + i], NULL);
    expect(END, stream[at + words] == crc_of(stream + at, words), NULL);
    at += words + 1;
  }
}

static void check_fields(bench *b, const dut_ports *p, uint32_t at, const uint32_t f[4]) {
  BENCH_EQUAL(b, "opcode and tag", at, f[0] & 0xFFFFFFu, (uint32_t)*p->opcode_o << 16 | *p->tag_o);
  BENCH_EQUAL(b, "length", at, f[1], *p->length_o);
  BENCH_EQUAL(b, "address", at, f[2], *p->address_o);
  BENCH_EQUAL(b, "argument", at, f[3], *p->argument_o);
}

// Compares what is reported in this cycle with the next expected event; true when it was one that
// the bench takes now.
static bool observe(bench *b, const dut_ports *p, uint32_t at, uint32_t last_head) {
  const event *e = &expected[at];
  if (*p->payload_valid_o && *p->payload_ready_i) {
    BENCH_EQUAL(b, "a payload word is due", at, e->what, PAYLOAD);
    BENCH_EQUAL(b, "payload", at, e->value, *p->payload_data_o);
    BENCH_EQUAL(b, "last", at, expected[at + 1].what == END, *p->payload_last_o);
    return true;
  }
  if (!*p->take_i || *p->bad_o + *p->head_o + *p->end_o == 0) return false;
  BENCH_EQUAL(b, "one report at a time", at, 1, *p->bad_o + *p->head_o + *p->end_o);
  BENCH_EQUAL(b, "report", at, e->what, *p->bad_o ? BAD : *p->head_o ? HEAD : END);
  if (*p->bad_o) BENCH_EQUAL(b, "first word", at, e->value, *p->word0_o);
  if (*p->head_o) check_fields(b, p, at, e->fields);
  if (*p->end_o) {
    BENCH_EQUAL(b, "sound", at, e->value, *p->sound_o);
    check_fields(b, p, at, expected[last_head].fields);
  }
  return true;
}

static void run(bench *b, dut *d, const dut_ports *p, unsigned gaps, unsigned stalls) {
  uint32_t sent = 0, seen = 0, last_head = 0;
  for (uint32_t cycle = 0; cycle < LIMIT && (sent < WORDS || seen < events); cycle++) {
    *p->clk_i = 0;
    *p->rst_i = cycle < 2;
    if (cycle < 2 || !*p->s_valid_i) // an offered word stays until it is taken
      *p->s_valid_i = cycle >= 2 && sent < WORDS && !bench_chance(b, gaps);
    *p->s_data_i = sent < WORDS ? stream[sent] : 0;
    *p->take_i = !bench_chance(b, stalls);
    *p->payload_ready_i = !bench_chance(b, stalls);
    dut_eval(d);
    bool moved = *p->s_valid_i && *p->s_ready_o && cycle >= 2;
    if (cycle >= 2 && seen < events && observe(b, p, seen, last_head)) {
      if (expected[seen].what == HEAD) last_head = seen;
      seen++;
    }
    if (cycle == 2) BENCH_EQUAL(b, "idle after reset", cycle, 0, *p->busy_o);
    *p->clk_i = 1;
    dut_eval(d);
    if (moved) {
      sent++;
      *p->s_valid_i = 0;
    }
  }
  BENCH_EQUAL(b, "words taken", gaps, WORDS, sent);
  BENCH_EQUAL(b, "events", gaps, events, seen);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_packet");
  static const unsigned gaps[] = {0, 40, 80}, stalls[] = {0, 60, 30};
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  const uint32_t text[3] = {0x34333231u, 0x38373635u, 0}; // "12345678"
  BENCH_EQUAL(&b, "the bench's checksum", 0, 0x9AE0DAAFu, crc_of(text, 2));
  for (unsigned i = 0; i < 3; i++) {
    make_stream(&b);
    apply_rules();
    run(&b, d, &p, gaps[i], stalls[i]);
  }
  dut_close(d);
  return bench_end(&b, "bench_packet");
}
