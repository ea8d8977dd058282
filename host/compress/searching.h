// SPDX-License-Identifier: Apache-2.0
// A search on a network's way through a recipe: what the passes `search` and `auto` share.
#ifndef BITLOOM_HOST_COMPRESS_SEARCHING_H
#define BITLOOM_HOST_COMPRESS_SEARCHING_H

#include "host/compress/pass.h"
#include "host/search/search.h"

typedef struct {
  bl_network *network;
  bl_arena *arena;
  bl_train_data calibration, held_out; // the first samples of the network's
  bl_quantise_options quantise;
  bl_candidates *candidates;
  bl_space space;
  bl_pool *pool;
  uint32_t workers;
  bl_search_options options; // axis, limits, sizes: from the call
} bl_searching;

// Parameters that both passes have; a pass lists them with its own (BL_SEARCHING_PARAMS).
#define BL_SEARCHING_PARAMS                                                                        \
  {BL_TEXT("weight-bits", "2,3,4,6,8", "bits that a layer's weights may have")},                   \
      {BL_TEXT("activation-bits", "2,3,4,6,8", "bits that a layer's output may have")},            \
      {BL_COUNT(                                                                                   \
          "skip-bits", "0", 0, 8,                                                                  \
          "bits of what sums read; activation-bits are then of what products do; 0: as all")},     \
      {BL_TEXT("blocks", "0", "parts of a layer's blocks that may be pruned")},                    \
      {BL_TEXT("ranks", "1", "parts of a layer's operations that two factors of it may take")},    \
      {BL_CHOICE("rounding", "gptq", "nearest|gptq|adaround", "how weights become integers")},     \
      {BL_CHOICE("bias-correction", "empirical", "none|analytic|empirical",                        \
                 "move each channel's mean to that of the float network")},                        \
      {BL_COUNT("samples", "128", 1, 1e9, "calibration samples of a candidate")},                  \
      {BL_COUNT("judges", "500", 1, 1e9, "held-out samples that a candidate is judged by")},       \
      {BL_NUMBER("max-bytes", "0", 0, 1e15, "bytes of weights at most; 0: any")},                  \
      {BL_NUMBER("max-cycles", "0", 0, 1e15, "cycles an image at most; 0: any")}, {                \
    BL_COUNT("budgets", "16", 2, 256, "that the integer program is solved for")                    \
  }

// Who says what a plan is worth, in place of bl_candidate_evaluate: see bl_pool_options.
typedef struct {
  bl_evaluate evaluate;
  void *context;
  const char *settings; // what its results depend on beside network, samples and space
} bl_judge;

// Opens it from a call with those parameters; judge NULL: plans are worth what they are untrained.
// Results are kept in the network's folder. To be closed also on failure; must not move while open.
// Errors: USAGE (no samples, lists that make no sense), those of its parts.
BL_MUST_USE bl_status bl_searching_open(bl_network *network, const bl_call *call,
                                        const bl_judge *judge, bl_searching *searching,
                                        bl_error *err);
void bl_searching_close(bl_searching *searching);
// A list such as weight-bits "2,3,4" as numbers. Errors: USAGE.
BL_MUST_USE bl_status bl_searching_values(const bl_call *call, const char *name,
                                          double values[BL_KNOB_MOST_VALUES], uint32_t *count,
                                          bl_error *err);
// Gives a network (the searched one, or a copy) what a plan, or a choice, says: pruned blocks, with
// the promise to keep them, and bits. Errors: those of pruning, MEMORY.
BL_MUST_USE bl_status bl_searching_take_plan(const bl_searching *searching,
                                             const bl_search_plan *plan, bl_network *network,
                                             bl_error *err);
BL_MUST_USE bl_status bl_searching_take(const bl_searching *searching, const uint8_t *choice,
                                        bl_network *network, bl_error *err);

#endif
