// SPDX-License-Identifier: Apache-2.0
// Opening a simulated device behind the driver, by name.
#ifndef BITLOOM_HOST_RUN_DEVICE_H
#define BITLOOM_HOST_RUN_DEVICE_H

#include <stdbool.h>

#include "drivers/bl_driver.h"
#include "host/base/error.h"
#include "sim/netlist.h"

typedef enum { BL_DEVICE_FUNCTIONAL, BL_DEVICE_RTL, BL_DEVICE_NETLIST } bl_device_kind;

// Called with the words that the device took (to_device) or gave, in the order in which the driver
// wrote and read them.
typedef void (*bl_word_listener)(void *context, bool to_device, const uint32_t *words,
                                 uint32_t count);

typedef struct {
  bl_device_kind kind;
  const bl_config *config;
  double stalls; // RTL and netlist: chance of a stall on each handshake and cycle, 0..0.95
  uint64_t seed; // of the stalls
  bl_word_listener listener; // or NULL
  void *listener_context;
} bl_device_spec;

typedef struct {
  bl_driver driver;
  bl_device_kind kind;
  const bl_config *config;       // as the device reported it
  void *simulation;              // bl_functional or bl_rtl
  bl_netlist netlist;            // its model, where it is one
  const bl_transport *transport; // of the simulation
  bl_word_listener listener;     // or NULL
  void *listener_context;
} bl_device;

// "functional", "rtl", "netlist".
const char *bl_device_name(bl_device_kind kind);
// Creates the device, asks for its identity and checks it. `device` must not move while open: the
// driver keeps its address. Errors: MEMORY, DEVICE; USAGE (the netlist is of another
// configuration), UNSUPPORTED (it was not built).
BL_MUST_USE bl_status bl_device_open(const bl_device_spec *spec, bl_device *device, bl_error *err);
void bl_device_close(bl_device *device);
// RTL: records a waveform to `path` from now on; NULL ends it. Errors: UNSUPPORTED (a device
// without signals), IO.
BL_MUST_USE bl_status bl_device_trace(bl_device *device, const char *path, bl_error *err);
// BL_OK, or the driver's failure during `doing` as one line: who, what, the device's own status.
bl_status bl_device_check(const bl_device *device, bl_driver_result result, const char *doing,
                          bl_error *err);

// The failure that an answer other than OK tells, as one line.
bl_status bl_device_failure(const bl_device *device, const bl_answer *answer, const char *doing,
                            bl_error *err);

// A counter of the device (0..BL_COUNTER_COUNT-1): its short name and what it counts.
const char *bl_device_counter_name(int counter);
const char *bl_device_counter_meaning(int counter);

#endif
