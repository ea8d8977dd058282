// SPDX-License-Identifier: Apache-2.0
// bitloom report: run, then write the page and its data, with each layer's cycles by reason from
// the cycle model. Without --device all samples go through the functional device, for accuracy, and
// the first two batches through the RTL, for cycles.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/cli/commands.h"
#include "host/cli/job.h"
#include "host/cli/report_data.h"
#include "host/report/page.h"
#include "host/run/real_output.h"

enum { RANDOM_SAMPLES = 16, PATH_ROOM = 4096 };

typedef struct {
  bl_run_result all;    // every sample
  bl_run_result cycles; // what cycles are taken from; layer_cycles NULL: the same as `all`
  float *outputs;       // of every sample
} measured;

static bl_status measure(bl_cli_job *job, const bl_cli_args *args, measured *m, bl_error *err) {
  bool both = args->device < 0;
  bl_cli_job_device(job, args, bl_cli_device_kind(args));
  const bl_int_graph *graph = job->bloom.graph;
  const size_t each = bl_int_elements(&graph->tensors[graph->output]);
  m->outputs = calloc(job->runner.samples * each, sizeof *m->outputs);
  if (m->outputs == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory for the outputs");
  BL_TRY(bl_runner_run(&job->runner, true, m->outputs, &m->all, err));
  if (!both) return BL_OK;
  size_t samples = job->runner.samples, few = 2 * (size_t)job->bloom.program->images;
  bl_cli_job_device(job, args, BL_DEVICE_RTL);
  job->runner.samples = samples < few ? samples : few;
  bl_status status = bl_runner_run(&job->runner, true, NULL, &m->cycles, err);
  job->runner.samples = samples;
  return status;
}

static void print_layers(const cJSON *data, const bl_report_facts *facts, bl_cli_output *output) {
  const bl_bloom *bloom = &facts->job->bloom;
  cJSON *array = cJSON_AddArrayToObject(output->object, "layers");
  const cJSON *layer;
  unsigned index = 0;
  cJSON_ArrayForEach(layer, cJSON_GetObjectItem(data, "layers")) {
    const cJSON *name = cJSON_GetObjectItem(layer, "name");
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(object, "name", cJSON_GetStringValue(name));
    bl_cli_add_cost(object, &facts->costs[index], bloom->program->images);
    (void)cJSON_AddItemToObject(object, "measured",
                                cJSON_Duplicate(cJSON_GetObjectItem(layer, "measured"), true));
    (void)cJSON_AddItemToArray(array, object);
    bl_cli_say(output,
               "%4u  %-28.28s %8.0f cycles: issue %.0f, requant %.0f, gather %.0f, drain %.0f\n",
               index++, cJSON_GetStringValue(name),
               cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "cycles")),
               cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "issue")),
               cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "requant")),
               cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "gather")),
               cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "drain")));
  }
}

static void print_figures(const bl_report_facts *facts, uint64_t mismatches, size_t size,
                          bl_cli_output *output) {
  cJSON *o = output->object;
  const char *model = facts->job->bloom.graph->name;
  (void)cJSON_AddStringToObject(o, "model", model);
  (void)cJSON_AddStringToObject(o, "output", facts->args->output);
  (void)cJSON_AddNumberToObject(o, "bytes", (double)size);
  (void)cJSON_AddNumberToObject(o, "total", (double)facts->all->labelled);
  if (facts->all->labelled != 0)
    (void)cJSON_AddNumberToObject(o, "correct", (double)facts->all->correct);
  else
    (void)cJSON_AddNullToObject(o, "correct");
  (void)cJSON_AddNumberToObject(o, "cycles_per_image", facts->cycles->cycles_per_image);
  (void)cJSON_AddNumberToObject(o, "mismatches", (double)mismatches);
  bl_cli_say(output, "%s: %zu bytes about %s\n", facts->args->output, size, model);
}

