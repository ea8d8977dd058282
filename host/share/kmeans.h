// SPDX-License-Identifier: Apache-2.0
// Clusters of numbers: the shared values of Deep Compression (Han, Mao, Dally 2016, section 3).
#ifndef BITLOOM_HOST_SHARE_KMEANS_H
#define BITLOOM_HOST_SHARE_KMEANS_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"

typedef enum {
  BL_KMEANS_EXACT,    // the least squared error there is, by dynamic programming: Wang, Song 2011,
                      // Ckmeans.1d.dp; O(clusters n log n)
  BL_KMEANS_LINEAR,   // Lloyd's iteration from centres evenly spread between least and largest,
                      // the paper's choice
  BL_KMEANS_DENSITY,  // from the middles of parts of equal count
  BL_KMEANS_RANDOM,   // from numbers drawn evenly
  BL_KMEANS_PLUS_PLUS // drawn with chances as their squared distances: Arthur, Vassilvitskii 2007
} bl_kmeans_start;

enum { BL_KMEANS_MAX_CLUSTERS = 256, BL_KMEANS_ITERATIONS = 1000 };

typedef struct {
  unsigned clusters; // 1..BL_KMEANS_MAX_CLUSTERS
  bl_kmeans_start start;
  uint64_t seed; // of what is drawn
} bl_kmeans_options;

typedef struct {
  unsigned count; // of centres; fewer than asked for where fewer numbers differ, or one got none
  float centres[BL_KMEANS_MAX_CLUSTERS]; // ascending
  double error;                          // sum of squared differences to the centres
} bl_kmeans_result;

// Clusters finite numbers. Errors: RANGE (clusters, a number that is not finite, count x clusters
// of EXACT above 2^28), MEMORY.
BL_MUST_USE bl_status bl_kmeans(const float *values, size_t count, const bl_kmeans_options *options,
                                bl_kmeans_result *result, bl_error *err);
// The number of the centre nearest to x, the lower one of two as near.
unsigned bl_kmeans_nearest(const bl_kmeans_result *result, float x);

#endif
