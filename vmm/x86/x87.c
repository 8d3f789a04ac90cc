// SPDX-License-Identifier: Apache-2.0
// x87: the guest's stack is in the host's FPU from the first x87 instruction on (x86_fpu_sync takes it back), with the
// guest's control word, and the instructions D8 to DF are run as they are, from simd_stubs.S.
//
// Exceptions that the guest has unmasked: the host's FPU then has one pending, and its next waiting instruction would
// fault. It gets none: after each instruction of such a guest the state is taken to memory if one is pending, and the
// guest's next waiting instruction finds it there and raises #MF. So the host's FPU never has one pending between two
// handlers.
#include "vmm/x86/simd.h"

// FNSAVE's 32-bit protected-mode image.
struct x87_image {
	uint16_t cw, r0, sw, r1, tw, r2;
	uint32_t fip;
	uint16_t fcs, fop;
	uint32_t fdp;
	uint16_t fds, r3;
	uint8_t st[8][10];
};
_Static_assert(sizeof(struct x87_image) == 108, "FSAVE image");

typedef uint32_t reg_stub(uint32_t cc);
typedef void mem_stub(void *mem);
extern const uint8_t x86_stub_x87_reg[], x86_stub_x87_mem[];

static unsigned full_tag(const uint8_t st[10])
{
	uint64_t m;
	uint16_t e;

	memcpy(&m, st, 8);
	memcpy(&e, st + 8, 2);
	e &= 0x7fff;
	if (e == 0 && m == 0)
		return 1;
	return e == 0 || e == 0x7fff || !(m >> 63) ? 2 : 0;
}

// Full tag word of cpu->fx. The FXSAVE image has the stack from ST(0) on, the tags by physical register.
static uint16_t tag_word(const struct x86_fx *fx)
{
	unsigned top = fx->fsw >> 11 & 7, tw = 0;

	for (unsigned i = 0; i < 8; i++)
		tw |= (fx->ftw >> i & 1 ? full_tag(fx->st[(i + 8 - top) & 7].b) : 3) << (2 * i);
	return (uint16_t)tw;
}

static void image_from_fx(struct x87_image *im, const struct x86_fx *fx)
{
	*im = (struct x87_image){ .cw = fx->fcw, .sw = fx->fsw, .tw = tag_word(fx) };
	im->r0 = im->r1 = im->r2 = im->r3 = 0xffff;
	im->fip = (uint32_t)fx->fip;
	im->fdp = (uint32_t)fx->fdp;
	im->fop = fx->fop;
	for (unsigned i = 0; i < 8; i++)
		memcpy(im->st[i], fx->st[i].b, 10);
}

static void image_to_fx(struct x86_fx *fx, const struct x87_image *im, bool registers)
{
	fx->fcw = (im->cw & 0x1f3f) | 0x40;
	x86_x87_set_fsw(fx, im->sw);
	fx->ftw = 0;
	for (unsigned i = 0; i < 8; i++)
		fx->ftw |= (uint8_t)(((im->tw >> (2 * i) & 3) != 3) << i);
	for (unsigned i = 0; registers && i < 8; i++) {
		memcpy(fx->st[i].b, im->st[i], 10);
		memset(fx->st[i].b + 10, 0, 6);
	}
}

static void host_save(struct x87_image *im)
{
	__asm__ volatile("fnsave %0" : "=m"(*im) : : "memory"); // and FNINIT
}

static void host_load(const struct x87_image *im)
{
	__asm__ volatile("frstor %0" : : "m"(*im));
}

void x86_fpu_sync(struct x86_cpu *cpu)
{
	struct x87_image im;

	if (!cpu->fpu_loaded)
		return;
	host_save(&im);
	image_to_fx(&cpu->fx, &im, true); // the host's FIP and FDP stay out of it
	cpu->fpu_loaded = false;
}

// Before a waiting instruction: raises what is pending, puts the state into the host.
static void x87_load(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x87_image im;

	if (x86_x87_summary(cpu))
		x86_raise_noerr(cpu, op, EXC_MF);
	image_from_fx(&im, &cpu->fx);
	im.fip = im.fdp = 0;
	im.fop = 0;
	host_load(&im);
	cpu->fpu_loaded = true;
}

static inline void x87_begin(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (unlikely(!cpu->fpu_loaded))
		x87_load(cpu, op);
}

