// SPDX-License-Identifier: Apache-2.0
// MSHV_ROOT_HVCALL: the hypercalls a client may make on a partition, with the driver's checks.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <string.h>

#include "vmm/soft/user.h"

// Input and output are copies of the caller's, of the sizes the table asks for at least.
struct call {
	struct soft_partition *p; // NULL: the host partition, as the device's own descriptor
	const void *in;
	void *out;
	uint16_t reps, done;
};

static struct soft_vp *vp_at(const struct call *c, uint32_t index)
{
	return index < SOFT_VPS ? c->p->vps[index] : NULL;
}

// ---- registers
static int registers(struct call *c, bool set)
{
	const struct hv_input_vp_registers *in = c->in;
	struct soft_vp *vp = vp_at(c, in->vp_index);
	int status;

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (in->input_vtl || in->rsvd_z8 || in->rsvd_z16)
		return HV_STATUS_INVALID_PARAMETER;
	soft_vp_enter(vp);
	status = set ? soft_registers_set(vp, (const void *)(in + 1), c->reps, &c->done)
		     : soft_registers_get(vp, (const void *)(in + 1), c->out, c->reps, &c->done);
	soft_vp_leave(vp);
	return status;
}

static int get_registers(struct call *c)
{
	return registers(c, false);
}

static int set_registers(struct call *c)
{
	return registers(c, true);
}

// ---- TRANSLATE_VIRTUAL_ADDRESS
static unsigned wanted_access(struct soft_vp *vp, uint64_t f)
{
	unsigned access = (f & HV_TRANSLATE_VALIDATE_READ ? X86_READ : 0) |
			  (f & HV_TRANSLATE_VALIDATE_WRITE ? X86_WRITE : 0) |
			  (f & HV_TRANSLATE_VALIDATE_EXECUTE ? X86_EXEC : 0);

	if (f & HV_TRANSLATE_USER_ACCESS)
		return access | X86_USER;
	if (f & (HV_TRANSLATE_SUPERVISOR_ACCESS | HV_TRANSLATE_PRIVILEGE_EXEMPT))
		return access;
	return access | (x86_cpl(vp->cpu) == 3 ? X86_USER : 0);
}

// 0 or a result code.
static uint32_t walk(struct soft_vp *vp, uint64_t gva, uint64_t f, uint64_t *gpa)
{
	unsigned access = wanted_access(vp, f);
	bool set_ad = f & HV_TRANSLATE_SET_PAGE_TABLE_BITS;
	struct x86_exception x;

	if (!x86_translate(vp->cpu, gva, access, set_ad, gpa, &x))
		return HV_TRANSLATE_SUCCESS;
	// Exempt from privileges: neither U/S nor SMEP and SMAP, which user rights are free of.
	if ((f & HV_TRANSLATE_PRIVILEGE_EXEMPT) &&
	    !x86_translate(vp->cpu, gva, access | X86_USER, set_ad, gpa, &x))
		return HV_TRANSLATE_SUCCESS;
	return x.error & 8   ? HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS
	       : x.error & 1 ? HV_TRANSLATE_PRIVILEGE_VIOLATION
			     : HV_TRANSLATE_PAGE_NOT_PRESENT;
}

// What the page that was found does not allow.
static uint32_t page_result(const struct call *c, uint64_t gpa, uint64_t f, uint32_t *flags)
{
	struct soft_region r;

	if (!soft_region_at(c->p, gpa, &r))
		return HV_TRANSLATE_GPA_UNMAPPED;
	*flags = HV_CACHE_TYPE_WRITE_BACK | (r.overlay ? HV_TRANSLATE_OVERLAY_PAGE : 0);
	if ((f & HV_TRANSLATE_VALIDATE_WRITE) && !r.writable)
		return r.overlay ? HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS
				 : HV_TRANSLATE_GPA_NO_WRITE_ACCESS;
	if ((f & HV_TRANSLATE_VALIDATE_EXECUTE) && !r.executable)
		return HV_TRANSLATE_GPA_NO_READ_ACCESS;
	return HV_TRANSLATE_SUCCESS;
}

