// SPDX-License-Identifier: Apache-2.0
#include "host/onnx/qdq_affine.h"

#include <float.h>
#include <math.h>

double bl_qdq_scale(const bl_int_tensor *tensor) {
  bool usable = tensor->format.kind != BL_FORMAT_ACC && tensor->scale >= (double)FLT_MIN &&
                tensor->scale <= (double)FLT_MAX / BL_INT_MAX_DIM;
  return usable ? (double)(float)tensor->scale : 1;
}

double bl_qdq_out_scale(const bl_int_graph *graph, const bl_int_layer *layer) {
  return layer->table != NULL ? 1 : bl_qdq_scale(&graph->tensors[layer->output]);
}

// q of channel n before rounding and clamping is slope * acc + offset, less the zero point.
typedef struct {
  double slope, offset;
} line;

// The output is +1 from accumulator t on (up to t with a negative mult), else -1: twice the
// distance from the point half-way to the next accumulator, an odd number, clamped to -1..1.
static line bipolar(const bl_int_layer *layer, uint32_t n) {
  double mult = layer->mult[n], edge = -(double)layer->bias[n] / mult;
  return mult > 0 ? (line){2, 1 - 2 * ceil(edge)} : (line){-2, 1 + 2 * floor(edge)};
}

// floor(z) is the integer nearest to z - 1/2 + half the grid of z, which is never a half. All z of
// a channel lie on one grid, of the lowest bit of mult.
static line rounded(const bl_int_layer *layer, uint32_t n) {
  const int shift = layer->shift[n];
  int64_t grid = layer->mult[n] & -(int64_t)layer->mult[n];
  int64_t rest = layer->bias[n] & (grid - 1);
  double offset = (double)(layer->bias[n] - rest) + 0.5 * (double)grid;
  return (line){ldexp(layer->mult[n], -shift), ldexp(offset, -shift) - 0.5};
}

static line line_of(const bl_int_graph *graph, const bl_int_layer *layer, uint32_t n) {
  const bl_int_tensor *out = &graph->tensors[layer->output];
  if (out->format.kind == BL_FORMAT_ACC) return (line){layer->out_scale[n], layer->out_bias[n]};
  if (out->format.kind == BL_FORMAT_B) return bipolar(layer, n);
  line l = rounded(layer, n);
  if (layer->table != NULL) l.offset += out->zero_point;
  return l;
}

// What the zero points of input and addend put into channel n's accumulator.
static double zero_points(const bl_int_graph *graph, const bl_int_layer *layer, uint32_t n) {
  const bl_int_tensor *in = &graph->tensors[layer->input];
  const size_t fan = (size_t)layer->kernel_h * layer->kernel_w * (in->c / layer->groups);
  double sum = 0;
  for (size_t k = 0; k < fan; k++)
    sum += layer->weights[n * fan + k];
  sum = ldexp(sum * in->zero_point, layer->raise);
  if (layer->addend_weight == NULL) return sum;
  const uint32_t count = bl_int_addend_fan(graph, layer);
  for (uint32_t k = 0; k < count; k++)
    sum += (double)layer->addend_weight[(size_t)n * count + k] *
           graph->tensors[layer->addend].zero_point;
  return sum;
}

static bl_qdq_channel channel(const bl_int_graph *graph, const bl_int_layer *layer, uint32_t n) {
  const line l = line_of(graph, layer, n);
  const double out = bl_qdq_out_scale(graph, layer);
  const double in = bl_qdq_scale(&graph->tensors[layer->input]);
  const double slope = out * l.slope, raised = ldexp(slope, layer->raise) / in;
  const double bias = out * l.offset + slope * zero_points(graph, layer, n);
  if (l.slope == 0) return (bl_qdq_channel){1, bias, 1, 0, 0, true};
  const double sign = slope < 0 ? -1 : 1;
  bl_qdq_channel c = {raised * sign, bias * sign, sign, 0, 0, false};
  if (layer->addend_weight == NULL) return c;
  const double r = slope / bl_qdq_scale(&graph->tensors[layer->addend]);
  c.projection = r * sign;
  if (layer->project_h > 0) return c;
  // The addend goes in as it is, and the ratio to its true share comes after the sum: 1, up to the
  // bits of mult, where the sum is a true one.
  const double share = r * layer->addend_weight[n];
  if (layer->addend_weight[n] <= 0)
    c.addend = share * sign;
  else
    c = (bl_qdq_channel){raised / share, bias / share, share, 1, 0, false};
  return c;
}

void bl_qdq_channels(const bl_int_graph *graph, const bl_int_layer *layer,
                     bl_qdq_channel *channels) {
  for (uint32_t n = 0; n < graph->tensors[layer->output].c; n++)
    channels[n] = channel(graph, layer, n);
}
