// SPDX-License-Identifier: Apache-2.0
// Writes ONNX models byte by byte for tests, sound or not: a protobuf message is a growing list of
// fields, and nothing here checks what it is told.
#ifndef BITLOOM_TESTS_UNIT_ONNX_WRITER_H
#define BITLOOM_TESTS_UNIT_ONNX_WRITER_H

#include "tests/unit/onnx_support.h"

typedef struct {
  uint8_t *bytes;
  size_t size, room;
} message;

static inline void put_raw(message *m, const void *bytes, size_t size) {
  if (m->size + size > m->room) {
    m->room = 2 * (m->size + size) + 64;
    m->bytes = realloc(m->bytes, m->room);
    assert_non_null(m->bytes);
  }
  if (size > 0) memcpy(m->bytes + m->size, bytes, size);
  m->size += size;
}

static inline void put_varint(message *m, uint64_t value) {
  do {
    uint8_t byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
    put_raw(m, &byte, 1);
    value >>= 7;
  } while (value != 0);
}

static inline void put_number(message *m, unsigned field, int64_t value) {
  put_varint(m, field << 3);
  put_varint(m, (uint64_t)value);
}

static inline void put_float(message *m, unsigned field, float value) {
  put_varint(m, field << 3 | 5);
  put_raw(m, &value, sizeof value);
}

static inline void put_bytes(message *m, unsigned field, const void *bytes, size_t size) {
  put_varint(m, field << 3 | 2);
  put_varint(m, size);
  put_raw(m, bytes, size);
}

static inline void put_text(message *m, unsigned field, const char *text) {
  put_bytes(m, field, text, strlen(text));
}

// Appends `child` as a field and empties it.
static inline void put_message(message *m, unsigned field, message *child) {
  put_bytes(m, field, child->bytes, child->size);
  free(child->bytes);
  *child = (message){0};
}

static inline void put_tensor(message *m, unsigned field, const char *name, int64_t type,
                              const int64_t *dims, size_t rank, const void *raw, size_t size) {
  message t = {0};
  for (size_t k = 0; k < rank; k++)
    put_number(&t, 1, dims[k]);
  put_number(&t, 2, type);
  put_text(&t, 8, name);
  put_bytes(&t, 9, raw, size);
  put_message(m, field, &t);
}

// A graph's input (field 11) or output (12) of element type `type`; a dimension of -2 is symbolic.
static inline void put_value(message *graph, unsigned field, const char *name, int64_t type,
                             const int64_t *dims, size_t rank) {
  message shape = {0}, tensor = {0}, kind = {0}, info = {0};
  for (size_t k = 0; k < rank; k++) {
    message d = {0};
    if (dims[k] == -2)
      put_text(&d, 2, "N");
    else
      put_number(&d, 1, dims[k]);
    put_message(&shape, 1, &d);
  }
  put_number(&tensor, 1, type);
  put_message(&tensor, 2, &shape);
  put_message(&kind, 1, &tensor);
  put_text(&info, 1, name);
  put_message(&info, 2, &kind);
  put_message(graph, field, &info);
}

static inline void put_ints(message *node, const char *name, const int64_t *values, size_t count) {
  message a = {0};
  put_text(&a, 1, name);
  for (size_t k = 0; k < count; k++)
    put_number(&a, 8, values[k]);
  put_number(&a, 20, 7);
  put_message(node, 5, &a);
}

static inline void put_int(message *node, const char *name, int64_t value) {
  message a = {0};
  put_text(&a, 1, name);
  put_number(&a, 3, value);
  put_number(&a, 20, 2);
  put_message(node, 5, &a);
}

static inline void put_real(message *node, const char *name, float value) {
  message a = {0};
  put_text(&a, 1, name);
  put_float(&a, 2, value);
  put_number(&a, 20, 1);
  put_message(node, 5, &a);
}

static inline void put_string(message *node, const char *name, const char *value) {
  message a = {0};
  put_text(&a, 1, name);
  put_text(&a, 4, value);
  put_number(&a, 20, 3);
  put_message(node, 5, &a);
}

// A node; `inputs` and `outputs` are names with one space between ("-" is an absent one).
static inline message new_node(const char *op, const char *name, const char *inputs,
                               const char *outputs) {
  message node = {0};
  const char *lists[2] = {inputs, outputs};
  for (unsigned k = 0; k < 2; k++)
    for (const char *at = lists[k]; *at != '\0';) {
      size_t n = strcspn(at, " ");
      put_bytes(&node, k + 1, at, n == 1 && *at == '-' ? 0 : n);
      at += n + (at[n] == ' ');
    }
  put_text(&node, 3, name);
  put_text(&node, 4, op);
  return node;
}

// Wraps a graph (emptied) into a model of the given opset.
static inline message new_model(message *graph, int64_t opset) {
  message model = {0}, set = {0};
  put_number(&model, 1, 7);
  put_message(&model, 7, graph);
  put_text(&set, 1, "");
  put_number(&set, 2, opset);
  put_message(&model, 8, &set);
  return model;
}

#endif
