// SPDX-License-Identifier: Apache-2.0
// Distillation from more than the teacher's logits: inner values, where it looks, how its samples
// lie to each other; from a peer that learns at the same time; from the student's own average.
//
// Each is a hook of the trainer, beside whatever loss the logits have.
#ifndef BITLOOM_HOST_TRAIN_DISTIL_H
#define BITLOOM_HOST_TRAIN_DISTIL_H

#include "host/train/trainer.h"

// ---- Losses. Student and teacher are samples x channels x pixels, row-major; the gradient of
// weight * loss with respect to the student is added to gradient; returns the loss.

// FitNets (Romero et al. 2015): the mean of (student - teacher)^2, divided by the mean of teacher^2
// in the batch, so that weights do not depend on units. Where channels differ, of
// (R student - teacher)^2 with the linear map R that is best for this batch: R minimises the mean
// plus 1e-3 / channels of the teacher * |R|^2 (divided, too), which is part of the loss, so that R
// needs no gradient (it is at its minimum) and no memory. NAN where there is no memory.
double bl_distil_hint(const float *student, const float *teacher, size_t samples,
                      size_t student_channels, size_t teacher_channels, size_t pixels,
                      double weight, float *gradient);
// Attention (Zagoruyko and Komodakis 2017): Q = sum of squares over channels, divided by its norm
// over the pixels; the loss is the mean over samples of |Q_student - Q_teacher|^2. A sample whose
// map is 0 has no gradient.
double bl_distil_attention(const float *student, const float *teacher, size_t samples,
                           size_t student_channels, size_t teacher_channels, size_t pixels,
                           double weight, float *gradient);
// Relations (RKD, Park et al. 2019): D + 2 A. D: the mean over pairs of huber(d_student -
// d_teacher), d the distance divided by the mean distance of the batch. A: the mean over i, j, k of
// huber(cos_student - cos_teacher) of the angle at j. huber(x) = x^2 / 2 up to 1, |x| - 1/2 beyond.
// Samples are vectors of that many elements. NAN where there is no memory.
double bl_distil_relation(const float *student, const float *teacher, size_t samples,
                          size_t student_elements, size_t teacher_elements, double weight,
                          float *gradient);

// ---- From a teacher's inner values

typedef enum { BL_DISTIL_HINT, BL_DISTIL_ATTENTION, BL_DISTIL_RELATION } bl_distil_kind;

typedef struct {
  bl_distil_kind kind;
  double weight;      // of the sum over pairs, beside the loss of the logits
  const char *layers; // "S:T,S:T": nodes or values of student and teacher; NULL: hint and
                      // attention: the last value of each image size that both have; relation, and
                      // where there are no images: what the last layer with weights reads
} bl_distil_options;

typedef struct bl_distil bl_distil;

// Errors: USAGE names the layer that is not there, or shapes that do not go together; MEMORY.
BL_MUST_USE bl_status bl_distil_open(const bl_float_graph *student, const bl_float_graph *teacher,
                                     const bl_distil_options *options, bl_distil **distil,
                                     bl_error *err);
void bl_distil_close(bl_distil *distil);
// Outputs for bl_train_options of both nets: logits first, then inner values.
const int32_t *bl_distil_outputs(const bl_distil *distil, bool teacher, uint32_t *count);
// For bl_trainer_options; `teacher` is the trainer's.
bl_train_hook bl_distil_hook(bl_distil *distil, bl_train_net *teacher);

#endif
