// SPDX-License-Identifier: Apache-2.0
// The whole accelerator of `tiny` with accumulators of other widths: layers that fill one to its
// last value, compiled and run through the driver, against the reference kernels.
// The streams never stall here; bench_top and the random regression have that.
// LINK tests/support/extreme_sums.o tests/regress/run_case.o
// LINK ../lib/libbitloom.a ../lib/libbitloom_driver.a
// clang-format off
// VERILATE all: -GGATHER_WORDS=1 -GROWS=2 -GCOLS=8 -GLANES=16 -GWEIGHT_DEPTH=4096 -GPARAM_DEPTH=64 -GK_DEPTH=2048 -GTILE_DEPTH=128 -GTABLE_DEPTH=512
// VERILATE w16: -GACC_W=16
// VERILATE w20: -GACC_W=20
// VERILATE w32: -GACC_W=32
// clang-format on
#include "bench.h"
#include "dut.h"
#include "tests/support/extreme_sums.h"

enum { PATIENCE = 2000000, RECEIVED = 1 << 16, MOST_INPUTS = 12000 };

typedef struct {
  dut *d;
  dut_ports p;
  uint32_t received[RECEIVED], head, count;
} top;

// One clock with a word on offer or none; true when it was taken.
static bool cycle(top *t, const uint32_t *word) {
  dut_ports *p = &t->p;
  *p->s_axis_tvalid = word != NULL;
  if (word != NULL) *p->s_axis_tdata = *word;
  *p->m_axis_tready = t->count < RECEIVED;
  *p->clk_i = 0;
  dut_eval(t->d);
  bool taken = word != NULL && *p->s_axis_tready;
  if (*p->m_axis_tvalid && *p->m_axis_tready)
    t->received[(t->head + t->count++) % RECEIVED] = *p->m_axis_tdata;
  *p->clk_i = 1;
  dut_eval(t->d);
  return taken;
}

static int32_t top_write(void *context, const uint32_t *words, uint32_t count) {
  top *t = context;
  uint32_t sent = 0;
  while (sent < count && sent < INT32_MAX && cycle(t, &words[sent]))
    sent++;
  return (int32_t)sent;
}

static int32_t top_read(void *context, uint32_t *words, uint32_t count) {
  top *t = context;
  if (count > t->count) count = t->count;
  for (uint32_t i = 0; i < count; i++)
    words[i] = t->received[(t->head + i) % RECEIVED];
  t->head = (t->head + count) % RECEIVED;
  t->count -= count;
  return (int32_t)count;
}

static int32_t top_wait(void *context) {
  (void)cycle(context, NULL);
  return 0;
}

static void reset(top *t) {
  dut_ports *p = &t->p;
  *p->rst_i = 1;
  *p->s_axil_awvalid = *p->s_axil_wvalid = *p->s_axil_bready = 0;
  *p->s_axil_arvalid = *p->s_axil_rready = 0;
  for (int i = 0; i < 8; i++)
    (void)cycle(t, NULL);
  *p->rst_i = 0;
  t->count = 0;
}

static void run(bench *b, bl_driver *driver, const bl_config *config, int kind, int form) {
  const bl_extreme_spec spec = {.kind = (bl_extreme_kind)kind,
                                .acc_w = ACC_W,
                                .pixels = (form & 1) != 0,
                                .codes = (form & 2) != 0};
  char text[BL_EXTREME_TEXT] = "";
  bl_extreme made;
  if (bl_extreme_make(&spec, &made) && made.inputs <= MOST_INPUTS) {
    bool ok = bl_extreme_run(&spec, &made, config, driver, text);
    if (!ok) (void)printf("%s: %s\n", bl_extreme_name(spec.kind), text);
    BENCH_EQUAL(b, bl_extreme_name(spec.kind), form, true, ok);
  }
  bl_extreme_free(&made);
}

int main(int argc, char **argv) {
  static const bl_transport transport = {top_write, top_read, top_wait, NULL, NULL};
  static top t;
  bench b = bench_begin(argc, argv, "sums");
  bl_config config = BL_CONFIGS[BL_CONFIG_TINY];
  bl_driver driver;
  config.acc_w = ACC_W;
  t.d = dut_open(argc, argv, &t.p);
  reset(&t);
  (void)bl_driver_open(&driver, &transport, &t, PATIENCE);
  BENCH_EQUAL(&b, "identity", 0, BL_DRIVER_OK, bl_driver_identify(&driver, &config, NULL));
  for (int kind = 0; kind < BL_EXTREME_KINDS; kind++)
    for (int form = 0; form < 4; form++)
      run(&b, &driver, &config, kind, form);
  dut_close(t.d);
  (void)printf("accumulators of %d bits\n", ACC_W);
  return bench_end(&b, "sums");
}
