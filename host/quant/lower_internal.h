// SPDX-License-Identifier: Apache-2.0
// What the rules of lowering share; see lower.h. A rule sees one node whose data operands have
// views, and gives its first output a view.
#ifndef BITLOOM_HOST_QUANT_LOWER_INTERNAL_H
#define BITLOOM_HOST_QUANT_LOWER_INTERNAL_H

#include "host/quant/lower.h"

typedef enum { BL_ORDER_NCHW, BL_ORDER_NHWC } bl_order;

// How a float value shows a stage's output: its axes, and zero padding still to be applied.
typedef struct {
  bool known;
  int32_t producer; // stage or BL_STAGE_INPUT
  bl_order order;   // of a rank-4 value; of what was flattened in a rank-2 one
  uint32_t h, w, c;
  uint32_t pad[4]; // top, left, bottom, right
  bool up;         // h and w are twice the stage's, each pixel 2 x 2 times
  bool shared;     // another value that shows the stage has other consumers
  // Integer graphs. A view stands for real values; where the graph's value is what a node made of
  // them, that node: QuantizeLinear and the like for integers, DynamicQuantizeLinear for a sum of
  // integers that still lacks its scale.
  const bl_node *integers, *lacks;
  // No data: the scale that node `scale_of` finds, times `factor` (NULL: 1).
  const bl_node *scale_of;
  const bl_value *factor;
} bl_view;

// What a value is to functions of one number, see lower_function.c.
typedef struct {
  int32_t base;  // the value that it is a function of, perhaps itself; -1: not of data
  bool curved;   // no straight line with clamps
  bool absorbed; // only functions of the same base read it
  bool read;     // by some node
} bl_lower_function_state;

typedef struct {
  const bl_float_graph *graph;
  const bl_float_session *session;
  bl_lowered *out;
  bl_view *views;                     // [value_count]
  uint32_t *consumers;                // [value_count], functions counted as readers of their base
  bl_lower_function_state *functions; // [value_count]
  const bl_node *node;                // the one being lowered
  const bl_lower_options *options;
  bl_error *err;
} bl_lowering;

// UNSUPPORTED with the node's name and operator.
bl_status bl_lower_refuse(const bl_lowering *l, const char *what);
bl_status bl_lower_no_memory(const bl_lowering *l);
// The view of operand `k`; NULL where it is absent or does not depend on the network's input.
const bl_view *bl_lower_view(const bl_lowering *l, uint32_t k);
bl_view *bl_lower_view_out(const bl_lowering *l);
// The value of operand `k`, NULL where absent; its data is there where it has no view.
const bl_value *bl_lower_value(const bl_lowering *l, uint32_t k);
// The stage behind a view, NULL for the network's input.
bl_stage *bl_lower_stage(const bl_lowering *l, const bl_view *v);

// A stage for the node that reads `in`: one tap, no weights yet.
bl_stage *bl_lower_new(bl_lowering *l, const bl_view *in);
// Takes kernel, stride, dilation and padding from the node's attributes.
bl_status bl_lower_window(bl_lowering *l, bl_stage *s, const bl_view *in);
// The node's output is the stage's.
void bl_lower_show(bl_lowering *l, const bl_stage *s, bl_order axes);
bl_status bl_lower_unit_weights(bl_lowering *l, bl_stage *s);
// A stage that copies its input, channel by channel, so that something can be done to it.
bl_status bl_lower_copy(bl_lowering *l, const bl_view *in, bl_stage **stage);
bl_status bl_lower_post(bl_lowering *l, bl_stage *s, bl_post post);
// `count` (1 or the channels) floats as doubles for each channel, times `factor`; NULL: no memory.
double *bl_lower_channels(bl_lowering *l, const float *f, size_t count, uint32_t channels,
                          double factor);
// The stage that an element-wise operation on operand `k` may be added to; a copy where the stage's
// output is also used as it is, or where its integers are already fixed. The node's output is its.
bl_status bl_lower_open(bl_lowering *l, uint32_t k, bool monotone, bl_stage **stage);

// Does anything but this node read what operand `k` shows?
bool bl_lower_shared(const bl_lowering *l, uint32_t k);
// True where a constant operand has one number, or one for each channel along the channel axis.
bool bl_lower_per_channel(const bl_lowering *l, const bl_view *in, const bl_value *c);

