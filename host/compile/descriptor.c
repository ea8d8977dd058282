// SPDX-License-Identifier: Apache-2.0
// One part of a layer as the descriptor of a RUN. Fields that do not depend on addresses were
// checked by bl_map_check_fields; addresses lie in memories of at most 2^16 words.
#include "host/compile/internal.h"

static void describe_input(const bl_region *in, const bl_mapping *m, const bl_part *part,
                           bl_descriptor *d) {
  const uint32_t lanes = m->config->lanes;
  const bool last = part->word0 + part->words == m->in_words && m->in_c % lanes != 0;
  d->in_base = (uint16_t)(in->address + part->word0 * m->in_planes);
  d->in_planes = (uint8_t)m->in_planes;
  d->in_last_lanes = (uint8_t)(last ? m->in_c % lanes : lanes);
  d->in_last_bytes = (uint8_t)(lanes / 8);
  d->in_h = (uint16_t)m->in_h;
  d->in_w = (uint16_t)m->in_w;
  d->in_words = (uint16_t)part->words;
  d->pad_value = (uint8_t)(m->in_bipolar ? m->layer->pad_value > 0 : m->layer->pad_value);
  d->in_pixel_stride = (uint16_t)in->pixel_stride;
  d->in_row_stride = (uint16_t)in->row_stride;
  d->in_image_stride = (uint16_t)in->image_stride;
}

static void describe_window(const bl_mapping *m, bl_descriptor *d) {
  const bl_int_layer *l = m->layer;
  d->kernel_h = (uint16_t)m->kernel_h;
  d->kernel_w = (uint16_t)m->kernel_w;
  d->dilation_h = (uint8_t)m->dilation_h;
  d->dilation_w = (uint8_t)m->dilation_w;
  d->stride_h = (uint8_t)m->stride_h;
  d->stride_w = (uint8_t)m->stride_w;
  d->step_h = (uint16_t)(m->stride_h * m->pool_stride_h);
  d->step_w = (uint16_t)(m->stride_w * m->pool_stride_w);
  d->origin_h = (uint16_t)(m->pad_top + m->stride_h * l->pool_pad_top);
  d->origin_w = (uint16_t)(m->pad_left + m->stride_w * l->pool_pad_left);
  d->pad_top = (uint16_t)m->pad_top;
  d->pad_left = (uint16_t)m->pad_left;
  d->pool_h = (uint16_t)l->pool_h;
  d->pool_w = (uint16_t)l->pool_w;
  d->conv_end_h = (int32_t)(m->conv_h * m->stride_h) - (int32_t)m->pad_top;
  d->conv_end_w = (int32_t)(m->conv_w * m->stride_w) - (int32_t)m->pad_left;
}

static void describe_output(const bl_region *out, const bl_mapping *m, const bl_part *part,
                            bl_descriptor *d) {
  const bl_config *c = m->config;
  uint32_t lane = part->tile0 * bl_listings(m) * c->cols;
  d->out_h = (uint16_t)m->out->h;
  d->out_w = (uint16_t)m->out->w;
  d->out_base = (uint16_t)(out->address + lane / c->lanes * m->out_planes);
  d->out_pixel_stride = (uint16_t)out->pixel_stride;
  d->out_planes = (uint8_t)m->out_planes;
  d->out_slot = (uint8_t)(lane % c->lanes / c->cols);
  d->out_signed = m->out->format.kind == BL_FORMAT_S;
  d->out_wrap = m->acc_bytes > 0;
  uint32_t end = part->tile1 * c->cols;
  d->out_last_cols = (uint8_t)(end > m->out->c ? c->cols - (end - m->out->c) : c->cols);
}

static void describe_clamp(const bl_mapping *m, bl_descriptor *d) {
  if (m->acc_bytes > 0) return;
  if (m->out->format.kind == BL_FORMAT_B1) { // bit = (product >= 0)
    d->out_lo = -1;
    d->out_hi = 0;
    d->out_offset = 1;
    return;
  }
  d->out_lo = (int16_t)(m->layer->lo - m->out->zero_point);
  d->out_hi = (int16_t)(m->layer->hi - m->out->zero_point);
  d->out_offset = (int16_t)m->out->zero_point;
}

bl_status bl_describe(const bl_program *program, const bl_mapping *m, const bl_part *part,
                      uint32_t chunk, uint32_t tile_base, uint32_t param_base, bl_descriptor *d,
                      bl_error *err) {
  *d = (bl_descriptor){.images = (uint16_t)program->images,
                       .tiles = (uint16_t)((part->tile1 - part->tile0) * bl_listings(m)),
                       .tile_base = (uint16_t)tile_base,
                       .param_base = (uint16_t)param_base};
  describe_input(&program->regions[m->layer->input], m, part, d);
  describe_window(m, d);
  describe_output(&program->regions[m->layer->output], m, part, d);
  describe_clamp(m, d);
  bl_chunk_describe(program, m, chunk, d);
  uint32_t words[BL_DESCRIPTOR_WORDS];
  if (!bl_descriptor_pack(d, words))
    return bl_fail(err, BL_ERR_UNSUPPORTED, "layer %s: a descriptor field does not fit",
                   m->layer->name);
  return BL_OK;
}
