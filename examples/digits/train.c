// SPDX-License-Identifier: Apache-2.0
// Trains the demo's network and writes it as ONNX; `make digits` runs it.
//
//   1x8x8 - conv 3x3, 16 - ReLU - conv 3x3, 32 - ReLU - max 2x2 - conv 3x3, 32 - ReLU - max 2x2 -
//   flatten - fully connected, 10
//
// One set of weights has to serve at any precision. Seen as binary they are alpha * sign(w), alpha
// the channel's mean magnitude (XNOR-Net, Rastegari et al. 2016). Seen as float they lie a quarter
// of the way from there to w, which changes neither the signs nor alpha; those are what is written.
// Every mini-batch draws one of the two views, the gradient passing straight through, and half of
// the time rounds activations to 4 bits over the layer's usual range. Plain loops: the network is
// small enough. Deterministic for a seed.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/digits/write_onnx.h"
#include "host/data/dataset.h"

enum { TRAIN = 1097, VALIDATION = 200, EPOCHS = 150, BATCH = 16, CLASSES = 10, LAYERS = 4 };
static const float LEARNING_RATE = 0.02f, MOMENTUM = 0.9f, DECAY = 1e-4f;
static const float FREEDOM = 0.25f;    // of float weights, from alpha * sign(w) towards w
static const float RANGE_RATE = 0.01f; // at which a layer's range follows the largest activations

// A convolution with zero padding on a square map, HWC, kernel k x k, then ReLU and 2x2 maximum
// pooling where asked. The last layer is a convolution as large as its map.
typedef struct {
  int size, in, k, pad, out; // map side, input channels, kernel, padding, output channels
  bool relu, pool;
} shape;

static const shape shapes[LAYERS] = {{8, 1, 3, 1, 16, true, false},
                                     {8, 16, 3, 1, 32, true, true},
                                     {4, 32, 3, 1, 32, true, true},
                                     {2, 32, 2, 0, CLASSES, false, false}};

enum { MAX_ACTIVATION = 8 * 8 * 32, MAX_WEIGHTS = 9 * 32 * 32 };

typedef struct {
  float w[MAX_WEIGHTS], seen[MAX_WEIGHTS], grad[MAX_WEIGHTS], speed[MAX_WEIGHTS]; // [out][k][k][in]
  float b[32], b_grad[32], b_speed[32];
  float conv[MAX_ACTIVATION]; // after ReLU
  int picked[MAX_ACTIVATION]; // where the pooled value came from
  float out[MAX_ACTIVATION];  // after pooling and rounding
  float d_conv[MAX_ACTIVATION], d_out[MAX_ACTIVATION];
  float range; // of the activations, as 4 bits see them
} layer;

typedef struct {
  layer layers[LAYERS];
  float input[64], d_input[64];
  uint64_t random;
  bool binary, rounded; // how this mini-batch sees weights and activations
  bool training;        // ranges follow what is seen
} network;

static uint32_t next_random(network *net) {
  net->random ^= net->random >> 12;
  net->random ^= net->random << 25;
  net->random ^= net->random >> 27;
  return (uint32_t)((net->random * 0x2545F4914F6CDD1Du) >> 32);
}

static float uniform(network *net) {
  return (float)next_random(net) / 4294967296.0f;
}

static int conv_size(const shape *s) {
  return s->size + 2 * s->pad - s->k + 1;
}

static int fan_in(const shape *s) {
  return s->k * s->k * s->in;
}

// ---- Forward
// -------------------------------------------------------------------------------------

static void see_weights(network *net) {
  for (int l = 0; l < LAYERS; l++) {
    int fan = fan_in(&shapes[l]);
    for (int n = 0; n < shapes[l].out; n++) {
      const float *w = net->layers[l].w + n * fan;
      float *seen = net->layers[l].seen + n * fan, alpha = 0;
      for (int i = 0; i < fan; i++)
        alpha += fabsf(w[i]) / (float)fan;
      for (int i = 0; i < fan; i++) {
        float sign = w[i] >= 0 ? alpha : -alpha;
        seen[i] = net->binary ? sign : sign + FREEDOM * (w[i] - sign);
      }
    }
  }
}

