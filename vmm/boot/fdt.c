// SPDX-License-Identifier: Apache-2.0
// The machine as a device tree. Linux's x86 side of it is arch/x86/kernel/devicetree.c: CPUs by APIC id, a local APIC in
// virtual wire mode, an IOAPIC whose interrupts have two cells (pin, type; 3 is a rising edge).
#include "vmm/boot/boot.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>

#include "base/err.h"
#include "vmm/chip/ioapic.h"
#include "vmm/chip/power.h"
#include "vmm/virtio/virtio.h"

// needs CONFIG_OF
enum { PHANDLE_IOAPIC = 1, PHANDLE_POWER = 2, EDGE_RISING = 3 };

static int reg(void *f, uint64_t base, uint64_t len)
{
	fdt64_t v[2] = { cpu_to_fdt64(base), cpu_to_fdt64(len) };

	return fdt_property(f, "reg", v, sizeof(v));
}

static int cpus(void *f, unsigned n)
{
	int r = fdt_begin_node(f, "cpus");

	r = r ? r : fdt_property_u32(f, "#address-cells", 1);
	r = r ? r : fdt_property_u32(f, "#size-cells", 0);
	for (unsigned i = 0; i < n && !r; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "cpu@%u", i); // fits
		r = fdt_begin_node(f, name);
		r = r ? r : fdt_property_string(f, "device_type", "cpu");
		r = r ? r : fdt_property_string(f, "compatible", "intel,x86");
		r = r ? r : fdt_property_u32(f, "reg", i);
		r = r ? r : fdt_end_node(f);
	}
	return r ? r : fdt_end_node(f);
}

static int interrupt_chips(void *f)
{
	int r = fdt_begin_node(f, "interrupt-controller@fee00000");

	r = r ? r : fdt_property_string(f, "compatible", "intel,ce4100-lapic");
	r = r ? r : reg(f, 0xfee00000, 0x1000);
	r = r ? r : fdt_property(f, "intel,virtual-wire-mode", NULL, 0);
	r = r ? r : fdt_end_node(f);
	r = r ? r : fdt_begin_node(f, "interrupt-controller@fec00000");
	r = r ? r : fdt_property_string(f, "compatible", "intel,ce4100-ioapic");
	r = r ? r : fdt_property(f, "interrupt-controller", NULL, 0);
	r = r ? r : fdt_property_u32(f, "#interrupt-cells", 2);
	r = r ? r : fdt_property_u32(f, "#address-cells", 0);
	r = r ? r : fdt_property_u32(f, "phandle", PHANDLE_IOAPIC);
	r = r ? r : reg(f, IOAPIC_BASE, IOAPIC_BYTES);
	return r ? r : fdt_end_node(f);
}

static int power(void *f)
{
	static const struct {
		const char *node, *compatible;
		uint32_t value;
	} uses[] = { { "poweroff", "syscon-poweroff", POWER_OFF_VALUE },
		     { "reboot", "syscon-reboot", POWER_RESET_VALUE } };
	int r = fdt_begin_node(f, "power@d00ff000");

	r = r ? r : fdt_property_string(f, "compatible", "syscon");
	r = r ? r : fdt_property_u32(f, "phandle", PHANDLE_POWER);
	r = r ? r : reg(f, POWER_BASE, POWER_BYTES);
	r = r ? r : fdt_end_node(f);
	for (unsigned i = 0; i < 2 && !r; i++) {
		r = fdt_begin_node(f, uses[i].node);
		r = r ? r : fdt_property_string(f, "compatible", uses[i].compatible);
		r = r ? r : fdt_property_u32(f, "regmap", PHANDLE_POWER);
		r = r ? r : fdt_property_u32(f, "offset", 0);
		r = r ? r : fdt_property_u32(f, "value", uses[i].value);
		r = r ? r : fdt_end_node(f);
	}
	return r;
}

// A clock chip that is said to be absent: otherwise Linux looks for one by port, and waits a second for it.
static int no_rtc(void *f)
{
	int r = fdt_begin_node(f, "rtc");

	r = r ? r : fdt_property_string(f, "compatible", "motorola,mc146818");
	r = r ? r : fdt_property_string(f, "status", "disabled");
	return r ? r : fdt_end_node(f);
}

static int virtio(void *f, const struct boot_virtio *v)
{
	fdt32_t irq[2] = { cpu_to_fdt32(v->gsi), cpu_to_fdt32(EDGE_RISING) };
	char name[32];
	int r;

	(void)snprintf(name, sizeof(name), "virtio@%llx", (unsigned long long)v->base); // fits
	r = fdt_begin_node(f, name);
	r = r ? r : fdt_property_string(f, "compatible", "virtio,mmio");
	r = r ? r : reg(f, v->base, 0x200);
	r = r ? r : fdt_property(f, "interrupts", irq, sizeof(irq));
	r = r ? r : fdt_property_u32(f, "interrupt-parent", PHANDLE_IOAPIC);
	return r ? r : fdt_end_node(f);
}

int boot_fdt_build(const struct boot_info *info, void *buf, unsigned room, struct err *e)
{
	int r = fdt_create(buf, (int)room);

	r = r ? r : fdt_finish_reservemap(buf);
	r = r ? r : fdt_begin_node(buf, "");
	r = r ? r : fdt_property_string(buf, "compatible", "bulkhead,pod");
	r = r ? r : fdt_property_string(buf, "model", "Bulkhead");
	r = r ? r : fdt_property_u32(buf, "#address-cells", 2);
	r = r ? r : fdt_property_u32(buf, "#size-cells", 2);
	r = r ? r : cpus(buf, info->vcpus);
	r = r ? r : fdt_begin_node(buf, "soc");
	r = r ? r : fdt_property_string(buf, "compatible", "simple-bus");
	r = r ? r : fdt_property_u32(buf, "#address-cells", 2);
	r = r ? r : fdt_property_u32(buf, "#size-cells", 2);
	r = r ? r : fdt_property(buf, "ranges", NULL, 0);
	r = r ? r : interrupt_chips(buf);
	r = r ? r : power(buf);
	r = r ? r : no_rtc(buf);
	for (unsigned i = 0; i < info->n_virtio && !r; i++)
		r = virtio(buf, &info->virtio[i]);
	r = r ? r : fdt_end_node(buf);
	r = r ? r : fdt_end_node(buf);
	r = r ? r : fdt_finish(buf);
	if (r)
		return err_set(e, ENOSPC, "device tree: %s", fdt_strerror(r));
	return (int)fdt_totalsize(buf);
}
