# SPDX-License-Identifier: Apache-2.0
.PHONY: bench
bench:
	@packaging/debian-deps.sh check 2>/dev/null || packaging/debian-deps.sh install
	@$(MAKE) --no-print-directory MODE=$(MODE) all kernel
	@bash tests/bench/bench.sh $(abspath $(O)/bin) $(abspath $(SHARE))

# The table of docs/sizing.md, anew.
.PHONY: calibrate-sizing
calibrate-sizing:
	@$(MAKE) --no-print-directory MODE=$(MODE) all kernel
	@bash tests/bench/calibrate-sizing.sh $(abspath $(O)/bin)
