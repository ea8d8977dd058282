// SPDX-License-Identifier: Apache-2.0
// Reading compiled files: header, sections, then each section through a reader that knows its end.
// A count is believed only when what it announces can still follow.
#include "host/compile/bloom_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/base/file.h"

bl_status bl_bloom_damaged(const char *name, const char *what, bl_error *err) {
  return bl_fail(err, BL_ERR_FORMAT, "%s: %s; compile it again", name, what);
}

bl_status bl_read_info(const char *name, bl_reader *r, bl_bloom_info *info, bl_error *err) {
  bl_preprocess *p = &info->preprocess;
  p->scale = bl_get_real(r);
  p->channels = bl_get32(r);
  uint32_t layout = bl_get32(r);
  for (int i = 0; i < BL_PREPROCESS_MAX_CHANNELS; i++)
    p->mean[i] = bl_get_real(r);
  for (int i = 0; i < BL_PREPROCESS_MAX_CHANNELS; i++)
    p->std[i] = bl_get_real(r);
  p->input_mul = bl_get_real(r);
  p->input_add = bl_get_real(r);
  uint32_t suffix = bl_get32(r);
  info->float_accuracy = bl_get_real(r);
  info->float_bytes = bl_get(r, 8);
  if (r->failed || layout > BL_LAYOUT_NHWC || suffix >= BL_SUFFIX_COUNT ||
      !isfinite(info->float_accuracy) || info->float_accuracy > 1)
    return bl_bloom_damaged(name, "its general information makes no sense", err);
  p->layout = (bl_layout)layout;
  info->suffix = (bl_suffix)suffix;
  return bl_preprocess_check(p, err);
}

static bl_format get_format(bl_reader *r) {
  uint8_t kind = (uint8_t)bl_get(r, 1), bits = (uint8_t)bl_get(r, 1);
  if (kind > BL_FORMAT_ACC) r->failed = true;
  return (bl_format){r->failed ? BL_FORMAT_U : (bl_format_kind)kind, bits};
}

static void get_tensor(bl_reader *r, bl_arena *arena, bl_int_tensor *t) {
  t->name = bl_get_text(r, arena);
  t->h = bl_get32(r);
  t->w = bl_get32(r);
  t->c = bl_get32(r);
  t->format = get_format(r);
  t->scale = bl_get_real(r);
  t->zero_point = bl_get_signed32(r);
  t->parent = bl_get32(r);
  t->parent_channel = bl_get32(r);
}

static void get_fields(bl_reader *r, bl_int_layer *l) {
  uint32_t *const fields[] = {&l->input,         &l->output,          &l->groups,
                              &l->kernel_h,      &l->kernel_w,        &l->stride_h,
                              &l->stride_w,      &l->dilation_h,      &l->dilation_w,
                              &l->pad_top,       &l->pad_left,        &l->pad_bottom,
                              &l->pad_right,     &l->pool_h,          &l->pool_w,
                              &l->pool_stride_h, &l->pool_stride_w,   &l->pool_pad_top,
                              &l->pool_pad_left, &l->pool_pad_bottom, &l->pool_pad_right};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    *fields[i] = bl_get32(r);
  l->pad_value = bl_get_signed32(r);
  l->lo = bl_get_signed32(r);
  l->hi = bl_get_signed32(r);
  l->weight_format = get_format(r);
}

// Elements of the layer's weights; 0 when its fields do not fit together or there is no room
// for them: in the section where they lie among the fields.
static size_t weight_count(const bl_int_graph *graph, const bl_int_layer *l,
                           const bl_graph_source *from) {
  if (from->fields->failed || l->input >= graph->tensor_count || l->output >= graph->tensor_count)
    return 0;
  uint64_t in_c = graph->tensors[l->input].c, out_c = graph->tensors[l->output].c;
  if (l->groups < 1 || in_c % l->groups != 0 || l->kernel_h > BL_INT_MAX_KERNEL ||
      l->kernel_w > BL_INT_MAX_KERNEL || in_c > BL_INT_MAX_DIM || out_c > BL_INT_MAX_DIM)
    return 0;
  uint64_t each = in_c / l->groups * l->kernel_h; // < 2^32
  uint64_t left = from->coded == NULL ? bl_left(from->fields) : *from->room;
  if (each > left || each * l->kernel_w > left || each * l->kernel_w * out_c > left) return 0;
  return (size_t)(each * l->kernel_w * out_c);
}

