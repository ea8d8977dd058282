// SPDX-License-Identifier: Apache-2.0
// What the files of the compiler share. A layer becomes one or more *operations*, each a RUN's
// worth of arithmetic: a layer whose window is longer than a row buffer is cut along its reduction,
// a grouped one over its groups. An operation is cut further into *parts* (channel tiles that the
// list memories hold at once) and *pieces* (rows of images). Nobody outside host/compile includes
// this.
#ifndef BITLOOM_HOST_COMPILE_INTERNAL_H
#define BITLOOM_HOST_COMPILE_INTERNAL_H

#include "host/compile/program.h"

enum {
  BL_COMPILE_ARENA = 1 << 30,
  BL_MAX_PASSES = 512,                      // of one tile
  BL_MAX_TERMS = 4,                         // words of the second source that a tile adds
  BL_LIST_MEMORIES = BL_MEMORY_ACTIVATIONS, // memories that hold what a layer needs besides input
  BL_MAX_PIECES = 4096,
};

#define BL_NONE UINT32_MAX

// How a window is laid out; the values are those of the descriptor's gather_mode.
typedef enum { BL_GATHER_PACKED, BL_GATHER_ROTATED, BL_GATHER_SPREAD } bl_gather;

// Words of the second source, and what they are multiplied with in a channel tile. One word: column
// c takes lane lane0+c times `scale`, or times the layer's addend_weight where scale is 0.
// Projected addends: all words, and lane0 is the lane of channel 0.
typedef struct {
  uint32_t word, words, lane0; // first channel word of the second source, and how many
  uint32_t place;              // of plane pair (0, 0)
  bool is_signed;              // its uppermost plane counts negative
  int32_t scale;
} bl_term;

// One channel tile: COLS output channels.
typedef struct {
  uint32_t plane_mask; // weight planes that are issued
  int sign_plane;      // the one that counts negative; -1: none
  uint32_t *ids;       // [words] window words that are issued, ascending; see bl_lane
  uint32_t words;
  uint32_t term_count, term_words;   // term_words: weight words of the terms
  uint32_t term_ks;                  // K-list entries of the terms
  uint32_t term_mask[BL_MAX_TERMS];  // planes of a term's factors that are issued
  int term_sign_plane[BL_MAX_TERMS]; // the one that counts negative; -1: none
  uint32_t weight_words;             // of everything
  uint32_t passes;
  uint8_t post;
  uint64_t steps; // cycles of one pixel tile at one pooling offset (once, also for acc bytes)
} bl_tile_plan;

// An operation that reads, as its input or as its second source, what another one makes.
typedef struct {
  uint32_t op;
  bool second;
} bl_reads;

typedef struct {
  const bl_config *config;
  const bl_int_layer *layer;
  const bl_int_tensor *in, *out;
  const bl_int_tensor *addend;                // NULL: none
  uint32_t addend_fan;                        // its weights of an output channel
  uint32_t index;                             // of the layer
  uint32_t in_region, out_region, res_region; // res_region: BL_NONE without a second source
  bool first, last;                           // operation of its layer
  bool ends_tensor;                           // its output ends its concatenation, if any
  bool host_windows;                          // the host packs the windows of the input
  // The input as the device sees it: tensor in, or its windows when the host packs them. Channel
  // words in_word0 .. in_word0+in_words-1 are read, lane 0 of the first being channel in_channel0.
  uint32_t in_h, in_w, in_c, in_word0, in_words, in_last_lanes, in_planes;
  int32_t in_channel0;
  bool in_bipolar, in_signed;
  uint32_t groups, group_in, taps, tap0; // tap0: of the layer's taps, the first one here
  uint32_t ky0, kx0;                     // its row and column; not 0 only without padding there
  uint32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  uint32_t conv_h, conv_w, pool_stride_h, pool_stride_w;
  bl_gather gather;
  uint32_t tap_bytes;     // packed: bytes of a tap
  uint32_t region_words;  // rotated: window words of a group and channel word, one plane
  uint32_t window_words;  // of the whole window, all planes
  uint32_t partial_bytes; // second source: bytes of the sums of the operation before; 0: none
  uint32_t res_planes, res_words; // second source
  uint32_t res_down, res_across;  // its rows and pixels from one of the output to the next
  uint32_t out_planes, out_words; // out_words: words of one pixel, all planes
  uint32_t acc_bytes;             // 0: requantised; 1..4: int32 bytes
  uint32_t bipolar_planes;        // weights are carried in so many planes of -2^j and 2^j; 0: not
  bool codes;                     // weights travel as codes
  uint32_t place;                 // of plane pair (0, 0): bipolar operands of a word, and raise
  uint32_t tile0, tile1;          // channel tiles of the layer
  bl_tile_plan *tiles;            // [tile1 - tile0], index tile - tile0
  int64_t *constant;              // [out c]: accumulator - what the array computes
  bl_reads *readers;              // of its output or of the concatenation that it is a part of
  uint32_t reader_count;
} bl_mapping;

