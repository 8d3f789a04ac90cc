// SPDX-License-Identifier: Apache-2.0
// MSHV_ROOT_HVCALL: the hypercalls a client may make on a partition, with the driver's checks.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <string.h>

static struct soft_vp *vp_at(struct soft_partition *p, uint32_t index)
{
	return index < SOFT_VPS ? p->vps[index] : NULL;
}

static int get_registers(struct soft_partition *p, const struct mshv_root_hvcall *a, uint16_t *done)
{
	const struct hv_input_vp_registers *in = (const void *)(uintptr_t)a->in_ptr;
	const uint32_t *names = (const void *)(in + 1);
	union hv_register_value *out = (void *)(uintptr_t)a->out_ptr;
	struct soft_vp *vp = vp_at(p, in->vp_index);

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (in->input_vtl || a->in_sz < sizeof(*in) + a->reps * sizeof(*names) ||
	    a->out_sz < a->reps * sizeof(*out) || !out)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	for (*done = 0; *done < a->reps; (*done)++) {
		int s = soft_vp_get_register(vp, names[*done], &out[*done]);

		if (s)
			return s;
	}
	return HV_STATUS_SUCCESS;
}

static int set_registers(struct soft_partition *p, const struct mshv_root_hvcall *a, uint16_t *done)
{
	const struct hv_input_vp_registers *in = (const void *)(uintptr_t)a->in_ptr;
	const struct hv_register_assoc *e = (const void *)(in + 1);
	struct soft_vp *vp = vp_at(p, in->vp_index);

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (in->input_vtl || a->in_sz < sizeof(*in) + a->reps * sizeof(*e))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	for (*done = 0; *done < a->reps; (*done)++) {
		int s = soft_vp_set_register(vp, e[*done].name, &e[*done].value);

		if (s)
			return s; // what was done before the bad one stays done
	}
	return HV_STATUS_SUCCESS;
}

static int translate(struct soft_partition *p, const struct mshv_root_hvcall *a)
{
	const struct hv_input_translate_virtual_address *in = (const void *)(uintptr_t)a->in_ptr;
	struct hv_output_translate_virtual_address *out = (void *)(uintptr_t)a->out_ptr;
	struct soft_vp *vp = vp_at(p, in->vp_index);
	struct x86_exception x;
	unsigned access = 0;
	uint64_t gpa = 0, f = in->control_flags;
	bool writable;

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (a->in_sz < sizeof(*in) || a->out_sz < sizeof(*out) || !out)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	access |= f & HV_TRANSLATE_VALIDATE_READ ? X86_READ : 0;
	access |= f & HV_TRANSLATE_VALIDATE_WRITE ? X86_WRITE : 0;
	access |= f & HV_TRANSLATE_VALIDATE_EXECUTE ? X86_EXEC : 0;
	if ((f & HV_TRANSLATE_USER_ACCESS) ||
	    (!(f & (HV_TRANSLATE_SUPERVISOR_ACCESS | HV_TRANSLATE_PRIVILEGE_EXEMPT)) &&
	     x86_cpl(vp->cpu) == 3))
		access |= X86_USER;
	memset(out, 0, sizeof(*out));
	if (x86_translate(vp->cpu, in->gva_page << 12, access, f & HV_TRANSLATE_SET_PAGE_TABLE_BITS,
			  &gpa, &x)) {
		out->result_code = x.error & 8   ? HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS
				   : x.error & 1 ? HV_TRANSLATE_PRIVILEGE_VIOLATION
						 : HV_TRANSLATE_PAGE_NOT_PRESENT;
		return HV_STATUS_SUCCESS;
	}
	out->gpa_page = gpa >> 12;
	if (!soft_ram(p, gpa & ~4095ull, 4096, &writable))
		out->result_code = HV_TRANSLATE_GPA_UNMAPPED;
	return HV_STATUS_SUCCESS;
}

static int assert_interrupt(struct soft_partition *p, const struct mshv_root_hvcall *a)
{
	const struct hv_input_assert_virtual_interrupt *in = (const void *)(uintptr_t)a->in_ptr;

	if (a->in_sz < sizeof(*in))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (in->target_vtl || in->rsvd_z0 || in->rsvd_z1 || in->vector > 255)
		return HV_STATUS_INVALID_PARAMETER;
	return soft_interrupt(p, (uint32_t)in->control, (uint32_t)in->dest_addr,
			      in->control >> 33 & 1, (uint8_t)in->vector, in->control >> 32 & 1)
		       ? HV_STATUS_INVALID_PARAMETER
		       : HV_STATUS_SUCCESS;
}

