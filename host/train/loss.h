// SPDX-License-Identifier: Apache-2.0
// Losses. Where a loss is about classes, a single output z stands for two, with the logits 0 and z.
// Each returns the mean over the batch and writes its gradient with respect to what the
// network gives (logits, where there is a distribution). Sums in double.
#ifndef BITLOOM_HOST_TRAIN_LOSS_H
#define BITLOOM_HOST_TRAIN_LOSS_H

#include <stddef.h>
#include <stdint.h>

// samples x classes logits, row-major; labels 0..classes-1; gradient may be NULL.
// L = mean of -sum of target * log softmax(logits), target = (1 - smoothing) * onehot + smoothing /
// classes (Szegedy et al. 2016); dL/dlogit = (softmax - target) / samples.
double bl_loss_cross_entropy(const float *logits, const int64_t *labels, size_t samples,
                             size_t classes, double smoothing, float *gradient);
// L = mean over samples and elements of (y - target)^2.
double bl_loss_squared(const float *y, const float *target, size_t samples, size_t elements,
                       float *gradient);
// L = mean over samples and elements of the cross entropy between target (0..1) and
// sigmoid(logit): max(z, 0) - z*t + log(1 + exp(-|z|)).
double bl_loss_binary(const float *logits, const float *target, size_t samples, size_t elements,
                      float *gradient);
// Hinton, Vinyals and Dean 2015: L = (1 - weight) * cross entropy with the labels + weight * T^2 *
// KL(softmax(teacher / T) || softmax(logits / T)). temperature above 0, weight 0..1; labels may be
// NULL with weight 1.
double bl_loss_distillation(const float *logits, const float *teacher, const int64_t *labels,
                            size_t samples, size_t classes, double temperature, double weight,
                            double smoothing, float *gradient);
// How many samples are of the class that bl_class_of says.
size_t bl_loss_correct(const float *outputs, const int64_t *labels, size_t samples, size_t classes,
                       float border);

#endif
