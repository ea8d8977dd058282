// SPDX-License-Identifier: Apache-2.0
// What happens to a stored value before a network sees it: x' = (scale*x - mean) / std, mean and
// std one for all channels or one a channel, and the order of a sample's axes in its file.
// Plain data, so that a compiled file can keep it.
#ifndef BITLOOM_HOST_DATA_PREPROCESS_H
#define BITLOOM_HOST_DATA_PREPROCESS_H

#include <stdint.h>

#include "host/base/error.h"

enum { BL_PREPROCESS_MAX_CHANNELS = 16 };

// Order of a sample's axes. FILE: whatever the file has is what the consumer wants, nothing moves
// (CIFAR records are the exception, they are always channel, row, column).
typedef enum { BL_LAYOUT_FILE, BL_LAYOUT_NCHW, BL_LAYOUT_NHWC } bl_layout;

typedef struct {
  double scale;
  uint32_t channels; // entries of mean and std, 1..16; 1 serves any number of channels
  double mean[BL_PREPROCESS_MAX_CHANNELS];
  double std[BL_PREPROCESS_MAX_CHANNELS]; // not 0
  bl_layout layout;                       // of the data file
  // x'' = input_mul*x' + input_add is what the network itself does to every value before its first
  // integers, found when it was compressed; 1 and 0 otherwise.
  double input_mul, input_add;
} bl_preprocess;

// The identity: x' = x, axes as in the file.
bl_preprocess bl_preprocess_identity(void);
// Finite scale, means and standard deviations, none of the latter 0, 1..16 channels, a known
// layout. Call it on anything that came from outside. Errors: RANGE.
BL_MUST_USE bl_status bl_preprocess_check(const bl_preprocess *preprocess, bl_error *err);
// "file", "nchw", "nhwc".
const char *bl_layout_name(bl_layout layout);

// x'' of one stored value of channel `channel`.
static inline double bl_preprocess_apply(const bl_preprocess *preprocess, uint32_t channel,
                                         double value) {
  uint32_t entry = preprocess->channels == 1 ? 0 : channel;
  double x = (preprocess->scale * value - preprocess->mean[entry]) / preprocess->std[entry];
  return preprocess->input_mul * x + preprocess->input_add;
}

#endif
