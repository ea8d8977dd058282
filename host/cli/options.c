// SPDX-License-Identifier: Apache-2.0
// The command line as a table: a row an option, from which parsing and help both follow.
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/args.h"

typedef enum { FLAG, TEXT, COUNT, INDEX, REAL, REALS, CHOICE } kind;

typedef struct {
  const char *name;
  kind kind;
  unsigned commands;      // bl_cli_command bits
  size_t field;           // offset in bl_cli_args
  const char *value;      // how help names the value; the choices of a CHOICE
  double lowest, highest; // of COUNT, INDEX and REAL
  const char *help;       // "--bits: ..." is refused where --bits is not given
} option;

typedef struct {
  bl_cli_command command;
  const char *name, *positional, *summary, *details;
} command_row;

#define IMP BL_CMD_IMPORT
#define COM BL_CMD_COMPRESS
#define RUN BL_CMD_RUN
#define VER BL_CMD_VERIFY
#define REP BL_CMD_REPORT
#define DEV BL_CMD_DEVICE
#define TRA BL_CMD_TRAIN
#define EXP BL_CMD_EXPORT
#define SEA BL_CMD_SEARCH
#define SETS (RUN | VER | REP)
#define DATA (SETS | TRA)
#define REC BL_CMD_RECIPES
#define ALL (IMP | COM | DATA | DEV | REC | SEA | EXP)
#define AT(field) offsetof(bl_cli_args, field)

static const command_row commands[] = {
    {IMP, "import", "MODEL.onnx", "read an ONNX model; print layers, shapes and operations",
     "Reads the model, infers shapes, folds constants and prints what maps where."},
    {TRA, "train", "MODEL.onnx", "train a model, or train it further, and write it as ONNX",
     "Trains the model's weights on the data, from those of the file or fresh ones, and writes "
     "the\n"
     "trained network. A run that was stopped resumes from its check-point with the same bits.\n"
     "See docs/reference/train.md."},
    {COM, "compress", "MODEL.onnx", "quantise a model and compile it for a device",
     "Quantises to the given bits with ranges from calibration data, or takes an already "
     "quantised\n"
     "model (QONNX, QDQ, QLinear) as it is, compiles it and writes one .bloom file."},
    {REC, "recipes", "[NAME]", "list recipes and passes, or print one of them",
     "Lists the built-in recipes and all passes; with a name, prints the recipe, or what the pass "
     "takes."},
    {SEA, "search", "MODEL.onnx", "find bits and pruned blocks by layer under a budget",
     "Measures what each layer loses alone, proposes plans by an integer program with the "
     "device's\n"
     "exact cycles, evolves them, and writes the best plan. See docs/reference/search.md."},
    {RUN, "run", "MODEL", "run a compiled model on a device, or an ONNX model in float",
     "Runs every sample, compares each output value with the reference kernels, and prints\n"
     "accuracy, images a second, cycles an image and the latency at a clock. The device's own\n"
     "time only (host packing and device) counts for images a second."},
    {VER, "verify", "MODEL.bloom", "compare reference kernels, functional device and RTL by layer",
     "Compares the three executions after every layer; with --device, one device with the "
     "reference\n"
     "kernels by the signatures of its layers. On a difference prints layer, coordinate, expected\n"
     "and got, and which of the three disagrees with the other two."},
    {REP, "report", "MODEL.bloom", "write a self-contained HTML page about a compiled model",
     "Runs the model on the data (random inputs without --data) and writes layers, accuracy, "
     "size,\n"
     "cycles by reason and the bit-exact verdict as one HTML page without outside references."},
    {EXP, "export", "MODEL.bloom", "write a compiled model's integers as an ONNX model (QDQ)",
     "Writes the integer network with QuantizeLinear and DequantizeLinear, so that another "
     "runtime\n"
     "can confirm its accuracy. See docs/reference/export.md."},
    {DEV, "device", NULL, "print what a device says about itself and its counters",
     "Opens a simulated device and prints the parameters that it reports and its counters."},
};