// The operations of a network for one way of packing its input, in execution order.
typedef struct {
  const bl_int_graph *graph;
  bl_mapping *ops;
  uint32_t count, room;
  uint32_t region_count; // tensors, then partial sums, then copies
  // Regions from first_copy on are those that stages load: copied[k] is what first_copy + k holds.
  uint32_t *copied, first_copy; // BL_NONE: there are none
} bl_mapped;

// Channel tiles tile0 .. tile1-1.
typedef struct {
  uint32_t tile0, tile1;
} bl_part;

// Output rows row0 .. row1-1 of `images` images from `image0` on, and the input rows they need.
typedef struct {
  uint32_t image0, images, row0, row1, in_row0, in_row1;
} bl_piece;

// How a batch is cut: operations op0 .. op1-1 run piece by piece, `pieces` of them. Without
// `spills` op0 is 0, the input comes in pieces and what the last operation makes stays whole on the
// device; with it everything that they read or make is there for one piece only. op1 is 0 when all
// operations run whole.
typedef struct {
  uint32_t op0, op1, pieces;
  bool spills;
} bl_cut;

// Words begin .. end-1 of a memory.
typedef struct {
  uint32_t begin, end;
} bl_words;

// What a step touches. Of the memories of weights and lists only what a batch loads: other words
// never change. A load fills `lists` or `writes`, a RUN both and `reads`, a SEND reads[0].
typedef struct {
  bl_words lists[BL_LIST_MEMORIES];
  bl_words reads[2], writes; // of activations; reads[1]: second source
} bl_touched;

// Steps and, side by side, what they touch; the arrays are malloc'd.
typedef struct {
  bl_step *items;
  bl_touched *touched;
  uint32_t count, room;
} bl_steps;

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

static inline const bl_tile_plan *bl_tile_at(const bl_mapping *m, uint32_t t) {
  return &m->tiles[t - m->tile0];
}

static inline uint32_t bl_tile_total(const bl_mapping *m) {
  return bl_div_up(m->out->c, m->config->cols);
}

// map_layer.c: adds the layer's operations. host_windows: the host packs the layer's windows.
BL_MUST_USE bl_status bl_map_layer(const bl_int_graph *graph, uint32_t index,
                                   const bl_config *config, bool host_windows, bl_arena *arena,
                                   bl_mapped *mapped, bl_error *err);
// Spreads planes over rows where that takes fewer cycles for `images` images.
void bl_choose_spread(bl_mapping *m, uint32_t images);

// fields.c: fails unless every descriptor field that does not depend on addresses fits.
BL_MUST_USE bl_status bl_map_check_fields(const bl_mapping *m, bl_error *err);

// overflow.c: constants of bipolar inputs, the overflow proof, bytes of an int32 output.
BL_MUST_USE bl_status bl_map_ranges(bl_mapping *m, bl_arena *arena, bl_error *err);
// Parameter rows of a part, bl_listings() rows a tile, COLS parameters of 9 bytes each a row.
void bl_emit_params(const bl_mapping *m, const bl_part *part, uint8_t *bytes);

// lanes.c: what the lanes of window words hold.
// Number of window words (of one plane) that may be issued; ids are 0 .. this-1.
uint32_t bl_window_ids(const bl_mapping *m);
// Tap (of the layer) and input channel of lane `lane` of window word `id`; false: nothing real.
bool bl_lane(const bl_mapping *m, uint32_t id, uint32_t lane, uint32_t *tap, uint32_t *channel);
// Row-buffer address of plane 0 of a window word.
uint32_t bl_window_address(const bl_mapping *m, uint32_t id);
// The weight of output channel n at that lane; 0 where there is none.
int8_t bl_lane_weight(const bl_mapping *m, uint32_t n, uint32_t id, uint32_t lane);
// Terms of a tile.
uint32_t bl_tile_terms(const bl_mapping *m, uint32_t tile, bl_term terms[BL_MAX_TERMS]);
// A term's factor for a lane of its word `word` in column c of the tile; 0 where there is none.
int32_t bl_term_factor(const bl_mapping *m, const bl_term *term, uint32_t tile, uint32_t c,
                       uint32_t word, uint32_t lane);
