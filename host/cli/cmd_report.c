// SPDX-License-Identifier: Apache-2.0
// bitloom report: run, then write the page, with each layer's cycles by reason from the cycle
// model. Without --device all samples go through the functional device, for accuracy, and the first
// two batches through the RTL, for cycles.
#include <stdio.h>
#include <stdlib.h>

#include "host/base/file.h"
#include "host/cli/commands.h"
#include "host/cli/job.h"
#include "host/report/report.h"

enum { RANDOM_SAMPLES = 16, PAGE_MEMORY = 64 << 20 };

typedef struct {
  bl_run_result all;    // every sample
  bl_run_result cycles; // what cycles are taken from; layer_cycles NULL: the same as `all`
} measured;

static bl_status measure(bl_cli_job *job, const bl_cli_args *args, measured *m, bl_error *err) {
  bool both = args->device < 0;
  bl_cli_job_device(job, args, bl_cli_device_kind(args));
  BL_TRY(bl_runner_run(&job->runner, true, NULL, &m->all, err));
  if (!both) return BL_OK;
  size_t samples = job->runner.samples, few = 2 * (size_t)job->bloom.program->images;
  bl_cli_job_device(job, args, BL_DEVICE_RTL);
  job->runner.samples = samples < few ? samples : few;
  bl_status status = bl_runner_run(&job->runner, true, NULL, &m->cycles, err);
  job->runner.samples = samples;
  if (status != BL_OK) bl_run_result_free(&m->all);
  return status;
}

static const char *kind_of(const bl_int_graph *graph, const bl_int_layer *layer, bl_arena *arena) {
  char text[96];
  const bl_int_tensor *in = &graph->tensors[layer->input];
  uint32_t kh = layer->kernel_h, kw = layer->kernel_w;
  int length;
  if (kh == in->h && kw == in->w && layer->groups == 1)
    length = snprintf(text, sizeof text, "fully connected");
  else if (layer->groups == in->c && in->c > 1)
    length = snprintf(text, sizeof text, "depthwise %ux%u", (unsigned)kh, (unsigned)kw);
  else
    length = snprintf(text, sizeof text, "convolution %ux%u", (unsigned)kh, (unsigned)kw);
  if (layer->pool_h * layer->pool_w > 1)
    length += snprintf(text + length, sizeof text - (size_t)length, ", max pool %ux%u",
                       (unsigned)layer->pool_h, (unsigned)layer->pool_w);
  return bl_arena_strndup(arena, text, (size_t)length);
}

// Bits that a weight travels in.
static unsigned bits_of(const bl_int_layer *layer) {
  return layer->codebook != NULL ? 4 : layer->weight_format.bits;
}

static void fill_cycles(bl_report_layer *row, const bl_cost *cost, double images) {
  row->cycles = (double)cost->counters[BL_COUNTER_CYCLES] / images;
  row->issue_cycles = (double)cost->counters[BL_COUNTER_ISSUE] / images;
  row->requant_cycles = (double)cost->counters[BL_COUNTER_REQUANT] / images;
  row->gather_cycles = (double)cost->counters[BL_COUNTER_GATHER] / images;
  row->drain_cycles = (double)cost->counters[BL_COUNTER_DRAIN] / images;
}

static void fill_layer(const bl_bloom *bloom, uint32_t index, const bl_cost *cost, bl_arena *arena,
                       bl_report_layer *row) {
  const bl_int_graph *graph = bloom->graph;
  const bl_int_layer *layer = &graph->layers[index];
  const bl_int_tensor *in = &graph->tensors[layer->input], *out = &graph->tensors[layer->output];
  uint32_t conv_h, conv_w;
  bl_int_conv_size(graph, layer, &conv_h, &conv_w);
  row->name = layer->name;
  row->kind = kind_of(graph, layer, arena);
  (void)snprintf(row->shape, sizeof row->shape, "%u x %u x %u to %u x %u x %u", (unsigned)in->h,
                 (unsigned)in->w, (unsigned)in->c, (unsigned)out->h, (unsigned)out->w,
                 (unsigned)out->c);
  row->weights = bl_format_name(layer->weight_format);
  row->activations = bl_format_name(in->format);
  row->macs = (uint64_t)conv_h * conv_w * bl_int_weights(graph, layer);
  const unsigned bits = layer->codebook != NULL ? 4u : layer->weight_format.bits;
  row->weight_bytes =
      (bl_int_weights(graph, layer) * bits + 7) / 8 + (uint64_t)out->c * BL_CONTRACT_PARAM_BYTES;
  fill_cycles(row, cost, bloom->program->images);
}

