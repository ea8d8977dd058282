// SPDX-License-Identifier: Apache-2.0
// A network on its way through a recipe: what passes read and change.
//
// What a pass has achieved in the weights lives in the weights themselves: a pruned weight is
// exactly 0, shared weights are equal. A rule says which of that later passes must keep; so nothing
// has to be carried beside the graph, and surgery needs no bookkeeping.
#ifndef BITLOOM_HOST_COMPRESS_NETWORK_H
#define BITLOOM_HOST_COMPRESS_NETWORK_H

#include "host/compile/program.h"
#include "host/quant/quantise.h"
#include "host/train/batches.h"

// What every later pass must keep of one value's weights.
typedef struct {
  char *value;   // name of the weights in the graph
  bool sparse;   // zeros stay zeros
  uint32_t most; // 0, or the most different values other than zero that they may have
} bl_weight_rule;

typedef struct bl_network bl_network;

// A promise of a pass, checked after every later one. `state` lives in the network's arena.
typedef struct {
  const char *what; // such as "sparsity", in the arena
  const char *unit; // behind the figure, such as " %"; "" for none
  double figure;    // when the promise was made
  // Says the figure as it is now and whether the promise holds. Errors: those of measuring.
  bl_status (*check)(const bl_network *network, const void *state, double *figure, bool *holds,
                     bl_error *err);
  const void *state;
  const char *pass; // filled in by bl_network_keep, with the line of the recipe
  uint32_t line;
} bl_keep;

// Samples as the network gets them, in memory; NULL where there are none.
typedef struct {
  const bl_train_data *calibration; // for ranges and refinement
  const bl_train_data *training;    // for training; labels where has_labels
  const bl_train_data *held_out;    // for the figures behind every stage, and for choices
} bl_network_data;

enum { BL_NETWORK_MAX_KEEPS = 64 };

struct bl_network {
  bl_arena *arena;                // of all that lives as long as the network
  bl_float_graph *graph;          // with a batch of 1; passes change or replace it
  const bl_float_graph *original; // as imported; nobody changes it: the teacher by default
  bl_network_data data;
  bl_compile_options device; // what cycles are counted for
  uint64_t seed;
  uint32_t threads;   // of training (0: one), and processes of a search (0: one a processor)
  const char *folder; // where passes keep check-points, to resume from; NULL: nowhere

  // How the network becomes integers from now on: set by the pass `quantise`. Before, `quantised`
  // is false and stages are measured in float, their cycles at 8 bits. A graph that holds Quant
  // nodes (after training with these bits) fixes its integers itself.
  bool quantised;
  bl_quantise_options quantise;

  const struct bl_pruning *pruning; // what the next training prunes gradually; NULL: nothing

  bl_weight_rule *rules;
  uint32_t rule_count, rule_room;
  bl_keep keeps[BL_NETWORK_MAX_KEEPS];
  uint32_t keep_count;

  const char *pass; // the one that runs, its place in the recipe, and its line there
  uint32_t place, line;
  void (*say)(void *user, const char *line); // details of passes, a line each; NULL: not wanted
  void *user;
};

// An empty network around a graph of batch 1, which the network takes over, and its original, which
// it does not. Errors: MEMORY.
BL_MUST_USE bl_status bl_network_open(bl_float_graph *graph, const bl_float_graph *original,
                                      bl_network *network, bl_error *err);
void bl_network_close(bl_network *network);

// The weights of a layer (Conv, Gemm, MatMul), also those behind a Quant or BipolarQuant node;
// NULL: the node is no layer with weights of its own.
const bl_value *bl_network_weights(const bl_float_graph *graph, const bl_node *node);
// Names of the layers with weights of their own (Conv, Gemm, MatMul) and, where asked for, of the
// average poolings, in order of execution, in the arena; NULL: no memory. They are those of the
// graph as it is now.
const char **bl_network_layers(bl_network *network, bool averages, uint32_t *count);
// The node of that name; NULL: none.
const bl_node *bl_network_node(const bl_network *network, const char *layer);
// The constant of that name; NULL: none.
bl_value *bl_network_value(const bl_network *network, const char *value);
// The rule for a value's weights, made where there is none. Errors: MEMORY.
BL_MUST_USE bl_status bl_network_rule(bl_network *network, const char *value, bl_weight_rule **rule,
                                      bl_error *err);
// The rule, NULL where there is none.
const bl_weight_rule *bl_network_find_rule(const bl_network *network, const char *value);
// Makes a promise, in the name of the pass that runs. Errors: RANGE beyond BL_NETWORK_MAX_KEEPS.
BL_MUST_USE bl_status bl_network_keep(bl_network *network, const bl_keep *keep, bl_error *err);
// Takes out the Quant nodes that an earlier training has left: weights become the values that they
// were rounded to, other readers read what lies in front; bits are chosen anew from there. Errors:
// MEMORY, those of bl_float_session_run.
BL_MUST_USE bl_status bl_network_free_weights(bl_network *network, bl_error *err);
// The graph is `graph` from now on; the old one is freed.
void bl_network_replace(bl_network *network, bl_float_graph *graph);
// Prints a detail. Printf's format.
void bl_network_say(const bl_network *network, const char *format, ...) BL_PRINTF(2, 3);
// A name for a file of the running pass in the folder, such as FOLDER/03-train.ckpt, in the arena;
// NULL without a folder or memory.
const char *bl_network_file(bl_network *network, const char *suffix);

// Calibration samples as bl_quantise takes them; count 0 where there are none. The network must not
// move.
bl_calibration bl_network_calibration(const bl_network *network);
// The integers of the network as it is: by the pass `quantise`, or `otherwise` (NULL: 8 bits) where
// none has been. Free with bl_arena_free(quantised->graph->arena). Errors: those of bl_quantise.
BL_MUST_USE bl_status bl_network_quantise(const bl_network *network,
                                          const bl_quantise_options *otherwise,
                                          bl_quantised *quantised, bl_error *err);

#endif
