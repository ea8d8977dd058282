// SPDX-License-Identifier: Apache-2.0
// Steps to the driver, answers back. Every buffer is taken when the session opens.
#include "host/run/program_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/run/profile.h"

enum { RUNS_IN_FLIGHT = 64, MEMORY_CAP = 512 << 20 };

struct bl_session {
  bl_arena *arena; // owns all buffers, and this structure
  bl_device device;
  const bl_int_graph *graph;
  const bl_program *program;
  uint32_t fault_layer;
  uint32_t *store; // of the batch, see bl_program
  // A program that loads ahead: packed input of the batch announced, or of the one on the device;
  // the one announced while that stands in `next`.
  uint32_t *next, *spare;
  bool has_next, loaded; // one is announced; one is on the device
  uint32_t *peek;        // payload of a layer's SEND
  int32_t *values;       // a layer's output as integers
  size_t *offsets;       // [layer_count]: where in `values` a layer in pieces collects
  uint32_t faulty[BL_DESCRIPTOR_WORDS]; // a changed descriptor
  uint32_t peek_words;
  uint64_t *layer_cycles;
  const char *trace;   // path of the next batch's waveform, or NULL
  int64_t trace_layer; // -1: the whole batch
  bl_profile *profile; // or NULL
  // Steps of the runs that are not yet answered; runs are answered in order.
  const bl_step *running[RUNS_IN_FLIGHT];
  uint32_t first_running, running_count;
  uint32_t *signatures; // of the last batch's steps
  bool unsigned_run;    // a run was answered without one
};

static void note_answer(void *context, const bl_answer *answer) {
  bl_session *s = context;
  if (answer->opcode != BL_OP_RUN || s->running_count == 0) return;
  const bl_step *step = s->running[s->first_running % RUNS_IN_FLIGHT];
  s->first_running++;
  s->running_count--;
  if (answer->status != BL_STATUS_OK) return;
  if (step->layer < s->graph->layer_count) s->layer_cycles[step->layer] += answer->info;
  s->signatures[step - s->program->batch] = answer->signature;
  if (answer->bytes == 0) s->unsigned_run = true;
}

// "layer 3 (conv2)" or "set-up".
static const char *describe(const bl_session *s, const bl_step *step, char *text, size_t size) {
  if (step->layer < s->graph->layer_count)
    (void)snprintf(text, size, "layer %u (%.60s)", (unsigned)step->layer,
                   s->graph->layers[step->layer].name);
  else
    (void)snprintf(text, size, "moving data");
  return text;
}

// The fault: the offset behind the clamp is off by one, so every value of the layer is. An int32
// output has no clamp; it gets one that makes every byte a one.
static const uint32_t *plant_fault(bl_session *s, const bl_step *step) {
  bl_descriptor descriptor;
  bl_descriptor_unpack(step->payload, &descriptor);
  if (descriptor.out_wrap != 0) {
    descriptor.out_wrap = 0;
    descriptor.out_lo = descriptor.out_hi = 0;
    descriptor.out_offset = 1;
  } else {
    descriptor.out_offset = (int16_t)(descriptor.out_offset ^ 1);
  }
  return bl_descriptor_pack(&descriptor, s->faulty) ? s->faulty : step->payload;
}

static bl_status send_step(bl_session *s, const bl_step *step, bl_error *err) {
  const uint32_t *loads = step->next ? s->next : s->store;
  const uint32_t *payload = step->payload;
  if (step->stored && step->opcode == BL_OP_LOAD_ACTIVATIONS)
    payload = loads + step->store_offset / 4;
  if (step->opcode == BL_OP_RUN && step->layer == s->fault_layer) payload = plant_fault(s, step);
  if (step->opcode == BL_OP_RUN && s->running_count < RUNS_IN_FLIGHT)
    s->running[(s->first_running + s->running_count++) % RUNS_IN_FLIGHT] = step;
  bool sends = step->opcode == BL_OP_SEND;
  bl_driver_result result;
  if (step->opcode == BL_OP_FENCE && step->stored)
    result = bl_driver_fence(&s->device.driver);
  else
    result =
        bl_driver_request(&s->device.driver, step->opcode, step->address, step->argument, payload,
                          step->bytes, sends ? s->store + step->store_offset / 4 : NULL,
                          sends ? bl_program_answer_words(step) : 0, NULL);
  char where[96];
  return bl_device_check(&s->device, result, describe(s, step, where, sizeof where), err);
}

