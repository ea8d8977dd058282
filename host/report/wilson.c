// SPDX-License-Identifier: Apache-2.0
#include "host/report/wilson.h"

#include <math.h>

bl_interval bl_wilson(uint64_t correct, uint64_t total) {
  const double z = 1.959964, n = (double)total;
  if (total == 0) return (bl_interval){0, 1};
  const double p = (double)correct / n, middle = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return (bl_interval){correct == 0 ? 0 : middle - half, correct == total ? 1 : middle + half};
}
