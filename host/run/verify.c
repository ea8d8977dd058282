// SPDX-License-Identifier: Apache-2.0
// The loop of verify: every sample on all chosen executions, compared after every layer.
#include <stdlib.h>
#include <string.h>

#include "host/run/compare_signed.h"
#include "host/run/runner_internal.h"

enum { LINE = 360 };

typedef struct {
  const bl_runner *runner;
  const bl_verify_choice *choice;
} verify_context;

typedef struct {
  bl_comparison comparison;
  char line[LINE];
} verify_part;

typedef struct {
  bl_executor executors[BL_COMPARE_MAX];
  uint32_t count;
  bl_session *session; // behind executors[1], where signatures are compared
  double *scratch;
  int32_t *in;
} verify_state;

static uint32_t fault_of(const bl_verify_choice *choice, int executor) {
  return choice->fault_executor == executor ? choice->fault_layer : BL_STEP_NO_LAYER;
}

static bl_status open_device(const verify_context *v, bl_device_kind kind, uint32_t fault,
                             verify_state *s, bl_error *err) {
  bl_device_spec spec = v->runner->device;
  spec.kind = kind;
  const bl_bloom *bloom = v->runner->bloom;
  BL_TRY(
      bl_executor_device(&spec, bloom->graph, bloom->program, fault, &s->executors[s->count], err));
  s->session = bl_executor_session(&s->executors[s->count]);
  s->count++;
  return BL_OK;
}

static bl_status open_all(const verify_context *v, verify_state *s, bl_arena *arena,
                          bl_error *err) {
  const bl_bloom *bloom = v->runner->bloom;
  size_t elements = bl_int_elements(&bloom->graph->tensors[0]);
  s->scratch = bl_arena_alloc(arena, elements, sizeof *s->scratch);
  s->in = bl_arena_alloc(arena, bloom->program->images * elements, sizeof *s->in);
  if (s->scratch == NULL || s->in == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for a batch");
  BL_TRY(bl_executor_reference(bloom->graph, fault_of(v->choice, 0), &s->executors[0], err));
  s->count = 1;
  if (v->choice->signatures)
    return open_device(v, v->runner->device.kind, fault_of(v->choice, 1), s, err);
  if (v->choice->functional)
    BL_TRY(open_device(v, BL_DEVICE_FUNCTIONAL, fault_of(v->choice, 1), s, err));
  if (v->choice->rtl) BL_TRY(open_device(v, BL_DEVICE_RTL, fault_of(v->choice, 2), s, err));
  return BL_OK;
}

static bl_status compare_batch(const verify_context *v, verify_state *s, size_t images,
                               bl_comparison *comparison, bl_error *err) {
  const bl_bloom *bloom = v->runner->bloom;
  if (v->choice->signatures)
    return bl_compare_signed(bloom->program, bloom->graph, &s->executors[0], s->session, s->in,
                             images, comparison, err);
  return bl_compare(bloom->graph, s->executors, s->count, s->in, images, comparison, err);
}

// Up to the first batch with a difference: what comes later has nothing to add.
static bl_status verify_all(const verify_context *v, verify_state *s, uint32_t shard,
                            verify_part *part, bl_shard_tick *tick, bl_error *err) {
  const bl_runner *runner = v->runner;
  const bl_int_graph *graph = runner->bloom->graph;
  size_t batch = runner->bloom->program->images, first;
  if (batch > s->executors[0].batch) batch = s->executors[0].batch;
  size_t count = bl_shard_part(runner->samples, batch, runner->shards, shard, &first);
  for (size_t done = 0; done < count && !part->comparison.found; done += batch) {
    size_t images = count - done < batch ? count - done : batch;
    BL_TRY(bl_runner_read(runner, first + done, images, s->scratch, s->in, err));
    BL_TRY(compare_batch(v, s, images, &part->comparison, err));
    bl_shard_done(tick, images);
  }
  if (!part->comparison.found) return BL_OK;
  part->comparison.first.image += first;
  bl_difference_text(graph, s->executors, s->count, &part->comparison.first, part->line, LINE);
  return BL_OK;
}

static bl_status verify_shard(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                              bl_error *err) {
  verify_state s = {.count = 0};
  bl_arena *arena = bl_arena_new(BL_RUNNER_MEMORY);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a batch");
  bl_status status = open_all(context, &s, arena, err);
  if (status == BL_OK) status = verify_all(context, &s, shard, result, tick, err);
  for (uint32_t i = 0; i < s.count; i++)
    bl_executor_close(&s.executors[i]);
  bl_arena_free(arena);
  return status;
}

bl_status bl_runner_verify(const bl_runner *runner, const bl_verify_choice *choice,
                           bl_comparison *comparison, char *line, size_t line_size, bl_error *err) {
  bl_runner limited = *runner;
  limited.shards = bl_runner_shards(runner);
  verify_context context = {&limited, choice};
  verify_part *parts = calloc(limited.shards, sizeof *parts);
  if (parts == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for results");
  bl_status status = bl_shard_run(limited.shards, verify_shard, &context, parts, sizeof *parts,
                                  runner->samples, runner->progress, err);
  *comparison = (bl_comparison){0};
  line[0] = '\0';
  for (uint32_t i = 0; i < limited.shards && status == BL_OK; i++) {
    const bl_comparison *part = &parts[i].comparison;
    comparison->compared += part->compared;
    comparison->differing += part->differing;
    comparison->images += part->images;
    if (!part->found || comparison->found) continue;
    comparison->found = true;
    comparison->first = part->first;
    (void)strncat(line, parts[i].line, line_size - 1);
  }
  free(parts);
  return status;
}
