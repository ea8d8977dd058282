// SPDX-License-Identifier: Apache-2.0
#include "host/search/sensitivity.h"

#include <stdlib.h>
#include <string.h>

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the sensitivities");
}

static bl_status check(const bl_search_choices *choices, bl_error *err) {
  for (int kind = 0; kind < BL_KNOB_KINDS; kind++) {
    if (choices->counts[kind] > BL_KNOB_MOST_VALUES)
      return bl_fail(err, BL_ERR_RANGE, "search: more than %d values of %s", BL_KNOB_MOST_VALUES,
                     bl_knob_name((bl_knob_kind)kind));
    for (uint32_t k = 0; k < choices->counts[kind]; k++)
      if (!bl_knob_takes((bl_knob_kind)kind, choices->values[kind][k]))
        return bl_fail(err, BL_ERR_RANGE, "search: %s cannot be %g",
                       bl_knob_name((bl_knob_kind)kind), choices->values[kind][k]);
  }
  return BL_OK;
}

static int upwards(const void *left, const void *right) {
  const double a = *(const double *)left, b = *(const double *)right;
  return a < b ? -1 : a > b;
}

static int downwards(const void *left, const void *right) {
  return upwards(right, left);
}

// Bits upwards, pruned parts downwards; each value once.
static void put_values(bl_knob *knob, const double *values, uint32_t count) {
  memcpy(knob->values, values, count * sizeof *values);
  qsort(knob->values, count, sizeof *values, knob->kind == BL_KNOB_BLOCKS ? downwards : upwards);
  knob->count = 0;
  for (uint32_t k = 0; k < count; k++)
    if (knob->count == 0 || knob->values[k] != knob->values[knob->count - 1])
      knob->values[knob->count++] = knob->values[k];
}

bl_status bl_search_space(const bl_candidates *candidates, const bl_search_choices *choices,
                          bl_arena *arena, bl_space *space, bl_error *err) {
  uint32_t layers;
  const bl_searched *searched = bl_candidates_layers(candidates, &layers);
  BL_TRY(check(choices, err));
  bl_knob *knobs = bl_arena_alloc(arena, (size_t)layers * BL_KNOB_KINDS, sizeof *knobs);
  if (knobs == NULL) return no_memory(err);
  *space = (bl_space){knobs, 0};
  for (uint32_t l = 0; l < layers; l++)
    for (int kind = 0; kind < BL_KNOB_KINDS; kind++) {
      const bool has = !(kind == BL_KNOB_ACTIVATION_BITS && searched[l].last) &&
                       !(kind == BL_KNOB_BLOCKS && searched[l].depthwise) &&
                       !(kind == BL_KNOB_RANK && !searched[l].factors);
      if (choices->counts[kind] == 0 || !has) continue;
      bl_knob *knob = &knobs[space->count++];
      *knob = (bl_knob){.layer = searched[l].name, .kind = (bl_knob_kind)kind};
      put_values(knob, choices->values[kind], choices->counts[kind]);
    }
  if (space->count > 0) return BL_OK;
  return bl_fail(err, BL_ERR_RANGE, "search: nothing to choose");
}

bl_status bl_sensitivity_measure(bl_pool *pool, const bl_space *space, const uint8_t *rest,
                                 bl_arena *arena, bl_sensitivity *sensitivity, bl_error *err) {
  uint32_t count = 1;
  for (uint32_t k = 0; k < space->count; k++)
    count += space->knobs[k].count;
  uint8_t *choices = bl_arena_alloc(arena, count, space->count);
  bl_search_result *results = bl_arena_alloc(arena, count, sizeof *results);
  bl_search_result **alone = bl_arena_alloc(arena, space->count, sizeof(bl_search_result *));
  *sensitivity = (bl_sensitivity){0};
  if (choices == NULL || results == NULL || alone == NULL) return no_memory(err);
  for (uint32_t n = 0; n < count; n++)
    for (uint32_t k = 0; k < space->count; k++)
      choices[(size_t)n * space->count + k] =
          rest != NULL ? rest[k] : (uint8_t)(space->knobs[k].count - 1);
  uint32_t next = 1;
  for (uint32_t k = 0; k < space->count; k++) {
    alone[k] = &results[next];
    for (uint32_t i = 0; i < space->knobs[k].count; i++)
      choices[(size_t)next++ * space->count + k] = (uint8_t)i;
  }
  BL_TRY(bl_pool_evaluate(pool, choices, count, results, err));
  sensitivity->results = alone;
  sensitivity->best = results[0];
  sensitivity->around_plan = rest != NULL;
  return BL_OK;
}
