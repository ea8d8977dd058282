// SPDX-License-Identifier: Apache-2.0
#include "host/search/front.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/file.h"
#include "host/search/pool_internal.h"

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the tables");
}

bl_status bl_search_write(const char *path, const char *text, bl_error *err) {
  char *whole = NULL;
  if (asprintf(&whole, "%s\n", text) < 0) return no_memory(err);
  const bl_status status = bl_file_write(path, whole, strlen(whole), err);
  free(whole);
  return status;
}

static double height(const bl_search_result *r) {
  return r->accuracy >= 0 ? r->accuracy : -r->loss;
}

// on[count]: the entry is on the Pareto front, nothing being better both on the axis and in
// accuracy (in loss, where there are no labels). Of equal ones the first.
static void mark_front(const bl_front *f, bool *on) {
  for (uint32_t a = 0; a < f->count; a++) {
    const bl_search_result *x = &f->entries[a].result;
    const double cost = bl_search_criterion(x, f->axis);
    on[a] = isfinite(cost);
    for (uint32_t b = 0; b < f->count && on[a]; b++) {
      const bl_search_result *y = &f->entries[b].result;
      const double other = bl_search_criterion(y, f->axis);
      const bool no_worse = other <= cost && height(y) >= height(x);
      if (no_worse && (other < cost || height(y) > height(x) || b < a)) on[a] = false;
    }
  }
}

static bool is_chosen(const bl_front *f, uint32_t at) {
  return f->choice != NULL && memcmp(f->choice, f->entries[at].choice, f->space->count) == 0;
}

// ---- CSV

static void put_row(const bl_front *f, uint32_t at, bool on, FILE *file) {
  const bl_search_result *r = &f->entries[at].result;
  (void)fprintf(file, "%.10g,%.10g,%.10g,", r->cycles, r->bytes, r->loss);
  if (r->accuracy >= 0) (void)fprintf(file, "%.10g", r->accuracy);
  (void)fprintf(file, ",%.6g,%d,%d", r->sqnr, on, is_chosen(f, at));
  for (uint32_t k = 0; k < f->space->count; k++)
    (void)fprintf(file, ",%g", f->space->knobs[k].values[f->entries[at].choice[k]]);
  (void)fputc('\n', file);
}

// A name as a field: quotes doubled.
static void put_name(const bl_knob *knob, FILE *file) {
  (void)fputs(",\"", file);
  for (const char *at = knob->layer; *at != '\0'; at++) {
    if (*at == '"') (void)fputc('"', file);
    (void)fputc(*at, file);
  }
  (void)fprintf(file, " %s\"", bl_knob_name(knob->kind));
}

static bl_status write_csv(const bl_front *f, const bool *on, const char *path, bl_error *err) {
  char *text = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&text, &size);
  if (file == NULL) return no_memory(err);
  (void)fputs("cycles,bytes,loss,accuracy,sqnr,front,chosen", file);
  for (uint32_t k = 0; k < f->space->count; k++)
    put_name(&f->space->knobs[k], file);
  (void)fputc('\n', file);
  for (uint32_t k = 0; k < f->count; k++)
    put_row(f, k, on[k], file);
  bl_status status = fclose(file) == 0 ? bl_file_write(path, text, size, err) : no_memory(err);
  free(text);
  return status;
}

// ---- JSON

static cJSON *plan_of(const bl_front *f, uint32_t at, bl_error *err) {
  bl_arena *arena = bl_arena_new(BL_SPACE_MOST_BYTES);
  bl_search_plan plan;
  char *text = NULL;
  if (arena != NULL && bl_space_plan(f->space, f->entries[at].choice, arena, &plan, err) == BL_OK)
    text = bl_search_plan_text(&plan);
  cJSON *object = text == NULL ? NULL : cJSON_Parse(text);
  free(text);
  bl_arena_free(arena);
  return object;
}

static bl_status write_json(const bl_front *f, const bool *on, const char *path, bl_error *err) {
  cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "front");
  (void)cJSON_AddNumberToObject(root, "candidates", f->count);
  if (f->float_accuracy >= 0)
    (void)cJSON_AddNumberToObject(root, "float_accuracy", f->float_accuracy);
  for (uint32_t k = 0; k < f->count; k++) {
    if (!on[k] && !is_chosen(f, k)) continue;
    cJSON *entry = cJSON_CreateObject();
    bl_search_result_add(entry, &f->entries[k].result);
    (void)cJSON_AddBoolToObject(entry, "front", on[k]);
    (void)cJSON_AddBoolToObject(entry, "chosen", is_chosen(f, k));
    (void)cJSON_AddItemToObject(entry, "plan", plan_of(f, k, err));
    (void)cJSON_AddItemToArray(list, entry);
  }
  char *text = cJSON_Print(root);
  cJSON_Delete(root);
  bl_status status = text == NULL ? no_memory(err) : bl_search_write(path, text, err);
  free(text);
  return status;
}

// ---- Picture

static int by_cost(const void *left, const void *right) {
  const double *a = left, *b = right;
  return a[0] < b[0] ? -1 : a[0] > b[0];
}

