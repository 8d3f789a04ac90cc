// SPDX-License-Identifier: Apache-2.0
// The local APIC (Intel SDM vol. 3, chapter 11): xAPIC registers and x2APIC MSRs, destinations, priorities.
#include "vmm/soft/lapic.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/own.h"
#include "vmm/soft/soft.h"

enum {
	REG_ID = 2,
	REG_VERSION = 3,
	REG_TPR = 8,
	REG_PPR = 10,
	REG_EOI = 11,
	REG_LDR = 13,
	REG_DFR = 14,
	REG_SVR = 15,
	REG_ISR = 16,
	REG_TMR = 24,
	REG_IRR = 32,
	REG_ESR = 40,
	REG_CMCI = 47,
	REG_ICR = 48,
	REG_ICR2 = 49,
	REG_LVT = 50,
	REG_INITIAL = 56,
	REG_CURRENT = 57,
	REG_DIVIDE = 62,
	REG_SELF = 63
};
enum { APIC_ENABLED = 1 << 11, APIC_X2 = 1 << 10, SVR_ENABLED = 1 << 8 };

static void reset_locked(struct soft_lapic *l)
{
	l->ldr = l->esr = l->esr_written = l->icr_low = l->icr_high = l->divide = l->initial = 0;
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->tmr, 0, sizeof(l->tmr));
	l->tpr = 0;
	l->deadline = 0;
	l->due_ns = 0;
	l->dfr = 0xffffffff;
	l->svr = 0xff;
	for (unsigned i = 0; i < 7; i++)
		l->lvt[i] = LVT_MASKED;
	atomic_store(&l->nmis, 0);
	atomic_store(&l->pending, false);
}

void soft_lapic_reset(struct soft_lapic *l)
{
	pthread_mutex_lock(&l->lock);
	reset_locked(l);
	soft_lapic_timer_arm_locked(l);
	pthread_mutex_unlock(&l->lock);
}

int soft_lapic_init(struct soft_lapic *l, struct soft_vp *vp, uint32_t id)
{
	memset(l, 0, sizeof(*l));
	(void)pthread_mutex_init(&l->lock, NULL); // cannot fail with default attributes
	l->vp = vp;
	l->id = id;
	reset_locked(l);
	l->base = SOFT_APIC_GPA | APIC_ENABLED | (id == 0 ? 1 << 8 : 0);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return l->timer_fd < 0 ? -errno : 0;
}

void soft_lapic_done(struct soft_lapic *l)
{
	close_fd(l->timer_fd);
	(void)pthread_mutex_destroy(&l->lock); // nobody holds it
}

static int highest(const uint32_t bits[8])
{
	for (int i = 7; i >= 0; i--)
		if (bits[i])
			return i * 32 + 31 - __builtin_clz(bits[i]);
	return -1;
}

static uint8_t ppr(const struct soft_lapic *l)
{
	int isr = highest(l->isr);
	uint8_t servicing = isr < 0 ? 0 : (uint8_t)(isr & 0xf0);

	return (l->tpr & 0xf0) >= servicing ? l->tpr : servicing;
}

// The vector that may be taken now, or -1.
static int deliverable_locked(const struct soft_lapic *l)
{
	int v = highest(l->irr);

	return v >= 0 && (v & 0xf0) > (ppr(l) & 0xf0) && (l->svr & SVR_ENABLED) ? v : -1;
}

static void update_locked(struct soft_lapic *l)
{
	bool was = atomic_load(&l->pending), is = deliverable_locked(l) >= 0;

	atomic_store(&l->pending, is);
	if (is && !was)
		soft_vp_wake(l->vp);
}

void soft_lapic_raise_locked(struct soft_lapic *l, uint8_t vector, bool level)
{
	if (vector < 16) {
		l->esr_written |= 1 << 6;  // received illegal vector
	} else if (l->svr & SVR_ENABLED) { // disabled by software, it takes none (SDM 11.4.7.2)
		l->irr[vector >> 5] |= 1u << (vector & 31);
		if (level)
			l->tmr[vector >> 5] |= 1u << (vector & 31);
		else
			l->tmr[vector >> 5] &= ~(1u << (vector & 31));
		update_locked(l);
	}
}

void soft_lapic_raise(struct soft_lapic *l, uint8_t vector, bool level)
{
	pthread_mutex_lock(&l->lock);
	soft_lapic_raise_locked(l, vector, level);
	pthread_mutex_unlock(&l->lock);
}

