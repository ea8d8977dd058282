// SPDX-License-Identifier: Apache-2.0
// The last step back to real numbers.
#include "host/run/real_output.h"

#include <math.h>

double bl_output_real(const bl_int_graph *graph, const int32_t *out, size_t index) {
  const bl_int_tensor *tensor = &graph->tensors[graph->output];
  if (tensor->format.kind != BL_FORMAT_ACC)
    return tensor->scale * ((double)out[index] - (double)tensor->zero_point);
  const bl_int_layer *last = &graph->layers[bl_int_producer(graph, graph->output)];
  size_t channel = index % tensor->c;
  return last->out_scale[channel] * (double)out[index] + last->out_bias[channel];
}

static void softmax(float *values, size_t count) {
  double most = values[0], sum = 0.0;
  for (size_t i = 1; i < count; i++)
    if (values[i] > most) most = values[i];
  for (size_t i = 0; i < count; i++)
    sum += exp((double)values[i] - most);
  for (size_t i = 0; i < count; i++)
    values[i] = (float)(exp((double)values[i] - most) / sum);
}

void bl_output_floats(const bl_int_graph *graph, bl_suffix suffix, const int32_t *out,
                      float *values) {
  const bl_int_tensor *tensor = &graph->tensors[graph->output];
  size_t elements = bl_int_elements(tensor);
  for (size_t i = 0; i < elements; i++) {
    double real = bl_output_real(graph, out, i);
    values[i] = (float)(suffix == BL_SUFFIX_SIGMOID ? 1.0 / (1.0 + exp(-real)) : real);
  }
  if (suffix != BL_SUFFIX_SOFTMAX) return;
  for (size_t i = 0; i < elements; i += tensor->c)
    softmax(values + i, tensor->c);
}

size_t bl_output_class(const bl_int_graph *graph, const int32_t *out) {
  size_t best = 0, elements = bl_int_elements(&graph->tensors[graph->output]);
  double most = bl_output_real(graph, out, 0);
  if (elements == 1) return most > 0;
  for (size_t i = 1; i < elements; i++) {
    double value = bl_output_real(graph, out, i);
    if (value > most) {
      most = value;
      best = i;
    }
  }
  return best;
}
