// SPDX-License-Identifier: Apache-2.0
// bitloom verify: reference kernels, functional device and RTL, compared after every layer.
#include <stdlib.h>
#include <string.h>

#include "host/cli/commands.h"
#include "host/cli/job.h"

enum { RANDOM_SAMPLES = 16 };

// "reference", "functional", "rtl" or "netlist", and ":LAYER" if not the middle one.
static bl_status read_fault(const char *text, uint32_t layers, bl_verify_choice *choice,
                            bl_error *err) {
  static const char *const names[] = {"reference", "functional", "rtl", "netlist"};
  choice->fault_executor = -1;
  if (text == NULL) return BL_OK;
  size_t length = strcspn(text, ":");
  for (int i = 0; i < 4; i++)
    if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0)
      choice->fault_executor = i;
  choice->fault_layer = layers / 2;
  char *end = NULL;
  if (text[length] == ':') {
    unsigned long layer = strtoul(text + length + 1, &end, 10);
    choice->fault_layer = layer < layers ? (uint32_t)layer : layers;
    if (end == text + length + 1 || *end != '\0') choice->fault_layer = layers;
  }
  if (choice->fault_executor < 0 || choice->fault_layer >= layers)
    return bl_fail(
        err, BL_ERR_USAGE,
        "--plant-fault %s: expected reference, functional, rtl or netlist, and :LAYER below %u",
        text, (unsigned)layers);
  return BL_OK;
}

// All executions after every layer, or, with --device, one of them by signatures.
static bl_status choose(const bl_cli_args *args, const bl_cli_job *job, bl_verify_choice *choice,
                        bl_error *err) {
  *choice = (bl_verify_choice){.functional = args->device < 0 || args->device == BL_CLI_FUNCTIONAL,
                               .rtl = args->device < 0 || args->device == BL_CLI_RTL,
                               .signatures = args->device >= 0};
  BL_TRY(read_fault(args->plant_fault, job->bloom.graph->layer_count, choice, err));
  if ((choice->fault_executor == 1 && !choice->functional) ||
      (choice->fault_executor == 2 && !choice->rtl) ||
      (choice->fault_executor == 3 && args->device != BL_CLI_NETLIST))
    return bl_fail(err, BL_ERR_USAGE, "--plant-fault %s: --device leaves it out",
                   args->plant_fault);
  if (choice->signatures && choice->fault_executor > 1) choice->fault_executor = 1;
  return BL_OK;
}

static void add_difference(const bl_cli_job *job, const bl_difference *d, bl_cli_output *output) {
  cJSON *object = cJSON_AddObjectToObject(output->object, "first_difference");
  (void)cJSON_AddNumberToObject(object, "layer", d->layer);
  (void)cJSON_AddStringToObject(object, "name", job->bloom.graph->layers[d->layer].name);
  (void)cJSON_AddNumberToObject(object, "image", (double)d->image);
  (void)cJSON_AddNumberToObject(object, "y", d->y);
  (void)cJSON_AddNumberToObject(object, "x", d->x);
  (void)cJSON_AddNumberToObject(object, "channel", d->c);
  (void)cJSON_AddBoolToObject(object, "signature_only", d->silent);
}

static bl_status print_result(const bl_cli_job *job, const bl_verify_choice *choice,
                              const bl_comparison *comparison, const char *line,
                              bl_cli_output *output, bl_error *err) {
  cJSON *o = output->object;
  (void)cJSON_AddStringToObject(o, "model", job->bloom.graph->name);
  (void)cJSON_AddNumberToObject(o, "layers", job->bloom.graph->layer_count);
  (void)cJSON_AddNumberToObject(o, "total", (double)comparison->images);
  (void)cJSON_AddNumberToObject(o, "compared", (double)comparison->compared);
  (void)cJSON_AddNumberToObject(o, "mismatches", (double)comparison->differing);
  (void)cJSON_AddBoolToObject(o, "functional", choice->functional);
  (void)cJSON_AddBoolToObject(o, "rtl", choice->rtl);
  (void)cJSON_AddBoolToObject(o, "netlist", !choice->rtl && !choice->functional);
  (void)cJSON_AddBoolToObject(o, "signatures", choice->signatures);
  bl_cli_say(output, "%s: reference kernels%s%s, %llu images, %u layers, %llu values compared%s\n",
             job->bloom.graph->name, choice->functional ? ", functional device" : "",
             choice->rtl          ? ", RTL"
             : choice->functional ? ""
                                  : ", netlist",
             (unsigned long long)comparison->images, (unsigned)job->bloom.graph->layer_count,
             (unsigned long long)comparison->compared, choice->signatures ? " by signature" : "");
  if (!comparison->found) {
    bl_cli_say(output, "equal in every bit\n");
    return BL_OK;
  }
  add_difference(job, &comparison->first, output);
  bl_cli_say(output, "%llu values differ in the first layer that does\n",
             (unsigned long long)comparison->differing);
  return bl_fail(err, BL_ERR_MISMATCH, "%s", line);
}

bl_status bl_cmd_verify(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_cli_job job;
  BL_TRY(bl_cli_job_open(args, "verify", RANDOM_SAMPLES, &job, err));
  bl_verify_choice choice = {.fault_executor = -1};
  bl_status status = choose(args, &job, &choice, err);
  if (status == BL_OK) {
    bl_cli_job_device(&job, args, choice.rtl ? BL_DEVICE_RTL : bl_cli_device_kind(args));
    bl_comparison comparison;
    char line[360];
    status = bl_runner_verify(&job.runner, &choice, &comparison, line, sizeof line, err);
    bl_cli_progress_end(&job.progress);
    if (status == BL_OK) status = print_result(&job, &choice, &comparison, line, output, err);
  }
  bl_cli_job_close(&job);
  return status;
}
