// SPDX-License-Identifier: Apache-2.0
// Pruning: which weights of a float network become 0.
//
// Every weight of a Conv, Gemm or MatMul gets a score. Weights are pruned one by one, or in blocks
// that the accelerator then skips; the units with the lowest scores go. A mask says what is left.
//
// A weight that is exactly 0 is pruned: a mask can always be taken from the weights, so
// check-points and files need none (see bl_prune_attach).
//
// Use: bl_prune_open, perhaps bl_prune_blocks; then scores, bl_prune_masks, bl_prune_apply. During
// training: schedule.h. Whole channels are another matter: channels.h.
#ifndef BITLOOM_HOST_PRUNE_PRUNE_H
#define BITLOOM_HOST_PRUNE_PRUNE_H

#include "host/graph/float_graph.h"
#include "host/train/trainer.h"

// Classes of layers; one may be of several.
enum {
  BL_PRUNE_DENSE = 1,       // Gemm and MatMul
  BL_PRUNE_CONVOLUTION = 2, // but not depthwise
  BL_PRUNE_DEPTHWISE = 4,   // each group has one input channel, and there are several
  BL_PRUNE_FIRST = 8,       // in the order of execution
  BL_PRUNE_LAST = 16
};

// The weights of one layer: outputs x channels (of a group) x taps; weight (n, c, t) is number
// n*output_stride + c*channel_stride + t*tap_stride of the value. A dense layer behind a flattened
// map has the map's channels and one tap for each of its pixels.
typedef struct {
  const char *name; // of the node
  uint32_t node;
  int32_t value; // in the graph
  unsigned classes;
  size_t count, outputs, groups, channels, taps;
  size_t output_stride, channel_stride, tap_stride;
  uint64_t pixels;      // numbers of an output channel, of one sample
  float *scores;        // [count] 0 or more
  uint8_t *mask;        // [count] 0: pruned
  const uint32_t *unit; // [count] what each weight is pruned with; NULL: each is pruned alone
  uint32_t unit_count;
} bl_prune_layer;

typedef struct {
  bl_arena *arena; // owns everything below
  bl_prune_layer *layers;
  uint32_t count;
} bl_prune;

// Lists the layers with constant float weights, a value that several nodes share once; weights that
// are 0 are pruned already. Node names are the graph's, which must outlive this. Errors: MEMORY.
BL_MUST_USE bl_status bl_prune_open(const bl_float_graph *graph, bl_prune **prune, bl_error *err);
void bl_prune_close(bl_prune *prune);

// Units become the blocks that a device of `lanes` lanes and `cols` columns skips: one reduction
// word (`lanes` inputs under the window) by one channel tile (`cols` outputs), see
// docs/reference/compiler.md. Where the host may pack the windows of the network's input, a word
// holds them without gaps. Errors: RANGE (lanes a multiple of cols and of 8, cols at least 1),
// MEMORY.
BL_MUST_USE bl_status bl_prune_blocks(bl_prune *prune, const bl_float_graph *graph, uint32_t lanes,
                                      uint32_t cols, bl_error *err);

// ---- Scores of single weights, always of those that `graph` or `net` has now
typedef enum {
  BL_PRUNE_MAGNITUDE, // |w|; Han et al. 2015, arXiv 1506.02626
  BL_PRUNE_TAYLOR,    // |w dL/dw|; Molchanov et al. 2017, arXiv 1611.06440
  BL_PRUNE_GRADIENT,  // |dL/dw|
  BL_PRUNE_RANDOM     // uniform in (0, 1), by seed: what any other score must beat
} bl_prune_score;

// MAGNITUDE or RANDOM. Errors: USAGE for others, RANGE naming a layer with weights not finite.
BL_MUST_USE bl_status bl_prune_score_graph(bl_prune *prune, const bl_float_graph *graph,
                                           bl_prune_score score, uint64_t seed, bl_error *err);
// Any score, from the net's weights and the gradients of its last backward.
BL_MUST_USE bl_status bl_prune_score_net(bl_prune *prune, bl_train_net *net, bl_prune_score score,
                                         uint64_t seed, bl_error *err);
// TAYLOR or GRADIENT: the mean over the first `batches` batches of the data (all that are full
// where there are fewer) of the graph's batch size, batch norms by their running statistics. Loss:
// cross entropy with labels, else squared (an autoencoder's, against the input). Errors: USAGE for
// data that do not fill a batch or fit; those of bl_train_open.
BL_MUST_USE bl_status bl_prune_score_data(bl_prune *prune, const bl_float_graph *graph,
                                          const bl_train_data *data, uint64_t batches,
                                          bl_prune_score score, bl_error *err);

// ---- Masks
typedef enum {
  BL_PRUNE_SPARSITY, // amount: part of the units, 0..1, rounded to the nearest number of them
  BL_PRUNE_LARGEST,  // amount: pruned below this part of the layer's largest score
  BL_PRUNE_DEVIATION // amount: below so many standard deviations of the layer's weights about 0,
                     // sqrt(mean of score^2); Han et al. 2015
} bl_prune_measure;

typedef enum { BL_PRUNE_L1, BL_PRUNE_L2 } bl_prune_norm; // of the scores of a unit

// For layers whose name matches `pattern` (as of a shell: * ? [...]; NULL: any) and that are of one
// of `classes` (0: any). The first rule that fits a layer counts.
typedef struct {
  const char *pattern;
  unsigned classes;
  double amount; // 0: nothing
} bl_prune_rule;

typedef struct {
  bl_prune_measure measure;
  bl_prune_norm norm;
  double amount;   // of layers that no rule fits
  bool each_layer; // SPARSITY: of every layer alone; else of all together that the same rule fits
  bool per_pixel;  // SPARSITY over several layers: scores are divided by the pixels that a unit
                   // works on, as the device's cycles are
  bool regrow;     // what is pruned may come back where its score is high again
  unsigned keep;   // classes left as they are
  const bl_prune_rule *rules;
  uint32_t rule_count;
} bl_prune_options;

// New masks from scores; amounts times `factor` (1; a schedule rises to it). Equal scores: the
// earlier layer, then the lower unit, goes first. Errors: RANGE for amounts that make no sense,
// USAGE for a pattern that no layer matches, MEMORY.
BL_MUST_USE bl_status bl_prune_masks(bl_prune *prune, const bl_prune_options *options,
                                     double factor, bl_error *err);

// Sets pruned weights of the graph, the one of bl_prune_open or another import of the same file, to
// 0. Errors: MISMATCH where it is another.
BL_MUST_USE bl_status bl_prune_apply(const bl_prune *prune, bl_float_graph *graph, bl_error *err);
// Masks from the net's weights (0: pruned), and makes the net hold them from now on: the masks must
// outlive its training. After bl_trainer_resume, where there is one. Errors: MISMATCH as above.
BL_MUST_USE bl_status bl_prune_attach(bl_prune *prune, bl_train_net *net, bl_error *err);

// Part of a layer's, or of all layers' (layer NULL), weights that is pruned; of units likewise.
double bl_prune_sparsity(const bl_prune *prune, const bl_prune_layer *layer);
double bl_prune_unit_sparsity(const bl_prune *prune, const bl_prune_layer *layer);

#endif
