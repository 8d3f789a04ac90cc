// SPDX-License-Identifier: Apache-2.0
// The commonest SSE memory forms once more, without a slow path of their own and so without a stack frame: where the
// translation is not at hand they go over to the general handler.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/simd.h"

// _d: base and displacement; _x: any address
#define FAST_AS(suffix, address, name, bytes, tag, align, body)                                    \
	static const struct x86_op *name##_##suffix(struct x86_cpu *cpu, const struct x86_op *op)  \
	{                                                                                          \
		uint64_t va = address;                                                             \
		const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];                  \
		uintptr_t p = va + e->addend;                                                      \
		if (unlikely(e->tag != ((va + (bytes - 1)) & PAGE_MASK_)))                         \
			return x86_simd_##name(cpu, op);                                           \
		if (align && unlikely(va & 15))                                                    \
			return x86_simd_##name(cpu, op);                                           \
		body;                                                                              \
		NEXT;                                                                              \
	}
#define FAST(name, bytes, tag, align, body)                                                        \
	FAST_AS(d, cpu->gpr[op->base] + (uint64_t)(int64_t)op->disp, name, bytes, tag, align, body) \
	FAST_AS(x, op_ea(cpu, op), name, bytes, tag, align, body)

#define P128 (*(xmm_u *)p)
#define P64 (*(u64u *)p)
#define P32 (*(u32u *)p)

FAST(movsd_m, 8, tag_r, 0, X(op->reg) = ((xmm_v){ (long long)P64, 0 }))
FAST(movss_m, 4, tag_r, 0, X(op->reg) = (xmm_v)((xmm_d){ (int)P32, 0, 0, 0 }))
FAST(movups_m, 16, tag_r, 0, X(op->reg) = P128)
FAST(movaps_m, 16, tag_r, 1, X(op->reg) = P128)
FAST(movlps_m, 8, tag_r, 0, X(op->reg) = ((xmm_v){ (long long)P64, X(op->reg)[1] }))
FAST(movhps_m, 8, tag_r, 0, X(op->reg) = ((xmm_v){ X(op->reg)[0], (long long)P64 }))
FAST(movsd_s, 8, tag_w, 0, P64 = cpu->fx.xmm[op->reg].q[0])
FAST(movss_s, 4, tag_w, 0, P32 = cpu->fx.xmm[op->reg].d[0])
FAST(movups_s, 16, tag_w, 0, P128 = X(op->reg))
FAST(movaps_s, 16, tag_w, 1, P128 = X(op->reg))
FAST(movhps_s, 8, tag_w, 0, P64 = cpu->fx.xmm[op->reg].q[1])

// The operand stays in memory: these take any alignment.
#define SCALAR(name, bytes, mem)                                                                   \
	FAST(name##_m, bytes, tag_r, 0, xmm_v d = X(op->reg);                                      \
	     __asm__(#name " %1, %0" : "+x"(d) : "m"(mem)); X(op->reg) = d)
SCALAR(addsd, 8, P64) SCALAR(subsd, 8, P64) SCALAR(mulsd, 8, P64) SCALAR(divsd, 8, P64) SCALAR(sqrtsd, 8, P64)
SCALAR(addss, 4, P32) SCALAR(subss, 4, P32) SCALAR(mulss, 4, P32) SCALAR(divss, 4, P32)
SCALAR(cvtss2sd, 4, P32) SCALAR(cvtsd2ss, 8, P64)

#define FLAGS(name, bytes, mem)                                                                    \
	FAST(name##_m, bytes, tag_r, 0, xmm_v d = X(op->reg); uint16_t cc;                         \
	     __asm__(#name " %2, %1\n\tlahf\n\tseto %%al" : "=a"(cc) : "x"(d), "m"(mem) : "cc"); cpu->cc = cc)
FLAGS(ucomisd, 8, P64) FLAGS(comisd, 8, P64) FLAGS(ucomiss, 4, P32) FLAGS(comiss, 4, P32)

#define PACKED(name)                                                                               \
	FAST(name##_m, 16, tag_r, 1, xmm_v d = X(op->reg); xmm_v s = P128;                         \
	     __asm__(#name " %1, %0" : "+x"(d) : "x"(s)); X(op->reg) = d)
PACKED(pxor) PACKED(pand) PACKED(por) PACKED(andpd) PACKED(xorps) PACKED(xorpd) PACKED(andps) PACKED(pcmpeqb)
PACKED(pminub) PACKED(paddq) PACKED(paddd) PACKED(addpd) PACKED(mulpd) PACKED(pshufb)

x86_fn *x86_simd_fast(x86_fn *fn, bool plain)
{
#define ROW(name) { x86_simd_##name, { name##_x, name##_d } },
	static const struct {
		x86_fn *from, *to[2];
	} rows[] = {
		ROW(movsd_m) ROW(movss_m) ROW(movups_m) ROW(movaps_m) ROW(movlps_m) ROW(movhps_m) ROW(movsd_s) ROW(movss_s)
		ROW(movups_s) ROW(movaps_s) ROW(movhps_s) ROW(addsd_m) ROW(subsd_m) ROW(mulsd_m) ROW(divsd_m)
		ROW(sqrtsd_m) ROW(addss_m) ROW(subss_m) ROW(mulss_m) ROW(divss_m) ROW(cvtss2sd_m) ROW(cvtsd2ss_m)
		ROW(ucomisd_m) ROW(comisd_m) ROW(ucomiss_m) ROW(comiss_m) ROW(pxor_m) ROW(pand_m) ROW(por_m) ROW(andpd_m)
		ROW(xorps_m) ROW(xorpd_m) ROW(andps_m) ROW(pcmpeqb_m) ROW(pminub_m) ROW(paddq_m) ROW(paddd_m)
		ROW(addpd_m) ROW(mulpd_m) ROW(pshufb_m)
	};
#undef ROW

	// These are the same as others.
	if (fn == x86_simd_movq_m)
		fn = x86_simd_movsd_m;
	else if (fn == x86_simd_movlps_s)
		fn = x86_simd_movsd_s;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].from == fn)
			return rows[i].to[plain];
	return fn;
}
