// SPDX-License-Identifier: Apache-2.0
// From options to an open job.
#include "host/cli/job.h"

#include <string.h>
#include <unistd.h>

static bl_status open_parts(const bl_cli_args *args, size_t random_samples, bl_cli_job *job,
                            bl_error *err) {
  BL_TRY(bl_bloom_load(args->model, &job->bloom, err));
  bl_runner *r = &job->runner;
  r->preprocess = job->bloom.info.preprocess;
  BL_TRY(bl_cli_preprocess(args, &r->preprocess, err));
  r->samples = args->limit != 0 ? args->limit : random_samples;
  if (args->data != NULL) {
    BL_TRY(bl_cli_open_data(args, &job->dataset, err));
    job->has_dataset = true;
    r->dataset = &job->dataset;
    r->samples = job->dataset.count;
  }
  r->bloom = &job->bloom;
  r->seed = args->seed;
  r->device.stalls = args->stalls;
  r->device.seed = args->seed;
  for (int i = 0; i < BL_CONFIG_COUNT; i++)
    if (strcmp(BL_CONFIGS[i].name, job->bloom.program->config.name) == 0)
      r->device.config = &BL_CONFIGS[i];
  if (r->device.config == NULL)
    return bl_fail(err, BL_ERR_FORMAT, "%s: compiled for an unknown configuration", args->model);
  return bl_runner_check(r, err);
}

bl_status bl_cli_job_open(const bl_cli_args *args, const char *label, size_t random_samples,
                          bl_cli_job *job, bl_error *err) {
  memset(job, 0, sizeof *job);
  if (args->data == NULL && (args->labels != NULL || args->array != NULL || args->skip != 0))
    return bl_fail(err, BL_ERR_USAGE, "--labels, --array and --skip need --data");
  size_t length = strlen(args->model);
  if (length > 5 && strcmp(args->model + length - 5, ".onnx") == 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "%s: an ONNX model runs with bitloom run --device float only; compress it first",
                   args->model);
  job->progress = bl_cli_progress_begin(label);
  job->runner.progress = (bl_progress){bl_cli_progress_step, &job->progress};
  bl_status status = open_parts(args, random_samples, job, err);
  if (status != BL_OK) bl_cli_job_close(job);
  return status;
}

void bl_cli_job_close(bl_cli_job *job) {
  bl_cli_progress_end(&job->progress);
  if (job->has_dataset) bl_dataset_free(&job->dataset);
  bl_bloom_free(&job->bloom);
}

bl_device_kind bl_cli_device_kind(const bl_cli_args *args) {
  if (args->device == BL_CLI_RTL) return BL_DEVICE_RTL;
  return args->device == BL_CLI_NETLIST ? BL_DEVICE_NETLIST : BL_DEVICE_FUNCTIONAL;
}

void bl_cli_job_device(bl_cli_job *job, const bl_cli_args *args, bl_device_kind kind) {
  long processors = kind == BL_DEVICE_FUNCTIONAL ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
  if (processors < 1) processors = 1;
  if (processors > BL_MAX_SHARDS) processors = BL_MAX_SHARDS;
  job->runner.device.kind = kind;
  job->runner.shards = args->shards != 0 ? (uint32_t)args->shards : (uint32_t)processors;
}
