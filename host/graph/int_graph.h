// SPDX-License-Identifier: Apache-2.0
// The integer graph: what a compressed network *is*. Quantisers produce it, the reference kernels
// execute it literally, the compiler maps it to the device. Data only: no float takes part between
// the packed input and the last accumulator (see docs/reference/numerics.md).
//
// A tensor is H x W x C for each image, channels innermost (index (y*w + x)*c + channel); a vector
// is 1 x 1 x C. Values are kept as plain integers: u formats 0..2^bits-1, s formats
// -2^(bits-1)..2^(bits-1)-1, b formats the 2^bits odd numbers -(2^bits-1)..2^bits-1, acc any int32.
#ifndef BITLOOM_HOST_GRAPH_INT_GRAPH_H
#define BITLOOM_HOST_GRAPH_INT_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/arena.h"
#include "host/base/error.h"

enum {
  BL_INT_MAX_TENSORS = 4096,
  BL_INT_MAX_DIM = 65535,        // height, width and channels of a tensor
  BL_INT_MAX_KERNEL = 65535,     // a fully connected layer over a map is a kernel as large as it
  BL_INT_MAX_ELEMENTS = 1 << 28, // of a tensor (one image) and of a layer's weights
  BL_INT_CODES = 16,             // entries of a codebook
  BL_INT_TABLE = 256,            // entries of a table
};

// No layer makes this tensor.
#define BL_INT_NO_LAYER UINT32_MAX

typedef enum {
  BL_FORMAT_U,  // unsigned, bits 1..8
  BL_FORMAT_S,  // two's complement, bits 2..8
  BL_FORMAT_B,  // bipolar: a stored bit 0 of place j means -2^j, 1 means 2^j; bits 1, weights 1..7
  BL_FORMAT_ACC // int32 accumulators of a last layer; bits is 32
} bl_format_kind;

typedef struct {
  bl_format_kind kind;
  uint8_t bits;
} bl_format;

// Real value = scale * (q - zero_point). For acc tensors see bl_int_layer.out_scale.
// A concatenation is a tensor that no layer makes: the tensors that name it as their parent lie
// side by side in its channels, channel k of a part being channel parent_channel + k of the parent.
// Parts and parent have the same height, width, format, scale and zero point; parts do not overlap,
// cover all channels, and have no parts of their own. Parts are made by layers and are no
// accumulators.
typedef struct {
  char *name;
  uint32_t h, w, c;
  bl_format format;
  double scale;
  int32_t zero_point;
  uint32_t parent;         // tensor that this one is a part of; 0: none (tensor 0 has no parts)
  uint32_t parent_channel; // its first channel there
} bl_int_tensor;

// One layer: a (grouped) convolution, an optional second tensor added to it, requantisation, an
// optional table, and an optional maximum pooling at the end.
//   acc[m][n] = (sum over (ky, kx, channel) of A * W) * 2^raise + addend_weight[n] * R[m][n]
//                                                               exact, int32
//   y = clamp((acc*mult[n] + bias[n]) >> shift[n], lo - zp, hi - zp) + zp, zp the output's
// A b1 output is +1 where acc*mult + bias >= 0, else -1 (shift, lo and hi are not used).
// An acc output is acc itself (mult, bias and shift are not used; no pooling may follow).
// R is the addend: conv height x conv width x output channels, in plain integers (its zero point is
// in bias). raise (0..24) scales the sum up where addend_weight, the ratio of the scales, would
// round too coarsely. A layer that projects its addend adds a 1x1 convolution of it instead, of
// stride project_h x project_w, R being that many times as high and wide as the convolution:
//   ... + sum over k of addend_weight[n][k] * R[y*project_h][x*project_w][k]
//
// With a table y becomes table[y & 255], an integer of the output's format.
// Upsampled, the layer sees its input twice as high and wide, each pixel 2 x 2 times (nearest).
// Fully connected over an H x W x C tensor is a kernel of H x W without padding.
// Average pooling is groups == c with weights of 1; a maximum pooling on its own is a 1x1 kernel
// with groups == c, weights of 1 and a requantisation that gives back the same integer.
typedef struct {
  char *name;             // of the ONNX node it came from
  uint32_t input, output; // tensor indices
  uint32_t groups;        // 1 dense; divides input and output channels
  uint32_t kernel_h, kernel_w;
  uint32_t stride_h, stride_w;
  uint32_t dilation_h, dilation_w;
  uint32_t pad_top, pad_left, pad_bottom, pad_right;
  int32_t pad_value;       // integer that positions outside the input have; b1: -1 or +1
  bl_format weight_format; // b1..b7 or s2..s8 (s2 also carries ternary)
  int8_t *weights;         // [output channel][ky][kx][input channel of the group]
  int8_t *codebook;        // [16] the only values that weights has, so that 4-bit codes carry them;
                           // NULL: none. Weights are s2..s8 then, the codebook's values too
  bool upsample;           // the input is seen twice as high and wide
  uint32_t addend;         // tensor index, where addend_weight is not NULL
  int32_t *addend_weight;  // [output channel], or [output channel][addend channel] where it
                           // projects; magnitude below 2^24; NULL: nothing is added
  uint32_t project_h, project_w; // strides of a projected addend, 1..255; 0: it is not projected
  uint8_t raise;                 // 0..24; 0 where nothing is added
  int32_t *mult;                 // [output channel], magnitude in [2^15, 2^16)
  int64_t *bias;                 // [output channel], 48-bit signed, rounding half already added
  uint8_t *shift;                // [output channel], 1..47
  int32_t lo, hi;                // clamp of the output integer
  int32_t *table; // [256] output integers, indexed by the low 8 bits of the clamped one, or
                  // NULL; not for b1 and acc outputs. lo and hi then lie in s8 or in u8
  uint32_t pool_h, pool_w; // maximum pooling window; 1 x 1 means none
  uint32_t pool_stride_h, pool_stride_w;
  uint32_t pool_pad_top, pool_pad_left, pool_pad_bottom, pool_pad_right;
  double *out_scale,
      *out_bias; // acc outputs only, [output channel]: real = out_scale*acc + out_bias
} bl_int_layer;

