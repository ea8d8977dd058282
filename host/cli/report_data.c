// SPDX-License-Identifier: Apache-2.0
#include "host/cli/report_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/cli/storage_output.h"
#include "host/graph/class_of.h"
#include "host/onnx/qdq_affine.h"
#include "host/ref/reference.h"
#include "host/report/page.h"
#include "host/run/input.h"

enum {
  HISTOGRAM_SAMPLES = 8,
  MOST_CLASSES = 64,
  MOST_JSON = 256 << 20,
  STORAGE_MEMORY = 64 << 20,
  INTEGERS = 512 // q + 256 of every format
};

static void number(cJSON *object, const char *name, double value) {
  (void)cJSON_AddNumberToObject(object, name, value);
}

static void text(cJSON *object, const char *name, const char *value) {
  (void)cJSON_AddStringToObject(object, name, value == NULL ? "" : value);
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
}

bool bl_report_has_cycles(const bl_report_facts *facts) {
  return facts->job->runner.device.kind != BL_DEVICE_FUNCTIONAL;
}

// Bits that a weight travels in.
static unsigned bits_of(const bl_int_layer *layer) {
  return layer->codebook != NULL ? 4 : layer->weight_format.bits;
}

// ---- Histograms

typedef struct {
  const bl_int_graph *graph;
  uint64_t *counts; // [layer][INTEGERS]
} counting;

static void count_outputs(void *context, uint32_t layer, int32_t *output) {
  const counting *c = context;
  const bl_int_tensor *t = &c->graph->tensors[c->graph->layers[layer].output];
  if (t->format.kind == BL_FORMAT_ACC) return;
  for (size_t k = 0; k < bl_int_elements(t); k++)
    c->counts[(size_t)layer * INTEGERS + (size_t)(output[k] + 256)]++;
}

static void add_histogram(cJSON *layer, const char *name, const uint64_t *counts, bl_format format,
                          double scale, int32_t zero_point) {
  cJSON *object = cJSON_AddObjectToObject(layer, name);
  const int32_t lo = bl_format_min(format), hi = bl_format_max(format);
  text(object, "format", bl_format_name(format));
  number(object, "first", lo);
  number(object, "scale", scale);
  number(object, "zero_point", zero_point);
  cJSON *list = cJSON_AddArrayToObject(object, "counts");
  for (int32_t q = lo; q <= hi; q++)
    (void)cJSON_AddItemToArray(list, cJSON_CreateNumber((double)counts[q + 256]));
}

// Integers of all layers on the first samples, by the reference kernels.
static bl_status run_some(const bl_report_facts *f, counting *c, bl_error *err) {
  const bl_runner *r = &f->job->runner;
  const bl_int_graph *g = c->graph;
  const size_t count = bl_int_elements(&g->tensors[0]);
  int32_t *in = calloc(count, sizeof *in);
  int32_t *out = calloc(bl_int_elements(&g->tensors[g->output]), sizeof *out);
  double *scratch = calloc(count, sizeof *scratch);
  bl_status status = in == NULL || out == NULL || scratch == NULL ? no_memory(err) : BL_OK;
  for (size_t k = 0; k < HISTOGRAM_SAMPLES && k < r->samples && status == BL_OK; k++) {
    if (r->dataset != NULL)
      status = bl_input_read(g, r->dataset, &r->preprocess, k, scratch, in, err);
    else
      bl_input_random(g, r->seed, k, in);
    if (status == BL_OK) status = bl_reference_run(g, in, out, count_outputs, c, err);
  }
  free(in);
  free(out);
  free(scratch);
  return status;
}

