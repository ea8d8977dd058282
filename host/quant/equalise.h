// SPDX-License-Identifier: Apache-2.0
// Cross-layer equalisation (Nagel et al. 2019, arXiv 1906.04721, section 4.1).
#ifndef BITLOOM_HOST_QUANT_EQUALISE_H
#define BITLOOM_HOST_QUANT_EQUALISE_H

#include "host/graph/float_graph.h"

// Rescales the channels between two convolutions that follow each other, with nothing but a batch
// normalisation and a ReLU between them, and no other reader: the largest weights of a channel in
// the one and in the other become equal, sqrt of the product of what they were. The network
// computes the same, up to float rounding. Chains are gone over until nothing changes. Weights that
// another node reads too stay. *pairs is how many there were. Errors: MEMORY.
BL_MUST_USE bl_status bl_equalise(bl_float_graph *graph, uint32_t *pairs, bl_error *err);

#endif
