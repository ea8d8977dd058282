// SPDX-License-Identifier: Apache-2.0
// How long an epoch of training takes, beside oneDNN's bare convolution primitives (forward,
// backward data, backward weights) of the same layers in the same run: half of those before the
// epoch and half behind it; and how long one with 4-bit weights and activations and a teacher of
// the same size takes. Data and models come from BITLOOM_DATA and are skipped where absent.
//   bench/train [THREADS]
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <oneapi/dnnl/dnnl.h>

#include "host/onnx/onnx_import.h"
#include "host/train/quant_aware.h"

enum { BATCH = 64, BARE_STEPS = 20, MAX_LAYERS = 64 };

static const double RATIO = 3, QUANTISED_RATIO = 6.25;

typedef struct {
  const char *name, *model, *data, *labels;
  double scale;
} workload;

static const workload WORKLOADS[] = {
    {"ResNet-8, CIFAR-10", "models/ic_resnet8_float.onnx", "cifar10/train_20000_balanced.bin.gz",
     NULL, 1},
    {"LeNet-5, MNIST", "models/lenet-5.onnx", "mnist/train-images-idx3-ubyte.gz",
     "mnist/train-labels-idx1-ubyte.gz", 1.0 / 255},
};

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int ok, const char *what) {
  if (ok) return;
  (void)fprintf(stderr, "bench train: %s\n", what);
  exit(1);
}

// ---- Bare primitives: each in the formats that oneDNN likes best, on memory of its own

typedef struct {
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t args[4];
} bare;

typedef struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  bare items[3 * MAX_LAYERS];
  int count;
} bare_net;

static const dnnl_query_t QUERIES[3][3] = {
    {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
    {dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md},
    {dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md}};
static const int ROLES[3][3] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
                                {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                                {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};

static void add_bare(bare_net *n, dnnl_primitive_desc_t pd, int way) {
  bare *b = &n->items[n->count++];
  check(dnnl_primitive_create(&b->primitive, pd) == dnnl_success, "no primitive");
  for (int k = 0; k < 3; k++) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, QUERIES[way][k], 0);
    b->args[k].arg = ROLES[way][k];
    check(dnnl_memory_create(&b->args[k].memory, md, n->engine, DNNL_MEMORY_ALLOCATE) ==
              dnnl_success,
          "no memory");
    void *data;
    (void)dnnl_memory_get_data_handle(b->args[k].memory, &data);
    for (size_t i = 0; i < dnnl_memory_desc_get_size(md) / sizeof(float); i++)
      ((float *)data)[i] = (float)(i % 17) * 0.01F;
  }
}

static dnnl_memory_desc_t any_format(uint32_t rank, const int64_t *shape) {
  dnnl_memory_desc_t md;
  dnnl_dims_t dims;
  for (uint32_t k = 0; k < rank; k++)
    dims[k] = shape[k];
  check(dnnl_memory_desc_init_by_tag(&md, (int)rank, dims, dnnl_f32, dnnl_format_tag_any) ==
            dnnl_success,
        "no format");
  return md;
}

typedef struct {
  dnnl_memory_desc_t src, weights, dst;
  dnnl_dims_t stride, dilation, begin, end;
} shape;

static shape shape_of(const bl_float_graph *g, const bl_node *node) {
  const bl_value *in = bl_node_input(g, node, 0), *w = bl_node_input(g, node, 1);
  const bl_value *out = bl_node_output(g, node, 0);
  shape s = {.src = any_format(in->rank, in->dims),
             .weights = any_format(w->rank, w->dims),
             .dst = any_format(out->rank, out->dims)};
  bl_window window;
  bl_error err = {0};
  check(bl_node_window(g, node, &window, &err) == BL_OK, err.text);
  for (uint32_t k = 0; k < window.rank; k++) {
    s.stride[k] = window.stride[k];
    s.begin[k] = window.pad_begin[k];
    s.end[k] = window.pad_end[k];
  }
  return s;
}

