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
	MSR_TSC_ADJUST = 0x3b,
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

// Writes into RAM at a page the guest named, if it is there.
static void write_page(struct soft_vp *vp, uint64_t gpa, const void *data, unsigned len)
{
	bool writable = false;
	void *page = soft_ram(vp->p, gpa & ~4095ull, 4096, &writable);

	if (page && writable)
		memcpy(page, data, len);
}

static void reference_tsc_write(struct soft_vp *vp, uint64_t v)
{
	struct soft_partition *p = vp->p;
	uint64_t page[3] = { 1 };

	p->reference_tsc = v;
	if (!(v & 1))
		return;
	// 100 ns units: (tsc * scale) >> 64
	page[1] = (uint64_t)(((unsigned __int128)10000000 << 64) / p->tsc_hz);
	write_page(vp, v, page, sizeof(page));
}

static void hypercall_write(struct soft_vp *vp, uint64_t v)
{
	static const uint8_t code[] = { 0x0f, 0x01, 0xc1, 0xc3 }; // VMCALL; RET

	if (!vp->p->os_id)
		v &= ~1ull; // TLFS 3.13: not before the guest has said who it is
	vp->p->hypercall_msr = v;
	if (v & 1)
		write_page(vp, v, code, sizeof(code));
}

int soft_rdmsr(struct soft_vp *vp, uint32_t msr, uint64_t *v)
{
	struct soft_partition *p = vp->p;

	if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x40)
		return vp->lapic.base & 1 << 10
			       ? soft_lapic_read(&vp->lapic, msr - MSR_X2APIC, true, v)
			       : 1;
	for (unsigned i = 0; i < sizeof(constants) / sizeof(*constants); i++)
		if (constants[i].msr == msr) {
			*v = constants[i].value;
			return 0;
		}
	if (soft_mtrr(vp, msr)) {
		*v = *soft_mtrr(vp, msr);
		return 0;
	}
	if (msr >= HV_CRASH_P0 && msr < HV_CRASH_CTL) {
		*v = vp->crash[msr - HV_CRASH_P0];
		return 0;
	}
	switch (msr) {
	case MSR_TSC:
		*v = soft_guest_tsc(p);
		return 0;
	case MSR_TSC_ADJUST:
		return 1; // not offered
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
		break;
	}
	log_debug("vp%u: read of unknown MSR %#x", vp->index, msr);
	*v = 0;
	return p->msr_action == 0;
}

int soft_wrmsr(struct soft_vp *vp, uint32_t msr, uint64_t v)
{
	struct soft_partition *p = vp->p;

	if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x40)
		return vp->lapic.base & 1 << 10
			       ? soft_lapic_write(&vp->lapic, msr - MSR_X2APIC, true, v)
			       : 1;
	if (soft_mtrr(vp, msr)) {
		if (!soft_mtrr_valid(msr, v))
			return 1;
		*soft_mtrr(vp, msr) = v;
		return 0;
	}
	if (msr >= HV_CRASH_P0 && msr < HV_CRASH_CTL) {
		vp->crash[msr - HV_CRASH_P0] = v;
		return 0;
	}
	switch (msr) {
	case MSR_TSC:
		p->tsc_zero = __builtin_ia32_rdtsc() - v;
		x86_set_tsc_offset(vp->cpu, (int64_t)(0 - p->tsc_zero));
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
		return 0;
	case HV_HYPERCALL:
		hypercall_write(vp, v);
		return 0;
	case HV_REFERENCE_TSC:
		reference_tsc_write(vp, v);
		return 0;
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
		break;
	}
	log_debug("vp%u: write of unknown MSR %#x", vp->index, msr);
	return p->msr_action == 0;
}