static void convolve(const shape *s, const layer *y, const float *in, float *out) {
  int side = conv_size(s);
  for (int oy = 0; oy < side; oy++)
    for (int ox = 0; ox < side; ox++)
      for (int n = 0; n < s->out; n++) {
        float sum = y->b[n];
        for (int ky = 0; ky < s->k; ky++)
          for (int kx = 0; kx < s->k; kx++) {
            int iy = oy + ky - s->pad, ix = ox + kx - s->pad;
            if (iy < 0 || ix < 0 || iy >= s->size || ix >= s->size) continue;
            const float *a = in + (iy * s->size + ix) * s->in;
            const float *w = y->seen + ((n * s->k + ky) * s->k + kx) * s->in;
            for (int c = 0; c < s->in; c++)
              sum += a[c] * w[c];
          }
        out[(oy * side + ox) * s->out + n] = s->relu && sum < 0 ? 0 : sum;
      }
}

static void pool(const shape *s, layer *y) {
  int side = conv_size(s), half = side / 2;
  for (int p = 0; p < half * half; p++)
    for (int n = 0; n < s->out; n++) {
      int best = -1;
      for (int k = 0; k < 4; k++) {
        int at = ((p / half * 2 + k / 2) * side + p % half * 2 + k % 2) * s->out + n;
        if (best < 0 || y->conv[at] > y->conv[best]) best = at;
      }
      y->picked[p * s->out + n] = best;
      y->out[p * s->out + n] = y->conv[best];
    }
}

static int outputs(const shape *s) {
  int side = s->pool ? conv_size(s) / 2 : conv_size(s);
  return side * side * s->out;
}

// 4-bit steps over the layer's range; what lies beyond is cut.
static void round_activations(const shape *s, layer *y) {
  for (int i = 0; i < outputs(s); i++)
    y->out[i] = roundf(fminf(y->out[i] / y->range, 1) * 15) * y->range / 15;
}

static void follow_range(const shape *s, layer *y) {
  float top = 1e-6f;
  for (int i = 0; i < outputs(s); i++)
    top = fmaxf(top, y->out[i]);
  y->range += y->range == 0 ? top : RANGE_RATE * (top - y->range);
}

static const float *forward(network *net) {
  const float *in = net->input;
  for (int l = 0; l < LAYERS; l++) {
    const shape *s = &shapes[l];
    layer *y = &net->layers[l];
    convolve(s, y, in, y->conv);
    if (s->pool)
      pool(s, y);
    else
      memcpy(y->out, y->conv, (size_t)outputs(s) * sizeof *y->out);
    if (net->training && s->relu) follow_range(s, y);
    if (net->rounded && s->relu) round_activations(s, y);
    in = y->out;
  }
  return in;
}

// ---- Backward
// --------------------------------------------------------------------------------------

static void unpool(const shape *s, layer *y, bool rounded) {
  int side = conv_size(s), count = side * side * s->out;
  if (!s->pool) {
    memcpy(y->d_conv, y->d_out, (size_t)count * sizeof *y->d_conv);
  } else {
    memset(y->d_conv, 0, (size_t)count * sizeof *y->d_conv);
    for (int i = 0; i < outputs(s); i++)
      y->d_conv[y->picked[i]] += y->d_out[i];
  }
  for (int i = 0; s->relu && i < count; i++)
    if (y->conv[i] <= 0 || (rounded && y->conv[i] > y->range)) y->d_conv[i] = 0;
}

