// SPDX-License-Identifier: Apache-2.0
// Post-training quantisation: a float graph becomes an integer graph. Graphs that fix their own
// integers (QONNX) are taken as they are.
#ifndef BITLOOM_HOST_QUANT_QUANTISE_H
#define BITLOOM_HOST_QUANT_QUANTISE_H

#include "host/graph/float_graph.h"
#include "host/graph/int_graph.h"
#include "host/quant/addition.h"
#include "host/quant/codebook.h"
#include "host/quant/layer_plan.h"
#include "host/quant/lower.h"

// How weights become integers, their scales being known.
typedef enum {
  BL_ROUNDING_NEAREST,
  BL_ROUNDING_GPTQ,    // of the least error in the layer's sums over the calibration data
  BL_ROUNDING_ADAROUND // one of the two nearest, of the least error behind the layer's clamp
} bl_rounding;

// What is added to the sums of a channel, so that their mean is that of the float network.
typedef enum {
  BL_BIAS_NONE,
  BL_BIAS_ANALYTIC, // from what batch normalisations say of each layer's inputs, without data
  BL_BIAS_EMPIRICAL // from the means over the calibration data, layer by layer
} bl_bias_correction;

typedef struct {
  unsigned weight_bits, activation_bits; // 1..8, every layer; the network's input has 8
  unsigned skip_bits;        // of what sums read and products do not (bl_rewrite_skips); 0: as all
  const bl_layer_plan *plan; // [plan_count] layers that have something else
  uint32_t plan_count;
  bl_range_method range; // of activations; weights: minmax with minmax, else mse, and so where a
                         // function is tabulated
  double percentage;     // of BL_RANGE_PERCENTILE, 0..100; 0: 99.99
  bl_rounding rounding;
  uint32_t adaround_iterations; // 0: 1,000
  uint64_t seed;                // of AdaRound's draws
  bl_bias_correction bias_correction;
  unsigned output_bits; // of the network's output, 1..8; 0: int32 accumulators, nothing is lost
  unsigned offset_bits; // of a channel's offset behind the point, in units of the output's integer,
                        // 1..16: fewer bytes in a coded file; 0: all
  bool fuse_adds;       // see bl_lower
  // What weights may be, in place of all integers of weight_bits; NULL: those. Layers whose weights
  // the graph fixes keep them.
  const bl_codebook *codebook;
  uint32_t part_channels; // the parts of a concatenation begin at multiples of it, as the device
                          // has columns; 0: 8
  // 2-bit weights, which are -1, 0 or 1 times a scale: those below so many times the mean magnitude
  // of their channel become 0, and the scale is the mean of the others (Li and Liu 2016, Ternary
  // Weight Networks, arXiv 1605.04711: 0.7); 0: the scale and zeros of the least squared error.
  double ternary_threshold;
  // Every scale of weights, activations and input is a power of two, what normalisations multiply
  // with goes into the weights, and requantisation is a shift (Ristretto's dynamic fixed point:
  // Gysel et al. 2016, arXiv 1604.03168). Not those of tables; averages over areas that are no
  // power of two keep their factor. Projections stay layers of their own.
  bool power_scales;
  // All output channels of a layer have one weight scale, where it is chosen here and no sum asks
  // for another: not bits by channel, codebooks of a fixed scale or weights that the graph fixes.
  bool per_tensor;
  // Cycles that the device takes for an image, infinite for a graph that it cannot run; a
  // projection shortcut is then taken into its sum where that is faster. NULL: it is a layer of its
  // own.
  double (*cycles)(void *device, const bl_int_graph *graph);
  void *device;
} bl_quantise_options;

// Where calibration samples come from. read() writes the graph input's elements, in its own order.
typedef struct {
  bl_status (*read)(void *context, size_t index, float *out, bl_error *err);
  void *context;
  size_t count;
} bl_calibration;

typedef struct {
  bl_int_graph *graph;         // freed with bl_arena_free(graph->arena)
  double input_mul, input_add; // to apply to a preprocessed value before the input's quantiser
  bl_lower_suffix suffix;
  bl_addition_cost *additions; // [layer_count], from the graph's arena; see there
  bool graph_was_quantised;    // some layer's integers were fixed by the graph
  uint32_t linear_count;       // layers with a linear quantiser (QuantizeLinear and the like)
  uint32_t dynamic_count;      // dynamic quantisers that got one range, from the calibration data
  uint64_t inexact;            // accumulators for which such a layer's integer could not be met
} bl_quantised;

// `graph` is imported with a batch of 1. Calibration is needed unless the graph fixes everything.
// Errors: UNSUPPORTED and RANGE name the node.
BL_MUST_USE bl_status bl_quantise(const bl_float_graph *graph, const bl_quantise_options *options,
                                  const bl_calibration *calibration, bl_quantised *out,
                                  bl_error *err);

#endif
