// SPDX-License-Identifier: Apache-2.0
// Layer by layer: who agrees with whom.
#include "host/run/compare.h"

#include <stdio.h>
#include <string.h>

enum { MEMORY_CAP = 512 << 20 };

typedef struct {
  const bl_int_graph *graph;
  size_t images;
  int32_t **outputs; // of each layer
} kept;

static const bl_int_tensor *output_of(const bl_int_graph *graph, uint32_t layer) {
  return &graph->tensors[graph->layers[layer].output];
}

static void keep(void *context, uint32_t layer, const int32_t *output) {
  kept *k = context;
  size_t elements = k->images * bl_int_elements(output_of(k->graph, layer));
  memcpy(k->outputs[layer], output, elements * sizeof *output);
}

static bl_status keep_all(const bl_executor *executor, kept *k, bl_arena *arena, const int32_t *in,
                          bl_error *err) {
  const bl_int_graph *graph = k->graph;
  size_t out_size = bl_int_elements(&graph->tensors[graph->output]);
  int32_t *out = bl_arena_alloc(arena, k->images * out_size, sizeof *out);
  k->outputs = bl_arena_alloc(arena, graph->layer_count, sizeof *k->outputs);
  bool short_of = out == NULL || k->outputs == NULL;
  for (uint32_t i = 0; i < graph->layer_count && !short_of; i++) {
    size_t elements = k->images * bl_int_elements(output_of(graph, i));
    k->outputs[i] = bl_arena_alloc(arena, elements, sizeof(int32_t));
    short_of = k->outputs[i] == NULL;
  }
  if (short_of) return bl_fail(err, BL_ERR_MEMORY, "verify: no memory for all layers' outputs");
  return executor->run(executor->self, in, k->images, out, keep, k, err);
}

static int odd_one(const int32_t *values, uint32_t count) {
  if (count < 3) return -1;
  if (values[1] == values[2]) return 0;
  if (values[0] == values[2]) return 1;
  return values[0] == values[1] ? 2 : -1;
}

static void note_first(const bl_int_graph *graph, const int32_t *const *outputs, uint32_t count,
                       uint32_t layer, size_t index, bl_comparison *comparison) {
  const bl_int_tensor *tensor = output_of(graph, layer);
  size_t elements = bl_int_elements(tensor), within = index % elements;
  bl_difference *d = &comparison->first;
  *d = (bl_difference){.layer = layer,
                       .image = comparison->images + index / elements,
                       .y = (uint32_t)(within / tensor->c / tensor->w),
                       .x = (uint32_t)(within / tensor->c % tensor->w),
                       .c = (uint32_t)(within % tensor->c)};
  for (uint32_t e = 0; e < count; e++)
    d->values[e] = outputs[e][index];
  d->odd = odd_one(d->values, count);
  comparison->found = true;
}

bool bl_compare_layer(const bl_int_graph *graph, uint32_t layer, const int32_t *const *outputs,
                      uint32_t count, size_t images, bl_comparison *comparison) {
  size_t total = images * bl_int_elements(output_of(graph, layer));
  uint64_t differing = 0;
  for (size_t i = 0; i < total; i++) {
    bool same = true;
    for (uint32_t e = 1; e < count; e++)
      same = same && outputs[e][i] == outputs[0][i];
    if (same) continue;
    differing++;
    bool earlier = !comparison->found || layer < comparison->first.layer;
    if (earlier) note_first(graph, outputs, count, layer, i, comparison);
  }
  comparison->compared += total;
  comparison->differing += differing;
  return differing == 0;
}

static bl_status compare_in(const bl_int_graph *graph, const bl_executor *executors, uint32_t count,
                            const int32_t *in, size_t images, bl_arena *arena,
                            bl_comparison *comparison, bl_error *err) {
  kept all[BL_COMPARE_MAX] = {{0}};
  for (uint32_t e = 0; e < count; e++) {
    all[e] = (kept){.graph = graph, .images = images};
    BL_TRY(keep_all(&executors[e], &all[e], arena, in, err));
  }
  bool same = true;
  for (uint32_t layer = 0; layer < graph->layer_count && same; layer++) {
    const int32_t *outputs[BL_COMPARE_MAX] = {NULL};
    for (uint32_t e = 0; e < count; e++)
      outputs[e] = all[e].outputs[layer];
    same = bl_compare_layer(graph, layer, outputs, count, images, comparison);
  }
  comparison->images += images;
  return BL_OK;
}

bl_status bl_compare(const bl_int_graph *graph, const bl_executor *executors, uint32_t count,
                     const int32_t *in, size_t images, bl_comparison *comparison, bl_error *err) {
  bl_arena *arena = bl_arena_new(MEMORY_CAP);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "verify: no memory");
  bl_status status = compare_in(graph, executors, count, in, images, arena, comparison, err);
  bl_arena_free(arena);
  return status;
}

void bl_difference_text(const bl_int_graph *graph, const bl_executor *executors, uint32_t count,
                        const bl_difference *difference, char *text, size_t size) {
  const bl_difference *d = difference;
  char where[160], who[120] = "";
  if (d->silent) {
    (void)snprintf(text, size,
                   "layer %u (%.60s): %s answered another signature than its values have, "
                   "which agree with those of %s",
                   (unsigned)d->layer, graph->layers[d->layer].name, executors[1].name,
                   executors[0].name);
    return;
  }
  (void)snprintf(where, sizeof where, "layer %u (%.60s), image %zu, y %u, x %u, channel %u",
                 (unsigned)d->layer, graph->layers[d->layer].name, d->image, (unsigned)d->y,
                 (unsigned)d->x, (unsigned)d->c);
  if (d->odd >= 0) {
    (void)snprintf(text, size, "%s: expected %d, got %d from %s; the other two agree", where,
                   (int)d->values[d->odd == 0 ? 1 : 0], (int)d->values[d->odd],
                   executors[d->odd].name);
    return;
  }
  if (count == 2)
    (void)snprintf(who, sizeof who, "got %d from %s", (int)d->values[1], executors[1].name);
  else
    (void)snprintf(who, sizeof who, "got %d from %s and %d from %s: all three differ",
                   (int)d->values[1], executors[1].name, (int)d->values[2], executors[2].name);
  (void)snprintf(text, size, "%s: expected %d (%s), %s", where, (int)d->values[0],
                 executors[0].name, who);
}