static uint16_t host_fsw(void)
{
	uint16_t sw;

	__asm__ volatile("fnstsw %0" : "=a"(sw));
	return sw;
}

// After an instruction of a guest with unmasked exceptions. op->aux: it has a memory operand.
static void x87_unmasked(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (!(host_fsw() & 0x80))
		return;
	x86_fpu_sync(cpu);
	cpu->fx.fip = op_rip(cpu, op);
	cpu->fx.fdp = op->aux ? op_ea(cpu, op) : 0;
	cpu->fx.fop = 0;
}

static inline void x87_end(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (unlikely((cpu->fx.fcw & 0x3f) != 0x3f))
		x87_unmasked(cpu, op);
}

OPH(x87_reg)
{
	x87_begin(cpu, op);
	cpu->cc = (uint16_t)((reg_stub *)(uintptr_t)op->ptr)(cpu->cc);
	x87_end(cpu, op);
	NEXT;
}

// Forms that read. op->aux: bytes
OPH(x87_read)
{
	uint64_t va = op_ea(cpu, op);
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];
	uint8_t buf[16];
	void *p = buf;

	x87_begin(cpu, op);
	if (likely(e->tag_r == ((va + op->aux - 1) & PAGE_MASK_)))
		p = (void *)(uintptr_t)(va + e->addend);
	else
		x86_read(cpu, op, va, buf, op->aux);
	((mem_stub *)(uintptr_t)op->ptr)(p);
	x87_end(cpu, op);
	NEXT_BACK;
}

// A store that may leave for a device after the instruction has popped: with the state before it in place.
static void write_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va)
{
	struct x87_image before, after;
	uint8_t buf[16] = { 0 };
	unsigned bad;

	x86_write_probe(cpu, op, va, op->aux);
	host_save(&before);
	host_load(&before);
	((mem_stub *)(uintptr_t)op->ptr)(buf);
	host_save(&after);
	host_load(&before);
	bad = after.sw & ~(unsigned)after.cw & 0x3f;
	if (!(bad & 0x1f)) // an unmasked inexact result is stored, with any other there is none
		x86_write(cpu, op, va, buf, op->aux);
	if (!bad) {
		host_load(&after);
		return;
	}
	host_save(&before); // to empty the host
	cpu->fpu_loaded = false;
	image_to_fx(&cpu->fx, &after, true);
	cpu->fx.fip = op_rip(cpu, op);
	cpu->fx.fdp = va;
	cpu->fx.fop = 0;
}

// Forms that write. op->aux: bytes
OPH(x87_write)
{
	uint64_t va = op_ea(cpu, op);
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	x87_begin(cpu, op);
	if (likely(e->tag_w == ((va + op->aux - 1) & PAGE_MASK_))) {
		((mem_stub *)(uintptr_t)op->ptr)((void *)(uintptr_t)(va + e->addend));
		x87_end(cpu, op);
	} else {
		write_slow(cpu, op, va);
	}
	NEXT;
}

// ---- control. These do not wait for a pending exception, save FLDCW, FLDENV, FRSTOR.
static uint16_t guest_fsw(const struct x86_cpu *cpu)
{
	return cpu->fpu_loaded ? host_fsw() : cpu->fx.fsw;
}

OPH(fnstsw_ax)
{
	R16(X86_RAX) = guest_fsw(cpu);
	NEXT;
}
OPH(fnstsw_m)
{
	st16(cpu, op, op_ea(cpu, op), guest_fsw(cpu));
	NEXT;
}
OPH(fnstcw)
{
	st16(cpu, op, op_ea(cpu, op), cpu->fx.fcw);
	NEXT;
}
OPH(fnop_legacy)
{
	NEXT;
} // FENI, FDISI, FSETPM

OPH(fldcw)
{
	uint16_t v;

	x87_begin(cpu, op);
	v = (ld16(cpu, op, op_ea(cpu, op)) & 0x1f3f) | 0x40;
	if (host_fsw() & ~v & 0x3f) { // now pending
		x86_fpu_sync(cpu);
		cpu->fx.fcw = v;
		(void)x86_x87_summary(cpu); // for its effect
	} else {
		cpu->fx.fcw = v;
		__asm__ volatile("fldcw %0" : : "m"(v));
	}
	NEXT_BACK;
}

OPH(fnclex)
{
	x86_fpu_sync(cpu);
	cpu->fx.fsw &= 0x7f00;
	NEXT;
}

