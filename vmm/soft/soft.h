// SPDX-License-Identifier: Apache-2.0
// The software partition's objects. What /dev/mshv gives as descriptors are real descriptors here too (memfds), found again
// in a table; the VP's memfd is what its register page and message page are mapped from.
//
// Threads: each ioctl runs on its caller's; RUN_VP runs the processor there. One more thread per partition waits for
// irqfds and timers. Locks, in this order: vp->lock, partition->lock (as the driver: one ioctl at a time per object),
// partition->visit_lock, vp->cpu_lock, stop.lock; partition->irq_lock or synic->lock, then mem_lock or lapic->lock.
#ifndef VMM_SOFT_SOFT_H
#define VMM_SOFT_SOFT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/hv/mshv_sys.h"
#include "vmm/soft/eventfd.h"
#include "vmm/soft/intercept.h"
#include "vmm/soft/lapic.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/regs.h"
#include "vmm/soft/synic.h"
#include "vmm/x86/x86.h"

enum {
	SOFT_VPS = 256,
	SOFT_REGIONS = 64,
	SOFT_IRQFDS = 128,
	SOFT_DOORBELLS = 256,
	SOFT_GSIS = 4096,
	SOFT_CPUID_OVERRIDES = 4096, // clients set every leaf of every VP: some 90 each
	SOFT_MTRRS = 8,
	SOFT_OVERLAYS = 2 + 2 * SOFT_VPS,
	SOFT_PHYS_BITS = 46
};

struct soft_vp;
struct soft_partition;

// ---- stop.c
struct soft_stop {
	pthread_mutex_t lock; // guards running
	pthread_cond_t changed;
	unsigned running; // VPs that execute guest code
	_Atomic bool stopping;
};
void soft_stop_init(struct soft_stop *s);
void soft_stop_done(struct soft_stop *s);
// A VP starts and ends executing; between them it calls pause at its attention.
void soft_stop_enter(struct soft_stop *s);
void soft_stop_leave(struct soft_stop *s);
void soft_stop_pause(struct soft_stop *s);
// Between these no VP executes. from_vp: the caller is one that is between enter and leave.
void soft_stop_begin(struct soft_partition *p, bool from_vp);
void soft_stop_end(struct soft_partition *p, bool from_vp);

// ---- vp.c
struct soft_cpuid_override {
	uint32_t vp, eax, ecx;
	bool any_vp, subleaf, always;
	uint32_t value[4], mask[4];
};

struct soft_mtrr {
	uint64_t def_type, fixed[11], phys[2 * SOFT_MTRRS];
};

struct soft_vp {
	pthread_mutex_t lock;
	pthread_mutex_t cpu_lock; // held in RUN_VP
	bool visit_stops;         // p->visit_lock guards it
	struct soft_partition *p;
	uint32_t index;
	int fd; // owned memfd: register page, message page; -1 once the caller has closed it
	struct hv_vp_register_page *regs;
	struct hv_message *message; // mapped
	struct x86_cpu *cpu;
	struct soft_lapic lapic;
	struct soft_synic synic;
	int wake_fd; // owned eventfd
	_Atomic bool waiting, kicked, suspended;
	_Atomic bool init;            // INIT arrived
	_Atomic uint32_t sipi;        // 0x100 | vector of a SIPI that arrived
	_Atomic bool wait_sipi, dead; // dead: halted with interrupts off
	_Atomic uint32_t eoi[8];      // level interrupts that ended and are not told yet
	_Atomic bool flush;           // translations are to be forgotten
	_Atomic bool halted;          // sleeps in HLT
	_Atomic bool activity;        // was told to stop that
	_Atomic bool intercepted;     // suspended by a message
	_Atomic uint32_t extint;      // 0x100 | vector of an external interrupt
	unsigned nmis;                // NMIs to be delivered
	uint64_t notify;              // HV_NOTIFY_*
	bool window;                  // what notify waits for is there
	bool event_by_name0;          // the pending event was given as PENDING_EVENT0
	uint64_t tsc_adjust, runtime; // to the partition's TSC; 100 ns
	struct soft_mtrr mtrr;
	uint64_t vp_assist;
	uint64_t crash[5], crash_ctl;
	_Atomic uint64_t doorbells, interrupts;
	// The running VP's own copy of the memory map, so that a TLB miss takes no lock.
	struct soft_region *regions;
	unsigned n_regions;
	uint32_t regions_seen;
};

int soft_vp_new(struct soft_partition *p, uint32_t index, struct soft_vp **ret);
void soft_vp_free(struct soft_vp *vp);
int soft_vp_run(struct soft_vp *vp, struct hv_message *msg); // 0 or -errno
// INIT and SIPI from an APIC: any thread.
void soft_vp_init(struct soft_vp *vp);
void soft_vp_sipi(struct soft_vp *vp, uint8_t vector);
void soft_vp_interrupt(struct soft_vp *vp, unsigned type, uint8_t vector,
		       bool level);    // partition.c