// A layer's output while it is still there: all of it after its last run, or the rows of each run
// where it is never there as a whole.
static bl_status look_at(bl_session *s, const bl_step *step, size_t images, bl_layer_sink sink,
                         void *context, bl_error *err) {
  uint32_t address, argument, bytes, tensor = s->graph->layers[step->layer].output;
  bool pieces = s->program->regions[tensor].pieces;
  if (pieces ? !step->rows_done : !step->last_part) return BL_OK;
  bl_program_look(s->program, s->graph, step, &address, &argument, &bytes);
  bl_driver_result result = bl_driver_request(&s->device.driver, BL_OP_SEND, address, argument,
                                              NULL, 0, s->peek, s->peek_words, NULL);
  if (result == BL_DRIVER_OK) result = bl_driver_fence(&s->device.driver);
  BL_TRY(bl_device_check(&s->device, result, "sending a layer's output", err));
  if (pieces)
    bl_program_unpack_rows(s->program, s->graph, step, s->peek, images,
                           s->values + s->offsets[step->layer]);
  else
    bl_program_unpack(s->program, s->graph, tensor, s->peek, images, s->values);
  if (step->last_part)
    sink(context, step->layer, s->values + (pieces ? s->offsets[step->layer] : 0));
  return BL_OK;
}

bl_status bl_session_trace(bl_session *session, const char *path, int64_t layer, bl_error *err) {
  if (session->device.kind != BL_DEVICE_RTL)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "the %s device has no signals to record",
                   bl_device_name(session->device.kind));
  if (layer >= (int64_t)session->graph->layer_count)
    return bl_fail(err, BL_ERR_RANGE, "--trace-layer %lld: the network has %u layers",
                   (long long)layer, (unsigned)session->graph->layer_count);
  session->trace = path;
  session->trace_layer = layer;
  return BL_OK;
}

static bl_status fence(bl_session *s, const char *doing, bl_error *err) {
  return bl_device_check(&s->device, bl_driver_fence(&s->device.driver), doing, err);
}

// A step, with the waveform switched on before a traced layer's first run and off after its last.
static bl_status traced_step(bl_session *s, const bl_step *step, bl_error *err) {
  bool traced = s->trace != NULL && s->trace_layer >= 0 && step->opcode == BL_OP_RUN &&
                step->layer == (uint32_t)s->trace_layer;
  if (traced && step->part == 0) {
    BL_TRY(fence(s, "before the traced layer", err));
    BL_TRY(bl_device_trace(&s->device, s->trace, err));
  }
  BL_TRY(send_step(s, step, err));
  if (!traced || !step->last_part) return BL_OK;
  BL_TRY(fence(s, "the traced layer", err));
  s->trace = NULL;
  return bl_device_trace(&s->device, NULL, err);
}

bl_status bl_session_next(bl_session *session, const int32_t *in, size_t images, bl_error *err) {
  session->has_next = false;
  if (!session->program->ahead) return BL_OK;
  uint32_t *packed = session->loaded ? session->spare : session->next;
  BL_TRY(bl_program_pack_input(session->program, session->graph, in, images, packed, err));
  session->has_next = true;
  return BL_OK;
}

// A program that loads ahead finds its input on the device when the batch before announced it.
static bl_status load_first(bl_session *s, bl_error *err) {
  const size_t bytes = bl_program_input_bytes(s->program);
  if (!s->program->ahead) return BL_OK;
  bool there = s->loaded && memcmp(s->store, s->next, bytes) == 0;
  if (s->loaded && s->has_next) memcpy(s->next, s->spare, bytes);
  s->loaded = false;
  if (there) return BL_OK;
  return send_step(s, &s->program->first_load, err);
}

