// SPDX-License-Identifier: Apache-2.0
#include "host/run/signature.h"

#include <string.h>
#include <zlib.h>

enum { MAX_PLANES = 8, MAX_WORD_BYTES = 32 };

typedef struct {
  const bl_config *config;
  const bl_region *region;
  const bl_int_tensor *tensor;
  const int32_t *values;
  const bl_descriptor *run;
  const bl_step *step;
} written;

// The code in a lane, counted over the words of a pixel whose channels are at `pixel`.
static uint32_t code_of(const written *w, const int32_t *pixel, uint32_t lane) {
  const uint32_t cols = w->config->cols, bytes = w->region->acc_bytes;
  uint32_t channel = lane - w->region->first_lane, byte = 0;
  if (bytes > 0) {
    channel = lane / cols / bytes * cols + lane % cols;
    byte = lane / cols % bytes;
  }
  if (channel >= w->tensor->c) return 0; // also where the lane lies before the first
  if (w->tensor->format.kind == BL_FORMAT_B1) return pixel[channel] > 0;
  return (uint32_t)pixel[channel] >> (8 * byte) & 0xFF;
}

// Where the integers of the pixel at an offset into the region start, and how many words of the
// pixel lie before that offset; NULL when the offset is not one of the tensor's (a negative one is
// too large).
static const int32_t *pixel_at(const written *w, uint32_t offset, uint32_t *words) {
  const bl_region *r = w->region;
  uint32_t image = offset / r->image_stride, in_image = offset % r->image_stride;
  uint32_t y = in_image / r->row_stride, in_row = in_image % r->row_stride;
  uint32_t x = in_row / r->pixel_stride, in_pixel = in_row % r->pixel_stride;
  if (r->pieces) { // the region holds the step's rows only
    image += w->step->image0;
    y += w->step->row0;
  }
  *words = in_pixel / r->planes;
  if (offset >= r->words || in_pixel % r->planes != 0 || y >= w->tensor->h || x >= w->tensor->w)
    return NULL;
  size_t pixel = ((size_t)image * w->tensor->h + y) * w->tensor->w + x;
  return w->values + pixel * w->tensor->c;
}

// One channel word, all planes, as far as the run's slots reach into it.
static uint32_t word_signature(const written *w, const int32_t *pixel, uint32_t address,
                               uint32_t first_lane, uint32_t from, uint32_t to) {
  const uint32_t bytes = w->config->lanes / 8;
  uint8_t planes[MAX_PLANES][4 + MAX_WORD_BYTES] = {{0}};
  uint32_t sum = 0;
  for (uint32_t lane = from; lane < to; lane++) {
    uint32_t code = code_of(w, pixel, first_lane + lane);
    for (uint32_t i = 0; i < w->run->out_planes; i++)
      planes[i][4 + lane / 8] |= (uint8_t)((code >> i & 1) << lane % 8);
  }
  for (uint32_t i = 0; i < w->run->out_planes; i++) {
    for (int b = 0; b < 4; b++)
      planes[i][b] = (uint8_t)((address + i) >> 8 * b);
    sum += (uint32_t)crc32_z(0, planes[i], 4 + bytes);
  }
  return sum;
}

static bool add_pixel(const written *w, uint32_t address, uint32_t *sum) {
  const uint32_t cols = w->config->cols, lanes = w->config->lanes;
  uint32_t word, lane = w->run->out_slot * cols, end = lane + w->run->tiles * cols;
  const int32_t *pixel = pixel_at(w, address - w->region->address, &word);
  if (pixel == NULL) return false;
  while (lane < end) { // to the end of the word or of the run's slots
    uint32_t base = lane / lanes * lanes, to = end - base < lanes ? end - base : lanes;
    *sum += word_signature(w, pixel, address + base / lanes * w->run->out_planes,
                           word * lanes + base, lane - base, to);
    lane = base + to;
  }
  return true;
}

bool bl_signature_run(const bl_program *program, const bl_int_graph *graph, const bl_step *step,
                      const int32_t *values, uint32_t *signature) {
  *signature = 0;
  if (step->opcode != BL_OP_RUN || step->layer >= graph->layer_count) return false;
  bl_descriptor d;
  bl_descriptor_unpack(step->payload, &d);
  uint32_t tensor = graph->layers[step->layer].output;
  written w = {.config = &program->config,
               .region = &program->regions[tensor],
               .tensor = &graph->tensors[tensor],
               .values = values,
               .run = &d,
               .step = step};
  if (d.out_planes != w.region->planes || d.out_pixel_stride != w.region->pixel_stride ||
      d.out_planes > MAX_PLANES || w.config->lanes > 8 * MAX_WORD_BYTES)
    return false;
  uint64_t pixels = (uint64_t)d.images * d.out_h * d.out_w;
  for (uint64_t m = 0; m < pixels; m++)
    if (!add_pixel(&w, d.out_base + (uint32_t)m * d.out_pixel_stride, signature)) return false;
  return true;
}