void soft_lapic_auto_eoi(struct soft_lapic *l, const uint32_t vectors[8])
{
	pthread_mutex_lock(&l->lock);
	memcpy(l->auto_eoi, vectors, sizeof(l->auto_eoi));
	pthread_mutex_unlock(&l->lock);
}

bool soft_lapic_waiting(struct soft_lapic *l)
{
	return atomic_load(&l->pending);
}

int soft_lapic_take(struct soft_lapic *l)
{
	int v;

	if (!atomic_load(&l->pending))
		return -1;
	pthread_mutex_lock(&l->lock);
	v = deliverable_locked(l);
	if (v >= 0) {
		l->irr[v >> 5] &= ~(1u << (v & 31));
		if (!(l->auto_eoi[v >> 5] >> (v & 31) & 1)) // such a one is never in service
			l->isr[v >> 5] |= 1u << (v & 31);
	}
	atomic_store(&l->pending, false);
	update_locked(l);
	pthread_mutex_unlock(&l->lock);
	return v;
}

static void eoi_locked(struct soft_lapic *l)
{
	int v = highest(l->isr);

	if (v < 0)
		return;
	l->isr[v >> 5] &= ~(1u << (v & 31));
	if (l->tmr[v >> 5] >> (v & 31) & 1) {
		atomic_fetch_or(&l->vp->eoi[v >> 5], 1u << (v & 31));
		soft_vp_wake(l->vp);
	}
	atomic_store(&l->pending, false);
	update_locked(l);
}

// ---- registers
static uint32_t ldr(const struct soft_lapic *l)
{
	return l->base & APIC_X2 ? (l->id >> 4) << 16 | 1u << (l->id & 15) : l->ldr;
}

// SDM 11.6.2.2: flat, or clusters of four with their number in the upper half.
static bool logical_match(const struct soft_lapic *l, uint32_t dest)
{
	uint32_t own = ldr(l);

	if (l->base & APIC_X2)
		return dest == 0xffffffff ||
		       (dest >> 16 == own >> 16 && (dest & own & 0xffff) != 0);
	own >>= 24;
	if (l->dfr >> 28 == 0xf || dest == 0xff)
		return (own & dest & 0xff) != 0;
	return (dest >> 4 == 0xf || dest >> 4 == own >> 4) && (own & dest & 0xf);
}

bool soft_lapic_match(struct soft_lapic *l, uint32_t dest, bool logical)
{
	bool hit;

	pthread_mutex_lock(&l->lock);
	hit = logical ? logical_match(l, dest)
		      : dest == l->id || dest == 0xff || dest == 0xffffffff;
	pthread_mutex_unlock(&l->lock);
	return hit;
}

int soft_lapic_read(struct soft_lapic *l, unsigned reg, bool x2, uint64_t *v)
{
	int r = 0;

	pthread_mutex_lock(&l->lock);
	*v = 0;
	if (reg >= REG_ISR && reg < REG_ISR + 8)
		*v = l->isr[reg - REG_ISR];
	else if (reg >= REG_TMR && reg < REG_TMR + 8)
		*v = l->tmr[reg - REG_TMR];
	else if (reg >= REG_IRR && reg < REG_IRR + 8)
		*v = l->irr[reg - REG_IRR];
	else if (reg >= REG_LVT && reg < REG_LVT + 6)
		*v = l->lvt[reg - REG_LVT + 1];
	else
		switch (reg) {
		case REG_ID:
			*v = x2 ? l->id : l->id << 24;
			break;
		case REG_VERSION:
			*v = 0x00050014;
			break;
		case REG_TPR:
			*v = l->tpr;
			break;
		case REG_PPR:
			*v = ppr(l);
			break;
		case REG_LDR:
			*v = ldr(l);
			break;
		case REG_DFR:
			*v = l->dfr;
			r = x2;
			break;
		case REG_SVR:
			*v = l->svr;
			break;
		case REG_ESR:
			*v = l->esr;
			break;
		case REG_CMCI:
			*v = l->lvt[LVT_CMCI];
			break;
		case REG_ICR:
			*v = l->icr_low | (x2 ? (uint64_t)l->icr_high << 32 : 0);
			break;
		case REG_ICR2:
			*v = l->icr_high;
			r = x2;
			break;
		case REG_INITIAL:
			*v = l->initial;
			break;
		case REG_CURRENT:
			*v = soft_lapic_timer_count_locked(l);
			break;
		case REG_DIVIDE:
			*v = l->divide;
			break;
		default:
			r = x2;
			break;
		}
	pthread_mutex_unlock(&l->lock);
	return r;
}

