// SPDX-License-Identifier: Apache-2.0
// A network's candidates: plans made into integer networks, and what those are worth on the device
// (cycles, bytes) and on held-out samples (loss, accuracy).
#ifndef BITLOOM_HOST_SEARCH_CANDIDATE_H
#define BITLOOM_HOST_SEARCH_CANDIDATE_H

#include "host/compile/program.h"
#include "host/quant/quantise.h"
#include "host/search/pool.h"
#include "host/train/batches.h"

// Everything outlives the candidates.
typedef struct {
  const bl_float_graph *graph;  // with a batch of 1
  bl_quantise_options quantise; // bits where a plan says nothing, ranges, refinement; no plan
  const bl_train_data *calibration;
  const bl_train_data *held_out; // what loss, accuracy and SQNR are measured on
  bl_compile_options device;     // cycles are counted for
} bl_candidate_source;

typedef struct bl_candidates bl_candidates;

// A layer with weights of its own, in the order of execution.
typedef struct {
  const char *name;
  bool last;      // its output is the network's, which has no bits to choose
  bool depthwise; // has no blocks to prune
  bool factors;   // can become two layers of lower rank
  uint64_t count; // weights
} bl_searched;

// Runs the float network over the held-out samples. From here on oneDNN has one thread, as
// candidates are spread over processes. Errors: FORMAT (samples that do not fit), those
// of execution, MEMORY.
BL_MUST_USE bl_status bl_candidates_open(const bl_candidate_source *source,
                                         bl_candidates **candidates, bl_error *err);
void bl_candidates_close(bl_candidates *candidates);

const bl_searched *bl_candidates_layers(const bl_candidates *candidates, uint32_t *count);
// Accuracy of the float network, 0..1; negative without labels.
double bl_candidates_float_accuracy(const bl_candidates *candidates);

// A number of all that results depend on: weights and nodes, samples, how integers are made, the
// device; as text for bl_pool_options.fingerprint.
void bl_candidates_fingerprint(const bl_candidates *candidates, char text[20]);

// The float network with what the plan says of its weights (NULL where that is nothing): layers
// that are given a rank become factors, LAYER/u and LAYER/v, unless those would not be smaller;
// blocks are pruned by the L2 norm of their weights, and what is left takes over what they did on
// calibration samples (rough: it does not). pruned[layer]: part of the layer's weights.
// Errors: those of factorising, pruning and copying; USAGE for a layer that is not there.
BL_MUST_USE bl_status bl_candidate_edit(const bl_candidates *candidates, const bl_search_plan *plan,
                                        bool rough, bl_float_graph **graph, double *pruned,
                                        bl_error *err);
// The plan's bits as entries for bl_quantise_options.plan, in the arena; `graph`: with the layers
// as they are now. Errors: MEMORY.
BL_MUST_USE bl_status bl_candidate_bits(const bl_search_plan *plan, const bl_float_graph *graph,
                                        bl_arena *arena, bl_layer_plan **entries, uint32_t *count,
                                        bl_error *err);
// A bl_evaluate, whose context is a bl_candidates. The loss is the mean Kullback-Leibler divergence
// of softmax answers from the float network's where there are labels, else noise over signal of
// the outputs. A plan that the device cannot run has infinite cycles and no error.
BL_MUST_USE bl_status bl_candidate_evaluate(void *candidates, const bl_search_plan *plan,
                                            bl_search_result *result, bl_error *err);

// What single layers of a plan cost.
typedef struct {
  double cycles;  // of the layer with the weights, 0 where another takes it into its sum
  double behind;  // of those without weights (poolings, sums) that follow it
  int32_t before; // the layer whose output is its input; -1: the network's input
  double bytes;   // of its weights
} bl_layer_cost;

// costs[layers]; *ahead: cycles of layers without weights in front of all others. Ranges come from
// a few samples only, as nothing but ranges depends on them. Errors: those of quantisation;
// UNSUPPORTED where the device cannot run it.
BL_MUST_USE bl_status bl_candidate_costs(const bl_candidates *candidates,
                                         const bl_search_plan *plan, bl_layer_cost *costs,
                                         double *ahead, bl_error *err);

#endif
