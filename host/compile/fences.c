// SPDX-License-Identifier: Apache-2.0
// Where a batch needs fences. Of the steps sent, the last two runs and the last two sends may be
// unfinished (docs/reference/device.md: one in flight and one queued). A load must not touch what
// these read or write, a run must not write what these sends read; runs keep their own order, and
// loads are done before the next step starts.
#include "host/compile/internal.h"

#include <stdlib.h>
#include <string.h>

enum { FLIGHTS = 2 };

typedef struct {
  bl_touched runs[FLIGHTS], sends[FLIGHTS];
} flights;

bl_status bl_add_step(bl_steps *list, bl_step step, const bl_touched *touched, bl_error *err) {
  if (list->count == list->room) {
    uint32_t room = list->room == 0 ? 64 : list->room * 2;
    bl_step *items =
        room > BL_PROGRAM_MAX_STEPS ? NULL : realloc(list->items, room * sizeof *items);
    if (items != NULL) list->items = items;
    bl_touched *both = items == NULL ? NULL : realloc(list->touched, room * sizeof *both);
    if (both == NULL) return bl_fail(err, BL_ERR_MEMORY, "compile: no memory for the program");
    list->touched = both;
    list->room = room;
  }
  list->items[list->count] = step;
  list->touched[list->count++] = touched == NULL ? (bl_touched){.writes = {0, 0}} : *touched;
  return BL_OK;
}

void bl_free_steps(bl_steps *list) {
  free(list->items);
  free(list->touched);
  *list = (bl_steps){0};
}

static bool overlap(bl_words a, bl_words b) {
  return a.begin < b.end && b.begin < a.end && a.begin < a.end && b.begin < b.end;
}

static bool load_waits(const flights *f, const bl_touched *load) {
  for (int i = 0; i < FLIGHTS; i++) {
    const bl_touched *run = &f->runs[i];
    for (int m = 0; m < BL_LIST_MEMORIES; m++)
      if (overlap(load->lists[m], run->lists[m])) return true;
    if (overlap(load->writes, run->reads[0]) || overlap(load->writes, run->reads[1]) ||
        overlap(load->writes, run->writes) || overlap(load->writes, f->sends[i].reads[0]))
      return true;
  }
  return false;
}

static bool run_waits(const flights *f, const bl_touched *run) {
  return overlap(run->writes, f->sends[0].reads[0]) || overlap(run->writes, f->sends[1].reads[0]);
}

// Must it wait for what is in flight?
static bool waits(const flights *f, uint8_t opcode, const bl_touched *touched) {
  if (opcode == BL_OP_FENCE || opcode == BL_OP_SEND) return false;
  return opcode == BL_OP_RUN ? run_waits(f, touched) : load_waits(f, touched);
}

static void take_off(flights *f, uint8_t opcode, const bl_touched *touched) {
  if (opcode == BL_OP_FENCE) memset(f, 0, sizeof *f);
  bl_touched *list = opcode == BL_OP_RUN ? f->runs : f->sends;
  if (opcode != BL_OP_RUN && opcode != BL_OP_SEND) return;
  list[1] = list[0];
  list[0] = *touched;
}

bl_status bl_place_fences(bl_steps *batch, bl_error *err) {
  const bl_step fence = {.opcode = BL_OP_FENCE, .layer = BL_STEP_NO_LAYER};
  flights f = {0};
  // What batches before leave in flight, with no more fences than there are: a batch may have a
  // single run.
  for (uint32_t i = 0; i < FLIGHTS * batch->count; i++) {
    const uint32_t k = i % batch->count;
    take_off(&f, batch->items[k].opcode, &batch->touched[k]);
  }
  bl_steps placed = {0};
  bl_status status = BL_OK;
  for (uint32_t i = 0; i < batch->count && status == BL_OK; i++) {
    const uint8_t opcode = batch->items[i].opcode;
    if (waits(&f, opcode, &batch->touched[i])) {
      take_off(&f, BL_OP_FENCE, NULL);
      status = bl_add_step(&placed, fence, NULL, err);
    }
    take_off(&f, opcode, &batch->touched[i]);
    if (status == BL_OK) status = bl_add_step(&placed, batch->items[i], &batch->touched[i], err);
  }
  bl_free_steps(batch);
  *batch = placed;
  return status;
}
