// SPDX-License-Identifier: Apache-2.0
// The local APIC's timer (Intel SDM vol. 3, 11.5.4): one-shot and periodic by a count, or once at a TSC value.
#include "vmm/soft/lapic.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "vmm/soft/soft.h"

enum { TIMER_PERIODIC = 1, TIMER_DEADLINE = 2 };

// A guest must not keep the partition's thread busy for nothing.
enum { PERIOD_MIN_NS = 50000 };

static unsigned mode_of(uint32_t lvt)
{
	return lvt >> 17 & 3;
}

static unsigned mode(const struct soft_lapic *l)
{
	return mode_of(l->lvt[LVT_TIMER]);
}

static uint64_t divisor(const struct soft_lapic *l)
{
	unsigned d = (l->divide & 3) | (l->divide >> 1 & 4);

	return d == 7 ? 1 : 2ull << d;
}

// Not 0, whatever the count.
static int64_t count_ns(const struct soft_lapic *l, uint64_t count)
{
	return (int64_t)((unsigned __int128)count * divisor(l) * 1000000000 / SOFT_APIC_HZ) + 1;
}

static void arm(struct soft_lapic *l, int64_t at_ns, int64_t interval_ns)
{
	struct itimerspec it = { 0 };

	if (at_ns > 0) {
		it.it_value.tv_sec = at_ns / 1000000000;
		it.it_value.tv_nsec = at_ns % 1000000000;
		it.it_interval.tv_sec = interval_ns / 1000000000;
		it.it_interval.tv_nsec = interval_ns % 1000000000;
	}
	(void)timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &it,
			      NULL); // fails only on a bad descriptor
}

static void fire_locked(struct soft_lapic *l)
{
	if (!(l->lvt[LVT_TIMER] & LVT_MASKED))
		soft_lapic_raise_locked(l, (uint8_t)l->lvt[LVT_TIMER], false);
}

static void arm_deadline_locked(struct soft_lapic *l)
{
	uint64_t tsc = soft_vp_tsc(l->vp), left, ns;

	if (!l->deadline) {
		arm(l, 0, 0);
	} else if (l->deadline <= tsc) { // of the past: seen by the guest's next instruction
		l->deadline = 0;
		arm(l, 0, 0);
		fire_locked(l);
	} else {
		left = l->deadline - tsc;
		ns = left > UINT64_MAX / 1000000000
			     ? 1ull << 62
			     : (uint64_t)((unsigned __int128)left * 1000000000 / l->vp->p->tsc_hz);
		arm(l, ns >= 1ull << 62 ? INT64_MAX : io_now_ns() + (int64_t)ns + 1, 0);
	}
}

void soft_lapic_timer_arm_locked(struct soft_lapic *l)
{
	int64_t period;

	if (mode(l) == TIMER_DEADLINE) {
		arm_deadline_locked(l);
		return;
	}
	period = count_ns(l, l->initial);
	if (period < PERIOD_MIN_NS)
		period = PERIOD_MIN_NS;
	arm(l, l->due_ns, mode(l) == TIMER_PERIODIC ? period : 0);
}

uint32_t soft_lapic_timer_count_locked(const struct soft_lapic *l)
{
	int64_t left, period = count_ns(l, l->initial);
	uint64_t count;

	if (mode(l) == TIMER_DEADLINE || !l->due_ns)
		return 0;
	left = l->due_ns - io_now_ns();
	if (left <= 0 && mode(l) != TIMER_PERIODIC)
		return 0;
	if (left <= 0)
		left = period - (-left % period);
	count = (uint64_t)((unsigned __int128)left * SOFT_APIC_HZ / 1000000000 / divisor(l));
	return count < l->initial ? (uint32_t)count : l->initial;
}

void soft_lapic_timer_start_locked(struct soft_lapic *l, uint32_t count)
{
	l->due_ns = count ? io_now_ns() + count_ns(l, count) : 0;
	soft_lapic_timer_arm_locked(l);
}

void soft_lapic_timer_initial_locked(struct soft_lapic *l, uint32_t v)
{
	if (mode(l) == TIMER_DEADLINE)
		return;
	l->initial = v;
	soft_lapic_timer_start_locked(l, v);
}

void soft_lapic_timer_divide_locked(struct soft_lapic *l, uint32_t v)
{
	uint32_t count = soft_lapic_timer_count_locked(l);

	l->divide = v & 0xb;
	if (mode(l) != TIMER_DEADLINE)
		soft_lapic_timer_start_locked(l, count); // goes on from here
}

// Between one-shot and periodic the count goes on; to and from the deadline the timer is disarmed.
void soft_lapic_timer_lvt_locked(struct soft_lapic *l, uint32_t v)
{
	unsigned was = mode(l), is = mode_of(v);
	uint32_t count = soft_lapic_timer_count_locked(l);

	l->lvt[LVT_TIMER] = v;
	if (was == is)
		return;
	if (was == TIMER_DEADLINE || is == TIMER_DEADLINE) {
		l->initial = count = 0;
		l->deadline = 0;
	}
	soft_lapic_timer_start_locked(l, count);
}

void soft_lapic_timer(struct soft_lapic *l)
{
	int64_t now, period;
	uint64_t n;

	pthread_mutex_lock(&l->lock);
	if (read(l->timer_fd, &n, sizeof(n)) != (ssize_t)sizeof(n)) {
		pthread_mutex_unlock(&l->lock); // set again since
		return;
	}
	if (mode(l) == TIMER_DEADLINE) {
		l->deadline = 0;
	} else if (mode(l) == TIMER_PERIODIC) {
		now = io_now_ns();
		period = count_ns(l, l->initial);
		l->due_ns += ((now - l->due_ns) / period + 1) * period; // missed ones are one
	} else {
		l->due_ns = 0;
	}
	fire_locked(l);
	pthread_mutex_unlock(&l->lock);
}

void soft_lapic_deadline_write(struct soft_lapic *l, uint64_t tsc)
{
	pthread_mutex_lock(&l->lock);
	if (mode(l) == TIMER_DEADLINE) {
		l->deadline = tsc;
		soft_lapic_timer_arm_locked(l);
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
