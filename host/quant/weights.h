// SPDX-License-Identifier: Apache-2.0
// Symmetric quantisation of one output channel's weights.
#ifndef BITLOOM_HOST_QUANT_WEIGHTS_H
#define BITLOOM_HOST_QUANT_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "host/quant/observer.h"

// b1 for one bit, else two's complement of which -2^(bits-1) is not used.
bl_format bl_weight_format(unsigned bits);
// Quantises `count` finite weights to integers, w ~ scale * q, and returns the scale (> 0; all
// zero weights give scale 1). bits 2..8: the scale covers the largest magnitude (minmax) or
// minimises the squared error (mse: for 2 bits exactly, else of 81 scales), ties of the rounding
// away from zero. 1 bit: q = +-1, scale =
// mean magnitude, which minimises the squared error (XNOR-Net, Rastegari et al. 2016, eq. 6).
double bl_quantise_weights(const float *weights, size_t count, unsigned bits,
                           bl_range_method method, int8_t *q);
// Ternary weights, -1, 0 or 1 times the scale that is returned: of all choices of zeros the one of
// the least squared error, or (threshold > 0) 0 where |w| <= threshold * mean |w|; the scale is the
// mean magnitude of what is not 0. Of the k largest magnitudes with sum S, the error falls by
// S^2 / k, so that the best k follows from sorting.
double bl_ternary_weights(const float *weights, size_t count, double threshold, int8_t *q);

#endif
