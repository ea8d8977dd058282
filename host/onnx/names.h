// SPDX-License-Identifier: Apache-2.0
// A table from names to numbers, for models with any number of them.
#ifndef BITLOOM_HOST_ONNX_NAMES_H
#define BITLOOM_HOST_ONNX_NAMES_H

#include <stdint.h>

#include "host/base/arena.h"

typedef struct {
  const char **names;
  int32_t *numbers;
  uint32_t room, used; // room is a power of two
} bl_names;

// The number stored under `name`, -1 where there is none.
int32_t bl_names_find(const bl_names *table, const char *name);
// Stores a name that is not there yet and must outlive the table; 0 when memory is short.
int bl_names_add(bl_names *table, bl_arena *arena, const char *name, int32_t number);

#endif
