// SPDX-License-Identifier: Apache-2.0
// The table of sizes as text and JSON.
#ifndef BITLOOM_HOST_CLI_STORAGE_OUTPUT_H
#define BITLOOM_HOST_CLI_STORAGE_OUTPUT_H

#include "host/cli/output.h"
#include "host/compile/storage.h"

// Prints it, and adds it to the output's object as `storage`.
void bl_cli_print_storage(const bl_storage *storage, const bl_bloom_info *info,
                          bl_cli_output *output);

#endif
