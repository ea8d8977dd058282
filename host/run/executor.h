// SPDX-License-Identifier: Apache-2.0
// One way to execute a compressed network: the reference kernels or a device. All of them take and
// give plain integers (see int_graph.h), so that any two can be compared value by value.
#ifndef BITLOOM_HOST_RUN_EXECUTOR_H
#define BITLOOM_HOST_RUN_EXECUTOR_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"
#include "host/graph/int_graph.h"

// Takes a layer's output, images * bl_int_elements() integers; layers come in order.
typedef void (*bl_layer_sink)(void *context, uint32_t layer, const int32_t *output);

typedef struct {
  const char *name; // "reference", "functional", "rtl"
  void *self;
  // Runs `images` inputs (1..batch). `out` gets the network's output; a sink that is not NULL gets
  // every layer's. Errors: MEMORY, RANGE, DEVICE.
  bl_status (*run)(void *self, const int32_t *in, size_t images, int32_t *out, bl_layer_sink sink,
                   void *context, bl_error *err);
  void (*close)(void *self);
  size_t batch; // most images of one call
} bl_executor;

static inline void bl_executor_close(bl_executor *executor) {
  if (executor->close != NULL) executor->close(executor->self);
  *executor = (bl_executor){0};
}

// The reference kernels. `graph` outlives the executor and has passed bl_int_check. A fault_layer
// below the graph's layer count makes it plant a fault for verify to find: the value in the middle
// of that layer's output is changed by one step. Errors: MEMORY.
BL_MUST_USE bl_status bl_executor_reference(const bl_int_graph *graph, uint32_t fault_layer,
                                            bl_executor *executor, bl_error *err);

#endif
