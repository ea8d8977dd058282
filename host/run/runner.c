// SPDX-License-Identifier: Apache-2.0
// One shard's loop over its samples, and the sum over shards.
#include "host/run/runner.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/run/input.h"
#include "host/run/program_session.h"
#include "host/run/real_output.h"
#include "host/run/runner_internal.h"

bl_status bl_runner_check(const bl_runner *runner, bl_error *err) {
  BL_TRY(bl_preprocess_check(&runner->preprocess, err));
  if (runner->dataset == NULL) return BL_OK;
  return bl_input_check(runner->bloom->graph, runner->dataset, &runner->preprocess, err);
}

bl_status bl_runner_read(const bl_runner *runner, size_t first, size_t images, double *scratch,
                         int32_t *in, bl_error *err) {
  const bl_int_graph *graph = runner->bloom->graph;
  size_t elements = bl_int_elements(&graph->tensors[0]);
  for (size_t i = 0; i < images; i++) {
    int32_t *sample = in + i * elements;
    if (runner->dataset == NULL)
      bl_input_random(graph, runner->seed, first + i, sample);
    else
      BL_TRY(bl_input_read(graph, runner->dataset, &runner->preprocess, first + i, scratch, sample,
                           err));
  }
  return BL_OK;
}

enum { INPUTS = BL_SESSION_FLIGHTS + 1 };

typedef struct {
  const bl_runner *runner;
  bool compare, keep_outputs;
} run_context;

// What one shard brings back; behind layer_cycles[layer_count] lie its samples' real outputs, where
// they are kept.
typedef struct {
  bl_run_result result;
  uint64_t layer_cycles[];
} run_part;

typedef struct {
  const bl_runner *runner;
  bl_session *session;
  bl_executor reference; // unused without comparison
  bool compare;
  float *outputs; // of the next sample, or NULL
  double *scratch;
  // Inputs of three batches: one whose output is to come, one being sent, one announced.
  int32_t *in[INPUTS], *out, *expected;
} run_state;

// Samples of one batch, and which of the inputs holds them.
typedef struct {
  size_t first, images;
  int32_t *in;
} run_slice;

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void count_labels(const run_state *s, size_t first, size_t images, bl_run_result *r) {
  const bl_dataset *dataset = s->runner->dataset;
  const bl_int_graph *graph = s->runner->bloom->graph;
  if (dataset == NULL || !dataset->has_labels) return;
  size_t elements = bl_int_elements(&graph->tensors[graph->output]);
  for (size_t i = 0; i < images; i++) {
    size_t answer = bl_output_class(graph, s->out + i * elements);
    r->labelled++;
    if ((int64_t)answer == bl_dataset_label(dataset, first + i)) r->correct++;
  }
}

static bl_status compare_outputs(run_state *s, const run_slice *batch, bl_run_result *r,
                                 bl_error *err) {
  const size_t images = batch->images;
  const bl_int_graph *graph = s->runner->bloom->graph;
  size_t elements = bl_int_elements(&graph->tensors[graph->output]);
  BL_TRY(s->reference.run(s->reference.self, batch->in, images, s->expected, NULL, NULL, err));
  for (size_t i = 0; i < images * elements; i++) {
    r->compared++;
    if (s->out[i] == s->expected[i]) continue;
    if (!r->first.found)
      r->first =
          (bl_mismatch){true, batch->first + i / elements, i % elements, s->expected[i], s->out[i]};
    r->mismatches++;
  }
  return BL_OK;
}

static void keep_outputs(run_state *s, size_t images) {
  const bl_bloom *bloom = s->runner->bloom;
  size_t elements = bl_int_elements(&bloom->graph->tensors[bloom->graph->output]);
  for (size_t i = 0; i < images && s->outputs != NULL; i++) {
    bl_output_floats(bloom->graph, bloom->info.suffix, s->out + i * elements, s->outputs);
    s->outputs += elements;
  }
}

static bl_status submit(run_state *s, const run_slice *batch, const run_slice *next,
                        bl_run_result *r, bl_error *err) {
  double start = now();
  if (next->images > 0) BL_TRY(bl_session_next(s->session, next->in, next->images, err));
  BL_TRY(bl_session_submit(s->session, batch->in, batch->images, err));
  r->seconds += now() - start;
  return BL_OK;
}