static int translate(struct call *c)
{
	const uint64_t both = HV_TRANSLATE_USER_ACCESS | HV_TRANSLATE_SUPERVISOR_ACCESS;
	const struct hv_input_translate_virtual_address *in = c->in;
	struct hv_output_translate_virtual_address *out = c->out;
	struct soft_vp *vp = vp_at(c, in->vp_index);
	uint64_t f = in->control_flags, gva = in->gva_page << 12, gpa = 0;

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (f & HV_TRANSLATE_SHADOW_STACK)
		return HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED;
	if ((f & ~0x7ffull) || (f & both) == both || in->gva_page >> 52)
		return HV_STATUS_INVALID_PARAMETER;
	memset(out, 0, sizeof(*out));
	soft_vp_enter(vp);
	out->result_code = walk(vp, gva, f, &gpa);
	soft_vp_leave(vp);
	if (out->result_code)
		return HV_STATUS_SUCCESS;
	out->gpa_page = gpa >> 12;
	out->result_code = page_result(c, gpa & ~4095ull, f, &out->cache_overlay);
	return HV_STATUS_SUCCESS;
}

// ---- interrupts
static int assert_interrupt(struct call *c)
{
	const struct hv_input_assert_virtual_interrupt *in = c->in;
	uint32_t type = (uint32_t)in->control;
	bool vectored =
		type == HV_X64_INTERRUPT_TYPE_FIXED || type == HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY;

	// Level, logical, and bit 62 that says 64-bit mode.
	if (in->target_vtl || in->rsvd_z0 || in->rsvd_z1 || in->vector > 255 ||
	    (in->control >> 34 & ~(1ull << 28)) || (vectored && in->vector < 16))
		return HV_STATUS_INVALID_PARAMETER;
	switch (type) {
	case HV_X64_INTERRUPT_TYPE_FIXED:
	case HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY:
	case HV_X64_INTERRUPT_TYPE_NMI:
	case HV_X64_INTERRUPT_TYPE_INIT:
	case HV_X64_INTERRUPT_TYPE_SIPI:
	case HV_X64_INTERRUPT_TYPE_EXTINT:
		break;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
	return soft_interrupt(c->p, type, (uint32_t)in->dest_addr, in->control >> 33 & 1,
			      (uint8_t)in->vector, in->control >> 32 & 1)
		       ? HV_STATUS_INVALID_PARAMETER
		       : HV_STATUS_SUCCESS;
}

// Takes back an external interrupt that no VP has accepted yet.
static int clear_interrupt(struct call *c)
{
	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (c->p->vps[i])
			atomic_store(&c->p->vps[i]->extint, 0);
	return HV_STATUS_SUCCESS;
}

static int signal_event(struct call *c)
{
	const struct hv_input_signal_event_direct *in = c->in;
	struct hv_output_signal_event_direct *out = c->out;
	struct soft_vp *vp = vp_at(c, in->vp_index);
	bool newly = false;
	int status;

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (in->vtl)
		return HV_STATUS_INVALID_PARAMETER;
	status = soft_synic_signal(&vp->synic, in->sint, in->flag_number, &newly);
	*out = (struct hv_output_signal_event_direct){ .newly_signaled = newly };
	return status;
}

static int post_message(struct call *c)
{
	const struct hv_input_post_message_direct *in = c->in;
	struct soft_vp *vp = vp_at(c, in->vp_index);

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	if (in->vtl)
		return HV_STATUS_INVALID_PARAMETER;
	return soft_synic_post(&vp->synic, in->sint, in->message);
}

// ---- intercepts and CPUID
static int install_intercept(struct call *c)
{
	const struct hv_input_install_intercept *in = c->in;

	return soft_intercept_install(c->p, in->intercept_type, in->access_type,
				      in->intercept_parameter);
}

static int intercept_result(struct call *c)
{
	const struct hv_input_register_intercept_result *in = c->in;
	struct soft_partition *p = c->p;
	unsigned i;

	if (in->intercept_type != HV_INTERCEPT_TYPE_X64_CPUID)
		return HV_STATUS_INVALID_PARAMETER;
	if (in->vp_index != 0xffffffff && !vp_at(c, in->vp_index))
		return HV_STATUS_INVALID_VP_INDEX;
	for (i = 0; i < p->n_overrides; i++)
		if (p->overrides[i].vp == in->vp_index && p->overrides[i].eax == in->eax &&
		    p->overrides[i].ecx == in->ecx &&
		    p->overrides[i].subleaf == (in->subleaf_specific != 0))
			break; // told again: the new one counts
	if (i == SOFT_CPUID_OVERRIDES)
		return HV_STATUS_INSUFFICIENT_MEMORY;
	p->overrides[i] = (struct soft_cpuid_override){ .vp = in->vp_index,
							.eax = in->eax,
							.ecx = in->ecx,
							.subleaf = in->subleaf_specific,
							.always = in->always_override,
							.any_vp = in->vp_index == 0xffffffff };
	for (unsigned j = 0; j < 4; j++) {
		p->overrides[i].value[j] = in->result[2 * j];
		p->overrides[i].mask[j] = in->result[2 * j + 1];
	}
	if (i == p->n_overrides)
		p->n_overrides++;
	return HV_STATUS_SUCCESS;
}

static int cpuid_values(struct call *c)
{
	const struct hv_input_get_vp_cpuid_values *in = c->in;
	const struct hv_cpuid_leaf_info *leaf = (const void *)(in + 1);
	uint32_t *out = c->out;
	struct soft_vp *vp = vp_at(c, in->vp_index);

	if (!vp)
		return HV_STATUS_INVALID_VP_INDEX;
	for (; c->done < c->reps; c->done++)
		soft_cpuid(vp, leaf[c->done].eax, leaf[c->done].ecx, out + c->done * 4);
	return HV_STATUS_SUCCESS;
}

// ---- the partition
static int get_property(struct call *c)
{
	const struct hv_input_partition_property *in = c->in;

	return soft_property_get(c->p, in->property_code, c->out);
}

static int set_property(struct call *c)
{
	const struct hv_input_partition_property *in = c->in;

	return soft_property_set(c->p, in->property_code, in->property_value);
}

static int get_property_ex(struct call *c)
{
	const struct hv_input_get_partition_property_ex *in = c->in;
	struct hv_output_get_partition_property_ex *out = c->out;
	uint64_t v;
	int status = soft_property_get(c->p, in->property_code, &v);

	if (status)
		return status;
	if (in->property_code == HV_PARTITION_PROPERTY_VMM_CAPABILITIES ||
	    in->property_code == HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES)
		out->u.banks =
			(struct hv_partition_property_banks){ .bank_count = 1, .bank = { v } };
	else
		memcpy(out->u.buffer, &v, sizeof(v));
	return HV_STATUS_SUCCESS;
}

static int access_states(struct call *c)
{
	const uint64_t accessed = HV_GPA_CLEAR_ACCESSED | HV_GPA_SET_ACCESSED,
		       dirty = HV_GPA_CLEAR_DIRTY | HV_GPA_SET_DIRTY;
	const struct hv_input_get_gpa_pages_access_state *in = c->in;

	if ((in->flags & ~(accessed | dirty)) || (in->flags & accessed) == accessed ||
	    (in->flags & dirty) == dirty || in->gpa_page_number + c->reps > 1ull << 52)
		return HV_STATUS_INVALID_PARAMETER;
	soft_access_states(c->p, in->gpa_page_number, c->reps, in->flags, c->out);
	c->done = c->reps;
	return HV_STATUS_SUCCESS;
}

// ---- the table: sizes at least, fixed and for each rep. A call without reps takes none.
static const struct hvcall {
	uint16_t code;
	bool host; // also of the host partition
	uint16_t in, in_rep, out, out_rep;
	int (*call)(struct call *c);
} hvcalls[] = {
	{ HVCALL_GET_PARTITION_PROPERTY, true, 16, 0, 8, 0, get_property },
	{ HVCALL_SET_PARTITION_PROPERTY, false, 24, 0, 0, 0, set_property },
	{ HVCALL_GET_PARTITION_PROPERTY_EX, true, 24, 0, 8, 0, get_property_ex },
	{ HVCALL_INSTALL_INTERCEPT, false, 24, 0, 0, 0, install_intercept },
	{ HVCALL_GET_VP_REGISTERS, false, 16, 4, 0, 16, get_registers },
	{ HVCALL_SET_VP_REGISTERS, false, 16, 32, 0, 0, set_registers },
	{ HVCALL_TRANSLATE_VIRTUAL_ADDRESS, false, 32, 0, 16, 0, translate },
	{ HVCALL_CLEAR_VIRTUAL_INTERRUPT, false, 8, 0, 0, 0, clear_interrupt },
	{ HVCALL_REGISTER_INTERCEPT_RESULT, false, 60, 0, 0, 0, intercept_result },
	{ HVCALL_ASSERT_VIRTUAL_INTERRUPT, false, 32, 0, 0, 0, assert_interrupt },
	{ HVCALL_GET_GPA_PAGES_ACCESS_STATES, false, 24, 0, 0, 1, access_states },
	{ HVCALL_SIGNAL_EVENT_DIRECT, false, 16, 0, 8, 0, signal_event },
	{ HVCALL_POST_MESSAGE_DIRECT, false, 280, 0, 0, 0, post_message },
	{ HVCALL_GET_VP_CPUID_VALUES, false, 24, 24, 0, 16, cpuid_values },
};

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
	case HV_STATUS_INVALID_PARTITION_ID:
	case HV_STATUS_INVALID_VP_INDEX:
	case HV_STATUS_INVALID_PORT_ID:
	case HV_STATUS_INVALID_CONNECTION_ID:
	case HV_STATUS_INVALID_LP_INDEX:
	case HV_STATUS_INVALID_REGISTER_VALUE:
		return -EINVAL;
	case HV_STATUS_ACCESS_DENIED:
	case HV_STATUS_OPERATION_DENIED:
		return -EACCES;
	case HV_STATUS_INSUFFICIENT_MEMORY:
	case HV_STATUS_INSUFFICIENT_ROOT_MEMORY:
	case HV_STATUS_INSUFFICIENT_CONTIGUOUS_MEMORY:
	case HV_STATUS_INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY:
		return -ENOMEM;
	case HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

static const struct hvcall *find(const struct soft_partition *p, uint16_t code)
{
	for (unsigned i = 0; i < sizeof(hvcalls) / sizeof(*hvcalls); i++)
		if (hvcalls[i].code == code && (p || hvcalls[i].host))
			return &hvcalls[i];
	return NULL;
}

// The hypervisor's own checks.
static int perform(const struct hvcall *h, struct mshv_root_hvcall *a, struct call *c)
{
	bool rep = h->in_rep || h->out_rep;
	uint32_t out = h->out + (uint32_t)h->out_rep * a->reps;

	if (rep != (a->reps != 0) || a->in_sz < h->in + (uint32_t)h->in_rep * a->reps ||
	    (out && (!a->out_ptr || a->out_sz < out)))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	return h->call(c);
}

long soft_hvcall(struct soft_partition *p, uint64_t arg)
{
	static const uint8_t zero[6];
	uint64_t in[512], out[512];
	struct mshv_root_hvcall a;
	const struct hvcall *h;
	struct call c = { .p = p, .in = in, .out = out };
	int status;
	long r;

	if (soft_copy_in(&a, arg, sizeof(a)) < 0)
		return -EFAULT;
	h = find(p, a.code);
	if (a.status || !a.in_ptr || a.in_sz < 8 || a.in_sz > 4096 ||
	    (a.out_ptr && (!a.out_sz || a.out_sz > 4096)) || memcmp(a.rsvd, zero, sizeof(zero)) ||
	    !h)
		return -EINVAL;
	if (soft_copy_in(in, a.in_ptr, a.in_sz) < 0)
		return -EFAULT;
	if (a.out_ptr)
		memset(out, 0, a.out_sz); // the caller gets nothing that is not for him
	in[0] = 1; // the partition's id, where the caller may have written anything
	c.reps = a.reps;
	status = perform(h, &a, &c);
	a.status = (uint16_t)status;
	a.reps = c.done;
	r = status_errno(status);
	if (soft_copy_out(arg, &a, sizeof(a)) < 0 ||
	    (r == 0 && a.out_ptr && soft_copy_out(a.out_ptr, out, a.out_sz) < 0))
		return -EFAULT;
	return r;
}
