// SPDX-License-Identifier: Apache-2.0
// A Verilated bitloom_top behind C functions: pins in, one clock, pins out.
#ifndef BITLOOM_SIM_RTL_MODEL_H
#define BITLOOM_SIM_RTL_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Inputs are set by the caller, outputs are those before the clock edge of the cycle.
typedef struct {
  uint8_t rst;
  uint8_t s_valid, s_ready; // stream in
  uint32_t s_data;
  uint8_t m_valid, m_ready, m_last; // stream out
  uint32_t m_data;
  uint8_t awvalid, awready, wvalid, wready, bvalid, bready; // registers
  uint8_t arvalid, arready, rvalid, rready;
  uint8_t awaddr, araddr;
  uint32_t wdata, rdata;
  uint8_t irq;
  uint32_t activity; // out: what the blocks do in this cycle, BL_RTL_* of rtl_device.h
} bl_rtl_pins;

typedef struct {
  const char *config;
  // Registers that no reset reaches start random from `seed`. NULL when memory is short.
  void *(*open)(uint32_t seed);
  void (*close)(void *model);
  void (*cycle)(void *model, bl_rtl_pins *pins);
  // Writes every signal to an FST file from now on, until path is NULL; 0 when it cannot.
  int (*trace)(void *model, const char *path);
} bl_rtl_model;

extern const bl_rtl_model bl_rtl_model_tiny, bl_rtl_model_default, bl_rtl_model_wide;

#ifdef __cplusplus
}
#endif
#endif
