// SPDX-License-Identifier: Apache-2.0
#include "host/report/markup.h"

#include <math.h>

#include "host/report/wilson.h"

void bl_html_text(FILE *out, const char *text) {
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
    case '\'':
      (void)fputs("&#39;", out);
      break;
    default:
      (void)fputc((unsigned char)*c < ' ' || *c == 127 ? '?' : *c, out);
    }
}

void bl_html_count(FILE *out, double value) {
  char digits[32];
  int length = snprintf(digits, sizeof digits, "%.0f", fabs(value) < 1e18 ? value : 0);
  for (int i = 0; i < length; i++) {
    if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0) (void)fputs("&#8239;", out);
    (void)fputc(digits[i], out);
  }
}

void bl_html_bytes(FILE *out, double bytes) {
  if (bytes < 10e3)
    (void)fprintf(out, "%.0f <small>bytes</small>", bytes);
  else if (bytes < 10e6)
    (void)fprintf(out, "%.1f <small>kB</small>", bytes / 1e3);
  else
    (void)fprintf(out, "%.1f <small>MB</small>", bytes / 1e6);
}

void bl_html_share(FILE *out, double correct, double total) {
  if (!(total >= 1 && correct >= 0 && correct <= total)) {
    (void)fputs("-", out);
    return;
  }
  const bl_interval i = bl_wilson((uint64_t)correct, (uint64_t)total);
  (void)fprintf(out, "%.2f %% <small>(%.1f to %.1f)</small>", 100 * correct / total, 100 * i.low,
                100 * i.high);
}

static const cJSON *member(const cJSON *object, const char *name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

double bl_json_value(const cJSON *element) {
  return cJSON_IsNumber(element) && isfinite(element->valuedouble) ? element->valuedouble : 0;
}

bool bl_json_has(const cJSON *object, const char *name) {
  const cJSON *m = member(object, name);
  return cJSON_IsNumber(m) && isfinite(m->valuedouble);
}

double bl_json_number(const cJSON *object, const char *name, double otherwise) {
  return bl_json_has(object, name) ? member(object, name)->valuedouble : otherwise;
}

const char *bl_json_text(const cJSON *object, const char *name) {
  const cJSON *m = member(object, name);
  return cJSON_IsString(m) && m->valuestring != NULL ? m->valuestring : "";
}

const cJSON *bl_json_array(const cJSON *object, const char *name) {
  const cJSON *m = member(object, name);
  return cJSON_IsArray(m) && m->child != NULL ? m : NULL;
}

const cJSON *bl_json_object(const cJSON *object, const char *name) {
  const cJSON *m = member(object, name);
  return cJSON_IsObject(m) ? m : NULL;
}
