// SPDX-License-Identifier: Apache-2.0
// Mutual learning (Zhang et al. 2018, Deep Mutual Learning): two networks learn at the same time,
// each from the labels and from what the other says.
#ifndef BITLOOM_HOST_TRAIN_PEER_H
#define BITLOOM_HOST_TRAIN_PEER_H

#include "host/train/trainer.h"

typedef struct bl_peer bl_peer;

// `net` is the peer, of the same batch, input and outputs as the network that the trainer has. Its
// loss is cross entropy with the labels (where there are any) + weight * KL(other || own); the
// trainer's loss gets weight * KL(peer || own). Optimiser and schedule are those of the peer.
// Check-points hold all of it. Errors: USAGE, MEMORY.
BL_MUST_USE bl_status bl_peer_open(bl_train_net *net, double weight,
                                   const bl_optimiser_options *optimiser,
                                   const bl_schedule *schedule, bl_peer **peer, bl_error *err);
void bl_peer_close(bl_peer *peer);
bl_train_hook bl_peer_hook(bl_peer *peer);

#endif
