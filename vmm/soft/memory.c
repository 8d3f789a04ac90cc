// SPDX-License-Identifier: Apache-2.0
#include "vmm/soft/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/soft/soft.h"
#include "vmm/soft/user.h"

static bool holds(const struct soft_region *r, uint64_t gpa)
{
	return gpa >= r->gpa && gpa - r->gpa < r->size;
}

static const struct soft_region *find_locked(const struct soft_partition *p, uint64_t gpa)
{
	for (unsigned i = 0; i < SOFT_OVERLAYS; i++)
		if (p->overlays[i].size && holds(&p->overlays[i], gpa))
			return &p->overlays[i];
	for (unsigned i = 0; i < p->n_regions; i++)
		if (holds(&p->regions[i], gpa))
			return &p->regions[i];
	return NULL;
}

bool soft_region_at(struct soft_partition *p, uint64_t gpa, struct soft_region *ret)
{
	const struct soft_region *r;

	pthread_mutex_lock(&p->mem_lock);
	r = find_locked(p, gpa);
	if (r)
		*ret = *r;
	pthread_mutex_unlock(&p->mem_lock);
	return r != NULL;
}

static void refresh(struct soft_vp *vp)
{
	struct soft_partition *p = vp->p;
	unsigned n = 0;

	pthread_mutex_lock(&p->mem_lock);
	vp->regions_seen = atomic_load(&p->regions_changed);
	for (unsigned i = 0; i < SOFT_OVERLAYS; i++) // they come first, so they win
		if (p->overlays[i].size)
			vp->regions[n++] = p->overlays[i];
	memcpy(vp->regions + n, p->regions, p->n_regions * sizeof(*vp->regions));
	vp->n_regions = n + p->n_regions;
	pthread_mutex_unlock(&p->mem_lock);
}

const struct soft_region *soft_vp_region(struct soft_vp *vp, uint64_t gpa)
{
	if (vp->regions_seen != atomic_load_explicit(&vp->p->regions_changed, memory_order_acquire))
		refresh(vp);
	for (unsigned i = 0; i < vp->n_regions; i++)
		if (holds(&vp->regions[i], gpa))
			return &vp->regions[i];
	return NULL;
}

void *soft_ram(struct soft_partition *p, uint64_t gpa, uint64_t len, bool *writable)
{
	struct soft_region r;

	if (!soft_region_at(p, gpa, &r) || len > r.size - (gpa - r.gpa))
		return NULL;
	*writable = r.writable;
	return r.hva + (gpa - r.gpa);
}

// The memory map or its states change between these: no VP executes, nobody else looks into one.
static void change_begin(struct soft_partition *p)
{
	pthread_mutex_lock(&p->visit_lock);
	soft_stop_begin(p, false);
	pthread_mutex_lock(&p->mem_lock);
}

static void change_end(struct soft_partition *p, bool changed)
{
	if (changed)
		atomic_fetch_add(&p->regions_changed, 1);
	pthread_mutex_unlock(&p->mem_lock);
	for (unsigned i = 0; changed && i < SOFT_VPS; i++)
		if (p->vps[i])
			x86_flush_tlb(p->vps[i]->cpu);
	soft_stop_end(p, false);
	pthread_mutex_unlock(&p->visit_lock);
}

void soft_overlay_set(struct soft_partition *p, unsigned slot, uint64_t gpa, void *page,
		      bool writable)
{
	pthread_mutex_lock(&p->mem_lock);
	p->overlays[slot] = (struct soft_region){ .gpa = gpa & ~4095ull,
						  .size = page ? 4096 : 0,
						  .hva = page,
						  .writable = writable,
						  .executable = true,
						  .overlay = true };
	atomic_fetch_add(&p->regions_changed, 1);
	pthread_mutex_unlock(&p->mem_lock);
	// No waiting: a processor that changes an overlay may be waited for by another that does so too. The pages live
	// as long as the partition.
	for (unsigned i = 0; i < SOFT_VPS; i++) {
		struct soft_vp *vp = p->vps[i];

		if (vp) {
			atomic_store(&vp->flush, true);
			soft_vp_wake(vp);
		}
	}
}

