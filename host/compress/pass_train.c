// SPDX-License-Identifier: Apache-2.0
// Training, fine-tuning, distillation from the network's own outputs.
#include <string.h>

#include "host/compress/passes.h"
#include "host/compress/training.h"
#include "host/onnx/onnx_import.h"

static const bl_recipe_param params[] = {
    {.name = "epochs",
     .kind = BL_PARAM_COUNT,
     .initial = "10",
     .lowest = 0,
     .highest = 1e6,
     .help = "times over the data; 0: only what comes in the end, such as reestimate"},
    BL_PARAM_ROW_BATCH,
    {.name = "loss",
     .kind = BL_PARAM_CHOICE,
     .initial = "cross-entropy",
     .choices = "cross-entropy|squared|binary",
     .help = "what is minimised"},
    {.name = "optimizer",
     .kind = BL_PARAM_CHOICE,
     .initial = "adamw",
     .choices = "sgd|adamw",
     .help = "SGD with momentum, or AdamW"},
    {.name = "lr",
     .kind = BL_PARAM_NUMBER,
     .initial = "1e-4",
     .lowest = 1e-12,
     .highest = 1e3,
     .help = "learning rate"},
    {.name = "relative-rate",
     .kind = BL_PARAM_FLAG,
     .initial = "false",
     .help = "lr is for numbers of size 1; each layer's rate is that times their root mean square"},
    {.name = "momentum",
     .kind = BL_PARAM_NUMBER,
     .initial = "0.9",
     .highest = 0.9999,
     .help = "of sgd"},
    {.name = "weight-decay",
     .kind = BL_PARAM_NUMBER,
     .initial = "1e-4",
     .highest = 1,
     .help = "of weights, not of biases and batch norms"},
    {.name = "clip",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1e9,
     .help = "largest norm of the gradient; 0: any"},
    {.name = "schedule",
     .kind = BL_PARAM_CHOICE,
     .initial = "cosine",
     .choices = "constant|step|cosine",
     .help = "learning rate over time; step: a tenth after each third"},
    {.name = "warm-up",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1e6,
     .help = "epochs of linear warm-up"},
    BL_PARAM_ROW_FLIP,
    BL_PARAM_ROW_SHIFT,
    {.name = "cutout",
     .kind = BL_PARAM_COUNT,
     .initial = "0",
     .highest = 64,
     .help = "black squares of so many pixels somewhere"},
    {.name = "teacher",
     .kind = BL_PARAM_TEXT,
     .initial = "original",
     .help = "original (the network as it came), none, or an ONNX file"},
    {.name = "temperature",
     .kind = BL_PARAM_NUMBER,
     .initial = "4",
     .lowest = 0.01,
     .highest = 1000,
     .help = "of the teacher's soft labels"},
    {.name = "teacher-weight",
     .kind = BL_PARAM_NUMBER,
     .initial = "0.9",
     .highest = 1,
     .help = "of the teacher's part in the loss; 1 needs no labels"},
    {.name = "distil",
     .kind = BL_PARAM_CHOICE,
     .initial = "logits",
     .choices = "logits|hint|attention|relation",
     .help = "what else is learned from the teacher: inner values, attention, relations"},
    {.name = "distil-weight",
     .kind = BL_PARAM_NUMBER,
     .initial = "1",
     .highest = 1e9,
     .help = "of that"},
    {.name = "distil-layers",
     .kind = BL_PARAM_TEXT,
     .help = "S:T,S:T of student and teacher; by default those of equal image sizes"},
    {.name = "smoothing",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 0.9,
     .help = "of labels"},
    {.name = "slimming",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1,
     .help = "pull batch norms' gammas to 0, for prune-channels by gamma"},
    {.name = "sign",
     .kind = BL_PARAM_CHOICE,
     .initial = "clip",
     .choices = "clip|polynomial|tanh",
     .help = "slope of 1-bit numbers; tanh gets steeper with time"},
    {.name = "ternary",
     .kind = BL_PARAM_FLAG,
     .initial = "false",
     .help = "2-bit weights by thresholds (TWN) instead of learned steps"},
    {.name = "pact",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1e6,
     .help = "learn clips of activations instead of steps, with this decay"},
    {.name = "regulariser",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1e6,
     .help = "pull weights to their integers, by so much in the end"},
    {.name = "weights-from",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 0.99,
     .help = "quantise weights behind this part of the training only"},
    {.name = "freeze-steps",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1,
     .help = "steps stay from this part of the training on; 0: they learn"},
    {.name = "average",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 0.999999,
     .help = "take the parameters' average of this decay in the end; 0: the last ones"},
    {.name = "reestimate",
     .kind = BL_PARAM_COUNT,
     .initial = "0",
     .highest = 1e9,
     .help = "batches that batch norms' statistics come from in the end; 0: as they are"},
    {.name = "freeze-statistics",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .highest = 1,
     .help = "batch norms keep their statistics from this part of the training on; 0: never"},
    {.name = "fixed-statistics",
     .kind = BL_PARAM_FLAG,
     .initial = "false",
     .help = "batch norms keep their statistics"},
};

