// SPDX-License-Identifier: Apache-2.0
// virtio-mmio (virtio 1.2, 4.2): registers, queue set-up, kicks by doorbell, interrupts by eventfd.
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "vmm/virtio/device.h"

// needs CONFIG_VIRTIO_MMIO

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC_LOW = 0x080,
	REG_QUEUE_DESC_HIGH = 0x084,
	REG_QUEUE_DRIVER_LOW = 0x090,
	REG_QUEUE_DRIVER_HIGH = 0x094,
	REG_QUEUE_DEVICE_LOW = 0x0a0,
	REG_QUEUE_DEVICE_HIGH = 0x0a4,
	REG_SHM_LEN_LOW = 0x0b0,
	REG_SHM_BASE_HIGH = 0x0bc,
	REG_CONFIG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,
};
enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	STATUS_FAILED = 128
};
enum { INTERRUPT_USED = 1, INTERRUPT_CONFIG = 2 };

struct mmio_queue {
	uint32_t num, ready;
	uint64_t desc, driver, device;
};

struct kick {
	struct virtio_mmio *t;
	unsigned queue;
	struct loop_source *source;
};

struct virtio_mmio {
	struct virtio_dev *dev; // owned; its lock guards this too
	struct dev_host host;
	uint64_t base;
	struct irq_line irq;
	struct {
		uint32_t status, interrupt, device_sel, driver_sel, queue_sel;
		uint32_t generation; // of the configuration
		uint64_t driver_features;
	} state;
	struct mmio_queue *queue; // n_queues of each
	struct kick *kick;
	struct log_limit limit;
};

void virtio_dev_init(struct virtio_dev *d, const struct virtio_dev_ops *ops,
		     const struct dev_host *host)
{
	d->ops = ops;
	d->host = *host;
	(void)pthread_mutex_init(&d->lock, NULL); // cannot fail with default attributes
	d->offered = ops->features;
	d->n_queues = ops->n_queues;
	d->queue_size = ops->queue_size;
}

void virtio_dev_free(struct virtio_dev *dev)
{
	if (dev)
		dev->ops->free(dev);
}

static uint64_t offered(const struct virtio_mmio *t)
{
	return t->dev->offered | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
}

static void raise_irq(struct virtio_mmio *t, uint32_t why)
{
	uint64_t one = 1;

	t->state.interrupt |= why;
	(void)write(t->irq.fd, &one, sizeof(one)); // an eventfd takes a one
}

static void transport_notify(struct virtio_dev *d)
{
	raise_irq(d->transport, INTERRUPT_USED);
}

static void transport_broken(struct virtio_dev *d, const char *why)
{
	struct virtio_mmio *t = d->transport;

	if (log_limit_ok(&t->limit, 1))
		log_warn("%s: %s; the device needs a reset", d->ops->name, why);
	t->state.status |= STATUS_NEEDS_RESET;
	raise_irq(t, INTERRUPT_CONFIG);
}

static void transport_changed(struct virtio_dev *d)
{
	struct virtio_mmio *t = d->transport;

	t->state.generation++;
	if (t->state.status & STATUS_DRIVER_OK)
		raise_irq(t, INTERRUPT_CONFIG);
}

static void kick_locked(struct virtio_mmio *t, unsigned q)
{
	struct virtio_dev *d = t->dev;

	if (!(t->state.status & STATUS_DRIVER_OK) || (t->state.status & STATUS_NEEDS_RESET) ||
	    !d->ops->kick)
		return;
	d->ops->kick(d, q);
	if (d->queue[q].broken)
		transport_broken(d, "the guest broke a queue's rules");
}