static int intercept_result(struct soft_partition *p, const struct mshv_root_hvcall *a)
{
	const struct hv_input_register_intercept_result *in = (const void *)(uintptr_t)a->in_ptr;
	struct soft_cpuid_override *o;

	if (a->in_sz < 60)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (in->intercept_type != HV_INTERCEPT_TYPE_X64_CPUID)
		return HV_STATUS_INVALID_PARAMETER;
	for (o = p->overrides; o < p->overrides + p->n_overrides; o++)
		if (o->vp == in->vp_index && o->eax == in->eax && o->ecx == in->ecx &&
		    o->subleaf == (in->subleaf_specific != 0))
			break; // told again: the new one counts
	if (o == p->overrides + SOFT_CPUID_OVERRIDES)
		return HV_STATUS_INSUFFICIENT_MEMORY;
	if (o == p->overrides + p->n_overrides)
		p->n_overrides++;
	*o = (struct soft_cpuid_override){ .vp = in->vp_index,
					   .eax = in->eax,
					   .ecx = in->ecx,
					   .subleaf = in->subleaf_specific,
					   .always = in->always_override,
					   .any_vp = in->vp_index == 0xffffffff };
	for (unsigned i = 0; i < 4; i++) {
		o->value[i] = in->result[2 * i];
		o->mask[i] = in->result[2 * i + 1];
	}
	return HV_STATUS_SUCCESS;
}

static int set_property(struct soft_partition *p, const struct mshv_root_hvcall *a)
{
	const struct hv_input_partition_property *in = (const void *)(uintptr_t)a->in_ptr;
	// What may be asked for of hv_partition_synthetic_processor_features. CPUID offers the guest what is there: SynIC,
	// its timers, the idle register and the flush and IPI hypercalls are granted and not offered yet, because clients
	// ask for the whole set or nothing.
	const uint64_t can =
		1ull << HV_SYNTH_ACCESS_SYNIC_REGS | 1ull << HV_SYNTH_ACCESS_SYNTHETIC_TIMER_REGS |
		1ull << HV_SYNTH_ACCESS_GUEST_IDLE_REG | 1ull << HV_SYNTH_DIRECT_SYNTHETIC_TIMERS |
		1ull << HV_SYNTH_TB_FLUSH_HYPERCALLS | 1ull << HV_SYNTH_SYNTHETIC_CLUSTER_IPI |
		1ull << HV_SYNTH_HYPERVISOR_PRESENT | 1ull << HV_SYNTH_HV1 |
		1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER |
		1ull << HV_SYNTH_ACCESS_INTR_CTRL_REGS | 1ull << HV_SYNTH_ACCESS_HYPERCALL_REGS |
		1ull << HV_SYNTH_ACCESS_VP_INDEX | 1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC |
		1ull << HV_SYNTH_ACCESS_FREQUENCY_REGS;

	if (a->in_sz < sizeof(*in))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	switch (in->property_code) {
	case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
		if (p->initialized)
			return HV_STATUS_INVALID_PARTITION_STATE;
		if (in->property_value & ~can)
			return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
		p->synth_features = in->property_value;
		return HV_STATUS_SUCCESS;
	case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
		if (in->property_value > 1)
			return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
		p->msr_action = in->property_value;
		return HV_STATUS_SUCCESS;
	case HV_PARTITION_PROPERTY_TIME_FREEZE:
		if (in->property_value && !p->frozen) {
			p->frozen_at = soft_guest_tsc(p);
			p->frozen = true;
		} else if (!in->property_value && p->frozen) {
			p->frozen = false;
			p->tsc_zero = __builtin_ia32_rdtsc() - p->frozen_at;
			for (unsigned i = 0; i < SOFT_VPS; i++)
				if (p->vps[i])
					x86_set_tsc_offset(p->vps[i]->cpu,
							   (int64_t)(0 - p->tsc_zero));
		}
		return HV_STATUS_SUCCESS;
	default:
		return HV_STATUS_UNKNOWN_PROPERTY;
	}
}

static int get_property(struct soft_partition *p, const struct mshv_root_hvcall *a)
{
	const struct hv_input_partition_property *in = (const void *)(uintptr_t)a->in_ptr;
	uint64_t *out = (void *)(uintptr_t)a->out_ptr;

	if (a->in_sz < 16 || a->out_sz < 8 || !out)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	switch (in->property_code) {
	// Banks say what there is: SSE3 LAHF SSSE3 SSE4.1 SSE4.2 POPCNT CX16 1GB RDRAND FSGSBASE SMEP ERMS MOVBE RDSEED RDTSCP UMIP
	case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0:
		*out = 0x040000412161819full & ~(1ull << 5);
		break;
	case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1:
		*out = 1ull << 1 | 1ull << 17;
		break; // invariant TSC, TSC deadline
	case HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES:
		*out = 0;
		break;
	case HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE:
		*out = 4096;
		break;
	case HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH:
		*out = 46;
		break;
	default:
		if (!p)
			return HV_STATUS_UNKNOWN_PROPERTY;
		switch (in->property_code) {
		case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
			*out = p->synth_features;
			break;
		case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
			*out = p->msr_action;
			break;
		case HV_PARTITION_PROPERTY_TIME_FREEZE:
			*out = p->frozen;
			break;
		case HV_PARTITION_PROPERTY_REFERENCE_TIME:
			*out = soft_reference_time(p);
			break;
		case HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY:
			*out = p->tsc_hz;
			break;
		default:
			return HV_STATUS_UNKNOWN_PROPERTY;
		}
	}
	return HV_STATUS_SUCCESS;
}

