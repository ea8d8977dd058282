// SPDX-License-Identifier: Apache-2.0
// YAML by libyaml; the parameters of passes are the schema.
#include "host/compress/recipe.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "host/base/file.h"

enum { MAX_DEPTH = 5 };

typedef struct {
  yaml_document_t document;
  bl_recipe *recipe;
  bl_error *err;
} reader;

static uint32_t line_of(const yaml_node_t *node) {
  return (uint32_t)node->start_mark.line + 1;
}

static bl_status no_memory(const reader *r) {
  return bl_fail(r->err, BL_ERR_MEMORY, "%s: no memory for the recipe", r->recipe->name);
}

// One line: recipe, line, field, what is wrong.
static bl_status bad(const reader *r, const yaml_node_t *at, const char *field, const char *what,
                     const char *detail) {
  return bl_fail(r->err, BL_ERR_FORMAT, "%s:%u: %s: %s%s", r->recipe->name, (unsigned)line_of(at),
                 field, what, detail);
}

static yaml_node_t *node_at(reader *r, int index) {
  return yaml_document_get_node(&r->document, index);
}

// A scalar's text in the arena; NULL: no scalar, or one with a zero in it, or no memory.
static const char *text_of(const reader *r, const yaml_node_t *node) {
  if (node == NULL || node->type != YAML_SCALAR_NODE) return NULL;
  const char *text = (const char *)node->data.scalar.value;
  const size_t length = node->data.scalar.length;
  if (memchr(text, 0, length) != NULL) return NULL;
  return bl_arena_strndup(r->recipe->arena, text, length);
}

// The index of `text` among "a|b|c", -1: none.
static int choice_of(const char *choices, const char *text) {
  const size_t length = strlen(text);
  int index = 0;
  for (const char *at = choices;; index++) {
    const size_t span = strcspn(at, "|");
    if (span == length && memcmp(at, text, span) == 0) return index;
    if (at[span] == '\0') return -1;
    at += span + 1;
  }
}

// What `text` means for a parameter; false: nothing.
static bool read_text(const bl_recipe_param *param, const char *text, double *number) {
  char *end = NULL;
  switch (param->kind) {
  case BL_PARAM_TEXT:
    return text[0] != '\0';
  case BL_PARAM_CHOICE:
    *number = choice_of(param->choices, text);
    return *number >= 0;
  case BL_PARAM_FLAG:
    *number = strcmp(text, "true") == 0;
    return *number == 1 || strcmp(text, "false") == 0;
  case BL_PARAM_NUMBER:
  case BL_PARAM_COUNT:
    errno = 0;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*number) && errno == 0 &&
           *number >= param->lowest && *number <= param->highest &&
           (param->kind == BL_PARAM_NUMBER || *number == floor(*number));
  }
  return false;
}

// Says what a parameter takes, in `room` bytes.
static const char *expected(const bl_recipe_param *param, char *text, size_t room) {
  switch (param->kind) {
  case BL_PARAM_TEXT:
    return "a text";
  case BL_PARAM_FLAG:
    return "true or false";
  case BL_PARAM_CHOICE:
    (void)snprintf(text, room, "one of %s", param->choices);
    return text;
  case BL_PARAM_NUMBER:
  case BL_PARAM_COUNT:
    break;
  }
  (void)snprintf(text, room, "a %s from %.10g to %.10g",
                 param->kind == BL_PARAM_COUNT ? "whole number" : "number", param->lowest,
                 param->highest);
  return text;
}

