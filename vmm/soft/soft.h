// SPDX-License-Identifier: Apache-2.0
// The software partition's objects. What /dev/mshv gives as descriptors are real descriptors here too (memfds), found again
// in a table; the VP's memfd is what its register page and message page are mapped from.
//
// Threads: each ioctl runs on its caller's; RUN_VP runs the processor there. One more thread per partition waits for
// irqfds and local APIC timers. Locks: partition->lock or vp->lock (as the driver: one ioctl at a time per object), then
// partition->mem_lock or partition->irq_lock, then lapic->lock.
#ifndef VMM_SOFT_SOFT_H
#define VMM_SOFT_SOFT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/hv/mshv_sys.h"
#include "vmm/x86/x86.h"

enum {
	SOFT_VPS = 256,
	SOFT_REGIONS = 64,
	SOFT_IRQFDS = 128,
	SOFT_DOORBELLS = 256,
	SOFT_GSIS = 4096,
	SOFT_CPUID_OVERRIDES = 4096, // clients set every leaf of every VP: some 90 each
	SOFT_MSR_INTERCEPTS = 32
};
#define SOFT_APIC_HZ 200000000ull
#define SOFT_APIC_GPA 0xfee00000ull

struct soft_vp;
struct soft_partition;

// ---- lapic.c
struct soft_lapic {
	pthread_mutex_t lock;
	uint32_t id, ldr, dfr, svr, esr, esr_written, lvt[7], icr_low, icr_high, divide,
		initial; // lvt: cmci timer thermal perf lint0 lint1 error
	uint32_t irr[8], isr[8], tmr[8];
	uint8_t tpr;
	uint64_t base;          // IA32_APIC_BASE
	uint64_t deadline;      // TSC
	int64_t timer_start_ns; // when the count was set
	int timer_fd;           // owned
	_Atomic bool pending;   // something may be deliverable
	_Atomic bool nmi;
	struct soft_vp *vp;
};
enum { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR };

int soft_lapic_init(struct soft_lapic *l, struct soft_vp *vp, uint32_t id);
void soft_lapic_done(struct soft_lapic *l);
void soft_lapic_reset(struct soft_lapic *l); // by INIT: the id and the base stay
// Register by index (offset / 16 of the xAPIC page, MSR - 0x800). 0, or 1 = #GP (x2APIC rules).
int soft_lapic_read(struct soft_lapic *l, unsigned reg, bool x2, uint64_t *v);
int soft_lapic_write(struct soft_lapic *l, unsigned reg, bool x2, uint64_t v);
int soft_lapic_base_write(struct soft_lapic *l, uint64_t v);
void soft_lapic_deadline_write(struct soft_lapic *l, uint64_t tsc);
uint64_t soft_lapic_deadline(struct soft_lapic *l);
bool soft_lapic_waiting(struct soft_lapic *l);
int soft_lapic_take(struct soft_lapic *l);   // vector or -1; moves it to in-service
void soft_lapic_timer(struct soft_lapic *l); // the timer's descriptor is readable
void soft_lapic_raise(struct soft_lapic *l, uint8_t vector, bool level);
void soft_lapic_get(struct soft_lapic *l, struct hv_local_interrupt_controller_state *s);
void soft_lapic_set(struct soft_lapic *l, const struct hv_local_interrupt_controller_state *s);
uint64_t soft_lapic_tpr(struct soft_lapic *l);
void soft_lapic_set_tpr(struct soft_lapic *l, uint64_t v);

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
struct soft_region {
	uint64_t gpa, size;
	uint8_t *hva;
	bool writable;
	struct x86_page *pages; // owned by the partition's copy; NULL while there is one VP
};
struct soft_cpuid_override {
	uint32_t vp, eax, ecx;
	bool any_vp, subleaf, always;
	uint32_t value[4], mask[4];
};

enum { SOFT_MTRRS = 8 }; // variable ranges
struct soft_mtrr {
	uint64_t def_type, fixed[11], phys[2 * SOFT_MTRRS];
};

struct soft_vp {
	pthread_mutex_t lock;
	struct soft_partition *p;
	uint32_t index;
	int fd; // owned memfd: register page, message page
	struct hv_vp_register_page *regs;
	struct hv_message *message; // mapped
	struct x86_cpu *cpu;
	struct soft_lapic lapic;
	int wake_fd; // owned eventfd
	_Atomic bool waiting, kicked, suspended;
	_Atomic bool init;            // INIT arrived
	_Atomic uint32_t sipi;        // 0x100 | vector of a SIPI that arrived
	_Atomic bool wait_sipi, dead; // dead: halted with interrupts off
	_Atomic uint32_t eoi[8];      // level interrupts that ended and are not told yet
	uint64_t vp_assist, os_id;
	struct soft_mtrr mtrr;
	uint64_t scontrol, siefp, simp;
	uint64_t crash[5], crash_ctl;
	_Atomic uint64_t doorbells, interrupts;
	// The running VP's own copy of the memory map, so that a TLB miss takes no lock.
	struct soft_region *regions;
	unsigned n_regions;
	uint32_t regions_seen;
};

