// SPDX-License-Identifier: Apache-2.0
// Sections about the network as a whole: stages of a recipe, sizes, search, training, confusion.
#include <stdlib.h>

#include "host/report/page_internal.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

// ---- Stages of a recipe

static void plot_stages(bl_page *page, const cJSON *stages) {
  const cJSON *stage;
  unsigned index = 0, measured = 0;
  cJSON_ArrayForEach(stage, stages) {
    measured += bl_json_number(stage, "samples", 0) >= 1;
  }
  if (measured == 0) return;
  FILE *s = bl_page_plot(page, 960, 260, "accuracy and bytes after each stage");
  (void)fputs("$d << EOD\n", s);
  cJSON_ArrayForEach(stage, stages) {
    const double n = bl_json_number(stage, "samples", 0);
    const double share = n >= 1 ? 100 * bl_json_number(stage, "correct", 0) / n : 0;
    (void)fprintf(s, "%u %.9g %.9g\n", index++, share, bl_json_number(stage, "bytes", 0) / 1e3);
  }
  (void)fprintf(s,
                "EOD\nset xrange [-0.5:%u-0.5]\nset xtics 1\nset y2tics textcolor rgb " BL_INK
                "\nset border 11\nset y2range [0:*]\nset xlabel 'stage' textcolor rgb " BL_INK
                "\nset ylabel 'accuracy, %%' textcolor rgb " BL_INK
                "\nset y2label 'kB of weights' textcolor rgb " BL_INK
                "\nplot $d using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb " BL_C0
                " title 'accuracy', $d using 1:3 axes x1y2 with linespoints lw 2 pt 5 ps 0.6 lc "
                "rgb " BL_C1 " title 'bytes'\n",
                index);
}

static void put_keeps(FILE *out, const cJSON *stage) {
  const cJSON *keep;
  bool first = true;
  cJSON_ArrayForEach(keep, bl_json_array(stage, "keeps")) {
    if (!first) (void)fputs("; ", out);
    bl_html_text(out, bl_json_text(keep, "what"));
    (void)fprintf(out, " %.6g", bl_json_number(keep, "figure", 0));
    first = false;
  }
}

static void put_stage(FILE *out, unsigned index, const cJSON *stage) {
  const double weights = bl_json_number(stage, "weights", 0);
  const char *pass = bl_json_text(stage, "pass");
  (void)fprintf(out, "<tr><td>%u</td><td class=\"t\">", index);
  bl_html_text(out, pass[0] == '\0' ? "as it came" : pass);
  (void)fputs("</td><td>", out);
  bl_html_share(out, bl_json_number(stage, "correct", -1), bl_json_number(stage, "samples", 0));
  (void)fputs("</td><td>", out);
  bl_html_count(out, bl_json_number(stage, "bytes", 0));
  if (weights > 0)
    (void)fprintf(out, "</td><td>%.1f %%</td><td>",
                  100 * bl_json_number(stage, "zeros", 0) / weights);
  else
    (void)fputs("</td><td>-</td><td>", out);
  if (bl_json_has(stage, "cycles"))
    bl_html_count(out, bl_json_number(stage, "cycles", 0));
  else
    (void)fputc('-', out);
  (void)fputs("</td><td class=\"t\">", out);
  put_keeps(out, stage);
  (void)fputs("</td></tr>\n", out);
}

static void put_lines(FILE *out, const cJSON *stage) {
  const cJSON *line;
  cJSON_ArrayForEach(line, bl_json_array(stage, "details")) {
    if (!cJSON_IsString(line)) continue;
    (void)fputs("<li>", out);
    bl_html_text(out, bl_json_text(stage, "pass"));
    (void)fputs(": ", out);
    bl_html_text(out, line->valuestring);
    (void)fputs("</li>\n", out);
  }
}

// What the passes said of their work.
static void put_details(bl_page *page, const cJSON *stages) {
  const cJSON *stage;
  bool any = false;
  cJSON_ArrayForEach(stage, stages) {
    any = any || bl_json_array(stage, "details") != NULL;
  }
  if (!any) return;
  (void)fputs("<details><summary>What the passes did</summary><ul>\n", page->out);
  cJSON_ArrayForEach(stage, stages) {
    put_lines(page->out, stage);
  }
  (void)fputs("</ul></details>\n", page->out);
}

