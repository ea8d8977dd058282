// SPDX-License-Identifier: Apache-2.0
// What the shape and type rules of operators share.
#ifndef BITLOOM_HOST_GRAPH_INFER_INTERNAL_H
#define BITLOOM_HOST_GRAPH_INFER_INTERNAL_H

#include "host/graph/float_graph.h"

// An error that names the node and its operator.
bl_status bl_infer_fault(const bl_node *node, bl_status status, const char *what, bl_error *err);
// Output `index`, NULL where absent.
bl_value *bl_infer_output(bl_float_graph *graph, const bl_node *node, uint32_t index);
void bl_infer_type(bl_value *out, int32_t element);
// The output has the shape and type of `in`.
bl_status bl_infer_same(bl_float_graph *graph, const bl_node *node, const bl_value *in,
                        bl_error *err);
int64_t bl_infer_axis(int64_t axis, uint32_t rank);
// Shape of a and b broadcast against each other, but for the last `skip` axes.
bl_status bl_infer_broadcast(const bl_node *node, const bl_value *a, const bl_value *b,
                             uint32_t skip, int64_t *dims, uint32_t *rank, bl_error *err);
// Shape of a product of two (stacks of) matrices.
bl_status bl_infer_product(bl_float_graph *graph, const bl_node *node, const bl_value *a,
                           const bl_value *b, int32_t element, bl_error *err);
// Shape of a convolution with `bias` (or NULL).
bl_status bl_infer_convolution(bl_float_graph *graph, const bl_node *node, const bl_value *bias,
                               int32_t element, bl_error *err);

// The rules for quantised operators.
bl_status bl_infer_quantize(bl_float_graph *graph, const bl_node *node, bl_error *err);
bl_status bl_infer_dynamic_quantize(bl_float_graph *graph, const bl_node *node, bl_error *err);
bl_status bl_infer_qonnx(bl_float_graph *graph, const bl_node *node, bl_error *err);
bl_status bl_infer_multi_threshold(bl_float_graph *graph, const bl_node *node, bl_error *err);
bl_status bl_infer_integer(bl_float_graph *graph, const bl_node *node, bl_error *err);

#endif
