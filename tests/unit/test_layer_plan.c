// SPDX-License-Identifier: Apache-2.0
// Bits by layer and by channel: each layer alone is what it would be in a network of its bits
// throughout; concatenations and additions; what the device saves; errors.
#include "host/compile/program.h"
#include "host/compress/pipeline.h"
#include "host/cost/cost.h"
#include "host/graph/float_edit.h"
#include "tests/unit/small_net.h"

enum { SAMPLES = 12, INPUTS = 2 * 6 * 6, CHANNELS = 16 };

static float samples[SAMPLES][INPUTS];

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)context;
  (void)err;
  memcpy(out, samples[index], sizeof samples[index]);
  return BL_OK;
}

static const bl_calibration CALIBRATION = {read_sample, NULL, SAMPLES};

static bl_quantised quantised(const bl_float_graph *graph, const bl_quantise_options *options) {
  bl_quantised q;
  bl_error err = {0};
  if (bl_quantise(graph, options, &CALIBRATION, &q, &err) != BL_OK) fail_msg("%s", err.text);
  return q;
}

static void random_samples(void) {
  for (size_t k = 0; k < SAMPLES; k++)
    for (size_t i = 0; i < INPUTS; i++)
      samples[k][i] = (float)uniform(-0.5, 1);
}

static void put_nodes(message *graph, message *nodes, size_t count) {
  put_int(&nodes[count - 1], "transB", 1);
  for (size_t k = 0; k < count; k++)
    put_message(graph, 1, &nodes[k]);
  put_random(graph, "w", (const int64_t[]){CHANNELS, 2, 1, 1}, 4, -1, 1);
  put_random(graph, "m", (const int64_t[]){CHANNELS, CHANNELS, 1, 1}, 4, -1, 1);
  put_value(graph, 11, "x", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(graph, 12, "y", 1, (const int64_t[]){1, 3}, 2);
}

// x[1,2,6,6]: convolution, ReLU, convolution, ReLU, mean, matrix.
static bl_float_graph *chain(void) {
  message graph = {0};
  message nodes[] = {new_node("Conv", "first", "x w", "a"),
                     new_node("Relu", "relu", "a", "r"),
                     new_node("Conv", "second", "r m", "b"),
                     new_node("Relu", "relu2", "b", "s"),
                     new_node("GlobalAveragePool", "mean", "s", "p"),
                     new_node("Flatten", "flat", "p", "f"),
                     new_node("Gemm", "fc", "f v", "y")};
  put_nodes(&graph, nodes, 7);
  put_random(&graph, "v", (const int64_t[]){3, CHANNELS}, 2, -1, 1);
  return import(&graph, 13);
}

static const bl_int_layer *layer_of(const bl_quantised *q, const char *name) {
  for (uint32_t k = 0; k < q->graph->layer_count; k++)
    if (strcmp(q->graph->layers[k].name, name) == 0) return &q->graph->layers[k];
  fail_msg("no layer %s", name);
  return NULL;
}

static const bl_int_tensor *output_of(const bl_quantised *q, const char *name) {
  return &q->graph->tensors[layer_of(q, name)->output];
}

static void by_layer(void **state) {
  (void)state;
  random_samples();
  bl_float_graph *graph = chain();
  const bl_layer_plan plan[] = {
      {.layer = "first", .weight_bits = 8, .activation_bits = 7},
      {.layer = "relu", .activation_bits = 3},
      {.layer = "s", .activation_bits = 5}, // the value behind the second convolution
      {.layer = "fc", .weight_bits = 1, .activation_bits = 2}};
  const bl_quantise_options options = {
      .weight_bits = 4, .activation_bits = 6, .plan = plan, .plan_count = 4};
  bl_quantised q = quantised(graph, &options);
  assert_int_equal(layer_of(&q, "first")->weight_format.bits, 8);
  assert_int_equal(layer_of(&q, "second")->weight_format.bits, 4);
  assert_int_equal(layer_of(&q, "fc")->weight_format.kind, BL_FORMAT_B);
  assert_int_equal(output_of(&q, "first")->format.bits, 3); // the later entry
  assert_int_equal(output_of(&q, "second")->format.bits, 5);
  assert_int_equal(output_of(&q, "mean")->format.bits, 6);
  assert_int_equal(output_of(&q, "fc")->format.kind, BL_FORMAT_ACC);
  // scales are those of whole networks of such bits
  const bl_quantise_options uniform[2] = {{.weight_bits = 8, .activation_bits = 3},
                                          {.weight_bits = 4, .activation_bits = 5}};
  for (int k = 0; k < 2; k++) {
    const char *name = k == 0 ? "first" : "second";
    bl_quantised alone = quantised(graph, &uniform[k]);
    assert_true(output_of(&q, name)->scale == output_of(&alone, name)->scale);
    const size_t count = CHANNELS * (k == 0 ? 2 : CHANNELS);
    assert_memory_equal(layer_of(&q, name)->weights, layer_of(&alone, name)->weights, count);
    bl_arena_free(alone.graph->arena);
  }
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(graph);
}

// A codebook everywhere but in the first layer, and the other way round.
static void codebooks(void **state) {
  (void)state;
  random_samples();
  bl_float_graph *graph = chain();
  bl_codebook nf4;
  bl_error err = {0};
  assert_int_equal(bl_codebook_open("nf4", &nf4, &err), BL_OK);
  const bl_layer_plan plain = {.layer = "first", .weight_bits = 8};
  const bl_layer_plan coded = {.layer = "first", .codebook = &nf4};
  const bl_quantise_options options[2] = {
      {.weight_bits = 4, .activation_bits = 8, .codebook = &nf4, .plan = &plain, .plan_count = 1},
      {.weight_bits = 8, .activation_bits = 8, .plan = &coded, .plan_count = 1}};
  for (int k = 0; k < 2; k++) {
    bl_quantised q = quantised(graph, &options[k]);
    assert_true((layer_of(&q, "first")->codebook != NULL) == (k == 1));
    assert_true((layer_of(&q, "second")->codebook != NULL) == (k == 0));
    bl_arena_free(q.graph->arena);
  }
  bl_float_graph_free(graph);
}

static int largest(const int8_t *weights, size_t count) {
  int most = 0;
  for (size_t k = 0; k < count; k++)
    most = abs(weights[k]) > most ? abs(weights[k]) : most;
  return most;
}

// Each channel has the integers of a network of its bits; with GPTQ only their range.
static void by_channel(void **state) {
  (void)state;
  random_samples();
  bl_float_graph *graph = chain();
  uint8_t bits[CHANNELS];
  for (size_t n = 0; n < CHANNELS; n++)
    bits[n] = (uint8_t)(2 + next_random() % 6);
  const bl_layer_plan plan = {.layer = "second", .channel_bits = bits, .channels = CHANNELS};
  bl_quantise_options options = {
      .weight_bits = 8, .activation_bits = 8, .plan = &plan, .plan_count = 1};
  bl_quantised q = quantised(graph, &options);
  options.rounding = BL_ROUNDING_GPTQ;
  bl_quantised refined = quantised(graph, &options);
  for (unsigned b = 2; b < 8; b++) {
    const bl_quantise_options uniform = {.weight_bits = b, .activation_bits = 8};
    bl_quantised alone = quantised(graph, &uniform);
    for (size_t n = 0; n < CHANNELS; n++) {
      if (bits[n] != b) continue;
      assert_memory_equal(layer_of(&q, "second")->weights + n * CHANNELS,
                          layer_of(&alone, "second")->weights + n * CHANNELS, CHANNELS);
      const int most = largest(layer_of(&refined, "second")->weights + n * CHANNELS, CHANNELS);
      assert_in_range(most, 1, (1 << (b - 1)) - 1);
    }
    bl_arena_free(alone.graph->arena);
  }
  bl_arena_free(q.graph->arena);
  bl_arena_free(refined.graph->arena);
  bl_float_graph_free(graph);
}

// Eight channels are a tile of the first configuration with eight columns: its second tile at two
// bits takes a share of the planes, of cycles, and of the stream.
static void saves_planes(void **state) {
  (void)state;
  random_samples();
  bl_float_graph *graph = chain();
  uint8_t bits[CHANNELS];
  const bl_config *config = NULL;
  for (size_t k = 0; k < BL_CONFIG_COUNT && config == NULL; k++)
    if (BL_CONFIGS[k].cols == 8) config = &BL_CONFIGS[k];
  if (config == NULL) skip();
  bl_compile_options device = {config, 1};
  double cycles[3];
  uint64_t steps[3];
  for (int k = 0; k < 3; k++) { // eight bits, mixed, two bits
    for (size_t n = 0; n < CHANNELS; n++)
      bits[n] = k == 0 || (k == 1 && n < 8) ? 8 : 2;
    const bl_layer_plan plan = {.layer = "second", .channel_bits = bits, .channels = CHANNELS};
    const bl_quantise_options options = {
        .weight_bits = 8, .activation_bits = 8, .plan = &plan, .plan_count = 1};
    bl_quantised q = quantised(graph, &options);
    cycles[k] = bl_cost_graph(&device, q.graph);
    bl_program *program;
    bl_error err = {0};
    assert_int_equal(bl_compile(q.graph, &device, &program, &err), BL_OK);
    steps[k] = program->layer_issue[layer_of(&q, "second") - q.graph->layers];
    bl_program_free(program);
    bl_arena_free(q.graph->arena);
  }
  printf("8, 8 and 2, 2 bits: %.0f, %.0f, %.0f cycles; %llu, %llu, %llu steps\n", cycles[0],
         cycles[1], cycles[2], (unsigned long long)steps[0], (unsigned long long)steps[1],
         (unsigned long long)steps[2]);
  assert_true(cycles[0] > cycles[1] && cycles[1] > cycles[2]);
  assert_int_equal(2 * steps[1], steps[0] + steps[2]);
  assert_int_equal(steps[0], 4 * steps[2]); // 8 planes and 2
  bl_float_graph_free(graph);
}

// With the parameters of quantise.
static bl_status by_recipe(const bl_float_graph *graph, const bl_config *config,
                           const char *parameters, bl_quantised *made, bl_error *err) {
  char text[160];
  bl_float_graph *copy;
  bl_network network;
  bl_recipe *recipe;
  bl_train_data data = {
      .values = samples[0], .count = SAMPLES, .elements = INPUTS, .shape = {2, 6, 6}};
  (void)snprintf(text, sizeof text, "passes:\n  - quantise: {%s}\n", parameters);
  assert_int_equal(bl_recipe_parse("r", text, strlen(text), &recipe, err), BL_OK);
  assert_int_equal(bl_float_copy(graph, 0, &copy, err), BL_OK);
  assert_int_equal(bl_network_open(copy, graph, &network, err), BL_OK);
  network.device = (bl_compile_options){config, 1};
  network.data.calibration = &data;
  bl_status status = bl_recipe_run(recipe, &network, NULL, NULL, err);
  if (status == BL_OK) status = bl_network_quantise(&network, NULL, made, err);
  bl_network_close(&network);
  bl_recipe_free(recipe);
  return status;
}

static bl_status by_tiles(const bl_float_graph *graph, const bl_config *config, const char *list,
                          bl_quantised *made, bl_error *err) {
  char text[80];
  (void)snprintf(text, sizeof text, "layers: {second: {tile-bits: \"%s\"}}", list);
  return by_recipe(graph, config, text, made, err);
}

// What a recipe says by tile are the bits of its channels; the last is that of all tiles left.
static void by_tile(void **state) {
  (void)state;
  enum { COUNT = CHANNELS * CHANNELS };
  const bl_config *config = NULL;
  for (size_t k = 0; k < BL_CONFIG_COUNT && config == NULL; k++)
    if (BL_CONFIGS[k].cols == 8) config = &BL_CONFIGS[k];
  if (config == NULL) skip();
  random_samples();
  bl_float_graph *graph = chain();
  bl_quantised want, got;
  bl_error err = {0};
  const char *const lists[] = {"5,2", "3"};
  for (int k = 0; k < 2; k++) {
    uint8_t bits[CHANNELS];
    for (size_t n = 0; n < CHANNELS; n++)
      bits[n] = k == 1 ? 3 : n < 8 ? 5 : 2;
    const bl_layer_plan plan = {.layer = "second", .channel_bits = bits, .channels = CHANNELS};
    want = quantised(graph, &(bl_quantise_options){.weight_bits = 8,
                                                   .activation_bits = 8,
                                                   .range = BL_RANGE_MSE,
                                                   .plan = &plan,
                                                   .plan_count = 1});
    if (by_tiles(graph, config, lists[k], &got, &err) != BL_OK) fail_msg("%s", err.text);
    assert_memory_equal(layer_of(&got, "second")->weights, layer_of(&want, "second")->weights,
                        COUNT);
    bl_arena_free(want.graph->arena);
    bl_arena_free(got.graph->arena);
  }
  const char *const wrong[] = {"9", "5,", "5;2", "5,1", "55"};
  for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
    char text[120];
    (void)snprintf(text, sizeof text,
                   "r:2: quantise: tile-bits of layer second: %s: expected numbers from 2 to 8, "
                   "as 8,4,2",
                   wrong[k]);
    assert_int_equal(by_tiles(graph, config, wrong[k], &got, &err), BL_ERR_USAGE);
    assert_string_equal(err.text, text);
  }
  assert_int_equal(by_tiles(graph, config, "5,2,3", &got, &err), BL_ERR_USAGE);
  assert_string_equal(err.text, "r:2: quantise: tile-bits of layer second: 5,2,3: it has 2 tiles "
                                "of 8 channels");
  bl_float_graph_free(graph);
}

