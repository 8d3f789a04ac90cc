// SPDX-License-Identifier: Apache-2.0
// The kernel loader: a good image lands where its headers say, and every bad header is refused by name.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/mem/mem.h"

enum { RAM = 8 << 20, BASE = 1 << 20, DATA = 0x1000, DATA_BYTES = 3000, BSS = 5000 };

struct image {
	Elf64_Ehdr h;
	Elf64_Phdr ph[3];
	uint8_t data[DATA_BYTES];
	size_t file_bytes; // of the file; 0: all
};

struct rig {
	struct mem *mem;
	struct image im;
	uint64_t entry, end;
	struct err e;
};

// A note, a segment with a .bss at 1 MiB, and one at 2 MiB.
static void good(struct image *im)
{
	memset(im, 0, sizeof(*im));
	memcpy(im->h.e_ident, ELFMAG, SELFMAG);
	im->h.e_ident[EI_CLASS] = ELFCLASS64;
	im->h.e_ident[EI_DATA] = ELFDATA2LSB;
	im->h.e_type = ET_EXEC;
	im->h.e_machine = EM_X86_64;
	im->h.e_entry = BASE + 16;
	im->h.e_phoff = sizeof(im->h);
	im->h.e_phentsize = sizeof(Elf64_Phdr);
	im->h.e_phnum = 3;
	im->ph[0] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_memsz = 16, .p_filesz = 16 };
	im->ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
				  .p_offset = DATA,
				  .p_vaddr = 0xffffffff81000000,
				  .p_paddr = BASE,
				  .p_filesz = DATA_BYTES,
				  .p_memsz = DATA_BYTES + BSS };
	im->ph[2] = (Elf64_Phdr){ .p_type = PT_LOAD,
				  .p_offset = DATA + 100,
				  .p_paddr = 2 << 20,
				  .p_filesz = 50,
				  .p_memsz = 50 };
	for (unsigned i = 0; i < DATA_BYTES; i++)
		im->data[i] = (uint8_t)(i * 7 + 1);
}

static int file_of(const struct image *im)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &im->h, sizeof(im->h), 0), sizeof(im->h));
	assert_int_equal(pwrite(fd, im->ph, sizeof(im->ph), sizeof(im->h)), sizeof(im->ph));
	assert_int_equal(pwrite(fd, im->data, DATA_BYTES, DATA), DATA_BYTES);
	if (im->file_bytes)
		assert_int_equal(ftruncate(fd, (off_t)im->file_bytes), 0);
	return fd;
}

static int load(struct rig *x)
{
	int fd = file_of(&x->im), r;

	memset(&x->e, 0, sizeof(x->e));
	x->entry = x->end = 0x1234;
	r = boot_elf_load(x->mem, fd, &x->entry, &x->end, &x->e);
	(void)close(fd); // only read
	return r;
}