static bl_status read_setting(reader *r, const bl_recipe_pass *pass, const yaml_node_t *key,
                              const yaml_node_t *value, bool by_layer, bl_setting *settings) {
  char wanted[200];
  const char *name = text_of(r, key);
  if (name == NULL) return bad(r, key, pass->name, "a parameter's name must be a word", "");
  for (uint32_t k = 0; k < pass->param_count; k++) {
    const bl_recipe_param *param = &pass->params[k];
    if (strcmp(param->name, name) != 0) continue;
    if (by_layer && !param->by_layer)
      return bad(r, key, name, "holds for all layers; it cannot stand under layers", "");
    if (settings[k].given) return bad(r, key, name, "is given twice", "");
    const char *text = text_of(r, value);
    double number = 0;
    if (text == NULL || !read_text(param, text, &number))
      return bad(r, value, name, "expected ", expected(param, wanted, sizeof wanted));
    settings[k] = (bl_setting){true, true, line_of(key), number, text};
    return BL_OK;
  }
  return bad(r, key, name, "is no parameter of ", pass->name);
}

static bl_status new_settings(reader *r, const bl_recipe_pass *pass, bool initial,
                              bl_setting **settings) {
  *settings = bl_arena_alloc(r->recipe->arena, pass->param_count, sizeof **settings);
  if (*settings == NULL) return no_memory(r);
  for (uint32_t k = 0; initial && k < pass->param_count; k++) {
    const bl_recipe_param *param = &pass->params[k];
    if (param->initial == NULL) continue;
    bl_setting *s = &(*settings)[k];
    *s = (bl_setting){.known = true, .text = param->initial};
    if (!read_text(param, param->initial, &s->number)) abort(); // a mistake in a pass's table
  }
  return BL_OK;
}

static bl_status read_layer(reader *r, const yaml_node_pair_t *pair, bl_call *call) {
  const yaml_node_t *key = node_at(r, pair->key), *value = node_at(r, pair->value);
  bl_layer_settings *layer = &call->layers[call->layer_count++];
  layer->pattern = text_of(r, key);
  layer->line = line_of(key);
  if (layer->pattern == NULL || layer->pattern[0] == '\0')
    return bad(r, key, "layers", "expected a layer's name", "");
  if (value->type != YAML_MAPPING_NODE)
    return bad(r, value, layer->pattern, "expected parameters, such as {weight-bits: 8}", "");
  BL_TRY(new_settings(r, call->pass, false, &layer->settings));
  for (const yaml_node_pair_t *p = value->data.mapping.pairs.start;
       p < value->data.mapping.pairs.top; p++)
    BL_TRY(read_setting(r, call->pass, node_at(r, p->key), node_at(r, p->value), true,
                        layer->settings));
  return BL_OK;
}

static bl_status read_layers(reader *r, const yaml_node_t *key, const yaml_node_t *value,
                             bl_call *call) {
  bool any = false;
  for (uint32_t k = 0; k < call->pass->param_count; k++)
    any = any || call->pass->params[k].by_layer;
  if (!any) return bad(r, key, "layers", "no parameter by layer in ", call->pass->name);
  if (call->layers != NULL) return bad(r, key, "layers", "is given twice", "");
  if (value->type != YAML_MAPPING_NODE) return bad(r, value, "layers", "expected layers", "");
  const ptrdiff_t count = value->data.mapping.pairs.top - value->data.mapping.pairs.start;
  if (count > BL_RECIPE_MAX_LAYERS) return bad(r, value, "layers", "too many", "");
  call->layers = bl_arena_alloc(r->recipe->arena, (size_t)count, sizeof *call->layers);
  if (call->layers == NULL) return no_memory(r);
  for (const yaml_node_pair_t *p = value->data.mapping.pairs.start;
       p < value->data.mapping.pairs.top; p++)
    BL_TRY(read_layer(r, p, call));
  return BL_OK;
}

