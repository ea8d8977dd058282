// SPDX-License-Identifier: Apache-2.0
// What the files of the pool share: pool.c, its file (pool_state.c), and the command that evaluates
// elsewhere (pool_command.c).
#ifndef BITLOOM_HOST_SEARCH_POOL_INTERNAL_H
#define BITLOOM_HOST_SEARCH_POOL_INTERNAL_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "host/search/pool.h"

enum { BL_POOL_MOST_BYTES = 256 << 20 };

typedef struct {
  const char *key;
  bl_search_result result;
} bl_pool_known_entry;

struct bl_pool {
  bl_pool_options options;
  bl_arena *arena; // of keys and choices
  FILE *file;      // the state, open for appending; NULL: none
  bl_pool_known_entry *known;
  uint32_t known_count, known_room;
  bl_pool_entry *asked;
  uint32_t asked_count, asked_room;
  uint32_t fresh;
};

// A candidate's key: key[knobs + 1].
void bl_pool_key(const bl_pool *pool, const uint8_t *choice, char *key);
// The result of that key; NULL: not known.
const bl_search_result *bl_pool_known(const bl_pool *pool, const char *key);
BL_MUST_USE bl_status bl_pool_keep(bl_pool *pool, const char *key, const bl_search_result *result,
                                   bl_error *err);

// pool_state.c: opens the file, taking its results; and notes a new result, there too.
BL_MUST_USE bl_status bl_pool_read_state(bl_pool *pool, bl_error *err);
BL_MUST_USE bl_status bl_pool_record(bl_pool *pool, const uint8_t *choice,
                                     const bl_search_result *result, bl_error *err);
// A result's numbers to and from an object; false: one is missing.
void bl_search_result_add(cJSON *object, const bl_search_result *result);
bool bl_search_result_read(const cJSON *object, bl_search_result *result);

// pool_command.c: candidates choices[order[0..count-1]] by the command.
BL_MUST_USE bl_status bl_pool_command(bl_pool *pool, const uint8_t *choices, const uint32_t *order,
                                      uint32_t count, bl_error *err);

#endif
