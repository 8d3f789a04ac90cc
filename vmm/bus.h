// SPDX-License-Identifier: Apache-2.0
// What a device knows of the machine: a place on the memory or port bus, an interrupt line, doorbells, the loop.
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;
struct mem;

// A device's registers. Called on a vCPU thread with no lock held: the device locks itself. len is 1, 2, 4 or 8;
// off + len lies inside the range; /* guest */ chooses both. read must fill all of data.
struct bus_ops {
	const char *name;
	void (*read)(void *dev, uint64_t off, void *data, unsigned len);
	void (*write)(void *dev, uint64_t off, const void *data, unsigned len);
};

struct bus;
enum bus_space { BUS_MMIO, BUS_PIO };

struct bus *bus_new(void);
void bus_free(struct bus *b);
// Ranges must not overlap (-EEXIST). Before vCPUs run.
int bus_add(struct bus *b, enum bus_space space, uint64_t base, uint64_t len,
	    const struct bus_ops *ops, void *dev);
// Unclaimed addresses read as all ones and ignore writes. Any thread.
void bus_read(struct bus *b, enum bus_space space, uint64_t addr, void *data, unsigned len);
void bus_write(struct bus *b, enum bus_space space, uint64_t addr, const void *data, unsigned len);

// What the machine hands to each device when it is made.
struct dev_host {
	struct loop *loop; // all device work happens here
	struct mem *mem;
	// Registers (add) or removes an eventfd that is signalled by a guest write of `match` with `len` bytes at gpa, with
	// no exit. Any thread. 0 or -errno.
	int (*doorbell)(void *arg, uint64_t gpa, unsigned len, uint64_t match, int fd, bool add,
			struct err *e);
	void *arg;
};

// An edge-triggered interrupt line: writing 1 (u64) to the eventfd raises it. The machine makes and owns the fd.
struct irq_line {
	int fd;
	unsigned gsi;
};

#endif
