// SPDX-License-Identifier: Apache-2.0
// bitloom train as its users start it: what it says, what it writes, how it goes on after a stop,
// how it fails.
#include "tests/unit/train_support.h"

#include "host/data/npy_write.h"
#include "host/train/train_net.h"
#include "tests/support/run_command.h"

enum { SAMPLES = 64 };

static void write_file(const char *name, const void *bytes, size_t size) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fwrite(bytes, 1, size, f) == size);
  assert_int_equal(fclose(f), 0);
}

// Points of a plane; the label says whether both numbers have one sign.
static void write_data(void) {
  float values[2 * SAMPLES];
  uint8_t labels[80 + SAMPLES] = "\x93NUMPY\x01";
  char path[128];
  (void)snprintf((char *)labels + 10, 70,
                 "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,)}", SAMPLES);
  labels[8] = 70;
  for (size_t k = 10; k < 80; k++)
    if (labels[k] == 0) labels[k] = ' ';
  labels[79] = '\n';
  for (size_t k = 0; k < 2 * SAMPLES; k++) {
    double u = 2 * bl_random_unit(bl_random_key(5, k)) - 1;
    values[k] = (float)(u + (u > 0 ? 0.2 : -0.2));
  }
  for (size_t s = 0; s < SAMPLES; s++)
    labels[80 + s] = values[2 * s] * values[2 * s + 1] > 0;
  (void)snprintf(path, sizeof path, "%s/x.npy", bl_command_folder);
  bl_error err = {0};
  assert_int_equal(bl_npy_write(path, values, SAMPLES, 2, &err), BL_OK);
  write_file("l.npy", labels, 80 + SAMPLES);
  labels[80] = 9;
  write_file("wrong.npy", labels, 80 + SAMPLES);
}

static void write_models(void) {
  static const text_net nets[] = {
      {"net", "x 1 2", "w 2 16;b 16;v 16 2;c 2", NULL,
       "Gemm x w b > h;Relu h > r;Gemm r v c > l;Softmax l > y", 13},
      {"three", "x 1 2", "w 2 3", NULL, "Gemm x w > y", 13},
      {"sign", "x 1 2", "w 2 2", NULL, "Gemm x w > h;Sign h > y", 13},
      {"sum", "x 1 2 1 1", "w 16 2 1 1;b 16;u 16 16 1 1;d 16;v 16 2;c 2", NULL,
       "Conv x w b > h;Relu h > r;Conv r u d > i;Add i r > s;Relu s > t;Flatten t > f;"
       "Gemm f v c > l;Softmax l > y",
       13},
      {"one", "x 1 2", "w 2 16;b 16;v 16 1;c 1", NULL,
       "Gemm x w b > h;Relu h > r;Gemm r v c > l;Sigmoid l > y", 13},
  };
  for (size_t k = 0; k < sizeof nets / sizeof nets[0]; k++) {
    char name[32];
    message m = text_model(&nets[k], 1);
    (void)snprintf(name, sizeof name, "%s.onnx", nets[k].name);
    write_file(name, m.bytes, m.size);
    free(m.bytes);
  }
}

#define DATA " --data @x.npy --labels @l.npy --batch 8 --threads 1 "

static void trains(void **state) {
  (void)state;
  bl_command_expect("train @net.onnx" DATA "--test @x.npy --test-labels @l.npy --epochs 60 "
                    "--fresh he --optimizer adamw --lr 0.03 --warm-up 2 --output @o.onnx --json",
                    0);
  cJSON *o = bl_command_json();
  assert_true(bl_command_number(o, "accuracy") >= 0.95);
  assert_true(bl_command_number(o, "test_accuracy") >= 0.98);
  assert_true(bl_command_number(o, "samples") == SAMPLES && bl_command_number(o, "batch") == 8);
  assert_true(bl_command_number(o, "parameters") == 2 * 16 + 16 + 32 + 2);
  const cJSON *history = cJSON_GetObjectItem(o, "history");
  assert_int_equal(cJSON_GetArraySize(history), 60);
  const cJSON *first = cJSON_GetArrayItem(history, 0);
  assert_true(bl_command_number(first, "epoch") == 1);
  assert_true(bl_command_number(first, "loss") > bl_command_number(o, "loss"));
  double trained = bl_command_number(o, "test_accuracy");
  cJSON_Delete(o);
  bl_command_expect("run @o.onnx --device float --data @x.npy --labels @l.npy --json", 0);
  o = bl_command_json();
  assert_true(fabs(bl_command_number(o, "accuracy") - trained) < 1e-12);
  cJSON_Delete(o);
}

