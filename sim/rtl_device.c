// SPDX-License-Identifier: Apache-2.0
#include "sim/rtl_device.h"

#include <stdlib.h>
#include <string.h>

#include "sim/rtl_model.h"

enum {
  RESET_CYCLES = 8,
  RECEIVE_WORDS = 1 << 16, // received and not yet read; the device stalls beyond
  REFUSED_CYCLES = 32,     // how long write() offers a word before it lets the caller read
  WAIT_CYCLES = 256,
  REGISTER_CYCLES = 4096 // patience for one register access
};

struct bl_rtl {
  const bl_rtl_model *model;
  void *instance;
  bl_rtl_pins pins;
  uint64_t cycles, random;
  uint32_t stall_threshold; // of 2^32
  bool offering;            // the word on the input has been offered and must stay
  uint32_t *received;       // ring
  uint32_t head, count;
  // where in the answers the output is, for planted faults
  uint32_t answer_word, answer_length;
  bool is_send;
  int64_t sends, planted_send;
  uint32_t planted_word;
  bl_rtl_listener listener; // or NULL
  void *listener_context;
};

static bool stalls(bl_rtl *d) {
  if (d->stall_threshold == 0) return false;
  d->random ^= d->random >> 12;
  d->random ^= d->random << 25;
  d->random ^= d->random >> 27;
  return (uint32_t)((d->random * 0x2545F4914F6CDD1Du) >> 32) < d->stall_threshold;
}

// ---- Planted faults
// --------------------------------------------------------------------------------

// Follows the answers word by word; a planted fault also mends the checksum's word, so that only
// the payload is wrong (the driver would refuse a bad checksum as such).
static uint32_t crc_step(uint32_t crc, uint32_t word) {
  crc ^= word;
  for (int i = 0; i < 32; i++)
    crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
  return crc;
}

static uint32_t plant(bl_rtl *d, uint32_t word, uint32_t *crc) {
  uint32_t at = d->answer_word++;
  if (at == 0) {
    d->is_send = (word >> 16 & 255u) == BL_OP_SEND;
    d->sends += d->is_send;
    *crc = ~0u;
  }
  if (at == 1) d->answer_length = (word + 3) / 4;
  bool target = d->is_send && d->sends - 1 == d->planted_send;
  if (target && at >= 5 && at < 5 + d->answer_length) {
    if (at == 5 + d->planted_word) word ^= 1;
    *crc = crc_step(*crc, word);
  } else if (target && at == 5 + d->answer_length && d->answer_length > 0) {
    word = ~*crc;
  }
  return word;
}

// ---- Clock
// ---------------------------------------------------------------------------------------

static void receive(bl_rtl *d, uint32_t word, bool last) {
  static _Thread_local uint32_t crc;
  if (d->planted_send >= 0) word = plant(d, word, &crc);
  if (last) d->answer_word = 0;
  d->received[(d->head + d->count++) % RECEIVE_WORDS] = word;
}

// One clock. Returns true when the offered input word was taken.
static bool cycle(bl_rtl *d) {
  bl_rtl_pins *p = &d->pins;
  p->m_ready = d->count < RECEIVE_WORDS && !stalls(d);
  d->model->cycle(d->instance, p);
  d->cycles++;
  if (d->listener != NULL) d->listener(d->listener_context, p->activity);
  if (p->m_valid && p->m_ready) receive(d, p->m_data, p->m_last);
  return p->s_valid && p->s_ready;
}

static int32_t rtl_write(void *context, const uint32_t *words, uint32_t count) {
  bl_rtl *d = context;
  uint32_t sent = 0;
  for (uint32_t refused = 0; sent < count && sent < INT32_MAX && refused < REFUSED_CYCLES;) {
    if (!d->offering) d->offering = !stalls(d);
    d->pins.s_valid = d->offering;
    d->pins.s_data = words[sent];
    if (cycle(d)) {
      sent++;
      refused = 0;
      d->offering = false;
    } else {
      refused++;
    }
  }
  // A word that was offered and not taken stays offered: the caller comes back with the same one.
  d->pins.s_valid = d->offering;
  return (int32_t)sent;
}

static int32_t rtl_read(void *context, uint32_t *words, uint32_t count) {
  bl_rtl *d = context;
  if (count > d->count) count = d->count;
  for (uint32_t i = 0; i < count; i++) {
    words[i] = d->received[d->head];
    d->head = (d->head + 1) % RECEIVE_WORDS;
  }
  d->count -= count;
  return (int32_t)count;
}

