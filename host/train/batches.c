// SPDX-License-Identifier: Apache-2.0
#include "host/train/batches.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"
#include "host/graph/class_of.h"

static const size_t DATA_CAP = (size_t)2 << 30;

enum { KEY_ORDER = 1, KEY_FLIP, KEY_ROWS, KEY_COLUMNS, KEY_CENTRE, KEY_MIX };

static bl_status read_all(const bl_dataset *dataset, const bl_preprocess *preprocess,
                          bl_layout order, size_t outputs, bl_train_data *data, double *scratch,
                          bl_error *err) {
  const size_t classes = bl_class_count(outputs);
  for (size_t s = 0; s < data->count; s++) {
    BL_TRY(bl_dataset_read(dataset, s, preprocess, order, scratch, err));
    for (size_t k = 0; k < data->elements; k++)
      data->values[s * data->elements + k] = (float)scratch[k];
    if (!data->has_labels) continue;
    data->labels[s] = bl_dataset_label(dataset, s);
    if (classes > 0 && data->labels[s] >= (int64_t)classes)
      return bl_fail(err, BL_ERR_RANGE, "data: sample %zu has label %lld, the network %zu classes",
                     s, (long long)data->labels[s], classes);
  }
  return BL_OK;
}

bl_status bl_train_data_load(const bl_dataset *dataset, const bl_preprocess *preprocess,
                             bl_layout order, size_t outputs, bl_train_data *data, bl_error *err) {
  *data = (bl_train_data){.count = dataset->count,
                          .elements = dataset->elements,
                          .has_labels = dataset->has_labels,
                          .rows_last = order != BL_LAYOUT_NHWC,
                          .black_count = preprocess->channels};
  data->shape = bl_dataset_shape(dataset, bl_dataset_layout(dataset, preprocess, order));
  for (uint32_t c = 0; c < preprocess->channels; c++)
    data->black[c] = (float)bl_preprocess_apply(preprocess, c, 0);
  if (data->elements == 0 || data->count > DATA_CAP / sizeof(float) / data->elements)
    return bl_fail(err, BL_ERR_MEMORY, "data: %zu samples of %zu values do not fit into 2 GiB",
                   data->count, data->elements);
  data->values = malloc(data->count * data->elements * sizeof *data->values);
  data->labels = calloc(data->count, sizeof *data->labels);
  double *scratch = calloc(data->elements, sizeof *scratch);
  bl_status status =
      data->values == NULL || data->labels == NULL || scratch == NULL
          ? bl_fail(err, BL_ERR_MEMORY, "data: no memory for %zu samples", data->count)
          : read_all(dataset, preprocess, order, outputs, data, scratch, err);
  free(scratch);
  if (status != BL_OK) bl_train_data_free(data);
  return status;
}

void bl_train_data_free(bl_train_data *data) {
  free(data->values);
  free(data->labels);
  *data = (bl_train_data){0};
}

void bl_train_order(const bl_train_data *data, uint64_t seed, uint64_t epoch, uint32_t *order) {
  uint64_t key = bl_random_key(bl_random_key(bl_random_mix(seed), epoch), KEY_ORDER);
  bl_random_permutation(key, order, data->count);
}

// One row of one channel: `pixel` floats from a pixel to the next.
static void copy_row(const float *in, float *out, int64_t width, size_t pixel, bool flip,
                     int64_t shift, float black) {
  for (int64_t x = 0; x < width; x++) {
    int64_t from = (flip ? width - 1 - x : x) + shift;
    out[(size_t)x * pixel] = from >= 0 && from < width ? in[(size_t)from * pixel] : black;
  }
}

// A square around a pixel of the image.
static void cut_out(const bl_train_data *data, int64_t side, uint64_t key, float *out) {
  const bl_sample_shape s = data->shape;
  const size_t pixel = data->rows_last ? 1 : s.c, channel = data->rows_last ? (size_t)s.h * s.w : 1;
  const uint64_t centre = bl_random_below(bl_random_key(key, KEY_CENTRE), (uint64_t)s.h * s.w);
  const int64_t top = (int64_t)(centre / s.w) - side / 2, left = (int64_t)(centre % s.w) - side / 2;
  for (uint32_t c = 0; c < s.c; c++)
    for (int64_t y = top < 0 ? 0 : top; y < top + side && y < s.h; y++)
      for (int64_t x = left < 0 ? 0 : left; x < left + side && x < s.w; x++)
        out[c * channel + ((size_t)y * s.w + (size_t)x) * pixel] =
            data->black[data->black_count == 1 ? 0 : c];
}

static uint64_t sample_key(uint64_t seed, uint64_t epoch, size_t index) {
  return bl_random_key(bl_random_key(bl_random_mix(seed), epoch), 1000 + index);
}

bool bl_train_flipped(const bl_augment *augment, uint64_t seed, uint64_t epoch, size_t index) {
  return augment->flip && (bl_random_key(sample_key(seed, epoch, index), KEY_FLIP) >> 63) != 0;
}

void bl_train_sample(const bl_train_data *data, const bl_augment *augment, uint64_t seed,
                     uint64_t epoch, size_t index, float *out) {
  const float *in = data->values + index * data->elements;
  if (augment == NULL || (!augment->flip && augment->shift == 0 && augment->cutout == 0)) {
    memcpy(out, in, data->elements * sizeof *out);
    return;
  }
  const uint64_t key = sample_key(seed, epoch, index);
  uint64_t span = 2 * (uint64_t)augment->shift + 1;
  const bool flip = bl_train_flipped(augment, seed, epoch, index);
  int64_t rows = (int64_t)bl_random_below(bl_random_key(key, KEY_ROWS), span) - augment->shift;
  int64_t columns =
      (int64_t)bl_random_below(bl_random_key(key, KEY_COLUMNS), span) - augment->shift;
  bl_sample_shape s = data->shape;
  size_t pixel = data->rows_last ? 1 : s.c, channel = data->rows_last ? (size_t)s.h * s.w : 1;
  for (uint32_t c = 0; c < s.c; c++)
    for (int64_t y = 0; y < s.h; y++) {
      float black = data->black[data->black_count == 1 ? 0 : c];
      bool inside = y + rows >= 0 && y + rows < s.h;
      size_t to = c * channel + (size_t)y * s.w * pixel;
      size_t from = inside ? c * channel + (size_t)(y + rows) * s.w * pixel : 0;
      // a row from outside is black: shifted out of sight
      copy_row(in + from, out + to, s.w, pixel, flip, inside ? columns : 2 * (int64_t)s.w, black);
    }
  if (augment->cutout > 0) cut_out(data, augment->cutout, key, out);
}

double bl_train_mix(float *samples, size_t count, size_t elements, uint64_t seed, uint64_t epoch,
                    uint64_t step) {
  const uint64_t key = bl_random_key(bl_random_key(bl_random_mix(seed), epoch), KEY_MIX);
  const double part = bl_random_unit(bl_random_key(key, step));
  const float own = (float)part;
  for (size_t k = 0; k < count / 2; k++) {
    float *a = samples + k * elements, *b = samples + (count - 1 - k) * elements;
    for (size_t i = 0; i < elements; i++) {
      const float x = a[i], y = b[i];
      a[i] = own * x + (1 - own) * y;
      b[i] = own * y + (1 - own) * x;
    }
  }
  return part;
}
