// SPDX-License-Identifier: Apache-2.0
// The Verilated RTL as a device behind the driver's transport table.
//
// Simulated time passes while words are written and in wait(); nothing runs by itself. Random
// stalls on every handshake (both streams, all five register channels) come from a seed.
#ifndef BITLOOM_SIM_RTL_DEVICE_H
#define BITLOOM_SIM_RTL_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/bl_contract.h"
#include "drivers/bl_driver.h"

typedef struct bl_rtl bl_rtl;

// A device of one of BL_CONFIGS, out of reset. stalls: chance of a stall on each handshake and
// cycle, 0..0.95. NULL when memory is short or no model of this configuration is built in.
bl_rtl *bl_rtl_open(const bl_config *config, double stalls, uint64_t seed);
void bl_rtl_close(bl_rtl *device);

// The transport; its context is the bl_rtl.
extern const bl_transport bl_rtl_transport;

// Clock cycles simulated so far.
uint64_t bl_rtl_cycles(const bl_rtl *device);
// Records every signal to an FST file from now on; path NULL ends it. False when it cannot be
// written.
bool bl_rtl_trace(bl_rtl *device, const char *path);
// Plants a fault for tests: the low bit of payload word `word` (counted from 0) of the answer to
// the SEND with this ordinal (counted from 0) is wrong; send -1 plants none.
void bl_rtl_plant_fault(bl_rtl *device, int64_t send, uint32_t word);

#endif
