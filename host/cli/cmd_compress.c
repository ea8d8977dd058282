// SPDX-License-Identifier: Apache-2.0
// bitloom compress: import, quantise, compile, write one .bloom file.
#include <stdlib.h>
#include <string.h>

#include "host/cli/commands.h"
#include "host/cli/data_args.h"
#include "host/cli/network_args.h"
#include "host/cli/recipe_job.h"
#include "host/cli/storage_output.h"
#include "host/compile/bloom.h"
#include "host/quant/quantise.h"
#include "host/run/float_run.h"

enum { CALIBRATION_SAMPLES = 512, NOT_GIVEN = 0 };

// The codebook that was asked for, if any, is kept in *codebook.
static bl_status read_codebook(const char *text, bl_codebook *codebook,
                               bl_quantise_options *options, bl_error *err) {
  if (text == NULL) return BL_OK;
  if (options->weight_bits != 4)
    return bl_fail(err, BL_ERR_USAGE, "--codebook is of 4-bit codes: say --bits w4aM with it");
  options->codebook = codebook;
  return bl_codebook_open(text, codebook, err);
}

typedef struct {
  const bl_cli_args *args;
  bl_float_graph *graph;
  bl_float_io io;
  bl_preprocess preprocess;
  bl_dataset dataset; // of calibration
  bool has_dataset;
  double *scratch;
  bl_cli_progress progress;
  bl_recipe_job recipe;
  bl_quantised quantised;
  bl_program *program;
  bl_cost *costs; // of each layer in one batch, by the cycle model
} work;

static bl_status open_calibration(work *w, bl_error *err) {
  const bl_cli_args *args = w->args;
  if (args->calib == NULL || args->recipe != NULL) return BL_OK;
  bl_dataset_source source = {.images = args->calib,
                              .image_array = args->calib_array,
                              .limit =
                                  args->calib_limit != 0 ? args->calib_limit : CALIBRATION_SAMPLES};
  BL_TRY(bl_dataset_open(&source, &w->dataset, err));
  w->has_dataset = true;
  BL_TRY(bl_cli_check_layout(args, &w->dataset, err));
  BL_TRY(bl_float_fits(&w->dataset, &w->preprocess, &w->io, err));
  w->scratch = calloc(w->io.in_elements, sizeof *w->scratch);
  return w->scratch == NULL ? bl_fail(err, BL_ERR_MEMORY, "no memory for a sample") : BL_OK;
}

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  work *w = context;
  bl_cli_progress_step(&w->progress, index, w->dataset.count);
  return bl_float_read(&w->dataset, &w->preprocess, &w->io, index, w->scratch, out, err);
}

static bl_status prepare(work *w, bl_error *err) {
  BL_TRY(bl_cli_open_network(w->args, &w->graph, &w->io, &w->preprocess, err));
  BL_TRY(open_calibration(w, err));
  // What "as the network's input" means must be in the file: devices have an order of their own.
  bool vector = w->io.shape.h == 1 && w->io.shape.w == 1;
  if (w->preprocess.layout == BL_LAYOUT_FILE && !vector) w->preprocess.layout = w->io.order;
  return BL_OK;
}

static const bl_config *config_of(const work *w) {
  return &BL_CONFIGS[w->args->config < 0 ? BL_CLI_DEFAULT : w->args->config];
}

// What the recipe's last stage was measured as. The job owns the graph from now on.
static bl_status run_recipe(work *w, bl_cli_output *output, bl_error *err) {
  bl_float_graph *graph = w->graph;
  w->graph = NULL;
  BL_TRY(bl_recipe_job_open(w->args, graph, &w->io, &w->preprocess, output, &w->recipe, err));
  BL_TRY(bl_network_quantise(&w->recipe.network, NULL, &w->quantised, err));
  w->preprocess.input_mul = w->quantised.input_mul;
  w->preprocess.input_add = w->quantised.input_add;
  return BL_OK;
}

static bl_status quantise(work *w, bl_error *err) {
  // One device for all, so that a network's integers do not depend on where it is to run.
  bl_compile_options device = {&BL_CONFIGS[BL_CLI_DEFAULT], 0};
  bl_quantise_options options = bl_cli_quantise_options(w->args);
  options.weight_bits = options.activation_bits = NOT_GIVEN;
  options.fuse_adds = w->args->fuse_adds;
  options.part_channels = config_of(w)->cols;
  options.cycles = bl_cost_graph;
  options.device = &device;
  bl_codebook codebook;
  BL_TRY(bl_cli_bits(w->args->bits, &options.weight_bits, &options.activation_bits, err));
  BL_TRY(read_codebook(w->args->codebook, &codebook, &options, err));
  bool given = options.weight_bits != NOT_GIVEN;
  if (!given) options.weight_bits = options.activation_bits = 8;
  bl_calibration calibration = {read_sample, w, w->has_dataset ? w->dataset.count : 0};
  w->progress = bl_cli_progress_begin("calibrate");
  bl_status status =
      bl_quantise(w->graph, &options, w->has_dataset ? &calibration : NULL, &w->quantised, err);
  bl_cli_progress_end(&w->progress);
  if (status != BL_OK) return status;
  if (!given && !w->quantised.graph_was_quantised)
    return bl_fail(err, BL_ERR_USAGE, "%s is not quantised: say --bits, such as --bits w4a4",
                   w->args->model);
  w->preprocess.input_mul = w->quantised.input_mul;
  w->preprocess.input_add = w->quantised.input_add;
  return bl_int_check(w->quantised.graph, err);
}

