// SPDX-License-Identifier: Apache-2.0
// The sub-commands, one file each. A sub-command prints nothing on standard error itself: it
// returns a status and fills the one-line error, and fills output->object whether or not JSON was
// asked for.
#ifndef BITLOOM_HOST_CLI_COMMANDS_H
#define BITLOOM_HOST_CLI_COMMANDS_H

#include "host/cli/args.h"
#include "host/cli/output.h"

typedef bl_status (*bl_cli_run)(const bl_cli_args *args, bl_cli_output *output, bl_error *err);

bl_status bl_cmd_import(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_train(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_compress(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_recipes(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_export(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_search(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_run(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_verify(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_report(const bl_cli_args *args, bl_cli_output *output, bl_error *err);
bl_status bl_cmd_device(const bl_cli_args *args, bl_cli_output *output, bl_error *err);

#endif
