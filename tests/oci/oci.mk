# SPDX-License-Identifier: Apache-2.0
# The conformance suite's probe: it runs in containers, so it is static and never built with a sanitizer.
$(O)/tests/oci/probe: $(wildcard tests/oci/probe/*.[ch]) $(O)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_all) -O1 -static -o $@ $(filter %.c,$^)
