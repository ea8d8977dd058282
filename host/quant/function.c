// SPDX-License-Identifier: Apache-2.0
#include "host/quant/function.h"

#include <math.h>

#include "host/float/eval.h"

// Indices -127..127; each end of the range is cut by up to CUTS parts of CUT_PARTS.
enum { TOP = 127, CUTS = 12, CUT_PARTS = 14 };

bool bl_function_takes(bl_float_op op) {
  switch (op) {
  case BL_FLOAT_ADD:
  case BL_FLOAT_SUB:
  case BL_FLOAT_MUL:
  case BL_FLOAT_DIV:
  case BL_FLOAT_POW:
  case BL_FLOAT_IDENTITY:
  case BL_FLOAT_CAST:
  case BL_FLOAT_GATHER:
    return true;
  default:
    return bl_is_activation(op);
  }
}

// Entries before the first count from the end; beyond both ends there is nothing to be looked up.
static double look_up(const bl_value *table, double index) {
  const double count = (double)table->count;
  if (index < 0) index += count;
  return index >= 0 && index < count ? (double)table->f[(size_t)index] : 0;
}

static double step_value(const bl_function_step *step, const double *v) {
  switch (step->node->op) {
  case BL_FLOAT_ADD:
    return v[0] + v[1];
  case BL_FLOAT_SUB:
    return v[0] - v[1];
  case BL_FLOAT_MUL:
    return v[0] * v[1];
  case BL_FLOAT_DIV:
    return v[0] / v[1];
  case BL_FLOAT_POW:
    return pow(v[0], v[1]);
  case BL_FLOAT_IDENTITY:
    return v[0];
  case BL_FLOAT_CAST:
    return trunc(v[0]);
  case BL_FLOAT_GATHER:
    return look_up(step->table, v[1]);
  case BL_FLOAT_CLIP:
    if (step->node->input_count == 1) return bl_activation(step->node, v[0]);
    return fmin(fmax(v[0], v[1]), v[2]);
  default:
    return bl_activation(step->node, v[0]);
  }
}

double bl_function_value(const bl_function *function, double x) {
  double results[BL_FUNCTION_MAX_STEPS + 1] = {x};
  for (uint32_t n = 0; n < function->count; n++) {
    const bl_function_step *step = &function->steps[n];
    double v[3];
    for (int k = 0; k < 3; k++)
      v[k] = step->at[k] < 0 ? step->constant[k] : results[step->at[k]];
    results[n + 1] = step_value(step, v);
  }
  return results[function->count];
}

// ---- The index

static bl_quantiser index_over(double lo, double hi) {
  bl_quantiser q = {{BL_FORMAT_S, 8}, (hi - lo) / (2 * TOP), 0};
  q.zero_point = (int32_t)(-TOP - rint(lo / q.scale));
  return q;
}

static double bin_centre(const bl_observer *o, size_t bin) {
  return o->min + ((double)bin + 0.5) * (o->max - o->min) / BL_OBSERVER_BINS;
}

// Squared error over the histogram, whose bins' function values are `exact`.
static double index_error(const bl_function *f, const bl_observer *o, const double *exact,
                          bl_quantiser q) {
  double levels[2 * TOP + 1], sum = 0;
  for (int i = -TOP; i <= TOP; i++)
    levels[i + TOP] = bl_function_value(f, q.scale * (i - q.zero_point));
  for (size_t b = 0; b < BL_OBSERVER_BINS; b++) {
    if (o->bins[b] == 0) continue;
    double i = floor(bin_centre(o, b) / q.scale + 0.5) + q.zero_point;
    i = fmax(-TOP, fmin(TOP, i));
    double e = levels[(int)i + TOP] - exact[b];
    sum += (double)o->bins[b] * e * e;
  }
  return sum;
}

bl_quantiser bl_function_index(const bl_function *function, const bl_observer *observer,
                               bl_range_method method) {
  double span = observer->max - observer->min, exact[BL_OBSERVER_BINS];
  // ranges without width, or so narrow that the zero point would not fit
  double most = fmax(fabs(observer->max), fabs(observer->min));
  if (!(span > most * 1e-4) || isinf(span)) {
    bool sound = most > 0 && !isinf(most);
    return (bl_quantiser){{BL_FORMAT_S, 8}, sound ? most / TOP : 1, 0};
  }
  bl_quantiser best = index_over(observer->min, observer->max);
  if (method != BL_RANGE_MSE) return best;
  for (size_t b = 0; b < BL_OBSERVER_BINS; b++)
    exact[b] = bl_function_value(function, bin_centre(observer, b));
  double least = INFINITY;
  for (int low = 0; low <= CUTS; low++)
    for (int high = 0; low + high <= CUTS; high++) {
      bl_quantiser q = index_over(observer->min + span * low / CUT_PARTS,
                                  observer->max - span * high / CUT_PARTS);
      double error = index_error(function, observer, exact, q);
      if (error < least) {
        least = error;
        best = q;
      }
    }
  return best;
}

// ---- The table

void bl_function_table(const bl_function *function, bl_quantiser index,
                       const bl_function_output *output, int32_t table[BL_INT_TABLE]) {
  const bl_quantiser *out = &output->quantiser;
  for (int32_t i = 0; i < BL_INT_TABLE; i++) {
    int32_t q = index.format.kind == BL_FORMAT_S ? (int8_t)(uint8_t)i : i;
    double y = bl_function_value(function, index.scale * (q - index.zero_point));
    double level = y / out->scale + out->zero_point;
    if (isnan(level)) level = out->zero_point;
    level = fmax(output->lo, fmin(output->hi, level));
    table[i] = output->rounding != NULL ? (int32_t)bl_qonnx_round(output->rounding, level)
                                        : (int32_t)floor(level + 0.5);
  }
}