static bl_status collect(run_state *s, const run_slice *batch, bl_run_result *r, bl_error *err) {
  double start = now();
  BL_TRY(bl_session_collect(s->session, s->out, err));
  r->seconds += now() - start;
  r->samples += batch->images;
  r->batches++;
  count_labels(s, batch->first, batch->images, r);
  keep_outputs(s, batch->images);
  return s->compare ? compare_outputs(s, batch, r, err) : BL_OK;
}

// A batch's output comes while the one behind it computes; the one behind that is read by then, so
// that a program can load it.
static bl_status run_samples(run_state *s, size_t first, size_t count, bl_run_result *r,
                             bl_shard_tick *tick, bl_error *err) {
  const size_t batch = s->runner->bloom->program->images, batches = (count + batch - 1) / batch;
  run_slice slices[INPUTS] = {{0}}; // of batch k: slices[k % INPUTS]
  for (size_t k = 0; k < batches + 2; k++) {
    const size_t begin = k * batch;
    run_slice *read = &slices[k % INPUTS], *sent = &slices[(k + INPUTS - 1) % INPUTS];
    const run_slice *done = &slices[(k + 1) % INPUTS];
    const size_t images = k >= batches ? 0 : count - begin < batch ? count - begin : batch;
    *read = (run_slice){first + begin, images, s->in[k % INPUTS]};
    if (images > 0)
      BL_TRY(bl_runner_read(s->runner, read->first, images, s->scratch, read->in, err));
    if (k >= 1 && k <= batches) BL_TRY(submit(s, sent, read, r, err));
    if (k < 2) continue;
    BL_TRY(collect(s, done, r, err));
    bl_shard_done(tick, done->images);
  }
  return BL_OK;
}

static bl_status run_all(run_state *s, uint32_t shard, run_part *part, bl_shard_tick *tick,
                         bl_error *err) {
  const bl_runner *runner = s->runner;
  size_t batch = runner->bloom->program->images, first;
  size_t count = bl_shard_part(runner->samples, batch, runner->shards, shard, &first);
  BL_TRY(run_samples(s, first, count, &part->result, tick, err));
  BL_TRY(bl_session_counters(s->session, part->result.counters, err));
  memcpy(part->layer_cycles, bl_session_layer_cycles(s->session),
         runner->bloom->graph->layer_count * sizeof(uint64_t));
  return runner->profile == NULL ? BL_OK : bl_session_profile_end(s->session, err);
}

