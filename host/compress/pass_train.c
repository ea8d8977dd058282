// SPDX-License-Identifier: Apache-2.0
// Training, fine-tuning, distillation from the network's own outputs.
#include "host/compress/passes.h"
#include "host/compress/training.h"

static const bl_recipe_param params[] = {
    {BL_COUNT("epochs", "10", 0, 1e6,
              "times over the data; 0: only what comes in the end, such as reestimate")},
    BL_PARAM_BATCH,
    BL_PARAM_PRECISION,
    {BL_CHOICE("loss", "cross-entropy", "cross-entropy|squared|binary", "what is minimised")},
    {BL_CHOICE("optimizer", "adamw", "sgd|adamw", "SGD with momentum, or AdamW")},
    {BL_NUMBER("lr", "1e-4", 1e-12, 1e3, "learning rate")},
    {BL_FLAG(
        "relative-rate", "false",
        "lr is for numbers of size 1; each layer's rate is that times their root mean square")},
    {BL_NUMBER("momentum", "0.9", 0, 0.9999, "of sgd")},
    {BL_NUMBER("weight-decay", "1e-4", 0, 1, "of weights, not of biases and batch norms")},
    {BL_NUMBER("clip", "0", 0, 1e9, "largest norm of the gradient; 0: any")},
    {BL_CHOICE("schedule", "cosine", "constant|step|cosine",
               "learning rate over time; step: a tenth after each third")},
    {BL_NUMBER("warm-up", "0", 0, 1e6, "epochs of linear warm-up")},
    BL_PARAM_FLIP,
    BL_PARAM_SHIFT,
    {BL_COUNT("cutout", "0", 0, 64, "black squares of so many pixels somewhere")},
    {BL_FLAG("mixup", "false", "mix each batch with itself the other way round, and its labels")},
    BL_PARAM_TEACHER,
    {BL_NUMBER("temperature", "4", 0.01, 1000, "of the teacher's soft labels")},
    {BL_NUMBER("teacher-weight", "0.9", 0, 1,
               "of the teacher's part in the loss; 1 needs no labels")},
    {BL_CHOICE("distil", "logits", "logits|hint|attention|relation",
               "what else is learned from the teacher: inner values, attention, relations")},
    {BL_NUMBER("distil-weight", "1", 0, 1e9, "of that")},
    {BL_TEXT("distil-layers", NULL,
             "S:T,S:T of student and teacher; by default those of equal image sizes")},
    {BL_NUMBER("smoothing", "0", 0, 0.9, "of labels")},
    {BL_NUMBER("slimming", "0", 0, 1,
               "pull batch norms' gammas to 0, for prune-channels by gamma")},
    {BL_COUNT("ratio-bits", "1", 1, 8,
              "of the ratio of a sum's two scales; 1: a power of two, which stays")},
    {BL_CHOICE("sign", "clip", "clip|polynomial|tanh",
               "slope of 1-bit numbers; tanh gets steeper with time")},
    {BL_FLAG("bipolar", "false", "weights of 2 to 4 bits are odd multiples of a step, none is 0")},
    {BL_FLAG("ternary", "false", "2-bit weights by thresholds (TWN) instead of learned steps")},
    {BL_NUMBER("pact", "0", 0, 1e6,
               "learn clips of activations instead of steps, with this decay")},
    {BL_NUMBER("regulariser", "0", 0, 1e6,
               "pull weights to their integers, by so much in the end")},
    {BL_NUMBER("weights-from", "0", 0, 0.99,
               "quantise weights behind this part of the training only")},
    {BL_NUMBER("freeze-steps", "0", 0, 1,
               "steps stay from this part of the training on; 0: they learn")},
    {BL_NUMBER("freeze-oscillating", "0", 0, 1,
               "weights that flip back in more than this part of the steps stay; 0: none")},
    {BL_NUMBER("average", "0", 0, 0.999999,
               "take the parameters' average of this decay in the end; 0: the last ones")},
    {BL_COUNT("reestimate", "0", 0, 1e9,
              "batches that batch norms' statistics come from in the end; 0: as they are")},
    BL_PARAM_FREEZE_STATISTICS,
    {BL_FLAG("fixed-statistics", "false", "batch norms keep their statistics")},
};

static bl_training read_call(const bl_network *network, const bl_call *call) {
  bl_training t = bl_training_defaults(network);
  t.epochs = bl_call_count(call, "epochs");
  t.batch = (uint32_t)bl_call_count(call, "batch");
  t.bf16 = bl_call_choice(call, "precision") == 1;
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
                           .cutout = (uint32_t)bl_call_count(call, "cutout"),
                           .mixup = bl_call_flag(call, "mixup")};
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
  t.aware =
      (bl_quant_aware_options){.ratio_bits = (unsigned)bl_call_count(call, "ratio-bits"),
                               .sign = (bl_sign_slope)bl_call_choice(call, "sign"),
                               .bipolar = bl_call_flag(call, "bipolar"),
                               .ternary = bl_call_flag(call, "ternary"),
                               .clip_decay = bl_call_number(call, "pact"),
                               .regulariser = bl_call_number(call, "regulariser"),
                               .weights_from = bl_call_number(call, "weights-from"),
                               .freeze_from = bl_call_number(call, "freeze-steps"),
                               .freeze_oscillating = bl_call_number(call, "freeze-oscillating")};
  t.fixed_statistics = bl_call_flag(call, "fixed-statistics");
  return t;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  bl_training training = read_call(network, call);
  bl_float_graph *other;
  BL_TRY(bl_training_teacher(&training, bl_call_text(call, "teacher"), &other, err));
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
