// SPDX-License-Identifier: Apache-2.0
// What the files of quantisation share: calibration, the integer graph, the choice of projections.
#ifndef BITLOOM_HOST_QUANT_QUANTISE_INTERNAL_H
#define BITLOOM_HOST_QUANT_QUANTISE_INTERNAL_H

#include "host/quant/analytic.h"
#include "host/quant/quantise.h"

typedef struct bl_replay bl_replay;

typedef struct {
  const bl_float_graph *source;
  const bl_quantise_options *options;
  const bl_calibration *calibration;
  bl_float_session *session;
  bl_arena *scratch;
  bl_lowered lowered;
  bl_observer *observers; // [stage_count + 1], the network's input first
  bl_observer *indices;   // [stage_count], what goes into a table
  bl_replay *replay;      // the samples inside the network, while layers are refined; else NULL
  bl_channel_statistics *statistics; // of stages, for the analytic bias correction; else NULL
  bool refining;                     // the graph that is being made is the last one
  bl_quantised *out;
  bl_error *err;
} bl_quantising;

bl_status bl_quantise_no_memory(const bl_quantising *q);
// Is the stage the network's output, and leaves as accumulators?
bool bl_gives_accumulators(const bl_quantising *q, uint32_t stage);

// Are a stage's weights ours to choose, and so to refine?
bool bl_refines(const bl_stage *stage);
// Is any refinement asked for?
bool bl_refinement(const bl_quantise_options *options);

// calibrate.c: observers and indices, from two passes over the calibration samples.
BL_MUST_USE bl_status bl_quantise_calibrate(bl_quantising *q);
// quantise.c: out->graph and what comes with it, from the stages and what was observed.
BL_MUST_USE bl_status bl_quantise_graph(bl_quantising *q);
// choose_projections.c: the same with each projection where it takes fewer cycles.
BL_MUST_USE bl_status bl_quantise_cheapest(bl_quantising *q);

#endif
