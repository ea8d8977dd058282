// SPDX-License-Identifier: Apache-2.0
#include "host/quant/codebook.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"

enum { FILE_LIMIT = 1 << 16, SCALE_STEPS = 100, LEAST_STEP = 20 };

static const struct {
  const char *name;
  int8_t values[BL_INT_CODES];
} known[] = {
    {"nf4", {-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127}},
    {"po2", {-64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64, 64}},
    {"apot", {-10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 10, 10}},
};

static void set_format(bl_codebook *c) {
  c->format = (bl_format){BL_FORMAT_S, 2};
  while (c->values[0] < bl_format_min(c->format) ||
         c->values[BL_INT_CODES - 1] > bl_format_max(c->format))
    c->format.bits++;
}

void bl_codebook_make(const int8_t *values, unsigned count, double scale, bl_codebook *codebook) {
  for (unsigned k = 0; k < BL_INT_CODES; k++)
    codebook->values[k] = values[k < count ? k : count - 1];
  codebook->scale = scale;
  set_format(codebook);
}

// ---- Files

typedef struct {
  double values[BL_INT_CODES];
  int count;
} numbers;

static bl_status read_numbers(const char *path, char *text, numbers *n, bl_error *err) {
  for (char *at = text; *at != '\0';) {
    if (*at == '#') {
      at += strcspn(at, "\n");
    } else if (isspace((unsigned char)*at) || *at == ',') {
      at++;
    } else {
      char *end = NULL;
      double x = strtod(at, &end);
      if (end == at || !isfinite(x))
        return bl_fail(err, BL_ERR_FORMAT, "%s: '%.16s' is not a number", path, at);
      if (n->count == BL_INT_CODES)
        return bl_fail(err, BL_ERR_RANGE, "%s: a codebook has at most %d values", path,
                       BL_INT_CODES);
      n->values[n->count++] = x;
      at = end;
    }
  }
  return BL_OK;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static bl_status from_numbers(const char *path, numbers *n, bl_codebook *c, bl_error *err) {
  bool whole = true;
  double most = 0;
  for (int k = 0; k < n->count; k++) {
    double x = n->values[k];
    whole = whole && rint(x) >= x && rint(x) <= x && x >= INT8_MIN && x <= INT8_MAX;
    most = fmax(most, fabs(x));
  }
  if (n->count < 2 || !(most > 0))
    return bl_fail(err, BL_ERR_FORMAT, "%s: a codebook needs two values, and one that is not 0",
                   path);
  qsort(n->values, (size_t)n->count, sizeof *n->values, ascending);
  for (int k = 0; k < BL_INT_CODES; k++) {
    double x = n->values[k < n->count ? k : n->count - 1];
    c->values[k] = (int8_t)rint(whole ? x : x / most * INT8_MAX);
  }
  return BL_OK;
}

static bl_status read_file(const char *path, bl_codebook *c, bl_error *err) {
  uint8_t *bytes = NULL;
  size_t size = 0;
  BL_TRY(bl_file_read(path, FILE_LIMIT, &bytes, &size, err));
  char *text = calloc(size + 1, 1);
  numbers n = {.count = 0};
  bl_status status =
      text == NULL ? bl_fail(err, BL_ERR_MEMORY, "%s: no memory for a codebook", path) : BL_OK;
  if (status == BL_OK) {
    memcpy(text, bytes, size);
    status = read_numbers(path, text, &n, err);
  }
  if (status == BL_OK) status = from_numbers(path, &n, c, err);
  free(text);
  free(bytes);
  return status;
}

bl_status bl_codebook_open(const char *name, bl_codebook *codebook, bl_error *err) {
  size_t k = 0;
  while (k < sizeof known / sizeof *known && strcmp(known[k].name, name) != 0)
    k++;
  if (k < sizeof known / sizeof *known)
    memcpy(codebook->values, known[k].values, sizeof known[k].values);
  else
    BL_TRY(read_file(name, codebook, err));
  set_format(codebook);
  codebook->scale = 0;
  return BL_OK;
}

// ---- Weights

int8_t bl_codebook_nearest(const bl_codebook *codebook, double x) {
  const int8_t *v = codebook->values;
  int lo = 0, hi = BL_INT_CODES - 1; // the neighbours of x
  while (hi - lo > 1) {
    int middle = (lo + hi) / 2;
    if (x < v[middle])
      hi = middle;
    else
      lo = middle;
  }
  double below = fabs(x - v[lo]), above = fabs(v[hi] - x);
  if (below < above) return v[lo];
  if (above < below) return v[hi];
  return abs(v[lo]) < abs(v[hi]) ? v[lo] : v[hi];
}

static double squared_error(const bl_codebook *c, const float *weights, size_t count,
                            double scale) {
  double sum = 0;
  for (size_t k = 0; k < count; k++) {
    double w = (double)weights[k], e = w - scale * bl_codebook_nearest(c, w / scale);
    sum += e * e;
  }
  return sum;
}

// The least scale for which the values reach all weights; 1 where there is none.
static double whole_range(const bl_codebook *c, const float *weights, size_t count) {
  double lo = 0, hi = 0, scale = 0;
  for (size_t k = 0; k < count; k++) {
    lo = fmin(lo, (double)weights[k]);
    hi = fmax(hi, (double)weights[k]);
  }
  if (c->values[0] < 0) scale = lo / c->values[0];
  if (c->values[BL_INT_CODES - 1] > 0) scale = fmax(scale, hi / c->values[BL_INT_CODES - 1]);
  return scale > 0 ? scale : 1;
}

double bl_codebook_quantise(const bl_codebook *codebook, const float *weights, size_t count,
                            bl_range_method method, int8_t *q) {
  double whole = whole_range(codebook, weights, count), scale = whole, least = INFINITY;
  const bool search = method == BL_RANGE_MSE && codebook->scale == 0;
  if (codebook->scale > 0) scale = codebook->scale;
  for (int step = SCALE_STEPS; search && step >= LEAST_STEP; step--) {
    double error = squared_error(codebook, weights, count, whole * step / SCALE_STEPS);
    if (error >= least) continue;
    least = error;
    scale = whole * step / SCALE_STEPS;
  }
  for (size_t k = 0; k < count; k++)
    q[k] = bl_codebook_nearest(codebook, (double)weights[k] / scale);
  return scale;
}
