// SPDX-License-Identifier: Apache-2.0
// A layer of the integer graph as the device runs it: geometry, formats, how its windows are laid
// out, and how it is cut where a window is longer than a row buffer.
#include "host/compile/internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  const bl_int_graph *graph;
  bl_arena *arena;
  bl_mapped *mapped;
  bl_error *err;
} mapper;

// With windows packed by the host the device runs a 1x1 convolution over kh*kw*C channels, whose
// order is that of the weights, so nothing else changes.
static void map_input(bl_mapping *m) {
  const bl_int_layer *l = m->layer;
  const bool window = m->host_windows;
  const uint32_t up = l->upsample ? 2 : 1;
  m->in_h = window ? m->conv_h : m->in->h * up;
  m->in_w = window ? m->conv_w : m->in->w * up;
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
}

static uint32_t least_of(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

// Reads channel words word0 .. word0+words-1 of the tensor's own (a part of a concatenation may
// start in the middle of the first).
static void read_words(bl_mapping *m, uint32_t word0, uint32_t words) {
  const uint32_t lanes = m->config->lanes, shift = m->in->parent_channel % lanes;
  uint32_t end = shift + m->in_c - word0 * lanes; // lanes from the first on
  m->in_word0 = word0;
  m->in_words = words;
  m->in_channel0 = (int32_t)(word0 * lanes) - (int32_t)shift;
  m->in_last_lanes = least_of(end - (words - 1) * lanes, lanes);
  m->tap_bytes = (words - 1) * (lanes / 8) + bl_div_up(m->in_last_lanes, 8);
}

static uint32_t total_words(const bl_mapping *m) {
  return bl_div_up(m->in->parent_channel % m->config->lanes + m->in_c, m->config->lanes);
}

// Halved before it is subtracted (a post of 0), the row sum needs all its bits; nothing else does.
// That happens where something not bipolar is added: the addend, or the sums of an earlier run.
static bool row_sum_fits(const bl_mapping *m) {
  const bool alone = m->addend == NULL && bl_window_ids(m) * m->in_planes <= m->config->row_depth;
  const int64_t lo = bl_format_min(m->in->format), hi = bl_format_max(m->in->format);
  const int64_t input = m->in_bipolar ? 1 : -lo > hi ? -lo : hi; // the largest, as it is stored
  const int64_t largest = input * bl_format_max(m->layer->weight_format);
  const uint32_t place = (m->in_bipolar ? 2u : 1u) + m->layer->raise;
  return alone ||
         ((int64_t)m->taps * m->group_in * largest << place) < (int64_t)1 << (m->config->acc_w - 1);
}

static void map_formats(bl_mapping *m) {
  bl_format in = m->in->format;
  m->in_planes = in.bits;
  m->in_bipolar = in.kind == BL_FORMAT_B;
  m->in_signed = in.kind == BL_FORMAT_S;
  // The row sum is shared by all columns and counts all lanes, so bipolar weights stay bipolar only
  // where all columns reduce over the same inputs and no other tensor's, and where that sum fits;
  // elsewhere they are two's complement, of one bit more.
  bool alone = m->in->parent == 0 || m->host_windows;
  const bl_format weights = m->layer->weight_format;
  const bool bipolar = weights.kind == BL_FORMAT_B && m->groups == 1 && alone && row_sum_fits(m);
  m->bipolar_planes = bipolar ? weights.bits : 0;
  m->place = (m->in_bipolar ? 1u : 0u) + (bipolar ? 1u : 0u) + m->layer->raise;
}

static bool codebook_has_zero(const bl_int_layer *l) {
  for (int i = 0; i < 16; i++)
    if (l->codebook[i] == 0) return true;
  return false;
}

static void measure_window(bl_mapping *m) {
  const uint32_t slots = m->config->lanes / m->config->cols;
  m->region_words = bl_div_up(m->taps + slots - 1, slots);
  m->window_words = m->gather == BL_GATHER_ROTATED  ? bl_window_ids(m) * m->in_planes
                    : m->gather == BL_GATHER_SPREAD ? bl_window_ids(m)
                                                    : bl_window_ids(m) * m->in_planes;
}

// Channel words of a projected addend.
static uint32_t projected_words(const bl_mapping *m) {
  const uint32_t lanes = m->config->lanes;
  return bl_div_up(m->addend->parent_channel % lanes + m->addend->c, lanes);
}

static void measure_second(bl_mapping *m) {
  const bl_config *c = m->config;
  uint32_t lanes = (m->tile1 - m->tile0) * c->cols;
  m->res_planes = m->res_words = 0;
  m->res_down = m->res_across = 1;
  if (m->partial_bytes > 0) {
    m->res_planes = 8;
    m->res_words = bl_div_up(lanes * m->partial_bytes, c->lanes);
  } else if (m->addend != NULL && m->first && m->layer->project_h > 0) {
    m->res_down = m->layer->project_h;
    m->res_across = m->layer->project_w;
    m->res_planes = m->addend->format.bits;
    m->res_words = projected_words(m);
  } else if (m->addend != NULL && m->first) {
    uint32_t lane = (m->addend->parent_channel + m->tile0 * c->cols) % c->lanes;
    m->res_planes = m->addend->format.bits;
    m->res_words = bl_div_up(lane + lanes, c->lanes);
  }
}

static uint32_t row_words(const bl_mapping *m) {
  return m->window_words + m->res_words * m->res_planes;
}

static void map_output(bl_mapping *m) {
  const bl_config *c = m->config;
  uint32_t lanes = (m->last ? bl_tile_total(m) : m->tile1 - m->tile0) * c->cols * bl_listings(m);
  m->out_planes = m->acc_bytes > 0 ? 8 : m->out->format.bits;
  if (m->acc_bytes == 0) lanes = m->out->c;
  m->out_words = bl_div_up(lanes, c->lanes) * m->out_planes;
}

// ---- Which inputs a tile needs -----------------------------------------------------------------

// First and last channel of the groups of tiles tile0 .. tile1-1.
static void channels_of(const bl_mapping *m, uint32_t tile0, uint32_t tile1, uint32_t *first,
                        uint32_t *last) {
  uint32_t group_out = m->out->c / m->groups, cols = m->config->cols;
  uint32_t n0 = tile0 * cols, n1 = least_of(tile1 * cols, m->out->c);
  *first = n0 / group_out * m->group_in;
  *last = ((n1 - 1) / group_out + 1) * m->group_in - 1;
}

static void words_of(const bl_mapping *m, uint32_t tile0, uint32_t tile1, uint32_t *word0,
                     uint32_t *words) {
  uint32_t first, last, lanes = m->config->lanes, shift = m->in->parent_channel % lanes;
  channels_of(m, tile0, tile1, &first, &last);
  *word0 = (shift + first) / lanes;
  *words = (shift + last) / lanes - *word0 + 1;
}

// Rotated windows serve layers whose every tile reduces over one group of COLS lanes.
static bool may_rotate(const bl_mapping *m) {
  uint32_t cols = m->config->cols, shift = m->in->parent_channel % m->config->lanes;
  if (m->groups == 1 || m->taps == 1 || m->addend != NULL) return false;
  for (uint32_t t = 0; t < bl_tile_total(m); t++) {
    uint32_t first, last;
    channels_of(m, t, t + 1, &first, &last);
    if ((shift + first) / cols != (shift + last) / cols) return false;
  }
  return true;
}

// ---- Operations --------------------------------------------------------------------------------

static bl_status add_op(const mapper *k, bl_mapping m) {
  measure_second(&m);
  BL_TRY(bl_map_ranges(&m, k->arena, k->err));
  map_output(&m);
  BL_TRY(bl_map_check_fields(&m, k->err));
  BL_TRY(bl_plan_tiles(&m, k->arena, k->err));
  bl_mapped *all = k->mapped;
  if (all->count == all->room) {
    uint32_t room = all->room == 0 ? 16 : all->room * 2;
    bl_mapping *ops = bl_arena_alloc(k->arena, room, sizeof *ops);
    if (ops == NULL)
      return bl_fail(k->err, BL_ERR_MEMORY, "layer %s: no memory for it", m.layer->name);
    if (all->count > 0) memcpy(ops, all->ops, all->count * sizeof *ops);
    all->ops = ops;
    all->room = room;
  }
  all->ops[all->count++] = m;
  return BL_OK;
}

static bl_status too_long(const mapper *k, const bl_mapping *m) {
  return bl_fail(
      k->err, BL_ERR_UNSUPPORTED,
      "layer %s: its window takes %u words of a row buffer of %u (%s) and cannot be cut; "
      "use fewer activation bits, input channels or kernel positions",
      m->layer->name, row_words(m), m->config->row_depth, m->config->name);
}

// A piece of the reduction: at most so many channel words, kernel rows and columns.
typedef struct {
  uint32_t words, rows, cols;
} chunk;

// The piece that begins at a channel word, kernel row and column; `left`: of the layer.
static void take_chunk(bl_mapping *m, const chunk *size, const chunk *begin, const chunk *left) {
  read_words(m, begin->words, least_of(size->words, left->words));
  m->kernel_h = least_of(size->rows, left->rows);
  m->kernel_w = least_of(size->cols, left->cols);
  m->taps = m->kernel_h * m->kernel_w;
  m->ky0 = begin->rows;
  m->kx0 = begin->cols;
  m->tap0 = begin->rows * m->layer->kernel_w + begin->cols;
  measure_window(m);
}

// May a kernel of `kernel` positions along an axis be cut into chunks? Every chunk begins inside
// the input. Seen twice as high or wide, the input changes under every second position, and chunks
// begin there.
static bool may_cut(const bl_mapping *m, uint32_t kernel, uint32_t size, uint32_t dilation,
                    uint32_t in) {
  const uint32_t last = (kernel - 1) / size * size;
  return last * dilation < in && !(m->layer->upsample && size < kernel && size * dilation % 2 != 0);
}

static bool chunk_fits(bl_mapping m, const chunk *size, uint32_t room) {
  const chunk begin = {0, 0, 0};
  take_chunk(&m, size, &begin, size);
  return m.window_words <= room;
}

// Longest chunk: whole kernel and as many channel words as fit, else one word and kernel rows, else
// a part of a kernel row.
static bool chunk_size(const bl_mapping *m, uint32_t room, uint32_t words, chunk *size) {
  *size = (chunk){words, m->kernel_h, m->kernel_w};
  for (; size->words > 0; size->words--)
    if (chunk_fits(*m, size, room)) return true;
  size->words = 1;
  if (m->pad_top > 0 || m->host_windows) return false;
  for (; size->rows > 0; size->rows--)
    if (may_cut(m, m->kernel_h, size->rows, m->dilation_h, m->in_h) && chunk_fits(*m, size, room))
      return true;
  size->rows = 1;
  if (m->pad_left > 0 || !may_cut(m, m->kernel_h, 1, m->dilation_h, m->in_h)) return false;
  for (; size->cols > 0; size->cols--)
    if (may_cut(m, m->kernel_w, size->cols, m->dilation_w, m->in_w) && chunk_fits(*m, size, room))
      return true;
  return false;
}

// The chunk behind `begin`: further channel words, then columns, then rows; false at the end.
static bool next_chunk(const chunk *all, const chunk *size, chunk *begin) {
  begin->words += size->words;
  if (begin->words < all->words) return true;
  begin->words = 0;
  begin->cols += size->cols;
  if (begin->cols < all->cols) return true;
  begin->cols = 0;
  begin->rows += size->rows;
  return begin->rows < all->rows;
}

// The reduction of tiles tile0 .. tile1-1 in several operations; all but the last leave their sums
// as bytes, which the next one adds.
static bl_status cut_reduction(const mapper *k, bl_mapping m, uint32_t tile0, uint32_t tile1) {
  const bool pools = m.layer->pool_h != 1 || m.layer->pool_w != 1;
  const uint32_t final = m.out_region, lanes = (tile1 - tile0) * m.config->cols * 4;
  uint32_t second = bl_div_up(lanes, m.config->lanes) * 8, word0, words;
  if (m.layer->project_h > 0 && projected_words(&m) * m.addend->format.bits > second)
    second = projected_words(&m) * m.addend->format.bits;
  words_of(&m, tile0, tile1, &word0, &words);
  const chunk all = {words, m.kernel_h, m.kernel_w};
  chunk size, begin = {0, 0, 0};
  m.gather = BL_GATHER_PACKED;
  if (pools || second >= m.config->row_depth ||
      !chunk_size(&m, m.config->row_depth - second, words, &size))
    return too_long(k, &m);
  m.tile0 = tile0;
  m.tile1 = tile1;
  m.first = true;
  do {
    const chunk at = {word0 + begin.words, begin.rows, begin.cols};
    const chunk left = {words - begin.words, all.rows - begin.rows, all.cols - begin.cols};
    take_chunk(&m, &size, &at, &left);
    m.last = !next_chunk(&all, &size, &begin);
    if (!m.first) m.res_region = m.out_region;
    m.out_region = m.last ? final : k->mapped->region_count++;
    m.partial_bytes = m.first ? 0 : k->mapped->ops[k->mapped->count - 1].acc_bytes;
    BL_TRY(add_op(k, m));
    m.first = false;
  } while (!m.last);
  return BL_OK;
}

// As many tiles at once as their inputs (grouped layers) or partial sums leave room for.
static bl_status cut_layer(const mapper *k, const bl_mapping *whole) {
  const uint32_t total = bl_tile_total(whole);
  uint32_t word0, words;
  for (uint32_t tile0 = 0, tile1; tile0 < total; tile0 = tile1) {
    bl_mapping m = *whole;
    bool fits = false;
    for (tile1 = tile0 + 1; tile1 <= total; tile1++) {
      bl_mapping wider = *whole;
      wider.tile0 = tile0;
      wider.tile1 = tile1;
      words_of(whole, tile0, tile1, &word0, &words);
      read_words(&wider, word0, words);
      measure_window(&wider);
      measure_second(&wider);
      if (row_words(&wider) > wider.config->row_depth) break;
      m = wider;
      fits = true;
    }
    tile1 = fits ? m.tile1 : tile0 + 1;
    if (fits) {
      BL_TRY(add_op(k, m));
      continue;
    }
    uint32_t most =
        whole->config->row_depth / 4 / 8 * whole->config->lanes / whole->config->cols / 4;
    if (whole->groups == 1) tile1 = least_of(total, tile0 + (most > 0 ? most : 1));
    BL_TRY(cut_reduction(k, *whole, tile0, tile1));
  }
  return BL_OK;
}

static uint64_t steps_of(const bl_mapping *m) {
  uint64_t steps = 0;
  for (uint32_t t = m->tile0; t < m->tile1; t++)
    steps += bl_tile_at(m, t)->steps;
  return steps;
}

// One operation, with the window layout that takes fewer steps; false when neither fits whole.
static bl_status try_whole(const mapper *k, bl_mapping *m, bool *done) {
  uint64_t best = UINT64_MAX;
  bl_gather gather = BL_GATHER_PACKED;
  *done = false;
  for (int way = BL_GATHER_PACKED; way <= BL_GATHER_ROTATED; way++) {
    if (way == BL_GATHER_ROTATED && !may_rotate(m)) continue;
    m->gather = (bl_gather)way;
    measure_window(m);
    measure_second(m);
    if (row_words(m) > m->config->row_depth) continue;
    if (!may_rotate(m)) {
      *done = true;
      return add_op(k, *m);
    }
    bl_mapping trial = *m;
    BL_TRY(bl_plan_tiles(&trial, k->arena, k->err));
    if (steps_of(&trial) >= best) continue;
    best = steps_of(&trial);
    gather = (bl_gather)way;
    *done = true;
  }
  m->gather = *done || may_rotate(m) ? (*done ? gather : BL_GATHER_ROTATED) : BL_GATHER_PACKED;
  measure_window(m);
  measure_second(m);
  return *done ? add_op(k, *m) : BL_OK;
}

static bl_status check_concatenation(const mapper *k, const bl_mapping *m) {
  const bl_int_tensor *const tensors[] = {m->out, m->addend};
  for (int i = 0; i < 2; i++)
    if (tensors[i] != NULL && tensors[i]->parent_channel % m->config->cols != 0)
      return bl_fail(k->err, BL_ERR_UNSUPPORTED,
                     "layer %s: tensor %s starts at channel %u of its concatenation, the device "
                     "takes multiples of %u; pad or reorder the branches",
                     m->layer->name, tensors[i]->name, tensors[i]->parent_channel, m->config->cols);
  if (m->out->parent != 0 && m->out->format.kind == BL_FORMAT_ACC)
    return bl_fail(k->err, BL_ERR_UNSUPPORTED, "layer %s: accumulators cannot be concatenated",
                   m->layer->name);
  return BL_OK;
}

bl_status bl_map_layer(const bl_int_graph *graph, uint32_t index, const bl_config *config,
                       bool host_windows, bl_arena *arena, bl_mapped *mapped, bl_error *err) {
  const bl_int_layer *layer = &graph->layers[index];
  const mapper k = {graph, arena, mapped, err};
  bl_mapping m = {.config = config,
                  .layer = layer,
                  .in = &graph->tensors[layer->input],
                  .out = &graph->tensors[layer->output],
                  .index = index,
                  .in_region = layer->input,
                  .out_region = layer->output,
                  .res_region = BL_NONE,
                  .first = true,
                  .last = true,
                  .ends_tensor = true,
                  .host_windows = host_windows,
                  .groups = layer->groups};
  if (m.out->parent != 0)
    m.ends_tensor = m.out->parent_channel + m.out->c == graph->tensors[m.out->parent].c;
  if (layer->addend_weight != NULL) {
    m.addend = &graph->tensors[layer->addend];
    m.addend_fan = bl_int_addend_fan(graph, layer);
    m.res_region = layer->addend;
  }
  bl_int_conv_size(graph, layer, &m.conv_h, &m.conv_w);
  m.pool_stride_h = m.out->h == 1 ? 1 : layer->pool_stride_h;
  m.pool_stride_w = m.out->w == 1 ? 1 : layer->pool_stride_w;
  m.tile1 = bl_div_up(m.out->c, config->cols);
  map_input(&m);
  m.codes =
      layer->codebook != NULL && (codebook_has_zero(layer) || (m.groups == 1 && m.in->parent == 0));
  read_words(&m, 0, total_words(&m));
  map_formats(&m);
  BL_TRY(check_concatenation(&k, &m));
  bool pools =
      layer->pool_h != 1 || layer->pool_w != 1 || m.conv_h != m.out->h || m.conv_w != m.out->w;
  if (m.addend != NULL && pools)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "layer %s: pooling after an addition is a layer of its own", layer->name);
  bool done;
  BL_TRY(try_whole(&k, &m, &done));
  return done ? BL_OK : cut_layer(&k, &m);
}

void bl_choose_spread(bl_mapping *m, uint32_t images) {
  if (m->gather == BL_GATHER_ROTATED || m->res_region != BL_NONE || m->in_planes < 2 ||
      m->in_planes > m->config->rows)
    return;
  uint64_t pixels = (uint64_t)images * m->out->h * m->out->w, issue;
  uint64_t best = UINT64_MAX;
  bl_gather gather = BL_GATHER_PACKED;
  const bl_gather ways[] = {BL_GATHER_PACKED, BL_GATHER_SPREAD};
  for (int i = 0; i < 2; i++) {
    m->gather = ways[i];
    measure_window(m);
    bl_plan_passes(m);
    uint64_t cycles = bl_estimate(m, pixels, &issue);
    if (cycles >= best) continue;
    best = cycles;
    gather = ways[i];
  }
  m->gather = gather;
  measure_window(m);
  bl_plan_passes(m);
}