static void convolve_back(const shape *s, layer *y, const float *in, float *d_in) {
  int side = conv_size(s);
  memset(d_in, 0, (size_t)(s->size * s->size * s->in) * sizeof *d_in);
  for (int at = 0; at < side * side; at++)
    for (int n = 0; n < s->out; n++) {
      float d = y->d_conv[at * s->out + n];
      if (d == 0) continue;
      y->b_grad[n] += d;
      for (int ky = 0; ky < s->k; ky++)
        for (int kx = 0; kx < s->k; kx++) {
          int iy = at / side + ky - s->pad, ix = at % side + kx - s->pad;
          if (iy < 0 || ix < 0 || iy >= s->size || ix >= s->size) continue;
          int a = (iy * s->size + ix) * s->in, w = ((n * s->k + ky) * s->k + kx) * s->in;
          for (int c = 0; c < s->in; c++) {
            y->grad[w + c] += d * in[a + c];
            d_in[a + c] += d * y->seen[w + c];
          }
        }
    }
}

static void backward(network *net, const float *d_logits) {
  memcpy(net->layers[LAYERS - 1].d_out, d_logits, CLASSES * sizeof *d_logits);
  for (int l = LAYERS - 1; l >= 0; l--) {
    unpool(&shapes[l], &net->layers[l], net->rounded);
    convolve_back(&shapes[l], &net->layers[l], l > 0 ? net->layers[l - 1].out : net->input,
                  l > 0 ? net->layers[l - 1].d_out : net->d_input);
  }
}

// Cross entropy of the softmax; *d_logits gets its gradient, divided by the batch.
static float loss_of(const float *logits, int label, float *d_logits) {
  float top = logits[0], sum = 0;
  for (int i = 1; i < CLASSES; i++)
    top = fmaxf(top, logits[i]);
  for (int i = 0; i < CLASSES; i++)
    sum += expf(logits[i] - top);
  for (int i = 0; i < CLASSES; i++)
    d_logits[i] = (expf(logits[i] - top) / sum - (i == label ? 1.0f : 0.0f)) / BATCH;
  return logf(sum) + top - logits[label];
}

static void step(float *w, float *grad, float *speed, int count, float rate) {
  for (int i = 0; i < count; i++) {
    speed[i] = MOMENTUM * speed[i] - rate * (grad[i] + DECAY * w[i]);
    w[i] += speed[i];
    grad[i] = 0;
  }
}

// ---- Training
// --------------------------------------------------------------------------------------

static float images[TRAIN + VALIDATION][64];
static int labels[TRAIN + VALIDATION];

static bl_status read_digits(const char *folder, bl_error *err) {
  char image_path[512], label_path[512];
  (void)snprintf(image_path, sizeof image_path, "%s/train-images.idx3-ubyte.gz", folder);
  (void)snprintf(label_path, sizeof label_path, "%s/train-labels.idx1-ubyte.gz", folder);
  bl_dataset_source source = {.images = image_path, .labels = label_path};
  bl_dataset data;
  BL_TRY(bl_dataset_open(&source, &data, err));
  bl_preprocess identity = bl_preprocess_identity();
  bl_status status = data.count == TRAIN + VALIDATION && data.elements == 64
                         ? BL_OK
                         : bl_fail(err, BL_ERR_FORMAT, "%s: not 1,297 digits of 8x8", image_path);
  for (size_t i = 0; i < TRAIN + VALIDATION && status == BL_OK; i++) {
    double values[64];
    status = bl_dataset_read(&data, i, &identity, BL_LAYOUT_FILE, values, err);
    for (int k = 0; k < 64; k++)
      images[i][k] = (float)values[k];
    labels[i] = (int)bl_dataset_label(&data, i);
  }
  bl_dataset_free(&data);
  return status;
}

// A digit moved by up to one pixel, values 0..16 scaled to 0..1.
static void show(network *net, int index, bool moved) {
  int dy = moved ? (int)(next_random(net) % 3) - 1 : 0,
      dx = moved ? (int)(next_random(net) % 3) - 1 : 0;
  for (int i = 0; i < 64; i++) {
    int y = i / 8 + dy, x = i % 8 + dx;
    net->input[i] = y >= 0 && y < 8 && x >= 0 && x < 8 ? images[index][y * 8 + x] / 16 : 0;
  }
}

