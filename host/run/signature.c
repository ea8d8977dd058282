// SPDX-License-Identifier: Apache-2.0
#include "host/run/signature.h"

#include <zlib.h>

enum { MAX_PLANES = 8, MAX_WORD_BYTES = 32 };

typedef struct {
  const bl_config *config;
  const bl_region *region;
  const bl_int_tensor *tensor;
  const bl_descriptor *run;
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
  if (w->tensor->format.kind == BL_FORMAT_B) return pixel[channel] > 0;
  return (uint32_t)pixel[channel] >> (8 * byte) & 0xFF;
}

// One channel word, all planes, as far as the run's slots reach into it.
static uint32_t word_signature(const written *w, const int32_t *pixel, uint32_t address,
                               uint32_t lane0, uint32_t from, uint32_t to) {
  const uint32_t bytes = w->config->lanes / 8;
  uint8_t planes[MAX_PLANES][4 + MAX_WORD_BYTES] = {{0}};
  uint32_t sum = 0;
  for (uint32_t lane = from; lane < to; lane++) {
    uint32_t code = code_of(w, pixel, lane0 + lane);
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

// The words of a pixel, from the one on that lies at `address` and starts with lane `lane0`.
static uint32_t pixel_signature(const written *w, const int32_t *pixel, uint32_t address,
                                uint32_t lane0) {
  const uint32_t cols = w->config->cols, lanes = w->config->lanes;
  uint32_t sum = 0, lane = w->run->out_slot * cols, end = lane + w->run->tiles * cols;
  while (lane < end) { // to the end of the word or of the run's slots
    uint32_t base = lane / lanes * lanes, to = end - base < lanes ? end - base : lanes;
    sum += word_signature(w, pixel, address + base / lanes * w->run->out_planes, lane0 + base,
                          lane - base, to);
    lane = base + to;
  }
  return sum;
}

bool bl_signature_run(const bl_program *program, const bl_int_graph *graph, const bl_step *step,
                      const int32_t *values, uint32_t *signature) {
  *signature = 0;
  if (step->opcode != BL_OP_RUN || step->partial) return false;
  bl_descriptor d;
  bl_descriptor_unpack(step->payload, &d);
  const uint32_t tensor = graph->layers[step->layer].output;
  const bl_int_tensor *t = &graph->tensors[tensor];
  const bl_region *r = &program->regions[tensor];
  const written w = {&program->config, r, t, &d};
  uint32_t lane0 = (d.out_base - r->address) % r->pixel_stride / r->planes * w.config->lanes;
  uint32_t address = d.out_base;
  for (uint32_t image = step->image0; image < step->image0 + step->images; image++)
    for (uint32_t y = step->row0; y < step->row0 + step->rows; y++)
      for (uint32_t x = 0; x < t->w; x++, address += d.out_pixel_stride) {
        size_t pixel = ((size_t)image * t->h + y) * t->w + x;
        *signature += pixel_signature(&w, values + pixel * t->c, address, lane0);
      }
  return true;
}