void bl_page_stages(bl_page *page) {
  static const char *const columns[] = {"#",     "<Pass",  "Accuracy (95 %)", "Bytes",
                                        "Zeros", "Cycles", "<Keeps"};
  const cJSON *stages = bl_json_array(page->data, "stages"), *stage;
  const char *text = bl_json_text(page->data, "recipe_text");
  unsigned index = 0;
  if (stages == NULL) return;
  bl_page_section(page, "Stages of the recipe");
  plot_stages(page, stages);
  bl_page_table(page, columns, COUNT(columns));
  cJSON_ArrayForEach(stage, stages) {
    put_stage(page->out, index++, stage);
  }
  (void)fputs("</table></div>\n<p class=\"note\">On held-out samples. Bytes of weights; cycles of "
              "stages in float are those at 8 bits.</p>\n",
              page->out);
  put_details(page, stages);
  if (text[0] != '\0') {
    (void)fputs("<details><summary>", page->out);
    bl_html_text(page->out, bl_json_text(page->data, "recipe"));
    (void)fputs("</summary><pre>", page->out);
    for (const char *at = text; *at != '\0'; at++) {
      const char letter[] = {*at, '\0'};
      if (*at == '\n')
        (void)fputc('\n', page->out);
      else
        bl_html_text(page->out, letter);
    }
    (void)fputs("</pre></details>\n", page->out);
  }
  (void)fputs("</section>\n", page->out);
}

// ---- Sizes

// in_float 0: a part of the row above.
static void size_row(FILE *out, const char *name, double bytes, double in_float) {
  (void)fputs("<tr><td class=\"t\">", out);
  (void)fputs(name, out);
  (void)fputs("</td><td>", out);
  bl_html_count(out, bytes);
  if (bytes > 0 && in_float > 0)
    (void)fprintf(out, "</td><td>%.1f</td></tr>\n", in_float / bytes);
  else
    (void)fputs("</td><td></td></tr>\n", out);
}

static void size_layers(bl_page *page, const cJSON *storage) {
  static const char *const columns[] = {"<Layer",  "Weights", "Not 0",    "Values",
                                        "Float",   "Pruned",  "+ shared", "+ coded",
                                        "Indices", "Codes",   "Codebook"};
  static const char *const cells[] = {"values", "dense",   "pruned", "quantised",
                                      "coded",  "indices", "codes",  "codebook"};
  const cJSON *layers = bl_json_array(storage, "layers"), *layer;
  if (layers == NULL) return;
  bl_page_table(page, columns, COUNT(columns));
  cJSON_ArrayForEach(layer, layers) {
    const double weights = bl_json_number(layer, "weights", 0);
    (void)fputs("<tr>", page->out);
    bl_page_name(page, layer, "name");
    (void)fputs("<td>", page->out);
    bl_html_count(page->out, weights);
    (void)fprintf(page->out, "</td><td>%.1f %%",
                  weights > 0 ? 100 * bl_json_number(layer, "nonzero", 0) / weights : 0);
    for (size_t k = 0; k < COUNT(cells); k++) {
      (void)fputs("</td><td>", page->out);
      bl_html_count(page->out, bl_json_number(layer, cells[k], 0));
    }
    (void)fputs("</td></tr>\n", page->out);
  }
  (void)fputs("</table></div>\n", page->out);
}

