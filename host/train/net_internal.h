// SPDX-License-Identifier: Apache-2.0
// What the plan and its kernels share: slots (arrays with a memory format), steps, oneDNN.
#ifndef BITLOOM_HOST_TRAIN_NET_INTERNAL_H
#define BITLOOM_HOST_TRAIN_NET_INTERNAL_H

#include <oneapi/dnnl/dnnl.h>

#include "host/train/train_net.h"

// An array in some memory format. Its gradient has the same format. Those of constants have memory
// from the beginning, the others from bl_net_place on.
typedef struct bl_slot {
  const bl_value *value; // name and logical shape
  dnnl_memory_desc_t md;
  bool plain;        // row-major without padding
  bool needs_grad;   // somebody before it learns
  bool grad_started; // planning: a later step already writes its gradient
  uint32_t readers;  // planning: steps that have yet to read it
  float *data, *grad;
  dnnl_memory_t memory, grad_memory;
  struct bl_slot *next_view; // the same array in other formats
} bl_slot;

// Where a step's backward writes the gradient of one of its inputs.
typedef struct {
  float *data; // NULL: not needed
  dnnl_memory_t memory;
  bool add; // to be added to the slot's gradient afterwards
} bl_edge;

typedef struct bl_step bl_step;

typedef struct {
  bl_status (*forward)(bl_train_net *net, bl_step *step, bl_error *err);
  bl_status (*backward)(bl_train_net *net, bl_step *step, bl_error *err);
} bl_kernel;

struct bl_step {
  const bl_kernel *kernel;
  const bl_node *node; // NULL: a reorder, a copy, a transform
  uint32_t input_count;
  bl_slot **inputs; // NULL: absent
  bl_edge *edges;   // [input_count]
  bl_slot *output;
  void *state;
};

typedef struct {
  void **items;
  size_t count, room;
} bl_keeper;

// Buffers that a step fills and needs no more behind itself: one memory for all of a kind.
typedef enum {
  BL_SCRATCH_OPERAND,
  BL_SCRATCH_OTHER,
  BL_SCRATCH_KINDS,
  BL_SCRATCH_NONE = BL_SCRATCH_KINDS // no scratch: a buffer of its own, that keeps what it has
} bl_scratch;

typedef struct {
  bl_keeper memories;
  size_t size; // of the largest, in bytes
} bl_scratch_list;

struct bl_train_net {
  const bl_float_graph *graph;
  bl_train_options options;
  bl_arena *arena;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  bl_keeper primitives, memories; // destroyed at the end
  bl_scratch_list scratch[BL_SCRATCH_KINDS];
  bl_slot **slots;      // [value_count] as made, transforms left out
  bool *transformed;    // [transform_count] it stands in the plan
  bl_train_kind *kinds; // [value_count] of constants that learn
  bool *learns;         // [value_count]
  bl_step **steps;
  uint32_t step_count, step_room;
  bl_train_parameter *parameters;
  uint32_t parameter_count, parameter_room;
  bl_slot **inputs, **outputs;
  uint32_t output_count;
  bool training;
  uint64_t step; // number given with the last forward
};

// ---- Planning
BL_MUST_USE bl_status bl_net_memory(bl_train_net *net, bl_error *err); // "no memory"
bl_status bl_net_node_fail(const bl_node *node, bl_status status, const char *what, bl_error *err);
// Row-major descriptor of a shape; rank 0 becomes one element.
dnnl_memory_desc_t bl_net_plain_md(uint32_t rank, const int64_t *dims);
// A new slot; that of a constant with memory for data and, where needs_grad, gradient.
BL_MUST_USE bl_status bl_net_slot(bl_train_net *net, const bl_value *value,
                                  const dnnl_memory_desc_t *md, bool needs_grad, bl_slot **slot,
                                  bl_error *err);
