// SPDX-License-Identifier: Apache-2.0
// A hypervisor, shaped after /dev/mshv because that is the stricter contract: instructions of MMIO exits are emulated
// here, the IOAPIC is ours and becomes message routes, interrupts and doorbells are eventfds.
#ifndef VMM_HV_HV_H
#define VMM_HV_HV_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/vmm.h"
#include "vmm/x86/x86.h"

struct bus;
struct err;
struct hv;
struct hv_vcpu;
struct mem;

// One message route: what an interrupt source (gsi) sends.
struct hv_route {
	uint32_t gsi, address, data;
};

// Why a vCPU stopped for good.
enum hv_stop { HV_STOP_NONE, HV_STOP_KICKED, HV_STOP_HALT, HV_STOP_TRIPLE_FAULT, HV_STOP_ERROR };

struct hv_ops {
	void (*free)(struct hv *hv);
	int (*map)(struct hv *hv, uint64_t gpa, void *hva, uint64_t len, struct err *e);
	// Replaces all routes.
	int (*routes)(struct hv *hv, const struct hv_route *routes, unsigned count, struct err *e);
	// fd, an eventfd, raises gsi's route when written.
	int (*irqfd)(struct hv *hv, int fd, uint32_t gsi, struct err *e);
	int (*doorbell)(struct hv *hv, uint64_t gpa, unsigned len, uint64_t match, int fd, bool add,
			struct err *e);
	// A level interrupt by message, for an asserted IOAPIC pin.
	int (*msi)(struct hv *hv, uint32_t address, uint32_t data, struct err *e);
	int (*vcpu_new)(struct hv *hv, unsigned index, struct hv_vcpu **ret, struct err *e);
	void (*vcpu_free)(struct hv_vcpu *vcpu);
	int (*vcpu_set_state)(struct hv_vcpu *vcpu, const struct x86_state *state, struct err *e);
	// Runs on the calling thread until the vCPU stops or is kicked; MMIO and port exits are served inside, by bus.
	enum hv_stop (*vcpu_run)(struct hv_vcpu *vcpu, struct err *e);
	// Makes vcpu_run return HV_STOP_KICKED. Any thread; waits until it is so.
	void (*vcpu_kick)(struct hv_vcpu *vcpu);
	// Guest time stands still until the first call.
	int (*start_time)(struct hv *hv, struct err *e);
	// Adds this vCPU's counts to *c.
	void (*vcpu_counters)(struct hv_vcpu *vcpu, struct vmm_counters *c);
	// The guest said that it crashed: parameters of the Hyper-V crash registers; false if not.
	bool (*vcpu_crashed)(struct hv_vcpu *vcpu, uint64_t crash[5]);
};

struct hv {
	const struct hv_ops *ops;
	const char *name; // "mshv" or "soft": what answers
};

// What the hypervisor calls back, on a vCPU thread.
struct hv_client {
	struct bus *bus;
	struct mem *mem;
	void (*eoi)(void *arg, uint8_t vector); // a level interrupt ended
	void *arg;
};

// Chooses and opens. auto: /dev/mshv where it is, else soft. client is borrowed for the hypervisor's life.
int hv_open(enum vmm_hypervisor which, const struct hv_client *client, struct hv **ret,
	    struct err *e);

struct mshv_sys;
int hv_mshv_open(const struct mshv_sys *sys, const struct hv_client *client, struct hv **ret,
		 struct err *e);

#endif