// Averages have bits of what they give, and are passed over where weights are meant.
static void averages(void **state) {
  (void)state;
  static const char *const parameters[] = {
      "activation-bits: 2, layers: {mean: {activation-bits: 7}}",
      "activation-bits: 2, layers: {\"*\": {weight-bits: 3, activation-bits: 5}, last: "
      "{weight-bits: 4}}"};
  random_samples();
  bl_float_graph *graph = chain();
  bl_quantised got;
  bl_error err = {0};
  for (int k = 0; k < 2; k++) {
    if (by_recipe(graph, &BL_CONFIGS[BL_CONFIG_DEFAULT], parameters[k], &got, &err) != BL_OK)
      fail_msg("%s", err.text);
    assert_int_equal(output_of(&got, "mean")->format.bits, k == 0 ? 7 : 5);
    assert_int_equal(output_of(&got, "second")->format.bits, k == 0 ? 2 : 5);
    assert_int_equal(layer_of(&got, "second")->weight_format.bits, k == 0 ? 8 : 3);
    assert_int_equal(layer_of(&got, "fc")->weight_format.bits, k == 0 ? 8 : 4);
    bl_arena_free(got.graph->arena);
  }
  assert_int_equal(by_recipe(graph, &BL_CONFIGS[BL_CONFIG_DEFAULT],
                             "layers: {relu: {activation-bits: 7}}", &got, &err),
                   BL_ERR_USAGE);
  assert_string_equal(err.text, "r:2: quantise: no layer relu; `bitloom import` lists them");
  bl_float_graph_free(graph);
}

