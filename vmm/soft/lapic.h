// SPDX-License-Identifier: Apache-2.0
// The local APIC of one VP. Any thread.
#ifndef VMM_SOFT_LAPIC_H
#define VMM_SOFT_LAPIC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"

#define SOFT_APIC_HZ 200000000ull
#define SOFT_APIC_GPA 0xfee00000ull

struct soft_vp;

struct soft_lapic {
	pthread_mutex_t lock;
	uint32_t id, ldr, dfr, svr, esr, esr_written, lvt[7], icr_low, icr_high, divide,
		initial; // lvt: cmci timer thermal perf lint0 lint1 error
	uint32_t irr[8], isr[8], tmr[8];
	uint32_t auto_eoi[8]; // vectors of SINTs that end by themselves
	uint8_t tpr;
	uint64_t base;         // IA32_APIC_BASE
	uint64_t deadline;     // TSC
	int64_t due_ns;        // when the count reaches 0; 0: it has, or there is none
	int timer_fd;          // owned
	_Atomic bool pending;  // something may be deliverable
	_Atomic unsigned nmis; // that have arrived and the processor has not seen
	struct soft_vp *vp;
};
enum { LVT_MASKED = 1 << 16 };
enum { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR };

int soft_lapic_init(struct soft_lapic *l, struct soft_vp *vp, uint32_t id);
void soft_lapic_done(struct soft_lapic *l);
void soft_lapic_reset(struct soft_lapic *l); // by INIT: the id and the base stay
// Register by index (offset / 16 of the xAPIC page, MSR - 0x800). 0, or 1 = #GP (x2APIC rules).
int soft_lapic_read(struct soft_lapic *l, unsigned reg, bool x2, uint64_t *v);
int soft_lapic_write(struct soft_lapic *l, unsigned reg, bool x2, uint64_t v);
int soft_lapic_base_write(struct soft_lapic *l, uint64_t v);
bool soft_lapic_match(struct soft_lapic *l, uint32_t dest, bool logical);
bool soft_lapic_waiting(struct soft_lapic *l);
int soft_lapic_take(struct soft_lapic *l); // vector or -1; moves it to in-service
void soft_lapic_auto_eoi(struct soft_lapic *l, const uint32_t vectors[8]);
void soft_lapic_raise(struct soft_lapic *l, uint8_t vector, bool level);
void soft_lapic_raise_locked(struct soft_lapic *l, uint8_t vector, bool level);
void soft_lapic_get(struct soft_lapic *l, struct hv_local_interrupt_controller_state *s);
void soft_lapic_set(struct soft_lapic *l, const struct hv_local_interrupt_controller_state *s);
uint64_t soft_lapic_tpr(struct soft_lapic *l);
void soft_lapic_set_tpr(struct soft_lapic *l, uint64_t v);

// ---- lapic_timer.c. _locked: l->lock is held.
void soft_lapic_timer(struct soft_lapic *l); // the timer's descriptor is readable
void soft_lapic_deadline_write(struct soft_lapic *l, uint64_t tsc);
uint64_t soft_lapic_deadline(struct soft_lapic *l);
void soft_lapic_timer_arm_locked(struct soft_lapic *l);
void soft_lapic_timer_lvt_locked(struct soft_lapic *l, uint32_t v);
void soft_lapic_timer_initial_locked(struct soft_lapic *l, uint32_t v);
void soft_lapic_timer_divide_locked(struct soft_lapic *l, uint32_t v);
void soft_lapic_timer_start_locked(struct soft_lapic *l, uint32_t count); // 0: stopped
uint32_t soft_lapic_timer_count_locked(const struct soft_lapic *l);

#endif
