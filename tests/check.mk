# SPDX-License-Identifier: Apache-2.0
# make check: one TAP run over unit programs, checks, guest and command-line tests.
.PHONY: check deps-check check-headers check-layers check-format
deps-check:
	@packaging/debian-deps.sh check 2>/dev/null || packaging/debian-deps.sh install

TESTS_TAP = $(UNIT) $(wildcard tests/checks/*.sh tests/agent/*.sh tests/boot/*.bats tests/cli/*.bats) tests/oci/run.sh
check: deps-check
	@$(MAKE) --no-print-directory MODE=$(MODE) check-built
.PHONY: check-built
check-built: all unit-tests $(O)/tests/oci/probe $(SHARE)/vmlinux
	@MODE=$(MODE) O=$(O) CHECK_CC='$(CC) $(CPPFLAGS) $(CFLAGS_all)' BULKHEAD_BIN=$(abspath $(O)/bin) \
	  prove $(if $(V),-v) --timer --exec tests/run-one.sh $(TESTS_TAP)

check-headers:
	@tests/check-headers.sh $(CC) $(CPPFLAGS) $(CFLAGS_all)
check-layers: all
	@tests/check-layers.sh $(O)
check-format:
	@tests/check-format.sh
