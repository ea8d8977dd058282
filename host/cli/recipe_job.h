// SPDX-License-Identifier: Apache-2.0
// compress --recipe: data, the network on its way, and what is printed behind every stage.
#ifndef BITLOOM_HOST_CLI_RECIPE_JOB_H
#define BITLOOM_HOST_CLI_RECIPE_JOB_H

#include "host/cli/args.h"
#include "host/cli/output.h"
#include "host/cli/split.h"
#include "host/compress/pipeline.h"

typedef struct {
  bl_recipe *recipe;
  bl_float_graph *original;
  bl_network network;
  bl_cli_split split;
  bl_cli_output *output;
  cJSON *stages, *details;
} bl_recipe_job;

// Runs args->recipe on a graph with a batch of 1, which the job takes over. The job must not move
// while open. Errors: those of its parts.
BL_MUST_USE bl_status bl_recipe_job_open(const bl_cli_args *args, bl_float_graph *graph,
                                         const bl_float_io *io, const bl_preprocess *preprocess,
                                         bl_cli_output *output, bl_recipe_job *job, bl_error *err);
void bl_recipe_job_close(bl_recipe_job *job);

#endif
