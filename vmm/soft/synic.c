// SPDX-License-Identifier: Apache-2.0
#include "vmm/soft/synic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/own.h"
#include "vmm/soft/soft.h"

enum {
	MSR_SCONTROL = 0x40000080,
	MSR_SVERSION,
	MSR_SIEFP,
	MSR_SIMP,
	MSR_EOM,
	MSR_SINT0 = 0x40000090,
	MSR_STIMER0 = 0x400000b0
};

int soft_synic_init(struct soft_synic *s, struct soft_vp *vp)
{
	(void)pthread_mutex_init(&s->lock, NULL); // cannot fail with default attributes
	s->vp = vp;
	for (unsigned i = 0; i < HV_SYNIC_SINTS; i++)
		s->sint[i] = HV_SINT_MASKED;
	s->messages = aligned_alloc(4096, sizeof(*s->messages));
	s->events = aligned_alloc(4096, sizeof(*s->events));
	s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (!s->messages || !s->events)
		return -ENOMEM; // soft_synic_done frees
	memset(s->messages, 0, sizeof(*s->messages));
	memset(s->events, 0, sizeof(*s->events));
	return s->timer_fd < 0 ? -errno : 0;
}

void soft_synic_done(struct soft_synic *s)
{
	if (!s->vp)
		return; // never begun
	free(s->messages);
	free(s->events);
	close_fd(s->timer_fd);
	(void)pthread_mutex_destroy(&s->lock); // nobody holds it
}

static void raise_locked(struct soft_synic *s, unsigned sint)
{
	if (!(s->sint[sint] & (HV_SINT_MASKED | HV_SINT_POLLING)))
		soft_lapic_raise(&s->vp->lapic, (uint8_t)s->sint[sint], false);
}

// The guest frees a slot by clearing its type, with a plain store at any time.
static bool slot_free_locked(const struct soft_synic *s, unsigned sint)
{
	return !__atomic_load_n(&s->messages->sint[sint].header.message_type, __ATOMIC_ACQUIRE);
}

bool soft_synic_put_locked(struct soft_synic *s, unsigned sint, const struct hv_message *m)
{
	struct hv_message *slot = &s->messages->sint[sint];

	if (!(s->scontrol & 1) || !(s->simp & 1))
		return false;
	if (!slot_free_locked(s, sint)) {
		// Seen by the guest when it has freed the slot: it then writes EOM. It may have done so just now.
		__atomic_fetch_or(&slot->header.message_flags, HV_MESSAGE_FLAG_PENDING,
				  __ATOMIC_SEQ_CST);
		if (!slot_free_locked(s, sint))
			return false;
	}
	memcpy((uint8_t *)slot + 4, (const uint8_t *)m + 4, sizeof(*m) - 4);
	slot->header.message_flags = 0;
	__atomic_store_n(&slot->header.message_type, m->header.message_type, __ATOMIC_RELEASE);
	raise_locked(s, sint);
	return true;
}

int soft_synic_post(struct soft_synic *s, unsigned sint, const uint8_t message[256])
{
	struct hv_message m;
	int r = HV_STATUS_SUCCESS;

	memcpy(&m, message, sizeof(m));
	if (sint >= HV_SYNIC_SINTS || !m.header.message_type ||
	    m.header.payload_size > sizeof(m.u.payload))
		return HV_STATUS_INVALID_PARAMETER;
	pthread_mutex_lock(&s->lock);
	if (!(s->scontrol & 1) || !(s->simp & 1))
		r = HV_STATUS_INVALID_VP_STATE;
	else if (!soft_synic_put_locked(s, sint, &m))
		r = HV_STATUS_INSUFFICIENT_BUFFERS;
	pthread_mutex_unlock(&s->lock);
	return r;
}

