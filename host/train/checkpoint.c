// SPDX-License-Identifier: Apache-2.0
// Check-points: one file with everything a run needs to go on, in the machine's byte order, with a
// CRC-32 behind it. One function lists the content; it serves writing and reading.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/base/file.h"
#include "host/base/random.h"
#include "host/train/trainer_internal.h"

static const char MAGIC[8] = "BLTRAIN";
static const size_t CHECKPOINT_LIMIT = (size_t)4 << 30;

typedef enum { MEASURE, WRITE, READ } direction;

typedef struct {
  direction way;
  uint8_t *bytes;
  size_t at;
} stream;

static void field(stream *s, void *data, size_t size) {
  if (size > 0 && s->way == WRITE) memcpy(s->bytes + s->at, data, size);
  if (size > 0 && s->way == READ) memcpy(data, s->bytes + s->at, size);
  s->at += size;
}

static void hook_memory(stream *s, const bl_train_hook *hook) {
  size_t count;
  for (uint32_t k = 0; hook->state != NULL; k++) {
    float *memory = hook->state(hook->user, k, &count);
    if (memory == NULL) return;
    field(s, memory, count * sizeof *memory);
  }
}

// Everything behind the head.
static void body(stream *s, bl_trainer *t) {
  size_t count;
  field(s, &t->step, sizeof t->step);
  field(s, &t->loss_sum, sizeof t->loss_sum);
  field(s, &t->correct, sizeof t->correct);
  field(s, bl_optimiser_steps(t->optimiser), sizeof(uint64_t));
  field(s, t->history, t->epoch * sizeof *t->history);
  for (uint32_t k = 0; k < t->parameter_count; k++)
    field(s, t->parameters[k].data, t->parameters[k].count * sizeof(float));
  for (uint32_t k = 0;; k++) {
    float *memory = bl_optimiser_state(t->optimiser, k, &count);
    if (memory == NULL) break;
    field(s, memory, count * sizeof *memory);
  }
  for (uint32_t h = 0; h < t->options.hook_count; h++)
    hook_memory(s, &t->options.hooks[h]);
}

// ---- What the file belongs to

static uint64_t mix_bytes(uint64_t key, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  for (size_t k = 0; k < size; k++)
    key = bl_random_key(key, at[k]);
  return key;
}

static uint64_t mix_number(uint64_t key, double value) {
  return mix_bytes(key, &value, sizeof value);
}

static uint64_t network_key(const bl_trainer *t) {
  uint64_t key = bl_random_key(1, t->batch);
  for (uint32_t k = 0; k < t->parameter_count; k++) {
    const bl_train_parameter *p = &t->parameters[k];
    key = mix_bytes(key, p->name, strlen(p->name));
    key = bl_random_key(bl_random_key(key, p->count), (uint64_t)p->kind);
  }
  return key;
}

// What decides about the next step. More epochs are allowed where the schedule does not count them.
static uint64_t options_key(const bl_trainer *t) {
  const bl_trainer_options *o = &t->options;
  const bl_optimiser_options *p = &o->optimiser;
  const bl_schedule *s = &o->schedule;
  const double numbers[] = {(double)p->kind,
                            p->momentum,
                            (double)p->nesterov,
                            p->decay,
                            p->beta1,
                            p->beta2,
                            p->epsilon,
                            p->clip,
                            (double)s->kind,
                            s->rate,
                            s->lowest,
                            s->factor,
                            (double)s->warm_up,
                            o->temperature,
                            o->teacher_weight,
                            o->smoothing,
                            o->freeze_statistics,
                            (double)o->augment.flip,
                            (double)o->augment.mixup,
                            (double)(s->kind == BL_SCHEDULE_COSINE ? s->total : 0),
                            (double)(s->kind == BL_SCHEDULE_STEP ? s->every : 0)};
  uint64_t key = bl_random_key(bl_random_key(2, o->seed), (uint64_t)o->loss);
  key = bl_random_key(bl_random_key(key, o->augment.shift), o->augment.cutout);
  key = bl_random_key(key, o->teacher != NULL ? bl_float_digest(bl_train_graph(o->teacher)) : 0);
  key = bl_random_key(key, bl_train_bf16(t->net));
  for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
    key = mix_number(key, numbers[k]);
  for (uint32_t k = 0; k < o->hook_count; k++)
    key = bl_random_key(key, o->hooks[k].key);
  for (uint32_t k = 0; k < t->parameter_count; k++) // one, or relative to the weights as they began
    if (t->parameters[k].kind == BL_TRAIN_WEIGHT) key = mix_number(key, t->parameters[k].rate);
  return key;
}

