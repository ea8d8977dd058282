// SPDX-License-Identifier: Apache-2.0
// The page, top to bottom: verdict and key figures, cycles by reason, cycles by layer, layer table.
#include "host/report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Colours are roles: each reason has its own in both themes, chosen to differ in lightness too.
static const char style[] =
    ":root{--ink:#1c2230;--soft:#5a6478;--paper:#fbfbf9;--line:#d9dce3;--good:#1a7f4b;"
    "--bad:#b3261e;--bar:#3565b5}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#9aa4b8;--paper:#14171d;"
    "--line:#333a47;--good:#57c98a;--bad:#ff8a80;--bar:#7fa7ea}}\n"
    "@media print{:root{--ink:#000;--soft:#444;--paper:#fff;--line:#bbb;--good:#1a7f4b;"
    "--bad:#b3261e;--bar:#3565b5}body{max-width:none;margin:0}section{break-inside:avoid}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:62rem;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\n"
    "p.note{color:var(--soft);margin:.3rem 0}\n"
    "dl{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;margin:1.5rem 0}dt{color:var(--soft);"
    "font-size:.85rem}dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}\n"
    "dd small{font-size:.85rem;color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;font-"
    "variant-numeric:"
    "tabular-nums}th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);text-align:right;"
    "white-space:nowrap}th{color:var(--soft);font-weight:600;font-size:.85rem}"
    "th.t,td.t{text-align:left}svg{display:block;width:100%;height:auto}"
    "svg text{fill:var(--ink);font:12px system-ui,sans-serif}.key{display:inline-block;width:.8em;"
    "height:.8em;margin-right:.4em}\n";

static const char *const palette[] = {"#2e7d4f", "#d98e04", "#b5433b", "#6a5acd",
                                      "#2a8fa8", "#c2588f", "#8a6d3b", "#8d95a3"};

static const char *colour(uint32_t index) {
  return palette[index % (sizeof palette / sizeof palette[0])];
}

static void put_text(FILE *out, const char *text) {
  for (const char *c = text; *c != '\0'; c++)
    switch (*c) {
    case '<':
      (void)fputs("&lt;", out);
      break;
    case '>':
      (void)fputs("&gt;", out);
      break;
    case '&':
      (void)fputs("&amp;", out);
      break;
    case '"':
      (void)fputs("&quot;", out);
      break;
    default:
      (void)fputc(*c, out);
    }
}

// Digits in groups of three.
static void put_count(FILE *out, double value) {
  char digits[32];
  int length = snprintf(digits, sizeof digits, "%.0f", value);
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0) (void)fputs("&#8239;", out);
    (void)fputc(digits[i], out);
  }
}

static void put_bytes(FILE *out, double bytes) {
  if (bytes < 10e3)
    (void)fprintf(out, "%.0f <small>bytes</small>", bytes);
  else if (bytes < 10e6)
    (void)fprintf(out, "%.1f <small>kB</small>", bytes / 1e3);
  else
    (void)fprintf(out, "%.1f <small>MB</small>", bytes / 1e6);
}

static void put_head(FILE *out, const bl_report *r) {
  (void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
              out);
  put_text(out, r->model);
  (void)fprintf(out, " on Bitloom</title>\n<style>%s</style></head>\n<body>\n<h1>", style);
  put_text(out, r->model);
  (void)fputs("</h1>\n<p class=\"note\">", out);
  put_text(out, r->source);
  (void)fprintf(out, " on the %s configuration (%u rows x %u columns x %u lanes), ", r->config,
                (unsigned)r->rows, (unsigned)r->cols, (unsigned)r->lanes);
  put_text(out, r->device);
  (void)fputs(" device; data: ", out);
  put_text(out, r->data);
  (void)fputs("</p>\n", out);
}

static void put_verdict(FILE *out, const bl_report *r) {
  (void)fputs("<div><dt>Bit-exact</dt>", out);
  if (!r->has_verdict)
    (void)fputs("<dd>not checked", out);
  else if (r->mismatches == 0)
    (void)fputs("<dd class=\"good\">yes", out);
  else
    (void)fputs("<dd class=\"bad\">no", out);
  if (r->has_verdict) {
    (void)fputs(" <small>", out);
    put_count(out, (double)r->mismatches);
    (void)fputs(" of ", out);
    put_count(out, (double)r->compared);
    (void)fputs(" values differ</small>", out);
  }
  (void)fputs("</dd></div>\n", out);
}