void bl_page_size(bl_page *page) {
  static const char *const columns[] = {"<", "Bytes", "Times smaller"};
  const cJSON *storage = bl_json_object(page->data, "storage");
  const cJSON *sum = bl_json_object(storage, "sum");
  const double dense = bl_json_number(sum, "dense", 0);
  const double in_float = bl_json_number(page->data, "float_bytes", dense);
  if (sum == NULL || dense <= 0) return;
  bl_page_section(page, "Size");
  bl_page_table(page, columns, COUNT(columns));
  size_row(page->out, "weights and biases in float, as the model came", in_float, in_float);
  size_row(page->out, "weights of the layers in float", dense, in_float);
  size_row(page->out, "pruned: 4 bytes for each that is not 0, and indices",
           bl_json_number(sum, "pruned", 0), in_float);
  size_row(page->out, "+ quantised or shared: codes, indices and codebooks",
           bl_json_number(sum, "quantised", 0), in_float);
  size_row(page->out, "+ coded", bl_json_number(sum, "coded", 0), in_float);
  size_row(page->out, "of these: indices", bl_json_number(sum, "indices", 0), 0);
  size_row(page->out, "codes", bl_json_number(sum, "codes", 0), 0);
  size_row(page->out, "codebooks", bl_json_number(sum, "codebook", 0), 0);
  size_row(page->out, "the whole coded file", bl_json_number(storage, "file", 0), in_float);
  size_row(page->out, "the compiled file", bl_json_number(page->data, "file_bytes", 0), in_float);
  (void)fputs("</table></div>\n", page->out);
  size_layers(page, storage);
  (void)fputs("</section>\n", page->out);
}

// ---- Search

static bool measured(const cJSON *point, const char *cost) {
  return bl_json_has(point, cost) && bl_json_number(point, "accuracy", -1) >= 0;
}

typedef struct {
  double cost, accuracy;
} point;

// The cheapest first, of equal ones the best.
static int by_cost(const void *left, const void *right) {
  const point *a = left, *b = right;
  if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
  return a->accuracy > b->accuracy ? -1 : a->accuracy < b->accuracy;
}

// Data block $d: all candidates that have both figures; $f: those that no other one betters in
// both.
static bool put_points(FILE *s, const cJSON *points, const char *cost) {
  const cJSON *p;
  size_t count = 0;
  double best = -1;
  point *list = calloc((size_t)cJSON_GetArraySize(points) + 1, sizeof *list);
  if (list == NULL) return false;
  cJSON_ArrayForEach(p, points) {
    if (measured(p, cost))
      list[count++] = (point){bl_json_number(p, cost, 0), 100 * bl_json_number(p, "accuracy", 0)};
  }
  qsort(list, count, sizeof *list, by_cost);
  (void)fputs("$d << EOD\n", s);
  for (size_t k = 0; k < count; k++)
    (void)fprintf(s, "%.9g %.9g\n", list[k].cost, list[k].accuracy);
  (void)fputs("EOD\n$f << EOD\n", s);
  for (size_t k = 0; k < count; k++) {
    if (list[k].accuracy <= best) continue;
    best = list[k].accuracy;
    (void)fprintf(s, "%.9g %.9g\n", list[k].cost, list[k].accuracy);
  }
  (void)fputs("EOD\n", s);
  free(list);
  return true;
}

static void plot_points(bl_page *page, const cJSON *points, const char *cost) {
  const cJSON *p;
  bool any = false;
  cJSON_ArrayForEach(p, points) {
    any = any || measured(p, cost);
  }
  if (!any) return;
  FILE *s = bl_page_plot(page, 960, 360, "accuracy against cost of all candidates");
  if (!put_points(s, points, cost)) return;
  (void)fprintf(s,
                "set xlabel '%s' textcolor rgb " BL_INK
                "\nset ylabel 'accuracy, %%' textcolor rgb " BL_INK
                "\nset offsets graph 0.02, graph 0.02, graph 0.05, graph 0.05\n"
                "plot $d using 1:2 with points pt 7 ps 0.4 lc rgb " BL_C0
                " title 'candidates', $f using 1:2 smooth unique with linespoints lw 2 pt 7 ps "
                "0.7 lc rgb " BL_C1 " title 'front'\n",
                cost[0] == 'c' ? "cycles an image" : "bytes");
}

void bl_page_points(bl_page *page) {
  const cJSON *points = bl_json_array(page->data, "points");
  if (points == NULL) return;
  bl_page_section(page, "Search");
  plot_points(page, points, "cycles");
  plot_points(page, points, "bytes");
  (void)fprintf(page->out,
                "<p class=\"note\">%d candidates; those of the front are not bettered in both by "
                "any other.</p></section>\n",
                cJSON_GetArraySize(points));
}

// ---- Training