static dnnl_status_t describe(const shape *s, int way, dnnl_convolution_desc_t *desc) {
  if (way == 0)
    return dnnl_dilated_convolution_forward_desc_init(
        desc, dnnl_forward_training, dnnl_convolution_direct, &s->src, &s->weights, NULL, &s->dst,
        s->stride, s->dilation, s->begin, s->end);
  if (way == 1)
    return dnnl_dilated_convolution_backward_data_desc_init(desc, dnnl_convolution_direct, &s->src,
                                                            &s->weights, &s->dst, s->stride,
                                                            s->dilation, s->begin, s->end);
  return dnnl_dilated_convolution_backward_weights_desc_init(desc, dnnl_convolution_direct, &s->src,
                                                             &s->weights, NULL, &s->dst, s->stride,
                                                             s->dilation, s->begin, s->end);
}

// A convolution's three primitives, or two where nothing learns in front of it.
static void add_layer(bare_net *n, const bl_float_graph *g, const bl_node *node, bool first) {
  shape s = shape_of(g, node);
  dnnl_primitive_desc_t forward = NULL, pd;
  for (int way = 0; way < 3; way++) {
    dnnl_convolution_desc_t desc;
    if (way == 1 && first) continue;
    check(describe(&s, way, &desc) == dnnl_success &&
              dnnl_primitive_desc_create(&pd, &desc, NULL, n->engine, forward) == dnnl_success,
          "oneDNN has no such convolution");
    add_bare(n, pd, way);
    if (way == 0)
      forward = pd;
    else
      (void)dnnl_primitive_desc_destroy(pd);
  }
  (void)dnnl_primitive_desc_destroy(forward);
}

static void open_bare(bare_net *n, const bl_float_graph *g) {
  *n = (bare_net){0};
  check(dnnl_engine_create(&n->engine, dnnl_cpu, 0) == dnnl_success &&
            dnnl_stream_create(&n->stream, n->engine, dnnl_stream_default_flags) == dnnl_success,
        "oneDNN cannot be started");
  for (uint32_t k = 0, layer = 0; k < g->node_count; k++)
    if (g->nodes[k].op == BL_FLOAT_CONV && layer < MAX_LAYERS)
      add_layer(n, g, &g->nodes[k], layer++ == 0);
}

static void close_bare(bare_net *n) {
  for (int k = 0; k < n->count; k++) {
    (void)dnnl_primitive_destroy(n->items[k].primitive);
    for (int a = 0; a < 3; a++)
      (void)dnnl_memory_destroy(n->items[k].args[a].memory);
  }
  (void)dnnl_stream_destroy(n->stream);
  (void)dnnl_engine_destroy(n->engine);
}

// Seconds of a step, the mean of `steps`.
static double run_bare(const bare_net *n, int steps) {
  double start = now();
  for (int s = 0; s < steps; s++)
    for (int k = 0; k < n->count; k++)
      check(dnnl_primitive_execute(n->items[k].primitive, n->stream, 3, n->items[k].args) ==
                dnnl_success,
            "oneDNN failed");
  return (now() - start) / steps;
}

// ---- An epoch

static double run_epoch(bl_train_net *net, bl_train_net *teacher, const bl_train_data *data) {
  bl_trainer_options options = {.epochs = 1,
                                .seed = 1,
                                .augment = {.flip = true, .shift = 4},
                                .teacher = teacher,
                                .temperature = 4,
                                .teacher_weight = 0.9};
  bl_trainer *trainer;
  bl_error err = {0};
  options.optimiser = bl_optimiser_defaults(BL_OPTIMISER_SGD);
  options.schedule = (bl_schedule){.rate = 1e-6, .every = 1, .total = 1};
  check(bl_trainer_open(net, data, NULL, &options, &trainer, &err) == BL_OK, err.text);
  double start = now();
  check(bl_trainer_run(trainer, NULL, NULL, &err) == BL_OK, err.text);
  double seconds = now() - start;
  bl_trainer_close(trainer);
  return seconds;
}

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  bl_train_sample(context, NULL, 0, 0, index, out);
  return BL_OK;
}

