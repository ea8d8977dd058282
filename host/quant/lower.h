// SPDX-License-Identifier: Apache-2.0
// Lowering: a float graph becomes a list of stages, each one future integer layer: a convolution
// (fully connected and average pooling too), the element-wise operations after it, and a maximum
// pooling. What cannot be expressed so is refused with the node's name.
#ifndef BITLOOM_HOST_QUANT_LOWER_H
#define BITLOOM_HOST_QUANT_LOWER_H

#include "host/float/session.h"
#include "host/graph/int_graph.h"
#include "host/quant/codebook.h"
#include "host/quant/function.h"
#include "host/quant/observer.h"

enum { BL_STAGE_INPUT = -1, BL_STAGE_NONE = -2, BL_LOWER_MAX_POSTS = 16, BL_LOWER_MAX_PARTS = 16 };

// One element-wise operation on channel n: x*mul + add, as four double operations where `norm`:
// (x - a) / b * c + d; or a clamp.
typedef enum { BL_POST_MUL, BL_POST_DIV, BL_POST_ADD, BL_POST_NORM, BL_POST_CLAMP } bl_post_kind;

typedef struct {
  bl_post_kind kind;
  const double *a, *b, *c, *d; // [channels]; MUL, DIV, ADD: a; NORM: all four
  double lo, hi;               // CLAMP
} bl_post;

// A convolution of one tap that a sum takes as a second product.
typedef struct {
  float *weights;             // [out_c][in_c]
  const double *weight_scale; // [out_c] where the graph fixes its integers, else NULL
  uint32_t in_c, stride_h, stride_w;
  bl_post posts[BL_LOWER_MAX_POSTS]; // of its result, linear
  uint32_t post_count;
} bl_projection;

typedef struct {
  const char *name;
  int32_t input; // stage index or BL_STAGE_INPUT
  uint32_t in_h, in_w, in_c, conv_h, conv_w, out_h, out_w, out_c;
  bl_int_layer window;     // only its kernel, stride, dilation, padding, groups and pool fields
  float *weights;          // [out_c][kernel_h][kernel_w][in_c / groups]
  double *weight_scale;    // [out_c] where the graph fixes the weights' integers, else NULL
  bl_format weight_format; // of those
  bool unit_weights;       // all ones: average pooling or a copy
  bl_post posts[BL_LOWER_MAX_POSTS];
  uint32_t post_count;
  int32_t addend; // stage index or BL_STAGE_INPUT: added behind the first `addend_post` posts;
  uint32_t addend_post;            // BL_STAGE_NONE: nothing
  const bl_projection *projection; // what is added of it; NULL: itself
  // A concatenation of these stages' outputs along the channels; it is no layer.
  uint32_t part_count;
  uint32_t parts[BL_LOWER_MAX_PARTS];
  bool clamped, pooled;
  bool is_part; // of a concatenation
  bool
      ties_input; // a part that copies a stage only to fill tiles: that stage has its quantiser too
  bool closes_up; // leaves out the channels between a concatenation's parts
  bool dynamic;   // its range is the graph's to find for each input: 8 bits, with a zero point
  bool quantised; // the graph fixes the output's integers, by `quantiser`
  bool only_added; // and may be left out, see bl_lower
  bl_quantiser quantiser;
  double q_lo, q_hi; // its least and largest integer
  // The node whose rule gives the integer: Quant, BipolarQuant, Trunc or MultiThreshold, met for
  // every accumulator; else the nearest one, where the device rounds halves up.
  const bl_node *quant_node;
  int32_t value;      // the float value that the stage's output is
  bool channels_last; // of that value's axes
  // A table at the end (NULL: none) makes the output of an index; what the graph fixes of that:
  const bl_function *function;
  bool index_quantised;
  bl_quantiser index_quantiser;
  double index_lo, index_hi;
  const bl_node *index_node;
  int32_t index_value; // the float value that the index is
  // Set by bl_layer_plan_apply. Weights that the graph fixes, and ones, have none of these.
  unsigned weight_bits, activation_bits; // weight_bits is the most of channel_bits
  const uint8_t *channel_bits;           // [out_c]; NULL: weight_bits, all of them
  const bl_codebook *codebook;           // NULL: none
} bl_stage;

typedef enum { BL_LOWER_PLAIN, BL_LOWER_SOFTMAX, BL_LOWER_SIGMOID } bl_lower_suffix;

typedef struct {
  bl_arena *arena;
  bl_stage *stages;
  uint32_t stage_count;
  int32_t *stage_of; // [values of the graph] the stage that ends with what the value becomes, or
                     // BL_STAGE_INPUT, BL_STAGE_NONE; only until a projection is taken
  uint32_t in_h, in_w, in_c;   // the network's input as its first stage sees it
  bool input_channels_last;    // axes of the graph's input
  double input_mul, input_add; // x*mul + add comes before the input's quantiser
  bool input_quantised;
  bl_quantiser input_quantiser;
  bl_lower_suffix suffix; // left to the host
  uint32_t dynamic_count; // DynamicQuantizeLinear nodes
} bl_lowered;

// Element-wise operations on a channel as one: clamp(x*scale + offset, lo, hi).
typedef struct {
  double scale, offset, lo, hi;
} bl_affine;

// x after a stage's element-wise operations, for channel n, in double.
double bl_stage_posts(const bl_stage *stage, uint32_t n, double x);

typedef struct {
  bool fuse_adds; // where the graph quantises (linearly) what only goes into an addition, the
                  // quantiser is left out if the addition can then be taken in the accumulators of
                  // the layer in front
  uint32_t part_channels; // parts of a concatenation begin at multiples of so many channels
} bl_lower_options;

// `session` has run once: values that do not depend on the input are read from it. Everything in
// *lowered hangs from `arena`. Errors: UNSUPPORTED, FORMAT, MEMORY.
BL_MUST_USE bl_status bl_lower(const bl_float_graph *graph, const bl_float_session *session,
                               const bl_lower_options *options, bl_arena *arena,
                               bl_lowered *lowered, bl_error *err);

// May the addition of a stage take one of its two operands as a projection? The other is the
// stage's product, whose weights, like the projection's, are not fixed.
bool bl_lower_projects(const bl_lowered *lowered, uint32_t stage);
// The same where the graph fixes the integers of both products and of the sum, but not of the
// result that is added: then the graph takes the sum in one accumulator, too.
bool bl_lower_projects_fixed(const bl_lowered *lowered, uint32_t stage);
// Does it: the stage whose result was added goes, and later ones move down by one; *gone was its
// index. False: no memory.
bool bl_lower_project(bl_lowered *lowered, uint32_t stage, uint32_t *gone);

#endif
