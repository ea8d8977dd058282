// SPDX-License-Identifier: Apache-2.0
// oneDNN objects that live as long as the net.
#include <stdlib.h>

#include "host/train/net_internal.h"

static bool keep(bl_keeper *keeper, void *item) {
  if (keeper->count == keeper->room) {
    size_t room = keeper->room == 0 ? 64 : 2 * keeper->room;
    void **items = realloc(keeper->items, room * sizeof *items);
    if (items == NULL) return false;
    keeper->items = items;
    keeper->room = room;
  }
  keeper->items[keeper->count++] = item;
  return true;
}

static bool keep_primitive(bl_train_net *net, const_dnnl_primitive_desc_t pd,
                           dnnl_primitive_t *primitive) {
  if (dnnl_primitive_create(primitive, pd) != dnnl_success) return false;
  if (keep(&net->primitives, *primitive)) return true;
  (void)dnnl_primitive_destroy(*primitive);
  return false;
}

bool bl_dnn_primitive(bl_train_net *net, const_dnnl_op_desc_t desc,
                      const_dnnl_primitive_desc_t hint, dnnl_primitive_t *primitive,
                      const_dnnl_primitive_desc_t *pd) {
  dnnl_primitive_desc_t made;
  if (dnnl_primitive_desc_create(&made, desc, NULL, net->engine, hint) != dnnl_success)
    return false;
  bool ok = keep_primitive(net, made, primitive);
  (void)dnnl_primitive_desc_destroy(made);
  return ok && (pd == NULL || dnnl_primitive_get_primitive_desc(*primitive, pd) == dnnl_success);
}

bool bl_dnn_memory(bl_train_net *net, const dnnl_memory_desc_t *md, float *data,
                   dnnl_memory_t *memory) {
  if (dnnl_memory_create(memory, md, net->engine, data) != dnnl_success) return false;
  if (keep(&net->memories, *memory)) return true;
  (void)dnnl_memory_destroy(*memory);
  return false;
}

bool bl_dnn_buffer(bl_train_net *net, const dnnl_memory_desc_t *md, dnnl_memory_t *memory) {
  float *data = bl_arena_alloc(net->arena, dnnl_memory_desc_get_size(md), 1);
  return data != NULL && bl_dnn_memory(net, md, data, memory);
}

bool bl_dnn_scratch(bl_train_net *net, const dnnl_memory_desc_t *md, bl_scratch kind,
                    dnnl_memory_t *memory) {
  bl_scratch_list *list = &net->scratch[kind];
  const size_t size = dnnl_memory_desc_get_size(md);
  if (size > list->size) list->size = size;
  return bl_dnn_memory(net, md, DNNL_MEMORY_NONE, memory) && keep(&list->memories, *memory);
}

bool bl_dnn_reorder(bl_train_net *net, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                    dnnl_primitive_t *primitive) {
  dnnl_primitive_desc_t made;
  if (dnnl_reorder_primitive_desc_create(&made, from, net->engine, to, net->engine, NULL) !=
      dnnl_success)
    return false;
  bool ok = keep_primitive(net, made, primitive);
  (void)dnnl_primitive_desc_destroy(made);
  return ok;
}

const dnnl_memory_desc_t *bl_dnn_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what) {
  return dnnl_primitive_desc_query_md(pd, what, 0);
}

bl_status bl_dnn_run(bl_train_net *net, const bl_step *step, dnnl_primitive_t primitive,
                     const dnnl_exec_arg_t *args, int count, bl_error *err) {
  if (dnnl_primitive_execute(primitive, net->stream, count, args) == dnnl_success) return BL_OK;
  return bl_fail(err, BL_ERR_UNSUPPORTED, "training: %s: oneDNN failed",
                 step->node != NULL ? step->node->name : step->output->value->name);
}

bl_status bl_dnn_move(bl_train_net *net, const bl_step *step, dnnl_primitive_t reorder,
                      dnnl_memory_t from, dnnl_memory_t to, bl_error *err) {
  dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  return bl_dnn_run(net, step, reorder, args, 2, err);
}