static void icr_send(struct soft_lapic *l, uint32_t low, uint32_t dest)
{
	unsigned shorthand = low >> 18 & 3, type = low >> 8 & 7;
	struct soft_partition *p = l->vp->p;

	if (type == HV_X64_INTERRUPT_TYPE_INIT && !(low >> 14 & 1))
		return; // INIT level de-assert
	switch (shorthand) {
	case 0:
		(void)soft_interrupt(p, type, dest, low >> 11 & 1, (uint8_t)low, false);
		break; // nobody there is no error
	case 1:
		soft_lapic_raise(l, (uint8_t)low, false);
		break;
	default:
		for (unsigned i = 0; i < SOFT_VPS; i++)
			if (p->vps[i] && (shorthand == 2 || p->vps[i] != l->vp))
				soft_vp_interrupt(p->vps[i], type, (uint8_t)low, false);
		break;
	}
}

static void lvt_write_locked(struct soft_lapic *l, unsigned i, uint32_t v)
{
	v &= i == LVT_CMCI ? 0x107ff : 0x7f7ff;
	if (!(l->svr & SVR_ENABLED))
		v |= LVT_MASKED;
	if (i == LVT_TIMER)
		soft_lapic_timer_lvt_locked(l, v);
	else
		l->lvt[i] = v;
}

static void svr_write_locked(struct soft_lapic *l, uint32_t v)
{
	l->svr = v & 0x1ff;
	for (unsigned i = 0; !(v & SVR_ENABLED) && i < 7; i++)
		l->lvt[i] |= LVT_MASKED;
	atomic_store(&l->pending, false);
	update_locked(l);
}

// Those that an xAPIC has and an x2APIC has not.
static bool xapic_only(unsigned reg)
{
	return reg == REG_ID || reg == REG_LDR || reg == REG_DFR || reg == REG_ICR2;
}

static int write_locked(struct soft_lapic *l, unsigned reg, bool x2, uint32_t w)
{
	if (x2 && (xapic_only(reg) || ((reg == REG_EOI || reg == REG_ESR) && w)))
		return 1;
	if (reg >= REG_LVT && reg < REG_LVT + 6) {
		lvt_write_locked(l, reg - REG_LVT + 1, w);
		return 0;
	}
	switch (reg) {
	case REG_ID:
		l->id = w >> 24;
		return 0;
	case REG_TPR:
		l->tpr = (uint8_t)w;
		atomic_store(&l->pending, false);
		update_locked(l);
		return 0;
	case REG_EOI:
		eoi_locked(l);
		return 0;
	case REG_LDR:
		l->ldr = w & 0xff000000;
		return 0;
	case REG_DFR:
		l->dfr = w | 0x0fffffff;
		return 0;
	case REG_SVR:
		svr_write_locked(l, w);
		return 0;
	case REG_ESR:
		l->esr = l->esr_written;
		l->esr_written = 0;
		return 0;
	case REG_CMCI:
		lvt_write_locked(l, LVT_CMCI, w);
		return 0;
	case REG_ICR2:
		l->icr_high = w;
		return 0;
	case REG_INITIAL:
		soft_lapic_timer_initial_locked(l, w);
		return 0;
	case REG_DIVIDE:
		soft_lapic_timer_divide_locked(l, w);
		return 0;
	default:
		return x2;
	}
}

int soft_lapic_write(struct soft_lapic *l, unsigned reg, bool x2, uint64_t v)
{
	uint32_t w = (uint32_t)v, low, dest;
	int r;

	if (reg == REG_ICR) {
		pthread_mutex_lock(&l->lock);
		l->icr_low = low = w & ~(1u << 12);
		if (x2)
			l->icr_high = (uint32_t)(v >> 32);
		dest = x2 ? l->icr_high : l->icr_high >> 24;
		pthread_mutex_unlock(&l->lock);
		icr_send(l, low, dest); // takes other APICs' locks
		return 0;
	}
	if (reg == REG_SELF) {
		if (x2)
			soft_lapic_raise(l, (uint8_t)w, false);
		return 0;
	}
	pthread_mutex_lock(&l->lock);
	r = write_locked(l, reg, x2, w);
	pthread_mutex_unlock(&l->lock);
	return r;
}

