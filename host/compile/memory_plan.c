// SPDX-License-Identifier: Apache-2.0
// Activation memory by lifetime: a tensor holds its words from the layer that makes it to the last
// that reads it. Largest first, each at the lowest address free during its life.
#include "host/compile/internal.h"

#include <stdlib.h>

typedef struct {
  uint32_t tensor, words, first, last, address;
} life;

static int larger_first(const void *a, const void *b) {
  const life *x = a, *y = b;
  if (x->words != y->words) return x->words < y->words ? 1 : -1;
  return x->tensor < y->tensor ? -1 : 1;
}

static bool together(const life *a, const life *b) {
  return a->first <= b->last && b->first <= a->last;
}

// Lowest address for lives[i] beside the ones placed before it.
static uint32_t place(const life *lives, uint32_t i) {
  uint32_t address = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (uint32_t k = 0; k < i; k++)
      if (together(&lives[i], &lives[k]) && address < lives[k].address + lives[k].words &&
          lives[k].address < address + lives[i].words) {
        address = lives[k].address + lives[k].words;
        moved = true;
      }
  }
  return address;
}

static uint32_t lane_bytes(const bl_config *config, uint32_t lanes) {
  return lanes < config->lanes ? bl_div_up(lanes, 8) : config->lanes / 8;
}

static void shape(bl_region *r, uint32_t w, uint32_t pixel_words, uint32_t planes) {
  r->planes = planes;
  r->pixel_stride = pixel_words;
  r->row_stride = w * pixel_words;
}

bool bl_shape_regions(const bl_int_graph *graph, const bl_mapping *mappings, uint32_t images,
                      bl_region *regions) {
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    const bl_mapping *m = &mappings[l];
    const bl_config *config = m->config;
    uint64_t pixels = (uint64_t)m->out->h * m->out->w;
    bl_region *out = &regions[m->layer->output];
    shape(out, m->out->w, m->out_words, m->out_planes);
    out->acc_bytes = m->acc_bytes;
    out->load_bytes = lane_bytes(
        config, m->acc_bytes > 0 ? m->tile_count * m->acc_bytes * config->cols : m->out->c);
    if (pixels * m->out_words > config->act_depth) return false;
    out->image_stride = (uint32_t)pixels * m->out_words;
    if (m->layer->input != 0) continue;
    shape(&regions[0], m->in_w, m->in_words * m->in_planes, m->in_planes);
    regions[0].load_bytes = lane_bytes(config, m->in_c);
    if ((uint64_t)m->in_h * regions[0].row_stride > config->act_depth) return false;
    regions[0].image_stride = m->in_h * regions[0].row_stride;
  }
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    regions[t].words = regions[t].image_stride * images;
  return true;
}

static void lifetimes(const bl_int_graph *graph, const bl_region *regions,
                      const bl_input_packing *input, life *lives) {
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    lives[t] = (life){.tensor = t, .words = regions[t].words, .address = regions[t].address};
  if (input->chunk_rows > 0)
    lives[0].words = input->slots * input->chunk_rows * regions[0].row_stride;
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    lives[graph->layers[l].output].first = l;
    lives[graph->layers[l].output].last = l;
    lives[graph->layers[l].input].last = l;
  }
  lives[graph->output].last = graph->layer_count;
}

bool bl_plan_memory(const bl_int_graph *graph, const bl_mapping *mappings, uint32_t images,
                    const bl_input_packing *input, bl_region *regions, uint32_t *used,
                    uint32_t *needed) {
  *used = 0;
  *needed = UINT32_MAX;
  if (!bl_shape_regions(graph, mappings, images, regions)) return false;
  life *lives = calloc(graph->tensor_count, sizeof *lives);
  if (lives == NULL) return false;
  lifetimes(graph, regions, input, lives);
  qsort(lives, graph->tensor_count, sizeof *lives, larger_first);
  for (uint32_t i = 0; i < graph->tensor_count; i++) {
    lives[i].address = place(lives, i);
    if (lives[i].address + lives[i].words > *used) *used = lives[i].address + lives[i].words;
    regions[lives[i].tensor].address = lives[i].address;
  }
  free(lives);
  *needed = *used;
  return *used <= mappings[0].config->act_depth;
}

bool bl_regions_sound(const bl_int_graph *graph, const bl_region *regions,
                      const bl_input_packing *input, uint32_t depth) {
  bool sound = true;
  life *lives = calloc(graph->tensor_count, sizeof *lives);
  if (lives == NULL) return false;
  lifetimes(graph, regions, input, lives);
  for (uint32_t i = 0; i < graph->tensor_count && sound; i++) {
    if (lives[i].words > depth || lives[i].address > depth - lives[i].words) sound = false;
    for (uint32_t k = 0; k < i && sound; k++)
      if (together(&lives[i], &lives[k]) && lives[i].address < lives[k].address + lives[k].words &&
          lives[k].address < lives[i].address + lives[i].words)
        sound = false;
  }
  free(lives);
  return sound;
}
