// SPDX-License-Identifier: Apache-2.0
// The processor's life: creation, state in and out, running, leaving, raising.
#include "vmm/x86/cpu.h"

#include <stdlib.h>

struct x86_cpu *x86_cpu_new(const struct x86_env *env, void *arg)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(struct x86_cpu) + 63) & ~(size_t)63);

	if (!cpu)
		return NULL;
	memset(cpu, 0, sizeof(*cpu));
	(void)pthread_mutex_init(&cpu->changed_lock, NULL); // cannot fail with default attributes
	cpu->env = env;
	cpu->arg = arg;
	for (unsigned i = 0; i < TLBS; i++)
		cpu->tlbs[i] = calloc(TLB_ENTRIES, sizeof(struct x86_tlb_entry));
	cpu->itlb = calloc(ITLB_ENTRIES, sizeof(struct x86_itlb_entry));
	cpu->jump = calloc(JUMP_ENTRIES, sizeof(struct x86_jump_entry));
	if (!cpu->tlbs[0] || !cpu->tlbs[1] || !cpu->tlbs[2] || !cpu->itlb || !cpu->jump ||
	    x86_code_init(cpu) < 0) {
		x86_cpu_free(cpu);
		return NULL;
	}
	for (unsigned i = 0; i < ITLB_ENTRIES; i++)
		cpu->itlb[i].va = 1;
	for (unsigned i = 0; i < JUMP_ENTRIES; i++)
		cpu->jump[i].va = 1;
	cpu->gen[0] = cpu->gen[1] = 1;
	cpu->delivering = -1;
	cpu->cr0 = CR0_ET;
	cpu->rflags = 2;
	cpu->dr[6] = 0xffff0ff0;
	cpu->dr[7] = 0x400;
	cpu->pat = 0x0007040600070406ull;
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		cpu->seg[i] = (struct x86_seg){ .limit = 0xffff, .attributes = 0x93 };
	x86_fpu_reset(cpu);
	x86_tlb_flush_all(cpu);
	return cpu;
}

void x86_cpu_free(struct x86_cpu *cpu)
{
	if (!cpu)
		return;
	x86_code_done(cpu);
	for (unsigned i = 0; i < TLBS; i++)
		free(cpu->tlbs[i]);
	free(cpu->itlb);
	free(cpu->jump);
	(void)pthread_mutex_destroy(&cpu->changed_lock); // nobody holds it
	free(cpu);
}

void x86_update_mode(struct x86_cpu *cpu)
{
	uint32_t m = 0;

	if ((cpu->efer & EFER_LMA) && (cpu->seg[X86_CS].attributes >> 13 & 1))
		m |= MODE_LONG;
	else
		m |= (cpu->seg[X86_CS].attributes >> 14 & 1 ? MODE_CS32 : 0) |
		     (cpu->seg[X86_SS].attributes >> 14 & 1 ? MODE_SS32 : 0);
	if (cpu_cpl(cpu) == 3)
		m |= MODE_USER;
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		m |= MODE_NOFPU;
	if ((cpu->fx.mxcsr & 0x1f80) != 0x1f80)
		m |= MODE_FPX;
	if (!(cpu->cr4 & CR4_OSFXSR))
		m |= MODE_NOSSE;
	cpu->mode = m;
	cpu->tlb = cpu->tlbs[m & MODE_USER                                   ? 1
			     : (cpu->cr4 & CR4_SMAP) && (cpu->rflags & F_AC) ? 2
									     : 0];
	// One-instruction blocks never enter the jump cache, so the mode without MODE_ONE is the key.
	cpu->jkey[0] = cpu->gen[0] << MODE_BITS | m;
	cpu->jkey[1] = cpu->gen[1] << MODE_BITS | m;
}

void x86_update_bases(struct x86_cpu *cpu)
{
	cpu->flat = 0;
	for (unsigned i = 0; i < 6; i++) {
		cpu->sbase[1 + i] = cpu->mode & MODE_LONG && i < X86_FS ? 0 : cpu->seg[i].base;
		// Present, writable data, growing upwards, 4 GiB.
		if ((cpu->seg[i].attributes & 0x9e) == 0x92 && cpu->seg[i].limit == 0xffffffff)
			cpu->flat |= (uint8_t)(1u << i);
	}
}