static void on_kick(void *arg, uint32_t events)
{
	struct kick *k = arg;
	uint64_t n;

	(void)events;
	if (read(k->t->dev->kick_fd[k->queue], &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	pthread_mutex_lock(&k->t->dev->lock);
	kick_locked(k->t, k->queue);
	pthread_mutex_unlock(&k->t->dev->lock);
}

static void reset_locked(struct virtio_mmio *t)
{
	if (t->state.status & STATUS_DRIVER_OK)
		t->dev->ops->reset(t->dev);
	for (unsigned i = 0; i < t->dev->n_queues; i++)
		queue_stop(&t->dev->queue[i]);
	memset(&t->state, 0, sizeof(t->state));
	memset(t->queue, 0, t->dev->n_queues * sizeof(*t->queue));
	t->dev->features = 0;
}

static void activate_locked(struct virtio_mmio *t)
{
	struct virtio_dev *d = t->dev;
	int r = 0;

	d->features = t->state.driver_features;
	for (unsigned i = 0; i < d->n_queues && r == 0; i++) {
		if (!t->queue[i].ready)
			continue;
		r = queue_start(&d->queue[i], d->host.mem, (uint16_t)t->queue[i].num,
				t->queue[i].desc, t->queue[i].driver, t->queue[i].device,
				d->features);
	}
	if (r == 0)
		r = d->ops->activate(d);
	if (r < 0)
		transport_broken(d, "its queues cannot be used");
	// A kick that came before is still in the eventfd; look once in any case.
	for (unsigned i = 0; r == 0 && i < d->n_queues; i++)
		kick_locked(t, i);
}

static void status_write(struct virtio_mmio *t, uint32_t v)
{
	uint32_t was = t->state.status;

	if (v == 0) {
		reset_locked(t);
		return;
	}
	v &= 0xff;
	if ((v & STATUS_FEATURES_OK) && !(was & STATUS_FEATURES_OK) &&
	    ((t->state.driver_features & ~offered(t)) ||
	     !(t->state.driver_features & VIRTIO_F_VERSION_1)))
		v &= ~(uint32_t)STATUS_FEATURES_OK; // the driver reads it back and gives up
	t->state.status = v | (was & STATUS_NEEDS_RESET);
	if ((v & STATUS_DRIVER_OK) && !(was & STATUS_DRIVER_OK)) {
		if (v & STATUS_FEATURES_OK)
			activate_locked(t);
		else
			transport_broken(t->dev, "DRIVER_OK without FEATURES_OK");
	}
}

static void half(uint64_t *to, uint32_t v, bool high)
{
	*to = high ? (*to & 0xffffffff) | (uint64_t)v << 32 : (*to & ~0xffffffffull) | v;
}

static void queue_write(struct virtio_mmio *t, uint64_t off, uint32_t v)
{
	uint32_t q = t->state.queue_sel;

	if (q >= t->dev->n_queues || (t->state.status & STATUS_DRIVER_OK))
		return;
	switch (off) {
	case REG_QUEUE_NUM:
		if (v && v <= t->dev->queue_size[q] && !(v & (v - 1)))
			t->queue[q].num = v;
		break;
	case REG_QUEUE_READY:
		t->queue[q].ready = v & 1;
		break;
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
		half(&t->queue[q].desc, v, off & 4);
		break;
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
		half(&t->queue[q].driver, v, off & 4);
		break;
	default:
		half(&t->queue[q].device, v, off & 4);
		break;
	}
}

static void reg_write(struct virtio_mmio *t, uint64_t off, uint32_t v)
{
	switch (off) {
	case REG_DEVICE_FEATURES_SEL:
		t->state.device_sel = v;
		break;
	case REG_DRIVER_FEATURES_SEL:
		t->state.driver_sel = v;
		break;
	case REG_DRIVER_FEATURES:
		if (t->state.driver_sel < 2 && !(t->state.status & STATUS_FEATURES_OK))
			half(&t->state.driver_features, v, t->state.driver_sel == 1);
		break;
	case REG_QUEUE_SEL:
		t->state.queue_sel = v;
		break;
	case REG_QUEUE_NOTIFY:
		if (v < t->dev->n_queues) {
			uint64_t one = 1;

			// Only where there is no doorbell: to the loop all the same.
			(void)write(t->dev->kick_fd[v], &one,
				    sizeof(one)); // an eventfd takes a one
		}
		break;
	case REG_INTERRUPT_ACK:
		t->state.interrupt &= ~v;
		break;
	case REG_STATUS:
		status_write(t, v);
		break;
	case REG_QUEUE_NUM:
	case REG_QUEUE_READY:
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
	case REG_QUEUE_DEVICE_LOW:
	case REG_QUEUE_DEVICE_HIGH:
		queue_write(t, off, v);
		break;
	default:
		break;
	}
}

static uint32_t interrupt_status(const struct virtio_mmio *t)
{
	// Another process raises an external device's line itself: a used-buffer notification may always be pending.
	if (t->dev->ops->external && (t->state.status & STATUS_DRIVER_OK))
		return t->state.interrupt | INTERRUPT_USED;
	return t->state.interrupt;
}

static uint32_t reg_read(const struct virtio_mmio *t, uint64_t off)
{
	uint32_t q = t->state.queue_sel;

	switch (off) {
	case REG_MAGIC:
		return 0x74726976; // "virt"
	case REG_VERSION:
		return 2;
	case REG_DEVICE_ID:
		return t->dev->ops->id;
	case REG_VENDOR_ID:
		return 0x4b4c5542; // "BULK"
	case REG_DEVICE_FEATURES:
		return t->state.device_sel < 2
			       ? (uint32_t)(offered(t) >> (t->state.device_sel * 32))
			       : 0;
	case REG_QUEUE_NUM_MAX:
		return q < t->dev->n_queues ? t->dev->queue_size[q] : 0;
	case REG_QUEUE_READY:
		return q < t->dev->n_queues ? t->queue[q].ready : 0;
	case REG_INTERRUPT_STATUS:
		return interrupt_status(t);
	case REG_STATUS:
		return t->state.status;
	case REG_CONFIG_GENERATION:
		return t->state.generation;
	default:
		return off >= REG_SHM_LEN_LOW && off <= REG_SHM_BASE_HIGH ? 0xffffffff
									  : 0; // no shared memory
	}
}

void virtio_mmio_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct virtio_mmio *t = dev;

	memset(data, 0, len);
	pthread_mutex_lock(&t->dev->lock);
	if (off >= REG_CONFIG) {
		if (t->dev->ops->config_read)
			t->dev->ops->config_read(t->dev, off - REG_CONFIG, data, len);
	} else if (len == 4 && !(off & 3)) {
		uint32_t v = reg_read(t, off);
		memcpy(data, &v, 4);
	}
	pthread_mutex_unlock(&t->dev->lock);
}

void virtio_mmio_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct virtio_mmio *t = dev;
	uint32_t v;

	if (off >= REG_CONFIG || len != 4 || (off & 3))
		return; // no device has writable configuration
	memcpy(&v, data, 4);
	pthread_mutex_lock(&t->dev->lock);
	reg_write(t, off, v);
	pthread_mutex_unlock(&t->dev->lock);
}