static const option options[] = {
    {"--output", TEXT, COM | EXP | REP | TRA | SEA, AT(output), "FILE", 0, 0, "file to write"},
    {"--bits", TEXT, COM, AT(bits), "wNaM", 0, 0,
     "N-bit weights and M-bit activations, 1 to 8 each, such as w4a4"},
    {"--bits", TEXT, TRA, AT(bits), "wNaM", 0, 0,
     "train with N-bit weights and M-bit activations, 1 to 8 each, and write them fixed"},
    {"--recipe", TEXT, COM, AT(recipe), "NAME|FILE", 0, 0,
     "passes to run, in place of --bits and what goes with it; see docs/reference/recipes.md"},
    {"--work", TEXT, COM, AT(work), "FOLDER", 0, 0,
     "--recipe: where it keeps check-points, to go on from when it is run again"},
    {"--hold-out", COUNT, COM | SEA, AT(hold_out), "N", 1, 1e9,
     "last samples of --data, which a recipe measures on (default 1000, at most a fifth)"},
    {"--edge-bits", TEXT, TRA, AT(edge_bits), "wNaM", 0, 0,
     "--bits: weights of the first and last layer, and what the last one reads"},
    {"--skip-bits", COUNT, TRA, AT(skip_bits), "N", 1, 8,
     "--bits: values that sums take along beside what products read of them (default: as those)"},
    {"--skip-bits", COUNT, SEA, AT(skip_bits), "N", 1, 8,
     "bits of what sums read; --activation-bits are then of what products do (default: as all)"},
    {"--ratio-bits", COUNT, TRA, AT(ratio_bits), "N", 1, 8,
     "--bits: of the ratio of a sum's two scales (default 1: a power of two, which stays)"},
    {"--codebook", TEXT, TRA, AT(codebook), "nf4|po2|apot|FILE", 0, 0,
     "--bits: weights of 16 values instead"},
    {"--bipolar", FLAG, TRA, AT(bipolar), NULL, 0, 0,
     "--bits: weights of 2 to 4 bits are odd multiples of a step, as many below 0 as above"},
    {"--ternary", FLAG, TRA, AT(ternary), NULL, 0, 0,
     "--bits w2: weights by thresholds (TWN) instead of learned steps"},
    {"--sign", CHOICE, TRA, AT(sign), "clip|polynomial|tanh", 0, 0,
     "--bits: slope of 1-bit numbers (default clip); tanh gets steeper with time"},
    {"--pact", REAL, TRA, AT(pact), "D", 0, 1e6,
     "--bits: learn clips of activations instead of steps, with decay D (default 0: steps)"},
    {"--regulariser", REAL, TRA, AT(regulariser), "L", 0, 1e6,
     "--bits: pull weights to their integers, by L in the end (default 0)"},
    {"--weights-from", REAL, TRA, AT(weights_from), "P", 0, 0.99,
     "--bits: quantise weights behind this part of the training only (default 0)"},
    {"--freeze-steps", REAL, TRA, AT(freeze_steps), "P", 0, 1,
     "--bits: steps stay from this part of the training on (default 0: they learn)"},
    {"--freeze-oscillating", REAL, TRA, AT(freeze_oscillating), "F", 0, 1,
     "--bits: weights that flip back in more than F of the steps stay (default 0: none)"},
    {"--codebook", TEXT, COM, AT(codebook), "nf4|po2|apot|FILE", 0, 0, "weights of 16 values"},
    {"--output-bits", COUNT, COM | SEA, AT(output_bits), "N", 1, 8,
     "bits of the network's outputs (default: int32, each of whose bytes the last layer runs for)"},
    {"--fuse-adds", FLAG, COM, AT(fuse_adds), NULL, 0, 0,
     "leave out quantisers in front of additions (QDQ): fewer layers, other rounding"},
    {"--calib", TEXT, COM | SEA, AT(calib), "FILE", 0, 0, "calibration data"},
    {"--calib-array", TEXT, COM | SEA, AT(calib_array), "NAME", 0, 0,
     "array of an NPZ --calib file (default: its first)"},
    {"--calib-limit", COUNT, COM | SEA, AT(calib_limit), "N", 1, 1e9,
     "calibrate on the first N samples (default 512)"},
    {"--calib-limit", COUNT, TRA, AT(calib_limit), "N", 1, 1e9,
     "--bits: first ranges from the first N samples (default 512)"},
    {"--range", CHOICE, COM | SEA, AT(range), "minmax|mse|percentile|entropy|average", 0, 0,
     "how activation ranges follow from calibration (default mse)"},
    {"--percentile", REAL, COM | SEA, AT(percentile), "P", 50, 100,
     "of the magnitudes that --range percentile covers (default 99.99)"},
    {"--coded", FLAG, COM, AT(coded), NULL, 0, 0,
     "write the smallest file: weights coded, program made again at loading; print its sizes"},
    {"--equalise", FLAG, COM | SEA, AT(equalise), NULL, 0, 0,
     "equalise the weights of convolutions that follow each other"},
    {"--rounding", CHOICE, COM | SEA, AT(rounding), "nearest|gptq|adaround", 0, 0,
     "how weights become integers (default nearest); see docs/reference/refinement.md"},
    {"--bias-correction", CHOICE, COM | SEA, AT(bias_correction), "none|analytic|empirical", 0, 0,
     "move each channel's mean to that of the float network (default none)"},
    {"--config", CHOICE, COM | DEV | SEA, AT(config), "tiny|default|wide", 0, 0,
     "device configuration (default: default)"},
    {"--batch", COUNT, COM | SEA, AT(batch), "N", 1, 64,
     "images that the device holds at once (default: the compiler's choice)"},
    {"--device", CHOICE, RUN, AT(device), "functional|rtl|netlist|float", 0, 0,
     "where to run (default functional); an ONNX model in float, and nothing else there"},
    {"--device", CHOICE, VER, AT(device), "functional|rtl|netlist", 0, 0,
     "that device alone, by signatures (default: functional and rtl, every value)"},
    {"--device", CHOICE, REP, AT(device), "functional|rtl|netlist", 0, 0,
     "where to run everything (default: functional, and two batches on rtl)"},
    {"--device", CHOICE, DEV, AT(device), "functional|rtl|netlist", 0, 0,
     "the device to open (default functional)"},
    {"--data", TEXT, COM | SEA, AT(data), "FILE", 0, 0,
     "samples to calibrate and train on; the last ones are held out"},
    {"--data", TEXT, DATA, AT(data), "FILE", 0, 0, "samples: IDX, CIFAR-10 records, NPY or NPZ"},
    {"--array", TEXT, COM | DATA | SEA, AT(array), "NAME", 0, 0,
     "array of an NPZ --data file (default: its first)"},
    {"--labels", TEXT, COM | RUN | REP | TRA | SEA, AT(labels), "FILE", 0, 0,
     "labels: IDX, NPY or NPZ (CIFAR records bring theirs)"},
    {"--label-array", TEXT, COM | RUN | REP | TRA | SEA, AT(label_array), "NAME", 0, 0,
     "array of an NPZ --labels file (default: its first)"},
    {"--skip", COUNT, COM | DATA | SEA, AT(skip), "N", 0, 1e9, "leave out the first N samples"},
    {"--limit", COUNT, COM | DATA | SEA, AT(limit), "N", 1, 1e9, "take at most N samples"},
    {"--scale", REALS, COM | DATA | SEA, AT(scale), "S", 0, 0,
     "preprocessing x' = (S*x - mean) / std (default: as compiled, else 1)"},
    {"--mean", REALS, COM | DATA | SEA, AT(mean), "A[,B,C]", 0, 0, "mean, one or one a channel"},
    {"--std", REALS, COM | DATA | SEA, AT(std), "A[,B,C]", 0, 0,
     "standard deviation, one or one a channel"},
    {"--layout", CHOICE, COM | DATA | SEA, AT(layout), "nchw|nhwc", 0, 0,
     "axes of a sample in the file (default: those of the network)"},
    {"--with", TEXT, REP, AT(with), "A.json,B.json", 0, 0,
     "show what compress, train, search or run --device float said with --json, too"},
    {"--clock", REAL, RUN | REP, AT(clock_mhz), "MHZ", 0.001, 100000,
     "clock for which latency is stated (default 100)"},
    {"--shards", COUNT, SETS, AT(shards), "N", 1, 64,
     "processes to spread the samples over (default: processors, 1 for functional)"},
    {"--no-compare", FLAG, RUN, AT(no_compare), NULL, 0, 0,
     "leave out the comparison with the reference kernels"},
    {"--outputs", TEXT, RUN, AT(outputs), "FILE.npy", 0, 0,
     "write every sample's outputs as an NPY array of floats"},
    {"--trace", TEXT, RUN, AT(trace), "FILE.fst", 0, 0, "write a waveform (rtl)"},
    {"--trace-layer", INDEX, RUN, AT(trace_layer), "K", 0, 4095,
     "only layer K of the first batch (default: all of that batch)"},
    {"--profile", TEXT, RUN, AT(profile), "FILE.json", 0, 0,
     "write a timeline of every block for Perfetto or chrome://tracing (rtl)"},
    {"--stalls", REAL, RUN | VER, AT(stalls), "P", 0, 0.95,
     "chance of a stall on each handshake and cycle (rtl and netlist, default 0)"},
    {"--seed", COUNT, RUN | VER | REP | SEA, AT(seed), "S", 0, 9007199254740991.0,
     "seed of stalls and random inputs (default 1)"},
    {"--plant-fault", TEXT, VER, AT(plant_fault), "WHERE", 0, 0,
     "plant a fault in reference, functional, rtl or netlist[:LAYER], to see that it is found"},
    {"--max-cycles", REAL, SEA, AT(max_cycles), "N", 1, 1e15, "cycles an image in the layers"},
    {"--max-bytes", REAL, SEA, AT(max_bytes), "N", 1, 1e15, "bytes of weights"},
    {"--max-drop", REAL, SEA, AT(max_drop), "P", 0, 100,
     "points of accuracy below the float network's, on the held-out samples"},
    {"--accuracy", REAL, SEA, AT(accuracy), "P", 0.01, 100,
     "least accuracy on the held-out samples, in percent"},
    {"--weight-bits", REALS, SEA, AT(weight_values), "A,B,...", 0, 0,
     "bits that weights may have (default 2,3,4,6,8)"},
    {"--activation-bits", REALS, SEA, AT(activation_values), "A,B,...", 0, 0,
     "bits that outputs of layers may have (default 2,3,4,6,8)"},
    {"--blocks", REALS, SEA, AT(block_values), "A,B,...", 0, 0,
     "parts of a layer's blocks that may be pruned (default 0)"},
    {"--ranks", REALS, SEA, AT(rank_values), "A,B,...", 0, 0,
     "parts of a layer's operations that two factors of it may take (default 1)"},
    {"--budgets", COUNT, SEA, AT(budgets), "N", 2, 256,
     "budgets that the integer program is solved for (default 16)"},
    {"--population", COUNT, SEA, AT(population), "N", 4, 1024, "of the evolution (default 24)"},
    {"--generations", COUNT, SEA, AT(generations), "N", 0, 1e6, "of the evolution (default 6)"},
    {"--workers", COUNT, SEA, AT(shards), "N", 1, 64,
     "candidates evaluated side by side (default: processors)"},
    {"--state", TEXT, SEA, AT(state), "FILE", 0, 0,
     "keep results there, and go on from those that are there"},
    {"--front", TEXT, SEA, AT(front), "BASE", 0, 0, "write BASE.csv, BASE.json and BASE.svg"},
    {"--sensitivity", TEXT, SEA, AT(sensitivity), "FILE.json", 0, 0,
     "write what each choice does alone"},
    {"--evaluate", TEXT, SEA, AT(evaluate), "PLAN", 0, 0,
     "evaluate one plan, a JSON file or its text, print it as a line of JSON, and nothing else"},
    {"--with", TEXT, SEA, AT(evaluator), "COMMAND", 0, 0,
     "evaluate by a command that takes plans, a line each, and prints what --evaluate prints"},
    {"--test", TEXT, TRA, AT(test), "FILE", 0, 0, "data to test on after every epoch"},
    {"--test-array", TEXT, TRA, AT(test_array), "NAME", 0, 0,
     "--test: array of an NPZ file (default: its first)"},
    {"--test-labels", TEXT, TRA, AT(test_labels), "FILE", 0, 0, "--test: its labels"},
    {"--test-label-array", TEXT, TRA, AT(test_label_array), "NAME", 0, 0,
     "--test-labels: array of an NPZ file (default: its first)"},
    {"--epochs", COUNT, TRA, AT(epochs), "N", 1, 1e6, "times over the data (default 10)"},
    {"--batch", COUNT, TRA, AT(batch), "N", 1, 4096, "samples of a step (default 64)"},
    {"--loss", CHOICE, TRA, AT(loss), "cross-entropy|squared|binary", 0, 0,
     "what is minimised (default cross-entropy)"},
    {"--precision", CHOICE, TRA, AT(precision), "f32|bf16", 0, 0,
     "what convolutions multiply (default f32); bf16 where the processor does, sums stay f32"},
    {"--optimizer", CHOICE, TRA, AT(optimizer), "sgd|adamw", 0, 0, "(default sgd)"},
    {"--lr", REAL, TRA, AT(lr), "R", 1e-12, 1e6, "learning rate (default 0.01, adamw 0.001)"},
    {"--momentum", REAL, TRA, AT(momentum), "M", 0, 0.9999, "of sgd (default 0.9)"},
    {"--nesterov", FLAG, TRA, AT(nesterov), NULL, 0, 0, "Nesterov's momentum"},
    {"--weight-decay", REAL, TRA, AT(decay), "D", 0, 1,
     "of weights, not of biases and batch norms (default 1e-4)"},
    {"--clip", REAL, TRA, AT(clip), "G", 0, 1e9, "largest norm of the gradient (default 0: any)"},
    {"--schedule", CHOICE, TRA, AT(schedule), "constant|step|cosine", 0, 0,
     "learning rate over time (default cosine, down to 0)"},
    {"--warm-up", REAL, TRA, AT(warm_up), "E", 0, 1e6, "epochs of linear warm-up (default 0)"},
    {"--step-epochs", COUNT, TRA, AT(step_epochs), "N", 1, 1e6,
     "epochs between the drops of step (default a third of all)"},
    {"--step-factor", REAL, TRA, AT(step_factor), "F", 1e-6, 1, "of each drop (default 0.1)"},
    {"--augment", TEXT, TRA, AT(augment), "flip,shift=N,cutout=N,mixup", 0, 0,
     "flip images left to right, shift them by up to N pixels, cut out squares of N, mix pairs"},
    {"--smoothing", REAL, TRA, AT(smoothing), "S", 0, 0.9,
     "of labels for cross entropy (default 0)"},
    {"--teacher", TEXT, TRA, AT(teacher), "FILE.onnx", 0, 0, "distil from this network"},
    {"--temperature", REAL, TRA, AT(temperature), "T", 0.01, 1000,
     "--teacher: of the soft labels (default 4)"},
    {"--teacher-weight", REAL, TRA, AT(teacher_weight), "W", 0, 1,
     "--teacher: its part in the loss (default 0.9)"},
    {"--distil", CHOICE, TRA, AT(distil), "hint|attention|relation", 0, 0,
     "--teacher: learn its inner values, too"},
    {"--distil-weight", REAL, TRA, AT(distil_weight), "W", 0, 1e9,
     "--distil: of those in the loss (default 1)"},
    {"--distil-layers", TEXT, TRA, AT(distil_layers), "S:T,S:T", 0, 0,
     "--distil: layers of student and teacher to compare (default: of equal image sizes)"},
    {"--peer", TEXT, TRA, AT(peer), "FILE.onnx", 0, 0,
     "a network that learns at the same time, each from the other"},
    {"--average", REAL, TRA, AT(average), "D", 0, 0.999999,
     "write the average of the parameters, of decay D, e.g. 0.998 (default 0: the last ones)"},
    {"--reestimate", COUNT, TRA, AT(reestimate), "N", 0, 1e9,
     "batch norms' statistics again in the end, from N batches (default 0: as they are)"},
    {"--fresh", CHOICE, TRA, AT(fresh), "he|glorot", 0, 0,
     "start from fresh weights instead of the file's"},
    {"--freeze-statistics", REAL, TRA, AT(freeze_statistics), "P", 0, 1,
     "batch norms keep their statistics from this part of the training on (default 0: never)"},
    {"--relative-rate", FLAG, TRA, AT(relative_rate), NULL, 0, 0,
     "each layer's rate is --lr times the root mean square of its numbers"},
    {"--fixed-statistics", FLAG, TRA, AT(fixed_statistics), NULL, 0, 0,
     "batch norms keep the statistics of the file"},
    {"--checkpoint", TEXT, TRA, AT(checkpoint), "FILE", 0, 0,
     "write a check-point after every epoch"},
    {"--checkpoint-steps", COUNT, TRA, AT(checkpoint_steps), "N", 1, 1e9,
     "--checkpoint: after every N steps of an epoch, too"},
    {"--resume", FLAG, TRA, AT(resume), NULL, 0, 0,
     "--checkpoint: go on from it, where it is there, else start"},
    {"--seed", COUNT, TRA, AT(seed), "S", 0, 9007199254740991.0,
     "of fresh weights, order, augmentation, dropout (default 1)"},
    {"--threads", COUNT, COM, AT(threads), "N", 1, 256,
     "threads of a recipe's trainings (default 1), processes of its searches (default: all)"},
    {"--threads", COUNT, TRA, AT(threads), "N", 1, 256,
     "threads (default: OMP_NUM_THREADS or all processors)"},
    {"--json", FLAG, ALL, AT(json), NULL, 0, 0,
     "print one JSON object on standard output, nothing else"},
    {"--help", FLAG, ALL, AT(help), NULL, 0, 0, "this text"},
};