static int validate(network *net, bool binary, bool rounded) {
  int correct = 0;
  net->binary = binary;
  net->rounded = rounded;
  net->training = false;
  see_weights(net);
  for (int i = TRAIN; i < TRAIN + VALIDATION; i++) {
    show(net, i, false);
    const float *logits = forward(net);
    int best = 0;
    for (int n = 1; n < CLASSES; n++)
      if (logits[n] > logits[best]) best = n;
    correct += best == labels[i];
  }
  return correct;
}

static void initialise(network *net) {
  for (int l = 0; l < LAYERS; l++) {
    int fan = fan_in(&shapes[l]);
    float bound = sqrtf(6.0f / (float)fan);
    for (int i = 0; i < fan * shapes[l].out; i++)
      net->layers[l].w[i] = (2 * uniform(net) - 1) * bound;
  }
}

static float train_batch(network *net, const int *order, float rate) {
  float loss = 0, d_logits[CLASSES];
  net->binary = next_random(net) % 2 == 0;
  net->rounded = next_random(net) % 2 == 0;
  net->training = true;
  see_weights(net);
  for (int i = 0; i < BATCH; i++) {
    show(net, order[i], true);
    const float *logits = forward(net);
    loss += loss_of(logits, labels[order[i]], d_logits);
    backward(net, d_logits);
  }
  for (int l = 0; l < LAYERS; l++) {
    layer *y = &net->layers[l];
    step(y->w, y->grad, y->speed, fan_in(&shapes[l]) * shapes[l].out, rate);
    step(y->b, y->b_grad, y->b_speed, shapes[l].out, rate);
  }
  return loss;
}

static void train(network *net, int epochs) {
  int order[TRAIN];
  for (int i = 0; i < TRAIN; i++)
    order[i] = i;
  for (int epoch = 0; epoch < epochs; epoch++) {
    float loss = 0,
          rate = LEARNING_RATE * 0.5f * (1 + cosf(3.14159265f * (float)epoch / (float)epochs));
    for (int i = TRAIN - 1; i > 0; i--) {
      int j = (int)(next_random(net) % (uint32_t)(i + 1)), t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
    for (int i = 0; i + BATCH <= TRAIN; i += BATCH)
      loss += train_batch(net, order + i, rate);
    (void)printf("epoch %2d: loss %.4f, validation float %d, w1 %d, a4 %d, w1a4 %d of %d\n",
                 epoch + 1, (double)loss / TRAIN, validate(net, false, false),
                 validate(net, true, false), validate(net, false, true), validate(net, true, true),
                 VALIDATION);
    (void)fflush(stdout);
  }
}

static bl_status write_network(network *net, const char *path, bl_error *err) {
  digits_layer out[LAYERS];
  net->binary = false;
  see_weights(net);
  for (int l = 0; l < LAYERS; l++)
    out[l] = (digits_layer){shapes[l].in,   shapes[l].k,    shapes[l].pad,       shapes[l].out,
                            shapes[l].relu, shapes[l].pool, net->layers[l].seen, net->layers[l].b};
  return digits_write_onnx(path, out, LAYERS, err);
}

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) {
    (void)fprintf(stderr, "usage: train DATA-FOLDER OUTPUT.onnx [EPOCHS]\n");
    return 2;
  }
  static network net = {.random = 20240229};
  bl_error err = {0};
  bl_status status = read_digits(argv[1], &err);
  if (status == BL_OK) {
    initialise(&net);
    train(&net, argc == 4 ? atoi(argv[3]) : EPOCHS);
    status = write_network(&net, argv[2], &err);
  }
  if (status != BL_OK) (void)fprintf(stderr, "train: %s\n", err.text);
  return status == BL_OK ? 0 : 1;
}
