// SPDX-License-Identifier: Apache-2.0
#include "host/quant/layer_plan.h"

#include <stdio.h>
#include <string.h>

typedef struct {
  const bl_layer_plan *entry;
  const bl_float_graph *graph;
  bl_lowered *lowered;
  bool skips; // sums have bits of their own
  bl_error *err;
} planning;

static bool is_name(const char *name, const char *wanted) {
  return name != NULL && strcmp(name, wanted) == 0;
}

// The node of that name, or that gives the value of that name; NULL: none that is part of a layer.
static const bl_node *find_node(const planning *p) {
  for (int by_value = 0; by_value < 2; by_value++)
    for (uint32_t n = 0; n < p->graph->node_count; n++) {
      const bl_node *node = &p->graph->nodes[n];
      const char *name = by_value ? p->graph->values[node->outputs[0]].name : node->name;
      if (is_name(name, p->entry->layer) && p->lowered->stage_of[node->outputs[0]] >= 0)
        return node;
    }
  return NULL;
}

static bl_status no_layer(const planning *p) {
  char names[300] = "";
  size_t length = 0;
  for (uint32_t n = 0; n < p->graph->node_count; n++) {
    const bl_node *node = &p->graph->nodes[n];
    if (!bl_node_is_product(node) || p->lowered->stage_of[node->outputs[0]] < 0) continue;
    const size_t left = sizeof names - length;
    if (strlen(node->name) + 8 > left) {
      (void)snprintf(names + length, left, ", ...");
      break;
    }
    length += (size_t)snprintf(names + length, left, "%s%s", length > 0 ? ", " : "", node->name);
  }
  return bl_fail(p->err, BL_ERR_USAGE, "plan: no layer %.60s; there are %s", p->entry->layer,
                 names);
}

static bl_status check(const planning *p) {
  const bl_layer_plan *e = p->entry;
  const unsigned activation_bits = e->activation_bits | e->product_bits;
  if (e->weight_bits > 8 || activation_bits > 8)
    return bl_fail(p->err, BL_ERR_USAGE, "plan: layer %s: w%ua%u; bits are 1 to 8", e->layer,
                   e->weight_bits, activation_bits);
  for (uint32_t n = 0; e->channel_bits != NULL && n < e->channels; n++)
    if (e->channel_bits[n] < 2 || e->channel_bits[n] > 8)
      return bl_fail(p->err, BL_ERR_USAGE,
                     "plan: layer %s: channel %u has %u bits; bits of channels are 2 to 8",
                     e->layer, n, e->channel_bits[n]);
  if (e->codebook != NULL && e->channel_bits != NULL)
    return bl_fail(p->err, BL_ERR_USAGE,
                   "plan: layer %s: a codebook has one number of bits for all channels", e->layer);
  return BL_OK;
}

uint32_t bl_layer_plan_channels(const bl_float_graph *graph, const bl_node *node) {
  const bl_value *out = &graph->values[node->outputs[0]];
  return (uint32_t)out->dims[node->op == BL_FLOAT_CONV ? 1 : out->rank - 1];
}

// A concatenation may be wider than the node says: what fills tiles has the bits of channel 0.
static bl_status take_channels(const planning *p, const bl_node *node, bl_stage *s) {
  const bl_layer_plan *e = p->entry;
  const uint32_t channels = bl_layer_plan_channels(p->graph, node);
  if (e->channels != channels || e->channels > s->out_c)
    return bl_fail(p->err, BL_ERR_USAGE, "plan: layer %s: bits of %u channels; it has %u", e->layer,
                   e->channels, channels);
  uint8_t *bits = bl_arena_alloc(p->lowered->arena, s->out_c, 1);
  if (bits == NULL) return bl_fail(p->err, BL_ERR_MEMORY, "plan: no memory");
  s->weight_bits = 0;
  for (uint32_t n = 0; n < s->out_c; n++) {
    bits[n] = e->channel_bits[n < e->channels ? n : 0];
    if (bits[n] > s->weight_bits) s->weight_bits = bits[n];
  }
  s->channel_bits = bits;
  return BL_OK;
}

static bl_status take_weights(const planning *p, const bl_node *node, bl_stage *s) {
  const bl_layer_plan *e = p->entry;
  if (e->weight_bits == 0 && e->channel_bits == NULL && e->codebook == NULL) return BL_OK;
  if (!bl_node_is_product(node) || s->unit_weights || s->part_count > 0)
    return bl_fail(p->err, BL_ERR_USAGE, "plan: layer %s (%s) has no weights", e->layer,
                   bl_float_op_name(node->op));
  if (s->weight_scale != NULL)
    return bl_fail(p->err, BL_ERR_USAGE, "plan: layer %s: the graph fixes its weights", e->layer);
  s->codebook = e->codebook;
  s->channel_bits = NULL;
  if (e->weight_bits > 0) s->weight_bits = e->weight_bits;
  if (e->codebook != NULL) s->weight_bits = e->codebook->format.bits;
  return e->channel_bits == NULL ? BL_OK : take_channels(p, node, s);
}

