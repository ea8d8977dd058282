// SPDX-License-Identifier: Apache-2.0
// One part of an operation, on one piece of the batch, as the descriptor of a RUN. Fields that do
// not depend on addresses were checked by bl_map_check_fields; addresses lie in memories of at most
// 2^16 words.
#include "host/compile/internal.h"

static void describe_input(const bl_region *in, const bl_mapping *m, bl_descriptor *d) {
  const uint32_t up = m->layer->upsample && !m->host_windows ? 1 : 0;
  d->in_base =
      (uint16_t)(in->address + (in->first_lane / m->config->lanes + m->in_word0) * in->planes +
                 (m->ky0 * m->dilation_h >> up) * in->row_stride +
                 (m->kx0 * m->dilation_w >> up) * in->pixel_stride);
  d->in_planes = (uint8_t)m->in_planes;
  d->in_last_lanes = (uint8_t)m->in_last_lanes;
  // A window of one tap takes whole words, so that no zeros need to follow: what stands above its
  // channels meets no weight, and is zero where the row sum counts it.
  const uint32_t bytes = bl_div_up(m->in_last_lanes, 8), whole = m->config->lanes / 8;
  d->in_last_bytes = (uint8_t)(m->taps == 1 && m->gather != BL_GATHER_ROTATED ? whole : bytes);
  d->in_h = (uint16_t)(m->in_h - m->ky0 * m->dilation_h);
  d->in_w = (uint16_t)(m->in_w - m->kx0 * m->dilation_w);
  d->in_words = (uint16_t)m->in_words;
  d->pad_value = (uint8_t)(m->in_bipolar ? m->layer->pad_value > 0 : m->layer->pad_value);
  d->in_pixel_stride = (uint16_t)in->pixel_stride;
  d->in_row_stride = (uint16_t)in->row_stride;
  d->in_image_stride = (uint16_t)in->image_stride;
  d->gather_mode = (uint8_t)m->gather;
  d->in_up = (uint8_t)up;
  d->in_signed = m->in_signed;
  if (m->gather == BL_GATHER_ROTATED) d->group_stride = (uint16_t)(m->region_words * m->in_planes);
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

// The words of the second source that belong to the operation's tiles; false where their strides do
// not fit their fields.
static bool describe_second(const bl_region *res, const bl_mapping *m, bl_descriptor *d) {
  if (m->res_planes == 0) return true;
  const bool own = m->partial_bytes == 0, projects = own && m->layer->project_h > 0;
  uint32_t lane = own ? res->first_lane + (projects ? 0 : m->tile0 * m->config->cols) : 0;
  d->res_planes = (uint8_t)m->res_planes;
  d->res_words = (uint16_t)m->res_words;
  d->res_base = (uint16_t)(res->address + lane / m->config->lanes * res->planes);
  const uint64_t across = (uint64_t)m->res_across * res->pixel_stride;
  const uint64_t step = (uint64_t)m->res_down * res->row_stride - (m->out->w - 1) * across;
  d->res_pixel_stride = (uint16_t)across;
  d->res_row_step = (uint16_t)step;
  d->res_offset = (uint16_t)m->window_words;
  return across <= UINT16_MAX && step <= UINT16_MAX;
}

static void describe_output(const bl_region *out, const bl_mapping *m, const bl_part *part,
                            bl_descriptor *d) {
  const bl_config *c = m->config;
  uint32_t tile = m->last ? part->tile0 : part->tile0 - m->tile0;
  uint32_t lane = out->first_lane + tile * bl_listings(m) * c->cols;
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

static void describe_clamp(const bl_mapping *m, uint32_t table, bl_descriptor *d) {
  if (m->acc_bytes > 0) return;
  if (m->out->format.kind == BL_FORMAT_B) { // bit = (product >= 0)
    d->out_lo = -1;
    d->out_hi = 0;
    d->out_offset = 1;
    return;
  }
  d->out_lo = (int16_t)(m->layer->lo - m->out->zero_point);
  d->out_hi = (int16_t)(m->layer->hi - m->out->zero_point);
  d->out_offset = (int16_t)m->out->zero_point;
  d->out_table = (uint8_t)table;
}

// Offset of a piece's first word in a region.
static uint32_t region_offset(const bl_region *r, const bl_piece *p, uint32_t row, uint32_t first) {
  if (r->pieces) return (row - first) * r->row_stride;
  return p->image0 * r->image_stride + row * r->row_stride;
}

// The rows that the piece makes, from the rows that its input holds: coordinates count from the
// first row held, and what lies outside of it is padding.
static void describe_piece(const bl_program *program, const bl_mapped *mapped, uint32_t op,
                           uint32_t piece, bl_descriptor *d) {
  const bl_mapping *m = &mapped->ops[op];
  const bl_cut cut = bl_cut_at(program, op);
  const uint32_t up = d->in_up;
  bl_piece p = bl_piece_at(mapped, &cut, program->images, op, piece);
  const bl_region *in = &program->regions[m->in_region], *out = &program->regions[m->out_region];
  uint32_t h = m->in_h >> up, skip = p.in_row0 << up;
  d->images = (uint16_t)p.images;
  if (op < cut.op0 || op >= cut.op1) return;
  uint32_t first = bl_held_rows(mapped, &cut, program->images, m->in_region, h, piece).lo;
  const uint32_t slot = cut.spills ? 0 : piece % program->input.slots * program->input.slot_words;
  d->in_base = (uint16_t)(d->in_base + (m->in_region == 0 ? slot : 0) +
                          region_offset(in, &p, p.in_row0, first));
  d->in_h = (uint16_t)(((p.in_row1 - p.in_row0) << up) - m->ky0 * m->dilation_h);
  d->origin_h = (uint16_t)(d->origin_h + skip - p.row0 * d->step_h);
  d->pad_top = (uint16_t)(d->pad_top + skip);
  d->conv_end_h -= (int32_t)skip;
  d->out_h = (uint16_t)(p.row1 - p.row0);
  first = bl_held_rows(mapped, &cut, program->images, m->out_region, m->out->h, piece).lo;
  d->out_base = (uint16_t)(d->out_base + region_offset(out, &p, p.row0, first));
  if (m->res_planes == 0) return;
  const bl_region *res = &program->regions[m->res_region];
  h = m->out->h * m->res_down;
  first = bl_held_rows(mapped, &cut, program->images, m->res_region, h, piece).lo;
  d->res_base = (uint16_t)(d->res_base + (m->res_region == 0 ? slot : 0) +
                           region_offset(res, &p, p.row0 * m->res_down, first));
}

bl_status bl_describe(const bl_program *program, const bl_mapped *mapped, uint32_t op,
                      const bl_part *part, uint32_t piece, uint32_t tile_base, uint32_t param_base,
                      uint32_t table, bl_descriptor *d, bl_error *err) {
  const bl_mapping *m = &mapped->ops[op];
  *d = (bl_descriptor){.tiles = (uint16_t)((part->tile1 - part->tile0) * bl_listings(m)),
                       .tile_base = (uint16_t)tile_base,
                       .param_base = (uint16_t)param_base};
  describe_input(&program->regions[m->in_region], m, d);
  describe_window(m, d);
  const bool fits =
      m->res_region == BL_NONE || describe_second(&program->regions[m->res_region], m, d);
  describe_output(&program->regions[m->out_region], m, part, d);
  // Only the end of a whole tensor has lanes above it that must be zero; below it they may hold
  // what other runs wrote, or an addend that a later part still reads.
  d->out_keep = !(m->ends_tensor && part->tile1 == bl_tile_total(m));
  describe_clamp(m, table, d);
  describe_piece(program, mapped, op, piece, d);
  uint32_t words[BL_DESCRIPTOR_WORDS];
  if (!fits || d->pad_top > 4095 || !bl_descriptor_pack(d, words))
    return bl_fail(err, BL_ERR_UNSUPPORTED, "layer %s: a descriptor field does not fit",
                   m->layer->name);
  return BL_OK;
}
