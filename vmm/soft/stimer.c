// SPDX-License-Identifier: Apache-2.0
// Synthetic timers: in units of the partition's reference time, told by a message or, in direct mode, by a vector.
#include "vmm/soft/synic.h"

#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/io.h"
#include "vmm/soft/soft.h"

// A guest must not keep the partition's thread busy for nothing: 50 us.
enum { PERIOD_MIN = 500 };

static bool direct_allowed(const struct soft_synic *s)
{
	return s->vp->p->synth_features >> HV_SYNTH_DIRECT_SYNTHETIC_TIMERS & 1;
}

static unsigned sint_of(const struct soft_stimer *t)
{
	return t->config >> 16 & 15;
}

// One descriptor for the four: set to the first that is due.
void soft_stimer_arm_locked(struct soft_synic *s)
{
	struct itimerspec it = { 0 };
	uint64_t first = 0;

	for (unsigned i = 0; i < HV_SYNIC_STIMERS; i++)
		if (s->timer[i].expiry && (!first || s->timer[i].expiry < first))
			first = s->timer[i].expiry;
	if (first && !s->vp->p->frozen) {
		uint64_t now = soft_reference_time(s->vp->p), left = first > now ? first - now : 0;
		uint64_t at =
			(uint64_t)io_now_ns() + (left < 1ull << 55 ? left * 100 : 1ull << 62) + 1;

		it.it_value.tv_sec = (time_t)(at / 1000000000);
		it.it_value.tv_nsec = (long)(at % 1000000000);
	}
	(void)timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &it,
			      NULL); // fails only on a bad descriptor
}

static void start_locked(struct soft_synic *s, struct soft_stimer *t)
{
	if (!(t->config & HV_STIMER_ENABLE) || !t->count) {
		t->expiry = 0;
	} else if (t->config & HV_STIMER_PERIODIC) {
		t->expiry = soft_reference_time(s->vp->p) + t->count;
		if (t->expiry < t->count)
			t->expiry = UINT64_MAX;
	} else {
		t->expiry = t->count; // of the past: at once
	}
	soft_stimer_arm_locked(s);
}

int soft_stimer_config_locked(struct soft_synic *s, unsigned i, uint64_t v)
{
	struct soft_stimer *t = &s->timer[i];

	if ((v & HV_STIMER_DIRECT) && !direct_allowed(s))
		return 1;
	if (v & HV_STIMER_DIRECT ? (v >> 4 & 0xff) < HV_SYNIC_FIRST_VALID_VECTOR
				 : (v >> 16 & 15) == 0)
		v &= ~HV_STIMER_ENABLE; // nobody to tell
	t->config = v;
	t->undelivered = false;
	start_locked(s, t);
	return 0;
}

void soft_stimer_count_locked(struct soft_synic *s, unsigned i, uint64_t v)
{
	struct soft_stimer *t = &s->timer[i];

	t->count = v;
	if (!v)
		t->config &= ~HV_STIMER_ENABLE;
	else if (t->config & HV_STIMER_AUTO_ENABLE)
		t->config |= HV_STIMER_ENABLE;
	start_locked(s, t);
}

static void tell_locked(struct soft_synic *s, unsigned i, uint64_t expired)
{
	struct soft_stimer *t = &s->timer[i];
	struct hv_message m = {
		.header = { .message_type = HVMSG_TIMER_EXPIRED,
			    .payload_size = sizeof(m.u.timer) },
		.u.timer = { .timer_index = i,
			     .expiration_time = expired,
			     .delivery_time = soft_reference_time(s->vp->p) },
	};

	if (t->config & HV_STIMER_DIRECT) {
		soft_lapic_raise(&s->vp->lapic, (uint8_t)(t->config >> 4), false);
		return;
	}
	t->undelivered = !soft_synic_put_locked(s, sint_of(t), &m);
	t->undelivered_exp = expired;
}

void soft_stimer_retry_locked(struct soft_synic *s, unsigned sint)
{
	for (unsigned i = 0; i < HV_SYNIC_STIMERS; i++)
		if (s->timer[i].undelivered && sint_of(&s->timer[i]) == sint)
			tell_locked(s, i, s->timer[i].undelivered_exp);
}

void soft_stimer_fire(struct soft_synic *s)
{
	uint64_t n, now;

	if (read(s->timer_fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return; // set again since
	pthread_mutex_lock(&s->lock);
	now = soft_reference_time(s->vp->p);
	for (unsigned i = 0; i < HV_SYNIC_STIMERS; i++) {
		struct soft_stimer *t = &s->timer[i];
		uint64_t expired = t->expiry;

		if (!expired || expired > now)
			continue;
		if (t->config & HV_STIMER_PERIODIC) {
			uint64_t period = t->count > PERIOD_MIN ? t->count : PERIOD_MIN;

			t->expiry +=
				(now - expired) / period * period + period; // missed ones are one
		} else {
			t->expiry = 0;
			t->config &= ~HV_STIMER_ENABLE;
		}
		tell_locked(s, i, expired);
	}
	soft_stimer_arm_locked(s);
	pthread_mutex_unlock(&s->lock);
}

void soft_stimer_clock(struct soft_synic *s)
{
	pthread_mutex_lock(&s->lock);
	soft_stimer_arm_locked(s);
	pthread_mutex_unlock(&s->lock);
}

// ---- VP state
void soft_synic_timers_get(struct soft_synic *s, struct hv_synthetic_timers_state *t)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < HV_SYNIC_STIMERS; i++) {
		const struct soft_stimer *from = &s->timer[i];
		bool runs = from->expiry && (from->config & HV_STIMER_PERIODIC);

		t->timers[i] = (struct hv_stimer_state){
			.flags = from->undelivered,
			.config = from->config,
			.count = from->count,
			// When a periodic timer is next due.
			.adjustment = runs ? from->expiry : 0,
			.undelivered_exp_time = from->undelivered ? from->undelivered_exp : 0,
		};
	}
	pthread_mutex_unlock(&s->lock);
}

void soft_synic_timers_set(struct soft_synic *s, const struct hv_synthetic_timers_state *t)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < HV_SYNIC_STIMERS; i++) {
		const struct hv_stimer_state *from = &t->timers[i];
		struct soft_stimer *to = &s->timer[i];

		*to = (struct soft_stimer){
			.config = from->config,
			.count = from->count,
			.undelivered = from->flags & 1,
			.undelivered_exp = from->undelivered_exp_time,
		};
		start_locked(s, to);
		if (to->expiry && (to->config & HV_STIMER_PERIODIC) && from->adjustment)
			to->expiry = from->adjustment;
	}
	soft_stimer_arm_locked(s);
	pthread_mutex_unlock(&s->lock);
}
