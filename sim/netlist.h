// SPDX-License-Identifier: Apache-2.0
// The synthesised netlist as a model for bl_rtl_open_model. It takes minutes to build, so it is a
// library of its own (`make netlist`), loaded when somebody asks for it.
#ifndef BITLOOM_SIM_NETLIST_H
#define BITLOOM_SIM_NETLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "sim/rtl_model.h"

// The configuration that is synthesised.
#define BL_NETLIST_CONFIG "tiny"

typedef struct {
  void *library; // or NULL
  const bl_rtl_model *model;
} bl_netlist;

// Loads libbitloom_netlist.so from the folder netlist/ beside the running program, or from the file
// that BITLOOM_NETLIST names in the environment. On failure (false) `why` gets one line.
bool bl_netlist_load(bl_netlist *netlist, char *why, size_t size);
// Devices made from the model are closed first.
void bl_netlist_unload(bl_netlist *netlist);

#endif
