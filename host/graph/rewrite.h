// SPDX-License-Identifier: Apache-2.0
// Rewrites that leave what a graph computes as it is: groups of nodes that stand for one operation
// become that operation.
#ifndef BITLOOM_HOST_GRAPH_REWRITE_H
#define BITLOOM_HOST_GRAPH_REWRITE_H

#include "host/graph/float_graph.h"

// At most so many groups are rewritten, so that a hostile file does not take for ever; what is left
// stays as it is.
enum { BL_REWRITE_MOST = 4096 };

// Channel shuffle (Zhang et al. 2018, ShuffleNet): Reshape to groups, Transpose of groups and their
// channels, Reshape back, become a Gather of channels, named after the Transpose. Moves data only,
// so that not a bit changes. *count: how many. Errors: MEMORY.
BL_MUST_USE bl_status bl_rewrite_shuffles(bl_float_graph *graph, uint32_t *count, bl_error *err);

// Re-parameterisation (Ding et al. 2021, RepVGG, arXiv 2101.03697): a sum of convolutions of the
// same tensor, each with its batch norm or without, and of that tensor itself or its batch norm,
// becomes one convolution, named after that of the largest kernel. Kernels must fit into each other
// (same strides, groups and dilation, paddings that centre them). Sums are taken in double: outputs
// move by rounding alone. *count: how many sums. Errors: MEMORY.
BL_MUST_USE bl_status bl_rewrite_branches(bl_float_graph *graph, uint32_t *count, bl_error *err);

// A Gather of channels that only a convolution of one group reads goes into the order of its
// weights, where it costs nothing. *count: how many. Errors: MEMORY.
BL_MUST_USE bl_status bl_rewrite_gathers(bl_float_graph *graph, uint32_t *count, bl_error *err);

// A value of rank 4 that a sum takes and products read, as in residual networks: products read a
// copy of it from now on, an average pooling of one pixel named NAME_copy, so that what is carried
// along and what is multiplied can become integers of different bits. Nothing that is computed
// changes. A second call finds nothing more. *count: how many. Errors: MEMORY.
BL_MUST_USE bl_status bl_rewrite_skips(bl_float_graph *graph, uint32_t *count, bl_error *err);

#endif
