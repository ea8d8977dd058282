// SPDX-License-Identifier: Apache-2.0
// The coded form of a compiled file: what a plain one has, without its program, which loading makes
// again, and with entropy-coded weights: the distances between those that are not 0, and their
// values, each a piece of its own. A layer takes the order of its weights and the way that give the
// fewest bytes.
#include <stdlib.h>
#include <string.h>

#include "host/compile/bloom_internal.h"
#include "host/compile/piece.h"

enum {
  SPARSE = 1,     // ways: distances and values, else values alone
  TRANSPOSED = 2, // the output channels innermost
  WAYS = 4,
  SKIP = 255,           // a distance: so many zeros and no value
  MAX_EXPANSION = 4096, // of a file, when its weights are decoded
  FREE_EXPANSION = 1 << 24,
};

// Where weight k in coded order lies.
static size_t place(size_t k, size_t channels, size_t fan, unsigned way) {
  return (way & TRANSPOSED) != 0 ? k % channels * fan + k / channels : k;
}

// A layer's weights in one of the ways; *indices are the bytes of its first piece.
static void put_way(bl_writer *w, const int8_t *weights, size_t channels, size_t fan, unsigned way,
                    bl_layer_bytes *bytes) {
  bl_writer distances = {0}, values = {0};
  unsigned distance = 0;
  for (size_t k = 0; k < channels * fan; k++) {
    const int8_t q = weights[place(k, channels, fan, way)];
    if ((way & SPARSE) != 0 && q == 0) {
      if (++distance == SKIP) bl_put(&distances, SKIP, 1);
      if (distance == SKIP) distance = 0;
      continue;
    }
    if ((way & SPARSE) != 0) bl_put(&distances, distance, 1);
    bl_put(&values, (uint8_t)q, 1);
    distance = 0;
  }
  bl_put(w, way, 1);
  if ((way & SPARSE) != 0) bl_put_piece(w, &distances);
  bytes->indices = w->size;
  bl_put_piece(w, &values);
  bytes->values = w->size - bytes->indices;
  free(distances.bytes);
  free(values.bytes);
}

static void put_weights(bl_writer *w, const int8_t *weights, size_t channels, size_t fan,
                        bl_layer_bytes *bytes) {
  bl_writer best = {0};
  for (unsigned way = 0; way < WAYS; way++) {
    bl_writer now = {0};
    bl_layer_bytes sizes;
    put_way(&now, weights, channels, fan, way, &sizes);
    w->failed = w->failed || now.failed;
    if (way == 0 || now.size < best.size) {
      const bl_writer last = best;
      best = now;
      now = last;
      *bytes = sizes;
    }
    free(now.bytes);
  }
  bl_put_bytes(w, best.bytes, best.size);
  free(best.bytes);
}

void bl_put_coded(bl_writer *w, const bl_int_graph *graph, const bl_program *program,
                  const bl_bloom_info *info, bl_coded_bytes *bytes) {
  bl_writer fields = {0}, constants = {0};
  const size_t start = w->size;
  bl_put_info(&fields, info);
  bl_put_text(&fields, program->config.name);
  bl_put(&fields, program->images, 4);
  bl_put_graph(&fields, &constants, false, graph);
  bl_put_piece(w, &fields);
  const size_t middle = w->size;
  bl_put_piece(w, &constants);
  const size_t end = w->size;
  free(fields.bytes);
  free(constants.bytes);
  if (bytes != NULL) {
    bytes->fields = middle - start;
    bytes->constants = end - middle;
  }
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    const bl_int_layer *layer = &graph->layers[l];
    const size_t channels = graph->tensors[layer->output].c;
    const size_t fan = (size_t)layer->kernel_h * layer->kernel_w *
                       (graph->tensors[layer->input].c / layer->groups);
    bl_layer_bytes layer_bytes = {0};
    put_weights(w, layer->weights, channels, fan, &layer_bytes);
    if (layer->codebook != NULL) bl_put_bytes(w, layer->codebook, BL_INT_CODES);
    layer_bytes.codebook = layer->codebook != NULL ? BL_INT_CODES : 0;
    if (bytes != NULL) bytes->layers[l] = layer_bytes;
  }
}

// Fills in the values that are not 0; false where distances and values do not fit together.
static bool place_values(bl_reader *distances, bl_reader *values, int8_t *weights, size_t channels,
                         size_t fan, unsigned way) {
  size_t k = 0;
  while (bl_left(distances) > 0) {
    const size_t distance = (size_t)bl_get(distances, 1);
    if (distance > channels * fan - k) return false;
    k += distance;
    if (distance == SKIP) continue;
    if (k == channels * fan) return false;
    weights[place(k++, channels, fan, way)] = (int8_t)bl_get(values, 1);
  }
  return !values->failed && bl_left(values) == 0;
}

void bl_get_coded_weights(bl_reader *r, int8_t *weights, size_t channels, size_t fan) {
  const size_t count = channels * fan;
  const unsigned way = (unsigned)bl_get(r, 1);
  bl_reader distances = {0}, values = {0};
  bool ok = way < WAYS;
  if (ok && (way & SPARSE) != 0) ok = bl_get_piece(r, 2 * count, &distances);
  ok = ok && bl_get_piece(r, count, &values);
  if (ok && (way & SPARSE) != 0) {
    ok = place_values(&distances, &values, weights, channels, fan, way);
  } else if (ok) {
    ok = values.size == count;
    for (size_t k = 0; ok && k < count; k++)
      weights[place(k, channels, fan, way)] = (int8_t)values.bytes[k];
  }
  if (!ok) r->failed = true;
  free((void *)(uintptr_t)distances.bytes);
  free((void *)(uintptr_t)values.bytes);
}

static bl_status read_parts(const char *name, bl_reader *fields, bl_reader *constants,
                            bl_reader *coded, bl_bloom *bloom, bl_error *err) {
  size_t room = coded->size > (BL_BLOOM_MAX_BYTES - FREE_EXPANSION) / MAX_EXPANSION
                    ? BL_BLOOM_MAX_BYTES
                    : coded->size * MAX_EXPANSION + FREE_EXPANSION;
  bloom->arena = bl_arena_new((fields->size + constants->size + coded->size) * 16 + room);
  if (bloom->arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory to load it", name);
  BL_TRY(bl_read_info(name, fields, &bloom->info, err));
  const char *config = bl_get_text(fields, bloom->arena);
  const uint32_t images = bl_get32(fields);
  const bl_graph_source source = {fields, constants, coded, &room};
  BL_TRY(bl_read_graph(name, &source, bloom->arena, &bloom->graph, err));
  if (bl_left(coded) != 0)
    return bl_bloom_damaged(name, "something follows its last layer's weights", err);
  return bl_compile_named(name, config, images, bloom->graph, &bloom->program, err);
}

bl_status bl_read_coded(const char *name, bl_reader *r, bl_bloom *bloom, bl_error *err) {
  bl_reader fields, constants = {0};
  bool ok = bl_get_piece(r, FREE_EXPANSION, &fields);
  ok = ok && bl_get_piece(r, BL_BLOOM_MAX_BYTES, &constants);
  bl_status status = ok ? read_parts(name, &fields, &constants, r, bloom, err)
                        : bl_bloom_damaged(name, "its coded part cannot be decoded", err);
  free((void *)(uintptr_t)fields.bytes);
  free((void *)(uintptr_t)constants.bytes);
  return status;
}
