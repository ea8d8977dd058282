// SPDX-License-Identifier: Apache-2.0
// The command line's parser: each kind of option, both spellings, and everything it must refuse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/cli/args.h"

enum { MOST = 32 };

static bl_status parse(bl_cli_command command, const char *line, bl_cli_args *args, bl_error *err) {
  static char copy[512];
  char *argv[MOST];
  int argc = 0;
  assert_true(strlen(line) < sizeof copy);
  strcpy(copy, line);
  for (char *word = strtok(copy, " "); word != NULL && argc < MOST; word = strtok(NULL, " "))
    argv[argc++] = word;
  return bl_cli_parse(command, argc, argv, args, err);
}

static void good_lines(void **state) {
  (void)state;
  bl_cli_args a;
  bl_error err = {0};
  assert_int_equal(parse(BL_CMD_COMPRESS,
                         "m.onnx --bits w4a4 --calib d.npz --range mse --config=wide --batch 8 "
                         "--mean=0.5,-1e-1,2 --std 1,2,3 --scale 0.25 --layout nhwc --output o",
                         &a, &err),
                   BL_OK);
  assert_string_equal(a.model, "m.onnx");
  assert_string_equal(a.bits, "w4a4");
  assert_string_equal(a.calib, "d.npz");
  assert_string_equal(a.output, "o");
  assert_int_equal(a.range, 1);
  assert_int_equal(a.config, BL_CLI_WIDE);
  assert_int_equal(a.layout, BL_CLI_NHWC);
  assert_int_equal(a.device, -1);
  assert_int_equal(a.batch, 8);
  assert_int_equal(a.mean.count, 3);
  assert_true(a.mean.values[0] == 0.5 && a.mean.values[1] == -0.1 && a.mean.values[2] == 2.0);
  assert_int_equal(a.scale.count, 1);
  assert_int_equal(a.std.count, 3);

  assert_int_equal(parse(BL_CMD_RUN,
                         "--json m --device rtl --stalls 0.25 --seed 7 --trace-layer 3 --trace t "
                         "--limit 10 --clock 62.5",
                         &a, &err),
                   BL_OK);
  assert_true(a.json && a.stalls == 0.25 && a.clock_mhz == 62.5);
  assert_int_equal(a.device, BL_CLI_RTL);
  assert_int_equal(a.seed, 7);
  assert_int_equal(a.trace_layer, 3);
  assert_int_equal(a.limit, 10);
  // What goes with another option, in either order; without it where it stands alone.
  assert_int_equal(parse(BL_CMD_TRAIN, "m --skip-bits 8 --bits w2a2 --relative-rate", &a, &err),
                   BL_OK);
  assert_int_equal(parse(BL_CMD_SEARCH, "m --skip-bits 8", &a, &err), BL_OK);
  assert_int_equal(parse(BL_CMD_DEVICE, "--help", &a, &err), BL_OK);
  assert_true(a.help);
  assert_int_equal(parse(BL_CMD_RUN, "-h", &a, &err), BL_OK); // help needs no model
}

static void bad_lines(void **state) {
  (void)state;
  static const struct {
    bl_cli_command command;
    const char *line, *complaint;
  } cases[] = {
      {BL_CMD_RUN, "", "needs MODEL"},
      {BL_CMD_RUN, "a b", "one argument too many"},
      {BL_CMD_DEVICE, "a", "one argument too many"},
      {BL_CMD_RUN, "a --bits w4a4", "--bits: unknown option"},
      {BL_CMD_RUN, "a --nonsense=3", "--nonsense: unknown option"},
      {BL_CMD_RUN, "a --dat x", "--dat: unknown option"},
      {BL_CMD_RUN, "a --data", "--data needs a value"},
      {BL_CMD_RUN, "a --data=", "expected FILE"},
      {BL_CMD_RUN, "a --json=yes", "takes no value"},
      {BL_CMD_RUN, "a --device gpu", "expected functional|rtl|netlist|float"},
      {BL_CMD_RUN, "a --device functional|rtl", "expected functional|rtl|netlist|float"},
      {BL_CMD_RUN, "a --limit 0", "must be from 1"},
      {BL_CMD_RUN, "a --limit -1", "whole number"},
      {BL_CMD_RUN, "a --limit 1.5", "whole number"},
      {BL_CMD_RUN, "a --limit 99999999999999999999", "whole number"},
      {BL_CMD_RUN, "a --stalls 1", "must be from 0"},
      {BL_CMD_RUN, "a --stalls x", "expected P"},
      {BL_CMD_RUN, "a --clock nan", "expected MHZ"},
      {BL_CMD_RUN, "a --clock 0", "must be from 0.001"},
      {BL_CMD_RUN, "a --mean 1,,2", "expected A[,B,C]"},
      {BL_CMD_RUN, "a --mean 1,2,", "expected A[,B,C]"},
      {BL_CMD_RUN, "a --mean inf", "expected A[,B,C]"},
      {BL_CMD_RUN, "a --mean 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16"},
      {BL_CMD_TRAIN, "a --skip-bits 8", "--skip-bits goes with --bits, which is missing"},
      {BL_CMD_TRAIN, "a --ternary", "--ternary goes with --bits"},
      {BL_CMD_TRAIN, "a --distil hint", "--distil goes with --teacher"},
      {BL_CMD_TRAIN, "a --teacher t --distil-weight 2", "--distil-weight goes with --distil,"},
      {BL_CMD_TRAIN, "a --test-labels l", "--test-labels goes with --test,"},
      {BL_CMD_TRAIN, "a --resume", "--resume goes with --checkpoint"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    bl_cli_args a;
    bl_error err = {0};
    assert_int_equal(parse(cases[i].command, cases[i].line, &a, &err), BL_ERR_USAGE);
    if (strstr(err.text, cases[i].complaint) == NULL)
      fail_msg("\"%s\" says \"%s\", not \"%s\"", cases[i].line, err.text, cases[i].complaint);
  }
}

static void command_names(void **state) {
  (void)state;
  static const char *const names[] = {"import", "compress", "run", "verify", "report", "device"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    bl_cli_command command;
    assert_true(bl_cli_command_find(names[i], &command));
    assert_string_equal(bl_cli_command_name(command), names[i]);
  }
  bl_cli_command command;
  assert_false(bl_cli_command_find("runs", &command));
  assert_false(bl_cli_command_find("", &command));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_lines),
      cmocka_unit_test(bad_lines),
      cmocka_unit_test(command_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
