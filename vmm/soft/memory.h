// SPDX-License-Identifier: Apache-2.0
// What a partition's guest-physical pages are: the RAM that the VMM gave, and over it the hypervisor's overlay pages.
// Each page of RAM has a byte of HV_GPA_STATE_ACCESSED and HV_GPA_STATE_DIRTY, set by the processors as they fill their
// TLBs: whoever clears one makes every processor forget its translations before he reads what they did.
#ifndef VMM_SOFT_MEMORY_H
#define VMM_SOFT_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"

struct soft_partition;
struct soft_vp;
struct x86_page;

struct soft_region {
	uint64_t gpa, size;
	uint8_t *hva;
	bool writable, executable, overlay;
	uint8_t *
		states; // a byte a page by atomic accesses, owned by the partition's list; NULL for overlays
	struct x86_page *pages; // owned likewise; NULL while there is one VP, and for overlays
};

// Overlay slots of a partition.
enum { SOFT_OVERLAY_HYPERCALL, SOFT_OVERLAY_TSC, SOFT_OVERLAY_VP0 };
#define SOFT_OVERLAY_SIMP(vp) (SOFT_OVERLAY_VP0 + 2 * (vp))
#define SOFT_OVERLAY_SIEFP(vp) (SOFT_OVERLAY_VP0 + 2 * (vp) + 1)

// The region with the page at gpa, by value: false where there is none. Any thread.
bool soft_region_at(struct soft_partition *p, uint64_t gpa, struct soft_region *ret);
// The same from a VP's own copy of the map. On the thread that has the VP's processor.
const struct soft_region *soft_vp_region(struct soft_vp *vp, uint64_t gpa);
// Places the host page at gpa, or takes the slot's page away (NULL). Processors see it at their next attention; this one
// before its next instruction. Any thread.
void soft_overlay_set(struct soft_partition *p, unsigned slot, uint64_t gpa, void *page,
		      bool writable);
// Host address of len bytes at gpa, or NULL. Any thread.
void *soft_ram(struct soft_partition *p, uint64_t gpa, uint64_t len, bool *writable);
int soft_memory_share(struct soft_partition *p); // before a second VP comes
void soft_memory_done(struct soft_partition *p);

long soft_set_guest_memory(struct soft_partition *p, const struct mshv_user_mem_region *a);
// *a is updated as the driver does.
long soft_gpap_access_bitmap(struct soft_partition *p, struct mshv_gpap_access_bitmap *a);
// States of n pages from page number gfn on, before flags (HV_GPA_*) are applied to them. Pages that are not RAM have
// none. All of them or nothing.
void soft_access_states(struct soft_partition *p, uint64_t gfn, uint64_t n, uint64_t flags,
			uint8_t *states);

#endif