void soft_vp_wake(struct soft_vp *vp); // an interrupt or attention: any thread, async-signal-safe
// Between these the VP's processor is the caller's, whether it is in RUN_VP (then it has stopped) or not. Not on a thread
// that is in RUN_VP itself.
void soft_vp_enter(struct soft_vp *vp);
void soft_vp_leave(struct soft_vp *vp);
uint64_t soft_vp_tsc(struct soft_vp *vp);
long soft_vp_state(struct soft_vp *vp, uint64_t arg, bool set); // state.c
bool soft_vp_interrupted(void);                                 // mshv_sys.interrupted

// ---- msr.c, cpuid.c. vp is the caller's own.
// By the guest: 0, 1 = #GP, X86_ENV_EXIT.
int soft_rdmsr(struct soft_vp *vp, uint32_t msr, uint64_t *v);
int soft_wrmsr(struct soft_vp *vp, uint32_t msr, uint64_t v);
// By the VMM: 0; not 0 where there is no such MSR, or not with that value.
enum { SOFT_MSR_UNKNOWN = 2 };
int soft_msr_get(struct soft_vp *vp, uint32_t msr, uint64_t *v);
int soft_msr_set(struct soft_vp *vp, uint32_t msr, uint64_t v);
uint64_t *soft_mtrr(struct soft_vp *vp, uint32_t msr); // mtrr.c; NULL: not a memory type register
bool soft_mtrr_valid(uint32_t msr, uint64_t v);
bool soft_has_x2apic(const struct soft_partition *p);
void soft_tsc_page_update(struct soft_partition *p);
void soft_cpuid(struct soft_vp *vp, uint32_t leaf, uint32_t sub, uint32_t out[4]);

// ---- partition.c
struct soft_partition {
	pthread_mutex_t lock;
	int fd; // owned; -1 once the caller has closed it
	bool initialized;
	_Atomic unsigned refs; // partition fd, VP fds, calls under way
	uint64_t flags, synth_features, msr_action, access_tracking, per_socket;
	uint64_t disabled[2], disabled_xsave; // feature banks
	_Atomic(struct soft_vp *) vps[SOFT_VPS];
	unsigned n_vps;
	struct soft_stop stop;

	pthread_mutex_t visit_lock; // soft_vp_enter, changes of the memory map

	pthread_mutex_t mem_lock; // guards regions, overlays and doorbells
	struct soft_region overlays[SOFT_OVERLAYS];
	struct soft_region regions[SOFT_REGIONS];
	unsigned n_regions;
	_Atomic uint32_t regions_changed; // counts changes
	struct soft_doorbell doorbells[SOFT_DOORBELLS];
	unsigned n_doorbells;

	pthread_mutex_t irq_lock; // guards routes and irqfds
	struct soft_route routes[SOFT_GSIS];
	struct soft_irqfd irqfds[SOFT_IRQFDS];
	pthread_t thread;
	bool thread_started;
	int epoll_fd, stop_fd; // owned

	struct soft_cpuid_override overrides[SOFT_CPUID_OVERRIDES];
	_Atomic unsigned n_overrides; // a slot is filled before this says so
	struct soft_intercepts intercepts;
	uint8_t *pages;      // owned: hypercall page, reference TSC page
	uint64_t ref_adjust; // of the reference time
	uint64_t tsc_hz;
	_Atomic uint64_t tsc_zero; // host TSC when guest TSC was 0
	_Atomic bool frozen;
	_Atomic uint64_t frozen_at; // guest TSC
	uint64_t hypercall_msr, os_id, reference_tsc, tsc_invariant;
};

int soft_partition_new(uint64_t flags, struct soft_partition **ret);
void soft_partition_ref(struct soft_partition *p);
void soft_partition_unref(struct soft_partition *p);
long soft_partition_ioctl(struct soft_partition *p, unsigned long req,
			  uint64_t arg); // >= 0 or -errno
long soft_hvcall(struct soft_partition *p,
		 uint64_t arg); // hvcall.c; p->lock is held; NULL: the host partition
int soft_property_get(struct soft_partition *p, uint32_t code, uint64_t *v); // HV_STATUS
int soft_property_set(struct soft_partition *p, uint32_t code, uint64_t v);
uint64_t soft_cpu_features(const struct soft_partition *p, unsigned bank);
// Sends an interrupt as an MSI would. 0 or -EINVAL.
int soft_msi(struct soft_partition *p, uint32_t address, uint32_t data);
int soft_interrupt(struct soft_partition *p, unsigned type, uint32_t dest, bool logical,
		   uint8_t vector, bool level);
void soft_device_wrote(struct soft_partition *p);
int soft_watch(struct soft_partition *p, int fd, uint64_t key); // in the partition's thread
uint64_t soft_guest_tsc(const struct soft_partition *p);
uint64_t soft_reference_time(const struct soft_partition *p); // 100 ns
enum { WATCH_STOP = 0, WATCH_IRQFD = 1 << 16, WATCH_TIMER = 2 << 16, WATCH_STIMER = 4 << 16 };

// soft.c: makes *fd known as a handle
int soft_handle_add_vp(int fd, struct soft_vp *vp);

#endif
