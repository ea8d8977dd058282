// SPDX-License-Identifier: Apache-2.0
// Recipes: a list of passes with their parameters, as YAML.
//
//   about: one line
//   seed: 1
//   passes:
//     - equalise
//     - quantise:
//         weight-bits: 4
//         layers:
//           first: {weight-bits: 8}
//
// The schema is the table of each pass's parameters. Everything is checked before anything runs.
#ifndef BITLOOM_HOST_COMPRESS_RECIPE_H
#define BITLOOM_HOST_COMPRESS_RECIPE_H

#include "host/compress/pass.h"

enum { BL_RECIPE_MAX_BYTES = 1 << 16, BL_RECIPE_MAX_PASSES = 64, BL_RECIPE_MAX_LAYERS = 256 };

typedef struct {
  bl_arena *arena;
  const char *name, *about; // file or built-in name; "" without
  const char *text;         // as read
  uint64_t seed;
  bl_call *calls;
  uint32_t call_count;
} bl_recipe;

typedef struct {
  const char *name, *text;
} bl_builtin_recipe;

// Built in, {NULL, NULL} behind the last.
extern const bl_builtin_recipe BL_RECIPES[];

// A built-in recipe, or a file. Errors, with line and field: IO, FORMAT, RANGE, MEMORY.
BL_MUST_USE bl_status bl_recipe_open(const char *name, bl_recipe **recipe, bl_error *err);
// From memory; `name` is what errors call it.
BL_MUST_USE bl_status bl_recipe_parse(const char *name, const char *text, size_t size,
                                      bl_recipe **recipe, bl_error *err);
void bl_recipe_free(bl_recipe *recipe);

#endif
