// SPDX-License-Identifier: Apache-2.0
// Batch norms behind layers that a pass has changed.
#ifndef BITLOOM_HOST_COMPRESS_NORMS_H
#define BITLOOM_HOST_COMPRESS_NORMS_H

#include "host/compress/network.h"

// Takes the mean and variance of every batch norm again, on the calibration samples and with the
// weights as they are; *count: of how many, 0 where the graph has none or there are no samples.
// Errors: UNSUPPORTED for a graph that cannot be trained, MEMORY.
BL_MUST_USE bl_status bl_network_renormalise(bl_network *network, uint32_t *count, bl_error *err);

#endif
