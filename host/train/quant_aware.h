// SPDX-License-Identifier: Apache-2.0
// Quantisation-aware training: a transform for every tensor that the device will hold in integers,
// so that the network learns with their rounding, and the trained graph with Quant and BipolarQuant
// nodes (QONNX), which `compress` takes literally.
//
// Quantised are, by what lowering makes of the graph: weights of convolutions and products, one
// step an output channel, symmetric (-(2^(bits-1) - 1) up; two bits: all four, from -2 up; one bit:
// sign times the mean magnitude; see bipolar);
// the output of each future layer, one step a tensor, unsigned where calibration sees nothing
// negative, else symmetric; not the network's output, whose accumulators leave as they are. Steps
// are learned (LSQ). The network's input has 8 bits and a fixed range, as have the indices of
// tables. Where a sum is taken inside a layer's accumulators, the ratio of its operands' scales has
// ratio_bits significant bits. With one it stays the power of two that post-training quantisation
// would choose: the steps of that layer's weights follow from those of the two operands, and no
// gradient flows through them. With more they are learned, and used as the nearest ones that give
// such a ratio. 1-bit weights are left alone; `compress` rounds their ratio to nine bits.
#ifndef BITLOOM_HOST_TRAIN_QUANT_AWARE_H
#define BITLOOM_HOST_TRAIN_QUANT_AWARE_H

#include "host/quant/quantise.h"
#include "host/train/fake_quant.h"
#include "host/train/trainer.h"

typedef struct bl_quant_aware bl_quant_aware;

// Times are parts of all steps, 0..1.
typedef struct {
  unsigned weight_bits, activation_bits; // 1..8, all layers but these:
  unsigned edge_weight_bits;             // weights of the first and the last layer; 0: as all
  unsigned edge_activation_bits;         // what the last layer reads; 0: as all
  unsigned skip_bits;                    // what sums read and products do not; 0: as all
  unsigned ratio_bits;                   // of a sum's two scales, 1..8; 0: 1
  const bl_codebook *codebook;           // of weights that nothing else is said of; NULL: none
  const bl_layer_plan *plan;             // [plan_count] layers that have something else
  uint32_t plan_count;
  bool bipolar;              // weights of 2 to 4 bits: the 2^bits odd multiples of a step, no 0
  bool ternary;              // weights of 2 bits: TWN instead of learned steps
  bl_sign_slope sign;        // of 1 bit
  double clip_decay;         // above 0: PACT for activations of 2 bits and more, with that decay
  double regulariser;        // pulls weights to their integers, rising from 0 to this
  double weights_from;       // before this time weights stay as they are: activations learn first
  double freeze_from;        // from this time on steps stay as they are; 0: they always learn
  double freeze_oscillating; // weights that flip back in more than this part of the steps; 0: none
} bl_quant_aware_options;

// `graph` is the one to be trained; `one` is the same file imported with a batch of 1, and ends as
// the graph that bl_quant_aware_store would make of it now. Calibration gives the first steps of
// activations. `graph` must outlive *aware. Errors: USAGE (bits, no calibration), UNSUPPORTED names
// the node that is no integer layer, FORMAT, MEMORY.
BL_MUST_USE bl_status bl_quant_aware_open(const bl_float_graph *graph, bl_float_graph *one,
                                          const bl_quant_aware_options *options,
                                          const bl_calibration *calibration, bl_quant_aware **aware,
                                          bl_error *err);
void bl_quant_aware_close(bl_quant_aware *aware);
// For bl_train_options; *aware must outlive the net, and changes with a trainer that has its hook.
const bl_train_transform *bl_quant_aware_transforms(const bl_quant_aware *aware, uint32_t *count);
// After bl_train_open, before the first forward: what steps follow from is the net's from now on.
// `relative`: the optimiser's steps do not grow with the gradient (AdamW), so each learned step
// gets a rate in proportion to its own size.
void bl_quant_aware_attach(bl_quant_aware *aware, bl_train_net *net, bool relative);
// For bl_trainer_options: what changes with time, and the key of the options.
bl_train_hook bl_quant_aware_hook(bl_quant_aware *aware);
// After bl_train_store into the same graph: adds the nodes. Errors: MISMATCH, MEMORY.
BL_MUST_USE bl_status bl_quant_aware_store(const bl_quant_aware *aware, bl_float_graph *graph,
                                           bl_error *err);

#endif
