// SPDX-License-Identifier: Apache-2.0
// Samples and labels out of arrays.
#include "host/data/dataset.h"

#include <math.h>

static bl_status check_labels(const bl_dataset_source *source, const bl_dataset *dataset,
                              bl_error *err) {
  const bl_array *labels = &dataset->label_file;
  if (!bl_element_is_integer(labels->type) || labels->entry_elements != 1)
    return bl_fail(err, BL_ERR_FORMAT, "%s: labels must be one integer a sample", source->labels);
  if (labels->dims[0] != dataset->images.dims[0])
    return bl_fail(err, BL_ERR_FORMAT, "%s: %u labels, but %s has %u samples", source->labels,
                   (unsigned)labels->dims[0], source->images, (unsigned)dataset->images.dims[0]);
  for (size_t i = 0; i < labels->dims[0]; i++)
    if (bl_array_value(labels, i, 0) < 0)
      return bl_fail(err, BL_ERR_FORMAT, "%s: label %zu is negative", source->labels, i);
  return BL_OK;
}

static bl_status describe_samples(const bl_dataset_source *source, bl_dataset *dataset,
                                  bl_error *err) {
  const bl_array *images = &dataset->images;
  if (images->rank < 2 || images->rank > 4)
    return bl_fail(err, BL_ERR_FORMAT,
                   "%s: %u axes; samples need a count and one to three axes of their own",
                   source->images, (unsigned)images->rank);
  dataset->rank = images->rank - 1;
  for (uint32_t i = 0; i < dataset->rank; i++)
    dataset->dims[i] = images->dims[i + 1];
  dataset->elements = images->entry_elements;
  dataset->planar = images->labels != NULL;
  if (source->skip >= images->dims[0])
    return bl_fail(err, BL_ERR_RANGE, "%s: has %u samples, none left after skipping %zu",
                   source->images, (unsigned)images->dims[0], source->skip);
  dataset->first = source->skip;
  dataset->count = images->dims[0] - source->skip;
  if (source->limit != 0 && source->limit < dataset->count) dataset->count = source->limit;
  return BL_OK;
}

static bl_status open_parts(const bl_dataset_source *source, bl_dataset *dataset, bl_error *err) {
  BL_TRY(bl_array_open(source->images, source->image_array, BL_DATA_LIMIT, &dataset->images, err));
  BL_TRY(describe_samples(source, dataset, err));
  dataset->has_labels = dataset->planar || source->labels != NULL;
  if (source->labels == NULL) return BL_OK;
  BL_TRY(bl_array_open(source->labels, source->label_array, BL_DATA_LIMIT / 4, &dataset->label_file,
                       err));
  return check_labels(source, dataset, err);
}

bl_status bl_dataset_open(const bl_dataset_source *source, bl_dataset *dataset, bl_error *err) {
  *dataset = (bl_dataset){0};
  bl_status status = open_parts(source, dataset, err);
  if (status != BL_OK) bl_dataset_free(dataset);
  return status;
}

void bl_dataset_free(bl_dataset *dataset) {
  bl_array_free(&dataset->images);
  bl_array_free(&dataset->label_file);
  *dataset = (bl_dataset){0};
}

bl_layout bl_dataset_layout(const bl_dataset *dataset, const bl_preprocess *preprocess,
                            bl_layout order) {
  if (dataset->planar) return BL_LAYOUT_NCHW;
  return preprocess->layout == BL_LAYOUT_FILE ? order : preprocess->layout;
}

bl_sample_shape bl_dataset_shape(const bl_dataset *dataset, bl_layout layout) {
  const uint32_t *d = dataset->dims;
  if (dataset->rank == 1) return (bl_sample_shape){1, 1, d[0]};
  if (dataset->rank == 2) return (bl_sample_shape){d[0], d[1], 1};
  if (layout == BL_LAYOUT_NHWC) return (bl_sample_shape){d[0], d[1], d[2]};
  return (bl_sample_shape){d[1], d[2], d[0]};
}

// The axes of a shape without those of size 1, in `order`; returns how many.
static int squeeze(bl_sample_shape shape, bl_layout order, uint32_t axes[3]) {
  uint32_t nchw[3] = {shape.c, shape.h, shape.w}, nhwc[3] = {shape.h, shape.w, shape.c};
  const uint32_t *all = order == BL_LAYOUT_NHWC ? nhwc : nchw;
  int count = 0;
  for (int i = 0; i < 3; i++)
    if (all[i] != 1) axes[count++] = all[i];
  return count;
}

