// SPDX-License-Identifier: Apache-2.0
// What candidate.c (making) and candidate_run.c (running) share.
#ifndef BITLOOM_HOST_SEARCH_CANDIDATE_INTERNAL_H
#define BITLOOM_HOST_SEARCH_CANDIDATE_INTERNAL_H

#include "host/prune/prune.h"
#include "host/search/candidate.h"

enum { BL_ALL_LAYERS = UINT32_MAX };

struct bl_candidates {
  bl_candidate_source source;
  bl_arena *arena;
  bl_searched *layers;
  uint32_t layer_count;
  // Of the float network over the held-out samples: outputs[samples][out_elements], in the order
  // row, column, channel.
  float *outputs;
  size_t out_elements;
  double float_accuracy;
};

// A plan's integer network; program is NULL where the device cannot run it.
typedef struct {
  bl_quantised quantised;
  bl_program *program;
  double *pruned; // [layers] part of the weights
} bl_made;

// rough: for costs only, with a few samples and without refinement. *made is to be freed, also on
// failure.
BL_MUST_USE bl_status bl_candidate_make(const bl_candidates *c, const bl_search_plan *plan,
                                        bool rough, bl_made *made, bl_error *err);
void bl_made_free(bl_made *made);
// Bytes of weights that are not pruned; of one layer, or BL_ALL_LAYERS.
double bl_made_bytes(const bl_candidates *c, const bl_made *made, uint32_t layer);

// candidate_edit.c: the searched layer of that name, or of whose factors it is one; -1: none.
int32_t bl_candidate_layer(const bl_candidates *c, const char *name);
// candidate_run.c: what the float network answers.
BL_MUST_USE bl_status bl_candidate_answers(bl_candidates *c, bl_error *err);

#endif
