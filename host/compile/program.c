// SPDX-License-Identifier: Apache-2.0
// Packing inputs and unpacking outputs of a compiled program.
#include "host/compile/program.h"

#include <stdlib.h>
#include <string.h>

uint32_t bl_memory_depth(const bl_config *config, bl_memory_kind memory) {
  switch (memory) {
  case BL_MEMORY_WEIGHTS:
    return config->weight_depth;
  case BL_MEMORY_PARAMS:
    return config->param_depth;
  case BL_MEMORY_K:
    return config->k_depth;
  case BL_MEMORY_PASSES:
    return config->pass_depth;
  case BL_MEMORY_TILES:
    return config->tile_depth;
  case BL_MEMORY_TABLES:
    return config->table_depth;
  default:
    return config->act_depth;
  }
}

void bl_program_free(bl_program *program) {
  if (program != NULL) bl_arena_free(program->arena);
}

uint32_t bl_program_input_bytes(const bl_program *program) {
  return program->images * program->regions[0].image_stride * program->regions[0].load_bytes;
}

void bl_program_send(const bl_program *program, uint32_t tensor, uint32_t *address,
                     uint32_t *argument, uint32_t *bytes) {
  const bl_region *r = &program->regions[tensor];
  *address = r->address;
  *argument = r->load_bytes << 24 | r->words;
  *bytes = r->words * r->load_bytes;
}

static bl_status check_values(const bl_int_graph *graph, const int32_t *in, size_t count,
                              bl_error *err) {
  const bl_format format = graph->tensors[0].format;
  const int32_t lo = bl_format_min(format), hi = bl_format_max(format);
  const bool bipolar = format.kind == BL_FORMAT_B;
  for (size_t i = 0; i < count; i++)
    if (in[i] < lo || in[i] > hi || (bipolar && in[i] == 0))
      return bl_fail(err, BL_ERR_RANGE, "input integer %zu is %d, not in %s", i, in[i],
                     bl_format_name(format));
  return BL_OK;
}

// An image as codes, one a byte, with the padding that its windows reach around it.
typedef struct {
  const bl_program *program;
  uint8_t *codes; // [h][w][c]
  uint8_t *pixel; // codes of one packed pixel, zeros up to a multiple of 8
  size_t w, c, size;
  uint8_t *payload;
} packer;

// Bit i of byte k becomes bit k of byte i: three rounds of swapping blocks of 1, 2 and 4 bits.
static uint64_t transpose8(uint64_t x) {
  uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAu;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCu;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0u;
  return x ^ t ^ (t << 28);
}

// Puts the codes of eight channels, one a byte of `codes`, from channel `first` (a multiple of 8)
// of the pixel whose first word is `word`.
static void put_codes(const packer *p, size_t word, uint32_t first, uint64_t codes) {
  const bl_region *r = &p->program->regions[0];
  const uint32_t lanes = p->program->config.lanes;
  const uint64_t planes = transpose8(codes);
  uint8_t *at =
      p->payload + (word + (size_t)first / lanes * r->planes) * r->load_bytes + first % lanes / 8;
  for (uint32_t i = 0; i < r->planes; i++, at += r->load_bytes)
    *at = (uint8_t)(planes >> 8 * i);
}

// Codes of an image into the middle of the padded one.
static void fill_codes(const packer *p, const bl_int_tensor *t, const int32_t *image) {
  const bl_input_packing *in = &p->program->input;
  const bool bipolar = t->format.kind == BL_FORMAT_B;
  memset(p->codes, bipolar ? in->pad_value > 0 : in->pad_value & 0xFF, p->size);
  size_t rows = p->size / (p->w * p->c), columns = p->w < in->pad_left ? 0 : p->w - in->pad_left;
  if (columns > t->w) columns = t->w;
  for (size_t y = 0; y < t->h && y + in->pad_top < rows; y++) {
    uint8_t *to = p->codes + ((y + in->pad_top) * p->w + in->pad_left) * p->c;
    const int32_t *from = image + y * t->w * t->c;
    for (size_t i = 0; i < columns * p->c; i++)
      to[i] = bipolar ? from[i] > 0 : (uint8_t)from[i];
  }
}