static bl_status add_weight_histogram(const bl_int_graph *g, const bl_int_layer *l, cJSON *layer,
                                      bl_error *err) {
  const uint32_t channels = g->tensors[l->output].c;
  uint64_t counts[INTEGERS] = {0}, all = (uint64_t)l->kernel_h * l->kernel_w;
  double scale = 0;
  bl_qdq_channel *c = calloc(channels, sizeof *c);
  if (c == NULL) return no_memory(err);
  bl_qdq_channels(g, l, c);
  for (uint32_t n = 0; n < channels; n++)
    scale += c[n].weight_scale / channels;
  free(c);
  all *= (uint64_t)(g->tensors[l->input].c / l->groups) * channels;
  for (uint64_t k = 0; k < all; k++)
    counts[l->weights[k] + 256]++;
  add_histogram(layer, "weight_histogram", counts, l->weight_format, scale, 0);
  return BL_OK;
}

static bl_status add_histograms(const bl_report_facts *f, cJSON *layers, bl_error *err) {
  const bl_int_graph *g = f->job->bloom.graph;
  counting c = {g, calloc((size_t)g->layer_count * INTEGERS, sizeof *c.counts)};
  bl_status status = c.counts == NULL ? no_memory(err) : run_some(f, &c, err);
  for (uint32_t i = 0; i < g->layer_count && status == BL_OK; i++) {
    const bl_int_layer *l = &g->layers[i];
    const bl_int_tensor *out = &g->tensors[l->output];
    cJSON *layer = cJSON_GetArrayItem(layers, (int)i);
    status = add_weight_histogram(g, l, layer, err);
    if (out->format.kind != BL_FORMAT_ACC)
      add_histogram(layer, "output_histogram", c.counts + (size_t)i * INTEGERS, out->format,
                    out->scale, out->zero_point);
  }
  free(c.counts);
  return status;
}

// ---- Layers

static void kind_of(const bl_int_graph *graph, const bl_int_layer *layer, char *line, size_t room) {
  const bl_int_tensor *in = &graph->tensors[layer->input];
  const unsigned kh = layer->kernel_h, kw = layer->kernel_w;
  int length;
  if (kh == in->h && kw == in->w && layer->groups == 1)
    length = snprintf(line, room, "fully connected");
  else if (layer->groups == in->c && in->c > 1)
    length = snprintf(line, room, "depthwise %ux%u", kh, kw);
  else
    length = snprintf(line, room, "convolution %ux%u", kh, kw);
  if (layer->addend_weight != NULL)
    length += snprintf(line + length, room - (size_t)length, ", %s",
                       layer->project_h > 0 ? "projection" : "addition");
  if (layer->table != NULL) length += snprintf(line + length, room - (size_t)length, ", table");
  if (layer->pool_h * layer->pool_w > 1)
    (void)snprintf(line + length, room - (size_t)length, ", max pool %ux%u",
                   (unsigned)layer->pool_h, (unsigned)layer->pool_w);
}

static cJSON *layer_of(const bl_report_facts *f, uint32_t index) {
  const bl_bloom *bloom = &f->job->bloom;
  const bl_int_graph *g = bloom->graph;
  const bl_int_layer *l = &g->layers[index];
  const bl_int_tensor *in = &g->tensors[l->input], *out = &g->tensors[l->output];
  const double images = (double)(f->cycles->batches * bloom->program->images);
  cJSON *o = cJSON_CreateObject();
  char line[128];
  uint32_t conv_h, conv_w;
  bl_int_conv_size(g, l, &conv_h, &conv_w);
  text(o, "name", l->name);
  kind_of(g, l, line, sizeof line);
  text(o, "kind", line);
  (void)snprintf(line, sizeof line, "%u x %u x %u to %u x %u x %u", (unsigned)in->h,
                 (unsigned)in->w, (unsigned)in->c, (unsigned)out->h, (unsigned)out->w,
                 (unsigned)out->c);
  text(o, "shape", line);
  text(o, "weights", l->codebook != NULL ? "codes" : bl_format_name(l->weight_format));
  text(o, "input", bl_format_name(in->format));
  number(o, "weight_bits", bits_of(l));
  number(o, "input_bits", in->format.bits);
  number(o, "macs", (double)((uint64_t)conv_h * conv_w * bl_int_weights(g, l)));
  const uint64_t weight_bytes = (bl_int_weights(g, l) * bits_of(l) + 7) / 8;
  number(o, "weight_bytes", (double)(weight_bytes + (uint64_t)out->c * BL_CONTRACT_PARAM_BYTES));
  bl_cli_add_cost(o, &f->costs[index], bloom->program->images);
  if (bl_report_has_cycles(f) && images > 0)
    number(o, "measured", (double)f->cycles->layer_cycles[index] / images);
  else
    (void)cJSON_AddNullToObject(o, "measured");
  return o;
}

