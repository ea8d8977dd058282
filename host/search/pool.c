// SPDX-License-Identifier: Apache-2.0
// A candidate's key is one character a knob: its choice. The file has a line of JSON a result, and
// a first line that says what they are results of.
#include "host/search/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/search/pool_internal.h"

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the candidates");
}

void bl_pool_key(const bl_pool *pool, const uint8_t *choice, char *key) {
  static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
  static_assert(sizeof digits == BL_KNOB_MOST_VALUES + 1, "a digit a choice");
  for (uint32_t k = 0; k < pool->options.space->count; k++)
    key[k] = digits[choice[k]];
  key[pool->options.space->count] = '\0';
}

const bl_search_result *bl_pool_known(const bl_pool *pool, const char *key) {
  for (uint32_t k = 0; k < pool->known_count; k++)
    if (strcmp(pool->known[k].key, key) == 0) return &pool->known[k].result;
  return NULL;
}

bl_status bl_pool_keep(bl_pool *pool, const char *key, const bl_search_result *result,
                       bl_error *err) {
  if (pool->known_count == pool->known_room) {
    const uint32_t room = 2 * pool->known_room + 64;
    bl_pool_known_entry *grown = realloc(pool->known, room * sizeof *grown);
    if (grown == NULL) return no_memory(err);
    pool->known = grown;
    pool->known_room = room;
  }
  char *copy = bl_arena_strndup(pool->arena, key, strlen(key));
  if (copy == NULL) return no_memory(err);
  pool->known[pool->known_count++] = (bl_pool_known_entry){copy, *result};
  return BL_OK;
}

static bl_status ask(bl_pool *pool, const uint8_t *choice, const bl_search_result *result,
                     bl_error *err) {
  const uint32_t knobs = pool->options.space->count;
  for (uint32_t k = 0; k < pool->asked_count; k++)
    if (memcmp(pool->asked[k].choice, choice, knobs) == 0) return BL_OK;
  if (pool->asked_count == pool->asked_room) {
    const uint32_t room = 2 * pool->asked_room + 64;
    bl_pool_entry *grown = realloc(pool->asked, room * sizeof *grown);
    if (grown == NULL) return no_memory(err);
    pool->asked = grown;
    pool->asked_room = room;
  }
  uint8_t *copy = bl_arena_alloc(pool->arena, knobs, 1);
  if (copy == NULL) return no_memory(err);
  memcpy(copy, choice, knobs);
  pool->asked[pool->asked_count++] = (bl_pool_entry){copy, *result};
  return BL_OK;
}

static bl_status check(const bl_pool_options *o, bl_error *err) {
  if (o->workers < 1 || o->workers > BL_MAX_SHARDS)
    return bl_fail(err, BL_ERR_RANGE, "search: %u processes, expected 1 to %d",
                   (unsigned)o->workers, BL_MAX_SHARDS);
  bool sound = o->space->count >= 1 && o->space->count <= BL_SPACE_MOST_KNOBS;
  for (uint32_t k = 0; sound && k < o->space->count; k++)
    sound = o->space->knobs[k].count >= 1 && o->space->knobs[k].count <= BL_KNOB_MOST_VALUES;
  return sound ? BL_OK
               : bl_fail(err, BL_ERR_RANGE, "search: %u knobs, or one without a choice",
                         (unsigned)o->space->count);
}

bl_status bl_pool_open(const bl_pool_options *options, bl_pool **pool, bl_error *err) {
  *pool = NULL;
  BL_TRY(check(options, err));
  bl_pool *p = calloc(1, sizeof *p);
  if (p == NULL) return no_memory(err);
  p->options = *options;
  p->arena = bl_arena_new(BL_POOL_MOST_BYTES);
  bl_status status = p->arena == NULL ? no_memory(err) : bl_pool_read_state(p, err);
  if (status == BL_OK)
    *pool = p;
  else
    bl_pool_close(p);
  return status;
}

void bl_pool_close(bl_pool *pool) {
  if (pool == NULL) return;
  if (pool->file != NULL) (void)fclose(pool->file);
  bl_arena_free(pool->arena);
  free(pool->known);
  free(pool->asked);
  free(pool);
}

