// SPDX-License-Identifier: Apache-2.0
// Receive buffers of one queue that the device holds until a frame fills them: a frame's length is known only when it has
// been read, so there must be room for the longest.
#ifndef VMM_VIRTIO_NET_RX_H
#define VMM_VIRTIO_NET_RX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/virtio/queue.h"

enum { NET_RX_CHAINS = 256, NET_RX_IOV = 1024 }; // IOV: as many as the kernel takes

struct net_rx {
	unsigned n_chains, n_iov;
	size_t bytes;
	struct {
		uint16_t head, n_iov;
		uint32_t bytes;
	} chain[NET_RX_CHAINS];
	struct iovec iov[NET_RX_IOV];
};

// Takes buffers of q until a frame of `need` bytes has room (mergeable), or one chain. True: a frame can be read.
bool net_rx_fill(struct net_rx *rx, struct queue *q, size_t need, bool mergeable);
// `len` bytes, header and frame, are in the vector: gives their buffers to the driver. False: the frame was longer than
// the buffers, and is lost.
bool net_rx_done(struct net_rx *rx, struct queue *q, size_t len);

#endif
