// SPDX-License-Identifier: Apache-2.0
// Pieces of HTML: escaped text, numbers for people; and members of JSON that may be missing.
#ifndef BITLOOM_HOST_REPORT_MARKUP_H
#define BITLOOM_HOST_REPORT_MARKUP_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// Text from anywhere: escaped, control characters as '?'.
void bl_html_text(FILE *out, const char *text);
// A whole number, digits in groups of three.
void bl_html_count(FILE *out, double value);
void bl_html_bytes(FILE *out, double bytes);
// "98.50 % (97.2 to 99.3)": a share with its 95 % interval.
void bl_html_share(FILE *out, double correct, double total);

// A member that is a finite number, else `otherwise`.
double bl_json_number(const cJSON *object, const char *name, double otherwise);
bool bl_json_has(const cJSON *object, const char *name);
// A member that is text, else "".
const char *bl_json_text(const cJSON *object, const char *name);
// A member that is an array with at least one element, or an object; else NULL.
const cJSON *bl_json_array(const cJSON *object, const char *name);
const cJSON *bl_json_object(const cJSON *object, const char *name);
// The element's number, 0 where it is none.
double bl_json_value(const cJSON *element);

#endif