static uint64_t data_key(const bl_trainer *t) {
  uint64_t key = bl_random_key(bl_random_key(3, t->data->count), t->data->elements);
  key = bl_random_key(
      key, crc32_z(0, (const uint8_t *)t->data->values, t->data->elements * sizeof(float)));
  return bl_random_key(
      key, crc32_z(0, (const uint8_t *)t->data->labels, t->data->count * sizeof(int64_t)));
}

typedef struct {
  char magic[8];
  uint64_t network, options, data;
  uint64_t epoch; // finished ones: as many records of history follow
  uint64_t bytes; // of the body
} head;

static head head_of(bl_trainer *t) {
  head h = {.network = network_key(t), .options = options_key(t), .data = data_key(t)};
  stream measure = {MEASURE, NULL, 0};
  memcpy(h.magic, MAGIC, sizeof h.magic);
  body(&measure, t);
  h.epoch = t->epoch;
  h.bytes = measure.at;
  return h;
}

// ---- Files

bl_status bl_trainer_save(const bl_trainer *trainer, const char *path, bl_error *err) {
  bl_trainer copy = *trainer; // the same list serves reading, which writes
  head h = head_of(&copy);
  size_t size = sizeof h + h.bytes + sizeof(uint32_t);
  uint8_t *bytes = malloc(size);
  if (bytes == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for the check-point", path);
  memcpy(bytes, &h, sizeof h);
  stream s = {WRITE, bytes, sizeof h};
  body(&s, &copy);
  uint32_t crc = (uint32_t)crc32_z(0, bytes, s.at);
  memcpy(bytes + s.at, &crc, sizeof crc);
  bl_status status = bl_file_write(path, bytes, size, err);
  free(bytes);
  return status;
}

static bl_status check(const bl_trainer *t, const char *path, const head *h, const uint8_t *bytes,
                       size_t size, bl_error *err) {
  uint32_t crc;
  if (size < sizeof *h + sizeof crc || memcmp(h->magic, MAGIC, sizeof h->magic) != 0)
    return bl_fail(err, BL_ERR_FORMAT, "%s: not a check-point of bitloom train", path);
  memcpy(&crc, bytes + size - sizeof crc, sizeof crc);
  if (crc != (uint32_t)crc32_z(0, bytes, size - sizeof crc))
    return bl_fail(err, BL_ERR_FORMAT, "%s: a broken check-point (its check sum differs)", path);
  if (h->network != network_key(t))
    return bl_fail(err, BL_ERR_USAGE, "%s: the check-point of another network or batch", path);
  if (h->options != options_key(t))
    return bl_fail(err, BL_ERR_USAGE,
                   "%s: made with other options (seed, loss, optimiser, schedule, augmentation)",
                   path);
  if (h->data != data_key(t))
    return bl_fail(err, BL_ERR_USAGE, "%s: made with other training data", path);
  if (h->epoch > t->options.epochs)
    return bl_fail(err, BL_ERR_USAGE, "%s: has %llu epochs behind it, more than --epochs", path,
                   (unsigned long long)h->epoch);
  return BL_OK;
}

static bl_status take(bl_trainer *t, const char *path, const uint8_t *bytes, size_t size,
                      bl_error *err) {
  head h = {.epoch = 0}, own;
  if (size >= sizeof h) memcpy(&h, bytes, sizeof h);
  BL_TRY(check(t, path, &h, bytes, size, err));
  t->epoch = h.epoch;
  own = head_of(t);
  if (own.bytes != h.bytes || size != sizeof h + h.bytes + sizeof(uint32_t)) {
    t->epoch = 0;
    return bl_fail(err, BL_ERR_FORMAT, "%s: a broken check-point (its size is wrong)", path);
  }
  uint64_t step; // the body's first number
  memcpy(&step, bytes + sizeof h, sizeof step);
  if (step >= t->steps) {
    t->epoch = 0;
    return bl_fail(err, BL_ERR_FORMAT, "%s: a broken check-point (step %llu of %llu)", path,
                   (unsigned long long)step, (unsigned long long)t->steps);
  }
  stream s = {READ, (uint8_t *)(uintptr_t)bytes, sizeof h};
  body(&s, t);
  if (t->epoch < t->options.epochs) bl_train_order(t->data, t->options.seed, t->epoch, t->order);
  return BL_OK;
}

bl_status bl_trainer_resume(bl_trainer *trainer, const char *path, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  BL_TRY(bl_file_read(path, CHECKPOINT_LIMIT, &bytes, &size, err));
  bl_status status = take(trainer, path, bytes, size, err);
  free(bytes);
  return status;
}
