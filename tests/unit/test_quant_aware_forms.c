// SPDX-License-Identifier: Apache-2.0
// The other forms of fake quantisation: slopes of the sign, levels, ternary weights, PACT, the pull
// towards integers, bits by channel, against numbers worked out by hand; networks with them, and
// with bits of their own for the first and last layer, against what is written.
#include "tests/unit/quant_aware_support.h"

#include <unistd.h>

#include "host/float/session.h"

static void all_near(const float *got, const double *expected, size_t count) {
  for (size_t k = 0; k < count; k++)
    if (!(fabs((double)got[k] - expected[k]) <= 1e-6))
      fail_msg("[%zu]: got %.9g, expected %.9g", k, (double)got[k], expected[k]);
}

static const float ONES[8] = {1, 1, 1, 1, 1, 1, 1, 1};

static void slopes_of_the_sign(void **state) {
  (void)state;
  const float x[5] = {-3, -0.5F, 0, 1, 2}, step = 2; // u = -1.5, -0.25, 0, 0.5, 1
  bl_fake_quant q = {.binary = true, .channels = 1, .gradient_scale = 1};
  float dx[5];
  q.sign = BL_SIGN_POLYNOMIAL;
  bl_fake_quant_backward(&q, x, ONES, 5, &step, dx, NULL);
  all_near(dx, (double[]){0, 1.5, 2, 1, 0}, 5);
  q.sign = BL_SIGN_TANH;
  q.sharpness = 2; // 2 (1 - tanh(2 u)^2)
  bl_fake_quant_backward(&q, x, ONES, 5, &step, dx, NULL);
  all_near(dx, (double[]){0.019732074, 1.572895466, 2, 0.839948683, 0.141301650}, 5);
  q.sharpness = 0.5; // (1 / 0.5) 0.5 (1 - tanh(u / 2)^2)
  bl_fake_quant_backward(&q, x, ONES, 5, &step, dx, NULL);
  all_near(dx, (double[]){0.596585807, 0.984536331, 1, 0.940014849, 0.786447733}, 5);
}

static void levels(void **state) {
  (void)state;
  static const double five[5] = {-4, -1, 0, 1, 4};
  const bl_fake_quant q = {
      .lo = -4, .hi = 4, .levels = five, .level_count = 5, .channels = 1, .gradient_scale = 1};
  // v = x / 0.5; between levels: -2.5, -0.5, 0.5, 2.5, of two as near the one nearer to 0
  const float step = 0.5F, x[7] = {-9, -1.25F, -1.3F, 0.25F, 0.3F, 1.24F, 3};
  float y[7], dx[7], ds;
  bl_fake_quant_forward(&q, x, 7, &step, y);
  all_near(y, (double[]){-2, -0.5, -2, 0, 0.5, 0.5, 2}, 7);
  const double slope[7] = {-4, -1 + 2.5, -4 + 2.6, -0.5, 0.4, 1 - 2.48, 4};
  for (size_t k = 0; k < 7; k++) {
    bl_fake_quant_backward(&q, x + k, ONES, 1, &step, dx, &ds);
    near((double)ds, slope[k], 1e-6);
    near((double)dx[0], k == 0 || k == 6 ? 0 : 1, 0);
  }
}

static void ternary(void **state) {
  (void)state;
  bl_fake_quant q = {.lo = -1,
                     .hi = 1,
                     .ternary = true,
                     .mean_step = true,
                     .channels = 2,
                     .gradient_scale = 1,
                     .regulariser = 0.5};
  // means 0.5 and 1: thresholds 0.35 and 0.7; above them 0.4, 1.2 and 1.5, 1.1, 0.9
  const float x[8] = {0.4F, -1.2F, 0.1F, 0.3F, 1.5F, -1.1F, 0.9F, -0.5F};
  float steps[2], y[8], dx[8];
  bl_fake_quant_means(&q, x, 8, steps);
  all_near(steps, (double[]){0.8, 3.5 / 3}, 2);
  bl_fake_quant_forward(&q, x, 8, steps, y);
  const double s = 3.5 / 3, expected[8] = {0.8, -0.8, 0, 0, s, -s, s, 0};
  all_near(y, expected, 8);
  bl_fake_quant_backward(&q, x, ONES, 8, steps, dx, NULL);
  const double pull[8] = {0.6, -0.4, 1.1, 1.3, 1.5 - s, -1.1 + s, 1.9 - s, 0.5};
  all_near(dx, pull, 8);
  // the same, channels in columns
  float turned[8];
  for (size_t k = 0; k < 8; k++)
    turned[k % 4 * 2 + k / 4] = x[k];
  q.channels_last = true;
  bl_fake_quant_means(&q, turned, 8, steps);
  all_near(steps, (double[]){0.8, s}, 2);
  bl_fake_quant_forward(&q, turned, 8, steps, y);
  for (size_t k = 0; k < 8; k++)
    near((double)y[k % 4 * 2 + k / 4], expected[k], 1e-6);
}

