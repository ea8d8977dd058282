// SPDX-License-Identifier: Apache-2.0
#include "host/cli/recipe_job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/cli/data_args.h"
#include "host/graph/float_edit.h"
#include "host/report/wilson.h"

static void say(void *user, const char *line) {
  bl_recipe_job *job = user;
  bl_cli_say(job->output, "      %s\n", line);
  if (!job->output->json) (void)fflush(stdout); // long passes are followed through a pipe
  (void)cJSON_AddItemToArray(job->details, cJSON_CreateString(line));
}

static void add_number(cJSON *object, const char *name, double value) {
  if (isfinite(value)) (void)cJSON_AddNumberToObject(object, name, value);
}

// One line a stage, one a promise, and the same in JSON.
static void show(void *user, const bl_stage_figures *f, const bl_kept *kept, uint32_t kept_count) {
  bl_recipe_job *job = user;
  cJSON *stage = cJSON_CreateObject(), *keeps = cJSON_AddArrayToObject(stage, "keeps");
  const bool first = f->pass[0] == '\0';
  char accuracy[48] = "", coded[40] = "", cycles[48] = "";
  if (f->samples > 0) {
    const bl_interval interval = bl_wilson(f->correct, f->samples);
    (void)snprintf(accuracy, sizeof accuracy, "%.2f %% (%.1f..%.1f), ",
                   100 * (double)f->correct / (double)f->samples, 100 * interval.low,
                   100 * interval.high);
    add_number(stage, "samples", (double)f->samples);
    add_number(stage, "correct", (double)f->correct);
  }
  if (isfinite(f->cycles))
    (void)snprintf(cycles, sizeof cycles, ", %.0f cycles%s", f->cycles,
                   f->integer ? "" : " at 8 bits");
  if (f->coded > 0)
    (void)snprintf(coded, sizeof coded, ", %llu coded", (unsigned long long)f->coded);
  bl_cli_say(job->output, "%4u  %-16s %s%llu bytes of weights%s%s\n", (unsigned)f->line,
             first ? "(as it came)" : f->pass, accuracy, (unsigned long long)f->bytes, coded,
             cycles);
  for (uint32_t k = 0; k < kept_count; k++) {
    const bl_keep *keep = kept[k].keep;
    bl_cli_say(job->output, "      keeps %s of line %u: %.6g%s, yes\n", keep->what,
               (unsigned)keep->line, kept[k].figure, keep->unit);
    cJSON *entry = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(entry, "what", keep->what);
    (void)cJSON_AddStringToObject(entry, "pass", keep->pass);
    add_number(entry, "figure", kept[k].figure);
    (void)cJSON_AddItemToArray(keeps, entry);
  }
  (void)cJSON_AddStringToObject(stage, "pass", f->pass);
  add_number(stage, "line", f->line);
  (void)cJSON_AddBoolToObject(stage, "integer", f->integer);
  add_number(stage, "bytes", (double)f->bytes);
  if (f->coded > 0) add_number(stage, "coded", (double)f->coded);
  add_number(stage, "weights", (double)f->weights);
  add_number(stage, "zeros", (double)f->zeros);
  add_number(stage, "cycles", f->cycles);
  add_number(stage, "seconds", f->seconds);
  (void)cJSON_AddItemToObject(stage, "details", job->details);
  job->details = cJSON_CreateArray();
  (void)cJSON_AddItemToArray(job->stages, stage);
}

static bl_status prepare(const bl_cli_args *args, bl_recipe_job *job, bl_error *err) {
  bl_network *n = &job->network;
  n->device = (bl_compile_options){&BL_CONFIGS[args->config < 0 ? BL_CLI_DEFAULT : args->config],
                                   (uint32_t)args->batch};
  n->threads = (uint32_t)args->threads;
  n->folder = args->work;
  n->say = say;
  n->user = job;
  if (args->work != NULL && mkdir(args->work, 0777) != 0 && errno != EEXIST)
    return bl_fail(err, BL_ERR_IO, "--work %s: %s", args->work, strerror(errno));
  return BL_OK;
}

bl_status bl_recipe_job_open(const bl_cli_args *args, bl_float_graph *graph, const bl_float_io *io,
                             const bl_preprocess *preprocess, bl_cli_output *output,
                             bl_recipe_job *job, bl_error *err) {
  *job = (bl_recipe_job){.output = output, .network.graph = graph};
  job->details = cJSON_CreateArray();
  job->stages = cJSON_AddArrayToObject(output->object, "stages");
  BL_TRY(bl_recipe_open(args->recipe, &job->recipe, err));
  BL_TRY(bl_float_copy(graph, 0, &job->original, err));
  BL_TRY(bl_network_open(graph, job->original, &job->network, err));
  BL_TRY(prepare(args, job, err));
  BL_TRY(bl_cli_split_open(args, job->original, io, preprocess, &job->split, err));
  job->network.data = job->split.samples;
  bl_cli_say(output, "recipe %s: %s\n", job->recipe->name, job->recipe->about);
  (void)cJSON_AddStringToObject(output->object, "recipe", job->recipe->name);
  (void)cJSON_AddStringToObject(output->object, "recipe_text", job->recipe->text);
  return bl_recipe_run(job->recipe, &job->network, show, job, err);
}

void bl_recipe_job_close(bl_recipe_job *job) {
  bl_network_close(&job->network);
  bl_float_graph_free(job->original);
  bl_recipe_free(job->recipe);
  cJSON_Delete(job->details);
  bl_cli_split_close(&job->split);
}
