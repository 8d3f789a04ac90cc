// SPDX-License-Identifier: Apache-2.0
// The /dev/mshv back end's private parts.
#ifndef VMM_HV_MSHV_H
#define VMM_HV_MSHV_H

#include <pthread.h>
#include <stdatomic.h>

#include "vmm/hv/hv.h"
#include "vmm/hv/mshv_abi.h"
#include "vmm/hv/mshv_sys.h"

enum mshv_count {
	MSHV_COUNT_MMIO,
	MSHV_COUNT_IO,
	MSHV_COUNT_MSR,
	MSHV_COUNT_EOI,
	MSHV_COUNT_HALT,
	MSHV_COUNT_OTHER,
	MSHV_COUNTS
};

struct mshv_hv {
	struct hv hv;
	const struct mshv_sys *sys;
	const struct hv_client *client;
	int dev_fd, part_fd;
};

struct mshv_vcpu {
	struct mshv_hv *m;
	unsigned index;
	int fd;
	struct hv_vp_register_page *regs; // NULL where the hypervisor has none
	struct x86_cpu *emul;
	const struct hv_message *msg; // being handled, for the emulator's translation
	uint64_t refused_gva;         // what the emulator's translation could not give it
	uint32_t refused;             // HV_TRANSLATE_*; 0: nothing
	_Atomic bool in_run, kick;
	pthread_t thread;
	_Atomic uint64_t counts[MSHV_COUNTS];
};

// Calls with HV_STATUS and errno turned into an error.
int mshv_hvcall(struct mshv_hv *m, uint16_t code, void *in, uint16_t in_sz, void *out,
		uint16_t out_sz, uint16_t reps, struct err *e);
int mshv_get_registers(struct mshv_vcpu *v, const uint32_t *names, union hv_register_value *values,
		       unsigned n, struct err *e);
int mshv_set_registers(struct mshv_vcpu *v, const struct hv_register_assoc *regs, unsigned n,
		       struct err *e);

// mshv_vcpu.c
int mshv_vcpu_new(struct hv *hv, unsigned index, struct hv_vcpu **ret, struct err *e);
void mshv_vcpu_free(struct hv_vcpu *vcpu);
int mshv_vcpu_set_state(struct hv_vcpu *vcpu, const struct x86_state *s, struct err *e);
enum hv_stop mshv_vcpu_run(struct hv_vcpu *vcpu, struct err *e);
void mshv_vcpu_kick(struct hv_vcpu *vcpu);
void mshv_vcpu_counters(struct hv_vcpu *vcpu, struct vmm_counters *c);
bool mshv_vcpu_crashed(struct hv_vcpu *vcpu, uint64_t crash[5]);

// mshv_mmio.c: one MMIO or string-I/O instruction. 0: done; 1: it faults, and the guest will be told; or -errno.
int mshv_emulate(struct mshv_vcpu *v, const struct hv_message *msg, struct err *e);
struct x86_cpu *mshv_emulator_new(struct mshv_vcpu *v);

#endif
