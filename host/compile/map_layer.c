// SPDX-License-Identifier: Apache-2.0
// A layer of the integer graph as the device sees it: geometry, formats, limits of fields.
#include "host/compile/internal.h"

// With windows packed by the host the device runs a 1x1 convolution over kh*kw*C channels, whose
// order is that of the weights, so nothing else changes.
static void map_input(bl_mapping *m, bool window) {
  const bl_int_layer *l = m->layer;
  m->in_h = window ? m->conv_h : m->in->h;
  m->in_w = window ? m->conv_w : m->in->w;
  m->in_c = window ? m->in->c * l->kernel_h * l->kernel_w : m->in->c;
  m->kernel_h = window ? 1 : l->kernel_h;
  m->kernel_w = window ? 1 : l->kernel_w;
  m->pad_top = window ? 0 : l->pad_top;
  m->pad_left = window ? 0 : l->pad_left;
  m->stride_h = window || m->conv_h == 1 ? 1 : l->stride_h;
  m->stride_w = window || m->conv_w == 1 ? 1 : l->stride_w;
  m->dilation_h = m->kernel_h == 1 ? 1 : l->dilation_h;
  m->dilation_w = m->kernel_w == 1 ? 1 : l->dilation_w;
  m->taps = m->kernel_h * m->kernel_w;
  m->group_in = m->in_c / m->groups;
  m->in_words = bl_div_up(m->in_c, m->config->lanes);
}

static void map_formats(bl_mapping *m) {
  bl_format in = m->in->format;
  m->in_planes = in.bits;
  m->in_bipolar = in.kind == BL_FORMAT_B1;
  m->in_signed = in.kind == BL_FORMAT_S;
  // The row sum is shared by all columns, so bipolar weights stay bipolar only where all columns
  // reduce over the same inputs; elsewhere they are carried as s2.
  m->weights_bipolar = m->layer->weight_format.kind == BL_FORMAT_B1 && m->groups == 1;
  m->place = (m->in_bipolar ? 1u : 0u) + (m->weights_bipolar ? 1u : 0u);
}

static void map_output(bl_mapping *m) {
  const bl_config *c = m->config;
  uint32_t lanes = m->tile_count * c->cols * bl_listings(m);
  m->out_planes = m->acc_bytes > 0 ? 8 : m->out->format.bits;
  if (m->acc_bytes == 0) lanes = m->out->c;
  m->out_words = bl_div_up(lanes, c->lanes) * m->out_planes;
}

// What int_graph.h can say and this compiler does not map.
static bl_status check_supported(const bl_int_graph *graph, const bl_int_layer *layer,
                                 bl_error *err) {
  const struct {
    bool used;
    const char *what;
  } features[] = {
      {layer->addend_weight != NULL, "addition of a second tensor"},
      {layer->table != NULL, "table behind the clamp"},
      {layer->upsample, "up-sampled input"},
      {graph->tensors[layer->output].parent != 0, "output that is a part of a concatenation"},
      {bl_int_is_concatenation(graph, layer->input), "concatenated input"},
  };
  for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
    if (features[i].used)
      return bl_fail(err, BL_ERR_UNSUPPORTED, "layer %s: no mapping of its %s", layer->name,
                     features[i].what);
  return BL_OK;
}

bl_status bl_map_layer(const bl_int_graph *graph, uint32_t index, const bl_config *config,
                       bool window, bl_arena *arena, bl_mapping *m, bl_error *err) {
  const bl_int_layer *layer = &graph->layers[index];
  *m = (bl_mapping){.config = config,
                    .layer = layer,
                    .in = &graph->tensors[layer->input],
                    .out = &graph->tensors[layer->output],
                    .index = index,
                    .groups = layer->groups};
  BL_TRY(check_supported(graph, layer, err));
  bl_int_conv_size(graph, layer, &m->conv_h, &m->conv_w);
  m->pool_stride_h = m->out->h == 1 ? 1 : layer->pool_stride_h;
  m->pool_stride_w = m->out->w == 1 ? 1 : layer->pool_stride_w;
  map_input(m, window);
  map_formats(m);
  m->tile_count = bl_div_up(m->out->c, config->cols);
  BL_TRY(bl_map_ranges(m, arena, err));
  map_output(m);
  BL_TRY(bl_map_check_fields(m, err));
  return bl_plan_tiles(m, arena, err);
}

bl_status bl_map_check_fields(const bl_mapping *m, bl_error *err) {
  const bl_int_layer *l = m->layer;
  const int64_t zp = m->out->zero_point;
  const bool clamps = m->acc_bytes == 0 && m->out->format.kind != BL_FORMAT_B1;
  const struct {
    const char *what;
    int64_t value, least, most;
  } fields[] = {
      {"kernel height", m->kernel_h, 1, 4095},
      {"kernel width", m->kernel_w, 1, 4095},
      {"dilation in y", m->dilation_h, 1, 255},
      {"dilation in x", m->dilation_w, 1, 255},
      {"stride in y", m->stride_h, 1, 255},
      {"stride in x", m->stride_w, 1, 255},
      {"padding at the top", m->pad_top, 0, 4095},
      {"padding at the left", m->pad_left, 0, 4095},
      {"pooling height", l->pool_h, 1, 4095},
      {"pooling width", l->pool_w, 1, 4095},
      {"stride times pooling stride in y", (int64_t)m->stride_h * m->pool_stride_h, 1, 65535},
      {"stride times pooling stride in x", (int64_t)m->stride_w * m->pool_stride_w, 1, 65535},
      {"origin in y", m->pad_top + (int64_t)m->stride_h * l->pool_pad_top, 0, 65535},
      {"origin in x", m->pad_left + (int64_t)m->stride_w * l->pool_pad_left, 0, 65535},
      {"convolution height", (int64_t)m->conv_h * m->stride_h - m->pad_top, -65536, 65535},
      {"convolution width", (int64_t)m->conv_w * m->stride_w - m->pad_left, -65536, 65535},
      {"number of input channel words", m->in_words, 1, 4095},
      {"number of channel tiles", (int64_t)m->tile_count * bl_listings(m), 1, 4095},
      {"lower clamp", clamps ? l->lo - zp : 0, INT16_MIN, INT16_MAX},
      {"upper clamp", clamps ? l->hi - zp : 0, INT16_MIN, INT16_MAX},
  };
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    if (fields[i].value < fields[i].least || fields[i].value > fields[i].most)
      return bl_fail(
          err, BL_ERR_UNSUPPORTED,
          "layer %s: %s is %lld, the device takes %lld..%lld; cut the layer in the model", l->name,
          fields[i].what, (long long)fields[i].value, (long long)fields[i].least,
          (long long)fields[i].most);
  return BL_OK;
}