static int32_t rtl_wait(void *context) {
  bl_rtl *d = context;
  uint8_t offered = d->pins.s_valid;
  d->pins.s_valid = 0; // driver calls: no word is under way between write() calls
  if (d->offering) d->pins.s_valid = offered;
  for (int i = 0; i < WAIT_CYCLES; i++) {
    bool before = d->count > 0;
    // an offered word must not be taken here, where its sender would not learn of it
    if (d->offering) break;
    (void)cycle(d);
    if (before) break;
  }
  return 0;
}

static int32_t rtl_reg_read(void *context, uint32_t offset, uint32_t *value) {
  bl_rtl *d = context;
  bl_rtl_pins *p = &d->pins;
  bool asked = false, offering = false;
  p->araddr = (uint8_t)offset;
  for (int i = 0; i < REGISTER_CYCLES; i++) {
    if (!asked && !offering) offering = !stalls(d);
    p->arvalid = !asked && offering;
    p->rready = asked && !stalls(d);
    uint8_t s_valid = p->s_valid;
    p->s_valid = 0;
    (void)cycle(d);
    p->s_valid = s_valid;
    if (p->arvalid && p->arready) asked = true;
    if (p->rready && p->rvalid) {
      *value = p->rdata;
      p->rready = p->arvalid = 0;
      return 0;
    }
  }
  return -1;
}

static int32_t rtl_reg_write(void *context, uint32_t offset, uint32_t value) {
  bl_rtl *d = context;
  bl_rtl_pins *p = &d->pins;
  bool address = false, data = false, offer_address = false, offer_data = false;
  p->awaddr = (uint8_t)offset;
  p->wdata = value;
  for (int i = 0; i < REGISTER_CYCLES; i++) {
    if (!offer_address) offer_address = !stalls(d);
    if (!offer_data) offer_data = !stalls(d);
    p->awvalid = !address && offer_address;
    p->wvalid = !data && offer_data;
    p->bready = address && data && !stalls(d);
    uint8_t s_valid = p->s_valid;
    p->s_valid = 0;
    (void)cycle(d);
    p->s_valid = s_valid;
    address = address || (p->awvalid && p->awready);
    data = data || (p->wvalid && p->wready);
    if (p->bready && p->bvalid) {
      p->awvalid = p->wvalid = p->bready = 0;
      return 0;
    }
  }
  return -1;
}

const bl_transport bl_rtl_transport = {rtl_write, rtl_read, rtl_wait, rtl_reg_read, rtl_reg_write};

// ---- Opening and closing
// ---------------------------------------------------------------------------

static const bl_rtl_model *model_of(const bl_config *config) {
  static const bl_rtl_model *const models[] = {&bl_rtl_model_tiny, &bl_rtl_model_default,
                                               &bl_rtl_model_wide};
  for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
    if (strcmp(models[i]->config, config->name) == 0) return models[i];
  return NULL;
}

bl_rtl *bl_rtl_open(const bl_config *config, double stall_chance, uint64_t seed) {
  const bl_rtl_model *model = model_of(config);
  return model == NULL ? NULL : bl_rtl_open_model(model, stall_chance, seed);
}

bl_rtl *bl_rtl_open_model(const bl_rtl_model *model, double stall_chance, uint64_t seed) {
  bl_rtl *d = calloc(1, sizeof *d);
  if (d == NULL) return NULL;
  d->model = model;
  d->received = calloc(RECEIVE_WORDS, sizeof *d->received);
  d->random = seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
  d->stall_threshold = (uint32_t)(stall_chance * 4294967295.0);
  d->planted_send = -1;
  if (d->received != NULL) d->instance = d->model->open((uint32_t)seed + 1);
  if (d->instance == NULL) {
    bl_rtl_close(d);
    return NULL;
  }
  d->pins.rst = 1;
  for (int i = 0; i < RESET_CYCLES; i++)
    (void)d->model->cycle(d->instance, &d->pins);
  d->pins.rst = 0;
  return d;
}

void bl_rtl_close(bl_rtl *d) {
  if (d == NULL) return;
  if (d->instance != NULL) d->model->close(d->instance);
  free(d->received);
  free(d);
}

uint64_t bl_rtl_cycles(const bl_rtl *d) {
  return d->cycles;
}

bool bl_rtl_trace(bl_rtl *d, const char *path) {
  return d->model->trace(d->instance, path) != 0;
}

void bl_rtl_listen(bl_rtl *d, bl_rtl_listener listener, void *context) {
  d->listener = listener;
  d->listener_context = context;
}

void bl_rtl_plant_fault(bl_rtl *d, int64_t send, uint32_t word) {
  d->planted_send = send;
  d->planted_word = word;
}
