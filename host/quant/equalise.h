// SPDX-License-Identifier: Apache-2.0
// Channels between two convolutions made larger or smaller: cross-layer equalisation (Nagel et al.
// 2019, arXiv 1906.04721, section 4.1) and SmoothQuant (Xiao et al. 2023, arXiv 2211.10438).
#ifndef BITLOOM_HOST_QUANT_EQUALISE_H
#define BITLOOM_HOST_QUANT_EQUALISE_H

#include "host/quant/quantise.h"

// Rescales the channels between two convolutions that follow each other, with nothing but a batch
// normalisation and a ReLU between them, and no other reader: the largest weights of a channel in
// the one and in the other become equal, sqrt of the product of what they were. The network
// computes the same, up to float rounding. Chains are gone over until nothing changes. Weights that
// another node reads too stay. *pairs is how many there were. Errors: MEMORY.
BL_MUST_USE bl_status bl_equalise(bl_float_graph *graph, uint32_t *pairs, bl_error *err);
// The same with factors that follow from what the second convolution reads: with X and W the
// largest magnitudes of a channel in its input, over all samples, and among the weights that it
// meets, the channel is divided by X^alpha / W^(1 - alpha) (equation 4). alpha 1 makes all channels
// of the input alike in size, 0 all weights; 0.5 shares what is hard. Channels that are always 0
// stay. Errors: USAGE (alpha, no samples), MEMORY, those of reading.
BL_MUST_USE bl_status bl_smooth(bl_float_graph *graph, double alpha,
                                const bl_calibration *calibration, uint32_t *pairs, bl_error *err);

#endif