// An array of `count` integers, in planes; NULL (and failed) where they do not follow.
static void *get_array(bl_reader *r, bl_arena *arena, size_t count, unsigned bytes,
                       bool is_signed) {
  void *values = count > bl_left(r) / bytes ? NULL : bl_arena_alloc(arena, count, bytes);
  if (values == NULL || !bl_get_planes(r, values, count, bytes, is_signed)) {
    r->failed = true;
    return NULL;
  }
  return values;
}

static void get_requant(bl_reader *r, bl_arena *arena, uint32_t channels, bl_int_layer *l) {
  l->mult = get_array(r, arena, channels, 4, true);
  l->bias = get_array(r, arena, channels, 8, true);
  l->shift = get_array(r, arena, channels, 1, false);
}

static void get_real_scale(bl_reader *r, bl_arena *arena, uint32_t channels, bl_int_layer *l) {
  l->out_scale = get_array(r, arena, channels, 8, false);
  l->out_bias = get_array(r, arena, channels, 8, false);
}

static void get_addend(bl_reader *r, bl_reader *constants, const bl_int_graph *graph, bool projects,
                       bl_int_layer *l) {
  l->addend = bl_get32(r);
  l->raise = (uint8_t)bl_get(r, 1);
  if (projects) l->project_h = (uint32_t)bl_get(r, 1);
  if (projects) l->project_w = (uint32_t)bl_get(r, 1);
  r->failed = r->failed || l->addend >= graph->tensor_count || (projects && l->project_h == 0);
  const uint64_t count =
      r->failed ? 0 : (uint64_t)graph->tensors[l->output].c * bl_int_addend_fan(graph, l);
  if (!r->failed) l->addend_weight = get_array(constants, graph->arena, count, 4, true);
}

static void get_codebook(bl_reader *r, bl_arena *arena, bl_int_layer *l) {
  const uint8_t *codes = bl_get_bytes(r, BL_INT_CODES);
  l->codebook = codes == NULL ? NULL : bl_arena_alloc(arena, BL_INT_CODES, 1);
  if (l->codebook != NULL)
    memcpy(l->codebook, codes, BL_INT_CODES);
  else
    r->failed = true;
}

static void get_weights(const bl_graph_source *from, const bl_int_graph *graph, bl_int_layer *l) {
  bl_reader *r = from->coded == NULL ? from->fields : from->coded;
  const size_t count = weight_count(graph, l, from), channels = graph->tensors[l->output].c;
  l->weights = count == 0 ? NULL : bl_arena_alloc(graph->arena, count, 1);
  if (l->weights == NULL) {
    r->failed = true;
  } else if (from->coded != NULL) {
    *from->room -= count;
    bl_get_coded_weights(r, l->weights, channels, count / channels);
  } else {
    const uint8_t *weights = bl_get_bytes(r, count);
    if (weights != NULL) memcpy(l->weights, weights, count);
  }
}

static void get_layer(const bl_graph_source *from, const bl_int_graph *graph, bl_int_layer *l) {
  bl_reader *r = from->fields, *constants = from->constants;
  l->name = bl_get_text(r, graph->arena);
  get_fields(r, l);
  if (r->failed || l->output >= graph->tensor_count) {
    r->failed = true;
    return;
  }
  get_weights(from, graph, l);
  uint32_t channels = graph->tensors[l->output].c;
  uint64_t flags = bl_get(r, 1);
  if (flags > BL_LAYER_FLAGS) r->failed = true;
  if (r->failed || l->weights == NULL) return;
  l->upsample = (flags & BL_LAYER_UPSAMPLE) != 0;
  if ((flags & BL_LAYER_REQUANT) != 0) get_requant(constants, graph->arena, channels, l);
  if ((flags & BL_LAYER_REAL) != 0) get_real_scale(constants, graph->arena, channels, l);
  if ((flags & BL_LAYER_CODEBOOK) != 0)
    get_codebook(from->coded == NULL ? r : from->coded, graph->arena, l);
  if ((flags & BL_LAYER_ADDEND) != 0)
    get_addend(r, constants, graph, (flags & BL_LAYER_PROJECTS) != 0, l);
  if ((flags & BL_LAYER_TABLE) != 0)
    l->table = get_array(constants, graph->arena, BL_INT_TABLE, 4, true);
}

