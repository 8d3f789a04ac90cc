// SPDX-License-Identifier: Apache-2.0
// What bare-metal test guests try a machine with (QEMU's pc-testdev): port 2000h + N is IOAPIC line N; E0h to E3h, and 64
// KiB at ff000000h, are memory that every access leaves the processor for. Lines 0 to 15 lead to a PC's two 8259s too, in
// the state that its firmware leaves them in: vectors 8 and 70h, open until a guest masks them.
#ifndef VMM_CHIP_TESTDEV_H
#define VMM_CHIP_TESTDEV_H

#include <stdatomic.h>
#include <stdint.h>

struct bus;
struct bus_ops;
struct ioapic;

enum { TESTDEV_RAM_BYTES = 65536 };

struct testdev {
	struct ioapic *ioapic;
	void (*extint)(void *arg, uint8_t vector); // vCPU thread
	void *arg;
	_Atomic uint32_t lines;  // asserted
	_Atomic uint8_t mask[2]; // of the two 8259s
	_Atomic uint8_t port[4], ram[TESTDEV_RAM_BYTES];
};

// Puts its ports on the bus. t outlives it. 0 or -errno.
int testdev_add(struct testdev *t, struct bus *bus);

#endif
