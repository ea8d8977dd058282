// SPDX-License-Identifier: Apache-2.0
// Network Slimming (Liu et al. 2017, arXiv 1708.06519): while a network trains, the absolute values
// of its batch norms' gammas are pulled to 0, by so much for all, so that channels that matter
// little are left with small ones; bl_channels_score_gamma then finds them.
#ifndef BITLOOM_HOST_PRUNE_SLIMMING_H
#define BITLOOM_HOST_PRUNE_SLIMMING_H

#include "host/train/trainer.h"

// A term strength * sum |gamma| of the loss; `strength` must outlive the run: 0 or more, 1e-4 in
// the paper. Errors of its calls: USAGE for a net without batch norms.
bl_train_hook bl_slimming_hook(const double *strength);

#endif
