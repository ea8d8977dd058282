// SPDX-License-Identifier: Apache-2.0
// The average of a network's parameters over the last steps, often better than any of them, and a
// teacher that is never far away (Polyak and Juditsky 1992; Tarvainen and Valpola 2017, Mean
// Teacher).
#ifndef BITLOOM_HOST_TRAIN_AVERAGE_H
#define BITLOOM_HOST_TRAIN_AVERAGE_H

#include "host/train/trainer.h"

typedef struct bl_average bl_average;

// average = d * average + (1 - d) * parameter after each step, d the smaller of `decay` (0..1) and
// (1 + step) / (10 + step), so that the start is soon forgotten. `teacher` (NULL: none), a net of
// the same graph that is not frozen, gets the average after each step: give it to the trainer, too.
// Check-points hold the average. Errors: USAGE, MISMATCH for a teacher of another graph, MEMORY.
BL_MUST_USE bl_status bl_average_open(bl_train_net *net, double decay, bl_train_net *teacher,
                                      bl_average **average, bl_error *err);
void bl_average_close(bl_average *average);
bl_train_hook bl_average_hook(bl_average *average);
// The net's parameters become the average, but for what their masks hold at 0.
void bl_average_take(const bl_average *average);

#endif