static bool same_shape(bl_sample_shape a, bl_sample_shape b, bl_layout order) {
  if ((uint64_t)a.h * a.w * a.c != (uint64_t)b.h * b.w * b.c) return false;
  uint32_t left[3], right[3];
  int left_count = squeeze(a, order, left), right_count = squeeze(b, order, right);
  if (left_count <= 1 || right_count <= 1) return true;
  if (left_count != right_count) return false;
  for (int i = 0; i < left_count; i++)
    if (left[i] != right[i]) return false;
  return true;
}

bl_status bl_dataset_fits(const bl_dataset *dataset, const bl_preprocess *preprocess,
                          bl_layout order, bl_sample_shape wanted, const char *what,
                          bl_error *err) {
  bl_layout layout = bl_dataset_layout(dataset, preprocess, order);
  bl_sample_shape have = bl_dataset_shape(dataset, layout);
  if (!same_shape(have, wanted, order))
    return bl_fail(err, BL_ERR_FORMAT,
                   "data: samples are %u x %u x %u (h x w x c), but %s takes %u x %u x %u%s",
                   (unsigned)have.h, (unsigned)have.w, (unsigned)have.c, what, (unsigned)wanted.h,
                   (unsigned)wanted.w, (unsigned)wanted.c,
                   dataset->rank == 3 ? "; see --layout" : "");
  if (preprocess->channels != 1 && preprocess->channels != have.c)
    return bl_fail(err, BL_ERR_USAGE, "--mean, --std: %u values for samples of %u channels",
                   (unsigned)preprocess->channels, (unsigned)have.c);
  return BL_OK;
}

typedef struct {
  const bl_dataset *dataset;
  const bl_preprocess *preprocess;
  size_t entry;
} sample_reader;

// Reads plane-wise storage or delivers it: `outer` x `inner` transposed, or plain when same.
static bl_status read_moved(const sample_reader *reader, bl_sample_shape shape, bl_layout from,
                            bl_layout to, double *out, bl_error *err) {
  size_t area = (size_t)shape.h * shape.w, channels = shape.c;
  size_t from_pixel = from == BL_LAYOUT_NHWC ? channels : 1;
  size_t from_channel = from == BL_LAYOUT_NHWC ? 1 : area;
  size_t to_pixel = to == BL_LAYOUT_NHWC ? channels : 1;
  size_t to_channel = to == BL_LAYOUT_NHWC ? 1 : area;
  for (size_t pixel = 0; pixel < area; pixel++)
    for (size_t c = 0; c < channels; c++) {
      double stored = bl_array_value(&reader->dataset->images, reader->entry,
                                     pixel * from_pixel + c * from_channel);
      double value = bl_preprocess_apply(reader->preprocess, (uint32_t)c, stored);
      if (!isfinite(value))
        return bl_fail(err, BL_ERR_RANGE, "data: sample %zu has a value that is not finite",
                       reader->entry);
      out[pixel * to_pixel + c * to_channel] = value;
    }
  return BL_OK;
}

bl_status bl_dataset_read(const bl_dataset *dataset, size_t index, const bl_preprocess *preprocess,
                          bl_layout order, double *out, bl_error *err) {
  if (index >= dataset->count)
    return bl_fail(err, BL_ERR_RANGE, "data: sample %zu of %zu", index, dataset->count);
  bl_layout layout = bl_dataset_layout(dataset, preprocess, order);
  bl_sample_shape shape = bl_dataset_shape(dataset, layout);
  if (preprocess->channels != 1 && preprocess->channels != shape.c)
    return bl_fail(err, BL_ERR_USAGE, "--mean, --std: %u values for samples of %u channels",
                   (unsigned)preprocess->channels, (unsigned)shape.c);
  sample_reader reader = {dataset, preprocess, dataset->first + index};
  return read_moved(&reader, shape, layout, order, out, err);
}

int64_t bl_dataset_label(const bl_dataset *dataset, size_t index) {
  size_t entry = dataset->first + index;
  if (dataset->label_file.data != NULL)
    return (int64_t)bl_array_value(&dataset->label_file, entry, 0);
  return dataset->images.labels[entry * dataset->images.entry_stride];
}
