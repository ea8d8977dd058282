// SPDX-License-Identifier: Apache-2.0
// bitloom run MODEL.onnx --device float: the imported graph on the float executor.
#ifndef BITLOOM_HOST_CLI_RUN_FLOAT_H
#define BITLOOM_HOST_CLI_RUN_FLOAT_H

#include "host/cli/args.h"
#include "host/cli/output.h"

bl_status bl_cmd_run_float(const bl_cli_args *args, bl_cli_output *output, bl_error *err);

#endif
