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
// nothing is learned, and dy/dx = 1 where |x| <= 1. Other slopes of the sign, with u = x / step:
//   polynomial: dy/dx = 2 - 2|u| where |u| < 1 (Bi-Real Net, Liu et al. 2018); data only
//   tanh: dy/dx = k t (1 - tanh(t u)^2), k = max(1 / t, 1) (IR-Net, Qin et al. 2020); t rises from
//   0.1 to 10 in training, so that first everything moves and in the end what is near its threshold
// Levels (a codebook): y = step * the level nearest to v, of two as near the one nearer to 0;
//   dy/dx = 1 between the outer levels; dy/dstep = level - v there, the outer level beyond.
// Ternary weights (TWN, Li and Liu 2016): with D = 0.7 mean |x|, the step is the mean of |x| above
//   D, y = step sign(x) there and 0 elsewhere; dy/dx = 1 where |x| <= 1; nothing is learned.
// PACT (Choi et al. 2018): dy/dstep is 0 inside; the clip hi * step has a decay of its own.
#ifndef BITLOOM_HOST_TRAIN_FAKE_QUANT_H
#define BITLOOM_HOST_TRAIN_FAKE_QUANT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { BL_SIGN_CLIP, BL_SIGN_POLYNOMIAL, BL_SIGN_TANH } bl_sign_slope;

typedef struct {
  double lo, hi, zero; // whole numbers, or the outer levels
  bool binary, mean_step;
  bool ternary;         // with mean_step: TWN
  bl_sign_slope sign;   // of binary
  double sharpness;     // t of tanh
  const double *levels; // ascending; NULL: whole numbers
  size_t level_count;
  const double *channel_hi; // weights: the hi of each channel, -lo too; NULL: all the same
  bool pact;
  double decay;       // of PACT's clip: the loss has decay * (hi * step)^2
  double regulariser; // the loss has regulariser * sum of (x - y)^2 (backward only)
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
// What the regulariser adds to dx: the gradient of its term with y held.
void bl_fake_quant_pull(const bl_fake_quant *quant, const float *x, size_t count, const float *step,
                        float *dx);
// With mean_step, the step of each channel's elements; 1 for a channel of zeros.
void bl_fake_quant_means(const bl_fake_quant *quant, const float *x, size_t count, float *step);

#endif
