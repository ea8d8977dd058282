// SPDX-License-Identifier: Apache-2.0
// Batches that overlap on a device: the output of one is sent while the next one computes. What
// that saves, that every output is the reference kernels' (random networks, spilled activations,
// stalls), and that an error is told for the batch it belongs to.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/ref/reference.h"
#include "host/run/input.h"
#include "host/run/program_session.h"
#include "tests/bench/nets.h"
#include "tests/regress/random_graph.h"

enum { BATCHES = 6, WIDE = 256, NARROW = 64, LAYERS = 4, ATTEMPTS = 50 };

static uint64_t setting(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text == NULL ? otherwise : strtoull(text, NULL, 0);
}

static void need(bl_status status, const bl_error *err) {
  if (status != BL_OK) fail_msg("%s", err->text);
}

// ---- A program, its device, and batches for it ----

typedef struct {
  const bl_int_graph *graph;
  bl_program *program;
  bl_session *session;
  size_t in_size, out_size;     // of a batch
  int32_t *in, *expected, *out; // of all batches; of one
} rig;

static void open_rig(rig *r, const bl_int_graph *graph, bl_program *program,
                     const bl_config *config, bl_device_kind kind, double stalls, uint64_t seed) {
  bl_error err = {0};
  const bl_device_spec spec = {.kind = kind, .config = config, .stalls = stalls, .seed = seed};
  const size_t in = bl_int_elements(&graph->tensors[0]);
  const size_t out = bl_int_elements(&graph->tensors[graph->output]);
  *r = (rig){.graph = graph, .program = program};
  r->in_size = program->images * in;
  r->out_size = program->images * out;
  r->in = calloc(BATCHES * r->in_size + (BATCHES + 1) * r->out_size, sizeof *r->in);
  assert_non_null(r->in);
  r->expected = r->in + BATCHES * r->in_size;
  r->out = r->expected + BATCHES * r->out_size;
  for (uint32_t i = 0; i < BATCHES * program->images; i++) {
    bl_input_random(graph, seed, i, r->in + i * in);
    need(bl_reference_run(graph, r->in + i * in, r->expected + i * out, NULL, NULL, &err), &err);
  }
  need(bl_session_open(&spec, graph, program, BL_STEP_NO_LAYER, &r->session, &err), &err);
}

static void close_rig(rig *r) {
  bl_session_close(r->session);
  free(r->in);
}

static void compile_rig(rig *r, const bl_int_graph *graph, const bl_config *config,
                        bl_device_kind kind, double stalls, uint64_t seed) {
  bl_error err = {0};
  bl_program *program;
  const bl_compile_options options = {config, 1};
  need(bl_compile(graph, &options, &program, &err), &err);
  open_rig(r, graph, program, config, kind, stalls, seed);
}

static void free_rig(rig *r) {
  bl_program *program = r->program;
  close_rig(r);
  bl_program_free(program);
}

static void check_output(const rig *r, uint32_t batch) {
  for (size_t i = 0; i < r->out_size; i++)
    if (r->out[i] != r->expected[batch * r->out_size + i])
      fail_msg("%s, batch %u, value %zu: expected %d, got %d", r->graph->name, batch, i,
               r->expected[batch * r->out_size + i], r->out[i]);
}

static void submit(rig *r, uint32_t batch, bool announce) {
  bl_error err = {0};
  if (announce && batch + 1 < BATCHES)
    need(bl_session_next(r->session, r->in + (batch + 1) * r->in_size, r->program->images, &err),
         &err);
  need(bl_session_submit(r->session, r->in + batch * r->in_size, r->program->images, &err), &err);
}

static void collect(rig *r, uint32_t batch) {
  bl_error err = {0};
  memset(r->out, 0x55, r->out_size * sizeof *r->out);
  need(bl_session_collect(r->session, r->out, &err), &err);
  check_output(r, batch);
}

// Batches first .. BATCHES-1, two in flight. announced: bit b says whether batch b+1 is announced.
static void overlapping(rig *r, uint32_t first, uint32_t announced) {
  for (uint32_t b = first; b <= BATCHES; b++) {
    if (b < BATCHES) submit(r, b, (announced >> b & 1) != 0);
    if (b > first) collect(r, b - 1);
  }
}