// Pixels of a stage as they are, but for what is done to each of them.
static bool takes_pixels(const bl_stage *s) {
  return s->unit_weights && s->addend == BL_STAGE_NONE && s->input >= 0 &&
         s->window.kernel_h == 1 && s->window.kernel_w == 1 && s->function == NULL;
}

// Copies and maxima: nothing is computed.
static bool only_moves(const bl_stage *s) {
  return takes_pixels(s) && s->post_count == 0;
}

// Does a sum read it, and no product?
static bool is_carried(const bl_lowered *l, int32_t stage) {
  bool summed = false;
  for (uint32_t k = 0; k < l->stage_count && stage >= 0; k++) {
    const bl_stage *s = &l->stages[k];
    const bool chooses = s->unit_weights || s->weight_scale != NULL; // ones, or a one in each row
    if (s->input == stage && !chooses && s->part_count == 0) return false;
    summed = summed || s->addend == stage ||
             (s->input == stage && s->part_count == 0 && s->addend != BL_STAGE_NONE);
  }
  return summed;
}

// Who has an entry's product_bits: the copy of a stage that a sum takes (bl_rewrite_skips); NULL:
// nobody.
static bl_stage *read_by_products(const planning *p, bl_stage *s) {
  const int32_t at = (int32_t)(s - p->lowered->stages);
  if (!p->skips || !is_carried(p->lowered, at)) return s;
  for (int32_t k = 0; k < (int32_t)p->lowered->stage_count; k++) {
    bl_stage *copy = &p->lowered->stages[k];
    if (copy->input == at && copy->part_count == 0 && takes_pixels(copy) &&
        !is_carried(p->lowered, k))
      return copy;
  }
  return NULL;
}

static bl_status take_activation(const planning *p, bl_stage *s) {
  const unsigned products = p->entry->product_bits;
  const unsigned bits = products > 0 ? products : p->entry->activation_bits;
  if (products > 0) s = read_by_products(p, s);
  if (bits == 0 || s == NULL) return BL_OK;
  if (s->quantised || s->dynamic)
    return bl_fail(p->err, BL_ERR_USAGE, "plan: layer %s: the graph fixes its integers",
                   p->entry->layer);
  s->activation_bits = bits;
  if (s->closes_up) p->lowered->stages[s->input].activation_bits = bits;
  return BL_OK;
}

static bl_status take_entry(const planning *p) {
  const bl_node *node = find_node(p);
  if (node == NULL) return no_layer(p);
  BL_TRY(check(p));
  bl_stage *s = &p->lowered->stages[p->lowered->stage_of[node->outputs[0]]];
  BL_TRY(take_weights(p, node, s));
  return take_activation(p, s);
}

// Bits of a stage that no entry names; those in front of it are known.
static void follow(bl_lowered *l, uint32_t at, const bl_layer_default *others) {
  bl_stage *s = &l->stages[at];
  const bool skips = others->skip_bits > 0;
  if (s->activation_bits == 0 && skips && is_carried(l, (int32_t)at))
    s->activation_bits = others->skip_bits;
  if (s->activation_bits == 0 && s->part_count > 0)
    for (uint32_t k = 0; k < s->part_count; k++) {
      const unsigned part = l->stages[s->parts[k]].activation_bits;
      if (part > s->activation_bits) s->activation_bits = part;
    }
  if (s->activation_bits == 0 && only_moves(s) && !(skips && is_carried(l, s->input)))
    s->activation_bits = l->stages[s->input].activation_bits;
  if (s->activation_bits == 0) s->activation_bits = others->activation_bits;
  for (uint32_t k = 0; k < s->part_count; k++) {
    bl_stage *part = &l->stages[s->parts[k]];
    part->activation_bits = s->activation_bits;
    if (part->ties_input) l->stages[part->input].activation_bits = s->activation_bits;
  }
}

bl_status bl_layer_plan_apply(const bl_layer_plan *plan, uint32_t count,
                              const bl_layer_default *others, const bl_float_graph *graph,
                              bl_lowered *lowered, bl_error *err) {
  for (uint32_t k = 0; k < lowered->stage_count; k++) {
    bl_stage *s = &lowered->stages[k];
    s->weight_bits = others->codebook != NULL ? others->codebook->format.bits : others->weight_bits;
    s->activation_bits = 0;
    s->channel_bits = NULL;
    s->codebook = others->codebook;
  }
  for (uint32_t k = 0; k < count; k++) {
    const planning p = {&plan[k], graph, lowered, others->skip_bits > 0, err};
    BL_TRY(take_entry(&p));
  }
  for (uint32_t k = 0; k < lowered->stage_count; k++)
    follow(lowered, k, others);
  return BL_OK;
}
