// SPDX-License-Identifier: Apache-2.0
// Networks that are made rather than imported, straight as integer graphs: the same for the same
// seed, each in an arena of its own (freed with bl_arena_free(graph->arena)).
#ifndef BITLOOM_TESTS_BENCH_NETS_H
#define BITLOOM_TESTS_BENCH_NETS_H

#include "host/graph/int_graph.h"

// CNV-W1A1: a VGG-like network for 32x32x3 images (Umuroglu et al., "FINN", 2017): 3x3 convolutions
// without padding of 64, 64, pool, 128, 128, pool, 256, 256 channels, then 512, 512 and 10 neurons.
// The input has 8 bits, everything else is bipolar, the last layer gives accumulators. Weights are
// random; the batch norm before each sign is drawn so that on random inputs (bl_input_random) 40 to
// 60 % of a layer's outputs are +1. NULL when memory is short.
bl_int_graph *bl_net_cnv(uint64_t seed);

// Four 3x3 layers with padding on a side x side map, as many channels out as in: bits 1 is bipolar,
// 2..8 is unsigned activations with signed weights. NULL when memory is short.
bl_int_graph *bl_net_dense(uint32_t channels, uint32_t side, uint8_t bits, uint64_t seed);

#endif