// Appends a step that makes `output` from `count` inputs.
BL_MUST_USE bl_status bl_net_step(bl_train_net *net, const bl_kernel *kernel, const bl_node *node,
                                  bl_slot *const *inputs, uint32_t count, bl_slot *output,
                                  void *state, bl_error *err);
// The slot in another format: itself, or one behind a reorder.
BL_MUST_USE bl_status bl_net_view(bl_train_net *net, bl_slot *slot, const dnnl_memory_desc_t *md,
                                  bl_slot **view, bl_error *err);
BL_MUST_USE bl_status bl_net_plain(bl_train_net *net, bl_slot *slot, bl_slot **view, bl_error *err);
// What input `k` of a node reads, behind its transforms; NULL where absent.
BL_MUST_USE bl_status bl_net_input(bl_train_net *net, const bl_node *node, uint32_t k,
                                   bl_slot **slot, bl_error *err);
// The same in row-major order.
BL_MUST_USE bl_status bl_net_plain_input(bl_train_net *net, const bl_node *node, uint32_t k,
                                         bl_slot **slot, bl_error *err);
// A slot for output 0 of a node, and the step that makes it.
BL_MUST_USE bl_status bl_net_output(bl_train_net *net, const bl_kernel *kernel, const bl_node *node,
                                    bl_slot *const *inputs, uint32_t count,
                                    const dnnl_memory_desc_t *md, void *state, bl_error *err);
// Behind the last step: where steps write gradients, and memory for everything. What nobody needs
// at the same time shares it: gradients, scratch, and all data of a frozen net.
BL_MUST_USE bl_status bl_net_place(bl_train_net *net, bl_error *err);
// No padding in its format: element-wise work may run over it in storage order.
bool bl_slot_dense(const bl_slot *slot);

// ---- oneDNN
// Makes a primitive that the net destroys; *pd too where it is not NULL.
bool bl_dnn_primitive(bl_train_net *net, const_dnnl_op_desc_t desc,
                      const_dnnl_primitive_desc_t hint, dnnl_primitive_t *primitive,
                      const_dnnl_primitive_desc_t *pd);
bool bl_dnn_memory(bl_train_net *net, const dnnl_memory_desc_t *md, float *data,
                   dnnl_memory_t *memory);
// A memory with an array of its own.
bool bl_dnn_buffer(bl_train_net *net, const dnnl_memory_desc_t *md, dnnl_memory_t *memory);
// A memory that gets its array with bl_net_place.
bool bl_dnn_scratch(bl_train_net *net, const dnnl_memory_desc_t *md, bl_scratch kind,
                    dnnl_memory_t *memory);
bool bl_dnn_reorder(bl_train_net *net, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                    dnnl_primitive_t *primitive);
const dnnl_memory_desc_t *bl_dnn_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what);
// Errors: UNSUPPORTED naming the step.
BL_MUST_USE bl_status bl_dnn_run(bl_train_net *net, const bl_step *step, dnnl_primitive_t primitive,
                                 const dnnl_exec_arg_t *args, int count, bl_error *err);
BL_MUST_USE bl_status bl_dnn_move(bl_train_net *net, const bl_step *step, dnnl_primitive_t reorder,
                                  dnnl_memory_t from, dnnl_memory_t to, bl_error *err);

// ---- Kernels: each plans one node
typedef bl_status (*bl_net_planner)(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_conv(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_gemm(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_matmul(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_batch_norm(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_unary(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_clip(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_binary(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_pool(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_copy(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_move(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_concat(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_softmax(bl_train_net *net, const bl_node *node, bl_error *err);
bl_status bl_plan_dropout(bl_train_net *net, const bl_node *node, bl_error *err);
BL_MUST_USE bl_status bl_plan_transform(bl_train_net *net, const bl_train_transform *transform,
                                        bl_slot *from, bl_slot **slot, bl_error *err);

// ---- Arrays
void bl_array_add(float *to, const float *from, size_t count); // to += from

#endif
