// SPDX-License-Identifier: Apache-2.0
// What all ports of a network device have in common.
#include <stdlib.h>

#include "base/own.h"
#include "vmm/virtio/net.h"

void net_port_free(struct net_port *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n_pairs; i++)
		close_fd(p->fd[i]);
	p->ops->free(p);
}
