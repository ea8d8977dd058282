// SPDX-License-Identifier: Apache-2.0
// bitloom device: what a device says about itself, and its counters.
#include "host/cli/commands.h"
#include "host/cli/job.h"
#include "host/run/device.h"

static const struct {
  const char *name, *meaning;
  size_t offset;
} parameters[] = {
    {"rows", "output pixels in flight", offsetof(bl_config, rows)},
    {"cols", "output channels in flight", offsetof(bl_config, cols)},
    {"lanes", "bits of the reduction a cycle", offsetof(bl_config, lanes)},
    {"acc_w", "accumulator bits", offsetof(bl_config, acc_w)},
    {"weight_depth", "weight memory, words a column", offsetof(bl_config, weight_depth)},
    {"param_depth", "parameter memory, rows", offsetof(bl_config, param_depth)},
    {"k_depth", "K-list memory, entries", offsetof(bl_config, k_depth)},
    {"pass_depth", "pass-list memory, entries", offsetof(bl_config, pass_depth)},
    {"tile_depth", "tile-list memory, entries", offsetof(bl_config, tile_depth)},
    {"act_depth", "activation memory, words", offsetof(bl_config, act_depth)},
    {"row_depth", "half a row buffer, words", offsetof(bl_config, row_depth)},
    {"table_depth", "tables, entries", offsetof(bl_config, table_depth)},
    {"gather_words", "activation words read a cycle", offsetof(bl_config, gather_words)},
};

static void print_parameters(const bl_config *config, bl_cli_output *output) {
  for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
    const char *base = (const char *)config + parameters[i].offset;
    uint32_t value = *(const uint32_t *)(const void *)base;
    bl_cli_say(output, "  %-13s %6u  %s\n", parameters[i].name, (unsigned)value,
               parameters[i].meaning);
    (void)cJSON_AddNumberToObject(output->object, parameters[i].name, value);
  }
}

static bl_status print_counters(bl_device *device, bl_cli_output *output, bl_error *err) {
  uint64_t counters[BL_COUNTER_COUNT];
  BL_TRY(bl_device_check(device, bl_driver_counters(&device->driver, counters, false),
                         "reading counters", err));
  cJSON *object = cJSON_AddObjectToObject(output->object, "counters");
  bl_cli_say(output, "counters\n");
  for (int i = 0; i < BL_COUNTER_COUNT; i++) {
    bl_cli_say(output, "  %-13s %6llu  %s\n", bl_device_counter_name(i),
               (unsigned long long)counters[i], bl_device_counter_meaning(i));
    (void)cJSON_AddNumberToObject(object, bl_device_counter_name(i), (double)counters[i]);
  }
  return BL_OK;
}

bl_status bl_cmd_device(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_device_spec spec = {.kind = bl_cli_device_kind(args),
                         .config = &BL_CONFIGS[args->config < 0 ? BL_CLI_DEFAULT : args->config]};
  bl_device device;
  BL_TRY(bl_device_open(&spec, &device, err));
  bl_config found;
  bl_status status =
      bl_device_check(&device, bl_driver_identify(&device.driver, spec.config, &found),
                      "asking for its identity", err);
  if (status == BL_OK) {
    bl_cli_say(output, "%s device, configuration %s, contract version %d\n",
               bl_device_name(spec.kind), spec.config->name, BL_CONTRACT_VERSION);
    (void)cJSON_AddStringToObject(output->object, "device", bl_device_name(spec.kind));
    (void)cJSON_AddStringToObject(output->object, "config", spec.config->name);
    (void)cJSON_AddNumberToObject(output->object, "version", BL_CONTRACT_VERSION);
    print_parameters(&found, output);
    status = print_counters(&device, output, err);
  }
  bl_device_close(&device);
  return status;
}