// Planes of a term's factors: those that are issued, the negative one or -1.
uint32_t bl_term_planes(const bl_mapping *m, const bl_term *term, uint32_t tile, int *sign_plane);

// lists.c
// Passes of a tile in Horner order; returns their number, at most BL_MAX_PASSES, else 0.
// rank_stride: weight words from a plane's words to the next plane's; 0: the tile's own.
uint32_t bl_list_passes(const bl_mapping *m, uint32_t tile, uint32_t rank_stride,
                        bl_pass passes[BL_MAX_PASSES], uint8_t *post);
// Row-buffer addresses of a tile's words, then of its terms, 2 bytes each.
uint32_t bl_k_words(const bl_mapping *m, uint32_t tile);
void bl_emit_k_list(const bl_mapping *m, uint32_t tile, uint8_t *bytes);

// tile_weights.c
// Planes, window words, passes and steps of every tile.
BL_MUST_USE bl_status bl_plan_tiles(bl_mapping *m, bl_arena *arena, bl_error *err);
// Passes and steps again, after `gather` has changed.
void bl_plan_passes(bl_mapping *m);
// Weight words of a tile: plane by plane its words, then its terms; COLS columns of LANES/8 bytes.
void bl_emit_weights(const bl_mapping *m, uint32_t tile, uint8_t *bytes);
// The weight words of a tile's terms alone: for each plane of a term's factors the term's words.
void bl_emit_terms(const bl_mapping *m, uint32_t tile, uint8_t *bytes);
// 4-bit codes of a tile's words, COLS columns of LANES/2 bytes each.
void bl_emit_codes(const bl_mapping *m, uint32_t tile, uint8_t *bytes);

// parts.c: the longest part from tile0 on within `limit` words of each list memory (at least one
// tile, up to the memory's depth). Errors: UNSUPPORTED.
BL_MUST_USE bl_status bl_next_part(const bl_mapping *m, uint32_t tile0,
                                   const uint32_t limit[BL_LIST_MEMORIES], bl_part *part,
                                   bl_error *err);

// pieces.c: may the batch be cut so?
bool bl_cut_possible(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                     uint32_t row_bytes); // row_bytes: of an input row's load
// May a stage that spills be cut so? Memory is bl_plan_stage's question.
bool bl_stage_possible(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                       const bl_region *regions);
// The cut that an operation belongs to: the program's first operations, or its stage.
bl_cut bl_cut_at(const bl_program *program, uint32_t op);
// Pieces of operation `op`: 1 beyond the cut.
uint32_t bl_piece_count(const bl_cut *cut, uint32_t op);
// What operation `op` computes in piece `piece`.
bl_piece bl_piece_at(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t op,
                     uint32_t piece);
// The load of the input for piece `piece` of a program without stages.
bl_step bl_input_load(const bl_program *program, const bl_mapped *mapped, uint32_t piece);

// rows.c: which rows the operations of a cut make in a piece, and which a region holds. A
// concatenation and its parts are one region here, that of the concatenation, their *holder*.
enum { BL_CUT_OPS = 64 }; // most operations of a cut

// Rows lo .. hi-1; hi == lo: none.
typedef struct {
  uint32_t lo, hi;
} bl_rows;

uint32_t bl_holder(const bl_mapped *mapped, uint32_t region);
// Notes the readers of every operation's output, once all operations are there. False: no memory.
BL_MUST_USE bool bl_link_readers(bl_mapped *mapped, bl_arena *arena);
// Does an operation of the cut write `region` itself, or its holder or a part of that?
bool bl_cut_writes(const bl_mapped *mapped, const bl_cut *cut, uint32_t region);
bool bl_cut_writes_holder(const bl_mapped *mapped, const bl_cut *cut, uint32_t region);
// Is region `region` held piece by piece?
bool bl_in_pieces(const bl_mapped *mapped, const bl_cut *cut, uint32_t region);
// Of a stage that touches `region`: is any of its holder there before, so that it is loaded? Does
// anything behind the stage need what it writes of it, so that it is sent?
bool bl_stage_loads(const bl_mapped *mapped, const bl_cut *cut, uint32_t region);
bool bl_stage_sends(const bl_mapped *mapped, const bl_cut *cut, uint32_t region);
// What a stage touches: one region for each holder, at most 3 * BL_CUT_OPS. Returns their number.
uint32_t bl_stage_regions(const bl_mapped *mapped, const bl_cut *cut, uint32_t *regions);
// Images and rows of the cut's last output that a piece makes at least.
bl_piece bl_final_piece(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                        uint32_t piece);
// Rows that a piece holds of a region of `height` rows: all where it is whole images.
bl_rows bl_held_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                     uint32_t height, uint32_t piece);
// Those of them that all operations of the cut that write the region's holder make.
bl_rows bl_written_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                        uint32_t region, uint32_t height, uint32_t piece);
// Most rows (of all a piece's images) that a region of `height` rows holds at once.
uint32_t bl_piece_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                       uint32_t height);
// May windows of operation `op` begin where the pieces let them?
bool bl_origins_fit(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t op);

