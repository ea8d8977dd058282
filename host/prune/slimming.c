// SPDX-License-Identifier: Apache-2.0
#include "host/prune/slimming.h"

#include <math.h>

#include "host/base/random.h"

static bl_status pull(void *user, bl_train_net *net, uint64_t step, uint64_t steps, bl_error *err) {
  const float strength = (float)*(const double *)user;
  uint32_t count;
  const bl_train_parameter *p = bl_train_parameters(net, &count);
  bool any = false;
  (void)step;
  (void)steps;
  for (uint32_t k = 0; k < count; k++) {
    if (p[k].kind != BL_TRAIN_SCALE || p[k].gradient == NULL) continue;
    any = true;
    for (size_t i = 0; i < p[k].count; i++)
      p[k].gradient[i] += p[k].data[i] > 0 ? strength : p[k].data[i] < 0 ? -strength : 0;
  }
  return any ? BL_OK
             : bl_fail(err, BL_ERR_USAGE, "slimming: the network has no batch normalisation");
}

bl_train_hook bl_slimming_hook(const double *strength) {
  return (bl_train_hook){.user = (void *)(uintptr_t)strength,
                         .gradients = pull,
                         .key = bl_random_key(0x736c696d, (uint64_t)llround(*strength * 1e12))};
}
