// SPDX-License-Identifier: Apache-2.0
// From a goal to a trained network: plans of the integer program for a row of budgets, the smallest
// of which that holds the accuracy is found by halving, each tried by a short training; it is then
// trained in full, and where that misses the goal, the next larger one is.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/compress/passes.h"
#include "host/compress/pipeline.h"
#include "host/compress/searching.h"
#include "host/compress/training.h"
#include "host/graph/float_edit.h"
#include "host/search/separable.h"
#include "host/train/train_net.h"

static const bl_recipe_param params[] = {
    BL_SEARCHING_PARAMS,
    {BL_NUMBER("max-drop", "1", 0, 100,
               "points below the float network's accuracy on the held-out samples")},
    {BL_NUMBER("accuracy", "0", 0, 100,
               "in place of max-drop: least accuracy in percent; 0: max-drop counts")},
    {BL_COUNT("epochs", "20", 1, 1e6, "of the full training")},
    {BL_COUNT("trial-epochs", "4", 1, 1e6, "of the short trainings")},
    {BL_NUMBER("margin", "0.5", 0, 100, "points that the full training is expected to add")},
    BL_PARAM_BATCH,
    {BL_NUMBER("lr", "3e-3", 1e-12, 1e3,
               "learning rate relative to each layer's weights, falling as a cosine")},
    BL_PARAM_FLIP,
    BL_PARAM_SHIFT,
    BL_PARAM_TEACHER,
    {BL_NUMBER("teacher-weight", "0.9", 0, 1, "of the teacher's part in the loss")},
};

typedef struct {
  bl_searching searching;
  bl_training training;
  uint64_t epochs, trial_epochs;
  double goal, margin; // 0..1
  uint8_t *plans;      // [count][knobs], from the least cycles on
  double *cycles;      // [count]
  uint32_t count;
  const char *pass; // names of check-points differ by it
} automatic;

// ---- Plans

static bl_status add_plan(automatic *a, const uint8_t *choice, bl_error *err) {
  const uint32_t knobs = a->searching.space.count;
  bl_search_result result;
  BL_TRY(bl_pool_evaluate(a->searching.pool, choice, 1, &result, err));
  if (bl_search_excess(&result, &a->searching.options.limits) > 0) return BL_OK;
  const double cost = bl_search_criterion(&result, a->searching.options.axis);
  if (a->count > 0 && cost <= a->cycles[a->count - 1]) return BL_OK;
  memcpy(a->plans + (size_t)a->count * knobs, choice, knobs);
  a->cycles[a->count++] = cost;
  bl_network_say(a->searching.network, "plan %u: %.0f cycles, %.0f bytes, %.2f %% untrained",
                 (unsigned)a->count, result.cycles, result.bytes, 100 * result.accuracy);
  return BL_OK;
}

