// SPDX-License-Identifier: Apache-2.0
#include "host/compress/norms.h"

#include "host/graph/float_edit.h"
#include "host/train/statistics.h"

enum { MOST_BATCH = 64 };

static bl_status estimate(bl_network *network, bl_float_graph *graph, bl_error *err) {
  const bl_train_data *data = network->data.calibration;
  const bl_train_options options = {.seed = network->seed};
  bl_train_net *net;
  bl_train_threads(network->threads);
  BL_TRY(bl_train_open(graph, &options, &net, err));
  bl_status status = bl_train_reestimate(net, data, data->count, err);
  if (status == BL_OK) status = bl_train_store(net, network->graph, err);
  bl_train_close(net);
  return status;
}

bl_status bl_network_renormalise(bl_network *network, uint32_t *count, bl_error *err) {
  const bl_train_data *data = network->data.calibration;
  bl_float_graph *graph;
  *count = 0;
  for (uint32_t n = 0; data != NULL && n < network->graph->node_count; n++)
    *count += network->graph->nodes[n].op == BL_FLOAT_BATCH_NORM;
  if (*count == 0) return BL_OK;
  const int64_t batch = data->count < MOST_BATCH ? (int64_t)data->count : MOST_BATCH;
  BL_TRY(bl_float_copy(network->graph, batch, &graph, err));
  const bl_status status = estimate(network, graph, err);
  bl_float_graph_free(graph);
  return status;
}
