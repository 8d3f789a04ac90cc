// SPDX-License-Identifier: Apache-2.0
// The local APIC (Intel SDM vol. 3, chapter 11): xAPIC registers and x2APIC MSRs, timer in all three modes, priorities.
#include "vmm/soft/lapic.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
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
enum {
	APIC_ENABLED = 1 << 11,
	APIC_X2 = 1 << 10,
	LVT_MASKED = 1 << 16,
	TIMER_PERIODIC = 1,
	TIMER_DEADLINE = 2
};

static void timer_set_locked(struct soft_lapic *l);

static void reset_locked(struct soft_lapic *l)
{
	l->ldr = l->esr = l->esr_written = l->icr_low = l->icr_high = l->divide = l->initial = 0;
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->tmr, 0, sizeof(l->tmr));
	l->tpr = 0;
	l->deadline = 0;
	l->dfr = 0xffffffff;
	l->svr = 0xff;
	for (unsigned i = 0; i < 7; i++)
		l->lvt[i] = LVT_MASKED;
	l->nmi = false;
	atomic_store(&l->pending, false);
}

void soft_lapic_reset(struct soft_lapic *l)
{
	pthread_mutex_lock(&l->lock);
	reset_locked(l);
	timer_set_locked(l);
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

	return v >= 0 && (v & 0xf0) > (ppr(l) & 0xf0) && (l->svr & 0x100) ? v : -1;
}

static void update_locked(struct soft_lapic *l)
{
	bool was = atomic_load(&l->pending), is = deliverable_locked(l) >= 0;

	atomic_store(&l->pending, is);
	if (is && !was)
		soft_vp_wake(l->vp);
}

void soft_lapic_raise(struct soft_lapic *l, uint8_t vector, bool level)
{
	pthread_mutex_lock(&l->lock);
	if (vector < 16) {
		l->esr_written |= 1 << 6; // received illegal vector
	} else if (l->svr & 0x100) {      // disabled by software, it takes none (SDM 11.4.7.2)
		l->irr[vector >> 5] |= 1u << (vector & 31);
		if (level)
			l->tmr[vector >> 5] |= 1u << (vector & 31);
		else
			l->tmr[vector >> 5] &= ~(1u << (vector & 31));
		update_locked(l);
	}
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

// ---- the timer
static unsigned timer_mode(const struct soft_lapic *l)
{
	return l->lvt[LVT_TIMER] >> 17 & 3;
}

static uint64_t timer_divisor(const struct soft_lapic *l)
{
	unsigned d = (l->divide & 3) | (l->divide >> 1 & 4);

	return d == 7 ? 1 : 2ull << d;
}

static uint64_t count_ns(const struct soft_lapic *l, uint64_t count)
{
	return (uint64_t)((unsigned __int128)count * timer_divisor(l) * 1000000000 / SOFT_APIC_HZ);
}

static void timer_arm(struct soft_lapic *l, int64_t at_ns, uint64_t interval_ns)
{
	struct itimerspec it = { 0 };

	if (at_ns > 0) {
		it.it_value.tv_sec = at_ns / 1000000000;
		it.it_value.tv_nsec = at_ns % 1000000000;
		it.it_interval.tv_sec = (time_t)(interval_ns / 1000000000);
		it.it_interval.tv_nsec = (long)(interval_ns % 1000000000);
	}
	(void)timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &it,
			      NULL); // fails only on a bad descriptor
}

static void timer_set_locked(struct soft_lapic *l)
{
	int64_t now = io_now_ns();

	if (timer_mode(l) == TIMER_DEADLINE) {
		uint64_t tsc = soft_vp_tsc(l->vp);

		if (!l->deadline) {
			timer_arm(l, 0, 0);
		} else {
			uint64_t left = l->deadline > tsc ? l->deadline - tsc : 0;
			uint64_t ns =
				(uint64_t)((unsigned __int128)left * 1000000000 / l->vp->p->tsc_hz);

			timer_arm(l, ns > (1ull << 62) ? INT64_MAX : now + (int64_t)ns + 1, 0);
		}
	} else if (!l->initial) {
		timer_arm(l, 0, 0);
	} else {
		uint64_t ns = count_ns(l, l->initial);

		l->timer_start_ns = now;
		if (timer_mode(l) == TIMER_PERIODIC && ns < 50000)
			ns = 50000; // a guest must not keep the thread busy for nothing
		timer_arm(l, now + (int64_t)ns + 1, timer_mode(l) == TIMER_PERIODIC ? ns : 0);
	}
}