static void speaks(void **state) {
  (void)state;
  bl_command_expect("train @net.onnx" DATA "--epochs 2 --output @o.onnx", 0);
  assert_non_null(strstr(bl_command_out, "epoch 2/2  loss "));
  assert_non_null(strstr(bl_command_out, "accuracy "));
  assert_non_null(strstr(bl_command_out, "s left"));
}

static size_t file_bytes(const char *name, uint8_t **bytes) {
  char path[128];
  size_t size;
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  *bytes = slurp(path, &size);
  return size;
}

static void same_files(const char *a, const char *b) {
  uint8_t *p, *q;
  size_t left = file_bytes(a, &p), right = file_bytes(b, &q);
  assert_true(left == right && memcmp(p, q, left) == 0);
  free(p);
  free(q);
}

static void resumes(void **state) {
  (void)state;
  const char *common = "train @net.onnx" DATA "--schedule constant --augment flip,shift=1 ";
  char line[256];
  (void)snprintf(line, sizeof line, "%s --epochs 6 --output @a.onnx", common);
  bl_command_expect(line, 0);
  (void)snprintf(line, sizeof line, "%s --epochs 3 --output @b.onnx --checkpoint @c.bloom --resume",
                 common);
  bl_command_expect(line, 0);
  (void)snprintf(line, sizeof line, "%s --epochs 6 --output @b.onnx --checkpoint @c.bloom --resume",
                 common);
  bl_command_expect(line, 0);
  assert_non_null(strstr(bl_command_out, "resumed after 3 epochs"));
  same_files("a.onnx", "b.onnx");
}

static void distils(void **state) {
  (void)state;
  bl_command_expect("train @net.onnx" DATA "--epochs 2 --teacher @net.onnx --temperature 2 "
                    "--teacher-weight 0.5 --output @d.onnx",
                    0);
  // Another teacher is another training.
#define TAUGHT "train @net.onnx" DATA "--epochs 1 --checkpoint @t.ckpt --resume --output @t.onnx "
  bl_command_expect(TAUGHT "--teacher @net.onnx", 0);
  bl_command_expect(TAUGHT "--teacher @d.onnx", 2);
  bl_command_one_line();
  assert_non_null(strstr(bl_command_errors, "other options"));
}

// A processor without bfloat16 trains in single precision, and says so; another precision is
// another training.
static void precisions(void **state) {
  (void)state;
#define PRECISE "train @sum.onnx" DATA "--epochs 1 --checkpoint @p.ckpt --resume "
  assert_int_equal(setenv("DNNL_MAX_CPU_ISA", "AVX2", 1), 0);
  bl_command_expect(PRECISE "--precision bf16 --output @p.onnx", 0);
  assert_non_null(strstr(bl_command_out, "does not multiply bfloat16"));
  bl_command_expect(PRECISE "--precision f32 --output @q.onnx", 0); // the same: goes on
  same_files("p.onnx", "q.onnx");
  assert_int_equal(unsetenv("DNNL_MAX_CPU_ISA"), 0);
  if (!bl_train_has_bf16()) return;
  bl_command_expect(PRECISE "--precision bf16 --output @p.onnx", 2);
  bl_command_one_line();
  assert_non_null(strstr(bl_command_errors, "other options"));
  bl_command_expect("train @sum.onnx" DATA "--epochs 1 --precision bf16 --output @p.onnx --json",
                    0);
  cJSON *o = bl_command_json();
  assert_string_equal(cJSON_GetObjectItem(o, "precision")->valuestring, "bf16");
  cJSON_Delete(o);
}

// All that goes on beside the steps at once; what is written is tested again.
static void beside(void **state) {
  (void)state;
  bl_command_expect("train @net.onnx" DATA
                    "--test @x.npy --test-labels @l.npy --epochs 4 --batch 8 "
                    "--optimizer adamw --lr 0.03 --fresh he --peer @net.onnx --average 0.9 "
                    "--smoothing 0.1 --reestimate 3 --teacher @net.onnx --distil relation "
                    "--distil-weight 0.1 --output @b.onnx --json",
                    0);
  cJSON *o = bl_command_json();
  const double written = bl_command_number(o, "written_test_accuracy");
  cJSON_Delete(o);
  bl_command_expect("run @b.onnx --device float --data @x.npy --labels @l.npy --json", 0);
  o = bl_command_json();
  assert_true(fabs(bl_command_number(o, "accuracy") - written) < 1e-12);
  cJSON_Delete(o);
}

