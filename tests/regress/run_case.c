// SPDX-License-Identifier: Apache-2.0
#include "tests/regress/run_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/ref/reference.h"

typedef struct {
  bl_driver *driver;
  const bl_int_graph *graph;
  const bl_program *program;
  const int32_t *inputs;
  uint32_t images;
  int32_t **expected, **got;         // [tensor]: all images
  uint32_t *stores, *store, *answer; // stores: both; store: the one in use
  bl_case_result *result;
  char *text;
} job;

typedef struct {
  const bl_int_graph *graph;
  int32_t **expected;
  uint32_t image;
} keeper;

static void keep(void *context, uint32_t layer, int32_t *output) {
  keeper *k = context;
  uint32_t t = k->graph->layers[layer].output;
  size_t count = bl_int_elements(&k->graph->tensors[t]);
  memcpy(k->expected[t] + k->image * count, output, count * sizeof *output);
  const bl_int_tensor *part = &k->graph->tensors[t];
  if (part->parent == 0) return;
  const bl_int_tensor *parent = &k->graph->tensors[part->parent];
  int32_t *to = k->expected[part->parent] + k->image * bl_int_elements(parent);
  for (size_t i = 0; i < count; i++)
    to[i / part->c * parent->c + part->parent_channel + i % part->c] = output[i];
}

static bool say(job *j, const char *what, const char *why) {
  snprintf(j->text, BL_CASE_TEXT, "%s: %.150s", what, why);
  return false;
}

static bool run_reference(job *j) {
  bl_error err = {0};
  const bl_int_graph *g = j->graph;
  for (uint32_t t = 0; t < g->tensor_count; t++) {
    j->expected[t] = calloc(bl_int_elements(&g->tensors[t]) * j->images, sizeof **j->expected);
    if (j->expected[t] == NULL) return say(j, "reference", "no memory");
  }
  int32_t *out = calloc(bl_int_elements(&g->tensors[g->output]), sizeof *out);
  if (out == NULL) return say(j, "reference", "no memory");
  bl_status status = BL_OK;
  for (uint32_t n = 0; n < j->images && status == BL_OK; n++) {
    keeper k = {g, j->expected, n};
    status =
        bl_reference_run(g, j->inputs + n * bl_int_elements(&g->tensors[0]), out, keep, &k, &err);
  }
  free(out);
  return status == BL_OK || say(j, "reference", err.text);
}

static bool check(job *j, bl_driver_result result, const char *what) {
  char why[100];
  if (result == BL_DRIVER_OK) return true;
  snprintf(why, sizeof why, "%s (opcode %u, %s, info %u)", bl_driver_result_text(result),
           j->driver->failure.opcode, bl_driver_status_text(j->driver->failure.status),
           j->driver->failure.info);
  return say(j, what, why);
}

static void compare(job *j, uint32_t layer, uint32_t tensor, const int32_t *got) {
  size_t each = bl_int_elements(&j->graph->tensors[tensor]);
  for (size_t i = 0; i < each * j->images; i++) {
    j->result->compared++;
    if (got[i] == j->expected[tensor][i]) continue;
    if (j->result->differing++ > 0) continue;
    j->result->layer = layer;
    j->result->image = (uint32_t)(i / each);
    j->result->element = i % each;
    j->result->expected = j->expected[tensor][i];
    j->result->got = got[i];
  }
}

static bool fetch(job *j, uint32_t address, uint32_t argument, uint32_t bytes) {
  size_t words = ((size_t)bytes + 3) / 4;
  free(j->answer);
  j->answer = malloc(words * 4 + 4);
  if (j->answer == NULL) return say(j, "look", "no memory");
  return check(j,
               bl_driver_request(j->driver, BL_OP_SEND, address, argument, NULL, 0, j->answer,
                                 (uint32_t)words, NULL),
               "send") &&
         check(j, bl_driver_fence(j->driver), "fence");
}

static int32_t *values_of(job *j, uint32_t tensor) {
  size_t count = bl_int_elements(&j->graph->tensors[tensor]) * j->images;
  if (j->got[tensor] == NULL) j->got[tensor] = calloc(count, sizeof **j->got);
  if (j->got[tensor] == NULL) say(j, "look", "no memory");
  return j->got[tensor];
}