// x: two convolutions side by side, then one; the Concat's bits win, else the most of the parts'.
static void concatenation(void **state) {
  (void)state;
  random_samples();
  message graph = {0};
  message nodes[] = {
      new_node("Conv", "left", "x w", "a"),   new_node("Relu", "relu", "a", "l"),
      new_node("Conv", "right", "x u", "b"),  new_node("Relu", "relu2", "b", "r"),
      new_node("Concat", "both", "l r", "c"), new_node("GlobalAveragePool", "mean", "c", "p"),
      new_node("Flatten", "flat", "p", "f"),  new_node("Gemm", "fc", "f v", "y")};
  put_int(&nodes[4], "axis", 1);
  put_nodes(&graph, nodes, 8);
  put_random(&graph, "u", (const int64_t[]){CHANNELS, 2, 1, 1}, 4, -1, 1);
  put_random(&graph, "v", (const int64_t[]){3, 2 * CHANNELS}, 2, -1, 1);
  bl_float_graph *imported = import(&graph, 13);
  const bl_layer_plan plan[3] = {{.layer = "left", .activation_bits = 3},
                                 {.layer = "right", .activation_bits = 5},
                                 {.layer = "both", .activation_bits = 4}};
  for (uint32_t count = 2; count <= 3; count++) {
    const bl_quantise_options options = {
        .weight_bits = 4, .activation_bits = 8, .plan = plan, .plan_count = count};
    bl_quantised q = quantised(imported, &options);
    assert_int_equal(output_of(&q, "left")->format.bits, count == 2 ? 5 : 4);
    assert_int_equal(output_of(&q, "right")->format.bits, count == 2 ? 5 : 4);
    bl_arena_free(q.graph->arena);
  }
  bl_float_graph_free(imported);
}

