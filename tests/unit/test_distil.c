// SPDX-License-Identifier: Apache-2.0
// Distillation from inner values: losses against numbers worked out by hand, gradients against
// finite differences, pairs of layers, a student that follows its teacher.
#include "tests/unit/quant_aware_support.h"

#include "host/train/distil.h"

// ---- Losses

static void hint_of_equal_widths(void **state) {
  (void)state;
  float g[2] = {10, 20};
  near(bl_distil_hint((float[]){1, 2}, (float[]){0, 4}, 1, 2, 2, 1, 3, g), 2.5 / 8, 1e-9);
  near((double)g[0], 10 + 3.0 / 8, 1e-6); // 3 * 2 * 1 / 2, by (0 + 16) / 2
  near((double)g[1], 20 - 6.0 / 8, 1e-6);
}

// One channel s, two of the teacher t: r = mean(t s) / (mean(s^2) + 0.001).
static void hint_through_a_map(void **state) {
  (void)state;
  const double s[2] = {1, 2}, t[4] = {2, 4, 0, 5}, r = 5 / 2.501; // for both channels
  double sum = 0;
  for (int c = 0; c < 2; c++)
    for (int p = 0; p < 2; p++)
      sum += (r * s[p] - t[2 * c + p]) * (r * s[p] - t[2 * c + p]) / 4;
  float g[2] = {0};
  near(bl_distil_hint((float[]){1, 2}, (float[]){2, 4, 0, 5}, 1, 1, 2, 2, 1, g),
       (sum + 0.001 * 2 * r * r / 2) / 11.25, 1e-6); // the mean of 4, 16, 0 and 25
}

static void attention_by_hand(void **state) {
  (void)state;
  float g[2] = {0};
  const double a = 1 / sqrt(17) - sqrt(0.5), b = 4 / sqrt(17) - sqrt(0.5);
  near(bl_distil_attention((float[]){1, 2}, (float[]){1, 1, 1, 1}, 1, 1, 2, 2, 1, g), a * a + b * b,
       1e-9);
  float none[2] = {0};
  near(bl_distil_attention((float[]){0, 0}, (float[]){1, 1}, 1, 1, 1, 2, 1, none), 1, 1e-9);
  near((double)none[0], 0, 0);
}

// Three points on a line, and a right triangle.
static void relations_by_hand(void **state) {
  (void)state;
  float g[3] = {0};
  const float line[3] = {0, 1, 3}, even[3] = {0, 1, 2}, triangle[6] = {0, 0, 1, 0, 0, 1};
  near(bl_distil_relation(line, even, 3, 1, 1, 1, g), 0.125 / 6, 1e-6); // all angles alike
  // D: 1/3 (0.378680^2/2 + 0.621320^2/2 + 0.242641^2/2);
  // A: 2/27 (1/2 + (1.707107 - 1/2) + 0.292893^2/2)
  near(bl_distil_relation(line, triangle, 3, 1, 2, 1, g), 0.098052 + 2 * 3.5 / 27, 1e-5);
}

enum { SAMPLES = 4, CS = 3, CT = 5, PIXELS = 6 };

static double loss_of(bl_distil_kind kind, const float *s, const float *t, size_t ct, float *g) {
  float scratch[SAMPLES * CS * PIXELS] = {0};
  g = g != NULL ? g : scratch;
  if (kind == BL_DISTIL_HINT) return bl_distil_hint(s, t, SAMPLES, CS, ct, PIXELS, 2, g);
  if (kind == BL_DISTIL_ATTENTION) return bl_distil_attention(s, t, SAMPLES, CS, ct, PIXELS, 2, g);
  return bl_distil_relation(s, t, SAMPLES, (size_t)CS * PIXELS, ct * PIXELS, 2, g);
}

