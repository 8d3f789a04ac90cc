// SPDX-License-Identifier: Apache-2.0
// virtio-net (virtio 1.2, 5.1): up to NET_PAIRS_MAX pairs of queues and one for control, all on the loop. Frames go
// between guest memory and the port; the header alone is copied, checked, and sent from the copy.
#include "vmm/virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/egress.h"
#include "vmm/virtio/net_header.h"
#include "vmm/virtio/net_rx.h"

// needs CONFIG_VIRTIO_NET

enum { NET_BATCH = 128, NET_QUEUE_SIZE = 256, NET_CTRL_SIZE = 64 };
enum { NET_STATUS_LINK_UP = 1 };
enum { CTRL_CLASS_MQ = 4, CTRL_MQ_PAIRS_SET = 0, CTRL_OK = 0, CTRL_ERR = 1 };
enum { REFUSED_LINES = 10 }; // a second, in the log

struct net_pair {
	struct net *net;
	unsigned index;
	struct loop_source *source; // of the port's descriptor, while the pair is used
	bool blocked;               // the port takes no more for now
	bool starved;               // the guest has no room for a frame
	struct net_rx rx;
};

struct net {
	struct virtio_dev dev;
	struct net_config cfg;
	uint16_t queue_size[2 * NET_PAIRS_MAX + 1];
	unsigned n_pairs, used_pairs;
	bool active, gone;
	bool stale;        // which descriptors are watched is to be looked at again
	pthread_t on_loop; // the loop's thread; a vCPU's activates the device and touches no source
	struct {
		uint8_t mac[6];
		uint16_t status, max_pairs, mtu;
	} config; // 5.1.4
	struct vmm_net_counters out, in;
	struct log_limit limit;
	uint8_t *
		in_frame; // with a policy: what comes in is judged before the guest can write to it
	struct net_pair pair[]; // n_pairs
};

// ---- the port's descriptors
static void on_port(void *arg, uint32_t events);

static void net_want(struct net_pair *p)
{
	struct net *n = p->net;
	uint32_t events = 0;

	if (!p->source)
		return;
	if (n->active && !p->starved)
		events |= EPOLLIN;
	if (n->active && p->blocked)
		events |= EPOLLOUT;
	(void)loop_mod_fd(p->source, events); // fails only for a descriptor that is not watched
}

static void net_end(struct net *n, const char *why)
{
	if (n->gone)
		return;
	n->gone = true;
	n->active = false;
	for (unsigned i = 0; i < n->n_pairs; i++) {
		loop_remove(n->pair[i].source);
		n->pair[i].source = NULL;
	}
	n->config.status &= (uint16_t)~NET_STATUS_LINK_UP;
	n->dev.changed(&n->dev);
	if (n->cfg.gone)
		n->cfg.gone(n->cfg.arg, why);
}

// The loop comes back to this queue after what else is waiting.
static void net_again(struct net *n, unsigned queue)
{
	uint64_t one = 1;

	(void)write(n->dev.kick_fd[queue], &one, sizeof(one)); // an eventfd takes a one
}

// Watches the descriptors of the pairs that are used. Loop thread.
static int net_watch(struct net *n)
{
	struct err e;
	int r;

	n->stale = false;
	for (unsigned i = 0; i < n->n_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		if (i >= n->used_pairs) {
			loop_remove(p->source);
			p->source = NULL;
		} else if (!p->source && !n->gone) {
			r = loop_add_fd(n->dev.host.loop, "network", n->cfg.port->fd[i], 0, on_port,
					p, &p->source, &e);
			if (r < 0)
				return r;
		}
		net_want(p);
	}
	return 0;
}

// ---- from the guest
// The parts of the chain behind the first `skip` bytes.
static unsigned net_rest(const struct queue_chain *c, size_t skip, struct iovec *ret)
{
	unsigned count = 0;

	for (unsigned i = 0; i < c->n_out; i++) {
		size_t cut = skip < c->iov[i].iov_len ? skip : c->iov[i].iov_len;

		skip -= cut;
		if (cut < c->iov[i].iov_len)
			ret[count++] = (struct iovec){ (uint8_t *)c->iov[i].iov_base + cut,
						       c->iov[i].iov_len - cut };
	}
	return count;
}

static bool net_refuses(struct net *n, const struct net_header *h, const uint8_t *look,
			size_t frame)
{
	struct egress_sum sum = { h->csum_start, (size_t)h->csum_start + h->csum_offset };
	char reason[EGRESS_REASON_BYTES];

	if (egress_out(n->cfg.egress, look, frame, h->flags & NET_HDR_NEEDS_CSUM ? &sum : NULL,
		       io_now_ns(), reason))
		return false;
	n->out.refused++;
	if (log_limit_ok(&n->limit, REFUSED_LINES))
		log_warn("network: egress refused: %s (%llu so far)", reason,
			 (unsigned long long)n->out.refused);
	return true;
}

