// SPDX-License-Identifier: Apache-2.0
// Loads cut into units: random unit sizes, columns and lengths, stalls on both sides, against the
// payload's bytes; loads of codes against the codebook's bits, byte by byte and plane by plane.
//
// VERILATE tiny: -GUNIT_BYTES=9 -GLANES=16
// VERILATE param: -GUNIT_BYTES=9 -GLANES=32
// VERILATE wide: -GUNIT_BYTES=16 -GLANES=128
#include "bench.h"
#include "dut.h"

enum { MAX_BYTES = 1024, BOOK = 16, CODE_BYTES = LANES / 2 };

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  uint8_t payload[MAX_BYTES + 4];
  unsigned unit, columns, address, units;
  unsigned word, taken; // stream words given, units taken
  bool codes;
  unsigned planes, stride, length;
} test;

// Writes come stream word by stream word, which is a byte of the weight word, plane by plane.
static void check_codes(test *t) {
  dut_ports *p = &t->p;
  unsigned count = (unsigned)__builtin_popcount(t->planes), k = t->taken++, rank = k % count;
  unsigned byte = k / count % (LANES / 8), unit = k / count / (LANES / 8), plane = 0, value = 0;
  if (unit >= t->units) {
    BENCH_EQUAL(&t->b, "a byte too many", k, t->units, unit);
    return;
  }
  for (unsigned r = 0; r < rank || ((t->planes >> plane) & 1u) == 0; plane++)
    r += (t->planes >> plane) & 1u;
  for (unsigned l = 0; l < 8; l++) {
    unsigned at = unit * LANES + byte * 8 + l;
    unsigned code = (t->payload[BOOK + at / 2] >> (at % 2 * 4)) & 15u;
    value |= ((unsigned)t->payload[code] >> plane & 1u) << l;
  }
  unsigned address = (t->address + unit / t->columns + rank * t->stride) & 0xFFFF;
  BENCH_EQUAL(&t->b, "column", k, unit % t->columns, *p->unit_column_o);
  BENCH_EQUAL(&t->b, "address", k, address, *p->unit_address_o);
  BENCH_EQUAL(&t->b, "byte enable", k, 1u << byte, *p->unit_bytes_o);
  BENCH_EQUAL(&t->b, "expanded", k, value, bench_get(p->unit_data_o, byte * 8, 8));
}

static void check_unit(test *t) {
  dut_ports *p = &t->p;
  if (t->codes) {
    check_codes(t);
    return;
  }
  unsigned k = t->taken++;
  if (k >= t->units) {
    BENCH_EQUAL(&t->b, "a unit too many", k, t->units, k + 1);
    return;
  }
  BENCH_EQUAL(&t->b, "column", k, k % t->columns, *p->unit_column_o);
  BENCH_EQUAL(&t->b, "address", k, (t->address + k / t->columns) & 0xFFFF, *p->unit_address_o);
  BENCH_EQUAL(&t->b, "byte enables", k, (1u << (LANES / 8)) - 1, *p->unit_bytes_o);
  for (unsigned j = 0; j < UNIT_BYTES; j++)
    BENCH_EQUAL(&t->b, "byte", k * 16 + j, j < t->unit ? t->payload[k * t->unit + j] : 0,
                bench_get(p->unit_data_o, j * 8, 8));
}

static void tick(test *t, unsigned offer, unsigned accept) {
  dut_ports *p = &t->p;
  bool more = t->word * 4 < t->length;
  *p->clk_i = 0;
  if (!*p->payload_valid_i) *p->payload_valid_i = more && bench_chance(&t->b, offer);
  memcpy(p->payload_data_i, &t->payload[more ? t->word * 4 : 0], 4);
  *p->payload_last_i = t->word * 4 + 4 >= t->length;
  *p->unit_ready_i = bench_chance(&t->b, accept);
  dut_eval(t->d);
  bool gone = *p->payload_valid_i && *p->payload_ready_o;
  if (*p->unit_valid_o && *p->unit_ready_i) check_unit(t);
  *p->clk_i = 1;
  dut_eval(t->d);
  t->word += gone;
  if (gone) *p->payload_valid_i = 0;
}

static void run_load(test *t) {
  dut_ports *p = &t->p;
  bench *b = &t->b;
  t->codes = bench_chance(b, 40);
  t->planes = (unsigned)bench_range(b, 1, 255);
  t->stride = bench_random(b) & 0xFFFF;
  t->unit = t->codes ? CODE_BYTES : (unsigned)bench_range(b, 1, UNIT_BYTES);
  t->columns = (unsigned)bench_range(b, 1, bench_chance(b, 40) ? 1 : 16);
  t->units = (unsigned)bench_range(b, 1, (MAX_BYTES - BOOK) / t->unit);
  t->length = t->unit * t->units + (t->codes ? BOOK : 0);
  t->address = bench_random(b) & 0xFFF;
  for (unsigned i = 0; i < sizeof t->payload; i++)
    t->payload[i] = (uint8_t)bench_random(b);
  *p->start_i = 1;
  *p->codes_i = t->codes;
  *p->planes_i = (uint8_t)t->planes;
  *p->stride_i = (uint16_t)t->stride;
  *p->unit_i = t->codes ? (uint8_t)(bench_random(b) & 31) : (uint8_t)t->unit;
  *p->columns_i = (uint8_t)t->columns;
  *p->address_i = (uint16_t)t->address;
  *p->length_i = t->length & 3;
  t->word = t->taken = 0;
  tick(t, 0, 0);
  *p->start_i = 0;
  unsigned offer = (unsigned)bench_range(b, 10, 100), accept = (unsigned)bench_range(b, 10, 100);
  for (unsigned i = 0; i < 100000 && (!*p->idle_o || t->word * 4 < t->length); i++)
    tick(t, offer, accept);
  unsigned each = t->codes ? LANES / 8 * (unsigned)__builtin_popcount(t->planes) : 1;
  BENCH_EQUAL(b, "units", t->unit, t->units * each, t->taken);
  BENCH_EQUAL(b, "stream words", t->unit, (t->length + 3) / 4, t->word);
  BENCH_EQUAL(b, "idle", t->unit, 1, *p->idle_o);
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_unpack");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.start_i = *t.p.payload_valid_i = *t.p.unit_ready_i = 0;
  *t.p.rst_i = 1;
  for (unsigned i = 0; i < 2; i++) {
    *t.p.clk_i = 0;
    dut_eval(t.d);
    *t.p.clk_i = 1;
    dut_eval(t.d);
  }
  *t.p.rst_i = 0;
  for (unsigned i = 0; i < 200 && t.b.failures < 20; i++)
    run_load(&t);
  dut_close(t.d);
  return bench_end(&t.b, "bench_unpack");
}
