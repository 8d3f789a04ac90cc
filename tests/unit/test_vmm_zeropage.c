// SPDX-License-Identifier: Apache-2.0
// What the kernel is given at its entry: the zero page, its chain of setup data, the command line, the processor's state.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/mem/mem.h"

static const struct boot_virtio device = { 0xd0000000, 5 };

static struct mem *ram_of(uint64_t bytes)
{
	struct mem *m = NULL;
	struct err e = { 0 };

	if (mem_new(bytes, &m, &e) < 0)
		fail_msg("%s", e.msg);
	return m;
}

static uint64_t at(const struct mem *m, uint64_t gpa, unsigned bytes)
{
	const void *p = mem_slice(m, gpa, bytes);
	uint64_t v = 0;

	assert_non_null(p);
	memcpy(&v, p, bytes);
	return v;
}

static uint64_t zp(const struct mem *m, unsigned off, unsigned bytes)
{
	return at(m, BOOT_ZERO_PAGE + off, bytes);
}

static void make(struct mem *m, const char *cmdline)
{
	struct boot_info info = { .cmdline = cmdline,
				  .initrd_gpa = 0x700000,
				  .initrd_bytes = 0x12345,
				  .vcpus = 2,
				  .virtio = &device,
				  .n_virtio = 1 };
	struct err e = { 0 };

	memset(mem_slice(m, 0, 0x30000), 0xee, 0x30000); // nothing relies on zeros
	if (boot_zero_page(m, &info, &e) < 0)
		fail_msg("%s", e.msg);
}

static void header(void **state)
{
	struct mem *m = ram_of(8 << 20);

	(void)state;
	make(m, "console=hvc0 quiet");
	assert_int_equal(zp(m, 0x1fe, 2), 0xaa55);
	assert_memory_equal(mem_slice(m, BOOT_ZERO_PAGE + 0x202, 4), "HdrS", 4);
	assert_true(zp(m, 0x206, 2) >= 0x20c); // 64-bit entry
	assert_int_equal(zp(m, 0x210, 1), 0xff);
	assert_int_equal(zp(m, 0x211, 1) & 1, 1);
	assert_int_equal(zp(m, 0x218, 4), 0x700000);
	assert_int_equal(zp(m, 0x21c, 4), 0x12345);
	assert_int_equal(zp(m, 0x23c, 4), 4); // CE4100
	assert_int_equal(zp(m, 0x228, 4), BOOT_CMDLINE);
	assert_string_equal(mem_slice(m, BOOT_CMDLINE, 64), "console=hvc0 quiet");
	assert_int_equal(zp(m, 0xff0, 8), 0); // the rest is clear
	assert_int_equal(zp(m, 0, 8), 0);
	mem_free(m);
}

static void entry(const struct mem *m, unsigned i, uint64_t base, uint64_t len, unsigned type)
{
	assert_int_equal(zp(m, 0x2d0 + 20 * i, 8), base);
	assert_int_equal(zp(m, 0x2d0 + 20 * i + 8, 8), len);
	assert_int_equal(zp(m, 0x2d0 + 20 * i + 16, 4), type);
}

static void e820(void **state)
{
	struct mem *m = ram_of(8 << 20);

	(void)state;
	make(m, "");
	assert_int_equal(zp(m, 0x1e8, 1), 3);
	entry(m, 0, 0, 0x9fc00, 1);
	entry(m, 1, 0x9fc00, 0x60400, 2);
	entry(m, 2, 1 << 20, 7 << 20, 1);
	mem_free(m);
	m = ram_of(5ull << 30); // around the gap
	make(m, "");
	assert_int_equal(zp(m, 0x1e8, 1), 4);
	entry(m, 2, 1 << 20, MEM_GAP_START - (1 << 20), 1);
	entry(m, 3, MEM_GAP_END, 2ull << 30, 1);
	mem_free(m);
}

static void setup_data(void **state)
{
	struct mem *m = ram_of(8 << 20);
	uint8_t first[32];
	unsigned seeds = 0, trees = 0, n = 0;

	(void)state;
	make(m, "");
	for (uint64_t d = zp(m, 0x250, 8); d; d = at(m, d, 8)) {
		uint32_t type = (uint32_t)at(m, d + 8, 4), len = (uint32_t)at(m, d + 12, 4);
		const void *p = mem_slice(m, d + 16, len);

		assert_true(++n <= 2);
		assert_non_null(p);
		if (type == 9) {
			assert_int_equal(len, sizeof(first));
			memcpy(first, p, sizeof(first));
			seeds++;
		} else {
			assert_int_equal(type, 2);
			assert_int_equal(fdt_check_full(p, len), 0);
			assert_int_equal(fdt_totalsize(p), len);
			assert_true(fdt_path_offset(p, "/cpus/cpu@1") >= 0);
			assert_true(fdt_path_offset(p, "/soc/virtio@d0000000") >= 0);
			trees++;
		}
	}
	assert_int_equal(seeds, 1);
	assert_int_equal(trees, 1);
	make(m, ""); // another pod, another seed
	assert_memory_not_equal(mem_slice(m, BOOT_SETUP_DATA + 16, 32), first, 32);
	mem_free(m);
}

