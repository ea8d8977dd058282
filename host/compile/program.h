// SPDX-License-Identifier: Apache-2.0
// A program: an integer graph mapped to one device configuration and one batch size. Plain data,
// owned by an arena; the runtime only copies it to the driver, packs inputs and unpacks outputs.
//
// Use: send every step of `setup` once, then for each batch pack its input into the store
// (bl_program_pack_input), send every step of `batch` in order, wait for all answers and unpack the
// output from the store. The steps hold every FENCE that a race-free execution needs, also from one
// batch to the next: the next one, with another store, may be sent before this one's answers came
// (but a third only with this one's output there: its store is in use). To look at a layer's
// output, send its rows (a SEND of your own, bl_program_look) after each step with rows_done set,
// then a FENCE: later layers reuse the words.
#ifndef BITLOOM_HOST_COMPILE_PROGRAM_H
#define BITLOOM_HOST_COMPILE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/bl_contract.h"
#include "host/base/arena.h"
#include "host/base/error.h"
#include "host/graph/int_graph.h"

enum {
  BL_PROGRAM_MAX_BATCH = 64,     // images of one batch
  BL_PROGRAM_AUTO_BATCH = 8,     // most images that the compiler chooses by itself
  BL_PROGRAM_MAX_STEPS = 1 << 20 // of setup and of batch
};

// Layer of a step that belongs to none.
#define BL_STEP_NO_LAYER UINT32_MAX

// The memories of a device.
typedef enum {
  BL_MEMORY_WEIGHTS,
  BL_MEMORY_PARAMS,
  BL_MEMORY_K,
  BL_MEMORY_PASSES,
  BL_MEMORY_TILES,
  BL_MEMORY_TABLES,
  BL_MEMORY_ACTIVATIONS,
  BL_MEMORY_COUNT
} bl_memory_kind;

// One request. What bl_driver_request takes, but for the destination of the answer.
typedef struct {
  uint8_t opcode; // BL_OP_LOAD_*, FENCE, RUN or SEND
  uint32_t address, argument;
  uint32_t *payload; // ceil(bytes/4) words; NULL when bytes is 0 or the payload is in the store
  uint32_t bytes;    // length of the payload
  // A load of activations: the payload is `bytes` of the batch's store (see bl_program) from byte
  // store_offset on, a multiple of 4. A SEND: its answer goes there. A FENCE: the host waits for
  // it, since later loads take from the store what earlier SENDs brought.
  bool stored;
  bool next; // of a load: from the *next* batch's store (see bl_program.ahead)
  uint32_t store_offset;
  uint32_t layer; // index in the graph, or BL_STEP_NO_LAYER
  uint32_t part;  // which of the layer's runs (parts of its channels, pieces of the batch)
  bool last_part; // a RUN after which the layer's output is complete
  bool rows_done; // a RUN after which all channels of its rows are there
  bool partial;   // a RUN that leaves partial sums, not a part of the layer's output
  // RUN: output rows row0 .. row0+rows-1 of images image0 .. image0+images-1
  uint32_t image0, images, row0, rows;
} bl_step;

// Where a tensor lies in activation memory (see docs/reference/device.md) and how to read it. A
// part of a concatenation has the concatenation's place and strides. A tensor in pieces is never
// there as a whole: the region holds rows of one piece at a time.
typedef struct {
  uint32_t address;                                // first word
  uint32_t words;                                  // all images, or the largest piece
  uint32_t image_stride, row_stride, pixel_stride; // words
  bool pieces;
  bool spilled; // it, or a part of it, travels through the store: byte store_offset is its first
  uint32_t store_offset;
  uint32_t planes;     // 1..8
  uint32_t load_bytes; // bytes of each word that hold channels, argument [31:24] of SEND
  // Lane of channel 0. A part of a concatenation has its parent's words and strides; elsewhere 0.
  uint32_t first_lane;
  // 0: value = the code of channel c in lane first_lane + c (word lane/LANES).
  // 1..4: an int32 tensor in bytes: byte b of channel c is the 8-bit code in lane
  // (c/COLS*acc_bytes + b)*COLS + c%COLS; the last byte carries the sign.
  uint32_t acc_bytes;
} bl_region;

// How the host lays tensor 0 out. With window_h*window_w > 1 pixels are windows: the device's input
// has conv_h x conv_w pixels of window_h*window_w*c channels ((ky*window_w + kx)*c + channel).
typedef struct {
  uint32_t window_h, window_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t pad_value;
  uint32_t h, w, c; // of the packed tensor
  // The first cut_ops operations of the network may run piece by piece
  // (docs/reference/compiler.md); the pieces of the input then go through `slots` slots in turn, so
  // that it loads while they run. cut_ops 0: all in one piece.
  uint32_t cut_ops, pieces, slots, slot_words;
} bl_input_packing;