static double run_quantised(const char *path, const bl_float_graph *graph, bl_train_data *data,
                            bool bf16) {
  const bl_onnx_options import = {.batch = 1, .rebatch = true};
  const bl_quant_aware_options bits = {.weight_bits = 4, .activation_bits = 4};
  const bl_calibration calibration = {read_sample, data, BATCH};
  const bl_train_options frozen = {.frozen = true, .bf16 = bf16};
  bl_train_options options = {.bf16 = bf16, .seed = 1};
  bl_float_graph *one;
  bl_quant_aware *aware;
  bl_train_net *net, *teacher;
  bl_error err = {0};
  check(bl_onnx_import(path, &import, &one, &err) == BL_OK, err.text);
  check(bl_quant_aware_open(graph, one, &bits, &calibration, &aware, &err) == BL_OK, err.text);
  options.transforms = bl_quant_aware_transforms(aware, &options.transform_count);
  check(bl_train_open(graph, &options, &net, &err) == BL_OK, err.text);
  check(bl_train_open(graph, &frozen, &teacher, &err) == BL_OK, err.text);
  bl_quant_aware_attach(aware, net, false);
  const double seconds = run_epoch(net, teacher, data);
  bl_train_close(net);
  bl_train_close(teacher);
  bl_quant_aware_close(aware);
  bl_float_graph_free(one);
  return seconds;
}

static bl_train_data load(const char *root, const workload *w) {
  char images[4096], labels[4096];
  bl_dataset dataset;
  bl_train_data data;
  bl_error err = {0};
  bl_preprocess preprocess = bl_preprocess_identity();
  preprocess.scale = w->scale;
  (void)snprintf(images, sizeof images, "%s/%s", root, w->data);
  (void)snprintf(labels, sizeof labels, "%s/%s", root, w->labels != NULL ? w->labels : "");
  bl_dataset_source source = {.images = images, .labels = w->labels != NULL ? labels : NULL};
  check(bl_dataset_open(&source, &dataset, &err) == BL_OK, err.text);
  check(bl_train_data_load(&dataset, &preprocess, BL_LAYOUT_NCHW, 10, &data, &err) == BL_OK,
        err.text);
  bl_dataset_free(&dataset);
  return data;
}

static double peak_mib(void) {
  struct rusage usage;
  (void)getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_maxrss / 1024;
}

// True where the target is met.
static int measure(const char *root, const workload *w) {
  char path[4096];
  bl_onnx_options import = {.batch = BATCH, .rebatch = true};
  bl_float_graph *graph;
  bl_train_net *net;
  bl_error err = {0};
  bare_net bare_layers;
  (void)snprintf(path, sizeof path, "%s/%s", root, w->model);
  if (access(path, R_OK) != 0) {
    printf("%s: not measured: no %s (set BITLOOM_DATA)\n", w->name, path);
    return 1;
  }
  bl_train_data data = load(root, w);
  check(bl_onnx_import(path, &import, &graph, &err) == BL_OK, err.text);
  check(bl_train_open(graph, NULL, &net, &err) == BL_OK, err.text);
  open_bare(&bare_layers, graph);
  uint64_t steps = bl_trainer_steps(data.count, BATCH);
  (void)run_bare(&bare_layers, 2);
  double step = run_bare(&bare_layers, BARE_STEPS);
  double epoch = run_epoch(net, NULL, &data), quantised = run_quantised(path, graph, &data, false);
  double bf16 = bl_train_has_bf16() ? run_quantised(path, graph, &data, true) : 0;
  step = (step + run_bare(&bare_layers, BARE_STEPS)) / 2;
  double whole = step * (double)steps, ratio = epoch / whole;
  bool met = ratio <= RATIO && quantised / whole <= QUANTISED_RATIO;
  printf("%-20s epoch of %zu images at batch %d: %.2f s; bare convolutions %.2f s; ratio %.2f of "
         "at most %.0f; w4a4 with a teacher %.2f s, %.2f of at most %.2f%s; the same in bf16 %.2f "
         "s (0: "
         "this processor has none); plan %.0f MiB, process %.0f MiB\n",
         w->name, data.count, BATCH, epoch, whole, ratio, RATIO, quantised, quantised / whole,
         QUANTISED_RATIO, met ? "" : "  MISSED", bf16, (double)bl_train_bytes(net) / 1048576,
         peak_mib());
  close_bare(&bare_layers);
  bl_train_close(net);
  bl_float_graph_free(graph);
  bl_train_data_free(&data);
  return met;
}

int main(int argc, char **argv) {
  const char *root = getenv("BITLOOM_DATA");
  int met = 1;
  if (argc > 1) bl_train_threads((uint32_t)atoi(argv[1]));
  for (size_t k = 0; k < sizeof WORKLOADS / sizeof WORKLOADS[0]; k++)
    met = measure(root != NULL ? root : "../shared/data", &WORKLOADS[k]) && met;
  return met ? 0 : 1;
}
