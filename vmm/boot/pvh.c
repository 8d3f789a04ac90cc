// SPDX-License-Identifier: Apache-2.0
// PVH: an ELF note of Xen's names a 32-bit entry point; EBX has a struct hvm_start_info (xen/include/public/arch-x86/hvm/
// start_info.h).
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "vmm/boot/bare.h"
#include "vmm/boot/elf.h"
#include "vmm/mem/mem.h"

enum { NOTE_PHYS32_ENTRY = 18, NOTES_MAX = 65536, MAGIC = 0x336ec578 };

enum { // struct hvm_start_info, by offset
	START_VERSION = 4,
	START_MODULES = 12,
	START_MODLIST = 16,
	START_CMDLINE = 24,
	START_MEMMAP = 40,
	START_MEMMAP_ENTRIES = 48,
	// and what follows it in its page
	MODLIST = 0x100,
	MEMMAP = 0x200,
	MEMMAP_ENTRY = 24,
};

static bool find_note(const uint8_t *p, uint64_t len, uint32_t *ret_entry)
{
	while (len >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		uint64_t name, desc;

		memcpy(&n, p, sizeof(n));
		name = ((uint64_t)n.n_namesz + 3) & ~3ull;
		desc = ((uint64_t)n.n_descsz + 3) & ~3ull;
		p += sizeof(n);
		len -= sizeof(n);
		if (name + desc > len)
			return false;
		// The entry is as wide as the kernel's addresses; what counts is below 4 GiB.
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 && memcmp(p, "Xen", 4) == 0 &&
		    n.n_descsz >= 4) {
			memcpy(ret_entry, p + name, 4);
			return true;
		}
		p += name + desc;
		len -= name + desc;
	}
	return false;
}

int boot_pvh_find(int fd, const struct boot_elf *elf, uint32_t *ret_entry, struct err *e)
{
	static const char too_large[] = "guest kernel: notes of %llu bytes: at most %d";

	for (unsigned i = 0; i < elf->count; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];
		uint8_t *buf AUTO_FREE = NULL;
		int r;

		if (ph->p_type != PT_NOTE)
			continue;
		if (ph->p_filesz > NOTES_MAX)
			return err_set(e, ENOEXEC, too_large, (unsigned long long)ph->p_filesz,
				       NOTES_MAX);
		buf = malloc(ph->p_filesz + 1);
		if (!buf)
			return err_errno(e, ENOMEM, "guest kernel");
		r = boot_pread(fd, buf, ph->p_filesz,
			       ph->p_offset > INT64_MAX / 2 ? INT64_MAX / 2 : ph->p_offset, e);
		if (r < 0 || find_note(buf, ph->p_filesz, ret_entry))
			return r < 0 ? r : 1;
	}
	return 0;
}

static void put(uint8_t *page, unsigned at, uint64_t v, unsigned bytes)
{
	memcpy(page + at, &v, bytes);
}

int boot_pvh_info(struct mem *mem, const struct boot_info *info, struct x86_state *s, struct err *e)
{
	uint8_t *page = mem_slice(mem, BOOT_BARE_INFO, 4096);
	struct boot_range r[BOOT_RANGES_MAX];
	unsigned n;

	if (!page)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	n = boot_memory_map(mem, r);
	memset(page, 0, 4096);
	put(page, 0, MAGIC, 4);
	put(page, START_VERSION, 1, 4);
	put(page, START_CMDLINE, BOOT_BARE_CMDLINE, 8);
	put(page, START_MEMMAP, BOOT_BARE_INFO + MEMMAP, 8);
	put(page, START_MEMMAP_ENTRIES, n, 4);
	if (info->initrd_bytes) {
		put(page, START_MODULES, 1, 4);
		put(page, START_MODLIST, BOOT_BARE_INFO + MODLIST, 8);
		put(page, MODLIST, info->initrd_gpa, 8);
		put(page, MODLIST + 8, info->initrd_bytes, 8);
	}
	for (unsigned i = 0; i < n; i++) {
		put(page, MEMMAP + i * MEMMAP_ENTRY, r[i].base, 8);
		put(page, MEMMAP + i * MEMMAP_ENTRY + 8, r[i].len, 8);
		put(page, MEMMAP + i * MEMMAP_ENTRY + 16, r[i].type, 4);
	}
	s->gpr[X86_RBX] = BOOT_BARE_INFO;
	return 0;
}
