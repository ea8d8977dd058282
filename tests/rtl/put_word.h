// SPDX-License-Identifier: Apache-2.0
// Filling row buffers by hand. For benches of a design with the ports fill_we_i and fill_data_i,
// whose parameters and ports dut.h holds.
#ifndef BITLOOM_TESTS_RTL_PUT_WORD_H
#define BITLOOM_TESTS_RTL_PUT_WORD_H

#include <stdint.h>
#include <string.h>

#include "dut.h"

// A word for the rows of a mask, alone: the rows' second words are not written.
static void put_word(dut_ports *p, unsigned rows, uint64_t data) {
  uint32_t we = 0;
  for (unsigned r = 0; r < ROWS; r++)
    we |= (rows >> r & 1u) << (r * GATHER_WORDS);
  memcpy(p->fill_we_i, &we, (ROWS * GATHER_WORDS + 7) / 8);
  for (unsigned k = 0; k < GATHER_WORDS; k++)
    memcpy((uint8_t *)p->fill_data_i + k * (LANES / 8), &data, LANES / 8);
}

#endif
