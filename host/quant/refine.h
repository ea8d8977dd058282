// SPDX-License-Identifier: Apache-2.0
// Refinement of one layer, whose scales are final, with the calibration samples as they are in
// front of it in the integer network that has been made so far.
#ifndef BITLOOM_HOST_QUANT_REFINE_H
#define BITLOOM_HOST_QUANT_REFINE_H

#include "host/quant/replay.h"

typedef struct {
  const bl_stage *stage;
  const bl_int_graph *graph;
  bl_int_layer *layer; // its weights (and projected ones) are chosen anew
  const bl_codebook *codebook;
  const double *before;         // [channels] factor of the stage's product in its sum
  const double *projected;      // [channels] factor of the projection's; NULL: none
  const bl_affine *after;       // [channels] what follows the sum
  const double *step;           // [channels] real size of an integer weight on an input of 1
  const int32_t *ratio;         // [channels] of addend_weight that is one integer step; NULL: none
  const double *projected_step; // [channels] like step, of the projection's weights
  double *offset;               // [channels] out: to be added to the real sum
} bl_refined;

BL_MUST_USE bl_status bl_refine(bl_quantising *q, const bl_refined *r);

#endif
