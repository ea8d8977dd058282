// SPDX-License-Identifier: Apache-2.0
#include "sim/netlist.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static bool find(char path[PATH_BYTES]) {
  static const char library[] = "netlist/libbitloom_netlist.so";
  const char *given = getenv("BITLOOM_NETLIST");
  if (given != NULL) return snprintf(path, PATH_BYTES, "%s", given) < PATH_BYTES;
  ssize_t length = readlink("/proc/self/exe", path, PATH_BYTES - sizeof library);
  if (length <= 0 || length >= (ssize_t)(PATH_BYTES - sizeof library)) return false;
  path[length] = '\0';
  char *slash = strrchr(path, '/');
  if (slash == NULL) return false;
  memcpy(slash + 1, library, sizeof library);
  return true;
}

bool bl_netlist_load(bl_netlist *netlist, char *why, size_t size) {
  char path[PATH_BYTES];
  *netlist = (bl_netlist){NULL, NULL};
  if (!find(path)) {
    (void)snprintf(why, size, "no path to its library; BITLOOM_NETLIST=FILE names it");
    return false;
  }
  if (access(path, R_OK) != 0) {
    (void)snprintf(why, size, "not built (no %s): run make netlist", path);
    return false;
  }
  netlist->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (netlist->library != NULL)
    netlist->model = dlsym(netlist->library, "bl_rtl_model_" BL_NETLIST_CONFIG);
  if (netlist->model != NULL && strcmp(netlist->model->config, BL_NETLIST_CONFIG) == 0) return true;
  bl_netlist_unload(netlist);
  (void)snprintf(why, size, "%s is not its library: run make netlist again", path);
  return false;
}

void bl_netlist_unload(bl_netlist *netlist) {
  if (netlist->library != NULL) (void)dlclose(netlist->library);
  *netlist = (bl_netlist){NULL, NULL};
}