static void pack_pixel(const packer *p, uint32_t y, uint32_t x, size_t word) {
  const bl_input_packing *in = &p->program->input;
  const bool adjacent = in->dilation_w == 1;
  const size_t piece = adjacent ? in->window_w * p->c : p->c, step = in->dilation_w * p->c;
  uint8_t *to = p->pixel;
  for (uint32_t ky = 0; ky < in->window_h; ky++) {
    size_t row = (size_t)y * in->stride_h + (size_t)ky * in->dilation_h;
    const uint8_t *from = p->codes + (row * p->w + (size_t)x * in->stride_w) * p->c;
    for (uint32_t k = 0; k < (adjacent ? 1 : in->window_w); k++, from += step)
      for (size_t i = 0; i < piece; i++)
        *to++ = from[i];
  }
  for (uint32_t first = 0; first < in->c; first += 8) {
    uint64_t codes;
    memcpy(&codes, p->pixel + first, sizeof codes);
    put_codes(p, word, first, codes);
  }
}

static void pack_images(const packer *p, const bl_int_tensor *t, const int32_t *in, size_t images) {
  const bl_program *program = p->program;
  const bl_region *r = &program->regions[0];
  for (size_t n = 0; n < images; n++) {
    fill_codes(p, t, in + n * bl_int_elements(t));
    for (uint32_t y = 0; y < program->input.h; y++)
      for (uint32_t x = 0; x < program->input.w; x++)
        pack_pixel(p, y, x,
                   n * r->image_stride + (size_t)y * r->row_stride + (size_t)x * r->pixel_stride);
  }
}

bl_status bl_program_pack_input(const bl_program *program, const bl_int_graph *graph,
                                const int32_t *in, size_t images, uint32_t *store, bl_error *err) {
  const bl_int_tensor *t = &graph->tensors[0];
  const bl_input_packing *k = &program->input;
  if (images < 1 || images > program->images)
    return bl_fail(err, BL_ERR_RANGE, "%zu images for a program of %u at once", images,
                   program->images);
  BL_TRY(check_values(graph, in, images * bl_int_elements(t), err));
  size_t h = (size_t)(k->h - 1) * k->stride_h + (size_t)(k->window_h - 1) * k->dilation_h + 1;
  size_t w = (size_t)(k->w - 1) * k->stride_w + (size_t)(k->window_w - 1) * k->dilation_w + 1;
  packer p = {.program = program, .w = w, .c = t->c, .size = h * w * t->c};
  p.payload = (uint8_t *)store;
  p.codes = malloc(p.size);
  p.pixel = calloc((size_t)k->c + 8, 1);
  bl_status status = BL_OK;
  memset(store, 0, ((size_t)bl_program_input_bytes(program) + 3) / 4 * 4);
  if (p.codes == NULL || p.pixel == NULL)
    status = bl_fail(err, BL_ERR_MEMORY, "no memory to pack an image");
  else
    pack_images(&p, t, in, images);
  free(p.codes);
  free(p.pixel);
  return status;
}

// The code in lane `lane` (counted over the words of a pixel) at the pixel's first word.
static uint32_t get_code(const bl_region *r, uint32_t lanes, const uint8_t *bytes, size_t word,
                         uint32_t lane) {
  const uint32_t in_word = lane % lanes;
  const uint8_t *at =
      bytes + (word + (size_t)(lane / lanes) * r->planes) * r->load_bytes + in_word / 8;
  uint32_t code = 0;
  for (uint32_t i = 0; i < r->planes; i++, at += r->load_bytes)
    code |= (uint32_t)(*at >> (in_word % 8) & 1) << i;
  return code;
}

static int32_t sign_extend(uint32_t code, uint32_t bits) {
  uint32_t sign = bits == 0 ? 0 : 1u << (bits - 1);
  return (int32_t)((code ^ sign) - sign);
}

