// SPDX-License-Identifier: Apache-2.0
// Distributions and permutations on top of host/base/random.h.
#ifndef BITLOOM_HOST_TRAIN_RANDOM_H
#define BITLOOM_HOST_TRAIN_RANDOM_H

#include <stddef.h>

#include "host/base/random.h"

// Standard normal, by Box and Muller.
double bl_random_normal(uint64_t key);
// A permutation of 0..count-1, by Fisher and Yates; count below 2^32.
void bl_random_permutation(uint64_t key, uint32_t *order, size_t count);

#endif
