// SPDX-License-Identifier: Apache-2.0
// The signature of random writes against a CRC worked out byte by byte and bit by bit.
// VERILATE tiny: -GLANES=16
// VERILATE default: -GLANES=32
// VERILATE wide: -GLANES=64
#include "bench.h"
#include "dut.h"

enum { BYTES = LANES / 8, CYCLES = 20000 };

static uint32_t crc_of(const uint8_t *bytes, unsigned count) {
  uint32_t crc = 0xFFFFFFFF;
  for (unsigned i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc & 1 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
  }
  return ~crc;
}

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

// A write at random, and what it adds.
static uint32_t random_write(bench *b, dut_ports *p) {
  uint8_t message[4 + BYTES] = {0}, enable = (uint8_t)(bench_random(b) & ((1u << BYTES) - 1));
  if (bench_chance(b, 40)) enable = 0;
  unsigned address = bench_random(b) & 0xFFFF;
  message[0] = (uint8_t)address;
  message[1] = (uint8_t)(address >> 8);
  uint64_t data = (uint64_t)bench_random(b) << 32 | bench_random(b);
  for (unsigned k = 0; k < BYTES; k++)
    if (enable >> k & 1) message[4 + k] = (uint8_t)(data >> (8 * k));
  *p->enable_i = enable;
  *p->address_i = (uint16_t)address;
  memcpy(p->data_i, &data, BYTES);
  return enable == 0 ? 0 : crc_of(message, sizeof message);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_signature");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  uint32_t sum = 0;
  BENCH_EQUAL(&b, "CRC-32 of 123456789", 0, 0xCBF43926, crc_of((const uint8_t *)"123456789", 9));
  *p.rst_i = *p.clear_i = 1;
  *p.enable_i = 0;
  tick(d, &p);
  *p.rst_i = *p.clear_i = 0;
  for (unsigned i = 0; i < CYCLES; i++) {
    sum += random_write(&b, &p);
    tick(d, &p);
    if (!bench_chance(&b, 5)) continue;
    *p.enable_i = 0;
    tick(d, &p);
    BENCH_EQUAL(&b, "no longer busy", i, 0, *p.busy_o);
    BENCH_EQUAL(&b, "sum", i, sum, *p.sum_o);
    if (!bench_chance(&b, 30)) continue;
    *p.clear_i = 1;
    tick(d, &p);
    *p.clear_i = 0;
    sum = 0;
  }
  dut_close(d);
  return bench_end(&b, "bench_signature");
}
