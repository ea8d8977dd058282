// SPDX-License-Identifier: Apache-2.0
// The data options: preprocessing, data set, its name.
#include "host/cli/data_args.h"

#include <string.h>

static void replace(const bl_cli_reals *given, uint32_t channels, double *values, uint32_t had) {
  for (uint32_t i = 0; i < channels; i++) {
    if (given->count != 0)
      values[i] = given->values[given->count == 1 ? 0 : i];
    else if (had == 1)
      values[i] = values[0];
  }
}

bl_status bl_cli_preprocess(const bl_cli_args *args, bl_preprocess *preprocess, bl_error *err) {
  bl_preprocess *p = preprocess;
  const uint32_t means = args->mean.count, stds = args->std.count;
  if (args->scale.count > 1) return bl_fail(err, BL_ERR_USAGE, "--scale takes one value");
  if (means > 1 && stds > 1 && means != stds)
    return bl_fail(err, BL_ERR_USAGE, "--mean has %u values, --std %u", (unsigned)means,
                   (unsigned)stds);
  uint32_t had = p->channels, wanted = means > stds ? means : stds;
  if (means == 0 || stds == 0) wanted = wanted > had ? wanted : had;
  if (wanted != 0 && (means == 0 || stds == 0) && had > 1 && wanted != had)
    return bl_fail(err, BL_ERR_USAGE, "give both --mean and --std: the file has %u channels",
                   (unsigned)had);
  p->channels = wanted != 0 ? wanted : had;
  replace(&args->mean, p->channels, p->mean, had);
  replace(&args->std, p->channels, p->std, had);
  if (args->scale.count == 1) p->scale = args->scale.values[0];
  if (args->layout >= 0) p->layout = args->layout == BL_CLI_NHWC ? BL_LAYOUT_NHWC : BL_LAYOUT_NCHW;
  bl_error inner = {0};
  if (bl_preprocess_check(p, &inner) != BL_OK) return bl_fail(err, BL_ERR_USAGE, "%s", inner.text);
  return BL_OK;
}

bl_status bl_cli_check_layout(const bl_cli_args *args, const bl_dataset *dataset, bl_error *err) {
  if (dataset->planar && args->layout == BL_CLI_NHWC)
    return bl_fail(err, BL_ERR_USAGE, "--layout nhwc: CIFAR records are always nchw");
  return BL_OK;
}

bl_status bl_cli_open_data(const bl_cli_args *args, bl_dataset *dataset, bl_error *err) {
  if (args->data == NULL) return bl_fail(err, BL_ERR_USAGE, "needs --data FILE");
  bl_dataset_source source = {.images = args->data,
                              .image_array = args->array,
                              .labels = args->labels,
                              .label_array = args->label_array,
                              .skip = args->skip,
                              .limit = args->limit};
  BL_TRY(bl_dataset_open(&source, dataset, err));
  bl_status status = bl_cli_check_layout(args, dataset, err);
  if (status != BL_OK) bl_dataset_free(dataset);
  return status;
}

bl_status bl_cli_bits(const char *text, unsigned *weights, unsigned *activations, bl_error *err) {
  if (text == NULL) return BL_OK;
  bool sound = strlen(text) == 4 && text[0] == 'w' && text[1] >= '1' && text[1] <= '8' &&
               text[2] == 'a' && text[3] >= '1' && text[3] <= '8';
  if (!sound)
    return bl_fail(err, BL_ERR_USAGE, "--bits %s: expected wNaM with N and M from 1 to 8", text);
  *weights = (unsigned)(text[1] - '0');
  *activations = (unsigned)(text[3] - '0');
  return BL_OK;
}

const char *bl_cli_data_name(const bl_cli_args *args) {
  if (args->data == NULL) return "random inputs";
  const char *slash = strrchr(args->data, '/');
  return slash == NULL ? args->data : slash + 1;
}
