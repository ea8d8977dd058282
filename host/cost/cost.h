// SPDX-License-Identifier: Apache-2.0
// The accelerator's cycles, without simulating it: what a run takes, and what for, equal to the
// counters of the RTL.
//
// A layer's cycles depend on its descriptor, its tile and pass lists and nothing else (activation
// memory serves the layer first), so they can be computed from times of a few events: the start and
// end of each fill of the row buffers, of each pass, and of each group of tiles in pack.
// docs/reference/cost.md derives them from rtl/.
#ifndef BITLOOM_HOST_COST_COST_H
#define BITLOOM_HOST_COST_COST_H

#include <stdint.h>

#include "drivers/bl_contract.h"
#include "host/base/error.h"
#include "host/compile/program.h"

// Cycles of a run by reason, indexed by BL_COUNTER_*: CYCLES is the info of the run's answer,
// ISSUE, REQUANT, GATHER and DRAIN add up to it. The others are 0: they count cycles without a
// layer.
typedef struct {
  uint64_t counters[BL_COUNTER_COUNT];
} bl_cost;

// One run. tiles: config->tile_depth entries of the tile list, passes: config->pass_depth entries
// of the pass list, as the device holds them. The descriptor is one that the device takes and that
// meets no fault but those below. Errors: RANGE (a tile or pass beyond its list, a field 0 that has
// to be at least 1, more rows than BL_COST_MAX_ROWS).
enum { BL_COST_MAX_ROWS = 64 };
BL_MUST_USE bl_status bl_cost_run(const bl_config *config, const bl_descriptor *d,
                                  const bl_tile *tiles, const bl_pass *passes, bl_cost *cost,
                                  bl_error *err);

// Every run of one batch: costs[i] is that of program->batch[i], zero where that is no RUN.
// costs: [program->batch_count]. Errors: RANGE (as above, or a load of lists beyond its memory),
// MEMORY.
BL_MUST_USE bl_status bl_cost_program(const bl_program *program, bl_cost *costs, bl_error *err);

// The same summed by layer. costs: [layers], the graph's layer_count. Errors: as bl_cost_program.
BL_MUST_USE bl_status bl_cost_layers(const bl_program *program, uint32_t layers, bl_cost *costs,
                                     bl_error *err);

// Cycles of an image in all layers of a graph; infinite where the compiler refuses it. `device`:
// the bl_compile_options.
double bl_cost_graph(void *device, const bl_int_graph *graph);

#endif
