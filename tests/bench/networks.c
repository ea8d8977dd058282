// SPDX-License-Identifier: Apache-2.0
// Whole networks on the simulated RTL: cycles an image against their targets, and where the cycles
// go. Every output bit is compared with the reference kernels. Inputs are random (cycles do not
// depend on values), so quantisers calibrate on random samples too.
//   networks [--layers] [TEXT...]  only the rows whose name has one of the texts; each layer too
//   networks --onnx FILE           writes CNV-W1A1 for bitloom compress
// Models come from BITLOOM_DATA (../shared/data by default). Exit status 1 when a target is missed,
// a bit differs, or a network does not compile or run; absent models are said and do not count.
//
// Each run's cycles, by reason, are compared with the cycle model's (host/cost) too. runs: of a
// batch, all equal; model: how much faster the model is than the RTL, in processor time.
//
// cycles: the device's counters over whole batches that follow one another, streams included,
// divided by images. layers: the sum of what the device answered for each run. ideal:
// multiplications x weight bits x input bits of every layer / (ROWS*COLS*LANES); averages (weights
// of one) and additions are free there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/cost/cost.h"
#include "host/onnx/onnx_import.h"
#include "host/quant/quantise.h"
#include "host/ref/reference.h"
#include "host/run/input.h"
#include "host/run/program_session.h"
#include "tests/bench/nets.h"
#include "tests/bench/nets_onnx.h"
#include "tests/regress/run_cost.h"

// Batches measured, and those that run for it.
enum {
  BATCHES = 4,
  ALL_BATCHES = 3 + BATCHES,
  CALIBRATION = 4,
  PATH_BYTES = 512,
  SEED = 1,
  DENSE_SIDE = 16,
  MODEL_TIMES = 20
};

typedef enum { CYCLES, ISSUE, NONE } target_kind; // of an image; percent of the layer's cycles

typedef struct {
  const char *name, *model; // file in models/; NULL: made, "CNV" or a dense layer
  int config;               // index in BL_CONFIGS
  uint8_t weight_bits, activation_bits;
  uint32_t batch, channels; // batch 0: the compiler's choice; channels of a dense layer
  target_kind kind;
  double must, aim;
} row;

#define RESNET8 "ic_resnet8_float.onnx"
#define DSCNN "kws_dscnn_float.onnx"
#define MOBILENET "vww_mobilenetv1_025_96_float.onnx"
#define AUTOENCODER "ad01_autoencoder_float.onnx"
// No target; a model that brings its integers has no bits of ours.
#define PLAIN(name, file, bits)                                                                    \
  { name, file, BL_CONFIG_DEFAULT, bits, bits, 0, 0, NONE, 0, 0 }
#define DENSE(bits, channels, must)                                                                \
  { "dense 3x3", NULL, BL_CONFIG_DEFAULT, bits, bits, 1, channels, ISSUE, must, must }

static const row rows[] = {
    {"ResNet-8", RESNET8, BL_CONFIG_DEFAULT, 4, 4, 0, 0, CYCLES, 122000, 112000},
    {"ResNet-8", RESNET8, BL_CONFIG_DEFAULT, 2, 2, 0, 0, CYCLES, 45000, 32000},
    {"DS-CNN", DSCNN, BL_CONFIG_DEFAULT, 4, 4, 0, 0, CYCLES, 54000, 47000},
    {"MobileNetV1-0.25", MOBILENET, BL_CONFIG_DEFAULT, 4, 4, 0, 0, CYCLES, 200000, 170000},
    {"AD autoencoder", AUTOENCODER, BL_CONFIG_DEFAULT, 4, 8, 1, 0, CYCLES, 6500, 5000},
    {"CNV-W1A1", NULL, BL_CONFIG_DEFAULT, 1, 1, 1, 0, CYCLES, 46000, 43000},
    {"CNV-W1A1", NULL, BL_CONFIG_WIDE, 1, 1, 8, 0, CYCLES, 12000, 10800},
    DENSE(4, 16, 95),
    DENSE(4, 32, 95),
    DENSE(4, 64, 95),
    DENSE(4, 128, 95),
    DENSE(1, 32, 90),
    DENSE(1, 64, 90),
    DENSE(1, 128, 90),
    PLAIN("ResNet-20", "resnet20_cifar10.onnx", 4),
    PLAIN("ResNet-8 QDQ", "ic_resnet8_int8_qdq.onnx", 8),
    PLAIN("DS-CNN QDQ", "kws_dscnn_int8_qdq.onnx", 8),
    PLAIN("MobileNetV1-0.25 QDQ", "vww_mobilenetv1_int8_qdq.onnx", 8),
    PLAIN("AD autoencoder QDQ", "ad_autoencoder_int8_qdq.onnx", 8),
};

