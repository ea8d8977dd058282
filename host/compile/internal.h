// SPDX-License-Identifier: Apache-2.0
// What the files of the compiler share: a layer as the device will run it, cut into channel tiles
// and parts. Nobody outside host/compile includes this.
#ifndef BITLOOM_HOST_COMPILE_INTERNAL_H
#define BITLOOM_HOST_COMPILE_INTERNAL_H

#include "host/compile/program.h"

enum {
  BL_COMPILE_ARENA = 1 << 29,
  BL_MAX_PASSES = 128,                      // of one tile: 8 x 8 pairs, and shifts between places
  BL_LIST_MEMORIES = BL_MEMORY_ACTIVATIONS, // memories that hold what a layer needs besides input
};

// One channel tile: COLS output channels. Its reduction words are, for each tap, the channel words
// word0 .. word0+words-1 of the input.
typedef struct {
  uint32_t plane_mask; // weight planes that are issued
  int sign_plane;      // the one that counts negative; -1: none
  uint32_t word0, words;
  uint32_t weight_words; // planes * taps * words
  uint32_t passes;
  uint8_t post;
  uint64_t steps; // cycles of one pixel tile at one pooling offset (once, also for acc bytes)
} bl_tile_plan;

typedef struct {
  const bl_config *config;
  const bl_int_layer *layer;
  const bl_int_tensor *in, *out;
  uint32_t index;
  // The input as the device sees it: tensor in, or its windows when the host packs them.
  uint32_t in_h, in_w, in_c, in_words, in_planes;
  bool in_bipolar, in_signed;
  uint32_t groups, group_in, taps;
  uint32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  uint32_t conv_h, conv_w, pool_stride_h, pool_stride_w;
  uint32_t out_planes, out_words; // out_words: words of one pixel, all planes
  uint32_t acc_bytes;             // 0: requantised; 1..4: int32 bytes
  bool weights_bipolar;           // carried as one plane of -1 and 1
  uint32_t place;                 // of plane pair (0, 0): bipolar operands of a word
  uint32_t tile_count;
  bl_tile_plan *tiles;
  int64_t *constant; // [out c]: accumulator - what the array computes
} bl_mapping;

// Channel tiles tile0 .. tile1-1, over channel words word0 .. word0+words-1.
typedef struct {
  uint32_t tile0, tile1, word0, words;
} bl_part;

static inline uint32_t bl_div_up(uint32_t a, uint32_t b) {
  return a / b + (a % b != 0);
}

static inline uint32_t bl_popcount(uint32_t value) {
  return (uint32_t)__builtin_popcount(value);
}

// Tile-list entries and parameter rows of one channel tile.
static inline uint32_t bl_listings(const bl_mapping *m) {
  return m->acc_bytes == 0 ? 1 : m->acc_bytes;
}

// The weight of output channel n at a tap and input channel c; 0 outside the channel's group.
static inline int8_t bl_weight(const bl_mapping *m, uint32_t n, uint32_t tap, uint32_t c) {
  uint32_t first = n / (m->out->c / m->groups) * m->group_in;
  if (c - first >= m->group_in) return 0;
  return m->layer->weights[((size_t)n * m->taps + tap) * m->group_in + (c - first)];
}

// map_layer.c: fills everything of a mapping. window: the host packs the layer's windows.
BL_MUST_USE bl_status bl_map_layer(const bl_int_graph *graph, uint32_t index,
                                   const bl_config *config, bool window, bl_arena *arena,
                                   bl_mapping *m, bl_error *err);
// Fails unless every descriptor field that does not depend on addresses fits.
BL_MUST_USE bl_status bl_map_check_fields(const bl_mapping *m, bl_error *err);

// overflow.c: constants of bipolar inputs, the overflow proof, bytes of an int32 output.
BL_MUST_USE bl_status bl_map_ranges(bl_mapping *m, bl_arena *arena, bl_error *err);
// Parameter rows of a part, bl_listings() rows a tile, COLS parameters of 9 bytes each a row.
void bl_emit_params(const bl_mapping *m, const bl_part *part, uint8_t *bytes);

