// SPDX-License-Identifier: Apache-2.0
// What CPUID says: an Intel x86-64-v2 processor without AVX, and the Hyper-V leaves (softcpu and TLFS).
#include "vmm/soft/soft.h"

#include <string.h>

static const struct leaf {
	uint32_t leaf, sub; // sub ~0: any
	uint32_t r[4];      // EAX EBX ECX EDX
} leaves[] = {
	{ 0x0, ~0u, { 0x16, 0x756e6547, 0x6c65746e, 0x49656e69 } }, // GenuineIntel
	// Family 6, model 26. FPU PSE TSC MSR PAE CX8 APIC SEP PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2; SSE3 SSSE3 CX16
	// SSE4.1 SSE4.2 x2APIC POPCNT MOVBE TSC-deadline RDRAND hypervisor
	{ 0x1, ~0u, { 0x000106a5, 0x00010800, 0xc1f82201, 0x078bab79 } },
	{ 0x2, ~0u, { 0x00000001, 0, 0, 0x00000000 } },
	{ 0x4, 0, { 0x00000121, 0x01c0003f, 63, 1 } },
	{ 0x4, 1, { 0x00000122, 0x01c0003f, 63, 1 } },
	{ 0x4, 2, { 0x00000143, 0x01c0003f, 511, 1 } },
	{ 0x6, ~0u, { 0x00000004, 0, 0, 0 } }, // ARAT
	// 7.0: FSGSBASE SMEP ERMS RDSEED SMAP; UMIP RDPID; FSRM ARCH_CAPABILITIES
	{ 0x7, 0, { 1, 0x00140281, 0x00400004, 0x20000010 } },
	{ 0x7, 1, { 0x00000c00, 0, 0, 0 } }, // fast zero-length MOVSB, short STOSB
	{ 0xb, 0, { 0, 1, 0x0100, 0 } },
	{ 0xb, 1, { 0, 1, 0x0201, 0 } },
	{ 0x80000000, ~0u, { 0x80000008, 0, 0, 0 } },
	{ 0x80000001, ~0u, { 0, 0, 0x00000001, 0x2c100800 } }, // LAHF; SYSCALL NX 1GB RDTSCP LM
	{ 0x80000002,
	  ~0u,
	  { 0x6b6c7542, 0x64616568, 0x666f7320, 0x72617774 } }, // "Bulkhead softwar"
	{ 0x80000003, ~0u, { 0x72702065, 0x7365636f, 0x00726f73, 0x00000000 } }, // "e processor"
	{ 0x80000004, ~0u, { 0, 0, 0, 0 } },
	{ 0x80000006, ~0u, { 0, 0, 0x02006040, 0 } },
	{ 0x80000007, ~0u, { 0, 0, 0, 0x00000100 } }, // invariant TSC
	{ 0x80000008, ~0u, { 0x0000302e, 0, 0, 0 } }, // 46 physical, 48 virtual bits
	{ 0x40000000, ~0u, { 0x40000006, 0x7263694d, 0x666f736f, 0x76482074 } }, // "Microsoft Hv"
	{ 0x40000001, ~0u, { 0x31237648, 0, 0, 0 } },                            // "Hv#1"
	{ 0x40000002, ~0u, { 0x00004a61, 0x000a0000, 0, 0 } },
	{ 0x40000003, ~0u, { 0, 0, 0, 0 } },          // by the partition's features
	{ 0x40000004, ~0u, { 0, 0xffffffff, 0, 0 } }, // no recommendation; never notify of spinning
	{ 0x40000005, ~0u, { SOFT_VPS, SOFT_VPS, 0, 0 } },
	{ 0x40000006, ~0u, { 0, 0, 0, 0 } },
};

// Features that a client may take away, as bits of the processor feature banks, and where CPUID has them.
static const struct feature {
	uint8_t bank_bit; // 64 and up: bank 1
	uint32_t leaf, sub;
	uint8_t reg, bit;
} features[] = {
	{ 0, 1, 0, 2, 0 },            // SSE3
	{ 1, 0x80000001, 0, 2, 0 },   // LAHF, SAHF
	{ 2, 1, 0, 2, 9 },            // SSSE3
	{ 3, 1, 0, 2, 19 },           // SSE4.1
	{ 4, 1, 0, 2, 20 },           // SSE4.2
	{ 7, 1, 0, 2, 23 },           // POPCNT
	{ 8, 1, 0, 2, 13 },           // CMPXCHG16B
	{ 15, 0x80000001, 0, 3, 26 }, // 1 GiB pages
	{ 21, 1, 0, 2, 30 },          // RDRAND
	{ 22, 7, 0, 1, 0 },           // FSGSBASE
	{ 23, 7, 0, 1, 7 },           // SMEP
	{ 24, 7, 0, 1, 9 },           // ERMS
	{ 29, 1, 0, 2, 22 },          // MOVBE
	{ 32, 7, 0, 1, 18 },          // RDSEED
	{ 35, 7, 0, 1, 20 },          // SMAP
	{ 38, 0x80000001, 0, 3, 27 }, // RDTSCP
	{ 49, 7, 0, 3, 4 },           // FSRM
	{ 57, 7, 0, 2, 22 },          // RDPID
	{ 58, 7, 0, 2, 2 },           // UMIP
	{ 65, 0x80000007, 0, 3, 8 },  // invariant TSC
	{ 81, 1, 0, 2, 24 },          // TSC deadline
	{ 83, 7, 1, 0, 10 },          // fast zero-length MOVSB
	{ 84, 7, 1, 0, 11 },          // fast short STOSB
};

