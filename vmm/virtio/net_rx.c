// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/net_rx.h"

#include <string.h>

#include "vmm/virtio/net.h"

static void rx_add(struct net_rx *rx, struct queue *q, const struct queue_chain *c)
{
	// A buffer that cannot be written to, or is longer than any frame of ours, is the driver's mistake: given back empty.
	if (c->n_out || c->in_bytes == 0 || c->in_bytes > UINT32_MAX) {
		queue_push(q, c->head, 0);
		return;
	}
	memcpy(&rx->iov[rx->n_iov], c->iov, c->n_in * sizeof(c->iov[0]));
	rx->chain[rx->n_chains].head = c->head;
	rx->chain[rx->n_chains].n_iov = (uint16_t)c->n_in;
	rx->chain[rx->n_chains].bytes = (uint32_t)c->in_bytes;
	rx->n_chains++;
	rx->n_iov += c->n_in;
	rx->bytes += c->in_bytes;
}

bool net_rx_fill(struct net_rx *rx, struct queue *q, size_t need, bool mergeable)
{
	struct queue_chain c;
	// Not forever: a driver that offers only unusable buffers gets them back a ring at a time.
	unsigned tries = q->size;

	while (mergeable ? rx->bytes < need : !rx->n_chains) {
		if (rx->n_chains == NET_RX_CHAINS || rx->n_iov + QUEUE_IOV_MAX > NET_RX_IOV)
			return true; // no more can be had at once
		if (!tries-- || queue_pop(q, &c) != 1)
			break;
		rx_add(rx, q, &c);
	}
	// With all of a small ring in hand there is nothing to wait for.
	return rx->n_chains && (!mergeable || rx->bytes >= need || rx->n_chains == q->size);
}

// num_buffers lies in the header's last two bytes; a buffer may be cut anywhere.
static void rx_put_count(struct net_rx *rx, uint16_t count)
{
	size_t at = offsetof(struct net_header, num_buffers);
	uint8_t bytes[2];
	unsigned done = 0;

	memcpy(bytes, &count, sizeof(bytes));
	for (unsigned i = 0; i < rx->n_iov && done < 2; i++) {
		for (; at < rx->iov[i].iov_len && done < 2; at++)
			((uint8_t *)rx->iov[i].iov_base)[at] = bytes[done++];
		at -= done < 2 ? rx->iov[i].iov_len : 0;
	}
}

bool net_rx_done(struct net_rx *rx, struct queue *q, size_t len)
{
	unsigned k = 0, iov = 0;
	size_t left = len;

	if (len > rx->bytes)
		return false;
	while (k < rx->n_chains && left) {
		left -= left < rx->chain[k].bytes ? left : rx->chain[k].bytes;
		k++;
	}
	rx_put_count(rx, (uint16_t)k);
	left = len;
	for (unsigned i = 0; i < k; i++) {
		uint32_t part = left < rx->chain[i].bytes ? (uint32_t)left : rx->chain[i].bytes;

		queue_stage(q, rx->chain[i].head, part);
		left -= part;
		iov += rx->chain[i].n_iov;
		rx->bytes -= rx->chain[i].bytes;
	}
	// All at once: a driver that saw the first buffer alone would take the frame for cut (5.1.6.4).
	queue_publish(q);
	rx->n_chains -= k;
	rx->n_iov -= iov;
	memmove(rx->chain, rx->chain + k, rx->n_chains * sizeof(rx->chain[0]));
	memmove(rx->iov, rx->iov + iov, rx->n_iov * sizeof(rx->iov[0]));
	return true;
}
