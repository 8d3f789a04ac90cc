// SPDX-License-Identifier: Apache-2.0
// Registers by their Hyper-V names.
#include "vmm/soft/soft.h"

#include <stddef.h>
#include <string.h>

// 64-bit registers that are plain members of the state.
static const struct {
	uint32_t name, offset;
} plain[] = {
#define R(name, field)                                  \
	{                                               \
		name, offsetof(struct x86_state, field) \
	}
	R(HV_X64_REGISTER_RIP, rip),
	R(HV_X64_REGISTER_RFLAGS, rflags),
	R(HV_X64_REGISTER_CR0, cr0),
	R(HV_X64_REGISTER_CR2, cr2),
	R(HV_X64_REGISTER_CR3, cr3),
	R(HV_X64_REGISTER_CR4, cr4),
	R(HV_X64_REGISTER_CR8, cr8),
	R(HV_X64_REGISTER_XFEM, xcr0),
	R(HV_X64_REGISTER_DR0, dr[0]),
	R(HV_X64_REGISTER_DR0 + 1, dr[1]),
	R(HV_X64_REGISTER_DR0 + 2, dr[2]),
	R(HV_X64_REGISTER_DR0 + 3, dr[3]),
	R(HV_X64_REGISTER_DR6, dr[6]),
	R(HV_X64_REGISTER_DR7, dr[7]),
	R(HV_X64_REGISTER_EFER, efer),
	R(HV_X64_REGISTER_KERNEL_GS_BASE, kernel_gs_base),
	R(HV_X64_REGISTER_PAT, pat),
	R(HV_X64_REGISTER_SYSENTER_CS, sysenter_cs),
	R(HV_X64_REGISTER_SYSENTER_EIP, sysenter_eip),
	R(HV_X64_REGISTER_SYSENTER_ESP, sysenter_esp),
	R(HV_X64_REGISTER_STAR, star),
	R(HV_X64_REGISTER_LSTAR, lstar),
	R(HV_X64_REGISTER_CSTAR, cstar),
	R(HV_X64_REGISTER_SFMASK, sfmask),
	R(HV_X64_REGISTER_TSC_AUX, tsc_aux),
#undef R
};

static uint64_t *plain_register(struct x86_state *s, uint32_t name)
{
	if (name >= HV_X64_REGISTER_RAX && name < HV_X64_REGISTER_RAX + 16)
		return &s->gpr[name - HV_X64_REGISTER_RAX];
	for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if (plain[i].name == name)
			return (uint64_t *)(void *)((uint8_t *)s + plain[i].offset);
	return NULL;
}

// MMX/x87 registers lie 16 bytes apart in the FXSAVE image, as do the XMM ones.
static uint8_t *vector_register(struct x86_state *s, uint32_t name)
{
	if (name >= HV_X64_REGISTER_XMM0 && name < HV_X64_REGISTER_XMM0 + 16)
		return s->fxsave + 160 + 16 * (name - HV_X64_REGISTER_XMM0);
	if (name >= HV_X64_REGISTER_FP_MMX0 && name < HV_X64_REGISTER_FP_MMX0 + 8)
		return s->fxsave + 32 + 16 * (name - HV_X64_REGISTER_FP_MMX0);
	return NULL;
}

// FP_CONTROL_STATUS: fcw, fsw, ftw (byte), reserved, fop, fip. XMM_CONTROL_STATUS: fdp, mxcsr, mask.
static int fp_control(struct x86_state *s, uint32_t name, union hv_register_value *v, bool set)
{
	uint8_t *from = s->fxsave + (name == HV_X64_REGISTER_FP_CONTROL_STATUS ? 0 : 16);

	if (set)
		memcpy(from, v, 16);
	else
		memcpy(v, from, 16);
	return HV_STATUS_SUCCESS;
}

// Kept for state transfer; the guest is not offered a SynIC.
static uint64_t *synic_register(struct soft_vp *vp, uint32_t name)
{
	switch (name) {
	case HV_REGISTER_SCONTROL:
		return &vp->scontrol;
	case HV_REGISTER_SIEFP:
		return &vp->siefp;
	case HV_REGISTER_SIMP:
		return &vp->simp;
	default:
		return NULL;
	}
}

