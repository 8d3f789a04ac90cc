// SPDX-License-Identifier: Apache-2.0
// The machine's network interfaces: VMM_NETS_MAX windows that the guest knows from the start, and what is plugged.
#ifndef VMM_NETS_H
#define VMM_NETS_H

#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/vmm.h"

struct vmm_nets;

int vmm_nets_new(const struct dev_host *host, struct vmm_nets **ret, struct err *e);
void vmm_nets_free(struct vmm_nets *n);
// Before vCPUs run, at most VMM_NETS_MAX times.
int vmm_nets_add_slot(struct vmm_nets *n, struct bus *bus, uint64_t base, struct irq_line irq,
		      struct err *e);
// As vmm_plug_net. n may be NULL: a machine without slots.
int vmm_nets_plug(struct vmm_nets *n, const struct vmm_net *net, unsigned *ret_slot, struct err *e);
void vmm_nets_counters(struct vmm_nets *n, struct vmm_counters *ret); // n may be NULL

#endif