static bl_status solve_all(automatic *a, const bl_separable *program, bl_error *err) {
  bl_searching *s = &a->searching;
  const bl_search_options *o = &s->options;
  double sums[BL_CRITERIA];
  uint8_t *choice = bl_arena_alloc(s->arena, s->space.count, 1);
  a->plans = bl_arena_alloc(s->arena, o->budgets, s->space.count);
  a->cycles = bl_arena_alloc(s->arena, o->budgets, sizeof *a->cycles);
  if (choice == NULL || a->plans == NULL || a->cycles == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for plans");
  const bl_search_limits none = {{INFINITY, INFINITY, INFINITY}, -1};
  BL_TRY(bl_separable_solve(program, o->axis, &o->limits, choice, sums, err));
  const double least = sums[o->axis];
  BL_TRY(bl_separable_solve(program, BL_LOSS, &none, choice, sums, err));
  const double most = fmin(fmax(sums[o->axis], least), o->limits.most[o->axis]);
  for (uint32_t k = 0; k < o->budgets; k++) {
    bl_search_limits limits = o->limits;
    limits.most[o->axis] = least * pow(most / least, (double)k / (o->budgets - 1)) * (1 + 1e-9);
    BL_TRY(bl_separable_solve(program, BL_LOSS, &limits, choice, sums, err));
    BL_TRY(add_plan(a, choice, err));
  }
  if (a->count > 0) return BL_OK;
  return bl_fail(err, BL_ERR_RANGE, "no plan meets max-cycles and max-bytes");
}

static bl_status make_plans(automatic *a, bl_error *err) {
  bl_searching *s = &a->searching;
  bl_sensitivity sensitivity;
  bl_separable *program;
  BL_TRY(bl_sensitivity_measure(s->pool, &s->space, s->arena, &sensitivity, err));
  BL_TRY(bl_separable_open(s->candidates, &s->space, &sensitivity, s->workers, &program, err));
  const bl_status status = solve_all(a, program, err);
  bl_separable_close(program);
  return status;
}

// ---- Trials

// A network that is trained in place of the searched one, with what that keeps.
static bl_status open_trial(const bl_network *n, bl_network *trial, bl_error *err) {
  bl_float_graph *graph;
  BL_TRY(bl_float_copy(n->graph, 0, &graph, err));
  BL_TRY(bl_network_open(graph, n->original, trial, err));
  trial->data = n->data;
  trial->device = n->device;
  trial->seed = n->seed;
  trial->threads = n->threads;
  trial->folder = n->folder;
  trial->place = n->place;
  for (uint32_t k = 0; k < n->rule_count; k++) {
    bl_weight_rule *rule;
    BL_TRY(bl_network_rule(trial, n->rules[k].value, &rule, err));
    rule->sparse = n->rules[k].sparse;
    rule->most = n->rules[k].most;
  }
  return BL_OK;
}

// Trains plan `at` on a network of its own, which the caller closes in any case, and measures it.
static bl_status train_plan(automatic *a, uint32_t at, uint64_t epochs, bl_network *trial,
                            double *accuracy, bl_error *err) {
  const bl_network *n = a->searching.network;
  char name[48];
  BL_TRY(open_trial(n, trial, err));
  (void)snprintf(name, sizeof name, "%s-%u-%llu", a->pass, (unsigned)at + 1,
                 (unsigned long long)epochs);
  trial->pass = name;
  bl_training training = a->training;
  training.epochs = epochs;
  bl_stage_figures figures = {.pass = ""};
  bl_status status = bl_searching_take(
      &a->searching, a->plans + (size_t)at * a->searching.space.count, trial, err);
  if (status == BL_OK) status = bl_network_train(trial, &training, err);
  if (status == BL_OK) status = bl_network_measure(trial, &figures, err);
  trial->pass = a->pass;
  *accuracy = figures.samples > 0 ? (double)figures.correct / (double)figures.samples : 0;
  if (status == BL_OK)
    bl_network_say(n, "plan %u after %llu epochs: %.0f cycles, %llu bytes, %.2f %%",
                   (unsigned)at + 1, (unsigned long long)epochs, figures.cycles,
                   (unsigned long long)figures.bytes, 100 * *accuracy);
  return status;
}

// The first plan that a short training leaves near the goal, by halving; the last where none is.
static bl_status find_plan(automatic *a, uint32_t *found, bl_error *err) {
  uint32_t low = 0, high = a->count - 1;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    bl_network trial = {0};
    double accuracy;
    const bl_status status = train_plan(a, middle, a->trial_epochs, &trial, &accuracy, err);
    bl_network_close(&trial);
    BL_TRY(status);
    if (accuracy + a->margin >= a->goal)
      high = middle;
    else
      low = middle + 1;
  }
  *found = low;
  return BL_OK;
}

