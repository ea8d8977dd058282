// SPDX-License-Identifier: Apache-2.0
#include "host/compile/storage.h"

#include <stdlib.h>

#include "host/compile/bloom_internal.h"

enum { MAX_INDEX_BITS = 16, BYTE_VALUES = 256 };

static unsigned bits_for(unsigned values) {
  unsigned bits = 0;
  while (1u << bits < values)
    bits++;
  return bits;
}

// Entries of a list whose gaps have so many bits: one for each weight that is not 0, and one for
// every gap that is too long.
static uint64_t entries(const int8_t *weights, uint64_t count, unsigned bits) {
  const uint64_t longest = (1u << bits) - 1;
  uint64_t sum = 0, gap = 0;
  for (uint64_t k = 0; k < count; k++) {
    if (weights[k] == 0 && gap < longest) {
      gap++;
      continue;
    }
    sum++;
    gap = 0;
  }
  return sum;
}

static uint64_t whole_bytes(uint64_t bits) {
  return (bits + 7) / 8;
}

static void count_values(const int8_t *weights, bl_storage_row *row) {
  bool seen[BYTE_VALUES] = {false};
  for (uint64_t k = 0; k < row->weights; k++) {
    if (weights[k] == 0) continue;
    row->nonzero++;
    if (!seen[(uint8_t)weights[k]]) row->values++;
    seen[(uint8_t)weights[k]] = true;
  }
}

// The columns that do not depend on the file.
static void count_stages(const bl_int_layer *layer, bl_storage_row *row) {
  const bool sparse = row->nonzero < row->weights;
  const unsigned format = layer->weight_format.bits, codes = bits_for(row->values);
  row->code_bits = codes < format ? codes : format;
  row->dense = row->pruned = 4 * row->weights;
  row->quantised = whole_bytes(row->weights * row->code_bits);
  for (unsigned bits = 1; sparse && bits <= MAX_INDEX_BITS; bits++) {
    const uint64_t list = entries(layer->weights, row->weights, bits);
    const uint64_t pruned = whole_bytes(list * (32 + bits));
    if (pruned >= row->pruned) continue;
    row->index_bits = bits;
    row->pruned = pruned;
  }
  if (row->index_bits > 0)
    row->quantised = whole_bytes(entries(layer->weights, row->weights, row->index_bits) *
                                 (row->code_bits + row->index_bits));
  // Shared values are a list of floats; a plain format needs none.
  if (codes < format) row->quantised += 4 * (uint64_t)row->values;
}

static void add(bl_storage_row *sum, const bl_storage_row *row) {
  sum->weights += row->weights;
  sum->nonzero += row->nonzero;
  if (row->values > sum->values) sum->values = row->values;
  sum->dense += row->dense;
  sum->pruned += row->pruned;
  sum->quantised += row->quantised;
  sum->coded += row->coded;
  sum->indices += row->indices;
  sum->codes += row->codes;
  sum->codebook += row->codebook;
}

static void make_rows(const bl_int_graph *graph, const bl_coded_bytes *bytes, bl_storage *storage) {
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    const bl_int_layer *layer = &graph->layers[l];
    const bl_layer_bytes *coded = &bytes->layers[l];
    bl_storage_row *row = &storage->rows[l];
    row->name = layer->name;
    row->weights = (uint64_t)layer->kernel_h * layer->kernel_w *
                   (graph->tensors[layer->input].c / layer->groups) *
                   graph->tensors[layer->output].c;
    count_values(layer->weights, row);
    count_stages(layer, row);
    row->indices = coded->indices;
    row->codes = coded->values;
    row->codebook = coded->codebook;
    row->coded = row->indices + row->codes + row->codebook;
    add(&storage->sum, row);
  }
}

bl_status bl_storage_table(const bl_int_graph *graph, const bl_program *program,
                           const bl_bloom_info *info, bl_arena *arena, bl_storage *storage,
                           bl_error *err) {
  bl_writer coded = {0};
  bl_coded_bytes bytes = {.layers =
                              bl_arena_alloc(arena, graph->layer_count, sizeof *bytes.layers)};
  *storage = (bl_storage){
      .rows = bl_arena_alloc(arena, graph->layer_count, sizeof *storage->rows),
      .row_count = graph->layer_count,
  };
  if (bytes.layers != NULL) bl_put_coded(&coded, graph, program, info, &bytes);
  const bool failed = coded.failed || bytes.layers == NULL || storage->rows == NULL;
  free(coded.bytes);
  if (failed) return bl_fail(err, BL_ERR_MEMORY, "no memory for the table of sizes");
  make_rows(graph, &bytes, storage);
  storage->constants = bytes.constants;
  storage->fields = bytes.fields;
  storage->headers = BL_BLOOM_HEADER + BL_BLOOM_SECTION_HEADER;
  storage->file = coded.size + storage->headers;
  return BL_OK;
}
