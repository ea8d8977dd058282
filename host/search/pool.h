// SPDX-License-Identifier: Apache-2.0
// Candidates evaluated once each: side by side in processes, or by a command of the caller's that
// takes them anywhere (GNU Parallel); what was found is kept in a file, so that a search that was
// stopped goes on with the same results.
#ifndef BITLOOM_HOST_SEARCH_POOL_H
#define BITLOOM_HOST_SEARCH_POOL_H

#include "host/run/shard.h"
#include "host/search/space.h"

// What a candidate is worth.
typedef struct {
  double cycles;   // of an image in all layers; INFINITY: the device cannot run it
  double bytes;    // of weights as coded
  double loss;     // mean Kullback-Leibler divergence of its answers from the float network's
  double accuracy; // 0..1; negative: no labels
  double sqnr;     // of the outputs against the float network's, dB
} bl_search_result;

// Must depend on the plan alone: neither on what was evaluated before, nor on the process.
typedef bl_status (*bl_evaluate)(void *context, const bl_search_plan *plan,
                                 bl_search_result *result, bl_error *err);

typedef struct {
  const bl_space *space; // outlives the pool
  bl_evaluate evaluate;  // not used with a command
  void *context;
  uint32_t workers; // processes at once, 1..BL_MAX_SHARDS
  // A command for sh, which gets plans on its standard input, a line of JSON each, and prints a
  // line of JSON for each, in any order: bl_search_result_text. NULL: none.
  const char *command;
  const char *state;       // file of results; NULL: none
  const char *fingerprint; // of all that results depend on, a short text
  bl_progress progress;    // of the candidates of one call
} bl_pool_options;

typedef struct bl_pool bl_pool;

// Reads the state file where there is one; a last line that is not whole is left out. Errors: IO,
// FORMAT, MEMORY; USAGE where the file is of another fingerprint or space.
BL_MUST_USE bl_status bl_pool_open(const bl_pool_options *options, bl_pool **pool, bl_error *err);
void bl_pool_close(bl_pool *pool);

// Results of `count` candidates, choices[count][space->count]. Each is evaluated once in the
// pool's life. Errors: those of evaluate, DEVICE (the command failed or left one out), IO.
BL_MUST_USE bl_status bl_pool_evaluate(bl_pool *pool, const uint8_t *choices, uint32_t count,
                                       bl_search_result *results, bl_error *err);

// Every candidate that was asked for, in that order: the same whatever the file held before.
typedef struct {
  const uint8_t *choice;
  bl_search_result result;
} bl_pool_entry;
const bl_pool_entry *bl_pool_entries(const bl_pool *pool, uint32_t *count);
// Evaluations that were not in the file.
uint32_t bl_pool_fresh(const bl_pool *pool);

// {"plan":{...},"cycles":...,...}: one line, freed with free(); NULL: no memory.
char *bl_search_result_text(const bl_search_plan *plan, const bl_search_result *result);

#endif
