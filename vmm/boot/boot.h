// SPDX-License-Identifier: Apache-2.0
// Getting a Linux kernel into memory and a vCPU to its 64-bit entry point.
//
// Low memory: 0x1000 GDT and TSS, 0x2000 page tables (identity, 4 GiB by 1 GiB pages), 0x7000 zero page,
// 0x8000 setup_data, 0x10000 command line, 0x20000 device tree; the kernel at 1 MiB and up; the initramfs at the end of
// low RAM.
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include <stdint.h>

#include "vmm/x86/x86.h"

struct err;
struct mem;

enum {
	BOOT_GDT = 0x1000,
	BOOT_TSS = 0x1100,
	BOOT_TABLES = 0x2000,
	BOOT_ZERO_PAGE = 0x7000,
	BOOT_SETUP_DATA = 0x8000,
	BOOT_CMDLINE = 0x10000,
	BOOT_CMDLINE_MAX = 0x800,
	BOOT_FDT = 0x20000,
	BOOT_FDT_MAX = 0x10000,
	BOOT_KERNEL_MIN = 0x100000
};

// Loads a 64-bit ELF executable's segments at their physical addresses. The file is hostile. *ret_end: first byte after.
int boot_elf_load(struct mem *mem, int fd, uint64_t *ret_entry, uint64_t *ret_end, struct err *e);

struct boot_virtio {
	uint64_t base;
	unsigned gsi;
};

struct boot_info {
	const char *cmdline;
	uint64_t initrd_gpa, initrd_bytes; // 0: none
	unsigned vcpus;
	const struct boot_virtio *virtio;
	unsigned n_virtio;
};

// Flattened device tree (libfdt) of the machine into buf. Bytes used, or -errno.
int boot_fdt_build(const struct boot_info *info, void *buf, unsigned room, struct err *e);
// Zero page, setup_data (device tree, random seed), command line.
int boot_zero_page(struct mem *mem, const struct boot_info *info, struct err *e);
// GDT, TSS, page tables and registers for the 64-bit entry (Documentation/arch/x86/boot.rst, 1.14).
int boot_cpu_state(struct mem *mem, uint64_t entry, struct x86_state *ret, struct err *e);

#endif