// Runs a batch; the sink gets the layers that `wanted` names, BL_STEP_NO_LAYER being all of them.
static bl_status run_batch(bl_session *session, const int32_t *in, size_t images, int32_t *out,
                           uint32_t wanted, bl_layer_sink sink, void *context, bl_error *err) {
  const bl_program *program = session->program;
  BL_TRY(bl_program_pack_input(program, session->graph, in, images, session->store, err));
  BL_TRY(load_first(session, err));
  bool whole = session->trace != NULL && session->trace_layer < 0;
  if (whole) BL_TRY(bl_device_trace(&session->device, session->trace, err));
  for (uint32_t i = 0; i < program->batch_count; i++) {
    const bl_step *step = &program->batch[i];
    if (step->next && !session->has_next) continue;
    BL_TRY(traced_step(session, step, err));
    if (sink != NULL && step->opcode == BL_OP_RUN &&
        (wanted == BL_STEP_NO_LAYER || wanted == step->layer))
      BL_TRY(look_at(session, step, images, sink, context, err));
  }
  BL_TRY(fence(session, "finishing a batch", err));
  session->loaded = session->has_next;
  session->has_next = false;
  session->trace = NULL;
  if (whole) BL_TRY(bl_device_trace(&session->device, NULL, err));
  bl_program_unpack_output(program, session->graph, session->store, images, out);
  return BL_OK;
}

bl_status bl_session_run(bl_session *session, const int32_t *in, size_t images, int32_t *out,
                         bl_layer_sink sink, void *context, bl_error *err) {
  return run_batch(session, in, images, out, BL_STEP_NO_LAYER, sink, context, err);
}

bl_status bl_session_run_layer(bl_session *session, const int32_t *in, size_t images, int32_t *out,
                               uint32_t layer, bl_layer_sink sink, void *context, bl_error *err) {
  return run_batch(session, in, images, out, layer, sink, context, err);
}

const uint32_t *bl_session_signatures(const bl_session *session) {
  return session->unsigned_run ? NULL : session->signatures;
}

static bl_status load(bl_session *s, bl_error *err) {
  for (uint32_t i = 0; i < s->program->setup_count; i++)
    BL_TRY(send_step(s, &s->program->setup[i], err));
  uint64_t counters[BL_COUNTER_COUNT];
  return bl_device_check(&s->device, bl_driver_counters(&s->device.driver, counters, true),
                         "loading the program", err);
}

static uint32_t words_of_send(const bl_session *s, uint32_t tensor) {
  uint32_t address, argument, bytes;
  bl_program_send(s->program, tensor, &address, &argument, &bytes);
  return (bytes + 3) / 4;
}