static bl_status open_state(run_state *s, bl_arena *arena, bl_error *err) {
  const bl_bloom *bloom = s->runner->bloom;
  const bl_int_graph *graph = bloom->graph;
  size_t batch = bloom->program->images, in_size = bl_int_elements(&graph->tensors[0]);
  size_t out_size = bl_int_elements(&graph->tensors[graph->output]);
  s->scratch = bl_arena_alloc(arena, in_size, sizeof *s->scratch);
  bool ok = true;
  for (int i = 0; i < INPUTS && ok; i++)
    ok = (s->in[i] = bl_arena_alloc(arena, batch * in_size, sizeof *s->in[i])) != NULL;
  s->out = bl_arena_alloc(arena, batch * out_size, sizeof *s->out);
  s->expected = bl_arena_alloc(arena, batch * out_size, sizeof *s->expected);
  if (!ok || s->scratch == NULL || s->out == NULL || s->expected == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for a batch");
  if (s->compare) BL_TRY(bl_executor_reference(graph, BL_STEP_NO_LAYER, &s->reference, err));
  const bl_runner *runner = s->runner;
  BL_TRY(
      bl_session_open(&runner->device, graph, bloom->program, BL_STEP_NO_LAYER, &s->session, err));
  if (runner->profile != NULL) BL_TRY(bl_session_profile(s->session, runner->profile, err));
  if (runner->trace == NULL) return BL_OK;
  return bl_session_trace(s->session, runner->trace, runner->trace_layer, err);
}

static bl_status run_shard(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                           bl_error *err) {
  const run_context *run = context;
  run_part *part = result;
  run_state s = {.runner = run->runner, .compare = run->compare};
  if (run->keep_outputs)
    s.outputs = (float *)(void *)(part->layer_cycles + run->runner->bloom->graph->layer_count);
  bl_arena *arena = bl_arena_new(BL_RUNNER_MEMORY);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a batch");
  bl_status status = open_state(&s, arena, err);
  if (status == BL_OK) status = run_all(&s, shard, part, tick, err);
  bl_session_close(s.session);
  bl_executor_close(&s.reference);
  bl_arena_free(arena);
  return status;
}

static void add_part(const run_part *part, uint32_t layers, bl_run_result *sum) {
  const bl_run_result *r = &part->result;
  if (!sum->first.found) sum->first = r->first;
  if (r->seconds > sum->seconds) sum->seconds = r->seconds;
  sum->samples += r->samples;
  sum->batches += r->batches;
  sum->labelled += r->labelled;
  sum->correct += r->correct;
  sum->compared += r->compared;
  sum->mismatches += r->mismatches;
  for (int i = 0; i < BL_COUNTER_COUNT; i++)
    sum->counters[i] += r->counters[i];
  for (uint32_t i = 0; i < layers; i++)
    sum->layer_cycles[i] += part->layer_cycles[i];
}

// Never more processes than batches.
uint32_t bl_runner_shards(const bl_runner *runner) {
  size_t batch = runner->bloom->program->images;
  size_t batches = (runner->samples + batch - 1) / batch;
  if (batches == 0) batches = 1;
  return runner->shards > batches ? (uint32_t)batches : runner->shards;
}

// Bytes of one part: the largest share of samples decides how many outputs it may bring.
static size_t part_bytes(const bl_runner *runner, bool outputs) {
  const bl_int_graph *graph = runner->bloom->graph;
  size_t bytes = sizeof(run_part) + graph->layer_count * sizeof(uint64_t), first;
  if (!outputs) return bytes;
  size_t most =
      bl_shard_part(runner->samples, runner->bloom->program->images, runner->shards, 0, &first);
  bytes += most * bl_int_elements(&graph->tensors[graph->output]) * sizeof(float);
  return (bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
}

static void add_parts(const bl_runner *runner, const unsigned char *parts, size_t bytes,
                      float *outputs, bl_run_result *result) {
  const bl_int_graph *graph = runner->bloom->graph;
  size_t elements = bl_int_elements(&graph->tensors[graph->output]);
  for (uint32_t i = 0; i < runner->shards; i++) {
    const run_part *part = (const run_part *)(const void *)(parts + i * bytes);
    add_part(part, graph->layer_count, result);
    if (outputs == NULL) continue;
    size_t count = part->result.samples * elements;
    memcpy(outputs, part->layer_cycles + graph->layer_count, count * sizeof *outputs);
    outputs += count;
  }
  uint64_t slots = result->batches * runner->bloom->program->images;
  if (slots != 0)
    result->cycles_per_image = (double)result->counters[BL_COUNTER_CYCLES] / (double)slots;
}

bl_status bl_runner_run(const bl_runner *runner, bool compare, float *outputs,
                        bl_run_result *result, bl_error *err) {
  bl_runner limited = *runner;
  limited.shards = runner->trace != NULL || runner->profile != NULL ? 1 : bl_runner_shards(runner);
  run_context context = {&limited, compare, outputs != NULL};
  size_t bytes = part_bytes(&limited, outputs != NULL);
  *result =
      (bl_run_result){.layer_cycles = calloc(runner->bloom->graph->layer_count, sizeof(uint64_t))};
  unsigned char *parts = calloc(limited.shards, bytes);
  bl_status status = result->layer_cycles == NULL || parts == NULL
                         ? bl_fail(err, BL_ERR_MEMORY, "no memory for results")
                         : bl_shard_run(limited.shards, run_shard, &context, parts, bytes,
                                        runner->samples, runner->progress, err);
  if (status == BL_OK)
    add_parts(&limited, parts, bytes, outputs, result);
  else
    bl_run_result_free(result);
  free(parts);
  return status;
}

void bl_run_result_free(bl_run_result *result) {
  free(result->layer_cycles);
  *result = (bl_run_result){0};
}
