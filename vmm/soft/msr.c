// SPDX-License-Identifier: Apache-2.0
// Model-specific registers that are not plain processor state: TSC, APIC, what Intel kernels look at, and Hyper-V's.
#include "vmm/soft/soft.h"

#include <string.h>

#include "base/log.h"

enum {
	MSR_TSC = 0x10,
	MSR_APIC_BASE = 0x1b,
	MSR_FEATURE_CONTROL = 0x3a,
	MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC = 0x800,
	HV_GUEST_OS_ID = 0x40000000,
	HV_HYPERCALL,
	HV_VP_INDEX,
	HV_RESET,
	HV_VP_RUNTIME = 0x40000010,
	HV_TIME_REF_COUNT = 0x40000020,
	HV_REFERENCE_TSC,
	HV_TSC_FREQUENCY,
	HV_APIC_FREQUENCY,
	HV_EOI = 0x40000070,
	HV_ICR,
	HV_TPR,
	HV_VP_ASSIST,
	HV_SYNIC = 0x40000080,
	HV_STIMER = 0x400000b0,
	HV_CRASH_P0 = 0x40000100,
	HV_CRASH_CTL = 0x40000105,
	HV_TSC_INVARIANT = 0x40000118,
};

// What a kernel reads of an Intel processor, and the answer: nothing is affected by anything.
static const struct {
	uint32_t msr;
	uint64_t value;
} constants[] = {
	{ 0x17, 0 },                    // PLATFORM_ID
	{ 0x34, 0 },                    // SMI_COUNT
	{ MSR_FEATURE_CONTROL, 1 },     // locked, no VMX
	{ 0x8b, (uint64_t)0x1f << 32 }, // microcode revision
	{ 0xce, 0 },                    // PLATFORM_INFO
	// RDCL_NO IBRS_ALL SKIP_L1DFL SSB_NO MDS_NO PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO BHI_NO GDS_NO RFDS_NO ITS_NO
	{ MSR_ARCH_CAPABILITIES, 0x400000000c10e17bull },
	{ 0xfe, 0x508 },        // MTRRCAP: 8 variable, fixed, write combining
	{ 0x140, 0 },           // MISC_FEATURE_ENABLES
	{ MSR_MISC_ENABLE, 1 }, // fast strings
	{ 0x1d9, 0 },           // DEBUGCTL
	{ 0x48, 0 },            // SPEC_CTRL
};

// The synthetic MSRs are there as far as the partition has been given them.
static const struct {
	uint32_t first, last, feature;
} granted[] = {
	{ HV_GUEST_OS_ID, HV_HYPERCALL, HV_SYNTH_ACCESS_HYPERCALL_REGS },
	{ HV_VP_INDEX, HV_VP_INDEX, HV_SYNTH_ACCESS_VP_INDEX },
	{ HV_VP_RUNTIME, HV_VP_RUNTIME, HV_SYNTH_ACCESS_VP_RUN_TIME_REG },
	{ HV_TIME_REF_COUNT, HV_TIME_REF_COUNT, HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER },
	{ HV_REFERENCE_TSC, HV_REFERENCE_TSC, HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC },
	{ HV_TSC_FREQUENCY, HV_APIC_FREQUENCY, HV_SYNTH_ACCESS_FREQUENCY_REGS },
	{ HV_EOI, HV_VP_ASSIST, HV_SYNTH_ACCESS_INTR_CTRL_REGS },
	{ HV_SYNIC, HV_STIMER - 1, HV_SYNTH_ACCESS_SYNIC_REGS },
	{ HV_STIMER, HV_STIMER + 7, HV_SYNTH_ACCESS_SYNTHETIC_TIMER_REGS },
	{ HV_CRASH_P0, HV_TSC_INVARIANT, HV_SYNTH_HYPERVISOR_PRESENT },
};

static bool has(const struct soft_partition *p, uint32_t msr)
{
	if (msr < HV_GUEST_OS_ID || msr > HV_TSC_INVARIANT)
		return true;
	for (unsigned i = 0; i < sizeof(granted) / sizeof(*granted); i++)
		if (msr >= granted[i].first && msr <= granted[i].last)
			return p->synth_features >> granted[i].feature & 1;
	return false;
}

uint64_t soft_vp_tsc(struct soft_vp *vp)
{
	return soft_guest_tsc(vp->p) + vp->tsc_adjust;
}

