// SPDX-License-Identifier: Apache-2.0
// virtio-net (virtio 1.2, 5.1) and the ports that its frames go to: a tap, or the stream socket of passt.
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "vmm/vmm.h"

struct err;
struct egress;

enum {
	NET_PAIRS_MAX = VMM_NET_PAIRS_MAX,
	NET_HEADER_BYTES = 12,
	NET_FRAME_MAX = 65535 + 14 + 4 // an IP packet behind an Ethernet header with a VLAN tag
};

// Feature bits (5.1.3).
#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MTU (1ull << 3)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_MQ (1ull << 22)

// 5.1.6. Little-endian, as this machine is.
struct net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

// Where frames go. All calls come from the loop or, for start and pairs, with the device's lock held.
struct net_port;
struct net_port_ops {
	// One frame; iov[0] is the header, NET_HEADER_BYTES of private memory. 0 = taken, -EAGAIN = later (EPOLLOUT of
	// the pair's descriptor says when), -EIO = this frame is lost, anything else = the port is at its end.
	int (*send)(struct net_port *p, unsigned pair, const struct iovec *iov, unsigned n);
	// One frame behind a header; returns the bytes of both. -EAGAIN = none, -EIO = one was lost, else the end.
	ssize_t (*recv)(struct net_port *p, unsigned pair, const struct iovec *iov, unsigned n);
	// Frames that send took and that are not all gone. 0, -EAGAIN or the end. NULL: it keeps none.
	int (*flush)(struct net_port *p);
	int (*start)(struct net_port *p, uint64_t features); // what the driver took
	int (*pairs)(struct net_port *p, unsigned n);        // the first n are used from here on
	void (*free)(struct net_port *p);
};

// First member of each port's struct.
struct net_port {
	const struct net_port_ops *ops;
	int fd[NET_PAIRS_MAX]; // owned
	unsigned n_pairs;
	uint64_t features; // those of NET_F_ that need the port's help
};

// fds: a tap with IFF_VNET_HDR, one descriptor a pair; owned from here on, also on failure.
int net_tap_new(const int *fds, unsigned n_pairs, bool offloads, struct net_port **ret,
		struct err *e);
// fd: a connected stream socket, each frame behind its length in four big-endian bytes; owned likewise.
int net_stream_new(int fd, struct net_port **ret, struct err *e);
void net_port_free(struct net_port *p);

struct net_config {
	uint8_t mac[6];
	uint16_t mtu;
	struct net_port *port; // owned by the device, also when making it fails
	struct egress *egress; // likewise; NULL: every frame may leave
	// The port has come to its end; the link is down. Once, on the loop, with the device's lock held.
	void (*gone)(void *arg, const char *why);
	void *arg;
};

struct virtio_dev;
// out: from the guest. Loop thread.
void virtio_net_counters(struct virtio_dev *d, struct vmm_net_counters *ret_out,
			 struct vmm_net_counters *ret_in);

#endif