static const struct bus_ops mmio_bus_ops = { .name = "virtio-mmio",
					     .read = virtio_mmio_read,
					     .write = virtio_mmio_write };

static int queue_fds(struct virtio_mmio *t, struct err *e)
{
	struct virtio_dev *d = t->dev;
	int r;

	for (unsigned i = 0; i < d->n_queues; i++) {
		d->kick_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (d->kick_fd[i] < 0)
			return err_errno(e, errno, "eventfd");
		t->kick[i] = (struct kick){ .t = t, .queue = i };
		if (!d->ops->external) {
			r = loop_add_fd(d->host.loop, d->ops->name, d->kick_fd[i], EPOLLIN, on_kick,
					&t->kick[i], &t->kick[i].source, e);
			if (r < 0)
				return r;
		}
		r = d->host.doorbell(d->host.arg, t->base + REG_QUEUE_NOTIFY, 4, i, d->kick_fd[i],
				     true, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int alloc_queues(struct virtio_mmio *t)
{
	struct virtio_dev *d = t->dev;
	unsigned n = d->n_queues;

	d->queue = calloc(n, sizeof(*d->queue));
	d->kick_fd = calloc(n, sizeof(*d->kick_fd));
	t->queue = calloc(n, sizeof(*t->queue));
	t->kick = calloc(n, sizeof(*t->kick));
	if (!d->queue || !d->kick_fd || !t->queue || !t->kick)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		d->kick_fd[i] = -1;
	return 0;
}

int virtio_mmio_new(const struct dev_host *host, struct bus *bus, uint64_t base,
		    struct irq_line irq, struct virtio_dev *dev, struct virtio_mmio **ret,
		    struct err *e)
{
	struct virtio_mmio *t = calloc(1, sizeof(*t));
	int r;

	if (!t) {
		virtio_dev_free(dev);
		return err_errno(e, ENOMEM, "virtio-mmio");
	}
	t->dev = dev;
	t->host = *host;
	t->base = base;
	t->irq = irq;
	dev->irq = irq;
	dev->transport = t;
	dev->changed = transport_changed;
	dev->notify = transport_notify;
	dev->broken = transport_broken;
	r = alloc_queues(t);
	if (r == 0 && bus)
		r = bus_add(bus, BUS_MMIO, base, VIRTIO_MMIO_BYTES, &mmio_bus_ops, t);
	r = r < 0 ? err_errno(e, -r, "%s", dev->ops->name) : queue_fds(t, e);
	if (r < 0) {
		virtio_mmio_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void virtio_mmio_free(struct virtio_mmio *t)
{
	struct queue *queue AUTO_FREE = NULL; // a device's free may still look at them
	int *kick_fd AUTO_FREE = NULL;
	struct err e;

	if (!t)
		return;
	queue = t->dev->queue;
	kick_fd = t->dev->kick_fd;
	for (unsigned i = 0; t->kick && kick_fd && i < t->dev->n_queues; i++) {
		loop_remove(t->kick[i].source);
		// A slot may be plugged again: its doorbells go. Where the machine goes too, a failure changes nothing.
		if (kick_fd[i] >= 0)
			(void)t->host.doorbell(t->host.arg, t->base + REG_QUEUE_NOTIFY, 4, i,
					       kick_fd[i], false, &e);
		close_fd(kick_fd[i]);
	}
	virtio_dev_free(t->dev);
	free(t->queue);
	free(t->kick);
	free(t);
}