// A sum: weights of its convolution by channel, refined too; the Add node names its bits.
static void addition(void **state) {
  (void)state;
  random_samples();
  message graph = {0};
  message nodes[] = {
      new_node("Conv", "first", "x w", "a"),  new_node("Relu", "relu", "a", "r"),
      new_node("Conv", "second", "r m", "b"), new_node("Add", "sum", "b r", "s"),
      new_node("Relu", "relu2", "s", "t"),    new_node("GlobalAveragePool", "mean", "t", "p"),
      new_node("Flatten", "flat", "p", "f"),  new_node("Gemm", "fc", "f v", "y")};
  put_nodes(&graph, nodes, 8);
  put_random(&graph, "v", (const int64_t[]){3, CHANNELS}, 2, -1, 1);
  bl_float_graph *imported = import(&graph, 13);
  uint8_t bits[CHANNELS];
  for (size_t n = 0; n < CHANNELS; n++)
    bits[n] = n < CHANNELS / 2 ? 6 : 3;
  const bl_layer_plan plan[2] = {{.layer = "second", .channel_bits = bits, .channels = CHANNELS},
                                 {.layer = "sum", .activation_bits = 3}};
  for (int gptq = 0; gptq < 2; gptq++) {
    const bl_quantise_options options = {.weight_bits = 8,
                                         .activation_bits = 8,
                                         .plan = plan,
                                         .plan_count = 2,
                                         .rounding = gptq ? BL_ROUNDING_GPTQ : BL_ROUNDING_NEAREST};
    bl_quantised q = quantised(imported, &options);
    const bl_int_layer *layer = layer_of(&q, "second");
    assert_non_null(layer->addend_weight);
    assert_int_equal(output_of(&q, "second")->format.bits, 3);
    assert_int_equal(output_of(&q, "first")->format.bits, 8);
    for (size_t n = 0; n < CHANNELS; n++)
      assert_in_range(largest(layer->weights + n * CHANNELS, CHANNELS), 1,
                      (1 << (bits[n] - 1)) - 1);
    bl_arena_free(q.graph->arena);
  }
  bl_float_graph_free(imported);
}

