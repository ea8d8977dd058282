// SPDX-License-Identifier: Apache-2.0
// Where the bytes of a compressed network go: the table of Deep Compression (Han, Mao, Dally 2016,
// table 4) for each layer, and every byte of the coded file by what it says.
#ifndef BITLOOM_HOST_COMPILE_STORAGE_H
#define BITLOOM_HOST_COMPILE_STORAGE_H

#include "host/compile/bloom.h"

// Bytes of one layer's weights, or of all. Each stage keeps what the one before it made:
//   dense      4 for each weight
//   pruned     4 for each weight that is not 0, and an index: the zeros since the last one, in the
//              bits that give the fewest bytes; a longer gap takes a 0 of its own (Han et al.).
//              Layers with too few zeros are left dense
//   quantised  codes in place of the 4 bytes, the same indices, and the codebook
//   coded      in the file: indices + values + codebook
typedef struct {
  const char *name; // the graph's; NULL in the sum
  uint64_t weights, nonzero;
  unsigned values;     // different ones, without 0; the most of any layer in the sum
  unsigned index_bits; // of an index; 0: too few zeros for indices to pay
  unsigned code_bits;  // of a code: enough for `values`, or the format's bits where that is fewer
  uint64_t dense, pruned, quantised, coded;
  uint64_t indices, codes, codebook; // parts of coded
} bl_storage_row;

typedef struct {
  bl_storage_row *rows; // [row_count], one for each layer
  uint32_t row_count;
  bl_storage_row sum;
  uint64_t constants; // multipliers, offsets, shifts, tables, scales of outputs
  uint64_t fields;    // names, shapes, formats, preprocessing
  uint64_t headers;   // of file and section, with checksums
  uint64_t file;      // all of the coded file: sum.coded + constants + fields + headers
} bl_storage;

// Of what bl_bloom_save_coded would write. Layers whose weights are all one number (poolings,
// copies) count as well: they lie in the file. *storage hangs from `arena`. Errors: MEMORY.
BL_MUST_USE bl_status bl_storage_table(const bl_int_graph *graph, const bl_program *program,
                                       const bl_bloom_info *info, bl_arena *arena,
                                       bl_storage *storage, bl_error *err);

#endif
