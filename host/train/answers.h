// SPDX-License-Identifier: Apache-2.0
// What a teacher that stays as it is has answered: its logits to every sample and to that sample's
// mirror image, so that the second time nobody computes them. For trainings whose samples are one
// of the two (bl_answers_fit), and as many of them as have the same samples in the same order and
// the same teacher; processes that fork behind bl_answers_open fill the same memory.
#ifndef BITLOOM_HOST_TRAIN_ANSWERS_H
#define BITLOOM_HOST_TRAIN_ANSWERS_H

#include "host/train/batches.h"

typedef struct bl_answers bl_answers;

// Flips and nothing else.
bool bl_answers_fit(const bl_augment *augment);
// Memory for 2 x samples x outputs numbers. Errors: MEMORY.
BL_MUST_USE bl_status bl_answers_open(size_t samples, size_t outputs, bl_answers **answers,
                                      bl_error *err);
void bl_answers_close(bl_answers *answers);
// The answer to sample `index`, or its mirror image; false: it has not been kept yet.
bool bl_answers_recall(const bl_answers *answers, size_t index, bool flipped, float *logits);
void bl_answers_keep(bl_answers *answers, size_t index, bool flipped, const float *logits);

#endif
