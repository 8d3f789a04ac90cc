// SPDX-License-Identifier: Apache-2.0
// Doorbells (ioeventfds), irqfds and the interrupt routes they go by.
#ifndef VMM_SOFT_EVENTFD_H
#define VMM_SOFT_EVENTFD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"

struct soft_partition;

struct soft_doorbell {
	uint64_t gpa, match;
	uint32_t len;
	bool any;
	int fd; // owned duplicate
};
// No duplicate of an irqfd's eventfd is held: its last close has to end the irqfd, which epoll sees to. given is the
// caller's number; what it names now is asked of epoll.
struct soft_irqfd {
	int given;
	int resample; // owned duplicate, or -1
	uint32_t gsi, generation;
	bool used;
};
struct soft_route {
	bool valid;
	uint32_t address, data;
};

// 0 or -errno, as the driver.
long soft_ioeventfd(struct soft_partition *p, const struct mshv_user_ioeventfd *a);
long soft_irqfd(struct soft_partition *p, const struct mshv_user_irqfd *a);
long soft_set_msi_routing(struct soft_partition *p, const struct mshv_user_irq_table *head,
			  const struct mshv_user_irq_entry *entries);
bool soft_doorbell_ring(struct soft_partition *p, uint64_t gpa, unsigned len, uint64_t value);
// A level interrupt ended: resamplers of its routes are told. True if there was one.
bool soft_resample(struct soft_partition *p, uint8_t vector);
void soft_irqfd_fire(struct soft_partition *p, uint64_t key); // the partition's thread saw it
void soft_eventfd_done(struct soft_partition *p);

#endif