static const struct {
  const char *name, *title, *axes, *colour;
} curves[] = {{"loss", "loss", "x1y1", BL_C0},
              {"test_loss", "test loss", "x1y1", BL_C3},
              {"accuracy", "accuracy", "x1y2", BL_C1},
              {"test_accuracy", "test accuracy", "x1y2", BL_C2}};

// The curves that have at least one value.
static void put_curves(FILE *s, const cJSON *history) {
  const char *before = "plot ";
  for (size_t k = 0; k < COUNT(curves); k++) {
    const cJSON *epoch;
    bool any = false;
    cJSON_ArrayForEach(epoch, history) {
      any = any || bl_json_has(epoch, curves[k].name);
    }
    if (!any) continue;
    (void)fprintf(s, "%s$d using 1:%zu axes %s with lines lw 2 lc rgb %s title '%s'", before, k + 2,
                  curves[k].axes, curves[k].colour, curves[k].title);
    before = ", ";
  }
  (void)fputc('\n', s);
}

void bl_page_history(bl_page *page) {
  const cJSON *history = bl_json_array(page->data, "history"), *epoch;
  unsigned index = 0;
  bool loss = false, accuracy = false;
  cJSON_ArrayForEach(epoch, history) {
    loss = loss || bl_json_has(epoch, "loss");
    accuracy = accuracy || bl_json_has(epoch, "accuracy") || bl_json_has(epoch, "test_accuracy");
  }
  if (!loss) return;
  bl_page_section(page, "Training");
  FILE *s = bl_page_plot(page, 960, 300, "loss and accuracy of each epoch");
  (void)fputs("set datafile missing '?'\n$d << EOD\n", s);
  cJSON_ArrayForEach(epoch, history) {
    (void)fprintf(s, "%.9g", bl_json_number(epoch, "epoch", ++index));
    for (size_t k = 0; k < COUNT(curves); k++)
      if (bl_json_has(epoch, curves[k].name))
        (void)fprintf(s, " %.9g", (k < 2 ? 1 : 100) * bl_json_number(epoch, curves[k].name, 0));
      else
        (void)fputs(" ?", s);
    (void)fputc('\n', s);
  }
  (void)fputs("EOD\nset xlabel 'epoch' textcolor rgb " BL_INK
              "\nset ylabel 'loss' textcolor rgb " BL_INK "\nset yrange [0:*]\n",
              s);
  if (accuracy)
    (void)fputs("set y2tics textcolor rgb " BL_INK "\nset border 11\nset y2label 'accuracy, %' "
                "textcolor rgb " BL_INK "\nset y2range [*:100]\n",
                s);
  put_curves(s, history);
  (void)fputs("</section>\n", page->out);
}

// ---- Confusion

static void matrix_row(FILE *out, unsigned index, const cJSON *row) {
  const cJSON *cell;
  double all = 0;
  cJSON_ArrayForEach(cell, row) {
    all += bl_json_value(cell);
  }
  (void)fprintf(out, "<tr><th>%u</th>", index);
  cJSON_ArrayForEach(cell, row) {
    const double count = bl_json_value(cell);
    (void)fprintf(out, "<td style=\"background:rgb(80 130 210/%.2f)\">",
                  all > 0 ? 0.75 * count / all : 0);
    if (count > 0) bl_html_count(out, count);
    (void)fputs("</td>", out);
  }
  (void)fputs("</tr>\n", out);
}

void bl_page_confusion(bl_page *page) {
  const cJSON *rows = bl_json_array(page->data, "confusion"), *row;
  const int classes = cJSON_GetArraySize(rows);
  unsigned index = 0;
  if (rows == NULL) return;
  bl_page_section(page, "Confusion");
  (void)fputs("<div class=\"scroll\"><table class=\"matrix\"><tr><th></th>", page->out);
  for (int k = 0; k < classes; k++)
    (void)fprintf(page->out, "<th>%d</th>", k);
  (void)fputs("</tr>\n", page->out);
  cJSON_ArrayForEach(row, rows) {
    matrix_row(page->out, index++, row);
  }
  (void)fputs("</table></div>\n<p class=\"note\">Rows: the label; columns: the answer.</p>"
              "</section>\n",
              page->out);
}
