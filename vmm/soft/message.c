// SPDX-License-Identifier: Apache-2.0
// What ends RUN_VP: the message, and the register page that goes with it.
#include "vmm/soft/intercept.h"

#include <string.h>

#include "vmm/soft/soft.h"

static void seg_out(struct hv_x64_segment_register *to, const struct x86_seg *from)
{
	*to = (struct hv_x64_segment_register){ from->base, from->limit, from->selector,
						from->attributes };
}

// ---- the register page
static void page_fill(struct soft_vp *vp, const struct x86_state *s)
{
	struct hv_vp_register_page *r = vp->regs;

	memcpy(r->gp_registers, s->gpr, sizeof(r->gp_registers));
	r->rip = s->rip;
	r->rflags = s->rflags;
	for (unsigned i = 0; i < 6; i++) {
		memcpy(&r->xmm[i], s->fxsave + 160 + 16 * i, 16);
		seg_out(&r->segment[i], &s->seg[i]);
	}
	r->cr0 = s->cr0;
	r->cr3 = s->cr3;
	r->cr4 = s->cr4;
	r->cr8 = s->cr8;
	r->efer = s->efer;
	r->dr7 = s->dr[7];
	r->xfem = s->xcr0;
	r->pending_interruption = soft_pending_interruption(vp);
	r->interrupt_state = s->interrupt_shadow | (uint64_t)s->nmi_masked << 1;
}

void soft_page_out(struct soft_vp *vp, const struct x86_state *s)
{
	page_fill(vp, s);
	vp->regs->dirty = 0;
	vp->regs->isvalid = 1;
}

void soft_page_refresh(struct soft_vp *vp, const struct x86_state *s)
{
	if (vp->regs->isvalid)
		page_fill(vp, s);
}

static bool dirty(const struct soft_vp *vp, unsigned class)
{
	return vp->regs->isvalid && vp->regs->dirty >> class & 1;
}

void soft_page_apply(const struct soft_vp *vp, struct x86_state *s)
{
	const struct hv_vp_register_page *r = vp->regs;

	if (dirty(vp, HV_X64_REGISTER_CLASS_GENERAL))
		memcpy(s->gpr, r->gp_registers, sizeof(s->gpr));
	if (dirty(vp, HV_X64_REGISTER_CLASS_IP))
		s->rip = r->rip;
	if (dirty(vp, HV_X64_REGISTER_CLASS_FLAGS))
		s->rflags = r->rflags;
	for (unsigned i = 0; i < 6; i++) {
		if (dirty(vp, HV_X64_REGISTER_CLASS_XMM))
			memcpy(s->fxsave + 160 + 16 * i, &r->xmm[i], 16);
		if (dirty(vp, HV_X64_REGISTER_CLASS_SEGMENT))
			s->seg[i] = (struct x86_seg){ r->segment[i].base, r->segment[i].limit,
						      r->segment[i].selector,
						      r->segment[i].attributes };
	}
}

void soft_page_in(struct soft_vp *vp)
{
	struct hv_vp_register_page *r = vp->regs;
	unsigned n = r->vector_count < sizeof(r->vectors) ? r->vector_count : sizeof(r->vectors);

	if (dirty(vp, HV_X64_REGISTER_CLASS_XMM) || dirty(vp, HV_X64_REGISTER_CLASS_SEGMENT)) {
		struct x86_state s;

		x86_get_state(vp->cpu, &s);
		soft_page_apply(vp, &s);
		x86_set_state(vp->cpu, &s);
	}
	// The usual ones, without all that.
	if (dirty(vp, HV_X64_REGISTER_CLASS_GENERAL))
		memcpy(x86_gprs(vp->cpu), r->gp_registers, sizeof(r->gp_registers));
	if (dirty(vp, HV_X64_REGISTER_CLASS_FLAGS))
		x86_set_rflags(vp->cpu, r->rflags);
	if (dirty(vp, HV_X64_REGISTER_CLASS_IP))
		x86_set_rip(vp->cpu, r->rip);
	r->isvalid = 0;
	r->dirty = 0;
	for (unsigned i = 0; i < n; i++)
		soft_lapic_raise(&vp->lapic, r->vectors[i], false);
	r->vector_count = 0;
}

// ---- messages
static void header(struct soft_vp *vp, struct hv_message *m, int32_t type, size_t payload)
{
	memset(m, 0, sizeof(*m));
	m->header.message_type = type;
	m->header.payload_size = (uint8_t)payload;
	m->u.intercept.vp_index = vp->index; // every payload begins with it
}