static void pact(void **state) {
  (void)state;
  const bl_fake_quant q = {
      .hi = 3, .channels = 1, .gradient_scale = 0.5, .pact = true, .decay = 0.01};
  const float step = 0.5F, x[4] = {-1, 0.6F, 1.4F, 2}, dy[4] = {1, 2, 4, 8};
  float dx[4], ds;
  bl_fake_quant_backward(&q, x, dy, 4, &step, dx, &ds);
  all_near(dx, (double[]){0, 2, 4, 0}, 4);
  near((double)ds, 0.5 * (8 * 3 + 2 * 0.01 * 9 * 0.5), 1e-6);
}

static void bits_by_channel(void **state) {
  (void)state;
  static const double hi[2] = {1, 7};
  const bl_fake_quant q = {
      .lo = -7, .hi = 7, .channels = 2, .channel_hi = hi, .gradient_scale = 1, .regulariser = 1};
  const float x[4] = {2.2F, 0.4F, 2.2F, -9}, steps[2] = {1, 1};
  float y[4], dx[4], ds[2];
  bl_fake_quant_forward(&q, x, 4, steps, y);
  all_near(y, (double[]){1, 0, 2, -7}, 4);
  bl_fake_quant_backward(&q, x, ONES, 4, steps, dx, ds);
  all_near(ds, (double[]){1 - 0.4, -0.2 - 7}, 2);
  all_near(dx, (double[]){2.4, 1.8, 1.4, -4}, 4);
}

// ---- Networks

static const text_net NET = {"net",
                             "x 8 2 8 8",
                             "w1 6 2 3 3;c1 6;w2 4 6 3 3;c2 4;w3 36 5;w4 3 5;c4 3",
                             NULL,
                             "Conv x w1 c1 > h1;Relu h1 > r1;Conv r1 w2 c2 > h2 | pads=i1,1,1,1;"
                             "MaxPool h2 > p2 | kernel_shape=i2,2 strides=i2,2;Flatten p2 > f;"
                             "MatMul f w3 > h3;Clip h3 > k3 | min=f-1 max=f1;"
                             "Gemm k3 w4 c4 > y | transB=i1",
                             13};

static unsigned bits_of(const bl_float_graph *g, const char *base) {
  char name[64];
  (void)snprintf(name, sizeof name, "%s_bits", base);
  return (unsigned)g->values[value_named(g, name)].f[0];
}

// The written graph's outputs, by the float executor, are the trained network's.
static bl_float_graph *written_alike(model *m) {
  bl_float_graph *again = written(m);
  bl_float_session *session;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(again, &session, &err), BL_OK);
  memcpy(bl_train_input(m->net, 0), m->data.values, 8 * m->data.elements * sizeof(float));
  assert_int_equal(bl_train_forward(m->net, false, 0, &err), BL_OK);
  for (size_t s = 0; s < 8; s++) {
    memcpy(bl_float_session_input(session, 0)->f, m->data.values + s * m->data.elements,
           m->data.elements * sizeof(float));
    assert_int_equal(bl_float_session_run(session, &err), BL_OK);
    const bl_value *y = bl_float_session_value(session, again->outputs[0]);
    for (size_t k = 0; k < 3; k++)
      near((double)y->f[k], (double)bl_train_output(m->net, 0)[s * 3 + k], 1e-4);
  }
  bl_float_session_close(session);
  return again;
}

