// SPDX-License-Identifier: Apache-2.0
#include "host/cli/storage_output.h"

static void number(cJSON *object, const char *name, uint64_t value) {
  (void)cJSON_AddNumberToObject(object, name, (double)value);
}

static cJSON *json_row(const bl_storage_row *row) {
  cJSON *o = cJSON_CreateObject();
  if (row->name != NULL) (void)cJSON_AddStringToObject(o, "name", row->name);
  number(o, "weights", row->weights);
  number(o, "nonzero", row->nonzero);
  number(o, "values", row->values);
  number(o, "index_bits", row->index_bits);
  number(o, "code_bits", row->code_bits);
  number(o, "dense", row->dense);
  number(o, "pruned", row->pruned);
  number(o, "quantised", row->quantised);
  number(o, "coded", row->coded);
  number(o, "indices", row->indices);
  number(o, "codes", row->codes);
  number(o, "codebook", row->codebook);
  return o;
}

static void print_row(const char *name, const bl_storage_row *row, bl_cli_output *output) {
  bl_cli_say(output, "%-20.20s %9llu %6.2f %% %6u %10llu %9llu %9llu %8llu = %llu + %llu + %llu\n",
             name, (unsigned long long)row->weights,
             100 * (double)row->nonzero / (double)row->weights, row->values,
             (unsigned long long)row->dense, (unsigned long long)row->pruned,
             (unsigned long long)row->quantised, (unsigned long long)row->coded,
             (unsigned long long)row->indices, (unsigned long long)row->codes,
             (unsigned long long)row->codebook);
}

void bl_cli_print_storage(const bl_storage *storage, const bl_bloom_info *info,
                          bl_cli_output *output) {
  cJSON *o = cJSON_AddObjectToObject(output->object, "storage");
  cJSON *layers = cJSON_AddArrayToObject(o, "layers");
  bl_cli_say(output, "%-20s %9s %8s %6s %10s %9s %9s %8s = %s\n", "bytes of weights", "weights",
             "not 0", "values", "float", "pruned", "+ shared", "+ coded",
             "indices + codes + codebook");
  for (uint32_t l = 0; l < storage->row_count; l++) {
    print_row(storage->rows[l].name, &storage->rows[l], output);
    (void)cJSON_AddItemToArray(layers, json_row(&storage->rows[l]));
  }
  print_row("sum", &storage->sum, output);
  bl_cli_say(output,
             "file: %llu bytes = weights %llu + constants %llu + fields %llu + headers %llu",
             (unsigned long long)storage->file, (unsigned long long)storage->sum.coded,
             (unsigned long long)storage->constants, (unsigned long long)storage->fields,
             (unsigned long long)storage->headers);
  const double ratio = (double)info->float_bytes / (double)storage->file;
  bl_cli_say(output, info->float_bytes > 0 ? "; the float weights are %.1f times as large\n" : "\n",
             ratio);
  (void)cJSON_AddItemToObject(o, "sum", json_row(&storage->sum));
  number(o, "constants", storage->constants);
  number(o, "fields", storage->fields);
  number(o, "headers", storage->headers);
  number(o, "file", storage->file);
  if (info->float_bytes > 0) (void)cJSON_AddNumberToObject(o, "ratio", ratio);
}
