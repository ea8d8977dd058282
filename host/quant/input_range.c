// SPDX-License-Identifier: Apache-2.0
#include "host/quant/input_range.h"

#include <math.h>
#include <stdlib.h>

#include "host/quant/requant.h"

// One channel of a layer that reads the input, as it was: y = scale * sum + offset.
typedef struct {
  double scale, offset, weights; // weights: their sum
} channel;

typedef struct {
  bl_int_layer *layer;
  uint32_t channels;
  channel *was; // [channels]
} reader;

struct bl_input_range {
  bl_int_graph *graph;
  bl_int_tensor input; // as it was
  reader *readers;
  uint32_t count;
};

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "input range: no memory");
}

static bool of_accumulators(const bl_int_graph *g, const bl_int_layer *layer) {
  return g->tensors[layer->output].format.kind == BL_FORMAT_ACC;
}

static bl_status read_layer(const bl_int_graph *g, bl_int_layer *layer, reader *r, bl_error *err) {
  const bl_int_tensor *in = &g->tensors[0], *out = &g->tensors[layer->output];
  const size_t fan = (size_t)layer->kernel_h * layer->kernel_w * (in->c / layer->groups);
  *r = (reader){layer, out->c, calloc(out->c, sizeof *r->was)};
  if (r->was == NULL) return no_memory(err);
  for (uint32_t n = 0; n < out->c; n++) {
    channel *c = &r->was[n];
    for (size_t k = n * fan; k < (n + 1) * fan; k++)
      c->weights += layer->weights[k];
    if (of_accumulators(g, layer)) {
      c->scale = layer->out_scale[n];
      c->offset = layer->out_bias[n];
      continue;
    }
    const bool sign = out->format.kind == BL_FORMAT_B; // whose bias has no half
    c->scale = ldexp(layer->mult[n], -layer->shift[n]);
    c->offset = ldexp((double)layer->bias[n], -layer->shift[n]) - (sign ? 0 : 0.5);
  }
  return BL_OK;
}

bl_status bl_input_range_open(bl_int_graph *graph, bl_input_range **range, bl_error *err) {
  *range = NULL;
  if (graph->tensors[0].format.kind == BL_FORMAT_B)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "input range: the input is bipolar and has none");
  for (uint32_t k = 0; k < graph->layer_count; k++)
    if (graph->layers[k].addend_weight != NULL &&
        (graph->layers[k].addend == 0 || graph->layers[k].input == 0))
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "layer %s: the network's input goes into a sum, whose scales belong together",
                     graph->layers[k].name);
  bl_input_range *r = calloc(1, sizeof *r);
  if (r == NULL) return no_memory(err);
  *r =
      (bl_input_range){graph, graph->tensors[0], calloc(graph->layer_count, sizeof *r->readers), 0};
  bl_status status = r->readers == NULL ? no_memory(err) : BL_OK;
  for (uint32_t k = 0; k < graph->layer_count && status == BL_OK; k++)
    if (graph->layers[k].input == 0)
      status = read_layer(graph, &graph->layers[k], &r->readers[r->count++], err);
  if (status == BL_OK) *range = r;
  if (status != BL_OK) bl_input_range_close(r);
  return status;
}

void bl_input_range_close(bl_input_range *range) {
  if (range == NULL) return;
  for (uint32_t k = 0; k < range->count; k++)
    free(range->readers[k].was);
  free(range->readers);
  free(range);
}

bl_status bl_input_range_of(const float *values, size_t count, bl_quantiser *quantiser,
                            bl_error *err) {
  bl_observer observer;
  bl_observer_init(&observer);
  BL_TRY(bl_observer_range(&observer, values, count, err));
  *quantiser = bl_observer_input(&observer);
  return BL_OK;
}

static bl_status set_channel(const bl_input_range *r, const reader *to, uint32_t n, bl_quantiser q,
                             bl_error *err) {
  bl_int_layer *layer = to->layer;
  const channel *c = &to->was[n];
  const double ratio = q.scale / r->input.scale, scale = c->scale * ratio;
  const double offset =
      c->offset + c->scale * c->weights * (r->input.zero_point - q.zero_point * ratio);
  if (of_accumulators(r->graph, layer)) {
    layer->out_scale[n] = scale;
    layer->out_bias[n] = offset;
    return BL_OK;
  }
  bl_requant made;
  bool zero;
  if (!bl_requant_real(scale, offset, &made, &zero) || (zero && c->weights != 0))
    return bl_fail(err, BL_ERR_RANGE, "layer %s channel %u: a scale of %g does not fit",
                   layer->name, n, scale);
  if (r->graph->tensors[layer->output].format.kind == BL_FORMAT_B)
    made.bias -= (int64_t)1 << (made.shift - 1);
  layer->mult[n] = made.mult;
  layer->bias[n] = made.bias;
  layer->shift[n] = made.shift;
  return BL_OK;
}

bl_status bl_input_range_set(bl_input_range *r, bl_quantiser q, bl_error *err) {
  bl_int_tensor *in = &r->graph->tensors[0];
  in->format = q.format;
  in->scale = q.scale;
  in->zero_point = q.zero_point;
  for (uint32_t k = 0; k < r->count; k++) {
    const reader *to = &r->readers[k];
    to->layer->pad_value = q.zero_point;
    for (uint32_t n = 0; n < to->channels; n++)
      BL_TRY(set_channel(r, to, n, q, err));
  }
  return BL_OK;
}
