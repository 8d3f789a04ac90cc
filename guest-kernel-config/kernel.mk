# SPDX-License-Identifier: Apache-2.0
# The guest kernel (built once, cached outside build/) and the initramfs that carries the agent.
KERNEL_DIR := guest-kernel-config
CACHE_DIR := $(or $(BULKHEAD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bulkhead)

.PHONY: kernel
kernel: $(SHARE)/vmlinux
$(SHARE)/vmlinux: $(wildcard $(KERNEL_DIR)/*.config) $(KERNEL_DIR)/build.sh | $(O)/flags
	@mkdir -p $(@D)
	$(Q)ln -sf "$$($(KERNEL_DIR)/build.sh)" $@ && touch -h $@

.PHONY: initrd
initrd: $(SHARE)/initrd.cpio
# newc archive with one file: the kernel's built-in default already has /dev/console.
$(SHARE)/initrd.cpio: $(O)/bin/bulkhead-agent
	@mkdir -p $(@D) && rm -rf $(O)/initrd && mkdir -p $(O)/initrd && cp $< $(O)/initrd/init
	$(Q)(cd $(O)/initrd && echo init | cpio --quiet -o -H newc --reproducible -R 0:0) > $@

all: $(SHARE)/initrd.cpio

.PHONY: check-kernel-config
check-kernel-config:
	$(Q)$(KERNEL_DIR)/check-config.sh $(wildcard $(shell $(KERNEL_DIR)/build.sh --config 2>/dev/null))