static bool source_failed(const bl_graph_source *from) {
  return from->fields->failed || from->constants->failed ||
         (from->coded != NULL && from->coded->failed);
}

bl_status bl_read_graph(const char *name, const bl_graph_source *from, bl_arena *arena,
                        bl_int_graph **graph, bl_error *err) {
  bl_reader *r = from->fields;
  bl_int_graph *g = bl_arena_alloc(arena, 1, sizeof *g);
  if (g == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for its graph", name);
  g->arena = arena;
  g->name = bl_get_text(r, arena);
  g->tensor_count = bl_get32(r);
  g->layer_count = bl_get32(r);
  g->output = bl_get32(r);
  if (r->failed || g->tensor_count > BL_INT_MAX_TENSORS || g->layer_count < 1 ||
      g->layer_count >= g->tensor_count)
    return bl_bloom_damaged(name, "its graph has no sensible number of tensors or layers", err);
  g->tensors = bl_arena_alloc(arena, g->tensor_count, sizeof *g->tensors);
  g->layers = bl_arena_alloc(arena, g->layer_count, sizeof *g->layers);
  if (g->tensors == NULL || g->layers == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for its graph", name);
  for (uint32_t t = 0; t < g->tensor_count && !r->failed; t++)
    get_tensor(r, arena, &g->tensors[t]);
  for (uint32_t l = 0; l < g->layer_count && !source_failed(from); l++)
    get_layer(from, g, &g->layers[l]);
  if (source_failed(from) || bl_left(r) != 0 || bl_left(from->constants) != 0)
    return bl_bloom_damaged(name, "its graph is cut short or too long", err);
  *graph = g;
  return bl_int_check(g, err);
}

static const bl_config *find_config(const char *name) {
  for (int i = 0; i < BL_CONFIG_COUNT; i++)
    if (strcmp(name, BL_CONFIGS[i].name) == 0) return &BL_CONFIGS[i];
  return NULL;
}

bl_status bl_compile_named(const char *name, const char *config_name, uint32_t images,
                           const bl_int_graph *graph, bl_program **program, bl_error *err) {
  const bl_config *config = config_name == NULL ? NULL : find_config(config_name);
  if (config == NULL)
    return bl_bloom_damaged(
        name, "it is for a device configuration that this program does not know", err);
  if (images < 1 || images > BL_PROGRAM_MAX_BATCH)
    return bl_bloom_damaged(name, "its batch makes no sense", err);
  return bl_compile(graph, &(bl_compile_options){config, images}, program, err);
}

bl_status bl_read_program(const char *name, bl_reader *r, const bl_int_graph *graph,
                          bl_program **program, bl_error *err) {
  bl_writer again = {0};
  uint32_t images = bl_get32(r);
  BL_TRY(bl_compile_named(name, bl_get_text(r, graph->arena), images, graph, program, err));
  bl_put_program(&again, *program);
  bool failed = again.failed;
  bool same = !failed && again.size == r->size && memcmp(again.bytes, r->bytes, r->size) == 0;
  free(again.bytes);
  if (failed) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory to check its program", name);
  return same ? BL_OK
              : bl_bloom_damaged(name, "its program is not what its graph compiles to", err);
}

static bl_status check_header(const char *name, bl_reader *r, uint32_t *count, bl_error *err) {
  if (r->size < BL_BLOOM_HEADER || memcmp(r->bytes, BL_BLOOM_MAGIC, 8) != 0)
    return bl_fail(err, BL_ERR_FORMAT, "%s: not a compiled network (.bloom)", name);
  (void)bl_get_bytes(r, 8);
  uint32_t version = bl_get32(r), contract = bl_get32(r);
  uint64_t size = bl_get(r, 8);
  uint32_t sections = bl_get32(r), crc = (uint32_t)crc32_z(0, r->bytes, r->at);
  if (bl_get32(r) != crc) return bl_bloom_damaged(name, "its header is damaged", err);
  if (version != BL_BLOOM_VERSION || contract != BL_CONTRACT_VERSION)
    return bl_fail(err, BL_ERR_FORMAT,
                   "%s: format %u for devices of contract %u, this program has %d and %d; compile "
                   "it again",
                   name, version, contract, (int)BL_BLOOM_VERSION, (int)BL_CONTRACT_VERSION);
  if (size != r->size || (sections != BL_BLOOM_SECTIONS && sections != 1))
    return bl_fail(err, BL_ERR_FORMAT, "%s: %zu bytes, its header says %llu; copy it again", name,
                   r->size, (unsigned long long)size);
  *count = sections;
  return BL_OK;
}

static bl_status open_section(const char *name, bl_reader *r, uint32_t id, bl_reader *section,
                              bl_error *err) {
  const size_t start = r->at;
  uint32_t found = bl_get32(r);
  uint64_t length = bl_get(r, 8);
  uint32_t crc = bl_get32(r);
  size_t end = r->at;
  uint32_t header_crc = bl_get32(r);
  if (r->failed || crc32_z(0, r->bytes + start, end - start) != header_crc || found != id ||
      length > bl_left(r))
    return bl_bloom_damaged(name, "the start of a section is damaged", err);
  *section = (bl_reader){.bytes = bl_get_bytes(r, (size_t)length), .size = (size_t)length};
  if (crc32_z(0, section->bytes, section->size) != crc)
    return bl_bloom_damaged(name, "a section's checksum is wrong", err);
  return BL_OK;
}

static bl_status parse_plain(const char *name, bl_reader *file, bl_bloom *bloom, bl_error *err) {
  bl_reader info, graph, program;
  BL_TRY(open_section(name, file, BL_SECTION_INFO, &info, err));
  BL_TRY(open_section(name, file, BL_SECTION_GRAPH, &graph, err));
  BL_TRY(open_section(name, file, BL_SECTION_PROGRAM, &program, err));
  if (bl_left(file) != 0) return bl_bloom_damaged(name, "something follows its last section", err);
  // What is kept is little more than what is read, but each piece is rounded up.
  bloom->arena = bl_arena_new(file->size * 16 + (1 << 20));
  if (bloom->arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory to load it", name);
  BL_TRY(bl_read_info(name, &info, &bloom->info, err));
  if (bl_left(&info) != 0)
    return bl_bloom_damaged(name, "its general information makes no sense", err);
  const bl_graph_source source = {.fields = &graph, .constants = &graph};
  BL_TRY(bl_read_graph(name, &source, bloom->arena, &bloom->graph, err));
  return bl_read_program(name, &program, bloom->graph, &bloom->program, err);
}

static bl_status parse(const char *name, const uint8_t *bytes, size_t size, bl_bloom *bloom,
                       bl_error *err) {
  bl_reader file = {.bytes = bytes, .size = size}, coded;
  uint32_t sections = 0;
  BL_TRY(check_header(name, &file, &sections, err));
  bloom->file_bytes = size;
  if (sections == BL_BLOOM_SECTIONS) return parse_plain(name, &file, bloom, err);
  BL_TRY(open_section(name, &file, BL_SECTION_CODED, &coded, err));
  if (bl_left(&file) != 0) return bl_bloom_damaged(name, "something follows its last section", err);
  return bl_read_coded(name, &coded, bloom, err);
}

bl_status bl_bloom_parse(const char *name, const uint8_t *bytes, size_t size, bl_bloom *bloom,
                         bl_error *err) {
  *bloom = (bl_bloom){0};
  bl_status status = parse(name, bytes, size, bloom, err);
  if (status != BL_OK) bl_bloom_free(bloom);
  return status;
}

bl_status bl_bloom_load(const char *path, bl_bloom *bloom, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  *bloom = (bl_bloom){0};
  BL_TRY(bl_file_read(path, BL_BLOOM_MAX_BYTES, &bytes, &size, err));
  bl_status status = bl_bloom_parse(path, bytes, size, bloom, err);
  free(bytes);
  return status;
}

void bl_bloom_free(bl_bloom *bloom) {
  bl_program_free(bloom->program);
  bl_arena_free(bloom->arena);
  *bloom = (bl_bloom){0};
}
