// SPDX-License-Identifier: Apache-2.0
// Whose FPU state is where: MXCSR and x87 registers of the guest in the host while the processor runs; FXSAVE, FXRSTOR,
// LDMXCSR, STMXCSR.
//
// MXCSR goes to the host on entry (with all exceptions masked) and its flags come back on leaving. The x87 registers go
// to the host at the first x87 instruction (x87.c) and come back when something wants them in memory: MMX, FXSAVE, a
// copy of the state, leaving. The C code of the processor uses no x87.
#include "vmm/x86/simd.h"

enum { MX_FLAGS = 0x3f, MX_MASKS = 0x1f80, MX_VALID = 0xffff, MX_RESET = 0x1f80 };

static uint32_t host_mxcsr(void)
{
	uint32_t v;

	__asm__ volatile("stmxcsr %0" : "=m"(v));
	return v;
}

static void host_mxcsr_set(uint32_t v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

uint32_t x86_mxcsr_raised(void)
{
	return host_mxcsr() & MX_FLAGS;
}

uint32_t x86_mxcsr_read(struct x86_cpu *cpu)
{
	cpu->fx.mxcsr |= x86_mxcsr_raised();
	return cpu->fx.mxcsr;
}

void x86_mxcsr_load(struct x86_cpu *cpu, uint32_t mxcsr)
{
	cpu->fx.mxcsr = mxcsr;
	host_mxcsr_set(mxcsr | MX_MASKS);
}

void x86_fpu_enter(struct x86_cpu *cpu)
{
	cpu->fpu_loaded = false;
	host_mxcsr_set((cpu->fx.mxcsr & MX_VALID) | MX_MASKS);
}

void x86_fpu_leave(struct x86_cpu *cpu)
{
	(void)x86_mxcsr_read(cpu); // for its effect on cpu->fx
	host_mxcsr_set(MX_RESET);  // what the C environment has
	x86_fpu_sync(cpu);
}

void x86_fpu_reset(struct x86_cpu *cpu)
{
	memset(&cpu->fx, 0, sizeof(cpu->fx));
	cpu->fx.fcw = 0x37f;
	cpu->fx.mxcsr = MX_RESET;
	cpu->fx.mxcsr_mask = MX_VALID;
	cpu->fpu_loaded = false;
}

bool x86_x87_summary(struct x86_cpu *cpu)
{
	bool pending = cpu->fx.fsw & ~cpu->fx.fcw & 0x3f;

	cpu->fx.fsw = (uint16_t)((cpu->fx.fsw & ~0x8080) | (pending ? 0x8080 : 0));
	return pending;
}

// FXSAVE and FXRSTOR fault on TS and EM alike; MXCSR's instructions as SSE does.
OPH(fx_off)
{
	x86_raise_noerr(cpu, op, EXC_NM);
}
OPH(mxcsr_off)
{
	if ((cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR))
		UD();
	x86_raise_noerr(cpu, op, EXC_NM);
}

// How much is read and written: XMM8-15 are there in 64-bit mode only.
static unsigned image_bytes(const struct x86_cpu *cpu)
{
	return cpu->mode & MODE_LONG ? 32 + 128 + 256 : 32 + 128 + 128;
}

OPH(fxsave)
{
	uint64_t va = op_ea(cpu, op);
	struct x86_fx image;

	if (va & 15)
		GP0();
	x86_fpu_sync(cpu);
	image = cpu->fx;
	image.mxcsr = x86_mxcsr_read(cpu);
	image.mxcsr_mask = MX_VALID;
	image.pad = 0;
	if (!op->aux) { // selectors, which are not kept, above 32-bit addresses
		image.fip &= 0xffffffff;
		image.fdp &= 0xffffffff;
	}
	x86_write(cpu, op, va, &image, image_bytes(cpu));
	NEXT_BACK;
}

// Loads MXCSR; the code must be bound anew if unmasked exceptions come or go.
static bool mxcsr_change(struct x86_cpu *cpu, uint32_t v)
{
	bool was = cpu->mode & MODE_FPX, is = (v & MX_MASKS) != MX_MASKS;

	x86_mxcsr_load(cpu, v);
	if (was != is)
		x86_update_mode(cpu);
	return was != is;
}

OPH(fxrstor)
{
	uint64_t va = op_ea(cpu, op);
	struct x86_fx image = cpu->fx;
	uint32_t mxcsr;

	if (va & 15)
		GP0();
	x86_read(cpu, op, va, &image, image_bytes(cpu));
	mxcsr = image.mxcsr;
	if (mxcsr & ~(uint32_t)MX_VALID)
		GP0();
	x86_fpu_sync(cpu); // so that the host's registers are free
	image.mxcsr_mask = MX_VALID;
	if (!op->aux) {
		image.fip &= 0xffffffff;
		image.fdp &= 0xffffffff;
	}
	image.fcw = (image.fcw & 0x1f3f) | 0x40;
	for (unsigned i = 0; i < 8; i++)
		memset(image.st[i].b + 10, 0, 6);
	cpu->fx = image;
	(void)x86_x87_summary(cpu); // for its effect
	if (mxcsr_change(cpu, mxcsr))
		LEAVE;
	NEXT_BACK;
}

OPH(ldmxcsr)
{
	uint32_t v = ld32(cpu, op, op_ea(cpu, op));

	if (v & ~(uint32_t)MX_VALID)
		GP0();
	if (mxcsr_change(cpu, v))
		LEAVE;
	NEXT;
}

OPH(stmxcsr)
{
	st32(cpu, op, op_ea(cpu, op), x86_mxcsr_read(cpu));
	NEXT;
}

bool x86_bind_fxsave(struct x86_bind *b)
{
	static x86_fn *const fns[4] = { fxsave, fxrstor, ldmxcsr, stmxcsr };
	const struct x86_insn *in = b->insn;
	unsigned sub = in->modrm >> 3 & 7;

	if (in->mod == 3 || sub > 3 || in->pfx)
		return false;
	b->op->aux = in->rex & 8;
	b->op->fn = fns[sub];
	if ((b->mode & MODE_NOFPU) || (sub >= 2 && (b->mode & MODE_NOSSE)))
		b->op->fn = sub < 2 ? fx_off : mxcsr_off;
	b->ends = sub == 1 || sub == 2;
	return true;
}