static void fpu_init(struct x86_fx *fx)
{
	fx->fcw = 0x37f;
	x86_x87_set_fsw(fx, 0);
	fx->ftw = 0;
	fx->fop = 0;
	fx->fip = fx->fdp = 0;
}

OPH(fninit)
{
	x86_fpu_sync(cpu);
	fpu_init(&cpu->fx);
	NEXT;
}

// The environment in memory: 28 bytes, or 14 with 16-bit operands (op->aux). Returns its size.
static unsigned env_pack(const struct x87_image *im, uint8_t *out, bool narrow)
{
	uint16_t w[7] = { im->cw, im->sw, im->tw, (uint16_t)im->fip, 0, (uint16_t)im->fdp, 0 };

	if (!narrow) {
		memcpy(out, im, 28);
		return 28;
	}
	memcpy(out, w, 14);
	return 14;
}

static unsigned env_unpack(struct x87_image *im, const uint8_t *in, bool narrow)
{
	uint16_t w[7];

	*im = (struct x87_image){ 0 };
	if (!narrow) {
		memcpy(im, in, 28);
		return 28;
	}
	memcpy(w, in, 14);
	im->cw = w[0];
	im->sw = w[1];
	im->tw = w[2];
	im->fip = w[3];
	im->fdp = w[5];
	return 14;
}

OPH(fnstenv)
{
	struct x87_image im;
	uint8_t buf[108];
	unsigned n;

	x86_fpu_sync(cpu);
	image_from_fx(&im, &cpu->fx);
	n = env_pack(&im, buf, op->aux);
	x86_write(cpu, op, op_ea(cpu, op), buf, n);
	cpu->fx.fcw |= 0x3f;
	(void)x86_x87_summary(cpu); // for its effect: nothing is pending now
	NEXT_BACK;
}

OPH(fnsave)
{
	struct x87_image im;
	uint8_t buf[108];
	unsigned n;

	x86_fpu_sync(cpu);
	image_from_fx(&im, &cpu->fx);
	n = env_pack(&im, buf, op->aux);
	memcpy(buf + n, im.st, 80);
	x86_write(cpu, op, op_ea(cpu, op), buf, n + 80);
	fpu_init(&cpu->fx);
	NEXT_BACK;
}

// FLDENV, FRSTOR (aux2)
OPH(env_load)
{
	struct x87_image im;
	uint8_t buf[108];
	unsigned n;

	x86_fpu_sync(cpu);
	if (x86_x87_summary(cpu))
		x86_raise_noerr(cpu, op, EXC_MF);
	n = op->aux ? 14 : 28;
	x86_read(cpu, op, op_ea(cpu, op), buf, op->aux2 ? n + 80 : n);
	(void)env_unpack(&im, buf, op->aux); // n bytes
	if (op->aux2)
		memcpy(im.st, buf + n, 80);
	image_to_fx(&cpu->fx, &im, op->aux2);
	cpu->fx.fip = im.fip;
	cpu->fx.fdp = im.fdp;
	cpu->fx.fop = im.fop & 0x7ff;
	(void)x86_x87_summary(cpu); // for its effect
	NEXT_BACK;
}

OPH(fwait)
{
	if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		x86_raise_noerr(cpu, op, EXC_NM);
	if (!cpu->fpu_loaded && x86_x87_summary(cpu))
		x86_raise_noerr(cpu, op, EXC_MF);
	NEXT;
}

OPH(x87_off)
{
	x86_raise_noerr(cpu, op, EXC_NM);
}

// FFREEP: FFREE, then a pop that cannot fault.
OPH(ffreep)
{
	x87_begin(cpu, op);
	(void)((reg_stub *)(uintptr_t)op->ptr)(0); // FFREE changes no flag
	__asm__ volatile("ffree %st(0)\n\tfincstp");
	x87_end(cpu, op);
	NEXT;
}

// ---- binding

// Bytes of the memory operand: positive read, negative written, 0 none or a control instruction. [opcode - D8][reg]
static const int8_t mem_bytes[8][8] = {
	{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, 0, -4, -4, 0, 0, 0, 0 },
	{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, -4, -4, -4, 0, 10, 0, -10 },
	{ 8, 8, 8, 8, 8, 8, 8, 8 }, { 8, -8, -8, -8, 0, 0, 0, 0 },
	{ 2, 2, 2, 2, 2, 2, 2, 2 }, { 2, -2, -2, -2, 10, 8, -10, -8 },
};

