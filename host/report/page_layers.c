// SPDX-License-Identifier: Apache-2.0
// Sections about layers: cycles by reason, bits, tables, histograms, sensitivity.
#include "host/report/page_internal.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const palette[] = {"#3f7f5f", "#c88a1a", "#b5533b", "#6a6acd",
                                      "#2a8fa8", "#b2588f", "#8a6d3b", "#8d95a3"};

static const char *colour(unsigned index) {
  return palette[index % COUNT(palette)];
}

void bl_page_reasons(bl_page *page) {
  static const char *const columns[] = {"<Reason", "Cycles", "Share", "<Meaning"};
  const cJSON *reasons = bl_json_array(page->data, "reasons"), *r;
  FILE *out = page->out;
  double total = 0;
  unsigned index = 0;
  cJSON_ArrayForEach(r, reasons) {
    total += bl_json_number(r, "cycles", 0);
  }
  if (total <= 0) return;
  bl_page_section(page, "Where the cycles went");
  (void)fputs("<div class=\"bar\">", out);
  cJSON_ArrayForEach(r, reasons) {
    (void)fprintf(out, "<div style=\"width:%.3f%%;background:%s\"></div>",
                  100 * bl_json_number(r, "cycles", 0) / total, colour(index++));
  }
  (void)fputs("</div>\n", out);
  bl_page_table(page, columns, COUNT(columns));
  index = 0;
  cJSON_ArrayForEach(r, reasons) {
    const double cycles = bl_json_number(r, "cycles", 0);
    (void)fprintf(out, "<tr><td class=\"t\"><span class=\"key\" style=\"background:%s\"></span>",
                  colour(index++));
    bl_html_text(out, bl_json_text(r, "name"));
    (void)fputs("</td><td>", out);
    bl_html_count(out, cycles);
    (void)fprintf(out, "</td><td>%.2f %%</td><td class=\"t\">", 100 * cycles / total);
    bl_html_text(out, bl_json_text(r, "meaning"));
    (void)fputs("</td></tr>\n", out);
  }
  (void)fputs("</table></div></section>\n", out);
}

// ---- Pictures of all layers

// Columns of a histogram, a row a layer, as data block $d: the index, then the members.
static void put_columns(FILE *script, const cJSON *layers, const char *const *names, size_t count) {
  const cJSON *layer;
  unsigned index = 0;
  (void)fputs("$d << EOD\n", script);
  cJSON_ArrayForEach(layer, layers) {
    (void)fprintf(script, "%u", index++);
    for (size_t k = 0; k < count; k++)
      (void)fprintf(script, " %.9g", bl_json_number(layer, names[k], 0));
    (void)fputc('\n', script);
  }
  (void)fputs("EOD\nset xlabel 'layer' textcolor rgb " BL_INK "\nset style data histograms\n"
              "set style fill solid 0.9 noborder\nset boxwidth 0.8\n",
              script);
  if (index <= 32) (void)fputs("set xtics 1\n", script);
  (void)fprintf(script, "set xrange [-0.6:%u-0.4]\nset yrange [0:*]\n", index);
}

static void plot_cycles(bl_page *page, const cJSON *layers) {
  static const char *const names[] = {"issue", "requant", "gather", "drain"};
  FILE *s = bl_page_plot(page, 960, 300, "cycles of each layer by reason");
  put_columns(s, layers, names, COUNT(names));
  (void)fputs("set style histogram rowstacked\nset ylabel 'cycles an image' textcolor rgb " BL_INK
              "\nplot $d using 2 title 'issue' lc rgb " BL_C0
              ", $d using 3 title 'requantise' lc rgb " BL_C1
              ", $d using 4 title 'gather' lc rgb " BL_C2 ", $d using 5 title 'drain' lc rgb " BL_C3
              "\n",
              s);
}

static void plot_bits(bl_page *page, const cJSON *layers) {
  static const char *const names[] = {"weight_bits", "input_bits"};
  FILE *s = bl_page_plot(page, 960, 220, "bits of weights and inputs of each layer");
  put_columns(s, layers, names, COUNT(names));
  (void)fputs("set style histogram clustered gap 1\nset ylabel 'bits' textcolor rgb " BL_INK
              "\nset ytics 1\nplot $d using 2 title 'weights' lc rgb " BL_C0
              ", $d using 3 title 'inputs' lc rgb " BL_C1 "\n",
              s);
}

// ---- Tables