static void cmdline(void **state)
{
	struct mem *m = ram_of(8 << 20);
	char line[BOOT_CMDLINE_MAX + 1];
	struct boot_info info = { .cmdline = line, .vcpus = 1 };
	struct err e = { 0 };

	(void)state;
	memset(line, 'a', sizeof(line));
	line[BOOT_CMDLINE_MAX] = 0;
	assert_int_equal(boot_zero_page(m, &info, &e), -E2BIG);
	assert_non_null(strstr(e.msg, "kernel command line: longer than 2047 bytes"));
	line[BOOT_CMDLINE_MAX - 1] = 0;
	make(m, line); // the longest
	assert_string_equal(mem_slice(m, BOOT_CMDLINE, BOOT_CMDLINE_MAX), line);
	assert_int_equal(at(m, BOOT_CMDLINE + BOOT_CMDLINE_MAX, 1), 0xee);
	make(m, "");
	assert_string_equal(mem_slice(m, BOOT_CMDLINE, 1), "");
	mem_free(m);
}

static void too_many_devices(void **state)
{
	struct mem *m = ram_of(8 << 20);
	static struct boot_virtio many[1000];
	struct boot_info info = { .cmdline = "", .vcpus = 1, .virtio = many, .n_virtio = 1000 };
	struct err e = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		many[i] = (struct boot_virtio){ 0xd0000000 + 0x1000ull * i, 5 };
	assert_int_equal(boot_zero_page(m, &info, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "device tree"));
	mem_free(m);
}

// The page tables say that each of the first 4 GiB is itself.
static void identity(const struct mem *m, uint64_t cr3, uint64_t gva)
{
	uint64_t pml4e = at(m, cr3 + (gva >> 39 & 511) * 8, 8);
	uint64_t pdpte = at(m, (pml4e & ~0xfffull) + (gva >> 30 & 511) * 8, 8);

	assert_int_equal(pml4e & 3, 3);
	assert_int_equal(pdpte & 0x83, 0x83); // 1 GiB, writable
	assert_int_equal((pdpte & ~0x3fffffffull) + (gva & 0x3fffffff), gva);
}

static void cpu_state(void **state)
{
	struct mem *m = ram_of(8 << 20);
	struct x86_state s;
	struct err e = { 0 };
	uint64_t gdt, ds;

	(void)state;
	memset(mem_slice(m, 0, 0x7000), 0xee, 0x7000);
	memset(&s, 0xee, sizeof(s));
	assert_int_equal(boot_cpu_state(m, 0x1000200, &s, &e), 0);
	assert_int_equal(s.rip, 0x1000200);
	assert_int_equal(s.gpr[X86_RSI], BOOT_ZERO_PAGE);
	assert_int_equal(s.rflags, 2); // interrupts off
	assert_int_equal(s.cr0 & 0x80000001, 0x80000001);
	assert_int_equal(s.cr4 & 0x20, 0x20);
	assert_int_equal(s.efer & 0x500, 0x500);
	for (uint64_t gva = 0; gva < 1ull << 32; gva += 0x3ff01234)
		identity(m, s.cr3, gva);
	assert_int_equal(at(m, s.cr3 + 8, 8), 0); // no more
	// __BOOT_CS and __BOOT_DS, in the registers and in the table.
	assert_int_equal(s.seg[X86_CS].selector, 0x10);
	assert_int_equal(s.seg[X86_CS].attributes & 0xa09b, 0xa09b);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(s.seg[i].selector, i == X86_CS ? 0x10 : 0x18);
		assert_int_equal(s.seg[i].base, 0);
	}
	assert_true(s.gdtr.limit >= 0x1f);
	gdt = at(m, s.gdtr.base + 0x10, 8);
	ds = at(m, s.gdtr.base + 0x18, 8);
	assert_int_equal(gdt >> 40 & 0x9f, 0x9b);
	assert_int_equal(gdt >> 53 & 1, 1); // L
	assert_int_equal(ds >> 40 & 0x9f, 0x93);
	assert_int_equal(at(m, s.gdtr.base, 8), 0);
	assert_int_equal(s.seg[X86_TR].attributes, 0x8b); // busy: as a running processor has it
	assert_int_equal(s.idtr.limit, 0);
	assert_int_equal(s.fxsave[0] | s.fxsave[1] << 8, 0x37f);
	assert_int_equal(s.fxsave[24] | s.fxsave[25] << 8, 0x1f80);
	assert_false(s.halted);
	mem_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header),           cmocka_unit_test(e820),
		cmocka_unit_test(setup_data),       cmocka_unit_test(cmdline),
		cmocka_unit_test(too_many_devices), cmocka_unit_test(cpu_state),
	};

	return cmocka_run_group_tests_name("vmm_zeropage", tests, NULL, NULL);
}
