// SPDX-License-Identifier: Apache-2.0
// Each track is a state with the cycle it began in; an event is written when the state changes.
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU has the format.
#include "host/run/profile.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/rtl_device.h"

enum {
  PATH_BYTES = 4096,
  GAP = 16 // idle cycles inside one event of a track of words, which counts its words
};

typedef enum { LAYERS, REASONS, STREAM_IN, GATHER, ARRAY, WRITE, STREAM_OUT, TRACKS } track_id;

static const char *const track_names[TRACKS] = {
    [LAYERS] = "layers",        [REASONS] = "cycles by reason", [STREAM_IN] = "stream in",
    [GATHER] = "gather",        [ARRAY] = "array issue",        [WRITE] = "requantise and pack",
    [STREAM_OUT] = "stream out"};

typedef struct {
  uint64_t begin, last; // first and latest cycle of the open event
  uint64_t words;       // of its cycles: in how many something happened
  uint64_t state;       // 0: nothing
} track;

typedef struct {
  const bl_step *step;
  char *name; // of its layer, as a JSON string
} run_name;

struct bl_profile {
  FILE *file;
  char path[PATH_BYTES], temporary[PATH_BYTES + 8];
  bl_device *device;
  run_name *runs; // of a batch, in order
  uint64_t run_count, started;
  enum { WAITING, RECORDING, ENDED } phase;
  uint64_t cycle; // since the counters were cleared
  uint64_t events, most_events, truncated_at;
  track tracks[TRACKS];
};

// ---- Events ----

static void write_layer(bl_profile *p, uint64_t ordinal) {
  const run_name *run = &p->runs[ordinal % p->run_count];
  (void)fprintf(p->file, "%s,\"args\":{\"layer\":%u,\"part\":%u,\"batch\":%llu}", run->name,
                (unsigned)run->step->layer, (unsigned)run->step->part,
                (unsigned long long)(ordinal / p->run_count));
}

static void write_event(bl_profile *p, track_id id) {
  const track *t = &p->tracks[id];
  p->events++;
  (void)fprintf(p->file, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%llu,\"dur\":%llu,\"name\":",
                (int)id + 1, (unsigned long long)t->begin,
                (unsigned long long)(t->last + 1 - t->begin));
  if (id == LAYERS)
    write_layer(p, t->state - 1);
  else if (id == REASONS)
    (void)fprintf(p->file, "\"%s\"", bl_device_counter_name((int)t->state));
  else
    (void)fprintf(p->file, "\"%s\",\"args\":{\"words\":%llu}",
                  id == STREAM_IN && t->state == 2 ? "weights and lists" : track_names[id],
                  (unsigned long long)t->words);
  (void)fputc('}', p->file);
}

static void end_event(bl_profile *p, track_id id) {
  track *t = &p->tracks[id];
  if (t->state != 0) write_event(p, id);
  t->state = 0;
}

// This cycle's state of a track; 0 ends an event once `gap` cycles have passed without another.
static void advance(bl_profile *p, track_id id, uint64_t state, uint64_t gap) {
  track *t = &p->tracks[id];
  if (t->state != 0 && state != t->state && (state != 0 || p->cycle - t->last > gap))
    end_event(p, id);
  if (state == 0) return;
  if (t->state == 0) {
    t->begin = p->cycle;
    t->words = 0;
  }
  t->state = state;
  t->last = p->cycle;
  t->words++;
}

// ---- Cycles ----

static uint64_t reason_of(uint32_t activity) {
  uint64_t reason = 0;
  while (reason + 1 < BL_COUNTER_COUNT && (activity >> reason & 1u) == 0)
    reason++;
  return reason;
}

static void record(bl_profile *p, uint32_t activity) {
  if ((activity & BL_RTL_STARTED) != 0) p->started++;
  uint64_t in = (activity & BL_RTL_WORD_IN) == 0 ? 0 : (activity & BL_RTL_LIST) != 0 ? 2 : 1;
  advance(p, LAYERS, (activity & BL_RTL_RUNNING) != 0 ? p->started : 0, 0);
  advance(p, REASONS, reason_of(activity), 0);
  advance(p, STREAM_IN, in, GAP);
  advance(p, GATHER, (activity & BL_RTL_GATHER) != 0, GAP);
  advance(p, ARRAY, (activity & BL_RTL_ISSUE) != 0, 0);
  advance(p, WRITE, (activity & BL_RTL_WRITE) != 0, GAP);
  advance(p, STREAM_OUT, (activity & BL_RTL_WORD_OUT) != 0, GAP);
}

static void end_events(bl_profile *p) {
  for (int id = 0; id < TRACKS; id++)
    end_event(p, (track_id)id);
}

