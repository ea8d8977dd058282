// SPDX-License-Identifier: Apache-2.0
#include "host/graph/class_of.h"

#include "host/graph/float_edit.h"

size_t bl_class_of(const float *values, size_t count, float border) {
  size_t best = 0;
  if (count == 1) return values[0] > border;
  for (size_t k = 1; k < count; k++)
    if (values[k] > values[best]) best = k;
  return best;
}

float bl_class_border(const bl_float_graph *graph, int32_t value) {
  const int32_t producer = bl_float_producer(graph, value);
  return producer >= 0 && graph->nodes[producer].op == BL_FLOAT_SIGMOID ? 0.5F : 0;
}

size_t bl_class_count(size_t outputs) {
  return outputs == 1 ? 2 : outputs;
}
