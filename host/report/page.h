// SPDX-License-Identifier: Apache-2.0
// The report: one HTML page about one compiled network, complete in itself (inline CSS and SVG, no
// script, nothing fetched), readable on light, dark, narrow screens and paper. It is a function of
// data alone; docs/reference/report.md has their shape.
#ifndef BITLOOM_HOST_REPORT_PAGE_H
#define BITLOOM_HOST_REPORT_PAGE_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "host/base/error.h"

// The page as one zero-terminated text that the caller frees. Parts whose data are missing, or not
// of the right type, are left out; pictures too where there is no gnuplot, which the page then
// says. Errors: MEMORY, IO.
BL_MUST_USE bl_status bl_page_html(const cJSON *data, char **text, size_t *size, bl_error *err);

// Takes over from `from`, the --json of another command, what a page can show and `data` lacks:
// "stages", "recipe" and "recipe_text" (compress --recipe), "history" (train), "points" (or
// "front") and "sensitivity" (search), and "float", the correct answers of run --device float.
// Returns how many members it found. Errors: MEMORY.
BL_MUST_USE bl_status bl_page_merge(cJSON *data, const cJSON *from, unsigned *found, bl_error *err);

#endif
