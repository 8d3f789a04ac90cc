// SPDX-License-Identifier: Apache-2.0
// virtio-rng (virtio 1.2, 5.4): at most 4 KiB of the host's random numbers a request.
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"
#include "vmm/virtio/device.h"

// needs CONFIG_HW_RANDOM_VIRTIO

enum { RNG_REQUEST_MAX = 4096, RNG_ROUND_MAX = 64 };

static int rng_activate(struct virtio_dev *d)
{
	(void)d;
	return 0;
}

static void rng_reset(struct virtio_dev *d)
{
	(void)d; // the queue is all it has
}

static void rng_kick(struct virtio_dev *d, unsigned index)
{
	struct queue *q = &d->queue[index];
	struct queue_chain c;
	uint8_t buf[RNG_REQUEST_MAX];

	do {
		queue_kicks_off(q);
		while (queue_pop(q, &c) == 1) {
			size_t len = c.in_bytes < sizeof(buf) ? c.in_bytes : sizeof(buf);
			ssize_t n = len ? getrandom(buf, len, 0) : 0;

			queue_push(q, c.head,
				   n > 0 ? (uint32_t)queue_copy_in(&c, 0, buf, (size_t)n) : 0);
		}
	} while (queue_kicks_on(q));
	virtio_dev_notify(d, index);
}

static void rng_free(struct virtio_dev *d)
{
	free(d);
}

static const struct virtio_dev_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.n_queues = 1,
	.queue_size = { 8 },
	.activate = rng_activate,
	.reset = rng_reset,
	.kick = rng_kick,
	.free = rng_free,
};

int virtio_rng_new(const struct dev_host *host, struct virtio_dev **ret, struct err *e)
{
	struct virtio_dev *d = calloc(1, sizeof(*d));

	if (!d)
		return err_errno(e, ENOMEM, "rng");
	virtio_dev_init(d, &rng_ops, host);
	*ret = d;
	return 0;
}
