# SPDX-License-Identifier: Apache-2.0
# make check-suites: other people's instruction suites, as found; KVM_UNIT_TESTS=DIR adds a built kvm-unit-tests tree.
.PHONY: check-suites
check-suites:
	@packaging/debian-deps.sh check 2>/dev/null || packaging/debian-deps.sh install
	@$(MAKE) --no-print-directory MODE=$(MODE) all kernel
	@bad=0; for s in valgrind selftests; do tests/suites/pod.bash $(O)/bin $$s || bad=1; echo; done; \
	  if [ -n "$(KVM_UNIT_TESTS)" ]; then \
	    tests/suites/kvm-unit-tests.py $(O)/bin/bulkhead-vmm "$(KVM_UNIT_TESTS)" || bad=1; \
	  else echo "kvm-unit-tests: SKIP: no tree given by KVM_UNIT_TESTS="; fi; exit $$bad
