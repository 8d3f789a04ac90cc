// SPDX-License-Identifier: Apache-2.0
// The two ways into a bare-metal guest: multiboot (ELF32, ELF64, flat) and PVH. What lands where, what the guest is told,
// and every bad header refused by name.
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

enum {
	RAM = 8 << 20,
	AT = 0x400000, // where the code goes
	DATA = 0x400,  // of the file
	DATA_BYTES = 600,
	HEADER = 64, // multiboot header in the data
	BSS = 1000,
	NOTE = 0x300, // of the file
};

struct rig {
	struct mem *mem;
	uint8_t file[DATA + DATA_BYTES];
	size_t bytes;
	struct boot_bare bare;
	struct err e;
};

static void set32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

static void fill(struct rig *x)
{
	memset(x->file, 0, sizeof(x->file));
	for (unsigned i = 0; i < DATA_BYTES; i++)
		x->file[DATA + i] = (uint8_t)(i * 5 + 3);
	x->bytes = sizeof(x->file);
}

static void elf32(struct rig *x)
{
	Elf32_Ehdr h = { .e_type = ET_EXEC,
			 .e_machine = EM_386,
			 .e_entry = AT + 16,
			 .e_phoff = sizeof(h),
			 .e_phentsize = sizeof(Elf32_Phdr),
			 .e_phnum = 2 };
	Elf32_Phdr ph[2] = { { .p_type = PT_LOAD,
			       .p_offset = DATA,
			       .p_vaddr = 0xc0000000,
			       .p_paddr = AT,
			       .p_filesz = DATA_BYTES,
			       .p_memsz = DATA_BYTES + BSS },
			     { .p_type = PT_NOTE, .p_offset = NOTE } };

	fill(x);
	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS32;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(x->file, &h, sizeof(h));
	memcpy(x->file + sizeof(h), ph, sizeof(ph));
}

static void elf64(struct rig *x)
{
	Elf64_Ehdr h = { .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = AT + 16,
			 .e_phoff = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 2 };
	Elf64_Phdr ph[2] = { { .p_type = PT_LOAD,
			       .p_offset = DATA,
			       .p_paddr = AT,
			       .p_filesz = DATA_BYTES,
			       .p_memsz = DATA_BYTES + BSS },
			     { .p_type = PT_NOTE, .p_offset = NOTE } };

	fill(x);
	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(x->file, &h, sizeof(h));
	memcpy(x->file + sizeof(h), ph, sizeof(ph));
}

static void header(struct rig *x, uint32_t flags)
{
	set32(x->file + DATA + HEADER, 0x1badb002);
	set32(x->file + DATA + HEADER + 4, flags);
	set32(x->file + DATA + HEADER + 8, -(0x1badb002 + flags));
}

// The image loaded where its header says, without any ELF about it.
static void flat(struct rig *x, uint32_t load, uint32_t load_end, uint32_t bss_end)
{
	const uint32_t w[] = { AT + HEADER, load, load_end, bss_end, AT + 100 };

	fill(x);
	header(x, 1 << 16);
	memcpy(x->file + DATA + HEADER + 12, w, sizeof(w));
}

static void xen_note(struct rig *x, uint32_t type, uint32_t entry)
{
	const uint32_t other[] = { 4, 8, 6 };
	uint8_t *p = x->file + NOTE;

	memcpy(p, other, sizeof(other)); // one before it that is passed over
	memcpy(p + 12, "Xen", 4);
	p += 24;
	set32(p, 4);
	set32(p + 4, 8);
	set32(p + 8, type);
	memcpy(p + 12, "Xen", 4);
	set32(p + 16, entry);
}

static void note_size32(struct rig *x, uint32_t bytes)
{
	set32(x->file + sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, p_filesz),
	      bytes);
}

static int load(struct rig *x)
{
	int fd = memfd_create("image", MFD_CLOEXEC), r;

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, x->file, x->bytes, 0), x->bytes);
	memset(&x->e, 0, sizeof(x->e));
	x->bare = (struct boot_bare){ .entry = 0x1234 };
	r = boot_bare_load(x->mem, fd, &x->bare, &x->e);
	(void)close(fd); // only read
	return r;
}