// Points of one series as a data block of gnuplot; sorted, so that lines can join them.
static void put_series(const bl_front *f, const bool *on, int series, double *points, FILE *plot) {
  uint32_t count = 0;
  for (uint32_t k = 0; k < f->count; k++) {
    const bl_search_result *r = &f->entries[k].result;
    const bool member = series == 0 ? !on[k] : series == 1 ? on[k] : is_chosen(f, k);
    if (!member || !isfinite(bl_search_criterion(r, f->axis)) || !isfinite(r->loss)) continue;
    points[2 * count] = bl_search_criterion(r, f->axis);
    points[2 * count++ + 1] = r->accuracy >= 0 ? 100 * r->accuracy : r->loss;
  }
  qsort(points, count, 2 * sizeof *points, by_cost);
  (void)fprintf(plot, "$s%d << end\n", series);
  if (count == 0) (void)fputs("NaN NaN\n", plot);
  for (uint32_t k = 0; k < count; k++)
    (void)fprintf(plot, "%.10g %.10g\n", points[2 * k], points[2 * k + 1]);
  (void)fputs("end\n", plot);
}

static void put_plot(const bl_front *f, const bool *on, double *points, FILE *plot) {
  const bool labels = f->count > 0 && f->entries[0].result.accuracy >= 0;
  for (int series = 0; series < 3; series++)
    put_series(f, on, series, points, plot);
  (void)fprintf(plot,
                "set terminal svg size 800,480 background 'white'\nset output\n"
                "set xlabel '%s'\nset ylabel '%s'\nset grid\nset key bottom right\n",
                f->axis == BL_CYCLES ? "cycles an image" : "bytes of weights",
                labels ? "accuracy on held-out samples, %" : "noise over signal");
  if (!labels) (void)fputs("set key top right\nset logscale y\n", plot);
  (void)fputs("plot $s0 using 1:2 with points pt 7 ps 0.4 lc rgb '#b0b0b0' title 'candidates', "
              "$s1 using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb '#1f6fb4' title 'front', "
              "$s2 using 1:2 with points pt 6 ps 1.6 lw 2 lc rgb '#c03020' title 'chosen'",
              plot);
  if (f->float_accuracy >= 0)
    (void)fprintf(plot, ", %.10g with lines dt 2 lc rgb '#606060' title 'float'",
                  100 * f->float_accuracy);
  (void)fputc('\n', plot);
}

// gnuplot gets the picture's text as a file and gives the picture on its standard output.
static bl_status write_picture(const bl_front *f, const bool *on, const char *path, bl_error *err) {
  double *points = calloc(2 * (size_t)f->count + 2, sizeof *points);
  char script[] = "/tmp/bitloom-plot-XXXXXX", command[64];
  const int handle = mkstemp(script);
  FILE *plot = handle < 0 ? NULL : fdopen(handle, "w");
  if (points == NULL || plot == NULL) {
    const bl_status status =
        bl_fail(err, BL_ERR_IO, "%s: no temporary file: %s", path, strerror(errno));
    if (plot != NULL) (void)fclose(plot);
    if (plot == NULL && handle >= 0) (void)close(handle);
    if (handle >= 0) (void)remove(script);
    free(points);
    return status;
  }
  put_plot(f, on, points, plot);
  free(points);
  (void)fclose(plot);
  (void)snprintf(command, sizeof command, "gnuplot %s", script);
  char *picture = NULL;
  size_t size = 0, got;
  char part[4096];
  FILE *from = popen(command, "r"), *to = open_memstream(&picture, &size);
  while (from != NULL && to != NULL && (got = fread(part, 1, sizeof part, from)) > 0)
    (void)fwrite(part, 1, got, to);
  const bool done = from != NULL && pclose(from) == 0;
  if (to != NULL) (void)fclose(to);
  (void)remove(script);
  bl_status status = done && size > 0
                         ? bl_file_write(path, picture, size, err)
                         : bl_fail(err, BL_ERR_UNSUPPORTED,
                                   "%s: gnuplot gave no picture; install gnuplot-nox", path);
  free(picture);
  return status;
}

bl_status bl_front_write(const bl_front *front, const char *base, bl_error *err) {
  const size_t room = strlen(base) + 8;
  bool *on = calloc(front->count + 1u, sizeof *on);
  char *path = calloc(room, 1);
  bl_status status = on == NULL || path == NULL ? no_memory(err) : BL_OK;
  if (status == BL_OK) {
    mark_front(front, on);
    (void)snprintf(path, room, "%s.csv", base);
    status = write_csv(front, on, path, err);
  }
  if (status == BL_OK) {
    (void)snprintf(path, room, "%s.json", base);
    status = write_json(front, on, path, err);
  }
  if (status == BL_OK) {
    (void)snprintf(path, room, "%s.svg", base);
    status = write_picture(front, on, path, err);
  }
  free(on);
  free(path);
  return status;
}

// ---- Sensitivities

char *bl_sensitivity_text(const bl_space *space, const bl_sensitivity *sensitivity) {
  cJSON *root = cJSON_CreateObject();
  cJSON *best = cJSON_AddObjectToObject(root, "best");
  bl_search_result_add(best, &sensitivity->best);
  cJSON *list = cJSON_AddArrayToObject(root, "alone");
  for (uint32_t k = 0; k < space->count; k++)
    for (uint32_t i = 0; i < space->knobs[k].count; i++) {
      cJSON *entry = cJSON_CreateObject();
      (void)cJSON_AddStringToObject(entry, "layer", space->knobs[k].layer);
      (void)cJSON_AddStringToObject(entry, "kind", bl_knob_name(space->knobs[k].kind));
      (void)cJSON_AddNumberToObject(entry, "value", space->knobs[k].values[i]);
      bl_search_result_add(entry, &sensitivity->results[k][i]);
      (void)cJSON_AddItemToArray(list, entry);
    }
  char *text = cJSON_Print(root);
  cJSON_Delete(root);
  return text;
}
