// SPDX-License-Identifier: Apache-2.0
// Registers by name that are the hypervisor's: most are an MSR's other name, the rest is the VP's run state.
#include "vmm/soft/regs.h"

#include <string.h>

#include "vmm/soft/soft.h"

// Runs of names with runs of MSRs. An MSR that the partition has no right to has no name either.
static const struct {
	uint32_t name, count, msr;
} msrs[] = {
	{ HV_REGISTER_GUEST_CRASH_P0, 5, 0x40000100 },
	{ HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY, 2, 0x40000022 },
	{ HV_X64_REGISTER_TSC, 1, 0x10 },
	{ HV_X64_REGISTER_APIC_BASE, 1, 0x1b },
	{ HV_X64_REGISTER_MSR_MTRR_CAP, 1, 0xfe },
	{ HV_X64_REGISTER_MSR_MTRR_DEF_TYPE, 1, 0x2ff },
	{ HV_X64_REGISTER_MSR_MTRR_FIX64K00000, 1, 0x250 },
	{ HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + 1, 2, 0x258 },
	{ HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + 3, 8, 0x268 },
	{ HV_X64_REGISTER_DEBUG_CTL, 1, 0x1d9 },
	{ HV_X64_REGISTER_SPEC_CTRL, 1, 0x48 },
	{ HV_X64_REGISTER_MSR_IA32_MISC_ENABLE, 1, 0x1a0 },
	{ HV_X64_REGISTER_IA32_FEATURE_CONTROL, 1, 0x3a },
	{ HV_REGISTER_VP_RUNTIME, 1, 0x40000010 },
	{ HV_X64_REGISTER_HYPERCALL, 1, 0x40000001 },
	{ HV_REGISTER_GUEST_OS_ID, 1, 0x40000000 },
	{ HV_REGISTER_VP_INDEX, 1, 0x40000002 },
	{ HV_REGISTER_TIME_REF_COUNT, 1, 0x40000020 },
	{ HV_X64_REGISTER_SYNTHETIC_EOI, 3, 0x40000070 },
	{ HV_REGISTER_VP_ASSIST_PAGE, 1, 0x40000073 },
	{ HV_REGISTER_REFERENCE_TSC, 1, 0x40000021 },
	{ HV_REGISTER_SINT0, HV_SYNIC_SINTS, 0x40000090 },
	{ HV_REGISTER_SCONTROL, 5, 0x40000080 },
	{ HV_REGISTER_STIMER0_CONFIG, 2 * HV_SYNIC_STIMERS, 0x400000b0 },
};

static bool msr_of(uint32_t name, uint32_t *ret_msr)
{
	// Base and mask of the variable ranges alternate as MSRs, and are apart as names.
	if (name >= HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 &&
	    name < HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 + SOFT_MTRRS) {
		*ret_msr = 0x200 + 2 * (name - HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0);
		return true;
	}
	if (name >= HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 &&
	    name < HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 + SOFT_MTRRS) {
		*ret_msr = 0x201 + 2 * (name - HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0);
		return true;
	}
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(*msrs); i++)
		if (name - msrs[i].name < msrs[i].count) {
			*ret_msr = msrs[i].msr + (name - msrs[i].name);
			return true;
		}
	return false;
}

// ---- events that wait for delivery
uint64_t soft_pending_interruption(struct soft_vp *vp)
{
	struct x86_event ev;
	unsigned type;

	if (!x86_event_get(vp->cpu, &ev) || vp->event_by_name0)
		return 0;
	type = ev.is_nmi         ? HV_PENDING_NMI
	       : ev.is_software  ? HV_PENDING_SOFTWARE_INTERRUPT
	       : ev.is_exception ? HV_PENDING_EXCEPTION
				 : HV_PENDING_INTERRUPT;
	return 1 | (uint64_t)type << 1 | (uint64_t)ev.has_error << 4 |
	       (uint64_t)(ev.insn_len & 15) << 5 | (uint64_t)ev.vector << 16 |
	       (uint64_t)ev.error << 32;
}

// hv_x64_pending_exception_event, the error code in the upper half and the parameter beside it.
static void pending_event_get(struct soft_vp *vp, union hv_register_value *v)
{
	struct x86_event ev;

	if (!x86_event_get(vp->cpu, &ev) || !vp->event_by_name0)
		return;
	v->reg128.low = 1 | (uint64_t)ev.has_error << 8 | (uint64_t)ev.vector << 16 |
			(uint64_t)ev.error << 32;
	v->reg128.high = ev.cr2;
}

