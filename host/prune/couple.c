// SPDX-License-Identifier: Apache-2.0
// Classes of channels: a union of sets over all channels of all values, node by node.
#include <stdlib.h>
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/prune/couple_internal.h"

enum { MOST_BYTES = 1 << 30 };

// ---- Elements

static bool grow(bl_coupler *c, size_t count) {
  if (count > INT32_MAX - c->count) return false;
  if (c->count + count <= c->room) return true;
  const size_t room = 2 * (c->count + count);
  int32_t *parent = realloc(c->parent, room * sizeof *parent);
  if (parent != NULL) c->parent = parent;
  bool *stays = realloc(c->stays, room * sizeof *stays);
  if (stays != NULL) c->stays = stays;
  if (parent == NULL || stays == NULL || room > INT32_MAX) return false;
  c->room = (uint32_t)room;
  return true;
}

int32_t *bl_couple_fresh(bl_coupler *c, size_t count, bool stays) {
  int32_t *ids = bl_arena_alloc(c->channels->arena, count, sizeof *ids);
  if (ids == NULL || !grow(c, count)) {
    c->failed = true;
    return NULL;
  }
  for (size_t k = 0; k < count; k++) {
    ids[k] = (int32_t)c->count++;
    c->parent[ids[k]] = ids[k];
    c->stays[ids[k]] = stays;
  }
  return ids;
}

static int32_t root_of(const bl_coupler *c, int32_t id) {
  while (c->parent[id] != id) {
    c->parent[id] = c->parent[c->parent[id]];
    id = c->parent[id];
  }
  return id;
}

void bl_couple_join(bl_coupler *c, int32_t a, int32_t b) {
  a = root_of(c, a);
  b = root_of(c, b);
  const int32_t low = a < b ? a : b, high = a < b ? b : a;
  c->parent[high] = low;
  c->stays[low] = c->stays[low] || c->stays[high];
}

static void keep_all(bl_coupler *c, const int32_t *ids, size_t count) {
  for (size_t k = 0; k < count; k++)
    c->stays[root_of(c, ids[k])] = true;
}

void bl_couple_freeze(bl_coupler *c, int32_t value) {
  if (value >= 0 && c->labels[value].ids != NULL)
    keep_all(c, c->labels[value].ids, c->labels[value].count);
}

// ---- Constants

static void *grown(bl_arena *arena, void *items, uint32_t count, uint32_t *room, size_t size) {
  if (count < *room) return items;
  const uint32_t more = *room == 0 ? 64 : *room * 2;
  void *larger = bl_arena_alloc(arena, more, size);
  if (larger == NULL) return NULL;
  if (count > 0) memcpy(larger, items, count * size);
  *room = more;
  return larger;
}

// A constant that several nodes read: their channels are the same ones.
static bool used_before(bl_coupler *c, int32_t value, uint32_t axis, const int32_t *ids,
                        size_t count) {
  for (uint32_t u = 0; u < c->channels->use_count; u++) {
    bl_channel_use *use = &c->channels->uses[u];
    if (use->value != value || use->axis != axis) continue;
    for (size_t k = 0; k < count; k++)
      bl_couple_join(c, use->ids[k], ids[k]);
    use->readers++;
    return true;
  }
  return false;
}

// An array of its own, as it is renamed later.
static int32_t *own_ids(bl_coupler *c, const int32_t *ids, size_t count) {
  int32_t *own = bl_arena_alloc(c->channels->arena, count, sizeof *own);
  if (own == NULL) c->failed = true;
  if (own != NULL && count > 0) memcpy(own, ids, count * sizeof *own);
  return own;
}

void bl_couple_use(bl_coupler *c, bl_channel_use_kind kind, const bl_node *node, int32_t value,
                   uint32_t axis, const int32_t *ids, size_t count) {
  bl_channels *all = c->channels;
  if (c->graph->values[value].f == NULL) {
    keep_all(c, ids, count);
    return;
  }
  if (c->failed || used_before(c, value, axis, ids, count)) return;
  all->uses = grown(all->arena, all->uses, all->use_count, &all->use_room, sizeof *all->uses);
  if (all->uses == NULL) {
    c->failed = true;
    return;
  }
  all->uses[all->use_count++] = (bl_channel_use){.kind = kind,
                                                 .node = (uint32_t)(node - c->graph->nodes),
                                                 .axis = axis,
                                                 .readers = 1,
                                                 .value = value,
                                                 .count = count,
                                                 .ids = own_ids(c, ids, count)};
}

void bl_couple_size(bl_coupler *c, const bl_node *node, int input, const char *attribute,
                    uint32_t entry, const int32_t *ids, size_t count) {
  bl_channels *all = c->channels;
  if (c->failed) return;
  all->sizes = grown(all->arena, all->sizes, all->size_count, &all->size_room, sizeof *all->sizes);
  if (all->sizes == NULL) {
    c->failed = true;
    return;
  }
  all->sizes[all->size_count++] = (bl_channel_size){.node = (uint32_t)(node - c->graph->nodes),
                                                    .entry = entry,
                                                    .input = input,
                                                    .attribute = attribute,
                                                    .count = count,
                                                    .ids = own_ids(c, ids, count)};
}