void soft_lapic_timer(struct soft_lapic *l)
{
	uint64_t n;
	uint32_t lvt;

	if (read(l->timer_fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return; // set again since
	pthread_mutex_lock(&l->lock);
	if (timer_mode(l) == TIMER_DEADLINE)
		l->deadline = 0;
	lvt = l->lvt[LVT_TIMER];
	pthread_mutex_unlock(&l->lock);
	if (!(lvt & LVT_MASKED))
		soft_lapic_raise(l, (uint8_t)lvt, false);
}

void soft_lapic_deadline_write(struct soft_lapic *l, uint64_t tsc)
{
	pthread_mutex_lock(&l->lock);
	if (timer_mode(l) == TIMER_DEADLINE) {
		l->deadline = tsc;
		timer_set_locked(l);
	}
	pthread_mutex_unlock(&l->lock);
}

uint64_t soft_lapic_deadline(struct soft_lapic *l)
{
	uint64_t v;

	pthread_mutex_lock(&l->lock);
	v = l->deadline;
	pthread_mutex_unlock(&l->lock);
	return v;
}

static uint32_t timer_current(const struct soft_lapic *l)
{
	uint64_t total, gone;

	if (timer_mode(l) == TIMER_DEADLINE || !l->initial)
		return 0;
	total = count_ns(l, l->initial);
	gone = (uint64_t)(io_now_ns() - l->timer_start_ns);
	if (timer_mode(l) == TIMER_PERIODIC && total)
		gone %= total;
	if (gone >= total)
		return 0;
	return (uint32_t)((unsigned __int128)(total - gone) * SOFT_APIC_HZ / 1000000000 /
			  timer_divisor(l));
}

// ---- registers
static uint32_t ldr(const struct soft_lapic *l)
{
	return l->base & APIC_X2 ? (l->id >> 4) << 16 | 1u << (l->id & 15) : l->ldr;
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
			*v = timer_current(l);
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
				(void)soft_interrupt(p, type, i, false, (uint8_t)low,
						     false); // as above
		break;
	}
}

int soft_lapic_write(struct soft_lapic *l, unsigned reg, bool x2, uint64_t v)
{
	uint32_t w = (uint32_t)v, low, dest;
	int r = 0;

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
	if (reg >= REG_LVT && reg < REG_LVT + 6) {
		bool timer = reg == REG_LVT;
		unsigned was = timer_mode(l);

		l->lvt[reg - REG_LVT + 1] = w & 0x7f7ff;
		if (!(l->svr & 0x100))
			l->lvt[reg - REG_LVT + 1] |= LVT_MASKED;
		if (timer && was != timer_mode(l)) {
			l->initial = 0;
			l->deadline = 0;
			timer_set_locked(l);
		}
	} else {
		switch (reg) {
		case REG_ID:
			if (!x2)
				l->id = w >> 24;
			else
				r = 1;
			break;
		case REG_TPR:
			l->tpr = (uint8_t)w;
			atomic_store(&l->pending, false);
			update_locked(l);
			break;
		case REG_EOI:
			eoi_locked(l);
			break;
		case REG_LDR:
			l->ldr = w & 0xff000000;
			r = x2;
			break;
		case REG_DFR:
			l->dfr = w | 0x0fffffff;
			r = x2;
			break;
		case REG_SVR:
			l->svr = w & 0x1ff;
			atomic_store(&l->pending, false);
			update_locked(l);
			break;
		case REG_ESR:
			l->esr = l->esr_written;
			l->esr_written = 0;
			break;
		case REG_CMCI:
			l->lvt[LVT_CMCI] = w & 0x107ff;
			break;
		case REG_ICR2:
			l->icr_high = w;
			r = x2;
			break;
		case REG_INITIAL:
			if (timer_mode(l) != TIMER_DEADLINE) {
				l->initial = w;
				timer_set_locked(l);
			}
			break;
		case REG_DIVIDE:
			l->divide = w & 0xb;
			break;
		default:
			r = x2;
			break;
		}
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

int soft_lapic_base_write(struct soft_lapic *l, uint64_t v)
{
	uint64_t modes = APIC_ENABLED | APIC_X2;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	// x2APIC needs the APIC enabled, and is left only by disabling it (SDM 11.12.5).
	if ((v & modes) == APIC_X2 || ((l->base & APIC_X2) && (v & modes) == APIC_ENABLED) ||
	    (!(l->base & APIC_ENABLED) && (v & modes) == modes) ||
	    (v & ~(0xfffffffff000ull | modes | 1 << 8)))
		r = 1;
	else
		l->base = (v & ~(1ull << 8)) | (l->base & 1 << 8);
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
	s->counter_value = timer_current(l);
	s->divide_configuration = l->divide;
	pthread_mutex_unlock(&l->lock);
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
	timer_set_locked(l);
	atomic_store(&l->pending, false);
	update_locked(l);
	pthread_mutex_unlock(&l->lock);
}
