// SPDX-License-Identifier: Apache-2.0
// Editing a float graph: what rewrites a network (pruning, low rank, storing quantisers) takes
// nodes out, puts others in and keeps names unique and shapes known.
//
// Indices of values stay valid; pointers to values do not survive a new value, pointers to nodes do
// not survive a splice or a sweep.
#ifndef BITLOOM_HOST_GRAPH_FLOAT_EDIT_H
#define BITLOOM_HOST_GRAPH_FLOAT_EDIT_H

#include "host/graph/float_graph.h"

// The index of the value or node of that name (NULL: none has it), -1: none.
int32_t bl_float_find_value(const bl_float_graph *graph, const char *name);
int32_t bl_float_find_node(const bl_float_graph *graph, const char *name);
// The node that gives the value, -1: none (an input or a constant).
int32_t bl_float_producer(const bl_float_graph *graph, int32_t value);
// How many inputs of nodes, and outputs of the graph, are the value.
uint32_t bl_float_readers(const bl_float_graph *graph, int32_t value);

// The same of all values at once, as the graph is now: what looks at every node asks this.
typedef struct {
  int32_t *producer; // [value_count]
  uint32_t *readers; // [value_count]
} bl_float_uses;
// Errors: MEMORY.
BL_MUST_USE bl_status bl_float_find_uses(bl_float_graph *graph, bl_float_uses *uses, bl_error *err);

// A new value named base + suffix (and a number, where the name is taken), of type float and
// without shape or data. Errors: MEMORY.
BL_MUST_USE bl_status bl_float_add_value(bl_float_graph *graph, const char *base,
                                         const char *suffix, int32_t *index, bl_error *err);
// A new float constant; `data` is copied, NULL: zeros. Errors: RANGE, MEMORY.
BL_MUST_USE bl_status bl_float_add_constant(bl_float_graph *graph, const char *base,
                                            const char *suffix, uint32_t rank, const int64_t *dims,
                                            const float *data, int32_t *index, bl_error *err);
// The same of int64, e.g. the shape of a Reshape.
BL_MUST_USE bl_status bl_float_add_integers(bl_float_graph *graph, const char *base,
                                            const char *suffix, uint32_t rank, const int64_t *dims,
                                            const int64_t *data, int32_t *index, bl_error *err);

// A node that is not in the graph yet, named base + suffix as above, that reads `inputs` (-1:
// absent) and gives value `output`; output -1: a new value of the node's name. It has no
// attributes. Errors: MEMORY.
BL_MUST_USE bl_status bl_float_make_node(bl_float_graph *graph, bl_float_op op, const char *base,
                                         const char *suffix, const int32_t *inputs,
                                         uint32_t input_count, int32_t output, bl_node *node,
                                         bl_error *err);
// Gives a node an attribute; one of that name is replaced, so that other nodes that were copied
// from the same one keep theirs. Errors: MEMORY.
BL_MUST_USE bl_status bl_float_set_int(bl_float_graph *graph, bl_node *node, const char *name,
                                       int64_t value, bl_error *err);
BL_MUST_USE bl_status bl_float_set_ints(bl_float_graph *graph, bl_node *node, const char *name,
                                        const int64_t *values, size_t count, bl_error *err);
BL_MUST_USE bl_status bl_float_set_float(bl_float_graph *graph, bl_node *node, const char *name,
                                         float value, bl_error *err);
BL_MUST_USE bl_status bl_float_set_string(bl_float_graph *graph, bl_node *node, const char *name,
                                          const char *value, bl_error *err);

// Takes `removed` nodes out from position `at` and puts `count` nodes there; the shapes of what
// they give are inferred. at + removed is at most node_count. Errors: USAGE, MEMORY, and those of
// bl_float_infer.
BL_MUST_USE bl_status bl_float_splice(bl_float_graph *graph, uint32_t at, uint32_t removed,
                                      const bl_node *nodes, uint32_t count, bl_error *err);
// Every node in the graph that reads `from` reads `to` from now on.
void bl_float_redirect(bl_float_graph *graph, int32_t from, int32_t to);
// Takes out the nodes whose outputs nothing needs. Errors: MEMORY.
BL_MUST_USE bl_status bl_float_sweep(bl_float_graph *graph, bl_error *err);
// Infers all shapes again, in order. Errors: those of bl_float_infer.
BL_MUST_USE bl_status bl_float_infer_all(bl_float_graph *graph, bl_error *err);

// Is the node a Reshape of data to a constant shape that starts with the batch `batch` of the
// file, and stands in the way of another? (Its input has its new shape already.)
bool bl_float_carries_batch(const bl_float_graph *graph, const bl_node *node, int64_t batch);
// An independent copy, with `batch` images (0: as many as it has) and all shapes inferred again.
// Indices stay the same; constants that nothing reads are left out. Freed with
// bl_float_graph_free. Errors: MEMORY, and those of bl_float_infer.
BL_MUST_USE bl_status bl_float_copy(const bl_float_graph *graph, int64_t batch,
                                    bl_float_graph **copy, bl_error *err);

#endif
