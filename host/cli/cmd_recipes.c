// SPDX-License-Identifier: Apache-2.0
// bitloom recipes: the built-in recipes, the passes, and what each takes.
#include <string.h>

#include "host/cli/commands.h"
#include "host/compress/recipe.h"

static const char *kind_of(const bl_recipe_param *param) {
  switch (param->kind) {
  case BL_PARAM_NUMBER:
    return "number";
  case BL_PARAM_COUNT:
    return "whole number";
  case BL_PARAM_CHOICE:
    return param->choices;
  case BL_PARAM_FLAG:
    return "true|false";
  case BL_PARAM_TEXT:
    break;
  }
  return "text";
}

static void show_param(const bl_recipe_param *param, cJSON *array, bl_cli_output *output) {
  const bool bounded = param->kind == BL_PARAM_NUMBER || param->kind == BL_PARAM_COUNT;
  cJSON *object = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(object, "name", param->name);
  (void)cJSON_AddStringToObject(object, "kind", kind_of(param));
  if (param->initial != NULL) (void)cJSON_AddStringToObject(object, "initial", param->initial);
  (void)cJSON_AddBoolToObject(object, "by_layer", param->by_layer);
  (void)cJSON_AddStringToObject(object, "help", param->help);
  (void)cJSON_AddItemToArray(array, object);
  bl_cli_say(output, "  %s: %s", param->name, kind_of(param));
  if (bounded) bl_cli_say(output, " %.10g..%.10g", param->lowest, param->highest);
  bl_cli_say(output, ", %s%s%s\n      %s\n", param->initial == NULL ? "no default" : "default ",
             param->initial == NULL ? "" : param->initial, param->by_layer ? ", by layer" : "",
             param->help);
}

static void show_pass(const bl_recipe_pass *pass, cJSON *object, bl_cli_output *output) {
  cJSON *params = cJSON_AddArrayToObject(object, "params");
  (void)cJSON_AddStringToObject(object, "name", pass->name);
  (void)cJSON_AddStringToObject(object, "about", pass->summary);
  (void)cJSON_AddStringToObject(object, "source", pass->source);
  bl_cli_say(output, "%s: %s (%s)\n", pass->name, pass->summary, pass->source);
  for (uint32_t k = 0; k < pass->param_count; k++)
    show_param(&pass->params[k], params, output);
}

// Everything there is, a line each.
static bl_status show_all(bl_cli_output *output, bl_error *err) {
  cJSON *recipes = cJSON_AddArrayToObject(output->object, "recipes");
  cJSON *passes = cJSON_AddArrayToObject(output->object, "passes");
  bl_cli_say(output, "Recipes, for compress --recipe:\n");
  for (uint32_t k = 0; BL_RECIPES[k].name != NULL; k++) {
    bl_recipe *recipe;
    BL_TRY(bl_recipe_open(BL_RECIPES[k].name, &recipe, err));
    bl_cli_say(output, "  %-16s %s\n", recipe->name, recipe->about);
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(object, "name", recipe->name);
    (void)cJSON_AddStringToObject(object, "about", recipe->about);
    (void)cJSON_AddItemToArray(recipes, object);
    bl_recipe_free(recipe);
  }
  bl_cli_say(output, "\nPasses:\n");
  for (uint32_t k = 0; BL_PASSES[k] != NULL; k++) {
    bl_cli_output quiet = {.json = true};
    cJSON *object = cJSON_CreateObject();
    bl_cli_say(output, "  %-16s %s\n", BL_PASSES[k]->name, BL_PASSES[k]->summary);
    show_pass(BL_PASSES[k], object, &quiet);
    (void)cJSON_AddItemToArray(passes, object);
  }
  bl_cli_say(output, "\nbitloom recipes NAME prints a recipe, or what a pass takes.\n");
  return BL_OK;
}

bl_status bl_cmd_recipes(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  if (args->model == NULL) return show_all(output, err);
  for (uint32_t k = 0; BL_RECIPES[k].name != NULL; k++) {
    if (strcmp(BL_RECIPES[k].name, args->model) != 0) continue;
    (void)cJSON_AddStringToObject(output->object, "name", args->model);
    (void)cJSON_AddStringToObject(output->object, "recipe_text", BL_RECIPES[k].text);
    bl_cli_say(output, "%s", BL_RECIPES[k].text);
    return BL_OK;
  }
  const bl_recipe_pass *pass = bl_recipe_pass_find(args->model);
  if (pass == NULL)
    return bl_fail(err, BL_ERR_USAGE,
                   "%s: neither a recipe nor a pass; `bitloom recipes` lists them", args->model);
  show_pass(pass, output->object, output);
  return BL_OK;
}
