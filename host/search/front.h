// SPDX-License-Identifier: Apache-2.0
// What a search has found, as tables and as a picture.
#ifndef BITLOOM_HOST_SEARCH_FRONT_H
#define BITLOOM_HOST_SEARCH_FRONT_H

#include "host/search/evolve.h"
#include "host/search/sensitivity.h"

typedef struct {
  const bl_space *space;
  const bl_pool_entry *entries;
  uint32_t count, axis;  // BL_CYCLES or BL_BYTES
  const uint8_t *choice; // the chosen one; NULL: none
  double float_accuracy; // negative: not known
} bl_front;

// Writes BASE.csv (a row a candidate), BASE.json (those of the front, with their plans) and
// BASE.svg (by gnuplot). Errors: IO, MEMORY; UNSUPPORTED where gnuplot is not there (the tables
// are written).
BL_MUST_USE bl_status bl_front_write(const bl_front *front, const char *base, bl_error *err);
// Writes a text and a line feed behind it. Errors: IO, MEMORY.
BL_MUST_USE bl_status bl_search_write(const char *path, const char *text, bl_error *err);
// The sensitivities as JSON, freed with free(); NULL: no memory.
char *bl_sensitivity_text(const bl_space *space, const bl_sensitivity *sensitivity);

#endif
