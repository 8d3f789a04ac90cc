// SPDX-License-Identifier: Apache-2.0
#include "vmm/chip/testdev.h"

#include <string.h>

#include "vmm/bus.h"
#include "vmm/chip/ioapic.h"

#define RAM_BASE 0xff000000ull
enum { DATA_PORT = 0xe0, DATA_PORTS = 4 };
enum { LINES_PORT = 0x2000, PIC_LINES = 16, MASK_PORT = 0x21, MASK2_PORT = 0xa1 };

static void lines_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct testdev *t = dev;

	memset(data, 0, len);
	*(uint8_t *)data = atomic_load(&t->lines) >> off & 1;
}

static void lines_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	bool asserted = *(const uint8_t *)data & 1;
	uint32_t bit = 1u << off, was;
	struct testdev *t = dev;

	(void)len; // the low byte counts
	was = asserted ? atomic_fetch_or(&t->lines, bit) : atomic_fetch_and(&t->lines, ~bit);
	ioapic_set_line(t->ioapic, (unsigned)off, asserted);
	if (asserted && !(was & bit) && off < PIC_LINES && !(t->mask[off / 8] >> off % 8 & 1))
		t->extint(t->arg, (uint8_t)(off < 8 ? 8 + off : 0x70 + off - 8));
}

// Processors may meet here: byte by byte, as on a bus.
static void bytes_read(void *dev, uint64_t off, void *data, unsigned len)
{
	_Atomic uint8_t *from = dev;

	for (unsigned i = 0; i < len; i++)
		((uint8_t *)data)[i] = from[off + i];
}

static void bytes_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	_Atomic uint8_t *to = dev;

	for (unsigned i = 0; i < len; i++)
		to[off + i] = ((const uint8_t *)data)[i];
}

static const struct bus_ops bytes_ops = { "test memory", bytes_read, bytes_write };
static const struct bus_ops lines_ops = { "test lines", lines_read, lines_write };

int testdev_add(struct testdev *t, struct bus *bus)
{
	const struct {
		enum bus_space space;
		uint64_t base, len;
		void *bytes;
	} memory[] = {
		{ BUS_PIO, DATA_PORT, DATA_PORTS, t->port },
		{ BUS_PIO, MASK_PORT, 1, &t->mask[0] },
		{ BUS_PIO, MASK2_PORT, 1, &t->mask[1] },
		{ BUS_MMIO, RAM_BASE, TESTDEV_RAM_BYTES, t->ram },
	};
	int r = bus_add(bus, BUS_PIO, LINES_PORT, IOAPIC_PINS, &lines_ops, t);

	for (unsigned i = 0; r == 0 && i < sizeof(memory) / sizeof(*memory); i++)
		r = bus_add(bus, memory[i].space, memory[i].base, memory[i].len, &bytes_ops,
			    memory[i].bytes);
	return r;
}
