// SPDX-License-Identifier: Apache-2.0
#include "host/train/peer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"
#include "host/train/loss.h"

struct bl_peer {
  bl_train_net *net;
  double weight;
  bl_optimiser *optimiser;
  bl_schedule schedule;
  bl_train_parameter *parameters;
  uint32_t count;
  float *gradient; // [outputs of the batch]
  float steps;     // of the optimiser, as check-points hold numbers
  uint64_t step;
};

bl_status bl_peer_open(bl_train_net *net, double weight, const bl_optimiser_options *optimiser,
                       const bl_schedule *schedule, bl_peer **peer, bl_error *err) {
  *peer = NULL;
  if (!(weight >= 0))
    return bl_fail(err, BL_ERR_USAGE, "training: the weight of a peer is 0 or more");
  bl_peer *p = calloc(1, sizeof *p);
  if (p == NULL) return bl_fail(err, BL_ERR_MEMORY, "training: no memory for a peer");
  *p = (bl_peer){.net = net, .weight = weight, .schedule = *schedule};
  p->parameters = bl_train_parameters(net, &p->count);
  p->gradient = calloc(bl_train_output_count(net, 0) + 1, sizeof *p->gradient);
  bl_status status =
      p->gradient == NULL
          ? bl_fail(err, BL_ERR_MEMORY, "training: no memory for a peer")
          : bl_optimiser_open(optimiser, p->parameters, p->count, &p->optimiser, err);
  if (status == BL_OK)
    *peer = p;
  else
    bl_peer_close(p);
  return status;
}

void bl_peer_close(bl_peer *peer) {
  if (peer == NULL) return;
  bl_optimiser_close(peer->optimiser);
  free(peer->gradient);
  free(peer);
}

static bl_status before(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                        bl_error *err) {
  bl_peer *p = user;
  (void)net;
  (void)steps;
  (void)err;
  p->step = step;
  *bl_optimiser_steps(p->optimiser) = (uint64_t)p->steps;
  return BL_OK;
}

// Adds weight * KL(other || own) to a gradient; returns the divergence.
static double add_divergence(bl_peer *p, const float *own, const float *other, size_t samples,
                             size_t classes, float *gradient) {
  const double kl = bl_loss_distillation(own, other, NULL, samples, classes, 1, 1, 0, p->gradient);
  for (size_t k = 0; k < samples * classes; k++)
    gradient[k] += (float)p->weight * p->gradient[k];
  return kl;
}

// Of mixed samples in parts with the labels of both.
static void add_labels(bl_peer *p, const float *own, const bl_train_batch *batch, size_t classes,
                       float *gradient) {
  (void)bl_loss_cross_entropy(own, batch->labels, batch->count, classes, 0, gradient);
  if (batch->mixed == NULL) return;
  (void)bl_loss_cross_entropy(own, batch->mixed, batch->count, classes, 0, p->gradient);
  for (size_t k = 0; k < batch->count * classes; k++)
    gradient[k] =
        (float)(batch->part * (double)gradient[k] + (1 - batch->part) * (double)p->gradient[k]);
}

static bl_status step_peer(bl_peer *p, const bl_train_net *net, const bl_train_batch *batch,
                           size_t classes, bl_error *err) {
  const float *own = bl_train_output(p->net, 0);
  float *gradient = bl_train_output_gradient(p->net, 0);
  bl_error inner = {0};
  if (batch->labels != NULL)
    add_labels(p, own, batch, classes, gradient);
  else
    memset(gradient, 0, batch->count * classes * sizeof *gradient);
  (void)add_divergence(p, own, bl_train_output(net, 0), batch->count, classes, gradient);
  BL_TRY(bl_train_backward(p->net, err));
  const double rate = bl_schedule_rate(&p->schedule, p->step);
  if (bl_optimiser_step(p->optimiser, rate, &inner) != BL_OK)
    return bl_fail(err, BL_ERR_RANGE, "training: step %llu: the peer: %s; try a lower rate",
                   (unsigned long long)p->step + 1, inner.text);
  p->steps = (float)*bl_optimiser_steps(p->optimiser);
  return BL_OK;
}

static bl_status loss(void *user, bl_train_net *net, const bl_train_batch *batch, double *sum,
                      bl_error *err) {
  bl_peer *p = user;
  const size_t count = bl_train_output_count(net, 0), classes = count / batch->count;
  const size_t elements = bl_train_graph(net)->values[bl_train_graph(net)->inputs[0]].count;
  if (bl_train_output_count(p->net, 0) != count ||
      bl_train_graph(p->net)->values[bl_train_graph(p->net)->inputs[0]].count != elements)
    return bl_fail(err, BL_ERR_USAGE, "training: the peer has another batch, input or outputs");
  memcpy(bl_train_input(p->net, 0), batch->samples, elements * sizeof(float));
  BL_TRY(bl_train_forward(p->net, true, p->step, err));
  *sum += p->weight * add_divergence(p, bl_train_output(net, 0), bl_train_output(p->net, 0),
                                     batch->count, classes, bl_train_output_gradient(net, 0));
  return step_peer(p, net, batch, classes, err);
}

static float *state(void *user, uint32_t k, size_t *count) {
  bl_peer *p = user;
  *count = 1;
  if (k == 0) return &p->steps;
  if (k > p->count) return bl_optimiser_state(p->optimiser, k - p->count - 1, count);
  *count = p->parameters[k - 1].count;
  return p->parameters[k - 1].data;
}

bl_train_hook bl_peer_hook(bl_peer *peer) {
  return (bl_train_hook){.user = peer,
                         .before = before,
                         .loss = loss,
                         .state = state,
                         .key = bl_random_key(7, (uint64_t)llround(peer->weight * 1e9))};
}