static void put_cost(bl_page *page, unsigned index, const cJSON *layer) {
  static const char *const cells[] = {"cycles", "issue", "requant", "gather", "drain", "measured"};
  (void)fprintf(page->out, "<tr><td>%u</td>", index);
  bl_page_name(page, layer, "name");
  for (size_t i = 0; i < COUNT(cells); i++) {
    (void)fputs("<td>", page->out);
    if (bl_json_has(layer, cells[i]))
      bl_html_count(page->out, bl_json_number(layer, cells[i], 0));
    else
      (void)fputc('-', page->out);
    (void)fputs("</td>", page->out);
  }
  (void)fputs("</tr>\n", page->out);
}

static void put_layer(bl_page *page, unsigned index, const cJSON *layer) {
  const double cycles = bl_json_number(layer, "cycles", 0);
  FILE *out = page->out;
  (void)fprintf(out, "<tr><td>%u</td>", index);
  bl_page_name(page, layer, "name");
  bl_page_name(page, layer, "kind");
  bl_page_name(page, layer, "shape");
  (void)fputs("<td>", out);
  bl_html_text(out, bl_json_text(layer, "weights"));
  (void)fputs("</td><td>", out);
  bl_html_text(out, bl_json_text(layer, "input"));
  (void)fputs("</td><td>", out);
  bl_html_count(out, bl_json_number(layer, "macs", 0));
  (void)fputs("</td><td>", out);
  bl_html_count(out, bl_json_number(layer, "weight_bytes", 0));
  if (cycles > 0)
    (void)fprintf(out, "</td><td>%.1f %%</td></tr>\n",
                  100 * bl_json_number(layer, "issue", 0) / cycles);
  else
    (void)fputs("</td><td>-</td></tr>\n", out);
}

void bl_page_layers(bl_page *page) {
  static const char *const costs[] = {"#",       "<Layer", "Cycles", "Issue",
                                      "Requant", "Gather", "Drain",  "Measured"};
  static const char *const facts[] = {"#",       "<Layer", "<Operation", "<Shape (h x w x c)",
                                      "Weights", "Inputs", "MACs",       "Bytes",
                                      "Issue"};
  const cJSON *layers = bl_json_array(page->data, "layers"), *layer;
  unsigned index = 0;
  if (layers == NULL) return;
  bl_page_section(page, "Cycles by layer and reason");
  plot_cycles(page, layers);
  bl_page_table(page, costs, COUNT(costs));
  cJSON_ArrayForEach(layer, layers) {
    put_cost(page, index++, layer);
  }
  (void)fputs("</table></div>\n<p class=\"note\">One image, by the cycle model, which equals the "
              "RTL. Measured: what the RTL took. Streams are not in it.</p></section>\n",
              page->out);
  bl_page_section(page, "Bits by layer");
  plot_bits(page, layers);
  bl_page_table(page, facts, COUNT(facts));
  index = 0;
  cJSON_ArrayForEach(layer, layers) {
    put_layer(page, index++, layer);
  }
  (void)fputs("</table></div>\n<p class=\"note\">One image. Bytes: the layer's weights as coded in "
              "the stream, and its channels' parameters. Issue: cycles that issued the array a "
              "step, of all cycles of the layer.</p></section>\n",
              page->out);
}

// ---- Histograms

static void plot_histogram(bl_page *page, unsigned layer, const cJSON *layer_data,
                           const cJSON *histogram, const char *what) {
  const cJSON *counts = bl_json_array(histogram, "counts"), *count;
  const double scale = bl_json_number(histogram, "scale", 1);
  const double zero = bl_json_number(histogram, "zero_point", 0);
  const double first = bl_json_number(histogram, "first", 0);
  double q = first, all = 0, last = 0;
  if (counts == NULL) return;
  (void)fputs("<div>", page->out);
  FILE *s = bl_page_plot(page, 320, 160, "histogram of integers");
  (void)fputs("set border 1 lc rgb " BL_LINE "\nunset key\nset logscale y\nset yrange [0.5:*]\n"
              "unset ytics\nset style fill solid 0.9 noborder\n$d << EOD\n",
              s);
  cJSON_ArrayForEach(count, counts) {
    last = bl_json_value(count);
    all += last;
    (void)fprintf(s, "%.9g %.9g\n", q, last);
    q += 1;
  }
  (void)fprintf(s,
                "EOD\nset boxwidth 1\nset xrange [%.9g:%.9g]\nplot $d using 1:2 with boxes lc rgb ",
                first - 1, q);
  (void)fputs(what[0] == 'w' ? BL_C0 "\n" : BL_C1 "\n", s);
  (void)fputs("<figcaption><span class=\"name\" title=\"", page->out);
  bl_html_text(page->out, bl_json_text(layer_data, "name"));
  (void)fprintf(page->out, "\">%u ", layer);
  bl_html_text(page->out, bl_json_text(layer_data, "name"));
  (void)fprintf(page->out, "</span>%s ", what);
  bl_html_text(page->out, bl_json_text(histogram, "format"));
  (void)fprintf(page->out, ", %.4g to %.4g; at the ends %.2f and %.2f %%</figcaption></div>\n",
                scale * (first - zero), scale * (q - 1 - zero),
                all > 0 ? 100 * bl_json_value(counts->child) / all : 0,
                all > 0 ? 100 * last / all : 0);
}

