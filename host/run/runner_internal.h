// SPDX-License-Identifier: Apache-2.0
// Shared by the two loops over samples, run and verify.
#ifndef BITLOOM_HOST_RUN_RUNNER_INTERNAL_H
#define BITLOOM_HOST_RUN_RUNNER_INTERNAL_H

#include "host/run/runner.h"

enum { BL_RUNNER_MEMORY = 256 << 20 };

// Samples first .. first+images-1 as input integers; `scratch` has one sample's elements.
BL_MUST_USE bl_status bl_runner_read(const bl_runner *runner, size_t first, size_t images,
                                     double *scratch, int32_t *in, bl_error *err);
// runner->shards, but never more processes than batches.
uint32_t bl_runner_shards(const bl_runner *runner);

#endif