// Takes over what a trial has become, with what its plan promises.
static bl_status adopt(automatic *a, uint32_t at, bl_network *trial, bl_error *err) {
  bl_network *n = a->searching.network;
  bl_float_graph *graph;
  BL_TRY(
      bl_searching_take(&a->searching, a->plans + (size_t)at * a->searching.space.count, n, err));
  BL_TRY(bl_float_copy(trial->graph, 0, &graph, err));
  bl_network_replace(n, graph);
  return BL_OK;
}

static bl_status train_in_full(automatic *a, uint32_t first, bl_error *err) {
  double highest = 0;
  for (uint32_t at = first; at < a->count; at++) {
    bl_network trial = {0};
    double accuracy;
    bl_status status = train_plan(a, at, a->epochs, &trial, &accuracy, err);
    const bool done = status == BL_OK && accuracy >= a->goal;
    if (done) status = adopt(a, at, &trial, err);
    bl_network_close(&trial);
    if (done || status != BL_OK) return status;
    highest = fmax(highest, accuracy);
  }
  return bl_fail(err, BL_ERR_RANGE,
                 "an accuracy of %.2f %% is wanted, the highest reached is %.2f %%; allow more "
                 "bits, cycles or epochs",
                 100 * a->goal, 100 * highest);
}

static bl_status find_goal(automatic *a, const bl_call *call, bl_error *err) {
  const bl_network *n = a->searching.network;
  const bl_network_data *d = &n->data;
  bl_network whole = *n;
  bl_stage_figures figures = {.pass = ""};
  const double least = bl_call_number(call, "accuracy");
  if (d->training == NULL || !d->training->has_labels || !d->held_out->has_labels)
    return bl_fail(err, BL_ERR_USAGE, "needs labelled samples to train on and to judge by");
  whole.quantised = false;
  BL_TRY(bl_network_measure(&whole, &figures, err));
  const double reached = (double)figures.correct / (double)figures.samples;
  a->goal = least > 0 ? least / 100 : reached - bl_call_number(call, "max-drop") / 100;
  bl_train_threads(1); // as bl_candidates_open has it
  bl_network_say(n, "goal: %.2f %% (float: %.2f %%)", 100 * a->goal, 100 * reached);
  return BL_OK;
}

static bl_status automate(automatic *a, const bl_call *call, bl_error *err) {
  uint32_t found = 0;
  a->training.batch = (uint32_t)bl_call_count(call, "batch");
  a->training.rate = bl_call_number(call, "lr");
  a->training.relative = true;
  a->training.optimiser.clip = 1;
  a->training.average = 0.998;
  a->training.temperature = 2;
  a->training.augment = (bl_augment){.flip = bl_call_flag(call, "flip"),
                                     .shift = (uint32_t)bl_call_count(call, "shift")};
  a->training.teacher_weight = bl_call_number(call, "teacher-weight");
  a->epochs = bl_call_count(call, "epochs");
  a->trial_epochs = bl_call_count(call, "trial-epochs");
  a->margin = bl_call_number(call, "margin") / 100;
  BL_TRY(find_goal(a, call, err));
  BL_TRY(make_plans(a, err));
  BL_TRY(find_plan(a, &found, err));
  return train_in_full(a, found, err);
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  automatic a = {.pass = network->pass, .training = bl_training_defaults(network)};
  bl_float_graph *other;
  if (network->pruning != NULL)
    return bl_fail(err, BL_ERR_USAGE, "takes no gradual pruning: prune at once, or train first");
  BL_TRY(bl_training_teacher(&a.training, bl_call_text(call, "teacher"), &other, err));
  bl_status status = bl_searching_open(network, call, &a.searching, err);
  if (status == BL_OK) status = automate(&a, call, err);
  bl_searching_close(&a.searching);
  bl_float_graph_free(other);
  return status;
}

const bl_recipe_pass BL_PASS_AUTO = {
    .name = "auto",
    .summary = "the least cycles (or bytes) that hold an accuracy: search, trials, training",
    .source = "Chen et al. 2021, Towards Mixed-Precision Quantization; Esser et al. 2020",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
