// SPDX-License-Identifier: Apache-2.0
// The compiled file (.bloom): integer graph, program, preprocessing, and what the host does after
// the device. Layout: docs/reference/bloom-format.md. A file loads only when it is sound: sizes
// before memory, indices and offsets before use, and the program consistent with its graph.
#ifndef BITLOOM_HOST_COMPILE_BLOOM_H
#define BITLOOM_HOST_COMPILE_BLOOM_H

#include "host/compile/program.h"
#include "host/data/preprocess.h"

enum {
  BL_BLOOM_VERSION = 4,
  BL_BLOOM_MAX_BYTES = 1 << 29, // of a file
};

// What the host does with the network's real outputs.
typedef enum { BL_SUFFIX_NONE, BL_SUFFIX_SOFTMAX, BL_SUFFIX_SIGMOID, BL_SUFFIX_COUNT } bl_suffix;

typedef struct {
  bl_preprocess preprocess;
  bl_suffix suffix;
  double float_accuracy; // of the float model, 0..1; negative when nobody measured it
  uint64_t float_bytes;  // of the float model's weights; 0 when unknown
} bl_bloom_info;

typedef struct {
  bl_arena *arena; // of the graph
  bl_int_graph *graph;
  bl_program *program;
  bl_bloom_info info;
  uint64_t file_bytes;
} bl_bloom;

// Writes a file atomically. Errors: IO, MEMORY, RANGE (a part is larger than the format allows).
BL_MUST_USE bl_status bl_bloom_save(const char *path, const bl_int_graph *graph,
                                    const bl_program *program, const bl_bloom_info *info,
                                    bl_error *err);
// The same with coded weights and without the program, which loading makes again: smaller, loads to
// the same.
BL_MUST_USE bl_status bl_bloom_save_coded(const char *path, const bl_int_graph *graph,
                                          const bl_program *program, const bl_bloom_info *info,
                                          bl_error *err);
// Loads a file of either form. On failure *bloom is all zeros. Errors: IO, FORMAT, RANGE, MEMORY.
BL_MUST_USE bl_status bl_bloom_load(const char *path, bl_bloom *bloom, bl_error *err);
// The same from memory; `name` is what errors call it.
BL_MUST_USE bl_status bl_bloom_parse(const char *name, const uint8_t *bytes, size_t size,
                                     bl_bloom *bloom, bl_error *err);
void bl_bloom_free(bl_bloom *bloom);

#endif
