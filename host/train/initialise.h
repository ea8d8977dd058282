// SPDX-License-Identifier: Apache-2.0
// Fresh weights.
#ifndef BITLOOM_HOST_TRAIN_INITIALISE_H
#define BITLOOM_HOST_TRAIN_INITIALISE_H

#include "host/train/train_net.h"

// HE (He et al. 2015): normal, variance 2/fan_in, for what rectifiers follow. GLOROT (Glorot and
// Bengio 2010): uniform, +-sqrt(6/(fan_in + fan_out)).
typedef enum { BL_INITIALISE_HE, BL_INITIALISE_GLOROT } bl_initialise_kind;

// Weights by `kind`; biases and running means 0, scales and running variances 1; numbers that
// transforms learn stay. A function of seed, position and nothing else.
void bl_train_initialise(bl_train_net *net, bl_initialise_kind kind, uint64_t seed);

#endif
