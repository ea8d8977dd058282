// SPDX-License-Identifier: Apache-2.0
#include "host/base/random.h"

#include <math.h>

double bl_random_normal(uint64_t key) {
  double u = 1.0 - bl_random_unit(bl_random_key(key, 0)), v = bl_random_unit(bl_random_key(key, 1));
  return sqrt(-2.0 * log(u)) * cos(2.0 * acos(-1.0) * v);
}

void bl_random_permutation(uint64_t key, uint32_t *order, size_t count) {
  for (size_t k = 0; k < count; k++)
    order[k] = (uint32_t)k;
  for (size_t k = count; k > 1; k--) {
    size_t other = bl_random_below(bl_random_key(key, k), k);
    uint32_t kept = order[k - 1];
    order[k - 1] = order[other];
    order[other] = kept;
  }
}
