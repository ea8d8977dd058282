// SPDX-License-Identifier: Apache-2.0
// Generated from drivers/contract/contract.def by `make contract`; do not edit.
#ifndef BITLOOM_DRIVERS_BL_CONTRACT_H
#define BITLOOM_DRIVERS_BL_CONTRACT_H

#include <stdbool.h>
#include <stdint.h>

// Constants
enum {
  BL_CONTRACT_VERSION = 0x3, // contract version; devices and compiled files carry it
  BL_CONTRACT_REQUEST_MAGIC = 0xB7, // top byte of a request header
  BL_CONTRACT_ANSWER_MAGIC = 0xB8, // top byte of an answer header
  BL_CONTRACT_IDENTITY = 0x424C4F4D, // identity register: BLOM
  BL_CONTRACT_HEADER_WORDS = 0x5, // header: four words and their CRC-32
  BL_CONTRACT_PARAM_BYTES = 0x9, // bytes of one channel's parameters in a load
  BL_CONTRACT_K_BYTES = 0x2, // bytes of a K-list entry
  BL_CONTRACT_PASS_BYTES = 0x8, // bytes of a pass-list entry
  BL_CONTRACT_TILE_BYTES = 0x8, // bytes of a tile-list entry
  BL_CONTRACT_TABLE_ENTRIES = 0x100, // entries of one table, a byte each
  BL_CONTRACT_CODEBOOK_BYTES = 0x10, // bytes of the codebook at the head of a load of codes
  BL_CONTRACT_LEAST_ACC_W = 0x10, // fewest accumulator bits of a device
  BL_CONTRACT_MOST_ACC_W = 0x20, // most accumulator bits of a device
  BL_CONTRACT_MAX_PAYLOAD = 0xFFFFFC, // largest payload of a packet in bytes
};

// Opcodes
enum {
  BL_OP_IDENTIFY = 0x1, // answer with the identity words
  BL_OP_RESET = 0x2, // wait until idle, clear poison and counters, answer
  BL_OP_FENCE = 0x3, // wait until every earlier run and send is answered, answer
  BL_OP_COUNTERS = 0x4, // like FENCE, then answer with the counters
  BL_OP_LOAD_WEIGHTS = 0x10, // weight words, column by column
  BL_OP_LOAD_PARAMS = 0x11, // mult, bias, shift of channels
  BL_OP_LOAD_K_LIST = 0x12, // row-buffer addresses
  BL_OP_LOAD_PASS_LIST = 0x13, // passes
  BL_OP_LOAD_TILE_LIST = 0x14, // channel tiles
  BL_OP_LOAD_ACTIVATIONS = 0x15, // activation words
  BL_OP_LOAD_TABLES = 0x16, // entries of the tables after the clamp
  BL_OP_LOAD_CODES = 0x18, // weight words as 4-bit codes into a codebook that comes with them
  BL_OP_RUN = 0x20, // run one layer; the payload is its descriptor
  BL_OP_SEND = 0x21, // answer with a region of activation memory
};

// Status of an answer
enum {
  BL_STATUS_OK = 0x0, // done
  BL_STATUS_HEADER = 0x1, // bad magic or header CRC; words are dropped until a sound header
  BL_STATUS_OPCODE = 0x2, // unknown opcode; its payload was dropped
  BL_STATUS_LENGTH = 0x3, // payload length or argument does not fit the opcode; the payload was dropped
  BL_STATUS_ADDRESS = 0x4, // a load or send reaches beyond its memory; nothing was done
  BL_STATUS_PAYLOAD = 0x5, // bad payload CRC; a load has poisoned what it wrote, a run did not start
  BL_STATUS_DESCRIPTOR = 0x6, // run refused: a descriptor field is out of its range
  BL_STATUS_POISONED = 0x7, // run refused: a memory is poisoned; info is the poison mask
  BL_STATUS_FAULT = 0x8, // run stopped: a list, window or address left its memory; info is the fault mask
};

// Counters, in the order of the COUNTERS answer
enum {
  BL_COUNTER_CYCLES = 0, // clock cycles since they were cleared
  BL_COUNTER_ISSUE = 1, // the array was issued a step
  BL_COUNTER_WEIGHTS = 2, // no layer running, a weight, parameter or list load under way
  BL_COUNTER_REQUANT = 3, // a step was held back by requantise, pack or the drain of the previous tile
  BL_COUNTER_STREAM_IN = 4, // no layer running, an activation load or another packet under way
  BL_COUNTER_STREAM_OUT = 5, // no layer running, a send under way
  BL_COUNTER_GATHER = 6, // the sequencer waited for a row buffer
  BL_COUNTER_DRAIN = 7, // a layer running, none of the above: lists being fetched or last results draining
  BL_COUNTER_IDLE = 8, // nothing to do
  BL_COUNTER_COUNT = 9
};

