// SPDX-License-Identifier: Apache-2.0
// Evaluation of one node of a float graph. Constant folding and the executor both use it.
#ifndef BITLOOM_HOST_FLOAT_EVAL_H
#define BITLOOM_HOST_FLOAT_EVAL_H

#include "host/graph/float_graph.h"

// Holds oneDNN's engine and the primitives made for each node.
typedef struct bl_float_engine bl_float_engine;

// For a graph of up to `nodes` nodes. Errors: MEMORY, UNSUPPORTED when oneDNN fails.
BL_MUST_USE bl_status bl_float_engine_open(size_t nodes, bl_float_engine **engine, bl_error *err);
void bl_float_engine_close(bl_float_engine *engine);

// Computes node `index` of the graph: reads and writes `values`, an array like graph->values in
// which the node's inputs hold data and its outputs have room for theirs. The same index always
// gets the same shapes. Errors: UNSUPPORTED, RANGE (indices), MEMORY.
BL_MUST_USE bl_status bl_float_eval(bl_float_engine *engine, const bl_float_graph *graph,
                                    uint32_t index, bl_value *values, bl_error *err);

// What an activation (Sigmoid, Tanh, Erf, Elu, Gelu, HardSigmoid, HardSwish, LeakyRelu, Softplus,
// Relu, Clip with bounds as attributes) makes of x, by the formulas of ONNX, in double.
double bl_activation(const bl_node *node, double x);
// Is it one of those?
bool bl_is_activation(bl_float_op op);

// Smallest and largest integer of a QONNX Quant node; its bit width, signed and narrow attributes.
// Errors: UNSUPPORTED for a bit width that is not an integer 1..32.
BL_MUST_USE bl_status bl_qonnx_range(const bl_float_graph *graph, const bl_node *node, double *lo,
                                     double *hi, bl_error *err);
// The integer of x by a QONNX Quant node's rounding mode (ROUND: half to even).
double bl_qonnx_round(const bl_node *node, double x);
// The integer, zero point included, that a QONNX Trunc node with constant parameters, one number
// each, makes of x.
double bl_qonnx_trunc(const bl_float_graph *graph, const bl_node *node, double x);

#endif