void x86_get_state(struct x86_cpu *cpu, struct x86_state *s)
{
	x86_fpu_sync(cpu);
	memset(s, 0, sizeof(*s));
	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	s->rip = cpu->rip;
	s->rflags = cpu_rflags(cpu);
	memcpy(s->seg, cpu->seg, sizeof(s->seg));
	s->gdtr = cpu->gdtr;
	s->idtr = cpu->idtr;
	s->cr0 = cpu->cr0;
	s->cr2 = cpu->cr2;
	s->cr3 = cpu->cr3;
	s->cr4 = cpu->cr4;
	s->cr8 = cpu->env->cr8_read ? cpu->env->cr8_read(cpu->arg) : 0;
	s->xcr0 = 1;
	memcpy(s->dr, cpu->dr, sizeof(s->dr));
	s->efer = cpu->efer;
	s->star = cpu->star;
	s->lstar = cpu->lstar;
	s->cstar = cpu->cstar;
	s->sfmask = cpu->sfmask;
	s->kernel_gs_base = cpu->kernel_gs_base;
	s->sysenter_cs = cpu->sysenter_cs;
	s->sysenter_esp = cpu->sysenter_esp;
	s->sysenter_eip = cpu->sysenter_eip;
	s->pat = cpu->pat;
	s->tsc_aux = cpu->tsc_aux;
	memcpy(s->fxsave, &cpu->fx, sizeof(s->fxsave));
	s->interrupt_shadow = cpu->shadow;
	s->nmi_masked = cpu->nmi_masked;
	s->halted = cpu->halted;
}

void x86_set_state(struct x86_cpu *cpu, const struct x86_state *s)
{
	x86_fpu_sync(cpu); // what the host's registers hold is no longer it
	memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
	cpu->rip = s->rip;
	cpu_set_rflags(cpu, s->rflags);
	memcpy(cpu->seg, s->seg, sizeof(s->seg));
	cpu->gdtr = s->gdtr;
	cpu->idtr = s->idtr;
	cpu->cr0 = s->cr0 | CR0_ET;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	if (cpu->env->cr8_write)
		cpu->env->cr8_write(cpu->arg, s->cr8);
	memcpy(cpu->dr, s->dr, sizeof(s->dr));
	cpu->efer = s->efer;
	cpu->star = s->star;
	cpu->lstar = s->lstar;
	cpu->cstar = s->cstar;
	cpu->sfmask = s->sfmask;
	cpu->kernel_gs_base = s->kernel_gs_base;
	cpu->sysenter_cs = s->sysenter_cs;
	cpu->sysenter_esp = s->sysenter_esp;
	cpu->sysenter_eip = s->sysenter_eip;
	cpu->pat = s->pat;
	cpu->tsc_aux = s->tsc_aux;
	memcpy(&cpu->fx, s->fxsave, sizeof(s->fxsave));
	cpu->fx.mxcsr &= 0xffff;
	cpu->shadow = s->interrupt_shadow;
	cpu->nmi_masked = s->nmi_masked;
	cpu->halted = s->halted;
	cpu->watching = cpu->dr[7] & 0xff;
	atomic_store(&cpu->attn, 1);
	x86_tlb_flush_all(cpu);
	x86_update_bases(cpu);
}

uint64_t *x86_gprs(struct x86_cpu *cpu)
{
	return cpu->gpr;
}

void x86_halt(struct x86_cpu *cpu)
{
	cpu->halted = true;
}

uint64_t x86_rip(const struct x86_cpu *cpu)
{
	return cpu->rip;
}

void x86_set_rip(struct x86_cpu *cpu, uint64_t rip)
{
	cpu->rip = rip;
	cpu->shadow = false;
	cpu->halted = false;
}

uint64_t x86_rflags(struct x86_cpu *cpu)
{
	return cpu_rflags(cpu);
}

void x86_set_rflags(struct x86_cpu *cpu, uint64_t rflags)
{
	bool was = cpu->rflags & F_IF;

	cpu_set_rflags(cpu, rflags);
	x86_update_mode(cpu); // AC
	if (!was && (rflags & F_IF))
		x86_irq_enabled(cpu);
}

