// SPDX-License-Identifier: Apache-2.0
// What run, verify and report have in common: a compiled file, a data set or random inputs, a
// preprocessing, and a device, all from the command line.
#ifndef BITLOOM_HOST_CLI_JOB_H
#define BITLOOM_HOST_CLI_JOB_H

#include "host/cli/data_args.h"
#include "host/cli/output.h"
#include "host/run/runner.h"

typedef struct {
  bl_bloom bloom;
  bl_dataset dataset;
  bool has_dataset;
  bl_runner runner;
  bl_cli_progress progress;
} bl_cli_job;

// Opens everything for args->model. `random_samples`: how many without --data and --limit. The job
// must not move while open. Errors: those of its parts.
BL_MUST_USE bl_status bl_cli_job_open(const bl_cli_args *args, const char *label,
                                      size_t random_samples, bl_cli_job *job, bl_error *err);
void bl_cli_job_close(bl_cli_job *job);
// The simulated device of --device; the functional one where it says float or nothing.
bl_device_kind bl_cli_device_kind(const bl_cli_args *args);
// Puts the runner on a device, with --shards or this kind's usual number of processes.
void bl_cli_job_device(bl_cli_job *job, const bl_cli_args *args, bl_device_kind kind);
#endif