// ---- Making the graph ----

typedef struct {
  size_t elements;
} noise;

// A sample of noise around 0.
static bl_status read_noise(void *context, size_t index, float *out, bl_error *err) {
  const noise *n = context;
  uint64_t state = (index + 1) * 0x9E3779B97F4A7C15u;
  (void)err;
  for (size_t i = 0; i < n->elements; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    out[i] = (float)(state >> 40) / (float)(1 << 23) - 1.0f;
  }
  return BL_OK;
}

static bl_status quantise(const row *r, const bl_float_graph *model, bl_int_graph **graph,
                          bl_error *err) {
  bl_compile_options device = {&BL_CONFIGS[BL_CONFIG_DEFAULT], 0};
  bl_quantise_options options = {.weight_bits = r->weight_bits,
                                 .activation_bits = r->activation_bits,
                                 .range = BL_RANGE_MINMAX,
                                 // 640 outputs as int32 would run the last layer three times
                                 .output_bits = strcmp(r->model, AUTOENCODER) == 0 ? 8 : 0,
                                 .cycles = bl_cost_graph,
                                 .device = &device};
  noise samples = {model->values[model->inputs[0]].count};
  bl_calibration calibration = {read_noise, &samples, CALIBRATION};
  bl_quantised quantised = {0};
  BL_TRY(bl_quantise(model, &options, &calibration, &quantised, err));
  *graph = quantised.graph;
  return bl_int_check(*graph, err);
}

static bl_status import(const row *r, const char *path, bl_int_graph **graph, bl_error *err) {
  bl_onnx_options one = {.batch = 1, .rebatch = true};
  bl_float_graph *model = NULL;
  BL_TRY(bl_onnx_import(path, &one, &model, err));
  bl_status status = quantise(r, model, graph, err);
  bl_float_graph_free(model);
  return status;
}

// *graph stays NULL where the model is absent.
static bl_status make_graph(const row *r, bl_int_graph **graph, bl_error *err) {
  if (r->model == NULL) {
    *graph = r->channels == 0 ? bl_net_cnv(SEED)
                              : bl_net_dense(r->channels, DENSE_SIDE, r->weight_bits, SEED);
    return *graph == NULL ? bl_fail(err, BL_ERR_MEMORY, "no memory for the network") : BL_OK;
  }
  char path[PATH_BYTES];
  const char *data = getenv("BITLOOM_DATA");
  (void)snprintf(path, sizeof path, "%s/models/%s", data != NULL ? data : "../shared/data",
                 r->model);
  return access(path, R_OK) != 0 ? BL_OK : import(r, path, graph, err);
}

// ---- Running it ----

typedef struct {
  uint32_t images; // of a batch
  uint32_t runs;   // of a batch, in each of which the cycle model is exact
  double faster;   // the model than the RTL: processor time of a batch
  uint64_t counters[BL_COUNTER_COUNT], differing; // of BATCHES batches; of all
  double layer_cycles;                            // an image
  bool each_layer;                                // print them
} measured;

static bool only_ones(const bl_int_layer *l, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (l->weights[i] != 1) return false;
  return true;
}

static double ideal_layer(const bl_int_graph *graph, uint32_t layer, const bl_config *config) {
  const bl_int_layer *l = &graph->layers[layer];
  const bl_int_tensor *in = &graph->tensors[l->input];
  uint32_t h, w, out_c = graph->tensors[l->output].c;
  size_t weights = (size_t)l->kernel_h * l->kernel_w * (in->c / l->groups) * out_c;
  if (only_ones(l, weights)) return 0;
  bl_int_conv_size(graph, l, &h, &w);
  double binary = (double)h * w * (double)weights * l->weight_format.bits * in->format.bits;
  if (l->addend_weight != NULL && l->project_h > 0)
    binary += (double)h * w * (double)(bl_int_weights(graph, l) - weights) * l->weight_format.bits *
              graph->tensors[l->addend].format.bits;
  return binary / ((double)config->rows * config->cols * config->lanes);
}

