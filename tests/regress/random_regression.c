// SPDX-License-Identifier: Apache-2.0
// The random regression: layers and networks, compiled and run on a device, every layer compared
// with the reference kernels. Each case has its own device, with stalls seeded by its number.
//   random_regression [--device functional|rtl] [--layers N] [--networks N] [--seed S]
//                     [--stalls P] [--shards N] [--first K] [--features MASK] [--cycles yes]
// With --cycles each run's cycles and reasons, of the rtl device, are compared with the cycle
// model's instead of the values. Prints the seed, the table of what was visited and the
// differences; exit status 1 when there is a difference, a failure, or (from 1000 layers on, with
// all features) an empty cell or a feature that was never drawn. MASK: bit f allows feature f of
// random_graph.h.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/run/device.h"
#include "host/run/shard.h"
#include "tests/regress/random_graph.h"
#include "tests/regress/run_case.h"
#include "tests/regress/run_cost.h"

enum { ATTEMPTS = 40, COMPLETE = 1000 };

typedef struct {
  bl_device_kind kind;
  uint64_t seed;
  uint32_t layers, networks, first, shards, features;
  double stalls;
  bool cycles; // compare them, not the values
} options;

// What a shard sends home.
typedef struct {
  bl_strata strata;
  uint32_t agreed, refused, failed;
  uint64_t compared; // values, or cycles
  uint32_t runs;     // with --cycles
  char first_failure[400];
} tally;

typedef bool (*maker)(uint64_t seed, uint32_t number, uint32_t attempt, uint32_t allowed,
                      bl_random_case *made);

static void note(tally *t, const char *what, uint32_t number, const bl_random_case *made,
                 const char *text) {
  if (t->failed++ > 0) return;
  snprintf(t->first_failure, sizeof t->first_failure, "%s %u (%s): %.300s", what, number,
           made->config == NULL ? "?" : made->config->name, text);
}

static bl_program *draw(maker make, const options *o, uint32_t number, bl_random_case *made,
                        tally *t, const char *what) {
  bl_error err = {0};
  uint32_t allowed = o->features;
  for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
    bl_program *program;
    if (!make(o->seed, number, attempt, allowed, made)) break;
    bl_compile_options compile = {made->config, made->images};
    bl_status status = bl_compile(&made->graph, &compile, &program, &err);
    if (status == BL_OK) return program;
    if (status != BL_ERR_UNSUPPORTED) break;
    allowed = bl_strata_refuse(&t->strata, made, allowed);
    bl_random_free(made);
    t->refused++;
  }
  note(t, what, number, made, err.text);
  return NULL;
}

static bool agree_on_cycles(bl_device *device, const bl_program *program, tally *t, char *text) {
  uint32_t runs;
  uint64_t cycles;
  if (!bl_run_cost(&device->driver, program, &runs, &cycles, text)) return false;
  t->runs += runs;
  t->compared += cycles;
  return true;
}

static bool agree_on_values(bl_device *device, const bl_random_case *made,
                            const bl_program *program, tally *t, char *text) {
  bl_case_result result;
  if (!bl_run_case(&device->driver, &made->graph, program, made->inputs, program->images, 3,
                   &result, text))
    return false;
  t->compared += result.compared;
  if (result.differing == 0) return true;
  snprintf(text, BL_CASE_TEXT,
           "%llu values differ, first in layer %u image %u element %zu: expected %d, got %d",
           (unsigned long long)result.differing, result.layer, result.image, result.element,
           result.expected, result.got);
  return false;
}

static void run_on_device(const options *o, const char *what, uint32_t number,
                          const bl_random_case *made, const bl_program *program, tally *t) {
  bl_error err = {0};
  bl_device device;
  char text[BL_COST_TEXT];
  bl_device_spec spec = {.kind = o->kind,
                         .config = made->config,
                         .stalls = number % 4 == 0 ? 0 : o->stalls,
                         .seed = o->seed * 1000003 + number};
  if (bl_device_open(&spec, &device, &err) != BL_OK) {
    note(t, what, number, made, err.text);
    return;
  }
  bool ok = o->cycles ? agree_on_cycles(&device, program, t, text)
                      : agree_on_values(&device, made, program, t, text);
  bl_device_close(&device);
  if (ok)
    t->agreed++;
  else
    note(t, what, number, made, text);
}

