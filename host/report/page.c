// SPDX-License-Identifier: Apache-2.0
// The page, top to bottom: verdict and key figures, then the sections. Pictures are drawn when all
// of it is written, and put in their places.
#include "host/report/page.h"

#include <stdlib.h>
#include <string.h>

#include "host/report/page_internal.h"

enum { WIDE = 600 }; // pixels, from which on a picture scrolls on narrow screens

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2230;--soft:#5a6478;--paper:#fbfbf9;--line:#d9dce3;"
    "--good:#1a7f4b;--bad:#b3261e;--c0:#3565b5;--c1:#c77700;--c2:#a8382f;--c3:#2f8a83}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#9aa4b8;--paper:#14171d;"
    "--line:#333a47;--good:#57c98a;--bad:#ff8a80;--c0:#7fa7ea;--c1:#e8b04b;--c2:#f08a7f;"
    "--c3:#6cc9c0}}\n"
    "@media print{:root{--ink:#000;--soft:#444;--paper:#fff;--line:#bbb;--good:#1a7f4b;"
    "--bad:#b3261e;--c0:#3565b5;--c1:#c77700;--c2:#a8382f;--c3:#2f8a83}body{max-width:none;"
    "margin:0}figure,tr{break-inside:avoid}h2{break-after:avoid}.scroll{overflow:visible}"
    "table{font-size:.7rem}td.t{white-space:normal}*{-webkit-print-color-adjust:exact;print-color-"
    "adjust:exact}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:62rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\n"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\n"
    "p.note,figcaption{color:var(--soft);margin:.3rem 0}figure{margin:.5rem 0}\n"
    "dl{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;margin:1.5rem 0}dt{color:var(--soft);"
    "font-size:.85rem}dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}\n"
    "small{font-size:.85rem;color:var(--soft)}td small{white-space:nowrap}"
    ".good{color:var(--good)}.bad{color:var(--bad)}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;"
    "font-variant-numeric:tabular-nums;overflow-wrap:normal}th,td{padding:.3rem .5rem;"
    "border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}"
    "td.t{max-width:20rem;overflow:hidden;text-overflow:ellipsis}"
    "th{color:var(--soft);font-weight:600;font-size:.85rem}th.t,td.t{text-align:left}"
    "svg{display:block;width:100%;height:auto}svg text{fill:var(--ink)}"
    ".wide{overflow-x:auto}.wide svg{min-width:36rem}"
    ".name{display:block;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}"
    ".key{display:inline-block;width:.8em;height:.8em;margin-right:.4em}"
    ".bar{display:flex;height:2rem}.grid{display:grid;gap:1rem;"
    "grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr))}"
    "pre{overflow-x:auto;font-size:.8rem;border:1px solid var(--line);padding:.5rem}"
    "table.matrix td,table.matrix th{text-align:center;padding:.2rem}\n";

FILE *bl_page_plot(bl_page *page, unsigned width, unsigned height, const char *label) {
  uint32_t index;
  FILE *script = bl_plot_begin(page->plots, width, height, &index);
  (void)fprintf(page->out, "<figure%s role=\"img\" aria-label=\"%s\">%c%u%c</figure>\n",
                width > WIDE ? " class=\"wide\"" : "", label, BL_PAGE_MARK, (unsigned)index,
                BL_PAGE_MARK);
  return script;
}

void bl_page_name(bl_page *page, const cJSON *object, const char *member) {
  (void)fputs("<td class=\"t\" title=\"", page->out);
  bl_html_text(page->out, bl_json_text(object, member));
  (void)fputs("\">", page->out);
  bl_html_text(page->out, bl_json_text(object, member));
  (void)fputs("</td>", page->out);
}

void bl_page_section(bl_page *page, const char *title) {
  (void)fprintf(page->out, "<section><h2>%s</h2>\n", title);
}

void bl_page_table(bl_page *page, const char *const *columns, size_t count) {
  (void)fputs("<div class=\"scroll\"><table><tr>", page->out);
  for (size_t k = 0; k < count; k++)
    if (columns[k][0] == '<')
      (void)fprintf(page->out, "<th class=\"t\">%s</th>", columns[k] + 1);
    else
      (void)fprintf(page->out, "<th>%s</th>", columns[k]);
  (void)fputs("</tr>\n", page->out);
}

