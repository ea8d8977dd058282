// SPDX-License-Identifier: Apache-2.0
// Steps to the driver, answers back. Every buffer is taken when the session opens.
#include "host/run/program_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/run/profile.h"

enum { RUNS_IN_FLIGHT = 64, MEMORY_CAP = 512 << 20 };

// A batch on the device.
typedef struct {
  uint64_t number; // batches of the session count from 0
  size_t images;
  uint32_t *store, *signatures; // see bl_program; [batch_count]
  uint64_t sent;                // requests
  uint16_t last_tag;            // of them
  bool failed;
  bl_answer failure;  // the first one
  const bl_step *run; // that failed; NULL: another request
} flight;

typedef struct {
  const bl_step *step;
  flight *flight;
  uint16_t tag;
} running_step;

struct bl_session {
  bl_arena *arena; // owns all buffers, and this structure
  bl_device device;
  const bl_int_graph *graph;
  const bl_program *program;
  uint32_t fault_layer;
  flight flights[BL_SESSION_FLIGHTS]; // the oldest is `first`
  uint32_t first, count;
  uint64_t submitted;
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
  running_step running[RUNS_IN_FLIGHT];
  uint32_t first_running, running_count;
  uint32_t *signatures; // of the last batch collected
  bool unsigned_run;    // a run was answered without one
};

// The batch that a request belongs to; of a header that the device did not understand, the oldest.
static flight *flight_of(bl_session *s, const bl_answer *answer) {
  const uint16_t next = s->device.driver.next_tag;
  const uint16_t age = (uint16_t)(next - answer->tag - (next < answer->tag ? 1 : 0)); // 0 is no tag
  if (s->count == 0) return NULL;
  flight *newest = &s->flights[(s->first + s->count - 1) % BL_SESSION_FLIGHTS];
  return answer->opcode != 0 && age <= newest->sent ? newest : &s->flights[s->first];
}

static void note_failure(bl_session *s, const bl_answer *answer) {
  flight *f = flight_of(s, answer);
  if (f == NULL || f->failed) return;
  f->failed = true;
  f->failure = *answer;
  f->run = NULL;
  for (uint32_t i = 0; i < s->running_count && answer->opcode == BL_OP_RUN; i++) {
    const running_step *r = &s->running[(s->first_running + i) % RUNS_IN_FLIGHT];
    if (r->tag == answer->tag) f->run = r->step;
  }
}

