// SPDX-License-Identifier: Apache-2.0
// A tap as the port of a network device: header and frame go between guest memory and the kernel in one call, with no
// copy of ours. A descriptor that is attached already needs no privilege for what is done here.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "vmm/virtio/net.h"

struct net_tap {
	struct net_port port;
	unsigned attached; // queues; the kernel spreads frames over these
};

static int tap_error(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
		return -EAGAIN;
	case EBADFD: // the interface, or its namespace, was deleted
	case ENODEV:
	case EBADF:
		return -EPIPE;
	default:
		return -EIO; // the link is down, or the kernel did not like the frame
	}
}

static int tap_send(struct net_port *p, unsigned pair, const struct iovec *iov, unsigned n)
{
	return writev(p->fd[pair], iov, (int)n) < 0 ? tap_error(errno) : 0;
}

static ssize_t tap_recv(struct net_port *p, unsigned pair, const struct iovec *iov, unsigned n)
{
	ssize_t got = readv(p->fd[pair], iov, (int)n);

	return got < 0 ? tap_error(errno) : got < NET_HEADER_BYTES ? -EIO : got;
}

static int tap_start(struct net_port *p, uint64_t features)
{
	unsigned long flags = 0;

	flags |= features & NET_F_GUEST_CSUM ? TUN_F_CSUM : 0;
	flags |= features & NET_F_GUEST_TSO4 ? TUN_F_TSO4 : 0;
	flags |= features & NET_F_GUEST_TSO6 ? TUN_F_TSO6 : 0;
	flags |= features & NET_F_GUEST_ECN ? TUN_F_TSO_ECN : 0;
	return ioctl(p->fd[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int tap_pairs(struct net_port *p, unsigned n)
{
	struct net_tap *t = (struct net_tap *)p;

	while (t->attached != n) {
		bool more = t->attached < n;
		unsigned i = more ? t->attached : t->attached - 1;
		struct ifreq r = { .ifr_flags = more ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		if (ioctl(p->fd[i], TUNSETQUEUE, &r) < 0)
			return -errno;
		t->attached = more ? t->attached + 1 : t->attached - 1;
	}
	return 0;
}

static void tap_free(struct net_port *p)
{
	free(p);
}

static const struct net_port_ops tap_ops = {
	.send = tap_send,
	.recv = tap_recv,
	.start = tap_start,
	.pairs = tap_pairs,
	.free = tap_free,
};

static int tap_check(struct net_tap *t, struct err *e)
{
	struct net_port *p = &t->port;
	struct ifreq r = { 0 };
	int header = NET_HEADER_BYTES;

	for (unsigned i = 0; i < p->n_pairs; i++) {
		if (ioctl(p->fd[i], TUNGETIFF, &r) < 0)
			return err_errno(e, errno, "tap: TUNGETIFF");
		if (!(r.ifr_flags & IFF_TAP) || !(r.ifr_flags & IFF_VNET_HDR) ||
		    !(r.ifr_flags & IFF_NO_PI) ||
		    (p->n_pairs > 1 && !(r.ifr_flags & IFF_MULTI_QUEUE)))
			return err_set(
				e, EINVAL,
				"tap %.*s: expected IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, and IFF_MULTI_QUEUE for more than one queue",
				IFNAMSIZ, r.ifr_name);
		if (fcntl(p->fd[i], F_SETFL, O_RDWR | O_NONBLOCK) < 0)
			return err_errno(e, errno, "tap: O_NONBLOCK");
	}
	if (ioctl(p->fd[0], TUNSETVNETHDRSZ, &header) < 0)
		return err_errno(e, errno, "tap: TUNSETVNETHDRSZ");
	return 0;
}

int net_tap_new(const int *fds, unsigned n_pairs, bool offloads, struct net_port **ret,
		struct err *e)
{
	struct net_tap *t = calloc(1, sizeof(*t));
	int r;

	if (!t || !n_pairs || n_pairs > NET_PAIRS_MAX) {
		for (unsigned i = 0; i < n_pairs; i++)
			close_fd(fds[i]);
		r = t ? EINVAL : ENOMEM;
		free(t);
		return err_errno(e, r, "tap with %u queues", n_pairs);
	}
	t->port.ops = &tap_ops;
	t->port.n_pairs = t->attached = n_pairs;
	for (unsigned i = 0; i < n_pairs; i++)
		t->port.fd[i] = fds[i];
	if (offloads)
		t->port.features = NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 |
				   NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | NET_F_HOST_TSO4 |
				   NET_F_HOST_TSO6 | NET_F_HOST_ECN;
	r = tap_check(t, e);
	if (r < 0) {
		net_port_free(&t->port);
		return r;
	}
	*ret = &t->port;
	return 0;
}
