// SPDX-License-Identifier: Apache-2.0
// The report: one HTML page about one compiled network, complete in itself (inline CSS and SVG, no
// script, nothing fetched), readable on light, dark and paper.
#ifndef BITLOOM_HOST_REPORT_REPORT_H
#define BITLOOM_HOST_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"

// One layer's row.
typedef struct {
  const char *name, *kind;           // of the graph's node; "convolution 3x3", ...
  char shape[48];                    // "28 x 28 x 1 to 14 x 14 x 8"
  const char *weights, *activations; // formats: "s4", "u4"
  uint64_t macs;                     // multiply-accumulates of one image
  uint64_t weight_bytes;             // weights as coded, and channel parameters
  double cycles;                     // of one image, by the cycle model (host/cost), and of those
  double issue_cycles;               // the ones that issued the array a step,
  double requant_cycles;             // waited for requantise or pack,
  double gather_cycles;              // waited for a row buffer,
  double drain_cycles;               // fetched lists or drained
  double measured;                   // cycles that the RTL took; 0: not measured
} bl_report_layer;

// A share of all cycles.
typedef struct {
  const char *name, *meaning;
  uint64_t cycles;
} bl_report_reason;

typedef struct {
  const char *model, *source;  // network's name, file it is about
  const char *config, *device; // "default", "rtl"
  uint32_t rows, cols, lanes;  // of the array
  const char *data;            // name of the data set, or what stood in for it
  uint64_t samples, correct;
  bool has_accuracy;
  uint64_t file_bytes, weight_bits, float_bytes; // .bloom, all weights as coded, as 32-bit floats
  double cycles_per_image, clock_mhz;
  uint64_t compared, mismatches; // output values against the reference kernels
  bool has_verdict;
  const bl_report_layer *layers;
  uint32_t layer_count;
  const bl_report_reason *reasons;
  uint32_t reason_count;
} bl_report;

// The page as one zero-terminated text that the caller frees. Errors: MEMORY.
BL_MUST_USE bl_status bl_report_html(const bl_report *report, char **text, size_t *size,
                                     bl_error *err);

#endif