unsigned x86_cpl(const struct x86_cpu *cpu)
{
	return cpu_cpl(cpu);
}

void x86_attention(struct x86_cpu *cpu)
{
	atomic_store(&cpu->attn, 1);
}

void x86_set_translate(struct x86_cpu *cpu, uint8_t after)
{
	cpu->hot = after;
}

void x86_notify_write(struct x86_cpu *cpu)
{
	atomic_fetch_or(&cpu->notify, NOTIFY_ALL);
	atomic_store(&cpu->attn, 1);
}

void x86_share(struct x86_cpu *cpu, unsigned index)
{
	cpu->shared = true;
	cpu->mark = (uint8_t)(1u << (index & 7));
	x86_code_flush(cpu); // what was decoded alone is not marked
	x86_tlb_flush_all(cpu);
}

void x86_init(struct x86_cpu *cpu)
{
	struct x86_state s, was;

	x86_get_state(cpu, &was);
	s = was;
	memset(s.gpr, 0, sizeof(s.gpr));
	s.gpr[X86_RDX] = 0x600; // the family
	s.rip = 0xfff0;
	s.rflags = 2;
	s.cr0 = (was.cr0 & 0x60000000) | CR0_ET;
	s.cr2 = s.cr3 = s.cr4 = s.efer = 0;
	memset(s.dr, 0, sizeof(s.dr));
	s.dr[6] = 0xffff0ff0;
	s.dr[7] = 0x400;
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		s.seg[i] = (struct x86_seg){ .limit = 0xffff, .attributes = 0x93 };
	s.seg[X86_CS] = (struct x86_seg){
		.selector = 0xf000, .base = 0xffff0000, .limit = 0xffff, .attributes = 0x9b
	};
	s.seg[X86_LDTR].attributes = 0x82;
	s.seg[X86_TR].attributes = 0x8b;
	s.gdtr = s.idtr = (struct x86_table){ .limit = 0xffff };
	s.interrupt_shadow = s.nmi_masked = s.halted = false;
	cpu->pending = cpu->shadow_ss = false;
	x86_set_state(cpu, &s);
}

void x86_sipi(struct x86_cpu *cpu, uint8_t vector)
{
	cpu->seg[X86_CS].selector = (uint16_t)(vector << 8);
	cpu->seg[X86_CS].base = (uint32_t)vector << 12;
	cpu->rip = 0;
	x86_update_mode(cpu);
	x86_update_bases(cpu);
}

void x86_inject(struct x86_cpu *cpu, const struct x86_event *ev)
{
	cpu->event = *ev;
	cpu->pending = true;
	atomic_store(&cpu->attn, 1);
}

bool x86_event_get(const struct x86_cpu *cpu, struct x86_event *ret)
{
	*ret = cpu->event;
	return cpu->pending;
}

void x86_event_clear(struct x86_cpu *cpu)
{
	cpu->pending = false;
}

bool x86_event_pending(const struct x86_cpu *cpu)
{
	return cpu->pending;
}

void x86_set_tsc_offset(struct x86_cpu *cpu, int64_t offset)
{
	cpu->tsc_offset = offset;
}

int64_t x86_tsc_offset(const struct x86_cpu *cpu)
{
	return cpu->tsc_offset;
}

uint64_t x86_instructions(const struct x86_cpu *cpu)
{
	return __atomic_load_n(&cpu->icount, __ATOMIC_RELAXED);
}

void x86_nmi_unmask(struct x86_cpu *cpu)
{
	if (cpu->nmi_masked) {
		cpu->nmi_masked = false;
		atomic_store_explicit(&cpu->attn, 1, memory_order_relaxed); // one may be waiting
	}
}

bool x86_nmi_masked(const struct x86_cpu *cpu)
{
	return cpu->nmi_masked;
}

bool x86_interrupt_shadow(const struct x86_cpu *cpu)
{
	return cpu->shadow;
}

void x86_irq_enabled(struct x86_cpu *cpu)
{
	if (cpu->irq_waiting) {
		cpu->irq_waiting = false;
		atomic_store_explicit(&cpu->attn, 1, memory_order_relaxed);
	}
}

// ---- raising