static bl_status take_buffers(bl_session *s, bl_error *err) {
  const bl_program *p = s->program;
  size_t most_values = 0;
  s->offsets = bl_arena_alloc(s->arena, s->graph->layer_count, sizeof *s->offsets);
  if (s->offsets == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the program's buffers");
  for (uint32_t i = 0; i < s->graph->layer_count; i++) {
    uint32_t tensor = s->graph->layers[i].output, words = words_of_send(s, tensor);
    size_t values = p->images * bl_int_elements(&s->graph->tensors[tensor]);
    if (words > s->peek_words) s->peek_words = words;
    if (values > most_values) most_values = values;
  }
  // Layers in pieces collect side by side, behind the room that the others share.
  size_t all_values = most_values;
  for (uint32_t i = 0; i < s->graph->layer_count; i++) {
    uint32_t tensor = s->graph->layers[i].output;
    if (!p->regions[tensor].pieces) continue;
    s->offsets[i] = all_values;
    all_values += p->images * bl_int_elements(&s->graph->tensors[tensor]);
  }
  s->store = bl_arena_alloc(s->arena, p->store_bytes / 4, sizeof(uint32_t));
  s->next = bl_arena_alloc(s->arena, (bl_program_input_bytes(p) + 3) / 4, sizeof(uint32_t));
  s->spare = bl_arena_alloc(s->arena, (bl_program_input_bytes(p) + 3) / 4, sizeof(uint32_t));
  s->peek = bl_arena_alloc(s->arena, s->peek_words, sizeof(uint32_t));
  s->values = bl_arena_alloc(s->arena, all_values, sizeof(int32_t));
  s->layer_cycles = bl_arena_alloc(s->arena, s->graph->layer_count, sizeof(uint64_t));
  s->signatures = bl_arena_alloc(s->arena, p->batch_count, sizeof(uint32_t));
  if (s->next == NULL || s->spare == NULL || s->store == NULL || s->peek == NULL ||
      s->values == NULL || s->layer_cycles == NULL || s->signatures == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for the program's buffers");
  return BL_OK;
}

static bl_status prepare(const bl_device_spec *spec, bl_session *s, bl_error *err) {
  if (strcmp(spec->config->name, s->program->config.name) != 0)
    return bl_fail(err, BL_ERR_USAGE, "compiled for configuration %s, the device is %s",
                   s->program->config.name, spec->config->name);
  BL_TRY(take_buffers(s, err));
  BL_TRY(bl_device_open(spec, &s->device, err));
  s->device.driver.listener = note_answer;
  s->device.driver.listener_context = s;
  return load(s, err);
}

bl_status bl_session_open(const bl_device_spec *spec, const bl_int_graph *graph,
                          const bl_program *program, uint32_t fault_layer, bl_session **session,
                          bl_error *err) {
  *session = NULL;
  bl_arena *arena = bl_arena_new(MEMORY_CAP);
  bl_session *s = arena == NULL ? NULL : bl_arena_alloc(arena, 1, sizeof *s);
  if (s == NULL) {
    bl_arena_free(arena);
    return bl_fail(err, BL_ERR_MEMORY, "no memory for a session");
  }
  s->arena = arena;
  s->graph = graph;
  s->program = program;
  s->fault_layer = fault_layer < graph->layer_count ? fault_layer : BL_STEP_NO_LAYER - 1;
  bl_status status = prepare(spec, s, err);
  if (status != BL_OK)
    bl_session_close(s);
  else
    *session = s;
  return status;
}

bl_status bl_session_profile(bl_session *s, const char *path, bl_error *err) {
  uint64_t counters[BL_COUNTER_COUNT];
  BL_TRY(bl_profile_open(path, &s->device, s->graph, s->program, BL_PROFILE_MOST_EVENTS,
                         &s->profile, err));
  return bl_device_check(&s->device, bl_driver_counters(&s->device.driver, counters, true),
                         "clearing counters", err);
}

bl_status bl_session_profile_end(bl_session *s, bl_error *err) {
  bl_status status = bl_profile_finish(s->profile, err);
  bl_profile_close(s->profile);
  s->profile = NULL;
  return status;
}

void bl_session_close(bl_session *session) {
  if (session == NULL) return;
  bl_profile_close(session->profile);
  bl_device_close(&session->device);
  bl_arena_free(session->arena);
}

bl_status bl_session_counters(bl_session *session, uint64_t counters[BL_COUNTER_COUNT],
                              bl_error *err) {
  return bl_device_check(&session->device,
                         bl_driver_counters(&session->device.driver, counters, false),
                         "reading counters", err);
}

const uint64_t *bl_session_layer_cycles(const bl_session *session) {
  return session->layer_cycles;
}

static bl_status run_session(void *self, const int32_t *in, size_t images, int32_t *out,
                             bl_layer_sink sink, void *context, bl_error *err) {
  return bl_session_run(self, in, images, out, sink, context, err);
}

static void close_session(void *self) {
  bl_session_close(self);
}

bl_status bl_executor_device(const bl_device_spec *spec, const bl_int_graph *graph,
                             const bl_program *program, uint32_t fault_layer, bl_executor *executor,
                             bl_error *err) {
  bl_session *session;
  BL_TRY(bl_session_open(spec, graph, program, fault_layer, &session, err));
  *executor = (bl_executor){bl_device_name(spec->kind), session, run_session, close_session,
                            program->images};
  return BL_OK;
}

bl_session *bl_executor_session(const bl_executor *executor) {
  return executor->run == run_session ? executor->self : NULL;
}
