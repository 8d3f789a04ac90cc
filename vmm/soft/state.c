// SPDX-License-Identifier: Apache-2.0
// MSHV_GET_VP_STATE and SET: the local APIC's page and the XSAVE area.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <string.h>

enum {
	XSAVE_FCW = 0,
	XSAVE_MXCSR = 24,
	XSAVE_XMM = 160,
	XSAVE_XMM_BYTES = 256,
	XSAVE_HEADER = 512,
	XSAVE_X87 = 1,
	XSAVE_SSE = 2,
};
#define XSAVE_COMPACTED (1ull << 63)

struct xsave_header {
	uint64_t xstate_bv, xcomp_bv;
	uint8_t zero[48];
};

static void xsave_get(struct soft_vp *vp, uint8_t *page)
{
	const struct xsave_header h = { XSAVE_X87 | XSAVE_SSE,
					XSAVE_COMPACTED | XSAVE_X87 | XSAVE_SSE,
					{ 0 } };
	struct x86_state s;

	x86_get_state(vp->cpu, &s);
	memset(page, 0, 4096);
	memcpy(page, s.fxsave, sizeof(s.fxsave));
	memcpy(page + XSAVE_HEADER, &h, sizeof(h));
}

// As XRSTOR: a component without its bit goes to its initial state.
static long xsave_set(struct soft_vp *vp, const uint8_t *page)
{
	static const uint8_t zero[48];
	struct xsave_header h;
	struct x86_state s;
	uint32_t mxcsr = 0x1f80;
	uint16_t fcw = 0x37f;

	memcpy(&h, page + XSAVE_HEADER, sizeof(h));
	if ((h.xstate_bv | (h.xcomp_bv & ~XSAVE_COMPACTED)) & ~3ull ||
	    memcmp(h.zero, zero, sizeof(zero)))
		return -EINVAL;
	x86_get_state(vp->cpu, &s);
	memset(s.fxsave, 0, XSAVE_XMM + XSAVE_XMM_BYTES);
	if (h.xstate_bv & XSAVE_X87)
		memcpy(s.fxsave, page, XSAVE_XMM);
	else
		memcpy(s.fxsave + XSAVE_FCW, &fcw, sizeof(fcw));
	if (h.xstate_bv & XSAVE_SSE) {
		memcpy(s.fxsave + XSAVE_XMM, page + XSAVE_XMM, XSAVE_XMM_BYTES);
		memcpy(&mxcsr, page + XSAVE_MXCSR, sizeof(mxcsr));
		if (mxcsr >> 16)
			return -EINVAL;
	}
	memcpy(s.fxsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	x86_set_state(vp->cpu, &s);
	return 0;
}

long soft_vp_state(struct soft_vp *vp, struct mshv_get_set_vp_state *s, bool set)
{
	uint32_t have = s->buf_sz;
	void *page = (void *)(uintptr_t)s->buf_ptr;

	if (s->type >= MSHV_VP_STATE_COUNT || !have || (have & 4095) || !page ||
	    (s->buf_ptr & 4095) || s->rsvd[0] || s->rsvd[1] || s->rsvd[2])
		return -EINVAL;
	switch (s->type) {
	case MSHV_VP_STATE_LAPIC:
		s->buf_sz = 4096;
		if (set)
			soft_lapic_set(&vp->lapic, page);
		else
			soft_lapic_get(&vp->lapic, page);
		return 0;
	case MSHV_VP_STATE_XSAVE:
		s->buf_sz = 4096;
		if (set)
			return xsave_set(vp, page);
		xsave_get(vp, page);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}
