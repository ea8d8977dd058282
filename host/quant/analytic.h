// SPDX-License-Identifier: Apache-2.0
// What batch normalisation says of activations without any data: behind it a channel is taken as
// normal, of mean beta and deviation gamma (Nagel et al. 2019, arXiv 1906.04721, section 4.2.1).
#ifndef BITLOOM_HOST_QUANT_ANALYTIC_H
#define BITLOOM_HOST_QUANT_ANALYTIC_H

#include "host/quant/lower.h"

// Mean and variance of each output channel of a stage; NULL where nothing is known of them.
typedef struct {
  double *mean, *variance;
} bl_channel_statistics;

// Mean and variance of clamp(x, lo, hi), x normal; in place. lo and hi may be infinite.
void bl_clipped_normal(double lo, double hi, double *mean, double *variance);
// Statistics of every stage, [stage_count] from `arena`; NULL: no memory. Known are stages that end
// in a batch normalisation, element-wise operations behind it, sums and averages of such, taken as
// independent. Largest values over a window are not.
bl_channel_statistics *bl_analytic_statistics(const bl_lowered *lowered, bl_arena *arena);
// Means of what a stage's weights are multiplied with, [columns] of a group as in moments.h,
// borders included, in real units. False where they are not known.
bool bl_analytic_means(const bl_channel_statistics *statistics, const bl_stage *stage,
                       uint32_t group, double *means);

#endif
