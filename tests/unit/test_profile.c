// SPDX-License-Identifier: Apache-2.0
// bitloom run --profile: a sound file, events of a track that do not overlap, and cycles that add
// up to what the device counted and answered.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/base/file.h"
#include "host/run/profile.h"
#include "tests/bench/nets.h"
#include "tests/regress/run_case.h"
#include "tests/support/run_command.h"

enum { TRACKS = 7, REASONS = 2, MOST_BYTES = 1 << 26 };

static const char *const names[TRACKS] = {"layers",    "cycles by reason", "stream in",
                                          "gather",    "array issue",      "requantise and pack",
                                          "stream out"};

static cJSON *load(const char *name) {
  char path[256];
  uint8_t *bytes;
  size_t size;
  bl_error err = {0};
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  if (bl_file_read(path, MOST_BYTES, &bytes, &size, &err) != BL_OK) fail_msg("%s", err.text);
  cJSON *object = cJSON_ParseWithLength((const char *)bytes, size);
  free(bytes);
  assert_non_null(object);
  return object;
}

// Cycles in events of a track, all of them or those of one name.
static double cycles_of(const cJSON *profile, int tid, const char *name) {
  double sum = 0;
  const cJSON *event;
  cJSON_ArrayForEach(event, cJSON_GetObjectItem(profile, "traceEvents")) {
    const char *phase = cJSON_GetStringValue(cJSON_GetObjectItem(event, "ph"));
    const char *own = cJSON_GetStringValue(cJSON_GetObjectItem(event, "name"));
    if (strcmp(phase, "X") != 0 || bl_command_number(event, "tid") != tid) continue;
    if (name == NULL || strcmp(own, name) == 0) sum += bl_command_number(event, "dur");
  }
  return sum;
}

// Every track has its name and events that follow each other within the recorded cycles.
static uint32_t check_events(const cJSON *profile, double cycles) {
  double end[TRACKS + 1] = {0};
  uint32_t named = 0, events = 0;
  const cJSON *event;
  cJSON_ArrayForEach(event, cJSON_GetObjectItem(profile, "traceEvents")) {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(event, "name"));
    assert_true(bl_command_number(event, "pid") == 1);
    assert_non_null(name);
    if (strcmp(name, "process_name") == 0) continue;
    int tid = (int)bl_command_number(event, "tid");
    assert_in_range(tid, 1, TRACKS);
    const cJSON *args = cJSON_GetObjectItem(event, "args");
    if (strcmp(name, "thread_name") == 0) {
      assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(args, "name")), names[tid - 1]);
      named++;
    }
    if (strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(event, "ph")), "X") != 0) continue;
    double begin = bl_command_number(event, "ts"), length = bl_command_number(event, "dur");
    assert_true(begin >= end[tid] && length >= 1);
    end[tid] = begin + length;
    assert_true(end[tid] <= cycles);
    if (tid > REASONS) assert_true(bl_command_number(args, "words") <= length);
    events++;
  }
  assert_int_equal(named, TRACKS);
  return events;
}

static double profile_number(const cJSON *profile, const char *key) {
  return bl_command_number(cJSON_GetObjectItem(profile, "otherData"), key);
}