// ---- state.c
long soft_vp_state(struct soft_vp *vp, struct mshv_get_set_vp_state *s, bool set);

// ---- mtrr.c
uint64_t *soft_mtrr(struct soft_vp *vp, uint32_t msr); // NULL: not a memory type register
bool soft_mtrr_valid(uint32_t msr, uint64_t v);
uint32_t soft_register_msr(uint32_t name);

int soft_vp_new(struct soft_partition *p, uint32_t index, struct soft_vp **ret);
void soft_vp_free(struct soft_vp *vp);
int soft_vp_run(struct soft_vp *vp, struct hv_message *msg); // 0 or -errno
// INIT and SIPI from an APIC: any thread.
void soft_vp_init(struct soft_vp *vp);
void soft_vp_sipi(struct soft_vp *vp, uint8_t vector);
void soft_vp_wake(struct soft_vp *vp); // an interrupt or attention: any thread, async-signal-safe
int soft_vp_get_register(struct soft_vp *vp, uint32_t name,
			 union hv_register_value *v); // HV_STATUS
int soft_vp_set_register(struct soft_vp *vp, uint32_t name, const union hv_register_value *v);
bool soft_vp_interrupted(void); // mshv_sys.interrupted

// ---- msr.c, cpuid.c. vp is the caller's own.
int soft_rdmsr(struct soft_vp *vp, uint32_t msr, uint64_t *v);
int soft_wrmsr(struct soft_vp *vp, uint32_t msr, uint64_t v);
void soft_cpuid(struct soft_vp *vp, uint32_t leaf, uint32_t sub, uint32_t out[4]);

// ---- partition.c
struct soft_doorbell {
	uint64_t gpa, match;
	uint32_t len;
	bool any;
	int fd;    // owned duplicate
	int given; // the number the caller knows it by
};
struct soft_irqfd {
	int fd, resample; // owned duplicates
	int given;
	uint32_t gsi;
	bool used, level;
};
struct soft_route {
	bool valid;
	uint32_t address, data;
};

struct soft_partition {
	pthread_mutex_t lock;
	int fd; // owned
	bool initialized;
	unsigned refs; // partition fd and VP fds
	uint64_t flags, synth_features, msr_action;
	struct soft_vp *vps[SOFT_VPS];
	unsigned n_vps;
	struct soft_stop stop;

	pthread_mutex_t mem_lock; // guards regions and doorbells
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
	unsigned n_overrides;
	uint64_t tsc_hz;
	uint64_t tsc_zero; // host TSC when guest TSC was 0
	bool frozen;
	uint64_t frozen_at; // guest TSC
	uint64_t hypercall_msr, os_id, reference_tsc, tsc_invariant;
};

int soft_partition_new(uint64_t flags, struct soft_partition **ret);
void soft_partition_unref(struct soft_partition *p);
long soft_partition_ioctl(struct soft_partition *p, unsigned long req, void *arg); // >= 0 or -errno
long soft_hvcall(struct soft_partition *p, struct soft_vp *vp,
		 struct mshv_root_hvcall *a); // hvcall.c
void *soft_ram(struct soft_partition *p, uint64_t gpa, uint64_t len, bool *writable);
bool soft_doorbell_ring(struct soft_partition *p, uint64_t gpa, unsigned len, uint64_t value);
// Sends an interrupt as an MSI would. 0 or -EINVAL.
int soft_msi(struct soft_partition *p, uint32_t address, uint32_t data);
int soft_interrupt(struct soft_partition *p, unsigned type, uint32_t dest, bool logical,
		   uint8_t vector, bool level);
// A level interrupt ended: resamplers of its routes are told. True if there was one.
bool soft_resample(struct soft_partition *p, uint8_t vector);
void soft_device_wrote(struct soft_partition *p);
int soft_watch(struct soft_partition *p, int fd, uint64_t key); // in the partition's thread
uint64_t soft_guest_tsc(const struct soft_partition *p);
uint64_t soft_reference_time(const struct soft_partition *p); // 100 ns
enum { WATCH_STOP = 0, WATCH_IRQFD = 1 << 16, WATCH_TIMER = 2 << 16 };

// soft.c: makes *fd known as a handle
int soft_handle_add_vp(int fd, struct soft_vp *vp);

#endif
