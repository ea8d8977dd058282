// SPDX-License-Identifier: Apache-2.0
// From a goal to a trained network: where wanted, a training that all start from; a search whose
// candidates are judged by the loss that a short training leaves them; of its front the smallest
// plan that holds the accuracy is found by halving, each tried by a longer training; it is then
// trained in full, and where that misses the goal, the next larger one is.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/compress/passes.h"
#include "host/compress/pipeline.h"
#include "host/compress/searching.h"
#include "host/compress/training.h"
#include "host/graph/float_edit.h"
#include "host/graph/rewrite.h"
#include "host/train/train_net.h"

static const bl_recipe_param params[] = {
    BL_SEARCHING_PARAMS,
    {BL_NUMBER("max-drop", "1", 0, 100,
               "points below the float network's accuracy on the held-out samples")},
    {BL_NUMBER("accuracy", "0", 0, 100,
               "in place of max-drop: least accuracy in percent; 0: max-drop counts")},
    {BL_COUNT("epochs", "20", 1, 1e6, "of the full training")},
    {BL_COUNT("warm-epochs", "0", 0, 1e6,
              "with the fewest weight-bits and most activation-bits, that all plans start from")},
    {BL_COUNT("probe-samples", "4096", 0, 1e9,
              "twice over which a choice is trained before it is judged; 0: it is not trained")},
    {BL_COUNT("rounds", "2", 1, 16,
              "of sensitivities and integer program, each around the best plan of the one before")},
    {BL_COUNT("trial-epochs", "4", 1, 1e6, "of the trainings that plans are tried by")},
    {BL_NUMBER("margin", "0.5", 0, 100, "points that the full training is expected to add")},
    BL_PARAM_BATCH,
    BL_PARAM_PRECISION,
    {BL_NUMBER("lr", "3e-3", 1e-12, 1e3,
               "learning rate relative to each layer's weights, falling as a cosine")},
    BL_PARAM_FLIP,
    BL_PARAM_SHIFT,
    BL_PARAM_FREEZE_STATISTICS,
    BL_PARAM_TEACHER,
    {BL_NUMBER("teacher-weight", "0.9", 0, 1, "of the teacher's part in the loss")},
};

typedef struct {
  bl_searching searching;
  bl_training training;
  bl_answers *answers; // of its teacher, for short trainings
  uint64_t epochs, trial_epochs, probe;
  uint32_t rounds;
  double goal, margin;   // 0..1
  const uint8_t **plans; // [count], from the least cycles on
  uint32_t count;
  const char *pass; // names of check-points differ by it
} automatic;

enum { PROBE_EPOCHS = 2 };

// A training too short to learn its samples by heart: they are flipped only, so that the teacher
// answers once for all of them.
static bl_training short_training(const automatic *a, uint64_t epochs) {
  bl_training training = a->training;
  training.epochs = epochs;
  training.augment.shift = 0;
  training.freeze_statistics = 0;
  training.answers = a->answers;
  return training;
}

// ---- Networks that are tried

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

// The fewest weight-bits and the most activation-bits of the call's lists, all of which must be
// numbers: said before anything is trained.
static bl_status read_extremes(const bl_call *call, double *fewest, double *most, bl_error *err) {
  static const char *const lists[] = {"blocks", "ranks", "weight-bits", "activation-bits"};
  double values[BL_KNOB_MOST_VALUES];
  uint32_t count;
  *fewest = INFINITY;
  *most = 0;
  for (int k = 0; k < 4; k++) {
    BL_TRY(bl_searching_values(call, lists[k], values, &count, err));
    for (uint32_t i = 0; k == 2 && i < count; i++)
      *fewest = fmin(*fewest, values[i]);
    for (uint32_t i = 0; k == 3 && i < count; i++)
      *most = fmax(*most, values[i]);
  }
  if (bl_knob_takes(BL_KNOB_WEIGHT_BITS, *fewest) && bl_knob_takes(BL_KNOB_ACTIVATION_BITS, *most))
    return BL_OK;
  return bl_fail(err, BL_ERR_USAGE, "weight-bits and activation-bits are whole, from 1 to 8");
}