static bl_status read_params(reader *r, const yaml_node_t *value, bl_call *call) {
  if (value->type == YAML_SCALAR_NODE && value->data.scalar.length == 0) return BL_OK;
  if (value->type != YAML_MAPPING_NODE)
    return bad(r, value, call->pass->name, "expected parameters, such as {weight-bits: 4}", "");
  for (const yaml_node_pair_t *p = value->data.mapping.pairs.start;
       p < value->data.mapping.pairs.top; p++) {
    const yaml_node_t *key = node_at(r, p->key), *setting = node_at(r, p->value);
    const char *name = text_of(r, key);
    if (name != NULL && strcmp(name, "layers") == 0)
      BL_TRY(read_layers(r, key, setting, call));
    else
      BL_TRY(read_setting(r, call->pass, key, setting, false, call->settings));
  }
  return BL_OK;
}

// "- equalise" or "- quantise: {...}".
static bl_status read_call(reader *r, const yaml_node_t *item, bl_call *call) {
  const yaml_node_t *key = item, *value = NULL;
  if (item->type == YAML_MAPPING_NODE) {
    if (item->data.mapping.pairs.top - item->data.mapping.pairs.start != 1)
      return bad(r, item, "passes", "expected one pass for each \"-\"", "");
    key = node_at(r, item->data.mapping.pairs.start->key);
    value = node_at(r, item->data.mapping.pairs.start->value);
  }
  const char *name = text_of(r, key);
  if (name == NULL) return bad(r, key, "passes", "expected the name of a pass", "");
  *call = (bl_call){.pass = bl_recipe_pass_find(name), .line = line_of(key)};
  if (call->pass == NULL) return bad(r, key, name, "is no pass; `bitloom recipes` lists them", "");
  BL_TRY(new_settings(r, call->pass, true, &call->settings));
  return value == NULL ? BL_OK : read_params(r, value, call);
}

static bl_status read_calls(reader *r, const yaml_node_t *value) {
  if (value->type != YAML_SEQUENCE_NODE) return bad(r, value, "passes", "expected a list", "");
  const ptrdiff_t count = value->data.sequence.items.top - value->data.sequence.items.start;
  if (count < 1 || count > BL_RECIPE_MAX_PASSES)
    return bad(r, value, "passes", "expected 1 to 64 of them", "");
  r->recipe->calls = bl_arena_alloc(r->recipe->arena, (size_t)count, sizeof *r->recipe->calls);
  if (r->recipe->calls == NULL) return no_memory(r);
  for (ptrdiff_t k = 0; k < count; k++)
    BL_TRY(read_call(r, node_at(r, value->data.sequence.items.start[k]),
                     &r->recipe->calls[r->recipe->call_count++]));
  return BL_OK;
}

static bl_status read_field(reader *r, const yaml_node_t *key, const yaml_node_t *value,
                            bool *has_seed) {
  static const bl_recipe_param seed = {
      .name = "seed", .kind = BL_PARAM_COUNT, .lowest = 0, .highest = 9007199254740991.0};
  const char *name = text_of(r, key), *text = text_of(r, value);
  char wanted[200];
  double number = 0;
  if (name == NULL) return bad(r, key, "recipe", "a field's name must be a word", "");
  if (strcmp(name, "passes") == 0) {
    if (r->recipe->calls != NULL) return bad(r, key, name, "is given twice", "");
    return read_calls(r, value);
  }
  if (strcmp(name, "about") == 0) {
    if (r->recipe->about[0] != '\0') return bad(r, key, name, "is given twice", "");
    if (text == NULL) return bad(r, value, name, "expected a text", "");
    r->recipe->about = text;
    return BL_OK;
  }
  if (strcmp(name, "seed") != 0)
    return bad(r, key, name, "is no field of a recipe: about, seed, passes", "");
  if (*has_seed) return bad(r, key, name, "is given twice", "");
  if (text == NULL || !read_text(&seed, text, &number))
    return bad(r, value, name, "expected ", expected(&seed, wanted, sizeof wanted));
  *has_seed = true;
  r->recipe->seed = (uint64_t)number;
  return BL_OK;
}