static void put_size(FILE *out, const bl_report *r) {
  (void)fputs("<div><dt>Compiled file</dt><dd>", out);
  put_bytes(out, (double)r->file_bytes);
  (void)fputs("</dd></div>\n<div><dt>Weights</dt><dd>", out);
  put_bytes(out, (double)r->weight_bits / 8.0);
  if (r->weight_bits != 0)
    (void)fprintf(out, " <small>%.1f times smaller than float</small>",
                  8.0 * (double)r->float_bytes / (double)r->weight_bits);
  (void)fputs("</dd></div>\n", out);
}

static void put_figures(FILE *out, const bl_report *r) {
  (void)fputs("<dl>\n", out);
  put_verdict(out, r);
  if (r->has_accuracy && r->samples != 0) {
    (void)fprintf(out, "<div><dt>Accuracy</dt><dd>%.2f %% <small>",
                  100.0 * (double)r->correct / (double)r->samples);
    put_count(out, (double)r->correct);
    (void)fputs(" of ", out);
    put_count(out, (double)r->samples);
    (void)fputs("</small></dd></div>\n", out);
  }
  (void)fputs("<div><dt>Cycles an image</dt><dd>", out);
  put_count(out, r->cycles_per_image);
  (void)fprintf(out, "</dd></div>\n<div><dt>Latency at %g MHz</dt><dd>%.4g <small>ms</small>",
                r->clock_mhz, r->cycles_per_image / r->clock_mhz / 1e3);
  (void)fputs("</dd></div>\n", out);
  put_size(out, r);
  (void)fputs("</dl>\n", out);
}

static uint64_t all_cycles(const bl_report *r) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < r->reason_count; i++)
    total += r->reasons[i].cycles;
  return total;
}

static void put_reasons(FILE *out, const bl_report *r) {
  double total = (double)all_cycles(r), at = 0.0;
  if (total <= 0.0) return;
  (void)fputs("<section><h2>Where the cycles went</h2>\n<svg viewBox=\"0 0 960 36\" role=\"img\" "
              "aria-label=\"cycles by reason\">",
              out);
  for (uint32_t i = 0; i < r->reason_count; i++) {
    double width = 960.0 * (double)r->reasons[i].cycles / total;
    (void)fprintf(out, "<rect x=\"%.2f\" y=\"0\" width=\"%.2f\" height=\"36\" fill=\"%s\"/>", at,
                  width, colour(i));
    at += width;
  }
  (void)fputs("</svg>\n<div class=\"scroll\"><table><tr><th class=\"t\">Reason</th><th>Cycles</th>"
              "<th>Share</th><th class=\"t\">Meaning</th></tr>\n",
              out);
  for (uint32_t i = 0; i < r->reason_count; i++) {
    (void)fprintf(out, "<tr><td class=\"t\"><span class=\"key\" style=\"background:%s\"></span>",
                  colour(i));
    put_text(out, r->reasons[i].name);
    (void)fputs("</td><td>", out);
    put_count(out, (double)r->reasons[i].cycles);
    (void)fprintf(out, "</td><td>%.2f %%</td><td class=\"t\">",
                  100.0 * (double)r->reasons[i].cycles / total);
    put_text(out, r->reasons[i].meaning);
    (void)fputs("</td></tr>\n", out);
  }
  (void)fputs("</table></div></section>\n", out);
}

// A bar a layer: its cycles, and inside it the part that the array was busy.
static void put_chart(FILE *out, const bl_report *r) {
  enum { STEP = 24, LABEL = 220, WIDTH = 620 };
  double most = 0.0;
  for (uint32_t i = 0; i < r->layer_count; i++)
    if (r->layers[i].cycles > most) most = r->layers[i].cycles;
  if (most <= 0.0) return;
  (void)fprintf(out,
                "<section><h2>Cycles by layer</h2>\n<p class=\"note\">Solid: cycles that issued "
                "the array a step; pale: all cycles of the layer; one image, by the cycle "
                "model.</p>\n"
                "<svg viewBox=\"0 0 960 %u\" role=\"img\" aria-label=\"cycles by layer\">\n",
                (unsigned)(STEP * r->layer_count));
  for (uint32_t i = 0; i < r->layer_count; i++) {
    const bl_report_layer *layer = &r->layers[i];
    unsigned y = STEP * i;
    double width = WIDTH * layer->cycles / most, issued = WIDTH * layer->issue_cycles / most;
    (void)fprintf(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">", LABEL - 10, y + 16);
    char name[33];
    (void)snprintf(name, sizeof name, "%s", layer->name);
    put_text(out, name);
    (void)fprintf(out,
                  "</text><rect x=\"%d\" y=\"%u\" width=\"%.2f\" height=\"16\" "
                  "style=\"fill:var(--bar);opacity:.35\"/><rect x=\"%d\" y=\"%u\" width=\"%.2f\" "
                  "height=\"16\" style=\"fill:var(--bar)\"/><text x=\"%.2f\" y=\"%u\">",
                  LABEL, y + 4, width, LABEL, y + 4, issued < width ? issued : width,
                  LABEL + width + 8, y + 16);
    put_count(out, layer->cycles);
    (void)fputs("</text>\n", out);
  }
  (void)fputs("</svg></section>\n", out);
}

