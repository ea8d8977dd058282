// SPDX-License-Identifier: Apache-2.0
// The float network of a command line, and how it is to become integers.
#ifndef BITLOOM_HOST_CLI_NETWORK_ARGS_H
#define BITLOOM_HOST_CLI_NETWORK_ARGS_H

#include "host/cli/args.h"
#include "host/quant/quantise.h"
#include "host/run/float_run.h"

// args->model with a batch of 1, its weights equalised where --equalise says so, what its samples
// are, and what is done to them in front. *graph is to be freed, also on failure. Errors:
// UNSUPPORTED for a batch that the file fixes, USAGE for the preprocessing, those of bl_onnx_import
// and bl_equalise.
BL_MUST_USE bl_status bl_cli_open_network(const bl_cli_args *args, bl_float_graph **graph,
                                          bl_float_io *io, bl_preprocess *preprocess,
                                          bl_error *err);
// Ranges, rounding, bias correction and output bits as the options say, or by their defaults; the
// rest is 0: bits and device are the caller's.
bl_quantise_options bl_cli_quantise_options(const bl_cli_args *args);

#endif