// Candidates that are not known yet, each once: their numbers in order[]; returns how many.
static bl_status unknown(const bl_pool *pool, const uint8_t *choices, uint32_t count,
                         uint32_t *order, uint32_t *found, bl_error *err) {
  const uint32_t knobs = pool->options.space->count;
  char *key = malloc(knobs + 1);
  if (key == NULL) return no_memory(err);
  *found = 0;
  for (uint32_t n = 0; n < count; n++) {
    const uint8_t *choice = choices + (size_t)n * knobs;
    bool seen = false;
    bl_pool_key(pool, choice, key);
    for (uint32_t k = 0; k < *found && !seen; k++)
      seen = memcmp(choices + (size_t)order[k] * knobs, choice, knobs) == 0;
    if (!seen && bl_pool_known(pool, key) == NULL) order[(*found)++] = n;
  }
  free(key);
  return BL_OK;
}

typedef struct {
  bl_pool *pool;
  const uint8_t *choices;
  const uint32_t *order;
  uint32_t first;
} round_work;

static bl_status evaluate_one(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                              bl_error *err) {
  const round_work *w = context;
  const bl_pool_options *o = &w->pool->options;
  const uint8_t *choice = w->choices + (size_t)w->order[w->first + shard] * o->space->count;
  bl_arena *arena = bl_arena_new(BL_SPACE_MOST_BYTES);
  if (arena == NULL) return no_memory(err);
  bl_search_plan plan;
  bl_status status = bl_space_plan(o->space, choice, arena, &plan, err);
  if (status == BL_OK) status = o->evaluate(o->context, &plan, result, err);
  bl_arena_free(arena);
  (void)tick;
  return status;
}

// As many candidates at once as there are workers; a round's results are in the file before the
// next begins.
static bl_status run_rounds(bl_pool *pool, const uint8_t *choices, const uint32_t *order,
                            uint32_t count, bl_error *err) {
  const bl_pool_options *o = &pool->options;
  for (uint32_t first = 0; first < count;) {
    const uint32_t left = count - first, now = left < o->workers ? left : o->workers;
    bl_search_result results[BL_MAX_SHARDS];
    round_work work = {pool, choices, order, first};
    BL_TRY(bl_shard_run(now, evaluate_one, &work, results, sizeof results[0], now, (bl_progress){0},
                        err));
    for (uint32_t k = 0; k < now; k++)
      BL_TRY(bl_pool_record(pool, choices + (size_t)order[first + k] * o->space->count, &results[k],
                            err));
    first += now;
    if (o->progress.step != NULL) o->progress.step(o->progress.user, first, count);
  }
  return BL_OK;
}

static bl_status look_up(bl_pool *pool, const uint8_t *choices, uint32_t count,
                         bl_search_result *results, bl_error *err) {
  const uint32_t knobs = pool->options.space->count;
  char *key = malloc(knobs + 1);
  if (key == NULL) return no_memory(err);
  bl_status status = BL_OK;
  for (uint32_t n = 0; n < count && status == BL_OK; n++) {
    bl_pool_key(pool, choices + (size_t)n * knobs, key);
    results[n] = *bl_pool_known(pool, key);
    status = ask(pool, choices + (size_t)n * knobs, &results[n], err);
  }
  free(key);
  return status;
}

bl_status bl_pool_evaluate(bl_pool *pool, const uint8_t *choices, uint32_t count,
                           bl_search_result *results, bl_error *err) {
  uint32_t *order = calloc(count + 1u, sizeof *order), fresh = 0;
  if (order == NULL) return no_memory(err);
  bl_status status = unknown(pool, choices, count, order, &fresh, err);
  if (status == BL_OK && fresh > 0)
    status = pool->options.command != NULL ? bl_pool_command(pool, choices, order, fresh, err)
                                           : run_rounds(pool, choices, order, fresh, err);
  if (status == BL_OK) status = look_up(pool, choices, count, results, err);
  pool->fresh += fresh;
  free(order);
  return status;
}

const bl_pool_entry *bl_pool_entries(const bl_pool *pool, uint32_t *count) {
  *count = pool->asked_count;
  return pool->asked;
}

uint32_t bl_pool_fresh(const bl_pool *pool) {
  return pool->fresh;
}
