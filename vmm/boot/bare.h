// SPDX-License-Identifier: Apache-2.0
// The two ways to start a bare-metal guest, behind boot_bare_*.
#ifndef VMM_BOOT_BARE_H
#define VMM_BOOT_BARE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/boot/boot.h"

struct boot_elf;

// Multiboot: what the header of an image asks for.
struct boot_multiboot {
	uint32_t flags;
	uint64_t at; // the header's place in the file
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
// 1 and *ret, 0 without a header, -errno for a header that asks for what there is not.
int boot_multiboot_find(int fd, struct boot_multiboot *ret, struct err *e);
int boot_multiboot_load(struct mem *mem, int fd, const struct boot_multiboot *mb,
			struct boot_bare *ret, struct err *e);
int boot_multiboot_info(struct mem *mem, const struct boot_info *info, struct x86_state *s,
			struct err *e);

// 1 and the entry point of the note, 0 without a note.
int boot_pvh_find(int fd, const struct boot_elf *elf, uint32_t *ret_entry, struct err *e);
int boot_pvh_info(struct mem *mem, const struct boot_info *info, struct x86_state *s,
		  struct err *e);

#endif