static void add_reasons(const bl_report_facts *f, cJSON *data) {
  if (!bl_report_has_cycles(f)) return;
  cJSON *reasons = cJSON_AddArrayToObject(data, "reasons");
  for (int i = 1; i < BL_COUNTER_COUNT; i++) {
    cJSON *o = cJSON_CreateObject();
    text(o, "name", bl_device_counter_name(i));
    text(o, "meaning", bl_device_counter_meaning(i));
    number(o, "cycles", (double)f->cycles->counters[i]);
    (void)cJSON_AddItemToArray(reasons, o);
  }
}

// ---- The network as a whole

static void add_figures(const bl_report_facts *f, cJSON *data) {
  const bl_bloom *bloom = &f->job->bloom;
  const bl_config *config = &bloom->program->config;
  uint64_t weights = 0, bits = 0;
  for (uint32_t i = 0; i < bloom->graph->layer_count; i++) {
    const uint64_t count = bl_int_weights(bloom->graph, &bloom->graph->layers[i]);
    weights += count;
    bits += count * bits_of(&bloom->graph->layers[i]);
  }
  text(data, "model", bloom->graph->name);
  text(data, "source", f->args->model);
  text(data, "config", config->name);
  text(data, "device",
       f->args->device < 0 ? "functional and rtl" : bl_device_name(f->job->runner.device.kind));
  number(data, "rows", config->rows);
  number(data, "cols", config->cols);
  number(data, "lanes", config->lanes);
  text(data, "data", bl_cli_data_name(f->args));
  number(data, "file_bytes", (double)bloom->file_bytes);
  const uint64_t weight_bytes = (bits + 7) / 8;
  number(data, "weight_bytes", (double)weight_bytes);
  number(data, "float_bytes",
         (double)(bloom->info.float_bytes != 0 ? bloom->info.float_bytes : 4 * weights));
  number(data, "cycles_per_image", f->cycles->cycles_per_image);
  number(data, "clock_mhz", f->args->clock_mhz);
  (void)cJSON_AddBoolToObject(data, "steps_only", !bl_report_has_cycles(f));
}

static void add_counts(const bl_report_facts *f, cJSON *data) {
  const bool both = f->cycles != f->all;
  cJSON *verdict = cJSON_AddObjectToObject(data, "verdict");
  number(verdict, "compared", (double)(f->all->compared + (both ? f->cycles->compared : 0)));
  number(verdict, "mismatches", (double)(f->all->mismatches + (both ? f->cycles->mismatches : 0)));
  if (f->all->labelled == 0) return;
  cJSON *accuracy = cJSON_AddObjectToObject(data, "accuracy");
  number(accuracy, "samples", (double)f->all->labelled);
  number(accuracy, "correct", (double)f->all->correct);
}

// [label][answer], where there are labels, and few classes.
static void add_confusion(const bl_report_facts *f, cJSON *data) {
  const bl_int_graph *g = f->job->bloom.graph;
  const bl_dataset *set = f->job->runner.dataset;
  const size_t outputs = bl_int_elements(&g->tensors[g->output]);
  const size_t classes = bl_class_count(outputs);
  const float border = f->job->bloom.info.suffix == BL_SUFFIX_SIGMOID ? 0.5F : 0;
  double counts[MOST_CLASSES * MOST_CLASSES] = {0};
  if (set == NULL || !set->has_labels || classes < 2 || classes > MOST_CLASSES) return;
  for (size_t k = 0; k < f->job->runner.samples; k++) {
    const int64_t label = bl_dataset_label(set, k);
    const size_t answer = bl_class_of(f->outputs + k * outputs, outputs, border);
    if (label >= 0 && label < (int64_t)classes) counts[(size_t)label * classes + answer]++;
  }
  cJSON *rows = cJSON_AddArrayToObject(data, "confusion");
  for (size_t k = 0; k < classes; k++)
    (void)cJSON_AddItemToArray(rows, cJSON_CreateDoubleArray(counts + k * classes, (int)classes));
}