static int cpuid_values(struct soft_partition *p, const struct mshv_root_hvcall *a, uint16_t *done)
{
	const uint8_t *in = (const void *)(uintptr_t)a->in_ptr;
	uint32_t *out = (void *)(uintptr_t)a->out_ptr, vp_index;
	struct soft_vp *vp;

	memcpy(&vp_index, in + 8, 4);
	vp = vp_at(p, vp_index);
	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (a->in_sz < 24u + a->reps * 24u || a->out_sz < a->reps * 16u || !out)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	for (*done = 0; *done < a->reps; (*done)++) {
		uint32_t leaf[2];

		memcpy(leaf, in + 24 + *done * 24, 8);
		soft_cpuid(vp, leaf[0], leaf[1], out + *done * 4);
	}
	return HV_STATUS_SUCCESS;
}

static int dispatch(struct soft_partition *p, struct mshv_root_hvcall *a, uint16_t *done)
{
	switch (a->code) {
	case HVCALL_GET_VP_REGISTERS:
		return get_registers(p, a, done);
	case HVCALL_SET_VP_REGISTERS:
		return set_registers(p, a, done);
	case HVCALL_TRANSLATE_VIRTUAL_ADDRESS:
		return translate(p, a);
	case HVCALL_ASSERT_VIRTUAL_INTERRUPT:
		return assert_interrupt(p, a);
	case HVCALL_REGISTER_INTERCEPT_RESULT:
		return intercept_result(p, a);
	case HVCALL_SET_PARTITION_PROPERTY:
		return set_property(p, a);
	case HVCALL_GET_PARTITION_PROPERTY:
		return get_property(p, a);
	case HVCALL_GET_VP_CPUID_VALUES:
		return cpuid_values(p, a, done);
	default:
		return HV_STATUS_OPERATION_DENIED; // allowed by the driver, not implemented here yet
	}
}

static const uint16_t allowed[] = {
	HVCALL_GET_PARTITION_PROPERTY,
	HVCALL_SET_PARTITION_PROPERTY,
	HVCALL_GET_PARTITION_PROPERTY_EX,
	HVCALL_INSTALL_INTERCEPT,
	HVCALL_GET_VP_REGISTERS,
	HVCALL_SET_VP_REGISTERS,
	HVCALL_TRANSLATE_VIRTUAL_ADDRESS,
	HVCALL_CLEAR_VIRTUAL_INTERRUPT,
	HVCALL_REGISTER_INTERCEPT_RESULT,
	HVCALL_ASSERT_VIRTUAL_INTERRUPT,
	HVCALL_GET_GPA_PAGES_ACCESS_STATES,
	HVCALL_SIGNAL_EVENT_DIRECT,
	HVCALL_POST_MESSAGE_DIRECT,
	HVCALL_GET_VP_CPUID_VALUES,
};

static bool code_allowed(const struct soft_partition *p, uint16_t code)
{
	if (!p) // the device itself: only what the host partition says of itself
		return code == HVCALL_GET_PARTITION_PROPERTY ||
		       code == HVCALL_GET_PARTITION_PROPERTY_EX;
	for (unsigned i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		if (allowed[i] == code)
			return true;
	return false;
}

static int status_errno(int status)
{
	switch (status) {
	case HV_STATUS_SUCCESS:
		return 0;
	case HV_STATUS_INVALID_HYPERCALL_CODE:
	case HV_STATUS_INVALID_HYPERCALL_INPUT:
	case HV_STATUS_INVALID_PARAMETER:
	case HV_STATUS_UNKNOWN_PROPERTY:
	case HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE:
	case HV_STATUS_INVALID_VP_INDEX:
	case HV_STATUS_INVALID_REGISTER_VALUE:
		return -EINVAL;
	case HV_STATUS_ACCESS_DENIED:
	case HV_STATUS_OPERATION_DENIED:
		return -EACCES;
	case HV_STATUS_INSUFFICIENT_MEMORY:
		return -ENOMEM;
	case HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

long soft_hvcall(struct soft_partition *p, struct soft_vp *vp, struct mshv_root_hvcall *a)
{
	static const uint8_t zero[6];
	uint16_t done = a->reps;
	int status;

	(void)vp; // the input names the VP
	if (a->status || !a->in_ptr || a->in_sz < 8 || a->in_sz > 4096 ||
	    (a->out_ptr && (!a->out_sz || a->out_sz > 4096)) ||
	    memcmp(a->rsvd, zero, sizeof(zero)) || !code_allowed(p, a->code))
		return -EINVAL;
	// The driver puts the partition's id into the first word.
	*(uint64_t *)(uintptr_t)a->in_ptr = (uint64_t)(uintptr_t)p;
	status = dispatch(p, a, &done);
	a->status = (uint16_t)status;
	a->reps = done;
	return status_errno(status);
}
