# SPDX-License-Identifier: Apache-2.0
# The driver compiles and links as freestanding C99; part of `make test`.
TEST_COMMANDS += tests/house/check_freestanding