static void put_head(const bl_page *page) {
  FILE *out = page->out;
  const cJSON *d = page->data;
  (void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
              "<title>",
              out);
  bl_html_text(out, bl_json_text(d, "model"));
  (void)fprintf(out, " on Bitloom</title>\n<style>%s</style></head>\n<body>\n<h1>", style);
  bl_html_text(out, bl_json_text(d, "model"));
  (void)fputs("</h1>\n<p class=\"note\">", out);
  bl_html_text(out, bl_json_text(d, "source"));
  (void)fputs(" on the ", out);
  bl_html_text(out, bl_json_text(d, "config"));
  (void)fprintf(out, " configuration (%.0f rows x %.0f columns x %.0f lanes), ",
                bl_json_number(d, "rows", 0), bl_json_number(d, "cols", 0),
                bl_json_number(d, "lanes", 0));
  bl_html_text(out, bl_json_text(d, "device"));
  (void)fputs(" device; data: ", out);
  bl_html_text(out, bl_json_text(d, "data"));
  (void)fputs("</p>\n", out);
}

static void put_verdict(const bl_page *page) {
  FILE *out = page->out;
  const cJSON *v = bl_json_object(page->data, "verdict");
  const double mismatches = bl_json_number(v, "mismatches", 0);
  (void)fputs("<div><dt>Bit-exact</dt>", out);
  if (v == NULL) {
    (void)fputs("<dd>not checked</dd></div>\n", out);
    return;
  }
  (void)fputs(mismatches == 0 ? "<dd class=\"good\">yes <small>" : "<dd class=\"bad\">no <small>",
              out);
  bl_html_count(out, mismatches);
  (void)fputs(" of ", out);
  bl_html_count(out, bl_json_number(v, "compared", 0));
  (void)fputs(" values differ</small></dd></div>\n", out);
}

static void put_accuracy(const bl_page *page, const char *member, const char *title) {
  const cJSON *a = bl_json_object(page->data, member);
  const double samples = bl_json_number(a, "samples", 0), correct = bl_json_number(a, "correct", 0);
  if (a == NULL || samples < 1) return;
  (void)fprintf(page->out, "<div><dt>%s</dt><dd>", title);
  bl_html_share(page->out, correct, samples);
  (void)fputs(" <small>", page->out);
  bl_html_count(page->out, correct);
  (void)fputs(" of ", page->out);
  bl_html_count(page->out, samples);
  (void)fputs("</small></dd></div>\n", page->out);
}

static void put_cost(const bl_page *page) {
  FILE *out = page->out;
  const cJSON *d = page->data;
  const double cycles = bl_json_number(d, "cycles_per_image", 0);
  const double clock = bl_json_number(d, "clock_mhz", 0);
  const bool steps = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(d, "steps_only"));
  if (cycles > 0) {
    (void)fputs(steps ? "<div><dt>Array steps an image</dt><dd>"
                      : "<div><dt>Cycles an image</dt><dd>",
                out);
    bl_html_count(out, cycles);
    (void)fputs("</dd></div>\n", out);
  }
  if (cycles > 0 && clock > 0 && !steps)
    (void)fprintf(out, "<div><dt>Latency at %g MHz</dt><dd>%.4g <small>ms</small></dd></div>\n",
                  clock, cycles / clock / 1e3);
}

static void put_sizes(const bl_page *page) {
  FILE *out = page->out;
  const double bytes = bl_json_number(page->data, "weight_bytes", 0);
  const double in_float = bl_json_number(page->data, "float_bytes", 0);
  if (bl_json_has(page->data, "file_bytes")) {
    (void)fputs("<div><dt>Compiled file</dt><dd>", out);
    bl_html_bytes(out, bl_json_number(page->data, "file_bytes", 0));
    (void)fputs("</dd></div>\n", out);
  }
  if (bytes <= 0) return;
  (void)fputs("<div><dt>Weights</dt><dd>", out);
  bl_html_bytes(out, bytes);
  if (in_float > 0)
    (void)fprintf(out, " <small>%.1f times smaller than float</small>", in_float / bytes);
  (void)fputs("</dd></div>\n", out);
}

static void put_figures(const bl_page *page) {
  (void)fputs("<dl>\n", page->out);
  put_verdict(page);
  put_accuracy(page, "accuracy", "Accuracy (95 % interval)");
  put_accuracy(page, "float", "In float");
  put_cost(page);
  put_sizes(page);
  (void)fputs("</dl>\n", page->out);
}

static void put_body(bl_page *page) {
  put_head(page);
  put_figures(page);
  bl_page_stages(page);
  bl_page_size(page);
  bl_page_points(page);
  bl_page_reasons(page);
  bl_page_layers(page);
  bl_page_sensitivity(page);
  bl_page_histograms(page);
  bl_page_history(page);
  bl_page_confusion(page);
}

