// SPDX-License-Identifier: Apache-2.0
#include "vmm/nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "vmm/virtio/egress.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/virtio.h"

enum { MTU_MIN = 68 }; // RFC 791; virtio 1.2, 5.1.4.1 asks for no more

struct vmm_nets_slot {
	struct virtio_slot *slot;
	struct virtio_dev *dev; // the slot's
	void (*gone)(void *arg, unsigned slot, const char *why);
	void *arg;
	unsigned index;
};

struct vmm_nets {
	struct dev_host host;
	struct vmm_nets_slot slots[VMM_NETS_MAX];
	unsigned n;
};

int vmm_nets_new(const struct dev_host *host, struct vmm_nets **ret, struct err *e)
{
	struct vmm_nets *n = calloc(1, sizeof(*n));

	if (!n)
		return err_errno(e, ENOMEM, "network slots");
	n->host = *host;
	*ret = n;
	return 0;
}

void vmm_nets_free(struct vmm_nets *n)
{
	for (unsigned i = 0; n && i < n->n; i++)
		virtio_slot_free(n->slots[i].slot);
	free(n);
}

int vmm_nets_add_slot(struct vmm_nets *n, struct bus *bus, uint64_t base, struct irq_line irq,
		      struct err *e)
{
	int r = virtio_slot_new(&n->host, bus, base, irq, &n->slots[n->n].slot, e);

	if (r == 0) {
		n->slots[n->n].index = n->n;
		n->n++;
	}
	return r;
}

static void on_gone(void *arg, const char *why)
{
	struct vmm_nets_slot *s = arg;

	if (s->gone)
		s->gone(s->arg, s->index, why);
}

static int new_port(const struct vmm_net *net, struct net_port **ret, struct err *e)
{
	if (net->kind == VMM_NET_TAP)
		return net_tap_new(net->fds, net->n_fds, net->offloads, ret, e);
	return net_stream_new(net->fds[0], ret, e);
}

static int check(const struct vmm_net *net, struct err *e)
{
	if (net->mtu < MTU_MIN)
		return err_set(e, EINVAL, "network interface: mtu %u: at least %d", net->mtu,
			       MTU_MIN);
	if (!net->n_fds || net->n_fds > NET_PAIRS_MAX ||
	    (net->kind == VMM_NET_STREAM && net->n_fds != 1))
		return err_set(
			e, EINVAL, "network interface: %u descriptors: expected %s", net->n_fds,
			net->kind == VMM_NET_STREAM ? "one" : "1 to 8, one a pair of queues");
	return 0;
}

int vmm_nets_plug(struct vmm_nets *n, const struct vmm_net *net, unsigned *ret_slot, struct err *e)
{
	struct net_config cfg = { .mtu = net->mtu, .gone = on_gone };
	struct vmm_nets_slot *s;
	unsigned i = 0;
	int r = check(net, e);

	while (r == 0 && n && i < n->n && !virtio_slot_is_free(n->slots[i].slot))
		i++;
	if (r == 0 && (!n || i == n->n))
		r = err_set(e, ENOSPC, "network interface: all %u slots of the machine are taken",
			    n ? n->n : 0);
	if (r < 0) {
		for (unsigned k = 0; k < net->n_fds; k++)
			close_fd(net->fds[k]);
		return r;
	}
	s = &n->slots[i];
	memcpy(cfg.mac, net->mac, sizeof(cfg.mac));
	cfg.arg = s;
	s->gone = net->gone;
	s->arg = net->arg;
	r = new_port(net, &cfg.port, e);
	if (r == 0 && net->egress) {
		r = egress_new(net->egress, net->egress_bytes, net->mac, &cfg.egress, e);
		if (r < 0)
			net_port_free(cfg.port);
	}
	r = r < 0 ? r : virtio_net_new(&n->host, &cfg, &s->dev, e);
	r = r < 0 ? r : virtio_slot_plug(s->slot, s->dev, e);
	if (r < 0)
		s->dev = NULL;
	else
		*ret_slot = i;
	return r;
}

static void add(struct vmm_net_counters *to, const struct vmm_net_counters *c)
{
	to->frames += c->frames;
	to->bytes += c->bytes;
	to->notifications += c->notifications;
	to->malformed += c->malformed;
	to->oversized += c->oversized;
	to->lost += c->lost;
	to->refused += c->refused;
}

void vmm_nets_counters(struct vmm_nets *n, struct vmm_counters *ret)
{
	struct vmm_net_counters out, in;

	for (unsigned i = 0; n && i < n->n; i++) {
		if (!n->slots[i].dev)
			continue;
		virtio_net_counters(n->slots[i].dev, &out, &in);
		add(&ret->net_out, &out);
		add(&ret->net_in, &in);
	}
}