static void run_case_number(const options *o, uint32_t number, tally *t) {
  bl_random_case made = {0};
  bool layer = number < o->layers;
  uint32_t own = o->first + (layer ? number : number - o->layers);
  const char *what = layer ? "layer" : "network";
  bl_program *program = draw(layer ? bl_random_layer : bl_random_network, o, own, &made, t, what);
  if (program == NULL) return;
  run_on_device(o, what, own, &made, program, t);
  bl_strata_count(&t->strata, &made, program);
  bl_program_free(program);
  bl_random_free(&made);
}

// Cases are dealt like cards, so that shards get equal work.
static bl_status work(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                      bl_error *err) {
  const options *o = context;
  (void)err;
  for (uint32_t number = shard; number < o->layers + o->networks; number += o->shards) {
    run_case_number(o, number, result);
    bl_shard_done(tick, 1);
  }
  return BL_OK;
}

static void add(tally *sum, const tally *t) {
  bl_strata_add(&sum->strata, &t->strata);
  sum->agreed += t->agreed;
  sum->refused += t->refused;
  sum->compared += t->compared;
  sum->runs += t->runs;
  if (sum->failed == 0) memcpy(sum->first_failure, t->first_failure, sizeof t->first_failure);
  sum->failed += t->failed;
}

static bool take(options *o, const char *name, const char *value) {
  if (strcmp(name, "--device") == 0)
    o->kind = strcmp(value, "rtl") == 0 ? BL_DEVICE_RTL : BL_DEVICE_FUNCTIONAL;
  else if (strcmp(name, "--layers") == 0)
    o->layers = (uint32_t)strtoul(value, NULL, 10);
  else if (strcmp(name, "--networks") == 0)
    o->networks = (uint32_t)strtoul(value, NULL, 10);
  else if (strcmp(name, "--seed") == 0)
    o->seed = strtoull(value, NULL, 10);
  else if (strcmp(name, "--stalls") == 0)
    o->stalls = strtod(value, NULL);
  else if (strcmp(name, "--shards") == 0)
    o->shards = (uint32_t)strtoul(value, NULL, 10);
  else if (strcmp(name, "--features") == 0)
    o->features = (uint32_t)strtoul(value, NULL, 0) & BL_RANDOM_ALL;
  else if (strcmp(name, "--cycles") == 0)
    o->cycles = strcmp(value, "yes") == 0;
  else if (strcmp(name, "--first") == 0)
    o->first = (uint32_t)strtoul(value, NULL, 10);
  else
    return false;
  return true;
}

static int report(const options *o, const tally *sum) {
  uint32_t empty = bl_strata_print(&sum->strata) + bl_features_print(&sum->strata);
  printf("%s device, seed %llu, stalls %.2f: %u of %u cases agree (%u layers, %u networks), "
         "%llu %s compared, %u drawings refused by the compiler\n",
         bl_device_name(o->kind), (unsigned long long)o->seed, o->stalls, sum->agreed,
         o->layers + o->networks, o->layers, o->networks, (unsigned long long)sum->compared,
         o->cycles ? "cycles" : "values", sum->refused);
  if (o->cycles) printf("%u runs, each with its cycles by reason\n", sum->runs);
  if (sum->failed > 0) printf("FAILED %u, first: %s\n", sum->failed, sum->first_failure);
  return sum->failed > 0 || (o->layers >= COMPLETE && o->features == BL_RANDOM_ALL && empty > 0);
}

int main(int argc, char **argv) {
  options o = {.seed = 1,
               .layers = 1000,
               .networks = 200,
               .shards = 1,
               .stalls = 0.3,
               .features = BL_RANDOM_ALL};
  for (int i = 1; i + 1 < argc; i += 2)
    if (!take(&o, argv[i], argv[i + 1])) argc = 0;
  if (argc % 2 != 1 || o.shards < 1 || o.shards > BL_MAX_SHARDS) {
    fprintf(stderr, "random_regression: see the head of tests/regress/random_regression.c\n");
    return 2;
  }
  bl_error err = {0};
  tally *tallies = calloc(o.shards, sizeof *tallies), sum = {0};
  bl_status status = tallies == NULL ? BL_ERR_MEMORY
                                     : bl_shard_run(o.shards, work, &o, tallies, sizeof *tallies,
                                                    o.layers + o.networks, (bl_progress){0}, &err);
  for (uint32_t s = 0; status == BL_OK && s < o.shards; s++)
    add(&sum, &tallies[s]);
  free(tallies);
  if (status != BL_OK) {
    fprintf(stderr, "random_regression: %s\n", err.text);
    return 1;
  }
  return report(&o, &sum);
}
