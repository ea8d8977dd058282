// SPDX-License-Identifier: Apache-2.0
// The poison record against a model that keeps a rectangle for each memory.
// VERILATE plain: -O3
#include "bench.h"
#include "dut.h"

typedef struct {
  bool marked;
  int first, end, columns;
} mark;

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

static void model(mark *m, bool fail, bool sound, int first, int end, int columns) {
  if (fail && !m->marked) {
    *m = (mark){true, first, end, columns};
  } else if (fail) {
    m->first = first < m->first ? first : m->first;
    m->end = end > m->end ? end : m->end;
    m->columns = columns > m->columns ? columns : m->columns;
  } else if (sound && first <= m->first && end >= m->end && columns >= m->columns) {
    m->marked = false;
  }
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_poison");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  mark marks[7] = {{0}};
  *p.rst_i = 1;
  *p.fail_i = *p.sound_i = *p.clear_i = 0;
  tick(d, &p);
  *p.rst_i = 0;
  for (int i = 0; i < 40000; i++) {
    int memory = (int)(bench_random(&b) % 7), kind = (int)(bench_random(&b) % 8);
    int first = (int)bench_range(&b, 0, 8), end = (int)bench_range(&b, first + 1, 12);
    int columns = (int)bench_range(&b, 1, 3);
    bool fail = kind < 2, sound = kind >= 2 && kind < 6, clear = bench_chance(&b, 1);
    *p.fail_i = fail;
    *p.sound_i = sound;
    *p.clear_i = clear;
    *p.memory_i = (uint8_t)memory;
    *p.first_i = (uint16_t)first;
    *p.end_i = (uint32_t)end;
    *p.columns_i = (uint8_t)columns;
    tick(d, &p);
    model(&marks[memory], fail, sound, first, end, columns);
    unsigned mask = 0;
    for (int m = 0; m < 7; m++) {
      if (clear) marks[m].marked = false;
      mask |= (unsigned)marks[m].marked << m;
    }
    BENCH_EQUAL(&b, "mask", i, mask, *p.mask_o);
  }
  dut_close(d);
  return bench_end(&b, "bench_poison");
}
