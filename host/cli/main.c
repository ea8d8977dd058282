// SPDX-License-Identifier: Apache-2.0
// The `bitloom` command: one program, sub-commands.
#include <stdio.h>

int main(void) {
  (void)fputs("bitloom: no sub-command given; see bitloom --help\n", stderr);
  return 2;
}