static bl_training read_call(const bl_network *network, const bl_call *call) {
  bl_training t = bl_training_defaults(network);
  t.epochs = bl_call_count(call, "epochs");
  t.batch = (uint32_t)bl_call_count(call, "batch");
  t.loss = (bl_loss_kind)bl_call_choice(call, "loss");
  t.optimiser = bl_optimiser_defaults((bl_optimiser_kind)bl_call_choice(call, "optimizer"));
  t.optimiser.momentum = bl_call_number(call, "momentum");
  t.optimiser.decay = bl_call_number(call, "weight-decay");
  t.optimiser.clip = bl_call_number(call, "clip");
  t.rate = bl_call_number(call, "lr");
  t.relative = bl_call_flag(call, "relative-rate");
  t.schedule = (bl_schedule_kind)bl_call_choice(call, "schedule");
  t.warm_up = bl_call_number(call, "warm-up");
  t.augment = (bl_augment){.flip = bl_call_flag(call, "flip"),
                           .shift = (uint32_t)bl_call_count(call, "shift"),
                           .cutout = (uint32_t)bl_call_count(call, "cutout")};
  t.temperature = bl_call_number(call, "temperature");
  t.teacher_weight = bl_call_number(call, "teacher-weight");
  const int distil = bl_call_choice(call, "distil");
  t.inner = distil > 0;
  t.distil = (bl_distil_options){.kind = (bl_distil_kind)(distil - (distil > 0)),
                                 .weight = bl_call_number(call, "distil-weight"),
                                 .layers = bl_call_text(call, "distil-layers")};
  t.average = bl_call_number(call, "average");
  t.reestimate = bl_call_count(call, "reestimate");
  t.freeze_statistics = bl_call_number(call, "freeze-statistics");
  t.smoothing = bl_call_number(call, "smoothing");
  t.slimming = bl_call_number(call, "slimming");
  t.aware = (bl_quant_aware_options){.sign = (bl_sign_slope)bl_call_choice(call, "sign"),
                                     .ternary = bl_call_flag(call, "ternary"),
                                     .clip_decay = bl_call_number(call, "pact"),
                                     .regulariser = bl_call_number(call, "regulariser"),
                                     .weights_from = bl_call_number(call, "weights-from"),
                                     .freeze_from = bl_call_number(call, "freeze-steps")};
  t.fixed_statistics = bl_call_flag(call, "fixed-statistics");
  return t;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  const char *teacher = bl_call_text(call, "teacher");
  bl_training training = read_call(network, call);
  bl_float_graph *other = NULL;
  if (strcmp(teacher, "none") == 0) {
    training.teacher = NULL;
  } else if (strcmp(teacher, "original") != 0) {
    const bl_onnx_options one = {.batch = 1, .rebatch = true};
    BL_TRY(bl_onnx_import(teacher, &one, &other, err));
    training.teacher = other;
  }
  const bl_status status = bl_network_train(network, &training, err);
  bl_float_graph_free(other);
  return status;
}

const bl_recipe_pass BL_PASS_TRAIN = {
    .name = "train",
    .summary = "train further, with the rounding of the bits that `quantise` has said",
    .source = "Hinton et al. 2015, Distilling the Knowledge; Esser et al. 2020, Learned Step Size",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