static void finite_differences(void **state) {
  (void)state;
  static const size_t widths[] = {CT, CS};
  for (int run = 0; run < 6; run++) {
    const bl_distil_kind kind = (bl_distil_kind)(run / 2);
    float s[SAMPLES * CS * PIXELS], t[SAMPLES * CT * PIXELS], g[SAMPLES * CS * PIXELS] = {0};
    for (size_t k = 0; k < SAMPLES * CS * PIXELS; k++)
      s[k] = (float)bl_random_normal(bl_random_key(seed + 31, k));
    for (size_t k = 0; k < SAMPLES * CT * PIXELS; k++)
      t[k] = (float)bl_random_normal(bl_random_key(seed + 32, k));
    (void)loss_of(kind, s, t, widths[run % 2], g);
    for (size_t k = 0; k < SAMPLES * CS * PIXELS; k++) {
      const float x = s[k], h = 0.01F;
      s[k] = x + h;
      const double above = loss_of(kind, s, t, widths[run % 2], NULL);
      s[k] = x - h;
      const double below = loss_of(kind, s, t, widths[run % 2], NULL);
      s[k] = x;
      const double expected = 2 * (above - below) / (2 * (double)h);
      if (fabs(expected - (double)g[k]) > 2e-3 * (0.05 + fabs(expected)))
        fail_msg("kind %d [%zu]: %g, expected %g", (int)kind, k, (double)g[k], expected);
    }
  }
}

// ---- Networks

static const text_net TEACHER = {"teacher",
                                 "x 8 1 6 6",
                                 "w1 6 1 3 3;c1 6;w2 8 6 3 3;c2 8;w3 8 3;c3 3",
                                 NULL,
                                 "Conv x w1 c1 > h1 | pads=i1,1,1,1;Relu h1 > r1;"
                                 "Conv r1 w2 c2 > h2 | strides=i2,2;Relu h2 > r2;"
                                 "GlobalAveragePool r2 > p;Flatten p > f;MatMul f w3 > m;"
                                 "Add m c3 > y",
                                 13};
static const text_net STUDENT = {"student",
                                 "x 8 1 6 6",
                                 "w1 3 1 3 3;c1 3;w2 4 3 3 3;c2 4;w3 4 3;c3 3",
                                 NULL,
                                 "Conv x w1 c1 > h1 | pads=i1,1,1,1;Relu h1 > r1;"
                                 "Conv r1 w2 c2 > h2 | strides=i2,2;Relu h2 > r2;"
                                 "GlobalAveragePool r2 > p;Flatten p > f;MatMul f w3 > m;"
                                 "Add m c3 > y",
                                 13};

static void pairs(void **state) {
  (void)state;
  bl_float_graph *s = text_graph(&STUDENT, seed), *t = text_graph(&TEACHER, seed);
  bl_distil *d;
  bl_error err = {0};
  uint32_t count;
  bl_distil_options o = {.kind = BL_DISTIL_ATTENTION, .weight = 1};
  assert_int_equal(bl_distil_open(s, t, &o, &d, &err), BL_OK);
  const int32_t *values = bl_distil_outputs(d, true, &count);
  assert_int_equal(count, 3); // logits, 6 x 6, 2 x 2
  assert_string_equal(t->values[values[0]].name, "y");
  assert_string_equal(t->values[values[1]].name, "r1");
  assert_string_equal(t->values[values[2]].name, "r2");
  bl_distil_close(d);
  o.kind = BL_DISTIL_RELATION;
  assert_int_equal(bl_distil_open(s, t, &o, &d, &err), BL_OK);
  values = bl_distil_outputs(d, false, &count);
  assert_int_equal(count, 2);
  assert_string_equal(s->values[values[1]].name, "f");
  bl_distil_close(d);
  static const struct {
    bl_distil_kind kind;
    const char *layers, *words;
  } wrong[] = {{BL_DISTIL_HINT, "r1:q", "teacher has no such"},
               {BL_DISTIL_HINT, "r1", "expected S:T"},
               {BL_DISTIL_HINT, "r1:r2", "do not go together"},
               {BL_DISTIL_HINT, "r1:r1,r1:h1", "compared twice"},
               {BL_DISTIL_ATTENTION, "f:f", "do not go together"}};
  for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
    o = (bl_distil_options){.kind = wrong[k].kind, .weight = 1, .layers = wrong[k].layers};
    assert_int_equal(bl_distil_open(s, t, &o, &d, &err), BL_ERR_USAGE);
    if (strstr(err.text, wrong[k].words) == NULL) fail_msg("%s", err.text);
  }
  bl_float_graph_free(s);
  bl_float_graph_free(t);
}

