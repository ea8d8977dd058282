// SPDX-License-Identifier: Apache-2.0
// The first layer on pieces of its input. Where the device runs a 1x1 kernel (packed windows, or a
// vector), the rows of all images stand one below the other and a run may take any of them; pooling
// windows that tile the rows may not be cut. Pieces go through slots in turn, so that the next ones
// load while the array works on one: two runs may be under way or queued, hence three slots.
#include "host/compile/internal.h"

bool bl_chunk_possible(const bl_int_graph *graph, const bl_mapping *m, uint32_t images,
                       uint32_t rows, uint32_t load_bytes) {
  const bl_int_layer *l = m->layer;
  uint32_t readers = 0;
  for (uint32_t i = 0; i < graph->layer_count; i++)
    readers += graph->layers[i].input == 0;
  bool plain = m->taps == 1 && m->stride_h == 1 && m->stride_w == 1 && m->pad_top == 0 &&
               m->pad_left == 0 && m->in_h == m->conv_h && m->in_w == m->conv_w;
  bool tiling = l->pool_pad_top == 0 && (uint64_t)m->out->h * l->pool_h == m->in_h &&
                (m->out->h == 1 || m->pool_stride_h == l->pool_h);
  uint64_t total = (uint64_t)images * m->in_h;
  uint64_t bytes = (uint64_t)rows * m->in_w * m->in_words * m->in_planes * load_bytes;
  return readers == 1 && plain && tiling && rows > 0 && rows < total && total % rows == 0 &&
         rows % l->pool_h == 0 && rows <= UINT16_MAX && bytes % 4 == 0;
}

uint32_t bl_chunk_count(const bl_mapping *m, const bl_input_packing *input, uint32_t images) {
  if (m->layer->input != 0 || input->chunk_rows == 0) return 1;
  return images * m->in_h / input->chunk_rows;
}

bl_step bl_chunk_load(const bl_program *program, uint32_t chunk) {
  const bl_region *r = &program->regions[0];
  const bl_input_packing *in = &program->input;
  bl_step step = {.opcode = BL_OP_LOAD_ACTIVATIONS,
                  .address = r->address,
                  .argument = r->load_bytes << 24,
                  .bytes = bl_program_input_bytes(program),
                  .input = true,
                  .layer = BL_STEP_NO_LAYER};
  if (in->chunk_rows == 0) return step;
  uint32_t words = in->chunk_rows * r->row_stride;
  step.address += chunk % in->slots * words;
  step.bytes = words * r->load_bytes;
  step.input_offset = chunk * step.bytes;
  return step;
}

void bl_chunk_describe(const bl_program *program, const bl_mapping *m, uint32_t chunk,
                       bl_descriptor *d) {
  const bl_input_packing *in = &program->input;
  if (m->layer->input != 0 || in->chunk_rows == 0) return;
  const uint32_t pool = m->layer->pool_h, rows = in->chunk_rows, out_rows = rows / pool;
  const bl_region *out = &program->regions[m->layer->output];
  d->images = 1;
  d->in_base = (uint16_t)(d->in_base + chunk % in->slots * rows * program->regions[0].row_stride);
  d->in_h = (uint16_t)rows;
  d->conv_end_h = (int32_t)rows;
  d->step_h = (uint16_t)pool;
  d->out_h = (uint16_t)out_rows;
  d->out_base = (uint16_t)(d->out_base + chunk * out_rows * m->out->w * out->pixel_stride);
}
