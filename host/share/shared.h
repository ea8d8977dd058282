// SPDX-License-Identifier: Apache-2.0
// Weights that share their values (Han, Mao, Dally 2016, Deep Compression, section 3): made so by
// clustering, and put into codebooks of the device. host/train/keep_weights.h trains them so.
//
// That weights share a value is said by the weights themselves: they are equal. 0 is a value of its
// own, which nothing changes.
#ifndef BITLOOM_HOST_SHARE_SHARED_H
#define BITLOOM_HOST_SHARE_SHARED_H

#include "host/quant/codebook.h"
#include "host/share/kmeans.h"

enum { BL_SHARED_MAX = BL_INT_CODES - 1 }; // values beside 0 that a device's codebook can hold

// Every weight that is not 0 becomes the nearest of the clusters of these. Where the result has no
// error (as many clusters as different weights), nothing changes. Errors: those of bl_kmeans.
BL_MUST_USE bl_status bl_share_values(float *weights, size_t count,
                                      const bl_kmeans_options *options, bl_kmeans_result *result,
                                      bl_error *err);
// Different numbers among the weights, 0 not counted; `most` + 1 where there are more than that
// (most: at most 256). The numbers, ascending, in values[most], unless that is NULL.
unsigned bl_shared_count(const float *weights, size_t count, unsigned most, float *values);
// A codebook with one scale for all channels that holds the weights' values, at most BL_SHARED_MAX
// and 0, as 8-bit integers: of scales from the least possible one to 4/3 of it the one with the
// least squared error over the weights. False where there are more values, or none but 0.
bool bl_shared_codebook(const float *weights, size_t count, bl_codebook *codebook);

#endif
