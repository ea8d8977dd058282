// SPDX-License-Identifier: Apache-2.0
// The float executor: runs an imported graph, again and again, with everything allocated once.
#ifndef BITLOOM_HOST_FLOAT_SESSION_H
#define BITLOOM_HOST_FLOAT_SESSION_H

#include "host/graph/float_graph.h"

typedef struct bl_float_session bl_float_session;

// The graph must outlive the session. Errors: MEMORY, UNSUPPORTED.
BL_MUST_USE bl_status bl_float_session_open(const bl_float_graph *graph, bl_float_session **session,
                                            bl_error *err);
void bl_float_session_close(bl_float_session *session);

// Where the caller writes graph input `k` (values[inputs[k]].count elements) before a run.
bl_value *bl_float_session_input(bl_float_session *session, uint32_t k);
// Runs every node. Errors: those of bl_float_eval.
BL_MUST_USE bl_status bl_float_session_run(bl_float_session *session, bl_error *err);
// Any value after a run; constants too.
const bl_value *bl_float_session_value(const bl_float_session *session, int32_t value);

#endif
