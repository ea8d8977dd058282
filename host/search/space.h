// SPDX-License-Identifier: Apache-2.0
// What a search may choose: knobs of layers, each with a short list of values. A candidate has one
// choice a knob; what it says of the layers is a plan.
#ifndef BITLOOM_HOST_SEARCH_SPACE_H
#define BITLOOM_HOST_SEARCH_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/arena.h"
#include "host/base/error.h"

enum { BL_KNOB_MOST_VALUES = 32, BL_SPACE_MOST_KNOBS = 4096, BL_SPACE_MOST_BYTES = 4 << 20 };

typedef enum {
  BL_KNOB_WEIGHT_BITS, // whole, 1..8
  BL_KNOB_BLOCKS,      // part of the blocks that the array skips that are pruned, 0..below 1
  BL_KNOB_RANK, // part of the multiply-accumulates that two factors in place of the layer may take
                // (singular values), above 0; 1: it stays whole
  BL_KNOB_ACTIVATION_BITS, // of what products read of the layer's result, whole, 1..8
  BL_KNOB_KINDS
} bl_knob_kind;

typedef struct {
  const char *layer; // name of a node
  bl_knob_kind kind;
  uint32_t count; // 1..BL_KNOB_MOST_VALUES
  double values[BL_KNOB_MOST_VALUES];
} bl_knob;

// A layer has at most one knob of a kind.
typedef struct {
  const bl_knob *knobs;
  uint32_t count;
} bl_space;

// What is chosen for one layer: value[kind], negative where nothing is said.
typedef struct {
  const char *layer;
  double value[BL_KNOB_KINDS];
} bl_planned;

typedef struct {
  bl_planned *layers; // in the order of their first knobs
  uint32_t count;
} bl_search_plan;

// "weight-bits" ...
const char *bl_knob_name(bl_knob_kind kind);
// Is the value one that a knob of that kind may have?
bool bl_knob_takes(bl_knob_kind kind, double value);

// The plan of choice[space->count], each below its knob's count. Errors: MEMORY.
BL_MUST_USE bl_status bl_space_plan(const bl_space *space, const uint8_t *choice, bl_arena *arena,
                                    bl_search_plan *plan, bl_error *err);
// A plan as one line of JSON, {"layers":[{"name":"conv","weight-bits":4,...},...]}, freed with
// free(); NULL: no memory.
char *bl_search_plan_text(const bl_search_plan *plan);
// Reads such a text, with any white space; `what` names it in messages. Errors: FORMAT, RANGE (a
// value that no knob of that kind may have), MEMORY.
BL_MUST_USE bl_status bl_search_plan_parse(const char *what, const char *text, bl_arena *arena,
                                           bl_search_plan *plan, bl_error *err);

#endif