// Each layer's cycles by reason, and what the RTL took where it ran.
static void put_cost(FILE *out, uint32_t index, const bl_report_layer *layer) {
  const double cells[] = {layer->cycles, layer->issue_cycles, layer->requant_cycles,
                          layer->gather_cycles, layer->drain_cycles};
  (void)fprintf(out, "<tr><td>%u</td><td class=\"t\">", (unsigned)index);
  put_text(out, layer->name);
  for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
    (void)fputs("</td><td>", out);
    put_count(out, cells[i]);
  }
  (void)fputs("</td><td>", out);
  if (layer->measured > 0.0)
    put_count(out, layer->measured);
  else
    (void)fputs("-", out);
  (void)fputs("</td></tr>\n", out);
}

static void put_costs(FILE *out, const bl_report *r) {
  (void)fputs("<section><h2>Cycles by layer and reason</h2>\n<div class=\"scroll\"><table><tr><th>#"
              "</th><th class=\"t\">Layer</th><th>Cycles</th><th>Issue</th><th>Requant</th><th>"
              "Gather</th><th>Drain</th><th>Measured</th></tr>\n",
              out);
  for (uint32_t i = 0; i < r->layer_count; i++)
    put_cost(out, i, &r->layers[i]);
  (void)fputs(
      "</table></div>\n<p class=\"note\">One image, by the cycle model, which equals the RTL. "
      "Measured: what the RTL took. Streams are not in it.</p></section>\n",
      out);
}

static void put_layer(FILE *out, uint32_t index, const bl_report_layer *layer) {
  (void)fprintf(out, "<tr><td>%u</td><td class=\"t\">", (unsigned)index);
  put_text(out, layer->name);
  (void)fputs("</td><td class=\"t\">", out);
  put_text(out, layer->kind);
  (void)fputs("</td><td class=\"t\">", out);
  put_text(out, layer->shape);
  (void)fprintf(out, "</td><td>%s</td><td>%s</td><td>", layer->weights, layer->activations);
  put_count(out, (double)layer->macs);
  (void)fputs("</td><td>", out);
  put_count(out, (double)layer->weight_bytes);
  (void)fputs("</td><td>", out);
  if (layer->cycles > 0.0) {
    put_count(out, layer->cycles);
    (void)fprintf(out, "</td><td>%.1f %%</td></tr>\n", 100.0 * layer->issue_cycles / layer->cycles);
  } else {
    (void)fputs("-</td><td>-</td></tr>\n", out);
  }
}

static void put_layers(FILE *out, const bl_report *r) {
  (void)fputs("<section><h2>Layers</h2>\n<div class=\"scroll\"><table><tr><th>#</th><th "
              "class=\"t\">Layer</th><th class=\"t\">Operation</th><th class=\"t\">Shape (h x w x "
              "c)</th><th>Weights</th><th>Inputs</th><th>MACs</th><th>Bytes</th><th>Cycles</th>"
              "<th>Issue</th></tr>\n",
              out);
  for (uint32_t i = 0; i < r->layer_count; i++)
    put_layer(out, i, &r->layers[i]);
  (void)fputs("</table></div>\n<p class=\"note\">One image. Bytes: the layer's weights as coded, "
              "and its channels' parameters. Issue: cycles that issued the array a step, of all "
              "cycles of the layer.</p></section>\n",
              out);
}

bl_status bl_report_html(const bl_report *report, char **text, size_t *size, bl_error *err) {
  *text = NULL;
  *size = 0;
  FILE *out = open_memstream(text, size);
  if (out == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  put_head(out, report);
  put_figures(out, report);
  put_reasons(out, report);
  put_chart(out, report);
  put_costs(out, report);
  put_layers(out, report);
  (void)fputs("</body></html>\n", out);
  bool failed = ferror(out) != 0;
  if (fclose(out) == 0 && !failed) return BL_OK;
  free(*text);
  *text = NULL;
  return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
}