int soft_synic_signal(struct soft_synic *s, unsigned sint, unsigned flag, bool *ret_newly)
{
	int r = HV_STATUS_SUCCESS;

	if (sint >= HV_SYNIC_SINTS || flag >= 2048)
		return HV_STATUS_INVALID_PARAMETER;
	pthread_mutex_lock(&s->lock);
	if (!(s->scontrol & 1) || !(s->siefp & 1)) {
		r = HV_STATUS_INVALID_VP_STATE;
	} else {
		uint8_t bit = (uint8_t)(1 << flag % 8);
		uint8_t was =
			__atomic_fetch_or(&s->events->flags[sint][flag / 8], bit, __ATOMIC_SEQ_CST);

		*ret_newly = !(was & bit);
		if (*ret_newly)
			raise_locked(s, sint);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

// SINTs that have become free, of those asked for: told once.
static void look_for_free_locked(struct soft_synic *s)
{
	uint16_t found = 0;

	for (unsigned i = 0; i < HV_SYNIC_SINTS; i++)
		if (s->wanted >> i & 1 && slot_free_locked(s, i))
			found |= (uint16_t)(1 << i);
	if (!found)
		return;
	s->wanted &= (uint16_t)~found;
	atomic_fetch_or(&s->free_now, found);
	soft_vp_wake(s->vp);
}

void soft_synic_want(struct soft_synic *s, uint16_t sints)
{
	pthread_mutex_lock(&s->lock);
	s->wanted = sints;
	look_for_free_locked(s);
	pthread_mutex_unlock(&s->lock);
}

// ---- registers
int soft_synic_read(struct soft_synic *s, uint32_t msr, uint64_t *v)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (msr >= MSR_SINT0 && msr < MSR_SINT0 + HV_SYNIC_SINTS)
		*v = s->sint[msr - MSR_SINT0];
	else if (msr >= MSR_STIMER0 && msr < MSR_STIMER0 + 2 * HV_SYNIC_STIMERS)
		*v = msr & 1 ? s->timer[(msr - MSR_STIMER0) / 2].count
			     : s->timer[(msr - MSR_STIMER0) / 2].config;
	else
		switch (msr) {
		case MSR_SCONTROL:
			*v = s->scontrol;
			break;
		case MSR_SVERSION:
			*v = 1;
			break;
		case MSR_SIEFP:
			*v = s->siefp;
			break;
		case MSR_SIMP:
			*v = s->simp;
			break;
		case MSR_EOM:
			*v = 0;
			break;
		default:
			r = 1;
			break;
		}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int sint_write_locked(struct soft_synic *s, unsigned i, uint64_t v)
{
	uint32_t auto_eoi[8] = { 0 };

	if ((uint8_t)v < HV_SYNIC_FIRST_VALID_VECTOR && !(v & (HV_SINT_MASKED | HV_SINT_POLLING)))
		return 1;
	s->sint[i] = v;
	for (unsigned j = 0; j < HV_SYNIC_SINTS; j++) {
		uint8_t vector = (uint8_t)s->sint[j];

		if ((s->sint[j] & (HV_SINT_AUTO_EOI | HV_SINT_MASKED)) == HV_SINT_AUTO_EOI)
			auto_eoi[vector >> 5] |= 1u << (vector & 31);
	}
	soft_lapic_auto_eoi(&s->vp->lapic, auto_eoi);
	return 0;
}

static void eom_locked(struct soft_synic *s)
{
	for (unsigned i = 0; i < HV_SYNIC_SINTS; i++)
		if (slot_free_locked(s, i))
			soft_stimer_retry_locked(s, i);
	look_for_free_locked(s);
}

int soft_synic_write(struct soft_synic *s, uint32_t msr, uint64_t v)
{
	struct soft_partition *p = s->vp->p;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (msr >= MSR_SINT0 && msr < MSR_SINT0 + HV_SYNIC_SINTS) {
		r = sint_write_locked(s, msr - MSR_SINT0, v);
	} else if (msr >= MSR_STIMER0 && msr < MSR_STIMER0 + 2 * HV_SYNIC_STIMERS) {
		unsigned i = (msr - MSR_STIMER0) / 2;

		if (msr & 1)
			soft_stimer_count_locked(s, i, v);
		else
			r = soft_stimer_config_locked(s, i, v);
	} else {
		switch (msr) {
		case MSR_SCONTROL:
			s->scontrol = v;
			eom_locked(s);
			break;
		case MSR_SIEFP:
			s->siefp = v;
			soft_overlay_set(p, SOFT_OVERLAY_SIEFP(s->vp->index), v,
					 v & 1 ? s->events : NULL, true);
			break;
		case MSR_SIMP:
			s->simp = v;
			soft_overlay_set(p, SOFT_OVERLAY_SIMP(s->vp->index), v,
					 v & 1 ? s->messages : NULL, true);
			eom_locked(s);
			break;
		case MSR_EOM:
			eom_locked(s);
			break;
		default:
			r = 1; // SVERSION is read-only
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void soft_synic_page_copy(struct soft_synic *s, bool events, void *page, bool set)
{
	void *own = events ? (void *)s->events : (void *)s->messages;

	pthread_mutex_lock(&s->lock);
	if (set)
		memcpy(own, page, 4096);
	else
		memcpy(page, own, 4096);
	pthread_mutex_unlock(&s->lock);
}
