// SPDX-License-Identifier: Apache-2.0
// Resize (opset 10 and later) and Upsample (7 to 9) to the nearest neighbour: from which position
// each one comes.
#include <math.h>
#include <string.h>

#include "host/graph/float_graph.h"

enum { RESIZE_COORDINATES_FROM = 11, MOST = 1 << 20 };

typedef enum { HALF_PIXEL, PYTORCH_HALF_PIXEL, TF_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC } how;
typedef enum { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL } rounding;

static bl_status fault(const bl_node *node, bl_status status, const char *what, bl_error *err) {
  return bl_fail(err, status, "node %s (%s): %s", node->name, bl_float_op_name(node->op), what);
}

static int index_of(const char *text, const char *const *names, int count) {
  for (int k = 0; k < count; k++)
    if (strcmp(text, names[k]) == 0) return k;
  return -1;
}

static bl_status read_rule(const bl_float_graph *graph, const bl_node *node, bl_resize *r,
                           bl_error *err) {
  static const char *const hows[] = {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn",
                                     "align_corners", "asymmetric"};
  static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                          "ceil"};
  if (strcmp(bl_node_string(node, "mode", "nearest"), "nearest") != 0)
    return fault(node, BL_ERR_UNSUPPORTED, "only the nearest neighbour is taken", err);
  r->how = ASYMMETRIC;
  r->rounding = FLOOR;
  if (node->op == BL_FLOAT_UPSAMPLE || graph->opset < RESIZE_COORDINATES_FROM) return BL_OK;
  r->how = index_of(bl_node_string(node, "coordinate_transformation_mode", hows[0]), hows, 5);
  r->rounding = index_of(bl_node_string(node, "nearest_mode", roundings[0]), roundings, 4);
  if (r->how < 0 || r->rounding < 0)
    return fault(node, BL_ERR_UNSUPPORTED, "its coordinates or its rounding are not taken", err);
  if (strcmp(bl_node_string(node, "keep_aspect_ratio_policy", "stretch"), "stretch") != 0)
    return fault(node, BL_ERR_UNSUPPORTED, "it keeps an aspect ratio", err);
  return BL_OK;
}

// The scales or sizes: floats, or integers, for each of `count` axes.
typedef struct {
  const float *scales;
  const int64_t *sizes;
  size_t count;
} factors;

static bl_status read_factors(const bl_float_graph *graph, const bl_node *node, factors *f,
                              bl_error *err) {
  const bl_attribute *a = bl_node_attribute(node, "scales");
  bool has_roi = node->op == BL_FLOAT_RESIZE && graph->opset >= RESIZE_COORDINATES_FROM;
  const bl_value *scales = bl_node_input(graph, node, has_roi ? 2 : 1);
  const bl_value *sizes = has_roi ? bl_node_input(graph, node, 3) : NULL;
  *f = (factors){0};
  if (sizes != NULL && sizes->i != NULL)
    *f = (factors){NULL, sizes->i, sizes->count};
  else if (scales != NULL && scales->f != NULL && scales->count > 0)
    *f = (factors){scales->f, NULL, scales->count};
  else if (a != NULL && a->floats != NULL)
    *f = (factors){a->floats, NULL, a->float_count};
  else
    return fault(node, BL_ERR_UNSUPPORTED, "its scales or sizes are not constant", err);
  return BL_OK;
}

static bl_status set_axis(const bl_node *node, bl_resize *r, size_t axis, const factors *f,
                          size_t k, bl_error *err) {
  double in = (double)r->in[axis];
  double out = f->sizes != NULL ? (double)f->sizes[k] : floor(in * (double)f->scales[k]);
  if (!(out >= (in > 0 ? 1 : 0) && out <= MOST) || (in <= 0 && out > 0))
    return fault(node, BL_ERR_RANGE, "a scale or a size is out of range", err);
  r->out[axis] = (int64_t)out;
  r->scale[axis] = f->sizes != NULL ? (in > 0 ? out / in : 1) : (double)f->scales[k];
  return BL_OK;
}

bl_status bl_node_resize(const bl_float_graph *graph, const bl_node *node, bl_resize *resize,
                         bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const bl_attribute *axes = bl_node_attribute(node, "axes");
  factors f;
  *resize = (bl_resize){.rank = in->rank};
  BL_TRY(read_rule(graph, node, resize, err));
  BL_TRY(read_factors(graph, node, &f, err));
  if (f.count != (axes != NULL ? axes->int_count : in->rank) || f.count > in->rank)
    return fault(node, BL_ERR_FORMAT, "it needs a scale or a size for each axis", err);
  for (uint32_t k = 0; k < in->rank; k++) {
    resize->in[k] = resize->out[k] = in->dims[k];
    resize->scale[k] = 1;
  }
  for (size_t k = 0; k < f.count; k++) {
    int64_t axis = axes != NULL ? axes->ints[k] : (int64_t)k;
    if (axis < 0) axis += in->rank;
    if (axis < 0 || axis >= in->rank)
      return fault(node, BL_ERR_RANGE, "an axis is out of range", err);
    BL_TRY(set_axis(node, resize, (size_t)axis, &f, k, err));
  }
  return BL_OK;
}

int64_t bl_resize_source(const bl_resize *resize, uint32_t axis, int64_t x) {
  double at = (double)x, scale = resize->scale[axis];
  int64_t in = resize->in[axis], out = resize->out[axis];
  switch (resize->how) {
  case ALIGN_CORNERS:
    at = out == 1 ? 0 : at * (double)(in - 1) / (double)(out - 1);
    break;
  case ASYMMETRIC:
    at /= scale;
    break;
  case TF_HALF_PIXEL:
    at = (at + 0.5) / scale;
    break;
  default:
    at = resize->how == PYTORCH_HALF_PIXEL && out <= 1 ? 0 : (at + 0.5) / scale - 0.5;
  }
  at = resize->rounding == PREFER_FLOOR  ? ceil(at - 0.5)
       : resize->rounding == PREFER_CEIL ? floor(at + 0.5)
       : resize->rounding == FLOOR       ? floor(at)
                                         : ceil(at);
  int64_t from = (int64_t)at;
  return from < 0 ? 0 : from >= in ? in - 1 : from;
}