static void listen(void *context, uint32_t activity) {
  bl_profile *p = context;
  bool taken = (activity & BL_RTL_TAKEN) != 0;
  if (taken && p->phase == RECORDING) {
    end_events(p);
    p->phase = ENDED;
  } else if (taken && p->phase == WAITING && (activity & BL_RTL_CLEARED) != 0) {
    p->phase = RECORDING;
  }
  if (p->phase != RECORDING) return;
  if (p->truncated_at == 0) record(p, activity);
  p->cycle++;
  if (p->truncated_at != 0 || p->events < p->most_events) return;
  end_events(p);
  p->truncated_at = p->cycle;
}

// ---- Opening and closing ----

static char *json_string(const char *text) {
  cJSON *string = cJSON_CreateString(text);
  char *printed = string == NULL ? NULL : cJSON_PrintUnformatted(string);
  cJSON_Delete(string);
  return printed;
}

static bl_status name_runs(bl_profile *p, const bl_int_graph *graph, const bl_program *program,
                           bl_error *err) {
  p->runs = calloc((size_t)program->batch_count + 1, sizeof *p->runs);
  for (uint32_t i = 0; p->runs != NULL && i < program->batch_count; i++) {
    const bl_step *step = &program->batch[i];
    if (step->opcode != BL_OP_RUN) continue;
    run_name *run = &p->runs[p->run_count++];
    run->step = step;
    run->name = json_string(step->layer < graph->layer_count ? graph->layers[step->layer].name
                                                             : "moving data");
    if (run->name == NULL) break;
  }
  if (p->runs == NULL || p->run_count == 0 || p->runs[p->run_count - 1].name == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for the profile's names");
  return BL_OK;
}

static bl_status begin_file(bl_profile *p, const char *path, bl_error *err) {
  int length = snprintf(p->path, sizeof p->path, "%s", path);
  if (length < 0 || (size_t)length >= sizeof p->path)
    return bl_fail(err, BL_ERR_IO, "%.100s...: path too long", path);
  (void)snprintf(p->temporary, sizeof p->temporary, "%s.part", path);
  p->file = fopen(p->temporary, "w");
  if (p->file == NULL)
    return bl_fail(err, BL_ERR_IO, "%s: cannot create: %s", p->temporary, strerror(errno));
  (void)fprintf(p->file,
                "{\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\","
                "\"args\":{\"name\":\"bitloom %s, 1 us = 1 cycle\"}}",
                p->device->config->name);
  for (int id = 0; id < TRACKS; id++)
    (void)fprintf(p->file,
                  ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{"
                  "\"name\":\"%s\"}},\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":"
                  "\"thread_sort_index\",\"args\":{\"sort_index\":%d}}",
                  id + 1, track_names[id], id + 1, id);
  return BL_OK;
}

bl_status bl_profile_open(const char *path, bl_device *device, const bl_int_graph *graph,
                          const bl_program *program, uint64_t most_events, bl_profile **profile,
                          bl_error *err) {
  *profile = NULL;
  if (device->kind != BL_DEVICE_RTL)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "only the rtl device has signals to profile");
  bl_profile *p = calloc(1, sizeof *p);
  if (p == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a profile");
  p->device = device;
  p->most_events = most_events;
  bl_status status = name_runs(p, graph, program, err);
  if (status == BL_OK) status = begin_file(p, path, err);
  if (status != BL_OK) {
    bl_profile_close(p);
    return status;
  }
  bl_rtl_listen(device->simulation, listen, p);
  *profile = p;
  return BL_OK;
}

bl_status bl_profile_finish(bl_profile *p, bl_error *err) {
  if (p->phase != ENDED)
    return bl_fail(err, BL_ERR_DEVICE, "%s: the device's counters were not read", p->path);
  (void)fprintf(p->file,
                "\n],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{\"unit\":\"1 us is 1 cycle\","
                "\"cycles\":%llu,\"truncated_at\":",
                (unsigned long long)p->cycle);
  if (p->truncated_at == 0)
    (void)fprintf(p->file, "null}}\n");
  else
    (void)fprintf(p->file, "%llu}}\n", (unsigned long long)p->truncated_at);
  bool failed = ferror(p->file) != 0;
  failed = fclose(p->file) != 0 || failed;
  p->file = NULL;
  if (!failed && rename(p->temporary, p->path) == 0) return BL_OK;
  (void)unlink(p->temporary);
  return bl_fail(err, BL_ERR_IO, "%s: cannot write: %s", p->path, strerror(errno));
}

void bl_profile_close(bl_profile *p) {
  if (p == NULL) return;
  if (p->device->simulation != NULL) bl_rtl_listen(p->device->simulation, NULL, NULL);
  if (p->file != NULL) {
    (void)fclose(p->file);
    (void)unlink(p->temporary);
  }
  for (uint64_t i = 0; i < p->run_count; i++)
    cJSON_free(p->runs[i].name);
  free(p->runs);
  free(p);
}
