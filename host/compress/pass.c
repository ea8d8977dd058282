// SPDX-License-Identifier: Apache-2.0
#include "host/compress/pass.h"

#include <assert.h>
#include <string.h>

const bl_recipe_pass *bl_recipe_pass_find(const char *name) {
  for (uint32_t k = 0; BL_PASSES[k] != NULL; k++)
    if (strcmp(BL_PASSES[k]->name, name) == 0) return BL_PASSES[k];
  return NULL;
}

// `*` stands for any characters; the last star that could take more is tried again.
static bool matches(const char *pattern, const char *text) {
  const char *star = NULL, *from = NULL;
  while (*text != '\0') {
    if (*pattern == '*') {
      star = pattern++;
      from = text;
    } else if (*pattern == *text) {
      pattern++;
      text++;
    } else if (star != NULL) {
      pattern = star + 1;
      text = ++from;
    } else {
      return false;
    }
  }
  while (*pattern == '*')
    pattern++;
  return *pattern == '\0';
}

bool bl_call_names(const bl_call *call, const char *pattern, const char *layer) {
  if (strcmp(pattern, "first") == 0) pattern = call->first;
  if (strcmp(pattern, "last") == 0) pattern = call->last;
  return matches(pattern, layer);
}

const bl_setting *bl_call_setting(const bl_call *call, const char *layer, const char *name) {
  uint32_t index = 0;
  while (index < call->pass->param_count && strcmp(call->pass->params[index].name, name) != 0)
    index++;
  assert(index < call->pass->param_count);
  const bl_setting *setting = &call->settings[index];
  for (uint32_t k = 0; layer != NULL && k < call->layer_count; k++)
    if (call->layers[k].settings[index].given &&
        bl_call_names(call, call->layers[k].pattern, layer))
      setting = &call->layers[k].settings[index];
  return setting;
}

double bl_call_number(const bl_call *call, const char *name) {
  return bl_call_setting(call, NULL, name)->number;
}

uint64_t bl_call_count(const bl_call *call, const char *name) {
  return (uint64_t)bl_call_number(call, name);
}

int bl_call_choice(const bl_call *call, const char *name) {
  return (int)bl_call_number(call, name);
}

bool bl_call_flag(const bl_call *call, const char *name) {
  return bl_call_number(call, name) != 0;
}

const char *bl_call_text(const bl_call *call, const char *name) {
  return bl_call_setting(call, NULL, name)->text;
}