enum {
  COMMAND_COUNT = sizeof commands / sizeof commands[0],
  OPTION_COUNT = sizeof options / sizeof options[0]
};

static const command_row *row_of(bl_cli_command command) {
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (commands[i].command == command) return &commands[i];
  return &commands[0];
}

const char *bl_cli_command_name(bl_cli_command command) {
  return row_of(command)->name;
}

bool bl_cli_command_find(const char *name, bl_cli_command *command) {
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (strcmp(commands[i].name, name) == 0) {
      *command = commands[i].command;
      return true;
    }
  return false;
}

static bl_status bad_value(const option *row, const char *text, bl_error *err) {
  return bl_fail(err, BL_ERR_USAGE, "%s %s: expected %s", row->name, text, row->value);
}

static bl_status read_real(const option *row, const char *text, double *value, bl_error *err) {
  char *end = NULL;
  errno = 0;
  *value = strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(*value)) return bad_value(row, text, err);
  return BL_OK;
}

static bl_status check_bounds(const option *row, const char *text, double value, bl_error *err) {
  if (value >= row->lowest && value <= row->highest) return BL_OK;
  return bl_fail(err, BL_ERR_USAGE, "%s %s: must be from %.10g to %.10g", row->name, text,
                 row->lowest, row->highest);
}

