// SPDX-License-Identifier: Apache-2.0
// Power: one register, described to the guest as a syscon with syscon-poweroff and syscon-reboot. A write ends the machine.
#ifndef VMM_CHIP_POWER_H
#define VMM_CHIP_POWER_H

#include <stdint.h>

struct bus_ops;

#define POWER_BASE 0xd00ff000ull
enum { POWER_BYTES = 0x1000, POWER_OFF_VALUE = 0x5555, POWER_RESET_VALUE = 0x7777 };

struct power {
	void (*off)(void *arg, int reset); // vCPU thread
	void *arg;
};
extern const struct bus_ops power_bus_ops; // dev is a struct power

#endif