// Back to the instruction of op: RIP, and the count without it and what follows in the block.
static void rewind_to(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (!op)
		return; // outside a block: RIP is right
	cpu->rip = op_rip(cpu, op);
	if (cpu->block)
		cpu->icount -= (uint64_t)(cpu->block->insns - op->idx);
}

_Noreturn void x86_raise_pf(struct x86_cpu *cpu, const struct x86_op *op,
			    const struct x86_exception *x)
{
	cpu->exc = *x;
	rewind_to(cpu, op);
	longjmp(cpu->unwind, UNWIND_EXC);
}

_Noreturn void x86_raise(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector,
			 uint32_t error)
{
	struct x86_exception x = { .vector = (uint8_t)vector, .has_error = true, .error = error };

	x86_raise_pf(cpu, op, &x);
}

_Noreturn void x86_raise_noerr(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector)
{
	struct x86_exception x = { .vector = (uint8_t)vector };

	x86_raise_pf(cpu, op, &x);
}

_Noreturn void x86_leave(struct x86_cpu *cpu, const struct x86_op *op, enum x86_exit_reason reason)
{
	rewind_to(cpu, op);
	cpu->exit->reason = reason;
	longjmp(cpu->unwind, UNWIND_EXIT);
}

// The bytes at RIP for the exit's message, as far as they can be had without faulting.
static void exit_bytes(struct x86_cpu *cpu, struct x86_exit *ex)
{
	ex->insn_bytes = 0;
	if (cpu->env->translate)
		return;
	for (unsigned i = 0; i < 15; i++) {
		struct x86_exception x;
		uint64_t gpa;
		uint8_t *page;
		bool w;
		unsigned flags;

		if (x86_walk(cpu, linear_rip(cpu, cpu->rip + i),
			     X86_EXEC | (cpu->mode & MODE_USER ? X86_USER : 0), false, &gpa, &flags,
			     &x))
			return;
		page = cpu->env->ram(cpu->arg, gpa & PAGE_MASK_, &w);
		if (!page)
			return;
		ex->insn[i] = page[gpa & 0xfff];
		ex->insn_bytes = (uint8_t)(i + 1);
	}
}

// ---- running

// Code may have been changed by others.
static void look_for_changes(struct x86_cpu *cpu)
{
	bool all = atomic_exchange(&cpu->notify, 0) & NOTIFY_ALL;

	if (cpu->shared && x86_code_take_changes(cpu))
		all = true;
	if (all) {
		cpu->gen[0]++; // every page is entered, and so compared, anew
		cpu->gen[1]++;
		x86_update_mode(cpu);
	}
}

// Attention, events and interrupts, at an instruction boundary. False: leave with *ex filled.
static bool service(struct x86_cpu *cpu, struct x86_exit *ex)
{
	x86_fpu_sync(cpu); // C code that may use the x87 follows
	if (atomic_exchange(&cpu->attn, 0)) {
		if (unlikely(cpu->n_untold))
			x86_code_tell(cpu);
		if (atomic_load(&cpu->notify))
			look_for_changes(cpu);
		if (cpu->env->attention && cpu->env->attention(cpu->arg)) {
			atomic_store(&cpu->attn, 1); // what else it was for is looked at next time
			ex->reason = X86_EXIT_ATTENTION;
			return false;
		}
	}
	if (cpu->pending) {
		struct x86_event ev = cpu->event;

		cpu->pending = false;
		if (ev.is_nmi)
			cpu->nmi_masked = true;
		if (ev.is_exception && ev.vector == EXC_PF)
			cpu->cr2 = ev.cr2;
		if (!x86_deliver(cpu, ev.vector, ev.has_error, ev.error, ev.is_software,
				 cpu->rip + ev.insn_len)) {
			ex->reason = X86_EXIT_TRIPLE_FAULT;
			return false;
		}
		return true;
	}
	if (cpu->env->interrupt && !cpu->shadow) {
		if (cpu->rflags & F_IF) {
			int v = cpu->env->interrupt(cpu->arg);

			if (v >= 0 && !x86_deliver(cpu, (unsigned)v, false, 0, false, cpu->rip)) {
				ex->reason = X86_EXIT_TRIPLE_FAULT;
				return false;
			}
		} else if (cpu->env->interrupt_waiting) {
			cpu->irq_waiting = cpu->env->interrupt_waiting(cpu->arg);
		}
	} else if (cpu->shadow) {
		atomic_store(&cpu->attn, 1); // again after the shadow
	}
	return true;
}