static void intercept_header(struct soft_vp *vp, struct hv_message *m, int32_t type, size_t payload,
			     const struct x86_state *s, unsigned insn_len, unsigned access)
{
	struct hv_x64_intercept_message_header *h = &m->u.intercept;

	header(vp, m, type, payload);
	h->instruction_length = (uint8_t)(insn_len | (s->cr8 & 15) << 4);
	h->intercept_access_type = (uint8_t)access;
	h->execution_state =
		(uint16_t)((s->seg[X86_SS].attributes >> 5 & 3) | (s->cr0 & 1) << 2 |
			   (s->cr0 >> 18 & 1) << 3 | (s->efer >> 10 & 1) << 4 |
			   ((s->dr[7] & 0xff) != 0) << 5 | x86_event_pending(vp->cpu) << 6 |
			   s->interrupt_shadow << 12);
	seg_out(&h->cs_segment, &s->seg[X86_CS]);
	h->rip = s->rip;
	h->rflags = s->rflags;
}

static void memory_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
			   const struct x86_state *s)
{
	unsigned access = ex->access & X86_WRITE  ? HV_INTERCEPT_ACCESS_WRITE
			  : ex->access & X86_EXEC ? HV_INTERCEPT_ACCESS_EXECUTE
						  : HV_INTERCEPT_ACCESS_READ;
	struct soft_region r;
	// Memory that is there but not for this is a permission intercept; what is not there an unmapped one.
	bool there = soft_region_at(vp->p, ex->gpa, &r);

	intercept_header(vp, m, there ? HVMSG_GPA_INTERCEPT : HVMSG_UNMAPPED_GPA,
			 sizeof(m->u.memory), s, 0, access);
	m->u.memory.memory_access_info =
		HV_MEMORY_ACCESS_GVA_VALID | HV_MEMORY_ACCESS_GVA_GPA_VALID;
	m->u.memory.guest_virtual_address = ex->gva;
	m->u.memory.guest_physical_address = ex->gpa;
	m->u.memory.cache_type = HV_CACHE_TYPE_WRITE_BACK;
	m->u.memory.tpr_priority = (uint8_t)s->cr8;
	if (access == HV_INTERCEPT_ACCESS_EXECUTE)
		return; // it could not be fetched
	m->u.memory.instruction_byte_count = ex->insn_bytes;
	memcpy(m->u.memory.instruction_bytes, ex->insn, ex->insn_bytes);
}

static void io_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
		       const struct x86_state *s)
{
	intercept_header(vp, m, HVMSG_X64_IO_PORT_INTERCEPT, sizeof(m->u.io), s, ex->insn_len,
			 ex->is_write ? HV_INTERCEPT_ACCESS_WRITE : HV_INTERCEPT_ACCESS_READ);
	m->u.io.port_number = ex->port;
	m->u.io.access_info = (uint8_t)(ex->size | ex->is_string << 3 | ex->is_rep << 4);
	m->u.io.instruction_byte_count = ex->insn_bytes;
	memcpy(m->u.io.instruction_bytes, ex->insn, ex->insn_bytes);
	m->u.io.rax = s->gpr[X86_RAX];
	m->u.io.rcx = s->gpr[X86_RCX];
	m->u.io.rsi = s->gpr[X86_RSI];
	m->u.io.rdi = s->gpr[X86_RDI];
	seg_out(&m->u.io.ds_segment, &s->seg[X86_DS]);
	seg_out(&m->u.io.es_segment, &s->seg[X86_ES]);
}

static void msr_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
			const struct x86_state *s)
{
	intercept_header(vp, m, HVMSG_X64_MSR_INTERCEPT, sizeof(m->u.msr), s, ex->insn_len,
			 ex->is_write ? HV_INTERCEPT_ACCESS_WRITE : HV_INTERCEPT_ACCESS_READ);
	m->u.msr.msr_number = ex->msr;
	m->u.msr.rdx = s->gpr[X86_RDX];
	m->u.msr.rax = s->gpr[X86_RAX];
}

static void cpuid_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
			  const struct x86_state *s)
{
	uint32_t r[4];

	soft_cpuid(vp, (uint32_t)s->gpr[X86_RAX], (uint32_t)s->gpr[X86_RCX], r);
	intercept_header(vp, m, HVMSG_X64_CPUID_INTERCEPT, sizeof(m->u.cpuid), s, ex->insn_len,
			 HV_INTERCEPT_ACCESS_EXECUTE);
	m->u.cpuid.rax = s->gpr[X86_RAX];
	m->u.cpuid.rcx = s->gpr[X86_RCX];
	m->u.cpuid.rdx = s->gpr[X86_RDX];
	m->u.cpuid.rbx = s->gpr[X86_RBX];
	m->u.cpuid.default_result_rax = r[0];
	m->u.cpuid.default_result_rbx = r[1];
	m->u.cpuid.default_result_rcx = r[2];
	m->u.cpuid.default_result_rdx = r[3];
}

