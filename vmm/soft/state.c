// SPDX-License-Identifier: Apache-2.0
// MSHV_GET_VP_STATE and SET: all five kinds.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <string.h>

#include "vmm/soft/user.h"

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

static long state_get(struct soft_vp *vp, unsigned type, void *page)
{
	memset(page, 0, 4096);
	switch (type) {
	case MSHV_VP_STATE_LAPIC:
		soft_lapic_get(&vp->lapic, page);
		return 0;
	case MSHV_VP_STATE_XSAVE:
		xsave_get(vp, page);
		return 0;
	case MSHV_VP_STATE_SIMP:
	case MSHV_VP_STATE_SIEFP:
		soft_synic_page_copy(&vp->synic, type == MSHV_VP_STATE_SIEFP, page, false);
		return 0;
	default:
		soft_synic_timers_get(&vp->synic, page);
		return 0;
	}
}

static long state_set(struct soft_vp *vp, unsigned type, void *page)
{
	switch (type) {
	case MSHV_VP_STATE_LAPIC:
		soft_lapic_set(&vp->lapic, page);
		return 0;
	case MSHV_VP_STATE_XSAVE:
		return xsave_set(vp, page);
	case MSHV_VP_STATE_SIMP:
	case MSHV_VP_STATE_SIEFP:
		soft_synic_page_copy(&vp->synic, type == MSHV_VP_STATE_SIEFP, page, true);
		return 0;
	default:
		soft_synic_timers_set(&vp->synic, page);
		return 0;
	}
}

long soft_vp_state(struct soft_vp *vp, uint64_t arg, bool set)
{
	uint8_t page[4096] __attribute__((aligned(16)));
	struct mshv_get_set_vp_state a;
	uint32_t need;
	long r;

	if (soft_copy_in(&a, arg, sizeof(a)) < 0)
		return -EFAULT;
	if (a.type >= MSHV_VP_STATE_COUNT || a.rsvd[0] || a.rsvd[1] || a.rsvd[2] || !a.buf_sz ||
	    (a.buf_sz & 4095) || !a.buf_ptr || (a.buf_ptr & 4095))
		return -EINVAL;
	// A page each but for the timers, so that no buffer that gets here is too small.
	need = a.type == MSHV_VP_STATE_SYNTHETIC_TIMERS
		       ? (uint32_t)sizeof(struct hv_synthetic_timers_state)
		       : 4096;
	r = soft_copy_out(arg + offsetof(struct mshv_get_set_vp_state, buf_sz), &need,
			  sizeof(need));
	if (r == 0 && set)
		r = soft_copy_in(page, a.buf_ptr, need);
	if (r < 0)
		return r;
	soft_vp_enter(vp);
	r = set ? state_set(vp, a.type, page) : state_get(vp, a.type, page);
	soft_vp_leave(vp);
	return r == 0 && !set ? soft_copy_out(a.buf_ptr, page, need) : r;
}
