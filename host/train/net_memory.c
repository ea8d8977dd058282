// SPDX-License-Identifier: Apache-2.0
// Which arrays stand where. A gradient is needed from the last step that reads its array back to
// the step that makes it; in a frozen net, data from the step that makes them to the last that
// reads them. What is not needed at the same time shares memory, which stays in the caches.
#include "host/train/net_internal.h"

typedef struct {
  float *data;
  size_t size; // in bytes
  bool taken;
} buffer;

typedef struct {
  bl_train_net *net;
  buffer *buffers; // the newest last; room for one an array
  uint32_t count;
} places;

// The smallest free buffer that is large enough, of equal ones the newest; else a new one.
static float *take(places *p, size_t size) {
  buffer *best = NULL;
  for (uint32_t k = 0; k < p->count; k++) {
    buffer *b = &p->buffers[k];
    if (!b->taken && b->size >= size && (best == NULL || b->size <= best->size)) best = b;
  }
  if (best == NULL) {
    best = &p->buffers[p->count++];
    *best = (buffer){bl_arena_alloc(p->net->arena, size, 1), size, false};
  }
  best->taken = true;
  return best->data;
}

// Nothing where it was not taken.
static void release(places *p, const float *data) {
  for (uint32_t k = 0; k < p->count; k++)
    if (p->buffers[k].data == data) p->buffers[k].taken = false;
}

static bool place_data(bl_slot *slot, float *data) {
  slot->data = data;
  return data != NULL && dnnl_memory_set_data_handle(slot->memory, data) == dnnl_success;
}

static bool place_gradient(bl_slot *slot, float *data) {
  slot->grad = data;
  return data != NULL && dnnl_memory_set_data_handle(slot->grad_memory, data) == dnnl_success;
}

static size_t size_of(const bl_slot *slot) {
  return dnnl_memory_desc_get_size(&slot->md);
}

static float *own(const bl_train_net *net, const bl_slot *slot) {
  return bl_arena_alloc(net->arena, size_of(slot), 1);
}

// ---- Data

// One of its own for all, but in a frozen net, whose steps are followed.
static bool place_all_data(places *p) {
  bl_train_net *net = p->net;
  bool ok = true;
  for (uint32_t n = 0; n < net->step_count; n++)
    for (uint32_t k = 0; k < net->steps[n]->input_count; k++)
      if (net->steps[n]->inputs[k] != NULL) net->steps[n]->inputs[k]->readers++;
  for (uint32_t k = 0; ok && k < net->graph->input_count; k++)
    ok = place_data(net->inputs[k], own(net, net->inputs[k]));
  for (uint32_t k = 0; ok && k < net->output_count; k++)
    ok = place_data(net->outputs[k], own(net, net->outputs[k]));
  for (uint32_t n = 0; ok && n < net->step_count; n++) {
    const bl_step *step = net->steps[n];
    bl_slot *out = step->output;
    if (out->data == NULL)
      ok = place_data(out, net->options.frozen ? take(p, size_of(out)) : own(net, out));
    for (uint32_t k = 0; k < step->input_count; k++)
      if (step->inputs[k] != NULL && --step->inputs[k]->readers == 0)
        release(p, step->inputs[k]->data);
    if (out->readers == 0) release(p, out->data);
  }
  return ok;
}

// ---- Gradients

// The last step that reads an array writes its gradient, the ones before it add theirs.
static bool place_edge(places *p, bl_slot *slot, bl_edge *edge) {
  edge->add = slot->grad_started;
  slot->grad_started = true;
  if (slot->grad == NULL && !place_gradient(slot, take(p, size_of(slot)))) return false;
  edge->data = slot->grad;
  edge->memory = slot->grad_memory;
  if (!edge->add) return true;
  edge->data = take(p, size_of(slot));
  return edge->data != NULL && bl_dnn_memory(p->net, &slot->md, edge->data, &edge->memory);
}

static bool place_gradients(places *p) {
  bl_train_net *net = p->net;
  bool ok = true;
  for (uint32_t k = 0; ok && k < net->graph->input_count; k++)
    if (net->inputs[k]->needs_grad) ok = place_gradient(net->inputs[k], own(net, net->inputs[k]));
  for (uint32_t k = 0; ok && k < net->output_count; k++)
    if (net->outputs[k]->needs_grad)
      ok = place_gradient(net->outputs[k], own(net, net->outputs[k]));
  for (uint32_t n = net->step_count; ok && n-- > 0;) {
    bl_step *step = net->steps[n];
    bl_slot *out = step->output;
    if (out->needs_grad && out->grad == NULL) ok = place_gradient(out, own(net, out)); // stays 0
    for (uint32_t k = 0; ok && k < step->input_count; k++)
      if (step->inputs[k] != NULL && step->inputs[k]->needs_grad)
        ok = place_edge(p, step->inputs[k], &step->edges[k]);
    for (uint32_t k = 0; k < step->input_count; k++)
      if (step->edges[k].add) release(p, step->edges[k].data);
    if (out->needs_grad) release(p, out->grad);
  }
  return ok;
}

static bool place_scratch(bl_train_net *net) {
  bool ok = true;
  for (int k = 0; ok && k < BL_SCRATCH_KINDS; k++) {
    const bl_scratch_list *list = &net->scratch[k];
    float *data = bl_arena_alloc(net->arena, list->size + 1, 1);
    ok = data != NULL;
    for (size_t m = 0; ok && m < list->memories.count; m++)
      ok = dnnl_memory_set_data_handle(list->memories.items[m], data) == dnnl_success;
  }
  return ok;
}

bl_status bl_net_place(bl_train_net *net, bl_error *err) {
  uint32_t most = net->step_count;
  for (uint32_t n = 0; n < net->step_count; n++)
    most += net->steps[n]->input_count;
  places p = {net, bl_arena_alloc(net->arena, most + 1u, sizeof(buffer)), 0};
  if (p.buffers != NULL && place_all_data(&p)) {
    places back = {net, bl_arena_alloc(net->arena, 2 * (most + 1u), sizeof(buffer)), 0};
    if (back.buffers != NULL && place_gradients(&back) && place_scratch(net)) return BL_OK;
  }
  return bl_net_memory(net, err);
}