// ---- Integer graphs
// The real weights of a product node in the file's order and, where the graph fixes their integers,
// the scale of each of `channels` output channels (else NULL) and their format.
typedef struct {
  const float *f;
  double *scale;
  bl_format format;
} bl_lower_weights;
bl_status bl_lower_take_weights(bl_lowering *l, uint32_t channels, bool channels_last,
                                bl_lower_weights *weights);
// The quantiser of the stage or input behind a view, NULL where the graph does not fix it.
const bl_quantiser *bl_lower_quantiser_of(const bl_lowering *l, const bl_view *v);
// Checks that operand 0 holds integers of that scale (NULL: any) and zero point (NULL: 0).
bl_status bl_lower_same_integers(const bl_lowering *l, const bl_value *scale, const bl_value *zero);
// Fixes a stage's integers: 8 bits of the zero point's type, the nearest integer.
bl_status bl_lower_fix_linear(bl_lowering *l, bl_stage *s, const bl_value *scale,
                              const bl_value *zero);
// Checks that operand 0 has the integers that a product node works on.
bl_status bl_lower_product_input(bl_lowering *l);
// What follows the sums of a product node over integers: its bias, scales and quantiser. The node's
// output shows the stage already.
bl_status bl_lower_product_output(bl_lowering *l, bl_stage *s);
// A product of a sum and its scales. *done is false where the node has no such operand.
bl_status bl_lower_scale(bl_lowering *l, bool *done);
// Makes a copy choose its channels: the n-th is input channel from[n], zeros where there is no
// such.
bl_status bl_lower_select(bl_lowering *l, bl_stage *copy, uint32_t channels, const uint32_t *from);
bool bl_lower_same_quantiser(const bl_quantiser *a, const bl_quantiser *b);
// Fixes a stage's integers as those of another one.
void bl_lower_quantise_as(bl_stage *stage, const bl_stage *from);
// Where operand 0 is a concatenation that only this node reads and whose integers are not fixed:
// its stage, the node's output being that; else NULL. What is to be done goes to every part: a
// quantiser `q`, or (NULL) an element-wise operation.
bl_stage *bl_lower_open_parts(bl_lowering *l, const bl_quantiser *q);
// Finds the functions in a graph and counts consumers; called before the walk.
bl_status bl_lower_find_functions(bl_lowering *l);
// The rule for a node whose output is the end of a function.
bl_status bl_lower_table(bl_lowering *l);
// Where operand 0 comes from a table that only this node reads, may the table give the integers of
// quantiser `q`? Then the node's output is its stage's.
bool bl_lower_open_table(bl_lowering *l, const bl_quantiser *q);

// A Clip with two constant bounds?
bool bl_lower_bounds(const bl_float_graph *graph, const bl_float_session *session,
                     const bl_node *node, double *lo, double *hi);
// Is the node a Clip of the network's input that only its quantiser reads, and belongs to that?
bool bl_lower_clips_input(const bl_lowering *l);

// The rules.
bl_status bl_lower_conv(bl_lowering *l);
bl_status bl_lower_product(bl_lowering *l);
bl_status bl_lower_average(bl_lowering *l);
bl_status bl_lower_binary(bl_lowering *l);
bl_status bl_lower_norm(bl_lowering *l);
bl_status bl_lower_clamp(bl_lowering *l);
bl_status bl_lower_max_pool(bl_lowering *l);
bl_status bl_lower_quantiser(bl_lowering *l);
bl_status bl_lower_linear_quantiser(bl_lowering *l);
bl_status bl_lower_dequantiser(bl_lowering *l);
bl_status bl_lower_dynamic_quantiser(bl_lowering *l);
bl_status bl_lower_trunc(bl_lowering *l);
bl_status bl_lower_thresholds(bl_lowering *l);
bl_status bl_lower_transpose(bl_lowering *l);
bl_status bl_lower_reshape(bl_lowering *l);
bl_status bl_lower_slice(bl_lowering *l);
bl_status bl_lower_gather(bl_lowering *l);
bl_status bl_lower_concat(bl_lowering *l);
bl_status bl_lower_resize(bl_lowering *l);
bl_status bl_lower_pad(bl_lowering *l);

#endif