// 100 ns units: ((tsc * scale) >> 64) + offset. The sequence says to a reader that the others have changed.
void soft_tsc_page_update(struct soft_partition *p)
{
	struct ms_hyperv_tsc_page *page = (void *)(p->pages + 4096);
	uint64_t scale = (uint64_t)(((unsigned __int128)10000000 << 64) / p->tsc_hz);
	uint64_t adjust = p->vps[0] ? p->vps[0]->tsc_adjust : 0;
	uint32_t sequence = page->tsc_sequence + 1;
	// Reference time now less what the page would say of the guest's TSC now.
	uint64_t tsc = soft_guest_tsc(p);
	uint64_t offset = soft_reference_time(p) -
			  (uint64_t)((unsigned __int128)(tsc + adjust) * scale >> 64);

	__atomic_store_n(&page->tsc_sequence, 0, __ATOMIC_SEQ_CST);
	page->tsc_scale = scale;
	page->tsc_offset = (int64_t)offset;
	__atomic_store_n(&page->tsc_sequence, sequence ? sequence : 1, __ATOMIC_RELEASE);
}

static void tsc_write(struct soft_vp *vp, uint64_t v)
{
	vp->tsc_adjust = v - soft_guest_tsc(vp->p);
	x86_set_tsc_offset(vp->cpu, (int64_t)(vp->tsc_adjust - vp->p->tsc_zero));
	if (vp->index == 0)
		soft_tsc_page_update(vp->p);
}

static void reference_tsc_write(struct soft_partition *p, uint64_t v)
{
	p->reference_tsc = v;
	if (v & 1)
		soft_tsc_page_update(p);
	soft_overlay_set(p, SOFT_OVERLAY_TSC, v, v & 1 ? p->pages + 4096 : NULL, false);
}

static int hypercall_write(struct soft_partition *p, uint64_t v)
{
	static const uint8_t code[] = { 0x0f, 0x01, 0xc1, 0xc3 }; // VMCALL; RET

	if (p->hypercall_msr & 2)
		return 1; // locked
	if (!p->os_id)
		v &= ~1ull; // TLFS 3.13: not before the guest has said who it is
	p->hypercall_msr = v;
	memcpy(p->pages, code, sizeof(code));
	soft_overlay_set(p, SOFT_OVERLAY_HYPERCALL, v, v & 1 ? p->pages : NULL, false);
	return 0;
}

int soft_msr_get(struct soft_vp *vp, uint32_t msr, uint64_t *v)
{
	struct soft_partition *p = vp->p;

	if (!has(p, msr))
		return 1;
	if (soft_mtrr(vp, msr)) {
		*v = *soft_mtrr(vp, msr);
		return 0;
	}
	if (msr >= HV_SYNIC && msr < HV_STIMER + 8)
		return soft_synic_read(&vp->synic, msr, v);
	for (unsigned i = 0; i < sizeof(constants) / sizeof(*constants); i++)
		if (constants[i].msr == msr) {
			*v = constants[i].value;
			return 0;
		}
	if (msr >= HV_CRASH_P0 && msr < HV_CRASH_CTL) {
		*v = vp->crash[msr - HV_CRASH_P0];
		return 0;
	}
	switch (msr) {
	case MSR_TSC:
		*v = soft_vp_tsc(vp);
		return 0;
	case MSR_APIC_BASE:
		*v = vp->lapic.base;
		return 0;
	case MSR_TSC_DEADLINE:
		*v = soft_lapic_deadline(&vp->lapic);
		return 0;
	case HV_GUEST_OS_ID:
		*v = p->os_id;
		return 0;
	case HV_HYPERCALL:
		*v = p->hypercall_msr;
		return 0;
	case HV_VP_INDEX:
		*v = vp->index;
		return 0;
	case HV_VP_RUNTIME:
		*v = vp->runtime;
		return 0;
	case HV_EOI:
		*v = 0;
		return 0;
	case HV_TIME_REF_COUNT:
		*v = soft_reference_time(p);
		return 0;
	case HV_REFERENCE_TSC:
		*v = p->reference_tsc;
		return 0;
	case HV_TSC_FREQUENCY:
		*v = p->tsc_hz;
		return 0;
	case HV_APIC_FREQUENCY:
		*v = SOFT_APIC_HZ;
		return 0;
	case HV_ICR:
		return soft_lapic_read(&vp->lapic, 48, true, v);
	case HV_TPR:
		return soft_lapic_read(&vp->lapic, 8, true, v);
	case HV_VP_ASSIST:
		*v = vp->vp_assist;
		return 0;
	case HV_CRASH_CTL:
		*v = 1ull << 63 | 1ull << 62;
		return 0; // crash notification, with a message
	case HV_TSC_INVARIANT:
		*v = p->tsc_invariant;
		return 0;
	default:
		return 1;
	}
}

