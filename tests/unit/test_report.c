// SPDX-License-Identifier: Apache-2.0
// The report page: balanced tags, escaped names, nothing fetched from anywhere, the figures there,
// parts without data left out. What a browser makes of it is tests/house/check_page.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/report/page.h"

static const char sample[] =
    "{\"model\": \"digits <b>\", \"source\": \"digits.bloom\", \"config\": \"default\","
    " \"device\": \"rtl\", \"rows\": 8, \"cols\": 8, \"lanes\": 32, \"data\": \"t10k & co\","
    " \"verdict\": {\"compared\": 2000, \"mismatches\": 0},"
    " \"accuracy\": {\"samples\": 200, \"correct\": 197}, \"cycles_per_image\": 4000,"
    " \"clock_mhz\": 100, \"file_bytes\": 12345, \"weight_bytes\": 1000, \"float_bytes\": 8000,"
    " \"layers\": [{\"name\": \"conv<1>\\\"&\\u0001\", \"kind\": \"convolution 5x5\","
    "  \"shape\": \"28 x 28 x 1 to 14 x 14 x 8\", \"weights\": \"s4\", \"input\": \"u8\","
    "  \"weight_bits\": 4, \"input_bits\": 8, \"macs\": 156800, \"weight_bytes\": 300,"
    "  \"cycles\": 4000, \"issue\": 3000, \"requant\": 250, \"gather\": 640, \"drain\": 110,"
    "  \"measured\": 4000, \"weight_histogram\": {\"format\": \"s4\", \"first\": -8,"
    "   \"scale\": 0.5, \"zero_point\": 0, \"counts\": [25,0,0,0,0,0,0,0,50,0,0,0,0,0,0,25]}},"
    "  {\"name\": \"fc\", \"measured\": null}],"
    " \"reasons\": [{\"name\": \"issue\", \"meaning\": \"the array works\", \"cycles\": 3000},"
    "  {\"name\": \"idle\", \"meaning\": \"nothing to do\", \"cycles\": 1000}],"
    " \"confusion\": [[3, 1], [0, 4]],"
    " \"storage\": {\"file\": 500, \"sum\": {\"dense\": 8000, \"pruned\": 4000,"
    "  \"quantised\": 800, \"coded\": 400, \"indices\": 100, \"codes\": 280, \"codebook\": 20},"
    "  \"layers\": [{\"name\": \"<i>\", \"weights\": 2000, \"nonzero\": 500, \"dense\": 8000}]}}";

// What other commands say.
static const char said[] =
    "{\"command\": \"compress\", \"recipe\": \"mine\", \"recipe_text\": \"passes:\\n- <p>\\n\","
    " \"stages\": [{\"pass\": \"\", \"samples\": 100, \"correct\": 90, \"bytes\": 8000,"
    "   \"weights\": 2000, \"zeros\": 0},"
    "  {\"pass\": \"prune\", \"samples\": 100, \"correct\": 89, \"bytes\": 8000, \"cycles\": 77,"
    "   \"weights\": 2000, \"zeros\": 1500, \"details\": [\"conv: <5> gone\"], \"keeps\": "
    "[{\"what\": \"zeros\", \"figure\": 0.75}]}],"
    " \"history\": [{\"epoch\": 1, \"loss\": 2, \"accuracy\": null}, {\"epoch\": 2, \"loss\": 1}],"
    " \"points\": [{\"cycles\": 100, \"bytes\": 9, \"accuracy\": 0.9}, {\"cycles\": 50,"
    "   \"bytes\": 8, \"accuracy\": 0.8}, {\"cycles\": 120, \"bytes\": 10, \"accuracy\": 0.85}],"
    " \"sensitivity\": [{\"layer\": \"conv<1>\", \"kind\": \"weight-bits\", \"value\": 2,"
    "   \"accuracy\": 0.5, \"sqnr\": 12.5}]}";

static void expect_in(const char *text, const char *part) {
  if (strstr(text, part) == NULL) fail_msg("not in the page: %s", part);
}