static const struct leaf *leaf_find(uint32_t leaf, uint32_t sub)
{
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
		if (leaves[i].leaf == leaf && (leaves[i].sub == ~0u || leaves[i].sub == sub))
			return &leaves[i];
	return NULL;
}

uint64_t soft_cpu_features(const struct soft_partition *p, unsigned bank)
{
	uint64_t have = 0;

	for (unsigned i = 0; i < sizeof(features) / sizeof(*features); i++) {
		const struct feature *f = &features[i];
		const struct leaf *l = leaf_find(f->leaf, f->sub);

		if (f->bank_bit / 64u == bank && l && l->r[f->reg] >> f->bit & 1)
			have |= 1ull << f->bank_bit % 64u;
	}
	return p ? have & ~p->disabled[bank] : have;
}

static void take_away(const struct soft_partition *p, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	for (unsigned i = 0; i < sizeof(features) / sizeof(*features); i++) {
		const struct feature *f = &features[i];

		if (f->leaf == leaf && (leaf != 7 || f->sub == sub) &&
		    p->disabled[f->bank_bit / 64u] >> f->bank_bit % 64u & 1)
			out[f->reg] &= ~(1u << f->bit);
	}
}

// 40000003h: EAX and EBX are the privileges, EDX what there is besides.
static void privileges(const struct soft_partition *p, uint32_t out[4])
{
	static const struct {
		uint8_t feature, reg, bit;
	} bits[] = {
		{ HV_SYNTH_ACCESS_VP_RUN_TIME_REG, 0, 0 },
		{ HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER, 0, 1 },
		{ HV_SYNTH_ACCESS_SYNIC_REGS, 0, 2 },
		{ HV_SYNTH_ACCESS_SYNTHETIC_TIMER_REGS, 0, 3 },
		{ HV_SYNTH_ACCESS_INTR_CTRL_REGS, 0, 4 },
		{ HV_SYNTH_ACCESS_HYPERCALL_REGS, 0, 5 },
		{ HV_SYNTH_ACCESS_VP_INDEX, 0, 6 },
		{ HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC, 0, 9 },
		{ HV_SYNTH_ACCESS_FREQUENCY_REGS, 0, 11 },
		{ HV_SYNTH_HV1, 0, 15 }, // invariant TSC control
		{ HV_SYNTH_ACCESS_FREQUENCY_REGS, 3, 8 },
		{ HV_SYNTH_HYPERVISOR_PRESENT, 3, 10 }, // crash MSRs
		{ HV_SYNTH_DIRECT_SYNTHETIC_TIMERS, 3, 19 },
	};

	for (unsigned i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		if (p->synth_features >> bits[i].feature & 1)
			out[bits[i].reg] |= 1u << bits[i].bit;
}

bool soft_has_x2apic(const struct soft_partition *p)
{
	return p->flags >> MSHV_PT_BIT_X2APIC & 1;
}

static void apply_overrides(struct soft_vp *vp, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	const struct soft_partition *p = vp->p;

	for (unsigned i = 0; i < p->n_overrides; i++) {
		const struct soft_cpuid_override *o = &p->overrides[i];

		if (o->eax != leaf || (o->subleaf && o->ecx != sub) ||
		    (!o->any_vp && o->vp != vp->index))
			continue;
		for (unsigned j = 0; j < 4; j++)
			out[j] = (out[j] & ~o->mask[j]) | (o->value[j] & o->mask[j]);
	}
}

void soft_cpuid(struct soft_vp *vp, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	const struct leaf *l = leaf_find(leaf, sub);
	bool present = vp->p->synth_features >> HV_SYNTH_HYPERVISOR_PRESENT & 1;

	memset(out, 0, 16);
	// Xen and KVM look for themselves at 510 leaves: nothing there.
	if (leaf > 0x40000006 && leaf < 0x80000000)
		return;
	if (leaf >= 0x40000000 && leaf < 0x80000000 && !present)
		return;
	if (l)
		memcpy(out, l->r, 16);
	take_away(vp->p, leaf, sub, out);
	switch (leaf) {
	case 1:
		out[1] |= vp->index << 24;
		if (!present)
			out[2] &= ~(1u << 31);
		if (!soft_has_x2apic(vp->p))
			out[2] &= ~(1u << 21);
		if (!(vp->lapic.base >> 11 & 1))
			out[3] &= ~(1u << 9); // no APIC while it is switched off
		break;
	case 0xb:
		out[2] = (out[2] & ~0xffu) | (sub & 0xff);
		out[3] = vp->index;
		break;
	case 0x40000003:
		privileges(vp->p, out);
		break;
	case 0x15: // TSC = crystal * EBX / EAX
		out[0] = 1;
		out[1] = (uint32_t)(vp->p->tsc_hz / 1000000);
		out[2] = 1000000;
		break;
	case 0x16:
		out[0] = out[1] = (uint32_t)(vp->p->tsc_hz / 1000000);
		break;
	default:
		break;
	}
	apply_overrides(vp, leaf, sub, out);
}
