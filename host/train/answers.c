// SPDX-License-Identifier: Apache-2.0
#include "host/train/answers.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct bl_answers {
  size_t samples, outputs, bytes;
  float *values;         // [samples][2][outputs]
  _Atomic uint8_t *kept; // [samples][2] set when the values are there
};

bool bl_answers_fit(const bl_augment *augment) {
  return augment->shift == 0 && augment->cutout == 0 && !augment->mixup;
}

bl_status bl_answers_open(size_t samples, size_t outputs, bl_answers **answers, bl_error *err) {
  bl_answers *a = *answers = calloc(1, sizeof *a);
  const size_t each = 2 * (outputs * sizeof(float) + 1);
  if (a != NULL && outputs < SIZE_MAX / 16 && samples < SIZE_MAX / each) {
    *a = (bl_answers){.samples = samples, .outputs = outputs, .bytes = samples * each + 1};
    void *memory = mmap(NULL, a->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    a->values = memory == MAP_FAILED ? NULL : memory;
  }
  if (a == NULL || a->values == NULL) {
    free(a);
    *answers = NULL;
    return bl_fail(err, BL_ERR_MEMORY, "training: no memory for what the teacher answers");
  }
  a->kept = (_Atomic uint8_t *)(a->values + 2 * samples * outputs);
  return BL_OK;
}

void bl_answers_close(bl_answers *answers) {
  if (answers == NULL) return;
  (void)munmap(answers->values, answers->bytes);
  free(answers);
}

bool bl_answers_recall(const bl_answers *a, size_t index, bool flipped, float *logits) {
  const size_t at = 2 * index + flipped;
  if (index >= a->samples || atomic_load_explicit(&a->kept[at], memory_order_acquire) == 0)
    return false;
  memcpy(logits, a->values + at * a->outputs, a->outputs * sizeof *logits);
  return true;
}

void bl_answers_keep(bl_answers *a, size_t index, bool flipped, const float *logits) {
  const size_t at = 2 * index + flipped;
  if (index >= a->samples || atomic_load_explicit(&a->kept[at], memory_order_acquire) != 0) return;
  memcpy(a->values + at * a->outputs, logits, a->outputs * sizeof *logits);
  atomic_store_explicit(&a->kept[at], 1, memory_order_release);
}
