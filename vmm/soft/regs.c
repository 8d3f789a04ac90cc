// SPDX-License-Identifier: Apache-2.0
// Registers by their Hyper-V names.
#include "vmm/soft/regs.h"

#include <stddef.h>
#include <string.h>

#include "vmm/soft/soft.h"

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
	R(HV_X64_REGISTER_INTERMEDIATE_CR0, cr0),
	R(HV_X64_REGISTER_INTERMEDIATE_CR3, cr3),
	R(HV_X64_REGISTER_INTERMEDIATE_CR4, cr4),
	R(HV_X64_REGISTER_INTERMEDIATE_CR8, cr8),
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
static uint8_t *control_register(struct x86_state *s, uint32_t name)
{
	switch (name) {
	case HV_X64_REGISTER_FP_CONTROL_STATUS:
		return s->fxsave;
	case HV_X64_REGISTER_XMM_CONTROL_STATUS:
		return s->fxsave + 16;
	default:
		return vector_register(s, name);
	}
}

// The first of these that knows the name.
static int get_one(struct soft_vp *vp, struct x86_state *s, uint32_t name,
		   union hv_register_value *v)
{
	uint64_t *p = plain_register(s, name);
	uint8_t *w = control_register(s, name);

	memset(v, 0, sizeof(*v));
	if (p) {
		v->reg64 = *p;
	} else if (w) {
		memcpy(v, w, 16);
	} else if (name >= HV_X64_REGISTER_ES && name <= HV_X64_REGISTER_TR) {
		const struct x86_seg *g = &s->seg[name - HV_X64_REGISTER_ES];

		v->segment = (struct hv_x64_segment_register){ g->base, g->limit, g->selector,
							       g->attributes };
	} else if (name == HV_X64_REGISTER_IDTR || name == HV_X64_REGISTER_GDTR) {
		const struct x86_table *t = name == HV_X64_REGISTER_IDTR ? &s->idtr : &s->gdtr;

		v->table.limit = t->limit;
		v->table.base = t->base;
	} else {
		return soft_hv_register_get(vp, s, name, v);
	}
	return HV_STATUS_SUCCESS;
}

static bool canonical(uint64_t v)
{
	return (uint64_t)((int64_t)(v << 16) >> 16) == v;
}

static bool pat_ok(uint64_t v)
{
	for (unsigned i = 0; i < 64; i += 8)
		if ((v >> i & 0xff) > 7 || (v >> i & 0xfe) == 2)
			return false;
	return true;
}

// Values no processor takes (SDM vol. 3, 2.5 and volume 4 for the MSRs).
static bool plain_ok(uint32_t name, uint64_t v)
{
	switch (name) {
	case HV_X64_REGISTER_RFLAGS:
		return !(v & ~0x3f7fd7ull);
	case HV_X64_REGISTER_CR0:
	case HV_X64_REGISTER_CR4:
	case HV_X64_REGISTER_INTERMEDIATE_CR0:
	case HV_X64_REGISTER_INTERMEDIATE_CR4:
	case HV_X64_REGISTER_DR6:
	case HV_X64_REGISTER_DR7:
	case HV_X64_REGISTER_TSC_AUX:
		return !(v >> 32);
	case HV_X64_REGISTER_CR3:
	case HV_X64_REGISTER_INTERMEDIATE_CR3:
		return !(v >> 52);
	case HV_X64_REGISTER_CR8:
	case HV_X64_REGISTER_INTERMEDIATE_CR8:
		return v < 16;
	case HV_X64_REGISTER_XFEM:
		return v == 1; // x87, which is always on; XSAVE is not offered
	case HV_X64_REGISTER_EFER:
		return !(v & ~0xd01ull); // SCE LME LMA NXE
	case HV_X64_REGISTER_PAT:
		return pat_ok(v);
	case HV_X64_REGISTER_KERNEL_GS_BASE:
	case HV_X64_REGISTER_LSTAR:
	case HV_X64_REGISTER_CSTAR:
	case HV_X64_REGISTER_SYSENTER_EIP:
	case HV_X64_REGISTER_SYSENTER_ESP:
		return canonical(v);
	default:
		return true;
	}
}

static int set_one(struct soft_vp *vp, struct x86_state *s, uint32_t name,
		   const union hv_register_value *v)
{
	uint64_t *p = plain_register(s, name);
	uint8_t *w = control_register(s, name);

	if (p) {
		if (!plain_ok(name, v->reg64))
			return HV_STATUS_INVALID_REGISTER_VALUE;
		*p = v->reg64;
	} else if (w) {
		if (name == HV_X64_REGISTER_XMM_CONTROL_STATUS && (uint32_t)v->reg128.high >> 16)
			return HV_STATUS_INVALID_REGISTER_VALUE; // MXCSR
		memcpy(w, v, 16);
	} else if (name >= HV_X64_REGISTER_ES && name <= HV_X64_REGISTER_TR) {
		s->seg[name - HV_X64_REGISTER_ES] =
			(struct x86_seg){ v->segment.base, v->segment.limit, v->segment.selector,
					  v->segment.attributes };
	} else if (name == HV_X64_REGISTER_IDTR) {
		s->idtr = (struct x86_table){ v->table.limit, v->table.base };
	} else if (name == HV_X64_REGISTER_GDTR) {
		s->gdtr = (struct x86_table){ v->table.limit, v->table.base };
	} else {
		return soft_hv_register_set(vp, s, name, v);
	}
	return HV_STATUS_SUCCESS;
}

int soft_registers_get(struct soft_vp *vp, const uint32_t *names, union hv_register_value *values,
		       unsigned n, uint16_t *done)
{
	struct x86_state s;
	int status = HV_STATUS_SUCCESS;

	x86_get_state(vp->cpu, &s);
	soft_page_apply(vp, &s); // what the VMM has changed and the processor has not taken yet
	for (*done = 0; *done < n && !status; *done += status == 0)
		status = get_one(vp, &s, names[*done], &values[*done]);
	return status;
}

int soft_registers_set(struct soft_vp *vp, const struct hv_register_assoc *regs, unsigned n,
		       uint16_t *done)
{
	struct x86_state s;
	int status = HV_STATUS_SUCCESS;

	x86_get_state(vp->cpu, &s);
	soft_page_apply(vp, &s);
	for (*done = 0; *done < n && !status; *done += status == 0)
		status = set_one(vp, &s, regs[*done].name, &regs[*done].value);
	x86_set_state(vp->cpu, &s); // what came before a bad one stays done
	soft_page_refresh(vp, &s);
	return status;
}