// The text with pictures in the place of their marks.
static void put_pictures(const bl_page *page, const char *text, bool drawn) {
  const char mark[] = {BL_PAGE_MARK, '\0'};
  for (const char *at = text;;) {
    const size_t plain = strcspn(at, mark);
    (void)fwrite(at, 1, plain, page->out);
    at += plain;
    if (*at == '\0') break;
    char *end;
    const unsigned long index = strtoul(at + 1, &end, 10);
    if (drawn) bl_plots_put(page->plots, (uint32_t)index, page->out);
    at = end + 1;
  }
  if (!drawn) (void)fputs("<p class=\"note\">Pictures need gnuplot.</p>\n", page->out);
  (void)fputs("</body></html>\n", page->out);
}

static bl_status finish(FILE *out, char **text, bl_error *err) {
  const bool failed = ferror(out) != 0;
  if (fclose(out) == 0 && !failed) return BL_OK;
  free(*text);
  *text = NULL;
  return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
}

static bl_status write_page(bl_page *page, char **text, size_t *size, bl_error *err) {
  char *body = NULL;
  size_t body_size;
  bool drawn = false;
  page->out = open_memstream(&body, &body_size);
  if (page->out == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  put_body(page);
  BL_TRY(finish(page->out, &body, err));
  bl_status status = bl_plots_draw(page->plots, &drawn, err);
  page->out = status == BL_OK ? open_memstream(text, size) : NULL;
  if (page->out != NULL) {
    put_pictures(page, body, drawn);
    status = finish(page->out, text, err);
  } else if (status == BL_OK) {
    status = bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  }
  free(body);
  return status;
}

bl_status bl_page_html(const cJSON *data, char **text, size_t *size, bl_error *err) {
  bl_page page = {.data = data};
  *text = NULL;
  *size = 0;
  BL_TRY(bl_plots_open(&page.plots, err));
  bl_status status = write_page(&page, text, size, err);
  bl_plots_close(page.plots);
  if (status == BL_OK) return BL_OK;
  free(*text);
  *text = NULL;
  return status;
}

// ---- Data from other commands

static bl_status take(cJSON *data, const cJSON *from, const char *name, const char *as,
                      unsigned *found, bl_error *err) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, name);
  if (item == NULL || cJSON_IsNull(item)) return BL_OK;
  ++*found;
  if (cJSON_GetObjectItemCaseSensitive(data, as) != NULL) return BL_OK;
  cJSON *copy = cJSON_Duplicate(item, true);
  if (copy != NULL && cJSON_AddItemToObject(data, as, copy)) return BL_OK;
  cJSON_Delete(copy);
  return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
}

// The counts of run --device float.
static bl_status take_float(cJSON *data, const cJSON *from, unsigned *found, bl_error *err) {
  if (strcmp(bl_json_text(from, "command"), "run") != 0 ||
      strcmp(bl_json_text(from, "device"), "float") != 0 || !bl_json_has(from, "correct"))
    return BL_OK;
  ++*found;
  if (bl_json_object(data, "float") != NULL) return BL_OK;
  cJSON *object = cJSON_AddObjectToObject(data, "float");
  if (cJSON_AddNumberToObject(object, "samples", bl_json_number(from, "total", 0)) != NULL &&
      cJSON_AddNumberToObject(object, "correct", bl_json_number(from, "correct", 0)) != NULL)
    return BL_OK;
  return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
}

// What a search says of its knobs one by one, and the candidates of its front.
static bl_status take_search(cJSON *data, const cJSON *from, unsigned *found, bl_error *err) {
  const cJSON *sensitivity = bl_json_object(from, "sensitivity");
  BL_TRY(take(data, sensitivity, "alone", "sensitivity", found, err));
  if (bl_json_array(from, "front") == NULL) return BL_OK;
  return take(data, from, "front", "points", found, err);
}

bl_status bl_page_merge(cJSON *data, const cJSON *from, unsigned *found, bl_error *err) {
  static const char *const names[] = {"stages",  "recipe", "recipe_text",
                                      "history", "points", "float"};
  *found = 0;
  for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
    BL_TRY(take(data, from, names[k], names[k], found, err));
  if (bl_json_array(from, "sensitivity") != NULL)
    BL_TRY(take(data, from, "sensitivity", "sensitivity", found, err));
  BL_TRY(take_search(data, from, found, err));
  return take_float(data, from, found, err);
}
