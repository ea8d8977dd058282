// SPDX-License-Identifier: Apache-2.0
// Writing compiled files. The layout is docs/reference/bloom-format.md.
#include "host/compile/bloom_internal.h"

#include <stdlib.h>
#include <zlib.h>

#include "host/base/file.h"

void bl_put_info(bl_writer *w, const bl_bloom_info *info) {
  const bl_preprocess *p = &info->preprocess;
  bl_put_real(w, p->scale);
  bl_put(w, p->channels, 4);
  bl_put(w, (uint64_t)p->layout, 4);
  for (int i = 0; i < BL_PREPROCESS_MAX_CHANNELS; i++)
    bl_put_real(w, p->mean[i]);
  for (int i = 0; i < BL_PREPROCESS_MAX_CHANNELS; i++)
    bl_put_real(w, p->std[i]);
  bl_put_real(w, p->input_mul);
  bl_put_real(w, p->input_add);
  bl_put(w, (uint64_t)info->suffix, 4);
  bl_put_real(w, info->float_accuracy);
  bl_put(w, info->float_bytes, 8);
}

static void put_format(bl_writer *w, bl_format format) {
  bl_put(w, (uint64_t)format.kind, 1);
  bl_put(w, format.bits, 1);
}

static void put_tensor(bl_writer *w, const bl_int_tensor *t) {
  bl_put_text(w, t->name);
  bl_put(w, t->h, 4);
  bl_put(w, t->w, 4);
  bl_put(w, t->c, 4);
  put_format(w, t->format);
  bl_put_real(w, t->scale);
  bl_put(w, (uint32_t)t->zero_point, 4);
  bl_put(w, t->parent, 4);
  bl_put(w, t->parent_channel, 4);
}

static void put_constants(bl_writer *fields, bl_writer *constants, const bl_int_layer *l,
                          uint32_t channels) {
  bool requant = l->mult != NULL && l->bias != NULL && l->shift != NULL;
  bool real = l->out_scale != NULL && l->out_bias != NULL;
  unsigned flags = requant ? BL_LAYER_REQUANT : 0u;
  if (real) flags |= BL_LAYER_REAL;
  if (l->codebook != NULL) flags |= BL_LAYER_CODEBOOK;
  if (l->addend_weight != NULL) flags |= BL_LAYER_ADDEND;
  if (l->table != NULL) flags |= BL_LAYER_TABLE;
  if (l->upsample) flags |= BL_LAYER_UPSAMPLE;
  if (l->addend_weight != NULL && l->project_h > 0) flags |= BL_LAYER_PROJECTS;
  bl_put(fields, flags, 1);
  if (requant) {
    bl_put_planes(constants, l->mult, channels, 4, true);
    bl_put_planes(constants, l->bias, channels, 8, true);
    bl_put_planes(constants, l->shift, channels, 1, false);
  }
  if (real) {
    bl_put_planes(constants, l->out_scale, channels, 8, false);
    bl_put_planes(constants, l->out_bias, channels, 8, false);
  }
}

// What few layers have, in the order of the flags.
static void put_extras(bl_writer *fields, bl_writer *constants, bool weights,
                       const bl_int_graph *graph, const bl_int_layer *l, uint32_t channels) {
  if (weights && l->codebook != NULL) bl_put_bytes(fields, l->codebook, BL_INT_CODES);
  if (l->addend_weight != NULL) {
    bl_put(fields, l->addend, 4);
    bl_put(fields, l->raise, 1);
    if (l->project_h > 0) bl_put(fields, l->project_h, 1);
    if (l->project_h > 0) bl_put(fields, l->project_w, 1);
    const size_t count = (size_t)channels * bl_int_addend_fan(graph, l);
    bl_put_planes(constants, l->addend_weight, count, 4, true);
  }
  if (l->table != NULL) bl_put_planes(constants, l->table, BL_INT_TABLE, 4, true);
}

