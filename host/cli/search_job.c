// SPDX-License-Identifier: Apache-2.0
#include "host/cli/search_job.h"

#include <unistd.h>

#include "host/cli/network_args.h"
#include "host/cost/cost.h"
#include "host/graph/rewrite.h"

enum { JOB_CAP = 256 << 20 };

static bl_quantise_options quantise_options(const bl_cli_args *args, bl_compile_options *device) {
  bl_quantise_options options = bl_cli_quantise_options(args);
  options.weight_bits = options.activation_bits = 8;
  options.skip_bits = (unsigned)args->skip_bits;
  options.part_channels = device->config->cols;
  options.cycles = bl_cost_graph;
  options.device = device;
  return options;
}

static bl_status open_candidates(bl_search_job *job, bl_error *err) {
  const bl_cli_args *args = job->args;
  if (job->split.samples.held_out == NULL)
    return bl_fail(err, BL_ERR_USAGE, "search needs --data FILE: samples to judge by");
  bl_compile_options *device = bl_arena_alloc(job->arena, 1, sizeof *device);
  if (device == NULL) return bl_fail(err, BL_ERR_MEMORY, "search: no memory");
  *device = (bl_compile_options){&BL_CONFIGS[args->config < 0 ? BL_CLI_DEFAULT : args->config],
                                 (uint32_t)args->batch};
  const bl_candidate_source source = {.graph = job->graph,
                                      .quantise = quantise_options(args, device),
                                      .calibration = job->split.samples.calibration,
                                      .held_out = job->split.samples.held_out,
                                      .device = *device};
  return bl_candidates_open(&source, &job->candidates, err);
}

// ---- The space

static bl_status make_space(bl_search_job *job, bl_error *err) {
  const bl_cli_reals bits = {{2, 3, 4, 6, 8}, 5};
  bl_cli_reals lists[BL_KNOB_KINDS] = {
      [BL_KNOB_WEIGHT_BITS] = job->args->weight_values,
      [BL_KNOB_BLOCKS] = job->args->block_values,
      [BL_KNOB_RANK] = job->args->rank_values,
      [BL_KNOB_ACTIVATION_BITS] = job->args->activation_values,
  };
  bl_search_choices choices = {0};
  if (lists[BL_KNOB_WEIGHT_BITS].count == 0) lists[BL_KNOB_WEIGHT_BITS] = bits;
  if (lists[BL_KNOB_ACTIVATION_BITS].count == 0) lists[BL_KNOB_ACTIVATION_BITS] = bits;
  for (int kind = 0; kind < BL_KNOB_KINDS; kind++) {
    choices.counts[kind] = lists[kind].count;
    choices.values[kind] = lists[kind].values;
  }
  return bl_search_space(job->candidates, &choices, job->arena, &job->space, err);
}

// ---- The pool

static bl_status open_pool(bl_search_job *job, bl_error *err) {
  const bl_cli_args *args = job->args;
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  job->workers = args->shards != 0            ? (uint32_t)args->shards
                 : processors < 1             ? 1
                 : processors > BL_MAX_SHARDS ? BL_MAX_SHARDS
                                              : (uint32_t)processors;
  bl_candidates_fingerprint(job->candidates, job->fingerprint);
  const bl_pool_options options = {.space = &job->space,
                                   .evaluate = bl_candidate_evaluate,
                                   .context = job->candidates,
                                   .workers = job->workers,
                                   .command = args->evaluator,
                                   .state = args->state,
                                   .fingerprint = job->fingerprint,
                                   .progress = {bl_cli_progress_step, &job->progress}};
  job->progress = bl_cli_progress_begin("candidates");
  return bl_pool_open(&options, &job->pool, err);
}

bl_status bl_search_job_open(const bl_cli_args *args, bl_cli_output *output, bl_search_job *job,
                             bl_error *err) {
  *job = (bl_search_job){.args = args, .output = output, .arena = bl_arena_new(JOB_CAP)};
  bl_float_io io;
  uint32_t copies;
  if (job->arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "search: no memory");
  BL_TRY(bl_cli_open_network(args, &job->graph, &io, &job->preprocess, err));
  BL_TRY(bl_cli_split_open(args, job->graph, &io, &job->preprocess, &job->split, err));
  if (args->skip_bits > 0) BL_TRY(bl_rewrite_skips(job->graph, &copies, err));
  BL_TRY(open_candidates(job, err));
  if (args->evaluate != NULL) return BL_OK;
  BL_TRY(make_space(job, err));
  return open_pool(job, err);
}

void bl_search_job_close(bl_search_job *job) {
  bl_pool_close(job->pool);
  bl_candidates_close(job->candidates);
  bl_cli_split_close(&job->split);
  bl_float_graph_free(job->graph);
  bl_arena_free(job->arena);
}
