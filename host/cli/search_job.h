// SPDX-License-Identifier: Apache-2.0
// bitloom search: everything that it opens, from the command line.
#ifndef BITLOOM_HOST_CLI_SEARCH_JOB_H
#define BITLOOM_HOST_CLI_SEARCH_JOB_H

#include "host/cli/output.h"
#include "host/cli/split.h"
#include "host/search/search.h"

typedef struct {
  const bl_cli_args *args;
  bl_cli_output *output;
  bl_arena *arena;
  bl_float_graph *graph;
  bl_preprocess preprocess;
  bl_cli_split split;
  bl_candidates *candidates;
  bl_space space;
  bl_pool *pool;    // NULL with --evaluate
  uint32_t workers; // processes at once
  bl_cli_progress progress;
  char fingerprint[20];
} bl_search_job;

// The job must not move while open, and is to be closed also on failure. Errors: USAGE (no data, a
// list of values that makes no sense), those of its parts.
BL_MUST_USE bl_status bl_search_job_open(const bl_cli_args *args, bl_cli_output *output,
                                         bl_search_job *job, bl_error *err);
void bl_search_job_close(bl_search_job *job);

#endif
