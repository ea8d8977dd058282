// SPDX-License-Identifier: Apache-2.0
// Candidates as plans, and plans as JSON.
#include "host/search/space.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static const struct {
  const char *name;
  double lowest, highest;
  bool whole;
} kinds[BL_KNOB_KINDS] = {
    [BL_KNOB_WEIGHT_BITS] = {"weight-bits", 1, 8, true},
    [BL_KNOB_BLOCKS] = {"blocks", 0, 0.99, false},
    [BL_KNOB_RANK] = {"rank", 0.01, 1, false},
    [BL_KNOB_ACTIVATION_BITS] = {"activation-bits", 1, 8, true},
};

const char *bl_knob_name(bl_knob_kind kind) {
  return kinds[kind].name;
}

bool bl_knob_takes(bl_knob_kind kind, double value) {
  return value >= kinds[kind].lowest && value <= kinds[kind].highest &&
         (!kinds[kind].whole || value == floor(value));
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for a plan");
}

static bl_planned *entry_of(bl_search_plan *plan, const char *layer) {
  for (uint32_t k = 0; k < plan->count; k++)
    if (strcmp(plan->layers[k].layer, layer) == 0) return &plan->layers[k];
  bl_planned *entry = &plan->layers[plan->count++];
  entry->layer = layer;
  for (int kind = 0; kind < BL_KNOB_KINDS; kind++)
    entry->value[kind] = -1;
  return entry;
}

bl_status bl_space_plan(const bl_space *space, const uint8_t *choice, bl_arena *arena,
                        bl_search_plan *plan, bl_error *err) {
  *plan = (bl_search_plan){bl_arena_alloc(arena, space->count, sizeof *plan->layers), 0};
  if (plan->layers == NULL) return no_memory(err);
  for (uint32_t k = 0; k < space->count; k++) {
    const bl_knob *knob = &space->knobs[k];
    entry_of(plan, knob->layer)->value[knob->kind] = knob->values[choice[k]];
  }
  return BL_OK;
}

char *bl_search_plan_text(const bl_search_plan *plan) {
  cJSON *root = cJSON_CreateObject();
  cJSON *layers = cJSON_AddArrayToObject(root, "layers");
  for (uint32_t k = 0; k < plan->count; k++) {
    cJSON *entry = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(entry, "name", plan->layers[k].layer);
    for (int kind = 0; kind < BL_KNOB_KINDS; kind++)
      if (plan->layers[k].value[kind] >= 0)
        (void)cJSON_AddNumberToObject(entry, kinds[kind].name, plan->layers[k].value[kind]);
    (void)cJSON_AddItemToArray(layers, entry);
  }
  char *text = cJSON_PrintUnformatted(root);
  cJSON_Delete(root);
  return text;
}

static bl_status parse_field(const char *what, const cJSON *field, bl_planned *entry,
                             bl_error *err) {
  if (strcmp(field->string, "name") == 0) return BL_OK;
  for (int kind = 0; kind < BL_KNOB_KINDS; kind++) {
    if (strcmp(field->string, kinds[kind].name) != 0) continue;
    if (!cJSON_IsNumber(field) || !bl_knob_takes((bl_knob_kind)kind, field->valuedouble))
      return bl_fail(err, BL_ERR_RANGE, "%s: layer %s: %s must be %s from %g to %g", what,
                     entry->layer, kinds[kind].name, kinds[kind].whole ? "whole," : "a number",
                     kinds[kind].lowest, kinds[kind].highest);
    entry->value[kind] = field->valuedouble;
    return BL_OK;
  }
  return bl_fail(err, BL_ERR_FORMAT, "%s: layer %s: no such field: %s", what, entry->layer,
                 field->string);
}

static bl_status parse_layer(const char *what, const cJSON *item, bl_arena *arena,
                             bl_search_plan *plan, bl_error *err) {
  const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");
  if (!cJSON_IsString(name))
    return bl_fail(err, BL_ERR_FORMAT, "%s: entry %u has no name", what, (unsigned)plan->count);
  const char *layer = bl_arena_strndup(arena, name->valuestring, strlen(name->valuestring));
  if (layer == NULL) return no_memory(err);
  const uint32_t count = plan->count;
  bl_planned *entry = entry_of(plan, layer);
  if (plan->count == count)
    return bl_fail(err, BL_ERR_FORMAT, "%s: layer %s stands there twice", what, layer);
  for (const cJSON *field = item->child; field != NULL; field = field->next)
    BL_TRY(parse_field(what, field, entry, err));
  return BL_OK;
}

bl_status bl_search_plan_parse(const char *what, const char *text, bl_arena *arena,
                               bl_search_plan *plan, bl_error *err) {
  *plan = (bl_search_plan){0};
  cJSON *root = cJSON_Parse(text);
  const cJSON *layers = cJSON_GetObjectItemCaseSensitive(root, "layers");
  const int count = cJSON_IsArray(layers) ? cJSON_GetArraySize(layers) : -1;
  bl_status status = BL_OK;
  if (count < 0 || count > BL_SPACE_MOST_KNOBS)
    status =
        bl_fail(err, BL_ERR_FORMAT,
                "%s: expected {\"layers\": [{\"name\": \"conv\", \"weight-bits\": 4}, ...]}", what);
  if (status == BL_OK) {
    plan->layers = bl_arena_alloc(arena, (size_t)count, sizeof *plan->layers);
    if (plan->layers == NULL) status = no_memory(err);
  }
  for (const cJSON *item = layers == NULL ? NULL : layers->child; item != NULL && status == BL_OK;
       item = item->next)
    status = parse_layer(what, item, arena, plan, err);
  cJSON_Delete(root);
  return status;
}