static int net_send_chain(struct net_pair *p, const struct queue_chain *c)
{
	struct net *n = p->net;
	struct net_header h;
	uint8_t look[EGRESS_LOOK_BYTES]; // with a policy it is this that is judged, and sent
	struct iovec iov[QUEUE_IOV_MAX + 2] = { { &h, sizeof(h) } };
	size_t frame = c->out_bytes - sizeof(h), seen = 0;
	unsigned count = 1;
	int r;

	if (c->n_in || queue_copy_out(c, 0, &h, sizeof(h)) != sizeof(h)) { /* guest: read once */
		n->out.malformed++;
		return 0;
	}
	switch (net_header_check(&h, frame, n->dev.features, n->cfg.mtu)) {
	case NET_FRAME_MALFORMED:
		n->out.malformed++;
		return 0;
	case NET_FRAME_OVERSIZED:
		n->out.oversized++;
		return 0;
	default:
		break;
	}
	if (n->cfg.egress) {
		seen = frame < sizeof(look) ? frame : sizeof(look);
		if (queue_copy_out(c, sizeof(h), look, seen) != seen) { /* guest: read once */
			n->out.malformed++;
			return 0;
		}
		if (net_refuses(n, &h, look, frame))
			return 0;
		iov[count++] = (struct iovec){ look, seen };
	}
	count += net_rest(c, sizeof(h) + seen, iov + count);
	r = n->cfg.port->ops->send(n->cfg.port, p->index, iov, count);
	if (r == 0) {
		n->out.frames++;
		n->out.bytes += frame;
	} else if (r == -EIO) {
		n->out.lost++;
		r = 0;
	}
	return r;
}

static int net_out_batch(struct net_pair *p, struct queue *q, unsigned *budget)
{
	struct queue_chain c;
	int r;

	queue_kicks_off(q);
	while (*budget && queue_pop(q, &c) == 1) {
		r = net_send_chain(p, &c);
		if (r == -EAGAIN) {
			queue_unpop(q);
			return r;
		}
		queue_push(q, c.head, 0);
		if (r < 0)
			return r;
		--*budget;
	}
	return 0;
}

static void net_out(struct net_pair *p)
{
	struct net *n = p->net;
	const struct net_port_ops *ops = n->cfg.port->ops;
	unsigned index = 2 * p->index + 1, budget = NET_BATCH;
	struct queue *q = &n->dev.queue[index];
	int r;

	if (!n->active || p->blocked)
		return;
	do
		r = net_out_batch(p, q, &budget);
	while (r == 0 && budget && queue_kicks_on(q));
	if (r == 0 && ops->flush)
		r = ops->flush(n->cfg.port);
	if (queue_needs_notify(q)) {
		n->out.notifications++;
		n->dev.notify(&n->dev);
	}
	if (r < 0 && r != -EAGAIN) {
		net_end(n, "the network's back end has gone");
		return;
	}
	p->blocked = r == -EAGAIN;
	net_want(p);
	if (r == 0 && !budget)
		net_again(n, index);
}

// ---- to the guest
static size_t net_need(const struct net *n)
{
	if (n->dev.features & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6))
		return NET_HEADER_BYTES + NET_FRAME_MAX;
	return NET_HEADER_BYTES + 14u + 4u + n->cfg.mtu;
}

// Whether there is room now; if not, the next kick of the queue says that there may be.
static bool net_room(struct net_pair *p, struct queue *q)
{
	bool merge = p->net->dev.features & NET_F_MRG_RXBUF;

	for (unsigned i = 0; i < 4; i++) {
		if (net_rx_fill(&p->rx, q, net_need(p->net), merge))
			return true;
		if (!queue_kicks_on(q))
			return false;
	}
	net_again(p->net,
		  2 * p->index); // buffers come, none that can be used: others have their turn
	return false;
}

// As the port's recv, by way of a private copy.
static ssize_t net_recv_judged(struct net_pair *p)
{
	struct net *n = p->net;
	struct iovec private = { n->in_frame, NET_HEADER_BYTES + NET_FRAME_MAX };
	ssize_t got = n->cfg.port->ops->recv(n->cfg.port, p->index, &private, 1);
	size_t left = got < 0 ? 0 : (size_t)got;
	const uint8_t *from = n->in_frame;

	if (left > NET_HEADER_BYTES)
		egress_in(n->cfg.egress, from + NET_HEADER_BYTES, left - NET_HEADER_BYTES,
			  io_now_ns());
	for (unsigned i = 0; i < p->rx.n_iov && left; i++) {
		size_t part = left < p->rx.iov[i].iov_len ? left : p->rx.iov[i].iov_len;

		memcpy(p->rx.iov[i].iov_base, from, part);
		from += part;
		left -= part;
	}
	return got;
}

