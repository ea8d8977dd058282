// SPDX-License-Identifier: Apache-2.0
#include "host/cli/split.h"

#include "host/cli/data_args.h"
#include "host/train/train_net.h"

enum { CALIBRATION_SAMPLES = 512, HELD_OUT_SAMPLES = 1000 };

bl_status bl_cli_load_samples(const bl_cli_args *args, const bl_dataset_source *source,
                              bl_float_io io, const bl_preprocess *preprocess, size_t outputs,
                              bl_train_data *data, bl_error *err) {
  bl_dataset dataset;
  BL_TRY(bl_dataset_open(source, &dataset, err));
  bl_status status = bl_cli_check_layout(args, &dataset, err);
  if (status == BL_OK) status = bl_float_fits(&dataset, preprocess, &io, err);
  if (status == BL_OK)
    status = bl_train_data_load(&dataset, preprocess, io.order, outputs, data, err);
  bl_dataset_free(&dataset);
  return status;
}

static bl_train_data part_of(const bl_train_data *data, size_t first, size_t count) {
  bl_train_data part = *data;
  part.values += first * data->elements;
  if (part.has_labels) part.labels += first;
  part.count = count;
  return part;
}

bl_status bl_cli_split_open(const bl_cli_args *args, const bl_float_graph *graph,
                            const bl_float_io *io, const bl_preprocess *preprocess,
                            bl_cli_split *split, bl_error *err) {
  const bl_dataset_source data = {args->data,        args->array, args->labels,
                                  args->label_array, args->skip,  args->limit};
  const size_t wanted = args->calib_limit != 0 ? args->calib_limit : CALIBRATION_SAMPLES;
  const bl_dataset_source calib = {
      .images = args->calib, .image_array = args->calib_array, .limit = wanted};
  const size_t outputs = graph->values[bl_train_logits(graph)].count;
  *split = (bl_cli_split){0};
  if (args->calib != NULL) {
    BL_TRY(bl_cli_load_samples(args, &calib, *io, preprocess, 0, &split->calibration, err));
    split->owns_calibration = true;
    split->samples.calibration = &split->calibration;
  }
  if (args->data == NULL) return BL_OK;
  BL_TRY(bl_cli_load_samples(args, &data, *io, preprocess, outputs, &split->all, err));
  const size_t count = split->all.count;
  size_t held = args->hold_out != 0 ? args->hold_out : HELD_OUT_SAMPLES;
  if (args->hold_out == 0 && held > count / 5) held = count / 5;
  if (held >= count)
    return bl_fail(err, BL_ERR_USAGE, "--hold-out %zu leaves none of %zu samples to train on", held,
                   count);
  split->training = part_of(&split->all, 0, count - held);
  split->held_out = part_of(&split->all, count - held, held);
  split->samples.training = &split->training;
  if (held > 0) split->samples.held_out = &split->held_out;
  if (args->calib != NULL) return BL_OK;
  split->calibration = part_of(&split->training, 0, wanted < count - held ? wanted : count - held);
  split->samples.calibration = &split->calibration;
  return BL_OK;
}

void bl_cli_split_close(bl_cli_split *split) {
  if (split->owns_calibration) bl_train_data_free(&split->calibration);
  bl_train_data_free(&split->all);
}
