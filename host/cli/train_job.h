// SPDX-License-Identifier: Apache-2.0
// What bitloom train works on: the network, its teacher, the data, the options, all from the
// command line.
#ifndef BITLOOM_HOST_CLI_TRAIN_JOB_H
#define BITLOOM_HOST_CLI_TRAIN_JOB_H

#include "host/cli/args.h"
#include "host/train/average.h"
#include "host/train/distil.h"
#include "host/train/peer.h"
#include "host/train/quant_aware.h"
#include "host/train/trainer.h"

typedef struct {
  bl_float_graph *graph, *teacher_graph;
  bl_train_net *net, *teacher;
  bl_quant_aware *aware; // NULL: float
  bl_codebook codebook;
  bl_distil *distil; // NULL: logits only
  bl_answers *answers;
  bl_average *average;
  bl_float_graph *peer_graph;
  bl_train_net *peer_net;
  bl_peer *peer; // what learns at the same time
  bl_train_hook hooks[4];
  bl_train_data data, test;
  bool has_test;
  bl_trainer_options options;
} bl_train_job;

// Opens everything; to be closed in any case. Errors: those of its parts, USAGE.
BL_MUST_USE bl_status bl_train_job_open(const bl_cli_args *args, bl_train_job *job, bl_error *err);
// Behind the last step: takes the average, estimates statistics again. *changed: the network is not
// the one that was tested last.
BL_MUST_USE bl_status bl_train_job_finish(const bl_cli_args *args, bl_train_job *job, bool *changed,
                                          bl_error *err);
void bl_train_job_close(bl_train_job *job);
// Writes the trained network to --output: the file's own batch, free where it was free; with --bits
// its integers fixed. Errors:
// IO, those of the import.
BL_MUST_USE bl_status bl_train_job_write(const bl_cli_args *args, const bl_train_job *job,
                                         bl_error *err);

#endif
