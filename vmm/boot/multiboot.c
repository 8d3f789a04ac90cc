// SPDX-License-Identifier: Apache-2.0
// Multiboot 0.6.96: the header that an image carries in its first 8 KiB, and the information it is given in EBX.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot/bare.h"
#include "vmm/boot/elf.h"
#include "vmm/mem/mem.h"

enum {
	SEARCH = 8192,
	HEADER_WORDS = 8, // up to and with entry_addr
	MAGIC = 0x1badb002,
	BOOTED = 0x2badb002,
	FLAG_PAGE_ALIGN = 1,
	FLAG_MEMORY = 2,
	FLAG_MUST = 0xffff, // bits that may not be passed over
	FLAG_ADDRESSES = 1 << 16,
};

// struct multiboot_info, by offset.
enum {
	INFO_FLAGS = 0,
	INFO_MEM_LOWER = 4,
	INFO_MEM_UPPER = 8,
	INFO_CMDLINE = 16,
	INFO_MODS_COUNT = 20,
	INFO_MODS = 24,
	INFO_MMAP_BYTES = 44,
	INFO_MMAP = 48,
	INFO_LOADER = 64,
	INFO_BYTES = 116,
	// and what follows it in its page
	MODULE = 0x100,
	MODULE_TEXT = 0x140,
	LOADER_TEXT = 0x160,
	MMAP = 0x200,
	MMAP_ENTRY = 24, // the size field in front counts 20
};
enum { HAS_MEMORY = 1, HAS_CMDLINE = 4, HAS_MODULES = 8, HAS_MMAP = 64, HAS_LOADER = 512 };

int boot_multiboot_find(int fd, struct boot_multiboot *ret, struct err *e)
{
	uint8_t buf[SEARCH + HEADER_WORDS * 4] = { 0 };
	ssize_t n = pread(fd, buf, sizeof(buf), 0);

	if (n < 0)
		return err_errno(e, errno, "guest kernel: read");
	for (uint32_t at = 0; at + 12 <= SEARCH && at + 12 <= (size_t)n; at += 4) {
		uint32_t w[HEADER_WORDS];

		memcpy(w, buf + at, sizeof(w));
		if (w[0] != MAGIC || w[0] + w[1] + w[2] != 0)
			continue;
		if (w[1] & FLAG_MUST & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY))
			return err_set(e, ENOEXEC,
				       "guest kernel: its multiboot header asks for more (%#x)",
				       w[1]);
		*ret = (struct boot_multiboot){ w[1], at, w[3], w[4], w[5], w[6], w[7] };
		return 1;
	}
	return 0;
}

// The header says where the file goes: the header's own byte to header_addr, from load_addr on.
static int load_flat(struct mem *mem, int fd, const struct boot_multiboot *mb,
		     struct boot_bare *ret, struct err *e)
{
	uint64_t back = (uint64_t)mb->header_addr - mb->load_addr, end = mb->load_end_addr;
	off_t file_end = lseek(fd, 0, SEEK_END);
	struct boot_elf one = { .count = 1 };
	Elf64_Phdr *ph = &one.ph[0];

	if (file_end < 0)
		return err_errno(e, errno, "guest kernel: size");
	if (mb->header_addr < mb->load_addr || back > mb->at)
		return err_set(e, ENOEXEC, "guest kernel: bad addresses in its multiboot header");
	*ph = (Elf64_Phdr){ .p_type = PT_LOAD,
			    .p_offset = mb->at - back,
			    .p_paddr = mb->load_addr };
	end = end ? end : mb->load_addr + (uint64_t)file_end - ph->p_offset;
	if (end < mb->load_addr || (mb->bss_end_addr && mb->bss_end_addr < end))
		return err_set(e, ENOEXEC, "guest kernel: bad addresses in its multiboot header");
	ph->p_filesz = end - mb->load_addr;
	ph->p_memsz = (mb->bss_end_addr ? mb->bss_end_addr : end) - mb->load_addr;
	ret->entry = mb->entry_addr;
	return boot_elf_segments(mem, fd, &one, true, &ret->end, e);
}

int boot_multiboot_load(struct mem *mem, int fd, const struct boot_multiboot *mb,
			struct boot_bare *ret, struct err *e)
{
	struct boot_elf elf;
	int r;

	if (mb->flags & FLAG_ADDRESSES)
		return load_flat(mem, fd, mb, ret, e);
	r = boot_elf_read(fd, true, &elf, e);
	if (r < 0)
		return r;
	ret->entry = elf.entry;
	return boot_elf_segments(mem, fd, &elf, true, &ret->end, e);
}

static void put(uint8_t *page, unsigned at, uint64_t v, unsigned bytes)
{
	memcpy(page + at, &v, bytes);
}

static void put_map(uint8_t *page, const struct mem *mem)
{
	struct boot_range r[BOOT_RANGES_MAX];
	unsigned n = boot_memory_map(mem, r);

	for (unsigned i = 0; i < n; i++) {
		unsigned at = MMAP + i * MMAP_ENTRY;

		put(page, at, MMAP_ENTRY - 4, 4);
		put(page, at + 4, r[i].base, 8);
		put(page, at + 12, r[i].len, 8);
		put(page, at + 20, r[i].type, 4);
	}
	put(page, INFO_MMAP_BYTES, n * MMAP_ENTRY, 4);
	put(page, INFO_MMAP, BOOT_BARE_INFO + MMAP, 4);
}

int boot_multiboot_info(struct mem *mem, const struct boot_info *info, struct x86_state *s,
			struct err *e)
{
	uint8_t *page = mem_slice(mem, BOOT_BARE_INFO, 4096);
	const struct mem_region *low;

	if (!page)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	(void)mem_regions(mem, &low); // there is always one
	memset(page, 0, 4096);
	put(page, INFO_FLAGS,
	    HAS_MEMORY | HAS_CMDLINE | HAS_MMAP | HAS_LOADER |
		    (info->initrd_bytes ? HAS_MODULES : 0),
	    4);
	put(page, INFO_MEM_LOWER, 0x9fc00 >> 10, 4);
	put(page, INFO_MEM_UPPER, (low->len - BOOT_KERNEL_MIN) >> 10, 4);
	put(page, INFO_CMDLINE, BOOT_BARE_CMDLINE, 4);
	if (info->initrd_bytes) {
		put(page, INFO_MODS_COUNT, 1, 4);
		put(page, INFO_MODS, BOOT_BARE_INFO + MODULE, 4);
		put(page, MODULE, info->initrd_gpa, 4);
		put(page, MODULE + 4, info->initrd_gpa + info->initrd_bytes, 4);
		put(page, MODULE + 8, BOOT_BARE_INFO + MODULE_TEXT, 4);
		memcpy(page + MODULE_TEXT, "initrd", 7);
	}
	put_map(page, mem);
	put(page, INFO_LOADER, BOOT_BARE_INFO + LOADER_TEXT, 4);
	memcpy(page + LOADER_TEXT, "bulkhead", 9);
	s->gpr[X86_RAX] = BOOTED;
	s->gpr[X86_RBX] = BOOT_BARE_INFO;
	return 0;
}