// One batch after the other.
static void apart(rig *r, uint32_t first) {
  for (uint32_t b = first; b < BATCHES; b++) {
    submit(r, b, true);
    collect(r, b);
  }
}

// ---- What it saves ----

// Fully connected layers with a large output: WIDE - NARROW - NARROW - NARROW - WIDE.
typedef struct {
  bl_int_tensor tensors[LAYERS + 1];
  bl_int_layer layers[LAYERS];
  bl_int_graph graph;
  int8_t weights[LAYERS][WIDE * NARROW];
  int32_t mult[WIDE];
  int64_t bias[WIDE];
  uint8_t shift[WIDE];
} connected;

static connected *make_connected(uint64_t seed) {
  static char names[LAYERS + 1][8] = {"input", "narrow", "second", "third", "wide"};
  static char name[] = "connected";
  connected *n = calloc(1, sizeof *n);
  bl_rng rng = {seed};
  assert_non_null(n);
  for (uint32_t t = 0; t <= LAYERS; t++)
    n->tensors[t] = (bl_int_tensor){.name = names[t],
                                    .h = 1,
                                    .w = 1,
                                    .c = t == 0 || t == LAYERS ? WIDE : NARROW,
                                    .format = {BL_FORMAT_U, 8},
                                    .scale = 1.0};
  for (uint32_t c = 0; c < WIDE; c++) {
    n->mult[c] = 1 << 15;
    n->bias[c] = (int64_t)bl_rng_range(&rng, 0, 127) << 22;
    n->shift[c] = 22;
  }
  for (uint32_t l = 0; l < LAYERS; l++) {
    n->layers[l] = (bl_int_layer){.name = names[l + 1],
                                  .input = l,
                                  .output = l + 1,
                                  .groups = 1,
                                  .kernel_h = 1,
                                  .kernel_w = 1,
                                  .stride_h = 1,
                                  .stride_w = 1,
                                  .dilation_h = 1,
                                  .dilation_w = 1,
                                  .weight_format = {BL_FORMAT_S, 4},
                                  .weights = n->weights[l],
                                  .mult = n->mult,
                                  .bias = n->bias,
                                  .shift = n->shift,
                                  .hi = 255,
                                  .pool_h = 1,
                                  .pool_w = 1,
                                  .pool_stride_h = 1,
                                  .pool_stride_w = 1};
    for (uint32_t i = 0; i < WIDE * NARROW; i++)
      n->weights[l][i] = (int8_t)(bl_rng_range(&rng, 0, 15) - 8);
  }
  n->graph = (bl_int_graph){.name = name,
                            .tensors = n->tensors,
                            .tensor_count = LAYERS + 1,
                            .layers = n->layers,
                            .layer_count = LAYERS,
                            .output = LAYERS};
  return n;
}

// Cycles of batches 1 .. BATCHES-1, the input of the first of them on the device.
static uint64_t measure(rig *r, bool overlap, uint64_t *layers) {
  bl_error err = {0};
  uint64_t before[BL_COUNTER_COUNT], after[BL_COUNTER_COUNT];
  submit(r, 0, true);
  collect(r, 0);
  for (uint32_t i = 0; i < r->graph->layer_count; i++)
    *layers -= bl_session_layer_cycles(r->session)[i];
  need(bl_session_counters(r->session, before, &err), &err);
  if (overlap)
    overlapping(r, 1, ~0u);
  else
    apart(r, 1);
  need(bl_session_counters(r->session, after, &err), &err);
  for (uint32_t i = 0; i < r->graph->layer_count; i++)
    *layers += bl_session_layer_cycles(r->session)[i];
  return after[BL_COUNTER_CYCLES] - before[BL_COUNTER_CYCLES];
}