static bl_bloom_info info_of(const work *w) {
  static const bl_suffix suffixes[] = {[BL_LOWER_PLAIN] = BL_SUFFIX_NONE,
                                       [BL_LOWER_SOFTMAX] = BL_SUFFIX_SOFTMAX,
                                       [BL_LOWER_SIGMOID] = BL_SUFFIX_SIGMOID};
  uint64_t parameters = 0;
  const bl_float_graph *graph = w->recipe.original != NULL ? w->recipe.original : w->graph;
  for (uint32_t n = 0; n < graph->node_count; n++)
    parameters += bl_node_parameters(graph, &graph->nodes[n]);
  return (bl_bloom_info){.preprocess = w->preprocess,
                         .suffix = suffixes[w->quantised.suffix],
                         .float_accuracy = -1.0,
                         .float_bytes = 4 * parameters};
}

// What the ratio of an addition's scales costs.
static void print_addition(const bl_addition_cost *cost, cJSON *object, bl_cli_output *output) {
  if (cost->sqnr != 0) {
    bl_cli_say(output,
               "      addition: scales pulled to a power of two, weights' SQNR %.1f dB, alone "
               "%.1f dB\n",
               cost->sqnr, cost->sqnr_alone);
    (void)cJSON_AddNumberToObject(object, "addition_sqnr", cost->sqnr);
    (void)cJSON_AddNumberToObject(object, "addition_sqnr_alone", cost->sqnr_alone);
  } else {
    bl_cli_say(output, "      addition: ratio of the scales wrong by %.2f %% at most\n",
               100 * cost->ratio_error);
    (void)cJSON_AddNumberToObject(object, "addition_ratio_error", cost->ratio_error);
  }
}

static const char *weights_name(const bl_int_layer *layer) {
  return layer->codebook != NULL ? "codes" : bl_format_name(layer->weight_format);
}

static void print_layer(const work *w, uint32_t index, cJSON *array, bl_cli_output *output) {
  const bl_int_graph *graph = w->quantised.graph;
  const bl_int_layer *layer = &graph->layers[index];
  const bl_int_tensor *in = &graph->tensors[layer->input], *out = &graph->tensors[layer->output];
  const uint64_t *cost = w->costs[index].counters;
  const double images = w->program->images;
  double steps = (double)w->program->layer_issue[index] / images;
  bl_cli_say(output, "%4u  %-28.28s %4u x %u x %u %s by %s to %u x %u x %u %s\n", (unsigned)index,
             layer->name, (unsigned)in->h, (unsigned)in->w, (unsigned)in->c,
             bl_format_name(in->format), weights_name(layer), (unsigned)out->h, (unsigned)out->w,
             (unsigned)out->c, bl_format_name(out->format));
  bl_cli_say(output,
             "      %.0f cycles: issue %.0f, requant %.0f, gather %.0f, drain %.0f; %u run%s\n",
             (double)cost[BL_COUNTER_CYCLES] / images, (double)cost[BL_COUNTER_ISSUE] / images,
             (double)cost[BL_COUNTER_REQUANT] / images, (double)cost[BL_COUNTER_GATHER] / images,
             (double)cost[BL_COUNTER_DRAIN] / images, (unsigned)w->program->layer_parts[index],
             w->program->layer_parts[index] == 1 ? "" : "s");
  cJSON *object = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(object, "name", layer->name);
  (void)cJSON_AddStringToObject(object, "input", bl_format_name(in->format));
  (void)cJSON_AddStringToObject(object, "weights", weights_name(layer));
  (void)cJSON_AddStringToObject(object, "output", bl_format_name(out->format));
  (void)cJSON_AddNumberToObject(object, "issue_steps", steps);
  (void)cJSON_AddNumberToObject(object, "parts", w->program->layer_parts[index]);
  bl_cli_add_cost(object, &w->costs[index], w->program->images);
  if (layer->addend_weight != NULL) print_addition(&w->quantised.additions[index], object, output);
  (void)cJSON_AddItemToArray(array, object);
}

// Cycles of an image in all layers.
static double layer_cycles(const work *w) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < w->quantised.graph->layer_count; i++)
    sum += w->costs[i].counters[BL_COUNTER_CYCLES];
  return (double)sum / w->program->images;
}

