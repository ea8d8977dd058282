// SPDX-License-Identifier: Apache-2.0
// What the array computes against what the layer asks: bipolar inputs are stored as bits b with
// a = 2b - 1, so sum a*w = 2 * sum b*w - sum w, and the last term is a constant of the channel that
// is folded into its bias. Here too: the proof that no sum overflows.
#include "host/compile/internal.h"

#include <stdlib.h>

// Sum of a channel's positive and of its negative weights, over all operations of the layer.
static void channel_sums(const bl_mapping *m, uint32_t n, int64_t *positive, int64_t *negative) {
  size_t taps = m->host_windows ? 1 : (size_t)m->layer->kernel_h * m->layer->kernel_w;
  size_t count = taps * m->group_in;
  const int8_t *w = m->layer->weights + (size_t)n * count;
  int64_t plus = 0, minus = 0;
  for (size_t k = 0; k < count; k++) {
    if (w[k] > 0)
      plus += w[k];
    else
      minus += w[k];
  }
  *positive = plus;
  *negative = minus;
}

static uint32_t bytes_of(int64_t lo, int64_t hi) {
  uint32_t bytes = 1;
  while (bytes < 4 &&
         (lo < -((int64_t)1 << (8 * bytes - 1)) || hi >= (int64_t)1 << (8 * bytes - 1)))
    bytes++;
  return bytes;
}

static bl_status check_channel(const bl_mapping *m, uint32_t n, int64_t lo, int64_t hi,
                               bl_error *err) {
  const bl_int_layer *l = m->layer;
  const int64_t acc = (int64_t)1 << (m->config->acc_w - 1), wide = (int64_t)1 << 47;
  int64_t constant = m->constant[n];
  if (lo - constant < -acc || hi - constant >= acc || lo < INT32_MIN || hi > INT32_MAX)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "layer %s channel %u: sums of %lld..%lld may overflow the %u-bit accumulator; "
                   "use fewer bits or a smaller kernel",
                   l->name, n, (long long)lo, (long long)hi, m->config->acc_w);
  if (m->acc_bytes > 0) return BL_OK;
  int64_t bias = l->bias[n] + constant * l->mult[n];
  if (bias < -wide || bias >= wide)
    return bl_fail(
        err, BL_ERR_UNSUPPORTED,
        "layer %s channel %u: its bias of %lld with the input's sign folded in is beyond "
        "48 bits; use a smaller mult and shift",
        l->name, n, (long long)bias);
  int64_t a = lo * l->mult[n] + l->bias[n], b = hi * l->mult[n] + l->bias[n];
  if (a < -2 * wide || a >= 2 * wide || b < -2 * wide || b >= 2 * wide)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "layer %s channel %u: the product with mult may overflow 49 bits; use a smaller "
                   "mult and shift",
                   l->name, n);
  return BL_OK;
}

typedef struct {
  int64_t lo, hi;
} range;

// What the accumulator may hold: the layer's sum, raised, and its addend.
static range sum_range(const bl_mapping *m, uint32_t n, int64_t plus, int64_t minus) {
  const int64_t lo = bl_format_min(m->in->format), hi = bl_format_max(m->in->format);
  const int64_t scale = (int64_t)1 << m->layer->raise;
  range r = {(plus * lo + minus * hi) * scale, (plus * hi + minus * lo) * scale};
  if (m->addend == NULL) return r;
  for (uint32_t k = 0; k < m->addend_fan; k++) {
    int64_t d = m->layer->addend_weight[(size_t)n * m->addend_fan + k];
    int64_t a = d * bl_format_min(m->addend->format), b = d * bl_format_max(m->addend->format);
    r.lo += a < b ? a : b;
    r.hi += a < b ? b : a;
  }
  return r;
}

static int64_t constant_of(const bl_mapping *m, uint32_t n, int64_t weights) {
  int64_t constant = m->in_bipolar ? -weights * ((int64_t)1 << m->layer->raise) : 0;
  if (m->addend == NULL || m->addend->format.kind != BL_FORMAT_B) return constant;
  for (uint32_t k = 0; k < m->addend_fan; k++)
    constant -= m->layer->addend_weight[(size_t)n * m->addend_fan + k];
  return constant;
}

bl_status bl_map_ranges(bl_mapping *m, bl_arena *arena, bl_error *err) {
  m->constant = bl_arena_alloc(arena, m->out->c, sizeof *m->constant);
  if (m->constant == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its constants", m->layer->name);
  uint32_t bytes = m->out->format.kind == BL_FORMAT_ACC || !m->last ? 1 : 0;
  m->acc_bytes = bytes;
  const uint32_t first = m->last ? 0 : m->tile0 * m->config->cols;
  const uint32_t end = m->last ? m->out->c : m->tile1 * m->config->cols;
  for (uint32_t n = first; n < end && n < m->out->c; n++) {
    int64_t plus, minus;
    channel_sums(m, n, &plus, &minus);
    range r = sum_range(m, n, plus, minus);
    m->constant[n] = constant_of(m, n, plus + minus);
    BL_TRY(check_channel(m, n, r.lo, r.hi, err));
    if (!m->last) { // sums leave without the constant; any part of them may come first
      r.lo = r.lo - m->constant[n] < 0 ? r.lo - m->constant[n] : 0;
      r.hi = r.hi - m->constant[n] > 0 ? r.hi - m->constant[n] : 0;
    }
    if (bytes > 0 && bytes_of(r.lo, r.hi) > bytes) bytes = bytes_of(r.lo, r.hi);
  }
  m->acc_bytes = bytes;
  return BL_OK;
}

static void put_param(const bl_param *param, uint8_t *bytes) {
  uint32_t words[BL_PARAM_WORDS];
  (void)bl_param_pack(param, words); // ranges were checked above and by bl_int_check
  for (uint32_t b = 0; b < BL_CONTRACT_PARAM_BYTES; b++)
    bytes[b] = (uint8_t)(words[b / 4] >> (8 * (b % 4)));
}

void bl_emit_params(const bl_mapping *m, const bl_part *part, uint8_t *bytes) {
  const bl_int_layer *l = m->layer;
  const uint32_t cols = m->config->cols;
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    for (uint32_t b = 0; b < bl_listings(m); b++)
      for (uint32_t c = 0; c < cols; c++, bytes += BL_CONTRACT_PARAM_BYTES) {
        uint32_t n = t * cols + c;
        // Columns without a channel give 0 in every byte, whatever their sums are.
        bl_param param = {.shift = (uint8_t)(15 + 8 * b)};
        if (n < m->out->c) {
          param.mult = 1 << 15;
          if (m->acc_bytes == 0) {
            param.mult = l->mult[n];
            param.shift = l->shift[n];
            param.bias = l->bias[n];
          }
          if (m->last) param.bias += m->constant[n] * param.mult;
        }
        put_param(&param, bytes);
      }
}
