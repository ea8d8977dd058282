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
  BL_SECTION_CODED = 4, // the only section of a coded file
  BL_STEP_STORED = 1,   // flags
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

// Where a graph's bytes come from. In a plain file everything is in `fields`; a coded one has each
// layer's constants and weights in places of their own.
typedef struct {
  bl_reader *fields, *constants;
  bl_reader *coded; // the layers' weights in pieces; NULL: as they are, among the fields
  size_t *room;     // bytes that weights may still take where they are coded
} bl_graph_source;

typedef struct {
  uint64_t indices, values, codebook;
} bl_layer_bytes;

// Bytes of a coded section by what they say.
typedef struct {
  uint64_t fields, constants;
  bl_layer_bytes *layers; // [layers of the graph]
} bl_coded_bytes;

void bl_put_info(bl_writer *w, const bl_bloom_info *info);
// `constants` may be `fields`; without weights these are left out.
void bl_put_graph(bl_writer *fields, bl_writer *constants, bool weights, const bl_int_graph *graph);
void bl_put_program(bl_writer *w, const bl_program *program);

BL_MUST_USE bl_status bl_read_info(const char *name, bl_reader *r, bl_bloom_info *info,
                                   bl_error *err);
// Also bl_int_check.
BL_MUST_USE bl_status bl_read_graph(const char *name, const bl_graph_source *from, bl_arena *arena,
                                    bl_int_graph **graph, bl_error *err);
// Compiles the graph for the configuration and batch that the section names; its bytes must be the
// ones that this program has. So nothing in a file but its graph is ever trusted.
BL_MUST_USE bl_status bl_read_program(const char *name, bl_reader *r, const bl_int_graph *graph,
                                      bl_program **program, bl_error *err);
// Compiles for a batch and the configuration of that name. Errors: FORMAT, those of bl_compile.
BL_MUST_USE bl_status bl_compile_named(const char *name, const char *config_name, uint32_t images,
                                       const bl_int_graph *graph, bl_program **program,
                                       bl_error *err);
// A coded file's section; where its bytes go, unless `bytes` is NULL.
void bl_put_coded(bl_writer *w, const bl_int_graph *graph, const bl_program *program,
                  const bl_bloom_info *info, bl_coded_bytes *bytes);
// The next layer's weights of a coded file, [channels][fan], which are all 0 before.
void bl_get_coded_weights(bl_reader *r, int8_t *weights, size_t channels, size_t fan);
// Reads a coded file's section into *bloom, whose arena it makes.
BL_MUST_USE bl_status bl_read_coded(const char *name, bl_reader *r, bl_bloom *bloom, bl_error *err);
bl_status bl_bloom_damaged(const char *name, const char *what, bl_error *err);

#endif
