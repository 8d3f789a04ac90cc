// SPDX-License-Identifier: Apache-2.0
// Partition properties. p may be NULL: what the host partition says of the machine.
#include "vmm/soft/soft.h"

// What may be asked for of hv_partition_synthetic_processor_features. CPUID offers the guest what is there: the idle
// register and the flush and IPI hypercalls are granted and not offered, because clients ask for the whole set or nothing.
static const uint64_t assignable =
	1ull << HV_SYNTH_HYPERVISOR_PRESENT | 1ull << HV_SYNTH_HV1 |
	1ull << HV_SYNTH_ACCESS_VP_RUN_TIME_REG |
	1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER | 1ull << HV_SYNTH_ACCESS_SYNIC_REGS |
	1ull << HV_SYNTH_ACCESS_SYNTHETIC_TIMER_REGS | 1ull << HV_SYNTH_ACCESS_INTR_CTRL_REGS |
	1ull << HV_SYNTH_ACCESS_HYPERCALL_REGS | 1ull << HV_SYNTH_ACCESS_VP_INDEX |
	1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC | 1ull << HV_SYNTH_ACCESS_GUEST_IDLE_REG |
	1ull << HV_SYNTH_ACCESS_FREQUENCY_REGS | 1ull << HV_SYNTH_DIRECT_SYNTHETIC_TIMERS |
	1ull << HV_SYNTH_TB_FLUSH_HYPERCALLS | 1ull << HV_SYNTH_SYNTHETIC_CLUSTER_IPI;

static int machine_get(const struct soft_partition *p, uint32_t code, uint64_t *v)
{
	switch (code) {
	case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0:
		*v = soft_cpu_features(p, 0);
		break;
	case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1:
		*v = soft_cpu_features(p, 1);
		break;
	case HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES:
		*v = 0; // no XSAVE
		break;
	case HV_PARTITION_PROPERTY_XSAVE_STATES:
		*v = 3; // x87 and SSE, in what GET_VP_STATE gives
		break;
	case HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE:
		*v = 4096;
		break;
	case HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH:
	case HV_PARTITION_PROPERTY_IMPLEMENTED_PHYSICAL_ADDRESS_BITS:
		*v = SOFT_PHYS_BITS;
		break;
	case HV_PARTITION_PROPERTY_PROCESSOR_VENDOR:
		*v = HV_PROCESSOR_VENDOR_INTEL;
		break;
	case HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE:
		*v = 8; // CLFLUSH: 64 bytes, in eights
		break;
	case HV_PARTITION_PROPERTY_VMM_CAPABILITIES:
		*v = 1 << 4; // ASSIGNABLE_SYNTHETIC_PROC_FEATURES can be asked for
		break;
	case HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES:
		*v = assignable;
		break;
	default:
		return HV_STATUS_UNKNOWN_PROPERTY;
	}
	return HV_STATUS_SUCCESS;
}

static uint64_t privilege_flags(struct soft_partition *p)
{
	struct soft_vp vp = { .p = p };
	uint32_t r[4];

	soft_cpuid(&vp, 0x40000003, 0, r);
	return r[0] | (uint64_t)r[1] << 32;
}

int soft_property_get(struct soft_partition *p, uint32_t code, uint64_t *v)
{
	if (!p || machine_get(p, code, v) == HV_STATUS_SUCCESS)
		return machine_get(p, code, v);
	switch (code) {
	case HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS:
		*v = privilege_flags(p);
		break;
	case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
		*v = p->synth_features;
		break;
	case HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING:
		*v = p->access_tracking;
		break;
	case HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET:
		*v = p->per_socket;
		break;
	case HV_PARTITION_PROPERTY_ISOLATION_STATE:
		*v = 1; // insecure, clean
		break;
	case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
		*v = p->msr_action;
		break;
	case HV_PARTITION_PROPERTY_TIME_FREEZE:
		*v = p->frozen;
		break;
	case HV_PARTITION_PROPERTY_REFERENCE_TIME:
		*v = soft_reference_time(p);
		break;
	case HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY:
		*v = p->tsc_hz;
		break;
	case HV_PARTITION_PROPERTY_GUEST_OS_ID:
		*v = p->os_id;
		break;
	default:
		return HV_STATUS_UNKNOWN_PROPERTY;
	}
	return HV_STATUS_SUCCESS;
}

// The clock was stopped, started or set: timers and the guest's page follow.
static void clock_changed(struct soft_partition *p)
{
	for (unsigned i = 0; i < SOFT_VPS; i++) {
		struct soft_vp *vp = p->vps[i];

		if (!vp)
			continue;
		soft_vp_enter(vp);
		x86_set_tsc_offset(vp->cpu, (int64_t)(vp->tsc_adjust - p->tsc_zero));
		soft_stimer_clock(&vp->synic);
		soft_vp_leave(vp);
	}
	if (p->reference_tsc & 1)
		soft_tsc_page_update(p);
}

static void freeze(struct soft_partition *p, bool on)
{
	if (on == p->frozen)
		return;
	if (on)
		p->frozen_at = soft_guest_tsc(p);
	else
		p->tsc_zero = __builtin_ia32_rdtsc() - p->frozen_at;
	p->frozen = on;
	clock_changed(p);
}

static int bit_set(uint64_t *to, uint64_t v)
{
	if (v > 1)
		return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
	*to = v;
	return HV_STATUS_SUCCESS;
}

int soft_property_set(struct soft_partition *p, uint32_t code, uint64_t v)
{
	uint64_t now;

	switch (code) {
	case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
		if (p->initialized)
			return HV_STATUS_INVALID_PARTITION_STATE;
		if (v & ~assignable)
			return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
		p->synth_features = v;
		return HV_STATUS_SUCCESS;
	case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
		return bit_set(&p->msr_action, v);
	case HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING:
		return bit_set(&p->access_tracking, v); // pages are always counted
	case HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET:
		if (!v || v > SOFT_VPS)
			return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
		p->per_socket = v;
		return HV_STATUS_SUCCESS;
	case HV_PARTITION_PROPERTY_TIME_FREEZE:
		if (v > 1)
			return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
		freeze(p, v);
		return HV_STATUS_SUCCESS;
	case HV_PARTITION_PROPERTY_REFERENCE_TIME:
		if (!p->frozen)
			return HV_STATUS_INVALID_PARTITION_STATE;
		p->ref_adjust += v - soft_reference_time(p);
		clock_changed(p);
		return HV_STATUS_SUCCESS;
	default:
		// What can be read is known, and not to be set.
		return soft_property_get(p, code, &now) ? HV_STATUS_UNKNOWN_PROPERTY
							: HV_STATUS_OPERATION_DENIED;
	}
}
