// SPDX-License-Identifier: Apache-2.0
// What writing, reading and checking of compiled files share. Nobody outside host/compile includes
// this.
#ifndef BITLOOM_HOST_COMPILE_BLOOM_INTERNAL_H
#define BITLOOM_HOST_COMPILE_BLOOM_INTERNAL_H

#include "host/compile/bloom.h"
#include "host/compile/internal.h"
#include "host/compile/wire.h"

enum {
  BL_BLOOM_HEADER = 32,         // bytes of the file header
  BL_BLOOM_SECTION_HEADER = 20, // bytes before each section
  BL_BLOOM_SECTIONS = 3,
  BL_SECTION_INFO = 1,
  BL_SECTION_GRAPH = 2,
  BL_SECTION_PROGRAM = 3,
  BL_STEP_STORED = 1, // flags
  BL_STEP_LAST_PART = 2,
  BL_STEP_ROWS_DONE = 4,
  BL_LAYER_REQUANT = 1, // flags
  BL_LAYER_REAL = 2,
  BL_LAYER_CODEBOOK = 4,
  BL_LAYER_ADDEND = 8,
  BL_LAYER_TABLE = 16,
  BL_LAYER_UPSAMPLE = 32,
  BL_LAYER_PROJECTS = 64,
  BL_LAYER_FLAGS = 127,
};

#define BL_BLOOM_MAGIC "BITLOOM\n"

void bl_put_info(bl_writer *w, const bl_bloom_info *info);
void bl_put_graph(bl_writer *w, const bl_int_graph *graph);
void bl_put_program(bl_writer *w, const bl_program *program);

BL_MUST_USE bl_status bl_read_info(const char *name, bl_reader *r, bl_bloom_info *info,
                                   bl_error *err);
// Also bl_int_check.
BL_MUST_USE bl_status bl_read_graph(const char *name, bl_reader *r, bl_arena *arena,
                                    bl_int_graph **graph, bl_error *err);
// Compiles the graph for the configuration and batch that the section names; its bytes must be the
// ones that this program has. So nothing in a file but its graph is ever trusted.
BL_MUST_USE bl_status bl_read_program(const char *name, bl_reader *r, const bl_int_graph *graph,
                                      bl_program **program, bl_error *err);

#endif
