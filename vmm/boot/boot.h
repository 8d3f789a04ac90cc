// SPDX-License-Identifier: Apache-2.0
// Getting a Linux kernel into memory and a vCPU to its 64-bit entry point; and a bare-metal test guest to its 32-bit one.
//
// Low memory under Linux: 0x1000 GDT and TSS, 0x2000 page tables (identity, 4 GiB by 1 GiB pages), 0x7000 zero page,
// 0x8000 setup_data, 0x10000 command line, 0x20000 device tree; the kernel at 1 MiB and up; the initramfs at the end of
// low RAM. A bare-metal guest has the first 576 KiB but for page 0; what it is given is in the 64 KiB after them.
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include <stdbool.h>
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
	BOOT_KERNEL_MIN = 0x100000,
	BOOT_BARE_TABLES = 0x90000, // GDT and TSS as at BOOT_GDT, in one page
	BOOT_BARE_INFO = 0x91000,   // multiboot information or hvm_start_info, a page
	BOOT_BARE_CMDLINE = 0x92000
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

// What the guest is told of its memory, in order: a piece of RAM, or of what is not (type 2), as the e820 call has it.
struct boot_range {
	uint64_t base, len;
	uint32_t type;
};
enum { BOOT_RANGES_MAX = 10, BOOT_RANGE_RAM = 1, BOOT_RANGE_RESERVED = 2 };
unsigned boot_memory_map(const struct mem *mem, struct boot_range ret[BOOT_RANGES_MAX]);

// How a bare-metal guest wants to be started.
struct boot_bare {
	bool pvh; // else multiboot
	uint64_t entry, end;
};
// Loads a test guest: a multiboot image (ELF32, ELF64, or flat with addresses in its header) or, without such a header, an
// ELF with a PVH entry note. The file is hostile.
int boot_bare_load(struct mem *mem, int fd, struct boot_bare *ret, struct err *e);
// What it finds in memory and registers at its 32-bit entry. initrd is its one module.
int boot_bare_state(struct mem *mem, const struct boot_bare *bare, const struct boot_info *info,
		    struct x86_state *ret, struct err *e);

// Flattened device tree (libfdt) of the machine into buf. Bytes used, or -errno.
int boot_fdt_build(const struct boot_info *info, void *buf, unsigned room, struct err *e);
// Zero page, setup_data (device tree, random seed), command line.
int boot_zero_page(struct mem *mem, const struct boot_info *info, struct err *e);
// GDT, TSS, page tables and registers for the 64-bit entry (Documentation/arch/x86/boot.rst, 1.14).
int boot_cpu_state(struct mem *mem, uint64_t entry, struct x86_state *ret, struct err *e);

#endif