static void refused(struct rig *x, int code, const char *says)
{
	assert_int_equal(load(x), -code);
	assert_int_equal(x->e.code, code);
	if (!strstr(x->e.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", x->e.msg, says);
	assert_int_equal(x->bare.entry, 0x1234);
}

static int setup(void **state)
{
	struct rig *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(mem_new(RAM, &x->mem, &x->e), 0);
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

static uint64_t at(const struct rig *x, uint64_t gpa, unsigned bytes)
{
	const void *p = mem_slice(x->mem, gpa, bytes);
	uint64_t v = 0;

	assert_non_null(p);
	memcpy(&v, p, bytes);
	return v;
}

static void loaded(const struct rig *x)
{
	assert_memory_equal(mem_slice(x->mem, AT, DATA_BYTES), x->file + DATA, DATA_BYTES);
	assert_int_equal(at(x, AT + DATA_BYTES + BSS - 8, 8), 0);
	assert_int_equal(x->bare.entry, AT + 16);
	assert_int_equal(x->bare.end, AT + DATA_BYTES + BSS);
}

static void multiboot_elf(void **state)
{
	struct rig *x = *state;

	elf32(x);
	header(x, 3);
	assert_int_equal(load(x), 0);
	assert_false(x->bare.pvh);
	loaded(x);
	elf64(x);
	header(x, 0);
	memset(mem_slice(x->mem, AT, DATA_BYTES), 0, DATA_BYTES);
	assert_int_equal(load(x), 0);
	assert_false(x->bare.pvh);
	loaded(x);
	xen_note(x, 18, AT + 32); // multiboot comes first
	assert_int_equal(load(x), 0);
	assert_false(x->bare.pvh);
}

static void multiboot_flat(void **state)
{
	struct rig *x = *state;

	flat(x, AT, AT + 200, AT + 300);
	memset(mem_slice(x->mem, AT, 1000), 0x55, 200);
	assert_int_equal(load(x), 0);
	assert_int_equal(x->bare.entry, AT + 100);
	assert_int_equal(x->bare.end, AT + 300);
	assert_memory_equal(mem_slice(x->mem, AT, 200), x->file + DATA, 200);
	assert_int_equal(at(x, AT + 200, 8), 0);
	flat(x, AT, 0, 0); // to the end of the file
	assert_int_equal(load(x), 0);
	assert_int_equal(x->bare.end, AT + DATA_BYTES);
	assert_memory_equal(mem_slice(x->mem, AT, DATA_BYTES), x->file + DATA, DATA_BYTES);
	flat(x, AT + HEADER + 4, 0, 0); // the header before what is loaded
	refused(x, ENOEXEC, "bad addresses");
	flat(x, AT - DATA - 4, 0, 0); // from before the file
	refused(x, ENOEXEC, "bad addresses");
	flat(x, AT, AT - 4, 0);
	refused(x, ENOEXEC, "bad addresses");
	flat(x, AT, AT + 200, AT + 100);
	refused(x, ENOEXEC, "bad addresses");
	flat(x, AT, AT + DATA_BYTES + 4, 0);
	refused(x, ENOEXEC, "cut short");
	flat(x, AT, AT + 200, RAM + 1);
	refused(x, ENOMEM, "needs memory up to 9 MiB");
}

static void multiboot_bad(void **state)
{
	struct rig *x = *state;

	elf32(x);
	header(x, 4); // a video mode
	refused(x, ENOEXEC, "asks for more (0x4)");
	header(x, 0);
	x->file[DATA + HEADER + 8]++; // checksum
	refused(x, ENOEXEC, "neither a multiboot header nor a PVH entry note");
	elf32(x);
	memmove(x->file + DATA + HEADER + 2, x->file + DATA + HEADER, 12);
	refused(x, ENOEXEC, "neither"); // not aligned
	fill(x);
	header(x, 0); // no addresses, and no ELF
	refused(x, ENOEXEC, "not an ELF file");
	x->bytes = DATA + HEADER + 11;
	refused(x, ENOEXEC, "not an ELF file");
	x->bytes = 0;
	refused(x, ENOEXEC, "not an ELF file");
	elf32(x);
	header(x, 0);
	set32(x->file + offsetof(Elf32_Ehdr, e_entry), RAM);
	refused(x, ENOEXEC, "entry point 0x800000 is not in memory");
}

// Low memory is the guest's but for page 0 and the 64 KiB of tables.
static void low_memory(void **state)
{
	static const struct {
		uint32_t at;
		bool taken;
	} cases[] = {
		{ 0x8000, true },
		{ 4096, true },
		{ 4095, false },
		{ 0, false },
		{ BOOT_BARE_TABLES - DATA_BYTES - BSS, true },
		{ BOOT_BARE_TABLES - DATA_BYTES - BSS + 1, false },
		{ BOOT_BARE_TABLES, false },
		{ 0xfffff, false },
		{ 0x100000, true },
	};
	struct rig *x = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		elf32(x);
		header(x, 0);
		set32(x->file + sizeof(Elf32_Ehdr) + offsetof(Elf32_Phdr, p_paddr), cases[i].at);
		set32(x->file + offsetof(Elf32_Ehdr, e_entry), cases[i].at);
		if (cases[i].taken)
			assert_int_equal(load(x), 0);
		else
			refused(x, ENOEXEC, "where the machine's own tables are");
	}
}

static void pvh(void **state)
{
	struct rig *x = *state;

	elf32(x);
	xen_note(x, 18, AT + 32);
	note_size32(x, 48);
	assert_int_equal(load(x), 0);
	assert_true(x->bare.pvh);
	assert_int_equal(x->bare.entry, AT + 32);
	assert_int_equal(x->bare.end, AT + DATA_BYTES + BSS);
	note_size32(x, 47); // the entry is cut
	refused(x, ENOEXEC, "neither");
	note_size32(x, 65537);
	refused(x, ENOEXEC, "notes of 65537 bytes");
	note_size32(x, 65536);
	refused(x, ENOEXEC, "cut short");
	xen_note(x, 19, AT + 32);
	note_size32(x, 48);
	refused(x, ENOEXEC, "neither");
	xen_note(x, 18, AT + 32);
	memcpy(x->file + NOTE + 36, "Xem", 4);
	refused(x, ENOEXEC, "neither");
	xen_note(x, 18, AT + 32);
	set32(x->file + NOTE + 24, 0xffffffff); // a name that wraps
	refused(x, ENOEXEC, "neither");
	set32(x->file + NOTE + 4, 0xfffffffe); // a description that does
	refused(x, ENOEXEC, "neither");
	xen_note(x, 18, 0xfffffff0);
	refused(x, ENOEXEC, "entry point 0xfffffff0 is not in memory");
}

static struct x86_state start(struct rig *x, bool is_pvh, uint64_t initrd_bytes)
{
	struct boot_bare bare = { .pvh = is_pvh, .entry = AT };
	struct boot_info info = { .cmdline = "one two",
				  .initrd_gpa = 0x700000,
				  .initrd_bytes = initrd_bytes };
	struct x86_state s;

	memset(mem_slice(x->mem, 0x80000, 0x20000), 0xee, 0x20000); // nothing relies on zeros
	assert_int_equal(boot_bare_state(x->mem, &bare, &info, &s, &x->e), 0);
	assert_int_equal(s.rip, AT);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.cr0 & 0x80000001, 1); // protection without paging
	assert_int_equal(s.efer, 0);
	assert_int_equal(s.seg[X86_CS].attributes, 0xc09b); // 32-bit, 4 GiB, code
	assert_int_equal(s.seg[X86_SS].attributes, 0xc093);
	assert_int_equal(s.seg[X86_CS].base | s.seg[X86_SS].base | s.seg[X86_DS].base, 0);
	// What the selectors name in the table is what the registers hold.
	assert_int_equal(at(x, s.gdtr.base + s.seg[X86_CS].selector, 8), 0x00cf9b000000ffff);
	assert_int_equal(at(x, s.gdtr.base + s.seg[X86_SS].selector, 8), 0x00cf93000000ffff);
	assert_true(s.gdtr.base >= BOOT_BARE_TABLES && s.gdtr.limit >= s.seg[X86_TR].selector + 7);
	return s;
}

static void multiboot_info(void **state)
{
	struct rig *x = *state;
	struct x86_state s = start(x, false, 0x123);
	uint64_t i = s.gpr[X86_RBX], mods, map;

	assert_int_equal(s.gpr[X86_RAX], 0x2badb002);
	assert_int_equal(at(x, i, 4) & ~512u, 1 | 4 | 8 | 64);
	assert_int_equal(at(x, i + 4, 4), 639);
	assert_int_equal(at(x, i + 8, 4), 7 << 10);
	assert_string_equal(mem_slice(x->mem, at(x, i + 16, 4), 64), "one two");
	assert_int_equal(at(x, i + 20, 4), 1);
	mods = at(x, i + 24, 4);
	assert_int_equal(at(x, mods, 4), 0x700000);
	assert_int_equal(at(x, mods + 4, 4), 0x700123);
	assert_string_equal(mem_slice(x->mem, at(x, mods + 8, 4), 16), "initrd");
	assert_int_equal(at(x, i + 44, 4), 3 * 24);
	map = at(x, i + 48, 4) + 2 * 24;
	assert_int_equal(at(x, map, 4), 20);
	assert_int_equal(at(x, map + 4, 8), 1 << 20);
	assert_int_equal(at(x, map + 12, 8), 7 << 20);
	assert_int_equal(at(x, map + 20, 4), 1);
	s = start(x, false, 0);
	assert_int_equal(at(x, i, 4) & 8, 0);
	assert_int_equal(at(x, i + 20, 4), 0);
}

static void pvh_info(void **state)
{
	struct rig *x = *state;
	struct x86_state s = start(x, true, 0x123);
	uint64_t i = s.gpr[X86_RBX], mods, map;

	assert_int_equal(at(x, i, 4), 0x336ec578);
	assert_int_equal(at(x, i + 4, 4), 1);
	assert_int_equal(at(x, i + 12, 4), 1);
	mods = at(x, i + 16, 8);
	assert_int_equal(at(x, mods, 8), 0x700000);
	assert_int_equal(at(x, mods + 8, 8), 0x123);
	assert_string_equal(mem_slice(x->mem, at(x, i + 24, 8), 64), "one two");
	assert_int_equal(at(x, i + 32, 8), 0); // no ACPI
	map = at(x, i + 40, 8) + 2 * 24;
	assert_int_equal(at(x, i + 48, 4), 3);
	assert_int_equal(at(x, map, 8), 1 << 20);
	assert_int_equal(at(x, map + 8, 8), 7 << 20);
	assert_int_equal(at(x, map + 16, 4), 1);
	(void)start(x, true, 0);
	assert_int_equal(at(x, i + 12, 4), 0);
}

static void long_command_line(void **state)
{
	struct rig *x = *state;
	struct boot_bare bare = { .entry = AT };
	struct boot_info info = { 0 };
	struct x86_state s;
	char text[BOOT_CMDLINE_MAX + 1];

	memset(text, 'a', BOOT_CMDLINE_MAX);
	text[BOOT_CMDLINE_MAX] = 0;
	info.cmdline = text;
	assert_int_equal(boot_bare_state(x->mem, &bare, &info, &s, &x->e), -E2BIG);
	info.cmdline = text + 1;
	assert_int_equal(boot_bare_state(x->mem, &bare, &info, &s, &x->e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(multiboot_elf, setup, teardown),
		cmocka_unit_test_setup_teardown(multiboot_flat, setup, teardown),
		cmocka_unit_test_setup_teardown(multiboot_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(low_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(pvh, setup, teardown),
		cmocka_unit_test_setup_teardown(multiboot_info, setup, teardown),
		cmocka_unit_test_setup_teardown(pvh_info, setup, teardown),
		cmocka_unit_test_setup_teardown(long_command_line, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_multiboot", tests, NULL, NULL);
}
