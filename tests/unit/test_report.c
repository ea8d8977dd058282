// SPDX-License-Identifier: Apache-2.0
// The report page: balanced tags, escaped names, nothing fetched from anywhere, the figures there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/report/report.h"

static const bl_report_layer layers[] = {{"conv<1>\"&", "convolution 5x5",
                                          "28 x 28 x 1 to 14 x 14 x 8", "s4", "u8", 156800, 300,
                                          4000.0, 3000.0, 250.0, 640.0, 110.0, 4000.0},
                                         {"fc", "fully connected", "1 x 1 x 256 to 1 x 1 x 10",
                                          "s4", "u4", 2560, 1500, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}};
static const bl_report_reason reasons[] = {{"issue", "the array works", 3000},
                                           {"idle", "nothing to do", 1000}};

static bl_report sample(void) {
  return (bl_report){.model = "digits <b>",
                     .source = "digits.bloom",
                     .config = "default",
                     .device = "rtl",
                     .rows = 8,
                     .cols = 8,
                     .lanes = 32,
                     .data = "t10k & co",
                     .samples = 200,
                     .correct = 197,
                     .has_accuracy = true,
                     .file_bytes = 12345,
                     .weight_bits = 8000,
                     .float_bytes = 8000,
                     .cycles_per_image = 4000.0,
                     .clock_mhz = 100.0,
                     .compared = 2000,
                     .has_verdict = true,
                     .layers = layers,
                     .layer_count = 2,
                     .reasons = reasons,
                     .reason_count = 2};
}

static void expect_in(const char *text, const char *part) {
  if (strstr(text, part) == NULL) fail_msg("not in the page: %s", part);
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

static void complete_page(void **state) {
  (void)state;
  bl_report report = sample();
  char *text;
  size_t size;
  bl_error err = {0};
  assert_int_equal(bl_report_html(&report, &text, &size, &err), BL_OK);
  assert_int_equal(strlen(text), size);
  expect_balanced(text);
  expect_in(text, "digits &lt;b&gt;");
  expect_in(text, "conv&lt;1&gt;&quot;&amp;");
  expect_in(text, "t10k &amp; co");
  expect_in(text, "98.50 %"); // 197 of 200
  expect_in(text, "75.00 %"); // 3000 of 4000 cycles, also the layer's array use
  expect_in(text, "<td>250</td><td>640</td><td>110</td><td>4&#8239;000</td></tr>"); // by reason
  expect_in(text, "8.0 times smaller");
  expect_in(text, "156&#8239;800");
  expect_in(text, "class=\"good\">yes");
  assert_null(strstr(text, "http"));
  assert_null(strstr(text, "<script"));
  assert_null(strstr(text, "url("));
  free(text);
}

static void bare_page(void **state) {
  (void)state;
  bl_report report = sample();
  report.mismatches = 3;
  report.has_accuracy = false;
  report.layer_count = 0;
  report.reason_count = 0;
  char *text;
  size_t size;
  bl_error err = {0};
  assert_int_equal(bl_report_html(&report, &text, &size, &err), BL_OK);
  expect_balanced(text);
  expect_in(text, "class=\"bad\">no");
  assert_null(strstr(text, "Accuracy"));
  assert_null(strstr(text, "nan"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(complete_page),
      cmocka_unit_test(bare_page),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
