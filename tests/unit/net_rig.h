// SPDX-License-Identifier: Apache-2.0
// A driver of virtio-net without a guest: registers over the bus, rings in memory, the loop turned by hand.
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/mem/mem.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/virtio.h"

enum { RIG_RING = 16, RIG_QUEUES = 2 * NET_PAIRS_MAX + 1, RIG_DATA = 0x200000, RIG_BUF = 0x14000 };
#define RIG_BASE 0xd0004000ull
#define RIG_RAM (16u << 20)

struct rig_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct rig {
	struct loop *loop;
	struct mem *mem;
	struct bus *bus;
	struct dev_host host;
	struct virtio_slot *slot;
	struct virtio_dev *dev;
	int irq;
	unsigned gone;
	char why[128];
};

static inline void rig_write(struct rig *r, uint64_t reg, uint32_t v)
{
	bus_write(r->bus, BUS_MMIO, RIG_BASE + reg, &v, 4);
}

static inline uint32_t rig_read(struct rig *r, uint64_t reg)
{
	uint32_t v;

	bus_read(r->bus, BUS_MMIO, RIG_BASE + reg, &v, 4);
	return v;
}

static inline int rig_doorbell(void *arg, uint64_t gpa, unsigned len, uint64_t match, int fd,
			       bool add, struct err *e)
{
	(void)arg, (void)gpa, (void)len, (void)match, (void)fd, (void)add, (void)e;
	return 0; // kicks come by the register
}

static inline void rig_gone(void *arg, const char *why)
{
	struct rig *r = arg;

	r->gone++;
	strncpy(r->why, why, sizeof(r->why) - 1);
}

static inline void rig_open(struct rig *r)
{
	struct err e = { 0 };
	int bad;

	memset(r, 0, sizeof(*r));
	r->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->bus = bus_new();
	bad = loop_new(&r->loop, &e) || mem_new(RIG_RAM, &r->mem, &e);
	r->host = (struct dev_host){ .loop = r->loop, .mem = r->mem, .doorbell = rig_doorbell };
	bad = bad || virtio_slot_new(&r->host, r->bus, RIG_BASE, (struct irq_line){ r->irq, 9 },
				     &r->slot, &e);
	if (bad)
		abort();
}

static inline void rig_close(struct rig *r)
{
	virtio_slot_free(r->slot);
	loop_free(r->loop);
	bus_free(r->bus);
	mem_free(r->mem);
	(void)close(r->irq);
}

static inline int rig_plug(struct rig *r, struct net_port *port, struct err *e)
{
	struct net_config cfg = {
		.mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .port = port, .gone = rig_gone, .arg = r
	};
	int bad = virtio_net_new(&r->host, &cfg, &r->dev, e);

	return bad ? bad : virtio_slot_plug(r->slot, r->dev, e);
}

static inline uint64_t rig_ring(unsigned q)
{
	return 0x10000 + 0x4000ull * q;
}

static inline void rig_drive(struct rig *r, uint64_t features, unsigned n_queues)
{
	features |= VIRTIO_F_VERSION_1;
	rig_write(r, 0x70, 0);
	rig_write(r, 0x70, 3);
	for (unsigned i = 0; i < 2; i++) {
		rig_write(r, 0x24, i);
		rig_write(r, 0x20, (uint32_t)(features >> (32 * i)));
	}
	rig_write(r, 0x70, 11);
	for (unsigned q = 0; q < n_queues; q++) {
		memset(mem_slice(r->mem, rig_ring(q), 0x3000), 0, 0x3000);
		rig_write(r, 0x30, q);
		rig_write(r, 0x38, RIG_RING);
		rig_write(r, 0x80, (uint32_t)rig_ring(q));
		rig_write(r, 0x90, (uint32_t)rig_ring(q) + 0x1000);
		rig_write(r, 0xa0, (uint32_t)rig_ring(q) + 0x2000);
		rig_write(r, 0x44, 1);
	}
	rig_write(r, 0x70, 15);
}

static inline void rig_turn(struct rig *r)
{
	struct err e;

	for (unsigned i = 0; i < 8; i++)
		(void)loop_once(r->loop, 0, &e); // nothing ready is no failure
}

// Descriptor `at` of queue q: len bytes of memory of its own.
static inline uint8_t *rig_buf(struct rig *r, unsigned q, unsigned at)
{
	return mem_slice(r->mem, RIG_DATA + (q * RIG_RING + at) * (uint64_t)RIG_BUF, RIG_BUF);
}

static inline void rig_desc(struct rig *r, unsigned q, unsigned at, uint32_t len, uint16_t flags,
			    uint16_t next)
{
	struct rig_desc *d = mem_slice(r->mem, rig_ring(q), 16 * RIG_RING);

	d[at] = (struct rig_desc){ RIG_DATA + (q * RIG_RING + at) * (uint64_t)RIG_BUF, len, flags,
				   next };
}

static inline void rig_offer(struct rig *r, unsigned q, uint16_t head)
{
	uint16_t *a = mem_slice(r->mem, rig_ring(q) + 0x1000, 64);

	a[2 + a[1] % RIG_RING] = head;
	a[1]++;
}

static inline void rig_kick(struct rig *r, unsigned q)
{
	rig_write(r, 0x50, q);
	rig_turn(r);
}

static inline uint16_t rig_used(struct rig *r, unsigned q)
{
	return ((uint16_t *)mem_slice(r->mem, rig_ring(q) + 0x2000, 4))[1];
}

static inline uint32_t rig_used_len(struct rig *r, unsigned q, unsigned at)
{
	return ((uint32_t *)mem_slice(r->mem, rig_ring(q) + 0x2000, 256))[2 + 2 * (at % RIG_RING)];
}

#endif
