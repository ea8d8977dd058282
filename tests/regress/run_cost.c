// SPDX-License-Identifier: Apache-2.0
#include "tests/regress/run_cost.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/cost/cost.h"

typedef struct {
  bl_driver *driver;
  const bl_program *program;
  uint32_t *store;
  bl_cost *costs;
  uint32_t answered; // info of the last answer to a RUN
  char *text;
} job;

static void listen(void *context, const bl_answer *answer) {
  job *j = context;
  if (answer->opcode == BL_OP_RUN) j->answered = answer->info;
}

static bool check(job *j, bl_driver_result result, const char *what) {
  if (result == BL_DRIVER_OK) return true;
  (void)snprintf(j->text, BL_COST_TEXT, "%s: %s (opcode %u, %s, info %u)", what,
                 bl_driver_result_text(result), j->driver->failure.opcode,
                 bl_driver_status_text(j->driver->failure.status), j->driver->failure.info);
  return false;
}

static bool send_step(job *j, const bl_step *s) {
  uint32_t *stored = s->stored ? j->store + s->store_offset / 4 : NULL;
  const bool load = s->opcode == BL_OP_LOAD_ACTIVATIONS, sends = s->opcode == BL_OP_SEND;
  if (s->opcode == BL_OP_FENCE) return check(j, bl_driver_fence(j->driver), "fence");
  return check(j,
               bl_driver_request(j->driver, s->opcode, s->address, s->argument,
                                 load ? stored : s->payload, s->bytes, sends ? stored : NULL,
                                 sends ? bl_program_answer_words(s) : 0, NULL),
               "request");
}

// The counters since the last reading, against the model's.
static bool compare(job *j, uint32_t step) {
  static const int reasons[] = {BL_COUNTER_ISSUE, BL_COUNTER_REQUANT, BL_COUNTER_GATHER,
                                BL_COUNTER_DRAIN};
  const uint64_t *model = j->costs[step].counters;
  uint64_t is[BL_COUNTER_COUNT];
  if (!check(j, bl_driver_counters(j->driver, is, true), "counters")) return false;
  bool equal = j->answered == model[BL_COUNTER_CYCLES];
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
    equal = equal && is[reasons[i]] == model[reasons[i]];
  if (!equal)
    (void)snprintf(j->text, BL_COST_TEXT,
                   "step %u, layer %u: %u cycles, issue %u, requant %u, gather %u, drain %u; the "
                   "model has %u, %u, %u, %u, %u",
                   step, j->program->batch[step].layer, j->answered, (uint32_t)is[BL_COUNTER_ISSUE],
                   (uint32_t)is[BL_COUNTER_REQUANT], (uint32_t)is[BL_COUNTER_GATHER],
                   (uint32_t)is[BL_COUNTER_DRAIN], (uint32_t)model[BL_COUNTER_CYCLES],
                   (uint32_t)model[BL_COUNTER_ISSUE], (uint32_t)model[BL_COUNTER_REQUANT],
                   (uint32_t)model[BL_COUNTER_GATHER], (uint32_t)model[BL_COUNTER_DRAIN]);
  return equal;
}

static bool run(job *j, uint32_t *runs, uint64_t *cycles) {
  bl_error err = {0};
  const bl_program *p = j->program;
  uint64_t ignored[BL_COUNTER_COUNT];
  if (bl_cost_program(p, j->costs, &err) != BL_OK) {
    (void)snprintf(j->text, BL_COST_TEXT, "%.200s", err.text);
    return false;
  }
  for (uint32_t i = 0; i < p->setup_count; i++)
    if (!send_step(j, &p->setup[i])) return false;
  if (p->ahead && !send_step(j, &p->first_load)) return false;
  for (uint32_t i = 0; i < p->batch_count; i++) {
    const bool is_run = p->batch[i].opcode == BL_OP_RUN;
    if (is_run && !check(j, bl_driver_counters(j->driver, ignored, true), "counters")) return false;
    if (!send_step(j, &p->batch[i])) return false;
    if (!is_run) continue;
    if (!compare(j, i)) return false;
    *runs += 1;
    *cycles += j->answered;
  }
  return check(j, bl_driver_fence(j->driver), "fence");
}

bool bl_run_cost(bl_driver *driver, const bl_program *program, uint32_t *runs, uint64_t *cycles,
                 char text[BL_COST_TEXT]) {
  job j = {.driver = driver,
           .program = program,
           .store = calloc(program->store_bytes / 4 + (size_t)1, 4),
           .costs = calloc(program->batch_count + (size_t)1, sizeof *j.costs),
           .text = text};
  *runs = 0;
  *cycles = 0;
  text[0] = '\0';
  driver->listener = listen;
  driver->listener_context = &j;
  bool ok = j.store != NULL && j.costs != NULL && run(&j, runs, cycles);
  if (!ok && text[0] == '\0') (void)snprintf(text, BL_COST_TEXT, "no memory");
  driver->listener = NULL;
  free(j.store);
  free(j.costs);
  return ok;
}
