// SPDX-License-Identifier: Apache-2.0
// A small network, samples and comparisons for tests of refinement.
#ifndef BITLOOM_TESTS_UNIT_REFINE_NET_H
#define BITLOOM_TESTS_UNIT_REFINE_NET_H

#include "tests/unit/small_net.h"

enum { SAMPLES = 40, INPUTS = 2 * 6 * 6, OUTPUTS = 4 };

typedef struct {
  float samples[SAMPLES][INPUTS];
  size_t order[SAMPLES], elements; // of the network's input
} sample_set;

static inline bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  const sample_set *set = context;
  memcpy(out, set->samples[set->order[index]], set->elements * sizeof *out);
  return BL_OK;
}

static inline void random_samples(sample_set *set) {
  set->elements = INPUTS;
  for (size_t k = 0; k < SAMPLES; k++) {
    const double common = uniform(0, 1); // neighbouring pixels belong together
    for (size_t i = 0; i < INPUTS; i++)
      set->samples[k][i] = (float)(common + uniform(-0.3, 0.5));
    set->order[k] = k;
  }
}

// x[1,2,6,6]: convolution, ReLU, depthwise convolution, a sum with its input, ReLU, matrix.
static inline bl_float_graph *network(void) {
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w b", "a"), new_node("Relu", "relu", "a", "r"),
                     new_node("Conv", "deep", "r d", "e"),   new_node("Conv", "mix", "e m", "i"),
                     new_node("Add", "add", "i r", "s"),     new_node("Relu", "relu2", "s", "t"),
                     new_node("Flatten", "flat", "t", "f"),  new_node("Gemm", "fc", "f v c", "y")};
  put_ints(&nodes[0], "pads", (const int64_t[]){1, 1, 1, 1}, 4);
  put_ints(&nodes[0], "strides", (const int64_t[]){2, 2}, 2);
  put_ints(&nodes[2], "pads", (const int64_t[]){1, 1, 1, 1}, 4);
  put_int(&nodes[2], "group", 8);
  put_int(&nodes[7], "transB", 1);
  for (size_t k = 0; k < 8; k++)
    put_message(&graph, 1, &nodes[k]);
  put_random(&graph, "w", (const int64_t[]){8, 2, 3, 3}, 4, -1, 1);
  put_random(&graph, "b", (const int64_t[]){8}, 1, -1, 1);
  put_random(&graph, "d", (const int64_t[]){8, 1, 3, 3}, 4, -1, 1);
  put_random(&graph, "m", (const int64_t[]){8, 8, 1, 1}, 4, -1, 1);
  put_random(&graph, "v", (const int64_t[]){OUTPUTS, 72}, 2, -1, 1);
  put_random(&graph, "c", (const int64_t[]){OUTPUTS}, 1, -1, 1);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, OUTPUTS}, 2);
  return import(&graph, 13);
}

static inline bl_quantised quantised_by(const bl_float_graph *graph, sample_set *set,
                                        const bl_quantise_options *options) {
  const bl_calibration calibration = {read_sample, set, SAMPLES};
  bl_quantised q;
  bl_error err = {0};
  if (bl_quantise(graph, options, &calibration, &q, &err) != BL_OK) fail_msg("%s", err.text);
  return q;
}

// Mean square of the outputs' errors; the largest mean error of an output in *bias.
static inline double error_of_outputs(const bl_float_graph *graph, const bl_quantised *q,
                                      const sample_set *set, double *bias) {
  double square = 0, mean[OUTPUTS] = {0};
  for (size_t k = 0; k < SAMPLES; k++) {
    float want[OUTPUTS];
    double got[OUTPUTS];
    run_floats(graph, set->samples[k], want);
    run_integers(q, set->samples[k], got);
    for (size_t n = 0; n < OUTPUTS; n++) {
      mean[n] += (got[n] - (double)want[n]) / SAMPLES;
      square += pow(got[n] - (double)want[n], 2) / SAMPLES / OUTPUTS;
    }
  }
  *bias = 0;
  for (size_t n = 0; n < OUTPUTS; n++)
    *bias = fmax(*bias, fabs(mean[n]));
  return square;
}

static inline void shuffle(sample_set *set) {
  for (size_t k = SAMPLES - 1; k > 0; k--) {
    const size_t other = next_random() % (k + 1), held = set->order[k];
    set->order[k] = set->order[other];
    set->order[other] = held;
  }
}

static inline void same_graph(const bl_int_graph *a, const bl_int_graph *b) {
  assert_int_equal(a->layer_count, b->layer_count);
  for (uint32_t k = 0; k < a->layer_count; k++) {
    const bl_int_layer *x = &a->layers[k], *y = &b->layers[k];
    const uint32_t channels = a->tensors[x->output].c;
    const size_t count =
        (size_t)channels * x->kernel_h * x->kernel_w * (a->tensors[x->input].c / x->groups);
    assert_memory_equal(x->weights, y->weights, count);
    assert_memory_equal(x->mult, y->mult, channels * sizeof *x->mult);
    assert_memory_equal(x->bias, y->bias, channels * sizeof *x->bias);
    assert_memory_equal(x->shift, y->shift, channels);
    assert_memory_equal(x->out_scale, y->out_scale, channels * sizeof *x->out_scale);
    assert_memory_equal(x->out_bias, y->out_bias, channels * sizeof *x->out_bias);
  }
}

#endif