void bl_page_histograms(bl_page *page) {
  const cJSON *layers = bl_json_array(page->data, "layers"), *layer;
  unsigned index = 0;
  bool any = false;
  cJSON_ArrayForEach(layer, layers) {
    any = any || bl_json_object(layer, "weight_histogram") != NULL ||
          bl_json_object(layer, "output_histogram") != NULL;
  }
  if (!any) return;
  bl_page_section(page, "Integers and the chosen ranges");
  (void)fputs("<div class=\"grid\">\n", page->out);
  cJSON_ArrayForEach(layer, layers) {
    plot_histogram(page, index, layer, bl_json_object(layer, "weight_histogram"), "weights");
    plot_histogram(page, index, layer, bl_json_object(layer, "output_histogram"), "outputs");
    index++;
  }
  (void)fputs(
      "</div>\n<p class=\"note\">How often each integer occurs, on a logarithmic scale, over "
      "the whole range of its format; the range in real values, of weights with the mean "
      "scale of the channels. Much at an end: clipped, or a ReLU's zeros.</p></section>\n",
      page->out);
}

// ---- Sensitivity

// The member that says most: accuracy in percent, else SQNR, else loss.
static const char *measure_of(const cJSON *rows) {
  static const char *const names[] = {"accuracy", "sqnr", "loss"};
  const cJSON *row;
  for (size_t k = 0; k < COUNT(names); k++)
    cJSON_ArrayForEach(row, rows) {
      if (bl_json_number(row, names[k], -1) >= 0) return names[k];
    }
  return NULL;
}

static void plot_sensitivity(bl_page *page, const cJSON *rows, const char *name, double factor) {
  const cJSON *row;
  unsigned index = 0;
  FILE *s = bl_page_plot(page, 960, 260, "sensitivity");
  (void)fputs("unset key\n$d << EOD\n", s);
  cJSON_ArrayForEach(row, rows) {
    if (bl_json_has(row, name))
      (void)fprintf(s, "%u %.9g\n", index, factor * bl_json_number(row, name, 0));
    index++;
  }
  (void)fprintf(s,
                "EOD\nset xrange [-1:%u]\nset xlabel 'row of the table' textcolor rgb " BL_INK
                "\nset ylabel '%s' textcolor rgb " BL_INK
                "\nplot $d using 1:2 with points pt 7 ps 0.6 lc rgb " BL_C0 "\n",
                index, factor > 1 ? "accuracy, %" : name);
}

void bl_page_sensitivity(bl_page *page) {
  static const char *const columns[] = {"#",        "<Layer", "<What alone", "Value",
                                        "Accuracy", "SQNR",   "Loss"};
  const cJSON *rows = bl_json_array(page->data, "sensitivity"), *row;
  const char *measure = measure_of(rows);
  unsigned index = 0;
  if (measure == NULL) return;
  bl_page_section(page, "Sensitivity");
  plot_sensitivity(page, rows, measure, measure[0] == 'a' ? 100 : 1);
  bl_page_table(page, columns, COUNT(columns));
  cJSON_ArrayForEach(row, rows) {
    (void)fprintf(page->out, "<tr><td>%u</td>", index++);
    bl_page_name(page, row, "layer");
    bl_page_name(page, row, "kind");
    (void)fprintf(page->out, "<td>%g</td>", bl_json_number(row, "value", 0));
    (void)fprintf(page->out,
                  bl_json_number(row, "accuracy", -1) >= 0 ? "<td>%.2f %%</td>" : "<td>-</td>",
                  100 * bl_json_number(row, "accuracy", 0));
    (void)fprintf(page->out, bl_json_has(row, "sqnr") ? "<td>%.1f dB</td>" : "<td>-</td>",
                  bl_json_number(row, "sqnr", 0));
    (void)fprintf(page->out,
                  bl_json_has(row, "loss") ? "<td>%.4g</td></tr>\n" : "<td>-</td></tr>\n",
                  bl_json_number(row, "loss", 0));
  }
  (void)fputs("</table></div>\n<p class=\"note\">Each choice alone, everything else at its "
              "best.</p></section>\n",
              page->out);
}
