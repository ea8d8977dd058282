// SPDX-License-Identifier: Apache-2.0
// What the files of the functional device share.
#ifndef BITLOOM_SIM_FUNCTIONAL_INTERNAL_H
#define BITLOOM_SIM_FUNCTIONAL_INTERNAL_H

#include <stddef.h>

#include "sim/functional_device.h"

enum { BL_KERNEL_PIXELS = 4, BL_KERNEL_MAX_COLS = 16 };

// A pass with its bases added and its addresses checked.
typedef struct {
  const uint16_t *k;   // count row-buffer addresses
  const void *weights; // count rows of cols words
  uint32_t count;
  uint32_t plane;
  bool shift, neg, sum;
} bl_kernel_pass;

// P of `cols` columns and S for BL_KERNEL_PIXELS windows; window index masked with `mask`.
typedef void (*bl_kernel)(const bl_kernel_pass *passes, uint32_t pass_count,
                          const uint64_t *const windows[BL_KERNEL_PIXELS], uint32_t mask,
                          uint32_t p[BL_KERNEL_PIXELS][BL_KERNEL_MAX_COLS],
                          uint32_t s[BL_KERNEL_PIXELS]);

// What turns a tile's sums into codes. params: mult, bias and shift, `cols` of each.
typedef struct {
  const int64_t *params;
  int64_t lo, hi, offset;
  bool wrap;
  uint8_t post;
  uint8_t cut; // 32 - ACC_W
} bl_kernel_output;

typedef void (*bl_kernel_requantise)(const bl_kernel_output *output,
                                     const uint32_t p[BL_KERNEL_MAX_COLS], uint32_t s,
                                     uint8_t codes[BL_KERNEL_MAX_COLS]);

typedef struct {
  bl_kernel sums;
  bl_kernel_requantise requantise;
  const char *name;
} bl_kernels;

// The kernels for 8 columns of at most 32 lanes (weights as rows of 8 uint32_t) or 16 columns of 64
// lanes (rows of 16 uint64_t); false when the shape is another or the machine lacks the
// instructions. BEST is never lacking.
bool bl_kernel_choose(const bl_config *config, bl_popcount popcount, bl_kernels *kernels);

// The memories, in the contract's order.
typedef enum {
  MEM_WEIGHTS,
  MEM_PARAMS,
  MEM_K,
  MEM_PASS,
  MEM_TILE,
  MEM_ACT,
  MEM_TABLES,
  MEM_COUNT
} bl_memory;

typedef struct {
  uint32_t lo, hi; // words lo .. hi-1; empty when lo >= hi
} bl_span;

// What a run or send may be using.
typedef struct {
  bl_span used[MEM_COUNT]; // read, or for MEM_ACT also written
  bl_span written, second; // of activation memory; second: the second source
} bl_use;

struct bl_functional {
  bl_config config;
  bl_kernels kernels;
  // memories
  uint32_t *weights32; // [address][column], lanes <= 32
  uint64_t *weights64; // lanes 64
  int64_t *params;     // [row][mult, bias, shift][column]
  uint16_t *k;
  bl_pass *passes;
  bl_tile *tiles;
  uint64_t *act;
  uint8_t *tables;
  uint32_t crc_table[8][256]; // slicing by eight
  // parser
  uint32_t header[BL_CONTRACT_HEADER_WORDS];
  uint32_t header_have;
  bool hunting;
  uint32_t payload_left; // words still to come, CRC included
  uint32_t *payload;     // kept words
  uint32_t payload_have, payload_capacity;
  bool payload_kept;
  uint8_t verdict; // what the header checks said
  // poison
  bl_span poison[MEM_COUNT];
  uint32_t poison_columns[MEM_COUNT];
  // answers
  uint32_t *out;
  size_t out_have, out_taken, out_capacity;
  // in flight
  bl_use runs[2], sends[2];
  // counters
  uint64_t steps;
  int64_t run_count, planted_run;
};

// Executes a checked descriptor. Returns the mask of faults (0: done), or BL_RUN_NO_MEMORY; *steps
// counts array steps; *signature is valid when there is no fault.
enum { BL_RUN_NO_MEMORY = 1 << 16 };
uint32_t bl_functional_run(bl_functional *device, const bl_descriptor *layer, uint64_t *steps,
                           uint32_t *signature);
// CRC-32 of an address (four bytes) and a word (LANES/8 bytes), low bytes first.
uint32_t bl_functional_word_crc(const bl_functional *device, uint32_t address, uint64_t word);
// The words that the run may touch, as bounds.
bl_use bl_functional_use(const bl_functional *device, const bl_descriptor *layer);

#endif
