// SPDX-License-Identifier: Apache-2.0
// Projection shortcuts as layers of their own or inside a sum, whichever takes fewer cycles.
#include <string.h>

#include "host/quant/quantise_internal.h"

// Stages and what was observed of them, before any projection is taken.
typedef struct {
  bl_stage *stages;
  uint32_t count;
  bl_observer *observers, *indices;
  bool *inside; // [count] the stage's addition takes its projection
} plan;

// Weights of one bit have no scale to pull; both products have the same integers.
static bool may_project(const bl_quantising *q, const bl_stage *s) {
  if (!bl_lower_projects(&q->lowered, (uint32_t)(s - q->lowered.stages))) return false;
  const bl_stage *other = &q->lowered.stages[s->addend];
  return s->weight_bits > 1 && s->weight_bits == other->weight_bits &&
         s->codebook == other->codebook && s->channel_bits == NULL && other->channel_bits == NULL;
}

static void *copy_of(bl_arena *arena, const void *from, size_t count, size_t size) {
  void *copy = bl_arena_alloc(arena, count, size);
  if (copy != NULL) memcpy(copy, from, count * size);
  return copy;
}

static bl_status start_over(bl_quantising *q, const plan *p) {
  q->lowered.stage_count = p->count;
  q->lowered.stages = copy_of(q->scratch, p->stages, p->count, sizeof *p->stages);
  q->observers = copy_of(q->scratch, p->observers, p->count + 1u, sizeof *p->observers);
  q->indices = copy_of(q->scratch, p->indices, p->count + 1u, sizeof *p->indices);
  if (q->lowered.stages == NULL || q->observers == NULL || q->indices == NULL)
    return bl_quantise_no_memory(q);
  return BL_OK;
}

// The graph of a plan. From the last stage on, so that those that go are behind none to come.
static bl_status make(bl_quantising *q, const plan *p) {
  BL_TRY(start_over(q, p));
  for (uint32_t k = p->count; k-- > 0;) {
    uint32_t gone;
    if (!p->inside[k]) continue;
    if (!bl_lower_project(&q->lowered, k, &gone)) return bl_quantise_no_memory(q);
    const uint32_t behind = q->lowered.stage_count - gone;
    memmove(&q->observers[gone + 1], &q->observers[gone + 2], behind * sizeof *q->observers);
    memmove(&q->indices[gone], &q->indices[gone + 1], behind * sizeof *q->indices);
  }
  return bl_quantise_graph(q);
}

static void drop(bl_quantised *made) {
  if (made->graph != NULL) bl_arena_free(made->graph->arena);
  made->graph = NULL;
}

// Takes stage k's projection into its sum, and leaves it there if that is cheaper.
static bl_status try_inside(bl_quantising *q, plan *p, uint32_t k, double *least) {
  bl_quantised best = *q->out;
  q->out->graph = NULL;
  p->inside[k] = true;
  bl_status status = make(q, p);
  double cycles = status == BL_OK ? q->options->cycles(q->options->device, q->out->graph) : 0;
  if (status == BL_OK && cycles < *least) {
    *least = cycles;
    drop(&best);
    return BL_OK;
  }
  drop(q->out);
  *q->out = best;
  p->inside[k] = false;
  return status;
}

bl_status bl_quantise_cheapest(bl_quantising *q) {
  const uint32_t count = q->lowered.stage_count;
  plan p = {q->lowered.stages, count, q->observers, q->indices,
            bl_arena_alloc(q->scratch, count, sizeof(bool))};
  bool *may = bl_arena_alloc(q->scratch, count, sizeof *may);
  if (p.inside == NULL || may == NULL) return bl_quantise_no_memory(q);
  for (uint32_t k = 0; k < count && q->options->cycles != NULL && !q->options->power_scales; k++)
    may[k] = may_project(q, &p.stages[k]);
  BL_TRY(bl_quantise_graph(q));
  double least = -1; // not known yet
  for (uint32_t k = 0; k < count; k++) {
    if (!may[k]) continue;
    if (least < 0) least = q->options->cycles(q->options->device, q->out->graph);
    BL_TRY(try_inside(q, &p, k, &least));
  }
  if (!bl_refinement(q->options)) return BL_OK;
  drop(q->out);
  q->refining = true;
  return make(q, &p);
}