static int32_t get_value(const bl_program *p, const bl_region *r, bl_format format,
                         const uint8_t *bytes, size_t word, uint32_t channel) {
  const uint32_t lanes = p->config.lanes, cols = p->config.cols;
  if (r->acc_bytes > 0) {
    uint32_t value = 0;
    for (uint32_t b = 0; b < r->acc_bytes; b++) {
      uint32_t lane = (channel / cols * r->acc_bytes + b) * cols + channel % cols;
      value |= get_code(r, lanes, bytes, word, lane) << (8 * b);
    }
    return sign_extend(value, 8 * r->acc_bytes);
  }
  uint32_t code = get_code(r, lanes, bytes, word, r->first_lane + channel);
  if (format.kind == BL_FORMAT_B) return code != 0 ? 1 : -1;
  return format.kind == BL_FORMAT_S ? sign_extend(code, r->planes) : (int32_t)code;
}

// Rows row0 .. row0+rows-1 of an image whose first of them lies at `word` of the payload.
static void unpack_rows(const bl_program *p, const bl_int_graph *graph, uint32_t tensor,
                        const uint8_t *bytes, size_t word, uint32_t row0, uint32_t rows,
                        int32_t *image) {
  const bl_int_tensor *t = &graph->tensors[tensor];
  const bl_region *r = &p->regions[tensor];
  int32_t *out = image + (size_t)row0 * t->w * t->c;
  for (uint32_t y = 0; y < rows; y++)
    for (uint32_t x = 0; x < t->w; x++)
      for (uint32_t c = 0; c < t->c; c++)
        *out++ = get_value(p, r, t->format, bytes,
                           word + (size_t)y * r->row_stride + (size_t)x * r->pixel_stride, c);
}

void bl_program_unpack(const bl_program *program, const bl_int_graph *graph, uint32_t tensor,
                       const uint32_t *payload, size_t images, int32_t *out) {
  const bl_int_tensor *t = &graph->tensors[tensor];
  for (size_t n = 0; n < images; n++)
    unpack_rows(program, graph, tensor, (const uint8_t *)payload,
                n * program->regions[tensor].image_stride, 0, t->h, out + n * bl_int_elements(t));
}

uint32_t bl_program_answer_words(const bl_step *send) {
  uint64_t bytes = (uint64_t)(send->argument & 0xFFFFFF) * (send->argument >> 24);
  return (uint32_t)((bytes + 3) / 4);
}

void bl_program_unpack_output(const bl_program *program, const bl_int_graph *graph,
                              const uint32_t *store, size_t images, int32_t *out) {
  bl_program_unpack(program, graph, program->output, store + program->output_offset / 4, images,
                    out);
}

void bl_program_look(const bl_program *program, const bl_int_graph *graph, const bl_step *step,
                     uint32_t *address, uint32_t *argument, uint32_t *bytes) {
  const uint32_t tensor = graph->layers[step->layer].output;
  const bl_region *r = &program->regions[tensor];
  bl_program_send(program, tensor, address, argument, bytes);
  if (!r->pieces) return;
  // the run's rows need not be the first of those that the region holds
  bl_descriptor d;
  bl_descriptor_unpack(step->payload, &d);
  *address += (d.out_base - r->address) / r->row_stride * r->row_stride;
  uint32_t words = (step->images - 1) * r->image_stride + step->rows * r->row_stride;
  *argument = r->load_bytes << 24 | words;
  *bytes = words * r->load_bytes;
}

void bl_program_unpack_rows(const bl_program *program, const bl_int_graph *graph,
                            const bl_step *step, const uint32_t *payload, size_t images,
                            int32_t *out) {
  const uint32_t tensor = graph->layers[step->layer].output;
  const bl_region *r = &program->regions[tensor];
  const size_t each = bl_int_elements(&graph->tensors[tensor]);
  for (uint32_t k = 0; k < step->images; k++) {
    size_t n = step->image0 + k, word = (size_t)(r->pieces ? k : n) * r->image_stride;
    if (!r->pieces) word += (size_t)step->row0 * r->row_stride;
    if (n < images)
      unpack_rows(program, graph, tensor, (const uint8_t *)payload, word, step->row0, step->rows,
                  out + n * each);
  }
}
