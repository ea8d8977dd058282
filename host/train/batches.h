// SPDX-License-Identifier: Apache-2.0
// Training data in memory, mini-batches in a permutation of their own every epoch, and
// augmentation. Everything drawn is a function of (seed, epoch, sample).
#ifndef BITLOOM_HOST_TRAIN_BATCHES_H
#define BITLOOM_HOST_TRAIN_BATCHES_H

#include "host/data/dataset.h"

typedef struct {
  float *values;   // count x elements, preprocessed, in the network's order of axes
  int64_t *labels; // where has_labels
  size_t count, elements;
  bool has_labels, rows_last; // rows_last: channel, row, column; else row, column, channel
  bl_sample_shape shape;
  float black[BL_PREPROCESS_MAX_CHANNELS]; // a stored 0 of each channel, what shifts bring in
  uint32_t black_count;                    // 1 for all channels alike
} bl_train_data;

// Horizontal flips of half of the samples; shifts by -shift..shift rows and columns, black coming
// in (the random crop of a padded image); a black square of that side somewhere, parts of it
// outside (Cutout, DeVries and Taylor 2017); a batch mixed with itself the other way round, sample
// and loss in parts of r and 1 - r, r drawn from 0..1 (mixup, Zhang et al. 2018, with alpha 1).
typedef struct {
  bool flip, mixup;
  uint32_t shift, cutout; // pixels; 0: none
} bl_augment;

// Reads a whole data set. `order`: the network's (NCHW or NHWC); outputs: the network's, whose
// classes labels must be of; 0: any. Errors: MEMORY beyond 2 GiB, RANGE for labels and for values
// that are not finite.
BL_MUST_USE bl_status bl_train_data_load(const bl_dataset *dataset, const bl_preprocess *preprocess,
                                         bl_layout order, size_t outputs, bl_train_data *data,
                                         bl_error *err);
void bl_train_data_free(bl_train_data *data);
// The order of an epoch: order[count].
void bl_train_order(const bl_train_data *data, uint64_t seed, uint64_t epoch, uint32_t *order);
// Sample `index` as this epoch sees it, not mixed; augment may be NULL.
void bl_train_sample(const bl_train_data *data, const bl_augment *augment, uint64_t seed,
                     uint64_t epoch, size_t index, float *out);
// Is it the mirror image that this epoch sees of sample `index`?
bool bl_train_flipped(const bl_augment *augment, uint64_t seed, uint64_t epoch, size_t index);
// Mixes samples[count][elements]: k keeps the part that is returned, the rest is count - 1 - k.
double bl_train_mix(float *samples, size_t count, size_t elements, uint64_t seed, uint64_t epoch,
                    uint64_t step);

#endif
