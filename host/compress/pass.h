// SPDX-License-Identifier: Apache-2.0
// A pass: one technique, with the parameters that a recipe may give it. A pass reads and changes
// the network, and promises what later passes must keep. passes.c lists all of them; a new one is a
// file with a bl_recipe_pass and a line there.
#ifndef BITLOOM_HOST_COMPRESS_PASS_H
#define BITLOOM_HOST_COMPRESS_PASS_H

#include "host/compress/network.h"

typedef enum {
  BL_PARAM_NUMBER, // lowest..highest
  BL_PARAM_COUNT,  // the same, whole
  BL_PARAM_CHOICE, // one of "a|b|c"
  BL_PARAM_FLAG,   // true or false
  BL_PARAM_TEXT
} bl_recipe_param_kind;

typedef struct {
  const char *name; // lower case, words joined by hyphens
  bl_recipe_param_kind kind;
  bool by_layer; // may also be given for single layers
  // What holds where nothing is given, as a recipe would write it; NULL: nothing.
  const char *initial;
  double lowest, highest; // of NUMBER and COUNT
  const char *choices;    // of CHOICE
  const char *help;       // one line
} bl_recipe_param;

// Rows of a pass's table, within braces, where `.by_layer = true` may follow.
#define BL_NUMBER(n, start, least, most, says)                                                     \
  .name = n, .kind = BL_PARAM_NUMBER, .initial = start, .lowest = least, .highest = most,          \
  .help = says
#define BL_COUNT(n, start, least, most, says)                                                      \
  .name = n, .kind = BL_PARAM_COUNT, .initial = start, .lowest = least, .highest = most,           \
  .help = says
#define BL_CHOICE(n, start, of, says)                                                              \
  .name = n, .kind = BL_PARAM_CHOICE, .initial = start, .choices = of, .help = says
#define BL_FLAG(n, start, says) .name = n, .kind = BL_PARAM_FLAG, .initial = start, .help = says
#define BL_TEXT(n, start, says) .name = n, .kind = BL_PARAM_TEXT, .initial = start, .help = says

typedef struct {
  bool given; // in the recipe
  bool known; // given, or by its default
  uint32_t line;
  double number;    // NUMBER and COUNT; a FLAG is 0 or 1, a CHOICE its index
  const char *text; // as it stands in the recipe; NULL where not known
} bl_setting;

// Settings for the layers that a pattern names: a layer's name, in which * stands for any
// characters, or "first" or "last".
typedef struct {
  const char *pattern;
  uint32_t line;
  bl_setting *settings; // [param_count]; only those that are `given` say anything
} bl_layer_settings;

typedef struct bl_recipe_pass bl_recipe_pass;

// A pass as a recipe calls it.
typedef struct {
  const bl_recipe_pass *pass;
  uint32_t line;
  bl_setting *settings;      // [param_count]
  bl_layer_settings *layers; // later ones win
  uint32_t layer_count;
  const char *first, *last; // what "first" and "last" mean as the pass begins
} bl_call;

struct bl_recipe_pass {
  const char *name;    // the technique's usual name, lower case with hyphens
  const char *summary; // one line
  const char *source;  // paper or textbook
  bool averages;       // average poolings are layers that patterns may name, too
  const bl_recipe_param *params;
  uint32_t param_count;
  // Errors name what does not apply; recipe, line and pass are put in front by the pipeline.
  bl_status (*run)(bl_network *network, const bl_call *call, bl_error *err);
  int variant; // tells passes apart that share a `run`
};

// All passes, NULL behind the last.
extern const bl_recipe_pass *const BL_PASSES[];
// NULL: none of that name.
const bl_recipe_pass *bl_recipe_pass_find(const char *name);

// A setting for a layer (NULL: for all); `name` is one of the pass's parameters.
const bl_setting *bl_call_setting(const bl_call *call, const char *layer, const char *name);
// Short forms of it for all layers.
double bl_call_number(const bl_call *call, const char *name);
uint64_t bl_call_count(const bl_call *call, const char *name);
int bl_call_choice(const bl_call *call, const char *name);
bool bl_call_flag(const bl_call *call, const char *name);
const char *bl_call_text(const bl_call *call, const char *name); // NULL: not known
// Does a pattern name the layer?
bool bl_call_names(const bl_call *call, const char *pattern, const char *layer);

#endif