static double ideal_cycles(const bl_int_graph *graph, const bl_config *config) {
  double sum = 0;
  for (uint32_t i = 0; i < graph->layer_count; i++)
    sum += ideal_layer(graph, i, config);
  return sum;
}

// Cycles of an image, layer by layer.
static void print_layers(const bl_int_graph *graph, const bl_program *program,
                         const uint64_t *cycles) {
  printf("\n");
  for (uint32_t i = 0; i < graph->layer_count; i++) {
    const bl_int_layer *l = &graph->layers[i];
    const bl_int_tensor *in = &graph->tensors[l->input], *out = &graph->tensors[l->output];
    double mean = (double)cycles[i] / ((double)ALL_BATCHES * program->images);
    double issue = (double)program->layer_issue[i] / program->images;
    printf("  %3u %-24.24s %3ux%-3u %4u %-3s by %ux%u %-3s to %4u%s%s  ideal %7.0f, steps %7.0f, "
           "cycles %7.0f, issue %5.1f %%, %u run%s\n",
           i, l->name, in->h, in->w, in->c, bl_format_name(in->format), l->kernel_h, l->kernel_w,
           bl_format_name(l->weight_format), out->c, l->groups > 1 ? " grouped" : "",
           l->addend_weight != NULL ? " + addend" : "", ideal_layer(graph, i, &program->config),
           issue, mean, 100 * issue / mean, program->layer_parts[i],
           program->layer_parts[i] == 1 ? "" : "s");
  }
  printf("%40s", "");
}