// What comes behind starts where the fewest bits of weights work: plans are then told apart by what
// their bits lose, not by how long weights of few bits need to recover.
static bl_status warm_up(automatic *a, bl_network *network, const bl_call *call, bl_error *err) {
  const bl_training training = short_training(a, bl_call_count(call, "warm-epochs"));
  bl_network trial = {0};
  bl_float_graph *graph;
  double fewest, most;
  uint32_t copies;
  char name[48];
  BL_TRY(read_extremes(call, &fewest, &most, err));
  if (training.epochs == 0) return BL_OK;
  bl_network_say(network, "warm-up: %llu epochs at w%.0fa%.0f", (unsigned long long)training.epochs,
                 fewest, most);
  bl_status status = open_trial(network, &trial, err);
  (void)snprintf(name, sizeof name, "%s-warm", a->pass);
  trial.pass = name;
  trial.quantised = true;
  trial.quantise = (bl_quantise_options){.weight_bits = (unsigned)fewest,
                                         .activation_bits = (unsigned)most,
                                         .skip_bits = (unsigned)bl_call_count(call, "skip-bits"),
                                         .range = BL_RANGE_MSE,
                                         .part_channels = network->device.config->cols};
  if (status == BL_OK && trial.quantise.skip_bits > 0)
    status = bl_rewrite_skips(trial.graph, &copies, err);
  if (status == BL_OK) status = bl_network_train(&trial, &training, err);
  if (status == BL_OK) status = bl_network_free_weights(&trial, err);
  if (status == BL_OK) status = bl_float_copy(trial.graph, 0, &graph, err);
  if (status == BL_OK) bl_network_replace(network, graph);
  bl_network_close(&trial);
  return status;
}

// ---- Plans

// What a plan is worth: its cycles and bytes, and the loss that a short training of it ends with.
static bl_status judge(void *context, const bl_search_plan *plan, bl_search_result *result,
                       bl_error *err) {
  automatic *a = context;
  const bl_network *n = a->searching.network;
  bl_network trial = {0};
  bl_train_data samples = *n->data.training;
  bl_training training = short_training(a, PROBE_EPOCHS);
  BL_TRY(bl_candidate_evaluate(a->searching.candidates, plan, result, err));
  if (a->probe == 0 || !isfinite(result->cycles)) return BL_OK;
  if (a->probe < samples.count) samples.count = (size_t)a->probe;
  training.loss_reached = &result->loss;
  bl_status status = open_trial(n, &trial, err);
  trial.folder = NULL;
  trial.threads = 1;
  trial.data.training = &samples;
  trial.data.calibration = &a->searching.calibration;
  if (status == BL_OK) status = bl_searching_take_plan(&a->searching, plan, &trial, err);
  if (status == BL_OK) status = bl_network_train(&trial, &training, err);
  bl_network_close(&trial);
  return status;
}