static int other_get(struct soft_vp *vp, uint32_t name, const struct x86_state *s,
		     union hv_register_value *v)
{
	if (name >= HV_REGISTER_GUEST_CRASH_P0 && name < HV_REGISTER_GUEST_CRASH_CTL) {
		v->reg64 = vp->crash[name - HV_REGISTER_GUEST_CRASH_P0];
		return HV_STATUS_SUCCESS;
	}
	if (synic_register(vp, name)) {
		v->reg64 = *synic_register(vp, name);
		return HV_STATUS_SUCCESS;
	}
	if (soft_register_msr(name))
		return soft_rdmsr(vp, soft_register_msr(name), &v->reg64)
			       ? HV_STATUS_INVALID_PARAMETER
			       : HV_STATUS_SUCCESS;
	switch (name) {
	case HV_REGISTER_GUEST_CRASH_CTL:
		v->reg64 = vp->crash_ctl;
		break;
	case HV_REGISTER_EXPLICIT_SUSPEND:
		v->reg64 = atomic_load(&vp->suspended);
		break;
	case HV_REGISTER_INTERNAL_ACTIVITY_STATE:
		v->reg64 = (uint64_t)s->halted << 1;
		break;
	case HV_REGISTER_INTERRUPT_STATE:
		v->reg64 = s->interrupt_shadow | (uint64_t)s->nmi_masked << 1;
		break;
	case HV_REGISTER_PENDING_INTERRUPTION:
	case HV_REGISTER_PENDING_EVENT0:
		v->reg64 = 0;
		break;
	case HV_X64_REGISTER_TSC:
		v->reg64 = soft_guest_tsc(vp->p);
		break;
	case HV_X64_REGISTER_APIC_BASE:
		v->reg64 = vp->lapic.base;
		break;
	case HV_REGISTER_VP_INDEX:
		v->reg64 = vp->index;
		break;
	case HV_REGISTER_TIME_REF_COUNT:
	case HV_REGISTER_VP_RUNTIME:
		v->reg64 = soft_reference_time(vp->p);
		break;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
	return HV_STATUS_SUCCESS;
}

int soft_vp_get_register(struct soft_vp *vp, uint32_t name, union hv_register_value *v)
{
	struct x86_state s;
	uint64_t *p;
	uint8_t *w;

	memset(v, 0, sizeof(*v));
	x86_get_state(vp->cpu, &s);
	p = plain_register(&s, name);
	w = vector_register(&s, name);
	if (p) {
		v->reg64 = *p;
	} else if (w) {
		memcpy(v, w, 16);
	} else if (name == HV_X64_REGISTER_FP_CONTROL_STATUS ||
		   name == HV_X64_REGISTER_XMM_CONTROL_STATUS) {
		return fp_control(&s, name, v, false);
	} else if (name >= HV_X64_REGISTER_ES && name <= HV_X64_REGISTER_TR) {
		const struct x86_seg *g = &s.seg[name - HV_X64_REGISTER_ES];

		v->segment = (struct hv_x64_segment_register){ g->base, g->limit, g->selector,
							       g->attributes };
	} else if (name == HV_X64_REGISTER_IDTR || name == HV_X64_REGISTER_GDTR) {
		const struct x86_table *t = name == HV_X64_REGISTER_IDTR ? &s.idtr : &s.gdtr;

		v->table.limit = t->limit;
		v->table.base = t->base;
	} else {
		return other_get(vp, name, &s, v);
	}
	return HV_STATUS_SUCCESS;
}

// Events to be delivered before the next instruction. Layouts: hv_x64_pending_exception_event,
// hv_x64_pending_interruption_register.
static int set_pending(struct soft_vp *vp, uint32_t name, const union hv_register_value *v)
{
	struct x86_event ev = { .vector = (uint8_t)(v->reg64 >> 16) };

	if (!(v->reg64 & 1))
		return HV_STATUS_SUCCESS;
	if (name == HV_REGISTER_PENDING_EVENT0) {
		ev.is_exception = true;
		ev.has_error = v->reg64 >> 8 & 1;
		ev.error = (uint32_t)(v->reg64 >> 32);
		ev.cr2 = v->reg128.high;
	} else {
		unsigned type = v->reg64 >> 1 & 7;

		ev.is_nmi = type == 2;
		ev.is_exception = type == 3;
		ev.has_error = v->reg64 >> 4 & 1;
		ev.error = (uint32_t)(v->reg64 >> 32);
	}
	x86_inject(vp->cpu, &ev);
	return HV_STATUS_SUCCESS;
}

static int other_set(struct soft_vp *vp, uint32_t name, const union hv_register_value *v)
{
	struct x86_state s;

	if (synic_register(vp, name)) {
		*synic_register(vp, name) = v->reg64;
		return HV_STATUS_SUCCESS;
	}
	if (soft_register_msr(name))
		return soft_wrmsr(vp, soft_register_msr(name), v->reg64)
			       ? HV_STATUS_INVALID_REGISTER_VALUE
			       : HV_STATUS_SUCCESS;
	switch (name) {
	case HV_REGISTER_EXPLICIT_SUSPEND:
		atomic_store(&vp->suspended, v->reg64 & 1);
		soft_vp_wake(vp);
		return HV_STATUS_SUCCESS;
	case HV_REGISTER_INTERNAL_ACTIVITY_STATE:
	case HV_REGISTER_INTERRUPT_STATE:
		x86_get_state(vp->cpu, &s);
		if (name == HV_REGISTER_INTERNAL_ACTIVITY_STATE) {
			s.halted = v->reg64 >> 1 & 1;
		} else {
			s.interrupt_shadow = v->reg64 & 1;
			s.nmi_masked = v->reg64 >> 1 & 1;
		}
		x86_set_state(vp->cpu, &s);
		return HV_STATUS_SUCCESS;
	case HV_REGISTER_PENDING_INTERRUPTION:
	case HV_REGISTER_PENDING_EVENT0:
		return set_pending(vp, name, v);
	case HV_X64_REGISTER_TSC:
		return soft_wrmsr(vp, 0x10, v->reg64) ? HV_STATUS_INVALID_REGISTER_VALUE
						      : HV_STATUS_SUCCESS;
	case HV_X64_REGISTER_APIC_BASE:
		return soft_lapic_base_write(&vp->lapic, v->reg64)
			       ? HV_STATUS_INVALID_REGISTER_VALUE
			       : HV_STATUS_SUCCESS;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
}

int soft_vp_set_register(struct soft_vp *vp, uint32_t name, const union hv_register_value *v)
{
	union hv_register_value copy = *v;
	struct x86_state s;
	uint64_t *p;
	uint8_t *w;

	x86_get_state(vp->cpu, &s);
	p = plain_register(&s, name);
	w = vector_register(&s, name);
	if (p)
		*p = v->reg64;
	else if (w)
		memcpy(w, v, 16);
	else if (name == HV_X64_REGISTER_FP_CONTROL_STATUS ||
		 name == HV_X64_REGISTER_XMM_CONTROL_STATUS)
		(void)fp_control(&s, name, &copy, true); // cannot fail
	else if (name >= HV_X64_REGISTER_ES && name <= HV_X64_REGISTER_TR)
		s.seg[name - HV_X64_REGISTER_ES] =
			(struct x86_seg){ v->segment.base, v->segment.limit, v->segment.selector,
					  v->segment.attributes };
	else if (name == HV_X64_REGISTER_IDTR)
		s.idtr = (struct x86_table){ v->table.limit, v->table.base };
	else if (name == HV_X64_REGISTER_GDTR)
		s.gdtr = (struct x86_table){ v->table.limit, v->table.base };
	else
		return other_set(vp, name, v);
	x86_set_state(vp->cpu, &s);
	return HV_STATUS_SUCCESS;
}
