# SPDX-License-Identifier: Apache-2.0
# The demo's network. Its trainer is compiled for speed; the result is checked in.

DIGITS := examples/digits
DIGITS_OBJ := $(call objects,$(DIGITS)/train.c $(DIGITS)/write_onnx.c)
$(DIGITS_OBJ): EXTRA_CFLAGS += -O3 -ffp-contract=off -fassociative-math -fno-signed-zeros -fno-trapping-math

$(BUILD)/digits-train: $(DIGITS_OBJ) $(LIB_HOST)
	$(CXX) -o $@ $^ $(LDLIBS_HOST)

## digits: train the demo's network again (two minutes) into build/digits.onnx
.PHONY: digits
digits: $(BUILD)/digits-train
	$< $(DIGITS)/data $(BUILD)/digits.onnx
