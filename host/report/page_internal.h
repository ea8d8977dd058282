// SPDX-License-Identifier: Apache-2.0
// What the files of the page share.
#ifndef BITLOOM_HOST_REPORT_PAGE_INTERNAL_H
#define BITLOOM_HOST_REPORT_PAGE_INTERNAL_H

#include "host/report/markup.h"
#include "host/report/page.h"
#include "host/report/plot.h"

typedef struct {
  const cJSON *data;
  FILE *out;
  bl_plots *plots;
} bl_page;

// Where a picture comes when all are drawn: MARK, its number, MARK.
enum { BL_PAGE_MARK = 1 };

// Begins a picture here; `label` says what it shows to those who do not see it.
FILE *bl_page_plot(bl_page *page, unsigned width, unsigned height, const char *label);
// The head of a section and of a table with these columns, those that start with '<' to the left.
void bl_page_section(bl_page *page, const char *title);
void bl_page_table(bl_page *page, const char *const *columns, size_t count);
// A cell with a text that may be too long for it.
void bl_page_name(bl_page *page, const cJSON *object, const char *member);

// The sections; each is left out where its data are missing.
void bl_page_stages(bl_page *page);
void bl_page_size(bl_page *page);
void bl_page_reasons(bl_page *page);
void bl_page_layers(bl_page *page);
void bl_page_histograms(bl_page *page);
void bl_page_sensitivity(bl_page *page);
void bl_page_history(bl_page *page);
void bl_page_confusion(bl_page *page);
void bl_page_points(bl_page *page);

#endif
