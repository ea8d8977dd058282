// SPDX-License-Identifier: Apache-2.0
#include "host/run/compare_signed.h"

#include <string.h>

#include "host/run/signature.h"

enum { MEMORY_CAP = 512 << 20 };

typedef struct {
  const bl_program *program;
  const bl_int_graph *graph;
  int32_t *out;
  int32_t **expected; // of each layer, all images of a batch
  int32_t *got;       // of the layer that differs
} signed_job;

static size_t layer_elements(const signed_job *j, uint32_t layer) {
  return bl_int_elements(&j->graph->tensors[j->graph->layers[layer].output]);
}

static void keep_expected(void *context, uint32_t layer, const int32_t *output) {
  const signed_job *j = context;
  memcpy(j->expected[layer], output,
         j->program->images * layer_elements(j, layer) * sizeof *output);
}

static void keep_got(void *context, uint32_t layer, const int32_t *output) {
  const signed_job *j = context;
  memcpy(j->got, output, j->program->images * layer_elements(j, layer) * sizeof *output);
}

static bl_status take_memory(signed_job *j, bl_arena *arena, bl_error *err) {
  const size_t images = j->program->images;
  size_t most = 0;
  j->out = bl_arena_alloc(arena, images * bl_int_elements(&j->graph->tensors[j->graph->output]),
                          sizeof *j->out);
  j->expected = bl_arena_alloc(arena, j->graph->layer_count, sizeof *j->expected);
  bool short_of = j->out == NULL || j->expected == NULL;
  for (uint32_t l = 0; l < j->graph->layer_count && !short_of; l++) {
    size_t count = images * layer_elements(j, l);
    if (count > most) most = count;
    j->expected[l] = bl_arena_alloc(arena, count, sizeof(int32_t));
    short_of = j->expected[l] == NULL;
  }
  j->got = short_of ? NULL : bl_arena_alloc(arena, most, sizeof *j->got);
  if (j->got == NULL) return bl_fail(err, BL_ERR_MEMORY, "verify: no memory for all layers");
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
static bl_status look_into(signed_job *j, bl_session *session, const int32_t *in, size_t images,
                           uint32_t layer, bl_comparison *comparison, bl_error *err) {
  BL_TRY(bl_session_run_layer(session, in, j->program->images, j->out, layer, keep_got, j, err));
  const int32_t *outputs[] = {j->expected[layer], j->got};
  if (!bl_compare_layer(j->graph, layer, outputs, 2, images, comparison)) return BL_OK;
  if (!comparison->found || layer < comparison->first.layer)
    comparison->first =
        (bl_difference){.layer = layer, .image = comparison->images, .odd = -1, .silent = true};
  comparison->found = true;
  return BL_OK;
}

static bl_status compare_batch(signed_job *j, const bl_executor *reference, bl_session *session,
                               int32_t *in, size_t images, bl_comparison *comparison,
                               bl_error *err) {
  fill_batch(j, in, images);
  BL_TRY(reference->run(reference->self, in, j->program->images, j->out, keep_expected, j, err));
  BL_TRY(bl_session_run(session, in, j->program->images, j->out, NULL, NULL, err));
  const uint32_t *signatures = bl_session_signatures(session);
  if (signatures == NULL)
    return bl_fail(err, BL_ERR_DEVICE, "verify: the device answers runs without signatures");
  uint32_t differing = first_differing(j, signatures);
  for (uint32_t l = 0; l < differing; l++)
    comparison->compared += images * layer_elements(j, l);
  if (differing < j->graph->layer_count)
    BL_TRY(look_into(j, session, in, images, differing, comparison, err));
  comparison->images += images;
  return BL_OK;
}

bl_status bl_compare_signed(const bl_program *program, const bl_int_graph *graph,
                            const bl_executor *reference, bl_session *session, int32_t *in,
                            size_t images, bl_comparison *comparison, bl_error *err) {
  signed_job job = {.program = program, .graph = graph};
  bl_arena *arena = bl_arena_new(MEMORY_CAP);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "verify: no memory");
  bl_status status = take_memory(&job, arena, err);
  if (status == BL_OK)
    status = compare_batch(&job, reference, session, in, images, comparison, err);
  bl_arena_free(arena);
  return status;
}
