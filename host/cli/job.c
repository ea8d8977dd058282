// SPDX-License-Identifier: Apache-2.0
// From options to an open job.
#include "host/cli/job.h"

#include <string.h>
#include <unistd.h>

static void replace(const bl_cli_reals *given, uint32_t channels, double *values, uint32_t had) {
  for (uint32_t i = 0; i < channels; i++) {
    if (given->count != 0)
      values[i] = given->values[given->count == 1 ? 0 : i];
    else if (had == 1)
      values[i] = values[0];
  }
}

bl_status bl_cli_preprocess(const bl_cli_args *args, bl_preprocess *preprocess, bl_error *err) {
  bl_preprocess *p = preprocess;
  const uint32_t means = args->mean.count, stds = args->std.count;
  if (args->scale.count > 1) return bl_fail(err, BL_ERR_USAGE, "--scale takes one value");
  if (means > 1 && stds > 1 && means != stds)
    return bl_fail(err, BL_ERR_USAGE, "--mean has %u values, --std %u", (unsigned)means,
                   (unsigned)stds);
  uint32_t had = p->channels, wanted = means > stds ? means : stds;
  if (means == 0 || stds == 0) wanted = wanted > had ? wanted : had;
  if (wanted != 0 && (means == 0 || stds == 0) && had > 1 && wanted != had)
    return bl_fail(err, BL_ERR_USAGE, "give both --mean and --std: the file has %u channels",
                   (unsigned)had);
  p->channels = wanted != 0 ? wanted : had;
  replace(&args->mean, p->channels, p->mean, had);
  replace(&args->std, p->channels, p->std, had);
  if (args->scale.count == 1) p->scale = args->scale.values[0];
  if (args->layout >= 0) p->layout = args->layout == BL_CLI_NHWC ? BL_LAYOUT_NHWC : BL_LAYOUT_NCHW;
  bl_error inner = {0};
  if (bl_preprocess_check(p, &inner) != BL_OK) return bl_fail(err, BL_ERR_USAGE, "%s", inner.text);
  return BL_OK;
}

bl_status bl_cli_open_data(const bl_cli_args *args, bl_dataset *dataset, bl_error *err) {
  if (args->data == NULL) return bl_fail(err, BL_ERR_USAGE, "needs --data FILE");
  bl_dataset_source source = {.images = args->data,
                              .image_array = args->array,
                              .labels = args->labels,
                              .label_array = args->label_array,
                              .skip = args->skip,
                              .limit = args->limit};
  return bl_dataset_open(&source, dataset, err);
}

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

void bl_cli_job_device(bl_cli_job *job, const bl_cli_args *args, bl_device_kind kind) {
  long processors = kind == BL_DEVICE_RTL ? sysconf(_SC_NPROCESSORS_ONLN) : 1;
  if (processors < 1) processors = 1;
  if (processors > BL_MAX_SHARDS) processors = BL_MAX_SHARDS;
  job->runner.device.kind = kind;
  job->runner.shards = args->shards != 0 ? (uint32_t)args->shards : (uint32_t)processors;
}

const char *bl_cli_data_name(const bl_cli_args *args) {
  if (args->data == NULL) return "random inputs";
  const char *slash = strrchr(args->data, '/');
  return slash == NULL ? args->data : slash + 1;
}