// Overlapping hides every SEND but the last, and what the stream takes besides; what is left
// between the layers of two batches is one fence.
static void saves(const bl_int_graph *graph, const bl_config *config, bl_device_kind kind) {
  enum { FENCE = 100, EDGES = 500 };
  const uint32_t batches = BATCHES - 1;
  uint64_t layers = 0, again = 0;
  rig r;
  compile_rig(&r, graph, config, kind, 0, 1);
  const uint64_t one_by_one = measure(&r, false, &again);
  free_rig(&r);
  compile_rig(&r, graph, config, kind, 0, 1);
  const uint64_t together = measure(&r, true, &layers);
  uint32_t address, argument, bytes;
  bl_program_send(r.program, r.program->output, &address, &argument, &bytes);
  printf("%s, %s: %u batches take %llu cycles one by one, %llu overlapping, %llu in layers; a "
         "result is %u stream words\n",
         config->name, graph->name, batches, (unsigned long long)one_by_one,
         (unsigned long long)together, (unsigned long long)layers, bytes / 4);
  assert_true(layers == again);
  assert_true(together + (batches - 1) * (uint64_t)bytes / 4 <= one_by_one);
  assert_true(together <= layers + batches * FENCE + bytes / 2 + EDGES);
  free_rig(&r);
}

static void overlapping_saves_cycles(void **state) {
  (void)state;
  connected *n = make_connected(setting("BITLOOM_SEED", 1));
  bl_int_graph *dense = bl_net_dense(16, 8, 4, 1);
  assert_non_null(dense);
  for (int config = BL_CONFIG_TINY; config <= BL_CONFIG_DEFAULT; config++) {
    saves(&n->graph, &BL_CONFIGS[config], BL_DEVICE_RTL);
    saves(dense, &BL_CONFIGS[config], BL_DEVICE_RTL);
  }
  bl_arena_free(dense->arena);
  free(n);
}

// ---- Bits ----

static bl_program *draw_network(uint64_t seed, uint32_t number, bl_random_case *made) {
  for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
    bl_error err = {0};
    bl_program *program;
    assert_true(bl_random_network(seed, number, attempt, BL_RANDOM_ALL, made));
    const bl_compile_options options = {made->config, made->images};
    bl_status status = bl_compile(&made->graph, &options, &program, &err);
    if (status == BL_OK) return program;
    assert_int_equal(status, BL_ERR_UNSUPPORTED);
    bl_random_free(made);
  }
  fail_msg("network %u: refused %d times", number, ATTEMPTS);
  return NULL;
}

static uint32_t leading_fences(const bl_program *p) {
  return p->batch_count > 0 && p->batch[0].opcode == BL_OP_FENCE;
}

// Every network on the functional device, which tells of races; some on the RTL, with stalls.
static void random_networks(void **state) {
  (void)state;
  const uint64_t seed = setting("BITLOOM_SEED", 1), count = setting("BITLOOM_NETWORKS", 60);
  uint32_t ahead = 0, waiting = 0, on_rtl = 0;
  printf("seed %llu\n", (unsigned long long)seed);
  for (uint32_t number = 0; number < count; number++) {
    bl_random_case made;
    rig r;
    bl_program *program = draw_network(seed, number, &made);
    ahead += program->ahead;
    waiting += leading_fences(program);
    open_rig(&r, &made.graph, program, made.config, BL_DEVICE_FUNCTIONAL, 0, seed);
    overlapping(&r, 0, (uint32_t)(seed + number) * 0x9E3779B1u >> 8);
    close_rig(&r);
    if (number % 4 == 0 && program->figures.issue_steps < 100000) {
      open_rig(&r, &made.graph, program, made.config, BL_DEVICE_RTL, 0.05 * (number / 4 % 9), seed);
      overlapping(&r, 0, (uint32_t)(seed + number) * 0x9E3779B1u >> 8);
      close_rig(&r);
      on_rtl++;
    }
    bl_program_free(program);
    bl_random_free(&made);
  }
  printf("%u networks load ahead, %u begin with a fence, %u ran on the RTL\n", ahead, waiting,
         on_rtl);
  assert_true(ahead > 0);
  assert_true(on_rtl > 0 || count < 60);
}

// Several SENDs in a batch, and what they bring is loaded again.
static void spilled_activations(void **state) {
  (void)state;
  bl_int_graph *graph = bl_net_dense(32, 40, 4, 2);
  rig r;
  assert_non_null(graph);
  compile_rig(&r, graph, &BL_CONFIGS[BL_CONFIG_TINY], BL_DEVICE_FUNCTIONAL, 0, 1);
  printf("%u stages\n", r.program->stage_count);
  assert_true(r.program->stage_count > 1);
  overlapping(&r, 0, ~0u);
  free_rig(&r);
  compile_rig(&r, graph, &BL_CONFIGS[BL_CONFIG_TINY], BL_DEVICE_RTL, 0.2, 1);
  overlapping(&r, 3, ~0u);
  free_rig(&r);
  bl_arena_free(graph->arena);
}

