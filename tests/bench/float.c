// SPDX-License-Identifier: Apache-2.0
// Float inference beside ONNX Runtime's, one thread each: the least processor time of a batch over
// many, half of ours before and half behind ONNX Runtime's, so that other jobs on the machine
// matter little. Without python3 and its package onnxruntime the times stand alone. Models come
// from BITLOOM_DATA and are skipped where absent.
//   bench/float [REPEATS]
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "host/float/inference.h"
#include "host/onnx/onnx_import.h"

static const double RATIO = 1.25;

static const struct {
  const char *name, *model;
} WORKLOADS[] = {{"ResNet-8", "models/ic_resnet8_float.onnx"},
                 {"ResNet-20", "models/resnet20_cifar10.onnx"},
                 {"DS-CNN", "models/kws_dscnn_float.onnx"},
                 {"MobileNetV1", "models/vww_mobilenetv1_025_96_float.onnx"}};
static const int BATCHES[] = {1, 64};

static double processor_time(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(bl_status status, const bl_error *err) {
  if (status == BL_OK) return;
  (void)fprintf(stderr, "bench float: %s\n", err->text);
  exit(1);
}

static double least_time(bl_float_inference *inference, int repeats) {
  bl_error err = {0};
  double least = 1e30;
  for (int k = 0; k < repeats; k++) {
    const double start = processor_time();
    check(bl_float_inference_run(inference, &err), &err);
    const double took = processor_time() - start;
    if (took < least) least = took;
  }
  return least;
}

// ONNX Runtime's time, negative where it is not there.
static double other_time(const char *path, int batch, int repeats) {
  char command[1024], line[64];
  double seconds = -1;
  const char *python = getenv("PYTHON");
  (void)snprintf(command, sizeof command,
                 "%s tests/bench/float_onnxruntime.py '%s' %d %d 2>/dev/null",
                 python != NULL ? python : "python3", path, batch, repeats);
  FILE *from = popen(command, "r");
  if (from == NULL) return -1;
  if (fgets(line, sizeof line, from) != NULL) seconds = strtod(line, NULL);
  return pclose(from) == 0 ? seconds : -1;
}

// False where the target is missed.
static bool measure(const char *name, const char *path, int batch, int repeats) {
  const bl_onnx_options options = {.batch = batch, .rebatch = true};
  bl_float_graph *graph;
  bl_float_inference *inference;
  bl_error err = {0};
  check(bl_onnx_import(path, &options, &graph, &err), &err);
  check(bl_float_inference_open(graph, &inference, &err), &err);
  float *in = bl_float_inference_input(inference, 0);
  for (size_t k = 0; k < graph->values[graph->inputs[0]].count; k++)
    in[k] = (float)((double)(k * 2654435761u % 2001) / 1000 - 1);
  (void)least_time(inference, 2);
  double ours = least_time(inference, repeats);
  const double theirs = other_time(path, batch, 2 * repeats);
  const double again = least_time(inference, repeats);
  if (again < ours) ours = again;
  printf("%-12s batch %2d  %9.3f ms", name, batch, 1e3 * ours);
  if (theirs > 0)
    printf(", ONNX Runtime %9.3f ms, ratio %.2f (target %.2f)\n", 1e3 * theirs, ours / theirs,
           RATIO);
  else
    printf(", no onnxruntime for python3 to compare with\n");
  bl_float_inference_close(inference);
  bl_float_graph_free(graph);
  return theirs <= 0 || ours <= RATIO * theirs;
}

int main(int argc, char **argv) {
  const char *root = getenv("BITLOOM_DATA");
  const int repeats = argc > 1 ? atoi(argv[1]) : 20;
  char path[768];
  bool met = true;
  (void)setenv("OMP_NUM_THREADS", "1", 1);
  for (size_t w = 0; w < sizeof WORKLOADS / sizeof WORKLOADS[0]; w++) {
    (void)snprintf(path, sizeof path, "%.700s/%s", root != NULL ? root : "../shared/data",
                   WORKLOADS[w].model);
    if (access(path, R_OK) != 0) {
      printf("skipped: no %s (set BITLOOM_DATA)\n", path);
      continue;
    }
    for (size_t b = 0; b < sizeof BATCHES / sizeof BATCHES[0]; b++)
      met = measure(WORKLOADS[w].name, path, BATCHES[b], repeats) && met;
  }
  return met ? 0 : 1;
}