static void put_layer(bl_writer *fields, bl_writer *constants, bool weights,
                      const bl_int_graph *graph, const bl_int_layer *l) {
  const uint32_t numbers[] = {l->input,          l->output,
                              l->groups,         l->kernel_h,
                              l->kernel_w,       l->stride_h,
                              l->stride_w,       l->dilation_h,
                              l->dilation_w,     l->pad_top,
                              l->pad_left,       l->pad_bottom,
                              l->pad_right,      l->pool_h,
                              l->pool_w,         l->pool_stride_h,
                              l->pool_stride_w,  l->pool_pad_top,
                              l->pool_pad_left,  l->pool_pad_bottom,
                              l->pool_pad_right, (uint32_t)l->pad_value,
                              (uint32_t)l->lo,   (uint32_t)l->hi};
  bl_put_text(fields, l->name);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    bl_put(fields, numbers[i], 4);
  put_format(fields, l->weight_format);
  uint32_t out_c = graph->tensors[l->output].c;
  size_t each = (size_t)l->kernel_h * l->kernel_w * (graph->tensors[l->input].c / l->groups);
  if (weights) bl_put_bytes(fields, l->weights, each * out_c);
  put_constants(fields, constants, l, out_c);
  put_extras(fields, constants, weights, graph, l, out_c);
}

void bl_put_graph(bl_writer *fields, bl_writer *constants, bool weights,
                  const bl_int_graph *graph) {
  bl_put_text(fields, graph->name);
  bl_put(fields, graph->tensor_count, 4);
  bl_put(fields, graph->layer_count, 4);
  bl_put(fields, graph->output, 4);
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    put_tensor(fields, &graph->tensors[t]);
  for (uint32_t l = 0; l < graph->layer_count; l++)
    put_layer(fields, constants, weights, graph, &graph->layers[l]);
}

static void put_step(bl_writer *w, const bl_step *s) {
  bl_put(w, s->opcode, 1);
  bl_put(w,
         (s->stored ? BL_STEP_STORED : 0u) | (s->last_part ? BL_STEP_LAST_PART : 0u) |
             (s->rows_done ? BL_STEP_ROWS_DONE : 0u),
         1);
  bl_put(w, s->address, 4);
  bl_put(w, s->argument, 4);
  bl_put(w, s->layer, 4);
  bl_put(w, s->part, 4);
  bl_put(w, s->bytes, 4);
  bl_put(w, s->store_offset, 4);
  bl_put(w, s->image0, 4);
  bl_put(w, s->images, 4);
  bl_put(w, s->row0, 4);
  bl_put(w, s->rows, 4);
  for (uint32_t i = 0; !s->stored && i < s->bytes; i++)
    bl_put(w, s->payload[i / 4] >> (i % 4 * 8) & 0xFF, 1);
}

static void put_config(bl_writer *w, const bl_config *c) {
  const uint32_t fields[] = {c->rows,         c->cols,        c->lanes,     c->acc_w,
                             c->weight_depth, c->param_depth, c->k_depth,   c->pass_depth,
                             c->tile_depth,   c->act_depth,   c->row_depth, c->table_depth,
                             c->gather_words};
  bl_put_text(w, c->name);
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    bl_put(w, fields[i], 4);
}

