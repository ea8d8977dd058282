// SPDX-License-Identifier: Apache-2.0
// What the data options of a command line say.
#ifndef BITLOOM_HOST_CLI_DATA_ARGS_H
#define BITLOOM_HOST_CLI_DATA_ARGS_H

#include "host/cli/args.h"
#include "host/data/dataset.h"

// Replaces what the command line says of `preprocess`. Errors: USAGE.
BL_MUST_USE bl_status bl_cli_preprocess(const bl_cli_args *args, bl_preprocess *preprocess,
                                        bl_error *err);
// Errors: USAGE where --layout contradicts what the data set's format fixes.
BL_MUST_USE bl_status bl_cli_check_layout(const bl_cli_args *args, const bl_dataset *dataset,
                                          bl_error *err);
// Opens --data with --labels, --skip and --limit. Errors: USAGE without --data, bl_dataset_open's.
BL_MUST_USE bl_status bl_cli_open_data(const bl_cli_args *args, bl_dataset *dataset, bl_error *err);
// "w4a4"; NULL leaves both numbers as they are. Errors: USAGE.
BL_MUST_USE bl_status bl_cli_bits(const char *text, unsigned *weights, unsigned *activations,
                                  bl_error *err);
// Name of the data for people.
const char *bl_cli_data_name(const bl_cli_args *args);

#endif
