// SPDX-License-Identifier: Apache-2.0
// Bits and pruned blocks by layer, for the accuracy that the network has without training.
#include <math.h>
#include <stdlib.h>

#include "host/base/file.h"
#include "host/compress/passes.h"
#include "host/compress/searching.h"

static const bl_recipe_param params[] = {
    BL_SEARCHING_PARAMS,
    {BL_NUMBER("max-drop", "-1", -1, 100, "points below the float network's accuracy; -1: any")},
    {BL_NUMBER("accuracy", "0", 0, 100, "least accuracy in percent; 0: any")},
    {BL_COUNT("population", "24", 4, 1024, "of the evolution")},
    {BL_COUNT("generations", "4", 0, 1e6, "of the evolution; 0: none")},
    {BL_TEXT("plan", NULL,
             "a file that bitloom search has written: taken as it is, nothing is searched")},
};

static bl_status take_file(const bl_searching *s, const char *path, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  bl_search_plan plan;
  BL_TRY(bl_file_read(path, BL_SPACE_MOST_BYTES, &bytes, &size, err));
  char *text = bl_arena_strndup(s->arena, (const char *)bytes, size);
  free(bytes);
  if (text == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a plan");
  BL_TRY(bl_search_plan_parse(path, text, s->arena, &plan, err));
  return bl_searching_take_plan(s, &plan, s->network, err);
}

static bl_status search(bl_searching *s, const bl_call *call, bl_error *err) {
  bl_search_outcome outcome;
  bl_search_options *o = &s->options;
  const double drop = bl_call_number(call, "max-drop"), least = bl_call_number(call, "accuracy");
  const double whole = bl_candidates_float_accuracy(s->candidates);
  if (bl_call_text(call, "plan") != NULL) return take_file(s, bl_call_text(call, "plan"), err);
  if ((drop >= 0 || least > 0) && whole < 0)
    return bl_fail(err, BL_ERR_USAGE, "max-drop and accuracy need labels");
  if (drop >= 0) o->limits.least_accuracy = whole - drop / 100;
  if (least > 0) o->limits.least_accuracy = fmax(o->limits.least_accuracy, least / 100);
  o->population = (uint32_t)bl_call_count(call, "population");
  o->generations = (uint32_t)bl_call_count(call, "generations");
  BL_TRY(bl_search(s->candidates, &s->space, s->pool, o, s->arena, &outcome, err));
  if (outcome.choice == NULL)
    return bl_fail(err, BL_ERR_USAGE, "say max-cycles, max-bytes, max-drop or accuracy");
  return bl_searching_take(s, outcome.choice, s->network, err);
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  bl_searching searching;
  bl_status status = bl_searching_open(network, call, NULL, &searching, err);
  if (status == BL_OK) status = search(&searching, call, err);
  bl_searching_close(&searching);
  return status;
}

const bl_recipe_pass BL_PASS_SEARCH = {
    .name = "search",
    .summary = "bits and pruned blocks by layer under a budget, by the device's own cycles",
    .source = "Deb et al. 2002, NSGA-II; Chen et al. 2021, Towards Mixed-Precision (ILP)",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
