# SPDX-License-Identifier: Apache-2.0
# make soak-pods [CONTAINERS=50]: that many containers in one pod, again and again; what grows is printed.
CONTAINERS ?= 50
.PHONY: soak-pods
soak-pods: all
	$(Q)BULKHEAD_POD_CONTAINERS=$(CONTAINERS) BULKHEAD_BIN=$(abspath $(O))/bin O=$(O) bats tests/boot/pods.bats -f 'many containers'

# make soak-stdio [MIB=1024]: that much through standard input and output of a container.
.PHONY: soak-stdio
soak-stdio: all
	@MODE=$(MODE) BULKHEAD_BIN=$(abspath $(O)/bin) BULKHEAD_STDIO_MIB=$(or $(MIB),1024) bats --timing tests/boot/stdio.bats -f "what goes in"