static bl_status add_storage(const bl_report_facts *f, cJSON *data, bl_error *err) {
  const bl_bloom *bloom = &f->job->bloom;
  bl_storage storage;
  bl_arena *arena = bl_arena_new(STORAGE_MEMORY);
  if (arena == NULL) return no_memory(err);
  bl_status status =
      bl_storage_table(bloom->graph, bloom->program, &bloom->info, arena, &storage, err);
  if (status == BL_OK) {
    bl_cli_output silent = {.json = true, .object = data};
    bl_cli_print_storage(&storage, &bloom->info, &silent);
  }
  bl_arena_free(arena);
  return status;
}

bl_status bl_report_data(const bl_report_facts *facts, cJSON **data, bl_error *err) {
  cJSON *o = *data = cJSON_CreateObject();
  if (o == NULL) return no_memory(err);
  add_figures(facts, o);
  add_counts(facts, o);
  add_reasons(facts, o);
  cJSON *layers = cJSON_AddArrayToObject(o, "layers");
  for (uint32_t i = 0; i < facts->job->bloom.graph->layer_count; i++)
    (void)cJSON_AddItemToArray(layers, layer_of(facts, i));
  add_confusion(facts, o);
  bl_status status = add_histograms(facts, layers, err);
  if (status == BL_OK) status = add_storage(facts, o, err);
  if (status == BL_OK) return BL_OK;
  cJSON_Delete(o);
  *data = NULL;
  return status;
}

// ---- Data of other commands

// The file of a search: a line that says so, then a line a candidate.
static cJSON *candidates_of(const char *lines) {
  cJSON *root = cJSON_CreateObject(), *points = cJSON_AddArrayToObject(root, "points"), *line;
  while ((line = cJSON_ParseWithOpts(lines, &lines, false)) != NULL)
    if (!cJSON_AddItemToArray(points, line)) {
      cJSON_Delete(line);
      break;
    }
  return root;
}

static cJSON *read_json(const char *path, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  if (bl_file_read(path, MOST_JSON, &bytes, &size, err) != BL_OK) return NULL;
  char *content = strndup((const char *)bytes, size);
  const char *rest = NULL;
  free(bytes);
  cJSON *from = content == NULL ? NULL : cJSON_ParseWithOpts(content, &rest, false);
  if (cJSON_HasObjectItem(from, "bitloom-search")) {
    cJSON_Delete(from);
    from = candidates_of(rest);
  }
  free(content);
  if (cJSON_IsObject(from)) return from;
  cJSON_Delete(from);
  (void)bl_fail(err, BL_ERR_FORMAT, "%s: not one JSON object", path);
  return NULL;
}

static bl_status merge_file(cJSON *data, const char *path, bl_error *err) {
  unsigned found = 0;
  cJSON *from = read_json(path, err);
  if (from == NULL) return err->status;
  bl_status status = bl_page_merge(data, from, &found, err);
  cJSON_Delete(from);
  if (status != BL_OK || found > 0) return status;
  return bl_fail(err, BL_ERR_FORMAT,
                 "%s: nothing that a report shows; give the --json of compress --recipe, train, "
                 "search or run --device float",
                 path);
}

bl_status bl_report_merge(cJSON *data, const char *files, bl_error *err) {
  char *list = strdup(files), *rest = NULL;
  bl_status status = list == NULL ? no_memory(err) : BL_OK;
  for (char *path = list == NULL ? NULL : strtok_r(list, ",", &rest);
       path != NULL && status == BL_OK; path = strtok_r(NULL, ",", &rest))
    status = merge_file(data, path, err);
  free(list);
  return status;
}
