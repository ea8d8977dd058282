// SPDX-License-Identifier: Apache-2.0
// The only C++ source of the kit: a C interface on one Verilated configuration: -DCONFIG=name
// -DMODEL=class -DMODEL_HEADER='"class.h"' -DROOT_HEADER='"class___024root.h"'. With NETLIST
// the model is a netlist: its signals have no names, so it has neither activity nor waveform.
#include "sim/rtl_model.h"

#include <memory>
#include <new>
#include <string>

#include MODEL_HEADER
#include "verilated.h"
#ifndef NETLIST
#include ROOT_HEADER
#include "verilated_fst_c.h"
#endif

namespace {

struct Model {
  VerilatedContext context;
  std::unique_ptr<MODEL> top;
#ifndef NETLIST
  std::unique_ptr<VerilatedFstC> trace;
#endif
};

#ifndef NETLIST
uint32_t activity_of(const MODEL *top) {
  const auto *r = top->rootp;
  return r->bitloom_top__DOT__u_counters__DOT__now |
         static_cast<uint32_t>(r->bitloom_top__DOT__u_counters__DOT__taken) << 9 |
         static_cast<uint32_t>(r->bitloom_top__DOT__activity) << 10;
}

void dump(Model *m) {
  if (m->trace) m->trace->dump(m->context.time());
}

void close_trace(Model *m) {
  if (m->trace) m->trace->close();
  m->trace.reset();
}

int trace(void *model, const char *path) {
  Model *m = static_cast<Model *>(model);
  close_trace(m);
  if (path == nullptr) return 1;
  m->trace = std::make_unique<VerilatedFstC>();
  m->top->trace(m->trace.get(), 99);
  m->trace->open(path);
  return m->trace->isOpen() ? 1 : 0;
}
#else
uint32_t activity_of(const MODEL *) {
  return 0;
}
void dump(Model *) {
}
void close_trace(Model *) {
}
int trace(void *, const char *) {
  return 0;
}
#endif

void *open_model(uint32_t seed) {
  Model *m = new (std::nothrow) Model;
  if (m == nullptr) return nullptr;
  m->context.randReset(2);
  m->context.randSeed(static_cast<int>(seed & 0x7FFFFFFF) | 1);
#ifndef NETLIST
  m->context.traceEverOn(true);
#endif
  m->top = std::make_unique<MODEL>(&m->context);
  return m;
}

void close_model(void *model) {
  Model *m = static_cast<Model *>(model);
  close_trace(m);
  m->top->final();
  delete m;
}

void half_cycle(Model *m, int level) {
  m->top->clk_i = static_cast<uint8_t>(level);
  m->top->eval();
  dump(m);
  m->context.timeInc(1);
}

void cycle(void *model, bl_rtl_pins *p) {
  Model *m = static_cast<Model *>(model);
  MODEL *t = m->top.get();
  t->rst_i = p->rst;
  t->s_axis_tvalid = p->s_valid;
  t->s_axis_tdata = p->s_data;
  t->s_axis_tlast = 0;
  t->m_axis_tready = p->m_ready;
  t->s_axil_awvalid = p->awvalid;
  t->s_axil_awaddr = p->awaddr;
  t->s_axil_wvalid = p->wvalid;
  t->s_axil_wdata = p->wdata;
  t->s_axil_wstrb = 15;
  t->s_axil_bready = p->bready;
  t->s_axil_arvalid = p->arvalid;
  t->s_axil_araddr = p->araddr;
  t->s_axil_rready = p->rready;
  half_cycle(m, 0);
  p->s_ready = t->s_axis_tready;
  p->m_valid = t->m_axis_tvalid;
  p->m_data = t->m_axis_tdata;
  p->m_last = t->m_axis_tlast;
  p->awready = t->s_axil_awready;
  p->wready = t->s_axil_wready;
  p->bvalid = t->s_axil_bvalid;
  p->arready = t->s_axil_arready;
  p->rvalid = t->s_axil_rvalid;
  p->rdata = t->s_axil_rdata;
  p->irq = t->irq_o;
  p->activity = activity_of(t);
  half_cycle(m, 1);
}

} // namespace

#define NAME(config) NAME_OF(config)
#define NAME_OF(config) bl_rtl_model_##config
#define TEXT(config) TEXT_OF(config)
#define TEXT_OF(config) #config

extern "C" const bl_rtl_model NAME(CONFIG) = {TEXT(CONFIG), open_model, close_model, cycle, trace};
