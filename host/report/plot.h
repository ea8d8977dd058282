// SPDX-License-Identifier: Apache-2.0
// Pictures by gnuplot as SVG inside a page: all of a page in one run of the program. Nothing that
// came from outside but numbers may be written into its script.
//
// Colours are roles that the page's style defines, so that light, dark and paper differ: write
// BL_INK and the like as rgb colours.
#ifndef BITLOOM_HOST_REPORT_PLOT_H
#define BITLOOM_HOST_REPORT_PLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "host/base/error.h"

// Stand-ins in a script; in the page var(--ink), var(--line), var(--c0) .. var(--c7).
#define BL_INK "'#010203'"
#define BL_LINE "'#010204'"
#define BL_C0 "'#010210'"
#define BL_C1 "'#010211'"
#define BL_C2 "'#010212'"
#define BL_C3 "'#010213'"

typedef struct bl_plots bl_plots;

// Errors: IO (no temporary folder), MEMORY.
BL_MUST_USE bl_status bl_plots_open(bl_plots **plots, bl_error *err);
void bl_plots_close(bl_plots *plots);
// Begins a picture of so many pixels; what the caller writes into *script (its commands; `plot` at
// the end) belongs to it. The picture's number is *index.
FILE *bl_plot_begin(bl_plots *plots, unsigned width, unsigned height, uint32_t *index);
// Draws them all. Without gnuplot there are no pictures: *drawn is false. Errors: IO, MEMORY.
BL_MUST_USE bl_status bl_plots_draw(bl_plots *plots, bool *drawn, bl_error *err);
// Writes a picture as an element of the page; a word where gnuplot could not draw its data.
void bl_plots_put(const bl_plots *plots, uint32_t index, FILE *out);

#endif