// Forms of quantisation, written so that the device answers the same.
static void forms(void **state) {
  (void)state;
  static const char *const options[][2] = {
      {"net", "--bits w1a2 --edge-bits w8a4 --sign tanh --weights-from 0.5"},
      {"net", "--bits w2a4 --ternary --pact 1e-4 --freeze-steps 0.5"},
      {"net", "--bits w4a4 --codebook apot --regulariser 0.01"},
      {"sum", "--bits w2a4 --bipolar --skip-bits 8 --freeze-oscillating 0.01"},
      {"sum", "--bits w3a3 --skip-bits 8"}};
  char line[256];
  for (int k = 0; k < 5; k++) {
    (void)snprintf(line, sizeof line,
                   "train @%s.onnx" DATA "--epochs 60 --optimizer adamw --lr 0.03 --fresh he "
                   "--output @f.onnx",
                   options[k][0]);
    bl_command_expect(line, 0);
    (void)snprintf(line, sizeof line,
                   "train @f.onnx" DATA "--test @x.npy --test-labels @l.npy --epochs 10 "
                   "--optimizer adamw --lr 0.01 %s --output @o.onnx --json",
                   options[k][1]);
    bl_command_expect(line, 0);
    cJSON *o = bl_command_json();
    const double trained = bl_command_number(o, "test_accuracy");
    cJSON_Delete(o);
    bl_command_expect("compress @o.onnx --output @o.bloom", 0);
    bl_command_expect("run @o.bloom --data @x.npy --labels @l.npy --json", 0);
    o = bl_command_json();
    assert_true(fabs(bl_command_number(o, "accuracy") - trained) < 1e-12);
    cJSON_Delete(o);
    printf("%s: %.3f\n", options[k][1], trained);
    assert_true(trained > 0.6);
  }
}

// What was trained with three bits is what the device answers, without calibration.
static void quantises(void **state) {
  (void)state;
  bl_command_expect("train @net.onnx" DATA "--epochs 60 --optimizer adamw --lr 0.03 "
                    "--fresh he --output @f.onnx",
                    0);
  bl_command_expect("train @f.onnx" DATA "--test @x.npy --test-labels @l.npy --epochs 20 "
                    "--optimizer adamw --lr 0.01 --bits w3a3 --calib-limit 32 --output @o.onnx "
                    "--json",
                    0);
  cJSON *o = bl_command_json();
  assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(o, "bits")), "w3a3");
  const double trained = bl_command_number(o, "test_accuracy");
  assert_true(trained >= 0.95);
  cJSON_Delete(o);
  bl_command_expect("compress @o.onnx --output @o.bloom", 0);
  bl_command_expect("run @o.bloom --data @x.npy --labels @l.npy --json", 0);
  o = bl_command_json();
  assert_true(fabs(bl_command_number(o, "accuracy") - trained) < 1e-12);
  cJSON_Delete(o);
}

static double accuracy_of(const char *line) {
  bl_command_expect(line, 0);
  cJSON *o = bl_command_json();
  const double accuracy = bl_command_number(o, "accuracy");
  cJSON_Delete(o);
  return accuracy;
}