static void print_result(const work *w, const bl_bloom_info *info, uint64_t file_bytes,
                         bl_cli_output *output) {
  const bl_int_graph *graph = w->quantised.graph;
  cJSON *o = output->object, *array = cJSON_AddArrayToObject(o, "layers");
  double steps = (double)w->program->figures.issue_steps / w->program->images;
  uint64_t bytes = (bl_int_weight_bits(graph) + 7) / 8;
  for (uint32_t i = 0; i < graph->layer_count; i++)
    print_layer(w, i, array, output);
  bl_cli_say(output,
             "%s: %llu bytes, weights %llu bytes (float: %llu), %.0f steps and %.0f cycles an "
             "image in the layers, %s, batches of %u\n",
             w->args->output, (unsigned long long)file_bytes, (unsigned long long)bytes,
             (unsigned long long)info->float_bytes, steps, layer_cycles(w), w->program->config.name,
             (unsigned)w->program->images);
  const uint64_t spilled = w->program->figures.spilled_bytes / w->program->images;
  if (w->program->stage_count > 0)
    bl_cli_say(output,
               "activations do not fit: %u stages, %llu bytes an image travel between layers\n",
               (unsigned)w->program->stage_count, (unsigned long long)spilled);
  if (w->quantised.inexact != 0)
    bl_cli_say(output, "%llu accumulator values cannot be given the graph's own integer\n",
               (unsigned long long)w->quantised.inexact);
  if (w->quantised.linear_count > 0)
    bl_cli_say(output,
               "%u layers keep the file's scales and zero points; halves are rounded up, not to "
               "even\n",
               (unsigned)w->quantised.linear_count);
  if (w->quantised.dynamic_count > 0)
    bl_cli_say(output,
               "%u dynamic quantisers changed: each got one range, from the calibration data\n",
               (unsigned)w->quantised.dynamic_count);
  (void)cJSON_AddStringToObject(o, "model", graph->name);
  (void)cJSON_AddStringToObject(o, "output", w->args->output);
  (void)cJSON_AddStringToObject(o, "config", w->program->config.name);
  (void)cJSON_AddNumberToObject(o, "batch", w->program->images);
  (void)cJSON_AddNumberToObject(o, "file_bytes", (double)file_bytes);
  (void)cJSON_AddNumberToObject(o, "weight_bytes", (double)bytes);
  (void)cJSON_AddNumberToObject(o, "float_bytes", (double)info->float_bytes);
  (void)cJSON_AddNumberToObject(o, "issue_steps", steps);
  (void)cJSON_AddNumberToObject(o, "layer_cycles", layer_cycles(w));
  (void)cJSON_AddNumberToObject(o, "spilled_bytes", (double)spilled);
  (void)cJSON_AddBoolToObject(o, "was_quantised", w->quantised.graph_was_quantised);
  (void)cJSON_AddNumberToObject(o, "inexact", (double)w->quantised.inexact);
  (void)cJSON_AddNumberToObject(o, "linear_quantisers", w->quantised.linear_count);
  (void)cJSON_AddNumberToObject(o, "dynamic_quantisers", w->quantised.dynamic_count);
}

static bl_status compile_and_save(work *w, bl_cli_output *output, bl_error *err) {
  bl_compile_options options = {config_of(w), (uint32_t)w->args->batch};
  BL_TRY(bl_compile(w->quantised.graph, &options, &w->program, err));
  const uint32_t layers = w->quantised.graph->layer_count;
  w->costs = calloc(layers, sizeof *w->costs);
  if (w->costs == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the layers' cycles");
  BL_TRY(bl_cost_layers(w->program, layers, w->costs, err));
  bl_bloom_info info = info_of(w);
  BL_TRY((w->args->coded ? bl_bloom_save_coded : bl_bloom_save)(w->args->output, w->quantised.graph,
                                                                w->program, &info, err));
  bl_bloom written;
  BL_TRY(bl_bloom_load(w->args->output, &written, err));
  uint64_t bytes = written.file_bytes;
  bl_bloom_free(&written);
  print_result(w, &info, bytes, output);
  if (!w->args->coded) return BL_OK;
  bl_storage storage;
  BL_TRY(bl_storage_table(w->quantised.graph, w->program, &info, w->quantised.graph->arena,
                          &storage, err));
  bl_cli_print_storage(&storage, &info, output);
  return BL_OK;
}

bl_status bl_cmd_compress(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_quantise_options bits;
  if (args->output == NULL) return bl_fail(err, BL_ERR_USAGE, "compress needs --output FILE.bloom");
  BL_TRY(bl_cli_bits(args->bits, &bits.weight_bits, &bits.activation_bits, err));
  if (args->recipe != NULL && args->bits != NULL)
    return bl_fail(err, BL_ERR_USAGE, "--recipe says the bits itself: leave out --bits");
  work w = {.args = args};
  bl_status status = prepare(&w, err);
  if (status == BL_OK)
    status = args->recipe != NULL ? run_recipe(&w, output, err) : quantise(&w, err);
  if (status == BL_OK) status = compile_and_save(&w, output, err);
  bl_program_free(w.program);
  if (w.quantised.graph != NULL) bl_arena_free(w.quantised.graph->arena);
  bl_recipe_job_close(&w.recipe);
  if (w.has_dataset) bl_dataset_free(&w.dataset);
  bl_float_graph_free(w.graph);
  free(w.scratch);
  free(w.costs);
  return status;
}