// Registers, byte offsets
enum {
  BL_REG_ID = 0x0, // IDENTITY
  BL_REG_VERSION = 0x4, // contract VERSION
  BL_REG_ROWS = 0x8, // rows of the array
  BL_REG_COLS = 0xC, // columns of the array
  BL_REG_LANES = 0x10, // lanes of a processing element
  BL_REG_ACC_W = 0x14, // accumulator bits
  BL_REG_WEIGHT_DEPTH = 0x18, // weight memory, words a column
  BL_REG_PARAM_DEPTH = 0x1C, // parameter memory, rows of one channel tile
  BL_REG_K_DEPTH = 0x20, // K-list memory, entries
  BL_REG_PASS_DEPTH = 0x24, // pass-list memory, entries
  BL_REG_TILE_DEPTH = 0x28, // tile-list memory, entries
  BL_REG_ACT_DEPTH = 0x2C, // activation memory, words
  BL_REG_ROW_DEPTH = 0x30, // one half of a row buffer, words
  BL_REG_TABLE_DEPTH = 0x34, // tables, entries
  BL_REG_GATHER_WORDS = 0x38, // most activation words that the gather reads in a cycle: 1 or 2
  BL_REG_CONTROL = 0x40, // bit 0: soft reset while 1; bit 1: interrupt enable
  BL_REG_STATUS = 0x44, // bit 0 run active, 1 send active, 2 packet half read, 14:8 poison mask, 23:16 last non-zero status
  BL_REG_IRQ = 0x48, // bit 0 a run was answered, bit 1 an error was answered
  BL_REG_COUNTER_BASE = 0x80, // counter k: low word at 0x80+8k, high word at 0x84+8k
};

// A device configuration: array shape, accumulator bits, memory depths in words.
typedef struct {
  const char *name;
  uint32_t rows;
  uint32_t cols;
  uint32_t lanes;
  uint32_t acc_w;
  uint32_t weight_depth;
  uint32_t param_depth;
  uint32_t k_depth;
  uint32_t pass_depth;
  uint32_t tile_depth;
  uint32_t act_depth;
  uint32_t row_depth;
  uint32_t table_depth;
  uint32_t gather_words;
} bl_config;

enum {
  BL_CONFIG_TINY = 0,
  BL_CONFIG_DEFAULT = 1,
  BL_CONFIG_WIDE = 2,
  BL_CONFIG_COUNT = 3
};
extern const bl_config BL_CONFIGS[BL_CONFIG_COUNT];

typedef struct {
  int32_t mult; // 17 bits: multiplier
  int64_t bias; // 48 bits: bias at product scale, rounding half included
  uint8_t shift; // 6 bits: right shift, 1..47
} bl_param;

enum { BL_PARAM_WORDS = 3 };
// Packs into words; false when a field's value does not fit its width.
bool bl_param_pack(const bl_param *record, uint32_t words[BL_PARAM_WORDS]);
void bl_param_unpack(const uint32_t words[BL_PARAM_WORDS], bl_param *record);

typedef struct {
  uint16_t address; // 16 bits: row-buffer address of plane 0 of a reduction word
} bl_k;

enum { BL_K_WORDS = 1 };
// Packs into words; false when a field's value does not fit its width.
bool bl_k_pack(const bl_k *record, uint32_t words[BL_K_WORDS]);
void bl_k_unpack(const uint32_t words[BL_K_WORDS], bl_k *record);

typedef struct {
  uint16_t weight_offset; // 16 bits: first weight word, relative to the tile's weight_base
  uint16_t k_offset; // 16 bits: first K-list entry, relative to the tile's k_base
  uint16_t count; // 16 bits: reduction words; 0 takes one step that only shifts
  uint8_t plane; // 3 bits: activation plane: added to the row-buffer address, times LANES/COLS when rotated
  uint8_t shift; // 1 bits: shift the accumulators one place left before the first word
  uint8_t neg; // 1 bits: subtract instead of add
  uint8_t sum; // 1 bits: the row-sum column adds too
} bl_pass;

enum { BL_PASS_WORDS = 2 };
// Packs into words; false when a field's value does not fit its width.
bool bl_pass_pack(const bl_pass *record, uint32_t words[BL_PASS_WORDS]);
void bl_pass_unpack(const uint32_t words[BL_PASS_WORDS], bl_pass *record);

typedef struct {
  uint16_t weight_base; // 16 bits: first weight word of the tile
  uint16_t k_base; // 16 bits: first K-list entry of the tile
  uint16_t pass_base; // 16 bits: first pass-list entry of the tile
  uint16_t pass_last; // 10 bits: number of passes minus one
  uint8_t post; // 2 bits: trailing shift of the combine stage
} bl_tile;

enum { BL_TILE_WORDS = 2 };
// Packs into words; false when a field's value does not fit its width.
bool bl_tile_pack(const bl_tile *record, uint32_t words[BL_TILE_WORDS]);
void bl_tile_unpack(const uint32_t words[BL_TILE_WORDS], bl_tile *record);

