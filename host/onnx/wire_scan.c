// SPDX-License-Identifier: Apache-2.0
// protobuf-c recurses once for each nested message and has no limit of its own. In onnx.proto only
// graphs and types can nest without bound (a graph in an attribute of a node of a graph; a sequence
// of sequences), but a length-delimited field may be any message, so depth is counted by what
// protobuf-c would descend into: known message fields of known messages.
#include "host/onnx/wire_scan.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "onnx.pb-c.h"

enum { MAX_DEPTH = 32 };

typedef struct {
  const uint8_t *at, *end;
  const ProtobufCMessageDescriptor *message;
} frame;

static bool read_varint(frame *f, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && f->at < f->end; shift += 7) {
    uint8_t byte = *f->at++;
    *value |= (uint64_t)(byte & 127u) << shift;
    if (byte < 128) return true;
  }
  return false;
}

static bool skip(frame *f, uint64_t bytes) {
  if (bytes > (uint64_t)(f->end - f->at)) return false;
  f->at += bytes;
  return true;
}

// The message type of a field, NULL where it is none.
static const ProtobufCMessageDescriptor *message_of(const frame *f, uint64_t number) {
  if (number > UINT32_MAX) return NULL;
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(f->message, (unsigned)number);
  if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) return NULL;
  return field->descriptor;
}

// Reads one field; *child gets the frame of a nested message, its `message` NULL where there is
// none.
static bool read_field(frame *f, frame *child) {
  uint64_t tag, length;
  child->message = NULL;
  if (!read_varint(f, &tag) || tag >> 3 == 0) return false;
  switch (tag & 7u) {
  case 0:
    return read_varint(f, &length);
  case 1:
    return skip(f, 8);
  case 2:
    if (!read_varint(f, &length)) return false;
    child->at = f->at;
    if (!skip(f, length)) return false;
    child->end = f->at;
    child->message = message_of(f, tag >> 3);
    return true;
  case 5:
    return skip(f, 4);
  default:
    return false;
  }
}

bl_status bl_wire_scan(const char *name, bl_wire_root root, const uint8_t *bytes, size_t size,
                       bl_error *err) {
  frame stack[MAX_DEPTH];
  int depth = 0;
  stack[0] = (frame){bytes, bytes + size,
                     root == BL_WIRE_MODEL ? &onnx__model_proto__descriptor
                                           : &onnx__tensor_proto__descriptor};
  while (depth >= 0) {
    frame *f = &stack[depth], child;
    if (f->at == f->end) {
      depth--;
      continue;
    }
    if (!read_field(f, &child))
      return bl_fail(err, BL_ERR_FORMAT, "%s: not an ONNX file (damaged at byte %zu)", name,
                     (size_t)(f->at - bytes));
    if (child.message == NULL) continue;
    if (++depth == MAX_DEPTH)
      return bl_fail(err, BL_ERR_FORMAT, "%s: messages nest deeper than %d", name, MAX_DEPTH);
    stack[depth] = child;
  }
  return BL_OK;
}
