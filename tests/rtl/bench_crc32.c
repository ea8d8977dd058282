// SPDX-License-Identifier: Apache-2.0
// The running checksum against a bit-by-bit CRC-32 and the standard check value.
// VERILATE plain: -O3
#include "bench.h"
#include "dut.h"

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

// One byte at a time, one bit at a time, polynomial 0x04C11DB7 reflected.
static uint32_t crc_byte(uint32_t crc, uint8_t byte) {
  for (int i = 0; i < 8; i++) {
    bool bit = ((crc ^ (byte >> i)) & 1u) != 0;
    crc >>= 1;
    if (bit) crc ^= 0xEDB88320u;
  }
  return crc;
}

static uint32_t crc_word(uint32_t crc, uint32_t word) {
  for (int i = 0; i < 4; i++)
    crc = crc_byte(crc, (uint8_t)(word >> (8 * i)));
  return crc;
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_crc32");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  // "12345678" as two words, then '9' cannot be: the check value of eight bytes is 0x9AE0DAAF.
  *p.clear_i = 1;
  *p.valid_i = 0;
  tick(d, &p);
  *p.clear_i = 0;
  *p.valid_i = 1;
  *p.data_i = 0x34333231;
  tick(d, &p);
  *p.data_i = 0x38373635;
  tick(d, &p);
  BENCH_EQUAL(&b, "check value", 0, 0x9AE0DAAFu, *p.crc_o);
  uint32_t model = ~0u;
  *p.clear_i = 1;
  *p.valid_i = 0;
  tick(d, &p);
  for (int i = 0; i < 50000; i++) {
    bool clear = bench_chance(&b, 5), valid = bench_chance(&b, 70);
    uint32_t word = bench_random(&b);
    *p.clear_i = clear;
    *p.valid_i = valid;
    *p.data_i = word;
    tick(d, &p);
    if (clear) model = ~0u;
    if (valid) model = crc_word(model, word);
    BENCH_EQUAL(&b, "crc", i, ~model, *p.crc_o);
  }
  dut_close(d);
  return bench_end(&b, "bench_crc32");
}