static unsigned count_of(const char *text, const char *part) {
  unsigned count = 0;
  for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
    count++;
  return count;
}

// Every element that is opened is closed in order; void elements and the doctype are left out.
static void expect_balanced(const char *text) {
  char stack[64][16];
  int depth = 0;
  for (const char *at = strchr(text, '<'); at != NULL; at = strchr(at + 1, '<')) {
    const char *end = strchr(at, '>');
    assert_non_null(end);
    if (at[1] == '!' || strncmp(at, "<meta", 5) == 0 || end[-1] == '/') continue;
    bool closing = at[1] == '/';
    const char *name = at + (closing ? 2 : 1);
    size_t length = strcspn(name, " >\n");
    assert_true(length < sizeof stack[0]);
    if (!closing) {
      assert_true(depth < 64);
      memcpy(stack[depth], name, length);
      stack[depth++][length] = '\0';
      continue;
    }
    assert_true(depth > 0);
    depth--;
    if (strlen(stack[depth]) != length || memcmp(stack[depth], name, length) != 0)
      fail_msg("<%s> closed by %.*s", stack[depth], (int)length, name);
  }
  assert_int_equal(depth, 0);
}

static char *page_of(const char *json, const char *more) {
  char *text = NULL;
  size_t size;
  unsigned found = 0;
  bl_error err = {0};
  cJSON *data = cJSON_Parse(json), *from = more == NULL ? NULL : cJSON_Parse(more);
  assert_non_null(data);
  if (from != NULL) {
    assert_int_equal(bl_page_merge(data, from, &found, &err), BL_OK);
    assert_true(found > 0);
  }
  if (bl_page_html(data, &text, &size, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(strlen(text), size);
  expect_balanced(text);
  assert_null(strstr(text, "http"));
  assert_null(strstr(text, "<script"));
  assert_null(strstr(text, "url("));
  assert_null(strstr(text, "src="));
  assert_null(strchr(text, 1));
  cJSON_Delete(data);
  cJSON_Delete(from);
  return text;
}

static void complete_page(void **state) {
  (void)state;
  char *text = page_of(sample, said);
  expect_in(text, "digits &lt;b&gt;");
  expect_in(text, "conv&lt;1&gt;&quot;&amp;?");
  expect_in(text, "t10k &amp; co");
  expect_in(text, "98.50 % <small>(95.7 to 99.5)"); // 197 of 200, Wilson's interval
  expect_in(text, "75.00 %");                       // 3000 of 4000 cycles
  expect_in(text, "<td>250</td><td>640</td><td>110</td><td>4&#8239;000</td></tr>"); // by reason
  expect_in(text, "8.0 times smaller");
  expect_in(text, "156&#8239;800");
  expect_in(text, "class=\"good\">yes");
  expect_in(text, "-4 to 3.5; at the ends 25.00 and 25.00 %"); // (-8 .. 7) * 0.5
  expect_in(text, "<td>8&#8239;000</td><td>1.0</td>");         // float
  expect_in(text, "<td>400</td><td>20.0</td>");                // coded: 8000 / 400
  expect_in(text, "<td>25.0 %</td>");                          // 500 of 2000 weights are not 0
  expect_in(text, "rgb(80 130 210/0.56)\">3</td>");            // 3 of 4 in row 0, times 0.75
  expect_in(text, "<td>75.0 %</td><td>77</td><td class=\"t\">zeros 0.75</td>");
  expect_in(text, "passes:\n- &lt;p&gt;");
  expect_in(text, "<li>prune: conv: &lt;5&gt; gone</li>");
  expect_in(text, "<td>50.00 %</td><td>12.5 dB</td><td>-</td>");
  free(text);
}

// stages, two of search, cycles, bits, sensitivity, one histogram, training
static void pictures(void **state) {
  (void)state;
  char *text = page_of(sample, said);
  if (strstr(text, "Pictures need gnuplot") != NULL) {
    printf("skipped: no gnuplot\n");
  } else {
    assert_int_equal(count_of(text, "<svg"), 8);
    expect_in(text, "var(--c0)");
    expect_in(text, "var(--line)");
    assert_null(strstr(text, "rgb(  1,"));
  }
  free(text);
}

// Data that no axis can have leave the pictures behind them alone.
static void beyond_numbers(void **state) {
  (void)state;
  static const char *const odd[] = {
      "{\"points\": [{\"bytes\": 1e308, \"accuracy\": 1e308}], \"history\": [{\"loss\": 1}]}",
      "{\"layers\": [{\"weight_histogram\": {\"counts\": [0, 0]}}], \"history\": [{\"loss\": 1}]}",
      "{\"history\": [{\"epoch\": -1e308, \"loss\": 1e308}, {\"epoch\": 1e308, \"loss\": -1e308}],"
      " \"stages\": [{\"samples\": 1, \"correct\": 1}]}"};
  static const unsigned drawn[] = {1, 3, 1};
  for (size_t k = 0; k < sizeof odd / sizeof odd[0]; k++) {
    char *text = page_of(odd[k], NULL);
    if (strstr(text, "Pictures need gnuplot") == NULL) {
      assert_int_equal(count_of(text, "<svg"), drawn[k]);
      expect_in(text, "cannot be drawn");
    }
    free(text);
  }
}

static void without_gnuplot(void **state) {
  (void)state;
  const char *path = getenv("PATH");
  char *old = strdup(path == NULL ? "" : path);
  assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
  char *text = page_of(sample, said);
  assert_int_equal(setenv("PATH", old, 1), 0);
  expect_in(text, "Pictures need gnuplot");
  assert_null(strstr(text, "<svg"));
  free(text);
  free(old);
}

static void bare_page(void **state) {
  (void)state;
  char *text = page_of("{\"model\": 3, \"layers\": [], \"verdict\": {\"compared\": 9,"
                       " \"mismatches\": 3}, \"history\": \"no\", \"points\": [1, null],"
                       " \"stages\": {}, \"confusion\": 7, \"storage\": {\"sum\": []}}",
                       NULL);
  expect_in(text, "class=\"bad\">no");
  assert_null(strstr(text, "Accuracy"));
  assert_null(strstr(text, "nan"));
  assert_null(strstr(text, "<svg"));
  free(text);
}

static void steps_only(void **state) {
  (void)state;
  char *text = page_of("{\"model\": \"m\", \"cycles_per_image\": 4256, \"clock_mhz\": 100,"
                       " \"steps_only\": true}",
                       NULL);
  expect_in(text, "Array steps an image</dt><dd>4&#8239;256");
  assert_null(strstr(text, "Latency"));
  free(text);
}

static void counts_of_float(void **state) {
  (void)state;
  char *text = page_of("{\"model\": \"m\"}", "{\"command\": \"run\", \"device\": \"float\","
                                             " \"total\": 100, \"correct\": 91}");
  expect_in(text, "In float</dt><dd>91.00 % <small>(83.8 to 95.2)");
  free(text);
}

// A search says more of its knobs, and has a file of its front; no accuracy is -1.
static void of_a_search(void **state) {
  (void)state;
  char *text = page_of("{\"model\": \"m\"}",
                       "{\"sensitivity\": {\"best\": {}, \"alone\": [{\"layer\": \"a\","
                       " \"kind\": \"rank\", \"value\": 3, \"accuracy\": -1, \"loss\": 0.25}]},"
                       " \"front\": [{\"cycles\": 5, \"accuracy\": -1}, {\"cycles\": 6}]}");
  expect_in(text, "<td>3</td><td>-</td><td>-</td><td>0.25</td>");
  expect_in(text, "2 candidates");
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(complete_page),  cmocka_unit_test(pictures),
      cmocka_unit_test(beyond_numbers), cmocka_unit_test(without_gnuplot),
      cmocka_unit_test(bare_page),      cmocka_unit_test(counts_of_float),
      cmocka_unit_test(steps_only),     cmocka_unit_test(of_a_search),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
