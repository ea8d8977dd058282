// SPDX-License-Identifier: Apache-2.0
// bitloom run: a compiled model on a device, compared with the reference kernels.
#include <stdlib.h>

#include "host/cli/commands.h"
#include "host/cli/job.h"
#include "host/cli/run_float.h"
#include "host/data/npy_write.h"

enum { RANDOM_SAMPLES = 16 };

static void print_accuracy(const bl_run_result *r, bl_cli_output *output) {
  cJSON *o = output->object;
  (void)cJSON_AddNumberToObject(o, "total", (double)r->samples);
  bl_cli_say(output, "  %-12s %llu\n", "images", (unsigned long long)r->samples);
  if (r->labelled == 0) {
    (void)cJSON_AddNullToObject(o, "correct");
    (void)cJSON_AddNullToObject(o, "accuracy");
    return;
  }
  double accuracy = (double)r->correct / (double)r->labelled;
  (void)cJSON_AddNumberToObject(o, "correct", (double)r->correct);
  (void)cJSON_AddNumberToObject(o, "accuracy", accuracy);
  bl_cli_say(output, "  %-12s %llu (%.2f %%)\n", "correct", (unsigned long long)r->correct,
             100.0 * accuracy);
}

static void print_equality(const bl_run_result *r, bool compared, bl_cli_output *output) {
  cJSON *o = output->object;
  if (!compared) {
    (void)cJSON_AddNullToObject(o, "mismatches");
    return;
  }
  (void)cJSON_AddNumberToObject(o, "mismatches", (double)r->mismatches);
  (void)cJSON_AddNumberToObject(o, "compared", (double)r->compared);
  bl_cli_say(output, "  %-12s %llu of %llu output values differ from the reference kernels\n",
             "mismatches", (unsigned long long)r->mismatches, (unsigned long long)r->compared);
}

static void print_speed(const bl_run_result *r, const bl_cli_args *args, uint32_t batch,
                        bl_cli_output *output) {
  cJSON *o = output->object;
  double speed = r->seconds > 0.0 ? (double)r->samples / r->seconds : 0.0;
  double latency = r->cycles_per_image / args->clock_mhz / 1e3;
  (void)cJSON_AddNumberToObject(o, "images_per_second", speed);
  (void)cJSON_AddNumberToObject(o, "seconds", r->seconds);
  (void)cJSON_AddNumberToObject(o, "cycles_per_image", r->cycles_per_image);
  (void)cJSON_AddNumberToObject(o, "clock_mhz", args->clock_mhz);
  (void)cJSON_AddNumberToObject(o, "latency_ms", latency);
  (void)cJSON_AddNumberToObject(o, "batch", batch);
  (void)cJSON_AddNumberToObject(o, "batch_latency_ms", latency * batch);
  bl_cli_say(output, "  %-12s %.1f images/s (host packing and device)\n", "speed", speed);
  bl_cli_say(output, "  %-12s %.1f an image%s\n", "cycles", r->cycles_per_image,
             bl_cli_device_kind(args) != BL_DEVICE_FUNCTIONAL
                 ? ""
                 : " (steps of the array only; --device rtl has all)");
  bl_cli_say(output, "  %-12s %.4f ms an image at %g MHz, %.4f ms a batch of %u\n", "latency",
             latency, args->clock_mhz, latency * batch, (unsigned)batch);
}

static void print_counters(const bl_run_result *r, bl_cli_output *output) {
  cJSON *object = cJSON_AddObjectToObject(output->object, "counters");
  for (int i = 0; i < BL_COUNTER_COUNT; i++)
    (void)cJSON_AddNumberToObject(object, bl_device_counter_name(i), (double)r->counters[i]);
}

