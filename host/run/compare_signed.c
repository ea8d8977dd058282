// SPDX-License-Identifier: Apache-2.0
#include "host/run/compare_signed.h"

#include <string.h>

#include "host/run/signature.h"

enum { MEMORY_CAP = 512 << 20 };

typedef struct {
  const bl_program *program;
  const bl_int_graph *graph;
  int32_t *out[2];    // the network's, of the reference and of the device
  int32_t **expected; // of each layer, all images of a batch
  // What a layer that is looked at is compared for: images of the batch, and what was found.
  size_t images;
  bl_comparison *comparison;
  bool differs;
} signed_job;

static size_t layer_elements(const signed_job *j, uint32_t layer) {
  return bl_int_elements(&j->graph->tensors[j->graph->layers[layer].output]);
}

static void keep_expected(void *context, uint32_t layer, const int32_t *output) {
  const signed_job *j = context;
  memcpy(j->expected[layer], output,
         j->program->images * layer_elements(j, layer) * sizeof *output);
}

// Layers come in order; the first that differs is the last that counts.
static void look_at(void *context, uint32_t layer, const int32_t *output) {
  signed_job *j = context;
  const int32_t *outputs[] = {j->expected[layer], output};
  if (!j->differs)
    j->differs = !bl_compare_layer(j->graph, layer, outputs, 2, j->images, j->comparison);
}

static bl_status take_memory(signed_job *j, bl_arena *arena, bl_error *err) {
  const size_t images = j->program->images;
  size_t out_count = images * bl_int_elements(&j->graph->tensors[j->graph->output]);
  j->expected = bl_arena_alloc(arena, j->graph->layer_count, sizeof *j->expected);
  bool short_of = j->expected == NULL;
  for (int i = 0; i < 2; i++) {
    j->out[i] = bl_arena_alloc(arena, out_count, sizeof(int32_t));
    short_of = short_of || j->out[i] == NULL;
  }
  for (uint32_t l = 0; l < j->graph->layer_count && !short_of; l++) {
    j->expected[l] = bl_arena_alloc(arena, images * layer_elements(j, l), sizeof(int32_t));
    short_of = j->expected[l] == NULL;
  }
  if (short_of) return bl_fail(err, BL_ERR_MEMORY, "verify: no memory for all layers");
  return BL_OK;
}

// A signature covers a whole batch, so a batch that is not full repeats its first image.
static void fill_batch(const signed_job *j, int32_t *in, size_t images) {
  size_t elements = bl_int_elements(&j->graph->tensors[0]);
  for (size_t i = images; i < j->program->images; i++)
    memcpy(in + i * elements, in, elements * sizeof *in);
}

// The first layer, in execution order, with a run whose signature differs; layer_count: none.
static uint32_t first_differing(const signed_job *j, const uint32_t *signatures) {
  for (uint32_t i = 0; i < j->program->batch_count; i++) {
    const bl_step *step = &j->program->batch[i];
    uint32_t expected;
    if (step->layer < j->graph->layer_count &&
        bl_signature_run(j->program, j->graph, step, j->expected[step->layer], &expected) &&
        expected != signatures[i])
      return step->layer;
  }
  return j->graph->layer_count;
}

// Names the first value that differs in a layer, or that none does.
static bl_status look_into(signed_job *j, bl_session *session, const int32_t *in, uint32_t layer,
                           bl_error *err) {
  bl_comparison *comparison = j->comparison;
  for (uint32_t l = 0; l < layer; l++)
    comparison->compared += j->images * layer_elements(j, l);
  BL_TRY(bl_session_run_layer(session, in, j->program->images, j->out[1], layer, look_at, j, err));
  if (j->differs) return BL_OK;
  if (!comparison->found || layer < comparison->first.layer)
    comparison->first =
        (bl_difference){.layer = layer, .image = comparison->images, .odd = -1, .silent = true};
  comparison->found = true;
  return BL_OK;
}

static bool outputs_differ(const signed_job *j) {
  size_t count = j->images * bl_int_elements(&j->graph->tensors[j->graph->output]);
  return memcmp(j->out[0], j->out[1], count * sizeof(int32_t)) != 0;
}

static bl_status compare_batch(signed_job *j, const bl_executor *reference, bl_session *session,
                               int32_t *in, bl_error *err) {
  const size_t all = j->program->images;
  fill_batch(j, in, j->images);
  BL_TRY(reference->run(reference->self, in, all, j->out[0], keep_expected, j, err));
  BL_TRY(bl_session_run(session, in, all, j->out[1], NULL, NULL, err));
  const uint32_t *signatures = bl_session_signatures(session);
  if (signatures == NULL)
    return bl_fail(err, BL_ERR_DEVICE, "verify: the device answers runs without signatures");
  uint32_t differing = first_differing(j, signatures);
  if (differing < j->graph->layer_count) return look_into(j, session, in, differing, err);
  if (outputs_differ(j)) return bl_session_run(session, in, all, j->out[1], look_at, j, err);
  for (uint32_t l = 0; l < j->graph->layer_count; l++)
    j->comparison->compared += j->images * layer_elements(j, l);
  return BL_OK;
}

bl_status bl_compare_signed(const bl_program *program, const bl_int_graph *graph,
                            const bl_executor *reference, bl_session *session, int32_t *in,
                            size_t images, bl_comparison *comparison, bl_error *err) {
  signed_job job = {.program = program, .graph = graph, .images = images, .comparison = comparison};
  bl_arena *arena = bl_arena_new(MEMORY_CAP);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "verify: no memory");
  bl_status status = take_memory(&job, arena, err);
  if (status == BL_OK) status = compare_batch(&job, reference, session, in, err);
  if (status == BL_OK) comparison->images += images;
  bl_arena_free(arena);
  return status;
}