static int net_in_frame(struct net_pair *p, struct queue *q)
{
	struct net *n = p->net;
	ssize_t got = n->cfg.egress ? net_recv_judged(p)
				    : n->cfg.port->ops->recv(n->cfg.port, p->index, p->rx.iov,
							     p->rx.n_iov);

	if (got == -EIO) {
		n->in.lost++;
		return 0;
	}
	if (got < 0)
		return (int)got;
	if (!net_rx_done(&p->rx, q, (size_t)got)) {
		n->in.oversized++;
		return 0;
	}
	n->in.frames++;
	n->in.bytes += (size_t)got - NET_HEADER_BYTES;
	return 0;
}

static void net_in(struct net_pair *p)
{
	struct net *n = p->net;
	unsigned index = 2 * p->index, budget = NET_BATCH;
	struct queue *q = &n->dev.queue[index];
	int r = 0;

	if (!n->active || p->index >= n->used_pairs)
		return;
	queue_kicks_off(q);
	p->starved = false;
	while (r == 0 && budget) {
		p->starved = !net_room(p, q);
		if (p->starved)
			break;
		r = net_in_frame(p, q);
		budget--;
	}
	if (queue_needs_notify(q)) {
		n->in.notifications++;
		n->dev.notify(&n->dev);
	}
	if (r < 0 && r != -EAGAIN) {
		net_end(n, r == -EPROTO ? "the network's back end sent a frame of no valid length"
					: "the network's back end has gone");
		return;
	}
	net_want(p);
	if (!budget)
		net_again(n, index); // what the port has read already, no descriptor tells
}

static void on_port(void *arg, uint32_t events)
{
	struct net_pair *p = arg;
	struct net *n = p->net;

	pthread_mutex_lock(&n->dev.lock);
	if (n->stale && net_watch(n) < 0)
		net_end(n, "the network's descriptors cannot be watched");
	if (p->index >= n->used_pairs)
		events = 0; // a queue that is detached says EPOLLERR
	if (!n->active)
		net_want(p);
	if (events & EPOLLOUT) {
		p->blocked = false;
		net_out(p);
	}
	if (events & EPOLLIN)
		net_in(p);
	// The end of a port that has nothing more to read, or that nobody reads.
	if (!n->gone && (events & (EPOLLHUP | EPOLLERR)) && (!n->active || !(events & EPOLLIN)))
		net_end(n, "the network's back end has gone");
	// A ring that is broken is seen here as at a kick.
	for (unsigned i = 0; n->active && i < n->dev.n_queues; i++)
		if (n->dev.queue[i].broken) {
			n->active = false;
			net_want(p);
			n->dev.broken(&n->dev, "the guest broke a queue's rules");
			break;
		}
	pthread_mutex_unlock(&n->dev.lock);
}

// ---- pairs and control
static int net_use_pairs(struct net *n, unsigned count)
{
	int r = n->cfg.port->ops->pairs(n->cfg.port, count);

	if (r == 0)
		n->used_pairs = count;
	n->stale = true;
	return r;
}

static uint8_t net_command(struct net *n, const struct queue_chain *c)
{
	struct {
		uint8_t class, command;
		uint16_t pairs;
	} cmd;

	if (queue_copy_out(c, 0, &cmd, sizeof(cmd)) != sizeof(cmd) || /* guest: read once */
	    !(n->dev.features & NET_F_MQ) || cmd.class != CTRL_CLASS_MQ ||
	    cmd.command != CTRL_MQ_PAIRS_SET || !cmd.pairs || cmd.pairs > n->n_pairs)
		return CTRL_ERR;
	return net_use_pairs(n, cmd.pairs) < 0 || net_watch(n) < 0 ? CTRL_ERR : CTRL_OK;
}

static void net_control(struct net *n, unsigned index)
{
	struct queue *q = &n->dev.queue[index];
	struct queue_chain c;

	do {
		while (queue_pop(q, &c) == 1) {
			uint8_t ack = c.in_bytes ? net_command(n, &c) : CTRL_ERR;

			queue_push(q, c.head, (uint32_t)queue_copy_in(&c, 0, &ack, sizeof(ack)));
		}
	} while (queue_kicks_on(q));
	virtio_dev_notify(&n->dev, index);
}