// Were cycles counted? On the functional device they are steps.
static bool is_rtl(const bl_cli_job *job) {
  return job->runner.device.kind != BL_DEVICE_FUNCTIONAL;
}

static bl_status fill_tables(const bl_cli_job *job, const bl_run_result *cycles,
                             const bl_cost *costs, bl_arena *arena, bl_report *report,
                             bl_error *err) {
  const bl_bloom *bloom = &job->bloom;
  const double images = (double)(cycles->batches * bloom->program->images);
  uint32_t count = bloom->graph->layer_count;
  bl_report_layer *layers = bl_arena_alloc(arena, count, sizeof *layers);
  bl_report_reason *reasons = bl_arena_alloc(arena, BL_COUNTER_COUNT - 1, sizeof *reasons);
  if (layers == NULL || reasons == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  for (uint32_t i = 0; i < count; i++) {
    fill_layer(bloom, i, &costs[i], arena, &layers[i]);
    if (layers[i].kind == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
    if (is_rtl(job) && images > 0.0) layers[i].measured = (double)cycles->layer_cycles[i] / images;
  }
  for (int i = 1; i < BL_COUNTER_COUNT; i++)
    reasons[i - 1] = (bl_report_reason){bl_device_counter_name(i), bl_device_counter_meaning(i),
                                        cycles->counters[i]};
  report->layers = layers;
  report->layer_count = count;
  report->reasons = reasons;
  report->reason_count = BL_COUNTER_COUNT - 1;
  return BL_OK;
}

static void fill_figures(const bl_cli_job *job, const bl_cli_args *args, const measured *m,
                         const bl_run_result *cycles, bl_report *report) {
  const bl_bloom *bloom = &job->bloom;
  const bl_config *config = &bloom->program->config;
  uint64_t weights = 0, bits = 0;
  for (uint32_t i = 0; i < bloom->graph->layer_count; i++) {
    uint64_t count = bl_int_weights(bloom->graph, &bloom->graph->layers[i]);
    weights += count;
    bits += count * bits_of(&bloom->graph->layers[i]);
  }
  *report = (bl_report){
      .model = bloom->graph->name,
      .source = args->model,
      .config = config->name,
      .device = args->device < 0 ? "functional and rtl" : bl_device_name(job->runner.device.kind),
      .rows = config->rows,
      .cols = config->cols,
      .lanes = config->lanes,
      .data = bl_cli_data_name(args),
      .samples = m->all.labelled,
      .correct = m->all.correct,
      .has_accuracy = m->all.labelled != 0,
      .file_bytes = bloom->file_bytes,
      .weight_bits = bits,
      .float_bytes = bloom->info.float_bytes != 0 ? bloom->info.float_bytes : 4 * weights,
      .cycles_per_image = cycles->cycles_per_image,
      .clock_mhz = args->clock_mhz,
      .compared = m->all.compared + m->cycles.compared,
      .mismatches = m->all.mismatches + m->cycles.mismatches,
      .has_verdict = true};
}

static void print_figures(const bl_report *report, const char *path, size_t size,
                          bl_cli_output *output) {
  cJSON *o = output->object;
  (void)cJSON_AddStringToObject(o, "model", report->model);
  (void)cJSON_AddStringToObject(o, "output", path);
  (void)cJSON_AddNumberToObject(o, "bytes", (double)size);
  (void)cJSON_AddNumberToObject(o, "total", (double)report->samples);
  if (report->has_accuracy)
    (void)cJSON_AddNumberToObject(o, "correct", (double)report->correct);
  else
    (void)cJSON_AddNullToObject(o, "correct");
  (void)cJSON_AddNumberToObject(o, "cycles_per_image", report->cycles_per_image);
  (void)cJSON_AddNumberToObject(o, "mismatches", (double)report->mismatches);
  bl_cli_say(output, "%s: %zu bytes about %s\n", path, size, report->model);
}

static void print_layers(const bl_bloom *bloom, const bl_report *report, const bl_cost *costs,
                         bl_cli_output *output) {
  cJSON *array = cJSON_AddArrayToObject(output->object, "layers");
  for (uint32_t i = 0; i < report->layer_count; i++) {
    const bl_report_layer *l = &report->layers[i];
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(object, "name", l->name);
    bl_cli_add_cost(object, &costs[i], bloom->program->images);
    if (l->measured > 0.0)
      (void)cJSON_AddNumberToObject(object, "measured", l->measured);
    else
      (void)cJSON_AddNullToObject(object, "measured");
    (void)cJSON_AddItemToArray(array, object);
    bl_cli_say(output,
               "%4u  %-28.28s %8.0f cycles: issue %.0f, requant %.0f, gather %.0f, drain %.0f\n",
               (unsigned)i, l->name, l->cycles, l->issue_cycles, l->requant_cycles,
               l->gather_cycles, l->drain_cycles);
  }
}

// The RTL's cycles of every layer against the model's.
static bl_status check_model(const bl_cli_job *job, const bl_run_result *cycles,
                             const bl_cost *costs, bl_error *err) {
  const bl_int_graph *graph = job->bloom.graph;
  for (uint32_t i = 0; is_rtl(job) && i < graph->layer_count; i++) {
    const uint64_t model = costs[i].counters[BL_COUNTER_CYCLES] * cycles->batches;
    if (cycles->layer_cycles[i] != model)
      return bl_fail(err, BL_ERR_MISMATCH, "layer %s: the device took %llu cycles, the model %llu",
                     graph->layers[i].name, (unsigned long long)cycles->layer_cycles[i],
                     (unsigned long long)model);
  }
  return BL_OK;
}

static bl_status write_page(const bl_cli_job *job, const bl_cli_args *args, const measured *m,
                            bl_arena *arena, bl_cli_output *output, bl_error *err) {
  const bl_run_result *cycles = m->cycles.layer_cycles != NULL ? &m->cycles : &m->all;
  bl_report report;
  fill_figures(job, args, m, cycles, &report);
  const uint32_t layers = job->bloom.graph->layer_count;
  bl_cost *costs = bl_arena_alloc(arena, layers, sizeof *costs);
  if (costs == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  BL_TRY(bl_cost_layers(job->bloom.program, layers, costs, err));
  BL_TRY(fill_tables(job, cycles, costs, arena, &report, err));
  char *text;
  size_t size;
  BL_TRY(bl_report_html(&report, &text, &size, err));
  bl_status status = bl_file_write(args->output, text, size, err);
  free(text);
  if (status != BL_OK) return status;
  print_layers(&job->bloom, &report, costs, output);
  print_figures(&report, args->output, size, output);
  if (report.mismatches == 0) return check_model(job, cycles, costs, err);
  return bl_fail(err, BL_ERR_MISMATCH, "%llu of %llu output values differ; see %s",
                 (unsigned long long)report.mismatches, (unsigned long long)report.compared,
                 args->output);
}

bl_status bl_cmd_report(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  if (args->output == NULL) return bl_fail(err, BL_ERR_USAGE, "report needs --output FILE.html");
  bl_cli_job job;
  BL_TRY(bl_cli_job_open(args, "report", RANDOM_SAMPLES, &job, err));
  measured m = {0};
  bl_status status = measure(&job, args, &m, err);
  bl_cli_progress_end(&job.progress);
  bl_arena *arena = bl_arena_new(PAGE_MEMORY);
  if (status == BL_OK && arena == NULL) status = bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  if (status == BL_OK) status = write_page(&job, args, &m, arena, output, err);
  bl_arena_free(arena);
  bl_run_result_free(&m.all);
  bl_run_result_free(&m.cycles);
  bl_cli_job_close(&job);
  return status;
}