int soft_lapic_base_write(struct soft_lapic *l, uint64_t v)
{
	const uint64_t modes = APIC_ENABLED | APIC_X2, bsp = 1 << 8;
	const uint64_t address = (1ull << SOFT_PHYS_BITS) - 4096;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	// x2APIC needs the APIC enabled, and is left only by disabling it (SDM 11.12.5).
	if ((v & modes) == APIC_X2 || ((l->base & APIC_X2) && (v & modes) == APIC_ENABLED) ||
	    (!(l->base & APIC_ENABLED) && (v & modes) == modes) || (v & ~(address | modes | bsp)) ||
	    ((v & APIC_X2) && !soft_has_x2apic(l->vp->p))) {
		r = 1;
	} else {
		if ((l->base & APIC_ENABLED) && !(v & APIC_ENABLED)) {
			reset_locked(l); // it forgets (SDM 11.4.3)
			soft_lapic_timer_arm_locked(l);
		}
		if ((l->base ^ v) & modes) // changing modes ends a number the guest has given it
			l->id = l->vp->index;
		l->base = (v & ~bsp) | (l->base & bsp);
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

uint64_t soft_lapic_tpr(struct soft_lapic *l)
{
	return l->tpr >> 4;
}

void soft_lapic_set_tpr(struct soft_lapic *l, uint64_t v)
{
	(void)soft_lapic_write(l, REG_TPR, false, v << 4); // TPR cannot fail
}

void soft_lapic_get(struct soft_lapic *l, struct hv_local_interrupt_controller_state *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&l->lock);
	s->apic_id = l->id;
	s->version = 0x00050014;
	s->ldr = ldr(l);
	s->dfr = l->dfr;
	s->spurious = l->svr;
	memcpy(s->isr, l->isr, sizeof(s->isr));
	memcpy(s->tmr, l->tmr, sizeof(s->tmr));
	memcpy(s->irr, l->irr, sizeof(s->irr));
	s->esr = l->esr;
	s->icr_high = l->icr_high;
	s->icr_low = l->icr_low;
	s->lvt_timer = l->lvt[LVT_TIMER];
	s->lvt_thermal = l->lvt[LVT_THERMAL];
	s->lvt_perfmon = l->lvt[LVT_PERF];
	s->lvt_lint0 = l->lvt[LVT_LINT0];
	s->lvt_lint1 = l->lvt[LVT_LINT1];
	s->lvt_error = l->lvt[LVT_ERROR];
	s->lvt_cmci = l->lvt[LVT_CMCI];
	s->initial_count = l->initial;
	s->counter_value = soft_lapic_timer_count_locked(l);
	s->divide_configuration = l->divide;
	pthread_mutex_unlock(&l->lock);
}

// A one-shot timer that has ended stays so; another goes on from its count.
static uint32_t timer_left(const struct hv_local_interrupt_controller_state *s)
{
	bool periodic = s->lvt_timer >> 17 & 1;

	return s->counter_value && s->counter_value < s->initial_count ? s->counter_value
	       : s->counter_value || periodic                          ? s->initial_count
								       : 0;
}

void soft_lapic_set(struct soft_lapic *l, const struct hv_local_interrupt_controller_state *s)
{
	pthread_mutex_lock(&l->lock);
	l->ldr = s->ldr;
	l->dfr = s->dfr;
	l->svr = s->spurious & 0x1ff;
	memcpy(l->isr, s->isr, sizeof(s->isr));
	memcpy(l->tmr, s->tmr, sizeof(s->tmr));
	memcpy(l->irr, s->irr, sizeof(s->irr));
	l->esr = s->esr;
	l->icr_high = s->icr_high;
	l->icr_low = s->icr_low;
	l->lvt[LVT_TIMER] = s->lvt_timer;
	l->lvt[LVT_THERMAL] = s->lvt_thermal;
	l->lvt[LVT_PERF] = s->lvt_perfmon;
	l->lvt[LVT_LINT0] = s->lvt_lint0;
	l->lvt[LVT_LINT1] = s->lvt_lint1;
	l->lvt[LVT_ERROR] = s->lvt_error;
	l->lvt[LVT_CMCI] = s->lvt_cmci;
	l->initial = s->initial_count;
	l->divide = s->divide_configuration & 0xb;
	soft_lapic_timer_start_locked(l, timer_left(s));
	atomic_store(&l->pending, false);
	update_locked(l);
	pthread_mutex_unlock(&l->lock);
}
