// SPDX-License-Identifier: Apache-2.0
// Whole data sets over a compiled network: accuracy, speed, cycles, and equality with the reference
// kernels; and the comparison of all executions after every layer. Spread over processes.
#ifndef BITLOOM_HOST_RUN_RUNNER_H
#define BITLOOM_HOST_RUN_RUNNER_H

#include "host/compile/bloom.h"
#include "host/data/dataset.h"
#include "host/run/compare.h"
#include "host/run/device.h"
#include "host/run/shard.h"

// What both kinds of run need.
typedef struct {
  const bl_bloom *bloom;
  const bl_dataset *dataset; // NULL: random inputs from `seed`, no labels
  bl_preprocess preprocess;  // used instead of the file's
  size_t samples;            // at most the data set's
  uint64_t seed;
  uint32_t shards;
  bl_device_spec device; // kind is what bl_runner_run uses; verify opens those it is asked for
  const char *trace;     // run: waveform of the first batch; NULL: none. Needs one shard
  int64_t trace_layer;   // of that batch; -1: all of it
  const char *profile;   // run: timeline of everything; NULL: none. Needs one shard
  bl_progress progress;
} bl_runner;

typedef struct {
  bool found;
  size_t sample, index; // index in the output tensor
  int32_t expected, got;
} bl_mismatch;

typedef struct {
  uint64_t samples, batches;
  uint64_t labelled, correct;    // arg-max, ties to the lowest index
  uint64_t compared, mismatches; // output values against the reference kernels
  bl_mismatch first;
  double seconds; // host packing and device; over shards, the slowest
  uint64_t counters[BL_COUNTER_COUNT];
  double cycles_per_image; // of full batches
  uint64_t *layer_cycles;  // [layer_count], all batches; freed by bl_run_result_free
} bl_run_result;

// Checks that the data set fits the network. Errors: FORMAT, USAGE.
BL_MUST_USE bl_status bl_runner_check(const bl_runner *runner, bl_error *err);
// Runs every sample on the device; with `compare` also on the reference kernels. A mismatch is not
// an error here. `outputs` gets bl_output_floats() of every sample, or is NULL. Errors: those of
// the data set, the device and bl_shard_run.
BL_MUST_USE bl_status bl_runner_run(const bl_runner *runner, bool compare, float *outputs,
                                    bl_run_result *result, bl_error *err);
void bl_run_result_free(bl_run_result *result);

// Executions that verify compares: the reference always, the devices by choice; and a fault to
// plant: executor 0 reference, 1 functional, 2 rtl. With `signatures` instead one device, of the
// runner's kind, whose layers are compared by signature (see compare_signed.h); it is executor 1.
typedef struct {
  bool functional, rtl, signatures;
  int fault_executor; // -1: none
  uint32_t fault_layer;
} bl_verify_choice;

// Compares every layer. `line` gets the first difference as text, "" when there is none.
BL_MUST_USE bl_status bl_runner_verify(const bl_runner *runner, const bl_verify_choice *choice,
                                       bl_comparison *comparison, char *line, size_t line_size,
                                       bl_error *err);

#endif