typedef struct {
  bl_float_graph *graphs[2];
  bl_train_net *nets[2]; // student, teacher
  bl_distil *distil;
} couple;

static void open_couple(couple *c, bl_distil_kind kind) {
  bl_error err = {0};
  const bl_distil_options o = {.kind = kind, .weight = 5};
  c->graphs[0] = text_graph(&STUDENT, seed);
  c->graphs[1] = text_graph(&TEACHER, seed);
  if (bl_distil_open(c->graphs[0], c->graphs[1], &o, &c->distil, &err) != BL_OK)
    fail_msg("%s", err.text);
  for (int k = 0; k < 2; k++) {
    bl_train_options t = {.frozen = k == 1, .seed = 1};
    t.outputs = bl_distil_outputs(c->distil, k == 1, &t.output_count);
    if (bl_train_open(c->graphs[k], &t, &c->nets[k], &err) != BL_OK) fail_msg("%s", err.text);
  }
}

static void close_couple(couple *c) {
  for (int k = 0; k < 2; k++) {
    bl_train_close(c->nets[k]);
    bl_float_graph_free(c->graphs[k]);
  }
  bl_distil_close(c->distil);
}

// Learning to be like the teacher inside, the logits' own loss left out: its term falls.
static void follows(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    couple c;
    bl_trainer *t;
    bl_error err = {0};
    bl_train_data data = noise(64, 36, false);
    open_couple(&c, (bl_distil_kind)kind);
    const bl_train_hook hook = bl_distil_hook(c.distil, c.nets[1]);
    bl_trainer_options o = {.epochs = 30,
                            .seed = seed,
                            .teacher = c.nets[1],
                            .temperature = 2,
                            .teacher_weight = 1,
                            .hooks = &hook,
                            .hook_count = 1};
    uint64_t count;
    o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
    o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 0.01, 0, 1, 0, 1, 1};
    if (bl_trainer_open(c.nets[0], &data, NULL, &o, &t, &err) != BL_OK ||
        bl_trainer_run(t, NULL, NULL, &err) != BL_OK)
      fail_msg("%s", err.text);
    const bl_train_record *h = bl_trainer_history(t, &count);
    printf("kind %d: loss %.4f to %.4f\n", kind, h[0].loss, h[count - 1].loss);
    assert_true(h[count - 1].loss < 0.6 * h[0].loss);
    bl_trainer_close(t);
    bl_train_data_free(&data);
    close_couple(&c);
  }
}

// Values in front of all that learns are the same whatever the student does: nothing can be learned
// from them, so they are not paired by default, and refused where they are named.
static void in_front_of_layers(void **state) {
  (void)state;
  static const text_net net = {"scaled",
                               "x 8 1 6 6",
                               "k 1 =2;w 3 1 3 3;c 3;v 3 3;d 3",
                               NULL,
                               "Mul x k > s;Relu s > r;Conv r w c > h;Relu h > q;"
                               "GlobalAveragePool q > p;Flatten p > f;Gemm f v d > y",
                               13};
  for (int kind = 0; kind < 3; kind++)
    for (int how = 0; how < 2; how++) {
      couple c = {.graphs = {text_graph(&net, seed), text_graph(&net, seed)}};
      const bl_distil_options o = {
          .kind = (bl_distil_kind)kind, .weight = 1, .layers = how == 0 ? NULL : "r:r"};
      bl_error err = {0};
      uint32_t count;
      const bl_status status = bl_distil_open(c.graphs[0], c.graphs[1], &o, &c.distil, &err);
      assert_int_equal(status, how == 0 ? BL_OK : BL_ERR_USAGE);
      if (how == 1 && strstr(err.text, "nothing that learns") == NULL) fail_msg("%s", err.text);
      if (how == 0) (void)bl_distil_outputs(c.distil, false, &count);
      if (how == 0) assert_int_equal(count, 2); // logits, and q or f
      close_couple(&c);
    }
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hint_of_equal_widths),
      cmocka_unit_test(hint_through_a_map),
      cmocka_unit_test(attention_by_hand),
      cmocka_unit_test(relations_by_hand),
      cmocka_unit_test(finite_differences),
      cmocka_unit_test(pairs),
      cmocka_unit_test(follows),
      cmocka_unit_test(in_front_of_layers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