// lists.c
// Passes of a tile in Horner order; returns their number, at most BL_MAX_PASSES.
uint32_t bl_list_passes(const bl_mapping *m, const bl_tile_plan *tile,
                        bl_pass passes[BL_MAX_PASSES], uint8_t *post);
// Row-buffer addresses of a tile's taps * words reduction words, 2 bytes each.
void bl_emit_k_list(const bl_mapping *m, const bl_part *part, const bl_tile_plan *tile,
                    uint8_t *bytes);

// tile_weights.c
// Planes, channel words, passes and steps of every tile.
BL_MUST_USE bl_status bl_plan_tiles(bl_mapping *m, bl_arena *arena, bl_error *err);
// Weight words of a part's tiles: word by word, COLS columns of LANES/8 bytes each.
void bl_emit_weights(const bl_mapping *m, const bl_part *part, uint8_t *bytes);

// parts.c: the longest part from tile0 on within `limit` words of each list memory (at least one
// tile, up to the memory's depth). Errors: UNSUPPORTED.
BL_MUST_USE bl_status bl_next_part(const bl_mapping *m, uint32_t tile0,
                                   const uint32_t limit[BL_LIST_MEMORIES], bl_part *part,
                                   bl_error *err);

// memory_plan.c: regions of all tensors for a batch; input_words is what tensor 0 takes. False when
// they do not fit; *needed is then the number of words that the plan would take.
bool bl_plan_memory(const bl_int_graph *graph, const bl_mapping *mappings, uint32_t images,
                    const bl_input_packing *input, bl_region *regions, uint32_t *used,
                    uint32_t *needed);

// Strides and sizes of all tensors, without addresses; false when one is too large by itself.
bool bl_shape_regions(const bl_int_graph *graph, const bl_mapping *mappings, uint32_t images,
                      bl_region *regions);
// Do all regions lie in the memory, and apart from those that live at the same time?
bool bl_regions_sound(const bl_int_graph *graph, const bl_region *regions,
                      const bl_input_packing *input, uint32_t depth);

// stream.c: bytes of a list memory's word, all columns.
uint32_t bl_word_bytes(const bl_config *config, int memory);
// Lists, weights and steps of a program whose regions are known.
BL_MUST_USE bl_status bl_stream(bl_program *program, const bl_mapping *mappings,
                                uint32_t layer_count, bl_error *err);

// compile.c: how the host packs tensor 0 for the layer that reads it.
void bl_fill_packing(const bl_mapping *m, bool window, bl_input_packing *in);
// May the host pack windows of the input?
bool bl_may_pack(const bl_int_graph *graph, const bl_config *config);

// input_chunks.c: may the first layer run on pieces of `rows` rows of its input?
bool bl_chunk_possible(const bl_int_graph *graph, const bl_mapping *m, uint32_t images,
                       uint32_t rows, uint32_t load_bytes);
// Pieces of a layer's input: 1 unless it is the first and its input comes in pieces.
uint32_t bl_chunk_count(const bl_mapping *m, const bl_input_packing *input, uint32_t images);
// The load of piece `chunk`.
bl_step bl_chunk_load(const bl_program *program, uint32_t chunk);
// Turns the descriptor of the whole layer into that of piece `chunk`.
void bl_chunk_describe(const bl_program *program, const bl_mapping *m, uint32_t chunk,
                       bl_descriptor *d);

// descriptor.c: the descriptor of one part on one piece of the input.
BL_MUST_USE bl_status bl_describe(const bl_program *program, const bl_mapping *m,
                                  const bl_part *part, uint32_t chunk, uint32_t tile_base,
                                  uint32_t param_base, bl_descriptor *d, bl_error *err);

// estimate.c: cycles of a layer for a number of output pixels in one run, and how many of them
// issue a step.
uint64_t bl_estimate(const bl_mapping *m, uint64_t pixels, uint64_t *issue);
// Issue steps of a layer in one batch.
uint64_t bl_issue_steps(const bl_mapping *m, const bl_input_packing *input, uint32_t images);

#endif
