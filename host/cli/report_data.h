// SPDX-License-Identifier: Apache-2.0
// What a report shows, as JSON, from a compiled file and its runs; docs/reference/report.md.
#ifndef BITLOOM_HOST_CLI_REPORT_DATA_H
#define BITLOOM_HOST_CLI_REPORT_DATA_H

#include "host/cli/job.h"

typedef struct {
  const bl_cli_job *job;
  const bl_cli_args *args;
  const bl_run_result *all, *cycles; // of every sample; what cycles are taken from
  const bl_cost *costs;              // [layer_count]
  const float *outputs;              // of every sample
} bl_report_facts;

// The layers' cycles of `cycles` are the RTL's?
bool bl_report_has_cycles(const bl_report_facts *facts);
// The caller frees *data. Errors: MEMORY, those of the data set.
BL_MUST_USE bl_status bl_report_data(const bl_report_facts *facts, cJSON **data, bl_error *err);
// Adds the members of files of JSON, separated by commas, that a page can show. Errors: IO, FORMAT
// for a file that is no JSON object or has none of them.
BL_MUST_USE bl_status bl_report_merge(cJSON *data, const char *files, bl_error *err);

#endif
