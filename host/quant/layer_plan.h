// SPDX-License-Identifier: Apache-2.0
// Bits by layer: what single layers have in place of what is said for all of them.
#ifndef BITLOOM_HOST_QUANT_LAYER_PLAN_H
#define BITLOOM_HOST_QUANT_LAYER_PLAN_H

#include "host/quant/lower.h"

// One layer. Entries are taken in order; of two that say something of the same layer the later one
// holds.
typedef struct {
  const char *layer;        // name of a node, or of a value that it gives; a Conv, Gemm or MatMul
                            // where weights are meant
  unsigned weight_bits;     // 1..8; 0: as for all
  unsigned activation_bits; // 1..8, of the integers that the node's result becomes; 0: as for all
  unsigned product_bits;    // 1..8, in place of activation_bits: of what products read of it. With
                         // skip_bits those are the bits of its copy where a sum reads it, too, and
                         // nobody's where only sums do
  const uint8_t *channel_bits; // [channels] 2..8: weight bits of each output channel; NULL: one
                               // number for all. The device runs the planes that the widest
                               // channel of a tile (config.cols neighbours) needs
  uint32_t channels;
  const bl_codebook *codebook; // of the weights; NULL with weight_bits or channel_bits: none
} bl_layer_plan;

// Output channels of a Conv, Gemm or MatMul.
uint32_t bl_layer_plan_channels(const bl_float_graph *graph, const bl_node *node);

// What layers have of which no entry says anything.
typedef struct {
  unsigned weight_bits, activation_bits;
  const bl_codebook *codebook;
  unsigned skip_bits; // activation bits of what sums read and products do not; 0: as all
} bl_layer_default;

// Sets bits and codebook of every stage.
// A node's result becomes integers where its stage ends, behind the batch normalisation, addition,
// ReLU and pooling that go into the same stage, so that any of these nodes names it. A sum has one
// result and so one number of bits; its operands keep theirs. A concatenation and its parts have
// the same integers: the bits of an entry that names the Concat, else the most of its parts'. What
// only moves integers (a maximum pooling of its own, channels that close up) has those of its input
// unless an entry names it, or that has skip_bits. The network's input has 8 bits, its output
// bl_quantise_options. output_bits, whatever a plan says. Errors: USAGE names the entry (no such
// layer, with those that there are; bits out of range; channels of another number; weights that the
// graph fixes, or none).
BL_MUST_USE bl_status bl_layer_plan_apply(const bl_layer_plan *plan, uint32_t count,
                                          const bl_layer_default *others,
                                          const bl_float_graph *graph, bl_lowered *lowered,
                                          bl_error *err);

#endif