static bl_status print_result(const bl_cli_job *job, const bl_cli_args *args,
                              const bl_run_result *r, bl_cli_output *output, bl_error *err) {
  const bl_program *program = job->bloom.program;
  bl_cli_say(output, "%s on the %s device, configuration %s, %s\n", job->bloom.graph->name,
             bl_device_name(job->runner.device.kind), program->config.name, bl_cli_data_name(args));
  (void)cJSON_AddStringToObject(output->object, "model", job->bloom.graph->name);
  (void)cJSON_AddStringToObject(output->object, "device", bl_device_name(job->runner.device.kind));
  (void)cJSON_AddStringToObject(output->object, "config", program->config.name);
  print_accuracy(r, output);
  print_equality(r, !args->no_compare, output);
  print_speed(r, args, program->images, output);
  print_counters(r, output);
  if (r->mismatches == 0) return BL_OK;
  return bl_fail(err, BL_ERR_MISMATCH,
                 "%llu of %llu output values differ; the first: sample %zu, output %zu, expected "
                 "%d, got %d; bitloom verify names the layer",
                 (unsigned long long)r->mismatches, (unsigned long long)r->compared,
                 r->first.sample, r->first.index, (int)r->first.expected, (int)r->first.got);
}

static bl_status check_rtl_only(const bl_cli_args *args, bl_error *err) {
  if (args->trace_layer >= 0 && args->trace == NULL)
    return bl_fail(err, BL_ERR_USAGE, "--trace-layer needs --trace FILE.fst");
  if (args->trace != NULL && args->shards > 1)
    return bl_fail(err, BL_ERR_USAGE, "--trace records one process: leave --shards out");
  if (args->profile != NULL && args->shards > 1)
    return bl_fail(err, BL_ERR_USAGE, "--profile follows one process: leave --shards out");
  if (args->device == BL_CLI_RTL) return BL_OK;
  bool rtl_only = args->trace != NULL || args->trace_layer >= 0 || args->profile != NULL;
  if (rtl_only || (args->stalls > 0.0 && args->device != BL_CLI_NETLIST))
    return bl_fail(err, BL_ERR_USAGE,
                   "--trace, --trace-layer, --profile and --stalls need --device rtl%s",
                   rtl_only ? "" : " or netlist");
  return BL_OK;
}

static bl_status run_kept(bl_cli_job *job, const bl_cli_args *args, float *values,
                          bl_cli_output *output, bl_error *err) {
  bl_run_result result;
  bl_status status = bl_runner_run(&job->runner, !args->no_compare, values, &result, err);
  bl_cli_progress_end(&job->progress);
  if (status != BL_OK) return status;
  const bl_int_graph *graph = job->bloom.graph;
  if (values != NULL)
    status = bl_npy_write(args->outputs, values, job->runner.samples,
                          bl_int_elements(&graph->tensors[graph->output]), err);
  if (status == BL_OK) status = print_result(job, args, &result, output, err);
  bl_run_result_free(&result);
  return status;
}

static bl_status run_job(bl_cli_job *job, const bl_cli_args *args, bl_cli_output *output,
                         bl_error *err) {
  float *values = NULL;
  if (args->outputs != NULL) {
    const bl_int_graph *graph = job->bloom.graph;
    size_t elements = bl_int_elements(&graph->tensors[graph->output]);
    values = calloc(job->runner.samples, elements * sizeof *values);
    if (values == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for all outputs");
  }
  bl_status status = run_kept(job, args, values, output, err);
  free(values);
  return status;
}

bl_status bl_cmd_run(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  BL_TRY(check_rtl_only(args, err));
  if (args->device == BL_CLI_FLOAT) return bl_cmd_run_float(args, output, err);
  bl_cli_job job;
  BL_TRY(bl_cli_job_open(args, "run", RANDOM_SAMPLES, &job, err));
  bl_cli_job_device(&job, args, bl_cli_device_kind(args));
  job.runner.trace = args->trace;
  job.runner.trace_layer = args->trace_layer;
  job.runner.profile = args->profile;
  bl_status status = run_job(&job, args, output, err);
  bl_cli_job_close(&job);
  return status;
}