// Layers in execution order: every layer's input and addend is the graph's input (tensor 0), the
// output of an earlier layer, or a concatenation whose parts earlier layers made. Every tensor but
// 0 and the concatenations has exactly one producer.
typedef struct {
  bl_arena *arena; // owns everything below
  char *name;
  bl_int_tensor *tensors; // [tensor_count]; tensor 0 is the network's input
  uint32_t tensor_count;
  bl_int_layer *layers; // [layer_count]
  uint32_t layer_count;
  uint32_t output; // index of the network's output tensor
} bl_int_graph;

// Height and width after the convolution, before pooling. Only for layers that bl_int_check passed.
void bl_int_conv_size(const bl_int_graph *graph, const bl_int_layer *layer, uint32_t *h,
                      uint32_t *w);
// Positions of a window over `size` positions with `pads` more around them; 0: it does not fit.
int64_t bl_int_windows(int64_t size, int64_t pads, int64_t kernel, int64_t dilation,
                       int64_t stride);
// Does another tensor name this one as its parent?
bool bl_int_is_concatenation(const bl_int_graph *graph, uint32_t tensor);
uint32_t bl_int_concatenations(const bl_int_graph *graph);
// The layer whose output a tensor is; BL_INT_NO_LAYER for tensor 0 and concatenations.
uint32_t bl_int_producer(const bl_int_graph *graph, uint32_t tensor);
// The layer after which a tensor is complete: its producer, of a concatenation the last of its
// parts'; BL_INT_NO_LAYER for tensor 0.
uint32_t bl_int_completer(const bl_int_graph *graph, uint32_t tensor);
// Weights of one output channel's addend: 1, or the addend's channels where it is projected. Only
// for layers that have an addend.
uint32_t bl_int_addend_fan(const bl_int_graph *graph, const bl_int_layer *layer);
// Weights of a layer: of its convolution and, where it projects its addend, of that.
uint64_t bl_int_weights(const bl_int_graph *graph, const bl_int_layer *layer);
// Bits of all weights: so many as their format has, 4 for a code.
uint64_t bl_int_weight_bits(const bl_int_graph *graph);
// Elements of one image of a tensor.
size_t bl_int_elements(const bl_int_tensor *tensor);
// Smallest and largest integer of a format (b1: -1 and 1; b2: -3 and 3; acc: INT32_MIN and
// INT32_MAX).
int32_t bl_format_min(bl_format format);
int32_t bl_format_max(bl_format format);
// "u8", "s4", "b1", "acc".
const char *bl_format_name(bl_format format);

// Checks everything that the comments above promise: indices, sizes that fit, formats, ranges of
// every weight, addend weight, mult, bias, shift and table entry, windows that touch the map,
// producers before consumers. Every consumer of a graph from outside the program calls it first.
// Errors: FORMAT, RANGE.
BL_MUST_USE bl_status bl_int_check(const bl_int_graph *graph, bl_error *err);

#endif