static void adds_up(void **state) {
  (void)state;
  static const char *const options[] = {"--limit 9", "--limit 3 --stalls 0.3 --seed 4"};
  bl_command_expect("compress examples/digits/digits.onnx --bits w4a4 --calib "
                    "examples/digits/data/train-images.idx3-ubyte.gz --output @net.bloom",
                    0);
  for (int i = 0; i < 2; i++) {
    char line[256];
    (void)snprintf(line, sizeof line, "run @net.bloom --device rtl --json --profile @p.json %s",
                   options[i]);
    bl_command_expect(line, 0);
    cJSON *answer = bl_command_json(), *profile = load("p.json");
    const cJSON *counters = cJSON_GetObjectItem(answer, "counters"), *counter;
    double cycles = bl_command_number(counters, "cycles");
    assert_true(profile_number(profile, "cycles") == cycles);
    (void)check_events(profile, cycles);
    cJSON_ArrayForEach(counter, counters) {
      bool all = strcmp(counter->string, "cycles") == 0;
      double sum = cycles_of(profile, REASONS, all ? NULL : counter->string);
      assert_true(sum == cJSON_GetNumberValue(counter));
    }
    assert_true(cycles_of(profile, 5, NULL) == bl_command_number(counters, "issue"));
    assert_true(cycles_of(profile, 1, NULL) > bl_command_number(counters, "issue"));
    cJSON_Delete(profile);
    cJSON_Delete(answer);
  }
}

static void refuses(void **state) {
  (void)state;
  bl_command_expect("run @net.bloom --profile @q.json", 2);
  bl_command_expect("run @net.bloom --device rtl --shards 2 --profile @q.json", 2);
  bl_command_expect("run @net.bloom --device rtl --profile @none/q.json", 1);
}

// A layer straight on the device: its events are as long as the runs' answers say; with a limit the
// tracks end and the file stays sound.
static void run_dense(uint64_t most_events, double *runs, bl_case_result *result) {
  bl_error err = {0};
  bl_program *program;
  bl_device device;
  bl_profile *profile;
  uint64_t counters[BL_COUNTER_COUNT];
  char path[256], text[BL_CASE_TEXT];
  bl_int_graph *graph = bl_net_dense(16, 6, 2, 1);
  bl_compile_options options = {&BL_CONFIGS[BL_CONFIG_TINY], 1};
  bl_device_spec spec = {.kind = BL_DEVICE_RTL, .config = options.config};
  static int32_t inputs[6 * 6 * 16];
  assert_non_null(graph);
  (void)snprintf(path, sizeof path, "%s/dense.json", bl_command_folder);
  assert_int_equal(bl_compile(graph, &options, &program, &err), BL_OK);
  assert_int_equal(bl_device_open(&spec, &device, &err), BL_OK);
  assert_int_equal(bl_profile_open(path, &device, graph, program, most_events, &profile, &err),
                   BL_OK);
  assert_int_equal(bl_driver_counters(&device.driver, counters, true), BL_DRIVER_OK);
  if (!bl_run_case(&device.driver, graph, program, inputs, 1, 1, result, text))
    fail_msg("%s", text);
  assert_int_equal(result->differing, 0);
  assert_int_equal(bl_driver_counters(&device.driver, counters, false), BL_DRIVER_OK);
  assert_int_equal(bl_profile_finish(profile, &err), BL_OK);
  bl_profile_close(profile);
  *runs = (double)counters[BL_COUNTER_CYCLES];
  bl_device_close(&device);
  bl_program_free(program);
  bl_arena_free(graph->arena);
}

static void ends_at_a_limit(void **state) {
  (void)state;
  bl_case_result result;
  double cycles;
  run_dense(BL_PROFILE_MOST_EVENTS, &cycles, &result);
  cJSON *profile = load("dense.json");
  uint32_t all = check_events(profile, cycles);
  assert_true(all > 40);
  assert_true(cycles_of(profile, REASONS, NULL) == cycles);
  assert_true(cycles_of(profile, 1, "conv") == cycles_of(profile, 1, NULL));
  cJSON_Delete(profile);
  run_dense(20, &cycles, &result);
  profile = load("dense.json");
  double at = profile_number(profile, "truncated_at");
  assert_in_range(check_events(profile, at), 20, 20 + TRACKS);
  assert_true(cycles_of(profile, REASONS, NULL) == at && at < cycles);
  assert_true(profile_number(profile, "cycles") == cycles);
  cJSON_Delete(profile);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adds_up),
      cmocka_unit_test(refuses),
      cmocka_unit_test(ends_at_a_limit),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
