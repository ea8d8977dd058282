// SPDX-License-Identifier: Apache-2.0
// Samples in memory through an integer network, on the functional device.
#ifndef BITLOOM_HOST_SEARCH_INTEGER_RUN_H
#define BITLOOM_HOST_SEARCH_INTEGER_RUN_H

#include "host/compile/program.h"
#include "host/quant/quantise.h"
#include "host/train/batches.h"

// Called for every sample in order; output[bl_int_elements of the network's output]: row, column,
// channel.
typedef void (*bl_integer_answer)(void *user, size_t index, const int32_t *output);

// `program`: made->graph, compiled. Errors: FORMAT where samples have another number of values than
// the network takes, those of the device, MEMORY.
BL_MUST_USE bl_status bl_integer_run(const bl_quantised *made, const bl_program *program,
                                     const bl_train_data *data, bl_integer_answer answer,
                                     void *user, bl_error *err);

#endif
