// SPDX-License-Identifier: Apache-2.0
// Clipping of activations: the largest magnitude that a quantiser has to reach, from a histogram.
#ifndef BITLOOM_HOST_QUANT_RANGE_H
#define BITLOOM_HOST_QUANT_RANGE_H

#include "host/quant/observer.h"

// The least magnitude that is not below the given percentage (0..100) of the magnitudes seen.
double bl_range_percentile(const bl_observer *observer, double percentage);
// The magnitude at which quantisation to `levels` (2 or more) magnitudes loses the least
// information: of all that end with one of the histogram's 1,024 parts that is not empty, that of
// the least Kullback-Leibler divergence of what remains of the histogram, with everything beyond
// added to its last part, from its quantised form (Migacz 2017, 8-bit Inference with TensorRT).
double bl_range_entropy(const bl_observer *observer, unsigned levels);
// The mean of the largest magnitudes of the samples, each of which was one call of
// bl_observer_count: where a moving average over the samples leads to, whatever their order.
double bl_range_average(const bl_observer *observer);

#endif