// ---- the device
static void net_config_read(struct virtio_dev *d, uint64_t off, void *data, unsigned len)
{
	const struct net *n = (const struct net *)d;

	if (off < sizeof(n->config) && len <= sizeof(n->config) - off)
		memcpy(data, (const uint8_t *)&n->config + off, len);
}

static void net_reset(struct virtio_dev *d)
{
	struct net *n = (struct net *)d;

	n->active = false;
	for (unsigned i = 0; i < n->n_pairs; i++) {
		n->pair[i].blocked = n->pair[i].starved = false;
		n->pair[i].rx.n_chains = n->pair[i].rx.n_iov = 0;
		n->pair[i].rx.bytes = 0;
	}
}

static int net_activate(struct virtio_dev *d)
{
	struct net *n = (struct net *)d;
	int r = n->gone ? 0 : n->cfg.port->ops->start(n->cfg.port, d->features);

	if (r == 0)
		r = net_use_pairs(n, 1); // until the driver asks for more (5.1.6.5.5)
	n->active = r == 0 && !n->gone;
	return n->gone ? 0 : r;
}

static void net_kick(struct virtio_dev *d, unsigned queue)
{
	struct net *n = (struct net *)d;

	if (!pthread_equal(pthread_self(), n->on_loop)) { // of activate
		net_again(n, queue);
		return;
	}
	if (n->stale && net_watch(n) < 0)
		net_end(n, "the network's descriptors cannot be watched");
	if (queue == d->n_queues - 1)
		net_control(n, queue);
	else if (queue & 1)
		net_out(&n->pair[queue / 2]);
	else
		net_in(&n->pair[queue / 2]);
}

static void net_free(struct virtio_dev *d)
{
	struct net *n = (struct net *)d;

	for (unsigned i = 0; i < n->n_pairs; i++)
		loop_remove(n->pair[i].source);
	net_port_free(n->cfg.port);
	egress_free(n->cfg.egress);
	free(n->in_frame);
	free(n);
}

static const struct virtio_dev_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.features = NET_F_MAC | NET_F_STATUS | NET_F_MTU | NET_F_MRG_RXBUF | NET_F_CTRL_VQ,
	.config_read = net_config_read,
	.activate = net_activate,
	.reset = net_reset,
	.kick = net_kick,
	.free = net_free,
};

void virtio_net_counters(struct virtio_dev *d, struct vmm_net_counters *ret_out,
			 struct vmm_net_counters *ret_in)
{
	struct net *n = (struct net *)d;

	pthread_mutex_lock(&d->lock);
	*ret_out = n->out;
	*ret_in = n->in;
	pthread_mutex_unlock(&d->lock);
}

int virtio_net_new(const struct dev_host *host, const struct net_config *cfg,
		   struct virtio_dev **ret, struct err *e)
{
	unsigned pairs = cfg->port->n_pairs;
	struct net *n = calloc(1, sizeof(*n) + pairs * sizeof(n->pair[0]));
	int r;

	if (n && cfg->egress) {
		n->in_frame = malloc(NET_HEADER_BYTES + NET_FRAME_MAX);
		if (!n->in_frame) {
			free(n);
			n = NULL;
		}
	}
	if (!n) {
		net_port_free(cfg->port);
		egress_free(cfg->egress);
		return err_errno(e, ENOMEM, "net");
	}
	virtio_dev_init(&n->dev, &net_ops, host);
	n->on_loop = pthread_self();
	n->cfg = *cfg;
	n->n_pairs = pairs;
	n->config.status = NET_STATUS_LINK_UP;
	n->config.max_pairs = (uint16_t)pairs;
	n->config.mtu = cfg->mtu;
	memcpy(n->config.mac, cfg->mac, sizeof(n->config.mac));
	n->dev.offered |= cfg->port->features | (pairs > 1 ? NET_F_MQ : 0);
	n->dev.n_queues = 2 * pairs + 1;
	n->dev.queue_size = n->queue_size;
	for (unsigned i = 0; i < 2 * pairs; i++)
		n->queue_size[i] = NET_QUEUE_SIZE;
	n->queue_size[2 * pairs] = NET_CTRL_SIZE;
	for (unsigned i = 0; i < pairs; i++) {
		n->pair[i].net = n;
		n->pair[i].index = i;
	}
	r = net_use_pairs(n, 1);
	r = r < 0 ? r : net_watch(n);
	if (r < 0) {
		net_free(&n->dev);
		return err_errno(e, -r, "network port");
	}
	*ret = &n->dev;
	return 0;
}
