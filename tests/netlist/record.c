// SPDX-License-Identifier: Apache-2.0
// Records what passes the streams while a network runs, for tests/netlist/replay.v:
//   record FOLDER MODEL.bloom [options of bitloom run]
// The functional device runs the network, and its results are compared with the reference kernels;
// so what is expected of the netlist comes from neither the netlist nor the RTL.
//
// FOLDER/in.hex has a line for each word in: how many words the host had waited for before it (8
// digits), the word (8). FOLDER/out.hex has a line for each word out: 1 where an answer ends (1),
// a mask of the bits to compare (8), the word (8). Only clock cycles are masked: the info of a
// RUN's answer with its checksum, and the payload of COUNTERS.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/args.h"
#include "host/cli/job.h"

typedef struct {
  FILE *in, *out;
  uint32_t words_in, words_out, awaited;
  uint32_t answer_at, answer_words; // of the answer that comes: words so far, and in all
  uint32_t header[BL_CONTRACT_HEADER_WORDS];
} recorder;

// The host waits for these; that it may not have to wait makes the replay no less valid.
static bool is_awaited(uint32_t opcode) {
  return opcode == BL_OP_FENCE || opcode == BL_OP_IDENTIFY || opcode == BL_OP_COUNTERS;
}

static uint32_t mask_of(const recorder *r) {
  uint32_t opcode = r->header[0] >> 16 & 255u, at = r->answer_at;
  bool counts = opcode == BL_OP_RUN && (at == 3 || at == 4);
  counts = counts || (opcode == BL_OP_COUNTERS && at >= BL_CONTRACT_HEADER_WORDS);
  return counts ? 0 : UINT32_MAX;
}

static void note_out(recorder *r, uint32_t word) {
  if (r->answer_at < BL_CONTRACT_HEADER_WORDS) r->header[r->answer_at] = word;
  if (r->answer_at == 0) r->answer_words = BL_CONTRACT_HEADER_WORDS;
  if (r->answer_at == 1 && word > 0) r->answer_words += (word + 3) / 4 + 1;
  bool last = r->answer_at > 1 && r->answer_at + 1 == r->answer_words;
  (void)fprintf(r->out, "%u%08x%08x\n", (unsigned)last, (unsigned)mask_of(r), (unsigned)word);
  r->answer_at++;
  r->words_out++;
  if (!last) return;
  r->answer_at = 0;
  if (is_awaited(r->header[0] >> 16 & 255u)) r->awaited = r->words_out;
}

static void note(void *context, bool to_device, const uint32_t *words, uint32_t count) {
  recorder *r = context;
  for (uint32_t i = 0; i < count; i++)
    if (to_device)
      (void)fprintf(r->in, "%08x%08x\n", (unsigned)r->awaited, (unsigned)words[i]);
    else
      note_out(r, words[i]);
  if (to_device) r->words_in += count;
}

static FILE *open_file(const char *folder, const char *name) {
  char path[4096];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  if (file == NULL) perror(path);
  return file;
}

static bl_status record(recorder *r, int argc, char **argv, bl_error *err) {
  bl_cli_args args;
  BL_TRY(bl_cli_parse(BL_CMD_RUN, argc, argv, &args, err));
  bl_cli_job job;
  BL_TRY(bl_cli_job_open(&args, "record", 1, &job, err));
  bl_cli_job_device(&job, &args, BL_DEVICE_FUNCTIONAL);
  job.runner.shards = 1;
  job.runner.trace_layer = -1;
  job.runner.device.listener = note;
  job.runner.device.listener_context = r;
  bl_run_result result;
  bl_status status = bl_runner_run(&job.runner, true, NULL, &result, err);
  if (status == BL_OK) {
    if (result.mismatches != 0 || result.compared == 0)
      status = bl_fail(err, BL_ERR_MISMATCH, "the functional device differs from the reference");
    printf("%llu images: %u words in, %u words out, %llu values equal to the reference kernels'\n",
           (unsigned long long)result.samples, (unsigned)r->words_in, (unsigned)r->words_out,
           (unsigned long long)(result.compared - result.mismatches));
    bl_run_result_free(&result);
  }
  bl_cli_job_close(&job);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    (void)fprintf(stderr, "usage: record FOLDER MODEL.bloom [options of bitloom run]\n");
    return 2;
  }
  recorder r = {.in = open_file(argv[1], "in.hex"), .out = open_file(argv[1], "out.hex")};
  if (r.in == NULL || r.out == NULL) return 1;
  bl_error err = {0};
  bl_status status = record(&r, argc - 2, argv + 2, &err);
  if (status != BL_OK) (void)fprintf(stderr, "record: %s\n", err.text);
  bool written = fclose(r.in) == 0;
  written = fclose(r.out) == 0 && written;
  return status == BL_OK && written ? 0 : 1;
}