static void note_answer(void *context, const bl_answer *answer) {
  bl_session *s = context;
  if (answer->status != BL_STATUS_OK) note_failure(s, answer);
  const running_step *r = &s->running[s->first_running % RUNS_IN_FLIGHT];
  if (answer->opcode != BL_OP_RUN || s->running_count == 0 || r->tag != answer->tag) return;
  s->first_running++;
  s->running_count--;
  if (answer->status != BL_STATUS_OK) return;
  if (r->step->layer < s->graph->layer_count) s->layer_cycles[r->step->layer] += answer->info;
  r->flight->signatures[r->step - s->program->batch] = answer->signature;
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

static bl_driver_result send_step(bl_session *s, flight *f, const bl_step *step) {
  const uint32_t *payload = step->payload;
  const bool sends = step->opcode == BL_OP_SEND;
  if (step->stored && step->opcode == BL_OP_LOAD_ACTIVATIONS)
    payload = (step->next ? s->next : f->store) + step->store_offset / 4;
  if (step->opcode == BL_OP_RUN && step->layer == s->fault_layer) payload = plant_fault(s, step);
  if (s->device.driver.failed) return BL_DRIVER_DEVICE;
  f->sent++;
  f->last_tag = s->device.driver.next_tag;
  if (step->opcode == BL_OP_RUN && s->running_count < RUNS_IN_FLIGHT)
    s->running[(s->first_running + s->running_count++) % RUNS_IN_FLIGHT] =
        (running_step){step, f, f->last_tag};
  if (step->opcode == BL_OP_FENCE && step->stored) return bl_driver_fence(&s->device.driver);
  return bl_driver_request(&s->device.driver, step->opcode, step->address, step->argument, payload,
                           step->bytes, sends ? f->store + step->store_offset / 4 : NULL,
                           sends ? bl_program_answer_words(step) : 0, NULL);
}

// A layer's output while it is still there: all of it after its last run, or the rows of each run
// where it is never there as a whole.
static bl_driver_result look_at(bl_session *s, const bl_step *step, flight *f, bl_layer_sink sink,
                                void *context) {
  uint32_t address, argument, bytes, tensor = s->graph->layers[step->layer].output;
  bool pieces = s->program->regions[tensor].pieces;
  if (pieces ? !step->rows_done : !step->last_part) return BL_DRIVER_OK;
  bl_program_look(s->program, s->graph, step, &address, &argument, &bytes);
  f->sent += 2;
  bl_driver_result result = bl_driver_request(&s->device.driver, BL_OP_SEND, address, argument,
                                              NULL, 0, s->peek, s->peek_words, NULL);
  if (result == BL_DRIVER_OK) result = bl_driver_fence(&s->device.driver);
  if (result != BL_DRIVER_OK) return result;
  if (pieces)
    bl_program_unpack_rows(s->program, s->graph, step, s->peek, f->images,
                           s->values + s->offsets[step->layer]);
  else
    bl_program_unpack(s->program, s->graph, tensor, s->peek, f->images, s->values);
  if (step->last_part)
    sink(context, step->layer, s->values + (pieces ? s->offsets[step->layer] : 0));
  return result;
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

static bl_driver_result fence(bl_session *s, flight *f) {
  f->sent++;
  return bl_driver_fence(&s->device.driver);
}

// Begins or ends (path NULL) a waveform with nothing under way.
static bl_status trace(bl_session *s, flight *f, const char *path, bl_error *err) {
  const bl_driver_result result = fence(s, f);
  if (result != BL_DRIVER_OK && result != BL_DRIVER_DEVICE)
    return bl_device_check(&s->device, result, "around the traced steps", err);
  return bl_device_trace(&s->device, path, err);
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
static bl_driver_result load_first(bl_session *s, flight *f) {
  const size_t bytes = bl_program_input_bytes(s->program);
  const bl_step step = {.opcode = BL_OP_FENCE, .layer = BL_STEP_NO_LAYER};
  if (!s->program->ahead) return BL_DRIVER_OK;
  bool there = s->loaded && memcmp(f->store, s->next, bytes) == 0;
  if (s->loaded && s->has_next) memcpy(s->next, s->spare, bytes);
  s->loaded = false;
  if (there) return BL_DRIVER_OK;
  if (s->count > 1) { // the batch before may still read what this load changes
    bl_driver_result result = send_step(s, f, &step);
    if (result != BL_DRIVER_OK) return result;
  }
  return send_step(s, f, &s->program->first_load);
}

// What looks at a batch on its way: the sink gets the layers that `wanted` names, BL_STEP_NO_LAYER
// being all of them.
typedef struct {
  bl_layer_sink sink; // or NULL
  void *context;
  uint32_t wanted;
} watcher;

// A step, and what is to be seen behind it.
static bl_driver_result watched_step(bl_session *s, flight *f, const bl_step *step,
                                     const watcher *w) {
  bl_driver_result result = send_step(s, f, step);
  const bool run = step->opcode == BL_OP_RUN && w->sink != NULL;
  if (result != BL_DRIVER_OK || !run || (w->wanted != BL_STEP_NO_LAYER && w->wanted != step->layer))
    return result;
  return look_at(s, step, f, w->sink, w->context);
}

// All steps, with the waveform switched on before a traced layer's first run and off after its
// last, or around everything. Ends early when the device has answered an error.
static bl_status send_batch(bl_session *s, flight *f, const watcher *w, bl_error *err) {
  const bl_program *program = s->program;
  const bool whole = s->trace != NULL && s->trace_layer < 0;
  if (whole) BL_TRY(trace(s, f, s->trace, err));
  bl_driver_result result = load_first(s, f);
  for (uint32_t i = 0; i < program->batch_count && result == BL_DRIVER_OK; i++) {
    const bl_step *step = &program->batch[i];
    if (step->next && !s->has_next) continue;
    const bool traced = s->trace != NULL && !whole && step->opcode == BL_OP_RUN &&
                        step->layer == (uint32_t)s->trace_layer;
    if (traced && step->part == 0) BL_TRY(trace(s, f, s->trace, err));
    result = watched_step(s, f, step, w);
    if (traced && step->last_part) BL_TRY(trace(s, f, NULL, err));
  }
  if (whole) BL_TRY(trace(s, f, NULL, err));
  s->trace = NULL;
  s->loaded = s->has_next;
  s->has_next = false;
  if (result == BL_DRIVER_DEVICE) return BL_OK; // bl_session_collect tells
  return bl_device_check(&s->device, result, "sending a batch", err);
}

static bl_status submit(bl_session *s, const int32_t *in, size_t images, const watcher *w,
                        bl_error *err) {
  flight *f = &s->flights[(s->first + s->count) % BL_SESSION_FLIGHTS];
  BL_TRY(bl_program_pack_input(s->program, s->graph, in, images, f->store, err));
  f->number = s->submitted++;
  f->images = images;
  f->sent = 0;
  f->last_tag = s->device.driver.next_tag;
  f->failed = false;
  s->count++;
  return send_batch(s, f, w, err);
}

bl_status bl_session_submit(bl_session *session, const int32_t *in, size_t images, bl_error *err) {
  const watcher none = {NULL, NULL, BL_STEP_NO_LAYER};
  if (session->count == BL_SESSION_FLIGHTS)
    return bl_fail(err, BL_ERR_USAGE, "session: %u batches are in flight; collect one first",
                   (unsigned)BL_SESSION_FLIGHTS);
  return submit(session, in, images, &none, err);
}

// Why a batch failed, or of an earlier one's failure, that it was not run.
static bl_status explain(const bl_session *s, const flight *f, bl_error *err) {
  char where[96], what[128];
  const bl_step moving = {.layer = BL_STEP_NO_LAYER};
  if (f->failed)
    (void)snprintf(what, sizeof what, "batch %llu, %s", (unsigned long long)f->number,
                   describe(s, f->run == NULL ? &moving : f->run, where, sizeof where));
  else
    (void)snprintf(what, sizeof what, "batch %llu was not run, after an error",
                   (unsigned long long)f->number);
  return bl_device_failure(&s->device, f->failed ? &f->failure : &s->device.driver.failure, what,
                           err);
}

bl_status bl_session_collect(bl_session *session, int32_t *out, bl_error *err) {
  if (session->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "session: no batch is in flight; submit one first");
  flight *f = &session->flights[session->first];
  // Where this or an earlier batch failed, answers may be missing.
  bl_driver_result result = bl_driver_await(&session->device.driver, f->last_tag);
  session->first = (session->first + 1) % BL_SESSION_FLIGHTS;
  session->count--;
  if (f->failed || result == BL_DRIVER_DEVICE) return explain(session, f, err);
  BL_TRY(bl_device_check(&session->device, result, "finishing a batch", err));
  session->signatures = f->signatures;
  bl_program_unpack_output(session->program, session->graph, f->store, f->images, out);
  return BL_OK;
}

static bl_status run_batch(bl_session *session, const int32_t *in, size_t images, int32_t *out,
                           const watcher *w, bl_error *err) {
  if (session->count > 0)
    return bl_fail(err, BL_ERR_USAGE, "session: a batch is in flight; collect it first");
  BL_TRY(submit(session, in, images, w, err));
  return bl_session_collect(session, out, err);
}

bl_status bl_session_run(bl_session *session, const int32_t *in, size_t images, int32_t *out,
                         bl_layer_sink sink, void *context, bl_error *err) {
  const watcher all = {sink, context, BL_STEP_NO_LAYER};
  return run_batch(session, in, images, out, &all, err);
}

bl_status bl_session_run_layer(bl_session *session, const int32_t *in, size_t images, int32_t *out,
                               uint32_t layer, bl_layer_sink sink, void *context, bl_error *err) {
  const watcher one = {sink, context, layer};
  return run_batch(session, in, images, out, &one, err);
}

const uint32_t *bl_session_signatures(const bl_session *session) {
  return session->unsigned_run ? NULL : session->signatures;
}

static bl_status load(bl_session *s, bl_error *err) {
  flight none = {0};
  char where[96];
  for (uint32_t i = 0; i < s->program->setup_count; i++) {
    const bl_step *step = &s->program->setup[i];
    BL_TRY(bl_device_check(&s->device, send_step(s, &none, step),
                           describe(s, step, where, sizeof where), err));
  }
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
  s->next = bl_arena_alloc(s->arena, (bl_program_input_bytes(p) + 3) / 4, sizeof(uint32_t));
  s->spare = bl_arena_alloc(s->arena, (bl_program_input_bytes(p) + 3) / 4, sizeof(uint32_t));
  s->peek = bl_arena_alloc(s->arena, s->peek_words, sizeof(uint32_t));
  s->values = bl_arena_alloc(s->arena, all_values, sizeof(int32_t));
  s->layer_cycles = bl_arena_alloc(s->arena, s->graph->layer_count, sizeof(uint64_t));
  bool ok = s->next != NULL && s->spare != NULL && s->peek != NULL && s->values != NULL &&
            s->layer_cycles != NULL;
  for (uint32_t i = 0; i < BL_SESSION_FLIGHTS && ok; i++) {
    s->flights[i].store = bl_arena_alloc(s->arena, p->store_bytes / 4, sizeof(uint32_t));
    s->flights[i].signatures = bl_arena_alloc(s->arena, p->batch_count, sizeof(uint32_t));
    ok = s->flights[i].store != NULL && s->flights[i].signatures != NULL;
  }
  if (!ok) return bl_fail(err, BL_ERR_MEMORY, "no memory for the program's buffers");
  s->signatures = s->flights[0].signatures;
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