void soft_memory_done(struct soft_partition *p)
{
	for (unsigned i = 0; i < p->n_regions; i++) {
		free(p->regions[i].states);
		free(p->regions[i].pages);
	}
}

// Marks for the pages of a region, once there is more than one VP to mark them.
static int pages_new(struct soft_region *r)
{
	if (!r->pages)
		r->pages = calloc(r->size >> 12, sizeof(*r->pages));
	return r->pages ? 0 : -ENOMEM;
}

int soft_memory_share(struct soft_partition *p)
{
	int r = 0;

	change_begin(p);
	for (unsigned i = 0; i < p->n_regions && r == 0; i++)
		r = pages_new(&p->regions[i]);
	for (unsigned i = 0; i < SOFT_VPS && r == 0; i++)
		if (p->vps[i])
			x86_share(p->vps[i]->cpu, i);
	change_end(p, r == 0);
	return r;
}

// ---- SET_GUEST_MEMORY
static bool backed(uint64_t addr, uint64_t size)
{
	unsigned char vec[1];

	// Only the ends are looked at: the middle is the caller's promise.
	return mincore((void *)(uintptr_t)addr, 4096, vec) == 0 &&
	       mincore((void *)(uintptr_t)(addr + size - 4096), 4096, vec) == 0;
}

static long unmap_locked(struct soft_partition *p, const struct mshv_user_mem_region *a,
			 struct soft_region *ret_gone)
{
	for (unsigned i = 0; i < p->n_regions; i++) {
		struct soft_region *m = &p->regions[i];

		if (!holds(m, a->guest_pfn << 12))
			continue;
		if (m->gpa != a->guest_pfn << 12 || m->size != a->size ||
		    (uint64_t)(uintptr_t)m->hva != a->userspace_addr)
			return -EINVAL;
		*ret_gone = *m;
		*m = p->regions[--p->n_regions];
		return 0;
	}
	return -ENOENT;
}

static long map_locked(struct soft_partition *p, const struct mshv_user_mem_region *a)
{
	uint64_t gpa = a->guest_pfn << 12;
	struct soft_region *m = &p->regions[p->n_regions];
	uint8_t *states;

	for (unsigned i = 0; i < p->n_regions; i++)
		if (gpa < p->regions[i].gpa + p->regions[i].size &&
		    p->regions[i].gpa < gpa + a->size)
			return -EEXIST;
	if (a->userspace_addr + a->size < a->userspace_addr || !backed(a->userspace_addr, a->size))
		return -EINVAL;
	states = p->n_regions < SOFT_REGIONS ? calloc(a->size >> 12, 1) : NULL;
	if (!states)
		return -ENOMEM;
	*m = (struct soft_region){
		.gpa = gpa,
		.size = a->size,
		.hva = (uint8_t *)(uintptr_t)a->userspace_addr,
		.writable = a->flags >> MSHV_SET_MEM_BIT_WRITABLE & 1,
		.executable = a->flags >> MSHV_SET_MEM_BIT_EXECUTABLE & 1,
		.states = states,
	};
	if (p->n_vps > 1 && pages_new(m) < 0) {
		free(states);
		return -ENOMEM;
	}
	p->n_regions++;
	return 0;
}

long soft_set_guest_memory(struct soft_partition *p, const struct mshv_user_mem_region *a)
{
	static const uint8_t zero[7];
	struct soft_region gone = { 0 };
	uint64_t gpa = a->guest_pfn << 12;
	long r;

	if (!a->size || (a->size & 4095) || (a->userspace_addr & 4095) ||
	    a->flags >> MSHV_SET_MEM_BIT_COUNT || memcmp(a->rsvd, zero, sizeof(zero)) ||
	    gpa >> 12 != a->guest_pfn || gpa + a->size < gpa)
		return -EINVAL;
	change_begin(p); // what goes is used by nobody when this returns
	r = a->flags >> MSHV_SET_MEM_BIT_UNMAP & 1 ? unmap_locked(p, a, &gone) : map_locked(p, a);
	change_end(p, r == 0);
	free(gone.states);
	free(gone.pages);
	return r;
}

