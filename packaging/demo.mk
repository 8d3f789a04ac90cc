# SPDX-License-Identifier: Apache-2.0
.PHONY: demo
demo:
	@packaging/debian-deps.sh check build demo 2>/dev/null || packaging/debian-deps.sh install build demo
	@$(MAKE) --no-print-directory MODE=$(MODE) all kernel
	@packaging/demo.sh $(abspath $(O)/bin)
