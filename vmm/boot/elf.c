// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/mem/mem.h"

enum { PHDRS_MAX = 64 };

// All of len bytes at offset, or an error.
static int pread_all(int fd, void *buf, size_t len, uint64_t offset, struct err *e)
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

static int load_segment(struct mem *mem, int fd, const Elf64_Phdr *ph, uint64_t *end, struct err *e)
{
	uint8_t *to;

	if (!ph->p_memsz)
		return 0;
	if (ph->p_filesz > ph->p_memsz || ph->p_offset + ph->p_filesz < ph->p_offset ||
	    ph->p_offset > INT64_MAX / 2)
		return err_set(e, ENOEXEC, "guest kernel: bad ELF segment");
	if (ph->p_paddr < BOOT_KERNEL_MIN)
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
	return pread_all(fd, to, ph->p_filesz, ph->p_offset, e);
}

int boot_elf_load(struct mem *mem, int fd, uint64_t *ret_entry, uint64_t *ret_end, struct err *e)
{
	Elf64_Ehdr h;
	Elf64_Phdr ph[PHDRS_MAX];
	uint64_t end = 0;
	ssize_t n = pread(fd, &h, sizeof(h), 0);
	int r;

	if (n < 0)
		return err_errno(e, errno, "guest kernel: read");
	if ((size_t)n < sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
		return err_set(
			e, ENOEXEC,
			"guest kernel: not an ELF file (an uncompressed vmlinux is expected)");
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
	    h.e_machine != EM_X86_64 || h.e_type != ET_EXEC)
		return err_set(e, ENOEXEC, "guest kernel: not a 64-bit x86 executable");
	if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum || h.e_phnum > PHDRS_MAX)
		return err_set(e, ENOEXEC, "guest kernel: %u program headers: expected 1 to %d",
			       h.e_phnum, PHDRS_MAX);
	r = pread_all(fd, ph, h.e_phnum * sizeof(*ph),
		      h.e_phoff > INT64_MAX / 2 ? INT64_MAX / 2 : h.e_phoff, e);
	for (unsigned i = 0; r == 0 && i < h.e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			r = load_segment(mem, fd, &ph[i], &end, e);
	if (r < 0)
		return r;
	if (!end || !mem_slice(mem, h.e_entry, 1))
		return err_set(e, ENOEXEC, "guest kernel: its entry point %#llx is not in memory",
			       (unsigned long long)h.e_entry);
	*ret_entry = h.e_entry;
	*ret_end = end;
	return 0;
}
