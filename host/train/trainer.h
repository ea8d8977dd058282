// SPDX-License-Identifier: Apache-2.0
// Training: epochs of mini-batches, a loss, an optimiser, a schedule, check-points.
//
// An epoch goes once over the data in a permutation of its own, in batches of the graph's batch;
// what is left over at its end (less than a batch, other samples every epoch) is left out.
// A run that was stopped anywhere and resumed from its check-point ends with the same bits as one
// that was not: everything drawn is a function of (seed, epoch, sample), and the check-point holds
// weights, running statistics, the optimiser's memory, and the place in the epoch.
#ifndef BITLOOM_HOST_TRAIN_TRAINER_H
#define BITLOOM_HOST_TRAIN_TRAINER_H

#include "host/train/answers.h"
#include "host/train/optimiser.h"

typedef enum { BL_LOSS_CROSS_ENTROPY, BL_LOSS_SQUARED, BL_LOSS_BINARY } bl_loss_kind;

// Where a run is. Loss and accuracy are those of the epoch so far; accuracy is below 0 where there
// are no labels.
typedef struct {
  uint64_t epoch, epochs; // epoch 0, 1, ...
  uint64_t step, steps;   // done in this epoch, of
  double loss, accuracy, rate;
  double test_loss, test_accuracy; // after the last step of an epoch; below 0: not measured
  double seconds_left;
} bl_train_progress;

// Called after every step; false stops the run after a check-point, where one is written.
typedef bool (*bl_train_watch)(void *user, const bl_train_progress *progress);

typedef struct {
  const float *samples;  // of this batch, as the network gets them
  const int64_t *labels; // NULL where there are none
  const int64_t *mixed;  // of what is mixed in, see bl_augment; NULL: nothing is
  double part;           // of the loss that counts with `labels`; the rest with `mixed`
  const float *teacher;  // the teacher's logits; NULL without one
  size_t count;
} bl_train_batch;

// Something that goes on beside the steps: a schedule, a constraint, a term of the gradient. Calls
// get the number of the step counted over all epochs, and how many there are.
typedef bl_status (*bl_train_call)(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                                   bl_error *err);
typedef struct {
  void *user;
  bl_train_call before; // the step's forward; NULL
  // adds a term to the loss, and writes the gradients of the outputs that it compares; NULL
  bl_status (*loss)(void *user, bl_train_net *net, const bl_train_batch *batch, double *loss,
                    bl_error *err);
  bl_train_call gradients; // behind its backward, which may be changed; NULL
  bl_train_call after;     // the optimiser's step; NULL
  // memory for check-points: array `k` of `*count` floats, NULL behind the last; NULL: none
  float *(*state)(void *user, uint32_t k, size_t *count);
  uint64_t key; // of its options: check-points of others are refused
} bl_train_hook;

typedef struct {
  uint64_t epochs, seed;
  bl_loss_kind
      loss; // squared and binary: against one-hot labels; squared without labels: the input
  bl_optimiser_options optimiser;
  bl_schedule schedule; // in steps; bl_trainer_steps gives an epoch's
  bl_augment augment;
  bl_train_net *teacher; // NULL, or a frozen net of the same batch, input and output
  bl_answers *answers;   // NULL, or what the teacher has answered, where its logits are all that
                         // is looked at and it stays as it is; needs bl_answers_fit(&augment)
  double temperature, teacher_weight;
  double smoothing;           // of labels for cross entropy (Szegedy et al. 2016), 0..1
  double freeze_statistics;   // part of all steps behind which batch norms keep theirs; 0: never
  const bl_train_hook *hooks; // in order
  uint32_t hook_count;
  const char *checkpoint;    // file; NULL: none
  uint64_t checkpoint_steps; // steps between check-points within an epoch; 0: at its end only
} bl_trainer_options;

typedef struct {
  double loss, accuracy, rate, test_loss, test_accuracy;
} bl_train_record;

typedef struct bl_trainer bl_trainer;

uint64_t bl_trainer_steps(size_t samples, size_t batch);

// The losses work on the net's output 0. All arguments must outlive the trainer. `test` may be
// NULL. Errors: USAGE for data that do not fill a batch or lack labels, MEMORY.
BL_MUST_USE bl_status bl_trainer_open(bl_train_net *net, const bl_train_data *data,
                                      const bl_train_data *test, const bl_trainer_options *options,
                                      bl_trainer **trainer, bl_error *err);
void bl_trainer_close(bl_trainer *trainer);
// Continues from a check-point instead of from the start. Errors: IO, FORMAT for a file that is
// broken or not a check-point, USAGE for one of another network, other options or other data.
BL_MUST_USE bl_status bl_trainer_resume(bl_trainer *trainer, const char *path, bl_error *err);
// Trains to the last epoch. Errors: RANGE, naming epoch, step and layer, where loss or gradient is
// not finite; IO of check-points; those of the net. The last check-point is intact then.
BL_MUST_USE bl_status bl_trainer_run(bl_trainer *trainer, bl_train_watch watch, void *user,
                                     bl_error *err);
// Writes the state of now. Errors: IO.
BL_MUST_USE bl_status bl_trainer_save(const bl_trainer *trainer, const char *path, bl_error *err);
// What each finished epoch gave, those before a resume included.
const bl_train_record *bl_trainer_history(const bl_trainer *trainer, uint64_t *count);

// Loss (cross entropy, or squared where `loss` says so) and accuracy of a net as it is; accuracy
// below 0 without labels. Errors: those of the net.
BL_MUST_USE bl_status bl_train_evaluate(bl_train_net *net, const bl_train_data *data,
                                        bl_loss_kind loss, double *mean, double *accuracy,
                                        bl_error *err);

#endif
