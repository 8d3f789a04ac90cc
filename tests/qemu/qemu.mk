# SPDX-License-Identifier: Apache-2.0
# make check-qemu: QEMU with -accel mshv boots our kernel and Debian's on libmshv-preload.so. Not part of make check: the
# first run makes a Debian 13 root in the cache (465 MB). QEMU_MSHV=path takes another QEMU.
.PHONY: check-qemu
check-qemu:
	@[ -n "$(QEMU_MSHV)" ] || packaging/debian-deps.sh check qemu 2>/dev/null || packaging/debian-deps.sh install qemu || true
	@$(MAKE) --no-print-directory MODE=$(MODE) preload kernel $(O)/tests/qemu/init
	@QEMU_MSHV='$(QEMU_MSHV)' O=$(O) prove $(if $(V),-v) --timer --exec bash tests/qemu/check.sh

$(O)/tests/qemu/init: tests/qemu/init.c $(O)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_all) -O2 -static -o $@ $<
