// SPDX-License-Identifier: Apache-2.0
// A timeline of the simulated RTL in the Chrome trace event format, for Perfetto and
// chrome://tracing: a track for each block, cycle by cycle, runs of equal state as one event.
// Written while it happens; memory does not grow with the run. 1 us in the viewer is 1 clock cycle.
#ifndef BITLOOM_HOST_RUN_PROFILE_H
#define BITLOOM_HOST_RUN_PROFILE_H

#include "host/compile/program.h"
#include "host/run/device.h"

enum { BL_PROFILE_MOST_EVENTS = 1 << 20 };

typedef struct bl_profile bl_profile;

// Follows `device` from now on, and writes what lies between the next reading of its counters that
// clears them and the reading after it: the cycles that the latter's counters hold. After
// `most_events` (1..) the tracks end, and the file says in which cycle (truncated_at, else null).
// Graph, program and device outlive the profile; the device runs program->batch over and over.
// Nothing appears under `path` before bl_profile_finish. Errors: UNSUPPORTED (a device without
// signals), IO, MEMORY.
BL_MUST_USE bl_status bl_profile_open(const char *path, bl_device *device,
                                      const bl_int_graph *graph, const bl_program *program,
                                      uint64_t most_events, bl_profile **profile, bl_error *err);
// Ends the file and gives it its name. Errors: IO, DEVICE (the counters were not read).
BL_MUST_USE bl_status bl_profile_finish(bl_profile *profile, bl_error *err);
// Frees it; a file that was not finished is removed. NULL is allowed.
void bl_profile_close(bl_profile *profile);

#endif
