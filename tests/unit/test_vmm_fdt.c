// SPDX-License-Identifier: Apache-2.0
// The device tree, read back by libfdt: processors, interrupt chips, power, virtio devices.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/chip/ioapic.h"
#include "vmm/chip/power.h"

static const struct boot_virtio devices[4] = {
	{ 0xd0000000, 5 },
	{ 0xd0001000, 6 },
	{ 0xd0002000, 7 },
	{ 0xd0003000, 23 },
};

static struct {
	uint64_t align; // a tree is read by 8 bytes
	uint8_t bytes[BOOT_FDT_MAX];
} tree;

static const void *build(unsigned vcpus, unsigned n_virtio)
{
	struct boot_info info = {
		.cmdline = "", .vcpus = vcpus, .virtio = devices, .n_virtio = n_virtio
	};
	struct err e = { 0 };
	int n;

	memset(&tree, 0xee, sizeof(tree));
	n = boot_fdt_build(&info, tree.bytes, sizeof(tree.bytes), &e);
	if (n < 0)
		fail_msg("%s", e.msg);
	assert_true(n <= (int)sizeof(tree.bytes));
	assert_int_equal(fdt_check_full(tree.bytes, (size_t)n), 0);
	assert_int_equal(fdt_totalsize(tree.bytes), n);
	return tree.bytes;
}

static int node(const void *f, const char *path)
{
	int n = fdt_path_offset(f, path);

	if (n < 0)
		fail_msg("%s: %s", path, fdt_strerror(n));
	return n;
}

// The property is exactly these cells.
static void cells(const void *f, const char *path, const char *name, unsigned n,
		  const uint32_t *want)
{
	int len;
	const fdt32_t *v = fdt_getprop(f, node(f, path), name, &len);

	if (!v)
		fail_msg("%s: no %s", path, name);
	assert_int_equal(len, n * 4);
	for (unsigned i = 0; i < n; i++)
		if (fdt32_ld(&v[i]) != want[i])
			fail_msg("%s: %s: cell %u is %#x, not %#x", path, name, i, fdt32_ld(&v[i]),
				 want[i]);
}

static void cell(const void *f, const char *path, const char *name, uint32_t want)
{
	cells(f, path, name, 1, &want);
}

static void reg(const void *f, const char *path, uint64_t base, uint64_t len)
{
	const uint32_t want[4] = { (uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(len >> 32),
				   (uint32_t)len };

	cells(f, path, "reg", 4, want);
}

static void text(const void *f, const char *path, const char *name, const char *want)
{
	const char *v = fdt_getprop(f, node(f, path), name, NULL);

	assert_non_null(v);
	assert_string_equal(v, want);
}

static void flag(const void *f, const char *path, const char *name)
{
	int len = -1;

	assert_non_null(fdt_getprop(f, node(f, path), name, &len));
	assert_int_equal(len, 0);
}

static unsigned count(const void *f, const char *compatible)
{
	unsigned n = 0;

	for (int at = fdt_node_offset_by_compatible(f, -1, compatible); at >= 0;
	     at = fdt_node_offset_by_compatible(f, at, compatible))
		n++;
	return n;
}

static void processors(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 64; n = n == 1 ? 3 : n == 3 ? 64 : 65) {
		const void *f = build(n, 0);
		int child;
		unsigned i = 0;

		cell(f, "/cpus", "#address-cells", 1);
		cell(f, "/cpus", "#size-cells", 0);
		fdt_for_each_subnode(child, f, node(f, "/cpus"))
		{
			char path[32];

			(void)snprintf(path, sizeof(path), "/cpus/cpu@%u", i); // fits
			assert_int_equal(node(f, path), child);
			text(f, path, "device_type", "cpu");
			cell(f, path, "reg", i);
			i++;
		}
		assert_int_equal(i, n);
	}
}

