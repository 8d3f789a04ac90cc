// SPDX-License-Identifier: Apache-2.0
// Memory type registers: firmware programs them and kernels read them back; the software processor has no caches, so they
// change nothing.
#include "vmm/soft/soft.h"

enum {
	MSR_MTRR_PHYS = 0x200, // base and mask in turn
	MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258,
	MSR_MTRR_FIX4K = 0x268,
	MSR_MTRR_DEF_TYPE = 0x2ff,
};

uint64_t *soft_mtrr(struct soft_vp *vp, uint32_t msr)
{
	struct soft_mtrr *m = &vp->mtrr;

	if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 2 * SOFT_MTRRS)
		return &m->phys[msr - MSR_MTRR_PHYS];
	if (msr >= MSR_MTRR_FIX4K && msr < MSR_MTRR_FIX4K + 8)
		return &m->fixed[3 + msr - MSR_MTRR_FIX4K];
	switch (msr) {
	case MSR_MTRR_FIX64K:
		return &m->fixed[0];
	case MSR_MTRR_FIX16K:
	case MSR_MTRR_FIX16K + 1:
		return &m->fixed[1 + msr - MSR_MTRR_FIX16K];
	case MSR_MTRR_DEF_TYPE:
		return &m->def_type;
	default:
		return NULL;
	}
}

static bool type_ok(uint64_t type)
{
	return type == 0 || type == 1 || (type >= 4 && type <= 6);
}

// Reserved bits and types fault (SDM vol. 3, 12.11). Pages are 46 bits of physical address.
bool soft_mtrr_valid(uint32_t msr, uint64_t v)
{
	if (msr == MSR_MTRR_DEF_TYPE)
		return !(v & ~0xcffull) && type_ok(v & 0xff);
	if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 2 * SOFT_MTRRS)
		return !(v >> 46) && (msr & 1 ? !(v & 0x7ff) : !(v & 0xf00) && type_ok(v & 0xff));
	for (unsigned i = 0; i < 8; i++)
		if (!type_ok(v >> 8 * i & 0xff))
			return false;
	return true;
}
