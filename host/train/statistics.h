// SPDX-License-Identifier: Apache-2.0
// Statistics of batch normalisations, estimated again with the weights as they are: those that
// training leaves behind lag, and with weights that are rounded they are of other weights.
#ifndef BITLOOM_HOST_TRAIN_STATISTICS_H
#define BITLOOM_HOST_TRAIN_STATISTICS_H

#include "host/train/batches.h"
#include "host/train/train_net.h"

// The running statistics of every batch norm become the mean of those of the first `batches` full
// batches of the data (all, where there are fewer); the same whatever they were. Not for a net with
// fixed statistics, which has no others. Errors: USAGE for data that do not fill a batch, MEMORY,
// those of the net.
BL_MUST_USE bl_status bl_train_reestimate(bl_train_net *net, const bl_train_data *data,
                                          uint64_t batches, bl_error *err);

#endif
