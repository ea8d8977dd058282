// SPDX-License-Identifier: Apache-2.0
// What the lanes of window words hold, as docs/reference/device.md lays windows out, and the words
// of the second source.
#include "host/compile/internal.h"

static uint32_t slots(const bl_mapping *m) {
  return m->config->lanes / m->config->cols;
}

uint32_t bl_window_ids(const bl_mapping *m) {
  if (m->gather == BL_GATHER_ROTATED) return m->in_words * slots(m) * m->region_words;
  return bl_div_up(m->taps * m->tap_bytes, m->config->lanes / 8);
}

// Channel of a lane of the op's input words; false where the tensor has none.
static bool channel_of(const bl_mapping *m, uint32_t lane, uint32_t *channel) {
  int64_t c = (int64_t)lane + m->in_channel0;
  *channel = (uint32_t)c;
  return c >= 0 && c < m->in_c;
}

// Rotated: id = (channel word * SLOTS + group) * region_words + word of the group's region.
static bool rotated_lane(const bl_mapping *m, uint32_t id, uint32_t lane, uint32_t *tap,
                         uint32_t *channel) {
  const uint32_t cols = m->config->cols;
  uint32_t word = id % m->region_words, group = id / m->region_words; // over all channel words
  uint32_t slot = word * slots(m) + lane / cols, start = group % slots(m);
  if (slot < start || slot - start >= m->taps) return false;
  *tap = m->tap0 + slot - start;
  return channel_of(m, group * cols + lane % cols, channel);
}

bool bl_lane(const bl_mapping *m, uint32_t id, uint32_t lane, uint32_t *tap, uint32_t *channel) {
  if (m->gather == BL_GATHER_ROTATED) return rotated_lane(m, id, lane, tap, channel);
  uint32_t byte = id * (m->config->lanes / 8) + lane / 8;
  if (byte >= m->taps * m->tap_bytes) return false;
  *tap = m->tap0 + byte / m->tap_bytes;
  return channel_of(m, byte % m->tap_bytes * 8 + lane % 8, channel);
}

uint32_t bl_window_address(const bl_mapping *m, uint32_t id) {
  if (m->gather == BL_GATHER_SPREAD) return id;
  if (m->gather == BL_GATHER_PACKED) return id * m->in_planes;
  uint32_t word = id % m->region_words, group = id / m->region_words;
  uint32_t cw = group / slots(m), region = m->region_words * m->in_planes;
  return (word * m->in_planes + cw * region) * slots(m) + group % slots(m);
}

int8_t bl_lane_weight(const bl_mapping *m, uint32_t n, uint32_t id, uint32_t lane) {
  uint32_t tap, channel;
  if (n >= m->out->c || !bl_lane(m, id, lane, &tap, &channel)) return 0;
  uint32_t first = n / (m->out->c / m->groups) * m->group_in;
  if (channel - first >= m->group_in) return 0;
  size_t taps = m->host_windows ? 1 : (size_t)m->layer->kernel_h * m->layer->kernel_w;
  return m->layer->weights[((size_t)n * taps + tap) * m->group_in + (channel - first)];
}

uint32_t bl_tile_terms(const bl_mapping *m, uint32_t tile, bl_term terms[BL_MAX_TERMS]) {
  const uint32_t lanes = m->config->lanes, cols = m->config->cols;
  if (m->partial_bytes > 0) {
    for (uint32_t b = 0; b < m->partial_bytes; b++) {
      uint32_t lane = ((tile - m->tile0) * m->partial_bytes + b) * cols;
      terms[b] = (bl_term){lane / lanes, 1, lane % lanes, 8 * b, b + 1 == m->partial_bytes, 1};
    }
    return m->partial_bytes;
  }
  if (m->addend == NULL || !m->first) return 0;
  const uint32_t first = m->addend->parent_channel;
  terms[0] = (bl_term){.place = m->addend->format.kind == BL_FORMAT_B ? 1 : 0,
                       .is_signed = m->addend->format.kind == BL_FORMAT_S};
  if (m->layer->project_h > 0) {
    terms[0].words = m->res_words;
    terms[0].lane0 = first % lanes;
  } else {
    terms[0].word = (first + tile * cols) / lanes - (first + m->tile0 * cols) / lanes;
    terms[0].words = 1;
    terms[0].lane0 = (first + tile * cols) % lanes;
  }
  return 1;
}

int32_t bl_term_factor(const bl_mapping *m, const bl_term *term, uint32_t tile, uint32_t c,
                       uint32_t word, uint32_t lane) {
  const uint32_t n = tile * m->config->cols + c, from = word * m->config->lanes + lane;
  if (n >= m->out->c || from < term->lane0) return 0;
  if (m->partial_bytes == 0 && m->layer->project_h > 0) {
    const uint32_t channel = from - term->lane0;
    return channel < m->addend_fan ? m->layer->addend_weight[(size_t)n * m->addend_fan + channel]
                                   : 0;
  }
  if (from != term->lane0 + c) return 0;
  return term->scale != 0 ? term->scale : m->layer->addend_weight[n];
}

uint32_t bl_term_planes(const bl_mapping *m, const bl_term *term, uint32_t tile, int *sign_plane) {
  int32_t lo = 0, hi = 0;
  uint32_t any = 0;
  for (uint32_t at = 0; at < term->words * m->config->lanes; at++)
    for (uint32_t c = 0; c < m->config->cols; c++) {
      int32_t d = bl_term_factor(m, term, tile, c, at / m->config->lanes, at % m->config->lanes);
      any |= (uint32_t)d;
      if (d < lo) lo = d;
      if (d > hi) hi = d;
    }
  *sign_plane = -1;
  if (lo == 0) return any;
  uint32_t width = 1;
  while (lo < -(1 << (width - 1)) || hi >= 1 << (width - 1))
    width++;
  *sign_plane = (int)width - 1;
  return any & ((1u << width) - 1);
}
