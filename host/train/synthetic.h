// SPDX-License-Identifier: Apache-2.0
// Samples made from a network alone (Cai et al. 2020, ZeroQ, arXiv 2001.00281, section 3): noise is
// changed until the mean and deviation of every channel in front of every batch normalisation are
// those that the normalisation has stored.
#ifndef BITLOOM_HOST_TRAIN_SYNTHETIC_H
#define BITLOOM_HOST_TRAIN_SYNTHETIC_H

#include "host/graph/float_graph.h"

typedef struct {
  uint32_t count;         // samples, a multiple of `batch`
  uint32_t batch;         // that are made together, whose statistics are met; 0: 32
  uint32_t iterations;    // of each batch; 0: 150
  double rate;            // of Adam, in deviations; 0: 0.1
  double mean, deviation; // of the noise, as the network's inputs are; deviation 0: 1
  uint64_t seed;
} bl_synthetic_options;

// Mean over batch normalisations and channels of ((mean - stored mean)^2 + (deviation - stored
// deviation)^2) / stored variance: of the noise, and in the end.
typedef struct {
  uint32_t norms;
  double first, last;
} bl_synthetic_result;

// samples: [count][elements of the network's input]. The graph may have any batch and is not
// changed. Errors: UNSUPPORTED (no batch normalisation, not one input; what bl_train_open refuses),
// USAGE (options), MEMORY.
BL_MUST_USE bl_status bl_synthetic_samples(const bl_float_graph *graph,
                                           const bl_synthetic_options *options, float *samples,
                                           bl_synthetic_result *result, bl_error *err);

#endif