// Operations op0 .. op1-1 run piece by piece, each in `pieces` pieces of the batch, whose inputs
// come from the store and whose outputs go there.
typedef struct {
  uint32_t op0, op1, pieces;
} bl_spill_stage;

// Figures for reports; nothing executes them.
typedef struct {
  uint64_t weight_bytes;          // of all weight words, loaded once or streamed
  uint64_t streamed_bytes;        // of lists and weights that one batch loads
  uint64_t spilled_bytes;         // of activations that one batch sends and loads between layers
  uint64_t issue_steps;           // of one batch: cycles in which the array is issued a step
  uint32_t used[BL_MEMORY_COUNT]; // most words in use; weights and params: words of each column
  bool resident[BL_MEMORY_COUNT]; // loaded once a session (activations: false)
} bl_program_figures;

typedef struct {
  bl_arena *arena;  // owns everything below, and this structure
  bl_config config; // its name is one of BL_CONFIGS' names
  uint32_t images;  // of one batch
  bl_step *setup, *batch;
  uint32_t setup_count, batch_count;
  // [tensor_count], and behind them what only the compiler uses: partial sums, and the copies of
  // spilled tensors that stages load.
  bl_region *regions;
  uint32_t tensor_count;
  bl_input_packing input;
  // Steps with `next` load the next batch's input, or its first piece, beside this one's later
  // layers; what they load is for the first batch loaded by first_load before, with nothing in
  // flight.
  bool ahead;
  bl_step first_load;
  // Where activations do not fit: all operations, in stages. Without stages (0) only the input and
  // the output travel.
  bl_spill_stage *stages;
  uint32_t stage_count;
  // The store of a batch, in the host's memory: the packed input, tensors that are spilled, and the
  // output, each [image][word][load_bytes] as SEND and LOAD_ACTIVATIONS have them.
  uint32_t store_bytes;   // a multiple of 4
  uint32_t output;        // tensor
  uint32_t output_offset; // in the store
  uint64_t *layer_issue;  // [layer_count]: issue steps of each layer in one batch
  uint32_t *layer_parts;  // [layer_count]: its runs in one batch
  bl_program_figures figures;
} bl_program;

typedef struct {
  const bl_config *config; // one of BL_CONFIGS
  uint32_t batch;          // images at once; 0: the compiler chooses, 1..BL_PROGRAM_AUTO_BATCH
} bl_compile_options;

// Maps a graph that bl_int_check passes. *program is to be freed with bl_program_free; NULL on
// failure. Errors: UNSUPPORTED (one line: layer, what, limit, what would help), RANGE, MEMORY.
BL_MUST_USE bl_status bl_compile(const bl_int_graph *graph, const bl_compile_options *options,
                                 bl_program **program, bl_error *err);
void bl_program_free(bl_program *program);

// Bytes of the whole packed input, a multiple of nothing; the buffer needs ceil(bytes/4) words.
uint32_t bl_program_input_bytes(const bl_program *program);
// Packs `images` (1..program->images) images of tensor 0, bl_int_elements() integers each, into
// the first bytes of a store; missing images of the batch become zeros. Errors: RANGE (an integer
// outside the tensor's format, images out of range), MEMORY.
BL_MUST_USE bl_status bl_program_pack_input(const bl_program *program, const bl_int_graph *graph,
                                            const int32_t *in, size_t images, uint32_t *store,
                                            bl_error *err);
// Words that the answer of a SEND into the store takes.
uint32_t bl_program_answer_words(const bl_step *send);
// The output of a batch, from its store; see bl_program_unpack.
void bl_program_unpack_output(const bl_program *program, const bl_int_graph *graph,
                              const uint32_t *store, size_t images, int32_t *out);
// What a SEND of tensor t's region takes: address, argument, and the bytes of its answer.
void bl_program_send(const bl_program *program, uint32_t tensor, uint32_t *address,
                     uint32_t *argument, uint32_t *bytes);
// What a SEND takes that looks at the rows a RUN with rows_done has made: all of the layer's output
// where that is not in pieces.
void bl_program_look(const bl_program *program, const bl_int_graph *graph, const bl_step *step,
                     uint32_t *address, uint32_t *argument, uint32_t *bytes);
// Puts the answer of such a SEND into `out`, all images' integers of the layer's output.
void bl_program_unpack_rows(const bl_program *program, const bl_int_graph *graph,
                            const bl_step *step, const uint32_t *payload, size_t images,
                            int32_t *out);
// Turns the answer of a SEND of a whole tensor into integers, `images` (1..program->images) times
// bl_int_elements() of the tensor, index (y*w + x)*c + channel. Not for tensor 0 when it is packed
// in windows, nor for tensors in pieces.
void bl_program_unpack(const bl_program *program, const bl_int_graph *graph, uint32_t tensor,
                       const uint32_t *payload, size_t images, int32_t *out);
// Number of a memory's words in a configuration.
uint32_t bl_memory_depth(const bl_config *config, bl_memory_kind memory);

#endif