typedef struct {
  uint16_t in_base; // 16 bits: activation address of (image 0, y 0, x 0, word 0, plane 0)
  uint8_t in_planes; // 4 bits: activation planes, 1..8
  uint8_t in_last_lanes; // 8 bits: valid lanes of the last channel word, 1..LANES
  uint16_t in_h; // 16 bits: input height as it is seen, >= 1
  uint16_t in_w; // 16 bits: input width as it is seen, >= 1
  uint16_t in_words; // 12 bits: channel words read at each pixel, >= 1
  uint8_t pad_value; // 8 bits: code of positions outside the input
  uint8_t in_last_bytes; // 5 bits: bytes of the last channel word that a packed window takes, 1..LANES/8
  uint8_t gather_mode; // 2 bits: 0 packed, 1 rotated, 2 planes on rows
  uint8_t in_up; // 1 bits: the input is seen twice as high and wide (nearest)
  uint8_t in_signed; // 1 bits: planes on rows: the uppermost plane counts negative
  uint16_t in_pixel_stride; // 16 bits: words from a pixel to the next in x
  uint16_t in_row_stride; // 16 bits: words from a pixel to the next in y
  uint16_t in_image_stride; // 16 bits: words from an image to the next
  uint16_t images; // 16 bits: images, >= 1
  uint16_t kernel_h; // 12 bits: window height, >= 1
  uint16_t kernel_w; // 12 bits: window width, >= 1
  uint8_t dilation_h; // 8 bits: dilation in y, >= 1
  uint8_t dilation_w; // 8 bits: dilation in x, >= 1
  uint8_t stride_h; // 8 bits: input rows from a convolution row to the next, >= 1
  uint8_t stride_w; // 8 bits: input columns from a convolution column to the next, >= 1
  uint16_t step_h; // 16 bits: stride_h * pooling stride, >= 1
  uint16_t step_w; // 16 bits: stride_w * pooling stride, >= 1
  uint16_t origin_h; // 16 bits: pad_top + stride_h * pooling padding at the top
  uint16_t origin_w; // 16 bits: pad_left + stride_w * pooling padding at the left
  uint16_t pad_top; // 12 bits: convolution padding at the top
  uint16_t pad_left; // 12 bits: convolution padding at the left
  uint16_t pool_h; // 12 bits: pooling window height, >= 1; 1 without pooling
  uint16_t pool_w; // 12 bits: pooling window width, >= 1
  int32_t conv_end_h; // 17 bits: convolution height * stride_h - pad_top
  uint16_t group_stride; // 12 bits: rotated: window words of a channel word's region, planes included
  int32_t conv_end_w; // 17 bits: convolution width * stride_w - pad_left
  uint16_t res_words; // 12 bits: second source: channel words read at each pixel
  uint16_t out_h; // 16 bits: output height after pooling, >= 1
  uint16_t out_w; // 16 bits: output width after pooling, >= 1
  uint16_t out_base; // 16 bits: activation address of output pixel 0, word 0, plane 0
  uint16_t out_pixel_stride; // 16 bits: words from an output pixel to the next, >= 1
  uint8_t out_planes; // 4 bits: output planes, 1..8
  uint8_t out_slot; // 4 bits: first group of COLS lanes written in the first word
  uint8_t out_signed; // 1 bits: the pooling maximum compares codes as signed
  uint8_t out_wrap; // 1 bits: no clamp: the code is the low byte of the shifted product
  uint8_t out_last_cols; // 8 bits: valid columns of the last channel tile, 1..COLS
  uint8_t out_keep; // 1 bits: lanes above the last slot keep what they had
  uint8_t out_table; // 4 bits: 0: no table; t: table t-1 after the clamp
  uint8_t res_planes; // 4 bits: second source: planes, 1..8; 0: there is none
  int16_t out_lo; // 16 bits: lower clamp, before the offset
  int16_t out_hi; // 16 bits: upper clamp, before the offset
  int16_t out_offset; // 16 bits: added after the clamp (the output's zero point)
  uint16_t tiles; // 12 bits: channel tiles, >= 1
  uint16_t tile_base; // 16 bits: first tile-list entry
  uint16_t param_base; // 16 bits: parameter row of the first channel tile
  uint16_t res_base; // 16 bits: second source: activation address of output pixel 0, word 0, plane 0
  uint16_t res_pixel_stride; // 16 bits: second source: words from an output pixel to the next of its row
  uint16_t res_offset; // 16 bits: second source: window index of its first word
  uint16_t res_row_step; // 16 bits: second source: words from a row's last output pixel to the next row's first
} bl_descriptor;

enum { BL_DESCRIPTOR_WORDS = 21 };
// Packs into words; false when a field's value does not fit its width.
bool bl_descriptor_pack(const bl_descriptor *record, uint32_t words[BL_DESCRIPTOR_WORDS]);
void bl_descriptor_unpack(const uint32_t words[BL_DESCRIPTOR_WORDS], bl_descriptor *record);

#endif
