// SPDX-License-Identifier: Apache-2.0
// --data and --calib as samples in memory: to calibrate on, to train on, and held out for figures
// and choices.
#ifndef BITLOOM_HOST_CLI_SPLIT_H
#define BITLOOM_HOST_CLI_SPLIT_H

#include "host/cli/args.h"
#include "host/compress/network.h"
#include "host/run/float_run.h"

typedef struct {
  bl_train_data all, training, held_out; // the last two are parts of `all`
  bl_train_data calibration;
  bool owns_calibration;   // it is no part
  bl_network_data samples; // NULL where there are none
} bl_cli_split;

// All samples of a source; labels, where there are any, must be classes of `outputs` (0: any).
// Errors: those of the data.
BL_MUST_USE bl_status bl_cli_load_samples(const bl_cli_args *args, const bl_dataset_source *source,
                                          bl_float_io io, const bl_preprocess *preprocess,
                                          size_t outputs, bl_train_data *data, bl_error *err);

// The last samples of --data are held out; the first ones calibrate where --calib is not given.
// `split` must not move while open; it is to be closed also on failure. Errors: USAGE, those of the
// data.
BL_MUST_USE bl_status bl_cli_split_open(const bl_cli_args *args, const bl_float_graph *graph,
                                        const bl_float_io *io, const bl_preprocess *preprocess,
                                        bl_cli_split *split, bl_error *err);
void bl_cli_split_close(bl_cli_split *split);

#endif