static bl_status read_whole(const option *row, const char *text, uint64_t *value, bl_error *err) {
  char *end = NULL;
  errno = 0;
  *value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
    return bl_fail(err, BL_ERR_USAGE, "%s %s: expected a whole number", row->name, text);
  return check_bounds(row, text, (double)*value, err);
}

// "0.485,0.456,0.406"; each number ends at a comma or at the end.
static bl_status read_reals(const option *row, const char *text, bl_cli_reals *list,
                            bl_error *err) {
  list->count = 0;
  for (const char *at = text;; at++) {
    char *end = NULL;
    double value = strtod(at, &end);
    if (end == at || !isfinite(value) || (*end != ',' && *end != '\0'))
      return bad_value(row, text, err);
    if (list->count == BL_CLI_MAX_REALS)
      return bl_fail(err, BL_ERR_USAGE, "%s: more than %d values", row->name, BL_CLI_MAX_REALS);
    list->values[list->count++] = value;
    at = end;
    if (*at == '\0') return BL_OK;
  }
}

// The index of `text` among "a|b|c".
static bl_status read_choice(const option *row, const char *text, int *index, bl_error *err) {
  size_t length = strlen(text);
  const char *at = row->value;
  for (int i = 0;; i++) {
    size_t span = strcspn(at, "|");
    if (span == length && memcmp(at, text, span) == 0) {
      *index = i;
      return BL_OK;
    }
    if (at[span] == '\0') return bad_value(row, text, err);
    at += span + 1;
  }
}

