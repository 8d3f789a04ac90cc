// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/elf.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/mem/mem.h"

int boot_pread(int fd, void *buf, size_t len, uint64_t offset, struct err *e)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "guest kernel: read");
		if (n == 0)
			return err_set(
				e, ENOEXEC,
				"guest kernel: cut short: a segment goes beyond the end of the file");
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

// Linux wants the first MiB to itself; a test guest may lie in it, but for what the machine puts there.
static bool in_our_tables(const Elf64_Phdr *ph, bool low)
{
	return ph->p_paddr < BOOT_KERNEL_MIN &&
	       (!low || ph->p_memsz > BOOT_BARE_TABLES || ph->p_paddr < 4096 ||
		ph->p_paddr + ph->p_memsz > BOOT_BARE_TABLES);
}

static int load_segment(struct mem *mem, int fd, const Elf64_Phdr *ph, bool low, uint64_t *end,
			struct err *e)
{
	uint8_t *to;

	if (!ph->p_memsz)
		return 0;
	if (ph->p_filesz > ph->p_memsz || ph->p_offset + ph->p_filesz < ph->p_offset ||
	    ph->p_offset > INT64_MAX / 2)
		return err_set(e, ENOEXEC, "guest kernel: bad ELF segment");
	if (in_our_tables(ph, low))
		return err_set(
			e, ENOEXEC,
			"guest kernel: segment at %#llx: below 1 MiB, where the machine's own tables are",
			(unsigned long long)ph->p_paddr);
	to = mem_slice(mem, ph->p_paddr, ph->p_memsz);
	if (!to)
		return err_set(
			e, ENOMEM,
			"guest kernel: needs memory up to %llu MiB; the pod has %llu MiB",
			(unsigned long long)((ph->p_paddr + ph->p_memsz + (1 << 20) - 1) >> 20),
			(unsigned long long)(mem_bytes(mem) >> 20));
	if (ph->p_paddr + ph->p_memsz > *end)
		*end = ph->p_paddr + ph->p_memsz;
	// Fresh memory is zero: .bss needs no touch.
	return boot_pread(fd, to, ph->p_filesz, ph->p_offset, e);
}

static Elf64_Phdr widened(const Elf32_Phdr *ph)
{
	return (Elf64_Phdr){ .p_type = ph->p_type,
			     .p_offset = ph->p_offset,
			     .p_paddr = ph->p_paddr,
			     .p_filesz = ph->p_filesz,
			     .p_memsz = ph->p_memsz };
}

static int read_phdrs(int fd, struct boot_elf *elf, uint64_t at, unsigned size, struct err *e)
{
	Elf32_Phdr narrow[BOOT_PHDRS_MAX];
	unsigned want = elf->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	int r;

	if (size != want || !elf->count || elf->count > BOOT_PHDRS_MAX)
		return err_set(e, ENOEXEC, "guest kernel: %u program headers: expected 1 to %d",
			       elf->count, BOOT_PHDRS_MAX);
	r = boot_pread(fd, elf->wide ? (void *)elf->ph : (void *)narrow, elf->count * want,
		       at > INT64_MAX / 2 ? INT64_MAX / 2 : at, e);
	for (unsigned i = 0; r == 0 && !elf->wide && i < elf->count; i++)
		elf->ph[i] = widened(&narrow[i]);
	return r;
}

int boot_elf_read(int fd, bool narrow_too, struct boot_elf *ret, struct err *e)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr w;
		Elf32_Ehdr n;
	} h;
	ssize_t n = pread(fd, &h, sizeof(h), 0);

	if (n < 0)
		return err_errno(e, errno, "guest kernel: read");
	if ((size_t)n < sizeof(h) || memcmp(h.ident, ELFMAG, SELFMAG) != 0)
		return err_set(
			e, ENOEXEC,
			"guest kernel: not an ELF file (an uncompressed vmlinux is expected)");
	ret->wide = h.ident[EI_CLASS] == ELFCLASS64;
	// Type and machine lie at the same place in both.
	if (h.ident[EI_DATA] != ELFDATA2LSB || h.w.e_type != ET_EXEC ||
	    !((ret->wide && h.w.e_machine == EM_X86_64) ||
	      (narrow_too && h.ident[EI_CLASS] == ELFCLASS32 && h.w.e_machine == EM_386)))
		return err_set(e, ENOEXEC, "guest kernel: not a %s x86 executable",
			       narrow_too ? "32- or 64-bit" : "64-bit");
	ret->entry = ret->wide ? h.w.e_entry : h.n.e_entry;
	ret->count = ret->wide ? h.w.e_phnum : h.n.e_phnum;
	return read_phdrs(fd, ret, ret->wide ? h.w.e_phoff : h.n.e_phoff,
			  ret->wide ? h.w.e_phentsize : h.n.e_phentsize, e);
}

int boot_elf_segments(struct mem *mem, int fd, const struct boot_elf *elf, bool low,
		      uint64_t *ret_end, struct err *e)
{
	uint64_t end = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < elf->count; i++)
		if (elf->ph[i].p_type == PT_LOAD)
			r = load_segment(mem, fd, &elf->ph[i], low, &end, e);
	if (r == 0)
		*ret_end = end;
	return r;
}

int boot_elf_check_entry(const struct mem *mem, uint64_t entry, uint64_t end, struct err *e)
{
	if (!end || !mem_slice(mem, entry, 1))
		return err_set(e, ENOEXEC, "guest kernel: its entry point %#llx is not in memory",
			       (unsigned long long)entry);
	return 0;
}

int boot_elf_load(struct mem *mem, int fd, uint64_t *ret_entry, uint64_t *ret_end, struct err *e)
{
	struct boot_elf elf;
	uint64_t end = 0;
	int r = boot_elf_read(fd, false, &elf, e);

	r = r < 0 ? r : boot_elf_segments(mem, fd, &elf, false, &end, e);
	r = r < 0 ? r : boot_elf_check_entry(mem, elf.entry, end, e);
	if (r < 0)
		return r;
	*ret_entry = elf.entry;
	*ret_end = end;
	return 0;
}