static bool bind_mem(struct x86_bind *b, unsigned esc, unsigned sub)
{
	struct x86_op *op = b->op;
	int n = mem_bytes[esc][sub];

	if (n) {
		op->ptr = x86_stub_x87_mem + (esc * 8 + sub) * 16;
		op->aux = (uint8_t)(n > 0 ? n : -n);
		op->fn = n > 0 ? x87_read : x87_write;
		return true;
	}
	op->aux = b->insn->opsize == 2;
	switch (esc * 8 + sub) {
	case 014:
		op->fn = env_load;
		return true; // D9 /4 FLDENV
	case 015:
		op->fn = fldcw;
		return true;
	case 016:
		op->fn = fnstenv;
		return true;
	case 017:
		op->fn = fnstcw;
		return true;
	case 054:
		op->aux2 = 1;
		op->fn = env_load;
		return true; // DD /4 FRSTOR
	case 056:
		op->fn = fnsave;
		return true;
	case 057:
		op->fn = fnstsw_m;
		return true;
	default:
		return false;
	}
}

// Undocumented opcodes that every processor takes for another: as that one. Others are returned as they are.
static unsigned canonical(unsigned at)
{
	static const uint16_t alias[][2] = {
		// groups of 8: escape * 64 + ModRM's low six bits
		{ 1 * 64 + 0x18, 5 * 64 + 0x18 }, // D9 D8 FSTP
		{ 4 * 64 + 0x10, 0 * 64 + 0x10 }, // DC D0 FCOM
		{ 4 * 64 + 0x18, 0 * 64 + 0x18 }, // DC D8 FCOMP
		{ 5 * 64 + 0x08, 1 * 64 + 0x08 }, // DD C8 FXCH
		{ 6 * 64 + 0x10, 0 * 64 + 0x18 }, // DE D0 FCOMP
		{ 7 * 64 + 0x08, 1 * 64 + 0x08 }, // DF C8 FXCH
		{ 7 * 64 + 0x10, 5 * 64 + 0x18 }, // DF D0 FSTP
		{ 7 * 64 + 0x18, 5 * 64 + 0x18 }, // DF D8 FSTP
	};

	for (size_t i = 0; i < sizeof(alias) / sizeof(alias[0]); i++)
		if ((at & ~7u) == alias[i][0])
			return alias[i][1] | (at & 7);
	return at;
}

static bool reg_valid(unsigned esc, unsigned low)
{
	switch (esc) {
	case 1:
		return low < 0x11 || (low >= 0x18 && low < 0x22) || low == 0x24 || low == 0x25 ||
		       (low >= 0x28 && low != 0x2f);
	case 2:
		return low < 0x20 || low == 0x29;
	case 3:
		return low < 0x20 || (low >= 0x28 && low < 0x38);
	case 5:
		return low < 0x30;
	case 6:
		return low < 0x18 || low == 0x19 || low >= 0x20;
	case 7:
		return low < 0x20 || (low >= 0x28 && low < 0x38);
	default:
		return true;
	}
}

static bool bind_reg(struct x86_bind *b, unsigned esc, unsigned low)
{
	struct x86_op *op = b->op;

	if (esc == 3 && low >= 0x20 && low <= 0x24) {
		op->fn = low == 0x22 ? fnclex : low == 0x23 ? fninit : fnop_legacy;
		return true;
	}
	if (esc == 7 && low == 0x20) {
		op->fn = fnstsw_ax;
		return true;
	}
	if (!reg_valid(esc, low))
		return false;
	op->fn = x87_reg;
	op->ptr = x86_stub_x87_reg + canonical(esc * 64 + low) * 16;
	if (esc == 7 && low < 8) {
		op->fn = ffreep;
		op->ptr = x86_stub_x87_reg + (5 * 64 + low) * 16;
	}
	return true;
}

bool x86_bind_x87(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	unsigned esc = in->opcode - 0xd8u;

	if (in->lock)
		return false;
	if (in->opcode == 0x9b) {
		b->op->fn = fwait;
		return true;
	}
	if (!(in->mod == 3 ? bind_reg(b, esc, in->modrm & 0x3f)
			   : bind_mem(b, esc, in->modrm >> 3 & 7)))
		return false;
	if (b->mode & MODE_NOFPU)
		b->op->fn = x87_off;
	return true;
}
