// SPDX-License-Identifier: Apache-2.0
#include "vmm/chip/power.h"

#include <string.h>

#include "vmm/bus.h"

// needs CONFIG_POWER_RESET_SYSCON
// needs CONFIG_POWER_RESET_SYSCON_POWEROFF

static void power_read(void *dev, uint64_t off, void *data, unsigned len)
{
	(void)dev;
	(void)off;
	memset(data, 0, len);
}

static void power_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct power *p = dev;
	uint32_t v = 0;

	memcpy(&v, data, len < 4 ? len : 4);
	if (off == 0 && (v == POWER_OFF_VALUE || v == POWER_RESET_VALUE))
		p->off(p->arg, v == POWER_RESET_VALUE);
}

const struct bus_ops power_bus_ops = { .name = "power", .read = power_read, .write = power_write };