// The front of all that the search has judged, from the least cycles (or bytes) on.
static bl_status list_plans(automatic *a, bl_error *err) {
  const bl_searching *s = &a->searching;
  const bl_search_options *o = &s->options;
  uint32_t count;
  const bl_pool_entry *entries = bl_pool_entries(s->pool, &count);
  double loss = INFINITY;
  a->plans = bl_arena_alloc(s->arena, count, sizeof *a->plans);
  if (a->plans == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for plans");
  for (;;) {
    const bl_pool_entry *next = NULL;
    for (uint32_t k = 0; k < count; k++) {
      const bl_search_result *r = &entries[k].result;
      if (!(r->loss < loss) || bl_search_excess(r, &o->limits) > 0) continue;
      const double more = next == NULL ? -1
                                       : bl_search_criterion(r, o->axis) -
                                             bl_search_criterion(&next->result, o->axis);
      if (more < 0 || (more == 0 && r->loss < next->result.loss)) next = &entries[k];
    }
    if (next == NULL) return BL_OK;
    loss = next->result.loss;
    a->plans[a->count++] = next->choice;
    bl_network_say(s->network, "plan %u: %.0f cycles, %.0f bytes, loss %.4f", (unsigned)a->count,
                   next->result.cycles, next->result.bytes, loss);
  }
}

static bl_status make_plans(automatic *a, bl_error *err) {
  bl_searching *s = &a->searching;
  bl_search_outcome outcome;
  s->options.rounds = a->rounds;
  BL_TRY(bl_search(s->candidates, &s->space, s->pool, &s->options, s->arena, &outcome, err));
  BL_TRY(list_plans(a, err));
  if (a->count > 0) return BL_OK;
  return bl_fail(err, BL_ERR_RANGE, "no plan meets max-cycles and max-bytes");
}

// ---- Trials

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
  bl_status status = bl_searching_take(&a->searching, a->plans[at], trial, err);
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
  BL_TRY(bl_searching_take(&a->searching, a->plans[at], n, err));
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

static bl_status find_goal(automatic *a, const bl_network *n, const bl_call *call, bl_error *err) {
  bl_network whole = *n;
  bl_stage_figures figures = {.pass = ""};
  const double least = bl_call_number(call, "accuracy");
  if (n->data.held_out == NULL || !n->data.held_out->has_labels)
    return bl_fail(err, BL_ERR_USAGE, "needs labelled samples to train on and to judge by");
  whole.quantised = false;
  BL_TRY(bl_network_measure(&whole, &figures, err));
  const double reached = (double)figures.correct / (double)figures.samples;
  a->goal = least > 0 ? least / 100 : reached - bl_call_number(call, "max-drop") / 100;
  bl_network_say(n, "goal: %.2f %% (float: %.2f %%)", 100 * a->goal, 100 * reached);
  return BL_OK;
}

static bl_status automate(automatic *a, bl_error *err) {
  uint32_t found = 0;
  BL_TRY(make_plans(a, err));
  BL_TRY(find_plan(a, &found, err));
  return train_in_full(a, found, err);
}

static void read_call(automatic *a, const bl_call *call) {
  a->training.batch = (uint32_t)bl_call_count(call, "batch");
  a->training.bf16 = bl_call_choice(call, "precision") == 1;
  a->training.rate = bl_call_number(call, "lr");
  a->training.relative = true;
  a->training.optimiser.clip = 1;
  a->training.temperature = 2;
  a->training.augment = (bl_augment){.flip = bl_call_flag(call, "flip"),
                                     .shift = (uint32_t)bl_call_count(call, "shift")};
  a->training.freeze_statistics = bl_call_number(call, "freeze-statistics");
  a->training.teacher_weight = bl_call_number(call, "teacher-weight");
  a->epochs = bl_call_count(call, "epochs");
  a->trial_epochs = bl_call_count(call, "trial-epochs");
  a->rounds = (uint32_t)bl_call_count(call, "rounds");
  a->probe = bl_call_count(call, "probe-samples");
  a->margin = bl_call_number(call, "margin") / 100;
}

// What the loss of a short training depends on, beside what a search's results do.
static void describe(const automatic *a, uint64_t seed, char *text, size_t size) {
  const bl_training t = short_training(a, PROBE_EPOCHS);
  const uint32_t teacher = t.teacher == NULL ? 0 : bl_float_digest(t.teacher);
  (void)snprintf(text, size, "%llu %u %d %.17g %d %08x %.17g %llu", (unsigned long long)a->probe,
                 (unsigned)t.batch, t.bf16 && bl_train_has_bf16(), t.rate, t.augment.flip,
                 (unsigned)teacher, t.teacher_weight, (unsigned long long)seed);
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  automatic a = {.pass = network->pass, .training = bl_training_defaults(network)};
  bl_float_graph *other;
  char settings[160];
  const bl_judge trained = {judge, &a, settings};
  if (network->pruning != NULL)
    return bl_fail(err, BL_ERR_USAGE, "takes no gradual pruning: prune at once, or train first");
  if (network->data.training == NULL || !network->data.training->has_labels)
    return bl_fail(err, BL_ERR_USAGE, "needs labelled samples to train on and to judge by");
  BL_TRY(bl_training_teacher(&a.training, bl_call_text(call, "teacher"), &other, err));
  read_call(&a, call);
  describe(&a, network->seed, settings, sizeof settings);
  const bl_training brief = short_training(&a, 0);
  bl_status status = bl_training_answers(&brief, network->data.training, &a.answers, err);
  if (bl_answers_fit(&a.training.augment)) a.training.answers = a.answers;
  if (status == BL_OK) status = find_goal(&a, network, call, err);
  if (status == BL_OK) status = warm_up(&a, network, call, err);
  if (status == BL_OK) status = bl_searching_open(network, call, &trained, &a.searching, err);
  if (status == BL_OK) status = automate(&a, err);
  bl_searching_close(&a.searching);
  bl_answers_close(a.answers);
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