// memory_plan.c: regions of all tensors for a batch. False when they do not fit; *needed is then
// the number of words that the plan would take. ahead: the next batch's input loads during this
// one.
bool bl_plan_memory(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t slots,
                    bool ahead, bl_region *regions, uint32_t *used, uint32_t *needed);

// Strides of all regions, without addresses; false when one image is larger than any memory.
bool bl_shape_regions(const bl_mapped *mapped, bl_region *regions);
// Rows of a region whose strides are known.
uint32_t bl_region_height(const bl_region *region);
// Addresses and words of all regions that a stage touches; otherwise as bl_plan_memory.
bool bl_plan_stage(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, bl_region *regions,
                   uint32_t *used);

// spill.c: cuts all operations into stages, the cheapest way that fits; false when there is none.
// blocking is then the first layer that no stage takes.
typedef struct {
  bl_spill_stage *stages; // [operations]
  uint32_t count;
  uint64_t cycles; // about, of the batch
  uint32_t used;   // words of activation memory
  uint32_t blocking;
} bl_spill;
// Shapes as bl_shape_regions does, but rows of whole stream words where full words make them so.
bool bl_shape_stages(const bl_mapped *mapped, bl_region *regions);
bool bl_choose_stages(const bl_mapped *mapped, uint32_t images, bl_region *regions,
                      bl_spill *spill);
// Copies of the tensors that stages load, for the operations that read them; program->stages, its
// regions and its store. `mapped` is changed.
BL_MUST_USE bl_status bl_lay_out_stages(const bl_spill *spill, bl_mapped *mapped, bl_arena *arena,
                                        bl_program *program, bl_error *err);
// The load, or the SEND, of what a spilled region holds, or of what of it the stage has written, in
// piece `piece` of a stage.
bl_step bl_spill_step(const bl_program *program, const bl_mapped *mapped, const bl_cut *cut,
                      uint32_t region, uint32_t piece, bool load);

// stream.c: bytes of a list memory's word, all columns.
uint32_t bl_word_bytes(const bl_config *config, int memory);
// Lists, weights and steps of a program whose regions are known.
BL_MUST_USE bl_status bl_stream(bl_program *program, const bl_int_graph *graph,
                                const bl_mapped *mapped, bl_error *err);

// compile.c: how the host packs tensor 0 for the operation that reads it.
void bl_fill_packing(const bl_mapping *m, bl_input_packing *in);
// May the host pack windows of the input?
bool bl_may_pack(const bl_int_graph *graph, const bl_config *config);

// descriptor.c: the descriptor of one part on one piece.
BL_MUST_USE bl_status bl_describe(const bl_program *program, const bl_mapped *mapped, uint32_t op,
                                  const bl_part *part, uint32_t piece, uint32_t tile_base,
                                  uint32_t param_base, uint32_t table, bl_descriptor *d,
                                  bl_error *err);

// estimate.c: cycles of an operation for a number of output pixels in one run, and how many of them
// issue a step.
uint64_t bl_estimate(const bl_mapping *m, uint64_t pixels, uint64_t *issue);
// The last operation that reads the network's input.
uint32_t bl_last_reader(const bl_mapped *mapped);

// ---- fences.c ----
BL_MUST_USE bl_status bl_add_step(bl_steps *list, bl_step step, const bl_touched *touched,
                                  bl_error *err);
// Puts a FENCE before every step of a batch that would change words which an unfinished step may
// still need, whatever is unfinished of the batch before, which had the same steps.
BL_MUST_USE bl_status bl_place_fences(bl_steps *batch, bl_error *err);
void bl_free_steps(bl_steps *list);

#endif