static void chips(void **state)
{
	static const char lapic[] = "/soc/interrupt-controller@fee00000",
			  ioapic[] = "/soc/interrupt-controller@fec00000";
	const void *f = build(1, 0);

	(void)state;
	cell(f, "/", "#address-cells", 2);
	cell(f, "/", "#size-cells", 2);
	cell(f, "/soc", "#address-cells", 2);
	cell(f, "/soc", "#size-cells", 2);
	text(f, "/soc", "compatible", "simple-bus");
	flag(f, "/soc", "ranges");
	text(f, lapic, "compatible", "intel,ce4100-lapic");
	flag(f, lapic, "intel,virtual-wire-mode");
	reg(f, lapic, 0xfee00000, 0x1000);
	text(f, ioapic, "compatible", "intel,ce4100-ioapic");
	flag(f, ioapic, "interrupt-controller");
	cell(f, ioapic, "#interrupt-cells", 2);
	cell(f, ioapic, "#address-cells", 0);
	reg(f, ioapic, IOAPIC_BASE, IOAPIC_BYTES);
}

static void power_and_clock(void **state)
{
	const void *f = build(1, 1);
	uint32_t syscon = fdt_get_phandle(f, node(f, "/soc/power@d00ff000"));

	(void)state;
	assert_true(syscon != 0);
	text(f, "/soc/power@d00ff000", "compatible", "syscon");
	reg(f, "/soc/power@d00ff000", POWER_BASE, POWER_BYTES);
	text(f, "/soc/poweroff", "compatible", "syscon-poweroff");
	cell(f, "/soc/poweroff", "regmap", syscon);
	cell(f, "/soc/poweroff", "offset", 0);
	cell(f, "/soc/poweroff", "value", POWER_OFF_VALUE);
	text(f, "/soc/reboot", "compatible", "syscon-reboot");
	cell(f, "/soc/reboot", "regmap", syscon);
	cell(f, "/soc/reboot", "offset", 0);
	cell(f, "/soc/reboot", "value", POWER_RESET_VALUE);
	text(f, "/soc/rtc", "compatible", "motorola,mc146818");
	text(f, "/soc/rtc", "status", "disabled");
}

static void virtio(void **state)
{
	static const unsigned counts[] = { 0, 1, 4 };

	(void)state;
	for (unsigned c = 0; c < 3; c++) {
		const void *f = build(2, counts[c]);
		uint32_t ioapic = fdt_get_phandle(f, node(f, "/soc/interrupt-controller@fec00000"));

		assert_true(ioapic != 0);
		assert_int_equal(count(f, "virtio,mmio"), counts[c]);
		for (unsigned i = 0; i < counts[c]; i++) {
			const uint32_t irq[2] = { devices[i].gsi, 3 };
			char path[48];

			(void)snprintf(path, sizeof(path), "/soc/virtio@%llx", // fits
				       (unsigned long long)devices[i].base);
			reg(f, path, devices[i].base, 0x200);
			cells(f, path, "interrupts", 2, irq);
			cell(f, path, "interrupt-parent", ioapic);
		}
	}
}

static void too_small(void **state)
{
	struct boot_info info = { .cmdline = "", .vcpus = 2, .virtio = devices, .n_virtio = 4 };
	struct err e = { 0 };
	int need = boot_fdt_build(&info, tree.bytes, sizeof(tree.bytes), &e);

	(void)state;
	assert_true(need > 0);
	for (int room = 0; room < need; room += room < need - 80 ? 37 : 1) {
		memset(tree.bytes, 0xee, sizeof(tree.bytes));
		memset(&e, 0, sizeof(e));
		assert_int_equal(boot_fdt_build(&info, tree.bytes, (unsigned)room, &e), -ENOSPC);
		assert_non_null(strstr(e.msg, "device tree"));
		for (int i = room; i < need + 64; i++) // nothing beyond the room
			assert_int_equal(tree.bytes[i], 0xee);
	}
	assert_int_equal(boot_fdt_build(&info, tree.bytes, (unsigned)need, &e), need);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processors),      cmocka_unit_test(chips),
		cmocka_unit_test(power_and_clock), cmocka_unit_test(virtio),
		cmocka_unit_test(too_small),
	};

	return cmocka_run_group_tests_name("vmm_fdt", tests, NULL, NULL);
}
