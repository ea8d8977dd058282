// SPDX-License-Identifier: Apache-2.0
// A program loaded on a device: batches in, results out. Knows nothing of networks or numbers, only
// of steps, regions and answers.
#ifndef BITLOOM_HOST_RUN_PROGRAM_SESSION_H
#define BITLOOM_HOST_RUN_PROGRAM_SESSION_H

#include "host/compile/program.h"
#include "host/run/device.h"
#include "host/run/executor.h"

typedef struct bl_session bl_session;

enum { BL_SESSION_FLIGHTS = 2 };

// Opens the device that `spec` describes (its config is the program's), and loads what stays on it.
// Graph and program outlive the session. A fault_layer below the layer count makes the session
// change that layer's descriptor on its way to the device, for verify to find. Errors: USAGE (the
// program is for another configuration), MEMORY, DEVICE.
BL_MUST_USE bl_status bl_session_open(const bl_device_spec *spec, const bl_int_graph *graph,
                                      const bl_program *program, uint32_t fault_layer,
                                      bl_session **session, bl_error *err);
void bl_session_close(bl_session *session);

// Records the next batch, which then runs by itself, as a waveform: all of it, or layer `layer`
// alone where 0 <= layer < the layer count (the device then finishes everything before and after it
// by itself). Errors: UNSUPPORTED, RANGE.
BL_MUST_USE bl_status bl_session_trace(bl_session *session, const char *path, int64_t layer,
                                       bl_error *err);
// Writes a timeline of everything from now to bl_session_profile_end (see profile.h); the counters
// start from 0. Before the first batch. Errors: UNSUPPORTED, IO, MEMORY, DEVICE.
BL_MUST_USE bl_status bl_session_profile(bl_session *session, const char *path, bl_error *err);
// Ends it after the counters have been read; without it nothing is left under `path`. Errors: IO,
// DEVICE.
BL_MUST_USE bl_status bl_session_profile_end(bl_session *session, bl_error *err);
// Announces the batch after the one that runs next, so that a program that loads ahead can load its
// input beside it; for others this does nothing. Another input may still follow: it is then loaded
// by itself. Errors: RANGE, MEMORY.
BL_MUST_USE bl_status bl_session_next(bl_session *session, const int32_t *in, size_t images,
                                      bl_error *err);
// Sends a batch of 1..program->images images to the device, which takes it up at once: as it sends
// the output of the batch before, it computes the first layers of this one. At most
// BL_SESSION_FLIGHTS batches are in flight; `in` may go when the call returns. An error that the
// device answers is reported by bl_session_collect of the batch it belongs to. Errors: RANGE,
// MEMORY, USAGE (too many in flight); DEVICE (streams lost: nothing more can be collected).
BL_MUST_USE bl_status bl_session_submit(bl_session *session, const int32_t *in, size_t images,
                                        bl_error *err);
// Waits for the output of the oldest batch in flight, as many images as were submitted, and takes
// it out of flight, also where it failed. Batches before a failed one are not harmed; those behind
// it fail with it, and no more can be run. Errors: USAGE (nothing in flight), DEVICE.
BL_MUST_USE bl_status bl_session_collect(bl_session *session, int32_t *out, bl_error *err);
// Runs 1..program->images images with nothing else in flight (else USAGE); see bl_executor.run.
// With a sink the device stops after each layer to send its output. Errors: RANGE, DEVICE, MEMORY.
BL_MUST_USE bl_status bl_session_run(bl_session *session, const int32_t *in, size_t images,
                                     int32_t *out, bl_layer_sink sink, void *context,
                                     bl_error *err);

// The same, but the sink gets only layer `layer`: the device stops once, and everything else runs
// on.
BL_MUST_USE bl_status bl_session_run_layer(bl_session *session, const int32_t *in, size_t images,
                                           int32_t *out, uint32_t layer, bl_layer_sink sink,
                                           void *context, bl_error *err);
// Of the last batch collected: the signature that the device answered, for each step of
// program->batch that is a RUN. NULL when it answered a run without one. They cover program->images
// images, also those that a call with fewer left empty.
const uint32_t *bl_session_signatures(const bl_session *session);

// Counters of everything since the program was loaded.
BL_MUST_USE bl_status bl_session_counters(bl_session *session, uint64_t counters[BL_COUNTER_COUNT],
                                          bl_error *err);
// Cycles that each layer's runs took so far, [layer_count], as the device answered them.
const uint64_t *bl_session_layer_cycles(const bl_session *session);

// The session behind the executors' interface; closing the executor closes the session.
BL_MUST_USE bl_status bl_executor_device(const bl_device_spec *spec, const bl_int_graph *graph,
                                         const bl_program *program, uint32_t fault_layer,
                                         bl_executor *executor, bl_error *err);
// The session behind a device's executor; NULL behind another.
bl_session *bl_executor_session(const bl_executor *executor);

#endif
