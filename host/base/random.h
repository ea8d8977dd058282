// SPDX-License-Identifier: Apache-2.0
// Random numbers by position instead of by sequence: a function of keys, so that what is drawn for
// a sample depends neither on threads nor on order, and a resumed run draws the same.
// The mixing function is that of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
// Number Generators, OOPSLA 2014).
#ifndef BITLOOM_HOST_BASE_RANDOM_H
#define BITLOOM_HOST_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t bl_random_mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// A key under another: seed, then epoch, then sample, then draw.
static inline uint64_t bl_random_key(uint64_t key, uint64_t index) {
  return bl_random_mix(key ^ bl_random_mix(index));
}

// Uniform in [0, 1) with 53 bits.
static inline double bl_random_unit(uint64_t key) {
  return (double)(key >> 11) * (1.0 / 9007199254740992.0);
}

// A whole number below `bound` (1..2^32).
static inline uint64_t bl_random_below(uint64_t key, uint64_t bound) {
  return ((key >> 32) * bound) >> 32;
}

// Standard normal, by Box and Muller.
double bl_random_normal(uint64_t key);
// A permutation of 0..count-1, by Fisher and Yates; count below 2^32.
void bl_random_permutation(uint64_t key, uint32_t *order, size_t count);

#endif