static bl_status store(const option *row, const char *text, bl_cli_args *args, bl_error *err) {
  char *field = (char *)args + row->field;
  uint64_t whole = 0;
  switch (row->kind) {
  case FLAG:
    *(bool *)field = true;
    return BL_OK;
  case TEXT:
    if (text[0] == '\0') return bad_value(row, "''", err);
    *(const char **)(void *)field = text;
    return BL_OK;
  case COUNT:
    return read_whole(row, text, (uint64_t *)(void *)field, err);
  case INDEX:
    BL_TRY(read_whole(row, text, &whole, err));
    *(int64_t *)(void *)field = (int64_t)whole;
    return BL_OK;
  case REAL:
    BL_TRY(read_real(row, text, (double *)(void *)field, err));
    return check_bounds(row, text, *(double *)(void *)field, err);
  case REALS:
    return read_reals(row, text, (bl_cli_reals *)(void *)field, err);
  case CHOICE:
    return read_choice(row, text, (int *)(void *)field, err);
  }
  return BL_OK;
}

// The option whose name is `text` up to a possible '='.
static const option *find_option(bl_cli_command command, const char *text) {
  size_t length = strcspn(text, "=");
  for (size_t i = 0; i < OPTION_COUNT; i++)
    if ((options[i].commands & (unsigned)command) != 0 && strlen(options[i].name) == length &&
        memcmp(options[i].name, text, length) == 0)
      return &options[i];
  return NULL;
}

