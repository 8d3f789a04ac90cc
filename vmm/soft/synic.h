// SPDX-License-Identifier: Apache-2.0
// A VP's synthetic interrupt controller and its four timers (TLFS, chapters 11 and 12). The message page and the event
// flags page belong to the VP and lie over the guest's memory where SIMP and SIEFP say.
#ifndef VMM_SOFT_SYNIC_H
#define VMM_SOFT_SYNIC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"

struct soft_vp;

struct soft_stimer {
	uint64_t config, count;
	uint64_t expiry; // reference time of the next one; 0: not running
	bool undelivered;
	uint64_t undelivered_exp;
};

struct soft_synic {
	pthread_mutex_t lock; // guards what follows; the local APIC's lock may be taken under it
	struct soft_vp *vp;
	uint64_t scontrol, siefp, simp, sint[HV_SYNIC_SINTS];
	struct hv_message_page *messages;         // owned
	struct hv_synic_event_flags_page *events; // owned
	struct soft_stimer timer[HV_SYNIC_STIMERS];
	int timer_fd;              // owned
	uint16_t wanted;           // SINTs of which the VMM wants to know when their slot is free
	_Atomic uint16_t free_now; // those that are
};

int soft_synic_init(struct soft_synic *s, struct soft_vp *vp);
void soft_synic_done(struct soft_synic *s);
// MSRs 0x40000080 to 0x400000bf: 0, or 1 = #GP or no such register.
int soft_synic_read(struct soft_synic *s, uint32_t msr, uint64_t *v);
int soft_synic_write(struct soft_synic *s, uint32_t msr, uint64_t v);
// From the VMM: HV_STATUS.
int soft_synic_post(struct soft_synic *s, unsigned sint, const uint8_t message[256]);
int soft_synic_signal(struct soft_synic *s, unsigned sint, unsigned flag, bool *ret_newly);
void soft_synic_want(struct soft_synic *s, uint16_t sints);
// VP state.
void soft_synic_page_copy(struct soft_synic *s, bool events, void *page, bool set);
void soft_synic_timers_get(struct soft_synic *s, struct hv_synthetic_timers_state *t);
void soft_synic_timers_set(struct soft_synic *s, const struct hv_synthetic_timers_state *t);

// ---- stimer.c. _locked: s->lock is held.
void soft_stimer_fire(struct soft_synic *s);  // its descriptor is readable
void soft_stimer_clock(struct soft_synic *s); // the reference time was stopped, set or started
void soft_stimer_arm_locked(struct soft_synic *s);
void soft_stimer_retry_locked(struct soft_synic *s, unsigned sint);
int soft_stimer_config_locked(struct soft_synic *s, unsigned i, uint64_t v); // 1 = #GP
void soft_stimer_count_locked(struct soft_synic *s, unsigned i, uint64_t v);
// synic.c, for the timers: false if the slot is not free (the guest is asked to say when) or there is none.
bool soft_synic_put_locked(struct soft_synic *s, unsigned sint, const struct hv_message *m);

#endif
