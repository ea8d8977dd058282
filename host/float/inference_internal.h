// SPDX-License-Identifier: Apache-2.0
// What the parts of inference share: views of values, steps.
#ifndef BITLOOM_HOST_FLOAT_INFERENCE_INTERNAL_H
#define BITLOOM_HOST_FLOAT_INFERENCE_INTERNAL_H

#include <oneapi/dnnl/dnnl.h>

#include "host/float/eval.h"
#include "host/float/inference.h"

// A value in one memory format.
typedef struct bl_inf_view {
  dnnl_memory_desc_t md;
  dnnl_memory_t memory;
  float *data;
  bool own; // nothing else lies in this memory, and every run writes all of it
  struct bl_inf_view *next;
} bl_inf_view;

enum { BL_INF_ARGS = 5 };

typedef struct {
  dnnl_primitive_t primitive; // NULL: node `node` by bl_float_eval
  dnnl_exec_arg_t args[BL_INF_ARGS];
  int arg_count;
  uint32_t node;
} bl_inf_step;

// What a convolution takes along, ending in node `end`.
typedef struct {
  const bl_node *norm, *addition, *activation; // NULL: none
  int32_t other;                               // the addition's other operand
  uint32_t end;
} bl_inf_chain;

struct bl_float_inference {
  const bl_float_graph *graph; // planned: that of the caller, or `part`
  bl_float_graph *part;        // a copy for few images, `parts` times; NULL: all at once
  size_t parts;
  float **inputs, **outputs; // of all images
  bl_arena *arena;
  bl_float_engine *eval;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  bl_value *values;      // [value_count] for bl_float_eval
  bl_inf_view **views;   // [value_count], the first is that of its producer
  bl_inf_chain **chains; // [node_count] of convolutions
  int32_t *carried_by;   // [node_count] the convolution that ends here or takes this along; -1
  uint32_t *last_use;    // [value_count] the step's node; UINT32_MAX: an output
  bl_inf_step *steps;
  uint32_t step_count, step_room;
  void **primitives, **memories; // to be destroyed
  uint32_t primitive_count, memory_count, keep_room;
  bl_error *err;
};

// All of these give false (or NULL) where oneDNN or the arena has no more; the caller says so.
dnnl_memory_desc_t bl_inf_plain(uint32_t rank, const int64_t *dims);
// A view of `value` on `data` (NULL: memory of its own), put first where `first`.
bl_inf_view *bl_inf_add_view(bl_float_inference *f, int32_t value, const dnnl_memory_desc_t *md,
                             float *data, bool first);
// The value in a format: one that is there, or a reorder into a new one, at this place of the list.
bl_inf_view *bl_inf_view_as(bl_float_inference *f, int32_t value, const dnnl_memory_desc_t *md);
bl_inf_view *bl_inf_plain_view(bl_float_inference *f, int32_t value);
bl_inf_step *bl_inf_step_of(bl_float_inference *f, dnnl_primitive_t primitive);
void bl_inf_arg(bl_inf_step *step, int role, dnnl_memory_t memory);
// A primitive that inference destroys.
bool bl_inf_primitive(bl_float_inference *f, const_dnnl_primitive_desc_t pd,
                      dnnl_primitive_t *primitive);
// A step that copies between formats.
bool bl_inf_move(bl_float_inference *f, const bl_inf_view *from, const bl_inf_view *to);
bl_inf_view *bl_inf_memory(bl_float_inference *f, const dnnl_memory_desc_t *md, float *data);

// Fills chains, carried_by and last_use. False: no memory.
bool bl_inf_find_chains(bl_float_inference *f);
// The steps of a node; *done is false where it is none for oneDNN. False: as above.
bool bl_inf_convolution(bl_float_inference *f, const bl_node *node, const bl_inf_chain *chain);
bool bl_inf_other(bl_float_inference *f, const bl_node *node, bool *done);

#endif