static int unknown(struct soft_vp *vp, uint32_t msr, bool write)
{
	uint32_t want = write ? HV_INTERCEPT_ACCESS_MASK_WRITE : HV_INTERCEPT_ACCESS_MASK_READ;

	if (atomic_load(&vp->p->intercepts.unknown_msr) & want)
		return X86_ENV_EXIT;
	log_debug("vp%u: %s unknown MSR %#x", vp->index, write ? "write to" : "read of", msr);
	return vp->p->msr_action == 0;
}

int soft_rdmsr(struct soft_vp *vp, uint32_t msr, uint64_t *v)
{
	*v = 0;
	if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x40)
		return vp->lapic.base & 1 << 10
			       ? soft_lapic_read(&vp->lapic, msr - MSR_X2APIC, true, v)
			       : 1;
	if (msr == HV_EOI && has(vp->p, msr))
		return 1; // write only
	return soft_msr_get(vp, msr, v) ? unknown(vp, msr, false) : 0;
}

int soft_msr_set(struct soft_vp *vp, uint32_t msr, uint64_t v)
{
	struct soft_partition *p = vp->p;

	if (!has(p, msr))
		return SOFT_MSR_UNKNOWN;
	if (soft_mtrr(vp, msr)) {
		if (!soft_mtrr_valid(msr, v))
			return 1;
		*soft_mtrr(vp, msr) = v;
		return 0;
	}
	if (msr >= HV_SYNIC && msr < HV_STIMER + 8)
		return soft_synic_write(&vp->synic, msr, v);
	if (msr >= HV_CRASH_P0 && msr < HV_CRASH_CTL) {
		vp->crash[msr - HV_CRASH_P0] = v;
		return 0;
	}
	switch (msr) {
	case MSR_TSC:
		tsc_write(vp, v);
		return 0;
	case MSR_APIC_BASE:
		return soft_lapic_base_write(&vp->lapic, v);
	case MSR_TSC_DEADLINE:
		soft_lapic_deadline_write(&vp->lapic, v);
		return 0;
	case 0x8b:
	case 0x79:
	case 0x140:
	case MSR_MISC_ENABLE:
	case 0x1d9:
	case 0x48:
	case 0x49:
		return 0; // nothing to change
	case HV_GUEST_OS_ID:
		p->os_id = v;
		return v ? 0 : hypercall_write(p, p->hypercall_msr & ~1ull);
	case HV_HYPERCALL:
		return hypercall_write(p, v);
	case HV_REFERENCE_TSC:
		reference_tsc_write(p, v);
		return 0;
	case HV_VP_INDEX:
	case HV_VP_RUNTIME:
	case HV_TIME_REF_COUNT:
	case HV_TSC_FREQUENCY:
	case HV_APIC_FREQUENCY:
		return 1; // read only
	case HV_EOI:
		return soft_lapic_write(&vp->lapic, 11, true, 0);
	case HV_ICR:
		return soft_lapic_write(&vp->lapic, 48, true, v);
	case HV_TPR:
		return soft_lapic_write(&vp->lapic, 8, true, v);
	case HV_VP_ASSIST:
		vp->vp_assist = v;
		return 0;
	case HV_CRASH_CTL:
		vp->crash_ctl = v;
		return 0;
	case HV_TSC_INVARIANT:
		p->tsc_invariant = v & 1;
		return 0;
	default:
		for (unsigned i = 0; i < sizeof(constants) / sizeof(*constants); i++)
			if (constants[i].msr == msr)
				return constants[i].value == v ? 0 : SOFT_MSR_UNKNOWN;
		return SOFT_MSR_UNKNOWN;
	}
}

int soft_wrmsr(struct soft_vp *vp, uint32_t msr, uint64_t v)
{
	int r;

	if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x40)
		return vp->lapic.base & 1 << 10
			       ? soft_lapic_write(&vp->lapic, msr - MSR_X2APIC, true, v)
			       : 1;
	r = soft_msr_set(vp, msr, v);
	return r == SOFT_MSR_UNKNOWN ? unknown(vp, msr, true) : r;
}
