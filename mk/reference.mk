# SPDX-License-Identifier: Apache-2.0
# The reference kernels and the moments of refinement run over all calibration samples: their inner
# loops want to be vectorised.
$(BUILD)/obj/host/ref/reference.o $(BUILD)/obj/host/quant/moments.o: CFLAGS += -O3
