# SPDX-License-Identifier: Apache-2.0
# Fuzz targets: tests/fuzz/fuzz_NAME.c with a corpus in tests/fuzz/corpus-NAME. make check replays the corpora;
# make MODE=fuzz fuzz-NAME [SECONDS=60] goes on from there.
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ:%=$(O)/tests/fuzz/%)
ifeq ($(MODE),fuzz)
$(FUZZ_BIN): LDFLAGS += -fsanitize=fuzzer
FUZZ_MAIN :=
else
FUZZ_MAIN := $(O)/tests/fuzz/replay.o
endif
$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(FUZZ_MAIN) $(O)/tests/oracle/garbage.o $(O)/tests/oracle/values.o $(RUNTIME_LIBS)
	@$(call link,$(LIBS))
unit-tests: $(FUZZ_BIN)

.PHONY: fuzz-%
fuzz-%: $(O)/tests/fuzz/fuzz_%
	@mkdir -p $(O)/corpus-$*
	$< -max_total_time=$(or $(SECONDS),60) -max_len=4096 -print_final_stats=1 $(O)/corpus-$* tests/fuzz/corpus-$*
