// SPDX-License-Identifier: Apache-2.0
// Training a network on its way through a recipe: in float, or, once it is quantised, with the
// rounding of its integers, as the passes before have left it. Zeros that a rule keeps stay zeros,
// values that a rule says are shared stay shared.
#ifndef BITLOOM_HOST_COMPRESS_TRAINING_H
#define BITLOOM_HOST_COMPRESS_TRAINING_H

#include "host/compress/network.h"
#include "host/train/distil.h"
#include "host/train/quant_aware.h"
#include "host/train/trainer.h"

typedef struct {
  uint64_t epochs;
  uint32_t batch;
  bool bf16; // see bl_train_options
  bl_loss_kind loss;
  bl_optimiser_options optimiser;
  bl_schedule_kind schedule;
  double rate, warm_up; // warm_up in epochs
  bool relative;        // see bl_optimiser_relative
  double drop;          // of schedule step: the factor of each of its two drops
  bl_augment augment;
  // The network that is learned from, beside the labels: NULL: none; a graph of batch 1 with the
  // same input and as many outputs.
  const bl_float_graph *teacher;
  bl_answers *answers; // of that teacher to network->data.training, from other trainings; NULL: own
  double temperature, teacher_weight; // the labels' part is 1 - teacher_weight
  double smoothing;                   // of labels
  double slimming;                    // pull of batch norms' gammas to 0
  bool inner;                         // the teacher's inner values, too, by `distil`
  bl_distil_options distil;
  double average;      // decay of the average that is taken in the end; 0: none
  uint64_t reestimate; // batches that batch norms' statistics come from in the end; 0: as they are
  double freeze_statistics; // part of the training behind which batch norms keep theirs; 0: never
  bool fixed_statistics;
  bl_quant_aware_options aware; // its bits and plan are the network's
  double *loss_reached;         // where the last epoch's mean loss goes; NULL: not wanted
} bl_training;

// 10 epochs of 64 by AdamW, cosine from 1e-4, with the original as teacher where there is one.
bl_training bl_training_defaults(const bl_network *network);
// Takes another teacher than the default: "original" leaves it, "none" takes none, else an ONNX
// file, whose graph the caller frees behind the training (*other, else NULL). `training` as
// bl_training_defaults gives it. Errors: those of bl_onnx_import; USAGE where the teacher takes or
// gives other numbers than the original.
BL_MUST_USE bl_status bl_training_teacher(bl_training *training, const char *teacher,
                                          bl_float_graph **other, bl_error *err);
// Memory for what the teacher answers, for trainings on all or the first of the data; NULL where
// none is of use. The caller closes it. Errors: MEMORY.
BL_MUST_USE bl_status bl_training_answers(const bl_training *training, const bl_train_data *data,
                                          bl_answers **answers, bl_error *err);
// Trains network->graph on network->data.training. With a folder, goes on from the check-point that
// it finds there. Quant nodes of an earlier training are taken out first (bl_network_free_weights).
// Errors: USAGE (no data, no labels), those of the trainer; the graph is as it was then.
BL_MUST_USE bl_status bl_network_train(bl_network *network, const bl_training *training,
                                       bl_error *err);

#endif