static void bad_plans(void **state) {
  (void)state;
  random_samples();
  bl_float_graph *graph = chain();
  bl_codebook nf4;
  bl_error err = {0};
  assert_int_equal(bl_codebook_open("nf4", &nf4, &err), BL_OK);
  static const uint8_t bits[CHANNELS] = {2, 9, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
  const struct {
    bl_layer_plan plan;
    const char *says;
  } bad[] = {{{.layer = "third", .weight_bits = 4}, "no layer third; there are first, second, fc"},
             {{.layer = "x", .weight_bits = 4}, "no layer x"},
             {{.layer = "first", .weight_bits = 9}, "w9a0"},
             {{.layer = "relu", .weight_bits = 4}, "layer relu (Relu) has no weights"},
             {{.layer = "mean", .weight_bits = 4}, "has no weights"},
             {{.layer = "first", .channel_bits = bits, .channels = 1}, "it has 16"},
             {{.layer = "first", .channel_bits = bits, .channels = CHANNELS}, "channel 1 has 9"},
             {{.layer = "first", .channel_bits = bits, .channels = 1, .codebook = &nf4},
              "a codebook has one number"}};
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    const bl_quantise_options options = {
        .weight_bits = 4, .activation_bits = 8, .plan = &bad[k].plan, .plan_count = 1};
    bl_quantised q;
    err = (bl_error){0};
    assert_int_equal(bl_quantise(graph, &options, &CALIBRATION, &q, &err), BL_ERR_USAGE);
    if (strstr(err.text, bad[k].says) == NULL) fail_msg("%s", err.text);
    assert_null(q.graph);
  }
  bl_float_graph_free(graph);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_layer),      cmocka_unit_test(codebooks),    cmocka_unit_test(by_channel),
      cmocka_unit_test(by_tile),       cmocka_unit_test(saves_planes), cmocka_unit_test(addition),
      cmocka_unit_test(concatenation), cmocka_unit_test(bad_plans),    cmocka_unit_test(averages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
