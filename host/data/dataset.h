// SPDX-License-Identifier: Apache-2.0
// A data set: samples of one shape, with labels or without, delivered preprocessed and in the
// order that the consumer wants. Kept in the file's own type: 10,000 MNIST digits take 7.8 MB.
#ifndef BITLOOM_HOST_DATA_DATASET_H
#define BITLOOM_HOST_DATA_DATASET_H

#include "host/data/array.h"
#include "host/data/preprocess.h"

// Where a data set comes from. Labels come from their own file, or from CIFAR records.
typedef struct {
  const char *images;      // IDX, CIFAR records, NPY or NPZ
  const char *image_array; // name in an NPZ, NULL: the first
  const char *labels;      // one-dimensional integer array in IDX, NPY or NPZ; NULL: none
  const char *label_array; // name in an NPZ, NULL: the first
  size_t skip;             // leave out this many samples at the start
  size_t limit;            // at most this many samples; 0: all
} bl_dataset_source;

typedef struct {
  bl_array images, label_file;
  size_t first, count;     // samples first .. first+count-1 of the file
  uint32_t rank, dims[3];  // of a sample, as in the file: n; h, w; or three axes by layout
  size_t elements;         // of a sample
  bool has_labels, planar; // planar: CIFAR records, always channel, row, column
} bl_dataset;

typedef struct {
  uint32_t h, w, c;
} bl_sample_shape;

// Opens a data set. Errors: as bl_array_open, and FORMAT when the shape is no sample's, the label
// file is not integers or counts differ, RANGE when `skip` leaves nothing. Free with
// bl_dataset_free.
BL_MUST_USE bl_status bl_dataset_open(const bl_dataset_source *source, bl_dataset *dataset,
                                      bl_error *err);
void bl_dataset_free(bl_dataset *dataset);

// Layout of the samples in the file when `preprocess` says one and the consumer wants `order`
// (NCHW or NHWC): FILE becomes `order`. CIFAR records are NCHW whatever it says.
bl_layout bl_dataset_layout(const bl_dataset *dataset, const bl_preprocess *preprocess,
                            bl_layout order);
// Height, width and channels of a sample whose axes are in `layout` (NCHW or NHWC). A vector is
// 1 x 1 x n, a matrix h x w x 1.
bl_sample_shape bl_dataset_shape(const bl_dataset *dataset, bl_layout layout);
// Checks that a sample can stand for one input of a network: the same shape, or the same number of
// values where one of the two is a vector or they differ only in axes of size 1; and that mean and
// std fit the channels. `what` names the network in the message. Errors: FORMAT, USAGE.
BL_MUST_USE bl_status bl_dataset_fits(const bl_dataset *dataset, const bl_preprocess *preprocess,
                                      bl_layout order, bl_sample_shape wanted, const char *what,
                                      bl_error *err);
// Writes sample `index` (< count), preprocessed, to out[elements], in `order`: NCHW gives channel,
// row, column; NHWC gives row, column, channel. Errors: RANGE for a value that is not finite.
BL_MUST_USE bl_status bl_dataset_read(const bl_dataset *dataset, size_t index,
                                      const bl_preprocess *preprocess, bl_layout order, double *out,
                                      bl_error *err);
// Label of sample `index`; only where has_labels.
int64_t bl_dataset_label(const bl_dataset *dataset, size_t index);

#endif