// ---- Errors ----

// A descriptor that the device refuses when it comes, or one whose run faults.
static void spoil(uint32_t *payload, bool at_once) {
  bl_descriptor d;
  bl_descriptor_unpack(payload, &d);
  if (at_once)
    d.tiles = 0;
  else
    d.out_base = 0xFFFF;
  assert_true(bl_descriptor_pack(&d, payload));
}

// Batch 2's run of layer `layer` is unsound: 1 comes as it should, 2 fails, and 3 is not run.
static void fails_in_its_batch(const bl_int_graph *graph, const bl_config *config,
                               bl_device_kind kind, uint32_t layer, bool at_once) {
  bl_error err = {0};
  char batch[96];
  rig r;
  compile_rig(&r, graph, config, kind, kind == BL_DEVICE_RTL ? 0.3 : 0, 1);
  uint32_t k = 0, sound[BL_DESCRIPTOR_WORDS];
  while (r.program->batch[k].opcode != BL_OP_RUN || r.program->batch[k].layer != layer)
    k++;
  uint32_t *payload = r.program->batch[k].payload;
  submit(&r, 0, true);
  submit(&r, 1, true);
  collect(&r, 0);
  memcpy(sound, payload, sizeof sound);
  spoil(payload, at_once);
  submit(&r, 2, true);
  memcpy(payload, sound, sizeof sound);
  collect(&r, 1);
  submit(&r, 3, true);
  assert_int_equal(bl_session_collect(r.session, r.out, &err), BL_ERR_DEVICE);
  (void)snprintf(batch, sizeof batch, "batch 2, layer %u (%s): %s", layer,
                 graph->layers[layer].name,
                 bl_driver_status_text(at_once ? BL_STATUS_DESCRIPTOR : BL_STATUS_FAULT));
  if (strstr(err.text, batch) == NULL) fail_msg("not \"%s\": %s", batch, err.text);
  assert_int_equal(bl_session_collect(r.session, r.out, &err), BL_ERR_DEVICE);
  if (strstr(err.text, "batch 3 was not run") == NULL) fail_msg("%s", err.text);
  assert_int_equal(bl_session_collect(r.session, r.out, &err), BL_ERR_USAGE);
  free_rig(&r);
}

static void errors_belong_to_their_batch(void **state) {
  (void)state;
  connected *n = make_connected(2);
  for (uint32_t layer = 0; layer < LAYERS; layer++)
    for (int at_once = 0; at_once < 2; at_once++) {
      for (int config = BL_CONFIG_TINY; config <= BL_CONFIG_DEFAULT; config++)
        fails_in_its_batch(&n->graph, &BL_CONFIGS[config], BL_DEVICE_RTL, layer, at_once != 0);
      fails_in_its_batch(&n->graph, &BL_CONFIGS[BL_CONFIG_WIDE], BL_DEVICE_FUNCTIONAL, layer,
                         at_once != 0);
    }
  free(n);
}

static void two_in_flight_at_most(void **state) {
  (void)state;
  bl_error err = {0};
  connected *n = make_connected(3);
  rig r;
  compile_rig(&r, &n->graph, &BL_CONFIGS[BL_CONFIG_TINY], BL_DEVICE_FUNCTIONAL, 0, 1);
  assert_int_equal(bl_session_collect(r.session, r.out, &err), BL_ERR_USAGE);
  submit(&r, 0, false);
  assert_int_equal(bl_session_run(r.session, r.in, 1, r.out, NULL, NULL, &err), BL_ERR_USAGE);
  submit(&r, 1, false);
  assert_int_equal(bl_session_submit(r.session, r.in, 1, &err), BL_ERR_USAGE);
  collect(&r, 0);
  collect(&r, 1);
  need(bl_session_run(r.session, r.in, 1, r.out, NULL, NULL, &err), &err);
  check_output(&r, 0);
  free_rig(&r);
  free(n);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(overlapping_saves_cycles), cmocka_unit_test(random_networks),
      cmocka_unit_test(spilled_activations),      cmocka_unit_test(errors_belong_to_their_batch),
      cmocka_unit_test(two_in_flight_at_most),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
