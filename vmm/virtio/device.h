// SPDX-License-Identifier: Apache-2.0
// A virtio device behind a transport: one ops table and one file a type.
#ifndef VMM_VIRTIO_DEVICE_H
#define VMM_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/virtio.h"

enum { VIRTIO_QUEUES_MAX = 4 }; // of a type whose queues are always the same
enum {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_FS = 26
};

// All are called with the device's lock held. kick and activate on the loop or a vCPU thread; free on the loop.
struct virtio_dev_ops {
	const char *name;
	uint32_t id;
	uint64_t features; // besides VERSION_1, EVENT_IDX and INDIRECT_DESC, which the queues have
	unsigned n_queues;
	uint16_t queue_size[VIRTIO_QUEUES_MAX];
	bool external; // queues are served by another process: it gets the kick eventfds and the interrupt line
	void (*config_read)(struct virtio_dev *d, uint64_t off, void *data,
			    unsigned len); // NULL: no configuration
	// DRIVER_OK: queues are up (for an external device their addresses are in d->queue). -errno: the device needs a reset.
	int (*activate)(struct virtio_dev *d);
	void (*reset)(struct virtio_dev *d);
	void (*kick)(struct virtio_dev *d, unsigned queue); // NULL for external devices
	void (*free)(struct virtio_dev *d);
};

// First member of each device's struct.
struct virtio_dev {
	const struct virtio_dev_ops *ops;
	struct dev_host host;
	pthread_mutex_t lock; // guards the device and its transport
	uint64_t
		offered; // ops->features, unless the device changes these three before it gets its transport
	unsigned n_queues;
	const uint16_t *queue_size;
	uint64_t features;   // negotiated
	struct queue *queue; // n_queues of each; the transport's
	int *kick_fd;
	struct irq_line irq;
	void (*notify)(struct virtio_dev *d); // of the transport: used buffers, raise the interrupt
	void (*broken)(struct virtio_dev *d, const char *why); // of the transport: needs reset
	void (*changed)(struct virtio_dev *d); // of the transport: the configuration is another
	void *transport;
};

// Pushes done: interrupts if the driver wants one.
static inline void virtio_dev_notify(struct virtio_dev *d, unsigned queue)
{
	if (queue_needs_notify(&d->queue[queue]))
		d->notify(d);
}

void virtio_dev_init(struct virtio_dev *d, const struct virtio_dev_ops *ops,
		     const struct dev_host *host);

#endif
