// SPDX-License-Identifier: Apache-2.0
// Fake quantisation: real numbers rounded to the ones that integers stand for, with
// straight-through gradients and learned steps.
//
// LSQ (Esser et al. 2020, Learned Step Size Quantization): with v = x / step + zero,
//   y = (round(clamp(v, lo, hi)) - zero) * step
//   dy/dx = 1 where lo < v < hi, else 0
//   dy/dstep = round(v) - v there, lo - zero below, hi - zero above
// The gradient of a step is multiplied by gradient_scale, 1 / sqrt(elements * hi) in the paper.
// One bit: y = step where x >= 0, else -step; dy/dx = 1 where |x| <= step; dy/dstep = y / step.
// With mean_step the step is the mean magnitude of its elements (XNOR-Net, Rastegari et al. 2016),
// nothing is learned, and dy/dx = 1 where |x| <= 1.
#ifndef BITLOOM_HOST_TRAIN_FAKE_QUANT_H
#define BITLOOM_HOST_TRAIN_FAKE_QUANT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  double lo, hi, zero; // whole numbers
  bool binary, mean_step;
  size_t channels;    // steps: 1, or one a channel
  bool channels_last; // element k belongs to channel k % channels; else to k / (count / channels)
  double gradient_scale;
} bl_fake_quant;

// The same bits as QONNX's Quant and BipolarQuant give; with one step and no zero point, but where
// x / step lies within a part in 2^24 of a half. step[channels] is above 0; y may be x.
void bl_fake_quant_forward(const bl_fake_quant *quant, const float *x, size_t count,
                           const float *step, float *y);
// dx and dstep may be NULL. Sums are in double; the same bits whatever the threads.
void bl_fake_quant_backward(const bl_fake_quant *quant, const float *x, const float *dy,
                            size_t count, const float *step, float *dx, float *dstep);
// Mean magnitude of each channel's elements; 1 for a channel of zeros.
void bl_fake_quant_means(const bl_fake_quant *quant, const float *x, size_t count, float *step);

#endif
