# SPDX-License-Identifier: Apache-2.0
# vmm/x86 against strangers: the real processor and a disassembler.
ORACLE_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tests/oracle/*.c))
$(O)/tests/unit/test_x86_forms $(O)/tests/unit/test_x86_garbage: $(ORACLE_OBJ)
$(O)/tests/unit/test_x86_decode: $(ORACLE_OBJ)
$(O)/tests/unit/test_x86_decode: TEST_LIBS = -lZydis

# make soak [SECONDS=60] [SEED=n] [CASES=n]: a difference is printed with its bytes and the seed.
.PHONY: soak
soak: $(O)/tests/unit/test_x86_forms
	@SECONDS=$(or $(SECONDS),60) SEED=$(or $(SEED),$(shell date +%s)) CASES=$(CASES) $<

# make MODE=asan soak-garbage [STREAMS=1000000] [SEED=n]
.PHONY: soak-garbage
soak-garbage: $(O)/tests/unit/test_x86_garbage
	@STREAMS=$(or $(STREAMS),1000000) SEED=$(or $(SEED),1) $<
