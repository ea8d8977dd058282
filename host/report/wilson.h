// SPDX-License-Identifier: Apache-2.0
// How far a measured share can be trusted.
#ifndef BITLOOM_HOST_REPORT_WILSON_H
#define BITLOOM_HOST_REPORT_WILSON_H

#include <stdint.h>

typedef struct {
  double low, high; // 0..1
} bl_interval;

// The 95 % score interval of `correct` of `total` (Wilson 1927, with z = 1.959964); 0..1 where
// total is 0.
bl_interval bl_wilson(uint64_t correct, uint64_t total);

#endif