void bl_put_program(bl_writer *w, const bl_program *p) {
  const bl_input_packing *in = &p->input;
  const uint32_t packing[] = {in->window_h,  in->window_w,   in->stride_h,
                              in->stride_w,  in->dilation_h, in->dilation_w,
                              in->pad_top,   in->pad_left,   (uint32_t)in->pad_value,
                              in->h,         in->w,          in->c,
                              in->cut_ops,   in->pieces,     in->slots,
                              in->slot_words};
  bl_put(w, p->images, 4);
  put_config(w, &p->config);
  bl_put(w, p->ahead, 1);
  for (size_t i = 0; i < sizeof packing / sizeof packing[0]; i++)
    bl_put(w, packing[i], 4);
  bl_put(w, p->stage_count, 4);
  for (uint32_t i = 0; i < p->stage_count; i++) {
    bl_put(w, p->stages[i].op0, 4);
    bl_put(w, p->stages[i].op1, 4);
    bl_put(w, p->stages[i].pieces, 4);
  }
  bl_put(w, p->store_bytes, 4);
  bl_put(w, p->output_offset, 4);
  bl_put(w, p->tensor_count, 4);
  for (uint32_t t = 0; t < p->tensor_count; t++) {
    bl_put(w, p->regions[t].address, 4);
    bl_put(w, p->regions[t].acc_bytes, 4);
  }
  bl_put(w, p->setup_count, 4);
  bl_put(w, p->batch_count, 4);
  for (uint32_t i = 0; i < p->setup_count; i++)
    put_step(w, &p->setup[i]);
  for (uint32_t i = 0; i < p->batch_count; i++)
    put_step(w, &p->batch[i]);
}

static void put_section(bl_writer *w, uint32_t id, const bl_writer *content) {
  bl_writer header = {0};
  bl_put(&header, id, 4);
  bl_put(&header, content->size, 8);
  bl_put(&header, crc32_z(0, content->bytes, content->size), 4);
  if (!header.failed) bl_put(&header, crc32_z(0, header.bytes, header.size), 4);
  if (header.failed || content->failed)
    w->failed = true;
  else
    bl_put_bytes(w, header.bytes, header.size);
  bl_put_bytes(w, content->bytes, content->size);
  free(header.bytes);
}

static void put_header(bl_writer *w, uint64_t size, uint32_t sections) {
  bl_put_bytes(w, BL_BLOOM_MAGIC, 8);
  bl_put(w, BL_BLOOM_VERSION, 4);
  bl_put(w, BL_CONTRACT_VERSION, 4);
  bl_put(w, size, 8);
  bl_put(w, sections, 4);
  if (!w->failed) bl_put(w, crc32_z(0, w->bytes, w->size), 4);
}

// Sections first, first + 1, ... in a file.
static bl_status write_file(const char *path, uint32_t first, bl_writer *parts, uint32_t count,
                            bl_error *err) {
  bl_writer file = {0};
  uint64_t size = BL_BLOOM_HEADER;
  for (uint32_t i = 0; i < count; i++)
    size += BL_BLOOM_SECTION_HEADER + parts[i].size;
  put_header(&file, size, count);
  for (uint32_t i = 0; i < count; i++)
    put_section(&file, first + i, &parts[i]);
  bl_status status;
  if (file.failed)
    status = bl_fail(err, BL_ERR_MEMORY, "%s: no memory to write it", path);
  else if (size > BL_BLOOM_MAX_BYTES)
    status = bl_fail(err, BL_ERR_RANGE, "%s: would take %llu bytes, the limit is %u", path,
                     (unsigned long long)size, (unsigned)BL_BLOOM_MAX_BYTES);
  else
    status = bl_file_write(path, file.bytes, file.size, err);
  free(file.bytes);
  return status;
}

bl_status bl_bloom_save(const char *path, const bl_int_graph *graph, const bl_program *program,
                        const bl_bloom_info *info, bl_error *err) {
  bl_writer parts[BL_BLOOM_SECTIONS] = {{0}};
  bl_put_info(&parts[0], info);
  bl_put_graph(&parts[1], &parts[1], true, graph);
  bl_put_program(&parts[2], program);
  bl_status status = write_file(path, BL_SECTION_INFO, parts, BL_BLOOM_SECTIONS, err);
  for (int i = 0; i < BL_BLOOM_SECTIONS; i++)
    free(parts[i].bytes);
  return status;
}

bl_status bl_bloom_save_coded(const char *path, const bl_int_graph *graph,
                              const bl_program *program, const bl_bloom_info *info, bl_error *err) {
  bl_writer coded = {0};
  bl_put_coded(&coded, graph, program, info, NULL);
  bl_status status = write_file(path, BL_SECTION_CODED, &coded, 1, err);
  free(coded.bytes);
  return status;
}
