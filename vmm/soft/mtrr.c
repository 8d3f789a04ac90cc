// SPDX-License-Identifier: Apache-2.0
// Memory type registers: firmware programs them and kernels read them back; the software processor has no caches, so they
// change nothing. MSRs, and the Hyper-V names of MSRs that are kept by number.
#include "vmm/soft/soft.h"

enum {
	MSR_MTRR_CAP = 0xfe,
	MSR_MTRR_PHYS = 0x200, // base and mask in turn
	MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258,
	MSR_MTRR_FIX4K = 0x268,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_SPEC_CTRL = 0x48,
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

// The MSR behind a register name, 0 if it has none here.
uint32_t soft_register_msr(uint32_t name)
{
	static const uint16_t fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
					  0x26b, 0x26c, 0x26d, 0x26e, 0x26f };

	if (name >= HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 &&
	    name < HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 + SOFT_MTRRS)
		return MSR_MTRR_PHYS + 2 * (name - HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0);
	if (name >= HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 &&
	    name < HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 + SOFT_MTRRS)
		return MSR_MTRR_PHYS + 1 + 2 * (name - HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0);
	if (name >= HV_X64_REGISTER_MSR_MTRR_FIX64K00000 &&
	    name < HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + sizeof(fixed) / sizeof(*fixed))
		return fixed[name - HV_X64_REGISTER_MSR_MTRR_FIX64K00000];
	switch (name) {
	case HV_X64_REGISTER_MSR_MTRR_CAP:
		return MSR_MTRR_CAP;
	case HV_X64_REGISTER_MSR_MTRR_DEF_TYPE:
		return MSR_MTRR_DEF_TYPE;
	case HV_X64_REGISTER_SPEC_CTRL:
		return MSR_SPEC_CTRL;
	case HV_REGISTER_GUEST_OS_ID:
		return 0x40000000;
	case HV_X64_REGISTER_HYPERCALL:
		return 0x40000001;
	case HV_REGISTER_REFERENCE_TSC:
		return 0x40000021;
	case HV_REGISTER_VP_ASSIST_PAGE:
		return 0x40000073;
	default:
		return 0;
	}
}