// Reads back what a run has made, and compares a layer's output when it is complete.
static bool look(job *j, const bl_step *s) {
  uint32_t address, argument, bytes, tensor = j->graph->layers[s->layer].output;
  if (!s->rows_done) return true;
  int32_t *got = values_of(j, tensor);
  bl_program_look(j->program, j->graph, s, &address, &argument, &bytes);
  if (got == NULL || !fetch(j, address, argument, bytes)) return false;
  bl_program_unpack_rows(j->program, j->graph, s, j->answer, j->images, got);
  if (s->last_part) compare(j, s->layer, tensor, got);
  return true;
}

static bool look_at_output(job *j) {
  int32_t *got = values_of(j, j->program->output);
  if (got == NULL || !check(j, bl_driver_fence(j->driver), "fence")) return false;
  bl_program_unpack_output(j->program, j->graph, j->store, j->images, got);
  compare(j, j->graph->layer_count - 1, j->program->output, got);
  return true;
}

static bool send_step(job *j, const bl_step *s, bool verify) {
  uint32_t *stored = s->stored ? j->store + s->store_offset / 4 : NULL;
  const bool load = s->opcode == BL_OP_LOAD_ACTIVATIONS, sends = s->opcode == BL_OP_SEND;
  if (s->opcode == BL_OP_FENCE && s->stored) return check(j, bl_driver_fence(j->driver), "fence");
  if (!check(j,
             bl_driver_request(j->driver, s->opcode, s->address, s->argument,
                               load ? stored : s->payload, s->bytes, sends ? stored : NULL,
                               sends ? bl_program_answer_words(s) : 0, NULL),
             s->opcode == BL_OP_RUN ? "run" : "load"))
    return false;
  return !verify || s->opcode != BL_OP_RUN || look(j, s);
}

static bool send_batch(job *j, bool verify) {
  for (uint32_t i = 0; i < j->program->batch_count; i++)
    if (!send_step(j, &j->program->batch[i], verify)) return false;
  return true;
}

// Of two batches that overlap each has a store of its own. The first batch is verified layer by
// layer; from then on they overlap, and the last two outputs are looked at.
static bool run_rounds(job *j, uint32_t *stores[2], uint32_t rounds) {
  for (uint32_t round = 0; round < rounds; round++) {
    j->store = stores[round % 2];
    if (!send_batch(j, round == 0) || (round == 0 && !look_at_output(j))) return false;
  }
  for (uint32_t k = 1; k < rounds && k <= 2; k++) {
    j->store = stores[(rounds - k) % 2];
    if (!look_at_output(j)) return false;
  }
  return true;
}

static bool run_device(job *j, uint32_t rounds) {
  bl_error err = {0};
  const bl_program *p = j->program;
  uint32_t *stores[2];
  j->store = stores[0] = calloc(2, p->store_bytes);
  if (j->store == NULL) return say(j, "input", "no memory");
  j->stores = j->store;
  stores[1] = j->store + p->store_bytes / 4;
  for (int i = 0; i < 2; i++)
    if (bl_program_pack_input(p, j->graph, j->inputs, j->images, stores[i], &err) != BL_OK)
      return say(j, "input", err.text);
  for (uint32_t i = 0; i < p->setup_count; i++)
    if (!send_step(j, &p->setup[i], false)) return false;
  // every batch has the same input, so steps that load the next one's find it in this one's store
  if (p->ahead && !send_step(j, &p->first_load, false)) return false;
  return run_rounds(j, stores, rounds);
}

bool bl_run_case(bl_driver *driver, const bl_int_graph *graph, const bl_program *program,
                 const int32_t *inputs, uint32_t images, uint32_t rounds, bl_case_result *result,
                 char text[BL_CASE_TEXT]) {
  *result = (bl_case_result){0};
  job j = {.driver = driver,
           .graph = graph,
           .program = program,
           .inputs = inputs,
           .images = images,
           .expected = calloc(graph->tensor_count, sizeof *j.expected),
           .got = calloc(graph->tensor_count, sizeof *j.got),
           .result = result,
           .text = text};
  bool ok = j.expected != NULL && j.got != NULL && run_reference(&j) && run_device(&j, rounds);
  for (uint32_t t = 0; j.expected != NULL && t < graph->tensor_count; t++)
    free(j.expected[t]);
  for (uint32_t t = 0; j.got != NULL && t < graph->tensor_count; t++)
    free(j.got[t]);
  free(j.expected);
  free(j.got);
  free(j.answer);
  free(j.stores);
  return ok;
}