// Output values of a batch that differ from the reference kernels'.
static bl_status compare(const bl_int_graph *graph, const int32_t *in, const int32_t *out,
                         uint32_t images, uint64_t *differing, bl_error *err) {
  size_t in_size = bl_int_elements(&graph->tensors[0]);
  size_t out_size = bl_int_elements(&graph->tensors[graph->output]);
  int32_t *expected = calloc(out_size, sizeof *expected);
  if (expected == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for an output");
  bl_status status = BL_OK;
  for (uint32_t i = 0; i < images && status == BL_OK; i++) {
    status = bl_reference_run(graph, in + i * in_size, expected, NULL, NULL, err);
    for (size_t k = 0; k < out_size && status == BL_OK; k++)
      *differing += out[i * out_size + k] != expected[k];
  }
  free(expected);
  return status;
}

// `batches` batches that overlap, each announced while the one before it runs, the first by
// whatever ran before; and one more is announced behind them.
static bl_status run_batches(bl_session *session, const bl_int_graph *graph, uint32_t batches,
                             const int32_t *in, measured *m, bl_error *err) {
  const size_t in_size = m->images * bl_int_elements(&graph->tensors[0]);
  const size_t out_size = m->images * bl_int_elements(&graph->tensors[graph->output]);
  int32_t *out = calloc(out_size, sizeof *out);
  bl_status status = out == NULL ? bl_fail(err, BL_ERR_MEMORY, "no memory for an output") : BL_OK;
  for (uint32_t b = 0; b <= batches && status == BL_OK; b++) {
    if (b < batches) {
      status = bl_session_next(session, in + (b + 1) * in_size, m->images, err);
      if (status == BL_OK) status = bl_session_submit(session, in + b * in_size, m->images, err);
    }
    if (b == 0 || status != BL_OK) continue;
    status = bl_session_collect(session, out, err);
    if (status == BL_OK)
      status = compare(graph, in + (b - 1) * in_size, out, m->images, &m->differing, err);
  }
  free(out);
  return status;
}

// What `batches` overlapping batches, `first` and so on, take by the device's counters.
static bl_status count_batches(bl_session *session, const bl_int_graph *graph, uint32_t first,
                               uint32_t batches, const int32_t *in, measured *m,
                               uint64_t taken[BL_COUNTER_COUNT], bl_error *err) {
  const size_t in_size = m->images * bl_int_elements(&graph->tensors[0]);
  uint64_t before[BL_COUNTER_COUNT];
  BL_TRY(bl_session_counters(session, before, err));
  BL_TRY(run_batches(session, graph, batches, in + first * in_size, m, err));
  BL_TRY(bl_session_counters(session, taken, err));
  for (int i = 0; i < BL_COUNTER_COUNT; i++)
    taken[i] -= before[i];
  return BL_OK;
}

// BATCHES batches in steady state: what 1 + BATCHES of them take more than one, with the first
// one's input on the device.
static bl_status measure_steady(bl_session *session, const bl_int_graph *graph, const int32_t *in,
                                measured *m, bl_error *err) {
  uint64_t one[BL_COUNTER_COUNT];
  BL_TRY(count_batches(session, graph, 0, 1, in, m, one, err)); // the very first loads its input
  BL_TRY(count_batches(session, graph, 1, 1, in, m, one, err));
  BL_TRY(count_batches(session, graph, 2, 1 + BATCHES, in, m, m->counters, err));
  for (int i = 0; i < BL_COUNTER_COUNT; i++)
    m->counters[i] -= one[i];
  return BL_OK;
}

static bl_status run_session(bl_session *session, const bl_int_graph *graph,
                             const bl_program *program, measured *m, bl_error *err) {
  const size_t in_size = bl_int_elements(&graph->tensors[0]);
  const uint32_t images = (ALL_BATCHES + 1) * m->images; // one is only announced
  int32_t *in = calloc(images * in_size, sizeof *in);
  if (in == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the batches");
  for (uint32_t i = 0; i < images; i++)
    bl_input_random(graph, SEED, i, in + i * in_size);
  bl_status status = measure_steady(session, graph, in, m, err);
  free(in);
  if (status != BL_OK) return status;
  const uint64_t *cycles = bl_session_layer_cycles(session);
  for (uint32_t i = 0; i < graph->layer_count; i++)
    m->layer_cycles += (double)cycles[i] / (ALL_BATCHES * m->images);
  if (m->each_layer) print_layers(graph, program, cycles);
  return BL_OK;
}

static double seconds_since(clock_t begin) {
  return (double)(clock() - begin) / CLOCKS_PER_SEC;
}

// Seconds that the cycle model takes for a batch.
static bl_status time_model(const bl_program *program, double *seconds, bl_error *err) {
  bl_cost *costs = calloc(program->batch_count, sizeof *costs);
  if (costs == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the cycles");
  const clock_t begin = clock();
  unsigned times = 0;
  bl_status status;
  do
    status = bl_cost_program(program, costs, err);
  while (status == BL_OK && ++times < MODEL_TIMES);
  *seconds = seconds_since(begin) / MODEL_TIMES;
  free(costs);
  return status;
}

// Each run's cycles and reasons against the cycle model's.
static bl_status check_model(const bl_device_spec *spec, const bl_program *program, measured *m,
                             bl_error *err) {
  bl_device device;
  uint64_t cycles;
  double model = 0;
  char text[BL_COST_TEXT];
  BL_TRY(time_model(program, &model, err));
  BL_TRY(bl_device_open(spec, &device, err));
  const clock_t begin = clock();
  bool equal = bl_run_cost(&device.driver, program, &m->runs, &cycles, text);
  m->faster = seconds_since(begin) / model;
  bl_device_close(&device);
  return equal ? BL_OK : bl_fail(err, BL_ERR_MISMATCH, "cycle model: %s", text);
}

static bl_status measure(const row *r, const bl_int_graph *graph, measured *m, bl_error *err) {
  const bl_config *config = &BL_CONFIGS[r->config];
  bl_compile_options options = {.config = config, .batch = r->batch};
  bl_device_spec device = {.kind = BL_DEVICE_RTL, .config = config};
  bl_program *program;
  bl_session *session;
  BL_TRY(bl_compile(graph, &options, &program, err));
  bl_status status = bl_session_open(&device, graph, program, BL_STEP_NO_LAYER, &session, err);
  m->images = program->images;
  if (status == BL_OK) {
    status = run_session(session, graph, program, m, err);
    bl_session_close(session);
  }
  if (status == BL_OK) status = check_model(&device, program, m, err);
  bl_program_free(program);
  return status;
}

// ---- The table ----

static void print_name(const row *r) {
  char name[48];
  if (r->channels != 0)
    (void)snprintf(name, sizeof name, "%s, %u channels", r->name, (unsigned)r->channels);
  else
    (void)snprintf(name, sizeof name, "%s", r->name);
  printf("%-24s %-7s w%ua%u", name, BL_CONFIGS[r->config].name, r->weight_bits, r->activation_bits);
}

static const char *verdict(const row *r, double value) {
  if (r->kind == NONE) return "";
  bool least = r->kind == ISSUE;
  if (least ? value < r->must : value > r->must) return "MISSED";
  return (least ? value < r->aim : value > r->aim) ? "met" : "aim met";
}

static double share(const measured *m, int counter) {
  return 100.0 * (double)m->counters[counter] / (double)m->counters[BL_COUNTER_CYCLES];
}

// False when a target is missed or a value differs.
static bool print_measured(const row *r, const bl_int_graph *graph, const measured *m) {
  static const int reasons[] = {BL_COUNTER_ISSUE,     BL_COUNTER_WEIGHTS,    BL_COUNTER_REQUANT,
                                BL_COUNTER_STREAM_IN, BL_COUNTER_STREAM_OUT, BL_COUNTER_GATHER,
                                BL_COUNTER_DRAIN,     BL_COUNTER_IDLE};
  double slots = (double)BATCHES * m->images;
  double cycles = (double)m->counters[BL_COUNTER_CYCLES] / slots;
  double issue = 100.0 * (double)m->counters[BL_COUNTER_ISSUE] / slots / m->layer_cycles;
  const char *text = verdict(r, r->kind == ISSUE ? issue : cycles);
  printf(" %5u %8.0f %8.0f %8.0f %6.1f", (unsigned)m->images,
         ideal_cycles(graph, &BL_CONFIGS[r->config]), cycles, m->layer_cycles, issue);
  const char *unit = r->kind == ISSUE ? "%" : "";
  if (r->kind == NONE)
    printf(" %17s %-8s", "", "");
  else
    printf(" %7.0f%-1s %7.0f%-1s %-8s", r->must, unit, r->aim, unit, text);
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
    printf(" %5.1f", share(m, reasons[i]));
  printf(" %4u %8.0f\n", (unsigned)m->runs, m->faster);
  if (m->differing != 0)
    printf("    %llu output values differ from the reference kernels\n",
           (unsigned long long)m->differing);
  return m->differing == 0 && strcmp(text, "MISSED") != 0;
}

static void print_heading(void) {
  printf("%-24s %-7s bits batch %8s %8s %8s %6s %8s %8s %-8s", "network", "config", "ideal",
         "cycles", "layers", "issue", "must", "aim", "");
  printf(" %5s %5s %5s %5s %5s %5s %5s %5s %4s %8s\n", "issue", "wght", "reqnt", "s.in", "s.out",
         "gathr", "drain", "idle", "runs", "model");
  printf("%-24s %-7s            of an image, streams in %8s %%lyr %17s %10s %s\n", "", "", "", "",
         "", "% of all cycles                             of a batch, x faster");
}

static bool do_row(const row *r, bool each_layer) {
  bl_error err = {0};
  bl_int_graph *graph = NULL;
  measured m = {.each_layer = each_layer};
  print_name(r);
  (void)fflush(stdout);
  bl_status status = make_graph(r, &graph, &err);
  if (status == BL_OK && graph == NULL) {
    printf(" skipped: no models/%s (set BITLOOM_DATA)\n", r->model);
    return true;
  }
  if (status == BL_OK) status = measure(r, graph, &m, &err);
  bool good = false;
  if (status == BL_OK)
    good = print_measured(r, graph, &m);
  else
    printf(" FAILED: %s\n", err.text);
  (void)fflush(stdout);
  if (graph != NULL) bl_arena_free(graph->arena);
  return good;
}

static bool wanted(const row *r, int argc, char **argv) {
  for (int i = 0; i < argc; i++)
    if (strstr(r->name, argv[i]) != NULL) return true;
  return argc < 1;
}

static int write_onnx(const char *path) {
  bl_error err = {0};
  bl_int_graph *graph = bl_net_cnv(SEED);
  bl_status status = graph == NULL ? bl_fail(&err, BL_ERR_MEMORY, "no memory for the network")
                                   : bl_net_cnv_write(path, graph, &err);
  if (graph != NULL) bl_arena_free(graph->arena);
  if (status != BL_OK) (void)fprintf(stderr, "networks: %s\n", err.text);
  return status == BL_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  bool good = true, each_layer = argc > 1 && strcmp(argv[1], "--layers") == 0;
  if (argc == 3 && strcmp(argv[1], "--onnx") == 0) return write_onnx(argv[2]);
  int skip = each_layer ? 2 : 1;
  print_heading();
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (wanted(&rows[i], argc - skip, argv + skip) && !do_row(&rows[i], each_layer)) good = false;
  return good ? 0 : 1;
}
