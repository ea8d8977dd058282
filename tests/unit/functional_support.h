// SPDX-License-Identifier: Apache-2.0
// The functional device behind its driver, for unit tests.
#ifndef BITLOOM_TESTS_UNIT_FUNCTIONAL_SUPPORT_H
#define BITLOOM_TESTS_UNIT_FUNCTIONAL_SUPPORT_H

#include <stdlib.h>
#include <string.h>

#include "sim/functional_device.h"

typedef struct {
  bl_functional *device;
  bl_driver driver;
  bl_answer last; // the last RUN's
} setup;

static inline void note_run(void *context, const bl_answer *answer) {
  setup *u = context;
  if (answer->opcode == BL_OP_RUN) u->last = *answer;
}

// The setup must stay where it is.
static inline bool open_device(setup *u, const bl_config *config, bl_popcount popcount) {
  memset(u, 0, sizeof *u);
  u->device = bl_functional_open(config, popcount);
  if (u->device == NULL) return false;
  assert_int_equal(bl_driver_open(&u->driver, &bl_functional_transport, u->device, 100),
                   BL_DRIVER_OK);
  u->driver.listener = note_run;
  u->driver.listener_context = u;
  return true;
}

static inline void load_at(setup *u, uint8_t opcode, uint32_t address, uint32_t argument,
                           const void *bytes, size_t size) {
  uint32_t *words = calloc(size / 4 + 1, 4);
  assert_non_null(words);
  memcpy(words, bytes, size);
  assert_int_equal(bl_driver_request(&u->driver, opcode, address, argument, words, (uint32_t)size,
                                     NULL, 0, NULL),
                   BL_DRIVER_OK);
  free(words);
}

static inline void load(setup *u, uint8_t opcode, uint32_t columns, const void *bytes,
                        size_t size) {
  load_at(u, opcode, 0, columns << 24, bytes, size);
}

#endif