// ---- accessed and dirty
static void states_locked(const struct soft_partition *p, uint64_t gfn, uint64_t n, uint64_t flags,
			  uint8_t *out)
{
	uint8_t clear = (flags & HV_GPA_CLEAR_ACCESSED ? HV_GPA_STATE_ACCESSED : 0) |
			(flags & HV_GPA_CLEAR_DIRTY ? HV_GPA_STATE_DIRTY : 0),
		set = (flags & HV_GPA_SET_ACCESSED ? HV_GPA_STATE_ACCESSED : 0) |
		      (flags & HV_GPA_SET_DIRTY ? HV_GPA_STATE_DIRTY : 0);

	for (unsigned i = 0; i < p->n_regions; i++) {
		const struct soft_region *r = &p->regions[i];
		uint64_t first = r->gpa >> 12, end = first + (r->size >> 12);
		uint64_t from = gfn > first ? gfn : first, to = gfn + n < end ? gfn + n : end;

		for (uint64_t f = from; f < to; f++) {
			uint8_t *s = &r->states[f - first];

			out[f - gfn] =
				clear ? __atomic_fetch_and(s, (uint8_t)~clear, __ATOMIC_SEQ_CST)
				: set ? __atomic_fetch_or(s, set, __ATOMIC_SEQ_CST)
				      : __atomic_load_n(s, __ATOMIC_SEQ_CST);
		}
	}
}

void soft_access_states(struct soft_partition *p, uint64_t gfn, uint64_t n, uint64_t flags,
			uint8_t *states)
{
	memset(states, 0, n);
	if (flags & (HV_GPA_CLEAR_ACCESSED | HV_GPA_CLEAR_DIRTY)) {
		change_begin(p); // every page's next access is seen again
		states_locked(p, gfn, n, flags, states);
		change_end(p, true);
	} else {
		pthread_mutex_lock(&p->mem_lock);
		states_locked(p, gfn, n, flags, states);
		pthread_mutex_unlock(&p->mem_lock);
	}
}

long soft_gpap_access_bitmap(struct soft_partition *p, struct mshv_gpap_access_bitmap *a)
{
	static const uint64_t op_flags[MSHV_GPAP_ACCESS_TYPE_COUNT][MSHV_GPAP_ACCESS_OP_COUNT] = {
		// Not accessed implies not dirty; dirty implies accessed.
		{ 0, HV_GPA_CLEAR_ACCESSED | HV_GPA_CLEAR_DIRTY, HV_GPA_SET_ACCESSED },
		{ 0, HV_GPA_CLEAR_DIRTY, HV_GPA_SET_ACCESSED | HV_GPA_SET_DIRTY },
	};
	static const uint8_t zero[6];
	uint64_t bytes = a->page_count / 8 + (a->page_count % 8 != 0);
	uint8_t *states, *bits, mask = a->access_type ? HV_GPA_STATE_DIRTY : HV_GPA_STATE_ACCESSED;
	long r;

	if (a->access_type >= MSHV_GPAP_ACCESS_TYPE_COUNT ||
	    a->access_op >= MSHV_GPAP_ACCESS_OP_COUNT || memcmp(a->rsvd, zero, sizeof(zero)) ||
	    !a->page_count || !a->bitmap_ptr)
		return -EINVAL;
	if (a->gpap_base + a->page_count < a->gpap_base ||
	    a->gpap_base + a->page_count > 1ull << 52)
		return -E2BIG;
	bits = calloc(bytes, 1);
	states = malloc(a->page_count);
	r = bits && states ? soft_copy_out(a->bitmap_ptr, bits, bytes)
			   : -ENOMEM; // before anything changes
	if (r == 0) {
		soft_access_states(p, a->gpap_base, a->page_count,
				   op_flags[a->access_type][a->access_op], states);
		for (uint64_t i = 0; i < a->page_count; i++)
			if (states[i] & mask)
				bits[i / 8] |= (uint8_t)(1 << i % 8);
		r = soft_copy_out(a->bitmap_ptr, bits, bytes);
	}
	free(bits);
	free(states);
	return r;
}