static void refused(struct rig *x, int code, const char *says)
{
	assert_int_equal(load(x), -code);
	assert_int_equal(x->e.code, code);
	if (!strstr(x->e.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", x->e.msg, says);
	assert_int_equal(x->entry, 0x1234);
	assert_int_equal(x->end, 0x1234);
	good(&x->im);
}

static int setup(void **state)
{
	struct rig *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(mem_new(RAM, &x->mem, &x->e), 0);
	good(&x->im);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct rig *x = *state;

	mem_free(x->mem);
	free(x);
	return 0;
}

static void loads(void **state)
{
	struct rig *x = *state;
	const uint8_t *p = mem_slice(x->mem, BASE, DATA_BYTES + BSS);

	assert_int_equal(load(x), 0);
	assert_int_equal(x->entry, BASE + 16);
	assert_int_equal(x->end, (2 << 20) + 50);
	assert_memory_equal(p, x->im.data, DATA_BYTES);
	for (unsigned i = 0; i < BSS; i++)
		assert_int_equal(p[DATA_BYTES + i], 0);
	assert_memory_equal(mem_slice(x->mem, 2 << 20, 50), x->im.data + 100, 50);
	// Segments need not be in order for the end to be right.
	x->im.ph[1].p_paddr = 3 << 20;
	assert_int_equal(load(x), 0);
	assert_int_equal(x->end, (3 << 20) + DATA_BYTES + BSS);
	// The last byte of memory is memory.
	x->im.ph[2].p_paddr = RAM - 50;
	assert_int_equal(load(x), 0);
	assert_int_equal(x->end, RAM);
	// An empty segment says nothing, wherever it says it is.
	good(&x->im);
	x->im.ph[2].p_paddr = 0;
	x->im.ph[2].p_memsz = x->im.ph[2].p_filesz = 0;
	assert_int_equal(load(x), 0);
	assert_int_equal(x->end, BASE + DATA_BYTES + BSS);
}

static void bad_headers(void **state)
{
	struct rig *x = *state;

	x->im.h.e_ident[1] = 'e';
	refused(x, ENOEXEC, "not an ELF file");
	x->im.file_bytes = sizeof(x->im.h) - 1;
	refused(x, ENOEXEC, "not an ELF file");
	x->im.h.e_ident[EI_CLASS] = ELFCLASS32;
	refused(x, ENOEXEC, "not a 64-bit x86 executable");
	x->im.h.e_ident[EI_DATA] = ELFDATA2MSB;
	refused(x, ENOEXEC, "not a 64-bit x86 executable");
	x->im.h.e_machine = EM_AARCH64;
	refused(x, ENOEXEC, "not a 64-bit x86 executable");
	x->im.h.e_type = ET_DYN;
	refused(x, ENOEXEC, "not a 64-bit x86 executable");
	x->im.h.e_phnum = 65;
	refused(x, ENOEXEC, "65 program headers");
	x->im.h.e_phnum = 0xffff;
	refused(x, ENOEXEC, "65535 program headers");
	x->im.h.e_phnum = 0;
	refused(x, ENOEXEC, "0 program headers");
	x->im.h.e_phentsize = sizeof(Elf32_Phdr);
	refused(x, ENOEXEC, "program headers");
	x->im.h.e_phoff = 1 << 20;
	refused(x, ENOEXEC, "cut short");
	x->im.h.e_phoff = UINT64_MAX - 8;
	refused(x, ENOEXEC, "cut short");
	x->im.file_bytes = sizeof(x->im.h) + 60;
	refused(x, ENOEXEC, "cut short");
}

static void bad_segments(void **state)
{
	struct rig *x = *state;

	x->im.file_bytes = DATA + DATA_BYTES - 1;
	refused(x, ENOEXEC, "cut short");
	x->im.ph[2].p_offset = 1 << 20;
	refused(x, ENOEXEC, "cut short");
	x->im.ph[1].p_paddr = BASE - 1;
	refused(x, ENOEXEC, "below 1 MiB");
	x->im.ph[2].p_paddr = 0;
	refused(x, ENOEXEC, "below 1 MiB");
	x->im.ph[1].p_memsz = x->im.ph[1].p_filesz - 1;
	refused(x, ENOEXEC, "bad ELF segment");
	x->im.ph[1].p_offset = UINT64_MAX - 100; // and the size: wraps
	refused(x, ENOEXEC, "bad ELF segment");
	x->im.ph[1].p_offset = INT64_MAX; // no offset of a file
	refused(x, ENOEXEC, "bad ELF segment");
	x->im.ph[2].p_filesz = x->im.ph[2].p_memsz = UINT64_MAX;
	refused(x, ENOEXEC, "bad ELF segment");
}

static void beyond_memory(void **state)
{
	struct rig *x = *state;

	x->im.ph[2].p_paddr = 20 << 20;
	refused(x, ENOMEM, "needs memory up to 21 MiB; the pod has 8 MiB");
	x->im.ph[1].p_memsz = 64 << 20; // starts inside
	refused(x, ENOMEM, "needs memory up to 65 MiB");
	x->im.ph[2].p_paddr = RAM - 49;
	refused(x, ENOMEM, "needs memory up to 9 MiB");
	x->im.ph[2].p_memsz = UINT64_MAX - BASE; // with the address: wraps
	refused(x, ENOMEM, "needs memory up to");
	x->im.ph[2].p_paddr = UINT64_MAX - 10;
	refused(x, ENOMEM, "needs memory up to");
}

static void bad_entries(void **state)
{
	struct rig *x = *state;

	x->im.h.e_entry = RAM;
	refused(x, ENOEXEC, "entry point 0x800000 is not in memory");
	x->im.h.e_entry = UINT64_MAX;
	refused(x, ENOEXEC, "is not in memory");
	x->im.ph[1].p_type = x->im.ph[2].p_type = PT_NOTE; // nothing is loaded
	refused(x, ENOEXEC, "is not in memory");
}

static void unreadable(void **state)
{
	struct rig *x = *state;

	assert_int_equal(boot_elf_load(x->mem, -1, &x->entry, &x->end, &x->e), -EBADF);
	assert_non_null(strstr(x->e.msg, "guest kernel: read"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(loads, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_segments, setup, teardown),
		cmocka_unit_test_setup_teardown(beyond_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_elf", tests, NULL, NULL);
}