static bl_status read_document(reader *r) {
  const yaml_node_t *root = yaml_document_get_root_node(&r->document);
  bool has_seed = false;
  if (root == NULL)
    return bl_fail(r->err, BL_ERR_FORMAT, "%s: the recipe is empty", r->recipe->name);
  if (root->type != YAML_MAPPING_NODE)
    return bad(r, root, "recipe", "expected fields: about, seed, passes", "");
  for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
       p++)
    BL_TRY(read_field(r, node_at(r, p->key), node_at(r, p->value), &has_seed));
  if (r->recipe->calls == NULL) return bad(r, root, "passes", "is missing", "");
  return BL_OK;
}

// Depth is bounded before a document is made, so that brackets in brackets cost nothing; aliases
// are not taken, so that every node is read once.
static bl_status check_events(reader *r, const char *text, size_t size) {
  yaml_parser_t parser;
  bl_status status = BL_OK;
  int depth = 0;
  if (yaml_parser_initialize(&parser) == 0) return no_memory(r);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
  for (bool more = true; more && status == BL_OK;) {
    yaml_event_t event;
    if (yaml_parser_parse(&parser, &event) == 0) {
      status = bl_fail(r->err, BL_ERR_FORMAT, "%s:%u: no YAML: %s", r->recipe->name,
                       (unsigned)parser.problem_mark.line + 1,
                       parser.problem != NULL ? parser.problem : "no memory");
      break;
    }
    const yaml_event_type_t type = event.type;
    const unsigned line = (unsigned)event.start_mark.line + 1;
    yaml_event_delete(&event);
    depth += type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT;
    depth -= type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT;
    more = type != YAML_STREAM_END_EVENT;
    if (depth > MAX_DEPTH + 1)
      status = bl_fail(r->err, BL_ERR_FORMAT, "%s:%u: nested too deeply", r->recipe->name, line);
    else if (type == YAML_ALIAS_EVENT)
      status = bl_fail(r->err, BL_ERR_FORMAT, "%s:%u: aliases (*name) are not taken",
                       r->recipe->name, line);
  }
  yaml_parser_delete(&parser);
  return status;
}

static bl_status read_text_of(reader *r, const char *text, size_t size) {
  yaml_parser_t parser;
  BL_TRY(check_events(r, text, size));
  if (yaml_parser_initialize(&parser) == 0) return no_memory(r);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
  const int loaded = yaml_parser_load(&parser, &r->document);
  yaml_parser_delete(&parser);
  if (loaded == 0) return no_memory(r);
  const bl_status status = read_document(r);
  yaml_document_delete(&r->document);
  return status;
}

bl_status bl_recipe_parse(const char *name, const char *text, size_t size, bl_recipe **recipe,
                          bl_error *err) {
  *recipe = NULL;
  if (size > BL_RECIPE_MAX_BYTES)
    return bl_fail(err, BL_ERR_RANGE, "%s: a recipe has at most %d bytes", name,
                   BL_RECIPE_MAX_BYTES);
  bl_arena *arena = bl_arena_new((size_t)64 * BL_RECIPE_MAX_BYTES + (1 << 24));
  bl_recipe *made = arena == NULL ? NULL : bl_arena_alloc(arena, 1, sizeof *made);
  reader r = {.recipe = made, .err = err};
  bl_status status = BL_OK;
  if (made != NULL) {
    *made = (bl_recipe){.arena = arena,
                        .name = bl_arena_strndup(arena, name, strlen(name)),
                        .about = "",
                        .text = bl_arena_strndup(arena, text, size),
                        .seed = 1};
  }
  if (made == NULL || made->name == NULL || made->text == NULL)
    status = bl_fail(err, BL_ERR_MEMORY, "%s: no memory for the recipe", name);
  else
    status = read_text_of(&r, text, size);
  if (status == BL_OK)
    *recipe = made;
  else
    bl_arena_free(arena);
  return status;
}

void bl_recipe_free(bl_recipe *recipe) {
  if (recipe != NULL) bl_arena_free(recipe->arena);
}