static model trained(const bl_quant_aware_options *options) {
  model m = {.file = text_model(&NET, seed), .data = noise(64, 128, false)};
  bl_error err = {0};
  if (open_aware_as(&m, options, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
  train(&m, 4, 0.003);
  return m;
}

static void edges(void **state) {
  (void)state;
  const bl_quant_aware_options options = {
      .weight_bits = 2, .activation_bits = 3, .edge_weight_bits = 8, .edge_activation_bits = 6};
  model m = trained(&options);
  bl_float_graph *g = written_alike(&m);
  const char *const names[] = {"w1", "w2", "w3", "w4", "r1", "p2", "k3"};
  const unsigned bits[] = {8, 2, 2, 8, 3, 3, 6};
  for (int k = 0; k < 7; k++)
    if (bits_of(g, names[k]) != bits[k]) fail_msg("%s: %u bits", names[k], bits_of(g, names[k]));
  bl_float_graph_free(g);
  close_model(&m);
}

// A plan, which wins over what is said of first and last layers; channels of their own bits.
static void planned(void **state) {
  (void)state;
  static const uint8_t channels[4] = {2, 4, 3, 2};
  const bl_layer_plan plan[] = {{.layer = "h1", .weight_bits = 5, .activation_bits = 4},
                                {.layer = "h2", .channel_bits = channels, .channels = 4}};
  const bl_quant_aware_options options = {
      .weight_bits = 3, .activation_bits = 3, .edge_weight_bits = 8, .plan = plan, .plan_count = 2};
  model m = trained(&options);
  bl_float_graph *g = written_alike(&m);
  const char *const names[] = {"w1", "w2", "w3", "w4", "r1", "p2", "k3"};
  const unsigned bits[] = {5, 4, 3, 8, 4, 3, 3};
  for (int k = 0; k < 7; k++)
    if (bits_of(g, names[k]) != bits[k]) fail_msg("%s: %u bits", names[k], bits_of(g, names[k]));
  const float *w = g->values[value_named(g, "w2")].f;
  const float *scale = g->values[value_named(g, "w2_scale")].f;
  for (size_t n = 0; n < 4; n++) {
    double most = 0;
    for (size_t k = 0; k < 54; k++)
      most = fmax(most, fabs((double)w[n * 54 + k] / (double)scale[n]));
    near(most, (1 << (channels[n] - 1)) - 1, 1e-4);
  }
  bl_float_graph_free(g);
  close_model(&m);
}

// The integers in the written file are those of the form, and so is the layer's format: a
// codebook's are codes of 4 bits, odd ones have a bit less than two's complement.
static void written_values(void **state) {
  (void)state;
  bl_codebook apot;
  bl_error err = {0};
  assert_int_equal(bl_codebook_open("apot", &apot, &err), BL_OK);
  const struct {
    bl_quant_aware_options options;
    int count, values[8];
    bl_format format;
  } ways[] = {
      {{.weight_bits = 2, .codebook = &apot}, 0, {0}, {BL_FORMAT_S, 5}},
      {{.weight_bits = 2, .ternary = true, .edge_weight_bits = 4}, 3, {-1, 0, 1}, {BL_FORMAT_S, 2}},
      {{.weight_bits = 2, .bipolar = true, .edge_weight_bits = 8},
       4,
       {-3, -1, 1, 3},
       {BL_FORMAT_B, 2}},
      {{.weight_bits = 3, .bipolar = true}, 8, {-7, -5, -3, -1, 1, 3, 5, 7}, {BL_FORMAT_B, 3}},
  };
  for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
    bl_quant_aware_options options = ways[way].options;
    options.activation_bits = 4;
    model m = trained(&options);
    bl_float_graph *g = written_alike(&m);
    const float *w = g->values[value_named(g, "w2")].f;
    const float *scale = g->values[value_named(g, "w2_scale")].f;
    const bool codes = options.codebook != NULL;
    for (size_t k = 0; k < 4 * 54; k++) {
      const double q = (double)w[k] / (double)scale[k / 54];
      bool found = false;
      for (int i = 0; i < (codes ? BL_INT_CODES : ways[way].count); i++)
        found |= fabs(q - (codes ? apot.values[i] : ways[way].values[i])) < 1e-4;
      if (!found) fail_msg("w2[%zu] is %g steps", k, q);
    }
    const bl_quantise_options literal = {.weight_bits = 8, .activation_bits = 8};
    bl_quantised made;
    if (bl_quantise(g, &literal, NULL, &made, &err) != BL_OK) fail_msg("%s", err.text);
    const bl_int_layer *l = &made.graph->layers[1];
    assert_true((l->codebook != NULL) == codes);
    assert_string_equal(bl_format_name(l->weight_format), bl_format_name(ways[way].format));
    bl_arena_free(made.graph->arena);
    bl_float_graph_free(g);
    close_model(&m);
  }
}

static void parameters_of_w3(const model *m, bl_train_parameter **weights,
                             bl_train_parameter **steps) {
  uint32_t count;
  bl_train_parameter *p = bl_train_parameters(m->net, &count);
  *weights = *steps = NULL;
  for (uint32_t k = 0; k < count; k++) {
    if (strcmp(p[k].name, "w3") == 0) *weights = &p[k];
    if (strncmp(p[k].name, "w3:", 3) == 0) *steps = &p[k];
  }
  assert_true(*weights != NULL && *steps != NULL);
}

// Weights wait until their time, then take steps of what they are by then; steps stay at the end.
static void times(void **state) {
  (void)state;
  const bl_quant_aware_options options = {.weight_bits = 2,
                                          .activation_bits = 4,
                                          .weights_from = 0.5,
                                          .freeze_from = 0.75,
                                          .sign = BL_SIGN_TANH,
                                          .regulariser = 0.01};
  model m = trained(&options);
  bl_train_hook hook = bl_quant_aware_hook(m.aware);
  bl_error err = {0};
  bl_train_parameter *weights, *steps;
  parameters_of_w3(&m, &weights, &steps);
  assert_true(steps->rate == 0); // frozen
  for (size_t k = 0; k < weights->count; k++)
    weights->data[k] =
        (float)((int)(k % 3) - 1) * (k % 5 < 2 ? 1.0F : 2.0F); // columns are channels
  // 49 of 100: as they are; 50: quantised, with the steps of these weights
  assert_int_equal(hook.before(hook.user, m.net, 49, 100, &err), BL_OK);
  memcpy(bl_train_input(m.net, 0), m.data.values, 8 * m.data.elements * sizeof(float));
  assert_int_equal(bl_train_forward(m.net, true, 0, &err), BL_OK);
  const float before = bl_train_output(m.net, 0)[0];
  steps->data[0] = 17;
  assert_int_equal(bl_train_forward(m.net, true, 0, &err), BL_OK);
  assert_true(bl_train_output(m.net, 0)[0] == before);
  assert_int_equal(hook.before(hook.user, m.net, 50, 100, &err), BL_OK);
  for (size_t n = 0; n < 5; n++) // channels of 0 and +-1, or of 0 and +-2
    near((double)steps->data[n], n < 2 ? 1 : 2, 1e-6);
  assert_int_equal(hook.before(hook.user, m.net, 51, 100, &err), BL_OK);
  steps->data[0] = 1.25F;
  assert_int_equal(hook.before(hook.user, m.net, 52, 100, &err), BL_OK);
  assert_true(steps->data[0] == 1.25F);
  close_model(&m);
}

// Weight `k` of w3 (channel k % 5, step 1) after each step, as the optimiser would leave it; the
// last is frozen, or is not. Frequencies move by a hundredth; a flip back counts, a flip does not.
static void oscillations(void **state) {
  (void)state;
  static const struct {
    float values[8]; // up to 99
    double part;     // of the training: thresholds 0.02 at 0, 0.0125 at 0.5
    float left;      // what is left of the last value
  } ways[] = {
      // flips back: 1/100, 1.99/100, 2.9701/100 > 0.02. The mean of 0 1 0 1 0 is near 0.
      {{0.4F, 0.6F, 0.4F, 0.6F, 0.4F, 99}, 0, 0},
      {{0.4F, 0.6F, 0.4F, 0.6F, 99}, 0, 0.6F},     // one fewer
      {{0.4F, 0.6F, 0.4F, 0.6F, 99}, 0.5, 0},      // 0.0199 > 0.0125, the mean near 0 at the 1
      {{0.9F, 0.4F, 0.6F, 0.4F, 99}, 0.5, 1},      // and near 1 at the 0
      {{-2.2F, -1, 0, 0.7F, 0.2F, 99}, 0.5, 0.2F}, // back once
      {{-2.2F, -1.6F, -3, -1.9F, -2.4F, 99}, 0.5, -2.4F}, // no flip within the clip
      {{-1.6F, -1.4F, -3, -1.4F, 99}, 0.5, -2},           // over the edge of the clip
  };
  const bl_quant_aware_options options = {
      .weight_bits = 2, .activation_bits = 4, .freeze_oscillating = 0.005};
  for (size_t n = 0; n < sizeof ways / sizeof ways[0]; n++) {
    model m = {.file = text_model(&NET, seed), .data = noise(64, 128, false)};
    bl_error err = {0};
    if (open_aware_as(&m, &options, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
    const bl_train_hook hook = bl_quant_aware_hook(m.aware);
    bl_train_parameter *weights, *steps;
    parameters_of_w3(&m, &weights, &steps);
    const size_t at = 7 + n, channel = at % 5;
    const float other = weights->data[at + 1];
    steps->data[channel] = 1;
    for (const float *v = ways[n].values; *v < 99; v++) {
      weights->data[at] = *v;
      const uint64_t step = (uint64_t)lround(100 * ways[n].part);
      assert_int_equal(hook.after(hook.user, m.net, step, 100, &err), BL_OK);
    }
    near((double)weights->data[at], (double)ways[n].left, 0);
    assert_true(weights->data[at + 1] == other);
    if (ways[n].left == rintf(ways[n].left)) { // goes with its step from now on, whatever comes
      weights->data[at] = 0.9F;
      steps->data[channel] = 0.75F;
      assert_int_equal(hook.after(hook.user, m.net, 100, 100, &err), BL_OK);
      near((double)weights->data[at], 0.75 * (double)ways[n].left, 0);
    }
    close_model(&m);
  }
}

// Part 0 ends in the first epoch, part 1 in the second.
static bool stop_at(void *user, const bl_train_progress *p) {
  const uint64_t *part = user;
  return p->epoch != *part || p->step != 5;
}

// Stopped in the first and in the second of three epochs, and whole: the same bits.
static void resumes_alike(const bl_quant_aware_options *options, double rate) {
  char path[] = "/tmp/bitloom-forms-XXXXXX";
  model m[2];
  uint32_t count;
  bl_error err = {0};
  assert_true(close(mkstemp(path)) == 0);
  for (int k = 0; k < 2; k++) {
    for (uint64_t part = k == 0 ? 2 : 0; part < 3; part++) { // whole, or in three parts
      m[k] = (model){.file = text_model(&NET, seed), .data = noise(64, 128, false)};
      if (open_aware_as(&m[k], options, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
      const bl_train_hook hook = bl_quant_aware_hook(m[k].aware);
      bl_trainer_options o = {.epochs = 3, .seed = seed, .hooks = &hook, .hook_count = 1};
      bl_trainer *t;
      o.checkpoint = k == 0 ? NULL : path;
      o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
      o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, rate, 0, 1, 0, 1, 1};
      if (bl_trainer_open(m[k].net, &m[k].data, NULL, &o, &t, &err) != BL_OK ||
          (k == 1 && part > 0 && bl_trainer_resume(t, path, &err) != BL_OK) ||
          bl_trainer_run(t, part < 2 ? stop_at : NULL, &part, &err) != BL_OK)
        fail_msg("%s", err.text);
      bl_trainer_close(t);
      if (part < 2) close_model(&m[k]);
    }
  }
  const bl_train_parameter *p = bl_train_parameters(m[0].net, &count);
  const bl_train_parameter *q = bl_train_parameters(m[1].net, &count);
  for (uint32_t k = 0; k < count; k++)
    assert_memory_equal(p[k].data, q[k].data, p[k].count * sizeof(float));
  close_model(&m[0]);
  close_model(&m[1]);
  assert_int_equal(unlink(path), 0);
}

// All that changes with time, stopped once before and once behind the beginning of the weights; and
// what is remembered of flips.
static void resumes(void **state) {
  (void)state;
  const bl_quant_aware_options times = {.weight_bits = 2,
                                        .activation_bits = 1,
                                        .sign = BL_SIGN_TANH,
                                        .weights_from = 0.4,
                                        .freeze_from = 0.7,
                                        .regulariser = 0.01};
  const bl_quant_aware_options flips = {
      .weight_bits = 2, .activation_bits = 2, .freeze_oscillating = 0.002};
  resumes_alike(&times, 0.003);
  resumes_alike(&flips, 0.03);
}

// How unlike the magnitudes of w2 are in each channel: their variance over the square of the mean.
static double unlike(const model *m) {
  uint32_t count;
  const bl_train_parameter *p = bl_train_parameters(m->net, &count);
  double sum = 0;
  while (strcmp(p->name, "w2") != 0)
    p++;
  for (size_t n = 0; n < 4; n++) {
    double mean = 0, square = 0;
    for (size_t k = 0; k < 54; k++) {
      mean += fabs((double)p->data[n * 54 + k]) / 54;
      square += (double)p->data[n * 54 + k] * (double)p->data[n * 54 + k] / 54;
    }
    sum += square / (mean * mean) - 1;
  }
  return sum / 4;
}

// Real weights, pulled to plus and minus one number a channel.
static void pulled(void **state) {
  (void)state;
  double got[2];
  for (int k = 0; k < 2; k++) {
    const bl_quant_aware_options options = {.weight_bits = 1,
                                            .activation_bits = 4,
                                            .weights_from = 0.99,
                                            .regulariser = k == 0 ? 0 : 10};
    model m = {.file = text_model(&NET, seed), .data = noise(64, 128, false)};
    bl_error err = {0};
    if (open_aware_as(&m, &options, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
    train(&m, 4, 0.03);
    got[k] = unlike(&m);
    close_model(&m);
  }
  if (!(got[1] < got[0] / 4)) fail_msg("%g, pulled %g", got[0], got[1]);
}

static void refuse(bl_quant_aware_options options, const char *words) {
  model m = {.file = text_model(&NET, seed), .data = noise(8, 128, false)};
  bl_error err = {0};
  assert_int_equal(open_aware_as(&m, &options, NULL, 0, &err), BL_ERR_USAGE);
  if (strstr(err.text, words) == NULL) fail_msg("%s", err.text);
  close_model(&m);
}

static void refusals(void **state) {
  (void)state;
  refuse((bl_quant_aware_options){.weight_bits = 4, .activation_bits = 4, .ternary = true},
         "--ternary");
  refuse((bl_quant_aware_options){.weight_bits = 5, .activation_bits = 4, .bipolar = true},
         "--bipolar: weights of other bits; they have 2 to 4");
  refuse(
      (bl_quant_aware_options){
          .weight_bits = 2, .activation_bits = 4, .ternary = true, .bipolar = true},
      "--bipolar: weights of three values");
  refuse((bl_quant_aware_options){.weight_bits = 4, .activation_bits = 4, .edge_weight_bits = 9},
         "--edge-bits");
  refuse((bl_quant_aware_options){.weight_bits = 4, .activation_bits = 4, .weights_from = 1},
         "0 to 1");
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1); // small networks: waiting for each other would take longer
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(slopes_of_the_sign),
      cmocka_unit_test(levels),
      cmocka_unit_test(ternary),
      cmocka_unit_test(pact),
      cmocka_unit_test(bits_by_channel),
      cmocka_unit_test(edges),
      cmocka_unit_test(planned),
      cmocka_unit_test(written_values),
      cmocka_unit_test(times),
      cmocka_unit_test(oscillations),
      cmocka_unit_test(pulled),
      cmocka_unit_test(resumes),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