static int pending_event_set(struct soft_vp *vp, const union hv_register_value *v)
{
	struct x86_event ev = { .vector = (uint8_t)(v->reg64 >> 16),
				.is_exception = true,
				.has_error = v->reg64 >> 8 & 1,
				.error = (uint32_t)(v->reg64 >> 32),
				.cr2 = v->reg128.high };

	if (!(v->reg64 & 1)) {
		if (vp->event_by_name0)
			x86_event_clear(vp->cpu);
		return HV_STATUS_SUCCESS;
	}
	if ((v->reg64 >> 1 & 7) || (v->reg64 >> 16 & 0xffff) > 31)
		return HV_STATUS_INVALID_REGISTER_VALUE; // only exceptions
	vp->event_by_name0 = true;
	x86_inject(vp->cpu, &ev);
	return HV_STATUS_SUCCESS;
}

static int pending_interruption_set(struct soft_vp *vp, const struct x86_state *s, uint64_t v)
{
	unsigned type = v >> 1 & 7;
	struct x86_event ev = { .vector = (uint8_t)(v >> 16),
				.is_nmi = type == HV_PENDING_NMI,
				.is_exception = type == HV_PENDING_EXCEPTION,
				.is_software = type >= HV_PENDING_SOFTWARE_INTERRUPT,
				.insn_len = type >= HV_PENDING_SOFTWARE_INTERRUPT ? v >> 5 & 15 : 0,
				.has_error = v >> 4 & 1,
				.error = (uint32_t)(v >> 32),
				.cr2 = s->cr2 };

	if (!(v & 1)) {
		if (!vp->event_by_name0)
			x86_event_clear(vp->cpu);
		return HV_STATUS_SUCCESS;
	}
	if (type == 1 || type == 7 || v >> 24 & 0xff || (ev.is_exception && ev.vector > 31))
		return HV_STATUS_INVALID_REGISTER_VALUE;
	vp->event_by_name0 = false;
	x86_inject(vp->cpu, &ev);
	return HV_STATUS_SUCCESS;
}

// ---- run state
static void info_get(struct soft_vp *vp, uint32_t leaf, union hv_register_value *v)
{
	uint32_t r[4];

	soft_cpuid(vp, leaf, 0, r);
	memcpy(v, r, sizeof(r));
}

int soft_hv_register_get(struct soft_vp *vp, const struct x86_state *s, uint32_t name,
			 union hv_register_value *v)
{
	uint32_t msr;

