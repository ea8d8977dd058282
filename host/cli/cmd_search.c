// SPDX-License-Identifier: Apache-2.0
// bitloom search: sensitivities, the search, its tables; or one plan evaluated.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/cli/commands.h"
#include "host/cli/search_job.h"
#include "host/search/front.h"

enum { PLAN_MOST_BYTES = 1 << 20, NAME_WIDTH = 36 };

// ---- One plan

static bl_status read_plan(const char *given, char **text, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  if (given[0] != '{') {
    BL_TRY(bl_file_read(given, PLAN_MOST_BYTES, &bytes, &size, err));
    *text = strndup((const char *)bytes, size);
    free(bytes);
  } else {
    *text = strdup(given);
  }
  return *text == NULL ? bl_fail(err, BL_ERR_MEMORY, "search: no memory for the plan") : BL_OK;
}

static bl_status evaluate_plan(bl_search_job *job, bl_error *err) {
  char *text = NULL;
  bl_search_plan plan;
  bl_search_result result;
  const char *given = job->args->evaluate;
  BL_TRY(read_plan(given, &text, err));
  bl_status status =
      bl_search_plan_parse(given[0] == '{' ? "plan" : given, text, job->arena, &plan, err);
  free(text);
  BL_TRY(status);
  BL_TRY(bl_candidate_evaluate(job->candidates, &plan, &result, err));
  char *line = bl_search_result_text(&plan, &result);
  if (line == NULL) return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the result");
  bl_cli_say(job->output, "%s\n", line);
  (void)cJSON_AddRawToObject(job->output->object, "result", line);
  free(line);
  return BL_OK;
}

// ---- Tables for people

// The end of a name, which is what differs where names are long.
static const char *tail(const char *name) {
  const size_t length = strlen(name);
  return length > NAME_WIDTH ? name + length - NAME_WIDTH : name;
}

// Losses of each choice of one knob, the best left out.
static void say_knob(const bl_search_job *job, const bl_sensitivity *s, uint32_t k) {
  const bl_knob *knob = &job->space.knobs[k];
  bl_cli_say(job->output, "  %-36s %-16s", tail(knob->layer), bl_knob_name(knob->kind));
  for (uint32_t i = 0; i + 1 < knob->count; i++) {
    const bl_search_result *r = &s->results[k][i];
    if (r->accuracy >= 0)
      bl_cli_say(job->output, "  %g: %.4f %.1f %%", knob->values[i], r->loss, 100 * r->accuracy);
    else
      bl_cli_say(job->output, "  %g: %.4f %.1f dB", knob->values[i], r->loss, r->sqnr);
  }
  bl_cli_say(job->output, "\n");
}

static void say_result(const bl_search_job *job, const char *what, const bl_search_result *r) {
  bl_cli_say(job->output, "%s: %.0f cycles, %.0f bytes, loss %.4f", what, r->cycles, r->bytes,
             r->loss);
  if (r->accuracy >= 0) bl_cli_say(job->output, ", accuracy %.2f %%", 100 * r->accuracy);
  bl_cli_say(job->output, "\n");
}

static void say_plan(const bl_search_job *job, const bl_search_plan *plan) {
  for (uint32_t k = 0; k < plan->count; k++) {
    bl_cli_say(job->output, "  %-36s", tail(plan->layers[k].layer));
    for (int kind = 0; kind < BL_KNOB_KINDS; kind++)
      if (plan->layers[k].value[kind] >= 0)
        bl_cli_say(job->output, "  %s %g", bl_knob_name((bl_knob_kind)kind),
                   plan->layers[k].value[kind]);
    bl_cli_say(job->output, "\n");
  }
}

static bl_status report_choice(const bl_search_job *job, const bl_search_outcome *outcome,
                               bl_error *err) {
  bl_search_plan plan;
  if (outcome->choice == NULL) return BL_OK;
  BL_TRY(bl_space_plan(&job->space, outcome->choice, job->arena, &plan, err));
  say_result(job, "chosen", &outcome->result);
  say_plan(job, &plan);
  char *line = bl_search_result_text(&plan, &outcome->result);
  char *text = bl_search_plan_text(&plan);
  bl_status status = line == NULL || text == NULL
                         ? bl_fail(err, BL_ERR_MEMORY, "search: no memory for the plan")
                         : BL_OK;
  if (status == BL_OK) (void)cJSON_AddRawToObject(job->output->object, "chosen", line);
  if (status == BL_OK && job->args->output != NULL)
    status = bl_search_write(job->args->output, text, err);
  free(line);
  free(text);
  return status;
}

// ---- The search

