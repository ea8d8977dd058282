// SPDX-License-Identifier: Apache-2.0
// What the tests of pruning share.
#ifndef BITLOOM_TESTS_UNIT_PRUNE_SUPPORT_H
#define BITLOOM_TESTS_UNIT_PRUNE_SUPPORT_H

#include "host/prune/prune.h"
#include "tests/unit/train_support.h"

static uint64_t seed = 1;

static inline bl_prune *open_prune(const bl_float_graph *graph) {
  bl_prune *p;
  bl_error err = {0};
  if (bl_prune_open(graph, &p, &err) != BL_OK) fail_msg("%s", err.text);
  return p;
}

static inline void choose(bl_prune *p, const bl_prune_options *o) {
  bl_error err = {0};
  if (bl_prune_masks(p, o, 1, &err) != BL_OK) fail_msg("%s", err.text);
}

static inline void by_magnitude(bl_prune *p, const bl_float_graph *graph) {
  bl_error err = {0};
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_MAGNITUDE, 0, &err), BL_OK);
}

#endif
