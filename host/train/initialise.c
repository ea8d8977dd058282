// SPDX-License-Identifier: Apache-2.0
#include "host/train/initialise.h"

#include <math.h>

#include "host/base/random.h"

static void fresh_weights(const bl_train_parameter *p, bl_initialise_kind kind, uint64_t key) {
  double in = p->fan_in > 0 ? (double)p->fan_in : 1, out = (double)p->fan_out;
  double deviation = sqrt(2 / in), bound = sqrt(6 / (in + out));
  for (size_t k = 0; k < p->count; k++) {
    uint64_t own = bl_random_key(key, k);
    p->data[k] = (float)(kind == BL_INITIALISE_HE ? deviation * bl_random_normal(own)
                                                  : bound * (2 * bl_random_unit(own) - 1));
  }
}

void bl_train_initialise(bl_train_net *net, bl_initialise_kind kind, uint64_t seed) {
  uint32_t count;
  bl_train_parameter *all = bl_train_parameters(net, &count);
  for (uint32_t n = 0; n < count; n++) {
    const bl_train_parameter *p = &all[n];
    bool one = p->kind == BL_TRAIN_SCALE || p->kind == BL_TRAIN_VARIANCE;
    if (p->kind == BL_TRAIN_LEARNED) continue;
    if (p->kind == BL_TRAIN_WEIGHT) fresh_weights(p, kind, bl_random_key(bl_random_mix(seed), n));
    for (size_t k = 0; p->kind != BL_TRAIN_WEIGHT && k < p->count; k++)
      p->data[k] = one ? 1 : 0;
  }
}