static void say_line(void *user, const char *line) {
  bl_search_job *job = user;
  bl_cli_progress_end(&job->progress);
  bl_cli_say(job->output, "%s\n", line);
  if (!job->output->json) (void)fflush(stdout);
}

static bl_search_options options_of(bl_search_job *job) {
  const bl_cli_args *a = job->args;
  const double float_accuracy = bl_candidates_float_accuracy(job->candidates);
  bl_search_options o = {.axis = a->max_bytes > 0 && a->max_cycles <= 0 ? BL_BYTES : BL_CYCLES,
                         .limits = {{INFINITY, INFINITY, INFINITY}, -1},
                         .budgets = a->budgets != 0 ? (uint32_t)a->budgets : 16,
                         .population = a->population != 0 ? (uint32_t)a->population : 24,
                         .generations = a->generations != UINT64_MAX ? (uint32_t)a->generations : 6,
                         .seed = a->seed,
                         .workers = job->workers,
                         .say = say_line,
                         .user = job};
  if (a->max_cycles > 0) o.limits.most[BL_CYCLES] = a->max_cycles;
  if (a->max_bytes > 0) o.limits.most[BL_BYTES] = a->max_bytes;
  if (a->max_drop >= 0) o.limits.least_accuracy = float_accuracy - a->max_drop / 100;
  if (a->accuracy > 0) o.limits.least_accuracy = fmax(o.limits.least_accuracy, a->accuracy / 100);
  return o;
}

static bl_status write_tables(const bl_search_job *job, const bl_search_options *options,
                              const bl_search_outcome *outcome, bl_error *err) {
  uint32_t count;
  const bl_pool_entry *entries = bl_pool_entries(job->pool, &count);
  const bl_front front = {&job->space,     entries,
                          count,           options->axis,
                          outcome->choice, bl_candidates_float_accuracy(job->candidates)};
  (void)cJSON_AddNumberToObject(job->output->object, "candidates", count);
  (void)cJSON_AddNumberToObject(job->output->object, "evaluated", bl_pool_fresh(job->pool));
  bl_cli_say(job->output, "%u candidates, %u of them evaluated in this run\n", (unsigned)count,
             (unsigned)bl_pool_fresh(job->pool));
  if (job->args->front != NULL) BL_TRY(bl_front_write(&front, job->args->front, err));
  return BL_OK;
}

static bl_status report_sensitivity(const bl_search_job *job, const bl_sensitivity *s,
                                    bl_error *err) {
  if (s->results == NULL) return BL_OK;
  say_result(job, "all at their best", &s->best);
  for (uint32_t k = 0; k < job->space.count; k++)
    say_knob(job, s, k);
  char *text = bl_sensitivity_text(&job->space, s);
  bl_status status =
      text == NULL ? bl_fail(err, BL_ERR_MEMORY, "search: no memory for the sensitivities") : BL_OK;
  if (status == BL_OK) (void)cJSON_AddRawToObject(job->output->object, "sensitivity", text);
  if (status == BL_OK && job->args->sensitivity != NULL)
    status = bl_search_write(job->args->sensitivity, text, err);
  free(text);
  return status;
}

static bl_status search_all(bl_search_job *job, bl_error *err) {
  bl_search_outcome outcome;
  const bl_search_options options = options_of(job);
  const double float_accuracy = bl_candidates_float_accuracy(job->candidates);
  if ((job->args->max_drop >= 0 || job->args->accuracy > 0) && float_accuracy < 0)
    return bl_fail(err, BL_ERR_USAGE, "--max-drop and --accuracy need labels");
  if (float_accuracy >= 0) {
    bl_cli_say(job->output, "float: accuracy %.2f %% of %zu held-out samples\n",
               100 * float_accuracy, job->split.held_out.count);
    (void)cJSON_AddNumberToObject(job->output->object, "float_accuracy", float_accuracy);
  }
  bl_status status =
      bl_search(job->candidates, &job->space, job->pool, &options, job->arena, &outcome, err);
  bl_cli_progress_end(&job->progress);
  // What has been found is written also where no candidate meets the limits.
  bl_error later = {0};
  bl_status written = report_sensitivity(job, &outcome.sensitivity, &later);
  if (written == BL_OK) written = write_tables(job, &options, &outcome, &later);
  if (status == BL_OK && written == BL_OK) written = report_choice(job, &outcome, &later);
  if (status != BL_OK) return status;
  return written == BL_OK ? BL_OK : bl_fail(err, written, "%s", later.text);
}

bl_status bl_cmd_search(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_search_job job;
  bl_status status = bl_search_job_open(args, output, &job, err);
  if (status == BL_OK)
    status = args->evaluate != NULL ? evaluate_plan(&job, err) : search_all(&job, err);
  bl_search_job_close(&job);
  return status;
}