// The RTL's cycles of every layer against the model's.
static bl_status check_model(const bl_report_facts *facts, bl_error *err) {
  const bl_int_graph *graph = facts->job->bloom.graph;
  const bl_run_result *cycles = facts->cycles;
  for (uint32_t i = 0; bl_report_has_cycles(facts) && i < graph->layer_count; i++) {
    const uint64_t model = facts->costs[i].counters[BL_COUNTER_CYCLES] * cycles->batches;
    if (cycles->layer_cycles[i] != model)
      return bl_fail(err, BL_ERR_MISMATCH, "layer %s: the device took %llu cycles, the model %llu",
                     graph->layers[i].name, (unsigned long long)cycles->layer_cycles[i],
                     (unsigned long long)model);
  }
  return BL_OK;
}

// FILE.html and FILE.json beside it.
static bl_status write_files(const cJSON *data, const char *path, size_t *size, bl_error *err) {
  char *page, json_path[PATH_ROOM];
  const size_t length = strlen(path);
  const bool html = length > 5 && strcmp(path + length - 5, ".html") == 0;
  if (snprintf(json_path, sizeof json_path, "%.*s.json", (int)(html ? length - 5 : length), path) >=
      PATH_ROOM)
    return bl_fail(err, BL_ERR_RANGE, "%s: the name is too long", path);
  BL_TRY(bl_page_html(data, &page, size, err));
  bl_status status = bl_file_write(path, page, *size, err);
  free(page);
  char *json = status == BL_OK ? cJSON_Print(data) : NULL;
  if (json != NULL)
    status = bl_file_write(json_path, json, strlen(json), err);
  else if (status == BL_OK)
    status = bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  free(json);
  return status;
}

static bl_status write_page(const bl_report_facts *facts, bl_cli_output *output, bl_error *err) {
  cJSON *data;
  size_t size = 0;
  const bool both = facts->cycles != facts->all;
  const uint64_t mismatches = facts->all->mismatches + (both ? facts->cycles->mismatches : 0);
  const uint64_t compared = facts->all->compared + (both ? facts->cycles->compared : 0);
  BL_TRY(bl_report_data(facts, &data, err));
  bl_status status = BL_OK;
  if (facts->args->with != NULL) status = bl_report_merge(data, facts->args->with, err);
  if (status == BL_OK) status = write_files(data, facts->args->output, &size, err);
  if (status == BL_OK) {
    print_layers(data, facts, output);
    print_figures(facts, mismatches, size, output);
  }
  cJSON_Delete(data);
  if (status != BL_OK) return status;
  if (mismatches == 0) return check_model(facts, err);
  return bl_fail(err, BL_ERR_MISMATCH, "%llu of %llu output values differ; see %s",
                 (unsigned long long)mismatches, (unsigned long long)compared, facts->args->output);
}

static bl_status report(const bl_cli_args *args, bl_cli_job *job, measured *m,
                        bl_cli_output *output, bl_error *err) {
  const uint32_t layers = job->bloom.graph->layer_count;
  BL_TRY(measure(job, args, m, err));
  bl_cli_progress_end(&job->progress);
  bl_cost *costs = calloc(layers, sizeof *costs);
  if (costs == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  const bl_report_facts facts = {.job = job,
                                 .args = args,
                                 .all = &m->all,
                                 .cycles = m->cycles.layer_cycles != NULL ? &m->cycles : &m->all,
                                 .costs = costs,
                                 .outputs = m->outputs};
  bl_status status = bl_cost_layers(job->bloom.program, layers, costs, err);
  if (status == BL_OK) status = write_page(&facts, output, err);
  free(costs);
  return status;
}

bl_status bl_cmd_report(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  if (args->output == NULL) return bl_fail(err, BL_ERR_USAGE, "report needs --output FILE.html");
  bl_cli_job job;
  BL_TRY(bl_cli_job_open(args, "report", RANDOM_SAMPLES, &job, err));
  measured m = {0};
  bl_status status = report(args, &job, &m, output, err);
  bl_run_result_free(&m.all);
  bl_run_result_free(&m.cycles);
  free(m.outputs);
  bl_cli_job_close(&job);
  return status;
}