static void run_block(struct x86_cpu *cpu, struct x86_block *b)
{
	const struct x86_op *op = b->ops;

	cpu->gpr[X86_REG_BVA] = cpu->rip;
	while (op) // NULL when a block has been left
		op = x86_enter(cpu, op);
}

// DR6 for a debug exception: of the breakpoints those that were met, the other bits gather.
static void debug_status(struct x86_cpu *cpu, unsigned bits)
{
	cpu->dr[6] = (cpu->dr[6] & ~15ull) | bits;
}

// An instruction breakpoint at RIP: the fault comes before the instruction.
static bool breakpoint_at(struct x86_cpu *cpu)
{
	uint64_t at = linear_rip(cpu, cpu->rip);
	unsigned hits = 0;

	if (cpu->rflags & F_RF)
		return false;
	for (unsigned i = 0; i < 4; i++)
		if ((cpu->dr[7] >> (2 * i) & 3) && !(cpu->dr[7] >> (16 + 4 * i) & 3) &&
		    cpu->dr[i] == at) {
			hits |= 1u << i;
		}
	if (hits)
		debug_status(cpu, hits);
	return hits;
}

static bool deliver_debug(struct x86_cpu *cpu, struct x86_exit *ex, bool is_fault)
{
	cpu->db_fault = is_fault;
	cpu->dr[7] &= ~(1ull << 13); // GD
	if (x86_deliver(cpu, EXC_DB, false, 0, false, cpu->rip))
		return true;
	ex->reason = X86_EXIT_TRIPLE_FAULT;
	return false;
}

// One instruction under a shadow, TF or breakpoints. False: leave.
static bool run_one(struct x86_cpu *cpu, struct x86_exit *ex)
{
	bool tf = cpu->rflags & F_TF, shadow = cpu->shadow;
	uint32_t saved;
	uint64_t before = cpu->icount;

	if (cpu->watching && !cpu->shadow_ss && breakpoint_at(cpu))
		return deliver_debug(cpu, ex, true);
	saved = atomic_exchange(&cpu->attn, 0);
	cpu->stepping = tf;
	cpu->rflags &= ~(uint64_t)F_RF;
	run_block(cpu, x86_block_get(cpu, cpu->mode | MODE_ONE));
	if (saved)
		atomic_store(&cpu->attn, 1);
	// Attention may have come first: then nothing ran, and "sti; hlt" is still to be kept together.
	if (cpu->icount == before)
		return true;
	if (shadow)
		cpu->shadow = false;
	if (cpu->shadow_ss && !shadow)
		return true; // nothing comes between a load of SS and the instruction after it
	cpu->shadow_ss = false;
	if (!(tf && cpu->stepping) && !cpu->db_hits)
		return true;
	debug_status(cpu, cpu->db_hits | (tf && cpu->stepping ? 1u << 14 : 0));
	cpu->db_hits = 0;
	return deliver_debug(cpu, ex, false);
}

static bool exception_intercepted(struct x86_cpu *cpu, struct x86_exit *ex,
				  const struct x86_exception *x)
{
	if (!cpu->env->exception || cpu->env->exception(cpu->arg, x) != X86_ENV_EXIT)
		return false;
	ex->reason = X86_EXIT_EXCEPTION;
	ex->fault = *x;
	return true;
}

// Delivers what a handler raised. False: leave.
static bool deliver_raised(struct x86_cpu *cpu, struct x86_exit *ex)
{
	if (cpu->exc.vector == EXC_DB)
		return deliver_debug(cpu, ex, true); // only MOV DR raises it
	cpu->shadow = cpu->shadow_ss = false;
	cpu->db_hits = 0;
	if (exception_intercepted(cpu, ex, &cpu->exc))
		return false;
	if (cpu->exc.vector == EXC_PF)
		cpu->cr2 = cpu->exc.cr2;
	if (x86_deliver(cpu, cpu->exc.vector, cpu->exc.has_error, cpu->exc.error, false, cpu->rip))
		return true;
	ex->reason = X86_EXIT_TRIPLE_FAULT;
	return false;
}