// Options that go with another one, "--bits: ..." in their help, would do nothing without it.
static bl_status check_companions(bl_cli_command command, const bool *given, bl_error *err) {
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    const char *help = options[i].help;
    if (!given[i] || strncmp(help, "--", 2) != 0) continue;
    const int length = (int)strcspn(help, " :");
    char companion[32];
    (void)snprintf(companion, sizeof companion, "%.*s", length, help);
    const option *row = find_option(command, companion);
    if (row != NULL && !given[row - options])
      return bl_fail(err, BL_ERR_USAGE, "%s goes with %s, which is missing", options[i].name,
                     companion);
  }
  return BL_OK;
}

static bl_status take_option(bl_cli_command command, int argc, char **argv, int *at,
                             bl_cli_args *args, bool *given, bl_error *err) {
  const char *text = argv[*at], *name = bl_cli_command_name(command);
  const option *row =
      strcmp(text, "-h") == 0 ? find_option(command, "--help") : find_option(command, text);
  if (row == NULL)
    return bl_fail(err, BL_ERR_USAGE, "%.*s: unknown option; see bitloom %s --help",
                   (int)strcspn(text, "="), text, name);
  const char *value = strchr(text, '=');
  if (row->kind == FLAG && value != NULL)
    return bl_fail(err, BL_ERR_USAGE, "%s takes no value", row->name);
  if (value != NULL)
    value++;
  else if (row->kind != FLAG && *at + 1 < argc)
    value = argv[++*at];
  if (row->kind != FLAG && value == NULL)
    return bl_fail(err, BL_ERR_USAGE, "%s needs a value: %s", row->name, row->value);
  given[row - options] = true;
  return store(row, value, args, err);
}

