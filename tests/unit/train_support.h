// SPDX-License-Identifier: Apache-2.0
// Small networks for the training tests, written as text:
//   tensors "w 4 2 3 3; s 2 =0,1" (a name, its shape, its numbers where they matter),
//   nodes "Conv x w b > y | pads=i1,1,1,1 group=i2; Relu y > z" (attributes i: integers, f: a real,
//   s: text; one integer with a trailing comma is a list).
#ifndef BITLOOM_TESTS_UNIT_TRAIN_SUPPORT_H
#define BITLOOM_TESTS_UNIT_TRAIN_SUPPORT_H

#include "host/base/random.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_writer.h"

typedef struct {
  const char *name, *inputs, *constants, *integers, *nodes;
  int64_t opset;
} text_net;

static inline const char *skip_spaces(const char *at) {
  while (*at == ' ')
    at++;
  return at;
}

static inline void read_word(const char **at, const char *ends, char word[64]) {
  *at = skip_spaces(*at);
  size_t n = strcspn(*at, ends);
  assert_true(n < 64);
  memcpy(word, *at, n);
  word[n] = '\0';
  *at += n;
}

static inline size_t read_numbers(const char *text, double *values, size_t room) {
  size_t count = 0;
  while (*text != '\0' && count < room) {
    char *end;
    values[count++] = strtod(text, &end);
    assert_true(end != text);
    text = *end == ',' ? end + 1 : end;
  }
  return count;
}

// One tensor of a list, from *at on; false at the end.
static inline bool read_tensor(const char **at, char name[64], int64_t dims[8], size_t *rank,
                               double values[64], size_t *given) {
  *at = skip_spaces(*at);
  if (**at == '\0') return false;
  read_word(at, " ;", name);
  *rank = *given = 0;
  for (*at = skip_spaces(*at); **at != '\0' && **at != ';'; *at = skip_spaces(*at)) {
    char word[64];
    read_word(at, " ;", word);
    if (word[0] == '=')
      *given = read_numbers(word + 1, values, 64);
    else
      dims[(*rank)++] = strtoll(word, NULL, 10);
  }
  if (**at == ';') ++*at;
  return true;
}

static inline void put_attribute(message *node, char *word) {
  char *equals = strchr(word, '=');
  double numbers[64];
  int64_t ints[64];
  assert_non_null(equals);
  *equals = '\0';
  char *value = equals + 2;
  if (equals[1] == 's') {
    put_string(node, word, value);
  } else if (equals[1] == 'f') {
    put_real(node, word, strtof(value, NULL));
  } else {
    size_t count = read_numbers(value, numbers, 64);
    for (size_t k = 0; k < count; k++)
      ints[k] = (int64_t)numbers[k];
    if (strchr(value, ',') != NULL)
      put_ints(node, word, ints, count);
    else
      put_int(node, word, ints[0]);
  }
}

static inline void put_text_node(message *graph, const char **at) {
  char op[64], word[64], inputs[256] = "", outputs[256] = "";
  read_word(at, " ", op);
  char *list = inputs;
  for (*at = skip_spaces(*at); **at != '\0' && **at != ';' && **at != '|'; *at = skip_spaces(*at)) {
    read_word(at, " ;|", word);
    if (strcmp(word, ">") == 0) {
      list = outputs;
      continue;
    }
    if (list[0] != '\0') strcat(list, " ");
    strcat(list, word);
  }
  message node = new_node(op, outputs, inputs, outputs);
  if (**at == '|')
    for (*at = skip_spaces(*at + 1); **at != '\0' && **at != ';'; *at = skip_spaces(*at)) {
      read_word(at, " ;", word);
      put_attribute(&node, word);
    }
  if (**at == ';') ++*at;
  put_message(graph, 1, &node);
}

static inline void put_constants(message *graph, const char *text, uint64_t seed) {
  char name[64];
  int64_t dims[8];
  size_t rank, given;
  double values[64];
  for (const char *at = text; read_tensor(&at, name, dims, &rank, values, &given);) {
    size_t count = 1;
    for (size_t k = 0; k < rank; k++)
      count *= (size_t)dims[k];
    float *data = calloc(count + 1, sizeof *data);
    assert_non_null(data);
    seed = bl_random_key(seed, 7);
    for (size_t k = 0; k < count; k++)
      data[k] =
          given > 0 ? (float)values[k] : (float)(bl_random_unit(bl_random_key(seed, k)) - 0.5);
    put_tensor(graph, 5, name, 1, dims, rank, data, count * sizeof *data);
    free(data);
  }
}

static inline void put_integers(message *graph, const char *text) {
  char name[64];
  int64_t dims[8], ints[64];
  size_t rank, given;
  double values[64];
  for (const char *at = text; read_tensor(&at, name, dims, &rank, values, &given);) {
    for (size_t k = 0; k < given; k++)
      ints[k] = (int64_t)values[k];
    put_tensor(graph, 5, name, 7, dims, rank, ints, given * sizeof ints[0]);
  }
}

// The network as a model file; the last node's output "y" is the graph's. Freed by the caller.
static inline message text_model(const text_net *net, uint64_t seed) {
  message graph = {0};
  char name[64];
  int64_t dims[8];
  size_t rank, given;
  double values[64];
  for (const char *at = net->nodes; *skip_spaces(at) != '\0';)
    put_text_node(&graph, &at);
  put_text(&graph, 2, net->name);
  if (net->constants != NULL) put_constants(&graph, net->constants, seed);
  if (net->integers != NULL) put_integers(&graph, net->integers);
  for (const char *at = net->inputs; read_tensor(&at, name, dims, &rank, values, &given);)
    put_value(&graph, 11, name, 1, dims, rank);
  put_value(&graph, 12, "y", 1, NULL, 0);
  return new_model(&graph, net->opset != 0 ? net->opset : 13);
}

static inline bl_float_graph *text_graph(const text_net *net, uint64_t seed) {
  message model = text_model(net, seed);
  bl_float_graph *graph = NULL;
  bl_error err = {0};
  if (bl_onnx_import_bytes(net->name, model.bytes, model.size, NULL, &graph, &err) != BL_OK)
    fail_msg("%s", err.text);
  free(model.bytes);
  return graph;
}

static inline uint64_t test_seed(void) {
  const char *text = getenv("BITLOOM_SEED");
  uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
  printf("seed %llu (BITLOOM_SEED)\n", (unsigned long long)seed);
  return seed;
}

#endif