	if (msr_of(name, &msr))
		return soft_msr_get(vp, msr, &v->reg64) ? HV_STATUS_INVALID_PARAMETER
							: HV_STATUS_SUCCESS;
	switch (name) {
	case HV_REGISTER_GUEST_CRASH_CTL: // what the guest has said, not what it may say
		v->reg64 = vp->crash_ctl;
		break;
	case HV_REGISTER_EXPLICIT_SUSPEND:
		v->reg64 = atomic_load(&vp->suspended);
		break;
	case HV_REGISTER_INTERCEPT_SUSPEND:
		v->reg64 = atomic_load(&vp->intercepted);
		break;
	case HV_REGISTER_DISPATCH_SUSPEND:
	case HV_REGISTER_INSTRUCTION_EMULATION_HINTS:
		break;
	case HV_REGISTER_INTERNAL_ACTIVITY_STATE:
		v->reg64 = atomic_load(&vp->wait_sipi) |
			   (uint64_t)(s->halted || atomic_load(&vp->halted)) << 1;
		break;
	case HV_REGISTER_HYPERVISOR_VERSION:
		info_get(vp, 0x40000002, v);
		break;
	case HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO:
	case HV_REGISTER_FEATURES_INFO:
	case HV_REGISTER_IMPLEMENTATION_LIMITS_INFO:
	case HV_REGISTER_HARDWARE_FEATURES_INFO:
		info_get(vp, 0x40000003 + (name - HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO), v);
		break;
	case HV_REGISTER_INTERRUPT_STATE:
		v->reg64 = s->interrupt_shadow | (uint64_t)s->nmi_masked << 1;
		break;
	case HV_REGISTER_PENDING_INTERRUPTION:
		v->reg64 = soft_pending_interruption(vp);
		break;
	case HV_REGISTER_PENDING_EVENT0:
		pending_event_get(vp, v);
		break;
	case HV_REGISTER_PENDING_EVENT1:
		break; // one event at a time
	case HV_REGISTER_DELIVERABILITY_NOTIFICATIONS:
		v->reg64 = vp->notify;
		break;
	case HV_X64_REGISTER_INITIAL_APIC_ID:
		v->reg64 = vp->index;
		break;
	case HV_X64_REGISTER_APIC_ID:
		v->reg64 = vp->lapic.id;
		break;
	case HV_X64_REGISTER_APIC_VERSION:
		(void)soft_lapic_read(&vp->lapic, 3, false, &v->reg64); // there is such a register
		break;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
	return HV_STATUS_SUCCESS;
}

static int notify_set(struct soft_vp *vp, uint64_t v)
{
	if (v & 0x0000ffffffffffc0ull)
		return HV_STATUS_INVALID_REGISTER_VALUE;
	vp->notify = v;
	vp->window = false;
	soft_synic_want(&vp->synic, (uint16_t)(v >> HV_NOTIFY_SINTS_SHIFT));
	soft_vp_wake(vp);
	return HV_STATUS_SUCCESS;
}

static int activity_set(struct soft_vp *vp, struct x86_state *s, uint64_t v)
{
	if (v & ~3ull)
		return HV_STATUS_INVALID_REGISTER_VALUE;
	atomic_store(&vp->wait_sipi, v & 1);
	s->halted = v >> 1 & 1;
	if (atomic_load(&vp->halted) && !s->halted)
		atomic_store(&vp->activity, true); // it sleeps in RUN_VP: that ends
	soft_vp_wake(vp);
	return HV_STATUS_SUCCESS;
}

int soft_hv_register_set(struct soft_vp *vp, struct x86_state *s, uint32_t name,
			 const union hv_register_value *v)
{
	uint32_t msr;
	uint64_t now;

	if (msr_of(name, &msr)) {
		if (soft_msr_get(vp, msr, &now))
			return HV_STATUS_INVALID_PARAMETER; // no such name
		return soft_msr_set(vp, msr, v->reg64) ? HV_STATUS_INVALID_REGISTER_VALUE
						       : HV_STATUS_SUCCESS;
	}
	switch (name) {
	case HV_REGISTER_GUEST_CRASH_CTL:
		vp->crash_ctl = v->reg64;
		return HV_STATUS_SUCCESS;
	case HV_REGISTER_EXPLICIT_SUSPEND:
		if (v->reg64 >> 1)
			return HV_STATUS_INVALID_REGISTER_VALUE;
		atomic_store(&vp->suspended, v->reg64 & 1);
		soft_vp_wake(vp);
		return HV_STATUS_SUCCESS;
	case HV_REGISTER_INTERCEPT_SUSPEND:
		if (v->reg64 >> 1)
			return HV_STATUS_INVALID_REGISTER_VALUE;
		atomic_store(&vp->intercepted, v->reg64 & 1);
		return HV_STATUS_SUCCESS;
	case HV_REGISTER_INTERNAL_ACTIVITY_STATE:
		return activity_set(vp, s, v->reg64);
	case HV_REGISTER_INTERRUPT_STATE:
		if (v->reg64 >> 2)
			return HV_STATUS_INVALID_REGISTER_VALUE;
		s->interrupt_shadow = v->reg64 & 1;
		s->nmi_masked = v->reg64 >> 1 & 1;
		return HV_STATUS_SUCCESS;
	case HV_REGISTER_PENDING_INTERRUPTION:
		return pending_interruption_set(vp, s, v->reg64);
	case HV_REGISTER_PENDING_EVENT0:
		return pending_event_set(vp, v);
	case HV_REGISTER_PENDING_EVENT1:
		return v->reg64 & 1 ? HV_STATUS_INVALID_REGISTER_VALUE : HV_STATUS_SUCCESS;
	case HV_REGISTER_DELIVERABILITY_NOTIFICATIONS:
		return notify_set(vp, v->reg64);
	case HV_X64_REGISTER_PRED_CMD:
		return v->reg64 >> 1 ? HV_STATUS_INVALID_REGISTER_VALUE : HV_STATUS_SUCCESS;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
}
