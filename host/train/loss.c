// SPDX-License-Identifier: Apache-2.0
#include "host/train/loss.h"

#include <math.h>

#include "host/graph/class_of.h"

// log of the sum of exp(x / temperature), by the largest so that nothing overflows.
static double log_sum(const float *x, size_t count, double temperature) {
  double top = (double)x[0];
  for (size_t k = 1; k < count; k++)
    top = fmax(top, (double)x[k]);
  double sum = exp(((double)x[0] - top) / temperature);
  for (size_t k = 1; k < count; k++)
    sum += exp(((double)x[k] - top) / temperature);
  return top / temperature + log(sum);
}

// Of one sample; its gradient divided by `samples` is written.
static double entropy(const float *x, int64_t label, size_t classes, double smoothing,
                      double samples, float *gradient) {
  const double part = smoothing / (double)classes, all = log_sum(x, classes, 1);
  double loss = (1 - smoothing) * (all - (double)x[label]);
  for (size_t c = 0; smoothing > 0 && c < classes; c++)
    loss += part * (all - (double)x[c]);
  for (size_t c = 0; gradient != NULL && c < classes; c++) {
    double p = exp((double)x[c] - all), wanted = part + ((int64_t)c == label ? 1 - smoothing : 0);
    gradient[c] = (float)((p - wanted) / samples);
  }
  return loss;
}

double bl_loss_cross_entropy(const float *logits, const int64_t *labels, size_t samples,
                             size_t classes, double smoothing, float *gradient) {
  double loss = 0;
  for (size_t s = 0; s < samples; s++) {
    const float *x = logits + s * classes, pair[2] = {0, x[0]};
    float *g = gradient != NULL ? gradient + s * classes : NULL, both[2];
    if (classes > 1) {
      loss += entropy(x, labels[s], classes, smoothing, (double)samples, g);
      continue;
    }
    loss += entropy(pair, labels[s], 2, smoothing, (double)samples, both);
    if (g != NULL) g[0] = both[1];
  }
  return loss / (double)samples;
}

double bl_loss_squared(const float *y, const float *target, size_t samples, size_t elements,
                       float *gradient) {
  size_t count = samples * elements;
  double loss = 0;
  for (size_t k = 0; k < count; k++) {
    double d = (double)y[k] - (double)target[k];
    loss += d * d;
    if (gradient != NULL) gradient[k] = (float)(2 * d / (double)count);
  }
  return loss / (double)count;
}

double bl_loss_binary(const float *logits, const float *target, size_t samples, size_t elements,
                      float *gradient) {
  size_t count = samples * elements;
  double loss = 0;
  for (size_t k = 0; k < count; k++) {
    double z = (double)logits[k], t = (double)target[k];
    loss += fmax(z, 0) - z * t + log1p(exp(-fabs(z)));
    if (gradient != NULL) gradient[k] = (float)((1 / (1 + exp(-z)) - t) / (double)count);
  }
  return loss / (double)count;
}

// One sample's KL divergence at a temperature; its gradient, times `scale`, is added.
static double divergence(const float *logits, const float *teacher, size_t classes,
                         double temperature, double scale, float *gradient) {
  double all = log_sum(logits, classes, temperature);
  double teacher_all = log_sum(teacher, classes, temperature), sum = 0;
  for (size_t c = 0; c < classes; c++) {
    double log_p = (double)teacher[c] / temperature - teacher_all;
    double log_q = (double)logits[c] / temperature - all, p = exp(log_p);
    sum += p * (log_p - log_q);
    if (gradient != NULL) gradient[c] += (float)(scale * (exp(log_q) - p) / temperature);
  }
  return sum;
}

double bl_loss_distillation(const float *logits, const float *teacher, const int64_t *labels,
                            size_t samples, size_t classes, double temperature, double weight,
                            double smoothing, float *gradient) {
  double hard = 0, soft = 0, square = temperature * temperature;
  if (labels != NULL)
    hard = bl_loss_cross_entropy(logits, labels, samples, classes, smoothing, gradient);
  for (size_t k = 0; gradient != NULL && k < samples * classes; k++)
    gradient[k] = labels != NULL ? gradient[k] * (float)(1 - weight) : 0;
  const double scale = weight * square / (double)samples;
  for (size_t s = 0; s < samples; s++) {
    const float *x = logits + s * classes, *t = teacher + s * classes;
    const float pair[2] = {0, x[0]}, wanted[2] = {0, t[0]};
    float *g = gradient != NULL ? gradient + s * classes : NULL, both[2] = {0};
    if (classes > 1) {
      soft += divergence(x, t, classes, temperature, scale, g);
      continue;
    }
    soft += divergence(pair, wanted, 2, temperature, scale, both);
    if (g != NULL) g[0] += both[1];
  }
  return (1 - weight) * hard + weight * square * soft / (double)samples;
}

size_t bl_loss_correct(const float *outputs, const int64_t *labels, size_t samples, size_t classes,
                       float border) {
  size_t correct = 0;
  for (size_t s = 0; s < samples; s++)
    correct += (int64_t)bl_class_of(outputs + s * classes, classes, border) == labels[s];
  return correct;
}