// A single output tells two classes, wherever answers are counted.
static void one_output(void **state) {
  (void)state;
#define TESTED DATA "--test @x.npy --test-labels @l.npy --optimizer adamw "
  bl_command_expect("train @one.onnx" TESTED "--epochs 60 --lr 0.03 --fresh he --output @f.onnx "
                    "--json",
                    0);
  cJSON *o = bl_command_json();
  const double trained = bl_command_number(o, "test_accuracy");
  cJSON_Delete(o);
  assert_true(trained >= 0.95);
  double seen = accuracy_of("run @f.onnx --device float --data @x.npy --labels @l.npy --json");
  assert_true(fabs(seen - trained) < 1e-12);

  bl_command_expect("train @f.onnx" TESTED "--epochs 10 --lr 0.01 --bits w3a3 --teacher @f.onnx "
                    "--output @o.onnx --json",
                    0);
  o = bl_command_json();
  const double rounded = bl_command_number(o, "test_accuracy");
  cJSON_Delete(o);
  assert_true(rounded >= 0.9);
  bl_command_expect("compress @o.onnx --output @o.bloom", 0);
  seen = accuracy_of("run @o.bloom --data @x.npy --labels @l.npy --json");
  assert_true(fabs(seen - rounded) < 1e-12);

  bl_command_expect("report @o.bloom --data @x.npy --labels @l.npy --device functional "
                    "--output @o.html",
                    0);
  uint8_t *text;
  const size_t size = file_bytes("o.json", &text);
  o = cJSON_ParseWithLength((const char *)text, size);
  free(text);
  const cJSON *rows = cJSON_GetObjectItem(o, "confusion");
  assert_int_equal(cJSON_GetArraySize(rows), 2);
  double right = 0;
  for (int k = 0; k < 2; k++)
    right += cJSON_GetArrayItem(cJSON_GetArrayItem(rows, k), k)->valuedouble;
  assert_true(right == rint(rounded * SAMPLES));
  cJSON_Delete(o);
}

static void fails(void **state) {
  (void)state;
  static const struct {
    const char *line;
    int status;
    const char *words;
  } cases[] = {
      {"train @net.onnx --data @x.npy --labels @l.npy", 2, "--output"},
      {"train @net.onnx --output @q.onnx", 2, "--data"},
      {"train @net.onnx --data @x.npy --output @q.onnx", 2, "no labels"},
      {"train @net.onnx" DATA "--output @q.onnx --resume", 2, "--checkpoint"},
      {"train @net.onnx" DATA "--output @q.onnx --augment turn", 2, "--augment turn"},
      {"train @net.onnx" DATA "--output @q.onnx --augment shift=", 2, "--augment shift="},
      {"train @net.onnx" DATA "--output @q.onnx --schedule often", 2, "--schedule often"},
      {"train @net.onnx" DATA "--output @q.onnx --teacher @three.onnx", 2, "teacher"},
      {"train @net.onnx" DATA "--output @q.onnx --test @x.npy", 2, "--test-labels"},
      {"train @net.onnx" DATA "--output @q.onnx --bits w4", 2, "--bits w4"},
      {"train @net.onnx" DATA "--output @q.onnx --bits w4a4 --fresh he", 2, "--fresh"},
      {"train @net.onnx" DATA "--output @q.onnx --bits w4a4 --ternary", 2, "--ternary"},
      {"train @net.onnx" DATA "--output @q.onnx --bits w4a4 --edge-bits w9a4", 2, "w9a4"},
      {"train @net.onnx" DATA "--output @q.onnx --distil hint", 2, "--teacher"},
      {"train @net.onnx" DATA "--output @q.onnx --peer @three.onnx", 2, "peer"},
      {"train @net.onnx" DATA "--output @q.onnx --augment cutout=x", 2, "cutout"},
      {"train @net.onnx --data @x.npy --labels @wrong.npy --output @q.onnx", 1, "label 9"},
      {"train @one.onnx --data @x.npy --labels @wrong.npy --loss binary --output @q.onnx", 1,
       "label 9, the network 2 classes"},
      {"train @sign.onnx" DATA "--output @q.onnx", 1, "(Sign)"},
      {"train @net.onnx" DATA "--output @q.onnx --lr 1e6 --epochs 50", 1, "not finite"},
      {"train @net.onnx" DATA "--output @q.onnx --checkpoint @x.npy --resume", 1,
       "not a check-point"},
      {"train @net.onnx" DATA "--output /no/such/folder/q.onnx --epochs 1", 1, "/no/such/folder"},
  };
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    int status = bl_command_run(cases[k].line);
    if (status != cases[k].status || strstr(bl_command_errors, cases[k].words) == NULL)
      fail_msg("%s: %d, %s", cases[k].line, status, bl_command_errors);
    bl_command_one_line();
  }
}

static int open_all(void **state) {
  int status = bl_command_open(state);
  if (status == 0) {
    write_data();
    write_models();
  }
  return status;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trains),     cmocka_unit_test(speaks),    cmocka_unit_test(resumes),
      cmocka_unit_test(precisions), cmocka_unit_test(distils),   cmocka_unit_test(beside),
      cmocka_unit_test(forms),      cmocka_unit_test(quantises), cmocka_unit_test(one_output),
      cmocka_unit_test(fails),
  };
  return cmocka_run_group_tests(tests, open_all, bl_command_close);
}