// Constants that others read too, in ways that are not known, keep their channels.
static void keep_shared(bl_coupler *c) {
  const bl_channels *all = c->channels;
  for (uint32_t u = 0; u < all->use_count; u++)
    if (bl_float_readers(c->graph, all->uses[u].value) != all->uses[u].readers)
      keep_all(c, all->uses[u].ids, all->uses[u].count);
}

// ---- Classes and groups

// Numbers the classes that have a filter and may go; class_of: [count], -1: stays.
static void number_classes(bl_coupler *c, int32_t *class_of) {
  bl_channels *all = c->channels;
  for (uint32_t k = 0; k < c->count; k++)
    class_of[k] = -1;
  for (uint32_t u = 0; u < all->use_count; u++)
    for (size_t k = 0; k < all->uses[u].count && all->uses[u].kind == BL_CHANNEL_FILTER; k++) {
      const int32_t root = root_of(c, all->uses[u].ids[k]);
      if (!c->stays[root] && class_of[root] < 0) class_of[root] = (int32_t)all->class_count++;
    }
}

static void rename_ids(const bl_coupler *c, const int32_t *class_of) {
  const bl_channels *all = c->channels;
  for (uint32_t u = 0; u < all->use_count; u++)
    for (size_t k = 0; k < all->uses[u].count; k++)
      all->uses[u].ids[k] = class_of[root_of(c, all->uses[u].ids[k])];
  for (uint32_t s = 0; s < all->size_count; s++)
    for (size_t k = 0; k < all->sizes[s].count; k++)
      all->sizes[s].ids[k] = class_of[root_of(c, all->sizes[s].ids[k])];
}

// Classes that one layer's filters are of are a group, and so on; `group` holds the lowest class
// of each first.
static void find_groups(bl_channels *all) {
  for (uint32_t k = 0; k < all->class_count; k++)
    all->group[k] = k;
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t u = 0; u < all->use_count; u++) {
      const bl_channel_use *use = &all->uses[u];
      uint32_t lowest = UINT32_MAX;
      if (use->kind != BL_CHANNEL_FILTER) continue;
      for (size_t k = 0; k < use->count; k++)
        if (use->ids[k] >= 0 && all->group[use->ids[k]] < lowest) lowest = all->group[use->ids[k]];
      for (size_t k = 0; k < use->count; k++) {
        if (use->ids[k] < 0 || all->group[use->ids[k]] == lowest) continue;
        all->group[use->ids[k]] = lowest;
        changed = true;
      }
    }
  }
  for (uint32_t k = 0; k < all->class_count; k++)
    all->group[k] = all->group[k] == k ? all->group_count++ : all->group[all->group[k]];
}

static bl_status finish(bl_coupler *c, bl_error *err) {
  bl_channels *all = c->channels;
  int32_t *class_of = calloc(c->count + 1U, sizeof *class_of);
  if (class_of == NULL) return bl_fail(err, BL_ERR_MEMORY, "channels: no memory");
  keep_shared(c);
  number_classes(c, class_of);
  rename_ids(c, class_of);
  free(class_of);
  all->group = bl_arena_alloc(all->arena, all->class_count, sizeof *all->group);
  all->scores = bl_arena_alloc(all->arena, all->class_count, sizeof *all->scores);
  all->keep = bl_arena_alloc(all->arena, all->class_count, 1);
  if (all->group == NULL || all->scores == NULL || all->keep == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "channels: no memory for classes");
  memset(all->keep, 1, all->class_count);
  find_groups(all);
  return BL_OK;
}

// ---- The graph

static bl_status couple_graph(bl_coupler *c, bl_error *err) {
  const bl_float_graph *g = c->graph;
  for (uint32_t n = 0; n < g->node_count && !c->failed; n++)
    bl_couple_node(c, &g->nodes[n]);
  for (uint32_t k = 0; k < g->output_count && !c->failed; k++)
    bl_couple_freeze(c, g->outputs[k]);
  return c->failed ? bl_fail(err, BL_ERR_MEMORY, "channels: no memory") : finish(c, err);
}

bl_status bl_channels_open(const bl_float_graph *graph, bl_channels **channels, bl_error *err) {
  bl_arena *arena = bl_arena_new(MOST_BYTES);
  bl_coupler c = {.graph = graph};
  *channels = NULL;
  c.labels = calloc(graph->value_count + 1U, sizeof *c.labels);
  c.channels = arena != NULL ? bl_arena_alloc(arena, 1, sizeof *c.channels) : NULL;
  bl_status status = BL_ERR_MEMORY;
  if (c.labels == NULL || c.channels == NULL) {
    (void)bl_fail(err, status, "channels: no memory");
  } else {
    c.channels->arena = arena;
    status = couple_graph(&c, err);
  }
  free(c.labels);
  free(c.parent);
  free(c.stays);
  if (status == BL_OK)
    *channels = c.channels;
  else
    bl_arena_free(arena);
  return status;
}

void bl_channels_close(bl_channels *channels) {
  if (channels != NULL) bl_arena_free(channels->arena);
}
