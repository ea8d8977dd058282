// SPDX-License-Identifier: Apache-2.0
// What the files of the cycle model share. Nobody outside host/cost includes this.
#ifndef BITLOOM_HOST_COST_COST_INTERNAL_H
#define BITLOOM_HOST_COST_COST_INTERNAL_H

#include "host/cost/cost.h"

// How long the gather takes; constant while a layer runs.
typedef struct {
  uint32_t rows;                          // pixels of a full tile: ROWS, or 1 with planes on rows
  uint64_t segment[BL_COST_MAX_ROWS + 1]; // cycles of a run of n pixels in one image row
  uint64_t flush;                         // zeros behind the taps
  uint64_t second, second_row;            // second source: of a fill, and of each of its pixels
  uint64_t pixels;                        // of the layer: images * out_h * out_w
  uint32_t out_w;
} bl_cost_gather;

// Takes the durations from the descriptor.
void bl_cost_gather_init(bl_cost_gather *g, const bl_config *config, const bl_descriptor *d);
// Pixels of the tile that begins at output pixel `first`, and cycles of a fill for it, from the one
// in which its half is free to the one that hands it over, the latter not counted.
uint32_t bl_cost_gather_tile(const bl_cost_gather *g, uint64_t first, uint64_t *cycles);

#endif