bl_status bl_cli_parse(bl_cli_command command, int argc, char **argv, bl_cli_args *args,
                       bl_error *err) {
  *args = (bl_cli_args){.device = -1,
                        .range = -1,
                        .rounding = -1,
                        .bias_correction = -1,
                        .config = -1,
                        .layout = -1,
                        .trace_layer = -1,
                        .max_drop = -1,
                        .generations = UINT64_MAX,
                        .optimizer = -1,
                        .precision = -1,
                        .schedule = -1,
                        .loss = -1,
                        .fresh = -1,
                        .sign = -1,
                        .distil = -1,
                        .distil_weight = 1,
                        .momentum = 0.9,
                        .decay = 1e-4,
                        .step_factor = 0.1,
                        .temperature = 4,
                        .teacher_weight = 0.9,
                        .clock_mhz = 100.0,
                        .seed = 1};
  const command_row *row = row_of(command);
  bool given[OPTION_COUNT] = {false};
  for (int i = 0; i < argc; i++) {
    if (argv[i][0] == '-' && argv[i][1] != '\0') {
      BL_TRY(take_option(command, argc, argv, &i, args, given, err));
      continue;
    }
    if (row->positional == NULL || args->model != NULL)
      return bl_fail(err, BL_ERR_USAGE, "%s: one argument too many; see bitloom %s --help", argv[i],
                     row->name);
    args->model = argv[i];
  }
  if (!args->help && row->positional != NULL && row->positional[0] != '[' && args->model == NULL)
    return bl_fail(err, BL_ERR_USAGE, "%s needs %s; see bitloom %s --help", row->name,
                   row->positional, row->name);
  return check_companions(command, given, err);
}

void bl_cli_help(void) {
  (void)printf("Usage: bitloom COMMAND [arguments]\n\n"
               "Compresses neural networks, runs them on a bit-serial accelerator, and checks\n"
               "every bit that comes back.\n\nCommands:\n");
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    (void)printf("  %-10s%s\n", commands[i].name, commands[i].summary);
  (void)printf(
      "\nbitloom COMMAND --help says more. Exit status: 0 done, 1 failed (a mismatch is a\n"
      "failure), 2 the command line makes no sense.\n");
}

void bl_cli_command_help(bl_cli_command command) {
  const command_row *row = row_of(command);
  (void)printf("Usage: bitloom %s%s%s [options]\n\n%s\n\nOptions:\n", row->name,
               row->positional == NULL ? "" : " ", row->positional == NULL ? "" : row->positional,
               row->details);
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    if ((options[i].commands & (unsigned)command) == 0) continue;
    char left[64];
    (void)snprintf(left, sizeof left, "%s%s%s", options[i].name,
                   options[i].value == NULL ? "" : " ",
                   options[i].value == NULL ? "" : options[i].value);
    (void)printf("  %-38s %s\n", left, options[i].help);
  }
}
