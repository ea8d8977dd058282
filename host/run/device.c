// SPDX-License-Identifier: Apache-2.0
// The simulated devices by name, and the driver's failures as one line.
#include "host/run/device.h"

#include <string.h>

#include "sim/functional_device.h"
#include "sim/rtl_device.h"

// Waits without any progress before a device counts as dead.
// The RTL's are of 32 to 256 clock cycles; a layer of a hundred million cycles still finishes.
enum { FUNCTIONAL_PATIENCE = 1000, RTL_PATIENCE = 4000000 };

const char *bl_device_name(bl_device_kind kind) {
  static const char *const names[] = {"functional", "rtl", "netlist"};
  return names[kind];
}

static const char *status_text(uint8_t status) {
  if (status == BL_FUNCTIONAL_RACE) return "a load or run overlaps one in flight";
  if (status == BL_FUNCTIONAL_MEMORY) return "no memory for the run";
  return bl_driver_status_text(status);
}

bl_status bl_device_failure(const bl_device *device, const bl_answer *answer, const char *doing,
                            bl_error *err) {
  return bl_fail(err, BL_ERR_DEVICE, "%s device, %s: %s (status %u, info 0x%x, opcode 0x%02x)",
                 bl_device_name(device->kind), doing, status_text(answer->status),
                 (unsigned)answer->status, (unsigned)answer->info, (unsigned)answer->opcode);
}

bl_status bl_device_check(const bl_device *device, bl_driver_result result, const char *doing,
                          bl_error *err) {
  if (result == BL_DRIVER_OK) return BL_OK;
  if (result == BL_DRIVER_DEVICE)
    return bl_device_failure(device, &device->driver.failure, doing, err);
  return bl_fail(err, BL_ERR_DEVICE, "%s device, %s: %s", bl_device_name(device->kind), doing,
                 bl_driver_result_text(result));
}

// ---- A transport that tells its listener what passes ----

static int32_t heard_write(void *context, const uint32_t *words, uint32_t count) {
  const bl_device *d = context;
  int32_t done = d->transport->write(d->simulation, words, count);
  if (done > 0) d->listener(d->listener_context, true, words, (uint32_t)done);
  return done;
}

static int32_t heard_read(void *context, uint32_t *words, uint32_t count) {
  const bl_device *d = context;
  int32_t done = d->transport->read(d->simulation, words, count);
  if (done > 0) d->listener(d->listener_context, false, words, (uint32_t)done);
  return done;
}

static int32_t heard_wait(void *context) {
  const bl_device *d = context;
  return d->transport->wait(d->simulation);
}

static const bl_transport heard_transport = {heard_write, heard_read, heard_wait, NULL, NULL};

// ---- Opening ----

static bl_driver_result open_driver(const bl_device_spec *spec, bl_device *device, void *simulation,
                                    const bl_transport *transport, uint32_t patience) {
  device->simulation = simulation;
  device->transport = transport;
  device->listener = spec->listener;
  device->listener_context = spec->listener_context;
  if (spec->listener == NULL)
    return bl_driver_open(&device->driver, transport, simulation, patience);
  return bl_driver_open(&device->driver, &heard_transport, device, patience);
}

static bl_status open_functional(const bl_device_spec *spec, bl_device *device, bl_error *err) {
  bl_functional *functional = bl_functional_open(spec->config, BL_POPCOUNT_BEST);
  if (functional == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "functional device: no memory for configuration %s",
                   spec->config->name);
  return bl_device_check(
      device, open_driver(spec, device, functional, &bl_functional_transport, FUNCTIONAL_PATIENCE),
      "opening", err);
}

static bl_status load_netlist(const bl_device_spec *spec, bl_device *device, bl_error *err) {
  if (strcmp(spec->config->name, BL_NETLIST_CONFIG) != 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "netlist device: the netlist is of configuration " BL_NETLIST_CONFIG
                   ", the model was compiled for %s; compress it with --config " BL_NETLIST_CONFIG,
                   spec->config->name);
  char why[256];
  if (!bl_netlist_load(&device->netlist, why, sizeof why))
    return bl_fail(err, BL_ERR_UNSUPPORTED, "netlist device: %s", why);
  return BL_OK;
}

// The netlist is simulated as the RTL is; only the model differs.
static bl_status open_rtl(const bl_device_spec *spec, bl_device *device, bl_error *err) {
  if (spec->kind == BL_DEVICE_NETLIST) BL_TRY(load_netlist(spec, device, err));
  const bl_rtl_model *model = device->netlist.model;
  bl_rtl *rtl = model == NULL ? bl_rtl_open(spec->config, spec->stalls, spec->seed)
                              : bl_rtl_open_model(model, spec->stalls, spec->seed);
  if (rtl == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "%s device: no memory for configuration %s",
                   bl_device_name(spec->kind), spec->config->name);
  return bl_device_check(device, open_driver(spec, device, rtl, &bl_rtl_transport, RTL_PATIENCE),
                         "opening", err);
}

bl_status bl_device_open(const bl_device_spec *spec, bl_device *device, bl_error *err) {
  memset(device, 0, sizeof *device);
  device->kind = spec->kind;
  device->config = spec->config;
  bl_status status = spec->kind == BL_DEVICE_FUNCTIONAL ? open_functional(spec, device, err)
                                                        : open_rtl(spec, device, err);
  if (status == BL_OK)
    status = bl_device_check(device, bl_driver_identify(&device->driver, spec->config, NULL),
                             "asking for its identity", err);
  if (status != BL_OK) bl_device_close(device);
  return status;
}

bl_status bl_device_trace(bl_device *device, const char *path, bl_error *err) {
  if (device->kind != BL_DEVICE_RTL)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "the %s device has no signals to record",
                   bl_device_name(device->kind));
  if (!bl_rtl_trace(device->simulation, path))
    return bl_fail(err, BL_ERR_IO, "%s: cannot write the waveform", path);
  return BL_OK;
}

void bl_device_close(bl_device *device) {
  if (device->simulation != NULL && device->kind == BL_DEVICE_FUNCTIONAL)
    bl_functional_close(device->simulation);
  else if (device->simulation != NULL)
    bl_rtl_close(device->simulation);
  device->simulation = NULL;
  bl_netlist_unload(&device->netlist);
}

static const struct {
  const char *name, *meaning;
} counters[BL_COUNTER_COUNT] = {
    [BL_COUNTER_CYCLES] = {"cycles", "clock cycles (functional device: steps of the array)"},
    [BL_COUNTER_ISSUE] = {"issue", "the array was issued a step"},
    [BL_COUNTER_WEIGHTS] = {"weights", "waiting for weights, parameters or lists"},
    [BL_COUNTER_REQUANT] = {"requant", "a step held back by requantise or pack"},
    [BL_COUNTER_STREAM_IN] = {"stream_in", "waiting for activations or another packet"},
    [BL_COUNTER_STREAM_OUT] = {"stream_out", "results being sent"},
    [BL_COUNTER_GATHER] = {"gather", "waiting for a row buffer"},
    [BL_COUNTER_DRAIN] = {"drain", "lists being fetched or last results draining"},
    [BL_COUNTER_IDLE] = {"idle", "nothing to do"},
};

const char *bl_device_counter_name(int counter) {
  return counters[counter].name;
}

const char *bl_device_counter_meaning(int counter) {
  return counters[counter].meaning;
}