static void exception_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
			      const struct x86_state *s)
{
	intercept_header(vp, m, HVMSG_X64_EXCEPTION_INTERCEPT, sizeof(m->u.exception), s,
			 ex->insn_len, HV_INTERCEPT_ACCESS_EXECUTE);
	m->u.exception.exception_vector = ex->fault.vector;
	m->u.exception.exception_info = (uint8_t)(ex->fault.has_error | (ex->insn_len != 0) << 1);
	m->u.exception.error_code = ex->fault.error;
	m->u.exception.exception_parameter = ex->fault.cr2;
	m->u.exception.instruction_byte_count = ex->insn_bytes;
	memcpy(m->u.exception.instruction_bytes, ex->insn, ex->insn_bytes);
	seg_out(&m->u.exception.ds_segment, &s->seg[X86_DS]);
	seg_out(&m->u.exception.ss_segment, &s->seg[X86_SS]);
	memcpy(m->u.exception.gpr, s->gpr, sizeof(m->u.exception.gpr));
}

void soft_message_exit(struct soft_vp *vp, const struct x86_exit *ex, struct hv_message *m)
{
	struct x86_state s;

	x86_get_state(vp->cpu, &s);
	soft_page_out(vp, &s);
	switch (ex->reason) {
	case X86_EXIT_MMIO:
		memory_message(vp, m, ex, &s);
		break;
	case X86_EXIT_IO:
		io_message(vp, m, ex, &s);
		break;
	case X86_EXIT_MSR:
		msr_message(vp, m, ex, &s);
		break;
	case X86_EXIT_CPUID:
		cpuid_message(vp, m, ex, &s);
		break;
	case X86_EXIT_EXCEPTION:
		exception_message(vp, m, ex, &s);
		break;
	case X86_EXIT_HLT:
		intercept_header(vp, m, HVMSG_X64_HALT, sizeof(m->u.intercept), &s, 1,
				 HV_INTERCEPT_ACCESS_EXECUTE);
		break;
	case X86_EXIT_TRIPLE_FAULT:
		intercept_header(vp, m, HVMSG_UNRECOVERABLE_EXCEPTION, sizeof(m->u.intercept), &s,
				 0, 0);
		break;
	default:
		header(vp, m, HVMSG_UNSUPPORTED_FEATURE, sizeof(m->u.unsupported));
		break;
	}
}

static void window_message(struct soft_vp *vp, struct hv_message *m, const struct x86_state *s)
{
	bool nmi = (vp->notify & HV_NOTIFY_NMI) && !x86_nmi_masked(vp->cpu);

	intercept_header(vp, m, HVMSG_X64_INTERRUPTION_DELIVERABLE, sizeof(m->u.deliverable), s, 0,
			 HV_INTERCEPT_ACCESS_EXECUTE);
	m->u.deliverable.deliverable_type = nmi ? HV_PENDING_NMI : HV_PENDING_INTERRUPT;
	vp->notify &= ~(uint64_t)(nmi ? HV_NOTIFY_NMI : HV_NOTIFY_INTERRUPT); // told once
	vp->window = false;
}

bool soft_message_notice(struct soft_vp *vp, struct hv_message *m)
{
	uint16_t sints = atomic_load(&vp->synic.free_now);
	struct x86_state s;
	int v = -1;

	if (!vp->window && !sints)
		v = soft_eoi_take(vp);
	if (!vp->window && !sints && v < 0)
		return false;
	x86_get_state(vp->cpu, &s);
	soft_page_out(vp, &s);
	if (vp->window) {
		window_message(vp, m, &s);
	} else if (sints) {
		intercept_header(vp, m, HVMSG_SYNIC_SINT_DELIVERABLE, sizeof(m->u.sints), &s, 0,
				 HV_INTERCEPT_ACCESS_EXECUTE);
		m->u.sints.deliverable_sints = sints;
		atomic_fetch_and(&vp->synic.free_now, (uint16_t)~sints);
		vp->notify &= ~((uint64_t)sints << HV_NOTIFY_SINTS_SHIFT);
	} else {
		header(vp, m, HVMSG_X64_APIC_EOI, sizeof(m->u.eoi));
		m->u.eoi.interrupt_vector = (uint32_t)v;
	}
	return true;
}

// Combinations no processor can be in, each register being good by itself (SDM vol. 3, 27.3.1.1).
bool soft_message_valid(struct soft_vp *vp, struct hv_message *m)
{
	struct x86_state s;
	bool paging, active;

	x86_get_state(vp->cpu, &s);
	paging = s.cr0 >> 31 & 1;
	active = s.efer >> 10 & 1;
	if ((!paging || (s.cr0 & 1)) && active == (paging && (s.efer >> 8 & 1)) &&
	    (!active || (s.cr4 >> 5 & 1)))
		return true;
	soft_page_out(vp, &s);
	header(vp, m, HVMSG_INVALID_VP_REGISTER_VALUE, sizeof(m->u.invalid));
	return false;
}
