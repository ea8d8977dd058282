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
#include "sim/rtl_model.h"

typedef struct bl_rtl bl_rtl;

// A device of one of BL_CONFIGS, out of reset. stalls: chance of a stall on each handshake and
// cycle, 0..0.95. NULL when memory is short or no model of this configuration is built in.
bl_rtl *bl_rtl_open(const bl_config *config, double stalls, uint64_t seed);
// The same of any model, such as the netlist's (netlist.h), which outlives the device. A netlist
// has no activity to listen to and no waveform.
bl_rtl *bl_rtl_open_model(const bl_rtl_model *model, double stalls, uint64_t seed);
void bl_rtl_close(bl_rtl *device);

// The transport; its context is the bl_rtl.
extern const bl_transport bl_rtl_transport;

// Clock cycles simulated so far.
uint64_t bl_rtl_cycles(const bl_rtl *device);
// Records every signal to an FST file from now on; path NULL ends it. False when it cannot be
// written.
bool bl_rtl_trace(bl_rtl *device, const char *path);
// What the blocks do in one clock cycle, as bits. Bit k < BL_COUNTER_COUNT: the device counts the
// cycle under counter k (exactly one of them, never CYCLES).
enum {
  BL_RTL_TAKEN =
      1 << BL_COUNTER_COUNT,          // the counters are being read as they were before this cycle
  BL_RTL_CLEARED = BL_RTL_TAKEN << 1, // and, with BL_RTL_TAKEN, start from 0 with this cycle
  BL_RTL_RUNNING = BL_RTL_TAKEN << 2, // a run is in flight
  BL_RTL_STARTED = BL_RTL_TAKEN << 3, // this is its first cycle
  BL_RTL_WORD_IN = BL_RTL_TAKEN << 4, // a stream word is taken
  BL_RTL_LIST = BL_RTL_TAKEN << 5,    // a load of weights, parameters or lists is under way
  BL_RTL_GATHER = BL_RTL_TAKEN << 6,  // gather reads an activation word
  BL_RTL_ISSUE = BL_RTL_TAKEN << 7,   // the array is issued a step
  BL_RTL_WRITE = BL_RTL_TAKEN << 8,   // requantise and pack write an activation word
  BL_RTL_WORD_OUT = BL_RTL_TAKEN << 9 // a stream word is given
};
typedef void (*bl_rtl_listener)(void *context, uint32_t activity);
// Has `listener` called once for each cycle from now on; NULL ends it.
void bl_rtl_listen(bl_rtl *device, bl_rtl_listener listener, void *context);
// Plants a fault for tests: the low bit of payload word `word` (counted from 0) of the answer to
// the SEND with this ordinal (counted from 0) is wrong; send -1 plants none.
void bl_rtl_plant_fault(bl_rtl *device, int64_t send, uint32_t word);

#endif