// A locked operation that is done in parts, with every other processor stopped. False: leave.
static bool run_exclusive(struct x86_cpu *cpu, struct x86_exit *ex)
{
	cpu->env->exclusive(cpu->arg, true);
	cpu->exclusive = true; // ended by exclusive_end, wherever the instruction leaves to
	return run_one(cpu, ex);
}

static void exclusive_end(struct x86_cpu *cpu)
{
	if (cpu->exclusive) {
		cpu->exclusive = false;
		cpu->env->exclusive(cpu->arg, false);
	}
}

void x86_exclusive(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (!cpu->shared || cpu->exclusive)
		return;
	rewind_to(cpu, op);
	longjmp(cpu->unwind, UNWIND_EXCLUSIVE);
}

static void run_loop(struct x86_cpu *cpu, struct x86_exit *ex)
{
	int how = setjmp(cpu->unwind);

	exclusive_end(cpu);
	switch (how) {
	case UNWIND_EXC:
		if (!deliver_raised(cpu, ex))
			return;
		break;
	case UNWIND_EXIT:
		return;
	case UNWIND_EXCLUSIVE: {
		bool on = run_exclusive(cpu, ex);

		exclusive_end(cpu);
		if (!on)
			return;
		break;
	}
	default:
		break;
	}
	for (;;) {
		if (atomic_load_explicit(&cpu->attn, memory_order_relaxed) && !service(cpu, ex))
			return;
		if (unlikely(cpu->halted)) {
			cpu->halted = false;
			ex->reason = X86_EXIT_HLT;
			return;
		}
		if (unlikely(cpu->shadow || (cpu->rflags & F_TF) || cpu->watching)) {
			if (!run_one(cpu, ex))
				return;
			continue;
		}
		run_block(cpu, x86_block_get(cpu, cpu->mode));
	}
}

void x86_run(struct x86_cpu *cpu, struct x86_exit *ret_exit)
{
	memset(ret_exit, 0, sizeof(*ret_exit));
	cpu->exit = ret_exit;
	cpu->block = NULL;
	cpu->link_from = NULL;
	atomic_store_explicit(&cpu->attn, 1, memory_order_relaxed); // events given between runs
	x86_fpu_enter(cpu);
	run_loop(cpu, ret_exit);
	x86_fpu_leave(cpu);
	if (ret_exit->reason == X86_EXIT_MMIO || ret_exit->reason == X86_EXIT_IO ||
	    ret_exit->reason == X86_EXIT_EXCEPTION)
		exit_bytes(cpu, ret_exit);
	cpu->exit = NULL;
}

static void step_inner(struct x86_cpu *cpu, struct x86_exit *ex)
{
	switch (setjmp(cpu->unwind)) {
	case UNWIND_EXC:
		if (cpu->env->translate) {
			ex->reason =
				cpu->exc.vector == EXC_UD ? X86_EXIT_UNSUPPORTED : X86_EXIT_FAULT;
			ex->fault = cpu->exc;
		} else {
			(void)deliver_raised(cpu, ex); // it set the reason
		}
		return;
	case UNWIND_EXIT:
		return;
	default:
		break;
	}
	if (cpu->step_count || cpu->env->translate)
		run_block(cpu, x86_block_from_bytes(cpu));
	else
		run_block(cpu, x86_block_get(cpu, cpu->mode | MODE_ONE));
	cpu->shadow = false;
	if (cpu->halted)
		ex->reason = X86_EXIT_HLT;
}

void x86_step(struct x86_cpu *cpu, const uint8_t *bytes, unsigned count, struct x86_exit *ret_exit)
{
	memset(ret_exit, 0, sizeof(*ret_exit));
	cpu->exit = ret_exit;
	cpu->block = NULL;
	cpu->link_from = NULL;
	cpu->step_bytes = bytes;
	cpu->step_count = count;
	atomic_store_explicit(&cpu->attn, 0,
			      memory_order_relaxed); // an entered block would be left at once
	x86_fpu_enter(cpu);
	step_inner(cpu, ret_exit);
	x86_fpu_leave(cpu);
	cpu->exit = NULL;
}
