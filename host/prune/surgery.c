// SPDX-License-Identifier: Apache-2.0
// Taking channels out of a graph: entries of constants along their axes, and the numbers that nodes
// derive from them.
#include <stdlib.h>
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/prune/channels.h"

static bool goes(const bl_channels *channels, int32_t id) {
  return id >= 0 && channels->keep[id] == 0;
}

// A constant as outer x count x inner, count entries along the axis.
static void measure(const bl_value *v, uint32_t axis, size_t *outer, size_t *inner) {
  *outer = *inner = 1;
  for (uint32_t k = 0; k < v->rank; k++) {
    if (k < axis) *outer *= (size_t)v->dims[k];
    if (k > axis) *inner *= (size_t)v->dims[k];
  }
}

void bl_channels_mask(const bl_channels *channels, bl_float_graph *graph) {
  for (uint32_t u = 0; u < channels->use_count; u++) {
    const bl_channel_use *use = &channels->uses[u];
    bl_value *v = &graph->values[use->value];
    size_t outer, inner;
    measure(v, use->axis, &outer, &inner);
    for (size_t o = 0; o < outer && use->kind != BL_CHANNEL_RUNNING; o++)
      for (size_t k = 0; k < use->count; k++)
        if (goes(channels, use->ids[k]))
          memset(v->f + (o * use->count + k) * inner, 0, inner * sizeof *v->f);
  }
}

static bl_status cut(const bl_channels *channels, const bl_channel_use *use, bl_value *v,
                     bl_error *err) {
  size_t outer, inner, written = 0;
  int64_t dims[BL_MAX_RANK];
  measure(v, use->axis, &outer, &inner);
  for (size_t o = 0; o < outer; o++)
    for (size_t k = 0; k < use->count; k++) {
      if (goes(channels, use->ids[k])) continue;
      memmove(v->f + written, v->f + (o * use->count + k) * inner, inner * sizeof *v->f);
      written += inner;
    }
  memcpy(dims, v->dims, sizeof dims);
  dims[use->axis] = (int64_t)(written / (outer * inner));
  return bl_value_shape(v, v->rank, dims, err);
}

static bl_status resize(const bl_channels *channels, const bl_channel_size *size,
                        bl_float_graph *graph, bl_error *err) {
  bl_node *node = &graph->nodes[size->node];
  int64_t left = 0;
  for (size_t k = 0; k < size->count; k++)
    left += !goes(channels, size->ids[k]);
  if (left == (int64_t)size->count) return BL_OK;
  if (size->input < 0) {
    const bl_attribute *a = bl_node_attribute(node, size->attribute);
    if (a == NULL || a->int_count == 0)
      return bl_float_set_int(graph, node, size->attribute, left, err);
    int64_t *ints = calloc(a->int_count, sizeof *ints);
    if (ints == NULL) return bl_fail(err, BL_ERR_MEMORY, "channels: no memory");
    memcpy(ints, a->ints, a->int_count * sizeof *ints);
    ints[size->entry] = left;
    bl_status status = bl_float_set_ints(graph, node, size->attribute, ints, a->int_count, err);
    free(ints);
    return status;
  }
  const bl_value old = graph->values[node->inputs[size->input]];
  int32_t fresh;
  BL_TRY(bl_float_add_integers(graph, old.name, "_less", old.rank, old.dims, old.i, &fresh, err));
  graph->values[fresh].i[size->entry] = left;
  node->inputs[size->input] = fresh;
  return BL_OK;
}

bl_status bl_channels_remove(const bl_channels *channels, bl_float_graph *graph, bl_error *err) {
  for (uint32_t u = 0; u < channels->use_count; u++)
    BL_TRY(cut(channels, &channels->uses[u], &graph->values[channels->uses[u].value], err));
  for (uint32_t s = 0; s < channels->size_count; s++)
    BL_TRY(resize(channels, &channels->sizes[s], graph, err));
  return bl_float_infer_all(graph, err);
}
