// SPDX-License-Identifier: Apache-2.0
// Range estimation for activations in two streaming passes of bounded memory: the first finds the
// range, the second counts a histogram over it. The result does not depend on order or batch size.
#ifndef BITLOOM_HOST_QUANT_OBSERVER_H
#define BITLOOM_HOST_QUANT_OBSERVER_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"
#include "host/graph/int_graph.h"

enum { BL_OBSERVER_BINS = 2048, BL_OBSERVER_PEAK_BITS = 32 };

typedef enum {
  BL_RANGE_MINMAX,     // the whole observed range
  BL_RANGE_MSE,        // the clipping that minimises the mean squared error over the histogram
  BL_RANGE_PERCENTILE, // see range.h for this and what follows
  BL_RANGE_ENTROPY,
  BL_RANGE_AVERAGE
} bl_range_method;

typedef struct {
  double min, max;                 // of everything observed; min > max while nothing was
  uint64_t bins[BL_OBSERVER_BINS]; // equal parts of min..max
  uint64_t samples, peaks; // calls of bl_observer_count, and the sum of their largest magnitudes
                           // in units of 2^-BL_OBSERVER_PEAK_BITS of the largest of all
  double percentage;       // of BL_RANGE_PERCENTILE
} bl_observer;

void bl_observer_init(bl_observer *observer);
// First pass. Errors: FORMAT for a value that is not finite.
BL_MUST_USE bl_status bl_observer_range(bl_observer *observer, const float *values, size_t count,
                                        bl_error *err);
// Second pass, over the same values, a sample a call.
void bl_observer_count(bl_observer *observer, const float *values, size_t count);

// A tensor's quantisation: real = scale * (q - zero_point), q of `format`.
typedef struct {
  bl_format format;
  double scale;
  int32_t zero_point;
} bl_quantiser;

// The quantiser of an activation tensor with `bits` bits: unsigned where nothing negative was seen,
// else symmetric two's complement (1 bit: bipolar at the mean magnitude).
bl_quantiser bl_observer_activation(const bl_observer *observer, unsigned bits,
                                    bl_range_method method);
// A quantiser with a power of two for its scale, next to that of `quantiser`: for BL_RANGE_MSE the
// one of the smaller error, else the one that cuts off no more.
bl_quantiser bl_observer_power(const bl_observer *observer, bl_quantiser quantiser,
                               bl_range_method method);
// The 8-bit quantiser of the network's input: unsigned, asymmetric over min..max extended to hold
// 0, so that padding has an exact integer.
bl_quantiser bl_observer_input(const bl_observer *observer);

#endif
