// SPDX-License-Identifier: Apache-2.0
// The functional device: executes the same packets as the RTL, word for word, without its clock.
// It fills the driver's transport table; see docs/reference/device.md for what it must do.
//
// Differences from the RTL, all visible here: RUN's info and the counters CYCLES and ISSUE count
// the array's steps, the other counters stay 0; and a load or run that touches words which a run or
// send may still be using (no FENCE in between) is done, and answered with BL_FUNCTIONAL_RACE
// (a run: instead of OK).
#ifndef BITLOOM_SIM_FUNCTIONAL_DEVICE_H
#define BITLOOM_SIM_FUNCTIONAL_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/bl_contract.h"
#include "drivers/bl_driver.h"

// Statuses of its own, beyond the device's.
enum {
  BL_FUNCTIONAL_RACE = 64,  // see above; info is the memory's number
  BL_FUNCTIONAL_MEMORY = 65 // the host has no memory for the run; nothing was done
};

typedef struct bl_functional bl_functional;

typedef enum {
  BL_POPCOUNT_BEST, // the fastest that this machine has
  BL_POPCOUNT_PLAIN,
  BL_POPCOUNT_AVX2,
  BL_POPCOUNT_AVX512
} bl_popcount;

// A device of the given configuration (lanes 16, 32 or 64; cols 8 or 16; acc_w 16 to 32); memories
// start as zero. NULL when memory is short, the configuration is not one of these, or the machine
// lacks `popcount`.
bl_functional *bl_functional_open(const bl_config *config, bl_popcount popcount);
void bl_functional_close(bl_functional *device);

// The transport; its context is the bl_functional.
extern const bl_transport bl_functional_transport;

// Plants a fault for tests: the lowest output bit of the first pixel is wrong in the run with this
// ordinal (0: the first run after opening). -1 plants none.
void bl_functional_plant_fault(bl_functional *device, int64_t run);

// "AVX-512", "AVX2" or "plain C".
const char *bl_functional_popcount(const bl_functional *device);

#endif
