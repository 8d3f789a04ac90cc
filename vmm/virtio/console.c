// SPDX-License-Identifier: Apache-2.0
// virtio-console (virtio 1.2, 5.3): one port, guest to host only. A slow reader loses lines, never stops the guest.
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/err.h"
#include "vmm/virtio/device.h"

// needs CONFIG_VIRTIO_CONSOLE

enum { CONSOLE_RX, CONSOLE_TX, CONSOLE_QUEUES };

struct console {
	struct virtio_dev dev;
	int out_fd; // borrowed
};

static int console_activate(struct virtio_dev *d)
{
	(void)d;
	return 0;
}

static void console_reset(struct virtio_dev *d)
{
	(void)d; // the queues are all it has
}

static void console_kick(struct virtio_dev *d, unsigned q)
{
	struct console *c = (struct console *)d;
	struct queue *tx = &d->queue[CONSOLE_TX];
	struct queue_chain chain;

	if (q != CONSOLE_TX)
		return; // receive buffers are never filled
	do {
		queue_kicks_off(tx);
		while (queue_pop(tx, &chain) == 1) {
			if (c->out_fd >= 0)
				(void)writev(c->out_fd, chain.iov,
					     (int)chain.n_out); // what it does not take is lost
			queue_push(tx, chain.head, 0);
		}
	} while (queue_kicks_on(tx));
	virtio_dev_notify(d, CONSOLE_TX);
}

static void console_free(struct virtio_dev *d)
{
	free(d);
}

static const struct virtio_dev_ops console_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.n_queues = CONSOLE_QUEUES,
	.queue_size = { 16, 64 },
	.activate = console_activate,
	.reset = console_reset,
	.kick = console_kick,
	.free = console_free,
};

int virtio_console_new(const struct dev_host *host, int out_fd, struct virtio_dev **ret,
		       struct err *e)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return err_errno(e, ENOMEM, "console");
	virtio_dev_init(&c->dev, &console_ops, host);
	c->out_fd = out_fd;
	*ret = &c->dev;
	return 0;
}
