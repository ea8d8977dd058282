// SPDX-License-Identifier: Apache-2.0
// The class that a network's outputs say. One output tells two classes: it is the logit of class 1,
// or its probability behind a Sigmoid.
#ifndef BITLOOM_HOST_GRAPH_CLASS_OF_H
#define BITLOOM_HOST_GRAPH_CLASS_OF_H

#include "host/graph/float_graph.h"

// Index of the largest of `count` values, the lowest among equals; of a single one 1 where it is
// above `border`, else 0.
size_t bl_class_of(const float *values, size_t count, float border);
// Between the two classes of a single output: 0.5 where `value` is what a Sigmoid gives, else 0.
float bl_class_border(const bl_float_graph *graph, int32_t value);
// Classes that so many outputs tell.
size_t bl_class_count(size_t outputs);

#endif
