// SPDX-License-Identifier: Apache-2.0
// What a command line says, after parsing. One structure serves all sub-commands; each option's
// row in the table of options.c names its field here and the sub-commands that take it.
#ifndef BITLOOM_HOST_CLI_ARGS_H
#define BITLOOM_HOST_CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

enum { BL_CLI_MAX_REALS = 16 };

typedef enum {
  BL_CMD_IMPORT = 1,
  BL_CMD_COMPRESS = 2,
  BL_CMD_RUN = 4,
  BL_CMD_VERIFY = 8,
  BL_CMD_REPORT = 16,
  BL_CMD_DEVICE = 32,
  BL_CMD_TRAIN = 64,
  BL_CMD_RECIPES = 128,
  BL_CMD_EXPORT = 256,
  BL_CMD_SEARCH = 512
} bl_cli_command;

typedef enum { BL_CLI_FUNCTIONAL, BL_CLI_RTL, BL_CLI_NETLIST, BL_CLI_FLOAT } bl_cli_device;
// In the order of bl_rounding.
typedef enum { BL_CLI_NEAREST, BL_CLI_GPTQ, BL_CLI_ADAROUND } bl_cli_rounding;
typedef enum { BL_CLI_TINY, BL_CLI_DEFAULT, BL_CLI_WIDE } bl_cli_config;
typedef enum { BL_CLI_SGD, BL_CLI_ADAMW } bl_cli_optimizer;
typedef enum { BL_CLI_F32, BL_CLI_BF16 } bl_cli_precision;
typedef enum { BL_CLI_CONSTANT, BL_CLI_STEP, BL_CLI_COSINE } bl_cli_schedule;
typedef enum { BL_CLI_CROSS_ENTROPY, BL_CLI_SQUARED, BL_CLI_BINARY } bl_cli_loss;
typedef enum { BL_CLI_HE, BL_CLI_GLOROT } bl_cli_fresh;
typedef enum { BL_CLI_NCHW, BL_CLI_NHWC } bl_cli_layout;

typedef struct {
  double values[BL_CLI_MAX_REALS];
  uint32_t count; // 0: the option was not given
} bl_cli_reals;

typedef struct {
  const char *model; // the positional argument; NULL for sub-commands without one
  bool json, help;

  const char *output, *bits, *codebook;
  int device, range, rounding, bias_correction, config,
      layout; // indices of the choices; -1: not given
  const char *data, *array, *labels, *label_array, *calib, *calib_array;
  uint64_t skip, limit, calib_limit, batch, output_bits;
  bl_cli_reals scale, mean, std;
  const char *trace, *profile, *plant_fault, *outputs, *with;
  int64_t trace_layer;                  // -1: not given
  double stalls, clock_mhz, percentile; // percentile 0: not given
  uint64_t seed, shards;
  bool fuse_adds, equalise, coded, no_compare;

  // compress --recipe
  const char *recipe, *work;
  uint64_t hold_out; // 0: not given

  // search
  double max_cycles, max_bytes, max_drop, accuracy; // 0 (max_drop: negative): not given
  bl_cli_reals weight_values, activation_values, block_values, rank_values;
  const char *state, *front, *sensitivity, *evaluate, *evaluator;
  uint64_t population, generations, budgets; // generations UINT64_MAX: not given

  // train
  const char *test, *test_array, *test_labels, *test_label_array;
  const char *augment, *teacher, *checkpoint;
  int optimizer, schedule, loss, fresh, precision; // indices of the choices; -1: not given
  uint64_t epochs, step_epochs, checkpoint_steps, threads;
  double lr, momentum, decay, clip, warm_up, step_factor, temperature,
      teacher_weight; // lr 0: not given
  bool nesterov, fixed_statistics, resume, relative_rate;
  const char *edge_bits;
  uint64_t skip_bits, ratio_bits; // 0: not given
  int sign, distil;               // indices of the choices; -1: not given
  const char *distil_layers, *peer;
  double freeze_statistics;
  double distil_weight, average; // average 0: not given
  uint64_t reestimate;
  double smoothing, pact, regulariser, weights_from, freeze_steps, freeze_oscillating;
  bool ternary, bipolar;
} bl_cli_args;

// "import" ... "device".
const char *bl_cli_command_name(bl_cli_command command);
// Finds a sub-command by its name; false when there is none.
bool bl_cli_command_find(const char *name, bl_cli_command *command);
// Parses the arguments that follow the sub-command's name. Errors: USAGE.
BL_MUST_USE bl_status bl_cli_parse(bl_cli_command command, int argc, char **argv, bl_cli_args *args,
                                   bl_error *err);
// Prints the overview, or one sub-command's help, on standard output.
void bl_cli_help(void);
void bl_cli_command_help(bl_cli_command command);

#endif
