# SPDX-License-Identifier: Apache-2.0
# vmm/x86 against strangers: the real processor and a disassembler.
ORACLE_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tests/oracle/*.c))
$(O)/tests/unit/test_x86_forms: $(ORACLE_OBJ)
$(O)/tests/unit/test_x86_decode: $(ORACLE_OBJ)
$(O)/tests/unit/test_x86_decode: TEST_LIBS = -lZydis

# make soak [SECONDS=60] [SEED=n] [CASES=n]: a difference is printed with its bytes and the seed.
.PHONY: soak
soak: $(O)/tests/unit/test_x86_forms
	@SECONDS=$(or $(SECONDS),60) SEED=$(or $(SEED),$(shell date +%s)) CASES=$(CASES) $<
