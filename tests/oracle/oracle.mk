# SPDX-License-Identifier: Apache-2.0
# vmm/x86 against strangers: the real processor and a disassembler.
ORACLE_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tests/oracle/*.c))
$(O)/tests/unit/test_x86_forms: $(ORACLE_OBJ)
