// SPDX-License-Identifier: Apache-2.0
// Which channels depend on each other: what the rules of operators share.
#ifndef BITLOOM_HOST_PRUNE_COUPLE_INTERNAL_H
#define BITLOOM_HOST_PRUNE_COUPLE_INTERNAL_H

#include "host/prune/channels.h"

// The channels of a value: entry k along `axis` is element ids[k]. ids NULL: nothing known, its
// channels stay.
typedef struct {
  uint32_t axis;
  size_t count;
  int32_t *ids;
} bl_labels;

// Elements are joined into classes (union by the lower index, so that results do not depend on the
// order of rules).
typedef struct {
  const bl_float_graph *graph;
  bl_channels *channels;
  bl_labels *labels; // [value_count]
  int32_t *parent;   // of elements
  bool *stays;       // of roots
  uint32_t count, room;
  bool failed; // no memory
} bl_coupler;

// `count` new elements.
int32_t *bl_couple_fresh(bl_coupler *c, size_t count, bool stays);
void bl_couple_join(bl_coupler *c, int32_t a, int32_t b);
// Every channel of the value stays as it is.
void bl_couple_freeze(bl_coupler *c, int32_t value);
// Entries of a constant along an axis belong to `ids`.
void bl_couple_use(bl_coupler *c, bl_channel_use_kind kind, const bl_node *node, int32_t value,
                   uint32_t axis, const int32_t *ids, size_t count);
void bl_couple_size(bl_coupler *c, const bl_node *node, int input, const char *attribute,
                    uint32_t entry, const int32_t *ids, size_t count);
// What a node makes of its inputs' channels.
void bl_couple_node(bl_coupler *c, const bl_node *node);

#endif
