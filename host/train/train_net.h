// SPDX-License-Identifier: Apache-2.0
// A float graph made ready for training: forward and backward through its operators on oneDNN.
//
// The graph becomes a plan of steps. Each step picks the memory format that oneDNN runs fastest in
// (format "any"); where two formats meet stands one reorder, shared by all who need it. Weights
// live in plain row-major order, are what optimisers, check-points and exports see, and are
// reordered once a step. Everything is allocated when the plan is made.
//
// Between a value and its consumers a transform may stand (fake quantisation, pruning masks,
// shared weights): code of the caller's with a forward, a backward, and numbers that are learned.
//
// Determinism: the same calls on the same graph with the same number of threads (OMP_NUM_THREADS)
// on the same kind of processor give the same bits.
#ifndef BITLOOM_HOST_TRAIN_TRAIN_NET_H
#define BITLOOM_HOST_TRAIN_TRAIN_NET_H

#include "host/graph/float_graph.h"

typedef struct bl_train_net bl_train_net;

// What a transform gets. Arrays have `count` elements; their order is row-major, or, for a
// transform with any_order, the same unspecified one in all of them.
typedef struct {
  const char *value; // name
  uint32_t rank;
  const int64_t *dims;
  size_t count;
  bool training;
  const float *x;          // the value
  float *y;                // forward: to be written
  const float *dy;         // backward: gradient of y
  float *dx;               // backward: to be written; NULL where nobody needs it
  const float *parameters; // the learned numbers
  float *gradients;        // backward: theirs, to be written; NULL where nothing learns
} bl_train_transform_data;

typedef bl_status (*bl_train_transform_call)(void *user, const bl_train_transform_data *data,
                                             bl_error *err);

typedef struct {
  const char *name; // for messages and check-points; unique
  int32_t value;    // the graph's value that it stands behind: a weight or data
  int32_t node;     // the consumer that sees the result; -1: all of them
  bool any_order;   // works element by element, so that no reorder is needed
  void *user;
  bl_train_transform_call forward, backward; // same x in both
  uint32_t parameter_count;                  // learned numbers, such as a step size
  const float *parameters;                   // their first values
} bl_train_transform;

typedef struct {
  const int32_t *outputs; // values to be read, and given gradients; none: bl_train_logits
  uint32_t output_count;
  const bl_train_transform *transforms; // in order, where several stand behind one value
  uint32_t transform_count;
  bool frozen;          // nothing learns and no gradients are kept: a teacher
  bool input_gradients; // gradients of the graph's inputs too
  bool bf16; // convolutions multiply bfloat16, where the processor does (bl_train_has_bf16)
  bool fixed_statistics; // batch norms use their running statistics in training, too
  uint64_t seed;         // of dropout
} bl_train_options;

typedef enum {
  BL_TRAIN_WEIGHT,
  BL_TRAIN_BIAS,  // and a batch norm's beta
  BL_TRAIN_SCALE, // a batch norm's gamma
  BL_TRAIN_MEAN,  // running statistics: kept with the others, never stepped
  BL_TRAIN_VARIANCE,
  BL_TRAIN_LEARNED // a transform's
} bl_train_kind;

// Numbers that training changes. `rate`, `decay` and `mask` are the caller's to change.
typedef struct {
  const char *name;  // of the value or transform
  const char *layer; // node that uses it first
  bl_train_kind kind;
  int32_t value; // in the graph; -1: a transform's
  size_t count;
  size_t fan_in, fan_out; // of weights: inputs and outputs that one of its numbers joins
  float *data, *gradient; // row-major; gradient NULL for statistics
  bool decay;             // weight decay applies: true for weights only
  float rate;             // factor on the learning rate, 1; 0 freezes it
  const uint8_t *mask;    // NULL, or count bytes: where 0, the number is held at 0
} bl_train_parameter;

// Threads for everything from here on, in this thread (0: one); OMP_NUM_THREADS, or all processors,
// where it is never called. Part of what decides about the bits of a result.
void bl_train_threads(uint32_t threads);
// Does the processor multiply bfloat16 (AVX512_BF16 or AMX)? Where it does not, bf16 changes
// nothing.
bool bl_train_has_bf16(void);
// Does the net?
bool bl_train_bf16(const bl_train_net *net);
// The value a loss from logits starts at: the graph's first output, or what a final Softmax or
// Sigmoid reads.
int32_t bl_train_logits(const bl_float_graph *graph);
// Plans the graph with the batch that it was imported with. The graph, and what the options point
// to, must outlive the net; nothing of them is changed. `options` may be NULL. Errors: UNSUPPORTED
// names the node that has no backward, USAGE for a transform behind nothing, MEMORY.
BL_MUST_USE bl_status bl_train_open(const bl_float_graph *graph, const bl_train_options *options,
                                    bl_train_net **net, bl_error *err);
void bl_train_close(bl_train_net *net);

const bl_float_graph *bl_train_graph(const bl_train_net *net);
// Samples of a batch: the first dimension of the graph's first input.
size_t bl_train_batch_size(const bl_train_net *net);
// Where the caller writes graph input `k`, row-major.
float *bl_train_input(bl_train_net *net, uint32_t k);
// After a backward, where input_gradients was set; NULL otherwise.
const float *bl_train_input_gradient(const bl_train_net *net, uint32_t k);
// Runs every step. training: batch statistics, dropout by `step` (its mask is a function of seed,
// step, node and element), running statistics move. Errors: UNSUPPORTED, those of transforms.
BL_MUST_USE bl_status bl_train_forward(bl_train_net *net, bool training, uint64_t step,
                                       bl_error *err);
// Batch norms use their running statistics in training, too, from now on, or not.
void bl_train_fix_statistics(bl_train_net *net, bool fixed);
// Output `k`, row-major, of values[outputs[k]].count elements; its gradient is the caller's to
// write before a backward, all of it and that of all outputs.
const float *bl_train_output(const bl_train_net *net, uint32_t k);
float *bl_train_output_gradient(bl_train_net *net, uint32_t k);
size_t bl_train_output_count(const bl_train_net *net, uint32_t k);
// Gradients of all parameters from those of the outputs, for the last forward, which must have
// been in training. Overwrites gradients. Errors: UNSUPPORTED, those of transforms.
BL_MUST_USE bl_status bl_train_backward(bl_train_net *net, bl_error *err);

// In the order in which nodes use them.
bl_train_parameter *bl_train_parameters(bl_train_net *net, uint32_t *count);
// Writes parameters into the constants of the same names of a graph: the one that the net was
// opened with, or another import of the same file. Errors: MISMATCH where one is not there.
BL_MUST_USE bl_status bl_train_store(const bl_train_net *net, bl_float_graph *graph, bl_error *err);
// The layer whose output is the first that is not finite after a forward; NULL: none.
const char *bl_train_not_finite(const bl_train_net *net);
// Bytes that the net has allocated.
size_t bl_train_bytes(const bl_train_net *net);

#endif
