// SPDX-License-Identifier: Apache-2.0
// A virtio-mmio window whose device comes later. The device tree names it from the start, so that the guest has only to
// look again: nothing is added to a running machine's bus.
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct virtio_slot {
	struct dev_host host;
	uint64_t base;
	struct irq_line irq;
	struct virtio_mmio *t; // published once; vCPU threads read it
};

static struct virtio_mmio *slot_device(const struct virtio_slot *s)
{
	return __atomic_load_n(&s->t, __ATOMIC_ACQUIRE);
}

static void slot_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct virtio_mmio *t = slot_device(dev);
	// MagicValue, Version, DeviceID: what a driver reads of an empty place.
	static const uint32_t empty[3] = { 0x74726976, 2, 0 };

	if (t) {
		virtio_mmio_read(t, off, data, len);
		return;
	}
	memset(data, 0, len);
	if (len == 4 && !(off & 3) && off / 4 < 3)
		memcpy(data, &empty[off / 4], 4);
}

static void slot_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct virtio_mmio *t = slot_device(dev);

	if (t)
		virtio_mmio_write(t, off, data, len);
}

static const struct bus_ops slot_bus_ops = { .name = "virtio-mmio",
					     .read = slot_read,
					     .write = slot_write };

int virtio_slot_new(const struct dev_host *host, struct bus *bus, uint64_t base,
		    struct irq_line irq, struct virtio_slot **ret, struct err *e)
{
	struct virtio_slot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "virtio slot");
	*s = (struct virtio_slot){ .host = *host, .base = base, .irq = irq };
	r = bus_add(bus, BUS_MMIO, base, VIRTIO_MMIO_BYTES, &slot_bus_ops, s);
	if (r < 0) {
		free(s);
		return err_errno(e, -r, "virtio slot");
	}
	*ret = s;
	return 0;
}

bool virtio_slot_is_free(const struct virtio_slot *s)
{
	return !slot_device(s);
}

int virtio_slot_plug(struct virtio_slot *s, struct virtio_dev *dev, struct err *e)
{
	struct virtio_mmio *t;
	int r;

	if (!virtio_slot_is_free(s)) {
		virtio_dev_free(dev);
		return err_set(e, EBUSY, "virtio slot: it has a device");
	}
	r = virtio_mmio_new(&s->host, NULL, s->base, s->irq, dev, &t, e);
	if (r == 0)
		__atomic_store_n(&s->t, t, __ATOMIC_RELEASE);
	return r;
}

void virtio_slot_free(struct virtio_slot *s)
{
	if (!s)
		return;
	virtio_mmio_free(s->t);
	free(s);
}
