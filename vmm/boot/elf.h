// SPDX-License-Identifier: Apache-2.0
// ELF executables as the loaders see them: 32-bit ones widened, so that there is one kind of program header.
#ifndef VMM_BOOT_ELF_H
#define VMM_BOOT_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct mem;

enum { BOOT_PHDRS_MAX = 64 };

struct boot_elf {
	bool wide; // ELF64
	uint64_t entry;
	unsigned count;
	Elf64_Phdr ph[BOOT_PHDRS_MAX];
};

// All of len bytes of the file at offset, or an error.
int boot_pread(int fd, void *buf, size_t len, uint64_t offset, struct err *e);
// Headers only. narrow_too: ELF32 for the 80386 is taken as well.
int boot_elf_read(int fd, bool narrow_too, struct boot_elf *ret, struct err *e);
// Copies the PT_LOAD segments. low: they may lie below BOOT_BARE_TABLES. *ret_end: first byte after, 0 if none.
int boot_elf_segments(struct mem *mem, int fd, const struct boot_elf *elf, bool low,
		      uint64_t *ret_end, struct err *e);
int boot_elf_check_entry(const struct mem *mem, uint64_t entry, uint64_t end, struct err *e);

#endif
